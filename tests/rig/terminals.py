"""A command at a terminal of its own: what it writes there, and what a person types."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata

import evidence
import harness

COLOUR = re.compile("\x1b\\[[0-9;]*m")


def width(line):
    """How many columns a line takes, without its colours."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in COLOUR.sub("", line))


class Terminal:
    """`spoa-llm args` at a terminal of `columns`; `out` has what it has written so far, without carriage returns before newlines."""

    def __init__(self, *args, columns=100, env=None, stdin=True):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

        def mine():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = harness.start(*args, stdin=slave if stdin else subprocess.DEVNULL, stdout=slave, stderr=slave, preexec_fn=mine,
                                     env=harness.environment(dict({"TERM": "xterm", "LC_ALL": "C.UTF-8"}, **(env or {}))))
        self.slave, self.raw = slave, b""

    @property
    def out(self):
        return self.raw.decode(errors="replace").replace("\r\n", "\n")

    def _read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                return False
            self.raw += part
            return bool(part)
        return True

    def until(self, text, seconds=20):
        """Waits until `text` was written, and returns all."""
        end = time.monotonic() + seconds
        while text not in self.out:
            assert time.monotonic() < end and self.process.poll() is None or text in self.out or self._drain(text), (text, self.out)
            self._read(0.05)
        return self.out

    def _drain(self, text):
        while select.select([self.master], [], [], 0)[0] and self._read(0):
            pass
        return text in self.out

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, seconds=20):
        """Waits for the end of the process, and returns its exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, self.out
            self._read(0.05)
        self._drain("\0")
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        evidence.search(self.raw, "a terminal")
        os.close(self.master)
        os.close(self.slave)


def run(*args, **more):
    """(exit code, what was written)"""
    with Terminal(*args, **more) as one:
        code = one.end()
        return code, one.out
