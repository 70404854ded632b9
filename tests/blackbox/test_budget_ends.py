"""What a request costs the budget of its client, by how the request ends; and that only a key spends."""
import json

import pytest

import harness
import keys
from harness import JSON, chat, until, workdir
from ledgers import KEY, OPERATOR, LedgerGateway
from test_two_agents import two

KEYS = {name: keys.key(name) for name in ("down", "limited", "silent", "learning", "forged")}
# A request with max_tokens 100 is reserved more than a million nano-dollars, and costs 81,000 (11 and 7 tokens): each budget suffices for one at a time.
ONE = {"usd": "0.0018", "per": "day"}
CLIENTS = [keys.entry("down", KEYS["down"], budget=ONE),
           keys.entry("limited", KEYS["limited"], budget=ONE, requests_per_minute=1),
           keys.entry("silent", KEYS["silent"], budget=dict(ONE, usd="0.0022")),
           keys.entry("learning", KEYS["learning"], budget={"usd": "0.05", "per": "week"}),
           keys.entry("forged", KEYS["forged"], project="search", budget={"usd": 1, "per": "month"})]
COST = 81000


class EndsGateway(LedgerGateway):
    def __init__(self, haproxy, mock, **more):
        self.mock = mock
        home = workdir()
        keys.write(home / "clients.json", CLIENTS, [{"name": "search", "budget": {"usd": 2, "per": "month"}}])
        price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}
        (home / "prices.json").write_text(json.dumps({"gpt-1": price, "gpt-new": price}))
        routes = [{"model_prefix": "none-", "upstream": mock.url(), "auth": "env:NOT_SET"}, {"model_prefix": "*", "upstream": mock.url(), "auth": "env:LEDGER_KEY"}]
        super().__init__(haproxy, [mock], {"routes": routes, "clients": str(home / "clients.json"), "prices": str(home / "prices.json")}, limits={"LLM_CLIENTS": "on"}, **more)

    def ask_as(self, name, model="gpt-1", headers=(), **more):
        return self.call("POST", "/v1/chat/completions", JSON + [("x-llm-key", KEYS[name])] + list(headers), chat(model, **more))

    def row(self, answer):
        """The ledger's row of a request."""
        return until(lambda: [row for row in self.rows() if row["id"] == answer.header("x-request-id")], 10, "the request's row")[0]

    def listed(self, name, agent=None):
        """What `client list` says: nano-dollars spent and left, of a client or project."""
        done = harness.cli("client", "list", "--json", "-c", (agent or self.agent).file)
        [one] = [one for group in json.loads(done.out).values() for one in group if one["name"] == name]
        return [one[key] and round(float(one[key]) * 1e9) for key in ("spent_usd", "left_usd")]


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock):
    with EndsGateway(haproxy, make_mock("a")) as gateway:
        yield gateway


def test_a_request_that_reaches_no_upstream_costs_nothing(gateway):
    """Neither one that cannot be sent, nor one that HAProxy or the agent refuse after, or before, something was reserved."""
    gateway.mock.down()
    try:
        failed = gateway.ask_as("down", max_tokens=100)
    finally:
        gateway.mock.up()
    assert failed.status == 503 and gateway.row(failed)["keyed"] == 1
    # Had the first one's reservation stayed, this one would be one too many.
    until(lambda: gateway.ask_as("down", max_tokens=100).status == 200, 10, "what was reserved is there again")
    until(lambda: gateway.listed("down")[0] == COST, 10, "only the second one was spent")
    gateway.ask_as("down", "none-1", max_tokens=100).refused(502, "upstream_auth_unavailable", retry=False)

    assert gateway.ask_as("limited", max_tokens=100).status == 200
    until(lambda: gateway.listed("limited")[0] == COST, 10, "the first one is recorded")
    for _ in range(4):      # each is admitted by the agent, and then refused by HAProxy
        beyond = gateway.ask_as("limited", max_tokens=100)
        assert beyond.status == 429 and beyond.json()["error"]["code"] == "rate_limit_exceeded", beyond
        gateway.row(beyond)
    assert gateway.listed("limited") == [COST, 1800000 - COST]


