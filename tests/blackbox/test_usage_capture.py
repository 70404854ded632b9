"""HAProxy finds the usage in a response, and the search changes nothing for the client: every byte arrives, and the bytes of a stream arrive
as soon as the upstream sends them."""
import gzip
import json
import signal
import threading
import time

import pytest

import harness
import logs
import spop
from plaintap import TappedGateway
from upstream import Mock

CHAT = {"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                                      "rejected_prediction_tokens": 0}}
RESPONSES = {"input_tokens": 328, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 52,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 380}
ANTHROPIC = {"input_tokens": 2095, "cache_creation_input_tokens": 2051, "cache_read_input_tokens": 7,
             "cache_creation": {"ephemeral_5m_input_tokens": 2051, "ephemeral_1h_input_tokens": 0},
             "output_tokens": 503, "service_tier": "standard"}
GEMINI = {"promptTokenCount": 1000, "candidatesTokenCount": 200, "totalTokenCount": 1300,
          "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 900}, {"modality": "IMAGE", "tokenCount": 100}],
          "thoughtsTokenCount": 100}

# A text that looks like the usage. In the JSON of a body each of its quotes is escaped.
FAKE = 'he said "usage":{"prompt_tokens":999999999} and "usageMetadata" : {"promptTokenCount":1} {{{{ \\" '

SIZES = (1000, 16000, 128000, 900000)
JSON = ("Content-Type", "application/json")
EVENTS = ("Content-Type", "text/event-stream; charset=utf-8")


class Scripted(Mock):
    """An upstream that does what `script(request)` yields: bytes to send, seconds to wait, an Event to wait for, or None to close the
    connection."""

    script = None

    def _answer(self, sock, request):
        if not self.script:
            return super()._answer(sock, request)
        for step in self.script(request):
            if step is None:
                return False
            if isinstance(step, bytes):
                sock.sendall(step)
            elif isinstance(step, (int, float)):
                self.stopping.wait(step)
            else:
                assert step.wait(60)
        return True


def head(*headers, status="200 OK"):
    return ("HTTP/1.1 %s\r\n%s\r\n" % (status, "".join("%s: %s\r\n" % pair for pair in headers))).encode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = ("Transfer-Encoding", "chunked")


def sized(body, *headers):
    return head(*(headers or (JSON,)), ("Content-Length", len(body))) + body


def chunked(body, step, *headers):
    pieces = [chunk(body[at:at + step]) for at in range(0, len(body), step)]
    return head(*(headers or (JSON,)), CHUNKED) + b"".join(pieces) + b"0\r\n\r\n"


def event(kind, data):
    return ("event: %s\ndata: %s\n\n" % (kind, json.dumps(data))).encode()


def openai_body(usage, size, where="tail", indent=None):
    """Returns a chat completion of about `size` bytes with `usage` before its text, after it or nowhere (`where`)."""
    text = FAKE + "x" * max(0, size - 900)
    body = {"id": "c1", "object": "chat.completion", "model": "m", "tool_schema": {"usage": "none", "x": ["usage", 1]}}
    if where == "head":
        body["usage"] = usage
    body["choices"] = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    if where == "tail":
        body["usage"] = usage
    body["metadata"] = {"usage": "a text \u00e9", "usageMetadata": None}
    return json.dumps(body, indent=indent).encode()


@pytest.fixture(scope="module")
def upstream():
    mock = Scripted("upstream")
    yield mock
    mock.close()


def config_of(mock):
    return {"openai_target": mock.url(), "anthropic_target": mock.url(), "gemini_target": mock.url(),
            "routes": [{"model_prefix": "*"}]}


@pytest.fixture(scope="module")
def receiver():
    with logs.Receiver() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(haproxy, upstream, receiver):
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment) as one:
        yield one


@pytest.fixture
def ask(gateway, upstream, receiver):
    """ask(script or bytes, ...) sends one request, and returns (exchange, HAProxy's record of it)."""
    def run(script, target="/v1/chat/completions", method="POST", body=None, **more):
        upstream.script = script if callable(script) else lambda _: [script]
        body = harness.chat("m", **more.pop("asked", {})) if body is None and method == "POST" else body
        exchange = gateway.call(method, target, list(more.pop("headers", [])) + harness.JSON, body, **more)
        return exchange, receiver.record(exchange.header("x-request-id"))
    yield run
    upstream.script = None


