"""Budgets and tokens a minute, which the agent counts: what is in flight is reserved, and outlives workers."""
import concurrent.futures
import json
import os
import signal
import socket
import threading

import pytest

import keys
from exchange import check_refusal
from harness import JSON, SLOW, Agent, chat, secret, until, workdir
from ledgers import LedgerGateway
from test_client_keys import WEBSOCKET

WHO = ("ten", "twenty", "minute", "any", "priced", "other", "project one", "project two", "exact", "guess")
KEYS = {name: keys.key(name) for name in WHO}
PRICES = {"gpt-1": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5, "input_cost_per_token_above_200k_tokens": 2e-6},
          "gpt-2": {"input_cost_per_token": 0, "output_cost_per_token": 1e-5}}
# A request of chat() with max_tokens 100 is reserved about 1.01 million nano-dollars, and costs 81,000 (11 and 7 tokens).
CLIENTS = [keys.entry("ten", KEYS["ten"], budget={"usd": "0.0108", "per": "day"}),
           keys.entry("twenty", KEYS["twenty"], budget={"usd": "0.0216", "per": "month"}),
           keys.entry("minute", KEYS["minute"], tokens_per_minute=600), keys.entry("guess", KEYS["guess"], tokens_per_minute=600, project="small"),
           keys.entry("any", KEYS["any"], budget={"usd": 1, "per": "week"}, allow_unpriced=True),
           keys.entry("priced", KEYS["priced"], budget={"usd": 1, "per": "week"}),
           keys.entry("other", KEYS["other"]), keys.entry("exact", KEYS["exact"], budget={"usd": "0.001", "per": "month"}),
           keys.entry("project one", KEYS["project one"], project="search"), keys.entry("project two", KEYS["project two"], project="search")]
PROJECTS = [{"name": "search", "budget": {"usd": "0.0108", "per": "day"}}, {"name": "small", "tokens_per_minute": 300}]


class BudgetGateway(LedgerGateway):
    def __init__(self, haproxy, mock, clients=CLIENTS, config=None, **more):
        self.home_of_clients = workdir()
        file = self.home_of_clients / "clients.json"
        keys.write(file, clients, PROJECTS)
        prices = self.home_of_clients / "prices.json"
        prices.write_text(json.dumps(PRICES))
        routes = [{"model_prefix": "*", "upstream": mock.url(), "auth": "env:LEDGER_KEY"}]
        super().__init__(haproxy, [mock], dict({"routes": routes, "clients": str(file), "prices": str(prices)}, **(config or {})), limits={"LLM_CLIENTS": "on"}, **more)

    def ask_as(self, name, model="gpt-1", **more):
        more.setdefault("max_tokens", 100)
        return self.call("POST", "/v1/chat/completions", JSON + ([("x-llm-key", KEYS[name])] if name in KEYS else [("x-client", "ten")]),
                            chat(model, **more))


@pytest.fixture(scope="module")
def mock(make_mock):
    return make_mock("a")


@pytest.fixture(scope="module")
def gateway(haproxy, mock):
    with BudgetGateway(haproxy, mock) as gateway:
        yield gateway


def storm(gateway, mock, names, between=lambda: None):
    """Asks for all of `names` at once, runs `between` while the admitted ones are in flight, and returns their statuses."""
    mock.gate = threading.Event()
    before = len(mock.requests)
    try:
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            asked = [pool.submit(gateway.ask_as, name, stream=True) for name in names]
            until(lambda: sum(one.done() for one in asked) + len(mock.requests) - before >= len(names), 20, "each is refused or in flight")
            between()
            mock.gate.set()
            return [one.result().status for one in asked]
    finally:
        mock.gate.set()
        mock.gate = None


def test_a_budget_holds_for_those_in_flight(gateway, mock):
    names = ["ten"] * 20
    assert sorted(storm(gateway, mock, names)) == [200] * 10 + [429] * 10
    # They cost less than was reserved: the rest is there again.
    until(lambda: gateway.ask_as("ten").status == 200, 10, "the records of the first ones")
    assert storm(gateway, mock, ["project one", "project two"] * 10).count(200) == 10


