"""Keys of the gateway's own clients: where they may stand, that none goes anywhere but to the agent, as a hash, and who is let in."""
import base64
import datetime
import re

import pytest

import harness
import keys
import wire
from clients import ClientGateway
from harness import JSON, chat, check_refusal, secret, until, version_of
from pools import NAMES, pool

ALICE, BOB, OLD, OFF, STRANGER = (keys.key(name) for name in ("alice", "bob", "expired", "disabled", "stranger"))
MINE, OPERATOR = secret("own"), secret("operator")
CLIENTS = [keys.entry("alice", ALICE, project="search"), keys.entry("bob", BOB), keys.entry("old", (OLD, "2020-01-01T00:00:00Z")), keys.entry("off", OFF, enabled=False)]
SHAPES = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic", "/v1beta/models/op-1:generateContent": "gemini"}
WEBSOCKET = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
# Headers of a client's that the upstream does not get as they were.
KEPT = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "sec-websocket-protocol", "cookie")


def auth(value):
    return [("Authorization", value)]


@pytest.fixture(scope="module")
def mocks(make_mock):
    return {name: make_mock(name) for name in NAMES}


def gateway_of(haproxy, mocks, mode, **more):
    routes = [{"model_prefix": "op-", "upstream": mocks["a"].url(), "auth": "env:OPERATOR"}, pool(mocks, "pool", "bc"),
              {"model_prefix": "*", "upstream": mocks["d"].url()}]
    config = {"routes": routes, "require_client": mode == "required" and "fake" not in more, **{name + "_target": mocks["d"].url() for name in ("openai", "anthropic", "gemini")}}
    return ClientGateway(haproxy, list(mocks.values()), config, CLIENTS, mode, env={"OPERATOR": OPERATOR}, owners={OPERATOR: [mocks["a"]]}, **more)


@pytest.fixture(scope="module")
def gateway(haproxy, mocks):
    with gateway_of(haproxy, mocks, "on") as gateway:
        yield gateway


def kept(request):
    return [(name.lower(), value) for name, value in request.headers if name.lower() in KEPT]


# ---- where a key may stand


TAKEN = {
    "bearer": (auth("Bearer " + ALICE), "", []),
    "bearer in small letters": (auth("bearer " + ALICE), "", []),
    "x-api-key": ([("x-api-key", ALICE)], "", []),
    "api-key": ([("Api-Key", ALICE)], "", []),
    "x-goog-api-key": ([("X-Goog-Api-Key", ALICE)], "", []),
    "x-llm-key": ([("X-LLM-Key", ALICE)], "", []),
    "x-llm-key, beside the provider's own": ([("x-llm-key", ALICE)] + auth("Bearer " + MINE), "", auth("Bearer " + MINE)),
    "x-llm-key, beside the provider's own key": ([("x-llm-key", ALICE), ("x-api-key", MINE)], "", [("x-api-key", MINE)]),
    "x-api-key, beside the provider's own": ([("x-api-key", ALICE)] + auth("Bearer " + MINE), "", auth("Bearer " + MINE)),
    "bearer, beside the provider's own": (auth("Bearer " + ALICE) + [("x-api-key", MINE)], "", [("x-api-key", MINE)]),
    "the query": ([], "key=" + ALICE, []),
    "the query, between others": ([], "a=b%20c&key=" + ALICE + "&alt=sse", []),
    "the query, twice": ([], "key=" + ALICE + "&key=" + ALICE, []),
    "the same one twice": (auth("Bearer " + ALICE) + [("x-api-key", ALICE)], "", []),
    "the same one in head and query": ([("x-goog-api-key", ALICE)], "key=" + ALICE, []),
    "x-llm-key, twice": ([("x-llm-key", ALICE), ("x-llm-key", ALICE)], "", []),
}


