"""A tap that is full, or stands still, behind HAProxy: requests go to their upstream without it, none fails, the ledger says so; and they come back."""
import concurrent.futures
import re
import signal
import socket
import threading
import time

import pytest

import harness
from harness import until
from realtap import RealTap, Recorded
from test_legs import KEY, OTHER, Stream, routes
from test_metrics import scrape

STREAMS, MEMORY = 8, 1 << 20


def hasty(text):
    """Lets HAProxy close idle connections to the tap soon, because the tap counts them as well. By default HAProxy closes half of them each five seconds."""
    changed = text.replace('server tap "$LLM_TAP" weight 0 ', 'server tap "$LLM_TAP" weight 0 pool-purge-delay 300ms ')
    assert changed != text
    return changed


class Limited(Recorded):
    """Its tap may have little. HAProxy's buffers are small, so that clients who do not read hold up the tap soon."""

    check_seconds = None

    def start_haproxy(self):
        self.haproxy_env["LLM_BUFSIZE"] = "65536"
        super().start_haproxy()

    def fallbacks(self):
        return scrape(self.agent)["spoa_llm_tap_fallbacks_total"][()]

    def ids(self, count, at_once=12):
        """Asks for so many streams, which have to be answered in full. Returns their ids."""
        def ask(_):
            answer = self.ask("rep-1", stream=True)
            assert answer.status == 200 and b"[DONE]" in answer.response.body, answer.response
            return answer.header("x-request-id")
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(ask, range(count)))

    def told(self, ids):
        """The rows of these requests, when what the tap reports has arrived."""
        def look():
            rows = {row["id"]: row for row in self.rows() if row["id"] in ids}
            return rows if len(rows) == len(ids) and not [row for row in rows.values() if row["tap"] == 3] else None
        return list(until(look, 15, lambda: [row for row in self.rows() if row["id"] in ids]).values())

    def all_direct(self, count):
        before = self.fallbacks()
        rows = self.told(self.ids(count))
        assert {(row["tap"], row["usage_from"], row["status"]) for row in rows} == {(0, "estimated", 200)}, rows
        until(lambda: self.fallbacks() == before + count, 10, lambda: (before, self.fallbacks()))

    def wait_for_tap(self):
        """A stream goes through the tap again, and is exact."""
        until(lambda: {(row["tap"], row["usage_from"]) for row in self.told(self.ids(1))} == {(1, "stream")}, 20, "streams go through the tap")

    def stays_full(self):
        """The tap is full of streams, and not of a check that has ended by the time at which the tap looks whether it has room."""
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            if self.tap.accepts():
                return False
            time.sleep(.02)
        return True

    def seen(self, text):
        return (self.haproxy.text() + self.tap.text()).count(text)

    def wait_for(self, text, before):
        until(lambda: self.seen(text) > before, 20, lambda: "%s\n%s" % (self.haproxy.tail(), self.tap.process.tail()))


@pytest.fixture(scope="module")
def limited(haproxy, make_mock):
    mock = make_mock("limits")
    with Limited(haproxy, [mock], {"routes": routes(mock)}, env={"KEY": KEY, "OTHER": OTHER}, edit=hasty,
                 make_tap=lambda path, legs: RealTap(path, legs, "--streams", str(STREAMS), "--memory", str(MEMORY), report=False)) as gateway:
        gateway.mock = mock
        gateway.wait_for_tap()
        yield gateway


def test_a_tap_that_stands_still(limited):
    """HAProxy asks through the tap, so it finds out, although the kernel goes on accepting connections in its place. What was in the tap goes on later."""
    limited.mock.gate = threading.Event()
    stream = Stream(limited, "rep-1")
    gate, limited.mock.gate = limited.mock.gate, None
    before = limited.seen("Server llm-tap/tap is DOWN")
    limited.tap.process.stop()
    limited.wait_for("Server llm-tap/tap is DOWN", before)
    limited.all_direct(12)
    limited.tap.process.kill(signal.SIGCONT)
    limited.wait_for_tap()
    gate.set()
    assert b"[DONE]" in stream.rest() and stream.whole
    [row] = limited.told(re.findall(rb"(?i)x-request-id: (\S+)", stream.data)[0].decode().split())
    assert (row["tap"], row["usage_from"]) == (1, "stream")


def test_as_many_streams_as_it_may_have(limited):
    """Some more streams than the tap takes, at once, while others fill most of it: each is whole, and either exact or a fallback."""
    limited.mock.gate = threading.Event()
    full, fallbacks = limited.seen("event=tap_full"), limited.fallbacks()
    streams = [Stream(limited, "rep-1") for _ in range(STREAMS - 2)]
    gate, limited.mock.gate = limited.mock.gate, None
    rows = limited.told(limited.ids(60))
    assert {(row["tap"], row["usage_from"]) for row in rows} <= {(0, "estimated"), (1, "stream")} and limited.seen("event=tap_full") > full, rows
    until(lambda: limited.fallbacks() - fallbacks == sum(row["tap"] == 0 for row in rows), 10, limited.fallbacks)
    limited.mock.gate = gate
    while not limited.stays_full():
        streams.append(Stream(limited, "rep-1"))
        assert len(streams) < 10 * STREAMS
    limited.mock.gate = None
    limited.all_direct(24)
    gate.set()
    assert all(b"[DONE]" in stream.rest() and stream.whole for stream in streams)
    limited.wait_for_tap()


def test_as_much_memory_as_it_may_have(limited):
    """Clients that do not read fill the tap. Others are answered without it, until those have gone."""
    stuck, full = [], limited.seen("event=tap_full")
    limited.mock.respond = lambda request: (200, [("content-type", "text/event-stream")], b": x\n\n" * (1 << 20))
    while limited.seen("event=tap_full") == full:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(limited.address)
        body = harness.chat("rep-1", stream=True)
        one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        stuck.append(one)
        one.recv(1)
        assert len(stuck) < 60
    limited.mock.reset()
    limited.all_direct(12)
    for one in stuck:
        one.close()
    limited.wait_for_tap()
