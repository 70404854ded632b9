"""The version of the contract between the agent and the files of HAProxy that operators copied. Files of contract 1 work, and files of two contracts do not start. Beside
files from before contract 1 no credential of the operator's leaves, the agent says so, and an option lets them go on. Beside files that it does not know, an agent lets nothing through."""
import json
import re
import signal
import subprocess

import pytest

import contract1
import harness
from harness import CLIENT_KEY, bearer, secret, until

KEY = secret("contract")
ARGUMENT = re.compile(r"^ *args contract=.*\n", re.M)
SET_VAR = re.compile(r"^ *http-request set-var\(txn\.llm_contract\).*\n", re.M)


def without(pattern):
    def edit(text):
        assert len(pattern.findall(text)) == 1
        return pattern.sub("", text)
    return edit


def number(pattern, n):
    def edit(text):
        [line] = pattern.findall(text)
        assert line.count("int(1)") == 1
        return text.replace(line, line.replace("int(1)", "int(%d)" % n))
    return edit


def contract(n):
    """The files of contract 2 as those of another contract that has the same arguments and variables."""
    return lambda text: text.replace("llm-request-2", "llm-request-%s" % n)


def then(*edits):
    def edit(text):
        for one in edits:
            text = one(text)
        return text
    return edit


CFG1, SPOE1 = contract1.haproxy_cfg, contract1.spoe_conf
# What is done to haproxy.cfg and to spoe.conf, and what becomes of requests: all are forwarded (GOOD), all but those that the operator's credential would go along with (OLD),
# none (NEW).
GOOD, OLD, NEW = "forwarded", "old", "new"
FILES = {
    "as shipped": (None, None, GOOD),
    "contract 1": (CFG1, SPOE1, GOOD),
    "spoe.conf sends no contract": (CFG1, then(SPOE1, without(ARGUMENT)), OLD),
    "haproxy.cfg sets no contract": (then(CFG1, without(SET_VAR)), SPOE1, OLD),
    "neither": (then(CFG1, without(SET_VAR)), then(SPOE1, without(ARGUMENT)), OLD),
    "0 in haproxy.cfg": (then(CFG1, number(SET_VAR, 0)), SPOE1, OLD),
    "0 in spoe.conf": (CFG1, then(SPOE1, number(ARGUMENT, 0)), OLD),
    "negative": (then(CFG1, number(SET_VAR, -1)), then(SPOE1, number(ARGUMENT, -1)), OLD),
    "contract 2 in the words of contract 1": (then(CFG1, number(SET_VAR, 2)), then(SPOE1, number(ARGUMENT, 2)), NEW),
    "newer": (contract(3), contract(3), NEW),
    "much newer": (contract(1 << 60), contract(1 << 60), NEW),
}
# Files of two contracts, with which HAProxy does not start.
MIXED = {"an old haproxy.cfg": (CFG1, None), "an old spoe.conf": (None, SPOE1), "a newer haproxy.cfg": (contract(3), None), "a newer spoe.conf": (None, contract(3))}


class Gateway(harness.Gateway):
    def use(self, case):
        """Restarts HAProxy with the files of `case`."""
        self.haproxy.end(signal.SIGINT)
        edit, edit_spoe, _ = FILES[case]
        text, spoe = harness.gateway_config(self.backends), harness.SPOE_CONF.read_text()
        self.cfg.write_text(edit(text) if edit else text)
        (self.dir / "spoe.conf").write_text(edit_spoe(spoe) if edit_spoe else spoe)
        self.start_haproxy()

    def allow(self, older):
        """Reloads the agent with and without allow_older_contract."""
        config = dict(self.config, allow_older_contract=True) if older else self.config
        self.agent.file.write_text(json.dumps(config))
        assert self.agent.http("POST", "/reload", {"X-Requested-With": "spoa-llm"}).status == 200

    def check(self):
        answer = self.agent.http(path="/readyz")
        assert answer.status == 200 and answer.json()["status"] == "ok", answer
        [check] = [one for one in answer.json()["checks"] if one["part"] == "contract"]
        assert check["blocking"] is False
        return check

    def outdated(self):
        return int(re.search(r"^spoa_llm_contract_outdated_total (\d+)$", self.agent.http(path="/metrics").text, re.M).group(1))


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock):
    mocks = {name: make_mock("contract-" + name) for name in ("openai", "anthropic", "gemini")}
    mock = mocks["openai"]
    routes = [{"model_prefix": "op-", "upstream": mock.url(), "auth": "env:KEY"}, {"model_prefix": "gone-", "upstream": mock.url(), "auth": "env:GONE"},
              {"model_prefix": "mine-", "upstream": mock.url()}]
    targets = {name + "_target": one.url() for name, one in mocks.items()}
    with Gateway(haproxy, list(mocks.values()), dict(targets, routes=routes), env={"KEY": KEY}, owners={KEY: [mock]}) as gateway:
        gateway.mock, gateway.targets = mock, mocks
        yield gateway