@pytest.mark.parametrize("place", TAKEN)
def test_a_key_is_taken_where_clients_put_one_and_goes_nowhere(gateway, mocks, place):
    headers, query, left = TAKEN[place]
    target = "/v1/chat/completions" + ("?" + query if query else "")
    names = [("X-Client", "somebody"), ("X-Headroom-Project", "another")]
    rest = {"a=b%20c&key=" + ALICE + "&alt=sse": "?a=b%20c&alt=sse"}.get(query, "")
    passed = gateway.call("POST", target, JSON + headers + names, chat("gpt-1"))
    seen = passed.only(mocks["d"])
    assert kept(seen) == [(name.lower(), value) for name, value in left] and seen.target == "/v1/chat/completions" + rest
    replaced = gateway.call("POST", target, JSON + headers + names, chat("op-1"))
    assert kept(replaced.only(mocks["a"])) == [("authorization", "Bearer " + OPERATOR)]
    for answer in passed, replaced:
        line = gateway.line(answer)
        assert (line["client"], line["project"], line.get("keyed")) == ("alice", "search", 1), line


def test_a_key_and_a_login_of_claude_code_go_together(gateway, mocks):
    login = auth("Bearer sk-ant-oat01-" + MINE) + [("Anthropic-Beta", "oauth-2025-04-20"), ("Anthropic-Version", "2023-06-01"), ("User-Agent", "claude-cli/2.0 (external, cli)")]
    answer = gateway.call("POST", "/v1/messages?beta=true", JSON + login + [("x-llm-key", ALICE)], chat("claude-5", max_tokens=9))
    seen = answer.only(mocks["d"])
    assert kept(seen) == [("authorization", "Bearer sk-ant-oat01-" + MINE)] and seen.header("anthropic-beta") == "oauth-2025-04-20"
    line = gateway.line(answer)
    assert (line["client"], line["project"], line["keyed"], line["protocol"]) == ("alice", "search", 1, "anthropic"), line


MISPLACED = {
    "authorization without a scheme": (auth(ALICE), ""),
    "two blanks": (auth("Bearer  " + ALICE), ""),
    "a tab": (auth("Bearer\t" + ALICE), ""),
    "another scheme": (auth("Token " + ALICE), ""),
    "Basic": (auth("Basic " + base64.b64encode(b"user:" + ALICE.encode()).decode()), ""),
    "Basic, as its name": (auth("bAsic " + base64.b64encode(ALICE.encode() + b":").decode()), ""),
    "Basic, at another place": (auth("Basic " + base64.b64encode(b"me:" + ALICE.encode()).decode()), ""),
    "two values of one header": (auth("Bearer " + ALICE) + auth("Bearer " + MINE), ""),
    "two values in other order": (auth("Bearer " + MINE) + auth("Bearer " + ALICE), ""),
    "a list": (auth("Bearer %s, Bearer %s" % (ALICE, MINE)), ""),
    "in other case": (auth("Bearer " + ALICE.replace("sk-spoa-", "SK-Spoa-")), ""),
    "x-api-key with a scheme": ([("x-api-key", "Bearer " + ALICE)], ""),
    "a cookie": ([("Cookie", "a=b; token=" + ALICE)], ""),
    "proxy-authorization": ([("Proxy-Authorization", "Bearer " + ALICE)], ""),
    "a header of another name": ([("X-Anything", ALICE)], ""),
    "the name of a header": ([(ALICE, "x")], ""),
    "the user agent": ([("User-Agent", "app/" + ALICE)], ""),
    "the client's name": ([("X-Client", ALICE)], ""),
    "the project": ([("X-Headroom-Project", ALICE)], ""),
    "a folded header": ([("X-Long", "a\r\n " + ALICE)], ""),
    "another parameter": ([], "?api_key=" + ALICE),
    "a parameter in other case": ([], "?Key=" + ALICE),
    "the model": ([], "?model=" + ALICE),
    "behind a semicolon": ([], "?a=1;key=" + ALICE),
    "a letter of the name escaped": ([], "?k%65y=" + ALICE),
    "a letter of the key escaped": ([], "?key=%73" + ALICE[1:]),
    "escaped twice": ([], "?x=%2573" + ALICE[1:]),
    "escaped three times": ([], "?x=sk%25252D" + ALICE[3:]),
    "with a broken escape": ([], "?a=%zz&x=%73" + ALICE[1:]),
    "with an escape that others make whole": ([], "?x=%257%2533" + ALICE[1:]),
    "with a NUL": ([], "?a=%00&x=%73" + ALICE[1:]),
    "the path": ([], "/" + ALICE),
    "the path, escaped": ([], "/%73" + ALICE[1:]),
    "the path's project": (None, "/p/" + ALICE + "/v1/chat/completions"),
}


