"""Asks the scanner (build/drivers/scan_driver, tests/unit/scan_driver.c) which model a body names, and makes JSON documents to ask about."""
import struct
import subprocess

SPACE = b" \t\r\n"
BOM = b"\xef\xbb\xbf"


# ---------------------------------------------------------------- the driver


def question(body=b"", tail=b"", buffered=None, length=None, sized=True, upgrade=False, path=b"/v1/chat/completions",
             model_param=b"", hint=b"", ctype=b"application/json", cenc=b""):
    buffered = len(body) if buffered is None else buffered
    length = buffered if length is None else length
    parts = (path, model_param, hint, ctype, cenc, body, tail)
    return struct.pack("<BQQ", sized | upgrade << 1, buffered, length) + b"".join(struct.pack("<I", len(p)) + p for p in parts)


def answers(driver, questions, level=None):
    """Returns (status, from, stream, looked, name, detail) for each question; None if this CPU lacks the instructions of `level`."""
    run = subprocess.run([driver] + ([level] if level else []), input=b"".join(questions), capture_output=True)
    if run.returncode == 77:
        return None
    assert run.returncode == 0, run.stderr.decode()[:4000]
    out = []
    for line in run.stdout.decode().splitlines():
        status, where, stream, looked, name, detail = line.split(" ", 5)
        out.append((status, where, stream == "1", int(looked), b"" if name == "-" else bytes.fromhex(name), detail))
    assert len(out) == len(questions)
    return out


# ---------------------------------------------------------------- documents

DECOYS = ['"}],"model":"evil"}', '"model":"evil"', '{"model":"evil"}', "\\", "\\\\", '\\"', '"', '""', "}", "]", "{[", ',"model":', "}}}}",
          "\\u0022", "model", "/* */", "// x", "'", "a", "plain text of some length, to fill a block", "\n", "\t", "\x7f", "é", "漢字", "\U0001f600",
          "\ud83d", "\udc00", "\0", "\x1f", "\\\\\\", '","stream":true,"', " " * 20, "x" * 70, '\\"' * 10, "\\" * 63, "\\" * 64, "\\" * 65]
NAMES = ["gpt-4o", "claude-x", "glm-4", "gpt-4o", "a", "llama3:8b", "modèle", "漢", "x" * 256, "x" * 257, "", "a\nb", "\x7f", "\x85", "a\0b",
         "\ud800", "\U0001f600", "tab\t", 'q"q', "b\\s", " a", "a\u200b", "\ufeffa", "models/gpt-4o", "models/", "models/ a", "models/models/a"]
KEYS = ["messages", "temperature", "x", "", "models", "mode", "odel", "modelx", "metadata", "tools", "input", "m", "stream_options", "ſtream",
        "é", '"', "\\", "mod\ud800el", "modèl", "user", "n" * 70]
NUMBERS = ["0", "-0", "1", "12.5", "1e5", "-1.5E-10", "123456789012345678901234567890", "NaN", "Infinity", "-Infinity", "0.0001", "1E+2"]
SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def space(r):
    return "" if r.random() < 0.7 else "".join(r.choice(" \t\r\n") for _ in range(r.choice((1, 1, 2, 5, 70))))


def string(r, s, escape=0.05):
    out = []
    for c in s:
        code = ord(c)
        must = c in '"\\' or code < 32 or 0xD800 <= code < 0xE000
        if c in SHORT and r.random() < 0.8:
            out.append(SHORT[c])
        elif c == "/" and r.random() < 0.3:
            out.append("\\/")
        elif must or r.random() < escape:
            if code > 0xFFFF:
                units = (0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF))
            else:
                units = (code,)
            for u in units:
                h = "%04x" % u
                out.append("\\u" + "".join(r.choice((d, d.upper())) for d in h))
        else:
            out.append(c)
    return '"' + "".join(out) + '"'


def some_text(r):
    return "".join(r.choice(DECOYS) for _ in range(r.choice((0, 1, 1, 2, 3, 6))))


def value(r, depth=0):
    kind = r.random()
    if kind < 0.45 or depth > 6:
        return string(r, some_text(r))
    if kind < 0.6:
        return r.choice(NUMBERS)
    if kind < 0.7:
        return r.choice(("true", "false", "null"))
    if kind < 0.73:
        n = r.choice((1, 10, 63, 64, 65, 200))
        return "[" * n + space(r) + "]" * n
    if kind < 0.87:
        return "[" + space(r) + ("," + space(r)).join(value(r, depth + 1) + space(r) for _ in range(r.choice((0, 1, 2, 4)))) + "]"
    keys = ["model", "stream", "role", "content"]
    return "{" + space(r) + ",".join(space(r) + string(r, r.choice(keys)) + space(r) + ":" + space(r) + value(r, depth + 1) + space(r)
                                     for _ in range(r.choice((0, 1, 2, 4)))) + "}"


def model_member(r, name):
    key = r.choice(("model",) * 12 + ("Model", "MODEL", "model\0", "model\0x", "mOdel"))
    shown = r.choice(("5", "null", "{}", '["gpt-4o"]', "true")) if r.random() < 0.06 else string(r, name, r.choice((0, 0, 0.3)))
    return string(r, key, r.choice((0, 0, 0, 0.4))) + space(r) + ":" + space(r) + shown


def document(r):
    """Returns the bytes of a random valid JSON object."""
    parts = [string(r, r.choice(KEYS)) + space(r) + ":" + space(r) + value(r) for _ in range(r.choice((0, 1, 2, 3, 5)))]
    name = r.choice(NAMES[:9] if r.random() < 0.8 else NAMES)
    for _ in range(r.choice((0, 1, 1, 1, 1, 1, 2, 3))):
        parts.insert(r.randint(0, len(parts)), model_member(r, name if r.random() < 0.7 else r.choice(NAMES)))
    for _ in range(r.choice((0, 0, 1, 2))):
        key = r.choice(("stream",) * 12 + ("Stream", "stream\0", "\u017ftream"))
        parts.insert(r.randint(0, len(parts)), string(r, key, 0.1) + ":" + space(r) + r.choice(("true", "true", "false", "null", '"true"', "1", '"yes"')))
    text = "{" + space(r) + ",".join(space(r) + p + space(r) for p in parts) + "}"
    doc = (space(r) + text + space(r)).encode("utf-8", "surrogatepass")
    return BOM + doc if r.random() < 0.05 else doc


JUNK = [b",", b":", b"{", b"}", b"[", b"]", b'"', b"\\", b"/", b"//", b"/* \" */", b"'", b"#", b"\0", b"\n", b"\xff", b"\xc3", b"true", b"1", b"model",
        b'"model":"evil"', b'"model":"evil",', b'{"model":"evil"}', b",}", b"\x1f", b"NaN", b"\xe2\x80\x8b"]


def mutated(r, doc):
    doc = bytearray(doc)
    for _ in range(r.choice((1, 1, 1, 2, 4))):
        at = r.randint(0, len(doc))
        kind = r.random()
        if kind < 0.3:
            del doc[at:at + r.choice((1, 1, 2, 10))]
        elif kind < 0.7:
            doc[at:at] = r.choice(JUNK)
        elif kind < 0.8 and at < len(doc):
            doc[at] = r.randrange(256)
        elif kind < 0.9:
            doc += r.choice(JUNK)
        else:
            other = r.randint(0, len(doc))
            doc[at:at] = doc[min(at, other):max(at, other)][:100]
    return bytes(doc)
