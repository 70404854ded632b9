"""Pools while HAProxy or the agent reloads, while an operator takes a member out, and while members die and come back."""
import collections
import concurrent.futures
import csv
import io
import re
import signal
import socket
import threading

import pytest

import harness
import http2
import wire
from harness import CLIENT_KEY, until
from pools import KEYS, NAMES, PoolGateway, asked, bring_back, declines, likely, pool

BODY = b'{"model": "m-1", "messages": []}'
WEBSOCKET = [("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]


@pytest.fixture(scope="module")
def mocks(make_mock):
    return {name: make_mock(name) for name in NAMES}


@pytest.fixture(autouse=True)
def good(mocks):
    yield
    bring_back(mocks)


@pytest.fixture
def gateway(haproxy, mocks, work):
    def edit(text):
        return text.replace("global\n", "global\n    stats socket %s level admin mode 600\n" % (work / "api.sock"), 1)
    with PoolGateway(haproxy, list(mocks.values()), {"routes": [pool(mocks, "m", names="abc")]}, edit=edit) as gateway:
        gateway.api = str(work / "api.sock")
        yield gateway


def reload(gateway):
    """Starts a new HAProxy, to which the old one hands over; returns the old one, which ends after its last request."""
    before = gateway.haproxy
    gateway.haproxy = harness.Process("haproxy", [gateway.haproxy_binary, "-db", "-f", str(gateway.cfg), "-sf", str(before.pid)],
                                      gateway.dir / "reloaded.log", harness.environment(gateway.haproxy_env))
    until(lambda: "Proxy llm stopped" in before.text(), 20, "the reload")
    return before


def post(gateway, name="m", **more):
    return gateway.post("/v1/chat/completions", {"model": name + "-1", "messages": []}, **more)


def begin(gateway, sent):
    """A connection on which the head of a request, and the first `sent` bytes of its body, were sent."""
    connection = gateway.connect()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
    connection.send((head % (CLIENT_KEY, len(BODY))).encode() + BODY[:sent])
    return connection


def test_a_process_that_a_reload_has_replaced(gateway, mocks):
    """The old process after a reload. Its last requests still find their members, though it counts no server of its backends as usable any more. A request
    that a member declines meanwhile goes on through the new process."""
    slow = begin(gateway, 10)
    mocks["b"].delay = 0
    mocks["a"].delay, mocks["a"].respond = 2, declines(429, 1)
    held = begin(gateway, len(BODY))
    until(lambda: mocks["a"].requests, 5, "a has a request")
    before = reload(gateway)
    answer = held.read("POST")
    assert answer.status == 200 and answer.header("x-mock") == "b", answer
    mocks["a"].reset()
    slow.send(BODY[10:])
    answer = slow.read("POST")
    assert answer.status == 200 and answer.complete, answer
    slow.close()
    held.close()
    assert before.wait() == 0
    assert post(gateway).status == 200


def test_a_leg_lends_by_its_own_paths(haproxy, mocks):
    """The agent that decided on the request did not know the member, as the second agent may while both are given new routes. So HAProxy does not pass it over."""
    members = pool(mocks, "m", "ab", {"a": {"paths": ["GET /v1/files"]}})["pool"]
    routes = [{"name": "files", "path_prefix": "/v1", "pool": members}, {"model_prefix": "*", "upstream": mocks["d"].url()}]

    def edit(text):
        assert " !{ req.hdr(x-llm-rest) -m str b }" in text
        return text.replace(" !{ req.hdr(x-llm-rest) -m str b }", "")
    with PoolGateway(haproxy, list(mocks.values()), {"routes": routes, "websocket": "allow"}, env={"%s_m" % name.upper(): KEYS[name] for name in "ab"}, edit=edit) as gateway:
        mocks["a"].respond = declines(429, 1)
        answer = gateway.call("GET", "/v1/files/f1", harness.bearer())
        assert (answer.status, asked(answer)) == (503, "a"), answer
        gateway.agent.log('event=leg_refused.* problem="this method and path run no model, and the member')
        for method, target, headers, body in (("POST", "/v1/chat/completions", harness.JSON, BODY), ("GET", "/v1/models/m-1", [], None),
                                              ("GET", "/v1/responses?model=m-1", WEBSOCKET, None), ("GET", "/v1/realtime?model=m-1", WEBSOCKET, None)):
            answer = gateway.call(method, target, headers + harness.bearer(), body)
            assert (answer.status, asked(answer)) == (101 if headers is WEBSOCKET else 200, "b"), answer
        # An older spoe.conf tells neither method nor path.
        leg = re.search(r"set-var\(txn.llm_member\)  str\((.*)\)(?:(?!set-var\(txn.llm_member)[^$])*?concat\(:b\)", gateway.backends).group(1)
        with gateway.agent.client() as client:
            def lent(**more):
                return not client.ask({"id": "t-1", "member": leg, **more}, name="llm-member")["deny"]
            assert lent() and lent(method="POST", path="/v1/messages") and lent(method="GET", path="/v1/realtime", upgrade=1)
            for method, path, upgrade in (("GET", "/v1/files", 0), ("POST", "/v1/realtime", 0), ("POST", "/v1/../v1/messages", 0), ("POST", "/v1/files/%2e%2e", 0)):
                assert not lent(method=method, path=path, upgrade=upgrade), path


@pytest.mark.parametrize("change", ["a member more", "a member's credential", "the same members"])
def test_what_a_reload_changes_of_a_pool_counts_for_new_requests_only(haproxy, mocks, change):
    """A request that a member declines after the reload was decided on with the members of before. What its path, its headers and its query may go along with
    was decided with them too, so no member of the new process gets it, unless they are all the same."""
    def routes(names, more):
        members = pool(mocks, "m", names, more)["pool"]
        return [{"name": "files", "path_prefix": "/v1/files", "pool": members, "retry_on": [429]}, {"model_prefix": "*", "upstream": mocks["d"].url()}]
    released = {"a": {"paths": ["/v1/files"]}, "b": {"paths": ["/v1/files"]}}
    after = {"a member more": routes("abc", released), "a member's credential": routes("ab", {"a": released["a"], "b": {"auth": "env:C_m"}}), "the same members": routes("ab", released)}[change]
    variables = {"%s_m" % name.upper(): KEYS[name] for name in "abc"}
    with PoolGateway(haproxy, list(mocks.values()), {"routes": routes("ab", released)}, env=variables, owners={KEYS["c"]: [mocks["b"], mocks["c"]]}) as gateway:
        mocks["a"].delay, mocks["a"].respond = 3, declines(429, 1)
        mocks["b"].respond = declines(429, 1)
        held, tag = gateway.connect(), gateway.tag()
        held.send(wire.request("GET", "/v1/files/f1", [("Host", "x"), ("x-client-request-id", tag), *harness.bearer()]))
        until(lambda: gateway.seen(tag), 5, "a has the request")
        gateway.config["routes"] = after
        file = harness.write_config(gateway.dir, gateway.config, gateway.agent.file.name)
        gateway.agent.process.kill(signal.SIGHUP)
        gateway.agent.log("event=reloaded ")
        gateway.cfg.write_text(harness.without_cas(harness.gateway_config(harness.cli("backends", "-c", file, env=gateway.env).out)))
        before = reload(gateway)
        answer = held.read("GET")
        seen = "".join(request.mock.name for request in gateway.seen(tag))
        assert (answer.status, seen) == ((429, "ab") if change == "the same members" else (503, "a")), (answer, seen)
        if answer.status == 503:
            assert answer.json()["error"]["code"] == "upstream_unavailable", answer
        held.close()
        assert before.wait() == 0


def test_a_haproxy_with_other_members_than_the_agent(haproxy, mocks):
    """HAProxy's backends were made for other routes than the agent has. HAProxy sends nothing, not even with the clients' own credentials, to an upstream that
    the routes do not have any more, nor to a member whose name is another member's now. With backends for the agent's routes, requests are served again."""
    own = [{"name": name, "upstream": mocks[name].url()} for name in "abc"]
    with PoolGateway(haproxy, list(mocks.values()), {"routes": [pool(mocks, "m"), dict(pool(mocks, "own"), pool=own[:2])]}) as gateway:
        def change(routes):
            gateway.config["routes"] = routes
            harness.write_config(gateway.dir, gateway.config, gateway.agent.file.name)
            before = len(gateway.agent.lines("event=reloaded "))
            gateway.agent.process.kill(signal.SIGHUP)
            until(lambda: len(gateway.agent.lines("event=reloaded ")) > before, 5, "the reload")
        assert [asked(post(gateway, name)) for name in ("m", "own")] == ["a", "a"]
        members = pool(mocks, "m")["pool"]
        swapped = [dict(one, name=other["name"]) for one, other in zip(members, reversed(members))]
        change([dict(pool(mocks, "m"), pool=swapped), dict(pool(mocks, "own"), pool=own[2:])])
        for name in ("m", "own"):
            post(gateway, name).refused(503, "gateway_unavailable", retry=True)
        mocks["a"].respond = declines(429)
        change([pool(mocks, "m"), dict(pool(mocks, "own"), pool=own)])
        assert asked(post(gateway, "m")) == "ab" and asked(post(gateway, "own")) == "ab"


def test_requests_go_on_through_reloads(gateway, mocks):
    """No request fails while HAProxy and the agent reload, and the agent does not forget which members rest."""
    ends, statuses = threading.Event(), []

    def ask():
        while not ends.is_set():
            try:
                statuses.append(post(gateway).status)
            except (EOFError, ConnectionError):
                pass        # the request waited at the listener of the old HAProxy, which closed that
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        try:
            mocks["a"].respond = declines(429, 100)
            until(lambda: gateway.agent.lines("event=member_rests"), 5, "a rests")
            before = reload(gateway)
            until(lambda: not before.running(), 20, "the old HAProxy has ended")
            gateway.agent.process.kill(signal.SIGHUP)
            gateway.agent.log("event=reloaded ")
            had, more = len(mocks["a"].requests), len(statuses) + 30
            until(lambda: len(statuses) > more, 20, "more requests")
        finally:
            ends.set()
        for one in asking:
            one.result()
    assert set(statuses) == {200}, statuses
    assert len(mocks["a"].requests) == had


def explained(gateway, name):
    """Returns what /stats says of the member `name`."""
    return next(one for one in gateway.agent.http(path="/stats").json()["members"] if one["name"] == name)


def api(gateway, command):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(gateway.api)
        sock.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


def test_a_member_is_taken_out_by_hand(gateway, mocks):
    """An operator takes a member out by the runtime API: new requests go to the other one, and the member's streams go on to their end."""
    gate = mocks["a"].gate = threading.Event()
    connection = gateway.connect()
    body = harness.chat("m-1", stream=True)
    connection.send(wire.request("POST", "/v1/chat/completions", [("Host", "x"), ("Content-Type", "application/json")] + harness.bearer(), body))
    response = connection.head()
    pieces = connection.pieces(response, "POST")
    assert b"data: " in next(pieces)
    assert api(gateway, "set server pool.m/a state maint").strip() == ""
    answer = post(gateway)
    assert answer.status == 200
    gateway.served(answer, "b")
    gate.set()
    for _ in pieces:
        pass
    assert response.complete and b"[DONE]" in response.body
    connection.close()
    mocks["a"].gate = None
    api(gateway, "set server pool.m/a state ready")
    until(lambda: asked(post(gateway)) == "a", 10, "a is back")


def test_a_member_that_comes_back_begins_slowly(haproxy, mocks, work):
    """A member that comes back, after errors or after an operator took it out, first gets a small share. If it is the only one, it gets all requests. After
    a reload, all members have their whole shares."""
    def edit(text):
        return text.replace("global\n", "global\n    stats socket %s level admin mode 600\n" % (work / "api.sock"), 1)
    two = [pool(mocks, "lot", balance="weighted"), pool(mocks, "calm", balance="least")]
    with PoolGateway(haproxy, list(mocks.values()), {"routes": two}, edit=edit) as gateway:
        gateway.api = str(work / "api.sock")

        def stat(server, field):
            [row] = [row for row in csv.DictReader(io.StringIO(api(gateway, "show stat").lstrip("# "))) if row["pxname"] + "/" + row["svname"] == server]
            return row[field]

        def weight(name):
            return int(stat("weights.pool.%s/a" % name, "weight"))

        def served(name, requests):
            return "".join(asked(post(gateway, name)) for _ in range(requests))
        mocks["a"].respond = declines(500)
        until(lambda: served("lot", 5) and stat("pool.lot/a", "status") == "DOWN", 20, "a is passed over")
        mocks["a"].reset()
        assert api(gateway, "set server pool.lot/a health up").strip() == ""
        shares, now = served("lot", 80), weight("lot")
        assert shares.count("a") <= likely(80, now / (now + 256))[1] and now < 256, (shares, now)

        for state in ("maint", "ready"):
            assert api(gateway, "set server pool.calm/a state " + state).strip() == ""
            until(lambda: (stat("pool.calm/a", "status") == "MAINT") == (state == "maint"), 5, state)
        first = weight("calm")
        assert first < 256 and set(served("calm", 10)) == {"b"}
        for name in ("lot", "calm"):
            api(gateway, "set server pool.%s/b state maint" % name)
            assert set(served(name, 10)) == {"a"}
            api(gateway, "set server pool.%s/b state ready" % name)
        until(lambda: weight("calm") > first, 10, "a has more")

        before = reload(gateway)
        until(lambda: not before.running(), 20, "the old HAProxy has ended")
        assert weight("lot") == weight("calm") == 256
        api(gateway, "set weight weights.pool.lot/a 0")
        assert set(served("lot", 20)) == {"b"}


@pytest.mark.parametrize("way", ["h1", "h2c"])
def test_a_connection_that_was_used_ends_without_an_answer(gateway, mocks, way):
    """A member ends a connection without an answer, and all connections on the way to it have had requests before: then HAProxy alone would give no answer, and
    write no log line. The client gets a 502, and the log line names the member, and those that declined before it."""
    connection = http2.Connection(gateway.address, 20) if way == "h2c" else gateway.connect()
    until(lambda: asked(post(gateway)) == "a", 10, "a serves")
    assert asked(post(gateway, connection=connection)) == "a"
    mocks["a"].raw = b""
    answer = post(gateway, connection=connection)
    assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_error"), answer.response
    gateway.served(answer, "a")
    connection.close()

    connection = http2.Connection(gateway.address, 20) if way == "h2c" else gateway.connect()
    mocks["a"].reset()
    mocks["a"].respond = declines(429, 1)
    gateway.served(post(gateway, connection=connection), "b", "a:429")
    mocks["b"].raw = b""
    until(lambda: not explained(gateway, "a")["rest_s"], 5, "a is back")
    answer = post(gateway, connection=connection)
    assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_error"), answer.response
    gateway.served(answer, "b", "a:429")
    connection.close()


def test_members_die_and_come_back(gateway, mocks):
    """Members die under load, one after the other, so that one always lives. Each request gets its answer from one of them, except requests that a member had
    when it died."""
    ends, answers, lock = threading.Event(), [], threading.Lock()
    for mock in mocks.values():
        del mock.requests[:]

    def ask():
        while not ends.is_set():
            answer = post(gateway)
            with lock:
                answers.append(answer)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(ask) for _ in range(8)]
        try:
            for name in "abcabc":
                mocks[name].down()
                seen = len(answers)
                until(lambda: len(answers) > seen + 20, 20, "requests without " + name)
                mocks[name].up()
                until(lambda: re.search(r"(?m)^llm-%s-pool,upstream,(?:[^,]*,){15}UP" % mocks[name].authority, api(gateway, "show stat")), 20, name + " is up")
        finally:
            ends.set()
        for one in asking:
            one.result()
    failed = [one for one in answers if one.status != 200]
    # A member dies with the requests that it has, and with those on the way to it over a connection that was open.
    for one in failed:
        assert one.status == 502 and one.json()["error"]["code"] == "upstream_error", one.response
    assert len(failed) <= 6 * 8 and len(answers) > 150, (len(failed), len(answers))
    times = collections.Counter(request.header("x-client-request-id") for mock in mocks.values() for request in list(mock.requests))
    assert set(times.values()) == {1}, "a request that may have been run was sent again"
