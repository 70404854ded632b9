"""Out of memory in a running agent: the Nth allocation of its worker fails, for many N during its start and during a little work of each
kind. A decision must be right or a refusal, and the figures of a page or of the ledger must be true. A worker may end (libev ends the
process when it gets no memory); then the master starts another. tests/unit/test_oom.c does the same to single modules, for every N."""
import contextlib
import gzip
import itertools
import json
import mmap
import os
import re
import signal
import socket
import sqlite3
import struct
import time

import pytest

import harness
import keys
import loglines
import spop
from harness import until
from loglines import Maker

SHIM = harness.ROOT / "build" / "failmalloc.so"
STEPS = int(os.environ.get("MEMORY_STEPS", "40"))     # for how many N test_while_it_works() makes the Nth allocation fail
NEVER = 1 << 62
KEY, OPERATOR = harness.secret("memory-log"), harness.secret("memory-operator")
CHAT = "/v1/chat/completions"
FORM = (b"--b0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nglm-form\r\n--b0\r\nContent-Disposition: form-data; name=\"file\"; "
        b"filename=\"a\"\r\n\r\n" + b"x" * 3000 + b"\r\n--b0--\r\n")
BODY = b'{"model":"%s","messages":[{"role":"user","content":"' + b"word " * 400 + b'"}]}'
# A question, and the model and the route of the right answer (None: only a refusal is right).
QUESTIONS = [
    (dict(body=BODY % b"glm-1"), "glm-1", "glm-"),
    (dict(body=gzip.compress(BODY % b"glm-2"), cenc="gzip"), "glm-2", "glm-"),
    (dict(body=FORM, ctype="multipart/form-data; boundary=b0", path="/v1/audio/transcriptions"), "glm-form", "glm-"),
    (dict(body=b'{"messages":[],"mode\\u006c":"gpt-\\u0035"}'), "gpt-5", "rest"),
    (dict(body=b'{"model":"gone-1"}'), None, None),
    (dict(body=None, method="GET", path="/v1/models"), "", "legacy"),
]
# An AGENT-DISCONNECT with the status "resource allocation error" of SPOE.txt, in place of an answer.
NO_RESOURCE = re.compile(r"<frame %d .* instead of (AGENT-HELLO|ACK): .*'status-code': 13\b" % spop.AGENT_DISCONNECT)


def sanitized():
    return harness.VALGRIND or b"libasan" in harness.run(before=["ldd"]).stdout or any(
        one in harness.AGENT for one in ("asan", "tsan"))


pytestmark = pytest.mark.skipif(sanitized(), reason="sanitizers and valgrind bring an allocator of their own")


class Plan:
    """The numbers that failmalloc.c reads and counts in each worker: four in a file that is mapped by this test and by the workers."""

    def __init__(self, path):
        path.write_bytes(struct.pack("4q", NEVER, 1, 0, 0))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 32)

    def get(self, at):
        return struct.unpack_from("q", self.map, 8 * at)[0]

    def fail(self, at, burst=1):
        struct.pack_into("2q", self.map, 0, NEVER, burst)
        struct.pack_into("q", self.map, 24, 0)
        struct.pack_into("q", self.map, 0, at)

    def off(self):
        struct.pack_into("q", self.map, 0, NEVER)

    seen = property(lambda self: self.get(2))
    failed = property(lambda self: self.get(3))


