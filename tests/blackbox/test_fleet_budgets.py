"""Budgets over a fleet: each gateway knows what clients and projects spend on the others, and goes on with its share while it does not.

FLEET_BUDGETS=1 is the long form, with `-s` to see how far budgets are overrun."""
import concurrent.futures
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import threading
import time

import pytest

import fleets
import harness
import keys
import postgres
from harness import until
from loglines import Maker
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
LONG = "FLEET_BUDGETS" in os.environ
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
    for one in three:       # each knows of all three, which it may hear later than what alice spent
        until(lambda: metric(scrape(one.agent), "spoa_llm_fleet_budget_gateways") == 3, 20, "three gateways")
    in_flight = a.ask("alice", 6)
    pause()
    for one in three:
        one.agent.log("event=budgets_alone .*gateways=3", 60)
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
    until(lambda: b.noted("alice"), 30, "the ledger has noted what is withheld")
    b.agent.close()
    b.start()
    until(lambda: b.spent("alice"), 30, "the ledger is read")
    assert say([b], "alice", "elsewhere_nano") == [40] and not b.ask("alice", 1) and not b.ask("carol", 7)
    assert b.ask("bob", 330) and not b.ask("bob", 4)
    pause(False)
    for one in three:
        one.agent.log("event=budgets_together .*gateways=3", 60)
    spent = [one.spent("alice") for one in three]
    for one, own in zip(three, spent):
        until(lambda: one.elsewhere("alice") == sum(spent) - own, 60, lambda: "%s: %s of %s" % (one.name, one.elsewhere("alice"), spent))
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
    before = [len(one.agent.lines("event=budgets_")) for one in three]
    server.kill()
    for one in three:
        one.agent.log("event=budgets_alone .*PostgreSQL is away", 20)
    assert b.spend("alice", 5)
    server.start()
    wait_for(three, "alice", [25, 20, 45], 60)
    # The way back is one step: what the shipper had said before it reached PostgreSQL counts no more.
    for one, count in zip(three, before):
        until(lambda: one.agent.lines("event=budgets_")[-1].count("budgets_together"), 10, "together again")
        assert [line.split("event=")[1].split()[0] for line in one.agent.lines("event=budgets_")][count:] == ["budgets_alone", "budgets_together"]
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


def spend_all(one, name, seconds, stop):
    """Asks for a cent at a time, twenty times a second, and ends each request half a second later, until none was admitted for two seconds."""
    open, refused_since = [], None
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop.is_set():
        now = time.monotonic()
        while open and open[0][0] <= now:
            one.end(open.pop(0)[1], name)
        id = one.ask(name)
        if id:
            open.append((now + .5, id))
            refused_since = None
        else:
            refused_since = refused_since or now
            if now - refused_since > 2:
                break
        stop.wait(.05)
    for _, id in open:
        one.end(id, name)


def overrun(three, name, budget):
    """All spend at the same time. Returns by how many cents the budget is overrun."""
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(spend_all, one, name, 60, stop) for one in three]:
            done.result()
    until(lambda: not any(one.account(name)["reserved_nano"] for one in three), 20, "all requests have ended")
    return sum(one.spent(name) for one in three) / CENT - budget


def test_overrun_with_and_without_postgresql(three, pause):
    """20 requests a second on each of three gateways, each half a second long. While they know of each other, a budget that is small is overrun by no more than
    once for each of the others, and a larger one (the long form) by what the others have in flight and spend in three seconds. Alone it is not overrun."""
    name, budget = ("bob", 1000) if LONG else ("carol", 50)
    connected = overrun(three, name, budget)
    wait = {one.name: sum(other.spent(name) for other in three if other is not one) for one in three}
    for one in three:
        until(lambda: one.elsewhere(name) == wait[one.name], 20, "all know the same")
    pause()
    for one in three:
        one.agent.log("event=budgets_alone .*gateways=3", 20)
    alone = overrun(three, "alice", 100)
    pause(False)
    print("overrun in cents: of %d when connected %.1f, of 100 alone %.1f" % (budget, connected, alone))
    assert -3 <= connected <= (2 * (60 + 10) if LONG else 2 * budget), connected
    assert -4 <= alone <= .5, alone
    spent = sum(one.spent("alice") for one in three)
    for one in three:
        until(lambda: one.elsewhere("alice") + one.spent("alice") == spent, 40, "all know the same again")


def elsewhere_of(gateway, day):
    """What PostgreSQL tells the gateway's role: {name: [day, week, month]}."""
    return {row[4]: [int(sum) for sum in row[5:]] for row in gateway.sql("select * from spoa_llm.spent_elsewhere(%d, '{}', '{}')" % day) if row[3]}


