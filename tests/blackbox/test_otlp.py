"""`spoa-llm ship` sends each ended request as a span to an OpenTelemetry collector."""
import hashlib
import json
import os
import random
import signal
import socket
import sqlite3
import time

import pytest

import fleets
import harness
import postgres
from certificates import Authority
from collector import Collector, partial
from ledgers import Ledger, LedgerGateway
from loglines import Maker
from processes import Process
from test_joining import LEG, Reports, report_of, usage
from test_keeping import Feed, ask, line_of
from test_ship import Shipper
from upstream import Mock

MINUTE = 60 * 1000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Gateway(Ledger):
    """A ledger with requests of the last half hour, and the settings for a collector."""

    def __init__(self, work, collector, **config):
        (work / "state").mkdir()
        super().__init__(work, **dict({"otlp_endpoint": collector if isinstance(collector, str) else collector.url(), "otlp_state": str(work / "state")}, **config))
        self.maker = Maker(seed=random.randrange(1 << 30), start_ms=int(time.time() * 1000) - 40 * MINUTE, span_ms=25 * MINUTE, hostile=True)
        self.batches = 0

    def more(self, count, **fields):
        self.batches += 1
        entries = [self.maker.one(**fields) for _ in range(count)]
        self.take(entries, "log%d" % self.batches)
        return [entry.want["id"] for entry in entries]

    def position(self):
        try:
            return int((self.directory / "state" / "otlp-position").read_text().split()[3])
        except FileNotFoundError:
            return 0


class Sender(Shipper):
    """`spoa-llm ship`, with a log of its own for each."""

    count = 0

    def start(self):
        Sender.count += 1
        self.number = Sender.count - 1
        super().start()


@pytest.fixture
def collector():
    with Collector() as one:
        yield one


@pytest.fixture
def ship():
    started = []

    def start(*args, **more):
        started.append(Sender(*args, **more))
        return started[-1]
    yield start
    for one in started:
        if one.process.running():
            one.end()


def ids_of(request_id):
    """The trace and the span of a request."""
    digits = request_id.replace("-", "")
    if len(digits) != 32 or set(digits) - set("0123456789abcdef"):
        digits = hashlib.sha256(request_id.encode()).hexdigest()[:32]
    return digits, digits[16:]