class Day:
    """An agent, the work that the tests give to it, and a count of its answers, its refusals and the requests that got no answer (`lost`)."""

    def __init__(self, work, agents):
        harness.built(SHIM.name)
        self.home = work / "ledger"
        self.home.mkdir()
        (work / "prices.json").write_text(json.dumps(loglines.PRICES))
        self.log = ("127.0.0.1", harness.free_port())
        self.plan, self.maker, self.sent, self.agents = Plan(work / "plan"), Maker(seed=9, references={}), {}, agents
        routes = [{"name": "glm-", "model_prefix": "glm-", "upstream": "https://glm.test", "auth": "env:OPERATOR"},
                  {"name": "gone-", "model_prefix": "gone-", "upstream": "https://gone.test", "auth": "env:NOT_SET"},
                  {"name": "rest", "model_prefix": "*", "upstream": "https://rest.test"}]
        self.config = {"routes": routes, "ledger": str(self.home), "prices": str(work / "prices.json"), "threads": 2, "unresolved": "fallthrough",
                       "log_listen": ["%s:%d" % self.log, "udp@%s:%d" % self.log]}
        self.env = {"OPERATOR": OPERATOR, "SPOA_LLM_LOG_KEY": KEY, "LD_PRELOAD": str(SHIM), "FAIL_MALLOC": str(work / "plan")}
        self.answers = self.refusals = self.lost = 0

    def start(self, wait=True):
        self.agent = self.agents(self.config, env=self.env, wait=wait)
        return self.agent

    def nobody_there(self):
        """Accepts that nothing answered within five seconds, but only after libev ended a worker: the workers after it met the same failures."""
        assert self.agent.lines("event=worker_crashed"), self.agent.process.tail()
        self.plan.off()
        self.lost += 1

    def decide(self, question, model, route):
        try:
            with spop.Client(self.agent.address, 5.0) as client:
                got = client.ask(**question)
        except (spop.Closed, ConnectionError, FileNotFoundError):
            self.lost += 1      # HAProxy would refuse such a request by itself
            return
        except TimeoutError:
            self.nobody_there()
            return
        except spop.Bad as bad:
            assert "closed inside" in str(bad) or NO_RESOURCE.search(str(bad)), bad
            self.lost += 1      # so after an AGENT-DISCONNECT too
            return
        if got.get("deny", True) is not False:
            self.refusals += 1
            assert got.get("deny") is True and 400 <= got["status"] < 600 and got["code"], got
            assert not got.get("auth_value") and (model is None or got["status"] >= 500), got
            return
        self.answers += 1
        assert model is not None and (got.get("model") or "", got["route"]) == (model, route), got
        if route == "glm-":
            assert (got["backend"], got["auth"], got["auth_value"]) == ("llm-glm.test", "replace", "Bearer " + OPERATOR), got
        else:
            assert got["auth"] == "passthrough" and not got.get("auth_value"), got

    def record(self):
        """Sends one log line by UDP and by TCP, as HAProxy does."""
        entry = self.maker.one()
        line = harness.log_line(entry.fields, KEY)
        self.sent[entry.id] = entry.want
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(line, self.log)
        with contextlib.suppress(OSError), socket.create_connection(self.log, 5) as sock:
            sock.sendall(b"%d %s" % (len(line), line))
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(5)
            sock.recv(1)

    def page(self, path):
        try:
            answer = self.agent.http(path=path, timeout=5)
        except TimeoutError:
            self.nobody_there()
            return
        except (OSError, harness.http_client.HTTPException):
            self.lost += 1
            return
        if answer.status != 200:
            self.refusals += 1
            assert answer.status >= 500, answer
            return
        if path == "/metrics":
            assert answer.text.endswith("\n") and "spoa_llm_build_info" in answer.text and answer.text.count("\n") > 100, answer
        else:
            total = answer.json()["totals"]
            assert 0 <= total["requests"] <= len(self.sent), answer
            assert abs(total["cost_nanodollars"]) <= sum(abs(want["cost"]) for want in self.sent.values()), answer

    def reload(self):
        before = len(self.agent.lines("event=(reloaded|reload_failed|worker_crashed)"))
        self.agent.process.popen.send_signal(signal.SIGHUP)
        with contextlib.suppress(AssertionError):
            # A worker that is ending may get the signal; then no reload happens and no line is logged.
            until(lambda: len(self.agent.lines("event=(reloaded|reload_failed|worker_crashed)")) > before, 2, "reloaded")

    def ask(self):
        for question in QUESTIONS:
            self.decide(*question)

    def work(self, reload=True):
        self.ask()
        self.record()
        self.page("/metrics")
        self.page("/savings")
        if reload:
            self.reload()

    def serves(self):
        """Waits until the agent answers every question as if no allocation had ever failed."""
        def right():
            answers, lost = self.answers, self.lost + self.refusals
            self.ask()
            return self.answers - answers == len(QUESTIONS) - 1 and self.lost + self.refusals - lost == 1
        until(right, 30, lambda: "the agent serves again\n" + self.agent.process.tail(), step=0.05)

    def audit(self):
        """Checks that the ledger holds only records that were sent, unchanged, and that it takes in one more line. Returns the number of records."""
        def rows():
            with contextlib.closing(sqlite3.connect("file:%s/ledger.db?mode=ro" % self.home, uri=True, timeout=5)) as base:
                base.row_factory = sqlite3.Row
                return {row["id"]: dict(row) for row in base.execute("select * from requests")}

        def taken():
            self.record()
            last = list(self.sent)[-1]
            time.sleep(0.3)
            try:
                return last in rows()
            except sqlite3.OperationalError:
                return False
        until(taken, 15, lambda: "the ledger takes lines again\n" + self.agent.process.tail(), step=0.2)
        kept = rows()
        for name, row in kept.items():
            want = dict(self.sent[name], usage=("none", "reported", "partial", "estimated", "unknown").index(self.sent[name]["usage_from"]),
                        price=("none", "table", "unpriced", "partial").index(self.sent[name]["price_from"]))
            wrong = {column: (row[column], want[column]) for column in row
                     if column in want and (row[column] or 0) != (want[column] or 0)}
            assert not wrong, (name, wrong)
        done = harness.cli("ledger", "verify", "--ledger", self.home)
        assert done.code == 0, done
        return len(kept)


