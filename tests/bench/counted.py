"""A gateway whose HAProxy runs under callgrind. One thread plays client and upstream, one step after the other, so that HAProxy does the same in each run."""
import json
import pathlib
import re
import select
import socket
import tempfile

import callgrind
import harness
from plaintap import TappedGateway
from realtap import RealTap

KEY = harness.secret("counted")
USAGE = {"prompt_tokens": 300, "completion_tokens": 80, "total_tokens": 380, "prompt_tokens_details": {"cached_tokens": 128}}
EVENT = b'data: ' + json.dumps({"id": "chatcmpl-0123456789", "object": "chat.completion.chunk", "created": 1795359320, "model": "gpt-4.1-mini",
                                "choices": [{"index": 0, "delta": {"content": " token"}, "finish_reason": None}]}).encode() + b"\n\n"
SECONDS = 60


def frontend(text):
    """The frontend `llm` of haproxy.cfg."""
    return re.search(r"^frontend llm\n.*?(?=^# Answers what is not forwarded)", text, re.M | re.S).group()


def quiet(text):
    """haproxy.cfg without what HAProxy does beside requests (checks, the ring), and without log lines but those to standard output."""
    text = re.sub(r"\binter \S+", "inter 1h", text)
    text = re.sub(r"(?ms)^ring llm-ledger\n.*?(?=^\.endif)", "", text)
    text, dropped = re.subn(r"(?m)^ +log (?:ring@llm-ledger|\"\$LLM_LOG_UDP\") .*\n", "", text)
    assert dropped == 2
    return text.replace("global\n", "global\n    nbthread 1\n", 1)


class Upstream:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.read = {}      # connection -> bytes of a request

    def request(self):
        """The connection on which the next request has come as a whole."""
        while True:
            ready, _, _ = select.select([self.listener, *self.read], [], [], SECONDS)
            assert ready, "no request has come"
            for one in ready:
                if one is self.listener:
                    self.read[one.accept()[0]] = b""
                    continue
                try:
                    data = one.recv(1 << 16)
                except ConnectionResetError:        # as a check ends
                    data = b""
                self.read[one] += data
                if not data:
                    one.close()
                    del self.read[one]
                    continue
                head, end, body = self.read[one].partition(b"\r\n\r\n")
                if end and len(body) == int(re.search(rb"(?i)content-length: (\d+)", head).group(1)):
                    self.read[one] = b""
                    return one

    def close(self):
        for one in [self.listener, *self.read]:
            one.close()


class Counted:
    """`routes(url)`: the agent's; `edit(text)`: applied to haproxy.cfg; `config`: more of the agent's options; `limits`: HAProxy's environment."""

    def __init__(self, haproxy, routes, edit, config=None, limits=None):
        self.work = tempfile.TemporaryDirectory()
        self.counter = callgrind.Counter(pathlib.Path(self.work.name), haproxy)
        self.upstream = Upstream()
        self.gateway = TappedGateway(self.counter.haproxy, [], dict({"routes": routes("http://127.0.0.1:%d" % self.upstream.port), "tap": True}, **(config or {})), env={"KEY": KEY},
                                     make_tap=lambda path, legs: RealTap(path, legs, report=False),
                                     limits=dict({"GLIBC_TUNABLES": harness.drop_in()["GLIBC_TUNABLES"]}, **(limits or {})), edit=lambda text: edit(quiet(text)))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.gateway.close(quiet=kind is not None)
        self.upstream.close()
        self.work.cleanup()

    def connect(self, port=None):
        address = "127.0.0.1", port or self.gateway.port
        harness.until(lambda: harness.accepting("%s:%d" % address), 15, "HAProxy listens")
        return socket.create_connection(address, SECONDS)

    def between(self, action):
        """The file of callgrind's of what HAProxy does while `action()` runs."""
        try:
            return self.counter.between(self.gateway.haproxy.pid, action)
        except AssertionError as problem:
            raise AssertionError("%s\n%s" % (problem, self.gateway.haproxy.text()[-3000:])) from None

    def ask(self, client, model, stream, more=b"", credential=b"authorization: Bearer sk-bench\r\n"):
        """Sends a request of 1 KB. Returns the upstream's connection."""
        body = harness.chat(model, padding="x " * 450, **({"stream": True} if stream else {}))
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n%s"
                       b"user-agent: OpenAI/Python 1.99.1\r\n%scontent-length: %d\r\n\r\n" % (credential, more, len(body)) + body)
        return self.upstream.request()

    @staticmethod
    def receive(client, end):
        data = b""
        while not data.endswith(end):
            more = client.recv(1 << 16)
            data += more
            assert more and not data.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), data
        return data

    def plain(self, client, model, more=b"", **credential):
        """A chat of which the answer is one JSON object."""
        answer = json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 80}}],
                             "usage": USAGE}).encode()
        upstream = self.ask(client, model, False, more, **credential)
        upstream.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
        self.receive(client, answer[-20:])

    def begin(self, client, model, more=b""):
        """A chat of which the answer is a stream; returns the upstream's connection when the first event has come."""
        upstream = self.ask(client, model, True, more)
        upstream.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self.event(client, upstream)
        return upstream

    def event(self, client, upstream):
        upstream.sendall(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
        self.receive(client, EVENT + b"\r\n")

    def end(self, client, upstream):
        upstream.sendall(b"0\r\n\r\n")
        self.receive(client, b"0\r\n\r\n")
