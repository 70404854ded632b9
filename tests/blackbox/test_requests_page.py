"""The list of requests and one request, in a real Chromium: every row and figure against `ledger export` and `spoa-llm requests`, sorting,
searching, scrolling by hand and by keyboard, new requests, a slow and a failing server, odd names, a phone."""
import json
import socket
import time
import urllib.parse

import pytest

import harness
from dashboard import LOG_KEY, Agent, page  # noqa: F401
from harness import cli, until
from loglines import DAY, HOSTILE, Maker

NAMES = ["x" * 250, "日本語" * 20, "نموذج-عربي-" * 10, "<img src=x onerror=window.pwned=1>", "</td><script>window.pwned=1</script>", "__proto__", "e\u0301\u0301 🦀", "a" * 40 + "-large"]
LIST = "const list = document.getElementById('requests-list');"
# The rows that are in the document, in their order: place, time, id, and the figures to the digit.
ROWS = LIST + """return [...list.querySelectorAll('.stage .row')].filter((row) => !row.classList.contains('unknown')).map((row) => {
    const value = (name) => { const cell = row.querySelector('.' + name); return cell ? cell.querySelector('[data-value]')?.dataset.value ?? cell.innerText : null; };
    const name = (label) => row.querySelector(`[data-narrow=${label}] [data-name]`)?.dataset.name;
    const [time, id] = row.querySelector('a').title.split(', ');
    return { at: row.getAttribute('aria-rowindex') - 2, time, id, status: name('status'), model: name('model'), route: name('route'), project: name('project'),
        client: name('client'), code: name('code') ?? '', tokens: value('tokens'), cost: value('cost'), first: value('first'), whole: value('whole') }; })"""
PLACE = "document.getElementById('requests-place').textContent"


def as_shown(row):
    """What the list has to say of a row of `ledger export`."""
    tokens = None if row["code"] else "not known" if row["input"] is None else str(sum(row[name] for name in ("input", "output", "cache_read", "cache_write")))
    cost = None if row["code"] else str(row["cost_nanodollars"]) if row["cost_nanodollars"] is not None else \
        "unpriced" if row["price_from"] == "unpriced" else "not known" if row["usage_from"] == "unknown" else "\u2013"
    shown = {name: row[name] for name in ("time", "id", "model", "route", "project", "client", "code")}
    times = {name: str(row[key]) if row[key] is not None else "\u2013" for name, key in (("first", "ttfb_ms"), ("whole", "total_ms"))}
    return dict(shown, status=str(row["status"]) if row["status"] > 0 else "none", tokens=row["code"] or tokens, cost=cost, **times)


def export(agent, *flags):
    """Newest first, as the list has them."""
    done = cli("ledger", "export", "--ledger", agent.home, *flags)
    assert done.code == 0, done
    return [json.loads(line) for line in done.out.splitlines()][::-1]


def opened(page, agent, rows, **view):
    page.open(agent.admin, urllib.parse.urlencode(dict({"view": "requests", "since": "all"}, **view))).live()
    page.until("%s === %s" % (PLACE.replace("document", "(document)"), json.dumps("")) if not rows else "%s.endsWith(' of %s')" % (PLACE, format(rows, ",")))
    return page


def settled(page):
    """The rows are those of the place to which the list is scrolled, and nothing that is seen is still to come."""
    page.until(LIST + """const row = list.querySelector('.stage .row');
        const above = row && list.scrollTop / row.offsetHeight - (row.getAttribute('aria-rowindex') - 2);
        return row && above >= 0 && above < 6 && !list.querySelector('.stage .row.unknown')""")
    return page.js(ROWS)


def same(seen, wants):
    assert seen
    for row in seen:
        place = row.pop("at")
        assert row == as_shown(wants[place]), place


def walk(page, wants):
    """Scrolls through all of the list and compares each row."""
    seen = {}
    while len(seen) < len(wants):
        before = len(seen)
        seen.update((row["at"], row) for row in settled(page))
        page.js(LIST + "list.scrollTop += list.clientHeight - 80; return 0")
        assert len(seen) > before or len(seen) == len(wants), (len(seen), len(wants))
    same(list(seen.values()), wants)


@pytest.fixture(scope="module")
def many(module_work):
    """3,000 requests of 30 days with names that would do harm as markup, in right-to-left scripts, and longer than any column; not to be changed."""
    maker = Maker(seed=23, span_ms=30 * DAY, hostile=True)
    entries = maker.make(2900)
    for at in range(100):
        entries.append(maker.one(kind="reported", model=NAMES[at % len(NAMES)], project=NAMES[-1][:64] if at % 2 else "Straße", client=HOSTILE[at % len(HOSTILE)][:60].strip()))
    with Agent(module_work, entries) as agent:
        yield agent


