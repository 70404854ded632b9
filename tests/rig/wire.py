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
    """`interim`: the statuses of the interim answers before it, and `hints` their heads; `trailer`: the fields behind the body."""

    def __init__(self, status, headers, raw_head, interim, hints=()):
        self.status, self.headers, self.raw_head, self.interim, self.hints = status, headers, raw_head, interim, list(hints)
        self.body, self.trailer = b"", []
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
        """The head of the next final answer; the interim ones are kept in `.interim` and `.hints`."""
        end = time.monotonic() + (timeout or self.timeout)
        interim, hints = [], []
        while True:
            status, headers, raw = self._head(end)
            if status >= 200 or status == 101:
                return Response(status, headers, raw, interim, hints)
            interim.append(status)
            hints.append(raw)

    def pieces(self, response, method="GET", timeout=None):
        """The body as it arrives."""
        end = time.monotonic() + (timeout or self.timeout)
        try:
            if method == "HEAD" or response.status in (101, 204, 304):
                response.complete = True
            elif "chunked" in (response.header("transfer-encoding") or ""):
                while True:
                    size = int(self._line(end).split(b";")[0], 16)
                    if size == 0:
                        break
                    while len(self.buffer) < size + 2:
                        if not self._more(end):
                            raise EOFError
                    piece, self.buffer = self.buffer[:size], self.buffer[size + 2:]
                    response.body += piece
                    yield piece
                response.trailer = list(iter(lambda: self._line(end), b""))
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

    def ended(self):
        """Whether the server ends the connection, without anything more than what was read."""
        try:
            return not self.buffer and not self._more(time.monotonic() + self.timeout)
        except socket.timeout:
            return False

    def ask(self, method, target, headers, body=None, chunks=None, timeout=None):
        try:
            self.send(request(method, target, headers, body, chunks))
        except (BrokenPipeError, ConnectionResetError):
            pass        # refused while still sending: the answer may be there to read
        return self.read(method, timeout)