@pytest.mark.parametrize("place", MISPLACED)
def test_a_key_in_any_other_place_is_refused(gateway, place):
    headers, more = MISPLACED[place]
    target = more if headers is None else "/v1/chat/completions" + more
    # HAProxy makes names of headers lower case, so that what stands there is no longer the key of x-llm-key.
    for beside in [[], [("x-llm-key", ALICE)]][:1 if place == "the name of a header" else 2]:
        answer = gateway.call("POST", target, JSON + (headers or []) + beside, chat("gpt-1"))
        answer.refused(400, "misplaced_api_key", retry=False)
        line = gateway.line(answer)
        assert (line["code"], line["client"], line["project"], line["ua"]) == ("misplaced_api_key", "", "", ""), line


HIDDEN = {
    "in front of the key": [("X-Anything", "\0" + ALICE)],
    "as a bearer": auth("Bearer \0" + ALICE),
    "behind the key": [("X-Anything", ALICE + "\0")],
    "in a header before": [("X-A", "\0"), ("X-Anything", ALICE)],
    "in a folded header before": [("X-A", "a\r\n \0"), ("X-Anything", ALICE)],
    "in a header before another key": [("X-A", "b\0"), ("x-api-key", BOB)],
}


@pytest.mark.parametrize("place", HIDDEN)
def test_a_nul_in_the_head_hides_no_key(gateway, haproxy, place):
    for beside in [], [("x-llm-key", ALICE)], auth("Bearer " + ALICE), [("x-goog-api-key", ALICE)]:
        for model in "gpt-1", "op-1":
            answer = gateway.call("POST", "/v1/chat/completions", JSON + HIDDEN[place] + beside, chat(model))
            assert answer.status == 400, answer.response
            answer.nowhere()
            if version_of(haproxy) < (3, 0):        # later versions take no NUL at all
                answer.refused(400, "misplaced_api_key", retry=False)


@pytest.mark.parametrize("headers, query", [
    (auth("Bearer " + ALICE) + [("x-api-key", BOB)], ""), ([("x-api-key", ALICE), ("x-llm-key", BOB)], ""), (auth("Bearer " + ALICE) + auth("Bearer " + BOB), ""),
    (auth("Bearer " + ALICE), "?key=" + BOB), ([], "?key=%s&key=%s" % (ALICE, BOB)), (auth("Bearer %s, Bearer %s" % (ALICE, BOB)), ""),
    ([("x-llm-key", ALICE), ("x-llm-key", BOB)], ""), ([("x-goog-api-key", ALICE), ("api-key", BOB)], ""), ([("x-api-key", ALICE), ("x-api-key", BOB)], ""),
    ([("x-llm-key", ALICE), ("x-api-key", ALICE), ("x-goog-api-key", ALICE + "A")], ""), ([("x-llm-key", ALICE)], "?key=" + ALICE[:-1]),
], ids=lambda _: "")
def test_two_different_keys_are_refused(gateway, headers, query):
    for key in ALICE, BOB:      # HAProxy looks less closely at a key that the agent knew some seconds ago
        assert gateway.ask("op-1", auth("Bearer " + key)).status == 200
    for target, shape in SHAPES.items():
        gateway.call("POST", target + query, JSON + headers, chat("op-1")).refused(400, "ambiguous_api_key", shape, retry=False)


