"""An event of a stream is the client's when the upstream has sent it, not when the kernel has tired of waiting for more."""
import threading
import time

import harness
import wire
from harness import chat


class Gate:
    """Remembers when the first event was sent, and lets the second one wait until nothing waits for it any more."""

    def __init__(self):
        self.sent, self.seen = None, threading.Event()

    def wait(self, _seconds):
        self.sent = time.monotonic()
        self.seen.wait(2)


def delay(gateway, mock, target):
    """Seconds that the first event was under way."""
    mock.gate = gate = Gate()
    with gateway.connect() as connection:
        connection.send(wire.request("POST", target, [("Host", "x"), ("Content-Type", "application/json"), ("x-test-id", gateway.tag())],
                                     chat("a-1", stream=True)))
        pieces = connection.pieces(connection.head(), "POST")
        while b"data: " not in next(pieces):
            pass
        came = time.monotonic()
        gate.seen.set()
        for _ in pieces:
            pass
    mock.reset()
    return came - gate.sent


def test_an_event_does_not_wait(gateways, make_mock):
    """Without `option http-no-delay` each one does, for 200 ms. The best of a few tries, because machines are busy."""
    mock = make_mock("latency")
    gateway = gateways([mock], {"routes": [{"model_prefix": "*", "upstream": mock.url()}]})
    for target in ("/v1/chat/completions", "/v1/messages"):
        best = min(delay(gateway, mock, target) for _ in range(5))
        assert best < 0.1 * harness.SLOW, "%s: the first event was under way for %.0f ms" % (target, best * 1e3)
