"""The agent stops, drains, or is upgraded and then stopped, on a disk on which each sync takes long. HAProxy's ring forgets a line as soon as the
kernel has it: each such line has a row. What it cannot send it keeps for the next agent."""
import os
import signal
import socket
import sqlite3
import threading
import time

import pytest

import harness
from ledgers import Ledger
from test_keeping import line_of

SYNC_MS = 500


class Ring(threading.Thread):
    """Sends lines as HAProxy's ring does: one after the other, and by another connection as soon as the first one has ended. `sent`: the ids of
    those that the kernel took."""

    def __init__(self, family, address):
        super().__init__()
        self.family, self.address = family, address
        self.sent, self.tried, self.connections, self.stopped = [], 0, 0, threading.Event()

    def connect(self):
        made = socket.socket(self.family)
        try:
            made.connect(self.address)
            self.connections += 1
            return made
        except OSError:
            made.close()
            return None

    def run(self):
        connection = None
        while not self.stopped.wait(0.002):
            connection = connection or self.connect()
            if not connection:
                continue
            name = "fed-%06d" % self.tried
            line = ("<134>1 - - - - - - " + line_of(name)).encode()
            self.tried += 1
            try:
                connection.sendall(b"%d %s" % (len(line), line))
                self.sent.append(name)
            except OSError:     # part of the line may have been sent, and HAProxy would not send it again either
                connection.close()
                connection = None
        if connection:
            connection.close()

    def end(self):
        self.stopped.set()
        self.join()


@pytest.mark.parametrize("how", ["stop", "drain", "upgrade and stop", "upgrade and drain", "upgrade, crash and stop"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_each_line_that_was_sent_has_a_row(work, agents, kind, how):
    one = Ledger(work)
    port, path = harness.free_port(), str(work / "log.sock")
    config = {"ledger": str(work / "ledger"), "log_listen": ["127.0.0.1:%d" % port if kind == "tcp" else "unix@" + path], "drain_timeout": 1,
              "watchdog": 2}
    agents(config).process.end()     # makes the tables, for which SQLite syncs a dozen times
    preload = " ".join(filter(None, [harness.environment().get("LD_PRELOAD"), str(harness.built("slowsync.so"))]))
    agent = agents(config, env={"LD_PRELOAD": preload, "SLOWSYNC_MS": str(SYNC_MS),
                                "ASAN_OPTIONS": harness.environment().get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"})
    ring = Ring(*(socket.AF_INET, ("127.0.0.1", port)) if kind == "tcp" else (socket.AF_UNIX, path))
    ring.start()
    try:
        harness.until(lambda: len(ring.sent) > 200, 10, "lines")
        if how.startswith("upgrade"):
            agent.upgrade()
            time.sleep(0.2)
        lost = 0
        if "crash" in how:      # what is on its way through the ring's connection ends with the worker that has it
            before, killed = ring.connections, agent.pid
            os.kill(killed, signal.SIGKILL)
            harness.until(lambda: ring.connections > before and agent.pid != killed, 10, "another worker, and a connection to it")
            lost = len(ring.sent)
            harness.until(lambda: len(ring.sent) > lost + 50, 10, "lines")
        assert agent.process.end(signal.SIGUSR1 if how.endswith("drain") else signal.SIGTERM, seconds=30) == 0
        sent = set(ring.sent[lost:])
    finally:
        ring.end()
    assert not agent.lines("event=ledger_waits .*this worker ends")
    agents(dict(config, log_listen=["127.0.0.1:%d" % harness.free_port()])).process.end()    # what only the journal has
    base = sqlite3.connect("file:%s?mode=ro" % one.db, uri=True)
    rows = [row[0] for row in base.execute("SELECT id FROM requests")]
    base.close()
    assert len(rows) == len(set(rows))
    assert not sent - set(rows), "%d of %d lines are lost" % (len(sent - set(rows)), len(sent))
