"""If there is no agent, or the agent is slow, stopped or lies, the client gets an error in JSON and no upstream gets anything."""
import concurrent.futures
import functools
import re
import signal
import time

import pytest

import harness
import spop
from harness import CLIENT_KEY, JSON, bearer, chat, secret

KEY = secret("failclosed")
TARGETS = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic",
           "/v1beta/models/good-1:generateContent": "gemini"}


def config(mock):
    return dict({"routes": [{"model_prefix": "good-", "upstream": mock.url(), "auth": "env:KEY"},
                            {"model_prefix": "*", "upstream": mock.url("/star")}]},
                **{name + "_target": mock.url("/legacy") for name in ("openai", "anthropic", "gemini")})


def backend_names(text):
    return re.findall(r"^backend (\S+)", text, re.M)


@pytest.fixture
def gateway(gateways, make_mock):
    mock = make_mock("failclosed")
    gateway = gateways([mock], config(mock), env={"KEY": KEY})
    gateway.mock = mock
    return gateway


def every_way_is_shut(gateway):
    """Checks that HAProxy refuses requests of all kinds, also GET and HEAD, because the agent decides on those too. All are sent at the same
    time, because HAProxy may wait for each until its timeout."""
    asked = [("POST", target, harness.JSON + harness.bearer(), chat("good-1"), shape)
             for target, shape in TARGETS.items()]
    asked += [("POST", "/v1/chat/completions", harness.bearer(), b"{}", "openai"),
              ("POST", "/v1/other", [("x-api-key", CLIENT_KEY)], b"{}", "anthropic"),
              ("POST", "/v1/other", [("x-goog-api-key", CLIENT_KEY)], b"{}", "gemini"),
              ("POST", "/v1/other", [("anthropic-version", "2023-06-01")], b"{}", "anthropic"),
              ("POST", "/v1/other", [("Authorization", "bearer sk-ant-x")], b"{}", "anthropic"),
              ("POST", "/v1/other", [("User-Agent", "claude-cli/2.0")], b"{}", "anthropic"),
              ("POST", "/v1/other", [("User-Agent", "claude-code/2.0")], b"{}", "anthropic"),
              ("POST", "/v1/chat/completions", [("x-api-key", CLIENT_KEY)], b"{}", "openai"),
              ("POST", "/v1/responses", [("anthropic-version", "2023-06-01")], b"{}", "openai"),
              ("POST", "/v1/messages", [("x-goog-api-key", CLIENT_KEY)], b"{}", "anthropic"),
              ("GET", "/v1/models", harness.bearer(), None, "openai"), ("HEAD", "/", [], None, None)]
    answers = at_once([lambda one=one: gateway.call(*one[:4]) for one in asked])
    for (_, _, _, _, shape), answer in zip(asked, answers):
        if shape:
            answer.refused(503, "gateway_unavailable", shape)
        else:
            assert answer.status == 503
            answer.nowhere()


def at_once(calls):
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def works_again(gateway, seconds=15):
    def served():
        answer = gateway.ask("good-1")
        if answer.status != 200:
            answer.refused(503, "gateway_unavailable")
            return False
        return answer.only(gateway.mock).header("authorization") == "Bearer " + KEY
    harness.until(served, seconds, "requests are served again", step=0.1)


def test_agent_killed_and_started_again(gateway):
    gateway.ask("good-1").only(gateway.mock)
    gateway.agent.kill()
    every_way_is_shut(gateway)
    gateway.agent.close()
    gateway.start_agent()
    works_again(gateway)


def test_agent_killed_is_found_out(gateway):
    """Once HAProxy's health check has noticed that the agent is gone, a refusal comes without a timeout."""
    gateway.ask("good-1").only(gateway.mock)
    gateway.agent.kill()

    def quick():
        start = time.monotonic()
        gateway.ask("good-1").refused(503, "gateway_unavailable")
        return time.monotonic() - start < 0.1 * harness.SLOW
    harness.until(quick, 15, "refusals without a wait")


