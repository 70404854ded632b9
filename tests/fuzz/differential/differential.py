"""Compares which model we read from a body or a query with what the standard parsers of Go, Node, Python and PHP read from the same bytes.
Either all of them read the model that we read (none, if we read none), or we refuse. From a query that goes upstream with the operator's
credential none of them may read a parameter that carries a key.

    differential.py SECONDS [--seed N] [--kind KIND ...]     the corpus, then new cases for SECONDS; kinds: json, form, multipart, query

We: build/drivers/scan_driver for bodies; for queries a real HAProxy (HAPROXY=PATH) with the shipped rules, and the real agent. They: reader.go,
reader.js, reader.py and reader.php beside this file, each with nothing but its language's standard library. A reader gets cases on standard input:
one byte (b: a body, q: a query string), and the content-type and the bytes, each with its length in front (4 bytes, little-endian). It answers a line
for each: `way=reading` for every way in which a server in that language may read the model. A reading is the model in hex; `-`: none; `?`: a model
that is not a text (a number, a file); `!`: an error, so that the server fails the request. The ways begin with `json.`, `form.` or `query.`: a server
uses one of these families.

A disagreement is made as small as possible and printed as a row for corpus/KIND; then the exit status is 1."""
import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "rig"))
import cases  # noqa: E402
import gateway  # noqa: E402
import scan  # noqa: E402

KINDS = ("json", "form", "multipart", "query")
DRIVER = os.environ.get("SCAN_DRIVER") or str(ROOT / "build" / "drivers" / "scan_driver")
READERS = {"go": [str(ROOT / "build" / "differential" / "reader")], "node": ["node", str(HERE / "reader.js")],
           "python": [sys.executable, str(HERE / "reader.py")], "php": ["php", "-n", str(HERE / "reader.php")]}
BATCH = 2000
# Of the cases of a kind at least this share has to be accepted by us, because a reader that refuses everything agrees with all others.
ACCEPTED_MIN = 0.01
FAILURES_MAX = 8


def read_by(language, some):
    """Returns the answers of one reader: for each case a list of (language.way, reading)."""
    asked = b"".join(struct.pack("<cI", b"q" if one.kind == "query" else b"b", len(one.ctype)) + one.ctype
                     + struct.pack("<I", len(one.data)) + one.data for one in some)
    run = subprocess.run(READERS[language], input=asked, stdout=subprocess.PIPE, check=True)
    lines = run.stdout.decode().splitlines()
    assert len(lines) == len(some), "%s answered %d of %d cases" % (language, len(lines), len(some))
    return [[(language + "." + way, value) for way, value in (said.split("=") for said in line.split())] for line in lines]


def bodies_read_by_us(some):
    """Returns for each case our readings and the bytes that an upstream gets. A reading is (how it was asked, status, name)."""
    asked = [scan.question(body=one.data, ctype=one.ctype, sized=sized) for one in some for sized in (True, False)]
    said = [(status, name) for status, _, _, _, name, _ in scan.answers(DRIVER, asked)]
    return [([("whole", *said[2 * i]), ("chunked", *said[2 * i + 1])], one.data) for i, one in enumerate(some)]


class Queries(gateway.Queries):
    def read(self, some):
        return [([("replaced" if replaced else "query", status, name)], saw)
                for status, name, replaced, saw in self.ask([one.data for one in some])]


def same(reading, name):
    """True if the reading of a parser, in hex, is the model that we read. Google's models/NAME is NAME to us."""
    text = bytes.fromhex(reading)
    return text == name or text == b"models/" + name


def disagreement(kind, ours, theirs):
    """Returns what is wrong, as text; None: nothing is. `ours`: one of our readings; `theirs`: the (way, reading) of all readers."""
    how, status, name = ours
    if status not in ("found", "none"):
        return None
    if how == "replaced":
        keys = sorted({way.split(".")[0] for way, reading in theirs if way.endswith(".name") and secret(reading)})
        if keys:
            return "a key by " + ", ".join(keys)
    for family in ("json", "form", "query"):
        said = [(way, reading) for way, reading in theirs if "." + family + "." in way and reading != "!"]
        model = [way for way, reading in said if reading not in "-?" and status == "found" and same(reading, name)]
        other = [way for way, reading in said if reading != "-" and way not in model]
        none = [way for way, reading in said if reading == "-"]
        if other:
            return "another model by " + ", ".join(other)
        # If the body came in chunks, more may follow behind a model that we read, and make a parser refuse the body.
        if model and none and how != "chunked":
            return "no model by " + ", ".join(none)
    # JSON may be sent with the content-type of a form, and then nobody finds a model in the form.
    if status == "found" and kind != "json" and how != "chunked" and {reading for _, reading in theirs} <= {"-", "!"} and "-" in dict(theirs).values():
        return "no model by anybody"
    return None