def check_span(span, row):
    """A span is its row of `ledger export`."""
    at, money = span["attributes"], row["cost_nanodollars"] is not None
    trace, own = ids_of(row["id"])
    assert (span["trace_id"], span["span_id"], span.get("parent_span_id")) == (trace, own, None), (span, row)
    assert span["kind"] == 3 and span["flags"] == 0x101
    assert span["name"] == ((row["operation"] or "request") + (" " + row["model"] if row["model"] else ""))
    begin = int(time.mktime(time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone) * 1000 + int(row["time"][20:23])
    assert span["start"] == begin * 1000000 and span["end"] == (begin + row["total_ms"]) * 1000000
    for name, column in (("gen_ai.operation.name", "operation"), ("gen_ai.request.model", "model"), ("spoa_llm.route", "route"), ("spoa_llm.backend", "backend"),
                         ("spoa_llm.project", "project"), ("spoa_llm.client", "client"), ("spoa_llm.refusal", "code"), ("spoa_llm.termination", "termination"),
                         ("spoa_llm.usage.from", "usage_from"), ("spoa_llm.price.from", "price_from"), ("spoa_llm.price.missing", "price_missing")):
        assert at.get(name, "") == row[column], (name, span, row)
    assert at.get("gen_ai.request.stream", False) == row["stream"]
    if row["usage_from"] in ("none", "unknown"):
        assert "gen_ai.usage.input_tokens" not in at
    else:
        assert at["gen_ai.usage.input_tokens"] == row["input"] + row["cache_read"] + row["cache_write"] and at["gen_ai.usage.output_tokens"] == row["output"]
        assert at.get("gen_ai.usage.cache_read.input_tokens", 0) == row["cache_read"] and at.get("gen_ai.usage.cache_write.input_tokens", 0) == row["cache_write"]
    for name, column in (("cost", "cost"), ("saved.compression", "saved_compression"), ("saved.cache", "saved_cache"), ("saved.routing", "saved_routing")):
        assert at.get("spoa_llm.%s.nanodollars" % name) == (row[column + "_nanodollars"] if money else None), (name, span, row)
    assert at.get("spoa_llm.cost.usd") == (row["cost_nanodollars"] / 1e9 if money else None)
    error = row["code"] or (str(row["status"]) if row["status"] >= 400 else None)
    if error:
        assert at["error.type"] == error and span["status"] == {"code": 2}
    assert ("error.type" in at) == ("status" in span)
    if row["backend"].startswith("llm-"):
        assert at["server.address"] == row["backend"][4:] and at["server.port"] == 443
    allowed = ("gen_ai.", "spoa_llm.", "server.", "error.type", "http.response.status_code")
    assert all(name.startswith(allowed) for name in at), at


def test_each_request_is_a_span(work, collector, ship):
    """Of all kinds of requests, with names of all kinds. A second shipper sends nothing again."""
    one = Gateway(work, collector, fleet_name="berlin")
    one.more(1500)
    shipper = ship(one)
    spans = collector.wait(1500)
    shipper.end()
    rows = one.export()
    assert len(collector.spans) == len(rows) == 1500 and {row["id"] for row in rows} == set(spans)
    for row in rows:
        check_span(spans[row["id"]][0], row)
    uuid = sqlite3.connect(one.db).execute("select value from meta where key = 'uuid'").fetchone()[0]
    resource = collector.spans[0]["resource"]
    assert (resource["service.name"], resource["service.instance.id"], resource["spoa_llm.gateway.name"]) == ("spoa-llm", uuid, "berlin")
    assert max(count for _, count, _ in collector.requests) == 512 and collector.requests[0][0]["User-Agent"].startswith("spoa-llm/")
    assert "sent=1500" in shipper.says("event=otlp_ended")[0]
    more = one.more(3)
    ship(one)
    collector.wait(1503)
    assert [span["attributes"]["spoa_llm.request.id"] for span in collector.spans[1500:]] == more


def test_what_a_collector_answers(work, collector, ship):
    """Each answer has its effect, and nothing is lost but what the collector would never take."""
    one = Gateway(work, collector)
    said = []

    def respond(spans):
        return said.pop(0)(spans) if said else None
    collector.respond = respond
    shipper = ship(one)
    # It is away for a moment: the same spans come again.
    for status, headers in ((503, {}), (429, {"retry-after": "1"}), (502, {}), (504, {})):
        said.append(lambda spans, status=status, headers=headers: (status, headers, b"secret of the collector"))
        wanted = one.more(5)
        harness.until(lambda: set(wanted) <= set(collector.by_id()), 60, "sent again after %d" % status)
    assert shipper.says("event=otlp_waits") and not [line for line in shipper.process.text().splitlines() if "dropped" in line]
    # Too large: in halves, down to the one span that is too large by itself.
    large = one.more(40)
    collector.respond = lambda spans: (413, {}, b"") if len(spans) > 7 or large[17] in [span["attributes"]["spoa_llm.request.id"] for span in spans] else None
    harness.until(lambda: set(large) - {large[17]} <= set(collector.by_id()), 60, "sent in halves")
    assert "spans=1 " in shipper.says("event=otlp_dropped")[0]
    # Bad: dropped. Partly bad: counted.
    collector.respond = respond
    said.append(lambda spans: (400, {}, b""))
    bad = one.more(6)
    assert "spans=6 " in harness.until(lambda: [line for line in shipper.says("event=otlp_dropped") if "answers 400" in line], 60, "dropped")[0]
    said.append(lambda spans: partial(2))
    partly = one.more(7)
    assert "spans=2 " in harness.until(lambda: [line for line in shipper.says("event=otlp_dropped") if "the others" in line], 60, "dropped in part")[0]
    # A person has to look: nothing is dropped.
    for status, headers, todo in ((401, {}, "the key in otlp_headers_file"), (404, {}, "the path in otlp_endpoint"), (407, {}, "the proxy"),
                                  (302, {"location": collector.url("/v1/traces")}, "redirections are not followed")):
        said.append(lambda spans, status=status, headers=headers: (status, headers, b""))
        wanted = one.more(2)
        harness.until(lambda: set(wanted) <= set(collector.by_id()), 60, "sent after %d" % status)
        assert [line for line in shipper.says("event=otlp_refused") if "%s answers %d: " % (collector.url("/v1/traces"), status) in line and todo in line]
    spans = collector.by_id()
    assert not set(bad) & set(spans) and set(partly) <= set(spans) and all(len(each) == 1 for each in spans.values())
    # It does not wait for an answer when it has to end.
    asked = len(collector.requests)
    collector.respond = lambda spans: time.sleep(60)
    one.more(1)
    harness.until(lambda: collector.busy == 1, 60, "the last request")
    shipper.end()
    assert len(collector.requests) == asked
    # The position cannot be kept.
    lost = ship(one, "--otlp-state", str(work / "nowhere"))
    assert "otlp_state: %s/nowhere/otlp-position" % work in lost.says("event=otlp_refused")[0]
    lost.end()
    # An https:// URL of a port without TLS.
    lost = ship(one, "--otlp-endpoint", collector.url().replace("http:", "https:"))
    assert "does it speak TLS at this port?" in lost.says("event=otlp_waits")[0]
    lost.end()
    assert "dropped=9" in shipper.says("event=otlp_ended")[0] and "secret of the collector" not in shipper.process.text()


def test_kills_and_a_collector_that_is_down(work, collector, ship):
    """Each span comes at least once, and a repeat is the same span."""
    rng = random.Random(os.environ.get("OTLP_SEED", str(random.randrange(1 << 30))))
    one = Gateway(work, collector)
    collector.respond = lambda spans: time.sleep(rng.random() / 20)
    one.more(100)
    shipper = ship(one)
    for turn in range(6):
        one.more(700)
        if turn == 3:
            collector.down()
            shipper.says("event=otlp_waits")
        shipper.again()
        if turn == 3:
            one.more(50)
            collector.up()
    spans = collector.wait(6 * 700 + 150, 40)
    shipper.end()
    rows = {row["id"]: row for row in one.export()}
    assert set(rows) == set(spans)
    for name, each in spans.items():
        assert all(span == each[0] for span in each)
        check_span(each[0], rows[name])


def test_another_copy_of_the_ledger(work, collector, ship):
    """A restored ledger goes on where it was: an hour of it comes again, and nothing of before. A position that cannot be read begins an hour ago, too."""
    one = Gateway(work, collector)
    old = Maker(seed=5, start_ms=int(time.time() * 1000) - 5 * 60 * MINUTE, span_ms=MINUTE)
    one.take([old.one() for _ in range(5)], "old")
    first = one.more(10)
    one.ledger("backup", work / "backup")
    lost = one.more(10)
    shipper = ship(one)
    collector.wait(20)
    shipper.end()
    one.ledger("restore", work / "backup", "--replace")
    after = one.more(4)
    shipper = ship(one)
    spans = collector.wait(24)
    shipper.end()
    assert set(spans) == set(first + lost + after) and all(len(spans[name]) == 2 for name in first) and all(len(spans[name]) == 1 for name in lost + after)
    (work / "state" / "otlp-position").write_text("nonsense\n")
    one.more(1)
    shipper = ship(one)
    collector.wait(25)
    assert shipper.says("event=otlp_anew")


def test_rows_that_are_removed_meanwhile_are_counted(work, collector, ship):
    """The collector was away for hours, and retention went on: what it will never get counts as dropped, once."""
    one, hour = Gateway(work, collector), 3600 * 1000
    now = int(time.time() * 1000) // hour * hour
    collector.respond = lambda spans: (503, {}, b"")
    maker = Maker(seed=6, start_ms=now - 9 * hour, span_ms=8 * hour)
    entries = [maker.one() for _ in range(80)]
    one.take(entries)
    arrived = [entry.want["time_ms"] for entry in entries]
    uuid, epoch = (sqlite3.connect(one.db).execute("select value from meta where key = ?", (key,)).fetchone()[0] for key in ("uuid", "epoch"))
    (work / "state" / "otlp-position").write_text("1 %s %s 0 %d\n" % (uuid, epoch, now - 10 * hour))
    shipper = ship(one)
    shipper.says("event=otlp_waits")
    removed = 0
    for back in (6, 4):
        until = now - back * hour + hour // 3
        one.ledger("prune", "--before", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until / 1000)))
        gone = sum(at < now - back * hour for at in arrived) - removed
        assert gone
        harness.until(lambda: "spans=%d" % gone in [line.split()[-1] for line in shipper.says("event=otlp_removed")], 20, shipper.process.tail)
        removed += gone
    collector.respond = None
    spans = collector.wait(sum(at >= until for at in arrived))
    shipper.end()
    assert len(spans) == sum(at >= until for at in arrived) and "dropped=%d" % removed in shipper.says("event=otlp_ended")[0]
    shipper = ship(one)
    one.more(1)
    collector.wait(len(spans) + 1)
    shipper.end()
    assert "dropped=0" in shipper.says("event=otlp_ended")[0]


