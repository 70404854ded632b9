"""`make bench`: what the gateway adds, each figure beside what it is compared with, in one run.

    python3 tests/bench/bench.py [--quick] [--haproxy PATH ...] [--only through,alone,streams] [--rounds N] [--seconds S]

Rounds alternate: in each one every way of answering has its turn, so that a machine whose speed changes changes all of them.
What is shown is the median over the rounds, and of each ratio the median of the rounds' own ratios. Ends with exit 1 where a
figure falls short of what the gateway promises; results.json and results.md are in build/bench.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rig  # noqa: E402
from rig import harness  # noqa: E402

KB = 1024
SIZES = {"1 KB": KB, "16 KB": 16 * KB, "128 KB": 128 * KB, "900 KB": 900 * KB}

# Body, connections, ways, where the agent is.
FULL = [(size, conns, "abcd" + ("l" if size == "1 KB" and conns == 64 else ""), "agent") for conns in (64, 1) for size in SIZES] + [
    ("1 KB", 1, "acd", "haproxy")]
QUICK = [("1 KB", 64, "abcdl", "agent"), ("16 KB", 64, "bc", "agent"), ("128 KB", 64, "bc", "agent"), ("900 KB", 64, "bc", "agent"),
         ("1 KB", 1, "acd", "agent")]
STREAMS, EVENTS, INTERVAL = 500, 20, 100


def median(values):
    return statistics.median(values)


class Report:
    """Lines for a person and a list of promises."""

    def __init__(self):
        self.lines, self.promises = [], []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def table(self, head, rows):
        widths = [max(len(str(row[i])) for row in [head] + rows) for i in range(len(head))]
        self.say("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(head, widths)) + " |")
        self.say("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        for row in rows:
            self.say("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
        self.say()

    def promise(self, version, what, value, bound, least=True, unit="", aside=""):
        ok = value >= bound if least else value <= bound
        self.promises.append({"haproxy": version, "what": what, "value": value, "bound": bound, "least": least, "unit": unit, "ok": ok,
                              "aside": aside})


def ratio(rounds, over, under, key="rps"):
    """Median of the rounds' own ratios."""
    return median([x[key] / y[key] for x, y in zip(rounds[over], rounds[under])])


def by_cpu(rounds, over, under):
    """The same ratio as HAProxy's CPU time has it: what it would be if HAProxy had had its core to itself. And whether it had."""
    return "%.2f by CPU time; busy %.0f, %.0f %%" % (ratio(rounds, under, over, "haproxy_cpu"), 100 * median([x["busy"] for x in rounds[over]]),
                                                100 * median([x["busy"] for x in rounds[under]]))


def added(rounds, way, key="p50"):
    return median([x[key] - y[key] for x, y in zip(rounds[way], rounds["a"])])


# ---- through HAProxy


