"""What the benchmarks run: the upstream, the agents, and HAProxy in each of the ways that are compared, each process pinned.

HAProxy has one thread and a core of its own: its share of a core is what is measured. On two cores everything else is on the
other one; from four on the agent, the upstream and the load have one each.
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
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "rig"))
sys.path.insert(0, str(HERE))
import harness  # noqa: E402
from chat import chat  # noqa: E402

BUILD = pathlib.Path(harness.AGENT).resolve().parent
TOOLS = BUILD / "bench"
LOG_KEY = "bench0123456789"

CORES = sorted(os.sched_getaffinity(0))
PLACES = dict(zip(("haproxy", "agent", "upstream", "load"),
                  CORES[:4] if len(CORES) >= 4 else [CORES[0]] + [CORES[-1]] * 3))

# How a request is answered, in the letters of the table.
WAYS = {"a": "static routing, no inspection", "b": "json_query and a prefix map", "c": "the agent, log targets of the ledger off",
        "d": "a do-nothing agent", "l": "the agent with its ledger, all log targets on"}

ANSWER = {"id": "chatcmpl-0123456789", "object": "chat.completion", "created": 1795359320, "model": "gpt-4.1-mini",
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 80}, "finish_reason": "stop"}],
          "usage": {"prompt_tokens": 300, "completion_tokens": 80, "total_tokens": 380,
                    "prompt_tokens_details": {"cached_tokens": 128}}}


def cpu(pid):
    """CPU time in seconds of all threads of a process, from the scheduler's own account."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            total += int(pathlib.Path("/proc/%d/task/%s/schedstat" % (pid, task)).read_text().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


def pin(pid, core):
    for task in os.listdir("/proc/%d/task" % pid):
        os.sched_setaffinity(int(task), {core})


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", info)
    release = pathlib.Path("/etc/os-release").read_text()
    return "%s, %d cores, Linux %s, %s" % (name.group(1).strip() if name else platform.machine(), len(CORES), platform.release(),
                                            re.search(r'PRETTY_NAME="([^"]*)"', release).group(1))


def listening(port, process):
    def try_it():
        assert process.running(), process.tail()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True
    harness.until(try_it, 15, lambda: "nobody listens on port %d\n%s" % (port, process.tail()))


