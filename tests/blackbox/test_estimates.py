"""Estimates from bytes, where a stream does not report its usage: from text only, never beyond the model's context; where bytes tell nothing the
usage is unknown."""
import base64
import contextlib
import gzip
import json
import random

import pytest

import harness
from ledgers import LedgerGateway
from test_usage_capture import EVENTS, Scripted, chunked, event

PRICES = {"e-plain": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},
          "e-small": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "max_input_tokens": 1000, "max_output_tokens": 50},
          "e-legacy": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "max_tokens": 60},
          "e-speaks": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "output_cost_per_audio_token": 1e-5}}
WORDS = " ".join(random.Random(1).choice(["the", "model", "reads", "tokens", "of", "text", "straße", "日本語", "a/b+c"]) for _ in range(30000))
PICTURE = base64.b64encode(random.Random(2).randbytes(90000)).decode()


class Gateway(LedgerGateway):
    def start(self):
        (self.home / "prices.json").write_text(json.dumps(PRICES))
        super().start()


def stream(tokens=100):
    return b"".join(event("x", {"choices": [{"delta": {"content": "x" * 140}}]}) for _ in range(tokens)) + b"data: [DONE]\n\n"


def message(*parts, model="e-plain", before="", after=""):
    """A chat with the parts between two texts."""
    return json.dumps({"model": model, "stream": True, "messages": [
        {"role": "user", "content": [{"type": "text", "text": before}, *parts, {"type": "text", "text": after}]}]}).encode()


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


def in_lines(text, size, by="\n"):
    return by.join(text[at:at + size] for at in range(0, len(text), size))


def seam(before, size, at_end):
    """A body with `size` bytes of base64 across the end of the first 8192 bytes, which the agent sees: `before` of them in front of it. `at_end`: across the
    beginning of the last 8192 bytes, which the agent sees, too."""
    text = message({"type": "x", "data": PICTURE[:size]}, before="a b " * 8000, after="c d " * 8000)
    at = text.index(PICTURE[:size].encode())
    return text.replace(b"a b " * 8000, (b"a b " * 8000)[:8192 - before - (at - 32000)]) if not at_end else \
        text.replace(b"c d " * 8000, (b"c d " * 8000)[:8192 - (size - before) - (len(text) - at - size - 32000)])


