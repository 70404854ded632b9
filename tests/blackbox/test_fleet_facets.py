"""Sums by day and by all labels of a request in the fleet's PostgreSQL: version 2 of its schema, which triggers keep and `fleet init` fills."""
import json
import random
import sqlite3

import pytest

import fleets
import postgres
from harness import cli
from loglines import DAY, Maker

TIME = "(t + 134217728) >> 28"
COUNT = "sum(t - ((t + 134217728) >> 28 << 28))"
LABELS = "model, route, backend, project, client, member, status, code"
# As version 1 of the schema was.
VERSION_1 = """
drop trigger rows_came on spoa_llm.requests; drop trigger rows_changed on spoa_llm.requests; drop trigger hours_came on spoa_llm.hourly;
drop trigger hours_changed on spoa_llm.hourly; drop function spoa_llm.rows_came, spoa_llm.rows_changed, spoa_llm.hours_came, spoa_llm.hours_changed,
 spoa_llm.recount, spoa_llm.fill, spoa_llm.fold, spoa_llm.fold_log, spoa_llm.rows_of; drop aggregate spoa_llm.together(bigint[]); drop view spoa_llm.fleet_daily, spoa_llm.fleet_facets, spoa_llm.fleet_gateways;
drop table spoa_llm.daily, spoa_llm.facets, spoa_llm.facet_labels, spoa_llm.facet_log; drop type spoa_llm.facet_row; alter table spoa_llm.gateways drop daily_from, drop facets_from, drop days_until;
create view spoa_llm.fleet_gateways as select no, name, uuid, writer, epoch, position, rows, behind, lag_ms, seen, version from spoa_llm.gateways;
grant select on spoa_llm.fleet_gateways to spoa_llm_writer, spoa_llm_reader; update spoa_llm.meta set value = '1' where key = 'version'"""


def pytest_generate_tests(metafunc):
    if "server" in metafunc.fixturenames:
        versions = [None, "17"] if metafunc.config.getoption("--whole-matrix") else [None]
        metafunc.parametrize("server", versions, indirect=True, scope="module", ids=lambda version: "postgres-%s" % (version or "here"))


@pytest.fixture(scope="module")
def server(request):
    with postgres.Server(request.param) as one:
        yield one


@pytest.fixture
def fleet(server):
    """Two gateways whose rows are in PostgreSQL."""
    one = fleets.Fleet(server, "_%d" % random.randrange(1 << 30))
    one.gateways = [fleets.gateway_of(one, name, 400, span_ms=4 * DAY, hostile=True) for name in ("berlin", "oslo")]
    for gateway in one.gateways:
        gateway.resend()
        gateway.sql("update spoa_llm.gateways set position = %s" % gateway.meta("sequence"))
    return one


def fold(one):
    """Adds what waits, and makes the sums of days that are over, as shippers do; returns of how many days."""
    days = 0
    while (done := one.sql("select name, day from spoa_llm.fold()")[0])[0]:
        days += done[1] != ""
    return days


def waiting(fleet):
    return int(fleet.value("select coalesce(sum(count), 0) from spoa_llm.facet_log"))


def facets(fleet):
    """What reports read: requests, cost, last and times of each facet."""
    def times(column):
        return "(select string_agg(ms || ':' || n, ' ' order by ms) from (select %s ms, %s n from unnest(%s) t group by 1) x where n <> 0)" % (TIME, COUNT, column)
    return fleet.sql("select gateway, unit, bucket, %s, requests, cost, failed, last_ms, %s, %s from (select gateway, unit, bucket, %s, sum(requests) requests,"
                     " sum(cost) cost, sum(failed) failed, max(last_ms) last_ms, spoa_llm.together(first_byte) first_byte, spoa_llm.together(whole) whole"
                     " from spoa_llm.fleet_facets group by 1, 2, 3, %s having sum(requests) <> 0) f order by 1, 2, 3, %s" % (
                         LABELS, times("first_byte"), times("whole"), LABELS, LABELS, LABELS))


def days(fleet):
    return fleet.sql("select * from spoa_llm.fleet_daily where requests <> 0 order by 1, 2, 3, 4")


