"""The receiving side of HAProxy's log lines: the ring (TCP, octet-counted) and UDP. It reads RFC 5424 as the RFC has
it, and JSON by Python's parser, so that what only a lenient reader would take fails here."""
import json
import re
import socket
import struct
import threading

import harness

KEY = (harness.secret("log-key") + "k0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-")[:64]
HEADER = re.compile(rb"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) (-|\[(?:[^\]\\\"]|\"(?:[^\"\\\]]|\\.)*\")*\]) (.*)", re.S)
ELEMENT = re.compile(rb'\[llm@32473 key="((?:[^"\\\]]|\\["\\\]])*)"\]')


class Line:
    """One message: `raw` its bytes, `key` as it arrived, `text` the message, `record` its JSON."""

    def __init__(self, raw, way):
        self.raw, self.way = raw, way
        found = HEADER.fullmatch(raw)
        assert found, "no RFC 5424 on the %s: %r" % (way, raw)
        self.priority, self.tag, self.sd = int(found.group(1)), found.group(4), found.group(7)
        self.text = found.group(8)
        element = ELEMENT.fullmatch(self.sd)
        self.key = element and element.group(1).decode()
        # What HAProxy says of itself (a proxy started, stopping) is no record: it has no key, and is more severe than `info`.
        self.is_record = self.priority & 7 == 6
        assert self.is_record == bool(element), raw
        self.record = self.parse() if self.is_record else None

    def parse(self):
        pairs = []

        def once(items):
            pairs.append(items)
            names = [name for name, _ in items]
            assert len(names) == len(set(names)), names
            return dict(items)
        text = self.text[:-1] if self.text.endswith(b"\n") else self.text
        return json.loads(text.decode("ascii"), object_pairs_hook=once)

    def __repr__(self):
        return "<%s %r>" % (self.way, self.raw)


class Receiver:
    """Listens on one port for both. `up()` and `down()` are the receiver's life; what was received stays."""

    def __init__(self, rcvbuf=4 << 20):
        self.port, self.rcvbuf = harness.free_port(), rcvbuf
        self.lines, self.bad = [], []
        self.by_id = {}             # the records of each request, since some tests ask for each of thousands
        self.connections = 0
        self.lock = threading.Lock()
        self.up()

    @property
    def environment(self):
        address = "127.0.0.1:%d" % self.port
        return {"LLM_LOG_RING": address, "LLM_LOG_UDP": address, "SPOA_LLM_LOG_KEY": KEY}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    def up(self):
        self.stop = threading.Event()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(8)
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        self.datagrams.bind(("127.0.0.1", self.port))
        self.open = []
        for run in (self._accept, self._datagrams):
            threading.Thread(target=run, daemon=True).start()

    def down(self):
        self.stop.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wake:
            wake.sendto(b"", ("127.0.0.1", self.port))
        self.datagrams.close()
        for sock in self.open:
            # A reset, as the agent's connections end: HAProxy 3.0.11 takes no notice of a FIN and stays with the dead
            # connection for ever, 3.2 loses the next two records to it.
            if sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

    def _add(self, raw, way):
        try:
            line = Line(raw, way)
        except (AssertionError, ValueError) as problem:
            with self.lock:
                self.bad.append((way, raw, problem))
            return
        with self.lock:
            self.lines.append(line)
            if line.is_record:
                self.by_id.setdefault(line.record["id"], []).append(line)

    def _datagrams(self):
        while not self.stop.is_set():
            try:
                raw = self.datagrams.recv(65536)
            except OSError:
                return
            if raw:
                self._add(raw, "udp")

    def _accept(self):
        while not self.stop.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(sock)
            threading.Thread(target=self._stream, args=(sock,), daemon=True).start()

    def _stream(self, sock):
        data = b""
        while True:
            try:
                piece = sock.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                # An old process of HAProxy 3.2's does not end before this side closes too.
                sock.close()
                return
            data += piece
            while True:
                space = data.find(b" ", 0, 8)
                if space < 0:
                    break
                size = int(data[:space])
                if len(data) < space + 1 + size:
                    break
                raw, data = data[space + 1:space + 1 + size], data[space + 1 + size:]
                self._add(raw, "ring")

    def of(self, request_id=None, way=None):
        with self.lock:
            lines = self.by_id.get(request_id, []) if request_id is not None else [line for line in self.lines if line.is_record]
            return [line for line in lines if way in (None, line.way)]

    def record(self, request_id, seconds=5):
        """The record of one request, which has to come once by each way, the same on both."""
        harness.until(lambda: len(self.of(request_id)) >= 2, seconds,
                      lambda: "%s: %r, bad %r" % (request_id, self.of(request_id), self.bad))
        lines = self.of(request_id)
        assert sorted(line.way for line in lines) == ["ring", "udp"], lines
        assert lines[0].record == lines[1].record, lines
        assert {line.key for line in lines} == {KEY}, lines
        assert not self.bad, self.bad
        return lines[0].record