def usage_of(record):
    return json.loads(record["usage"]) if record["usage"] else None


# ---- JSON


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("where", ["head", "tail"])
def test_found_at_any_size(ask, size, where):
    for body in (openai_body(CHAT, size, where), openai_body(CHAT, size, where, indent=4)):
        for answer in (sized(body), chunked(body, 16000), chunked(body, 700 if size < 200000 else 70000)):
            exchange, record = ask(answer)
            assert exchange.body == body
            assert usage_of(record) == CHAT, record


@pytest.mark.parametrize("size", SIZES)
def test_none_is_none(ask, size):
    body = openai_body(CHAT, size, "nowhere")
    exchange, record = ask(sized(body))
    assert exchange.body == body and record["usage"] == "", record
    assert record["ctype"] == "application/json" and record["status"] == 200


@pytest.mark.parametrize("usage, name, target, indent", [
    (RESPONSES, "usage", "/v1/responses", 2),
    (ANTHROPIC, "usage", "/v1/messages", None),
    (GEMINI, "usageMetadata", "/v1beta/models/m:generateContent", 2),
    (GEMINI, "usageMetadata", "/v1beta/models/m:generateContent", 8),
])
def test_every_provider(ask, usage, name, target, indent):
    body = json.dumps({"output": [{"text": FAKE}], name: usage, "user": None, "metadata": {}}, indent=indent).encode()
    exchange, record = ask(sized(body), target)
    assert exchange.body == body and usage_of(record) == usage, record


@pytest.mark.parametrize("between", [b":", b" :", b": ", b"\t:\r\n  ", b" \n : \n "])
def test_white_space_around_the_colon(ask, between):
    body = b'{"choices":[],"usage"' + between + b'{"prompt_tokens":3}}'
    _, record = ask(sized(body))
    assert usage_of(record) == {"prompt_tokens": 3}, record


@pytest.mark.parametrize("text", [
    '"usage":{"prompt_tokens":666}', '\\"usage":{"prompt_tokens":666}', '\\\\"usage\\":{"prompt_tokens":666}',
    '\n"usage":{"prompt_tokens":666}\n', '"usage\\u0022:{"prompt_tokens":666}', '\u201cusage\u201d:{}'])
@pytest.mark.parametrize("ascii", [True, False])
def test_text_cannot_fake_it(ask, text, ascii):
    """HAProxy records no text that looks like usage, neither after the real usage at the end of the body nor in a body without usage."""
    for honest in ({"usage": {"prompt_tokens": 3}}, {}):
        body = json.dumps(dict(honest, choices=[{"message": {"content": text}}], last=text), ensure_ascii=ascii).encode()
        exchange, record = ask(sized(body))
        assert exchange.body == body
        assert usage_of(record) == honest.get("usage"), record


@pytest.mark.parametrize("body, usage", [
    (b'{"usage":null,"usage2":{"a":1}}', ""), (b'{"usage":17}', ""), (b'{"usage":"{}"}', ""), (b'{"usage":[{}]}', ""),
    (b'["usage",{"prompt_tokens":1}]', ""), (b'{"usage":{}}', "{}"), (b'', ""), (b'"usage":', ""),
    (b'{"my_usage":{"prompt_tokens":1},"usages":{"a":1}}', ""),
    (b'{"a":{"usage":{"prompt_tokens":1}},"usage":null}', ""),
    (b'{"usage":{"a":{"b":{"c":{"d":1}}}}}', '{"a":{"b":{"c":{"d":1}}}}'), (b'{"usage":{"a":"\xc3\xa9"}}', '{"a":"\u00e9"}'),
    (b'{"usage":{"prompt_tokens":1,"comple', ""), (b'{"usage":{"prompt_tokens":1}}x', ""), (b'{"usage":{"prompt_tokens":1}', '{"prompt_tokens":1,'),
    (b'{"usage":{"a":' + b'1' * 2000 + b'}}', '{"a":' + "1" * 1275),
    (b'{"x":"\0","usage":{}}', ""),
])
def test_odd_bodies(ask, body, usage):
    exchange, record = ask(sized(body))
    assert exchange.body == body and record["usage"] == usage, record


