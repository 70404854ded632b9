"""The file of clients and its keys: what the agent decides about a request with a key, and how it reads the file again."""
import json
import os
import re
import signal

import pytest

import keys
from harness import Agent, cli, secret, until
from test_memory import sanitized

ALICE, OLD, BOB, CAROL, STRANGER = (keys.key(name) for name in ("alice's key", "alice's old key", "bob's key", "carol's key", "nobody's key"))

ROUTES = [{"name": "gpt", "model_prefix": "gpt-", "upstream": "http://127.0.0.1:9", "models": ["gpt-5", "gpt-6"]},
          {"name": "claude", "model_prefix": "claude-", "upstream": "http://127.0.0.1:9", "models": ["claude-5"]}]


def everybody():
    return [keys.entry("alice", ALICE, (OLD, "2020-01-01T00:00:00Z"), project="search"),
            keys.entry("bob", BOB, models=["gpt-5"], routes=["gpt", "claude"]),
            keys.entry("carol", CAROL, enabled=False)]


@pytest.fixture
def file(tmp_path):
    keys.write(tmp_path / "clients.json", everybody())
    return tmp_path / "clients.json"


def start(file, env=None, **more):
    return Agent(file.parent, dict({"clients": str(file), "routes": ROUTES}, **more), env=env)


FORGED = {"client": "forged", "project": "forged"}


def test_a_key_says_who_asks(file):
    rows = [
        # key, more, code or None, client and project in the log line
        (None, {}, None, ("forged", "forged")),
        (ALICE, {}, None, ("alice", "search")),
        (ALICE, {"body": '{"model":"anything"}'}, None, ("alice", "search")),
        (BOB, {}, None, ("bob", "")),
        (BOB, {"body": '{"model":"gpt-6"}'}, (403, "model_not_allowed"), ("bob", "")),
        (BOB, {"body": '{"model":"claude-5"}'}, (403, "model_not_allowed"), ("bob", "")),
        (BOB, {"body": "{}"}, (403, "model_not_allowed"), ("bob", "")),
        (OLD, {}, (401, "invalid_api_key"), ("alice", "search")),
        (CAROL, {}, (401, "invalid_api_key"), ("carol", "")),
        (STRANGER, {}, (401, "invalid_api_key"), ("", "")),
        (STRANGER, {"body": "{"}, (401, "invalid_api_key"), ("", "")),
        (ALICE, {"keys_differ": True}, (400, "ambiguous_api_key"), ("", "")),
        (ALICE, {"guard": False}, (503, "contract_outdated"), ("forged", "forged")),
        (None, {"guard": None}, (503, "contract_outdated"), ("forged", "forged")),
        (ALICE, {"key": keys.sha256(ALICE)[:31]}, (401, "invalid_api_key"), ("", "")),
        (ALICE, {"key": keys.sha256(ALICE) + b"\0"}, (401, "invalid_api_key"), ("", "")),
        (ALICE, {"key": keys.sha256(ALICE).hex()}, (401, "invalid_api_key"), ("", "")),
    ]
    with start(file) as agent, agent.client() as haproxy:
        for key, more, refused, (client, project) in rows:
            got = haproxy.ask(**keys.ask(key, **dict(FORGED, **more)))
            line = json.loads("{" + got["line"][1:] + "}")
            assert (got["deny"], (got["status"], got["code"]) if refused else None) == (bool(refused), refused), (more, got)
            assert (line["client"], line["project"]) == (client, project), (more, line)
            assert ("keyed" in line) == (key in (ALICE, BOB) and (not refused or refused[0] == 403)), (more, line)
            assert ("backend" in got) == (not refused), got
        # The log names the client of a key, good or not, and nobody who is named by headers alone.
        told = {re.search(' client=("?)(.*?)\\1 problem="(.*?)"', line).group(2, 3) for line in agent.lines("event=refused")}
        assert told == {("bob", "the client may not use this model"), ("bob", "the client may not use this route"), ("alice", "the key expired"),
                        ("carol", "the key's client is disabled"), ("", "no client has the key"), ("", "two different keys of clients"),
                        ("", "HAProxy's rules about clients' keys are off: set LLM_CLIENTS for HAProxy")}, told
        metrics = agent.http(path="/metrics").text
        assert re.search(r'spoa_llm_refusals_total\{code="invalid_api_key",status="401"\} [1-9]', metrics)


