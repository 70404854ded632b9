"""One upgrade: a request leaves HTTP only as the WebSocket that was decided on. Inside any other tunnel, requests would pass that nobody decided
on, with the operator's credential beside them. (Upgrades of the agent's binary: test_upgrade.py.)"""
import shutil

import pytest

import harness
import http2
from harness import CLIENT_KEY, JSON, bearer, chat, free_port, secret

KEY = secret("upgrade")
SOCKET = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
H2C = ("HTTP2-Settings", "AAMAAABkAAQAAP__")
MODEL = "/v1/realtime?model=glm-1"


@pytest.fixture(scope="module", params=["routes", "no routes"])
def gateway(request, haproxy, make_mock):
    """A gateway with routes, and one without: upgrades are refused in both."""
    mocks = {name: make_mock(name) for name in ("glm", "target")}
    config = {name + "_target": mocks["target"].url() for name in ("openai", "anthropic", "gemini")}
    if request.param == "routes":
        config["routes"] = [{"model_prefix": "glm-", "upstream": mocks["glm"].url(), "auth": "env:KEY"}]
    with harness.Gateway(haproxy, mocks.values(), config, env={"KEY": KEY}) as gateway:
        gateway.mock = mocks["glm" if request.param == "routes" else "target"]
        gateway.routed = request.param == "routes"
        gateway.target = mocks["target"]
        yield gateway


def asks(*values):
    return [("Connection", "Upgrade"), *[("Upgrade", value) for value in values], *SOCKET]


# id: (method, headers, body, chunks)
REFUSED = {
    "a list that ends in it": ("GET", asks("foo, websocket"), None, None),
    "a list that begins with it": ("GET", asks("websocket, h2c"), None, None),
    "a list without a blank": ("GET", asks("h2c,websocket"), None, None),
    "a comma behind": ("GET", asks("websocket,"), None, None),
    "twice in one": ("GET", asks("websocket, websocket"), None, None),
    "with a version": ("GET", asks("websocket/13"), None, None),
    "in capitals with a version": ("GET", asks("WEBSOCKET/13"), None, None),
    "two headers": ("GET", asks("websocket", "websocket"), None, None),
    "two headers, h2c last": ("GET", asks("websocket", "h2c"), None, None),
    "two headers, h2c first": ("GET", asks("h2c", "WebSocket"), None, None),
    "an empty header beside": ("GET", asks("websocket", ""), None, None),
    "POST": ("POST", asks("websocket") + JSON, chat("glm-1"), None),
    "POST without a body": ("POST", asks("websocket"), b"", None),
    "HEAD": ("HEAD", asks("websocket"), None, None),
    "OPTIONS": ("OPTIONS", asks("websocket"), None, None),
    "a body": ("GET", asks("websocket") + JSON, chat("glm-1"), None),
    "a body of {}": ("GET", asks("websocket") + JSON, b"{}", None),
    "a chunked body": ("GET", asks("websocket") + JSON, None, [chat("glm-1")]),
    "a list and a body": ("POST", asks("foo, websocket") + JSON, chat("glm-1"), None),
}


def cleaned(method, headers, body):
    """Whether HAProxy 3.0 and later make one `Upgrade: websocket` of it: they take out h2c, blanks and commas by themselves."""
    tokens = [token.strip().lower() for name, value in headers if name == "Upgrade" for token in value.split(",")]
    return method == "GET" and not body and [token for token in tokens if token not in ("", "h2c")] == ["websocket"]


@pytest.mark.parametrize("case", REFUSED)
def test_nearly_a_websocket_is_refused(gateway, haproxy, case):
    """Of some of these, one upstream makes a tunnel and another does not."""
    method, headers, body, chunks = REFUSED[case]
    for target, shape in ((MODEL, "openai"), ("/v1/messages?model=glm-1", "anthropic"), ("/v1beta/models/glm-1:x", "gemini")):
        answer = gateway.call(method, target, headers + bearer(), body, chunks)
        if answer.status in (200, 400, 403) and (body or chunks):
            # HAProxy itself takes Upgrade out of requests with a body. What is left is plain HTTP, which goes on or is refused as such.
            assert (len(answer.seen) == 1) == (answer.status == 200) and not any(got.all("upgrade") for got in answer.seen)
        elif cleaned(method, headers, body or chunks) and harness.version_of(haproxy) >= (3, 0):
            # What is left is a handshake like any other, and goes where that would go.
            if shape == "openai" or not gateway.routed:
                assert answer.status == 101 and [value.lower() for value in answer.only(gateway.mock).all("upgrade")] == ["websocket"]
            else:
                answer.refused(*((426, "websocket_not_allowed") if shape == "anthropic" else (403, "endpoint_not_allowed")), shape)
        elif method == "HEAD":
            assert answer.status == 400 and answer.header("content-type") == "application/json"
            answer.nowhere()
        else:
            answer.refused(400, "invalid_upgrade", shape, retry=False)


OTHERS = [["h2c"], ["H2C"], ["foo"], ["TLS/1.0"], ["foo, h2c"], ["h2c", "foo"], ["HTTP/2.0, SHTTP/1.3, IRC/6.9"], [""], [","]]


