"""`spoa-llm tap` with nothing of HAProxy around it: the test itself plays HAProxy's backend, the leg behind it, and the agent's socket for reports."""
import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import threading

import harness
from processes import SLOW, Process, state_of, until

TIMEOUT = 10 * SLOW


def head(leg="leg.one", id="id-1", method="POST", path="/v1/chat/completions", body=b"", chunked=False, more=""):
    """A request as HAProxy's backend sends it to the tap."""
    lines = ["%s %s HTTP/1.1" % (method, path), "host: upstream.test"]
    lines += ["x-request-id: " + id] if id else []
    lines += ["x-llm-leg: " + leg] if leg else []
    lines += ["transfer-encoding: chunked"] if chunked else ["content-length: %d" % len(body)] if body or method == "POST" else []
    return ("\r\n".join(lines) + "\r\n" + more + "\r\n").encode() + body


class Pipe:
    """One side of a connection of the tap: HAProxy's, or the leg's."""

    def __init__(self, sock):
        self.sock, self.seen = sock, b""
        sock.settimeout(TIMEOUT)

    def send(self, data):
        self.sock.sendall(data)

    def receive(self, count):
        """Exactly the next `count` bytes."""
        have = bytearray(self.seen)
        while len(have) < count:
            part = self.sock.recv(1 << 16)
            assert part, "closed after %r, but %d bytes were to come" % (bytes(have[-200:]), count)
            have += part
        self.seen = bytes(have[count:])
        return bytes(have[:count])

    def expect(self, data):
        got = self.receive(len(data))
        assert got == data, (got[:500], data[:500])

    def rest(self):
        """All bytes up to the end of the connection."""
        out, self.seen = self.seen, b""
        while True:
            part = self.sock.recv(1 << 16)
            if not part:
                return out
            out += part

    def gone(self):
        """The other side has closed, and nothing more came."""
        try:
            return self.rest() == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes so that the other side sees a reset: bytes that nobody has read are lost."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Leg:
    """The socket of a leg."""

    def __init__(self, tap, name="leg.one", backlog=4096):
        self.path = str(tap.legs / (name + ".sock"))
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        self.sock.listen(backlog)
        self.sock.settimeout(TIMEOUT)

    def accept(self):
        return Pipe(self.sock.accept()[0])

    def idle(self):
        """True: nobody has connected."""
        self.sock.setblocking(False)
        try:
            self.sock.accept()
        except BlockingIOError:
            return True
        finally:
            self.sock.settimeout(TIMEOUT)
        return False

    def close(self):
        self.sock.close()
        os.unlink(self.path)


class Tap:
    """A running tap. `reports` has what it told, as JSON. `before`: a command that becomes the tap."""

    def __init__(self, directory, *flags, report=True, env=None, binary=None, before=()):
        self.directory = directory
        self.path, self.control = str(directory / "tap.sock"), str(directory / "control.sock")
        self.legs, self.successors = directory / "legs", []
        self.legs.mkdir(exist_ok=True)
        self.reports, self.statuses = [], []
        self.dgram = str(directory / "tap.dgram")
        self.agent = None
        if report:
            self.listen()
        usual = {"--listen": "unix@" + self.path, "--legs": self.legs, "--report": "dgram@" + self.dgram, "--control": "unix@" + self.control}
        self.argv = harness.argv("tap", *(word for name, value in usual.items() if name not in flags for word in (name, value)), *flags)
        if binary:
            self.argv[self.argv.index(harness.AGENT)] = str(binary)
        self.process = Process("agent", [*before, *self.argv], directory / "tap.log", harness.environment(env))
        until(lambda: "event=tap_ready" in self.text() or not self.process.running(), 10, self.process.tail)
        assert self.process.running(), self.process.tail()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for pid in self.successors:
            if state_of(pid) not in "ZX":
                os.kill(pid, signal.SIGKILL)
        code = self.process.end(9 if kind else 15)
        if self.agent:
            self.agent.close()
        if kind is None:
            self.process.check()
            assert code in (0, -9), (code, self.process.tail())

    def text(self):
        return self.process.text()

    def log(self, pattern):
        return until(lambda: re.findall(pattern, self.text()), 10, lambda: "no log line like %s\n%s" % (pattern, self.process.tail()))

    def listen(self):
        """Takes reports from now on, as the agent does."""
        if os.path.exists(self.dgram):
            os.unlink(self.dgram)
        self.agent = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.agent.bind(self.dgram)
        self.agent.setblocking(False)

    def read_reports(self):
        while True:
            try:
                data = self.agent.recv(1 << 16)
            except BlockingIOError:
                return self.reports
            assert len(data) <= 4096
            one = json.loads(data.decode("ascii"))
            assert one["v"] == 1
            (self.reports if one["kind"] == "stream" else self.statuses).append(one)

    @contextlib.contextmanager
    def reading(self):
        """Reads reports all the time, as the agent does. The kernel holds few."""
        stop = threading.Event()

        def read():
            while not stop.is_set():
                select.select([self.agent], [], [], 0.05)
                self.read_reports()
        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield
        finally:
            stop.set()
            reader.join()

    def report(self, id="id-1"):
        """The one report of this request."""
        found = until(lambda: [one for one in self.read_reports() if one["id"] == id], 10, lambda: "no report of %s\n%s" % (id, self.process.tail()))
        assert len(found) == 1, found
        return found[0]

    def status(self, true):
        """Waits for a status datagram for which `true` holds."""
        def look():
            self.read_reports()
            return self.statuses and true(self.statuses[-1])
        until(look, 10, lambda: "the last status is %r" % self.statuses[-1:])
        return self.statuses[-1]

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        return Pipe(sock)

    def upgrade(self):
        """Starts a successor, waits until it has taken over, and returns its pid."""
        before = len(re.findall("event=tap_upgraded", self.text()))
        os.kill(self.successors[-1] if self.successors else self.process.pid, signal.SIGUSR2)
        pids = until(lambda: re.findall(r"event=tap_upgraded pid=(\d+)", self.text())[before:], 10, self.process.tail)
        self.successors.append(int(pids[-1]))
        return self.successors[-1]

    def accepts(self):
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def exchange(self, leg, request=None, id="id-1"):
        """A connection, its leg's side, and the request passed on between them."""
        client = self.connect()
        request = request or head(id=id)
        client.send(request)
        upstream = leg.accept()
        upstream.expect(request)
        return client, upstream


