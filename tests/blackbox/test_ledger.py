"""The ledger, from the client's request to the row in SQLite: each ended request is there once, with exactly its tokens and money, whatever
happens to the agent, HAProxy or the disk. The tests count independently of the agent, from the answers of the mocks."""
import collections
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

import harness
from harness import bearer
from ledgers import KEY, PRICES, LedgerGateway, Sockets, begun_stream, routes
from upstream import answer_for

NANO = {model: {name: round(value * 10 ** 12) for name, value in row.items()} for model, row in PRICES.items()}  # pico-dollars


def pico(model, tokens):
    """The price of these tokens in pico-dollars."""
    row = NANO[model]
    full = row["input_cost_per_token"]
    return (tokens["input"] * full + tokens["output"] * row["output_cost_per_token"]
            + tokens["cache_read"] * row.get("cache_read_input_token_cost", full)
            + tokens["cache_write"] * row.get("cache_creation_input_token_cost", full))


def nano(value):
    """Pico-dollars as nano-dollars, rounded half away from zero."""
    sign = -1 if value < 0 else 1
    return sign * ((abs(value) * 2 + 1000) // 2000)


@pytest.fixture
def mock(make_mock):
    made = make_mock("ledger")
    made.reset()
    return made


def usage_of(kind, at):
    """Returns usage as the API `kind` reports it, and the tokens that the ledger has to record for that usage."""
    inp, out, cached, written = 1000 + 7 * at, 50 + 3 * at, 11 * at, 5 * at
    if kind == "chat":
        return ({"prompt_tokens": inp + cached, "completion_tokens": out, "total_tokens": inp + cached + out,
                 "prompt_tokens_details": {"cached_tokens": cached}},
                dict(input=inp, output=out, cache_read=cached, cache_write=0))
    if kind == "responses":
        return ({"input_tokens": inp + cached, "input_tokens_details": {"cached_tokens": cached}, "output_tokens": out,
                 "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": inp + cached + out},
                dict(input=inp, output=out, cache_read=cached, cache_write=0))
    if kind == "messages":
        return ({"input_tokens": inp, "cache_creation_input_tokens": written, "cache_read_input_tokens": cached,
                 "output_tokens": out}, dict(input=inp, output=out, cache_read=cached, cache_write=written))
    return ({"promptTokenCount": inp + cached, "cachedContentTokenCount": cached, "candidatesTokenCount": out,
             "totalTokenCount": inp + cached + out}, dict(input=inp, output=out, cache_read=cached, cache_write=0))


KINDS = {"chat": ("/v1/chat/completions", "openai"), "responses": ("/v1/responses", "openai"),
         "messages": ("/v1/messages", "anthropic"), "gemini": ("/v1beta/models/%s:generateContent", "gemini")}


def answer_with(usage, kind, filler, first):
    """A JSON answer that has usage as its first or last member, and a text that looks like usage."""
    text = 'He said "usage": {"prompt_tokens": 999999} and "usageMetadata": {"promptTokenCount": 1}. ' + "x" * filler
    body = {"id": "r", "object": "answer", "choices": [{"message": {"role": "assistant", "content": text}}]}
    name = "usageMetadata" if kind == "gemini" else "usage"
    members = [(name, usage)] + list(body.items()) if first else list(body.items()) + [(name, usage)]
    return json.dumps(dict(members)).encode()


def test_a_day_in_small(haproxy, mock):
    """Requests of all families, answers with usage first and last in small and large bodies, projects, clients, refusals and upstream
    errors: each request's tokens and nano-dollars, and the totals, are right to the digit."""
    expected = {}

    def respond(request):
        wish = json.loads(request.header("x-stainless-wish"))
        if "status" in wish:
            return wish["status"], [("Content-Type", "application/json")], b'{"error":{"message":"no"}}'
        return 200, [("Content-Type", "application/json")], answer_with(wish["usage"], wish["kind"], wish["filler"], wish["first"])

    mock.respond = respond
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        at = 0
        for kind, (path, protocol) in KINDS.items():
            for model in ("gpt-l", "claude-l", "glm-l", "gemini-l", "free-l"):
                for filler, first in ((10, False), (10, True), (6000, False), (30000, False), (500000, False)):
                    at += 1
                    usage, tokens = usage_of(kind, at)
                    headers = [("X-Client", "tester-%d" % (at % 3))] if at % 2 else [("User-Agent", "codex_exec/0.1 (x)")]
                    prefix = "/p/team%20a" if at % 3 == 0 else ""
                    headers += [("X-Headroom-Project", "proj-%d" % (at % 2))] if at % 3 == 1 else []
                    target = prefix + (path % model if "%s" in path else path)
                    body = {"contents": []} if kind == "gemini" else {"model": model}
                    answer = gateway.post(target, body, list(bearer()) + headers + [
                        ("x-stainless-wish", json.dumps({"usage": usage, "kind": kind, "filler": filler, "first": first}))])
                    assert answer.status == 200
                    assert answer.only(mock).path == target[len(prefix):]
                    expected[answer.response.header("x-request-id")] = dict(
                        tokens, model=model, route=model[:-2], protocol=protocol, status=200, code="",
                        client="tester-%d" % (at % 3) if at % 2 else "codex",
                        project="team a" if prefix else "proj-%d" % (at % 2) if at % 3 == 1 else "")
        nothing = dict(input=0, output=0, cache_read=0, cache_write=0)
        for status in (400, 429, 500, 503):
            answer = gateway.ask("gpt-l", list(bearer()) + [("x-stainless-wish", json.dumps({"status": status}))])
            assert answer.status == status
            expected[answer.response.header("x-request-id")] = dict(nothing, model="gpt-l", route="gpt", status=status, code="")
        for model, body, status, code in (("lost-l", b'{"model":"lost-l"}', 502, "upstream_auth_unavailable"),
                                          ("", b'{"model":5}', 400, "invalid_model"), ("", b'{"model"', 400, "invalid_json")):
            answer = gateway.post("/v1/chat/completions", body)
            assert answer.status == status
            expected[answer.response.header("x-request-id")] = dict(nothing, model=model, status=status, code=code)
        rows = gateway.by_id(len(expected))
        assert set(rows) == set(expected)
        total = collections.Counter()
        for request_id, want in expected.items():
            row, model = rows[request_id], want["model"]
            for name, value in want.items():
                assert (row[name] or ("" if isinstance(value, str) else 0)) == value, (name, row, want)
            spent = any(want[name] for name in nothing)
            if model in NANO and spent:
                full = NANO[model]["input_cost_per_token"]
                cost = nano(pico(model, want))
                lacks = {"cache_read": "cache_read_input_token_cost", "cache_write": "cache_creation_input_token_cost"}
                price = "partial" if any(want[name] and key not in NANO[model] for name, key in lacks.items()) else "table"
                assert row["cost"] == cost and row["price_from"] == price, (row, want)
                cache = nano(want["cache_read"] * (full - NANO[model].get("cache_read_input_token_cost", full))
                             - want["cache_write"] * (NANO[model].get("cache_creation_input_token_cost", full) - full))
                assert row["saved_cache"] == cache, (row, want)
                if want["route"] == "gpt":
                    assert row["saved_routing"] == nano(pico("claude-l", want) - pico(model, want)), (row, want)
                total["cost"] += cost
            else:
                assert row["cost"] == 0 and row["price_from"] == ("unpriced" if spent else "none"), (row, want)
            assert row["usage_from"] == ("reported" if spent else "none"), (row, want)
            total["requests"] += 1
            total["refused"] += want["code"] != ""
            for name in nothing:
                total[name] += want[name]
        told = json.loads(harness.cli("savings", "--ledger", gateway.ledger_dir, "--since", "all", "--json").out)["totals"]
        for name in ("requests", "refused", "input", "output", "cache_read", "cache_write"):
            assert told[name] == total[name], (name, told, total)
        assert told["cost_nanodollars"] == total["cost"]
        # No file of the ledger holds a text that a model wrote.
        for path in gateway.ledger_dir.rglob("*"):
            if path.is_file():
                assert b"He said" not in path.read_bytes()


def test_streams(haproxy, mock):
    """The row of a stream has reported usage if the first event tells it; the rest is estimated, and the row says so. The row of a client
    that left says that too."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        ids = {}
        for kind, model in (("messages", "claude-l"), ("chat", "gpt-l"), ("responses", "gpt-l")):
            path, _ = KINDS[kind]
            answer = gateway.post(path, {"model": model, "stream": True, "max_tokens": 9})
            assert answer.status == 200 and b"data:" in answer.response.body
            ids[kind] = answer.response.header("x-request-id")
        mock.gate = threading.Event()
        connection, ids["left"] = begun_stream(gateway)
        connection.close()
        time.sleep(0.3)
        mock.gate.set()
        rows = gateway.by_id(4)
        message = rows[ids["messages"]]
        assert message["stream"] == 1 and message["input"] == 11 and message["usage_from"] in ("estimated", "reported")
        assert message["output"] > 0 and message["cost"] > 0
        for kind in ("chat", "responses"):
            assert rows[ids[kind]]["stream"] == 1 and rows[ids[kind]]["usage_from"] in ("estimated", "reported")
        assert rows[ids["left"]]["termination"].startswith("C")
        told = json.loads(harness.cli("savings", "--ledger", gateway.ledger_dir, "--since", "all", "--json").out)["totals"]
        assert told["estimated_requests"] == sum(row["usage_from"] == "estimated" for row in rows.values()) > 0


def test_a_line_without_the_key_is_dropped(haproxy, mock):
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        answer = gateway.ask("gpt-l")
        forged = json.dumps({"v": 1, "id": "forged", "te": 1, "status": 200, "ta": 1, "model": "gpt-l"})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as liar:
            for line in ("<134>1 - - - - - - " + forged, '<134>1 - - - - - [llm@32473 key="wrong"] ' + forged,
                         '<134>1 - - - - - [llm@32473 key="%s"] {"v":1}' % KEY,
                         '<134>1 - - - - - [llm@32473 key="%s"] \x00\xff{' % KEY):
                liar.sendto(line.encode("latin-1"), str(gateway.home / "log.dgram"))
        gateway.agent.log("event=log_line_foreign")
        gateway.agent.log("event=log_line_malformed")
        assert set(gateway.by_id(1)) == {answer.response.header("x-request-id")}


class Beside(LedgerGateway):
    """The agent is in the network of HAProxy."""
    before_agent = ()


@pytest.mark.parametrize("kind", ("unix@", "dgram@", "", "udp@"))
def test_one_way_is_enough(haproxy, mock, work, kind):
    """One way for the log lines is enough, of a unix socket or of TCP and UDP."""
    where = "%s/log" % work if kind in ("unix@", "dgram@") else "127.0.0.1:%d" % harness.free_port()
    with Beside(haproxy, [mock], {"routes": routes(mock)}, logs=[kind + where]) as gateway:
        ids = set()
        for _ in range(60):
            ids.add(gateway.ask("gpt-l").response.header("x-request-id"))
            time.sleep(.02)
        assert set(gateway.by_id(60)) == ids


class Load:
    """Sends requests at a rate, and keeps the id and status of each answer."""

    def __init__(self, gateway, rate, threads=8):
        self.gateway, self.stop = gateway, threading.Event()
        self.ids, self.statuses, self.lock = [], collections.Counter(), threading.Lock()
        self.pause = threads / rate
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection, due = None, time.monotonic()
        while not self.stop.is_set():
            due += self.pause
            time.sleep(max(0, due - time.monotonic()))
            try:
                connection = connection or self.gateway.connect()
                body = b'{"model":"gpt-l"}'
                connection.sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
                                        % (len(body), body))
                answer = connection.read()
            except (OSError, EOFError, ValueError, AssertionError):
                connection = None
                with self.lock:
                    self.statuses["broken"] += 1
                continue
            with self.lock:
                self.ids.append(answer.header("x-request-id"))
                self.statuses[answer.status] += 1

    def end(self, least):
        """Waits until more than `least` requests have been answered, which takes longer on a busy machine, and ends. Returns all ids."""
        harness.until(lambda: len(self.ids) > least, 60, lambda: "%d answers: %d, %s" % (least, len(self.ids), self.statuses), step=0.1)
        self.stop.set()
        for thread in self.threads:
            thread.join(10)
        return self.ids


def test_sigkill_under_load(haproxy, mock):
    """The agent is killed 20 times at 500 requests/s. The test keeps the sockets for log lines open, as systemd or the master would. HAProxy has room for 93 lines a
    thread in the queue of datagrams; of what it writes while no agent is there, the ring has the only copy of the rest. The connection by which the next agent
    gets them ends with that agent, so each agent lives until these lines are in the ledger (docs/savings.md says what is lost otherwise)."""
    sockets = Sockets()
    try:
        with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}, sockets=sockets) as gateway:
            load = Load(gateway, 500)
            for _ in range(20):
                for _ in range(2):      # the second time for lines that came while the queue was still full
                    missed = set(load.ids)
                    harness.until(lambda: missed <= set(gateway.ids()), 60, lambda: "%d lines" % len(missed - set(gateway.ids())), step=0.02)
                gateway.agent.process.kill(signal.SIGKILL)
                gateway.agent.process.wait()
                gateway.agent.process.file.close()
                harness.LIVE.remove(gateway.agent.process)
                gateway.start_agent()
            time.sleep(0.5)
            ids = load.end(1500)
            assert len(ids) == len(set(ids)), (len(ids), load.statuses)
            assert not load.statuses["broken"], load.statuses
            assert set(load.statuses) <= {200, 503}, load.statuses
            rows = gateway.by_id(len(ids), 60)
            missing = set(ids) - set(rows)
            assert not missing, "%d of %d are lost" % (len(missing), len(ids))
            assert set(rows) == set(ids)
            assert sum(row["code"] == "gateway_unavailable" for row in rows.values()) == load.statuses[503]
    finally:
        sockets.close()


def same_rows(gateway, ids, statuses):
    assert len(ids) == len(set(ids)), (len(ids), statuses)
    rows = gateway.by_id(len(ids), 60)
    assert not set(ids) - set(rows), "%d of %d are lost" % (len(set(ids) - set(rows)), len(ids))
    assert set(rows) == set(ids)
    return rows


def test_upgrades_lose_nothing(haproxy, mock):
    """5 upgrades at 500 requests/s: each ended request is in the ledger once, whichever worker received its log line."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        load = Load(gateway, 500)
        for _ in range(5):
            time.sleep(0.4)
            gateway.agent.upgrade()
        time.sleep(0.5)
        ids = load.end(1000)
        assert set(load.statuses) == {200}, load.statuses
        same_rows(gateway, ids, load.statuses)
        assert not gateway.agent.lines("event=(upgrade|handover)_failed")


def test_killed_workers_lose_nothing(haproxy, mock):
    """10 workers are killed at 500 requests/s. The master keeps the sockets for log lines open, and datagrams wait in them."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        load = Load(gateway, 500)
        for _ in range(10):
            time.sleep(0.7)      # the master would replace a worker that lived for a shorter time only after a delay
            old = gateway.agent.pid
            os.kill(old, signal.SIGKILL)
            harness.until(lambda: gateway.agent.pid != old, 10, gateway.agent.process.tail)
        time.sleep(0.5)
        ids = load.end(1000)
        assert set(load.statuses) <= {200, 503}, load.statuses
        rows = same_rows(gateway, ids, load.statuses)
        assert sum(row["code"] == "gateway_unavailable" for row in rows.values()) == load.statuses[503]


def test_haproxy_reloads_with_streams_in_flight(haproxy, mock):
    """5 reloads. The ring loses the log lines of streams that outlive a reload, but the datagrams bring them."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        ids, old = [], []
        for _ in range(5):
            mock.gate = threading.Event()
            streams = []
            for _ in range(4):
                connection = gateway.connect()
                body = json.dumps({"model": "claude-l", "stream": True}).encode()
                connection.sock.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                data = b""
                while b"message_start" not in data:
                    data += connection.sock.recv(65536)
                ids.append(re.search(rb"(?i)x-request-id: (\S+)", data).group(1).decode())
                streams.append(connection)
            before = gateway.haproxy
            gateway.haproxy = harness.Process(
                "haproxy", [gateway.haproxy_binary, "-db", "-f", str(gateway.cfg), "-sf", str(before.pid)],
                gateway.dir / "haproxy2.log", harness.environment(gateway.haproxy_env))
            old.append(before)
            time.sleep(0.5)
            ids.append(gateway.ask("gpt-l").response.header("x-request-id"))
            mock.gate.set()
            for connection in streams:
                while b"message_stop" not in data[-400:] and (data := connection.sock.recv(65536)):
                    pass
                data = b""
                connection.close()
        rows = gateway.by_id(len(ids), 30)
        assert set(rows) == set(ids)
        for process in old:
            process.end(signal.SIGINT)


def test_a_locked_database(haproxy, mock):
    """The database is locked for 10 s. Meanwhile decisions take no longer, and afterwards no record is missing."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        ids = [gateway.ask("gpt-l").response.header("x-request-id")]
        gateway.by_id(1)
        base = sqlite3.connect(gateway.ledger_dir / "ledger.db", isolation_level=None)
        base.execute("begin immediate")
        end, slowest = time.monotonic() + 10, 0
        while time.monotonic() < end:
            begun = time.monotonic()
            answer = gateway.ask("gpt-l")
            slowest = max(slowest, time.monotonic() - begun)
            assert answer.status == 200
            ids.append(answer.response.header("x-request-id"))
            time.sleep(0.01)
        gateway.agent.log("event=ledger_behind")
        base.execute("rollback")
        base.close()
        rows = gateway.by_id(len(ids), 20)
        assert set(rows) == set(ids)
        assert slowest < 2
        gateway.agent.log("event=ledger_ok")


def test_a_replayed_journal_is_released(haproxy, mock):
    """Records that the last worker could not store are stored by the next worker and then leave the journal, without a further request."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        gateway.ask("gpt-l")
        gateway.by_id(1)
        base = sqlite3.connect(gateway.ledger_dir / "ledger.db", isolation_level=None)
        base.execute("begin immediate")
        for _ in range(20):
            gateway.ask("gpt-l")

        def journal():
            return json.loads(gateway.agent.http(path="/stats").text)["ledger"]["journal_bytes"]
        harness.until(lambda: journal() > 1000, 10, "the records are in the journal")
        old = gateway.agent.pid
        os.kill(old, signal.SIGKILL)
        base.execute("rollback")
        base.close()
        assert len(gateway.by_id(21)) == 21
        # Only the segment that is being written may remain.
        harness.until(lambda: journal() < 1000, 10, lambda: "%d bytes in the journal" % journal())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk(haproxy, mock):
    """Another program fills the disk of journal and database. The records of that time are not missing afterwards."""
    directory = harness.workdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(directory)], stderr=subprocess.PIPE)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted: %s" % mounted.stderr.decode().strip())
    try:
        with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}, ledger=directory) as gateway:
            ids = [gateway.ask("gpt-l").response.header("x-request-id") for _ in range(20)]
            gateway.by_id(len(ids))
            filler = os.open(directory / "filler", os.O_WRONLY | os.O_CREAT)
            try:
                while os.write(filler, b"x" * 4096):
                    pass
            except OSError:
                pass
            os.close(filler)
            for _ in range(300):
                answer = gateway.ask("gpt-l")
                assert answer.status == 200
                ids.append(answer.response.header("x-request-id"))
            gateway.agent.log("event=(ledger_failing|journal_failing)", 20)
            os.unlink(directory / "filler")
            rows = gateway.by_id(len(ids), 30)
            assert set(rows) == set(ids)
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=False)


