"""`make bench-keyed`: what the key of a client costs a request.

    python3 tests/bench/keyed.py [--haproxy PATH ...]               HAProxy's instructions, counted by callgrind
    python3 tests/bench/keyed.py --cpu ROUNDS [--haproxy PATH ...]  CPU time of HAProxy and agent, with 100 and with 100,000 clients

A busy machine does not change the instructions, as it changes the time. Exit 1: a request with a key, where most clients put it, costs more than 4.5 % more of HAProxy's instructions than one
without. That is less than 3 % of all CPU, because the agent and the kernel have a part of it."""
import argparse
import os
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import keys  # noqa: E402
from bench import haproxies  # noqa: E402

PROMISE = 1.045
ROUNDS, REQUESTS = 5, 12
KEY, THEIRS = keys.key("bench"), "sk-" + "0123456789" * 4
OWN = b"authorization: Bearer %s\r\n" % THEIRS.encode()
# Name -> whether HAProxy looks for keys, and the request's headers.
KINDS = {"no clients": ("off", OWN), "no key": ("on", OWN), "bearer": ("on", b"authorization: Bearer %s\r\n" % KEY.encode()),
         "x-api-key": ("on", b"x-api-key: %s\r\n" % KEY.encode()), "x-llm-key": ("on", b"x-llm-key: %s\r\n" % KEY.encode() + OWN)}
PROMISED = ("bearer", "x-api-key")


def write(directory, count):
    """A file of clients, the last of whom has the key."""
    path = pathlib.Path(directory) / ("clients-%d.json" % count)
    keys.write(path, [keys.entry("client %d" % number, "sk-spoa-%043d" % number) for number in range(count - 1)] + [keys.entry("bench", KEY)])
    return path


def instructions(haproxy):
    import callgrind
    import harness
    from counted import Counted, quiet  # noqa: F401
    figures = {}
    with tempfile.TemporaryDirectory() as work:
        for mode in "off", "on":
            config = {"clients": str(write(work, 100))} if mode == "on" else {}
            with Counted(haproxy, lambda url: [{"model_prefix": "*", "upstream": url, "auth": "env:KEY"}], lambda text: text, config, {"LLM_CLIENTS": mode}) as counted:
                kinds = {name: (counted.connect(), headers) for name, (one, headers) in KINDS.items() if one == mode}
                for turn in range(ROUNDS + 1):
                    for name, (client, headers) in kinds.items():
                        def load():
                            for _ in range(REQUESTS):
                                counted.plain(client, "gpt-4.1-mini", credential=headers)
                        file = counted.between(load)
                        if turn:        # the first round warms up
                            figures.setdefault(name, []).append(callgrind.total(file) / REQUESTS)
                for client, _ in kinds.values():
                    client.close()
    figures = {name: statistics.median(one) for name, one in figures.items()}
    print("HAProxy %d.%d: instructions of a request: %s" % (*harness.version_of(haproxy), ", ".join(
        "%s %s%s" % (name, "{:,.0f}".format(figure), "" if name in ("no clients", "no key") else " (%.3f)" % (figure / figures["no key"])) for name, figure in figures.items())))
    return any(figures[name] > PROMISE * figures["no key"] for name in PROMISED)


def cpu(haproxy, rounds):
    import harness
    from chat import chat
    from ways import Ways

    class Keyed(Ways):
        """The gateway (c) without clients, with a hundred (k) and with a hundred thousand (m)."""

        def start_k(self, way="k", count=100):
            self.gateway(way, self.start_agent(way, clients=str(write(self.dir, count))), env={"LLM_CLIENTS": "on"})

        def start_m(self):
            self.start_k("m", 100000)
    kinds = {"no clients": ("c", THEIRS), "no key": ("k", THEIRS), "key, 100 clients": ("k", KEY), "key, 100,000 clients": ("m", KEY)}
    figures = {}
    with Keyed(haproxy, "ckm") as ways:
        body = ways.dir / "body.json"
        body.write_bytes(chat(1024))
        for turn in range(rounds + 1):
            for name, (way, credential) in list(kinds.items())[::-1 if turn % 2 else 1]:
                os.environ["BENCH_CREDENTIAL"] = credential
                got = ways.load(way, "/v1/chat/completions", str(body), 32, 8000 if turn else 2000)
                if turn:
                    figures.setdefault(name, []).append(got["cpu"])
    figures = {name: statistics.median(one) for name, one in figures.items()}
    print("HAProxy %d.%d: CPU of a request: %s" % (*harness.version_of(haproxy), ", ".join(
        "%s %.1f us (%.3f)" % (name, figure, figure / figures["no key"]) for name, figure in figures.items())))
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own and Debian sid's; may be repeated")
    parser.add_argument("--cpu", type=int, metavar="ROUNDS")
    options = parser.parse_args()
    return any([cpu(one, options.cpu) if options.cpu else instructions(one) for one in haproxies(options.haproxy)])


sys.exit(main())
