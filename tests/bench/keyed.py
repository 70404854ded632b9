"""What the key of a client costs a request.

    python3 tests/bench/keyed.py [--haproxy PATH ...]               `make bench-keyed`: HAProxy's instructions, counted by callgrind
    python3 tests/bench/keyed.py --cpu ROUNDS [--haproxy PATH ...]  CPU time of HAProxy and agent, as `make bench` measures it, without and with the ledger

A busy machine does not change the instructions, as it changes the time. Exit 1: a key costs a request more of HAProxy's instructions than PROMISED says.
The instructions of SHA-256's inner loop are not counted: valgrind shows HAProxy a processor without instructions for SHA-256, which takes 2,000 where
others take 200."""
import argparse
import os
import pathlib
import random
import re
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import harness  # noqa: E402
import keys  # noqa: E402
from chat import chat  # noqa: E402
from report import middle, number  # noqa: E402
from ways import Ways  # noqa: E402

ROUNDS, REQUESTS = 8, 8
KEY, OTHER, LIMITED, THEIRS = keys.key("bench"), keys.key("other"), keys.key("limited"), "sk-" + "0123456789" * 4


def bearer(value):
    return b"authorization: Bearer %s\r\n" % value.encode()


# Name -> whether HAProxy looks for keys, and the headers of the requests of a connection, which take turns.
KINDS = {"no clients": ("off", [bearer(THEIRS)]), "no key": ("on", [bearer(THEIRS)]), "bearer": ("on", [bearer(KEY)]), "bearer that changes": ("on", [bearer(KEY), bearer(OTHER)]),
         **{name: ("on", [b"%s: %s\r\n" % (name.encode(), KEY.encode()) + (bearer(THEIRS) if name == "x-llm-key" else b"")])
            for name in ("x-api-key", "x-llm-key", "x-goog-api-key", "api-key")}}
# At most so many times the instructions of a request without a key. HAProxy hashes a key unless the request before, on the same connection, brought it too.
# `x-llm-key` is one header more. HAProxy looks at the last two headers only after a search of the whole head has found a key.
PROMISED = {"bearer": 1.02, "bearer that changes": 1.06, "x-api-key": 1.02, "x-llm-key": 1.05, "x-goog-api-key": 1.05, "api-key": 1.05}
# Name -> the credential, and the gateways without and with a ledger. By how much the two series of the same differ is what the machine does by chance.
# *Limits*: a budget of client and project, and limits of tokens, requests and requests at a time, which nobody reaches.
CPU = {"no clients": (THEIRS, "c", "l"), "no key": (THEIRS, "k", "n"), "no key, a second series": (THEIRS, "k", "n"), "a bearer token": (KEY, "k", "n"),
       "`x-llm-key` beside a bearer token": ("%s\r\nx-llm-key: %s" % (THEIRS, KEY), "k", "n"), "a bearer token, 100,000 clients": (KEY, "m", None),
       "a bearer token, budgets and limits": (LIMITED, None, "n")}
COLUMNS = "no ledger", "ledger"
CONNECTIONS, LOAD, TURNS = 32, 2000, 4


def write(directory, count, ledger=False):
    """A file of clients, the last of whom has KEY and OTHER; with a `ledger`, which budgets need, the first one has LIMITED."""
    path = pathlib.Path(directory) / ("clients-%d.json" % count)
    budget = {"budget": {"usd": "1000000", "per": "month"}, "tokens_per_minute": 10 ** 12}
    clients = [keys.entry("client %d" % number, "sk-spoa-%043d" % number) for number in range(count - 1)] + [keys.entry("bench", KEY, OTHER)]
    if ledger:
        clients[0] = keys.entry("limited", LIMITED, project="limited", requests_per_minute=10 ** 8, parallel=10 ** 4, **budget)
    keys.write(path, clients, [dict(budget, name="limited")] if ledger else None)
    return path


def inner_loop(file):
    """Instructions of what SHA-256 does for a block of 64 bytes: a function without a name, which SHA256_Update and SHA256_Final call."""
    import callgrind
    cost, _ = callgrind.called(file)
    return sum(count for (function, callee), count in cost.items() if re.match(r"(?:ossl_)?SHA256_(?:Final|Update)|sha256_block", function) and re.match("0x|sha256_block", callee))


