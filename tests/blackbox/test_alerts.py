"""Each alert of dist/alerts.yml in a real Prometheus beside a real agent: the alert fires while its fault lasts, and clears afterwards.

The rules are the shipped ones with shorter times (seconds for minutes), because Prometheus scrapes the agent each second here."""
import contextlib
import gzip
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time
import urllib.request

import pytest

import harness
import keys
import spop
import test_budgets_seen as budgets
from adminserver import BODY
from harness import ROOT, log_line, until
from loglines import Maker
from test_taps import Tap

ALERTS = ROOT / "dist" / "alerts.yml"
SLOW_INFLATE = ROOT / "build" / "slowinflate.so"
WINDOW = 6  # seconds, for each range of the rules


def shortened(text):
    text = re.sub(r"for: \d+m", "for: 1s", text)
    # A range of 1h becomes longer than the others, because figures from the database are new only every five seconds.
    text = re.sub(r"\[1h\]", "[15s]", text)
    return re.sub(r"\[\d+[mh]\]", "[%ds]" % WINDOW, text)


class Prometheus:
    def __init__(self, work, target):
        self.work, self.target, self.port = work, target, harness.free_port()
        (work / "alerts.yml").write_text(shortened(ALERTS.read_text()))
        self.configure(True)
        self.process = harness.Process("prometheus", [
            "prometheus", "--config.file=%s/prometheus.yml" % work, "--storage.tsdb.path=%s/tsdb" % work,
            "--web.listen-address=127.0.0.1:%d" % self.port, "--query.lookback-delta=8s"], work / "prometheus.log")
        until(self.up, 30, "Prometheus is ready")

    def configure(self, with_job):
        text = (ROOT / "dist" / "prometheus.yml").read_text()
        text = text.replace("15s", "1s").replace("127.0.0.1:9603", self.target).replace("evaluation_interval: 1s",
                                                                                         "evaluation_interval: 1s\n  scrape_timeout: 1s")
        (self.work / "prometheus.yml").write_text(text if with_job else text.replace("job_name: spoa-llm", "job_name: other"))

    def get(self, path):
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.port, path), timeout=10) as answer:
            return json.load(answer)["data"]

    def up(self):
        try:
            urllib.request.urlopen("http://127.0.0.1:%d/-/ready" % self.port, timeout=2).close()
        except OSError:
            return False
        return True

    def firing(self, label="alertname", alert=None, states=("firing",)):
        """The names of the alerts that fire, or another label of one of them."""
        labels = [one["labels"] for one in self.get("/api/v1/alerts")["alerts"] if one["state"] in states]
        return {one.get(label) for one in labels if alert in (None, one["alertname"])}

    def fires(self, *names, seconds=40):
        until(lambda: set(names) <= self.firing(), seconds, lambda: "firing: %s, wanted %s" % (self.firing(), names), step=.3)
        SHOWN.update(names)

    def clears(self, seconds=60):
        until(lambda: not self.firing(), seconds, lambda: "still firing: %s" % self.firing(), step=.3)


SHOWN = set()
ROUTES = [{"model_prefix": "glm-", "upstream": "https://ollama.com"}, {"model_prefix": "bad-", "upstream": "no url"}, {"model_prefix": "*"}]


