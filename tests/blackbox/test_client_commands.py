"""`spoa-llm client ...`: keys are printed once, the file changes as a whole, and commands at the same time do not lose each other's work."""
import concurrent.futures
import datetime
import json
import os
import re
import subprocess

import pytest

import evidence
import harness
import keys
from harness import cli


@pytest.fixture
def file(tmp_path):
    return tmp_path / "clients.json"


def clients(file):
    return json.loads(file.read_text())["clients"]


def add(file, name, *args):
    return keys.printed(keys.run(file, "add", name, *args), "the key of " + name)


def hashes(client):
    return [one["sha256"] for one in client["keys"]]


def test_the_life_of_a_client(file):
    first = add(file, "alice", "--project", "search", "--allow-model", "gpt-*", "--allow-model", "claude-5", "--allow-route", "gpt",
                "--requests-per-minute", "60", "--parallel", "7", "--tokens-per-minute", "100000", "--budget", "12.5/month", "--allow-unpriced",
                "--expires", "2099-01-01")
    assert clients(file) == [{"name": "alice", "project": "search", "keys": [{"sha256": keys.sha256(first).hex(), "expires_at": "2099-01-01T00:00:00Z"}],
                              "models": ["gpt-*", "claude-5"], "routes": ["gpt"], "requests_per_minute": 60, "parallel": 7, "tokens_per_minute": 100000,
                              "budget": {"usd": "12.50", "per": "month"}, "allow_unpriced": True}]
    bob = add(file, "b\u00f6b", "--json")
    assert [hashes(one) for one in clients(file)] == [[keys.sha256(first).hex()], [keys.sha256(bob).hex()]]

    listed = keys.run(file, "list")
    assert re.search(r"^alice +search +1 +2099-01-01T00:00:00Z +60 +7 +100,000 +\$12.50/month *$", listed.out, re.M), listed
    rows = {one["name"]: one for one in json.loads(keys.run(file, "list", "--json").out)["clients"]}
    assert rows["alice"] == {"name": "alice", "project": "search", "enabled": True, "keys": 1, "next_expires_at": "2099-01-01T00:00:00Z",
                             "requests_per_minute": 60, "parallel": 7, "tokens_per_minute": 100000, "budget": {"usd": "12.500000000", "per": "month"},
                             "spent_usd": None, "left_usd": None}
    assert (rows["b\u00f6b"]["next_expires_at"], rows["b\u00f6b"]["budget"]) == (None, None)
    shown = keys.run(file, "show", "alice").out
    assert keys.sha256(first).hex() in shown and "gpt-*, claude-5" in shown and "$12.50/month" in shown
    assert json.loads(keys.run(file, "show", "alice", "--json").out) == dict(clients(file)[0], spent_usd=None, left_usd=None)

    before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    second = keys.printed(keys.run(file, "rotate", "alice"), "alice's second key")
    old, new = clients(file)[0]["keys"]
    assert (old["sha256"], new) == (keys.sha256(first).hex(), {"sha256": keys.sha256(second).hex()})
    late = datetime.datetime.fromisoformat(old["expires_at"].replace("Z", "+00:00")) - before
    assert datetime.timedelta(hours=24) <= late <= datetime.timedelta(hours=24, minutes=2), late
    rotated = keys.run(file, "rotate", "alice", "--overlap", "0m", "--json")
    assert "the old ones are no longer good" in rotated.err, rotated
    third = keys.printed(rotated, "alice's third key")
    # The old keys end at once, and what ended is gone with the next change of this client's keys.
    assert hashes(clients(file)[0])[-1] == keys.sha256(third).hex() and json.loads(keys.run(file, "list", "--json").out)["clients"][0]["keys"] == 1
    fourth = keys.printed(keys.run(file, "rotate", "alice", "--overlap", "7d"), "alice's fourth key")
    assert hashes(clients(file)[0]) == [keys.sha256(third).hex(), keys.sha256(fourth).hex()]

    done = keys.run(file, "disable", "alice")
    assert (done.code, done.out) == (0, "") and "alice is disabled, which an agent that runs knows within two seconds" in done.err, done
    assert clients(file)[0]["enabled"] is False
    assert re.search("^alice .*disabled", keys.run(file, "list").out, re.M)
    assert json.loads(keys.run(file, "enable", "alice", "--json").out) == {"client": "alice", "enabled": True} and "enabled" not in clients(file)[0]
    assert keys.run(file, "remove", "alice").code == 0 and [one["name"] for one in clients(file)] == ["b\u00f6b"]


