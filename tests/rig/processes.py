"""Processes for the tests, and how to wait for them.

Each is started in a session of its own, is ended by its id, and is waited for by polling. When it ends, its log is searched for what must
never be there: a sanitizer's report, a failed assertion, a credential.
"""
import contextlib
import fcntl
import functools
import itertools
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import time

import evidence
import spop
from evidence import MARK, SECRETS, children_of

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VALGRIND = os.environ.get("VALGRIND") == "1"
SLOW = 8 if VALGRIND else 1     # how many times as long every wait may take

# What a healthy process never writes.
BROKEN = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:|Assertion|\*\*\* .* detected \*\*\*|ERROR SUMMARY: [1-9]"
                    r"|Invalid (read|write) of size|definitely lost: [1-9]")

LIVE = []       # the processes that run: a failing test shows the ends of their logs


def leaks(text):
    """The names of the credentials that stand in the text as they are. evidence.py looks for other forms too, and fails the session."""
    return sorted({name for value, name in SECRETS.items() if value in text}) if MARK in text else []


# ---- waiting


def until(true, seconds=10.0, what="condition", step=0.005):
    """Polls until `true()` is truthy and returns it. The longer it has waited, the more seldom it looks, but at least every twentieth of a second."""
    begin = time.monotonic()
    while True:
        value = true()
        if value:
            return value
        waited = time.monotonic() - begin
        if waited > seconds * SLOW:
            raise AssertionError("timed out after %gs: %s" % (seconds * SLOW, what() if callable(what) else what))
        time.sleep(max(step, min(waited / 20, 0.05)))


def accepting(address):
    """Whether a process accepts connections there. (The file of a unix socket appears a moment earlier.)"""
    try:
        spop.connect(address, 1).close()
    except OSError:
        return False
    return True


def ledger_made(directory):
    """Whether the ledger there can be read. (Its file appears a moment before its tables.)"""
    path = pathlib.Path(directory) / "ledger.db"
    try:
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as base:
            base.execute("select count(*) from requests").fetchall()
    except sqlite3.Error:
        return False
    return True


PORTS, SLICE = range(15000, 32000), 100     # below the range from which the kernel takes the ports of outgoing connections


@functools.lru_cache(None)
def _own_ports():
    """Claims a slice of the ports for this process: no other process of these tests takes a port from it, because an abstract unix socket
    is bound to its name for as long as this process lives."""
    starts = list(PORTS[::SLICE])
    evidence.RANDOM.shuffle(starts)
    for start in starts:
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind("\0spoa-llm-tests-ports-%d" % start)
        except OSError:
            name.close()
            continue
        return name, itertools.cycle(range(start, start + SLICE))
    raise AssertionError("each slice of ports is taken")


def free_port():
    """A port of this process' own slice on which nothing listens."""
    for port in itertools.islice(_own_ports()[1], SLICE):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("each port of this process is in use")


def built(name):
    """The path of one of the programs of `make test-tools`, which is built first if it is missing or old."""
    path = ROOT / "build" / name
    (ROOT / "build").mkdir(exist_ok=True)
    with open(ROOT / "build" / ".test-tools", "w") as lock:     # by one process at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        done = subprocess.run(["make", "-s", "build/" + name], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
    return path


# ---- processes

def _dying_with_us(argv, env):
    """Returns the command and the environment for a process that is killed when the thread that starts it ends. It calls setpriv, because a `preexec_fn`
    has Python fork, which takes 15 ms where the tests have used 150 MB of memory. What LD_PRELOAD names is for the process alone."""
    env = dict(os.environ if env is None else env)
    preload = ["/usr/bin/env", "LD_PRELOAD=" + env.pop("LD_PRELOAD")] if "LD_PRELOAD" in env else []
    return ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", *preload, *argv], env


# A background job of a shell ignores these signals, and so would its children; but SIGINT is how HAProxy is ended. Children do not inherit a handler.
for _number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


