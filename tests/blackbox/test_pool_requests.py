"""Pools and odd requests and answers: interim answers, answers cut off, large and slow bodies, bodies about as long as the buffer, connections that
carry many requests. In each case a member gets only whole requests, each request once, and a request that one member may have run goes to no other."""
import json
import socket
import threading
import time

import pytest

import harness
import http2
import wire
from harness import CLIENT_KEY, until
from pools import KEYS, NAMES, PoolGateway, asked, declines, pool

BUFSIZE = 1 << 17
# All that retry_on may name. An answer of HAProxy's own does not become one of them, because the member may have run the request.
ALL = [429, 500, 502, 503, 504, 529]
# The keys of a pool with as many members as there can be.
MANY = [harness.secret("pool-key-%d" % number) for number in range(16)]
CLOSES = "Content-Type: application/json\r\nConnection: close\r\n"
NO = b'{"error":{"message":"no"}}'


def raw(status, body=NO, length=None, front="", more=""):
    """Returns the bytes of an answer. `length`: its content-length, which may be wrong, or none if it is below 0; `front`: interim answers before it."""
    length = len(body) if length is None else length
    size = "" if length < 0 else "Content-Length: %d\r\n" % length
    return (front + "HTTP/1.1 %d Of Its Own\r\n" % status + CLOSES + size + more + "\r\n").encode() + body


HINTS = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
# What a member sends, and the status of the client's answer; None: the next member answers. The request goes on to the next member if the head is whole and
# its status is a declining one, whatever comes behind the head.
ANSWERS = {
    "continue": (raw(429, front="HTTP/1.1 100 Continue\r\n\r\n"), None),
    "cut": (raw(429, length=1000), None),
    "nobody": (raw(429, b"", length=1000), None),
    "unsized": (raw(429, length=-1), None),
    "large": (raw(429, b'{"error":"%s"}' % (b"x" * 3 * BUFSIZE)), None),
    "unended": (raw(429, b"ff\r\n{", length=-1, more="Transfer-Encoding: chunked\r\n"), None),
    "first": (b"HTTP/1.0 429 Own\r\n\r\n", None),
    "coded": (raw(429, b"\x1f\x8b", more="Content-Encoding: gzip\r\n"), None),
    "upgrade": (raw(426, more="Upgrade: h2c\r\n"), 426),
    "nothing": (b"", 502),
    "word": (b"HTTP/1.1 429", 502),
    "line": (b"HTTP/1.1 429 Own\r\n", 502),
    "head": (b"HTTP/1.1 429 Own\r\nContent-Le", 502),
    "noise": (b"\0\1\2 no HTTP\r\n\r\n", 502),
    "bad": (b"HTTP/1.1 429 Own\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 502),
    "switched": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502),
    "hints": (HINTS.encode(), 502),
}


# The reason phrases, which are HAProxy's and not the member's.
PHRASES = {429: b"Too Many Requests", 500: b"Internal Server Error", 502: b"Bad Gateway or Proxy Error", 503: b"Service Unavailable",
           504: b"Gateway Time-out", 529: b"Server Error"}
# Answers whose end is missing.
CUT = ("cut", "nobody", "unended")


@pytest.fixture(scope="module")
def mocks(make_mock, authority):
    return dict({name: make_mock(name) for name in NAMES}, t=make_mock("t", tls=authority.server))


@pytest.fixture(autouse=True)
def good(mocks):
    yield
    for mock in mocks.values():
        mock.reset()


