"""Budgets over a fleet: each gateway knows what clients and projects spend on the others, and goes on with its share while it does not.

FLEET_BUDGETS=120 is the long form: as many seconds of requests, with figures."""
import contextlib
import json
import random
import signal
import sqlite3

import pytest

import fleets
import harness
import keys
import postgres
from harness import until
from test_budgets_seen import KEYS, budgeted
from test_explain_client import command, post
from test_metrics import one as metric, scrape
from test_ship import QUIET, shippers  # noqa: F401

# What budgeted() asks costs about as much as the tokens of output that it may have: 10,000 nano-dollars each.
BUDGET = {"usd": "1", "per": "day"}
CLIENTS = [keys.entry("alice", KEYS["alice"], project="search", budget=BUDGET),
           keys.entry("bob", KEYS["bob"], budget={"usd": "10", "per": "month"}),
           keys.entry("carol", KEYS["carol"], budget={"usd": "0.5", "per": "week"})]
PROJECTS = [{"name": "search", "budget": {"usd": "5", "per": "month"}}]
CENT = 10 ** 7  # a cent, and the cost of 1,000 tokens of output


class Member(fleets.Gateway):
    """A gateway with an agent, a shipper, and clients."""

    def __init__(self, fleet, name, agents, shippers, clients=CLIENTS):  # noqa: F811
        super().__init__(fleet, name, fleet_listen="dgram@%s/fleet" % harness.workdir())
        self.work, self.number = self.directory, 0
        self.clients, self.agents = clients, agents
        self.settings = json.loads(self.config.read_text())
        self.start()
        self.shipper = shippers(self)

    def start(self):
        def start(**config):
            log = "127.0.0.1:%d" % harness.free_port()
            env = {"SPOA_LLM_LOG_KEY": harness.secret("log-key")}
            agent = self.agents(dict(self.settings, admin_listen="127.0.0.1:%d" % harness.free_port(), log_listen=["udp@" + log], threads=1, **config), env=env)
            agent.env, agent.log_address = env, log
            until(lambda: harness.accepting(agent.admin), 5, "the admin server is there")
            return agent
        self.agent = budgeted(start, self.work, self.clients, PROJECTS)

    def ask(self, name, cents=1):
        """Asks for a request that may cost so much. Returns its id; None: it is refused."""
        self.number += 1
        id = "%s-%d-%d" % (self.name, self.number, random.randrange(1 << 40))
        return None if self.agent.ask_as(name, id, cents * 1000)["deny"] else id

    def end(self, id, name, cents=1, project=None):
        self.agent.ended(id, name, {"alice": "search"}.get(name, "") if project is None else project, (0, cents * 1000))

    def spend(self, name, cents=1):
        """One request after the other. Returns whether it was admitted."""
        id = self.ask(name, cents)
        if id:
            self.end(id, name, cents)
        return bool(id)

    def account(self, name):
        return self.agent.account(name)

    def elsewhere(self, name):
        return self.account(name)["elsewhere_nano"]

    def noted(self, name):
        """What the ledger has noted as withheld."""
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % self.db, uri=True, timeout=20)) as base:
            return [row[0] for row in base.execute("select withheld from elsewhere where name = ? and withheld > 0", (name,))]

    def spent(self, name):
        return self.account(name)["spent_nano"]


def say(members, name, what="elsewhere_nano"):
    return [round(one.account(name)[what] / CENT, 3) for one in members]


def wait_for(members, name, cents, seconds=20, what="elsewhere_nano"):
    until(lambda: say(members, name, what) == cents, seconds, lambda: "%s of %s: %s, not %s" % (what, name, say(members, name, what), cents), step=.05)


