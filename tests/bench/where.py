"""`make bench-where`: where the CPU time of a request goes, in HAProxy, in the kernel and in the agent, by `perf`.

    python3 tests/bench/where.py [--haproxy PATH ...] [--parts sizes,one,agent] [--sizes 1,16,128,900] [--ways aecl] [--rounds 3] [--fill]

Microseconds by the function that is under way, as a table for each size of a body (64 connections), for one request at a time, and for the agent without HAProxy. The ways take
turns, and each cell is the median of the rounds. In a round `perf` takes samples while the requests run; the CPU time is then divided by the samples. A sample is counted once, so
the rows add up to about all. Needs leave to trace (root, or kernel.perf_event_paranoid at most 1)."""
import argparse
import collections
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import alone  # noqa: E402
import harness  # noqa: E402
import perf  # noqa: E402
import reaches  # noqa: E402
import rig  # noqa: E402
import through  # noqa: E402
from bench import haproxies, unpacked, write_bodies  # noqa: E402
from report import Report, fill  # noqa: E402
from ways import NAMES, Ways  # noqa: E402

REQUESTS = {1: 8000, 16: 5000, 128: 1200, 900: 300}
ONE, ONE_REQUESTS = "axcl", 2000       # one request at a time
AGENT_SIZES, AGENT_SECONDS = (1, 16), 2   # the agent without HAProxy

# The kernel's part of HAProxy, by a function that is under way: the first row that has one of them.
KERNEL = [
    ("kernel: page faults", ("asm_exc_page_fault", "exc_page_fault")),
    ("kernel: datagrams of log lines", ("unix_dgram_sendmsg",)),
    ("kernel: sends to the agent", ("unix_stream_sendmsg",)),
    ("kernel: receives from the agent", ("unix_stream_recvmsg", "unix_stream_read_generic")),
    ("kernel: TCP sends, and what they wake", ("tcp_sendmsg", "tcp_write_xmit", "__tcp_push_pending_frames", "do_softirq")),
    ("kernel: TCP receives", ("tcp_recvmsg", "inet_recvmsg")),
    ("kernel: `epoll_wait`, `epoll_ctl`", ("do_epoll_wait", "ep_poll", "do_epoll_ctl")),
]
ROWS = ["HAProxy: its hottest loop", "HAProxy: all else of its own", "Lua, with cjson", "copies (`memcpy`)", "regular expressions", "the C library, all else",
        *[row for row, _ in KERNEL], "kernel: all else", "HAProxy, in all", "the agent: user", "the agent: kernel", "all"]
COPIES = 0x900      # bytes of code that one memcpy(3) has
LOOP = 0x80         # bytes of code that count as one loop: of a long body, that is the search for a NUL (`c_bin2str()`), for which HAProxy's binary has no name


def copies_at(pid):
    """Where the process' memcpy(3) and memmove(3) begin in the C library: its release has no names, and which of several it takes depends on the processor. perf tells where in its
    file a function without a name is."""
    image = pathlib.Path("/proc/%d/exe" % pid).resolve()
    listed = subprocess.run(["readelf", "-rW", str(image)], capture_output=True, text=True, check=True).stdout
    maps, found = pathlib.Path("/proc/%d/maps" % pid).read_text(), set()

    def begin(name):
        return min(int(line.partition("-")[0], 16) for line in maps.splitlines() if line.rpartition("/")[2].startswith(name))
    with open("/proc/%d/mem" % pid, "rb", 0) as memory:
        for offset in re.findall(r"^([0-9a-f]+) .* (?:memcpy|memmove)@", listed, re.M):
            memory.seek(begin(image.name) + int(offset, 16))
            found.add(int.from_bytes(memory.read(8), "little") - begin("libc.so"))
    assert found, "no memcpy in %s" % image
    return found


def in_user(address, image, copies):
    if "libc" in image and any(begin <= address < begin + COPIES for begin in copies):
        return "copies (`memcpy`)"
    if "haproxy" in image:
        return ROWS[1]
    if "lua" in image or "cjson" in image:
        return "Lua, with cjson"
    if "libc" in image or "malloc" in image or "ld-linux" in image or "vdso" in image:
        return "the C library, all else"
    return "regular expressions"        # PCRE, and what it compiled, which is in no file


