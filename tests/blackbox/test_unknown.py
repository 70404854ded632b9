"""Requests whose tokens nobody reported: each is unknown, and neither free nor a guess, from the answer through HAProxy to the row, the report, the export,
the metrics and /stats. Requests that used no tokens are none."""
import csv
import io
import json
import re

import pytest

import harness
import wire
from harness import bearer, chat, until
from ledgers import LedgerGateway
from test_ends import of
from test_metrics import scrape

JSON = [("Content-Type", "application/json")]
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
COUNTS = ("input", "output", "cache_read", "cache_write")
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
# (model, path, status of the upstream, its answer, where the usage is from)
ANSWERS = [
    ("gpt-l", "/v1/chat/completions", 200, {"id": "c", "usage": USAGE}, "reported"),
    ("gpt-l", "/v1/chat/completions", 200, {"id": "c"}, "unknown"),
    ("gpt-l", "/v1/chat/completions", 201, {"id": "c"}, "unknown"),
    ("gpt-l", "/v1/chat/completions", 200, {"id": "c", "usage": None}, "unknown"),
    ("gpt-l", "/v1/responses", 200, {"id": "r", "status": "queued", "background": True, "usage": None}, "unknown"),
    ("gpt-l", "/v1/audio/speech", 200, b"\xff\xf3\x18\xc4", "unknown"),
    ("claude-l", "/v1/messages", 200, {"type": "message"}, "unknown"),
    ("gemini-l", "/v1beta/models/gemini-l:generateContent", 200, {"candidates": []}, "unknown"),
    ("claude-l", "/v1/messages/count_tokens", 200, {"input_tokens": 2095}, "none"),
    ("gemini-l", "/v1beta/models/gemini-l:countTokens", 200, {"totalTokens": 31}, "none"),
    ("gpt-l", "/v1/responses/input_tokens", 200, {"object": "response.input_tokens", "input_tokens": 11}, "none"),
    ("gpt-l", "/v1/fine_tuning/jobs", 200, {"id": "ftjob-1"}, "none"),
    # Things that an earlier request made, with the usage of that request, which counted.
    ("gpt-l", "/v1/chat/completions/chatcmpl-1", 200, {"object": "chat.completion", "usage": USAGE}, "none"),
    ("gpt-l", "/v1/responses/resp_1/cancel", 200, {"object": "response", "usage": USAGE}, "none"),
    ("gpt-l", "/v1/threads/t/runs/run_1", 200, {"object": "thread.run", "usage": USAGE}, "none"),
    ("gpt-l", "/openai/threads/t/runs/run_1/cancel", 200, {"object": "thread.run", "usage": USAGE}, "none"),
    ("gpt-l", "/v1/batches", 200, {"object": "batch", "usage": USAGE}, "none"),
    ("gpt-l", "/v1/batches/batch_1/cancel", 200, {"object": "batch", "usage": USAGE}, "none"),
    ("gemini-l", "/v1beta/interactions/i/cancel", 200, {"usage": {"total_input_tokens": 5, "total_output_tokens": 3}}, "none"),
    ("gpt-l", "/v1/threads/t/runs", 200, {"object": "thread.run", "usage": USAGE}, "reported"),
    ("gpt-l", "/v1/of/its/own", 200, {"usage": USAGE}, "reported"),
    ("gpt-l", "/v1/chat/completions", 429, {"error": {}}, "none"),
    ("gpt-l", "/v1/chat/completions", 500, {"error": {}}, "none"),
]


@pytest.fixture
def gateway(haproxy, make_mock):
    good, slow = make_mock("unknown"), make_mock("unknown-slow")
    routes = [{"model_prefix": "slow-", "upstream": slow.url()}, {"model_prefix": "dead-", "upstream": "http://127.0.0.1:1"},
              {"model_prefix": "*", "upstream": good.url()}]

    def edit(text):
        head, *blocks = re.split(r"(?m)^(?=backend )", text)
        return head + "".join(re.sub("timeout server .*", "timeout server 400ms", block) if ":%d\n" % slow.port in block else block for block in blocks)
    targets = {name + "_target": good.url() for name in ("openai", "anthropic", "gemini")}
    with LedgerGateway(haproxy, [good, slow], dict(targets, routes=routes, admin_listen="127.0.0.1:%d" % harness.free_port()), edit=edit) as one:
        one.good, one.slow = good, slow
        one.agent.admin = one.config["admin_listen"]
        until(lambda: harness.accepting(one.agent.admin), 5, "the admin server accepts")
        yield one
    good.reset()
    slow.reset()


