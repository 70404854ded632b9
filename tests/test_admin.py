"""The admin server: what each endpoint gives, and who gets it. Attacked as a neighbour on the machine, a web page elsewhere, and a
client that never comes to the end would."""
import csv
import http.client
import io
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

import pytest

import evidence
import harness
import loglines
import spop
from harness import cli, until
from loglines import DAY, Maker

POST = {"X-Requested-With": "spoa-llm"}
DATA = ["/metrics", "/stats", "/savings", "/stats-history", "/explain?model=m", "/events"]
PAGE = {"/": "text/html", "/dashboard.css": "text/css",
        **dict.fromkeys(["/dashboard.js", "/plots.js", "/report.js", "/figures.js", "/chart.js"], "text/javascript")}
OPEN = ["/livez", "/readyz", *PAGE]
ROUTES = [{"model_prefix": "glm-", "upstream": "https://ollama.com", "auth": "env:GLM_KEY"},
          {"model_prefix": "gone-", "upstream": "https://gone.example", "auth": "file:/nonexistent/key"},
          {"model_prefix": "*"}]
BODY = b'{"model":"%s","messages":[]}'


@pytest.fixture
def admin(work, agents):
    """start(**config): an agent with a ledger whose admin server is on TCP, with credentials to look for."""
    def start(entries=0, token=None, env=None, **config):
        home = work / "ledger"
        home.mkdir(exist_ok=True)
        (work / "prices.json").write_text(json.dumps(loglines.PRICES))
        log = "127.0.0.1:%d" % harness.free_port()
        config = dict({"admin_listen": "127.0.0.1:%d" % harness.free_port(), "routes": ROUTES, "ledger": str(home),
                       "prices": str(work / "prices.json"), "log_listen": ["udp@" + log], "threads": 2}, **config)
        env = dict({"GLM_KEY": harness.secret("glm"), "SPOA_LLM_LOG_KEY": harness.secret("log-key")}, **(env or {}))
        if token:
            config["admin_token"] = token
        if entries:
            made = Maker(seed=5, span_ms=40 * DAY).make(entries)
            (work / "log").write_text("".join(entry.line + "\n" for entry in made))
            done = cli("ledger", "import", work / "log", "-c", harness.write_config(work, config, "import.json"), env=env)
            assert done.code == 0, done
        agent = agents(config, env=env)
        agent.env, agent.home, agent.log_address = env, home, log
        until(lambda: harness.ledger_made(home) and harness.accepting(agent.admin), 5, "ledger and admin server are there")
        return agent
    return start


def decide(agent, model="m"):
    return agent.ask(id="i", method="POST", path="/v1/chat/completions", ctype="application/json",
                     body=BODY % model.encode(), buffered=40, length=40)


# ---- what there is


def test_health(admin):
    agent = admin()
    answer = agent.http(path="/livez")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json", answer
    live = answer.json()
    assert live["status"] == "ok" and set(live) == {"status", "checks"}, live
    checks = {one["part"]: one for one in live["checks"]}
    assert set(checks) == {"workers", "routes", "credentials", "reload", "draining", "ledger", "journal", "log_lines"}
    assert all(set(one) == {"part", "ok", "blocking", "detail"} for one in live["checks"]), live
    assert {part for part, one in checks.items() if one["blocking"]} == {"workers", "draining"}
    assert [part for part, one in checks.items() if not one["ok"]] == ["credentials"], live
    assert "gone-" in checks["credentials"]["detail"] and "1 of 2" in checks["credentials"]["detail"]
    assert agent.http(path="/readyz").json()["status"] == "ok"
    assert agent.http("HEAD", "/readyz").status == 200


def test_ready_says_no_while_draining(admin):
    agent = admin(drain_timeout=3)
    with agent.client():  # keeps it from ending at once
        agent.process.kill(10)  # SIGUSR1
        answer = until(lambda: (lambda a: a if a.status == 503 else None)(agent.http(path="/readyz")), 5, "503")
        assert [one["part"] for one in answer.json()["checks"] if one["blocking"] and not one["ok"]] == ["draining"], answer
        assert agent.http(path="/livez").status == 200
    agent.process.wait(15)


