"""The operator's credential only runs models: which requests it goes along with, by method, path and the route's `paths`; where all the other
requests go; and what `path_prefix`, `paths` and `forward_headers` say. One gateway serves all rows."""
import json
import re

import pytest

import harness
from harness import CLIENT_KEY, bearer, chat, cli, secret

KEYS = {name: secret("ep-" + name) for name in ("files", "stored", "any", "glm", "gemini-op", "star")}
NAMES = tuple(KEYS) + ("unused", "batches", "beside", "open", "pass", "late", "openai", "anthropic", "gemini")
FORBIDDEN, UNCLEAR = (403, "endpoint_not_allowed"), (400, "invalid_path")
GLM = chat("glm-1")
KEY = [("x-api-key", CLIENT_KEY)]
GOOGLE = [("x-goog-api-key", CLIENT_KEY)]
ARN = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2F"
WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock):
    mocks = {name: make_mock("ep-" + name) for name in NAMES}

    def route(to, key=None, **more):
        return {"upstream": mocks[to].url(), **({"auth": "env:KEY_%d" % list(KEYS).index(key)} if key else {}), **more}

    routes = [
        route("unused", path_prefix="/v1/files", enabled=False),
        route("files", "files", name="files", path_prefix="/v1/files/", paths=["GET /v1/files", "POST /v1/files/", "GET /v1/fine_tuning"],
              forward_headers=["X-Extra-*", "x-One", "helicone-auth"]),
        route("stored", "stored", name="stored", path_prefix="/v1/conversations", model_prefix="*", paths=["/v1/conversations"]),
        route("batches", "files", name="selected", path_prefix="/v1/batches"),
        route("beside", path_prefix="/v1/evals", model_prefix="glm-"),
        route("open", path_prefix="/v1/uploads"),
        route("any", "any", model_prefix="any-", paths="any"),
        route("pass", model_prefix="pass-"),
        route("glm", "glm", model_prefix="glm-"),
        route("gemini-op", "gemini-op", model_prefix="gemini-", auth_header="x-goog-api-key"),
        route("star", "star", model_prefix="*"),
        route("late", path_prefix="/v1/late"),
        route("unused", path_prefix="/v1/uploads/u"),
    ]
    owners = {KEYS[name]: [mocks[name]] for name in KEYS}
    owners[CLIENT_KEY] = [mocks[name] for name in NAMES if name not in KEYS and name not in ("unused", "batches")]
    with harness.Gateway(haproxy, mocks.values(), {"routes": routes, **{name + "_target": mocks[name].url() for name in (
            "openai", "anthropic", "gemini")}}, env={"KEY_%d" % at: KEYS[name] for at, name in enumerate(KEYS)}, owners=owners) as gateway:
        gateway.by_name = mocks
        yield gateway


# (method, target, body, the upstream or the refusal, the client's headers where they are not a bearer token)
RUNS = [("POST", path, GLM, "glm") for path in (
    "/v1/chat/completions", "//v1/chat/completions", "/v1/chat/completions/", "/v1/completions", "/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens",
    "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings", "/v1/images/generations", "/v1/images/edits", "/v1/audio/speech",
    "/v1/audio/transcriptions", "/v1/moderations", "/v1/rerank", "/rerank", "/v2/rerank", "/api/chat", "/api/generate", "/api/embed", "/v2/chat",
    "/api/paas/v4/chat/completions", "/compatible-mode/v1/chat/completions", "/v1beta/openai/chat/completions", "/openai/v1/responses",
    "/chat/completions", "/inference/chat/completions", "/api/anthropic/v1/messages", "/v1/chat/completions?model=glm-1", "/v1/messages?beta=true",
    "/v1/projects/p/locations/l/endpoints/openapi/chat/completions")] + [("POST", path, b"{}", "glm") for path in (
        "/v1beta/models/glm-1:generateContent", "/v1beta/models/glm-1:streamGenerateContent?alt=sse", "/v1/models/glm-1:countTokens",
        "/v1/projects/p/locations/l/publishers/x/models/glm-1:rawPredict", "/model/glm-1/invoke", "/model/glm-1/converse-stream", "/model/glm-1/converse/",
        "/openai/deployments/glm-1/chat/completions?api-version=1", "/v1/chat/completions?model=glm-1", "/v1/responses?x=y&model=glm-1")]