# ---- answers

CRLF = b"\r\n"


def answer(*headers, status="200 OK", body=b""):
    return ("HTTP/1.1 %s\r\n%s\r\n" % (status, "".join(one + "\r\n" for one in headers))).encode() + body


def chunks(*parts, trailers=b"", extension=b""):
    return b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in parts) + b"0\r\n" + trailers + CRLF


def sized(body, *more):
    return answer("content-type: text/event-stream", "content-length: %d" % len(body), *more, body=body)


def chunked(*parts, **more):
    return answer("content-type: text/event-stream", "transfer-encoding: chunked", body=chunks(*parts, **more))


EVENTS = b"".join(b'data: {"n":%d}\n\n' % n for n in range(40))
# name: (the answer, bytes of its body, method, whether the upstream closes to end it)
FRAMINGS = {
    "content-length": (sized(EVENTS), len(EVENTS), "POST", False),
    "chunked": (chunked(*EVENTS.splitlines(True)), len(EVENTS), "POST", False),
    "a byte a chunk": (chunked(*(EVENTS[n:n + 1] for n in range(len(EVENTS)))), len(EVENTS), "POST", False),
    "extensions and trailers": (chunked(EVENTS, trailers=b"x-sum: 1\r\nx-more: 2\r\n", extension=b';a="b;c"'), len(EVENTS), "POST", False),
    "until it closes": (answer("content-type: text/event-stream", body=EVENTS), len(EVENTS), "POST", True),
    "103 before 200": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + sized(EVENTS), len(EVENTS), "POST", False),
    "100 before 200": (b"HTTP/1.1 100 Continue\r\n\r\n" + chunked(EVENTS), len(EVENTS), "POST", False),
    "204": (answer(status="204 No Content"), 0, "POST", False),
    "304": (answer("content-length: 500", status="304 Not Modified"), 0, "GET", False),
    "HEAD": (answer("content-length: 500"), 0, "HEAD", False),
    "an error": (answer("content-type: application/json", "content-length: 2", status="429 Too Many Requests", body=b"{}"), 2, "POST", False),
    "no body": (answer("content-length: 0"), 0, "POST", False),
    "coded": (sized(b"\x1f\x8b\x00\xff" * 50, "content-encoding: gzip"), 200, "POST", False),
    "large": (chunked(*[os.urandom(60000)] * 20), 1200000, "POST", False),
}


def deliver(upstream, client, data, step, closes=False):
    """Sends an answer `step` bytes at a time, and reads it at the other end."""
    def write():
        for at in range(0, len(data), step):
            upstream.send(data[at:at + step])
        if closes:
            upstream.close()
    writer = threading.Thread(target=write)
    writer.start()
    client.expect(data)
    writer.join()
    assert not closes or client.gone()