def test_a_websocket_sends_its_key_as_a_subprotocol(gateway, mocks):
    mocks["d"].gate = None
    for offered, left in (("realtime, openai-insecure-api-key.%s, openai-beta.realtime-v1", ["realtime, openai-beta.realtime-v1"]), ("openai-insecure-api-key.%s", []),
                          ("openai-insecure-api-key.%s, realtime", ["realtime"])):
        with gateway.connect() as connection:
            tag = gateway.tag()
            connection.send(wire.request("GET", "/v1/realtime?model=gpt-1", [("Host", "gw"), ("x-client-request-id", tag), ("Sec-WebSocket-Protocol", offered % ALICE)] + WEBSOCKET))
            assert connection.head().status == 101
        [seen] = gateway.seen(tag)
        assert [value.strip() for value in seen.all("sec-websocket-protocol")] == left
    gateway.call("GET", "/v1/realtime?model=gpt-1", [("Sec-WebSocket-Protocol", "realtime, x." + STRANGER)] + WEBSOCKET).refused(401, "invalid_api_key", retry=False)
    gateway.call("GET", "/v1/realtime?model=gpt-1", [("Sec-WebSocket-Protocol", "a." + ALICE), ("Sec-WebSocket-Protocol", "b." + ALICE)] + WEBSOCKET).refused(
        400, "misplaced_api_key", retry=False)


@pytest.mark.parametrize("headers", [auth("Bearer " + ALICE), [("x-api-key", ALICE)], [("x-llm-key", ALICE)]])
def test_no_key_passes_the_tap_or_the_legs_of_a_pool(gateway, mocks, headers):
    for model in "gpt-1", "op-1", "pool-1":
        answer = gateway.call("POST", "/v1/chat/completions", JSON + headers, chat(model, stream=True))
        assert answer.status == 200 and len(answer.seen) == 1 and gateway.went(answer), (model, answer)
        # Searched for without its prefix, so that the key would be found in any of its forms.
        assert ALICE[8:].encode() not in gateway.tap.seen


@pytest.mark.parametrize("way", ["h2c"])
def test_keys_over_http2(haproxy, mocks, way):
    with gateway_of(haproxy, mocks, "on", way=way) as gateway:
        for headers, query in ((auth("Bearer " + ALICE), ""), ([("x-api-key", ALICE)], ""), ([("x-llm-key", ALICE)], ""), ([], "?key=" + ALICE)):
            headers = [(name.lower(), value) for name, value in headers]
            assert kept(gateway.call("POST", "/v1/chat/completions" + query, JSON + headers, chat("gpt-1")).only(mocks["d"])) == []
        for headers, query in (([("cookie", "a=b"), ("cookie", "c=" + ALICE)], ""), ([("x-any", ALICE)], ""), ([], "?q=" + ALICE)):
            gateway.call("POST", "/v1/chat/completions" + query, JSON + headers, chat("gpt-1")).refused(400, "misplaced_api_key", retry=False)
        gateway.call("POST", "/v1/chat/completions", JSON + [("x-api-key", STRANGER)], chat("gpt-1")).refused(401, "invalid_api_key", "openai", retry=False)


def test_a_key_as_the_model_is_refused_and_forgotten(gateway):
    for headers in [("x-llm-key", ALICE)], []:
        for model in ALICE, "openai/" + BOB.upper():
            answer = gateway.call("POST", "/v1/chat/completions", JSON + headers, chat(model)).refused(400, "invalid_model", retry=False)
            assert gateway.line(answer)["model"] == ""


def test_headers_change_no_request_of_a_key_if_the_agent_does_not_answer(haproxy, mocks):
    with gateway_of(haproxy, mocks, "on", fake=lambda args: {} if "buffered" in args else {"welcome": True}) as gateway:
        for headers, who in ((auth("Bearer " + ALICE), ("", "")), ([("x-llm-key", ALICE)], ("", "")), ([], ("bob", "other"))):
            answer = gateway.call("POST", "/p/mine/v1/chat/completions", JSON + headers + [("X-Client", "bob"), ("X-Headroom-Project", "other")], chat("gpt-1"))
            answer.refused(503, "gateway_unavailable")
            line = gateway.line(answer)
            assert (line["client"], line["project"]) == who, line
        line = gateway.line(gateway.call("POST", "/p/mine/v1/chat/completions", JSON + auth("Bearer " + ALICE), chat("gpt-1")))
        assert (line["client"], line["project"]) == ("", ""), line


