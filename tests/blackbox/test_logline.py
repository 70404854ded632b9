"""The line of JSON that HAProxy writes at each request's end: it arrives through the ring and by UDP, and it is valid whatever bytes clients
and upstreams put into it. How the agent reads such a line is tested with the ledger."""
import json
import os
import random
import re
import signal
import socket
import struct
import threading
import time

import pytest

import harness
import logs
import spop
from upstream import Mock

KEYS = {"v": int, "id": str, "te": int, "src": str, "method": str, "route": str, "backend": str, "srv": str, "protocol": str,
        "model": str, "project": str, "client": str, "ua": str, "status": int, "code": str, "term": str, "stream": str, "metered": str,
        "in": int, "out": int, "tr": int, "tw": int, "tc": int, "trs": int, "ta": int, "ctype": str, "coding": str, "seen": str, "usage": str, "tier": str,
        "hb": str, "ha": str, "hs": str, "text": str, "comp": str, "spoe": str}
UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def upstream():
    mock = Mock("upstream")
    yield mock
    mock.close()


@pytest.fixture(scope="module")
def receiver():
    with logs.Receiver() as one:
        yield one


def config_of(mock, **more):
    return dict({"openai_target": mock.url(), "anthropic_target": mock.url(), "gemini_target": mock.url(), "routes": [
        {"model_prefix": "dead-", "upstream": "http://127.0.0.1:1"},
        {"model_prefix": "nokey-", "auth": "env:NO_SUCH_VARIABLE"}, {"model_prefix": "*", "name": "rest"}]}, **more)


@pytest.fixture(scope="module")
def gateway(haproxy, upstream, receiver):
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment) as one:
        yield one


def record_of(receiver, exchange, **more):
    """The line of the exchange. `more`: members that only some lines have, and their types."""
    record = receiver.record(exchange.header("x-request-id"))
    assert {name: type(value) for name, value in record.items()} == dict(KEYS, **more), record
    return record


def stamp(request_id):
    """Returns the milliseconds since 1970 with which a UUIDv7 begins."""
    found = UUID7.fullmatch(request_id)
    assert found, request_id
    return int(found.group(1) + found.group(2), 16)


# ---- what stands in a line


def test_record(gateway, receiver, upstream):
    exchange = gateway.ask("gpt-5", [("X-Headroom-Project", "proj"), ("X-Client", "cli"), ("User-Agent", "codex_exec/1.0")])
    record = record_of(receiver, exchange)
    for name, value in {"v": 2, "method": "POST", "route": "rest", "backend": "llm-127.0.0.1:%d" % upstream.port,
                        "protocol": "openai", "model": "gpt-5", "project": "proj", "client": "cli", "ua": "codex_exec/1.0",
                        "status": 200, "code": "", "term": "--", "stream": "0", "metered": "1", "ctype": "application/json", "coding": "", "seen": "all", "tier": "",
                        "hb": "", "ha": "", "hs": "", "spoe": ""}.items():
        assert record[name] == value, (name, record)
    assert json.loads(record["usage"]) == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    assert record["in"] > len(exchange.only(upstream).body) and record["out"] > len(exchange.body)
    assert min(record[name] for name in ("tr", "tw", "tc", "trs", "ta")) >= 0
    assert exchange.only(upstream).all("x-headroom-project") == ["proj"] and exchange.only(upstream).all("x-client") == ["cli"]


def test_times(gateway, receiver):
    """When a request came and ended, in ms since 1970. HAProxy reads its clock once for all that it does at a time, and may wait for a core meanwhile, so that
    on a busy machine not every record says it to the millisecond; three in a row do at some time."""
    told, row = [], []

    def exact():
        before = time.time() * 1000
        record = record_of(receiver, gateway.ask("gpt-5"))
        told.append((before, record["te"] - record["ta"], record["te"], time.time() * 1000))
        row.append(before - 5 <= told[-1][1] <= told[-1][2] <= told[-1][3] + 5)
        return len(row) >= 3 and all(row[-3:])
    harness.until(exact, 20, lambda: told)


