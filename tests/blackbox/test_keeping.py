"""What is kept of the ledger, and for how long: retention under any traffic, cuts of power, backup and restore, `ledger compact`."""
import json
import os
import re
import sqlite3
import struct
import subprocess
import threading
import time

import pytest

import evidence
import harness
import powercut
from ledgers import Ledger

STORE = harness.ROOT / "build" / "bench" / "ledger_store"
DAY = 86400 * 1000


def line_of(request_id, **fields):
    return json.dumps(dict({"v": 1, "id": request_id, "te": int(time.time() * 1000), "status": 200, "ta": 1, "model": "gpt-l"}, **fields))


class Feed:
    """Sends log lines to an agent over TCP. `sent`: (when, id) of each."""

    def __init__(self, port):
        self.socket = harness.until(lambda: self._connect(port), 10, "the agent's log socket")
        self.sent, self.pause, self.thread, self.stopped = [], 0, None, threading.Event()

    @staticmethod
    def _connect(port):
        import socket
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            return None

    def send(self, count, **fields):
        lines = []
        for _ in range(count):
            self.sent.append((time.monotonic(), "fed-%06d" % len(self.sent)))
            line = "<134>1 - - - - - - " + line_of(self.sent[-1][1], **fields)
            lines.append(b"%d %s" % (len(line), line.encode()))
        self.socket.sendall(b"".join(lines))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.socket.close()

    def start(self, pause, count=1):
        """Sends `count` lines after each `pause` seconds from now on, in a thread of its own."""
        def run():
            while not self.stopped.wait(pause):
                try:
                    self.send(count)
                except OSError:     # the agent was killed
                    return
        self.thread = threading.Thread(target=run)
        self.thread.start()

    def stop(self):
        self.stopped.set()
        if self.thread:
            self.thread.join()


@pytest.fixture
def fed(work, agents):
    """start(**config) starts an agent whose ledger is in `work`. Returns the agent, the ledger's commands, and a feed of lines."""
    one = Ledger(work)
    feeds = []

    def start(env=None, **config):
        port = harness.free_port()
        agent = agents(dict({"ledger": str(work / "ledger"), "log_listen": ["127.0.0.1:%d" % port]}, **config), env=env)
        feeds.append(Feed(port))
        return agent, feeds[-1]
    yield one, start
    for feed in feeds:
        feed.__exit__()


def ask(path, sql):
    """The first row; zeros while there is no such table yet."""
    base = sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=20)
    try:
        return base.execute(sql).fetchone()
    except sqlite3.OperationalError as why:
        # A file that is being made has no file of shared memory yet, which a reader may not make.
        assert re.search("no such table|readonly database", str(why)), why
        return [0] * 9
    finally:
        base.close()


def all_stored(one, agent, feed):
    """Waits until each line of the feed is a row."""
    def rows():
        return ask(one.db, "SELECT count(*) FROM requests WHERE id LIKE 'fed-%'")[0]
    harness.until(lambda: rows() == len(feed.sent), 60,
                  lambda: "%d rows of %d; the agent says %s" % (rows(), len(feed.sent), agent.http(path="/stats")))


def fill(one, rows):
    """Rows of the last 30 days, by the ledger's own writer."""
    assert STORE.exists(), "make test-tools"
    subprocess.run([str(STORE), "fill", str(one.directory / "ledger"), str(rows)], check=True, stdout=subprocess.DEVNULL, timeout=300)


# ---- retention