@pytest.fixture
def day(work, agents):
    """The plan is off before the agent ends, because an agent whose allocations fail cannot end as it should."""
    made = Day(work, agents)
    yield made
    made.plan.off()


def test_while_it_decides(day):
    """Each allocation that the questions cause fails once."""
    day.start()

    def counted():
        before = day.plan.seen
        day.ask()
        return day.plan.seen - before
    # The start still allocates at the same time: the number is right when two counts in a row are equal.
    last = []
    until(lambda: last.append(counted()) or len(last) > 1 and last[-1] == last[-2], 10, lambda: "a steady number: %r" % last)
    total = last[-1]
    for at in range(1, total + 1):
        for burst in (1, 3):
            day.plan.fail(at, burst)
            day.ask()
            day.plan.off()
    day.serves()
    assert 5 < total < 2000 and day.refusals > 2 * total, total
    # The log leaves out what comes too often.
    again = itertools.cycle(range(1, total + 1))

    def told():
        day.plan.fail(next(again), 1)
        day.ask()
        day.plan.off()
        return day.agent.lines("problem=\"no memory to decode the body\"")
    until(told, 30, "the log tells of a body")
    print("%d allocations; %d answers, %d refusals, %d lost" % (total, day.answers, day.refusals, day.lost))


def test_a_decision_about_a_client_allocates_nothing(work, day):
    """Whether it admits the request or refuses it: budget, tokens a minute and what is in flight are in memory that is there."""
    alice, poor = keys.key("alice"), keys.key("poor")
    more = {"per": "day"}
    keys.write(work / "clients.json", [keys.entry("alice", alice, project="search", tokens_per_minute=10**9, budget=dict(more, usd=10**6)),
                                       keys.entry("poor", poor, budget=dict(more, usd="0.000000001"))], [{"name": "search", "budget": dict(more, usd=10**6)}])
    day.config["clients"] = str(work / "clients.json")
    day.start()
    ids = iter(range(10**6))
    model = next(name for name in loglines.PRICES if name.startswith("gpt"))
    with spop.Client(day.agent.address, 5.0) as client:
        def ask(key):
            return client.ask(**dict(keys.ask(key, body=json.dumps({"model": model, "max_tokens": 10})), id="r%d" % next(ids)))

        def allocations(key, code):
            before = day.plan.seen
            for _ in range(20):
                assert ask(key).get("code") == code
            return day.plan.seen - before
        until(lambda: ask(alice)["deny"] is False and ask(poor).get("code") == "insufficient_quota", 10, "what they have spent is known")
        # Other threads allocate now and then.
        for key, code in ((None, None), (alice, None), (poor, "insufficient_quota")):
            until(lambda key=key, code=code: allocations(key, code) == 0, 10, "twenty decisions without an allocation")


