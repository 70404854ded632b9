"""HAProxy under callgrind: the instructions that it takes between two marks. A busy machine does not change them, as it changes the time that they take."""
import collections
import re
import subprocess

import processes

processes.SLOW = 8      # under valgrind every wait takes longer
# memcpy() by `rep movsb` counts as an instruction a byte, but takes a thirtieth of that time. This makes glibc copy by other instructions.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=1000000000"


class Counter:
    """`haproxy`: a script that runs HAProxy under callgrind, but runs it as it is to tell its version or to check a file. `work`: a directory."""

    def __init__(self, work, haproxy):
        self.out = work / "callgrind.out"
        self.haproxy = str(work / "haproxy")
        (work / "haproxy").write_text('#!/bin/sh\nfor given; do case "$given" in -v|-vv|-c) exec %s "$@";; esac; done\n'
                                      'GLIBC_TUNABLES=%s${GLIBC_TUNABLES:+:$GLIBC_TUNABLES} exec valgrind -q --tool=callgrind --callgrind-out-file=%s %s "$@"\n'
                                      % (haproxy, TUNABLES, self.out, haproxy))
        (work / "haproxy").chmod(0o755)

    def mark(self, pid):
        """Writes what the process did since it began, or since the last mark. Returns the file."""
        file, said = self.out.with_name("%s.%d" % (self.out.name, 1 + len(list(self.out.parent.glob(self.out.name + ".*"))))), []

        def written():
            # A process that is idle may miss the order.
            run = subprocess.run(["vgdb", "--pid=%d" % pid, "dump"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            said.append(run.stdout.decode())
            return file.exists()
        processes.until(written, 60, lambda: "callgrind writes\n" + "".join(said[-3:]))
        return file

    def between(self, pid, action):
        """The file of what the process does while `action()` runs."""
        self.mark(pid)
        action()
        return self.mark(pid)


def total(file):
    """All instructions of a file of callgrind's."""
    return int(re.search(r"(?m)^(?:summary|totals): (\d+)", file.read_text()).group(1))


def called(file):
    """By function and called function: instructions, with all that this one calls; and how often."""
    names, cost, times, function, callee = {}, collections.Counter(), collections.Counter(), None, None

    def name(text):
        number, _, rest = text.partition(" ")
        return names.setdefault(number, rest)
    for line in file.read_text().splitlines():
        if line.startswith("fn="):
            function = name(line[3:])
        elif line.startswith("cfn="):
            callee = name(line[4:])
        elif line.startswith("calls="):
            times[function, callee] += int(line[6:].split()[0])
        elif callee and re.match(r"[0-9+*-]", line):
            cost[function, callee] += int(line.split()[1])
            callee = None
    return cost, times


def of(counter, *names):
    """What a counter of called() has for these functions, whoever calls them."""
    return sum(count for (function, callee), count in counter.items() if callee in names and function != callee)
