"""What is seen of pools: which member served, who was tried before and why, in the ledger, the sums, metrics, /stats and the log."""
import json

import pytest

import harness
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
    assert checks["pools"]["ok"] and checks["pools"]["detail"] == "1 pools; members that rest: 1", checks

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
    """It is no refusal of the gateway's: what a leg answers in place of the upstream is recorded as without a pool."""
    gateway.by_name["a"].raw = b""
    answer = gateway.ask("two-1")
    assert answer.status == 502
    row = gateway.by_id(1)[answer.header("x-request-id")]
    assert (row["member"], row["code"], row["status"], row["termination"], row["ttfb_ms"]) == ("a", "", 502, "SH", None), row
    metrics = scrape(gateway.agent)
    assert of(metrics, "spoa_llm_member_unanswered_total", member="a") == 1
    assert of(metrics, "spoa_llm_haproxy_refusals_total", code="upstream_error", route="two", backend="pool.two") == 1