def test_agent_stopped(gateway):
    gateway.ask("good-1").only(gateway.mock)
    gateway.agent.process.stop()
    try:
        start = time.monotonic()
        every_way_is_shut(gateway)
        assert time.monotonic() - start < 20 * harness.SLOW

        # The health check notices a stopped agent, because the check wants an answer, not only a connection. From then on a refusal comes
        # without a timeout.
        def quick():
            start = time.monotonic()
            gateway.ask("good-1").refused(503, "gateway_unavailable")
            return time.monotonic() - start < 0.1 * harness.SLOW
        harness.until(quick, 15, "refusals without a wait")
    finally:
        gateway.agent.process.kill(signal.SIGCONT)
    works_again(gateway)


def test_agent_killed_with_questions_under_way(gateway):
    """The agent is stopped, gets questions about 20 requests, and is killed: no request is forwarded."""
    gateway.agent.process.stop()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(gateway.ask, "good-1") for _ in range(20)]
        time.sleep(0.1)     # some requests wait for an answer by now; it does not matter which
        gateway.agent.kill()
        answers = [future.result() for future in futures]
    for answer in answers:
        answer.refused(503, "gateway_unavailable")


def test_no_agent_from_the_start(haproxy, make_mock):
    mock = make_mock("no-agent")
    gateway = harness.Gateway(haproxy, [mock], config(mock), env={"KEY": KEY})
    with gateway:
        gateway.agent.kill()
        gateway.haproxy.end(signal.SIGINT)
        gateway.haproxy.check()
        gateway.start_haproxy()
        every_way_is_shut(gateway)


# ---- agents that answer wrong

GOOD = {"backend": "@0", "route": "r", "model": "m", "model_from": "body", "stream": False, "allow": "passthrough"}
REPLACE = dict(GOOD, auth_value="Bearer " + KEY, allow="authorization")


def but(base, **changes):
    out = {name: value for name, value in base.items() if name not in changes}
    out.update({name: value for name, value in changes.items() if value is not ...})
    return out


MISSING = ...
# name: (variables of the answer, (status, code) of the refusal; None: any refusal is right)
NO_ANSWER = (503, "gateway_unavailable")
LIES = {
    "nothing": ({}, NO_ANSWER),
    "no allow": (but(GOOD, allow=MISSING), NO_ANSWER),
    "allow NULL": (but(GOOD, allow=None), NO_ANSWER),
    "what contract 1 allows": (dict(but(GOOD, allow=MISSING), auth="passthrough", deny=False), NO_ANSWER),
    "what contract 1 allows, replace": (dict(but(REPLACE, allow=MISSING), auth="replace", auth_header="authorization", deny=False), NO_ANSWER),
    "deny false": (but(GOOD, deny=False), None),
    "deny a string false": (but(GOOD, deny="false"), None),
    "deny an empty string": (but(GOOD, deny=""), None),
    "deny binary 0": (but(GOOD, deny=b"0"), None),
    "deny 1": (but(GOOD, deny=1), None),
    "deny an address": (but(GOOD, deny=spop.IPv4(bytes(4))), None),
    "deny false, replace": (but(REPLACE, deny=False), None),
    "deny true, nothing else": ({"deny": True}, None),
    "deny true, no status": (but(GOOD, deny=True), None),
    "deny true, status 200": (but(GOOD, deny=True, status=200, code="x"), None),
    "deny true, status 0": (but(GOOD, deny=True, status=0, code="x"), None),
    "deny true, status a string": (but(GOOD, deny=True, status="no", code="x"), None),
    "deny true, status 999": (but(GOOD, deny=True, status=999, code="x"), None),
    "deny true, no code": (but(GOOD, deny=True, status=502), None),
    "deny true, code a number": (but(GOOD, deny=True, status=502, code=1), None),
    "backend missing": (but(GOOD, backend=MISSING), None),
    "backend NULL": (but(GOOD, backend=None), None),
    "backend empty": (but(GOOD, backend=""), None),
    "backend unknown": (but(GOOD, backend="llm-nowhere.test"), (502, "no_backend")),
    "backend a number": (but(GOOD, backend=1), None),
    "backend unknown, replace": (but(REPLACE, backend="llm-nowhere.test"), (502, "no_backend")),
    "allow empty": (but(GOOD, allow=""), None),
    "allow unknown": (but(GOOD, allow="other"), None),
    "allow in capitals": (but(GOOD, allow="PASSTHROUGH"), None),
    "allow a number": (but(GOOD, allow=1), None),
    "allow true": (but(GOOD, allow=True), None),
    "allow begins right": (but(GOOD, allow="passthrough2"), None),
    "allow names both": (but(REPLACE, allow="passthrough authorization"), None),
    "replace without a value": (but(REPLACE, auth_value=MISSING), None),
    "replace with an empty value": (but(REPLACE, auth_value=""), None),
    "replace with a NULL value": (but(REPLACE, auth_value=None), None),
    "replace with an unknown header": (but(REPLACE, allow="x-other"), None),
    "replace with header host": (but(REPLACE, allow="host"), None),
    "replace with a header in capitals": (but(REPLACE, allow="Authorization"), None),
}


