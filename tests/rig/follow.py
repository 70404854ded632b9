"""HTTP/1.1 connections at random, and what the follower (agent/tap/http.c, asked by build/drivers/http_driver) has to say of them, however the bytes are
split. The expected answer comes from regular expressions that read the whole text."""
import re
import struct
import subprocess

TOKEN = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]"
OUR_NAMES = (b"content-length", b"transfer-encoding", b"x-request-id", b"x-llm-leg", b"content-type", b"content-encoding")
TEXT = re.compile(rb"[!#-\[\]-~]+")
VALUE_MAX, ID_MAX, TYPE_MAX, CODING_MAX = 127, 64, 63, 23


def letters(text, then=""):
    """A regular expression for `text`, or its beginning; behind all of it may come `then`."""
    out = then
    for letter in reversed(text):
        out = "(?:%s%s)?" % (re.escape(letter), out)
    return out.encode()


REQUEST_LINE = re.compile(TOKEN + rb"+ [^ \r\n]* HTTP/1\.[01]\r\n")
REQUEST_BEGINS = re.compile(TOKEN + rb"*|" + TOKEN + rb"+ [^ \r\n]*(?: " + letters("HTTP/1.", r"(?:[01]\r?)?") + rb")?")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]+)(?: [^\r\n]*)?\r\n")
STATUS_BEGINS = re.compile(letters("HTTP/1.", r"(?:[01](?: (?:[0-9]+(?: [^\r\n]*)?\r?)?)?)?"))
HEADER = re.compile(rb"([^\r\n\t :][^\r\n:]*):([^\r\n]*)\r\n")
HEADER_BEGINS = re.compile(rb"\r|(?:[^\r\n\t :][^\r\n:]*(?::[^\r\n]*\r?)?)?")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:[; \t][^\r\n]*)?\r\n")
CHUNK_BEGINS = re.compile(rb"([0-9A-Fa-f]*)|([0-9A-Fa-f]+)(?:[; \t][^\r\n]*)?\r?")


class More(Exception):
    """The text ends before the message does."""


class Bad(Exception):
    pass


def line(text, at, whole, begins):
    end = text.find(b"\n", at)
    if end >= 0:
        found = whole.fullmatch(text, at, end + 1)
        if not found:
            raise Bad
        return found, end + 1
    if not begins.fullmatch(text, at):
        raise Bad
    raise More


def headers(text, at, check=None):
    """The headers at `at`, and where they end. `check` is called with those that there are so far."""
    out = []
    while text[at:at + 2] != b"\r\n":
        found, at = line(text, at, HEADER, HEADER_BEGINS)
        out.append((found.group(1).lower(), found.group(2)))
        if check:
            check(out)
    return out, at + 2


def values(all_headers, name):
    """The values of a header; None for one that is too long."""
    out = [value.strip(b" \t") for key, value in all_headers if key == name]
    raw = [value.lstrip(b" \t") for key, value in all_headers if key == name]
    return [None if len(r) > VALUE_MAX else v for r, v in zip(raw, out)]


def text(found, limit, lower=False):
    if len(found) != 1 or found[0] is None or len(found[0]) > limit or not TEXT.fullmatch(found[0]):
        return b""
    return found[0].lower() if lower else found[0]


def framing(all_headers, answer):
    """(length or None, codings of transfer-encoding or None), or Bad."""
    lengths = []
    for value in values(all_headers, b"content-length"):
        for one in (b"" if value is None else value).split(b","):
            if not re.fullmatch(rb"[0-9]+", one.strip(b" \t")) or int(one) >= 1 << 64:
                raise Bad
            lengths.append(int(one))
    if len(set(lengths)) > 1:
        raise Bad
    found, codings = values(all_headers, b"transfer-encoding"), []
    for value in found:
        if value is None:
            raise Bad
        codings += [one.strip(b" \t").lower() for one in value.split(b",") if one.strip(b" \t")]
    if codings.count(b"chunked") > 1 or (not answer and b"chunked" in codings[:-1]):
        raise Bad
    return (lengths[0] if lengths else None), (codings if found else None)


def coded(all_headers, codings):
    """The name of the coding that the follower has to tell: the first one that stands in any of the headers for codings, in the order of the headers."""
    for name, value in all_headers:
        if name == b"transfer-encoding":
            told = [one for one in values([(name, value)], name)[0].split(b",") if one.strip(b" \t").lower() not in (b"", b"chunked")]
        elif name == b"content-encoding":
            value = values([(name, value)], name)[0]
            told = [b"\0"] if value is None else [one for one in value.split(b",") if one.strip(b" \t").lower() not in (b"", b"identity")]
        else:
            continue
        if told:
            return text([told[0].strip(b" \t")], CODING_MAX, lower=True) or b"unknown"
    return b""


