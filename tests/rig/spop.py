"""SPOP 2.0 in plain Python, written from HAProxy's doc/SPOE.txt and from nothing of the agent's.

`Client` plays HAProxy towards a real agent, byte by byte if a test wants; `FakeAgent` plays the agent towards a
real HAProxy: slow, silent or lying. The codec is strict on purpose: what the agent sends is read by these
functions, so a frame that HAProxy would only forgive fails here.
"""
import json
import select
import socket
import struct
import threading
import time

import evidence

UNSET, HAPROXY_HELLO, HAPROXY_DISCONNECT, NOTIFY = 0, 1, 2, 3
AGENT_HELLO, AGENT_DISCONNECT, ACK = 101, 102, 103
FIN, ABORT = 1, 2
SCOPES = ("proc", "sess", "txn", "req", "res")

# Status codes of a DISCONNECT (SPOE.txt 3.5).
NORMAL, IO, TIMEOUT, TOO_BIG, INVALID, NO_VERSION, NO_SIZE, NO_CAPABILITIES, BAD_VERSION, BAD_SIZE, FRAGMENTED = range(11)


class Bad(Exception):
    """The peer sent what SPOE.txt does not allow."""


class Closed(Exception):
    """The peer closed the connection."""


# ---- bytes of the basic types


def varint(value):
    """Peers encoding; one byte below 240, then 4 bits and groups of 7."""
    value &= (1 << 64) - 1
    if value < 240:
        return bytes([value])
    out = [(value & 15) | 240]
    value = (value - 240) >> 4
    while value >= 128:
        out.append((value & 127) | 128)
        value = (value - 128) >> 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    if at >= len(data):
        raise Bad("varint beyond the end")
    value = data[at]
    at += 1
    if value < 240:
        return value, at
    shift = 4
    while True:
        if at >= len(data):
            raise Bad("varint cut")
        if shift > 60:
            raise Bad("varint over 64 bits")
        byte = data[at]
        at += 1
        value += byte << shift
        shift += 7
        if byte < 128:
            return value, at


def string(value):
    raw = value.encode() if isinstance(value, str) else value
    return varint(len(raw)) + raw


def read_string(data, at):
    size, at = read_varint(data, at)
    if size > len(data) - at:
        raise Bad("string of %d bytes, %d left" % (size, len(data) - at))
    return data[at:at + size], at + size


class U32(int):
    """An unsigned 32-bit integer, where int alone is sent as INT64, as HAProxy does."""


class I32(int):
    pass


class U64(int):
    pass


class IPv4(bytes):
    pass


class IPv6(bytes):
    pass


class Raw(bytes):
    """Typed data given as its bytes, to send what no honest peer would."""


def typed(value):
    if isinstance(value, Raw):
        return bytes(value)
    if value is None:
        return b"\x00"
    if isinstance(value, bool):
        return b"\x11" if value else b"\x01"
    if isinstance(value, int):
        kind = {I32: 2, U32: 3, U64: 5}.get(type(value), 4)
        return bytes([kind]) + varint(value)
    if isinstance(value, IPv4):
        return b"\x06" + value
    if isinstance(value, IPv6):
        return b"\x07" + value
    if isinstance(value, str):
        return b"\x08" + string(value)
    return b"\x09" + string(bytes(value))


def read_typed(data, at):
    if at >= len(data):
        raise Bad("typed data beyond the end")
    kind, flags = data[at] & 15, data[at] >> 4
    at += 1
    if kind == 0:
        return None, at
    if kind == 1:
        if flags not in (0, 1):
            raise Bad("boolean with flags %d" % flags)
        return bool(flags), at
    if 2 <= kind <= 5:
        value, at = read_varint(data, at)
        if kind in (2, 4) and value >= 1 << 63:
            value -= 1 << 64
        return value, at
    if kind in (6, 7):
        size = 4 if kind == 6 else 16
        if size > len(data) - at:
            raise Bad("address cut")
        return (IPv4 if kind == 6 else IPv6)(data[at:at + size]), at + size
    if kind in (8, 9):
        raw, at = read_string(data, at)
        return (raw.decode() if kind == 8 else raw), at
    raise Bad("type %d" % kind)


