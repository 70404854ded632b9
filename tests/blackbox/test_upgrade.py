"""Reload, upgrade, crash and drain of the agent, most of them under a load of 1,000 requests/s through HAProxy: a reload or an upgrade costs
no request, and nothing sends a request to a wrong upstream or with a wrong credential."""
import collections
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import evidence
import harness
import spop
import stall

RATE = 1000
OPERATOR = harness.secret("operator")
CLIENT = harness.secret("loadclient")

# Each frontend is an upstream: it answers 200 to a request with its model and its credential, and 421 to any other.
UPSTREAM = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend replaced
    bind 127.0.0.1:%(replaced)d
    http-request wait-for-body time 5s
    http-request return status 200 content-type application/json string '{"id":"replaced"}' if { req.hdr(authorization) -m str "Bearer %(operator)s" } { req.body -m sub glm-4.6 }
    http-request return status 421
frontend passed
    bind 127.0.0.1:%(passed)d
    http-request wait-for-body time 5s
    http-request return status 200 content-type application/json string '{"id":"passed"}' if { req.hdr(authorization) -m str "Bearer %(client)s" } { req.body -m sub claude-l }
    http-request return status 421
"""


class Upstream:
    def __init__(self, haproxy, work):
        self.ports = {"replaced": harness.free_port(), "passed": harness.free_port()}
        cfg = work / "upstream.cfg"
        evidence.SPARED.add(cfg.name)    # this file has to hold the credentials that the upstreams compare with
        cfg.write_text(UPSTREAM % dict(self.ports, operator=OPERATOR, client=CLIENT))
        self.process = harness.Process("upstream", [haproxy, "-db", "-f", str(cfg)], work / "upstream.log")
        harness.until(lambda: harness.accepting("127.0.0.1:%d" % self.ports["passed"]), 10, self.process.tail)

    def routes(self):
        return [{"model_prefix": "glm-", "name": "replaced", "upstream": "http://127.0.0.1:%d" % self.ports["replaced"],
                 "auth": "env:OPERATOR_KEY"},
                {"model_prefix": "claude-", "name": "passed", "upstream": "http://127.0.0.1:%d" % self.ports["passed"]}]


class Load:
    """Two loads of h2load, each with half of RATE for one of the two routes, while the context lasts. An h2load cannot be told to end, so each is a
    row of short ones, and those of the second route begin between those of the first. Afterwards `counts` has what all of them counted, by name:
    done, succeeded, failed, errored, timeout, 2xx, 4xx, 5xx; with `log`, `spans` has (began, ended, status) of each request that ended, in Unix time."""

    PIECE = 2   # seconds

    def __init__(self, gateway, work, clients=20, log=False):
        self.over, self.outputs, self.logs, self.processes = threading.Event(), [], [], {}
        self.counts, self.spans = {}, []
        self.rows = []
        for first, model in ((self.PIECE, "glm-4.6"), (self.PIECE / 2, "claude-l")):
            body = work / (model + ".json")
            body.write_text(json.dumps({"messages": [{"role": "user", "content": "x" * 900}], "model": model}))
            command = ["h2load", "--h1", "-t", "1", "-c", str(clients), "--rps", str(RATE // 2 // clients), "-d", str(body),
                       "-H", "authorization: Bearer " + CLIENT, "-H", "content-type: application/json"]
            self.rows.append(threading.Thread(target=self.row, args=(command, first, work if log else None, model,
                                                                     "http://127.0.0.1:%d/v1/chat/completions" % gateway.port)))

    def __enter__(self):
        for row in self.rows:
            row.start()
        return self

    def row(self, command, seconds, work, model, url):
        for number in itertools.count():
            logs = [work / ("%s-%d.log" % (model, number))] if work else []
            for one in logs:
                one.unlink(missing_ok=True)
            self.logs += logs
            process = self.processes[model] = subprocess.Popen(
                [*command, *("--log-file=%s" % one for one in logs), "-D", "%dms" % (1000 * seconds), url],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
            self.outputs.append((process.communicate(timeout=120)[0], seconds))
            if self.over.is_set():
                return
            seconds = self.PIECE

    def __exit__(self, *_):
        self.over.set()
        for row in self.rows:
            row.join()
        self.seconds = sum(seconds for _, seconds in self.outputs) / len(self.rows)
        for out, _ in self.outputs:
            line = re.search(r"^requests: .*$", out, re.M).group() + " " + re.search(r"^status codes: .*$", out, re.M).group()
            for number, name in re.findall(r"(\d+) (\w+)", line):
                self.counts[name] = self.counts.get(name, 0) + int(number)
        for one in self.logs:
            for line in one.read_text().splitlines():
                began, status, took = (int(word) for word in line.split("\t"))
                self.spans.append((began / 1e6, (began + took) / 1e6, status))


@pytest.fixture
def gateway(haproxy, work):
    if not shutil.which("h2load"):
        pytest.fail("h2load is missing: it is in Debian's nghttp2-client")
    upstream = Upstream(shutil.which("haproxy") or "/usr/sbin/haproxy", work)
    gateway = harness.Gateway(haproxy, [], {"routes": upstream.routes()}, env={"OPERATOR_KEY": OPERATOR})
    gateway.upstream = upstream
    yield gateway
    gateway.close()
    upstream.process.end(signal.SIGINT)


def ends(gateway):
    """Returns (Unix time in ms, status) of each request in HAProxy's log, without those that h2load gave up when its time was over."""
    found = re.findall(r'"te":(\d+),.*?"status":(\d+).*?"term":"(.).*"spoe":"(\d*)"', gateway.haproxy.text())
    # spoe=5: the client went away while HAProxy was asking the agent.
    return sorted((int(te), int(status)) for te, status, term, spoe in found if term != "C" and spoe != "5")


