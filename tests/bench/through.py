"""Requests through a gateway: CPU of all its processes for each request, rates, latency."""
import collections

import harness
import rig
from report import added, middle, number, ratio, ratio_of_added
from ways import NAMES, Ways

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages?beta=true"
AGENT_BODY = "80 KB, coding agent"

# A row of the table: which body, its path, connections, requests in a round, ways, and where the agent runs.
Cell = collections.namedtuple("Cell", "body target conns requests ways place", defaults=("agent",))

# Ways that are sent bodies with the model last; and with the model first: those that read the body.
LAST, FIRST = "abefgpdcl", "begcl"
FULL = [Cell("1 KB, model last", CHAT, 64, 5000, LAST + "o"), Cell("16 KB, model last", CHAT, 64, 2500, LAST),
        Cell(AGENT_BODY, MESSAGES, 64, 800, LAST), Cell("128 KB, model last", CHAT, 64, 600, LAST),
        Cell("900 KB, model last", CHAT, 64, 160, LAST), Cell("1 KB, model first", CHAT, 64, 4000, FIRST),
        Cell("16 KB, model first", CHAT, 64, 2000, FIRST), Cell("128 KB, model first", CHAT, 64, 500, FIRST),
        Cell("900 KB, model first", CHAT, 64, 130, FIRST),
        Cell("1 KB, model last", CHAT, 1, 1500, "aexdcl"), Cell("1 KB, model last", CHAT, 1, 1500, "aexdcl", "proxy")]
QUICK = [Cell("1 KB, model last", CHAT, 64, 1200, LAST + "o"), Cell("16 KB, model last", CHAT, 64, 600, "becl"),
         Cell(AGENT_BODY, MESSAGES, 64, 200, "becl"), Cell("128 KB, model last", CHAT, 64, 150, "becl"),
         Cell("900 KB, model last", CHAT, 64, 64, "becl"), Cell("1 KB, model last", CHAT, 1, 500, "aexdcl")]
ONCE = "gp"     # not HAProxy: measured beside the first version only
SMALL = FULL[0].body
EXCHANGE = 20   # microseconds that spoa-llm may take beside a bare exchange of SPOE


def requests_of(cell, way):
    return cell.requests // 4 if way == "p" else cell.requests


def measure(haproxy, cells, rounds, bodies, fresh):
    """Each round sends every cell's requests in every way. Returns (body, connections, place) -> way -> figures of each round."""
    results = {}
    with Ways(haproxy, "".join(sorted(set("".join(cell.ways for cell in cells))))) as it:
        for turn in range(rounds):
            if fresh and turn > 0:
                it.restart_proxies()
            for way in it.ports if fresh or turn == 0 else ():      # the first requests of a process are slower than the rest
                it.load(way, CHAT, bodies[SMALL], 64, 200)
            for cell in cells:
                shift = turn % len(cell.ways)
                for way in cell.ways[shift:] + cell.ways[:shift]:
                    it.place_agent(way, cell.place)
                    got = it.load(way, cell.target, bodies[cell.body], cell.conns, requests_of(cell, way))
                    results.setdefault((cell.body, cell.conns, cell.place), {}).setdefault(way, []).append(got)
                    it.place_agent(way, "agent")
    for of in results.values():
        assert all(one["agent_cpu"] > 0 for one in of.get("x", ())), "HAProxy did not ask the agent of the bare exchange"
    return results


def tables(report, version, results):
    """Makes the tables of one version: CPU, rates, the agent's part of the CPU, and latency."""
    busy = {body: of for (body, conns, _), of in results.items() if conns > 1}
    letters = [way for way in NAMES if any(way in of for of in busy.values())]

    def of_all(key):
        return [[body] + [number(middle(of, way, key)) if way in of else "" for way in letters] for body, of in busy.items()]
    head = ["64 connections"] + [NAMES[way] for way in letters]
    report.table("cpu", "HAProxy %s: CPU of all processes of the gateway, microseconds a request" % version, head, of_all("cpu"))
    report.table("rates", "HAProxy %s: requests/s" % version, head, of_all("rps"))
    report.table("split", "HAProxy %s: microseconds of HAProxy + of the agent" % version, ["64 connections"] + [NAMES[way] for way in "dcl"], [
        [body] + [number(middle(of, way, "proxy_cpu")) + " + " + number(middle(of, way, "agent_cpu")) if way in of else "" for way in "dcl"]
        for body, of in busy.items()])
    beside_lua(report, version, busy)
    rows = []
    for (_, conns, place), of in results.items():
        for way in [way for way in NAMES if way in of] if conns == 1 else ():
            where = ("HAProxy's" if place == "proxy" else "its own") if way in "xdcl" else ""
            rows.append([NAMES[way], where] + [number(middle(of, way, key)) for key in ("p50", "p99")] + [number(added(of, way, "p50"))])
    report.table("latency", "HAProxy %s: microseconds from request to answer, 1 KB, one connection" % version,
                 ["", "core of the agent", "p50", "p99", "added to static"], rows)


