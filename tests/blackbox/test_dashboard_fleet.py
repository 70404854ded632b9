"""The dashboard's switch between this gateway and the fleet, in a real Chromium: figures against `spoa-llm savings --fleet`, what it shows while
PostgreSQL or the shipper is away, and how it looks. The channel behind it: test_fleet_page.py."""
import json
import signal

import fleets
from dashboard import Agent, open_tables, page  # noqa: F401
from harness import until
from loglines import DAY, Maker
from test_dashboard import LOOK, MINUS, dollars, exact  # noqa: F401
from test_dashboard_accessibility import CONTRAST, ax_tree
from test_dashboard_operation import same_as
from test_fleet_page import NAMES, Site, fleet, gateway_of, locked, savings_of_the_fleet, server, site, sites  # noqa: F401

CLICK = "document.querySelector('#scope input[value=%s]').click(); return 0"


def fleet_scope(page, site, view=""):
    page.open(site.agent.admin, "scope=fleet" + (view and "&" + view)).live()
    page.until("document.body.dataset.scope === 'fleet'")
    return page


def command(fleet, by):
    return json.loads(savings_of_the_fleet(fleet, "--json", "--since", "all", "--by", by))


def test_the_switch(fleet, site, page):
    """It changes all figures of the ledger, stands in the address, and outlives a reload; the back button goes back."""
    page.open(site.agent.admin, "since=all").live()
    own, all = fleet.gateways[0].savings("--since", "all")["totals"], command(fleet, "model")["totals"]
    assert own["requests"] < all["requests"] and page.value("#requests") == own["requests"] and page.shown("#scope")
    assert not page.shown("#gateways") and not page.shown("#by [value=gateway]") and "fleet" not in page.text("#saved-title")
    assert "Saved by this gateway" in page.text(".who") and "gateways" not in page.text(".who")
    page.js(CLICK % "fleet")
    page.until("document.body.dataset.scope === 'fleet' && document.body.dataset.ledger === 'ok'")
    assert page.value("#requests") == all["requests"] and page.text("#saved-title") == "Saved to date by the fleet"
    page.driver.back()
    page.until("document.body.dataset.scope === 'gateway' && document.body.dataset.ledger === 'ok'")
    assert page.value("#requests") == own["requests"] and page.js("document.querySelector('#scope input[value=gateway]').checked")
    page.driver.forward()
    page.until("document.body.dataset.scope === 'fleet' && document.body.dataset.ledger === 'ok'")
    assert "scope=fleet" in page.js("location.hash") and "Saved by the gateways" in page.text(".who")
    assert "Saved by the gateways" in page.text("#groups")
    assert "on this gateway" in page.view("operation").text("#now-title")
    page.view("savings").live()
    page.driver.refresh()
    page.live().until("document.body.dataset.scope === 'fleet'")
    assert page.value("#requests") == all["requests"] and page.js("document.querySelector('#scope input[value=fleet]').checked")
    # Another view of the same scope.
    page.js("document.querySelector('#by input[value=gateway]').click(); return 0")
    page.until("document.querySelector('#groups thead th').textContent === 'Gateway'")
    assert page.js("location.hash").endswith("scope=fleet&by=gateway")
    page.js(CLICK % "gateway")
    page.until("document.body.dataset.scope === 'gateway' && document.body.dataset.ledger === 'ok'")
    assert page.value("#requests") == own["requests"] and "scope" not in page.js("location.hash") and page.js("document.querySelector('#by input[value=model]').checked")
    assert "gateways" not in page.js("document.getElementById('main').innerText")
    # An address that somebody else has written.
    page.js("location.hash = '#scope=fleet&by=gateway'; return 0")
    page.until("document.body.dataset.scope === 'fleet' && document.body.dataset.ledger === 'ok'")
    assert page.value("#requests") == all["requests"]
    page.clean()


