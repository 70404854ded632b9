"""What a writer's role, a mistyped command and a host that is gone can do to a fleet: nothing to the other gateways."""
import concurrent.futures
import contextlib
import json
import random
import signal
import socket
import sqlite3
import time

import pytest

import fleets
import harness
import postgres
from harness import cli
from loglines import DAY, Maker
from test_ship import KEPT, Shipper, all_shipped, count, fleet_metrics, gateway_with, kept_gateway, place_of, same

LOCKS = "1397509709"


@pytest.fixture(scope="module")
def server():
    with postgres.Server(settings=["log_statement = 'none'", "log_lock_waits = on"]) as one:
        yield one


@pytest.fixture
def fleet(server):
    return fleets.Fleet(server, "_%d" % random.randrange(1 << 30))


@pytest.fixture
def pair(fleet):
    one, two = gateway_with(fleet, "one", 100), gateway_with(fleet, "two", 100)
    one.ship()
    two.ship()
    return one, two


@contextlib.contextmanager
def session(gateway, *statements):
    """A session of the gateway's role that has run the statements, and stays in its transaction."""
    sql = "begin; set application_name = 'holding'; %s; select pg_sleep(600)" % "; ".join(statements)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = pool.submit(gateway.sql, sql, code=None)
        asleep = "select count(*) from pg_stat_activity where application_name = 'holding' and wait_event = 'PgSleep'"
        harness.until(lambda: held.done() or gateway.fleet.value(asleep) != "0", 20, "the session", step=.05)
        assert not held.done(), held.result()
        try:
            yield
        finally:
            gateway.fleet.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holding'")


def test_a_writer_keeps_nobody_out(fleet, pair):
    """It takes every lock that it may take, and the others register, write, and make partitions."""
    one, two = pair
    no = fleet.value("select no from spoa_llm.gateways where name = 'two'")
    for table in ("requests", "hourly", "gateways", "rejected", "meta"):
        for mode in ("share update exclusive", "share", "share row exclusive", "exclusive", "access exclusive"):
            done = one.sql("begin; lock table spoa_llm.%s in %s mode" % (table, mode), code=None)
            assert "permission denied" in done.stderr, (table, mode, done)
    with session(one, "select pg_advisory_lock(%s, 0)" % LOCKS, "select pg_advisory_lock(%s, n) from generate_series(1, 100) n where n <> %s" % (LOCKS, no),
                 "select pg_advisory_lock(%s, %s)" % (LOCKS, no), "select * from spoa_llm.gateways for update", "select * from spoa_llm.requests for update",
                 "select * from spoa_llm.hourly for update"):
        two.take(Maker(seed=77).make(50), name="more")
        two.ship()
        third = gateway_with(fleet, "three", 50)
        third.ship()
        fleet.run("init")
        assert json.loads(cli("savings", "--fleet", "--json", "--since", "all", *fleet.reader("people")).out)["totals"]["requests"] == 300
    same(fleet, two)
    assert fleet.value("select rolconnlimit from pg_roles where rolname = '%s'" % two.role) == "16"


