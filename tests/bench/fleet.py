"""`make bench-fleet`: how fast `spoa-llm ship` fills PostgreSQL, beside psql with the same COPY and INSERT ... SELECT and nothing of ours around them.

    python3 tests/bench/fleet.py [--rows ROWS] [--rounds 3] [--gateways 1] [--check 0.8]

Both write the same rows in the same batches of 5,000, as the same kind of role, to the same server with its usual durability (fsync on), in turns. psql
has its input ready in a file; `ship` reads the ledger. For psql the triggers that keep the sums by day and by all labels are off. `--gateways`: so many of
each at a time. `plain` is psql without any sums. Without `--rows`, each has so many rows that what waits in `facet_log` is added up once, as often as for as
many rows of a longer backlog (docs/fleet.md, "How it is stored"): 105,000, or 38,333 of each of six gateways. Exit 1: the median of the rounds' ratios is
below --check."""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import fleets  # noqa: E402
import harness  # noqa: E402
import postgres  # noqa: E402
from loglines import Maker  # noqa: E402

BATCH = 5000


def merge_of(server, gateway):
    """The statement by which rows get from the temporary table into the others, as PostgreSQL's log has it."""
    gateway.resend()
    return re.findall(r"execute <unnamed>: (WITH kept AS .*incoming.*)", server.log())[-1]


class Writer(fleets.Gateway):
    """A gateway with a ledger of `rows` requests, and a file of psql that writes the same rows."""

    def __init__(self, fleet, name, rows, first):
        super().__init__(fleet, name)
        self.rows = rows
        self.take(Maker(seed=int(name[1:]), span_ms=3 * 3600 * 1000).make(rows))
        self.last = int(self.meta("sequence"))
        self.no = self.register()[0][0]
        if first is None:
            self.columns = fleet.value("select string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns"
                                       " where table_schema = 'spoa_llm' and table_name = 'requests' and ordinal_position > 3")
            self.merge = merge_of(fleet.server, self)
        else:
            self.columns, self.merge = first.columns, first.merge
            self.resend()
        copied = self.directory / "rows"
        self.sql("\\copy (select sequence, %s from spoa_llm.requests order by sequence) to '%s'" % (self.columns, copied))
        lines = copied.read_text().splitlines(True)
        assert len(lines) == rows
        self.scripts = {}
        plain = "insert into spoa_llm.requests (gateway, epoch, sequence, {0}) select $1, $2, sequence, {0} from pg_temp.stage on conflict do nothing".format(
            self.columns)
        for kind, statement in (("psql", self.merge), ("plain", plain)):
            statement = statement.replace("$1", self.no).replace("$2", "1").replace("$3", "false")
            self.scripts[kind] = self.directory / kind
            with open(self.scripts[kind], "w") as out:
                out.write("create temporary table stage on commit delete rows as select sequence, %s from spoa_llm.requests with no data;\n" % self.columns)
                for at in range(0, rows, BATCH):
                    out.write("begin;\nselect epoch, position from spoa_llm.gateways where no = %s for update;\ncopy pg_temp.stage from stdin;\n" % self.no)
                    out.writelines(lines[at:at + BATCH])
                    out.write("\\.\n%s;\nupdate spoa_llm.gateways set position = %d where no = %s;\ncommit;\n" % (
                        statement, min(at + BATCH, rows), self.no))

    def start(self, kind):
        if kind == "ship":
            return harness.Process("agent", harness.argv("ship", "-c", self.config), self.directory / "ship.log", harness.environment())
        argv = [self.fleet.server.bin / "psql", "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-h", self.fleet.server.dir, "-p",
                str(self.fleet.server.port), "-U", self.role, "-d", self.fleet.database, "-f", self.scripts[kind]]
        return harness.Process("psql", [str(arg) for arg in argv], self.directory / (kind + ".log"),
                               dict(self.fleet.server.env, PGPASSWORD=self.password))


def turn(fleet, writers, kind):
    """Seconds until PostgreSQL has all rows."""
    triggers = "".join("alter table spoa_llm.%s %s trigger user; " % (table, "enable" if kind == "ship" else "disable") for table in ("requests", "hourly"))
    fleet.sql("truncate spoa_llm.requests, spoa_llm.hourly, spoa_llm.daily, spoa_llm.facets, spoa_llm.facet_labels, spoa_llm.facet_log; %s"
              "update spoa_llm.gateways set position = 0, position_id = '', rows = 0, days_until = 0; checkpoint" % triggers)
    watch = subprocess.Popen([str(fleet.server.bin / "psql"), "-X", "-q", "-A", "-t", "-h", str(fleet.server.dir), "-p", str(fleet.server.port),
                              "-U", "admin", "-d", fleet.database], env=fleet.server.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def behind():
        watch.stdin.write("select count(*) from spoa_llm.gateways where position < %d;\n" % writers[0].last)
        watch.stdin.flush()
        return int(watch.stdout.readline())

    assert behind() == len(writers)
    begin = time.monotonic()
    processes = [writer.start(kind) for writer in writers]
    while behind():
        time.sleep(0.01)
        assert all(process.running() or kind != "ship" for process in processes), processes[0].tail()
        assert time.monotonic() - begin < 600, processes[0].tail()
    seconds = time.monotonic() - begin
    watch.stdin.close()
    watch.wait()
    for process in processes:
        process.end() if kind == "ship" else process.wait(60)
        process.file.close()
    count = int(fleet.value("select count(*) from spoa_llm.requests"))
    assert count == sum(writer.rows for writer in writers), (kind, count, processes[0].tail())
    return seconds


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--rows", type=int)
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--gateways", type=int, default=1)
    parse.add_argument("--check", type=float, default=0)
    parse.add_argument("--json", action="store_true")
    args = parse.parse_args()
    if not args.rows:
        args.rows = BATCH + (100000 if args.gateways <= 2 else max(20000, 200000 // args.gateways))
    with postgres.Server(durable=True, settings=["log_statement = 'all'"]) as server:
        fleet = fleets.Fleet(server)
        writers = []
        for number in range(args.gateways):
            writers.append(Writer(fleet, "g%d" % number, args.rows, writers[0] if writers else None))
        server.settings = []        # statements are logged no longer
        server.stop()
        server.start()
        rounds = [{kind: args.gateways * args.rows / turn(fleet, writers, kind) for kind in ("psql", "ship", "plain")} for _ in range(args.rounds)]
    rates = {kind: statistics.median(one[kind] for one in rounds) for kind in rounds[0]}
    ratio = statistics.median(one["ship"] / one["psql"] for one in rounds)
    if args.json:
        print(json.dumps({"gateways": args.gateways, "rows": args.rows, "rates": rates, "ratio": ratio, "rounds": rounds}))
    else:
        print("%d gateways at a time, %d rows each, rows a second (median of %d): ship %.0f, psql with the same statements %.0f, psql without sums %.0f;"
              " ship / psql %.2f" % (args.gateways, args.rows, args.rounds, rates["ship"], rates["psql"], rates["plain"], ratio))
    if ratio < args.check:
        sys.exit("the ratio %.3f is below %.3f" % (ratio, args.check))


if __name__ == "__main__":
    os.umask(0o022)
    main()
