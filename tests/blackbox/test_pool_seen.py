"""What the ledger, its sums, the reports, metrics, /stats, the page and the log say of pools: which member served, which were tried before it, and why those
did not serve."""
import csv
import io
import json
import re
import signal
import time

import pytest

import harness
import wire
from dashboard import page  # noqa: F401
from harness import until
from ledgers import LedgerGateway
from pools import PoolGateway, asked, declines, pool
from test_metrics import scrape


class Seen(PoolGateway, LedgerGateway):
    pass


@pytest.fixture
def gateway(haproxy, make_mock):
    mocks = {name: make_mock(name) for name in "abc"}
    routes = [pool(mocks, "two", names="abc"), {"model_prefix": "plain-", "upstream": mocks["c"].url()}]
    admin = "127.0.0.1:%d" % harness.free_port()
    with Seen(haproxy, list(mocks.values()), {"routes": routes, "admin_listen": admin}, env={"B_two": None}) as one:
        until(lambda: harness.accepting(admin), 5, "the admin server accepts")
        yield one
    for mock in mocks.values():
        mock.reset()


def of(metrics, name, **labels):
    return sum(value for key, value in metrics.get(name, {}).items() if set(labels.items()) <= set(key))


def test_who_served_and_why(gateway):
    """b has no credential; a declines once, and comes back."""
    a = gateway.by_name["a"]
    first = gateway.ask("two-1")
    a.respond = declines(429, 2)
    second = gateway.ask("two-1")
    gateway.agent.log("event=member_rests .*route=two member=a status=429 seconds=2")
    a.reset()
    third = gateway.ask("two-1")
    plain = gateway.ask("plain-1")
    assert [asked(one) for one in (first, second, third, plain)] == ["a", "ac", "c", "c"]

    metrics = scrape(gateway.agent)
    assert of(metrics, "spoa_llm_member_resting", route="two", member="a") == 1 == of(metrics, "spoa_llm_member_resting")
    stats = {one["name"]: one for one in gateway.agent.http(path="/stats").json()["members"]}
    assert [stats[name]["usable"] for name in "abc"] == [True, False, True]
    assert 1 <= stats["a"]["rest_s"] <= 2 and stats["a"]["rest_status"] == 429 and stats["c"]["rest_s"] == 0, stats

    checks = {one["part"]: one for one in gateway.agent.http(path="/readyz").json()["checks"]}
    assert checks["pools"]["ok"] and checks["pools"]["detail"] == "1 pools can serve; members that rest: 1", checks

    rows = gateway.by_id(4)
    seen = [rows[one.header("x-request-id")] for one in (first, second, third, plain)]
    assert [(row["member"], row["attempts"], row["tried"]) for row in seen] == [("a", 1, ""), ("c", 2, "a:429"), ("c", 1, ""), ("", 0, "")], seen
    assert [row["backend"] for row in seen[:3]] == ["pool.two"] * 3

    sums = json.loads(harness.cli("savings", "--by", "member", "--json", "-c", gateway.agent.file).out)
    assert {row["member"]: row["requests"] for row in sums["rows"]} == {"two/a": 1, "two/c": 2, "": 1} and sums["totals"]["requests"] == 4
    assert "two/c" in harness.cli("savings", "--by", "member", "-c", gateway.agent.file).out
    assert "ok" in harness.cli("ledger", "verify", "-c", gateway.agent.file).out

    metrics = scrape(gateway.agent)
    assert of(metrics, "spoa_llm_member_attempts_total", member="a") == 2 == of(metrics, "spoa_llm_member_attempts_total", member="c")
    assert of(metrics, "spoa_llm_member_declines_total", route="two", member="a", why="429") == 1 == of(metrics, "spoa_llm_member_declines_total")
    assert of(metrics, "spoa_llm_member_answers_total", member="c", **{"class": "2xx"}) == 2
    assert of(metrics, "spoa_llm_member_unanswered_total") == 0

    gateway.agent.log("event=member_back route=two member=a")
    assert asked(gateway.ask("two-1")) == "a"
    assert of(scrape(gateway.agent), "spoa_llm_member_resting") == 0


def test_the_error_of_a_member_is_the_upstreams(gateway):
    """A member gives no answer, so its leg answers in place of the upstream. The record is the same as for a route without a pool: no refusal by the gateway."""
    gateway.by_name["a"].raw = b""
    answer = gateway.ask("two-1")
    assert answer.status == 502
    row = gateway.by_id(1)[answer.header("x-request-id")]
    assert (row["member"], row["code"], row["status"], row["termination"], row["ttfb_ms"]) == ("a", "", 502, "SH", None), row
    metrics = scrape(gateway.agent)
    assert of(metrics, "spoa_llm_member_unanswered_total", member="a") == 1
    assert of(metrics, "spoa_llm_haproxy_refusals_total", code="upstream_error", route="two", backend="pool.two") == 1


