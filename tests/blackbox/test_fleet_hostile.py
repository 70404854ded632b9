"""A PostgreSQL that answers what it likes, or something else in its place: nothing of ours crashes, hangs, or passes on to a terminal what it was sent."""
import re
import sqlite3
import time

import pytest

import fakepg
import harness
from fakepg import DONE, READY, message, problem, rows
from harness import cli
from ledgers import Ledger
from loglines import Maker

# What a terminal acts on, as bytes, as UTF-8, and as half a character.
EVIL = b"a\x1b]0;x\x07b\xc2\x9b31mc\x9b1md\re\nREADY=1\xe2\x80\xaef\xff\xc3"
ACTED_ON = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ufffd]")
ODD = {"no rows": rows([]), "no columns": message(b"T", b"\0\0") + message(b"D", b"\0\0") + DONE, "nothing": b"", "a command": DONE,
       "an empty statement": message(b"I"), "one column": [["x"]], "nulls": [[None] * 40], "texts": [[EVIL] * 40, [b"1" + EVIL] * 40],
       "numbers": [["9" * 60, "-", "", "NaN", "Infinity", "-" + "9" * 60, "1e9", "0x1"] * 5],
       "an error without a state": problem(state="", M="no"), "an error": problem(text=EVIL, H=EVIL, D=EVIL, C=EVIL)}


@pytest.fixture(scope="module")
def gateway():
    one = Ledger(harness.workdir())
    one.take(Maker(seed=3).make(20))
    with sqlite3.connect(one.db) as base:
        one.epoch = base.execute("select value from meta where key = 'epoch'").fetchone()[0]
    return one


class Shipper:
    """`spoa-llm ship` of `gateway`, to a server that answers what a shipper expects but for one thing."""

    def __init__(self, gateway, **changes):
        self.server = fakepg.Server(fakepg.shipping(gateway.epoch, **changes))
        self.log = harness.workdir() / "ship.log"
        self.process = harness.Process("agent", harness.argv("ship", "-c", gateway.config, "--fleet-uri", self.server.uri("writer"), "--fleet-name", "one"),
                                       self.log, harness.environment())

    def until(self, done):
        harness.until(lambda: done(self) or not self.process.running(), 30, self.process.tail)

    def end(self):
        began = time.monotonic()
        code = self.process.end()
        self.server.__exit__()
        self.process.check()
        assert code == 0 and time.monotonic() - began < 8 * harness.SLOW, self.process.tail()
        assert not ACTED_ON.search(self.log.read_text("utf-8", "replace")), self.process.tail()


@pytest.mark.parametrize("what", ["REGISTER", "LOCK", "PARTITION", "POSITION", "MERGE"])
def test_odd_answers_to_a_shipper(gateway, what):
    pattern = getattr(fakepg, what)
    all = [Shipper(gateway, **{what: answer}) for answer in ODD.values()]
    for one in all:
        one.until(lambda one: any(pattern in sql for sql in one.server.statements) and "event=ship_started" in one.process.text())
    for one in all:
        one.end()


def endless(piece):
    def answer(link):
        link.sendall(rows([["1"]])[:-len(message(b"C", b"SELECT 1\0"))])
        while True:
            link.sendall(piece * 1000)
    return answer


def test_answers_that_never_end(gateway):
    """SIGTERM ends a shipper whatever the server goes on sending."""
    all = [Shipper(gateway, REGISTER=endless(piece)) for piece in (
        rows([["x"]]), DONE, message(b"I"), problem(), problem(b"N"), message(b"A", bytes(4) + b"x\0y\0"), message(b"S", b"a\0b\0"))]
    all.append(Shipper(gateway, REGISTER=lambda link: time.sleep(30)))
    for one in all:
        one.until(lambda one: any(fakepg.REGISTER in sql for sql in one.server.statements))
    for one in all:
        one.end()


COMMANDS = [("list",), ("list", "--json"), ("verify",), ("verify", "--json"), ("resend", "--since", "all"), ("drop", "--before", "2024-01", "--yes"),
            ("retire", "one"), ("init",), ("add", "one"), ("savings",), ("savings", "--json", "--by", "model"), ("savings", "--by", "gateway"), ("export",),
            ("export", "--csv")]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_odd_answers_to_a_command(gateway, args):
    words = {"savings": ["savings", "--fleet"], "export": ["ledger", "export", "--fleet"]}.get(args[0], ["fleet", args[0]])
    for name, answer in ODD.items():
        with fakepg.Server({"SET ": DONE, "": answer}, login=problem(b"N", text=EVIL)) as server:
            done = cli(*words, *args[1:], "-c", gateway.config, "--fleet-uri", server.uri("reader"))
        assert not ACTED_ON.search((done.out + done.err).replace("\r\n", "\n") if "--csv" in args else done.out + done.err), (name, done)