# A body that names a model chooses the route, whatever the path; the operator's credential does not go along.
FORBIDDEN_ROWS = [(method, path, GLM, FORBIDDEN) for method, path in (
    ("POST", "/v1/images"), ("POST", "/what/ever"), ("POST", "/"), ("POST", "/v1"), ("POST", "/v1/chat/completions/id"), ("POST", "/v1/responses/r1/cancel"),
    ("POST", "/v1/messages/batches"), ("POST", "/v1/threads/t/messages"), ("POST", "/v1/threads/t/runs"), ("POST", "/v1/assistants"),
    ("POST", "/v1/fine_tuning/jobs"), ("POST", "/v1/filesystem"), ("POST", "/v1/xfiles"), ("POST", "/v1/v1/chat/completions"), ("POST", "/v1/batch/v1/chat/completions"),
    ("POST", "/v1/keys"), ("POST", "/api/v1/keys"), ("POST", "/v1/organization/admin_api_keys"), ("POST", "/v1/realtime/client_secrets"), ("POST", "/v1/realtime"),
    ("POST", "/api/pull"), ("POST", "/api/create"), ("POST", "/api/delete"), ("POST", "/api/show"), ("POST", "/v1beta/cachedContents"),
    ("POST", "/v1/%63hat/completions"), ("POST", "/v1/chat/completion%73"), ("POST", "/V1/chat/completions"), ("POST", "/v1/Chat/completions"),
    ("POST", "/v1/videos"), ("POST", "/v1/models"), ("PUT", "/v1/chat/completions"), ("PATCH", "/v1/chat/completions"), ("DELETE", "/v1/chat/completions"),
    ("PUT", "/v1/messages"), ("DELETE", "/v1/models/glm-1"), ("PROPFIND", "/v1/chat/completions"), ("POST", "/model/glm-1/delete"))] + [
        ("POST", "/v1beta/models/glm-1:batchGenerateContent", b"{}", FORBIDDEN), ("POST", "/v1beta/models/glm-1:predictLongRunning", b"{}", FORBIDDEN),
        ("POST", "/v1/realtime?model=glm-1", GLM, FORBIDDEN)]

UNCLEAR_ROWS = [("POST", path, GLM, UNCLEAR) for path in (
    "/v1//chat/completions", "/v1/chat/completions//", "/v1/./chat/completions", "/v1/x/../chat/completions",
    "/v1/%2e%2e/chat/completions", "/v1/.%2E/chat/completions", "/v1%2fchat/completions", "/v1%2Fchat/completions", "/v1%5Cchat/completions", "/v1%5cfiles",
    "/v1/chat/completions;x=y", "/v1/files%3bx", "/v1/chat%3Bx/completions", "/v1/chat/completions%00", "/v1/chat/completions%0a", "/v1/%252e%252e/chat/completions",
    "/v1/chat/completions/..", "/v1/chat/completions/.", "/v1/x%252fy", "/v1/x%zz", "/v1/x%")] + [
        ("GET", "/v1/files//f1", None, UNCLEAR), ("GET", "/v1/files/../batches", None, UNCLEAR), ("GET", "/v1/files/%2e%2e/keys", None, UNCLEAR), ("GET", "/v1/files/%c0%ae%c0%ae/keys", None, UNCLEAR),
        ("GET", "/v1/files/%e0%80%ae%e0%80%ae/keys", None, UNCLEAR), ("GET", "/v1/files/%f0%80%80%ae%f0%80%80%ae/keys", None, UNCLEAR), ("GET", "/v1/files/%ff", None, UNCLEAR),
        ("GET", "/v1/files/..%20/keys", None, UNCLEAR),
        ("GET", "/v1/files/f%2F..%2Fkeys", None, UNCLEAR), ("GET", "/v1/files/f;x", None, UNCLEAR), ("GET", "/v1/files/..%2fkeys", None, UNCLEAR),
        ("POST", "/v1/x//y", chat("any-1"), UNCLEAR), ("POST", "/v1/x%2fy", chat("any-1"), UNCLEAR)]

