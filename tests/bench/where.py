"""`make bench-where`: where the CPU time of a request goes, in HAProxy, in the kernel and in the agent, by `perf`.

    python3 tests/bench/where.py [--haproxy PATH ...] [--sizes 1,16,128,900] [--ways aecl] [--rounds 3] [--fill]

For each size of a body one table, with a column for each HAProxy and way: microseconds of CPU a request. The ways take turns, and each cell is the median of the rounds. In a
round `perf` takes samples of HAProxy and of the agent while the requests run; the CPU that both took is then divided by the samples. A sample is counted once, so the rows add up
to about the last one. Needs leave to trace (root, or kernel.perf_event_paranoid at most 1)."""
import argparse
import collections
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("rig", "blackbox", "bench")]
import harness  # noqa: E402
import reaches  # noqa: E402
import rig  # noqa: E402
import through  # noqa: E402
from bench import haproxies, unpacked, write_bodies  # noqa: E402
from report import Report, fill  # noqa: E402
from ways import NAMES, Ways  # noqa: E402

REQUESTS = {1: 8000, 16: 5000, 128: 1200, 900: 300}
HERTZ = 5000

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


def in_kernel(names):
    return next((row for row, of in KERNEL if any(name.startswith(one) for name in names for one in of)), "kernel: all else")


def samples(file, proxy, copies):
    """How many samples each row has."""
    counted, loops = collections.Counter(), collections.Counter()
    text = subprocess.run(["perf", "script", "-i", str(file), "-F", "pid,ip,sym,dso"], capture_output=True, text=True, check=True).stdout
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().splitlines()
        if not lines or not lines[0].strip().isdigit():
            continue
        frames = [found.groups() for found in (re.match(r"\s*([0-9a-f]+) (.*) \((.*)\)$", line) for line in lines[1:]) if found]
        if not frames:
            continue
        inside = int(frames[0][0], 16) >> 63
        if int(lines[0]) != proxy:
            counted["the agent: kernel" if inside else "the agent: user"] += 1
        elif inside:
            counted[in_kernel([name for address, name, _ in frames if int(address, 16) >> 63])] += 1
        else:
            row = in_user(int(frames[0][0], 16), frames[0][2].rpartition("/")[2], copies)
            counted[row] += 1
            if row == ROWS[1]:
                loops[int(frames[0][0], 16) // LOOP] += 1
    hottest = max((loops[at] + loops[at + 1] for at in loops), default=0)
    counted.update({ROWS[0]: hottest, ROWS[1]: -hottest})
    return counted


def turn(it, way, body, requests, file):
    """Microseconds a request of each row."""
    pids = rig.family(it.proxies[way].pid) + (rig.family(it.agents[way].pid) if way in it.agents else [])
    proxy = next(pid for pid in pids if "haproxy" in pathlib.Path("/proc/%d/comm" % pid).read_text())
    copies = copies_at(proxy)
    perf = subprocess.Popen(["perf", "record", "-q", "-g", "-F", str(HERTZ), "-p", ",".join(map(str, pids)), "-o", str(file)], stderr=subprocess.PIPE)
    harness.until(lambda: perf.poll() is not None or (file.exists() and file.stat().st_size > 0), 10, "perf takes samples")
    assert perf.poll() is None, perf.stderr.read().decode()
    got = it.load(way, through.CHAT, body, 64, requests)
    perf.send_signal(signal.SIGINT)
    perf.wait()
    counted = samples(file, proxy, copies)
    of_agent = sum(counted[row] for row in ("the agent: user", "the agent: kernel"))
    of_proxy = sum(counted.values()) - of_agent
    found = {row: (got["agent_cpu"] / of_agent if row.startswith("the agent") else got["proxy_cpu"] / of_proxy) * number for row, number in counted.items()}
    return dict(found, **{"HAProxy, in all": got["proxy_cpu"], "all": got["cpu"]})


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
                    found[size, way].append(turn(it, way, body, REQUESTS[size], folder / "perf.data"))
                    (folder / "perf.data").unlink()
    return {key: {row: statistics.median(of.get(row, 0) for of in turns) for row in ROWS} for key, turns in found.items()}


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--haproxy", action="append", help="instead of the machine's own, and Debian sid's and experimental's; may be repeated")
    parser.add_argument("--sizes", default="1,16,128,900", help="KB of the bodies")
    parser.add_argument("--ways", default="aecl", help="letters of tests/bench/ways.py")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fill", action="store_true", help="write the tables into docs/speed-where.md")
    args = parser.parse_args()
    given, sizes = args.haproxy or haproxies(None) + unpacked("experimental"), [int(size) for size in args.sizes.split(",")]
    found = {}
    with tempfile.TemporaryDirectory(prefix="llm-where-", dir="/tmp") as folder:
        for haproxy in given:
            for key, rows in measure(haproxy, sizes, args.ways, args.rounds, pathlib.Path(folder)).items():
                found[("%d.%d" % harness.version_of(haproxy), *key)] = rows
    said, versions = Report(), ["%d.%d" % harness.version_of(haproxy) for haproxy in given]
    for size in sizes:
        columns = [(version, way) for version in versions for way in args.ways]
        head = ["microseconds a request of %d KB" % size] + ["%s: %s" % (version, NAMES[way]) for version, way in columns]
        lines = [[row] + [found[version, size, way][row] for version, way in columns] for row in ROWS]
        said.table("where", "", head, [[row] + ["" if value < 0.05 else "%.1f" % value if value < 10 else "{:,.0f}".format(value) for value in values]
                                       for row, *values in lines if any(value >= 0.05 for value in values)])
    if set("ael") <= set(args.ways):
        said.table("left", "", ["microseconds a request", "the reach", NAMES["l"], NAMES["a"], "log datagrams", "kernel, all else of HAProxy", "the agent", "left to HAProxy's own code", "which takes"],
                   [["%d KB, %s" % (size, version), *("{:,.0f}".format(value) for value in left(found, version, size))] for size in sizes for version in versions])
    said.note("where", "%s; %s. Medians of %d rounds." % (time.strftime("%Y-%m-%d"), rig.machine(), args.rounds))
    if args.fill:
        fill(said.markdown())


sys.exit(main())
