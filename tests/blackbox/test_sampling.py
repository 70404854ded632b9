"""The agent finds the model wherever real clients put it, in bodies of any size that fits HAProxy's buffer; if it cannot find the model,
the request is refused. bodies.py makes bodies of the shape that each client sends."""
import contextlib
import gzip
import itertools
import json
import re
import zlib

import pytest

import bodies
import harness
from harness import bearer

KEY = harness.secret("sampling-operator")
ROUTES = [{"model_prefix": "gpt-", "name": "gpt"}, {"model_prefix": "claude-", "name": "claude"},
          {"model_prefix": "gemini-", "name": "gemini"}, {"model_prefix": "whisper-", "name": "whisper"},
          {"model_prefix": "llama", "name": "llama"}, {"model_prefix": "glm-", "name": "glm"},
          {"model_prefix": "evil", "name": "evil"}, {"model_prefix": "*", "name": "rest"}]


def gateway_of(haproxy, make_mock, **more):
    mocks = {route["name"]: make_mock(route["name"]) for route in ROUTES}
    routes = [dict(route, upstream=mocks[route["name"]].url(), auth="env:SAMPLING_KEY") for route in ROUTES]
    config = dict({"routes": routes}, **more.pop("config", {}))
    gateway = harness.Gateway(haproxy, mocks.values(), config, env={"SAMPLING_KEY": KEY}, **more)
    gateway.by_name = mocks
    return gateway


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock, way, authority):
    with gateway_of(haproxy, make_mock, way=way, authority=authority) as made:
        yield made


def name_of(model):
    return next(route["name"] for route in ROUTES if model.startswith(route["model_prefix"]) or route["name"] == "rest")


def send(gateway, made, headers=(), data=None):
    return gateway.call("POST", made.path, [("Content-Type", made.ctype)] + list(bearer()) + list(headers),
                        made.data if data is None else data, timeout=60)


def arrived(gateway, made, answer, data=None):
    got = answer.only(gateway.by_name[name_of(made.model)])
    assert got.body == (made.data if data is None else data), "the body was changed on its way"


@pytest.mark.parametrize("where", bodies.PLACES)
@pytest.mark.parametrize("size", bodies.SIZES)
@pytest.mark.parametrize("client", sorted(bodies.CLIENTS))
def test_every_client_is_routed(gateway, client, size, where):
    made = bodies.body(client, size, where)
    arrived(gateway, made, send(gateway, made))


# Buffers that less than 1 MiB fill. (How much the shipped ones hold: test_sizes.py.)
SMALL = {"LLM_BUFSIZE": "262144", "LLM_BUFSIZE_LARGE": "300000"}


@pytest.fixture(scope="module")
def small(haproxy, make_mock, way, authority):
    with gateway_of(haproxy, make_mock, limits=SMALL, way=way, authority=authority) as made:
        yield made


@pytest.mark.parametrize("where", ["first", "last", "middle"])
@pytest.mark.parametrize("client", ["openai_python", "claude_code", "whisper"])
def test_beyond_the_buffer(small, client, where):
    """A body does not fit into the buffer: the request is routed if the model stands first, and refused if it does not."""
    gateway, made = small, bodies.body(client, 900 * 1024, where)
    answer = send(gateway, made)
    if where == "first":
        # The part that the agent did not see could name another model; the request still goes by the route of the first one.
        arrived(gateway, made, answer)
    else:
        answer.refused(413, "model_not_in_sample", "anthropic" if client == "claude_code" else "openai", retry=False)


# Ways to write a second model, or to take the first one back.
SECOND = [b'"model":"glm-1"', b'"model" \t\r\n: \n"glm-1"', b'"Model":"glm-1"', b'"MODEL":"glm-1"', b'"\\u006dodel":"glm-1"', b'"mod\\u0065l":"glm-1"',
          b'"model\\u0000x":"glm-1"', b'"\\u006d\\u006F\\u0064\\u0065\\u006c":"glm-1"', b'"\\u004D\\u004f\\u0044\\u0045\\u004C" : "glm-1"', b'"model":"g\\u006cm-1"']


# What is no JSON, and still a model to servers that take more than JSON.
LENIENT = [b'"model" /**/:"glm-1"', b'"model":\'glm-1\'', b'"model"="glm-1"']


