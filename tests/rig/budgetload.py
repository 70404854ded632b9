"""Two programs for a storm over budgets: the upstream, and the clients, who all ask for more than they may.

    python3 budgetload.py member NAME PORT RECORD   commands on standard input, as of poolload.py's members
    python3 budgetload.py clients PORT PLAN RESULTS WINDOW

A line of PLAN has the requests of one client, each of which it sends after as many seconds as `wait` says; as many clients ask at the same time as WINDOW says. What an answer has to be stands in
`user` of the request's body: the request's tag, tokens of input and output, how it ends, and after how many milliseconds it comes. `ok`: it is whole; `error`: it
has the status 500; `reset`: the connection ends before the answer; `cut`: a stream ends after its first event. The upstream appends a line to RECORD when a request
has come, and one when it answers."""
import asyncio
import json
import os
import re
import resource
import sys
import time

import poolload

TRIES = 200         # of a request that the gateway refuses because no agent decides on it
PAUSE = .1          # between two of them


class Upstream(poolload.Member):
    def note(self, *what):
        os.write(self.record, (json.dumps([round(time.time(), 6), *what]) + "\n").encode())


class Served(poolload.Request):
    def take(self, body):
        keys = [name for name, value in self.asked.items() if "sk-spoa-" in value]
        if keys or b"sk-spoa-" in body:
            self.member.note("wrong", self.asked["x-request-id"], keys)
        asked = json.loads(body)
        tag, input, output, how, delay = asked["user"].split()
        asyncio.get_running_loop().call_later(int(delay) / 1000, self.serve, tag, int(input), int(output), how, asked.get("stream") is True)

    def serve(self, tag, input, output, how, stream):
        self.member.note("said", self.asked["x-request-id"], tag, input, output, how)
        usage = {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}
        if how == "error":
            self.send("HTTP/1.1 500 No\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n", b'{"error":1}')
        elif how == "reset":
            self.transport.abort()
        elif stream:
            events = [{"choices": [{"index": 0, "delta": {"content": "hi"}}], "usage": None}, {"choices": [], "usage": usage}]
            events = [b"data: %s\n\n" % text.encode() for text in [*map(json.dumps, events), "[DONE]"]]
            self.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n", b"")
            self.pieces(events[:1] if how == "cut" else events, how == "cut")
            return
        else:
            body = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}], "usage": usage}).encode()
            self.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body), body)
        self.end()

    def pieces(self, events, cut):
        if self.transport.is_closing():
            return
        if events:
            self.transport.write(b"%x\r\n%s\r\n" % (len(events[0]), events[0]))
            asyncio.get_running_loop().call_later(.01, self.pieces, events[1:], cut)
        elif cut:
            self.transport.abort()
        else:
            self.transport.write(b"0\r\n\r\n")
            self.end()


class Asked(poolload.Exchange):
    """`result` has the request: tag, headers, body."""

    def send(self, result):
        body = result["body"].encode()
        self.start(result, ("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\nx-client-request-id: %s\r\n%scontent-length: %d\r\n\r\n" % (
            result["tag"], "".join("%s: %s\r\n" % (name, value) for name, value in result["headers"]), len(body))).encode() + body)

    def done(self, body):
        result, self.result = self.result, None
        result["outcome"] = "whole"
        if result["status"] != 200:
            found = re.search(rb'"code": ?"([a-z_]+)"', body)
            result.update(outcome="refused", code=found.group(1).decode() if found else body[:200].decode("latin-1"))
        if "close" in self.head.get("connection", ""):
            self.transport.close()
        else:
            self.clients.kept.append(self)
        self.clients.finished(result)


class Clients:
    def __init__(self, port, plan, results, window):
        self.port, self.plan, self.file, self.window, self.kept, self.waits = port, plan, open(results, "a", buffering=1), window, [], {}

    def finished(self, result):
        waits = self.waits.pop(id(result), None)
        if waits and not waits.done():
            waits.set_result(None)

    async def once(self, request):
        result = dict(request, status=0, id="", code="", outcome="unanswered", began=round(time.time(), 6))
        connection = self.kept.pop() if self.kept else None
        if connection is None:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(lambda: Asked(self), "127.0.0.1", self.port)
            except OSError as error:
                result["code"] = repr(error)
                return result
        waits = self.waits[id(result)] = asyncio.get_running_loop().create_future()
        connection.send(result)
        await waits
        return result

    async def one(self, request):
        await asyncio.sleep(request.pop("wait"))
        for _ in range(TRIES):
            result = await self.once(request)
            result["ended"] = round(time.time(), 6)
            for name in "headers", "body":
                del result[name]
            self.file.write(json.dumps(result) + "\n")
            if result["code"] != "gateway_unavailable":
                return
            await asyncio.sleep(PAUSE)

    async def client(self, lines):
        for line in lines:
            await asyncio.gather(*map(self.one, json.loads(line)))

    async def run(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        with open(self.plan, encoding="utf-8") as file:
            await asyncio.gather(*[self.client(file) for _ in range(self.window)])


if __name__ == "__main__":
    if sys.argv[1] == "member":
        Upstream.connection = Served
        asyncio.run(Upstream(sys.argv[2], int(sys.argv[3]), sys.argv[4]).run())
    else:
        asyncio.run(Clients(int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])).run())
