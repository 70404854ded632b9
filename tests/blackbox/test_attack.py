"""Attacks by clients, by upstreams, by files, and by strangers on a socket. No upstream, client or log believes a forged request, header or
answer; an oversized or slow message costs nobody but its sender; and no credential stands in anything that is written.

Attacks in other modules: framing and forged headers one by one (test_http), credentials with control characters (test_credentials), lies of an
agent (test_failclosed), hostile usage objects (test_usage_capture), hostile names in reports (test_savings)."""
import concurrent.futures
import contextlib
import gzip
import json
import os
import pathlib
import re
import resource
import socket
import sqlite3
import sys
import threading
import time
import zlib

import pytest

import chaos
import harness
import loglines
import logs
import spop
from harness import CLIENT_KEY, JSON, bearer, chat, secret

GLM, CLAUDE, LOG_KEY = secret("attack-glm"), secret("attack-claude"), secret("attack-log")
CHAT = "/v1/chat/completions"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


# A sanitizer makes the agent so slow that HAProxy would neither wait for its answers nor find it up while it unpacks bombs on a busy machine.
PATIENT = {"edit": lambda text: text.replace("check inter 500ms fall 2", "check inter 20s fall 2"),
           "edit_spoe": lambda text: text.replace("timeout processing 2s", "timeout processing 20s")} if "san" in harness.AGENT else {}


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock):
    mocks = {name: make_mock("attack-" + name) for name in ("glm", "claude", "legacy")}
    config = {"routes": [{"model_prefix": "glm-", "upstream": mocks["glm"].url(), "auth": "env:GLM"},
                         {"model_prefix": "claude-", "upstream": mocks["claude"].url(), "auth": "env:CLAUDE",
                          "auth_header": "x-api-key"}],
              **{name + "_target": mocks["legacy"].url() for name in ("openai", "anthropic", "gemini")}}
    with logs.Receiver() as receiver, harness.Gateway(
            haproxy, mocks.values(), config, env={"GLM": GLM, "CLAUDE": CLAUDE}, owners={GLM: [mocks["glm"]], CLAUDE: [mocks["claude"]]},
            limits={"LLM_BUFSIZE": "65536", **receiver.environment}, **PATIENT) as gateway:
        gateway.by_name, gateway.receiver = mocks, receiver
        yield gateway


@pytest.fixture
def honest(gateway):
    """After each attack an honest request has to be served as before, by the same agent and HAProxy processes."""
    agent, haproxy = gateway.agent.process.pid, gateway.haproxy.pid
    for mock in gateway.mocks:
        mock.reset()
    yield gateway
    for mock in gateway.mocks:
        mock.reset()
    def served():
        got = gateway.ask("glm-1")
        return got.status == 200 and got.only(gateway.by_name["glm"]).header("authorization") == "Bearer " + GLM
    harness.until(served, 15, "an honest request is served", step=0.1)
    assert gateway.agent.process.running() and gateway.haproxy.running()
    assert (agent, haproxy) == (gateway.agent.process.pid, gateway.haproxy.pid)


def genuine(gateway, since, headers=True):
    """Checks that the agent decided on each request that reached an upstream since counts() returned `since`: the request has an id that
    HAProxy made and that no other request has, the credential of its upstream, and no other credential. `headers`: also that it has no
    header x-evil."""
    ids = []
    for name, mock in gateway.by_name.items():
        for request in mock.requests[since[name]:]:
            got = request.all("x-request-id")
            assert len(got) == 1 and UUID.fullmatch(got[0]), "this request was smuggled in: %r" % request
            ids += got
            if name == "glm":
                assert request.all("authorization") == ["Bearer " + GLM] and not request.all("x-api-key"), request
            if name == "claude":
                assert request.all("x-api-key") == [CLAUDE] and not request.all("authorization"), request
            assert not [key for key, _ in request.headers if key.lower().startswith("x-llm-")], request
            assert not headers or not [key for key, _ in request.headers if key.lower() == "x-evil"], request
    assert len(ids) == len(set(ids)), ids


def counts(gateway):
    return {name: len(mock.requests) for name, mock in gateway.by_name.items()}


# ---- two requests in one

INNER = (b"POST /v1/chat/completions?smuggled=1 HTTP/1.1\r\nHost: gw.test\r\nx-request-id: evil\r\nx-evil: 1\r\nAuthorization: Bearer mine\r\n"
         b"Content-Type: application/json\r\nContent-Length: 17\r\n\r\n" + b'{"model":"glm-1"}')