class Place:
    """An agent, a Prometheus that scrapes the agent, and what the tests need to cause faults."""

    def __init__(self, work):
        self.work, self.home, self.key = work, work / "ledger", harness.secret("log-key")
        self.home.mkdir()
        self.credential = work / "glm.key"
        self.credential.write_text(harness.secret("glm"))
        self.log = ("127.0.0.1", harness.free_port())
        self.admin = "127.0.0.1:%d" % harness.free_port()
        ROUTES[0]["auth"] = "file:%s" % self.credential
        self.config = {"listen": "unix@%s/a.sock" % work, "admin_listen": self.admin, "ledger": str(self.home), "threads": 2,
                       "log_listen": ["udp@%s:%d" % self.log], "journal_max": 1 << 20, "max_connections": 10, "drain_timeout": 15,
                       "tap": True, "tap_listen": "dgram@%s/tap.dgram" % work}
        self.tap, self.tapped = Tap(work / "tap.dgram", full=0, reports_lost=0), True
        self.maker = Maker(seed=4)
        assert SLOW_INFLATE.exists(), "make test-tools"
        self.slow = work / "slow"
        self.inflate_takes(0)
        self.agent, self.checked, self.over = None, True, threading.Event()
        self.start()
        self.checker = threading.Thread(target=self.check)
        self.checker.start()
        self.prometheus = Prometheus(work, self.admin)
        # Before the first scrape Prometheus has no target whose health it knows.
        until(lambda: [t["health"] for t in self.prometheus.get("/api/v1/targets")["activeTargets"]] == ["up"], 20, "the first scrape")
        time.sleep(2)

    def start(self, **more):
        env = harness.environment()
        # ASan's runtime asks to be the first library, because it replaces malloc(). slowinflate.so never calls malloc(), so the check of the
        # order may be switched off.
        slow = {"LD_PRELOAD": " ".join(filter(None, [env.get("LD_PRELOAD"), str(SLOW_INFLATE)])), "SLOW_INFLATE": str(self.slow),
                "ASAN_OPTIONS": env["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}
        # The routes are in the variable, because a file may not have a route without a usable upstream.
        self.agent = harness.Agent(self.work, dict(self.config, **more), env=dict(
            slow, SPOA_LLM_LOG_KEY=self.key, **({} if "routes" in more else {"HEADROOM_UPSTREAM_ROUTES": json.dumps(ROUTES)})))
        until(lambda: harness.accepting(self.admin), 5, "the admin server accepts")

    def end(self):
        if self.agent:
            agent, self.agent = self.agent, None
            agent.close()

    def check(self):
        """HAProxy's health check, twice a second, but while `checked` is false; and what the tap says, but while `tapped` is false."""
        while not self.over.wait(.5):
            try:
                if self.agent and self.tapped:
                    self.tap.say()
                if self.agent and self.checked:
                    self.agent.client().close()
            except (OSError, EOFError, AssertionError, AttributeError, spop.Closed):
                pass    # the agent is down, or is being replaced, or takes no more connections

    def inflate_takes(self, more_us):
        with open(self.slow, "r+b" if self.slow.exists() else "wb") as file:  # written in place, because the agent has the file mapped
            file.write(struct.pack("=q", more_us))

    def decide(self, model, times=1, coding=None, **more):
        body = BODY % model.encode()
        with self.agent.client() as client:
            for _ in range(times):
                answer = client.ask(id="i", method="POST", path="/v1/chat/completions", ctype="application/json",
                                    body=gzip.compress(body) if coding else body, cenc=coding, buffered=40, length=40, **more)
                assert answer["model"] == model, answer

    def send(self, *lines):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for i, line in enumerate(lines):
                sock.sendto(line, self.log)
                if i % 20 == 19:
                    time.sleep(.002)

    def made(self, **more):
        """The fields of a record. No member of a pool was unreachable, because otherwise SpoaLlmMemberUnreachable would fire."""
        fields = self.maker.one(**more).fields
        return dict(fields, tried="") if "tried" in fields else fields

    def record(self, **more):
        return log_line(self.made(**more), self.key)

    def end_of(self, **fields):
        """The line of a request that ended in another way."""
        return log_line(dict(self.made(kind="reported", model="claude-haiku-4-5"), **fields), self.key)

    def repeat(self, action):
        return Repeated(action)


class Repeated:
    """Does something twice a second until the block ends."""

    def __init__(self, action):
        self.action, self.stop, self.failed = action, threading.Event(), None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.wait(.5):
            try:
                self.action()
            except Exception as error:  # reported when the block ends
                self.failed = error
                return

    def __enter__(self):
        self.thread.start()

    def __exit__(self, kind, *_):
        self.stop.set()
        self.thread.join()
        assert kind or not self.failed, self.failed


@pytest.fixture(scope="module")
def place(module_work):
    if not shutil.which("prometheus"):
        pytest.fail("Debian's package prometheus is needed")
    there = Place(module_work)
    yield there
    there.over.set()
    there.checker.join()
    there.prometheus.process.end()
    there.end()


@pytest.fixture(autouse=True)
def nothing_before(request):
    if "place" in request.fixturenames:
        request.getfixturevalue("place").prometheus.clears()


def test_nothing_fires_on_a_healthy_agent(place):
    def work():
        place.decide("m", 5)
        place.decide("glm-4.6", 2)
        # More records than decisions, as where HAProxy refuses requests by itself: Prometheus may look between the two, and its range is short here.
        place.send(*[place.record(kind="reported", model="claude-haiku-4-5") for _ in range(9)])
    seen = set()
    with place.repeat(work):
        for _ in range(20):
            seen |= place.prometheus.firing()
            time.sleep(.5)
    assert not seen
    health = place.prometheus.get("/api/v1/targets")["activeTargets"]
    assert [target["health"] for target in health] == ["up"], health
    # Every rule was evaluated without an error.
    for group in place.prometheus.get("/api/v1/rules")["groups"]:
        assert {rule["health"] for rule in group["rules"]} == {"ok"}, group


def test_refusals_and_credentials(place):
    value = place.credential.read_text()
    place.credential.unlink()

    def work():
        place.decide("glm-4.6", 3)
        place.decide("bad-1", 3)
    with place.repeat(work):
        place.prometheus.fires("SpoaLlmCredentialMissing", "SpoaLlmAuthUnavailable", "SpoaLlmNoBackend", "SpoaLlmRefusing")
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 150))
    place.credential.write_text(json.dumps({"token": value, "expires_at": ends}))
    place.prometheus.fires("SpoaLlmCredentialExpiring")
    place.credential.write_text(value)
    place.prometheus.clears()