def test_while_it_works(day):
    day.start()
    until(lambda: harness.ledger_made(day.home) and harness.accepting(day.agent.admin) and day.agent.http(path="/savings").status == 200, 10,
          "the ledger and the admin server are there")
    day.work()
    seen = day.plan.seen
    day.work()
    total = day.plan.seen - seen
    assert day.lost == 0 and day.refusals == 2 and total > 100
    met = 0
    for at in range(1, total, -(-total // STEPS)):
        for burst in (1, 30, 2000):
            day.plan.fail(at, burst)
            day.work(reload=burst == 1)
            met += day.plan.failed > 0
            day.plan.off()
            day.serves()
    assert met > STEPS, (met, total)
    kept = day.audit()
    print("%d failures met, of %d allocations; %d answers, %d refusals, %d lost; %d of %d records; %d crashes" % (
        met, total, day.answers, day.refusals, day.lost, kept, len(day.sent), len(day.agent.lines("event=worker_crashed"))))


def test_while_it_starts(day):
    """The agent logs the reason and ends, or it serves: at once, or after the master has started another worker."""
    day.start()
    total = day.plan.seen
    day.serves()
    day.agent.process.end()
    # The first allocations read the configuration, and the last ones are made while the threads run already: each of them fails once, but at most
    # 150 of those in between. They are 400, or thousands if the ledger was made before the agent said that it is ready.
    ended, codes, starts = 0, set(), [*range(1, 40), *range(40, total - 40, max(3, (total - 80) // 150)), *range(max(40, total - 40), total)]
    for at in starts:
        day.plan.fail(at)
        agent = day.start(wait=False)
        until(lambda: agent.lines("event=ready") or not agent.process.running(), 15, lambda: agent.process.tail())
        day.plan.off()
        if agent.process.running():
            day.serves()
            agent.process.end()
        else:
            ended += 1
            assert agent.process.popen.returncode > 0 and agent.text().strip(), agent.process.tail()
            # The flags and the configuration are right, so the exit status must not blame them.
            assert agent.process.popen.returncode not in (os.EX_USAGE, os.EX_CONFIG), agent.process.tail()
            codes.add(agent.process.popen.returncode)
            agent.expect_exit = {agent.process.popen.returncode}
    day.start()
    day.serves()
    day.audit()
    assert 10 < ended < len(starts) and os.EX_OSERR in codes, (ended, total, codes)
    print("%d of %d starts ended, of %d allocations" % (ended, len(starts), total))


def test_the_end_of_a_worker(day):
    """If libev gets no memory, it ends the process. The master starts another worker, which serves as before."""
    day.start()
    day.serves()
    first = day.agent.pid
    # The first allocation for a connection is the agent's own; a second one happens only when libev enlarges its tables.
    held = []
    try:
        while not day.agent.lines("event=worker_crashed") and len(held) < 900:
            day.plan.fail(2)
            with contextlib.suppress(OSError):
                held.append(spop.connect(day.agent.address, 1))
            time.sleep(.002)
    finally:
        day.plan.off()
        for sock in held:
            sock.close()
    day.agent.log("event=worker_crashed.*signal=6")
    day.serves()
    assert day.agent.pid != first
    day.audit()