@pytest.fixture
def four(haproxy, make_mock):
    """A pool of four: a broke a stream off, and rests; b cannot be reached; c serves, but once gave no answer; d has no credential."""
    mocks = {name: make_mock(name) for name in "abcd"}
    admin = "127.0.0.1:%d" % harness.free_port()
    with Seen(haproxy, list(mocks.values()), {"routes": [pool(mocks, "four", names="abcd")], "admin_listen": admin}, env={"D_four": None}) as one:
        until(lambda: harness.accepting(admin), 5, "the admin server accepts")
        mocks["a"].break_after = 1
        with pytest.raises(wire.Cut):
            one.ask("four-1", stream=True)
        mocks["a"].respond = declines(429, 100)
        # b keeps no connection open: a request that is on its way over a connection that b has just closed may have been run, so it would not go on to c.
        mocks["b"].extra_headers = [("Connection", "close")]
        assert asked(one.ask("four-1")) == "ab"
        # HAProxy stands still meanwhile, because two of its checks, a second apart, would tell it that b is down before the request does.
        one.haproxy.stop()
        mocks["b"].down()
        one.haproxy.kill(signal.SIGCONT)
        one.began = time.time()
        assert [asked(one.ask("four-1")) for _ in "12"] == ["c", "c"]
        mocks["c"].raw = b""
        one.lost = one.ask("four-1").header("x-request-id")
        mocks["c"].raw = None
        one.by_id(5)
        yield one
        if not mocks["b"].listener.fileno() >= 0:
            mocks["b"].up()
    for mock in mocks.values():
        mock.reset()


def table(*command):
    return list(csv.DictReader(io.StringIO(harness.cli(*command).out)))


def test_each_member_is_told_apart(four):
    """Commands, metrics, /explain, /readyz and the log say the same of the four members."""
    of_file = ["-c", four.agent.file]
    answers = {"1xx": 0, "2xx": 1, "3xx": 0, "4xx": 0, "5xx": 0}
    declined = dict.fromkeys(("429", "500", "502", "503", "504", "529", "unreachable", "resting", "credential", "other"), 0)
    members = json.loads(harness.cli("upstreams", "--by", "member", "--json", *of_file).out)["members"]
    want = {"a": (2, answers, 1, 0, dict(declined, **{"429": 1})), "b": (2, answers, 0, 0, dict(declined, unreachable=1)), "c": (3, dict(answers, **{"2xx": 2}), 0, 1, declined)}
    assert {one["member"]: tuple(one[key] for key in ("attempts", "answers", "broken_off", "unanswered", "declined")) for one in members} == want, members
    assert {one["route"] for one in members} == {"four"}
    rows = {row["member"]: row for row in table("upstreams", "--by", "member", "--csv", *of_file)}
    assert [rows["a"][key] for key in ("route", "attempts", "2xx", "broken_off", "declined_429")] == ["four", "2", "1", "1", "1"], rows
    assert rows["b"]["declined_unreachable"] == rows["c"]["unanswered"] == "1", rows
    text = harness.cli("upstreams", "--by", "member", *of_file).out
    for line in (r"four +a +1 +0 +0 +0 +1 +0  429: 1", r"four +b +1 +0 +0 +0 +0 +0  unreachable: 1", r"four +c +2 +0 +0 +0 +0 +1"):
        assert re.search("(?m)^%s$" % line, text), text
    assert "spoa-llm upstreams --by member" in harness.cli("upstreams", *of_file).out
    done = harness.cli("upstreams", "--by", "model", *of_file)
    assert done.code == 64 and 'spoa-llm: --by "model": backend or member is expected' in done.err
    assert harness.cli("upstreams", "--by", "member", "--until", "2020-01-01", "--since", "2019-01-01", *of_file).out == "no request went to a pool in this time\n"

    assert {row["member"]: row["requests"] for row in table("savings", "--by", "member", "--csv", *of_file)} == {"four/a": "1", "four/b": "1", "four/c": "3"}
    rows = [(row["member"], row["attempts"], row["tried"], row["termination"]) for row in table("ledger", "export", "--csv", *of_file)]
    assert rows[1:] == [("b", "2", "a:429", "--"), ("c", "2", "b:unreachable", "--"), ("c", "1", "", "--"), ("c", "1", "", "SH")] and rows[0][:3] == ("a", "1", ""), rows

    metrics = scrape(four.agent)
    assert of(metrics, "spoa_llm_member_cut_answers_total", member="a") == 1 == of(metrics, "spoa_llm_member_cut_answers_total")
    assert of(metrics, "spoa_llm_member_declines_total", member="b", why="unreachable") == 1
    assert [of(metrics, "spoa_llm_member_unanswered_total", member=name) for name in "abcd"] == [0, 0, 1, 0]
    # A member that was not asked yet has series too, which are 0, because an alert on an increase needs them.
    assert [value for key, value in metrics["spoa_llm_member_attempts_total"].items() if ("member", "d") in key] == [0], metrics["spoa_llm_member_attempts_total"]

    told = four.agent.http(path="/explain?model=four-1").json()["pool"]
    assert (told["balance"], told["retry_on"], told["retries"]) == ("first", [429, 503, 529], 3)
    why = {one["name"]: one.get("passed_over") for one in told["members"]}
    assert re.fullmatch(r"rests for \d+ more seconds, because its upstream answered 429", why["a"]) and why["d"] == "no credential: the variable is not set", why
    assert why["b"] is why["c"] is None

    assert " member=c " in four.agent.log("event=refused_by_haproxy id=%s .*code=upstream_error" % four.lost)
    four.agent.log('event=credential_missing auth=env:D_four route=four/d .*instead="its pool does without this member"')
    checks = {one["part"]: one for one in four.agent.http(path="/readyz").json()["checks"]}
    assert checks["pools"]["ok"] and checks["credentials"]["detail"] == "1 of 4 credentials are missing (four/d), so pools do without these members", checks
    # If c rests, too, only b is left for the agent, and HAProxy cannot reach b.
    four.by_name["c"].respond = declines(529, 50)
    assert four.ask("four-1").status == 529
    four.by_name["b"].respond = declines(503, 60)
    four.by_name["b"].up()
    assert until(lambda: [one for one in [four.ask("four-1")] if asked(one) == "b"], 15, "HAProxy finds b again")[0].status == 503
    checks = {one["part"]: one for one in four.agent.http(path="/readyz").json()["checks"]}
    assert checks["pools"] == dict(checks["pools"], ok=False, blocking=False,
                                   detail="1 of 1 pools refuse every request now, because each of their members rests or has no credential: four"), checks
    assert four.ask("four-1").json()["error"]["code"] == "upstream_resting"


