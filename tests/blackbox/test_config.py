"""The configuration: the file is read strictly, and an error names line and column; Headroom's variable for routes is read leniently; flag,
variable and file have one order of precedence; and no error text holds a credential."""
import ctypes
import json
import os
import re
import signal
import subprocess
import sys

import pytest

import harness
from harness import cli

ROUTE = '{"model_prefix":"a","upstream":"https://a.test"%s}'


def at(text, mark="@"):
    """Returns `text` without `mark`, and the line and column (from 1) where the mark stood."""
    before = text[:text.index(mark)]
    return text.replace(mark, "", 1), before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


# name: a file, with `@` where the error is.
ERRORS = {
    "unknown key": '{\n  @"listn": "/x"\n}',
    "unknown key, nested": '{"routes": [{"model_prefix": "a",\n @"upstrem": "https://a.test"}]}',
    "key in capitals": '{@"Listen": "/x"}',
    "twice": '{"log_level": "info",\n    @"log_level": "debug"}',
    "twice in a route": '{"routes":[{"model_prefix":"a","upstream":"https://a.test",\n@"model_prefix":"b"}]}',
    "no object": '@["a"]',
    "a string": '@"a"',
    "listen a number": '{"listen":\n\t@7}',
    "listen a list of numbers": '{"listen": ["/a",\n @7]}',
    "listen an empty list": '{"listen": @[]}',
    "listen empty": '{"listen": @""}',
    "max_frame_size a string": '{"max_frame_size": @"16384"}',
    "max_frame_size 255": '{"max_frame_size": @255}',
    "max_frame_size 0": '{"max_frame_size": @0}',
    "max_frame_size negative": '{"max_frame_size": @-1}',
    "max_frame_size a fraction": '{"max_frame_size": @300.5}',
    "max_frame_size huge": '{"max_frame_size": @1e30}',
    "max_connections 0": '{"max_connections": @0}',
    "max_connections true": '{"max_connections": @true}',
    "allow_remote a string": '{"allow_remote": @"true"}',
    "allow_remote a number": '{"allow_remote": @1}',
    "strict null": '{"strict": @null}',
    "log_level unknown": '{"log_level": @"loud"}',
    "log_level in capitals": '{"log_level": @"INFO"}',
    "log_format unknown": '{"log_format": @"xml"}',
    "listen_mode a number": '{"listen_mode": @660}',
    "listen_mode no octal": '{"listen_mode": @"0888"}',
    "listen_mode too much": '{"listen_mode": @"07777"}',
    "ca_file a number": '{"ca_file": @1}',
    "target a number": '{"openai_target": @1}',
    "routes an object": '{"routes": @{}}',
    "routes a string": '{"routes": @"[]"}',
    "a route is a string": '{"routes": [\n@"a"]}',
    "a route is null": '{"routes": [@null]}',
    "no prefix": '{"routes": [@{"upstream": "https://a.test"}]}',
    "empty prefix": '{"routes": [{"model_prefix": @""}]}',
    "blank prefix": '{"routes": [{"model_prefix": @"  "}]}',
    "prefix with blanks around": '{"routes": [{"model_prefix": @" a "}]}',
    "prefix a number": '{"routes": [{"model_prefix": @5}]}',
    "prefix with a control character": '{"routes": [{"model_prefix": @"a\\nb"}]}',
    "prefix behind an invisible character": '{"routes": [{"model_prefix": @"\\u200bglm-"}]}',
    "prefix before a wide blank": '{"routes": [{"model_prefix": @"glm-\\u00a0"}]}',
    "prefix with a star behind": '{"routes": [{"model_prefix": @"glm-*"}]}',
    "prefix with a star in it": '{"routes": [{"model_prefix": @"*glm"}]}',
    "prefix of two stars": '{"routes": [{"model_prefix": @"**"}]}',
    "prefix of paths with a star": '{"routes": [{"path_prefix": @"/v1/files/*", "upstream": "https://a.test"}]}',
    "paths with a star": '{"routes": [{"model_prefix": "a", "upstream": "https://a.test", "paths": [@"/v1/files/*"]}]}',
    "prefix of Google's spelling alone": '{"routes": [{"model_prefix": @"models/"}]}',
    "prefix too long": '{"routes": [{"model_prefix": @"%s"}]}' % ("a" * 300),
    "upstream a number": '{"routes": [{"model_prefix": "a", "upstream": @5}]}',
    "upstream null": '{"routes": [{"model_prefix": "a", "upstream": @null}]}',
    "upstream empty": '{"routes": [{"model_prefix": "a", "upstream": @""}]}',
    "upstream without a scheme": '{"routes": [{"model_prefix": "a", "upstream": @"a.test"}]}',
    "upstream of another scheme": '{"routes": [{"model_prefix": "a", "upstream": @"ftp://a.test"}]}',
    "upstream without a host": '{"routes": [{"model_prefix": "a", "upstream": @"https://"}]}',
    "upstream without a host but a path": '{"routes": [{"model_prefix": "a", "upstream": @"https:///x"}]}',
    "upstream with a user": '{"routes": [{"model_prefix": "a", "upstream": @"https://u:p@a.test"}]}',
    "upstream with a query": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/?x=y"}]}',
    "upstream with a fragment": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/#x"}]}',
    "upstream with port 0": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test:0"}]}',
    "upstream with port 65536": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test:65536"}]}',
    "upstream with a port that is none": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test:x"}]}',
    "upstream that is no IPv4 address": '{"routes": [{"model_prefix": "a", "upstream": @"http://10.0.0.256"}]}',
    "upstream that is half an IPv4 address": '{"routes": [{"model_prefix": "a", "upstream": @"http://127.1"}]}',
    "upstream that is a number": '{"routes": [{"model_prefix": "a", "upstream": @"http://0x7f.1:8000"}]}',
    "upstream that is no IPv6 address": '{"routes": [{"model_prefix": "a", "upstream": @"http://[::1::]:8000"}]}',
    "upstream with IPv4 in brackets": '{"routes": [{"model_prefix": "a", "upstream": @"http://[10.0.0.1]"}]}',
    "upstream with a part that DNS has not": '{"routes": [{"model_prefix": "a", "upstream": @"http://%s.test"}]}' % ("x" * 64),
    "upstream with an endpoint": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/v1/chat/completions"}]}',
    "upstream with an endpoint and a slash": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/v1/messages/"}]}',
    "upstream with a blank": '{"routes": [{"model_prefix": "a", "upstream": @"https://a .test"}]}',
    "upstream with a blank in the path": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/x y"}]}',
    "upstream with a line end": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/\\nx"}]}',
    "upstream with a quote": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/\\"x"}]}',
    "upstream with %[]": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/%[src]"}]}',
    "upstream with ${}": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/${HOME}"}]}',
    "upstream with a backslash": '{"routes": [{"model_prefix": "a", "upstream": @"https://a.test/\\\\x"}]}',
    "protocol unknown": '{"routes": [{"model_prefix": "a", "protocol": @"cohere"}]}',
    "protocol gemini": '{"routes": [{"model_prefix": "a", "protocol": @"gemini"}]}',
    "protocol a number": '{"routes": [{"model_prefix": "a", "protocol": @1}]}',
    "auth unknown": '{"routes": [{"model_prefix": "a", "auth": @"bearer"}]}',
    "auth a number": '{"routes": [{"model_prefix": "a", "auth": @1}]}',
    "auth env without a name": '{"routes": [{"model_prefix": "a", "auth": @"env:"}]}',
    "auth env with a bad name": '{"routes": [{"model_prefix": "a", "auth": @"env:A B"}]}',
    "auth env with =": '{"routes": [{"model_prefix": "a", "auth": @"env:A=B"}]}',
    "auth file without a path": '{"routes": [{"model_prefix": "a", "auth": @"file:"}]}',
    "auth file with a relative path": '{"routes": [{"model_prefix": "a", "auth": @"file:key"}]}',
    "auth_header unknown": '{"routes": [{"model_prefix": "a", "auth": "env:K", "auth_header": @"cookie"}]}',
    "auth_header a number": '{"routes": [{"model_prefix": "a", "auth": "env:K", "auth_header": @1}]}',
    "name empty": '{"routes": [{"model_prefix": "a", "name": @""}]}',
    "name with a line end": '{"routes": [{"model_prefix": "a", "name": @"a\\nb"}]}',
    "name legacy": '{"routes": [{"model_prefix": "a", "name": @"legacy"}]}',
    "name too long": '{"routes": [{"model_prefix": "a", "name": @"%s"}]}' % ("n" * 65),
    "name twice": '{"routes": [{"model_prefix": "a", "name": "n"},\n @{"model_prefix": "b", "name": "n"}]}',
    "backend with a blank": '{"routes": [{"model_prefix": "a", "backend": @"a b"}]}',
    "backend with a line end": '{"routes": [{"model_prefix": "a", "backend": @"a\\nb"}]}',
    "backend with %": '{"routes": [{"model_prefix": "a", "backend": @"a%b"}]}',
    "backend empty": '{"routes": [{"model_prefix": "a", "backend": @""}]}',
    "backend of the gateway's own": '{"routes": [{"model_prefix": "a", "backend": @"llm-agent"}]}',
    "backend like a leg": '{"routes": [{"model_prefix": "a", "backend": @"leg.a.0123456789abcdef"}]}',
    "backend of two upstreams": '{"routes": [{"model_prefix": "a", "upstream": "https://a.test", "backend": "x"},'
                                '\n@{"model_prefix": "b", "upstream": "https://b.test", "backend": "x"}]}',
    "enabled a string": '{"routes": [{"model_prefix": "a", "enabled": @"true"}]}',
    "reference_model a number": '{"routes": [{"model_prefix": "a", "reference_model": @1}]}',
    "models a string": '{"routes": [{"model_prefix": "a", "models": @"a-1"}]}',
    "models a number": '{"routes": [{"model_prefix": "a", "models": ["a-1", @5]}]}',
    "models empty": '{"routes": [{"model_prefix": "a", "models": [@""]}]}',
    "models with a blank at an end": '{"routes": [{"model_prefix": "a", "models": [@"a "]}]}',
    "models with a quote": '{"routes": [{"model_prefix": "a", "models": [@"a\\"b"]}]}',
    "models too long": '{"routes": [{"model_prefix": "a", "models": ["a", @"%s"]}]}' % ("a" * 257),
    "models that another route takes": '{"routes": [{"model_prefix": "a"},\n @{"model_prefix": "b", "models": ["b-1", "a-1"]}]}',
    "models that no route takes": '{"routes": [@{"model_prefix": "b", "models": ["c"]}]}',
    "models that an earlier route takes": '{"routes": [{"model_prefix": "a"}, @{"model_prefix": "a-", "models": ["a-1"]}]}',
    "models, too many": '{"routes": [{"model_prefix": "a", "models": [%s, @"a"]}]}' % ",".join('"a%d"' % n for n in range(1024)),
    "models, too many together": '{"routes": [{"model_prefix": "a", "models": [%s]},\n @{"model_prefix": "b", "models": ["b"]}]}' % (
        ",".join('"a%d"' % n for n in range(1024))),
    "refusal_status 500": '{"refusal_status": @500}',
    "refusal_status a word": '{"refusal_status": @"forbidden"}',
    "after a string with escapes": '{"ca_file": "/a\\"b\\\\\\u0041", @"x": 1}',
    "after other characters": '{"ca_file": "/\u00e9\u20ac", @"x": 1}',
    "on line 40": "{" + "\n" * 39 + '    @"x": 1}',
    "in route 30": '{"routes": [' + ",".join('{"model_prefix":"m%d"}' % n for n in range(29)) + ', @{"protocol":"openai"}]}',
}


