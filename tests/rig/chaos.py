"""Faults on purpose, and traffic whose every byte is accounted for while they happen.

`World` is a gateway with three upstreams (credential replaced, replaced under another header, passed through), a ledger, and
a `Cutter` between HAProxy and the agent. `Traffic` sends requests of all families and keeps what it sent; `audit()` then goes through
everything that the upstreams received: each request at its own upstream only, once, with its own credential, to the byte.
A request that failed may have reached its upstream, in part if its upstream broke off, or nobody. `FAULTS` are functions of
(world, random): each does its harm, waits a little, and repairs it."""
import collections
import json
import os
import pathlib
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time

import evidence
import harness
import spop
from upstream import Mock

LOG_KEY = harness.secret("chaos-log-key")


def tree(pid):
    """The process and its children: `spoa-llm run` is a master with a worker."""
    pids = [pid]
    for at in pids:
        try:
            for task in os.listdir("/proc/%d/task" % at):
                pids += [int(child) for child in pathlib.Path("/proc/%d/task/%s/children" % (at, task)).read_text().split()]
        except OSError:
            pass
    return pids


class Cutter:
    """A unix socket in front of the agent's. `cut(after)`: each connection is reset `after` bytes of the agent's from now, in the
    middle of a frame as likely as not; `drip`: seconds between small pieces."""

    def __init__(self, path, target):
        self.path, self.target, self.drip, self.left = path, target, 0.0, None
        self.pairs = set()
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.settimeout(2)
                far.connect(self.target)
                far.settimeout(None)
            except OSError:
                near.close()
                far.close()
                continue
            with self.lock:
                self.pairs.add((near, far))
            for one, other, counted in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=(one, other, counted, (near, far)), daemon=True).start()

    def _pump(self, one, other, counted, pair):
        try:
            while True:
                data = one.recv(65536)
                if not data:
                    break
                if counted and self.left is not None:
                    with self.lock:
                        allowed = min(self.left, len(data))
                        self.left -= allowed
                    other.sendall(data[:allowed])
                    if allowed < len(data):
                        self._reset(pair)
                        return
                elif self.drip:
                    for at in range(0, len(data), 7):
                        other.sendall(data[at:at + 7])
                        if at < 70:
                            time.sleep(self.drip)
                else:
                    other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset(pair)

    def _reset(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for sock in pair:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self, after):
        self.left = after

    def mend(self):
        self.left, self.drip = None, 0.0

    def reset_all(self):
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self._reset(pair)

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.reset_all()


