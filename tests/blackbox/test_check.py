"""`spoa-llm check`: all mistakes of a file at once, each with its place and what was expected there; and what the agent needs of its host."""
import json
import os
import pwd
import re
import socket
import subprocess

import pytest

import harness
from harness import cli


def places(text, name="spoa-llm.json"):
    """{(line, column): problem} of the errors, in the order in which they were told."""
    return {(int(line), int(column)): problem
            for line, column, problem in re.findall(r"^spoa-llm: \S*%s:(\d+):(\d+): (.*)$" % name, text, re.M)}


# One mistake each: where @ stands, and what the message says.
SYNTAX = {
    "a comma is missing in a line": ('{"routes": [{"model_prefix": "a" @"name": "b"}]}', "a comma is missing before this"),
    "a comma is missing between lines": ('{"routes": [\n {"model_prefix": "a"}\n @{"model_prefix": "b"}\n]}', "a comma is missing before this"),
    "a comma is missing without a blank": ('{"routes": [{"model_prefix": "a"}@{"model_prefix": "b"}]}', "a comma is missing before this"),
    "a comma too many in an object": ('{"threads": 1@,}', "no comma may follow the last member"),
    "a comma too many in an array": ('{"routes": [{"model_prefix": "a"}@,\n]}', "no comma may follow the last element"),
    "two commas": ('{"threads": 1,@, "strict": true}', "one too many"),
    "a comma first": ('{@, "strict": true}', "one too many"),
    "a comment": ('{"threads": 1 @// one\n}', "no comments"),
    "a comment in a line of its own": ('{\n  @# one\n"threads": 1}', "no comments"),
    "a comment between": ('{"threads": @/* one\n */ 1}', "no comments"),
    "a colon is missing": ('{"threads" @1}', "a colon is expected"),
    "an equals sign": ('{"threads" @= 1}', "a colon is expected"),
    "single quotes": ('{"log_level": @\'info\'}', "double quotes"),
    "quotes of a word processor": ('{"log_level": @\u201cinfo\u201d}', "double quotes"),
    "a name without quotes": ('{@threads: 1}', "double quotes"),
    "a text without quotes": ('{"log_level": @info}', "double quotes"),
    "True": ('{"strict": @True}', "true in JSON"),
    "a quote is missing": ('{"log_level": @"info,\n"threads": 1}', "no closing quote"),
    "a backslash": ('{"routes": [{"model_prefix": "a@\\xb"}]}', "backslash"),
    "half of a character": ('{"routes": [{"model_prefix": "a@\\ud83dfo"}]}', "half of a character"),
    "the other half": ('{"routes": [{"model_prefix": "a@\\udc00fo"}]}', "half of a character"),
    "two first halves": ('{"routes": [{"model_prefix": "\\ud83d\\udE00@\\ud83d\\ud83d\\ude00"}]}', "half of a character"),
    "a number with a plus": ('{"threads": @+1}', "no number of JSON"),
    "a number with a zero in front": ('{"threads": @08}', "a 0 in front"),
    "a number that ends in a point": ('{"threads": 1@.}', "behind the point"),
    "a tab in a text": ('{"threads": -0, "prices": "a@\tb\\"\\\\"}', "a control character may not stand here"),
    "a form feed": ('{"threads": 10e-1,@\f "pipelining": "on"}', "a control character may not stand here"),
    "a value is missing": ('{"threads": @, "strict": true}', "a value is missing"),
    "a brace is missing": ('{"routes": [{"model_prefix": "a"@]}', "a } is missing before this ]"),
    "a bracket is missing": ('{"routes": [{"model_prefix": "a"}@}', "a ] is missing before this }"),
    "a wrong bracket": ('{"threads": 1@]', "} is expected in place of this ]"),
    "the end is missing": ('{"routes": [\n{"model_prefix": "a"}]@', "a } is missing for the { in line 1"),
    "something follows": ('{"threads": 1} @{}', "nothing may follow"),
    "an empty file": ('@', "a value is expected here"),
}


@pytest.mark.parametrize("case", SYNTAX)
def test_a_mistake_and_what_was_expected(work, case):
    """`check` names the place of the mistake, and what was expected there. `run` says the same of what was expected."""
    text, said = SYNTAX[case]
    at = text.index("@")
    before, text = text[:at], text[:at] + text[at + 1:]
    place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
    done = cli("check", "-c", harness.write_config(work, text))
    assert done.code == 78 and list(places(done.err)) == [place] and said in places(done.err)[place], done
    run = cli("run", "-c", harness.write_config(work, text))
    assert run.code == 78 and said in run.err, run


