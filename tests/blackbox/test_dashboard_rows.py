"""The page with a ledger of 400,000 requests (LLM_DASHBOARD_ROWS: another number): no view reads more of it than it shows."""
import contextlib
import os
import sqlite3
import subprocess
import time
import urllib.request

import pytest

import harness
from dashboard import Agent, page  # noqa: F401
from test_requests_page import LIST, ROWS, as_shown, export, opened

GROUPS = ("model", "route", "project", "client", "member")
MANY = int(os.environ.get("LLM_DASHBOARD_ROWS", "400000"))
DRAWN_MOST = 60     # rows of the list that are in the document


@pytest.fixture(scope="module")
def many(module_work):
    """An agent with so many requests."""
    store = harness.ROOT / "build" / "bench" / "ledger_store"
    assert store.exists(), "make test-tools"
    # The ledger's own writer fills the ledger, in batches.
    subprocess.run([str(store), "fill", str(module_work / "ledger"), str(MANY)], check=True, stdout=subprocess.DEVNULL, timeout=1200)
    with Agent(module_work) as agent:
        yield agent


def answer_in(url):
    """Seconds to the last byte of the answer."""
    began = time.monotonic()
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.read()
    return time.monotonic() - began


def test_savings(many, page):
    """The page shows the figures of all requests, and the agent answers each question of the page in under 300 ms."""
    for by in GROUPS:
        page.open(many.admin, "by=%s&since=all&unit=day" % by).live()
        assert page.value("#requests") == MANY
    page.clean()
    urls = {url.split("#")[0] for _, url, _ in page.asked if url.startswith(page.origin) and "/events" not in url}
    savings = {url for url in urls if "/savings?" in url}
    assert len(savings) == len(GROUPS) + 1 and len(urls) > len(savings)
    for url in sorted(urls | {url.replace("by=model", "by=hour") for url in savings}):
        # The best of five counts, because other work of the machine only makes an answer slower. An answer that reads the rows
        # themselves takes longer at best, and with a million rows (`make test-long`) more than a second. Each question is a
        # different one, so that no answer comes from a cache.
        best = min(answer_in(url + "&until=%d-01-01" % year if "/savings?" in url else url) for year in range(2030, 2035))
        print("%4.0f ms %s" % (best * 1000, url))
        assert best < .3 * harness.SLOW, (url, best)


def test_operation(many, page):
    """Operation of all requests has each of them, in its totals and in those of upstreams."""
    page.open(many.admin, "view=operation&since=all").live(seconds=30)
    assert page.value("#total-requests") == MANY
    said = many.http(path="/operation?since=all&unit=day", timeout=60).json()
    assert said["totals"]["requests"] == MANY and sum(row["requests"] for row in said["series"]) == MANY
    # The ledger of this test has more combinations of labels than it tells apart, which the page says.
    assert page.text("#apart").startswith("%s requests can be missing where requests are told apart by label" % format(said["not_told_apart"], ","))
    page.clean()


def test_list(many, page):
    """The list goes to its middle and to its end with few rows in the document, and has there the rows that the ledger has at these places."""
    opened(page, many, MANY)
    for share in (0, .5, 1):
        page.js(LIST + "list.scrollTop = arguments[0] * list.scrollHeight; return 0", share)
        page.until(LIST + """const rows = [...list.querySelectorAll('.stage .row')], at = (row) => row.getAttribute('aria-rowindex') - 2;
            return !list.querySelector('.stage .row.unknown') && Math.abs(at(rows[0]) - arguments[0]) < arguments[1]""", 20, share * MANY, max(100, MANY / 10000))
        seen = page.js(ROWS)
        place = seen[0]["at"]
        assert len(seen) < DRAWN_MOST and [row.pop("at") for row in seen] == list(range(place, place + len(seen)))
        with contextlib.closing(sqlite3.connect(many.home / "ledger.db", timeout=20)) as base:
            ids = base.execute("select id from requests order by time_ms desc, id desc limit ? offset ?", (len(seen), place)).fetchall()
        assert [row["id"] for row in seen] == [one for one, in ids]
        for row in (seen[0], seen[-1]):
            assert [row] == [as_shown(want) for want in export(many, "--id", row["id"])]
    page.clean()
