"""The fleet's PostgreSQL: `spoa-llm fleet`, roles, TLS, and reports over all gateways. Rows get there by `fleet resend` here, which has the
shipper's statements; test_ship.py has the shipper."""
import csv
import io
import json
import os
import random
import re
import sqlite3
import subprocess

import pytest

import fleets
import harness
import loglines
import postgres
import test_filters
from harness import cli
from ledgers import figures_of
from loglines import DAY, Maker

GROUPS = ("model", "route", "project", "client", "member", "day", "hour")
NAMES = ("berlin", "oslo", "lima")


# What --matrix runs with PostgreSQL 17, too; --whole-matrix runs all.
NEWER = {"test_a_writer_touches_its_own_rows_alone", "test_an_owner_that_is_no_superuser", "test_init"}


def pytest_generate_tests(metafunc):
    if "server" in metafunc.fixturenames:
        option, versions = metafunc.config.getoption, [None]
        if option("--whole-matrix") or (option("--matrix") and metafunc.function.__name__ in NEWER):
            versions.append("17")
        metafunc.parametrize("server", versions, indirect=True, scope="module", ids=lambda version: "postgres-%s" % (version or "here"))


@pytest.fixture(scope="module")
def server(request):
    with postgres.Server(request.param, settings=["log_statement = 'all'"]) as one:
        yield one


@pytest.fixture(scope="module")
def fleet(server):
    """Three gateways with all rows in PostgreSQL; not to be changed."""
    one = fleets.Fleet(server)
    one.gateways = []
    for number, name in enumerate(NAMES):
        gateway = fleets.Gateway(one, name)
        gateway.entries = Maker(seed=random.randrange(1 << 30), span_ms=5 * DAY, hostile=True).make(700 + 100 * number)
        gateway.take(gateway.entries)
        gateway.register()
        gateway.sent = gateway.resend()
        # As the shipper does.
        gateway.sql("update spoa_llm.gateways set position = %s, rows = %d" % (gateway.meta("sequence"), len(gateway.entries)))
        one.gateways.append(gateway)
    one.reading = one.reader("people")
    return one


@pytest.fixture
def alone(server):
    """A fleet for one test, to be changed."""
    return fleets.Fleet(server, "_%d" % random.randrange(1 << 30))


# ---- reports


def read(fleet, *args):
    return cli(*args, *fleet.reading)


@pytest.mark.parametrize("by", GROUPS)
def test_savings_of_the_fleet_are_those_of_its_gateways(fleet, by):
    done = read(fleet, "savings", "--fleet", "--json", "--since", "all", "--by", by)
    assert done.code == 0, done
    said = json.loads(done.out)
    wants = [entry.want for gateway in fleet.gateways for entry in gateway.entries]
    assert figures_of(said["totals"]) == loglines.sums(wants)
    assert {row[by]: figures_of(row) for row in said["rows"]} == loglines.report(wants, by)
    merged = {}
    for gateway in fleet.gateways:
        for row in gateway.savings("--since", "all", "--by", by)["rows"]:
            for name, value in figures_of(row).items():
                merged.setdefault(row[by], {}).setdefault(name, 0)
                merged[row[by]][name] += value
    assert {row[by]: figures_of(row) for row in said["rows"]} == merged
    if by in ("day", "hour"):
        assert [row[by] for row in said["rows"]] == sorted(merged)
    else:
        assert [row[by] for row in said["rows"]] == sorted(merged, key=lambda label: (
            -merged[label]["cost"], -merged[label]["requests"], label.encode()))


def test_savings_by_gateway(fleet):
    done = read(fleet, "savings", "--fleet", "--json", "--since", "all", "--by", "gateway")
    rows = {row["gateway"]: figures_of(row) for row in json.loads(done.out)["rows"]}
    assert rows == {gateway.name: figures_of(gateway.savings("--since", "all")["totals"]) for gateway in fleet.gateways}
    table = read(fleet, "savings", "--fleet", "--since", "all", "--by", "gateway")
    assert table.code == 0 and "of the fleet" in table.out and "the gateways" in table.out and all(name in table.out for name in NAMES), table
    # A gateway's own role suffices.
    own = fleet.gateways[0].run("savings", "--fleet", "--json", "--since", "all", "--by", "gateway").out
    assert {row["gateway"]: figures_of(row) for row in json.loads(own)["rows"]} == rows
    done = fleet.gateways[0].run("savings", "--by", "gateway", code=64)
    assert "--by gateway needs --fleet" in done.err


