"""Every shape in which providers tell usage, through HAProxy into the ledger: one row of SHAPES is one answer. Each is sent plain, in pieces and
compressed, and with copies of other usage around it that must not count. docs/savings.md has the same table."""
import gzip
import json
import threading
import zlib

import pytest

import harness
from ledgers import LedgerGateway
from test_usage_capture import CHUNKED, EVENTS, JSON, Scripted, chunk, chunked, event, head, sized

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
GEMINI, GEMINI_STREAM = "/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent"
TEXT = 'he said "usage":{"prompt_tokens":999} \\" {{ '


def bedrock(*counts):
    names = ("input", "output", "cache-read-input", "cache-write-input")
    return [("x-amzn-bedrock-%s-token-count" % name, count) for name, count in zip(names, counts)]


# (what, path, the answer's members, input, output, cache_read, cache_write[, more headers of the answer])
SHAPES = [
    ("openai chat", CHAT, {"choices": [], "usage": {
        "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306, "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 120}}, "service_tier": "default"}, 86, 300, 1920, 0),
    ("openai completions, usage first", "/v1/completions", {"usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, "choices": [
        {"text": TEXT}]}, 5, 7, 0, 0),
    ("openai responses", RESPONSES, {"output": [], "usage": {
        "input_tokens": 328, "input_tokens_details": {"cached_tokens": 28}, "output_tokens": 52, "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 380}, "user": None, "metadata": {}}, 300, 52, 28, 0),
    ("openai embeddings", "/v1/embeddings", {"data": [{"embedding": [0.1, -2e-9]}], "usage": {"prompt_tokens": 8, "total_tokens": 8}}, 8, 0, 0, 0),
    ("openai images", "/v1/images/generations", {"data": [{"b64_json": "aGk="}], "usage": {
        "total_tokens": 100, "input_tokens": 50, "output_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}}, 50, 50, 0, 0),
    ("openai images without usage", "/v1/images/generations", {"created": 1, "data": [{"url": "u"}, {"url": "v"}]}, 0, 0, 0, 0),
    ("openai transcription by token", "/v1/audio/transcriptions", {"text": "hi", "usage": {
        "type": "tokens", "input_tokens": 14, "input_token_details": {"text_tokens": 0, "audio_tokens": 14}, "output_tokens": 45, "total_tokens": 59}},
     14, 45, 0, 0),
    ("openai transcription by second", "/v1/audio/transcriptions", {"text": "hi", "usage": {"type": "duration", "seconds": 3}}, 0, 0, 0, 0),
    ("anthropic", MESSAGES, {"content": [], "stop_reason": "end_turn", "usage": {
        "input_tokens": 2095, "cache_creation_input_tokens": 2051, "cache_read_input_tokens": 7, "output_tokens": 503, "service_tier": "standard",
        "cache_creation": {"ephemeral_5m_input_tokens": 51, "ephemeral_1h_input_tokens": 2000}, "server_tool_use": {"web_search_requests": 1}}},
     2095, 503, 7, 2051),
    ("anthropic, compacted", MESSAGES, {"content": [], "usage": {
        "input_tokens": 45, "output_tokens": 1234, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "iterations": [
            {"type": "compaction", "input_tokens": 180000, "output_tokens": 3500}, {"type": "message", "input_tokens": 45, "output_tokens": 1234}]}},
     180045, 4734, 0, 0),
    ("gemini", GEMINI, {"candidates": [], "usageMetadata": {
        "promptTokenCount": 1000, "candidatesTokenCount": 200, "totalTokenCount": 1300, "thoughtsTokenCount": 100, "cachedContentTokenCount": 400,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}]}, "modelVersion": "m"}, 600, 300, 400, 0),
    ("vertex, claude", "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict", {"content": [], "usage": {
        "input_tokens": 9, "output_tokens": 8, "cache_read_input_tokens": 1}}, 9, 8, 1, 0),
    ("vertex embeddings", "/v1/projects/p/locations/l/publishers/google/models/m:predict", {"predictions": [
        {"embeddings": {"statistics": {"token_count": 6.0, "truncated": False}, "values": [1]}}]}, 6, 0, 0, 0),
    ("bedrock converse", "/model/m/converse", {"output": {}, "usage": {
        "inputTokens": 30, "outputTokens": 628, "totalTokens": 1758, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 100},
        "metrics": {"latencyMs": 5}}, 30, 628, 1000, 100),
    ("bedrock headers", "/model/m/invoke", {"generation": TEXT}, 30, 628, 10, 5, bedrock(30, 628, 10, 5)),
    ("bedrock headers, embeddings", "/model/m/invoke", {"embedding": [1]}, 30, 0, 0, 0, bedrock(30)),
    ("bedrock llama", "/model/m/invoke", {"generation": TEXT, "prompt_token_count": 3, "generation_token_count": 4}, 3, 4, 0, 0),
    ("bedrock titan", "/model/m/invoke", {"inputTextTokenCount": 5, "results": [{"tokenCount": 7, "outputText": TEXT}]}, 5, 7, 0, 0),
    ("ollama chat", "/api/chat", {"message": {"content": TEXT}, "done": True, "prompt_eval_count": 1000, "eval_count": 200, "eval_duration": 5},
     1000, 200, 0, 0),
    ("ollama generate", "/api/generate", {"prompt_eval_count": 26.0, "response": TEXT, "eval_count": 298.0, "context": [1, 2]}, 26, 298, 0, 0),
    ("cohere v1", "/v1/chat", {"text": TEXT, "meta": {"api_version": {"version": "1"}, "billed_units": {"input_tokens": 5, "output_tokens": 418},
                                                       "tokens": {"input_tokens": 71, "output_tokens": 418}}}, 5, 418, 0, 0),
    ("cohere v2", "/v2/chat", {"message": {"content": []}, "usage": {"billed_units": {"input_tokens": 5, "output_tokens": 418},
                                                                     "tokens": {"input_tokens": 71, "output_tokens": 418}}}, 5, 418, 0, 0),
    ("cohere v2, tokens only", "/v2/chat", {"usage": {"tokens": {"input_tokens": 71, "output_tokens": 418}}}, 71, 418, 0, 0),
    ("cohere embed", "/v2/embed", {"embeddings": {"float": [[1]]}, "meta": {"billed_units": {"input_tokens": 4}}}, 4, 0, 0, 0),
    ("cohere rerank", "/v2/rerank", {"results": [], "meta": {"billed_units": {"search_units": 1}}}, 0, 0, 0, 0),
    ("mistral", CHAT, {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57, "prompt_audio_seconds": {}}}, 50, 7, 0, 0),
    ("deepseek", CHAT, {"choices": [], "usage": {"prompt_tokens": 13, "completion_tokens": 300, "total_tokens": 313, "prompt_cache_hit_tokens": 3,
                                                 "prompt_cache_miss_tokens": 10}}, 10, 300, 3, 0),
    ("openrouter", CHAT, {"choices": [], "usage": {"prompt_tokens": 194, "completion_tokens": 2, "total_tokens": 196, "cost": 0.95, "prompt_tokens_details": {
        "cached_tokens": 100, "cache_write_tokens": 50}}}, 44, 2, 100, 50),
    ("whole numbers with fractions, other letters", CHAT, {"usage": {"note": "\u00e9", "prompt_tokens": 1000.0, "completion_tokens": 8.0}}, 1000, 8, 0, 0),
]
ECHO = {"usage": {"prompt_tokens": 9, "completion_tokens": 9, "input_tokens": 900000000, "output_tokens": 9}, "usageMetadata": {"promptTokenCount": 9},
        "prompt_eval_count": 9, "eval_count": 9, "meta": {"billed_units": {"input_tokens": 9}}, "service_tier": "flex"}
BEFORE = {"tools": [{"parameters": {"properties": ECHO}}], "content": [{"type": "tool_use", "input": ECHO}]}
BEHIND = {"metadata": ECHO, "text_format": {"schema": {"usage": None, "a": [ECHO]}}}


def flated(body):
    one = zlib.compressobj(9, zlib.DEFLATED, 31)
    return one.compress(body) + one.flush()


def ways(body, more):
    """The same answer in other shapes of HTTP."""
    def coded(raw, coding, kind="application/json"):
        return sized(raw, ("Content-Type", kind), ("Content-Encoding", coding), *more)
    yield "sized", sized(body, JSON, *more)
    yield "chunked", chunked(body, 700, ("Content-Type", "application/json ;charset=utf-8"), *more)
    yield "gzip", coded(gzip.compress(body), "gzip")
    yield "two members", coded(gzip.compress(body[:40]) + gzip.compress(body[40:]), "gzip")
    yield "twice", coded(gzip.compress(gzip.compress(body)), "gzip, gzip", "text/json")
    yield "201", sized(body, ("Content-Type", "application/vnd.api+json"), *more).replace(b"200 OK", b"201 Made", 1)


@pytest.fixture(scope="module")
def upstream():
    mock = Scripted("upstream")
    yield mock
    mock.close()


@pytest.fixture(scope="module")
def gateway(haproxy, upstream):
    config = {"openai_target": upstream.url(), "anthropic_target": upstream.url(), "gemini_target": upstream.url(),
              "routes": [{"model_prefix": "*"}]}
    with LedgerGateway(haproxy, [upstream], config) as one:
        yield one


class Asked:
    """Requests, and what the ledger has to say of each."""

    def __init__(self, gateway, upstream):
        self.gateway, self.upstream, self.wants = gateway, upstream, {}
        self.before = len(gateway.rows())

    def ask(self, what, script, target, want, method="POST", **asked):
        self.upstream.script = script if callable(script) else lambda _: [script]
        exchange = self.gateway.call(method, target, harness.JSON, harness.chat("m", **asked))
        assert 200 <= exchange.status < 300, what
        self.wants[exchange.header("x-request-id")] = (what, want)
        return exchange

    def check(self):
        rows = self.gateway.by_id(self.before + len(self.wants))
        names = ("usage_from", "input", "output", "cache_read", "cache_write")
        wrong = [(what, want, got) for key, (what, want) in self.wants.items()
                 for got in [tuple(rows[key][name] for name in names[:len(want)])] if got != want]
        assert not wrong, "\n".join(map(str, wrong))


@pytest.fixture
def asked(gateway, upstream):
    one = Asked(gateway, upstream)
    yield one
    upstream.script = None


UNKNOWN = ("unknown", None, None, None, None)


def test_every_shape(asked):
    for what, target, members, *counts in SHAPES:
        more = counts[4] if len(counts) > 4 else []
        want = ("reported", *counts[:4])
        first, last = dict(members, **BEHIND), dict(BEFORE, **members)
        both = dict({"z": TEXT}, **dict(dict(BEFORE, **members), **BEHIND))
        for number, (way, answer) in enumerate(ways(json.dumps(members).encode(), more)):
            method = {1: "PUT", 2: "PATCH"}.get(number, "POST") if target == CHAT else "POST"
            asked.ask((what, way), answer, target, want, method=method, stream=number == 1)
        for name, body in (("echo behind", first), ("echo before", last)):
            if what == "openai images without usage" or "meta" in members:      # the echoed member is this shape's own
                continue
            asked.ask((what, name), sized(json.dumps(body).encode(), JSON, *more), target, want)
            asked.ask((what, name, "gzip"), sized(gzip.compress(json.dumps(body).encode()), JSON, ("Content-Encoding", "gzip"), *more), target, want)
        if "meta" not in members:
            big = dict(both, y="x" * 100000)
            asked.ask((what, "large, pretty"), sized(json.dumps(big, indent=2, ensure_ascii=False).encode(), JSON, *more), target, want)
    asked.check()


def test_what_is_echoed_is_no_usage(asked):
    """Where the real usage is null, missing or twice and different, nothing is known, whatever else looks like it."""
    for members in ({"usage": None}, {}, {"usageMetadata": None}, {"usage": [ECHO["usage"]]}, {"usage": json.dumps(ECHO)}):
        for body in (dict(BEFORE, **members), dict(members, **BEHIND), dict(dict(BEFORE, **members), **BEHIND)):
            raw = json.dumps(body).encode()
            for answer in (sized(raw), chunked(raw, 300), sized(gzip.compress(raw), JSON, ("Content-Encoding", "gzip")),
                           sized(json.dumps(dict(body, y="x" * 30000)).encode())):
                asked.ask(body, answer, RESPONSES, UNKNOWN)
    one, other = b'"usage":{"prompt_tokens":5,"completion_tokens":1}', b'"usage":{"prompt_tokens":9,"completion_tokens":1}'
    asked.ask("null behind", sized(b"{" + one + b',"usage":null}'), CHAT, UNKNOWN)
    asked.ask("negative", sized(b'{"usage":{"prompt_tokens":-5,"completion_tokens":1}}'), CHAT, ("partial", 0, 1, 0, 0))
    far = b"{" + one + b',"x":"' + b"x" * 9000 + b'",' + other + b"}"
    for raw in (b"{" + one + b"," + other + b"}", far, b'{"usage":null,' + one + b"}"):
        # Of a long answer HAProxy looks at the end, where the last of two stands, which is the one that parsers take.
        asked.ask(raw, sized(raw), CHAT, ("reported", 9, 1, 0, 0) if raw == far else UNKNOWN)
        asked.ask(raw, sized(gzip.compress(raw), JSON, ("Content-Encoding", "gzip")), CHAT, UNKNOWN)
    # JSON lets a letter of a key be escaped. Read it as it is meant, in HAProxy and in the agent.
    for escaped in (b"us\\u0061ge", b"usa\\u0067\\u0065", b"\\u0075sage"):
        same, differs = one.replace(b"usage", escaped), other.replace(b"usage", escaped)
        asked.ask(same, sized(b"{" + same + b"}"), CHAT, ("reported", 5, 1, 0, 0))
        for raw in (b"{" + one + b"," + differs + b"}", b"{" + differs + b"," + one + b"}")[:1 if escaped[:1] == b"\\" else 2]:
            asked.ask(raw, sized(raw), CHAT, UNKNOWN)
    # An endpoint that nobody knows may tell its usage too.
    echo = json.dumps({"x": ECHO}).encode()[:-1]
    asked.ask("other endpoint", sized(echo + b"," + one + b"}"), "/v1/x", ("reported", 5, 1, 0, 0))
    asked.check()


def test_the_tier_is_told(asked):
    """A service tier beside the usage, in front of it or behind, has another price; one that is echoed elsewhere has not."""
    usage, wants = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}, {}
    for body, tier in (({"usage": usage, "service_tier": "flex"}, "flex"), ({"service_tier": "priority", "x": ECHO, "usage": usage}, "priority"),
                       ({"usage": usage, "service_tier": "default"}, ""),
                       ({"usage": usage, "service_tier": "performance"}, "performance"), ({"usage": usage, "serviceTier": {"type": "flex"}}, "flex"),
                       ({"x": {"service_tier": "flex"}, "usage": usage, "service_tier": None}, "")):
        raw = json.dumps(body).encode()
        for answer in (sized(raw), sized(gzip.compress(raw), JSON, ("Content-Encoding", "gzip"))):
            wants[asked.ask(body, answer, CHAT, ("reported", 5, 1, 0, 0)).header("x-request-id")] = tier
    # A key with escaped letters, where HAProxy looks: its first one only behind the usage.
    for escaped, bodies in ((b"service\\u005ftier", ({"service_tier": "flex", "usage": usage}, {"usage": usage, "service_tier": "flex"})),
                            (b"\\u0073ervice_tier", ({"usage": usage, "service_tier": "flex"},))):
        for body in bodies:
            raw = json.dumps({"pad": "x" * 4000, **body} if "service_tier" == list(body)[1] else body).encode().replace(b"service_tier", escaped)
            wants[asked.ask((escaped, body), sized(raw), CHAT, ("reported", 5, 1, 0, 0)).header("x-request-id")] = "flex"
    asked.check()
    lines = [json.loads(line) for line in asked.gateway.haproxy.text().splitlines() if line.startswith('{"v":2')]
    assert {line["id"]: line["tier"].replace("default", "") for line in lines if line["id"] in wants} == wants


def test_the_end_of_a_long_answer(asked):
    """HAProxy looks at the last 2 KB of a long answer. A service tier that stands in front of them counts too, and what only looks like one does not."""
    usage, wants, tail = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}, {}, {"user": None, "metadata": {}}
    for size in (2000, 3000, 3100, 6000, 14000, 33000, 70000):
        pad = {"pad": "x" * size}
        for target, body, tier in (
                (CHAT, {**pad, "usage": usage}, ""),
                (CHAT, {**pad, "usage": usage, "service_tier": "default"}, ""),
                (CHAT, {**pad, "usage": usage, "service_tier": "flex"}, "flex"),
                (RESPONSES, {"service_tier": "flex", **pad, "usage": usage, **tail}, "flex"),
                (RESPONSES, {"service_tier": "default", **pad, "usage": usage, **tail}, ""),
                (RESPONSES, {**pad, "service_tier": "default", "tools": [ECHO], "usage": usage, **tail}, ""),
                (RESPONSES, {**pad, "service_tier": "priority", "tools": [], "usage": usage, **tail}, "priority"),
                # One of the outermost object, and another one deeper that is nearer.
                (RESPONSES, {"service_tier": "flex", **pad, "tools": [{"service_tier": "default"}], "usage": usage, **tail}, "flex"),
                (RESPONSES, {"service_tier": "flex", **pad, "usage": usage, "metadata": {"service_tier": "default"}}, "flex"),
                (RESPONSES, {"service_tier": "flex", **pad, "usage": usage, "note": "service_tier"}, "flex"),
                (RESPONSES, {"tools": [ECHO], **pad, "usage": usage, "service_tier": None}, ""),
                (CHAT, {"serviceTier": {"type": "flex"}, **pad, "usage": usage}, "flex"),
                (MESSAGES, {"tools": [ECHO], **pad, "usage": usage}, ""),
                # Not where the end shows it.
                (CHAT, {"usage": usage, "service_tier": "flex", **pad}, "flex"),
                ("/v1/x", {"usage": usage, **pad}, ""),
                ("/v1/x", {**pad, "usage": usage, "y": ECHO}, "")):
            for indent in (None, 2):
                answer = sized(json.dumps(body, indent=indent).encode())
                wants[asked.ask((target, body, indent), answer, target, ("reported", 5, 1, 0, 0)).header("x-request-id")] = tier
    # The key stands where the end begins.
    for pad in range(1900, 2050, 6):
        answer = sized(json.dumps({"pad": "x" * 4000, "service_tier": "flex", "y": "x" * pad, "usage": usage}).encode())
        wants[asked.ask(("at the end's beginning", pad), answer, CHAT, ("reported", 5, 1, 0, 0)).header("x-request-id")] = "flex"
    asked.check()
    lines = [json.loads(line) for line in asked.gateway.haproxy.text().splitlines() if line.startswith('{"v":2')]
    assert {line["id"]: line["tier"].replace("default", "") for line in lines if line["id"] in wants} == wants


