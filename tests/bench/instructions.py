"""`make bench-instructions`: instructions of one decision, counted by callgrind, against tests/bench/instructions.json.

    python3 tests/bench/instructions.py build/bench/decision_driver [--update]

The number of instructions does not change on a busy machine, as the time that they take does. Two runs of different lengths are
subtracted, so that starting up is not in the figure. The vector level is forced, because it changes the count: every x86-64 of the
last fifteen years and valgrind have sse4, most machines have avx2; a level that this CPU or valgrind lacks is left out. Another
compiler makes other code, so its figures are shown but not judged. Exit 1: a figure is more than 5 % above the file's.
"""
import concurrent.futures
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from chat import chat  # noqa: E402

FILE = pathlib.Path(__file__).resolve().parent / "instructions.json"
MARGIN = 1.05
LEVELS = ("sse4", "avx2") if platform.machine() == "x86_64" else ("portable",)
# Name, bytes of the body, head and tail that are shown (0: all), decisions of the short and the long run, environment.
SAMPLES = (("1 KB", 1024, 0, 0, 200, 2200, {}), ("1 KB, LLM_LEDGER=off", 1024, 0, 0, 200, 2200, {"LEDGER_OFF": "1"}),
           ("1 KB, one of 100 clients", 1024, 0, 0, 200, 2200, {"CLIENTS": "100"}),
           ("1 KB, one of 100,000", 1024, 0, 0, 200, 2200, {"CLIENTS": "100000"}), ("16 KB, head and tail", 16384, 8192, 8192, 100, 600, {}),
           ("128 KB, head and tail", 131072, 8192, 8192, 100, 600, {}), ("128 KB, whole", 131072, 0, 0, 20, 60, {}))


def compiler(driver):
    """The compiler that made the driver, and its major version, as the driver itself says."""
    out = subprocess.run(["readelf", "-p", ".comment", driver], capture_output=True, text=True).stdout
    # gcc's name is always there, because of the start-up code.
    found = re.search(r"(clang)[^\n]*?(\d+)\.\d+", out) or re.search(r"(GCC)[^\n]*?(\d+)\.\d+", out)
    return "%s %s on %s" % (found.group(1).lower(), found.group(2), platform.machine()) if found else "unknown"


def count(driver, level, decisions, body, head, tail, extra):
    """Instructions of the whole run; None where this CPU lacks the level."""
    with tempfile.TemporaryDirectory() as work:
        args = [driver, level, str(decisions), str(body)] + ([str(head), str(tail)] if head else [])
        run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + work + "/out"] + args,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                             env=dict({"PATH": os.environ["PATH"], "LANG": "C"}, **extra))
    if run.returncode == 3:
        return None
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        sys.exit("instructions: %s failed with exit %d\n%s" % (" ".join(args), run.returncode, run.stderr[-2000:]))
    return int(found.group(1))


def measure(driver):
    figures = {}
    with tempfile.TemporaryDirectory() as work, concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        pending = []
        # Without debugging information, because valgrind does not read every compiler's.
        plain = work + "/driver"
        subprocess.run(["strip", "--strip-debug", "-o", plain, driver], check=True)
        for name, size, head, tail, short, long, extra in SAMPLES:
            body = pathlib.Path(work) / ("%d.json" % size)
            body.write_bytes(chat(size))
            for level in LEVELS:
                pending.append((name, level, long - short,
                                [pool.submit(count, plain, level, n, body, head, tail, extra) for n in (short, long)]))
        for name, level, more, (short, long) in pending:
            if short.result() is not None:
                figures.setdefault(name, {})[level] = round((long.result() - short.result()) / more)
    return figures


def names():
    """Exits unless the message that is read has the arguments of spoe.conf, in their order: others would take another way."""
    conf = re.search(r"(?ms)^spoe-message llm-request-2\n(.*?)^spoe-", (FILE.parent.parent.parent / "spoe.conf").read_text()).group(1)
    conf = re.sub(r"(?ms)^    (?:\.else\n|\.if version_atleast\(3\.4\)|\.if !streq\(\"\$LLM_CLIENTS).*?^    \.endif\n", "", conf)
    asked = re.findall(r"(\w+)=", "".join(re.findall(r"(?m)^ +args .*", conf)))
    sent = re.findall(r'spop_put_name\(&w, SLICE\("(\w+)"\)\)', (FILE.parent / "notify.h").read_text())
    if asked != sent:
        sys.exit("instructions: spoe.conf has the arguments %s, and tests/bench/notify.h %s" % (asked, sent))


def main():
    names()
    driver = str(pathlib.Path(sys.argv[1]).resolve())
    figures, by = measure(driver), compiler(driver)
    if not figures:
        sys.exit("instructions: none of the levels %s runs here" % ", ".join(LEVELS))
    if "--update" in sys.argv:
        FILE.write_text(json.dumps({"compiler": by, "instructions": figures}, indent=2) + "\n")
        print("written: %s" % FILE)
    kept = json.loads(FILE.read_text())
    judged = kept["compiler"] == by
    grown = []
    print("instructions of a decision (%s)" % by)
    for name, levels in figures.items():
        for level, got in levels.items():
            was = kept["instructions"].get(name, {}).get(level)
            change = "%+.1f %%" % (100 * (got / was - 1)) if was else "new"
            print("  %-24s %-9s %8d  was %8s  %s" % (name, level, got, was or "-", change))
            if judged and (was is None or got > was * MARGIN):
                grown.append("%s, %s" % (name, level))
    if not judged:
        print("The file's figures are of %s: not judged." % kept["compiler"])
    if grown:
        print("More than 5 %% above tests/bench/instructions.json: %s.\nWhere that is meant: make bench-instructions UPDATE=--update, "
              "and say why in the commit." % "; ".join(grown), file=sys.stderr)
        return 1
    return 0


sys.exit(main())