def test_savings_of_a_period(fleet):
    """The borders of the period fall on the same hours as those of a ledger."""
    since = "2d"
    said = json.loads(read(fleet, "savings", "--fleet", "--json", "--since", since).out)
    total = {}
    for gateway in fleet.gateways:
        for name, value in figures_of(gateway.savings("--since", since)["totals"]).items():
            total[name] = total.get(name, 0) + value
    assert figures_of(said["totals"]) == total and 0 < total["requests"] < sum(len(gateway.entries) for gateway in fleet.gateways)


def test_reports_read_sums_alone(alone):
    """A report over years of millions of requests reads the sums of their hours: it needs no right to see requests."""
    gateway = fleets.gateway_of(alone, "one", 200, span_ms=3 * DAY)
    gateway.resend()
    alone.sql("revoke select on spoa_llm.requests from spoa_llm_reader")
    flags = alone.reader("people")
    for by in (None, "gateway", *GROUPS):
        done = cli("savings", "--fleet", "--since", "all", "--json", *(["--by", by] if by else []), *flags)
        assert done.code == 0 and json.loads(done.out)["totals"]["requests"] == 200, done
    assert "permission denied" in cli("ledger", "export", "--fleet", *flags).err


def test_export_of_the_fleet(fleet):
    rows = [json.loads(line) for line in read(fleet, "ledger", "export", "--fleet").out.splitlines()]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    for gateway in fleet.gateways:
        mine = {row["id"]: row for row in rows if row["gateway"] == gateway.name}
        for row in gateway.export():
            assert mine.pop(row["id"]) == dict(row, gateway=gateway.name)
        assert not mine
    table = list(csv.reader(io.StringIO(read(fleet, "ledger", "export", "--fleet", "--csv").out)))
    assert table[0][-1] == "gateway" and {row[-1] for row in table[1:]} == set(NAMES) and len(table) == len(rows) + 1


