"""Pools: if a member declines, the request goes to the next one, with that member's own credential; if the first member may have run the request, no other
member gets it. The agent has routes, credentials and rests; HAProxy chooses the member, and retries."""
import collections
import concurrent.futures
import json
import re
import threading
import time

import pytest

import harness
import http2
import wire
from harness import CLIENT_KEY, until
from pools import Early, KEYS, NAMES, PoolGateway, asked, bring_back, declines, likely, pool
from poolstorm import api

BIG = json.dumps({"model": "%s-1", "messages": ["y" * 900000]})
SMALL = json.dumps({"model": "%s-1", "messages": []})
STREAM = json.dumps({"model": "%s-1", "messages": [], "stream": True})
# The ways in which a request comes: {kind: its body}.
BODIES = {"small": SMALL, "large": BIG, "chunked": BIG, "h2": BIG, "smallh2": SMALL, "stream": STREAM}
# {status by which a member declines: the route's retry_on; None: the default}.
DECLINING = {429: None, 503: None, 529: None, 500: [429, 500], 502: [502], 504: [504, 503]}
# What the client of each API gets when all rest: status of the members, and (protocol, path).
RESTING = [(429, "openai", "/v1/chat/completions"), (529, "anthropic", "/v1/messages"), (429, "gemini", "/v1beta/models/%s:generateContent"),
           (503, "openai", "/v1/responses"), (429, "anthropic", "/v1/messages")]


@pytest.fixture(scope="module")
def mocks(make_mock):
    early = Early("h")
    yield dict({name: make_mock(name) for name in NAMES + "efg"}, h=early)
    early.close()


@pytest.fixture(autouse=True)
def good(mocks):
    yield
    bring_back(mocks)


def routes(mocks):
    def of(*names, **more):
        return [pool(mocks, name, **more) for name in names]
    declining = []
    for status, retry_on in DECLINING.items():
        declining += of(*["d%d-%s" % (status, kind) for kind in BODIES], **({"retry_on": retry_on} if retry_on else {}))
    return (
        declining
        + of("own", "order", "near", "full", "cut", "empty", "half", "slow", more={"a": {"timeout": 1}})
        + of("busy", more={"a": {"max_connections": 1}}) + of("busiest", more={"a": {"max_connections": 1}, "b": {"max_connections": 1}})
        + of("chain", "last", names=NAMES, retry_on=[429, 500, 503, 529], pool_header=True)
        + of("some", names=NAMES, retries=1) + of("none", names=NAMES, retries=0)
        + of(*["early-" + kind for kind in BODIES], names="hb") + of("refused", names="gb") + of("dead", names="ef")
        + of("most", retry_on=[429]) + of("never", "poison", retry_on=[])
        + of("key", names="abc") + of("keyless", names="ab")
        + of("paths", more={"b": {"paths": ["/v1/files"]}}, path_prefix="/v1")
        + of("rest", "date", "wild", names="ab") + of("guess", names="ab")
        + of(*["all%d" % i for i in range(len(RESTING))])
        + of("weighted", names=NAMES, balance="weighted", more={name: {"weight": i + 1} for i, name in enumerate(NAMES)})
        + of("least", names=NAMES, balance="least") + of("heavy", names="abc", balance="least", more={"b": {"weight": 2}, "c": {"weight": 5}})
        + of("lots", names=NAMES, balance="weighted")
        + of("ws", "header", "errors", "expect", names="ab") + of("early", names="abc") + of("mine-too", names="ab", forward_headers=["x-mine"])
        + [dict(pool(mocks, one), pool=[{"name": name, "upstream": mocks[name].url()} for name in "ab"]) for one in ("through", "limit")]
        + [{"model_prefix": "plain-", "upstream": mocks["d"].url(), "auth": "env:PLAIN"}])


@pytest.fixture(scope="module")
def gateway(haproxy, mocks, module_work):
    def edit(text):
        return text.replace("global\n", "global\n    stats socket %s level admin mode 600\n" % path, 1)
    missing, path = {"A_key": None, "A_keyless": None, "B_keyless": None, "PLAIN": KEYS["d"]}, str(module_work / "api.sock")
    with PoolGateway(haproxy, list(mocks.values()), {"routes": routes(mocks)}, env=missing, edit=edit) as gateway:
        gateway.api = path
        yield gateway