class Full:
    """A listener whose queue is full, so that no connection to it comes about."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.waiting = [socket.create_connection(self.listener.getsockname())]
        self.port = self.listener.getsockname()[1]

    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def close(self):
        for one in [self.listener, *self.waiting]:
            one.close()


@pytest.fixture(scope="module")
def gateway(haproxy, mocks):
    full = Full()

    def edit(text):
        """Lets HAProxy wait one second for a connection to this member, instead of five."""
        head, *blocks = text.split("\nbackend ")
        return "\nbackend ".join([head] + [one.replace("timeout connect 5s", "timeout connect 1s") if ":%d-pool" % full.port in one.split("\n")[0] else one
                                           for one in blocks])

    def through(name, names="ab", **more):
        """Returns the route of a pool through which the clients' own credentials pass, so that a 429 lets no member rest."""
        return dict(pool(mocks, name, **more), pool=[{"name": one, "upstream": mocks[one].url()} for one in names])
    routes = [pool(mocks, "odd-" + name, retry_on=ALL) for name in ANSWERS] + [pool(mocks, "last-" + name, retries=0) for name in ANSWERS]
    routes += [pool(mocks, name) for name in ("get", "slow", "chunks", "leaves", "ws", "wsall", "wsend")]
    routes += [pool(mocks, "back%d" % status, retry_on=ALL, pool_header=True) for status in ALL]
    routes += [pool(mocks, "own", retry_on=[429])]
    routes += [through("near-" + name) for name in ("length", "chunked", "h2")] + [through(name, "abc") for name in ("many", "line")]
    routes += [dict(through("head"), path_prefix="/files"), pool(mocks, "stalls", more={"a": {"timeout": 1}}, retry_on=ALL), pool(mocks, "full")]
    del routes[-3]["model_prefix"]
    routes[-1]["pool"][0]["upstream"] = full.url()
    routes += [pool(mocks, "tls", more={"a": {"upstream": mocks["t"].url(), "sni": "localhost"}})]
    routes += [{"model_prefix": "keys-", "pool": [{"name": "key-%d" % number, "upstream": mocks["d"].url(), "auth": "env:KEY_%d" % number}
                                                  for number in range(len(MANY))]}]
    with PoolGateway(haproxy, list(mocks.values()), {"routes": routes}, env={"KEY_%d" % number: key for number, key in enumerate(MANY)},
                     owners={key: [mocks["d"]] for key in MANY}, edit=edit, limits={"LLM_BUFSIZE": str(BUFSIZE), "LLM_BUFSIZE_LARGE": "none"}) as one:
        yield one
    full.close()


def body_of(name, size=100):
    body = '{"model":"%s-1","messages":["' % name
    return (body + "y" * (size - len(body) - 3) + '"]}').encode()


def post(gateway, name, size=100, **more):
    return gateway.post("/v1/chat/completions", body_of(name, size), **more)


def came(mock, name):
    """Returns the requests for the model NAME-1 that the mock has received."""
    return [one for one in list(mock.requests) if name.encode() + b"-1" in one.body or name + "-1" in one.target]


# ---- answers

def test_a_member_whose_queue_is_full(gateway):
    """No connection to the member comes about, so nothing was sent, and the request goes on. (The first test of the file, because HAProxy's checks would
    find the member down after a while.)"""
    answer = post(gateway, "full", 100000)
    assert answer.status == 200
    gateway.served(answer, "b", gateway.line(answer)["tried"] and "a:unreachable")
    assert answer.seen[0].body == body_of("full", 100000)


@pytest.mark.parametrize("kind", ANSWERS)
def test_odd_answers(gateway, mocks, kind):
    mocks["a"].raw, own = ANSWERS[kind]
    answer = post(gateway, "odd-" + kind)
    if kind == "continue" and answer.status == 500:
        # HAProxy 2.6 cannot send a request again behind an interim answer that it has passed on.
        assert harness.version_of(gateway.haproxy_binary) == (2, 6) and not came(mocks["b"], "odd-" + kind)
    elif kind in CUT and answer.status == 502:
        # If the connection ends just behind the head, HAProxy takes the answer for a broken one, and answers 502.
        gateway.served(answer, "a")
    elif own is None:
        assert answer.status == 200 and answer.complete, answer.response
        gateway.served(answer, "b", "a:429")
    else:
        assert answer.status == own, answer.response
        gateway.served(answer, "a")
    # If no member comes after a, the client gets a's answer, as broken as it is.
    try:
        answer = post(gateway, "last-" + kind)
        assert answer.status == (own or 429) and kind not in CUT or (kind in CUT and answer.status == 502), answer.response
        assert own == 502 or kind in CUT or mocks["a"].raw.endswith(answer.body), answer.response
    except wire.Cut as cut:
        assert kind in CUT and cut.response.status == 429, cut.response
    assert len(came(mocks["a"], "last-" + kind)) == 1 and not came(mocks["b"], "last-" + kind)


@pytest.mark.parametrize("status", ALL)
def test_the_last_answer_is_the_members_own(gateway, mocks, status):
    """The client gets the last member's status, body and headers in their order, with a decline before it, and, by option, the member's name in a header."""
    own = [("content-type", "text/plain; charset=x"), ("retry-after", "7"), ("retry-after-ms", "6999"), ("x-ratelimit-remaining-requests", "0"),
           ("x-should-retry", "true"), ("warning", "one"), ("warning", "two"), ("content-length", "6")]
    mocks["a"].respond = declines(429, 3)
    mocks["b"].raw = ("HTTP/1.1 %d Of Its Own\r\n" % status + "".join("%s: %s\r\n" % pair for pair in own) + "connection: close\r\n\r\n").encode() + b"\0\xff\r\n\r\n"
    answer = post(gateway, "back%d" % status)
    assert answer.raw_head.split(b"\r\n")[0].split(b" ", 2)[2] == PHRASES[status]
    assert (answer.status, answer.body) == (status, b"\0\xff\r\n\r\n"), answer.response
    assert [pair for pair in answer.headers if pair[0] not in ("x-request-id", "llm-served-by")] == own
    assert answer.all("llm-served-by") == ["b"]
    gateway.served(answer, "b", "a:429")


