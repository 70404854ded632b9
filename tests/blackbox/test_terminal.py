"""What commands do at a terminal: ask before they remove, hide what is typed, show how far they are, and say on Ctrl-C how far they came."""
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess

import pytest

import harness
import terminals
from harness import cli
from ledgers import ledger  # noqa: F401
from loglines import DAY, Maker
from processes import until
from terminals import Terminal


# ---- prune


def prunable(ledger, count=300):
    """A ledger of requests of 20 days, and how many are older than 10 days."""
    ledger.take(Maker(seed=21, span_ms=20 * DAY).make(count))
    return json.loads(ledger.ledger("prune", "--days", "10", "--dry-run", "--json").out)["would_remove"]


def test_prune_says_what_it_would_do(ledger):
    old = prunable(ledger)
    assert 0 < old < 300
    before = ledger.db.read_bytes()
    done = ledger.ledger("prune", "--days", "10", "--dry-run")
    assert re.fullmatch(r"%d requests older than \S+ would be removed; the sums by hour and day stay\n" % old, done.out), done
    assert ledger.db.read_bytes() == before and len(ledger.export()) == 300
    said = json.loads(ledger.ledger("prune", "--days", "10", "--json").out)
    assert abs(said["removed"] - old) <= 1 and len(ledger.export()) == 300 - said["removed"]


def test_prune_asks_at_a_terminal(ledger):
    old = prunable(ledger)
    for answer, code, left in (("no\n", 64, 300), ("y\n", 64, 300), ("\x04", 64, 300), ("yes\n", 0, 300 - old)):
        with Terminal("ledger", "prune", "--days", "10", "-c", ledger.config) as one:
            one.until("%d requests older than " % old)
            one.until("Remove them for ever? Write yes: ")
            one.type(answer)
            assert one.end() == code, one.out
            assert ("nothing is removed" in one.out) == (code != 0)
        assert abs(len(ledger.export()) - left) <= 1
    # Where there is nothing to ask about, or nobody wants to be asked.
    assert terminals.run("ledger", "prune", "--days", "10", "-c", ledger.config)[0] == 0
    code, out = terminals.run("ledger", "prune", "--days", "5", "--yes", "-c", ledger.config)
    assert code == 0 and "yes" not in out and len(ledger.export()) < 300 - old


# ---- credential set


@pytest.fixture
def routes(work):
    (work / "credentials").mkdir()
    return harness.write_config(work, {"routes": [
        {"name": "mine", "model_prefix": "a-", "upstream": "https://a.test", "auth": "file:%s/credentials/ollama" % work},
        {"model_prefix": "b-", "upstream": "https://b.test", "auth": "env:B"}]})


@pytest.mark.parametrize("name", ["mine", "ollama"])
def test_a_credential_that_is_typed(routes, work, name):
    """The file has what was typed, the agent's group can read it, nobody else, and the terminal never shows it."""
    key, path = harness.secret("typed"), work / "credentials" / "ollama"
    path.write_text("old")
    path.chmod(0o600)
    with Terminal("credential", "set", name, "-c", routes) as one:
        one.until("Credential for %s (it is not shown): " % path)
        one.type(key + "\n")
        assert one.end() == 0 and key not in one.out and "%s is written" % path in one.out and "No route" not in one.out, one.out
    assert path.read_text() == key and path.stat().st_mode & 0o777 == 0o640 and path.stat().st_gid == path.parent.stat().st_gid
    assert sorted(path.parent.iterdir()) == [path]
    assert cli("check", "-c", routes, env={"B": "b" * 8}).code == 0
    path.unlink()  # or the search for credentials would find it


