"""The tap between two HAProxys beside the way without it: whatever an upstream sends, however it is split and cut, a client gets the same, and the report
says what the client got. The answers are those of tests/rig/follow.py, at random, half of them damaged.

    BESIDE=20000 FOLLOW_SEED=7 pytest tests/blackbox/test_tap_beside.py
"""
import concurrent.futures
import contextlib
import os
import random
import re
import socket
import threading

import pytest

import follow
import harness
from processes import SLOW, Process, accepting, until
from taps import Tap

COUNT = int(os.environ.get("BESIDE", "300"))
SEED = int(os.environ.get("FOLLOW_SEED", "1"))
AT_ONCE = 12

CFG = """
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend client
    bind unix@{dir}/client.sock
    http-request set-header x-request-id %[req.hdr(x-case)]
    http-request set-header x-llm-leg leg.a
    use_backend beside if {{ req.hdr(x-way) beside }}
    default_backend tapped
backend tapped
    server tap unix@{dir}/tap.sock
backend beside
    server leg unix@{dir}/legs/leg.a.sock
frontend leg.a
    bind unix@{dir}/legs/leg.a.sock
    http-after-response set-header x-made leg
    default_backend upstream
backend upstream
    server upstream unix@{dir}/upstream.sock
"""


class Upstream:
    """Answers each request with what its case says, piece by piece, and closes."""

    def __init__(self, path):
        self.answers = {}
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen(100)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.sock.accept()[0],), daemon=True).start()

    def serve(self, sock):
        sock.settimeout(30 * SLOW)
        with sock, contextlib.suppress(OSError):
            said, text = follow.Said(), b""
            while not said.ended:
                part = sock.recv(1 << 16)
                if not part:
                    return
                text, said = text + part, follow.Said()
                with contextlib.suppress(follow.More):
                    follow.message(text, 0, said)
            for piece in self.answers[re.search(rb"\r\nx-case: (\S+)", text).group(1)]:
                sock.sendall(piece)

    def close(self):
        self.sock.close()


@pytest.fixture(scope="module")
def place(haproxy, module_work):
    with contextlib.ExitStack() as stack:
        upstream = Upstream(module_work / "upstream.sock")
        stack.callback(upstream.close)
        tap = stack.enter_context(Tap(module_work))
        stack.enter_context(tap.reading())
        cfg = module_work / "haproxy.cfg"
        cfg.write_text(CFG.format(dir=module_work))
        process = Process("haproxy", [haproxy, "-db", "-f", str(cfg)], module_work / "haproxy.log", harness.environment())
        stack.callback(process.end)
        until(lambda: accepting("unix@%s/client.sock" % module_work), what=process.tail)
        yield upstream, tap, module_work / "client.sock"


def case(r):
    """(method, head and body of a request, pieces of the answer)"""
    method = b"CONNECT"
    while method == b"CONNECT":
        head, body, method = follow.request(r)
    # Those that HAProxy takes as they are.
    head = re.sub(rb"(?i)\r\n(transfer-encoding:)[^\r]*", rb"\r\n\1 chunked", re.sub(rb"(?i)\r\nhost:[^\r]*", b"", head))
    if b"chunked" in head:
        head = head.replace(b" HTTP/1.0\r\n", b" HTTP/1.1\r\n")
        head = re.sub(rb"(?i)\r\ncontent-length:[^\r]*", b"", head)
    answer = b"HTTP/1.1 1 "
    # HAProxy passes on a status below 100, but then the body has no end. A 101 that nobody asked for holds a client up, and ends HAProxy 3.0.11.
    while re.search(rb"HTTP/\S*\s+(0*[0-9]{0,2}|[0-9]{4,}|101)\s", answer):
        answer = follow.answer(r, method, r.random() < 0.3)
        if r.random() < 0.5:
            answer = follow.damaged(r, answer)
    behind = answer.find(b"\r\n\r\n") + 4
    if 4 <= behind < len(answer) and r.random() < 0.3:
        answer = answer[:r.randrange(behind, len(answer))]
    # In parts only behind the head, and without 1xx answers: HAProxy 2.6 cuts some bodies behind these short, and from 3.2 on some heads that come byte
    # by byte are a 502, without a tap too.
    if re.match(rb"HTTP/1.. 1|(?!HTTP)", answer) or behind < 4:
        return method, head, body, [answer]
    return method, head, body, [answer[:behind]] + [data for _, data in follow.split(r, [("<", answer[behind:])]) if data]


def ask(path, way, name, head, body):
    """All bytes of the answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30 * SLOW)
        sock.connect(str(path))
        line, _, rest = head.partition(b"\r\n")
        sock.sendall(line + b"\r\nhost: a\r\nconnection: close\r\nx-way: " + way + b"\r\nx-case: " + name + b"\r\n" + rest + body)
        out = b""
        with contextlib.suppress(ConnectionResetError):
            while True:
                part = sock.recv(1 << 16)
                if not part:
                    break
                out += part
        return out


def told(method, data):
    """(what a client reads of an answer, whether it is whole)"""
    text = follow.expected([(">", method + b" / HTTP/1.1\r\n\r\n"), ("<", data), (".", b"")]).split("|")[1]
    return text.replace(" IDLE", ""), text.endswith(("END IDLE", "END"))


def test_what_an_upstream_may_send(place):
    upstream, tap, path = place
    r = random.Random(SEED)
    cases = {b"%d-%d" % (SEED, n): case(r) for n in range(COUNT)}
    upstream.answers = {name: one[3] for name, one in cases.items()}

    def both(item):
        name, (method, head, body, pieces) = item
        return [ask(path, way, name, head, body) for way in (b"beside", b"tapped")]

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(cases, pool.map(both, cases.items())))
    kinds = {}
    for name, (beside, tapped) in answers.items():
        method, head, body, pieces = cases[name]
        case_of = "%s: %r %r answered by %r in %d parts\nbeside: %r\ntapped: %r" % (name.decode(), head, body, b"".join(pieces), len(pieces), beside, tapped)
        (one, whole), (other, other_whole) = told(method, beside), told(method, tapped)
        made = [b"\r\nx-made: leg\r\n" in data for data in (beside, tapped)]
        if b"x-made" not in beside and b" 502 " not in beside:
            assert beside == tapped, case_of   # HAProxy refuses the request
            kinds["refused"] = kinds.get("refused", 0) + 1
            continue
        # An answer that is cut or malformed is a 502 or a part of itself, as HAProxy happens to see it, and sometimes HAProxy makes it whole.
        sent_whole = told(method, b"".join(pieces))[1]
        failed = [not w or b" 502 Bad Gateway\r\n" in data for w, data in ((whole, beside), (other_whole, tapped))]
        assert not sent_whole or (failed[0] == failed[1] and (failed[0] or one == other)), case_of
        report = tap.report(name.decode())
        kind = "whole" if made[1] and other_whole else "cut"
        kinds[kind] = kinds.get(kind, 0) + 1
        assert report["end"] in ("whole", "lost") or kind == "cut" or not sent_whole, (report, case_of)
        if report["end"] == "whole":
            assert other_whole, (report, case_of)
            assert report["bytes"] == sum(len(hexed) // 2 for hexed in re.findall(r" B ([0-9a-f]*)", other)), (report, case_of)
            assert " HEAD %d " % report["status"] in other, (report, case_of)
    assert min(kinds.get(kind, 0) for kind in ("whole", "cut")) > COUNT // 100, kinds