def test_stream_record(gateway, receiver, upstream):
    upstream.gate = threading.Event()
    threading.Timer(0.5, upstream.gate.set).start()
    try:
        exchange = gateway.ask("claude", target="/v1/messages", stream=True)
    finally:
        upstream.reset()
    record = record_of(receiver, exchange)
    assert record["stream"] == "1" and record["protocol"] == "anthropic" and record["ctype"] == "text/event-stream"
    assert 450 <= record["ta"] and record["trs"] < 400 and record["out"] > len(exchange.body), record


def test_headroom(gateway, receiver, upstream):
    upstream.extra_headers = [("X-Headroom-Tokens-Before", "1200"), ("x-headroom-tokens-after", "800"),
                              ("x-headroom-tokens-saved", "400" + "9" * 40)]
    try:
        exchange = gateway.ask("gpt-5")
    finally:
        upstream.reset()
    record = record_of(receiver, exchange)
    assert (record["hb"], record["ha"], record["hs"]) == ("1200", "800", "400" + "9" * 17)
    assert exchange.header("x-headroom-tokens-before") == "1200"


def test_stdout_has_the_line_without_the_key(gateway, receiver):
    exchange = gateway.ask("gpt-5")
    record = record_of(receiver, exchange)
    lines = harness.until(lambda: [line for line in gateway.haproxy.text().splitlines()
                                   if exchange.header("x-request-id") in line], what="the line on standard output")
    assert [json.loads(line) for line in lines] == [record]
    assert logs.KEY not in gateway.haproxy.text()


def test_the_key_is_quoted(haproxy, upstream):
    """An operator should not put a quote or a bracket into the log key; one that does must not let other text into the line."""
    hostile = 'a"] {"v":1}\\x'
    with logs.Receiver() as receiver:
        with harness.Gateway(haproxy, [upstream], config_of(upstream),
                             limits=dict(receiver.environment, SPOA_LLM_LOG_KEY=hostile)) as gateway:
            exchange = gateway.ask("gpt-5")
            harness.until(lambda: len(receiver.of(exchange.header("x-request-id"))) == 2, what=lambda: repr(receiver.bad))
        assert {line.key.replace('\\"', '"').replace("\\]", "]").replace("\\\\", "\\") for line in receiver.of()} == {hostile}
    with logs.Receiver() as receiver:
        without = {name: value for name, value in receiver.environment.items() if name != "SPOA_LLM_LOG_KEY"}
        with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=without) as gateway:
            exchange = gateway.ask("gpt-5")
            harness.until(lambda: len(receiver.of(exchange.header("x-request-id"))) == 2, what=lambda: repr(receiver.bad))
        assert {line.key for line in receiver.of()} == {""}


def test_ids_are_ordered_by_time(gateway, receiver, upstream):
    """Ids begin with the milliseconds of HAProxy's own clock, which stands still while a thread of HAProxy waits for a core."""
    ids = []
    while len({stamp(one) for one in ids}) < 5:
        assert len(ids) < 100, ids
        now = time.time() * 1000
        exchange = gateway.ask("gpt-5")
        ids.append(exchange.header("x-request-id"))
        assert abs(stamp(ids[-1]) - now) < 1000 * harness.SLOW
        assert exchange.only(upstream).all("x-request-id") == [ids[-1]]
        time.sleep(0.003)
    assert ids == sorted(ids, key=stamp) and len(set(ids)) == len(ids)
    with gateway.connect() as connection:
        kept = [gateway.ask("gpt-5", connection=connection).header("x-request-id") for _ in range(50)]
    assert len(set(kept)) == 50 and all(map(stamp, kept))


def test_arrival_on_a_kept_connection(gateway, receiver):
    """The time for which a connection was idle is not counted as part of the next request."""
    with gateway.connect() as connection:
        gateway.ask("gpt-5", connection=connection)
        time.sleep(1.2)
        now = time.time() * 1000
        record = record_of(receiver, gateway.ask("gpt-5", connection=connection))
    assert abs(record["te"] - record["ta"] - now) < 500 * harness.SLOW, record


