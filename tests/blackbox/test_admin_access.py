"""Which clients get the admin server's answers. The attackers here: another user of the machine, a web page of another site, and a client
that never finishes its request."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import socket
import threading
import time

import pytest

import evidence
import harness
import spop
from adminserver import BODY, DATA, OPEN, POST, ROUTES, Events, admin, decide  # noqa: F401
from harness import cli, until


@pytest.mark.parametrize("source", ["env", "file"])
def test_token(work, admin, source):
    token = harness.secret("admin")
    if source == "file":
        (work / "token").write_text(token + "\n")
    agent = admin(token="env:ADMIN_TOKEN" if source == "env" else "file:%s/token" % work, env={"ADMIN_TOKEN": token})
    good = {"Authorization": "Bearer " + token}
    wrong = [None, {"Authorization": "Bearer "}, {"Authorization": "Bearer " + token[:-1]}, {"Authorization": "Bearer " + token + "x"},
             {"Authorization": "Bearer x" + token[1:]}, {"Authorization": "Basic " + token}, {"Authorization": token},
             {"Authorization": "Bearer " + "y" * 5000}, {"Cookie": token}]
    for path in DATA + ["/nothing"]:
        for headers in wrong:
            answer = agent.http(path=path, headers=headers)
            assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer"), (path, answer)
            assert set(answer.json()) == {"error"}, answer
        # The token does not count in the URL, because URLs end up in logs and in browsers' histories.
        assert agent.http(path=path + ("&" if "?" in path else "?") + "token=" + token).status == 401
    for headers in wrong:
        for path in ("/reload", "/explain"):
            assert agent.http("POST", path, dict(headers or {}, **POST), "{}").status == 401
    for path in DATA[:-1]:
        assert agent.http(path=path, headers=good).status == 200, path
    with Events(agent, good) as events:
        assert events.response.status == 200
    assert agent.http(path="/nothing", headers=good).status == 404
    assert agent.http("POST", "/reload", dict(good, **POST)).status == 200
    # Without the token a client learns whether the agent is well, but no details.
    for path in ("/livez", "/readyz"):
        assert all(one["detail"] == "" for one in agent.http(path=path).json()["checks"])
        assert any(one["detail"] for one in agent.http(path=path, headers=good).json()["checks"])
    for path in OPEN[2:]:
        assert agent.http(path=path).status == 200, path
    # With a token the Host may be any name, because DNS rebinding is harmless then: the attacker's page does not have the token.
    assert agent.http(path="/stats", headers=dict(good, Host="llm.example")).status == 200
    if source == "file":
        other = harness.secret("admin-2")
        (work / "token").write_text(other)
        assert agent.http(path="/stats", headers=good).status == 401
        assert agent.http(path="/stats", headers={"Authorization": "Bearer " + other}).status == 200

        def put(text):
            """Replaces the file at once: a file that is being written is empty for a moment."""
            (work / "token.new").write_text(text)
            (work / "token.new").rename(work / "token")
        # Each problem is logged once, however many requests meet it; and so is a token that can be used again.
        told = 0
        for text, new in (("", True), ("  \n", False), ("x" * 5000, True), (other + "\nx", True), (other + "\r\n\r\n" + other, False), (other + "\0x", False),
                          (None, True)):
            put(text) if text is not None else (work / "token").unlink()
            for _ in range(3):
                assert agent.http(path="/stats", headers={"Authorization": "Bearer " + re.split("[\n\r\0]", (text or "").strip())[0][:4000]}).status == 401
            told += new
            assert len(agent.lines("event=admin_token_missing option=admin_token source=file:.*/token problem=")) == told, text
        put(token)
        assert agent.http(path="/stats", headers=good).status == 200
        assert len(agent.lines("event=admin_token_read option=admin_token source=file:")) == 3


def test_token_that_is_not_there_lets_nobody_in(admin):
    agent = admin(token="env:NOT_SET")
    for value in ("", "NOT_SET", "null", "undefined"):
        assert agent.http(path="/stats", headers={"Authorization": "Bearer " + value}).status == 401
    assert agent.http(path="/livez").status == 200


VIEWER_SAID = {True: "this needs the admin_token; the viewer_token only lets read",
               False: "this needs an admin_token, and none is configured; the viewer_token only lets read"}


@pytest.mark.parametrize("with_admin", [True, False])
def test_viewer_token(work, admin, with_admin):
    """The viewer token reads everything, and neither explains nor reloads, by whatever method and headers; not even if there is no admin token."""
    viewer, whole = harness.secret("viewer"), harness.secret("admin")
    (work / "viewer").write_text(viewer + "\n")
    more = {"admin_token": "env:WHOLE"} if with_admin else {}
    agent = admin(entries=5, env={"WHOLE": whole}, viewer_token="file:%s/viewer" % work, **more)
    good, best = {"Authorization": "Bearer " + viewer}, {"Authorization": "Bearer " + whole}
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer " + viewer[:-1]}, {"Authorization": "Bearer " + viewer + whole}, {"Cookie": viewer}):
        for method, path in [("GET", path) for path in DATA] + [("POST", "/reload"), ("POST", "/explain")]:
            assert agent.http(method, path, dict(headers, **POST), "{}" if method == "POST" else None).status == 401, (path, headers)
    assert "this needs" not in agent.http("POST", "/reload", POST, "").text
    for path in ("/metrics", "/stats", "/savings", "/stats-history", "/operation"):
        assert agent.http(path=path, headers=good).status == 200, path
    request = "/request?id=" + agent.http(path="/requests", headers=good).json()["rows"][0]["id"]
    assert agent.http(path=request, headers=good).json()["route"] is None
    assert agent.http(path="/stats", headers=good).json()["role"] == "viewer"
    assert any(one["detail"] for one in agent.http(path="/readyz", headers=good).json()["checks"])
    with Events(agent, good) as events:
        assert json.loads(next(one["data"] for one in iter(events.next, None) if one.get("event") == "stats"))["role"] == "viewer"
    reloads = len(agent.lines("event=reloaded"))
    for method, path, headers in (("POST", "/reload", POST), ("POST", "/explain", POST), ("GET", "/explain?model=m", {}), ("HEAD", "/explain?model=m", {}),
                                  ("GET", "/explain?model=m", {"X-HTTP-Method-Override": "POST"}), ("POST", "/reload", {}),
                                  ("POST", "/reload", dict(POST, **{"X-Authorization": "Bearer " + whole, "Proxy-Authorization": "Bearer " + whole}))):
        answer = agent.http(method, path, dict(good, **headers), "{}" if method == "POST" else None)
        assert answer.status == 403 and (method == "HEAD" or answer.json() == {"error": VIEWER_SAID[with_admin]}), (method, path, answer)
    # Two Authorization headers, the viewer's and the admin's, do not add up: the request is refused.
    both = raw(agent, b"POST /reload HTTP/1.1\r\nHost: %s\r\nX-Requested-With: spoa-llm\r\nContent-Length: 0\r\nConnection: close\r\n"
               b"Authorization: Bearer %s\r\nAuthorization: Bearer %s\r\n\r\n" % (agent.admin.encode(), viewer.encode(), whole.encode()))
    assert both.split(b" ")[1] in (b"400", b"401", b"403"), both
    assert len(agent.lines("event=reloaded")) == reloads
    answer = agent.http("POST", "/reload", dict(best, **POST))
    assert answer.status == (200 if with_admin else 401)
    if with_admin:
        assert agent.http(path="/stats", headers=best).json()["role"] == "admin"
        assert agent.http(path="/explain?model=m", headers=best).status == 200
        assert "deny" in agent.http(path=request, headers=best).json()["route"]
        # Whoever gave the admin's token to viewers made it a viewer's.
        (work / "viewer").write_text(whole)
        assert agent.http(path="/stats", headers=good).status == 401
        assert agent.http(path="/stats", headers=best).json()["role"] == "viewer"
        assert agent.http("POST", "/reload", dict(best, **POST)).status == 403
    (work / "viewer").unlink()
    assert agent.http(path="/stats", headers=good).status == 401
    assert agent.log("event=admin_token_missing option=viewer_token source=file:")


def test_without_a_token_all_is_allowed(admin):
    agent = admin()
    assert agent.http(path="/stats").json()["role"] == "admin"
    assert agent.http(path="/explain?model=m").status == 200 and agent.http("POST", "/reload", POST).status == 200


def test_a_rotated_token_is_logged_before_anybody_asks(work, admin):
    (work / "viewer").write_text(harness.secret("viewer"))
    agent = admin(viewer_token="file:%s/viewer" % work)
    until(lambda: len(agent.lines("event=admin_token_read option=viewer_token")) == 1, 10, "the first token is read")
    (work / "viewer").write_text(harness.secret("viewer-2"))
    until(lambda: len(agent.lines("event=admin_token_read option=viewer_token")) == 2, 10, "the second token is read")
    (work / "viewer").write_text("")
    until(lambda: agent.lines("event=admin_token_missing option=viewer_token .*problem=.it is empty"), 10, "it is missing")


@pytest.mark.parametrize("which", ["viewer_token", "admin_token"])
def test_a_stream_of_events_ends_with_its_token(work, admin, which):
    """Whoever was let in by a token learns nothing more once the token is no longer in use: the stream ends within seconds."""
    old, new = harness.secret("old"), harness.secret("new")
    (work / "token").write_text(old)
    agent = admin(**{which: "file:%s/token" % work})
    with Events(agent, {"Authorization": "Bearer " + old}) as events:
        assert next(one for one in iter(events.next, None) if one.get("event") == "stats")
        (work / "token").write_text(new)
        ends = time.monotonic() + 9
        while events.response.readline():
            assert time.monotonic() < ends, "it goes on"
    with Events(agent, {"Authorization": "Bearer " + new}) as events:
        assert next(one for one in iter(events.next, None) if one.get("event") == "stats")


def test_beyond_loopback_needs_a_token(work):
    for more in ({}, {"allow_remote": True}, {"admin_token": "env:T"}, {"viewer_token": "env:T"}):
        config = dict({"listen": "unix@%s/a.sock" % work, "admin_listen": "0.0.0.0:%d" % harness.free_port()}, **more)
        done = cli("run", "-c", harness.write_config(work, config), env={"SPOA_LLM_ADMIN_LISTEN": ""})
        assert done.code == 78, (more, done)


def test_dns_rebinding(admin):
    agent = admin()
    port = agent.admin.split(":")[1]
    for host in ("localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port, "LOCALHOST:" + port):
        assert agent.http(path="/stats", headers={"Host": host}).status == 200, host
    for host in ("evil.example", "evil.example:" + port, "localhost", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:" + port,
                 "localhost.evil.example:" + port, "0.0.0.0:" + port, "", "evil.example@127.0.0.1:" + port, "127.0.0.1:%s0" % port):
        for path in DATA + OPEN:
            answer = agent.http(path=path, headers={"Host": host})
            assert answer.status in (400, 421) and "requests" not in answer.text, (host, path, answer)
    for more in ("cross-site", "same-site"):
        assert agent.http(path="/savings", headers={"Sec-Fetch-Site": more}).status == 403
    assert agent.http(path="/stats", headers={"Sec-Fetch-Site": "same-origin"}).status == 200
    with spop.connect(agent.admin, 10) as sock:
        sock.sendall(b"GET /stats HTTP/1.1\r\nHost: %s\r\nHost: evil.test\r\n\r\n" % agent.admin.encode())
        assert sock.recv(65536).split(b" ")[1] == b"400"
    assert raw(agent, b"GET /stats HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")
    # A health check by HTTP/1.0 needs no Host, because no browser speaks HTTP/1.0.
    assert raw(agent, b"GET /livez HTTP/1.0\r\n\r\n").split(b" ", 2)[1] == b"200"


def test_cross_site_requests(admin):
    agent = admin()
    port = agent.admin.split(":")[1]
    plain = [{}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Origin": "http://" + agent.admin},
             {"X-Requested-With": "XMLHttpRequest"},
             dict(POST, Origin="http://evil.example"), dict(POST, Origin="null"), dict(POST, Origin="http://localhost:1"),
             dict(POST, Origin="http://%s.evil.example" % agent.admin), dict(POST, Origin="file://"), dict(POST, Origin="")]
    for headers in plain:
        for path, body in (("/reload", ""), ("/explain", "{}")):
            answer = agent.http("POST", path, headers, body)
            assert answer.status == 403, (headers, answer)
    assert agent.http(path="/stats").json()["reloads"] == 0
    assert agent.http("POST", "/reload", dict(POST, Origin="http://" + agent.admin)).status == 200
    # No answer lets another origin read it, whether or not the request is a preflight.
    for method, path in (("GET", "/stats"), ("OPTIONS", "/reload"), ("OPTIONS", "/stats"), ("POST", "/reload")):
        answer = agent.http(method, path, {"Origin": "http://localhost:" + port, "Access-Control-Request-Method": "POST",
                                           "Access-Control-Request-Headers": "x-requested-with"})
        assert not any(name.startswith("access-control") for name in answer.headers), answer
        assert answer.headers["cross-origin-resource-policy"] == "same-origin" or answer.status >= 400
    for method, path, allowed in (("OPTIONS", "/stats", "GET, HEAD"), ("GET", "/reload", "POST"), ("DELETE", "/explain", "GET, HEAD, POST"),
                                  ("POST", "/savings", "GET, HEAD"), ("PUT", "/", "GET, HEAD"), ("TRACE", "/stats", "GET, HEAD"),
                                  ("BREW", "/stats", "GET, HEAD")):
        answer = agent.http(method, path, POST)
        assert (answer.status, answer.headers.get("allow")) == (405, allowed), (method, path, answer)


def raw(agent, data, seconds=10.0, shut=False):
    """Sends `data` and returns the answer: at least its head, and all of it if the server closes the connection after it. `shut`: ends the
    sending direction after `data`."""
    with spop.connect(agent.admin, seconds) as sock:
        sock.sendall(data)
        out = b""
        try:
            if shut:
                sock.shutdown(socket.SHUT_WR)
            while len(out) < 1 << 20:
                piece = sock.recv(65536)
                if not piece:
                    break
                out += piece
                if b"Content-Length: 0" in out or b"Connection: close" not in out and b"\r\n\r\n" in out:
                    break
        except OSError:
            pass    # the admin server may have closed the connection already
        evidence.search(out, "an answer of the admin server")
        return out


def test_paths_lead_nowhere_else(admin):
    agent = admin()
    secret = pathlib.Path(agent.file).read_text()
    for path in ("/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/dashboard.js/../../../etc/passwd", "//stats",
                 "/stats/", "/./stats", "/%73tats", "/stats%00", "/stats%00.js", "/dashboard.js%00", "/page/index.html", "/index.html",
                 "/STATS", "/stats;x=1", "/" + "a" * 300, "/..\\..\\x", "*", "http://127.0.0.1/stats", "/stats#x"):
        answer = agent.http(path=path)
        assert answer.status in (400, 404), (path, answer)
        assert "root:" not in answer.text and secret[:40] not in answer.text


def test_oversized_requests(admin):
    agent = admin()
    assert agent.http("POST", "/explain", POST, b"x" * (64 << 10)).status == 400  # the largest body that is read; it is no JSON
    assert agent.http("POST", "/explain", POST, b"x" * ((64 << 10) + 1)).status == 413
    head = b"POST /explain HTTP/1.1\r\nHost: %s\r\nX-Requested-With: spoa-llm\r\n" % agent.admin.encode()
    assert b" 413 " in raw(agent, head + b"Content-Length: 99999999999\r\n\r\n")[:20]
    assert b" 413 " in raw(agent, head + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
                           + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 5 + b"0\r\n\r\n")[:20]
    for data in (b"GET /stats HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100000 + b"\r\n\r\n", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                 b"GET /stats HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100,
                 b"\0" * 5000, b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /stats HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                 b"GET /savings?" + b"since=all&" * 2000 + b" HTTP/1.1\r\nHost: %s\r\n\r\n" % agent.admin.encode()):
        answer = raw(agent, data, 3, shut=True)
        assert not answer.startswith(b"HTTP/1.1 200") or b"GET /savings" in data, (data[:40], answer[:200])
    # libmicrohttpd finds a second error in these, and then says no word of their end: LeakSanitizer would tell what was left.
    for _ in range(3):
        with spop.connect(agent.admin, 3) as sock:
            sock.sendall(b"GET /savings?" + b"since=all&" * 3000 + b" HTTP/1.1\r\n")
            time.sleep(0.05)
            with contextlib.suppress(OSError):
                sock.sendall(b"A: " + b"b" * 100000)
                sock.recv(1)
    assert agent.http(path="/livez").status == 200
    assert agent.rss() < 200 << 20


def test_slow_requests_end(admin):
    """A byte now and then keeps libmicrohttpd's own timeout from firing, but the whole request has a timeout too."""
    agent = admin()
    began = time.monotonic()
    with spop.connect(agent.admin, 5) as sock:
        sock.sendall(b"GET /stats HTTP/1.1\r\nHost: ")
        sock.settimeout(1)
        ended = None
        while time.monotonic() - began < 40 and ended is None:
            try:
                sock.sendall(b"x")
                if sock.recv(1024) == b"":
                    ended = time.monotonic() - began
            except socket.timeout:
                pass
            except OSError:
                ended = time.monotonic() - began
        assert ended and 15 < ended < 30, ended
    assert agent.http(path="/livez").status == 200