def test_what_is_in_flight_outlives_workers_and_upgrades(gateway, mock):
    pids = set()

    def worker():
        return next(child for child in os.popen("pgrep -P %d" % gateway.agent.process.pid).read().split())

    def replaced():
        pids.add(worker())
        os.kill(int(worker()), signal.SIGKILL)
        until(lambda: len(os.popen("pgrep -P %d" % gateway.agent.process.pid).read().split()) == 1 and worker() not in pids, 10, "another worker")
        until(lambda: gateway.ask_as("other").status == 200, 10, "the next worker answers")
        assert gateway.ask_as("twenty").status == 429
        gateway.agent.upgrade()
        assert gateway.ask_as("twenty").status == 429
    statuses = storm(gateway, mock, ["twenty"] * 30, replaced)
    assert statuses.count(200) == 20 and set(statuses) == {200, 429}
    until(lambda: gateway.ask_as("twenty").status == 200, 10, "the records of those that were in flight")


def test_tokens_of_a_minute(gateway):
    def tokens(answer):
        return [answer.header("x-ratelimit-%s-tokens" % what) for what in ("limit", "remaining")]
    answer = gateway.ask_as("minute", max_tokens=400)
    assert answer.status == 200 and tokens(answer)[0] == "600" and 100 < int(tokens(answer)[1]) < 200
    # It took 18 of the 400: the others come back with its record.
    until(lambda: gateway.ask_as("minute", max_tokens=400).status == 200, 10, "the tokens that were not used")
    answer = gateway.ask_as("minute", max_tokens=599)
    answer.refused(429, "request_too_large", retry=False)
    # A guess alone, of 4,096 tokens, makes no request too large. It takes all that a minute has.
    until(lambda: gateway.ask_as("guess", "never heard of", max_tokens=None).status == 200, 10, "the minute has all of its tokens")
    answer = [gateway.ask_as("minute", max_tokens=300) for _ in range(4)][-1]
    if answer.status == 429:
        check_refusal(answer.response, 429, "rate_limit_exceeded", "openai")
        assert 1 <= int(answer.header("retry-after")) <= 60


def test_nobody_hides_how_long_an_answer_may_be(gateway, mock):
    """Servers would read a limit that is larger than the rest of the budget, or none."""
    for path, body in (("chat/completions", '"max_tokens":1,"max_tokens":9000'), ("chat/completions", '"max_tokens":1,"max_tok\\u0065ns":9000'),
                       ("chat/completions", '"max_tokens":1,"max_tokens":null'), ("chat/completions", '"max_tokens":"9000"'), ("chat/completions", '"max_tokens":9e3'),
                       ("chat/completions", '"max_tokens":0'), ("chat/completions", '"num_predict":1,"max_output_tokens":1'), ("chat/completions", '"max_tokens":90,"n":1e9'),
                       # The upstream is not OpenAI's or Azure's. Others, such as Ollama, may not know this name.
                       ("chat/completions", '"max_completion_tokens":1'),
                       ("responses", '"max_tokens":1,"max_completion_tokens":1'), ("completions", '"max_tokens":1,"best_of":9000'),
                       ("completions", '"max_tokens":90,"prompt":["a","b","c","d","e","f","g","h","i","j","k","l"]'),
                       ("chat/completions", '"max_tokens":1,"messages":[{"role":"user","content":"%s"}],"max_tokens":9000,"user":"%s"' % ("x" * 9000, "x" * 9000))):
        answer = gateway.call("POST", "/v1/" + path, JSON + [("x-llm-key", KEYS["exact"])], ('{"model":"gpt-2",%s}' % body).encode())
        answer.refused(429, "insufficient_quota", retry=False)
        assert not answer.seen
    assert gateway.ask_as("exact", "gpt-2", max_tokens=90).only(mock)


def test_models_without_a_price(gateway, mock):
    gateway.ask_as("priced", "strange").refused(403, "model_not_priced")
    assert gateway.ask_as("any", "strange").only(mock) and gateway.ask_as("other", "strange").status == 200