def waits(ms):
    """For a gateway's `edit_spoe`: HAProxy waits that long for an answer of the agent."""
    def edit(text):
        changed = re.sub(r"(timeout processing)\s+\S+", r"\1 %dms" % (ms * harness.SLOW), text)
        assert changed != text
        return changed
    return edit


class Liar:
    """A gateway with a fake agent, which answers `.say`: a dict of variables, in which the value "@0" stands for the name of the gateway's
    first backend, or whatever else spop.FakeAgent can answer."""

    def __init__(self, haproxy, mock, patience_ms=400, **more):
        self.say = {}
        self.mock = mock
        self.gateway = harness.Gateway(haproxy, [mock], config(mock), env={"KEY": KEY}, fake=self.answer,
                                       edit_spoe=waits(patience_ms), **more)
        self.backend = backend_names(self.gateway.backends)[0]

    def answer(self, args):
        if not isinstance(self.say, dict):
            return self.say
        return {name: self.backend if value == "@0" else value for name, value in self.say.items()}


@pytest.fixture(scope="module")
def liar(haproxy, make_mock):
    liar = Liar(haproxy, make_mock("liar"))
    yield liar
    liar.gateway.close()


@pytest.fixture(scope="module")
def patient(haproxy, make_mock, authority):
    """On a busy machine the fake agent, which is a thread of this process, takes long to read questions of megabytes, and to answer HAProxy's checks meanwhile.
    So HAProxy waits longer for both."""
    def edit(text):
        changed = text.replace("check inter 500ms fall 2", "check inter 20s fall 2")
        assert changed != text
        return changed
    liar = Liar(haproxy, make_mock("liar-of-each-way"), patience_ms=20000, edit=edit, authority=authority)
    yield liar
    liar.gateway.close()


@pytest.fixture
def each_way(patient, way):
    """A liar that is asked over HTTP/1.1, HTTP/2 in clear and HTTP/2 over TLS."""
    patient.gateway.way = way
    return patient


@pytest.mark.parametrize("said", [GOOD, REPLACE], ids=["passthrough", "replace"])
def test_the_truth_passes(liar, said):
    """HAProxy forwards a request after a true answer, which shows that the lies below are what it refuses."""
    liar.say = said
    got = liar.gateway.ask("m").only(liar.mock)
    assert got.header("authorization") == "Bearer " + (KEY if said is REPLACE else CLIENT_KEY)


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
def test_a_credential_beside_passthrough_is_not_set(liar, name):
    liar.say = but(REPLACE, allow="passthrough", auth="replace", auth_header=name)
    got = liar.gateway.ask("m").only(liar.mock)
    assert got.header("authorization") == "Bearer " + CLIENT_KEY and not got.has(KEY)


