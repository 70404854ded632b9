"""LLM_LEDGER=off: HAProxy sends no records, and decides, forwards, cleans and refuses as it does with the ledger."""
import contextlib
import gzip
import json
import sqlite3
import threading

import pytest

import harness
import keys
import logs
import wire
from ledgers import LedgerGateway
from plaintap import TappedGateway
from test_check import findings
from test_client_keys import WEBSOCKET
from test_usage_capture import CHUNKED, EVENTS, Scripted, chunk, event, head, sized

OPERATOR, CLIENT = harness.secret("operator-off"), harness.secret("client-off")
# Of the log line: what only the ledger needs, and what differs between any two requests.
LEDGER_ONLY = {"ctype", "seen", "usage", "coding", "tier", "hb", "ha", "hs", "text", "comp"}
ITS_OWN = {"id", "src", "te", "in", "tr", "tw", "tc", "trs", "ta"}
USAGE_UNKNOWN = 4      # agent/ledger/record.h
ANSWER = json.dumps({"id": "c1", "choices": [{"message": {"content": "word " * 900}}], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}).encode()
KEY_IN_ANSWER = [("Set-Cookie", "session=1"), ("OpenAI-Organization", "acme"), ("x-llm-route", "forged"), ("X-Request-Id", "req_1"), ("Location", "/v1/files/1?key=abc&x=1")]


@pytest.fixture(scope="module")
def mocks():
    made = [Scripted("replaced"), Scripted("own")]
    yield made
    for mock in made:
        mock.close()


@pytest.fixture(scope="module")
def twins(haproxy, mocks):
    """(a gateway with the ledger, one without, who receives the log lines of both). The second one has a tap, through which nothing goes."""
    replaced, own = mocks
    config = {"routes": [{"model_prefix": "glm-", "upstream": replaced.url(), "auth": "env:OPERATOR"}, {"model_prefix": "unset-", "upstream": replaced.url(), "auth": "env:NOT_SET"},
                         {"model_prefix": "*", "upstream": own.url()}],
              "anthropic_target": own.url(), "openai_target": own.url(), "gemini_target": own.url()}
    with logs.Receiver() as receiver, logs.Receiver() as none, \
            harness.Gateway(haproxy, mocks, config, {"OPERATOR": OPERATOR}, owners={OPERATOR: [replaced]}, limits=receiver.environment) as on, \
            TappedGateway(haproxy, mocks, config, env={"OPERATOR": OPERATOR}, owners={OPERATOR: [replaced]}, limits=dict(none.environment, LLM_LEDGER="off")) as off:
        yield on, off, receiver, none


def form(model):
    body = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n%s\r\n--b--\r\n' % model.encode()
    return "POST", "/v1/audio/transcriptions", [("Content-Type", "multipart/form-data; boundary=b")], body


def post(target, body, *headers):
    return "POST", target, harness.JSON + list(headers or [("Authorization", "Bearer " + CLIENT)]), body if isinstance(body, bytes) else json.dumps(body).encode()


CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
LONG = {"messages": [{"role": "user", "content": "word " * 12000}]}
# A name, what the client sends, and what an upstream answers (None: as usual).
ODD = {
    "two models in a long body": (post(CHAT, b'{"model":"glm-1","a":"%s","model":"gpt-1","b":"%s"}' % (b"word " * 4000, b"word " * 4000)), None),
    "replaced": (post(CHAT, {"model": "glm-1"}), sized(ANSWER)),
    "passed on": (post(CHAT, {"model": "gpt-1"}), None),
    "the model behind a long body": (post(CHAT, dict(LONG, model="glm-1")), None),
    "a second model between the ends of a long body": (post(CHAT, dict(LONG, model="glm-1", tools=[{"model": "gpt-1"}], **{"x": LONG["messages"]})), None),
    "two models": (post(CHAT, b'{"model":"glm-1","model":"gpt-1"}'), None),
    "another model in the middle": (post(CHAT, b'{"model":"glm-1","a":"%s","model":"gpt-1","b":"%s"}' % (b"x " * 9000, b"y " * 9000)), None),
    "compressed": (post(CHAT, gzip.compress(b'{"model":"glm-1"}'), ("Content-Encoding", "gzip"), ("x-api-key", CLIENT)), None),
    "a form": (form("glm-1"), None),
    "no credential": (post(CHAT, {"model": "unset-1"}), None),
    "Anthropic's shape": (post(MESSAGES, {"model": "unset-1"}, ("x-api-key", CLIENT)), None),
    "a stream": (post(CHAT, {"model": "glm-1", "stream": True}), None),
    "Anthropic's stream": (post(MESSAGES, {"model": "glm-1", "stream": True}, ("x-api-key", CLIENT)), None),
    "a key in the query": (post(CHAT + "?key=%s&x=1" % CLIENT, {"model": "glm-1"}), None),
    "a key escaped twice": (post(CHAT + "?%256bey=1", {"model": "glm-1"}), None),
    "headers of ours": (post("/p/mine" + CHAT, {"model": "glm-1"}, ("x-llm-route", "forged"), ("X-Request-Id", "mine"), ("Cookie", "a=1"), ("OpenAI-Organization", "acme"), ("x-client", "me")), None),
    "the credential's traces": (post(CHAT, {"model": "glm-1"}), sized(ANSWER, ("Content-Type", "application/json"), *KEY_IN_ANSWER)),
    "an answer of the client's own": (post(CHAT, {"model": "gpt-1"}), sized(ANSWER, ("Content-Type", "application/json"), *KEY_IN_ANSWER)),
    "compressed answer": (post(CHAT, {"model": "glm-1"}), sized(gzip.compress(ANSWER), ("Content-Type", "application/json"), ("Content-Encoding", "gzip"))),
    "lines of JSON": (post("/api/chat", {"model": "glm-1"}), head(("Content-Type", "application/x-ndjson"), CHUNKED) + chunk(b'{"a":1}\n') + chunk(b'{"usage":{}}\n') + b"0\r\n\r\n"),
    "an error of the upstream": (post(CHAT, {"model": "glm-1"}), head(("Content-Type", "application/json"), ("Content-Length", 2), status="500 No") + b"{}"),
    "no HTTP": (post(MESSAGES, {"model": "glm-1"}, ("x-api-key", CLIENT)), b"nonsense\r\n\r\n"),
    "a switch of protocols": (post(CHAT, {"model": "glm-1"}), head(("Upgrade", "h2c"), ("Connection", "upgrade"), status="101 Switching")),
    "a WebSocket": (("GET", "/v1/realtime?model=glm-1", WEBSOCKET + [("Authorization", "Bearer " + CLIENT)], None), None),
    "nearly a WebSocket": (("POST", "/v1/realtime?model=glm-1", WEBSOCKET, b"x"), None),
    "CONNECT": (("CONNECT", "gw.test:443", [], None), None),
    "models": (("GET", "/v1/models", [("Authorization", "Bearer " + CLIENT)], None), None),
    "not HTTP": (("GET", CHAT, [("Content-Length", "x")], None), None),
}


def exchanged(gateway, mocks, name):
    """(what the client got, what the upstreams got, the log line) of ODD[name]."""
    (method, target, headers, body), answer = ODD[name]
    for mock in mocks:
        mock.script = (lambda _: iter([answer])) if answer else None
    before = len(gateway.haproxy.text())
    done = gateway.call(method, target, headers, body)
    line = harness.until(lambda: [json.loads(one) for one in gateway.haproxy.text()[before:].splitlines() if one.startswith("{")], 10, "a log line")[-1]
    for mock in mocks:
        mock.script = None
    got = done.status, sorted(pair for pair in done.headers if pair[0].lower() not in ("x-request-id", "date")), done.body
    sent = [(one.mock.name, one.method, one.path, sorted(pair for pair in one.headers if pair[0].lower() not in ("x-request-id", "x-client-request-id")), one.body) for one in done.seen]
    assert all(one.all("x-request-id") == [line["id"]] for one in done.seen) and done.all("x-request-id") in ([line["id"]], [])
    return got, sent, line


@pytest.mark.parametrize("name", ODD)
def test_off_is_as_on(twins, mocks, name):
    on, off, receiver, none = twins
    got, sent, line = exchanged(on, mocks, name)
    receiver.record(line["id"])
    again, sent_again, short = exchanged(off, mocks, name)
    assert again == got and sent_again == sent
    assert set(line) - set(short) == LEDGER_ONLY and set(short) < set(line)
    assert {key: value for key, value in short.items() if key not in ITS_OWN} == {key: line[key] for key in short if key not in ITS_OWN}
    assert not none.lines and not none.bad and not none.connections


