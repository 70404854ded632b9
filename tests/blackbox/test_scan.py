"""The scanner compared with Python's json: on generated documents, some of them hostile, whole or cut at any place.

For a valid document the expected answer is exact: it follows from the members that Python's decoder finds and from which of them
lie inside the bytes that were sent. For any other document the scanner may refuse, but if it names a model, that must be the only model
that a simple reading of strings and brackets finds.

    SCAN_DOCS=1000000 SCAN_SEED=7 pytest tests/blackbox/test_scan.py
"""

import gzip
import json
import os
import random
import zlib

import pytest

import bodies
import harness
from scan import BOM, SPACE, answers, document, mutated, question

DOCS = int(os.environ.get("SCAN_DOCS", "5000"))
PARTS = 4       # tests into which the documents are divided, because tests can run side by side
SEED = int(os.environ.get("SCAN_SEED", "1"))
MODEL_MAX = 256
LEVELS = ("avx512", "avx2", "sse4", "portable")


# ---------------------------------------------------------------- the driver


@pytest.fixture(scope="session")
def driver():
    """The program of tests/unit/scan_driver.c, built with ASan and UBSan, or the one at the path SCAN_DRIVER."""
    return os.environ.get("SCAN_DRIVER") or str(harness.built("drivers/scan_driver"))


# ---------------------------------------------------------------- the expected answer

DECODER = json.JSONDecoder()


class Member:
    __slots__ = ("key_at", "key_end", "key", "end", "value", "kind", "raw")


def members(doc):
    """Returns (offset of the opening brace, top-level members as Python reads them, offset of the closing brace) of a valid object."""
    text = doc.decode("latin-1")  # one character per byte: the structure is ASCII
    at = 3 if doc.startswith(BOM) else 0
    out = []

    def skip(i):
        while text[i] in " \t\r\n":
            i += 1
        return i

    begin = at = skip(at)
    at = skip(at + 1)
    while text[at] != "}":
        if text[at] == ",":
            at = skip(at + 1)
        m = Member()
        m.key_at = at
        _, end = json.decoder.scanstring(text, at + 1)
        m.key, m.key_end = json.loads(doc[at:end]), end
        at = skip(skip(end) + 1)
        _, end = DECODER.raw_decode(text, at)
        m.kind = text[at]
        m.value = json.loads(doc[at:end]) if m.kind == '"' else {"t": True}.get(m.kind)
        m.end = end
        m.raw = doc[at:end]
        out.append(m)
        at = skip(end)
    return begin, out, at


def ascii_lower(s):
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in s)


UNSEEN = " \u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u2028\u2029\u202f\u205f\u2800\u3000\u3164\ufeff\uffa0" + "".join(
    chr(c) for first, last in ((0x180b, 0x180f), (0x2000, 0x200f), (0x202a, 0x202e), (0x2060, 0x206f), (0xfe00, 0xfe0f), (0xfff9, 0xfffb),
                               (0xe0000, 0xe0fff)) for c in range(first, last + 1))


def usable(value):
    """Returns the name of a model in UTF-8, without Google's "models/"; None if `value` may not be one."""
    if not isinstance(value, str):
        return None
    value = value.removeprefix("models/")
    if not value or any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in value):
        return None
    name = value.encode()
    return name if len(name) <= MODEL_MAX and value[0] not in UNSEEN and value[-1] not in UNSEEN else None


def asks(m):
    """Returns whether a member `stream` asks for a stream: True, False, or "odd" for a value that servers take differently."""
    text = m.raw[1:-1] if m.kind == '"' else m.raw
    if text.lower() == b"true" or text == b"1":
        return True
    return False if text.lower() == b"false" or text in (b"", b"0") or m.kind == "n" else "odd"


def streams_differ(seen):
    """Whether the members that some parser takes for `stream` could say different things."""
    exact = [asks(m) for m in seen if m.key == "stream"]
    alike = [asks(m) for m in seen if m.key != "stream" and ascii_lower(m.key.split("\0")[0]) == "stream" or
             m.key[:1] == "\u017f" and ascii_lower(m.key[1:]) == "tream"]
    if len(set(exact)) > 1 or exact.count("odd") > 1 or len(set(alike)) > 1 or "odd" in alike:
        return True
    return alike != [] and alike[0] is not (exact[:1] == [True])


def like_model(key):
    return ascii_lower(key.split("\0")[0]) == "model"


def verdict(seen):
    """Returns the (status, name) that follows from these members."""
    mentions, exact, null = [], False, False
    for m in seen:
        if like_model(m.key):
            if m.kind == "n":
                null = True
                continue
            mentions.append(usable(m.value) if m.kind == '"' else None)
            exact |= m.key == "model"
    if streams_differ(seen):
        return "ambiguous", b""
    if not mentions:
        return "none", b""
    if len(set(mentions)) > 1 or null:
        return "ambiguous", b""
    if mentions[0] is None or not exact:
        return "invalid", b""
    return "found", mentions[0]