def test_a_model_in_the_query_sets_no_price(gateway, mock):
    """The upstream obeys the body, which names none: its own default runs, or that of a stored prompt."""
    def ask(name, target):
        return gateway.call("POST", target, JSON + [("x-llm-key", KEYS[name])], b'{"max_output_tokens":5,"max_tokens":5}')
    for target in "/v1/responses?model=gpt-1", "/v1/images/generations?deployment=gpt-1":
        ask("priced", target).refused(403, "model_not_priced", retry=False)
        assert ask("any", target).only(mock) and ask("other", target).only(mock)


def test_what_passes_inside_a_websocket_is_under_no_budget(gateway, mock):
    for name, status in (("priced", 403), ("project one", 403), ("any", 200), ("minute", 200), ("other", 200)):
        answer = gateway.call("GET", "/v1/realtime?model=gpt-1", WEBSOCKET + [("x-llm-key", KEYS[name])])
        if status == 403:
            answer.refused(403, "model_not_priced", retry=False)
        else:
            assert answer.only(mock)


def test_the_operator_pays_for_no_batch_of_a_client_with_a_budget(work):
    """No answer says what a batch costs, or a job, or what is made for later, so it takes nothing from the budget."""
    jobs = ("/v1/batches", "/v1/batches/", "/v1/Batche%73", "/v1/messages/batches", "/v1/fine_tuning/jobs", "/v1/videos", "/v1/videos/v/remix", "/v1/threads/t/runs", "/v1/threads/runs",
            "/v1/evals/e/runs", "/v1/realtime/client_secrets", "/v1/realtime/calls", "/v1beta/models/gpt-1:batchGenerateContent", "/v1/projects/p/locations/l/batchPredictionJobs")
    free = ("/v1/files", "/v1/conversations", "/v1/batches/b/cancel", "/v1/responses/r/cancel", "/v1/vector_stores", "/v1/evals")
    more = {"env": {"K": secret("operator")}}
    keys.write(work / "clients.json", CLIENTS, PROJECTS)
    (work / "prices.json").write_text(json.dumps(PRICES))
    (work / "ledger").mkdir()
    lent = {"auth": "env:K", "paths": "any", "upstream": "http://127.0.0.1:1"}
    for route in lent, {"pool": [dict(lent, name="a")]}, {"upstream": "http://127.0.0.1:1"}:
        config = {"clients": str(work / "clients.json"), "prices": str(work / "prices.json"), "ledger": str(work / "ledger"),
                  "log_listen": ["dgram@%s/log" % work]}
        config["routes"] = [dict(route, path_prefix=path, name=path[1:]) for path in ("/v1", "/v1beta")]
        with Agent(work, config, **more) as agent, agent.client() as haproxy:
            for name, budgeted in (("priced", True), ("project one", True), ("any", False), ("minute", False), ("other", False)):
                for method, path in [("POST", path) for path in jobs + free] + [("GET", "/v1/batches"), ("DELETE", "/v1/videos")]:
                    got = haproxy.ask(**keys.ask(KEYS[name], id="%s %s" % (name, path), method=method, path=path, body='{"model":"gpt-1"}' if method == "POST" else None))
                    refused = budgeted and method == "POST" and path in jobs and "paths" in str(route)
                    assert (got["deny"], got.get("code")) == ((True, "model_not_priced") if refused else (False, None)), (route, name, method, path, got)


def test_the_end_of_a_budget_is_told(gateway):
    answer = gateway.ask_as("ten", max_tokens=90000)
    answer.refused(429, "insufficient_quota", retry=False)
    answer = gateway.ask_as("priced", max_tokens=88000)
    assert answer.status == 200 and answer.header("llm-budget-used") == "0.88"
    # A header that names the client spends nothing of it.
    for _ in range(12):
        assert gateway.ask_as("nobody").status == 200
    gateway.agent.log("event=budget_spent")


def test_a_budget_needs_a_ledger(work):
    import harness
    keys.write(work / "clients.json", CLIENTS)
    agent = harness.Agent(work, {"routes": [], "clients": str(work / "clients.json")}, wait=False)
    agent.expect_exit = {78, 1}
    assert "need the option" in agent.log("event=start_failed")


