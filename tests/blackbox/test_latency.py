"""Two things that would cost time in HAProxy at each request: an event of a stream that waits, and memory that is given back to the system
and taken again."""
import pathlib
import threading
import time

import pytest

import harness
import wire
from harness import chat

pytestmark = pytest.mark.alone


class Gate:
    """The mock calls wait() between its first and its second event. Notes the time of the call, and returns once `seen` is set."""

    def __init__(self):
        self.sent, self.seen = None, threading.Event()

    def wait(self, _seconds):
        self.sent = time.monotonic()
        self.seen.wait(2)


def delay(gateway, mock, target):
    """Returns the seconds from the mock's sending of the first event to its arrival at the client."""
    mock.gate = gate = Gate()
    with gateway.connect() as connection:
        connection.send(wire.request("POST", target, [("Host", "x"), ("Content-Type", "application/json"), ("x-client-request-id", gateway.tag())],
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
    """Without `option http-no-delay` each event would wait for 200 ms. The best of five tries counts, because the machine may be busy."""
    mock = make_mock("latency")
    gateway = gateways([mock], {"routes": [{"model_prefix": "*", "upstream": mock.url()}]})
    for target in ("/v1/chat/completions", "/v1/messages"):
        best = min(delay(gateway, mock, target) for _ in range(5))
        assert best < 0.1 * harness.SLOW, "%s: the first event was under way for %.0f ms" % (target, best * 1e3)


def test_haproxy_keeps_its_memory(gateways, make_mock):
    """HAProxy uses a buffer of 1 MiB for each request, which must not be new memory each time. In 2.6 that needs the C library's tunables,
    which the systemd drop-in for HAProxy sets, and -dMglobal on HAProxy's command line."""
    tunables = harness.drop_in()["GLIBC_TUNABLES"]
    for file in ("docs/routing.md", "dist/compose/haproxy.Dockerfile"):
        assert "GLIBC_TUNABLES=" + tunables in (harness.ROOT / file).read_text(), file
    for file in ("README.md", "docs/routing.md", "dist/haproxy-existing.cfg", "dist/compose/haproxy-run"):
        assert harness.POOLS in (harness.ROOT / file).read_text(), file
    mock = make_mock("latency")
    gateway = gateways([mock], {"routes": [{"model_prefix": "*", "upstream": mock.url()}]}, limits={"GLIBC_TUNABLES": tunables})

    def faults():
        stat = pathlib.Path("/proc/%d/stat" % gateway.haproxy.pid).read_text()
        return int(stat.rpartition(")")[2].split()[7])

    with gateway.connect() as connection:
        def ask(count):
            for _ in range(count):
                assert gateway.post("/v1/chat/completions", {"model": "a-1"}, connection=connection).status == 200
        ask(50)
        # Now and then one more buffer is used for the first time.
        marks = [faults()]
        for _ in range(3):
            ask(100)
            marks.append(faults())
    least = min(after - before for before, after in zip(marks, marks[1:]))
    assert least < 100, "%.1f page faults a request" % (least / 100)
