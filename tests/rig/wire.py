"""HTTP/1.1 over a raw socket, for the client's side: the bytes of a request are the test's, the bytes of an answer
are kept. http.client would reorder, merge and add headers."""
import json
import socket
import ssl
import time


class Cut(Exception):
    """The connection ended inside a message; `response` is what came before."""

    def __init__(self, response):
        super().__init__("connection closed inside an answer: %r" % (response,))
        self.response = response


class Response:
    def __init__(self, status, headers, raw_head, interim):
        self.status, self.headers, self.raw_head, self.interim = status, headers, raw_head, interim
        self.body = b""
        self.complete = False

    def header(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The JSON of an event stream's data lines."""
        return [json.loads(line[6:]) for line in self.body.decode().split("\n")
                if line.startswith("data: ") and line != "data: [DONE]"]

    def __repr__(self):
        return "<%d %r %r>" % (self.status, self.headers, self.body[:300])


def request(method, target, headers, body=None, chunks=None, version="HTTP/1.1"):
    """The bytes of a request. `chunks` (a list of bytes) sends the body chunked."""
    lines = ["%s %s %s" % (method, target, version)]
    lines += ["%s: %s" % pair for pair in headers]
    names = {name.lower() for name, _ in headers}
    if chunks is not None:
        lines.append("Transfer-Encoding: chunked")
    elif body is not None and "content-length" not in names:
        lines.append("Content-Length: %d" % len(body))
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if chunks is not None:
        return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in chunks) + b"0\r\n\r\n"
    return head + (body or b"")


class Connection:
    def __init__(self, address, timeout=30.0, tls=None):
        self.timeout = timeout
        self.sock = socket.create_connection(address, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=address[0])
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def _more(self, end):
        self.sock.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        self.buffer += data
        return bool(data)

    def _line(self, end):
        while b"\r\n" not in self.buffer:
            if not self._more(end):
                raise EOFError
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _head(self, end):
        while b"\r\n\r\n" not in self.buffer:
            if not self._more(end):
                raise EOFError
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = []
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers.append((name, value.strip()))
        return status, headers, head

    def head(self, timeout=None):
        """The head of the next final answer; the interim ones are kept in `.interim`."""
        end = time.monotonic() + (timeout or self.timeout)
        interim = []
        while True:
            status, headers, raw = self._head(end)
            if status >= 200 or status == 101:
                return Response(status, headers, raw, interim)
            interim.append(status)

    def pieces(self, response, method="GET", timeout=None):
        """The body as it arrives."""
        end = time.monotonic() + (timeout or self.timeout)
        try:
            if method == "HEAD" or response.status in (101, 204, 304):
                response.complete = True
            elif "chunked" in (response.header("transfer-encoding") or ""):
                while True:
                    size = int(self._line(end).split(b";")[0], 16)
                    while len(self.buffer) < size + 2:
                        if not self._more(end):
                            raise EOFError
                    piece, self.buffer = self.buffer[:size], self.buffer[size + 2:]
                    if size == 0:
                        break
                    response.body += piece
                    yield piece
                response.complete = True
            elif response.header("content-length") is not None:
                left = int(response.header("content-length"))
                while left:
                    if not self.buffer and not self._more(end):
                        raise EOFError
                    piece, self.buffer = self.buffer[:left], self.buffer[left:]
                    left -= len(piece)
                    response.body += piece
                    yield piece
                response.complete = True
            else:
                while self._more(end):
                    pass
                response.body, self.buffer, response.complete = self.buffer, b"", True
                yield response.body
        except EOFError:
            raise Cut(response) from None

    def read(self, method="GET", timeout=None):
        """The next whole answer."""
        response = self.head(timeout)
        for _ in self.pieces(response, method, timeout):
            pass
        return response

    def ask(self, method, target, headers, body=None, chunks=None, timeout=None):
        try:
            self.send(request(method, target, headers, body, chunks))
        except (BrokenPipeError, ConnectionResetError):
            pass        # refused while still sending: the answer may be there to read
        return self.read(method, timeout)


# ---- just enough HTTP/2 to send one request in clear text


def h2_request(address, method, path, authority, headers, body, timeout=30.0):
    """Sends one request with prior knowledge. Returns (status, body); the status only where HAProxy's encoder
    used the static table for it, else None."""
    def block(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def literal(name, value):
        name, value = name.lower().encode(), value.encode()
        assert len(name) < 127
        size = bytes([len(value)]) if len(value) < 127 else bytes([127, len(value) - 127])
        return b"\x00" + bytes([len(name)]) + name + size + value

    fields = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)] + list(headers)
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + block(4, 0, 0, b"")
    data += block(1, 4 if body else 5, 1, b"".join(literal(*pair) for pair in fields))
    if body:
        data += block(0, 1, 1, body)
    static = {0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500}
    status, out, buffer = None, b"", b""
    with socket.create_connection(address, timeout) as sock:
        sock.sendall(data)
        while True:
            while len(buffer) < 9 or len(buffer) - 9 < int.from_bytes(buffer[:3], "big"):
                piece = sock.recv(65536)
                if not piece:
                    return status, out
                buffer += piece
            size, kind, flags = int.from_bytes(buffer[:3], "big"), buffer[3], buffer[4]
            stream, payload = int.from_bytes(buffer[5:9], "big"), buffer[9:9 + size]
            buffer = buffer[9 + size:]
            if kind == 4 and not flags & 1:
                sock.sendall(block(4, 1, 0, b""))
            elif kind == 1 and stream == 1:
                # A dynamic table size update (001xxxxx) may come first.
                at = 0
                while payload[at] & 0xe0 == 0x20:
                    at += 1
                    while payload[at - 1] & 0x1f == 0x1f and payload[at] & 0x80:
                        at += 1
                if payload[at] in static:
                    status = static[payload[at]]
                else:
                    digits = payload[at:at + 8]
                    for plain in range(400, 600):
                        if str(plain).encode() in digits:
                            status = plain
            elif kind == 0 and stream == 1:
                out += payload
            elif kind in (3, 7):
                return status, out
            if stream == 1 and kind in (0, 1) and flags & 1:
                return status, out