def kv(pairs):
    return b"".join(string(name) + typed(value) for name, value in (pairs.items() if isinstance(pairs, dict) else pairs))


def read_kv(data, at=0):
    out = {}
    while at < len(data):
        name, at = read_string(data, at)
        if name.decode() in out:
            raise Bad("%r twice" % name)
        out[name.decode()], at = read_typed(data, at)
    return out


# ---- frames


def frame(kind, payload=b"", stream=0, number=0, flags=FIN):
    """A frame with its length in front."""
    body = bytes([kind]) + struct.pack(">I", flags) + varint(stream) + varint(number) + payload
    return struct.pack(">I", len(body)) + body


class Frame:
    def __init__(self, body):
        if len(body) < 7:
            raise Bad("frame of %d bytes" % len(body))
        self.size = len(body)
        self.kind = body[0]
        self.flags = struct.unpack(">I", body[1:5])[0]
        self.stream, at = read_varint(body, 5)
        self.number, at = read_varint(body, at)
        self.payload = body[at:]
        if self.flags != FIN:
            raise Bad("flags %#x" % self.flags)

    def kv(self):
        return read_kv(self.payload)

    def actions(self):
        """The actions in order: (scope, name, value), value `unset` for an unset-var."""
        out, at, data = [], 0, self.payload
        while at < len(data):
            if len(data) - at < 3:
                raise Bad("action cut")
            kind, count, scope = data[at], data[at + 1], data[at + 2]
            if (kind, count) not in ((1, 3), (2, 2)):
                raise Bad("action %d with %d arguments" % (kind, count))
            name, at = read_string(data, at + 3)
            value = "unset"
            if kind == 1:
                value, at = read_typed(data, at)
            out.append((SCOPES[scope], name.decode(), value))
        return out

    def variables(self):
        """The variables of a decision. What the agent leaves out because HAProxy's rules take it for granted is added."""
        out = {}
        for scope, name, value in self.actions():
            if scope != "txn":
                raise Bad("variable %s in scope %s" % (name, scope))
            if name in out:
                raise Bad("variable %s set twice" % name)
            if len("txn.llm." + name) >= 64:
                raise Bad("variable name too long for HAProxy: " + name)
            out[name] = value
        if "allow" in out:
            passes = out["allow"] == "passthrough"
            out.update({"deny": False, "auth": "passthrough" if passes else "replace"}, **({} if passes else {"auth_header": out["allow"]}))
            out.setdefault("protocol", "openai")
        return out

    def messages(self):
        out, at = [], 0
        while at < len(self.payload):
            name, at = read_string(self.payload, at)
            if at >= len(self.payload):
                raise Bad("message without a number of arguments")
            count, at, args = self.payload[at], at + 1, {}
            for _ in range(count):
                key, at = read_string(self.payload, at)
                args[key.decode()], at = read_typed(self.payload, at)
            out.append((name.decode(), args))
        return out

    def __repr__(self):
        return "<frame %d stream %d/%d, %d bytes>" % (self.kind, self.stream, self.number, self.size)


def message(name, args, count=None):
    pairs = list(args.items()) if isinstance(args, dict) else list(args)
    return string(name) + bytes([len(pairs) if count is None else count]) + kv(pairs)


REQUEST = "llm-request-2"
# The arguments of llm-request, the message of contract 1, that llm-request-2 has in `flags` and `headers`.
FLAGS = {"upgrade": 1, "bearer_sk_ant": 2, "query_unclear": 4, "no_records": 8}
NAMES = {"sized": "content-length", "x_api_key": "x-api-key", "api_key": "api-key", "x_goog_api_key": "x-goog-api-key", "anthropic_version": "anthropic-version"}


def notify(args, stream=1, number=1, name=None):
    """`name`: of the message; by default it is REQUEST, or `llm-request` if `args` has a contract."""
    return frame(NOTIFY, message(name or ("llm-request" if "contract" in args else REQUEST), args), stream, number)


