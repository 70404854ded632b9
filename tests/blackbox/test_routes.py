"""The routing table, one row for each rule: which upstream received the request, at which URL, under which Host and with whose credential;
and that the body arrived unchanged."""
import json

import pytest

import harness
from harness import CLIENT_KEY, bearer, chat, secret

GLM_KEY, FILE_KEY, AZURE_KEY, GOOG_KEY, CLAUDE_KEY = (secret(name) for name in ("glm", "file", "azure", "goog", "cl"))
NAMES = ("glm", "second", "azure", "goog", "claude", "early", "late", "star", "openai", "anthropic", "gemini", "unused")
PASS = "passthrough"


class Routed:
    """One gateway for all rows, with its upstreams (`mocks`) by name."""

    def __init__(self, haproxy, make_mock, work):
        self.mocks = {name: make_mock(name) for name in NAMES}
        url = {name: mock.url() for name, mock in self.mocks.items()}
        (work / "key").write_text(FILE_KEY + "\n")
        self.routes = [
            {"model_prefix": "off-", "upstream": url["unused"], "enabled": False},
            {"name": "zhipu", "model_prefix": "GLM-", "upstream": url["glm"] + "/", "auth": "env:GLM_KEY"},
            {"model_prefix": "claude-3-5", "upstream": url["claude"], "protocol": "anthropic", "auth": "env:CLAUDE_KEY",
             "auth_header": "x-api-key"},
            {"model_prefix": "claude-", "protocol": "anthropic"},
            {"model_prefix": "gpt-5.5", "auth": "passthrough"},
            {"model_prefix": "gpt-5", "upstream": url["second"] + "/base/v1", "auth": "file:%s/key" % work},
            {"model_prefix": "azure/", "upstream": url["azure"], "auth": "env:AZURE_KEY", "auth_header": "api-key"},
            {"model_prefix": "models/gemini-", "upstream": url["goog"], "auth": "env:GOOG_KEY",
             "auth_header": "x-goog-api-key"},
            {"model_prefix": "dup", "upstream": url["early"], "backend": "my_backend.1"},
            {"model_prefix": "dup-more", "upstream": url["late"]},
            {"model_prefix": "*", "upstream": url["star"], "auth": "passthrough"},
            {"model_prefix": "after-", "upstream": url["unused"]},
        ]
        self.gateway = harness.Gateway(
            haproxy, self.mocks.values(),
            {"routes": self.routes, "openai_target": url["openai"], "anthropic_target": url["anthropic"] + "/",
             "gemini_target": url["gemini"]},
            env={"GLM_KEY": GLM_KEY, "AZURE_KEY": AZURE_KEY, "GOOG_KEY": GOOG_KEY, "CLAUDE_KEY": CLAUDE_KEY},
            owners={GLM_KEY: [self.mocks["glm"]], FILE_KEY: [self.mocks["second"]], AZURE_KEY: [self.mocks["azure"]],
                    GOOG_KEY: [self.mocks["goog"]], CLAUDE_KEY: [self.mocks["claude"]],
                    # Only upstreams to which a route passes the client's credential through may get it.
                    CLIENT_KEY: [self.mocks[name] for name in ("early", "late", "star", "openai", "anthropic",
                                                               "gemini")]})


@pytest.fixture(scope="module")
def routed(haproxy, make_mock, module_work):
    routed = Routed(haproxy, make_mock, module_work)
    yield routed
    routed.gateway.close()


# The credential that each upstream gets; all other credential headers must be absent.
CREDENTIAL = {
    "glm": ("authorization", "Bearer " + GLM_KEY), "second": ("authorization", "Bearer " + FILE_KEY),
    "azure": ("api-key", AZURE_KEY), "goog": ("x-goog-api-key", GOOG_KEY), "claude": ("x-api-key", CLAUDE_KEY),
}
HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"