def test_beside_postgresql(work, ship):
    """One process sends rows to PostgreSQL and spans to a collector, and neither waits for the other."""
    with postgres.Server() as server, Collector() as collector:
        fleet = fleets.Fleet(server)
        (work / "otlp").mkdir()
        one = fleets.Gateway(fleet, "both", otlp_endpoint=collector.url(), otlp_state=str(work / "otlp"))
        maker = Maker(seed=3, start_ms=int(time.time() * 1000) - 40 * MINUTE, span_ms=25 * MINUTE)
        collector.respond = lambda spans: (503, {}, b"")
        one.take([maker.one() for _ in range(50)], "first")
        shipper = ship(one)
        harness.until(lambda: fleet.value("select count(*) from spoa_llm.requests") == "50", 20, "the rows")
        assert shipper.says("event=otlp_waits") and not collector.spans
        collector.respond = None
        collector.wait(50)
        server.kill()
        one.take([maker.one() for _ in range(50)], "second")
        collector.wait(100)


def test_tls_and_the_file_of_headers(work, ship):
    """The server's certificate is verified, a credential comes from a file that others cannot read, and stands in no log."""
    authority = Authority(work)
    secret = harness.secret("otlp")
    headers = work / "headers"
    headers.write_text("# of the collector\r\nAuthorization: Bearer %s\nX-Tenant: a b\n\n" % secret)
    headers.chmod(0o644)
    with Collector(tls=authority.server) as collector:
        one = Gateway(work, collector, otlp_headers_file=str(headers))
        one.more(2)
        shipper = ship(one)
        assert "chmod 0600 or 0640" in shipper.says("event=otlp_refused")[0]
        shipper.end()
        headers.chmod(0o640)
        shipper = ship(one)
        assert "certificate" in shipper.says("event=otlp_refused")[0].lower()
        shipper.end()
        assert not collector.requests
        shipper = ship(one, "--otlp-ca-file", str(authority.ca))
        collector.wait(2)
        assert collector.requests[0][0]["Authorization"] == "Bearer " + secret and collector.requests[0][0]["X-Tenant"] == "a b"
        # It is read again, so that a credential can be replaced.
        headers.write_text("Authorization: two\nbad line\n")
        one.more(1)
        assert "line 2" in shipper.says("event=otlp_refused")[0]
        headers.write_text("Authorization: two\n")
        collector.wait(3)
        assert collector.requests[-1][0]["Authorization"] == "two"
        shipper.end()
    with Collector(tls=authority.misnamed) as collector:
        shipper = ship(one, "--otlp-ca-file", str(authority.ca), "--otlp-endpoint", collector.url(host="localhost"))
        one.more(1)
        assert "certificate" in shipper.says("event=otlp_refused")[0].lower() and not collector.requests
    headers.unlink()


