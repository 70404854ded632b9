"""What is told about budgets and clients: the member "budgets" of /stats, metrics, reports, and the checks."""
import datetime
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import harness
import keys
from adminserver import admin  # noqa: F401
from harness import JSON, ROOT, chat, until
from test_budgets import CLIENTS as CLIENTS_OF_BUDGETS, KEYS as KEYS_OF_BUDGETS, BudgetGateway
from test_metrics import one, promtool, scrape

KEYS = {name: keys.key(name) for name in ("alice", "bob", "carol", "dora", "eve")}
# A token of gpt-1 costs 1,000 nano-dollars in and 10,000 out.
PRICES = {"gpt-1": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}}
CLIENTS = [keys.entry("eve", KEYS["eve"]),
           keys.entry("dora", KEYS["dora"], enabled=False, budget={"usd": 0, "per": "day"}),
           keys.entry("carol", KEYS["carol"], tokens_per_minute=600),
           keys.entry("bob", KEYS["bob"], budget={"usd": "2.50", "per": "week"}),
           keys.entry("alice", KEYS["alice"], project="search", budget={"usd": "0.01", "per": "day"})]
BUDGET_KEYS = dict(KEYS_OF_BUDGETS, slow=keys.key("slow"))
PROJECTS = [{"name": "search", "budget": {"usd": "0.04", "per": "month"}, "tokens_per_minute": 1000000}]
LINE = {"v": 1, "src": "127.0.0.1:5", "method": "POST", "route": "*", "backend": "b", "protocol": "openai", "model": "gpt-1", "ua": "u", "status": 200, "code": "",
        "term": "--", "stream": "0", "metered": "1", "in": 1, "out": 1, "tr": 0, "tw": 0, "tc": 0, "trs": 1, "ta": 1, "ctype": "application/json", "hb": "", "ha": "",
        "hs": "", "text": "1", "comp": "0", "spoe": "", "keyed": 1}


def line(id, client, project, tokens):
    """The log line of a request with a key that took so many tokens, in and out."""
    return dict(LINE, id=id, te=int(time.time() * 1000), client=client, project=project, usage=': {"prompt_tokens": %d, "completion_tokens": %d}}' % tokens)


def expire(agent):
    """Has what is reserved expire, as hours after the requests. Returns how many reservations there were."""
    [memory] = {os.stat(one.path).st_ino: one.path for one in os.scandir("/proc/%d/fd" % agent.pid) if "spoa-llm-budget" in os.readlink(one.path)}.values()
    return int(subprocess.run([ROOT / "build" / "drivers" / "expire_driver", memory], capture_output=True, text=True, check=True).stdout)


def budgeted(start, work, clients=CLIENTS, projects=PROJECTS, **config):
    """An agent of these clients, with `ask` and `ended`."""
    keys.write(work / "clients.json", clients, projects)
    (work / "budgets-prices.json").write_text(json.dumps(PRICES))
    agent = start(routes=[{"model_prefix": "*", "upstream": "http://127.0.0.1:1"}], clients=str(work / "clients.json"), prices=str(work / "budgets-prices.json"), **config)

    def ask(name, id, output):
        return agent.ask(**dict(keys.ask(KEYS[name]), id=id, body='{"model":"gpt-1","max_tokens":%d}' % output))

    def ended(id, client, project="", tokens=(1, 1)):
        host, port = agent.log_address.split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(harness.log_line(line(id, client, project, tokens), agent.env["SPOA_LLM_LOG_KEY"]), (host, int(port)))
    agent.ask_as, agent.ended = ask, ended
    agent.budgets = lambda: json.loads(agent.http(path="/stats").text)["budgets"]
    agent.account = lambda name: next(one for one in agent.budgets()["accounts"] if one["name"] == name)
    return agent


@pytest.fixture
def agent(admin, work):  # noqa: F811
    return budgeted(admin, work)