def proxy_rows(file, proxy, copies):
    """How many samples each row has."""
    counted, loops = collections.Counter(), collections.Counter()
    for pid, frames in perf.samples(file):
        address, _, image = frames[0]
        if pid != proxy:
            counted["the agent: kernel" if perf.in_kernel(address) else "the agent: user"] += 1
        elif perf.in_kernel(address):
            counted[perf.row_of(frames, KERNEL) or "kernel: all else"] += 1
        else:
            row = in_user(address, image, copies)
            counted[row] += 1
            if row == ROWS[1]:
                loops[address // LOOP] += 1
    hottest = max((loops[at] + loops[at + 1] for at in loops), default=0)
    counted.update({ROWS[0]: hottest, ROWS[1]: -hottest})
    return counted


def processes(it, way):
    """HAProxy's process, and all of the gateway's."""
    pids = rig.family(it.proxies[way].pid) + (rig.family(it.agents[way].pid) if way in it.agents else [])
    return next(pid for pid in pids if "haproxy" in pathlib.Path("/proc/%d/comm" % pid).read_text()), pids


def turn(it, way, body, conns, requests, file):
    """Microseconds a request of each row."""
    proxy, pids = processes(it, way)
    copies = copies_at(proxy)
    with perf.record(pids, file):
        got = it.load(way, through.CHAT, body, conns, requests)
    counted = proxy_rows(file, proxy, copies)
    file.unlink()
    of_agent = sum(counted[row] for row in ("the agent: user", "the agent: kernel"))
    of_proxy = sum(counted.values()) - of_agent
    found = {row: (got["agent_cpu"] / of_agent if row.startswith("the agent") else got["proxy_cpu"] / of_proxy) * number for row, number in counted.items()}
    return dict(found, **{"HAProxy, in all": got["proxy_cpu"], "all": got["cpu"]})


def medians(found, rows):
    return {key: {row: statistics.median(of.get(row, 0) for of in turns) for row in rows} for key, turns in found.items()}


def measure(haproxy, sizes, letters, rounds, folder):
    """(size, way) -> its rows, each the median of the rounds."""
    bodies, found = write_bodies(folder), collections.defaultdict(list)
    with Ways(haproxy, letters) as it:
        for at in range(rounds):
            if at > 0:
                it.restart_proxies()
            for size in sizes:
                body = bodies["%d KB, model last" % size]
                for way in letters[at % len(letters):] + letters[:at % len(letters)]:
                    it.load(way, through.CHAT, body, 64, REQUESTS[size] // 4)
                    found[size, way].append(turn(it, way, body, 64, REQUESTS[size], folder / "perf.data"))
    return medians(found, ROWS)


# ---- one request at a time

MORE = ["waits for a core, of both", "times that HAProxy begins to run", "times that the agent begins to run", "request to answer, p50", "added to static", "added to bare SPOE"]


def scheduled(pids):
    """Nanoseconds for which the processes could have run and did not, and how often they have run."""
    tasks = [task for pid in pids for task in pathlib.Path("/proc/%d/task" % pid).iterdir()]
    return [sum(of) for of in zip(*((int(number) for number in (task / "schedstat").read_text().split()[1:]) for task in tasks))]


def measure_one(haproxy, rounds, folder):
    """Way -> the rows of ROWS and MORE. Those of MORE come from requests without `perf`."""
    body, found = write_bodies(folder)[through.SMALL], collections.defaultdict(list)
    with Ways(haproxy, ONE) as it:
        for at in range(rounds):
            if at > 0:
                it.restart_proxies()
            this = {}
            for way in ONE[at % len(ONE):] + ONE[:at % len(ONE)]:
                it.load(way, through.CHAT, body, 64, 500)
                proxy, pids = processes(it, way)
                others = [pid for pid in pids if pid != proxy]
                before = [scheduled([proxy]), scheduled(others) or [0, 0]]
                got = it.load(way, through.CHAT, body, 1, ONE_REQUESTS)
                waits, runs = zip(*((now[0] - then[0], now[1] - then[1]) for now, then in zip([scheduled([proxy]), scheduled(others) or [0, 0]], before)))
                this[way] = dict(zip(MORE, [sum(waits) / 1000 / ONE_REQUESTS, *(count / ONE_REQUESTS for count in runs), got["p50"]]))
                this[way].update(turn(it, way, body, 1, ONE_REQUESTS, folder / "perf.data"))
            for way, rows in this.items():
                rows.update((row, rows[MORE[3]] - this[base][MORE[3]]) for row, base in zip(MORE[4:], "ax") if way not in "a" + base)
                found[way].append(rows)
    return medians(found, ROWS + MORE)


# ---- the agent without HAProxy

AGENT_KERNEL = [
    ("kernel: `recv`, the copy", ("_copy_to_iter", "simple_copy_to_iter", "skb_copy_datagram_iter")),
    ("kernel: `recv`, all else", ("__x64_sys_recv", "__sys_recv")),
    ("kernel: `send`, the wake-up of the reader", ("sock_def_readable",)),
    ("kernel: `send`, all else", ("__x64_sys_send", "__sys_send")),
    ("kernel: `epoll_wait`", ("__x64_sys_epoll", "do_epoll")),
]
AGENT_ALL = "all"
NAMED = 0.02        # of the agent's time, at the least, for a function to have a row of its own


def agent_row(frames):
    address, name, image = frames[0]
    if perf.in_kernel(address):
        return perf.row_of(frames, AGENT_KERNEL) or "kernel: all else"
    if "libc" in image:
        return "the C library"
    return "`%s`" % re.sub(r"\.(?:constprop|part|isra|lto_priv|cold)\b.*", "", name) if name != "[unknown]" else "without a name"


def measure_agent(rounds, folder):
    """(size, way) -> the rows, of the do-nothing agent and of spoa-llm: microseconds a decision."""
    bodies, found = write_bodies(folder), collections.defaultdict(list)
    with Ways(None, "") as it:
        it.start_agent("c")
        it.start_null()
        of_agent, of_load = alone.cores_for(1)
        pids = {way: rig.family(it.agents[way].pid)[-1] for way in "dc"}
        for pid in pids.values():
            rig.pin(pid, of_agent[0])
        for at in range(rounds):
            for size in AGENT_SIZES:
                for way in ("cd", "dc")[at % 2]:
                    def load(seconds):
                        return alone.spop_load(it.sockets[way], it.backend(), bodies["%d KB, model last" % size], pids[way], of_load, conns=8, inflight=20, seconds=seconds, threads=1)
                    file = folder / "perf.data"
                    load(0.5)
                    with perf.record([pids[way]], file):
                        got = load(AGENT_SECONDS)
                    counted = collections.Counter(agent_row(frames) for _, frames in perf.samples(file))
                    file.unlink()
                    rows = {row: got["cpu_us"] * number / sum(counted.values()) for row, number in counted.items()}
                    found[size, way].append(dict(rows, **{AGENT_ALL: got["cpu_us"]}))
    return medians(found, {row for turns in found.values() for rows in turns for row in rows})


def agent_lines(found):
    """The lines of the table. A function of the agent has one if it takes NAMED of all for some size; the others are one line."""
    columns = [(size, way) for size in AGENT_SIZES for way in "dc"]
    kernel = [row for row, _ in AGENT_KERNEL] + ["kernel: all else"]
    mine = [row for row in found[columns[-1]] if row not in kernel and row != AGENT_ALL]
    named = [row for row in mine if any(found[size, "c"][row] >= NAMED * found[size, "c"][AGENT_ALL] for size in AGENT_SIZES)]
    named.sort(key=lambda row: -found[AGENT_SIZES[0], "c"][row])
    rest = [row for row in mine if row not in named]
    lines = [[row] + [found[at][row] for at in columns] for row in kernel + named]
    lines += [["%d other functions" % len(rest)] + [sum(found[at][row] for row in rest) for at in columns], [AGENT_ALL] + [found[at][AGENT_ALL] for at in columns]]
    return ["microseconds a decision"] + ["%d KB: %s" % (size, NAMES[way]) for size, way in columns], [[row] + ["%.2f" % value if value >= 0.005 else "" for value in values] for row, *values in lines]


def left(found, version, size):
    """What a reach would leave to HAProxy's own code: microseconds a request of the script times the reach, of spoa-llm with the ledger, of static routing, and what spoa-llm takes
    more than static routing: log datagrams, the rest of HAProxy's kernel part, the agent. Then what that leaves of the reach, and what HAProxy's own code takes of it."""
    static, lua, ledger = (found[version, size, way] for way in "ael")
    reach = reaches.REACHES["%d KB, model last" % size, "l"][version != "2.6"] * lua["all"]
    more = {row: ledger[row] - static[row] for row in ROWS}
    datagrams, agent = more["kernel: datagrams of log lines"], more["the agent: user"] + more["the agent: kernel"]
    kernel = sum(value for row, value in more.items() if row.startswith("kernel")) - datagrams
    own = more["HAProxy, in all"] - datagrams - kernel
    return [reach, ledger["all"], static["all"], datagrams, kernel, agent, reach - static["all"] - datagrams - kernel - agent, own]


def micros(value):
    return "" if abs(value) < 0.05 else "%.1f" % value if abs(value) < 10 else "{:,.0f}".format(value)


def say_sizes(said, found, versions, sizes, ways):
    columns = [(version, way) for version in versions for way in ways]
    for size in sizes:
        head = ["microseconds a request of %d KB" % size] + ["%s: %s" % (version, NAMES[way]) for version, way in columns]
        lines = [[row] + [found[version, size, way][row] for version, way in columns] for row in ROWS]
        said.table("where", "", head, [[row] + [micros(value) for value in values] for row, *values in lines if any(value >= 0.05 for value in values)])
    if set("ael") <= set(ways):
        said.table("left", "", ["microseconds a request", "the reach", NAMES["l"], NAMES["a"], "log datagrams", "kernel, all else of HAProxy", "the agent", "left to HAProxy's own code", "which takes"],
                   [["%d KB, %s" % (size, version), *("{:,.0f}".format(value) for value in left(found, version, size))] for size in sizes for version in versions])


def say_one(said, found, versions):
    columns = [(version, way) for version in versions for way in ONE]
    said.table("one", "", ["microseconds a request of 1 KB"] + ["%s: %s" % (version, NAMES[way]) for version, way in columns],
               [[row] + [micros(found[version][way][row]) for version, way in columns] for row in ROWS + MORE if any(found[version][way][row] for version, way in columns)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own, and Debian sid's and experimental's; may be repeated")
    parser.add_argument("--parts", default="sizes,one,agent", help="which tables")
    parser.add_argument("--sizes", default="1,16,128,900", help="KB of the bodies, for `sizes`")
    parser.add_argument("--ways", default="aecl", help="letters of tests/bench/ways.py, for `sizes`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fill", action="store_true", help="write the tables into docs/speed-where.md")
    args = parser.parse_args()
    given, sizes, parts = args.haproxy or haproxies(None) + unpacked("experimental"), [int(size) for size in args.sizes.split(",")], args.parts.split(",")
    if not set(parts) <= {"sizes", "one", "agent"}:
        parser.error("--parts: of sizes, one and agent, separated by commas")
    said, versions = Report(), ["%d.%d" % harness.version_of(haproxy) for haproxy in given]
    by_size, one = {}, {}
    with tempfile.TemporaryDirectory(prefix="llm-where-", dir="/tmp") as name:
        folder = pathlib.Path(name)
        for haproxy, version in zip(given, versions):
            if "sizes" in parts:
                by_size.update(((version, *key), rows) for key, rows in measure(haproxy, sizes, args.ways, args.rounds, folder).items())
            if "one" in parts:
                one[version] = measure_one(haproxy, args.rounds, folder)
        if by_size:
            say_sizes(said, by_size, versions, sizes, args.ways)
        if one:
            say_one(said, one, versions)
        if "agent" in parts:
            said.table("agent", "", *agent_lines(measure_agent(args.rounds, folder)))
    for block in sorted(set(said.blocks) - {"left"}):
        said.note(block, "%s; %s. Medians of %d rounds." % (time.strftime("%Y-%m-%d"), rig.machine(), args.rounds))
    if args.fill:
        fill(said.markdown())


sys.exit(main())
