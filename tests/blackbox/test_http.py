"""HTTP as clients send it: framing, streams, connections, request ids, and headers that only the gateway may set."""
import gzip
import json
import threading
import time

import pytest

import harness
import http2
import wire
from harness import CLIENT_KEY, JSON, bearer, chat, secret

KEY = secret("http")
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock):
    mocks = {name: make_mock("http-" + name) for name in ("a", "b", "star", "openai", "anthropic", "gemini")}
    config = {"routes": [{"model_prefix": "a-", "upstream": mocks["a"].url("/api"), "auth": "env:KEY"},
                         {"model_prefix": "b-", "upstream": mocks["b"].url()},
                         {"model_prefix": "missing-", "upstream": mocks["a"].url("/api"), "auth": "env:NONE"},
                         {"model_prefix": "*", "upstream": mocks["star"].url()}]}
    config.update({name + "_target": mocks[name].url() for name in ("openai", "anthropic", "gemini")})
    with harness.Gateway(haproxy, mocks.values(), config, env={"KEY": KEY},
                         owners={KEY: [mocks["a"]]}) as gateway:
        gateway.by_name = mocks
        yield gateway


@pytest.fixture(autouse=True)
def well_behaved(gateway):
    yield
    for mock in gateway.by_name.values():
        mock.reset()


# ---- bodies


@pytest.mark.parametrize("pieces", [1, 7, 100, 100000])
def test_chunked(gateway, pieces):
    body = chat("a-1", pad="\u20ac" * 2000)
    got = gateway.post(CHAT, None, chunks=[body[at:at + pieces] for at in range(0, len(body), pieces)]).only(
        gateway.by_name["a"])
    assert got.body == body
    assert got.chunked != bool(got.header("content-length"))


def test_a_body_in_many_writes(gateway):
    body = chat("a-1", pad="x" * 3000)
    with gateway.connect() as connection:
        tag = gateway.tag()
        raw = wire.request("POST", CHAT, [("Host", "x"), ("Content-Type", "application/json"), ("x-client-request-id", tag)], body)
        for at in range(0, len(raw), 37):
            connection.send(raw[at:at + 37])
        answer = harness.Exchange(gateway, tag, connection.read())
    assert answer.only(gateway.by_name["a"]).body == body


def test_expect_100_continue(gateway):
    """Like curl with a large body, the client sends the body only after the gateway's 100 Continue."""
    body = chat("a-1", pad="x" * 5000)
    with gateway.connect() as connection:
        tag = gateway.tag()
        raw = wire.request("POST", CHAT, [("Host", "x"), ("Content-Type", "application/json"), ("x-client-request-id", tag),
                                          ("Expect", "100-continue"), ("Content-Length", str(len(body)))])
        connection.send(raw)
        harness.until(lambda: connection._more(time.monotonic() + 5) and b"100 Continue" in connection.buffer, 5,
                      "100 Continue")
        connection.send(body)
        response = connection.read()
    assert response.interim.count(100) >= 1 and response.status == 200
    assert harness.Exchange(gateway, tag, response).only(gateway.by_name["a"]).body == body


def test_expect_100_continue_refused(gateway):
    with gateway.connect() as connection:
        tag = gateway.tag()
        body = chat("missing-1")
        raw = wire.request("POST", CHAT, [("Host", "x"), ("Content-Type", "application/json"), ("x-client-request-id", tag),
                                          ("Expect", "100-continue")], body)
        connection.send(raw)
        harness.Exchange(gateway, tag, connection.read()).refused(502, "upstream_auth_unavailable")


@pytest.mark.parametrize("size", [0, 1, 1000, 8191, 8192, 8193])
def test_bodies_unchanged(gateway, size):
    body = b'{"model":"a-1","x":"%s"}' % (bytes(32 + at % 90 for at in range(size)).replace(b'"', b"'")
                                          .replace(b"\\", b"/"))
    assert gateway.post(CHAT, body).only(gateway.by_name["a"]).body == body


def test_bytes_that_are_no_utf_8_stay(gateway):
    body = b'{"model":"a-1","x":"\xff\xfe\x80 \xc3"}'
    answer = gateway.post(CHAT, body)
    if answer.status == 200:
        assert answer.only(gateway.by_name["a"]).body == body
    else:
        answer.refused(400, "invalid_json")