def streams(seen):
    return True in [asks(m) for m in seen if m.key == "stream"]


def expected(doc, head, tail, ended):
    """Returns (status, name, stream) for a valid object of which the first `head` and the last `tail` bytes were sent. `ended`: the scanner is
    told that the body ends where these bytes end."""
    if tail and head >= len(doc) - tail:
        head, tail = len(doc), 0
    begin, all_members, close = members(doc)
    start = len(doc) - tail
    drop = start
    while drop < len(doc) and doc[drop:drop + 1] == b"\\":
        drop += 1
    drop += 1
    in_head = [m for m in all_members if (m.end <= head if m.kind in '"{[' else m.end < head)]
    in_tail = [m for m in all_members if tail and m.key_at >= drop]
    if close < head:
        everything = True
    elif tail and begin >= head:
        everything = begin >= drop
    else:
        everything = False
        if ended and not tail:
            return "malformed", b"", False
    if everything and not tail:
        in_tail = []
    seen = in_head + [m for m in in_tail if m not in in_head]
    status, name = verdict(seen)
    cut = [m for m in all_members if m not in seen and m.key_end <= head and like_model(m.key)]
    if status == "found" and cut or status == "none" and not everything:
        status, name = "unknown", b""
    return status, name, streams(seen)


def readable(string):
    """Returns the longest beginning of a broken JSON string that can be decoded, as text."""
    for end in range(len(string), 0, -1):
        try:
            return json.loads(string[:end] + b'"')
        except ValueError:
            pass
    return ""


def plain_reading(doc):
    """Returns the set of the top-level values of "model", found by strings and brackets alone, whatever else is wrong with `doc`. None in
    it stands for a key with bad escapes that some reader may take for "model"."""
    out, depth, i, n, key, last = [], 0, 0, len(doc), None, None
    while i < n:
        c = doc[i:i + 1]
        if c == b'"':
            j = i + 1
            while j < n and doc[j:j + 1] != b'"':
                j += 2 if doc[j:j + 1] == b"\\" else 1
            last = doc[i:j + 1]
            if depth == 1 and key is not None:
                out.append((key, last))
                key = None
            i = j
        elif c in (b"{", b"["):
            depth += 1
            key = None
        elif c in (b"}", b"]"):
            depth -= 1
        elif c == b":" and depth == 1:
            key = last
        elif c == b"," and depth == 1:
            key = None
        i += 1
    names = set()
    for k, v in out:
        try:
            if json.loads(k) == "model":
                names.add(json.loads(v).removeprefix("models/").encode())
        except ValueError:
            # Readers may differ on a key with bad escapes. None of them reads it as "model" if it has 32 bytes or more, if it has half of a
            # surrogate pair, or if the part before its first bad escape is not a beginning of "model".
            if len(k) < 32 and b"\\ud" not in k.lower() and "model".startswith(readable(k).lower()):
                names.add(None)
    return names


# ---------------------------------------------------------------- cases


def valid(doc):
    """Whether Python reads `doc` as a JSON object."""
    try:
        return isinstance(json.loads(doc), dict)
    except (ValueError, RecursionError):
        return False


def wide(doc):
    """Whether Python takes `doc` for UTF-16 or UTF-32, because of zeros among its first bytes; the scanner refuses such a document."""
    return json.detect_encoding(doc) not in ("utf-8", "utf-8-sig")


def cases(r, doc):
    """Yields (description, question, expected answer) for one valid document."""
    n = len(doc)
    yield "whole", question(doc), expected(doc, n, 0, True)
    yield "chunked", question(doc, sized=False), expected(doc, n, 0, False)
    cut = r.randint(1, n)
    yield "chunked and cut at %d" % cut, question(doc[:cut], sized=False), prefix(doc, cut, False)
    cut = r.randint(1, n)
    yield "buffer full at %d" % cut, question(doc[:cut], length=n + (cut == n)), prefix(doc, cut, False)
    cut = r.randint(1, n)
    yield "client gave up at %d" % cut, question(doc[:cut]), prefix(doc, cut, True)
    for _ in range(2):
        head, tail = r.randint(1, n), r.randint(1, n)
        yield "head %d, tail %d" % (head, tail), question(doc[:head], doc[n - tail:], buffered=n), expected(doc, head, tail, True)
    head, tail, cut = r.randint(1, n), r.randint(1, n), r.randint(1, n)
    head, tail = min(head, cut), min(tail, cut)
    # The buffer is full, so the tail is not the end of the body.
    yield ("full at %d, head %d, tail %d" % (cut, head, tail), question(doc[:head], doc[cut - tail:cut], buffered=cut, length=n + 1),
           prefix(doc, cut if head + tail >= cut else head, False))
    yield ("chunked, full at %d, head %d, tail %d" % (cut, head, tail), question(doc[:head], doc[cut - tail:cut], buffered=cut, sized=False),
           prefix(doc, cut if head + tail >= cut else head, False))


