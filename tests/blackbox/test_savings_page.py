"""The dashboard's Savings view and the filter that its views share, in a real Chromium: each figure behind a filter against `spoa-llm savings` with the same
flags, to the digit; splits, comparison, forecast, CSV, paper; odd names. The view without a filter: test_dashboard.py."""
import base64
import contextlib
import datetime
import json
import re
import sqlite3
import time
import urllib.parse

import pytest

import harness
from dashboard import Agent, full, open_tables, page  # noqa: F401
from harness import cli
from loglines import DAY, Maker
from test_dashboard import LOOK, dollars, exact

MONEY = ("cost_nanodollars", "saved_gateway_nanodollars", "saved_cache_nanodollars")
GO = "location.hash = arguments[0]; return 0"


def savings(agent, *flags):
    done = cli("savings", "--json", "--ledger", agent.home, *flags)
    assert done.code == 0, done
    return json.loads(done.out)


def see(page, view):
    """Goes to another view of the same page, and waits for its figures."""
    page.js("document.body.dataset.ledger = 'waiting'; return 0")
    page.js(GO, "#view=savings&" + view)
    page.until("['ok', 'empty'].includes(document.body.dataset.ledger)", 10)
    return page


def day(ago):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=ago)).strftime("%Y-%m-%d")


def test_filters(full, page):
    """Each of them, alone and together: totals, table and days are those of the command with the same flags."""
    page.open(full.admin).live()
    for chosen in ({"model": "glm-4.6"}, {"model": "gpt-5.5*"}, {"model": ""}, {"route": "claude-"}, {"project": "Straße"}, {"project": ""}, {"client": "claude-code"},
                   {"member": "first"}, {"status": "4xx"}, {"status": "none"}, {"code": "model_not_in_sample"}, {"since": day(30), "until": day(20)}, {"since": day(9), "until": day(9)},
                   {"model": "glm-4.6", "project": "website", "status": "200", "since": "30d"}, {"project": "website", "client": "codex", "until": day(3)}):
        chosen = {"since": "all", **chosen}
        flags = ["--%s=%s" % one for one in chosen.items()]
        see(page, urllib.parse.urlencode(dict(chosen, by="project")))
        report, days = savings(full, *flags, "--by", "project"), savings(full, *flags, "--by", "day")
        assert report["totals"]["requests"], chosen
        seen = page.js(LOOK)
        for name, value in report["totals"].items():
            assert seen["exact"][name] == [str(value), exact(value) if name.endswith("_nanodollars") else format(value, ",")], (chosen, name)
        rows = page.rows("#groups")
        assert [(row[0][0], row[1][1], row[3][1], row[6][1]) for row in rows] == [(one["project"] or "no project", str(one["requests"]), str(one["cost_nanodollars"]),
                                                                                     str(one["saved_total_nanodollars"])) for one in report["rows"]], chosen
        open_tables(page)
        assert sum(int(row[2][1]) for row in page.rows("#money-table")) == sum(one["cost_nanodollars"] for one in days["rows"]) == report["totals"]["cost_nanodollars"]
        # Each has a chip by which it goes, and the same address shows the same after a reload.
        chips = page.js("[...document.querySelectorAll('#chips [data-widen]')].map((n) => n.dataset.widen)")
        assert chips == [name for name in chosen if name not in ("since", "until")]
    page.driver.refresh()
    page.live()
    assert page.js(LOOK)["exact"]["requests"][0] == str(report["totals"]["requests"])
    page.clean()


def test_nothing_matches(full, page):
    page.open(full.admin, "model=no-such-model").live("empty")
    assert page.text("#empty").startswith("No request to date has all that the filter asks for.")
    page.js("document.getElementById('empty-all').click(); return 0")
    page.live("ok")
    assert page.value("#requests") == len(full.wants) and "model" not in page.js("location.hash")
    # A filter that the agent refuses: in its words, and without the figures of another.
    for refused in ("since=all&status=abc", "since=9999999999999d"):
        page.js(GO, "#" + refused)
        page.until("document.getElementById('failed').innerText.includes(arguments[0])", 5, refused.split("=")[-1])
        assert page.text("#failed").startswith("This filter cannot be used:") and not page.shown("#requests")
        page.js(GO, "#since=all")
        page.live("ok")
        assert not page.shown("#failed")
    page.clean("status of 400")