# ---- which project a request belongs to


@pytest.mark.parametrize("target, header, project, path", [
    ("/v1/chat/completions", None, "", "/v1/chat/completions"),
    ("/v1/chat/completions?a=1", "one", "one", "/v1/chat/completions?a=1"),
    ("/p/two/v1/chat/completions", None, "two", "/v1/chat/completions"),
    ("/p/two/v1/chat/completions?a=%20&b", "one", "one", "/v1/chat/completions?a=%20&b"),
    ("/p/two/v1/chat/completions", "", "two", "/v1/chat/completions"),
    ("/p/a%20b%2fc/v1/chat/completions", None, "a b/c", "/v1/chat/completions"),
    ("/p/%C3%A9/v1/x%2Fy", None, "\u00e9", "/v1/x%2Fy"),
    ("/p/a/p/b/v1/x", None, "a", "/p/b/v1/x"),
    ("/p/" + "x" * 100 + "/v1/x", None, "x" * 64, "/v1/x"),
    ("/p/two", None, "two", "/"), ("/p/two?a=/b", None, "two", "/?a=/b"), ("/p/", None, "", "/p/"), ("/p", None, "", "/p"), ("/p//v1/x", None, "", "/p//v1/x"), ("/pp/two/v1", None, "", "/pp/two/v1"),
    ("/v1/p/two/x", None, "", "/v1/p/two/x"), ("/p/two/", None, "two", "/"), ("/p/a//b", None, "a", "/b"),
])
def test_project(gateway, receiver, upstream, target, header, project, path):
    exchange = gateway.ask("gpt-5", [] if header is None else [("X-Headroom-Project", header)], target=target)
    assert exchange.only(upstream).target == path
    assert record_of(receiver, exchange)["project"] == project


def test_the_agent_does_not_see_the_prefix(haproxy, upstream, receiver):
    answer = {"backend": "llm-127.0.0.1:%d" % upstream.port, "allow": "passthrough"}
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment,
                         fake=lambda args: answer) as gateway:
        assert gateway.ask("gpt-5", [("X-Client", "c" * 99)], target="/p/two/v1/chat/completions").status == 200
        asked = gateway.agent.asked[0]
        assert (asked["path"], asked["project"], asked["client"]) == ("/v1/chat/completions", "two", "c" * 64)


# ---- a request has a line however it ends


def test_refused_by_the_agent(gateway, receiver):
    exchange = gateway.ask("nokey-1")
    record = record_of(receiver, exchange, refused=int)
    assert (record["status"], record["code"], record["route"], record["model"], record["refused"]) == (
        502, "upstream_auth_unavailable", "nokey-", "nokey-1", 1), record
    assert record["backend"] == "llm-refuse" and record["usage"] == ""
    exchange = gateway.post("/v1/messages", b'{"model":"a","model":"b"}')
    record = record_of(receiver, exchange, refused=int)
    assert (record["status"], record["code"], record["protocol"], record["refused"]) == (400, "ambiguous_model", "anthropic", 1), record


def test_refused_without_an_agent(haproxy, upstream, receiver):
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment) as gateway:
        gateway.agent.kill()
        exchange = gateway.ask("gpt-5", [("X-Headroom-Project", "p")])
        record = record_of(receiver, exchange)
        assert (record["status"], record["code"], record["project"]) == (503, "gateway_unavailable", "p"), record
        assert record["spoe"] not in ("", "0"), record


def test_upstream_down(gateway, receiver):
    """HAProxy writes one line, however often it tried to connect to the upstream."""
    exchange = gateway.ask("dead-1")
    record = record_of(receiver, exchange)
    assert record["status"] == 503 and record["term"] in ("SC", "sQ") and record["code"] == "", record
    time.sleep(0.3)
    assert len(receiver.of(exchange.header("x-request-id"))) == 2