def test_stats_tell_what_is_used(agent, work):
    day = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    found = agent.budgets()
    assert found["of"] == found["shown"] == 5
    # Clients that are disabled come last, and before them those without a budget.
    assert [(one["kind"], one["name"]) for one in found["accounts"]] == [
        ("client", "bob"), ("client", "alice"), ("project", "search"), ("client", "carol"), ("client", "dora")]
    assert agent.account("bob") == {
        "kind": "client", "name": "bob", "project": None, "enabled": True, "budget_nano": 2500000000, "per": "week",
        "period_start": int((day - datetime.timedelta(days=day.weekday())).timestamp() * 1000),
        "period_end": int((day + datetime.timedelta(days=7 - day.weekday())).timestamp() * 1000),
        "spent_nano": 0, "charged_nano": 0, "reserved_nano": 0, "elsewhere_nano": 0, "withheld_nano": 0, "used_ratio": 0, "forecast_nano": agent.account("bob")["forecast_nano"], "tokens_per_minute": None,
        "last_refusal": None}
    # Reserved are 700 tokens of output, and those of the body.
    assert agent.ask_as("alice", "r1", 700)["deny"] is False
    alice, search = agent.account("alice"), agent.account("search")
    reserved = alice["reserved_nano"]
    assert 7000000 < reserved < 7100000 and (alice["spent_nano"], alice["used_ratio"], alice["project"]) == (0, 0, "search")
    assert search["reserved_nano"] == reserved and search["per"] == "month" and search["tokens_per_minute"] == 1000000 and search["project"] is None
    # The next one does not fit.
    assert agent.ask_as("alice", "r2", 700)["deny"] is True
    refusal = agent.account("alice")["last_refusal"]
    assert refusal["error"] == "insufficient_quota" and abs(refusal["at"] / 1000 - time.time()) < 60 and agent.account("search")["last_refusal"] is None
    agent.ended("r1", "alice", "search", (300, 800))
    until(lambda: agent.account("alice")["spent_nano"], 10, "the record")
    found = agent.budgets()["accounts"]
    assert [(one["name"], one["spent_nano"], one["reserved_nano"], one["used_ratio"]) for one in found[:2]] == [("alice", 8300000, 0, .83), ("search", 8300000, 0, .2075)]
    assert found[2]["name"] == "bob"
    # The forecast extends what was spent so far over the whole period; in the first hundredth of the period there is none.
    for one in found[:2]:
        length, gone = one["period_end"] - one["period_start"], time.time() * 1000 - one["period_start"]
        if abs(gone / length - .01) > .001:
            assert one["forecast_nano"] == (pytest.approx(8300000 * length / gone, rel=.01) if gone > length / 100 else None), one
    # A limit of tokens alone: the figures are of this month, as `client list` has them.
    assert agent.ask_as("carol", "r3", 500)["deny"] is False and agent.ask_as("carol", "r4", 500)["deny"] is True and agent.ask_as("carol", "r5", 601)["deny"] is True
    agent.ended("r3", "carol", "", (5, 10))
    until(lambda: agent.account("carol")["spent_nano"], 10, "the record")
    carol = agent.account("carol")
    assert (carol["spent_nano"], carol["budget_nano"], carol["per"], carol["used_ratio"], carol["tokens_per_minute"]) == (105000, None, None, None, 600)
    assert carol["period_start"] == int(day.replace(day=1).timestamp() * 1000) and carol["last_refusal"]["error"] == "request_too_large"
    # What the command says, to the digit.
    told = json.loads(harness.cli("client", "list", "--json", "-c", agent.file).out)
    for one in agent.budgets()["accounts"]:
        same = next(two for two in told[one["kind"] + "s"] if two["name"] == one["name"])
        assert same["spent_usd"] == "%d.%09d" % divmod(one["spent_nano"], 10 ** 9), (one, same)


def test_stats_without_clients(admin):  # noqa: F811
    assert json.loads(admin().http(path="/stats").text)["budgets"] is None