def test_rules_about_keys_that_are_off_are_told(file):
    """Every request is refused then: the check `contract` and its alert say so until a request with the rules comes, and as long as it does at least."""
    def check(agent):
        [one] = [one for one in agent.http(path="/readyz").json()["checks"] if one["part"] == "contract"]
        return one
    with start(file) as agent, agent.client() as haproxy:
        for _ in range(3):
            assert haproxy.ask(**keys.ask(None, guard=None))["code"] == "contract_outdated"
        until(lambda: not check(agent)["ok"], 5, lambda: check(agent))
        assert check(agent)["detail"].startswith("3 requests were refused, because the agent has clients, and HAProxy's rules about their keys are off: set LLM_CLIENTS=on"), check(agent)
        [alert] = until(lambda: [one for one in agent.http(path="/stats").json()["alerts"] if one["name"] == "SpoaLlmContractOutdated"], 5, "the alert")
        assert "keys are off" in alert["what"] and "set it to on or required" in alert["advice"], alert
        assert "spoa_llm_contract_outdated_total 0\n" in agent.http(path="/metrics").text
        haproxy.ask(**keys.ask(ALICE))
        until(lambda: check(agent) == {"part": "contract", "ok": True, "blocking": False, "detail": "HAProxy's files fit the agent"}, 15, lambda: check(agent))


def test_rules_about_keys_without_clients_are_told(tmp_path):
    """Who brings a key is refused then. What is refused while there are clients is not counted."""
    def check(agent):
        [one] = [one for one in agent.http(path="/readyz").json()["checks"] if one["part"] == "contract"]
        return one
    clients = tmp_path / "clients.json"
    keys.write(clients, everybody())
    with Agent(tmp_path, {"routes": ROUTES, "clients": str(clients)}) as agent, agent.client() as haproxy:
        assert haproxy.ask(**keys.ask(STRANGER))["code"] == "invalid_api_key"
        assert check(agent)["ok"], check(agent)
        agent.file.write_text(agent.file.read_text().replace('"clients"', '"prices"').replace(str(clients), ""))
        agent.process.kill(signal.SIGHUP)
        agent.log("event=reloaded")
        assert check(agent)["ok"], check(agent)
        haproxy.ask(**keys.ask(None))
        for _ in range(2):
            assert haproxy.ask(**keys.ask(ALICE))["code"] == "invalid_api_key"
        until(lambda: not check(agent)["ok"], 5, lambda: check(agent))
        assert check(agent)["detail"].startswith("2 requests were refused (401 invalid_api_key), because HAProxy looks for keys of clients, and the agent has none: set LLM_CLIENTS=off"), check(agent)
        [alert] = until(lambda: [one for one in agent.http(path="/stats").json()["alerts"] if one["name"] == "SpoaLlmContractOutdated"], 5, "the alert")
        assert "the agent has none" in alert["what"] and "set it to off" in alert["advice"], alert
        haproxy.ask(**keys.ask(None))
        until(lambda: check(agent)["ok"], 15, lambda: check(agent))


def test_require_client(file):
    with start(file, require_client=True) as agent, agent.client() as haproxy:
        for more in ({}, {"body": "{"}, {"method": "GET", "path": "/v1/models", "body": None}, {"method": "DELETE", "path": "/v1/files/f", "body": None}):
            got = haproxy.ask(**keys.ask(**more))
            assert (got["status"], got["code"]) == (401, "invalid_api_key") and "backend" not in got and "answer" not in got, got
        assert haproxy.ask(**keys.ask(ALICE))["deny"] is False
        # A browser's preflight needs none, unless it has a body, which HAProxy may see late.
        preflight = {"method": "OPTIONS", "preflight": True, "body": None}
        assert haproxy.ask(**keys.ask(**preflight))["deny"] is False
        for more in ({"body": "{}"}, {"buffered": 2}, {"length": 2}):
            assert haproxy.ask(**keys.ask(**dict(preflight, **more)))["code"] == "invalid_api_key", more


def test_a_preflight_without_a_key_gets_no_credential(file):
    released = {"auth": "env:K", "paths": ["/v1/files"]}
    routes = [dict(released, path_prefix="/v1/files", upstream="http://127.0.0.1:9"), {"path_prefix": "/v1/own", "upstream": "http://127.0.0.1:9"},
              {"path_prefix": "/v1/skills", "upstream": "https://files.test", "client_cert": "/c.pem", "paths": "any"},
              {"path_prefix": "/v1/batches", "pool": [dict(released, paths=["/v1/batches"], name="a", upstream="http://127.0.0.1:9")]}]
    preflight = {"method": "OPTIONS", "preflight": True, "body": None}
    for required in True, False:
        with start(file, require_client=required, routes=routes, env={"K": secret("operator")}) as agent, agent.client() as haproxy:
            for path in "/v1/files/f", "/v1/skills", "/v1/batches":
                got = haproxy.ask(**keys.ask(path=path, **preflight))
                assert (got["deny"], got.get("code")) == ((True, "invalid_api_key") if required else (False, None)), (path, got)
                assert ("auth_value" in got, "backend" in got) == (not required and path != "/v1/skills", not required), (path, got)
                assert not haproxy.ask(**keys.ask(ALICE, path=path, **preflight))["deny"], path
            assert not haproxy.ask(**keys.ask(path="/v1/own", **preflight))["deny"]