def test_what_a_filter_lets_through(fleet):
    """Filters are those of a ledger. For single requests, a gateway's own role, which sees none of others, is refused instead of given a part."""
    wants = [entry.want for gateway in fleet.gateways for entry in gateway.entries]
    test_filters.check(wants, lambda *args: json.loads(read(fleet, "savings", "--fleet", "--json", "--since", "all", *args).out),
                       lambda *args: [json.loads(line) for line in read(fleet, "ledger", "export", "--fleet", *args).out.splitlines()])
    by = json.loads(read(fleet, "savings", "--fleet", "--json", "--since", "all", "--by", "gateway", "--status", "2xx").out)
    assert {row["gateway"]: row["requests"] for row in by["rows"]} == {
        gateway.name: len([entry for entry in gateway.entries if entry.want["status"] // 100 == 2]) for gateway in fleet.gateways}
    args = ["savings", "--fleet", "--json", "--since", "all", "--status", "2xx", "--by", "day"]
    assert fleet.gateways[0].run(*args).out == read(fleet, *args).out
    for command in (["savings", "--id", "*"], ["ledger", "export"]):
        done = fleet.gateways[0].run(*command, "--fleet", code=77)
        assert "use that of a reader" in done.err and not [line for line in done.out.splitlines() if "{" in line], done


def test_grafana(fleet):
    """Each panel's SQL runs as a reader, and says what `savings --fleet` says."""
    dashboard = json.loads((harness.ROOT / "dist" / "grafana-fleet.json").read_text())
    password = (fleet.dir / "password-people").read_text().strip()
    totals = json.loads(read(fleet, "savings", "--fleet", "--json", "--since", "all").out)["totals"]
    names = [row[0] for row in fleet.sql(dashboard["templating"]["list"][1]["query"], user="spoa_llm_people", password=password)]
    assert names == sorted(NAMES)

    def ask(title, gateways):
        sql = next(panel for panel in dashboard["panels"] if panel["title"] == title)["targets"][0]["rawSql"]
        sql = sql.replace("$__unixEpochFrom()", "0").replace("$__unixEpochTo()", "4000000000").replace("$gateway", ", ".join("'%s'" % one for one in gateways))
        assert "$" not in sql, sql
        return fleet.sql(sql, user="spoa_llm_people", password=password)

    for panel in dashboard["panels"]:
        assert ask(panel["title"], NAMES) and panel["targets"][0]["format"] == ("time_series" if panel["type"] == "timeseries" else "table"), panel["title"]
    assert round(float(ask("Cost", NAMES)[0][0]) * 1e9) == totals["cost_nanodollars"]
    assert round(float(ask("Saved by the gateways", NAMES)[0][0]) * 1e9) == totals["saved_gateway_nanodollars"]
    for title, what in (("Requests by gateway", "requests"), ("Failed by gateway", "failed")):
        assert sum(int(row[2]) for row in ask(title, NAMES)) == totals[what] > sum(int(row[2]) for row in ask(title, NAMES[:1]))
    assert sum(int(row[1]) for row in ask("Models", NAMES)) == totals["requests"] and [row[0] for row in ask("Gateways", NAMES)] == sorted(NAMES)


def test_a_reader_that_goes_away_ends_the_export(fleet, server):
    """The statement is cancelled: what is left of a long history is not sent to nobody."""
    process = harness.start("ledger", "export", "--fleet", *fleet.reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 74 and b"Broken pipe" in process.stderr.read()
    process.stderr.close()
    assert "canceling statement due to user request" in server.log()


def test_list(fleet):
    said = json.loads(fleet.run("list", "--json").out)["gateways"]
    assert [one["name"] for one in said] == sorted(NAMES)
    for one, gateway in zip(said, sorted(fleet.gateways, key=lambda gateway: gateway.name)):
        assert (one["uuid"], one["role"], one["rows"]) == (gateway.meta("uuid"), gateway.role, len(gateway.entries))
    text = cli("fleet", "list", *fleet.reading).out
    assert all(gateway.meta("uuid") in text for gateway in fleet.gateways)
    own = json.loads(fleet.gateways[0].run("fleet", "list", "--json").out)["gateways"]
    assert [{**one, "quiet_ms": 0} for one in own] == [{**one, "quiet_ms": 0} for one in said]      # a writer sees how far the others are


# ---- roles


def test_a_writer_touches_its_own_rows_alone(fleet):
    mine, other = fleet.gateways[0], fleet.gateways[1]
    no, theirs = (one.sql("select no from spoa_llm.gateways")[0][0] for one in (mine, other))
    for table in ("requests", "hourly", "gateways", "ledger", "ledger_hourly"):
        seen = mine.sql("select distinct %s from spoa_llm.%s" % (
            {"gateways": "no", "ledger": "gateway", "ledger_hourly": "gateway_name"}.get(table, "gateway"), table))
        assert seen == [[mine.name if table.startswith("ledger") else no]], table
    # Of the others it sees the sums of hours, and how far they are, but no request and no id of one.
    assert int(mine.sql("select count(distinct gateway) from spoa_llm.fleet_sums")[0][0]) == len(NAMES)
    assert mine.sql("select * from spoa_llm.fleet_sums order by 1, 2, 3, 4") == fleet.sql("select * from spoa_llm.hourly order by 1, 2, 3, 4")
    assert mine.sql("select * from spoa_llm.fleet_daily order by 1, 2, 3, 4") == fleet.sql("select * from spoa_llm.daily order by 1, 2, 3, 4")
    assert mine.sql("select count(*) from spoa_llm.fleet_facets") == fleet.sql("select count(*) from spoa_llm.facets")
    assert len(mine.sql("select * from spoa_llm.fleet_gateways")) == len(NAMES)
    assert not {"position_id", "ledger_epoch"} & {row[0] for row in fleet.sql(
        "select column_name from information_schema.columns where table_name in ('fleet_gateways', 'fleet_sums')")}
    before = fleet.sql("select * from spoa_llm.requests where gateway = %s order by id" % theirs)
    sums = fleet.sql("select * from spoa_llm.hourly where gateway = %s order by kind, bucket, label" % theirs)
    harmless = [
        "update spoa_llm.requests set cost = 0 where gateway = %s" % theirs,
        "update spoa_llm.hourly set cost = 0 where gateway = %s" % theirs,
        "update spoa_llm.gateways set position = 7 where no = %s" % theirs]
    for sql in harmless:     # no row that this role sees
        assert mine.sql("with done as (%s returning 1) select count(*) from done" % sql) == [["0"]], sql
    refused = [
        "update spoa_llm.requests set gateway = %s where gateway = %s" % (theirs, no),
        "insert into spoa_llm.requests select %s, %s from spoa_llm.requests limit 1" % (
            theirs, fleet.value("select string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns"
                                " where table_name = 'requests' and ordinal_position > 1")),
        "insert into spoa_llm.rejected (gateway, epoch, sequence, id, problem) values (%s, 1, 1, '', '')" % theirs,
        "insert into spoa_llm.hourly select %s, kind, bucket + 1, label, %s from spoa_llm.hourly limit 1" % (
            theirs, fleet.value("select string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns"
                                " where table_name = 'hourly' and ordinal_position > 4")),
        "update spoa_llm.fleet_sums set cost = 0", "delete from spoa_llm.fleet_sums", "update spoa_llm.fleet_daily set cost = 0", "update spoa_llm.daily set cost = 0",
        "update spoa_llm.facets set cost = 0", "delete from spoa_llm.facets", "select * from spoa_llm.facet_labels", "select spoa_llm.fill()",
        "update spoa_llm.fleet_gateways set behind = 0",
        "insert into spoa_llm.fleet_gateways (name) values ('x')", "delete from spoa_llm.requests", "delete from spoa_llm.hourly", "delete from spoa_llm.gateways", "truncate spoa_llm.requests",
        "update spoa_llm.gateways set name = 'x'", "update spoa_llm.gateways set writer = '%s'" % other.role,
        "update spoa_llm.gateways set uuid = gen_random_uuid()", "insert into spoa_llm.gateways (uuid, name, ledger_epoch) values (gen_random_uuid(), 'x', '')",
        "update spoa_llm.meta set value = '9'", "insert into spoa_llm.meta values ('x', 'y')", "select spoa_llm.drop_before(1800000000000)",
        "select * from spoa_llm.requests_default", "create table spoa_llm.x (a int)", "alter table spoa_llm.requests disable row level security",
        "drop table spoa_llm.requests", "set role admin", "set role %s" % other.role, "create role x"]
    refused += ["select * from %s" % name[0] for name in fleet.sql(
        "select inhrelid::regclass from pg_inherits where inhparent = 'spoa_llm.requests'::regclass")]
    for sql in refused:
        done = mine.sql(sql, code=None)
        assert done.returncode != 0 and re.search("permission denied|row-level security|must be owner", done.stderr), (sql, done)
    assert fleet.sql("select * from spoa_llm.requests where gateway = %s order by id" % theirs) == before
    assert fleet.sql("select * from spoa_llm.hourly where gateway = %s order by kind, bucket, label" % theirs) == sums


def test_a_reader_reads_all_and_writes_nothing(fleet):
    password = (fleet.dir / "password-people").read_text().strip()

    def sql(text):
        return fleet.sql(text, user="spoa_llm_people", password=password, code=None)

    assert int(sql("select count(distinct gateway) from spoa_llm.requests").stdout) == len(NAMES)
    for text in ("update spoa_llm.requests set cost = 0", "update spoa_llm.fleet_sums set cost = 0", "delete from spoa_llm.requests", "insert into spoa_llm.meta values ('a', 'b')",
                 "update spoa_llm.gateways set name = 'x'", "select spoa_llm.drop_before(0)", "select spoa_llm.ensure_partition(0)",
                 "select spoa_llm.register(gen_random_uuid(), 'x', '', '', 1)"):
        assert "permission denied" in sql(text).stderr, text


def test_an_owner_hides_the_gateways_from_each_other(alone):
    """By the statement of docs/fleet.md: shipping goes on, and what a gateway's role could read of others it is refused."""
    gateway = fleets.gateway_of(alone, "one", 30)
    [statement] = re.findall("`(REVOKE SELECT ON [^`]*)`", (harness.ROOT / "docs" / "fleet.md").read_text())
    alone.sql(statement)
    gateway.ship()
    assert alone.value("select count(*) from spoa_llm.requests") == "30"
    for args in (["savings", "--fleet"], ["savings", "--fleet", "--model", "x"], ["fleet", "list"], ["fleet", "verify"]):
        assert "permission denied for view fleet_gateways" in gateway.run(*args, code=69).err, args


def test_names_uuids_and_roles(alone):
    one, two = fleets.gateway_of(alone, "one", 10), fleets.gateway_of(alone, "two", 10)
    assert one.register() == one.register()
    for gateway, how, code, hint in (
            (two, {"name": "one"}, "SL005", "fleet_name"), (one, {"uuid": "0" * 8 + "-0000-0000-0000-" + "0" * 12}, "SL005", "fleet retire one"),
            (one, {"uuid": two.meta("uuid")}, "SL004", "connect as that role"), (one, {"schema": 3}, "SL001", "fleet init"),
            (one, {"schema": 0}, "SL002", "upgrade spoa-llm")):
        done = gateway.sql("\\set VERBOSITY verbose\nselect spoa_llm.register('%s', '%s', '', '', %d)" % (
            how.get("uuid", gateway.meta("uuid")), how.get("name", gateway.name), how.get("schema", 1)), code=None)
        assert done.returncode != 0 and code in done.stderr and hint in done.stderr, (how, done)
    assert "superuser" in alone.sql("select spoa_llm.register(gen_random_uuid(), 'x', '', '', 1)", code=None).stderr
    # A ledger that is gone gives its name and its role to another one; its rows stay.
    one.resend()
    alone.run("retire", "one")
    done = one.sql("select spoa_llm.register('%s', 'one', '', '', 1)" % one.meta("uuid"), code=None).stderr
    assert "has retired" in done and "the owner of the schema runs: UPDATE" in done
    sql = re.search("UPDATE .*", done).group()
    alone.sql(sql)
    assert one.register()
    alone.run("retire", "one")
    heir = fleets.Gateway.__new__(fleets.Gateway)
    heir.__dict__.update(one.__dict__)
    assert heir.register(uuid="11111111-1111-4111-8111-111111111111")
    assert alone.value("select count(*) from spoa_llm.ledger where gateway like 'one.%'") == "10"
    assert alone.run("retire", "nobody", code=65)
    # The name of a gateway may change; it stays the same gateway.
    assert two.register(name="renamed") and alone.value("select name from spoa_llm.gateways where uuid = '%s'" % two.meta("uuid")) == "renamed"


# ---- passwords and TLS


def test_passwords_are_nowhere(fleet, server):
    """Neither in PostgreSQL's log, which has every statement, nor in what our commands write. A second `add` needs --replace."""
    done = fleet.run("add", "berlin", code=69)
    assert "--replace gives it a new password" in done.err
    new = fleet.run("add", "spare")
    file = fleet.dir / "spare"
    again = fleet.run("add", "spare", "--replace", "--output", file)
    password = file.read_text().strip()
    assert re.fullmatch("[0-9a-f]{48}", password) and file.stat().st_mode & 0o777 == 0o600 and not again.out
    old = new.out.strip()
    assert "password authentication failed" in fleet.sql("select 1", user="spoa_llm_spare", password=old, code=None).stderr
    assert fleet.sql("select 1", user="spoa_llm_spare", password=password)
    log = server.log()
    assert 'CREATE ROLE "spoa_llm_spare"' in log and "SCRAM-SHA-256$" in log
    for secret in [old, password, *(gateway.password for gateway in fleet.gateways)]:
        assert secret not in log
    for bad, words in (("postgresql://a:%s@h/x" % password, "has a password in it"), ("postgres://h/x?user=a&password=%s" % password, '"password"'),
                       ("postgresql://h/x?sslpassword=%s" % password, '"sslpassword"'), ("postgresql://h/x?pass%%77ord=%s" % password, "written with %"),
                       ("host=h password=%s" % password, "a URI of PostgreSQL is expected"), ("postgresql://h/x?passfile=/x", '"passfile"'),
                       ("postgresql://h/x?service=x", '"service"')):
        done = cli("fleet", "list", "--fleet-uri", bad)
        assert done.code == 78 and words in done.err and password not in done.err + done.out, done


def test_the_file_of_the_password(fleet):
    path = fleet.password_file("odd", "x")
    uri = fleet.gateways[0].fleet.server.uri("spoa_llm_berlin")
    for mode, words in ((0o604, "others may read it"), (0o620, "chmod 0600 or 0640"), (0o640, "password authentication failed")):
        path.chmod(mode)
        done = cli("fleet", "list", "--fleet-uri", uri, "--fleet-password-file", path)
        assert done.code in (77, 78) and words in done.err, done
    if os.geteuid() == 0:
        os.chown(path, 65534, 0)
        assert "belongs to the user 65534" in cli("fleet", "list", "--fleet-uri", uri, "--fleet-password-file", path).err
    path.unlink()
    assert "No such file" in cli("fleet", "list", "--fleet-uri", uri, "--fleet-password-file", path).err


@pytest.mark.parametrize("uri, words", [
    ("postgresql://a@db.invalid/x?sslmode=require", "sslmode=require lets anybody"), ("postgresql://a@db.invalid/x?sslmode=disable", "sslmode=disable"),
    ("postgresql://a@127.0.0.1,db.invalid/x?sslmode=prefer", "sslmode=prefer"), ("postgresql://a@127.0.0.1.db.invalid/x?sslmode=allow", "sslmode=allow"),
    ("postgresql://a@localhost/x?hostaddr=192.0.2.1&sslmode=require", "sslmode=require")])
def test_tls_beyond_the_host_is_verified(uri, words):
    done = cli("fleet", "list", "--fleet-uri", uri)
    assert done.code == 78 and words in done.err and "verify-full" in done.err, done


def test_tls(work):
    """Over TLS with a certificate of another name, of another authority, and the right one."""
    from certificates import Authority
    authority = Authority(work)
    with postgres.Server(settings=["ssl = on", "ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'"],
                         files={"server.pem": authority.bundle.read_text(), "server.key": (work / "localhost.key").read_text()},
                         hba=["local all all scram-sha-256", "hostssl all all all scram-sha-256"]) as server:
        fleet = fleets.Fleet(server)

        def ask(**query):
            # The name decides whether a host is this one; hostaddr spares the tests a name server.
            uri = "postgresql://admin@%s:%d/spoa_llm?%s" % (query.pop("host"), server.port, "&".join("%s=%s" % item for item in query.items()))
            return cli("fleet", "list", "--fleet-uri", uri, "--fleet-password-file", fleet.owner)

        assert ask(host="localhost", hostaddr="127.0.0.1", sslmode="verify-full", sslrootcert=authority.ca).code == 0
        done = ask(host="elsewhere.test", hostaddr="127.0.0.1", sslrootcert=authority.ca)
        assert done.code == 77 and "does not match host name" in done.err and "HOST is to be a name in it" in done.err, done
        assert ask(host="elsewhere.test", hostaddr="127.0.0.1", sslrootcert=authority.ca, sslmode="verify-ca").code == 0
        done = ask(host="localhost", hostaddr="127.0.0.1", sslmode="verify-full")    # the system's authorities do not know it
        assert done.code == 77 and "certificate" in done.err and "; sslrootcert=FILE in fleet_uri" in done.err, done
        done = ask(host="elsewhere.test", hostaddr="127.0.0.1", sslmode="require", sslrootcert=authority.ca)
        assert done.code == 78 and "sslmode=require" in done.err, done


def test_where_the_server_is_not(fleet):
    file = ["--fleet-password-file", fleet.owner]
    for uri, flags, code, todo in (
            ("postgresql://a@127.0.0.1:1/x", file, 75, "Connection refused"), (fleet.server.uri("nobody"), file, 77, "is this the password of this role?"),
            (fleet.server.uri("admin", "nothing"), file, 77, "see the database in fleet_uri"), (fleet.server.uri("admin"), [], 77, "; fleet_password_file names the file")):
        done = cli("fleet", "list", "--fleet-uri", uri, *flags)
        assert done.code == code and done.err.startswith("spoa-llm: PostgreSQL at ") and todo in done.err, done
    for query, words in (("nosuch=1&x=secret", 'knows no parameter "nosuch": leave it out'), ("application_name=%zz", "it is no URI of PostgreSQL"),
                         ("application_name", "it is no URI of PostgreSQL")):
        done = cli("fleet", "list", "--fleet-uri", "postgresql://a@127.0.0.1:1/x?" + query)
        assert done.code == 78 and words in done.err and not re.search("secret|%zz", done.err), done
    done = cli("fleet", "list")
    assert done.code == 78 and "no fleet is configured" in done.err
    done = cli("fleet", "list", "--fleet-uri", fleet.server.uri("admin", "postgres"), "--fleet-password-file", fleet.owner)
    assert done.code == 69 and "`spoa-llm fleet init` makes the schema" in done.err, done
    # A right that is missing: who has it.
    for args in (["init"], ["add", "more"], ["retire", "berlin"], ["drop", "--before", "2020-01", "--yes"]):
        done = cli("fleet", *args, *fleet.reading)
        assert done.code == 69 and "permission denied" in done.err and "the owner of the schema may do all" in done.err, done


# ---- the schema


def test_a_database_of_another_encoding(server, fleet):
    server.psql("create database latin1 encoding 'LATIN1' template template0", database="postgres")
    done = cli("fleet", "init", "--fleet-uri", server.uri("admin", "latin1"), "--fleet-password-file", fleet.owner)
    assert done.code == 69 and "the encoding LATIN1" in done.err and "ENCODING 'UTF8'" in done.err, done
    assert server.value("select count(*) from pg_namespace where nspname = 'spoa_llm'", database="latin1") == "0"


def test_init(alone):
    assert "version 2, as it had" in alone.run("init").out
    parts = [name[0] for name in alone.sql("select inhrelid::regclass from pg_inherits where inhparent = 'spoa_llm.requests'::regclass order by 1")]
    assert len(parts) == 8 and "spoa_llm.requests_default" in parts, parts
    gateway = fleets.gateway_of(alone, "one", 1)
    for ms, there in ((1672531199999, "f"), (1672531200000, "t"), (0, "f"), (-5, "f"), (1 << 62, "f")):
        assert gateway.sql("select spoa_llm.ensure_partition(%d)" % ms) == [[there]], ms
    # The next month's partition is there before that month begins, and this one's is made at any time.
    this, following = (alone.value("select to_char(now() at time zone 'utc' + interval '%d month', '\"spoa_llm.requests_\"YYYY_MM')" % n) for n in (0, 1))
    alone.sql("drop table %s, %s" % (this, following))
    assert gateway.sql("select spoa_llm.ensure_partition((extract(epoch from now()) * 1000)::bigint)") == [["t"]]
    assert {this, following} < {name[0] for name in alone.sql("select inhrelid::regclass from pg_inherits")}
    # Rows of such a month that are in the default partition already move.
    alone.sql("set session_replication_role = replica; insert into spoa_llm.requests (gateway, epoch, sequence, id, time_ms, route, backend, protocol,"
              " model, project, client, status, code, termination, stream, saved, usage, price, cost, saved_compression, saved_cache, saved_routing)"
              " values (1, 1, 1, 'x', 1680000000000, '', '', '', '', '', '', 200, '', '', 0, 0, 0, 0, 0, 0, 0, 0)")
    assert gateway.sql("select spoa_llm.ensure_partition(1680000000000)") == [["t"]]
    assert alone.value("select count(*) from spoa_llm.requests_2023_03") == "1" and alone.value("select count(*) from spoa_llm.requests_default") == "0"


def test_an_owner_that_is_no_superuser(server):
    """The way of docs/fleet.md: a role with CREATEROLE owns the database."""
    name = "spoa_llm_owner_%d" % random.randrange(1 << 30)
    password = "%x" % random.getrandbits(128)
    server.psql("create role %s login createrole password '%s'" % (name, password), database="postgres")
    server.psql("create database %s owner %s" % (name, name), database="postgres")
    fleet = fleets.Fleet.__new__(fleets.Fleet)
    fleet.server, fleet.database, fleet.suffix, fleet.dir, fleet.user = server, name, "_" + name, harness.workdir(), name
    fleet.owner = fleet.password_file("owner", password)
    if server.value("select count(*) from pg_roles where rolname = 'spoa_llm_writer'", database="postgres") == "1":
        server.psql("grant spoa_llm_writer, spoa_llm_reader to %s with admin option" % name, database="postgres")
    fleet.run("init")
    gateway = fleets.gateway_of(fleet, "one", 50)
    assert gateway.resend()["new"] == 50
    assert json.loads(cli("savings", "--fleet", "--json", "--since", "all", *fleet.reader("people")).out)["totals"]["requests"] == 50
    fleet.run("drop", "--before", "2023-01", "--yes")
    fleet.run("retire", "one")
    # Names whose roles are no gateway's: `add` would set a new password for the owner, or for a group.
    for role in (name[len("spoa_llm_"):], "writer", "reader"):
        for more in ([], ["--replace"], ["--reader", "--replace"]):
            assert "choose another name" in fleet.run("add", role, *more, code=69).err, role
    fleet.run("init")


def test_odd_clocks(alone):
    """Rows before 1970 and after 9999 are in the default partition, and count as the first and the last hour, as in a ledger."""
    gateway = fleets.gateway_of(alone, "one", 60)
    with sqlite3.connect(gateway.db) as base:
        rows = [row[0] for row in base.execute("select id from requests order by id limit 40")]
        for number, row in enumerate(rows):
            base.execute("update requests set time_ms = ? where id = ?", (
                (-1, -10 ** 17, 0, 3599999, 1672531199999, 253402300799999, 253402300800000, 2 ** 62)[number % 8], row))
    gateway.resend()
    gateway.sql("update spoa_llm.gateways set position = %s" % gateway.meta("sequence"))
    assert gateway.verify()["problems"] == []
    assert alone.value("select count(*) from spoa_llm.requests") == "60" and int(alone.value("select count(*) from spoa_llm.requests_default")) >= 40
    assert int(alone.value("select sum(requests) from spoa_llm.hourly where kind = 0 and bucket = 0")) == 20
    assert int(alone.value("select sum(requests) from spoa_llm.hourly where kind = 0 and bucket = 253402297200")) == 15
    assert alone.value("select count(*) from spoa_llm.ledger") == "60"
    alone.sql("update spoa_llm.requests set cost = cost + 1 where time_ms in (-1, %d)" % 2 ** 62)
    assert {one["hour"] for one in gateway.verify(1)["problems"]} == {"1970-01-01T00:00:00Z", "9999-12-31T23:00:00Z"}
    gateway.resend()
    assert gateway.verify()["problems"] == []
    # An export begins with 1970.
    assert len(gateway.export()) == 50 == len(cli("ledger", "export", "--fleet", *alone.reader("people")).out.splitlines())


def test_versions(alone):
    """A newer schema: a writer of the version before goes on, until the schema says no; `fleet init` never goes back."""
    gateway = fleets.gateway_of(alone, "one", 200)
    alone.sql("alter table spoa_llm.requests add column region text not null default 'x'; alter table spoa_llm.hourly add column more numeric not null default 0;"
              " alter table spoa_llm.gateways add column more int not null default 0; update spoa_llm.meta set value = '3' where key = 'version'")
    assert gateway.register() and gateway.resend()["new"] == 200
    gateway.sql("update spoa_llm.gateways set position = %s" % gateway.meta("sequence"))
    assert gateway.verify()["problems"] == []
    done = alone.run("init", code=69)
    assert "version 3, which a newer spoa-llm has made" in done.err and alone.value("select value from spoa_llm.meta where key = 'version'") == "3"
    alone.sql("update spoa_llm.meta set value = '2' where key = 'oldest_writer'")
    gateway.register(code=3)


def test_the_way_back(alone, server):
    """A dump that was made before `fleet init` brings an earlier schema back, and the gateways fill it up: docs/fleet.md, "Versions"."""
    gateway = fleets.gateway_of(alone, "one", 200)
    gateway.ship()
    # From the transaction on that brings the last rows, whose times are of yesterday.
    assert gateway.sql("select behind, lag_ms from spoa_llm.gateways") == [["0", "0"]]
    database = ["-h", str(server.dir), "-p", str(server.port), "-U", "admin", "-d", alone.database]
    dump = subprocess.run([str(server.bin / "pg_dump"), "--schema=spoa_llm", *database], env=server.env, stdout=subprocess.PIPE, check=True).stdout.decode()
    gateway.take(Maker(seed=77).make(150))
    gateway.ship()
    alone.sql("drop schema spoa_llm cascade")
    alone.sql(dump)
    assert alone.value("select count(*) from spoa_llm.requests") == "200"
    gateway.ship()
    assert alone.value("select count(*) from spoa_llm.requests") == "350" and gateway.verify()["problems"] == []
    assert gateway.sql("select epoch from spoa_llm.gateways") == [["1"]]


def test_verify_finds_the_gateway_and_hour(fleet):
    for gateway in fleet.gateways:
        assert gateway.verify()["problems"] == []
    assert json.loads(cli("fleet", "verify", "--json", *fleet.reading).out)["problems"] == []


# ---- the agent


def test_the_agent_never_maps_libpq(fleet, haproxy, work):
    gateway = fleet.gateways[0]
    config = json.loads(gateway.config.read_text())
    (work / "ledger").mkdir()
    with harness.Agent(work, dict(config, ledger=str(work / "ledger"), log_listen=["unix@%s/log" % work, "dgram@%s/dgram" % work],
                                  fleet_listen=["dgram@%s/fleet" % work])) as agent:
        maps = "".join(open("/proc/%d/maps" % pid).read() for pid in [agent.process.pid, *harness.children_of(agent.process.pid)])
        assert "libsqlite3" in maps and "libpq" not in maps