def test_what_nobody_told(gateway):
    good, slow, wanted = gateway.good, gateway.slow, {}

    def note(exchange, usage):
        wanted[exchange.response.header("x-request-id")] = usage
    for model, path, status, body, usage in ANSWERS:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        good.respond = lambda _, status=status, raw=raw: (status, JSON if raw[:1] == b"{" else [("Content-Type", "audio/mpeg")], raw)
        exchange = gateway.post(path, {"model": model}, bearer())
        assert exchange.status == status
        note(exchange, usage)
    good.respond = lambda _: (200, JSON, json.dumps({"usage": USAGE}).encode())
    note(gateway.call("GET", "/v1/responses/resp_1", list(bearer())), "none")
    good.respond = None
    note(gateway.call("GET", "/v1/models", list(bearer())), "none")
    note(gateway.call("GET", "/v1/realtime?model=gpt-l", list(bearer()) + UPGRADE), "unknown")
    note(gateway.ask("dead-l"), "none")                     # it reached no upstream
    slow.delay = 5
    timed_out = gateway.ask("slow-l")
    assert timed_out.status == 504
    note(timed_out, "unknown")
    slow.reset()
    slow.raw = b""                                          # closes without an answer
    broken = gateway.ask("slow-m")
    assert broken.status == 502
    note(broken, "unknown")
    good.delay = 1                                          # the client leaves before the answer
    with gateway.connect() as connection:
        connection.send(wire.request("POST", "/v1/chat/completions", [("Host", "gw.test")] + harness.JSON, chat("left-l")))
        until(lambda: any(b"left-l" in request.body for request in good.requests), 5, "the upstream has the request")
    until(lambda: any(row["model"] == "left-l" for row in gateway.rows()), 10, "the row of the client that left")
    good.reset()
    good.down()
    good.up()                                               # so that no connection of before is used again
    before = good.connections
    with gateway.connect() as connection:                   # the client leaves while its body is sent on
        connection.send(wire.request("POST", "/v1/chat/completions", [("Host", "gw.test"), ("Content-Length", "100000000")] + harness.JSON,
                                     b'{"model":"part-l","messages":[{"content":"' + b"x" * 40000000))
        until(lambda: good.connections > before, 5, "the upstream is connected")
    rows = gateway.wait_rows(len(wanted) + 2)
    assert len(rows) == len(wanted) + 2
    got = {row["id"]: row["usage_from"] for row in rows if row["model"] not in ("left-l", "part-l")}
    assert got == wanted, {row["id"]: (row["status"], row["termination"], row["usage_from"], wanted.get(row["id"])) for row in rows
                           if row["usage_from"] != wanted.get(row["id"])}
    [left] = [row for row in rows if row["model"] == "left-l"]
    assert left["usage_from"] == "unknown" and left["termination"] == "CH", left
    [part] = [row for row in rows if row["model"] == "part-l"]
    assert part["usage_from"] == "unknown" and part["status"] != 200 and part["termination"][0] == "C", part
    for row in rows:
        counts = [row[name] for name in COUNTS]
        if row["usage_from"] == "unknown":
            assert counts == [None] * 4 and row["price_from"] == "none" and row["cost"] == 0
        elif row["usage_from"] == "none":
            assert counts == [0] * 4
    check_reports(gateway, rows)


def check_reports(gateway, rows):
    """Export, report, metrics and /stats say the same as the rows."""
    unknown = [row for row in rows if row["usage_from"] == "unknown"]
    ledger = ("--ledger", gateway.ledger_dir)
    for line in map(json.loads, harness.cli("ledger", "export", *ledger).out.splitlines()):
        if line["usage_from"] == "unknown":
            assert {name: line[name] for name in COUNTS + ("cost_nanodollars",)} == dict.fromkeys(COUNTS + ("cost_nanodollars",))
    for row in csv.DictReader(io.StringIO(harness.cli("ledger", "export", "--csv", *ledger).out, newline="")):
        if row["usage_from"] == "unknown":
            assert {row[name] for name in COUNTS + ("cost_usd", "saved_cache_usd")} == {""}
    report = json.loads(harness.cli("savings", "--json", *ledger).out)
    assert report["totals"]["unknown_requests"] == len(unknown)
    names = {row["model"] for row in unknown}
    assert {one["model"]: one["requests"] for one in report["unknown_models"]} == {
        name: sum(row["model"] == name for row in unknown) for name in names}
    text = re.sub(r"\s+", " ", harness.cli("savings", *ledger).out)
    assert "unknown %d nobody reported their tokens, so" % len(unknown) in text
    assert re.search(r"left-l 1 unknown unknown - ", text), text      # no row shows it as $0.00
    told = json.loads(gateway.agent.http(path="/stats").text)["ledger"]["usage_from"]
    kinds = ("none", "reported", "partial", "estimated", "unknown", "stream")
    assert told == {kind: sum(row["usage_from"] == kind for row in rows) for kind in kinds}

    def in_metrics():
        metrics = scrape(gateway.agent)
        name = "spoa_llm_model_unknown_requests_total"
        return (of(metrics, "spoa_llm_ledger_usage_records_total", usage_from="unknown") == len(unknown)
                and all(of(metrics, name, model=row["model"]) >= 1 for row in unknown) and of(metrics, name) == len(unknown))
    until(in_metrics, 15, "the metrics count them")
    assert "ok" in harness.cli("ledger", "verify", *ledger).out
