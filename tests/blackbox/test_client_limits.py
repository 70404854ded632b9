"""Requests a minute and at a time, which HAProxy counts; what it tells clients of their limits; two HAProxys that share them."""
import concurrent.futures
import datetime
import re
import signal
import socket
import threading
import time

import pytest

import keys
from clients import ClientGateway
from harness import JSON, Process, chat, check_refusal, environment, free_port, secret, until
from pools import NAMES

MINE, OPERATOR = secret("own"), secret("operator")
WHO = ("few", "few two", "other", "pair", "many", "free", "some", "slow")
KEYS = {name: keys.key(name) for name in WHO}
CLIENTS = [keys.entry("few", KEYS["few"], KEYS["few two"], requests_per_minute=3, models=["gpt-*", "claude-*", "gemini-*"]),
           keys.entry("other", KEYS["other"], requests_per_minute=3), keys.entry("pair", KEYS["pair"], parallel=2),
           keys.entry("many", KEYS["many"], requests_per_minute=40, parallel=40), keys.entry("free", KEYS["free"]),
           keys.entry("some", KEYS["some"], requests_per_minute=10), keys.entry("slow", KEYS["slow"], parallel=1, requests_per_minute=2)]
TARGETS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "gemini": "/v1beta/models/gemini-1:generateContent"}
LIMITS = ("x-ratelimit", "anthropic-ratelimit", "llm-budget")


class LimitGateway(ClientGateway):
    """HAProxy has a runtime API."""

    def start(self):
        self.api = self.dir / "api.sock"
        super().start()

    def __init__(self, haproxy, mocks, config, **more):
        super().__init__(haproxy, mocks, config, CLIENTS, edit=lambda text: text.replace("global\n", "global\n    stats socket %s level admin\n" % self.api, 1), **more)

    def order(self, text):
        with socket.socket(socket.AF_UNIX) as api:
            api.connect(str(self.api))
            api.sendall(text.encode() + b"\n")
            return b"".join(iter(lambda: api.recv(65536), b"")).decode()

    def as_client(self, name, shape="openai", **more):
        return self.call("POST", TARGETS[shape], JSON + [("x-llm-key", KEYS[name]), ("Authorization", "Bearer " + MINE)],
                         b"{}" if shape == "gemini" else chat("gpt-1"), **more)


def gateway_of(haproxy, mocks, **more):
    return LimitGateway(haproxy, list(mocks.values()), config_of(mocks), env={"OPERATOR": OPERATOR}, owners={OPERATOR: [mocks["d"]]}, **more)


def config_of(mocks):
    return {"routes": [{"model_prefix": "own-", "upstream": mocks["d"].url()}, {"model_prefix": "*", "upstream": mocks["d"].url(), "auth": "env:OPERATOR"}]}


@pytest.fixture(scope="module")
def mocks(make_mock):
    return {name: make_mock(name) for name in NAMES}


@pytest.fixture(scope="module")
def gateway(haproxy, mocks):
    with gateway_of(haproxy, mocks) as gateway:
        yield gateway


def told(answer):
    return {name.lower(): value for name, value in answer.headers if name.lower().startswith(LIMITS)}


def exceeded(answer, shape="openai"):
    answer.nowhere()
    check_refusal(answer.response, 429, "rate_limit_exceeded", shape)
    seconds = int(answer.header("retry-after"))
    assert 1 <= seconds <= 61
    return seconds


def quiet():
    """Waits for the beginning of a minute, if the end of one is near."""
    until(lambda: time.time() % 60 < 50, 15, "the minute has some seconds left")