def test_a_websocket_may_name_other_models(file):
    socket = {"method": "GET", "upgrade": True, "body": None, "model_param": "gpt-5"}
    with start(file, websocket="allow") as agent, agent.client() as haproxy:
        live = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"      # the first message names the model
        hint = {"model_param": None, "model_hint": '{"model":"gpt-5"}'}                             # which the upstream does not read
        for path, more, refused in (("/v1/realtime", {}, False), ("/v1/responses", {}, True), (live, {}, True), ("/v1/realtime", hint, True),
                                    ("/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent", {}, True)):
            asked = {**socket, **more, "path": path}
            assert haproxy.ask(**keys.ask(ALICE, **asked))["deny"] is False
            got = haproxy.ask(**keys.ask(BOB, **asked))
            assert got["deny"] is refused and (not refused or got["code"] == "model_not_allowed"), got


def test_a_file_or_batch_may_name_other_models(file):
    batch = '{"model":"gpt-5","requests":[{"custom_id":"a","params":{"model":"gpt-6"}}]}'
    form = {"ctype": "application/x-www-form-urlencoded", "body": "model=gpt-5&file=x", "buffered": 18, "length": 18, "sized": True}
    asked = [{"path": "/v1/messages/batches", "body": batch}, *({"path": path, **form} for path in ("/v1/files", "/v1/uploads", "/v1/containers/c/files"))]
    with start(file) as agent, agent.client() as haproxy:
        for more in asked:
            assert not haproxy.ask(**keys.ask(ALICE, **more))["deny"], more
            got = haproxy.ask(**keys.ask(BOB, **more))
            assert (got["deny"], got["status"], got["code"]) == (True, 403, "model_not_allowed"), (more, got)
        agent.log('event=refused.* client=bob problem="another model than the named one could run, and the client may use only some"')


def test_a_model_where_the_upstream_need_not_look(file):
    vertex, named = "/v1/projects/p/locations/l/endpoints/%s", {"model_param": "gpt-5", "body": '{"prompt":{"id":"p"}}'}
    rows = [({"path": "/v1/responses", **named}, True), ({"path": "/v1/responses", "deployment_param": "gpt-5", "body": None}, True),
            ({"path": "/v1/responses", **named, "body": '{"model":"gpt-5"}'}, False), ({"path": "/v1/listen", **named}, False),
            ({"path": "/openai/deployments/gpt-5/chat/completions", "body": "{}"}, False), ({"path": vertex % "7:rawPredict"}, True),
            ({"method": "DELETE", "path": "/v1/files/f1"}, True), ({"method": "GET", "path": "/v1/responses/r1"}, True), ({"path": "/v1/batches"}, True),
            ({"path": "/v1/batches/"}, True), ({"path": "/v1/assistants"}, False),
            ({"path": vertex % "7/chat/completions"}, True), ({"path": vertex % "openapi/chat/completions"}, False),
            # Deepgram obeys its query's `model` and nothing else.
            ({"path": "/v1/listen"}, True), ({"path": "/v1/listen", "deployment_param": "gpt-5", "body": None}, True), ({"path": "/v1/listen", "model_param": "gpt-5"}, False),
            ({"path": "/v1/speak", "method": "GET", "upgrade": True, "deployment_param": "gpt-5", "body": None}, True),
            ({"path": "/v1/speak", "method": "GET", "upgrade": True, "model_param": "gpt-5", "body": None}, False),
            # Vertex AI's endpoints by other methods, of other operations, and in other spellings.
            ({"path": vertex % "7:predictLongRunning"}, True), ({"method": "PUT", "path": vertex % "7:rawPredict"}, True),
            ({"path": "/endpoints/openapi" + vertex % "7:rawPredict"}, True), ({"path": "/v1/projects/p/%6cocations/l/Endpoints/7/chat/completions"}, True),
            ({"path": "/v1/projects/p/x/../locations/l//endpoints/./7:rawPredict"}, True),
            # Batches in other spellings, and what names its model elsewhere.
            *(({"path": path}, True) for path in ("/v1/batche%73", "/v1/Batches", "/v1/batches//", "/v1/batches;x", "/v1/batches/.", "/v1/x/../batches", "/v1/realtime/client_secrets",
                                                  "/v1/realtime/calls", "/v1/evals", "/v1/evals/e/runs", "/model-invocation-job", "/v1/assistants/" + 1100 * "a")),
            ({"path": "/v1/threads/t/runs"}, False), ({"path": "/v1/fine_tuning/jobs"}, False)]
    with start(file) as agent, agent.client() as haproxy:
        for more, refused in rows:
            assert not haproxy.ask(**keys.ask(ALICE, **more))["deny"], more
            got = haproxy.ask(**keys.ask(BOB, **more))
            assert (got["deny"], got.get("code")) == ((True, "model_not_allowed") if refused else (False, None)), (more, got)


