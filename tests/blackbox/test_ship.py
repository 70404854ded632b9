"""`spoa-llm ship`: each row of each gateway's ledger stands in PostgreSQL once, with all of its figures, whatever ends or is put back meanwhile.

SHIPPERS=20 SHIP_RECORDS=200000 SHIP_KILLS=60 is the long form."""
import contextlib
import json
import os
import random
import signal
import sqlite3
import time

import pytest

import fleets
import harness
import postgres
from loglines import DAY, Maker
from processes import Process
from test_joining import LEG, Reports, report_of, usage
from test_keeping import Feed, ask, fill, line_of

SHIPPERS = int(os.environ.get("SHIPPERS", "3"))
RECORDS = int(os.environ.get("SHIP_RECORDS", "4000"))
KILLS = int(os.environ.get("SHIP_KILLS", "4"))
SECONDS = 60 + RECORDS // 500
# What --matrix runs with PostgreSQL 17, too; --whole-matrix runs all.
NEWER = {"test_one_shipper_writes_for_a_ledger", "test_a_row_that_postgresql_refuses_holds_nothing_up", "test_a_copy_of_a_ledger_is_noticed"}
# Little log and little write-ahead log, because all files of a test are searched for credentials.
QUIET = ["log_statement = 'none'", "min_wal_size = '32MB'", "max_wal_size = '128MB'", "wal_keep_size = '64MB'"]


def pytest_generate_tests(metafunc):
    wanted = {"server", "version"} & set(metafunc.fixturenames)
    if wanted:
        option, versions = metafunc.config.getoption, [None]
        if option("--whole-matrix") or (option("--matrix") and metafunc.function.__name__ in NEWER):
            versions.append("17")
        metafunc.parametrize(wanted.pop(), versions, indirect=True, scope="module" if "server" in metafunc.fixturenames else None, ids=lambda version: "postgres-%s" % (version or "here"))


class Shipper:
    """`spoa-llm ship` of a gateway."""

    def __init__(self, gateway, *args, before=()):
        self.gateway, self.args, self.before, self.number = gateway, args, before, 0
        self.start()

    def start(self):
        self.number += 1
        self.log = self.gateway.directory / ("ship%d.log" % self.number)
        self.process = Process("agent", [*self.before, *harness.argv("ship", "-c", self.gateway.config, *self.args)], self.log, harness.environment())

    def again(self):
        """SIGKILL, and another process."""
        self.process.end(signal.SIGKILL)
        self.start()

    def says(self, pattern, seconds=20):
        return harness.until(lambda: [line for line in self.process.text().splitlines() if pattern in line], seconds,
                             lambda: "no %s\n%s" % (pattern, self.process.tail()))

    def end(self):
        self.process.check()
        code = self.process.end()
        # A process that has only just begun, and has said nothing yet, dies of SIGTERM as any other.
        assert code == 0 or code == -signal.SIGTERM and not self.process.text(), self.process.tail()


@pytest.fixture
def shippers():
    """start(gateway) starts a Shipper, which ends with the test."""
    all = []

    def start(*args, **more):
        all.append(Shipper(*args, **more))
        return all[-1]
    yield start
    for one in all:
        if one.process.running():
            one.end()


class Stream(Feed):
    """The log lines and the tap's reports of a gateway. `ids`: those whose line was sent."""

    def __init__(self, port, tap, seed):
        super().__init__(port)
        self.reports, self.rng, self.ids, self.open = Reports(tap), random.Random(seed), [], []
        self.maker = Maker(seed=seed, span_ms=40 * DAY, hostile=True)

    def some(self, count):
        """`count` lines: a third of streams, most of which the tap reports later; some by a clock that is wrong."""
        lines = []
        for _ in range(count):
            if self.rng.random() < .33:
                name = "tap-%08x-%d" % (self.rng.getrandbits(32), len(self.ids))
                if self.rng.random() < .9:
                    self.open.append(name)
                lines.append(line_of(name, **LEG))
            else:
                odd = {"te": self.rng.choice((0, 1, 4102444800000, 1500000000000, 253402300799999))} if self.rng.random() < .02 else {}
                entry = self.maker.one(**odd)
                name = entry.want["id"]
                lines.append(entry.line)
            self.ids.append(name)
        framed = b""
        for line in lines:
            line = ("<134>1 - - - - - - " + line).encode()
            framed += b"%d %s" % (len(line), line)
        self.socket.sendall(framed)
        while len(self.open) > 40 or (self.open and count == 0):
            name = self.open.pop(0)
            n = self.rng.randrange(1, 9999)
            self.reports.send(report_of(name, last=usage(n, n + 1, 0)))

    def again(self, port):
        """The connection to the next process."""
        self.socket.close()
        self.socket = harness.until(lambda: self._connect(port), 10, "the agent's log socket")


