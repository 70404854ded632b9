"""Budgets when the world around them is odd: clocks that are set back, a ledger that cannot be read for a while, names of every kind."""
import sqlite3
import struct

import pytest

import harness
import keys
from adminserver import admin  # noqa: F401
from harness import ROOT, until
from test_budgets_seen import KEYS, PROJECTS, budgeted

DAYS = 86400
ALICE = keys.entry("alice", KEYS["alice"], budget={"usd": "0.01", "per": "day"})


@pytest.mark.skipif("asan" in harness.AGENT or "tsan" in harness.AGENT or harness.VALGRIND, reason="these tools want to be the first library")
def test_a_clock_that_is_set_back_gives_no_second_budget(work, admin):
    clock = work / "clock"

    def move(seconds):
        with open(clock, "r+b" if clock.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))
    move(0)
    agent = budgeted(admin, work, clients=[ALICE], projects=[], env={"LD_PRELOAD": str(ROOT / "build" / "clock.so"), "TEST_CLOCK": str(clock)})
    # The budget of a day suffices for a thousand tokens.
    until(lambda: agent.ask_as("alice", "1", 900)["deny"] is False, 10, "what was spent is known")
    agent.ended("1", "alice", tokens=(1, 950))
    until(lambda: agent.account("alice")["spent_nano"] > 0, 10, "the first one is settled")
    assert agent.ask_as("alice", "2", 100)["code"] == "insufficient_quota"
    move(40 * DAYS)
    assert agent.ask_as("alice", "3", 900)["deny"] is False
    agent.ended("3", "alice")
    until(lambda: agent.account("alice")["reserved_nano"] == 0, 10, "the agent counts another day")
    move(0)
    until(lambda: agent.account("alice")["spent_nano"] > 0, 15, "the agent counts the first day")
    assert agent.ask_as("alice", "4", 100)["code"] == "insufficient_quota"


def test_what_could_not_be_read_is_read_later(work, admin):
    agent = budgeted(admin, work, clients=[ALICE], projects=[])
    until(lambda: agent.ask_as("alice", "1", 10)["deny"] is False, 10, "what alice has spent is known")
    # For the budgets, all requests without an id would be one request.
    assert agent.ask_as("alice", "", 10)["code"] == "contract_outdated"
    with sqlite3.connect(agent.home / "ledger.db") as base:
        base.execute("alter table spending rename to hidden")
    keys.write(work / "clients.json", [ALICE, keys.entry("bob", KEYS["bob"], budget={"usd": 1, "per": "day"})])
    until(lambda: agent.ask_as("bob", "2", 10)["code"] == "gateway_unavailable", 10, "bob is a client, and nobody knows what bob has spent")
    with sqlite3.connect(agent.home / "ledger.db") as base:
        base.execute("alter table hidden rename to spending")
    until(lambda: agent.ask_as("bob", "3", 10)["deny"] is False, 15, "what bob has spent is known")
