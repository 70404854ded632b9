"""The figures behind the page: /savings, /operation, /requests and /request with every filter and split, to the digit, against what
`spoa-llm savings`, `ledger export` and `upstreams` say of the same requests. The commands read rows, the page reads facets."""
import csv
import io
import json
import random
import re
import time
import urllib.parse

import pytest

import harness
import loglines
import spop
from dashboard import Agent
from harness import cli, until
from ledgers import figures_of
from loglines import DAY, Maker
from test_filters import flags, passes

LABELS = ("model", "route", "project", "client", "member", "backend", "status", "code", "status_class")


class Site:
    """An agent with a ledger of sixty days of everything, hostile names too; not to be changed."""

    def __init__(self, directory):
        home = directory / "ledger"
        home.mkdir()
        (directory / "prices.json").write_text(json.dumps(loglines.PRICES))
        config = {"admin_listen": "127.0.0.1:%d" % harness.free_port(), "routes": loglines.ROUTES, "ledger": str(home),
                  "prices": str(directory / "prices.json"), "log_listen": ["unix@%s/log.sock" % directory]}
        entries = Maker(seed=random.randrange(1 << 30), span_ms=60 * DAY, hostile=True).make(2500)
        (directory / "log").write_text("".join(entry.line + "\n" for entry in entries))
        self.file = harness.write_config(directory, config, "import.json")
        assert cli("ledger", "import", directory / "log", "-c", self.file).code == 0
        self.agent = harness.Agent(directory, config)
        until(lambda: harness.accepting(self.agent.admin), 5, "the admin server is there")
        self.rows = self.run("ledger", "export", one=False)

    def run(self, *args, one=True):
        done = cli(*args, "-c", self.file)
        assert done.code == 0, done
        return json.loads(done.out) if one else [json.loads(line) for line in done.out.splitlines()]

    def ask(self, path, **parameters):
        return self.agent.http(path="/%s?%s" % (path, urllib.parse.urlencode(parameters)))

    def get(self, path, **parameters):
        got = self.ask(path, **parameters)
        assert got.status == 200, (path, parameters, got)
        return got.json()


@pytest.fixture(scope="module")
def site(module_work):
    one = Site(module_work)
    yield one
    one.agent.close()


