"""`make bench-plain`: what the rules for the tap cost a request that does not go through it, in HAProxy's instructions, counted by callgrind.

    python3 tests/bench/plain.py [--haproxy PATH ...]

One HAProxy has two frontends: haproxy.cfg's, with the legs of a configuration with `tap`, and the same without the rules for the tap. A busy machine
does not change the figures. Exit 1: a request costs more than 3 % more with these rules than without them."""
import argparse
import concurrent.futures
import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import callgrind  # noqa: E402
import harness  # noqa: E402
from bench import haproxies  # noqa: E402
from counted import Counted, frontend  # noqa: E402

PROMISE = 1.03
ROUNDS, REQUESTS = 5, 12


def without_tap(text):
    """A frontend without its rules for the tap."""
    text = re.sub(r"(?m)^ +(?:acl (?:llm_leg|llm_tapped|llm_by_tap) |http-request set-var\(txn\.llm_tapped\)|use_backend %\[var\(txn\.llm_tapped\)\]).*\n", "", text)
    text = re.sub(r" !llm_(?:tapped|by_tap)\b|,unset-var\(txn\.llm\.leg\)", "", text)
    assert not re.search(r"(?m)^ [^#\n]*(?:tap|leg)", text), "a rule for the tap that is not known here: %s" % re.search(r"(?m)^ [^#\n]*(?:tap|leg).*", text).group()
    return text


def measure(haproxy):
    """Instructions of a request without the rules and with them."""
    port = harness.free_port()

    def edit(text):
        whole = frontend(text)
        other = without_tap(whole).replace("frontend llm\n", "frontend llm-without\n", 1).replace('bind "${LLM_BIND[*]}"', "bind 127.0.0.1:%d" % port, 1)
        return text.replace(whole, whole + other, 1)

    def routes(url):
        return [{"model_prefix": "*", "upstream": url, "auth": "env:KEY"}]
    with Counted(haproxy, routes, edit) as counted:
        clients = [counted.connect(port), counted.connect()]
        figures = [], []

        def load(client, requests):
            for _ in range(requests):
                counted.plain(client, "gpt-4.1-mini")
        for client in clients:
            load(client, 5)
        for turn in range(ROUNDS):
            for client, into in list(zip(clients, figures))[::-1 if turn % 2 else 1]:
                into.append(callgrind.total(counted.between(lambda: load(client, REQUESTS))) / REQUESTS)
        for client in clients:
            client.close()
    return [statistics.median(one) for one in figures]


def measured(haproxy):
    try:
        return measure(haproxy)
    except AssertionError as problem:       # of the rig: it says nothing of the figures
        print("measured once more, because: %s" % problem, file=sys.stderr)
        return measure(haproxy)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own and Debian sid's; may be repeated")
    given, missed = haproxies(parser.parse_args().haproxy), False
    with concurrent.futures.ThreadPoolExecutor(len(given)) as pool:
        for haproxy, (without, with_) in zip(given, pool.map(measured, given)):
            missed |= with_ > PROMISE * without
            print("HAProxy %d.%d: instructions of a plain request: %s without the rules for the tap, %s with them: %.3f, at most %.2f is promised" % (
                *harness.version_of(haproxy), "{:,.0f}".format(without), "{:,.0f}".format(with_), with_ / without, PROMISE))
    return missed


sys.exit(main())