def test_larger_than_the_buffer(haproxy, asked):
    """The usage of an answer that the buffer does not hold is unknown if it stands at the end, and partial if it stands at the beginning, because
    the rest may tell another one. An object at the cut is not taken for it."""
    usage, target = {"prompt_tokens": 6000, "total_tokens": 6000}, "/v1/embeddings"
    size = 1 << 20 if harness.version_of(haproxy) < (3, 0) else 4 << 20
    raw = json.dumps({"data": [{"embedding": "x" * (size + 90000)}], "usage": usage}).encode()
    asked.ask("at the end", sized(raw), target, UNKNOWN)
    asked.ask("at the end, chunked", chunked(raw, 60000), target, UNKNOWN)
    raw = json.dumps({"data": [{"embedding": "x" * (5 << 20)}], "usage": usage}).encode()
    asked.ask("at the end, gzip", sized(gzip.compress(raw, 1), JSON, ("Content-Encoding", "gzip")), target, UNKNOWN)
    raw = json.dumps({"usage": usage, "data": [{"embedding": "x" * (size + 90000)}]}).encode()
    asked.ask("at the beginning", sized(raw), target, ("partial", 6000, 0, 0, 0))
    raw = json.dumps({"data": [{"embedding": "x" * 900000}], "usage": usage}).encode()
    for answer in (sized(raw), chunked(raw, 60000), sized(gzip.compress(raw, 1), JSON, ("Content-Encoding", "gzip"))):
        asked.ask("nearly as large", answer, target, ("reported", 6000, 0, 0, 0))
    echo = b'{"usage":{"prompt_tokens":1}},'
    raw = b'{"tools":[' + echo * ((size + 90000) // len(echo)) + b'{}],"usage":null}'
    for shift in range(len(echo)):     # the buffer ends right behind such an object for one of these
        asked.ask(("cut", shift), sized(raw[:10] + b" " * shift + raw[10:]), CHAT, UNKNOWN)
    # What is there up to the cut, in the blanks, looks like an answer that ends behind its usage.
    raw = b'{"pad":"' + b"x" * (size - 60000) + b'","x":{"usage":{"prompt_tokens":1}}' + b" " * 90000 + b',"usage":null}'
    asked.ask("cut in blanks", sized(raw), CHAT, UNKNOWN)
    # The same, where the object stands in the last 2 KB of what is there. (Where exactly the buffer ends differs between versions.)
    for pad in range(size - 8000, size, 500):
        raw = b'{"pad":"' + b"x" * pad + b'","x":{"usage":{"prompt_tokens":1}}' + b" " * 1500 + b',"y":"' + b"x" * 90000 + b'","usage":null}'
        asked.ask(("cut in few blanks", pad), sized(raw), MESSAGES, UNKNOWN)
    asked.check()


SECRET = "contents-of-the-answer"


def hostile(deep):
    """Bodies for which PCRE gives up, or goes far: brackets in brackets, keys without end, objects that nothing closes."""
    nest, text = b'{"a":' * deep + b"1" + b"}" * deep, json.dumps(SECRET).encode()
    yield b'{"t":' + text + b',"usage":' + nest + b"}"
    yield b'{"t":' + text + b',"usage":{"prompt_tokens":1},"x":' + nest + b"}"
    yield b'{"t":' + text + b',"usage":{"prompt_tokens":1},"x":' + b"[" * deep + b"]" * deep + b"}"
    yield b'{"t":' + text + b"," + b'"usage":{"a":' * deep + b"1" + b"}" * deep + b"}"
    yield b'{"t":' + text + b"," + b'"usage":{},' * deep + b'"z":1}'
    yield b'{"t":' + text + b"," + b'"usage":{"x":' * deep
    yield b'{"t":' + text + b',"usage":{' + b'"\\' * deep
    yield b"u{" + text + b"[" * deep
    yield b'{"t":' + text + b',"usage":{"x":"\0' + text + b'"}}'
    yield b'{"t":' + text + b',"usage":"' + SECRET.encode() + b'"}'


def test_hostile_bodies_leave_nothing_in_the_line(asked):
    """If PCRE gives up, HAProxy leaves a text as it is: nothing of it may stand in the log line, which HAProxy prints on its standard output."""
    for deep in (30, 150, 700, 3000, 60000):
        for number, raw in enumerate(hostile(deep)):
            for kind, target in ((JSON, CHAT), (EVENTS, MESSAGES), (JSON, GEMINI_STREAM)):
                data = b"data: " + raw + b"\n\n" if kind == EVENTS else b"[" + raw if target == GEMINI_STREAM else raw
                script = chunked(data, 60000, kind) if target == GEMINI_STREAM else sized(data, kind)
                exchange = asked.ask((deep, number, target), script, target, ())
                assert exchange.body == data
    asked.check()
    assert "\"v\":2" in asked.gateway.haproxy.text() and SECRET not in asked.gateway.haproxy.text()


# ---- the first event of a stream

STARTED = {"input_tokens": 31, "cache_read_input_tokens": 50000, "cache_creation_input_tokens": 4, "output_tokens": 1}
START = event("message_start", {"type": "message_start", "message": {"id": "msg", "content": [], "metadata": ECHO, "model": "m", "usage": STARTED}})
PING = event("ping", {"type": "ping"})
REST = event("content_block_delta", {"delta": {"text": TEXT}}) + event("message_delta", {"usage": {"output_tokens": 7}}) + event("message_stop", {})
TOLD = ("estimated", 31)
CODED = ("partial", 31)    # compressed bytes tell nothing of the output


def flushed(*parts):
    """gzip as servers write streams: a header by itself, and a flush behind each part."""
    one = zlib.compressobj(6, zlib.DEFLATED, 31)
    out = [one.compress(b"")]
    for part in parts:
        out.append(one.compress(part) + one.flush(zlib.Z_SYNC_FLUSH))
    return out[:1] + out[1:-1] + [out[-1] + one.flush()]


def test_anthropics_first_event(asked):
    pause = 0.05
    plain = [("whole", [START, REST]), ("a comment first", [b": ping\n\n", START, REST]), ("a ping first", [PING, START, REST]),
             ("pings first", [PING, PING + b": x\n\n", PING, START, REST]), ("all at once", [PING + START + REST])]
    plain += [("in pieces %d" % at, [START[:at], START[at:], REST]) for at in (1, 20, 150, 299, len(START) - 1)]
    plain += [("byte for byte", [START[at:at + 40] for at in range(0, len(START), 40)] + [REST])]
    for what, parts in plain:
        def script(_, parts=parts):
            yield head(EVENTS, CHUNKED)
            for part in parts:
                yield chunk(part)
                yield pause
            yield b"0\r\n\r\n"
        assert asked.ask(what, script, MESSAGES, TOLD, stream=True).body == b"".join(parts)
    for what, parts in plain:
        coded = flushed(*parts)

        def script(_, coded=coded):
            yield head(EVENTS, ("Content-Encoding", "gzip"), CHUNKED)
            for part in coded:
                if part:
                    yield chunk(part)
                    yield pause
            yield b"0\r\n\r\n"
        assert asked.ask((what, "gzip"), script, MESSAGES, CODED, stream=True).body == b"".join(coded)
    asked.check()
    assert {row["cache_read"] for key, row in asked.gateway.by_id(0).items() if key in asked.wants} == {50000}


def test_geminis_first_chunk(asked):
    def said(output, **more):
        return dict({"candidates": [{"content": {"parts": [{"text": TEXT}, {"functionCall": {"args": ECHO}}]}}], "usageMetadata": {
            "promptTokenCount": 17, "candidatesTokenCount": output, "totalTokenCount": 17 + output, "cachedContentTokenCount": 5}}, **more)
    events = [b"data: " + json.dumps(said(3 * at, modelVersion="m")).encode() + b"\r\n\r\n" for at in (1, 2)]
    array = [b"[" + json.dumps(said(3), indent=2).encode() + b"\n", b",\r\n" + json.dumps(said(6), indent=2).encode() + b"\n]"]
    for kind, parts in ((EVENTS, events), (JSON, array)):
        for pieces in (parts, [parts[0][:100], parts[0][100:], parts[1]], [b"".join(parts)]):
            def script(_, kind=kind, pieces=pieces):
                yield head(kind, CHUNKED)
                for piece in pieces:
                    yield chunk(piece)
                    yield 0.05
                yield b"0\r\n\r\n"
            exchange = asked.ask((kind, len(pieces)), script, GEMINI_STREAM, ("estimated", 12), stream=True)
            assert exchange.body == b"".join(parts)
    # An element without usage tells nothing, and is not held: the client has it before the upstream sends the next.
    gate, quiet = threading.Event(), [b'[{"candidates":[{"a":[1]}]}\n', b",\r\n" + array[1].split(b",", 1)[1]]

    def script(_):
        yield head(JSON, CHUNKED)
        yield chunk(quiet[0])
        yield gate
        yield chunk(quiet[1])
        yield b"0\r\n\r\n"
    asked.upstream.script = script
    with asked.gateway.connect() as connection:
        connection.send(harness.wire.request("POST", GEMINI_STREAM, [("Host", "gw.test")] + harness.JSON, harness.chat("m", stream=True)))
        response = connection.head(20)
        pieces = connection.pieces(response, timeout=20)
        assert next(pieces) == quiet[0]
        gate.set()
        assert b"".join(pieces) == quiet[1]
    asked.wants[response.header("x-request-id")] = ("array without usage", ("estimated",))
    asked.ask("array of known length", sized(b"".join(array)), GEMINI_STREAM, ("reported", 12, 6, 5, 0))
    asked.check()


def test_lines_of_json(asked):
    """Ollama streams lines. Where their length is known, they are no stream, and the last one tells the usage."""
    lines = b'{"message":{"content":"a"},"done":false}\n{"done":true,"prompt_eval_count":3,"eval_count":4}\n'
    kind = ("Content-Type", "application/x-ndjson")
    asked.ask("sized", sized(lines, kind), "/api/chat", ("reported", 3, 4, 0, 0))
    asked.check()