@pytest.mark.parametrize("body", [
    b'{"usage":{' * 90000, b'{"usage":{"a":{"b":' + b'{"usage":{"x":1' * 60000 + b"\xff", b'"usage":{' + b"{}" * 400000 + b"\xff",
    (b'"usage":{' + b"a" * 400) * 2000 + b"\xff", b'"usage":{' + b" " * 900000 + b"\xff", b'"' * 900000],
    ids=["open", "nested", "empty", "letters", "blanks", "quotes"])
def test_hostile_bodies_cost_little(gateway, ask, body):
    """HAProxy needs little CPU time for these bodies; a search that goes back and forth in them would take seconds."""
    before = harness.cpu_of(gateway.haproxy.pid)
    exchange, record = ask(sized(body))
    took = harness.cpu_of(gateway.haproxy.pid) - before
    assert exchange.body == body and len(record["usage"]) <= 1024
    assert 0 < took < 0.25 * harness.SLOW, took


def test_beyond_the_buffer(ask):
    """Only the beginning of such a body is searched, without waiting for the rest, and the log line
    has its usage without the closing brace, because the rest may tell another."""
    for where, usage in (("head", json.dumps(CHAT)[:-1] + ","), ("tail", "")):
        body = openai_body(CHAT, 6000000, where)
        for answer in (sized(body), chunked(body, 50000)):
            exchange, record = ask(answer)
            assert exchange.body == body and record["usage"] == usage, record


def test_cut_behind_an_echo(ask):
    """An answer that ends with its connection, right behind an object that it echoes, looks like a whole one from its end."""
    for pad in (b"", b'"pad":"' + b"x" * 5000 + b'",'):
        whole = (b"{" + pad + b'"tools":[{"parameters":{"usage":{"prompt_tokens":900,"completion_tokens":900}}}],'
                 b'"usage":{"prompt_tokens":3,"completion_tokens":4}}')
        cut = whole[:whole.index(b"}}}") + 2]
        for body, usage in ((cut, ""), (whole, '{"prompt_tokens":3,"completion_tokens":4}')):
            exchange, record = ask(lambda _, body=body: [head(JSON, ("Connection", "close")) + body, None])
            assert exchange.body == body and record["usage"] == usage, record


def test_where_no_usage_can_be(ask):
    body = openai_body(CHAT, 1000)
    exchange, record = ask(sized(body), "/v1/models", "GET")
    assert exchange.body == body and record["usage"] == ""
    exchange, record = ask(head(JSON, ("Content-Length", len(body))), "/v1/models", "HEAD")
    assert exchange.complete and record["usage"] == "" and record["status"] == 200
    exchange, record = ask(head(JSON, status="204 No Content"))
    assert exchange.status == 204 and record["usage"] == ""
    exchange, record = ask(head(("ETag", "x"), status="304 Not Modified"))
    assert exchange.status == 304 and record["usage"] == ""
    for status in (400, 429, 500, 529):
        exchange, record = ask(head(JSON, ("Content-Length", len(body)), status="%d No" % status) + body)
        assert exchange.body == body and (record["status"], record["usage"]) == (status, "")
    exchange, record = ask(sized(body, ("Content-Type", "text/plain")))
    assert exchange.body == body and record["usage"] == ""
    exchange, record = ask(sized(body, ("Content-Type", "APPLICATION/JSON;charset=utf-8")))
    assert exchange.body == body and usage_of(record) == CHAT


# ---- which answers HAProxy holds back, and for how long