class Rig:
    """One HAProxy version: its processes, and what they are told."""

    def __init__(self, haproxy, ways="abcdl", upstream=None, answer_bytes=0, threads=1):
        self.haproxy, self.version = haproxy, harness.version_of(haproxy)
        self.dir = harness.workdir()
        self.processes, self.ports, self.pids, self.sockets = [], {}, {}, {}
        self.runs = {}      # how each HAProxy is started: arguments, environment
        self.upstream_port = harness.free_port()
        self.threads = threads
        try:
            self.start(ways, upstream, answer_bytes)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def spawn(self, name, argv, place, env=None):
        # HAProxy's log lines go where they cost nothing but their making.
        log = "/dev/null" if name.startswith("haproxy") else self.dir / (name + ".log")
        process = harness.Process(name, ["taskset", "-c", str(PLACES[place])] + [str(arg) for arg in argv], log, harness.environment(env))
        self.processes.append(process)
        return process

    def start(self, ways, upstream, answer_bytes):
        answer = json.dumps(ANSWER)
        if answer_bytes > len(answer):
            answer = json.dumps(dict(ANSWER, choices=[dict(ANSWER["choices"][0], message={
                "role": "assistant", "content": "word " * ((answer_bytes - len(answer)) // 5)})]))
        (self.dir / "answer.json").write_text(answer)
        if upstream:
            server = self.spawn("upstream", [TOOLS / "sse", "serve", "127.0.0.1", self.upstream_port] + upstream, "upstream")
        else:
            server = self.spawn("upstream", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", HERE / "upstream.cfg"], "upstream",
                                {"BENCH_BIND": "127.0.0.1:%d" % self.upstream_port, "BENCH_ANSWER": str(self.dir / "answer.json")})
        listening(self.upstream_port, server)
        self.pids["upstream"] = server.pid
        for way in ways:
            getattr(self, "start_" + way)()

    # -- the ways

    def config(self, number, **more):
        here = "http://127.0.0.1:%d" % self.upstream_port
        config = {"listen": "unix@%s/%s.sock" % (self.dir, number), "threads": self.threads, "admin_listen": "none",
                  "openai_target": here, "anthropic_target": here, "gemini_target": here,
                  "routes": [{"model_prefix": "glm-", "upstream": here, "auth": "env:OLLAMA_API_KEY"},
                             {"model_prefix": "claude-", "protocol": "anthropic"},
                             {"model_prefix": "gpt-", "upstream": here}, {"model_prefix": "*"}]}
        return harness.write_config(self.dir, dict(config, **more), number + ".json")

    def start_agent(self, way, **more):
        file = self.config(way, **more)
        process = self.spawn("agent-" + way, [harness.AGENT, "run", "-c", file], "agent", {"SPOA_LLM_LOG_KEY": LOG_KEY})
        harness.until(lambda: "event=ready" in process.text() or not process.running(), 10, "the agent is ready")
        assert process.running(), process.tail()
        self.pids["agent-" + way] = process.pid
        self.sockets[way] = "%s/%s.sock" % (self.dir, way)
        pin(process.pid, PLACES["agent"])       # a process of its own that it started too
        return file

    def workers(self, way):
        """The agent's process and those it started."""
        pids = [self.pids["agent-" + way]]
        for pid in pids:
            for task in os.listdir("/proc/%d/task" % pid):
                children = pathlib.Path("/proc/%d/task/%s/children" % (pid, task))
                if children.exists():
                    pids += [int(child) for child in children.read_text().split()]
        return pids

    def agent_cpu(self, way):
        return sum(cpu(pid) for pid in self.workers(way)) if "agent-" + way in self.pids else 0.0

    def place_agent(self, way, place):
        for pid in self.workers(way) if "agent-" + way in self.pids else []:
            pin(pid, PLACES[place])

    def backends(self, file):
        done = harness.cli("backends", "-c", file)
        assert done.code == 0, done
        return done.out

    def start_haproxy(self, way, text, env=None):
        port = harness.free_port()
        cfg = self.dir / ("haproxy-%s.cfg" % way)
        cfg.write_text(text.replace("global\n", "global\n    nbthread 1\n", 1))
        env = dict({"LLM_BIND": "127.0.0.1:%d" % port}, **harness.drop_in(), **env or {})
        fine, said = harness.accepted(self.haproxy, cfg, env)
        assert fine, said
        self.ports[way], self.runs[way] = port, (["-db", "-f", cfg], env)
        self.run_haproxy(way)

    def run_haproxy(self, way):
        argv, env = self.runs[way]
        process = self.spawn("haproxy-" + way, [self.haproxy] + argv, "haproxy", env)
        listening(self.ports[way], process)
        self.pids["haproxy-" + way] = process.pid

    def fresh_haproxies(self):
        """Others of the same, so that no median hangs on what one process met when it began."""
        for process in [one for one in self.processes if one.name.startswith("haproxy-")]:
            self.processes.remove(process)
            process.end(signal.SIGINT)
            self.run_haproxy(process.name[len("haproxy-"):])

    def plain(self, rules):
        """The frontend without inspection, with the same sizes, timeouts, wait-for-body and a log."""
        head = re.search(r"^global\n.*?(?=^# Records wait)", harness.EXAMPLE.read_text(), re.M | re.S).group()
        return head + ("frontend plain\n    bind \"$LLM_BIND\"\n    option httplog\n    http-request wait-for-body time 30s\n%s\n"
                       "backend upstream\n    http-reuse safe\n    server upstream 127.0.0.1:%d\n" % (rules, self.upstream_port))

    def start_a(self):
        self.start_haproxy("a", self.plain("    default_backend upstream\n"))

    def start_b(self):
        (self.dir / "models.map").write_text("glm- ollama\nclaude- anthropic\ngpt- upstream\n")
        self.start_haproxy("b", self.plain("    http-request set-var(txn.model) req.body,json_query('$.model')\n"
                                           "    use_backend %%[var(txn.model),map_beg(%s/models.map,none)]\n" % self.dir))

    def gateway(self, way, file, socket_path, ledger=None):
        text = harness.gateway_config(self.backends(file))
        if not ledger:
            text, dropped = re.subn(r"^    log (?:ring@llm-ledger|\"\$LLM_LOG_UDP\") .*\n", "", text, flags=re.M)
            assert dropped == 2
        self.start_haproxy(way, text, {"LLM_AGENT": "unix@" + socket_path, "LLM_SPOE_CONF": str(harness.SPOE_CONF), "SPOA_LLM_LOG_KEY": LOG_KEY,
                                       "LLM_LOG_RING": ledger or "127.0.0.1:1", "LLM_LOG_UDP": ledger or "127.0.0.1:1"})

    def start_c(self):
        file = self.start_agent("c")
        self.gateway("c", file, self.sockets["c"])

    def start_l(self):
        at = "127.0.0.1:%d" % harness.free_port()
        ledger = self.dir / "ledger"
        ledger.mkdir()
        file = self.start_agent("l", ledger=str(ledger), log_listen=[at, "udp@" + at])
        self.gateway("l", file, self.sockets["l"], at)

    def backend(self):
        return "llm-127.0.0.1:%d" % self.upstream_port

    def start_null(self, threads=1):
        """It agrees to pipelining, as the agent does by itself."""
        path = "%s/d.sock" % self.dir
        process = self.spawn("agent-d", [TOOLS / "null_agent", path, self.backend(), threads, "on"], "agent")
        harness.until(lambda: harness.accepting("unix@" + path), 10, process.tail)
        self.pids["agent-d"], self.sockets["d"] = process.pid, path

    def start_d(self):
        self.start_null()
        self.gateway("d", self.config("null"), self.sockets["d"])

    # -- load

    def wrk(self, way, body, conns, seconds):
        """One run: requests/s, p50 and p99 in microseconds, CPU seconds per 1,000 requests. wrk counts whole seconds only, so it is
        told when to stop."""
        script = self.dir / "wrk.lua"
        script.write_text(LUA)
        before = self.account(way)
        start = time.monotonic()
        run = subprocess.Popen(["taskset", "-c", str(PLACES["load"]), "wrk", "-t1", "-c%d" % conns, "-d60s", "--timeout", "10s", "-s", script,
                                "http://127.0.0.1:%d/v1/chat/completions" % self.ports[way], "--", str(body)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            time.sleep(seconds)
            run.send_signal(signal.SIGINT)
            out = run.communicate(timeout=20)[0]
        finally:
            run.kill()
            run.wait()
        spent = {name: after - before[name] for name, after in self.account(way).items()}
        found = re.search(r"^RESULT (.*)$", out, re.M)
        assert found, out
        result = json.loads(found.group(1))
        if result["requests"] == 0 and seconds < 20:    # large bodies on a machine that has other things to do
            return self.wrk(way, body, conns, 4 * seconds)
        assert result["errors"] == 0 and result["requests"] > 0, "way (%s), %s, %d connections: %s" % (way, body, conns, out)
        thousands = result["requests"] / 1000
        return {"rps": result["requests"] / result["seconds"], "p50": result["p50"], "p99": result["p99"],
                "haproxy_cpu": spent["haproxy"] / thousands, "agent_cpu": spent["agent"] / thousands,
                "busy": spent["haproxy"] / (time.monotonic() - start)}

    def account(self, way):
        return {"haproxy": cpu(self.pids["haproxy-" + way]), "agent": self.agent_cpu(way)}

    def close(self):
        for process in reversed(self.processes):
            try:
                process.end(signal.SIGINT if process.name.startswith(("haproxy", "upstream")) else signal.SIGTERM)
            except AssertionError as error:
                print(error, file=sys.stderr)
        shutil.rmtree(self.dir, ignore_errors=True)


LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer sk-bench"
wrk.headers["user-agent"] = "OpenAI/Python 1.99.1"
function init(args)
    local file = io.open(args[1], "rb")
    wrk.body = file:read("*a")
    file:close()
end
function done(summary, latency)
    local e = summary.errors
    io.write(string.format("RESULT {\\"requests\\": %d, \\"seconds\\": %.6f, \\"p50\\": %.1f, \\"p99\\": %.1f, \\"errors\\": %d}\\n",
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def bodies(sizes):
    """A file for each size, model last."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="llm-bodies-", dir="/tmp"))
    for size in sizes:
        (folder / ("%d.json" % size)).write_bytes(chat(size))
    return folder
