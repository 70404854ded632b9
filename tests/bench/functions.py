"""`make bench-functions`: which functions of HAProxy take the instructions of a request of 1 KB, counted by callgrind.

    python3 tests/bench/functions.py [--haproxy PATH ...]

For each HAProxy, as shipped and with LLM_LEDGER=off: instructions a request of a function with all that it calls, and how often it is called. The rows overlap, because some of
these functions call others. The two copies of the log line for the ledger are not sent, one line for standard output is. A busy machine does not change the figures."""
import argparse
import collections
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import callgrind  # noqa: E402
import harness  # noqa: E402
from bench import haproxies  # noqa: E402
from counted import Counted  # noqa: E402

REQUESTS, WARM = 20, 6
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own and Debian sid's; may be repeated")
    given = haproxies(parser.parse_args().haproxy)
    columns = [(haproxy, ledger) for ledger in ("on", "off") for haproxy in given]
    measured = [measure(*column) for column in columns]
    print("| functions | what they do | %s |" % " | ".join("%d.%d%s" % (*harness.version_of(haproxy), "" if ledger == "on" else ", no ledger") for haproxy, ledger in columns))
    print("|-|-|%s" % ("----:|" * len(columns)))
    for at, (names, what) in enumerate(ROWS):
        print("| %s | %s | %s |" % (", ".join("`%s`" % name for name in names), what,
                                  " | ".join("{:,.0f} in {:.0f}".format(*rows[at]) for _, rows in measured)))
    print("| all | | %s |" % " | ".join("{:,.0f}".format(total) for total, _ in measured))


sys.exit(main())