def test_requests_a_minute(gateway, mocks):
    # What is refused before it is admitted does not count.
    gateway.call("POST", TARGETS["openai"], JSON + [("x-llm-key", KEYS["few"])], chat("glm-1")).refused(403, "model_not_allowed")
    for left, (key, shape) in zip((2, 1, 0), (("few", "openai"), ("few two", "anthropic"), ("few", "gemini"))):
        answer = gateway.as_client(key, shape)
        assert answer.only(mocks["d"]) and answer.status == 200
        limits = told(answer)
        if shape == "anthropic":
            assert set(limits) == {"anthropic-ratelimit-requests-" + what for what in ("limit", "remaining", "reset")}
            assert (limits["anthropic-ratelimit-requests-limit"], limits["anthropic-ratelimit-requests-remaining"]) == ("3", str(left))
            reset = datetime.datetime.strptime(limits["anthropic-ratelimit-requests-reset"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
            assert -5 < reset.timestamp() - time.time() <= 61
        else:
            assert set(limits) == {"x-ratelimit-%s-requests" % what for what in ("limit", "remaining", "reset")}
            assert (limits["x-ratelimit-limit-requests"], limits["x-ratelimit-remaining-requests"]) == ("3", str(left))
            assert re.fullmatch("[0-9]+s", limits["x-ratelimit-reset-requests"])
    for key in "few", "few two":
        for shape in TARGETS:
            answer = gateway.as_client(key, shape)
            exceeded(answer, shape)
            assert [value for name, value in told(answer).items() if "remaining" in name] == ["0"]
        line = gateway.line(answer)
        assert (line["client"], line["code"], line["status"]) == ("few", "rate_limit_exceeded", 429)
    # A request with the client's own credential is refused as any other. An answer to one has the headers of the client's own account.
    for key, status in (("few", 429), ("other", 200)):
        answer = gateway.call("POST", TARGETS["openai"], JSON + [("x-llm-key", KEYS[key]), ("Authorization", "Bearer " + MINE)], chat("own-1" if key == "other" else "gpt-1"))
        assert answer.status == status and bool(told(answer)) == (status == 429), answer
    # Others are not touched by it.
    assert gateway.as_client("other").status == 200 and not told(gateway.as_client("free"))


def test_the_minute_before_counts_by_its_part_of_the_last_60_seconds(gateway):
    quiet()
    minute = int(time.time()) // 60
    assert not gateway.order("set table llm-minutes key %d:some data.gpc0 10" % (minute - 1)).strip()
    admitted = 0
    while True:
        before = time.time()
        answer = gateway.as_client("some")
        after = time.time()
        # The ten requests of the minute before count by that part of it which still lies within the last 60 seconds.
        least, most = (10 - int(10 * (60 - int(at % 60)) / 60) for at in (before, after))
        if answer.status == 429:
            assert admitted >= least, (admitted, least)
            seconds = exceeded(answer)
            assert seconds <= 7, "one of ten leaves in six seconds, not %d" % seconds
            break
        admitted += 1
        assert admitted <= most, (admitted, most)


def at_a_time(gateway, mocks, key, most, beside):
    """Has `most` streams of the client run, calls `beside`, and lets them end; then the client may ask again."""
    mocks["d"].gate = threading.Event()
    try:
        with concurrent.futures.ThreadPoolExecutor(most) as pool:
            def stream():
                return gateway.call("POST", TARGETS["openai"], JSON + [("x-llm-key", KEYS[key])], chat("gpt-1", stream=True))
            before = len(mocks["d"].requests)
            running = [pool.submit(stream) for _ in range(most)]
            until(lambda: len(mocks["d"].requests) == before + most, 10, "the streams run")
            beside()
            mocks["d"].gate.set()
            assert [one.result().status for one in running] == [200] * most
    finally:
        mocks["d"].gate = None
    until(lambda: gateway.as_client(key).status == 200, 5, "the streams ended")


def test_requests_at_a_time(gateway, mocks):
    def beside():
        for shape in TARGETS:
            assert exceeded(gateway.as_client("pair", shape), shape) == 1
        assert gateway.as_client("free").status == 200
    at_a_time(gateway, mocks, "pair", 2, beside)


def test_what_others_still_running_refuse_does_not_count_in_the_minute(gateway, mocks):
    """The client has two requests a minute: the one that runs, and the one after it."""
    at_a_time(gateway, mocks, "slow", 1, lambda: exceeded(gateway.as_client("slow"), "openai"))


def test_limits_hold_when_many_ask_at_once(gateway, mocks):
    quiet()
    before = len(mocks["d"].requests)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: gateway.as_client("many"), range(120)))
    assert sorted({answer.status for answer in answers}) == [200, 429]
    assert sum(answer.status == 200 for answer in answers) == len(mocks["d"].requests) - before == 40


# ---- what the agent tells