def test_all_mistakes_at_once(work):
    """Of JSON, of options, of routes, and of what they mean together."""
    text = """{
  // one
  "listen": "0.0.0.0:1",
  'threads': 4
  "admin-listen": "none",
  "strict": True,
  "threads": "many",
  "routes": [
    {"model_prefix": "glm-", "upstream": "https://ollama.com", "auth": "env:A B",}
    {"model_prefix": "x-", "upstream": "ftp://y" "protocol": "cohere"},
    {"model_prefix": "x-", "name": "same"}, {"model_prefix": "y-", "name": "same"},
    {"model_prefix": "q-", "reference_model": "abc},
  ],
  "openai_target": "https://x.test?y",
  "admin_token": "me",
  "ca_file" = "a b"
"""
    done = cli("check", "-c", harness.write_config(work, text))
    found = places(done.err)
    wanted = {(2, 3): "comments", (4, 3): "double quotes", (5, 3): "comma is missing", (6, 13): "true", (7, 3): "twice", (9, 81): "no comma", (10, 5): "comma is missing",
              (10, 50): "comma is missing", (12, 47): "closing quote", (12, 52): "no comma", (16, 13): "colon", (17, 1): "too early", (3, 13): "loopback",
              (7, 14): "whole number", (9, 72): "name of a variable", (10, 40): "https://", (10, 62): "anthropic", (11, 45): 'named "same"',
              (14, 20): "query", (15, 18): "itself does not belong", (16, 15): "absolute path"}
    assert set(found) == set(wanted), (sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted)), done)
    assert all(said in found[place] for place, said in wanted.items()), found
    shown = json.loads(cli("check", "--json", "-c", work / "spoa-llm.json").out)
    assert not shown["ok"] and shown["problems"] == len(wanted) and shown["file"] == str(work / "spoa-llm.json")
    assert {(one["line"], one["column"]): one["problem"] for one in shown["errors"]} == found
    one = cli("backends", "-c", work / "spoa-llm.json")
    assert one.code == 78 and "(and %d more: `spoa-llm check` lists them)" % (len(wanted) - 1) in one.err, one