def test_values_that_would_break_what_others_read(fleet, pair):
    """A writer may put any numbers into its own rows, but none that makes a sum of all gateways useless, or a statement of a reader fail."""
    one = pair[0]
    refused = ["update spoa_llm.hourly set cost = 'NaN'", "update spoa_llm.hourly set requests = 'Infinity'", "update spoa_llm.hourly set saved = '-Infinity'",
               "update spoa_llm.hourly set cost = 'Infinity', saved = '-Infinity'", "update spoa_llm.gateways set seen = 'infinity'",
               "update spoa_llm.gateways set seen = '-infinity'", "update spoa_llm.gateways set position_id = repeat('x', 2000)",
               "update spoa_llm.gateways set ledger_epoch = repeat('x', 2000)", "update spoa_llm.hourly set bucket = 9223372036854775807",
               "update spoa_llm.hourly set kind = 6", "update spoa_llm.requests set gateway = 2", "update spoa_llm.requests set time_ms = 0",
               "insert into spoa_llm.hourly select gateway, kind, 9223372036854775807, {rest} from spoa_llm.hourly limit 1",
               "insert into spoa_llm.hourly select gateway, 7, bucket, {rest} from spoa_llm.hourly limit 1"]
    rest = fleet.value("select string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns where table_schema = 'spoa_llm'"
                       " and table_name = 'hourly' and ordinal_position > 3")
    for sql in refused:
        done = one.sql(sql.format(rest=rest), code=None)
        assert done.returncode and any(why in done.stderr for why in ("check constraint", "permission denied")), (sql, done)
    one.sql("update spoa_llm.requests set status = -2147483648, usage = 32767, price = -32768, tap = 32767, cost = 9223372036854775807, input ="
            " 9223372036854775807, output = 9223372036854775807, bytes_in = -9223372036854775808, attempts = 9223372036854775807, stream = 32767")
    one.sql("update spoa_llm.hourly set cost = 1e300, label = label || repeat(U&'\\00e4\\001b', 200) where kind = 1; update spoa_llm.hourly set output = -1e300")
    one.sql("update spoa_llm.gateways set position = 9223372036854775807, behind = -9223372036854775808, lag_ms = 9223372036854775807, rows = 0,"
            " seen = '294276-01-01', version = repeat('~', 40)")
    reader = fleet.reader("people")
    for args in (("savings", "--fleet", "--since", "all"), ("savings", "--fleet", "--since", "all", "--by", "model"), ("ledger", "export", "--fleet"),
                 ("fleet", "list"), ("fleet", "list", "--json")):
        assert cli(*args, *reader).code == 0, args
    fleet.sql("select * from spoa_llm.ledger; select * from spoa_llm.ledger_hourly")
    assert {row["gateway"] for row in json.loads(cli("fleet", "verify", "--json", *reader).out)["problems"]} == {"one"}


def test_rights_are_few(fleet):
    """Whatever the schema has: nobody else may run its functions, those with their owner's rights look up nothing by a path of the caller's, and the groups
    may read whole tables, insert, and no more."""
    assert fleet.sql("select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where nspname = 'spoa_llm'"
                     " and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))") == []
    assert fleet.sql("select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where nspname = 'spoa_llm' and prosecdef"
                     " and not coalesce(proconfig::text, '') like '%search_path=pg_catalog, pg_temp%'") == []
    more = fleet.sql("select c.relname, a.grantee::regrole, a.privilege_type from pg_class c join pg_namespace n on n.oid = c.relnamespace,"
                     " aclexplode(c.relacl) a where nspname = 'spoa_llm' and a.grantee <> c.relowner and (a.is_grantable or a.privilege_type not in"
                     " ('SELECT', 'INSERT') or a.grantee not in ('spoa_llm_writer'::regrole, 'spoa_llm_reader'::regrole)"
                     " or (a.privilege_type = 'INSERT' and a.grantee = 'spoa_llm_reader'::regrole))")
    assert more == []
    # Each table in which gateways have rows keeps them apart.
    assert fleet.sql("select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where nspname = 'spoa_llm' and relkind in ('r', 'p')"
                     " and not relispartition and not relrowsecurity and relname <> 'meta'") == []


def test_a_mistyped_month(fleet, pair):
    """A month that has not begun would have writers leave out all rows until then."""
    one = pair[0]
    for month in ("2062-01", "9999-12", time.strftime("%Y-%m", time.gmtime(time.time() + 32 * DAY / 1000))):
        done = fleet.run("drop", "--before", month, "--yes", code=64)
        assert "has not begun" in done.err and not done.out, done
    done = fleet.sql("select spoa_llm.drop_before(2900000000000)", code=None)
    assert "has not begun" in done.stderr, done
    one.take(Maker(seed=78).make(20), name="more")
    one.ship()
    same(fleet, one)