@pytest.mark.parametrize("shape", TARGETS)
def test_what_the_agent_says_of_tokens_and_money(haproxy, mocks, shape):
    more = {"rpm": 0, "parallel": 0, "tpm": 1000, "tpm_left": 400, "tpm_reset": 36, "budget_used": "0.83"}
    allowed = dict({"backend": "llm-127.0.0.1:%d" % mocks["d"].port, "allow": "x-api-key", "auth_value": OPERATOR, "protocol": shape, "client": "few"}, **more)
    answers = [allowed, dict(more, deny=True, status=429, code="rate_limit_exceeded", message="tokens", protocol=shape, retry_after=36),
               dict(more, deny=True, status=429, code="insufficient_quota", message="spent", protocol=shape)]
    asked = []

    def agent(args):
        asked.append(args)
        return answers[len(asked) - 2] if len(asked) > 1 else {"welcome": True}
    with gateway_of(haproxy, mocks, fake=agent) as gateway:
        answer = gateway.as_client("few", shape)
        limits = told(answer)
        assert limits.pop("llm-budget-used") == "0.83" and answer.only(mocks["d"])
        if shape == "anthropic":
            assert limits.pop("anthropic-ratelimit-tokens-reset").endswith("Z")
            assert limits == {"anthropic-ratelimit-tokens-limit": "1000", "anthropic-ratelimit-tokens-remaining": "400"}
        else:
            assert limits == {"x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "400", "x-ratelimit-reset-tokens": "36s"}
        assert exceeded(gateway.as_client("few", shape), shape) == 36
        answer = gateway.as_client("few", shape)
        answer.refused(429, "insufficient_quota", shape, retry=False)
        assert told(answer)["llm-budget-used"] == "0.83"


# ---- two HAProxys


PEERS = """
peers llm-gateways
    bind 127.0.0.1:%(own)d
    server %(name)s
    server %(other)s 127.0.0.1:%(others)d
    table a type string len 80 size 100k expire 3m store gpc0
    table b type string len 80 size 100k expire 3m store gpc0
"""


class Two(LimitGateway):
    """A second HAProxy, with the same agent; each has a table of its own, and knows the other one's."""

    def start_haproxy(self):
        ports = {"a": free_port(), "b": free_port()}
        self.twins, whole = [], self.cfg.read_text()
        for name, other in ("a", "b"), ("b", "a"):
            cfg = self.dir / ("haproxy-%s.cfg" % name)
            text = whole.replace("global\n", "global\n    localpeer %s\n" % name, 1)
            if name == "b":
                text = text.replace(str(self.api), str(self.dir / "api-b.sock"))
            cfg.write_text(text + PEERS % {"own": ports[name], "name": name, "other": other, "others": ports[other]})
            env = dict(self.haproxy_env, LLM_MINUTES="llm-gateways/" + name, LLM_OTHER_MINUTES="llm-gateways/" + other)
            if name == "a":
                self.cfg, self.haproxy_env = cfg, env
                super().start_haproxy()
            else:
                self.second = free_port()
                (self.dir / "legs-b").mkdir()
                self.twins.append(Process("haproxy-b", [self.haproxy_binary, "-db", "-f", str(cfg)], self.dir / "haproxy-b.log", environment(dict(
                    env, LLM_BIND="127.0.0.1:%d" % self.second, LLM_LEGS=str(self.dir / "legs-b")))))

    def close(self, quiet=False):
        for one in self.twins:
            one.end(signal.SIGINT)
        super().close(quiet)


def test_two_haproxys_hold_one_limit(haproxy, mocks):
    with gateway_of_two(haproxy, mocks) as gateway:
        ports = gateway.port, gateway.second

        def by(port, name):
            gateway.address = "127.0.0.1", port
            return gateway.as_client(name)

        def counted(table, name, count):
            return re.search(r"key=[0-9]+:%s .*gpc0=%d\b" % (name, count), gateway.order("show table llm-gateways/" + table))

        def listening():
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", gateway.second)) == 0
        until(listening, 15, "the second HAProxy listens")
        quiet()
        assert by(ports[1], "free").status == 200
        for at, port in enumerate((ports[1], ports[0], ports[1])):
            assert by(port, "few").status == 200
            until(lambda at=at: counted("b", "few", at // 2 + 1), 10, "the first HAProxy knows what the second one counted")
        for port in ports:
            until(lambda port=port: by(port, "few").status == 429, 10, "neither admits a fourth")
        assert counted("a", "few", 1) and counted("b", "few", 2)


def gateway_of_two(haproxy, mocks):
    return Two(haproxy, list(mocks.values()), config_of(mocks), env={"OPERATOR": OPERATOR})