# id: (upstream, target sent, model or whole body, target received (None: as sent), the client's headers)
ROWS = {
    # first match, in the table's order
    "prefix": ("glm", CHAT, "glm-4.6", None, None),
    "prefix is the whole model": ("glm", CHAT, "glm-", None, None),
    "model shorter than the prefix": ("star", CHAT, "glm", None, None),
    "prefix inside the model": ("star", CHAT, "x-glm-4.6", None, None),
    "upper-case model": ("glm", CHAT, "GLM-4.6", None, None),
    "mixed-case model": ("glm", CHAT, "gLm-4.6", None, None),
    "longer prefix first": ("claude", CHAT, "claude-3-5-sonnet", None, None),
    "shorter prefix after": ("anthropic", CHAT, "claude-3-opus", None, None),
    "first match wins": ("early", CHAT, "dup-more", None, None),
    "first match wins over a later prefix": ("early", CHAT, "dup-less", None, None),
    "disabled route": ("star", CHAT, "off-1", None, None),
    "route after the catch-all": ("star", CHAT, "after-1", None, None),
    "catch-all": ("star", CHAT, "o3-mini", None, None),
    "model named *": ("star", CHAT, "*", None, None),
    "non-ASCII model": ("star", CHAT, "mod\u00e8le", None, None),
    "model with a slash": ("azure", CHAT, "azure/gpt-5", None, None),
    # slots: a route without an upstream sends to its protocol's target, whatever the endpoint
    "openai slot": ("openai", CHAT, "gpt-5.5-codex", None, None),
    "openai slot on messages": ("openai", MESSAGES, "gpt-5.5", None, None),
    "openai slot for an anthropic client": ("openai", MESSAGES, "gpt-5.5", None, [("x-api-key", CLIENT_KEY),
                                                                                 ("anthropic-version", "2023-06-01")]),
    "anthropic slot": ("anthropic", MESSAGES, "claude-opus-4", None, None),
    "anthropic slot on chat": ("anthropic", CHAT, "claude-opus-4", None, None),
    "anthropic slot for a gemini client": ("anthropic", CHAT, "claude-opus-4", None, [("x-goog-api-key", CLIENT_KEY)]),
    # base path and /v1
    "base path, /v1 not doubled": ("second", CHAT, "gpt-5-mini", "/base/v1/chat/completions", None),
    "base path, no /v1 in the request": ("second", "/chat/completions", "gpt-5-mini", "/base/v1/chat/completions", None),
    "base path with query": ("second", CHAT + "?a=1&b=%20", "gpt-5-mini", "/base/v1/chat/completions?a=1&b=%20", None),
    "trailing slash of the upstream": ("glm", "/v1/rerank", "glm-4", None, None),
    # every path that runs a model; where the credential passes through, any path (test_endpoints.py)
    "completions": ("glm", "/v1/completions", "glm-4", None, None),
    "responses": ("glm", "/v1/responses", "glm-4", None, None),
    "messages": ("glm", "/v1/messages", "glm-4", None, None),
    "messages with beta": ("glm", "/v1/messages?beta=true", "glm-4", None, None),
    "count_tokens": ("glm", "/v1/messages/count_tokens", "glm-4", None, None),
    "embeddings": ("glm", "/v1/embeddings", "glm-4", None, None),
    "images": ("glm", "/v1/images/generations", "glm-4", None, None),
    "speech": ("glm", "/v1/audio/speech", "glm-4", None, None),
    "moderations": ("glm", "/v1/moderations", "glm-4", None, None),
    "a path nobody knows": ("star", "/what/ever", "o3", None, None),
    "the root": ("star", "/", "o3", None, None),
    # where the model stands
    "gemini path": ("goog", "/v1beta/models/gemini-2.5-pro:generateContent", b'{"contents":[]}', None, None),
    "gemini path, stream": ("goog", "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", b'{"contents":[]}',
                            None, None),
    "gemini path, another model": ("glm", "/v1beta/models/glm-4:generateContent", b'{"contents":[]}', None, None),
    "gemini path, percent-encoded": ("glm", "/v1beta/models/%67lm-4:generateContent", b'{"contents":[]}', None, None),
    "query": ("glm", CHAT + "?model=glm-4&x=y", b"{}", None, None),
    "query, percent-encoded": ("glm", CHAT + "?model=%67lm-4", b"{}", None, None),
    "body first key": ("glm", CHAT, b'{"model":"glm-4","messages":[]}', None, None),
    "body last key": ("glm", CHAT, b'{"messages":[{"role":"user","content":"x"}],"model":"glm-4"}', None, None),
    "body with white space": ("glm", CHAT, b' {\r\n\t"model" :\n "glm-4" } \n', None, None),
    "body with an escaped key": ("glm", CHAT, b'{"\\u006dodel":"glm-4"}', None, None),
    "body with an escaped value": ("glm", CHAT, b'{"model":"\\u0067lm\\u002d4"}', None, None),
    "body with the same model twice": ("glm", CHAT, b'{"model":"glm-4","a":1,"model":"glm-4"}', None, None),
    "body with a model inside an object": ("glm", CHAT, b'{"a":{"model":"gpt-5.5"},"model":"glm-4"}', None, None),
    "body with a model inside a list": ("glm", CHAT, b'{"a":[{"model":"gpt-5.5"}],"model":"glm-4"}', None, None),
    "body with a model inside a string": ("glm", CHAT, b'{"a":"\\"model\\":\\"gpt-5.5\\"","model":"glm-4"}', None, None),
    "body with a backslash before the quote": ("glm", CHAT, b'{"a":"\\\\","model":"glm-4","b":"\\\\\\""}', None, None),
    "body deep": ("glm", CHAT, b'{"a":' + b"[" * 60 + b"]" * 60 + b',"model":"glm-4"}', None, None),
    # a body that names no model goes to the catch-all
    "no model": ("star", CHAT, b'{"messages":[]}', None, None),
    "empty object": ("star", CHAT, b"{}", None, None),
    "model only inside": ("star", CHAT, b'{"a":{"model":"glm-4"}}', None, None),
    "null": ("star", CHAT, b'{"model":null}', None, None),
    "an array": ("star", CHAT, b'[{"model":"glm-4"}]', None, None),
    "no model, anthropic client": ("star", MESSAGES, b'{"messages":[]}', None, [("x-api-key", CLIENT_KEY)]),
}