def send(gateway, kind, name, headers=None):
    """Sends a request for a model of the pool `name`, in the way `kind` of BODIES. Returns the answer."""
    body = (BODIES[kind] % name).encode()
    fields = harness.JSON + list(harness.bearer() if headers is None else headers)
    if kind == "chunked":
        return gateway.call("POST", "/v1/chat/completions", fields, chunks=[body[at:at + 50000] for at in range(0, len(body), 50000)])
    connection = http2.Connection(gateway.address, 20) if "h2" in kind else None
    try:
        return gateway.call("POST", "/v1/chat/completions", fields, body, connection=connection)
    finally:
        if connection:
            connection.close()


def begin(gateway, name):
    """Asks the pool `name` for a stream. Returns, when its first event has come, the connection, the response, and an iterator over the rest of the answer."""
    connection = gateway.connect()
    connection.send(wire.request("POST", "/v1/chat/completions", [("Host", "x")] + harness.JSON + harness.bearer(), (STREAM % name).encode()))
    response = connection.head()
    pieces = connection.pieces(response, "POST")
    assert b"data: " in next(pieces)
    return connection, response, pieces


def rest_of(begun):
    connection, response, pieces = begun
    for _ in pieces:
        pass
    connection.close()
    return response.body


# ---- a member declines

@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("status", DECLINING)
def test_the_next_one_gets_what_the_first_declines(gateway, mocks, status, kind):
    name = "d%d-%s" % (status, kind)
    mocks["a"].respond = declines(status, 7)
    answer = send(gateway, kind, name)
    assert answer.status == 200 and answer.complete and answer.header("retry-after") is None, answer.response
    gateway.served(answer, "b", "a:%d" % status)
    for request in answer.seen:
        assert request.body == (BODIES[kind] % name).encode()
        assert request.header("authorization") == "Bearer " + KEYS[request.mock.name] and not request.has(CLIENT_KEY)


def test_each_is_asked_once_and_the_last_one_answers(gateway, mocks):
    """The first three of four members decline, each with a status of its own."""
    for member, status in zip("abc", (429, 500, 529)):
        mocks[member].respond = declines(status)
    answer = send(gateway, "large", "chain")
    assert answer.status == 200 and answer.header("llm-served-by") == "d"
    gateway.served(answer, "d", "a:429,b:500,c:529")
    # All members decline: the last one's answer arrives as that member sent it.
    for member, status in zip(NAMES, (500, 529, 503, 429)):
        mocks[member].respond = declines(status, 17 if member == "d" else 3, body=b'{"by":"%s"}' % member.encode())
    answer = send(gateway, "small", "last")
    assert (answer.status, answer.body, answer.header("retry-after")) == (429, b'{"by":"d"}', "17"), answer.response
    gateway.served(answer, "d", "a:500,b:529,c:503")


@pytest.mark.parametrize("kind", BODIES)
def test_a_member_declines_before_it_has_the_body(gateway, mocks, kind):
    answer = send(gateway, kind, "early-" + kind)
    assert answer.status == 200, (answer.response, gateway.line(answer))
    gateway.served(answer, "b", "h:429")


@pytest.mark.parametrize("name, members, tried", [("some", "ab", "a:429"), ("none", "a", "")])
def test_retries(gateway, mocks, name, members, tried):
    for mock in mocks.values():
        mock.respond = declines(429)
    answer = send(gateway, "small", name)
    assert answer.status == 429
    gateway.served(answer, members[-1], tried)


@pytest.mark.parametrize("name, status", [("most", 503), ("most", 529), ("most", 500), ("never", 429), ("never", 503), ("own", 500), ("own", 502), ("own", 404), ("own", 400), ("own", 425)])
def test_other_answers_are_the_clients(gateway, mocks, name, status):
    """Also the statuses on which HAProxy itself would retry: 425, and a 503 that the route's retry_on does not name."""
    mocks["a"].respond = declines(status, 5)
    answer = send(gateway, "small", name)
    assert (answer.status, answer.body, answer.header("retry-after")) == (status, b'{"error":{"message":"no"}}', "5")
    assert gateway.served(answer, "a")["status"] == status