def chunks(text_, at, said):
    """The body in chunks that begins at `at`: writes its bytes to said.body. Returns where it ends."""
    while True:
        found, at_data = chunk_line(text_, at)
        size = int(found, 16)
        if size == 0:
            return headers(text_, at_data)[1]
        said.body += text_[at_data:at_data + size]
        at = at_data + size
        if len(text_) < at + 2 and b"\r\n".startswith(text_[at:]):
            raise More
        if text_[at:at + 2] != b"\r\n":
            raise Bad
        at += 2


def chunk_line(text_, at):
    end = text_.find(b"\n", at)
    found = CHUNK_LINE.fullmatch(text_, at, end + 1) if end >= 0 else CHUNK_BEGINS.fullmatch(text_, at)
    if not found or len((found.group(1) or found.groups()[-1] or b"").lstrip(b"0")) > 16:
        raise Bad
    if end < 0:
        raise More
    return found.group(1), end + 1


class Said:
    """What the follower has to say of one direction."""

    def __init__(self):
        self.head, self.body, self.ended, self.kind = None, b"", False, "B"

    def __str__(self):
        out = [] if self.head is None else ["HEAD " + self.head]
        if self.body:
            out.append(self.kind + " " + self.body.hex())
        return " ".join(out + ["END"] * self.ended)


def message(text_, at, said, method=None):
    """Reads one request, or, with `method`, an answer to it. Returns (where it ends, the method or the status)."""
    answer = method is not None
    while True:
        found, at_headers = line(text_, at, *((STATUS_LINE, STATUS_BEGINS) if answer else (REQUEST_LINE, REQUEST_BEGINS)))
        all_headers, at = headers(text_, at_headers, lambda so_far: framing(so_far, answer))
        status = int(found.group(1)) & 0xffff if answer else 0
        if not answer or status == 101 or not 100 <= status < 200:
            break
    length, codings = framing(all_headers, answer)
    if not answer:
        if codings is not None and codings[-1:] != [b"chunked"]:
            raise Bad
        said.head = "%s,%s" % (text(values(all_headers, b"x-request-id"), ID_MAX).decode(),
                               text(values(all_headers, b"x-llm-leg"), VALUE_MAX).decode())
        said.method = found.group(0).split(b" ")[0]
    else:
        kinds = [None if v is None else v.split(b";")[0].strip(b" \t") for v in values(all_headers, b"content-type")]
        said.head = "%d %s,%s" % (status, text(kinds, TYPE_MAX, lower=True).decode(), coded(all_headers, codings).decode())
        if status == 101 or (method == b"CONNECT" and 200 <= status < 300):
            said.kind, said.body = "T", text_[at:]
            said.blind = True
            raise More
        if method == b"HEAD" or status in (204, 304):
            said.ended = True
            return at
    if codings is not None and codings[-1:] == [b"chunked"]:
        at = chunks(text_, at, said)
    elif answer and (codings is not None or length is None):
        said.body, said.until_close = text_[at:], True
        raise More
    else:
        said.body = text_[at:at + (length or 0)]
        if len(said.body) < (length or 0):
            raise More
        at += length or 0
    said.ended = True
    return at


