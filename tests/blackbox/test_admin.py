"""The admin server: the answers of each endpoint. Which clients get them: test_admin_access.py."""
import contextlib
import csv
import gzip
import http.client
import io
import json
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest

import harness
import spop
from adminserver import BODY, DATA, PAGE, POST, ROUTES, Events, admin, decide  # noqa: F401
from harness import cli, until
from loglines import Maker


def test_health(admin):
    agent = admin()
    answer = agent.http(path="/livez")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json", answer
    live = answer.json()
    assert live["status"] == "ok" and set(live) == {"status", "checks"}, live
    checks = {one["part"]: one for one in live["checks"]}
    assert set(checks) == {"workers", "routes", "credentials", "contract", "backends", "reload", "draining", "ledger", "journal", "log_lines"}
    assert all(set(one) == {"part", "ok", "blocking", "detail"} for one in live["checks"]), live
    assert {part for part, one in checks.items() if one["blocking"]} == {"workers", "draining"}
    assert [part for part, one in checks.items() if not one["ok"]] == ["credentials"], live
    assert "gone-" in checks["credentials"]["detail"] and "1 of 2" in checks["credentials"]["detail"]
    assert agent.http(path="/readyz").json()["status"] == "ok"
    assert agent.http("HEAD", "/readyz").status == 200


def test_ready_says_no_while_draining(admin):
    agent = admin(drain_timeout=3)
    with agent.client():  # while this connection is open, the agent does not end
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
    assert set(note) == {"time", "status", "code", "id", "route", "backend", "member", "by", "model", "problem"}
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


def test_stats_tell_of_haproxy_and_of_alerts(admin):
    """When HAProxy was heard last; a failing check says what to do; an alert of dist/alerts.yml that needs no waiting is there within a second or two."""
    agent = admin()
    stats = agent.http(path="/stats").json()
    assert stats["haproxy"] == {"heard_ms": None, "connections": 0, "healthchecks": 0} and stats["alerts"] == [], stats
    [check] = [one for one in stats["checks"] if not one["ok"]]
    assert check["part"] == "credentials" and "`spoa-llm check` and /readyz name them" in check["advice"], check
    assert not any("advice" in one for one in stats["checks"] if one["ok"])
    with agent.client(max_frame_size=spop.U32(1 << 30)):
        stats = until(lambda: (lambda s: s if s["alerts"] else None)(agent.http(path="/stats").json()), 5, "the alert")
        assert stats["haproxy"]["connections"] == 1 and 0 <= stats["haproxy"]["heard_ms"] < 5000, stats
    [alert] = stats["alerts"]
    assert (alert["name"], alert["severity"]) == ("SpoaLlmFrameSize", "ticket") and re.fullmatch("connections on which HAProxy .*, in the last 5 minutes: 1", alert["what"]), alert
    assert "Raise max_memory" in alert["advice"] and abs(alert["since"] / 1000 - time.time()) < 60, alert
    first = stats["haproxy"]["heard_ms"]
    assert until(lambda: agent.http(path="/stats").json()["haproxy"]["heard_ms"] > first, 5, "time goes on")


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
LATER = {"cache_read_tokens", "cache_savings_usd"}  # Headroom added these in a later schema


def rollup(history, key):
    """Sums the history by Headroom's own rule. `key` returns the start of a timestamp's period. Returns {start: [the period's increase of each
    of HISTORY's four figures ..., the four figures at the period's end]}."""
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
    # The figures are those that `ledger headroom` prints.
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
    # CSV has the same rows, one series at a time.
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
    # A mistyped argument would be a question about another request. It may be a key, so the answer does not name it.
    for url, why in (("/explain?modl=glm-4.6", "an argument is none of model, method, path, header, body"), ("/explain?model=a&keys=x", "is none of"),
                     ("/explain?model=a&header=a:b&header=c:d&model=b", "one of model, method, path, header, body is given more than once"), ("/explain?sk-x", "is none of"),
                     ("/stats-history?serie=daily", "an argument is none of format, series"), ("/stats-history?series=daily&series=daily", "more than once")):
        answer = agent.http(path=url)
        assert answer.status == 400 and why in answer.json()["error"] and "sk-x" not in answer.text, (url, answer)
    assert agent.http(path="/explain?&model=a&").status == 200
    # `body` is the request's body itself, never the path of a file that the agent reads.
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
    assert answer.status == 422 and "double quotes" in answer.json()["error"], answer
    stats = agent.http(path="/stats").json()
    assert (stats["reloads"], stats["reloads_failed"], len(stats["routes"])) == (1, 1, 4)
    assert [one["part"] for one in agent.http(path="/readyz").json()["checks"] if not one["ok"]] == ["credentials", "reload"]
    agent.file.write_text(json.dumps(config))
    with harness_threads([lambda: agent.http("POST", "/reload", POST).status] * 6) as results:
        assert results() == [200] * 6


