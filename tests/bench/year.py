"""`make bench-year`: how large the sums of a fleet's hours become, and how long `savings --fleet` takes over them.

    python3 tests/bench/year.py [--days 365] [--gateways 20] [--models 50] [--projects 20] [--routes 5]

Each hour of each gateway has requests of every model, project and route, which is the most that there can be; figures are of the size that a gateway with
some requests a second has. A report of the fleet has to read these sums alone: exit 1 if PostgreSQL looked into the table of requests for one."""
import argparse
import json
import os
import subprocess
import sys
import time

import fleet as bench_fleet

fleets, harness, postgres = bench_fleet.fleets, bench_fleet.harness, bench_fleet.postgres

FILL = """
insert into spoa_llm.gateways (uuid, name, ledger_epoch, version, schema) select gen_random_uuid(), 'g' || n, '', '', 1 from generate_series(1, {gateways}) n;
alter table spoa_llm.hourly drop constraint hourly_pkey, disable trigger user; drop index spoa_llm.hourly_gateway;
insert into spoa_llm.hourly select g, kind, bucket, label, {sums}
 from generate_series({begin}, {end} - 3600, 3600) bucket, generate_series(1, {gateways}) g,
 (select 0 as kind, '' as label union all select 1, 'model-' || n from generate_series(1, {models}) n
  union all select 2, 'route-' || n from generate_series(1, {routes}) n union all select 3, 'project-' || n from generate_series(1, {projects}) n) labels;
alter table spoa_llm.hourly add primary key (kind, bucket, gateway, label);
create index hourly_gateway on spoa_llm.hourly (gateway, bucket);
alter table spoa_llm.hourly enable trigger user;
insert into spoa_llm.daily (gateway, kind, bucket, label{names}) select gateway, kind, bucket - bucket % 86400, label{added} from spoa_llm.hourly group by 1, 2, 3, 4;
analyze spoa_llm.hourly, spoa_llm.daily;"""
HOUR = 3600


def run_long(fleet, sql):
    """As fleet.sql(), which gives up after two minutes."""
    server = fleet.server
    subprocess.run([str(server.bin / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(server.dir), "-p", str(server.port), "-U", "admin", "-d", fleet.database],
                   input=sql, env=server.env, universal_newlines=True, check=True)


def scans(fleet):
    """How often a statement looked into the requests."""
    return int(fleet.value("select sum(seq_scan + coalesce(idx_scan, 0)) from pg_stat_user_tables where relname like 'requests%'"))


def main():
    parse = argparse.ArgumentParser()
    for name, default in (("days", 365), ("gateways", 20), ("models", 50), ("projects", 20), ("routes", 5)):
        parse.add_argument("--" + name, type=int, default=default)
    args = parse.parse_args()
    end = int(time.time()) // HOUR * HOUR
    with postgres.Server(settings=["maintenance_work_mem = '256MB'", "max_wal_size = '4GB'"]) as server:
        fleet = fleets.Fleet(server)
        names = [row[0] for row in fleet.sql("select column_name from information_schema.columns where table_schema = 'spoa_llm' and table_name = 'hourly'"
                                             " and ordinal_position > 4 order by ordinal_position")]
        sums = ", ".join("g * 1000003 + bucket / 3600 % 977" if name not in ("cost", "saved_cache", "saved_routing", "saved_compression", "bytes_in", "bytes_out")
                         else "g * 10000000019 + bucket" for name in names)
        run_long(fleet, FILL.format(sums=sums, names=", ".join(["", *names]), added=", ".join(["", *("sum(%s)" % name for name in names)]), begin=end - args.days * 86400, end=end, **vars(args)))
        rows, heap, index = fleet.sql("select count(*), pg_table_size('spoa_llm.hourly'), pg_indexes_size('spoa_llm.hourly') from spoa_llm.hourly")[0]
        print("%d gateways, %d days, %d labels an hour: %s rows of `hourly`, %.1f GB and %.1f GB of indexes, %.0f bytes a row" % (
            args.gateways, args.days, 1 + args.models + args.projects + args.routes, rows, int(heap) / 1e9, int(index) / 1e9,
            (int(heap) + int(index)) / int(rows)), flush=True)
        flags, before = fleet.reader("people"), scans(fleet)
        for days in sorted({1, 30, args.days}):
            took = []
            for by in ("", "gateway", "model", "project", "day"):
                begin = time.monotonic()
                done = harness.cli("savings", "--fleet", "--json", "--since", "%dd" % days, *(["--by", by] if by else []), *flags, seconds=3600)
                took.append("%s %.2f s" % (by or "no --by", time.monotonic() - begin))
                assert done.code == 0 and json.loads(done.out)["totals"]["requests"] > 0, done
            print("savings --fleet --since %dd: %s" % (days, ", ".join(took)), flush=True)
        seen = scans(fleet) - before
    if seen:
        sys.exit("the reports looked into the requests %d times" % seen)


if __name__ == "__main__":
    os.umask(0o022)
    main()
