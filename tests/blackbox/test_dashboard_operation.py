"""The view Operation in Chromium: is all well, and what to do if not; figures over time, of upstreams and of refusals against what the commands
say of the same requests."""
import collections
import json

import pytest

import spop
from dashboard import Agent, full, page  # noqa: F401
from harness import cli

FILTERS = [{}, {"model": "gpt-5.5*", "status": "5xx"}, {"member": "next"}]


def ask(agent, *words):
    done = cli(*words, "--ledger", agent.home)
    assert done.code == 0, done
    return done.out


def quantile(values, percent):
    """The percentile of the values by nearest rank, rounded half up to two significant digits."""
    if not values:
        return None
    value = sorted(values)[-(-len(values) * percent // 100) - 1]
    step = 10 ** max(0, len(str(value)) - 2)
    return (value + step // 2) // step * step


def times(rows, name):
    values = [row[name] for row in rows if not row["code"] and row[name] is not None]
    return {"p%d" % percent: quantile(values, percent) for percent in (50, 95, 99)}


def shown(ms):
    """A time, already rounded to two digits, as the page writes it: in milliseconds, from a second on in seconds."""
    return "\u2013" if ms is None else "0" if ms == 0 else "%d\u00a0ms" % ms if ms < 1000 else "%g\u00a0s" % (ms / 1000)


def upstreams(page):
    """The table of upstreams: {(route, backend, member): (numbers, times)}."""
    return {tuple(one[:3]): (one[3], one[4]) for one in page.js("""return [...document.querySelectorAll('#upstreams tbody tr')].map((row) => [
        row.querySelector('[data-narrow=route] [data-name]').dataset.name, row.querySelector('.id').title, row.querySelector('[data-narrow=member] [data-name]')?.dataset.name ?? '',
        [...row.querySelectorAll('[data-value]')].map((n) => Number(n.dataset.value)), [...row.querySelectorAll('[data-ms]')].map((n) => JSON.parse(n.dataset.ms))])""")}


def show_all(page):
    page.js("for (const id of ['upstreams-all', 'refusals-all']) { const n = document.getElementById(id); if (!n.hidden) n.click(); } return 0")


def same_as(page, rows):
    """All of the period that the view shows is what `ledger export` says of these requests: totals, days, upstreams, refusals."""
    show_all(page)
    assert [page.value("#total-" + name) for name in ("requests", "refused")] == [len(rows), sum(bool(row["code"]) for row in rows)]
    for pane, name in (("first_byte", "ttfb_ms"), ("whole", "total_ms")):
        assert page.js("document.getElementById(arguments[0]).textContent", "total-" + pane) == ", ".join(map(shown, times(rows, name).values()))
    # Each day of the table, which has what the charts have.
    page.js("document.getElementById('trend-table').open = true; return 0")
    page.until("document.querySelectorAll('#trend-table tbody tr').length > 0")
    days = collections.defaultdict(list)
    for row in rows:
        days[row["time"][:10]].append(row)
    table = page.js("""return [...document.querySelectorAll('#trend-table tbody tr')].map((row) => [
        [...row.querySelectorAll('[data-value]')].map((n) => Number(n.dataset.value)), [...row.querySelectorAll('[data-ms]')].map((n) => JSON.parse(n.dataset.ms))])""")
    assert len(table) == len(days)
    for day, (numbers, ms) in zip(sorted(days, reverse=True), table):
        of = days[day]
        classes = collections.Counter(row["status"] // 100 for row in of)
        assert numbers[0] == len(of) and numbers[1] == sum(bool(row["code"]) for row in of), day
        assert numbers[3:7] == [classes[n] for n in (2, 3, 4, 5)] and ms == [times(of, "ttfb_ms"), times(of, "total_ms")], day
    # Upstreams: requests that went to one.
    want = collections.defaultdict(list)
    for row in rows:
        if not row["code"]:
            want[row["route"], row["backend"], row["member"]].append(row)
    got = upstreams(page) if page.shown("#upstreams-card") else {}
    assert set(got) == {key for key in want if key[0] or key[1]}
    for key, (numbers, ms) in got.items():
        assert numbers[0] == len(want[key]) and numbers[3] == sum(row["status"] >= 500 for row in want[key]), key
        assert ms == [times(want[key], "ttfb_ms"), times(want[key], "total_ms")], key
    # Refusals, folded by reason.
    codes = collections.Counter(row["code"] for row in rows if row["code"])
    assert {name: int(value) for name, value in page.js("""return [...document.querySelectorAll('#refusals tbody tr')].map((row) =>
        [row.querySelector('[data-name]').dataset.name, row.querySelector('[data-value]').dataset.value])""")} == codes


@pytest.mark.parametrize("only", FILTERS, ids=lambda only: "-".join(only) or "all")
def test_figures_are_those_of_the_commands(full, page, only):
    flags = [word for name, label in only.items() for word in ("--" + name, label)]
    page.open(full.admin, "view=operation&since=all&" + "&".join("%s=%s" % pair for pair in only.items())).live()
    rows = [json.loads(line) for line in ask(full, "ledger", "export", *flags).splitlines()]
    totals = json.loads(ask(full, "savings", "--json", "--since", "all", *flags))["totals"]
    assert rows and len(rows) == totals["requests"]
    assert [page.value("#total-" + name) for name in ("requests", "failed", "refused")] == [totals[name] for name in ("requests", "failed", "refused")]
    same_as(page, rows)
    page.clean()


def test_upstreams_are_those_of_the_command(full, page):
    """`spoa-llm upstreams` counts the same answers; a click on a column's head sorts by it."""
    page.open(full.admin, "view=operation&since=all").live()
    # The slowest stands first, and has the longest bar.
    widths = page.js("return [...document.querySelectorAll('#upstreams .span .bar i')].map((n) => parseFloat(n.style.width)).filter((_, at) => at % 2 === 0)")
    assert widths[0] == 100 and widths == sorted(widths, reverse=True)
    assert page.js("""return [...document.querySelectorAll('#view-operation canvas')].every((n) => n.getAttribute('role') === 'img' && n.getAttribute('aria-label').length > 20)""")
    show_all(page)
    want = collections.Counter()
    for one in json.loads(ask(full, "upstreams", "--json", "--since", "all"))["upstreams"]:
        n = sum(one["answers"].values()) + sum(one["refused"][code] for code in ("upstream_unavailable", "upstream_timeout", "upstream_error"))
        want[one["route"], one["backend"]] += n
    told = {(one["route"], one["backend"]): one["first_byte_ms"] for one in json.loads(ask(full, "upstreams", "--json", "--since", "all"))["upstreams"]}
    pools = {key[:2] for key in upstreams(page) if key[2]}
    assert {key[:2]: ms[0] for key, (_, ms) in upstreams(page).items() if key[:2] not in pools} == {key: ms for key, ms in told.items() if key not in pools and key[1]}
    got = collections.Counter()
    for (route, backend, _), (numbers, _) in upstreams(page).items():
        got[route, backend] += numbers[0] - numbers[4]  # the command does not count clients that left before the answer
    assert got == +want
    for at, column in ((1, "Requests"), (6, "First byte"), (7, "Whole answer")):
        page.js("[...document.querySelectorAll('#upstreams thead button')].find((n) => n.textContent.startsWith(arguments[0])).click(); return 0", column)
        page.until("document.querySelector('#upstreams [aria-sort]').textContent.startsWith(arguments[0])", 5, column)
        values = [one[0][0] if at == 1 else one[1][at - 6]["p95"] or -1 for one in upstreams(page).values()]
        assert len(values) > 3 and values == sorted(values, reverse=True), column
    # Commands in the advice are marked as such, and neither a time nor a code breaks into two lines.
    assert "`" not in page.text("#refusals") and page.js("document.querySelectorAll('#refusals code').length") > 0
    page.until("[...document.querySelectorAll('#refusals time, #refusals [data-narrow=code]')].every((n) => n.offsetHeight < 30)")
    page.screen(360, 800)
    assert page.width() <= 360
    page.clean()


def test_a_click_narrows(full, page):
    page.open(full.admin, "view=operation&since=30d").live()
    total = page.value("#total-requests")
    page.js("document.querySelector('#refusals [data-narrow=code]').click(); return 0")
    page.until("Number(document.getElementById('total-requests').dataset.value) < arguments[0]", 5, total)
    assert "code=" in page.driver.current_url and page.value("#total-requests") == page.value("#total-refused")
    page.driver.back()
    page.until("Number(document.getElementById('total-requests').dataset.value) === arguments[0]", 5, total)
    # A bar: its day, by hours.
    at = page.js("""const chart = Chart.getChart('classes'), { x, y } = chart.getDatasetMeta(0).data[3], box = chart.canvas.getBoundingClientRect();
        chart.canvas.scrollIntoView(); return [x, y, chart.data.labels[3]]""")
    page.js("""const canvas = document.getElementById('classes'), box = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new MouseEvent('click', { clientX: box.left + arguments[0], clientY: box.top + arguments[1] + 4, bubbles: true })); return 0""", at[0], at[1])
    page.until("document.getElementById('trend-title').textContent.includes(arguments[0])", 5, "on " + at[2])
    assert page.js("document.querySelector('#every input:checked').value") == "hour" and page.js("Chart.getChart('first-byte').data.labels.length") == 24
    # Errors by upstream are another question to the agent.
    page.open(full.admin, "view=operation&since=all&errors=upstream").live()
    failed = collections.Counter()
    for line in ask(full, "ledger", "export").splitlines():
        row = json.loads(line)
        failed[row["backend"]] += not row["code"] and (not 100 <= row["status"] < 400)
    sums = page.js("return Object.fromEntries(Chart.getChart('errors-chart').data.datasets.map((set) => [set.label, set.data.reduce((a, b) => a + b, 0)]))")
    assert sums and all(sums[backend] >= n for backend, n in failed.items() if n), (sums, failed)
    page.clean()


def test_is_all_well(work, page):
    """An agent that no HAProxy has asked; then one that is well; then an alert; then HAProxy is gone for long. On a phone, dark, nothing is wider than the screen."""
    with Agent(work) as agent:
        page.open(agent.admin).live("empty").view("operation")
        page.until("document.querySelector('[data-wrong=HAProxy]')")
        assert "No HAProxy has asked yet" in page.text("#wrong") and "llm.cfg" in page.text("[data-wrong=HAProxy] .detail")
        assert page.js("document.querySelector('#well .mark').dataset.level") == "warn"
        with spop.Client(agent.address):
            pass
        page.until("document.querySelector('#well .mark').dataset.level === 'good' && !document.querySelector('#wrong li')")
        assert page.text("#well").startswith("All is well") and "HAProxy: last heard" in page.text("#well") and "no alert" in page.text("#well")
        with spop.Client(agent.address, max_frame_size=spop.U32(1 << 30)):
            page.until("document.querySelector('[data-wrong=SpoaLlmFrameSize]')")
            told = page.text("[data-wrong=SpoaLlmFrameSize]")
            assert "offers larger frames" in told and "Raise max_memory" in told and "since" in told
            page.screen(360, 800)
            page.media("dark", "reduce")
            assert page.width() <= 360
            page.shot("empty-operation-phone")
        assert page.js("document.querySelector('#checks-all').open") is False
        page.until("/last heard \\d/.test(document.getElementById('well').textContent)")
        # Alerts that fire, and a check that fails, for one reason are one thing to look at, at the worst level of them.
        said = page.js("""const alert = (name, check, what) => ({ name, check, what, severity: "ticket", since: Date.now(), advice: `Advice of ${name}.` });
            return fetch("/stats").then((answer) => answer.json()).then((stats) => import("/operation.js").then((view) => {
                view.live({ ...stats, haproxy: { heard_ms: 1, connections: 1 }, alerts: [alert("A", "credentials", "two are missing"), alert("B", null, "other"), alert("C", "credentials", "7 refused")],
                    checks: [{ part: "credentials", ok: false, blocking: true, detail: "two are missing" }, { part: "log_lines", ok: false, blocking: false, detail: "lines" }] }, false);
                return [document.getElementById("well").innerText, ...[...document.querySelectorAll("#wrong li")].map((n) =>
                    [n.dataset.wrong, n.querySelector(".mark").dataset.level, ...[...n.querySelectorAll("p")].map((p) => p.firstChild.textContent)])];
            }))""")
        assert said[0].startswith("3 things to look at") and said[1:] == [
            ["A", "bad", "two are missing", "7 refused", "Advice of A."], ["B", "warn", "other", "Advice of B."], ["log lines", "warn", "lines"]]
        page.clean()
