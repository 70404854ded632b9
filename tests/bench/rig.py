"""The processes of a benchmark: starts them, pins each to a core, sends load, and adds up the CPU time that they took.

HAProxy (or nginx, or the Python gateway) has one thread and a core of its own. On two cores everything else shares the other
one; from four cores on the agent, the upstream and the load have one each.
"""
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "rig"))
import harness  # noqa: E402

TOOLS = pathlib.Path(harness.AGENT).resolve().parent / "bench"

CORES = sorted(os.sched_getaffinity(0))
PLACES = dict(zip(("proxy", "agent", "upstream", "load"),
                  CORES[:4] if len(CORES) >= 4 else [CORES[0]] + [CORES[-1]] * 3))

ANSWER = {"id": "chatcmpl-0123456789", "object": "chat.completion", "created": 1795359320, "model": "gpt-4.1-mini",
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 80}, "finish_reason": "stop"}],
          "usage": {"prompt_tokens": 300, "completion_tokens": 80, "total_tokens": 380,
                    "prompt_tokens_details": {"cached_tokens": 128}}}


def pin(pid, core):
    for task in os.listdir("/proc/%d/task" % pid):
        os.sched_setaffinity(int(task), {core})


def family(pid):
    """A process and all of its descendants."""
    pids = [pid]
    for one in pids:
        for task in os.listdir("/proc/%d/task" % one):
            children = pathlib.Path("/proc/%d/task/%s/children" % (one, task))
            if children.exists():
                pids += [int(child) for child in children.read_text().split()]
    return pids


def resident(pid):
    """KB of memory. `VmRSS` in /proc/PID/status would be up to 256 KB behind."""
    with open("/proc/%d/smaps_rollup" % pid) as file:
        return int(re.search(r"^Rss: +(\d+)", file.read(), re.M).group(1))


def stolen():
    """Milliseconds of CPU, of all cores, that the machine below a virtual one gave to others while processes here could run."""
    ticks = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]
    return 1000 * int(ticks) / os.sysconf("SC_CLK_TCK")


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", info)
    release = pathlib.Path("/etc/os-release").read_text()
    return "%s%s, %d cores, Linux %s, %s" % (
        name.group(1).strip() if name else platform.machine(), " (virtual)" if " hypervisor" in info else "", len(CORES),
        platform.release(), re.search(r'PRETTY_NAME="([^"]*)"', release).group(1))


def listening(port, process):
    def connects():
        assert process.running(), process.tail()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True
    harness.until(connects, 15, lambda: "nobody listens on port %d\n%s" % (port, process.tail()))


class Rig:
    """An upstream, and any number of gateways in front of it, each called by the letter of its way (ways.py).

    `upstream`: None for one that answers with JSON at once, the number and the interval of a stream's events, or False for none."""

    def __init__(self, upstream=None):
        self.dir = harness.workdir()
        self.processes = []
        self.ports = {}         # way -> port of its gateway
        self.proxies = {}       # way -> its HAProxy, nginx or Python
        self.agents = {}        # way -> its agent, where it has one
        self.starts = {}        # way -> how its proxy is started: arguments, environment
        self.upstream_port = harness.free_port()
        try:
            if upstream is not False:
                self.start_upstream(upstream)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def spawn(self, name, argv, place, env=None):
        # A proxy's log lines cost what it takes to make them; who keeps them is no part of the gateway.
        log = "/dev/null" if name.startswith("proxy") else self.dir / (name + ".log")
        process = harness.Process(name, ["taskset", "-c", str(PLACES[place])] + [str(arg) for arg in argv], log, harness.environment(env))
        self.processes.append(process)
        return process

    def start_upstream(self, stream):
        (self.dir / "answer.json").write_text(json.dumps(ANSWER))
        if stream:
            argv, env = [TOOLS / "sse", "serve", "127.0.0.1", self.upstream_port] + stream, None
        else:
            argv = [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", HERE / "upstream.cfg"]
            env = {"BENCH_BIND": "127.0.0.1:%d" % self.upstream_port, "BENCH_ANSWER": str(self.dir / "answer.json")}
        listening(self.upstream_port, self.spawn("upstream", argv, "upstream", env))

    def start_proxy(self, way, argv, env):
        self.starts[way] = argv, env
        process = self.proxies[way] = self.spawn("proxy-" + way, argv, "proxy", env)
        listening(self.ports[way], process)

    def restart_proxies(self):
        """Starts every proxy anew, because where a process' memory lies makes it faster or slower for all of its life."""
        for way, process in list(self.proxies.items()):
            self.processes.remove(process)
            process.end(signal.SIGINT)
            self.start_proxy(way, *self.starts[way])

    # -- what a gateway costs

    def place_agent(self, way, place):
        for pid in family(self.agents[way].pid) if way in self.agents else []:
            pin(pid, PLACES[place])

    def cpu(self, way):
        """Seconds of CPU that the gateway's processes took since they began."""
        return {kind: sum(harness.cpu_of(pid) for pid in family(of[way].pid)) if way in of else 0.0
                for kind, of in (("proxy", self.proxies), ("agent", self.agents))}

    def settle(self, way):
        """Waits until the gateway has nothing left to do, as a ledger still writes when the last answer is out. Returns its CPU."""
        end, before = time.monotonic() + 5, self.cpu(way)
        while time.monotonic() < end:
            time.sleep(0.12)
            now = self.cpu(way)
            if now["agent"] - before["agent"] < 0.0005:
                return now
            before = now
        return before

    def load(self, way, target, body, conns, requests):
        """Sends `requests` times `body` over `conns` connections. Returns requests/s, p50 and p99 in microseconds, and CPU in
        microseconds a request."""
        settles = way in self.agents
        before = self.cpu(way)
        begun = time.monotonic()
        run = subprocess.run(["taskset", "-c", str(PLACES["load"]), TOOLS / "http_load", str(self.ports[way]), target, body, str(conns), str(requests)],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        took = time.monotonic() - begun
        assert run.returncode == 0, "way (%s), %s, %d connections: %s" % (way, body, conns, run.stderr)
        at_end = self.cpu(way)
        after = self.settle(way) if settles else at_end
        got = json.loads(run.stdout)
        spent = {kind: 1e6 * (after[kind] - before[kind]) / requests for kind in after}
        return {"rps": got["requests"] / got["seconds"], "p50": got["p50"], "p99": got["p99"], "proxy_cpu": spent["proxy"],
                "agent_cpu": spent["agent"], "cpu": spent["proxy"] + spent["agent"],
                "busy": (at_end["proxy"] - before["proxy"]) / took}

    def close(self):
        for process in reversed(self.processes):
            try:
                process.end(signal.SIGINT if process.name.startswith(("proxy", "upstream")) else signal.SIGTERM)
            except AssertionError as error:
                print(error, file=sys.stderr)
        shutil.rmtree(self.dir, ignore_errors=True)