def test_upstream_error_status(gateway, receiver, upstream):
    upstream.respond = lambda _: (429, harness.JSON, b'{"error":{"message":"slow down","usage":"x"}}')
    exchange = gateway.ask("gpt-5")
    upstream.reset()
    record = record_of(receiver, exchange)
    assert (record["status"], record["term"], record["usage"]) == (429, "--", ""), record


def test_upstream_timeout(haproxy, upstream, receiver):
    def impatient(text):
        return text.replace("timeout server 600s", "timeout server 400ms")
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment, edit=impatient) as gateway:
        upstream.delay = 1.5
        exchange = gateway.ask("gpt-5")
        upstream.reset()
        record = record_of(receiver, exchange)
        assert (record["status"], record["term"]) == (504, "sH") and record["trs"] == -1, record


def test_upstream_breaks_a_stream_off(gateway, receiver, upstream):
    upstream.break_after = 2
    with pytest.raises(harness.wire.Cut) as cut:
        gateway.ask("claude", target="/v1/messages", stream=True)
    upstream.reset()
    record = record_of(receiver, cut.value.response)
    # HAProxy 3.0 sometimes logs CD, as if the client had left, although HAProxy closed the client's connection.
    assert record["status"] == 200 and record["term"] in ("SD", "CD") and record["stream"] == "1", record
    assert json.loads(record["usage"])["input_tokens"] == 11


def test_client_leaves_in_mid_stream(gateway, receiver, upstream):
    upstream.gate = threading.Event()
    with gateway.connect() as connection:
        connection.send(harness.wire.request("POST", "/v1/messages", [("Host", "gw.test")] + harness.JSON,
                                             harness.chat("claude", stream=True)))
        response = connection.head()
        next(connection.pieces(response))
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.1)
    upstream.gate.set()
    record = record_of(receiver, response)
    upstream.reset()
    assert (record["status"], record["term"]) == (200, "CD"), record
    assert json.loads(record["usage"])["input_tokens"] == 11


def test_client_leaves_before_the_answer(gateway, receiver, upstream):
    upstream.delay = 1.0
    seen = len(receiver.of(way="udp"))
    with gateway.connect() as connection:
        connection.send(harness.wire.request("POST", "/v1/chat/completions", [("Host", "gw.test")] + harness.JSON,
                                             harness.chat("gone")))
        time.sleep(0.2)
    line = harness.until(lambda: [line for line in receiver.of(way="udp")[seen:] if line.record["model"] == "gone"])[0]
    time.sleep(1)       # the upstream must not answer this request during the next test
    upstream.reset()
    assert line.record["status"] == -1 or line.record["status"] >= 400, line
    assert line.record["term"][0] == "C", line


def test_what_is_no_request(gateway, receiver):
    """A bad request has a line without an id; a connection that is only opened, or is kept open and then closed, has no line."""
    seen = len(receiver.of(way="udp"))
    with gateway.connect() as connection:
        gateway.ask("gpt-5", connection=connection)
    gateway.connect().close()
    with gateway.connect() as connection:
        connection.send(b'GE"T / HTTP/1.1\r\n\r\n')
        assert connection.head().status == 400
    harness.until(lambda: len(receiver.of(way="udp")) >= seen + 2, what=lambda: repr(receiver.bad))
    time.sleep(0.3)
    # The order of the two lines is not fixed, because different threads of HAProxy write them.
    first, second = sorted((line.record for line in receiver.of(way="udp")[seen:]), key=lambda record: record["status"])
    assert first["model"] == "gpt-5"
    assert (second["id"], second["status"], second["term"], second["model"]) == ("", 400, "PR", ""), second
    assert {name: type(value) for name, value in second.items()} == KEYS and not receiver.bad


def test_websocket(gateway, receiver):
    exchange = gateway.call("GET", "/v1/realtime?model=gpt-5", [("Connection", "Upgrade"), ("Upgrade", "websocket"),
                                                               ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                                                               ("Sec-WebSocket-Version", "13")])
    assert exchange.status == 101
    record = record_of(receiver, exchange)
    assert (record["status"], record["model"], record["usage"]) == (101, "gpt-5", ""), record