def seconds(row):
    return int(time.mktime(time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone)


def filters(rows, rng):
    one = rng.choice([row for row in rows if row["member"]])
    out = [{}, {"model": "*"}, {"model": one["model"][:3] + "*"}, {"project": ""}, {"member": ""}, {"member": one["member"]}, {"status": "4xx"},
           {"status": "none"}, {"status": "200"}, {"code": ""}, {"code": rng.choice([row["code"] for row in rows if row["code"]])},
           {"route": one["route"], "member": one["member"], "status": "2xx", "client": one["client"]}, {"model": "no such one"}]
    labels = ("model", "route", "project", "client", "code", "status")
    several = [(rng.choice(rows), rng.sample(labels, 3)) for _ in range(6)]
    out += [{label: str(row[label]) if label != "status" or row[label] > 0 else "none" for label in some} for row, some in several]
    return out + [{label: rng.choice(rows)[label]} for label in labels[:4] for _ in range(2)]


def test_savings_with_filters(site):
    """The same figures as the command's, which reads rows, by every label and filter."""
    rng = random.Random(3)
    for only in filters(site.rows, rng):
        for by in rng.sample(("model", "route", "project", "client", "member", "day", "hour"), 2):
            since = "38d" if by == "hour" else rng.choice(("all", "20d", "2d"))
            said, got = site.run("savings", "--json", "--since", since, "--by", by, *flags(only)), site.get("savings", since=since, by=by, **only)
            got.pop("not_told_apart", None)
            assert got == said, (only, by, since)
    plain = site.ask("savings", since="all", by="model", format="csv", route="*", status="2xx")
    assert plain.body.decode() == cli("savings", "--csv", "--since", "all", "--route", "*", "--status", "2xx", "-c", site.file).out


def test_one_period_for_all_views(site):
    """A period that begins within an hour has the same requests in each view: those of the whole hour."""
    row = next(row for row in site.rows[-200:] if row["time"][14:16] < "59")   # there are no figures of hours of long ago
    since, until_ = row["time"][:14] + "59Z", row["time"][:10]
    got = [site.get("savings", since=since, until=until_)["totals"]["requests"], site.get("operation", since=since, until=until_)["totals"]["requests"],
           site.get("requests", since=since, until=until_)["total"]]
    assert got == [sum(row["time"][:13] <= other["time"][:13] and other["time"][:10] == until_ for other in site.rows)] * 3, since


def value_of(row, label):
    if label == "status_class":
        return str(row["status"] // 100) if 100 <= row["status"] < 600 else "0"
    return str(row[label])


@pytest.mark.parametrize("label", LABELS)
def test_split(site, label):
    """The nine labels that cost most, each with its rows' sums, and the others together; nothing is lost and nothing counted twice."""
    only = {} if label in ("code", "status") else {"status": "2xx"}
    got = site.get("savings", since="30d", by="day", split=label, **only)
    days = {row["day"]: figures_of(row) for row in site.run("savings", "--json", "--since", "30d", "--by", "day", *flags(only))["rows"]}
    since = seconds({"time": got["since"]})
    mine = [row for row in site.rows if passes(row, only) and seconds(row) >= since]
    names = {}
    for row in mine:
        cost, count = names.get(value_of(row, label), (0, 0))
        names[value_of(row, label)] = (cost + (row["cost_nanodollars"] or 0), count + 1)
    largest = sorted(names, key=lambda name: (-names[name][0], -names[name][1], name.encode()))[:9]
    want = {}
    for row in mine:
        name = value_of(row, label)
        key = row["time"][:10], name if name in largest else None
        requests, cost = want.get(key, (0, 0))
        want[key] = requests + 1, cost + (row["cost_nanodollars"] or 0)
    assert {(row["day"], row["split"]): (row["requests"], row["cost_nanodollars"]) for row in got["rows"]} == want
    assert len(got["rows"]) == len(want) and (len(names) <= 9 or any(row["split"] is None for row in got["rows"]))
    sums = {}
    for row in got["rows"]:
        mine = figures_of(row)
        sums[row["day"]] = {name: sums.get(row["day"], {}).get(name, 0) + mine[name] for name in mine}
    assert sums == days and figures_of(got["totals"]) == {name: sum(day[name] for day in days.values()) for name in figures_of(got["totals"])}
    assert [row["day"] for row in got["rows"]] == sorted(row["day"] for row in got["rows"])


def test_compare_and_forecast(site):
    """`before` are the totals of as long a period just before. The forecast is this month so far, and for what is left of it the average of the
    last seven whole days."""
    for only in ({}, {"status": "2xx"}):
        asked = time.time()
        got = site.get("savings", since="5d", by="model", compare=1, **only)
        before = got["before"]
        assert before["until"] == got["since"]
        assert 0 <= seconds({"time": before["until"]}) - seconds({"time": before["since"]}) - (asked - seconds({"time": got["since"]})) <= 3601
        assert figures_of(before["totals"]) == figures_of(site.run(
            "savings", "--json", "--since", before["since"], "--until", before["until"], *flags(only))["totals"])
        today = int(asked) // 86400 * 86400
        now = time.gmtime(asked)
        begin = today - (now.tm_mday - 1) * 86400
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin + 32 * 86400 - (time.gmtime(begin + 32 * 86400).tm_mday - 1) * 86400))
        forecast = got["forecast"]
        assert forecast["until"] == end and forecast["from_days"] == 7
        mine = [row for row in site.rows if passes(row, only) and row["cost_nanodollars"] is not None]
        for name, of in (("cost", lambda row: row["cost_nanodollars"]), ("saved_cache", lambda row: row["saved_cache_nanodollars"]),
                         ("saved_gateway", lambda row: row["saved_compression_nanodollars"] + row["saved_routing_nanodollars"])):
            month = sum(of(row) for row in mine if seconds(row) >= begin)
            week = sum(of(row) for row in mine if today - 7 * 86400 <= seconds(row) < today)
            want = month + week * (seconds({"time": end}) - asked) / (7 * 86400)
            assert abs(forecast[name + "_nanodollars"] - want) <= abs(week) / (7 * 86400) * 3 + 2, name    # the agent's now is up to 3 s later
    assert site.get("savings", since="all", compare=1)["before"] is None
    none = site.get("savings", since="5d", compare=1, model="no such one")
    assert none["forecast"] is None and none["before"]["totals"]["requests"] == 0