def test_figures(fleet, site, page):
    """Each figure is that of `savings --fleet`, to the digit."""
    fleet_scope(page, site)
    seen, totals = page.js(LOOK), command(fleet, "model")["totals"]
    assert set(seen["exact"]) == set(totals)
    for name, value in totals.items():
        assert seen["exact"][name] == [str(value), exact(value) if name.endswith("_nanodollars") else format(value, ",")], name
    for name, key in (("saved", "saved_total"), ("cost", "cost"), ("saved-gateway", "saved_gateway"), ("saved-cache", "saved_cache")):
        value = totals[key + "_nanodollars"]
        assert seen["shown"][name] == [str(value), dollars(value), exact(value)]
    for name, key in (("compression", "saved_compression"), ("caching", "saved_cache"), ("routing", "saved_routing")):
        assert seen["kinds"][name][0] == str(totals[key + "_nanodollars"])
    for by in ("model", "route", "project", "client", "member", "gateway"):
        page.js("document.querySelector('#by input[value=%s]').click(); return 0" % by)
        page.until("document.querySelector('#groups caption').textContent === 'By %s'" % by)
        page.js("const more = document.getElementById('groups-all'); if (!more.hidden && more.ariaExpanded !== 'true') more.click(); return 0")
        rows, report = page.rows("#groups"), command(fleet, by)
        assert len(rows) == len(report["rows"])
        for (name, requests, tokens, cost, _, gateway, saved), row in zip(rows, report["rows"]):
            assert name[0] == row[by] or not row[by]
            assert [requests[1], cost[1], gateway[1], saved[1]] == [str(row[key]) for key in (
                "requests", "cost_nanodollars", "saved_gateway_nanodollars", "saved_total_nanodollars")]
    open_tables(page)
    money = page.js("""return [...document.querySelectorAll('#money-table tbody tr')].map((row) => [...row.querySelectorAll('[data-time]')].map((n) => n.dataset.value))""")
    assert money == [[str(row[key]) for key in ("requests", "cost_nanodollars", "estimated_cost_nanodollars", "saved_gateway_nanodollars", "saved_cache_nanodollars")]
                     for row in reversed(command(fleet, "day")["rows"])]
    page.clean()


def test_operation(fleet, site, page):
    """Of all gateways, as far as it is of a period; what stands beside it says that it is of this gateway."""
    fleet_scope(page, site, "view=operation")
    same_as(page, [row for gateway in fleet.gateways for row in gateway.export()])
    assert "on this gateway" in page.text("#now-title") and "on this gateway" in page.text("#lately-details") and page.text("#trend-title") == "Requests to date, of the fleet"
    page.shot("fleet-operation")
    # Of one of them.
    page.open(site.agent.admin, "scope=fleet&view=operation&gateway=" + NAMES[1]).live()
    same_as(page, next(gateway for gateway in fleet.gateways if gateway.name == NAMES[1]).export())
    page.clean()


def test_gateways(fleet, site, page):
    """A line for each: what it cost and saved in the period, how far it is, and whether it decides as most."""
    fleet_scope(page, site)
    rows, sums = page.rows("#gateways"), command(fleet, "gateway")["rows"]
    assert [[cell[0 if at == 0 else 1] for at, cell in enumerate(row[:4])] for row in rows] == [
        [row["gateway"], str(row["requests"]), str(row["cost_nanodollars"]), str(row["saved_total_nanodollars"])] for row in sums]
    assert {row[0][0] for row in rows} == set(NAMES) and all(row[7][0] == site.json("/stats")["version"] for row in rows)
    assert [row[4][0] for row in rows if row[0][0] == NAMES[0]] == ["all requests"]
    # What the others say: lima is behind and has other routes, and nothing is heard of oslo.
    before = fleet.sql("select no, seen from spoa_llm.gateways where name <> 'berlin'")
    fleet.sql("update spoa_llm.gateways set behind = 1234, lag_ms = 200000, seen = now() + interval '1 hour', routes_hash = '0123456789abcdef' where name = 'lima';"
              "update spoa_llm.gateways set seen = now() - interval '3 hours' where name = 'oslo'")
    try:
        page.js("document.querySelector('#since input[value=\"7d\"]').click(); return 0")
        page.until("document.getElementById('gateways').innerText.includes('1,234 changes, for 3 min')")
        by = {row[0][0]: row for row in page.rows("#gateways")}
        assert by["oslo"][4][0].startswith("not heard of for 3 h") and by["lima"][4][0] == "lacks 1,234 changes, for 3 min"
        assert (by["berlin"][6][0], by["lima"][6][0][:16], by["oslo"][6][0]) == ("as most", "other routes for", ""), by
        note = page.text("#fleet-note")
        assert note == "Of 3 gateways; newest requests are still to come from lima; nothing is heard of oslo, whose newest requests are missing."
        assert [page.js("[...document.querySelectorAll('#gateways tbody tr')].find((row) => row.cells[0].textContent === arguments[0]).querySelector('.mark').dataset.level", name)
                for name in NAMES] == ["good", "warn", "bad"]
    finally:
        fleet.sql("update spoa_llm.gateways set behind = 0, lag_ms = 0, routes_hash = '';" + "".join(
            "update spoa_llm.gateways set seen = '%s' where no = %s;" % (seen, no) for no, seen in before))
    page.clean()


