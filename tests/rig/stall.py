"""How long the machine held things up. A test that measures how long something took subtracts this time; the agent's own waiting is no part of
it. A chain of processes that wait for each other is late by at most the time that each of them waited for a core, plus the time in which the
whole machine stood still."""
import mmap
import os
import pathlib
import struct
import subprocess
import threading
import time

import harness

# Bound to one core: wakes every millisecond, and adds up by how much it woke too late. It needs next to no CPU time, so what it notices is
# a machine that stands still (a host that has other things to do), rather than one that is busy.
CLOCK = """
import mmap, os, struct, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
with open(sys.argv[2], "r+b") as file:
    seen = mmap.mmap(file.fileno(), 8)
late, last = 0.0, time.monotonic()
while True:
    time.sleep(0.001)
    now = time.monotonic()
    late += max(0.0, now - last - 0.003)
    last = now
    struct.pack_into("d", seen, 0, late)
"""


def waited(pid):
    """{task: seconds it has wanted a core and had none}."""
    found = {}
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            found[task] = int(pathlib.Path("/proc/%d/task/%s/schedstat" % (pid, task)).read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        pass    # it has just ended
    return found


class Stall:
    """`chain` returns lists of pids: processes of one list wait at the same time, so the longest wait counts; waits of different lists add up."""

    def __init__(self, work, chain):
        self.chain, self.samples, self.known, self.stop = chain, [], {}, threading.Event()
        self.maps, self.clocks = [], []
        for cpu in sorted(os.sched_getaffinity(0)):
            path = work / ("clock%d" % cpu)
            path.write_bytes(bytes(8))
            with open(path, "r+b") as file:
                self.maps.append(mmap.mmap(file.fileno(), 8))
            self.clocks.append(subprocess.Popen(["/usr/bin/python3", "-c", CLOCK, str(cpu), str(path)], stdin=subprocess.DEVNULL))
        harness.until(lambda: waited(self.clocks[0].pid), 5, "/proc/PID/task/TID/schedstat")
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        for clock in self.clocks:
            clock.kill()
            clock.wait()

    def run(self):
        late = 0.0
        while not self.stop.is_set():
            for group in self.chain():
                most = 0.0
                for pid in group:
                    for task, total in waited(pid).items():
                        most = max(most, total - self.known.get(task, 0.0))
                        self.known[task] = total
                late += most
            # (Unix time, what the chain has waited for cores, what each clock was late.)
            self.samples.append((time.time(), late, [struct.unpack_from("d", one, 0)[0] for one in self.maps]))
            self.stop.wait(0.01)

    def between(self, begin, end):
        """For how many seconds of the time from `begin` to `end` (Unix time) the machine held the chain up."""
        before = [one for one in self.samples if one[0] <= begin][-1]
        after = next((one for one in self.samples if one[0] >= end), self.samples[-1])
        return after[1] - before[1] + max(b - a for a, b in zip(before[2], after[2]))
