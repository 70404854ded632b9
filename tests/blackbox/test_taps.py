"""What `spoa-llm tap` says of itself, by datagrams to `tap_listen`: who may send them, and what /readyz, /metrics, /stats and the log make of them."""
import itertools
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

import harness
import loglines
import taps
from adminserver import admin  # noqa: F401
from harness import until
from ledgers import LedgerGateway, routes
from plaintap import Tapped
from test_metrics import scrape

COUNTS = {"streams_total": 1000, "bytes": 123456789, "reports": 990, "reports_lost": 3, "cut_client": 5, "cut_upstream": 2, "unreadable": 1, "full": 4}
NAMES = {"streams_total": "streams_total", "bytes": "relayed_bytes_total", "reports": "reports_total", "reports_lost": "reports_lost_total",
         "unreadable": "unreadable_total", "full": "full_total"}
SILENT_S = 5


class Tap:
    """Sends what a tap sends."""

    def __init__(self, path, pid=4711, **counts):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path, self.said = str(path), dict(dict(COUNTS, v=1, kind="tap", pid=pid, streams=7, memory=4096, draining=False), **counts)

    def send(self, text):
        self.socket.sendto(text if isinstance(text, bytes) else text.encode(), self.path)

    def say(self, **more):
        self.said.update(more)
        self.send(json.dumps(self.said))


@pytest.fixture
def tapped(admin, work):  # noqa: F811
    """An agent that listens for taps."""
    agent = admin(tap=True, tap_listen=["dgram@%s/tap.dgram" % work, "dgram@%s/other.dgram" % work])
    agent.tap = work / "tap.dgram"
    return agent


def check(agent):
    answer = agent.http(path="/readyz")
    assert answer.status == 200, answer
    found = [one for one in answer.json()["checks"] if one["part"] == "tap"]
    assert all(one["blocking"] is False for one in found)
    return (found[0]["ok"], found[0]["detail"]) if found else None


def counts(agent):
    metrics = scrape(agent)
    found = {name: metrics["spoa_llm_tap_" + metric].get((), None) for name, metric in NAMES.items() if "spoa_llm_tap_" + metric in metrics}
    for by in ("client", "upstream"):
        found["cut_" + by] = metrics.get("spoa_llm_tap_cut_streams_total", {}).get((("by", by),))
    return {name: value for name, value in found.items() if value is not None}


def value(agent, name):
    return scrape(agent).get("spoa_llm_tap_" + name, {}).get(())


def test_status(tapped):
    """Counters of one process, of a second one beside it, and of one that has the id of an earlier one; and gauges."""
    assert check(tapped) == (True, "not heard of yet") and counts(tapped) == {} and value(tapped, "up") == 0
    one, two = Tap(tapped.tap), Tap(tapped.directory / "other.dgram", 4712)
    one.say()
    until(lambda: counts(tapped) == COUNTS, 5, lambda: counts(tapped))
    assert check(tapped) == (True, "7 streams")
    assert [value(tapped, name) for name in ("up", "draining", "streams", "memory_bytes")] == [1, 0, 7, 4096]
    one.say(streams=9, streams_total=1010, draining=True)
    two.say(streams=1, memory=1)
    want = {name: 2 * number for name, number in COUNTS.items()}
    want["streams_total"] += 10
    until(lambda: counts(tapped) == want, 5, lambda: counts(tapped))
    assert [value(tapped, name) for name in ("up", "draining", "streams", "memory_bytes")] == [2, 1, 10, 4097]
    assert check(tapped) == (True, "10 streams")
    two.say(draining=True)
    until(lambda: check(tapped)[0] is False and check(tapped)[1].startswith("it drains, with 10 streams: "), 5, lambda: check(tapped))
    # Another process with this id began to count anew.
    one.say(**dict.fromkeys(COUNTS, 1), streams=0)
    want = {name: number + 1 for name, number in want.items()}
    until(lambda: counts(tapped) == want, 5, lambda: counts(tapped))
    told = tapped.http(path="/stats").json()["tap"]
    assert {name: told[name] for name in COUNTS} == want and (told["processes"], told["draining"], told["streams"]) == (2, 2, 1), told