def test_a_line_is_imported(twins, mocks, work):
    """`ledger import` takes a line without the members that only the ledger needs; what the request used is unknown."""
    _, off, _, _ = twins
    _, _, line = exchanged(off, mocks, "replaced")
    log = work / "haproxy.log"
    log.write_text(json.dumps(line) + "\n")
    done = harness.cli("ledger", "import", log, "-c", harness.write_config(work, {"ledger": str(work)}))
    assert done.code == 0, done
    with contextlib.closing(sqlite3.connect(work / "ledger.db")) as base:
        assert base.execute("select id, status, usage from requests").fetchall() == [(line["id"], 200, USAGE_UNKNOWN)]


def test_no_answer_is_held(twins, mocks):
    """The client gets what the upstream has sent of a JSON answer, and of the first event of Anthropic's stream. With the ledger HAProxy would wait for more of both."""
    _, off, _, _ = twins
    for target, kind, first in ((CHAT, ("Content-Type", "application/json"), b'{"usage":'), (MESSAGES, EVENTS, event("message_start", {"message": {}})[:30])):
        gate = threading.Event()

        def script(_, kind=kind, first=first, gate=gate):
            yield head(kind, CHUNKED) + chunk(first)
            yield gate
            yield chunk(b"the rest") + b"0\r\n\r\n"
        mocks[1].script = script
        try:
            with off.connect() as connection:
                connection.send(wire.request("POST", target, [("Host", "gw.test")] + harness.JSON, harness.chat("m", stream=True)))
                pieces = connection.pieces(connection.head(10), timeout=10)
                assert next(pieces) == first
                gate.set()
                assert b"".join(pieces) == b"the rest"
        finally:
            gate.set()
            mocks[1].script = None


def test_requests_without_a_record_are_counted(haproxy, make_mock):
    """Where there are no clients the agent knows of LLM_LEDGER=off by a default value in spoe.conf."""
    mock, admin = make_mock("unrecorded"), "127.0.0.1:%d" % harness.free_port()
    config = {"routes": [{"model_prefix": "*", "upstream": mock.url(), "auth": "env:LEDGER_KEY"}], "admin_listen": admin}
    with LedgerGateway(haproxy, [mock], config, limits={"LLM_LEDGER": "off"}) as gateway:
        gateway.call("POST", CHAT, harness.JSON, harness.chat("gpt-4.1")).only(mock)
        gateway.call("POST", MESSAGES, harness.JSON + [("Authorization", "Bearer sk-ant-" + CLIENT)], harness.chat("gpt-4.1")).only(mock)
        assert "spoa_llm_unrecorded_total 2" in harness.http(admin, path="/metrics").text.splitlines()


