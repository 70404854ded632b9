"""Many event streams at a time through HAProxy: how long until the first event, and how long an event is under way."""
import json
import subprocess

import harness
import rig
from report import added, middle, number, ratio
from through import SMALL
from ways import NAMES, Ways

STREAMS, EVENTS, INTERVAL = 500, 20, 100        # INTERVAL: milliseconds between two events


def one(it, way, body, seconds):
    run = subprocess.run(["taskset", "-c", str(rig.PLACES["load"]), str(rig.TOOLS / "sse"), "load", "127.0.0.1", str(it.ports[way]), body,
                          str(STREAMS), str(seconds), str(EVENTS), str(INTERVAL)],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 + 2 * seconds)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def measure(report, haproxy, bodies, rounds, seconds):
    version = "%d.%d" % harness.version_of(haproxy)
    ways, results = "acdl", {}
    with Ways(haproxy, ways, upstream=[EVENTS, INTERVAL]) as it:
        for turn in range(rounds):
            for way in ways[turn % len(ways):] + ways[:turn % len(ways)]:
                results.setdefault(way, []).append(one(it, way, bodies[SMALL], seconds))
    columns = ("first_p50_us", "first_p99_us", "event_p50_us", "event_p99_us", "stall_us")
    rows = [[NAMES[way]] + [number(middle(results, way, key)) for key in columns] +
            [number(added(results, way, key)) for key in ("first_p50_us", "first_p99_us")] for way in NAMES if way in results]
    report.table("streams", "HAProxy %s: %d event streams at a time, %d events each, one every %d ms; microseconds" % (version, STREAMS, EVENTS, INTERVAL),
                 ["", "first event p50", "p99", "event under way p50", "p99", "longest stall", "first event: added to static, p50", "p99"], rows)
    report.promise("HAProxy " + version, "%d streams: p99 of the time to the first event, spoa-llm / do-nothing agent" % STREAMS,
                   ratio(results, "c", "d", "first_p99_us"), 1.1, least=False)
    return results


def run(report, haproxies, quick, rounds, seconds, bodies):
    return {"%d.%d" % harness.version_of(haproxy): measure(report, haproxy, bodies, rounds, seconds)
            for haproxy in (haproxies[-1:] if quick else haproxies)}