def test_an_answer_that_legs_use_among_themselves(gateway, mocks):
    """The first member declines, and the second one answers with 425, which is the client's."""
    mocks["a"].respond, mocks["b"].respond = declines(429), declines(425, 5)
    answer = send(gateway, "small", "early")
    assert (answer.status, answer.header("retry-after")) == (425, "5"), answer.response
    gateway.served(answer, "b", "a:429")


def test_a_body_larger_than_the_buffer_is_sent_once(gateway, mocks):
    mocks["a"].respond = declines(429, 1)
    body = (SMALL % "full").encode()[:-2] + b'"%s"]}' % (b"y" * 5000000)
    answer = gateway.post("/v1/chat/completions", body)
    assert answer.status == 429 and asked(answer) == "a"
    assert answer.seen[0].body == body
    gateway.served(answer, "a")


def test_a_websocket_goes_to_the_next_one(gateway, mocks):
    mocks["a"].respond = declines(429)
    answer = gateway.call("GET", "/v1/realtime?model=ws-1", harness.bearer() + [
        ("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")])
    assert answer.status == 101, answer.response
    gateway.served(answer, "b", "a:429")


# ---- no answer

def test_a_member_that_refuses_connections(gateway, mocks):
    """The next member gets the request at once. Once HAProxy knows that a member is dead, the member is not even tried; it comes back by itself. (This member
    keeps no connection open, because a request that is on its way over a connection when that is closed may have been run, and is not sent again.)"""
    tried = []

    def dies():
        mocks["g"].extra_headers = [("Connection", "close")]
        until(lambda: gateway.line(send(gateway, "small", "refused"))["member"] == "g", 10, "g is back")
        mocks["g"].down()
        answer = send(gateway, "large", "refused")
        assert answer.status == 200, (answer.response, gateway.line(answer))
        tried.append(gateway.served(answer, "b", gateway.line(answer)["tried"])["tried"])
        until(lambda: gateway.line(send(gateway, "small", "refused"))["tried"] == "", 5, "g is passed over")
        mocks["g"].up()
        return tried[-1] == "g:unreachable"     # unless HAProxy's check found the member down before the request came
    until(dies, 30, lambda: tried)


def test_all_refuse_connections(gateway, mocks):
    for name in "ef":
        mocks[name].down()
    answer = until(lambda: (lambda one: one if "member" not in gateway.line(one) else None)(send(gateway, "small", "dead")), 5, "all are down")
    answer.refused(503, "upstream_unavailable", retry=True)
    assert gateway.line(answer)["code"] == "upstream_unavailable"


@pytest.mark.parametrize("name, status", [("empty", 502), ("half", 502), ("slow", 504)])
def test_a_member_that_may_have_run_the_request(gateway, mocks, name, status):
    """The member closes the connection without an answer, or within the answer's head, or sends nothing in time: no other member gets the request."""
    if name == "slow":
        mocks["a"].delay = 3
    else:
        mocks["a"].raw = b"" if name == "empty" else b"HTTP/1.1 200 OK\r\ncontent-ty"
    answer = send(gateway, "small", name)
    assert answer.status == status and answer.json()["error"]["code"] == {502: "upstream_error", 504: "upstream_timeout"}[status], answer.response
    # From 3.0 on, a leg gives no answer if its connection to the upstream was not new. Then the pool's backend answers, and the log line has no code.
    assert gateway.served(answer, "a")["code"] in (answer.json()["error"]["code"], "" if status == 502 else None)


def test_a_stream_that_breaks_is_not_tried_again(gateway, mocks):
    mocks["a"].break_after = 1
    with pytest.raises(wire.Cut) as cut:
        send(gateway, "stream", "cut")
    assert cut.value.response.status == 200 and b"data: " in cut.value.response.body
    assert not [request for request in mocks["b"].requests if b'"cut-1"' in request.body]


def requests_at(gateway, mock):
    """How many requests HAProxy has at the upstream `mock` now, by its own count."""
    found = re.findall(r"(?m)^llm-%s[^,]*,BACKEND,[^,]*,[^,]*,(\d+)," % re.escape(mock.authority), api(gateway.api, "show stat"))
    assert found
    return sum(int(one) for one in found)


