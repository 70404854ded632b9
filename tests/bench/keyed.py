"""What the key of a client costs a request.

    python3 tests/bench/keyed.py [--haproxy PATH ...]               `make bench-keyed`: HAProxy's instructions, counted by callgrind
    python3 tests/bench/keyed.py --cpu ROUNDS [--haproxy PATH ...]  CPU time of HAProxy and agent, as `make bench` measures it

A busy machine does not change the instructions, as it changes the time. Exit 1: a key costs a request more of HAProxy's instructions than PROMISED says. Not counted are those of SHA-256's inner
loop, because valgrind shows HAProxy a processor without instructions for it, which takes 2,000 where others take 200."""
import argparse
import os
import pathlib
import re
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import harness  # noqa: E402
import keys  # noqa: E402
from chat import chat  # noqa: E402
from report import middle, number, ratio  # noqa: E402
from ways import Ways  # noqa: E402

ROUNDS, REQUESTS = 8, 8
KEY, THEIRS = keys.key("bench"), "sk-" + "0123456789" * 4
OWN = b"authorization: Bearer %s\r\n" % THEIRS.encode()
# Name -> whether HAProxy looks for keys, and the request's headers.
KINDS = {"no clients": ("off", OWN), "no key": ("on", OWN), "bearer": ("on", b"authorization: Bearer %s\r\n" % KEY.encode()),
         **{name: ("on", b"%s: %s\r\n" % (name.encode(), KEY.encode()) + (OWN if name == "x-llm-key" else b"")) for name in ("x-api-key", "x-llm-key", "x-goog-api-key", "api-key")}}
# Beside a request without a key. `x-llm-key` is one header more; for the last two HAProxy looks only after a look at the whole head has found a key.
PROMISED = {"bearer": 1.03, "x-api-key": 1.03, "x-llm-key": 1.05, "x-goog-api-key": 1.05, "api-key": 1.05}
CPU = {"no clients": ("c", THEIRS), "no key": ("k", THEIRS), "a bearer token": ("k", KEY), "`x-llm-key` beside a bearer token": ("k", "%s\r\nx-llm-key: %s" % (THEIRS, KEY)),
       "a bearer token, 100,000 clients": ("m", KEY)}
CONNECTIONS, LOAD, TURNS = 32, 2000, 4


def write(directory, count):
    """A file of clients, the last of whom has the key."""
    path = pathlib.Path(directory) / ("clients-%d.json" % count)
    keys.write(path, [keys.entry("client %d" % number, "sk-spoa-%043d" % number) for number in range(count - 1)] + [keys.entry("bench", KEY)])
    return path


def inner_loop(file):
    """Instructions of what SHA-256 does for a block of 64 bytes: a function without a name, which these two call."""
    import callgrind
    cost, _ = callgrind.called(file)
    return sum(count for (function, callee), count in cost.items() if re.match(r"(?:ossl_)?SHA256_(?:Final|Update)|sha256_block", function) and re.match("0x|sha256_block", callee))


def instructions(haproxy):
    import callgrind
    from counted import Counted
    figures = {}
    with tempfile.TemporaryDirectory() as work:
        for mode in "off", "on":
            config = {"clients": str(write(work, 100))} if mode == "on" else {}
            with Counted(haproxy, lambda url: [{"model_prefix": "*", "upstream": url, "auth": "env:KEY"}], lambda text: text, config, {"LLM_CLIENTS": mode}) as counted:
                kinds = {name: (counted.connect(), headers) for name, (one, headers) in KINDS.items() if one == mode}
                for turn in range(ROUNDS + 1):
                    for name, (client, headers) in kinds.items():
                        def load():
                            for number in range(REQUESTS):      # HAProxy remembers what an expression says of a text: the headers of no two requests are the same
                                counted.plain(client, "gpt-4.1-mini", b"traceparent: %032x\r\n" % (turn * REQUESTS + number), credential=headers)
                        file = counted.between(load)
                        if turn:        # the first round warms up
                            figures.setdefault(name, []).append((callgrind.total(file) - inner_loop(file)) / REQUESTS)
                for client, _ in kinds.values():
                    client.close()
    figures = {name: statistics.median(one) for name, one in figures.items()}
    beside = {name: figure / figures["no key"] for name, figure in figures.items()}
    print("HAProxy %d.%d: instructions of a request: %s" % (*harness.version_of(haproxy), ", ".join(
        "%s %s (%.3f%s)" % (name, "{:,.0f}".format(figure), beside[name], ", at most %.2f is promised" % PROMISED[name] if name in PROMISED else "") for name, figure in figures.items())))
    return any(beside[name] > most for name, most in PROMISED.items())


class Keyed(Ways):
    """The gateway without clients (c), with a hundred (k) and with a hundred thousand (m)."""

    def start_k(self, way="k", count=100):
        self.gateway(way, self.start_agent(way, clients=str(write(self.dir, count))), env={"LLM_CLIENTS": "on"})

    def start_m(self):
        self.start_k("m", 100000)


def cpu(haproxy, rounds):
    """Name -> figures of each round, of short turns, so that the machine changes little meanwhile."""
    figures, before = {name: [] for name in CPU}, os.environ.get("BENCH_CREDENTIAL")
    with Keyed(haproxy, "ckm") as ways:
        body = ways.dir / "body.json"
        body.write_bytes(chat(1024))
        for turn in range(rounds * TURNS + 1):
            for name, (way, credential) in list(CPU.items())[::-1 if turn % 2 else 1]:
                os.environ["BENCH_CREDENTIAL"] = credential
                got = ways.load(way, "/v1/chat/completions", str(body), CONNECTIONS, LOAD)
                if turn:
                    figures[name].append(got)
    os.environ.pop("BENCH_CREDENTIAL")
    if before is not None:
        os.environ["BENCH_CREDENTIAL"] = before
    return figures


def run(said, versions, rounds):
    results = {"%d.%d" % harness.version_of(haproxy): cpu(haproxy, rounds) for haproxy in versions}
    said.table("keyed", "", ["CPU of HAProxy and the agent, microseconds a request"] + list(results),
               [[name] + ["%s (%.3f)" % (number(middle(one, name, "cpu")), ratio(one, name, "no key", "cpu")) for one in results.values()] for name in CPU])
    said.note("keyed", "In brackets: beside a request without a key, the median of the turns' own ratios. %d connections, 1 KB, no ledger." % CONNECTIONS)
    for version, one in results.items():
        said.promise("HAProxy " + version, "1 KB: CPU of a request, with a client's key / without one", ratio(one, "a bearer token", "no key", "cpu"), 1.03, least=False)
    return results


def main():
    from bench import haproxies
    from report import Report
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own and Debian sid's; may be repeated")
    parser.add_argument("--cpu", type=int, metavar="ROUNDS")
    options = parser.parse_args()
    given = haproxies(options.haproxy)
    if options.cpu:
        run(Report(), given, options.cpu)
        return False
    return any([instructions(one) for one in given])


if __name__ == "__main__":
    sys.exit(main())
