"""`make bench-record`: instructions of the ledger for a record, counted by callgrind, by function: taking its line in twice, and storing it.

    python3 tests/bench/record.py build/bench/ledger_record [--batch 500] [--all]

--batch: records in one transaction; --all: each function of ours, however little it takes. Two runs of different lengths are subtracted, so that what is done once is
not in the figures. Each figure is that of the function with all that it calls, but without system calls: the kernel's part is not counted."""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "rig"))
import callgrind  # noqa: E402

SHORT, LONG = 1000, 4000        # both are whole batches
PARTS = (("intake", ("ledger_take", "ledger_flush")), ("store", ("store_add",)))


def count(driver, part, counted, records, batch):
    """All instructions of the functions `counted`, and by called function."""
    with tempfile.TemporaryDirectory() as work:
        out = pathlib.Path(work) / "out"
        run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=%s" % out, *("--toggle-collect=" + name for name in counted), driver, part, work, str(records),
                              *([str(batch)] if part == "store" else [])], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
                             env={"PATH": os.environ["PATH"], "GLIBC_TUNABLES": callgrind.TUNABLES})
        if run.returncode:
            sys.exit("record: %s failed with exit %d\n%s" % (driver, run.returncode, run.stderr[-2000:]))
        cost, _ = callgrind.called(out)
        return callgrind.total(out), cost


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("driver")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    ours = set(re.findall(r"(?m) [tT] (\w+)$", subprocess.run(["nm", args.driver], capture_output=True, text=True, check=True).stdout))
    everything = 0
    for part, counted in PARTS:
        (less, before), (more, after) = (count(args.driver, part, counted, records, args.batch) for records in (SHORT, LONG))
        each = {name: (callgrind.of(after, name) - callgrind.of(before, name)) / (LONG - SHORT) for name in {callee for _, callee in after}}
        whole = (more - less) / (LONG - SHORT)
        everything += whole
        print("%s: %d instructions a record" % (part, whole))
        for name, took in sorted(each.items(), key=lambda item: -item[1]):
            if (name in ours or name.startswith("sqlite3_")) and name not in (*counted, "main") and (args.all or took >= whole / 50):
                print("  %7d  %s" % (took, name))
    print("both: %d" % everything)


main()
