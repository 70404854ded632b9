"""Log lines and the tap's reports become one row each: in any order, with copies, over kills of the agent, backups and imports."""
import json
import os
import pathlib
import random
import re
import signal
import socket
import sqlite3

import pytest

import harness
from ledgers import Ledger
from test_keeping import Feed, ask, line_of

PRICES = {"gpt-l": {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1e-07}}
LEG = dict(v=2, route="r", protocol="openai", stream="1", metered="1", behind="llm-x", backend="leg.x.0123456789abcdef", srv="tap", term="--", ctype="text/event-stream",
           text="460", out=33500, **{"in": 900})


def report_of(request_id, **members):
    return json.dumps(dict(dict(v=1, kind="stream", id=request_id, end="whole", status=200, ctype="text/event-stream", coding="", bytes=1, events=9, content=60, final=True),
                           **members)).encode()


def usage(prompt, output, cached):
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output, "prompt_tokens_details": {"cached_tokens": cached}}


class Lines(Feed):
    def __init__(self, port):
        super().__init__(port)
        self.port = port

    def again(self):
        """A connection to the next process; its lines go on counting."""
        self.socket.close()
        other = Lines(self.port)
        other.sent = self.sent
        return other


class Reports:
    def __init__(self, path):
        self.socket, self.path = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), str(path)

    def send(self, datagram):
        self.socket.sendto(datagram, self.path)


@pytest.fixture
def joined(work, agents):
    """start() starts an agent that takes lines and reports. Returns the agent, a feed of lines, and a sender of reports."""
    one, open_ones = Ledger(work), []
    (work / "prices.json").write_text(json.dumps(PRICES))

    def start(directory="ledger", **more):
        port = harness.free_port()
        agent = agents({"ledger": str(work / directory), "log_listen": ["127.0.0.1:%d" % port], "tap": True, "tap_listen": "dgram@%s/tap" % work, "prices": str(work / "prices.json")}, **more)
        open_ones.append(Lines(port))
        return agent, open_ones[-1], Reports(work / "tap")
    yield one, start
    for feed in open_ones:
        feed.__exit__()


def rows_of(db):
    base = sqlite3.connect("file:%s?mode=ro" % db, uri=True, timeout=20)
    try:
        return {row[0]: row[1:] for row in base.execute("SELECT id, usage_from, tap, input, output, cache_read, CAST(round(cost_usd * 1e7) AS INTEGER) FROM ledger")}
    except sqlite3.OperationalError as why:     # the agent is making the tables
        assert "no such" in str(why), why
        return {}
    finally:
        base.close()


def counts(agent):
    """Lines and reports that this worker has taken in."""
    told = agent.http(path="/metrics").text
    return tuple(int(re.search(r"(?m)^%s (\d+)$" % name, told).group(1)) for name in ("spoa_llm_ledger_records_total", "spoa_llm_ledger_reports_total"))


def exact(prompt, output, cached):
    return ("stream", "told", prompt - cached, output, cached, 10 * (prompt - cached) + 100 * output + cached)


ESTIMATED = ("estimated", "missing", 100, 100, 0, 11000)
UNTOLD = ("estimated", "untold", 100, 60, 0, 7000)


def test_each_row_once_whatever_comes_when(joined):
    """Lines and reports in any order, some reports twice or late, between datagrams of whoever else can write to the socket."""
    one, start = joined
    agent, feed, reports = start()
    rng, want, late = random.Random(19), {}, []
    for number in range(600):
        request = "fed-%06d" % number
        kind = rng.choice(("exact", "exact", "exact", "untold", "none", "direct", "late"))
        told = (rng.randrange(1000, 9000), rng.randrange(1, 900), rng.randrange(0, 1000))
        want[request] = {"exact": exact(*told), "late": exact(*told), "untold": UNTOLD, "none": ESTIMATED, "direct": ("estimated", "no") + ESTIMATED[2:]}[kind]
        sends = [lambda: feed.send(1, **dict(LEG, srv="leg" if kind == "direct" else "tap"))]
        if kind in ("exact", "untold", "direct"):
            last = {} if kind == "untold" else {"last": usage(*told)}
            sends += [lambda: reports.send(report_of(request, **last))] * rng.randrange(1, 3)
        rng.shuffle(sends)
        for send in sends:
            send()
        if kind == "late":
            late.append(report_of(request, last=usage(*told)))
        for rubbish in (b"", b"\0\xff", b"{", b'{"v":1,"kind":"stream"}', b'{"v":9}', report_of("x" * 65), report_of("never-seen-%d" % number)):
            if rng.random() < .02:
                reports.send(rubbish)
    harness.until(lambda: len(rows_of(one.db)) == len(want), 30, "all rows")
    for report in late:
        reports.send(report)
    harness.until(lambda: rows_of(one.db) == want, 30,
                  lambda: str([(key, rows_of(one.db).get(key), row) for key, row in want.items() if rows_of(one.db).get(key) != row][:5]))
    assert one.ledger("verify").code == 0
    totals = one.savings("--since", "all")["totals"]
    assert totals["output"] == sum(row[3] for row in want.values()) and totals["untold_requests"] == sum(row[1] == "untold" for row in want.values())
    assert totals["estimated_requests"] == sum(row[0] == "estimated" for row in want.values())
    stats = json.loads(agent.http(path="/stats").text)["ledger"]
    assert stats["usage_from"]["stream"] == sum(row[0] == "stream" for row in want.values())