def test_an_answer_without_end(work, collector, ship):
    """The collector has the spans and says which it rejects, by a text that goes on and on: they are not sent again, and the rejected ones are counted."""
    one = Gateway(work, collector)
    text = b"\x08\x03\x12\x90\x4e" + b"n" * 10000
    collector.respond = lambda spans: (200, {"content-length": str(1 << 40)}, b"\x0a" + bytes([0x80 | len(text) & 127, len(text) >> 7]) + text)
    one.more(5)
    shipper = ship(one)
    collector.wait(5)
    assert "spans=3 " in shipper.says("event=otlp_dropped")[0]
    one.more(4)
    collector.wait(9)
    # A shipper that ends before it has read the collector's answer would count none of these.
    harness.until(lambda: len(shipper.says("event=otlp_dropped")) == 2, 20, "the second answer is read")
    shipper.end()
    assert len(collector.spans) == 9 and "sent=3 dropped=6" in shipper.says("event=otlp_ended")[0]


def test_no_proxy_sees_what_is_not_encrypted(work, collector, ship):
    """A credential for a collector on this host goes to no proxy, whatever the environment says."""
    headers = work / "headers"
    headers.write_text("Authorization: Bearer %s\n" % harness.secret("otlp-proxied"))
    headers.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0)
        url = "http://127.0.0.1:%d" % proxy.getsockname()[1]
        one = Gateway(work, collector, otlp_headers_file=str(headers))
        one.more(2)
        ship(one, before=["env", "http_proxy=" + url, "all_proxy=" + url, "ALL_PROXY=" + url])
        collector.wait(2)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    headers.unlink()


