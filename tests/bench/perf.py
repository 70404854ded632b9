"""Samples of `perf record`: which functions were under way, many times a second."""
import contextlib
import re
import signal
import subprocess

import harness

HERTZ = 5000


@contextlib.contextmanager
def record(pids, file):
    """`perf` takes samples of the processes while the block runs."""
    perf = subprocess.Popen(["perf", "record", "-q", "-g", "-F", str(HERTZ), "-p", ",".join(map(str, pids)), "-o", str(file)], stderr=subprocess.PIPE)
    harness.until(lambda: perf.poll() is not None or (file.exists() and file.stat().st_size > 0), 10, "perf takes samples")
    assert perf.poll() is None, perf.stderr.read().decode()
    yield
    perf.send_signal(signal.SIGINT)
    perf.wait()


def samples(file):
    """Yields the process of each sample, and its functions, from that under way to those that called it: (address, name, image)."""
    text = subprocess.run(["perf", "script", "-i", str(file), "-F", "pid,ip,sym,dso"], capture_output=True, text=True, check=True).stdout
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().splitlines()
        if not lines or not lines[0].strip().isdigit():
            continue
        found = [re.match(r"\s*([0-9a-f]+) (.*) \((.*)\)$", line) for line in lines[1:]]
        frames = [(int(one.group(1), 16), one.group(2), one.group(3).rpartition("/")[2]) for one in found if one]
        if frames:
            yield int(lines[0]), frames


def in_kernel(address):
    return bool(address >> 63)


def row_of(frames, rows):
    """The first row of `rows` (name, beginnings of names of functions) of which a function of the kernel is under way. None: there is none."""
    names = [name for address, name, _ in frames if in_kernel(address)]
    return next((row for row, of in rows if any(name.startswith(one) for name in names for one in of)), None)