def through(report, haproxy, cells, rounds, seconds, bodies):
    version = "%d.%d" % harness.version_of(haproxy)
    results = {}
    with rig.Rig(haproxy) as it:
        for number in range(rounds):
            fresh = number > 0 and seconds >= 0.5       # bench-quick has no time for it
            if fresh:
                it.fresh_haproxies()
            for way in it.ports if fresh or number == 0 else ():        # the first requests of a process are not its usual ones
                it.wrk(way, bodies / ("%d.json" % KB), 64, 0.3)
            for size, conns, ways, place in cells:
                for way in ways[number % len(ways):] + ways[:number % len(ways)]:
                    it.place_agent(way, place)
                    # Of large bodies few are answered, and what is under way at the end must not count for much.
                    got = it.wrk(way, bodies / ("%d.json" % SIZES[size]), conns, max(seconds, 0.8 if SIZES[size] > 500 * KB else 0))
                    results.setdefault((size, conns, place), {}).setdefault(way, []).append(got)
                    it.place_agent(way, "agent")
    rows = []
    for (size, conns, place), of in results.items():
        for way in sorted(of):
            mine = {key: median([one[key] for one in of[way]]) for key in of[way][0]}
            rows.append([size, conns, "(%s)" % way, "%d" % mine["rps"],
                         "%.2f" % ratio(of, way, "a") if "a" in of else "", "%.2f" % ratio(of, way, "b") if "b" in of else "",
                         "%.2f" % ratio(of, way, "d") if "d" in of else "", "%.0f" % mine["p50"], "%.0f" % mine["p99"],
                         "%.1f" % (1e3 * mine["haproxy_cpu"]), "%.1f" % (1e3 * mine["agent_cpu"]) if way in "cdl" else "",
                         "%.0f %%" % (100 * mine["busy"]), "%d, %d" % (rig.PLACES["haproxy"], rig.PLACES[place]) if way in "cdl"
                         else "%d" % rig.PLACES["haproxy"]])
    report.say("### Through HAProxy %s, model last\n" % version)
    report.table(["body", "connections", "", "requests/s", "/ (a)", "/ (b)", "/ (d)", "p50 us", "p99 us", "HAProxy ms CPU/1000",
                  "agent ms CPU/1000", "HAProxy busy", "core of HAProxy, agent"], rows)
    small, one = results[("1 KB", 64, "agent")], results[("1 KB", 1, "agent")]
    report.promise(version, "1 KB, 64 connections: requests/s of (c) / (d)", ratio(small, "c", "d"), 0.97, aside=by_cpu(small, "c", "d"))
    report.promise(version, "the same with the ledger's log targets, (l) / (d)", ratio(small, "l", "d"), 0.85, aside=by_cpu(small, "l", "d"))
    sampled = harness.version_of(haproxy) >= (3, 0)
    for size in list(SIZES)[1:]:
        of = results[(size, 64, "agent")]
        report.promise(version, "%s, 64 connections: requests/s of (c) / (b)" % size, ratio(of, "c", "b"),
                       2.5 if sampled and SIZES[size] >= 128 * KB else 1.0, aside=by_cpu(of, "c", "b"))
    report.promise(version, "1 KB, 1 connection: p50 that (c) adds to (a) / that (d) adds", median([
        (c["p50"] - a["p50"]) / max(d["p50"] - a["p50"], 1) for a, c, d in zip(one["a"], one["c"], one["d"])]), 1.1, least=False)
    report.promise(version, "agent's CPU per decision, (c) / (d)", ratio(small, "c", "d", "agent_cpu"), 1.3, least=False)
    report.promise(version, "agent's CPU per decision", 1e3 * median([x["agent_cpu"] for x in small["c"]]), 5, least=False, unit=" us")
    ledger = {"haproxy_us": 1e3 * median([x["haproxy_cpu"] - y["haproxy_cpu"] for x, y in zip(small["l"], small["c"])]),
              "agent_us": 1e3 * median([x["agent_cpu"] - y["agent_cpu"] for x, y in zip(small["l"], small["c"])])}
    report.say("Recording every request, 1 KB at 64 connections: %+.1f us of HAProxy's CPU, %+.1f us of the agent's.\n" % (
        ledger["haproxy_us"], ledger["agent_us"]))
    return {"cells": [{"body": size, "connections": conns, "agent_on_core": rig.PLACES[place], "rounds": of}
                      for (size, conns, place), of in results.items()], "ledger": ledger}


# ---- the agent alone


