"""The dashboard in a real Chromium, served by the real agent: figures against `spoa-llm savings --json` and an independent count,
live updates through a real HAProxy, and what the page shows when the ledger or the agent is missing.

Screenshots of the run: build/screenshots/. Accessibility: test_dashboard_accessibility.py."""
import datetime
import json
import os
import random
import re
import signal
import socket
import sqlite3
import time

import pytest

import harness
import loglines
import spop
from browser import SHOTS
from dashboard import LOG_KEY, Agent, empty, full, open_tables, page  # noqa: F401
from ledgers import LedgerGateway, routes
from loglines import DAY, Maker
from test_taps import Tap, stream_line, told

PERIODS, GROUPS = ("24h", "7d", "30d", "all"), ("model", "route", "project", "client", "member")
SHOW_S = float(os.environ.get("LLM_DASHBOARD_SHOW_S", "3"))
GONE = r"net::ERR_"
NO_TOKEN = r"status of 401"
MINUS = "\u2212"
LOOKS = (("light", 1280, 1090), ("dark", 1280, 1090), ("phone", 360, 760))     # of the pictures: name, width, height
# Names that would do harm if the page took them for markup, a selector, or a JSON number. A script among them would set `window.pwned`.
HOSTILE = ["<img src=x onerror=window.pwned=1>", "</td><script>window.pwned=1</script>", '"><svg onload=window.pwned=1>',
           "${window.pwned=1}", "javascript:window.pwned=1", "12345678901234567890", '","requests":9007199254740993,"x":"',
           "__proto__", "constructor", "\\u003cb\\u003e&amp;", "a\u0301\u0301 日本語 🦀", "x" * 200]