def test_stats_follow_what_happens(admin):
    agent = admin()
    with agent.client() as client:
        for _ in range(30):
            client.ask(id="ok", method="POST", path="/v1/chat/completions", ctype="application/json", body=BODY % b"m",
                       buffered=40, length=40)
        client.ask(id="no", method="POST", path="/v1/chat/completions", ctype="application/json", body=BODY % b"gone-1",
                   buffered=40, length=40)
        stats = until(lambda: (lambda s: s if s["now"]["requests_per_s"] > 0 else None)(agent.http(path="/stats").json()), 5,
                      "a sample after the requests")
        assert stats["connections"] == 1
    assert stats["requests"] == 31 and stats["refused"] == 1, stats
    assert stats["refusals_by_code"]["upstream_auth_unavailable"] == 1 and sum(stats["refusals_by_code"].values()) == 1
    note = stats["refusals"][0]
    assert set(note) == {"time", "status", "code", "id", "route", "model", "problem"}
    assert (note["id"], note["model"], note["route"], note["status"]) == ("no", "gone-1", "gone-", 502), note
    assert abs(note["time"] / 1000 - time.time()) < 60
    routes = {route["name"]: route for route in stats["routes"]}
    assert routes["*"]["decisions"] == {"passthrough": 30, "replace": 0, "refused": 0}
    assert routes["gone-"]["decisions"] == {"passthrough": 0, "replace": 0, "refused": 1}
    assert routes["gone-"]["usable"] is False and routes["glm-"]["usable"] is True and routes["glm-"]["auth"] == "env:GLM_KEY"
    assert sum(thread["decisions"] for thread in stats["threads"]) == 31 and len(stats["threads"]) == 2
    assert stats["now"]["latency_us"]["p50"] > 0 and stats["now"]["latency_us"]["p99"] >= stats["now"]["latency_us"]["p50"]
    assert sum(point["requests_per_s"] for point in stats["rate_history"]) > 0 and len(stats["rate_history"]) <= 120
    assert stats["ready"] is True and stats["ledger"]["state"] == "ok" and stats["ledger_version"] == 0


def test_savings_are_what_the_command_prints(admin):
    agent = admin(entries=400)
    for query, flags in [("", []), ("since=all&by=route", ["--since", "all", "--by", "route"]),
                         ("since=2026-01-01&until=2030-01-01&by=day", ["--since", "2026-01-01", "--until", "2030-01-01", "--by", "day"]),
                         ("since=7d&by=project", ["--since", "7d", "--by", "project"])]:
        for form in ("json", "csv"):
            answer = agent.http(path="/savings?%s&format=%s" % (query, form))
            run = harness.run("savings", "--" + form, "--ledger", agent.home, *flags, timeout=30)
            assert run.returncode == 0 and answer.status == 200, (run, answer)
            assert answer.body == run.stdout, (query, form)
            assert len(answer.body.splitlines()) > 3
    assert agent.http(path="/savings?by=nothing").status == 400
    assert "by" in agent.http(path="/savings?by=nothing").json()["error"]
    assert agent.http(path="/savings?since=never").status == 400
    assert agent.http(path="/savings?format=xml").status == 400
    assert agent.http(path="/savings?since=all%00x").status == 400


HISTORY = ["timestamp", "provider", "model", "total_tokens_saved", "compression_savings_usd", "total_input_tokens",
           "total_input_cost_usd"]
SERIES = ["timestamp", "tokens_saved", "compression_savings_usd_delta", "total_tokens_saved", "compression_savings_usd",
          "total_input_tokens_delta", "total_input_tokens", "total_input_cost_usd_delta", "total_input_cost_usd"]
FIGURES = {"requests", "tokens_saved", "compression_savings_usd", "total_input_tokens", "total_input_cost_usd"}
LATER = {"cache_read_tokens", "cache_savings_usd"}  # of a later schema


