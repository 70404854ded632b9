"""The dashboard for everybody, in a real Chromium: keyboard, screen reader, phone, contrast in light and dark, no motion."""
import time

import pytest

from dashboard import full, open_tables, page  # noqa: F401


MOST_STOPS = 120


def tab_through(page):
    """Presses Tab from the page's top to its end. Returns what had the focus; each of it showed that."""
    seen, unseen = [], []
    for _ in range(MOST_STOPS):
        page.keys("TAB")
        name, visible = page.js("""const n = document.activeElement;
            if (n === document.body) return [null, true];
            const mark = n.type === 'radio' ? n.nextElementSibling : n, style = getComputedStyle(mark), box = mark.getBoundingClientRect();
            return [n.name || n.id || n.dataset.sort || n.dataset.narrow || n.dataset.csv || n.dataset.view || n.parentElement.id, n.matches(':focus-visible') && style.outlineStyle !== 'none' &&
                parseFloat(style.outlineWidth) >= 2 && box.width > 8 && box.height > 8 && box.right > 0 && box.bottom > 0]""")
        if name is None:
            break
        seen.append(name)
        unseen += [] if visible else [name]
    assert not unseen, unseen
    return seen


def test_keyboard(full, page):
    """Everything that can be operated is reached by Tab, shows that it has the focus, and obeys the keys."""
    page.open(full.admin, "since=30d").live()
    seen = tab_through(page)
    doubts = page.js("document.querySelectorAll('#trust-list [data-narrow]').length")
    assert seen == ["skip", "savings", "operation", "requests", "since", "dates", "add", "copy", "print"] + ["model"] * doubts + [
        "exact", "split", "unit", "time", "money-table", "tokens-table", "by", "groups", "requests", "tokens", "cost", "gateway", "saved"] + (
        ["model"] * len(page.rows("#groups"))) + (["groups-all"] if page.shown("#groups-all") else []), seen

    # The arrow keys choose in a radio group; the figures and the hash of the address follow.
    page.js("document.querySelector('[name=since]:checked').focus(); return 0")
    page.keys("ARROW_RIGHT")
    page.until("location.hash.includes('since=month')")
    page.keys("ARROW_RIGHT")
    page.until("location.hash.includes('since=all')")
    page.until("document.getElementById('requests').dataset.value === '%d'" % len(full.wants))
    assert page.text("#saved-title") == "Saved to date"
    page.until("document.querySelector('[name=unit]:checked').value === 'week'")
    page.js("document.querySelector('[name=unit]:checked').focus(); return 0")
    page.keys("ARROW_RIGHT")
    page.until("location.hash.includes('unit=month')")
    assert not page.shown("[name=unit][value=hour]")
    page.js("document.querySelector('[name=by]:checked').focus(); return 0")
    page.keys("ARROW_RIGHT")
    page.until("document.querySelector('#groups th').textContent === 'Route'")
    # The choices are in the address, so they survive a reload, and a link keeps them.
    page.driver.refresh()
    page.live()
    assert page.js("[...document.querySelectorAll('input:checked')].filter((n) => n.checkVisibility()).map((n) => n.value)") == ["all", "month", "route"]
    # Tables open and sort; the focus stays where it was.
    page.js("document.querySelector('#money-table summary').focus(); return 0")
    page.keys("ENTER")
    page.until("document.querySelectorAll('#money-table tbody tr').length > 0")
    for name, order in (("saved", "descending"), ("saved", "ascending"), ("cost", "descending")):
        page.js("document.querySelector('[data-sort=%s]').focus(); return 0" % name)
        page.keys("ENTER")
        page.until("document.querySelector('[data-sort=%s]').parentElement.ariaSort === '%s'" % (name, order))
        values = [int(row[6 if name == "saved" else 3][1]) for row in page.rows("#groups")]
        assert values == sorted(values, reverse=order == "descending") and len(values) > 2
        assert page.js("document.activeElement.dataset.sort") == name
    # The link that skips to the content is the first that Tab reaches, and does not change what the page shows.
    page.driver.refresh()
    page.live()
    page.keys("TAB", "ENTER")
    assert page.js("document.activeElement.id") == "main" and "since=all" in page.driver.current_url
    page.clean()


