# SPDX-License-Identifier: MIT
"""The upstream of tests/containers/systemd/inside: port 8000. A stream has an event each 50 ms, as many as `max_tokens` says, and its usage at the end."""
import json
import signal
import sys
import time

sys.path.insert(0, "/tests/rig")
sys.dont_write_bytecode = True
from upstream import Mock  # noqa: E402


class Upstream(Mock):
    def up(self):
        self.port = 8000
        super().up()

    def _answer(self, sock, request):
        asked = json.loads(request.body or b"{}")
        if not asked.get("stream"):
            return super()._answer(sock, request)
        count = asked.get("max_tokens", 10)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(count):
            self.event(sock, choices=[{"index": 0, "delta": {"content": "hi "}}])
            time.sleep(0.05)
        self.event(sock, choices=[], usage={"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count})
        sock.sendall(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        return True

    @staticmethod
    def event(sock, **members):
        text = b"data: " + json.dumps(dict(members, object="chat.completion.chunk", model="m")).encode() + b"\n\n"
        sock.sendall(b"%x\r\n%s\r\n" % (len(text), text))


Upstream("upstream")
while True:
    signal.pause()