BODY = b'{"model":"glm-1"}'
TE = [b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked",
      b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked",
      b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
      b"X: y\nTransfer-Encoding: chunked", b"X: y\r\n Transfer-Encoding: chunked", b"Transfer-Encoding:\r\n chunked",
      b"Transfer-Encoding: \"chunked\"", b"transfer-encoding: CHUNKED", b"Transfer-Encoding: chunked;x=y", b"Transfer_Encoding: chunked",
      b"Transfer-Encoding: gzip, chunked", b"\x00Transfer-Encoding: chunked", b"Transfer-Encoding\x00: chunked", b"Transfer-Encoding"]
LENGTHS = [b"Content-Length: %d", b"Content-Length: +%d", b"Content-Length: 0%d", b"Content-Length: %d, %d", b"Content-Length: %d\r\nContent-Length: 0",
           b"Content-Length: 0\r\nContent-Length: %d", b"Content-Length: %d ", b"Content-Length: 0x%x", b"Content-Length : %d",
           b"Content-Length: -%d", b"Content-Length: %d\x00", b"Content-Length: 99999999999999999999%d", b"Content_Length: %d",
           b"Content-Length: %de0", b"Content-Length:\n %d", b"Content-Length:"]


def smuggling_attempts():
    start = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/json\r\n"
    last = b"0\r\n\r\n"
    piece = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    for te in TE:
        # Two servers would differ here about where the first request ends and INNER begins: one that goes by the chunks, and one that goes
        # by Content-Length.
        yield "TE.CL %r" % te, start + te + b"\r\nContent-Length: %d\r\n\r\n" % len(piece + last) + piece + last + INNER
        yield "CL.TE %r" % te, start + b"Content-Length: %d\r\n" % len(piece + last + INNER) + te + b"\r\n\r\n" + piece + last + INNER
        yield "TE alone %r" % te, start + te + b"\r\n\r\n" + piece + last + INNER
    for length in LENGTHS:
        text = length.replace(b"%d", b"%d" % len(BODY)).replace(b"%x", b"%x" % len(BODY))
        yield "CL %r" % length, start + text + b"\r\n\r\n" + BODY + INNER
        text = length.replace(b"%d", b"%d" % len(BODY + INNER)).replace(b"%x", b"%x" % len(BODY + INNER))
        yield "CL over both %r" % length, start + text + b"\r\n\r\n" + BODY + INNER
    chunked = start + b"Transfer-Encoding: chunked\r\n\r\n"
    for name, bad in {"size overflow": b"1000000000000000%x\r\n" % len(BODY) + BODY, "negative": b"-1\r\n" + BODY, "size with blank": b"%x \r\n" % len(BODY) + BODY,
                      "bare LF": b"%x\n" % len(BODY) + BODY + b"\n0\n\n", "extension": b"%x;a=\"\r\n\"\r\n" % len(BODY) + BODY,
                      "long extension": b"%x;" % len(BODY) + b"a" * 70000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n", "no CRLF behind": b"%x\r\n" % len(BODY) + BODY + b"0\r\n\r\n",
                      "0x": b"0x%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n", "CR": b"%x\r" % len(BODY) + BODY + b"\r\n0\r\n\r\n"}.items():
        yield "chunk " + name, chunked + bad + INNER
    for name, head in {"a bare LF": b"X: y\n\n" + INNER, "a bare CR": b"X: y\r\r\n", "a NUL": b"X: \x00\r\n", "a fold": b"X: y\r\n\tz: w\r\n",
                       "no colon": b"Xyz\r\n", "a name with a blank": b"X y: z\r\n", "a name with a quote": b"X\"y: z\r\n", "an empty name": b": z\r\n",
                       "high bytes": b"X\xff: \xfe\r\n", "a second Host": b"Host: other\r\n", "Host with a path": b"Host: a/b\r\n",
                       "an upgrade to h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
                       "an expectation": b"Expect: 100-continue, x\r\n", "connection names": b"Connection: content-length, authorization, x-api-key\r\n",
                       "te trailers": b"TE: trailers\r\nTrailer: authorization\r\n"}.items():
        yield "head " + name, start + head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY + INNER
    for name, line in {"HTTP/0.9": b"POST " + CHAT.encode(), "HTTP/1.0": b"POST /v1/x HTTP/1.0", "HTTP/2.0": b"POST /v1/x HTTP/2.0", "no target": b"POST HTTP/1.1",
                       "two blanks": b"POST  /v1/x  HTTP/1.1", "a tab": b"POST\t/v1/x\tHTTP/1.1", "a CR in the target": b"POST /v1\r/x HTTP/1.1",
                       "a method with a colon": b"POST: /v1/x HTTP/1.1", "CONNECT": b"CONNECT gw.test:80 HTTP/1.1", "TRACE": b"TRACE / HTTP/1.1",
                       "OPTIONS *": b"OPTIONS * HTTP/1.1", "absolute": b"POST http://evil.test/v1/x HTTP/1.1", "authority": b"POST evil.test:80 HTTP/1.1",
                       "a GET": b"GET /v1/x HTTP/1.1", "a HEAD": b"HEAD /v1/x HTTP/1.1", "a fragment": b"POST /v1/x#y HTTP/1.1"}.items():
        yield "line " + name, line + b"\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY + INNER
        yield "chunked line " + name, line + b"\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n" + piece + last + INNER


