"""What clients of many kinds need of the gateway itself."""
import gzip
import signal

import pytest

import harness
from harness import bearer, secret

KEY = secret("clients")
MULTIPART = [("Content-Type", "multipart/form-data; boundary=xyz")]


@pytest.fixture(scope="module")
def mock(make_mock):
    return make_mock("clients")


@pytest.fixture(scope="module")
def gateway(haproxy, mock):
    routes = [{"model_prefix": "missing-", "upstream": mock.url(), "auth": "env:NOT_SET"},
              {"model_prefix": "good-", "upstream": mock.url(), "auth": "env:KEY"}, {"model_prefix": "*", "upstream": mock.url()}]
    with harness.Gateway(haproxy, [mock], {"routes": routes, **{
            name + "_target": mock.url() for name in ("openai", "anthropic", "gemini")}}, env={"KEY": KEY}) as gateway:
        yield gateway


def reload_with(gateway, **options):
    """Gives the agent other options."""
    harness.write_config(gateway.agent.file.parent, dict(gateway.config, **options), gateway.agent.file.name)
    before = len(gateway.agent.lines("event=reloaded"))
    gateway.agent.process.kill(signal.SIGHUP)
    harness.until(lambda: len(gateway.agent.lines("event=reloaded")) > before, 10, lambda: "the reload\n" + gateway.agent.process.tail())


# ---- the status of a missing credential


@pytest.mark.parametrize("status", [403, "424", 503, 502])
def test_the_status_of_a_missing_credential(gateway, status):
    reload_with(gateway, refusal_status=status)
    for target, shape, body in (("/v1/chat/completions", "openai", b'{"model":"missing-1"}'), ("/v1/messages", "anthropic", b'{"model":"missing-1"}'),
                                ("/v1beta/models/missing-1:generateContent", "gemini", b"{}")):
        answer = gateway.post(target, body).refused(int(status), "upstream_auth_unavailable", shape, retry=False)
        assert b"no usable credential" in answer.body
    if status == 403:   # the log holds back what comes more often than ten times a second
        gateway.agent.log("event=refused.* status=403 code=upstream_auth_unavailable")
    # Other refusals keep theirs.
    gateway.post("/v1/chat/completions", b'{"model":7}').refused(400, "invalid_model")
    assert 'spoa_llm_refusals_total{code="upstream_auth_unavailable",status="%s"}' % status in gateway.agent.http(path="/metrics").text


# ---- bodies that are not what they say


def form(*parts):
    return b"".join(b"--xyz\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n" % part for part in parts) + b"--xyz--\r\n"


GOOD = form((b"model", b"good-1"), (b"prompt", b"x"))


@pytest.mark.parametrize("headers, body, code", [
    (MULTIPART, GOOD.replace(b"\r\n--xyz\r\n", b"x--xyz\r\n"), "invalid_form"),
    (MULTIPART, GOOD.replace(b"\r\n", b"\n"), "invalid_form"),
    (MULTIPART, GOOD[:-8], "invalid_form"),
    (MULTIPART, b"x" + GOOD, "invalid_form"),
    (MULTIPART, GOOD + b"x", "invalid_form"),
    (MULTIPART, b'{"model":"good-1"}', "invalid_form"),
    ([("Content-Type", "multipart/form-data")], GOOD, "invalid_form"),
    ([("Content-Type", "application/json")], GOOD, "invalid_json"),
    ([("Content-Type", "application/json"), ("Content-Encoding", "gzip")], b'{"model":"good-1"}', "invalid_encoding"),
    ([("Content-Type", "application/json"), ("Content-Encoding", "gzip")], gzip.compress(b'{"model":"good-1"}', mtime=0)[:-9], "invalid_encoding"),
    ([("Content-Type", "application/json"), ("Content-Encoding", "gzip")], gzip.compress(b'{"model"', mtime=0), "invalid_json"),
    (MULTIPART + [("Content-Encoding", "gzip")], gzip.compress(GOOD[:-8], mtime=0), "invalid_form"),
])
def test_a_body_that_is_not_what_it_says_has_a_code_of_its_own(gateway, headers, body, code):
    gateway.call("POST", "/v1/images/edits", headers + bearer(), body).refused(400, code)


def test_a_form_that_is_well_formed_is_served(gateway, mock):
    assert gateway.call("POST", "/v1/images/edits", MULTIPART + bearer(), GOOD).only(mock).header("authorization") == "Bearer " + KEY


# ---- pages of other origins


APP, OTHER = "https://app.test", "https://other.test"
PREFLIGHT = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "authorization,content-type,x-stainless-os")]
ORIGIN, METHODS, HEADERS, CREDENTIALS = ["access-control-allow-" + what for what in ("origin", "methods", "headers", "credentials")]


