# SPDX-License-Identifier: MIT
"""A mock upstream in a container: MOCK_NAME on port 8000. `x-mock` in an answer says which one it was, `x-mock-saw` whose
credential came with the request: the operator's (MOCK_KEY_FILE), or another one."""
import os
import pathlib
import signal

from upstream import Mock


class Upstream(Mock):
    def up(self):
        self.port = 8000
        super().up()

    def _answer(self, sock, request):
        credential = (request.header("authorization") or request.header("x-api-key") or "").removeprefix("Bearer ")
        operator = KEY is not None and credential == KEY
        self.extra_headers = [("x-mock-saw", "operator" if operator else "client" if credential else "none"),
                              ("x-mock-path", request.path)]
        print("%s %s %s" % (self.name, request.method, request.path))
        # What was received is for tests; here it would fill memory.
        with self.lock:
            del self.requests[:-100]
        return super()._answer(sock, request)


KEY_FILE = os.environ.get("MOCK_KEY_FILE")
KEY = pathlib.Path(KEY_FILE).read_text().strip() if KEY_FILE else None
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
Upstream(os.environ["MOCK_NAME"], host="0.0.0.0")
while True:
    signal.pause()