def rollup(history, key):
    """Headroom's own rule, from the history."""
    out, before = {}, (0, 0.0, 0, 0.0)
    for point in history:
        now = tuple(point[name] for name in HISTORY[3:])
        row = out.setdefault(key(point["timestamp"]), [0, 0.0, 0, 0.0, None])
        for i in range(4):
            row[i] += now[i] - before[i]
        row[4] = before = now
    return out


def test_stats_history_has_headroom_s_shape(admin):
    agent = admin(entries=600)
    answer = agent.http(path="/stats-history")
    document = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert set(document) == {"schema_version", "generated_at", "storage_path", "lifetime", "display_session",
                             "display_session_policy", "history", "series", "exports", "retention", "history_summary"}
    assert document["schema_version"] == 3
    assert set(document["lifetime"]) == FIGURES | LATER
    assert set(document["display_session"]) == FIGURES | LATER | {"savings_percent", "started_at", "last_activity_at"}
    assert document["history"] and all(set(point) == set(HISTORY) | LATER for point in document["history"])
    # The same figures as the file that `ledger headroom` writes.
    done = cli("ledger", "headroom", "-c", agent.file, env=agent.env)
    own = json.loads(done.out)
    for part in ("lifetime", "display_session", "history"):
        assert document[part] == own[part], part
    series = document["series"]
    assert list(series) == ["hourly", "daily", "weekly", "monthly"]
    assert all(set(row) == set(SERIES) for rows in series.values() for row in rows)

    def monday(stamp):
        then = time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")
        return time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(loglines_seconds(stamp) - then.tm_wday * 86400))
    keys = {"daily": lambda t: t[:10] + "T00:00:00Z", "weekly": monday, "monthly": lambda t: t[:7] + "-01T00:00:00Z"}
    for name, key in keys.items():
        want = rollup(document["history"], key)
        assert [row["timestamp"] for row in series[name]] == list(want), name
        for row in series[name]:
            wanted = want[row["timestamp"]]
            for i, field in enumerate(("tokens_saved", "compression_savings_usd_delta", "total_input_tokens_delta",
                                       "total_input_cost_usd_delta")):
                assert row[field] == pytest.approx(wanted[i], abs=1e-5), (name, row)
            assert tuple(row[field] for field in HISTORY[3:]) == wanted[4], (name, row)
    assert len(series["daily"]) > 20 and len(series["weekly"]) >= 5 and len(series["monthly"]) >= 2
    hours = series["hourly"]
    assert hours and hours[0]["timestamp"] >= time.strftime("%Y-%m-%dT00", time.gmtime(time.time() - 7 * 86400))
    assert all(row["timestamp"][13:] == ":00:00Z" for row in hours)
    # CSV: the same, one series at a time.
    for name in ("history", "hourly", "daily", "weekly", "monthly"):
        answer = agent.http(path="/stats-history?format=csv&series=" + name)
        assert answer.headers["content-type"].startswith("text/csv"), answer
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        columns = HISTORY if name == "history" else SERIES
        assert answer.text.splitlines()[0] == ",".join(columns)
        wanted = document["history"] if name == "history" else series[name]
        assert len(rows) == len(wanted)
        for row, want in zip(rows, wanted):
            for column in columns:
                same = row[column] == want[column] if isinstance(want[column], str) else float(row[column]) == want[column]
                assert same, (name, column, row, want)
    assert agent.http(path="/stats-history?format=csv").text == agent.http(path="/stats-history?format=csv&series=history").text
    assert agent.http(path="/stats-history?series=yearly").status == 400


def loglines_seconds(stamp):
    import calendar
    return calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))