# ---- a line is valid JSON, whatever bytes clients and upstreams send


def decoded(raw):
    """The text that HAProxy's json(utf8s) makes of bytes: it leaves out sequences that are not UTF-8 and characters beyond U+FFFF."""
    out, at = [], 0
    while at < len(raw):
        first = raw[at]
        if first < 0x80:
            out.append(chr(first))
            at += 1
            continue
        more = 0 if first < 0xc0 or first > 0xfd else 1 if first < 0xe0 else 2 if first < 0xf0 else 3 if first < 0xf8 \
            else 4 if first < 0xfc else 5
        if more == 0 or len(raw) - at <= more:
            at += 1
            continue
        value, end = first & (0x3f >> more), at + 1
        while end <= at + more and raw[end] & 0xc0 == 0x80:
            value = value << 6 | raw[end] & 0x3f
            end += 1
        if end > at + more:
            smallest = (0x80, 0x800, 0x10000, 0x200000, 0x4000000)[more - 1]
            if smallest <= value < 0xfffe and not 0xd800 <= value <= 0xdfff:
                out.append(chr(value))
        at = end
    return "".join(out)


HOSTILE = [b'"', b"\\", b'\\"', b'","status":200,"x":"', b"}", b"]", b'"]', b"\t", b"%", b"%[env(SPOA_LLM_LOG_KEY)]", b"$HOME", b"\xc3\xa9",
           b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\x80",
           b"\xef\xbf\xbf", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"/", b"</script>", b"'", b"a", b" ", b"{", b"\x7f", b"\xc2\x85"]
CONTROLS = [b"\0", b"\n", b"\r", b"\x1b[31m", b"\x01", b"\x08", b"\x0c", b"\x1f"]


@pytest.fixture
def lenient(monkeypatch):
    """The fake agent reads strings that are not UTF-8, because clients may send such bytes."""
    strict = spop.read_typed

    def read(data, at):
        if at < len(data) and data[at] & 15 == 8:
            raw, at = spop.read_string(data, at + 1)
            return raw.decode("utf-8", "surrogateescape"), at
        return strict(data, at)
    monkeypatch.setattr(spop, "read_typed", read)


def hostile(rng, limit, pool):
    out = b""
    size = rng.choice([0, 1, 3, 10, limit - 1, limit, limit + 1, 3 * limit])
    while len(out) < size:
        out += rng.choice(pool) if rng.random() < 0.8 else bytes([rng.choice([rng.randrange(32, 256)])])
    return out[:size]


def field(raw):
    """A header's value as HAProxy reads it: without the blanks around it."""
    return raw.strip(b" \t")