@pytest.mark.parametrize("flags", [{"model": "glm-*", "status": "4xx"}, {"project": "Straße", "client": "codex"}, {"code": "model_not_in_sample", "client": ""}, {"status": "none", "route": "*"}, {"model": NAMES[2]}],
                         ids=lambda flags: "-".join(flags))
def test_every_row_of_a_filter(many, page, flags):
    wants = export(many, *(word for name, label in flags.items() for word in ("--" + name, label)))
    assert wants
    opened(page, many, len(wants), **flags)
    walk(page, wants)
    page.clean()


def test_any_place_of_the_list(many, page):
    wants = export(many)
    opened(page, many, len(wants))
    for share in (0, 1, .5, .251, .77, 0):
        page.js(LIST + "list.scrollTop = arguments[0] * list.scrollHeight; return 0", share)
        seen = settled(page)
        same(seen, wants)
    page.js(LIST + "list.focus(); return 0")
    for keys, active in ((["END"], 2999), (["ARROW_UP", "PAGE_UP"], None), (["HOME"], 0), (["ARROW_DOWN", "ARROW_DOWN"], 2)):
        page.keys(*keys)
        here = page.js(LIST + "return document.getElementById(list.getAttribute('aria-activedescendant')).getAttribute('aria-rowindex') - 2")
        assert here == active if active is not None else 2900 < here < 2999
        settled(page)
    assert page.js(LIST + "return [list.getAttribute('aria-rowcount'), list.querySelectorAll('.stage .row').length < 60]") == ["3001", True]
    # Enter opens it, and the way back leads to the same row.
    page.keys("ENTER")
    page.until("document.getElementById('request-id')?.textContent === %s" % json.dumps(wants[2]["id"]))
    page.driver.back()
    page.until("document.activeElement.id === 'requests-list'")
    assert page.js(LIST + "return list.getAttribute('aria-activedescendant')") == "row-2"
    page.clean()


KEYS = {"cost": lambda row: row["cost_nanodollars"], "whole_ms": lambda row: row["total_ms"], "first_byte_ms": lambda row: row["ttfb_ms"],
        "tokens": lambda row: None if row["input"] is None else sum(row[name] for name in ("input", "output", "cache_read", "cache_write")), "time": lambda row: row["time"]}


def test_sorted(many, page):
    of = {row["id"]: row for row in export(many)}
    opened(page, many, len(of))
    for sort, order in [("cost", "desc"), ("cost", "asc"), ("whole_ms", "desc"), ("first_byte_ms", "desc"), ("tokens", "desc"), ("time", "desc"), ("time", "asc")]:
        page.js("document.querySelector('[data-sort=%s] button').click(); return 0" % sort)
        page.until("document.querySelector('[data-sort=%s]').getAttribute('aria-sort') === '%sending'" % (sort, order))
        want = [value for value in (KEYS[sort](row) for row in of.values()) if value is not None]
        want.sort(reverse=order == "desc")
        seen = settled(page)
        assert [KEYS[sort](of[row["id"]]) for row in seen] == want[:len(seen)] and len(seen) > 10
        for row in seen:
            del row["at"]
            assert row == as_shown(of[row["id"]])
    page.clean()


def test_slow_answers(many, page):
    """Answers that come late, in another order and though nobody wants them any more, put no row where it does not belong."""
    wants = export(many)
    opened(page, many, len(wants))
    settled(page)
    page.js("""const real = window.fetch; window.held = [];
        window.fetch = (url, more) => (window.held && url.startsWith('requests?') ? new Promise((go) => window.held.push(() => go(real(url, { ...more, signal: undefined })))) : real(url, more)); return 0""")
    for share in (.5, .3):
        asked = page.js("window.held.length")
        page.js(LIST + "list.scrollTop = arguments[0] * list.scrollHeight; return 0", share)
        page.until("window.held.length > arguments[0]", 5, asked)
    asked = page.js("window.held.length")
    page.js("document.querySelector('[data-sort=time] button').click(); return 0")   # oldest first
    page.until("window.held.length > arguments[0]", 5, asked)
    page.js("window.answered = Promise.all(window.held.splice(0).reverse().map((go) => go())); window.held = null; return 0")
    page.until(PLACE + ".startsWith('1\u2013')")
    same(settled(page), wants[::-1])
    page.js("return window.answered.then(() => 0)")
    for share in (.3, .5):
        page.js(LIST + "list.scrollTop = arguments[0] * list.scrollHeight; return 0", share)
        same(settled(page), wants[::-1])
    page.clean()


