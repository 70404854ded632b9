"""What `spoa-llm explain --key -` and the admin server's POST /explain say of a client's request: limits, what is left of them, and what the
request would reserve."""
import json
import subprocess

import pytest

import evidence
import harness
import keys
from adminserver import POST, admin  # noqa: F401

PRICES = {"gpt-1": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}}
BODY = json.dumps({"model": "gpt-1", "max_tokens": 1000, "messages": [{"role": "user", "content": "one two three four"}]})
# Three bytes a token, but for those around the text.
INPUT = (len(BODY) - 60) // 3 + 1
COST = INPUT * 1000 + 1000 * 10000
KEYS = {name: keys.key("explain " + name) for name in ("alice", "free", "minute", "old")}
CLIENTS = [keys.entry("alice", KEYS["alice"], project="search", requests_per_minute=60, parallel=3, budget={"usd": "0.025", "per": "day"}),
           keys.entry("free", KEYS["free"]), keys.entry("minute", KEYS["minute"], tokens_per_minute=5000),
           keys.entry("old", (KEYS["old"], "2020-01-01T00:00:00Z"), project="search")]
PROJECTS = [{"name": "search", "budget": {"usd": 3, "per": "month"}, "tokens_per_minute": 100000}]


def usd(nano):
    return "%d.%09d" % divmod(nano, 10 ** 9)


@pytest.fixture
def agent(admin, work):
    keys.write(work / "clients.json", CLIENTS, PROJECTS)
    (work / "own-prices.json").write_text(json.dumps(PRICES))
    return admin(clients=str(work / "clients.json"), prices=str(work / "own-prices.json"), routes=[{"model_prefix": "*", "upstream": "http://127.0.0.1:9"}])


def post(agent, status=200, **question):
    answer = agent.http("POST", "/explain", POST, json.dumps(question))
    assert answer.status == status, answer
    return answer.json()