@pytest.mark.parametrize("second", SECOND + LENIENT, ids=lambda second: second.decode())
def test_a_second_model_in_the_middle(gateway, second):
    """It is noticed wherever it stands, also astride the edge of what the agent sees at first; and with the same model at both ends."""
    size = 30000
    places = (*range(8192 - 60, 8192 + 8, 3), 9000, 20000, *range(size - 8192 - 60, size - 8192 + 8, 3))
    # Over HTTP/2 on one connection, because a handshake takes longer than a request.
    with contextlib.nullcontext() if gateway.way == "h1" else gateway.connect() as connection:
        for at, end in itertools.product(places, (b'"z":1}', b'"model":"gpt-1"}')):
            start = b'{"model":"gpt-1","a":"'
            raw = start + b"x" * (at - len(start) - 2) + b'",' + second + b',"b":"'
            raw += b"y" * (size - len(raw) - len(end) - 2) + b'",' + end
            assert len(raw) == size and raw[at:at + len(second)] == second
            answer = gateway.post("/v1/chat/completions", raw, connection=connection)
            answer.refused(400, "invalid_json" if second in LENIENT else "ambiguous_model", retry=False)


@pytest.mark.parametrize("raw", [
    b'{"model":"gpt-1","a":"%s","model":"glm-1","b":"%s"}' % (b"x" * 8180, b"y" * 8158),
    # A value that begins in what the agent sees and ends where it does not, with another model behind.
    b'{"a":"%s","model":"%sglm-1","b":"%s","model":"gpt-1"}' % (b"x" * 8160, b"m" * 100, b"y" * 20000),
    b'{"a":"%s","model":%s"glm-1","b":"%s","model":"gpt-1"}' % (b"x" * 5000, b" " * 9000, b"y" * 20000),
    b'{"a":"%s","model"%s:"glm-1","b":"%s","model":"gpt-1"}' % (b"x" * 5000, b" " * 9000, b"y" * 20000),
    b'{"model":"gpt-1","a":"%s","model"%s:"glm-1","b":"%s"}' % (b"x" * 12000, b" " * 9000, b"y" * 5000),
    b'{"model":"gpt-1","a":"%s","model":%s"glm-1","b":"%s"}' % (b"x" * 12000, b" " * 9000, b"y" * 5000),
], ids=["16,385 bytes", "value astride", "blanks before the value", "blanks before the colon", "a colon in the tail", "a value in the tail"])
def test_a_second_model_between_head_and_tail(gateway, raw):
    gateway.post("/v1/chat/completions", raw).refused(400, "ambiguous_model", retry=False)


def test_a_second_model_in_the_middle_of_a_form(gateway):
    fields = b"model=gpt-1&a=" + b"x" * 9000 + b"&mod%65l=glm-1&b=" + b"y" * 9000
    gateway.call("POST", "/v1/chat/completions", [("Content-Type", "application/x-www-form-urlencoded")] + bearer(), fields).refused(
        400, "ambiguous_model", retry=False)
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    parts = b"".join(part % pair for pair in ((b"model", b"gpt-1"), (b"a", b"x" * 9000), (b"model", b"glm-1"), (b"b", b"y" * 9000))) + b"--b--\r\n"
    gateway.call("POST", "/v1/audio/transcriptions", [("Content-Type", "multipart/form-data; boundary=b")] + bearer(), parts).refused(
        400, "ambiguous_model", retry=False)


@pytest.mark.parametrize("pieces", [1, 7, 100])
@pytest.mark.parametrize("where", ["first", "last", "middle"])
def test_chunked(gateway, where, pieces):
    """Without a content-length only the JSON itself tells where the body ends."""
    made = bodies.body("openai_python", 76 * 1024, where)
    step = len(made.data) // pieces + 1
    chunks = [made.data[at:at + step] for at in range(0, len(made.data), step)]
    answer = gateway.call("POST", made.path, [("Content-Type", made.ctype)] + list(bearer()), chunks=chunks, timeout=60)
    arrived(gateway, made, answer)


@pytest.mark.parametrize("where", ["first", "last"])
def test_chunked_beyond_the_buffer(small, where):
    """HAProxy cuts the body and does not say so. The agent notices, because the end of a nested object is not the end of the body."""
    gateway, made = small, bodies.body("openai_python", 900 * 1024, where)
    chunks = [made.data[at:at + 65536] for at in range(0, len(made.data), 65536)]
    answer = gateway.call("POST", made.path, [("Content-Type", made.ctype)] + list(bearer()), chunks=chunks, timeout=60)
    if where == "first":
        arrived(gateway, made, answer)
    else:
        answer.refused(413, "model_not_in_sample", retry=False)