def test_search(many, page):
    wants = export(many)
    page.open(many.admin, "view=requests&since=24h&model=nothing").live()
    page.until("document.getElementById('requests-empty').innerText.includes('No request in the last 24 hours has all that the filter asks for')")
    old = wants[-7]["id"]  # of a month ago, and of another model: an id is searched among all
    page.js("document.getElementById('requests-id').focus(); return 0")
    page.keys(*old[:14], "ENTER")
    page.until("document.getElementById('request-id')?.textContent === %s" % json.dumps(old))
    # From there the tab leads to the list, not to this one request in it.
    page.js("document.querySelector('#views [data-view=requests]').click(); return 0")
    page.until("location.hash.startsWith('#view=requests') && !location.hash.includes('find') && document.getElementById('requests-id').value === ''")
    starts = [row for row in wants if row["id"].startswith("a")]
    opened(page, many, len(starts), find="a*")
    assert page.text("#requests-hint") == "All times are searched."
    walk(page, starts)
    page.js("document.getElementById('requests-id').value = 'no-such-id'; document.querySelector('#requests-search button').click(); return 0")
    page.until("document.getElementById('requests-empty').innerText.includes('No request has an id that begins with no-such-id')")
    page.clean()


def test_not_all_could_be_looked_at(many, page):
    """Where the agent tells no total, or stopped before all rows were looked at, the list says so, and ends behind the last row that there is."""
    wants = export(many)
    page.open(many.admin, "view=savings").live()
    page.js("""const real = window.fetch; window.most = 100;
        window.fetch = async (url, more) => { const answer = await real(url, more);
            if (!url.startsWith('requests?')) return answer;
            const told = await answer.json(); told.stopped = told.rows.length > window.most;
            return new Response(JSON.stringify({ ...told, rows: told.rows.slice(0, window.most), total: null })); }; return 0""")
    page.js("location.hash = 'view=requests&since=all'; return 0")
    page.until(PLACE + ".endsWith(' of 200 or more')")
    same(settled(page), wants)
    page.js("window.ends = setInterval(() => { const list = document.getElementById('requests-list'); list.scrollTop = list.scrollHeight; }, 50); return 0")
    page.until(PLACE + ".endsWith(' of 3,000')", 30)
    page.js("clearInterval(window.ends); return 0")
    same(settled(page), wants)
    assert page.text("#requests-hint") == ""
    hint = "Only a part of the requests could be looked at. A filter, a shorter period or more of the id brings others in."
    page.js("window.most = 40; location.hash = 'view=requests&since=all&sort=time&order=asc'; return 0")
    page.until(PLACE + ".endsWith(' of 40 or more')")
    same(settled(page), wants[::-1])
    assert page.text("#requests-hint") == hint
    page.js("window.most = 0; location.hash = 'view=requests&since=all'; return 0")
    page.until("document.querySelector('#requests-empty p').textContent === arguments[0]", 5, hint)
    page.clean()


