"""The tap alone: its reports and its life, and all of it at once. The test plays HAProxy and the legs (tests/rig/taps.py)."""
import asyncio
import contextlib
import os
import pathlib
import random
import re
import select
import signal
import socket
import subprocess
import threading

import pytest

import harness
import processes
from harness import cli
from processes import until
from taps import CRLF, FRAMINGS, Leg, Pipe, Tap, answer, head, sized

SEED = os.environ.get("TAP_SEED", str(os.getpid()))
STORM = int(os.environ.get("TAP_STORM", "1"))   # thousands of streams


# ---- reports


def test_reports_wait_for_the_agent(work):
    """While the agent is away they wait in the tap, and then arrive, each once."""
    with Tap(work, report=False) as tap:
        leg = Leg(tap)
        for n in range(50):
            client, upstream = tap.exchange(leg, head(id="waits-%d" % n))
            with client, upstream:
                upstream.send(sized(b"x"))
                client.expect(sized(b"x"))
        tap.listen()
        assert [tap.report("waits-%d" % n)["end"] for n in range(50)] == ["whole"] * 50
        tap.agent.close()
        client, upstream = tap.exchange(leg, head(id="after"))
        with client, upstream:
            upstream.send(sized(b"x"))
            client.expect(sized(b"x"))
        tap.listen()
        assert tap.report("after")["end"] == "whole"
        status = tap.status(lambda one: one["reports"] == 51)
        assert (status["streams"], status["streams_total"], status["reports_lost"], status["draining"]) == (0, 51, 0, False)
        assert status["pid"] == tap.process.pid and status["bytes"] > 51


# ---- life


def stream(tap, leg, id):
    """A stream that goes on: HAProxy's side, and the upstream's."""
    client, upstream = tap.exchange(leg, head(id=id))
    begin = answer("content-type: text/event-stream", "transfer-encoding: chunked") + b"5\r\nfirst\r\n"
    upstream.send(begin)
    client.expect(begin)
    return client, upstream


def goes_on(client, upstream):
    upstream.send(b"4\r\nmore\r\n")
    client.expect(b"4\r\nmore\r\n")


def finish(tap, client, upstream, id):
    upstream.send(b"4\r\nlast\r\n0\r\n\r\n")
    client.expect(b"4\r\nlast\r\n0\r\n\r\n")
    told = tap.report(id)
    assert told["end"] == "whole", told
    client.close()
    upstream.close()


def test_stopped_by_sigterm(work):
    """New connections are refused at once, streams go on to their end, and then the process ends."""
    with Tap(work) as tap:
        leg = Leg(tap)
        idle = tap.connect()
        one, two = stream(tap, leg, "term-1"), stream(tap, leg, "term-2")
        tap.process.kill(signal.SIGTERM)
        until(lambda: not tap.accepts(), 5, "the tap refuses")
        assert tap.status(lambda status: status["draining"])["streams"] == 2
        goes_on(*one)
        # HAProxy may go on with a connection that it had opened before: it uses one as soon as an answer has ended, and would lose the request.
        idle.send(head(id="idle-1"))
        with leg.accept() as upstream:
            for n in (1, 2, 3):
                upstream.expect(head(id="idle-%d" % n))
                upstream.send(sized(b"ok"))
                idle.expect(sized(b"ok"))
                if n < 3:
                    idle.send(head(id="idle-%d" % (n + 1)))
        assert idle.gone()
        finish(tap, *one, "term-1")
        assert tap.process.running()
        finish(tap, *two, "term-2")
        assert tap.process.wait() == 0


def test_a_second_sigterm_ends_at_once(work):
    with Tap(work) as tap:
        leg = Leg(tap)
        client, upstream = stream(tap, leg, "twice")
        tap.process.kill(signal.SIGTERM)
        until(lambda: not tap.accepts(), 5, "the tap refuses")
        tap.process.kill(signal.SIGTERM)
        assert tap.process.wait() == 0
        assert client.gone() and upstream.gone()
        assert tap.report("twice")["end"] == "lost"


def test_killed(work):
    """HAProxy sees it at once: nobody can connect."""
    with Tap(work) as tap:
        leg = Leg(tap)
        client, upstream = stream(tap, leg, "killed")
        tap.process.kill(signal.SIGKILL)
        assert client.gone() and upstream.gone()
        until(lambda: not tap.accepts(), 5, "the process is gone")