@pytest.mark.parametrize("row", ROWS)
def test_row(routed, row):
    name, target, body, expected, headers = ROWS[row]
    body = chat(body) if isinstance(body, str) else body
    headers = bearer() if headers is None else headers
    mock = routed.mocks[name]
    answer = routed.gateway.post(target, body, headers)
    got = answer.only(mock)
    assert (got.method, got.target) == ("POST", expected or target)
    assert got.body == body
    assert got.header("content-length") == str(len(body))
    assert got.all("host") == [mock.authority]
    if name in CREDENTIAL:
        header, value = CREDENTIAL[name]
        assert [(key.lower(), text) for key, text in got.headers if key.lower() in HEADERS] == [(header, value)]
        assert not got.has(CLIENT_KEY)
    else:
        for key, value in headers:
            assert got.all(key) == [value]
    assert answer.status == 200 and answer.header("x-mock") == name


# Requests that name no model, and whose endpoint runs none, go by the legacy rules, whether there is a catch-all or not.
BODILESS = {
    "models": ("openai", "GET", "/v1/models", bearer()),
    "models of anthropic": ("anthropic", "GET", "/v1/models", [("x-api-key", CLIENT_KEY)]),
    "models of gemini": ("gemini", "GET", "/v1beta/models", [("x-goog-api-key", CLIENT_KEY)]),
    "a model whose name has a slash": ("openai", "GET", "/v1/models/org/gpt-5", bearer()),
    "a model of the query": ("openai", "GET", "/v1/files?model=glm-4", bearer()),
    "Claude Code's HEAD": ("anthropic", "HEAD", "/", [("User-Agent", "claude-cli/2.0.1 (external, cli)")]),
    "HEAD without anything": ("openai", "HEAD", "/", []),
    "DELETE": ("openai", "DELETE", "/v1/responses/r1", bearer()),
    "GET with query": ("openai", "GET", "/v1/models?limit=2&after=x", bearer()),
    "OPTIONS": ("openai", "OPTIONS", "/v1/chat/completions", []),
}


@pytest.mark.parametrize("row", BODILESS)
def test_a_request_without_body_is_legacy(routed, row):
    name, method, target, headers = BODILESS[row]
    answer = routed.gateway.call(method, target, headers)
    got = answer.only(routed.mocks[name])
    assert (got.method, got.target, got.body) == (method, target, b"")
    assert got.all("host") == [routed.mocks[name].authority]
    for key, value in headers:
        assert got.all(key) == [value]
    assert answer.status == 200


def test_the_catch_all_without_a_body(routed):
    """A request to an endpoint that runs a model takes the first `*` if it names none, also without a body."""
    assert routed.gateway.call("POST", CHAT, bearer()).only(routed.mocks["star"]).body == b""


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_other_methods_with_a_body(routed, method):
    """A body that names a model chooses the route, whatever the method; the operator's credential goes along with POST only."""
    routed.gateway.call(method, CHAT, harness.JSON + bearer(), chat("glm-4")).refused(403, "endpoint_not_allowed")
    got = routed.gateway.call(method, CHAT, harness.JSON + bearer(), chat("o3")).only(routed.mocks["star"])
    assert got.method == method and got.body == chat("o3")