def test_a_file_of_what_is_shown(many, page, work):
    page.cdp("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(work)})
    wants = export(many, "--project", "Straße", "--status", "429")
    opened(page, many, len(wants), project="Straße", status="429")
    page.js("document.getElementById('requests-csv').click(); return 0")
    # Chromium takes the name by an empty file, before it puts the whole one in its place.
    until(lambda: (work / "requests.csv").exists() and (work / "requests.csv").stat().st_size, 5, "the file is there")
    lines = (work / "requests.csv").read_bytes().decode().split("\r\n")
    assert lines[0].startswith("id,time,route") and [line.split(",")[0] for line in lines[1:-1]] == [row["id"] for row in wants]
    page.clean()


def test_new_requests_do_not_move_the_rows(work, page):
    maker = Maker(seed=4, span_ms=2 * DAY)
    with Agent(work, maker.make(400)) as agent:
        host, port = agent.config["log_listen"][0].split(":")

        def end(entry):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
                log.sendto(harness.log_line(dict(entry.fields, te=time.time_ns() // 10 ** 6), LOG_KEY), (host, int(port)))

        def more(count):
            for _ in range(count):
                end(maker.one(kind="reported"))
        opened(page, agent, 400)
        before = settled(page)
        more(12)
        page.until("document.getElementById('requests-new').innerText === '12 new: show'", 15)
        assert settled(page) == before and page.js(PLACE).endswith(" of 400")
        page.js(LIST + "list.scrollTop = 5000; return 0")
        middle = settled(page)
        more(3)
        page.until("document.getElementById('requests-new').innerText === '15 new: show'", 15)
        assert settled(page) == middle
        # Rows that are read now, when the agent's list is longer by 15, stand where they belong.
        page.js(LIST + "list.scrollTop = list.scrollHeight; return 0")
        wants = export(agent)
        same(settled(page), wants[15:])
        page.js("document.getElementById('requests-new').click(); return 0")
        page.until(PLACE + ".endsWith(' of 415')")
        same(settled(page), wants)
        # One that has not ended yet is shown in place of the notice when it has.
        late = maker.one(kind="reported")
        page.open(agent.admin, "view=request&id=" + late.id)
        page.until("document.getElementById('request-failed').innerText.includes(arguments[0])", 10, late.id)
        end(late)
        page.until("document.getElementById('request-id')?.textContent === arguments[0]", 15, late.id)
        assert not page.shown("#request-failed")
        page.clean(r"status of 404")


@pytest.mark.parametrize("width, scheme", [(360, "dark"), (1280, "light")])
def test_it_fits(many, page, width, scheme):
    page.screen(width, 740)
    page.media(scheme)
    opened(page, many, len(export(many, "--model", NAMES[0])), model=NAMES[0])
    settled(page)
    assert page.width() <= width
    # Nothing stands over another thing: each cell that is shown is inside its row.
    assert page.js(LIST + """return [...list.querySelectorAll('.stage .row')].every((row) => { const of = row.getBoundingClientRect();
        return [...row.children].every((cell) => { const at = cell.getBoundingClientRect(); return !at.width || at.left >= of.left - 1 && at.right <= of.right + 1 && at.bottom <= of.bottom + 1; }); })""")
    page.shot("requests-%d" % width)
    page.js("document.querySelector('.stage .row').click(); return 0")
    page.until("document.getElementById('request-id')")
    assert page.width() <= width
    page.shot("request-%d" % width)
    page.clean()


def test_one_request(many, page):
    """Of each kind one: every column as `ledger export` has it, and what it means in words."""
    rows = export(many)
    kinds = {}
    for row in rows:
        kinds.setdefault((row["usage_from"], row["code"], bool(row["tried"]) and row["price_from"]), row)
    page.open(many.admin, "view=request&id=never-was").live()
    page.until("document.getElementById('request-failed').innerText.includes('no request with the id \"never-was\"')")
    for row in kinds.values():
        page.js("location.hash = arguments[0]; return 0", "#" + urllib.parse.urlencode({"view": "request", "id": row["id"]}))
        page.until("document.getElementById('request-id')?.textContent === %s" % json.dumps(row["id"]))
        exact = page.js("return Object.fromEntries([...document.querySelectorAll('[data-column]')].map((n) => [n.dataset.column, n.textContent]))")
        assert set(exact) == set(row)
        for name, value in row.items():
            if name.endswith("_nanodollars") and value is not None:
                value = "%s$%s.%09d" % ("\u2212" if value < 0 else "", format(abs(value) // 10 ** 9, ","), abs(value) % 10 ** 9)
            assert exact[name] == ("not known" if value is None else {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)), name
        text = page.text("#request-body")
        if row["code"]:
            assert "What to do:" in text and row["code"] in page.text("#request-state")
        if row["cost_nanodollars"] is None:
            assert page.text("#request-cost") == ("unpriced" if row["price_from"] == "unpriced" else "not known")
        else:
            assert page.value("#request-cost") == row["cost_nanodollars"]
            bill = page.js("return [...document.querySelectorAll('[data-cost]')].map((n) => Number(n.dataset.value))")
            assert not bill or sum(bill) == row["cost_nanodollars"]
        times = page.js("return [...document.querySelectorAll('.times strong')].map((n) => Number(n.dataset.value))")
        assert sum(times) == (row["total_ms"] or 0)
    # A link narrows the list.
    page.js("document.querySelector('#request-body [data-narrow=route]').click(); return 0")
    page.until("%s.endsWith(' of %s')" % (PLACE, format(len(export(many, "--route", row["route"])), ",")))
    page.clean(r"status of 404")


def test_a_reader_is_told_what_it_may_not_see(work, page):
    """Who has the viewer_token sees a request, but not what its route would decide; who has the admin_token sees that too."""
    reader, admin, entry = harness.secret("viewer"), harness.secret("admin"), Maker(seed=6).one(kind="reported", model="glm-4.6", route="glm-", protocol="openai")
    with Agent(work, [entry], env={"READER": reader, "ADMIN": admin}, viewer_token="env:READER", admin_token="env:ADMIN") as agent:
        for token, told in ((reader, "The admin_token shows"), (admin, "Goes to")):
            page.open(agent.admin, "view=request&id=" + entry.id)
            page.until("document.body.dataset.link === 'locked'")
            page.keys(token, "ENTER")
            page.until("document.querySelector('#request-body .why')?.innerText.includes(arguments[0])", 10, told)
            assert ("https://ollama.com" in page.text("#request-body .why")) == (token == admin)
            page.view("operation")
            page.until("document.getElementById('well').textContent.includes('ledger')")    # a figure that only who is let in gets
            assert page.shown("#explain-form") == (token == admin)
            page.js("document.getElementById('forget').click(); return 0")
            page.until("document.body.dataset.link === 'locked'")
        page.clean(r"status of 401")
