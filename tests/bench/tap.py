"""Streams without legs, through legs and a process that only copies, and through the tap: CPU an event of each process, how long an event is under
way, memory of the tap."""
import json
import subprocess

import harness
import rig
from report import middle, number, ratio
from through import SMALL
from ways import NAMES, Ways

EVENTS, INTERVAL = 100, 20      # of a stream; milliseconds between two: 50 events a second
STREAMS = (100, 500)
WAYS = "crt"


def resident(pid):
    """KB."""
    with open("/proc/%d/status" % pid) as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1])


def spent(it, way):
    return dict(it.cpu(way), tap=harness.cpu_of(it.taps[way].pid) if way in it.taps else 0.0)


def one(it, way, body, streams, seconds):
    """Returns what sse tells, and microseconds of CPU an event."""
    before = spent(it, way)
    run = subprocess.Popen(["taskset", "-c", str(rig.PLACES["load"]), str(rig.TOOLS / "sse"), "load", "127.0.0.1", str(it.ports[way]), body,
                            str(streams), str(seconds), str(EVENTS), str(INTERVAL)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, said = run.communicate(timeout=60 + 2 * seconds)
    finally:
        run.kill()
    after = spent(it, way)
    assert run.returncode == 0, said
    got = json.loads(out)
    for kind in after:
        got[kind + "_cpu"] = 1e6 * (after[kind] - before[kind]) / max(got["all_events"], 1)
    got["memory"] = resident(it.taps[way].pid) if way in it.taps else 0
    return got


def measure(report, haproxy, body, rounds, seconds):
    version, results = "%d.%d" % harness.version_of(haproxy), {}
    with Ways(haproxy, WAYS, upstream=[EVENTS, INTERVAL]) as it:
        at_rest = {way: resident(tap.pid) for way, tap in it.taps.items()}
        for streams in STREAMS:
            by = results[streams] = {}
            for turn in range(rounds):
                for way in WAYS[turn % len(WAYS):] + WAYS[:turn % len(WAYS)]:
                    by.setdefault(way, []).append(one(it, way, body, streams, seconds))
    for streams, by in results.items():
        rows = [[NAMES[way]] + [number(middle(by, way, key)) for key in ("proxy_cpu", "tap_cpu", "first_p50_us", "first_p99_us", "event_p50_us", "event_p99_us")] +
                [number((middle(by, way, "memory") - at_rest[way]) / streams) if way in at_rest else ""] for way in WAYS]
        report.table("tap", "HAProxy %s: %d streams at a time, 50 events a second each; microseconds" % (version, streams),
                     ["", "CPU of HAProxy an event", "CPU of the tap an event", "first event p50", "p99", "event under way p50", "p99", "KB of the tap a stream"], rows)
        report.promise("HAProxy " + version, "%d streams: CPU of the tap an event, tap / copier" % streams, ratio(by, "t", "r", "tap_cpu"), 1.6, least=False)
    return {str(streams): by for streams, by in results.items()}


def run(report, haproxies, quick, rounds, seconds, bodies):
    return {"%d.%d" % harness.version_of(haproxy): measure(report, haproxy, bodies[SMALL], rounds, seconds)
            for haproxy in (haproxies[-1:] if quick else haproxies)}
