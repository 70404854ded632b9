"""`make bench-shipping`: what the local ledger takes in while `spoa-llm ship` reads it and PostgreSQL takes the rows, beside the same without a shipper.

    python3 tests/bench/shipping.py [--records 600000] [--rounds 5] [--check 0.95]

Two figures of ledger_intake, which is the ledger of an agent without its sockets: records for each second of its CPU, which is what shipping costs the
agent, and records a second. Shipper and PostgreSQL get the CPU that is left over here (SCHED_IDLE), because the second figure asks what the ledger waits
for (locks, the write-ahead log, the disk), and not how many cores the machine has. The two ways change places at random. Exit 1: the median of the
rounds' ratios is below --check for either figure."""
import argparse
import contextlib
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys

import fleet as bench_fleet

fleets, harness, postgres = bench_fleet.fleets, bench_fleet.harness, bench_fleet.postgres
INTAKE = harness.ROOT / "build" / "bench" / "ledger_intake"
FIGURES = re.compile(r"(\d+) records for each second of CPU, (\d+) records/s")


@contextlib.contextmanager
def no_autogroups():
    """Where the kernel gives each session an equal share (sched_autogroup_enabled), a process that has SCHED_IDLE and a session of its own, as each backend of
    PostgreSQL does, gets as much as the ledger: so that is off meanwhile, which takes root."""
    switch = pathlib.Path("/proc/sys/kernel/sched_autogroup_enabled")
    before = switch.read_text() if switch.exists() else "0"
    if before.strip() != "0":
        try:
            switch.write_text("0")
        except OSError as e:
            sys.exit("%s is on, and the second figure would be of how CPU is shared: run this as root, or switch it off (%s)" % (switch, e))
    try:
        yield
    finally:
        if before.strip() != "0":
            switch.write_text(before)


def leftover(pid):
    """The process gets the CPU that no other one wants, and so do those that it starts."""
    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def intake(fleet, name, records, ships):
    """(records a second of CPU, records a second, share of them in PostgreSQL by then)."""
    gateway = fleets.Gateway(fleet, name)
    gateway.take(bench_fleet.Maker(seed=1).make(1))
    shipper = None
    shipped = "select coalesce(max(rows), 0) from spoa_llm.gateways where name = '%s'" % name
    if ships:
        shipper = harness.Process("agent", harness.argv("ship", "-c", gateway.config), gateway.directory / "ship.log", harness.environment())
        leftover(shipper.pid)
        harness.until(lambda: fleet.value(shipped) == "1", 30, shipper.tail)
    run = subprocess.run([str(INTAKE), str(gateway.db.parent), str(records)], stdout=subprocess.PIPE, universal_newlines=True)
    found = FIGURES.search(run.stdout)
    assert found, run.stdout
    share = int(fleet.value(shipped)) / records
    if shipper:
        assert share > 0, "nothing was shipped meanwhile: take more --records"
        shipper.end()
        shipper.check()
    return int(found[1]), int(found[2]), share


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--records", type=int, default=600000)
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--check", type=float, default=0)
    args = parse.parse_args()
    rounds = []
    with no_autogroups(), postgres.Server(durable=True) as server:
        leftover(server.process.pid)
        fleet = fleets.Fleet(server)
        for number in range(args.rounds):
            ways = [False, True]
            random.shuffle(ways)
            rounds.append({ships: intake(fleet, "r%d%s" % (number, "with" if ships else "without"), args.records, ships) for ships in ways})
            print("round %d: with a shipper %d records a second of CPU, %d records/s (%.0f %% of them in PostgreSQL at the end); without %d, %d" % (
                number + 1, *rounds[-1][True][:2], 100 * rounds[-1][True][2], *rounds[-1][False][:2]), flush=True)
    ratios = [statistics.median(one[True][figure] / one[False][figure] for one in rounds) for figure in (0, 1)]
    print("with a shipper / without, median of %d rounds: records a second of CPU %.3f, records a second %.3f" % (args.rounds, *ratios))
    if min(ratios) < args.check:
        sys.exit("%.3f is below %.3f" % (min(ratios), args.check))


if __name__ == "__main__":
    os.umask(0o022)
    main()
