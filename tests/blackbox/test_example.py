"""haproxy.cfg.example beside what operators' configurations have."""
import json

import pytest

import harness
from harness import until


def lines_of(gateway):
    return [json.loads(line) for line in gateway.haproxy.text().splitlines() if line.startswith("{")]


def test_options_that_would_take_the_ledger_s_lines_away(gateways, make_mock):
    """`option logasap` writes the line before the answer is there, `option dontlog-normal` none of a success."""
    mock = make_mock("log")
    gateway = gateways([mock], {"routes": [{"model_prefix": "*", "upstream": mock.url()}]}, edit=lambda text: text.replace(
        "\ndefaults\n", "\ndefaults\n    option logasap\n    option dontlog-normal\n", 1))
    gateway.ask("m").only(mock)
    [line] = until(lambda: lines_of(gateway), 5)
    assert line["status"] == 200 and line["out"] > 100 and json.loads(line["usage"])["prompt_tokens"], line


def test_compression(haproxy, gateways, make_mock, work):
    """HAProxy wants `filter compression` where a frontend has another filter; usage is read before it compresses."""
    mock = make_mock("compressed")

    def edit(text):
        return text.replace("    filter spoe engine llm", "    compression algo gzip\n    compression type application/json\n    filter spoe engine llm", 1)
    gateway = gateways([mock], {"routes": [{"model_prefix": "*", "upstream": mock.url()}]},
                       edit=lambda text: edit(text).replace("    filter spoe", "    filter compression\n    filter spoe", 1))
    mock.respond = lambda request: (200, [("content-type", "application/json")],
                                    json.dumps({"usage": {"prompt_tokens": 11, "completion_tokens": 7}, "choices": ["x" * 2000]}).encode())
    answer = gateway.call("POST", "/v1/chat/completions", harness.JSON + [("accept-encoding", "gzip")], harness.chat("m"))
    assert answer.status == 200 and answer.all("content-encoding") == ["gzip"]
    [line] = until(lambda: lines_of(gateway), 5)
    assert json.loads(line["usage"])["prompt_tokens"] == 11, line
    alone = work / "haproxy.cfg"
    alone.write_text(edit(harness.EXAMPLE.read_text()))
    accepted, said = harness.accepted(haproxy, alone, {"LLM_SPOE_CONF": str(harness.SPOE_CONF)})
    assert not accepted and "filter declaration" in said


# A setting, a value that HAProxy would take for another one, and what it says at its start. HAProxy 2.6 does not use LLM_HEAD and LLM_TAIL.
MISTYPED = [("LLM_MAXCONN", value, "LLM_MAXCONN_is_a_number_from_1") for value in ("0", "-1", "8k", "4294967296")] + [
    ("LLM_HEAD", "63", "LLM_HEAD_is_a_number_from_64"), ("LLM_TAIL", "-1", "LLM_TAIL_is_a_number_from_64"),
    ("LLM_LEDGER", "none", "LLM_LEDGER is neither on nor off"), ("LLM_ANSWER_TRAILERS", "Keep", "LLM_ANSWER_TRAILERS is neither drop nor keep")]


@pytest.mark.parametrize("name, value, said", MISTYPED)
def test_haproxy_does_not_start_with_a_mistyped_setting(haproxy, name, value, said):
    unused = harness.version_of(haproxy) < (3, 0) and name in ("LLM_HEAD", "LLM_TAIL")
    accepted, told = harness.accepted(haproxy, harness.EXAMPLE, {"LLM_SPOE_CONF": str(harness.SPOE_CONF), name: value})
    assert accepted == unused and (said in told) != unused, told
