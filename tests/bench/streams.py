"""Many event streams at a time through HAProxy: how long until the first event, and how long an event is under way.

The longest waits are made by the machine below, which takes the cores away for a while. So the do-nothing agent is measured twice, each round says how much
was stolen, and a table says how far the longest waits follow it."""
import json
import subprocess
from statistics import correlation, median

import harness
import rig
from report import added, middle, number, ratio, spread
from through import SMALL
from ways import NAMES, Ways

STREAMS, EVENTS, INTERVAL = 500, 20, 100        # INTERVAL: milliseconds between two events
WAYS = "adscl"


def one(it, way, body, seconds):
    before = rig.stolen()
    run = subprocess.run(["taskset", "-c", str(rig.PLACES["load"]), str(rig.TOOLS / "sse"), "load", "127.0.0.1", str(it.ports[way]), body,
                          str(STREAMS), str(seconds), str(EVENTS), str(INTERVAL)],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 + 2 * seconds)
    assert run.returncode == 0, run.stderr
    # The streams begin during EVENTS * INTERVAL milliseconds, before anything is measured.
    return dict(json.loads(run.stdout), stolen=(rig.stolen() - before) / (seconds + EVENTS * INTERVAL / 1000))


def quiet(rounds, key):
    """The median of `key` in that third of one way's rounds in which least was stolen."""
    return median(round[key] for round in sorted(rounds, key=lambda round: round["stolen"])[:max(len(rounds) // 3, 1)])


def follow(rounds, key):
    """How far `key` follows what was stolen: the correlation of their ranks, 1 where they have the same order, 0 where they have nothing to do with each other."""
    def ranks(values):
        return [sum(other < one for other in values) + sum(other == one for other in values) / 2 for one in values]
    stolen, waits = (ranks([round[what] for round in rounds]) for what in ("stolen", key))
    return correlation(stolen, waits) if len(set(stolen)) > 1 and len(set(waits)) > 1 else 0.0


def measure(report, haproxy, bodies, rounds, seconds):
    version, results = "%d.%d" % harness.version_of(haproxy), {}
    with Ways(haproxy, WAYS, upstream=[EVENTS, INTERVAL]) as it:
        for turn in range(rounds):
            if turn > 0:
                it.restart_proxies()
            shift = turn % len(WAYS)
            for way in WAYS[shift:] + WAYS[:shift]:
                results.setdefault(way, []).append(one(it, way, bodies[SMALL], seconds))
    letters = [way for way in NAMES if way in WAYS]
    columns = ("first_p50_us", "first_p99_us", "event_p50_us", "event_p99_us", "stall_us", "stolen")
    report.table("streams", "HAProxy %s: %d event streams at a time, %d events each, one every %d ms; microseconds; medians of %d rounds" %
                 (version, STREAMS, EVENTS, INTERVAL, rounds),
                 ["", "first event p50", "p99", "event under way p50", "p99", "longest stall", "stolen, ms/s", "first event: added to static, p50"],
                 [[NAMES[way]] + [number(middle(results, way, key)) for key in columns] + [number(added(results, way, "first_p50_us"))] for way in letters])
    every = [round for of in results.values() for round in of]
    report.table("streams", "HAProxy %s: p99 of the time to the first event" % version,
                 ["", "beside the do-nothing agent: median of the rounds, and the middle half of them", "where least was stolen, us"],
                 [[NAMES[way], spread(results, way, "d", "first_p99_us")[1] if way != "d" else "", number(quiet(results[way], "first_p99_us"))] for way in letters])
    report.note("streams", "Over all rounds and ways, the p99 follows what was stolen with a correlation of ranks of %.2f, and the p50 with %.2f." %
                (follow(every, "first_p99_us"), follow(every, "first_p50_us")))
    report.promise("HAProxy " + version, "%d streams: p99 of the time to the first event, spoa-llm / do-nothing agent" % STREAMS,
                   ratio(results, "c", "d", "first_p99_us"), 1.1, least=False)
    return results


def run(report, haproxies, quick, rounds, seconds, bodies):
    return {"%d.%d" % harness.version_of(haproxy): measure(report, haproxy, bodies, rounds, seconds)
            for haproxy in (haproxies[-1:] if quick else haproxies)}