@pytest.mark.parametrize("seed", range(int(os.environ.get("ANY_BYTES", "2"))))
def test_any_bytes_make_valid_json(haproxy, upstream, receiver, lenient, seed):
    """500 requests for each seed. Every line parses, and every field is the text that was sent, cut and cleaned (of the answer's type odd bytes are blanks), through the ring and by UDP."""
    rng = random.Random(seed)
    planned = {}

    def answer(args):
        plan = planned[args["path"]]
        return {"backend": "llm-127.0.0.1:%d" % upstream.port, "stream": plan["stream"],
                "route": spop.Raw(b"\x08" + spop.string(plan["route"])), "model": spop.Raw(b"\x08" + spop.string(plan["model"])),
                "code": spop.Raw(b"\x08" + spop.string(plan["code"])), "protocol": "openai", "allow": "passthrough"}

    def respond(request):
        plan = planned[request.path]
        return 200, [("Content-Type", plan["ctype"].decode("latin-1"))] + [
            ("x-headroom-tokens-" + name, plan[name].decode("latin-1")) for name in ("before", "after", "saved")], plan["body"]

    upstream.respond = respond
    everything = HOSTILE + CONTROLS
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment, fake=answer) as gateway:
        connection = gateway.connect()
        for number in range(500):
            path = "/%d/%d" % (seed, number)
            plan = planned[path] = {
                "model": hostile(rng, 256, everything)[:256], "route": hostile(rng, 64, everything)[:64],
                "code": hostile(rng, 30, everything)[:30], "stream": rng.random() < 0.5,
                "project": hostile(rng, 64, HOSTILE), "client": hostile(rng, 64, HOSTILE), "ua": hostile(rng, 128, HOSTILE),
                "before": hostile(rng, 20, HOSTILE), "after": hostile(rng, 20, HOSTILE), "saved": hostile(rng, 20, HOSTILE),
                "ctype": rng.choice([b"application/json", b"application/json;" + hostile(rng, 64, HOSTILE)])}
            usage = "".join(rng.choice(['"\\""', '"\\\\"', '"{"', '"]"', '"\u00e9/"', "\n", "a", "1", ":", ",", "\t", "\r", " ", "/"])
                            for _ in range(rng.choice([0, 9, 500, 1000])))
            plan["body"] = hostile(rng, 300, [one for one in everything if b"u" not in one and one != b"\0"]) + b',"usage":{' + usage.encode() + b"}}"
            headers = [("X-Headroom-Project", plan["project"].decode("latin-1")), ("X-Client", plan["client"].decode("latin-1")),
                       ("User-Agent", plan["ua"].decode("latin-1"))]
            exchange = gateway.post(path, b'{"model":"m"}', headers, connection=connection)
            assert exchange.status == 200, exchange.response
            plan["id"] = exchange.header("x-request-id")
            plan["usage"] = ("{" + usage + "}").encode()[:1280].decode("utf-8", "ignore")
        connection.close()
        for plan in planned.values():
            record = receiver.record(plan["id"])
            assert {name: type(value) for name, value in record.items()} == KEYS, record
            for name, raw in (("model", plan["model"]), ("route", plan["route"]), ("code", plan["code"]),
                              ("project", field(plan["project"])[:64]), ("client", field(plan["client"])[:64]),
                              ("ua", field(plan["ua"])[:128]), ("ctype", re.sub(rb"[^ -\\^-~]", b" ", field(plan["ctype"])[:64])),
                              ("hb", field(plan["before"])[:20]), ("ha", field(plan["after"])[:20]),
                              ("hs", field(plan["saved"])[:20])):
                assert record[name] == decoded(raw), (name, raw, record[name])
            assert record["usage"] == plan["usage"], (plan["body"], record)
            assert record["stream"] == str(int(plan["stream"]))
        assert not receiver.bad
    upstream.reset()


def test_the_longest_line_is_whole(haproxy, upstream, receiver, lenient):
    """Every field has its greatest length, and every byte grows as much as escaping can make it grow: the line still fits into 8192 bytes."""
    worst = b"\xc2\x80"                 # two bytes that become six
    model, route = worst * 128, worst * 32
    key = "k" * 64
    answer = {"backend": "llm-127.0.0.1:%d" % upstream.port, "allow": "passthrough", "stream": True, "protocol": "anthropic",
              "route": spop.Raw(b"\x08" + spop.string(route)), "model": spop.Raw(b"\x08" + spop.string(model)),
              "code": spop.Raw(b"\x08" + spop.string(route))}
    upstream.respond = lambda _: (200, [("Content-Type", "application/json;" + "\x01" * 99)] + [
        ("x-headroom-tokens-" + name, "\x01" * 30) for name in ("before", "after", "saved")], b'{"usage":{' + b'"' * 2000 + b"}}")
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=dict(receiver.environment, SPOA_LLM_LOG_KEY=key),
                         fake=lambda _: answer) as gateway:
        # A control character grows most when escaped, but not every HAProxy accepts one: if it answers 400, send U+0080 instead.
        for byte in ("\x01", "\u00c2\u0080"):
            exchange = gateway.ask("m", [("X-Headroom-Project", byte * 64), ("X-Client", byte * 64), ("User-Agent", byte * 128)])
            if exchange.status == 200:
                break
            assert exchange.status == 400
            upstream.respond = lambda _: (200, [("Content-Type", "application/json;" + "\u00c2\u0080" * 30)] + [
                ("x-headroom-tokens-" + name, "\u00c2\u0080" * 10) for name in ("before", "after", "saved")], b'{"usage":{' + b'"' * 2000 + b"}}")
        lines = harness.until(lambda: receiver.of(exchange.header("x-request-id")) if len(
            receiver.of(exchange.header("x-request-id"))) == 2 else None, what=lambda: repr(receiver.bad))
        assert {line.key for line in lines} == {key} and len(lines[0].record["usage"]) == 1280
        assert lines[0].record["model"] == model.decode() and not receiver.bad
        assert 4000 < max(len(line.raw) for line in lines) < 8192 - 128 - 64, [len(line.raw) for line in lines]
    upstream.reset()