def test_nobody_is_lost_when_the_door_shuts(work):
    """Those who had connected when the tap began to drain are served."""
    with Tap(work) as tap:
        leg = Leg(tap)
        tap.process.stop()
        clients = [tap.connect() for _ in range(50)]
        for n, client in enumerate(clients):
            client.send(head(id="backlog-%d" % n))
        tap.process.popen.send_signal(signal.SIGTERM)
        tap.process.kill(signal.SIGCONT)
        for n, client in enumerate(clients):
            with leg.accept() as upstream:
                upstream.send(sized(b"ok"))
            tap.report("backlog-%d" % n)
        for client in clients:
            client.expect(sized(b"ok"))
            client.close()
        assert tap.process.wait() == 0


def test_full(work):
    """With as many connections as it may have the tap refuses more, loses none, and takes connections again when there is room."""
    with Tap(work, "--streams", "10") as tap:
        leg = Leg(tap)
        streams = [stream(tap, leg, "full-%d" % n) for n in range(10)]
        until(lambda: not tap.accepts(), 5, "the tap is full")
        tap.log("event=tap_full connections=10")
        assert tap.status(lambda status: status["full"] == 1)["streams"] == 10
        for n, one in enumerate(streams[:3]):
            finish(tap, *one, "full-%d" % n)
        until(tap.accepts, 5, "the tap has room again")
        late = stream(tap, leg, "full-late")
        for n, one in enumerate(streams[3:]):
            finish(tap, *one, "full-%d" % (n + 3))
        finish(tap, *late, "full-late")


def test_memory_is_capped(work):
    """Clients that do not read fill the memory up to its cap; then the tap refuses more."""
    with Tap(work, "--memory", "1048576") as tap:
        leg = Leg(tap)
        stuck = [stream(tap, leg, "memory-%d" % n) for n in range(40)]
        for _, upstream in stuck:
            upstream.sock.setblocking(False)

        def fill():
            for _, upstream in stuck:
                with contextlib.suppress(BlockingIOError):
                    upstream.sock.send(b"x" * 65536)
            return not tap.accepts()
        until(fill, 10, "the tap is full")
        status = tap.status(lambda one: one["full"])
        assert status["memory"] < 1048576 + 65536 * 2, status
        for client, upstream in stuck:
            client.close()
            upstream.close()
        until(tap.accepts, 5, "the tap has room again")


def test_few_files(work):
    """A tap that may open few files says so, and refuses more connections than it has files for. It loses none of those that come at once."""
    with Tap(work, before=("prlimit", "--nofile=164:164")) as tap:
        leg = Leg(tap)
        [possible] = tap.log(r"level=warn event=tap_few_files streams=20000 possible=(\d+)")
        assert 30 <= int(possible) < (164 - 64) / 2
        tap.process.stop()
        clients = []
        while len(clients) < 100:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            try:
                client.connect(tap.path)
            except BlockingIOError:     # HAProxy goes on without the tap then
                break
            clients.append(Pipe(client))
            clients[-1].send(head(id="few-%d" % len(clients)))
        tap.process.kill(signal.SIGCONT)
        served = [leg.accept() for _ in clients]
        for one in served:
            one.send(sized(b"ok"))
        for client in clients:
            client.expect(sized(b"ok"))
        # As many as it may have, one by one.
        for one in clients:
            one.close()
        until(tap.accepts, 5, "the tap has room again")
        streams = []
        with contextlib.suppress(ConnectionRefusedError):
            while len(streams) < 100:
                streams.append(stream(tap, leg, "full-%d" % len(streams)))
        assert int(possible) - 2 <= len(streams) <= int(possible)
        for n, one in enumerate(streams):
            finish(tap, *one, "full-%d" % n)
        assert "accept_paused" not in tap.text(), tap.process.tail()


def test_the_socket_is_made_again(work):
    """If somebody removes its file, or a dead process' socket is there, the tap listens again by itself."""
    with Tap(work) as tap:
        os.unlink(tap.path)
        until(tap.accepts, 5, "the tap made its socket again")
        with socket.socket(socket.AF_UNIX) as other:
            os.unlink(tap.path)
            other.bind(tap.path)
        until(tap.accepts, 5, "the tap made its socket again")
        tap.log("event=tap_socket_gone")