def test_every_other_status(gateway, mocks):
    """An answer with a status that is not in retry_on arrives as it is, and no other member is asked."""
    for status in (*range(200, 207), *range(300, 309), *range(400, 429), 451, 499, 500, 502, 501, 504, 505, 508, 520, 529, 503, 599, 424):
        mocks["a"].respond = lambda request, status=status: (status, [("x-own", str(status))], b"" if status in (204, 304) else b"{}")
        answer = post(gateway, "own")
        assert (answer.status, answer.header("x-own"), asked(answer)) == (status, str(status), "a"), (status, answer.response)


def test_a_member_that_stalls(gateway, mocks):
    """The member is silent for longer than its `timeout`, within a stream or before an answer: the request is not sent again."""
    mocks["a"].gate = threading.Event()
    with pytest.raises(wire.Cut) as cut:
        gateway.ask("stalls-1", stream=True)
    assert b"data: " in cut.value.response.body
    mocks["a"].gate.set()
    mocks["a"].delay = 3
    assert post(gateway, "stalls").status == 504
    assert len(came(mocks["a"], "stalls")) == 2 and not came(mocks["b"], "stalls")


def test_a_member_that_is_not_trusted(gateway, mocks):
    """The member's certificate is from an authority that HAProxy does not know: HAProxy sends nothing to the member, and the request goes on."""
    answer = post(gateway, "tls")
    assert answer.status == 200
    gateway.served(answer, "b", gateway.line(answer)["tried"] and "a:unreachable")
    assert not mocks["t"].requests


# ---- requests

def test_several_keys_of_one_provider(gateway, mocks):
    """As many members as a pool can have, with one upstream, and a quota left for the last key only: the upstream gets the request once with each key, in
    their order."""
    mocks["d"].respond = lambda request: None if request.has(MANY[-1]) else declines(429, 300)(request)
    answer = post(gateway, "keys", 60000)
    assert answer.status == 200
    assert [request.header("authorization") for request in answer.seen] == ["Bearer " + key for key in MANY]
    assert {request.body for request in answer.seen} == {body_of("keys", 60000)}
    line = gateway.line(answer)
    assert line["member"] == "key-15" and line["tried"] == ",".join("key-%d:429" % number for number in range(15)), line
    # All members but the last one rest.
    answer = post(gateway, "keys")
    assert answer.status == 200 and asked(answer) == "d" and gateway.line(answer)["tried"] == ""


@pytest.mark.parametrize("method, target", [("GET", "/v1/models/get-1"), ("HEAD", "/files/head-1")])
def test_requests_without_a_body(gateway, mocks, method, target):
    mocks["a"].respond = lambda request: (429, [("Retry-After", "100")], b"" if method == "HEAD" else NO)
    answer = gateway.call(method, target, harness.bearer())
    assert answer.status == 200 and answer.complete and (method == "GET" or not answer.body), answer.response
    gateway.served(answer, "b", "a:429")
    assert [request.line for request in answer.seen] == ["%s %s HTTP/1.1" % (method, target)] * 2


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_client_that_sends_slowly(gateway, mocks, chunked):
    """No member is asked before the whole body is there. If the client leaves before that, none is asked at all."""
    name = "chunks" if chunked else "slow"
    mocks["a"].respond = declines(429)
    body = body_of(name, 60000)
    pieces = [body[at:at + 20000] for at in range(0, len(body), 20000)]
    head = wire.request("POST", "/v1/chat/completions", [("Host", "x"), ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(body))]
                        + harness.JSON + harness.bearer())
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"] if chunked else pieces
    with gateway.connect() as leaves:
        leaves.send(head + framed[0])
    with gateway.connect() as connection:
        for piece in [head, *framed]:
            assert not came(mocks["a"], name)
            connection.send(piece)
            time.sleep(0.03)
        answer = connection.read("POST")
        assert answer.status == 200 and answer.header("x-mock") == "b", answer
    for member in "ab":
        (request,) = came(mocks[member], name)
        assert request.body == body and request.header("authorization") == "Bearer " + KEYS[member]


def test_a_client_that_leaves(gateway, mocks):
    """The client leaves while a member has its request: no other member gets the request, though the first one declines it."""
    goes, declined = threading.Event(), threading.Event()

    def late(request):
        goes.wait(10)
        declined.set()
        return declines(429)(request)
    mocks["a"].respond = late
    with gateway.connect() as connection:
        connection.send(wire.request("POST", "/v1/chat/completions", [("Host", "x")] + harness.JSON + harness.bearer(), body_of("leaves")))
        until(lambda: came(mocks["a"], "leaves"), 5, "a has the request")
    until(lambda: '"model":"leaves-1"' in gateway.haproxy.text(), 5, "HAProxy's line")
    goes.set()
    assert declined.wait(5) and post(gateway, "get").status == 200
    assert not came(mocks["b"], "leaves")