def test_what_is_refused_changes_nothing(file):
    add(file, "alice")
    before = file.read_bytes()
    key = keys.key("a key in the wrong place")
    for args, code, said in (
            (["add", "alice"], 65, 'there is a client "alice" already'),
            (["add", "a\tb"], 64, "without control characters"), (["add", "-"], 64, 'is not "-"'), (["add", "x", "--project", "-"], 64, 'is not "-"'),
            (["add", "x", "--budget", "5"], 64, "--budget: dollars and a period"),
            (["add", "x", "--budget", "5/year"], 64, "--budget: day, week or month"),
            (["add", "x", "--budget", "-5/day"], 64, "--budget: dollars like 12.50"),
            (["add", "x", "--parallel", "0"], 64, "--parallel: a whole number from 1"),
            (["add", "x", "--allow-model", "a*b"], 64, "--allow-model: the name of a model"),
            (["add", "x", "--project", " x"], 64, "--project: a name has"),
            (["add", "x", "--expires", "2020-01-01"], 64, "--expires: a time that is still to come"),
            (["add"], 64, "client add needs NAME after it"),
            (["rotate", "bob"], 65, 'there is no client "bob"'),
            (["rotate", "alice", "--expires", "2020-01-01"], 64, "--expires: a time that is still to come"),
            (["rotate", "alice", "--overlap", "x"], 64, "--overlap: a span is expected"),
            (["remove", "bob"], 65, 'there is no client "bob"'),
            (["show", key], 65, "a key does not belong here"), (["add", key], 64, "a key does not belong here"),
            (["add", "x", "--project", key], 64, "a key does not belong here"),
            (["add", "x", key], 64, "unexpected argument (a key"), ([], 64, "client needs one of add"), (["drop", "x"], 64, "there is no command client drop")):
        # What a person types himself into the command line stands there; the answer must not repeat it.
        done = harness.cli("client", *args, "--clients", file)
        assert done.code == code and said in done.err and done.out == "", done
        assert file.read_bytes() == before
    done = harness.cli("client", "list")
    assert done.code == 78 and 'the option "clients" names no file' in done.err, done
    keys.write(file, '{"clients": [{"name": "alice", "nam": 1}]}')
    for command in ("add", "show", "list"):
        done = keys.run(file, command, *([] if command == "list" else ["new"]))
        assert done.code == 78 and "clients.json:1:32: a client has no" in done.err, done
    file.unlink()
    assert "No such file or directory; `spoa-llm client add` makes a new file" in keys.run(file, "rotate", "alice").err and not file.exists()


def test_at_the_same_time(file):
    add(file, "first")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: add(file, "client-%d" % i), range(24)))
    assert sorted(one["name"] for one in clients(file)) == sorted(["first"] + ["client-%d" % i for i in range(24)])
    assert {one["name"]: hashes(one) for one in clients(file)[1:]} == {"client-%d" % i: [keys.sha256(made[i]).hex()] for i in range(24)}
    assert [one.name for one in file.parent.iterdir() if one.suffix != ".json"] == []


def test_the_file_keeps_its_mode_and_its_place(file, tmp_path):
    """A symbolic link stays one, and so do mode and order; the layout is the command's own."""
    real = tmp_path / "real" / "clients.json"
    real.parent.mkdir()
    real.write_text('{"projects": [{"budget": {"per": "day", "usd": 3}, "name": "p"}],\n"clients":[{"keys":[],"name":"z"},{"name":"a","models":["*"]}]}')
    real.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(real, 12345, 54321)
    file.symlink_to(real)
    key = add(file, "m")
    assert file.is_symlink() and (real.stat().st_mode & 0o777) == 0o604
    assert os.geteuid() != 0 or (real.stat().st_uid, real.stat().st_gid) == (12345, 54321)
    assert real.read_text() == ('{\n  "clients": [\n    {"name": "z", "keys": []},\n    {"name": "a", "keys": []},\n    {"name": "m", "keys": [{"sha256": "%s"}]}\n  ],\n'
                                '  "projects": [\n    {"name": "p", "budget": {"usd": "3.00", "per": "day"}}\n  ]\n}\n' % keys.sha256(key).hex())