def test_a_corrupt_database(haproxy, mock):
    """The agent leaves the corrupt file as it is, for a person to look at. The journal keeps the records until the file is moved away."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        path = gateway.ledger_dir / "ledger.db"
        gateway.ask("gpt-l")
        gateway.by_id(1)
        gateway.agent.process.end()
        for extra in ("-wal", "-shm"):
            pathlib.Path(str(path) + extra).unlink(missing_ok=True)
        path.write_bytes(b"this is no database " * 1000)
        gateway.start_agent()
        ids = []
        for _ in range(20):
            answer = gateway.ask("gpt-l")
            assert answer.status == 200
            ids.append(answer.response.header("x-request-id"))
        gateway.agent.log("event=ledger_failing")
        assert path.read_bytes() == b"this is no database " * 1000, "the agent changed the corrupt file"
        path.rename(gateway.home / "kept.db")
        rows = gateway.by_id(20, 30)
        assert set(rows) == set(ids)
        gateway.agent.log("event=ledger_ok")


def test_prices_are_reloaded(haproxy, mock):
    """SIGHUP reloads the prices. If the price file cannot be read, the old prices and the whole old configuration stay in force."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        prices = gateway.home / "prices.json"

        def cost_of_one():
            request_id = gateway.ask("gpt-l").response.header("x-request-id")
            harness.until(lambda: request_id in {row["id"] for row in gateway.rows()}, 10, "the row")
            row = {row["id"]: row for row in gateway.rows()}[request_id]
            assert row["input"] == 11 and row["output"] == 7
            return row["cost"]

        first = cost_of_one()
        assert first == nano(11 * NANO["gpt-l"]["input_cost_per_token"] + 7 * NANO["gpt-l"]["output_cost_per_token"])
        prices.write_text(json.dumps({"gpt-l": {"input_cost_per_token": 1e-6, "output_cost_per_token": 0}}))
        gateway.agent.process.kill(signal.SIGHUP)
        gateway.agent.log("event=reloaded")
        assert cost_of_one() == 11000
        prices.write_text("{")
        gateway.agent.process.kill(signal.SIGHUP)
        gateway.agent.log("event=reload_failed")
        assert cost_of_one() == 11000
        gateway.agent.process.check()


