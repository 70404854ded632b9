"""Streams without legs, through legs and a process that only copies, and through the tap: CPU an event of each process, how long an event is under
way, memory of HAProxy and of the tap. The first number of streams leaves the cores time; the second may fill them, which the table says."""
import json
import os
import subprocess
import time

import harness
import rig
from report import middle, number, ratio
from through import SMALL
from ways import NAMES, Ways

EVENTS, INTERVAL = 100, 20      # of a stream; milliseconds between two: 50 events a second
STREAMS = (100, 500)
WAYS = "crt"


def idle(core):
    """Seconds that the core had nothing to do, since the machine started."""
    with open("/proc/stat") as file:
        fields = next(line for line in file if line.startswith("cpu%d " % core)).split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def spent(it, way):
    return dict(it.cpu(way), tap=harness.cpu_of(it.taps[way].pid) if way in it.taps else 0.0)


def one(it, way, body, streams, seconds):
    """Returns what sse tells, microseconds of CPU an event, and percent of each core that were busy."""
    run = subprocess.Popen(["taskset", "-c", str(rig.PLACES["load"]), str(rig.TOOLS / "sse"), "load", "127.0.0.1", str(it.ports[way]), body,
                            str(streams), str(seconds), str(EVENTS), str(INTERVAL)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    cores = {"proxy_core": rig.PLACES["proxy"], "load_core": rig.PLACES["load"]}
    before, begun, was_idle = spent(it, way), time.monotonic(), {name: idle(core) for name, core in cores.items()}
    try:
        out, said = run.communicate(timeout=60 + 2 * seconds)
        took, after = time.monotonic() - begun, spent(it, way)
        busy = {name: 100 * (1 - (idle(core) - was_idle[name]) / took) for name, core in cores.items()}
    finally:
        run.kill()
    assert run.returncode == 0, said
    got = dict(json.loads(out), **busy)
    for kind in after:
        got[kind + "_cpu"] = 1e6 * (after[kind] - before[kind]) / max(got["all_events"], 1)
    got["rate"] = got["events"] / seconds
    return got


def measure(report, haproxy, body, rounds, seconds):
    version, results = "%d.%d" % harness.version_of(haproxy), {}
    with Ways(haproxy, WAYS, upstream=[EVENTS, INTERVAL]) as it:
        for streams in STREAMS:
            by = results[streams] = {}
            for turn in range(rounds):
                for way in WAYS[turn % len(WAYS):] + WAYS[:turn % len(WAYS)]:
                    by.setdefault(way, []).append(one(it, way, body, streams, seconds))
    columns = ("proxy_cpu", "tap_cpu", "first_p50_us", "first_p99_us", "event_p50_us", "event_p99_us", "rate", "proxy_core", "load_core")
    for streams, by in results.items():
        report.table("tap", "HAProxy %s: %d streams at a time, 50 events a second each; microseconds" % (version, streams),
                     ["", "CPU of HAProxy an event", "CPU of the tap an event", "first event p50", "p99", "event under way p50", "p99", "events/s",
                      "HAProxy's core busy, %", "the load's, %"],
                     [[NAMES[way]] + [number(middle(by, way, key)) for key in columns] for way in WAYS])
        beside = ratio(by, "t", "r", "tap_cpu")
        report.note("tap", "CPU of the tap an event, tap / copier: %.2f; promised is 1.6 at most." % beside)
        report.promise("HAProxy " + version, "%d streams: CPU of the tap an event, tap / copier" % streams, beside, 1.6, least=False)
    return {str(streams): by for streams, by in results.items()}


def run(report, haproxies, quick, rounds, seconds, bodies):
    return {"%d.%d" % harness.version_of(haproxy): measure(report, haproxy, bodies[SMALL], rounds, seconds)
            for haproxy in (haproxies[-1:] if quick else haproxies)}
