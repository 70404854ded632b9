"""`spoa-llm savings` and `spoa-llm ledger export`: every figure, in tokens and nano-dollars, is that of an independent count of generated log
lines (loglines.py). The tables fit terminals of all widths."""
import csv
import fcntl
import io
import json
import os
import pty
import random
import re
import sqlite3
import struct
import subprocess
import termios
import time

import pytest

import evidence
import harness
import loglines
from ledgers import GROUPS, NOW, day, figures_of, ledger, round_half  # noqa: F401
from loglines import DAY, HOUR, MONEY, Maker


# ---- the rows and sums of a ledger


def test_import_says_what_it_did(day):
    assert day.said == {"lines": 4000, "records": 4000, "new": 4000, "known": 0, "pruned": 0, "malformed": 0, "other": 0,
                        "problems": []}


def test_every_row(day):
    """Each exported request has the right labels, tokens, origin of the tokens, and nano-dollars."""
    rows = {row["id"]: row for row in day.export()}
    assert len(rows) == len(day.wants)
    for want in day.wants:
        row = rows[want["id"]]
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(want["time_ms"] // 1000)) + ".%03dZ" % (want["time_ms"] % 1000)
        assert row.pop("time") == when
        for name, value in want.items():
            if name in MONEY:
                assert row[name + "_nanodollars"] == (value if want["price_from"] in ("table", "partial") else None), (name, want, row)
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
    # A character that JSON would escape becomes `_` in CSV; no two names here become the same by that.
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
    # In the bytes, each line ends with CR LF, quotes are doubled, and a field that needs no quotes has none.
    lines = text.split("\r\n")
    assert len(lines) == len(rows) + 2 and not lines[-1]
    assert any('"say ""hi"", twice"' in line for line in lines) and any(",--," in line for line in lines)


def test_without_estimates_and_unpriced(day):
    report, total = day.savings("--by", "client"), loglines.sums(day.wants)
    assert report["without_estimates"] == {
        "requests": total["requests"] - total["estimated_requests"], "output": total["output"] - total["estimated_output"],
        "cost_nanodollars": total["cost"] - total["estimated_cost"],
        **{"saved_%s_nanodollars" % kind: total["saved_" + kind] - total["estimated_saved_" + kind] for kind in ("gateway", "cache", "total")}}
    expected = {label: (sums["unpriced_requests"], sums["unpriced_tokens"])
                for label, sums in loglines.report(day.wants, "model").items() if sums["unpriced_requests"]}
    got = report["unpriced_models"]
    assert {one["model"]: (one["requests"], one["tokens"]) for one in got} == expected
    assert [one["tokens"] for one in got] == sorted((one["tokens"] for one in got), reverse=True)
    assert sum(n for n, _ in expected.values()) == total["unpriced_requests"]
    for kind in ("unknown", "partly_priced"):
        name = kind + "_requests"
        expected = {label: sums[name] for label, sums in loglines.report(day.wants, "model").items() if sums[name]}
        got = report[kind + "_models"]
        assert {one["model"]: one["requests"] for one in got} == expected and sum(expected.values()) == total[name]
        assert [one["requests"] for one in got] == sorted((one["requests"] for one in got), reverse=True)
    assert total["unknown_requests"] > 100


def test_periods(day):
    """`savings` counts whole hours; if --until names only a day, that day is included. `ledger export` goes by the exact time."""
    hours = sorted({loglines.label_of(want, "hour") for want in day.wants})
    rng = random.Random(1)
    for _ in range(12):
        first, last = sorted(rng.sample(hours, 2))
        report = day.savings("--since", first, "--until", last)
        mine = [want for want in day.wants if first <= loglines.label_of(want, "hour") < last]
        assert figures_of(report["totals"]) == loglines.sums(mine), (first, last)
        assert report["since"][:13] == first[:13] and report["until"][:13] == last[:13]
        # An hour counts as a whole if the period touches any part of it.
        assert day.savings("--since", first[:13] + ":59", "--until", last[:13] + ":01")["totals"]["requests"] == len(
            [want for want in day.wants if first <= loglines.label_of(want, "hour") <= last])
        # The export takes single rows by their exact time.
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
                     "saved_compression_nanodollars saved_cache_nanodollars saved_routing_nanodollars price_missing tap member attempts tried keyed "
                     "charged_nanodollars operation traceparent").split()
    header = day.ledger("export", "--csv").out.split("\r\n")[0]
    assert header == ",".join(names).replace("_nanodollars", "_usd")
    times = [json.loads(line)["time"] for line in text.splitlines()]
    assert times == sorted(times)


# ---- the tables for people


def on_terminal(ledger, columns, *args, env=None):
    """Returns what the command writes to a terminal with `columns` columns."""
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
    # The values of a column end below the end of its heading.
    ends = {match.end() for match in re.finditer(r"\S+", rows[0]) if match.group() in ("requests", "saved")}
    for row in rows[1:]:
        columns_of_row = "".join(c + "\0" * (width(c) - 1) if width(c) else "" for c in row)
        for end in ends:
            assert columns_of_row[end - 1] != " ", (rows[0], row)
    assert ("█" in text) == (columns >= 60)  # a narrower one has no room for bars


