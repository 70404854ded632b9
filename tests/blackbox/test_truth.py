"""Random requests of all shapes, endings, encodings and orders, through HAProxy: the ledger either has their true usage and cost or says that it
does not know, with streams that go straight and with streams that go through the tap. rig/truth.py makes them. `make test` sends 3,000 each way
with HAProxy 2.6, `make test-long` 100,000 with each version (TRUTH=100000); TRUTH_SEED=7 begins elsewhere. The output names each row that
claims what is not so, with its seed: truth.Case(SEED).answer is the answer."""
import collections
import json
import multiprocessing
import os
import queue
import socket
import time
import zlib

import pytest

import truth
from ledgers import LedgerGateway
from realtap import RealTap, Recorded
from test_prices import Table

COUNT = int(os.environ.get("TRUTH", "1500"))
FIRST = int(os.environ.get("TRUTH_SEED", "1"))
CLIENTS = 4


EXACT = ("reported", "stream")
LONG = 3072     # bytes; of longer answers HAProxy looks at the end


class Priced:
    def start(self):
        (self.home / "prices.json").write_text(json.dumps(truth.PRICES))
        super().start()


class Straight(Priced, LedgerGateway):
    pass


class Tapped(Priced, Recorded):
    def __init__(self, *args):
        super().__init__(*args, make_tap=lambda path, legs: RealTap(path, legs, report=False))


def lie(table, case, row):
    """Says what a row claims that is not so; "": nothing."""
    known, ran = case.tokens, case.status < 400 and row["status"] in (200, 201, 206)
    counts = {ours: row[theirs] for ours, theirs in (("input", "input"), ("output", "output"), ("read", "cache_read"), ("write", "cache_write"))}
    spent = any(known.values()) or any(case.told[name] > 0 for name in ("images", "audio_ms", "searches"))
    if row["usage_from"] == "none" and ran and spent:
        return "costs nothing"
    if row["usage_from"] == "unknown" and (any(count is not None for count in counts.values()) or row["cost"]):
        return "unknown has figures"
    if row["usage_from"] not in EXACT or not ran:
        return ""
    # Of an answer that HAProxy reads by its end, the last of two usages counts, which `known` is.
    if case.twice and (len(case.answer) <= LONG or case.coded != case.answer):
        return "two usages that differ"
    if row["price_from"] == "unpriced" and not any(counts.values()):
        return ""       # pictures were counted, and the model's price is by tokens
    if counts != {name: known[name] for name in counts}:
        return "other tokens: %s" % known
    if row["price_from"] in ("table", "none"):
        want = table.apply(case.model, "", known, case.told)
        if want[0] != row["price_from"] or want[2] != row["cost"]:
            return "another cost: %s" % want
    return ""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("Gateway", [Straight, Tapped], ids=["straight", "tap"])
def test_the_ledger_says_the_truth_or_that_it_does_not_know(haproxy, Gateway):
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    url = "http://127.0.0.1:%d" % listener.getsockname()[1]
    forks = multiprocessing.get_context("fork")
    results, processes = forks.Queue(), [forks.Process(target=truth.serve, args=(listener,), daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
    table = Table(json.dumps(truth.PRICES))
    config = {"openai_target": url, "anthropic_target": url, "gemini_target": url, "routes": [{"model_prefix": "*", "upstream": url}]}
    first = FIRST + COUNT * (zlib.crc32((str(haproxy) + Gateway.__name__).encode()) % 1000)      # other requests each time
    seeds = range(first, first + COUNT)
    try:
        with Gateway(haproxy, [], config) as gateway:
            begin = time.monotonic()
            clients = [forks.Process(target=truth.run, args=(gateway.address, seeds[at::CLIENTS], results), daemon=True) for at in range(CLIENTS)]
            processes += clients
            for client in clients:
                client.start()
            sent, running = {}, CLIENTS
            while running:
                try:
                    result = results.get(timeout=60)
                except queue.Empty:
                    raise AssertionError("no answer for a minute; %d of %d" % (len(sent), COUNT)) from None
                running -= result is None
                if result:
                    sent[result[0]] = result[1:]
            rows = gateway.by_id(sum(bool(name) for name, _ in sent.values()), 60)
            print("%d requests in %.1f s" % (COUNT, time.monotonic() - begin))
    finally:
        for process in processes:
            process.kill()
        listener.close()
    check(table, sent, rows)


def check(table, sent, rows):
    lies, kinds, missed = [], collections.Counter(), [seed for seed, (name, _) in sent.items() if name and name not in rows]
    assert not missed, "no row for %s" % missed[:20]
    named = {name: seed for seed, (name, _) in sent.items() if name}
    for name, row in rows.items():
        if name not in named:       # a client that got no head: what it asked is not known here
            if row["usage_from"] in EXACT:
                lies.append("a request without an answer is reported: %s" % row)
            continue
        case = truth.Case(named[name])
        kinds[case.shape, row["usage_from"], row["price_from"]] += 1
        why = lie(table, case, row)
        if why:
            lies.append("seed %d, %s, %s %s, %s, %s: %s\n    row %s\n    told %s\n    %s" % (
                case.seed, case.shape, case.status, case.type, case.coding or "identity", case.end, why,
                {key: row[key] for key in ("usage_from", "input", "output", "cache_read", "cache_write", "price_from", "cost", "status", "termination")},
                {key: value for key, value in case.told.items() if value}, case.answer[:600]))
    for (shape, usage, price), count in sorted(kinds.items()):
        print("%6d  %-17s %-10s %s" % (count, shape, usage, price))
    print("\n".join(lies))
    assert not lies, "%d of %d rows claim what is not so; above is each" % (len(lies), len(rows))
    exact = sum(count for (_, usage, price), count in kinds.items() if usage in EXACT and price == "table")
    assert exact > len(rows) / 5, "only %d of %d rows are exact" % (exact, len(rows))