# ---- who is let in


@pytest.mark.parametrize("key, who", [(STRANGER, ""), (OLD, "old"), (OFF, "off"), (ALICE + "A", ""), (ALICE[:-1], ""), ("sk-spoa-", "")],
                         ids=["unknown", "expired", "disabled", "longer", "shorter", "empty"])
def test_a_key_that_is_not_good_is_refused_in_the_shape_of_each_api(gateway, key, who):
    for target, shape in SHAPES.items():
        for headers in auth("Bearer " + key), [("x-api-key", key)], [("x-goog-api-key", key)], [("x-llm-key", key)] + auth("Bearer " + MINE):
            answer = gateway.call("POST", target, JSON + headers, chat("op-1")).refused(401, "invalid_api_key", shape, retry=False)
            assert answer.header("www-authenticate") == "Bearer", answer
        line = gateway.line(answer)
        assert (line["code"], line["client"]) == ("invalid_api_key", who), line
    for method, target in (("GET", "/v1/models"), ("GET", "/v1/files"), ("DELETE", "/v1/files/x"), ("OPTIONS", "/v1/messages"), ("PUT", "/any")):
        gateway.call(method, target, auth("Bearer " + key)).refused(401, "invalid_api_key", "anthropic" if "messages" in target else "openai", retry=False)


def head_only(gateway, headers, target="/v1/chat/completions"):
    """Sends the head of a request with a body, and waits for the answer; then sends the body."""
    with gateway.connect() as connection:
        connection.send(wire.request("POST", target, [("Host", "gw"), ("Content-Length", "200000")] + JSON + headers))
        try:
            response = connection.head(timeout=4)
        except OSError:
            return None
        for _ in connection.pieces(response):
            pass
        return response


@pytest.mark.parametrize("headers, status, code", [
    (auth("Bearer " + STRANGER), 401, "invalid_api_key"), ([("x-api-key", OLD)], 401, "invalid_api_key"), ([("Cookie", ALICE)], 400, "misplaced_api_key"),
    (auth("Bearer " + ALICE) + [("x-api-key", BOB)], 400, "ambiguous_api_key")])
def test_what_is_wrong_with_a_key_is_told_before_the_body(gateway, headers, status, code):
    check_refusal(head_only(gateway, headers), status, code, "openai", retry=False)


def test_a_good_key_is_asked_about_once_in_some_seconds(haproxy, mocks):
    asked = []

    def answer(args):
        asked.append("buffered" in args)
        return {"welcome": True} if not asked[-1] else {"deny": True, "status": 403, "code": "model_not_allowed", "message": "no"}
    with gateway_of(haproxy, mocks, "on", fake=answer) as gateway:
        for _ in range(3):
            gateway.call("POST", "/v1/messages", JSON + auth("Bearer " + ALICE), chat("op-1")).refused(403, "model_not_allowed", "anthropic")
        assert asked == [False, True, True, True]
        gateway.call("POST", "/v1/messages", JSON + auth("Bearer " + BOB), chat("op-1")).refused(403, "model_not_allowed", "anthropic")
        assert asked[4:] == [False, True]


def test_a_key_that_becomes_invalid_is_refused_at_once(gateway, mocks):
    assert gateway.ask("gpt-1", auth("Bearer " + BOB)).status == 200
    gateway.write([one for one in CLIENTS if one["name"] != "bob"])
    until(lambda: gateway.ask("gpt-1", auth("Bearer " + BOB)).status == 401, 10, "the new file counts")
    # One that expires is refused although HAProxy remembers it, and although the file stays as it is.
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
    gateway.write([one for one in CLIENTS if one["name"] != "bob"] + [keys.entry("bob", (BOB, end.strftime("%Y-%m-%dT%H:%M:%SZ")))])
    until(lambda: gateway.ask("gpt-1", auth("Bearer " + BOB)).status == 200, 10, "the key is good again")
    until(lambda: gateway.ask("gpt-1", auth("Bearer " + BOB)).status == 401, 10, "the key has expired", step=0.1)
    assert datetime.datetime.now(datetime.timezone.utc) >= end.replace(microsecond=0)
    gateway.write(CLIENTS)
    until(lambda: gateway.ask("gpt-1", auth("Bearer " + BOB)).status == 200, 10, "the old file counts again")