def test_a_writer_sees_sums_alone(fleet):
    """Its own rows, and what the others spent together; in the period of the day that it asks for, whatever day it is for them."""
    day = 20500     # Monday, 2026-02-16
    gateways = [fleets.Gateway(fleet, name) for name in ("one", "two", "three")]
    numbers = []
    for one in gateways:
        one.take(Maker(seed=3).make(3))
        numbers.append(one.register()[0][0])
    one, two, three = gateways

    def put(gateway, number, name, at, sums, code=0):
        return gateway.sql("update spoa_llm.gateways set spent_sequence = spent_sequence + 1; insert into spoa_llm.spending select %s, 4, '%s', %d, %s, 1"
                           " on conflict (kind, name, gateway) do update set day = excluded.day, day_nano = excluded.day_nano" % (
                               number, name, at, ", ".join(map(str, sums))), code=code)
    put(one, numbers[0], "alice", day, (1, 1, 1, 1, 1, 1))
    put(two, numbers[1], "alice", day, (10, 20, 30, 40, 50, 60))
    put(three, numbers[2], "alice", day + 1, (100, 200, 300, 400, 500, 600))
    assert elsewhere_of(one, day) == {"alice": [410, 220, 330]}           # the clock of `three` is a day ahead, in the same week and month
    assert elsewhere_of(one, day - 1) == {"alice": [40, 550, 330]}        # Sunday: the week before
    assert elsewhere_of(one, day + 1) == {"alice": [100, 220, 330]}
    assert elsewhere_of(one, day - 16) == {"alice": [0, 0, 660]}          # January
    assert elsewhere_of(one, day + 40) == {"alice": [0, 0, 0]}
    assert one.sql("select sum(day_nano) from spoa_llm.spending") == [["1"]]
    for bad in (lambda: put(one, numbers[1], "bob", day, (1, 1, 1, 1, 1, 1), code=3), lambda: put(one, numbers[0], "bob", day, (-1, 1, 1, 1, 1, 1), code=3),
                lambda: one.sql("delete from spoa_llm.spending", code=3)):
        bad()
    one.sql("update spoa_llm.spending set day_nano = 0; update spoa_llm.gateways set spent_sequence = 0")
    assert fleet.sql("select gateway, day_nano from spoa_llm.spending order by 1") == [[numbers[0], "0"], [numbers[1], "10"], [numbers[2], "100"]]
    reader = "reader" + fleet.suffix
    assert "permission denied" in fleet.sql("select * from spoa_llm.spent_elsewhere(1, '{}', '{}')", user="spoa_llm_" + reader,
                                            password=fleet.add(reader, "--reader"), code=None).stderr


def test_what_changed_is_read_without_the_rest(fleet):
    """Each gateway asks once a second, so that the sums of all clients are not read for those of a few."""
    day, one = int(time.time() // 86400), fleets.Gateway(fleet, "one")
    one.take(Maker(seed=3).make(3))
    one.register()
    fleet.sql("insert into spoa_llm.gateways (uuid, name, writer, ledger_epoch, spent_sequence) select gen_random_uuid(), 'x' || n, 'w' || n, '', 3 from generate_series(1, 5) as n;"
              " insert into spoa_llm.spending select no, 4, 'client-' || n, %d, 5, 5, 5, 5, 5, 5, 3 from spoa_llm.gateways, generate_series(1, 4000) as n;"
              " analyze spoa_llm.spending" % day)
    others = [row[0] for row in fleet.sql("select no from spoa_llm.gateways where name <> 'one'")]

    def ask(sequence):
        """The accounts, and how many rows were read without an index meanwhile."""
        read = "select seq_tup_read from pg_stat_user_tables where relname = 'spending'"
        before = int(fleet.value(read))
        told = one.sql("select * from spoa_llm.spent_elsewhere(%d, '{%s}', '{%s}')" % (day, ",".join(others if sequence else []), ",".join([str(sequence)] * 5 if sequence else [])))
        return {row[4]: int(row[5]) for row in told if row[3]}, int(fleet.value(read)) - before
    all, rows = ask(None)
    assert all == {"client-%d" % n: 25 for n in range(1, 4001)} and rows == 24000
    assert ask(3) == ({}, 0)
    fleet.sql("update spoa_llm.spending set sequence = 4, day_nano = 7 where gateway = %s and name like 'client-%%77'; update spoa_llm.gateways set spent_sequence = 4" % others[0])
    assert ask(3) == ({"client-%d" % n: 27 for n in range(77, 4001, 100)}, 0)


def test_messages_that_are_none(three):
    """Whoever may write to the socket is believed, but nothing that is no message of a shipper does any harm."""
    a = three[0]
    [address] = a.settings["fleet_listen"] if isinstance(a.settings["fleet_listen"], list) else [a.settings["fleet_listen"]]
    day = int(time.time() // 86400)
    good = {"v": 1, "kind": "spent", "pass": 7, "first": True, "day": day, "gateways": 3, "spent": [[4, "alice", 1, 2, 3]], "last": True}
    messages = [b"", b"{", b"[]", b"\xff" * 9000, b'{"kind":"spent"}', json.dumps(good).encode()[:-5]]
    messages += [json.dumps(dict(good, **odd)).encode() for odd in (
        {"day": -1}, {"day": 1 << 62}, {"pass": -1}, {"pass": 1 << 40}, {"gateways": 0}, {"gateways": 1 << 40}, {"spent": {}}, {"spent": 1},
        {"spent": [1, [], [4], [4, "alice"], [4, 1, 1, 1, 1], [9, "alice", 1, 1, 1], [4, "x" * 500, 1, 1, 1], [4, "alice", 1.5, 1, 1], [4, "alice", 1, 1, 1, 1]]})]
    three[0].shipper.end()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address.split("@", 1)[1])
        for message in messages:
            sock.send(message)
        sock.send(json.dumps(dict(good, spent=[[4, "alice", 33 * CENT, 2, 3]])).encode())
    wait_for([a], "alice", [33])
    assert a.spend("alice", 60) and not a.spend("alice", 30)