def test_another_user_cannot_have_it_drain(work):
    """Not even if the socket's permissions let him in."""
    with Tap(work) as tap:
        work.chmod(0o711)
        os.chmod(tap.control, 0o666)
        code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'drain\\n'); print(s.recv(9))"
        asked = subprocess.run(["/usr/bin/setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", code, tap.control], capture_output=True)
        assert asked.stdout in (b"", b"b''\n") and (asked.stdout or b"ConnectionResetError" in asked.stderr or b"BrokenPipe" in asked.stderr), asked
        assert tap.accepts() and "event=tap_draining" not in tap.text()


def drain(tap, **more):
    return harness.start("tap", "--drain", "--control", "unix@" + tap.control, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def flags_of(tap, *names, **others):
    """The tap's sockets, and others for `names`."""
    have = dict({"listen": "unix@" + tap.path, "control": "unix@" + tap.control}, **{name: "unix@%s/other-%s" % (tap.directory, name) for name in names})
    return ["tap", "--legs", tap.legs, "--report", "", *(word for name, value in have.items() for word in ("--" + name, value))]


def test_two_taps_with_one_socket(work):
    """A tap does not take a socket over from another one that runs: it says at which, and what to do. Nothing happens to the first."""
    with Tap(work) as first:
        leg = Leg(first)
        one = stream(first, leg, "kept")
        for others, path, option in (((), first.path, "--listen"), (("control",), first.path, "--listen"), (("listen",), first.control, "--control")):
            done = cli(*flags_of(first, *others))
            assert done.code == 71 and "another process answers at %s; give this tap a socket of its own by %s" % (path, option) in done.err, done
        finish(first, *one, "kept")
        assert first.accepts() and "tap_draining" not in first.text()
        # One that drains has left its place: the next one takes it, and the first goes on to its end.
        one = stream(first, leg, "drained")
        first.process.kill(signal.SIGTERM)
        until(lambda: not first.accepts(), 10, first.process.tail)
        with Tap(work, report=False) as second:
            until(second.accepts, 10, second.process.tail)
            finish(first, *one, "drained")
            assert first.process.wait() == 0
            # One that was killed too: its sockets are still there.
            second.process.kill(signal.SIGKILL)
            second.process.wait()
            assert os.path.exists(second.path) and os.path.exists(second.control)
            with Tap(work, report=False) as third:
                until(third.accepts, 10, third.process.tail)


def test_a_full_tap_and_another_one(work):
    """A tap that is full does not answer, so another one can have its place, and then it does not take that back."""
    with Tap(work, "--streams", "1") as full:
        one = stream(full, Leg(full), "only")
        until(lambda: not full.accepts(), 5, "the tap is full")
        with Tap(work, "--control", "unix@%s/second.sock" % work, report=False) as second:
            full.log("event=tap_draining why=.another process")
            finish(full, *one, "only")
            assert full.process.wait() == 0 and second.accepts()


def test_drain_by_command(work):
    """`spoa-llm tap --drain` ends when no stream is left."""
    with Tap(work) as tap:
        leg = Leg(tap)
        one = stream(tap, leg, "drained")
        command = drain(tap)
        until(lambda: not tap.accepts(), 5, "the tap refuses")
        tap.log("event=tap_draining .*streams=1")
        assert command.poll() is None
        finish(tap, *one, "drained")
        assert command.communicate(timeout=20) == (b"", b"") and command.returncode == 0
        assert tap.process.wait() == 0
    with drain(tap) as command:
        out, err = command.communicate(timeout=20)
    assert command.returncode == 69 and b"no tap answers" in err, (out, err)


def test_drain_tells_of_a_tap_that_was_killed(work):
    with Tap(work) as tap:
        leg = Leg(tap)
        one = stream(tap, leg, "drained")
        command = drain(tap)
        tap.log("event=tap_draining")
        until(lambda: tap.status(lambda one: one["draining"]), 5, "a line was written")
        tap.process.kill(signal.SIGKILL)
        out, err = command.communicate(timeout=20)
        assert command.returncode == 69 and b"before its streams had" in err, (out, err)
        assert one[0].gone()


def test_upgrade(work):
    """The successor takes new connections, the old process keeps its streams to their end. Nobody is refused meanwhile."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(work / "notify"))
    with Tap(work, env={"NOTIFY_SOCKET": str(work / "notify")}) as tap:
        leg = Leg(tap)
        assert notify.recv(1000) == b"MAINPID=%d\nREADY=1" % tap.process.pid
        old = stream(tap, leg, "old")
        stop, failed = threading.Event(), []

        def knock():
            while not stop.is_set():
                if not tap.accepts():
                    failed.append(1)
        knocker = threading.Thread(target=knock)
        knocker.start()
        pid = tap.upgrade()
        stop.set()
        knocker.join()
        assert not failed
        assert notify.recv(1000) == b"MAINPID=%d\nREADY=1" % pid
        # Of a main process that was another one's child, systemd waits for no end: it would kill the streams at a stop.
        assert int(pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[1]) != tap.process.pid
        new = stream(tap, leg, "new")
        goes_on(*old)
        goes_on(*new)
        finish(tap, *old, "old")
        assert tap.process.wait() == 0
        goes_on(*new)
        # --drain now reaches the successor.
        command = drain(tap)
        until(lambda: not tap.accepts(), 5, "the successor drains")
        finish(tap, *new, "new")
        command.communicate(timeout=20)
        assert command.returncode == 0
        until(lambda: processes.state_of(pid) in "ZX", 5, "the successor ends")
    notify.close()


def silent(manager):
    """Whether nothing comes for five times as long as between two signs of life."""
    return not select.select([manager], [], [], .5)[0] or not manager.recv(1000)


def test_signs_of_life(work):
    """systemd's watchdog is fed by a tap that works; not by one that stands still, nor by one that another process has replaced."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(work / "notify"))
        manager.settimeout(10 * processes.SLOW)

        def fed():
            """Waits for a sign of life from now on."""
            while select.select([manager], [], [], 0)[0]:
                manager.recv(1000)
            while b"WATCHDOG=1" not in manager.recv(1000).split(b"\n"):
                pass
        with Tap(work, env={"NOTIFY_SOCKET": str(work / "notify"), "WATCHDOG_USEC": "200000"}) as tap:
            old = stream(tap, Leg(tap), "old")
            fed()
            successor = tap.upgrade()
            fed()
            os.kill(successor, signal.SIGSTOP)
            until(lambda: silent(manager), 10, "nobody speaks for it, not the process that it has replaced either")
            goes_on(*old)
            os.kill(successor, signal.SIGCONT)
            fed()
            finish(tap, *old, "old")
            assert tap.process.wait() == 0


def test_an_upgrade_that_fails(work):
    """The tap goes on, also if the successor had taken the socket before it failed."""
    binary = work / "spoa-llm"
    binary.symlink_to(harness.AGENT)
    with Tap(work, binary=binary) as tap:
        leg = Leg(tap)
        one = stream(tap, leg, "goes-on")
        for script in ("exit 1", "rm -f %s; exit 1" % tap.path):
            binary.unlink()
            binary.write_text("#!/bin/sh\n%s\n" % script)
            binary.chmod(0o755)
            before = len(tap.text().splitlines())
            tap.process.kill(signal.SIGUSR2)
            until(lambda: "event=tap_upgrade_failed" in "\n".join(tap.text().splitlines()[before:]), 10, "the upgrade fails")
            until(tap.accepts, 5, "the tap answers")
        finish(tap, *one, "goes-on")


# ---- all at once


class Plan:
    """One exchange: what is sent, in which pieces, and who breaks it off where."""

    def __init__(self, id, random):
        framing = random.choice([name for name in FRAMINGS if name not in ("HEAD", "304", "large", "coded")])
        self.id, self.random = id, random
        self.answer, self.count, _, self.closes = FRAMINGS[framing]
        self.request = head(id=id, body=random.randbytes(random.choice((0, 10, 1000, 200000))))
        self.cut = random.choice(("",) * 6 + ("client", "upstream"))
        self.at = random.randrange(1, len(self.answer)) if self.cut else len(self.answer)
        self.kept = not self.cut and not self.closes
        # Only these know where an answer ends without its last byte.
        self.whole = not self.cut
        self.seen = None


async def play_leg(reader, writer, plans, refused):
    """The leg's side of one connection."""
    try:
        while True:
            told = await reader.readuntil(CRLF + CRLF)
            plan = plans[re.search(rb"x-request-id: (\S+)", told).group(1).decode()]
            body = await reader.readexactly(len(plan.request) - len(told))
            if told + body != plan.request:
                refused.append(plan.id)
            at, end = 0, plan.at if plan.cut == "upstream" else len(plan.answer)
            while at < end:
                step = min(end - at, plan.random.choice((1, 7, 300, 100000)))
                writer.write(plan.answer[at:at + step])
                await writer.drain()
                at += step
                if plan.random.random() < 0.3:
                    await asyncio.sleep(0)
            if not plan.kept:
                break
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def play_haproxy(tap, plans):
    """One client's requests, over a connection that is kept where that is possible. While the tap drains it closes a kept connection with an
    answer; if the next request is sent just then it is sent again, as by any client."""
    reader = writer = None
    for plan in plans:
        while plan.seen is None:
            kept = writer is not None
            if not kept:
                reader, writer = await asyncio.open_unix_connection(tap.path)
            try:
                writer.write(plan.request)
                seen = await reader.readexactly(plan.at)
                if not plan.kept and plan.cut != "client":
                    seen += await reader.read()
            except (OSError, asyncio.IncompleteReadError) as why:
                seen = getattr(why, "partial", b"")
            if seen or not kept:
                plan.seen = seen
            if not plan.kept or plan.seen != plan.answer:
                writer.close()
                writer = None
    if writer:
        writer.close()


def test_a_storm(work):
    """Streams of each framing in pieces of all sizes, cut by either side, over kept connections, while taps are upgraded: each byte arrives, and
    each request has one report, which is right."""
    plans = {"storm-%d" % n: Plan("storm-%d" % n, random.Random("%s %d" % (SEED, n))) for n in range(1000 * STORM)}
    refused = []

    async def storm(tap):
        server = await asyncio.start_unix_server(lambda *sides: play_leg(*sides, plans, refused), str(tap.legs / "leg.one.sock"), backlog=1000)
        every = list(plans.values())
        playing = [asyncio.ensure_future(play_haproxy(tap, every[n::50])) for n in range(50)]
        done = asyncio.gather(*playing)
        while not done.done():
            await asyncio.get_running_loop().run_in_executor(None, tap.upgrade)
            tap.read_reports()
            await asyncio.wait([done], timeout=0.02)
        await done
        server.close()

    with Tap(work) as tap:
        with tap.reading():
            asyncio.run(asyncio.wait_for(storm(tap), 100 * STORM * processes.SLOW))
        assert not refused
        until(lambda: len(tap.read_reports()) >= len(plans), 10, lambda: "%d reports" % len(tap.reports))
        told = {one["id"]: one for one in tap.reports}
        assert len(told) == len(tap.reports) == len(plans), "seed %s" % SEED
        for plan in plans.values():
            one = told[plan.id]
            assert plan.seen == plan.answer[:plan.at], (SEED, plan.id, plan.seen, one)
            if not plan.cut:
                assert (one["end"], one["bytes"]) == ("whole", plan.count), (SEED, plan.id, one)
            elif plan.cut == "upstream":
                # Where the end of the connection ends the answer, a cut in its body cannot be told from that.
                assert one["end"] == "upstream" or (plan.closes and one["end"] in ("whole", "lost")), (SEED, plan.id, one)
            else:
                assert one["end"] in ("client", "whole"), (SEED, plan.id, one)
        assert tap.successors


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_process_of_its_user_cannot_look_into_it(work):
    """There are prompts in its memory."""
    user, inside = 65534, work / "inside"
    work.chmod(0o711)
    inside.mkdir()
    os.chown(inside, user, user)
    with open(work / "log", "wb") as log:
        tap = harness.start("tap", "--listen", "unix@%s/tap.sock" % inside, "--control", "unix@%s/control.sock" % inside, "--report", "", stdin=subprocess.DEVNULL,
                            stdout=log, stderr=log, user=user, env=harness.environment({"MARKED": "x"}))
    try:
        until(lambda: harness.accepting("unix@%s/tap.sock" % inside), 10, "the tap accepts connections")
        looked = subprocess.run(["cat", "/proc/%d/environ" % tap.pid], capture_output=True, user=user)
        assert looked.returncode and b"MARKED" not in looked.stdout, looked
    finally:
        tap.terminate()
        assert tap.wait(20) == 0


WRONG = {
    "listen twice": (["--listen", "unix@/x", "--listen", "/x"], 64, "a tap listens on a socket once: --listen /x"),
    "control is listen": (["--listen", "unix@/x", "--control", "/x"], 64, "--control needs a socket of its own"),
    "report is listen": (["--listen", "unix@/x", "--report", "dgram@/x"], 64, "--report is a socket of the agent's"),
    "report is control": (["--control", "unix@/x", "--report", "dgram@/x"], 64, "--report is a socket of the agent's"),
    "listen relative": (["--listen", "unix@x/tap.sock"], 64, '--listen: listen address "unix@x/tap.sock": the path of a unix socket has to begin with /'),
    "control relative": (["--control", "unix@x"], 64, '--control: listen address "unix@x": the path of a unix socket has to begin with /'),
    "report relative": (["--report", "dgram@x"], 64, '--report: listen address "dgram@x": the path of a unix socket has to begin with /'),
    "listen nothing": (["--listen", ""], 64, '--listen "": a unix stream socket is needed here: unix@/PATH'),
    "listen by TCP": (["--listen", "127.0.0.1:1"], 64, '--listen "127.0.0.1:1": a unix stream socket is needed here: unix@/PATH'),
    "control by datagrams": (["--control", "dgram@/x"], 64, '--control "dgram@/x": a unix stream socket is needed here: unix@/PATH'),
    "drain at no address": (["--drain", "--control", "x"], 64, '--control "x": a unix stream socket is needed here: unix@/PATH'),
    "report nonsense": (["--report", "foo"], 64, '--report "foo": a unix datagram socket is needed here: dgram@/PATH'),
    "report by a stream": (["--report", "unix@/x"], 64, '--report "unix@/x": a unix datagram socket is needed here: dgram@/PATH'),
    "legs relative": (["--legs", "x"], 64, "--legs takes the absolute path of a directory, not x"),
    "legs too long": (["--legs", "/" + "x" * 57], 64, "choose a directory whose path has at most 57"),
    "a flag twice": (["--legs", "/a", "--legs", "/b"], 64, "this flag is given twice: legs"),
    "an option twice": (["--log-level", "info", "--log-level", "debug"], 64, "this option is given twice: log_level"),
    "no choice": (["--log-format", "xml"], 64, 'log_format is "xml"; give one of kv, json'),
    "unknown": (["--leg", "/a", "--bogus"], 64, "there is no flag --bogus"),
    "of another command": (["--threads", "4"], 64, "tap has no --threads"),
    "a word": (["--streams", "many"], 64, "--streams takes a whole number from 1 to 1000000, not many"),
}


@pytest.mark.parametrize("flags, code, said", WRONG.values(), ids=WRONG)
def test_wrong_flags(flags, code, said):
    done = cli("tap", *flags)
    assert done.code == code and said in done.err, done


def test_variables_of_a_tap(work):
    """It has two, and says so of a name that is nearly theirs. An empty variable counts as one that is not set."""
    env = {"SPOA_LLM_LOG_LEVEL": "", "SPOA_LLM_LOG_FORMATS": "json", "SPOA_LLM_LISTN": "unix@/x", "SPOA_LLM_LISTEN": "unix@/y"}
    with Tap(work, env=env) as tap:
        assert tap.log("event=tap_ready .*")
        assert re.findall(r'variable=(\S+) hint="is (\S+) meant\?"', tap.text()) == [("SPOA_LLM_LOG_FORMATS", "SPOA_LLM_LOG_FORMAT")]


def test_no_directory_of_legs(work):
    with Tap(work, "--legs", work / "nothing") as tap:
        assert "No such file" in tap.log("event=tap_no_legs .*")[0]


@pytest.mark.parametrize("limit", [4, 8, 65])
def test_a_limit_of_open_files_that_is_too_low(work, limit):
    done = cli("tap", "--listen", "unix@%s/tap.sock" % work, "--legs", work, "--report", "dgram@%s/r" % work, "--control", "unix@%s/c" % work,
               before=["bash", "-c", 'ulimit -n %d; exec "$@"' % limit, "sh"])
    assert done.code == 69 and "event=start_failed" in done.err and "ulimit -n" in done.err, done