@pytest.fixture(scope="module")
def pages(make_mock):
    """Two servers of web pages; the gateway lets those of the first one in."""
    mocks = make_mock("our page"), make_mock("their page")
    for one in mocks:
        one.respond = lambda _request: (200, [("Content-Type", "text/html")], b"<!doctype html><title>page</title>")
    return mocks


@pytest.fixture(scope="module")
def shared(haproxy, make_mock, pages):
    """A gateway that pages of two origins may use. Its upstream lets any page in, with cookies, as some do."""
    mock = make_mock("cors")
    mock.extra_headers = [("Access-Control-Allow-Origin", OTHER), ("Access-Control-Allow-Credentials", "true"), ("X-Limit", "7")]
    routes = [{"model_prefix": "missing-", "upstream": mock.url(), "auth": "env:NOT_SET"}, {"model_prefix": "*", "upstream": mock.url()}]
    with harness.Gateway(haproxy, [mock], {"routes": routes}, limits={"LLM_CORS_ORIGINS": "%s %s" % (APP, pages[0].url())}) as gateway:
        gateway.mock = mock
        yield gateway


def readable(answer, origin):
    """A page of `origin` may read the answer, and no other page."""
    assert (answer.all(ORIGIN), answer.all(CREDENTIALS)) == ([origin], []), answer
    assert answer.all("access-control-expose-headers") == ["*"] and ("origin" in answer.all("vary")) == (origin != "*"), answer


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/messages", "/v1beta/models/x:generateContent", "/p/a/v1/models", "/anything"])
def test_a_preflight_is_answered_by_the_gateway(shared, target):
    answer = shared.call("OPTIONS", target, [("Origin", APP)] + PREFLIGHT)
    answer.nowhere()
    readable(answer, APP)
    assert (answer.status, answer.body) == (204, b"") and "POST" in answer.header(METHODS)
    assert answer.header(HEADERS) == dict(PREFLIGHT)["Access-Control-Request-Headers"]
    # Another answer with the same request id is in the log, and this one is not.
    seen = shared.ask("missing-1").header("x-request-id")
    harness.until(lambda: seen in shared.haproxy.text(), 5, "the line of the request behind it")
    assert answer.header("x-request-id") not in shared.haproxy.text()


@pytest.mark.parametrize("origin", [OTHER, APP + ":81", APP.upper(), "http://app.test", "null", APP + ".evil.test", APP + "/", "*", "x " + APP])
def test_a_page_of_another_origin_is_not_let_in(shared, origin):
    answer = shared.call("OPTIONS", "/v1/messages", [("Origin", origin)] + PREFLIGHT)
    answer.nowhere()
    assert answer.status == 403 and answer.json()["error"]["code"] == "origin_not_allowed" and not answer.all(ORIGIN), answer
    assert "origin" in answer.all("vary")
    # What needs no preflight is served, and its page cannot read it, whatever the upstream says.
    answer = shared.ask("x", [("Origin", origin)] + bearer())
    assert answer.only(shared.mock) and not answer.all(ORIGIN) and not answer.all(CREDENTIALS), answer


def test_two_origins_are_none(shared):
    answer = shared.call("OPTIONS", "/v1/messages", [("Origin", APP), ("Origin", APP)] + PREFLIGHT)
    assert answer.status == 403 and not answer.all(ORIGIN)


def test_answers_and_refusals_can_be_read(shared):
    page = [("Origin", APP)]
    readable(shared.ask("x", page), APP)
    readable(shared.ask("x", page, stream=True), APP)
    readable(shared.ask("missing-1", page).refused(502, "upstream_auth_unavailable"), APP)
    readable(shared.call("TRACE", "/", page), APP)
    # OPTIONS that is no preflight goes where it always went.
    assert shared.call("OPTIONS", "/v1/x", [("Access-Control-Request-Method", "POST")]).status == 403
    shared.mock.down()
    try:
        answer = shared.ask("x", page)
    finally:
        shared.mock.up()
    harness.until(lambda: shared.ask("x", page).status == 200, 10, "HAProxy has seen that the upstream is back")
    assert answer.status == 503
    readable(answer, APP)


def test_the_agent_is_not_asked(haproxy, make_mock):
    """A refusal because nobody answers can be read by the page too. With "*" any page may read, and no origin is repeated."""
    with harness.Gateway(haproxy, [], fake=lambda args: {}, limits={"LLM_CORS_ORIGINS": "*"}) as gateway:
        answer = gateway.call("OPTIONS", "/v1/messages", [("Origin", OTHER)] + PREFLIGHT)
        assert answer.status == 204 and not gateway.agent.asked
        readable(answer, "*")
        readable(gateway.ask("x", [("Origin", "null")]).refused(503, "gateway_unavailable"), "*")
        assert not gateway.ask("x").all(ORIGIN)


