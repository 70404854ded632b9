"""What a reload, another credential or another file of clients changes is in the log, by name; and nothing of a key or a value is."""
import shlex
import signal

import harness
import keys
from harness import until

ALICE, BOB, CARL = (keys.key(name) for name in ("alice", "bob", "carl"))


def fields(line):
    """The fields of a log line, without time and level."""
    return dict(one.split("=", 1) for one in shlex.split(line)[1:] if not one.startswith("level="))


class Log:
    def __init__(self, agent):
        self.agent, self.seen = agent, {}

    def next(self, event):
        """The fields of the next event of this name, without those that all of them have."""
        at = self.seen.get(event, 0)
        until(lambda: len(self.agent.lines("event=%s " % event)) > at, 10, lambda: "no %s\n%s" % (event, self.agent.text()))
        self.seen[event] = at + 1
        said = fields(self.agent.lines("event=%s " % event)[at])
        return {name: value for name, value in said.items() if name not in ("event", "file")}

    def none(self, event):
        assert len(self.agent.lines("event=%s " % event)) == self.seen.get(event, 0), self.agent.text()


def test_a_reload_names_what_it_changes(agents, work):
    routes = [{"model_prefix": name + "-", "upstream": "https://%s.test" % name} for name in ("a", "b", "c")]
    config = {"routes": routes, "clients": str(work / "clients.json")}
    keys.write(work / "clients.json", [keys.entry("alice", ALICE), keys.entry("bob", BOB, models=["m-*"])])
    agent = agents(config)
    log = Log(agent)

    def reload(**more):
        harness.write_config(work, dict(agent.config, **more), agent.file.name)
        agent.process.kill(signal.SIGHUP)
        assert log.next("reloaded")["by"] == "SIGHUP"

    # Nothing is changed by a reload of the same.
    reload()
    for event in ("routes_changed", "options_changed", "clients_changed"):
        log.none(event)
    reload(routes=[dict(routes[0], upstream="https://elsewhere.test"), routes[2], {"model_prefix": "d-"}])
    assert log.next("routes_changed") == {"by": "SIGHUP", "added": "d-", "removed": "b-", "changed": "a-", "order": "the same"}
    reload(routes=[routes[2], dict(routes[0], tap=True)])
    assert log.next("routes_changed") == {"by": "SIGHUP", "added": "", "removed": "d-", "changed": "a-", "order": "another"}
    reload(routes=[routes[2], dict(routes[0], enabled=False)], openai_target="https://o.test", unresolved="fallthrough")
    assert log.next("routes_changed") == {"by": "SIGHUP", "added": "", "removed": "a-", "changed": "", "order": "the same"}
    assert log.next("options_changed") == {"by": "SIGHUP", "options": "openai_target,unresolved"}
    many = [{"model_prefix": "route-number-%d-" % n} for n in range(60)]
    harness.write_config(work, dict(agent.config, routes=many, openai_target="https://o.test", unresolved="fallthrough"), agent.file.name)
    assert agent.http("POST", "/reload", {"X-Requested-With": "spoa-llm"}).status == 200
    assert log.next("reloaded")["by"] == "POST /reload"
    said = log.next("routes_changed")
    names = said["added"].split(",")
    assert said["by"] == "POST /reload" and names[0] == "route-number-0-" and names[-1] == "%d more" % (60 - len(names) + 1) and len(said["added"]) < 450
    log.none("options_changed")
    # A configuration that cannot be used changes nothing, and names nothing.
    harness.write_config(work, "{", agent.file.name)
    agent.process.kill(signal.SIGHUP)
    assert log.next("reload_failed")["by"] == "SIGHUP"
    log.none("routes_changed")


def test_another_file_of_clients_names_what_it_changes(agents, work):
    file = work / "clients.json"
    keys.write(file, [keys.entry("alice", ALICE), keys.entry("bob", BOB)], [{"name": "p", "tokens_per_minute": 10}])
    (work / "ledger").mkdir()
    agent = agents({"routes": [{"model_prefix": "a"}], "clients": str(file), "ledger": str(work / "ledger"), "log_listen": ["dgram@%s/log" % work]})
    log = Log(agent)
    keys.write(file, [keys.entry("bob", BOB, CARL, models=["m-*"]), keys.entry("alice", (ALICE, "2100-01-01T00:00:00Z")), keys.entry("carl")],
               [{"name": "p", "tokens_per_minute": 20}])
    assert log.next("clients_changed") == {"by": "its file", "added": "carl", "removed": "", "changed": "bob", "keys": "bob,alice", "projects": "p"}
    keys.write(file, [keys.entry("bob", BOB, CARL, models=["m-*"])])
    agent.process.kill(signal.SIGHUP)
    said = log.next("clients_changed")
    assert said["by"] in ("SIGHUP", "its file") and (said["removed"], said["added"], said["changed"], said["keys"]) == ("alice,carl", "", "", "")
    # The order of clients, and white space, mean nothing.
    file.write_text(file.read_text() + "\n\n")
    until(lambda: len(agent.lines("event=clients_loaded")) >= 4, 10, "it is read again")
    log.none("clients_changed")


def test_another_credential_is_told_from_the_first_one(agents, work):
    (work / "key").write_text(harness.secret("one"))
    agent = agents({"routes": [{"model_prefix": "a", "auth": "file:%s/key" % work}]})
    log = Log(agent)
    assert log.next("credential_read")["because"] == "first read"
    other = harness.secret("two")
    (work / "key").write_text(other)
    assert log.next("credential_read")["because"] == "changed"
    (work / "key").unlink()
    log.next("credential_missing")
    (work / "key").write_text(other)
    assert log.next("credential_read")["because"] == "there again"
