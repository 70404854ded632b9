"""`make bench`: what the gateway costs, beside what it is compared with, in one run.

    python3 tests/bench/bench.py [--quick] [--haproxy PATH ...] [--only through,reach,streams,tap,pool,keyed,memory,alone] [--rounds N] [--seconds S]
                               [--before COMMIT]
    python3 tests/bench/bench.py --fill      writes the last run's tables into the marked blocks of README.md and docs/

Rounds alternate: in each one every gateway has its turn, so that a machine whose speed changes changes all of them. Figures
are medians over the rounds; a ratio is the median of the rounds' own ratios. Each round has HAProxies of its own. Ends with
exit 1 where a promise is not kept; results.json and results.md are in build/bench. docs/speed.md says what is measured.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rig  # noqa: E402
import alone  # noqa: E402
import harness  # noqa: E402
import keyed  # noqa: E402
import memory  # noqa: E402
import pool  # noqa: E402
import reaches  # noqa: E402
import report  # noqa: E402
import streams  # noqa: E402
import tap  # noqa: E402
import through  # noqa: E402
from chat import chat, coding_agent  # noqa: E402
from ways import WAYS, rivals_versions  # noqa: E402

RESULTS = rig.TOOLS / "results.json"
PARTS = "through,reach,streams,tap,pool,keyed,memory,alone"
ROUNDS = 7      # at least, of what --fill writes into the documents


def haproxies(given):
    """The machine's own, and Debian sid's."""
    return given or [shutil.which("haproxy") or "/usr/sbin/haproxy"] + unpacked("sid")


def unpacked(suite):
    """HAProxy of a Debian suite, if it is available."""
    path = harness.ROOT / "build" / "haproxy" / suite / "haproxy"
    if not path.exists():
        subprocess.run([str(harness.ROOT / "tests" / "tools" / "haproxy-get"), suite, str(path.parent.parent)], stdout=subprocess.DEVNULL)
    if not path.exists():
        print("HAProxy of Debian %s is not available, and is not measured." % suite, file=sys.stderr)
    return [str(path)] if path.exists() else []


def write_bodies(folder):
    """Name of a body, as the tables have it -> its file."""
    made = {"%d KB, model %s" % (size, "last" if last else "first"): chat(size * 1024, last) for size in (1, 16, 128, 900) for last in (True, False)}
    made[through.AGENT_BODY] = coding_agent()
    files = {}
    for name, body in made.items():
        files[name] = str(folder / (name.replace(" ", "-").replace(",", "") + ".json"))
        pathlib.Path(files[name]).write_bytes(body)
    return files


def measure(args):
    rounds, seconds = args.rounds or (3 if args.quick else ROUNDS), args.seconds or (0.25 if args.quick else 1.0)
    only, whole = args.only.split(","), args.only == PARTS and not args.quick and rounds >= ROUNDS
    said, results, versions = report.Report(), {}, haproxies(args.haproxy)
    newest = [] if args.quick or args.haproxy else unpacked("experimental")
    if args.before:
        memory.build(args.before)       # at once, because a commit that is not there ends the run
    with tempfile.TemporaryDirectory(prefix="llm-bodies-", dir="/tmp") as folder:
        bodies = write_bodies(pathlib.Path(folder))
        machine = "%s; %s; %s. HAProxy %s; %s. Medians of %d rounds (reaches: %d, tap: %d). Cores: HAProxy, nginx or Python (one thread) %d, agent %d, upstream %d, load %d." % (
            time.strftime("%Y-%m-%d"), rig.machine(), "load average %.2f at the start" % os.getloadavg()[0],
            " and ".join("%d.%d" % harness.version_of(one) for one in versions), rivals_versions(), rounds, reaches.ROUNDS * rounds, min(rounds, 3),
            *(rig.PLACES[name] for name in ("proxy", "agent", "upstream", "load")))
        said.note("machine", machine)
        said.table("ways", "", ["", "what it is"], [list(way) for way in WAYS.values()])
        if "through" in only:
            results["through"] = through.run(said, versions, args.quick, rounds, bodies)
        if "reach" in only and not args.quick:
            results["reach"] = reaches.run(said, versions + newest, rounds, bodies)
        if "streams" in only:
            results["streams"] = streams.run(said, versions, args.quick, 2 if args.quick else rounds, 1.5 if args.quick else 4 * seconds, bodies)
        if "tap" in only:
            results["tap"] = tap.run(said, versions, args.quick, 1 if args.quick else min(rounds, 3), 1.5 if args.quick else 3 * seconds, bodies)
        if "pool" in only:
            results["pool"] = pool.run(said, versions + newest, args.quick, rounds)
        if "keyed" in only:
            results["keyed"] = keyed.run(said, versions, 4 if args.quick else rounds * keyed.TURNS)
        if "memory" in only:
            results["memory"] = memory.run(said, versions, args.quick, args.before)
        if "alone" in only:
            results["alone"] = alone.run(said, args.quick, rounds, min(seconds, 1.0), bodies)
    for part in [] if whole else only:
        if part in said.blocks:
            said.note(part, machine)
    said.say_promises()
    rig.TOOLS.mkdir(parents=True, exist_ok=True)
    (rig.TOOLS / "results.md").write_text("\n".join(said.lines) + "\n")
    RESULTS.write_text(json.dumps({"whole": whole, "parts": [] if args.quick else only, "machine": machine, "rounds": rounds, "ways": WAYS,
                                   "promises": said.promises, "blocks": said.markdown(), "results": results}, indent=1) + "\n")
    return said.promises


def fill():
    """Writes the blocks of the last `make bench` and of the last `make bench-odd`. Of a bench of some parts, or of fewer than ROUNDS rounds, only the blocks
    that have a part's name: those say by themselves where they were measured, and of how many rounds."""
    blocks = {}
    for file in (RESULTS, rig.TOOLS / "odd.json"):
        run = json.loads(file.read_text()) if file.exists() else {}
        some = run.get("blocks", {}) if run.get("whole", True) else {name: block for name, block in run["blocks"].items() if name in run["parts"]}
        if len(some) < len(run.get("blocks", {})):
            print("%s is of some parts, or of fewer than %d rounds: only the tables of its parts are written" % (file, ROUNDS), file=sys.stderr)
        blocks.update(some)
    homeless = report.fill(blocks)
    if homeless:
        sys.exit("no document has a place for these tables: " + ", ".join(homeless))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own and Debian sid's; may be repeated")
    parser.add_argument("--only", default=PARTS, help="parts of %s" % PARTS)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of a round of the agent alone; a round of streams takes four times as long")
    parser.add_argument("--before", metavar="COMMIT", help="builds this commit, and measures its memory beside")
    parser.add_argument("--fill", action="store_true", help="write the last run's tables into the documents, measure nothing")
    args = parser.parse_args()
    if args.fill:
        return fill()
    begun = time.time()
    promises = measure(args)
    missed = [one for one in promises if not one["ok"]]
    print("%d of %d kept; %.0f s; %s" % (len(promises) - len(missed), len(promises), time.time() - begun, RESULTS))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