def digits(ms):
    """Two digits of a time, rounded half up."""
    unit = 10 ** max(0, len(str(ms)) - 2)
    return (ms + unit // 2) // unit * unit


def facets_of_rows(fleet):
    """What facets() has to return, computed from the rows, in Python; facets of days as far as fold() has made them."""
    found, until = {}, int(fleet.value("select min(days_until) from spoa_llm.gateways"))
    for gateway, ms, code, first, whole, cost, *labels in fleet.sql(
            "select gateway, time_ms, code, coalesce(ttfb_ms, -1), coalesce(total_ms, -1), cost, %s from spoa_llm.requests" % LABELS):
        for unit, long in (("0", 3600), ("1", 86400)):
            if unit == "1" and int(ms) // 1000 >= until:
                continue
            one = found.setdefault((gateway, unit, str(int(ms) // 1000 // long * long), *labels), [0, 0, 0, {}, {}])
            one[0] += 1
            one[1] += int(cost)
            one[2] = max(one[2], int(ms))
            for number, time in ((3, int(first)), (4, int(whole))):
                if not code and time >= 0:
                    one[number][digits(time)] = one[number].get(digits(time), 0) + 1
    return {key: one[:3] + [" ".join("%d:%d" % item for item in sorted(times.items())) for times in one[3:]] for key, one in found.items()}


def same(fleet, last=True):
    """Asserts that reports read the sums of the rows; `last`: and when the last request came."""
    got = {tuple(row[:11]): [int(row[11]), int(row[12]), int(row[14]), row[15], row[16]] for row in facets(fleet)}
    want = facets_of_rows(fleet)
    for one in [*got.values(), *want.values()] if not last else []:
        one[2] = None
    assert got == want


def test_facets_are_those_of_the_rows(fleet):
    one = fleet.gateways[0]
    # Facets of days are made when the days are over: a gateway's own, and those of gateways that are gone.
    assert fleet.value("select count(*) from spoa_llm.facets where unit = 1") == "0"
    made = fold(one)
    fleet.sql("update spoa_llm.gateways set seen = now() - interval '2 hours' where name = 'oslo'")
    more = fold(one)
    assert made and more and made + more == int(fleet.value("select count(distinct (gateway, bucket / 86400)) from spoa_llm.hourly where bucket / 86400 * 86400 + 90000 <= extract(epoch from now())"))
    assert not fold(one)
    same(fleet)
    # Rows that change get other labels, and other figures.
    one.sql("update spoa_llm.requests set cost = cost + 7, model = 'changed', ttfb_ms = 98765 where sequence % 3 = 0")
    same(fleet, last=False)        # that of a request which left a facet stays
    assert int(fleet.value("select sum(requests) from spoa_llm.fleet_facets where model = 'changed' and unit = 1")) > 30
    # Rows that a resend changes: it makes the sums of their days anew.
    with sqlite3.connect(one.db) as base:
        base.execute("update requests set cost = cost + 7, model = 'another', ttfb_ms = 123456 where rowid % 5 = 0")
    one.resend()
    same(fleet)
    assert one.verify()["problems"] == [] and int(fleet.value("select count(*) from spoa_llm.fleet_facets where model = 'another'")) > 0
    # A facet counts equal times (of two digits) together, so that the list of its times stays short.
    one.take(Maker(seed=3, span_ms=1000).make(3000), name="many")
    one.resend()
    same(fleet)
    assert int(fleet.value("select max(cardinality(whole)) from spoa_llm.fleet_facets")) < 120


# Rows that are there once more, under other ids.
COPIES = ("insert into spoa_llm.requests select (jsonb_populate_record(r, jsonb_build_object('id', id || '-%s'))).* from spoa_llm.requests r"
          " where gateway = %s and sequence %% 3 = 1")


def test_what_waits_is_counted(fleet):
    """Rows whose sums are not added up yet count in each answer, with those of hours and of days; none twice, when sums are made anew."""
    one, flags = fleet.gateways[0], fleet.reader("waits")
    no = one.sql("select no from spoa_llm.gateways")[0][0]
    reports = [("--by", "model", "--status", "2xx"), ("--by", "day", "--model", "g*"), ("--by", "hour", "--status", "2xx")]

    def read():
        done = [cli("savings", "--fleet", "--json", "--since", "all", *args, *flags) for args in reports]
        assert not [one for one in done if one.code]
        return [json.loads(one.out) for one in done]
    assert fold(fleet) and waiting(fleet) == 0
    one.sql(COPIES % ("a", no))
    same(fleet)
    # The least number there is: it has no negative.
    one.sql("update spoa_llm.requests set cost = -9223372036854775808 where sequence = 7")
    one.sql("update spoa_llm.requests set cost = 7, model = 'changed', ttfb_ms = 98765 where sequence % 3 = 1")
    assert waiting(fleet) > 600
    same(fleet, last=False)
    said = read()
    assert said[0]["totals"]["requests"] == int(fleet.value("select count(*) from spoa_llm.requests where status / 100 = 2")) > 300
    assert fold(fleet) == 0 == waiting(fleet) and read() == said
    same(fleet, last=False)
    one.sql(COPIES % ("b", no))
    one.sql("select spoa_llm.recount(%s, day, day + 86400) from (select distinct time_ms / 86400000 * 86400 as day from spoa_llm.requests) d" % no)
    same(fleet, last=False)


def test_what_waits_is_bounded(fleet):
    """Whichever version of a shipper writes, and whether it has time or not."""
    no = fleet.value("select gateway from spoa_llm.requests limit 1")
    fleet.sql("do $body$ begin for i in 1 .. 250 loop update spoa_llm.requests set cost = cost + i where gateway = %s and sequence = 7; end loop; end $body$" % no)
    assert 0 < int(fleet.value("select count(*) from spoa_llm.facet_log")) < 250
    same(fleet)
    # With many gateways fewer rows of each may wait, so that a question does not read too many in all.
    fold(fleet)
    fleet.sql("insert into spoa_llm.facet_log (gateway, sign, count, rows) select 1000 + n, 1, 0, '{}' from generate_series(1, 20) n")
    most = [waiting(fleet) for _ in range(30) if fleet.sql("update spoa_llm.requests set cost = cost + 1 where gateway = %s" % no) == []]
    assert 19000 < max(most) < 20000 and most[-1] < 10000, most
    same(fleet)


def test_a_schema_of_version_1_is_filled(fleet):
    """By `fleet init`, day by day: what was there before comes out as if the triggers had always been there. What a writer of the version before writes
    meanwhile is counted once, and the reports of a period that is not filled yet are right, because they read hours and rows."""
    one, flags = fleet.gateways[0], fleet.reader("people")
    assert fold(fleet)
    before, before_days = facets(fleet), days(fleet)
    reports = [["savings", "--fleet", "--json", "--since", "all", "--by", by, *more] for by, more in (
        ("model", []), ("day", []), ("hour", []), ("project", ["--status", "2xx"]), ("day", ["--model", "g*"]))]

    def read():
        done = [cli(*args, *flags) for args in reports]
        assert not [one for one in done if one.code]
        return [json.loads(one.out) for one in done]
    said = read()
    fleet.sql(VERSION_1)
    assert "version 2 now; it had version 1" in (done := fleet.run("init")).out and "days of gateways" in done.out
    assert read() == said and fold(fleet)
    assert facets(fleet) == before and days(fleet) == before_days and read() == said
    assert fleet.value("select max(daily_from) || ' ' || max(facets_from) from spoa_llm.gateways") == "0 0"
    # As if the command had been interrupted after the newest day.
    fleet.sql("update spoa_llm.gateways set (daily_from, facets_from) = (select max(bucket / 86400 * 86400), max(bucket / 86400 * 86400) from spoa_llm.hourly);"
              " delete from spoa_llm.daily where bucket < (select daily_from from spoa_llm.gateways limit 1);"
              " delete from spoa_llm.facets where bucket < (select daily_from from spoa_llm.gateways limit 1)")
    assert read() == said and one.verify()["problems"] == []
    # Old requests that come late: the triggers count them in days that are not filled.
    one.take(Maker(seed=9, span_ms=4 * DAY).make(100), name="late")
    one.resend()
    one.sql("update spoa_llm.gateways set position = %s" % one.meta("sequence"))
    said = read()
    fleet.run("init")
    assert read() == said and one.verify()["problems"] == []
    assert sum(int(row[11]) for row in facets(fleet) if row[1] == "1") == int(fleet.value(
        "select count(*) from spoa_llm.requests where time_ms < (select min(days_until) from spoa_llm.gateways) * 1000")) > 500


def test_months_that_were_dropped_before(fleet):
    """Their rows are gone, so that there are no facets of them; the sums by day come from those of the hours."""
    one = fleet.gateways[0]
    one.take(Maker(seed=4, span_ms=80 * DAY).make(300), name="old")
    one.resend()
    total = json.loads(cli("savings", "--fleet", "--json", "--since", "all", *fleet.reader("a")).out)["totals"]
    month = fleet.value("select to_char(now() - interval '1 month', 'YYYY-MM')")
    fleet.sql(VERSION_1)
    fleet.run("drop", "--before", month, "--yes")
    fleet.run("init")
    kept = fleet.value("select value::bigint / 1000 from spoa_llm.meta where key = 'kept_since_ms'")
    assert fleet.sql("select daily_from, facets_from from spoa_llm.gateways where name = 'berlin'") == [["0", kept]]
    assert json.loads(cli("savings", "--fleet", "--json", "--since", "all", *fleet.reader("b")).out)["totals"] == total
    assert int(fleet.value("select min(bucket) from spoa_llm.facets where requests <> 0")) >= int(kept)
    assert json.loads(cli("fleet", "verify", "--json", *fleet.reader("c")).out)["problems"] == []


def test_who_may_make_sums_anew(fleet):
    """A gateway's role those of its own gateway; nobody a part of a day."""
    one, other = fleet.gateways
    mine, theirs = (gateway.sql("select no from spoa_llm.gateways")[0][0] for gateway in (one, other))
    for args, words in (("%s, 0, 86400" % theirs, "no gateway"), ("%s, 0, 3600" % mine, "no day"), ("%s, 3600, 90000" % mine, "no day")):
        assert words in one.sql("select spoa_llm.recount(%s)" % args, code=None).stderr
    before = facets(fleet)
    day = int(before[0][2]) // 86400 * 86400
    one.sql("select spoa_llm.recount(%s, %d, %d)" % (mine, day, day + 86400))
    assert facets(fleet) == before