def test_a_service_manager_holds_the_memory_between_two_agents(work):
    """What is reserved outlives all processes of the agent: a restart, or a kill of all of them, by systemd's file descriptor store."""
    keys.write(work / "clients.json", [{"name": "ten", "budget": {"usd": "0.01", "per": "month"}, "keys": [{"sha256": keys.sha256("ten").hex()}]}])
    (work / "prices.json").write_text(json.dumps({"gpt-1": {"input_cost_per_token": 0, "output_cost_per_token": 1e-5}}))
    (work / "ledger").mkdir()
    config = {"routes": [{"model_prefix": "*", "upstream": "http://127.0.0.1:1"}], "clients": str(work / "clients.json"), "prices": str(work / "prices.json"),
              "ledger": str(work / "ledger"), "log_listen": ["dgram@%s/log" % work]}

    def admitted(agent, first):
        with agent.client() as haproxy:
            return sum(haproxy.ask(**dict(keys.ask(), key=keys.sha256("ten"), id="id-%d" % (first + at), body='{"model":"gpt-1","max_tokens":100}'))["deny"] is False
                       for at in range(6))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(work / "notify"))
        manager.settimeout(10 * SLOW)
        env = {"NOTIFY_SOCKET": str(work / "notify")}

        def held():
            """The descriptors that the agent gives until it is ready, with what it says of each."""
            told, given = "", []
            while "READY=1" not in told:
                told, fds, _, _ = socket.recv_fds(manager, 4096, 4)
                told = told.decode()
                given += [(told, fd) for fd in fds]
            return given
        with Agent(work, config, env=env) as agent:
            [(told, memory)] = held()
            assert told.split("\n") == ["FDSTORE=1", "FDNAME=budgets"]
            assert admitted(agent, 0) == 6
            agent.kill()
        # As systemd starts it again.
        passed = ["bash", "-c", 'exec env LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=budgets "$@" 3<>/proc/%d/fd/%d' % (os.getpid(), memory), "agent"]
        for count in (4, 0):
            with Agent(work, config, env=env, before=passed) as agent:
                assert not held() and admitted(agent, 10 * (5 - count)) == count
        os.close(memory)
        # Without it the agent begins with what the ledger has.
        with Agent(work, config, env=env) as agent:
            assert admitted(agent, 100) == 6


def test_no_budget_is_overrun_while_workers_are_killed_and_upgraded(work):
    """Each client asks twice as often as its budget of ten requests lasts, each time as another request, and no record comes."""
    count, worth, times = 100, 10, 20
    prices = work / "prices.json"
    prices.write_text(json.dumps({"gpt-1": {"input_cost_per_token": 0, "output_cost_per_token": 1e-5}}))
    keys.write(work / "clients.json", json.dumps({"clients": [
        {"name": "client-%d" % i, "budget": {"usd": "0.01", "per": "day"}, "keys": [{"sha256": keys.sha256(str(i)).hex()}]} for i in range(count)]}))
    (work / "ledger").mkdir()
    with Agent(work, {"routes": [{"model_prefix": "*", "upstream": "http://127.0.0.1:1"}], "clients": str(work / "clients.json"), "prices": str(prices),
                      "ledger": str(work / "ledger"), "log_listen": ["dgram@%s/log" % work]}) as agent:
        admitted = [0] * count
        for turn in range(times):
            with agent.client() as haproxy:
                for i in range(count):
                    told = haproxy.ask(**dict(keys.ask(), key=keys.sha256(str(i)), id="%d-%d" % (turn, i), body='{"model":"gpt-1","max_tokens":100}'))
                    admitted[i] += told["deny"] is False
            if turn % 4 == 1:
                agent.upgrade()
            if turn % 4 == 3:
                def newest():
                    return os.popen("pgrep -n -P %d" % agent.process.pid).read().strip()
                killed = newest()
                os.kill(int(killed), signal.SIGKILL)
                until(lambda: newest() not in ("", killed), 10, "another worker")
        assert admitted == [worth] * count, admitted