def test_http_1_0(gateway):
    with gateway.connect() as connection:
        tag = gateway.tag()
        connection.send(wire.request("POST", CHAT, [("x-client-request-id", tag)], chat("a-1"), version="HTTP/1.0"))
        answer = harness.Exchange(gateway, tag, connection.read())
    assert answer.only(gateway.by_name["a"]).all("host") == [gateway.by_name["a"].authority]


@pytest.mark.parametrize("name, model", [("a", "a-1"), ("star", "other")])
def test_http_2_in_clear_text(gateway, name, model):
    with http2.Connection(gateway.address) as connection:
        answer = gateway.call("POST", CHAT + "?x=y", JSON + bearer(), chat(model), connection=connection)
    assert answer.status == 200 and answer.json()["model"] == model
    mock = gateway.by_name[name]
    got = answer.only(mock)
    assert got.body == chat(model)
    assert got.target == ("/api" if name == "a" else "") + CHAT + "?x=y"
    assert got.all("authorization") == ["Bearer " + (KEY if name == "a" else CLIENT_KEY)]
    assert got.all("host") == [mock.authority]


def test_http_2_refused(gateway):
    with http2.Connection(gateway.address) as connection:
        answer = gateway.call("POST", "/v1/messages", JSON, chat("missing-1"), connection=connection)
    answer.refused(502, "upstream_auth_unavailable", "anthropic")


# ---- connections


def test_families_on_one_connection(gateway):
    requests = [
        ("a", CHAT, chat("a-1"), bearer()),
        ("star", "/v1/messages", chat("claude-x"), [("x-api-key", CLIENT_KEY)]),
        ("b", "/v1beta/models/b-1:generateContent", b'{"contents":[]}', [("x-goog-api-key", CLIENT_KEY)]),
        ("star", "/v1/responses", b'{"input":"x"}', bearer()),
        ("a", "/v1/messages?beta=true", chat("a-2", stream=True), [("x-api-key", CLIENT_KEY)]),
        ("b", CHAT, chat("b-3", stream=True), bearer()),
    ]
    with gateway.connect() as connection:
        for _ in range(3):
            for name, target, body, headers in requests:
                got = gateway.post(target, body, headers, connection=connection).only(gateway.by_name[name])
                assert got.body == body
                assert got.has(CLIENT_KEY) == (name != "a")
            answer = gateway.call("GET", "/v1/models", bearer(), connection=connection)
            answer.only(gateway.by_name["openai"])


def test_pipelined_by_the_client(gateway):
    """Three requests in one write go to three upstreams."""
    with gateway.connect() as connection:
        wanted, raw = [], b""
        for model, name in (("a-1", "a"), ("other", "star"), ("b-1", "b")):
            tag = gateway.tag()
            raw += wire.request("POST", CHAT, [("Host", "x"), ("Content-Type", "application/json"), ("x-client-request-id", tag)]
                                + bearer(), chat(model))
            wanted.append((tag, name, model))
        connection.send(raw)
        for tag, name, model in wanted:
            answer = harness.Exchange(gateway, tag, connection.read())
            got = answer.only(gateway.by_name[name])
            assert got.body == chat(model) and answer.json()["model"] == model


def test_upstream_connections_are_used_again(gateway):
    mock = gateway.by_name["b"]
    with gateway.connect() as connection:
        used = {gateway.ask("b-1", connection=connection).only(mock).connection for _ in range(10)}
    assert len(used) <= 2, "a new connection to the upstream for each request"


