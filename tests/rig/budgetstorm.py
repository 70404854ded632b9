"""A storm over budgets: clients that ask for more than they may (budgetload.py), the faults that are done to the agent meanwhile, and the audit, which compares what
the upstream served, what the ledger has, and what the accounts in the agent's shared memory say. Money is in nano-dollars."""
import collections
import json
import os
import pathlib
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time

import evidence
import harness
import keys
from evidence import children_of
from ledgers import OPERATOR
from poolstorm import Member, api
from processes import Process, until
from units import UnitGateway, kill

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "budgetload.py")
PARALLEL, WORTH = 20, 10        # requests that a client sends at once; for how many of them its budget suffices
INPUT, OUTPUT = 1000, 10000     # nano-dollars a token
PRICES = {name: {"input_cost_per_token": INPUT / 1e9, "output_cost_per_token": OUTPUT / 1e9} for name in ("gpt-told", "gpt-untold", "dead-told")}
UNTOLD = (40, 60)               # tokens of an answer to a request that does not say how many it may have
IN_PROJECT = 10                 # clients of one project
AT_ONCE, A_MINUTE = 5, 15       # limits that HAProxy counts

# told: the answer is as long as the request allows. less: it may be shorter. dense: and the input has more tokens than its bytes let the agent expect, because it
# is not text. twice: two answers. untold: the request does not say how long the answer may be. project: the budget of the client's project ends first.
BUDGETED = ("told", "less", "dense", "twice", "untold", "project")
EXACT = ("told", "less", "twice", "project")    # nothing of them can cost more than was reserved
KINDS = BUDGETED + ("parallel", "rate", "minute")


