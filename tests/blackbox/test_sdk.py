"""The official clients, from npm, ask through the gateway; aimock, also from npm, is the upstream. This is what an application's owner sees.

The clients are OpenAI's, Anthropic's (today's, and the last that sends x-api-key) and Google's. sdk_rig.py runs them.
"""
import collections
import json
import re
import time

import pytest

import evidence
import harness
from harness import CLIENT_KEY, secret, until
from sdk_rig import NUMBERS, Call, Client, Servers, install

ROUTED_KEY, CLAUDE_KEY, GEMINI_KEY = secret("routed"), secret("claude"), secret("gemini")
STRANGER = secret("stranger")
CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie")


@pytest.fixture(scope="session")
def node():
    return install()


@pytest.fixture(scope="session")
def aimock(node):
    """One aimock for each upstream and target. Each accepts only its own key; it answers 401 to another key, and to two different keys."""
    directory = harness.workdir()
    servers = Servers(node, directory, {
        "routed": ROUTED_KEY, "claude": CLAUDE_KEY, "gemini": GEMINI_KEY,
        "theirs": CLIENT_KEY, "openai-target": CLIENT_KEY, "anthropic-target": CLIENT_KEY, "gemini-target": CLIENT_KEY})
    yield servers.named
    servers.close()
    evidence.discard(directory)


@pytest.fixture(scope="session")
def client(node):
    client = Client(node)
    yield client
    client.close()


# ---- the calls: SDK, method, params for a model and a message, the upstream's path, and more


def chat(model, text):
    return {"messages": [{"role": "user", "content": text}], "model": model, "temperature": 0.5}


def responses(model, text):
    return {"instructions": "Be \"model\" short.", "input": text, "model": model}


def messages(model, text):
    return {"max_tokens": 100, "messages": [{"role": "user", "content": text}], "model": model}


def generate(model, text):
    return {"model": model, "contents": text}


Kind = collections.namedtuple("Kind", "sdk call params path credential modes prefix options", defaults=[{}])
KINDS = {
    "openai-chat": Kind("openai", "chat", chat, "/v1/chat/completions", "authorization",
                        ("plain", "stream", "helper"), "routed"),
    "openai-responses": Kind("openai", "responses", responses, "/v1/responses", "authorization",
                             ("plain", "stream", "helper"), "routed"),
    "anthropic": Kind("anthropic", "messages", messages, "/v1/messages", "authorization",
                      ("plain", "stream", "helper"), "claude"),
    "anthropic-0.137": Kind("anthropic0", "messages", messages, "/v1/messages", "x-api-key",
                            ("plain", "stream", "helper"), "claude"),
    # aimock knows only v1beta; by default, version 3.1.0 of the SDK uses v1.
    "genai": Kind("genai", "generate", generate, "/v1beta/models/%s", "x-goog-api-key", ("plain", "stream"), "gemini",
                  {"apiVersion": "v1beta"}),
}


def cases(kinds):
    return [pytest.param(kind, mode, id="%s-%s" % (name, mode)) for name, kind in kinds.items() for mode in kind.modes]


EACH = cases(KINDS)
GENAI_V1 = cases({"genai-v1": KINDS["genai"]._replace(path="/v1/models/%s", options={})})
SDK_KINDS = [pytest.param(kind, id=name) for name, kind in KINDS.items()]
# These do not include Google's SDK, because it never retries by itself and has only one class of errors.
PATIENT = [kind for name, kind in KINDS.items() if name != "genai"]
OWN = [pytest.param(kind, id=name) for name, kind in KINDS.items() if name != "genai"]


def target_of(kind, model, mode):
    if kind.sdk != "genai":
        return kind.path
    return kind.path % model + (":generateContent" if mode == "plain" else ":streamGenerateContent?alt=sse")


def credential(header, value):
    return {header: "Bearer " + value if header == "authorization" else value}