@pytest.mark.parametrize("split", ("project", "status_class"))
def test_split(full, page, split):
    """Each part of a bar is the command's figure for that label and day."""
    page.open(full.admin, "since=30d&unit=day&split=" + split).live()
    chart = "const c = Chart.getChart(arguments[0]); return [c.data.labels, c.data.datasets.map((set) => [set.label, set.data])]"
    labels, sets = page.js(chart, "money")
    wants = {name: savings(full, "--since=30d", "--by=day", "--%s=%s" % ("status" if split == "status_class" else split, "" if name == "no project" else name)) for name, _ in sets}
    assert len(sets) == (6 if split == "project" else 4)
    for name, data in sets:
        assert [value for value in data if value] == pytest.approx([row["cost_nanodollars"] / 1e9 for row in wants[name]["rows"] if row["cost_nanodollars"]]), name
    # The day that is not over is marked in the label, and by stripes.
    assert labels[-1].endswith(", so far") and not any("so far" in label for label in labels[:-1])
    assert page.js("typeof Chart.getChart('money').data.datasets[0].backgroundColor.at(-1)") == "object" and "not over yet" in page.text("#money-legend")
    open_tables(page)
    head = page.js("[...document.querySelectorAll('#money-table thead th')].map((n) => n.textContent)")
    assert head == ["Day"] + [name for name, _ in sets]
    assert sum(int(cell[1]) for row in page.rows("#money-table") for cell in row[1:]) == savings(full, "--since=30d")["totals"]["cost_nanodollars"]
    page.js("const n = document.getElementById('of'); n.value = 'saved'; n.dispatchEvent(new Event('change', { bubbles: true })); return 0")
    page.until("document.getElementById('money-title').textContent === 'Saved by this gateway, US dollars'")
    assert "of=saved" in page.js("location.hash")
    page.until("document.querySelectorAll('#money-table tbody tr').length > 0")
    assert sum(int(cell[1]) for row in page.rows("#money-table") for cell in row[1:]) == savings(full, "--since=30d")["totals"]["saved_gateway_nanodollars"]
    # A label in the legend narrows to it.
    page.js("document.querySelector('#money-legend [data-narrow]').click(); return 0")
    page.until("document.querySelectorAll('#chips .chip').length === 1")
    page.clean()