def state_of(pid):
    """The process' state as a letter of /proc/PID/stat: R, S, T, Z ...; X if there is no such process."""
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(") ", 1)[1][0]
    except OSError:
        return "X"


def has_ended(pid):
    """No thread of the process is left, so that its files are closed and its locks are free. (A dead main thread is a zombie while others still end.)"""
    try:
        return state_of(pid) in "ZX" and len(os.listdir("/proc/%d/task" % pid)) < 2
    except FileNotFoundError:
        return True


def cpu_of(pid):
    """Seconds of CPU that the process' threads have taken; of those that have ended, nothing. Counted in nanoseconds."""
    return sum(int(pathlib.Path("/proc/%d/task/%s/schedstat" % (pid, task)).read_text().split()[0]) for task in os.listdir("/proc/%d/task" % pid)) / 1e9


def catches(pid, number):
    """Whether the process has a handler for the signal and does not block it."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    blocked, caught = (int(re.search(r"%s:\s+(\S+)" % name, status).group(1), 16) >> number - 1 & 1 for name in ("SigBlk", "SigCgt"))
    return bool(caught and not blocked)


def reload_haproxy(master):
    """Tells the process of HAProxy's master to reload. It ignores that while it starts a worker, which may serve before the master is done."""
    until(lambda: catches(master.pid, signal.SIGUSR2), 10, lambda: "HAProxy's master has a handler for SIGUSR2\n" + master.tail())
    master.popen.send_signal(signal.SIGUSR2)


class Process:
    """One process, its output in a file."""

    def __init__(self, name, argv, log, env=None, **more):
        self.name, self.log = name, pathlib.Path(log)
        self.file = open(self.log, "ab")
        start = evidence.Popen if name == "agent" else subprocess.Popen
        argv, env = _dying_with_us(argv, env)
        self.popen = start(argv, stdin=subprocess.DEVNULL, stdout=self.file, stderr=self.file, env=env, start_new_session=True, **more)
        LIVE.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def text(self):
        try:
            return self.log.read_text("utf-8", "replace")
        except FileNotFoundError:
            return "(its directory is gone)"

    def running(self):
        return self.popen.poll() is None

    def kill(self, number):
        """Sends a signal. SIGSTOP, SIGCONT and SIGKILL concern the process' children too: an agent is a master and its worker."""
        children = children_of(self.pid) if number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL) else []
        self.popen.send_signal(number)
        for child in children:
            if number == signal.SIGKILL:
                until(lambda: has_ended(child), 5, "the child of a killed process ends with it")
            else:
                os.kill(child, number)

    def stop(self):
        """Stops the process by SIGSTOP and waits until it has stopped, because until then it may still answer."""
        self.kill(signal.SIGSTOP)
        for pid in [self.pid] + children_of(self.pid):
            until(lambda: state_of(pid) == "T", 5, "the process stops")

    def wait(self, seconds=10.0):
        return self.popen.wait(seconds * SLOW)

    def end(self, number=signal.SIGTERM, seconds=10.0):
        """Ends the process by signal `number` and returns its exit code; negative: the signal that ended it."""
        try:
            if self.running():
                self.kill(number)
                try:
                    self.wait(seconds)
                except subprocess.TimeoutExpired:
                    self.kill(signal.SIGKILL)
                    self.wait()
                    raise AssertionError("%s did not end by signal %d in %g s\n%s"
                                         % (self.name, number, seconds * SLOW, self.tail())) from None
            return self.popen.returncode
        finally:
            self.file.close()
            if self in LIVE:
                LIVE.remove(self)

    def tail(self, lines=40):
        return "---- %s (pid %d, %s)\n%s" % (self.name, self.pid, self.log,
                                             "\n".join(self.text().splitlines()[-lines:]))

    def check(self):
        """Fails if the log has what no log must ever have."""
        text = self.text()
        found = BROKEN.search(text)
        assert not found, "%s: %s\n%s" % (self.name, found.group(), self.tail(80))
        assert not leaks(text), "%s wrote the credentials %s to its log" % (self.name, leaks(text))
