"""tests/tools/parts.py, which runs the parts of `make test`. A copy of it runs here in an empty tree, with parts that end well, fail, hang or
leave a process behind."""
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

import harness


@pytest.fixture
def start(tmp_path):
    tool = tmp_path / "tests" / "tools" / "parts.py"
    tool.parent.mkdir(parents=True)
    shutil.copy(harness.ROOT / "tests" / "tools" / "parts.py", tool)

    def run(text, *names):
        (tmp_path / "list").write_text(text)
        return subprocess.Popen([sys.executable, str(tool), str(tmp_path / "list"), *names], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=dict(os.environ, LANES="2"), text=True)
    return run


def gone(path):
    """Waits until the process whose id stands in the file has ended."""
    harness.until(path.exists, 10, "the process has started")
    pid = int(harness.until(path.read_text, 5, "the id of the process in its file"))
    harness.until(lambda: harness.state_of(pid) in "XZ", 5, "process %d ends" % pid)


def test_results(start):
    process = start("# a comment\n"
                    "good    1 1 -     echo fine\n"
                    "pytest  1 1 good  echo 'FAILED tests/test_x.py::test_y[2.6] - wrong'; echo '===== 3 failed, 40 passed, 2 skipped, 1 xfailed in 5.01s (0:00:05) ====='; echo the reason; exit 1\n"
                    "after   1 1 pytest  echo never\n"
                    "other   2 1 good  true\n")
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the reason" in told and "fine" not in told and "never" not in told
    assert re.findall(r"^(\w+) +\d+ +\d+  (ok|FAILED|not run)", told, re.M) == [
        ("good", "ok"), ("pytest", "FAILED"), ("after", "not run"), ("other", "ok")], told
    assert told.rstrip().endswith("\npytest: FAILED tests/test_x.py::test_y[2.6] - wrong\n42 passed, 3 failed, 3 skipped"), told


def test_all_is_well(start):
    process = start("one  1 1 -  echo '7 passed, 1 warning in 1.20s'\ntwo  1 1 one  false\n", "one")
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and told.rstrip().endswith("\n7 passed, 0 failed, 0 skipped") and "two" not in told, told


def test_lanes(start, tmp_path):
    """On two lanes a part of one and two of a half run side by side, a third half waits for one of them, and a part of two lanes for all."""
    both = "touch %s/$0; while [ ! -e %s/$1 ]; do sleep .01; done" % (tmp_path, tmp_path)
    process = start("whole  1  1 -  sh -c '%s' whole half\nhalf   .5 1 -  sh -c '%s' half other\nother  .5 1 -  sh -c '%s' other whole\n"
                    "third  .5 1 -  ls %s\nall    2  1 -  true\n" % (both, both, both, tmp_path))
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    order = re.findall(r"^\S+ +(start|ok) +(\w+)", told, re.M)
    assert [name for what, name in order if what == "start"] == ["whole", "half", "other", "third", "all"] and order.index(("start", "third")) > 3, told
    assert order[-2:] == [("start", "all"), ("ok", "all")], told


def test_unsteady(start):
    """A test that passed when it ran again is counted as passed, and named."""
    process = start("one  1 1 -  echo 'FAILED a.py::b - c'; echo '1 failed, 9 passed in 1.20s'; echo '1 passed in 1.00s'; echo 'UNSTEADY a.py::b'\n")
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and told.rstrip().endswith("\none: UNSTEADY a.py::b\n10 passed, 0 failed, 0 skipped"), told


TRIED = """
import pathlib, pytest
HERE = pathlib.Path(__file__).parent
def once(name):
    file = HERE / name
    new = not file.exists()
    file.write_text("")
    return new
"""


@pytest.mark.parametrize("tests,most,exit_code,told", [
    ("def test_a(): assert not once('a')\ndef test_b(): pass", 3, 0, "UNSTEADY"),
    ("def test_a(): assert False", 3, 1, "run again"),
    ("def test_a(): assert not once('a')", 0, 1, None),
    ("@pytest.mark.parametrize('n', range(4))\ndef test_a(n): assert not once(str(n))", 3, 1, None),
    ("@pytest.fixture\ndef bad():\n assert not once('f')\ndef test_a(bad): pass", 3, 0, "UNSTEADY"),
    ("@pytest.fixture\ndef bad():\n assert False\ndef test_a(bad): pass", 3, 1, "run again"),
    ("@pytest.fixture\ndef bad():\n print('ERROR: ThreadSanitizer: data race') if once('g') else None\n assert not once('f')\ndef test_a(bad): pass", 3, 1, None),
    ("@pytest.fixture\ndef bad():\n yield\n assert not once('f')\ndef test_a(bad): pass", 3, 1, None),
    ("@pytest.fixture(scope='session')\ndef bad():\n yield\n assert not once('f')\ndef test_a(bad): assert not once('a')", 3, 1, None),
    ("assert not once('c')\ndef test_a(): pass", 3, 1, None),
    ("def test_a():\n print('ERROR: ThreadSanitizer: data race') if once('a') else None\n assert (HERE / 'b').exists() or once('b') and False", 3, 1, None),
], ids=["unsteady", "fails twice", "none again", "too many", "setup", "setup fails twice", "setup and sanitizer",
        "teardown", "end of the session", "not collected", "sanitizer"])
def test_again(tmp_path, tests, most, exit_code, told):
    (tmp_path / "conftest.py").write_text((harness.ROOT / "tests/blackbox/conftest.py").read_text().replace(
        "os.path.dirname(os.path.dirname(os.path.abspath(__file__)))", repr(str(harness.ROOT / "tests"))))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    alone: x\n")
    (tmp_path / "test_x.py").write_text(TRIED + tests + "\n")
    run = subprocess.run([sys.executable, str(harness.ROOT / "tests/tools/again.py"), str(most), "1", sys.executable, "-m", "pytest", "-q", "--", "test_x.py"],
                         cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == exit_code, run.stdout + run.stderr
    assert ("UNSTEADY test_x.py::test_a" in run.stdout) == (told == "UNSTEADY") and ("run again" in run.stdout) == (told is not None), run.stdout


def test_a_part_that_hangs(start, tmp_path):
    """A part that reaches its limit is ended with all processes that it started, even one in a session of its own; another part runs on."""
    process = start("hangs  1 0.02 -  setsid sh -c 'echo $$ > %s; exec sleep 100' & echo stuck; wait\nlives  1 1 -  sleep 3\n" % (tmp_path / "pid"))
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and re.search(r"^hangs .* TIMEOUT", told, re.M) and re.search(r"^lives .* ok", told, re.M) and "stuck" in told, told
    gone(tmp_path / "pid")


def test_what_is_left_behind_is_ended(start, tmp_path):
    process = start("leaves  1 1 -  setsid sh -c 'echo $$ > %s; exec sleep 100' & sleep 1\n" % (tmp_path / "pid"))
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    gone(tmp_path / "pid")


def test_interrupted(start, tmp_path):
    process = start("hangs  1 1 -  setsid sh -c 'echo $$ > %s; exec sleep 100' & wait\n" % (tmp_path / "pid"))
    harness.until((tmp_path / "pid").exists, 10, "the part runs")
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted" in told and re.search(r"^hangs .* stopped", told, re.M), told
    gone(tmp_path / "pid")
