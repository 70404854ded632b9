"""`spoa-llm savings` and `spoa-llm ledger ...`: every figure against an independent count of generated log lines
(loglines.py), in tokens and nano-dollars; and what the commands do with files, terminals and pipes that are not as they
should be."""
import csv
import fcntl
import gzip
import io
import json
import os
import pty
import random
import re
import sqlite3
import stat
import struct
import subprocess
import termios
import threading
import time
from fractions import Fraction

import pytest

import evidence
import harness
import loglines
from harness import cli
from loglines import DAY, HOUR, FIGURES, MONEY, Maker

GROUPS = ("model", "route", "project", "client", "day", "hour")
NOW = int(time.time() * 1000)


class Ledger:
    """A directory with a configuration, and the commands on it."""

    def __init__(self, directory, **config):
        self.directory = directory
        (directory / "ledger").mkdir()
        (directory / "prices.json").write_text(json.dumps(loglines.PRICES))
        self.config = harness.write_config(directory, dict({
            "ledger": str(directory / "ledger"), "prices": str(directory / "prices.json"), "routes": loglines.ROUTES}, **config))
        self.db = directory / "ledger" / "ledger.db"

    def run(self, *args, code=0, **more):
        done = cli(*args, "-c", self.config, **more)
        assert done.code == code, done
        return done

    def ledger(self, *args, **more):
        return self.run("ledger", *args, **more)

    def take(self, entries, name="log", rng=None):
        """Imports them; what the import says."""
        path = self.directory / name
        path.write_text("".join((entry.with_prefix(rng).line if rng else entry.line) + "\n" for entry in entries))
        return json.loads(self.ledger("import", path, "--json").out)

    def savings(self, *args):
        return json.loads(self.run("savings", "--json", *args).out)

    def export(self, *args):
        return [json.loads(line) for line in self.ledger("export", *args).out.splitlines()]


@pytest.fixture
def ledger(work):
    return Ledger(work)


@pytest.fixture(scope="module")
def day(module_work):
    """Twelve days of everything, hostile names too; not to be changed."""
    one = Ledger(module_work)
    one.entries = Maker(seed=random.randrange(1 << 30), span_ms=12 * DAY, hostile=True).make(4000)
    one.wants = [entry.want for entry in one.entries]
    one.said = one.take(one.entries, rng=random.Random(5))
    return one


def figures_of(row):
    """The figures as integers, whatever their unit."""
    out = {}
    for name in FIGURES:
        if name + "_usd" in row:
            assert re.fullmatch(r"-?\d+\.\d{9}", row[name + "_usd"]), row
            out[name] = int(row[name + "_usd"].replace(".", ""))
        else:
            out[name] = int(row[name + "_nanodollars" if name in MONEY and name + "_nanodollars" in row else name])
    total = row.get("saved_total_nanodollars", None)
    total = int(row["saved_total_usd"].replace(".", "")) if total is None else total
    assert total == out["saved_compression"] + out["saved_cache"] + out["saved_routing"]
    return out


# ---- what is in it


def test_import_says_what_it_did(day):
    assert day.said == {"lines": 4000, "records": 4000, "new": 4000, "known": 0, "pruned": 0, "malformed": 0, "other": 0,
                        "problems": []}