def nothing_failed(load):
    counts = load.counts
    assert counts["2xx"] >= RATE * load.seconds * 0.5, counts
    assert counts["2xx"] == counts["done"] == counts["succeeded"], counts
    assert counts["failed"] == counts["errored"] == counts["timeout"] == 0, counts


@pytest.mark.alone
def test_reloads_cost_nothing(gateway, work):
    """A reload every 100 ms for 10 s makes no request fail."""
    reloads = 0
    with Load(gateway, work) as load:
        time.sleep(0.5)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            gateway.agent.process.kill(signal.SIGHUP)
            reloads += 1
            time.sleep(0.1)
    nothing_failed(load)
    said = gateway.agent.lines("event=reloaded")
    held_back = sum(int(n) for n in re.findall(r"event=reloaded suppressed=(\d+)", gateway.agent.text()))
    assert reloads > 50 and len(said) + held_back > 0.8 * reloads


@pytest.mark.alone
def test_upgrades_cost_nothing(gateway, work):
    """Ten upgrades make no request fail, and the connections of HAProxy are handed over."""
    with Load(gateway, work) as load:
        time.sleep(0.5)
        workers = [gateway.agent.pid]
        for _ in range(10):
            gateway.agent.upgrade()
            workers.append(gateway.agent.lines("event=upgraded")[-1])
            time.sleep(0.5)
    nothing_failed(load)
    assert len(set(workers)) == 11
    handed = [int(n) for n in re.findall(r"event=handed_over connections=(\d+)", gateway.agent.text())]
    assert len(handed) == 10 and min(handed) > 0, handed
    assert set(status for _, status in ends(gateway)) == {200}


