"""The dashboard's budgets of clients and projects, and its form that asks what would become of a request, in a real Chromium."""
import json
import socket
import time

import pytest

import harness
import keys
from adminserver import admin  # noqa: F401
from dashboard import page  # noqa: F401
from harness import until
from test_budgets_seen import CLIENTS, KEYS, PROJECTS, budgeted
from test_dashboard import HOSTILE, dollars, exact
from test_dashboard_accessibility import CONTRAST, ax_tree

FIGURES = """return [...document.querySelectorAll('#budgets tbody tr')].map((row) => ({ name: row.querySelector('.name').textContent, text: row.innerText,
    ...Object.fromEntries([...row.querySelectorAll('[data-budget]')].map((n) => [n.dataset.budget, [n.dataset.value, n.textContent, n.title]])),
    bar: [...row.querySelectorAll('.bar i')].map((n) => [n.hidden, n.style.left, n.style.width, n.style.background]) }))"""


def spent(agent, rows):
    """Requests that ended: (client, project, tokens in, tokens out)."""
    for at, (client, project, *tokens) in enumerate(rows):
        agent.ended("%s-%d" % (client, at), client, project, tuple(tokens))
    until(lambda: sum(one["spent_nano"] for one in agent.budgets()["accounts"] if one["kind"] == "client") == sum(a * 1000 + b * 10000 for _, _, a, b in rows), 10,
          "the records", step=.1)


def test_budgets(admin, work, page):
    """Each figure is that of /stats, and what was spent that of `client list`, to the digit; the page follows without a reload."""
    agent = budgeted(admin, work)
    spent(agent, [("alice", "search", 300, 820), ("bob", "", 123457, 1), ("carol", "", 5, 7)])
    assert agent.ask_as("bob", "r1", 50000)["deny"] is False and agent.ask_as("alice", "r2", 5000)["deny"] is True
    until(lambda: agent.account("bob")["reserved_nano"] and agent.account("alice")["last_refusal"], 10, "a look at the accounts", step=.1)
    page.open(agent.admin).live("ok")
    page.until("document.querySelectorAll('#budgets tbody tr').length === 5")
    rows, told = page.js(FIGURES), agent.budgets()["accounts"]
    assert [row["name"] for row in rows] == [one["name"] for one in told] == ["alice", "search", "bob", "carol", "dora"]
    listed = json.loads(harness.cli("client", "list", "--json", "-c", agent.file).out)
    for row, one in zip(rows, told):
        assert row["spent"] == [str(one["spent_nano"]), dollars(one["spent_nano"]), exact(one["spent_nano"])]
        assert row["spent"][0] == next(two for two in listed[one["kind"] + "s"] if two["name"] == one["name"])["spent_usd"].replace(".", "").lstrip("0") or row["spent"][0] == "0"
        assert row["reserved"][0] == str(one["reserved_nano"])
        assert ("budget" in row) == (one["budget_nano"] is not None)
        if one["budget_nano"] is not None:
            assert row["budget"][:2] == [str(one["budget_nano"]), dollars(one["budget_nano"])] and " a %s" % one["per"] in row["text"]
    by = {row["name"]: row for row in rows}
    assert "85.0% of $0.01 a day" in by["alice"]["text"] and "insufficient_quota" in by["alice"]["text"] and "of project search" in by["alice"]["text"]
    assert by["alice"]["bar"][0] == [False, "0%", "85%", "var(--warn)"] and by["alice"]["bar"][1][0] is True, by["alice"]["bar"]
    assert "project" in by["search"]["text"] and "1,000,000 tokens a minute" in by["search"]["text"]
    assert by["bob"]["bar"][0][3] == "var(--rate)" and by["bob"]["bar"][1][0] is False and float(by["bob"]["bar"][1][2][:-1]) == pytest.approx(20, abs=.1)
    assert "no budget" in by["carol"]["text"] and "600 tokens a minute" in by["carol"]["text"] and by["carol"]["bar"] == []
    assert "disabled" in by["dora"]["text"] and "100.0% of $0.00 a day" in by["dora"]["text"]
    # The forecast: what is spent, extended over the day.
    if "forecast" in by["alice"]:
        assert int(by["alice"]["forecast"][0]) >= 8500000 and exact(int(by["alice"]["forecast"][0])) in by["alice"]["forecast"][2]
    page.js("window.stayed = true; return 0")
    agent.ended("r1", "bob", "", (1000, 200000))
    page.until("document.querySelector('#budgets tbody tr .name').textContent === 'bob' || document.querySelector('#budgets tbody tr:nth-child(2) .name').textContent === 'bob'", 15)
    page.until("[...document.querySelectorAll('#budgets tbody tr')].find((row) => row.textContent.startsWith('bob')).innerText.includes('85.0% of $2.50 a week')", 15)
    assert page.js("window.stayed") is True
    for width in (320, 360, 768, 1280):
        page.screen(width, 900)
        assert page.width() <= width and page.shown("#budgets .bar")
    # A file of clients without limits, and the card is gone.
    keys.write(work / "clients.json", [keys.entry("eve", KEYS["eve"])])
    page.until("document.getElementById('budgets-card').hidden", 15)
    page.clean()