def test_the_settings_are_checked(work):
    one = Gateway(work, "http://127.0.0.1:1")
    file = work / "headers"
    file.write_text("a: b\n")
    for endpoint, more, says in (("ftp://a", (), "a URL by HTTP"), ("https://u:p@a", (), "has a user in it"), ("https://a/?key=1", (), "a query"), ("https://", (), "a URL by HTTP"),
                                 ("https://a:b", (), "a port is a number"), ("http://far.example:4318", ("--otlp-headers-file", str(file)), "in clear"),
                                 ("http://127.example:4318", ("--otlp-headers-file", str(file)), "in clear"), ("https://a", ("--otlp-headers-file", "relative"), "absolute path")):
        done = one.run("ship", "--otlp-endpoint", endpoint, *more, code=78)
        assert says in done.err and "u:p" not in done.err, done
    done = one.run("ship", "--otlp-endpoint", "", code=78)
    assert "`fleet_uri` or `otlp_endpoint`" in done.err


def test_the_agent_shows_it_and_a_report_of_the_tap_is_waited_for(work, agents, collector, ship):
    """Metrics, /readyz, and spans of streams: after the tap's report, or ten seconds without it."""
    one = Gateway(work, collector, fleet_listen="dgram@%s/fleet" % work)
    port = harness.free_port()
    agent = agents(dict(json.loads(one.config.read_text()), log_listen=["127.0.0.1:%d" % port], tap=True, tap_listen="dgram@%s/tap" % work))
    reports, now = Reports(work / "tap"), time.time()
    with Feed(port) as feed:
        def send(name, **fields):
            line = "<134>1 - - - - - - " + line_of(name, te=int(time.time() * 1000), ta=5, **fields)
            feed.socket.sendall(b"%d %s" % (len(line), line.encode()))
        send("never", **LEG)
        send("late", **LEG)
        harness.until(lambda: ask(one.db, "SELECT count(*) FROM requests")[0] == 2 if one.db.exists() else False, 10, "rows")
        shipper = ship(one)
        harness.until(lambda: agent.http(path="/metrics").text.count("spoa_llm_otlp_state{state=\"behind\"} 1"), 10, "behind", step=.1)
        reports.send(report_of("late", last=usage(11, 22, 3)))
        send("plain")
        spans = collector.wait(3, 20)
        assert collector.arrived["never"] >= now + 10
        at = spans["late"][-1]["attributes"]
        assert (at["gen_ai.usage.input_tokens"], at["gen_ai.usage.output_tokens"], at["gen_ai.usage.cache_read.input_tokens"], at["spoa_llm.usage.from"]) == (11, 22, 3, "stream")

        def metrics():
            text = agent.http(path="/metrics").text
            return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("spoa_llm_otlp_")}
        harness.until(lambda: metrics().get('spoa_llm_otlp_state{state="ok"}') == 1, 10, "ok", step=.1)
        assert metrics()["spoa_llm_otlp_spans_total"] == len(collector.spans) and metrics()["spoa_llm_otlp_dropped_total"] == 0 and "spoa_llm_fleet_state" not in agent.http(path="/metrics").text
        collector.down()
        send("waits")
        harness.until(lambda: metrics().get('spoa_llm_otlp_state{state="connecting"}') == 1 and metrics()["spoa_llm_otlp_behind"] == 1, 10, "connecting", step=.1)
        check = {each["part"]: each for each in json.loads(agent.http(path="/readyz").text)["checks"]}["spans"]
        assert not check["ok"] and check["detail"].startswith("connecting"), check
        assert agent.http(path="/readyz").status == 200
        shipper.end()
        # The agent never has libcurl, and the shipper has.
        assert "libcurl" not in open("/proc/%d/maps" % agent.pid).read()


