"""`spoa-llm ledger import`, `prune` and `verify`, and the commands of the ledger with bad files, full disks and closed pipes."""
import gzip
import json
import os
import random
import re
import sqlite3
import subprocess
import threading
import time

import pytest

import harness
import loglines
from harness import cli
from ledgers import GROUPS, NOW, Ledger, day, figures_of, ledger  # noqa: F401
from loglines import DAY, HOUR, Maker


# ---- import


def test_import_again_changes_nothing(ledger):
    entries = Maker(seed=2).make(700)
    assert ledger.take(entries)["new"] == 700
    before = ledger.ledger("export").out, ledger.savings()
    said = ledger.take(entries)
    assert (said["new"], said["known"]) == (0, 700)
    assert (ledger.ledger("export").out, ledger.savings()) == before
    ledger.ledger("verify")


def test_import_fills_gaps(ledger):
    """The imported parts overlap, and each has every line twice, in any order, because the ring and UDP both bring each line."""
    entries, rng = Maker(seed=3).make(3000), random.Random(3)
    new = 0
    for part in range(4):
        lines = rng.sample(entries, 1500) * 2
        rng.shuffle(lines)
        said = ledger.take(lines)
        assert said["new"] + said["known"] == said["records"] == 3000
        new += said["new"]
    new += ledger.take(entries)["new"]
    assert new == 3000
    assert figures_of(ledger.savings("--since", "all")["totals"]) == loglines.sums([entry.want for entry in entries])
    ledger.ledger("verify")


@pytest.mark.parametrize("way", ["gzip", "two gzip members", "stdin", "gzip on stdin", "no newline at the end", "CRLF"])
def test_import_of(ledger, way):
    entries = Maker(seed=4).make(300)
    data = "".join(entry.line + "\n" for entry in entries).encode()
    if way == "two gzip members":
        data = gzip.compress(data[:5000]) + gzip.compress(data[5000:])
    elif "gzip" in way:
        data = gzip.compress(data)
    elif way == "CRLF":
        data = data.replace(b"\n", b"\r\n")
    elif way.startswith("no"):
        data = data[:-1]
    path = ledger.directory / "log"
    path.write_bytes(data)
    if "stdin" in way:
        with open(path, "rb") as given:
            run = harness.run("ledger", "import", "-", "--json", "-c", ledger.config, stdin=given, stdout=subprocess.PIPE, timeout=60)
        assert run.returncode == 0
        said = json.loads(run.stdout)
    else:
        said = json.loads(ledger.ledger("import", path, "--json").out)
    assert said["new"] == 300 and said["lines"] == 300 and not said["malformed"]
    assert figures_of(ledger.savings()["totals"]) == loglines.sums([entry.want for entry in entries])


def test_import_of_what_is_malformed(ledger):
    entries = Maker(seed=5).make(6)
    good = [entry.line for entry in entries]
    lines = [good[0], "", "Nov 22 10:00:00 host haproxy[1]: Proxy llm started.", good[1][:-9], good[2].replace('"te":', '"t":'),
             "{}", "some {braces}: " + good[3], good[4].replace('{"v":1', '{"v":9'), good[5] + " tail", "x" * 200000,
             '{"v":1' + " " * 100000 + "}", "\0\0\0", good[5].replace('"status":', '"status":"')]
    (ledger.directory / "log").write_text("\n".join(lines) + "\n")
    done = ledger.ledger("import", ledger.directory / "log", "--json")
    said = json.loads(done.out)
    assert {name: said[name] for name in ("lines", "records", "new", "malformed")} == {
        "lines": len(lines), "records": 2, "new": 2, "malformed": 6}, said
    assert said["other"] == len(lines) - 8
    assert [problem["line"] for problem in said["problems"]] == [4, 5, 8, 9, 11]
    assert {row["id"] for row in ledger.export()} == {entries[0].id, entries[3].id}
    # The text for people has the first few problems with their places, and the number of the others.
    done = ledger.ledger("import", ledger.directory / "log")
    assert "%s:4: " % (ledger.directory / "log") in done.err and "and 1 more" in done.err
    assert "2 known already" in done.out and "6 malformed" in done.out and "5 not the gateway's" in done.out