def refused_somehow(answer, expected):
    answer.nowhere()
    assert answer.status >= 400, answer.response
    if expected:
        answer.refused(*expected)
    else:
        assert answer.header("content-type", "").startswith("application/json"), answer.response
        assert isinstance(answer.json()["error"]["message"], str)
    return answer


@pytest.mark.parametrize("case", LIES)
def test_a_lie_is_refused(liar, case):
    liar.say, expected = LIES[case]
    refused_somehow(liar.gateway.ask("m"), expected)


@pytest.mark.parametrize("name", ["auth_value", "backend", "route", "model", "protocol", "message", "code"])
def test_a_line_end_in_a_variable_makes_no_header(liar, name):
    text = "\r\nx-evil: 1\r\n\r\n"
    for base in (REPLACE, but(REPLACE, deny=True, status=502, code="c", message="m")):
        liar.say = dict(base, **{name: str(base.get(name, "")) + text})
        answer = liar.gateway.ask("m")
        assert not answer.header("x-evil") and answer.complete
        assert not [one for one in answer.seen if one.header("x-evil")]


@pytest.mark.parametrize("case", LIES)
def test_a_lie_after_the_truth_on_one_connection(liar, case):
    """The agent's true answer about one request never serves to forward the next request on the connection."""
    with liar.gateway.connect() as connection:
        liar.say = REPLACE
        liar.gateway.ask("m", connection=connection).only(liar.mock)
        liar.say, _ = LIES[case]
        answer = liar.gateway.ask("m", connection=connection)
        refused_somehow(answer, None)


# No true refusal has the variables of GOOD.
UNSEEN = dict(GOOD, deny=True, status=413, code="model_not_in_sample", message="m", protocol="openai")


@pytest.mark.parametrize("case", ["no answer", "nothing said", *LIES])
def test_a_lie_when_asked_once_more(liar, haproxy, case):
    """If head and tail of a body do not name the model, HAProxy 3.0 and later ask again with the whole body. Variables of the first answer
    must not take the place of variables that the second answer lacks."""
    second = {"no answer": None, "nothing said": {}}.get(case) if case not in LIES else LIES[case][0]
    turns = []

    def answer(args):
        turns.append(args)
        liar.say = UNSEEN if len(turns) == 1 else second
        return liar.answer(args)
    liar.gateway.agent.answer = answer
    try:
        body = b'{"a":"%s","b":"%s"}' % (b"x" * 20000, b"y" * 20000)
        reply = liar.gateway.post("/v1/chat/completions", body)
    finally:
        liar.gateway.agent.answer = liar.answer
    refused_somehow(reply, None)
    if harness.version_of(haproxy) < (3, 0):
        assert len(turns) == 1 and turns[0]["body"] == body
    else:
        assert len(turns) == 2 and turns[0]["body"] == body[:8192]
        assert turns[1]["body"] == body and not turns[1]["tail"]


SILENCE = {
    "silence": lambda got: None,
    "half a frame": lambda got: spop.frame(spop.ACK, spop.actions(dict(GOOD, backend="x")), got.stream,
                                           got.number)[:30],
    "another stream's": lambda got: spop.frame(spop.ACK, b"", got.stream + 1000, got.number),
    "a DISCONNECT": lambda got: spop.frame(spop.AGENT_DISCONNECT, spop.kv({"status-code": spop.U32(0),
                                                                          "message": "bye"})),
}