@pytest.mark.parametrize("values", OTHERS, ids=lambda values: "|".join(values))
def test_any_other_upgrade_is_taken_out(gateway, values):
    for method, target, body, mock in (("GET", "/v1/models", None, gateway.target), ("POST", "/v1/chat/completions", chat("glm-1"), gateway.mock)):
        answer = gateway.call(method, target, asks(*values) + [H2C] + JSON + bearer(), body)
        got = answer.only(mock)
        assert answer.status == 200 and got.body == (body or b"")
        assert not got.all("upgrade") and not got.all("http2-settings"), got
        assert got.header("authorization") == "Bearer " + (KEY if gateway.routed and body else CLIENT_KEY)


@pytest.mark.parametrize("headers", [[("Upgrade", "websocket")], [("Upgrade", "WebSocket")], [("Upgrade", "websocket"), ("Content-Length", "0")]])
def test_a_websocket_goes_through(gateway, headers):
    with gateway.connect() as connection:
        answer = gateway.call("GET", MODEL, [("Connection", "Upgrade")] + headers + SOCKET + bearer(), connection=connection)
        got = answer.only(gateway.mock)
        assert answer.status == 101 and got.header("upgrade").lower() == "websocket" and "upgrade" in got.header("connection").lower()


def test_a_websocket_over_http_2(gateway):
    """RFC 8441: an extended CONNECT, which arrives at HAProxy's rules as the same GET."""
    tag = gateway.tag()
    with http2.Connection(gateway.address) as connection:
        assert connection.pass_settings()
        stream = connection.open("CONNECT", MODEL, [("Host", "gw.test"), ("x-client-request-id", tag), ("sec-websocket-version", "13")] + bearer(),
                                 protocol="websocket")
        assert connection.head(stream).status == 200
    got = harness.Exchange(gateway, tag, None).only(gateway.mock)
    assert got.method == "GET" and got.header("upgrade") == "websocket"
    assert got.header("authorization") == "Bearer " + (KEY if gateway.routed else CLIENT_KEY)


@pytest.mark.parametrize("headers", [[], asks("h2c") + [H2C], asks("foo"), asks("foo, h2c")], ids=["none", "h2c", "foo", "list"])
def test_a_switch_that_nobody_decided_on(gateway, headers):
    """An upstream answers 101 to a request that is no WebSocket handshake. The client gets 502 and no tunnel: what it sends behind is decided
    on like any other request."""
    for method, target, body, mock in (("POST", "/v1/chat/completions", chat("glm-1"), gateway.mock), ("POST", "/v1/messages", chat("glm-1"), gateway.mock),
                                       ("GET", "/v1/models", None, gateway.target)):
        mock.raw = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
        try:
            with gateway.connect() as connection:
                answer = gateway.call(method, target, headers + JSON + bearer(), body, connection=connection)
                assert answer.status == 502 and answer.json()["error"]["message"] and answer.interim == [], answer.response
                assert ("type" in answer.json()) == (target == "/v1/messages")
                mock.reset()
                answer = gateway.call("POST", "/v1/chat/completions", [("x-llm-deny", "0")] + JSON + bearer(), chat("glm-2"), connection=connection)
                assert answer.status == 200 and not answer.only(gateway.mock).all("x-llm-deny")
        finally:
            mock.reset()


@pytest.mark.parametrize("protocols", ["h2c", "websocket, h2c", "websocket\r\nUpgrade: h2c", "foo", ""])
def test_a_switch_to_something_else(gateway, protocols):
    """A handshake that is answered with another protocol than it asked for. HAProxy 3.x takes out h2c by itself; what is left may be in order."""
    gateway.mock.raw = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n" % protocols.encode()
    try:
        for target in (MODEL, MODEL + "&x"):
            answer = gateway.call("GET", target, asks("websocket") + SOCKET + bearer())
            assert answer.status == 502 or (answer.status == 101 and "websocket" in protocols and answer.all("upgrade") == ["websocket"]), answer.response
    finally:
        gateway.mock.reset()


def test_a_server_that_speaks_h2c(haproxy, make_mock, work):
    """nghttpx switches to HTTP/2 wherever it is asked to by Upgrade: h2c."""
    mock, port = make_mock("behind"), free_port()
    nghttpx = harness.Process("nghttpx", [shutil.which("nghttpx") or "/usr/sbin/nghttpx", "--conf=/dev/null", "--workers=1", "-f127.0.0.1,%d;no-tls" % port,
                                          "-b%s,%d" % ("127.0.0.1", mock.port)], work / "nghttpx.log", harness.environment())
    try:
        harness.until(lambda: harness.accepting("127.0.0.1:%d" % port), 10, nghttpx.tail)
        with harness.Gateway(haproxy, [mock], {"openai_target": "http://127.0.0.1:%d" % port}) as gateway:
            for headers in ([("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), H2C], []):
                answer = gateway.call("GET", "/v1/models", headers + bearer())
                assert answer.status == 200 and answer.interim == []
                answer.only(mock)
    finally:
        nghttpx.end()