def test_every_row(day):
    """Request by request: labels, tokens, where they are from, nano-dollars."""
    rows = {row["id"]: row for row in day.export()}
    assert len(rows) == len(day.wants)
    for want in day.wants:
        row = rows[want["id"]]
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(want["time_ms"] // 1000)) + ".%03dZ" % (want["time_ms"] % 1000)
        assert row.pop("time") == when
        for name, value in want.items():
            if name in MONEY:
                assert row[name + "_nanodollars"] == (value if want["price_from"] == "table" else None), (name, want, row)
            elif name != "time_ms":
                assert row[name] == value, (name, want, row)
    kinds = {(want["usage_from"], want["price_from"]) for want in day.wants}
    assert len(kinds) >= 7 and any(want["saved_compression"] < 0 for want in day.wants)


@pytest.mark.parametrize("by", GROUPS)
def test_sums(day, by):
    report = day.savings("--by", by)
    expected = loglines.report(day.wants, by)
    got = {row[by]: figures_of(row) for row in report["rows"]}
    assert len(got) == len(report["rows"]) and got == expected
    assert figures_of(report["totals"]) == loglines.sums(day.wants)
    labels = [row[by] for row in report["rows"]]
    if by in ("day", "hour"):
        assert labels == sorted(labels)
    else:
        assert labels == sorted(labels, key=lambda label: (-got[label]["cost"], -got[label]["requests"], label.encode()))


@pytest.mark.parametrize("by", GROUPS)
def test_sums_as_csv(day, by):
    text = day.run("savings", "--csv", "--by", by).out
    assert text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    got = {unguarded(row[by]): figures_of(row) for row in rows}
    # What JSON would escape is `_` in CSV; names that differ only in that do not occur here.
    assert got == {shown(label): sums for label, sums in loglines.report(day.wants, by).items()}


def shown(label):
    return re.sub("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]", "_", label)


def unguarded(text):
    assert not text or text[0] not in "=+-@\t\r", text
    return text[1:] if text.startswith("'") else text


def test_export_as_csv(day):
    text = day.ledger("export", "--csv").out
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(day.wants)
    for row, line in zip(rows, day.export()):
        for name, value in line.items():
            if name.endswith("_nanodollars"):
                cell = row[name.replace("_nanodollars", "_usd")]
                assert cell == ("" if value is None else "%s%d.%09d" % ("-" * (value < 0), *divmod(abs(value), 10**9)))
            elif name in ("model", "project", "client", "route", "id", "backend", "code", "protocol"):
                assert unguarded(row[name]) == shown(value)
            else:
                assert row[name] == ("" if value is None else str(value).lower() if isinstance(value, bool) else str(value))
    # As the bytes are: each line ends with CR LF, quotes are doubled, and nothing else is quoted in excess.
    lines = text.split("\r\n")
    assert len(lines) == len(rows) + 2 and not lines[-1]
    assert any('"say ""hi"", twice"' in line for line in lines) and any(",--," in line for line in lines)


def test_without_estimates_and_unpriced(day):
    report, total = day.savings("--by", "client"), loglines.sums(day.wants)
    assert report["without_estimates"] == {
        "requests": total["requests"] - total["estimated_requests"], "output": total["output"] - total["estimated_output"],
        "cost_nanodollars": total["cost"] - total["estimated_cost"]}
    expected = {label: (sums["unpriced_requests"], sums["unpriced_tokens"])
                for label, sums in loglines.report(day.wants, "model").items() if sums["unpriced_requests"]}
    got = report["unpriced_models"]
    assert {one["model"]: (one["requests"], one["tokens"]) for one in got} == expected
    assert [one["tokens"] for one in got] == sorted((one["tokens"] for one in got), reverse=True)
    assert sum(n for n, _ in expected.values()) == total["unpriced_requests"]


def test_periods(day):
    """Whole hours, from the beginning to the end; days to their end."""
    hours = sorted({loglines.label_of(want, "hour") for want in day.wants})
    rng = random.Random(1)
    for _ in range(12):
        first, last = sorted(rng.sample(hours, 2))
        report = day.savings("--since", first, "--until", last)
        mine = [want for want in day.wants if first <= loglines.label_of(want, "hour") < last]
        assert figures_of(report["totals"]) == loglines.sums(mine), (first, last)
        assert report["since"][:13] == first[:13] and report["until"][:13] == last[:13]
        # An hour that is touched counts as a whole.
        assert day.savings("--since", first[:13] + ":59", "--until", last[:13] + ":01")["totals"]["requests"] == len(
            [want for want in day.wants if first <= loglines.label_of(want, "hour") <= last])
        # Single rows go by the very time.
        rows = day.export("--since", first[:13] + ":20:07", "--until", last[:13] + ":40Z")
        assert {row["id"] for row in rows} == {want["id"] for want in day.wants if first[:13] + ":20:07" <= time.strftime(
            "%Y-%m-%dT%H:%M:%S", time.gmtime(want["time_ms"] // 1000)) < last[:13] + ":40:00"}
    days = sorted({label[:10] for label in hours})
    report = day.savings("--since", days[2], "--until", days[4])
    assert figures_of(report["totals"]) == loglines.sums([w for w in day.wants if days[2] <= loglines.label_of(w, "day") <= days[4]])
    assert figures_of(day.savings("--since", "all")["totals"]) == loglines.sums(day.wants)
    assert day.savings("--since", "all")["since"] is None
    since = NOW - 5 * DAY
    wants = [want for want in day.wants if want["time_ms"] >= since - since % HOUR - HOUR]
    assert len(wants) >= day.savings("--since", "5d")["totals"]["requests"] >= len(wants) * .8


def test_order_and_columns_of_the_export(day):
    text = day.ledger("export").out
    names = list(json.loads(text.splitlines()[0]))
    assert names == ("id time route backend protocol model project client status code termination stream bytes_in bytes_out "
                     "ttfb_ms total_ms input output cache_read cache_write saved usage_from price_from cost_nanodollars "
                     "saved_compression_nanodollars saved_cache_nanodollars saved_routing_nanodollars").split()
    header = day.ledger("export", "--csv").out.split("\r\n")[0]
    assert header == ",".join(names).replace("_nanodollars", "_usd")
    times = [json.loads(line)["time"] for line in text.splitlines()]
    assert times == sorted(times)


# ---- import


def test_import_again_changes_nothing(ledger):
    entries = Maker(seed=2).make(700)
    assert ledger.take(entries)["new"] == 700
    before = ledger.ledger("export").out, ledger.savings()
    said = ledger.take(entries)
    assert (said["new"], said["known"]) == (0, 700)
    assert (ledger.ledger("export").out, ledger.savings()) == before
    ledger.ledger("verify")


def test_import_fills_gaps(ledger):
    """Parts that overlap, each line twice as the ring and UDP bring it, in any order."""
    entries, rng = Maker(seed=3).make(3000), random.Random(3)
    new = 0
    for part in range(4):
        lines = rng.sample(entries, 1500) * 2
        rng.shuffle(lines)
        said = ledger.take(lines)
        assert said["new"] + said["known"] == said["records"] == 3000
        new += said["new"]
    new += ledger.take(entries)["new"]
    assert new == 3000
    assert figures_of(ledger.savings("--since", "all")["totals"]) == loglines.sums([entry.want for entry in entries])
    ledger.ledger("verify")


@pytest.mark.parametrize("way", ["gzip", "two gzip members", "stdin", "gzip on stdin", "no newline at the end", "CRLF"])
def test_import_of(ledger, way):
    entries = Maker(seed=4).make(300)
    data = "".join(entry.line + "\n" for entry in entries).encode()
    if way == "two gzip members":
        data = gzip.compress(data[:5000]) + gzip.compress(data[5000:])
    elif "gzip" in way:
        data = gzip.compress(data)
    elif way == "CRLF":
        data = data.replace(b"\n", b"\r\n")
    elif way.startswith("no"):
        data = data[:-1]
    path = ledger.directory / "log"
    path.write_bytes(data)
    if "stdin" in way:
        with open(path, "rb") as given:
            run = harness.run("ledger", "import", "-", "--json", "-c", ledger.config, stdin=given, stdout=subprocess.PIPE, timeout=60)
        assert run.returncode == 0
        said = json.loads(run.stdout)
    else:
        said = json.loads(ledger.ledger("import", path, "--json").out)
    assert said["new"] == 300 and said["lines"] == 300 and not said["malformed"]
    assert figures_of(ledger.savings()["totals"]) == loglines.sums([entry.want for entry in entries])


def test_import_of_what_is_malformed(ledger):
    entries = Maker(seed=5).make(6)
    good = [entry.line for entry in entries]
    lines = [good[0], "", "Nov 22 10:00:00 host haproxy[1]: Proxy llm started.", good[1][:-9], good[2].replace('"te":', '"t":'),
             "{}", "some {braces}: " + good[3], good[4].replace('{"v":1', '{"v":2'), good[5] + " tail", "x" * 200000,
             '{"v":1' + " " * 100000 + "}", "\0\0\0", good[5].replace('"status":', '"status":"')]
    (ledger.directory / "log").write_text("\n".join(lines) + "\n")
    done = ledger.ledger("import", ledger.directory / "log", "--json")
    said = json.loads(done.out)
    assert {name: said[name] for name in ("lines", "records", "new", "malformed")} == {
        "lines": len(lines), "records": 2, "new": 2, "malformed": 6}, said
    assert said["other"] == len(lines) - 8
    assert [problem["line"] for problem in said["problems"]] == [4, 5, 8, 9, 11]
    assert {row["id"] for row in ledger.export()} == {entries[0].id, entries[3].id}
    # For people: the first few with their places, and how many more.
    done = ledger.ledger("import", ledger.directory / "log")
    assert "%s:4: " % (ledger.directory / "log") in done.err and "and 1 more" in done.err
    assert "2 known already" in done.out and "6 malformed" in done.out and "5 of other kinds" in done.out


def test_import_of_what_is_no_log(ledger):
    path = ledger.directory / "log"
    path.write_text("hello\n" * 10)
    assert "no line" in ledger.ledger("import", path, code=65).err
    path.write_bytes(gzip.compress("".join(entry.line + "\n" for entry in Maker(seed=6).make(500)).encode())[:-2000])
    done = ledger.ledger("import", path, code=65)
    assert "cut off" in done.err and " new\n" in done.out
    for magic, program in ((b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd\0\0", "zstd"), (b"BZh91AY", "bzip2")):
        path.write_bytes(magic + b"\0" * 50)
        assert program + " -dc" in ledger.ledger("import", path, code=65).err
    assert "No such file" in ledger.ledger("import", ledger.directory / "none", code=66).err
    assert ledger.ledger("import", ledger.directory, code=65).err
    path.write_text("")
    assert ledger.ledger("import", path).code == 0


def test_import_prices_by_what_is_configured(work):
    """Another price file and no reference: other money, the same tokens."""
    entries = [Maker(seed=7).one(kind="reported", model="glm-4.6", route="glm-") for _ in range(3)]
    one = Ledger(work, routes=[])
    one.take(entries)
    rows = {row["id"]: row for row in one.export()}
    for entry in entries:
        assert rows[entry.id]["saved_routing_nanodollars"] == 0 != entry.want["saved_routing"]
        assert rows[entry.id]["cost_nanodollars"] == entry.want["cost"]


# ---- prune, verify


def test_prune_keeps_the_sums(ledger):
    entries = Maker(seed=8, span_ms=20 * DAY).make(1500)
    wants = [entry.want for entry in entries]
    ledger.take(entries)
    before = {by: ledger.savings("--by", by)["rows"] for by in GROUPS}
    limit = time.strftime("%Y-%m-%d", time.gmtime(NOW / 1000 - 10 * 86400))
    old = sum(loglines.label_of(want, "day") < limit for want in wants)
    said = json.loads(ledger.ledger("prune", "--before", limit, "--json").out)
    assert said == {"before": limit + "T00:00:00Z", "removed": old} and old > 100
    assert len(ledger.export()) == len(wants) - old
    assert {by: ledger.savings("--by", by)["rows"] for by in GROUPS} == before
    ledger.ledger("verify")
    # What was pruned does not come back.
    said = ledger.take(entries)
    assert (said["new"], said["known"], said["pruned"]) == (0, len(wants) - old, old)
    assert {by: ledger.savings("--by", by)["rows"] for by in GROUPS} == before
    done = ledger.ledger("prune", "--days", "1")
    left = len(ledger.export())
    assert "%d rows" % (len(wants) - old - left) in done.out.replace(",", "") and left < 150
    assert json.loads(ledger.ledger("prune", "--json").out)["removed"] == 0


def test_prune_by_default_takes_retention_days(work):
    one = Ledger(work, retention_days=3)
    one.take(Maker(seed=9, span_ms=9 * DAY).make(600))
    removed = json.loads(one.ledger("prune", "--json").out)["removed"]
    assert 300 < removed < 500 and len(one.export()) == 600 - removed
    one.ledger("prune", "--retention-days", "0", code=64)
    for wrong in (["--days", "0"], ["--days", "x"], ["--days", "-1"], ["--days", "5x"], ["--before", "soon"], ["--before", "all"],
                  ["--before", "2026-01-01", "--days", "3"]):
        assert one.ledger("prune", *wrong, code=64).err


def test_prune_of_many(ledger):
    """More than one transaction takes."""
    base = Maker(seed=20, span_ms=DAY).make(50)
    (ledger.directory / "log").write_text("".join(base[n % 50].text.replace(base[n % 50].id, "n-%d" % n) + "\n" for n in range(21000)))
    assert json.loads(ledger.ledger("import", ledger.directory / "log", "--json").out)["new"] == 21000
    assert json.loads(ledger.ledger("prune", "--before", "now", "--json").out)["removed"] == 21000 and ledger.export() == []


def test_verify_finds_what_is_wrong(ledger):
    ledger.take(Maker(seed=10).make(500))
    assert "ok" in ledger.ledger("verify").out
    db = sqlite3.connect(ledger.db)
    db.execute("UPDATE hourly SET requests = requests + 1 WHERE (kind, bucket, label) IN (SELECT kind, bucket, label FROM hourly"
               " WHERE kind = 2 LIMIT 1)")
    db.execute("UPDATE requests SET model = 'bad' || char(27) || '[31m' WHERE rowid = 1")
    db.commit()
    db.close()
    done = ledger.ledger("verify", code=1)
    assert len(re.findall("^problem: ", done.out, re.M)) >= 2 and "\x1b" not in done.out and "bad?[31m" in done.out
    said = json.loads(ledger.ledger("verify", "--json", code=1).out)
    assert len(said["problems"]) >= 2


def test_verify_of_a_damaged_file(ledger):
    ledger.take(Maker(seed=11).make(2000))
    with open(ledger.db, "r+b") as f:
        f.seek(4096 * 100)
        f.write(os.urandom(4096 * 3))
    done = ledger.ledger("verify", code=1)
    assert "problem: " in done.out, done
    with open(ledger.db, "r+b") as f:
        f.seek(4096)
        f.write(os.urandom(4096 * 20))
    done = ledger.ledger("verify", code=1)
    assert "malformed" in done.out + done.err, done


def test_gaps(ledger):
    start = NOW - NOW % DAY - 5 * DAY
    entries = []
    for hour in (0, 1, 2, 7, 8, 30, 32):
        entries += Maker(seed=hour, start_ms=start + hour * HOUR, span_ms=HOUR // 2).make(3)
        for entry in entries[-3:]:  # they arrived in that hour, however long they took
            entry.fields["te"] = entry.want["time_ms"] = start + hour * HOUR + 60000 + entry.fields["ta"]
            entry.line = json.dumps(entry.fields)
    ledger.take(entries)

    def text(hour):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start / 1000 + hour * 3600))
    said = json.loads(ledger.ledger("verify", "--json").out)
    assert said == {"problems": [], "first_hour": text(0), "last_hour": text(32), "gaps": [
        {"from": text(3), "to": text(7)}, {"from": text(9), "to": text(30)}, {"from": text(31), "to": text(32)}]}
    done = ledger.ledger("verify", "--gaps")
    assert re.findall(r"(\d+) h$", done.out, re.M) == ["4", "21", "1"]


# ---- Headroom's file


def test_headroom(day):
    """Field by field."""
    state = json.loads(day.ledger("headroom").out)
    assert set(state) == {"schema_version", "lifetime", "display_session", "history", "projects"}
    assert state["schema_version"] == 3
    lifetime = {"requests", "tokens_saved", "compression_savings_usd", "total_input_tokens", "total_input_cost_usd"}
    assert set(state["lifetime"]) - lifetime == {"cache_read_tokens", "cache_savings_usd"}
    check_headroom(state["lifetime"], day.wants)
    assert set(state["display_session"]) - set(state["lifetime"]) == {"savings_percent", "started_at", "last_activity_at"}

    expected = {}
    for want in day.wants:
        if want["project"]:
            expected.setdefault(want["project"], []).append(want)
    assert set(state["projects"]) == set(expected)
    for name, wants in expected.items():
        entry = state["projects"][name]
        assert set(entry) == lifetime | {"last_activity_at"}
        check_headroom(entry, wants, cost=False)
        latest = max(want["time_ms"] for want in wants)
        assert entry["last_activity_at"] == stamp(latest - latest % HOUR)
    saved = [entry["tokens_saved"] for entry in state["projects"].values()]
    assert saved == sorted(saved, reverse=True)

    # Cumulative, each point later than the one before, and together everything.
    history = state["history"]
    for before, after in zip(history, history[1:]):
        assert before["timestamp"] < after["timestamp"]
        assert before["total_input_tokens"] <= after["total_input_tokens"]
    for point in history:
        assert set(point) == {"timestamp", "provider", "model", "total_tokens_saved", "compression_savings_usd",
                              "total_input_tokens", "total_input_cost_usd", "cache_read_tokens", "cache_savings_usd"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", point["timestamp"])
        assert point["provider"] == {"cl": "anthropic", "gp": "openai", "ge": "gemini"}.get(point["model"][:2], "unknown")
    last = history[-1]
    assert (last["total_tokens_saved"], last["total_input_tokens"]) == (
        state["lifetime"]["tokens_saved"], state["lifetime"]["total_input_tokens"])
    assert last["total_input_cost_usd"] == state["lifetime"]["total_input_cost_usd"]
    # What a model's points add in an hour is what it used in that hour.
    recent = stamp(NOW - 3 * DAY)[:13]
    for model in ("glm-4.6", "=cmd|' /C calc'!A0"):
        hours = {}
        for before, point in zip([dict.fromkeys(last, 0)] + history, history):
            if point["model"] == model and point["timestamp"] >= recent:
                hours[point["timestamp"][:13]] = point["total_input_tokens"] - before["total_input_tokens"]
        wants = [want for want in day.wants if want["model"] == model and stamp(want["time_ms"])[:13] >= recent]
        mine = {}
        for want in wants:
            used = want["input"] + want["cache_read"] + want["cache_write"]
            mine[stamp(want["time_ms"])[:13]] = mine.get(stamp(want["time_ms"])[:13], 0) + used
        assert hours == {hour: used for hour, used in mine.items() if used}


def stamp(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))


def usd(nano):
    """As a JSON number of six decimals, rounded half away from zero."""
    return float(Fraction(round_half(nano, 1000), 10**6))


def round_half(n, unit):
    whole = (abs(n) * 2 + unit) // (2 * unit)
    return whole if n >= 0 else -whole


def check_headroom(entry, wants, cost=True):
    total = loglines.sums(wants)
    assert entry["requests"] == total["requests"] - total["refused"]
    assert entry["tokens_saved"] == total["saved"]
    assert entry["compression_savings_usd"] == usd(total["saved_compression"])
    assert entry["total_input_tokens"] == total["input"] + total["cache_read"] + total["cache_write"]
    if cost:
        assert entry["cache_savings_usd"] == usd(total["saved_cache"])
        assert entry["cache_read_tokens"] == total["cache_read"]


def test_headroom_input_cost(ledger):
    """With prices that do not depend on the prompt's size: exactly what the input cost, up to the last digit."""
    entries = [entry for entry in Maker(seed=12).make(3000) if not entry.want["model"].startswith("claude-sonnet")]
    ledger.take(entries)
    state, spent = json.loads(ledger.ledger("headroom").out), 0
    for entry in entries:
        want = entry.want
        if want["price_from"] == "table":
            tokens = {"input": want["input"], "output": 0, "read": want["cache_read"], "write": want["cache_write"], "saved": 0}
            spent += loglines.TABLE.apply(want["model"], "", tokens)[1]
    assert abs(state["lifetime"]["total_input_cost_usd"] - spent / 1e9) < 1e-4
    shares = sum(entry["total_input_cost_usd"] for entry in state["projects"].values())
    nobody = loglines.sums([entry.want for entry in entries if not entry.want["project"]])["cost"]
    all_cost = loglines.sums([entry.want for entry in entries])["cost"]
    assert abs(shares - spent / 1e9 * (all_cost - nobody) / all_cost) < 1e-3


def test_headroom_session(ledger):
    """From the last 60 minutes without a request on; an hour exactly is no such pause."""
    at, times = NOW - 20 * HOUR, []
    for minutes in [0, 30, 5, 61, 59, 60, 1, 45, 60, 2]:
        at += minutes * 60000
        times.append(at)
    entries = requests_at(times)
    ledger.take(entries)
    session = json.loads(ledger.ledger("headroom").out)["display_session"]
    mine = [entry.want for entry in entries[3:]]
    check_headroom(session, mine)
    assert session["started_at"] == stamp(mine[0]["time_ms"]) and session["last_activity_at"] == stamp(mine[-1]["time_ms"])
    total = loglines.sums(mine)
    sent = total["saved"] + total["input"] + total["cache_read"] + total["cache_write"]
    assert abs(session["savings_percent"] - 100 * total["saved"] / sent) <= .006


def requests_at(times):
    """One reported request at each time."""
    entries = []
    for n, at in enumerate(times):
        entry = Maker(seed=at).one(kind="reported")
        entry.fields.update(te=at + entry.fields["ta"], id="r-%d" % n)
        entry.want["time_ms"] = at
        entry.line = json.dumps(entry.fields)
        entries.append(entry)
    return entries


def test_headroom_session_of_many_days(ledger):
    """From the middle of a day that is in the history as a whole."""
    start = NOW - NOW % DAY - 10 * DAY + 14 * HOUR + 7
    entries = requests_at([start - 12 * HOUR, start - 3 * HOUR] + list(range(start, NOW, HOUR - 60000)))
    ledger.take(entries)
    state = json.loads(ledger.ledger("headroom").out)
    check_headroom(state["display_session"], [entry.want for entry in entries[2:]])
    assert state["display_session"]["started_at"] == stamp(start)
    check_headroom(state["lifetime"], [entry.want for entry in entries])


def test_headroom_of_long_ago(ledger):
    """What is older than the history is in the totals; there is no session."""
    entries = requests_at([NOW - 700 * DAY, NOW - 380 * DAY, NOW - 200 * DAY, NOW - 20 * DAY])
    ledger.take(entries)
    state = json.loads(ledger.ledger("headroom").out)
    check_headroom(state["lifetime"], [entry.want for entry in entries])
    assert [point["timestamp"][:10] for point in state["history"]] == [stamp(entry.want["time_ms"])[:10] for entry in entries[2:]]
    used = [sum(entry.want[name] for name in ("input", "cache_read", "cache_write")) for entry in entries]
    assert [point["total_input_tokens"] for point in state["history"]] == [sum(used[:3]), sum(used)]
    assert state["display_session"]["requests"] == 0 and state["display_session"]["started_at"] is None


def test_headroom_file_is_replaced_as_a_whole(ledger):
    ledger.take(Maker(seed=13).make(50))
    out = ledger.directory / "proxy_savings.json"
    ledger.ledger("headroom", "--output", out)
    first = out.read_text()
    assert json.loads(first) == json.loads(ledger.ledger("headroom", "--output", "-").out)
    out.chmod(0o640)
    inode = out.stat().st_ino
    ledger.ledger("headroom", "--output", out)
    assert out.stat().st_ino != inode and stat.S_IMODE(out.stat().st_mode) == 0o640 and out.read_text() == first
    assert sorted(path.name for path in ledger.directory.iterdir() if "savings" in path.name) == ["proxy_savings.json"]
    done = ledger.ledger("headroom", "--output", ledger.directory / "no" / "such", code=73)
    assert "No such file" in done.err


def test_headroom_of_an_empty_ledger(ledger):
    (ledger.directory / "log").write_text("")
    ledger.ledger("import", ledger.directory / "log")
    state = json.loads(ledger.ledger("headroom").out)
    assert state["history"] == [] and state["projects"] == {} and state["lifetime"]["requests"] == 0
    assert state["display_session"]["started_at"] is None and state["display_session"]["last_activity_at"] is None


# ---- for a person


def on_terminal(ledger, columns, *args, env=None):
    """What the command writes to a terminal of that many columns."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = harness.start(*args, "-c", ledger.config, stdout=child, stderr=child, stdin=subprocess.DEVNULL, env=harness.environment(env))
    os.close(child)
    got = evidence.read_all(parent, "a terminal")
    os.close(parent)
    assert process.wait(timeout=60) == 0
    return got.decode().replace("\r\n", "\n")


def width(line):
    import unicodedata
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@pytest.mark.parametrize("columns", [44, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("by", GROUPS)
def test_table_fits_the_terminal(day, columns, by):
    text = on_terminal(day, columns, "savings", "--by", by, "--since", "3d")
    for line in text.splitlines():
        assert width(line) <= max(columns, 60), (columns, line)
        assert line == line.rstrip(), repr(line)
        assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f]", line), repr(line)
    heading = next(i for i, line in enumerate(text.splitlines()) if line.startswith(by + " "))
    rows = [line for line in text.splitlines()[heading:text.splitlines().index("", heading)] if "without a request" not in line]
    # All columns end where their heading ends.
    ends = {match.end() for match in re.finditer(r"\S+", rows[0]) if match.group() in ("requests", "saved")}
    for row in rows[1:]:
        columns_of_row = "".join(c + "\0" * (width(c) - 1) if width(c) else "" for c in row)
        for end in ends:
            assert columns_of_row[end - 1] != " ", (rows[0], row)
    assert "█" in text


def test_totals_of_the_table(day):
    total = loglines.sums(day.wants)
    text = day.run("savings").out
    assert text.isascii()
    assert re.search(r"^requests +%s  " % "{:,}".format(total["requests"]), text, re.M)
    tokens = total["input"] + total["cache_read"] + total["cache_write"]
    for name, value in (("tokens in", tokens), ("  uncached", total["input"]), ("  cache read", total["cache_read"]),
                        ("  cache write", total["cache_write"]), ("tokens out", total["output"])):
        assert re.search(r"^%s +%s( |$)" % (name, "{:,}".format(value)), text, re.M), name
    saved = sum(total[name] for name in ("saved_compression", "saved_cache", "saved_routing"))
    for name, value in (("cost", total["cost"]), ("saved", saved), ("  compression", total["saved_compression"]),
                        ("  caching", total["saved_cache"]), ("  routing", total["saved_routing"])):
        assert re.search(r"^%s +%s( |$)" % (name, re.escape(dollars(value))), text, re.M), (name, dollars(value), text)
    assert dollars(total["cost"] - total["estimated_cost"]) + " without estimates" in text
    assert "{:,} without estimates".format(total["output"] - total["estimated_output"]) in text
    flat = re.sub(r"\s+", " ", text)
    assert "estimated: {:,} requests, {:,} tokens out".format(total["estimated_requests"], total["estimated_output"]) in flat
    assert "partial: {:,} requests".format(total["partial_requests"]) in flat
    assert "unpriced: {:,} requests, {:,} tokens (models: ".format(total["unpriced_requests"], total["unpriced_tokens"]) in flat
    assert re.search(r"and \d+ more\)", flat)
    # A row of the table, figure by figure.
    sums = loglines.report(day.wants, "model")["gpt-5.5"]
    saved = sum(sums[name] for name in ("saved_compression", "saved_cache", "saved_routing"))
    assert saved < 0 or sums["saved_routing"] < 0
    row = next(line for line in text.splitlines() if line.startswith("gpt-5.5 ")).split()
    assert row[1] == "{:,}".format(sums["requests"]) and row[3].rstrip("~+") == dollars(sums["cost"])
    assert row[-1] == dollars(saved) and row[4] == "%.1f%%" % (round_half(1000 * sums["cost"], total["cost"]) / 10)


def dollars(nano):
    cents = round_half(nano, 10**7)
    return "%s$%s.%02d" % ("-" * (cents < 0), "{:,}".format(abs(cents) // 100), abs(cents) % 100)


def test_table_without_utf8(day):
    for env in ({"LANG": "C"}, {"LC_ALL": "POSIX"}):
        text = on_terminal(day, 80, "savings", env=env)
        assert text.isascii() and "#" in text and "\x1b" not in text
    assert "█" in on_terminal(day, 80, "savings", env={"LANG": "C.UTF-8"})
    # Not a terminal: ASCII, and as wide as COLUMNS says.
    wide = day.run("savings", env={"COLUMNS": "150"}).out
    assert wide.isascii() and "routing" in next(line for line in wide.splitlines() if line.startswith("model "))


def test_names_of_a_database_that_somebody_else_wrote(ledger):
    """Control characters of any kind never reach the terminal, even if the database has them."""
    ledger.take(Maker(seed=14).make(30))
    bad = "a\x1b[31mb\x07\x9b31m\u202e\u200b\nc\td\x7f"
    db = sqlite3.connect(ledger.db)
    for table in ("hourly", "daily"):
        db.execute("UPDATE %s SET label = ? WHERE kind = 1 AND label = 'gpt-5.5'" % table, (bad,))
        db.execute("UPDATE %s SET label = CAST(x'ff41c3' AS TEXT) WHERE kind = 1 AND label = 'glm-4.6'" % table)
    db.execute("UPDATE requests SET model = ?", (bad,))
    db.commit()
    db.close()
    texts = [on_terminal(ledger, 120, "savings"), on_terminal(ledger, 120, "savings", "--json"),
             on_terminal(ledger, 120, "savings", "--csv"), on_terminal(ledger, 80, "ledger", "export"),
             on_terminal(ledger, 80, "ledger", "export", "--csv")]
    for text in texts:
        text = text.replace("\r\n", "\n")  # CSV's own
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text), repr(text)
    assert "a?[31mb??31m???c?d?" in texts[0] and "?A?" in texts[0]
    labels = {row["model"] for row in json.loads(texts[1])["rows"]}
    assert bad in labels and "\ufffdA\ufffd" in labels
    assert json.loads(texts[3].splitlines()[0])["model"] == bad


def test_many_labels(ledger):
    """The table shows the first, and the rest as one; JSON has all."""
    entries = [Maker(seed=n).one(kind="reported", project="p%03d" % n, id="many-%d" % n) for n in range(80)]
    ledger.take(entries)
    report = ledger.savings("--by", "project")
    assert len(report["rows"]) == 80
    text = ledger.run("savings", "--by", "project").out
    others = next(line for line in text.splitlines() if line.startswith("(50 more)")).split()
    assert others[2] == "50" and others[4].rstrip("~+") == dollars(sum(row["cost_nanodollars"] for row in report["rows"][30:]))
    assert len(re.findall(r"^p\d{3} ", text, re.M)) == 30


def test_small_money_is_not_nothing(ledger):
    entries = []
    for n in range(3):
        entry = Maker(seed=n).one(kind="reported", model="gpt-5.5-mini", route="*", protocol="openai", id="small-%d" % n)
        entry.fields.update(usage=':{"prompt_tokens":%d,"completion_tokens":1}' % (1 + n), hs="", hb="", ha="")
        entry.line = json.dumps(entry.fields)
        entries.append(entry)
    ledger.take(entries)
    text = ledger.run("savings").out
    assert re.search(r"^cost +\$0\.000008", text, re.M), text


def test_pauses_are_shown(ledger):
    start = NOW - NOW % DAY - 9 * DAY
    for days in (0, 1, 5):
        ledger.take(Maker(seed=days, start_ms=start + days * DAY + HOUR, span_ms=HOUR).make(5))
    text = ledger.run("savings", "--by", "day").out
    lines = text.splitlines()
    pause = next(i for i, line in enumerate(lines) if "without a request" in line)
    assert "3 days" in lines[pause] and lines[pause - 1][:10] < lines[pause + 1][:10]


# ---- when things are not as they should be


def test_nothing_recorded_yet(ledger):
    for args in (["savings"], ["ledger", "export"], ["ledger", "verify"], ["ledger", "prune"], ["ledger", "headroom"]):
        done = ledger.run(*args, code=66)
        assert "there is no ledger at" in done.err and "--ledger" in done.err and not done.out and len(done.err.splitlines()) == 1
    (ledger.directory / "log").write_text("")
    ledger.ledger("import", ledger.directory / "log")
    done = ledger.run("savings")
    assert "No requests in this time" in done.out
    assert ledger.savings()["rows"] == [] and figures_of(ledger.savings()["totals"]) == loglines.sums([])
    assert len(ledger.run("savings", "--csv").out.splitlines()) == 1
    assert ledger.ledger("export").out == "" and "no request is recorded" in ledger.ledger("verify").out


def test_no_ledger_configured(work):
    for args in (["savings"], ["ledger", "export"], ["ledger", "import", "/dev/null"]):
        done = cli(*args)
        assert done.code == 78 and "--ledger DIR" in done.err, done
    done = cli("savings", "--ledger", work / "nowhere")
    assert done.code == 66 and "No such file" in done.err
    (work / "file").write_text("")
    done = cli("savings", "--ledger", work / "file")
    assert done.code == 66 and "no directory" in done.err


@pytest.mark.parametrize("args", [
    ["savings", "--since", "soon"], ["savings", "--since", "7x"], ["savings", "--since", "2026-02-30"], ["savings", "--since", ""],
    ["savings", "--until", "2026-13-01"], ["savings", "--since", "2026-11-02", "--until", "2026-11-01"], ["savings", "--by", "colour"],
    ["savings", "--since", "2026-11-01T25"], ["savings", "--since", "2026-11-01T1"], ["savings", "--json", "--csv"],
    ["savings", "--since", "d"], ["savings", "--since", "99999999999d"], ["savings", "--since", "1d "], ["savings", "--since", "-1d"],
    ["ledger", "export", "--since", "2026-1-1"], ["ledger", "export", "--csv", "--jsonl"], ["ledger"], ["ledger", "nonsense"],
    ["ledger", "import"], ["ledger", "import", "a", "b"], ["ledger", "export", "file"], ["savings", "extra"],
    ["savings", "--gaps"], ["ledger", "verify", "--by", "model"], ["run", "--since", "1d"], ["ledger", "export", "--json"],
    ["explain", "--csv", "--model", "m"]])
def test_wrong_arguments(ledger, args):
    done = ledger.run(*args, code=64)
    assert done.err and not done.out


def test_good_times(ledger):
    ledger.take(Maker(seed=15).make(10))
    for since in ("30m", "24h", "7d", "4w", "2026-11-01", "2026-11-01T13", "2026-11-01T13:00", "2026-11-01T13:00:00Z", "today",
                  "yesterday", "all", "1970-01-01", "2024-02-29", "99999999d"):
        ledger.run("savings", "--since", since)


def test_a_closed_pipe(day):
    for args in (["ledger", "export"], ["ledger", "export", "--csv"], ["savings", "--json", "--by", "hour"], ["ledger", "headroom"]):
        process = harness.start(*args, "-c", day.config, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        err = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait(timeout=60) == 74 and "Broken pipe" in err, (args, err)


def test_a_full_disk(day):
    for args in (["ledger", "export"], ["savings"], ["savings", "--json"], ["ledger", "headroom"], ["ledger", "verify"]):
        with open("/dev/full", "wb") as full:
            run = harness.run(*args, "-c", day.config, stdout=full, stderr=subprocess.PIPE, timeout=60)
        assert run.returncode == 74 and b"No space left" in run.stderr, (args, run)


def test_a_locked_database(ledger):
    """Whoever writes waits his turn; who reads does not notice."""
    ledger.take(Maker(seed=16).make(100))
    more = Maker(seed=17).make(50)
    db = sqlite3.connect(ledger.db, isolation_level=None, check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    assert ledger.savings()["totals"]["requests"] == 100
    timer = threading.Timer(1.5, lambda: db.execute("ROLLBACK"))
    timer.start()
    begin = time.monotonic()
    assert ledger.take(more)["new"] == 50
    assert time.monotonic() - begin > 1
    timer.join()
    db.close()


def test_beside_a_running_agent_and_other_writers(ledger, agents):
    """Imports in parallel while an agent has the same ledger open, and reports in between: all is there once."""
    port = harness.free_port()
    agent = agents({"ledger": str(ledger.directory / "ledger"), "prices": str(ledger.directory / "prices.json"),
                    "log_listen": ["127.0.0.1:%d" % port], "routes": loglines.ROUTES})
    entries = Maker(seed=18).make(6000)
    parts = [entries[n::3] + entries[:500] for n in range(3)]
    said = []
    harness.until(ledger.db.exists, what="the agent's database")

    def work(n):
        said.append(ledger.take(parts[n], name="log%d" % n))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in threads):
        now = ledger.savings()["totals"]["requests"]
        assert seen <= now <= 6000
        seen = now
    for thread in threads:
        thread.join()
    assert sum(one["new"] for one in said) == 6000 and len(said) == 3
    assert figures_of(ledger.savings()["totals"]) == loglines.sums([entry.want for entry in entries])
    ledger.ledger("verify")
    assert "ledger_" not in agent.process.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_makes_no_database_for_another_user(work):
    one = Ledger(work)
    os.chown(one.directory / "ledger", 65534, 65534)
    (work / "log").write_text("")
    assert "uid 65534" in one.ledger("import", work / "log", code=77).err and not one.db.exists()
