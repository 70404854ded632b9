"""What is in PostgreSQL beside what is in the ledgers: `fleet verify`, `fleet resend`, `fleet drop`, and what ledgers lost or pruned."""
import json
import random
import re
import signal
import sqlite3
import subprocess

import pytest

import fleets
import harness
import postgres
from harness import cli
from loglines import DAY, Maker


@pytest.fixture(scope="module")
def server():
    with postgres.Server() as one:
        yield one


@pytest.fixture
def alone(server):
    """A fleet for one test, to be changed."""
    return fleets.Fleet(server, "_%d" % random.randrange(1 << 30))


def test_drop(alone):
    gateway = fleets.gateway_of(alone, "one", 400, span_ms=100 * DAY)
    gateway.resend()
    total = json.loads(cli("savings", "--fleet", "--json", "--since", "all", *alone.reader("a")).out)["totals"]
    month = alone.value("select to_char(date_trunc('month', now() - interval '1 month'), 'YYYY-MM')")
    done = alone.run("drop", "--before", month, code=64)
    assert "say --yes" in done.err
    assert alone.value("select count(*) from spoa_llm.requests") == "400"
    alone.run("drop", "--before", month, "--yes")
    left = alone.value("select count(*) from spoa_llm.requests")
    assert 0 < int(left) < 400
    sent = gateway.resend()
    assert sent["dropped"] == 0 and sent["rows"] == int(left)      # what is dropped is not even sent
    assert alone.value("select count(*) from spoa_llm.requests") == left
    assert json.loads(cli("savings", "--fleet", "--json", "--since", "all", *alone.reader("b")).out)["totals"] == total
    # A shipper that begins anew leaves them out, too.
    alone.sql("update spoa_llm.gateways set position = 0, position_id = ''")
    gateway.ship()
    assert alone.value("select count(*) from spoa_llm.requests") == left
    assert json.loads(cli("savings", "--fleet", "--json", "--since", "all", *alone.reader("c")).out)["totals"] == total
    gateway.sql("update spoa_llm.gateways set position = %s" % gateway.meta("sequence"))
    assert gateway.verify()["problems"] == []
    for bad in ("2026-13", "2026", "x", "2026-1", "30d"):
        alone.run("drop", "--before", bad, "--yes", code=64)


@pytest.mark.parametrize("harm, words", [
    ("delete from spoa_llm.requests where {one}", "requests and PostgreSQL"),
    ("update spoa_llm.requests set cost = cost + 1 where {one}", "the sum of cost is"),
    ("update spoa_llm.requests set route = 'other' where {one}", "not those of its rows"),
    ("update spoa_llm.hourly set output = output + 1 where {mine} and bucket = {hour} and kind = 0", "not those of its rows"),
    ("delete from spoa_llm.hourly where {mine} and bucket = {hour}", "not those of its rows"),
    ("update spoa_llm.facets f set cost = f.cost + 1 from spoa_llm.facet_labels l where l.facet = f.facet and l.{mine} and unit = 0 and bucket = {hour}", "by all labels are not"),
    ("delete from spoa_llm.requests where {mine} and time_ms / 3600000 * 3600 = {hour}; delete from spoa_llm.hourly where {mine} and bucket = {hour}", "requests and PostgreSQL 0")])
def test_verify_and_resend(server, harmed, harm, words):
    fleet, one, two = harmed
    where, hour = fleet.sql("select format('gateway = %s and time_ms = %s and id = %L', r.gateway, time_ms, id), time_ms / 3600000 * 3600"
                            " from spoa_llm.requests r join spoa_llm.gateways g on g.no = r.gateway where g.name = 'two' order by random() limit 1")[0]
    def sums():
        return [fleet.sql("select %s from spoa_llm.%s where requests <> 0 order by 1, 2, 3, 4" % (what, table)) for what, table in (
            ("*", "hourly"), ("*", "daily"), ("facet, unit, bucket, last_ms, requests, failed, cost, input", "facets"))]
    before = sums()
    fleet.sql(harm.format(one=where, hour=hour, mine=where.split(" and ")[0]))
    found = two.verify(1)["problems"]
    when = "%s:00:00Z" % fleet.value("select to_char(to_timestamp(%s) at time zone 'utc', 'YYYY-MM-DD\"T\"HH24')" % hour)
    # Sums of hours that were harmed do not fit the sums of their day any more, and `verify` says that as well.
    assert found and {(one["gateway"], one["hour"]) for one in found if "the day" not in one["problem"]} == {("two", when)} and any(words in one["problem"] for one in found), found
    text = two.run("fleet", "verify", code=1)
    assert "gateway two, hour %s: " % when in text.out and "fleet resend" in text.out, text
    assert one.verify()["problems"] == []
    two.resend(when[:13])
    assert two.verify()["problems"] == [] and two.resend()["new"] == 0
    assert sums() == before