def unchanged(call, request, host):
    """Checks that the upstream got the body unchanged, and every header that the SDK set, except for the credentials."""
    sent = call.sent[-1]
    assert request.body == sent["body"].encode(), request
    fields = [(name, value) for name, value in sent["headers"] if name not in CREDENTIALS]
    assert len(fields) >= 4
    for name, value in fields:
        assert request.all(name) == [value], (name, request)
    assert request.all("host") == [host]


@pytest.fixture(scope="module")
def gateway(haproxy, aimock):
    down = harness.free_port()
    routes = [
        {"model_prefix": "routed-", "upstream": aimock["routed"].url(), "auth": "env:ROUTED"},
        {"model_prefix": "claude-", "upstream": aimock["claude"].url("/v1"), "protocol": "anthropic",
         "auth": "env:CLAUDE", "auth_header": "x-api-key"},
        {"model_prefix": "gemini-", "upstream": aimock["gemini"].url(), "auth": "env:GEMINI",
         "auth_header": "x-goog-api-key"},
        {"model_prefix": "missing-", "upstream": aimock["routed"].url(), "auth": "env:NOT_SET"},
        {"model_prefix": "blank-", "upstream": aimock["routed"].url(), "auth": "env:BLANK"},
        {"model_prefix": "down-", "upstream": "http://127.0.0.1:%d" % down},
        {"model_prefix": "*", "upstream": aimock["theirs"].url(), "auth": "passthrough"}]
    targets = {name + "_target": aimock[name + "-target"].url() for name in ("openai", "anthropic", "gemini")}
    with harness.Gateway(
            haproxy, aimock.values(), dict(targets, routes=routes),
            limits={"LLM_BUFSIZE": "1048576", "LLM_BUFSIZE_LARGE": "none"},   # of every version, so that a body of 1.5 MB is beyond them
            env={"ROUTED": ROUTED_KEY, "CLAUDE": CLAUDE_KEY, "GEMINI": GEMINI_KEY, "BLANK": "  "},
            owners={ROUTED_KEY: [aimock["routed"]], CLAUDE_KEY: [aimock["claude"]], GEMINI_KEY: [aimock["gemini"]],
                    CLIENT_KEY: [one for one in aimock.values() if one.key == CLIENT_KEY],
                    STRANGER: [aimock["theirs"]]}) as gateway:
        yield gateway


@pytest.fixture
def ask(client, gateway):
    """ask(kind, mode, model, text): a call through the module's gateway."""
    def ask(kind, mode, model, text="Hello, \u20ac \U0001f44b \"model\": \"other\"", **more):
        return Call(client, gateway, kind.sdk, kind.call, mode, kind.params(model, text), **dict(kind.options, **more))
    return ask


# ---- calls that succeed


GREETING = "%s greets you: \"model\", \u20ac \U0001f44b"
HEADERS = {"routed": "authorization", "claude": "x-api-key", "gemini": "x-goog-api-key"}


@pytest.mark.parametrize("kind, mode, prefix", [
    pytest.param(*one.values, prefix, id="%s-%s" % (one.id, prefix)) for one in EACH for prefix in HEADERS
    # The upstream of claude- has a URL that ends in /v1, under which there is no /v1beta.
    if (one.values[0].sdk, prefix) != ("genai", "claude")])
def test_route_with_the_operators_credential(ask, aimock, kind, mode, prefix):
    """Whichever SDK asks, and whichever header it uses, the route's upstream gets the route's credential in the route's header."""
    call = ask(kind, mode, prefix + "-1")
    got = call.succeeded()
    assert got["text"] == GREETING % prefix
    upstream = aimock[prefix]
    request = call.only(upstream)
    assert request.target == target_of(kind, prefix + "-1", mode)
    held = {name: request.header(name) for name in CREDENTIALS if request.all(name)}
    assert held == credential(HEADERS[prefix], upstream.key)
    unchanged(call, request, upstream.authority)
    (entry,) = upstream.journal(call.tag)
    assert entry["response"]["status"] == 200 and entry["body"]["model"] == prefix + "-1"


