"""The search for credentials (tests/rig/evidence.py) finds a credential in every place and every form. Each session of tests runs the search."""
import base64
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.parse

import pytest

import evidence
import harness
import spop

LEAKED = harness.secret("leaked-on-purpose")
PLAIN = LEAKED.encode()
FORMS = {
    "plain": PLAIN, "its first half": PLAIN[:len(PLAIN) // 2], "in a header": b"Authorization: Bearer " + PLAIN + b"\r\n", "in JSON": json.dumps({"a": [LEAKED]}).encode(),
    "JSON's escapes": "".join("\\u%04X" % char for char in PLAIN).lower().encode(), "a URL's": urllib.parse.quote("?key=%s&" % LEAKED).encode(),
    "each byte percent-encoded": "".join("%%%02X" % char for char in PLAIN).encode(), "hexadecimal": PLAIN.hex().encode(), "UTF-16": LEAKED.encode("utf-16le"),
    "backwards": PLAIN[::-1], "base64": base64.b64encode(PLAIN), "base64 of a URL's": base64.urlsafe_b64encode(b"user:" + PLAIN),
    "base64, one further": base64.b64encode(b"x" + PLAIN + b"x"), "base64, two further": base64.b64encode(b"xy" + PLAIN),
}


@pytest.fixture(autouse=True)
def own_findings():
    before = list(evidence.FOUND)
    evidence.FOUND.clear()
    yield
    evidence.FOUND[:] = before


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_found(form):
    assert evidence.search(b"x" * 1000 + FORMS[form] + b"\0" * 1000, "a test's own text")
    assert len(evidence.FOUND) == 1 and "a test's own text" in evidence.FOUND[0] and LEAKED not in evidence.FOUND[0]
    if form not in ("its first half", "backwards", "in JSON"):
        assert "'leaked-on-purpose' (" in evidence.FOUND[0], evidence.FOUND
    evidence.search(b"sk-glm-0123456789abcdef " + base64.b64encode(b"sk-of nobody" * 9), "nothing")
    assert len(evidence.FOUND) == 1


def test_one_without_a_mark_is_found():
    value = "Zm9 +odd/credential=="
    evidence.configured(['{"auth": "env:ODD"}'], {"ODD": value, "OTHER": "no credential at all"})
    for text in (value, urllib.parse.quote(value, ""), base64.b64encode(value.encode()).decode()):
        assert evidence.search("a " + text, "there") == ["ODD"], text
    assert not evidence.search("no credential at all", "here")
    del evidence.SECRETS[value], evidence._unmarked[value]


def test_files_ledgers_and_processes():
    home = evidence.workdir()
    (home / "ledger").mkdir()
    with contextlib.closing(sqlite3.connect(str(home / "ledger" / "ledger.db"))) as base:
        base.execute("create table requests (id text, model text)")
        base.executemany("insert into requests values (?, ?)", [(str(n), "model %d" % n) for n in range(5000)])
        base.execute("insert into requests values ('x', ?)", ["glm-" + LEAKED])
        base.commit()
    harness.write_config(home, '{"routes": [{"auth": "%s"}]}' % LEAKED, "given.json")      # not searched, because a test wrote this file, not an agent
    told = subprocess.Popen(["sh", "-c", "read x; : " + LEAKED], stdin=subprocess.PIPE)
    try:
        harness.until(lambda: LEAKED in open("/proc/%d/cmdline" % told.pid).read(), 5, "the shell runs")
        evidence.search_processes([told.pid])
    finally:
        told.kill()
        told.wait()
    evidence.discard(home)
    assert not home.exists()
    assert [one.split(" in ", 1)[1].split(",")[0] for one in evidence.FOUND] == ["/proc/PID/cmdline", str(home / "ledger" / "ledger.db")], evidence.FOUND


def test_the_agent_is_started_in_one_way_only(work):
    """That way is evidence.Popen, which searches what the agent writes. A start in any other way fails before the agent runs."""
    for start in (lambda: subprocess.run([harness.AGENT, "--version"]), lambda: subprocess.Popen(harness.argv("--version")),
                  lambda: subprocess.check_output("true; %s --version" % harness.AGENT, shell=True), lambda: os.system(harness.AGENT + " --version"),
                  lambda: subprocess.run(["env", "A=b", str(work / "other-version")]), lambda: os.posix_spawn("/bin/env", ["env", harness.AGENT], {})):
        with pytest.raises(AssertionError, match="round evidence.Popen"):
            start()
    assert harness.run("--version").returncode == 0 and not evidence.FOUND
    with pytest.raises(AssertionError, match="where does its stderr go"):
        harness.start("--version", stdout=subprocess.DEVNULL)


def test_what_a_command_writes_is_searched(work):
    """The command writes to a pipe (read at once or in pieces), to a terminal and to a file. The credential is the name of a wrong argument,
    which the command repeats in its error."""
    wrong = "--" + LEAKED
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert wrong.encode() in harness.run(wrong, **pipes).stderr
    assert told() == 1
    with harness.start(wrong, **pipes) as process:
        assert LEAKED in "".join(line.decode() for line in process.stderr)
    evidence.settle()
    assert told() == 1
    parent, child = os.openpty()
    with harness.start(wrong, stdin=subprocess.DEVNULL, stdout=child, stderr=child):
        os.close(child)
        assert PLAIN in evidence.read_all(parent, "a terminal")
    os.close(parent)
    assert told() == 1
    home = evidence.workdir()
    with open(home / "log", "wb") as log, harness.start(wrong, stdout=log, stderr=log):
        pass
    evidence.discard(home)
    assert told() == 1


def told():
    """Returns the number of findings since the last call."""
    count = len(set(evidence.FOUND))
    evidence.FOUND.clear()
    return count


def test_how_a_process_was_called_is_searched(agents):
    agent = agents({}, args=("--log-level", "debug"))
    agent.process.kill(signal.SIGHUP)
    assert not told()
    evidence.known("--log-level\0debug", "an argument")
    try:
        agent.process.kill(signal.SIGHUP)
        assert told() == 1
    finally:
        del evidence.SECRETS["--log-level\0debug"], evidence._unmarked["--log-level\0debug"]


@pytest.mark.parametrize("name, found", [("auth_value", 0), ("auth_header", 1), ("message", 1)])
def test_what_a_client_of_spop_receives_is_searched(work, name, found):
    """A credential may stand in the variable auth_value of an answer, and in no other variable."""
    path = str(work / "s")
    with spop.FakeAgent(path, lambda args: {"deny": False, name: "Bearer " + LEAKED, "route": "r"}), spop.Client(path) as client:
        assert LEAKED in client.ask()[name]
        evidence.settle()
        assert told() == found
        client.ask(project="of " + LEAKED)
    evidence.settle()
    assert told() == found + 1


def test_the_search_of_the_shell_tests(work):
    (work / "credentials").write_text("LOG_KEY=%s\n" % ("9f8e7d6c" * 4))
    (work / "logs").mkdir()
    (work / "logs" / "log").write_text("nothing\n")

    def search(*arguments):
        return subprocess.run([sys.executable, evidence.__file__, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    good = search(work / "credentials", "--", work / "logs")
    assert good.returncode == 0 and "no credential of 1 in 1 files" in good.stdout, good
    assert "is not there" in search(work / "credentials", "--", work / "logs", work / "nowhere").stdout
    (work / "logs" / "log").write_text("key=%s\n" % base64.b64encode(("9f8e7d6c" * 4).encode()).decode())
    bad = search(work / "credentials", "--", work / "logs")
    assert bad.returncode == 1 and "'credentials' (" in bad.stdout and "/logs/log" in bad.stdout, bad
    (work / "credentials").write_text("short\n")
    assert search(work / "credentials", "--", work / "logs").returncode == 1
