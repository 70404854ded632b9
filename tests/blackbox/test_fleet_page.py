"""The figures of all gateways on the page of one: `spoa-llm ship` has them from PostgreSQL and gives them to the agent, by a socket of their own."""
import contextlib
import json
import os
import random
import re
import signal
import socket
import stat
import threading
import time

import pytest

import fleets
import harness
import postgres
import spop
from harness import cli, until
from adminserver import admin  # noqa: F401
from loglines import DAY, Maker
from test_ship import QUIET, Shipper, all_shipped

NAMES = ("berlin", "lima", "oslo")
GROUPS = ("model", "route", "project", "client", "member", "day", "hour", "gateway")


class Site:
    """The host of a gateway: its agent, with the page, and its shipper."""

    def __init__(self, gateway, ship=True, **config):
        work = gateway.directory
        settings = dict(json.loads(gateway.config.read_text()), listen="unix@%s/spoa.sock" % work, log_listen=["unix@%s/log.sock" % work, "dgram@%s/log.dgram" % work],
                        admin_listen="127.0.0.1:%d" % harness.free_port(), fleet_listen=["dgram@%s/fleet.dgram" % work], **config)
        gateway.config = harness.write_config(work, settings)
        self.gateway, self.shipper = gateway, None
        self.agent = harness.Agent(work, settings)
        if ship:
            self.ship()

    def ship(self):
        self.shipper = Shipper(self.gateway)
        return self.shipper

    def get(self, path):
        return self.agent.http(path=path)

    def json(self, path):
        got = self.get(path)
        assert got.status == 200, got.text
        return json.loads(got.text)

    def close(self):
        if self.shipper and self.shipper.process.running():
            self.shipper.process.popen.send_signal(signal.SIGCONT)
            self.shipper.end()
        self.agent.close()


@pytest.fixture(scope="module")
def server():
    with postgres.Server(settings=QUIET) as one:
        yield one


def gateway_of(fleet, name, count, **maker):
    one = fleets.Gateway(fleet, name)
    one.take(Maker(seed=random.randrange(1 << 30), **maker).make(count))
    return one


@pytest.fixture(scope="module")
def fleet(server):
    """Three gateways with all rows in PostgreSQL."""
    one = fleets.Fleet(server)
    one.gateways = [gateway_of(one, name, 500 + 150 * number, span_ms=12 * DAY, hostile=number == 1) for number, name in enumerate(NAMES)]
    for gateway in one.gateways:
        gateway.ship()
    one.reading = one.reader("people")
    return one


@pytest.fixture(scope="module")
def site(fleet):
    """The first gateway's host; not to be changed."""
    one = Site(fleet.gateways[0])
    until(lambda: one.json("/stats")["fleet"]["state"] == "ok", 20, lambda: one.shipper.process.tail())
    yield one
    one.close()


@pytest.fixture
def sites():
    with contextlib.ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(contextlib.closing(Site(*args, **more)))


# ---- figures


def savings_of_the_fleet(fleet, *args):
    done = cli("savings", "--fleet", *args, *fleet.reading)
    assert done.code == 0, done
    return done.out


@pytest.mark.parametrize("by", GROUPS)
def test_the_figures_are_those_of_the_command(fleet, site, by):
    """To the byte, and for each split; and each gateway's are in them."""
    got = site.get("/savings?scope=fleet&since=all&by=" + by)
    assert got.status == 200 and got.text == savings_of_the_fleet(fleet, "--json", "--since", "all", "--by", by)
    assert json.loads(got.text)["totals"]["requests"] == sum(len(gateway.export()) for gateway in fleet.gateways)
    # Of this gateway alone, as ever.
    if by != "gateway":
        for scope in ("", "&scope=gateway"):
            assert site.json("/savings?since=all&by=" + by + scope) == fleet.gateways[0].savings("--since", "all", "--by", by)