def test_from_a_client_to_the_collector(haproxy, work, collector):
    """The span is the one that the upstream was told, in the client's trace."""
    mock = Mock("upstream")
    try:
        with LedgerGateway(haproxy, [mock], {"routes": [{"model_prefix": "*", "name": "all"}], "openai_target": mock.url(), "otlp_endpoint": collector.url(),
                                             "otlp_state": str(work), "fleet_listen": "dgram@%s/fleet" % work}, limits={"LLM_TRACE": "on"}) as gateway:
            own = [gateway.ask("gpt-l", [("traceparent", "00-%s-%s-%s" % (TRACE, SPAN, flags))]) for flags in ("01", "00")]
            new = gateway.post("/v1/embeddings", {"model": "embed-1", "input": "x"})
            gateway.wait_rows(3)
            config = harness.write_config(work, gateway.config)
            process = Process("agent", harness.argv("ship", "-c", config, "--otlp-sampled-only"), work / "ship.log", harness.environment())
            spans = collector.wait(2)
            assert process.end(signal.SIGTERM) == 0
            assert set(spans) == {own[0].header("x-request-id"), new.header("x-request-id")}
            for exchange, parent in ((own[0], SPAN), (new, None)):
                span = spans[exchange.header("x-request-id")][0]
                told = exchange.only(mock).header("traceparent")
                assert told == "00-%s-%s-01" % (span["trace_id"], span["span_id"]) and span.get("parent_span_id") == parent
                assert span["flags"] == (0x301 if parent else 0x101)
            assert spans[new.header("x-request-id")][0]["name"] == "embeddings embed-1"
            assert spans[own[0].header("x-request-id")][0]["trace_id"] == TRACE
    finally:
        mock.close()
