"""HAProxy with a master and workers (`-W`), as its systemd service runs it, is reloaded by SIGUSR2 while requests come."""
import threading

import harness
from ledgers import LedgerGateway, routes

RELOADS = 4
CLIENTS = 4


class Mastered(LedgerGateway):
    haproxy_args = ("-W",)

    def workers(self):
        return harness.children_of(self.haproxy.pid)


class Load:
    """A few clients that each send one request after another, each request over a new connection; keeps their exchanges and errors. `rest`: seconds between two
    requests."""

    def __init__(self, gateway):
        self.rest = 0
        self.gateway, self.stop, self.exchanges, self.errors = gateway, threading.Event(), [], []
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stop.wait(self.rest):
            try:
                self.exchanges.append(self.gateway.ask("gpt-l"))
            except Exception as problem:    # a connection that was refused, reset or cut; end() reports it
                self.errors.append(problem)

    def more(self, count):
        """Waits until `count` more requests have been answered."""
        target = len(self.exchanges) + count
        harness.until(lambda: len(self.exchanges) >= target or self.errors, 30, "%d requests" % count)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert not self.errors, "%d of %d requests failed: %r" % (len(self.errors), len(self.errors) + len(self.exchanges), self.errors[:3])
        return self.exchanges


def test_reloads_under_load(haproxy, make_mock):
    """No request fails, the agent's process stays the same, and each request is in the ledger once, whichever worker of HAProxy handled it."""
    mock = make_mock("reload")
    with Mastered(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        agent, master = gateway.agent.pid, gateway.haproxy.pid
        load = Load(gateway)
        seen = []
        try:
            for _ in range(RELOADS):
                load.more(50)
                old = gateway.workers()
                seen += old
                harness.reload_haproxy(gateway.haproxy)
                harness.until(lambda: set(gateway.workers()) - set(seen), 60, lambda: "a new worker\n" + gateway.haproxy.tail())
                load.more(50)
                # The old worker may stay for seconds. What of it could go wrong at full load has happened by now.
                load.rest = 0.05
                harness.until(lambda: all(harness.state_of(pid) == "X" for pid in old), 60, lambda: "the old worker ends\n" + gateway.haproxy.tail())
                load.rest = 0
            load.more(50)
        finally:
            exchanges = load.end()
        assert gateway.haproxy.running() and gateway.haproxy.pid == master and len(set(gateway.workers())) == 1
        assert len(exchanges) >= 50 * (RELOADS + 1)
        for exchange in exchanges:
            assert exchange.status == 200, exchange.response
            assert exchange.only(mock)
        rows = gateway.by_id(len(exchanges))
        assert set(rows) == {exchange.response.header("x-request-id") for exchange in exchanges}
        assert gateway.agent.pid == agent and not gateway.agent.lines("event=(worker_crashed|spop_refused)")
