"""Ledgers for the tests: `LedgerGateway` fills one by requests through HAProxy, `Ledger` has the commands on one that log lines fill
(loglines.py). `ledger` and `day` are fixtures; a file of tests that wants one imports it."""
import fcntl
import json
import os
import pathlib
import random
import re
import socket
import sqlite3
import time

import pytest

import harness
import loglines
import namespaces
from harness import cli
from loglines import DAY, FIGURES, MONEY, Maker

GROUPS = ("model", "route", "project", "client", "member", "day", "hour")
NOW = int(time.time() * 1000)
KEY = harness.secret("log-key")
OPERATOR = harness.secret("ledger-operator")
# Dollars per token, as LiteLLM's file has them.
PRICES = {
    "gpt-l": {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5, "cache_read_input_token_cost": 1.25e-6},
    "claude-l": {"input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5, "cache_read_input_token_cost": 3e-7,
                 "cache_creation_input_token_cost": 3.75e-6},
    "glm-l": {"input_cost_per_token": 6e-7, "output_cost_per_token": 2.2e-6, "cache_read_input_token_cost": 1.1e-7},
    "gemini-l": {"input_cost_per_token": 3e-7, "output_cost_per_token": 2.5e-6},
    "sample_spec": {"input_cost_per_token": 1},
}


# ---- by requests


class Sockets:
    """Holds the agent's sockets, as systemd does, so that connections and datagrams wait while no agent is there: the log sockets, and `more`
    addresses of unix sockets."""

    def __init__(self, *more):
        self.dir = harness.workdir()
        self.addresses = ["unix@%s/log.sock" % self.dir, "dgram@%s/log.dgram" % self.dir]
        self.all = [self._open(*address.split("@")) for address in (*self.addresses, *more)]

    @staticmethod
    def _open(kind, path):
        if kind == "dgram":
            return namespaces.datagram_socket(path)
        stream = socket.socket(socket.AF_UNIX)
        stream.bind(path)
        stream.listen(4096)
        return stream

    def close(self):
        for sock in self.all:
            sock.close()


def for_haproxy(addresses):
    """What HAProxy gets for the agent's `log_listen`: LLM_LOG_RING and LLM_LOG_UDP. Nobody listens on the one that is missing."""
    ring = [one for one in addresses if not one.startswith(("udp@", "dgram@"))]
    datagrams = [one.replace("dgram@", "unix@").replace("udp@", "") for one in addresses if one not in ring]
    return {"LLM_LOG_RING": (ring or ["127.0.0.1:1"])[0], "LLM_LOG_UDP": (datagrams or ["127.0.0.1:1"])[0]}


def begun_stream(gateway):
    """A stream of which the first event has come: its connection, and its id."""
    connection = gateway.connect()
    body = json.dumps({"model": "claude-l", "stream": True}).encode()
    connection.sock.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    data = b""
    while b"message_start" not in data:
        data += connection.sock.recv(65536)
    return connection, re.search(rb"(?i)x-request-id: (\S+)", data).group(1).decode()