@pytest.mark.parametrize("command, case", [("check", case) for case in ERRORS]
                         + [("run", case) for case in list(ERRORS)[::6]])
def test_error_in_the_file(work, case, command):
    """The command exits with 78 and names the file, the line and the column of the error."""
    text, line, column = at(ERRORS[case])
    file = harness.write_config(work, text)
    done = cli(command, "-c", file)
    assert done.code == 78, done
    assert "%s:%d:%d:" % (file, line, column) in done.err, "expected :%d:%d\n%r" % (line, column, done)
    assert len(done.err.splitlines()) <= 2, done


@pytest.mark.parametrize("number", ["0", "-0", "0.0", "-0.0", "0e5"])
def test_zero_in_the_file(work, number):
    assert cli("check", "-c", harness.write_config(work, '{"threads": %s}' % number)).code == 0


# Files that are no JSON. The error names the place where the parser stops, which may be a character after the mistake.
BROKEN = {
    "empty": "", "blank": "  \n ", "cut": '{"listen": "/x"', "cut in a string": '{"listen": "/x', "no colon": '{"a" 1}',
    "trailing comma": '{"listen": "/x",}', "comment": '{ // x\n}', "single quotes": "{'listen': '/x'}",
    "more behind": '{"log_level": "info"} x', "two": '{"log_level":"info"}{"log_level":"info"}', "yaml": "listen: /x\n",
    "NUL": '{"log_level": "in\0fo"}', "deep": "[" * 5000 + "]" * 5000, "bad escape": '{"ca_file": "\\x"}',
    "a lone surrogate": '{"ca_file": "\\ud800"}',
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_no_json(work, case):
    file = harness.write_config(work, BROKEN[case])
    done = cli("check", "-c", file)
    assert done.code == 78, done
    assert str(file) in done.err
    if case not in ("NUL",):
        place = done.err.split(str(file) + ":", 1)[1].split(":")
        assert int(place[0]) >= 1 and int(place[1]) >= 1, done


def test_a_file_that_is_not_there(work):
    done = cli("check", "-c", work / "none.json")
    assert done.code == 78 and "none.json" in done.err


def test_a_directory_as_file(work):
    done = cli("check", "-c", work)
    assert done.code == 78 and str(work) in done.err


def test_a_huge_file(work):
    file = harness.write_config(work, '{"routes": [%s]}' % ("x" * 6000000))
    assert cli("check", "-c", file).code == 78


def test_too_many_routes(work):
    config = {"routes": [{"model_prefix": "m%d-" % n, "upstream": "https://u%d.test" % (n % 50)} for n in range(5000)]}
    done = cli("check", "-c", harness.write_config(work, config))
    assert done.code in (0, 78), done


def test_many_routes(work):
    config = {"routes": [{"model_prefix": "m%d-" % n, "upstream": "https://u%d.test" % (n % 50)} for n in range(1000)]}
    assert cli("check", "-c", harness.write_config(work, config)).code == 0


# ---- no credential in an error text

LEAKY = [
    {"routes": [{"model_prefix": "a", "auth": "%s"}]},
    {"routes": [{"model_prefix": "a", "auth": "Bearer %s"}]},
    {"routes": [{"model_prefix": "a", "auth": "env: %s"}]},
    {"routes": [{"model_prefix": "a", "auth": "env:%s"}]},
    {"routes": [{"model_prefix": "a", "auth": "file:%s"}]},
    {"routes": [{"model_prefix": "a", "auth": ["%s"]}]},
    {"routes": [{"model_prefix": "a", "auth": "passthrough", "auth_header": "%s"}]},
    {"routes": [{"model_prefix": "a", "upstream": "https://user:%s@a.test"}]},
    {"routes": [{"model_prefix": "a", "upstream": "https://%s@a.test"}]},
    {"routes": [{"model_prefix": "a", "upstream": "https://a.test/?key=%s"}]},
    {"openai_target": "https://user:%s@a.test"},
    {"openai_target": "https://a.test/?key=%s"},
]


@pytest.mark.parametrize("at_", range(len(LEAKY)))
@pytest.mark.parametrize("how", ["file", "variable", "strict variable", "flag"])
def test_no_credential_in_an_error(work, at_, how):
    value = harness.secret("config")
    config = json.loads(json.dumps(LEAKY[at_]).replace("%s", value))
    if how == "file":
        args, env = ["-c", harness.write_config(work, config)], {}
    elif "routes" in config:
        text = json.dumps(config["routes"])
        args, env = (["--routes", text], {}) if how == "flag" else (
            ["--strict"] if how == "strict variable" else [], {"HEADROOM_UPSTREAM_ROUTES": text})
    else:
        args, env = (["--openai-target", config["openai_target"]], {}) if how == "flag" else (
            [], {"OPENAI_TARGET_API_URL": config["openai_target"]})
    # cli() fails the test if the credential is in the command's output.
    cli("explain", *args, "--model", "a", env=env)
    done = cli("check", *args, env=env)
    assert done.code in (0, 78)
    if how in ("file", "flag", "strict variable") or "routes" not in config:
        assert done.code == 78, done


# ---- the lenient variable

LENIENT = {
    # name: (text of the variable, how many routes the agent uses, a word of the warning)
    "malformed": ('[{"model_prefix"', 0, "HEADROOM_UPSTREAM_ROUTES"),
    "no array": ('{"model_prefix": "a"}', 0, "array"),
    "a string": ('"x"', 0, "array"),
    "null": ("null", 0, "array"),
    "empty array": ("[]", 0, None),
    "empty prefix": ('[{"model_prefix": ""}, {"model_prefix": "b"}]', 1, "model_prefix"),
    "blank prefix": ('[{"model_prefix": "  "}, {"model_prefix": "b"}]', 1, "model_prefix"),
    "no prefix": ('[{"upstream": "https://a.test"}, {"model_prefix": "b"}]', 1, "model_prefix"),
    "prefix a number": ('[{"model_prefix": 5}, {"model_prefix": "b"}]', 1, "model_prefix"),
    "no object": ('["x", 5, null, {"model_prefix": "b"}]', 1, "object"),
    "unknown protocol": ('[{"model_prefix": "b", "protocol": "cohere"}]', 1, "protocol"),
    "unknown auth": ('[{"model_prefix": "b", "auth": "magic"}]', 1, "auth"),
    "unknown key": ('[{"model_prefix": "b", "colour": "red"}]', 1, "colour"),
    "bad upstream": ('[{"model_prefix": "b", "upstream": "ftp://x"}]', 1, "upstream"),
    "good": ('[{"model_prefix": "b", "upstream": "https://x.test", "auth": "env:K"}]', 1, None),
}


@pytest.mark.parametrize("case", LENIENT)
def test_lenient_variable(agents, case):
    text, routes, warning = LENIENT[case]
    agent = agents({}, env={"HEADROOM_UPSTREAM_ROUTES": text, "K": "k"})
    assert agent.log(r"event=ready.*routes=%d\b" % routes)
    complaints = [line for line in agent.lines(r"level=(warn|error)") if "route_cleartext" not in line]
    if warning is None:
        assert not complaints
    else:
        assert any(warning in line for line in complaints), agent.text()
        level = "error" if case in ("malformed", "no array", "a string", "null") else "warn"
        assert all("level=" + level in line for line in complaints), complaints
    # What the text means for a request.
    answer = agent.ask(body=b'{"model":"b-1"}')
    if case == "bad upstream":
        assert (answer["deny"], answer["status"], answer["code"]) == (True, 502, "no_backend")
    else:
        assert answer["deny"] is False
        assert answer["route"] == ("b" if routes else "legacy")
        assert answer["auth"] == ("replace" if case == "good" else "passthrough")
        if case == "unknown protocol":
            assert answer["backend"] == "llm-api.openai.com"


def test_skipped_entries_count_in_places(agents):
    """A warning gives the place and number that a route's entry has in the variable, so entries that are skipped count too."""
    text, line, column = at('["x", {"model_prefix": ""},\n'
                            ' {"model_prefix": "a", "upstream": "https://a.test", "backend": "x"}, 7,\n'
                            ' @{"model_prefix": "ab", "upstream": "https://b.test", "backend": "x"}]')
    agent = agents({}, env={"HEADROOM_UPSTREAM_ROUTES": text})
    shared, = agent.lines("event=route_problem.*would serve two upstreams")
    assert "HEADROOM_UPSTREAM_ROUTES:%d:%d:" % (line, column) in shared
    unreachable, = agent.lines("event=route_unreachable")
    assert "route=5 model_prefix=ab shadowed_by=3 its_model_prefix=a" in unreachable


@pytest.mark.parametrize("case", [case for case in LENIENT if LENIENT[case][2]])
def test_strict_makes_the_variable_strict(case):
    done = cli("check", "--strict", env={"HEADROOM_UPSTREAM_ROUTES": LENIENT[case][0]})
    assert done.code == 78, done
    assert "HEADROOM_UPSTREAM_ROUTES:1:" in done.err, done
    assert cli("check", env={"HEADROOM_UPSTREAM_ROUTES": LENIENT[case][0], "SPOA_LLM_STRICT": "true"}).code == 78


def test_the_flag_is_strict():
    done = cli("check", "--routes", '[{"model_prefix": "a", "auth": "magic"}]')
    assert done.code == 78 and "--routes:1:" in done.err, done


def test_routes_given_twice(work):
    file = harness.write_config(work, {"routes": [{"model_prefix": "a"}]})
    done = cli("check", "-c", file, env={"HEADROOM_UPSTREAM_ROUTES": '[{"model_prefix": "b"}]'})
    assert done.code == 78, done
    assert "HEADROOM_UPSTREAM_ROUTES" in done.err and str(file) in done.err
    assert cli("check", "-c", file, env={"HEADROOM_UPSTREAM_ROUTES": ""}).code == 0


def test_routes_by_flag_count_over_both(work):
    file = harness.write_config(work, {"routes": [{"model_prefix": "a", "name": "file"}]})
    done = cli("explain", "-c", file, "--routes", '[{"model_prefix": "a", "name": "flag"}]', "--model", "a", "--json",
               env={"HEADROOM_UPSTREAM_ROUTES": '[{"model_prefix": "a", "name": "variable"}]'})
    assert done.code == 0 and json.loads(done.out)["route"] == "flag", done


# ---- precedence: flag, variable, file, default

LEVEL = [("warn", "error", "debug", "debug"), ("warn", "error", None, "error"), ("warn", None, None, "warn"),
         (None, None, "error", "error"), (None, "debug", None, "debug"), (None, None, None, "info")]


@pytest.mark.parametrize("in_file, in_variable, in_flag, level", LEVEL)
def test_precedence(agents, in_file, in_variable, in_flag, level):
    """The lines in the agent's log show which level is in force: at debug there are more than at info, and at warn there is not even
    event=ready."""
    config = {"log_level": in_file} if in_file else {}
    agent = agents(config, args=["--log-level", in_flag] if in_flag else [], wait=False,
                   env={"SPOA_LLM_LOG_LEVEL": in_variable} if in_variable else {})
    harness.until(lambda: harness.accepting(agent.address), 10, agent.process.tail)
    with harness.spop.Client(agent.address, greet=False) as client:
        client.send(b"\0\0\0\0")
        client.disconnected()
    with agent.client() as client:
        client.ask(body=b'{"model":"a"}')
    seen = {line.split("level=")[1].split()[0] for line in agent.text().splitlines() if "level=" in line}
    assert seen <= {"debug": {"debug", "info", "warn", "error"}, "info": {"info", "warn", "error"},
                    "warn": {"warn", "error"}, "error": {"error"}}[level], seen
    assert level == "error" or level in seen, seen


@pytest.mark.parametrize("args, env, text", [
    (["--log-level", "loud"], {}, "--log-level"), (["--max-frame-size", "12"], {}, "--max-frame-size"),
    (["--max-frame-size", "12k"], {}, "--max-frame-size"), (["--max-connections", ""], {}, "--max-connections"),
    (["--openai-target", "nope"], {}, "--openai-target"), (["--listen-mode", "rw"], {}, "--listen-mode"),
    ([], {"SPOA_LLM_LOG_LEVEL": "loud"}, "SPOA_LLM_LOG_LEVEL"), ([], {"SPOA_LLM_MAX_FRAME_SIZE": "x"},
                                                                "SPOA_LLM_MAX_FRAME_SIZE"),
    ([], {"OPENAI_TARGET_API_URL": "nope"}, "OPENAI_TARGET_API_URL"), ([], {"SPOA_LLM_ALLOW_REMOTE": "yes"},
                                                              "SPOA_LLM_ALLOW_REMOTE"),
    ([], {"SPOA_LLM_LISTEN": "nonsense"}, "nonsense"), (["--listen", "10.0.0.1:9999"], {}, "allow_remote"),
    (["--listen", "0.0.0.0:9999"], {}, "allow_remote"), (["--listen", "[::]:9999"], {}, "allow_remote"),
    (["--listen", "*:9999"], {}, "allow_remote"), (["--listen", "127.0.0.1:0"], {}, "port"),
    (["--listen", "127.0.0.1:70000"], {}, "port"), (["--listen", "127.0.0.1"], {}, "HOST:PORT"),
    (["--listen", "/" + "x" * 200], {}, "longer"),
])
@pytest.mark.parametrize("command", ["check", "run"])
def test_errors_of_flags_and_variables(command, args, env, text):
    done = cli(command, *args, env=env)
    assert done.code == 78 and text in done.err, done


@pytest.mark.parametrize("address", ["127.0.0.1:9999", "localhost:9999", "[::1]:9999", "/tmp/x.sock", "unix@/tmp/x.sock",
                                     "127.9.9.9:1"])
def test_good_addresses(address):
    assert cli("check", "--listen", address).code == 0


def test_remote_by_permission():
    assert cli("check", "--listen", "10.0.0.1:9999", "--allow-remote").code == 0


# ---- routes that are switched off


def test_a_disabled_catch_all_catches_nothing(agents):
    table = [{"model_prefix": "*", "upstream": "https://off.test", "enabled": False},
             {"model_prefix": "b", "upstream": "https://b.test"}]
    agent = agents({"routes": table})
    assert agent.ask(body=b"{}")["route"] == "legacy"
    assert agent.ask(body=b'{"model":"x"}')["route"] == "legacy"
    assert agent.ask(body=b'{"model":"b"}')["backend"] == "llm-b.test"
    agent = agents({"routes": table + [{"model_prefix": "*", "name": "on", "upstream": "https://on.test"}]})
    assert agent.ask(body=b"{}")["backend"] == agent.ask(body=b'{"model":"x"}')["backend"] == "llm-on.test"


def test_all_disabled_is_no_routes(agents):
    agent = agents({"routes": [{"model_prefix": "a", "upstream": "https://a.test", "enabled": False}]})
    for body in (b'{"model":"a"}', b'{"model":', b'{"model":1}'):
        assert agent.ask(body=body)["route"] == "legacy"


# ---- reload


def test_reload(agents, work):
    agent = agents({"routes": [{"model_prefix": "a", "upstream": "https://one.test"}]})
    listen = agent.config["listen"]

    def reload(config, pattern):
        count = len(agent.lines(pattern))
        harness.write_config(work, config, agent.file.name)
        agent.process.kill(1)
        harness.until(lambda: len(agent.lines(pattern)) > count, 5, lambda: "no %s\n%s" % (pattern, agent.text()))
    with agent.client() as client:
        assert client.ask(body=b'{"model":"a"}')["backend"] == "llm-one.test"
        reload({"listen": listen, "routes": [{"model_prefix": "a", "upstream": "https://two.test"}]}, "event=reloaded")
        # The connection that was open before the reload is still served, now by the new routes.
        assert client.ask(body=b'{"model":"a"}')["backend"] == "llm-two.test"
        reload('{"listen": "%s",\n "routes": [{"model_prefix": "a", "auth": 7}]}' % listen, "event=reload_failed")
        assert ":2:" in agent.lines("event=reload_failed")[-1]
        assert client.ask(body=b'{"model":"a"}')["backend"] == "llm-two.test"
        agent.file.unlink()
        reload({"listen": listen, "routes": [{"model_prefix": "a", "upstream": "https://three.test"}]}, "event=reloaded")
        assert client.ask(body=b'{"model":"a"}')["backend"] == "llm-three.test"


# ---- cJSON's global variables


def test_reloads_leave_cjson_s_allocator_alone(agents, work):
    """cJSON's allocator is set once in a process, by its first thread, because at a reload other threads may be parsing JSON."""
    calls, env = work / "calls", harness.environment()
    preload = " ".join(filter(None, [env.get("LD_PRELOAD"), str(harness.ROOT / "build" / "cjsonhooks.so")]))
    agent = agents({"routes": []}, env={"LD_PRELOAD": preload, "CJSON_HOOKS": str(calls),
                                        "ASAN_OPTIONS": env["ASAN_OPTIONS"] + ":verify_asan_link_order=0"})
    for count in range(1, 4):
        agent.process.kill(signal.SIGHUP)
        harness.until(lambda: len(agent.lines("event=reloaded ")) == count, 5, "reload %d" % count)
    pids = calls.read_text().split()
    assert pids and len(pids) == len(set(pids)), pids


# ---- variables that were mistyped

def test_a_mistyped_variable(work, agents):
    """It has no effect, so start and `check` say so, without its value. Names that only begin as ours do are left alone: those that
    Kubernetes makes for services, and those of credentials."""
    wrong = {"SPOA_LLM_ROUTES": "HEADROOM_UPSTREAM_ROUTES", "SPOA_LLM_LEGER": "SPOA_LLM_LEDGER", "spoa_llm_threads": "SPOA_LLM_THREADS",
             "SPOA_LLM_FLEET_PASSWORD": "SPOA_LLM_FLEET_PASSWORD_FILE", "SPOA_LLM_RETENTION": "SPOA_LLM_RETENTION_DAYS",
             "SPOA_LLM_LOGKEY": "SPOA_LLM_LOG_KEY", "SPOA_LLM_OPENAI_TARGET": "OPENAI_TARGET_API_URL"}
    right = ["SPOA_LLM_LOG_KEY", "SPOA_LLM_LOG_PORT", "SPOA_LLM_LOG_SERVICE_HOST", "SPOA_LLM_PORT_9603_TCP", "SPOA_LLM_VERSION",
             "SPOA_LLM_LOG_KEYS", "SPOA_LLM_ADMIN_TOKENS", "SPOA_LLM_"]
    config = {"routes": [{"model_prefix": "a", "auth": "env:SPOA_LLM_LOG_KEYS"}], "admin_token": "env:SPOA_LLM_ADMIN_TOKENS"}
    env = {name: harness.secret("variable") for name in [*wrong, *right]} | {"SPOA_LLM_LEDGERS": ""}
    done = cli("check", "-c", harness.write_config(work, config), env=env)
    assert dict(re.findall(r'variable_unknown +-> variable=(\S+) hint="is (\S+) meant\?"', done.out)) == wrong, done
    agent = agents(config, env=env)
    assert dict(re.findall(r'event=variable_unknown variable=(\S+) hint="is (\S+) meant\?"', agent.text())) == wrong


def test_an_entry_of_the_environment_that_is_no_variable(work):
    """An entry without a "=", which execve(2) takes, is passed over."""
    argv = [os.fsencode(arg) for arg in (harness.AGENT, "check", "-c", harness.write_config(work, {}))]

    def run():
        ctypes.CDLL(None).execve(argv[0], (ctypes.c_char_p * (len(argv) + 1))(*argv, None), (ctypes.c_char_p * 2)(b"SPOA_LLM_LEGER", None))
    done = subprocess.run([sys.executable, "-c", ""], preexec_fn=run, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "the configuration that was read" in done.stdout and "SPOA_LLM_LEGER" not in done.stdout, done