def dollars(nano):
    """The amount as the page has to write it, computed in another way than the page does."""
    places = 2 if not nano or abs(nano) >= 10 ** 7 else 11 - len(str(abs(nano)))
    places = min(places, 9)
    units = (abs(nano) * 2 * 10 ** places + 10 ** 9) // (2 * 10 ** 9)
    return "%s$%s.%0*d" % (MINUS if nano < 0 and units else "", format(units // 10 ** places, ","), places, units % 10 ** places)


def exact(nano):
    return "%s$%s.%09d" % (MINUS if nano < 0 else "", format(abs(nano) // 10 ** 9, ","), abs(nano) % 10 ** 9)


def same_hour(agent, look, since, by):
    """Returns what `look()` sees on the page, and the command's report of the same hour."""
    for _ in range(2):
        before, seen, after = agent.savings(since, by), look(), agent.savings(since, by)
        if before == after:
            return seen, after
    raise AssertionError("the report changed each time while the page was read")


# ---- figures

LOOK = """
const pairs = (list) => Object.fromEntries(list), all = (selector) => [...document.querySelectorAll(selector)];
document.getElementById('exact').open = true;
return {
    exact: pairs(all('[data-exact]').map((n) => [n.dataset.exact, [n.dataset.value, n.innerText]])),
    notes: pairs(['saved-gateway', 'saved-cache'].map((id) => [id, document.getElementById(id + '-note').textContent])),
    shown: pairs(['saved', 'saved-gateway', 'saved-cache', 'cost', 'requests'].map((id) => document.getElementById(id)).map((n) => [n.id, [n.dataset.value, n.innerText,
        n.title]])),
    kinds: pairs(all('#kinds li').map((n) => [n.dataset.kind, n.querySelector('.amount')]).map(([kind, n]) => [kind, [n.dataset.value,
        n.innerText]])),
    trust: pairs(all('[data-trust]').map((n) => [n.dataset.trust, n.innerText])) };
"""


@pytest.mark.parametrize("period", PERIODS)
def test_totals(full, page, period):
    page.open(full.admin, "since=%s" % period).live()

    def look():
        page.driver.refresh()
        return page.live().js(LOOK)
    seen, report = same_hour(full, look, period, "model")
    totals = report["totals"]
    assert totals["requests"]
    if period == "all":
        assert totals["cost_nanodollars"] == sum(want["cost"] for want in full.wants)
    assert set(seen["exact"]) == set(totals)
    for name, value in totals.items():
        text = exact(value) if name.endswith("_nanodollars") else format(value, ",")
        assert seen["exact"][name] == [str(value), text], name
    for name, key in (("saved", "saved_total_nanodollars"), ("cost", "cost_nanodollars")):
        assert seen["shown"][name] == [str(totals[key]), dollars(totals[key]), exact(totals[key])]
    assert seen["shown"]["requests"][:2] == [str(totals["requests"]), format(totals["requests"], ",")]
    for name in ("saved_gateway", "saved_cache"):
        value, estimated = totals[name + "_nanodollars"], totals["estimated_" + name + "_nanodollars"]
        assert seen["shown"][name.replace("_", "-")] == [str(value), dollars(value), exact(value)]
        assert seen["notes"][name.replace("_", "-")] == (dollars(value - estimated) + " without estimates" if estimated else "")
    for name, key in (("compression", "saved_compression"), ("caching", "saved_cache"), ("routing", "saved_routing")):
        assert seen["kinds"][name] == [str(totals[key + "_nanodollars"]), dollars(totals[key + "_nanodollars"])]
    # The page names estimated, partial, unknown, partly priced and unpriced requests if there are any.
    for name, key in (("estimated", "estimated"), ("partial", "partial"), ("unknown", "unknown"), ("partly", "partly_priced"),
                      ("unpriced", "unpriced")):
        assert (name in seen["trust"]) == bool(totals[key + "_requests"])
        if totals[key + "_requests"]:
            assert format(totals[key + "_requests"], ",") + " request" in seen["trust"][name]
    assert dollars(report["without_estimates"]["cost_nanodollars"]) in seen["trust"]["reported"]
    if report["unpriced_models"]:
        assert report["unpriced_models"][0]["model"] in seen["trust"]["unpriced"]
    if report["unknown_models"]:
        assert report["unknown_models"][0]["model"] in seen["trust"]["unknown"]
    page.clean()


@pytest.mark.parametrize("by", GROUPS)
def test_groups(full, page, by):
    page.open(full.admin, "by=" + by).live()
    page.js("const more = document.getElementById('groups-all'); if (!more.hidden) more.click(); return 0")
    rows, report = page.rows("#groups"), full.savings("all", by)
    flags = page.js("[...document.querySelectorAll('#groups tbody .flag')].map((n) => n.textContent)")
    assert len(rows) == len(report["rows"]) == len(flags)
    for (name, requests, tokens, cost, _, gateway, saved), row, flag in zip(rows, report["rows"], flags):
        assert name[0] == row[by] or not row[by]
        assert requests == [format(row["requests"], ","), str(row["requests"])]
        assert tokens[1] == str(row["input"] + row["output"] + row["cache_read"] + row["cache_write"])
        unpriced = not row["cost_nanodollars"] and row["unpriced_requests"]
        untold = not row["cost_nanodollars"] and row["unknown_requests"] and tokens[1] == "0"
        said = "unpriced" if unpriced else "unknown" if untold else dollars(row["cost_nanodollars"])
        assert cost == [said, str(row["cost_nanodollars"])]
        # Of requests without a price nobody knows what they saved.
        for cell, key in ((saved, "saved_total_nanodollars"), (gateway, "saved_gateway_nanodollars")):
            assert cell == ["\u2013" if unpriced or untold else dollars(row[key]), str(row[key])]
        rough, low = row["estimated_cost_nanodollars"] or row["partly_priced_requests"], row["unpriced_requests"] or row["unknown_requests"]
        assert flag == ("" if unpriced or untold else "~" * bool(rough) + "+" * bool(low))
    page.clean()


@pytest.mark.parametrize("unit", ("day", "week", "month"))
def test_over_time(full, page, unit):
    """Weeks and months are the sums of days, in the tables and in the bars."""
    groups = {}
    for row in full.savings("all", "day")["rows"]:
        when = datetime.date.fromisoformat(row["day"])
        at = {"day": row["day"], "week": when.isocalendar()[:2], "month": row["day"][:7]}[unit]
        into = groups.setdefault(at, dict.fromkeys(row, 0))
        for name, value in row.items():
            into[name] += value if name != "day" else 0
    page.open(full.admin, "unit=" + unit).live()
    open_tables(page)
    money, tokens = page.rows("#money-table"), page.rows("#tokens-table")
    assert len(money) == len(tokens) == len(groups) > 2
    for (_, want), cells, more in zip(sorted(groups.items(), reverse=True), money, tokens):
        names = ("requests", "cost_nanodollars", "estimated_cost_nanodollars", "saved_gateway_nanodollars", "saved_cache_nanodollars")
        assert [cell[1] for cell in cells[1:]] == [str(want[name]) for name in names]
        assert [cell[0] for cell in cells[2:]] == [dollars(want[name]) for name in names[1:]]
        assert [cell[1] for cell in more[1:]] == [str(want[name]) for name in ("input", "cache_read", "cache_write", "output")]
    # The bars. Days without a request have a place among them, with no bar.
    told, estimated, saved, cached = page.js("Chart.getChart('money').data.datasets.map((set) => set.data)")
    wants = [want for _, want in sorted(groups.items())]
    for got, want in ((told, [w["cost_nanodollars"] - w["estimated_cost_nanodollars"] for w in wants]),
                      (estimated, [w["estimated_cost_nanodollars"] for w in wants]),
                      (saved, [w["saved_gateway_nanodollars"] for w in wants]),
                      (cached, [w["saved_cache_nanodollars"] for w in wants])):
        assert [value for value in got if value] == pytest.approx([value / 1e9 for value in want if value])
    # The bars are drawn: the canvas has the colour of savings in it.
    assert page.js("""const c = document.getElementById('money'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0;
        for (let i = 0; i < d.length; i += 4)
            n += d[i] === 0 && d[i + 1] === 158 && d[i + 2] === 115;
        return n""") > 500
    page.clean()


def test_hours(full, page):
    page.open(full.admin, "since=24h").live()
    assert page.js("document.querySelector('[name=unit]:checked').value") == "hour"
    open_tables(page)
    rows, report = same_hour(full, lambda: page.rows("#money-table"), "24h", "hour")
    assert [row[2][1] for row in rows] == [str(row["cost_nanodollars"]) for row in reversed(report["rows"])]
    assert 24 <= page.js("Chart.getChart('money').data.labels.length") <= 26
    page.clean()


def test_beyond_double_precision(work, page):
    """Money whose nano-dollars a double cannot hold, and losses."""
    odd, loss = 9007199254740993, -123456789012345679
    with Agent(work, [Maker(seed=3, span_ms=DAY).one(kind="reported", model="glm-4.6", route="glm-", protocol="openai")]) as agent:
        with sqlite3.connect(agent.home / "ledger.db", timeout=20) as base:
            for name in ("hourly", "daily"):
                base.execute("update %s set cost = ?, saved_compression = -3, saved_cache = 7, saved_routing = ?" % name, (odd, loss))
        base.close()
        totals = agent.savings("all", "model")["totals"]
        assert (totals["cost_nanodollars"], totals["saved_routing_nanodollars"]) == (odd, loss)
        page.open(agent.admin, "unit=month").live()
        assert page.value("#cost") == odd and page.text("#cost") == "$9,007,199.25"
        assert page.value("#saved") == loss + 4 and page.text("#saved") == MINUS + "$123,456,789.01"
        assert "The requests cost more than they would have" in page.text("#saved-share")
        assert page.text("[data-kind=compression] .amount") == MINUS + "$0.000000003"
        page.js("document.getElementById('exact').open = true; return 0")
        assert page.text("[data-exact=cost_nanodollars]") == "$9,007,199.254740993"
        assert page.text("[data-exact=saved_routing_nanodollars]") == MINUS + "$123,456,789.012345679"
        open_tables(page)
        assert page.rows("#money-table")[0][2][1] == str(odd)
        # The bar of a loss is drawn to the left of the zero line.
        right, line = page.js("""const bar = document.querySelector('[data-kind=routing] .bar');
            return [bar.querySelector('i').getBoundingClientRect().right, bar.querySelector('b').getBoundingClientRect().left]""")
        assert right <= line + 3
        page.clean()


# ---- live


def test_live(haproxy, make_mock, page):
    """A request and a refusal through HAProxy come to the page without a reload."""
    mock = make_mock("dashboard")
    mock.reset()
    mock.respond = lambda request: (200, [("Content-Type", "application/json")], json.dumps(
        {"id": "r", "usage": {"prompt_tokens": 1000000, "completion_tokens": 10, "total_tokens": 1000010}}).encode())
    admin = "127.0.0.1:%d" % harness.free_port()
    dead = {"model_prefix": "dead-", "upstream": "http://127.0.0.1:1"}
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock) + [dead], "admin_listen": admin}) as gateway:
        harness.until(lambda: harness.ledger_made(gateway.ledger_dir), 5, "the ledger is made")
        page.open(admin).live("empty")
        page.js("window.stayed = true; return 0")
        assert gateway.ask("gpt-l").status == 200
        page.until("document.getElementById('requests').dataset.value === '1'", 20)
        assert page.value("#cost") == 2500100000 and page.text("#cost") == "$2.50"
        assert page.rows("#groups")[0][0][0] == "gpt-l"
        page.view("operation")
        for at in range(2, 5):
            answer = gateway.ask("lost-l")
            assert answer.status == 502
            page.until("document.querySelectorAll('#lately tbody tr').length === %d" % (at - 1), 20)
        first = page.js("return document.querySelector('#lately tbody tr').textContent")
        for text in ("502", "upstream_auth_unavailable", "lost-l", "is not set", answer.response.header("x-request-id")):
            assert text in first, first
        # Folded by reason, of the ledger.
        page.until("document.querySelector('#refusals [data-value]')?.dataset.value === '3'")
        told = page.text("#refusals tbody tr")
        assert "upstream_auth_unavailable" in told and "The newest: lost-l" in told and "is not set" in told, told
        # What HAProxy answers in place of an upstream stands beside the agent's refusals, with its backend.
        answer = gateway.ask("dead-l")
        assert answer.status == 503
        page.until("document.getElementById('lately').textContent.includes('upstream_unavailable')")
        rows = [row for row in page.rows("#lately") if any("upstream_unavailable" in cell[0] for cell in row)]
        told = " ".join(cell[0] for cell in rows[0])
        for text in ("503", "dead-l", "llm-127.0.0.1:1: HAProxy could not connect", answer.response.header("x-request-id")):
            assert text in told, told
        # The upstreams of the period.
        page.until("document.querySelectorAll('#upstreams tbody tr').length === 2")
        rows = page.rows("#upstreams")
        backends = page.js("[...document.querySelectorAll('#upstreams .id')].map((n) => n.title)")
        answered, dead = (rows[backends.index(backend)] for backend in ("llm-127.0.0.1:%d" % mock.port, "llm-127.0.0.1:1"))
        assert dead[0][0] == "dead-" and [cell[1] for cell in answered[1:6]] == ["1", "0", "0", "0", "0"], answered
        assert all(re.fullmatch(r"[\d.]+\s(ms|s)(, [\d.]+\s(ms|s)){2}", cell[0]) for cell in answered[6:8]), answered
        assert [cell[1] for cell in dead[1:6]] == ["1", "1", "0", "1", "0"] and dead[6][0] == "\u2013, \u2013, \u2013", dead
        for width in (320, 768, 1280):
            page.screen(width, 900)
            assert page.width() <= width
        page.until("parseFloat(document.getElementById('rate').textContent) > 0")
        page.until("document.getElementById('p99').textContent !== '\u2013'")
        page.view("savings")
        page.until("document.getElementById('requests').dataset.value === '5'")
        assert page.js("window.stayed") is True
        page.clean()


def test_tap(work, page):
    """The tap's own figures, live, and the models and clients whose streams told no usage."""
    with Agent(work, tap=True, tap_listen="dgram@%s/tap.dgram" % work) as agent:
        tap, maker = Tap(work / "tap.dgram"), Maker(seed=3)
        page.open(agent.admin).live("empty")
        host, port = agent.config["log_listen"][0].split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
            for client, model, fields in (("a", "glm-4.6", {}), ("b", "<b>gpt</b>", {}), ("b", "gpt-5.5", {"srv": "leg"})):
                id_, line = stream_line(maker, LOG_KEY, client, model, **fields)
                log.sendto(line, (host, int(port)))
                tap.send(told(id_))
        page.until("document.querySelectorAll('#untold-table tbody tr').length === 4")
        rows = [[cell[0] for cell in row] for row in page.rows("#untold-table")]
        assert rows == [["<b>gpt</b>", "model", "1"], ["glm-4.6", "model", "1"], ["a", "client", "1"], ["b", "client", "1"]], rows
        page.js("document.getElementById('untold').open = true; return 0")
        assert "2 streams" in page.text("[data-trust=untold]") and "glm-4.6" in page.text("[data-trust=untold]")
        page.view("operation")
        want = ["7 streams through the tap now", "1,000 since it started", "5 ended by clients", "2 broken off by upstreams", "3 reports lost, so estimated", "1 went directly, so estimated"]

        def seen():
            """What the page shows after the tap has spoken: it does so each second, and counts as silent soon after its last word."""
            tap.say()
            shown = page.js("[...document.querySelectorAll('#tap li')].map((n) => n.textContent)")
            return not set(want) - set(shown) and page.js("document.querySelector('[data-check=tap] .mark').dataset.level") == "good"
        harness.until(seen, 10, lambda: page.text("#tap"), step=.2)
        for width in (320, 768, 1280):
            page.screen(width, 900)
            assert page.width() <= width
        page.shot("tap")
        page.clean()


def connected(address):
    """How many connections the server at `address` has."""
    local = "%08X:%04X" % (0x0100007F, int(address.split(":")[1]))
    with open("/proc/net/tcp") as table:
        return sum(line.split()[1] == local and line.split()[3] == "01" for line in table)


def test_tab_in_the_background(empty, page):
    """The page closes its connection in the background, because a browser has only six for a server. When the user comes back to the tab,
    the page is live again."""
    page.open(empty.admin).live("empty").view("operation")
    first = page.driver.current_window_handle
    assert connected(empty.admin) >= 1
    page.driver.switch_to.new_window("tab")
    try:
        harness.until(lambda: connected(empty.admin) == 0, 25, "the connections are closed", step=.2)
        page.driver.close()
    finally:
        page.driver.switch_to.window(first)
    assert page.js("document.body.dataset.link") == "live" and not page.shown("#lost")
    with spop.Client(empty.address) as client:
        assert client.ask(spop.question('{"model"'))["deny"]
    page.until("document.querySelectorAll('#lately tbody tr').length === 1", 4)
    page.clean()


def test_what_is_not_well(work, page):
    """The page shows a missing credential as a warning, in words and by the shape of its mark."""
    with Agent(work, routes=[{"model_prefix": "k-", "name": "kimi", "upstream": "https://k.test", "auth": "env:NOT_SET"}]) as agent:
        page.open(agent.admin).live("empty").view("operation")
        level, text = page.js("""const n = document.querySelector('[data-check=credentials]');
            return [n.querySelector('.mark').dataset.level, n.textContent]""")
        assert level == "warn" and ": warning" in text and "kimi" in text
        assert page.text("#ready") == "Ready, 1 warning"
        page.clean()


def test_not_ready(empty, page):
    """The page shows that an agent that drains is not ready: in words, by the shape of the mark, in the title, and to a screen reader."""
    page.open(empty.admin).live("empty").view("operation")
    assert page.text("#ready") == "Ready"
    with spop.Client(empty.address):    # the agent waits for this connection before it ends
        empty.process.kill(signal.SIGUSR1)
        page.until("document.getElementById('ready').textContent === 'Not ready'", 5)
        part, text = page.js("""const n = document.querySelector('#checks [data-level=bad]').closest('li');
            return [n.dataset.check, n.textContent]""")
        assert part == "draining" and ": failing" in text
        assert page.js("document.title").startswith("Not ready")
        page.until("document.getElementById('announce').textContent === 'Not ready'")
        page.clean(GONE)


# ---- an empty ledger, no ledger, no agent


def test_empty(empty, page):
    page.open(empty.admin).live("empty")
    assert "Nothing is in the ledger yet" in page.text("#empty")
    assert page.text("#saved") == "$0.00" and not page.shown("#money") and not page.shown("#groups")
    page.shot("empty")
    page.view("operation")
    page.until("document.getElementById('refusals').innerText.includes('None')")
    page.clean()


def test_empty_period(work, page):
    """The ledger has requests, but none in the period that is chosen. The page offers a button that shows all."""
    start = int(time.time() * 1000) - 20 * DAY
    with Agent(work, Maker(seed=5, start_ms=start, span_ms=DAY).make(20)) as agent:
        page.open(agent.admin, "since=24h").live("empty")
        assert "in the last 24 hours" in page.text("#empty-text")
        page.js("document.getElementById('empty-all').click(); return 0")
        page.live("ok")
        assert page.value("#requests") == 20 and "since=all" in page.driver.current_url
        # Days without a request are empty in the chart, and not in the table.
        open_tables(page)
        assert len(page.rows("#money-table")) == len(agent.savings("all", "day")["rows"]) <= 2
        assert page.js("Chart.getChart('money').data.labels.length") in (20, 21, 22)
        page.clean()


def test_no_ledger(work, page):
    with Agent(work, ledger=False) as agent:
        page.open(agent.admin).live("none")
        assert "No ledger is kept" in page.text("#no-ledger") and not page.shown("#saved") and not page.shown("#groups")
        page.view("operation")
        page.until("document.querySelectorAll('#checks li .mark').length > 0")
        page.view("savings")
        time.sleep(1.5)
        assert page.js("document.body.dataset.ledger") == "none"
        page.clean()
        assert not [url for _, url, _ in page.asked if "/savings?" in url]


def test_agent_down(work, page):
    """While the agent is gone, the page shows the last figures and their time. When the agent is back, the page shows new figures without a
    reload."""
    entries = Maker(seed=6, span_ms=3 * DAY).make(300)
    with Agent(work, entries[:200]) as agent:
        page.open(agent.admin).live()
        page.js("window.stayed = true; return 0")
        saved = page.text("#saved")
        for pid in reversed(processes(agent.process.pid)):
            os.kill(pid, signal.SIGSTOP)
        for pid in reversed(processes(agent.process.pid)):
            os.kill(pid, signal.SIGKILL)
        agent.expect_exit = {-signal.SIGKILL}
        page.until("document.body.dataset.link === 'lost'", 3)
        page.until("!document.getElementById('lost').hidden", 4)
        assert page.js(r"return /since \d\d:\d\d:\d\d/.test(document.getElementById('lost').innerText)")
        assert page.text("#saved") == saved and page.text("#link") == "Offline" and page.text("#ready") == "Unknown"
        page.view("operation")
        assert "as of" in page.text("#now-title")
        page.view("savings")
        page.until("document.getElementById('announce').textContent.startsWith('Connection lost')")
        page.shot("down", 1090)
    with Agent(work, entries, admin=agent.admin):
        page.until("document.body.dataset.link === 'live'", 20)
        page.until("document.getElementById('requests').dataset.value === '300'", 5)
        assert not page.shown("#lost") and page.text("#link") == "Live" and page.view("operation").shown("#now-title") and "as of" not in page.text("#now-title")
        assert page.js("window.stayed") is True
        # Before this agent ends: while it does, it has no stream of events for the page any more (503).
        page.clean(GONE)


def test_agent_that_hangs(empty, page):
    """The page notices an agent that sends nothing and closes nothing. The button "Try now" connects again."""
    page.open(empty.admin).live("empty")
    stopped = processes(empty.process.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        page.until("document.body.dataset.link === 'lost'", 9)
        page.until("!document.getElementById('lost').hidden", 9)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    page.js("document.getElementById('lost-retry').click(); return 0")
    page.until("document.body.dataset.link === 'live'", 8)
    page.clean(GONE)


def processes(pid):
    """The process and its descendants."""
    found = [pid]
    for at in found:
        for task in os.listdir("/proc/%d/task" % at):
            with open("/proc/%d/task/%s/children" % (at, task)) as listed:
                found += [int(one) for one in listed.read().split() if int(one) not in found]
    return found


def test_ledger_that_cannot_be_read(work, page):
    with Agent(work, Maker(seed=7, span_ms=DAY).make(50)) as agent:
        page.open(agent.admin).live()
        base = agent.home / "ledger.db"
        with sqlite3.connect(base, timeout=20) as copy:
            copy.execute("vacuum into ?", (str(agent.home / "whole"),))
        copy.close()
        (agent.home / "broken").write_bytes(b"no database at all" * 1000)
        os.replace(agent.home / "broken", base)
        page.js("document.querySelector('[name=by][value=route]').click(); return 0")
        page.until("!document.getElementById('failed').hidden")
        text = page.text("#failed")
        assert "The ledger cannot be read:" in text and "The figures shown are from" in text, text
        assert page.value("#requests") == 50
        page.driver.refresh()
        page.live("failed")
        assert not page.shown("#money")
        for name in ("ledger.db-wal", "ledger.db-shm"):
            if (agent.home / name).exists():
                (agent.home / name).unlink()
        os.replace(agent.home / "whole", base)
        page.js("document.getElementById('failed-retry').click(); return 0")
        page.live("ok")
        assert page.value("#requests") == 50 and not page.shown("#failed")
        page.clean(r"savings.*status of 50\d")


# ---- the token


def test_token(work, page):
    secret = harness.secret("admin")
    with Agent(work, Maker(seed=8, span_ms=DAY).make(30), env={"ADMIN": secret}, admin_token="env:ADMIN") as agent:
        page.open(agent.admin)
        page.until("document.body.dataset.link === 'locked'")
        assert not page.shown("#page") and page.js("document.activeElement.id") == "token"
        assert page.js("document.querySelector('label[for=token]').innerText") == "Token"
        page.keys("wrong-one", "ENTER")
        page.until("document.getElementById('token-error').textContent !== ''")
        assert "not accepted" in page.text("#token-error")
        assert page.js("document.body.dataset.link") == "locked" and not page.shown("#page")
        page.keys(secret, "ENTER")
        page.live()
        assert page.value("#requests") == 30 and not page.shown("#locked")
        # The token is still known after a reload, and stands nowhere but in this tab's session storage and in the header.
        page.driver.refresh()
        page.live()
        assert secret not in page.js("Object.values(localStorage).join() + document.cookie + location.href + document.documentElement.outerHTML")
        page.clean(NO_TOKEN)
        sent = [headers.get("authorization") for _, url, headers in page.asked if "/events" in url or "/savings?" in url]
        assert sent[0] is None and sent.count("Bearer " + secret) >= 4
        assert not [url for _, url, _ in page.asked if secret in url]
        # After a click on "Forget token" the page asks for the token again.
        page.js("document.getElementById('forget').click(); return 0")
        page.until("document.body.dataset.link === 'locked'")
        assert page.js("sessionStorage.length") == 0


# ---- names from outside


def test_hostile_names(work, page):
    maker = Maker(seed=9, span_ms=2 * DAY)
    entries = [maker.one(kind="reported", model=name, project=name[:60], client=name[:60]) for name in HOSTILE] + maker.make(50)
    with Agent(work, entries, routes=[{"model_prefix": "*", "upstream": "https://x.test", "auth": "env:NOT_SET"}]) as agent:
        with spop.Client(agent.address) as client:
            for name in HOSTILE:
                assert client.ask(spop.question(json.dumps({"model": name}), id=name[:30]))["deny"]
        page.open(agent.admin).live().view("operation")
        page.until("document.querySelector('#lately-all').textContent === 'Show %d more'" % (len(HOSTILE) - 10))
        page.js("document.getElementById('lately-details').open = true; document.getElementById('lately-all').click(); return 0")
        page.until("document.querySelectorAll('#lately tbody tr').length === %d" % len(HOSTILE))
        page.view("savings")
        for by in ("model", "project", "client"):
            page.js("document.querySelector('[name=by][value=%s]').click(); return 0" % by)
            page.until("document.querySelector('#groups th').textContent.toLowerCase() === '%s'" % by)
            page.js("""const more = document.getElementById('groups-all');
                if (more.getAttribute('aria-expanded') === 'false') more.click(); return 0""")
            names = page.js("[...document.querySelectorAll('#groups tbody th .name')].map((n) => n.dataset.name)")
            expected = {row[by] for row in agent.savings("all", by)["rows"]} - {""}
            assert set(names) == expected and len(names) == len(expected)
            assert {loglines.cleaned(name if by == "model" else name[:60], 256) for name in HOSTILE} <= expected
        assert page.js("document.querySelectorAll('main img, main script, main svg, main a[href]:not([href*=view])').length") == 0
        page.screen(360, 800)
        assert page.width() <= 360
        page.clean()


# ---- pictures


def test_pictures(work, page):
    """Takes pictures of each view with some traffic, for people to look at. LLM_DASHBOARD_SHOW_S=125 sends traffic until it fills the curve of requests."""
    config = [dict(route) for route in loglines.ROUTES]
    config.insert(0, {"model_prefix": "kimi-", "upstream": "https://kimi.test", "auth": "env:KIMI_API_KEY"})
    models = [(name, 6) for name, *_ in loglines.MODELS] + [("kimi-k2", 1)]
    rng = random.Random(4)
    with Agent(work, Maker(seed=11, span_ms=75 * DAY).make(4000), routes=config, tap=True, tap_listen="dgram@%s/tap.dgram" % work) as agent:
        tap = Tap(work / "tap.dgram", streams_total=0, reports_lost=0, unreadable=0, full=0)
        page.open(agent.admin).live()
        with spop.Client(agent.address) as client:
            end, rate = time.monotonic() + SHOW_S, 50.0
            while time.monotonic() < end:
                total = tap.said["streams_total"] + 12
                tap.say(streams=rng.randrange(30, 60), streams_total=total, reports=total, cut_client=total // 90, cut_upstream=total // 700)
                rate = min(110, max(25, rate + rng.uniform(-14, 14)))
                for _ in range(int(rate / 4)):
                    name = rng.choices([name for name, _ in models], [weight for _, weight in models])[0]
                    client.ask(spop.question(json.dumps({"model": name}), id="01a2043d-%04x-7f03-9a87-72d6b30ed6df" % rng.randrange(65536)))
                time.sleep(.25)
            page.view("operation")
            page.until("parseFloat(document.getElementById('rate').textContent) > 5 && document.getElementById('refusals').textContent.includes('502 upstream_auth_unavailable')")
            assert "upstream_auth_unavailable" in [row[0][0] for row in page.rows("#refusals")]
            assert "streams through the tap now" in page.text("#tap")
            for view in ("operation", "savings", "requests"):
                page.view(view)
                for look, width, height in LOOKS:
                    page.media("dark" if look == "dark" else "light", "reduce")
                    page.screen(width, 900)
                    rows = "document.querySelector('.stage .row') && " if view == "requests" else ""
                    page.until(rows + "!document.querySelector('.stage .row.unknown') && Object.values(Chart.instances).every((one) => !one.canvas.checkVisibility() || "
                               "Math.abs(one.width - one.canvas.parentNode.clientWidth) < 2)")
                    page.shot("%s-%s" % (view, look), height)
        page.clean()
    for view in ("operation", "savings", "requests"):
        for look, *_ in LOOKS:
            assert (SHOTS / ("%s-%s.png" % (view, look))).stat().st_size > 20000
