"""`make bench-functions`: what takes HAProxy's instructions of a request of 1 KB, counted by callgrind.

    python3 tests/bench/functions.py [--haproxy PATH ...] [--fill]

The first table is for all ways: 64 connections, as `make bench` has them. The second is by function, for one request at a time, as shipped and with LLM_LEDGER=off: instructions of a
function with all that it calls, and how often it is called. Its rows overlap, because some of these functions call others. The two copies of the log line for the ledger are not sent,
one line for standard output is. A busy machine does not change the figures."""
import argparse
import collections
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import callgrind  # noqa: E402
import harness  # noqa: E402
import through  # noqa: E402
from bench import haproxies, unpacked, write_bodies  # noqa: E402
from counted import Counted  # noqa: E402
from report import Report, fill  # noqa: E402
from ways import NAMES, Ways  # noqa: E402

REQUESTS, WARM = 20, 6
BUSY = "axedcl"         # ways of the first table
BUSY_REQUESTS = 640
# What each function does, for those whose names Debian's HAProxy has. A function may have another name in another version.
ROWS = [
    (("http_process_req_common",), "the rules for the request"),
    (("http_process_res_common",), "the rules for the answer"),
    (("http_eval_after_res_rules",), "the `http-after-response` rules"),
    (("acl_exec_cond",), "conditions, of all rules"),
    (("sample_process",), "values: headers, variables, converters"),
    (("pattern_exec_match",), "comparisons with patterns"),
    (("pcre2_jit_match_8",), "regular expressions"),
    (("http_find_header", "http_get_htx_fhdr", "http_match_header"), "a look for a header"),
    (("strm_log",), "the log line"),
    (("stream_generate_unique_id",), "the id"),
    (("vars_set_by_name_ifexist",), "variables that the agent sets"),
    (("__pool_alloc", "__pool_free"), "HAProxy's pools of memory"),
    (("malloc", "free"), "the C library's memory"),
    (("h1_io_cb", "sc_conn_io_cb", "sc_conn_sync_send"), "reading and writing connections"),
]


def measure(haproxy, ledger):
    """Instructions of a request, and (instructions, calls) of each row of ROWS. `ledger`: LLM_LEDGER."""
    with Counted(haproxy, lambda url: [{"model_prefix": "*", "upstream": url, "auth": "env:KEY"}], lambda text: text, limits={"LLM_LEDGER": ledger}) as counted:
        client = counted.connect()

        def load(requests):
            for _ in range(requests):
                counted.plain(client, "gpt-4.1-mini")
        load(WARM)
        file = counted.between(lambda: load(REQUESTS))
        client.close()
        cost, times = callgrind.called(file)
        found = collections.Counter({callee for _, callee in cost})
        if not found["acl_exec_cond"]:
            sys.exit("functions: the functions of %s have no names" % haproxy)
        return callgrind.total(file) / REQUESTS, [(callgrind.of(cost, *names) / REQUESTS, callgrind.of(times, *names) / REQUESTS) for names, _ in ROWS]


def measure_busy(haproxy, way):
    """Instructions of a request, with 64 connections."""
    with tempfile.TemporaryDirectory() as name:
        counter = callgrind.Counter(pathlib.Path(name), haproxy)
        with Ways(counter.haproxy, way) as it:
            def load(requests):
                it.load(way, through.CHAT, write_bodies(pathlib.Path(name))[through.SMALL], 64, requests)
            load(BUSY_REQUESTS // 4)
            return callgrind.total(counter.between(it.proxies[way].pid, lambda: load(BUSY_REQUESTS))) / BUSY_REQUESTS


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own, and Debian sid's and experimental's; may be repeated")
    parser.add_argument("--fill", action="store_true", help="write the tables into docs/speed-where.md")
    args = parser.parse_args()
    given, said = args.haproxy or haproxies(None) + unpacked("experimental"), Report()
    versions = ["%d.%d" % harness.version_of(haproxy) for haproxy in given]
    said.table("busy", "", ["HAProxy's instructions"] + versions, [[NAMES[way]] + ["{:,.0f}".format(measure_busy(haproxy, way)) for haproxy in given] for way in BUSY])
    columns = [(haproxy, ledger) for ledger in ("on", "off") for haproxy in given]
    measured = [measure(*column) for column in columns]
    said.table("functions", "", ["functions", "what they do"] + [version + more for more in ("", ", no ledger") for version in versions],
               [[", ".join("`%s`" % name for name in names), what] + ["{:,.0f} in {:.0f}".format(*rows[at]) for _, rows in measured] for at, (names, what) in enumerate(ROWS)]
               + [["all", ""] + ["{:,.0f}".format(total) for total, _ in measured]])
    if args.fill:
        fill(said.markdown())


sys.exit(main())