def spop_load(path, backend, body, pid, cores, **options):
    run = subprocess.run(["taskset", "-c", ",".join(map(str, cores)), str(rig.TOOLS / "spop_load"), path, backend, str(body), "pid=%d" % pid]
                         + ["%s=%s" % item for item in options.items()], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, "spop_load ended with %d\n%s%s" % (run.returncode, run.stdout, run.stderr)
    got = json.loads(run.stdout)
    return {"per_s": got["frames"] / got["seconds"], "per_core": got["frames"] / got["agent_cpu"], "p50": got["p50_us"],
            "p99": got["p99_us"], "cpu_us": 1e6 * got["agent_cpu"] / got["frames"]}


def alone(report, bodies, rounds, seconds, thread_counts):
    results = {}
    for threads in thread_counts:
        with rig.Rig(shutil.which("haproxy") or "/usr/sbin/haproxy", ways="", threads=threads) as it:
            it.start_agent("c")
            it.start_null(threads)
            # One thread has a core of its own, and the load another; more than there are cores share all of them.
            cores = rig.CORES
            if threads == 1:
                agent_cores, load_cores = [cores[-1]], [cores[0]]
            elif threads < len(cores):
                agent_cores, load_cores = cores[-threads:], cores[:-threads]
            else:
                agent_cores = load_cores = cores
            for way in "cd":
                for pid in it.workers(way):
                    subprocess.run(["taskset", "-a", "-p", "-c", ",".join(map(str, agent_cores)), str(pid)], check=True, stdout=subprocess.DEVNULL)
            shapes = [("1 KB", KB, 8, 20), ("16 KB", 16 * KB, 8, 20), ("1 KB", KB, 64, 1)] if threads == 1 else [("1 KB", KB, 8 * threads, 20)]
            for number in range(rounds):
                for name, size, conns, inflight in shapes:
                    for way in ("cd", "dc")[number % 2]:
                        got = spop_load(it.sockets[way], it.backend(), bodies / ("%d.json" % size), it.workers(way)[-1], load_cores,
                                        conns=conns, inflight=inflight, seconds=seconds, threads=min(threads, max(1, len(load_cores))))
                        results.setdefault((name, threads, conns, inflight, ",".join(map(str, agent_cores)), ",".join(map(str, load_cores))),
                                           {}).setdefault(way, []).append(got)
    rows = []
    for (name, threads, conns, inflight, agent_cores, load_cores), of in results.items():
        for way in "cd":
            mine = {key: median([one[key] for one in of[way]]) for key in of[way][0]}
            rows.append([name, threads, "%d x %d" % (conns, inflight), "(%s)" % way, "%d" % mine["per_s"], "%d" % mine["per_core"],
                         "%.2f" % ratio(of, way, "d", "per_core"), "%.2f" % mine["cpu_us"], "%.0f" % mine["p50"], "%.0f" % mine["p99"],
                         "%s; %s" % (agent_cores, load_cores)])
    report.say("### The agent alone, SPOP on a unix socket, no HAProxy\n")
    report.table(["body", "threads", "connections x in flight", "", "decisions/s", "per core", "/ (d)", "CPU us each", "p50 us", "p99 us",
                  "cores of agent; load"], rows)
    first = next(of for (name, threads, conns, *_), of in results.items() if name == "1 KB" and threads == 1 and conns == 8)
    report.promise("", "alone, 1 KB, pipelined: decisions/s of a core", median([x["per_core"] for x in first["c"]]), 1e6)
    report.promise("", "the same, (c) / (d)", ratio(first, "c", "d", "per_core"), 0.6)
    two = next((of for (name, threads, *_), of in results.items() if name == "1 KB" and threads == 2), None)
    if two:
        # Where the load has no core left, what two cores would do is told by the CPU time that a decision takes.
        shared = len(rig.CORES) < 3
        of_two, of_one = (median([x["per_core" if shared else "per_s"] for x in of["c"]]) for of in (two, first))
        report.promise("", "decisions/s of two threads on two cores, over one thread's on one" + (", by CPU time" if shared else ""),
                       (2 if shared else 1) * of_two / of_one, 1.6)
    return [{"body": key[0], "threads": key[1], "connections": key[2], "in_flight": key[3], "rounds": of} for key, of in results.items()]


# ---- streams


def streams(report, haproxy, bodies, rounds, seconds):
    version = "%d.%d" % harness.version_of(haproxy)
    results = {}
    with rig.Rig(haproxy, "acdl", upstream=[EVENTS, INTERVAL]) as it:
        ways = "acdl" if rounds > 1 else "acl"  # (d) tells what of it is SPOE's; bench-quick has no second for that
        for number in range(rounds):
            for way in ways[number % len(ways):] + ways[:number % len(ways)]:
                run = subprocess.run(["taskset", "-c", str(rig.PLACES["load"]), str(rig.TOOLS / "sse"), "load", "127.0.0.1", str(it.ports[way]),
                                      str(bodies / ("%d.json" % KB)), str(STREAMS), str(seconds), str(EVENTS), str(INTERVAL)],
                                     stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 + 2 * seconds)
                assert run.returncode == 0, run.stderr
                results.setdefault(way, []).append(json.loads(run.stdout))
    rows = []
    for way in sorted(results):
        mine = {key: median([one[key] for one in results[way]]) for key in results[way][0]}
        rows.append(["(%s)" % way, mine["began"]] + ["%.0f" % mine[key] for key in ("first_p50_us", "first_p99_us", "event_p50_us", "event_p99_us",
                                                                                     "stall_us")] +
                    ["%.0f" % added(results, way, "first_p50_us"), "%.0f" % added(results, way, "first_p99_us")])
    report.say("### %d event streams at a time through HAProxy %s, %d events each, one every %d ms\n" % (STREAMS, version, EVENTS, INTERVAL))
    report.table(["", "streams begun", "first event p50 us", "p99 us", "event under way p50 us", "p99 us", "longest stall us",
                  "added to the first event p50 us", "p99 us"], rows)
    report.promise(version, "%d streams: time to the first event that (c) adds to (a), p99" % STREAMS, added(results, "c", "first_p99_us") / 1e3, 0.3,
                   least=False, unit=" ms")
    return results


# ---- all of it


def haproxies(given):
    """The machine's own, and 3.2 from Debian sid."""
    if given:
        return given
    own = shutil.which("haproxy") or "/usr/sbin/haproxy"
    sid = harness.ROOT / "build" / "haproxy" / "sid" / "haproxy"
    if not sid.exists():
        subprocess.run([str(harness.ROOT / "tests" / "tools" / "haproxy-get"), "sid", str(sid.parent.parent)], stdout=subprocess.DEVNULL)
    if not sid.exists():
        print("HAProxy of Debian sid cannot be had: only the machine's own is measured.", file=sys.stderr)
        return [own]
    return [own, str(sid)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own and Debian sid's; may be repeated")
    parser.add_argument("--only", default="through,alone,streams")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    args = parser.parse_args()
    rounds, seconds = args.rounds or (3 if args.quick else 7), args.seconds or (0.25 if args.quick else 1.0)
    only = args.only.split(",")
    report, results, begun = Report(), {}, time.time()
    versions = haproxies(args.haproxy)
    bodies = rig.bodies(SIZES.values())
    try:
        report.say("%s, %s. Medians of %d alternating rounds of %g s. Cores: HAProxy (one thread) %d, agent %d, upstream %d, load %d.\n" % (
            time.strftime("%Y-%m-%d"), rig.machine(), rounds, seconds, *(rig.PLACES[name] for name in ("haproxy", "agent", "upstream", "load"))))
        report.say("; ".join("(%s) %s" % item for item in rig.WAYS.items()) + ".\n")
        for haproxy in versions:
            name = "%d.%d" % harness.version_of(haproxy)
            if "through" in only:
                results["through " + name] = through(report, haproxy, QUICK if args.quick else FULL, rounds, seconds, bodies)
            if "streams" in only and (haproxy == versions[-1] or not args.quick):
                results["streams " + name] = streams(report, haproxy, bodies, 1 if args.quick else min(rounds, 5), 1.5 if args.quick else 5)
        if "alone" in only:
            counts = (1,) if args.quick else (1, 2, 3, 4)
            results["alone"] = alone(report, bodies, rounds, min(seconds, 1.0), counts)
    finally:
        shutil.rmtree(bodies, ignore_errors=True)
    report.say("### What is promised\n")
    report.table(["HAProxy", "", "measured", "promised", "", "HAProxy's core"], [
        [one["haproxy"], one["what"], ("%.0f%s" if one["value"] >= 1000 else "%.2f%s") % (one["value"], one["unit"]),
         ("at least " if one["least"] else "at most ") + "%g%s" % (one["bound"], one["unit"]), "kept" if one["ok"] else "FALLS SHORT", one["aside"]]
        for one in report.promises])
    missed = [one for one in report.promises if not one["ok"]]
    rig.TOOLS.mkdir(parents=True, exist_ok=True)
    (rig.TOOLS / "results.md").write_text("\n".join(report.lines) + "\n")
    (rig.TOOLS / "results.json").write_text(json.dumps({
        "machine": rig.machine(), "places": rig.PLACES, "rounds": rounds, "seconds": seconds, "ways": rig.WAYS, "promises": report.promises,
        "results": results}, indent=1) + "\n")
    print("%d of %d kept; %.0f s; %s" % (len(report.promises) - len(missed), len(report.promises), time.time() - begun, rig.TOOLS / "results.json"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
