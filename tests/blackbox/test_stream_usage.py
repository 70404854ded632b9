"""require_stream_usage: a stream of OpenAI's chat or completions that does not ask for its usage is refused, with the line that the client has to add.
Wherever `stream_options` stands, and however large the body is, a stream that asks is let through."""
import json
import signal

import pytest

import harness
import spop

LINE = '"stream_options": {"include_usage": true}'
ASKS = {"stream_options": {"include_usage": True}}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock, authority, way):
    mock = make_mock("stream-usage")
    routes = [{"model_prefix": "free-", "upstream": mock.url(), "require_stream_usage": False},
              {"model_prefix": "azure", "upstream": mock.url(), "auth": "env:KEY", "require_stream_usage": True},
              {"model_prefix": "*", "path_prefix": "/v1", "upstream": mock.url()}]
    key = harness.secret("stream-usage")
    with harness.Gateway(haproxy, [mock], {"routes": routes, "require_stream_usage": True, "openai_target": mock.url()}, env={"KEY": key},
                         owners={key: [mock]}, way=way, authority=authority) as one:
        one.mock = mock
        yield one


def body(model="m-1", first=(), last=(), size=10):
    """A body with members before and behind its messages, which have about `size` bytes."""
    members = dict(first, model=model, messages=[{"role": "user", "content": "x" * size}])
    return json.dumps(dict(members, **dict(last))).encode()


STREAM = {"stream": True}


@pytest.mark.parametrize("sent, target", [
    (body(last=STREAM), CHAT), (body(first=STREAM), CHAT), (body(last=dict(STREAM, stream_options={})), CHAT),
    (body(last=dict(STREAM, stream_options={"include_usage": False})), "/v1/completions"),
    (body(last=dict(STREAM, stream_options=None)), CHAT),
    (body("azure", STREAM), "/openai/deployments/azure/chat/completions"), (body("legacy", STREAM), "/chat/completions"),
    (body(first=STREAM, size=300000), CHAT), (body(last=STREAM, size=300000), CHAT)],
    ids=["last", "first", "empty", "false", "null", "azure", "legacy", "long-first", "long-last"])
def test_a_stream_that_does_not_ask(gateway, sent, target):
    answer = gateway.post(target, sent)
    answer.refused(400, "stream_usage_required", "openai")
    assert LINE in answer.json()["error"]["message"]
    assert json.loads("{%s}" % LINE) == ASKS


@pytest.mark.parametrize("sent, target", [
    (body(last=dict(STREAM, **ASKS)), CHAT), (body(first=dict(ASKS, **STREAM)), CHAT), (body(first=ASKS, last=STREAM, size=300000), CHAT),
    (body(first=STREAM, last=dict(ASKS, tools=["y" * 300000]), size=300000), CHAT),    # in the middle: HAProxy asks once more
    (body(), CHAT), (body(last={"stream": False}), CHAT), (body("free-1", STREAM), CHAT), (body("free-1", last=STREAM, size=300000), CHAT),
    (body(last=STREAM), "/v1/responses"), (body(last=STREAM), "/v1/messages"), (body(last=STREAM), "/v1/fim/completions")],
    ids=["last", "first", "long", "middle", "no-stream", "false", "free", "free-long", "responses", "messages", "fim"])
def test_what_is_let_through(gateway, sent, target):
    got = gateway.post(target, sent).only(gateway.mock)
    assert got.body == sent and got.target == target


def test_what_the_agent_says(agents):
    """The agent sees parts of a body, in which nothing asks for the usage. HAProxy has the rest or lacks it, and may say what stands in it (`between`)."""
    agent = agents({"require_stream_usage": True, "routes": [{"model_prefix": "*", "upstream": "http://127.0.0.1:1"}]})
    head, tail = b'{"model":"m","stream":true,"messages":["', b'"]}'
    part = dict(body=head, tail=tail, buffered=100, length=100, sized=True)
    with spop.Client(agent.address) as client:
        more = client.ask(**part)
        assert (more["deny"], more["code"], more["status"]) == (True, "model_not_in_sample", 413)
        for between in (1, 2):
            assert client.ask(**part, between=between)["deny"] is (between == 2)      # 2: a second model may stand there
        # A body beyond HAProxy's buffer.
        assert client.ask(**dict(part, tail=None, buffered=len(head), length=10000))["deny"] is False
        assert client.ask(body=head + tail)["code"] == "stream_usage_required"
        assert client.ask(body=head + tail, path="/v1/messages")["deny"] is False
        assert client.ask(body=head + tail, upgrade=True)["code"] != "stream_usage_required"


def test_a_reload_takes_it(agents):
    route = {"model_prefix": "*", "upstream": "http://127.0.0.1:1"}
    agent = agents({"routes": [route]})
    with spop.Client(agent.address) as client:
        for number, (config, code) in enumerate([({}, None), ({"require_stream_usage": True}, "stream_usage_required"),
                                                 ({"require_stream_usage": True, "routes": [dict(route, require_stream_usage=False)]}, None)]):
            harness.write_config(agent.directory, dict(agent.config, **config), agent.file.name)
            agent.process.kill(signal.SIGHUP)
            harness.until(lambda: len(agent.lines("event=reloaded")) > number, 5, "the reload")
            assert client.ask(body='{"model":"m","stream":true}').get("code") == code


@pytest.mark.parametrize("value", ["yes", 1, None, []])
def test_a_wrong_value(work, value):
    done = harness.cli("check", "-c", harness.write_config(work, {"routes": [
        {"model_prefix": "*", "upstream": "http://127.0.0.1:1", "require_stream_usage": value}]}))
    assert done.code != 0 and '"require_stream_usage" must be true or false' in done.out + done.err, done