@pytest.mark.parametrize("kind, mode", EACH)
def test_passthrough_with_the_clients_credential(ask, aimock, kind, mode):
    call = ask(kind, mode, "other-1")
    got = call.succeeded()
    assert got["text"] == GREETING % "theirs"
    request = call.only(aimock["theirs"])
    assert request.target == target_of(kind, "other-1", mode)
    held = {name: request.header(name) for name in CREDENTIALS if request.all(name)}
    assert held == credential(kind.credential, CLIENT_KEY)
    unchanged(call, request, aimock["theirs"].authority)


@pytest.mark.parametrize("kind", SDK_KINDS)
def test_request_id_and_usage_reach_the_caller(ask, kind):
    got = ask(kind, "plain", kind.prefix + "-1").succeeded()
    assert re.fullmatch(r"[0-9a-f-]{36}", got["headers"]["x-request-id"])
    assert {"input_tokens", "prompt_tokens", "promptTokenCount"} & set(got["usage"])


@pytest.mark.parametrize("kind, mode", [one for one in EACH if one.values[1] != "stream"])
def test_tool_call(ask, kind, mode):
    got = ask(kind, mode, kind.prefix + "-1", "How is the weather?").succeeded()
    (tool,) = got["tools"]
    arguments = tool.get("arguments", tool.get("input", tool.get("args")))
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert tool["name"] == "weather" and arguments == {"city": "of " + kind.prefix}


def test_streams_arrive_as_they_are_made(ask):
    """aimock waits 50 ms between two words. If the gateway held words back, they would arrive together."""
    for kind, call in [(kind, ask(kind, "stream", kind.prefix + "-1", "Speak slowly")) for kind in KINDS.values()]:
        got = call.succeeded()
        assert got["text"] == " ".join("%s-%d" % (kind.prefix, at) for at in range(12))
        times = got["at"]
        assert len(times) >= 10 and times[-1] - times[0] > 250, times


@pytest.mark.parametrize("kind, mode", GENAI_V1)
def test_genai_v1(haproxy, client, make_mock, gateways, kind, mode):
    """The SDK's default version of the API. The upstream is a mock of this rig, because aimock does not know that version."""
    routed, theirs = make_mock("v1-routed"), make_mock("v1-theirs")
    gateway = gateways([routed, theirs], {"routes": [
        {"model_prefix": "gemini-", "upstream": routed.url(), "auth": "env:GEMINI", "auth_header": "x-goog-api-key"},
        {"model_prefix": "*", "upstream": theirs.url()}]}, env={"GEMINI": GEMINI_KEY},
        owners={GEMINI_KEY: [routed], CLIENT_KEY: [theirs]})
    for model, mock, key in (("gemini-1", routed, GEMINI_KEY), ("other-1", theirs, CLIENT_KEY)):
        call = Call(client, gateway, kind.sdk, kind.call, mode, kind.params(model, "Hello"))
        got = call.succeeded()
        assert got["text"] == "hi" and re.fullmatch(r"[0-9a-f-]{36}", got["headers"]["x-request-id"])
        request = call.only(mock)
        assert request.target == target_of(kind, model, mode) and request.all("x-goog-api-key") == [key]
        unchanged(call, request, mock.authority)