def test_no_fleet_no_switch(work, page):
    """Also if the address asks for one."""
    with Agent(work, Maker(seed=3, span_ms=DAY).make(50)) as agent:
        page.open(agent.admin, "scope=fleet&by=gateway").live()
        assert page.value("#requests") == 50 and not page.shown("#scope") and not page.shown("#gateways")
        assert page.js("document.querySelector('#by input[value=model]').checked")
        page.clean()


def test_the_fleet_is_away(fleet, sites, page):
    """In plain words, and without the figures of this gateway under another name; these are there at once when they are chosen."""
    gateway = gateway_of(fleet, "wien", 120, span_ms=DAY)
    site = sites(gateway, ship=False)
    page.open(site.agent.admin).live()
    assert page.value("#requests") == 120
    page.js(CLICK % "fleet")
    page.until("document.body.dataset.ledger === 'failed'", 10)
    assert page.text("#failed").startswith("The fleet’s figures cannot be read: `spoa-llm ship` does not listen at ship_listen") and not page.shown("#groups")
    assert page.text("#saved") == "…" and page.text("#saved-title") == "Saved" and not page.shown("#requests")
    page.js(CLICK % "gateway")
    page.live("ok")
    assert page.value("#requests") == 120 and not page.shown("#failed")
    # Once the shipper runs, the page finds it by itself, and this gateway's requests when they have been shipped.
    page.js(CLICK % "fleet")
    page.until("document.body.dataset.ledger === 'failed'", 10)
    total = command(fleet, "model")["totals"]["requests"] + 120
    site.ship()
    page.live("ok", 30)
    page.until("document.body.dataset.scope === 'fleet'")
    until(lambda: page.value("#requests") == total, 30, lambda: "%s instead of %d requests" % (page.value("#requests"), total))
    assert total == command(fleet, "model")["totals"]["requests"]
    # PostgreSQL hangs: figures that are there stay; whoever goes back to this gateway does not wait.
    with locked(fleet, "spoa_llm.hourly"):
        page.js("document.querySelector('#since input[value=\"30d\"]').click(); return 0")
        assert page.shown("#requests") and page.value("#requests") == total
        page.js("window.began = performance.now(); return 0")
        page.js(CLICK % "gateway")
        page.until("document.body.dataset.scope === 'gateway' && document.body.dataset.ledger === 'ok'", 4)
        assert page.value("#requests") == 120 and page.js("performance.now() - window.began") < 4000
        page.js(CLICK % "fleet")
        page.until("document.body.dataset.ledger === 'failed'", 20)
        assert "canceling statement" in page.text("#failed")
    page.js("document.getElementById('failed-retry').click(); return 0")
    page.live("ok", 30)
    page.clean(r"status of 503")


def test_for_everybody(fleet, site, page):
    """By keyboard and screen reader, light and dark, on a phone. build/screenshots/fleet-*.png are for people to look at."""
    fleet_scope(page, site)
    roles = ax_tree(page)
    assert "Gateways of the fleet, those with the highest cost first" in roles["table"] and "Gateways of the fleet" in roles["region"]
    assert {"This gateway", "Fleet"} <= set(roles["radio"])
    page.js("document.querySelector('#scope input:checked').focus(); return 0")
    page.keys("ARROW_LEFT")
    page.until("document.body.dataset.scope === 'gateway'")
    page.keys("ARROW_RIGHT")
    page.until("document.body.dataset.scope === 'fleet' && document.body.dataset.ledger === 'ok'")
    page.until("document.getElementById('announce').textContent.includes('to date, of the fleet: saved')")
    for name, width in (("light", 1280), ("dark", 1280), ("narrow", 320), ("phone", 360), ("tablet", 768)):
        page.media("dark" if name == "dark" else "light", "reduce")
        page.screen(width, 900)
        assert page.width() <= width
        ratios = page.js(CONTRAST)
        assert len(ratios) > 80 and ratios[0][0] >= 4.5, ratios[:5]
        page.shot("fleet-" + name)
    page.clean()