@pytest.mark.parametrize("case", SILENCE)
def test_no_usable_answer(haproxy, make_mock, case):
    with Liar(haproxy, make_mock("silent")).gateway as gateway:
        liar = gateway.fake.__self__
        gateway.agent.answer = lambda args: SILENCE[case]
        gateway.ask("m").refused(503, "gateway_unavailable")
        gateway.post("/v1/messages", chat("m")).refused(503, "gateway_unavailable", "anthropic")
        # After a good answer the same gateway forwards.
        liar.say = GOOD
        gateway.agent.answer = liar.answer
        harness.until(lambda: gateway.ask("m").status == 200, 15, "requests are served again", step=0.1)


def test_agent_that_closes(haproxy, make_mock):
    with Liar(haproxy, make_mock("closing")).gateway as gateway:
        gateway.agent.answer = lambda args: spop.FakeAgent.CLOSE
        for _ in range(3):
            gateway.ask("m").refused(503, "gateway_unavailable")


def test_agent_that_is_too_slow(haproxy, make_mock):
    """The agent's answer is right, but comes too late."""
    liar = Liar(haproxy, make_mock("late"), fake_delay=30.0 * harness.SLOW)
    liar.say = GOOD
    with liar.gateway as gateway:
        start = time.monotonic()
        gateway.ask("m").refused(503, "gateway_unavailable")
        assert time.monotonic() - start < 15 * harness.SLOW


@pytest.mark.parametrize("raw", [
    spop.frame(spop.AGENT_HELLO, spop.kv({"version": "3.0", "max-frame-size": spop.U32(16380), "capabilities": ""})),
    spop.frame(spop.AGENT_HELLO, spop.kv({"version": "2.0", "max-frame-size": spop.U32(16), "capabilities": ""})),
    spop.frame(spop.AGENT_HELLO, b""),
    spop.frame(spop.AGENT_DISCONNECT, spop.kv({"status-code": spop.U32(99), "message": "no"})),
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
], ids=["version", "size", "empty", "disconnect", "http"])
def test_agent_that_greets_wrong(haproxy, make_mock, raw):
    liar = Liar(haproxy, make_mock("greeting"), fake_hello=raw)
    liar.say = GOOD
    with liar.gateway as gateway:
        gateway.ask("m").refused(503, "gateway_unavailable")


def test_not_one_byte_of_a_secret_travels_to_the_agent(liar):
    """HAProxy's question to the agent holds no credential of the client's, whichever header or query parameter the client put it in."""
    liar.say = GOOD
    mine = secret("spop")
    del liar.gateway.agent.asked[:]
    liar.gateway.call("POST", "/v1beta/models/m:generateContent?key=%s&model=m2&%%6bey=%s" % (mine, mine),
                      harness.JSON + [
        ("Authorization", "Bearer " + mine), ("x-api-key", mine), ("api-key", mine), ("x-goog-api-key", mine),
        ("Cookie", mine), ("Proxy-Authorization", mine), ("anthropic-version", mine),
        ("Sec-WebSocket-Protocol", "openai-insecure-api-key." + mine)], b'{"contents":[]}')
    asked = liar.gateway.agent.asked
    assert asked, "the agent was not asked"
    assert mine not in repr(asked), asked
    assert asked[-1]["path"] == "/v1beta/models/m:generateContent"


def test_what_the_agent_is_asked(liar):
    """HAProxy's question to the agent has the arguments that spoe.conf names."""
    liar.say = GOOD
    del liar.gateway.agent.asked[:]
    body = chat("m")
    liar.gateway.call("POST", "/v1/x?model=q-m&y=z", [
        ("Content-Type", "application/json; charset=utf-8"), ("User-Agent", "ua/1"), ("x-api-key", CLIENT_KEY),
        ("anthropic-version", "2023-06-01"), ("X-Codex-Turn-Metadata", '{"model":"h"}'),
        ("X-Headroom-Project", "proj"), ("X-Client", "cli"), ("Content-Encoding", "identity")], body)
    args = liar.gateway.agent.asked[-1]
    text = {name: value.decode() if isinstance(value, bytes) else value for name, value in args.items()}
    assert (text["method"], text["path"], text["model_param"]) == ("POST", "/v1/x", "q-m")
    assert (text["ctype"], text["ua"]) == ("application/json; charset=utf-8", "ua/1")
    assert args["body"] == body and args["buffered"] == args["length"] == len(body)
    assert sorted(text["headers"].split(",")) == ["anthropic-version", "content-encoding", "content-length", "content-type", "host", "user-agent", "x-api-key", "x-client",
                                                  "x-client-request-id", "x-codex-turn-metadata", "x-headroom-project"]
    assert args["flags"] is None and text["id"]
    assert asked_once(liar)
    assert (text["model_hint"], text["project"], text["client"], text["cenc"]) == ('{"model":"h"}', "proj", "cli",
                                                                                   "identity")