def test_periods_and_csv(fleet, site):
    got = site.get("/savings?scope=fleet&since=2026-01-01&until=2026-11-20&by=project&format=csv")
    assert got.headers["content-type"].startswith("text/csv") and "savings.csv" in got.headers["content-disposition"]
    assert got.text == savings_of_the_fleet(fleet, "--csv", "--since", "2026-01-01", "--until", "2026-11-20", "--by", "project")
    week = site.json("/savings?scope=fleet&since=7d")
    said = json.loads(savings_of_the_fleet(fleet, "--json", "--since", "7d", "--compare"))
    assert said["before"] == site.json("/savings?scope=fleet&since=7d&compare=1")["before"] and said["before"]["totals"]["requests"] > 0 and said["forecast"]
    assert 0 < week["totals"]["requests"] < site.json("/savings?scope=fleet&since=all")["totals"]["requests"]


VIEWS = (
    "/savings?by=model&status=2xx", "/savings?by=day&split=model&compare=1&since=7d", "/savings?by=hour&split=status_class&since=3d", "/savings?by=member&route=*",
    "/savings?by=client&project=", "/operation?since=all", "/operation?since=3d&unit=hour", "/operation?since=10d&unit=day&model=g*", "/operation?since=all&by=model&status=4xx",
    "/operation?since=all&by=project", "/savings?by=route&since=2026-01-01&until=now&format=csv&model=*5*")


@pytest.mark.parametrize("path", VIEWS)
def test_figures_of_one_gateway_are_those_of_its_ledger(site, path):
    """PostgreSQL and SQLite say the same of the same requests: filters, splits, percentiles, comparison and forecast."""
    own, got = site.get(path), site.get(path + "&scope=fleet&gateway=berlin")
    assert own.status == got.status == 200, got.text
    if "csv" in path:
        assert own.text == got.text
        return
    own, got = json.loads(own.text), json.loads(got.text)
    if path.startswith("/savings"):
        assert got["only"].pop("gateway") == "berlin" and own.setdefault("only", {}) == got["only"]
    for moving in ("whole_from", "requests_since"):
        assert own.pop(moving, None) is None and got.pop(moving, None) is None
    # What is left of the month is a little less for the second of both.
    for one, other in zip(*(list(said["forecast"].items()) if said.get("forecast") else [] for said in (own, got))):
        assert one[0] == other[0] and (one[1] == other[1] or abs(one[1] - other[1]) < one[1] / 1e5)
    assert bool(own.pop("forecast", None)) == bool(got.pop("forecast", None)) == ("compare" in path)
    assert got == own
    assert (got.get("totals") or got)["requests"] > 0