def test_other_spellings_of_what_runs_a_model_count(file):
    """Some upstreams obey a method in lower case, or decode and shorten a path: the ledger and budgets have to count what they answer."""
    counted = [{"method": "post"}, {"method": "PUT"}, *({"path": path} for path in (
        "/v1/chat/completion%73", "/v1//chat/completions", "/v1/x/../chat/./completions", "/V1/Chat/Completions", "/v1/chat;a=b/completions", "/v1/chat%2fcompletions", "/v1/" + 1100 * "a"))]
    free = [{"method": "GET"}, {"method": "OPTIONS"}, {"path": "/v1/files"}, {"path": "/v1/chat/completions/c1"}, {"path": "/v1/messages/count_token%73"}, {"path": "/v1/../.."}]
    with start(file) as agent, agent.client() as haproxy:
        for more in counted + free:
            got = haproxy.ask(**keys.ask(ALICE, **more))
            assert json.loads("{" + got["line"][1:] + "}")["metered"] == ("1" if more in counted else "0"), (more, got)


def test_a_client_sees_the_models_that_it_may_use(file):
    def models(answer):
        return [one.get("id", one.get("name")) for one in json.loads(answer).get("data") or json.loads(answer).get("models") or []]

    with start(file) as agent, agent.client() as haproxy:
        every = dict(method="GET", body=None)
        assert models(haproxy.ask(**keys.ask(ALICE, path="/v1/models", **every))["answer"]) == ["gpt-5", "gpt-6", "claude-5"]
        assert models(haproxy.ask(**keys.ask(BOB, path="/v1/models", **every))["answer"]) == ["gpt-5"]
        assert models(haproxy.ask(**keys.ask(BOB, path="/v1beta/models", **every))["answer"]) == ["models/gpt-5"]
        anthropic = json.loads(haproxy.ask(**keys.ask(BOB, path="/v1/models", anthropic_version=True, **every))["answer"])
        assert (anthropic["first_id"], anthropic["last_id"]) == ("gpt-5", "gpt-5")
        assert models(haproxy.ask(**keys.ask(BOB, path="/v1/models/gpt-5", **every))["answer"]) == []
        hidden = haproxy.ask(**keys.ask(BOB, path="/v1/models/gpt-6", **every))
        assert (hidden["status"], hidden["code"]) == (404, "model_not_found"), hidden


def part(agent):
    """What /readyz says of the clients, without what varies."""
    [check] = [one for one in agent.http(path="/readyz").json()["checks"] if one["part"] == "clients"]
    return check["ok"], re.search(r"clients.json:[\d:]+ [\w ]{14}|^\d+ clients with \d+ keys", check["detail"]).group()


def test_the_file_is_read_again(file):
    def allowed(key):
        return not haproxy.ask(**keys.ask(key))["deny"]

    with start(file) as agent, agent.client() as haproxy:
        agent.log("event=clients_loaded.*clients=3 keys=4 projects=1")
        keys.write(file, [keys.entry("dora", STRANGER)])
        until(lambda: allowed(STRANGER), 5, "the new client's key is good")
        assert not allowed(ALICE)
        # A file that cannot be used changes nothing, and says why, once.
        keys.write(file, '{"clients": [\n {"name": "x", "parallel": 0}]}')
        agent.log(r"event=clients_not_loaded .*clients.json:2:28: a whole number")
        assert allowed(STRANGER) and not allowed(ALICE)
        assert part(agent) == (False, "clients.json:2:28: a whole number") and "spoa_llm_check_ok{part=\"clients\",blocking=\"false\"} 0" in agent.http(path="/metrics").text
        file.unlink()
        agent.log("event=clients_not_loaded .*No such file")
        assert allowed(STRANGER)
        keys.write(file, everybody())
        until(lambda: allowed(ALICE), 5, "alice's key is good again")
        assert part(agent) == (True, "3 clients with 4 keys")
        assert len(agent.lines("event=clients_not_loaded")) == 2
        # A reload takes the file as it takes everything: as a whole, or nothing.
        keys.write(file, "[]")
        agent.process.kill(signal.SIGHUP)
        agent.log("event=reload_failed .*must be a JSON object")
        assert allowed(ALICE)
        keys.write(file, [keys.entry("bob", BOB)])
        agent.process.kill(signal.SIGHUP)
        agent.log("event=reloaded")
        assert allowed(BOB) and not allowed(ALICE)
        agent.upgrade()
        with agent.client() as again:
            assert not again.ask(**keys.ask(BOB))["deny"]


