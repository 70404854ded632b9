"""Runs black-box tests beside each other, and those that fail once more, one at a time: beside others, and on a busy machine, a test may wait
for longer than it allows.

    python3 tests/tools/again.py MOST PROCESSES COMMAND... -- TESTS...

COMMAND is pytest with its options. At most MOST failed tests run again (0: none does). If all of them pass, the exit is 0, and for each there is
a line that begins with UNSTEADY, which tests/tools/parts.py shows below its table: such a test has to be fixed all the same. A test whose
fixture did not come about counts as failed. Never run again: an error at the end of a fixture or of the session (the checks of what processes
logged, what upstreams got, and that no credential was written anywhere), what a sanitizer found, a crash."""
import os
import pathlib
import subprocess
import sys
import tempfile


# pytest compiles each test file in a way of its own, which takes each of its processes three seconds unless another one has kept the result.
KEPT = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(pathlib.Path(__file__).resolve().parent.parent.parent / "build" / "pycache")}


def main(most, processes, *rest):
    command, tests = list(rest[:rest.index("--")]), rest[rest.index("--") + 1:]
    with tempfile.TemporaryDirectory() as place:
        # tests/blackbox/conftest.py writes a line for each test that failed, or `error` and the test.
        noted = os.path.join(place, "failed")
        status = subprocess.run([*command, "-n", processes, *tests], env={**os.environ, **KEPT, "FAILED_TO": noted}).returncode
        if status != 1 or not os.path.exists(noted):
            return status
        with open(noted, encoding="utf-8") as file:
            failed = file.read().splitlines()
    if not failed or len(failed) > int(most) or any(line.startswith("error ") for line in failed):
        return status
    print("---- these run again, one at a time: %s" % " ".join(failed), flush=True)
    status = subprocess.run([*command, *failed], env={**os.environ, **KEPT}).returncode
    if status == 0:
        for test in failed:
            print("UNSTEADY %s" % test, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 4 and "--" in sys.argv else __doc__)