class Connection:
    """Reads all of the text again at each step."""

    def __init__(self):
        self.sent, self.got = b"", b""
        self.requests, self.answers = [], []      # Said of each
        self.request_bad = self.answer_bad = self.blind = False
        self.tunnel_from = None
        self.tail = ""

    def read_requests(self):
        if self.request_bad:
            return
        self.requests, at, tunnel = [], 0, b""
        done = sum(a.ended for a in self.answers)
        while at < len(self.sent):
            if self.blind and len(self.requests) == len(self.answers):
                tunnel = self.sent[at:]
                break
            if len(self.requests) > done:
                break
            said = Said()
            self.requests.append(said)
            try:
                at = message(self.sent, at, said)
            except More:
                break
            except Bad:
                self.request_bad = True
                break
        self.tunnel = tunnel

    def read_answers(self):
        if self.answer_bad:
            return
        asked = [r for r in self.requests if r.head is not None]
        answers, at = [], 0
        while at < len(self.got):
            if len(answers) == len(asked):
                self.answer_bad = True
                break
            said = Said()
            answers.append(said)
            try:
                at = message(self.got, at, said, asked[len(answers) - 1].method)
            except More:
                break
            except Bad:
                self.answer_bad = True
                break
        self.answers = answers
        self.blind = any(getattr(a, "blind", False) for a in answers)

    def step(self, what, data=b""):
        if what == ">":
            self.sent += data
            self.read_requests()
        elif what == "<":
            self.got += data
            self.read_answers()
        elif what == ";":
            self.read_requests()
        elif what == "." and not self.answer_bad:
            last = self.answers[-1] if self.answers else None
            if last and (getattr(last, "until_close", False) or getattr(last, "blind", False)):
                self.tail = " END"
            elif sum(a.ended for a in self.answers) == len([r for r in self.requests if r.head is not None]) and \
                    all(a.ended for a in self.answers):
                self.tail = " IDLE"
            else:
                self.tail = " CUT"

    def __str__(self):
        requests = [str(r) for r in self.requests] + (["T " + self.tunnel.hex()] if self.tunnel else []) + ["BAD"] * self.request_bad
        answers = [str(a) for a in self.answers] + ["BAD"] * self.answer_bad
        return "%s |%s%s" % (" ".join([""] + [r for r in requests if r]), " ".join([""] + [a for a in answers if a]), self.tail)


def expected(steps):
    connection = Connection()
    for what, data in steps:
        connection.step(what, data)
    return str(connection)


# ---------------------------------------------------------------- the driver