def command(agent, key, *args, json_too=True, code=0):
    with harness.start("explain", "-c", agent.file, "--key", "-", *args, *(["--json"] if json_too else []), env=agent.env, stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate((key + "\n").encode(), timeout=30)
    evidence.search(out + err, "explain")
    assert process.returncode == code, err
    return json.loads(out) if json_too and not code else (out + err).decode()


def test_of_a_running_agent(agent):
    told = post(agent, body=BODY, key=KEYS["alice"])
    assert (told["deny"], told["client"], told["project"]) == (False, "alice", "search")
    own = {"requests_per_minute": 60, "parallel": 3, "tokens_per_minute": None}
    money = {"usd": "0.025000000", "per": "day", "spent_usd": usd(0), "charged_usd": usd(0), "reserved_usd": usd(0), "left_usd": usd(25000000)}
    assert told["limits"]["client"] == dict(own, budget=money)
    assert told["limits"]["project"]["budget"]["left_usd"] == usd(3 * 10 ** 9) and told["limits"]["project"]["tokens_per_minute"] == 100000
    assert told["limits"]["tokens_left"] == 100000
    assert told["reserves"] == {"input_tokens": INPUT, "output_tokens": 1000, "output_from": "request", "usd": usd(COST)}
    # To ask reserves nothing, however often; a real request does.
    for _ in range(20):
        assert post(agent, body=BODY, key=KEYS["alice"]) == told
    for at in range(2):
        assert agent.ask(**keys.ask(KEYS["alice"], id="flight-%d" % at, method="POST", ctype="application/json", body=BODY, buffered=len(BODY), length=len(BODY)))["deny"] is False
    told = post(agent, body=BODY, key=KEYS["alice"])
    assert (told["status"], told["code"], told["problem"]) == (429, "insufficient_quota", "the client's budget does not suffice"), told
    money.update(reserved_usd=usd(2 * COST), left_usd=usd(25000000 - 2 * COST))
    assert told["limits"]["client"]["budget"] == money and told["reserves"]["usd"] == usd(COST)
    # A real request gets the same answer from the agent.
    assert agent.ask(**keys.ask(KEYS["alice"], id="third", method="POST", ctype="application/json", body=BODY, buffered=len(BODY), length=len(BODY)))["code"] == "insufficient_quota"

    # The tokens of a minute; a model of which nothing is known.
    told = post(agent, model="other", key=KEYS["minute"])
    assert told["deny"] is False and told["reserves"] == {"input_tokens": 1, "output_tokens": 4096, "output_from": "assumed", "usd": None}
    assert told["limits"]["tokens_left"] == 5000 and told["limits"]["project"] is None and told["limits"]["client"]["budget"] is None
    told = post(agent, body=json.dumps({"model": "gpt-1", "max_tokens": 6000}), key=KEYS["minute"])
    assert told["code"] == "request_too_large", told
    # A client without limits, one whose key expired, and a model without a price.
    told = post(agent, body=BODY, key=KEYS["free"])
    assert told["client"] == "free" and told["reserves"] is None and told["limits"]["client"]["budget"] is None
    told = post(agent, body=BODY, key=KEYS["old"])
    assert (told["code"], told["problem"]) == ("invalid_api_key", "the key expired") and "limits" not in told and (told["client"], told["project"]) == ("old", "search")
    told = post(agent, model="strange", key=KEYS["alice"])
    assert told["code"] == "model_not_priced" and told["reserves"]["usd"] is None
    assert "client" not in post(agent, body=BODY) and "limits" not in post(agent, body=BODY)


def test_of_the_command(agent, work):
    """The command says of a client's budget what the ledger says: a running agent alone knows what is in flight."""
    (work / "body").write_text(BODY)
    told = command(agent, KEYS["alice"], "--body", work / "body")
    assert told["limits"]["client"]["budget"] == {"usd": "0.025000000", "per": "day", "spent_usd": usd(0), "charged_usd": None, "reserved_usd": None,
                                                  "left_usd": usd(25000000)}
    assert told["reserves"]["usd"] == usd(COST) and told["limits"]["tokens_left"] is None
    text = command(agent, KEYS["alice"], "--body", work / "body", json_too=False)
    for line in ("client:    alice of project search, by its key", "limit:     60 requests a minute, which HAProxy counts", "limit:     3 requests in parallel",
                 "budget:    $0.03 a day: $0.00 spent, $0.03 left, but for requests in flight", "limit:     for all of the project, 100,000 tokens a minute",
                 "budget:    of the project, $3.00 a month", "reserves:  $0.01, for tokens: %d in and 1,000 out, as the request says" % INPUT):
        assert line in text, text
    assert "client:    old of project search, by its key, which is refused" in command(agent, KEYS["old"], json_too=False)
    (work / "body").write_text(BODY.replace("1000", "9000"))
    text = command(agent, KEYS["alice"], "--body", work / "body", json_too=False)
    assert "REFUSED:   429 insufficient_quota" in text and "reserves:  $0.09" in text, text
    # Without a ledger that can be read, the command says so, and what it knows.
    config = json.loads(agent.file.read_text())
    agent.file.write_text(json.dumps(dict(config, ledger=str(work / "nowhere"))))
    text = command(agent, KEYS["alice"], "--model", "gpt-1", json_too=False)
    assert "what was spent is not known" in text and "budget:    $0.03 a day; what was spent is not known" in text and "REFUSED" not in text, text
    agent.file.write_text(json.dumps(config))


def test_a_key_stands_in_no_address_and_in_no_answer(agent):
    typed = "sk-spoa-" + "A" * 43
    answer = agent.http(path="/explain?model=gpt-1&key=" + typed)
    assert answer.status == 400 and "body of a POST" in answer.text and typed not in answer.text
    for question in ({"headers": ["authorization: Bearer " + typed]}, {"path": "/v1/models?key=" + typed}, {"path": "no-slash-" + typed}, {"model": typed},
                     {"method": typed}, {"key": typed + "longer"}, {"key": " " + typed}):
        told = post(agent, 400, **question)
        assert typed not in json.dumps(told) and "key" in told["error"], told
    told = post(agent, body=BODY, key=typed)
    assert told["code"] == "invalid_api_key" and typed not in json.dumps(told)
    for path in ("/explain?path=/v1/models%3Fkey=" + typed, "/explain?header=x-api-key:%20" + typed):
        answer = agent.http(path=path)
        assert answer.status == 400 and typed not in answer.text, answer