def test_a_clock_that_was_ahead(fleet, pair):
    """Its rows are in the default partition until their month comes; then they move, and the month has a partition as any other."""
    one, two = pair
    first = int(time.time() * 1000) // DAY * DAY + 40 * DAY
    one.take([Maker(seed=80 + n).one(te=first + n * DAY) for n in range(160)], name="ahead")
    one.ship()
    ahead = int(fleet.value("select count(*) from spoa_llm.requests_default"))
    assert 40 < ahead < 160
    # The months come: the function's now() is moved.
    text = fleet.value("select replace(pg_get_functiondef('spoa_llm.ensure_partition'::regproc), chr(10), ' ')")
    fleet.sql(text.replace("now()", "(now() + interval '6 months')"))
    for month in range(7):
        two.sql("select spoa_llm.ensure_partition((extract(epoch from date_trunc('month', now()) + interval '%d months') * 1000)::bigint)" % month)
    assert fleet.value("select count(*) from spoa_llm.requests_default") == "0"
    same(fleet, one)
    assert one.verify()["problems"] == []


def test_a_shipper_whose_host_is_gone(fleet):
    """Its session ends, although no packet says so, and the next one takes over."""
    gateway = gateway_with(fleet, "gone", 50)
    first = Shipper(gateway)
    all_shipped(fleet, gateway)
    harness.until(lambda: fleet.value("select state from pg_stat_activity where usename = '%s'" % gateway.role) == "idle", 20, "the first one is idle")
    first.process.popen.send_signal(signal.SIGSTOP)
    second = Shipper(gateway)
    try:
        second.says("event=ship_refused")
        gateway.take(Maker(seed=6).make(30), name="more")
        second.says("event=ship_connected", 100)
        all_shipped(fleet, gateway)
    finally:
        first.process.popen.send_signal(signal.SIGCONT)
        second.end()
    first.says("event=ship_connected", 60)
    gateway.take(Maker(seed=7).make(30), name="again")
    all_shipped(fleet, gateway)
    first.end()
    same(fleet, gateway)
    assert place_of(fleet, "gone")[2] == 1