def prefix(doc, cut, ended):
    """Returns the expected answer for the first `cut` bytes of a valid object. `ended`: the scanner is told that they are the whole body."""
    if not doc[:cut].removeprefix(BOM).strip(SPACE) or cut < 3 and BOM.startswith(doc[:cut]):
        return ("malformed" if ended else "unknown"), b"", False
    return expected(doc, cut, 0, ended)


def right(got, want):
    status, _, stream, _, name, _ = got
    return (status, name) == want[:2] and (status != "found" or stream == want[2])


def check(driver, seed, docs, level=None):
    r = random.Random(seed)
    left, count = docs, 0
    while left > 0:
        batch, questions = [], []
        for _ in range(min(left, 5000)):
            doc = document(r)
            left -= 1
            if r.random() < 0.35:
                doc = mutated(r, doc)
            if doc and valid(doc) and not wide(doc):
                for what, q, want in cases(r, doc):
                    batch.append((doc, what, want))
                    questions.append(q)
            else:
                batch.append((doc, "broken", None))
                questions.append(question(doc))
        got = answers(driver, questions, level)
        if got is None:
            pytest.skip("this CPU has no " + level)
        for (doc, what, want), g in zip(batch, got):
            count += 1
            if want is not None:
                assert right(g, want), f"{what}: {doc!r}\n   got {g}\nwanted {want}"
            elif g[0] == "found":
                assert plain_reading(doc) == {g[4]}, f"{what}: {doc!r}\n   got {g}\nplain {plain_reading(doc)}"
    return count


@pytest.mark.timeout(120 + DOCS // 50)
@pytest.mark.parametrize("part", range(PARTS))
def test_generated_documents(driver, part):
    assert check(driver, "%d-%d" % (SEED, part), DOCS // PARTS) >= DOCS // PARTS


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_agrees(driver, level):
    check(driver, SEED + 1, DOCS // 20, level)


# ---------------------------------------------------------------- bodies as clients send them

WINDOW = 8192
SMALL_BUFFER = 15100  # what HAProxy's default tune.bufsize holds


def client_bodies():
    for client in bodies.CLIENTS:
        for size in (*bodies.SIZES, 5 << 20):
            for where in bodies.PLACES:
                if size <= 300 * 1024 or where == "own" and size < 2**20 or client in ("openai_python", "claude_code", "whisper"):
                    yield client, size, where


def cut_answer(b, head, tail):
    """Returns the expected status when only the first `head` and the last `tail` bytes of a body are sent."""
    if b.client == "genai":
        return "found"
    if b.client != "whisper":
        return expected(b.data, head, tail, tail > 0)[0]
    boundary = b"\r\n--" + b.ctype.split("boundary=")[1].encode()
    at = b.data.index(b'name="model"')
    begin, end = b.data.rfind(boundary[2:], 0, at), b.data.index(boundary, at) + len(boundary)
    return "found" if end <= head or begin >= len(b.data) - tail or head + tail >= len(b.data) else "unknown"


def test_client_bodies(driver):
    asked, wanted = [], []

    def ask(b, what, status, **how):
        wanted.append((b, what, status))
        asked.append(question(path=b.path.encode(), ctype=b.ctype.encode(), **how))

    for client, size, where in client_bodies():
        b = bodies.body(client, size, where)
        n = len(b.data)
        ask(b, "whole", "found", body=b.data)
        if n > WINDOW:
            ask(b, "both ends", cut_answer(b, WINDOW, WINDOW), body=b.data[:WINDOW], tail=b.data[-WINDOW:], buffered=n)
        if n > SMALL_BUFFER:
            ask(b, "small buffer", cut_answer(b, SMALL_BUFFER, 0), body=b.data[:SMALL_BUFFER], length=n)
            ask(b, "small buffer, chunked", cut_answer(b, SMALL_BUFFER, 0), body=b.data[:SMALL_BUFFER], sized=False)
        if size <= 76 * 1024 and where != "first":
            ask(b, "gzip", "found", body=gzip.compress(b.data, 1), cenc=b"gzip")
            ask(b, "deflate", "found", body=zlib.compress(b.data, 1), cenc=b"Deflate")
            cut = gzip.compress(b.data, 1)[:-20]
            if client in ("openai_node", "codex") and where == "own":
                ask(b, "gzip, cut", "found", body=cut, cenc=b"gzip", length=n)
    for (b, what, status), got in zip(wanted, answers(driver, asked)):
        name = b.model.encode() if status == "found" else b""
        assert (got[0], got[4]) == (status, name), f"{b.client}, {len(b.data)} bytes, model {b.where}, {what}: {got}"
        if what == "both ends" and b.where in ("first", "last"):
            assert got[0] == "found"
