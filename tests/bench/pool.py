"""Requests of routes with pools, beside those of a route with one upstream: CPU of HAProxy and the agent for each, and HAProxy's memory for one that waits
for its answer. All routes are of one HAProxy and one agent, and each round sends the requests of each."""
import socket
import tempfile

import harness
import rig
from chat import chat
from report import middle, number, ratio
from through import CHAT
from ways import Ways

CONNECTIONS, WAITING = 16, 40
SIZES = {1: 1000, 128: 250}     # KB of a body: how many requests a round
KINDS = {"plain": "one upstream", "single": 'pool of 3, `"retries": 0`', "pool": "pool of 3, the first one answers", "declines": "pool of 3, the first one declines"}


class Pooled(Ways):
    """Its one way is "n": a HAProxy with a route for each of KINDS, and two whose upstreams, at the port `silent`, answer nothing."""

    def __init__(self, haproxy, silent):
        self.silent = silent
        super().__init__(haproxy, "n")

    def config(self, name, **more):
        keys = {"auth": "env:OPENAI_API_KEY"}

        def members(url, first=""):
            return [dict(keys, name=name, upstream=url + path) for name, path in (("a", first), ("b", "/b"), ("c", "/c"))]
        url, silent = "http://127.0.0.1:%d" % self.upstream_port, "http://127.0.0.1:%d" % self.silent
        routes = {"plain": dict(keys, upstream=url), "single": {"pool": members(url), "retries": 0}, "pool": {"pool": members(url)},
                  "declines": {"pool": members(url, "/declines")}, "silent-plain": dict(keys, upstream=silent), "silent-pool": {"pool": members(silent)}}
        return super().config(name, routes=[dict(route, model_prefix=model, name=model) for model, route in routes.items()], **more)

    def start_n(self):
        legs, spoe = self.dir / "legs", self.dir / "spoe.conf"
        legs.mkdir()
        # The agent is told of each decline, but not whose it is: it would let the member rest, and the next requests would not be offered to it.
        text, count = harness.SPOE_CONF.read_text(), "member=var(txn.llm_member) status=status"
        assert text.count(count) == 1
        spoe.write_text(text.replace(count, "member=str(none) status=status"))
        self.gateway("n", self.start_agent("n"), env={"LLM_LEGS": str(legs), "LLM_SPOE_CONF": str(spoe)})


def body_of(kind, size):
    """A body of so many KB whose model begins with `kind`."""
    return chat(size * 1024).replace(b'"gpt-4.1-mini"', b'"%s"' % kind.encode())


def waiting(it, kind):
    """KB of HAProxy for each of WAITING requests that wait for their answer."""
    body = body_of(kind, 1)
    request = b"POST %s HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nauthorization: Bearer sk-bench\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body
    clients = []

    def send(count):
        for _ in range(count):
            clients.append(socket.create_connection(("127.0.0.1", it.ports["n"]), 30))
            clients[-1].sendall(request)
        # Until nothing changes any more.
        seen = [rig.resident(it.proxies["n"].pid)]
        harness.until(lambda: seen.append(rig.resident(it.proxies["n"].pid)) or len(seen) > 5 and len(set(seen[-5:])) == 1, 10, "the memory settles", step=.05)
        return seen[-1]
    it.restart_proxies()        # because a process keeps memory that it no longer needs
    before, after = send(5), send(WAITING)
    for client in clients:
        client.close()
    return (after - before) / WAITING


def measure(haproxy, rounds, folder):
    """Returns (kind, KB of the body) -> figures of each round, and kind -> KB of memory."""
    results, files = {}, {}
    for kind in KINDS:
        for size in SIZES:
            files[kind, size] = "%s/%s-%d.json" % (folder, kind, size)
            with open(files[kind, size], "wb") as file:
                file.write(body_of(kind, size))
    with socket.socket() as silent:     # HAProxy's connections, checks among them, wait here to be accepted
        silent.bind(("127.0.0.1", 0))
        silent.listen(4096)
        with Pooled(haproxy, silent.getsockname()[1]) as it:
            for file in files.values():         # the first requests of a process are slower than the rest
                it.load("n", CHAT, file, CONNECTIONS, 100)
            for turn in range(rounds):
                for size, requests in SIZES.items():
                    for kind in list(KINDS)[turn % len(KINDS):] + list(KINDS)[:turn % len(KINDS)]:
                        results.setdefault(size, {}).setdefault(kind, []).append(it.load("n", CHAT, files[kind, size], CONNECTIONS, requests))
            return results, {kind: waiting(it, "silent-" + kind) for kind in ("plain", "pool")}


def run(report, haproxies, quick, rounds):
    haproxies = haproxies[-1:] if quick else haproxies
    head, rows, results = ["CPU of HAProxy and the agent, microseconds a request"], {kind: [name] for kind, name in KINDS.items()}, {}
    memory = [["KB of HAProxy for a request of 1 KB that waits", kind] for kind in ("one upstream", "pool of 3")]
    for haproxy in haproxies:
        version = "%d.%d" % harness.version_of(haproxy)
        with tempfile.TemporaryDirectory(prefix="llm-bodies-", dir="/tmp") as folder:
            by, kept = measure(haproxy, rounds, folder)
        for size, of in by.items():
            head.append("%s: %d KB" % (version, size))
            for kind, row in rows.items():
                row.append(number(middle(of, kind, "cpu")) + ("" if kind == "plain" else " (%.2f)" % ratio(of, kind, "plain", "cpu")))
        for row, kind in zip(memory, ("plain", "pool")):
            row.append(number(kept[kind]))
        results[version] = {"cpu": {str(size): of for size, of in by.items()}, "memory": kept}
    report.table("pool", "", head, list(rows.values()))
    report.table("pool", "", ["", ""] + list(results), memory)
    report.note("pool", "In brackets: beside one upstream, the median of the rounds' own ratios. %d connections, bodies with the model last, HAProxy's buffers as shipped. %s." % (
        CONNECTIONS, rig.machine()))
    return results