def test_delete_with_a_body_that_names_a_model(routed):
    """The request is routed or refused; it must not go to a target with the client's credential."""
    answer = routed.gateway.call("DELETE", "/v1/x", harness.JSON + bearer(), chat("glm-4"))
    if answer.status == 200:
        assert answer.only(routed.mocks["glm"]).body == chat("glm-4")
    else:
        answer.nowhere()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_body_where_none_is_expected(routed, method):
    """A GET or HEAD whose body names a model is routed or refused; it must not go to a target with the client's credential."""
    answer = routed.gateway.call(method, "/v1/x", harness.JSON + bearer(), chat("glm-4"))
    if answer.status == 200:
        assert not answer.only(routed.mocks["glm"]).has(CLIENT_KEY)
    else:
        answer.nowhere()


WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
             ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


def test_a_websocket_that_names_a_model(routed):
    for target, headers in (("/v1/realtime?model=glm-4", []),
                            ("/v1/realtime", [("x-codex-turn-metadata", '{"model":"glm-4","a":1}')])):
        answer = routed.gateway.call("GET", target, WEBSOCKET + bearer() + headers)
        got = answer.only(routed.mocks["glm"])
        assert answer.status == 101 and got.header("upgrade") == "websocket"
        assert got.header("authorization") == "Bearer " + GLM_KEY


def test_a_websocket_where_the_endpoint_speaks_http_too(routed):
    """Codex then falls back to HTTP, where each request is decided and metered."""
    for target, headers in (("/v1/responses?model=glm-4", []), ("/v1/responses?model=o3", []), (CHAT + "?model=glm-4", []),
                            ("/v1/responses", [("x-codex-turn-metadata", '{"model":"glm-4","a":1}')])):
        routed.gateway.call("GET", target, WEBSOCKET + bearer() + headers).refused(426, "websocket_not_allowed")


def test_a_websocket_that_names_none(routed):
    """The model would come in a message after the upstream was chosen, so the request is refused: 426 makes Codex fall back to HTTP at once."""
    routed.gateway.call("GET", "/v1/responses", WEBSOCKET + bearer()).refused(426, "websocket_without_model")


@pytest.mark.parametrize("ctype", ["application/json; charset=utf-8", "APPLICATION/JSON", "text/plain", None])
def test_content_types(routed, ctype):
    headers = bearer() + ([("Content-Type", ctype)] if ctype else [])
    got = routed.gateway.call("POST", CHAT, headers, chat("glm-4")).only(routed.mocks["glm"])
    assert got.all("content-type") == ([ctype] if ctype else [])


def test_backend_by_name(routed):
    assert "\nbackend my_backend.1\n" in "\n" + routed.gateway.backends
    routed.gateway.ask("dup-1").only(routed.mocks["early"])


# ---- tables without a catch-all: a request that matches no route goes by the legacy rules


@pytest.fixture(scope="module")
def bare(haproxy, make_mock):
    """A table without `*`. Its only route matches just the request of test_the_route_of_a_table_without_catch_all()."""
    mocks = {name: make_mock("bare-" + name) for name in ("routed", "openai", "anthropic", "gemini")}
    config = {"routes": [{"model_prefix": "only-", "upstream": mocks["routed"].url(), "auth": "env:KEY"}]}
    config.update({name + "_target": mocks[name].url() for name in ("openai", "anthropic", "gemini")})
    key = secret("bare")
    with harness.Gateway(haproxy, mocks.values(), config, env={"KEY": key}, owners={
            key: [mocks["routed"]], CLIENT_KEY: [mocks[name] for name in ("openai", "anthropic", "gemini")]}) as gateway:
        gateway.by_name = mocks
        yield gateway


@pytest.fixture(scope="module")
def unrouted(haproxy, make_mock):
    """No routes at all."""
    mocks = {name: make_mock("none-" + name) for name in ("openai", "anthropic", "gemini")}
    with harness.Gateway(haproxy, mocks.values(), {name + "_target": mock.url()
                                                   for name, mock in mocks.items()}) as gateway:
        gateway.by_name = mocks
        yield gateway