@pytest.fixture(scope="module")
def harmed(server):
    fleet = fleets.Fleet(server, "_harmed")
    pair = []
    for name in ("one", "two"):
        gateway = fleets.gateway_of(fleet, name, 300, span_ms=3 * DAY, hostile=True)
        gateway.resend()
        gateway.sql("update spoa_llm.gateways set position = %s" % gateway.meta("sequence"))
        pair.append(gateway)
    return fleet, *pair


def test_what_is_not_shipped_yet_is_no_difference(alone):
    gateway = fleets.gateway_of(alone, "one", 300)
    assert gateway.verify()["hours_not_shipped_yet"] > 0
    gateway.resend()
    gateway.sql("update spoa_llm.gateways set position = %s" % gateway.meta("sequence"))
    assert gateway.verify()["hours_not_shipped_yet"] == 0
    gateway.take(Maker(seed=99).make(5))
    said = gateway.verify()
    assert said["problems"] == [] and 0 < said["hours_not_shipped_yet"] <= 5
    # Another copy of the ledger cannot be compared before the shipper has sent it.
    gateway.ledger("backup", gateway.directory / "copy")
    gateway.ledger("restore", gateway.directory / "copy", "--replace")
    done = gateway.run("fleet", "verify", code=65)
    assert "another copy" in done.err
    assert "another copy" in gateway.run("fleet", "resend", "--since", "all", code=65).err


def test_what_a_restored_ledger_lost(alone):
    """Is no difference: PostgreSQL has it, and that is said."""
    gateway = fleets.gateway_of(alone, "one", 300, span_ms=4 * DAY)
    gateway.ledger("backup", gateway.directory / "copy")
    gateway.take(Maker(seed=5, span_ms=4 * DAY).make(120), name="lost")
    gateway.ship()
    assert gateway.verify()["lost_by_the_ledger"] == 0 and "lost" not in gateway.run("fleet", "verify").out
    gateway.ledger("restore", gateway.directory / "copy", "--replace")
    gateway.take(Maker(seed=6, span_ms=4 * DAY).make(150), name="others with the sequences of those")
    gateway.ship()
    assert (gateway.verify()["problems"], gateway.verify()["lost_by_the_ledger"]) == ([], 120)
    text = gateway.run("fleet", "verify").out
    assert "; no difference\n" in text and re.search(r"PostgreSQL has 120 requests \(hours \S+T\S+:00:00Z to \S+:00:00Z\) that this ledger lost", text), text
    # A resend leaves them as they are, and what the ledger has no longer because of its age is not lost.
    assert gateway.resend()["new"] == 0 and gateway.verify()["lost_by_the_ledger"] == 120
    gateway.ledger("prune", "--days", "2", "--fleet-uri", "")
    few = gateway.verify()
    assert few["problems"] == [] and 0 < few["lost_by_the_ledger"] < 120, few


def test_an_older_row_never_replaces_a_newer_one(alone):
    """A resend that read a row just before it changed comes after the shipper that sent the change."""
    gateway = fleets.gateway_of(alone, "one", 100)
    gateway.resend()
    alone.sql("update spoa_llm.requests set sequence = sequence + 1000, cost = 7")
    assert gateway.resend()["again"] == 0 and alone.value("select sum(cost) from spoa_llm.requests") == "700"
    alone.sql("update spoa_llm.requests set sequence = sequence - 1000, epoch = 0")
    assert gateway.resend()["again"] == 100 and alone.value("select sum(cost) from spoa_llm.requests") != "700"


def test_a_resend_beside_the_shipper(alone):
    """Both write for the same gateway, one transaction at a time, while rows come and change."""
    gateway = fleets.Gateway(alone, "one")
    gateway.take(Maker(seed=1, span_ms=2 * DAY).make(300))
    gateway.ship()
    shipper = harness.Process("agent", harness.argv("ship", "-c", gateway.config), gateway.directory / "beside.log", harness.environment())
    for number in range(5):
        gateway.take(Maker(seed=10 + number, span_ms=2 * DAY).make(100))
        with sqlite3.connect(gateway.db, timeout=20) as base:   # as a report of the tap changes a row, but for the ledger's own sums
            base.execute("update requests set cost = cost + 1, rowid = (select max(rowid) + 1 from requests) where rowid = (select min(rowid) from requests)")
        assert gateway.resend()["rows"] == 400 + 100 * number
    last = sqlite3.connect(gateway.db).execute("select max(rowid) from requests").fetchone()[0]
    harness.until(lambda: gateway.sql("select max(position) from spoa_llm.gateways") == [[str(last)]], 20, shipper.tail, step=0.1)
    assert shipper.end() == 0
    said = gateway.verify()
    assert (said["problems"], said["hours_not_shipped_yet"]) == ([], 0)
    assert alone.value("select count(*) from spoa_llm.requests") == "800"
    assert alone.value("select sum(cost) from spoa_llm.requests") == alone.value("select sum(cost) from spoa_llm.hourly where kind = 0")