def test_a_credential_among_mistakes_is_not_told(work):
    """Quotes that are missing or odd make names of what was a value."""
    value = harness.secret("mended")
    for auth in ('"%s', '%s"', '%s', "'%s'", '"Bearer " %s', '"a" "%s"', '"%s" "%s": 1', '"x\\%s"', '"", %s', '= "%s"', ': : "%s"', '"%s\n"', '{"%s"', '["%s"}', ', "%s"', ', "%s", "name", "%s"'):
        for text in ('{"routes": [{"model_prefix": "a", "auth": %s, "upstreem": "x"}]}', '{"admin_token": %s, "ledgr": "x"}'):
            done = cli("check", "-c", harness.write_config(work, text % auth.replace("%s", value)))     # cli() fails if the credential is in its output
            assert done.code == 78 and places(done.err), done
            # Nor is its beginning.
            assert value[:len(value) // 2] not in done.err + cli("check", "--json", "-c", work / "spoa-llm.json").out, done


@pytest.mark.parametrize("config, place, said", [
    ('{"listen": ["unix@/a/s", @"/a/s"]}', '"listen"', "is given twice"),
    ('{"listen": "127.0.0.1:1", "admin_listen": @"localhost:1"}', '"listen"', "is given twice"),
    ('{"ledger": "/l", "listen": "unix@/a/s", "log_listen": ["dgram@/a/l", @"dgram@/a/s"]}', '"listen"', "is given twice"),
    ('{"ledger": "/l", "log_listen": ["unix@/a/l", @"dgram@/a/l"]}', '"log_listen"', "is given twice"),
    ('{"ledger": "/l", "log_listen": ["dgram@/a/l"], "tap_listen": @"dgram@/a/l"}', '"log_listen"', "is given twice"),
])
def test_an_address_is_given_twice(work, config, place, said):
    """`run` would say that another process listens there."""
    at = config.index("@" + '"')
    config = config[:at] + config[at + 1:]
    done = cli("check", "-c", harness.write_config(work, config))
    assert done.code == 78 and list(places(done.err)) == [(1, at + 1)] and said in done.err and place in done.err, done


def test_tcp_and_udp_are_two_addresses(work):
    work.chmod(0o700)
    done = cli("check", "-c", harness.write_config(work, {"ledger": str(work), "listen": "unix@%s/s" % work, "admin_listen": "none", "tap_listen": "dgram@%s/t" % work,
                                                          "log_listen": ["127.0.0.1:1514", "udp@127.0.0.1:1514", "127.0.0.1:1515"]}))
    assert done.code == 0, done


# ---- what is there


def findings(*args, env=None, code=None, before=()):
    done = cli("check", "--json", *args, env=env, before=before)
    assert code is None or done.code == code, done
    shown = json.loads(done.out)
    assert shown["ok"] == (done.code == 0) and not shown["errors"], done
    return [(one["state"], one.get("part"), one.get("name"), one["text"]) for one in shown["findings"]], shown


def states(found, part):
    return [(state, text) for state, where, _, text in found if where == part]


def test_which_file_was_read(work):
    file = harness.write_config(work, {})
    assert re.search(r"^ok +config %s " % file, cli("check", "-c", file).out, re.M)
    assert findings("-c", file)[1]["file"] == str(file)
    if not os.path.exists("/etc/spoa-llm/spoa-llm.json"):
        assert "there is no /etc/spoa-llm/spoa-llm.json" in cli("check").out and findings()[1]["file"] is None


def test_the_ledger_s_directory(work):
    ledger = work / "ledger"
    file = harness.write_config(work, {"ledger": str(ledger)})
    env = {"SPOA_LLM_LOG_KEY": "k1"}
    found, _ = findings("-c", file, env=env, code=78)
    [(state, text)] = states(found, "ledger")
    assert state == "problem" and "No such file" in text and "make the directory" in text
    ledger.write_text("")
    found, _ = findings("-c", file, env=env, code=78)
    assert "Not a directory" in str(states(found, "ledger"))
    ledger.unlink()
    ledger.mkdir()
    assert states(findings("-c", file, env=env, code=0)[0], "ledger")[0][0] == "ok"
    assert states(findings("-c", file, env=env)[0], "log")[0][0] == "ok"
    [(state, text)] = states(findings("-c", file, "--journal-max", str(1 << 40), env=env, code=0)[0], "ledger")
    assert state == "warning" and re.match(r'its disk has [\d.]+ [MG]B free; the journal may take 1\.10 TB \("journal_max"\)', text), text
    assert states(findings("-c", file)[0], "log")[0][0] == "warning"
    assert states(findings("-c", file, env={"SPOA_LLM_LOG_KEY": "a b"}, code=78)[0], "log")[0][0] == "problem"
    assert cli("run", "-c", file, env={"SPOA_LLM_LOG_KEY": "a b", "SPOA_LLM_LISTEN": "unix@%s/s" % work}).code != 0


def test_the_admin_token(work):
    token = work / "token"
    file = harness.write_config(work, {"admin_token": "file:%s" % token})
    for text, state, said in ((None, "problem", "No such file"), ("  \n", "problem", "empty"), (harness.secret("token"), "ok", "file:")):
        if text is not None:
            token.write_text(text)
        [(found, why)] = states(findings("-c", file)[0], "admin")
        assert found == state and said in why, why
    file = harness.write_config(work, {"admin_token": "env:TOKEN"})
    assert "not set" in states(findings("-c", file, code=78)[0], "admin")[0][1]
    assert states(findings("-c", file, env={"TOKEN": harness.secret("token-env")}, code=0)[0], "admin")[0][0] == "ok"


def test_the_viewer_token(work):
    """It has to differ from the admin token, and its place is written in the same way: env:NAME or file:PATH."""
    same = harness.secret("token")
    file = harness.write_config(work, {"admin_token": "env:A", "viewer_token": "env:V"})
    assert states(findings("-c", file, env={"A": same, "V": harness.secret("viewer")}, code=0)[0], "admin") == [("ok", "env:A"), ("ok", "env:V")]
    [*_, (state, text)] = states(findings("-c", file, env={"A": same, "V": same + "\n"}, code=78)[0], "admin")
    assert state == "problem" and "same token" in text and same not in text
    assert "not set" in str(states(findings("-c", file, env={"A": same}, code=78)[0], "admin"))
    for config, said in (({"admin_token": "env:A", "viewer_token": "env:A"}, "is the same"), ({"viewer_token": "me"}, "env:NAME or file:PATH is expected")):
        done = cli("check", "-c", harness.write_config(work, config))
        assert done.code == 78 and said in done.err and '"viewer_token"' in done.err, done


@pytest.mark.parametrize("path", ["ca.pem", "@x", "@system-ca/x", "/a b"])
def test_a_ca_file_that_haproxy_would_not_find(work, path):
    done = cli("check", "-c", harness.write_config(work, {"ca_file": path}))
    assert done.code == 78 and "absolute path" in done.err, done


def test_when_a_token_expires(work):
    (work / "token").write_text(json.dumps({"token": harness.secret("check-token"), "expires_at": "2100-01-01T01:00:00+01:00"}))
    file = harness.write_config(work, {"routes": [{"model_prefix": "a", "auth": "file:%s/token" % work}]})
    assert "its token expires at 2100-01-01T00:00:00Z" in cli("check", "-c", file).out


def test_the_directories_of_sockets(work):
    for option in ("listen", "admin_listen", "log_listen", "tap_listen"):
        config = {option: ["%s@%s/none/a.sock" % ("dgram" if option == "tap_listen" else "unix", work)], "ledger": str(work), "tap": option == "tap_listen"}
        [(state, text)] = [one for one in states(findings("-c", harness.write_config(work, config), code=78)[0], "socket") if one[0] == "problem"]
        assert '"%s"' % option in text and "%s/none is missing" % work in text
    (work / "none").mkdir()
    found = states(findings("-c", harness.write_config(work, {"listen": ["unix@%s/none/a.sock" % work]}), code=0)[0], "socket")
    assert found[0][0] == "ok"


def test_routes_without_a_price(work):
    (work / "prices.json").write_text('{"zai/glm-4.6": {"input_cost_per_token": 1e-6}, "gpt-5.5": {"input_cost_per_token": 1e-6}, "free-1": {"max_tokens": 1}}')
    routes = [{"model_prefix": prefix} for prefix in ("glm-", "GPT-5.5", "free-", "qwen", "*")]
    config = {"routes": routes, "ledger": str(work), "prices": str(work / "prices.json")}
    out = cli("check", "-c", harness.write_config(work, config)).out
    assert re.findall(r"^WARNING +route (\S+) .* has a price", out, re.M) == ["free-", "qwen"], out


def test_what_the_agent_would_warn_of(work):
    """In the table and in JSON, and no longer in the log; all of it, also where the log would hold lines back."""
    routes = [{"model_prefix": "far-%d-" % n, "upstream": "http://192.0.2.1", "auth": "env:KEY"} for n in range(15)] + [{"model_prefix": "far-1-x"}]
    file = harness.write_config(work, {"routes": routes})
    done = cli("check", "-c", file, env={"KEY": "some key"})
    assert done.code == 0 and not done.err, done
    assert len(re.findall(r"^WARNING  log   route_cleartext +-> route=far-\d+- upstream=http://192.0.2.1 ", done.out, re.M)) == 15, done
    assert re.search(r"^WARNING  log   route_unreachable +-> route=16 .*shadowed_by=2 .*\n +No request reaches .*Put the longer prefix first", done.out, re.M), done
    found, shown = findings("-c", file, env={"KEY": "some key"}, code=0)
    names = [name for state, part, name, _ in found if (state, part) == ("warning", "log")]
    assert names.count("route_cleartext") == 15 and names.count("route_unreachable") == 1 and shown["warnings"] >= 16
    for mode, told in (("0666", 1), ("0662", 1), ("0660", 0), ("0664", 0)):
        done = cli("check", "--listen", "unix@%s/x.sock" % work, "--listen", "127.0.0.1:9999", "--listen-mode", mode)
        assert done.out.count("listen_open ") == told, (mode, done)
    wrong = cli("check", env={"HEADROOM_UPSTREAM_ROUTES": "no array"})
    assert "WARNING  log   routes_unusable" in wrong.out and not wrong.err, wrong


# ---- how HAProxy reaches upstreams

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
PEM_KEY = PEM + "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"


def test_files_of_certificates(work):
    """HAProxy reads them as root, so what counts is not what the agent's user may read."""
    ca, cert, llm = work / "ca.pem", work / "cert.pem", work / "llm.cfg"
    llm.write_text(harness.EXAMPLE.read_text())
    routes = [{"model_prefix": "a", "upstream": "https://u.test", "ca_file": str(ca), "client_cert": str(cert)},
              {"model_prefix": "off", "upstream": "https://u.test", "ca_file": "%s/off" % work, "enabled": False}]
    config = {"routes": routes, "ca_file": "%s/all.pem" % work}

    def said(*args):
        found, _ = findings("-c", harness.write_config(work, config), *args)
        return {(state, name, re.match(r'"(\w+)": ', text).group(1)): text for state, part, name, text in found if "would not start" in text}

    here = ("--haproxy", llm)
    assert set(said(*here)) == {("problem", "backends", "ca_file"), ("problem", "a", "ca_file"), ("problem", "a", "client_cert")}
    assert all("No such file" in text for text in said(*here).values())
    # Without HAProxy's files, HAProxy may be on another host.
    if not any(os.path.exists("/etc/haproxy/" + name) for name in ("llm.cfg", "spoe.conf", "llm-backends.cfg")):
        assert {state for state, *_ in said()} == {"warning"}
    ca.write_text("no certificate")
    cert.write_text(PEM)
    (work / "all.pem").write_text(PEM)
    found = said(*here)
    assert set(found) == {("problem", "a", "ca_file"), ("problem", "a", "client_cert")}, found
    assert "no whole certificate in PEM" in found["problem", "a", "ca_file"] and "no whole private key" in found["problem", "a", "client_cert"]
    (work / "cert.pem.key").write_text("-----BEGIN PRIVATE KEY-----")
    assert set(said(*here)) == {("problem", "a", "ca_file")}
    (work / "cert.pem.key").unlink()
    for text, told in ((PEM_KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "password"),
                       (PEM_KEY.replace("PRIVATE KEY", "RSA PRIVATE KEY").replace("KEY-----\nAA", "KEY-----\nProc-Type: 4,ENCRYPTED\nAA"), "password"),
                       (PEM_KEY[:-20], "no whole private key"), (PEM_KEY.replace("END CERT", "END_CERT"), "no whole certificate"),
                       (PEM_KEY.replace("CERTIFICATE", "CERTIFICATE REQUEST"), "no whole certificate")):
        cert.write_text(text)
        assert told in said(*here)["problem", "a", "client_cert"], text
    for label in ("RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"):
        cert.write_text("Bag Attributes\r\n" + PEM_KEY.replace("PRIVATE KEY", label).replace("BEGIN CERT", "BEGIN TRUSTED CERT").replace("END CERT", "END TRUSTED CERT"))
        assert set(said(*here)) == {("problem", "a", "ca_file")}, label
    cert.write_text(PEM_KEY)
    ca.unlink()
    os.mkfifo(ca)
    assert "not a file" in said(*here)["problem", "a", "ca_file"]
    ca.unlink()
    ca.mkdir()     # HAProxy reads all files of a directory
    assert not said(*here)


def test_a_host_without_resolv_conf(work):
    """HAProxy would not start with backends that have it read the file."""
    empty = work / "etc"
    empty.mkdir()
    before = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', empty]
    if subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("this machine lets no user make a mount namespace")

    def said(**config):
        found, _ = findings("-c", harness.write_config(work, config), before=before)
        return [(state, text) for state, part, name, text in found if "resolv.conf" in text]

    [(state, text)] = said()
    assert state == "warning" and "No such file" in text and "name the servers" in text
    assert not said(name_servers=["192.0.2.53"]) and not said(name_servers="none")
    (empty / "haproxy").mkdir()
    (empty / "haproxy" / "spoe.conf").write_text(harness.SPOE_CONF.read_text())
    assert said()[0][0] == "problem"
    (empty / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    assert not said()


def test_check_and_explain_say_how_haproxy_connects(work):
    keys = {"ca_file": "@system-ca", "client_cert": "/c.pem", "alpn": "h2", "sni": "s.test", "timeout": 3600, "max_connections": 10}
    file = harness.write_config(work, {"routes": [{"model_prefix": "a", "upstream": "https://u.test", **keys}, {"model_prefix": "b", "upstream": "https://v.test"}]})
    text = "ca_file @system-ca, client_cert /c.pem, alpn h2, sni s.test, timeout 3600, max_connections 10"
    assert re.findall(r"^ +HAProxy connects with (.*)", cli("check", "-c", file).out, re.M) == [text]
    assert re.findall(r"^connects:  with (.*)", cli("explain", "-c", file, "--model", "a1").out, re.M) == [text]
    assert json.loads(cli("explain", "-c", file, "--model", "a1", "--json").out)["connection"] == keys
    other = cli("explain", "-c", file, "--model", "b1", "--json")
    assert "connection" not in json.loads(other.out) and "connects:" not in cli("explain", "-c", file, "--model", "b1").out


def test_the_backends_that_are_installed(work):
    """Also in /etc/haproxy (test_contract.py). Other backends are no problem: they are made again after the check."""
    installed, config = work / "llm-backends.cfg", {"routes": [{"model_prefix": "a", "upstream": "https://u.test"}]}
    file = harness.write_config(work, config)
    assert cli("backends", "-c", file, "--output", installed).code == 0
    agent, = re.findall(r"str\((\w{16})\)", installed.read_text())

    def said(*args):
        found, _ = findings("-c", file, "--haproxy", installed, *args, code=0)
        [one] = [(state, text) for state, part, name, text in found if part == "backends" and name == str(installed)]
        return one

    assert said() == ("ok", "made for these routes (hash %s)" % agent)
    config["routes"][0]["upstream"] = "https://v.test"
    file = harness.write_config(work, config)
    state, text = said()
    assert state == "older" and "hash %s, these need " % agent in text and "make them again" in text, text
    assert said("--upstream-addresses", "3")[1] != text
    installed.write_text("".join(line for line in installed.read_text().splitlines(True) if "set-var" not in line))
    assert said()[0] == "older" and "(no hash, these need" in said()[1]


ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@ROOT
def test_as_the_agent_s_user(work, monkeypatch):
    """What root may read and the agent may not: credential, token, ledger, configuration, directory of a socket. Also the unit's variables."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")        # LeakSanitizer fails in a process that has changed its user
    user = pwd.getpwnam("nobody")
    (work / "env").touch(0o600)
    for name in ("key", "token"):
        (work / name).write_text(harness.secret("as-" + name))
        (work / name).chmod(0o600)
    for name in ("ledger", "run"):
        (work / name).mkdir(mode=0o755)
    work.chmod(0o755)
    config = {"routes": [{"model_prefix": "a", "auth": "file:%s/key" % work}, {"model_prefix": "b", "auth": "env:B_KEY"}], "ledger": str(work / "ledger"),
              "admin_token": "file:%s/token" % work, "listen": "unix@%s/run/a.sock" % work}
    file = harness.write_config(work, config)
    (work / "env").write_text("# of the unit\nB_KEY=\"not a key\"\nSPOA_LLM_LOG_KEY=abc\n")
    env = ["--env-file", work / "env"]
    found, shown = findings("-c", file, *env, code=0)
    assert shown["as"] is None and states(found, "user")[0][0] == "warning" and "--as spoa-llm" in states(found, "user")[0][1]
    found, shown = findings("-c", file, "--as", "nobody", *env, code=78)
    assert shown["as"] == "nobody"
    problems = {(part, name): text for state, part, name, text in found if state == "problem"}
    assert set(problems) == {("route", "a"), ("ledger", str(work / "ledger")), ("admin", "admin_token"), ("socket", config["listen"])}, problems
    assert "this user may not read it" in problems["route", "a"] and all("denied" in text for key, text in problems.items() if key[0] != "route")
    for name in ("key", "token", "ledger", "run"):
        os.chown(work / name, user.pw_uid, user.pw_gid)
    findings("-c", file, "--as", "nobody", *env, code=0)
    # A socket that is there was made by systemd or by a running agent.
    os.chown(work / "run", 0, 0)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(work / "run" / "a.sock"))
        findings("-c", file, "--as", "nobody", *env, code=0)
    file.chmod(0o600)
    done = cli("check", "-c", file, "--as", "nobody")
    assert done.code == 78 and "Permission denied" in done.err, done
    # HAProxy's files are read as root.
    file.chmod(0o644)
    (work / "spoe.conf").write_text("spoe-message llm-request\n    args contract=int(1)\n")
    (work / "spoe.conf").chmod(0o600)
    assert "contract 1" in cli("check", "-c", file, "--as", "nobody", *env, "--haproxy", work / "spoe.conf").out


@ROOT
def test_who_can_check_as_whom(work):
    file = harness.write_config(work, {})
    work.chmod(0o755)
    done = cli("check", "-c", file, "--as", "nobody-at-all")
    assert done.code == 67 and "there is no user nobody-at-all" in done.err, done
    done = cli("check", "-c", file, "--as", "root", before=["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"])
    assert done.code == 77 and "only root" in done.err, done
    assert cli("check", "-c", file, "--as", "nobody", before=["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]).code == 0
    done = cli("check", "--env-file", work / "none")
    assert done.code == 66 and "No such file" in done.err, done


def test_json_that_does_not_fit(work):
    with open("/dev/full", "wb") as full:
        done = harness.run("check", "--json", "-c", harness.write_config(work, {}), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 74, done


# ---- the tap


def with_legs(work, env=None, before=(), haproxy=None):
    """What `check` says of a route that goes through the tap, with the tap's sockets below `work`."""
    file = harness.write_config(work, {"admin_listen": "none", "listen": "unix@%s/a.sock" % work,
                                       "routes": [{"model_prefix": "a", "upstream": "https://a.test", "tap": True}]})
    [leg] = re.findall(r"(?m)^backend (leg\.\S+)$", cli("backends", "-c", file).out)
    env = dict({"LLM_TAP": "unix@%s/tap/tap.sock" % work, "LLM_LEGS": str(work / "legs")}, **(env or {}))
    found, _ = findings("-c", file, *(["--haproxy", haproxy] if haproxy else []), env=env, before=before)
    return leg, found


def bound(path, mode):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    path.chmod(mode)
    return path


def test_who_reaches_the_tap_and_the_legs(work):
    """Whoever can connect to one of their sockets, or put another one in its place."""
    leg, found = with_legs(work)
    assert [state for state, _ in states(found, "tap")] == ["warning", "warning"]      # the directories are missing
    for name in ("tap", "legs"):
        (work / name).mkdir(mode=0o755)
    _, found = with_legs(work)
    assert not states(found, "tap")     # nothing runs yet
    tap, socket_of_leg = bound(work / "tap" / "tap.sock", 0o660), bound(work / "legs" / (leg + ".sock"), 0o660)
    _, found = with_legs(work)
    assert [state for state, _ in states(found, "tap")] == ["ok"]
    for path in (tap, socket_of_leg):
        path.chmod(0o666)
        _, found = with_legs(work)
        [text] = [text for state, text in states(found, "tap") if state == "problem"]
        assert "every user can connect" in text and "operator's credentials" in text
        path.chmod(0o660)
    for name in ("tap", "legs"):
        (work / name).chmod(0o777)
        _, found = with_legs(work)
        assert [state for state, _ in states(found, "tap")].count("problem") == 1
        (work / name).chmod(0o755)
    socket_of_leg.unlink()
    socket_of_leg.write_text("")
    _, found = with_legs(work)
    assert ("problem", "this is no socket") in states(found, "tap")
    # Paths that HAProxy or the tap cannot use.
    for name, value in (("LLM_TAP", "unix@run/tap.sock"), ("LLM_TAP", "tap.sock"), ("LLM_LEGS", "legs")):
        _, found = with_legs(work, env={name: value})
        assert [state for state, text in states(found, "tap") if "does not begin with /" in text] == ["problem"], (value, found)
    for name, value in (("LLM_TAP", "unix@/" + "x" * 95), ("LLM_LEGS", "/" + "x" * 45)):
        _, found = with_legs(work, env={name: value})
        assert [state for state, text in states(found, "tap") if "choose a shorter one" in text] == ["problem"], (value, found)
    # Without the tap nobody asks.
    found, _ = findings("-c", harness.write_config(work, {"admin_listen": "none", "listen": "unix@%s/a.sock" % work}))
    assert not states(found, "tap")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's eyes")
def test_the_agent_s_user_reaches_a_leg(work):
    """The agent's own user gets no further credentials than the agent hands out."""
    work.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    for name in ("tap", "legs"):
        (work / name).mkdir(mode=0o755)
    leg, _ = with_legs(work)
    path = bound(work / "legs" / (leg + ".sock"), 0o660)
    for group, expected in ((0, ["ok"]), (nobody.pw_gid, ["problem"])):
        os.chown(path, 0, group)
        file = work / "spoa-llm.json"
        found, _ = findings("-c", file, "--as", "nobody", env={"LLM_TAP": "unix@%s/tap/tap.sock" % work, "LLM_LEGS": str(work / "legs")})
        assert [state for state, _ in states(found, "tap")] == expected, found


LIMITS = [
    ("global\n    maxconn 4096\n", {}, "ok", "4096 connections and 8692 open files"),
    ("global\n    maxconn 4095\n", {}, "warning", "allows 4095 connections"),
    ("global\n    maxconn 100\n", {"LLM_MAXCONN": "50"}, "ok", "100 connections"),
    ("global\n    maxconn 100\n", {"LLM_MAXCONN": "51"}, "warning", "takes 102"),
    ("global\n    ulimit-n 8691\n", {}, "warning", "allows 8691 open files"),
    ("global\n    ulimit-n 8692\n", {}, "ok", "4096 connections"),
    ("global\n    # maxconn 10\n    presetenv LLM_MAXCONN \"10\"\ndefaults\n    maxconn 11\nglobal\n    maxconn 20\nfrontend x\n"
     "    http-request send-spoe-group llm llm-request\n", {}, "ok", "20 connections"),
    ("global\n    maxconn none\n", {}, "ok", "4096 connections"),
]


@pytest.mark.parametrize("text, env, state, said", LIMITS)
def test_connections_and_files_of_haproxy(work, text, env, state, said):
    """A request through the tap takes two connections of HAProxy's, and four files."""
    file = work / "haproxy.cfg"
    file.write_text((harness.EXAMPLE.read_text() if "presetenv" not in text else "") + text)
    _, found = with_legs(work, env=env, haproxy=file)
    [(is_state, told)] = [(is_state, text) for is_state, part, name, text in found if part == "haproxy" and name in ("limits", "maxconn", "ulimit-n")]
    assert is_state == state and said in told, told


# What HAProxy's files have, check's own environment, the agent's options, and what is said.
WITH, WITHOUT, STRICT = {"clients": True}, {}, {"clients": True, "require_client": True}
MODES = [
    ("", {}, WITHOUT, []),
    ("", {}, WITH, [("warning", "is off unless HAProxy's environment says otherwise, and the agent has clients, so it refuses every request")]),
    ("", {"LLM_CLIENTS": "off"}, WITH, [("problem", "is off, and the agent has clients, so it refuses every request")]),
    ("", {"LLM_CLIENTS": "on"}, WITH, [("ok", "is on")]),
    ("LLM_CLIENTS=on", {}, WITH, [("ok", "is on")]),
    ('LLM_CLIENTS="on" # keys', {}, WITH, [("ok", "is on")]),
    ("#LLM_CLIENTS=on", {}, WITH, [("warning", "is off unless")]),
    ("LLM_CLIENTS2=on", {}, WITH, [("warning", "is off unless")]),
    ("LLM_CLIENTS=on\nLLM_CLIENTS=off", {}, WITH, [("problem", "is off, and")]),
    ("LLM_CLIENTS=off\nglobal\n    setenv LLM_CLIENTS on", {"LLM_CLIENTS": "off"}, WITH, [("ok", "is on")]),
    ("LLM_CLIENTS=required", {}, WITH, [("warning", "\"require_client\" is not set")]),
    ("LLM_CLIENTS=required", {}, STRICT, [("ok", "is required")]),
    ("LLM_CLIENTS=on", {}, STRICT, [("ok", "is on; with required, HAProxy would refuse")]),
    ("LLM_CLIENTS=yes", {}, WITH, [("problem", "neither off, on nor required: HAProxy does not start")]),
    ("LLM_CLIENTS=", {}, WITHOUT, [("problem", "neither off, on nor required")]),
    ("LLM_CLIENTS=" + "x" * 5000, {}, WITHOUT, [("problem", "neither off, on nor required")]),
    ("LLM_CLIENTS=off", {}, WITHOUT, []),
    ("LLM_CLIENTS=on", {}, WITHOUT, [("warning", "is on, and the agent has no clients")]),
    ("LLM_CLIENTS=required", {}, WITHOUT, [("problem", "is required, and the agent has no clients")]),
]


def test_whether_haproxy_looks_for_keys_where_there_are_clients(work):
    (work / "clients.json").write_text('{"clients": []}')
    file, rules = work / "haproxy", ["--haproxy", harness.EXAMPLE, "--haproxy", harness.SPOE_CONF]
    for text, env, options, wanted in MODES:
        file.write_text(text + "\n")
        options = {key: str(work / "clients.json") if key == "clients" else value for key, value in options.items()}
        found, _ = findings("-c", harness.write_config(work, options), *rules, "--haproxy", file, env=env)
        told = [(state, said) for state, part, name, said in found if (part, name) == ("haproxy", "LLM_CLIENTS")]
        assert len(told) == len(wanted) and all(one[0] == state and said in one[1] for one, (state, said) in zip(told, wanted)), (text, env, options, told)
        # A file that sets this variable alone counts as a file of the gateway.
        assert not [said for state, said in states(found, "file") if "nothing of the gateway" in said and "LLM_CLIENTS=" in text and text[0] == "L"], found
    # Without the gateway's own files nothing is known of LLM_CLIENTS.
    alone, _ = findings("-c", harness.write_config(work, {}), "--haproxy", file)
    assert not [said for _, said in states(alone, "haproxy") if "LLM_CLIENTS" in said]


def test_files_from_before_there_were_keys_of_clients(work):
    (work / "clients.json").write_text('{"clients": []}')
    config = harness.write_config(work, {"clients": str(work / "clients.json")})
    cfg, spoe = work / "haproxy.cfg", work / "spoe.conf"
    cfg.write_text(harness.EXAMPLE.read_text().replace("presetenv LLM_CLIENTS", "presetenv LLM_OTHER"))
    spoe.write_text(harness.SPOE_CONF.read_text().replace("spoe-group llm-client", "spoe-group llm-other"))
    found, _ = findings("-c", config, "--haproxy", cfg, "--haproxy", spoe, env={"LLM_CLIENTS": "on"})
    assert [(state, said[:25]) for state, said in states(found, "file") if "clients" in said] == [("problem", "has no rules about keys o"), ("problem", "has no group llm-client, ")], found


def test_files_from_before_there_were_legs(work):
    """HAProxy would not start with their spoe.conf, and would send nothing through the tap by their rules."""
    example, spoe = work / "haproxy.cfg", work / "spoe.conf"
    example.write_text(harness.EXAMPLE.read_text())
    spoe.write_text(harness.SPOE_CONF.read_text())
    for path in (example, spoe):
        _, found = with_legs(work, haproxy=path)
        assert not [text for state, text in states(found, "file") if "legs" in text or "tap" in text]
    example.write_text(re.sub(r"(?m)^.*llm_tapped.*\n", "", example.read_text()))
    _, found = with_legs(work, haproxy=example)
    assert [state for state, text in states(found, "file") if "through the tap" in text] == ["older"], found
    spoe.write_text(spoe.read_text().split("# The question of a leg")[0].replace(" llm-member", ""))
    _, found = with_legs(work, haproxy=spoe)
    assert [state for state, text in states(found, "file") if "llm-member" in text] == ["problem"], found