def test_the_page(four, page):  # noqa: F811
    """The page shows the state of each member in words and by the shape of a mark, what came of its requests, and what they cost."""
    page.open(four.agent.admin, "by=member").live().view("operation")
    page.until("document.querySelectorAll('#members tbody tr').length === 4")

    def rows():
        return {row[1][0]: [cell[0] for cell in row] for row in page.rows("#members")}

    def levels():
        return page.js("[...document.querySelectorAll('#members .mark')].map((n) => n.dataset.level)")
    shown = rows()
    assert [shown[name][2] for name in "abcd"] == [four.by_name[name].url() for name in "abcd"], shown
    assert re.fullmatch(r"rests for \d+ (s|min) after 429", shown["a"][3]) and shown["c"][3] == "ready" and shown["d"][3] == "no credential", shown
    at = re.fullmatch(r"not reached at (\d\d):(\d\d):(\d\d)", shown["b"][3])
    assert at and (int(at.group(3)) + 60 * int(at.group(2)) - int(four.began)) % 3600 < 20, shown
    assert levels() == ["warn", "bad", "good", "bad"]
    assert [shown[name][4:] for name in "abcd"] == [["1", "0", "0", "0", "1", "0", "429: 1"], ["1", "0", "0", "0", "0", "0", "unreachable: 1"],
                                                    ["2", "0", "0", "0", "0", "1", ""], ["0", "0", "0", "0", "0", "0", ""]], shown
    assert "pool.four, member c: the upstream closed the connection" in page.js("document.querySelector('#lately tbody tr').textContent")
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 320), ("light", 390)):
        page.media(scheme)
        page.screen(width, 900)
        assert page.width() <= width
        page.shot("pools-%s-%d" % (scheme, width))
    page.view("savings").until("document.querySelectorAll('#groups tbody tr').length === 3")
    assert {row[0][0] for row in page.rows("#groups")} == {"four/a", "four/b", "four/c"}
    # b is back.
    four.by_name["b"].up()
    until(lambda: asked(four.ask("four-1")) == "b", 15, "HAProxy finds b again")
    page.view("operation").until("document.querySelectorAll('#members .mark')[1].textContent === 'ready'")
    page.clean()
