"""A machine of its own for a test: network and mounts that nothing else on this machine sees, so that the shipped defaults (/run/spoa-llm, a
port) can be used as they are and a sysctl can be set."""
import ctypes
import errno
import fcntl
import functools
import os
import pathlib
import socket
import struct
import subprocess
import threading
import unittest

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
BPF_LOAD, BPF_JUMP_IF_EQUAL, BPF_RETURN = 0x20, 0x15, 0x06
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7fff0000, 0x00050000
SYS_SOCKET = {"x86_64": 41, "aarch64": 198}     # the system call's number
# A command that starts another one where unix datagram sockets have the queue of the Debian package, and there is no network.
LONG_QUEUE = ("unshare", "--net", "sh", "-c", 'echo 4096 > /proc/sys/net/unix/max_dgram_qlen; exec "$@"', "sh") if os.geteuid() == 0 else ()
_LIBC = ctypes.CDLL(None, use_errno=True)


def _must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), "%s: %s" % (what, os.strerror(ctypes.get_errno())))


def _set_queue(length):
    pathlib.Path("/proc/sys/net/unix/max_dgram_qlen").write_text(str(length))


def _in_thread(run):
    """Runs `run()` in a thread of its own, because a namespace is a thread's; returns what it returns."""
    result = []

    def within():
        try:
            result.append((run(), None))
        except BaseException as problem:    # pytest's own exceptions too
            result.append((None, problem))
    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    value, problem = result[0]
    if problem:
        raise problem
    return value


def without_netlink(run):
    """Returns run(). The processes that it starts get no netlink socket: EAFNOSUPPORT."""
    def within():
        # In struct seccomp_data the number of the call is at 0, its first argument at 16. A jump names the rules to skip if equal, and if not.
        rules = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in (
            (BPF_LOAD, 0, 0, 0), (BPF_JUMP_IF_EQUAL, 0, 3, SYS_SOCKET[os.uname().machine]),
            (BPF_LOAD, 0, 0, 16), (BPF_JUMP_IF_EQUAL, 0, 1, socket.AF_NETLINK),
            (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EAFNOSUPPORT), (BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW))))
        program = struct.pack("HxxxxxxP", len(rules) // 8, ctypes.addressof(rules))
        _must(_LIBC.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))), "prctl")
        _must(_LIBC.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), program), "prctl")
        return run()
    return _in_thread(within) if os.uname().machine in SYS_SOCKET else run()


def datagram_socket(path, queue=4096):
    """A unix datagram socket at `path` that holds `queue` datagrams; without root, as many as this machine's setting says."""
    def make():
        if os.geteuid() == 0:
            _must(_LIBC.unshare(CLONE_NEWNET), "unshare")
            _set_queue(queue)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(path)
        return sock
    return _in_thread(make)


def _enter(queue, empty):
    _must(_LIBC.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    _must(_LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    for path in empty:
        _must(_LIBC.mount(b"tmpfs", path.encode(), b"tmpfs", 0, b"mode=755"), "mount " + path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    _set_queue(queue)


def ip(*words):
    """Runs the command `ip` in the namespace of this thread."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def have(address):
    """Gives this namespace's loopback an address of either family."""
    if ":" in address:
        ip("-6", "addr", "add", address + "/128", "dev", "lo", "nodad")
    else:
        ip("addr", "add", address + "/32", "dev", "lo")


def without_ipv6():
    """Switches IPv6 off in the namespace of this thread."""
    for which in ("all", "default"):
        pathlib.Path("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % which).write_text("1")


def lose(*networks):
    """Packets for these networks get lost on their way, without an answer."""
    ip("tuntap", "add", "lost0", "mode", "tun")
    ip("link", "set", "lost0", "up")
    for network in networks:
        ip(*(["-6"] if ":" in network else []), "route", "add", network, "dev", "lost0")


def apart(queue=10, empty=("/run", "/var/lib/haproxy")):
    """Runs a test in a thread with a network and mounts of its own. Processes and threads that the test starts have them too; those of a
    fixture do not. `queue`: net.unix.max_dgram_qlen. `empty`: directories that are empty at first."""
    def around(test):
        @functools.wraps(test)
        def run(*args, **named):
            if os.geteuid() != 0:
                raise unittest.SkipTest("a namespace needs root")

            def within():
                _enter(queue, empty)
                test(*args, **named)
            _in_thread(within)
        return run
    return around