def test_anthropic_stream_flows_event_by_event(gateway, upstream, receiver):
    gates = [threading.Event() for _ in range(3)]
    events = [event("message_start", {"type": "message_start", "message": {"model": "m", "usage": ANTHROPIC}}),
              event("content_block_delta", {"delta": {"text": FAKE}}),
              event("message_delta", {"usage": {"output_tokens": 7}}), event("message_stop", {"type": "message_stop"})]

    def script(_):
        yield head(EVENTS, CHUNKED) + chunk(events[0])
        for gate, data in zip(gates, events[1:]):
            yield gate
            yield chunk(data)
        yield b"0\r\n\r\n"
    upstream.script = script
    with gateway.connect() as connection:
        connection.send(harness.wire.request("POST", "/v1/messages", [("Host", "gw.test")] + harness.JSON,
                                             harness.chat("m", stream=True)))
        response = connection.head(3)
        pieces = connection.pieces(response, timeout=20)
        got = next(pieces)
        assert got == events[0]
        for gate, data in zip(gates, events[1:]):
            gate.set()
            start = time.monotonic()
            assert next(pieces) == data
            assert time.monotonic() - start < 1
        assert list(pieces) == [] and response.complete
    record = receiver.record(response.header("x-request-id"))
    assert usage_of(record) == ANTHROPIC and record["stream"] == "1" and record["ctype"].startswith("text/event-stream")
    upstream.script = None


def test_a_stream_that_the_tap_reads_is_not_held(haproxy, upstream, receiver):
    """The client gets the head, and pings, before the first event that HAProxy would read."""
    gates, ping = [threading.Event() for _ in range(2)], event("ping", {"type": "ping"})
    start = event("message_start", {"type": "message_start", "message": {"model": "m", "usage": ANTHROPIC}})

    def script(_):
        yield head(EVENTS, CHUNKED)
        yield gates[0]
        yield chunk(ping)
        yield gates[1]
        yield chunk(start) + b"0\r\n\r\n"
    upstream.script = script
    with TappedGateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment) as gateway, gateway.connect() as connection:
        connection.send(harness.wire.request("POST", "/v1/messages", [("Host", "gw.test")] + harness.JSON, harness.chat("m", stream=True)))
        response = connection.head(20)
        pieces = connection.pieces(response, timeout=20)
        for gate, data in zip(gates, (ping, start)):
            gate.set()
            assert next(pieces) == data
        assert list(pieces) == [] and response.complete
        record = receiver.record(response.header("x-request-id"))
        assert (record["srv"], record["seen"], record["usage"]) == ("tap", "", "")
    upstream.script = None


