"""A client may choose names that all fall into one slot of a hash table. The tests compare the CPU time that the agent and its commands need
for such names with the CPU time for random names. Both are measured in the same run, so that the machine's speed and load affect both."""
import functools
import json
import random
import re
import resource
import socket
import string
import subprocess
import time

import pytest

import harness
import loglines
import spop

KEY = harness.secret("log-key-of-collisions")
COUNT = 15000
# The largest ratio of the two CPU times that passes. Measured: 0.9 to 1.2. If the hash of the ledger's sums had no key: 5.2 (verify); if
# the client knew the key: 3.0.
MOST = 1.6
DAY = (int(time.time()) // 86400 - 1) * 86400
# What a sum is kept for, by the ledger's own list, and its length: both go into the hash.
ALL_KINDS = re.search(r"enum \{ (KIND_ALL.*), KIND_COUNT \}", (harness.ROOT / "agent/ledger/store_impl.h").read_text()).group(1).split(", ")
KINDS = {name: ALL_KINDS.index("KIND_" + name.upper()) for name in ("model", "project", "client")}


@pytest.fixture(scope="module")
def collide():
    """names(how, count, number) returns `count` names that tests/preload/collide.c makes for the hash `how`."""
    tool = harness.built("drivers/collide")

    @functools.lru_cache(None)
    def names(how, count, number):
        out = subprocess.run([str(tool), how, str(count), str(number)], stdout=subprocess.PIPE, check=True, timeout=300).stdout.decode().splitlines()
        assert len(out) == count and len(set(out)) == count
        return out
    return names


def by_lot(count, seed):
    rng = random.Random(seed)
    return ["".join(rng.choices(string.ascii_lowercase + string.digits, k=16)) for _ in range(count)]


def entries(names):
    """Yields COUNT records of the first hour of DAY, which has the same number in the sums by hour as DAY has in those by day.
    `names`: {field: names for it}."""
    fields = loglines.Maker(seed=3).one(kind="reported").fields
    for number in range(COUNT):
        fields.update({name: each[number % len(each)] for name, each in names.items()}, id="%08x-c" % number, te=(DAY + 1800) * 1000 + number % 1000)
        yield fields


def colliding(collide, how):
    # For the hash `known`, each colliding name takes 8,192 trials on average. A thousand are enough: a batch has no more records, and the
    # ledger keeps no more names apart in its sums.
    count = COUNT if how == "plain" else 1000
    return {name: collide(how, count, DAY * len(ALL_KINDS) + kind) for name, kind in KINDS.items()}


def random_ones(count):
    return {name: by_lot(count, kind) for name, kind in KINDS.items()}


@pytest.mark.parametrize("how", ["plain", "known"])
def test_in_the_ledger(work, collide, how):
    """`import` sums batches of a thousand records; `verify` then looks for the names of each row in the sums of the day."""
    bad = colliding(collide, how)
    took = {}
    for what, names in (("by lot", random_ones(len(bad["model"]))), ("colliding", bad)):
        ledger = work / what.replace(" ", "-")
        ledger.mkdir()
        lines = ledger / "lines"
        lines.write_text("".join(json.dumps(fields) + "\n" for fields in entries(names)))
        for command in (["import", "--ledger", ledger, lines], ["verify", "--ledger", ledger]):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            done = harness.cli("ledger", *command, seconds=120)
            took[command[0], what] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
            assert done.code == 0, done
    print(took)
    for command in ("import", "verify"):
        assert took[command, "colliding"] < MOST * took[command, "by lot"], took


def test_at_a_running_agent(agents, work, collide):
    """The agent gets the names in questions about requests, and then in the log lines of the ended requests."""
    took = {}
    bad = colliding(collide, "plain")
    for what, names in (("by lot", random_ones(COUNT)), ("colliding", bad)):
        ledger = work / what.replace(" ", "-")
        ledger.mkdir()
        port = harness.free_port()
        agent = agents({"ledger": str(ledger), "log_listen": "127.0.0.1:%d" % port, "routes": [{"model_prefix": "*", "upstream": "http://127.0.0.1:1"}]},
                       env={"SPOA_LLM_LOG_KEY": KEY})
        pid = agent.pid
        idle = harness.cpu_of(pid)
        with agent.client() as client:
            for first in range(0, COUNT, 100):
                batch = range(first, first + 100)
                client.send(b"".join(spop.notify(spop.question(json.dumps({"model": names["model"][one]}), project=names["project"][one],
                                                               client=names["client"][one]), 1 + one, 1) for one in batch))
                assert all(client.ack(1 + one, 1).variables()["deny"] is False for one in batch)
        took["requests", what], asked = harness.cpu_of(pid) - idle, harness.cpu_of(pid)
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            for fields in entries(names):
                line = harness.log_line(fields, KEY)
                sock.sendall(b"%d %s" % (len(line), line))

        def recorded():
            return "spoa_llm_ledger_stored_total %d" % COUNT in agent.http("GET", "/metrics").text
        harness.until(recorded, 60, lambda: agent.http("GET", "/metrics").text[-3000:], step=0.1)
        took["lines", what] = harness.cpu_of(pid) - asked
    print(took)
    for part in ("requests", "lines"):
        assert took[part, "colliding"] < MOST * took[part, "by lot"], took
