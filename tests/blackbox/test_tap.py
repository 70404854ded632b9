"""The tap alone: bytes, ends, faults, and its life. The test plays HAProxy and the legs (tests/rig/taps.py)."""
import asyncio
import contextlib
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import zlib

import pytest

import harness
import processes
from processes import until
from taps import Leg, Tap, head

CRLF = b"\r\n"
SEED = os.environ.get("TAP_SEED", str(os.getpid()))
STORM = int(os.environ.get("TAP_STORM", "1"))   # thousands of streams


def answer(*headers, status="200 OK", body=b""):
    return ("HTTP/1.1 %s\r\n%s\r\n" % (status, "".join(one + "\r\n" for one in headers))).encode() + body


def chunks(*parts, trailers=b"", extension=b""):
    return b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in parts) + b"0\r\n" + trailers + CRLF


def sized(body, *more):
    return answer("content-type: text/event-stream", "content-length: %d" % len(body), *more, body=body)


def chunked(*parts, **more):
    return answer("content-type: text/event-stream", "transfer-encoding: chunked", body=chunks(*parts, **more))


EVENTS = b"".join(b'data: {"n":%d}\n\n' % n for n in range(40))
# name: (the answer, bytes of its body, method, whether the upstream closes to end it)
FRAMINGS = {
    "content-length": (sized(EVENTS), len(EVENTS), "POST", False),
    "chunked": (chunked(*EVENTS.splitlines(True)), len(EVENTS), "POST", False),
    "a byte a chunk": (chunked(*(EVENTS[n:n + 1] for n in range(len(EVENTS)))), len(EVENTS), "POST", False),
    "extensions and trailers": (chunked(EVENTS, trailers=b"x-sum: 1\r\nx-more: 2\r\n", extension=b';a="b;c"'), len(EVENTS), "POST", False),
    "until it closes": (answer("content-type: text/event-stream", body=EVENTS), len(EVENTS), "POST", True),
    "103 before 200": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + sized(EVENTS), len(EVENTS), "POST", False),
    "100 before 200": (b"HTTP/1.1 100 Continue\r\n\r\n" + chunked(EVENTS), len(EVENTS), "POST", False),
    "204": (answer(status="204 No Content"), 0, "POST", False),
    "304": (answer("content-length: 500", status="304 Not Modified"), 0, "GET", False),
    "HEAD": (answer("content-length: 500"), 0, "HEAD", False),
    "an error": (answer("content-type: application/json", "content-length: 2", status="429 Too Many Requests", body=b"{}"), 2, "POST", False),
    "no body": (answer("content-length: 0"), 0, "POST", False),
    "coded": (sized(b"\x1f\x8b\x00\xff" * 50, "content-encoding: gzip"), 200, "POST", False),
    "large": (chunked(*[os.urandom(60000)] * 20), 1200000, "POST", False),
}


@pytest.fixture(scope="module")
def tap(module_work):
    with Tap(module_work) as one:
        yield one


@pytest.fixture(scope="module")
def leg(tap):
    one = Leg(tap)
    yield one
    one.close()


def deliver(upstream, client, data, step, closes=False):
    """Sends an answer `step` bytes at a time, and reads it at the other end."""
    def write():
        for at in range(0, len(data), step):
            upstream.send(data[at:at + step])
        if closes:
            upstream.close()
    writer = threading.Thread(target=write)
    writer.start()
    client.expect(data)
    writer.join()
    assert not closes or client.gone()


def relay(tap, leg, name, step):
    """One exchange of this framing, the answer sent `step` bytes at a time."""
    data, count, method, closes = FRAMINGS[name]
    id = "%s-%d" % (name.replace(" ", "-"), step)
    client, upstream = tap.exchange(leg, head(id=id, method=method))
    with client, upstream:
        deliver(upstream, client, data, step, closes)
        told = tap.report(id)
        assert (told["end"], told["bytes"]) == ("lost" if name == "coded" else "whole", count), told
        assert told["status"] == int(data.split(b"HTTP/1.1 ")[-1][:3]), told


@pytest.mark.parametrize("name", FRAMINGS)
def test_every_framing_to_the_byte(tap, leg, name):
    relay(tap, leg, name, 1 << 20)
    if len(FRAMINGS[name][0]) < 10000:
        relay(tap, leg, name, 1)
        relay(tap, leg, name, 7)


def events(*objects, names=False):
    return b"".join((b"event: %s\n" % one["type"].encode() if names else b"") + b"data: " + json.dumps(one).encode() + b"\n\n" for one in objects)