def test_a_thousand_idle_connections(admin):
    agent = admin()
    idle, before = [], agent.descriptors()
    took, stop = [], threading.Event()

    def ask():
        with agent.client() as client:
            while not stop.is_set():
                began = time.monotonic()
                client.ask(id="i", method="POST", path="/v1/chat/completions", ctype="application/json", body=BODY % b"m",
                           buffered=40, length=40)
                took.append(time.monotonic() - began)
                time.sleep(.002)
    thread = threading.Thread(target=ask)
    thread.start()
    host, port = agent.admin.split(":")
    try:
        for _ in range(1000):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((host, int(port)))
            idle.append(sock)
        most, end = 0, time.monotonic() + 5
        while time.monotonic() < end:
            most = max(most, agent.descriptors())
            time.sleep(.05)
        # The admin server accepts 64 connections at a time and closes the idle ones, so a client with a request gets its turn.
        assert agent.http(path="/livez", timeout=60).status == 200
    finally:
        stop.set()
        thread.join()
        for sock in idle:
            sock.close()
    assert most - before <= 64 + 8, (before, most)
    took.sort()
    assert len(took) > 200 and took[int(len(took) * .99)] < .1 * harness.SLOW, (len(took), took[-5:])
    until(lambda: agent.descriptors() <= before + 4, 15, lambda: "descriptors: %d before, %d now" % (before, agent.descriptors()))