def test_the_agent_can_read_a_new_file(file):
    """The agent is another user, and an administrator's umask may be strict."""
    keys.printed(harness.cli("client", "add", "alice", "--clients", file, before=["sh", "-c", 'umask 077; exec "$@"', "sh"]), "a key for another user's agent")
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_key_that_cannot_be_printed_is_said(file):
    with open("/dev/full", "wb") as full:
        done = harness.run("client", "add", "alice", "--clients", file, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 74 and b"the key could not be printed" in done.stderr, done
    assert [one["name"] for one in clients(file)] == ["alice"]


def test_explain_asks_as_a_client(file, tmp_path):
    key = add(file, "alice", "--project", "search", "--allow-model", "gpt-*")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"clients": str(file), "require_client": True, "routes": [{"model_prefix": "*", "upstream": "http://127.0.0.1:9"}]}))

    def explain(*args, text=""):
        with harness.start("explain", "-c", config, *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(text.encode())
        evidence.search(out + err, "explain")
        return process.returncode, out.decode(), err.decode()

    assert "client:    alice of project search, by its key" in explain("--model", "gpt-5", "--key", "-", text=key + "\n")[1]
    told = json.loads(explain("--model", "gpt-5", "--key", "-", "--json", text=key)[1])
    assert (told["client"], told["project"], told["deny"]) == ("alice", "search", False)
    assert json.loads(explain("--model", "claude-5", "--key", "-", "--json", text=key)[1])["code"] == "model_not_allowed"
    assert json.loads(explain("--model", "gpt-5", "--json")[1])["code"] == "invalid_api_key"
    for args, text, said in ((["--key", "-"], "sk-spoa-short", "this is no key of a client"), (["--key", "-"], "", "this is no key of a client"),
                             (["--key", "-", "--body", "-"], key, "cannot both read standard input")):
        code, out, err = explain(*args, text=text)
        assert code == 64 and said in err and not out, (out, err)
    # Typed into the command line, a key is seen by all users of the machine, so no example must work that way.
    typed = "sk-spoa-" + "A" * 43
    done = cli("explain", "-c", config, "--key", typed)
    assert done.code == 64 and "only - is allowed" in done.err and typed not in done.err, done
    done = cli("explain", "-c", config, "--header", "authorization: Bearer " + typed)
    assert done.code == 64 and "give it as --key -" in done.err and typed not in done.err, done


def test_what_was_spent_and_what_is_left(file, tmp_path):
    """By the ledger, for requests with a key alone: a header makes nobody spend."""
    keys.write(file, [keys.entry("alice", project="search", budget={"usd": 1, "per": "day"}), keys.entry("bob"), keys.entry("carol", budget={"usd": 9, "per": "month"})],
               [{"name": "search", "budget": {"usd": 3, "per": "month"}}])
    (tmp_path / "prices.json").write_text(json.dumps({"m": {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}}))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"clients": str(file), "ledger": str(tmp_path / "ledger"), "prices": str(tmp_path / "prices.json")}))
    (tmp_path / "ledger").mkdir()

    def run(*args):
        return harness.cli(*args, "-c", config)

    missing = run("client", "list")
    assert missing.code == 0 and "SPENT" not in missing.out and "what was spent is not known" in missing.err, missing
    missing = run("client", "show", "alice", "--json")
    assert (json.loads(missing.out)["spent_usd"], missing.err.count("not known")) == (None, 1), missing
    now = datetime.datetime.now(datetime.timezone.utc)
    line = {"v": 1, "te": int(now.timestamp() * 1000), "src": "127.0.0.1:5", "method": "POST", "route": "*", "backend": "b", "protocol": "openai", "model": "m",
            "ua": "u", "status": 200, "code": "", "term": "--", "stream": "0", "metered": "1", "in": 1, "out": 1, "tr": 0, "tw": 0, "tc": 0, "trs": 1,
            "ta": 1, "ctype": "application/json", "hb": "", "ha": "", "hs": "", "text": "1", "comp": "0", "spoe": ""}
    rows = [("r1", "alice", "search", True, 500), ("r2", "bob", "", True, 300), ("r3", "carol", "", False, 400), ("r4", "alice", "search", True, 700)]
    log = tmp_path / "haproxy.log"
    log.write_text("".join(json.dumps(dict(line, id=name, client=client, project=project, usage=': {"prompt_tokens": %d, "completion_tokens": 0}}' % tokens,
                                           **({"keyed": 1} if keyed else {}))) + "\n" for name, client, project, keyed, tokens in rows))
    assert run("ledger", "import", log).code == 0
    found = json.loads(run("client", "list", "--json").out)
    assert {one["name"]: (one["spent_usd"], one["left_usd"]) for one in found["clients"] + found["projects"]} == {
        "alice": ("1.200000000", "0.000000000"), "bob": ("0.300000000", None), "carol": ("0.000000000", "9.000000000"), "search": ("1.200000000", "1.800000000")}
    listed = run("client", "list").out
    assert re.search(r"^alice +search .* \$1.00/day +\$1.20 +\$0.00 *$", listed, re.M) and re.search(r"^bob .* - +\$0.30 +- *$", listed, re.M), listed
    told = json.loads(run("client", "show", "alice", "--json").out)
    assert (told["spent_usd"], told["left_usd"], told["name"]) == ("1.200000000", "0.000000000", "alice"), told
    shown = run("client", "show", "alice").out
    assert "spent:               $1.20 in this day, left: $0.00" in shown and "$1.20 in this month, left: $1.80" in shown, shown