def beside_lua(report, version, busy):
    """Makes the table of CPU beside the Lua script's. `busy`: body -> way -> figures of each round."""
    report.table("lua", "HAProxy %s: CPU of all processes beside HAProxy + Lua" % version, ["64 connections", "without the ledger", "with it"],
                 [[body] + ["%.2f" % ratio(of, way, "e", "cpu") for way in "cl"] for body, of in busy.items()])


def promises(report, version, sampled, results):
    """`sampled`: this HAProxy shows the agent head and tail of a body, and not all of it."""
    where = "HAProxy " + version

    def rate(what, of, over, under, bound):
        report.promise(where, what, ratio(of, over, under, "rps"), bound, aside=ratio(of, under, over, "cpu"))
    small, one = results[(SMALL, 64, "agent")], results[(SMALL, 1, "agent")]
    rate("1 KB: requests/s, spoa-llm / do-nothing agent", small, "c", "d", 0.97)
    # Both have the rules that only the ledger needs: what differs is the agent, and its ledger.
    rate("1 KB: requests/s, spoa-llm with ledger / do-nothing agent", small, "l", "o", 0.85)
    for size, bound in (("16 KB", 1.0), ("128 KB", 2.5), ("900 KB", 2.5)):
        rate("%s: requests/s, spoa-llm / json_query" % size, results[(size + ", model last", 64, "agent")], "c", "b", bound if sampled else 1.0)
    report.promise(where, "1 KB, one connection: p50 added to static, spoa-llm / do-nothing agent", ratio_of_added(one, "c", "d", "p50"), 1.1, least=False)
    for way in "cl":
        report.promise(where, "1 KB, one connection: us of p50 added to a bare exchange of SPOE, " + NAMES[way], added(one, way, "p50", "x"), EXCHANGE, least=False)
    report.promise(where, "1 KB: CPU of the agent, spoa-llm / do-nothing agent", ratio(small, "c", "d", "agent_cpu"), 1.3, least=False)


def short(report, versions, results, rounds):
    """The README's table: CPU a request, of the versions one after the other."""
    letters = "abegpcl"
    rows = []
    for (body, conns, place), of in results[0].items():
        if conns == 1 or body.endswith("model first"):
            continue
        row = [body.replace(", model last", "")]
        for way in letters:
            row.append(" / ".join(number(middle(one[(body, conns, place)], way, "cpu")) for one in results if way in one[(body, conns, place)]))
        rows.append(row)
    report.table("speed", "", ["request"] + [NAMES[way] for way in letters], rows)
    report.note("speed", "CPU of all processes of the gateway, microseconds a request, HAProxy %s. %s; medians of %d rounds; the model stands last in all bodies "
                "but the coding agent's." % (" / ".join(versions), rig.machine(), rounds))


def run(report, haproxies, quick, rounds, bodies):
    all_results, versions = [], []
    for haproxy in haproxies:
        version = harness.version_of(haproxy)
        name = "%d.%d" % version
        cells = [cell if haproxy == haproxies[0] else cell._replace(ways="".join(way for way in cell.ways if way not in ONCE))
                 for cell in (QUICK if quick else FULL)]
        results = measure(haproxy, cells, rounds, bodies, not quick)
        tables(report, name, results)
        promises(report, name, version >= (3, 0), results)
        all_results.append(results)
        versions.append(name)
    short(report, versions, all_results, rounds)
    return {version: plain(results) for version, results in zip(versions, all_results)}


def plain(results):
    """What measure() returned, for results.json."""
    return [{"body": body, "connections": conns, "agent_on_core": rig.PLACES[place], "rounds": of} for (body, conns, place), of in results.items()]
