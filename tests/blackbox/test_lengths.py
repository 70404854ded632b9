"""One length: the client's Content-Length in 64 bits says whether HAProxy has the whole body, over HTTP/1.1 and over HTTP/2. A body that was
cut is never taken for a whole one: it would go by the catch-all, or its client would be told that its JSON is wrong."""
import h2.exceptions
import pytest

import harness
import wire
from harness import JSON, bearer, chat, secret

KEY = secret("lengths")
# The sizes of bodies, from LLM_BUFSIZE on: HAProxy holds about 1 KB less than that, and HTTP/2 has up to 200 KB more in buffers of its own.
BESIDE = (-1600, -1300, -1200, -1100, -1050, -1000, -900, -500, 0, 1, 1000, 7000, 12000, 30000, 65000, 200000)
MODEL = b'"model":"glm-4.6"}'


@pytest.fixture(scope="module", params=[16384, 65536, 1 << 20], ids=["16K", "64K", "1M"])
def gateway(request, haproxy, make_mock, way, authority):
    glm, rest = make_mock("glm"), make_mock("rest")
    # With a large buffer of about the same size, HAProxy 3.4 makes do with the small one.
    with harness.Gateway(haproxy, [glm, rest], {"routes": [
            {"model_prefix": "glm-", "upstream": glm.url(), "auth": "env:KEY"}, {"model_prefix": "*", "upstream": rest.url()}]},
            env={"KEY": KEY}, limits={"LLM_BUFSIZE": str(request.param), "LLM_BUFSIZE_LARGE": str(request.param + 16)}, way=way, authority=authority) as gateway:
        gateway.glm, gateway.bufsize = glm, request.param
        yield gateway


def form(size):
    return "application/x-www-form-urlencoded", b"prompt=" + b"x" * (size - 21) + b"&model=glm-4.6"


def text(size):
    return "application/json", b'{"prompt":"' + b"x" * (size - 31) + b'",' + MODEL


def nested(size):
    """JSON whose bytes could be the end of an object wherever it is cut."""
    return "application/json", b'{"a":[' + b'{"b":{}},' * ((size - 28) // 9) + b"0" * ((size - 28) % 9 + 1) + b"]," + MODEL


def multipart(size):
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
    start, end = part % b"file", b"\r\n" + part % b"model" + b"glm-4.6\r\n--b--\r\n"
    return "multipart/form-data; boundary=b", start + b"x" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize("make", [form, text, nested, multipart])
def test_a_body_about_as_long_as_the_buffer(gateway, make):
    """The model stands last. The whole body reaches its upstream, or nobody gets anything and the client is told why."""
    got = {}
    for beside in BESIDE:
        ctype, body = make(gateway.bufsize + beside)
        answer = gateway.call("POST", "/v1/chat/completions", [("Content-Type", ctype)] + bearer(), body)
        got[beside] = answer.status
        if answer.status == 200:
            assert answer.only(gateway.glm).body == body
        else:
            answer.refused(413, "model_not_in_sample", retry=False)
    assert all(status == 413 for beside, status in got.items() if beside >= -1000) and got[-1600] == 200, got


@pytest.fixture(scope="module")
def asked(haproxy, make_mock, way, authority):
    """A gateway whose agent only listens; `asked` has the questions."""
    with harness.Gateway(haproxy, [make_mock("asked")], {}, fake=lambda _: {}, limits={"LLM_BUFSIZE": "16384"},
                         way=way, authority=authority) as gateway:
        yield gateway


# Of 32 and of 64 bits only the lowest count in these, so that they could pass for lengths of what HAProxy holds.
@pytest.mark.parametrize("turns", [2**31, 2**32, 2**33, 2**63, 2**64, 2**64 + 2**32])
def test_lengths_that_wrap(asked, turns):
    """HAProxy's buffer fills up, so that the agent is asked: it is told the length that the client announced, or one that is longer than any
    body. Or HAProxy refuses the length."""
    for length in (turns - 1, turns, turns + 100, turns + 15100):
        del asked.agent.asked[:]
        more = {} if asked.way == "h1" else {"more": True}
        try:
            with asked.connect() as connection:
                connection.ask("POST", "/v1/chat/completions", [("Host", "x"), ("Content-Length", length)] + JSON, b"x" * 16384, **more)
        except (wire.Cut, EOFError, h2.exceptions.ProtocolError):
            pass
        told = [args["length"] for args in asked.agent.asked]
        assert told == [length] or length >= 2**63 and told in ([2**63 - 1], []), (length, told)


@pytest.mark.parametrize("way", ["h2c", "h2-tls"], indirect=True, scope="module")
@pytest.mark.parametrize("beside", [-1, 1, -10, 10, 100000])
def test_a_length_that_is_not_the_bodys(gateway, beside):
    """HTTP/2 says by itself where a body ends. HAProxy ends the request if its content-length says otherwise."""
    body = chat("glm-4.6")
    tag = gateway.tag()
    headers = [("Host", "x"), ("Content-Length", len(body) + beside), ("x-client-request-id", tag)] + JSON
    with gateway.connect() as connection, pytest.raises(wire.Cut):
        connection.ask("POST", "/v1/chat/completions", headers, body)
    harness.Exchange(gateway, tag, None).nowhere()


@pytest.mark.parametrize("way", ["h2c", "h2-tls"], indirect=True, scope="module")
def test_a_body_that_does_not_come(haproxy, make_mock, way, authority):
    """HAProxy stops waiting, and what has come is not taken for the whole. (Over HTTP/1.1: test_refusals.)"""
    mock = make_mock("slow")
    with harness.Gateway(haproxy, [mock], {"routes": [{"model_prefix": "*", "upstream": mock.url()}]}, way=way, authority=authority,
                         edit=lambda text: text.replace("http-request wait-for-body time 5m", "http-request wait-for-body time 300ms")) as gateway:
        for length in ([("Content-Length", 5000)], []):
            for body in (b'{"model":"glm-1","messages":[', b'{"model":"glm-1","messages":[]}', b"prompt=x"):
                tag = gateway.tag()
                with gateway.connect() as connection:
                    answer = connection.ask("POST", "/v1/chat/completions", [("Host", "x"), ("x-client-request-id", tag)] + length + JSON, body, more=True)
                assert answer.status in (400, 408, 413), answer
                harness.Exchange(gateway, tag, answer).nowhere()