# A request that names no model and runs none: a route with a path_prefix, else the target of the caller's own API.
ELSEWHERE = [
    ("GET", "/v1/models", None, "openai"), ("GET", "/v1/models", None, "anthropic", KEY), ("GET", "/v1beta/models", None, "gemini", GOOGLE),
    ("GET", "/v1/batches2?model=glm-1", None, "openai"), ("DELETE", "/v1/responses/r1?model=glm-1", None, "openai"), ("GET", "/v1/responses/r1?model=glm-1", None, "openai"),
    ("GET", "/v1/realtime?model=glm-1", None, "openai"), ("POST", "/v1/x?model=glm-1", b"{}", "openai"), ("POST", "/v1/x?model=glm-1&model=any-1", b"{}", "openai"),
    ("POST", "/v1/x?model=glm-1", chat("pass-1"), "pass"), ("PUT", "/v1/chat/completions?model=glm-1", b"{}", "openai"),
    ("POST", "/v1/responses/r1/cancel", b"{}", "openai"), ("POST", "/v1/responses/r1/cancel", b"{}", "openai", KEY),
    ("GET", "/v1/chat/completions/c1", None, "openai", KEY),
    ("POST", "/v1/messages/batches", b'{"requests":[]}', "anthropic"), ("GET", "/v1/messages/batches/b/results", None, "anthropic", KEY),
    ("DELETE", "/v1/messages/batches/b", None, "anthropic"), ("POST", "/upload/v1beta/files?uploadType=media", b"{}", "gemini"),
    ("POST", "/v1beta/cachedContents", b"{}", "gemini"), ("GET", "/v1beta/files/f:download?alt=media", None, "gemini"), ("DELETE", "/v1beta/files/f", None, "gemini", GOOGLE),
    ("POST", "/v1beta/corpora/c:query", b"{}", "gemini"), ("POST", "/v1/threads/t/messages", b"{}", "openai"), ("GET", "/v1/threads/t/messages", None, "anthropic", KEY),
    ("HEAD", "/", None, "openai"), ("OPTIONS", "/v1/chat/completions", None, "openai"), ("GET", "/v1//x", None, "openai"), ("GET", "/v1/x;y", None, "openai"),
    ("GET", "/v1/filesystem", None, "openai"), ("GET", "/v1/models/a/b", None, "openai"),
    # the first `*`, where a model is run
    ("POST", "/v1/chat/completions", b"{}", "star"), ("POST", "/v1/embeddings", None, "star"), ("POST", "/v1/messages", b"{}", "star", KEY),
    ("POST", "/v1/audio/transcriptions", b"{}", "star"), ("POST", "/api/chat", b"{}", "star"),
]