def test_health_while_the_database_is_slow(work, admin):
    """Requests that read the database wait for it on threads of their own, so they hold up no other request."""
    agent = admin(entries=50)
    # SQLite opens this file when it opens the database. Nobody writes into the pipe, so SQLite waits, as it would for a disk that hangs.
    pipe = agent.home / "ledger.db-journal"
    os.mkfifo(pipe)
    asked = [threading.Thread(target=hang, args=(agent,), daemon=True) for _ in range(6)]
    try:
        for thread in asked:
            thread.start()
        time.sleep(.3 * harness.SLOW)
        for path in ("/livez", "/metrics", "/stats"):
            began = time.monotonic()
            assert agent.http(path=path).status == 200
            assert time.monotonic() - began < 1 * harness.SLOW, path
        assert decide(agent)
        # What explains and reloads does not wait behind them.
        assert agent.http(path="/explain?model=m").status == 200 and agent.http("POST", "/reload", POST).status == 200
        assert all(thread.is_alive() for thread in asked), "a request for /savings did not wait, so this test shows nothing"
    finally:
        end = os.open(pipe, os.O_RDWR)
        pipe.unlink()
        os.close(end)


def test_lists_hold_up_no_single_request(work, admin):
    """As many lists as may wait do, behind one that hangs; one request is a question of another kind, for which there is room."""
    agent = admin(entries=50)
    pipe = agent.home / "ledger.db-journal"
    os.mkfifo(pipe)
    pool = concurrent.futures.ThreadPoolExecutor(21)
    asked = [pool.submit(agent.http, path="/requests?limit=1", timeout=60) for _ in range(20)]
    try:
        refused = concurrent.futures.wait(asked, 20, concurrent.futures.FIRST_COMPLETED).done
        assert refused and all("too many requests wait" in one.result().text for one in refused)
        single = pool.submit(agent.http, path="/request?id=none", timeout=60)
        concurrent.futures.wait([single], 1)    # it is refused at once, or waits for the database
    finally:
        end = os.open(pipe, os.O_RDWR)
        pipe.unlink()
        os.close(end)
        pool.shutdown()
    assert "too many requests wait" not in single.result().text


