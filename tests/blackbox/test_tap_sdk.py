"""Streams of the official SDKs through the tap: the ledger has the usage that the SDK's caller sees, to the token; and the SDK notices nothing."""
import itertools
import json

import pytest

import bodies
from harness import until
from realtap import RealTap, Recorded
from sdk_rig import Call
from test_sdk import CLAUDE_KEY, GEMINI_KEY, GREETING, KINDS, ROUTED_KEY, Kind, aimock, client, node  # noqa: F401



def prompt(model, text):
    return {"model": model, "prompt": text}


# Each SDK, and the way in which it shows its caller the usage of a stream.
SHOWN = {name: (KINDS[name], mode) for name, mode in (("openai-chat", "helper"), ("openai-responses", "helper"), ("anthropic", "helper"),
                                                      ("anthropic-0.137", "helper"), ("genai", "stream"))}
SHOWN.update({"vercel-" + api: (Kind("vercel", api, prompt, "", "", ("stream",), "routed"), "stream") for api in ("chat", "responses")})


@pytest.fixture(scope="module")
def gateway(haproxy, aimock):  # noqa: F811
    routes = [{"model_prefix": "routed-", "upstream": aimock["routed"].url(), "auth": "env:ROUTED"},
              {"model_prefix": "claude-", "upstream": aimock["claude"].url("/v1"), "protocol": "anthropic", "auth": "env:CLAUDE", "auth_header": "x-api-key"},
              {"model_prefix": "gemini-", "upstream": aimock["gemini"].url(), "auth": "env:GEMINI", "auth_header": "x-goog-api-key"}]
    with Recorded(haproxy, aimock.values(), {"routes": routes}, make_tap=lambda path, legs: RealTap(path, legs, report=False),
                  env={"ROUTED": ROUTED_KEY, "CLAUDE": CLAUDE_KEY, "GEMINI": GEMINI_KEY},
                  owners={ROUTED_KEY: [aimock["routed"]], CLAUDE_KEY: [aimock["claude"]], GEMINI_KEY: [aimock["gemini"]]}) as gateway:
        yield gateway


def counts(usage):
    """(input with what was cached, output) as the SDK's caller reads them."""
    if "promptTokenCount" in usage:
        return usage["promptTokenCount"], usage["totalTokenCount"] - usage["promptTokenCount"]
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    return usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0), usage["output_tokens"]


@pytest.mark.parametrize("name", SHOWN)
def test_usage_to_the_token(gateway, client, name):  # noqa: F811
    kind, mode = SHOWN[name]
    text = "Hello, € 👋 \"model\": \"other\""
    call = Call(client, gateway, kind.sdk, kind.call, mode, kind.params(kind.prefix + "-1", text), **kind.options)
    got = call.succeeded()
    assert got["text"] == GREETING % kind.prefix
    id = call.only(next(one for one in gateway.mocks if one.name == kind.prefix)).header("x-request-id")
    row = until(lambda: next((row for row in gateway.rows() if row["id"] == id and row["usage_from"] == "stream"), None), 10,
                lambda: [row for row in gateway.rows() if row["id"] == id])
    assert counts(got["usage"]) == (1234, 56)
    assert row["tap"] == 1 and (row["input"] + row["cache_read"], row["output"]) == counts(got["usage"]), (row, json.dumps(got["usage"]))


def test_a_stream_that_tells_no_usage(gateway, client):  # noqa: F811
    """OpenAI's SDK does not ask for it unless its caller does."""
    kind = KINDS["openai-chat"]
    call = Call(client, gateway, kind.sdk, kind.call, "stream", kind.params("routed-1", "Hello"), **kind.options)
    assert call.succeeded()["text"] == GREETING % "routed"
    id = call.only(next(one for one in gateway.mocks if one.name == "routed")).header("x-request-id")
    row = until(lambda: next((row for row in gateway.rows() if row["id"] == id and row["tap"] == 2), None), 10,
                lambda: [row for row in gateway.rows() if row["id"] == id])
    assert row["usage_from"] == "estimated" and row["output"] > 0, row


def test_what_coding_agents_ask(haproxy, make_mock):
    """Bodies as Claude Code, Codex and OpenAI's SDK send them, of 1 KB to 900 KB, reach the upstream as they were, and the ledger has what it said."""
    mock, asked = make_mock("agents"), {}
    with Recorded(haproxy, [mock], {"routes": [{"model_prefix": "*", "upstream": mock.url()}]},
                  make_tap=lambda path, legs: RealTap(path, legs, report=False)) as gateway:
        for client_name, size in itertools.product(("claude_code", "codex", "openai_node"), bodies.SIZES):
            body = bodies.body(client_name, size)
            answer = gateway.post(body.path, body.data)
            assert answer.status == 200 and answer.only(mock).body == body.data, (client_name, size, answer.response)
            asked[answer.header("x-request-id")] = client_name, size
        rows = until(lambda: (rows := gateway.by_id(len(asked))) and all(rows[id]["usage_from"] == "stream" for id in asked) and rows, 10,
                     lambda: [(asked[row["id"]], row["usage_from"], row["tap"]) for row in gateway.rows()])
    assert {(row["input"], row["output"]) for row in rows.values()} == {(11, 7)}