def told_everywhere(one, name, **cents):
    """Commands, the running agent's answer to a question, and its metrics say the same of a client. The commands read the ledger, which notes it a moment later."""
    def cli(*args, **more):
        done = harness.cli(*args, "-c", one.agent.file, **more)
        assert done.code == 0, done
        return done

    def dollars(told):
        return {what: round(float(told[what + "_usd"]) * 100, 1) for what in ("elsewhere", "withheld", "left")}
    want = {what: pytest.approx(cents[what], abs=.2) for what in ("elsewhere", "withheld", "left")}

    def listed():
        return next(entry for entry in json.loads(cli("client", "list", "--json").out)["clients"] if entry["name"] == name)
    until(lambda: dollars(listed()) == want, 20, lambda: "client list: %s" % listed(), step=.2)
    shown = cli("client", "show", name).out
    assert "elsewhere in the fleet: $%.2f" % (cents["elsewhere"] / 100) in shown and ("withheld" in shown) == bool(cents["withheld"]), shown
    assert "ELSEWHERE" in cli("client", "list").out
    told = command(one.agent, KEYS[name], "--model", "gpt-1")["limits"]["client"]["budget"]
    assert dollars(told) == want, told
    text = command(one.agent, KEYS[name], "--model", "gpt-1", json_too=False)
    assert "$%.2f spent elsewhere in the fleet" % (cents["elsewhere"] / 100) in text, text
    page = post(one.agent, model="gpt-1", key=KEYS[name])
    assert dollars(page["limits"]["client"]["budget"]) == want, page
    metrics = scrape(one.agent)
    assert metric(metrics, "spoa_llm_budget_elsewhere_usd", name=name, kind="client") == pytest.approx(cents["elsewhere"] / 100, abs=.002)
    assert metric(metrics, "spoa_llm_fleet_budget_gateways") == 3 and metric(metrics, "spoa_llm_fleet_budget_alone") == bool(cents["withheld"])


@pytest.fixture(scope="module")
def server():
    with postgres.Server(settings=QUIET) as one:
        yield one


@pytest.fixture
def pause(server):
    """pause(True) stops the server, which goes on at the end of the test."""
    yield server.pause
    server.pause(False)


@pytest.fixture
def fleet(server):
    return fleets.Fleet(server, "_%d" % random.randrange(1 << 30))


@pytest.fixture
def three(fleet, agents, shippers):  # noqa: F811
    members = [Member(fleet, "gw%d" % n, agents, shippers) for n in range(3)]
    for one in members:
        until(lambda: one.agent.http(path="/stats").json()["budgets"], 10, "the budgets")
    return members


def test_what_is_spent_elsewhere_counts(three, fleet):
    a, b, c = three
    for member, cents in ((a, 40), (b, 30), (c, 20)):
        assert member.spend("alice", cents)
    wait_for(three, "alice", [50, 60, 70])
    wait_for(three, "search", [50, 60, 70])
    # 10 of 100 are left, on each of them.
    assert not any(one.spend("alice", 11) for one in three)
    assert a.spend("alice", 9)
    wait_for(three, "alice", [50, 69, 79])
    assert not any(one.spend("alice", 2) for one in three)
    assert a.account("alice")["used_ratio"] == pytest.approx(.99) and a.account("alice")["withheld_nano"] == 0
    told_everywhere(b, "alice", here=30, elsewhere=69, withheld=0, left=1)
    # Of other periods, and of an account of which nothing was spent elsewhere.
    assert b.spend("carol", 5) and b.spend("bob", 7)
    wait_for(three, "carol", [5, 0, 5])
    wait_for(three, "bob", [7, 0, 7])


