"""Memory of HAProxy, the agent and the tap for each connection that is idle and for each open stream, beside that of an earlier commit.

    python3 tests/bench/memory.py HAPROXY TREE      the figures of one tree's agent and files, as JSON

Each tree is measured by a process of its own, because agent and files of HAProxy belong together."""
import json
import os
import pathlib
import resource
import shlex
import shutil
import socket
import subprocess
import sys
from statistics import median

import rig
import harness
import spop
from chat import chat
from report import number
from through import CHAT
from ways import Ways

WARM, OPEN, ROUNDS = 200, 1000, 3
# What is open -> the gateway's way, the events of the upstream's stream and milliseconds between two (None: it answers with JSON), and whose memory is told.
KINDS = {"connection of a client, idle after a request": ("c", None, "HAProxy"), "stream": ("c", [10, 20000], "HAProxy"),
         "stream through the tap": ("t", [10, 20000], "HAProxy and tap"), "connection of HAProxy to the agent, idle": ("", None, "agent")}
# By how much two measurements of the same differ, because a process gets memory in steps: 60 bytes of the 900 of an idle connection.
SAME = 1.1


def begin(port, request, first):
    """Opens a connection, sends the request, and waits for the beginning of the answer."""
    client, data = socket.create_connection(("127.0.0.1", port), 30), b""
    client.sendall(request)
    while first not in data:
        more = client.recv(1 << 16)
        data += more
        assert more and data.startswith(b"HTTP/1.1 200"), data
    return client


def grown(processes, opened):
    """KB of each process for each of OPEN things that opened() opens, one after the other, so that no buffers of many are in the figure."""
    held = [opened() for _ in range(WARM)]
    before = [rig.resident(pid) for pid in processes]
    held += [opened() for _ in range(OPEN)]
    after = [rig.resident(pid) for pid in processes]
    for one in held:
        one.close()
    return [(new - old) / OPEN for old, new in zip(before, after)]


def measure(haproxy):
    """Returns what is open -> KB of each process."""
    body = chat(1024)
    request = ("POST %s HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nauthorization: Bearer sk-bench\r\ncontent-length: %d\r\n\r\n" % (CHAT, len(body))).encode() + body
    results = {}
    for kind, (way, upstream, _) in KINDS.items():
        with Ways(haproxy, way, upstream=upstream) as it:
            if way:
                processes = [of[way].pid for of in (it.proxies, it.taps) if way in of]
                results[kind] = grown(processes, lambda: begin(it.ports[way], request, b"data: " if upstream else b"total_tokens"))
            else:
                it.start_agent("c")
                results[kind] = grown([rig.family(it.agents["c"].pid)[-1]], lambda: spop.Client("unix@" + it.sockets["c"]))
    return results


def build(commit):
    """Builds the commit's agent. Returns its tree."""
    root, full = harness.ROOT, subprocess.run(["git", "-C", str(harness.ROOT), "rev-parse", "--short=12", commit + "^{commit}"], capture_output=True, text=True, check=True).stdout.strip()
    tree = rig.TOOLS / ("before-" + full)
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "SPOA_LLM")}
    if not (tree / "build" / "spoa-llm").exists():
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        subprocess.run("git -C %s archive %s | tar -x -C %s" % (shlex.quote(str(root)), full, shlex.quote(str(tree))), shell=True, check=True)
        subprocess.run(["make", "-s", "-j%d" % len(rig.CORES), "build/spoa-llm"], cwd=tree, env=env, check=True)
    return tree


def of_tree(haproxy, tree):
    run = subprocess.run([sys.executable, __file__, haproxy, str(tree)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    return json.loads(run.stdout)


def run(report, haproxies, quick, before):
    """`before`: the earlier commit, or None."""
    trees = {"": harness.ROOT, **({", " + before: build(before)} if before else {})}
    results = {}
    for haproxy in haproxies[-1:] if quick else haproxies:
        rounds = [{name: of_tree(haproxy, tree) for name, tree in trees.items()} for _ in range(1 if quick else ROUNDS)]
        results["%d.%d" % harness.version_of(haproxy)] = {name: {kind: [median(one) for one in zip(*(of[name][kind] for of in rounds))] for kind in KINDS} for name in trees}
    report.table("memory", "", ["KB of memory for each of %d, one after the other; medians of %d" % (OPEN, 1 if quick else ROUNDS), "of"] + [version + name for version in results for name in trees],
                 [[kind, whose] + [" + ".join(map(number, results[version][name][kind])) for version in results for name in trees] for kind, (_, _, whose) in KINDS.items()])
    for version, of in results.items() if before else ():
        for kind in KINDS:
            now, then = (sum(of[name][kind]) for name in trees)
            report.promise("HAProxy " + version, "memory for each %s / that of %s" % (kind, before), now / then, SAME, least=False)
    return results


def main():
    haproxy, tree = sys.argv[1], pathlib.Path(sys.argv[2])
    harness.ROOT, harness.EXAMPLE, harness.SPOE_CONF = tree, tree / "haproxy.cfg.example", tree / "spoe.conf"
    if tree != rig.HERE.parent.parent:
        harness.AGENT = str(tree / "build" / "spoa-llm")
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    print(json.dumps(measure(haproxy)))


if __name__ == "__main__":
    main()