def test_requests_without_a_key_go_on_where_none_is_required(gateway, mocks):
    answer = gateway.ask("gpt-1", auth("Bearer " + MINE) + [("X-Client", "me"), ("x-llm-key", "nothing")])
    assert kept(answer.only(mocks["d"])) == [("authorization", "Bearer " + MINE)]
    assert gateway.line(answer)["client"] == "me" and "keyed" not in gateway.line(answer)


@pytest.fixture(scope="module")
def strict(haproxy, mocks):
    with gateway_of(haproxy, mocks, "required") as gateway:
        yield gateway


PREFLIGHT = [("Origin", "https://app.test"), ("Access-Control-Request-Method", "POST")]


def test_where_a_key_is_required_nobody_comes_in_without_one(strict, mocks):
    for target, shape in SHAPES.items():
        for headers in [], auth("Bearer " + MINE), [("x-llm-key", "nothing")]:
            answer = strict.call("POST", target, JSON + headers, chat("op-1")).refused(401, "invalid_api_key", shape, retry=False)
            assert strict.line(answer)["code"] == "invalid_api_key"
    for method, target in (("GET", "/"), ("HEAD", "/x"), ("GET", "/v1/models"), ("DELETE", "/v1/files/x"), ("OPTIONS", "/v1/files"), ("GET", "/v1/realtime?model=gpt-1")):
        answer = strict.call(method, target, WEBSOCKET if "realtime" in target else [])
        assert answer.status == 401, answer
        answer.nowhere()
    check_refusal(head_only(strict, auth("Bearer " + MINE)), 401, "invalid_api_key", "openai", retry=False)
    assert strict.ask("op-1", auth("Bearer " + ALICE)).only(mocks["a"])
    # A browser's preflight has no key, and gets no credential of the operator's.
    assert strict.call("OPTIONS", "/v1/chat/completions", PREFLIGHT).only(mocks["d"])
    strict.call("OPTIONS", "/v1/chat/completions", PREFLIGHT + auth("Bearer " + STRANGER)).refused(401, "invalid_api_key", retry=False)
    strict.call("POST", "/v1/chat/completions", PREFLIGHT + JSON, chat("gpt-1")).refused(401, "invalid_api_key", retry=False)
    for headers, body in ((PREFLIGHT + JSON, chat("gpt-1")), (PREFLIGHT[1:], None)):
        strict.call("OPTIONS", "/v1/chat/completions", headers, body).refused(401, "invalid_api_key", retry=False)


def test_a_preflight_is_answered_where_a_key_is_required(haproxy, mocks):
    with gateway_of(haproxy, mocks, "required", limits={"LLM_CORS_ORIGINS": "https://app.test"}) as gateway:
        answer = gateway.call("OPTIONS", "/v1/chat/completions", PREFLIGHT)
        answer.nowhere()
        assert answer.status == 204
        refused = gateway.call("POST", "/v1/chat/completions", PREFLIGHT[:1] + JSON, chat("gpt-1")).refused(401, "invalid_api_key", retry=False)
        assert refused.header("access-control-allow-origin") == "https://app.test"


def test_without_an_agent_nobody_comes_in(haproxy, mocks):
    with gateway_of(haproxy, mocks, "required", fake=lambda args: {}) as gateway:
        for target, shape in SHAPES.items():
            gateway.call("POST", target, JSON, chat("op-1")).refused(401, "invalid_api_key", shape, retry=False)
            gateway.call("POST", target, JSON + auth("Bearer " + ALICE), chat("op-1")).refused(503, "gateway_unavailable", shape)
            gateway.call("POST", target, JSON + [("Cookie", ALICE)], chat("op-1")).refused(400, "misplaced_api_key", shape, retry=False)