def exchange(address, data, seconds):
    """Sends `data` and returns what comes back until the connection ends or stays silent for `seconds`."""
    out = b""
    with socket.create_connection(address, seconds) as sock:
        sock.settimeout(seconds)
        try:
            sock.sendall(data)
            while True:
                piece = sock.recv(65536)
                if not piece:
                    break
                out += piece
        except OSError:
            pass
    return out


def test_no_request_is_smuggled(honest):
    """However HAProxy divides these bytes into requests, the agent has decided on each request that reaches an upstream."""
    since = counts(honest)
    attempts = dict(smuggling_attempts())
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda data: exchange(honest.address, data, 0.5 * harness.SLOW), attempts.values()))
    genuine(honest, since, False)
    for (name, _), out in zip(attempts.items(), answers):
        assert not harness.leaks(out.decode("latin-1")), name
    # The same attempts, each behind an honest request on the same connection.
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        first = (b"POST %s HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(BODY))) + BODY
        list(pool.map(lambda data: exchange(honest.address, first + data, 0.4 * harness.SLOW), attempts.values()))
    genuine(honest, since, False)
    assert sum(counts(honest).values()) > sum(since.values())     # the attempts that are valid requests did arrive


@pytest.mark.parametrize("line", [b"CONNECT gw.test:80 HTTP/1.1", b"TRACE /v1/x HTTP/1.1"])
def test_methods_that_are_not_served(honest, line):
    since = counts(honest)
    out = exchange(honest.address, line + b"\r\nHost: gw.test\r\nConnection: close\r\n\r\n", 5)
    assert out.startswith(b"HTTP/1.1 405 ") and b'"method_not_allowed"' in out
    assert re.search(rb"\r\nx-request-id: [0-9a-f-]{36}\r\n", out)      # though no question to the agent needed an id
    assert counts(honest) == since


# ---- texts that would be headers or log lines


INJECTIONS = ["\r\nx-evil: 1", "\nx-evil: 1", "\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nx-evil: 1\r\n\r\n", "%0d%0ax-evil:%201", "\\r\\nx-evil: 1",
              "\u560d\u560ax-evil: 1", "\x00x-evil: 1", "\x1b]0;evil\x07", '"}\r\n<134>1 - - - - - forged', "%[env(GLM)]", "%{+Q}o ${GLM} $(id)",
              "\u2028x-evil: 1", "'; drop table requests; --", "<script>alert(1)</script>", "a" * 3000]


@pytest.mark.parametrize("at", range(len(INJECTIONS)))
def test_no_text_becomes_a_header_or_a_line(honest, at):
    """Model, project, client and path are texts of the client's that HAProxy and the agent put into variables, logs and refusals."""
    text, since = INJECTIONS[at], counts(honest)
    before = len(honest.haproxy.text().splitlines())
    header = re.sub(r"[\r\n\x00]", " ", text).encode("utf-8").decode("latin-1")
    path = "".join(c if 0x20 < ord(c) < 0x7f and c != "#" else "%%%02X" % ord(c) if ord(c) < 128 else "x" for c in text)[:2000]
    answers = [honest.post(CHAT, {"model": "glm-" + text}), honest.post(CHAT, {"model": text}),
               honest.post("/v1beta/models/glm-%s:generateContent" % path.replace("?", "%3F"), {}),
               honest.post("/p/%s/v1/chat/completions" % path.replace("?", "%3F"), {"model": "glm-1"}),
               honest.post(CHAT + "?model=" + path.replace("&", "%26"), {}),
               honest.post(CHAT, {"model": "glm-1"}, list(bearer()) + [("X-Headroom-Project", header), ("X-Client", header), ("User-Agent", header),
                                                                       ("X-Codex-Turn-Metadata", header), ("anthropic-version", header)])]
    genuine(honest, since)
    for answer in answers:
        assert not answer.header("x-evil") and answer.response.complete
        assert not harness.leaks((answer.raw_head + answer.body).decode("utf-8", "replace"))
        if answer.status >= 400:
            answer.json()
    for line in honest.haproxy.text().splitlines()[before:]:
        if line.startswith("{"):
            assert json.loads(line)["v"] == 2, line


def test_forged_headers_decide_nothing(honest):
    """HAProxy never takes a client's header for the agent's decision: neither for a request that is forwarded, nor for one that the agent
    refuses, nor for one that the agent does not answer."""
    forged = [(name, value) for name, value in (
        ("x-llm-deny", "0"), ("x-llm-backend", "llm-" + "127.0.0.1:%d" % honest.by_name["claude"].port), ("X-LLM-Auth", "replace"),
        ("x-llm-auth-value", "Bearer mine"), ("txn.llm.allow", "passthrough"), ("x-request-id", "evil"), ("x-forwarded-host", "evil.test"),
        ("x-original-url", "/admin"), ("x-http-method-override", "DELETE"))]
    since = counts(honest)
    got = honest.ask("glm-1", list(bearer()) + forged).only(honest.by_name["glm"])
    assert got.method == "POST" and got.target == CHAT
    honest.post(CHAT, {"model": 5}, list(bearer()) + forged).refused(400, "invalid_model")
    honest.agent.process.stop()
    try:
        # Under a sanitizer HAProxy waits for the agent for 20 s (see above), and 2.6 looks only every five seconds whether that is over.
        honest.post(CHAT, chat("glm-1"), list(bearer()) + forged, timeout=90).refused(503, "gateway_unavailable")
    finally:
        honest.agent.process.kill(18)
    harness.until(lambda: honest.ask("glm-1").status == 200, 15, "requests are served again", step=0.1)
    genuine(honest, since)


# ---- too much


def timed(call):
    start = time.monotonic()
    return call(), time.monotonic() - start


def worked(call):
    """The result of a call that runs a command, and the command's CPU time, which a busy machine makes little longer."""
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    result, end = call(), resource.getrusage(resource.RUSAGE_CHILDREN)
    return result, end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime


def zeros(coding):
    """A body of some 20 KB that unpacks to blanks: 20 MB of them (gzip, deflate) or 640 MB (zstd)."""
    plain = b'{"model":"' + b" " * (20 << 20)
    if coding == "gzip":
        return gzip.compress(plain, 9)
    if coding == "deflate":
        return zlib.compress(plain, 9)
    # 5,000 RLE blocks of zstd, each 128 KB out of four bytes.
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10\x20" * 5000


OVERSIZED = {
    "deep": b"[" * 60000, "deep in a member": b'{"a":' * 12000, "deep behind the model": b'{"model":"glm-1","a":' + b"[" * 40000,
    "many members": b"{" + b",".join(b'"a%d":1' % n for n in range(6000)) + b'}', "many models": b"{" + b",".join([b'"model":"glm-1"'] * 3500) + b"}",
    "many escapes": b'{"model":"' + b"\\u0067" * 9000 + b'"}', "a long model": b'{"model":"glm-' + b"x" * 50000 + b'"}', "backslashes": b'{"a":"' + b"\\" * 50000,
    "quotes": b'"' * 50000, "colons": b"{" + b":" * 50000, "a long number": b'{"a":' + b"9" * 50000 + b',"model":"glm-1"}', "nul": b"\x00" * 50000,
    "a long name": b'{"' + b"x" * 50000 + b'":1,"model":"glm-1"}',
}


@pytest.mark.parametrize("case", OVERSIZED)
def test_hostile_bodies_cost_no_time(honest, case):
    since = counts(honest)
    answer, took = timed(lambda: honest.post(CHAT, OVERSIZED[case]))
    assert took < 2 * harness.SLOW, took
    if answer.seen:
        answer.only(honest.by_name["glm"] if b"glm" in OVERSIZED[case] else honest.by_name["legacy"])
    genuine(honest, since)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_bombs(honest, coding):
    before = honest.agent.rss()
    body = zeros(coding)

    def one(_):
        return honest.post(CHAT, body, list(bearer()) + [("Content-Encoding", coding)])
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for answer in pool.map(one, range(24)):
            answer.nowhere()
            assert answer.status in (400, 413), answer.response
    assert time.monotonic() - start < 20 * harness.SLOW
    assert honest.agent.rss() - before < (100 << 20) * (4 if "san" in harness.AGENT else 1)


def test_multipart_of_many_parts(honest):
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    for body in (part * 1000 + b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nglm-1\r\n--b--\r\n', b"--b" * 15000, b"--b\r\n" * 10000,
                 b'--b\r\nContent-Disposition: form-data; ' + b'x="' * 15000):
        answer, took = timed(lambda: honest.call("POST", CHAT, [("Content-Type", "multipart/form-data; boundary=b")], body))
        assert took < 2 * harness.SLOW, took
        assert [one.mock.name for one in answer.seen] in ([], ["attack-glm"]) or b"model" not in body


@pytest.mark.parametrize("what", ["a long target", "a long query", "a long header", "many headers", "a long name"])
def test_heads_beyond_the_buffer(honest, what):
    headers = {"a long header": [("x-a", "y" * 70000)], "many headers": [("x-%d" % n, "y") for n in range(5000)],
               "a long name": [("x" * 70000, "y")]}.get(what, [])
    target = {"a long target": "/" + "a" * 70000, "a long query": CHAT + "?a=" + "b" * 70000}.get(what, CHAT)
    since = counts(honest)
    tag = honest.tag()
    out = exchange(honest.address, ("POST %s HTTP/1.1\r\nHost: x\r\nx-client-request-id: %s\r\n%s\r\nContent-Length: 17\r\n\r\n" % (
        target, tag, "".join("%s: %s\r\n" % pair for pair in headers)[:-2] or "x-b: c")).encode() + BODY, 2 * harness.SLOW)
    assert out.startswith(b"HTTP/1.1 4"), out[:300]
    assert not honest.seen(tag)
    genuine(honest, since)


# ---- too little


def test_slow_bodies_cost_others_nothing(honest):
    """Many clients send a byte now and then, for a model whose route has a credential. No upstream sees such a request while it is
    incomplete, and other clients are served as quickly as before."""
    tags = [honest.tag() for _ in range(150)]
    held = []
    for tag in tags:
        sock = socket.create_connection(honest.address, 5)
        sock.sendall(("POST %s HTTP/1.1\r\nHost: x\r\nx-client-request-id: %s\r\nContent-Length: 5000\r\n\r\n" % (CHAT, tag)).encode() + BODY)
        held.append(sock)
    heads = [socket.create_connection(honest.address, 5) for _ in range(100)]
    for sock in heads:
        sock.sendall(b"POST / HTTP/1.1\r\nHost:")
    try:
        for turn in range(5):
            for sock in held:
                sock.sendall(b" ")
            answer, took = timed(lambda: honest.ask("glm-1"))
            assert answer.status == 200 and took < 1 * harness.SLOW, (answer.response, took)
        assert not [tag for tag in tags if honest.seen(tag)]
    finally:
        for sock in held + heads:
            sock.close()
    assert not [tag for tag in tags if honest.seen(tag)]


# ---- hostile upstreams


def lines(*headers):
    return ("HTTP/1.1 200 OK\r\n" + "".join(one + "\r\n" for one in headers) + "\r\n").encode("latin-1")


UPSTREAM = {
    "our headers": lines("Content-Length: 2", "x-llm-deny: 0", "x-llm-backend: evil", "X-LLM-Auth-Value: " + "x", "x-request-id: evil") + b"{}",
    "two lengths": lines("Content-Length: 2", "Content-Length: 9") + b"{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "both lengths": lines("Content-Length: 2", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "two answers": lines("Content-Length: 2") + b"{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "many interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + lines("Content-Length: 2") + b"{}",
    "many early hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3000 + lines("Content-Length: 2") + b"{}",
    "a long head": b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 200000, "a long line": b"HTTP/1.1 200 OK\r\nx-a: " + b"b" * 2000000,
    "a head that never ends": b"HTTP/1.1 200 OK\r\nx-a: b\r\n", "no head": b"\x00\xff" * 5000, "nothing": b"",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + b"\x00" * 100,
    "a bad chunk": lines("Transfer-Encoding: chunked") + b"zz\r\n{}", "a cut body": lines("Content-Length: 99") + b"{}",
    "a status of 99": b"HTTP/1.1 099 No\r\n\r\n", "a status of 1000": b"HTTP/1.1 1000 No\r\n\r\n", "folded": b"HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nx-a: \x00\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/0.9": b"hello", "a bomb": lines("Content-Type: application/json", "Content-Encoding: gzip", "Connection: close") + gzip.compress(b'{"a":"' + b" " * (20 << 20), 9)[:30000],
    "a bomb of events": lines("Content-Type: text/event-stream", "Content-Encoding: gzip", "Connection: close") + gzip.compress(b"data: " + b" " * (20 << 20), 9)[:30000],
}


@pytest.mark.parametrize("case", UPSTREAM)
def test_a_hostile_upstream(honest, case):
    """The client of such an upstream gets an answer, or its connection ends. No later client gets bytes that were part of that answer."""
    mock = honest.by_name["glm"]
    mock.raw = UPSTREAM[case]
    target = "/v1/messages" if "events" in case else CHAT
    since = counts(honest)
    start = time.monotonic()
    with socket.create_connection(honest.address, 5) as sock:
        sock.settimeout(0.4 * harness.SLOW)
        ask = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n" % target.encode() + BODY
        out = b""
        try:
            sock.sendall(ask)
            while len(out) < 4 << 20:
                piece = sock.recv(65536)
                if not piece:
                    break
                out += piece
        except OSError:
            pass
    assert time.monotonic() - start < 8 * harness.SLOW
    head = out.split(b"\r\n\r\n")[0].lower()
    if case not in ("HTTP/0.9",):
        assert b"x-llm-" not in head and b"x-request-id: evil" not in head
    mock.raw = None
    # No later client gets bytes that the upstream sent behind its answer.
    for _ in range(3):
        answer = honest.ask("glm-1", target=target)
        assert answer.status == 200 and b"evil" not in answer.body and answer.header("x-mock") == "attack-glm", answer.response
    genuine(honest, since)


def test_interim_answers_and_trailers_are_not_believed(honest):
    """HAProxy passes interim answers on as they are, and before 3.2 trailers, but the log line takes its figures from the head of the final answer."""
    mock, since = honest.by_name["glm"], counts(honest)
    ours = b"x-headroom-tokens-saved: 99999\r\nx-headroom-tokens-before: 9\r\nx-headroom-tokens-after: 1\r\nx-llm-deny: 0\r\nx-request-id: evil\r\n"
    usage = b'{"usage":{"prompt_tokens":9000,"completion_tokens":9000}}'
    mock.raw = (b"HTTP/1.1 103 Early Hints\r\nContent-Type: application/json\r\n" + ours + b"\r\n"
                + lines("Content-Type: application/json", "Transfer-Encoding: chunked", "Trailer: x-llm-deny") + b"2\r\n{}\r\n0\r\n" + ours + b"x-a: "
                + usage + b"\r\n\r\n")
    out = exchange(honest.address, b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
                   % CHAT.encode() + BODY, 10 * harness.SLOW)
    mock.raw = None
    final = out[out.index(b"HTTP/1.1 200"):].split(b"\r\n\r\n")[0].lower()
    assert b"x-llm-" not in final.replace(b"trailer: x-llm-deny", b"") and b"evil" not in final, out
    own = re.search(rb"x-request-id: (\S+)", final).group(1).decode()
    # The record is looked for at the log receiver, not on HAProxy's standard output: when two threads write there at once, a line is lost.
    record = harness.until(lambda: [line.record for line in honest.receiver.lines if line.is_record and line.record["id"] == own], 5, "the request's line")[0]
    assert (record["status"], record["hs"], record["hb"], record["ha"]) == (200, "", "", ""), record
    assert record["usage"] in ("", "-") and UUID.fullmatch(record["id"]), record
    genuine(honest, since)


# ---- hostile files


def test_hostile_route_files(work):
    """`check` refuses each file within seconds, with short messages that cannot control a terminal."""
    many = ",".join('"k%d":1' % n for n in range(300000))
    texts = {"many members": "{%s}" % many, "many members of a route": '{"routes":[{"model_prefix":"a",%s}]}' % many,
             "many routes": '{"routes":[%s]}' % ",".join('{"model_prefix":"a%d"}' % n for n in range(100000)), "many numbers": '{"routes":[%s]}' % ",".join(["1"] * 1000000),
             "deep": '{"routes":' + "[" * 1000000, "a long text": '{"routes":[{"model_prefix":"%s"}]}' % ("x" * 3000000), "a long name": '{"%s":1}' % ("x" * 3000000),
             "too large": " " * (4 * 1024 * 1024) + "{}", "escapes": '{"%s":1}' % ("\\u0041" * 500000), "a terminal's": '{"\x1b]0;evil\x07\r\n":1}',
             "a hidden end": '{"routes":[{"model_prefix":"glm-\\u0000x","auth":"env:A\\u0000B"}]}', "twice": '{"strict":true,"strict":true}', "case": '{"Routes":[]}'}
    for name, text in texts.items():
        file = work / "hostile.json"
        file.write_text(text)
        done, took = worked(lambda: harness.cli("check", "-c", file))
        assert done.code == 78, (name, done)
        assert took < 1.5 * harness.SLOW, (name, took)
        # 50 errors at the most, each of them short.
        assert len(done.err.splitlines()) <= 51 and len(done.err) < 20000 and "\x1b" not in done.err, (name, done.err[:300])


def test_a_hostile_route_variable(work):
    """The variable is read leniently, but even a hostile one takes seconds at most, and its warnings have a limit."""
    for text in ("[%s]" % ",".join(["1"] * 60000), "[%s]" % ",".join(["{}"] * 40000), "[" * 120000, '[{"model_prefix":"a",%s}]' % ",".join('"k%d":1' % n for n in range(12000))):
        done, took = worked(lambda: harness.cli("backends", env={"HEADROOM_UPSTREAM_ROUTES": text}))
        assert took < 1.5 * harness.SLOW, (text[:40], took)
        assert len(done.err) < 1 << 20


def test_hostile_price_files(work):
    """A file that is no price table keeps the agent from starting, within seconds, and the short message names the file."""
    texts = {"deep": '{"a":' * 500000, "no object": "[1]", "many": "{%s}" % ",".join('"m%d":{}' % n for n in range(70000)),
             "cut": '{"gpt-5":{"input_cost_per_token":1e-6', "nul": "{\x00}"}
    for name, text in texts.items():
        (work / "prices.json").write_text(text)
        file = harness.write_config(work, {"listen": "unix@%s/p.sock" % work, "ledger": str(work / "l"), "prices": str(work / "prices.json"),
                                           "log_listen": "127.0.0.1:%d" % harness.free_port()})
        (work / "l").mkdir(exist_ok=True)
        done, took = worked(lambda: harness.run("run", "-c", file, env=harness.environment({"SPOA_LLM_LOG_KEY": LOG_KEY}), timeout=30 * harness.SLOW))
        assert done.returncode not in (0, -11, -6), (name, done)
        assert took < 5 * harness.SLOW, (name, took)
        assert b'problem="\\"prices\\": ' in done.stderr and b"prices.json" in done.stderr and len(done.stderr) < 4000, (name, done.stderr[:500])


# ---- log keys


@pytest.mark.parametrize("tail", ["\n", "\r\n", " ", " x", "\t", "\nx: y", '"', "\\", "]", "{", "\x7f", "\u00e9", '"][x y="', "x" * (65 - len(LOG_KEY))], ids=ascii)
def test_a_log_key_that_no_line_can_carry(work, tail):
    """With such a key the agent would drop every log line as a stranger's. It does not start, because an error is better than a ledger that
    stays empty."""
    (work / "l").mkdir()
    file = harness.write_config(work, {"listen": "unix@%s/k.sock" % work, "ledger": str(work / "l"), "log_listen": "127.0.0.1:%d" % harness.free_port()})
    done = harness.cli("run", "-c", file, env={"SPOA_LLM_LOG_KEY": LOG_KEY + tail})
    assert done.code not in (0, 64) and "SPOA_LLM_LOG_KEY" in done.err and LOG_KEY not in done.err, done
    done = harness.cli("check", "-c", file, env={"SPOA_LLM_LOG_KEY": LOG_KEY + tail})
    assert re.search(r"PROBLEM +log +key .*more than 64 characters, or a blank", done.out) and LOG_KEY not in done.out, done


@pytest.mark.parametrize("part", [slice(0, 64), slice(26, 90)], ids=["first", "last"])
def test_a_log_key_of_every_other_character(work, agents, part):
    """It has 64 characters, and no more are allowed."""
    key = "".join(chr(c) for c in range(0x21, 0x7f) if chr(c) not in '"\\]{')[part]
    assert len(key) == 64
    (work / "l").mkdir()
    port = harness.free_port()
    agents({"ledger": str(work / "l"), "log_listen": "udp@127.0.0.1:%d" % port}, env={"SPOA_LLM_LOG_KEY": key})
    entry = loglines.Maker(seed=2).one()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(harness.log_line(entry.fields, key[:-1] + "!"), ("127.0.0.1", port))
        sock.sendto(harness.log_line(dict(entry.fields, id="known"), key), ("127.0.0.1", port))

    def rows():
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % (work / "l" / "ledger.db"), uri=True)) as base:
            return [row[0] for row in base.execute("select id from requests")]
    harness.until(lambda: harness.ledger_made(work / "l") and rows(), 10, "the line is in the ledger", step=0.1)
    assert rows() == ["known"]


