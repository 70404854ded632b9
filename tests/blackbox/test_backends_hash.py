"""HAProxy says for which routes its backends were made, and the agent says where its own routes need others."""
import json
import re
import signal

import harness
from harness import cli, until

DIFFER = "spoa_llm_backends_differ_total"


def hash_of(text):
    [found] = re.findall(r"^    set-var proc.llm_backends str\(([0-9a-f]{16})\)$", text, re.M)
    return found


def metric(agent, name):
    return float(re.search(r"^%s (\S+)$" % name, agent.http(path="/metrics").text, re.M).group(1))


def check(agent):
    [found] = [one for one in agent.http(path="/readyz").json()["checks"] if one["part"] == "backends"]
    assert found["blocking"] is False
    return found


def test_haproxy_and_agent_have_different_routes(gateways, make_mock):
    """The operator adds a route and reloads the agent, but HAProxy has the backends of before; then HAProxy gets the new ones."""
    mock = make_mock("hash")
    config = {"routes": [{"model_prefix": "a", "upstream": mock.url()}], "openai_target": mock.url()}
    gateway = gateways([mock], config)
    agent, old = gateway.agent, hash_of(gateway.backends)
    assert check(agent)["detail"].startswith("no request yet")
    gateway.ask("a").only(mock)
    assert check(agent)["ok"] and metric(agent, DIFFER) == 0
    assert 'spoa_llm_backends_info{hash="%s"} 1\n' % old in agent.http(path="/metrics").text

    harness.write_config(gateway.dir, dict(agent.config, routes=config["routes"] + [{"model_prefix": "b", "upstream": mock.url("/b")}]), agent.file.name)
    agent.process.kill(signal.SIGHUP)
    agent.log("event=reloaded")
    gateway.ask("a").only(mock)
    backends = cli("backends", "-c", agent.file).out
    new = hash_of(backends)
    assert new != old
    line = agent.log("event=backends_differ")
    assert "level=warn" in line and "haproxy=%s agent=%s" % (old, new) in line and "spoa-llm backends --output" in line
    gateway.ask("b").refused(502, "no_backend", retry=False)
    assert metric(agent, DIFFER) == 2 and len(agent.lines("event=backends_differ")) == 1
    assert not check(agent)["ok"] and new in check(agent)["detail"]
    assert 'spoa_llm_backends_info{hash="%s"} 1\n' % new in agent.http(path="/metrics").text

    gateway.haproxy.end(signal.SIGINT)
    gateway.cfg.write_text(harness.gateway_config(backends))
    gateway.start_haproxy()
    gateway.ask("b").only(mock)
    assert metric(agent, DIFFER) == 2


def test_what_the_hash_is_made_of(work):
    """All that HAProxy reads of the backends, and nothing else: a route that changes nothing there needs no reload of HAProxy."""
    route = {"model_prefix": "a", "upstream": "https://x.test", "auth": "env:K"}

    def made(options=None, **more):
        return hash_of(cli("backends", "-c", harness.write_config(work, dict({"routes": [dict(route, **more)]}, **(options or {})))).out)
    first = made()
    assert first == made(name="other") == made(auth="file:/x") == made(model_prefix="z") == made(reference_model="m")
    others = [made(upstream="https://y.test"), made(upstream="https://x.test/v1"), made(auth="passthrough"), made(enabled=False),
              made({"ca_file": "/x"}), made({"openai_target": "https://o.test"}), made({"upstream_addresses": 2}), made({"name_servers": ["192.0.2.1"]}),
              made(forward_headers=["x-a"])]
    assert len({first, *others}) == 1 + len(others)


def test_haproxy_says_nothing_or_nonsense(agents):
    """Backends that an older version made have no hash: that is no difference. Any other text in its place is a difference, and harmless."""
    agent = agents({"routes": [{"model_prefix": "a", "upstream": "https://x.test"}]})
    with agent.client() as client:
        for value in (None, ""):
            assert client.ask(body=b'{"model":"a"}', backends=value)["deny"] is False
        assert metric(agent, DIFFER) == 0
        for value in ("x", "0" * 15, "0" * 17, "0" * 16, "x" * 5000, "\n\0\x1b[31m"):
            assert client.ask(body=b'{"model":"a"}', backends=value)["deny"] is False
    assert metric(agent, DIFFER) == 6


def test_a_reload_takes_the_options_of_the_backends(agents):
    """The agent computes the hash as `spoa-llm backends` would now, and asks for no restart."""
    agent = agents({"routes": []})
    for more in ({"ca_file": "/x"}, {"upstream_addresses": 7}, {"name_servers": ["192.0.2.1"]}):
        harness.write_config(agent.file.parent, dict(agent.config, **more), agent.file.name)
        assert agent.http("POST", "/reload", {"X-Requested-With": "spoa-llm"}).status == 200
        assert '{hash="%s"}' % hash_of(cli("backends", "-c", agent.file).out) in agent.http(path="/metrics").text
    assert not agent.lines("event=not_reloaded")
