"""The tap alone: bytes, usage, ends, legs, backpressure. The test plays HAProxy and the legs (tests/rig/taps.py)."""
import json
import os
import pathlib
import select
import signal
import socket
import struct
import threading
import zlib

import pytest

import harness
import processes
from taps import CRLF, EVENTS, FRAMINGS, Leg, Tap, answer, chunked, chunks, deliver, head, sized


@pytest.fixture(scope="module")
def tap(module_work):
    with Tap(module_work) as one:
        yield one


@pytest.fixture(scope="module")
def leg(tap):
    one = Leg(tap)
    yield one
    one.close()


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


def lines(*objects):
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


OLLAMA = {"prompt_eval_count": 6, "eval_count": 7}
COHERE = {"billed_units": {"input_tokens": 6, "output_tokens": 7}}
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
    "ollama": ("application/x-ndjson", lines(
        {"message": {"content": "a"}, "done": False}, {"message": {"content": '{"eval_count":99}'}, "done": False},
        {"message": {"content": ""}, "done": True, "prompt_eval_count": 6, "eval_count": 7}), OLLAMA, OLLAMA, 2, True),
    "ollama generate": ("application/x-ndjson", lines(
        {"response": "a", "done": False}, {"response": "", "done": True, "context": [1, 2], "prompt_eval_count": 6, "eval_count": 7}), OLLAMA, OLLAMA, 1, True),
    "cohere": ("text/event-stream", events(
        {"type": "message-start"}, {"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE}}, names=True), COHERE, COHERE, 1, True),
    "cohere v1": ("application/stream+json", lines(
        {"event_type": "text-generation", "text": "a"},
        {"event_type": "stream-end", "response": {"text": "a", "meta": COHERE}}), COHERE, COHERE, 1, True),
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
            # Gemini may say in each event that the answer ends: where nothing but its connection ends it, that may have broken.
            assert have == ("whole", len(body), first, last, content, final and not (n == 1 and name == "gemini")), told


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
    # A refusal that cannot be sent closes the connection, in the middle of what was read.
    for _ in range(3):
        with tap.connect() as client:
            client.sock.shutdown(socket.SHUT_RD)
            client.send(head(leg="none", id="") + b"\0\1\2\r\n\r\n")
    tap.exchange(leg, head(id=""))
    assert tap.process.running() and leg.idle()


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


def test_one_read_and_one_write_for_each_wake_up(work):
    """An event that comes alone costs a wake-up, a read and a write. Events that come together leave together."""
    counts, env = work / "counts", harness.environment()
    counts.write_bytes(bytes(24))
    preload = " ".join(filter(None, [env.get("LD_PRELOAD"), str(harness.built("wakeups.so"))]))
    with Tap(work, env={"LD_PRELOAD": preload, "WAKEUPS": str(counts), "ASAN_OPTIONS": env["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}) as tap:
        client, upstream = tap.exchange(Leg(tap), head(id="counted"))

        def cost(pieces, together):
            before = struct.unpack("3Q", counts.read_bytes())
            if together:
                tap.process.stop()
            for piece in pieces:
                upstream.send(piece)
                if not together:
                    client.expect(piece)
            if together:
                tap.process.kill(signal.SIGCONT)
                client.expect(b"".join(pieces))
            # The counts are complete when the tap has done something else, too: it reads once or twice, and writes nothing.
            with tap.connect() as other:
                other.send(b"no HTTP\r\n\r\n")
                assert other.gone()
            return [now - then for then, now in zip(before, struct.unpack("3Q", counts.read_bytes()))]
        with client, upstream:
            cost([answer("content-type: text/event-stream", "transfer-encoding: chunked")], False)
            events = [chunks(b"data: %d\n\n" % n)[:-5] for n in range(200)]
            wakeups, reads, writes = cost(events, False)
            assert reads - len(events) in (1, 2) and writes == len(events) and wakeups >= reads - 1, (wakeups, reads, writes)
            wakeups, reads, writes = cost(events[:20], True)
            assert reads in (2, 3) and writes == 1, (wakeups, reads, writes)


def test_nothing_of_a_body_is_logged(tap, leg):
    prompt = "prompt" + os.urandom(8).hex()
    client, upstream = tap.exchange(leg, head(id="secret", body=prompt.encode()))
    with client, upstream:
        deliver(upstream, client, sized(prompt.encode()), 1 << 20)
    tap.report("secret")
    assert prompt not in tap.text()