def test_the_first_event_counts(ask):
    """HAProxy records the usage of the first event even if later events arrive together with it, so the record does not depend on timing."""
    stream = b"".join([event("message_start", {"message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}),
                       event("content_block_delta", {"delta": {"text": FAKE}}),
                       event("message_delta", {"usage": {"output_tokens": 7}})])
    for answer in (sized(stream, EVENTS), chunked(stream, 10 ** 6, EVENTS)):
        exchange, record = ask(answer, "/v1/messages", asked={"stream": True})
        assert exchange.body == stream
        assert usage_of(record) == {"input_tokens": 11, "output_tokens": 1}, record


@pytest.mark.parametrize("target, kind", [
    ("/v1/chat/completions", "text/event-stream"), ("/v1/responses", "text/event-stream"),
    ("/v1/messages", "application/octet-stream"), ("/v1/audio/speech", "audio/mpeg"),
    ("/api/chat", "application/x-ndjson"), ("/v1/chat/completions", "application/stream+json")])
def test_other_streams_are_not_held(gateway, upstream, receiver, target, kind):
    """The client gets the head before the upstream sends the body, and each piece before the upstream sends the next."""
    gates = [threading.Event() for _ in range(2)]
    first, second = b'[{"usageMetadata":{"promptTokenCount":1}}\n', b',{"usage":{"prompt_tokens":1}}]\n'

    def script(_):
        yield head(("Content-Type", kind), CHUNKED)
        yield gates[0]
        yield chunk(first)
        yield gates[1]
        yield chunk(second) + b"0\r\n\r\n"
    upstream.script = script
    with gateway.connect() as connection:
        connection.send(harness.wire.request("POST", target, [("Host", "gw.test")] + harness.JSON, harness.chat("m")))
        response = connection.head(3)
        pieces = connection.pieces(response, timeout=20)
        gates[0].set()
        assert next(pieces) == first
        gates[1].set()
        assert next(pieces) == second and list(pieces) == []
    record = receiver.record(response.header("x-request-id"))
    assert record["usage"] == "" and record["term"] == "--"
    upstream.script = None


LINE = b'{"message":{"role":"assistant","content":"a } \\"{ %s"},"n":[{"a":1}],"done":false}\n'
ANSWER = b'{"id":"c1","object":"chat.completion","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}'
TOLD = json.loads(ANSWER)["usage"]


@pytest.mark.parametrize("asked", [{}, {"stream": True}], ids=["", "stream"])
@pytest.mark.parametrize("pieces, usage", [
    ([LINE % b"a", LINE % b"b", b'{"done":true}\n'], None), ([LINE % b"a" * 3, LINE % b"b"], None),
    ([LINE % b"x" * 100, LINE.replace(b"\n", b"\r\n") % b"b", b"\n", LINE % b"c"], None),
    ([b'data: {"a":1}\n\n', b"data: [DONE]\n\n"], None), ([b": ping\n\n", b'data: {"a":1}\n\n'], None),
    ([b"\n", b"\n", b"\n", ANSWER], None), ([b"  \r\n", ANSWER[:20], ANSWER[20:]], None), ([b" ", b" ", b"{}"], None),
    ([ANSWER + b"\n", b"\n"], TOLD), ([ANSWER + b"\n", ANSWER.replace(b"7", b"700") + b"\n"], TOLD),
], ids=str)
def test_a_stream_that_calls_itself_json_is_not_held(gateway, upstream, receiver, pieces, usage, asked):
    """Lines of JSON, events, and blank lines before an answer: the client gets each piece before the upstream sends the next."""
    gates = [threading.Event() for _ in pieces]

    def script(_):
        yield head(JSON, CHUNKED)
        for gate, piece in zip(gates, pieces):
            yield chunk(piece)
            yield gate
        yield b"0\r\n\r\n"
    upstream.script = script
    with gateway.connect() as connection:
        connection.send(harness.wire.request("POST", "/api/chat", [("Host", "gw.test")] + harness.JSON, harness.chat("m", **asked)))
        response = connection.head(3)
        got = connection.pieces(response, timeout=20)
        for gate, piece in zip(gates, pieces):
            assert next(got) == piece
            gate.set()
        assert list(got) == []
    record = receiver.record(response.header("x-request-id"))
    upstream.script = None
    # Of a stream that was asked for, a line may have the usage so far.
    assert (record["term"], usage_of(record), record["seen"] == "all") == ("--", usage, usage is not None and not asked), record


@pytest.mark.parametrize("answer", [ANSWER, ANSWER + b"\n", b"\n" + ANSWER, b"\xef\xbb\xbf" + ANSWER, json.dumps(json.loads(ANSWER), indent=2).encode() + b"\n"], ids=str)
@pytest.mark.parametrize("step", [1, 20, 1000])
def test_json_in_pieces_is_read_whole(ask, answer, step):
    if not (step == 1 and answer[:1] == b"\n"):     # a first piece that is blank is not held
        assert usage_of(ask(chunked(answer, step, JSON))[1]) == TOLD


def test_json_that_answers_a_stream(ask):
    """A request for a stream may be answered with JSON: the type of the answer decides, not what the request asked for."""
    answer = openai_body(CHAT, 500)
    assert usage_of(ask(sized(answer), asked={"stream": True})[1]) == CHAT
    assert usage_of(ask(chunked(answer, 100, JSON), asked={"stream": True})[1]) == CHAT


def test_slow_first_event(ask):
    """A model that thinks before its first event may take as long as `timeout server`, as without the gateway. (60 s were tried by hand.)"""
    first = event("message_start", {"message": {"usage": {"input_tokens": 5}}})
    exchange, record = ask(lambda _: [head(EVENTS, CHUNKED), 5, chunk(first), b"0\r\n\r\n"], "/v1/messages",
                           asked={"stream": True})
    assert exchange.status == 200 and exchange.body == first and usage_of(record) == {"input_tokens": 5}


def test_json_that_trickles(haproxy, upstream, receiver):
    """A body may take longer in all than `timeout server`, which limits only the silence between two pieces. If the upstream falls silent in the
    middle of a body, the client gets 504."""
    body = openai_body(CHAT, 1000)
    step = len(body) // 6 + 1

    def impatient(text):
        return text.replace("timeout server 600s", "timeout server 1s")
    upstream.script = lambda _: [head(JSON, CHUNKED)] + [
        one for at in range(0, len(body), step) for one in (0.4, chunk(body[at:at + step]))] + [b"0\r\n\r\n"]
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment, edit=impatient) as gateway:
        exchange = gateway.ask("m")
        assert exchange.status == 200 and exchange.body == body
        assert usage_of(receiver.record(exchange.header("x-request-id"))) == CHAT
        upstream.script = lambda _: [head(JSON, CHUNKED) + chunk(body[:200]), 3, None]
        exchange = gateway.ask("m")
        assert exchange.status == 504 and exchange.json()["error"]["code"] == "upstream_timeout"
        record = receiver.record(exchange.header("x-request-id"))
        assert (record["status"], record["term"][0]) == (504, "s"), record
    upstream.script = None


def test_json_cut_by_the_upstream(gateway, upstream, receiver):
    """The client must not take half a body for the whole: HAProxy answers with an error, or breaks its own answer off, too."""
    body = openai_body(CHAT, 1000, "head")
    for answer in (head(JSON, ("Content-Length", len(body))) + body[:600], head(JSON, CHUNKED) + chunk(body[:600])):
        upstream.script = lambda _, answer=answer: [answer, 0.2, None]
        try:
            exchange = gateway.ask("m")
        except harness.wire.Cut as cut:
            response = cut.response
        else:
            response = exchange.response
            assert response.status >= 500, response
        record = receiver.record(response.header("x-request-id"))
        assert record["term"][0] == "S", record
    upstream.script = None


# ---- compressed answers: HAProxy sends them to the agent, which decompresses them


def gzipped(body):
    return gzip.compress(body, mtime=0)


@pytest.fixture
def with_fake(haproxy, upstream, receiver):
    """with_fake(answer) starts a gateway with a fake agent, which answers `answer` to the message llm-response."""
    made = []

    def start(answer, edit_spoe=None):
        def decide(args):
            if "seen" in args:
                return answer(args) if callable(answer) else answer
            return {"backend": name, "route": "r", "model": "m", "protocol": "anthropic" if "messages" in args["path"]
                    else "openai", "allow": "passthrough", "stream": b"stream" in (args["body"] or b"")}
        name = "llm-127.0.0.1:%d" % upstream.port
        made.append(harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment, fake=decide,
                                    edit_spoe=edit_spoe))
        return made[-1]
    yield start
    for one in made:
        one.close()
    upstream.script = None


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "zstd", "deflate", "gzip, br"])
def test_compressed_json_goes_to_the_agent(with_fake, upstream, receiver, coding):
    gateway = with_fake({"usage": '{"prompt_tokens":5,"x":"\\" \u00e9"}'})
    for size in (1000, 900000):
        plain = openai_body(CHAT, size)
        body = gzipped(plain) if size < 10000 else plain    # the fake agent does not decompress: only the size counts
        for answer in (sized(body, JSON, ("Content-Encoding", coding)),
                       chunked(body, 60000, JSON, ("Content-Encoding", coding))):
            upstream.script = lambda _, answer=answer: [answer]
            exchange = gateway.ask("m")
            assert exchange.body == body and exchange.header("content-encoding") == coding
            record = receiver.record(exchange.header("x-request-id"))
            assert record["usage"] == '{"prompt_tokens":5,"x":"\\" \u00e9"}', record
            asked = gateway.agent.asked[-1]
            assert asked["body"] == body, (len(asked["body"]), len(body))
            assert asked["cenc"] == coding and asked["ctype"] == "application/json"
            # No length: HAProxy's own idea of it (res.body_size) leaves out bytes over HTTP/2.
            assert set(asked) == {"ctype", "cenc", "seen", "body"}