PATHS = [
    # the route of these paths, and what its `paths` releases
    ("GET", "/v1/files", None, "files"), ("GET", "/v1/files/", None, "files"), ("GET", "/v1/files/f1/content", None, "files"), ("POST", "/v1/files", b"x", "files"),
    ("POST", "/v1/files", GLM, "files"), ("POST", "/v1/files", chat("other"), "files"), ("GET", "/v1/files?model=pass-1", None, "files"),
    ("DELETE", "/v1/files/f1", None, FORBIDDEN), ("PUT", "/v1/files/f1", b"x", FORBIDDEN), ("HEAD", "/v1/files", None, FORBIDDEN), ("DELETE", "/v1/files/f1", GLM, FORBIDDEN),
    # `paths` does not select
    ("GET", "/v1/fine_tuning/jobs", None, "openai"), ("GET", "/v1/filesystem", GLM, FORBIDDEN),
    # path_prefix selects and does not release
    ("GET", "/v1/batches", None, FORBIDDEN), ("POST", "/v1/batches/b/cancel", b"{}", FORBIDDEN), ("POST", "/v1/batches", GLM, FORBIDDEN),
    # model_prefix `*` beside a path_prefix; any method
    ("GET", "/v1/conversations/c", None, "stored"), ("DELETE", "/v1/conversations/c", None, "stored"), ("POST", "/v1/conversations", GLM, "stored"),
    ("POST", "/v1/conversations", b"{}", "stored"),
    # both conditions have to hold
    ("POST", "/v1/evals", GLM, "beside"), ("POST", "/v1/evals/e", chat("pass-1"), "pass"), ("GET", "/v1/evals/e", None, "openai"), ("POST", "/v1/evals", chat("x"), FORBIDDEN),
    # passthrough, whatever the model; the first of two routes
    ("POST", "/v1/uploads", b"x", "open"), ("POST", "/v1/uploads", GLM, "open"), ("GET", "/v1/uploads/u//x", None, "open"), ("DELETE", "/v1/uploads/u", None, "open"),
    # behind the `*`
    ("GET", "/v1/late/x", None, "late"), ("POST", "/v1/late", b"{}", "late"), ("POST", "/v1/late", GLM, FORBIDDEN),
    # "any"
    ("POST", "/v1/x", chat("any-1"), "any"), ("DELETE", "/v1/whatever", chat("any-1"), "any"), ("PUT", "/", chat("any-1"), "any"),
    # where the client's own credential passes through, every path does
    ("POST", "/what/ever", chat("pass-1"), "pass"), ("DELETE", "/v1//x/../y;z", chat("pass-1"), "pass"), ("POST", "/v1/files2", chat("pass-1"), "pass"),
    # GET .../models/NAME names NAME
    ("GET", "/v1/models/glm-1", None, "glm"), ("GET", "/v1/models/GLM-1/", None, "glm"), ("GET", "/v1beta/models/gemini-2", None, "gemini-op"),
    ("GET", "/v1/models/pass-1", None, "pass"), ("GET", "/v1/models/other", None, "star"), ("HEAD", "/v1/models/glm-1", None, ("openai", FORBIDDEN)),
    ("DELETE", "/v1/models/glm-1", None, ("openai", FORBIDDEN)), ("GET", "/v1/models/glm-1%2F..%2Fx", None, ("openai", UNCLEAR, (400, "ambiguous_model"))),
    ("POST", "/v1/models/glm-1", b"{}", ("openai", FORBIDDEN)),
    # an ARN is Bedrock's model ID
    ("POST", "/model/%sglm/converse" % ARN, b"{}", "star"), ("POST", "/model/%s..%%2Fglm/converse" % ARN, b"{}", (UNCLEAR, (400, "ambiguous_model"))),
    ("POST", "/model/%s%%2Fglm/converse" % ARN, b"{}", (UNCLEAR, (400, "ambiguous_model"))), ("POST", "/model/glm-1%2Fx/invoke", b"{}", (UNCLEAR, (400, "invalid_model"))),
]


def credential_of(name, got):
    header = "x-goog-api-key" if name == "gemini-op" else "authorization"
    return (got.header(header) or "").replace("Bearer ", "")


def check(gateway, row):
    method, target, body, expected = row[:4]
    headers = (row[4] if len(row) > 4 else bearer()) + (harness.JSON if body and body[:1] == b"{" else [])
    answer = gateway.call(method, target, headers, body)
    outcomes = [expected] if isinstance(expected, str) or isinstance(expected[0], int) else list(expected)
    refusals = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    if answer.status != 200:
        answer.nowhere()
        assert answer.status in [status for status, _ in refusals], "%s: %s %s" % (row[:2], answer.status, answer.body)
        if method != "HEAD":
            assert any(code in answer.body.decode() for status, code in refusals if status == answer.status), (row[:2], answer.body)
        return
    name, = [outcome for outcome in outcomes if isinstance(outcome, str)] or ["nowhere: %s" % (row[:2],)]
    got = answer.only(gateway.by_name[name])
    assert (got.method, got.target) == (method, "/" + target.lstrip("/")) and got.body == (body or b""), row[:2]
    if name in KEYS:
        assert credential_of(name, got) == KEYS[name] and not got.has(CLIENT_KEY), row[:2]
    else:
        assert got.has(CLIENT_KEY), row[:2]