def test_more_than_the_queue_holds(haproxy, mock):
    """While the database is locked, more records come than the queue in memory holds. The agent reads the rest from the journal afterwards."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        ids = [gateway.ask("gpt-l").response.header("x-request-id")]
        gateway.by_id(1)
        base = sqlite3.connect(gateway.ledger_dir / "ledger.db", isolation_level=None)
        base.execute("begin immediate")
        with socket.socket(socket.AF_UNIX) as ring:
            ring.connect(str(gateway.home / "log.sock"))
            for at in range(9000):
                ids.append("made-%05d" % at)
                line = '<134>1 - - - - - [llm@32473 key="%s"] %s' % (KEY, json.dumps(
                    {"v": 1, "id": ids[-1], "te": int(time.time() * 1000), "status": 200, "ta": 1, "model": "gpt-l"}))
                ring.sendall(b"%d %s" % (len(line), line.encode()))
        gateway.agent.log("event=ledger_behind")
        base.execute("rollback")
        base.close()
        rows = gateway.by_id(len(ids), 30)
        assert set(rows) == set(ids)


def test_the_agent_is_stopped_and_started(haproxy, mock):
    """The records that were not in the database when the agent stopped are read from the journal when it starts."""
    with LedgerGateway(haproxy, [mock], {"routes": routes(mock)}) as gateway:
        gateway.ask("gpt-l")
        gateway.by_id(1)
        base = sqlite3.connect(gateway.ledger_dir / "ledger.db", isolation_level=None)
        base.execute("begin immediate")
        ids = [gateway.ask("gpt-l").response.header("x-request-id") for _ in range(50)]
        gateway.agent.log("event=ledger_behind")
        assert gateway.agent.process.end() == 0
        base.execute("rollback")
        base.close()
        gateway.start_agent()
        rows = gateway.by_id(51)
        assert set(ids) <= set(rows)
        done = harness.cli("ledger", "verify", "--ledger", gateway.ledger_dir)
        assert done.code == 0, done


assert answer_for   # test_streams expects the mocks' own answers