def test_many_processes(tapped):
    """More than the agent tells apart: the sums stay right while none of them speaks again."""
    for number in range(40):
        Tap(tapped.tap, 100 + number).say()
    want = {name: 40 * number for name, number in COUNTS.items()}
    until(lambda: counts(tapped) == want, 5, lambda: counts(tapped))


BAD = ["", "{}", "[]", '{"kind":"tap"}', '{"kind":"tap","pid":0}', '{"kind":"tap","pid":-1}', '{"kind":"tap","pid":1,"bytes":"x"}', '{"kind":"tap","pid":1',
       '{"kind":"tap","pid":1,"bytes":-5}', '{"kind":"tap","pid":1,"bytes":99999999999999999999}', '{"kind":"tap","pid":1}}', '{"kind":"tab","pid":1}', b"\xff\x00{",
       '{"x":{"kind":"tap","pid":1}}', "x" * 20000]


def test_what_is_no_status(tapped):
    tap = Tap(tapped.tap)
    for bad in BAD:
        tap.send(bad)
    tap.say()
    until(lambda: counts(tapped) == COUNTS, 5, lambda: counts(tapped))
    assert value(tapped, "up") == 1


def test_silence(tapped):
    """A tap that says nothing is named, is no reason not to be ready, and is heard again."""
    began = time.monotonic()
    line = tapped.log("event=tap_silent", 20)
    assert time.monotonic() - began > SILENT_S - 2 and " level=warn " in line and " seconds=" in line
    ok, text = check(tapped)
    assert not ok and re.match(r"it was not heard of for \d+ seconds: ", text), text
    tap = Tap(tapped.tap)
    tap.say()
    assert " processes=1" in tapped.log("event=tap_heard")
    assert check(tapped) == (True, "7 streams")
    until(lambda: len(tapped.lines("event=tap_silent")) == 2, 20, "silence again")
    assert check(tapped)[0] is False and value(tapped, "up") == 0
    assert counts(tapped) == COUNTS and value(tapped, "streams") == 0     # what was counted stays


def test_the_socket(tapped):
    """Its permissions; it is the same one after an upgrade and a crash, meanwhile keeps datagrams, and goes when the agent ends."""
    assert stat.S_IMODE(tapped.tap.stat().st_mode) == 0o660
    tap, inode, total = Tap(tapped.tap), tapped.tap.stat().st_ino, itertools.count(1001)
    tap.say(streams_total=next(total))
    tapped.upgrade()
    said = next(total)

    def heard():
        """The old worker may read once more. A tap tells its counts again and again."""
        tap.say(streams_total=said)
        return counts(tapped).get("streams_total") == said
    until(heard, 5, lambda: counts(tapped))
    os.kill(tapped.pid, signal.SIGKILL)
    tap.say(streams_total=next(total))        # nobody reads it now
    until(lambda: counts(tapped).get("streams_total") == 1003, 10, lambda: counts(tapped))
    assert tapped.tap.stat().st_ino == inode
    tapped.process.end()
    assert not tapped.tap.exists()


INHERIT = """import os, socket, sys
one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
one.bind(sys.argv[1])
os.dup2(one.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execvp(sys.argv[2], sys.argv[2:])"""


@pytest.mark.parametrize("tap, named, warns", [(True, True, False), (False, True, False), (False, False, True), (True, False, True)])
def test_a_socket_that_systemd_makes(work, tap, named, warns):
    """Its unit makes the socket for reports whether the tap is on or not: nobody is warned where the tap is off, and the option names the socket."""
    path = work / "inherited.dgram"
    config = {"ledger": str(work), "log_listen": ["unix@%s/log.sock" % work], "tap": tap, "tap_listen": "dgram@%s" % (path if named else work / "other")}
    with harness.Agent(work, config, before=[sys.executable, "-c", INHERIT, str(path)]) as agent:
        assert bool(agent.lines("event=socket_unused address=dgram@%s" % path)) == warns, agent.text()
        assert len(agent.lines('event=listening .*for="reports of the tap"')) == tap
        if tap and named:
            Tap(path).say()