@pytest.mark.parametrize("name", ["busy", "busiest"])
def test_a_member_whose_connections_are_all_in_use(gateway, mocks, name):
    """While all connections of a member are in use, the other one gets the requests; if the other one has none left either, requests wait."""
    def no_more_than(count):
        """HAProxy counts a connection as used for a moment after the client has the whole answer; the pools share it."""
        until(lambda: requests_at(gateway, mocks["a"]) == count and requests_at(gateway, mocks["b"]) == 0, 10, "the other requests have ended")
    gate = mocks["a"].gate = threading.Event()
    try:
        no_more_than(0)
        first = begin(gateway, name)
        assert first[1].header("x-mock") == "a"
        assert gateway.line(send(gateway, "small", name))["member"] == "b"
        mocks["b"].gate = gate
        no_more_than(1)
        second = begin(gateway, name)
        waits = gateway.connect()
        waits.send(wire.request("POST", "/v1/chat/completions", [("Host", "x")] + harness.JSON + harness.bearer(), (SMALL % name).encode()))
        if name == "busy":
            assert waits.read("POST").header("x-mock") == "b"
    finally:
        gate.set()
    for connection in (first, second):
        assert b"[DONE]" in rest_of(connection)
    if name == "busiest":
        assert waits.read("POST").status == 200
    waits.close()


# ---- credentials and endpoints

def test_a_member_without_a_credential_is_passed_over(gateway):
    answer = send(gateway, "small", "key")
    assert answer.status == 200
    gateway.served(answer, "b")
    send(gateway, "small", "keyless").refused(502, "upstream_auth_unavailable")


def test_a_credential_that_goes_away(haproxy, mocks, work):
    """The file of a credential goes after the agent has decided on the request. The leg gets no credential then, and the next member gets the request."""
    file = work / "key"
    file.write_text(KEYS["a"])
    one = pool(mocks, "file", more={"a": {"auth": "file:%s" % file}})
    with PoolGateway(haproxy, [mocks[name] for name in NAMES], {"routes": [one]}) as gateway:
        gateway.served(send(gateway, "small", "file"), "a")
        file.unlink()
        until(lambda: gateway.line(send(gateway, "small", "file"))["member"] == "b", 10, "a has no credential")
        file.write_text(KEYS["a"])
        until(lambda: gateway.line(send(gateway, "small", "file"))["member"] == "a", 10, "a has a credential")


def test_an_endpoint_that_one_member_releases(gateway):
    answer = gateway.call("GET", "/v1/files?model=paths-1", harness.bearer())
    if answer.status != 200:        # no model counts in the query of such a request: by the body, then
        answer = gateway.call("POST", "/v1/files", harness.JSON + harness.bearer(), (SMALL % "paths").encode())
    assert answer.status == 200, answer.response
    gateway.served(answer, "b")
    gateway.call("POST", "/v1/batches", harness.JSON + harness.bearer(), (SMALL % "paths").encode()).refused(403, "endpoint_not_allowed")


def test_clients_credentials_that_pass_through(gateway, mocks):
    mocks["a"].respond = declines(429)
    answer = send(gateway, "small", "through")
    assert answer.status == 200
    gateway.served(answer, "b", "a:429")
    assert [request.header("authorization") for request in answer.seen] == ["Bearer " + CLIENT_KEY] * 2


# ---- rests

def test_a_limit_of_one_client(gateway, mocks):
    """Where the clients' own credentials pass through, a 429 is about one client, so the member does not rest; a 529 is about all, so it does."""
    mocks["a"].respond = declines(429, 200)
    for _ in range(2):
        gateway.served(send(gateway, "small", "limit"), "b", "a:429")
    mocks["a"].respond = declines(529, 200)
    gateway.served(send(gateway, "small", "limit"), "b", "a:529")
    gateway.agent.log(r"event=member_rests .*route=limit member=a status=529 seconds=200")
    gateway.served(send(gateway, "small", "limit"), "b")


def test_a_member_rests_as_long_as_it_says(gateway, mocks):
    mocks["a"].respond = declines(429, 3)
    since = time.monotonic()
    gateway.served(send(gateway, "small", "rest"), "b", "a:429")
    gateway.agent.log(r"event=member_rests .*route=rest member=a status=429 seconds=3")
    mocks["a"].reset()
    gateway.served(send(gateway, "small", "rest"), "b")
    # Another pool's member with the same upstream and another credential does not rest.
    gateway.served(send(gateway, "small", "own"), "a")
    until(lambda: gateway.line(send(gateway, "small", "rest"))["member"] == "a", 10, "a is back")
    assert time.monotonic() - since > 2.5


