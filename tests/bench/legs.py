"""`make bench-legs`: what HAProxy's second leg costs a stream, in all and by rule, in HAProxy's instructions, counted by callgrind.

    python3 tests/bench/legs.py [--haproxy PATH ...]

One HAProxy has the leg that `spoa-llm backends` writes, and a copy of it without each of its rules. The figures are of one stream at a time, each of its
events alone, so that each is read and sent by itself. What the C library has free at the time makes a stream some thousand instructions cheaper or dearer, so
a rule is counted by what HAProxy's functions for rules take. No HAProxy but one whose functions have names (Debian's has) can be counted."""
import argparse
import concurrent.futures
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import callgrind  # noqa: E402
import harness  # noqa: E402
from bench import haproxies  # noqa: E402
from counted import Counted  # noqa: E402

STREAMS, EVENTS = 10, 100
RULES = "http_process_req_common", "http_process_res_common"
# Without these no request comes through the leg, or they are no rules.
NEEDED = (r"mode |bind |server |use-server |default_backend |filter |acl |timeout |no log|retr|option |http-reuse "
          r"|http-request (?:set-header x-llm-leg|set-var\(txn\.llm_member\)|send-spoe-group)")
# What cannot be taken out but as a whole: a name, and all lines that belong to it.
GROUPS = {"all that asks the agent for the credential":
          r"filter |http-request (?:set-var\(txn\.llm_member\)|send-spoe-group|return status (?!200)|set-header \S+ %\[var\(txn\.llm\.auth_value)",
          "all that marks HAProxy's own answers": r"acl |http-after-response |http-response set-var\(txn\.llm_answered"}
MODEL = "gpt-4.1-mini"
STRAIGHT, LEG, COPY = "straight to the upstream", "through the leg", "through a copy of the leg"


def routes(url):
    return [{"model_prefix": "direct-", "upstream": url, "auth": "env:KEY", "tap": False}, {"model_prefix": "*", "upstream": url, "auth": "env:KEY"}]


def leg_of(text):
    """The name of the leg that asks for a credential, and its two sections."""
    name = re.search(r"(?m)^    http-request set-var\(txn\.llm_member\) str\((\S+)\)", text).group(1)
    return name, re.search(r"(?ms)^backend %s\n.*?^frontend %s\.in\n.*?(?=^\S|\Z)" % (re.escape(name), re.escape(name)), text).group()


def without(sections):
    """What is taken out -> the sections without it."""
    lines = sections.splitlines(True)
    made = {COPY: lines}
    made.update({line.strip(): [other for other in lines if other is not line] for line in lines if re.match(r"    (?!%s)[a-z]" % NEEDED, line)})
    for name, group in GROUPS.items():
        made[name] = [line for line in lines if not re.match(r"    (?:%s)" % group, line)]
    return {what: "".join(rest) for what, rest in made.items()}


def copy(sections, name, other):
    """The sections under another name. They ask the agent as the leg does."""
    return re.sub(r"(?<!str\()%s\b" % re.escape(name), other, sections)


def measure(haproxy):
    """Way -> instructions of a stream of one event, those of its rules, those of a further event, and how often HAProxy looks at the stream for a further one."""
    ways = {STRAIGHT: ("direct-1", b""), LEG: (MODEL, b"")}

    def edit(text):
        name, sections = leg_of(text)
        for number, (what, rest) in enumerate(without(sections).items()):
            other = "leg.without-%d" % number
            text += copy(rest, name, other)
            ways[what] = MODEL, b"x-bench-leg: %s\r\n" % other.encode()
        # Stands behind all rules about headers of clients.
        mark = "    acl llm_tapped      var(txn.llm_tapped) -m found\n"
        assert text.count(mark) == 1
        return text.replace(mark, "    http-request set-var(txn.llm_tapped) req.fhdr(x-bench-leg) if { req.fhdr_cnt(x-bench-leg) gt 0 }\n" + mark)

    with Counted(haproxy, routes, edit) as counted:
        def one(model, more):
            client = counted.connect()

            def load(streams):
                for _ in range(streams):
                    counted.end(client, counted.begin(client, model, more))
            load(3)
            streams = counted.between(lambda: load(STREAMS))
            upstream = counted.begin(client, model, more)
            events = counted.between(lambda: [counted.event(client, upstream) for _ in range(EVENTS)])
            counted.end(client, upstream)
            client.close()
            return (callgrind.total(streams) / STREAMS, callgrind.of(callgrind.called(streams)[0], *RULES) / STREAMS,
                    callgrind.total(events) / EVENTS, callgrind.of(callgrind.called(events)[1], "process_stream") / EVENTS)
        return {what: one(*way) for what, way in ways.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own and Debian sid's; may be repeated")
    given = haproxies(parser.parse_args().haproxy)
    with concurrent.futures.ThreadPoolExecutor(len(given)) as pool:
        for haproxy, figures in zip(given, pool.map(measure, given)):
            print("HAProxy %d.%d: instructions" % harness.version_of(haproxy))
            for what in STRAIGHT, LEG:
                stream, rules, event, looks = figures.pop(what)
                print("  {}: {:,.0f} for a stream of one event, of that {:,.0f} for rules; {:,.0f} for each further event, for {:.0f} % of which it looks at the stream"
                      .format(what, stream, rules, event, 100 * looks))
            _, rules, _, _ = figures.pop(COPY)
            for what, (_, less, _, _) in figures.items():
                print("{:9,.0f}  {}".format(rules - less, what[:140]))


main()