def test_compressed_first_event(with_fake, upstream, receiver):
    gate = threading.Event()
    gateway = with_fake(lambda args: {"usage": '{"input_tokens":%d}' % len(args["body"])})
    first, second = gzipped(b"one"), gzipped(b"two")
    upstream.script = lambda _: [head(EVENTS, ("Content-Encoding", "gzip"), CHUNKED) + chunk(first), gate, chunk(second), b"0\r\n\r\n"]
    with gateway.connect() as connection:
        connection.send(harness.wire.request("POST", "/v1/messages", [("Host", "gw.test")] + harness.JSON,
                                             harness.chat("m", stream=True)))
        response = connection.head(3)
        pieces = connection.pieces(response)
        assert next(pieces) == first
        gate.set()
        assert next(pieces) == second
    assert usage_of(receiver.record(response.header("x-request-id"))) == {"input_tokens": len(first)}


def test_uncompressed_does_not_go_to_the_agent(with_fake, upstream):
    gateway = with_fake({"usage": "{}"})
    body = openai_body(CHAT, 1000)
    for coding in ([], [("Content-Encoding", "identity")]):
        upstream.script = lambda _, coding=coding: [sized(body, JSON, *coding)]
        assert gateway.ask("m").body == body
    upstream.script = lambda _: [head(JSON, ("Content-Encoding", "gzip"), ("Content-Length", 4), status="400 No") + b"gzip"]
    assert gateway.ask("m").status == 400
    upstream.script = lambda _: [sized(b"gzip", ("Content-Type", "audio/mpeg"), ("Content-Encoding", "gzip"))]
    assert gateway.ask("m").body == b"gzip"
    assert not [args for args in gateway.agent.asked if "seen" in args]