def test_a_budget_is_not_spent_unseen(haproxy, make_mock, work):
    """Without records nobody would know what was spent: clients with a budget or tokens a minute are refused, others are served; check, metrics and health say why."""
    mock, who = make_mock("spent"), {name: keys.key(name) for name in ("budget", "tokens", "project", "free", "rated")}
    file = work / "clients.json"
    keys.write(file, [keys.entry("budget", who["budget"], budget={"usd": 1, "per": "day"}), keys.entry("tokens", who["tokens"], tokens_per_minute=100000),
                      keys.entry("project", who["project"], project="search"), keys.entry("free", who["free"], requests_per_minute=100),
                      keys.entry("rated", who["rated"], requests_per_minute=1)],
               [{"name": "search", "budget": {"usd": 1, "per": "day"}}])
    admin = "127.0.0.1:%d" % harness.free_port()
    config = {"routes": [{"model_prefix": "*", "upstream": mock.url(), "auth": "env:LEDGER_KEY"}], "openai_target": mock.url(), "clients": str(file), "admin_listen": admin}
    with LedgerGateway(haproxy, [mock], config, limits={"LLM_CLIENTS": "on", "LLM_LEDGER": "off"}, owners={value: [] for value in who.values()}) as gateway:
        def ask(name, target=CHAT):
            return gateway.call("POST", target, harness.JSON + [("x-llm-key", who[name])], harness.chat("gpt-4.1", max_tokens=10))
        for name in ("budget", "tokens", "project"):
            ask(name).refused(503, "ledger_off", retry=False)
        ask("budget", MESSAGES).refused(503, "ledger_off", "anthropic", retry=False)
        gateway.call("POST", CHAT, harness.JSON + [("x-llm-key", keys.key("nobody"))], harness.chat("gpt-4.1")).refused(401, "invalid_api_key", retry=False)
        ask("free").only(mock)
        gateway.call("GET", "/v1/models", harness.JSON + [("x-llm-key", who["budget"])]).only(mock)    # costs nothing
        gateway.call("POST", CHAT, harness.JSON, harness.chat("gpt-4.1")).only(mock)
        checks = {one["part"]: one for one in harness.http(admin, path="/readyz").json()["checks"]}
        assert not checks["log_lines"]["ok"] and checks["log_lines"]["detail"].startswith("8 requests came from a HAProxy that sends no records (LLM_LEDGER=off)"), checks
        metrics = [line for line in harness.http(admin, path="/metrics").text.splitlines() if line.startswith("spoa_llm_unrecorded_total ") or 'code="ledger_off"' in line]
        assert sorted(metrics) == ['spoa_llm_refusals_total{code="ledger_off",status="503"} 4', "spoa_llm_unrecorded_total 8"], metrics
        done = harness.cli("status", "-c", gateway.agent.file, env=gateway.env)
        assert "LLM_LEDGER=on" in done.out, done
        # HAProxy counts by itself. Three, because a minute may end between two.
        assert 429 in [ask("rated").status for _ in range(3)]
        assert not gateway.rows()


LIMITED = {"clients": [{"name": "a", "keys": [], "budget": {"usd": 1, "per": "day"}}]}


@pytest.mark.parametrize("text, ledger, clients, state, said", [
    ("", True, {}, "ok", "is on"),
    ("", False, {}, "ok", "is on unless HAProxy's environment says otherwise, and the agent keeps no ledger"),
    ("LLM_LEDGER=on", False, {}, "warning", "makes records that nobody takes"),
    ("LLM_LEDGER=off", False, {}, "ok", "is off"),
    ("LLM_LEDGER=off", True, {}, "warning", "in which nothing arrives"),
    ("LLM_LEDGER=off", True, LIMITED, "problem", "refuses their requests (503 ledger_off)"),
    ("LLM_LEDGER=maybe", True, {}, "problem", "neither on nor off: HAProxy does not start")])
def test_whether_haproxy_sends_records_where_there_is_a_ledger(work, text, ledger, clients, state, said):
    file, config = work / "haproxy", {}
    file.write_text(text + "\n")
    if ledger:
        (work / "ledger").mkdir()
        config["ledger"] = str(work / "ledger")
    if clients:
        (work / "clients.json").write_text(json.dumps(clients))
        config["clients"] = str(work / "clients.json")
    found, _ = findings("-c", harness.write_config(work, config), "--haproxy", harness.EXAMPLE, "--haproxy", harness.SPOE_CONF, "--haproxy", file,
                        env={"LLM_CLIENTS": "on" if clients else "off", "SPOA_LLM_LOG_KEY": harness.secret("check-ledger")})
    [(is_state, told)] = [(is_state, told) for is_state, part, name, told in found if (part, name) == ("haproxy", "LLM_LEDGER")]
    assert is_state == state and said in told, told


def test_files_from_before_the_ledger_could_be_off(work):
    cfg = work / "haproxy.cfg"
    cfg.write_text(harness.EXAMPLE.read_text().replace("LLM_LEDGER", "LLM_OTHER"))
    for value, told in (("off", True), ("on", False), (None, False)):
        found, _ = findings("-c", harness.write_config(work, {}), "--haproxy", cfg, "--haproxy", harness.SPOE_CONF, env={"LLM_LEDGER": value} if value else {})
        said = [(state, text) for state, part, name, text in found if (part, name) == ("haproxy", "LLM_LEDGER") and "before" in text]
        assert [state for state, _ in said] == (["warning"] if told else []) and all("HAProxy sends records" in text for _, text in said), found