def estimate(size, output):
    """The tokens of input and output that the agent reserves for a body of `size` bytes (docs/clients.md)."""
    return ((size - 60) // 3 + 1 if size > 60 else 1), output


def cost(input, output):
    return input * INPUT + output * OUTPUT


class Client:
    """A client of the file of clients. `size`: of the bodies of its requests. `most`: tokens of output that they allow in all."""

    def __init__(self, at, rng):
        self.name, self.kind, self.key = "c%d" % at, KINDS[at % len(KINDS)], keys.key("client %d" % at)
        self.size, self.answers = rng.randrange(400, 1200), 2 if self.kind == "twice" else 1
        self.most = UNTOLD[1] if self.kind == "untold" else rng.randrange(20, 200) * self.answers
        self.tokens = estimate(self.size, self.most)
        self.project = "p%d" % (at // len(KINDS) // IN_PROJECT) if self.kind == "project" else None
        self.worth = cost(*self.tokens)
        self.nano = WORTH * self.worth if self.kind in BUDGETED else None
        self.place = rng.choice(["authorization", "x-api-key", "x-llm-key"])

    def entry(self):
        limits = {"parallel": {"parallel": AT_ONCE}, "rate": {"requests_per_minute": A_MINUTE}, "minute": {"tokens_per_minute": WORTH * sum(self.tokens)}}
        more = {"budget": {"usd": "%d.%09d" % divmod(self.nano, 10 ** 9), "per": "month"}} if self.nano else limits[self.kind]
        return keys.entry(self.name, self.key, **more, **({"project": self.project} if self.project else {}))

    def requests(self, number, count, rng, faults=True):
        """Returns `count` requests as budgetload.py's plan has them: either all at once, or, so that a fault finds some in flight and others to come, one after the
        other, and the first ones are slow."""
        spread = rng.random() < .5
        return [self.request("%s/%d/%d" % (self.name, number, at), rng, faults, rng.uniform(0, 1.5) if spread and at > count // 4 else 0,
                             rng.randrange(800, 2000) if spread and at <= count // 4 else rng.randrange(20, 300)) for at in range(count)]

    def request(self, tag, rng, faults, wait, delay):
        (input, output), how, stream = self.tokens, "ok", rng.random() < .3
        if self.kind == "less":
            input, output = rng.randrange(1, input + 1), rng.randrange(1, output + 1)
        elif self.kind == "dense":
            input += rng.randrange(60)
        elif self.kind == "untold":
            output = rng.randrange(UNTOLD[0], UNTOLD[1] + 1)
        if faults and rng.random() < .1:
            how = rng.choice(["error", "reset", "dead", "cut" if stream else "error"])
        body = {"model": "dead-told" if how == "dead" else "gpt-untold" if self.kind == "untold" else "gpt-told", "stream": stream,
                "user": " ".join(map(str, (tag, input, output, how, delay)))}
        if self.kind != "untold":
            # max_completion_tokens comes with max_tokens, because alone it is no limit where the upstream is not OpenAI's.
            body.update(dict.fromkeys(rng.choice([["max_tokens"], ["max_tokens", "max_completion_tokens"]]), self.most // self.answers))
        if self.answers > 1:
            body["n"] = self.answers
        body["messages"] = [{"role": "user", "content": ""}]
        left = self.size - len(json.dumps(body))
        body["messages"][0]["content"] = "x" * left if self.kind == "dense" else ("word " * left)[:left]
        value = "Bearer " + self.key if self.place == "authorization" else self.key
        return {"tag": tag, "wait": wait, "headers": [(self.place, value)], "body": json.dumps(body)}


class BudgetStorm(UnitGateway):
    """A gateway with `count` clients. `clients`: {name: Client}; `projects`: {name: dollars of its budget}."""

    def __init__(self, haproxy, place, count, seed):
        self.rng = random.Random(seed)
        self.clients = {client.name: client for client in (Client(at, self.rng) for at in range(count))}
        self.projects = collections.Counter()
        for client in self.clients.values():
            if client.project:
                self.projects[client.project] += client.nano * 6 // 10
        self.record, self.results, self.plan, self.load, self.number = place / "records", place / "results", place / "plan", None, 0
        self.forgotten, self.faults, self.killed, self.api_path = collections.Counter(), collections.Counter(), [], str(place / "api.sock")
        self.before, self.next = None, []      # the audit before this one; the faults that come next
        evidence.SPARED.add(self.plan.name)
        self.upstream = Member("upstream", place, OPERATOR, PROGRAM)
        self.file, prices = place / "clients.json", place / "prices.json"
        prices.write_text(json.dumps(PRICES))
        self.write()
        routes = [{"model_prefix": "dead-", "upstream": "http://127.0.0.1:1", "auth": "env:LEDGER_KEY"},
                  {"model_prefix": "*", "upstream": self.upstream.url(), "auth": "env:LEDGER_KEY"}]

        def edit(text):
            return text.replace("global\n", "global\n    stats socket %s level admin mode 600\n" % self.api_path, 1)
        super().__init__(haproxy, [], {"routes": routes, "clients": str(self.file), "prices": str(prices)}, plain=self.ask, edit=edit,
                         limits={"LLM_CLIENTS": "on", "LLM_BUFSIZE": "131072"})

    def close(self, quiet=False):
        try:
            super().close(quiet)
        finally:
            self.upstream.close()

    def write(self):
        keys.write(self.file, [client.entry() for client in self.clients.values()],
                   [{"name": name, "budget": {"usd": "%d.%09d" % divmod(nano, 10 ** 9), "per": "month"}} for name, nano in self.projects.items()])

    def ask(self, address, model="gpt-untold"):
        """Sends a request without a key, by which the agent learns how long answers are. Returns the status."""
        body = {"model": model, "user": "nobody 1 50 ok 0", "messages": []}
        return harness.http("%s:%d" % address, "POST", "/v1/chat/completions", {"x-client-request-id": "nobody", "Content-Type": "application/json"},
                            json.dumps(body), timeout=20).status

    # -- faults: of the agent, one after the other

    def one_worker(self):
        until(lambda: len(children_of(self.agent.process.pid)) == 1, 30, lambda: "no upgrade is under way\n" + self.agent.process.tail())

    def upgrade_agent(self):
        before = len(self.agent.lines("event=upgraded"))
        self.agent.process.popen.send_signal(signal.SIGUSR2)
        until(lambda: len(self.agent.lines("event=upgraded")) > before, 30, lambda: "the upgrade\n" + self.agent.process.tail())

    def upgrade_and_kill(self):
        """Kills a worker, the old or the new one, while the new one takes over."""
        self.agent.process.popen.send_signal(signal.SIGUSR2)
        time.sleep(self.rng.uniform(0, .3))
        kill([self.rng.choice(children_of(self.agent.process.pid))])
        self._again_asked()

    def reload(self):
        """Has the agent read its configuration and the file of clients again."""
        self.write()
        self.agent.process.kill(signal.SIGHUP)

    def kill_all(self):
        """Kills master and worker at once. The service manager, which is this test, holds the budgets' memory, and gives it to the next master."""
        with open(self.memory(), "r+b") as memory:
            self.sockets.all.append(memory)
            self.kill_agent()
            self.sockets.all.remove(memory)

    def kill_all_and_forget(self):
        """Kills master and worker at once where nobody else holds the memory. Notes what was reserved and charged in it, because that is forgotten."""
        began = time.time()
        with open(self.memory(), "rb") as memory:
            self.kill_agent()
            for name, (_, charged, reserved) in self.accounts("/proc/%d/fd/%d" % (os.getpid(), memory.fileno())).items():
                self.forgotten[name] += charged + reserved
        self.killed.append((began, time.time()))

    def step(self, faults):
        """Does one of `faults`: the first one, then each of the others once, and then any order again."""
        if not self.next:
            self.next = faults[:1] + self.rng.sample(faults[1:], len(faults) - 1)
        name = self.next.pop(0)
        self.one_worker()
        self.faults[name] += 1
        getattr(self, name)()
        self.ask(self.address)      # After a kill of all, the agent does not know how long answers are.
        time.sleep(self.rng.uniform(0, .5))

    # -- the requests

    def storm(self, clients, parallel=PARALLEL, window=30, faults=True):
        """Has each client send `parallel` requests, `window` clients at a time. Returns without waiting for the answers."""
        with open(self.plan, "w", encoding="utf-8") as file:
            for client in clients:
                self.number += 1
                file.write(json.dumps(client.requests(self.number, parallel, self.rng, faults)) + "\n")
        self.load = Process("clients", [sys.executable, "-S", PROGRAM, "clients", str(self.port), str(self.plan), str(self.results), str(window)],
                            self.dir / ("clients-%d.log" % self.number), harness.environment())

    def settle(self):
        """Waits until all requests have been answered and have their rows, and nothing is reserved but what has to be. Returns the Audit."""
        assert self.load.wait(900) == 0, self.load.tail()
        self.load.check()
        audit = None

        def settled():
            nonlocal audit
            audit = Audit(self)
            return len(audit.missing) <= self.dropped() and not audit.reserved_wrong
        try:
            until(settled, 30, step=.3)
        except AssertionError:
            pass    # the audit says what is wrong
        return audit

    def dropped(self):
        """Returns how many log lines HAProxy could not send by datagram. If it could not send them through the ring either, they are lost: 3.0 does not
        always connect again when an agent has ended."""
        return int(re.search(r"DroppedLogs: (\d+)", api(self.api_path, "show info"))[1])

    # -- what is known of them

    def memory(self):
        """Returns where the master holds the budgets' memory."""
        fds = pathlib.Path("/proc/%d/fd" % self.agent.process.pid)
        return until(lambda: [fd for fd in fds.iterdir() if os.readlink(fd).startswith("/memfd:spoa-llm-budget")], 10, "the master holds the memory")[0]

    def accounts(self, memory=None):
        """Returns {name of a client or project: (spent, charged, reserved)} for all that have a budget."""
        names = [("client", client.name) for client in self.clients.values() if client.nano] + [("project", name) for name in self.projects]
        done = subprocess.run([harness.built("drivers/budget_driver"), memory or self.memory()], input="".join("%s %s\n" % pair for pair in names), capture_output=True, text=True, check=True)
        return {name: tuple(map(int, line.split())) for (_, name), line in zip(names, done.stdout.splitlines(), strict=True)}

    def budget(self, name):
        return self.clients[name].nano if name in self.clients else self.projects[name]

    def served(self):
        """Returns what the upstream wrote down of requests with a key: {id of the gateway: Served}."""
        got, served, wrong = {}, {}, []
        for at, event, id, *more in map(json.loads, self.record.read_text().splitlines()):
            if event == "got":
                got[id] = at
            elif event == "said":
                if more[0] != "nobody":
                    served[id] = Served(got[id], at, *more)
            else:
                wrong.append((id, more))
        assert not wrong, "a request came with a key, or without the operator's credential: %s" % wrong[:5]
        return served

    def outcomes(self):
        return list(map(json.loads, self.results.read_text().splitlines()))

    def query(self, sql):
        base = sqlite3.connect("file:%s?mode=ro" % (self.ledger_dir / "ledger.db"), uri=True, timeout=20)
        try:
            return base.execute(sql).fetchall()
        finally:
            base.close()


Served = collections.namedtuple("Served", "came answered tag input output how")
Row = collections.namedtuple("Row", "id client project status cost charged keyed")


class Audit:
    """What the storm's requests became so far. Lists of requests without a row: `missing`: HAProxy dropped their lines; `silent`: HAProxy wrote no line. Lists
    of what is wrong: `reserved_wrong`, `spent_wrong`: accounts; `row_wrong`: rows. `overrun`: {account: what it has spent and reserved beyond its budget}."""

    def __init__(self, storm):
        self.storm, self.accounts, self.outcomes, self.served = storm, storm.accounts(), storm.outcomes(), storm.served()
        self.rows = {row.id: row for row in map(Row._make, storm.query("SELECT %s FROM requests" % ", ".join(Row._fields)))}
        self.by_tag = collections.defaultdict(list)
        for id, one in self.served.items():
            self.by_tag[one.tag].append(id)
        # HAProxy writes no line of a request whose upstream ends the connection before it answers, if the client's connection had a request before.
        self.silent = [one for one in self.outcomes if one["outcome"] == "unanswered" and not any(id in self.rows for id in self.by_tag[one["tag"]])]
        self.missing = [one for one in self.outcomes if one["id"] and one["id"] not in self.rows]
        self.without = self.silent + self.missing
        self.reserved_wrong = [(name, reserved, least, most) for name, (_, _, reserved) in self.accounts.items() for least, most in [self._kept(name)]
                               if not least <= reserved <= most]
        spent = collections.Counter()
        for row in self.rows.values():
            if row.keyed:
                spent[row.client] += row.cost + row.charged
                spent[row.project] += row.cost + row.charged
        table = collections.Counter({name: cost for name, cost in storm.query("SELECT name, sum(cost) FROM spending GROUP BY kind, name")})
        self.spent_wrong = [(name, account, spent[name], table[name]) for name, account in self.accounts.items()
                            if not account[0] == spent[name] == table[name] or account[1]]
        self.row_wrong = [(row, self.served.get(row.id)) for row in self.rows.values() if not self._is_so(row)]
        self.overrun = {name: sums[0] + sums[2] - storm.budget(name) for name, sums in self.accounts.items()}

    def client(self, tag):
        return self.storm.clients[tag.split("/")[0]]

    def _kept(self, name):
        """Returns the least and the most that is reserved in the account for requests that have no row."""
        least = most = 0
        died, back = self.storm.killed[-1] if self.storm.killed else (0, 0)
        for one in self.without:
            client = self.client(one["tag"])
            if name not in (client.name, client.project) or one["ended"] < died or one["status"] == 429:
                continue
            most += cost(*client.tokens)
            # An agent that died while it decided may have reserved, too, for what came to no upstream.
            if one["began"] > back and (one["id"] in self.served if one["id"] else self.by_tag[one["tag"]]):
                least += cost(client.tokens[0], UNTOLD[0] if client.kind == "untold" else client.most)
        return least, most

    def _is_so(self, row):
        """Whether a row says what the upstream served. What an answer costs that did not come whole, nobody knows: at most what was reserved for it."""
        one = self.served.get(row.id)
        if not row.keyed:
            return not row.client and not row.charged
        if one is None or one.how == "error":
            return row.cost == row.charged == 0
        if one.how == "ok":
            return (row.cost, row.charged) == (cost(one.input, one.output), 0)
        client = self.client(one.tag)
        return 0 <= row.cost + row.charged <= cost(*client.tokens)

    def over(self):
        """Returns the accounts that are overrun by more than may be: the errors of the estimates of the requests that were admitted since the audit before,
        all of which were in flight together, and what the kills of all forgot since then."""
        before, wrong = self.storm.before, []
        errors, forgotten = collections.Counter(), self.storm.forgotten - (before.forgotten if before else collections.Counter())
        for id in self.served.keys() - (before.served.keys() if before else set()):
            one, client = self.served[id], self.client(self.served[id].tag)
            if one.how == "ok":
                told = client.tokens[0], UNTOLD[0] if client.kind == "untold" else client.most
                for name in client.name, client.project:
                    errors[name] += max(0, cost(one.input, one.output) - cost(*told))
        for name, overrun in self.overrun.items():
            may = errors[name] + forgotten[name]
            if overrun > max(may, before.overrun[name] if before else 0):
                wrong.append((name, overrun, errors[name], forgotten[name]))
            exact = name not in self.storm.clients or self.storm.clients[name].kind in EXACT
            assert not exact or not errors[name]
        self.forgotten, self.storm.before = self.storm.forgotten.copy(), self
        return wrong

    def story(self, requests):
        """Returns what is known of `requests`, to be shown if a test fails."""
        outcomes = {one["id"]: one for one in self.outcomes}
        return [(one, id, self.rows.get(id), outcomes.get(id)) for one in requests for id in self.by_tag[one.tag]]

    def limits(self):
        """Returns the clients whose limits of requests or tokens did not hold."""
        by_client, wrong = collections.defaultdict(list), []
        for one in self.served.values():
            by_client[self.client(one.tag)].append(one)
        for client, all in by_client.items():
            if client.kind == "parallel":
                for first in all:
                    at_once = [one for one in all if one.came <= first.came < one.answered]
                    if len(at_once) > AT_ONCE:
                        wrong.append((client.name, "parallel", len(at_once), self.story(at_once)))
            elif client.kind == "rate":
                # A request may come to the upstream a moment after its minute.
                minutes = collections.Counter(int(one.came) // 60 for one in all if one.came % 60 > 2)
                if minutes and max(minutes.values()) > A_MINUTE:
                    wrong.append((client.name, "rate", minutes))
            elif client.kind == "minute":
                took = sum(one.input + one.output for one in all if one.how == "ok")
                seconds = max(one.came for one in all) - min(one.came for one in all) + 1
                if took > WORTH * sum(client.tokens) * (1 + seconds / 60 + len(self.storm.killed)):
                    wrong.append((client.name, "minute", took, seconds))
        return wrong