@pytest.mark.parametrize("rows", [RUNS, FORBIDDEN_ROWS, UNCLEAR_ROWS, ELSEWHERE, PATHS], ids=["runs", "forbidden", "unclear", "elsewhere", "paths"])
def test_rows(gateway, rows):
    failed = []
    for row in rows:
        try:
            check(gateway, row)
        except AssertionError as error:
            failed.append("%s %s: %s" % (row[0], row[1], str(error)[:300]))
    assert not failed, "\n".join(failed)


def test_the_order_of_the_two_refusals(gateway):
    """A path with two readings is refused before anybody asks whether it runs a model, and both before the credential is read."""
    gateway.post("/v1/%2e%2e/files", GLM).refused(*UNCLEAR)
    gateway.post("/v1/messages/batches", GLM).refused(*FORBIDDEN, shape="anthropic")
    gateway.post("/v1beta/files", GLM).refused(*FORBIDDEN, shape="gemini")


# ---- WebSockets

SOCKETS = [
    ("/v1/realtime?model=glm-1", "glm"), ("/v1/realtime?model=pass-1", "pass"), ("/openai/realtime?model=glm-1", "glm"),
    ("/v1/realtime", (426, "websocket_without_model")), ("/v1/responses", (426, "websocket_without_model")),
    ("/v1/responses?model=glm-1", (426, "websocket_not_allowed")), ("/v1/responses?model=pass-1", (426, "websocket_not_allowed")),
    *((path + "?model=pass-1", (426, "websocket_not_allowed")) for path in (
        "/backend-api/codex/responses", "/V1/Responses", "/v1/%72esponses", "/v1//responses", "/v1/responses//", "/v1/responses;a",
        "/v1/responses/.", "/v1/responses/x/..", "/v1/responses/%2e", "/v1/responses/x/%2e%2e", "/v1/Responses;x/y/..")),
    ("/v1/chat/completions?model=glm-1", (426, "websocket_not_allowed")), ("/v1/x?model=glm-1", FORBIDDEN), ("/v1/responses/r?model=glm-1", FORBIDDEN),
    ("/v1/realtime/x?model=glm-1", FORBIDDEN), ("/v1/x?model=pass-1", "pass"), ("/v1/x?model=any-1", "any"),
    ("/v1/responses/r?model=pass-1", "pass"), ("/v1/xresponses/../x?model=pass-1", "pass"), ("/v1//realtime?model=glm-1", UNCLEAR),
    ("/v1/uploads", "open"), ("/v1/files", "files"),
]


def shake(gateway, target, expected):
    answer = gateway.call("GET", target, WEBSOCKET + bearer())
    if not isinstance(expected, str):
        return answer.refused(*expected)
    got = answer.only(gateway.by_name[expected])
    assert answer.status == 101 and (credential_of(expected, got) == KEYS[expected] if expected in KEYS else got.has(CLIENT_KEY)), target


@pytest.mark.parametrize("target, expected", SOCKETS)
def test_websockets(gateway, target, expected):
    shake(gateway, target, expected)


def test_websockets_where_the_operator_allows_them(gateways, make_mock):
    mocks = {name: make_mock("ws-" + name) for name in ("glm", "pass", "openai")}
    made = gateways(mocks.values(), {"websocket": "allow", "openai_target": mocks["openai"].url(), "routes": [
        {"model_prefix": "glm-", "upstream": mocks["glm"].url(), "auth": "env:KEY"}, {"model_prefix": "pass-", "upstream": mocks["pass"].url()}]},
        env={"KEY": KEYS["glm"]}, owners={KEYS["glm"]: [mocks["glm"]]})
    made.by_name = mocks
    for target, expected in (("/v1/responses?model=glm-1", "glm"), ("/v1/responses?model=pass-1", "pass"), ("/v1/responses?model=x", "openai"),
                             ("/v1/responses", (426, "websocket_without_model")), ("/v1/chat/completions?model=glm-1", FORBIDDEN),
                             ("/v1/files?model=glm-1", FORBIDDEN), ("/v1/realtime?model=glm-1", "glm")):
        shake(made, target, expected)