class Running:
    """A gateway whose agent takes lines and reports, and whose ledger is shipped."""

    def __init__(self, fleet, name, uri, agents, shippers, seed):
        self.port, self.agents = harness.free_port(), agents
        self.gateway = fleets.Gateway(fleet, name, fleet_uri=uri)
        work = self.gateway.directory
        self.settings = {"ledger": str(work / "ledger"), "log_listen": ["127.0.0.1:%d" % self.port], "tap": True, "tap_listen": "dgram@%s/tap" % work,
                         "retention_days": 0, "prices": str(work / "prices.json")}
        self.agent = agents(self.settings)
        self.stream = Stream(self.port, work / "tap", seed)
        self.shipper = shippers(self.gateway)

    def rows(self):
        return rows_of_ledger(self.gateway.db)

    def restart(self):
        self.agent = self.agents(self.settings)
        self.stream.again(self.port)


def columns_of(db):
    with sqlite3.connect("file:%s?mode=ro" % db, uri=True, timeout=20) as base:
        return [row[1] for row in base.execute("pragma table_info(requests)")]


def text_of(value):
    return "" if value is None else str(value)


def rows_of_ledger(db):
    """Each row by its id, with its sequence and all of its columns as texts."""
    columns = columns_of(db)
    with sqlite3.connect("file:%s?mode=ro" % db, uri=True, timeout=20) as base:
        return {row[columns.index("id")]: tuple(map(text_of, row)) for row in base.execute("select %s, rowid from requests" % ", ".join(columns))}


def rows_of_fleet(fleet, gateway):
    """The same out of PostgreSQL."""
    columns = columns_of(gateway.db)
    rows = fleet.sql("select %s, sequence from spoa_llm.requests r join spoa_llm.gateways g on g.no = r.gateway where g.name = '%s'" % (
        ", ".join("r." + column for column in columns), gateway.name))
    by_id = {row[columns.index("id")]: tuple(row) for row in rows}
    assert len(by_id) == len(rows), "a row stands there twice"
    return by_id


def place_of(fleet, name):
    """position, behind, epoch, rows."""
    got = fleet.sql("select position, behind, epoch, rows from spoa_llm.gateways where name = '%s'" % name)
    return [int(number) for number in got[0]] if got else [0, 0, 0, 0]


def all_shipped(fleet, gateway, seconds=60):
    """Waits until PostgreSQL has the last change."""
    harness.until(lambda: place_of(fleet, gateway.name)[0] == max([int(row[-1]) for row in rows_of_ledger(gateway.db).values()] or [0]), seconds,
                  lambda: "%s has %s of %s" % (gateway.name, place_of(fleet, gateway.name), gateway.meta("sequence")), step=.1)


def same(fleet, gateway, lost=()):
    """Each row of the ledger is there with all of its figures, and no other one but those that were lost in the ledger; and the sums are those of the rows."""
    here, there = rows_of_ledger(gateway.db), rows_of_fleet(fleet, gateway)
    missing, more = set(here) - set(there), set(there) - set(here) - set(lost)
    assert not missing and not more, "%d are missing, %d too many: %s" % (len(missing), len(more), sorted(missing | more)[:5])
    differ = [(here[name], there[name]) for name in here if here[name] != there[name]]
    assert not differ, "%d differ, the first: %s" % (len(differ), differ[0])
    columns = columns_of(gateway.db)
    for name in ("cost", "saved_compression", "saved_cache", "saved_routing"):
        total = sum(int(row[columns.index(name)]) for row in there.values())
        got = fleet.value("select sum(h.%s) from spoa_llm.hourly h join spoa_llm.gateways g on g.no = h.gateway where g.name = '%s' and kind = 0" % (name, gateway.name))
        assert int(got) == total, (name, got, total)
    count = fleet.value("select sum(h.requests) from spoa_llm.hourly h join spoa_llm.gateways g on g.no = h.gateway where g.name = '%s' and kind = 0" % gateway.name)
    assert int(count) == len(there)