def test_metrics_tell_what_is_used(agent, work):
    def metric(what, /, **labels):
        return one(scrape(agent), "spoa_llm_budget_" + what, **labels)
    metrics = scrape(agent)
    assert {dict(key)["name"] for key in metrics["spoa_llm_budget_used_ratio"]} == {"alice", "bob", "search"}
    assert (metric("accounts", kind="client"), metric("accounts", kind="project")) == (4, 1)
    assert (metric("limit_usd", name="alice", kind="client", per="day"), metric("limit_usd", name="search", kind="project", per="month")) == (.01, .04)
    for id in ("r1", "r2", "r3"):
        agent.ask_as("alice", id, 700)
    agent.ask_as("carol", "r4", 601)
    reserved = agent.account("alice")["reserved_nano"]
    assert .007 < metric("reserved_usd", kind="client") < .0071 and metric("reserved_usd", kind="project") == reserved / 1e9
    errors = ("insufficient_quota", "rate_limit_exceeded", "request_too_large", "gateway_unavailable")
    assert [metric("refusals_total", kind="client", name="alice", error=error) for error in errors] == [2, 0, 0, 0]
    assert [metric("refusals_total", kind="client", name="carol", error=error) for error in errors] == [0, 0, 1, 0]
    assert one(scrape(agent), "spoa_llm_refusals_total", code="insufficient_quota") == 2
    agent.ended("r1", "alice", "search", (300, 800))
    until(lambda: metric("spent_usd", kind="client", name="alice") == .0083, 10, "the record")
    assert (metric("used_ratio", kind="client", name="alice"), metric("used_ratio", kind="project", name="search")) == (.83, .2075)
    # A request whose record does not come.
    assert agent.ask_as("bob", "r5", 100)["deny"] is False and expire(agent) == 1
    until(lambda: metric("charged_requests_total") == 1, 15, "the charge")
    bob = agent.account("bob")
    assert bob["charged_nano"] > 1000000 and bob["reserved_nano"] == 0 and metric("charged_usd", kind="client") == bob["charged_nano"] / 1e9 == metric("spent_usd", name="bob")
    agent.ended("r5", "bob", "", (1, 10))
    until(lambda: metric("spent_usd", name="bob") == .000101, 10, "the record that comes later")
    assert agent.account("bob")["charged_nano"] == metric("charged_usd", kind="client") == 0 and metric("charged_requests_total") == 1
    # A worker that takes over counts on.
    agent.upgrade()
    assert metric("refusals_total", kind="client", name="alice", error="insufficient_quota") == 2
    run = promtool("check", "metrics", text=agent.http(path="/metrics").text)
    assert run.returncode == 0 and not run.stdout.strip() and not run.stderr.strip(), run


def test_a_hundred_are_shown(admin, work):  # noqa: F811
    """Those that have used the largest share, whatever their place in the file."""
    clients = [{"name": "client-%03d" % i, "budget": {"usd": "0.01", "per": "day"}, "keys": [{"sha256": keys.sha256(str(i)).hex()}]} for i in range(130)]
    agent = budgeted(admin, work, clients, [])
    with agent.client() as haproxy:
        for i in range(130):
            haproxy.ask(**dict(keys.ask(), key=keys.sha256(str(i)), id="r%d" % i, body='{"model":"gpt-1","max_tokens":100}'))
    for i in range(130):
        agent.ended("r%d" % i, "client-%03d" % i, tokens=(1, 10 + i))
    until(lambda: sum(one["spent_nano"] > 0 for one in agent.budgets()["accounts"]) == 100, 10, "the records")
    until(lambda: agent.budgets()["accounts"][0]["name"] == "client-129", 10, "the last record")
    found = agent.budgets()
    assert (found["of"], found["shown"]) == (130, 100)
    assert [one["name"] for one in found["accounts"]] == ["client-%03d" % i for i in range(129, 29, -1)]
    metrics = scrape(agent)
    for name in ("used_ratio", "limit_usd", "spent_usd"):
        assert len(metrics["spoa_llm_budget_" + name]) == 100
    assert one(metrics, "spoa_llm_budget_accounts", kind="client") == 130