def message(type, **content):
    """A message of Bedrock's event stream."""
    body = json.dumps(content).encode()
    headers = b"".join(b"%c%s\7%s%s" % (len(name), name, struct.pack(">H", len(value)), value) for name, value in (
        (b":event-type", type), (b":content-type", b"application/json"), (b":message-type", b"event")))
    head = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    head += struct.pack(">I", zlib.crc32(head))
    return head + headers + body + struct.pack(">I", zlib.crc32(head + headers + body))


CHAT = {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}
WORDS = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in ("a", '"usage":{"prompt_tokens":99}')]
# name: (content type, body, first usage object, last, events with content, whether the last one is final)
SHAPES = {
    "chat": ("text/event-stream", events(*WORDS, {"choices": [], "usage": CHAT}) + b"data: [DONE]\n\n", CHAT, CHAT, 2, True),
    "chat without usage": ("text/event-stream", events(*WORDS) + b"data: [DONE]\n\n", None, None, 2, False),
    "anthropic": ("text/event-stream; charset=utf-8", events(
        {"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}}, {"type": "message_stop"}, names=True),
        {"input_tokens": 11, "output_tokens": 1}, {"output_tokens": 7}, 1, True),
    "responses": ("text/event-stream", events(
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 4}}}, names=True),
        {"input_tokens": 3, "output_tokens": 4}, {"input_tokens": 3, "output_tokens": 4}, 1, True),
    "gemini": ("text/event-stream", events(
        *({"candidates": [{"content": {"parts": [{"text": "a"}]}, **more}], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": n}}
          for n, more in ((1, {}), (2, {"finishReason": "STOP"})))),
        {"promptTokenCount": 5, "candidatesTokenCount": 1}, {"promptTokenCount": 5, "candidatesTokenCount": 2}, 2, True),
    "embeddings": ("application/json", json.dumps({"data": [{"embedding": [0.123456789] * 20000}], "usage": {"prompt_tokens": 8}}).encode(),
                   {"prompt_tokens": 8}, {"prompt_tokens": 8}, 0, True),
    "bedrock": ("application/vnd.amazon.eventstream", message(b"contentBlockDelta", delta={"text": "a"}) + message(
        b"metadata", usage={"inputTokens": 6, "outputTokens": 7}), {"inputTokens": 6, "outputTokens": 7}, {"inputTokens": 6, "outputTokens": 7}, 1, True),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_usage_of_every_shape(tap, leg, name):
    """Whatever frames and pieces it comes in, the report has the usage as the upstream wrote it."""
    type, body, first, last, content, final = SHAPES[name]
    header = "content-type: " + type
    small = len(body) < 10000
    framings = [answer(header, "content-length: %d" % len(body), body=body), answer(header, body=body),
                answer(header, "transfer-encoding: chunked", body=chunks(*(body[n:n + 4000] for n in range(0, len(body), 4000)), trailers=b"x: y\r\n"))]
    framings += [answer(header, "transfer-encoding: chunked", body=chunks(*(body[n:n + 1] for n in range(len(body)))))] if small else []
    for n, data in enumerate(framings):
        for step in (1 << 20, 1, 3) if small else (1 << 20, 1000):
            id = "%s-%d-%d" % (name.replace(" ", "-"), n, step)
            client, upstream = tap.exchange(leg, head(id=id))
            with client, upstream:
                deliver(upstream, client, data, step, closes=n == 1)
                told = tap.report(id)
            have = (told["end"], told["bytes"], told.get("first"), told.get("last"), told["content"], told["final"])
            assert have == ("whole", len(body), first, last, content, final), told


def test_what_was_seen_of_a_stream_that_is_cut(tap, leg):
    """What Anthropic's first event told is there, and is not called final."""
    body = SHAPES["anthropic"][1]
    data = answer("content-type: text/event-stream", "transfer-encoding: chunked", body=chunks(body[:body.index(b"event: message_delta")]))[:-5]
    for who in ("client", "upstream"):
        client, upstream = tap.exchange(leg, head(id="seen-" + who))
        upstream.send(data)
        client.expect(data)
        (client if who == "client" else upstream).close()
        told = tap.report("seen-" + who)
        assert (told["end"], told["first"]["input_tokens"], told["content"], told["final"]) == (who, 11, 1, False), told
        client.close()
        upstream.close()


def test_the_usage_of_an_error_counts_for_nothing(tap, leg):
    body = SHAPES["embeddings"][1]
    client, upstream = tap.exchange(leg, head(id="error"))
    with client, upstream:
        deliver(upstream, client, answer("content-type: application/json", "content-length: %d" % len(body), status="500 Oops", body=body), 1 << 20)
    told = tap.report("error")
    assert (told["end"], told["status"], told["final"]) == ("whole", 500, False) and "last" not in told


def test_many_requests_over_one_connection(tap, leg):
    """They go over one connection to the leg, and each has its own report."""
    client, upstream = tap.exchange(leg, head(id="kept-0"))
    with client, upstream:
        for n in range(30):
            if n:
                request = head(id="kept-%d" % n, body=b"x" * n)
                client.send(request)
                upstream.expect(request)
            data = chunked(b"a" * n + b"b") if n % 2 else sized(b"a" * n)
            upstream.send(data)
            client.expect(data)
            assert tap.report("kept-%d" % n)["bytes"] == n + n % 2
    assert leg.idle()


def test_a_leg_that_closes_between_requests_is_connected_again(tap, leg):
    client, upstream = tap.exchange(leg, head(id="again-1"))
    with client:
        upstream.send(sized(b"x"))
        client.expect(sized(b"x"))
        upstream.close()
        request = head(id="again-2")
        client.send(request[:30])
        client.send(request[30:])
        with leg.accept() as upstream:
            upstream.expect(request)
            upstream.send(sized(b"y"))
            client.expect(sized(b"y"))
            assert tap.report("again-2")["end"] == "whole"


def test_another_leg_on_the_same_connection(tap, leg):
    other = Leg(tap, "leg.two")
    client, upstream = tap.exchange(leg, head(id="two-1"))
    with client:
        upstream.send(sized(b"x"))
        client.expect(sized(b"x"))
        request = head(leg="leg.two", id="two-2")
        for at in range(len(request)):      # not a byte of it reaches the leg before
            client.send(request[at:at + 1])
        with other.accept() as second:
            second.expect(request)
            assert upstream.gone()
            second.send(sized(b"y"))
            client.expect(sized(b"y"))
    upstream.close()
    other.close()


def test_a_large_request(tap, leg):
    body = os.urandom(5000000)
    request = head(id="large-request", body=body)
    client = tap.connect()
    writer = threading.Thread(target=client.send, args=(request,))
    writer.start()
    with client, leg.accept() as upstream:
        upstream.expect(request)
        writer.join()
        upstream.send(sized(b"ok"))
        client.expect(sized(b"ok"))
    assert tap.report("large-request")["end"] == "whole"


def test_an_answer_before_the_request_is_complete(tap, leg):
    """The upstream refuses in the middle of the upload and closes: the answer arrives all the same."""
    refusal = answer("content-type: application/json", "content-length: 2", "connection: close", status="400 Bad Request", body=b"{}")
    client = tap.connect()
    with client:
        client.send(head(id="early", more="content-length: 10000000\r\n").replace(b"content-length: 0\r\n", b""))
        client.send(b"x" * 1000)
        upstream = leg.accept()
        upstream.receive(1000)
        upstream.send(refusal)
        upstream.close()
        client.expect(refusal)
        try:
            while True:
                client.send(b"x" * 100000)
        except OSError:
            pass
    told = tap.report("early")
    assert (told["end"], told["status"], told["bytes"]) == ("whole", 400, 2)


def test_a_tunnel_after_101(tap, leg):
    upgrade = answer("connection: upgrade", "upgrade: websocket", status="101 Switching Protocols")
    client, upstream = tap.exchange(leg, head(id="tunnel", method="GET", more="connection: upgrade\r\nupgrade: websocket\r\n"))
    with client, upstream:
        upstream.send(upgrade)
        client.expect(upgrade)
        data = os.urandom(300000)
        threading.Thread(target=client.send, args=(data,)).start()
        upstream.expect(data)
        threading.Thread(target=upstream.send, args=(data,)).start()
        client.expect(data)
        upstream.close()
        assert client.gone()
    assert tap.report("tunnel")["status"] == 101


# ---- ends


def test_the_client_leaves(tap, leg):
    """The leg's connection is closed at once, so that the upstream stops, and the report says what was seen."""
    client, upstream = tap.exchange(leg, head(id="left"))
    with upstream:
        upstream.send(chunked(b"some")[:-5])
        client.receive(60)
        client.close()
        assert upstream.gone()
    told = tap.report("left")
    assert (told["end"], told["bytes"]) == ("client", 4)


def test_the_client_leaves_before_an_answer(tap, leg):
    client, upstream = tap.exchange(leg, head(id="left-early"))
    with upstream:
        client.close()
        assert upstream.gone()
    told = tap.report("left-early")
    assert (told["end"], told["status"]) == ("client", 0)


def test_the_client_leaves_while_the_upload_stands_still(tap, leg):
    client = tap.connect()
    request = head(id="left-stalled", more="content-length: 10000000\r\n").replace(b"content-length: 0\r\n", b"")
    client.send(request)
    with leg.accept() as upstream:
        client.sock.setblocking(False)
        while select.select([], [client.sock], [], 0.3)[1]:     # until nothing moves any more
            client.sock.send(b"x" * 65536)
        client.close()
        assert tap.report("left-stalled")["end"] == "client"
        upstream.rest()


CUTS = {
    "content-length": sized(EVENTS)[:-1],
    "chunk": chunked(EVENTS)[:-7],
    "last chunk": chunked(EVENTS)[:-1],
    "head": sized(EVENTS)[:20],
    "nothing": b"",
}


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("how", ("close", "reset"))
def test_the_upstream_cuts(tap, leg, name, how):
    """HAProxy sees what came, and the cut."""
    id = "cut-%s-%s" % (name.replace(" ", "-"), how)
    client, upstream = tap.exchange(leg, head(id=id, body=b"x" * 10))
    with client:
        upstream.send(CUTS[name])
        client.expect(CUTS[name])
        if how == "reset":          # what the leg has not read makes it a reset
            client.send(b"")
        upstream.close()
        assert client.gone()
    assert tap.report(id)["end"] == "upstream"


def test_an_answer_that_is_no_http(tap, leg):
    """It is passed on as it is, and nothing is claimed."""
    client, upstream = tap.exchange(leg, head(id="odd"))
    with client:
        data = answer("transfer-encoding: chunked", body=b"zz\r\nwhatever\r\n") + b"x" * 1000
        upstream.send(data)
        client.expect(data)
        assert tap.report("odd")["end"] == "lost"
        upstream.send(b"more")
        client.expect(b"more")
        upstream.close()
        assert client.gone()


def test_no_id_no_report(tap, leg):
    client, upstream = tap.exchange(leg, head(id=None, method="GET", path="/.tap"))
    with client, upstream:
        upstream.send(sized(b"ok"))
        client.expect(sized(b"ok"))
    assert not [one for one in tap.read_reports() if not one["id"]]


# ---- who may be reached


def refused(client):
    """The tap answers as a leg does whose upstream cannot be reached, and closes."""
    told, _, body = client.rest().partition(CRLF + CRLF)
    lines = told.decode().split("\r\n")
    assert lines[:2] == ["HTTP/1.1 503 Service Unavailable", "x-llm-leg: upstream_unavailable"], lines
    assert "content-length: %d" % len(body) in lines and json.loads(body)["error"]["code"] == "upstream_unavailable"


@pytest.mark.parametrize("name", ("", "one", "leg.", "leg.none/../leg.one", "../legs/leg.one", "leg.one.sock/..", "leg.one%00", "leg." + "x" * 92, "LEG.one"))
def test_only_legs_are_reached(tap, leg, name):
    """Not a byte goes anywhere, and HAProxy gets an answer that it can replace."""
    (tap.legs / "leg.none").mkdir(exist_ok=True)
    with tap.connect() as client:
        client.send(head(leg=name, id="nowhere"))
        refused(client)
    assert leg.idle()


def test_what_haproxy_does_not_send(tap, leg):
    """A second request before the answer, and what is no HTTP, close the connection."""
    client, upstream = tap.exchange(leg, head(id="pipelined"))
    with client, upstream:
        client.send(head(id="pipelined-2"))
        assert client.gone() and upstream.gone()
    with tap.connect() as client:
        client.send(b"\0\1\2\r\n\r\n")
        assert client.gone()
    assert leg.idle()


def test_a_leg_that_is_not_there(tap):
    """HAProxy may just be starting again: the request waits for a second, and then is refused."""
    with tap.connect() as client:
        client.send(head(leg="leg.late", id="late"))
        late = Leg(tap, "leg.late")
        with late.accept() as upstream:
            upstream.send(sized(b"ok"))
            client.expect(sized(b"ok"))
        late.close()
    with tap.connect() as client:
        client.send(head(leg="leg.late", id="never"))
        refused(client)
    tap.report("never")


def test_a_leg_with_a_full_backlog(tap):
    """connect(2) says EAGAIN there: all are served in the end."""
    slow = Leg(tap, "leg.slow", backlog=1)
    clients = [tap.connect() for _ in range(20)]
    for n, client in enumerate(clients):
        client.send(head(leg="leg.slow", id="slow-%d" % n))
    for _ in clients:
        with slow.accept() as upstream:
            upstream.receive(50)
            upstream.send(sized(b"ok"))
    for client in clients:
        client.expect(sized(b"ok"))
        client.close()
    slow.close()


# ---- backpressure


def rss(process):
    return int(pathlib.Path("/proc/%d/statm" % process.pid).read_text().split()[1]) * 4096


def test_a_client_that_reads_late(tap, leg):
    """Nothing piles up in the tap, and it does not spin, not even when the leg has closed meanwhile."""
    before = rss(tap.process)
    client, upstream = tap.exchange(leg, head(id="reads-late"))
    body = os.urandom(10000000)
    upstream.sock.setblocking(False)
    data, sent = sized(body), 0
    with client:
        while sent < len(data) and select.select([], [upstream.sock], [], 0.3)[1]:      # until nothing moves any more
            sent += upstream.sock.send(data[sent:sent + 65536])
        assert sent < 2000000, sent
        used = processes.cpu_of(tap.process.pid)
        tap.status(lambda one: True)
        tap.statuses.clear()
        tap.status(lambda one: True)
        assert processes.cpu_of(tap.process.pid) - used < 0.2
        assert rss(tap.process) - before < 4000000
        upstream.sock.settimeout(10)
        writer = threading.Thread(target=lambda: (upstream.send(data[sent:]), upstream.close()))
        writer.start()
        client.expect(data)
        writer.join()
    assert tap.report("reads-late")["end"] == "whole"


def test_a_leg_that_has_closed_and_a_client_that_does_not_read(tap, leg):
    client, upstream = tap.exchange(leg, head(id="hup"))
    upstream.sock.setblocking(False)
    sent = answer("content-type: text/event-stream")
    upstream.sock.send(sent)
    try:
        while True:
            sent += b"x" * upstream.sock.send(b"x" * 65536)
    except BlockingIOError:
        upstream.close()
    tap.statuses.clear()
    used = processes.cpu_of(tap.process.pid)
    tap.status(lambda one: len(tap.statuses) > 1)
    assert processes.cpu_of(tap.process.pid) - used < 0.2
    with client:
        client.expect(sent)
        assert client.gone()
    assert tap.report("hup")["end"] == "whole"


# ---- reports


def test_reports_wait_for_the_agent(work):
    """While the agent is away they wait in the tap, and then arrive, each once."""
    with Tap(work, report=False) as tap:
        leg = Leg(tap)
        for n in range(50):
            client, upstream = tap.exchange(leg, head(id="waits-%d" % n))
            with client, upstream:
                upstream.send(sized(b"x"))
                client.expect(sized(b"x"))
        tap.listen()
        assert [tap.report("waits-%d" % n)["end"] for n in range(50)] == ["whole"] * 50
        tap.agent.close()
        client, upstream = tap.exchange(leg, head(id="after"))
        with client, upstream:
            upstream.send(sized(b"x"))
            client.expect(sized(b"x"))
        tap.listen()
        assert tap.report("after")["end"] == "whole"
        status = tap.status(lambda one: one["reports"] == 51)
        assert (status["streams"], status["streams_total"], status["reports_lost"], status["draining"]) == (0, 51, 0, False)
        assert status["pid"] == tap.process.pid and status["bytes"] > 51


# ---- life


def stream(tap, leg, id):
    """A stream that goes on: HAProxy's side, and the upstream's."""
    client, upstream = tap.exchange(leg, head(id=id))
    begin = answer("content-type: text/event-stream", "transfer-encoding: chunked") + b"5\r\nfirst\r\n"
    upstream.send(begin)
    client.expect(begin)
    return client, upstream


def goes_on(client, upstream):
    upstream.send(b"4\r\nmore\r\n")
    client.expect(b"4\r\nmore\r\n")


def finish(tap, client, upstream, id):
    upstream.send(b"4\r\nlast\r\n0\r\n\r\n")
    client.expect(b"4\r\nlast\r\n0\r\n\r\n")
    told = tap.report(id)
    assert told["end"] == "whole", told
    client.close()
    upstream.close()


def test_stopped_by_sigterm(work):
    """New connections are refused at once, streams go on to their end, and then the process ends."""
    with Tap(work) as tap:
        leg = Leg(tap)
        idle = tap.connect()
        one, two = stream(tap, leg, "term-1"), stream(tap, leg, "term-2")
        tap.process.kill(signal.SIGTERM)
        until(lambda: not tap.accepts(), 5, "the tap refuses")
        assert tap.status(lambda status: status["draining"])["streams"] == 2
        goes_on(*one)
        # A connection that HAProxy had opened before serves one more request.
        idle.send(head(id="idle"))
        with leg.accept() as upstream:
            upstream.send(sized(b"ok"))
            idle.expect(sized(b"ok"))
            idle.sock.settimeout(1)     # at once, not when connections are closed that nobody uses
            assert idle.gone()
        finish(tap, *one, "term-1")
        assert tap.process.running()
        finish(tap, *two, "term-2")
        assert tap.process.wait() == 0


def test_a_second_sigterm_ends_at_once(work):
    with Tap(work) as tap:
        leg = Leg(tap)
        client, upstream = stream(tap, leg, "twice")
        tap.process.kill(signal.SIGTERM)
        until(lambda: not tap.accepts(), 5, "the tap refuses")
        tap.process.kill(signal.SIGTERM)
        assert tap.process.wait() == 0
        assert client.gone() and upstream.gone()
        assert tap.report("twice")["end"] == "lost"


def test_killed(work):
    """HAProxy sees it at once: nobody can connect."""
    with Tap(work) as tap:
        leg = Leg(tap)
        client, upstream = stream(tap, leg, "killed")
        tap.process.kill(signal.SIGKILL)
        assert client.gone() and upstream.gone()
        until(lambda: not tap.accepts(), 5, "the process is gone")


def test_nobody_is_lost_when_the_door_shuts(work):
    """Those who had connected when the tap began to drain are served."""
    with Tap(work) as tap:
        leg = Leg(tap)
        tap.process.stop()
        clients = [tap.connect() for _ in range(50)]
        for n, client in enumerate(clients):
            client.send(head(id="backlog-%d" % n))
        tap.process.popen.send_signal(signal.SIGTERM)
        tap.process.kill(signal.SIGCONT)
        for n, client in enumerate(clients):
            with leg.accept() as upstream:
                upstream.send(sized(b"ok"))
            tap.report("backlog-%d" % n)
        for client in clients:
            client.expect(sized(b"ok"))
            client.close()
        assert tap.process.wait() == 0


def test_full(work):
    """With as many connections as it may have the tap refuses more, loses none, and takes connections again when there is room."""
    with Tap(work, "--streams", "10") as tap:
        leg = Leg(tap)
        streams = [stream(tap, leg, "full-%d" % n) for n in range(10)]
        until(lambda: not tap.accepts(), 5, "the tap is full")
        tap.log("event=tap_full connections=10")
        assert tap.status(lambda status: status["full"] == 1)["streams"] == 10
        for n, one in enumerate(streams[:3]):
            finish(tap, *one, "full-%d" % n)
        until(tap.accepts, 5, "the tap has room again")
        late = stream(tap, leg, "full-late")
        for n, one in enumerate(streams[3:]):
            finish(tap, *one, "full-%d" % (n + 3))
        finish(tap, *late, "full-late")


def test_memory_is_capped(work):
    """Clients that do not read fill the memory up to its cap; then the tap refuses more."""
    with Tap(work, "--memory", "1048576") as tap:
        leg = Leg(tap)
        stuck = [stream(tap, leg, "memory-%d" % n) for n in range(40)]
        for _, upstream in stuck:
            upstream.sock.setblocking(False)

        def fill():
            for _, upstream in stuck:
                with contextlib.suppress(BlockingIOError):
                    upstream.sock.send(b"x" * 65536)
            return not tap.accepts()
        until(fill, 10, "the tap is full")
        status = tap.status(lambda one: one["full"])
        assert status["memory"] < 1048576 + 65536 * 2, status
        for client, upstream in stuck:
            client.close()
            upstream.close()
        until(tap.accepts, 5, "the tap has room again")


def test_the_socket_is_made_again(work):
    """If somebody removes its file, or a dead process' socket is there, the tap listens again by itself."""
    with Tap(work) as tap:
        os.unlink(tap.path)
        until(tap.accepts, 5, "the tap made its socket again")
        with socket.socket(socket.AF_UNIX) as other:
            os.unlink(tap.path)
            other.bind(tap.path)
        until(tap.accepts, 5, "the tap made its socket again")
        tap.log("event=tap_socket_gone")


def test_another_user_cannot_have_it_drain(work):
    """Not even if the socket's permissions let him in."""
    with Tap(work) as tap:
        work.chmod(0o711)
        os.chmod(tap.control, 0o666)
        code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'drain\\n'); print(s.recv(9))"
        asked = subprocess.run(["/usr/bin/setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", code, tap.control], capture_output=True)
        assert asked.stdout in (b"", b"b''\n") and (asked.stdout or b"ConnectionResetError" in asked.stderr or b"BrokenPipe" in asked.stderr), asked
        assert tap.accepts() and "event=tap_draining" not in tap.text()