def test_without_the_setting_the_upstream_decides(gateway, mock):
    mock.extra_headers = [("Access-Control-Allow-Origin", "*")]
    try:
        answer = gateway.call("OPTIONS", "/v1/chat/completions", [("Origin", APP)] + PREFLIGHT)
    finally:
        mock.reset()
    assert answer.only(mock).method == "OPTIONS" and answer.all(ORIGIN) == ["*"]


FETCH = """const [url, model, done] = arguments;
fetch(url + '/v1/chat/completions', {method: 'POST', body: JSON.stringify({model}), headers: {authorization: 'Bearer mine',
      'content-type': 'application/json', 'x-stainless-os': 'Linux'}}).then(
    async (r) => done([r.status, (await r.json()).error?.code ?? '', r.headers.get('x-request-id')?.length, r.headers.get('x-limit')]),
    (e) => done(['' + e]))"""


def test_a_browser(shared, pages, chromium):
    url = "http://%s:%d" % shared.address
    ours, theirs = [], []
    for page, seen in zip(pages, (ours, theirs)):
        chromium.driver.get(page.url())
        seen += [chromium.driver.execute_async_script(FETCH, url, model) for model in ("x", "missing-1")]
    assert ours == [[200, "", 36, "7"], [502, "upstream_auth_unavailable", 36, None]], ours
    assert theirs == [["TypeError: Failed to fetch"]] * 2, theirs
    assert [one.method for one in shared.mock.requests if one.header("origin") == pages[1].url()] == []


# ---- many headers


@pytest.mark.parametrize("count", [102, 150, 1000, 4000])
def test_many_headers(gateway, mock, count):
    got = gateway.ask("other", [("x-h%d" % n, "v") for n in range(count)]).only(mock)
    assert [got.header("x-h%d" % n) for n in (0, count - 1)] == ["v", "v"]
    assert gateway.ask("good-1", [("x-h%d" % n, "v") for n in range(count)]).only(mock).header("authorization") == "Bearer " + KEY


# ---- the models that routes list


LISTED = ["glm-4.6", "GLM-5", "mistralai/mistral-7b", "gpt-5.5"]
API_KEY, GOOGLE_KEY = [("x-api-key", "dummy")], [("x-goog-api-key", "dummy")]


@pytest.fixture(scope="module")
def listing(haproxy, mock):
    """Routes with and without lists. No credential is there, as for a client with a dummy key."""
    routes = [{"model_prefix": "glm-", "upstream": mock.url(), "auth": "env:NOT_SET", "models": LISTED[:2]},
              {"model_prefix": "off-", "models": ["off-1"], "enabled": False},
              {"model_prefix": "mistralai/", "upstream": mock.url(), "models": LISTED[2:3]},
              {"model_prefix": "claude-", "upstream": mock.url()},
              {"model_prefix": "*", "upstream": mock.url(), "models": LISTED[3:]}]
    with harness.Gateway(haproxy, [mock], {"routes": routes, "openai_target": mock.url()}) as gateway:
        yield gateway


def openai(name):
    return {"id": name, "object": "model", "created": 0, "owned_by": "spoa-llm"}


def anthropic(name):
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def gemini(name):
    return {"name": "models/" + name, "displayName": name, "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"]}


ALL = {openai: {"object": "list", "data": [openai(name) for name in LISTED]},
       anthropic: {"data": [anthropic(name) for name in LISTED], "has_more": False, "first_id": LISTED[0], "last_id": LISTED[-1]},
       gemini: {"models": [gemini(name) for name in LISTED]}}