def test_compare_of_the_command(site):
    """`spoa-llm savings --compare` compares with the same period and to the same digits as the page, with and without a filter, and says so to a person."""
    for only in ({}, {"status": "2xx"}):
        got, said = site.get("savings", since="5d", by="model", compare=1, **only), site.run("savings", "--compare", "--json", "--since", "5d", *flags(only))
        assert said["before"] == got["before"] and said["totals"] == got["totals"] and said["forecast"]["from_days"] == got["forecast"]["from_days"] == 7
        for name in ("cost_nanodollars", "saved_gateway_nanodollars", "saved_cache_nanodollars"):    # the agent was asked up to 3 s earlier
            assert abs(said["forecast"][name] - got["forecast"][name]) <= abs(got["forecast"][name]) / 1000, name
        text = cli("savings", "--compare", "--since", "5d", *flags(only), "-c", site.file).out
        before, now = got["before"]["totals"], got["totals"]
        more = now["requests"] - before["requests"]
        assert "the period before, %s to " % got["before"]["since"][:16].replace("T", " ") in text
        assert re.search(r"^  requests +%s%s$" % ("{:,}".format(before["requests"]), "  now %.1f%% %s" % (
            int(abs(more) * 2000 / before["requests"] + 1) // 2 / 10, "more" if more > 0 else "less") if more else "  now the same"), text, re.M), text
        assert re.search(r"^  cost +\$%s  now" % "{:,.2f}".format(round(before["cost_nanodollars"] / 1e9 + 1e-9, 2)), text, re.M), text
        assert re.search(r"^forecast for all of %s, if all goes on as in the last 7 days\n  cost +\$" % time.strftime("%Y-%m", time.gmtime()), text, re.M), text
    assert "nothing to compare with: the period has no beginning" in cli("savings", "--compare", "--since", "all", "-c", site.file).out
    done = cli("savings", "--compare", "--csv", "-c", site.file)
    assert done.code == 64 and "--csv has rows only" in done.err, done


def test_periods_of_days(site):
    """Beyond 40 days facets begin with a day. Whatever period an answer names, all its figures are of that one."""
    def at(days):
        return time.strftime("%Y-%m-%dT13:00Z", time.gmtime(time.time() - days * 86400))
    for only in ({}, {"model": "*"}, {"status": "2xx"}):
        for asked in ({"since": at(47), "by": "model", "compare": 1}, {"since": at(25), "by": "day", "compare": 1},
                      {"since": at(47), "by": "day", "split": "model", "compare": 1}, {"since": at(47), "until": at(44), "by": "day", "split": "client"}):
            got = site.get("savings", **asked, **only)
            for named, totals in ((got, got["totals"]), (got.get("before") or got, (got.get("before") or got)["totals"])):
                period = ["--since", named["since"]] + ["--until", named["until"]] * bool(named["until"])
                said = site.run("savings", "--json", *period, *flags(only))
                assert figures_of(totals) == figures_of(said["totals"]), (only, asked, period)
            assert not got.get("before") or got["before"]["until"] <= got["since"]
            assert sum(row["requests"] for row in got["rows"]) == got["totals"]["requests"], (only, asked)


def two_digits(ms):
    """Rounded half up to two significant digits, exact below 100."""
    unit = 1
    while ms // unit >= 100:
        unit *= 10
    return (ms + unit // 2) // unit * unit


def percentile(times, p):
    times = sorted(times)
    return two_digits(times[max(0, -(-len(times) * p // 100) - 1)]) if times else None


def figures(rows):
    def times(name):
        mine = [row[name] for row in rows if row[name] is not None and not row["code"]]
        return {"p%d" % p: percentile(mine, p) for p in (50, 95, 99)}
    classes = [value_of(row, "status_class") for row in rows]
    return {"requests": len(rows), "refused": sum(bool(row["code"]) for row in rows), "failed": sum(loglines.failed(row) for row in rows),
            "status": dict({"%dxx" % n: classes.count(str(n)) for n in range(1, 6)}, none=classes.count("0")),
            "first_byte_ms": times("ttfb_ms"), "whole_ms": times("total_ms")}


def grouped(rows, key):
    groups = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


UPSTREAM_CODES = {"upstream_unavailable", "upstream_timeout", "upstream_error"}


def test_operation(site):
    rng = random.Random(4)
    for number, only in enumerate(filters(site.rows, rng)):
        unit, since = (("hour", "36h"), ("day", "25d"))[number % 2]
        label = LABELS[number % len(LABELS)]
        got = site.get("operation", since=since, unit=unit, by=label, **only)
        begin = seconds({"time": got["period"]["since"]})
        mine = [row for row in site.rows if passes(row, only) and seconds(row) >= begin]
        length = 13 if unit == "hour" else 10
        want = {key + ("T00:00:00Z", ":00:00Z")[unit == "hour"]: figures(rows) for key, rows in grouped(mine, lambda row: row["time"][:length]).items()}
        assert [{"time": key, **want[key]} for key in sorted(want)] == got["series"], only
        assert got["totals"] == figures(mine), only
        assert got["unfinished"][:length] == time.strftime("%Y-%m-%dT%H", time.gmtime())[:length]
        want = {key: figures(rows) for key, rows in grouped(mine, lambda row: value_of(row, label)).items()}
        assert {group["label"]: {name: group[name] for name in figures([])} for group in got["groups"]} == want, (only, label)
        want = {key: (figures(rows), max(row["time"] for row in rows)[:19] + "Z") for key, rows in grouped(
            [row for row in mine if not row["code"] or row["code"] in UPSTREAM_CODES], lambda row: (row["route"], row["backend"], row["member"])).items()}
        assert {(one["route"], one["backend"], one["member"]): ({name: one[name] for name in figures([])}, one["last"])
                for one in got["upstreams"]} == want and len(got["upstreams"]) == len(want), only
        want = {key: (len(rows), max(row["time"] for row in rows)[:19] + "Z")
                for key, rows in grouped([row for row in mine if row["code"]], lambda row: (row["code"], row["status"])).items()}
        assert {(one["code"], one["status"]): (one["requests"], one["last"]) for one in got["refusals"]} == want, only
    assert "40 days" in site.ask("operation", since="50d", unit="hour").json()["error"]


def test_times_of_the_command(site):
    """`spoa-llm upstreams` has the same digits."""
    begin = time.strftime("%Y-%m-%dT%H:00Z", time.gmtime(time.time() - 20 * 86400))
    mine = [row for row in site.rows if row["time"][:13] >= begin[:13] and not row["code"] and row["ttfb_ms"] is not None and 100 <= row["status"] < 600]
    want = {key: {name: value for name, value in figures(rows).items() if name.endswith("_ms")}
            for key, rows in grouped(mine, lambda row: (row["route"], row["backend"])).items()}
    said = {(one["route"], one["backend"]): {name: one[name] for name in ("first_byte_ms", "whole_ms")}
            for one in site.run("upstreams", "--json", "--since", begin)["upstreams"] if sum(one["answers"].values())}
    assert said == want and len(want) > 3
    pages = {(one["route"], one["backend"]): {name: one[name] for name in ("first_byte_ms", "whole_ms")}
             for one in site.get("operation", since=begin, member="")["upstreams"] if one["whole_ms"]["p50"] is not None and one["first_byte_ms"]["p50"] is not None}
    alone = [key for key in pages if not any(row["member"] for row in mine if (row["route"], row["backend"]) == key)]
    assert alone and all(pages[key] == said[key] for key in alone if len(grouped(site.rows, lambda row: row["ttfb_ms"] is None)) == 1)


def test_list(site):
    """Each page of the list, sorted by anything, has the rows that it should."""
    rng = random.Random(5)
    newest = site.rows[::-1]
    for only in filters(site.rows, rng):
        mine = [row for row in newest if passes(row, only)]
        offset, limit = rng.randrange(len(mine) + 2), rng.randrange(1, 200)
        got = site.get("requests", offset=offset, limit=limit, **only)
        assert got["rows"] == mine[offset:offset + limit] and got["total"] == len(mine) and got["offset"] == offset, only
        got = site.get("requests", offset=offset, limit=limit, order="asc", **only)
        assert got["rows"] == mine[::-1][offset:offset + limit] and got["of_last"] is None
    keys = {"cost": lambda row: row["cost_nanodollars"], "whole_ms": lambda row: row["total_ms"], "first_byte_ms": lambda row: row["ttfb_ms"],
            "tokens": lambda row: None if row["input"] is None and row["output"] is None else sum(
                row[name] or 0 for name in ("input", "output", "cache_read", "cache_write"))}
    for sort, key in keys.items():
        known, unknown = [row for row in newest if key(row) is not None], [row for row in newest if key(row) is None]
        for order in ("desc", "asc"):
            want = sorted(known, key=key, reverse=order == "desc") + unknown     # sorted() keeps the order of equal ones, also reversed
            got = site.get("requests", sort=sort, order=order, limit=1000, offset=1000)
            assert [row["id"] for row in got["rows"]] == [row["id"] for row in want[1000:2000]], (sort, order)
    text = site.ask("requests", format="csv", limit=10000).body.decode()
    want = cli("ledger", "export", "--csv", "-c", site.file).out
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == list(csv.reader(io.StringIO(want, newline="")))[:0:-1]
    one = rng.choice(site.rows)
    assert [row["id"] for row in site.get("requests", id=one["id"])["rows"]] == [one["id"]]
    begun = site.get("requests", id=one["id"][:3] + "*", limit=1000)["rows"]
    assert begun == [row for row in newest if row["id"].startswith(one["id"][:3])]


def test_one_request(site):
    for row in random.sample(site.rows, 30):
        got = site.get("request", id=row["id"])
        assert got["request"] == row
        explained = got["explained"]
        if isinstance(explained["cost"], list):
            assert abs(sum(item["amount_nanodollars"] for item in explained["cost"]) - row["cost_nanodollars"]) <= len(explained["cost"])
        else:
            assert row["price_from"] in ("none", "unpriced") or "prices" in explained["cost"]
        assert sum(one["ms"] for one in explained["timings"]) == max(row["total_ms"] or 0, row["ttfb_ms"] or 0)
        assert all(explained[name] for name in ("what", "termination", "usage_from", "price_from", "tap")) and "deny" in got["route"]
        if not row["code"]:
            failed = row["status"] >= 400
            assert bool(explained["todo"]) == failed and (str(row["status"]) in explained["what"]) == failed, (row["status"], explained)
        assert [one["member"] for one in explained["tried"]] == [one.split(":")[0] for one in row["tried"].split(",") if one], (row["tried"], explained)
    assert site.ask("request", id="nobody").status == 404


OUTCOMES = [(200, "--", "It was answered.", None), (200, "CD", "The answer did not come to its end.", None), (200, "LR", "The gateway answered it by itself.", None), (-1, "CH", "The client got no answer.", None),
            (400, "--", "The upstream refused it (400).", "Look at what the client sent"),
            (401, "--", "The upstream did not accept the credential (401).", "Look at the route's credential"),
            (403, "--", "The upstream did not accept the credential (403).", "Look at the route's credential"),
            (429, "--", "The upstream declined it (429)", "Raise the limit"), (529, "--", "The upstream declined it (529)", "Raise the limit"),
            (500, "--", "The upstream failed (500).", "If this happens often")]
TRIED = {"a:unreachable": "could not be connected to", "b:529": "answered 529, so the next one was asked", "c:resting": "rested, because it had declined another request",
         "d:credential": "had no usable credential"}


def test_what_became_of_a_request(work):
    """Each end of a request in words, with what to do, and why the members of a pool did not serve."""
    maker = Maker(seed=2, span_ms=DAY)
    entries = [maker.one(kind="none", status=status, term=term, route="glm-", tried=",".join(TRIED), member="e") for status, term, *_ in OUTCOMES]
    with Agent(work, entries) as agent:
        for entry, (status, _, what, todo) in zip(entries, OUTCOMES):
            told = json.loads(agent.http(path="/request?id=" + entry.id).body)["explained"]
            assert told["what"].startswith(what) and (told["todo"] or "").startswith(todo or "") and bool(told["todo"]) == bool(todo), (status, told)
            assert [(one["member"], one["why"]) for one in told["tried"]] == [(name.split(":")[0], why) for name, why in TRIED.items()], told


BAD = [
    ("savings?colour=red", 'no parameter "colour"'), ("savings?limit=5", 'no parameter "limit"'), ("operation?format=csv", 'no parameter "format"'),
    ("savings?model=a&model=b", "model is given more than once"), ("savings?model=a&model=a", "model is given more than once"),
    ("savings?since", "since has no value"), ("savings?since=yore", "since"), ("savings?status=42", "status"), ("savings?status=4xy", "status"),
    ("savings?split=model", "split needs by=day"), ("savings?by=day&split=colour", "split"), ("savings?by=colour", "by"), ("savings?compare=2", "compare"),
    ("savings?gateway=berlin", "gateway needs scope=fleet"), ("savings?scope=world", "scope"), ("savings?format=xml", "format"),
    ("savings?model=%00", "NUL"), ("savings?mo%00del=a", "NUL"), ("savings?model=a%00b", "NUL"), ("savings?model=%ff%fe", "model is not UTF-8"),
    ("savings?model=" + "m" * 513, "model has more than 512 bytes"), ("savings?" + "&".join("a%d=1" % n for n in range(33)), "more than 32 arguments"),
    ("savings?" + "n" * 33 + "=1", "more than 32 bytes"), ("operation?unit=minute", "unit"), ("operation?by=hour", "by"), ("operation?by=gateway", "scope=fleet"),
    ("requests?limit=0", "limit"), ("requests?limit=1001", "limit"), ("requests?limit=-1", "limit"), ("requests?limit=1e3", "limit"), ("requests?limit=%2010", "limit"),
    ("requests?offset=99999999999999999999", "offset"), ("requests?offset=-1", "offset"), ("requests?offset=1.5", "offset"),
    ("requests?format=csv&limit=10001", "limit"), ("requests?sort=colour", "sort"), ("requests?order=up", "order"), ("request", "id is needed"),
    ("request?id=", "id is needed"), ("request?id=a&model=b", 'no parameter "model"'), ("requests?since=2026-01-02&until=2026-01-01", "before --until"),
]


def test_bad_parameters(site):
    for query, words in BAD:
        got = site.agent.http(path="/" + query)
        assert got.status == 400 and words in got.json()["error"], (query, got)


def test_odd_but_right_parameters(site):
    """Empty parameters count as not given, but for labels; words of SQL, HTML and JSON are names like any other."""
    assert site.agent.http(path="/savings?since=&until=&by=&format=&scope=&split=&&").json() == site.get("savings")
    for text in ("' OR 1=1 --", "%", "_", "\\", '"', "<script>", "\u202e", "日本", "\x1f", "a\nb", "*", "**"):
        got = site.get("savings", model=text, since="all")
        assert (got["totals"]["requests"] > 0) == (text == "*") and got["only"]["model"] == text
    far = site.get("requests", offset=1000000000)
    assert far["rows"] == [] and far["total"] == len(site.rows)
    assert site.get("savings", since="2000-01-01", until="2000-01-02", by="day", split="model", compare=1)["rows"] == []


def test_who_leaves_and_who_waits(site):
    """Clients that ask and go away cost nothing but their own answer; each kind of question has threads of its own."""
    for _ in range(20):
        sock = spop.connect(site.agent.admin, 10)
        sock.sendall(b"GET /operation?since=all&by=model HTTP/1.1\r\nHost: %s\r\n\r\n" % site.agent.admin.encode())
        sock.close()
    assert site.get("requests", limit=1)["total"] == len(site.rows)
    until(lambda: site.ask("operation").status == 200, 10, "an answer")
    assert site.agent.process.running()
