"""What spoa-llm is to come down to beside HAProxy + Lua. A ratio of two of the many ways of through.py differs from run to run by up to 0.3, because where
a process' memory lies makes it faster or slower for all of its life. So these three ways have twice as many rounds, each with processes of its own."""
import harness
import through
from report import spread

ROUNDS = 2      # times those of the other parts
# CPU of all processes beside HAProxy + Lua, on 2.6, and on 3.0 and later. "c": without the ledger, "l": with it.
REACHES = {(through.SMALL, "c"): (0.95, 1.2), (through.SMALL, "l"): (1.25, 1.5), ("16 KB, model last", "l"): (0.85, 0.9),
           ("128 KB, model last", "l"): (0.45, 0.4), ("900 KB, model last", "l"): (0.42, 0.25)}
CELLS = [cell._replace(ways="ecl") for cell in through.FULL if any(body == cell.body for body, _ in REACHES) and cell.conns > 1]


def run(report, haproxies, rounds, bodies):
    results, rows = {}, []
    for haproxy in haproxies:
        version = "%d.%d" % harness.version_of(haproxy)
        measured = through.measure(haproxy, CELLS, ROUNDS * rounds, bodies, True)
        results[version] = through.plain(measured)
        for (body, _, _), of in measured.items():
            row = [body.split(",")[0] + ", HAProxy " + version]
            for way in "cl":
                reach = REACHES.get((body, way))
                got, text = spread(of, way, "e", "cpu")
                bound = reach and reach[version != "2.6"]
                row += [text, "" if not reach else "%g%s" % (bound, "" if got <= bound else ", not reached")]
            rows.append(row)
    report.table("reach", "CPU of all processes beside HAProxy + Lua, 64 connections, the model last; medians of %d rounds" % (ROUNDS * rounds),
                 ["", "without the ledger", "reach", "with it", "reach"], rows)
    return results