def test_an_agent_that_lets_a_key_in_lets_nothing_else_in(haproxy, mocks):
    """The answer about a key says nothing about the request: only the answer about the request forwards it."""
    with gateway_of(haproxy, mocks, "on", fake=lambda args: {"welcome": True}) as gateway:
        gateway.ask("op-1", auth("Bearer " + ALICE)).refused(503, "gateway_unavailable")


def test_haproxy_without_the_rules_for_keys_is_refused(haproxy, mocks):
    with gateway_of(haproxy, mocks, "off") as gateway:
        gateway.owners = {}
        for headers in [], auth("Bearer " + ALICE):
            answer = gateway.ask("gpt-1", headers)
            assert answer.status == 503 and answer.json()["error"]["code"] == "contract_outdated", answer
            answer.nowhere()


def test_an_agent_without_clients_knows_no_key(haproxy, mocks):
    class Bare(ClientGateway):
        def start(self):
            super(ClientGateway, self).start()
    with Bare(haproxy, list(mocks.values()), {"routes": [{"model_prefix": "*", "upstream": mocks["d"].url()}]}) as gateway:
        gateway.ask("gpt-1", auth("Bearer " + ALICE)).refused(401, "invalid_api_key", retry=False)
        assert gateway.ask("gpt-1", auth("Bearer " + MINE)).only(mocks["d"])


# ---- 2.6 resets a connection whose request still comes


@pytest.mark.parametrize("length", [("Content-Length", "600000"), ("Transfer-Encoding", "chunked")])
def test_a_client_that_still_sends_reads_why_it_was_refused(gateway, length):
    with gateway.connect() as connection:
        connection.send(wire.request("POST", "/v1/chat/completions", [("Host", "gw"), length] + JSON + auth("Bearer " + STRANGER)))
        for _ in range(20):
            connection.send(b"x" * 30000 if length[1] != "chunked" else b"7530\r\n%s\r\n" % (b"x" * 30000))
        connection.send(b"" if length[1] != "chunked" else b"0\r\n\r\n")
        check_refusal(connection.read("POST"), 401, "invalid_api_key", "openai", retry=False)


# ---- the rules are not there unless they are asked for


@pytest.mark.parametrize("value, good", [("off", True), ("on", True), ("required", True), ("On", False), ("yes", False), ("", False), ("required ", False)])
def test_haproxy_starts_with_no_other_value_of_the_setting(haproxy, value, good):
    accepted, said = harness.accepted(haproxy, harness.EXAMPLE, {"LLM_SPOE_CONF": str(harness.SPOE_CONF), "LLM_CLIENTS": value})
    assert accepted == good and ("LLM_CLIENTS is neither off, on nor required" in said) != good, said


KEYS = r"tcp-request|sess\.|llm_key(?!_left)|llm_(?:stranger|welcome|misplaced|rated|limit\b|limited)|sk-spoa|llm-client|llm-keys|guard|\b401\b"

def test_without_clients_haproxy_has_none_of_these_rules():
    for text in harness.EXAMPLE.read_text(), harness.SPOE_CONF.read_text():
        lines, depth, off = [], 0, None
        for line in text.splitlines():
            word = line.split()[0] if line.split() else ""
            if word == ".if":
                depth += 1
                if off is None and '!streq("$LLM_CLIENTS","off")' in line:
                    off = depth
            if off is None:
                lines.append(line)
            if word == ".endif":
                off = None if off == depth else off
                depth -= 1
        left = "\n".join(line.partition("#")[0] for line in lines).replace('.if streq("$LLM_CLIENTS","off")', "")
        assert not re.search(KEYS, left), re.findall(".*(?:%s).*" % KEYS, left)
        assert left.count("LLM_CLIENTS") == left.count("presetenv LLM_CLIENTS off") <= 1
