"""Refusals: their status, their code, the error format of the caller's API and the hint whether to retry; and no upstream gets a byte."""
import json
import re

import pytest

import harness
from harness import CLIENT_KEY, bearer, chat, secret

KEY = secret("refusals")
BUFSIZE = 16384

# Endpoint: the API whose error format its callers understand.
SHAPES = {
    "/v1/chat/completions": "openai", "/v1/responses": "openai", "/v1/embeddings": "openai", "/v1/messages": "anthropic",
    "/v1/messages?beta=true": "anthropic", "/v1/messages/count_tokens": "anthropic",
    "/v1beta/models/x:generateContent": "gemini", "/v1beta/models/x:streamGenerateContent?alt=sse": "gemini",
}


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock, authority):
    mock = make_mock("refusals")
    routes = [{"model_prefix": "missing-", "upstream": mock.url(), "auth": "env:NOT_SET"},
              {"model_prefix": "nowhere-", "upstream": mock.url("/removed"), "backend": "not_in_haproxy"},
              {"model_prefix": "good-", "upstream": mock.url(), "auth": "env:KEY"},
              {"model_prefix": "*", "upstream": mock.url()}]

    def edit(text):
        # The operator forgot to give HAProxy this backend.
        head, sections = text.split("# ---- backends", 1)
        kept = [part for part in ("\n" + sections).split("\nbackend ") if not part.startswith("not_in_haproxy")]
        assert len(kept) < len(("\n" + sections).split("\nbackend "))
        return head + "# ---- backends" + "\nbackend ".join(kept).replace("\n", "", 1)

    with harness.Gateway(haproxy, [mock], {"routes": routes, **{
            name + "_target": mock.url() for name in ("openai", "anthropic", "gemini")}},
            env={"KEY": KEY}, edit=edit, limits={"LLM_BUFSIZE": str(BUFSIZE), "LLM_HEAD": "6000", "LLM_TAIL": "6000"}, authority=authority) as gateway:
        gateway.mock = mock
        yield gateway


@pytest.fixture
def each_way(gateway, way):
    """The gateway, asked over HTTP/1.1, HTTP/2 in clear and HTTP/2 over TLS."""
    gateway.way = way
    yield gateway
    gateway.way = "h1"


def body(model):
    """Returns a body that names `model`."""
    return json.dumps({"model": model, "messages": []}).encode()


@pytest.mark.parametrize("target", SHAPES)
@pytest.mark.parametrize("model, status, code", [("missing-1", 502, "upstream_auth_unavailable"),
                                                 ("nowhere-1", 502, "no_backend")])
def test_shape_of_each_endpoint(gateway, target, model, status, code):
    shape = SHAPES[target]
    sent = body(model)
    if shape == "gemini":
        target, sent = target.replace("/x:", "/%s:" % model), b'{"contents":[]}'
    gateway.post(target, sent).refused(status, code, shape)


@pytest.mark.parametrize("target, headers, shape", [
    # The credential, were it there, would not go along with these.
    ("/v1/other", [("x-api-key", CLIENT_KEY)], "anthropic"),
    ("/v1/other", [("anthropic-version", "2023-06-01")], "anthropic"),
    ("/v1/other", [("x-goog-api-key", CLIENT_KEY)], "gemini"),
    ("/v1/other", bearer(), "openai"),
    ("/v1/chat/completions", [("x-api-key", CLIENT_KEY)], "openai"),
    ("/v1/messages", bearer(), "anthropic"),
    ("/api/v1/messages", bearer(), "anthropic"),
    ("/api/v1/chat/completions", [("anthropic-version", "2023-06-01")], "openai"),
])
def test_shape_by_headers_where_the_path_does_not_tell(gateway, target, headers, shape):
    expected = (403, "endpoint_not_allowed") if target == "/v1/other" else (502, "upstream_auth_unavailable")
    gateway.post(target, body("missing-1"), headers).refused(*expected, shape)