def test_before_and_forecast(full, page):
    """Beside the period before, and at the end of the month: computed here from the command's days."""
    page.open(full.admin, "since=%s&until=%s" % (day(19), day(10))).live()
    now, before = savings(full, "--since", day(19), "--until", day(10))["totals"], savings(full, "--since", day(29), "--until", day(20))["totals"]
    for name, where in zip(MONEY, ("cost", "saved-gateway", "saved-cache")):
        more = now[name] - before[name]
        text = page.text("#%s-before" % where)
        assert text.endswith("the period before: " + dollars(before[name])), text
        assert text.startswith("%.1f%% %s" % (int(abs(more) * 1000 / before[name] + .5) / 10, "more" if more > 0 else "less")), text
    today = datetime.datetime.now(datetime.timezone.utc)
    days = {row["day"]: row for row in savings(full, "--since", day(40), "--by", "day")["rows"]}
    end = (today.replace(day=1) + datetime.timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for name, at in (("cost_nanodollars", "#forecast"),):
        month = sum(row[name] for when, row in days.items() if when[:7] == today.strftime("%Y-%m"))
        week = sum(days.get(day(ago), {name: 0})[name] for ago in range(1, 8))
        want = month + week / 7 * (end - today).total_seconds() / 86400
        assert page.value(at) == pytest.approx(want, rel=1e-3), (page.value(at), want)
    assert page.text("#forecast-title") == "Forecast for all of %s" % (end - datetime.timedelta(days=1)).strftime("%b %Y") and "last 7 days" in page.text("#forecast-note")
    page.driver.refresh()
    page.open(full.admin, "since=all").live()
    assert page.text("#cost-before") == ""
    page.clean()


def test_labels_that_the_ledger_does_not_have(work, page):
    """Where sums by all labels begin too late, `before` and `forecast` are null, agent and page say since when figures are whole, and no figure is made up."""
    today = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    with Agent(work, Maker(seed=12, span_ms=40 * DAY).make(400)) as agent:
        known = agent.http(path="/savings?since=10d&by=day&model=*&compare=1").json()
        assert known["before"] and known["forecast"] and "whole_from" not in known and known["requests_since"] is None
        # As in a ledger of schema 5 whose rows were pruned before the sums by all labels were made, or while they are being made.
        with contextlib.closing(sqlite3.connect(agent.home / "ledger.db", timeout=20)) as base, base:
            base.execute("insert into meta values ('facets_from', ?)", (int(today.timestamp()) + 3600,))
        whole, missing = today.strftime("%Y-%m-%dT01:00:00Z"), "Requests before %s, 01:00 are missing here" % today.strftime("%Y-%m-%d")
        said = agent.http(path="/savings?since=10d&by=day&model=*&compare=1").json()
        assert said["before"] is None and said["forecast"] is None and said["whole_from"] == said["requests_since"] == whole
        for view, noted in (("model=*", True), ("split=project", True), ("", False)):
            got = agent.http(path="/savings?since=10d&by=day&compare=1&" + view).json()
            assert got.get("requests_since") == (whole if noted else None) and bool(got["before"]) != ("model" in view)
            page.open(agent.admin, "since=10d&unit=day&" + view).live()
            assert page.text("#filter-note").startswith(missing) if noted else page.text("#filter-note") == ""
            for name in ("cost", "saved-gateway", "saved-cache"):
                assert (page.text("#%s-before" % name) == "the period before: not known with this filter") == ("model" in view)
            assert (page.text("#forecast-note") == "No forecast: the ledger has no sums by all labels of the month's first days.") == ("model" in view)
            assert (page.text("#forecast") == "\u2013") == ("model" in view)
        page.open(agent.admin, "view=operation&since=10d&model=*").live()
        assert page.text("#apart").startswith(missing)
        # Of a period that begins later, nothing is missing.
        with contextlib.closing(sqlite3.connect(agent.home / "ledger.db", timeout=20)) as base, base:
            base.execute("update meta set value = ? where key = 'facets_from'", (int(today.timestamp()) - 3 * 86400,))
        page.open(agent.admin, "view=operation&since=24h&model=*").live()
        assert page.value("#total-requests") > 0 and page.text("#apart") == ""
        page.clean()


def test_the_filter(full, page):
    """By the field with suggestions, by a click on a name, by dates, by a bar; back by the chip's x and the browser's button; as a link."""
    from selenium.webdriver.support.ui import Select
    find = page.driver.find_element
    page.open(full.admin).live()
    find("css selector", "#add summary").click()
    Select(find("id", "add-name")).select_by_value("project")
    page.until("[...document.querySelectorAll('#labels option')].some((n) => n.value === 'website')")
    find("id", "add-label").send_keys("website\n")
    page.until("document.getElementById('chips').innerText.includes('website')")
    page.live()
    website = savings(full, "--since=all", "--project=website")["totals"]["requests"]
    page.until("document.getElementById('requests').dataset.value === '%d'" % website)
    assert page.js("document.activeElement.closest('#add') !== null")
    find("css selector", "#groups tbody [data-narrow=model]").click()
    page.until("document.querySelectorAll('#chips .chip').length === 2")
    narrowed = page.driver.current_url
    page.until("document.querySelectorAll('#groups tbody tr').length === 1")
    model = page.rows("#groups")[0][0][0]
    both = savings(full, "--since=all", "--project=website", "--model=" + model)["totals"]["requests"]
    assert page.value("#requests") == both
    page.driver.back()
    page.until("document.getElementById('requests').dataset.value === '%d'" % website)
    find("css selector", "#chips [data-widen=project]").click()
    page.until("document.getElementById('requests').dataset.value === '%d'" % len(full.wants))
    assert page.js("document.querySelectorAll('#chips .chip').length") == 0
    # The link is what the clipboard gets, and shows the same.
    page.cdp("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": page.origin})
    page.js(GO, narrowed.split("#", 1)[1])
    page.until("document.getElementById('requests').dataset.value === '%d'" % both)
    find("id", "copy").click()
    page.until("document.getElementById('copy').textContent === 'Copied'")
    assert page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == narrowed
    # Dates: the last one is included.
    page.js(GO, "#since=all")
    find("css selector", "#dates summary").click()
    page.js("document.getElementById('from').value = arguments[0]; document.getElementById('to').value = arguments[1]; return 0", day(12), day(11))
    find("css selector", "#dates-form button").click()
    report = savings(full, "--since", day(12), "--until", day(11))
    page.until("document.getElementById('requests').dataset.value === '%d'" % report["totals"]["requests"])
    assert page.js("document.querySelectorAll('[name=since]:checked').length") == 0 and page.text("#period-title").startswith("From ")
    # A day of the table, as by a click on its bar, and an hour of that day.
    open_tables(page)
    for unit in ("Day", "Hour"):
        page.js("document.querySelector('[name=unit][value=%s]').click(); return 0" % unit.lower())
        page.until("document.querySelector('#money-table thead th').textContent === '%s'" % unit)
        wanted = page.rows("#money-table")[0][1][1]
        page.js("document.querySelector('#money-table tbody .narrow').click(); return 0")
        page.until("document.getElementById('requests').dataset.value === '%s'" % wanted)
    page.until("document.querySelectorAll('#money-table tbody tr').length === 1")
    assert re.fullmatch(r"From \d+ [A-Z][a-z]+ \d+, \d\d:00, to .*\d\d:00", page.text("#period-title")), page.text("#period-title")
    page.clean()