def long_chat(model, size):
    turn = {"role": "user", "content": "\"model\": \"other-1\", \\ \u20ac " * 40}
    return dict(chat(model, "Hello"), messages=[turn] * (size // 1000) + [{"role": "user", "content": "Hello"}])


@pytest.mark.parametrize("last", [False, True], ids=["model-first", "model-last"])
@pytest.mark.parametrize("prefix", ["routed", "missing"])
def test_long_conversation(client, gateway, aimock, prefix, last):
    params = long_chat(prefix + "-long", 800_000)
    if not last:
        params = dict([("model", params["model"]), *params.items()])
    call = Call(client, gateway, "openai", "chat", "plain", params)
    if prefix == "missing":
        call.refused(502, "InternalServerError")
    else:
        call.succeeded()
        unchanged(call, call.only(aimock["routed"]), aimock["routed"].authority)
        assert len(call.seen[0].body) > 800_000


def test_calls_at_once_do_not_mix(ask, aimock):
    calls = [(kind, mode, ask(kind, mode, prefix + "-1"), upstream) for one in EACH for kind, mode in [one.values]
             for prefix, upstream in (("routed", "routed"), (kind.prefix, kind.prefix), ("other", "theirs"))]
    for kind, mode, call, upstream in calls:
        assert call.succeeded()["text"] == GREETING % upstream
        unchanged(call, call.only(aimock[upstream]), aimock[upstream].authority)


# ---- other endpoints


def test_embeddings(client, gateway, aimock):
    for model, upstream in (("routed-e", "routed"), ("other-e", "theirs")):
        call = Call(client, gateway, "openai", "embeddings", "plain", {"input": ["a", "b"], "model": model})
        assert len(call.succeeded()["sizes"]) == 2
        unchanged(call, call.only(aimock[upstream]), aimock[upstream].authority)


def test_transcription(client, gateway, aimock):
    """The body is a form, and the model is one of its fields."""
    for model, upstream in (("routed-t", "routed"), ("other-t", "theirs")):
        params = {"bytes": list(range(256)) * 40, "model": model}
        call = Call(client, gateway, "openai", "transcription", "plain", params)
        assert call.succeeded()["text"] == upstream + " heard it"
        request = call.only(aimock[upstream])
        assert bytes(range(256)) * 40 in request.body and request.header("content-type").startswith("multipart/")


def test_models_go_to_the_target(client, gateway, aimock):
    call = Call(client, gateway, "openai", "models", "plain", {})
    assert call.succeeded()["count"] > 0
    request = call.only(aimock["openai-target"])
    assert request.target == "/v1/models" and request.header("authorization") == "Bearer " + CLIENT_KEY


@pytest.fixture(scope="module")
def listing(haproxy):
    """A gateway whose routes list their models; no upstream has anything to say about them. A missing credential is 403."""
    with harness.Gateway(haproxy, [], {"refusal_status": 403, "routes": [
            {"model_prefix": "missing-", "auth": "env:NOT_SET"},
            {"model_prefix": "glm-", "models": ["glm-4.6", "glm-5"]}, {"model_prefix": "mistralai/", "models": ["mistralai/mistral-7b"]},
            {"model_prefix": "*"}]}) as gateway:
        yield gateway


@pytest.mark.parametrize("sdk, options, front", [("openai", {}, ""), ("anthropic", {}, ""), ("anthropic0", {}, ""), ("genai", {}, "models/"),
                                                 ("genai", {"apiVersion": "v1beta"}, "models/")], ids=str)
def test_models_that_routes_list(client, listing, sdk, options, front):
    names = ["glm-4.6", "glm-5", "mistralai/mistral-7b"]
    assert Call(client, listing, sdk, "models", "all", {}, **options).succeeded()["names"] == [front + name for name in names]
    for name in names:
        assert Call(client, listing, sdk, "models", "one", {"model": name}, **options).succeeded()["names"] == [front + name]
    error = Call(client, listing, sdk, "models", "one", {"model": "glm-9"}, **options).refused(404, "ApiError" if sdk == "genai" else "NotFoundError")
    assert "model_not_found" in json.dumps(error)


def test_realtime_session(client, gateway, aimock):
    for model, upstream in (("routed-r", "routed"), ("other-r", "theirs")):
        call = Call(client, gateway, "openai", "realtime", "plain", {"text": "Hello", "model": model})
        assert call.succeeded(attempts=0)["text"] == GREETING % upstream
        request = call.only(aimock[upstream])
        assert request.target == "/v1/realtime?model=" + model
        assert request.all("authorization") == ["Bearer " + aimock[upstream].key]


def test_realtime_session_refused(client, gateway):
    call = Call(client, gateway, "openai", "realtime", "plain", {"text": "Hello", "model": "missing-r"})
    assert call.error.get("status") == 502 or "502" in call.error["message"] + call.error["cause"], call.error
    assert call.handled("missing-r") == ["upstream_auth_unavailable"]
    assert not call.seen


# ---- refusals


@pytest.mark.parametrize("kind", SDK_KINDS)
def test_credential_missing_as_403(client, listing, kind):
    """What refusal_status says arrives as that status, at once, and still says whose fault it is."""
    call = Call(client, listing, kind.sdk, kind.call, "plain", kind.params("missing-1", "Hello"), **kind.options)
    error = call.refused(403, "ApiError" if kind.sdk == "genai" else "PermissionDeniedError")
    assert "upstream_auth_unavailable" in json.dumps(error) and "no usable credential" in error["message"]


@pytest.mark.parametrize("prefix", ["missing", "blank"])
@pytest.mark.parametrize("kind, mode", EACH + GENAI_V1)
def test_credential_missing(ask, kind, mode, prefix):
    """The SDK raises its own class for 502 at once: x-should-retry is false, so it makes none of its two retries."""
    model = "%s-%d" % (prefix, next(NUMBERS))
    call = ask(kind, mode, model)
    error = call.refused(502, "ApiError" if kind.sdk == "genai" else "InternalServerError")
    assert call.handled(model) == ["upstream_auth_unavailable"]
    assert call.got["headers"]["x-should-retry"] == "false" and "retry-after" not in call.got["headers"]
    request_id = call.got["headers"]["x-request-id"]
    if kind.sdk == "openai":
        assert error["code"] == "upstream_auth_unavailable" and error["type"] == "api_error"
        assert error["requestId"] == request_id
    elif kind.sdk == "genai":
        reason = json.loads(error["message"])["error"]
        assert reason["code"] == 502 and reason["details"] == [{"reason": "upstream_auth_unavailable"}]
    else:
        assert error["type"] == error["body"]["error"]["type"] == "api_error"
        assert error["body"]["code"] == "upstream_auth_unavailable"
    until(lambda: request_id in call.gateway.haproxy.text(), 5, "the request's line")


@pytest.mark.parametrize("kind", OWN)
def test_bad_request(ask, gateway, kind):
    call = ask(kind, "plain", 7)
    error = call.refused(400, "BadRequestError")
    assert error["type"] == "invalid_request_error" and "invalid_model" in json.dumps(error)


@pytest.mark.parametrize("kind", OWN)
def test_model_beyond_the_sample(client, gateway, kind):
    params = kind.params("routed-far", "x" * 1_500_000)
    call = Call(client, gateway, kind.sdk, kind.call, "plain", params)
    error = call.refused(413, "APIError")
    assert "model_not_in_sample" in json.dumps(error)


@pytest.mark.parametrize("kind", OWN)
def test_upstream_down(ask, kind):
    """maxRetries=0, because this test is only about the error that the SDK raises."""
    call = ask(kind, "plain", "down-1", maxRetries=0)
    assert "upstream_unavailable" in json.dumps(call.refused(503, "InternalServerError"))


# ---- an upstream's own answers and errors reach the SDK


def test_upstreams_retry_after(ask, aimock):
    """The upstream answers 429 with Retry-After: each SDK waits as long, asks again, and succeeds."""
    for kind, call in [(kind, ask(kind, "plain", kind.prefix + "-1", "Are you busy once?")) for kind in PATIENT]:
        assert call.succeeded(attempts=2)["text"] == GREETING % kind.prefix
        first, second = call.sent
        assert (first["status"], second["status"]) == (429, 200) and second["at"] - first["at"] >= 990
        call.only(aimock[kind.prefix], times=2)
        unchanged(call, call.seen[-1], aimock[kind.prefix].authority)
        assert call.seen[0].body == call.seen[1].body


@pytest.mark.parametrize("kind", SDK_KINDS)
def test_upstreams_refusal(ask, aimock, kind):
    call = ask(kind, "plain", "other-1", key=STRANGER)
    error = call.error
    assert error["status"] == 401
    assert ("ApiError" if kind.sdk == "genai" else "AuthenticationError") in error["classes"]
    assert "Invalid API key" in error["message"] and len(call.sent) == 1
    call.only(aimock["theirs"])


@pytest.mark.parametrize("kind", SDK_KINDS)
def test_broken_stream_is_an_error(ask, kind):
    """The SDK must not take an answer that broke off for a whole answer."""
    call = ask(kind, "stream", kind.prefix + "-1", "Please break off")
    assert call.got["events"] and call.error, call.got


def told_of_the_end(calls, aimock):
    for kind, call in calls:
        call.done()
        call.only(aimock[kind.prefix])
        until(lambda: aimock[kind.prefix].servers.cut_off(call.tag), 3, "aimock's answer to %s cut off" % kind.sdk)


def test_caller_gives_up(ask, aimock):
    """The upstream's connection is closed within moments, so that it does not go on with an answer that nobody reads."""
    told_of_the_end([(kind, ask(kind, "stream", kind.prefix + "-1", "Speak at length", abort=True))
                     for kind in PATIENT], aimock)


def test_caller_gives_up_before_the_first_byte(ask, aimock):
    calls = [(kind, ask(kind, "stream", kind.prefix + "-1", "Please think first", timeout=300, maxRetries=0))
             for kind in PATIENT]
    for _, call in calls:
        assert "APIConnectionTimeoutError" in call.error["classes"], call.error
    told_of_the_end(calls, aimock)


# ---- an agent that is gone


def test_gateway_unavailable_is_retried(haproxy, client, aimock):
    """The gateway answers 503 with Retry-After: each SDK retries twice, a second apart, and succeeds once the agent is back."""
    routes = [{"model_prefix": "*", "upstream": aimock["routed"].url(), "auth": "env:ROUTED"}]
    with harness.Gateway(haproxy, aimock.values(), {"routes": routes}, env={"ROUTED": ROUTED_KEY},
                         owners={ROUTED_KEY: [aimock["routed"]]}) as gateway:
        gateway.agent.kill()
        gateway.agent.close()

        def refusals():
            """Counts the refusals in HAProxy's log. The log has no models, because only the agent knows them; and a line may be missing, because
            of two threads that write to standard output at the same moment one gives up."""
            return gateway.haproxy.text().count('"code":"gateway_unavailable"')

        patient = [one.values for one in EACH if one.values[0].sdk != "genai"]
        at_once = [one.values for one in EACH + GENAI_V1 if one.values[0].sdk == "genai"]

        def start(what):
            return [Call(client, gateway, kind.sdk, kind.call, mode, kind.params("m-1", "Hello"), **kind.options)
                    for kind, mode in what]

        for call in start(at_once):
            reason = json.loads(call.refused(503, "ApiError")["message"])["error"]
            assert reason["code"] == 503 and reason["status"] == "UNAVAILABLE"
        for call in start(patient):
            error = call.refused(503, "InternalServerError", attempts=3)
            times = [one["at"] for one in call.sent]
            assert times[1] - times[0] >= 990 and times[2] - times[1] >= 990, times
            assert call.got["headers"]["retry-after"] == "1" and "gateway_unavailable" in json.dumps(error)
        before = len(at_once) + 3 * len(patient)
        until(lambda: refusals() > len(at_once), 5, "refusals logged")
        time.sleep(0.2)
        assert refusals() <= before

        before = refusals()
        calls = start(patient)
        until(lambda: refusals() > before, 10, "first attempts refused")
        time.sleep(0.2)  # until all first attempts are refused: they began together, and are repeated after a second
        gateway.start_agent()
        for call in calls:
            assert call.got.get("text") == GREETING % "routed", (call.got, gateway.haproxy.tail(20))
            statuses = [one["status"] for one in call.sent]
            assert statuses in ([503, 200], [503, 503, 200]), statuses
            unchanged(call, call.only(aimock["routed"]), aimock["routed"].authority)