# id: (body, status, code)
BODIES = {
    "two models": (b'{"model":"good-1","model":"other"}', 400, "ambiguous_model"),
    "two models, apart": (b'{"model":"good-1","messages":[1,2,{"a":"b"}],"model":"other"}', 400, "ambiguous_model"),
    "two models, one escaped": (b'{"model":"good-1","\\u006dodel":"other"}', 400, "ambiguous_model"),
    "two models by case of value": (b'{"model":"good-1","model":"GOOD-1"}', 400, "ambiguous_model"),
    "a model and a number": (b'{"model":"good-1","model":7}', 400, None),
    "a model and null": (b'{"model":"good-1","model":null}', 400, None),
    "number": (b'{"model":7}', 400, "invalid_model"),
    "true": (b'{"model":true}', 400, "invalid_model"),
    "array": (b'{"model":["good-1"]}', 400, "invalid_model"),
    "object": (b'{"model":{"model":"good-1"}}', 400, "invalid_model"),
    "empty": (b'{"model":""}', 400, "invalid_model"),
    # Some upstreams ignore the case of JSON keys, others do not: the agent refuses, because it cannot know what this upstream does.
    "key in capitals": (b'{"Model":"good-1"}', 400, "invalid_model"),
    "257 bytes": (b'{"model":"good-%s"}' % (b"m" * 252), 400, "invalid_model"),
    "257 bytes by escapes": (b'{"model":"good-%s"}' % (b"\\u00e9" * 126), 400, "invalid_model"),
    "line end escaped": (b'{"model":"good-\\n"}', 400, "invalid_model"),
    "CR LF escaped": (b'{"model":"good-\\r\\nx: y"}', 400, "invalid_model"),
    "NUL escaped": (b'{"model":"good-\\u0000"}', 400, "invalid_model"),
    "DEL escaped": (b'{"model":"good-\\u007f"}', 400, "invalid_model"),
    "control-A escaped": (b'{"model":"good-\\u0001"}', 400, "invalid_model"),
    "raw line end": (b'{"model":"good-\n"}', 400, None),
    "cut": (b'{"model":"good-1"', 400, "invalid_json"),
    "cut in the value": (b'{"model":"goo', 400, "invalid_json"),
    "no colon": (b'{"model" "good-1"}', 400, "invalid_json"),
    "trailing comma": (b'{"model":"good-1",}', 400, "invalid_json"),
    "missing comma": (b'{"a":1 "model":"good-1"}', 400, "invalid_json"),
    "more behind": (b'{"model":"good-1"} {"model":"other"}', 400, None),
    "a brace too many": (b'{"model":"good-1"}}', 400, "invalid_json"),
    "single quotes": (b"{'model':'good-1'}", 400, "invalid_json"),
    "words": (b"model=good-1", 400, "invalid_json"),
    "empty JSON": (b"   ", 400, "invalid_json"),
}


@pytest.mark.parametrize("case", BODIES)
def test_body(gateway, case):
    raw, status, code = BODIES[case]
    answer = gateway.post("/v1/chat/completions", raw)
    if code is None:        # any of these codes is right: what counts is that the request is refused
        code = answer.json()["error"]["code"]
        assert code in ("ambiguous_model", "invalid_model", "invalid_json")
    answer.refused(status, code)


@pytest.mark.parametrize("case", ["two models", "number", "cut"])
@pytest.mark.parametrize("target, shape", [("/v1/messages", "anthropic"), ("/v1beta/cachedContents", "gemini")])
def test_a_body_of_another_family(gateway, case, target, shape):
    raw, status, code = BODIES[case]
    gateway.post(target, raw).refused(status, code, shape)


@pytest.mark.parametrize("size", [256, 255, 1])
def test_the_longest_models(gateway, size):
    got = gateway.ask("good-" + "m" * (size - 5) if size > 5 else "m" * size).only(gateway.mock)
    assert (got.header("authorization") == "Bearer " + KEY) == (size > 5)


@pytest.mark.parametrize("target, sent", [
    ("/v1/chat/completions?model=missing-1", b'{"model":"good-1"}'),
    ("/v1beta/models/missing-1:generateContent", b'{"model":"good-1"}'),
    ("/v1/chat/completions?model=good-1&model=missing-1", b"{}"),
], ids=["query-and-body", "path-and-body", "query-twice"])
def test_places_that_disagree_are_never_guessed_in_silence(gateway, target, sent):
    """The request is refused, or it goes to the route of one of the models with that route's credential, never with the client's."""
    answer = gateway.post(target, sent)
    if answer.status == 200:
        got = answer.only(gateway.mock)
        assert not got.has(CLIENT_KEY) and got.header("authorization") == "Bearer " + KEY
    else:
        assert answer.status in (400, 502)
        answer.nowhere()
    if "model=missing-1" in target and b"good-1" in sent:
        answer.refused(400, "ambiguous_model")