def test_csv_and_paper(full, page, work):
    """A file has the command's CSV. On paper the view is one page, in light colours."""
    page.cdp("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(work)})
    page.open(full.admin, "by=project&model=glm-4.6").live()
    page.js("document.querySelector('[data-csv=groups]').click(); return 0")
    file = work / "savings-by-project.csv"
    harness.until(file.exists, 10, "the file is there")
    done = cli("savings", "--csv", "--ledger", full.home, "--since=all", "--by=project", "--model=glm-4.6")
    harness.until(lambda: file.read_text().splitlines() == done.out.splitlines(), 5, lambda: file.read_text()[:300])
    page.media("dark")
    page.open(full.admin, "since=30d&project=website").live()
    paper = base64.b64decode(page.cdp("Page.printToPDF", {"printBackground": True, "paperWidth": 8.27, "paperHeight": 11.69})["data"])
    assert len(re.findall(rb"/Type\s*/Page[^s]", paper)) == 1
    page.clean()


def test_names(work, page):
    """Fifty models with names of 250 bytes, Chinese and right-to-left ones: cut in the middle, whole in the title and in the address."""
    maker = Maker(seed=21, span_ms=DAY)
    names = ["vendor-04/some-quite-long-model-family-name-" + "x" * 190 + "-v%02d-q4" % at for at in range(50)] + ["智谱清言" * 20, "نموذج اللغة الكبير", "glm-4.6"]
    projects = ["__proto__", "constructor", "valueOf"]    # what every JavaScript object has
    with Agent(work, [maker.one(kind="reported", model=name, route="*", project=projects[at % 3]) for at, name in enumerate(names)]) as agent:
        page.open(agent.admin, "split=project").live()
        assert set(page.js("Chart.getChart('money').data.datasets.map((set) => set.label)")) == set(projects)
        page.open(agent.admin, "split=model").live()
        page.js("document.getElementById('groups-all').click(); return 0")
        shown = page.js("[...document.querySelectorAll('#groups tbody [data-name]')].map((n) => [n.dataset.name, n.textContent, n.parentElement.title, n.tagName])")
        assert {name for name, *_ in shown} == set(names)
        for name, text, title, tag in shown:
            assert len(text) <= 44 and title.startswith(name) and tag == "BDI" and (text == name or "…" in text and name.startswith(text.split("…")[0]) and name.endswith(text.split("…")[1]))
        assert len({text for _, text, *_ in shown}) == len(names)
        assert page.js("Chart.getChart('money').data.datasets.map((set) => set.label)")[-1] == "others" and page.js("Chart.getChart('money').data.datasets.length") == 10
        for width in (360, 1280):
            page.screen(width, 800)
            assert page.width() <= width
        page.js("[...document.querySelectorAll('#groups tbody [data-name]')].find((n) => n.dataset.name === arguments[0]).click(); return 0", names[7])
        page.until("document.getElementById('requests').dataset.value === '1'")
        assert page.js("new URLSearchParams(location.hash.slice(1)).get('model')") == names[7]
        page.screen(360, 800)
        assert page.width() <= 360 and page.text("#cost") != "…" and not page.shown("#groups tfoot")
        page.clean()
