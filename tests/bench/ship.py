#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Rows a second that `spoa-llm ship` brings from a ledger into PostgreSQL, beside psql with the same COPY and the same statements, in one run.

    tests/bench/ship.py [ROWS] [ROUNDS]      exit 1 below 0.8

The rounds of both alternate, each with a new gateway and the same rows; the figures are medians. PostgreSQL runs on this machine, without fsync. psql gets the
COPY's lines from files, so it does not read the ledger, and does not encode."""
import os
import pathlib
import re
import sqlite3
import statistics
import subprocess
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / name) for name in ("rig", "blackbox")]
import fleets  # noqa: E402
import harness  # noqa: E402
import postgres  # noqa: E402
from processes import Process  # noqa: E402

STORE = harness.ROOT / "build" / "bench" / "ledger_store"
BATCH, WANTED = 5000, 0.8


def filled(fleet, name, rows):
    gateway = fleets.Gateway(fleet, name)
    subprocess.run([str(STORE), "fill", str(gateway.directory / "ledger"), str(rows)], check=True, stdout=subprocess.DEVNULL)
    return gateway


def shipped(fleet, gateway, rows):
    """Seconds from the connection to the last row."""
    process = Process("agent", harness.argv("ship", "-c", gateway.config), gateway.directory / "ship.log", harness.environment())
    harness.until(lambda: "event=ship_connected" in process.text(), 30, lambda: process.tail())
    began = time.monotonic()
    harness.until(lambda: int(fleet.value("select rows from spoa_llm.gateways where name = '%s'" % gateway.name)) == rows, 600, "all rows", step=.05)
    took = time.monotonic() - began
    assert process.end() == 0
    return took


def statements(server):
    """COPY and merge, as the shipper sent them, out of the server's log."""
    text = server.log()
    copy = re.search(r"statement: (COPY pg_temp\.stage \([^)]*\) FROM STDIN)", text).group(1)
    stage = re.search(r"statement: (CREATE TEMPORARY TABLE stage .*)", text).group(1)
    merge = re.search(r"execute <unnamed>: (WITH kept AS .*)", text).group(1)
    return stage, copy, merge


def text_of(value):
    return "\\N" if value is None else str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def by_psql(fleet, gateway, sql, rows):
    """Seconds of psql for the same."""
    stage, copy, merge = sql
    number = gateway.register()[0][0]
    columns = re.search(r"\(sequence, (.*)\)", copy).group(1)
    base = sqlite3.connect("file:%s?mode=ro" % gateway.db, uri=True)
    script = [stage + ";"]
    for at in range(0, rows, BATCH):
        path = gateway.directory / ("batch%d" % at)
        lines = base.execute("select rowid, %s from requests where rowid > %d order by rowid limit %d" % (columns, at, BATCH))
        path.write_text("".join("\t".join(map(text_of, line)) + "\n" for line in lines))
        one = merge.replace("$1", number).replace("$2", "1").replace("$3", "false")
        script += ["BEGIN;", "SELECT position FROM spoa_llm.gateways WHERE no = %s FOR UPDATE;" % number,
                   "\\copy %s" % copy[len("COPY "):].replace("STDIN", "'%s'" % path), one + ";",
                   "UPDATE spoa_llm.gateways SET position = %d, rows = rows + %d WHERE no = %s;" % (at + BATCH, BATCH, number), "COMMIT;"]
    base.close()
    began = time.monotonic()
    gateway.sql("\n".join(script))
    took = time.monotonic() - began
    assert fleet.value("select count(*) from spoa_llm.requests where gateway = %s" % number) == str(rows)
    return took


def main(rows=50000, rounds=5):
    rows = int(rows) // BATCH * BATCH
    with postgres.Server(settings=["log_statement = 'all'", "max_wal_size = '4GB'", "shared_buffers = '256MB'"]) as server:
        fleet = fleets.Fleet(server)
        shipped(fleet, filled(fleet, "warm", BATCH), BATCH)
        sql = statements(server)
        server.psql("ALTER SYSTEM SET log_statement = 'none'", database="postgres")
        server.psql("SELECT pg_reload_conf()", database="postgres")
        ours, theirs = [], []
        for number in range(int(rounds)):
            ours.append(shipped(fleet, filled(fleet, "ours%d" % number, rows), rows))
            theirs.append(by_psql(fleet, filled(fleet, "psql%d" % number, rows), sql, rows))
        ratio = statistics.median(b / a for a, b in zip(ours, theirs))
        print("| %s rows, batches of %d, %d rounds | rows a second |\n| --- | ---: |" % (rows, BATCH, len(ours)))
        for name, times in (("psql, the same COPY and statements", theirs), ("spoa-llm ship", ours)):
            print("| %s | %.0f |" % (name, rows / statistics.median(times)))
        print("\npaired ratio: %.2f; wanted: %.2f: %s" % (ratio, WANTED, "met" if ratio >= WANTED else "missed"))
        return ratio < WANTED


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