HELLO = {"supported-versions": "2.0", "max-frame-size": U32(16380), "capabilities": "pipelining,async",
         "engine-id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8"}


def hello(without=(), **changes):
    pairs = dict(HELLO)
    pairs.update({key.replace("_", "-"): value for key, value in changes.items()})
    return frame(HAPROXY_HELLO, kv({key: value for key, value in pairs.items() if key not in without}))


def question(body=None, path="/v1/chat/completions", method="POST", **more):
    """The arguments of llm-request-2 as the shipped spoe.conf sends them, in which `more` may have what FLAGS and NAMES have. With `contract` those of llm-request."""
    if body is not None and not isinstance(body, bytes):
        body = body.encode()
    args = {"id": "t-1", "method": method, "path": path, "model_param": None, "ctype": "application/json",
            "cenc": None, "body": body, "tail": None, "buffered": len(body or b""), "length": len(body or b""),
            "ua": "test", "model_hint": None, "project": None, "client": None}
    if "contract" not in more:
        names = ["host"] + [name for key, name in NAMES.items() if more.get(key)] + ["content-type"] * (2 if more.get("headers_unclear") else 1)
        args.update(headers=",".join(names), flags=sum(flag for key, flag in FLAGS.items() if more.get(key)) or None)
        more = {key: value for key, value in more.items() if key not in (*FLAGS, *NAMES, "headers_unclear")}
    args.update(more)
    return args


# ---- HAProxy's side


def connect(address, timeout):
    """address as the agent's `listen` writes it: unix@/path, /path, 127.0.0.1:port."""
    if address.startswith("unix@"):
        address = address[5:]
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(address)
    else:
        host, port = address.rsplit(":", 1)
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


AUTH_VALUE = string("auth_value")


def without_credential(body):
    """The parts of a frame that must not hold a credential: all but the value of `auth_value`, the variable that carries it."""
    at = body.find(AUTH_VALUE)
    if at < 0 or body[0] != ACK:
        return body
    value, after = read_typed(body, at + len(AUTH_VALUE))
    return body[:at + len(AUTH_VALUE)] + body[after:] if isinstance(value, str) else body