SK_ANT = secret("ant").replace("sk-", "sk-ant-", 1)
harness.SECRETS[SK_ANT] = "ant"
AGENT = "User-Agent"
LEGACY = {
    "nothing": ("openai", []),
    "Bearer": ("openai", bearer()),
    "x-api-key": ("anthropic", [("x-api-key", CLIENT_KEY)]),
    "X-API-KEY": ("anthropic", [("X-API-KEY", CLIENT_KEY)]),
    "anthropic-version": ("anthropic", [("anthropic-version", "2023-06-01")] + bearer()),
    "Bearer sk-ant-": ("anthropic", [("Authorization", "Bearer " + SK_ANT)]),
    "bearer sk-ant-": ("anthropic", [("authorization", "bearer " + SK_ANT)]),
    "claude-code/": ("anthropic", [(AGENT, "claude-code/1.0")] + bearer()),
    "claude-cli/": ("anthropic", [(AGENT, "claude-cli/2.0.1 (external, cli)")] + bearer()),
    "Claude-CLI/": ("anthropic", [(AGENT, "Claude-CLI/2.0.1")] + bearer()),
    "agent that only mentions it": ("openai", [(AGENT, "x claude-cli/2.0")] + bearer()),
    "agent without a slash": ("openai", [(AGENT, "claude-cli")] + bearer()),
    "x-goog-api-key": ("gemini", [("x-goog-api-key", CLIENT_KEY)]),
    "x-api-key and x-goog-api-key": ("anthropic", [("x-goog-api-key", CLIENT_KEY), ("x-api-key", CLIENT_KEY)]),
    "anthropic-version and x-goog-api-key": ("anthropic", [("x-goog-api-key", CLIENT_KEY),
                                                           ("anthropic-version", "2023-06-01")]),
    "Bearer and x-goog-api-key": ("gemini", [("x-goog-api-key", CLIENT_KEY)] + bearer()),
    "api-key": ("openai", [("api-key", CLIENT_KEY)]),
    "Bearer that is not sk-ant-": ("openai", [("Authorization", "Bearer x" + SK_ANT)]),
    "sk-ant- without Bearer": ("openai", [("Authorization", SK_ANT)]),
    "Basic": ("openai", [("Authorization", "Basic " + SK_ANT)]),
}


@pytest.mark.parametrize("row", LEGACY)
@pytest.mark.parametrize("table", ["bare", "unrouted"])
@pytest.mark.parametrize("body", [chat("gpt-5"), b'{"no":"model"}'], ids=["model", "no-model"])
def test_legacy(bare, unrouted, table, row, body):
    gateway = {"bare": bare, "unrouted": unrouted}[table]
    name, headers = LEGACY[row]
    got = gateway.post("/v1/messages?beta=true", body, headers).only(gateway.by_name[name])
    assert got.target == "/v1/messages?beta=true" and got.body == body
    assert got.all("host") == [gateway.by_name[name].authority]
    for key, value in headers:
        assert got.all(key) == [value]


def test_the_route_of_a_table_without_catch_all(bare):
    got = bare.ask("only-1").only(bare.by_name["routed"])
    assert not got.has(CLIENT_KEY)


# ---- no routes: the agent looks at no body, and the request is not changed

UNTOUCHED = {
    "two models": b'{"model":"a","model":"b"}',
    "model is a number": b'{"model":1}',
    "no JSON": b'{"model":',
    "nothing": b"",
    "binary": bytes(range(256)),
    "cut by the sample": b'{"messages":"' + b"x" * 100000 + b'","model":"m"}',
    "large": b'{"messages":"' + b"x" * 3000000 + b'"}',
}


@pytest.mark.parametrize("case", UNTOUCHED)
def test_without_routes_every_body_passes(unrouted, case):
    got = unrouted.post("/v1/chat/completions", UNTOUCHED[case]).only(unrouted.by_name["openai"])
    assert got.body == UNTOUCHED[case]


def test_without_routes_a_websocket_passes(unrouted):
    answer = unrouted.call("GET", "/v1/responses", WEBSOCKET + bearer())
    assert answer.status == 101
    assert answer.only(unrouted.by_name["openai"]).header("authorization") == "Bearer " + CLIENT_KEY


def test_without_routes_the_request_is_the_same(unrouted):
    """Every header arrives as it was sent and in the same order; only the request's id and HAProxy's own headers may be added."""
    headers = [("User-Agent", "x/1"), ("Accept", "*/*"), ("Accept-Encoding", "gzip"), ("Cookie", "a=b"),
               ("Authorization", "Bearer " + CLIENT_KEY), ("X-Stainless-Lang", "python"), ("OpenAI-Beta", "a"),
               ("OpenAI-Beta", "b"), ("Content-Type", "application/json")]
    body = json.dumps({"model": "gpt-5"}).encode()
    answer = unrouted.call("POST", "/v1/chat/completions?key=1&x=%2F%2f+&&y", headers, body)
    got = answer.only(unrouted.by_name["openai"])
    assert got.target == "/v1/chat/completions?key=1&x=%2F%2f+&&y"
    assert got.body == body
    names = {name.lower() for name, _ in headers}
    assert [(key.lower(), value) for key, value in got.headers if key.lower() in names] == [
        (key.lower(), value) for key, value in headers]
    added = {key.lower() for key, _ in got.headers} - names
    assert added <= {"host", "content-length", "x-client-request-id", "x-request-id", "x-forwarded-for", "x-forwarded-proto",
                     "via"}