def secret(reading):
    return reading not in "-?" and bytes.fromhex(reading).strip().lower().decode("latin-1") in cases.KEYS


def judge(some, read):
    """Returns for each case (our readings, what is wrong or None, what they read)."""
    if not some:
        return []
    ours = read(some)
    seen = [one._replace(data=saw) for one, (_, saw) in zip(some, ours) if saw is not None]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        theirs = zip(*[one.result() for one in [pool.submit(read_by, language, seen) for language in READERS]]) if seen else iter(())
        out = []
        for one, (readings, saw) in zip(some, ours):
            said = [reading for parts in next(theirs) for reading in parts] if saw is not None else []
            out.append((readings, next(filter(None, (disagreement(one.kind, reading, said) for reading in readings)), None), said))
    return out


def minimal(one, read):
    """Returns the smallest case that disagrees, of those found by taking pieces away."""
    for _ in range(12):
        tries = list(dict.fromkeys(cases.smaller(one)))
        better = [small for small, (_, wrong, _) in zip(tries, judge(tries, read)) if wrong and small != one]
        if not better:
            return one
        one = min(better, key=lambda small: len(small.data) + len(small.ctype))
    return one


def shown(one, verdict):
    readings, wrong, theirs = verdict
    read = "; ".join("%s=%s" % (way, reading if reading in "-?!" else bytes.fromhex(reading)) for way, reading in theirs)
    return "%s\n  content-type %r\n  data         %r\n  we: %s\n  they: %s\nrow for corpus/%s:\n%s" % (
        wrong, one.ctype, one.data, "; ".join("%s: %s %r" % reading for reading in readings), read, one.kind, cases.row("refused", one))


def word(status):
    return status if status in ("found", "none") else "refused"


def check_corpus(kind, read):
    """Returns the number of rows that are not as they should be, and the cases."""
    rows = list(cases.rows(HERE / "corpus" / kind, kind))
    failures = 0
    for (want, one), verdict in zip(rows, judge([one for _, one in rows], read)):
        if verdict[1] or word(verdict[0][0][1]) != want:
            failures += 1
            print("differential %s: %s, corpus: %s" % (kind, want, shown(one, verdict)))
    return failures, [one for _, one in rows]


def fuzz(kind, read, seconds, seed, known):
    """Compares new cases for `seconds`, and prints the smallest form of each kind of disagreement. Returns their number."""
    r = random.Random("%s-%s" % (kind, seed))
    begin, count, found, none, failures = time.monotonic(), 0, 0, 0, {}
    while time.monotonic() - begin < seconds:
        some = [cases.case(r, kind, known) for _ in range(BATCH)]
        for one, verdict in zip(some, judge(some, read)):
            count += 1
            found += verdict[0][0][1] == "found"
            none += verdict[0][0][1] == "none"
            if verdict[1] and len(failures) < FAILURES_MAX:
                failures.setdefault(verdict[1], one)
        if failures:
            break
    for one in failures.values():
        one = minimal(one, read)
        print("differential %s: seed %s: %s" % (kind, seed, shown(one, judge([one], read)[0])))
    took = time.monotonic() - begin
    print("differential %s: %d cases in %.0f s; of these we read a model in %d, none in %d, and refuse the others; disagreements: %d"
          % (kind, count, took, found, none, len(failures)), flush=True)
    if not failures and count and found < count * ACCEPTED_MIN:
        print("differential %s: too few cases have a model for us" % kind)
        return 1
    return len(failures)


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("seconds", type=float)
    ask.add_argument("--seed", default=str(random.randrange(1 << 32)))
    ask.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS)
    args = ask.parse_args()
    for program in ("node", "php", READERS["go"][0]):
        if not shutil.which(program):
            sys.exit("differential: %s is missing: tests/tools/deps test, make differential" % program)
    failures = 0
    for kind in args.kind:
        with Queries(os.environ.get("HAPROXY", "haproxy")) if kind == "query" else contextlib.nullcontext() as queries:
            read = queries.read if queries else bodies_read_by_us
            wrong, known = check_corpus(kind, read)
            failures += wrong
            if not wrong and args.seconds > 0:
                failures += fuzz(kind, read, args.seconds / len(args.kind), args.seed, known)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