@pytest.mark.alone
def test_an_upgrade_that_cannot_hand_over_drains(haproxy, work, monkeypatch):
    """The agent is upgraded to a version that cannot take over its connections, and back: the old worker closes each connection with its next
    answer. Without pipelining no request fails, because HAProxy has sent no other question behind the one that gets the last answer."""
    other = harness.ROOT / "build" / "other-version"
    if not other.exists():
        pytest.fail("make test-tools builds %s" % other)
    binary = work / "spoa-llm"
    shutil.copy(harness.AGENT, binary)
    monkeypatch.setattr(harness, "AGENT", str(binary))
    upstream = Upstream(shutil.which("haproxy") or "/usr/sbin/haproxy", work)
    gateway = harness.Gateway(haproxy, [], {"routes": upstream.routes(), "pipelining": "off", "drain_timeout": 2}, env={"OPERATOR_KEY": OPERATOR})
    try:
        with Load(gateway, work) as load:
            time.sleep(0.5)
            for binary_of in (other, os.environ.get("SPOA_LLM", harness.ROOT / "build" / "spoa-llm"), other):
                old = gateway.agent.pid
                shutil.copy(binary_of, work / "new")
                os.replace(work / "new", binary)
                gateway.agent.upgrade()
                harness.until(lambda: harness.state_of(old) == "X", 15, "the old worker has ended")
                time.sleep(0.5)
        nothing_failed(load)
        assert set(status for _, status in ends(gateway)) == {200}
        assert not gateway.agent.lines("event=(handed_over|upgrade_failed|worker_(killed|crashed))")
    finally:
        gateway.close()
        upstream.process.end(signal.SIGINT)


def kill_and_go_on(gateway, work, count, pause):
    """Kills the worker `count` times under load. Returns for each kill (ms until the service was back, ms of these in which the machine stood
    still, ms until the old worker was dead). The service is back when a request that was sent after the old worker's death has been
    answered, and no 503 comes any more."""
    load = Load(gateway, work, log=True)
    master, kills = gateway.agent.process.pid, []

    def chain():
        return [[os.getpid()], [master], harness.children_of(master), [gateway.haproxy.pid], [gateway.upstream.process.pid],
                [process.pid for process in list(load.processes.values())]]
    with stall.Stall(work, chain) as held_up, load:
        time.sleep(0.5)
        for _ in range(count):
            old, ready = gateway.agent.pid, len(gateway.agent.lines("event=ready"))
            begun = time.time()
            os.kill(old, signal.SIGKILL)
            harness.until(lambda: harness.state_of(old) in "XZ", 5, "the worker's death", step=0.0005)
            kills.append((begun, time.time()))
            harness.until(lambda: len(gateway.agent.lines("event=ready")) > ready, 20, "the next worker", step=0.002)
            time.sleep(pause)
        time.sleep(0.2)
    counts = load.counts
    assert counts["errored"] == counts["timeout"] == counts["4xx"] == 0, counts
    assert set(status for _, status in ends(gateway)) <= {200, 503}
    print("\n%d kills at %d requests/s: %s" % (len(kills), RATE, counts))
    gaps = []
    for at, (kill, dead) in enumerate(kills):
        fresh = [ended for began, ended, status in load.spans if status == 200 and began > dead]
        assert fresh, "no request was answered after this kill"
        following = kills[at + 1][0] if at + 1 < len(kills) else float("inf")
        back = max([min(fresh)] + [ended for _, ended, status in load.spans if status == 503 and kill <= ended < following])
        gaps.append(tuple(round(1000 * one) for one in (back - kill, held_up.between(kill, back), dead - kill)))
    print("ms until the service was back, of which the machine stood still, until the old worker was dead: %s" % gaps)
    return gaps


# pause: seconds from a new worker's start to its kill; with 0.05 the service is hardly back from the kill before.
@pytest.mark.alone
@pytest.mark.parametrize("pause", (0.9, 0.05))
def test_kills_are_503_and_short(gateway, work, pause):
    """The worker is killed ten times: a request either fails with 503 or goes where it should, and each time the service is back within 200 ms.
    Time in which the whole machine stood still does not count. If a kill took too long and the machine stood still for 100 ms or more, that
    result says nothing, and the test kills once more."""
    told = []
    for _ in range(4):
        for gap, still, dead in kill_and_go_on(gateway, work, 10 - len(told), pause):
            late = gap - still >= 200 * harness.SLOW
            assert not late or still >= 100, "the service was back %d ms after the kill; for %d of these the machine stood still" % (gap, still)
            if not late:
                told.append(gap)
        if len(told) == 10:
            break
    assert len(told) == 10, "the machine stood still too often to measure ten kills: %s" % told
    crashed = len(gateway.agent.lines("event=worker_crashed")) + sum(
        int(n) for n in re.findall(r"event=worker_crashed suppressed=(\d+)", gateway.agent.text()))
    assert crashed >= 10


