"""How requests end: what upstreams answered and how long that took, and the refusals that HAProxy finds by itself, in metrics, log, /stats and
the page, named with route and backend."""
import csv
import io
import json
import os
import re
import signal
import socket

import pytest

import harness
import keys
import wire
from harness import chat, until
from ledgers import LedgerGateway
from test_metrics import scrape

BOUNDS = ("0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "120", "300", "600", "+Inf")


@pytest.fixture
def gateway(haproxy, make_mock):
    """Routes to an upstream that answers, to one that takes too long, to one that is down, and to one that HAProxy has no backend for."""
    good, slow = make_mock("ends"), make_mock("ends-slow")
    routes = [{"model_prefix": "good-", "upstream": good.url()}, {"model_prefix": "slow-", "upstream": slow.url()},
              {"model_prefix": "dead-", "upstream": "http://127.0.0.1:1"}, {"model_prefix": "gone-", "upstream": "http://127.0.0.1:2"},
              {"model_prefix": "nokey-", "upstream": good.url(), "auth": "env:NOT_SET"}]

    def edit(text):
        head, *blocks = re.split(r"(?m)^(?=backend )", text)
        kept = [re.sub("timeout server .*", "timeout server 400ms", block) if ":%d\n" % slow.port in block else block for block in blocks
                if not block.startswith("backend llm-127.0.0.1:2\n")]
        assert len(kept) == len(blocks) - 1
        return head + "".join(kept)
    with LedgerGateway(haproxy, [good, slow], {"openai_target": good.url(), "routes": routes, "admin_listen": "127.0.0.1:%d" % harness.free_port()},
                       edit=edit) as one:
        one.good, one.slow = good, slow
        one.agent.admin = one.config["admin_listen"]
        until(lambda: harness.accepting(one.agent.admin), 5, "the admin server accepts")
        yield one
    good.reset()
    slow.reset()


def backend(mock):
    return "llm-127.0.0.1:%d" % mock.port


def of(metrics, name, **labels):
    wanted = set(labels.items())
    return sum(value for key, value in metrics.get(name, {}).items() if wanted <= set(key))


def test_how_requests_end(gateway):
    good, slow = gateway.good, gateway.slow
    for _ in range(5):
        gateway.ask("good-1").only(good)
    for status in (201, 302, 400, 429, 500, 503):
        good.respond = lambda _, status=status: (status, harness.JSON, b"{}")
        assert gateway.ask("good-1").status == status
    good.reset()
    assert gateway.ask("other").status == 200
    refused = {"dead": gateway.ask("dead-1"), "gone": gateway.ask("gone-1")}
    slow.delay = 1.2
    refused["slow"] = gateway.ask("slow-1")
    slow.reset()
    assert [refused[name].status for name in ("dead", "gone", "slow")] == [503, 502, 504]
    assert gateway.ask("nokey-1").status == 502     # refused by the agent
    good.break_after = 2
    with pytest.raises(wire.Cut):
        gateway.post("/v1/messages", chat("good-1", stream=True))
    good.reset()
    assert gateway.call("TRACE", "/v1/models").status == 405
    want = {("upstream_unavailable", "dead-", "llm-127.0.0.1:1"): 1, ("no_backend", "gone-", "llm-127.0.0.1:2"): 1,
            ("upstream_timeout", "slow-", backend(slow)): 1, ("method_not_allowed", "", ""): 1}
    name = "spoa_llm_haproxy_refusals_total"

    def found():
        metrics = scrape(gateway.agent)
        got = {tuple(dict(key)[label] for label in ("code", "route", "backend")): value for key, value in metrics.get(name, {}).items() if value}
        return metrics if got == want and of(metrics, "spoa_llm_upstream_answers_total") == 13 else None
    metrics = until(found, 10, lambda: "the refusals: %s" % scrape(gateway.agent).get(name))
    at = {"route": "good-", "backend": backend(good)}
    answers = {one: of(metrics, "spoa_llm_upstream_answers_total", **at, **{"class": one}) for one in ("1xx", "2xx", "3xx", "4xx", "5xx")}
    assert answers == {"1xx": 0, "2xx": 7, "3xx": 1, "4xx": 2, "5xx": 2}, answers
    assert of(metrics, "spoa_llm_upstream_answers_total", route="legacy", backend=backend(good)) == 1
    assert of(metrics, "spoa_llm_upstream_cut_answers_total", **at) <= 1    # 3.0 sometimes logs a client that left
    for histogram in ("spoa_llm_upstream_first_byte_seconds", "spoa_llm_upstream_duration_seconds"):
        buckets = [of(metrics, histogram + "_bucket", **at, le=bound) for bound in BOUNDS]
        assert buckets == sorted(buckets) and buckets[-1] == of(metrics, histogram + "_count", **at) == 12, buckets
        assert 0 <= of(metrics, histogram + "_sum", **at) < 60
    # The agent's own refusal is in its own counter, and only there.
    assert of(metrics, "spoa_llm_refusals_total", code="upstream_auth_unavailable") == 1 and of(metrics, "spoa_llm_refusals_total") == 1
    lines = [line for line in gateway.agent.text().splitlines() if " event=refused_by_haproxy " in line]
    assert len(lines) == len(want)
    for which, code in (("dead", "upstream_unavailable"), ("gone", "no_backend"), ("slow", "upstream_timeout")):
        id_ = refused[which].header("x-request-id")
        line = [line for line in lines if " id=%s " % id_ in line]
        assert len(line) == 1 and " code=%s route=%s- backend=llm-127.0.0.1:" % (code, which) in line[0] and " level=warn " in line[0], lines
        assert " model=%s-1 " % which in line[0]
    stats = gateway.agent.http(path="/stats").json()
    notes = {note["id"]: note for note in stats["refusals"]}
    assert [note["time"] for note in stats["refusals"]] == sorted((note["time"] for note in stats["refusals"]), reverse=True)
    note = notes[refused["dead"].header("x-request-id")]
    assert (note["code"], note["by"], note["route"], note["backend"], note["status"]) == (
        "upstream_unavailable", "haproxy", "dead-", "llm-127.0.0.1:1", 503), note
    assert {note["by"] for note in notes.values()} == {"agent", "haproxy"}
    assert stats["haproxy_refusals_by_code"]["no_backend"] == 1 and stats["refusals_by_code"]["no_backend"] == 0
    assert [one for one in stats["upstreams"] if one["route"] == "good-"][0]["answers"]["5xx"] == 2
    rows = gateway.by_id(18)
    assert rows[refused["gone"].header("x-request-id")]["code"] == "no_backend"
    # The report, of the same requests in the ledger.
    report = json.loads(harness.cli("upstreams", "-c", gateway.agent.file, "--json").out)["upstreams"]
    by = {(one["route"], one["backend"]): one for one in report}
    told = by["good-", backend(good)]
    assert told["answers"] == answers and 0 <= told["first_byte_ms"]["p50"] <= told["whole_ms"]["p95"] < 10000, told
    assert by["dead-", "llm-127.0.0.1:1"]["refused"]["upstream_unavailable"] == by["slow-", backend(slow)]["refused"]["upstream_timeout"] == 1
    assert by["gone-", "llm-refuse"]["refused"]["no_backend"] == 1 and by["dead-", "llm-127.0.0.1:1"]["first_byte_ms"]["p50"] is None
    text = harness.cli("upstreams", "-c", gateway.agent.file).out
    assert re.search(r"^good- +%s +7 +1 +2 +2 +[01] +0 " % re.escape(backend(good)), text, re.M), text
    assert re.search(r"^dead- +llm-127.0.0.1:1 +0 +0 +0 +0 +0 +1 +- +- +- +-$", text, re.M) and "no_backend 1, method_not_allowed 1" in text, text
    table = list(csv.DictReader(io.StringIO(harness.cli("upstreams", "-c", gateway.agent.file, "--csv").out)))
    assert {(line["route"], line["backend"]): line["5xx"] for line in table}["good-", backend(good)] == "2"
    assert "no upstream was asked" in harness.cli("upstreams", "-c", gateway.agent.file, "--until", "2020-01-01", "--since", "2019-01-01").out


@pytest.mark.parametrize("half", [True, False], ids=["half", "both"])
def test_a_client_that_leaves_is_no_failure_of_the_agent(gateway, haproxy, half):
    """It ends its side of the connection, or both, together with the request, so before the agent can be asked. HAProxy 3.0 notices that only when the
    request is on its way."""
    late = harness.version_of(haproxy) == (3, 0)
    with gateway.connect() as connection:
        connection.sock.send(wire.request("POST", "/v1/chat/completions", [("Host", "gw")], chat("good-1")), socket.MSG_MORE)
        connection.sock.shutdown(socket.SHUT_WR)
        if half and not late:
            harness.check_refusal(connection.read(), 400, "client_closed", "openai", retry=False)
        elif half:
            assert connection.read().status == 400
    [row] = gateway.wait_rows(1)
    assert (row["status"], row["code"]) == (400, "" if late else "client_closed") and (late or not gateway.good.requests), row
    assert of(scrape(gateway.agent), "spoa_llm_haproxy_refusals_total") == 0


def test_without_an_agent(gateway):
    """HAProxy refuses while the agent is stopped; its log lines wait, and the agent counts them when it goes on."""
    gateway.ask("good-1").only(gateway.good)
    gateway.agent.process.stop()
    for pid in harness.children_of(gateway.agent.process.pid):
        os.kill(pid, signal.SIGSTOP)
    try:
        answer = gateway.ask("good-1")
    finally:
        for pid in harness.children_of(gateway.agent.process.pid):
            os.kill(pid, signal.SIGCONT)
        gateway.agent.process.kill(signal.SIGCONT)
    answer.refused(503, "gateway_unavailable")
    until(lambda: of(scrape(gateway.agent), "spoa_llm_haproxy_refusals_total", code="gateway_unavailable") == 1, 10, "the refusal is counted")


def test_an_answered_second_question_is_no_refusal(gateway, haproxy):
    """On 3.x the agent is asked with a part of the body first, and then with all of it. What the second answer lets through was not refused."""
    # The head that is sent first ends within the model's name.
    answer = gateway.post("/v1/chat/completions", b'{"messages":"%s","model":"good-%s","b":"%s"}' % (b"x" * 8080, b"z" * 120, b"y" * 20000))
    assert answer.status == 200
    if harness.version_of(haproxy) >= (3, 0):
        assert of(scrape(gateway.agent), "spoa_llm_asked_for_more_total") == 1
    row = gateway.by_id(1)[answer.header("x-request-id")]
    assert (row["code"], row["route"], row["status"]) == ("", "good-", 200), row


def test_a_second_question_that_does_not_fit_is_refused_by_haproxy(haproxy, make_mock):
    """On 3.x the agent is asked with the ends of the body first, and asks for all of it, which fits no frame. Nobody else counts that refusal."""
    mock = make_mock("ends-frames")
    config = {"openai_target": mock.url(), "max_frame_size": 65536, "routes": [{"model_prefix": "good-", "upstream": mock.url()}],
              "admin_listen": "127.0.0.1:%d" % harness.free_port()}
    with LedgerGateway(haproxy, [mock], config) as one:
        one.agent.admin = config["admin_listen"]
        until(lambda: harness.accepting(one.agent.admin), 5, "the admin server accepts")
        one.post("/v1/chat/completions", b'{"messages":"%s"}' % (b"x" * 300000)).refused(413, "model_not_in_sample", retry=False)
        until(lambda: of(scrape(one.agent), "spoa_llm_haproxy_refusals_total", code="model_not_in_sample") == 1, 10, "HAProxy's refusal is counted")
        assert of(scrape(one.agent), "spoa_llm_asked_for_more_total") == (1 if harness.version_of(haproxy) >= (3, 0) else 0)


@pytest.mark.parametrize("mode", ["required", "on"])
def test_haproxy_wants_keys_of_an_agent_that_has_no_clients(haproxy, make_mock, mode):
    """With `required`, HAProxy refuses by itself whoever has no key, and the agent learns of it by the log lines."""
    mock = make_mock("ends")
    key = keys.key("nobody's")
    config = {"openai_target": mock.url(), "routes": [{"model_prefix": "*", "upstream": mock.url()}], "admin_listen": "127.0.0.1:%d" % harness.free_port()}

    def check():
        return [(one["ok"], one["detail"]) for one in gateway.agent.http(path="/readyz").json()["checks"] if one["part"] == "contract"]
    clients = harness.workdir() / "clients.json"
    keys.write(clients, [keys.entry("alice", keys.key("alice"))])
    with LedgerGateway(haproxy, [mock], dict(config, clients=str(clients)), limits={"LLM_CLIENTS": mode}) as gateway:
        gateway.agent.admin = config["admin_listen"]
        until(lambda: harness.accepting(gateway.agent.admin), 5, "the admin server accepts")
        # While there are clients, that is as it should be, and it is not counted later.
        refused = sum(gateway.ask("m").status == 401 for _ in range(2))
        until(lambda: of(scrape(gateway.agent), "spoa_llm_haproxy_refusals_total", code="invalid_api_key") == refused, 10, "the log lines arrive")
        until(lambda: check()[0][0], 5, check)
        file = gateway.agent.file
        file.write_text(json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != "clients"}))
        gateway.agent.process.kill(signal.SIGHUP)
        gateway.agent.log("event=reloaded")
        assert check()[0][0], check()
        assert gateway.ask("m").status == (401 if mode == "required" else 200)
        if mode == "on":
            assert check()[0][0]
            assert gateway.ask("m", headers=[("x-llm-key", key)]).status == 401
        until(lambda: not check()[0][0], 10, lambda: check())
        assert check()[0][1].startswith("1 requests were refused (401 invalid_api_key), because HAProxy looks for keys of clients, and the agent has none: set LLM_CLIENTS=off"), check()