def goes_on(gateway):
    """Requests whose credential is the client's own do not depend on the contract."""
    for answer in (gateway.ask("mine-1"), gateway.ask("other"), gateway.call("GET", "/v1/models", bearer())):
        assert answer.only(gateway.mock).header("authorization") == "Bearer " + CLIENT_KEY


@pytest.mark.parametrize("case", FILES)
def test_files(gateway, case):
    gateway.use(case)
    before = gateway.outdated()
    if FILES[case][2] == GOOD:
        assert gateway.ask("op-1").only(gateway.mock).header("authorization") == "Bearer " + KEY
    else:
        gateway.ask("op-1").refused(503, "contract_outdated", retry=False)
        # A credential that is missing does not hide it, and neither does the client's API.
        gateway.ask("gone-1", target="/v1/messages").refused(503, "contract_outdated", "anthropic", retry=False)
        gateway.post("/v1beta/models/op-1:generateContent", b"{}").refused(503, "contract_outdated", "gemini", retry=False)
        check = gateway.check()
        assert not check["ok"] and "haproxy.cfg" in check["detail"] and "spoe.conf" in check["detail"], check
    if FILES[case][2] == NEW:
        for answer in gateway.ask("mine-1"), gateway.ask("other"), gateway.call("GET", "/v1/models", bearer()):
            answer.refused(503, "contract_outdated", retry=False)
    else:
        goes_on(gateway)
    assert gateway.outdated() - before == (0 if FILES[case][2] == GOOD else 6)


@pytest.mark.parametrize("case", ["as shipped", "contract 1"])
def test_what_the_headers_and_the_query_say(gateway, case):
    """Contract 2 says this in fewer arguments: which API a client without a route speaks, whether a body's end is known, and what can be read in two ways."""
    gateway.use(case)
    for headers, target in ([], "openai"), ([("x-api-key", "k")], "anthropic"), ([("Anthropic-Version", "1")], "anthropic"), ([("x-goog-api-key", "k")], "gemini"), (
            [("Authorization", "Bearer sk-ant-oat01")], "anthropic"), ([("x-api-keys", "k"), ("x-goog-api-kex", "k")], "openai"):
        assert gateway.ask("other", headers).only(gateway.targets[target]), (headers, target)
    gateway.ask("op-1", [("Content-Type", "text/plain")]).refused(400, "ambiguous_model")
    gateway.post("/v1/chat/completions?model=a&model=b", harness.chat("op-1")).refused(400, "ambiguous_model")


