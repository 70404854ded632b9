"""Two agents behind one HAProxy, as haproxy.cfg.example shows them: one dies under load, and the other one answers."""
import os
import re
import signal
import threading

import harness
from harness import chat, secret, until
from pools import KEYS, PoolGateway, declines, pool
from realtap import RealTap, Recorded


def two(path):
    """Takes the comment from the example's line for a second agent, which listens at `path`."""
    def edit(text):
        changed, count = re.subn(r"^    #server other unix@\S+", "    server other unix@%s" % path, text, flags=re.M)
        assert count == 1, "haproxy.cfg.example has no line for a second agent any more"
        return changed
    return edit


def test_one_of_two_agents_dies(haproxy, work, make_mock):
    """Questions go to the other agent at once. Without redispatch, from HAProxy 3.1 on, each question to the dead agent would fail until the check finds it: hundreds."""
    mock = make_mock("two")
    config = {"routes": [{"model_prefix": "*", "upstream": mock.url()}]}
    socket = work / "second.sock"
    statuses, stop, lock = [], threading.Event(), threading.Lock()
    with harness.Agent(work, dict(config, listen="unix@%s" % socket)) as other, harness.Gateway(haproxy, [mock], config, edit=two(socket)) as gateway:

        def load():
            while not stop.is_set():
                status = gateway.ask("m").status
                with lock:
                    statuses.append(status)

        def asked(more):
            at = len(statuses)
            until(lambda: len(statuses) >= at + more, 60)

        def decided(agent):
            return sum(float(line.split()[-1]) for line in agent.http(path="/metrics").text.splitlines()
                       if line.startswith("spoa_llm_decisions_total{"))
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: decided(other) + decided(gateway.agent) > 100, 30, "the agents are asked")
            assert set(statuses) == {200}
            # HAProxy 3.0 and older may ask one of them only, because few connections are enough.
            victim = max(other, gateway.agent, key=decided)
            worker = victim.pid
            victim.kill()
            os.kill(worker, signal.SIGKILL)
            until(lambda: re.search("Server llm-agent/(other|agent) is DOWN", gateway.haproxy.text()), 30, "HAProxy finds the dead agent")
            asked(200)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        failed = [status for status in statuses if status != 200]
        # A question that the dead agent had already is lost: at most one of each client.
        assert len(failed) <= 4 and set(failed) <= {503}, (len(failed), len(statuses))


def test_one_agent_that_is_away_for_a_moment(haproxy, work, make_mock):
    """Redispatch does not hide that the only agent is down: the request is refused, and the next one is served when the agent is back."""
    mock = make_mock("one")
    with harness.Gateway(haproxy, [mock], {"routes": [{"model_prefix": "*", "upstream": mock.url()}]}) as gateway:
        assert gateway.ask("m").status == 200
        gateway.agent.close()
        gateway.ask("m").refused(503, "gateway_unavailable")
        gateway.start_agent()
        until(lambda: gateway.ask("m").status == 200, 10, "the agent is asked again")


def test_two_agents_and_a_tap(haproxy, work, make_mock):
    """Legs ask either agent for their credentials, and the tap reports to the one that keeps the ledger. A second ledger needs a `tap_listen` of its own."""
    mock, key = make_mock("two-tapped"), secret("two-tapped")
    config = {"tap": True, "routes": [{"model_prefix": "*", "upstream": mock.url(), "auth": "env:KEY"}]}
    path = work / "second.sock"
    with harness.Agent(work, dict(config, listen="unix@%s" % path), env={"KEY": key}) as other, \
            Recorded(haproxy, [mock], config, env={"KEY": key}, owners={key: [mock]},
                     edit=lambda text: two(path)(text).replace('server agent "$LLM_AGENT"', 'server agent "$LLM_AGENT" backup'),
                     make_tap=lambda path, legs: RealTap(path, legs, report=False)) as gateway:

        def stream(count):
            answers = [gateway.ask("m", stream=True) for _ in range(count)]
            assert [one.only(mock).header("authorization") for one in answers] == ["Bearer " + key] * count
            return [one.header("x-request-id") for one in answers]

        def exact(ids):
            rows = {row["id"]: row for row in gateway.rows()}
            return all(id in rows and rows[id]["usage_from"] == "stream" for id in ids)
        ids = stream(20)
        asked = [sum(float(line.split()[-1]) for line in agent.http(path="/metrics").text.splitlines() if line.startswith("spoa_llm_decisions_total{"))
                 for agent in (other, gateway.agent)]
        assert asked == [20, 0]
        until(lambda: exact(ids), 10, lambda: repr(gateway.rows()[-1:]))
        # The one with the ledger answers when the other one is gone.
        other.process.end()
        until(lambda: gateway.ask("m").status == 200, 10, "HAProxy asks the first agent")
        ids += stream(10)
        until(lambda: exact(ids), 10, lambda: repr(gateway.rows()[-1:]))
        # The same address for the reports of two ledgers.
        more = dict(config, listen="unix@%s/third.sock" % work, ledger=str(work), log_listen=["unix@%s/log.sock" % work], tap_listen=gateway.config["tap_listen"])
        third = harness.Agent(work, more, env={"KEY": key}, wait=False)
        assert third.process.wait() != 0 and "%s: another process is listening there" % gateway.config["tap_listen"][6:] in third.text()


def test_both_agents_learn_who_rests(haproxy, work, make_mock):
    """Requests come one after the other, so that HAProxy asks each agent at its turn: what one of them alone was told, the other would never learn."""
    mocks = {name: make_mock(name) for name in "ab"}
    for mock in mocks.values():
        mock.respond = declines(429, 100)
    config, socket = {"routes": [pool(mocks, "m")]}, work / "second.sock"
    with harness.Agent(work, dict(config, listen="unix@%s" % socket), env={"A_m": KEYS["a"], "B_m": KEYS["b"]}), \
            PoolGateway(haproxy, list(mocks.values()), config, edit=two(socket)) as gateway:
        assert [gateway.ask("m-1").status for _ in range(12)] == [429] * 12
        # HAProxy 3.0 and older may tell one of them both times.
        assert max(len(mock.requests) for mock in mocks.values()) <= 3, mocks["b"].requests