@pytest.fixture
def gateway(haproxy, make_mock):
    mock = make_mock("reported")
    clients = CLIENTS_OF_BUDGETS + [keys.entry("slow", BUDGET_KEYS["slow"], requests_per_minute=1, budget={"usd": 1, "per": "day"})]
    with BudgetGateway(haproxy, mock, clients, config={"admin_listen": "127.0.0.1:%d" % harness.free_port()}) as gateway:
        gateway.mock, gateway.agent.admin = mock, gateway.config["admin_listen"]
        until(lambda: harness.accepting(gateway.agent.admin), 5, "the admin server accepts")
        yield gateway


def test_reports_have_the_clients_of_keys(gateway):
    """Whatever headers say. A request that is refused for a budget is counted once."""
    def ask(name, *headers, **more):
        exchange = gateway.call("POST", "/v1/chat/completions", JSON + ([("x-llm-key", BUDGET_KEYS[name])] if name else []) + list(headers), chat("gpt-1", **more))
        ids[exchange.response.header("x-request-id")] = exchange.status
        return exchange

    def command(*args):
        return harness.cli(*args, "-c", gateway.agent.file).out
    ids = {}
    spoofed = [("x-client", "mallory"), ("x-headroom-project", "theirs")]
    known = ask("project one", *spoofed, max_tokens=100)
    assert known.status == 200 and ask("project one", max_tokens=100000).status == 429
    assert ask(None, ("x-client", "project one"), max_tokens=100).status == 200
    gateway.mock.respond = lambda _: (200, JSON, b'{"id": "c"}')
    untold = ask("project one", max_tokens=100)
    gateway.mock.respond = None
    gateway.wait_rows(len(ids))
    rows = {row["id"]: row for row in map(json.loads, command("ledger", "export").splitlines())}
    assert {id: row["status"] for id, row in rows.items()} == ids
    assert [(row["client"], row["project"]) for row in rows.values() if row["keyed"]] == [("project one", "search")] * 3
    assert [(row["client"], row["keyed"]) for row in rows.values() if not row["keyed"]] == [("project one", False)]
    row = rows[untold.response.header("x-request-id")]
    charged = row["charged_nanodollars"]
    assert row["usage_from"] == "unknown" and 1000000 < charged < 1100000 and not row["cost_nanodollars"]
    cost = rows[known.response.header("x-request-id")]["cost_nanodollars"]
    assert cost == 81000
    # Cost is what was used and has a price, whoever asked; what was spent of a budget is that of keys, and what was charged for.
    [by] = [row for row in json.loads(command("savings", "--by", "client", "--json"))["rows"] if row["client"] == "project one"]
    assert (by["requests"], by["cost_nanodollars"], by["unknown_requests"]) == (4, 2 * cost, 1)
    budgets = {one["name"]: one for one in gateway.agent.http(path="/stats").json()["budgets"]["accounts"]}
    assert budgets["search"]["spent_nano"] == cost + charged and budgets["search"]["last_refusal"]["error"] == "insufficient_quota"
    [search] = [one for one in json.loads(command("client", "list", "--json"))["projects"] if one["name"] == "search"]
    assert search["spent_usd"] == "0.%09d" % (cost + charged)
    metrics = scrape(gateway.agent)
    assert one(metrics, "spoa_llm_budget_refusals_total", name="search", kind="project", error="insufficient_quota") == 1
    assert one(metrics, "spoa_llm_refusals_total", code="insufficient_quota") == 1