# ---- a body beyond the sample


def long_body(model, at, size):
    """A body of about `size` bytes with the model `at` its start or end."""
    filler = '"messages":[{"role":"user","content":"%s"}]' % ("x" * size)
    name = '"model":"%s"' % model
    return ("{%s,%s}" % ((name, filler) if at == "start" else (filler, name))).encode()


@pytest.mark.parametrize("shape, target", [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")])
@pytest.mark.parametrize("size", [17000, 100000, 1000000])
def test_the_model_in_the_middle_of_a_cut_body(each_way, shape, target, size):
    """The model is neither among the first bytes nor among the last bytes, which the agent sees."""
    raw = b'{"a":"%s","model":"good-1","b":"%s"}' % (b"x" * size, b"y" * size)
    each_way.post(target, raw).refused(413, "model_not_in_sample", shape)


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("size", [17000, 100000])
def test_a_cut_body_is_refused_or_routed_right(each_way, at, size):
    raw = long_body("good-1", at, size)
    answer = each_way.post("/v1/chat/completions", raw)
    if answer.status == 200:
        got = answer.only(each_way.mock)
        assert got.body == raw and got.header("authorization") == "Bearer " + KEY and not got.has(CLIENT_KEY)
    else:
        answer.refused(413, "model_not_in_sample")


@pytest.mark.parametrize("size", [1000, 5900, 6000, 6100, 8192, 12000, 13000])
@pytest.mark.parametrize("at", ["start", "end"])
def test_a_body_that_fits_is_routed(each_way, at, size):
    raw = long_body("good-1", at, size)
    got = each_way.post("/v1/chat/completions", raw).only(each_way.mock)
    assert got.body == raw and got.header("authorization") == "Bearer " + KEY


@pytest.mark.parametrize("size", [9000, 12000, 14000, 16000, 16384, 17000, 40000])
def test_a_second_model_far_behind_the_first(each_way, size):
    """If HAProxy's buffer holds the whole body, the agent sees both models and refuses. If the second model is beyond the buffer, the request may
    go by the first: to its upstream, with its credential, without the client's."""
    raw = b'{"model":"good-1","a":"%s","model":"other-1"}' % (b"x" * size)
    answer = each_way.post("/v1/chat/completions", raw)
    if answer.status == 200:
        assert size > 15000, "a second model in the sample was overlooked"
        got = answer.only(each_way.mock)
        assert got.header("authorization") == "Bearer " + KEY and not got.has(CLIENT_KEY)
    else:
        assert answer.status in (400, 413)
        answer.refused(answer.status, answer.json()["error"]["code"])


def test_a_chunked_body_beyond_the_sample(each_way):
    """A chunked body has no announced length: the agent must notice all the same that it sees only a part."""
    raw = b'{"a":"%s","model":"good-1","b":"%s"}' % (b"x" * 60000, b"y" * 60000)
    answer = each_way.post("/v1/chat/completions", None,
                          chunks=[raw[at:at + 5000] for at in range(0, len(raw), 5000)])
    assert answer.status in (400, 413)
    answer.refused(answer.status, answer.json()["error"]["code"])


def test_a_complete_object_in_a_chunked_body_that_goes_on(each_way):
    """The sample holds a complete JSON object, but the body has more bytes after the sample."""
    raw = b'{"model":"good-1"}' + b" " * 40000 + b'{"model":"other"}'
    answer = each_way.post("/v1/chat/completions", None, chunks=[raw])
    if answer.status == 200:
        got = answer.only(each_way.mock)
        assert got.header("authorization") == "Bearer " + KEY and not got.has(CLIENT_KEY)
    else:
        answer.nowhere()


@pytest.fixture(scope="module")
def roomy(haproxy, make_mock, way, authority):
    """A gateway with the shipped sizes of buffer and sample."""
    mock = make_mock("roomy")
    with harness.Gateway(haproxy, [mock], {"routes": [
            {"model_prefix": "good-", "upstream": mock.url(), "auth": "env:KEY"},
            {"model_prefix": "*", "upstream": mock.url("/star")}]}, env={"KEY": KEY}, way=way, authority=authority) as gateway:
        gateway.mock = mock
        yield gateway


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("size", [8000, 8192, 8200, 16000, 16384, 16400, 100000, 900000])
def test_large_bodies_with_the_shipped_sizes(roomy, at, size):
    raw = long_body("good-1", at, size)
    got = roomy.post("/v1/chat/completions", raw).only(roomy.mock)
    assert got.body == raw and got.target == "/v1/chat/completions"
    assert got.header("authorization") == "Bearer " + KEY and not got.has(CLIENT_KEY)


@pytest.mark.parametrize("size", [5000, 50000, 400000])
def test_the_model_in_the_middle_with_the_shipped_sizes(roomy, size):
    """HAProxy asks the agent again with everything in its buffer: the request must not go to the catch-all because the first sample had no model."""
    raw = b'{"a":"%s","model":"good-1","b":"%s"}' % (b"x" * size, b"y" * size)
    got = roomy.post("/v1/chat/completions", raw).only(roomy.mock)
    assert got.target == "/v1/chat/completions" and got.header("authorization") == "Bearer " + KEY
    assert got.body == raw


@pytest.mark.parametrize("target, shape", [("/v1/chat/completions", "openai"), ("/v1/messages", "anthropic")])
def test_the_model_beyond_the_shipped_sizes(roomy, target, shape):
    raw = b'{"a":"%s","model":"good-1","b":"%s"}' % (b"x" * 4300000, b"y" * 20000)
    roomy.post(target, None, chunks=[raw]).refused(413, "model_not_in_sample", shape)


@pytest.mark.parametrize("chunk", [1000, 100000])
def test_a_large_chunked_body_with_the_shipped_sizes(roomy, chunk):
    raw = long_body("good-1", "end", 500000)
    got = roomy.post("/v1/chat/completions", None, chunks=[raw[at:at + chunk] for at in range(0, len(raw), chunk)]).only(
        roomy.mock)
    assert got.body == raw and got.header("authorization") == "Bearer " + KEY


def test_a_body_that_does_not_come(gateways, make_mock):
    """HAProxy stops waiting for the body; the part that has come is not taken for the whole body."""

    mock = make_mock("slow-body")

    def edit(text):
        changed = re.sub(r"(wait-for-body time) \S+", r"\1 300ms", text)
        assert changed != text
        return changed
    gateway = gateways([mock], {"routes": [{"model_prefix": "good-", "upstream": mock.url(), "auth": "env:KEY"}],
                                "openai_target": mock.url()}, env={"KEY": KEY}, edit=edit)
    for head in (b"Content-Length: 5000\r\n\r\n" + b'{"messages":[',
                 b"Content-Length: 5000\r\n\r\n" + b'{"model":"good-1","messages":[',
                 b"Content-Length: 5000\r\n\r\n",
                 b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"mod\r\n"):
        with gateway.connect() as connection:
            tag = gateway.tag()
            connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\n"
                            b"Authorization: Bearer " + CLIENT_KEY.encode() + b"\r\nx-client-request-id: " + tag.encode()
                            + b"\r\n" + head)
            answer = harness.Exchange(gateway, tag, connection.read())
        if head.endswith(b'"good-1","messages":[') and answer.seen:
            # The part that came names a model, but the part that did not come could name another: only a refusal is right.
            raise AssertionError("the request was forwarded although only a part of its body had come: %r" % answer.seen)
        assert answer.status in (400, 408, 413), answer.response
        answer.nowhere()


# ---- options by which the operator replaces a refusal


def test_fallthrough_by_option(gateways, make_mock):
    """A request whose model is beyond the sample goes where requests without a model go; if the agent sees the model, its route is used."""
    mock = make_mock("fallthrough")
    gateway = gateways([mock], {"unresolved": "fallthrough", "routes": [
        {"model_prefix": "good-", "upstream": mock.url("/good"), "auth": "env:KEY"},
        {"model_prefix": "*", "upstream": mock.url("/star")}]}, env={"KEY": KEY}, owners={KEY: []},
        limits={"LLM_BUFSIZE": str(BUFSIZE), "LLM_HEAD": "4000", "LLM_TAIL": "4000"})
    raw = b'{"a":"%s","model":"good-1","b":"%s"}' % (b"x" * 40000, b"y" * 40000)
    assert gateway.post("/v1/responses", raw).only(mock).target == "/star/v1/responses"
    gateway.owners = {}
    # The model is in the middle of HAProxy's buffer: the agent sees it.
    raw = b'{"a":"%s","model":"good-1","b":"%s"}' % (b"x" * 5000, b"y" * 5000)
    assert gateway.post("/v1/responses", raw).only(mock).target == "/good/v1/responses"


def test_fallthrough_without_catch_all_is_legacy(gateways, make_mock):
    mock, legacy = make_mock("fall-routed"), make_mock("fall-legacy")
    gateway = gateways([mock, legacy], {"unresolved": "fallthrough", "openai_target": legacy.url(), "routes": [
        {"model_prefix": "good-", "upstream": mock.url(), "auth": "env:KEY"}]}, env={"KEY": KEY},
        owners={KEY: [mock]}, limits={"LLM_BUFSIZE": str(BUFSIZE), "LLM_HEAD": "4000", "LLM_TAIL": "4000"})
    raw = b'{"a":"%s","model":"good-1","b":"%s"}' % (b"x" * 40000, b"y" * 40000)
    assert gateway.post("/v1/x", raw).only(legacy).header("authorization") == "Bearer " + CLIENT_KEY


def test_websocket_to_the_catch_all_by_option(gateways, make_mock):
    mock = make_mock("websocket")
    gateway = gateways([mock], {"websocket": "catch-all", "routes": [
        {"model_prefix": "good-", "upstream": mock.url("/good"), "auth": "env:KEY"},
        {"model_prefix": "*", "upstream": mock.url("/star")}]}, env={"KEY": KEY})
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
               ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
    answer = gateway.call("GET", "/v1/responses", upgrade + bearer())
    assert answer.status == 101 and answer.only(mock).target == "/star/v1/responses"
    answer = gateway.call("GET", "/v1/responses?model=good-1", upgrade + bearer())
    assert answer.only(mock).header("authorization") == "Bearer " + KEY


# ---- HEADROOM_UPSTREAM_ROUTES: an entry whose upstream is unusable


def test_an_entry_without_a_usable_upstream_refuses_when_it_matches(gateways, make_mock):
    mock = make_mock("lenient")
    table = [{"model_prefix": "bad-", "upstream": "ftp://x.test"}, {"model_prefix": "none-", "upstream": "not a url"},
             {"model_prefix": "*", "upstream": mock.url()}]
    gateway = gateways([mock], {}, env={"HEADROOM_UPSTREAM_ROUTES": json.dumps(table)})
    gateway.ask("bad-1").refused(502, "no_backend")
    gateway.ask("none-1").refused(502, "no_backend")
    gateway.ask("other").only(mock)


# ---- refusals and the client's connection


def test_head_of_a_refusal(gateway):
    """The answer to a refused HEAD request has the head of the refusal and no body."""
    answer = gateway.call("HEAD", "/v1/x", harness.JSON + bearer(), body("good-1"))
    assert answer.status == 403 and answer.body == b""
    answer.nowhere()
    assert answer.header("x-should-retry") == "false"


def test_a_refusal_leaves_the_connection_usable(gateway):
    with gateway.connect() as connection:
        for _ in range(3):
            gateway.ask("missing-1", connection=connection).refused(502, "upstream_auth_unavailable")
        gateway.ask("good-1", connection=connection).only(gateway.mock)


def test_a_refusal_with_a_large_body_is_read_by_the_client(gateway):
    """The client is still sending its body when the request is refused: it must get the answer, not a reset connection."""
    answer = gateway.post("/v1/chat/completions", b'{"a":"%s","model":"x"}' % (b"x" * 4000000))
    if answer.status == 200:
        answer.only(gateway.mock)
    else:
        answer.refused(413, "model_not_in_sample")


@pytest.mark.parametrize("model", ['missing-"quoted"', "missing-\\back", "missing-<html>", "missing-\u00e9\u20ac",
                                   "missing-%s%n{}$(x)"])
def test_a_model_in_an_error_text_breaks_nothing(gateway, model):
    gateway.ask(model).refused(502, "upstream_auth_unavailable")


@pytest.mark.parametrize("target", ['/v1/chat/completions?a="b"', "/v1/messages?x='</script>"])
def test_a_query_in_no_error_text(gateway, target):
    answer = gateway.ask("missing-1", target=target)
    answer.refused(502, "upstream_auth_unavailable", "anthropic" if "messages" in target else "openai")
    assert b"script" not in answer.body


# ---- upstreams that fail


@pytest.fixture(scope="module")
def failing(haproxy, make_mock):
    mock, alive = make_mock("down"), make_mock("alive")
    key = secret("down")
    with harness.Gateway(
            haproxy, [mock, alive], {"routes": [{"model_prefix": "down-", "upstream": mock.url(), "auth": "env:KEY"},
                                                {"model_prefix": "free-", "upstream": mock.url("/free")}],
                                     "openai_target": alive.url()}, env={"KEY": key}, owners={key: [mock]},
            edit=lambda text: text.replace("inter 10s", "inter 300ms").replace("fastinter 2s", "fastinter 300ms")) as it:
        it.mock, it.alive = mock, alive
        yield it


@pytest.mark.parametrize("model", ["down-1", "free-1"])
@pytest.mark.parametrize("target, shape", [
    ("/v1/chat/completions", "openai"), ("/v1/messages", "anthropic"),
    ("/v1beta/models/%s:generateContent", "gemini")], ids=["openai", "anthropic", "gemini"])
def test_an_upstream_that_is_down(failing, target, shape, model):
    """The client gets JSON that every caller can read, and no other upstream gets the request."""
    failing.mock.down()
    try:
        answer = failing.post(target.replace("%s", model), b"{}" if shape == "gemini" else chat(model))
        assert answer.status in (502, 503, 504), answer.response
        answer.nowhere()
        assert answer.header("content-type") == "application/json"
        body = answer.json()
        assert body["error"]["message"] and body["error"]["code"] and answer.header("x-request-id")
        assert shape != "anthropic" or body["type"] == "error"
        failing.ask("other").only(failing.alive)
    finally:
        failing.mock.up()
    harness.until(lambda: failing.ask(model).status == 200, 5, "the upstream is used again", step=0.05)


@pytest.mark.parametrize("shape, target", [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")])
def test_an_upstream_that_is_too_slow(gateways, make_mock, target, shape):
    mock = make_mock("slow")
    gateway = gateways([mock], {"routes": [{"model_prefix": "slow-", "upstream": mock.url(), "timeout": 1}]})
    mock.delay = 3
    answer = gateway.ask("slow-1", target=target)
    assert answer.status == 504 and answer.header("content-type") == "application/json"
    assert answer.json()["error"]["message"] and answer.header("x-request-id")
    assert shape != "anthropic" or answer.json()["type"] == "error"
    assert len(answer.seen) == 1, "the request was sent again although the upstream had received it"


@pytest.mark.parametrize("shape, target", [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")])
def test_an_upstream_that_talks_nonsense(failing, target, shape):
    failing.mock.raw = b"220 smtp.test ESMTP\r\n"
    try:
        answer = failing.ask("down-1", target=target)
    finally:
        failing.mock.reset()
    assert answer.status == 502 and answer.json()["error"]["message"]
    assert shape != "anthropic" or answer.json()["type"] == "error"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502, 503, 529])
def test_an_upstreams_own_errors_pass_unchanged(gateway, status):
    text = b'{"error":{"message":"upstream says %d"}}' % status
    gateway.mock.respond = lambda _request: (status, [("Content-Type", "application/json"), ("retry-after", "7"),
                                                      ("x-should-retry", "true")], text)
    try:
        answer = gateway.ask("good-1")
    finally:
        gateway.mock.reset()
    assert (answer.status, answer.body) == (status, text)
    assert answer.all("retry-after") == ["7"] and answer.all("x-should-retry") == ["true"]
    assert len(answer.seen) == 1 or status in (502, 503), "a POST was sent twice"