@pytest.mark.parametrize("answer", [None, {}, {"usage": None}, spop.FakeAgent.CLOSE],
                         ids=["silent", "nothing", "null", "closes"])
def test_a_failing_agent_breaks_no_response(haproxy, with_fake, upstream, receiver, answer):
    # HAProxy 2.6 loses the timeout of a second question to the agent. With `option contstats` it looks at each stream every five seconds,
    # so the question ends then.
    bound, rounds = (7, 2) if harness.version_of(haproxy) < (3, 0) else (1.5, 5)

    def impatient(text):
        return text.replace("timeout processing 2s", "timeout processing 300ms")
    gateway = with_fake(answer, impatient)
    body = gzipped(openai_body(CHAT, 1000))
    upstream.script = lambda _: [sized(body, JSON, ("Content-Encoding", "gzip"))]
    for _ in range(rounds):
        start = time.monotonic()
        exchange = gateway.ask("m")
        took = time.monotonic() - start
        assert exchange.status == 200 and exchange.body == body and took < bound * harness.SLOW, took
        record = receiver.record(exchange.header("x-request-id"))
        assert record["usage"] == "" and record["status"] == 200 and record["term"] == "--", record


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_an_agent_lost_under_way_breaks_no_response(haproxy, upstream, receiver, number):
    body = gzipped(openai_body(CHAT, 1000))
    for _ in range(3):
        gate, reached = threading.Event(), threading.Event()

        def script(_, gate=gate, reached=reached):
            reached.set()
            yield gate
            yield sized(body, JSON, ("Content-Encoding", "gzip"))
        upstream.script = script
        with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment) as gateway:
            with gateway.connect() as connection:
                connection.send(harness.wire.request("POST", "/v1/chat/completions", [("Host", "gw.test")] + harness.JSON,
                                                     harness.chat("m")))
                assert reached.wait(10)
                gateway.agent.process.kill(number)
                if number == signal.SIGKILL:
                    gateway.agent.expect_exit = {-signal.SIGKILL}
                try:
                    start = time.monotonic()
                    gate.set()
                    response = connection.read()
                    took = time.monotonic() - start
                finally:
                    if number == signal.SIGSTOP:
                        gateway.agent.process.kill(signal.SIGCONT)
                assert response.status == 200 and response.body == body and took < 8 * harness.SLOW, (response, took)
            assert receiver.record(response.header("x-request-id"))["term"] == "--"
    upstream.script = None
