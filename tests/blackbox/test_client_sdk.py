"""The official SDKs tell an application their own errors where its key is not good, or its client has used a limit."""
import json

import pytest

import keys
from clients import ClientGateway
from harness import secret, workdir
from sdk_rig import Call
from test_sdk import KINDS, client, node  # noqa: F401

OPERATOR = secret("operator")
STRANGER = keys.key("stranger")
LIMITED = {name: keys.key("limited-" + name) for name in KINDS}
POOR = keys.key("poor")


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock):
    mock = make_mock("a")
    home = workdir()
    (home / "prices.json").write_text(json.dumps({"m-1": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}}))
    config = {"routes": [{"model_prefix": "*", "upstream": mock.url(), "auth": "env:OPERATOR"}], "require_client": True,
              "ledger": str(home), "log_listen": ["dgram@%s/log" % home], "tap_listen": "dgram@%s/tap" % home, "prices": str(home / "prices.json")}
    clients = [keys.entry(name.replace(".", "-"), key, requests_per_minute=1) for name, key in LIMITED.items()]
    with ClientGateway(haproxy, [mock], config, clients + [keys.entry("poor", POOR, budget={"usd": "0.000001", "per": "month"})], "required",
                       env={"OPERATOR": OPERATOR}, owners={OPERATOR: [mock]}) as gateway:
        gateway.mock = mock
        yield gateway


@pytest.mark.parametrize("name", KINDS)
def test_sdks_tell_of_keys_and_limits_by_their_own_errors(client, gateway, name):  # noqa: F811
    kind = KINDS[name]

    def ask(key, **options):
        return Call(client, gateway, kind.sdk, kind.call, "plain", kind.params("m-1", "Hello"), key=key, **dict(kind.options, **options))
    error = ask(STRANGER).refused(401, "ApiError" if kind.sdk == "genai" else "AuthenticationError")
    assert "invalid_api_key" in json.dumps(error) and "no valid key" in error["message"]
    assert ask(LIMITED[name]).succeeded()["text"] == "hi"
    once = {} if kind.sdk == "genai" else {"maxRetries": 0}
    call = ask(LIMITED[name], **once)
    error = call.refused(429, "ApiError" if kind.sdk == "genai" else "RateLimitError")
    assert "rate_limit_exceeded" in json.dumps(error) and "requests a minute" in error["message"]
    assert 1 <= int(call.got["headers"]["retry-after"]) <= 61
    assert call.got["headers"].get("%s-requests%s" % (("anthropic-ratelimit", "-remaining") if "anthropic" in name else ("x-ratelimit-remaining", ""))) == "0"
    spent = ask(POOR)
    error = spent.refused(429, "ApiError" if kind.sdk == "genai" else "RateLimitError")
    assert "insufficient_quota" in json.dumps(error) and "budget does not suffice" in error["message"]
    assert len(spent.sent) == 1, "a retry cannot help, and the SDK tried again"
