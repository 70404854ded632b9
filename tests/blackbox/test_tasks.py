"""What people come to the dashboard for: each task in at most three clicks, by a mouse, on the page as it opens."""
import datetime
import json
import time

import pytest

from dashboard import Agent, page  # noqa: F401
from harness import cli
from loglines import DAY, Maker
from test_dashboard import dollars
from test_savings_page import day, savings

MOST = 3


class Person:
    """Clicks with a mouse, and counts."""

    def __init__(self, page, address, ledger="ok"):
        self.page, self.clicks = page, 0
        page.open(address, "since=30d").live(ledger)   # as the page opens

    def click(self, selector, text=None):
        """On what is seen: an element, or the one of them that has `text`."""
        self.clicks += 1
        found = [one for one in self.page.driver.find_elements("css selector", selector) if one.is_displayed() and (text is None or text in one.text)]
        assert found, (selector, text)
        self.page.js("arguments[0].scrollIntoView({ block: 'center' }); return 0", found[0])
        found[0].click()

    def click_bar(self, canvas, label):
        """On the bar of a chart that has this label."""
        from selenium.webdriver import ActionChains
        self.clicks += 1
        x, y = self.page.js("""const c = Chart.getChart(arguments[0]), at = c.data.labels.indexOf(arguments[1]), metas = c.getSortedVisibleDatasetMetas();
            const bar = metas.map((meta) => meta.data[at]).filter((one) => one.height)[0];
            document.getElementById(arguments[0]).scrollIntoView({ block: 'center' });
            return [bar.x - c.width / 2, (bar.y + bar.base) / 2 - c.height / 2]""", canvas, label)
        ActionChains(self.page.driver).move_to_element_with_offset(self.page.driver.find_element("id", canvas), int(x), int(y)).click().perform()

    def done(self):
        assert self.clicks <= MOST, self.clicks
        self.page.clean()


@pytest.fixture(scope="module")
def office(module_work):
    """Five weeks; on the Monday before the last seven days the project data-lake ran away; one model has no price."""
    maker = Maker(seed=31, span_ms=35 * DAY)
    entries = maker.make(700)
    monday = (int(time.time()) // 86400 - 7) * 86400
    while time.gmtime(monday).tm_wday:
        monday -= 86400
    for at in range(40):
        entries.append(maker.one(kind="reported", model="claude-sonnet-4-5-20250929", route="claude-", protocol="anthropic", project="data-lake", usage=
                                 '{"input_tokens":150000,"output_tokens":9000}', te=int((monday + 36000 + at * 60) * 1000)))
    with Agent(module_work, entries) as agent:
        agent.monday = time.gmtime(monday)
        yield agent


def test_which_project_caused_mondays_peak(office, page):
    person = Person(page, office.admin)
    label = "%d %s" % (office.monday.tm_mday, time.strftime("%b", office.monday))
    values = page.js("const c = Chart.getChart('money'); return c.data.labels.map((label, at) => [c.data.datasets[0].data[at], label])")
    assert max(values)[1] == label     # it is seen
    person.click_bar("money", label)
    when = time.strftime("%Y-%m-%d", office.monday)
    page.until("location.hash.includes('since=%s')" % when)
    person.click("#by label", "Project")
    page.until("document.querySelector('#groups th').textContent === 'Project' && document.getElementById('requests').dataset.value === '%d'" %
               savings(office, "--since", when, "--until", when)["totals"]["requests"])
    top, report = page.rows("#groups")[0], savings(office, "--since", when, "--until", when, "--by", "project")
    assert top[0][0] == "data-lake" == report["rows"][0]["project"] and top[3] == [dollars(report["rows"][0]["cost_nanodollars"]), str(report["rows"][0]["cost_nanodollars"])]
    person.done()


def test_what_will_this_month_cost(office, page):
    person = Person(page, office.admin)
    today = datetime.datetime.now(datetime.timezone.utc)
    end = (today.replace(day=1) + datetime.timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    days = {row["day"]: row["cost_nanodollars"] for row in savings(office, "--since", day(40), "--by", "day")["rows"]}
    month = sum(cost for when, cost in days.items() if when[:7] == today.strftime("%Y-%m"))
    want = month + sum(days.get(day(ago), 0) for ago in range(1, 8)) / 7 * (end - today).total_seconds() / 86400
    assert page.value("#forecast") == pytest.approx(want, rel=1e-3) and page.text("#forecast") == dollars(page.value("#forecast"))
    # It is on the first screen, without a click.
    assert page.js("document.getElementById('forecast').getBoundingClientRect().bottom < innerHeight")
    person.done()


def test_which_model_is_unpriced_and_what_do_i_do(office, page):
    person = Person(page, office.admin)
    assert "Unpriced" in page.text("[data-trust=unpriced]") and "the option prices names" in page.text("#price")
    person.click("[data-trust=unpriced] [data-narrow=model]", "unheard-of")
    page.until("document.querySelectorAll('#groups tbody tr').length === 1")
    row = page.rows("#groups")[0]
    assert row[0][0] == "unheard-of" and row[3][0] == "unpriced" and row[6][0] == "\u2013"
    assert int(row[1][1]) == savings(office, "--since", "30d", "--model", "unheard-of")["totals"]["requests"]
    person.done()


def test_why_did_this_request_fail(office, page):
    """Who asks has the id that the client got as x-request-id."""
    done = cli("ledger", "export", "--ledger", office.home, "--code", "upstream_auth_unavailable")
    refused = json.loads(done.out.splitlines()[-1])
    person = Person(page, office.admin)
    person.click("#views [data-view=requests]")
    page.until("document.getElementById('requests-id')?.checkVisibility()")
    person.click("#requests-id")
    page.keys(*refused["id"], "ENTER")
    page.until("document.getElementById('request-id')?.textContent === %s" % json.dumps(refused["id"]))
    assert page.text("#request-state") == "Refused: 502 upstream_auth_unavailable"
    assert "The credential of the route, or of each member of its pool, is missing" in page.text("#request-what")
    assert "spoa-llm check" in page.text("#request-todo")
    person.done()


def test_which_upstream_is_slow(work, page):
    """One of four upstreams takes a hundred times as long as the others: it stands first in Operation, and one click more leaves its requests alone."""
    maker = Maker(seed=8, span_ms=5 * DAY)
    entries = [maker.one(kind="reported", route=route, backend="llm-" + route, trs=7000 if route == "slow-" else 70)
               for route in ("a-", "b-", "slow-", "c-") for _ in range(12)]
    entries = [entry for entry in entries if "member" not in entry.fields]   # of no pool
    slow = sum(entry.fields["route"] == "slow-" for entry in entries)
    with Agent(work, entries) as agent:
        person = Person(page, agent.admin)
        person.click("#views [data-view=operation]")
        page.until("document.querySelectorAll('#upstreams tbody tr').length === 4")
        first, second = page.js("[...document.querySelectorAll('#upstreams tbody tr')].slice(0, 2).map((row) => [row.querySelector('[data-name]').dataset.name, JSON.parse(row.querySelector('[data-ms]').dataset.ms).p95])")
        assert first[0] == "slow-" and first[1] > 20 * second[1], (first, second)
        person.click("#upstreams [data-narrow=route]")
        page.until("document.getElementById('total-requests').dataset.value === '%d'" % slow)
        assert "route=slow-" in page.driver.current_url
        person.done()
