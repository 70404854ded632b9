"""The agent alone: questions by SPOP over a unix socket, without HAProxy."""
import collections
import json
import os
import subprocess

import rig
from report import middle, number, ratio
from through import SMALL
from ways import NAMES, Ways

Shape = collections.namedtuple("Shape", "body conns inflight")
ONE_THREAD = (Shape(SMALL, 8, 20), Shape("16 KB, model last", 8, 20), Shape(SMALL, 64, 1))


def spop_load(socket, backend, body, pid, cores, **options):
    run = subprocess.run(["taskset", "-c", ",".join(map(str, cores)), str(rig.TOOLS / "spop_load"), socket, backend, body, "pid=%d" % pid]
                         + ["%s=%s" % item for item in options.items()], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, "spop_load ended with %d\n%s%s" % (run.returncode, run.stdout, run.stderr)
    got = json.loads(run.stdout)
    return {"per_s": got["frames"] / got["seconds"], "per_core": got["frames"] / got["agent_cpu"], "p50": got["p50_us"],
            "p99": got["p99_us"], "cpu_us": 1e6 * got["agent_cpu"] / got["frames"]}


def cores_for(threads):
    """Returns the cores of the agent and those of the load. One thread has a core of its own. If no core would be left for the load, both share all of them."""
    if threads < len(rig.CORES):
        return rig.CORES[-threads:], rig.CORES[:-threads] if threads > 1 else rig.CORES[:1]
    return rig.CORES, rig.CORES


def measure(threads, bodies, rounds, seconds):
    """Returns shape -> way -> figures of each round."""
    results = {}
    with Ways(None, "", threads=threads) as it:
        it.start_agent("c")
        it.start_null(threads)
        of_agent, of_load = cores_for(threads)
        for way in "cd":
            for pid in rig.family(it.agents[way].pid):
                for task in os.listdir("/proc/%d/task" % pid):
                    os.sched_setaffinity(int(task), of_agent)
        for turn in range(rounds):
            for shape in ONE_THREAD if threads == 1 else (Shape(SMALL, 8 * threads, 20),):
                for way in ("cd", "dc")[turn % 2]:
                    got = spop_load(it.sockets[way], it.backend(), bodies[shape.body], rig.family(it.agents[way].pid)[-1], of_load, conns=shape.conns,
                                    inflight=shape.inflight, seconds=seconds, threads=min(threads, max(1, len(of_load))))
                    results.setdefault(shape, {}).setdefault(way, []).append(got)
    return results


def run(report, quick, rounds, seconds, bodies):
    results = {threads: measure(threads, bodies, rounds, seconds) for threads in ((1,) if quick else (1, 2))}
    rows = [[shape.body, threads, "%d x %d" % (shape.conns, shape.inflight), NAMES[way], number(middle(of, way, "per_s")), number(middle(of, way, "per_core")),
             "%.2f" % ratio(of, way, "d", "per_core"), "%.2f" % middle(of, way, "cpu_us"), number(middle(of, way, "p50")), number(middle(of, way, "p99"))]
            for threads, shapes in results.items() for shape, of in shapes.items() for way in "cd"]
    report.table("alone", "The agent alone: SPOP on a unix socket, no HAProxy", [
        "body", "threads", "connections x in flight", "", "decisions/s", "for each second of CPU", "beside do-nothing", "CPU us", "p50 us", "p99 us"], rows)
    first = results[1][ONE_THREAD[0]]
    report.promise("the agent alone", "1 KB, pipelined: decisions for each second of CPU, spoa-llm / do-nothing agent", ratio(first, "c", "d", "per_core"), 0.6)
    if 2 in results:
        # Where the load has no core left, what two cores would do is told by the CPU time that a decision takes.
        shared, two = len(rig.CORES) < 3, next(iter(results[2].values()))
        key = "per_core" if shared else "per_s"
        report.promise("the agent alone", "decisions/s of two threads on two cores / of one on one" + (", by CPU time" if shared else ""),
                       (2 if shared else 1) * middle(two, "c", key) / middle(first, "c", key), 1.6)
    return [dict(shape._asdict(), threads=threads, rounds=of) for threads, shapes in results.items() for shape, of in shapes.items()]