@pytest.mark.parametrize("pause,count", [(.02, 1), (.001, 20)], ids=["slow", "fast"])
def test_retention_holds_under_traffic(fed, pause, count):
    """A record in every pause of the ledger's thread, or thousands a second: old rows go, and what the ledger says of that is true."""
    one, start = fed
    fill(one, 10000)
    agent, feed = start(retention_days=1)
    feed.start(pause, count)
    steps = set()

    def done():
        before, oldest, old = ask(one.db, "SELECT (SELECT value FROM meta WHERE key = 'pruned_before'), min(time_ms),"
                                  " sum(time_ms < (unixepoch() - 86400) * 1000) FROM requests")
        assert (before or 0) <= oldest, "rows are said to be gone that are there"
        steps.add(before)
        return old == 0
    harness.until(done, 30, lambda: "rows beyond retention: %d" % ask(
        one.db, "SELECT count(*) FROM requests WHERE time_ms < (unixepoch() - 86400) * 1000"), step=.05)
    feed.stop()
    assert len(steps) > 2
    agent.log(r"event=pruned rows=9[67]\d\d\b")
    all_stored(one, agent, feed)
    one.ledger("verify")


# ---- clocks


CLOCK = pytest.mark.skipif("asan" in harness.AGENT or "tsan" in harness.AGENT or harness.VALGRIND, reason="these tools want to be the first library")


def moved(work, seconds):
    """The environment of an agent whose clock is wrong by so many seconds."""
    (work / "clock").write_bytes(struct.pack("q", seconds))
    return {"LD_PRELOAD": str(harness.ROOT / "build" / "clock.so"), "TEST_CLOCK": str(work / "clock")}


def test_the_clock_of_haproxys_host_is_behind_by_more_than_the_retention(fed):
    one, start = fed
    fill(one, 1000)
    agent, feed = start(retention_days=1)
    agent.log("event=pruned")
    feed.send(3, te=int(time.time() * 1000) - 20 * DAY)
    feed.send(3)
    all_stored(one, agent, feed)
    one.ledger("verify")


def test_a_stream_that_began_before_rows_that_were_removed(fed):
    one, start = fed
    agent, feed = start()
    feed.send(3)
    all_stored(one, agent, feed)
    time.sleep(.01)
    one.ledger("prune", "--before", time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time.time() + 60)), "--fleet-uri", "")
    assert not one.export()
    feed.send(1, ta=60000)
    harness.until(lambda: one.export(), 10, "the stream's row")
    assert ask(one.db, "SELECT sum(requests) FROM daily WHERE kind = 0")[0] == 4
    one.ledger("verify")


@CLOCK
@pytest.mark.parametrize("way", ("by the queue", "by the journal"))
def test_a_clock_that_was_ahead_or_is_behind(fed, work, way):
    """What comes by the clock as it is now is recorded, although rows of later times were removed; and what was removed does not come back."""
    one, start = fed
    agent, first = start()
    for at, day in enumerate((10, 13, 0, -400)):
        agent.process.end()
        agent, feed = start(retention_days=1, env=moved(work, day * 86400))
        # The clock was ahead for longer than rows are kept, so that the latest row that was removed is of a time to come.
        if at == 1:
            agent.log("event=pruned")
        lock = sqlite3.connect(one.db, isolation_level=None, timeout=20)
        if way == "by the journal":
            lock.execute("BEGIN IMMEDIATE")
        feed.sent = [(0, "")] * (100 * at)      # other ids than those before
        feed.send(5, te=int(time.time() * 1000) + day * DAY)
        if way == "by the journal":
            has = lambda: sum(path.read_bytes().count(b"fed-%06d" % (100 * at + 4)) for path in (one.directory / "ledger/journal").glob("*.journal"))
            harness.until(has, 10, "the journal has them")
            agent.kill()
            lock.execute("ROLLBACK")
            agent, _ = start(retention_days=1, env=moved(work, day * 86400))
        lock.close()
        harness.until(lambda: ask(one.db, "SELECT count(*) FROM requests WHERE id LIKE 'fed-%04d%%'" % at)[0] == 5, 10, "the rows of day %d" % day)
    assert ask(one.db, "SELECT sum(requests) FROM daily WHERE kind = 0")[0] == 20, "each request is in the sums once"
    one.ledger("verify")


# ---- cuts of power