@pytest.mark.parametrize("way", ["length", "chunked", "h2"])
def test_bodies_about_as_long_as_the_buffer(gateway, mocks, way):
    """Whatever the body's length: either the whole request goes on, or the client gets the first member's own answer."""
    mocks["a"].respond = declines(429, 1)
    name = "near-" + way
    went = {}
    for size in [BUFSIZE + more for more in (-16384, -4096, -2048, -1024, -512, 0, 512, 1024, 16384)]:
        body = body_of(name, size)
        fields = harness.JSON + harness.bearer()
        connection = http2.Connection(gateway.address, 20) if way == "h2" else gateway.connect()
        if way == "chunked":
            answer = gateway.call("POST", "/v1/chat/completions", fields, chunks=[body[:9000], body[9000:]], connection=connection)
        else:
            answer = gateway.call("POST", "/v1/chat/completions", fields, body, connection=connection)
        connection.close()
        went[size - BUFSIZE] = asked(answer)
        assert (answer.status, asked(answer)) in ((200, "ab"), (429, "a")), (size, answer.response, asked(answer))
        assert {request.body for request in answer.seen} == {body}
        gateway.served(answer, *(("b", "a:429") if answer.status == 200 else ("a",)))
    assert went[-4096] == "ab" and went[1024] == "a", went


def exchange(gateway, connection, name, number):
    answer = connection.read("POST")
    assert answer.status == 200 and answer.json()["model"] == "%s-%d" % (name, number), (number, answer)
    return answer


def numbered(name, number):
    body = json.dumps({"model": "%s-%d" % (name, number), "messages": ["y" * (number * 997 % 5000)]}).encode()
    return wire.request("POST", "/v1/chat/completions", [("Host", "x"), ("x-client-request-id", "n%d" % number)] + harness.JSON + harness.bearer(), body)


@pytest.mark.parametrize("name", ["many", "line"])
def test_many_requests_on_one_connection(gateway, mocks, name):
    """Many requests on a connection, one after the other, or all of them before the first answer (pipelined). The answers come in the order of the requests,
    each from the member that serves it."""
    def turn(request):
        """a declines each third request, and at times breaks its connection by that; b declines each fifth."""
        number = int(request.header("x-client-request-id")[1:])
        if number % (3 if request.mock.name == "a" else 5):
            return None
        return 429, harness.JSON + ([("Connection", "close")] if number % 2 else []), NO
    mocks["a"].respond = mocks["b"].respond = turn
    count = 60
    with gateway.connect() as connection:
        if name == "line":
            connection.send(b"".join(numbered(name, number) for number in range(1, count)))
        for number in range(1, count):
            if name == "many":
                connection.send(numbered(name, number))
            answer = exchange(gateway, connection, name, number)
            assert answer.header("x-mock") == ("a" if number % 3 else "b" if number % 5 else "c"), (number, answer)
    for member, wanted in (("a", range(1, count)), ("b", range(3, count, 3)), ("c", range(15, count, 15))):
        got = [request for request in mocks[member].requests if b'"%s-' % name.encode() in request.body]
        assert [request.header("x-client-request-id") for request in got] == ["n%d" % number for number in wanted]
        for request in got:
            assert request.raw_head and json.loads(request.body)["messages"] == ["y" * (int(request.header("x-client-request-id")[1:]) * 997 % 5000)]


WEBSOCKET = [("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]


def test_websockets(gateway, mocks):
    """WebSockets: one that a declines and b accepts, one that all members decline, and one that its member breaks off."""
    mocks["a"].respond = declines(429)
    answer = gateway.call("GET", "/v1/realtime?model=ws-1", harness.bearer() + WEBSOCKET)
    assert answer.status == 101, answer.response
    gateway.served(answer, "b", "a:429")
    mocks["b"].respond = declines(429, 9, b"by b")
    answer = gateway.call("GET", "/v1/realtime?model=wsall-1", harness.bearer() + WEBSOCKET)
    assert (answer.status, answer.body, answer.header("retry-after")) == (429, b"by b", "9"), answer.response
    gateway.served(answer, "b", "a:429")
    mocks["a"].respond, mocks["a"].raw = None, b""
    answer = gateway.call("GET", "/v1/realtime?model=wsend-1", harness.bearer() + WEBSOCKET)
    assert answer.status == 502
    gateway.served(answer, "a")
