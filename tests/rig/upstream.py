"""An upstream that remembers what it was sent, to the byte: request line, headers in order and spelling, body,
framing and connection. It answers as OpenAI, Anthropic or Gemini would, whole or streamed, and can be told to be
down, slow, failing, or to break off."""
import base64
import hashlib
import http.client
import json
import socket
import struct
import threading


class Request:
    def __init__(self, mock, connection, line, headers, raw_head):
        self.mock, self.connection, self.line, self.headers, self.raw_head = mock, connection, line, headers, raw_head
        self.method, self.target, self.version = (line.split(" ") + ["", ""])[:3]
        self.path, _, self.query = self.target.partition("?")
        self.body = b""
        self.trailer = b""
        self.chunked = self.whole = False   # whole: all of its body was received

    def header(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def has(self, secret):
        """Does the secret stand in the head or body received, percent-encoded or not?"""
        raw = secret.encode("latin-1")
        quoted = b"%" + raw.hex("%").encode()
        return any(raw in where or (b"%" in where and quoted in where.lower()) for where in (self.raw_head, self.body))

    def __repr__(self):
        return "<%s got %s %s %r %r>" % (self.mock.name, self.method, self.target, self.headers, self.body[:200])


OPENAI_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
ANTHROPIC_USAGE = {"input_tokens": 11, "output_tokens": 7, "cache_read_input_tokens": 5}
GEMINI_USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}


