"""Pools with a fake agent: wrong answers to a leg's question, and an agent that is gone, or silent, when a leg asks it."""
import re
import time

import pytest

import harness
import spop
from pools import KEYS, PoolGateway, asked, declines, pool


LINE = ',"route":"m","protocol":"openai","model":"m-1","project":"","client":"","ua":"","stream":"0","metered":"1"'


class Liar:
    """A gateway with a pool of a and b, and a fake agent. `request`, `leg`, `declined`: what the agent answers to the question about a request, to that of a
    leg, and to the message of a decline; a dict changes some variables of the right answer."""

    def __init__(self, haproxy, mocks):
        self.mocks, self.told = mocks, []
        self.truth()
        self.gateway = PoolGateway(haproxy, list(mocks.values()), {"routes": [pool(mocks, "m")]}, fake=self.answer)
        legs = re.findall(r"(?ms)^frontend (leg\.\S+)\.in\n.*?default_backend (\S+)", self.gateway.backends)
        self.legs = {leg: backend for leg, backend in legs if backend.endswith("-pool")}

    def truth(self):
        self.request, self.leg, self.declined = {}, {}, {}

    def answer(self, args):
        if "status" in args:
            self.told.append(args)
            return self.declined
        if "member" in args:
            backend = self.legs[args["member"]]
            name = [name for name, mock in self.mocks.items() if str(mock.port) in backend][0]
            truth = {"backend": backend, "auth": "replace", "auth_header": "authorization", "auth_value": "Bearer " + KEYS[name], "deny": False}
            return dict(truth, **self.leg) if isinstance(self.leg, dict) else self.leg
        return dict({"backend": "pool.m", "auth_value": "Bearer pool", "protocol": "openai", "stream": False, "line": LINE, "allow": "authorization"}, **self.request)

    def ask(self):
        return self.gateway.ask("m-1")


@pytest.fixture(scope="module")
def liar(haproxy, make_mock):
    liar = Liar(haproxy, {name: make_mock(name) for name in "ab"})
    with liar.gateway:
        yield liar


@pytest.fixture(autouse=True)
def honest(liar):
    yield
    liar.truth()
    for mock in liar.mocks.values():
        mock.reset()


@pytest.mark.parametrize("said", [{}, None, spop.FakeAgent.CLOSE], ids=["an answer", "silence", "the end of the connection"])
def test_the_agent_is_told_who_declines(liar, said):
    """A leg tells the agent the status and the retry-after of a declining answer. If the agent is silent, the request goes on after the time for its answer."""
    del liar.told[:]
    liar.declined = said
    liar.mocks["a"].respond = declines(429, 12)
    since = time.monotonic()
    answer = liar.ask()
    assert answer.status == 200 and asked(answer) == "ab" and time.monotonic() - since < 15
    [told] = liar.told
    assert (told["status"], told["retry_after"], told["id"]) == (429, "12", answer.header("x-request-id")) and told["member"] in liar.legs
    # The agent is told nothing of an answer by which the member does not decline.
    liar.mocks["a"].respond = declines(500)
    assert liar.ask().status == 500 and len(liar.told) == 1


def test_the_agent_says_who_is_passed_over(liar):
    liar.request = {"rest": "a"}
    assert asked(liar.ask()) == "b"
    liar.request = {"rest": "b"}
    assert asked(liar.ask()) == "a"
    liar.request = {"rest": "b,a"}
    liar.ask().refused(503, "upstream_unavailable", retry=True)
    liar.request = {"rest": "c,ab,A"}
    assert asked(liar.ask()) == "a"


def test_the_agent_s_part_of_the_line_is_missing(liar):
    """The agent's answer has no `line`, which may not fit the frame. The log line then says nothing of the members, and is well-formed."""
    liar.request = {"line": None}
    liar.mocks["a"].respond = declines(429)
    answer = liar.ask()
    assert answer.status == 200 and asked(answer) == "ab"
    line = liar.gateway.line(answer)
    assert line["route"] == "" and "member" not in line


@pytest.mark.parametrize("lie", [None, spop.FakeAgent.CLOSE, {"deny": True}, {"deny": None}, {"backend": "pool.m"}, {"auth": "passthrough"}, {"auth_value": ""},
                                 {"auth_header": "x-api-key"}])
def test_a_leg_that_is_told_less_forwards_nothing(liar, lie):
    """No member gets a request if the agent's answer to its leg is wrong or incomplete."""
    liar.leg = lie
    liar.ask().refused(503, "gateway_unavailable", retry=True)


def test_an_agent_that_takes_the_pool_for_one_without_credentials(liar):
    """An agent with other routes than HAProxy's backends and the other agent has the client's own credential pass through. With the members' credentials, nothing
    else of the client's may go along: a header could steer the upstream."""
    liar.request = {"allow": "passthrough", "auth_value": None}
    steering = [("x-headroom-base-url", "https://attacker.test"), *harness.bearer()]
    answer = liar.gateway.call("POST", "/v1/chat/completions", harness.JSON + steering, harness.chat("m-1"))
    answer.refused(503, "gateway_unavailable", retry=True)
    assert liar.gateway.line(answer)["code"] == "gateway_unavailable"


def test_a_leg_without_a_credential_declines(liar):
    liar.leg = {"deny": True, "status": 502, "code": "upstream_auth_unavailable"}
    liar.ask().refused(502, "upstream_auth_unavailable")
    liar.leg = {"deny": True, "status": 429, "code": "upstream_resting", "retry_after": 33}
    answer = liar.ask()
    assert answer.status == 429 and answer.header("retry-after") == "33" and answer.json()["error"]["code"] == "upstream_resting"
    assert asked(answer) == "" and liar.gateway.line(answer)["tried"] == "a:resting"


@pytest.mark.parametrize("protocol, status, named", [
    ("openai", 429, {"type": "rate_limit_error"}), ("openai", 529, {"type": "api_error"}), ("anthropic", 429, {"type": "rate_limit_error"}),
    ("anthropic", 529, {"type": "overloaded_error"}), ("anthropic", 503, {"type": "api_error"}), ("gemini", 429, {"code": 429, "status": "RESOURCE_EXHAUSTED"}),
    ("gemini", 529, {"code": 529, "status": "UNAVAILABLE"})])
def test_a_leg_calls_a_rest_as_each_api_does(liar, protocol, status, named):
    """The error has the same type as where the agent decides that all members rest, because SDKs show the type."""
    liar.request = {"protocol": protocol}
    liar.leg = {"deny": True, "status": status, "code": "upstream_resting", "retry_after": 33}
    answer = liar.ask()
    assert answer.status == status and named.items() <= answer.json()["error"].items(), answer.response
    assert "upstream_resting" in answer.body.decode() and (answer.json().get("type") == "error") == (protocol == "anthropic")


def test_declining_is_no_error(liar):
    """HAProxy counts neither a decline nor a missing credential as an error of the member, not even if no other member comes after it."""
    liar.request = {"rest": "b"}
    liar.mocks["a"].respond = declines(429, 1)
    assert [liar.ask().status for _ in range(12)] == [429] * 12
    liar.mocks["a"].reset()
    assert asked(liar.ask()) == "a"
    for leg in ({"deny": True, "status": 502, "code": "upstream_auth_unavailable"}, {}):
        liar.leg = leg
        assert [liar.ask().status for _ in range(12)] == [502 if leg else 200] * 12
    liar.leg = {"deny": None}
    assert [liar.ask().status for _ in range(12)] == [503] * 12
    liar.leg = {}
    assert asked(liar.ask()) == "a"