def test_tables_are_whole(agents, work):
    """Reloads exchange two tables that differ in every route, while clients ask: no answer mixes the two tables."""
    def table(name, other):
        return {"routes": [{"model_prefix": "one-", "name": name + "-1", "upstream": "https://%s-one.test" % name,
                            "auth": "env:" + name.upper()},
                           {"model_prefix": "two-", "name": name + "-2", "upstream": "https://%s-two.test" % other,
                            "auth": "env:" + other.upper(), "auth_header": "x-api-key"}]}
    tables = {"a": table("a", "b"), "b": table("b", "a")}
    whole = {("a-1", "llm-a-one.test", "authorization", "Bearer secret-of-a"), ("a-2", "llm-b-two.test", "x-api-key", "secret-of-b"),
             ("b-1", "llm-b-one.test", "authorization", "Bearer secret-of-b"), ("b-2", "llm-a-two.test", "x-api-key", "secret-of-a")}
    agent = agents(dict(tables["a"], threads=2), env={"A": "secret-of-a", "B": "secret-of-b"})
    stop, failures, seen = threading.Event(), [], set()

    def ask(model):
        try:
            with agent.client() as client:
                while not stop.is_set():
                    answer = client.ask(body=harness.chat(model))
                    seen.add(tuple(answer[name] for name in ("route", "backend", "auth_header", "auth_value")))
        except Exception as error:      # noqa: B902 (reported below)
            failures.append(error)
    threads = [threading.Thread(target=ask, args=(model,)) for model in ("one-x", "two-x", "one-y", "two-y")]
    for thread in threads:
        thread.start()
    for at in range(60):
        config = dict(tables["ba"[at % 2]], listen=agent.config["listen"], threads=2)
        os.replace(harness.write_config(work, config, "new.json"), agent.file)
        agent.process.kill(signal.SIGHUP)
        time.sleep(0.03)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    assert seen == whole


# ---- reload, upgrade, crash and drain without load