def test_a_kill_loses_no_pair(joined):
    """What the journal has is joined by the next process, whichever half the database had before."""
    one, start = joined
    agent, feed, reports = start()
    want = {}
    for life in range(4):
        for number in range(60):
            request = "fed-%06d" % len(want)
            want[request] = exact(2000 + number, 50 + life, 100)
            both = [lambda: feed.send(1, **LEG), lambda: reports.send(report_of(request, last=usage(2000 + number, 50 + life, 100)))]
            for send in both if number % 2 else reversed(both):
                send()
        # All of it is in the journal, and some of it in the database. Reports that the killed agent had not taken off their socket yet are read again.
        harness.until(lambda: counts(agent)[0] == 60 and counts(agent)[1] >= 60, 20, lambda: str(counts(agent)))
        os.kill(agent.pid, signal.SIGKILL)
        feed = feed.again()
    harness.until(lambda: len(rows_of(one.db)) == len(want), 30, "all rows")
    harness.until(lambda: rows_of(one.db) == want, 5, lambda: str({key: row for key, row in rows_of(one.db).items() if row != want[key]}))
    assert one.ledger("verify").code == 0


def test_reports_that_are_read_again_after_a_kill_count_once(joined, work):
    """The agent is killed when the journal has reports, and their socket has them still: so the next agent has them twice."""
    one, start = joined
    trigger, preload = work / "kill", " ".join(filter(None, [harness.environment().get("LD_PRELOAD"), str(harness.built("takeoff.so"))]))
    agent, feed, reports = start(env={"LD_PRELOAD": preload, "TAKEOFF_KILLS": str(trigger), "ASAN_OPTIONS": harness.environment().get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"})
    feed.send(10, **LEG)
    harness.until(lambda: len(rows_of(one.db)) == 10, 20, "the rows")
    killed = agent.pid
    os.kill(killed, signal.SIGSTOP)     # so that all reports are one batch; a socket of the kernel's default has room for them
    harness.until(lambda: all(re.search(r"\) T ", (thread / "stat").read_text()) for thread in pathlib.Path("/proc/%d/task" % killed).iterdir()), 10, "each thread stands still")
    trigger.write_text("")
    for number in range(10):
        reports.send(report_of("fed-%06d" % number, last=usage(2000 + number, 50, 100)))
    os.kill(killed, signal.SIGCONT)
    harness.until(lambda: not trigger.exists() and agent.pid != killed, 20, "another worker")
    want = {"fed-%06d" % number: exact(2000 + number, 50, 100) for number in range(10)}
    harness.until(lambda: rows_of(one.db) == want and counts(agent) == (0, 10), 20, lambda: "%s %s" % (counts(agent), rows_of(one.db)))

    def joined_reports():
        return int(re.search(r"(?m)^spoa_llm_ledger_joined_reports_total (\d+)$", agent.http(path="/metrics").text).group(1))
    # A report behind them: when it is joined, the store has seen all copies.
    feed.again().send(1, **LEG)
    reports.send(report_of("fed-000010", last=usage(3000, 50, 100)))
    harness.until(lambda: rows_of(one.db).get("fed-000010") == exact(3000, 50, 100), 20, lambda: str(rows_of(one.db)))
    harness.until(lambda: joined_reports() >= 11, 20, joined_reports)
    assert joined_reports() == 11 and one.ledger("verify").code == 0


def test_a_backup_and_an_import_join_later(joined, work):
    """A backup takes reports in without prices, for the agent that runs on it; a line that is imported finds the report that waits."""
    one, start = joined
    agent, feed, reports = start()
    feed.send(1, **LEG)
    harness.until(lambda: len(rows_of(one.db)) == 1, 20, "a row")
    lock = sqlite3.connect(one.db, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    reports.send(report_of("fed-000000", last=usage(1000, 50, 0)))      # its row is stored
    reports.send(report_of("fed-000001", last=usage(2000, 60, 0)))      # its line is in the journal, too
    feed.send(1, **LEG)
    reports.send(report_of("gone", last=usage(3000, 70, 0)))            # its line is only in HAProxy's log
    harness.until(lambda: counts(agent) == (2, 3), 20, lambda: str(counts(agent)))
    file = work / "backup.db"
    harness.until(lambda: one.ledger("backup", file).code == 0 and ask(file, "SELECT count(*) FROM reports")[0] == 3, 20, "the backup has it all")
    assert rows_of(file) == {"fed-000000": ESTIMATED, "fed-000001": ESTIMATED}
    lock.execute("ROLLBACK")
    lock.close()
    want = {"fed-000000": exact(1000, 50, 0), "fed-000001": exact(2000, 60, 0)}
    harness.until(lambda: rows_of(one.db) == want, 20, lambda: str(rows_of(one.db)))
    agent.close()
    (work / "log").write_text(line_of("gone", **LEG) + "\n")
    one.ledger("import", work / "log")
    assert rows_of(one.db) == dict(want, gone=exact(3000, 70, 0)) and ask(one.db, "SELECT count(*) FROM reports")[0] == 0
    # The backup, restored: the agent that opens it joins what waits.
    assert one.ledger("restore", file, "--replace").code == 0
    start()
    harness.until(lambda: rows_of(one.db) == want, 20, lambda: str(rows_of(one.db)))
    assert ask(one.db, "SELECT group_concat(id) FROM reports")[0] == "gone"
    assert one.ledger("verify").code == 0