def drain(tap, **more):
    return harness.start("tap", "--drain", "--control", "unix@" + tap.control, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def test_another_tap_takes_over(work):
    """Two taps at one path: the one that was there drains, whoever started the other one."""
    with Tap(work) as first:
        one = stream(first, Leg(first), "taken")
        with Tap(work, report=False) as second:
            first.log("event=tap_draining")
            finish(first, *one, "taken")
            assert first.process.wait() == 0 and second.process.running() and second.accepts()


def test_drain_by_command(work):
    """`spoa-llm tap --drain` ends when no stream is left."""
    with Tap(work) as tap:
        leg = Leg(tap)
        one = stream(tap, leg, "drained")
        command = drain(tap)
        until(lambda: not tap.accepts(), 5, "the tap refuses")
        tap.log("event=tap_draining .*streams=1")
        assert command.poll() is None
        finish(tap, *one, "drained")
        assert command.communicate(timeout=20) == (b"", b"") and command.returncode == 0
        assert tap.process.wait() == 0
    with drain(tap) as command:
        out, err = command.communicate(timeout=20)
    assert command.returncode == 69 and b"no tap answers" in err, (out, err)


def test_drain_tells_of_a_tap_that_was_killed(work):
    with Tap(work) as tap:
        leg = Leg(tap)
        one = stream(tap, leg, "drained")
        command = drain(tap)
        tap.log("event=tap_draining")
        until(lambda: tap.status(lambda one: one["draining"]), 5, "a line was written")
        tap.process.kill(signal.SIGKILL)
        out, err = command.communicate(timeout=20)
        assert command.returncode == 69 and b"before its streams had" in err, (out, err)
        assert one[0].gone()


def test_upgrade(work):
    """The successor takes new connections, the old process keeps its streams to their end. Nobody is refused meanwhile."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(work / "notify"))
    with Tap(work, env={"NOTIFY_SOCKET": str(work / "notify")}) as tap:
        leg = Leg(tap)
        assert notify.recv(1000) == b"MAINPID=%d\nREADY=1" % tap.process.pid
        old = stream(tap, leg, "old")
        stop, failed = threading.Event(), []

        def knock():
            while not stop.is_set():
                if not tap.accepts():
                    failed.append(1)
        knocker = threading.Thread(target=knock)
        knocker.start()
        pid = tap.upgrade()
        stop.set()
        knocker.join()
        assert not failed
        assert notify.recv(1000) == b"MAINPID=%d\nREADY=1" % pid
        # Of a main process that was another one's child, systemd waits for no end: it would kill the streams at a stop.
        assert int(pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[1]) != tap.process.pid
        new = stream(tap, leg, "new")
        goes_on(*old)
        goes_on(*new)
        finish(tap, *old, "old")
        assert tap.process.wait() == 0
        goes_on(*new)
        # --drain now reaches the successor.
        command = drain(tap)
        until(lambda: not tap.accepts(), 5, "the successor drains")
        finish(tap, *new, "new")
        command.communicate(timeout=20)
        assert command.returncode == 0
        until(lambda: processes.state_of(pid) in "ZX", 5, "the successor ends")
    notify.close()


def test_an_upgrade_that_fails(work):
    """The tap goes on, also if the successor had taken the socket before it failed."""
    binary = work / "spoa-llm"
    binary.symlink_to(harness.AGENT)
    with Tap(work, binary=binary) as tap:
        leg = Leg(tap)
        one = stream(tap, leg, "goes-on")
        for script in ("exit 1", "rm -f %s; exit 1" % tap.path):
            binary.unlink()
            binary.write_text("#!/bin/sh\n%s\n" % script)
            binary.chmod(0o755)
            before = len(tap.text().splitlines())
            tap.process.kill(signal.SIGUSR2)
            until(lambda: "event=tap_upgrade_failed" in "\n".join(tap.text().splitlines()[before:]), 10, "the upgrade fails")
            until(tap.accepts, 5, "the tap answers")
        finish(tap, *one, "goes-on")


# ---- all at once


class Plan:
    """One exchange: what is sent, in which pieces, and who breaks it off where."""

    def __init__(self, id, random):
        framing = random.choice([name for name in FRAMINGS if name not in ("HEAD", "304", "large", "coded")])
        self.id, self.random = id, random
        self.answer, self.count, _, self.closes = FRAMINGS[framing]
        self.request = head(id=id, body=random.randbytes(random.choice((0, 10, 1000, 200000))))
        self.cut = random.choice(("",) * 6 + ("client", "upstream"))
        self.at = random.randrange(1, len(self.answer)) if self.cut else len(self.answer)
        self.kept = not self.cut and not self.closes
        # Only these know where an answer ends without its last byte.
        self.whole = not self.cut
        self.seen = None


async def play_leg(reader, writer, plans, refused):
    """The leg's side of one connection."""
    try:
        while True:
            told = await reader.readuntil(CRLF + CRLF)
            plan = plans[re.search(rb"x-request-id: (\S+)", told).group(1).decode()]
            body = await reader.readexactly(len(plan.request) - len(told))
            if told + body != plan.request:
                refused.append(plan.id)
            at, end = 0, plan.at if plan.cut == "upstream" else len(plan.answer)
            while at < end:
                step = min(end - at, plan.random.choice((1, 7, 300, 100000)))
                writer.write(plan.answer[at:at + step])
                await writer.drain()
                at += step
                if plan.random.random() < 0.3:
                    await asyncio.sleep(0)
            if not plan.kept:
                break
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def play_haproxy(tap, plans):
    """One client's requests, over a connection that is kept where that is possible. While the tap drains it closes a kept connection with an
    answer; if the next request is sent just then it is sent again, as by any client."""
    reader = writer = None
    for plan in plans:
        while plan.seen is None:
            kept = writer is not None
            if not kept:
                reader, writer = await asyncio.open_unix_connection(tap.path)
            try:
                writer.write(plan.request)
                seen = await reader.readexactly(plan.at)
                if not plan.kept and plan.cut != "client":
                    seen += await reader.read()
            except (OSError, asyncio.IncompleteReadError) as why:
                seen = getattr(why, "partial", b"")
            if seen or not kept:
                plan.seen = seen
            if not plan.kept or plan.seen != plan.answer:
                writer.close()
                writer = None
    if writer:
        writer.close()


def test_a_storm(work):
    """Streams of each framing in pieces of all sizes, cut by either side, over kept connections, while taps are upgraded: each byte arrives, and
    each request has one report, which is right."""
    plans = {"storm-%d" % n: Plan("storm-%d" % n, random.Random("%s %d" % (SEED, n))) for n in range(1000 * STORM)}
    refused = []

    async def storm(tap):
        server = await asyncio.start_unix_server(lambda *sides: play_leg(*sides, plans, refused), str(tap.legs / "leg.one.sock"), backlog=1000)
        every = list(plans.values())
        playing = [asyncio.ensure_future(play_haproxy(tap, every[n::50])) for n in range(50)]
        done = asyncio.gather(*playing)
        while not done.done():
            await asyncio.get_running_loop().run_in_executor(None, tap.upgrade)
            tap.read_reports()
            await asyncio.wait([done], timeout=0.3)
        await done
        server.close()

    with Tap(work) as tap:
        with tap.reading():
            asyncio.run(asyncio.wait_for(storm(tap), 100 * STORM * processes.SLOW))
        assert not refused
        until(lambda: len(tap.read_reports()) >= len(plans), 10, lambda: "%d reports" % len(tap.reports))
        told = {one["id"]: one for one in tap.reports}
        assert len(told) == len(tap.reports) == len(plans), "seed %s" % SEED
        for plan in plans.values():
            one = told[plan.id]
            assert plan.seen == plan.answer[:plan.at], (SEED, plan.id, plan.seen, one)
            if not plan.cut:
                assert (one["end"], one["bytes"]) == ("whole", plan.count), (SEED, plan.id, one)
            elif plan.cut == "upstream":
                # Where the end of the connection ends the answer, a cut in its body cannot be told from that.
                assert one["end"] == "upstream" or (plan.closes and one["end"] in ("whole", "lost")), (SEED, plan.id, one)
            else:
                assert one["end"] in ("client", "whole"), (SEED, plan.id, one)
        assert len(tap.successors) > 1


def test_nothing_of_a_body_is_logged(tap, leg):
    prompt = "prompt" + os.urandom(8).hex()
    client, upstream = tap.exchange(leg, head(id="secret", body=prompt.encode()))
    with client, upstream:
        deliver(upstream, client, sized(prompt.encode()), 1 << 20)
    tap.report("secret")
    assert prompt not in tap.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_process_of_its_user_cannot_look_into_it(work):
    """There are prompts in its memory."""
    user, inside = 65534, work / "inside"
    work.chmod(0o711)
    inside.mkdir()
    os.chown(inside, user, user)
    with open(work / "log", "wb") as log:
        tap = harness.start("tap", "--listen", "unix@%s/tap.sock" % inside, "--control", "unix@%s/control.sock" % inside, "--report", "", stdin=subprocess.DEVNULL,
                            stdout=log, stderr=log, user=user, env=harness.environment({"MARKED": "x"}))
    try:
        until(lambda: harness.accepting("unix@%s/tap.sock" % inside), 10, "the tap accepts connections")
        looked = subprocess.run(["cat", "/proc/%d/environ" % tap.pid], capture_output=True, user=user)
        assert looked.returncode and b"MARKED" not in looked.stdout, looked
    finally:
        tap.terminate()
        assert tap.wait(20) == 0