def test_explain(admin):
    agent = admin()
    said = agent.http(path="/explain?model=glm-4.6&path=/v1/messages").json()
    done = cli("explain", "--json", "-c", agent.file, "--model", "glm-4.6", "--path", "/v1/messages", env=agent.env)
    assert said == json.loads(done.out) and said["set"] == {"authorization": "Bearer <env:GLM_KEY>"}, said
    question = {"path": "/v1/messages?beta=true", "method": "POST", "headers": ["x-api-key: " + harness.secret("client"), "a: b"],
                "body": '{"messages":[],"model":"gone-2"}'}
    said = agent.http("POST", "/explain", POST, json.dumps(question)).json()
    assert (said["deny"], said["code"], said["model"]) == (True, "upstream_auth_unavailable", "gone-2"), said
    said = agent.http(path="/explain?path=/v1/models&header=anthropic-version:%201&header=x:y").json()
    assert said["protocol"] == "anthropic" and said["route"] == "legacy", said
    for wrong in ("", "[]", "{", '{"model":1}', '{"file":"/etc/passwd"}', '{"headers":["no colon"]}', '{"model":"a\\u0000b"}',
                  '{"model":"a"} x', "[" * 5000, '{"model":"m","body":"{}"}', json.dumps({"headers": ["a: b"] * 65})):
        assert agent.http("POST", "/explain", POST, wrong).status == 400, wrong
    # `body` is the body, and never a file that is read.
    said = agent.http("POST", "/explain", POST, json.dumps({"body": str(agent.file)})).json()
    assert said["looked"] == len(str(agent.file)), said


def test_reload(admin):
    agent = admin()
    config = dict(agent.config, routes=ROUTES + [{"model_prefix": "x-"}])
    agent.file.write_text(json.dumps(config))
    answer = agent.http("POST", "/reload", POST)
    assert (answer.status, answer.json()) == (200, {"reloaded": True, "routes": 4}), answer
    agent.file.write_text("{ nonsense")
    answer = agent.http("POST", "/reload", POST)
    assert answer.status == 422 and "JSON" in answer.json()["error"], answer
    stats = agent.http(path="/stats").json()
    assert (stats["reloads"], stats["reloads_failed"], len(stats["routes"])) == (1, 1, 4)
    assert [one["part"] for one in agent.http(path="/readyz").json()["checks"] if not one["ok"]] == ["credentials", "reload"]
    agent.file.write_text(json.dumps(config))
    with harness_threads([lambda: agent.http("POST", "/reload", POST).status] * 6) as results:
        assert results() == [200] * 6


class harness_threads:
    """Runs functions at one time; calling it gives what they returned."""

    def __init__(self, functions):
        self.results = [None] * len(functions)
        self.threads = [threading.Thread(target=self.run, args=(i, f)) for i, f in enumerate(functions)]

    def run(self, i, function):
        self.results[i] = function()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self.wait

    def wait(self):
        for thread in self.threads:
            thread.join(30)
        return self.results

    def __exit__(self, *_):
        self.wait()


class Events:
    """Reads /events, unchunked."""

    def __init__(self, agent, headers=None):
        self.connection = http.client.HTTPConnection("localhost", timeout=10)
        self.connection.sock = spop.connect(agent.admin, 10)
        self.connection.request("GET", "/events", headers=dict({"Host": agent.admin}, **(headers or {})))
        self.response = self.connection.getresponse()

    def next(self):
        fields = {}
        while True:
            line = self.response.readline().decode().rstrip("\n")
            evidence.search(line, "an event of the admin server")
            if not line and fields:
                return fields
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.sock and self.connection.sock.close()
        self.connection.close()