def test_connections_survive_an_upgrade(agents):
    """Even a connection in the middle of a frame and one that has not sent HELLO yet survive."""
    agent = agents({"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}]})
    frame = spop.notify(spop.question(harness.chat("one-x")), 7, 3)
    with agent.client() as idle, agent.client() as half, agent.client(greet=False) as new:
        half.send(frame[:len(frame) // 2])
        time.sleep(0.1)
        old = agent.pid
        agent.upgrade()
        assert agent.pid != old
        half.send(frame[len(frame) // 2:])
        assert half.ack(7, 3).variables()["backend"] == "llm-one.test"
        assert idle.ask(body=harness.chat("one-x"))["backend"] == "llm-one.test"
        new.send(spop.hello())
        assert new.receive().kind == spop.AGENT_HELLO
    harness.until(lambda: harness.state_of(old) == "X", 10, "the old worker has ended")


def test_upgrades_cut_no_request_to_the_admin_server(agents, work):
    """Probes and scrapes that come meanwhile are answered, by the old worker or the new one."""
    agent, stop, said, lock = agents({"ledger": str(work), "log_listen": "unix@%s/log.sock" % work, "routes": []}), threading.Event(), collections.Counter(), threading.Lock()

    def scrape():
        while not stop.is_set():
            try:
                outcome = agent.http(path="/metrics").status
            except (OSError, http.client.HTTPException) as problem:
                outcome = repr(problem)
            with lock:
                said[outcome] += 1
    scrapers = [threading.Thread(target=scrape) for _ in range(8)]
    for one in scrapers:
        one.start()
    try:
        for _ in range(30):
            agent.upgrade()
            time.sleep(0.1)  # The log, by which the rig knows the end of an upgrade, holds back what comes more than 10 times a second.
    finally:
        stop.set()
        for one in scrapers:
            one.join()
    assert set(said) == {200}, said


def test_an_upgrade_that_cannot_start_changes_nothing(agents):
    agent = agents({"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}]})
    agent.file.write_text("{ this is no JSON")
    with agent.client() as client:
        old = agent.pid
        agent.process.kill(signal.SIGUSR2)
        line = agent.log("event=upgrade_failed")
        assert "78" in line, line
        assert agent.pid == old
        assert client.ask(body=harness.chat("one-x"))["backend"] == "llm-one.test"


def test_an_upgrade_takes_what_a_reload_does_not(agents, work):
    agent = agents({"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}], "threads": 1})
    second = "unix@%s/second.sock" % work
    config = dict(agent.config, listen=[agent.config["listen"], second], threads=2)
    harness.write_config(work, config, agent.file.name)
    agent.process.kill(signal.SIGHUP)
    assert "option=listen" in agent.log("event=not_reloaded option=listen")
    assert not harness.accepting(second)
    agent.upgrade()
    assert harness.accepting(second)
    harness.until(lambda: "threads=2" in agent.lines("event=ready")[-1], 10, "the new worker has two threads")
    # An address that is no longer in the configuration is closed, and the file of its socket removed.
    harness.write_config(work, dict(agent.config, listen=second), agent.file.name)
    agent.upgrade()
    harness.until(lambda: not os.path.exists(agent.address[5:]), 5, "the file of the unused socket is removed")
    assert harness.accepting(second)


def test_a_crashed_worker_is_replaced(agents):
    agent = agents({"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}]})
    for _ in range(3):
        old = agent.pid
        os.kill(old, signal.SIGKILL)
        harness.until(lambda: harness.children_of(agent.process.pid) not in ([], [old]), 10, "another worker")
        assert agent.ask(body=harness.chat("one-x"))["backend"] == "llm-one.test"
    assert "signal=9" in agent.log("event=worker_crashed")


def test_a_worker_that_hangs_is_replaced(agents):
    """A stopped worker answers nothing, like a worker in an endless loop. The master logs it and starts another."""
    agent = agents({"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}], "watchdog": 2})
    old = agent.pid
    os.kill(old, signal.SIGSTOP)
    agent.log("event=worker_stuck", seconds=15)
    assert agent.ask(body=harness.chat("one-x"))["backend"] == "llm-one.test"
    assert agent.pid != old


def test_one_thread_that_hangs_is_enough(agents):
    """The master replaces a worker of which only one thread hangs. Here ptrace stops that thread."""
    agent = agents({"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}], "watchdog": 2, "threads": 2})
    old = agent.pid
    tasks = sorted(int(task) for task in os.listdir("/proc/%d/task" % old) if int(task) != old)
    named = [task for task in tasks if open("/proc/%d/task/%d/comm" % (old, task)).read().startswith("spop-")]
    tracer = subprocess.Popen(["/usr/bin/python3", "-c", """
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(0x4206, %d, 0, 0) == 0 and libc.ptrace(0x4207, %d, 0, 0) == 0     # SEIZE, INTERRUPT
print("held", flush=True)
time.sleep(60)""" % (named[0], named[0])], stdout=subprocess.PIPE)
    try:
        assert tracer.stdout.readline() == b"held\n"
        agent.log("event=worker_stuck", seconds=15)
    finally:
        tracer.kill()
        tracer.wait()
    assert agent.ask(body=harness.chat("one-x"))["backend"] == "llm-one.test"
    assert agent.pid != old


def test_a_frozen_machine_is_no_hang(agents):
    """Master and worker are stopped for longer than the watchdog's time, as in a suspended container: the master does not replace the worker."""
    agent = agents({"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}], "watchdog": 2})
    old = agent.pid
    agent.process.stop()
    time.sleep(4)
    agent.process.kill(signal.SIGCONT)
    time.sleep(1.5)
    assert agent.pid == old and not agent.lines("event=worker_stuck")
    assert agent.ask(body=harness.chat("one-x"))["backend"] == "llm-one.test"


def test_drain(agents):
    """After SIGUSR1 health checks fail, the agent closes each connection with its next answer and the idle ones at the deadline, and exits 0."""
    agent = agents({"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}], "drain_timeout": 2})
    with agent.client() as busy, agent.client() as idle:
        begun = time.monotonic()
        agent.process.kill(signal.SIGUSR1)
        agent.log("event=draining")
        with agent.client(greet=False) as check:
            check.send(spop.hello(capabilities="", healthcheck=True))
            assert check.receive().kind == spop.AGENT_DISCONNECT
        assert busy.ask(body=harness.chat("one-x"))["backend"] == "llm-one.test"
        assert busy.disconnected()[0] == 0
        assert idle.disconnected()[0] == 0
        assert 1.5 < time.monotonic() - begun < 8 * harness.SLOW
    assert agent.process.wait(10) == 0


@pytest.mark.alone
def test_a_drain_costs_next_to_nothing(haproxy, work):
    """One of two agents behind one HAProxy is drained under load. SPOP has no message that says "send no more", so HAProxy refuses the requests
    that it was asking about when its check failed; no request goes astray."""
    upstream = Upstream(shutil.which("haproxy") or "/usr/sbin/haproxy", work)
    second = work / "second.sock"

    def two(text):
        changed = re.sub(r'^( +server) agent "\$LLM_AGENT"(.*)$', lambda m: "%s\n%s other unix@%s%s" % (
            m.group(0), m.group(1), second, m.group(2)), text, flags=re.M)
        assert changed != text, "haproxy.cfg.example has no line `server agent` any more"
        return changed
    env = {"OPERATOR_KEY": OPERATOR}
    try:
        with harness.Agent(work, {"listen": "unix@%s" % second, "routes": upstream.routes()}, env=env) as other, \
                harness.Gateway(haproxy, [], {"routes": upstream.routes(), "drain_timeout": 4}, env=env, edit=two) as gateway:
            with Load(gateway, work) as load:
                time.sleep(1)
                gateway.agent.process.kill(signal.SIGUSR1)
                assert gateway.agent.process.wait(20) == 0
                time.sleep(1)
            counts = load.counts
            assert other.process.running()
            statuses = [status for _, status in ends(gateway)]
            print("\ndrained at %d requests/s: %d of %d refused" % (RATE, statuses.count(503), len(statuses)))
            assert set(statuses) <= {200, 503} and counts["4xx"] == 0, set(statuses)
            assert counts["2xx"] > RATE * load.seconds * 0.5 and statuses.count(503) < len(statuses) / 100
    finally:
        upstream.process.end(signal.SIGINT)


def test_the_service_manager_is_told(work):
    """The agent sends the messages of sd_notify(3) to a socket of this test."""
    path = str(work / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10 * harness.SLOW)
        with harness.Agent(work, {"routes": []}, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}) as agent:

            def told(what):
                said = []
                while not any(what in line for text in said for line in text.split("\n")):
                    said.append(manager.recv(4096).decode())
                return said
            told("READY=1")
            told("WATCHDOG=1")
            agent.process.kill(signal.SIGHUP)
            assert any(re.search(r"^MONOTONIC_USEC=\d+$", text, re.M) for text in told("RELOADING=1"))
            told("READY=1")
            agent.upgrade()
            told("WATCHDOG=1")
            os.kill(agent.pid, signal.SIGSTOP)      # while a worker hangs, the master sends no WATCHDOG=1
            time.sleep(1)
            os.kill(agent.pid, signal.SIGCONT)
            agent.process.kill(signal.SIGTERM)
            told("STOPPING=1")
            assert agent.process.wait(10) == 0