# ---- forward_headers


SENT = [("X-Extra-A", "1"), ("x-one", "2"), ("helicone-auth", "3"), ("x-extra-api-key", "4"), ("x-extra_b", "5"), ("x-two", "6"), ("x-one-more", "7"),
        ("x-headroom-base-url", "http://attacker.test"), ("openai-organization", "8"), ("anthropic-version", "2023-06-01"), ("accept", "*/*")]


def test_forward_headers(gateway):
    """They are added to the allow list, for their route alone; the credential that the gateway sets is still there."""
    names = {name.lower() for name, _ in SENT}
    for target, body, name, expected in (("/v1/files/f1", None, "files", {"x-extra-a", "x-one", "helicone-auth", "anthropic-version", "accept"}),
                                         ("/v1/models/glm-1", None, "glm", {"anthropic-version", "accept"}),
                                         ("/v1/models/pass-1", None, "pass", names)):
        got = gateway.call("GET", target, SENT + bearer(), body).only(gateway.by_name[name])
        assert {key.lower() for key, _ in got.headers} & names == expected, name
        assert got.header("authorization") == "Bearer " + KEYS.get(name, CLIENT_KEY)
    assert re.search(r"^backend llm-[0-9.:]+-fwd-[0-9a-f]{8}$", gateway.backends, re.M)


def test_the_allow_list_is_the_same_everywhere(gateway):
    """A backend's rule for forward_headers is haproxy.cfg.example's, and the names that the route adds."""
    backend, = re.findall(r"http-request del-header '(\^\(\?!.*)' -m reg$", gateway.backends, re.M)
    frontend, = re.findall(r"http-request del-header '(\^\(\?!.*)' -m reg if llm_replace !llm_forward$", harness.EXAMPLE.read_text(), re.M)
    more = "|authorization|x-api-key|api-key|x-goog-api-key|helicone-auth|x-one"
    assert backend.replace(more, "", 1).replace("|x-extra-)", ")", 1) == frontend and more in backend


def explain(file, *args):
    done = cli("explain", "-c", file, "--json", *args, env={"K": "k"})
    assert done.code == 0, done
    return json.loads(done.out)


def test_backends_of_other_headers_are_not_found(gateways, make_mock):
    """If HAProxy's backends were made for other forward_headers, the request is refused; without the rule, unknown headers would go along."""
    mock = make_mock("stale")
    route = {"model_prefix": "glm-", "upstream": mock.url(), "auth": "env:KEY", "forward_headers": ["x-new"]}

    def edit(text):
        changed = re.sub(r"(?m)^(backend llm-[0-9.:]+)-fwd-[0-9a-f]{8}$", r"\1-fwd-00000000\n    mode http\n\n\1", text)
        assert changed != text
        return changed
    gateway = gateways([mock], {"routes": [route]}, env={"KEY": KEYS["glm"]}, edit=edit)
    gateway.ask("glm-1").refused(502, "no_backend")


def test_each_list_of_headers_has_a_backend_of_its_own(work):
    """The order of a list and its case do not matter."""
    names = []
    for headers in (["x-a"], ["x-b"], ["x-b*"], ["x-a", "x-b"], ["X-B", "x-a"]):
        file = routes_of(work, {"model_prefix": "a", "upstream": "https://a.test", "auth": "env:K", "forward_headers": headers})
        names += re.findall(r"(?m)^backend (llm-a\.test-fwd-[0-9a-f]{8})$", cli("backends", "-c", file).out)
    assert len(names) == 5 and len(set(names)) == 4 and names[3] == names[4]


# ---- the configuration


def routes_of(work, *routes):
    return harness.write_config(work, {"routes": list(routes)})


