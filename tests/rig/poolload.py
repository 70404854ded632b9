"""Two programs for a storm over pools: a member, which a test may kill at any time, and the clients, which send a fixed number of requests at a rate.

    python3 poolload.py member NAME PORT RECORD     commands on standard input, a line for each when it is done on standard output
    python3 poolload.py clients PORT COUNT RATE SEED RESULTS MODEL...

A member appends a line to RECORD for all that it knows of a request, before it answers: what is in the file outlives the process."""
import asyncio
import json
import os
import random
import re
import resource
import socket
import sys
import time

PIECES = 3      # of an answer that streams
MOST = 100      # requests in flight


def now():
    """The clock that all processes share."""
    return time.monotonic()


def body_of(member, tag, stream):
    """What `member` answers to the request `tag`."""
    if not stream:
        return ('{"member": "%s", "tag": "%s", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}' % (member, tag)).encode()
    events = ['{"member": "%s", "tag": "%s", "choices": [{"index": 0, "delta": {"content": "%d"}}], "usage": null}' % (member, tag, at) for at in range(PIECES)]
    events += ['{"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}', "[DONE]"]
    return "".join("data: %s\n\n" % event for event in events).encode()


def fields_of(head):
    return dict((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:]))


# ---- a member


class Member:
    """`how`: what it is told to do; `status` by which it answers, `retry_after`, `delay`. `connection`: the class of its connections."""

    connection = None   # Request

    def __init__(self, name, port, record):
        self.name, self.port, self.key = name, port, "Bearer " + os.environ["MEMBER_KEY"]
        self.record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.how, self.open, self.server, self.drains = {}, set(), None, False

    def note(self, *what):
        os.write(self.record, (json.dumps([self.name, round(now(), 6), *what]) + "\n").encode())

    async def listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.server = await asyncio.get_running_loop().create_server(lambda: (self.connection or Request)(self), sock=listener, backlog=1024)

    async def command(self, command):
        """`refuse`: accept no connection, and go on with those that are open. `drain`: end as a server does that is told to: idle connections at once, the
        others behind their answers."""
        if "refuse" in command or "drain" in command:
            if command.get("refuse", True):
                self.server.close()
            else:
                await self.listen()
        else:
            self.how = command
        if "drain" in command:
            self.drains = True
            for one in list(self.open):
                one.idle()

    async def run(self):
        loop = asyncio.get_running_loop()
        await self.listen()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        print("listening", flush=True)
        while (line := await reader.readline()):
            await self.command(json.loads(line))
            print("done", flush=True)
            while self.drains:
                if not self.open:
                    return
                await asyncio.sleep(.005)