def rows_after(one, agents, directory):
    """The ids that an agent finds in what a cut of power has left."""
    agent = agents({"ledger": str(directory), "log_listen": ["127.0.0.1:%d" % harness.free_port()]})
    agent.process.end()
    done = harness.cli("ledger", "verify", "--ledger", directory)
    assert done.code == 0, done
    return {json.loads(line)["id"] for line in harness.cli("ledger", "export", "--ledger", directory).out.splitlines()}


# A second is what the agent promises. A test beside others gets the processor late, so the test asks for no more than this.
LATEST = 2 * harness.SLOW


@pytest.mark.parametrize("database", ["works", "is locked", "is damaged"])
def test_a_cut_of_power_costs_a_second(fed, agents, work, database):
    one, start = fed
    cut = powercut.PowerCut(work / "ledger")
    if database == "is damaged":
        one.db.write_bytes(b"this is no database " * 1000)
    agent, feed = start(env=cut.env)
    lock = sqlite3.connect(one.db, isolation_level=None)
    if database == "is locked":
        feed.send(10)
        harness.until(lambda: one.db.exists() and ask(one.db, "SELECT count(*) FROM sqlite_master")[0] > 3, 10, "the database")
        lock.execute("BEGIN IMMEDIATE")
    feed.start(.005, 5)
    harness.until(lambda: feed.sent and feed.sent[-1][0] - feed.sent[0][0] > LATEST + 1, 20, "lines for some seconds")
    when = time.monotonic()
    agent.kill()
    lock.close()
    feed.stop()
    due = {request_id for at, request_id in feed.sent if at < when - LATEST}
    assert len(due) > 100
    for names in powercut.NAMES:
        ids = rows_after(one, agents, cut.rebuild(work / names.replace(" ", "-"), names))
        lost = [when - at for at, request_id in feed.sent if request_id not in ids]
        print("names %s: %d of %d lost, the oldest %.2f s old" % (names, len(lost), len(feed.sent), max(lost, default=0)))
        assert due <= ids, (names, max(lost))


def test_a_segment_stays_until_the_database_is_on_the_disk(fed, agents, work):
    """The agent removes a segment of the journal. What was in it is in the database after a cut of power, too."""
    one, start = fed
    cut = powercut.PowerCut(work / "ledger")
    agent, feed = start(env=cut.env)
    first = work / "ledger" / "journal" / "0000000000000001.journal"
    harness.until(lambda: feed.send(500, model="m" * 256, route="r" * 64, project="p" * 64, client="c" * 64) or (
        len(feed.sent) > 5000 and not first.exists()), 60, "the first segment is removed", step=.05)
    agent.kill()
    whole = {request_id for _, request_id in feed.sent[:5000]}
    for names in powercut.NAMES:
        assert whole <= rows_after(one, agents, cut.rebuild(work / names.replace(" ", "-"), names)), names


@pytest.mark.parametrize("file", ["ledger.db-wal", ".journal"])
def test_a_sync_fails_before_the_power_does(fed, agents, work, file):
    """The disk refuses a sync, and takes the next one. Linux takes for written then what it did not write, so the agent has to write it again.
    Meanwhile somebody else has the database open, so that SQLite does not put its write-ahead log away, or writes to it."""
    one, start = fed
    cut = powercut.PowerCut(work / "ledger")
    agent, feed = start(env=cut.env)
    harness.until(lambda: one.db.exists() and ask(one.db, "SELECT count(*) FROM requests") == (0,), 10, "the database")
    other = sqlite3.connect(one.db, isolation_level=None)
    other.execute("BEGIN IMMEDIATE" if file == ".journal" else "SELECT count(*) FROM requests").fetchone()
    refused = cut.refuse(file)
    feed.send(100)
    harness.until(refused, 20, "a sync was refused")
    if file == ".journal":
        agent.log("event=journal_failing .*problem=.*fdatasync")
        agent.log("event=journal_recovered")
        agent.kill()
    else:
        agent.log("event=ledger_failing .*bringing it to the disk: disk I/O error")
        agent.log("event=ledger_ok")
        agent.process.end()     # which empties the journal
    for names in powercut.NAMES:
        ids = rows_after(one, agents, cut.rebuild(work / names.replace(" ", "-"), names))
        assert {request_id for _, request_id in feed.sent} == ids, names
    other.close()