WRONG = {
    "no condition": ({"upstream": "https://a.test"}, "model_prefix"),
    "path without a slash": ({"path_prefix": "v1"}, "path_prefix"), "path with an empty segment": ({"path_prefix": "/v1//x"}, "path_prefix"),
    "path with a dot segment": ({"path_prefix": "/v1/../x"}, "path_prefix"), "escaped path": ({"path_prefix": "/v1/%20"}, "path_prefix"),
    "path with a query": ({"path_prefix": "/v1?x"}, "path_prefix"), "empty path": ({"path_prefix": ""}, "path_prefix"), "a number": ({"path_prefix": 1}, "path_prefix"),
    "long path": ({"path_prefix": "/" + "x" * 256}, "path_prefix"), "path with a semicolon": ({"path_prefix": "/a;b"}, "path_prefix"),
    "path with a blank": ({"path_prefix": "/a b"}, "path_prefix"),
    "paths a number": ({"model_prefix": "a", "auth": "env:K", "paths": 1}, "paths"), "paths a word": ({"model_prefix": "a", "auth": "env:K", "paths": "all"}, "paths"),
    "a path a number": ({"model_prefix": "a", "auth": "env:K", "paths": [1]}, "paths"), "a path without a slash": ({"model_prefix": "a", "auth": "env:K", "paths": ["v1"]}, "paths"),
    "a method in lower case": ({"model_prefix": "a", "auth": "env:K", "paths": ["get /v1"]}, "paths"), "a method alone": ({"model_prefix": "a", "auth": "env:K", "paths": ["GET"]}, "paths"),
    "two blanks": ({"model_prefix": "a", "auth": "env:K", "paths": ["GET  /v1"]}, "paths"), "any in the list": ({"model_prefix": "a", "auth": "env:K", "paths": ["any"]}, "paths"),
    "65 paths": ({"model_prefix": "a", "auth": "env:K", "paths": ["/%d" % at for at in range(65)]}, "64 paths"),
    "paths where the client's credential passes": ({"model_prefix": "a", "paths": ["/v1"]}, "passthrough"),
    "headers where the client's credential passes": ({"model_prefix": "a", "forward_headers": ["x-a"]}, "passthrough"),
    "headers no list": ({"model_prefix": "a", "auth": "env:K", "forward_headers": "x-a"}, "forward_headers"),
    "17 headers": ({"model_prefix": "a", "auth": "env:K", "forward_headers": ["x-%d" % at for at in range(17)]}, "16 headers"),
    **{"header %r" % name: ({"model_prefix": "a", "auth": "env:K", "forward_headers": [name]}, "forward_headers") for name in (
        1, "", "*", "x a", "x-(a)", "x*y", "x-'", "x-\n", "x" * 65, "Authorization", "x-api-key", "X-API-*", "x-*", "a*", "proxy-authorization", "proxy-*", "Cookie", "host", "h*",
        "connection", "content-length", "content-*", "transfer-encoding", "upgrade", "te", "trailer", "x-llm-deny", "x-llm-*", "x-request-id", "keep-alive")},
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_keys(work, case):
    """In the file each is an error with its place, in the variable a warning; a route whose condition cannot be read is skipped, because it would take more."""
    route, word = WRONG[case]
    done = cli("check", "-c", routes_of(work, route), env={"K": "k"})
    assert done.code == 78 and word in done.err and re.search(r"\.json:\d+:\d+: ", done.err), done
    done = cli("check", env={"K": "k", "HEADROOM_UPSTREAM_ROUTES": json.dumps([route])})
    assert done.code == 0 and "WARNING  log   route_problem" in done.out and word in done.out and not done.err, done
    assert ("route a " in done.out) == ("model_prefix" in route), done


def test_check_and_explain_say_what_goes_along(work):
    file = routes_of(work, {"path_prefix": "/v1/files", "auth": "env:K", "paths": ["/v1/files", "POST /v1/batches"], "forward_headers": ["x-b-*", "x-a"]},
                     {"model_prefix": "glm-", "path_prefix": "/v1", "auth": "env:K"}, {"model_prefix": "all-", "auth": "env:K", "paths": "any"}, {"model_prefix": "*"})
    out = cli("check", "-c", file, env={"K": "k"}).out
    assert "/v1/files, with POST /v1/batches\n" in out and "also forwards the headers x-a x-b-*\n" in out and "route glm- /v1 " in out
    assert out.count("goes along with requests that run a model") == 3 and '"any"' in out
    for args, expected in (
            (["--path", "/v1/files"], {"released": "the route's \"paths\"", "endpoint": "runs no model", "route": "/v1/files", "left_behind": []}),
            (["--path", "/v1/files", "--header", "x-a: 1", "--header", "x-c: 1"], {"left_behind": ["x-c"]}),
            (["--model", "glm-1"], {"released": "the endpoint runs a model", "endpoint": "runs a model", "route": "glm- /v1"}),
            (["--path", "/v1/models/glm-1"], {"released": "GET .../models/NAME", "route": "glm- /v1"}),
            (["--model", "glm-1", "--path", "/v1/x"], {"deny": True, "code": "endpoint_not_allowed", "endpoint": "runs no model"}),
            (["--model", "glm-1", "--path", "/v1/x//y"], {"deny": True, "code": "invalid_path"}),
            (["--path", "/v1/chat/completions?deployment=glm-1", "--method", "POST"], {"route": "glm- /v1", "model_from": "query"}),
            (["--model", "glm-1", "--header", "content-type: a/b", "--header", "Content-Type: c/d"], {"deny": True, "code": "ambiguous_model"}),
            (["--path", "/v1/responses?model=glm-1", "--header", "upgrade: websocket"], {"code": "websocket_not_allowed", "chosen": "refused before a route was chosen"}),
            (["--path", "/v1beta/files"], {"route": "legacy", "backend": "llm-generativelanguage.googleapis.com"})):
        got = explain(file, *args)
        assert {key: got.get(key) for key in expected} == expected, args
        text = cli("explain", "-c", file, *args, env={"K": "k"}).out
        assert got["endpoint"] in text and got["chosen"] in text and got.get("released", "") in text
        assert ("MATCH" in text) == (got.get("route", "legacy") != "legacy"), text


def test_the_example_in_the_documents(work):
    """docs/routing.md sends a provider's stateful APIs with the operator's credential; what it says of single requests is so."""
    text = (harness.ROOT / "docs" / "routing.md").read_text()
    section = text[text.index("## Which requests carry the operator's credential"):]
    routes = json.loads(re.search(r"```json\n(.*?)```", section, re.S).group(1))
    file = harness.write_config(work, {"routes": routes})
    env = {"OPENAI_KEY": "k", "GEMINI_KEY": "k"}
    assert cli("check", "-c", file, env=env).code == 0
    for method, path, more, route, released in (
            ("GET", "/v1/responses/resp_1", (), "stored", "paths"), ("POST", "/v1/responses", ("--model", "any"), "stored", "runs a model"),
            ("DELETE", "/v1/files/f1", (), "files", "paths"), ("GET", "/v1/batches", (), "batches", "paths"), ("DELETE", "/v1/models/gpt-x", (), "legacy", None),
            ("POST", "/upload/v1beta/files", ("--header", "x-goog-upload-command: start"), "gemini uploads", "paths"),
            ("GET", "/v1beta/files/f1", (), "gemini's files", "paths"), ("POST", "/v1/chat/completions", ("--model", "gpt-x"), "gpt-", "runs a model")):
        done = cli("explain", "-c", file, "--json", "--method", method, "--path", path, *more, env=env)
        got = json.loads(done.out)
        assert got["route"] == route and got["deny"] is False and not got.get("left_behind") and (released or "") in got.get("released", ""), (path, done)
        assert ("released" in got) == (released is not None), (path, done)


def test_routes_that_no_request_reaches(agents):
    """A route with a path_prefix behind `*` is reached by requests that name no model; one that needs a model is not."""
    agent = agents({"routes": [{"model_prefix": "*"}, {"path_prefix": "/v1/files"}, {"path_prefix": "/v1/x", "model_prefix": "*"}, {"path_prefix": "/v1/x", "model_prefix": "a"},
                               {"path_prefix": "/v1/files/x"}, {"path_prefix": "/v1/filesystem"}]})
    assert [int(re.search(r"route=(\d+)", line).group(1)) for line in agent.lines("event=route_unreachable")] == [4, 5]
    assert agent.lines("event=route_unreachable .*shadowed_by=2 .* path_prefix=/v1/files/x its_path_prefix=/v1/files")