def test_many_at_once(gateway):
    failures = []

    def client(at):
        try:
            with gateway.connect() as connection:
                for turn in range(15):
                    name = ("a", "b", "star")[(at + turn) % 3]
                    model = "%s-%d" % (name, at)
                    answer = gateway.ask(model, stream=bool(turn % 2), connection=connection)
                    got = answer.only(gateway.by_name[name])
                    assert got.has(CLIENT_KEY) == (name != "a")
                    assert json.loads(got.body)["model"] == model
        except BaseException as error:      # noqa: B902 (reported below)
            failures.append(error)
    threads = [threading.Thread(target=client, args=(at,)) for at in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


# ---- streams


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("model, name", [("a-1", "a"), ("other", "star")])
def test_a_stream_passes_whole(gateway, target, model, name):
    answer = gateway.ask(model, target=target, stream=True)
    answer.only(gateway.by_name[name])
    assert answer.header("content-type") == "text/event-stream" and answer.complete
    assert len(answer.events()) >= 2 and "usage" in json.dumps(answer.events())


def test_a_gemini_stream(gateway):
    answer = gateway.post("/v1beta/models/a-1:streamGenerateContent?alt=sse&key=" + CLIENT_KEY, b'{"contents":[]}', [])
    assert answer.only(gateway.by_name["a"]).target == "/api/v1beta/models/a-1:streamGenerateContent?alt=sse"
    assert "usageMetadata" in answer.events()[-1]


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/messages"])
def test_a_stream_is_not_held_back(gateway, target):
    """The client has the first event before the upstream sends the second one."""
    mock = gateway.by_name["a"]
    mock.gate = threading.Event()
    with gateway.connect() as connection:
        connection.send(wire.request("POST", target, [("Host", "x"), ("Content-Type", "application/json"),
                                                      ("x-client-request-id", gateway.tag())], chat("a-1", stream=True)))
        response = connection.head()
        pieces = connection.pieces(response, "POST")
        assert b"data: " in next(pieces)
        mock.gate.set()
        for _ in pieces:
            pass
    assert response.complete and len(response.events()) >= 2


def test_a_stream_that_breaks_off(gateway):
    """The client sees that the stream is incomplete, because a broken stream never looks like one that has ended."""
    gateway.by_name["a"].break_after = 1
    with pytest.raises(wire.Cut):
        gateway.ask("a-1", stream=True)
    gateway.by_name["a"].reset()
    assert gateway.ask("a-1", stream=True).complete


def test_a_client_that_leaves_in_mid_stream(gateway):
    mock = gateway.by_name["a"]
    mock.gate = threading.Event()
    with gateway.connect() as connection:
        connection.send(wire.request("POST", CHAT, [("Host", "x"), ("Content-Type", "application/json"),
                                                    ("x-client-request-id", gateway.tag())], chat("a-1", stream=True)))
        connection.head()
    mock.gate.set()
    assert gateway.ask("a-1").status == 200


def test_the_log_says_where_a_request_went(gateway):
    """HAProxy logs one line for each request, with id, route and model, and never with the query string."""
    mine = secret("logged")
    for model, route in (("a-1", "a-"), ("other", "*"), ("missing-1", "missing-")):
        answer = gateway.ask(model, bearer(mine), CHAT + "?key=%s&x=querysecret" % mine)
        harness.until(lambda: answer.header("x-request-id") in gateway.haproxy.text(), 5, "the request's log line")
        line, = [one for one in gateway.haproxy.text().splitlines() if answer.header("x-request-id") in one]
        assert mine not in line and "querysecret" not in line
        record = json.loads(line[line.index("{"):])
        assert (record["route"], record["model"], record["method"]) == (route, model, "POST")
        assert str(answer.status) in str(record["status"])
        assert model != "missing-1" or "upstream_auth_unavailable" in line


def test_compressed_answers_pass_unchanged(gateway):
    packed = gzip.compress(b'{"usage":{"prompt_tokens":1}}')
    gateway.by_name["a"].respond = lambda _request: (200, [("Content-Type", "application/json"),
                                                          ("Content-Encoding", "gzip")], packed)
    answer = gateway.call("POST", CHAT, harness.JSON + [("Accept-Encoding", "gzip")], chat("a-1"))
    assert answer.body == packed and answer.header("content-encoding") == "gzip"
    assert answer.only(gateway.by_name["a"]).header("accept-encoding") == "gzip"


# ---- request ids, and headers that only the gateway may set


@pytest.mark.parametrize("model", ["a-1", "b-1", "other"])
def test_the_request_id_is_ours_both_ways(gateway, model):
    seen = set()
    for theirs in ([], [("X-Request-Id", "theirs")], [("x-request-id", "theirs"), ("X-REQUEST-ID", "theirs2")]):
        answer = gateway.ask(model, bearer() + theirs)
        mine = answer.all("x-request-id")
        assert len(mine) == 1 and mine[0] and "theirs" not in mine[0]
        got, = answer.seen
        assert got.all("x-request-id") == mine
        seen.add(mine[0])
    assert len(seen) == 3


def test_the_upstreams_own_request_id(gateway):
    """The client gets the gateway's id as x-request-id, and the upstream's own as x-upstream-request-id."""
    gateway.by_name["a"].extra_headers = [("x-request-id", "upstreams"), ("request-id", "req_1")]
    answer = gateway.ask("a-1")
    got, = answer.seen
    assert answer.all("x-request-id") == got.all("x-request-id")
    assert answer.all("request-id") == ["req_1"]
    assert answer.all("x-upstream-request-id") == ["upstreams"]


FORGED = ["x-llm-deny", "X-LLM-Backend", "x-llm-auth", "X-Llm-Anything-Else", "x-llm-"]


@pytest.mark.parametrize("model", ["a-1", "b-1", "other"])
def test_a_client_cannot_pretend_to_be_the_gateway(gateway, model):
    got, = gateway.ask(model, bearer() + [(name, "0") for name in FORGED] + [(FORGED[0], "1"), ("x-llms", "stays")]).seen
    assert not [name for name, value in got.headers if name.lower().startswith("x-llm-") and value in "01"]
    assert got.all("x-llms") == ([] if model == "a-1" else ["stays"])


def test_a_legacy_client_cannot_pretend_to_be_the_gateway(gateway):
    got, = gateway.call("GET", "/v1/models", bearer() + [(name, "0") for name in FORGED]).seen
    assert not [name for name, value in got.headers if name.lower().startswith("x-llm-") and value == "0"]


def test_an_upstream_cannot_pretend_to_be_the_gateway(gateway):
    gateway.by_name["a"].extra_headers = [(name, "forged") for name in FORGED] + [("x-llms", "stays")]
    answer = gateway.ask("a-1")
    assert not [name for name, value in answer.headers if value == "forged"]
    assert answer.all("x-llms") == ["stays"]


@pytest.mark.parametrize("header, value", [
    ("User-Agent", "OpenAI/Python 1.2"), ("Accept", "text/event-stream"), ("anthropic-beta", "a,b"), ("X-Stainless-Retry-Count", "0"),
    ("Accept-Encoding", "gzip, deflate, br"), ("Idempotency-Key", "i"), ("Range", "bytes=0-1")])
def test_headers_that_say_nothing_of_the_client_stay(gateway, header, value):
    for model in ("a-1", "other"):
        got, = gateway.ask(model, [(header, value)]).seen
        assert got.all(header) == [value]


@pytest.mark.parametrize("header, value", [
    ("OpenAI-Organization", "org"), ("x-codex-turn-metadata", '{"a":1}'), ("X-Goog-User-Project", "p"), ("X-Custom", "\u00e9")])
def test_other_headers_stay_with_the_clients_own_credential(gateway, header, value):
    got, = gateway.ask("other", [(header, value)]).seen
    assert got.all(header) == [value]


def test_answer_headers_stay(gateway):
    kept = [("openai-processing-ms", "7"), ("x-ratelimit-remaining-requests", "9"), ("anthropic-ratelimit-tokens-reset", "x"),
            ("x-headroom-tokens-saved", "5"), ("WWW-Authenticate", "Bearer"), ("Location", "/v1/files/1?after=2&token_count=3")]
    cookies = [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
    for name, model, sent in (("a", "a-1", kept), ("b", "b-1", kept + cookies)):
        gateway.by_name[name].extra_headers = sent
        answer = gateway.ask(model)
        for header, value in sent:
            assert value in answer.all(header)


# ---- requests that try to be two


SMUGGLED = {
    "both lengths": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "a length that is none": b"Content-Length: 5x\r\n\r\nabcde",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": b"Authorization : Bearer x\r\nContent-Length: 2\r\n\r\n{}",
    "a bad chunk size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_ambiguous_framing_reaches_no_one_twice(gateway, case):
    tag = gateway.tag()
    with gateway.connect(5) as connection:
        connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-client-request-id: " + tag.encode() + b"\r\n"
                        + SMUGGLED[case])
        try:
            status = connection.read().status
        except EOFError:
            status = 400
    assert len(gateway.seen(tag)) <= (case == "both lengths"), gateway.seen(tag)
    assert status >= 400 or case == "both lengths"