TEXT = WORDS[:40000]
# What is sent, headers, the answer's headers and body; what the row says: "estimated"; "unknown"; "whole": estimated if all of the body fits the
# buffer of this HAProxy, unknown if it does not.
CASES = {
    "text": (message(before=TEXT), [], [], stream(), "estimated"),
    "a short text": (message(before="hi"), [], [], stream(), "estimated"),
    "a text in ASCII": (json.dumps({"model": "e-plain", "stream": True, "messages": [{"role": "user", "content": "日本語" * 900}]}).encode(), [], [],
                        stream(), "estimated"),
    "links to pictures": (message(image("https://example.com/" + "a" * 150), before=TEXT), [], [], stream(), "estimated"),
    "a picture": (message(image("data:image/png;base64," + PICTURE)), [], [], stream(), "unknown"),
    "a picture in the middle": (message(image("data:image/png;base64," + PICTURE), before=TEXT, after=TEXT), [], [], stream(), "unknown"),
    "a small picture in the middle": (message(image("data:image/png;base64," + PICTURE[:240]), before=TEXT, after=TEXT), [], [], stream(), "unknown"),
    "a picture with escaped slashes": (message(image("data:image/png;base64," + PICTURE)).replace(b"/", b"\\/"), [], [], stream(), "unknown"),
    "a picture in lines": (message(image("data:image/png;base64," + in_lines(PICTURE, 76))), [], [], stream(), "unknown"),
    **{"base64 at the seam of the %s, %d of %d before it" % ("tail" if at_end else "head", before, size): (seam(before, size, at_end), [], [], stream(), "unknown" if size >= 200 else "estimated")
       for before, size, at_end in ((100, 240, False), (41, 200, False), (40, 200, False), (199, 200, False), (100, 240, True), (160, 200, True), (161, 200, True), (100, 199, False))},
    "audio": (message({"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}}, after=TEXT), [], [], stream(), "unknown"),
    "a file": (message({"type": "file", "file": {"file_data": "data:application/pdf;base64," + PICTURE}}), [], [], stream(), "unknown"),
    "URL-safe base64": (message({"type": "document", "source": {"type": "base64", "data": PICTURE.replace("/", "_").replace("+", "-")}}), [], [],
                        stream(), "unknown"),
    "Ollama's images": (json.dumps({"model": "e-plain", "stream": True, "messages": [{"role": "user", "images": [PICTURE]}]}).encode(), [], [],
                        stream(), "unknown"),
    "a long body": (message(before=WORDS * 9), [], [], stream(), "whole"),
    "a compressed request": (gzip.compress(message(before=TEXT)), [("content-encoding", "gzip")], [], stream(), "unknown"),
    "a compressed answer": (message(before=TEXT), [], [("content-encoding", "gzip")], gzip.compress(stream()), "unknown"),
    "a model of small context": (message(before=TEXT, model="e-small"), [], [], stream(900), "estimated"),
    "a model with max_tokens only": (message(before=TEXT, model="e-legacy"), [], [], stream(900), "estimated"),
    "a model that speaks": (message(before=TEXT, model="e-speaks"), [], [], stream(), "unknown"),
}


@pytest.fixture(scope="module")
def rows(haproxy):
    with contextlib.closing(Scripted("upstream")) as mock, Gateway(haproxy, [mock], {"openai_target": mock.url(), "routes": [{"model_prefix": "*"}]}) as gateway:
        ids = {}
        for name, (body, headers, answers, answer, _) in CASES.items():
            mock.script = lambda _: [chunked(answer, 20000, EVENTS, *answers)]  # noqa: B023
            got = gateway.call("POST", "/v1/chat/completions", [*headers, *harness.JSON], body)
            assert got.status == 200, (name, got)
            ids[name] = got.header("x-request-id")
        found = gateway.by_id(len(CASES))
        yield {name: found[one] for name, one in ids.items()}


@pytest.mark.parametrize("name", CASES)
def test_an_estimate_does_no_harm(rows, name):
    row, (body, *_, answer, want) = rows[name], CASES[name]
    want = row["usage_from"] if want == "whole" else want
    assert row["usage_from"] == want in ("estimated", "unknown"), (name, dict(row))
    if want == "unknown":
        assert row["input"] is None and row["output"] is None and not row["cost"], dict(row)
        return
    most = PRICES[json.loads(body)["model"]]
    assert 1 <= row["input"] <= min(len(body) / 3, most.get("max_input_tokens", 10**9)), dict(row)
    assert 0 < row["output"] <= min(len(answer), most.get("max_output_tokens", most.get("max_tokens", 10**9))), dict(row)
    if not {"max_input_tokens", "max_tokens"} & set(most):
        assert row["input"] > (len(body) - 60) / 5 and 60 < row["output"] < 160, dict(row)


def test_not_from_what_haproxy_compressed(haproxy):
    """`filter compression` of an operator's: the bytes that HAProxy counts are those it sent."""
    def compressing(text):
        return text.replace("    filter spoe engine llm", "    filter compression\n    compression algo gzip\n    compression type text/event-stream\n    filter spoe engine llm", 1)

    with contextlib.closing(Scripted("upstream")) as mock, \
            Gateway(haproxy, [mock], {"openai_target": mock.url(), "routes": [{"model_prefix": "*"}]}, edit=compressing) as gateway:
        mock.script = lambda _: [chunked(stream(), 20000, EVENTS)]
        ids = [gateway.call("POST", "/v1/chat/completions", [*more, *harness.JSON], message(before=TEXT)).header("x-request-id")
               for more in ([], [("accept-encoding", "gzip")])]
        rows = gateway.by_id(2)
        assert [rows[one]["usage_from"] for one in ids] == ["estimated", "unknown"], rows


def test_between_the_ends_of_a_large_buffer(haproxy):
    """HAProxy 3.4 looks there for base64 as for a second model: the agent sees the ends only."""
    if harness.version_of(haproxy) < (3, 4):
        pytest.skip("only HAProxy 3.4 has large buffers")
    bodies = [message(before=WORDS[:90000], after=WORDS[:90000]), message({"type": "x", "data": PICTURE[:200]}, before=WORDS[:90000], after=WORDS[:90000])]
    with contextlib.closing(Scripted("upstream")) as mock, \
            Gateway(haproxy, [mock], {"openai_target": mock.url(), "routes": [{"model_prefix": "*"}]}, limits={"LLM_BUFSIZE": "65536", "LLM_BUFSIZE_LARGE": "1000000"}) as gateway:
        mock.script = lambda _: [chunked(stream(), 20000, EVENTS)]
        ids = [gateway.call("POST", "/v1/chat/completions", harness.JSON, body).header("x-request-id") for body in bodies]
        rows = gateway.by_id(2)
        assert [rows[one]["usage_from"] for one in ids] == ["estimated", "unknown"], rows