class Client:
    """One connection of HAProxy's to an agent. Whatever it receives is searched for credentials."""

    def __init__(self, address, timeout=10.0, greet=True, **changes):
        self.timeout = timeout
        self.sock = connect(address, timeout)
        self.poll = select.poll()    # because select() takes no descriptor above 1023
        self.poll.register(self.sock, select.POLLIN)
        self.buffer = b""
        self.size = None
        self.agreed = None
        self.next = 1
        if greet:
            self.greet(**changes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data, step=None):
        """All of data; in pieces of `step` bytes, each a write of its own, where given."""
        if step is None:
            self.sock.sendall(data)
        else:
            for at in range(0, len(data), step):
                self.sock.sendall(data[at:at + step])

    def receive(self, timeout=None):
        """The next frame. Raises Closed at the end, TimeoutError where none comes."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            if len(self.buffer) >= 4:
                size = struct.unpack(">I", self.buffer[:4])[0]
                if self.size is not None and size > self.size:
                    raise Bad("a frame of %d bytes where %d were agreed" % (size, self.size))
                if len(self.buffer) - 4 >= size:
                    body, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
                    evidence.later(without_credential(body), "an answer by SPOP")
                    return Frame(body)
            if not self.poll.poll(max(1, (end - time.monotonic()) * 1000)):
                raise TimeoutError("no frame in time")
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                if self.buffer:
                    raise Bad("closed inside a frame: %r" % self.buffer[:40])
                raise Closed()
            self.buffer += data

    def greet(self, **changes):
        self.send(hello(**changes))
        answer = self.receive()
        if answer.kind != AGENT_HELLO:
            raise Bad("%r instead of AGENT-HELLO: %s" % (answer, answer.kv()))
        if (answer.stream, answer.number) != (0, 0):
            raise Bad("AGENT-HELLO with ids %d/%d" % (answer.stream, answer.number))
        self.agreed = answer.kv()
        self.size = self.agreed["max-frame-size"]
        return self.agreed

    def ack(self, stream, number, timeout=None):
        answer = self.receive(timeout)
        if answer.kind != ACK:
            raise Bad("%r instead of ACK: %s" % (answer, answer.kv()))
        if (answer.stream, answer.number) != (stream, number):
            raise Bad("ACK for %d/%d instead of %d/%d" % (answer.stream, answer.number, stream, number))
        return answer

    def ask(self, args=None, name=None, **more):
        """One question and its answer's variables, with what HAProxy gets in the agent's part of the log line alone."""
        stream, number = self.next, 1
        self.next += 1
        self.send(notify(question(**more) if args is None else args, stream, number, name))
        got = self.ack(stream, number).variables()
        if "line" in got:
            line = json.loads('{"":""%s}' % got["line"])
            got.update({name: line[name] for name in ("route", "model") if line[name] and name not in got})
            got.setdefault("stream", line["stream"] == "1")
        return got

    def disconnected(self):
        """(status, message) of the AGENT-DISCONNECT that must come now, followed by the end of the connection.
        ACKs that were under way are passed over."""
        answer = self.receive()
        while answer.kind == ACK:
            answer = self.receive()
        if answer.kind != AGENT_DISCONNECT or (answer.stream, answer.number) != (0, 0):
            raise Bad("%r instead of AGENT-DISCONNECT" % answer)
        pairs = answer.kv()
        if set(pairs) != {"status-code", "message"} or not isinstance(pairs["message"], str):
            raise Bad("AGENT-DISCONNECT with %r" % pairs)
        try:
            more = self.receive()
        except Closed:
            return pairs["status-code"], pairs["message"]
        raise Bad("%r after AGENT-DISCONNECT" % more)

    def closed(self):
        """True when the connection ends without another frame."""
        try:
            self.receive()
        except Closed:
            return True
        return False


# ---- the agent's side


def set_var(name, value, scope="txn"):
    return b"\x01\x03" + bytes([SCOPES.index(scope)]) + string(name) + typed(value)


def actions(variables):
    return b"".join(set_var(name, value) for name, value in variables.items())


class FakeAgent:
    """Answers each NOTIFY of a real HAProxy with what `answer(args)` returns: a dict of variables, the bytes of a
    whole frame, None for silence, or `FakeAgent.CLOSE`. `delay` seconds pass before. What it is asked is searched for credentials."""

    CLOSE = object()

    def __init__(self, path, answer, delay=0.0, hello_answer=None):
        self.path, self.answer, self.delay, self.hello_answer = path, answer, delay, hello_answer
        self.asked = []
        self.stop = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def close(self):
        self.stop.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _accept(self):
        while not self.stop.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            thread.start()

    def _serve(self, sock):
        with sock:
            try:
                self._talk(sock)
            except (OSError, Bad, EOFError):
                pass

    def _talk(self, sock):
        def exactly(count):
            data = b""
            while len(data) < count:
                piece = sock.recv(count - len(data))
                if not piece:
                    raise EOFError
                data += piece
            return data

        while True:
            got = Frame(exactly(struct.unpack(">I", exactly(4))[0]))
            if got.kind == HAPROXY_HELLO:
                if self.hello_answer is not None:
                    sock.sendall(self.hello_answer)
                    continue
                sock.sendall(frame(AGENT_HELLO, kv({
                    "version": "2.0", "max-frame-size": U32(got.kv()["max-frame-size"]),
                    "capabilities": "pipelining" if "pipelining" in got.kv()["capabilities"] else ""})))
            elif got.kind == HAPROXY_DISCONNECT:
                return
            elif got.kind == NOTIFY:
                evidence.later(got.payload, "a question by SPOP")
                args = got.messages()[0][1]
                self.asked.append(args)
                self.stop.wait(self.delay)
                answer = self.answer(args)
                if answer is self.CLOSE:
                    return
                if isinstance(answer, dict):
                    answer = frame(ACK, actions(answer), got.stream, got.number)
                elif callable(answer):
                    answer = answer(got)
                if answer is not None:
                    sock.sendall(answer)