def answers(driver, connections):
    """What the driver says of each connection, a list of steps."""
    packed = b"".join(what.encode() + struct.pack("<I", len(data)) + data for steps in connections for what, data in steps + [("!", b"")])
    run = subprocess.run([driver], input=packed, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()[:4000]
    lines = run.stdout.decode().splitlines()
    assert len(lines) == len(connections)
    return lines


# ---------------------------------------------------------------- connections


def cased(r, name):
    return bytes(r.choice((c, c ^ 32)) if 97 <= c <= 122 else c for c in name) if r.random() < 0.3 else name


def header(r, name, value):
    return cased(r, name) + b":" + r.choice((b" ", b" ", b"", b"\t ")) + value + r.choice((b"", b"", b" ", b"\t")) + b"\r\n"


def some_text(r):
    return r.choice((b"a", b"0198-7a", b"leg.openai", b"leg.z_ai.0123456789abcdef", b"", b"a b", b'"', b"\\", b"\xff", b"x" * 63, b"x" * 64, b"x" * 65,
                     b"x" * 127, b"x" * 128, b"x" * 200, b"content-length: 3"))


def fill(r):
    return bytes(r.choice(b"\r\n0a;:,{}\" \x00\xff") for _ in range(r.choice((0, 1, 2, 3, 10, 40))))


def body_of(r, answer, until_close):
    """(headers of the framing, the body as it is sent)"""
    kind, data = r.random(), b"".join(fill(r) for _ in range(r.randrange(3)))
    if kind < 0.35:
        out = [header(r, b"content-length", r.choice((b"%d", b"%d", b"%d", b"%05d", b"%d,%d", b"%d , %d")).replace(b"%d", b"%d" % len(data)).replace(
            b"%05d", b"%05d" % len(data))) for _ in range(r.choice((1, 1, 1, 2)))]
        return out, data
    if kind < 0.75:
        sent = b""
        while data:
            size = r.randrange(1, len(data) + 1)
            sent += r.choice((b"%x", b"%X", b"000%x")) % size + r.choice((b"", b"", b"", b" ", b";a", b';a="b;c"', b"\t;x")) + b"\r\n" + data[:size] + b"\r\n"
            data = data[size:]
        sent += r.choice((b"0", b"0", b"000", b"0;a")) + b"\r\n" + b"".join(
            header(r, r.choice((b"x-t", b"content-length", b"transfer-encoding", b"x-llm-leg")), some_text(r)) for _ in range(r.choice((0, 0, 0, 1, 2)))) + b"\r\n"
        out = [header(r, b"transfer-encoding", r.choice((b"chunked", b"chunked", b"chunked", b"Chunked", b"gzip, chunked", b", chunked,")))]
        if r.random() < 0.2:
            out.append(header(r, b"content-length", b"7"))
        return out, sent
    if answer and until_close:
        return ([header(r, b"transfer-encoding", r.choice((b"gzip", b"chunked, br", b"")))] if r.random() < 0.3 else []), data
    return ([], b"") if not answer else ([header(r, b"content-length", b"0")], b"")


def head_of(r, first, more):
    r.shuffle(more)
    return first + b"\r\n" + b"".join(more) + b"\r\n"


def request(r):
    framed, body = body_of(r, False, False)
    method = r.choice((b"POST", b"POST", b"GET", b"HEAD", b"CONNECT", b"head", b"P!T"))
    more = [header(r, r.choice((b"host", b"accept", b"x-request-id", b"x-request-id", b"x-llm-leg", b"x-llm-leg", b"content-type", b"x" * 200)), some_text(r))
            for _ in range(r.randrange(4))]
    return head_of(r, method + b" " + r.choice((b"/", b"/v1/chat/completions?a=b", b"*", b"/" + b"x" * 300)) + b" HTTP/1." + r.choice((b"1", b"1", b"0")),
                   framed + more), body, method


def answer(r, method, last):
    interim = b"".join(head_of(r, b"HTTP/1.1 " + r.choice((b"100 Continue", b"103 Early Hints", b"102")), [header(r, b"content-type", b"a/b")])
                       for _ in range(r.choice((0, 0, 0, 1, 2))))
    status = r.choice((b"200", b"200", b"200", b"204", b"304", b"404", b"599", b"999", b"1", b"2000") + ((b"101",) if last else ()))
    framed, body = body_of(r, True, last)
    if method == b"HEAD" or status in (b"204", b"304"):
        body = b""
    kinds = (b"text/event-stream", b"Application/JSON; charset=utf-8", b"application/vnd.amazon.eventstream", b" ;a")
    codings = (b"gzip", b"identity", b"br, gzip", b"identity,BR", b'"', b"", b"x" * 23, b"x" * 24)
    more = [header(r, *r.choice(((b"content-type", r.choice(kinds)), (b"content-type", some_text(r)), (b"content-encoding", r.choice(codings)),
                                 (b"content-encoding", some_text(r)), (b"x-request-id", b"no"), (b"date", some_text(r)))))
            for _ in range(r.randrange(4))]
    return interim + head_of(r, b"HTTP/1." + r.choice((b"1", b"1", b"0")) + b" " + status + r.choice((b" OK", b" ", b"", b" a b")), framed + more) + body


def damaged(r, data):
    """`data` with a few bytes changed, taken away, doubled or put in."""
    data = bytearray(data)
    for _ in range(r.choice((1, 1, 2))):
        at = r.randrange(len(data) + 1)
        what = r.random()
        if what < 0.3 and at < len(data):
            data[at] = r.choice(b"\r\n :;,0a1\x00\xff\t")
        elif what < 0.5:
            del data[at:at + r.choice((1, 1, 2, 10))]
        elif what < 0.8:
            data[at:at] = r.choice((b"\r", b"\n", b"\r\n", b" ", b":", b"0", b"x", b"\x00", b",", b"1", b"f" * 16, b"HTTP/1.1 200 OK\r\n", b"content-length: 1\r\n",
                                    b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip\r\n"))
        else:
            del data[at:]
    return bytes(data)


def connection(r):
    """Steps of a connection: exchanges one after the other, some of them damaged, cut, early or pipelined."""
    steps, damage = [], r.random() < 0.5
    for n in range(r.choice((1, 1, 2, 3))):
        last = r.random() < 0.3
        head, body, method = request(r)
        sent, got = head + body, answer(r, method, last)
        if damage and r.random() < 0.5:
            sent = damaged(r, sent)
        if damage and r.random() < 0.5:
            got = damaged(r, got)
        way = r.random()
        if way < 0.1:           # the answer does not wait for the request
            steps += [(">", sent[:len(head)]), ("<", got), (";", b""), (">", sent[len(head):])]
        elif way < 0.2:         # the next request does not wait for the answer
            steps += [(">", sent), (">", b"".join(request(r)[:2])), ("<", got), (";", b"")]
        else:
            steps += [(">", sent), ("<", got), (";", b"")]
    return steps + ([(".", b"")] if r.random() < 0.7 else [])


def split(r, steps):
    """The same steps in pieces."""
    out = []
    for what, data in steps:
        if r.random() < 0.2:
            cuts = range(1, len(data))
        else:
            cuts = sorted(r.randrange(len(data) + 1) for _ in range(r.choice((0, 1, 2, 5)))) if data else []
        at = 0
        for cut in list(cuts) + [len(data)]:
            out.append((what, data[at:cut]))
            at = cut
    return out