def test_each_goes_on_with_its_share(three, pause):
    """PostgreSQL is away: of what was left each takes a third, and no more. Then it is back, and all know the same."""
    a, b, c = three
    assert a.spend("alice", 40)
    wait_for(three, "alice", [0, 40, 40])
    in_flight = a.ask("alice", 6)
    pause()
    for one in three:
        one.agent.log("event=budgets_alone .*gateways=3", 20)
    # a: 100 - 40 - 6 = 54 were left, and 18 are its own; b and c: 60 were left, and 20 are theirs.
    assert say(three, "alice", "elsewhere_nano") == [0, 40, 40] and say(three, "alice", "withheld_nano") == pytest.approx([36, 40, 40], abs=.2)
    a.end(in_flight, "alice", 6)
    took = [sum(one.spend("alice", 1) for _ in range(40)) for one in three]
    assert took == [17, 19, 19], took        # the rest of each third suffices for no other one, which is reserved with its input
    # An account of which nothing was spent anywhere has its share, too.
    assert sum(one.spend("carol", 10) for one in three for _ in range(5)) == 3
    assert not any(one.ask("carol", 7) for one in three)
    told_everywhere(c, "alice", here=19, elsewhere=40, withheld=40, left=1)
    # An agent that begins now has it from the ledger how many there are, and what they had spent.
    until(lambda: b.noted("alice"), 10, "the ledger has noted what is withheld")
    b.agent.close()
    b.start()
    until(lambda: b.spent("alice"), 10, "the ledger is read")
    assert say([b], "alice", "elsewhere_nano") == [40] and not b.ask("alice", 1) and not b.ask("carol", 7)
    assert b.ask("bob", 330) and not b.ask("bob", 4)
    pause(False)
    for one in three:
        one.agent.log("event=budgets_together .*gateways=3", 40)
    spent = [one.spent("alice") for one in three]
    for one, own in zip(three, spent):
        until(lambda: one.elsewhere("alice") == sum(spent) - own, 20, lambda: "%s: %s of %s" % (one.name, one.elsewhere("alice"), spent))
    assert say(three, "alice", "withheld_nano") == [0, 0, 0]
    # Of the 6 cents that a had in flight the others knew nothing, and took two thirds of them too.
    assert sum(spent) <= 104 * CENT
    rest = [one.ask("bob", 30) for one in three]
    assert all(rest)


def test_whatever_ends_it_is_told_again(three, fleet, server):
    """Shipper, agent with its memory, server."""
    a, b, c = three
    assert a.spend("alice", 10) and b.spend("alice", 20)
    wait_for(three, "alice", [20, 10, 30])
    c.shipper.again()
    assert a.spend("alice", 5)
    wait_for(three, "alice", [20, 15, 35])
    b.agent.process.kill(signal.SIGUSR2)
    c.agent.expect_exit = {0, -signal.SIGKILL}
    c.agent.kill()
    c.start()
    assert a.spend("alice", 5)
    wait_for(three, "alice", [20, 20, 40])
    server.kill()
    assert b.spend("alice", 5)
    server.start()
    wait_for(three, "alice", [25, 20, 45], 60)
    # Of two gateways that were seen in the last minute, because the third one is retired: what it spent still counts.
    assert c.spend("alice", 7)
    wait_for([a, b], "alice", [32, 27])
    c.shipper.end()
    fleet.run("retire", c.name)
    assert b.spend("alice", 1)
    wait_for([a, b], "alice", [33, 27])


def test_clients_that_come_later(three, fleet):
    """A client that is new in the file of one gateway has spent what others say, within a moment; and a budget of another period."""
    a, b, c = three
    dora = keys.entry("dora", KEYS["dora"], budget={"usd": "1", "per": "month"})
    keys.write(a.work / "clients.json", CLIENTS + [dora], PROJECTS)
    keys.write(b.work / "clients.json", CLIENTS + [dict(dora, budget={"usd": "1", "per": "day"})], PROJECTS)
    for one in (a, b):
        until(lambda: one.agent.budgets()["of"] == 5, 10, "the clients are read")
    for one, cents in ((a, 30), (b, 40)):
        until(lambda: one.spend("dora", cents), 10, "the ledger is read")
    wait_for([a, b], "dora", [40, 30])
    keys.write(c.work / "clients.json", CLIENTS + [dora], PROJECTS)
    until(lambda: c.agent.budgets()["of"] == 5, 10, "the clients are read")
    wait_for([c], "dora", [70])
    keys.write(b.work / "clients.json", CLIENTS, PROJECTS)
    until(lambda: b.agent.budgets()["of"] == 4, 10, "the clients are read")
    assert a.spend("dora", 10)
    keys.write(b.work / "clients.json", CLIENTS + [dora], PROJECTS)
    wait_for([c, a], "dora", [80, 40])
    until(lambda: b.agent.budgets()["of"] == 5, 10, "the clients are read")
    wait_for([b], "dora", [40])
    assert b.spent("dora") == pytest.approx(40 * CENT)