def test_a_start_needs_the_file_and_a_restart_does_not(file):
    keys.write(file, '{"clients": [{"nam": "x"}]}')
    done = cli("run", "-c", write(file, {"clients": str(file), "listen": "unix@%s/s" % file.parent}))
    assert done.code != 0 and "clients.json:1:15: a client has no" in done.err + done.out, done
    keys.write(file, everybody())
    with start(file, require_client=False) as agent:
        keys.write(file, "{")
        agent.log("event=clients_not_loaded")
        os.kill(agent.pid, signal.SIGKILL)
        until(lambda: len(agent.lines("event=ready")) == 2, 10, "another worker")
        agent.process.expected = True
        with agent.client() as haproxy:
            got = haproxy.ask(**keys.ask(ALICE))
            assert (got["status"], got["code"]) == (503, "gateway_unavailable"), got
            assert haproxy.ask(**keys.ask())["deny"] is False
            keys.write(file, everybody())
            until(lambda: not haproxy.ask(**keys.ask(ALICE))["deny"], 5, "alice's key is good again")


def write(file, config):
    path = file.parent / "config.json"
    path.write_text(json.dumps(config))
    return path


def test_options(file):
    for config, said in (({"require_client": True}, 'config.json:1:20: "require_client": this needs "clients"'),
                         ({"clients": "clients.json"}, 'config.json:1:13: "clients": an absolute path is expected'),
                         ({"clients": str(file.parent / "none")}, "No such file"), ({"clients": str(file.parent)}, "this is no file")):
        done = cli("check", "-c", write(file, config))
        assert done.code == 78 and said in done.err, done
    keys.write(file, [keys.entry("alice", ALICE, routes=["gtp"]), keys.entry("bob", (BOB, "2020-01-01T00:00:00Z"))])
    done = cli("check", "-c", write(file, {"clients": str(file), "routes": ROUTES}))
    assert "2 clients, 2 keys" in done.out and 'it may use the route "gtp", which does not exist' in done.out, done
    assert re.search(r"WARNING +client +bob .*no key that is still good", done.out), done
    keys.write(file, '{"clients": [{"nam": 1},\n {"name": "a", "enabled": 1}]}')
    found = json.loads(cli("check", "-c", write(file, {"clients": str(file)}), "--json").out)
    assert [(one["line"], one["column"]) for one in found["errors"]] == [(1, 15), (1, 14), (2, 27)], found


@pytest.mark.skipif(sanitized(), reason="sanitizers and valgrind bring an allocator of their own")
def test_a_hundred_thousand_clients(file):
    """What the worker keeps of them; how many instructions a look-up takes is counted by `make bench-instructions`."""
    keys.write(file, [])
    (file.parent / "ledger").mkdir()
    with start(file, ledger=str(file.parent / "ledger"), log_listen=["dgram@%s/log" % file.parent]) as agent:
        with agent.client() as haproxy:
            haproxy.ask(**keys.ask())
            before = agent.memory()[1]
            text = ",\n".join(json.dumps({"name": "client-%d" % i, "project": "project-%d" % (i % 100), "requests_per_minute": 60,
                                          "budget": {"usd": "10", "per": "month"}, "keys": [{"sha256": keys.sha256(str(i)).hex()}]})
                              for i in range(100000))
            keys.write(file, '{"clients": [%s]}' % text)
            agent.log("event=clients_loaded .*clients=100000 keys=100000 projects=100", seconds=20)
            # Until the ledger's thread has read what each has spent, requests that cost something are refused.
            until(lambda: haproxy.ask(**dict(keys.ask(), key=keys.sha256("77777")))["deny"] is False, 20, "a client of a hundred thousand is let in")
            used = agent.memory()[1] - before
            assert used < 64 << 20, used