class Request(asyncio.Protocol):
    """A connection, with one request at a time."""

    def __init__(self, member):
        self.member, self.data, self.busy, self.asked = member, b"", False, None

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.member.open.add(self)

    def connection_lost(self, _):
        self.member.open.discard(self)

    def idle(self):
        if self.member.drains and not self.busy and not self.data:
            self.transport.close()

    def data_received(self, data):
        self.data += data
        end = self.data.find(b"\r\n\r\n")
        if self.busy or end < 0:
            return
        if not self.asked:
            self.asked = fields_of(self.data[:end].decode("latin-1"))
            wrong = [name for name, value in self.asked.items() if name.startswith("x-llm") or name in ("x-api-key", "api-key", "cookie")]
            if self.asked.get("authorization") != self.member.key or wrong:
                self.member.note("wrong", self.asked.get("x-request-id"), wrong)
            self.member.note("got", self.asked["x-request-id"], self.asked["x-client-request-id"])
        size = int(self.asked.get("content-length", 0))
        if len(self.data) < end + 4 + size:
            return
        body, self.data, self.busy = self.data[end + 4:end + 4 + size], self.data[end + 4 + size:], True
        self.take(body)

    def take(self, body):
        """Answers, after a while, the request whose body is whole."""
        stream, how = b'"stream": true' in body, self.member.how
        asyncio.get_running_loop().call_later(how.get("delay", .01), self.answer, stream, how.get("status", 200), how.get("retry_after"))

    def answer(self, stream, status, retry_after):
        id, tag = self.asked["x-request-id"], self.asked["x-client-request-id"]
        self.member.note("said", id, status)
        more = ("retry-after: %s\r\n" % retry_after if retry_after is not None else "") + ("connection: close\r\n" if self.member.drains else "")
        if status != 200:
            body = b'{"error": {"message": "no"}}'
            self.send("HTTP/1.1 %d No\r\n%scontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, more, len(body)), body)
            return self.end()
        body = body_of(self.member.name, tag, stream)
        if not stream:
            self.send("HTTP/1.1 200 OK\r\n%scontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (more, len(body)), body)
            return self.end()
        self.send("HTTP/1.1 200 OK\r\n%scontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" % more, b"")
        self.piece(body.split(b"\n\n")[:-1], 0)
        return None

    def piece(self, events, at):
        if self.transport.is_closing():
            return
        if at == len(events):
            self.transport.write(b"0\r\n\r\n")
            self.end()
            return
        event = events[at] + b"\n\n"
        self.transport.write(b"%x\r\n%s\r\n" % (len(event), event))
        asyncio.get_running_loop().call_later(.003, self.piece, events, at + 1)

    def send(self, head, body):
        self.transport.write(head.encode() + body)

    def end(self):
        self.busy, self.asked = False, None
        self.idle()
        if self.data:
            self.data_received(b"")


# ---- clients


class Exchange(asyncio.Protocol):
    """A connection of a client. `result`: of the request that it is in."""

    def __init__(self, clients):
        self.clients, self.data, self.result, self.head, self.used = clients, b"", None, None, 0

    def connection_made(self, transport):
        self.transport = transport

    def start(self, result, request):
        """Sends `request`, whose answer becomes a part of `result`."""
        self.result, self.data, self.head = result, b"", None
        self.used += 1
        self.transport.write(request)

    def send(self, result):
        body = json.dumps({"model": result["model"], "messages": [], **({"stream": True} if result["stream"] else {})}).encode()
        self.start(result, ("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\nauthorization: Bearer of-the-client\r\n"
                            "x-client-request-id: %s\r\ncontent-length: %d\r\n\r\n" % (result["tag"], len(body))).encode() + body)

    def data_received(self, data):
        if not self.result:
            return
        self.data += data
        if not self.head:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            text = self.data[:end].decode("latin-1")
            self.head, self.data = fields_of(text), self.data[end + 4:]
            self.result.update(status=int(text.split(" ")[1]), id=self.head.get("x-request-id", ""), outcome="cut")
        if "content-length" in self.head:
            if len(self.data) >= int(self.head["content-length"]):
                self.done(self.data)
        elif self.data.endswith(b"0\r\n\r\n"):
            body, rest = b"", self.data
            while (size := int(rest[:rest.index(b"\r\n")], 16)):
                at = rest.index(b"\r\n") + 2
                body, rest = body + rest[at:at + size], rest[at + size + 2:]
            self.done(body)

    def done(self, body):
        result, self.result = self.result, None
        if result["status"] != 200:
            found = re.search(rb'"code": ?"([a-z_]+)"', body)
            result.update(outcome="refused", code=found.group(1).decode() if found else body[:200].decode("latin-1"))
        else:
            found = re.search(rb'"member": "([a-z])"', body)
            result.update(outcome="whole" if found and body == body_of(found.group(1).decode(), result["tag"], result["stream"]) else "differs",
                          member=found.group(1).decode() if found else "")
        self.clients.finished(result)
        if result["close"] or "close" in self.head.get("connection", ""):
            self.transport.close()
        else:
            self.clients.kept.append(self)

    def connection_lost(self, _):
        if self in self.clients.kept:
            self.clients.kept.remove(self)
        if self.result:
            self.clients.finished(self.result)
            self.result = None


class Clients:
    """Sends each request when its time has come, or as soon as fewer than MOST are in flight. A request that no answer comes to is not sent again."""

    def __init__(self, port, count, rate, seed, results, models):
        self.port, self.count, self.rate, self.models = port, count, rate, models
        self.rng, self.file, self.kept, self.left = random.Random(seed), open(results, "w", buffering=1), [], count

    def finished(self, result):
        result["ended"] = round(now(), 6)
        self.file.write(json.dumps(result) + "\n")
        self.left -= 1

    async def one(self, number):
        result = {"tag": "t%d" % number, "model": "%s-1" % self.rng.choice(self.models), "stream": self.rng.random() < .3, "close": self.rng.random() < .2, "status": 0,
                  "id": "", "outcome": "unanswered", "began": round(now(), 6)}
        connection = self.kept.pop() if self.kept else None
        if connection is None:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(lambda: Exchange(self), "127.0.0.1", self.port)
            except OSError as error:
                result["code"] = repr(error)
                self.finished(result)
                return
        result["kept"] = connection.used > 0
        connection.send(result)

    async def run(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        began, sent = now(), 0
        while sent < self.count:
            due = min(self.count, int((now() - began) * self.rate) + 1)
            while sent < due and sent - (self.count - self.left) < MOST:
                await self.one(sent)
                sent += 1
            await asyncio.sleep(.002)
        took = now() - began
        until = now() + 60
        while self.left and now() < until:
            await asyncio.sleep(.02)
        print("%d requests in %.1f s, %.0f/s" % (self.count, took, self.count / took), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "member":
        asyncio.run(Member(sys.argv[2], int(sys.argv[3]), sys.argv[4]).run())
    else:
        asyncio.run(Clients(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), sys.argv[6], sys.argv[7:]).run())