@pytest.mark.parametrize("path, headers, shape", [
    ("/v1/models", bearer("dummy"), openai), ("/v1/models", [], openai), ("/models", bearer("dummy"), openai), ("/api/v1/models", [], openai),
    ("/v1/models/", [], openai), ("//v1/models", [], openai), ("/openai/models", [], openai), ("/v1beta/openai/models", GOOGLE_KEY, openai),
    ("/v1/models", API_KEY, anthropic), ("/v1/models", [("anthropic-version", "2023-06-01")], anthropic), ("/v1/models", bearer("sk-ant-x"), anthropic),
    ("/v1beta/models", [], gemini), ("/v1beta/models", GOOGLE_KEY, gemini), ("/v1/models", GOOGLE_KEY, gemini),
])
def test_models_in_the_shape_of_each_api(listing, path, headers, shape):
    for project in ("", "/p/team"):
        if project and path[:2] == "//":
            continue
        answer = listing.call("GET", project + path + "?limit=1000&pageSize=2", headers)
        answer.nowhere()
        assert (answer.status, answer.header("content-type"), answer.json()) == (200, "application/json", ALL[shape]), answer
    for name, written in [(name, name) for name in LISTED] + [("GLM-5", "glm-5"), (LISTED[2], LISTED[2].replace("/", "%2F"))]:
        answer = listing.call("GET", path.rstrip("/") + "/" + written, headers)
        answer.nowhere()
        assert (answer.status, answer.json()) == (200, shape(name)), answer
    missing = listing.call("GET", path.rstrip("/") + "/claude-9", headers)
    missing.nowhere()
    assert (missing.status, missing.header("x-should-retry")) == (404, "false") and b"model_not_found" in missing.body, missing
    error = missing.json()["error"]
    assert {openai: error.get("code") == "model_not_found" and error.get("type") == "invalid_request_error", anthropic: error.get("type") == "not_found_error",
            gemini: error.get("code") == 404 and error.get("status") == "NOT_FOUND"}[shape], error


@pytest.mark.parametrize("method, path", [("POST", "/v1/models"), ("HEAD", "/v1/models"), ("DELETE", "/v1/models/glm-5"), ("GET", "/v1/models/glm-5/versions"),
                                          ("GET", "/v1/modelsx"), ("GET", "/v1/files"), ("OPTIONS", "/v1/models")])
def test_what_asks_about_no_model_goes_where_it_went(listing, mock, method, path):
    assert listing.call(method, path, bearer()).only(mock).path == path


def test_a_model_is_still_asked_by_its_route(listing, mock):
    listing.ask("glm-5").refused(502, "upstream_auth_unavailable")
    assert listing.ask("claude-9").only(mock)


def test_without_a_list_upstreams_answer(gateway, mock):
    assert gateway.call("GET", "/v1/models", bearer()).only(mock).path == "/v1/models"
    assert gateway.call("GET", "/v1/models/good-1", bearer()).only(mock).header("authorization") == "Bearer " + KEY


def test_a_list_and_a_404_are_counted_and_explained(listing):
    assert listing.call("GET", "/v1/models", API_KEY).status == 200 and listing.call("GET", "/v1/models/claude-9", API_KEY).status == 404
    metrics = listing.agent.http(path="/metrics").text
    assert 'spoa_llm_decisions_total{route="legacy",protocol="anthropic",outcome="answered"}' in metrics
    assert 'spoa_llm_refusals_total{code="model_not_found",status="404"}' in metrics
    done = harness.cli("explain", "-c", listing.agent.file, "--path", "/v1/models/GLM-4.6", "--json")
    assert '"deny":\ttrue' in done.out and '"status":\t200' in done.out and "glm-4.6" in done.out, done


def listed(gateway, count, length):
    """Lists `count` models with names of that length; returns the answer, and whether it has all of them."""
    names = [("m-%05d" % n).ljust(length, "x") for n in range(count)]
    reload_with(gateway, routes=[{"model_prefix": "m-", "models": names}])
    answer = gateway.call("GET", "/v1/models")
    return answer, answer.status == 200 and [one["id"] for one in answer.json()["data"]] == names


def test_a_long_list(haproxy):
    with harness.Gateway(haproxy, [], {"routes": []}) as gateway:
        answer, whole = listed(gateway, 1024, 256)
        assert whole, answer
        answer = gateway.call("GET", "/v1beta/models")      # the longest texts
        assert answer.status == 200 and len(answer.json()["models"]) == 1024
        assert gateway.call("GET", "/v1/models/" + ("m-01023".ljust(256, "x"))).status == 200


def test_a_list_that_does_not_fit_a_buffer(haproxy):
    """A long list comes whole, or is refused and the log says why: it is never cut, and no error is left unexplained."""
    with harness.Gateway(haproxy, [], {"routes": []}, limits={"LLM_BUFSIZE": "16384", "LLM_HEAD": "4096", "LLM_TAIL": "4096"}) as gateway:
        seen = []
        for count in (150, 210, 211, 217, 220, 221, 222, 223, 230):   # a log has ten lines a second of each event
            answer, whole = listed(gateway, count, 12)
            assert whole or answer.refused(503, "gateway_unavailable")
            seen.append(whole)
        assert seen[0] and seen == sorted(seen, reverse=True) and not seen[-1]
        gateway.agent.log("event=ack_too_large")
