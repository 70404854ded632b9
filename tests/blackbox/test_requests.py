"""`spoa-llm requests`: a line for each of the last requests, those that end from now on, and all that is known of one."""
import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import time

import pytest

import harness
import loglines
import terminals
from ledgers import day, ledger  # noqa: F401
from loglines import Maker


def as_listed(want):
    """The time, status and id of a request as its line has them."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(want["time_ms"] // 1000))
    return when, str(want["status"]) if want["status"] > 0 else "-", want["id"]


def listed(text):
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["time", "(UTC)", "status"]
    found = [re.match(r"(\S+ \S+) +(\S+)  .* (\S+)$", line).groups() for line in lines[1:]]
    return found


def test_the_last_ones(day):
    wants = sorted(day.wants, key=lambda want: (want["time_ms"], want["id"]))
    assert listed(day.run("requests").out) == [as_listed(want) for want in wants[-20:]]
    assert listed(day.run("requests", "--last", "300").out) == [as_listed(want) for want in wants[-300:]]
    assert [json.loads(line) for line in day.run("requests", "--last", "50", "--json").out.splitlines()] == day.export()[-50:]
    failing = [want for want in wants if want["status"] // 100 == 5 and want["route"] == "glm-"]
    assert listed(day.run("requests", "--status", "5xx", "--route", "glm-", "--last", "10000").out) == [as_listed(want) for want in failing] and failing
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wants[2000]["time_ms"] // 1000))
    before = [want for want in wants if want["time_ms"] < wants[2000]["time_ms"] // 1000 * 1000]
    assert listed(day.run("requests", "--until", until, "--last", "3").out) == [as_listed(want) for want in before[-3:]]


def test_what_a_line_says(ledger):
    maker = Maker(seed=9)
    priced = maker.one(kind="reported", model="glm-4.6", route="glm-")
    ledger.take([priced])
    want, line = priced.want, ledger.run("requests").out.splitlines()[1]
    tokens = want["input"] + want["cache_read"] + want["cache_write"]
    short = "%d" % tokens if tokens < 1000 else None
    assert "glm-4.6" in line and (short is None or " %s " % short in line) and "$" in line and want["client"][:10] in line, (line, want)
    refused = next(entry for entry in iter(maker.one, None) if entry.want["code"])
    ledger.take([refused], name="more")
    assert refused.want["code"] in ledger.run("requests").out


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 200])
def test_it_fits_the_terminal(day, columns):
    code, out = terminals.run("requests", "--last", "300", "-c", day.config, columns=columns)
    lines = [terminals.COLOUR.sub("", line).rstrip() for line in out.splitlines()]
    assert code == 0 and len(lines) == 301
    assert max(terminals.width(line) for line in lines) <= max(columns, 80)
    assert ("took" in lines[0]) == (columns >= 90) and ("id" in lines[0].split()) == (columns >= 176)


def test_colours(day):
    """Errors are red and what a client did wrong is yellow, at a terminal alone, and not where nobody wants colours."""
    code, out = terminals.run("requests", "--last", "500", "-c", day.config)
    assert re.search("\x1b\\[31m +5\\d\\d\x1b\\[0m", out) and re.search("\x1b\\[33m +4\\d\\d\x1b\\[0m", out) and not re.search("\x1b\\[3.m +200", out)
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
        assert "\x1b" not in terminals.run("requests", "-c", day.config, env=env)[1]
    assert "\x1b[" in terminals.run("requests", "-c", day.config, env={"NO_COLOR": ""})[1]
    assert "\x1b" not in day.run("requests").out


def test_one_request(day):
    for want in day.wants[:5]:
        said = dict(line.split(None, 1) for line in day.run("requests", "--id", want["id"]).out.splitlines())
        row = next(row for row in day.export("--id", want["id"]))
        assert list(said) == [name.replace("_nanodollars", "") for name in row]
        assert said["id"] == want["id"] and said["usage_from"] == want["usage_from"]
        assert said["input"].replace(",", "") == ("not known" if want["input"] is None else str(want["input"]))
        nano = row["cost_nanodollars"]
        assert said["cost"].replace(",", "") == ("not known" if nano is None else "$%d.%09d" % divmod(nano, 10**9))
    done = harness.cli("requests", "--id", "none", "-c", day.config)
    assert done.code == 66 and "no such request is in the ledger" in done.err
    assert harness.cli("requests", "--id", "none", "--json", "-c", day.config).code == 66


def test_those_that_come(ledger):
    """--follow shows each request once, in the order in which they come to the ledger, and only those that the filter lets through."""
    maker = Maker(seed=11)
    first, later = maker.make(5) + [maker.one(kind="reported", model="glm-4.6", route="glm-")], maker.make(40)
    ledger.take(first)
    with harness.start("requests", "--follow", "--last", "6", "--json", "-c", ledger.config, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one, \
            harness.start("requests", "--follow", "--last", "1", "--route", "glm-", "--json", "-c", ledger.config, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as some:
        try:
            assert {json.loads(one.stdout.readline())["id"] for _ in range(6)} == {entry.id for entry in first}
            assert json.loads(some.stdout.readline())["route"] == "glm-"
            # As when the tap reports what a request used: its row changes, and moves to the end of the table.
            with sqlite3.connect(ledger.db, timeout=20) as base:
                for entry in first:
                    base.execute("update requests set rowid = (select max(rowid) + 1 from requests) where id = ?", (entry.id,))
                base.execute("update meta set value = (select max(rowid) from requests) where key = 'sequence'")
            base.close()
            for part in range(4):
                ledger.take(later[part::4] + first, name="log%d" % part)
            with contextlib.closing(sqlite3.connect(ledger.db, timeout=20)) as base:
                came = [id_ for id_, in base.execute("select id from requests order by rowid") if id_ in {entry.id for entry in later}]
            assert len(came) == 40 and [json.loads(one.stdout.readline())["id"] for _ in came] == came
            glm = [id_ for id_ in came if id_ in {entry.id for entry in later if entry.want["route"] == "glm-"}]
            assert glm and [json.loads(some.stdout.readline())["id"] for _ in glm] == glm
            for process in (one, some):
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 0 and not process.stdout.read()
        finally:
            for process in (one, some):
                process.kill()  # or a test that fails would wait for them


def test_wrong_flags(day):
    for last in ("", "x", "-1", "10001", "5 "):
        assert "--last \"%s\": a whole number from 0 to 10000 is expected" % last in day.run("requests", "--last", last, code=64).err
    assert 'not a time' in day.run("requests", "--since", "x", code=64).err