def hang(agent):
    try:
        agent.http(path="/savings?since=all", timeout=60)
    except OSError:
        pass


def test_stops_with_clients_of_all_kinds(admin):
    agent = admin()
    with Events(agent) as events, spop.connect(agent.admin, 5) as idle, spop.connect(agent.admin, 5) as half:
        assert events.response.status == 200
        half.sendall(b"GET /sta")
        began = time.monotonic()
        agent.process.kill(15)
        agent.process.wait(5)
        assert time.monotonic() - began < 4 * harness.SLOW
        assert idle


def test_nothing_secret_anywhere(work, admin):
    """The harness searches every answer of these tests for credentials. This agent has everything that an answer could show: a token, each
    source of a credential, routes without one, refusals, and a reload that failed."""
    token, key = harness.secret("admin"), harness.secret("file-key")
    (work / "key").write_text(key)
    routes = ROUTES[:1] + [{"model_prefix": "f-", "upstream": "https://u.example", "auth": "file:%s/key" % work}] + ROUTES[1:]
    agent = admin(entries=100, token="env:ADMIN_TOKEN", env={"ADMIN_TOKEN": token}, routes=routes)
    for model in ("glm-1", "f-1", "gone-1", "m", harness.secret("client")[:0] + "x"):
        decide(agent, model)
    good = {"Authorization": "Bearer " + token}
    agent.file.write_text('{"routes": [{"model_prefix": "a", "auth": "env:A", "upstream": "https://u:%s@x"}]}' % harness.secret("url"))
    for path in DATA[:-1] + OPEN + ["/explain?model=glm-1", "/explain?model=f-1", "/stats-history?format=csv", "/savings?format=csv"]:
        assert agent.http(path=path, headers=good).status == 200, path
    assert agent.http("POST", "/reload", dict(good, **POST)).status == 422
    with Events(agent, good) as events:
        for _ in range(3):
            assert not harness.leaks(json.dumps(events.next()))
    assert re.search(r'"auth":"file:', agent.http(path="/stats", headers=good).text)