def answer_for(request):
    """(status, JSON) or (200, [(event, JSON), ...]) for a stream."""
    try:
        asked = json.loads(request.body) if request.body else {}
    except ValueError:
        asked = {}
    asked = asked if isinstance(asked, dict) else {}
    model = asked.get("model", "none")
    stream = asked.get("stream") is True
    path = request.path
    if path.endswith("/messages"):
        if stream:
            return 200, [
                ("message_start", {"type": "message_start", "message": {
                    "id": "m1", "type": "message", "role": "assistant", "model": model, "content": [],
                    "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}}),
                ("content_block_start", {"type": "content_block_start", "index": 0,
                                         "content_block": {"type": "text", "text": ""}}),
                ("content_block_delta", {"type": "content_block_delta", "index": 0,
                                         "delta": {"type": "text_delta", "text": "hi"}}),
                ("content_block_stop", {"type": "content_block_stop", "index": 0}),
                ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
                                   "usage": {"output_tokens": 7}}),
                ("message_stop", {"type": "message_stop"})]
        return 200, {"id": "m1", "type": "message", "role": "assistant", "model": model,
                     "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": ANTHROPIC_USAGE}
    if path.endswith("/responses"):
        done = {"id": "r1", "object": "response", "status": "completed", "model": model,
                "output": [{"type": "message", "role": "assistant",
                            "content": [{"type": "output_text", "text": "hi"}]}],
                "usage": {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}}
        if stream:
            return 200, [("response.output_text.delta", {"type": "response.output_text.delta", "delta": "hi"}),
                         ("response.completed", {"type": "response.completed", "response": done})]
        return 200, done
    if path.endswith(":streamGenerateContent"):
        return 200, [(None, {"candidates": [{"content": {"parts": [{"text": "hi"}]}}]}),
                     (None, {"candidates": [], "usageMetadata": GEMINI_USAGE})]
    if path.endswith(":generateContent"):
        return 200, {"candidates": [{"content": {"parts": [{"text": "hi"}]}}], "usageMetadata": GEMINI_USAGE}
    if path.endswith("/models"):
        return 200, {"object": "list", "data": [{"id": "m", "object": "model"}]}
    if stream:
        return 200, [(None, {"object": "chat.completion.chunk", "model": model,
                             "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}}]}),
                     (None, {"object": "chat.completion.chunk", "model": model, "choices": [],
                             "usage": OPENAI_USAGE}),
                     (None, None)]
    return 200, {"id": "c1", "object": "chat.completion", "model": model,
                 "choices": [{"index": 0, "finish_reason": "stop",
                              "message": {"role": "assistant", "content": "hi"}}], "usage": OPENAI_USAGE}


def accept_for(request):
    """The Sec-WebSocket-Accept to a handshake (RFC 6455, 4.2.2)."""
    key = (request.header("sec-websocket-key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()


class Mock:
    """One upstream. `respond(request)` may be set: it returns (status, headers, body bytes), or None for the usual answer.
    `takes_parts`: requests without their end are right, because it has been down, or does not read them."""

    takes_parts = False

    def __init__(self, name, tls=None, host="127.0.0.1", family=socket.AF_INET, port=0):
        self.name, self.tls, self.host, self.family = name, tls, host, family
        self.requests = []
        self.connections = 0
        self.lock = threading.Condition()
        self.open = set()
        self.reset()
        self.port = port
        self.listener = None
        self.up()

    def reset(self):
        """Back to good behaviour; what was received stays."""
        self.respond = None
        self.raw = None             # bytes in place of any HTTP
        self.delay = 0.0
        self.extra_headers = []
        self.break_after = None     # close the connection after that many events of a stream
        self.gate = None            # threading.Event that a stream waits for after its first event, and a WebSocket before its end

    def up(self):
        self.stopping = threading.Event()
        self.listener = socket.socket(self.family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        self.port = self.listener.getsockname()[1]
        self.listener.listen(128)
        self.thread = threading.Thread(target=self._accept, args=(self.listener, self.stopping), daemon=True)
        self.thread.start()

    def down(self):
        """Refuses connections from now on, and ends those it has."""
        self.takes_parts = True
        self.stopping.set()
        if self.gate:
            self.gate.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join(5)
        for sock in list(self.open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    close = down

    def url(self, path="", host=None):
        return "%s://%s:%d%s" % ("https" if self.tls else "http", host or self.host, self.port, path)

    @property
    def authority(self):
        return "%s:%d" % (self.host, self.port)

    def _accept(self, listener, stopping):
        while not stopping.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                number = self.connections
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, number):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.open.add(sock)
            buffer = b""
            while True:
                request, buffer = self._read(sock, buffer, number)
                if request is None or not self._answer(sock, request):
                    return
        except (OSError, ValueError):
            pass
        finally:
            self.open.discard(sock)
            sock.close()

    def _read(self, sock, buffer, number):
        def more():
            nonlocal buffer
            data = sock.recv(65536)
            buffer += data
            return bool(data)

        def whole(size):
            """Takes `size` bytes, and returns them or as many as come."""
            nonlocal buffer
            taken, buffer = bytearray(buffer[:size]), buffer[size:]
            while len(taken) < size:
                data = sock.recv(min(size - len(taken), 1 << 20))
                if not data:
                    break
                taken += data
            return bytes(taken)

        while b"\r\n\r\n" not in buffer:
            if not more():
                return None, b""
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value[1:] if value[:1] == " " else value)
                   for name, value in (line.split(":", 1) for line in lines[1:])]
        request = Request(self, number, lines[0], headers, head)
        request.address = sock.getsockname()[0]
        # On record before anything can go wrong with the body: "nothing arrived" must mean nothing.
        with self.lock:
            self.requests.append(request)
        if (request.header("expect") or "").lower() == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (request.header("transfer-encoding") or "").lower():
            request.chunked, body = True, bytearray()
            while True:
                while b"\r\n" not in buffer:
                    if not more():
                        return None, b""
                line, buffer = buffer.split(b"\r\n", 1)
                size = int(line.split(b";")[0], 16)
                if size == 0:
                    while b"\r\n\r\n" not in b"\r\n" + buffer:
                        if not more():
                            return None, b""
                    request.trailer, buffer = (b"\r\n" + buffer).split(b"\r\n\r\n", 1)
                    request.whole = True
                    return request, buffer
                body += whole(size)
                request.body = bytes(body)
                if len(whole(2)) < 2:
                    return None, b""
        size = int(request.header("content-length") or 0)
        request.body = whole(size)
        request.whole = len(request.body) == size
        return (request, buffer) if request.whole else (None, b"")

    def _answer(self, sock, request):
        if self.delay:
            self.stopping.wait(self.delay)
        extra = [("x-mock", self.name)] + self.extra_headers

        def head(status, headers):
            lines = ["HTTP/1.1 %d %s" % (status, http.client.responses.get(status, "Answer"))] + ["%s: %s" % pair for pair in headers]
            return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

        if self.raw is not None:
            sock.sendall(self.raw)
            return False
        told = self.respond(request) if self.respond else None
        if told:
            status, headers, body = told
            sock.sendall(head(status, headers + extra + [("Content-Length", len(body))]) + body)
            return True
        if "websocket" in (request.header("upgrade") or "").lower():
            sock.sendall(head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                                    ("Sec-WebSocket-Accept", accept_for(request))] + extra))
            if self.gate:
                self.gate.wait(20)
            return False
        status, answer = answer_for(request)
        if isinstance(answer, dict):
            body = json.dumps(answer).encode()
            sock.sendall(head(status, extra + [("Content-Type", "application/json"), ("Content-Length", len(body))])
                         + (b"" if request.method == "HEAD" else body))
            return True
        sock.sendall(head(status, extra + [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"),
                                           ("Transfer-Encoding", "chunked")]))
        for at, (event, data) in enumerate(answer):
            if self.break_after == at:
                # A reset, so that nobody takes it for the end of the stream.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            text = ("event: %s\n" % event if event else "") + "data: %s\n\n" % (
                "[DONE]" if data is None else json.dumps(data))
            sock.sendall(b"%x\r\n%s\r\n" % (len(text), text.encode()))
            if at == 0 and self.gate:
                self.gate.wait(20)
        sock.sendall(b"0\r\n\r\n")
        return True