class LedgerGateway(harness.Gateway):
    """A gateway whose agent keeps a ledger. `sockets`: log sockets that outlive the agent; `logs`: other addresses than the two unix sockets,
    as the configuration has them."""

    before_agent = namespaces.LONG_QUEUE

    def __init__(self, haproxy, mocks, config, sockets=None, env=None, ledger=None, logs=None, limits=None, **more):
        self.sockets = sockets
        self.home = harness.workdir()
        self.ledger_dir = pathlib.Path(ledger) if ledger else self.home / "ledger"
        self.ledger_dir.mkdir(exist_ok=True)
        prices = self.home / "prices.json"
        prices.write_text(json.dumps(PRICES))
        self.logs = sockets.addresses if sockets else logs or ["unix@%s/log.sock" % self.home, "dgram@%s/log.dgram" % self.home]
        config = dict({"ledger": str(self.ledger_dir), "log_listen": self.logs, "prices": str(prices)}, **config)
        super().__init__(haproxy, mocks, config, env=dict({"SPOA_LLM_LOG_KEY": KEY, "LEDGER_KEY": OPERATOR}, **(env or {})),
                         limits=dict(for_haproxy(self.logs), SPOA_LLM_LOG_KEY=KEY, **(limits or {})), **more)

    def start_agent(self):
        if not self.sockets:
            before = () if self.config.get("admin_listen") else self.before_agent   # which leaves it without a network
            self.agent = harness.Agent(self.dir, self.config, self.args, self.env, before=before)
            return None
        # LISTEN_PID has to be the agent's own id, so a shell sets it and becomes the agent.
        file = harness.write_config(self.dir, self.config)
        # Above the numbers that they get.
        held = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 32) for sock in self.sockets.all]
        command = "exec env LISTEN_PID=$$ LISTEN_FDS=%d \"$@\" %s" % (len(held), " ".join("%d<&%d %d<&-" % (3 + i, fd, fd) for i, fd in enumerate(held)))
        self.agent = harness.Agent.__new__(harness.Agent)
        self.agent.directory, self.agent.config, self.agent.file = self.dir, self.config, file
        self.agent.address, self.agent.expect_exit = self.config["listen"], {0}
        log = self.dir / ("agent-%d.log" % time.monotonic_ns())
        self.agent.process = harness.Process("agent", ["bash", "-c", command, "agent"] + harness.argv("run", "-c", file), log,
                                             harness.environment(dict({"SPOA_LLM_ADMIN_LISTEN": "none"}, **self.env)), close_fds=False)
        for fd in held:
            os.close(fd)
        self.agent.ready()
        return None

    def _select(self, what):
        path = self.ledger_dir / "ledger.db"
        if not path.exists():
            return []
        base = sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=20)
        base.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in base.execute("select %s from requests" % what)]
        except sqlite3.OperationalError:
            return []
        finally:
            base.close()

    def ids(self):
        return [row["id"] for row in self._select("id")]

    def rows(self):
        rows = self._select("*")
        for row in rows:
            row["usage_from"] = ("none", "reported", "partial", "estimated", "unknown", "stream")[row["usage"]]
            row["price_from"] = ("none", "table", "unpriced", "partial")[row["price"]]
        return rows

    def wait_rows(self, count, seconds=20):
        harness.until(lambda: len(self.rows()) >= count, seconds,
                      lambda: "%d of %d rows\n%s" % (len(self.rows()), count, self.agent.process.tail()), step=0.1)
        time.sleep(0.3)     # for one too many
        return self.rows()

    def by_id(self, count, seconds=20):
        rows = self.wait_rows(count, seconds)
        ids = [row["id"] for row in rows]
        assert len(ids) == len(set(ids)), "a request is in the ledger twice"
        return {row["id"]: row for row in rows}


def routes(mock, **more):
    return [dict({"model_prefix": prefix, "name": prefix[:-1], "upstream": mock.url(), "auth": "env:LEDGER_KEY"}, **extra)
            for prefix, extra in (("gpt-", {"reference_model": "claude-l"}), ("claude-", {}), ("glm-", {}), ("gemini-", {}),
                                  ("free-", {}))] + [
        {"model_prefix": "lost-", "name": "lost", "upstream": mock.url(), "auth": "env:NOT_SET"}]


# ---- by log lines


class Ledger:
    """A directory with a configuration, and the commands on it."""

    def __init__(self, directory, **config):
        self.directory = directory
        (directory / "ledger").mkdir()
        (directory / "prices.json").write_text(json.dumps(loglines.PRICES))
        self.config = harness.write_config(directory, dict({
            "ledger": str(directory / "ledger"), "prices": str(directory / "prices.json"), "routes": loglines.ROUTES}, **config))
        self.db = directory / "ledger" / "ledger.db"

    def run(self, *args, code=0, **more):
        done = cli(*args, "-c", self.config, **more)
        assert done.code == code, done
        return done

    def ledger(self, *args, **more):
        return self.run("ledger", *args, **more)

    def take(self, entries, name="log", rng=None):
        """Imports them; what the import says."""
        path = self.directory / name
        path.write_text("".join((entry.with_prefix(rng).line if rng else entry.line) + "\n" for entry in entries))
        return json.loads(self.ledger("import", path, "--json").out)

    def savings(self, *args):
        return json.loads(self.run("savings", "--json", *args).out)

    def export(self, *args):
        return [json.loads(line) for line in self.ledger("export", *args).out.splitlines()]


@pytest.fixture
def ledger(work):
    return Ledger(work)


@pytest.fixture(scope="module")
def day(module_work):
    """Twelve days of everything, hostile names too; not to be changed."""
    one = Ledger(module_work)
    one.entries = Maker(seed=random.randrange(1 << 30), span_ms=12 * DAY, hostile=True).make(4000)
    one.wants = [entry.want for entry in one.entries]
    one.said = one.take(one.entries, rng=random.Random(5))
    return one


def figures_of(row):
    """The figures as integers, whatever their unit."""
    out = {}
    for name in FIGURES:
        if name + "_usd" in row:
            assert re.fullmatch(r"-?\d+\.\d{9}", row[name + "_usd"]), row
            out[name] = int(row[name + "_usd"].replace(".", ""))
        else:
            out[name] = int(row[name + "_nanodollars" if name in MONEY and name + "_nanodollars" in row else name])
    total = row.get("saved_total_nanodollars", None)
    total = int(row["saved_total_usd"].replace(".", "")) if total is None else total
    assert total == out["saved_compression"] + out["saved_cache"] + out["saved_routing"]
    return out


def round_half(n, unit):
    whole = (abs(n) * 2 + unit) // (2 * unit)
    return whole if n >= 0 else -whole