def test_another_user(admin, work):  # noqa: F811
    """Neither another user of the machine nor one in HAProxy's group can say what a tap says; who is in the socket's group can."""
    if os.geteuid():
        pytest.skip("needs root")
    place = work / "taps"
    place.mkdir()
    os.chown(place, 0, 54321)
    place.chmod(0o2750)
    work.chmod(0o711)
    agent = admin(tap=True, tap_listen="dgram@%s/tap.dgram" % place)
    path = place / "tap.dgram"
    assert path.stat().st_gid == 54321
    send = "import socket,sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.argv[1].encode(), sys.argv[2])"
    said = json.dumps(Tap(path).said)

    def runs(user, group):
        return subprocess.run([sys.executable, "-c", send, said, str(path)], user=user, group=group, extra_groups=[], capture_output=True, cwd="/").returncode
    assert runs(65534, 65534) != 0 and runs(65534, 54320) != 0 and counts(agent) == {}
    assert runs(65534, 54321) == 0
    until(lambda: counts(agent) == COUNTS, 5, lambda: counts(agent))


def stream_line(maker, key, client, model, **more):
    """(id, log line) of a stream that went to its upstream through the tap, or, with srv="leg", directly."""
    fields = dict(maker.one(kind="silent", model=model, client=client, backend="leg.x", term="--", status=200, **more).fields)
    fields = dict(dict(fields, behind="llm-x", srv="tap"), **more)
    return fields["id"], harness.log_line(fields, key)


def told(id_, content=30, **more):
    """A report of a stream that is whole; without `last`, it told no usage."""
    return json.dumps(dict({"v": 1, "kind": "stream", "id": id_, "end": "whole", "status": 200, "content": content, "final": bool(more)}, **more))


def test_streams_that_tell_no_usage(tapped):
    """Metrics and reports name the clients and models whose streams do not ask for their usage, whichever of line and report comes first."""
    key, tap, maker = tapped.env["SPOA_LLM_LOG_KEY"], Tap(tapped.tap), loglines.Maker(seed=3)
    host, port = tapped.log_address.split(":")
    streams = [("a", "glm-4.6", {}, {}), ("a", "glm-4.6", {}, {}), ("b", "gpt-5.5", {}, {}), ("b", "gpt-5.5", {"srv": "leg"}, None),
               ("c", "gpt-5.5", {}, {"last": {"prompt_tokens": 10, "completion_tokens": 5}})]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        for number, (client, model, fields, usage) in enumerate(streams):
            id_, line = stream_line(maker, key, client, model, **fields)
            sends = [lambda line=line: log.sendto(line, (host, int(port)))]
            sends += [lambda id_=id_, usage=usage: tap.send(told(id_, **usage))] if usage is not None else []
            for send in sends[::-1] if number % 2 else sends:
                send()

    def sums():
        metrics = scrape(tapped)
        return [{dict(labels)[by]: n for labels, n in metrics.get("spoa_llm_%s_untold_requests_total" % by, {}).items() if n} for by in ("model", "client")]
    until(lambda: sums() == [{"glm-4.6": 2, "gpt-5.5": 1}, {"a": 2, "b": 1}], 15, sums)

    def reports():
        metrics = scrape(tapped)
        return [metrics["spoa_llm_ledger_%s_total" % name][()] for name in ("stored", "reports", "malformed_reports", "orphaned_reports")]
    until(lambda: reports() == [5, 4, 0, 0] and scrape(tapped)["spoa_llm_ledger_joined_reports_total"][()] == 4, 10, reports)
    assert value(tapped, "fallbacks_total") == 1 and tapped.http(path="/stats").json()["tap"]["fallbacks"] == 1
    done = harness.cli("savings", "--json", "--ledger", tapped.home, "--since", "all")
    report = json.loads(done.out)
    assert report["totals"]["untold_requests"] == 3
    assert report["untold_models"] == [{"model": "glm-4.6", "requests": 2}, {"model": "gpt-5.5", "requests": 1}]
    assert report["untold_clients"] == [{"client": "a", "requests": 2}, {"client": "b", "requests": 1}]
    text = " ".join(harness.cli("savings", "--ledger", tapped.home, "--since", "all").out.split())
    assert "untold 3 streams whose requests did not ask for usage; models: glm-4.6, gpt-5.5; clients: a, b " in text, text


def test_an_agent_without_a_tap(admin, work):  # noqa: F811
    agent = admin(tap_listen="dgram@%s/tap.dgram" % work)
    assert check(agent) is None and not [name for name in scrape(agent) if name.startswith("spoa_llm_tap")]
    assert agent.http(path="/stats").json()["tap"] is None