def asked_once(liar):
    return len(liar.gateway.agent.asked) == 1


def test_the_agent_is_told_of_a_handshake(liar):
    liar.say = GOOD
    for upgrade, told in (("websocket", True), ("WebSocket", True), ("h2c", False), (None, False)):
        del liar.gateway.agent.asked[:]
        headers = [("Connection", "Upgrade"), ("Upgrade", upgrade), ("Sec-WebSocket-Version", "13"),
                   ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")] if upgrade else []
        liar.gateway.call("GET", "/v1/realtime?model=m", headers)
        assert liar.gateway.agent.asked[-1]["flags"] == (1 if told else None), upgrade


HANDSHAKE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


@pytest.mark.parametrize("authorization, anthropic", [("Bearer sk-ant-api03", 2), ("bearer SK-ANT-x", 2), ("Bearer sk-proj", 0), ("Basic sk-ant-", 0)])
def test_flags_add_up(liar, authorization, anthropic):
    liar.say = GOOD
    for query, unclear in ("", 0), ("?Model=m", 4):
        for headers, upgrade in ([], 0), (HANDSHAKE, 1):
            del liar.gateway.agent.asked[:]
            liar.gateway.call("GET", "/v1/realtime" + query, [("Authorization", authorization), *headers])
            assert liar.gateway.agent.asked[-1]["flags"] == (anthropic + unclear + upgrade or None), (query, headers)


CLEAR = ["", "?", "?model=m", "?x=y&model=m", "?model=m&deployment=d", "?model=", "?models=a&models=b", "?model_id=1&xmodel=2", "?x=model=m", "?x=Model", "?amodel=1&model=2",
         "?x=%6dodel", "?mod%65ls=m", "?deployments=x", "?a=b&&c", "?model=a%26b"]
UNCLEAR = ["?mod%65l=m", "?%6dodel=m&model=m", "?%4D%4f%44%45%4C=m", "?Model=m", "?MODEL=m", "?model=m&Model=m", "?+model=m", "?%20model=m", "?%09model=m", "?model[]=m",
           "?model%5B%5D=m", "?model[0]=m", "?[model]=m", "?%5bmodel%5D=m", *("?" + blank * 3000 + "Model=m" for blank in ("+", "%20", "[", "%2520", "+%09")), "?[[model=m", "?]deployment=m", "?model]=m", "?model%00=m", "?model%20=m", "?model+=m", "?%00model=m", "?x=1;model=m", "?model=a;model=b", "?model=;x", "?model=a;", "?model=a?x", "?x?model=m", "??model=m", "???model=m",
           "?model=a&model=b", "?model=a&x=y&model=a", "?model", "?model&x=1", "?x=1&model", "?%256dodel=m", "?%c2%a0model=m", "?%ef%bb%bfmodel=m", "?%7fmodel=m",
           "?model=m&mod%65l=n", "?deployment=a&deployment=b", "?deploymen%74=a", "?Deployment=a", "?deployment[]=a", "?model=m&+deployment=a", "?m%6Fdel=x&y=z", "?model%3dm", "?a=b&model%253Dn&model=m"]


def test_a_query_that_parsers_read_differently(liar):
    """A query is clear if at most one parameter may be read as `model`, and at most one as `deployment`, by Go, Node, Python, PHP or something more lenient,
    and if these are spelled plainly."""
    liar.say = GOOD
    wrong = []
    for query in CLEAR + UNCLEAR:
        del liar.gateway.agent.asked[:]
        for _ in range(5):      # a busy machine may let HAProxy's patience of 0.4 s end before the question has arrived
            if not liar.gateway.agent.asked:
                liar.gateway.call("POST", "/v1/x" + query, JSON + bearer(), b"{}")
        if bool(liar.gateway.agent.asked[-1]["flags"]) != (query in UNCLEAR):
            wrong.append(query)
    assert not wrong


@functools.lru_cache(None)
def numbers(size):
    """A body of that many bytes, each piece of which tells its place."""
    return (b"%09d," * (size // 10 + 1) % tuple(range(size // 10 + 1)))[:size]


@pytest.mark.parametrize("size", [100, 8191, 8192, 8193, 9000, 16383, 16384, 16385, 20000, 300000])
def test_what_the_agent_is_shown_of_a_body(each_way, haproxy, size):
    """HAProxy 3.0 and later show the beginning and the end of a body that is longer than both together. HAProxy 2.6 shows the whole body."""
    each_way.say = GOOD
    del each_way.gateway.agent.asked[:]
    body = numbers(size)
    each_way.gateway.post("/v1/x", body).only(each_way.mock)
    assert asked_once(each_way)
    args = each_way.gateway.agent.asked[0]
    head, tail = args["body"], args["tail"] or b""
    assert args["buffered"] == args["length"] == size
    if harness.version_of(haproxy) < (3, 0) or size <= 16384:
        assert head == body and not tail
    else:
        assert head == body[:8192]
        assert tail == body[size - 8192:]


@pytest.mark.parametrize("how", ["chunked", "compressed"])
def test_a_body_whose_end_helps_no_one_is_shown_whole(each_way, how):
    """HAProxy does not know where a chunked body ends, and the end of a compressed body cannot be read by itself."""
    each_way.say = GOOD
    del each_way.gateway.agent.asked[:]
    body = bytes(at * 7 % 251 for at in range(30000))
    if how == "chunked":
        each_way.gateway.post("/v1/x", None, chunks=[body[:9999], body[9999:]]).only(each_way.mock)
    else:
        each_way.gateway.post("/v1/x", body, [("Content-Encoding", "zstd")]).only(each_way.mock)
    assert each_way.gateway.agent.asked[0]["body"] == body and not each_way.gateway.agent.asked[0]["tail"]


@pytest.mark.parametrize("turns", [1, 2], ids=["named", "asked once more"])
def test_a_body_beyond_the_buffer_has_no_end_to_show(each_way, haproxy, turns):
    """HAProxy has only the first part of such a body. It must not show the end of that part as the tail, because the tail would cost 8 KiB a
    question, and the agent could take it for the end of the body."""
    told, sampled = [], harness.version_of(haproxy) >= (3, 0)

    def answer(args):
        told.append(args)
        each_way.say = UNSEEN if sampled and len(told) < turns else GOOD
        return each_way.answer(args)
    each_way.gateway.agent.answer = answer
    size = 5 << 20
    body = numbers(size)
    try:
        # HAProxy 3.4 would take a large buffer for JSON.
        each_way.gateway.call("POST", "/v1/x", [("Content-Type", "application/octet-stream")] + bearer(), body, timeout=60).only(each_way.mock)
    finally:
        each_way.gateway.agent.answer = each_way.answer
    assert len(told) == (turns if sampled else 1)
    for turn, args in enumerate(told):
        shown = 8192 if sampled and turn == 0 else args["buffered"]
        assert args["body"] == body[:shown] and not args["tail"], (turn, len(args["body"]), args["tail"] and len(args["tail"]))
        assert 8192 < args["buffered"] < args["length"] == size