def test_reload(place):
    text = place.agent.file.read_text()
    place.agent.file.write_text("{ nonsense")
    place.agent.process.kill(signal.SIGHUP)
    place.prometheus.fires("SpoaLlmReloadFailed")
    place.agent.file.write_text(text)
    place.agent.process.kill(signal.SIGHUP)
    place.prometheus.clears()


def test_contract(place):
    """The alert stays while HAProxy asks nothing, and clears when files of the agent's version ask again."""
    place.decide("m", contract=None)
    since = time.monotonic()
    place.prometheus.fires("SpoaLlmContractOutdated")
    while time.monotonic() < since + 14:
        assert place.prometheus.firing() == {"SpoaLlmContractOutdated"}
        time.sleep(.5)
    with place.repeat(lambda: place.decide("m")):
        place.prometheus.clears()


def test_backends(place):
    """As the contract's: it clears when a HAProxy asks whose backends are those of the agent's routes."""
    place.decide("m", backends="0123456789abcdef")
    place.prometheus.fires("SpoaLlmBackendsDiffer")
    [own] = re.findall(r'^spoa_llm_backends_info\{hash="([0-9a-f]{16})"\} 1$', place.agent.http(path="/metrics").text, re.M)
    with place.repeat(lambda: place.decide("m", backends=own)):
        place.prometheus.clears()


def test_frame_size(place):
    def hello():
        with place.agent.client(max_frame_size=spop.U32(1 << 30)):
            pass
    with place.repeat(hello):
        place.prometheus.fires("SpoaLlmFrameSize")
    place.prometheus.clears()