class harness_threads:
    """Runs `functions` at the same time, a thread for each. `with` gives a function that waits for them and returns their results."""

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
        # The ledger stores a record, so an event has to tell the dashboard.
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
        full = agent.http(path="/events")
        assert full.status == 503 and full.json()["error"] == "too many clients take events already", full
        assert agent.http(path="/livez").status == 200
        time.sleep(3)  # meanwhile none of the 16 clients reads its events
        assert agent.http(path="/stats").status == 200
        until(lambda: opened[0].next().get("event") == "stats", 5, "events go on")
    finally:
        for events in opened:
            events.__exit__()
    until(lambda: not is_full(agent), 10, "there is room again")


def test_events_of_an_agent_that_ends(admin):
    """An agent that ends first ends its streams. A client that then asks for another stream, on a connection that it has, is told why there is none."""
    def told():
        agent = admin()
        kept = http.client.HTTPConnection("localhost", timeout=10)
        kept.sock = spop.connect(agent.admin, 10)
        with contextlib.closing(kept), Events(agent) as events:
            kept.request("GET", "/livez", headers={"Host": agent.admin})
            assert kept.getresponse().read()
            agent.process.kill(signal.SIGTERM)
            assert events.response.read().endswith(b"\n\n")
            try:
                kept.request("GET", "/events", headers={"Host": agent.admin})
                return harness.Answer(kept.getresponse())
            except (OSError, http.client.HTTPException):
                return None     # too late: the agent has ended
            finally:
                agent.process.wait()      # a second signal, of the test's end, could come before it has ended
    answer = until(told, 30, "an agent that ends answers")
    assert answer.status == 503 and answer.json()["error"] == "this process of the agent ends", answer


def is_full(agent):
    with Events(agent) as events:
        return events.response.status == 503


OWN_MOST, SENT_MOST = 150_000, 60_000      # bytes of our own files of the page: as they are, and as they are sent


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
    sizes = {}
    for path in PAGE:
        plain = agent.http(path=path)
        packed, refused = (agent.http(path=path, headers={"Accept-Encoding": coding}) for coding in ("deflate, gzip, br", "gzip;q=0, br"))
        assert gzip.decompress(packed.body) == plain.body == refused.body, path
        assert [one.headers.get("content-encoding") for one in (plain, packed, refused)] == [None, "gzip", None]
        assert all(one.headers["vary"] == "Accept-Encoding" and one.headers["etag"] == plain.headers["etag"] for one in (plain, packed, refused))
        sizes[path] = (len(plain.body), len(packed.body))
    del sizes["/chart.js"]
    own, sent = (sum(size) for size in zip(*sizes.values()))
    assert own < OWN_MOST and sent < SENT_MOST, "our own files of the page have %d bytes, and take %d on their way to a browser" % (own, sent)
    # PAGE has exactly the files that the page and its modules ask for.
    named, root = {"/"}, pathlib.Path(__file__).parents[2] / "agent/ops/page"
    for file in root.iterdir():
        named |= {"/" + name for name in re.findall(r"""(?:src|href|from) ?=?"(?:\./)?([a-z_]+\.(?:js|css))""", file.read_text())}
    assert named == set(PAGE), named
    for path in DATA[:-1]:
        assert agent.http(path=path).headers["cache-control"] == "no-store", path


def test_unix_socket_and_tcp_at_once(work, admin):
    tcp = "127.0.0.1:%d" % harness.free_port()
    agent = admin(admin_listen=[tcp, "unix@%s/admin.sock" % work], listen_mode="0600")
    assert agent.http(path="/livez", address=tcp).status == 200
    assert agent.http(path="/livez", address="unix@%s/admin.sock" % work).status == 200
    assert os.stat(work / "admin.sock").st_mode & 0o777 == 0o600
    # On a unix socket every Host is accepted, because no browser can connect to one.
    assert agent.http(path="/stats", address="unix@%s/admin.sock" % work, headers={"Host": "x"}).status == 200