def test_figures_of_all_gateways(fleet, site):
    rows = [json.loads(line) for line in cli("ledger", "export", "--fleet", *fleet.reading).out.splitlines()]
    said = site.json("/operation?scope=fleet&since=all&by=gateway")
    assert said["totals"]["requests"] == len(rows) and said["not_told_apart"] == 0
    assert {one["label"]: one["requests"] for one in said["groups"]} == {name: len([row for row in rows if row["gateway"] == name]) for name in NAMES}
    times = sorted(row["total_ms"] for row in rows if not row["code"] and row["total_ms"] is not None)
    for p in (50, 95, 99):
        exact = times[-(-len(times) * p // 100) - 1]
        unit = 10 ** max(0, len(str(exact)) - 2)
        assert said["totals"]["whole_ms"]["p%d" % p] == (exact + unit // 2) // unit * unit
    some = [row for row in rows if row["gateway"] != "berlin" and row["model"].startswith("g")]
    assert sum(site.json("/operation?scope=fleet&since=all&model=g*&gateway=" + name)["totals"]["requests"] for name in ("lima", "o*")) == len(some) > 0


def test_the_list_of_the_fleet(fleet, site):
    """Single requests of others are for readers; the owner can make a gateway's role one."""
    for path in ("/requests?scope=fleet", "/request?scope=fleet&id=x"):
        got = site.get(path)
        assert got.status == 400 and 'GRANT spoa_llm_reader TO "spoa_llm_berlin"' in json.loads(got.text)["error"], got.text
    fleet.sql("grant spoa_llm_reader to spoa_llm_berlin")
    try:
        rows = [json.loads(line) for line in cli("ledger", "export", "--fleet", *fleet.reading).out.splitlines()][::-1]
        for query, want in (("limit=40&offset=333", rows[333:373]), ("limit=1000&offset=1100", rows[1100:2100]), ("limit=70&order=asc&offset=60", rows[::-1][60:130])):
            got = site.json("/requests?scope=fleet&since=all&" + query)
            assert (got["total"], [row["time"] for row in got["rows"]]) == (len(rows), [row["time"] for row in want]), query
            assert sorted(row["id"] for row in got["rows"]) == sorted(row["id"] for row in want) and got["rows"][0] in rows
        few = [row for row in rows if row["status"] and row["status"] // 100 == 4 and row["gateway"] == "lima"]
        got = site.json("/requests?scope=fleet&since=all&status=4xx&gateway=lima&limit=5&offset=2")
        assert got["total"] == len(few) > 7 and [row["id"] for row in got["rows"]] == [row["id"] for row in few[2:7]]
        dear = site.json("/requests?scope=fleet&since=all&sort=cost&limit=3")["rows"]
        assert [row["cost_nanodollars"] for row in dear] == sorted((row["cost_nanodollars"] or 0 for row in rows), reverse=True)[:3]
        for row in random.sample(rows, 5):
            got = site.json("/request?scope=fleet&id=" + row["id"])
            assert got["request"] == row and got["route"] is None and got["explained"]["termination"]
            assert [one["id"] for one in site.json("/requests?scope=fleet&since=all&id=" + row["id"])["rows"]] == [row["id"]]
        assert site.get("/request?scope=fleet&id=nobody").status == 404
        # Of one gateway: as its own page has it.
        own, got = site.json("/requests?since=all&limit=300&offset=100"), site.json("/requests?since=all&limit=300&offset=100&scope=fleet&gateway=berlin")
        assert [dict(row, gateway="berlin") for row in own.pop("rows")] == got.pop("rows") and own == got
    finally:
        fleet.sql("revoke spoa_llm_reader from spoa_llm_berlin")
    assert site.get("/requests?scope=fleet").status == 400


def looked_at_some(log):
    """By PostgreSQL's plans in `log`, each scan of single requests ends at a limit of rows, and none has a filter: the filter is applied to the rows that it gave."""
    limits, looked = [], 0
    for line in log.splitlines():
        depth = len(line.expandtabs()) - len(line.expandtabs().lstrip())
        limits = [limit for limit in limits if limit < depth]
        if re.search(r"->  Limit|^\tLimit", line):
            limits.append(depth)
        if re.search(r"Scan .*on requests", line):
            looked = depth
        elif "->" in line or "Query Text" in line:
            looked = 0
        if looked and depth > looked and "Filter:" in line:
            raise AssertionError("a scan looks for rows that pass a filter:\n" + log)
        assert not looked or limits, "a scan of requests without a limit:\n" + log


def test_what_is_read(server, sites):
    """Figures of some requests read no request, and a page of the list the rows of its hours by the key: PostgreSQL's own plans say so, over 20,000 rows."""
    fleet = fleets.Fleet(server, "_plans")
    gateway = gateway_of(fleet, "graz", 200, span_ms=2 * DAY)
    gateway.ship()
    columns = [row[0] for row in fleet.sql("select column_name from information_schema.columns where table_schema = 'spoa_llm' and table_name = 'requests'")]
    fleet.sql("insert into spoa_llm.requests (%s) select %s from spoa_llm.requests, generate_series(1, 100) as n; analyze" % (
        ", ".join(columns), ", ".join({"id": "id || n", "time_ms": "time_ms - n * 1000"}.get(name, name) for name in columns)))
    fleet.sql("grant spoa_llm_reader to {0}; alter role {0} set session_preload_libraries = 'auto_explain'; alter role {0} set auto_explain.log_min_duration = 0;"
              " alter role {0} set auto_explain.log_nested_statements = off".format(gateway.role))
    month = fleet.value("select c.relname from spoa_llm.requests r join pg_class c on c.oid = r.tableoid group by 1 order by count(*) desc limit 1")
    site = sites(gateway)
    until(lambda: site.get("/gateways").status == 200, 20, site.shipper.process.tail, step=.1)

    def plans(path):
        before = len(server.log())
        said = site.json(path + "&scope=fleet")
        done = server.log()[before:]
        assert "Query Text: " in done, path
        return said, done
    for path in ("/savings?since=all&by=model&status=2xx", "/savings?since=all&by=day&split=client&compare=1", "/operation?since=all", "/operation?since=1d&model=g*&by=project"):
        said, done = plans(path)
        assert said["totals"]["requests"] > 0 and " on requests" not in done, path
    row = site.json("/requests?since=all&limit=1&offset=15000&scope=fleet")["rows"][0]
    for path in ("/requests?since=all&limit=50", "/requests?since=all&limit=50&offset=15000", "/requests?since=all&status=2xx&model=g*&limit=20", "/requests?since=all&id=" + row["id"]):
        said, done = plans(path)
        assert said["rows"] and "Index Scan" in done and "Seq Scan on " + month not in done, (path, done)
        looked_at_some(done)
    assert site.get("/request?scope=fleet&id=never-was").status == 404
    _, done = plans("/requests?since=all&id=never*")
    assert " on requests" in done
    looked_at_some(done)


def test_gateways(fleet, site):
    said, listed = (sorted(one["gateways"], key=lambda row: row["name"]) for one in (
        site.json("/gateways"), json.loads(cli("fleet", "list", "--json", *fleet.reading).out)))
    assert [one["name"] for one in said] == list(NAMES)
    for one, other in zip(said, listed):
        moving = ("quiet_ms", "last_seen")
        assert {k: v for k, v in one.items() if k not in moving} == {k: v for k, v in other.items() if k not in moving}


def test_stats_say_how_far_it_is(site):
    said = site.json("/stats")["fleet"]
    assert (said["state"], said["figures"], said["behind"], said["lag_ms"], said["problem"], said["rejected"]) == ("ok", True, 0, 0, "", 0)
    assert said["position"] == int(site.gateway.meta("sequence")) and said["epoch"] == 1


def test_what_cannot_be_asked(site):
    for path, words in (
            ("/savings?scope=all", 'scope "all": gateway or fleet is expected'), ("/savings?scope=fleet&by=colour", "or gateway"),
            ("/savings?scope=fleet&since=yore", "yore"), ("/savings?scope=fleet&since=" + "9" * 200, "is not a time"),
            ("/savings?scope=fleet&since=" + "%22" * 3000, "since has more than 512 bytes"), ("/savings?scope=fleet&by=a%0ab", "or gateway"),
            ("/savings?by=gateway", "needs --fleet")):
        got = site.get(path)
        assert got.status == 400 and words in json.loads(got.text)["error"], (path[:80], got.text)


def test_without_a_fleet(admin):
    agent = admin()
    assert json.loads(agent.http(path="/stats").text)["fleet"] is None
    for path in ("/savings?scope=fleet", "/gateways"):
        got = agent.http(path=path)
        assert got.status == 400 and "set fleet_uri and ship_listen" in got.text


# ---- what goes wrong


class Impostor:
    """Listens where the shipper does, and answers with `bytes` by pieces, each after the question was read; then closes, or hangs if the last is None."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(8)
        self.asked, self.held, self.says = [], [], b""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            connection.settimeout(10)
            self.asked.append(connection.recv(8192))
            if self.says is None:
                self.held.append(connection)
                continue
            with contextlib.suppress(OSError):
                for piece in [self.says] if isinstance(self.says, bytes) else self.says:
                    connection.sendall(piece)
            connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        for one in (self.socket, *self.held):
            one.close()
        self.thread.join(10)


def trickle(first, byte):
    """`first`, and then a byte at a time, without end."""
    yield first
    while True:
        time.sleep(.3)
        yield byte


def error_of(got, status=503):
    assert got.status == status, got.text
    return json.loads(got.text)["error"]


def test_an_answer_that_is_none(admin, work):
    """Whatever stands at the socket: the page gets an answer, in words, and no part of a wrong one. An agent that waits for one can end."""
    agent = admin(fleet_uri="postgresql://x@/y", ship_listen="unix@%s/ship.sock" % work, fleet_listen=["dgram@%s/fleet.dgram" % work])
    until(lambda: agent.http(path="/savings?since=all").status == 200, 10, "the ledger is made", step=.02)
    assert "does not listen at ship_listen, unix@%s/ship.sock: start it" % work in error_of(agent.http(path="/gateways"))
    with contextlib.closing(Impostor(work / "ship.sock")) as there:
        for says, status, words in (
                (b"ok 3\n{}\n", 200, "{}\n"), (b"ok 0\n", 200, ""), (b"wrong 4\nwhy?", 400, "why?"), (b"away 6\nlater!", 503, "later!"),
                (b"", 503, "ended before"), (b"ok", 503, "ended before"), (b"ok 10\n{}", 503, "ended before"), (b"away 9\nlat", 503, "ended before"),
                (b"ok -1\n", 503, "cannot be read"), (b"ok 67108865\n", 503, "cannot be read"), (b"ok 3x\n{}\n", 503, "cannot be read"),
                (b"okay 3\n{}\n", 503, "cannot be read"), (b"no 3\n{}\n", 503, "cannot be read"), (b"x" * 100, 503, "cannot be read"),
                (b"ok 18446744073709551619\n{}\n", 503, "cannot be read"), (b"away 0\n", 503, "")):
            there.says = says
            got = agent.http(path="/gateways")
            assert got.status == status and words in (json.loads(got.text)["error"] if status != 200 else got.text), (says, got.text)
        assert set(there.asked) == {b'{"about":"gateways"}\n'}
        agent.http(path="/savings?scope=fleet&since=1d&until=now&by=day&format=csv")
        assert there.asked[-1] == b'{"about":"savings","since":"1d","until":"now","by":"day","format":"csv"}\n'
        # One that goes on and on, a byte at a time, is left alone after a few seconds.
        there.says = trickle(b"ok 60000\n{", b" ")
        assert "no answer in time" in error_of(agent.http(path="/gateways", timeout=20))
        # One that hangs holds up nothing but itself, and an agent that ends does not wait for it.
        there.says = None
        waiting = [spop.connect(agent.admin, 20) for _ in range(5)]
        for one in waiting:
            one.sendall(b"GET /gateways HTTP/1.1\r\nHost: %s\r\n\r\n" % agent.admin.encode())
        until(lambda: there.held, 10, "the question is there", step=.02)
        began = time.monotonic()
        assert agent.http(path="/savings?since=all").status == agent.http(path="/readyz").status == agent.http(path="/explain?model=m").status == 200
        assert time.monotonic() - began < 5 and len(there.held) == 1
        agent.close()
        for one in waiting:
            said = one.makefile("rb").read()
            assert said.startswith(b"HTTP/1.1 503") and b"the agent is stopping" in said, said
            one.close()
        assert not agent.lines("event=admin_left")


def ask(site, line, timeout=15):
    """What the shipper says to a line."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(timeout)
        one.connect(str(site.gateway.directory / "ship.sock"))
        one.sendall(line)
        got = b""
        while more := one.recv(65536):
            got += more
    return got.decode()


def test_questions_that_are_none(fleet, site):
    for line, words in ((b"\n", "no JSON object"), (b"[]\n", "no JSON object"), (b"{}\n", "no JSON object"), (b"{\n", "no JSON object"),
                        (b'{"about":"colours"}\n', "does not know what \"colours\""), (b'{"about":7}\n', '"about" is no text'),
                        (b'{"about":"savings","by":"model","colour":"red"}\n', 'no parameter "colour": restart this'),
                        (b'{"about":"gateways","since":"1d"}\n', '"gateways" has no "since": restart this'), (b'{"since":"1d"}\n', "does not begin with"),
                        (b'{"about":"savings","since":"\\u0000"}\n', '"since" is no text'), (b'{"about":"savings","format":"xml"}\n', "json or csv is expected"),
                        (b'{"about":"savings\'; drop table spoa_llm.hourly; --"}\n', "does not know what"),
                        (b'{"about":"savings","by":"model\' or 1=1"}\n', "or gateway")):
        got = ask(site, line)
        assert got.startswith("wrong ") and words in got, (line, got)
    # A line that is too long, or does not come, or nobody who reads the answer: the next question is answered.
    assert ask(site, b"x" * 4096) == ""
    slow = socket.socket(socket.AF_UNIX)
    slow.connect(str(site.gateway.directory / "ship.sock"))
    slow.sendall(b'{"about":"sav')
    drip = socket.socket(socket.AF_UNIX)
    drip.connect(str(site.gateway.directory / "ship.sock"))

    def send():
        with contextlib.suppress(OSError):
            for piece in trickle(b'{"about":"', b"x"):
                drip.sendall(piece)
    threading.Thread(target=send, daemon=True).start()
    mute = socket.socket(socket.AF_UNIX)
    mute.connect(str(site.gateway.directory / "ship.sock"))
    mute.sendall(b'{"about":"savings","since":"all","by":"hour"}\n')
    assert ask(site, b'{"about":"gateways"}\n').startswith("ok ")
    for one in (slow, drip, mute):
        one.close()


def test_one_more_connection(fleet, site):
    """The shipper answers by a connection of its own, one for all questions, of which each statement has a time-out."""
    for _ in range(3):
        assert site.get("/gateways").status == 200
    rows = fleet.sql("select count(*) from pg_stat_activity where usename = '%s'" % site.gateway.role)
    assert rows == [["2"]]


def test_who_may_ask(fleet, sites):
    """The agent's group, which the directory gives to the socket, and nobody else."""
    gateway = fleets.Gateway(fleet, "mode")
    place = gateway.directory / "run"
    place.mkdir()
    os.chown(place, -1, 12345 if os.geteuid() == 0 else os.getegid())
    place.chmod(0o2750)
    gateway.config.write_text(json.dumps(dict(json.loads(gateway.config.read_text()), ship_listen="unix@%s/fleet.sock" % place)))
    site = sites(gateway)
    until(lambda: (place / "fleet.sock").exists(), 10, "the socket", step=.05)
    found = (place / "fleet.sock").stat()
    assert stat.S_IMODE(found.st_mode) == 0o660 and found.st_gid == place.stat().st_gid
    until(lambda: site.get("/gateways").status == 200, 20, "an answer", step=.1)
    site.shipper.end()
    assert not (place / "fleet.sock").exists()
    # A directory in which the socket cannot be made stops nothing else.
    place.chmod(0o777)
    assert "cannot" not in site.ship().says("event=ship_unheard")[0]
    site.shipper.says("event=ship_connected")
    assert "does not listen" in error_of(site.get("/gateways"))


@contextlib.contextmanager
def locked(fleet, table):
    """Nobody else can read the table."""
    thread = threading.Thread(target=lambda: fleet.sql("begin; lock table %s in access exclusive mode; select pg_sleep(120)" % table, code=None))
    thread.start()
    held = "from pg_locks where mode = 'AccessExclusiveLock' and granted and relation = '%s'::regclass" % table
    try:
        until(lambda: fleet.value("select count(*) " + held) == "1", 10, "the lock", step=.05)
        yield
    finally:
        fleet.sql("select pg_terminate_backend(pid) " + held)
        thread.join()


def test_postgresql_is_away(fleet, server, sites):
    """The page says so in plain words; what is this gateway's own goes on. Afterwards the figures are there again, by themselves."""
    gateway, still = gateway_of(fleet, "riga", 200), sites(gateway_of(fleet, "kiel", 10))
    until(lambda: still.json("/stats")["fleet"]["state"] == "ok", 20, still.shipper.process.tail, step=.1)
    still.shipper.process.popen.send_signal(signal.SIGSTOP)
    site = sites(gateway, ship=False)
    assert "does not listen at ship_listen" in error_of(site.get("/savings?scope=fleet"))
    site.ship()
    until(lambda: site.get("/gateways").status == 200, 20, lambda: site.shipper.process.tail(), step=.1)
    # A right that the owner has taken back.
    fleet.sql("revoke select on spoa_llm.fleet_sums from spoa_llm_writer")
    assert "permission denied for view fleet_sums" in error_of(site.get("/savings?scope=fleet"))
    fleet.sql("grant select on spoa_llm.fleet_sums to spoa_llm_writer")
    assert site.get("/savings?scope=fleet").status == 200
    # The connection breaks between two questions: nobody notices.
    assert site.get("/gateways").status == 200
    gone = fleet.sql("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '%s' and query like '%%fleet_gateways%%'" % gateway.role)
    assert gone == [["t"]] and site.get("/gateways").status == 200
    # A statement that takes too long.
    fleet.sql("create or replace view spoa_llm.fleet_daily as select h.* from spoa_llm.daily h, pg_sleep(15) as s")
    began = time.monotonic()
    assert "statement timeout: ask for a shorter period" in error_of(site.get("/savings?scope=fleet"))
    assert time.monotonic() - began < 15 and site.get("/gateways").status == 200 and site.get("/savings").status == 200
    fleet.sql("create or replace view spoa_llm.fleet_daily as select * from spoa_llm.daily")
    assert site.get("/savings?scope=fleet").status == 200
    # A shipper that stands still is silent after ten seconds, and then nobody waits for it.
    until(lambda: still.json("/stats")["fleet"]["state"] == "silent", 20, "it is silent", step=.2)
    assert "has said nothing for" in error_of(still.get("/savings?scope=fleet"))
    still.shipper.process.popen.send_signal(signal.SIGCONT)
    until(lambda: still.get("/savings?scope=fleet").status == 200, 20, "an answer", step=.1)


def test_an_answer_that_is_too_long(server, sites):
    """What others have written does not fill the shipper's memory."""
    fleet = fleets.Fleet(server, "_long")
    site = sites(gateway_of(fleet, "bern", 60))
    until(lambda: fleet.value("select count(*) from spoa_llm.requests") == "60" and site.get("/gateways").status == 200, 20, site.shipper.process.tail, step=.1)
    names = [row[0] for row in fleet.sql("select column_name from information_schema.columns where table_name = 'hourly' and ordinal_position > 4")]

    def add(kind, bucket, label, count):
        fleet.sql("insert into spoa_llm.hourly select 99, %d, %s, %s, %s from generate_series(1, %d) as n" % (kind, bucket, label, ", ".join(["1"] * len(names)), count))
    add(1, 0, "'model ' || n", 19900)
    assert len(site.json("/savings?scope=fleet&since=all")["rows"]) > 19900
    add(1, 0, "'another ' || n", 200)
    for path in ("/savings?scope=fleet&since=all", "/savings?scope=fleet&since=all&by=day"):     # which models have no price is told with the days
        assert "more than 20000 lines" in error_of(site.get(path)), path
    assert site.get("/savings?scope=fleet&since=2000-01-01").status == 200
    assert len(json.loads(site.gateway.run("savings", "--fleet", "--json", "--since", "all").out)["rows"]) > 20100