def test_how_long_a_rest_is(gateway, mocks):
    """Its retry-after is a date, is missing, is malformed, is longer than the longest rest, or shorter than the shortest."""
    ends = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    for name, given, seconds in (("date", ends, "(?:99|100)"), ("guess", None, "1"), ("wild", "soon", "1"), ("order", "86400", "300"), ("near", "0", "1")):
        mocks["a"].respond = declines(429, given)
        gateway.served(send(gateway, "small", name), "b", "a:429")
        gateway.agent.log(r"event=member_rests .*route=%s member=a status=429 seconds=%s$" % (name, seconds))


@pytest.mark.parametrize("number", range(len(RESTING)))
def test_all_rest(gateway, mocks, number):
    """The client at once gets the status by which the members declined, with the time after which one of them is back, and no upstream is asked."""
    status, shape, path = RESTING[number]
    name = "all%d" % number
    mocks["a"].respond, mocks["b"].respond = declines(status, 200), declines(status, 100)
    gateway.served(send(gateway, "small", name), "b", "a:%d" % status)
    model = "%s-1" % name
    answer = gateway.post(path % model if "%s" in path else path, {"model": model, "messages": []})
    assert answer.status == status, answer.response
    answer.nowhere()
    body, error = answer.json(), answer.json()["error"]
    assert 90 <= int(answer.header("retry-after")) <= 100 and answer.header("x-should-retry") is None, answer.response
    assert "upstream_resting" in answer.body.decode()
    kinds = {429: "rate_limit_error", 503: "api_error", 529: "overloaded_error" if shape == "anthropic" else "api_error"}
    if shape == "gemini":
        assert (error["code"], error["status"]) == (status, "RESOURCE_EXHAUSTED"), body
    else:
        assert error["type"] == kinds[status] and ("type" in body) == (shape == "anthropic"), body
    line = gateway.line(answer)
    assert line["code"] == "upstream_resting" and "member" not in line


def test_errors_in_a_row(gateway, mocks):
    """A member that answers with ten errors in a row, which clients get, is passed over for a while, because HAProxy counts them."""
    mocks["a"].respond = declines(500)
    answers = [send(gateway, "small", "errors").status for _ in range(9)]
    assert answers == [500] * 9
    # Only of this answer: a may be back before the next request, because HAProxy's check finds it well.
    served = until(lambda: (lambda one: one if one.status == 200 else None)(send(gateway, "small", "errors")), 10, "a is passed over")
    assert gateway.line(served)["member"] == "b"


def test_errors_of_all(gateway, mocks):
    """Errors do not make HAProxy pass over the only member that is left, so that no client can take the pool from the others by requests that fail."""
    for status, code in ((500, None), (502, None), (502, "upstream_error"), (529, None), (503, None)):
        for name in "ab":
            mocks[name].reset()
            if code:
                mocks[name].raw = b""
            else:
                mocks[name].respond = declines(status)
        for _ in range(33):
            answer = send(gateway, "small", "poison")
            assert (answer.status, answer.json()["error"].get("code")) == (status, code), gateway.line(answer)
        for name in "ab":
            mocks[name].reset()
        assert send(gateway, "small", "poison").status == 200


# ---- the choice

def count(gateway, name, requests, workers=8):
    with concurrent.futures.ThreadPoolExecutor(workers) as pool_of_threads:
        answers = list(pool_of_threads.map(lambda _: send(gateway, "small", name), range(requests)))
    assert {answer.status for answer in answers} == {200}
    return collections.Counter(asked(answer)[-1] for answer in answers)


def test_weighted(gateway, mocks):
    """The shares of 300 requests are those of the weights, within what chance allows in all but one of a million runs."""
    shares = count(gateway, "weighted", 300)
    for i, name in enumerate(NAMES):
        least, most = likely(300, (i + 1) / 10)
        assert least <= shares[name] <= most, (name, least, most, shares)
    # a declines one request, and rests from then on: the others serve all of them.
    mocks["a"].respond = declines(429, 300)
    answers = [send(gateway, "small", "lots") for _ in range(30)]
    assert {answer.status for answer in answers} == {200} and "".join(asked(answer) for answer in answers).count("a") == 1