@pytest.mark.parametrize("address", ["udp@127.0.0.1:1", "127.0.0.1:1", "unix@/run/x.sock", "/run/x.sock", "dgram@" + "x" * 200])
def test_other_sockets_are_refused(work, address):
    """Whoever could send there could write the ledger, and only unix sockets have permissions."""
    done = harness.cli("check", "-c", harness.write_config(work, {"tap_listen": address}))
    assert done.code == 78 and "tap_listen" in done.out + done.err, done


def test_a_directory_that_others_can_write_to(work, agents):
    place = work / "open"
    place.mkdir()
    place.chmod(0o777)
    (work / "ledger").mkdir()
    agent = agents({"ledger": str(work / "ledger"), "log_listen": "dgram@%s/log" % work, "tap": True, "tap_listen": "dgram@%s/tap" % place}, wait=False)
    assert agent.process.wait() == 69 and "other users can write to" in agent.text()
    agent.expect_exit = {69}


def test_a_reload_that_turns_it_on(admin, work):  # noqa: F811
    """The socket is one that only a new process opens: the log says so, and an upgrade does it."""
    agent = admin(tap_listen="dgram@%s/tap.dgram" % work)
    route = dict(agent.config["routes"][0], tap=True)
    harness.write_config(work, dict(agent.config, routes=[route]), agent.file.name)
    agent.process.kill(signal.SIGHUP)
    assert " option=tap_listen " in agent.log("event=not_reloaded")
    assert not (work / "tap.dgram").exists()
    agent.upgrade()
    Tap(work / "tap.dgram").say()
    until(lambda: counts(agent) == COUNTS, 5, lambda: counts(agent))


# ---- through HAProxy, with the tap that ships


class Gateway(Tapped, LedgerGateway):
    def start(self):
        self.config["tap_listen"] = "dgram@%s/tap.dgram" % self.dir
        super().start()


class Shipped(taps.Tap):
    def __init__(self, path, _legs):
        super().__init__(path.parent, report=False)

    def close(self):
        self.process.end(signal.SIGKILL)
        self.process.check()


def stream_of(usage):
    events = [{"choices": [{"index": 0, "delta": {"content": "word "}}]} for _ in range(7)]
    events += [{"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}] if usage else []
    return "".join("data: %s\n\n" % json.dumps(event) for event in events).encode() + b"data: [DONE]\n\n"


def test_the_tap_that_ships(haproxy, make_mock):
    """A stream that tells its usage, one that tells none, and one that goes directly, because the tap has ended."""
    mock = make_mock("taps")
    mock.respond = lambda request: (200, [("content-type", "text/event-stream")], stream_of(b"include_usage" in request.body))
    with Gateway(haproxy, [mock], {"routes": routes(mock), "admin_listen": "127.0.0.1:%d" % harness.free_port()},
                 make_tap=Shipped) as gateway:
        agent = gateway.agent
        until(lambda: value(agent, "up") == 1, 10, "the tap is heard")
        told = gateway.ask("gpt-t", stream=True, stream_options={"include_usage": True})
        untold = gateway.ask("claude-t", stream=True)
        assert told.status == untold.status == 200
        id_ = told.header("x-request-id")
        until(lambda: [row for row in gateway.rows() if row["id"] == id_ and (row["usage_from"], row["input"], row["output"]) == ("stream", 11, 7)], 10, gateway.rows)

        def sums(by):
            return {dict(labels)[by]: n for labels, n in scrape(agent).get("spoa_llm_%s_untold_requests_total" % by, {}).items() if n}
        until(lambda: sums("model").get("claude-t") == 1 and sum(sums("client").values()) >= 1, 15, lambda: (sums("model"), sums("client")))
        assert value(agent, "streams_total") >= 2 and value(agent, "fallbacks_total") == 0 and check(agent)[0]
        gateway.tap.process.end(signal.SIGKILL)
        assert gateway.ask("gpt-t", stream=True).status == 200
        until(lambda: value(agent, "fallbacks_total") == 1, 10, lambda: value(agent, "fallbacks_total"))
        agent.log("event=tap_silent", 20)
        assert check(agent)[0] is False and agent.http(path="/readyz").status == 200