# ---- versions


def test_a_newer_ledger_is_refused(fed):
    """Each command says so and ends with 65; the agent says so, whole, and keeps what comes in the journal."""
    one, start = fed
    (one.directory / "log").write_text(line_of("first") + "\n")
    one.ledger("import", one.directory / "log")
    base = sqlite3.connect(one.db)
    base.execute("PRAGMA user_version = 99")
    base.close()
    for args in (["savings"], ["requests"], ["upstreams"], ["ledger", "export"], ["ledger", "verify"], ["ledger", "prune"], ["ledger", "compact"],
                 ["ledger", "headroom"], ["ledger", "import", one.directory / "log"]):
        done = one.run(*args, code=65)
        assert "a newer spoa-llm wrote it" in done.err and "version 99" in done.err and not done.out
    agent, feed = start()
    feed.send(3)
    harness.until(lambda: all(b"fed-00000%d" % n in b"".join(path.read_bytes() for path in (one.directory / "ledger" / "journal").glob("*.journal"))
                              for n in range(3)), 10, "the journal has what came")
    agent.log("event=ledger_failing")
    said = {check["part"]: check for check in json.loads(agent.http(path="/readyz").text)["checks"]}["ledger"]
    assert not said["ok"] and said["detail"].endswith("or name another directory; the journal keeps the records"), said


def older_ledger(one):
    """Makes the ledger one of schema version 1: as it is, without what later versions added."""
    base = sqlite3.connect(one.db)
    for view in ("ledger", "ledger_hourly", "ledger_daily"):
        base.execute("DROP VIEW %s" % view)
    for table in ("reports", "spending", "elsewhere", "facet_log"):
        base.execute("DROP TABLE %s" % table)
    base.execute("DELETE FROM meta WHERE key IN ('sequence', 'uuid', 'epoch')")
    for table in ("hourly", "daily"):
        base.execute("DELETE FROM %s WHERE kind > 4" % table)
    for column in ("price_missing", "tap", "member", "attempts", "tried", "keyed", "charged", "operation", "traceparent"):
        base.execute("ALTER TABLE requests DROP COLUMN %s" % column)
    for table in ("hourly", "daily"):
        for column in ("unknown_requests", "partly_priced_requests", "untold_requests", "estimated_saved_compression", "estimated_saved_cache", "estimated_saved_routing", "last_ms",
                       "times"):
            base.execute("ALTER TABLE %s DROP COLUMN %s" % (table, column))
        base.execute("CREATE VIEW ledger_%s AS SELECT bucket FROM %s" % (table, table))
    base.execute("CREATE VIEW ledger AS SELECT id FROM requests")
    base.execute("PRAGMA user_version = 1")
    base.commit()
    base.close()


@pytest.mark.parametrize("locked", (False, True))
def test_a_migration_is_logged(fed, locked):
    """Also if the database was locked when the agent started, so that it was opened and migrated later, for a record."""
    one, start = fed
    (one.directory / "log").write_text(line_of("first") + "\n")
    one.ledger("import", one.directory / "log")
    older_ledger(one)
    base = sqlite3.connect(one.db, isolation_level=None)
    if locked:
        base.execute("BEGIN EXCLUSIVE")
    agent, feed = start()
    if locked:
        agent.log("event=ledger_behind")
        feed.send(1)
        base.execute("ROLLBACK")
    base.close()
    assert "from_version=1" in agent.log("event=ledger_migrated")


# ---- backup, restore, compact