def test_connections(place):
    def garbage():
        with spop.connect(place.agent.address, 5) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: this is no SPOP\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):     # if the agent closes before it has read all of it
                sock.recv(100)
    clients = [place.agent.client() for _ in range(9)]
    soft, hard = resource.prlimit(place.agent.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(place.agent.pid, resource.RLIMIT_NOFILE, (place.agent.descriptors() + 6, hard))
    try:
        place.prometheus.fires("SpoaLlmConnectionsNearLimit", "SpoaLlmDescriptorsNearLimit")
        with place.repeat(garbage):
            place.prometheus.fires("SpoaLlmSpopErrors")

        def too_many():
            more = [spop.connect(place.agent.address, 5) for _ in range(3)]
            # Wait for the refusal. Closed at once, the connections would be gone before a slow agent accepts them, and never be too many.
            select.select(more, [], [], 5)
            for sock in more:
                sock.close()
        with place.repeat(too_many):
            place.prometheus.fires("SpoaLlmConnectionsRefused")
    finally:
        resource.prlimit(place.agent.pid, resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.close()
    place.prometheus.clears()


def test_log_lines(place):
    def work():
        place.send(log_line(place.maker.one().fields, "another key"), log_line({"v": 1}, place.key))
        place.decide("m", 30)  # no log line reports these requests
    with place.repeat(work):
        place.prometheus.fires("SpoaLlmLogLinesForeign", "SpoaLlmLogLinesMalformed", "SpoaLlmNothingRecorded")
    place.prometheus.clears()


def test_the_ledger_is_off(place):
    """HAProxy says that it sends no records: that is no loss of lines."""
    with place.repeat(lambda: place.decide("m", 30, no_records=True)):
        place.prometheus.fires("SpoaLlmLedgerOff")
        until(lambda: not place.prometheus.firing(states=("pending", "firing")) & {"SpoaLlmNothingRecorded", "SpoaLlmRecordsBehind"}, 40, "these requests are not missed", step=.3)
    place.prometheus.clears()


def test_some_recorded(place):
    """Half of the requests have no log line."""
    def work():
        place.decide("m", 20)
        place.send(*[place.record(kind="reported", model="claude-haiku-4-5") for _ in range(10)])
    with place.repeat(work):
        place.prometheus.fires("SpoaLlmRecordsBehind")
        assert "SpoaLlmNothingRecorded" not in place.prometheus.firing()
    place.prometheus.clears()


def test_upstreams(place):
    there = {"route": "glm-", "backend": "llm-ollama.com", "code": ""}

    def work(errors, unanswered, *more):
        lines = [place.end_of(**there, status=200, term="--", trs=5) for _ in range(10 - errors - unanswered)]
        lines += [place.end_of(**there, status=500, term="--", trs=5) for _ in range(errors)]
        lines += [place.end_of(**there, status=503, term="SC", trs=-1) for _ in range(unanswered)]
        place.send(*lines, *more)
    with place.repeat(lambda: work(2, 0)):
        place.prometheus.fires("SpoaLlmUpstreamErrors")
        assert "SpoaLlmUpstreamDown" not in place.prometheus.firing()
    gateway = {"route": "", "backend": "llm-refuse", "to": "", "status": 503, "term": "LR", "trs": -1, "code": "gateway_unavailable"}
    with place.repeat(lambda: work(0, 8, place.end_of(**gateway))):
        place.prometheus.fires("SpoaLlmUpstreamDown", "SpoaLlmUpstreamErrors", "SpoaLlmGatewayUnavailable")
    place.prometheus.clears()


def test_members_of_pools(place):
    """A member rests, as its leg tells the agent; HAProxy cannot reach one, as a log line says."""
    place.end()
    place.start(routes=[{"model_prefix": "pool-", "name": "pool", "pool": [
        {"name": name, "upstream": "https://%s.example" % name, "auth": "file:%s" % place.credential} for name in "ab"]}])
    backends = harness.cli("backends", "-c", place.agent.file).out
    leg = re.search(r"(?ms)^frontend (leg\.\S*a\.example\S*)\.in\n", backends).group(1)
    with place.agent.client() as client:
        client.ask({"id": "1", "member": leg, "status": spop.U32(429), "retry_after": "10"}, name="llm-declined")
    place.prometheus.fires("SpoaLlmMemberRests")
    place.prometheus.clears()
    place.agent.log("event=member_back route=pool member=a")
    # One that HAProxy cannot reach; b was not asked before, so its series begin with this request if they are not there from the start.
    place.send(place.end_of(route="pool", backend="pool.pool", code="", member="a", tried="b:unreachable", status=200, term="--", trs=5))
    place.prometheus.fires("SpoaLlmMemberUnreachable")
    place.prometheus.clears()
    place.end()
    place.start()
    place.prometheus.clears()


def test_budgets(place):
    """A client comes near the end of its budget, then to its end, and another one is charged. A larger budget ends both. The file of clients has a mistake meanwhile."""
    file, prices = place.work / "clients.json", place.work / "prices.json"
    prices.write_text(json.dumps(budgets.PRICES))

    def budget(usd):
        keys.write(file, [keys.entry(name, budgets.KEYS[name], budget={"usd": usd, "per": "month"}) for name in ("alice", "bob")])

    def ask(name, id, output):
        return place.agent.ask(**dict(keys.ask(budgets.KEYS[name]), id=id, body='{"model":"gpt-1","max_tokens":%d}' % output))["deny"]
    budget("0.01")
    place.end()
    place.start(clients=str(file), prices=str(prices))
    place.prometheus.clears()
    assert not ask("alice", "r1", 700)
    place.send(log_line(budgets.line("r1", "alice", "", (300, 800)), place.key))
    place.prometheus.fires("SpoaLlmBudgetNearEnd")
    assert "SpoaLlmBudgetSpent" not in place.prometheus.firing()
    # One has spent all; another one is charged for a request without a record, and asks for more than is left.
    place.send(log_line(budgets.line("r2", "alice", "", (0, 170)), place.key))
    assert not ask("bob", "r3", 100) and budgets.expire(place.agent) == 1
    file.write_text("[]")
    place.prometheus.fires("SpoaLlmBudgetSpent", "SpoaLlmBudgetCharged", "SpoaLlmClientsNotLoaded")
    assert place.prometheus.firing("name", "SpoaLlmBudgetSpent") == {"alice"} and ask("bob", "r4", 1000)
    until(lambda: place.prometheus.firing("name", "SpoaLlmBudgetSpent") == {"alice", "bob"}, 20, "a refusal fires too", step=.3)
    budget("0.1")
    place.prometheus.clears()
    place.end()
    place.start()
    place.prometheus.clears()


def test_tap(place):
    with place.repeat(lambda: place.tap.said.update(full=place.tap.said["full"] + 1, reports_lost=place.tap.said["reports_lost"] + 1)):
        place.prometheus.fires("SpoaLlmTapFull", "SpoaLlmTapReportsLost")
    place.prometheus.clears()
    with place.repeat(lambda: place.send(place.end_of(behind="llm-x", srv="leg"))):
        place.prometheus.fires("SpoaLlmTapBypassed")
    place.prometheus.clears()
    place.tapped = False
    place.prometheus.fires("SpoaLlmTapDown")
    place.tapped = True
    place.prometheus.clears()


def test_fleet(place):
    """The fleet and the collector. No shipper speaks; then one says all that can be wrong, while old requests are more than fleet_backlog; then all is shipped."""
    subprocess.run([ROOT / "build" / "bench" / "ledger_store", "fill", str(place.home), "20000"], check=True, stdout=subprocess.DEVNULL, timeout=300)
    fleet = {"fleet_uri": "postgresql://nobody@127.0.0.1:9/none", "fleet_listen": "dgram@%s/fleet.dgram" % place.work, "retention_days": 10,
             "otlp_endpoint": "http://127.0.0.1:9"}
    place.end()
    place.start(**fleet)
    place.prometheus.fires("SpoaLlmFleetSilent", "SpoaLlmSpansSilent")
    place.end()
    place.start(fleet_backlog=1 << 20, **fleet)
    with sqlite3.connect("file:%s/ledger.db?mode=ro" % place.home, uri=True) as db:
        of = dict(db.execute("select key, value from meta"))
    said = Tap(place.work / "fleet.dgram", kind="fleet", uuid=of["uuid"], ledger_epoch=of["epoch"], epoch=1, position=0, behind=20000, lag_ms=901000, sent=1,
               rejected=0, state="refused", problem="no", gateways=2, drift_routes=1, drift_clients=0)
    spans = Tap(place.work / "fleet.dgram", kind="otlp", behind=20000, lag_ms=901000, sent=1, dropped=0, unsampled=0, state="refused", problem="no")

    def all_wrong():
        said.say(rejected=said.said["rejected"] + 1)
        spans.say(dropped=spans.said["dropped"] + 1)

    def all_well():
        said.say(state="ok", position=int(of["sequence"]), behind=0, lag_ms=0, drift_routes=0)
        spans.say(state="ok", behind=0, lag_ms=0)
    with place.repeat(all_wrong):
        place.prometheus.fires("SpoaLlmFleetRefused", "SpoaLlmFleetBehind", "SpoaLlmFleetDrift", "SpoaLlmFleetRejected", "SpoaLlmFleetBacklogFilling",
                               "SpoaLlmFleetUnshippedRemoved", "SpoaLlmSpansRefused", "SpoaLlmSpansBehind", "SpoaLlmSpansDropped")
        assert place.prometheus.firing("part", "SpoaLlmFleetDrift") == {"routes"}
    with place.repeat(all_well):
        place.prometheus.clears()
    place.end()
    place.start()
    place.prometheus.clears()


def test_no_haproxy(place):
    place.agent.client().close()    # it was there before, also if the agent has only just started
    place.checked = False
    place.prometheus.fires("SpoaLlmUnasked")
    place.checked = True
    place.prometheus.clears()


def test_unknown(place):
    """One request in five whose tokens nobody told; requests that use none do not count."""
    def work():
        place.send(*[place.record(kind=kind, model="claude-haiku-4-5") for kind in ["reported"] * 4 + ["untold"] + ["none"] * 20])
    with place.repeat(work):
        place.prometheus.fires("SpoaLlmUsageUnknown")
    place.prometheus.clears()


def test_unpriced(place):
    with place.repeat(lambda: place.send(*[place.record(kind="reported", model="unheard-of-model") for _ in range(5)])):
        place.prometheus.fires("SpoaLlmUnpriced")
    place.prometheus.clears()


def test_kernel_drops(place):
    place.agent.process.stop()
    line = place.record() + b" " * 1500
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(30000):  # more than any buffer that the agent asks for
            sock.sendto(line, place.log)
    place.agent.process.kill(signal.SIGCONT)
    until(lambda: "log_lines_dropped" in place.agent.text() or place.send(place.record()), 10, "drops are noticed", step=.2)
    place.prometheus.fires("SpoaLlmLogLinesDropped")
    place.prometheus.clears()


def test_ledger_locked_and_journal_full(place):
    db = sqlite3.connect(place.home / "ledger.db", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        with place.repeat(lambda: place.send(*[place.record(kind="reported", model="claude-haiku-4-5") for _ in range(400)])):
            place.prometheus.fires("SpoaLlmLedgerBehind", "SpoaLlmJournalFilling", "SpoaLlmJournalFailing", seconds=120)
    finally:
        db.execute("ROLLBACK")
        db.close()
    # Records keep coming, as from a gateway in use.
    with place.repeat(lambda: place.send(place.record(kind="reported", model="claude-haiku-4-5"))):
        place.prometheus.clears()


def test_ledger_failing(place):
    moved = place.work / "moved.db"
    (place.home / "ledger.db").rename(moved)
    for name in ("ledger.db-wal", "ledger.db-shm"):
        if (place.home / name).exists():
            (place.home / name).rename(place.work / name)
    (place.home / "ledger.db").mkdir()
    with place.repeat(lambda: place.send(place.record(kind="reported", model="claude-haiku-4-5"))):
        place.prometheus.fires("SpoaLlmLedgerFailing")
        (place.home / "ledger.db").rmdir()
        until(lambda: "SpoaLlmLedgerFailing" not in place.prometheus.firing(), 30, "the ledger works again by itself", step=.3)
    place.prometheus.clears()


def test_restart(place):
    os.kill(place.agent.pid, signal.SIGKILL)
    place.prometheus.fires("SpoaLlmRestarting")
    place.prometheus.clears()


def test_not_ready(place):
    with place.agent.client():
        place.agent.process.kill(signal.SIGUSR1)
        place.prometheus.fires("SpoaLlmNotReady")
    place.end()
    place.start()
    place.prometheus.clears()


def test_down(place):
    place.agent.process.stop()
    try:
        place.prometheus.fires("SpoaLlmDown")
    finally:
        place.agent.process.kill(signal.SIGCONT)
    place.prometheus.clears()
    place.end()
    place.prometheus.fires("SpoaLlmDown")
    place.start()
    place.prometheus.clears()


def test_absent(place):
    place.prometheus.configure(False)
    place.prometheus.process.kill(signal.SIGHUP)
    place.prometheus.fires("SpoaLlmAbsent")
    place.prometheus.configure(True)
    place.prometheus.process.kill(signal.SIGHUP)
    place.prometheus.clears()


def test_slow(place):
    """The agent makes the same decisions all the time, each in some tens of microseconds. Then zlib's inflate() takes 20 ms longer for a
    while."""
    def work():
        place.decide("m", 20, coding="gzip")
        place.send(*[place.record(kind="reported", model="claude-haiku-4-5") for _ in range(20)])
    with place.repeat(work):
        time.sleep(3)
        assert "SpoaLlmSlow" not in place.prometheus.firing()
        place.inflate_takes(20000)
        try:
            place.prometheus.fires("SpoaLlmSlow")
        finally:
            place.inflate_takes(0)
        place.prometheus.clears()


def test_every_alert_was_shown(request):
    """Stands last in this file, because the tests above note in SHOWN which alerts fired. Without all of those tests it is skipped."""
    if len([item for item in request.session.items if item.fspath == request.node.fspath]) < 15:
        pytest.skip("not all of this file was asked for")
    assert SHOWN == set(re.findall(r"alert: (\w+)", ALERTS.read_text()))