# ---- what is written


def test_no_credential_in_anything_written(haproxy, make_mock, work):
    """The agent logs at level debug and gets requests with a credential in every place. Then every file, log, page, command line and report
    is read: none of them holds a credential that any test of this session has used so far."""
    operator, filed, mine = secret("written-operator"), secret("written-file"), secret("written-mine")
    mock = make_mock("written")
    ledger = work / "ledger"
    ledger.mkdir()
    keep = work / "keep"        # the only directory that may hold a credential, because the operator put it there
    keep.mkdir()
    (keep / "key").write_text(filed)
    port = harness.free_port()
    address = "127.0.0.1:%d" % port
    config = {"routes": [{"model_prefix": "e-", "upstream": mock.url(), "auth": "env:OPERATOR"}, {"model_prefix": "f-", "upstream": mock.url(), "auth": "file:%s" % (keep / "key")},
                         {"model_prefix": "p-", "upstream": mock.url()}, {"model_prefix": "x-", "upstream": mock.url(), "auth": "env:BROKEN"}],
              "ledger": str(ledger), "log_listen": [address, "udp@" + address], "log_level": "debug"}
    env = {"OPERATOR": operator, "BROKEN": operator + "\n" + operator, "SPOA_LLM_LOG_KEY": LOG_KEY}
    outputs = {}
    with harness.Gateway(haproxy, [mock], config, env=env, limits={"LLM_LOG_RING": address, "LLM_LOG_UDP": address, "SPOA_LLM_LOG_KEY": LOG_KEY}) as gateway:
        everywhere = list(bearer(mine)) + [("x-api-key", mine), ("api-key", mine), ("x-goog-api-key", mine), ("Cookie", "a=" + mine), ("Proxy-Authorization", mine)]
        for model in ("e-1", "f-1", "x-1", "none", 5):
            gateway.post("/v1/messages?key=%s&model=e-2&access_token=%s" % (mine, mine), {"model": model}, everywhere)
            gateway.post(CHAT, {"model": model}, everywhere)
        gateway.post(CHAT, b"{" + mine.encode(), everywhere)
        gateway.call("GET", "/v1/models?key=" + mine, everywhere)
        spop_reply = exchange_spop(gateway.agent)
        gateway.agent.process.kill(1)
        gateway.agent.log("event=reloaded")
        harness.until(lambda: (ledger / "ledger.db").exists(), 10, "the ledger")
        time.sleep(1.2)
        for process in (gateway.agent.process, gateway.haproxy):
            for pid in chaos.tree(process.pid):
                outputs["/proc/%d/cmdline" % pid] = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes()
                outputs["/proc/%d/comm" % pid] = pathlib.Path("/proc/%d/comm" % pid).read_bytes()
        for page in ("/", "/livez", "/readyz", "/metrics", "/savings", "/stats", "/stats-history", "/explain?model=e-1", "/explain?model=f-1", "/explain?model=x-1", "/nowhere"):
            outputs["page " + page] = repr(vars(gateway.agent.http("GET", page))).encode()
        assert b"llm" in outputs["page /metrics"]
        file = gateway.agent.file
        for command in (["check", "-c", file], ["backends", "-c", file], ["explain", "-c", file, "--model", "e-1"], ["explain", "-c", file, "--model", "f-1", "--json"],
                        ["explain", "-c", file, "--model", "x-1"], ["savings", "--ledger", ledger, "--since", "all", "--json"], ["ledger", "export", "--ledger", ledger],
                        ["ledger", "verify", "--ledger", ledger], ["--help"]):
            done = harness.run(*command, env=harness.environment(env), timeout=30 * harness.SLOW)
            outputs[" ".join(map(str, command))] = done.stdout + done.stderr
        for path in list(gateway.dir.rglob("*")) + list(ledger.rglob("*")):
            if path.is_file():
                outputs[str(path)] = path.read_bytes()
    assert any(b'"v":2' in data for data in outputs.values()) and len(spop_reply) > 0
    for name, data in outputs.items():
        found = sorted({label for value, label in harness.SECRETS.items() if value.encode() in data})
        assert not found, "%s holds the credentials %s" % (name, found)
    assert sum(len(data) for data in outputs.values()) > 10000


def exchange_spop(agent):
    """Sends HTTP to the agent's SPOP socket, as a stranger might. Returns the payload of the agent's answer; b"-": no answer."""
    with spop.Client(agent.address, greet=False) as client:
        client.send(b"POST / HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n")
        try:
            return client.receive().payload
        except (spop.Closed, spop.Bad):
            return b"-"
