"""The search for credentials (evidence.py) finds one wherever and however it stands. The search itself is part of every session."""
import base64
import contextlib
import json
import sqlite3
import subprocess
import urllib.parse

import pytest

import evidence
import harness

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
    harness.write_config(home, '{"routes": [{"auth": "%s"}]}' % LEAKED, "given.json")      # by a test, not by an agent
    told = subprocess.Popen(["sh", "-c", "read x; : " + LEAKED], stdin=subprocess.PIPE)
    try:
        harness.until(lambda: LEAKED in open("/proc/%d/cmdline" % told.pid).read(), 5, "it runs")
        evidence.search_processes([told.pid])
    finally:
        told.kill()
        told.wait()
    evidence.discard(home)
    assert not home.exists()
    assert [one.split(" in ", 1)[1].split(",")[0] for one in evidence.FOUND] == ["/proc/PID/cmdline", str(home / "ledger" / "ledger.db")], evidence.FOUND