# ---- no line is lost in a reload, or while the receiver is down


def test_reload_with_streams_in_flight(haproxy, upstream, receiver):
    """A new HAProxy process takes over; the streams that end in the old process are recorded all the same, through the ring or by UDP."""
    upstream.gate = threading.Event()
    with harness.Gateway(haproxy, [upstream], config_of(upstream), limits=receiver.environment) as gateway:
        open_ones = []
        for _ in range(10):
            connection = gateway.connect()
            connection.send(harness.wire.request("POST", "/v1/messages", [("Host", "gw.test")] + harness.JSON,
                                                 harness.chat("claude", stream=True)))
            response = connection.head()
            open_ones.append((connection, response, connection.pieces(response)))
            next(open_ones[-1][2])
        new = harness.Process("haproxy-new", [haproxy, "-db", "-f", str(gateway.cfg), "-sf", str(gateway.haproxy.pid)],
                              gateway.dir / "haproxy-new.log", harness.environment(gateway.haproxy_env))
        try:
            time.sleep(1)
            assert gateway.haproxy.running(), "the old process waits for its streams"
            after = harness.until(lambda: gateway.ask("gpt-5"), what="an answer from the new process")
            upstream.gate.set()
            for connection, response, pieces in open_ones:
                list(pieces)
                assert response.complete
                connection.close()
            ids = [response.header("x-request-id") for _, response, _ in open_ones]
            for request_id in ids:
                harness.until(lambda: receiver.of(request_id), 3, "a record of %s" % request_id)
            ways = {way: sum(1 for request_id in ids if receiver.of(request_id, way)) for way in ("ring", "udp")}
            print("streams in flight recorded:", ways)
            assert ways["udp"] == 10
            receiver.record(after.header("x-request-id"))
            start = time.monotonic()
            gateway.haproxy.wait(10)
            print("the old process ended after %.1f s" % (time.monotonic() - start))
        finally:
            old, gateway.haproxy = gateway.haproxy, new
            old.file.close()
            harness.LIVE.remove(old)
    upstream.reset()


def test_receiver_down(haproxy, upstream):
    """The lines that HAProxy writes while the receiver is down wait in the ring."""
    with logs.Receiver() as receiver, harness.Gateway(haproxy, [upstream], config_of(upstream),
                                                      limits=receiver.environment) as gateway:
        receiver.record(gateway.ask("gpt-5").header("x-request-id"))
        receiver.down()
        ids = []
        end = time.monotonic() + 3
        while time.monotonic() < end:
            ids.append(gateway.ask("gpt-5").header("x-request-id"))
            time.sleep(0.01)
        receiver.up()
        # The one line that HAProxy writes to the dead connection is lost: of the first request, or of the second one, whose thread may be faster.
        harness.until(lambda: sum(not receiver.of(one, "ring") for one in ids) <= 1, 15,
                      lambda: "%d of %d" % (sum(1 for one in ids if receiver.of(one, "ring")), len(ids)))
        counts = [len(receiver.of(one, "ring")) for one in ids]
        print("while down:", len(ids), "lost:", counts.count(0), "twice:", counts.count(2))
        assert counts.count(0) <= 1 and max(counts) == 1