def feed_all(running, rng, each):
    for one in running:
        one.stream.some(rng.randrange(each // 2, each * 3 // 2))


@pytest.fixture
def version(request):
    return request.param


@pytest.mark.timeout(SECONDS * 4)
def test_each_row_stands_there_once_whatever_ends(version, agents, shippers):
    """Shippers and the server are killed, a standby takes over, an older backup of PostgreSQL and one of a ledger are put back, corrections come late and
    clocks stand anywhere. The server may lose what it has committed (synchronous_commit = off), as a standby that was behind may."""
    rng = random.Random(os.environ.get("SHIP_SEED", str(random.randrange(1 << 30))))
    with postgres.Server(version, settings=QUIET) as first, contextlib.ExitStack() as others:
        fleet = fleets.Fleet(first)
        second = others.enter_context(first.standby())
        hosts = "127.0.0.1:%d,127.0.0.1:%d" % (first.port, second.port)
        running = []
        for number in range(SHIPPERS):
            name = "gw%d" % number
            uri = "postgresql://spoa_llm_%s@%s/%s" % (name, hosts, fleet.database)
            running.append(Running(fleet, name, uri, agents, shippers, rng.randrange(1 << 30)))
        # With synchronous_commit = off the first kill could take a role away.
        harness.until(lambda: second.value("select count(*) from pg_roles where rolname like 'spoa_llm_gw%'", database="postgres") == str(SHIPPERS), 30, "the standby has the roles")
        each = RECORDS // SHIPPERS // (KILLS * 2)
        older = ledger_copy = None
        for number in range(KILLS):
            feed_all(running, rng, each)
            if number == KILLS // 4:
                older = first.backup()
            if number == KILLS // 2:
                ledger_copy = running[0].gateway.directory / "copy.db"
                running[0].gateway.ledger("backup", ledger_copy)
            if rng.random() < .35:
                first.kill()
                time.sleep(rng.random() * .2)
                first.start()
            else:
                rng.choice(running).shipper.again()
            feed_all(running, rng, each // 3)
        # The server is lost, and the standby takes over. Then both are, and an older backup has to do.
        first.kill()
        second.promote()
        fleet.server = second
        feed_all(running, rng, each)
        moved = running[-1].gateway.name
        # A shipper whose last sessions were killed before they had sent a row may wait for half a minute, and twenty begin at a time.
        harness.until(lambda: place_of(fleet, moved)[0] > 0, 90, lambda: "no shipper of %s at the standby\n%s" % (moved, running[-1].shipper.process.tail()))
        second.kill()
        first.data = older
        first.start()
        fleet.server = first
        feed_all(running, rng, each)
        for one in running:
            one.stream.some(0)
            harness.until(lambda: len(one.rows()) == len(one.stream.ids), 60, lambda: "%d rows of %d" % (len(one.rows()), len(one.stream.ids)), step=.1)
            all_shipped(fleet, one.gateway, SECONDS)
        # One ledger is an older copy of itself from now on. What it has lost stays in PostgreSQL.
        restored = running[0]
        restored.agent.close()
        before = set(restored.rows())
        restored.gateway.ledger("restore", ledger_copy, "--replace")
        lost = before - set(restored.rows())
        assert lost
        restored.restart()
        restored.stream.some(each)
        for one in running:
            one.stream.some(0)
        harness.until(lambda: len(restored.rows()) == len(restored.stream.ids) - len(lost), 60,
                      lambda: "%d rows of %d - %d" % (len(restored.rows()), len(restored.stream.ids), len(lost)), step=.1)
        harness.until(lambda: place_of(fleet, restored.gateway.name)[2] == 2, 30, "the shipper notices the other copy")
        for one in running:
            all_shipped(fleet, one.gateway, SECONDS)
            same(fleet, one.gateway, lost if one is restored else ())
            assert set(rows_of_fleet(fleet, one.gateway)) == set(one.stream.ids)
        assert fleet.value("select count(*) from spoa_llm.rejected") == "0"
        usage_at = columns_of(restored.gateway.db).index("usage")
        corrected = sum(row[usage_at] == "5" for one in running for row in one.rows().values())
        assert corrected > len(running), "no late report has changed a row"


@pytest.fixture(scope="module")
def server(request):
    with postgres.Server(request.param, settings=QUIET) as one:
        yield one


@pytest.fixture
def fleet(server):
    return fleets.Fleet(server, "_%d" % random.randrange(1 << 30))


def gateway_with(fleet, name, count):
    one = fleets.Gateway(fleet, name)
    one.take(Maker(seed=random.randrange(1 << 30)).make(count))
    return one


def test_one_shipper_writes_for_a_ledger(fleet, shippers):
    """A second one is refused and says from where the first one writes; it takes over when that ends."""
    gateway = gateway_with(fleet, "lima", 300)
    first = shippers(gateway)
    all_shipped(fleet, gateway)
    second = shippers(gateway)
    line = second.says("event=ship_refused")[0]
    assert "another `spoa-llm ship` writes for the gateway lima, from the same host" in line and "level=error" in line
    first.end()
    second.says("event=ship_connected")
    gateway.take(Maker(seed=5).make(100), name="more")
    all_shipped(fleet, gateway)
    same(fleet, gateway)


def test_a_gateway_without_requests_is_back_as_soon_as_others(fleet, shippers):
    """Sessions that ended well do not make the pauses after the next failures longer, also where there was no row to send."""
    gateway = gateway_with(fleet, "bern", 5)
    shipper = shippers(gateway)
    all_shipped(fleet, gateway)
    session = "select pid from pg_stat_activity where usename = '%s' and state = 'idle' and query like '%%spent_elsewhere%%'" % gateway.role
    ended = set()
    for _ in range(6):
        # A session that was told to end may be seen once more.
        pid = harness.until(lambda: {row[0] for row in fleet.sql(session)} - ended, 8, shipper.process.tail, step=.1).pop()
        fleet.sql("select pg_terminate_backend(%s)" % pid)
        ended.add(pid)
    harness.until(lambda: len(shipper.says("event=ship_waits")) == 6, 8, shipper.process.tail)


def test_a_row_that_postgresql_refuses_holds_nothing_up(fleet, shippers):
    """It is noted, with what PostgreSQL said. Once the cause is gone, a resend brings it."""
    fleet.sql("alter table spoa_llm.requests add constraint no_poison check (model <> 'poison')")
    gateway = fleets.Gateway(fleet, "oslo")
    entries = Maker(seed=9).make(900)
    bad = [Maker(seed=70 + n).one(model="poison") for n in range(3)]
    rows = entries[:400] + bad[:2] + entries[400:800] + bad[2:] + entries[800:]
    gateway.take(rows)
    shipper = shippers(gateway)
    all_shipped(fleet, gateway)
    assert len(shipper.says("event=ship_rejected")) == 3
    there = rows_of_fleet(fleet, gateway)
    assert set(there) == {entry.want["id"] for entry in entries}
    noted = fleet.sql("select id, problem from spoa_llm.rejected order by sequence")
    assert [row[0] for row in noted] == [one.want["id"] for one in bad] and all("no_poison" in row[1] for row in noted)
    fleet.sql("alter table spoa_llm.requests drop constraint no_poison")
    gateway.resend()
    same(fleet, gateway)


def test_a_copy_of_a_ledger_is_noticed(fleet, shippers):
    """A snapshot of a machine goes on from what the ledger was: the same UUID and epoch, other rows with the same sequences. No row of either is lost or
    there twice."""
    gateway = gateway_with(fleet, "rome", 200)
    snapshot = gateway.directory / "snapshot.db"
    gateway.ledger("backup", snapshot)
    gateway.take(Maker(seed=21).make(100), name="lost")
    lost = set(rows_of_ledger(gateway.db))
    shipper = shippers(gateway)
    all_shipped(fleet, gateway)
    shipper.end()
    for path in gateway.db.parent.glob("ledger.db*"):
        path.unlink()
    gateway.db.write_bytes(snapshot.read_bytes())
    gateway.take(Maker(seed=22).make(250), name="other")
    lost -= set(rows_of_ledger(gateway.db))
    assert len(lost) == 100
    shipper.start()
    shipper.says("event=ship_epoch")
    all_shipped(fleet, gateway)
    same(fleet, gateway, lost)
    # Once is enough.
    shipper.again()
    shipper.says("event=ship_connected")
    assert place_of(fleet, "rome")[2] == 2


def test_postgresql_is_away(fleet, shippers):
    """Decisions and the ledger do not ask it (test_keeping.py and others know no PostgreSQL). The shipper waits for it, from its start on, and ends when it is
    told, whatever it waits for."""
    gateway = gateway_with(fleet, "wien", 3000)
    fleet.server.pause()
    try:
        waiting = shippers(gateway)
        waiting.says("event=ship_started")
        time.sleep(.3)
        waiting.end()
    finally:
        fleet.server.pause(False)
    fleet.server.stop()
    shipper = shippers(gateway)
    line = shipper.says("event=ship_waits")[0]
    assert "the ledger keeps the rows" in line
    fleet.server.start()
    all_shipped(fleet, gateway)
    same(fleet, gateway)


def test_postgresql_takes_nothing(fleet, shippers):
    """Its disk is full, or it takes no writes: that is no fault of a row, and nobody has to fix anything on the gateway."""
    fleet.sql("create function full_disk() returns trigger language plpgsql as $$ begin raise exception 'no space left on device' using errcode = '53100'; end $$;"
              "create trigger full_disk before insert on spoa_llm.requests execute function full_disk()")
    gateway = gateway_with(fleet, "riga", 300)
    shipper = shippers(gateway)
    line = shipper.says("event=ship_waits")[0]
    assert "no space left on device" in line and "the ledger keeps the rows" in line
    fleet.sql("drop trigger full_disk on spoa_llm.requests")
    all_shipped(fleet, gateway)
    read_only = "set default_transaction_read_only = off; alter system set default_transaction_read_only = %s; select pg_reload_conf()"
    try:
        fleet.server.psql(read_only.replace("; ", ";\n") % "on", database="postgres")
        gateway.take(Maker(seed=31).make(100), name="more")
        harness.until(lambda: len(shipper.says("event=ship_waits")) == 2, 20, shipper.process.tail)
        assert "read-only" in shipper.says("event=ship_waits")[1]
    finally:
        fleet.server.psql(read_only.replace("; ", ";\n") % "off", database="postgres")
    all_shipped(fleet, gateway)
    same(fleet, gateway)
    assert fleet.value("select count(*) from spoa_llm.rejected") == "0" and not shipper.process.text().count("level=error")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_the_shipper_only_reads(fleet, shippers):
    """It runs as another user, of the group of the ledger, while an agent writes and while none is there."""
    nobody = 65534
    gateway = fleets.Gateway(fleet, "kyiv", fleet_uri=fleet.server.uri("spoa_llm_kyiv" + fleet.suffix, fleet.database, tcp=True))
    gateway.take(Maker(seed=2).make(300))
    for path in (gateway.directory, gateway.db.parent):
        path.chmod(0o750)
        os.chown(path, 0, nobody)
    for path in gateway.db.parent.glob("ledger.db*"):
        os.chown(path, 0, nobody)
        assert path.stat().st_mode & 0o777 == 0o640, path
    for path in fleet.dir, *fleet.dir.glob("password-*"):
        os.chown(path, nobody, nobody)
    before = {path.name for path in gateway.db.parent.iterdir()}
    shippers(gateway, before=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    harness.until(lambda: place_of(fleet, "kyiv")[3] == 300, 30, "all rows", step=.1)
    assert {path.name for path in gateway.db.parent.iterdir()} == before
    # The writer makes the files beside the database with the group of the directory's user, as systemd's unit has it.
    gateway.db.parent.chmod(0o2750)
    gateway.take(Maker(seed=3).make(100), name="more")
    all_shipped(fleet, gateway)
    same(fleet, gateway)


# ---- the agent beside the shipper


KEPT = 9000


def kept_gateway(fleet, name, agents, **config):
    """A gateway with KEPT requests of the last 30 days, of which 10 days are kept, and its agent."""
    gateway = fleets.Gateway(fleet, name, retention_days=10, **config)
    fill(gateway, KEPT)
    gateway.db.chmod(0o600)         # as versions before the fleet made it
    settings = dict(json.loads(gateway.config.read_text()), log_listen=["127.0.0.1:%d" % harness.free_port()], fleet_listen=["dgram@%s/fleet" % gateway.directory])
    harness.write_config(gateway.directory, settings)
    return gateway, agents(settings)


def fleet_metrics(agent):
    return {line.split()[0]: float(line.split()[1]) for line in agent.http(path="/metrics").text.splitlines() if line.startswith("spoa_llm_fleet_")}


def check_of(agent):
    return {check["part"]: check for check in json.loads(agent.http(path="/readyz").text)["checks"]}["fleet"]


def count(gateway):
    return ask(gateway.db, "select count(*) from requests")[0]


def test_rows_are_kept_until_postgresql_has_them(fleet, agents, shippers):
    """Retention waits for the shipper. Metrics and /readyz say how far it is, and never that the agent is not ready."""
    gateway, agent = kept_gateway(fleet, "bonn", agents)
    said = check_of(agent)
    assert said["ok"] and not said["blocking"] and said["detail"] == "not heard of yet", said
    harness.until(lambda: gateway.db.stat().st_mode & 0o777 == 0o640, 20, "the group may read the ledger")
    assert json.loads(gateway.ledger("prune", "--json").out)["removed"] == 0
    assert count(gateway) == KEPT and "event=pruned" not in agent.text()
    fleet.server.pause()
    try:
        shipper = shippers(gateway)
        harness.until(lambda: fleet_metrics(agent)['spoa_llm_fleet_state{state="connecting"}'] == 1, 20, "the shipper speaks")
        harness.until(lambda: fleet_metrics(agent)["spoa_llm_fleet_lag_seconds"] > 1, 20, "the lag grows", step=.1)
    finally:
        fleet.server.pause(False)
    harness.until(lambda: fleet_metrics(agent)['spoa_llm_fleet_state{state="ok"}'] == 1, 60, lambda: shipper.process.tail(), step=.1)
    got = fleet_metrics(agent)
    assert got["spoa_llm_fleet_behind"] == got["spoa_llm_fleet_lag_seconds"] == got["spoa_llm_fleet_rejected_total"] == 0, got
    assert got["spoa_llm_fleet_sent_total"] == KEPT and check_of(agent)["ok"]
    agent.log("event=pruned", 60)
    left = count(gateway)
    assert KEPT / 4 < left < KEPT * .45 and place_of(fleet, "bonn")[3] == KEPT
    assert fleet.value("select count(*) from spoa_llm.requests") == str(KEPT)
    gateway.verify()
    # A shipper that goes on goes on from there, and counts on.
    shipper.again()
    harness.until(lambda: fleet_metrics(agent)['spoa_llm_fleet_state{state="ok"}'] == 1, 20, "the next one speaks")
    assert fleet_metrics(agent)["spoa_llm_fleet_sent_total"] == KEPT and place_of(fleet, "bonn")[2] == 1


def test_a_backlog_that_is_too_large_is_cut(fleet, agents):
    """The oldest rows that were not shipped go, and that is said; and so is that no shipper speaks."""
    gateway, agent = kept_gateway(fleet, "kiel", agents, fleet_backlog=1 << 20)
    line = agent.log("event=fleet_backlog_full", 60)
    assert "backlog=1048576" in line
    gone = KEPT - count(gateway)
    due = KEPT - ask(gateway.db, "select count(*) from requests where time_ms >= %d" % ((time.time() - 10 * 86400) * 1000))[0]
    assert 1000 < due - gone < 4000, (due, gone)
    assert fleet_metrics(agent)["spoa_llm_fleet_unshipped_removed_total"] == gone
    agent.log("event=fleet_silent", 20)
    said = check_of(agent)
    assert not said["ok"] and not said["blocking"] and "was not heard of for" in said["detail"], said
    assert agent.http(path="/readyz").status == 200 and fleet_metrics(agent)['spoa_llm_fleet_state{state="silent"}'] == 1