def test_a_name_of_a_credential_means_one_file(work):
    """Members of pools read files, too. A name that may mean two files writes neither, because one of them may be another upstream's."""
    for one in ("a", "b"):
        (work / one).mkdir()

    def member(name, file):
        return {"name": name, "upstream": "https://%s.test" % name, "auth": "file:%s/%s" % (work, file)}
    config = harness.write_config(work, {"routes": [
        {"name": "one", "model_prefix": "a-", "pool": [member("eu", "a/eu-key"), member("us", "a/key")]},
        {"name": "two", "model_prefix": "b-", "pool": [member("eu", "a/eu-key"), member("asia", "b/key")]}]})
    key = harness.secret("member")

    def put(name):
        with harness.start("credential", "set", name, "-c", config, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            return process.communicate(key.encode(), timeout=60) + (process.wait(),)
    out, err, code = put("key")
    assert code == 64 and b"key may mean %s/a/key or %s/b/key" % (bytes(work), bytes(work)) in err, err
    assert not any((work / one / "key").exists() for one in "ab")
    for name, file in (("eu", "a/eu-key"), ("asia", "b/key"), ("us", "a/key")):
        out, err, code = put(name)
        assert code == 0 and b"No route" not in out and (work / file).read_text() == key, err
        (work / file).unlink()


def test_a_mistyped_name_of_a_credential(routes, work):
    """Nothing is typed into the file of the wrong name before the right one is named."""
    for name, meant in (("olama", "ollama"), ("mien", "mine"), ("other", None)):
        with Terminal("credential", "set", name, "-c", routes) as one:
            one.until("not shown): ")
            said = one.out.partition("Credential for")[0]
            assert ("is %s meant?" % meant in said) if meant else not said, (name, one.out)
            one.type("\n")
            assert one.end() == 65
    done = cli("credential", "ste", "mine")
    assert done.code == 64 and done.err.startswith("spoa-llm: unexpected argument mine; is credential set meant?"), done
    assert "meant?" not in cli("check", "mine").err


def test_a_credential_that_is_none(routes, work):
    path = work / "credentials" / "ollama"
    path.write_text("old")
    for typed, said in (("\n", "nothing was typed"), ("\x04", "nothing was typed"), ('{"token": 1}\n', "the agent cannot use what was typed")):
        with Terminal("credential", "set", "mine", "-c", routes) as one:
            one.until("not shown): ")
            one.type(typed)
            assert one.end() == 65 and said in one.out, (typed, one.out)
    with Terminal("credential", "set", "mine", "-c", routes) as one:
        one.until("not shown): ")
        one.process.send_signal(signal.SIGINT)
        assert one.end() == -signal.SIGINT
        import termios
        assert termios.tcgetattr(one.slave)[3] & termios.ECHO
    assert path.read_text() == "old"
    for name in ("../x", "a/b", "", ".x"):
        assert cli("credential", "set", name, "-c", routes).code == 64
    # Without a terminal it takes standard input.
    with open(os.devnull) as nothing:
        done = harness.run("credential", "set", "mine", "-c", routes, stdin=nothing)
    assert done.returncode == 65 and path.read_text() == "old"


# ---- Ctrl-C, and how far it is


def test_an_import_that_is_stopped(ledger, tmp_path):
    """It says how much is taken in, the ledger is whole, and the next import takes the rest."""
    lines = [entry.line + "\n" for entry in Maker(seed=23).make(2500)]
    read, write = os.pipe()
    with harness.start("ledger", "import", "-", "-c", ledger.config, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(read)
        with open(write, "w") as pipe:
            pipe.write("".join(lines[:1500]))
            pipe.flush()
            # The first 1,000 are taken in together.
            until(lambda: cli("ledger", "export", "-c", ledger.config).out, 30, "the first requests")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    err = err if isinstance(err, str) else err.decode()
    count = int(re.search(r"stopped; ([\d,]+) requests are taken in, and the ledger is whole; run it again to go on", err).group(1).replace(",", ""))
    assert process.returncode == 130 and 0 < count <= 1500 and len(ledger.export()) == count
    ledger.ledger("verify")
    path = tmp_path / "log"
    path.write_text("".join(lines))
    said = json.loads(ledger.ledger("import", path, "--json").out)
    assert (said["new"], said["known"]) == (2500 - count, count)


def test_an_export_that_is_stopped(ledger):
    """What was printed are whole lines, and it says from when to go on."""
    ledger.take(Maker(seed=24).make(3000))
    whole = ledger.ledger("export", "--csv").out
    with harness.start("ledger", "export", "--csv", "-c", ledger.config, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.stdout.read(), process.stderr.read()
        process.wait(30)
    text = [part if isinstance(part, str) else part.decode() for part in (first, out, err)]
    got = (text[0] + text[1]).replace("\r\n", "\n").splitlines()
    count, since = re.search(r"stopped after ([\d,]+) requests; --since (\S+) goes on", text[2]).groups()
    assert process.returncode == 130 and len(got) - 1 == int(count.replace(",", "")) < 3000 and got == whole.replace("\r\n", "\n").splitlines()[:len(got)]
    rest = ledger.ledger("export", "--csv", "--since", since).out.splitlines()
    assert set(got[1:]) | set(rest[1:]) == set(whole.splitlines()[1:])


def test_how_far_an_import_is(ledger, tmp_path):
    """At a terminal, what takes long shows its share and its rate, and leaves no line behind."""
    path = tmp_path / "log"
    path.write_text("".join(entry.line + "\n" for entry in Maker(seed=25).make(12000)))
    code, out = terminals.run("ledger", "import", path, "-c", ledger.config)
    assert code == 0 and re.search(r"\rimporting: \d+ %, [\d,]+ requests, [\d,]+ a second\x1b\[K", out), out
    assert re.search(r"\r\x1b\[K +12,000 lines\n", out), out
    assert "importing" not in ledger.ledger("import", path).err


def test_a_search_that_is_stopped(ledger):
    """It says that it is not done, also if it has found nothing so far (unit/test_store_facets.c: within a search)."""
    ledger.take(Maker(seed=27).make(200))
    for command, said in ((["requests", "--model", "none"], "stopped before all was read; run it again, with --since for fewer requests"),
                          (["savings", "--model", "g*"], "stopped before all was read; run it again"), (["savings", "--json"], "stopped before all was read"), (["upstreams", "--since", "all"], "stopped before all was read"),
                          (["ledger", "export", "--model", "none"], "stopped before the first request was found; run it again")):
        lock = sqlite3.connect(ledger.db, isolation_level=None)
        lock.execute("PRAGMA locking_mode = EXCLUSIVE")
        lock.execute("BEGIN EXCLUSIVE")
        with harness.start(*command, "-c", ledger.config, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            until(lambda: catches(process), 10, "it catches SIGINT")
            process.send_signal(signal.SIGINT)
            lock.close()
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130 and said in err and "total" not in out, (command, process.returncode, out, err)


def catches(process):
    """Whether a signal handler for SIGINT is set."""
    return int(re.search(r"SigCgt:\s*(\w+)", pathlib.Path("/proc/%d/status" % process.pid).read_text()).group(1), 16) & 1 << signal.SIGINT - 1


@pytest.mark.parametrize("command,said", [
    (["verify"], "stopped after 0( of about 500)? requests, with 0 problems found; run it again to verify the whole ledger"),
    (["verify", "--json"], "stopped after 0( of about 500)? requests"),
    (["compact"], "stopped; the ledger is as it was; run it again"),
    (["backup", "FILE"], "stopped; no backup was made; run it again")])
def test_a_command_on_the_whole_ledger_that_is_stopped(ledger, tmp_path, command, said):
    """It says that it is not done and how to go on, and leaves the ledger and nothing else behind."""
    ledger.take(Maker(seed=26).make(500))
    whole = ledger.ledger("export", "--csv").out
    # Nobody else may read it meanwhile, so that the command waits before it has done anything.
    lock = sqlite3.connect(ledger.db, isolation_level=None)
    lock.execute("PRAGMA locking_mode = EXCLUSIVE")
    lock.execute("BEGIN EXCLUSIVE")
    command = [str(tmp_path / "backup.db") if one == "FILE" else one for one in command]
    with harness.start("ledger", *command, "-c", ledger.config, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: catches(process), 10, "it catches SIGINT")
        process.send_signal(signal.SIGINT)
        lock.close()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and re.search(said, err), (process.returncode, out, err)
    assert "ok" not in out and (command[-1] != "--json" or json.loads(out) == {"problems": [], "incomplete": True})
    assert not list(tmp_path.glob("backup.db*"))
    assert {path.name for path in ledger.db.parent.iterdir()} <= {"ledger.db", "ledger.db-wal", "ledger.db-shm"} and ledger.ledger("export", "--csv").out == whole
    ledger.ledger("verify")
