"""Streams whose every byte and whose usage are known. `Stream(seed)` has all of one; `serve()` is the upstream that sends it, slowly, and `Client`
reads it; both make it from its number alone."""
import json
import random
import re
import socket
import threading
import time

KINDS = ("chat", "chat", "untold", "anthropic", "gemini", "responses", "ollama")


class Stream:
    def __init__(self, seed):
        self.seed, rng = seed, random.Random(seed)
        self.kind = rng.choice(KINDS)
        self.end = rng.choice(["whole"] * 16 + ["cut", "leave"])
        self.close = rng.random() < .1      # the answer ends where its connection ends
        self.model = "%s-%d" % (rng.choice(["rep", "star"]), seed)
        self.read = rng.choice([0, 0, rng.randrange(5000)])
        self.input, self.output = rng.randrange(1, 10000), rng.randrange(1, 3000)
        self.path = {"anthropic": "/v1/messages", "gemini": "/v1beta/models/%s:streamGenerateContent?alt=sse" % self.model, "responses": "/v1/responses",
                     "ollama": "/api/chat"}.get(self.kind, "/v1/chat/completions")
        count = rng.choice([1, 3, 3, 10])
        self.pieces = getattr(self, "_" + self.kind)([rng.choice(["a", "ü", '"usage":{"prompt_tokens":9}', "x" * 700]) for _ in range(count)])
        self.pauses = [rng.choice([0, 0, .005, .03]) for _ in self.pieces]
        if rng.random() < .02:
            self.pauses[-1] = 1.5
        self.type = "application/x-ndjson" if self.kind == "ollama" else "text/event-stream"

    @property
    def body(self):
        return b"".join(self.pieces)

    @property
    def known(self):
        """The tokens that the row must have if it claims to know them."""
        return None if self.kind == "untold" else {"input": self.input, "output": self.output, "cache_read": 0 if self.kind == "ollama" else self.read}

    @property
    def tells_end(self):
        """Whether the answer says where it ends. Gemini may say so in each event, and the end of a connection says nothing, because it may have broken."""
        return self.kind != "gemini" or not self.close

    # -- the events, in pieces that are sent together

    @staticmethod
    def _event(data, name=""):
        return (("event: %s\n" % name if name else "") + "data: %s\n\n" % (data if isinstance(data, str) else json.dumps(data))).encode()

    def _untold(self, texts):
        return [self._event({"choices": [{"index": 0, "delta": {"content": text}}]}) for text in texts] + [self._event("[DONE]")]

    def _chat(self, texts):
        usage = {"prompt_tokens": self.input + self.read, "completion_tokens": self.output, "total_tokens": self.input + self.read + self.output,
                 "prompt_tokens_details": {"cached_tokens": self.read}}
        return [self._event({"choices": [{"index": 0, "delta": {"content": text}}], "usage": None}) for text in texts] + [
            self._event({"choices": [], "usage": usage}) + self._event("[DONE]")]

    def _anthropic(self, texts):
        first = {"type": "message_start", "message": {"type": "message", "content": [], "usage": {
            "input_tokens": self.input, "cache_read_input_tokens": self.read, "cache_creation_input_tokens": 0, "output_tokens": 1}}}
        return [self._event(first, "message_start")] + [self._event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                                                                    "content_block_delta") for text in texts] + [
            self._event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": self.output}}, "message_delta"),
            self._event({"type": "message_stop"}, "message_stop")]

    def _gemini(self, texts):
        pieces = []
        for at, text in enumerate(texts):
            last = at == len(texts) - 1
            out = self.output if last else self.output * at // len(texts)
            pieces.append(self._event({"candidates": [{"content": {"parts": [{"text": text}]}, **({"finishReason": "STOP"} if last else {})}], "usageMetadata": {
                "promptTokenCount": self.input + self.read, "cachedContentTokenCount": self.read, "candidatesTokenCount": out,
                "totalTokenCount": self.input + self.read + out}}))
        return pieces

    def _responses(self, texts):
        usage = {"input_tokens": self.input + self.read, "input_tokens_details": {"cached_tokens": self.read}, "output_tokens": self.output,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": self.input + self.read + self.output}
        return [self._event({"type": "response.created", "response": {"status": "in_progress", "usage": None}}, "response.created")] + [
            self._event({"type": "response.output_text.delta", "delta": text}, "response.output_text.delta") for text in texts] + [
            self._event({"type": "response.completed", "response": {"status": "completed", "usage": usage}}, "response.completed")]

    def _ollama(self, texts):
        done = {"model": self.model, "done": True, "prompt_eval_count": self.input, "eval_count": self.output, "message": {"content": ""}}
        return [json.dumps(one).encode() + b"\n" for one in [*({"model": self.model, "done": False, "message": {"content": text}} for text in texts), done]]

    # -- the request

    def request(self):
        body = {"model": self.model, "messages": []}
        if self.kind != "ollama":
            body["stream"] = True
        text = json.dumps(body).encode()
        return ("POST %s HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\nauthorization: Bearer of-the-client\r\ncontent-length: %d\r\n\r\n" % (
            self.path, len(text))).encode() + text


# ---- the upstream


class Upstream:
    """`wrong`: requests whose credential is not that of their model's route."""

    def __init__(self, key):
        self.key, self.wrong = key, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with sock, sock.makefile("rb") as lines:
                while self._answer(sock, lines):
                    pass
        except OSError:
            pass

    def _answer(self, sock, lines):
        line, headers = lines.readline(), {}
        if not line:
            return False
        while (header := lines.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = lines.read(int(headers.get("content-length", 0)))
        name = re.search(r"(rep|star)-(\d+)", line.decode() + body.decode())
        if not name:
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            return True
        stream = Stream(int(name[2]))
        if headers.get("authorization") != "Bearer " + (self.key if name[1] == "rep" else "of-the-client") or any(one.startswith("x-llm") for one in headers):
            self.wrong.append((line, headers))
        sock.sendall(("HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n\r\n" % (
            stream.type, "connection: close" if stream.close else "transfer-encoding: chunked")).encode())
        last = len(stream.pieces) // 2 if stream.end == "cut" else len(stream.pieces)
        for piece, pause in list(zip(stream.pieces, stream.pauses))[:last]:
            time.sleep(pause)
            sock.sendall(piece if stream.close else b"%x\r\n%s\r\n" % (len(piece), piece))
        if stream.end == "cut":
            # A reset, so that nobody takes the end of the connection for that of the answer.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.shutdown(socket.SHUT_RD)
            return False
        if not stream.close:
            sock.sendall(b"0\r\n\r\n")
        return not stream.close

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


# ---- the clients


class Result:
    """`outcome`: `whole` (every byte of the body came, and the end), `cut`, `left`, `differs`, `unanswered` (no head of an answer came), or the status
    of a refusal. `kept`: the connection is good for another request. `again`: the request was sent twice."""

    def __init__(self, stream, began):
        self.stream, self.began, self.ended, self.outcome, self.id, self.text = stream, began, 0.0, "unanswered", "", b""
        self.kept = self.again = False


def plain(address):
    """Asks for something that does not stream. Returns the status of the answer."""
    body = b'{"model":"plain"}'
    with socket.create_connection(address, 20) as sock, sock.makefile("rb") as lines:
        sock.sendall(b"POST /v1/moderations HTTP/1.1\r\nhost: gw\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        return int(lines.read().split()[1])


class Client:
    """A client of the gateway. `keeps`: it uses a connection for as long as it stays open. If one that was kept ends before an answer begins, the client
    sends the request again over another one, as all do."""

    def __init__(self, address, keeps):
        self.address, self.keeps, self.sock, self.lines = address, keeps, None, None

    def ask(self, stream):
        result, kept = Result(stream, time.monotonic()), self.sock
        self._try(stream, result)
        if kept and result.outcome == "unanswered":
            result.again = True
            self._try(stream, result)
        result.ended = time.monotonic()
        return result

    def _try(self, stream, result):
        try:
            if not self.sock:
                self.sock = socket.create_connection(self.address, 20)
                self.sock.settimeout(30)
                self.lines = self.sock.makefile("rb")
            self.sock.sendall(stream.request())
            _read(self.lines, stream, result)
        except OSError as error:
            result.text += repr(error).encode()
        if not self.keeps or not result.kept:
            self.close()

    def close(self):
        if self.sock:
            self.lines.close()
            self.sock.close()
        self.sock = None


def _read(lines, stream, result):
    status, headers = lines.readline(), {}
    while (header := lines.readline()) not in (b"\r\n", b""):
        name, _, value = header.decode().partition(":")
        headers[name.lower()] = value.strip()
    if header != b"\r\n":
        return
    result.id, result.outcome = headers.get("x-request-id", ""), "cut"
    if b" 200 " not in status:
        result.outcome, result.text = int(status.split()[1]), lines.read(int(headers.get("content-length", 0)))
        return
    if stream.end == "leave":
        lines.readline()
        result.outcome = "left"
        return
    body, whole = b"", False
    if "chunked" in headers.get("transfer-encoding", ""):
        while (line := lines.readline()):
            size = int(line, 16)
            part = lines.read(size + 2)
            if len(part) < size + 2:
                body += part
                break
            body += part[:-2]
            if size == 0:
                whole = True
                break
    else:
        body, whole = lines.read(), True
    if body != stream.body[:len(body)]:
        result.outcome = "differs"
    elif whole and body == stream.body:
        result.outcome = "whole"
        result.kept = "chunked" in headers.get("transfer-encoding", "") and "close" not in headers.get("connection", "")
    result.text = body
