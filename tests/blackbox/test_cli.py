"""The commands that a person types (check, explain, backends, help), and that explain decides as the running agent does."""
import json
import os
import re
import socket

import pytest

import harness
import loglines
import spop
from harness import cli

TABLE = {"routes": [
    {"name": "zhipu", "model_prefix": "glm-", "upstream": "https://ollama.com", "auth": "env:OLLAMA_API_KEY"},
    {"model_prefix": "claude-", "protocol": "anthropic"},
    {"model_prefix": "gpt-5.5", "auth": "passthrough"},
    {"model_prefix": "x-", "upstream": "http://127.0.0.1:9001/api/v1", "auth": "env:X_KEY", "auth_header": "x-api-key"},
    {"model_prefix": "off-", "upstream": "https://off.test", "enabled": False},
    {"model_prefix": "*", "auth": "passthrough"}]}
ENV = {"OLLAMA_API_KEY": harness.secret("ollama"), "X_KEY": harness.secret("x")}


@pytest.fixture
def file(work):
    return harness.write_config(work, TABLE)


def explain(*args, env=None, code=0):
    done = cli("explain", "--json", *args, env=ENV if env is None else env)
    assert done.code == code, done
    return json.loads(done.out)


# ---- explain

EXPLAINED = {
    # name: (arguments, what must be in the JSON)
    "replace": (["--model", "glm-4.6"], {
        "deny": False, "backend": "llm-ollama.com", "route": "zhipu", "model": "glm-4.6", "model_from": "body",
        "protocol": "openai", "auth": "replace", "auth_header": "authorization", "stream": False,
        "upstream": "https://ollama.com/v1/chat/completions"}),
    "case": (["--model", "GLM-4"], {"route": "zhipu", "model": "GLM-4"}),
    "slot": (["--model", "claude-x", "--path", "/v1/messages?beta=true"], {
        "route": "claude-", "backend": "llm-api.anthropic.com", "protocol": "anthropic", "auth": "passthrough",
        "upstream": "https://api.anthropic.com/v1/messages?beta=true"}),
    "base path": (["--model", "x-1", "--path", "/v1/responses"], {
        "backend": "llm-127.0.0.1:9001_api_v1", "auth_header": "x-api-key",
        "upstream": "http://127.0.0.1:9001/api/v1/responses"}),
    "base path, no /v1": (["--model", "x-1", "--path", "/responses?a=b"], {
        "upstream": "http://127.0.0.1:9001/api/v1/responses?a=b"}),
    "slashes and a project": (["--model", "x-1", "--path", "//p/me//v1/responses?a=//p/b"], {
        "upstream": "http://127.0.0.1:9001/api/v1/responses?a=//p/b"}),
    "a project alone": (["--path", "/p/me?a"], {"upstream": "https://api.openai.com/?a"}),
    "no project": (["--path", "/p//v1/models"], {"upstream": "https://api.openai.com/p//v1/models"}),
    "disabled": (["--model", "off-1"], {"route": "*"}),
    "catch-all": (["--model", "o3"], {"route": "*", "backend": "llm-api.openai.com"}),
    "model in the path": (["--path", "/v1beta/models/glm-9:generateContent", "--method", "POST"], {
        "model": "glm-9", "model_from": "path", "route": "zhipu", "protocol": "gemini"}),
    "model in the query": (["--path", "/v1/realtime?model=glm-9", "--header", "upgrade: websocket"], {
        "model": "glm-9", "model_from": "query", "route": "zhipu"}),
    "nothing": (["--path", "/v1/models"], {"route": "legacy", "model_from": "none", "backend": "llm-api.openai.com"}),
    "legacy by header": (["--path", "/v1/models", "--header", "X-Api-Key: k"], {
        "route": "legacy", "backend": "llm-api.anthropic.com"}),
    "legacy by agent": (["--path", "/", "--header", "user-agent: claude-cli/1", "--header", "a: b"], {
        "route": "legacy", "backend": "llm-api.anthropic.com"}),
    "legacy by Bearer": (["--path", "/v1/models", "--header", "authorization: Bearer sk-ant-x"], {
        "backend": "llm-api.anthropic.com"}),
    "legacy of gemini": (["--path", "/v1beta/models", "--header", "x-goog-api-key: k"], {
        "backend": "llm-generativelanguage.googleapis.com"}),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_explain(file, case):
    args, expected = EXPLAINED[case]
    got = explain("-c", file, *args)
    assert {key: got.get(key) for key in expected} == expected
    # The text for people has the same backend and upstream.
    text = cli("explain", "-c", file, *args, env=ENV)
    assert text.code == 0 and got["backend"] in text.out and got["upstream"] in text.out, text


@pytest.mark.parametrize("path", ["v1/models", "", "http://a.test/v1/models", "*"])
def test_explain_a_path_without_a_slash(file, path):
    done = cli("explain", "-c", file, "--path", path, env=ENV)
    assert done.code == 64 and "begins with a slash" in done.err, done


def test_explain_says_what_the_documents_show(work):
    """The command in docs/haproxy.md, with the routes there, prints what is shown there."""
    shown = (harness.ROOT / "docs" / "haproxy.md").read_text()
    routes, example = re.search(r"```json\n(.*?)```\s+```console\n(.*?)```", shown, re.S).groups()
    (work / "spoa-llm.json").write_text(routes)
    command, output = example.split("\n", 1)
    arguments = command.replace("-c spoa-llm.json", "-c %s" % (work / "spoa-llm.json")).split()
    assert arguments[:3] == ["$", "OLLAMA_API_KEY=...", "spoa-llm"]
    assert cli(*arguments[3:], env=ENV).out == output


def test_explain_says_what_is_stripped_and_set(work):
    file = harness.write_config(work, dict(TABLE, tap=True))
    got = explain("-c", file, "--model", "x-1")
    # The rules of the shipped frontend, and those of a leg, have the same list.
    for text in ((harness.ROOT / "haproxy.cfg.example").read_text(), cli("backends", "-c", file, env=ENV).out):
        rules = re.findall(r"http-request del-header \^\(([a-z|-]+)\)\$ -m reg", text)
        assert rules and all(rule.split("|") == got["strip"] for rule in rules), rules
    assert "env:X_KEY" in json.dumps(got["set"]) and "x-api-key" in json.dumps(got["set"])
    got = explain("-c", file, "--model", "glm-1")
    assert "env:OLLAMA_API_KEY" in json.dumps(got["set"]) and "authorization" in json.dumps(got["set"])
    got = explain("-c", file, "--model", "o3")
    assert not got["strip"] and not got["set"]


def test_explain_names_the_routes_that_were_tried(file):
    out = cli("explain", "-c", file, "--model", "gpt-5.5-x", env=ENV).out
    lines = [line for line in out.splitlines() if re.match(r"\s+\d+\.", line)]
    assert len(lines) == 6
    assert "no match" in lines[0] and "no match" in lines[1] and "MATCH" in lines[2]
    assert not any("MATCH" in line for line in lines[3:])


@pytest.mark.parametrize("body, status, code", [
    (b'{"model":"a","model":"b"}', 400, "ambiguous_model"), (b'{"model":7}', 400, "invalid_model"),
    (b'{"model":', 400, "invalid_json")])
def test_explain_a_refusal_of_a_body(file, work, body, status, code):
    (work / "body").write_bytes(body)
    got = explain("-c", file, "--body", work / "body")
    assert (got["deny"], got["status"], got["code"]) == (True, status, code)
    text = cli("explain", "-c", file, "--body", work / "body", env=ENV)
    assert str(status) in text.out and code in text.out


def test_explain_a_missing_credential(file):
    got = explain("-c", file, "--model", "glm-4", env={})
    assert (got["deny"], got["status"], got["code"], got["route"]) == (True, 502, "upstream_auth_unavailable", "zhipu")
    assert "OLLAMA_API_KEY" in cli("explain", "-c", file, "--model", "glm-4").out


def test_explain_a_body(file, work):
    (work / "body").write_bytes(b'{"messages":[],"stream":true,"model":"glm-4"}')
    got = explain("-c", file, "--body", work / "body")
    assert (got["model"], got["model_from"], got["stream"]) == ("glm-4", "body", True)
    for unread, why in (("none", "No such file"), (".", "Is a directory")):
        done = cli("explain", "-c", file, "--body", work / unread, env=ENV)
        assert (done.code, done.out) == (66, "") and why in done.err, (unread, done.err)


@pytest.mark.parametrize("model", ['a"b', "a\\b", "\u00e9\u20ac", "a%sb", "x" * 256])
def test_explain_odd_models(file, model):
    assert explain("-c", file, "--model", model)["model"] == model


@pytest.mark.parametrize("model", ["", "x" * 257, "a\nb"])
def test_explain_impossible_models(file, model):
    got = explain("-c", file, "--model", model)
    assert (got["deny"], got["code"]) == (True, "invalid_model")


def test_explain_and_the_agent_are_of_one_mind(agents, file, work):
    """The agent by SPOP and the command get the same questions. Each variable that both answers have is equal in both."""
    agent = agents(TABLE, env=ENV)
    asked = [("glm-4.6", "/v1/chat/completions", {}), ("claude-3", "/v1/messages", {}), ("o3", "/v1/responses", {}),
             ("x-1", "/v1/embeddings", {"x-goog-api-key": "k"}), ("off-1", "/v1/x", {"anthropic-version": "1"}),
             ("", "/v1/x", {"x-api-key": "k"}), ("gpt-5.5", "/v1beta/models/glm-1:generateContent", {})]
    for model, path, headers in asked:
        body = json.dumps({"model": model}).encode()
        flags = {name.replace("-", "_"): True for name in headers if name != "user-agent"}
        answer = agent.ask(body=body, path=path, **flags)
        (work / "body").write_bytes(body)
        args = [arg for name, value in headers.items() for arg in ("--header", "%s: %s" % (name, value))]
        got = explain("-c", file, "--body", work / "body", "--path", path, *args)
        both = set(answer) & set(got)
        assert {"deny", "protocol", "stream"} <= both
        assert {name: answer[name] for name in both} == {name: got[name] for name in both}
        assert set(answer) - set(got) <= {"auth_value", "line", "allow"}


# ---- check


def test_check_accepts_a_good_file(file):
    done = cli("check", "-c", file, env=ENV)
    assert done.code == 0 and "zhipu" in done.out, done


@pytest.mark.parametrize("value", [None, "", "  ", "a\nb"])
def test_check_reports_a_missing_credential(file, value):
    env = dict(ENV)
    if value is None:
        del env["OLLAMA_API_KEY"]
    else:
        env["OLLAMA_API_KEY"] = value
    done = cli("check", "-c", file, env=env)
    assert done.code == 78 and "OLLAMA_API_KEY" in done.out + done.err and "zhipu" in done.out + done.err, done


def test_check_looks_into_files(work):
    file = harness.write_config(work, {"routes": [{"model_prefix": "a", "auth": "file:%s/key" % work}]})
    assert cli("check", "-c", file).code == 78
    (work / "key").write_text(harness.secret("check"))
    assert cli("check", "-c", file).code == 0
    (work / "key").write_text(" \n")
    assert cli("check", "-c", file).code == 78


def test_check_ignores_what_is_disabled(work):
    file = harness.write_config(work, {"routes": [{"model_prefix": "a", "auth": "env:NOT_SET", "enabled": False}]})
    assert cli("check", "-c", file).code == 0


def test_check_warns_of_a_reference_model_without_a_price(work):
    (work / "prices.json").write_text('{"dear": {"input_cost_per_token": 1e-6}, "no-price": {"max_tokens": 1}}')
    routes = [{"model_prefix": "a", "reference_model": "dear"}, {"model_prefix": "b", "reference_model": "deer"},
              {"model_prefix": "c", "reference_model": "no-price"}, {"model_prefix": "d", "reference_model": "off", "enabled": False}]
    (work / "ledger").mkdir()
    file = harness.write_config(work, {"routes": routes, "ledger": str(work / "ledger"), "prices": str(work / "prices.json")})
    done = cli("check", "-c", file)
    warned = [line.split()[2] for line in done.out.splitlines() if line.startswith("WARNING") and "reference_model" in line]
    assert done.code == 0 and warned == ["b", "c"] and "deer has no price" in done.out, done
    file = harness.write_config(work, {"routes": routes, "prices": str(work / "prices.json")})
    assert "reference_model" not in cli("check", "-c", file).out  # without a ledger there are no savings


# ---- backends


def sections(text):
    return re.findall(r"^backend (\S+)$", text, re.M)


def around(backends, work):
    """Writes the smallest configuration in which HAProxy accepts `backends`, and returns its path."""
    path = work / "around.cfg"
    path.write_text("defaults\n    mode http\n    timeout client 1s\n    timeout connect 1s\n    timeout server 1s\n\n"
                    "listen around\n    bind 127.0.0.1:9\n\n" + backends)
    return path


def warnings(text):
    """HAProxy's warnings in `text`, without those about names that this machine cannot resolve."""
    return [line for line in text.splitlines() if "[WARNING]" in line and "could not resolve" not in line]


SETS = {
    "the example's": ({"routes": [
        {"model_prefix": "glm-", "upstream": "https://ollama.com", "auth": "env:OLLAMA_API_KEY"},
        {"model_prefix": "claude-", "protocol": "anthropic"}, {"model_prefix": "gpt-5.5", "auth": "passthrough"},
        {"model_prefix": "*", "auth": "passthrough"}]}, 4),
    "none": ({}, 3),
    "many to one": ({"routes": [{"model_prefix": "m%d" % n, "upstream": "https://one.test"} for n in range(20)]}, 4),
    "many": ({"routes": [{"model_prefix": "m%d" % n, "upstream": "http://10.0.0.%d:8000/v1" % n} for n in range(1, 200)]},
             202),
    "to a target": ({"routes": [{"model_prefix": "m", "upstream": "https://api.openai.com"}]}, 3),
    "named": ({"routes": [{"model_prefix": "m", "upstream": "https://a.test", "backend": "mine"}]}, 4),
    "odd": ({"routes": [{"model_prefix": "a", "upstream": "https://x.test/a~b/c-d.e_f"},
                        {"model_prefix": "c", "upstream": "http://[::1]:8080/v1"},
                        {"model_prefix": "d", "upstream": "https://xn--bcher-kva.test:8443"},
                        {"name": "it's $HOME %[src] #1 & {x}", "model_prefix": "e", "upstream": "https://y.test"}]}, None),
    "disabled": ({"routes": [{"model_prefix": "m", "upstream": "https://a.test", "enabled": False}]}, 3),
}


@pytest.mark.parametrize("case", SETS)
def test_backends_are_accepted_as_they_are(haproxy, work, case):
    config, count = SETS[case]
    file = harness.write_config(work, config)
    done = cli("backends", "-c", file)
    assert done.code == 0, done
    names = sections(done.out)
    assert len(names) == len(set(names)) and (count is None or len(names) == count), names
    good, text = harness.accepted(haproxy, around(done.out, work))
    assert good and not warnings(text), text
    # Every backend that a route may name is there.
    for route in config.get("routes", []):
        if route.get("enabled") is not False:
            got = json.loads(cli("explain", "-c", file, "--model", route["model_prefix"] + "1", "--json").out)
            assert got["deny"] or got["backend"] in names


def test_backends_of_the_variable(haproxy, work):
    table = [{"model_prefix": "a", "upstream": "https://a.test"}, {"model_prefix": "b", "upstream": "nonsense"}]
    done = cli("backends", env={"HEADROOM_UPSTREAM_ROUTES": json.dumps(table)})
    assert done.code == 0 and "llm-a.test" in sections(done.out) and "nonsense" not in done.out, done
    assert harness.accepted(haproxy, around(done.out, work))[0]


def test_the_shipped_configuration_is_accepted(haproxy, work):
    """HAProxy accepts haproxy.cfg.example as it is, with the backends that are in it."""
    text = harness.EXAMPLE.read_text()
    path = work / "haproxy.cfg"
    path.write_text(text)
    good, said = harness.accepted(haproxy, path, {"LLM_SPOE_CONF": str(harness.SPOE_CONF)})
    assert good, said
    assert not warnings(said) and "deprecated" not in said, said


def test_the_shipped_backends_are_those_of_the_command(work):
    """haproxy.cfg.example ends with what `spoa-llm backends` prints for the example's routes."""
    file = harness.write_config(work, SETS["the example's"][0])
    shipped = harness.EXAMPLE.read_text().split("# ---- backends", 1)[1].split("\n", 1)[1]
    made = cli("backends", "-c", file).out
    # Comments do not count, because they name the routes, whose names may differ.
    bare = [[line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
            for text in (shipped, made)]
    assert bare[0] == bare[1]


# ---- help and mistakes


def table(kind):
    """The rows of one kind of `--help=table`."""
    return [fields for name, *fields in (line.split("\t") for line in cli("--help=table").out.splitlines()) if name == kind]


def test_help():
    """The list of commands fits a screen, and names each of them."""
    done = cli("--help")
    assert (done.code, done.err) == (0, "") and len(done.out.splitlines()) <= 26, done
    assert cli("help").out == cli("-h").out == done.out
    for name, *_ in table("command"):
        first, *second = name.split()
        line = next(line for line in done.out.splitlines() if line.startswith("  %s " % first))
        assert not second or second[0] in done.out.split("%s ..." % first)[1].split("...")[0], (name, line)


def test_help_of_each_command():
    """What each command has fits a screen: how it is used, all its flags, and examples that it takes."""
    flags = table("flag")
    for name, argument, said in table("command"):
        words = name.split()
        done = cli("help", *words)
        assert (done.code, done.err) == (0, "") and len(done.out.splitlines()) <= 40, done
        assert cli(*words, "--help").out == cli(*words, "-h").out == cli("--help", *words).out == done.out
        assert done.out.startswith("usage: spoa-llm %s [OPTION ...]\n" % " ".join(words + [argument] * bool(argument)))
        own = [flag for flag, _, of, _ in flags if name in of.split(", ")]
        assert re.findall(r"^  --([a-z-]+)", done.out, re.M) == own, name
        assert max(len(line) for line in done.out.split("examples:")[0].splitlines()) <= 80, done.out
        examples = done.out.split("examples:\n")[1].split("\n\n")[0].splitlines()
        assert any("spoa-llm %s" % name in line for line in examples), name
        for flag in re.findall(r" --([a-z-]+)", " ".join(examples)):
            assert flag in own or flag in [option[1] for option in table("option")], (name, flag)
    assert cli("help", "ledger").out == cli("ledger", "--help").out
    assert [line.split()[1] for line in cli("help", "ledger").out.splitlines() if line.startswith("  ledger ")] == [
        name.split()[1] for name, *_ in table("command") if name.startswith("ledger ")]


@pytest.mark.parametrize("args, said", [
    (["ledger", "exprt"], "there is no command ledger exprt; is ledger export meant?\ntry: spoa-llm help ledger\n"),
    (["export"], "there is no command export; is ledger export meant?\ntry: spoa-llm help\n"),
    (["savngs"], "there is no command savngs; is savings meant?\ntry: spoa-llm help\n"),
    (["sav"], "there is no command sav; is savings meant?\n"),
    (["help", "savngs"], "there is no command savngs; is savings meant?\n"),
    (["client", "lsit"], "there is no command client lsit; is client list meant?\ntry: spoa-llm help client\n"),
    (["quux"], "there is no command quux\n"),
    (["savings", "--sinec", "7d"], "there is no flag --sinec; is --since meant?\ntry: spoa-llm help savings\n"),
    (["run", "--lisen", "x"], "there is no flag --lisen; is --listen meant?\n"),
    (["run", "--log_level=x"], "there is no flag --log_level=x; is --log-level meant?\n"),
    (["run", "--log-l", "x"], "--log-l can be several flags: --log-listen, --log-level\n"),
    (["run", "-z"], "there is no flag -z\ntry: spoa-llm help run\n"),
    (["--ledger", "/x", "ledger", "prune", "--bfore"], "there is no flag --bfore; is --before meant?\ntry: spoa-llm help ledger prune\n"),
    (["client", "--nmae"], "there is no flag --nmae\ntry: spoa-llm help client\n"),
    (["savings", "--since"], "a value is missing after --since\ntry: spoa-llm help savings\n"),
    (["savings", "--json=yes"], "this flag takes no value: --json=yes\n"),
    (["savings", "--by", "modle"], '--by "modle": model, route, project, client, member, day, hour or, with --fleet, gateway is expected; is model meant?\ntry: spoa-llm help savings\n'),
    (["upstreams", "--by", "model"], '--by "model": backend or member is expected\n'),
    (["savings", "--before", "x"], "--before belongs to ledger prune, fleet drop, not to savings\ntry: spoa-llm help savings\n"),
    (["ledger", "import"], "ledger import needs FILE after it\ntry: spoa-llm help ledger import\n"),
    (["--help=all"], "the forms of help are --help and --help=table, not all\n")])
def test_what_was_mistyped(args, said):
    done = cli(*args)
    assert (done.code, done.out) == (64, "") and done.err.startswith("spoa-llm: " + said), done


def test_what_was_mistyped_in_the_file(work):
    """A key of the file that is a flag with its dashes, or nearly a key, is told; a flag of another command is no mistake of the same kind."""
    for key, said in (("admin-listen", 'is "admin_listen" meant?'), ("lisen", 'is "listen" meant?'), ("quux", "`man spoa-llm.json` lists them")):
        done = cli("check", "-c", harness.write_config(work, {key: "x"}))
        assert done.code == 78 and 'there is no option "%s"; ' % key in done.err and said in done.err, done


def test_version():
    done = cli("--version")
    assert done.code == 0 and re.fullmatch(r"spoa-llm \d+\.\d+\.\d+\S*\n", done.out), done
    assert cli("-v").out == cli("-V").out == done.out


@pytest.mark.parametrize("args, word", [
    (["run", "--lissten", "/x"], "--lissten"), (["check", "--nope"], "--nope"), (["check", "-x"], "-x"),
    (["nonsense"], "nonsense"), ([], "command"), (["check", "extra"], "extra"), (["check", "-c"], "-c"),
    (["explain", "--model"], "--model"), (["run", "--model", "m"], None), (["explain", "--log-lev", "x", "-z"], "-z")])
def test_wrong_usage(args, word):
    done = cli(*args)
    assert done.code == 64, done
    assert done.err and not done.out and (word is None or word in done.err), done
    assert len(done.err.splitlines()) <= 4


@pytest.mark.parametrize("args", [["--model", "m", "--body", "/dev/null"], ["--header", "no colon", "--model", "m"]])
def test_explain_with_arguments_that_make_no_sense(args):
    done = cli("explain", *args)
    assert done.code == 64 and done.err, done


def test_the_agent_sets_no_variable_that_no_rule_needs(agents):
    """Each variable of a decision costs HAProxy more than most of its rules do. Route and model stand in `line`, where that fits the frame."""
    agent = agents({"routes": [{"model_prefix": "m", "auth": "env:K"}]}, env={"K": harness.secret("k")})
    needed = {"backend", "auth_value", "line", "allow"}
    with agent.client() as client:
        for number, (body, names) in enumerate([(b'{"model":"m"}', needed), (b'{"model":"m","stream":true}', needed | {"stream"})], 1):
            client.send(spop.notify(spop.question(body=body), number, 1))
            assert {name for _, name, _ in client.ack(number, 1).actions()} == names
    with agent.client(max_frame_size=spop.U32(1024)) as client:
        client.send(spop.notify(spop.question(body=b'{"model":"m"}', ua="x" * 128, project="x" * 64, client="x" * 64), 1, 1))
        got = {name: value for _, name, value in client.ack(1, 1).actions()}
    assert set(got) == needed - {"line"} | {"route", "model", "stream", "protocol", "metered"} and (got["model"], got["stream"]) == ("m", False), got


# ---- times


def test_the_last_hour_that_a_record_can_have(work):
    """A record of a time after the year 9999 is put into the last hour of that year. The end of that hour has a year of five digits."""
    log = work / "log"
    maker = loglines.Maker()
    log.write_text("".join(maker.one(te=te, ta=1).line + "\n" for te in (1, 2 ** 60)))
    config = harness.write_config(work, {"ledger": str(work)})
    done = cli("ledger", "import", log, "-c", config)
    assert done.code == 0, done
    said = cli("ledger", "verify", "-c", config).out
    assert "requests from 1970-01-01 00:00 to 10000-01-01 00:00 UTC\n" in said, said
    assert "  1970-01-01 01:00 to 9999-12-31 23:00  " in said, said
    said = json.loads(cli("ledger", "verify", "--json", "-c", config).out)
    assert (said["first_hour"], said["last_hour"]) == ("1970-01-01T00:00:00Z", "9999-12-31T23:00:00Z"), said
    # No record is later than the end of that year, so JSON has null for that end instead of a time of the year 10000.
    said = json.loads(cli("savings", "--json", "--since", "9999-12-31", "--until", "9999-12-31", "-c", config).out)
    assert (said["since"], said["until"], said["totals"]["requests"]) == ("9999-12-31T00:00:00Z", None, 1), said
    said = cli("savings", "--since", "9999-12-31T22", "--until", "9999-12-31T23", "-c", config).out
    assert said.startswith("Savings, 9999-12-31 22:00 to 9999-12-31 23:00 UTC\n"), said


# ---- backends --output


def test_backends_are_replaced_as_a_whole_or_not_at_all(work):
    """The file that HAProxy reads is the old one or the new one, and keeps its permissions; after a mistake it is the old one."""
    good = harness.write_config(work, {"routes": [{"model_prefix": "a", "upstream": "https://x.test"}]})
    bad = harness.write_config(work, '{"routes": [{"model_prefix": "a" "upstream": "https://x.test"}]}', "bad.json")
    out, link = work / "llm-backends.cfg", work / "link.cfg"
    done = cli("backends", "-c", good, "--output", out)
    assert (done.code, done.out, done.err) == (0, "", ""), done
    assert out.read_text() == cli("backends", "-c", good).out == cli("backends", "-c", good, "--output", "-").out
    out.write_text("old\n")
    out.chmod(0o640)
    link.symlink_to(out.name)
    for arguments in (["-c", bad], ["-c", work / "none.json"], ["-c", good, "--listen", "nonsense"]):
        done = cli("backends", *arguments, "--output", out)
        assert done.code == 78 and out.read_text() == "old\n", done
    before = out.stat().st_ino
    assert cli("backends", "-c", good, "--output", link).code == 0
    assert link.is_symlink() and out.stat().st_ino != before and out.stat().st_mode & 0o777 == 0o640
    assert "backend llm-x.test" in out.read_text()
    (work / "nowhere.cfg").symlink_to("none.cfg")
    for place, said in ((work / "no" / "such", "No such file or directory; make its directory first"), (work / "nowhere.cfg", "leads nowhere"), (work, "not a file that can be replaced"), ("/dev/null", "not a file that can be replaced")):
        done = cli("backends", "-c", good, "--output", place)
        assert done.code == 73 and said in done.err and str(place) in done.err, done
    assert sorted(one.name for one in work.iterdir()) == ["bad.json", "link.cfg", "llm-backends.cfg", "nowhere.cfg", "spoa-llm.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_whose_the_backends_are(work):
    """root leaves a file to its owner and group; a user, to a group of his own. A user who may not make a file beside it changes nothing."""
    config, place = harness.write_config(work, {"routes": []}), work / "place"
    place.mkdir()
    out = place / "llm-backends.cfg"
    work.chmod(0o755)

    def replace(*user):
        out.write_text("old\n")
        out.chmod(0o640)
        os.chown(out, 1234, 4321)
        done = cli("backends", "-c", config, "--output", out, before=user)
        found = out.stat()
        return done, (found.st_uid, found.st_gid, found.st_mode & 0o777), out.read_text() == "old\n", len(list(place.iterdir()))
    assert replace()[1:] == ((1234, 4321, 0o640), False, 1)
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--groups", "4321"]
    done, *rest = replace(*user)
    assert done.code == 73 and "make a file beside it" in done.err and rest == [(1234, 4321, 0o640), True, 1], done
    place.chmod(0o777)
    assert replace(*user)[1:] == ((65534, 4321, 0o640), False, 1)


def test_backends_that_do_not_fit_the_disk_are_an_error(work):
    """A file may not be larger than 100 blocks of 1 KB here: what HAProxy reads stays as it was, and nothing is left beside it."""
    routes = [{"model_prefix": "m%d-" % n, "upstream": "https://x%d.test" % n} for n in range(300)]
    file, out = harness.write_config(work, {"routes": routes}), work / "out.cfg"
    out.write_text("old\n")
    limited = ["bash", "-c", "ulimit -f 100; exec \"$@\"", "sh"]
    done = cli("backends", "-c", file, "--output", out, before=limited)
    assert done.code == 73 and "File too large" in done.err and out.read_text() == "old\n", done
    assert len(list(work.iterdir())) == 2
    for args in (("backends", "-c", file), ("explain", "--model", "m1-x", "-c", file), ("help",), ("help", "ledger"), ("savings", "--help"), ("--version",), ("--help=table",)):
        with open("/dev/full", "wb") as full:
            done = harness.run(*args, stdout=full)
        assert done.returncode == 74 and b"No space" in done.stderr, done


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_to_do_about_a_file_that_the_user_may_not_read(work):
    """The configuration, the file of clients, and the admin server's socket."""
    work.chmod(0o755)
    clients = work / "clients.json"
    clients.write_text('{"clients": []}')
    file = harness.write_config(work, {"clients": str(clients), "admin_listen": "unix@%s/admin.sock" % work})
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = cli("client", "list", "-c", file, before=nobody)
    assert done.code == 0, done
    clients.chmod(0o600)
    for command in (["client", "list"], ["client", "add", "bob"], ["check"], ["explain"]):
        done = cli(*command, "-c", file, before=nobody)
        assert done.code == 78 and done.err.startswith("spoa-llm: %s: Permission denied; only a user who may read the file" % clients), (command, done)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(work / "admin.sock"))
        sock.listen()
        (work / "admin.sock").chmod(0o600)
        assert "Permission denied; only a user who may write to the socket" in cli("status", "-c", file, before=nobody).out
    file.chmod(0o600)
    done = cli("check", "-c", file, before=nobody)
    assert done.code == 78 and done.err.startswith("spoa-llm: %s: Permission denied; only a user who may read the file" % file), done