def test_events(admin):
    agent = admin()
    with Events(agent) as events:
        assert events.response.status == 200
        assert events.response.getheader("content-type") == "text/event-stream"
        assert events.next() == {"retry": "2000"}
        first = events.next()
        assert first["event"] == "stats" and json.loads(first["data"])["requests"] == 0
        assert events.next() == {"event": "ledger", "data": '{"ledger_version":0}'}
        decide(agent)
        began = time.monotonic()
        while json.loads(events.next()["data"]).get("requests") != 1:
            assert time.monotonic() - began < 5
        # Something is stored: the dashboard has to hear of it.
        line = harness.log_line(Maker(seed=3).one().fields, agent.env["SPOA_LLM_LOG_KEY"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            host, port = agent.log_address.split(":")
            sock.sendto(line, (host, int(port)))
        began, seen = time.monotonic(), None
        while not seen:
            event = events.next()
            seen = event["event"] == "ledger" and json.loads(event["data"])["ledger_version"] >= 1
            assert time.monotonic() - began < 8


def test_events_are_limited_and_slow_readers_hold_up_nobody(admin):
    agent = admin()
    opened = []
    try:
        for _ in range(16):
            opened.append(Events(agent))
            assert opened[-1].response.status == 200
        assert agent.http(path="/events").status == 503
        assert agent.http(path="/livez").status == 200
        time.sleep(3)  # nobody reads
        assert agent.http(path="/stats").status == 200
        until(lambda: opened[0].next().get("event") == "stats", 5, "events go on")
    finally:
        for events in opened:
            events.__exit__()
    until(lambda: not is_full(agent), 10, "there is room again")


def is_full(agent):
    with Events(agent) as events:
        return events.response.status == 503


def test_page(admin):
    agent = admin()
    for path, kind in PAGE.items():
        answer = agent.http(path=path)
        assert answer.status == 200 and answer.headers["content-type"].startswith(kind), answer
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'") and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "form-action 'none'" in policy and "base-uri 'none'" in policy
        again = agent.http(path=path, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status == 304 and not again.body, again
        assert agent.http(path=path, headers={"If-None-Match": '"other"'}).status == 200
    assert b"Chart" in agent.http(path="/chart.js").body
    # What the page and its modules ask for is there, and nothing that is there is left out above.
    named, root = {"/"}, pathlib.Path(__file__).parents[1] / "agent/ops/page"
    for file in root.iterdir():
        named |= {"/" + name for name in re.findall(r"""(?:src|href|from) ?=?"(?:\./)?([a-z]+\.(?:js|css))""", file.read_text())}
    assert named == set(PAGE), named
    for path in DATA[:5]:
        assert agent.http(path=path).headers["cache-control"] == "no-store", path


def test_unix_socket_and_tcp_at_once(work, admin):
    tcp = "127.0.0.1:%d" % harness.free_port()
    agent = admin(admin_listen=[tcp, "unix@%s/admin.sock" % work], listen_mode="0600")
    assert agent.http(path="/livez", address=tcp).status == 200
    assert agent.http(path="/livez", address="unix@%s/admin.sock" % work).status == 200
    assert os.stat(work / "admin.sock").st_mode & 0o777 == 0o600
    # Any Host: nobody's browser gets to a unix socket.
    assert agent.http(path="/stats", address="unix@%s/admin.sock" % work, headers={"Host": "x"}).status == 200


# ---- who gets it


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
        # Not in the URL: that would end up in logs and histories.
        assert agent.http(path=path + ("&" if "?" in path else "?") + "token=" + token).status == 401
    for headers in wrong:
        for path in ("/reload", "/explain"):
            assert agent.http("POST", path, dict(headers or {}, **POST), "{}").status == 401
    for path in DATA[:5]:
        assert agent.http(path=path, headers=good).status == 200, path
    with Events(agent, good) as events:
        assert events.response.status == 200
    assert agent.http(path="/nothing", headers=good).status == 404
    assert agent.http("POST", "/reload", dict(good, **POST)).status == 200
    # Without it: whether it is well, and no more.
    for path in ("/livez", "/readyz"):
        assert all(one["detail"] == "" for one in agent.http(path=path).json()["checks"])
        assert any(one["detail"] for one in agent.http(path=path, headers=good).json()["checks"])
    for path in OPEN[2:]:
        assert agent.http(path=path).status == 200, path
    # The token is what makes rebinding harmless; a name of its own may be used.
    assert agent.http(path="/stats", headers=dict(good, Host="llm.example")).status == 200
    if source == "file":
        other = harness.secret("admin-2")
        (work / "token").write_text(other)
        assert agent.http(path="/stats", headers=good).status == 401
        assert agent.http(path="/stats", headers={"Authorization": "Bearer " + other}).status == 200
        for text in ("", "  \n", "x" * 5000, other + "\nx", other + "\r\n\r\n" + other, other + "\0x"):
            (work / "token").write_text(text)
            told = len(agent.lines("event=admin_token_missing"))
            assert agent.http(path="/stats", headers={"Authorization": "Bearer " + re.split("[\n\r\0]", text.strip())[0][:4000]}).status == 401
            assert len(agent.lines("event=admin_token_missing")) == told + 1, text[:40]
        (work / "token").unlink()
        assert agent.http(path="/stats", headers={"Authorization": "Bearer "}).status == 401
        assert agent.log("event=admin_token_missing")


def test_token_that_is_not_there_lets_nobody_in(admin):
    agent = admin(token="env:NOT_SET")
    for value in ("", "NOT_SET", "null", "undefined"):
        assert agent.http(path="/stats", headers={"Authorization": "Bearer " + value}).status == 401
    assert agent.http(path="/livez").status == 200


def test_beyond_loopback_needs_a_token(work):
    for more in ({}, {"allow_remote": True}, {"admin_token": "env:T"}):
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
    # What checks health by HTTP/1.0 is no browser.
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
    # No other origin is ever let in, asked or not.
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
    """Sends bytes and reads to the end."""
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
            pass    # it may be the first to end it
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
    assert agent.http("POST", "/explain", POST, b"x" * (64 << 10)).status == 400  # taken, and no JSON
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
    assert agent.http(path="/livez").status == 200
    assert agent.rss() < 200 << 20


def test_slow_requests_end(admin):
    """A byte now and then keeps libmicrohttpd's own timeout from firing; the whole request has one, too."""
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
        # They are let in 64 at a time, and shown out again; who has something to ask gets his turn.
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
    """Answers that read the database wait on threads of their own."""
    agent = admin(entries=50)
    # A pipe in the place of the database: who opens it waits, as on a disk that hangs.
    base = agent.home / "ledger.db"
    os.mkfifo(agent.home / "pipe")
    for path in agent.home.glob("ledger.db?*"):
        path.unlink()
    os.rename(agent.home / "pipe", base)
    asked = [threading.Thread(target=hang, args=(agent,), daemon=True) for _ in range(6)]
    try:
        for thread in asked:
            thread.start()
        time.sleep(.3)
        for path in ("/livez", "/metrics", "/stats"):
            began = time.monotonic()
            assert agent.http(path=path).status == 200
            assert time.monotonic() - began < 1 * harness.SLOW, path
        assert decide(agent)
        assert all(thread.is_alive() for thread in asked), "nobody waits: this shows nothing"
    finally:
        pipe = os.open(base, os.O_RDWR)
        base.unlink()
        os.close(pipe)


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
    """Every answer of these tests is searched; here with all that could be shown at once, broken routes and refusals included."""
    token, key = harness.secret("admin"), harness.secret("file-key")
    (work / "key").write_text(key)
    routes = ROUTES[:1] + [{"model_prefix": "f-", "upstream": "https://u.example", "auth": "file:%s/key" % work}] + ROUTES[1:]
    agent = admin(entries=100, token="env:ADMIN_TOKEN", env={"ADMIN_TOKEN": token}, routes=routes)
    for model in ("glm-1", "f-1", "gone-1", "m", harness.secret("client")[:0] + "x"):
        decide(agent, model)
    good = {"Authorization": "Bearer " + token}
    agent.file.write_text('{"routes": [{"model_prefix": "a", "auth": "env:A", "upstream": "https://u:%s@x"}]}' % harness.secret("url"))
    for path in DATA[:5] + OPEN + ["/explain?model=glm-1", "/explain?model=f-1", "/stats-history?format=csv", "/savings?format=csv"]:
        assert agent.http(path=path, headers=good).status == 200, path
    assert agent.http("POST", "/reload", dict(good, **POST)).status == 422
    with Events(agent, good) as events:
        for _ in range(3):
            assert not harness.leaks(json.dumps(events.next()))
    assert re.search(r'"auth":"file:', agent.http(path="/stats", headers=good).text)