def test_keyboard_in_operation(full, page):
    """The same of Operation: each table's names narrow, and a column sorts, by Enter."""
    page.open(full.admin, "view=operation&since=30d").live()
    seen = tab_through(page)
    names = page.js("return [...document.querySelectorAll('#upstreams [data-narrow], #refusals [data-narrow]')].map((n) => n.dataset.narrow)")
    legends = [["status"] * page.js("document.querySelectorAll('#%s-legend button').length" % id) for id in ("classes", "errors-chart")]
    assert len(names) > 5 and all(legends)
    assert [one for one in seen if one != "upstreams-all"] == ["skip", "savings", "operation", "requests", "since", "dates", "add", "copy", "checks-all", "every"] + legends[0] + [
        "errors"] + legends[1] + ["trend-table", "requests", "failed", "first_byte", "whole"] + names + [
        "lately-details", "explain-model", "explain-path", "explain-key", "explain-more", "explain-form"], seen
    # Sorted by another column, the table is made again, and the focus stays on the column.
    page.js("document.querySelector('#upstreams [data-sort=failed]').focus(); return 0")
    page.keys("ENTER")
    page.until("document.querySelector('#upstreams [aria-sort]').textContent === 'Failed' && document.activeElement.dataset.sort === 'failed'")
    # A name narrows; the new filter can be taken away again.
    page.js("document.querySelector('#refusals [data-narrow]').focus(); return 0")
    page.keys("ENTER")
    page.until("location.hash.includes('code=') && document.querySelector('#chips button')")
    page.js("document.querySelector('#chips button').focus(); return 0")
    page.keys("ENTER")
    page.until("!location.hash.includes('code=') && document.activeElement.parentElement.id === 'add'")
    page.clean()


def ax_tree(page):
    """Returns {role: [names]} of the elements that a screen reader is told of."""
    out = {}
    for node in page.cdp("Accessibility.getFullAXTree", {})["nodes"]:
        if not node.get("ignored"):
            out.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    return out


def test_screen_reader(full, page):
    """Landmarks, one h1, every control and image named, tables with captions, and silence while nothing happens."""
    page.open(full.admin).live()
    open_tables(page)
    page.js("document.getElementById('exact').open = true; return 0")
    roles = ax_tree(page)
    for role, count in (("radio", 12), ("button", 4), ("table", 4), ("image", 2), ("region", 3)):
        assert len(roles.get(role, [])) >= count and all(roles[role]), (role, roles.get(role))
    for role in ("main", "banner", "contentinfo", "navigation", "search"):
        assert len(roles[role]) == 1, role
    assert page.js("document.querySelectorAll('h1').length") == 1
    assert page.js("const ids = [...document.querySelectorAll('[id]')].map((n) => n.id); return ids.filter((id, at) => ids.indexOf(id) !== at)") == []
    levels = page.js("[...document.querySelectorAll('h1,h2,h3')].filter((n) => n.checkVisibility()).map((n) => +n.tagName[1])")
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:])), levels
    assert page.js("[...document.querySelectorAll('table')].every((n) => n.caption.textContent)")
    assert page.js("[...document.querySelectorAll('th')].every((n) => n.scope)")
    # On a phone the style sheet makes rows into blocks, but a screen reader still finds tables.
    page.screen(360, 800)
    narrow = ax_tree(page)
    for role in ("table", "row", "rowheader", "columnheader"):
        assert len(narrow[role]) == len(roles[role]) > 3, role
    assert len(narrow["cell"]) > len(roles["cell"]) * .6
    # The document names the roles too, because not every browser gives an element its role once it is a block.
    assert page.js("""return [['', 'table'], ['thead, tbody', 'rowgroup'], ['tr', 'row'], ['tbody th', 'rowheader'], ['td', 'cell']].every(
        ([part, role]) => [...document.querySelectorAll(part ? `table.fold :is(${part})` : 'table.fold')].every((n) => n.role === role))""")
    page.js("""window.said = [];
        new MutationObserver(() => window.said.push(document.getElementById('announce').textContent))
            .observe(document.getElementById('announce'), { childList: true, characterData: true, subtree: true }); return 0""")
    time.sleep(2.5)
    assert page.js("window.said") == []
    page.js("document.querySelector('[name=since][value=\"7d\"]').click(); return 0")
    page.until("window.said.length > 0")
    assert "in the last 7 days: saved" in page.js("window.said")[-1]
    page.clean()