def lasting(text):
    """haproxy.cfg with a longer memory for keys that the agent knew. On a busy machine some requests come more than ten seconds after others, and HAProxy would
    ask about their keys again."""
    text, count = re.subn(r"(\n    stick-table type binary len 32 size 100k expire) 10s", r"\1 1h", text)
    assert count == 1
    return text


def instructions(haproxy):
    import callgrind
    from counted import Counted
    figures = {}
    with tempfile.TemporaryDirectory() as work:
        for mode in "off", "on":
            config = {"clients": str(write(work, 100))} if mode == "on" else {}
            with Counted(haproxy, lambda url: [{"model_prefix": "*", "upstream": url, "auth": "env:KEY"}], lasting, config, {"LLM_CLIENTS": mode}) as counted:
                kinds = {name: (counted.connect(), headers) for name, (one, headers) in KINDS.items() if one == mode}
                for turn in range(ROUNDS + 1):
                    for name, (client, headers) in kinds.items():
                        def load():
                            for number in range(REQUESTS):      # HAProxy remembers what an expression says of a text: the headers of no two requests are the same
                                counted.plain(client, "gpt-4.1-mini", b"traceparent: %032x\r\n" % (turn * REQUESTS + number), credential=headers[number % len(headers)])
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
    """The gateway without clients (c), with a hundred (k) and with a hundred thousand (m), and with a ledger: without clients (l), with a hundred (n)."""

    def start_k(self, way="k", count=100):
        self.gateway(way, self.start_agent(way, clients=str(write(self.dir, count))), env={"LLM_CLIENTS": "on"})

    def start_m(self):
        self.start_k("m", 100000)

    def start_n(self):
        self.start_recorded("n", {"LLM_CLIENTS": "on"}, clients=str(write(self.dir, 100, True)))


def cpu(haproxy, turns):
    """For each of COLUMNS: name -> figures of each turn. Turns are short and have a random order, so that neither what the machine does meanwhile nor the turn
    before favours a name."""
    columns, before = [{name: [] for name, (_, *ways) in CPU.items() if ways[at]} for at in range(len(COLUMNS))], os.environ.get("BENCH_CREDENTIAL")
    with Keyed(haproxy, "ckmln") as ways:
        body = ways.dir / "body.json"
        body.write_bytes(chat(1024))
        for turn in range(turns + 1):
            for at, figures in enumerate(columns):
                for name in random.sample(list(figures), len(figures)):
                    os.environ["BENCH_CREDENTIAL"] = CPU[name][0]
                    got = ways.load(CPU[name][1 + at], "/v1/chat/completions", str(body), CONNECTIONS, LOAD)
                    if turn:        # the first turn warms up
                        figures[name].append(got)
    os.environ.pop("BENCH_CREDENTIAL")
    if before is not None:
        os.environ["BENCH_CREDENTIAL"] = before
    return columns


def beside(figures, name):
    """CPU of a request of `name`, by the mean of the two series without a key: the median of the turns' own ratios."""
    return statistics.median(one["cpu"] * 2 / (first["cpu"] + second["cpu"]) for one, first, second in zip(figures[name], figures["no key"], figures["no key, a second series"]))


def run(said, versions, turns):
    results = {"%d.%d" % harness.version_of(haproxy): cpu(haproxy, turns) for haproxy in versions}
    columns = [("%s, %s" % (version, COLUMNS[at]), one) for version, both in results.items() for at, one in enumerate(both)]
    said.table("keyed", "", ["CPU of HAProxy and the agent, microseconds a request"] + [head for head, _ in columns],
               [[name] + ["%s (%.3f)" % (number(middle(one, name, "cpu")), beside(one, name)) if name in one else "" for _, one in columns] for name in CPU])
    said.note("keyed", "In brackets: beside the mean of the two series without a key, the median of the %d turns' own ratios. %d connections, 1 KB, %d requests a turn." % (
        turns, CONNECTIONS, LOAD))
    for version, both in results.items():
        for at, one in enumerate(both):
            said.promise("HAProxy " + version, "1 KB, %s: CPU of a request, with a client's key / without one" % COLUMNS[at], beside(one, "a bearer token"), 1.03, least=False)
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
        run(Report(), given, options.cpu * TURNS)
        return False
    return any([instructions(one) for one in given])


if __name__ == "__main__":
    sys.exit(main())
