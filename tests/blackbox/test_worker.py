"""One worker: its memory, a ledger that it cannot open, its end, and which processes may read its environment."""
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import harness
import loglines

OPERATOR, LOG_KEY = harness.secret("worker-operator"), harness.secret("worker-log")
# The routes of the demo.
DEMO = [{"model_prefix": "glm-", "upstream": "https://ollama.com", "auth": "env:OLLAMA_API_KEY"},
        {"model_prefix": "claude-", "protocol": "anthropic"}, {"model_prefix": "gpt-5.5", "auth": "passthrough"},
        {"model_prefix": "*", "auth": "passthrough"}]
LOAD = harness.ROOT / "build" / "bench" / "spop_load"


def rows(ledger):
    """Returns the number of records that `ledger export` writes; 0 if it cannot read the ledger."""
    run = harness.cli("ledger", "export", "--ledger", ledger)
    return len(run.out.splitlines()) if run.code == 0 else 0


def decide(agent, count, body):
    """Makes the agent decide at least `count` times, with the benchmark's load generator, which checks every answer."""
    done = 0
    while done < count:
        run = subprocess.run([LOAD, agent.address[5:], "llm-ollama.com", body, "conns=20", "inflight=20", "seconds=%g" % (
            0.1 if count < 100000 else 1), "warm=0"], capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run
        done += json.loads(run.stdout)["frames"]
    return done


def test_memory_after_a_million_decisions(work):
    """After 1,000,000 decisions and 1,000 connections the resident size is nearly the same as after 10,000 decisions, and small."""
    if not LOAD.exists():
        pytest.fail("make builds %s" % LOAD)
    if "asan" in harness.AGENT or "tsan" in harness.AGENT or harness.VALGRIND:
        pytest.skip("a sanitizer's memory says nothing of the agent's")
    logs = "127.0.0.1:%d" % harness.free_port()
    config = {"routes": DEMO, "ledger": str(work / "ledger"), "log_listen": [logs, "udp@" + logs]}
    (work / "ledger").mkdir()
    with harness.Agent(work, config, env={"OLLAMA_API_KEY": OPERATOR}) as agent:
        body = work / "body"
        body.write_bytes(harness.chat("glm-4.6"))
        decide(agent, 10000, body)
        time.sleep(3)       # in its first seconds a worker allocates what it then keeps, for SQLite and the first report
        before = agent.rss()
        decide(agent, 1000000, body)
        for _ in range(20):
            clients = [agent.client() for _ in range(50)]
            for client in clients:
                client.ask(body=harness.chat("glm-4.6"))
                client.close()
        after, (together, own) = agent.rss(), agent.memory()
        print("\nresident: worker %d KB, after a million decisions %d KB; with the master %d KB, of it %d KB of no file" % (
            before >> 10, after >> 10, together >> 10, own >> 10))
        assert after - before < 1 << 20
        assert together < 16 << 20
        assert own < 6 << 20        # the rest is pages of libraries, of which the kernel maps as many as it likes


def test_a_worker_that_cannot_have_the_ledger(work):
    """Log lines wait in the sockets until a worker can open the ledger, even over an upgrade; a worker that waits still ends in order."""
    logs, ledger, away = ("127.0.0.1", harness.free_port()), work / "ledger", work / "away"
    maker = loglines.Maker(seed=5)
    ledger.mkdir()

    def lose():
        """Puts a file in the place of the ledger's directory."""
        ledger.rename(away)
        ledger.write_text("")

    def waits():
        return len(agent.lines("event=ledger_waits"))
    config = {"routes": [], "ledger": str(ledger), "log_listen": "udp@%s:%d" % logs}
    with harness.Agent(work, config, env={"SPOA_LLM_LOG_KEY": LOG_KEY}) as agent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as haproxy:
        def record():
            haproxy.sendto(harness.log_line(maker.one().fields, LOG_KEY), logs)
        record()
        harness.until(lambda: rows(ledger) == 1, 10, lambda: "the first record\n" + agent.process.tail())
        lose()
        os.kill(agent.pid, signal.SIGKILL)
        harness.until(waits, 10, "the worker waits for the ledger")
        assert agent.ask(body=harness.chat("x"))["deny"] is False
        record()
        agent.upgrade()
        record()
        time.sleep(0.2)
        ledger.unlink()
        away.rename(ledger)
        harness.until(lambda: rows(ledger) == 3, 10, lambda: "%d records\n%s" % (rows(ledger), agent.process.tail()))
        lose()
        os.kill(agent.pid, signal.SIGKILL)
        before = waits()
        harness.until(lambda: waits() > before, 10, "the next worker waits for the ledger")
        record()
        time.sleep(0.2)
        assert agent.process.end() == 0


def test_nothing_waits_for_a_job_of_the_admin_server(work):
    """A job that hangs on a disk delays neither a handover, nor an answer to HAProxy, nor the end of the agent."""
    logs = "127.0.0.1:%d" % harness.free_port()
    journal = work / "ledger" / "ledger.db-journal"
    config = {"routes": [], "ledger": str(work / "ledger"), "log_listen": "udp@" + logs, "watchdog": 3}

    def hang():
        """Makes a job of the admin server hang: SQLite opens `journal` with the database, and `journal` is a pipe into which nobody writes."""
        os.mkfifo(journal)
        with pytest.raises(TimeoutError):
            agent.http(path="/savings", timeout=1)
        journal.unlink()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as haproxy:
            haproxy.sendto(harness.log_line(maker.one().fields, LOG_KEY), ("127.0.0.1", int(logs.rpartition(":")[2])))

    def record(count):
        """Waits for record `count`: then the writer has opened the database, and does not look for a journal any more."""
        send()
        harness.until(lambda: rows(work / "ledger") == count, 10, lambda: "record %d\n%s" % (count, agent.process.tail()))
    maker = loglines.Maker(seed=1)
    (work / "ledger").mkdir()
    with harness.Agent(work, config, env={"SPOA_LLM_LOG_KEY": LOG_KEY}) as agent, agent.client() as client:
        record(1)
        old = agent.pid
        hang()
        agent.upgrade()
        assert client.ask(body=harness.chat("x"))["deny"] is False and agent.pid != old and not agent.lines("event=admin_left")
        harness.until(lambda: old not in harness.children_of(agent.process.pid), 5, "the old worker is gone")
        record(2)
        hang()
        send()
        assert agent.process.end() == 0 and agent.lines("event=admin_left") and not agent.lines("event=worker_(stuck|crashed)")
    assert rows(work / "ledger") == 3


def test_a_master_that_reads_nothing_holds_no_reload_up(work):
    """The worker sends the master three messages for each reload. They fill the socket between the two; from then on messages are lost, but no
    reload waits."""
    with harness.Agent(work, {"routes": []}) as agent, agent.client() as client:
        worker = agent.pid

        def reload(count):
            os.kill(worker, signal.SIGHUP)
            harness.until(lambda: agent.http(path="/stats").json()["reloads"] == count, 10, "reload %d" % count)
        os.kill(agent.process.pid, signal.SIGSTOP)
        count = 0
        while not agent.lines("event=master_deaf"):
            count += 1
            assert count < 1000
            reload(count)
        began = time.monotonic()
        reload(count + 1)
        assert time.monotonic() - began < 3 * harness.SLOW
        assert client.ask(body=harness.chat("x"))["deny"] is False
        assert len(agent.lines("event=master_deaf")) == 1
        os.kill(agent.process.pid, signal.SIGCONT)
        # The master goes on: it gets the messages that fitted into the socket, and all later ones.
        reload(count + 2)
        agent.upgrade()
        assert client.ask(body=harness.chat("x"))["deny"] is False
        assert not agent.lines("event=worker_(stuck|crashed)|control_failed")


@pytest.mark.parametrize("threads, limit, said", [
    (200, 100, "200 threads need 664 open files at least, and the limit is 100"), (2, 67, "2 threads need 70 open files at least, and the limit is 67"),
    *((2, limit, "the agent needs 67 open files at least, and the limit is %d" % limit) for limit in (4, 5, 7, 9, 10, 12, 16, 40, 66))])
def test_a_limit_of_open_files_that_is_too_low(work, threads, limit, said):
    """However low it is, the log says what is needed, and nothing aborts. (With fewer than four the C library does not load.)"""
    file = harness.write_config(work, {"routes": [], "threads": threads, "listen": "unix@%s/a.sock" % work})
    run = harness.run("run", "-c", file, before=["bash", "-c", 'ulimit -n %d; exec "$@"' % limit, "sh"], text=True,
                      env=harness.environment({"SPOA_LLM_ADMIN_LISTEN": "none"}), timeout=20)
    assert run.returncode == 69 and said in run.stderr and "ulimit -n" in run.stderr, run


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_process_of_its_user_cannot_look_into_it(work):
    """Neither master nor worker lets a process of the same user read its environment, which holds credentials."""
    user = 65534
    os.chmod(work, 0o711)
    os.mkdir(work / "sockets")
    os.chown(work / "sockets", user, user)
    file = harness.write_config(work, {"routes": [], "listen": "unix@%s/sockets/a.sock" % work})
    log = open(work / "agent.log", "wb")
    agent = harness.start("run", "-c", file, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user,
                          env=harness.environment({"SPOA_LLM_ADMIN_LISTEN": "none", "CREDENTIAL": "x"}))
    try:
        harness.until(lambda: harness.accepting("unix@%s/sockets/a.sock" % work), 10, "the agent accepts connections")
        for pid in [agent.pid] + harness.children_of(agent.pid):
            look = subprocess.run(["cat", "/proc/%d/environ" % pid], capture_output=True, user=user)
            assert look.returncode != 0 and b"CREDENTIAL" not in look.stdout, look
        other = subprocess.Popen(["sleep", "60"], user=user, env={"CREDENTIAL": "x"})
        try:
            assert b"CREDENTIAL" in subprocess.run(["cat", "/proc/%d/environ" % other.pid], capture_output=True, user=user).stdout
        finally:
            other.kill()
            other.wait()
    finally:
        agent.terminate()
        log.close()
        assert agent.wait(10 * harness.SLOW) == 0