@pytest.mark.parametrize("width", (320, 360, 768, 1280))
def test_width(full, page, width):
    """The page never needs to be scrolled sideways, even with all tables and messages shown."""
    page.screen(width, 800)
    page.open(full.admin).live()
    open_tables(page)
    page.js("""document.getElementById('exact').open = true;
        for (const id of ['lost', 'failed', 'no-ledger', 'empty', 'locked'])
            document.getElementById(id).hidden = false;
        return 0""")
    assert page.width() <= width
    assert page.js("""return [...document.querySelectorAll('body *')].filter((n) => n.checkVisibility() &&
        !n.closest('.unseen, .skip, .fold thead, legend') && n.getBoundingClientRect().right > innerWidth + 1)
        .map((n) => n.outerHTML.slice(0, 100))""") == []
    page.clean()


# The contrast of each text with its background (WCAG 2, 1.4.3). Disabled controls are left out, because WCAG exempts them too.
CONTRAST = r"""
const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3]));
const light = (c) => {
    const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (n) => {
    for (; n; n = n.parentElement) {
        const c = parse(getComputedStyle(n).backgroundColor);
        if (c[3] === 1)
            return c.slice(0, 3);
    }
    return [255, 255, 255];
};
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), out = [];
for (let t; (t = walk.nextNode()); ) {
    const n = t.parentElement;
    if (!t.data.trim() || !n.checkVisibility() || n.closest('.unseen, .skip, noscript, legend') || n.previousElementSibling?.disabled)
        continue;
    const ground = behind(n), a = light(over(parse(getComputedStyle(n).color), ground)), b = light(ground);
    out.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), t.data.trim().slice(0, 40), n.id || n.className || n.tagName]);
}
return out.sort((x, y) => x[0] - y[0]);
"""


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_contrast(full, page, scheme):
    page.media(scheme, "reduce")
    page.open(full.admin).live()
    open_tables(page)
    page.js("""document.getElementById('exact').open = true;
        for (const id of ['lost', 'failed', 'no-ledger', 'empty', 'locked'])
            document.getElementById(id).hidden = false;
        document.getElementById('token-error').textContent = 'x';
        return 0""")
    for level in ("good", "warn", "bad", "none"):
        page.js("document.getElementById('ready').dataset.level = arguments[0]; return 0", level)
        ratios = page.js(CONTRAST)
        assert len(ratios) > 80 and ratios[0][0] >= 4.5, ratios[:5]
    ground = page.js("getComputedStyle(document.body).backgroundColor")
    assert (int(ground[4:].split(",")[0]) < 60) == (scheme == "dark")
    # The charts take on new colours when the scheme changes while the page is open.
    before = page.js("Chart.getChart('money').data.datasets[2].borderColor")
    page.media("dark" if scheme == "light" else "light", "reduce")
    page.until("Chart.getChart('money').data.datasets[2].borderColor !== '%s'" % before)
    page.clean()


def test_reduced_motion(full, page):
    page.media("light", "reduce")
    page.open(full.admin).live()
    moving = """return [...document.querySelectorAll('*')].filter((n) => { const s = getComputedStyle(n);
        return parseFloat(s.transitionDuration) > 0 || s.animationName !== 'none'; }).length"""
    assert page.js(moving) == 0
    assert page.js("Chart.getChart('money').options.animation === false")
    page.media("light")
    assert page.js(moving) > 0
    page.clean()
