"""Mutations: small harms done on purpose to the agent, the page and HAProxy's rules, each of which some test has to notice. The list is
tests/mutations/list.

    python3 tests/mutations/run.py                  all
    python3 tests/mutations/run.py x-api-key        those whose name contains it
    python3 tests/mutations/run.py 5 --seed 3       five of them, by the seed
    python3 tests/mutations/run.py --places         runs none: looks whether the code has the lines of each (`make lint`)

Works in a copy of the tree under build/mutate. Exit 1 if a mutation survived, or could not be done."""
import argparse
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TREE = ROOT / "build" / "mutate" / "tree"


def mutations():
    """Blocks of: `name`, `file`, `test` (a unit test's name, or arguments of pytest), then lines with - and +."""
    out = []
    for block in re.split(r"\n\s*\n", (ROOT / "tests" / "mutations" / "list").read_text()):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        one = {"old": [], "new": []}
        for line in lines:
            if line.startswith("-"):
                one["old"].append(line[1:])
            elif line.startswith("+"):
                one["new"].append(line[1:])
            else:
                key, _, value = line.partition(": ")
                one[key] = value
        one["old"], one["new"] = "\n".join(one["old"]), "\n".join(one["new"])
        out.append(one)
    assert len({one["name"] for one in out}) == len(out), "a name stands twice"
    return out


class Done:
    """`code`: None if the command was ended because its time was over."""

    def __init__(self, code, out):
        self.code, self.out = code, out


def run(command, seconds=600):
    process = subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, shell=True, start_new_session=True)
    try:
        out = process.communicate(timeout=seconds)[0]
        return Done(process.returncode, out.decode("utf-8", "replace"))
    except subprocess.TimeoutExpired:
        # What the shell started hangs, not the shell.
        os.killpg(process.pid, signal.SIGKILL)
        return Done(None, process.communicate()[0].decode("utf-8", "replace"))
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def prepare():
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
    for path in list(TREE.rglob("*")) if TREE.exists() else []:
        name = str(path.relative_to(TREE))
        if path.is_file() and not name.startswith("build/") and "__pycache__" not in name and (name not in files or not (ROOT / name).exists()):
            path.unlink()
    for name in filter(None, files):
        source, target = ROOT / name, TREE / name
        if not source.is_file() or "fuzz/corpus" in name:
            continue
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    (TREE / "build").mkdir(exist_ok=True)
    if (ROOT / "build" / "haproxy").exists() and not (TREE / "build" / "haproxy").exists():
        (TREE / "build" / "haproxy").symlink_to(ROOT / "build" / "haproxy")
    done = run("make -j2 all")
    if done.code != 0:
        sys.exit("the tree does not build:\n" + done.out[-2000:])


def is_unit(one):
    return one["test"].startswith("test_")


def noticed(one, done):
    """Only a failed check counts, or an error of a fixture: not a test that could not be built, found or imported, for which pytest has other codes."""
    return bool(re.search(r"\d+ passed, [1-9]\d* failed|Assertion|Sanitizer", done.out)) if is_unit(one) else done.code == 1


def test_of(one):
    if is_unit(one):
        return "make build/unit/%s && build/unit/%s" % (one["test"], one["test"])
    return "SPOA_LLM=$PWD/build/spoa-llm %s -m pytest -q -x -p no:cacheprovider --show-capture=no --tb=line %s" % (sys.executable, one["test"])


def attempt(one):
    path = TREE / one["file"]
    text = path.read_text()
    if text.count(one["old"]) != 1:
        return "NOT DONE: its lines with - stand %d times in the file, not once" % text.count(one["old"])
    path.write_text(text.replace(one["old"], one["new"]))
    try:
        if one["file"].startswith("agent/"):
            # A mutation may leave something unused. A warning of the compiler must not be what notices it.
            built = run("make -j2 CFLAGS='-g -Wno-error' all")
            if built.code != 0:
                return "NOT DONE: it does not build\n" + built.out[-800:]
        tested = run(test_of(one).replace("make ", "make CFLAGS='-g -Wno-error' "))
        if tested.code is None:
            return "noticed (by its time)"
        if tested.code == 0:
            return "SURVIVED"
        return "noticed" if noticed(one, tested) else "NOT DONE: no test failed\n" + tested.out[-800:]
    finally:
        path.write_text(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("which", nargs="?", default="")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--places", action="store_true")
    arguments = parser.parse_args()
    chosen = mutations()
    if arguments.places:
        lost = [one for one in chosen if (ROOT / one["file"]).read_text().count(one["old"]) != 1]
        for one in lost:
            print("tests/mutations/list: %s: its lines with - are not there once in %s" % (one["name"], one["file"]))
        return 1 if lost else 0
    if arguments.which.isdigit():
        chosen = random.Random(arguments.seed).sample(chosen, min(int(arguments.which), len(chosen)))
    else:
        chosen = [one for one in chosen if re.search(arguments.which, one["name"])]
    prepare()
    bad = 0
    for one in chosen:
        start = time.monotonic()
        told = attempt(one)
        bad += not told.startswith("noticed")
        print("%-34s %-28s %5.1f s  %s" % (one["name"], told, time.monotonic() - start, one["test"]), flush=True)
    print("%d mutations, %d noticed" % (len(chosen), len(chosen) - bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