def test_least(gateway, mocks):
    """A slow member gets fewer requests than the others."""
    mocks["a"].delay, mocks["b"].delay, mocks["c"].delay, mocks["d"].delay = 1.2, 0.05, 0.05, 0.05
    shares = count(gateway, "least", 80)
    assert 0 < shares["a"] <= 12 and all(shares[name] > 12 for name in "bcd"), shares
    # Where nothing is in flight, it is not always the first one.
    for name in NAMES:
        mocks[name].delay = 0
    assert len(count(gateway, "least", 40, workers=1)) == 4


def test_least_for_its_weight(gateway, mocks):
    """While no request ends, each one goes to the member with the fewest in flight for its weight: 16 requests are shared in exactly the proportion of the
    weights 1, 2 and 5. That also holds if a member declines some, for the members to which these go on."""
    gate = threading.Event()
    for name in "abc":
        mocks[name].gate = gate
    had = {name: len(mocks[name].requests) for name in "abc"}

    def shares():
        return [len(mocks[name].requests) - had[name] for name in "abc"]
    held = []
    try:
        held += [begin(gateway, "heavy") for _ in range(16)]
        assert shares() == [2, 4, 10]
        mocks["c"].respond = declines(429, 100)
        held += [begin(gateway, "heavy") for _ in range(3)]
        assert shares() == [3, 6, 11]
    finally:
        gate.set()
        for one in held:
            rest_of(one)


def test_headers_that_a_route_forwards(gateway, mocks):
    """Each member gets the headers that its route names, and no others, and no key from the query."""
    mocks["a"].respond = declines(429)
    headers = harness.JSON + harness.bearer() + [("x-mine", "1"), ("x-other", "2"), ("cookie", "c=" + CLIENT_KEY), ("openai-organization", "3")]
    answer = gateway.call("POST", "/v1/chat/completions?key=%s&a=b" % CLIENT_KEY, headers, (SMALL % "mine-too").encode())
    assert answer.status == 200
    gateway.served(answer, "b", "a:429")
    for request in answer.seen:
        assert request.header("x-mine") == "1" and request.header("x-other") is None and request.header("openai-organization") is None
        assert not request.has(CLIENT_KEY) and request.query == "a=b"
        assert request.header("host") == request.mock.authority


def test_a_client_that_expects_to_go_on(gateway, mocks):
    mocks["a"].respond = declines(429)
    body = (SMALL % "expect").encode()
    with gateway.connect() as connection:
        connection.send(wire.request("POST", "/v1/chat/completions", [("Host", "x"), ("Expect", "100-continue"), ("Content-Length", str(len(body)))]
                                     + harness.JSON + harness.bearer()))
        time.sleep(0.1)     # as a client does that waits for 100 Continue, and sends the body if none comes
        connection.send(body)
        answer = connection.read("POST")
        assert answer.status == 200 and answer.header("x-mock") == "b", answer


def test_other_routes_know_nothing_of_it(gateway, mocks):
    answer = send(gateway, "small", "plain")
    line = gateway.line(answer)
    assert answer.only(mocks["d"]).header("authorization") == "Bearer " + KEYS["d"]
    assert "member" not in line and "tried" not in line and answer.header("llm-served-by") is None


def test_clients_cannot_choose(gateway, mocks):
    """Neither a client nor an upstream can send the headers by which the pool's backends tell each other what was tried."""
    answer = send(gateway, "small", "header", harness.bearer() + [("x-llm-tried", "a"), ("x-llm-rest", "a"), ("x-llm-member", "b"), ("x-llm-why", "c:200")])
    gateway.served(answer, "a")
    # Nor can an upstream say who served.
    mocks["a"].extra_headers = [("x-llm-member", "b"), ("x-llm-why", "z:1"), ("x-llm-status", "418"), ("x-llm-leg", "no_backend")]
    answer = send(gateway, "small", "header")
    assert answer.status == 200 and gateway.served(answer, "a")["code"] == ""