def test_what_other_gateways_spend(admin, work, page):
    """It counts in the bar and stands beside what was spent here; when it is not known any more, the page says what is withheld and why."""
    agent = budgeted(admin, work, fleet_uri="postgresql://x@/y", fleet_listen=["dgram@%s/fleet" % work])
    spent(agent, [("alice", "", 0, 100)])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as shipper:
        shipper.connect(str(work / "fleet"))
        shipper.send(json.dumps({"v": 1, "kind": "spent", "pass": 1, "first": True, "day": int(time.time() // 86400), "gateways": 2, "spent": [[4, "alice", 4000000, 0, 0]],
                                 "last": True}).encode())
    page.open(agent.admin).live("ok")
    row = "[...document.querySelectorAll('#budgets tbody tr')].find((row) => row.textContent.startsWith('alice'))"
    page.until(row + "?.innerText.includes('50.0% of $0.01 a day')", 15)
    page.until(row + ".innerText.includes('withheld, because what other gateways spend is not known')", 15)
    [alice], one = [row for row in page.js(FIGURES) if row["name"] == "alice"], agent.account("alice")
    assert (one["spent_nano"], one["elsewhere_nano"], one["withheld_nano"]) == (1000000, 4000000, 2500000)
    assert "on other gateways" in alice["text"] and alice["bar"][0][:3] == [False, "0%", "50%"]
    for what in ("spent", "elsewhere", "withheld"):
        assert alice[what] == [str(one[what + "_nano"]), dollars(one[what + "_nano"]), exact(one[what + "_nano"])]


def test_no_clients_no_budgets(admin, page):
    page.open(admin().admin).live("empty")
    assert not page.shown("#budgets-card") and "Budgets" not in page.js("document.body.innerText")
    page.clean()


def test_many_and_hostile_budgets(admin, work, page):
    """Twenty accounts are shown, and the others by a button; of more than a hundred the page says how many. A name is never markup."""
    # The file of clients takes no quotes and no backslashes in a name.
    names = [name[:60] for name in HOSTILE if not set(name) & set('"\'\\')] + ["client %d" % at for at in range(110)]
    agent = budgeted(admin, work, [{"name": name, "keys": [], "budget": {"usd": 1, "per": "month"}} for name in names], None)
    page.open(agent.admin).live("empty")
    page.until("document.querySelectorAll('#budgets tbody tr').length === 20")
    assert page.text("#budgets-of") == "the 100 that have used most, of %d" % len(names) and page.text("#budgets-all") == "Show 80 more"
    assert page.js("[...document.querySelectorAll('#budgets .name')].map((n) => n.textContent)") == names[:20]
    page.js("document.getElementById('budgets-all').click(); return 0")
    page.until("document.querySelectorAll('#budgets tbody tr').length === 100")
    assert page.text("#budgets-all") == "Show the first 20" and page.js("document.getElementById('budgets-all').ariaExpanded ?? document.getElementById('budgets-all').getAttribute('aria-expanded')") == "true"
    page.screen(320, 900)
    assert page.width() <= 320
    page.clean()


# ---- what would become of a request

FACTS = "return Object.fromEntries([...document.querySelectorAll('#explained-facts div')].map((n) => [n.children[0].textContent, n.children[1].textContent]))"


def explain(page, **fields):
    """Fills in the form and sends it as a person does."""
    for name, value in fields.items():
        if name in ("method", "headers", "body"):
            page.js("document.getElementById('explain-more').open = true; return 0")
        box = page.driver.find_element("id", "explain-" + name)
        box.clear()
        box.send_keys(value)
    before = page.js("document.getElementById('explained-json').textContent + document.getElementById('explain-error').textContent")
    page.js("document.getElementById('explained-json').textContent = ''; document.querySelector('#explain-form > button').click(); return 0")
    page.until("document.getElementById('explained-json').textContent !== '' || document.getElementById('explain-error').textContent !== ''")
    return before


def test_explain_as_a_client(admin, work, page):
    """The form asks with the admin token, by a POST; the key is in its body alone, and the page forgets the key at once."""
    secret = harness.secret("page admin")
    agent = budgeted(admin, work, token="env:ADMIN", env={"ADMIN": secret})
    assert agent.ask_as("alice", "r1", 100)["deny"] is False
    page.open(agent.admin)
    page.until("document.body.dataset.link === 'locked'")
    assert not page.shown("#explain-form")
    page.keys(secret, "ENTER")
    page.live("empty").view("operation")
    assert page.js("document.getElementById('explain-key').type") == "password" and page.js("[...document.querySelectorAll('#explain-form [name]')].length") == 0
    explain(page, body='{"model":"gpt-1","max_tokens":200}', key=KEYS["alice"])
    assert page.js("document.getElementById('explain-key').value") == ""
    assert page.text("#verdict").startswith("Goes to llm-") and page.js("document.getElementById('verdict').dataset.level") == "good"
    facts = page.js(FACTS)
    assert facts["Client"] == "alice, of project search"
    assert facts["Budget"] == "$0.01 a day: $0.00 spent, $0.00 charged, $0.0010 reserved, $0.0090 left" and facts["Budget of the project"].startswith("$0.04 a month"), facts
    assert facts["Would reserve"] == dollars(2001000) + ", for tokens: 1 in and 200 out, as the request says"
    figures = page.js("return [...document.querySelectorAll('#explained-facts [data-value]')].map((n) => Number(n.dataset.value))")
    assert figures[:5] == [10000000, 0, 0, 1001000, 8999000] and figures[-1] == 2001000, figures
    page.clean("status of 401")
    # A request that does not fit; an answer that the gateway refuses; what is wrong with the question.
    explain(page, key=KEYS["alice"], body='{"model":"gpt-1","max_tokens":2000}')
    assert page.text("#verdict") == "Refused: 429 insufficient_quota" and page.js(FACTS)["Because"] == "the client's budget does not suffice"
    explain(page, key="sk-spoa-" + "A" * 43)
    assert page.text("#verdict") == "Refused: 401 invalid_api_key" and "Client" not in page.js(FACTS)
    explain(page, key="no key")
    assert "this is no key of a client" in page.text("#explain-error") and not page.shown("#explained")
    explain(page, headers="authorization: Bearer " + KEYS["bob"])
    assert "a header has the key of a client in it" in page.text("#explain-error") and KEYS["bob"] not in page.text("#explain-error")
    page.js("document.getElementById('explain-headers').value = ''; return 0")
    explain(page, body="", model="gpt-1", path="/v1/messages", headers="anthropic-version: 2023-06-01")
    assert page.text("#verdict").startswith("Goes to") and "Client" not in page.js(FACTS) and '"protocol": "anthropic"' in page.js("document.getElementById('explained-json').textContent")
    # The key went nowhere but into bodies.
    page.clean("status of 40[01]")
    asked = [(method, url, headers) for method, url, headers in page.asked if url.endswith("/explain")]
    assert len(asked) == 6 and all(method == "POST" and headers["authorization"] == "Bearer " + secret for method, url, headers in asked), asked
    assert not [one for one in page.asked if any(key in str(one) for key in KEYS.values())]
    assert not any(key in page.js("return Object.values(localStorage).join() + Object.values(sessionStorage).join() + document.cookie + location.href + document.documentElement.outerHTML")
                   for key in KEYS.values())


def contrasts(page, what):
    for name, width in (("light", 1280), ("dark", 1280), ("narrow", 320), ("phone", 360)):
        page.media("dark" if name == "dark" else "light", "reduce")
        page.screen(width, 900)
        assert page.width() <= width
        ratios = page.js(CONTRAST)
        assert len(ratios) > 50 and ratios[0][0] >= 4.5, ratios[:5]
        page.shot("%s-%s" % (what, name))


def test_for_everybody(admin, work, page):
    """By a screen reader, in light and dark, on a phone. build/screenshots/budgets-*.png are for people to look at."""
    agent = budgeted(admin, work, CLIENTS + [keys.entry("frank", keys.key("frank"), project="search", budget={"usd": 1, "per": "day"})], PROJECTS)
    spent(agent, [("alice", "search", 300, 820), ("bob", "", 123457, 1), ("carol", "", 5, 7), ("frank", "search", 1000, 400000)])
    assert agent.ask_as("bob", "r1", 50000)["deny"] is False and agent.ask_as("alice", "r2", 5000)["deny"] is True
    page.open(agent.admin).live("ok").view("operation")
    explain(page, model="gpt-1", key=KEYS["bob"], headers="x: y")
    roles = ax_tree(page)
    assert {"Model", "Path", "Key of a client", "Method", "Headers, one a line", "Body, instead of a model"} <= set(roles["textbox"]), roles["textbox"]
    assert "What would become of a request?" in roles["region"]
    contrasts(page, "explain")
    page.view("savings")
    page.until("document.querySelectorAll('#budgets tbody tr').length === 6")
    roles = ax_tree(page)
    assert "Budgets of clients and projects in this period, the most used first" in roles["table"]
    assert "Budgets" in roles["region"]
    assert page.js("return [...document.querySelectorAll('#budgets th')].every((n) => n.scope)")
    contrasts(page, "budgets")
    # On a phone a bar is as wide as the card.
    assert page.js("return document.querySelector('#budgets .bar').getBoundingClientRect().width") > 280
    page.clean()
