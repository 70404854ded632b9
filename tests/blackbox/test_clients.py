"""What clients of many kinds need of the gateway itself."""
import gzip
import signal

import pytest

import harness
from harness import bearer, secret

KEY = secret("clients")
MULTIPART = [("Content-Type", "multipart/form-data; boundary=xyz")]


@pytest.fixture(scope="module")
def mock(make_mock):
    return make_mock("clients")


@pytest.fixture(scope="module")
def gateway(haproxy, mock):
    routes = [{"model_prefix": "missing-", "upstream": mock.url(), "auth": "env:NOT_SET"},
              {"model_prefix": "good-", "upstream": mock.url(), "auth": "env:KEY"}, {"model_prefix": "*", "upstream": mock.url()}]
    with harness.Gateway(haproxy, [mock], {"routes": routes, **{
            name + "_target": mock.url() for name in ("openai", "anthropic", "gemini")}}, env={"KEY": KEY}) as gateway:
        yield gateway


def reload_with(gateway, **options):
    """Gives the agent other options."""
    harness.write_config(gateway.agent.file.parent, dict(gateway.config, **options), gateway.agent.file.name)
    before = len(gateway.agent.lines("event=reloaded"))
    gateway.agent.process.kill(signal.SIGHUP)
    harness.until(lambda: len(gateway.agent.lines("event=reloaded")) > before, 10, lambda: "the reload\n" + gateway.agent.process.tail())


# ---- the status of a missing credential


@pytest.mark.parametrize("status", [403, "424", 503, 502])
def test_the_status_of_a_missing_credential(gateway, status):
    reload_with(gateway, refusal_status=status)
    for target, shape, body in (("/v1/chat/completions", "openai", b'{"model":"missing-1"}'), ("/v1/messages", "anthropic", b'{"model":"missing-1"}'),
                                ("/v1beta/models/missing-1:generateContent", "gemini", b"{}")):
        answer = gateway.post(target, body).refused(int(status), "upstream_auth_unavailable", shape, retry=False)
        assert b"no usable credential" in answer.body
    if status == 403:   # the log holds back what comes more often than ten times a second
        gateway.agent.log("event=refused.* status=403 code=upstream_auth_unavailable")
    # Other refusals keep theirs.
    gateway.post("/v1/chat/completions", b'{"model":7}').refused(400, "invalid_model")
    assert 'spoa_llm_refusals_total{code="upstream_auth_unavailable",status="%s"}' % status in gateway.agent.http(path="/metrics").text


# ---- bodies that are not what they say


def form(*parts):
    return b"".join(b"--xyz\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n" % part for part in parts) + b"--xyz--\r\n"


GOOD = form((b"model", b"good-1"), (b"prompt", b"x"))


@pytest.mark.parametrize("headers, body, code", [
    (MULTIPART, GOOD.replace(b"\r\n--xyz\r\n", b"x--xyz\r\n"), "invalid_form"),
    (MULTIPART, GOOD.replace(b"\r\n", b"\n"), "invalid_form"),
    (MULTIPART, GOOD[:-8], "invalid_form"),
    (MULTIPART, b"x" + GOOD, "invalid_form"),
    (MULTIPART, GOOD + b"x", "invalid_form"),
    (MULTIPART, b'{"model":"good-1"}', "invalid_form"),
    ([("Content-Type", "multipart/form-data")], GOOD, "invalid_form"),
    ([("Content-Type", "application/json")], GOOD, "invalid_json"),
    ([("Content-Type", "application/json"), ("Content-Encoding", "gzip")], b'{"model":"good-1"}', "invalid_encoding"),
    ([("Content-Type", "application/json"), ("Content-Encoding", "gzip")], gzip.compress(b'{"model":"good-1"}')[:-9], "invalid_encoding"),
    ([("Content-Type", "application/json"), ("Content-Encoding", "gzip")], gzip.compress(b'{"model"'), "invalid_json"),
    (MULTIPART + [("Content-Encoding", "gzip")], gzip.compress(GOOD[:-8]), "invalid_form"),
], ids=str)
def test_a_body_that_is_not_what_it_says_has_a_code_of_its_own(gateway, headers, body, code):
    gateway.call("POST", "/v1/images/edits", headers + bearer(), body).refused(400, code)


def test_a_form_that_is_well_formed_is_served(gateway, mock):
    assert gateway.call("POST", "/v1/images/edits", MULTIPART + bearer(), GOOD).only(mock).header("authorization") == "Bearer " + KEY
