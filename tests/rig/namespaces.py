"""A machine of its own for a test: network and mounts that nothing else on this machine sees, so that the shipped defaults (/run/spoa-llm, a
port) can be used as they are and a sysctl can be set."""
import ctypes
import fcntl
import functools
import os
import pathlib
import socket
import struct
import threading

import pytest

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def _must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), "%s: %s" % (what, os.strerror(ctypes.get_errno())))


def _enter(queue, empty):
    _must(_LIBC.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    _must(_LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    for path in empty:
        _must(_LIBC.mount(b"tmpfs", path.encode(), b"tmpfs", 0, b"mode=755"), "mount " + path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    pathlib.Path("/proc/sys/net/unix/max_dgram_qlen").write_text(str(queue))


def apart(queue=10, empty=("/run", "/var/lib/haproxy")):
    """Runs a test in a thread with a network and mounts of its own. Processes and threads that the test starts have them too; those of a
    fixture do not. `queue`: net.unix.max_dgram_qlen. `empty`: directories that are empty at first."""
    def around(test):
        @pytest.mark.skipif(os.geteuid() != 0, reason="a namespace needs root")
        @functools.wraps(test)
        def run(*args, **named):
            failed = []

            def within():
                try:
                    _enter(queue, empty)
                    test(*args, **named)
                except BaseException as problem:    # pytest's own exceptions too
                    failed.append(problem)
            thread = threading.Thread(target=within)
            thread.start()
            thread.join()
            if failed:
                raise failed[0]
        return run
    return around