def test_a_request_without_any_header(gateway):
    gateway.use("as shipped")
    before = gateway.outdated()
    with gateway.connect() as connection:
        connection.send(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert connection.read("GET").status == 200 and gateway.outdated() == before


@pytest.mark.parametrize("case", MIXED)
def test_haproxy_does_not_start_with_files_of_two_contracts(haproxy, gateway, work, case):
    edit, edit_spoe = MIXED[case]
    text, spoe = harness.gateway_config(gateway.backends), harness.SPOE_CONF.read_text()
    (work / "haproxy.cfg").write_text(edit(text) if edit else text)
    (work / "spoe.conf").write_text(edit_spoe(spoe) if edit_spoe else spoe)
    done = subprocess.run([haproxy, "-c", "-f", work / "haproxy.cfg"], env=harness.environment(dict(gateway.haproxy_env, LLM_SPOE_CONF=str(work / "spoe.conf"))),
                          capture_output=True, text=True)
    assert done.returncode == 1 and re.search(r"unable to find SPOE group 'llm-request", done.stderr), done


def test_it_is_logged_once(gateway):
    """The tests before this one made many outdated requests within a minute."""
    gateway.use("neither")
    for _ in range(3):
        gateway.ask("op-1").refused(503, "contract_outdated", retry=False)
    [line] = gateway.agent.lines("event=contract_outdated")
    assert "level=warn" in line and "contract=0 needed=1" in line and "spoe.conf" in line, line
    assert gateway.agent.lines("event=refused .*code=contract_outdated .*problem=")


def test_an_option_lets_the_version_before_go_on(gateway):
    gateway.use("neither")
    gateway.ask("op-1").refused(503, "contract_outdated", retry=False)
    gateway.allow(True)
    assert gateway.ask("op-1").only(gateway.mock).header("authorization") == "Bearer " + KEY
    goes_on(gateway)
    # The files still have to be replaced, so /readyz goes on saying so.
    assert not gateway.check()["ok"]
    gateway.allow(False)
    gateway.ask("op-1").refused(503, "contract_outdated", retry=False)


def test_without_routes_it_is_said_too(agents):
    agent = agents({})
    assert agent.ask(body=b'{"model":"m"}', contract=None)["deny"] is False
    assert agent.log("event=contract_outdated")
    until(lambda: not [one for one in agent.http(path="/readyz").json()["checks"] if one["part"] == "contract"][0]["ok"], 5, "the check fails")


# ---- `spoa-llm check` on a host


ROUTES = [{"model_prefix": "op-", "name": "ours", "upstream": "https://u.test", "auth": "env:KEY"},
          {"model_prefix": "off-", "name": "off", "upstream": "https://u.test", "auth": "env:KEY", "enabled": False},
          {"model_prefix": "*", "name": "theirs", "upstream": "https://u.test"}]
CASES = [case for case in (*FILES, *MIXED) if case not in ("negative", "much newer", "contract 2 in the words of contract 1")]


@pytest.fixture
def check(work):
    """check(case or {name: text or None}, *args, routes=): runs `spoa-llm check` about these files, and returns its exit code, and what it says
    of each file and each route."""
    def run(case, *args, routes=ROUTES, env=None, before=()):
        files = case
        if isinstance(case, str):
            edit, edit_spoe = MIXED.get(case) or FILES[case][:2]
            text, spoe = harness.EXAMPLE.read_text(), harness.SPOE_CONF.read_text()
            files = {"llm.cfg": edit(text) if edit else text, "spoe.conf": edit_spoe(spoe) if edit_spoe else spoe}
        named = []
        for name, text in files.items():
            if text is not None:
                (work / name).write_text(text)
            named += ["--haproxy", work / name]
        done = harness.cli("check", "-c", harness.write_config(work, {"routes": routes}), *(() if before else named), *args,
                           env=dict({"KEY": KEY}, **(env or {})), before=before)
        said = [re.fullmatch(r"(\w+) +(file|route|backends) +(\S+) +-> (.*)", line) for line in done.out.splitlines()]
        done.said = {(one.group(2), one.group(3).replace(str(work) + "/", "")): (one.group(1), one.group(4)) for one in said if one}
        return done
    return run


@pytest.mark.parametrize("case", CASES)
def test_check(check, case):
    done = check(case)
    old, mixed, newer = case in FILES and FILES[case][2] == OLD, case in MIXED, "newer" in case
    assert done.code == (78 if old or mixed or newer else 0), done
    files = [done.said["file", name] for name in ("llm.cfg", "spoe.conf")]
    if case == "as shipped":
        assert set(files) == {("ok", "contract 2")} and "To do" not in done.out, done
    elif case == "contract 1":
        assert set(files) == {("older", "contract 1; with contract 2, HAProxy has less to do")} and "To do: copy llm.cfg" in done.out, done
    elif old:
        assert ("PROBLEM", "no contract; this agent needs 1") in files, done
        assert done.said["route", "ours"][0] == "PROBLEM" and "contract_outdated" in done.said["route", "ours"][1], done
        assert "New in contract 1" in done.out and "`paths`" in done.out and "To do: copy llm.cfg" in done.out, done
    elif mixed:
        assert re.search(r"^PROBLEM +haproxy +files +-> of contract \d and of contract \d: HAProxy does not start", done.out, re.M) and "To do: copy llm.cfg" in done.out, done
    if newer:
        assert ("PROBLEM", "contract 3, which this agent does not know: upgrade the agent") in files, done
    if not old:
        assert "contract_outdated" not in done.out, done
    assert done.said["route", "theirs"][0] == "ok" and ("route", "off") not in done.said, done


def test_check_with_the_option(check):
    done = check("neither", "--allow-older-contract")
    assert done.code == 0, done
    assert {done.said["file", "llm.cfg"][0], done.said["file", "spoe.conf"][0], done.said["route", "ours"][0]} == {"older"}, done
    assert "allow_older_contract" in done.said["route", "ours"][1] and "To do" in done.out, done


def test_check_without_a_route_that_replaces(check):
    done = check("neither", routes=ROUTES[1:])
    assert done.code == 0 and done.said["file", "llm.cfg"][0] == "older" and "To do" in done.out, done
    assert "New in contract" not in done.out, done


def test_check_names_files_that_it_cannot_read(check, work):
    done = check({"gone.cfg": None, "other.cfg": "global\n    maxconn 10\n"}, "--haproxy", work)
    assert done.code == 78, done
    assert done.said["file", "gone.cfg"] == ("PROBLEM", "cannot be read: No such file or directory"), done
    assert done.said["file", str(work)] == ("PROBLEM", "cannot be read: Is a directory"), done
    assert done.said["file", "other.cfg"] == ("unknown", "has nothing of the gateway"), done
    assert "none with the gateway found" in done.out, done


def test_check_looks_where_the_documents_put_the_files(check, work):
    """In a mount namespace, a directory of the test's stands in the place of /etc/haproxy."""
    place = work / "etc"
    place.mkdir()
    spoe = SPOE1(harness.SPOE_CONF.read_text())
    before = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/haproxy && exec "$@"', place]
    if subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("this machine lets no user make a mount namespace")
    for name in ("spoe.conf", "llm.cfg", "haproxy.cfg"):
        (place / name).symlink_to("/nonexistent")
    assert "none with the gateway found" in check({}, before=before).out
    for name, text in (("spoe.conf", spoe), ("llm.cfg", SET_VAR.sub("", CFG1(harness.EXAMPLE.read_text()))), ("haproxy.cfg", "global\n")):
        (place / name).unlink()
        (place / name).write_text(text)
    done = check({}, before=before)
    assert done.code == 78 and done.said["file", "/etc/haproxy/llm.cfg"][0] == "PROBLEM", done
    # HAProxy's own file has nothing of the gateway, and nobody asked for it.
    assert done.said["file", "/etc/haproxy/spoe.conf"][0] == "older" and "/etc/haproxy/haproxy.cfg" not in done.out, done
    (place / "llm-backends.cfg").write_text("global\n    set-var proc.llm_backends str(%s)\n" % ("0" * 16))
    state, text = check({}, before=before).said["backends", "/etc/haproxy/llm-backends.cfg"]
    assert state == "older" and "hash 0000000000000000, these need" in text, text
    (work / "mine.conf").write_text(ARGUMENT.sub("", spoe))
    done = check({}, before=before, env={"LLM_SPOE_CONF": str(work / "mine.conf")})
    assert done.said["file", "mine.conf"][0] == "PROBLEM" and ("file", "/etc/haproxy/spoe.conf") not in done.said, done


def test_check_takes_no_more_files_than_it_has_room_for(check):
    done = check({}, *["--haproxy", "/nonexistent"] * 17)
    assert done.code == 64 and "haproxy" in done.err, done