def test_frames_that_are_too_small(haproxy, make_mock):
    """What the agent's max_frame_size keeps from the agent is refused, and no retry can help."""
    with gateway_of(haproxy, make_mock, config={"max_frame_size": 65536}) as made:
        body = bodies.body("openai_python", 300 * 1024, "last")
        made.call("POST", body.path, [("Content-Type", body.ctype)] + list(bearer()), chunks=[body.data]).refused(413, "model_not_in_sample", retry=False)
        made.agent.log("event=frame_size .*taken=65536 ")
        made.post("/v1/chat/completions", b'{"messages":"%s","model":"gpt-1"}' % (b"x" * 60000)).only(made.by_name["gpt"])


@pytest.mark.parametrize("coding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress), ("x-gzip", gzip.compress)])
@pytest.mark.parametrize("where", ["first", "last", "middle"])
def test_compressed(gateway, where, coding, pack):
    made = bodies.body("codex", 300 * 1024, where)
    packed = pack(made.data)
    answer = send(gateway, made, [("Content-Encoding", coding)], packed)
    if coding == "x-gzip" and answer.status == 413:
        return
    arrived(gateway, made, answer, packed)


BOMB = gzip.compress(b'{"input":"' + b"a" * (50 << 20) + b'","model":"gpt-1"}')


def test_a_bomb_is_refused(gateway):
    made = bodies.body("codex", 1024)
    send(gateway, made, [("Content-Encoding", "gzip")], BOMB).refused(413, "model_not_in_sample", retry=False)


@pytest.mark.parametrize("coding", ["snappy", "gzip, br", "aes128gcm"])
def test_an_unknown_coding_is_refused(gateway, coding):
    made = bodies.body("codex", 1024)
    send(gateway, made, [("Content-Encoding", coding)]).refused(413, "model_not_in_sample", retry=False)


PLACES = [
    # path, body, the model of the request (None: it is refused as ambiguous)
    ("/v1beta/models/gemini-2.5-pro:generateContent", {"contents": []}, "gemini-2.5-pro"),
    ("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", {"contents": []}, "gemini-2.5-pro"),
    ("/v1/models/gemini-2.5-pro:generateContent", {"contents": []}, "gemini-2.5-pro"),
    ("/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent", {}, "gemini-2.5-pro"),
    ("/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4@20250514:rawPredict", {}, "claude-opus-4"),
    ("/openai/deployments/gpt-4o/chat/completions?api-version=1", {"messages": []}, "gpt-4o"),
    ("/model/claude-3-5%3A0/invoke", {"messages": []}, "claude-3-5:0"),
    ("/v1/chat/completions?model=gpt-4o", {"messages": []}, "gpt-4o"),
    ("/openai/deployments/gpt-4o/chat/completions", {"model": "gpt-4o"}, "gpt-4o"),
    ("/v1beta/models/gemini-2.5-pro:generateContent", {"model": "models/gemini-2.5-pro"}, "gemini-2.5-pro"),
    # Two places name different models, and it is unknown which of them the upstream obeys.
    ("/openai/deployments/gpt-4o/chat/completions", {"model": "claude-x"}, None),
    ("/v1/chat/completions?model=gpt-4o", {"model": "claude-x"}, None),
]


@pytest.mark.parametrize("path, body, model", PLACES)
def test_other_places(gateway, path, body, model):
    answer = gateway.post(path, body)
    if model is None:
        answer.refused(400, "ambiguous_model", retry=False)
    else:
        answer.only(gateway.by_name[name_of(model)])


HANDSHAKE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
             ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
HINT = ("x-codex-turn-metadata", json.dumps({"turn_id": "t", "model": "gpt-5.5-codex"}))


@pytest.mark.parametrize("way", ["h1"], indirect=True, scope="module")
def test_websockets(gateway):
    """A WebSocket request is routed by the model in its query or header; without one it gets 426, at which Codex falls back to HTTP at once."""
    for path, headers, model in (("/v1/realtime?model=gpt-realtime", [], "gpt-realtime"),
                                 ("/v1/realtime", [HINT], "gpt-5.5-codex"),
                                 ("/v1/realtime?model=gpt-5.5-codex", [HINT], "gpt-5.5-codex")):
        answer = gateway.call("GET", path, HANDSHAKE + list(bearer()) + headers)
        assert answer.status == 101
        got = answer.only(gateway.by_name[name_of(model)])
        assert got.header("authorization") == "Bearer " + KEY
    gateway.call("GET", "/v1/responses", HANDSHAKE + list(bearer())).refused(426, "websocket_without_model", retry=False)
    gateway.call("GET", "/v1/realtime?model=claude-live", HANDSHAKE + list(bearer()) + [HINT]).refused(400, "ambiguous_model", retry=False)
    gateway.call("GET", "/v1/responses", HANDSHAKE + list(bearer()) + [HINT]).refused(426, "websocket_not_allowed", retry=False)


def test_websockets_the_catch_alls_way(haproxy, make_mock):
    with gateway_of(haproxy, make_mock, config={"websocket": "catch-all"}) as made:
        answer = made.call("GET", "/v1/responses", HANDSHAKE + list(bearer()))
        assert answer.status == 101
        answer.only(made.by_name["rest"])


def test_a_websocket_without_its_credential(haproxy, make_mock):
    mock = make_mock("nobody")
    config = {"routes": [{"model_prefix": "*", "upstream": mock.url(), "auth": "env:NOT_SET_HERE"}]}
    with harness.Gateway(haproxy, [mock], config) as made:
        made.call("GET", "/v1/realtime?model=gpt-realtime", HANDSHAKE + list(bearer())).refused(
            502, "upstream_auth_unavailable", retry=False)


def test_unresolved_falls_through_only_by_option(haproxy, make_mock):
    made_body = bodies.body("openai_python", 900 * 1024, "last")
    with gateway_of(haproxy, make_mock, config={"unresolved": "fallthrough"}, limits=SMALL) as made:
        send(made, made_body).only(made.by_name["rest"])
        # The option changes nothing for a model that the agent can find.
        known = bodies.body("openai_python", 76 * 1024, "middle")
        arrived(made, known, send(made, known))


@pytest.mark.parametrize("limits", [{"LLM_HEAD": "100", "LLM_TAIL": "100"}, {"LLM_HEAD": "64", "LLM_TAIL": "20000"},
                                    {"LLM_HEAD": "20000", "LLM_TAIL": "64"}, {"LLM_BUFSIZE": "16384"}])
def test_any_size_of_sample(haproxy, make_mock, limits):
    with gateway_of(haproxy, make_mock, limits=limits) as made:
        for size in (10, 60, 90, 110, 200, 300, 7000, 8000, 9000, 12000):
            for where in ("first", "last", "middle"):
                body = {"messages": [{"role": "user", "content": "x" * size}], "more": "y" * (size // 10)}
                members = list(body.items())
                members.insert({"first": 0, "last": 2, "middle": 1}[where], ("model", "gpt-1"))
                answer = made.post("/v1/chat/completions", dict(members))
                answer.only(made.by_name["gpt"])
        # Bodies as long as both ends together, and a few bytes shorter and longer: all of each is seen, or looked at.
        both = sum(int(limits.get(end, 0)) for end in ("LLM_HEAD", "LLM_TAIL"))
        for size in (both - 41, both, both + 1, both + 41) if both else ():
            for before in (0, (size - 50) // 2, size - 50):
                raw = b'{"model":"gpt-1","a":"%s","model":"glm-1","b":"%s"}' % (b"x" * before, b"y" * (size - 50 - before))
                made.post("/v1/chat/completions", raw).refused(400, "ambiguous_model", retry=False)


def test_how_much_is_sent(haproxy, make_mock):
    """From 3.0 on the frame of a large body is small. If the model stands in between, the whole body is sent at once. A body without any costs a
    second question."""
    with gateway_of(haproxy, make_mock, config={"log_level": "debug"}) as made:
        for where in ("last", "middle"):
            send(made, bodies.body("openai_python", 900 * 1024, where))
        assert not made.agent.lines("event=asked_for_more") and not made.agent.lines("event=refused")
        made.post("/v1/chat/completions", {"messages": "x" * 20000}).only(made.by_name["rest"])
        assert len(made.agent.lines("event=asked_for_more")) == (0 if harness.version_of(haproxy) < (3, 0) else 1)


def test_explain_says_where_and_how_much(tmp_path):
    file = tmp_path / "body"
    made = bodies.body("openai_python", 76 * 1024, "last")
    file.write_bytes(made.data)
    config = harness.write_config(tmp_path, {"routes": [{"model_prefix": "gpt-"}]})
    told = json.loads(harness.cli("explain", "-c", config, "--body", file, "--json").out)
    assert told["model"] == made.model and told["model_from"] == "body" and told["stream"] is True
    assert told["looked"] == len(made.data)
    text = harness.cli("explain", "-c", config, "--body", file).out
    assert re.search(r"looked at: %d bytes" % told["looked"], text) and "from the body" in text