def test_import_of_what_is_no_log(ledger):
    path = ledger.directory / "log"
    path.write_text("hello\n" * 10)
    assert "no line" in ledger.ledger("import", path, code=65).err
    path.write_bytes(gzip.compress("".join(entry.line + "\n" for entry in Maker(seed=6).make(500)).encode())[:-2000])
    done = ledger.ledger("import", path, code=65)
    assert "cut off" in done.err and " new\n" in done.out
    for magic, program in ((b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd\0\0", "zstd"), (b"BZh91AY", "bzip2")):
        path.write_bytes(magic + b"\0" * 50)
        assert program + " -dc" in ledger.ledger("import", path, code=65).err
    assert "No such file" in ledger.ledger("import", ledger.directory / "none", code=66).err
    assert ledger.ledger("import", ledger.directory, code=65).err
    path.write_text("")
    assert ledger.ledger("import", path).code == 0


def test_import_prices_by_what_is_configured(work):
    """Without routes, and so without a reference model, nothing is saved by routing; the cost is the same."""
    entries = [Maker(seed=7).one(kind="reported", model="glm-4.6", route="glm-") for _ in range(3)]
    one = Ledger(work, routes=[])
    one.take(entries)
    rows = {row["id"]: row for row in one.export()}
    for entry in entries:
        assert rows[entry.id]["saved_routing_nanodollars"] == 0 != entry.want["saved_routing"]
        assert rows[entry.id]["cost_nanodollars"] == entry.want["cost"]


# ---- prune, verify


def test_prune_keeps_the_sums(ledger):
    entries = Maker(seed=8, span_ms=20 * DAY).make(1500)
    wants = [entry.want for entry in entries]
    ledger.take(entries)
    before = {by: ledger.savings("--by", by)["rows"] for by in GROUPS}
    limit = time.strftime("%Y-%m-%d", time.gmtime(NOW / 1000 - 10 * 86400))
    old = sum(loglines.label_of(want, "day") < limit for want in wants)
    said = json.loads(ledger.ledger("prune", "--before", limit, "--json").out)
    assert said == {"before": limit + "T00:00:00Z", "removed": old, "freed_bytes": said["freed_bytes"], "unused_bytes": 0} and old > 100
    assert len(ledger.export()) == len(wants) - old
    assert {by: ledger.savings("--by", by)["rows"] for by in GROUPS} == before
    ledger.ledger("verify")
    # An import does not bring back what was pruned.
    said = ledger.take(entries)
    assert (said["new"], said["known"], said["pruned"]) == (0, len(wants) - old, old)
    assert {by: ledger.savings("--by", by)["rows"] for by in GROUPS} == before
    done = ledger.ledger("prune", "--days", "1")
    left = len(ledger.export())
    assert "%d requests" % (len(wants) - old - left) in done.out.replace(",", "") and left < 150
    assert json.loads(ledger.ledger("prune", "--json").out)["removed"] == 0


def test_prune_by_default_takes_retention_days(work):
    one = Ledger(work, retention_days=3)
    one.take(Maker(seed=9, span_ms=9 * DAY).make(600))
    removed = json.loads(one.ledger("prune", "--json").out)["removed"]
    assert 300 < removed < 500 and len(one.export()) == 600 - removed
    one.ledger("prune", "--retention-days", "0", code=64)
    for wrong in (["--days", "0"], ["--days", "x"], ["--days", "-1"], ["--days", "5x"], ["--before", "soon"], ["--before", "all"],
                  ["--before", "2026-01-01", "--days", "3"]):
        assert one.ledger("prune", *wrong, code=64).err


def test_prune_of_many(ledger):
    """`prune` removes more rows than one transaction may remove."""
    base = Maker(seed=20, span_ms=DAY).make(50)
    (ledger.directory / "log").write_text("".join(base[n % 50].text.replace(base[n % 50].id, "n-%d" % n) + "\n" for n in range(21000)))
    assert json.loads(ledger.ledger("import", ledger.directory / "log", "--json").out)["new"] == 21000
    assert json.loads(ledger.ledger("prune", "--before", "now", "--json").out)["removed"] == 21000 and ledger.export() == []


def test_verify_finds_what_is_wrong(ledger):
    ledger.take(Maker(seed=10).make(500))
    assert "ok" in ledger.ledger("verify").out
    db = sqlite3.connect(ledger.db)
    db.execute("UPDATE hourly SET requests = requests + 1 WHERE (kind, bucket, label) IN (SELECT kind, bucket, label FROM hourly"
               " WHERE kind = 2 LIMIT 1)")
    db.execute("UPDATE requests SET model = 'bad' || char(27) || '[31m' WHERE rowid = 1")
    db.commit()
    db.close()
    done = ledger.ledger("verify", code=1)
    assert len(re.findall("^problem: ", done.out, re.M)) >= 2 and "\x1b" not in done.out and "bad?[31m" in done.out
    said = json.loads(ledger.ledger("verify", "--json", code=1).out)
    assert len(said["problems"]) >= 2


def test_verify_of_a_damaged_file(ledger):
    ledger.take(Maker(seed=11).make(2000))
    with open(ledger.db, "r+b") as f:
        f.seek(4096 * 100)
        f.write(os.urandom(4096 * 3))
    done = ledger.ledger("verify", code=1)
    assert "problem: " in done.out, done
    with open(ledger.db, "r+b") as f:
        f.seek(4096)
        f.write(os.urandom(4096 * 20))
    done = ledger.ledger("verify", code=1)
    assert "malformed" in done.out + done.err, done


def test_gaps(ledger):
    start = NOW - NOW % DAY - 5 * DAY
    entries = []
    for hour in (0, 1, 2, 7, 8, 30, 32):
        entries += Maker(seed=hour, start_ms=start + hour * HOUR, span_ms=HOUR // 2).make(3)
        for entry in entries[-3:]:  # the requests arrived in that hour, however long they took
            entry.fields["te"] = entry.want["time_ms"] = start + hour * HOUR + 60000 + entry.fields["ta"]
            entry.line = json.dumps(entry.fields)
    ledger.take(entries)

    def text(hour):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start / 1000 + hour * 3600))
    said = json.loads(ledger.ledger("verify", "--json").out)
    assert said == {"problems": [], "first_hour": text(0), "last_hour": text(32), "gaps": [
        {"from": text(3), "to": text(7)}, {"from": text(9), "to": text(30)}, {"from": text(31), "to": text(32)}]}
    done = ledger.ledger("verify", "--gaps")
    assert re.findall(r"(\d+) h$", done.out, re.M) == ["4", "21", "1"]


# ---- when things are not as they should be


def test_nothing_recorded_yet(ledger):
    for args in (["savings"], ["ledger", "export"], ["ledger", "verify"], ["ledger", "prune"], ["ledger", "headroom"]):
        done = ledger.run(*args, code=66)
        assert "there is no ledger at" in done.err and "--ledger" in done.err and not done.out and len(done.err.splitlines()) == 1
    (ledger.directory / "log").write_text("")
    ledger.ledger("import", ledger.directory / "log")
    done = ledger.run("savings")
    assert "No requests in this period" in done.out
    assert ledger.savings()["rows"] == [] and figures_of(ledger.savings()["totals"]) == loglines.sums([])
    assert len(ledger.run("savings", "--csv").out.splitlines()) == 1
    assert ledger.ledger("export").out == "" and "no request is recorded" in ledger.ledger("verify").out


def test_no_ledger_configured(work):
    for args in (["savings"], ["ledger", "export"], ["ledger", "import", "/dev/null"]):
        done = cli(*args)
        assert done.code == 78 and "--ledger DIR" in done.err, done
    done = cli("savings", "--ledger", work / "nowhere")
    assert done.code == 66 and "No such file" in done.err
    (work / "file").write_text("")
    done = cli("savings", "--ledger", work / "file")
    assert done.code == 66 and "not a directory" in done.err


@pytest.mark.parametrize("args", [
    ["savings", "--since", "soon"], ["savings", "--since", "7x"], ["savings", "--since", "2026-02-30"], ["savings", "--since", ""],
    ["savings", "--until", "2026-13-01"], ["savings", "--since", "2026-11-02", "--until", "2026-11-01"], ["savings", "--by", "colour"],
    ["savings", "--since", "2026-11-01T25"], ["savings", "--since", "2026-11-01T1"], ["savings", "--json", "--csv"],
    ["savings", "--since", "d"], ["savings", "--since", "99999999999d"], ["savings", "--since", "1d "], ["savings", "--since", "-1d"],
    ["ledger", "export", "--since", "2026-1-1"], ["ledger", "export", "--csv", "--jsonl"], ["ledger"], ["ledger", "nonsense"],
    ["ledger", "import"], ["ledger", "import", "a", "b"], ["ledger", "export", "file"], ["savings", "extra"],
    ["savings", "--gaps"], ["ledger", "verify", "--by", "model"], ["run", "--since", "1d"], ["ledger", "export", "--json"],
    ["explain", "--csv", "--model", "m"]])
def test_wrong_arguments(ledger, args):
    done = ledger.run(*args, code=64)
    assert done.err and not done.out


def test_good_times(ledger):
    ledger.take(Maker(seed=15).make(10))
    for since in ("30m", "24h", "7d", "4w", "2026-11-01", "2026-11-01T13", "2026-11-01T13:00", "2026-11-01T13:00:00Z", "today",
                  "yesterday", "all", "1970-01-01", "2024-02-29", "99999999d"):
        ledger.run("savings", "--since", since)


def test_a_closed_pipe(day):
    for args in (["ledger", "export"], ["ledger", "export", "--csv"], ["savings", "--json", "--by", "hour"], ["ledger", "headroom"]):
        process = harness.start(*args, "-c", day.config, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        err = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait(timeout=60) == 74 and "Broken pipe" in err, (args, err)


def test_a_full_disk(day):
    for args in (["ledger", "export"], ["savings"], ["savings", "--json"], ["ledger", "headroom"], ["ledger", "verify"]):
        with open("/dev/full", "wb") as full:
            run = harness.run(*args, "-c", day.config, stdout=full, stderr=subprocess.PIPE, timeout=60)
        assert run.returncode == 74 and b"No space left" in run.stderr, (args, run)


def test_a_locked_database(ledger):
    """While another program writes to the database, a command that writes waits, and a command that reads does not."""
    ledger.take(Maker(seed=16).make(100))
    more = Maker(seed=17).make(50)
    db = sqlite3.connect(ledger.db, isolation_level=None, check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    assert ledger.savings()["totals"]["requests"] == 100
    timer = threading.Timer(1.5, lambda: db.execute("ROLLBACK"))
    timer.start()
    begin = time.monotonic()
    assert ledger.take(more)["new"] == 50
    assert time.monotonic() - begin > 1
    timer.join()
    db.close()


def test_beside_a_running_agent_and_other_writers(ledger, agents):
    """Several imports and reports run while an agent has the same ledger open. In the end each request is in the ledger once."""
    port = harness.free_port()
    agent = agents({"ledger": str(ledger.directory / "ledger"), "prices": str(ledger.directory / "prices.json"),
                    "log_listen": ["127.0.0.1:%d" % port], "routes": loglines.ROUTES})
    entries = Maker(seed=18).make(6000)
    parts = [entries[n::3] + entries[:500] for n in range(3)]
    said = []
    harness.until(ledger.db.exists, what="the agent's database")

    def work(n):
        said.append(ledger.take(parts[n], name="log%d" % n))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in threads):
        now = ledger.savings()["totals"]["requests"]
        assert seen <= now <= 6000
        seen = now
    for thread in threads:
        thread.join()
    assert sum(one["new"] for one in said) == 6000 and len(said) == 3
    assert figures_of(ledger.savings()["totals"]) == loglines.sums([entry.want for entry in entries])
    ledger.ledger("verify")
    assert "ledger_" not in agent.process.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_makes_no_database_for_another_user(work):
    one = Ledger(work)
    os.chown(one.directory / "ledger", 65534, 65534)
    (work / "log").write_text("")
    assert "sudo -u nobody spoa-llm" in one.ledger("import", work / "log", code=77).err and not one.db.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_ledger_that_the_user_may_not_read(work):
    """Each command says why, and as whom it has to run."""
    one = Ledger(work)
    (work / "log").write_text("")
    assert one.ledger("import", work / "log").code == 0
    for path in (work, one.db.parent, one.db):
        path.chmod(0o755 if path != one.db else 0o600)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for place, mode in ((one.db, 0o600), (one.db.parent, 0o700)):
        place.chmod(mode)
        for command in (["savings"], ["requests"], ["upstreams"], ["ledger", "verify"], ["ledger", "prune", "--days", "1"]):
            done = harness.cli(*command, "--ledger", one.db.parent, before=nobody)
            assert done.code == 77 and re.fullmatch(r"spoa-llm: ledger (directory )?%s: Permission denied; run this command as its owner: sudo -u root spoa-llm \.\.\.\n" % place,
                                                    done.err), (command, done)