def test_backup_and_restore(fed):
    """A backup while the agent runs has every record, those too that are only in the journal, and is a ledger by itself."""
    one, start = fed
    agent, feed = start()
    feed.send(200)
    harness.until(lambda: one.db.exists() and ask(one.db, "SELECT count(*) FROM requests")[0] == 200, 10, "the first rows")
    lock = sqlite3.connect(one.db, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    feed.send(300)
    journal = one.directory / "ledger" / "journal"
    harness.until(lambda: sum(path.stat().st_size for path in journal.glob("*.journal")) > 300 * 60, 10, "the journal has the others")
    file = one.directory / "backup.db"
    for _ in range(2):      # again: the file is replaced
        said = one.ledger("backup", file).out
        assert "only in the journal" in said
    lock.execute("ROLLBACK")
    lock.close()
    assert file.stat().st_mode & 0o777 == 0o600 and [path.name for path in one.directory.glob("backup.db*")] == ["backup.db"]
    # Not over the ledger itself, by whichever path.
    assert "in use" in one.ledger("backup", one.db, code=73).err
    assert "none/b.db: No such file or directory; make its directory first\n" in one.ledger("backup", one.directory / "none/b.db", code=73).err
    assert "in use" in one.ledger("backup", one.directory / "ledger" / "." / "ledger.db", code=73).err

    # `restore` is refused where a ledger is already, and where an agent has it open. Later it moves that ledger away, and its write-ahead log with it.
    feed.send(7)
    harness.until(lambda: ask(one.db, "SELECT count(*) FROM requests")[0] == 507, 10, "all rows")
    assert "--replace" in one.ledger("restore", file, code=73).err
    assert "another process has it" in one.ledger("restore", file, "--replace", code=75).err
    agent.kill()
    wal = one.db.with_name("ledger.db-wal")
    assert wal.stat().st_size > 0, "the last rows are only there"
    one.ledger("restore", file, "--replace")
    assert not wal.exists() and not one.db.with_name("ledger.db-shm").exists()
    assert len(one.export()) == 500
    one.ledger("verify")
    # It is another copy of the same ledger, for whoever has shipped rows of the first one.
    identity = "SELECT (SELECT value FROM meta WHERE key = 'uuid'), (SELECT value FROM meta WHERE key = 'epoch')"
    here, replaced = ask(one.db, identity), ask(one.db.with_name("ledger.db.replaced"), identity)
    assert here[0] == replaced[0] and len(here[1]) == 16 and here[1] != replaced[1], (here, replaced)
    assert ask(one.db.with_name("ledger.db.replaced"), "SELECT count(*) FROM requests")[0] == 507
    assert "move it away" in one.ledger("restore", file, "--replace", code=73).err
    # What the journal still has comes in when the agent starts.
    other, _ = start()
    harness.until(lambda: len(one.export()) == 507, 10, "the journal's records")
    other.process.end()

    # Somewhere else; what is damaged, newer or no ledger is refused, and leaves nothing.
    new = Ledger(harness.workdir())
    new.ledger("restore", file)
    assert len(new.export()) == 500 and new.db.stat().st_mode & 0o777 == 0o600
    empty = Ledger(harness.workdir())
    bad = one.directory / "bad.db"
    for damage, says in ((lambda base: base.execute("PRAGMA user_version = 99"), "newer"),
                         (lambda base: base.execute("UPDATE daily SET requests = requests + 1"), "nothing was restored"),
                         (lambda base: base.execute("PRAGMA application_id = 7"), "not a ledger")):
        bad.write_bytes(file.read_bytes())
        base = sqlite3.connect(bad, isolation_level=None)
        damage(base)
        base.close()
        done = empty.run("ledger", "restore", bad, code=74 if "ledger" in says else 65)
        assert says in done.err and not list(empty.db.parent.iterdir()), done
    assert "No such file" in empty.ledger("restore", one.directory / "none", code=66).err
    assert "FILE" in empty.ledger("backup", code=64).err and "FILE" in empty.ledger("restore", code=64).err


def old_ledger(one, rows):
    """A ledger that cannot give room back, as older versions made it."""
    fill(one, rows)
    base = sqlite3.connect(one.db, isolation_level=None)
    base.execute("PRAGMA journal_mode = DELETE")
    base.execute("PRAGMA auto_vacuum = NONE")
    base.execute("VACUUM")
    base.execute("PRAGMA journal_mode = WAL")
    base.close()


def test_a_backup_for_which_the_disk_has_no_room(fed, work):
    """The message names the disk that is full, which is not that of the ledger. The backup that was there stays."""
    one, _ = fed
    fill(one, 3000)
    small = work / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=100k tmpfs "$0" && echo old > "$0/b.db" && { "$@"; code=$?; cat "$0/b.db"; exit $code; }'
    before = ["unshare", "-rm", "sh", "-c", script, small]
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets no user make a mount namespace")
    done = harness.cli("ledger", "backup", "--ledger", one.db.parent, small / "b.db", before=before)
    assert (done.code, done.out) == (74, "old\n") and re.fullmatch(r"spoa-llm: %s/b\.db\S*: the disk is full\n" % small, done.err), done


def test_sizes_for_a_person(fed):
    """Bytes have units of their own: B would be billions, and "83B free" reads as 83 bytes."""
    one, _ = fed
    fill(one, 100)
    size, disk = one.db.stat().st_size, os.statvfs(one.db.parent)
    done = one.ledger("compact", "--dry-run")
    [told, free] = re.search(r"^the ledger has ([\d.]+ [kM]B), 0 bytes of them unused; .* more on its disk, which has ([\d.]+ [MGTPE]B) free\n", done.out).groups()
    for text, is_size in ((told, size), (free, disk.f_bavail * disk.f_frsize)):
        number, unit = text.split()
        assert float(number) * 1000 ** " kMGTPE".index(unit[0]) == pytest.approx(is_size, rel=.05), (text, is_size)


@pytest.mark.parametrize("old", [False, True], ids=["new ledger", "old ledger"])
def test_room_is_given_back_while_the_agent_records(fed, old):
    """`prune`, or `compact` for a ledger of before, makes the file smaller. The agent goes on: it has every record afterwards."""
    one, start = fed
    (old_ledger if old else fill)(one, 30000)
    agent, feed = start(retention_days=0)
    feed.start(.01, 2)
    size = one.db.stat().st_size
    said = json.loads(one.ledger("prune", "--days", "10", "--json").out)
    assert said["removed"] > 15000
    if old:
        assert said["freed_bytes"] <= 0 < said["unused_bytes"] and one.db.stat().st_size >= size
        done = one.ledger("compact", "--dry-run")
        assert "takes about" in done.out and "free" in done.out and ask(one.db, "PRAGMA auto_vacuum")[0] == 0
        done = one.ledger("compact")
        assert done.out.index("takes about") < done.out.index(" less") and not done.err
        assert ask(one.db, "PRAGMA auto_vacuum")[0] == 2
        said = json.loads(one.ledger("prune", "--days", "5", "--json").out)
    assert said["freed_bytes"] > 1e6 and said["unused_bytes"] == 0
    feed.stop()
    all_stored(one, agent, feed)
    one.ledger("verify")
    agent.process.end()
    # More than 15,000 requests of 300 bytes and more were removed; what they add to the sums stays.
    assert one.db.stat().st_size < size - 4.5e6


def test_progress_is_for_terminals(work):
    """A long command says on a terminal how far it is, and takes that away; a file or a pipe gets nothing of it."""
    one = Ledger(work)
    fill(one, 30000)
    assert not one.ledger("verify", seconds=60).err
    main, side = os.openpty()
    process = harness.start("ledger", "verify", "-c", one.config, stdout=subprocess.PIPE, stderr=side)
    out = process.communicate(timeout=60)[0]
    os.close(side)
    said = evidence.read_all(main, "a terminal").decode()     # one read may get a part, because the kernel hands it over later
    os.close(main)
    assert b"ok: the file is whole" in out and b"%" not in out
    assert re.search(r"\rverifying: \d+ %, [\d,]+ requests, [\d,]+ a second\x1b\[K", said) and said.endswith("\r\x1b[K"), said