def test_totals_of_the_table(day):
    total = loglines.sums(day.wants)
    text = day.run("savings").out
    assert text.isascii()
    assert re.search(r"^requests +%s  " % "{:,}".format(total["requests"]), text, re.M)
    tokens = total["input"] + total["cache_read"] + total["cache_write"]
    for name, value in (("tokens in", tokens), ("  uncached", total["input"]), ("  cache read", total["cache_read"]),
                        ("  cache write", total["cache_write"]), ("tokens out", total["output"])):
        assert re.search(r"^%s +%s( |$)" % (name, "{:,}".format(value)), text, re.M), name
    for name, value in (("cost", total["cost"]), ("saved", total["saved_total"]), ("  by this gateway", total["saved_gateway"]),
                        ("    compression", total["saved_compression"]), ("    routing", total["saved_routing"]),
                        ("  by providers' caches", total["saved_cache"])):
        assert re.search(r"^%s +%s( |$)" % (name, re.escape(dollars(value))), text, re.M), (name, dollars(value), text)
    assert dollars(total["cost"] - total["estimated_cost"]) + " without estimates" in text
    for name, kind in (("by this gateway", "gateway"), ("by providers' caches", "cache")):
        line = next(line for line in text.splitlines() if line.strip().startswith(name))
        assert line.endswith(dollars(total["saved_" + kind] - total["estimated_saved_" + kind]) + " without estimates"), line
    assert "{:,} without estimates".format(total["output"] - total["estimated_output"]) in text
    flat = re.sub(r"\s+", " ", text)
    for name, kind, note in (("estimated", "estimated", "streams that did not report usage: {:,} tokens out, {}".format(total["estimated_output"], dollars(total["estimated_cost"]))),
                             ("partial", "partial", "their output tokens are a lower bound"), ("partly priced", "partly_priced", "their cost is rough; models: "),
                             ("unpriced", "unpriced", "{:,} tokens without a price (see the option prices); models: ".format(total["unpriced_tokens"])),
                             ("unknown", "unknown", "nobody reported their tokens, so tokens, cost and saved are too low; models: ")):
        assert re.search(r"^  %s +%s  \S" % (name, "{:,}".format(total[kind + "_requests"])), text, re.M), (name, text)
        assert " %s %s %s" % (name, "{:,}".format(total[kind + "_requests"]), note) in flat, (name, text)
    assert re.search(r"and \d+ more ", flat)
    # The figures in one row of the table.
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
    # If the output is not a terminal, the table is in ASCII and as wide as COLUMNS says.
    wide = day.run("savings", env={"COLUMNS": "150"}).out
    assert wide.isascii() and "routing" in next(line for line in wide.splitlines() if line.startswith("model "))


def test_names_of_a_database_that_somebody_else_wrote(ledger):
    """No control character of any kind reaches the terminal, even if another program wrote some into the database."""
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
        text = text.replace("\r\n", "\n")  # the line ends of CSV
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text), repr(text)
    assert "a?[31mb??31m???c?d?" in texts[0] and "?A?" in texts[0]
    labels = {row["model"] for row in json.loads(texts[1])["rows"]}
    assert bad in labels and "\ufffdA\ufffd" in labels
    assert json.loads(texts[3].splitlines()[0])["model"] == bad


def test_many_labels(ledger):
    """The table shows the 30 largest labels and sums up the others in one row; JSON has all labels."""
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


def test_a_period_that_is_still_to_come(day):
    for command in (["savings"], ["upstreams"], ["requests"], ["ledger", "export"]):
        done = day.run(*command, "--since", "2999-01-01", code=64)
        assert '--since "2999-01-01" is still to come' in done.err and not done.out, done


def test_the_last_row_is_the_total(day):
    total = loglines.sums(day.wants)
    for by in ("model", "day"):
        rows = [line for line in day.run("savings", "--by", by, env={"COLUMNS": "150"}).out.splitlines() if line.startswith("total ")]
        assert len(rows) == 1
        words = rows[0].split()
        assert words[1] == "{:,}".format(total["requests"]) and dollars(total["saved_total"]) == words[-1] and "100.0%" in words, rows
        assert any(word.rstrip("~+") == dollars(total["cost"]) for word in words)
    assert "\ntokens: input, cached and output together\n" in day.run("savings").out


def test_a_bar_has_one_scale(day):
    """A column of a bar is 10 % of the whole, whatever the terminal's width and the group."""
    seen = 0
    for by in ("model", "route", "project", "client"):
        for columns in (80, 120, 160):
            for line in on_terminal(day, columns, "savings", "--by", by).split(by + " ", 1)[1].splitlines():
                found = re.search(r" (\d+\.\d)%  ([█▏▎▍▌▋▊▉]+) ", line)
                if found:
                    eighths = sum(8 if c == "█" else 1 + "▏▎▍▌▋▊▉".index(c) for c in found.group(2))
                    assert abs(eighths - max(1, float(found.group(1)) * 0.8)) <= 0.6, line
                    seen += 1
    assert seen > 30


def test_names_that_differ_at_their_ends(ledger):
    """A long name is cut in its middle."""
    names = ["vendor/some-quite-long-model-family-name-of-the-year-" + end for end in ("mini", "large")]
    ledger.take([Maker(seed=n).one(kind="reported", model=name, id="long-%d" % n) for n, name in enumerate(names)])
    text = ledger.run("savings").out
    assert re.search(r"^vendor/\S+\.\.\S*-mini ", text, re.M) and re.search(r"^vendor/\S+\.\.\S*-large ", text, re.M), text


def test_pauses_are_shown(ledger):
    start = NOW - NOW % DAY - 9 * DAY
    for days in (0, 1, 5):
        ledger.take(Maker(seed=days, start_ms=start + days * DAY + HOUR, span_ms=HOUR).make(5))
    text = ledger.run("savings", "--by", "day").out
    lines = text.splitlines()
    pause = next(i for i, line in enumerate(lines) if "without a request" in line)
    assert "3 days" in lines[pause] and lines[pause - 1][:10] < lines[pause + 1][:10]
