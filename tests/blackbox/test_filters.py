"""Which requests a person asks about: --model, --route, --project, --client, --member, --code, --status and --id of `savings` and `ledger export`, for one ledger
and for a fleet, against an independent count."""
import json
import random
import time

import pytest

import loglines
from harness import cli
from ledgers import GROUPS, day, figures_of, ledger  # noqa: F401

LABELS = ("model", "route", "project", "client", "member", "code")


def passes(want, only):
    for name, value in only.items():
        if name == "status":
            status = want["status"]
            if value == "none" and status != 0 or value[1:] == "xx" and status // 100 != int(value[0]) or value.isdigit() and status != int(value):
                return False
        elif value.startswith("="):
            if want[name] != value[1:]:
                return False
        elif value.endswith("*"):
            if not want[name].startswith(value[:-1]):
                return False
        elif want[name] != value:
            return False
    return True


def flags(only):
    return [word for name, value in only.items() for word in ("--" + name, value)]


def filters(wants, rng):
    """Filters by every label and combination of them, and by words that are SQL."""
    one = rng.choice(wants)
    given = [{label: value} for label in LABELS for value in {want[label] for want in rng.sample(wants, 2)}]
    given += [{"model": one["model"][:3] + "*"}, {"model": "*"}, {"route": "=*"}, {"model": "=" + one["model"]}, {"client": "=" + one["client"][:3] + "*"}, {"project": "="}, {"project": ""}, {"id": one["id"]}, {"id": one["id"][:10] + "*"}, {"id": "none"},
              {"status": "200"}, {"status": "4xx"}, {"status": "5xx"}, {"status": "none"}, {label: one[label] for label in LABELS},
              {"route": one["route"], "status": "2xx", "client": one["client"]}]
    given += [{rng.choice(LABELS): text} for text in ("x' OR '1'='1", "%", "_", 'x"; DROP TABLE requests; --', "$1", "?5", "\\")]
    return given


def check(wants, savings, export):
    """`savings` and `export` are called with flags, and give what is printed as JSON."""
    rng, found = random.Random(7), 0
    for only in filters(wants, rng):
        mine = [want for want in wants if passes(want, only)]
        by = rng.choice(GROUPS)
        said = savings("--by", by, *flags(only))
        assert figures_of(said["totals"]) == loglines.sums(mine), only
        assert {row[by]: figures_of(row) for row in said["rows"]} == loglines.report(mine, by), (by, only)
        labels, got = [row[by] for row in said["rows"]], {row[by]: figures_of(row) for row in said["rows"]}
        assert labels == (sorted(labels) if by in ("day", "hour") else sorted(labels, key=lambda label: (
            -got[label]["cost"], -got[label]["requests"], label.encode()))), (by, only)
        assert {name: value for name, value in said["only"].items() if "status" not in name} == {
            name: value for name, value in only.items() if name != "status"}
        assert sorted(row["id"] for row in export(*flags(only))) == sorted(want["id"] for want in mine), only
        found += bool(mine)
    assert found > 15


def test_a_ledger(day):
    check(day.wants, lambda *args: day.savings("--since", "all", *args), day.export)
    for by in GROUPS:
        assert day.savings("--since", "all", "--by", by, "--model", "*")["rows"] == day.savings("--since", "all", "--by", by)["rows"]


def test_a_period(day):
    """A filter does not move the borders of the period, whose hours are whole."""
    for since, until in (("5d", None), ("8d", "3d")):
        period = ["--since", since] + ["--until", until] * bool(until)
        whole, found = day.savings(*period), day.savings(*period, "--model", "*")
        assert found["totals"] == whole["totals"] and found["since"] == whole["since"] and 0 < whole["totals"]["requests"] < len(day.wants)


def test_for_a_person(day):
    one = next(want for want in day.wants if want["model"].isascii() and want["model"].isprintable() and 0 < len(want["model"]) < 40 and want["project"] == "")
    said = day.run("savings", "--since", "all", "--model", one["model"], "--project", "", "--status", "2xx").out
    assert "only model %s project (none) status 2xx\n" % one["model"] in said, said
    assert "pruned" not in said
    assert "only status 429\n" in day.run("savings", "--since", "all", "--status", "429").out
    assert "only without a status\n" in day.run("savings", "--since", "all", "--status", "none").out


@pytest.mark.parametrize("status", ["", "x", "42", "4x", "0xx", "2000", "-1", "4XX'"])
def test_a_status_that_is_none(day, status):
    for command in (["savings"], ["ledger", "export"]):
        done = day.run(*command, "--status", status, code=64)
        assert 'spoa-llm: --status "%s": a status like 429, a class like 4xx, or none is expected' % status in done.err and not done.out


def test_rows_that_were_pruned(ledger):
    """The sums of all requests stay; those of some need their rows, and the report says which are missing."""
    entries = loglines.Maker(seed=8, span_ms=20 * loglines.DAY).make(400)
    ledger.take(entries)
    before = ledger.savings("--since", "all")
    ledger.ledger("prune", "--days", "10")
    assert ledger.savings("--since", "all")["totals"] == before["totals"]
    left = ledger.export()
    said = ledger.savings("--since", "all", "--model", "*")
    assert said["totals"]["requests"] == len(left) < 400 and said["requests_since"] <= min(row["time"] for row in left)
    assert "were pruned, and are missing here" in ledger.run("savings", "--since", "all", "--model", "*").out
    assert ledger.savings("--since", "2d", "--model", "*")["requests_since"] is None
    assert "requests_since" not in ledger.savings("--since", "all")
    # Nothing is said of the period before, or of the month, from a part of their requests.
    before = ledger.savings("--since", "9d", "--model", "*", "--compare")
    month = said["requests_since"] > time.strftime("%Y-%m-01T00:00:00Z", time.gmtime())
    assert before["before"] is None and before["whole_from"] == said["requests_since"] and (before["forecast"] is None) == month
    text = ledger.run("savings", "--since", "9d", "--model", "*", "--compare").out
    assert "nothing to compare with: requests of the period before were pruned" in text
    assert ("There is no forecast: requests of the month's first days were pruned." in text) == month
    assert ledger.savings("--since", "9d", "--compare")["before"]["totals"]["requests"] > 0


def test_a_wide_filter_is_no_second_argument(day):
    done = cli("savings", "-c", day.config, "--model", "a", "--model", "b")
    assert done.code == 64 and "this flag is given twice: model" in done.err
    assert json.loads(cli("savings", "-c", day.config, "--json", "--model", "a" * 5000).out)["totals"]["requests"] == 0