def test_a_request_whose_usage_nobody_knows_costs_what_was_reserved(gateway):
    gateway.mock.respond = lambda request: (200, [("content-type", "application/octet-stream")], b"\0" * 50)
    try:
        answer = gateway.ask_as("silent", max_tokens=100)
    finally:
        gateway.mock.reset()
    assert answer.status == 200
    row = gateway.row(answer)
    assert row["usage_from"] == "unknown" and row["charged"] > 1000000 and (row["cost"] or 0) == 0, row
    assert until(lambda: gateway.listed("silent"), 10, "it is spent") == [row["charged"], 2200000 - row["charged"]]


def test_what_a_model_s_answers_take_is_learned(gateway):
    """Without max_tokens, 4,096 tokens are assumed of a model of which nothing is known, and less once its answers were seen."""
    assert gateway.ask_as("learning", "gpt-new").header("llm-budget-used") == "0.81"
    answer = until(lambda: (lambda one: one.status == 200 and not one.all("llm-budget-used") and one)(gateway.ask_as("learning", "gpt-new")), 10, "short answers are known")
    assert answer.status == 200
    # With max_tokens nothing is assumed.
    assert gateway.ask_as("learning", "gpt-new", max_tokens=4300).header("llm-budget-used") >= "0.86"


def test_project_and_client_are_those_of_the_key(gateway):
    """In the ledger, in its sums, and in what is spent, whatever headers and path say."""
    forged = [("x-client", "down"), ("x-headroom-project", "other")]
    answer = gateway.call("POST", "/p/another/v1/chat/completions", JSON + [("x-llm-key", KEYS["forged"])] + forged, chat("gpt-1", max_tokens=10))
    assert answer.status == 200
    row = gateway.row(answer)
    assert (row["client"], row["project"], row["keyed"], row["cost"]) == ("forged", "search", 1, COST), row
    before = gateway.listed("down")
    without = gateway.call("POST", "/v1/chat/completions", JSON + forged, chat("gpt-1", max_tokens=10))
    row = gateway.row(without)
    assert (row["client"], row["project"], row["keyed"], row["cost"]) == ("down", "other", 0, COST), row
    assert gateway.listed("forged") == [COST, 1000000000 - COST] and gateway.listed("search") == [COST, 2000000000 - COST] and gateway.listed("down") == before
    done = harness.cli("savings", "--by", "project", "--json", "-c", gateway.agent.file)
    assert '"search"' in done.out and '"another"' not in done.out, done


def test_two_agents_that_both_get_the_log_lines_know_what_was_spent(haproxy, make_mock, work):
    """Whichever of them is asked. One that gets none would charge its requests after four hours."""
    lines = '    log "$LLM_LOG_UDP"  len 8192 format rfc5424 local0 info\n'

    def edit(text):
        assert text.count(lines) == 1
        return two(work / "other.sock")(text).replace(lines, lines + lines.replace('"$LLM_LOG_UDP"', "unix@%s" % (work / "other.dgram")))
    with EndsGateway(haproxy, make_mock("a"), edit=edit) as gateway:
        (work / "ledger").mkdir()
        config = dict(gateway.config, listen="unix@%s/other.sock" % work, ledger=str(work / "ledger"), log_listen=["dgram@%s/other.dgram" % work])
        with harness.Agent(work, config, env={"SPOA_LLM_LOG_KEY": KEY, "LEDGER_KEY": OPERATOR}) as other:
            asked = [gateway.ask_as("forged", max_tokens=100) for _ in range(12)]
            assert {one.status for one in asked} == {200}
            for agent in gateway.agent, other:
                until(lambda agent=agent: gateway.listed("forged", agent)[0] == 12 * COST, 10, "both know")
            # Nothing of it is reserved any more: the budget of another client suffices for one request at a time, and each agent admits it.
            for _ in range(4):
                until(lambda: gateway.ask_as("down", max_tokens=100).status == 200, 10, "the record of the one before")