def test_refusals_of_haproxy_are_told(gateway):
    """Those for a client's key or limits that HAProxy finds by itself; the agent counts its own ones, with the same codes."""
    def post(*headers, **more):
        return gateway.call("POST", "/v1/chat/completions", JSON + list(headers), chat("gpt-1", **more)).status

    def key(name):
        return "x-llm-key", BUDGET_KEYS[name]
    assert [post(key("slow"), max_tokens=1) for _ in range(3)] == [200, 429, 429]
    assert [post(key("minute"), max_tokens=550) for _ in range(2)] == [200, 429]    # by the agent, for its tokens
    assert post(("x-notes", BUDGET_KEYS["other"])) == 400 and post(("x-api-key", BUDGET_KEYS["other"]), key("any")) == 400
    wanted = {("haproxy", "rate_limit_exceeded"): 2, ("haproxy", "misplaced_api_key"): 1, ("agent", "rate_limit_exceeded"): 1, ("agent", "ambiguous_api_key"): 1}

    def counted():
        metrics = scrape(gateway.agent)
        found = {}
        for by, name in (("haproxy", "spoa_llm_haproxy_refusals_total"), ("agent", "spoa_llm_refusals_total")):
            for labels, count in metrics[name].items():
                if count:
                    found[by, dict(labels)["code"]] = found.get((by, dict(labels)["code"]), 0) + count
        return found
    until(lambda: counted() == wanted, 10, lambda: "refusals: %s" % counted())
    notes = {(note["by"], note["code"]) for note in gateway.agent.http(path="/stats").json()["refusals"]}
    assert notes == set(wanted)
    assert len(gateway.agent.lines("event=refused_by_haproxy .*code=rate_limit_exceeded route=")) == 2
    until(lambda: [one for one in gateway.agent.http(path="/stats").json()["budgets"]["accounts"] if one["name"] == "slow"][0]["last_refusal"], 10, "the record")
    [slow] = [one for one in gateway.agent.http(path="/stats").json()["budgets"]["accounts"] if one["name"] == "slow"]
    assert slow["last_refusal"]["error"] == "rate_limit_exceeded"


def test_clients_that_cannot_be_used_are_told(work):
    """A file without a mistake, of clients whose budgets cannot be counted, because no ledger is kept."""
    def check():
        [found] = [one for one in agent.http(path="/readyz").json()["checks"] if one["part"] == "clients"]
        return found["ok"], found["detail"]

    def asked(value):
        with agent.client() as haproxy:
            got = haproxy.ask(**keys.ask(value))
            return got.get("status", 200)
    file, plain = work / "clients.json", [keys.entry("eve", KEYS["eve"])]
    keys.write(file, plain)
    admin = "127.0.0.1:%d" % harness.free_port()
    with harness.Agent(work, {"routes": [{"model_prefix": "*", "upstream": "http://127.0.0.1:1"}], "clients": str(file), "admin_listen": admin}) as agent:
        until(lambda: harness.accepting(admin), 5, "the admin server accepts")
        assert check()[0] and asked(KEYS["eve"]) == 200
        keys.write(file, CLIENTS)
        agent.log("event=clients_not_loaded")
        until(lambda: not check()[0], 5, "the check fails")
        ok, detail = check()
        assert detail.startswith("as they were at ") and 'need the option "ledger"' in detail, detail
        until(lambda: agent.http(path="/metrics").text.count('spoa_llm_check_ok{part="clients",blocking="false"} 0'), 5, "the metric")
        # A worker that takes the place of one that crashed starts nevertheless.
        os.kill(agent.pid, signal.SIGKILL)
        until(lambda: len(agent.lines("event=ready")) == 2, 10, "another worker")
        agent.process.expected = True
        until(lambda: harness.accepting(admin), 5, "the admin server accepts")
        assert asked(KEYS["eve"]) == 503 and check()[1].startswith("keys are refused")
        assert len(agent.lines("event=clients_not_loaded")) == 2
        keys.write(file, plain)
        until(lambda: asked(KEYS["eve"]) == 200, 5, "the file is in use")
        assert check()[0]
