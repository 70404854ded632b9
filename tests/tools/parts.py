"""Runs the parts of a list (tests/parts/NAME), as many side by side as the machine has lanes for, and says what each took.

    python3 tests/tools/parts.py tests/parts/test [PART...]        all, or those that are named, each without the parts it comes after

A line of the list: the part's name; how many lanes it takes (2: nothing runs beside it on two cores; .5: it waits more than it computes); its
limit in minutes; the parts that have to end well before it, or -; and its command. A part's output goes to build/log/PART.log. Of a part that
fails, the end of that is shown at once, and the others go on. The lines below the table name the tests that failed, and those that passed only
when they ran again by themselves (tests/tools/again.py). Exit 1 where a part failed. Ctrl-C and a limit end whatever a part has started.

LANES=N: another number of lanes than there are cores (at least 2)."""
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LOGS = ROOT / "build" / "log"
SHOWN = 60      # lines of a part that failed
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
PATIENCE_S = 20  # from SIGTERM to SIGKILL
PR_SET_CHILD_SUBREAPER = 36
PYTEST = re.compile(r"^=*\s*((?:\d+ (?:passed|failed|skipped|xfailed|xpassed|error|errors|deselected|warning|warnings|rerun)(?:, )?)+) in [\d.]+s", re.M)
FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) \S.*", re.M)  # as pytest and tests/unit/unit.h write it
UNSTEADY_TEST = re.compile(r"^UNSTEADY \S.*", re.M)


class Part:
    def __init__(self, line):
        self.name, lanes, minutes, after, self.command = line.split(None, 4)
        self.lanes, self.limit = float(lanes), 60 * float(minutes)
        self.after = [] if after == "-" else after.split(",")
        self.log = LOGS / (self.name + ".log")
        self.result, self.seconds, self.cpu, self.popen = None, 0.0, 0.0, None

    def start(self):
        self.began = time.monotonic()
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(["sh", "-c", self.command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=ENVIRONMENT, start_new_session=True)
        say("start", self.name)

    def ended(self, status, usage):
        self.seconds, self.cpu = time.monotonic() - self.began, usage.ru_utime + usage.ru_stime
        if self.result is None:
            self.result = "ok" if status == 0 else "FAILED"
        say(self.result, "%s (%.0f s)" % (self.name, self.seconds))
        if self.result != "ok":
            lines = self.log.read_text("utf-8", "replace").splitlines()
            print("\n".join("    " + line for line in lines[-SHOWN:]), "    ---- all of it: %s" % self.log.relative_to(ROOT), sep="\n", flush=True)

    def counts(self):
        """{"passed": N, ...}: of pytest where it ran, else the part is one test."""
        found = PYTEST.findall(self.log.read_text("utf-8", "replace")) if self.log.exists() and self.popen else []
        told = {}
        for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", " ".join(found)):
            told["failed" if word == "error" else word] = told.get("failed" if word == "error" else word, 0) + int(number)
        if self.result == "ok":
            told.pop("failed", 0)  # they passed when they ran again, and are counted as passed
        if self.result != "ok" and not told.get("failed") or not told:
            word = {"ok": "passed", "not run": "skipped"}.get(self.result, "failed")
            told[word] = told.get(word, 0) + 1
        return told

    def failures(self):
        return (UNSTEADY_TEST if self.result == "ok" else FAILED_TEST).findall(self.log.read_text("utf-8", "replace")) if self.popen else []

    def words(self):
        return " ".join("%d %s" % (number, word) for word, number in self.counts().items()) if self.popen else ""


def say(what, text):
    print("%s  %-7s %s" % (time.strftime("%H:%M:%S"), what, text), flush=True)


def descendants(pid):
    """All that this process started and what these started, as far as their parents live."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, left = [], [pid]
    while left:
        new = children.get(left.pop(), [])
        found += new
        left += new
    return found


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def end(part, why):
    """Ends the part and all of its processes, which are given time to end what they started."""
    part.result = why
    family = [part.popen.pid, *descendants(part.popen.pid)]
    signal_all(family, signal.SIGTERM)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and any(os.path.exists("/proc/%d/exe" % pid) for pid in descendants(part.popen.pid)):
        time.sleep(0.1)
    signal_all([*family, *descendants(part.popen.pid)], signal.SIGKILL)


def run(parts, lanes, interrupted):
    """Until all parts have ended, or `interrupted` is not empty."""
    waiting, running = list(parts), []
    names = {part.name: part for part in parts}
    while (waiting or running) and not interrupted:
        for part in list(waiting):
            before = [names[name] for name in part.after if name in names]
            if any(one.result not in (None, "ok") for one in before):
                part.result = "not run"
                waiting.remove(part)
                say("not run", part.name)
            elif all(one.result == "ok" for one in before) and sum(one.lanes for one in running) + min(part.lanes, lanes) <= lanes:
                waiting.remove(part)
                running.append(part)
                part.start()
        for part in list(running):
            pid, status, usage = os.wait4(part.popen.pid, os.WNOHANG)
            if pid:
                part.popen.returncode = status
                running.remove(part)
                part.ended(status, usage)
            elif time.monotonic() - part.began > part.limit and part.result is None:
                end(part, "TIMEOUT")
        time.sleep(0.05)


def main(path, *chosen):
    LOGS.mkdir(parents=True, exist_ok=True)
    parts = [Part(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip() and line[0] != "#"]
    unknown = {*chosen, *(name for part in parts for name in part.after)} - {part.name for part in parts}
    if unknown:
        sys.exit("%s has no part %s; it has: %s" % (path, ", ".join(sorted(unknown)), " ".join(part.name for part in parts)))
    parts = [part for part in parts if part.name in chosen or not chosen]
    # What a part leaves behind becomes a child of this process, which ends it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    # The signals are noted rather than raised, because an exception while a part is started would lose that part.
    interrupted = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: interrupted.append(number))
    began = time.monotonic()
    try:
        run(parts, int(os.environ.get("LANES") or max(2, len(os.sched_getaffinity(0)))), interrupted)
        if interrupted:
            print("interrupted", flush=True)
            for part in parts:
                if part.popen and part.popen.returncode is None:
                    end(part, "stopped")
    finally:
        signal_all(descendants(os.getpid()), signal.SIGKILL)
    total = {}
    print("\n%-20s %8s %8s  %-8s" % ("part", "seconds", "CPU s", "result"))
    for part in parts:
        print("%-20s %8.0f %8.0f  %-8s %s" % (part.name, part.seconds, part.cpu, part.result or "not run", part.words()))
        for word, number in part.counts().items():
            total[word] = total.get(word, 0) + number
    print("%-20s %8.0f %8.0f\n" % ("all", time.monotonic() - began, sum(part.cpu for part in parts)))
    for part in parts:
        for line in part.failures():
            print("%s: %s" % (part.name, line[:300]))
    print("%d passed, %d failed, %d skipped" % tuple(total.get(word, 0) for word in ("passed", "failed", "skipped")), flush=True)
    return 0 if all(part.result == "ok" for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 1 else __doc__)