class World:
    """The gateway under test, and what a fault may take hold of."""

    def __init__(self, haproxy, clock=False):
        self.home = harness.workdir()
        self.disk = self.home / "disk"
        self.disk.mkdir()
        self.mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(self.disk)], stderr=subprocess.DEVNULL).returncode == 0
        self.mocks = [Mock(name) for name in ("bearer", "keyed", "through")]
        self.bearer, self.keyed, self.through = self.mocks
        self.keys = {"bearer": harness.secret("chaos-bearer"), "keyed": harness.secret("chaos-keyed")}
        self.client = harness.secret("chaos-client")
        (self.home / "credential").write_text(self.keys["keyed"] + "\n")
        port = harness.free_port()
        address = "127.0.0.1:%d" % port
        config = {"routes": [{"model_prefix": "b-", "upstream": self.bearer.url(), "auth": "env:CHAOS_BEARER"},
                             {"model_prefix": "k-", "upstream": self.keyed.url("/base"), "auth": "file:%s" % (self.home / "credential"),
                              "auth_header": "x-api-key"},
                             {"model_prefix": "t-", "upstream": self.through.url(), "auth": "passthrough"},
                             {"model_prefix": "none-", "upstream": self.bearer.url("/none"), "auth": "env:CHAOS_UNSET"}],
                  "ledger": str(self.disk), "log_listen": [address, "udp@" + address], "journal_max": 16 << 20}
        env = {"CHAOS_BEARER": self.keys["bearer"], "SPOA_LLM_LOG_KEY": LOG_KEY}
        self.clock = None
        # A sanitizer's runtime wants to be the first library.
        if clock and "asan" not in harness.AGENT and "tsan" not in harness.AGENT:
            self.clock = self.home / "clock"
            self.move_clock(0)
            env.update(LD_PRELOAD=str(harness.ROOT / "build" / "clock.so"), TEST_CLOCK=str(self.clock))
        real = str(self.home / "agent.sock")
        self.cutter = Cutter(str(self.home / "cut.sock"), real)
        self.statuses = collections.Counter()
        owners = {self.keys["bearer"]: [self.bearer], self.keys["keyed"]: [self.keyed], self.client: [self.through], LOG_KEY: []}
        try:
            self.gateway = harness.Gateway(haproxy, self.mocks, dict(config, listen="unix@" + real), env=env, owners=owners,
                                           limits={"LLM_AGENT": "unix@" + self.cutter.path, "LLM_BUFSIZE": "65536", "LLM_LOG_RING": address,
                                                   "LLM_LOG_UDP": address, "SPOA_LLM_LOG_KEY": LOG_KEY})
        except BaseException:
            self._clean()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.gateway.close(quiet=kind is not None)
            if kind is None:
                self.check_files()
        finally:
            self._clean()

    def _clean(self):
        self.cutter.close()
        for mock in self.mocks:
            mock.close()
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)
        evidence.discard(self.home)

    def move_clock(self, seconds):
        with open(self.clock, "r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))

    def check_files(self):
        """No credential in the ledger or its journal."""
        for path in self.disk.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                found = [name for value, name in harness.SECRETS.items() if value.encode() in data]
                assert not found, "%s holds the credentials %s" % (path.name, found)

    def pids(self):
        return tree(self.gateway.agent.process.pid)

    def signal(self, number):
        """To the agent and what it started."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def agent_back(self):
        self.gateway.agent.close(quiet=True)
        self.gateway.agent.process.check()
        self.gateway.start_agent()


# ---- faults


def pause(rng, most=0.6):
    time.sleep(rng.uniform(0.05, most))


def agent_killed(world, rng):
    pids = world.pids()
    world.gateway.agent.kill()
    for pid in pids[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    pause(rng)
    world.agent_back()


def worker_killed(world, rng):
    """Its master starts another."""
    for _ in range(rng.randrange(1, 3)):
        for pid in world.pids()[1:]:
            try:
                os.kill(pid, rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]))
            except ProcessLookupError:
                pass
        pause(rng)


def agent_upgraded(world, rng):
    """One worker hands its connections to the next; sometimes one of the two is killed on the way."""
    for _ in range(rng.randrange(1, 4)):
        world.gateway.agent.process.popen.send_signal(signal.SIGUSR2)
        pause(rng)
        if rng.random() < .2:
            try:
                os.kill(rng.choice(world.pids()[1:] or [0x7fffffff]), signal.SIGKILL)
            except ProcessLookupError:
                pass


def agent_restarted(world, rng):
    world.gateway.agent.process.end()
    world.gateway.agent.process.check()
    pause(rng, 0.2)
    world.gateway.start_agent()


def agent_stopped(world, rng):
    world.signal(signal.SIGSTOP)
    try:
        pause(rng, 2.6)     # beyond `timeout processing` too
    finally:
        world.signal(signal.SIGCONT)


def agent_slow(world, rng):
    for _ in range(rng.randrange(3, 12)):
        world.signal(signal.SIGSTOP)
        time.sleep(rng.uniform(0.01, 0.15))
        world.signal(signal.SIGCONT)
        time.sleep(rng.uniform(0.001, 0.02))


def agent_reloaded(world, rng):
    for _ in range(rng.randrange(1, 5)):
        world.gateway.agent.process.kill(signal.SIGHUP)
        pause(rng, 0.1)


def sockets_cut(world, rng):
    for _ in range(rng.randrange(1, 5)):
        world.cutter.cut(rng.randrange(0, 2000))
        pause(rng, 0.3)
        world.cutter.mend()


def sockets_reset(world, rng):
    for _ in range(rng.randrange(1, 5)):
        world.cutter.reset_all()
        pause(rng, 0.2)


def sockets_dripping(world, rng):
    world.cutter.drip = rng.uniform(0.001, 0.05)
    pause(rng)
    world.cutter.mend()


def upstream_down(world, rng):
    mock = rng.choice(world.mocks)
    mock.down()
    pause(rng)
    mock.up()


def upstream_slow(world, rng):
    mock = rng.choice(world.mocks)
    mock.delay = rng.uniform(0.05, 0.6)
    pause(rng)
    mock.delay = 0.0


def upstream_breaks_off(world, rng):
    mock = rng.choice(world.mocks)
    mock.break_after = rng.randrange(0, 2)
    pause(rng)
    mock.break_after = None


def upstream_talks_nonsense(world, rng):
    mock = rng.choice(world.mocks)
    mock.raw = rng.choice([b"", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"\x00" * 200,
                           b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 9000])
    pause(rng)
    mock.raw = None


def haproxy_reloaded(world, rng):
    gateway = world.gateway
    for _ in range(rng.randrange(1, 3)):
        before = gateway.haproxy
        after = harness.Process("haproxy", [gateway.haproxy_binary, "-db", "-f", str(gateway.cfg), "-sf", str(before.pid)],
                                gateway.dir / ("haproxy-%d.log" % time.monotonic_ns()), harness.environment(gateway.haproxy_env))
        gateway.haproxy = after
        try:
            before.wait(5)
        except subprocess.TimeoutExpired:
            pass    # streams of clients that do not end; `-sf` lets them
        before.end(signal.SIGTERM)
        before.check()
        pause(rng, 0.2)


def disk_full(world, rng):
    if not world.mounted:
        return
    filler = os.open(world.disk / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(filler, b"x" * 4096):
            pass
    except OSError:
        pass
    os.close(filler)
    pause(rng)
    os.unlink(world.disk / "filler")


def clock_set(world, rng):
    if not world.clock:
        return
    for _ in range(rng.randrange(1, 4)):
        world.move_clock(rng.choice([-86400, -3600, -2, 0, 30, 400 * 86400, -3650 * 86400]))
        pause(rng, 0.3)
    world.move_clock(0)


def credential_replaced(world, rng):
    """The same one again, by writing in place, by a rename, and by being away for a moment."""
    path = world.home / "credential"
    how = rng.randrange(3)
    if how == 0:
        path.write_text(world.keys["keyed"] + "\n")
    elif how == 1:
        (world.home / "next").write_text(world.keys["keyed"])
        (world.home / "next").rename(path)
    else:
        path.rename(world.home / "away")
        pause(rng, 1.5)
        (world.home / "away").rename(path)


def out_of_descriptors(world, rng):
    """Fewer than are open now: nothing can be accepted or opened."""
    before = {}
    for pid in world.pids():
        try:
            soft, hard = before[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(soft, rng.randrange(4, 12)), hard))
        except OSError:
            pass
    world.cutter.reset_all()
    pause(rng, 1.2)
    for pid in set(world.pids()) | set(before):     # a worker that was started meanwhile has its master's
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before.get(pid) or max(before.values()))
        except OSError:
            pass


def strangers(world, rng):
    """Others on the agent's socket: bytes that are no SPOP, frames cut short, greetings and nothing more."""
    held = []
    for _ in range(rng.randrange(5, 60)):
        try:
            sock = spop.connect("unix@" + world.cutter.target, 1)
            sock.sendall(rng.choice([b"GET / HTTP/1.1\r\n\r\n", os.urandom(rng.randrange(1, 300)), spop.hello(), spop.hello()[:20],
                                     spop.hello() + spop.notify(spop.question(b'{"model":"b-1"}'))[:-9], b"\xff\xff\xff\xff"]))
            held.append(sock)
        except OSError:
            pass
    pause(rng, 0.3)
    for sock in held:
        sock.close()


FAULTS = [agent_killed, worker_killed, agent_upgraded, agent_restarted, agent_stopped, agent_slow, agent_reloaded, sockets_cut, sockets_reset, sockets_dripping,
          upstream_down, upstream_slow, upstream_breaks_off, upstream_talks_nonsense, haproxy_reloaded, disk_full, clock_set,
          credential_replaced, out_of_descriptors, strangers]


# ---- traffic


class Sent:
    __slots__ = ("tag", "family", "body", "path", "status", "mock", "cut")

    def __init__(self, tag, family, body, path):
        self.tag, self.family, self.body, self.path = tag, family, body, path
        self.status = self.mock = None
        self.cut = False


EXPECTED = {"b": "bearer", "k": "keyed", "t": "through", "none": None}
PATHS = {"/v1/chat/completions": "json", "/v1/messages": "json", "/v1/responses": "json", "/v1/embeddings": "json",
         "/v1/audio/transcriptions": "form"}


class Traffic:
    """`threads` clients, each with one connection after the other."""

    def __init__(self, world, seed, threads=6, rate=40):
        self.world, self.stop = world, threading.Event()
        self.sent, self.broken, self.lock = {}, [], threading.Lock()
        self.gap = threads / rate
        self.threads = [threading.Thread(target=self._run, args=(random.Random("%s-%d" % (seed, n)), n), daemon=True)
                        for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def _make(self, rng, n, at):
        family = rng.choice(["b", "k", "t", "b", "k", "t", "none"])
        model = "%s-%d" % (family, rng.randrange(1000))
        filler = "".join(rng.choice("abc\u00e9\"\\ {}:,") for _ in range(rng.choice([0, 10, 200, 3000])))
        pairs = [("model", model), ("messages", [{"role": "user", "content": filler}]), ("n", rng.random())]
        if rng.random() < .3:
            pairs.append(("stream", True))
        rng.shuffle(pairs)
        path = rng.choice(list(PATHS))
        ctype = "application/json"
        body = json.dumps(dict(pairs)).encode()
        if PATHS[path] == "form":
            ctype = "multipart/form-data; boundary=xx"
            body = (b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + rng.randbytes(rng.randrange(2000)).replace(b"--xx", b"")
                    + b'\r\n--xx\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + model.encode() + b"\r\n--xx--\r\n")
        headers = [("Host", "gw.test"), ("Content-Type", ctype), ("Authorization", "Bearer " + self.world.client),
                   ("x-api-key", self.world.client), ("Cookie", "a=" + self.world.client)]
        if rng.random() < .3:
            headers = headers[:3]
        sent = Sent("c%d-%d-%08x" % (n, at, rng.getrandbits(32)), family, body, path)
        return sent, headers + [("x-client-request-id", sent.tag)]

    def _run(self, rng, n):
        connection, at, due = None, 0, time.monotonic()
        while not self.stop.is_set():
            due = max(due + self.gap, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))
            at += 1
            sent, headers = self._make(rng, n, at)
            with self.lock:
                self.sent[sent.tag] = sent
            try:
                if connection is None or rng.random() < .1:
                    if connection:
                        connection.close()
                    connection = self.world.gateway.connect(15)
                chunks = [sent.body[:7], sent.body[7:]] if rng.random() < .2 and len(sent.body) > 8 else None
                answer = connection.ask("POST", sent.path, headers, None if chunks else sent.body, chunks)
                self._judge(sent, answer)
            except (OSError, EOFError, ValueError, Exception) as problem:      # the client's view of a fault: the connection broke
                if isinstance(problem, AssertionError):
                    with self.lock:
                        self.broken.append("%s: %s" % (sent.tag, problem))
                sent.cut = True
                if connection:
                    connection.close()
                connection = None
        if connection:
            connection.close()

    def _judge(self, sent, answer):
        sent.status = answer.status
        sent.mock = answer.header("x-mock")
        text = (answer.raw_head + answer.body).decode("utf-8", "replace")
        assert not harness.leaks(text), "the credentials %s in an answer" % harness.leaks(text)
        if sent.mock:
            assert sent.mock == EXPECTED[sent.family], "answered by %s" % sent.mock
        elif answer.status < 400:
            raise AssertionError("status %d of nobody: %r" % (answer.status, answer))
        elif sent.family == "none" and answer.status not in (502, 503, 408):
            raise AssertionError("status %d where no credential is" % answer.status)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(40)
            assert not thread.is_alive(), "a request hangs"

    def audit(self):
        """Everything that reached anybody. Returns what happened, in numbers."""
        world, problems = self.world, list(self.broken)
        served = collections.Counter()
        arrived = collections.defaultdict(list)
        for mock in world.mocks:
            for request in list(mock.requests):
                tag = request.header("x-client-request-id")
                if tag is None:     # HAProxy's own checks
                    if request.raw_head.lower().find(b"authorization") >= 0 or request.body:
                        problems.append("a request of nobody's: %r" % request)
                    continue
                arrived[tag].append(request)
        for tag, requests in arrived.items():
            sent = self.sent.get(tag)
            if sent is None:
                problems.append("never sent: %r" % requests)
                continue
            if len(requests) > 1:
                problems.append("%s arrived %d times: %r" % (tag, len(requests), requests))
            for request in requests:
                self._check(sent, request, problems)
        for sent in self.sent.values():
            served["refused" if (sent.status or 0) >= 400 and sent.tag not in arrived else
                   "cut" if sent.cut else str(sent.status)] += 1
            if sent.mock and sent.tag not in arrived:
                problems.append("%s was answered by %s, which did not get it" % (sent.tag, sent.mock))
        assert not problems, "%d problems:\n%s" % (len(problems), "\n".join(problems[:20]))
        return dict(served, sent=len(self.sent), arrived=len(arrived))

    def _check(self, sent, request, problems):
        world = self.world

        def bad(what):
            problems.append("%s (%s): %s: %r" % (sent.tag, sent.family, what, request))
        if request.mock.name != EXPECTED[sent.family]:
            return bad("at the wrong upstream")
        credentials = {name: request.all(name) for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie",
                                                            "proxy-authorization")}
        if sent.family == "b":
            if credentials["authorization"] != ["Bearer " + world.keys["bearer"]] or credentials["x-api-key"] or credentials["cookie"]:
                bad("the wrong credential")
        elif sent.family == "k":
            if credentials["x-api-key"] != [world.keys["keyed"]] or credentials["authorization"] or credentials["cookie"]:
                bad("the wrong credential")
        elif credentials["authorization"] != ["Bearer " + world.client]:
            bad("the wrong credential")
        if request.path != ("/base" if sent.family == "k" else "") + sent.path:
            bad("another path")
        if request.body != sent.body and not (sent.status != 200 and sent.body.startswith(request.body)):
            bad("other bytes than %r" % sent.body[:100])
        if request.all("x-llm-backend") or request.all("x-llm-route"):
            bad("a header of ours")


def serves_again(world, seconds=20):
    """All families are served once the fault is over."""
    def served():
        for family, name in EXPECTED.items():
            answer = world.gateway.ask(family + "-1", harness.bearer(world.client))
            if name is None:
                if answer.status != 502:
                    return False
            elif answer.status != 200 or answer.header("x-mock") != name:
                return False
        return True
    harness.until(served, seconds, "all families are served again", step=0.1)