def test_the_way_to_the_server_breaks_anywhere(fleet):
    """Before each thing that a shipper says, after it, and in the midst of it: the answer to a COMMIT is lost, too. Each time another shipper goes on."""
    gateway = gateway_with(fleet, "cut", 40)
    state = {}

    def cut(way, data):
        if way == "from" or state["done"]:
            return 0 if state["done"] else len(data)
        state["left"] -= 1
        if state["left"] > 0:
            return len(data)
        state["done"] = True
        return {"before": 0, "within": len(data) // 2, "after": len(data)}[state["where"]]

    with fleets.Between(fleet.server, cut) as between:
        number, where = 1, 0
        kinds = ("before", "after", "within")
        while True:
            state.update(left=number, where=kinds[where], done=False)
            shipper = Shipper(gateway, "--fleet-uri", between.uri(gateway))
            whole = harness.until(lambda: state["done"] and "cut" or place_of(fleet, "cut")[0] == int(gateway.meta("sequence")) and "whole", 30, shipper.process.tail,
                                  step=.02)
            shipper.process.end(signal.SIGKILL)
            if whole == "whole":
                break
            where = (where + 1) % 3
            number += where == 0
            if place_of(fleet, "cut")[0] == int(gateway.meta("sequence")):
                gateway.take(Maker(seed=1000 + number * 3 + where).make(20), name="more")
    assert number > 12
    shipper = Shipper(gateway)
    all_shipped(fleet, gateway)
    shipper.end()
    same(fleet, gateway)
    assert place_of(fleet, "cut")[2] == 1 and gateway.verify()["problems"] == []


def test_a_slow_link_gets_there(fleet):
    """What is too much at a time for the link or the server goes in smaller parts."""
    gateway = gateway_with(fleet, "slow", 2500)
    state = {"sent": 0, "cuts": 0}

    def cut(way, data):
        if way == "from":
            state["sent"] = 0
            return len(data)
        state["sent"] += len(data)
        if state["sent"] < 100000:
            return len(data)
        state.update(sent=0, cuts=state["cuts"] + 1)
        return 0

    with fleets.Between(fleet.server, cut) as between:
        shipper = Shipper(gateway, "--fleet-uri", between.uri(gateway))
        all_shipped(fleet, gateway, 100)
        assert state["cuts"] >= 2
        shipper.end()
    same(fleet, gateway)


def test_all_rows_are_refused(fleet):
    """For what is in the schema, not in them: the shipper stops after some, and says so, instead of noting each of them as rejected."""
    gateway = gateway_with(fleet, "none", 400)
    fleet.sql("alter table spoa_llm.requests add constraint no_rows check (false)")
    shipper = Shipper(gateway)
    line = shipper.says("event=ship_refused", 60)[0]
    assert "100 rows, one after the other, were refused" in line and "no_rows" in line and "fleet resend" in line
    assert fleet.value("select count(*) from spoa_llm.rejected") == "100" and len(shipper.says("event=ship_rejected")) <= 100
    fleet.sql("alter table spoa_llm.requests drop constraint no_rows")
    all_shipped(fleet, gateway)
    shipper.end()
    assert len(fleet.sql("select id from spoa_llm.requests")) == 300
    gateway.resend()
    same(fleet, gateway)


def test_a_right_that_is_gone_is_for_a_person(fleet):
    gateway = gateway_with(fleet, "norights", 20)
    fleet.sql("revoke insert on spoa_llm.requests from spoa_llm_writer")
    shipper = Shipper(gateway)
    assert "permission denied" in shipper.says("event=ship_refused")[0]
    fleet.sql("grant insert on spoa_llm.requests to spoa_llm_writer")
    all_shipped(fleet, gateway)
    shipper.end()


def test_another_copy_takes_the_ledgers_place_in_a_session(fleet):
    """With the same UUID and epoch, in the same file, and longer than what was shipped: so no number says it."""
    gateway = gateway_with(fleet, "copy", 200)
    snapshot = gateway.directory / "snapshot.db"
    gateway.ledger("backup", snapshot)
    gateway.take(Maker(seed=21).make(100), name="lost")
    before = set(row["id"] for row in gateway.export())
    shipper = Shipper(gateway)
    all_shipped(fleet, gateway)
    shipper.process.popen.send_signal(signal.SIGSTOP)
    with sqlite3.connect(snapshot) as old, sqlite3.connect(gateway.db, timeout=20) as base:
        old.backup(base)
    gateway.take(Maker(seed=22).make(250), name="other")
    shipper.process.popen.send_signal(signal.SIGCONT)
    shipper.says("event=ship_epoch")
    all_shipped(fleet, gateway)
    shipper.end()
    same(fleet, gateway, before - set(row["id"] for row in gateway.export()))


def test_a_position_beyond_the_ledger(fleet, agents):
    """Whoever may write to the agent's socket cannot have it remove more than the ledger had when that was said: the ledger has no such change."""
    gateway, agent = kept_gateway(fleet, "far", agents)
    before = count(gateway)
    said = {"kind": "fleet", "pid": 1, "uuid": gateway.meta("uuid"), "ledger_epoch": gateway.meta("epoch"), "epoch": 1, "position": 1 << 62, "state": "ok"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(json.dumps(said).encode(), "%s/fleet" % gateway.directory)
        harness.until(lambda: fleet_metrics(agent)['spoa_llm_fleet_state{state="ok"}'] == 1, 20, "the agent has heard it")
        time.sleep(1.5)     # the time in which it would remove them
        assert count(gateway) == before == KEPT
        sock.sendto(json.dumps(dict(said, position=int(gateway.meta("sequence")))).encode(), "%s/fleet" % gateway.directory)
        agent.log("event=pruned", 30)