def test_what_the_ledger_pruned_stays_in_postgresql(alone):
    """Rows that are pruned from the ledger are no difference, and a resend leaves their sums as they are."""
    gateway = fleets.gateway_of(alone, "one", 400, span_ms=4 * DAY)
    gateway.ship()
    flags = alone.reader("people")
    total = json.loads(cli("savings", "--fleet", "--json", "--since", "all", *flags).out)["totals"]
    gateway.ledger("prune", "--days", "2", "--fleet-uri", "")     # which waits for no agent that knows what is shipped
    left = len(gateway.export())
    assert 0 < left < 400
    assert gateway.verify()["problems"] == []
    # Hours that the ledger has no longer as a whole are not sent.
    assert left - 60 < gateway.resend()["rows"] <= left
    assert alone.value("select count(*) from spoa_llm.requests") == "400"
    assert json.loads(cli("savings", "--fleet", "--json", "--since", "all", *flags).out)["totals"] == total
    assert gateway.verify()["problems"] == []


def test_a_command_about_the_fleet_that_is_stopped(alone, server):
    """Who waits for PostgreSQL may press Ctrl-C: the statement ends there, too. `fleet resend` says from which hour another one goes on."""
    gateway = fleets.gateway_of(alone, "one", 300, span_ms=3 * DAY)
    gateway.resend()
    assert gateway.verify()["problems"] == []
    reader = alone.reader("a")

    def waiting():
        return int(alone.value("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"))

    for command, said in ((["savings", "--fleet", "--since", "all", *reader], "stopped, and nothing was changed"),
                          (["fleet", "verify", "--json", *reader], "stopped, and nothing was changed"),
                          (["ledger", "export", "--fleet", *reader], "stopped before the first request was found"),
                          (["fleet", "resend", "--since", "all", "-c", gateway.config], r"stopped; what is before (\S+) is sent; --since \1 goes on")):
        # Nobody else may read these tables meanwhile.
        with server.holding("lock table spoa_llm.hourly, spoa_llm.requests in access exclusive mode", alone.database) as release, \
                harness.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            harness.until(lambda: waiting() or process.poll() is not None, 20, lambda: "%s does not wait" % command)
            cancelled = server.log().count("due to user request")
            process.send_signal(signal.SIGINT)
            if "resend" in command:
                release()
            # The other commands end although the tables are locked, and PostgreSQL does not go on with their statement.
            out, err = process.communicate(timeout=30)
            harness.until(lambda: not waiting(), 20, "the statement ends")
            # The command cancels the statement. PostgreSQL by itself would notice only later that nobody waits for the answer.
            assert "resend" in command or server.log().count("due to user request") > cancelled, command
        assert process.returncode == 130 and re.search(said, err), (command, process.returncode, out, err)
        assert command[:2] != ["fleet", "verify"] or json.loads(out)["incomplete"] is True
    gateway.resend(re.search(r"--since (\S+) goes on", err).group(1))
    assert gateway.verify()["problems"] == []


def test_the_last_requests_of_all_gateways(alone):
    """`requests --fleet` has the last ones of all gateways, whatever filter; a part of an hour is a part."""
    pair = [fleets.gateway_of(alone, name, 150, span_ms=DAY // 8) for name in ("one", "two")]
    for gateway in pair:
        gateway.resend()
    rows = sorted(((row["time"], gateway.name, row["id"]) for gateway in pair for row in gateway.export()))
    reader = alone.reader("a")

    def asked(*args):
        done = cli("requests", "--fleet", "--json", *args, *reader)
        assert done.code == 0, done
        return [(row["time"], row["gateway"], row["id"]) for row in map(json.loads, done.out.splitlines())]

    assert asked("--last", "25") == rows[-25:]
    since = rows[-40][0][:19] + "Z"
    assert asked("--since", since, "--last", "1000") == [row for row in rows if row[0][:19] + "Z" >= since]
    done = cli("requests", "--fleet", "--last", "3", *reader)
    assert [line.split()[0] for line in done.out.splitlines()] == ["gateway", *(row[1] for row in rows[-3:])], done
    one = cli("requests", "--fleet", "--id", rows[7][2], *reader)
    assert re.search(r"^gateway +%s$" % rows[7][1], one.out, re.M), one
    assert cli("requests", "--fleet", "--follow", *reader).code == 64
    none = cli("requests", "--fleet", "--id", "no-such-id", *reader)
    assert none.code == 66 and "PostgreSQL" in none.err, none
