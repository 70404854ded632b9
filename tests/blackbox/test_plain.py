"""Without any route, the gateway is a plain HAProxy: what reaches the upstream, and what comes back, is what a `listen` that only forwards would
make of the same bytes, but for the id of each request and for the rules of framing and upgrade (test_forwarding.py, test_http.py). Fields behind an
answer's body stay with LLM_ANSWER_TRAILERS=keep."""
import re

import pytest

import harness
import http2
import wire
from harness import CLIENT_KEY, chat
from processes import Process, free_port, until

PLAIN = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s

listen plain
    bind 127.0.0.1:%d
    http-request set-header host %s
    server upstream %s
"""


@pytest.fixture(scope="module")
def both(haproxy, make_mock, module_work):
    """The gateway without routes, the address of a plain HAProxy, and the upstream of both."""
    mock = make_mock("plain")
    port = free_port()
    cfg = module_work / "plain.cfg"
    cfg.write_text(PLAIN % (port, mock.authority, mock.authority))
    plain = Process("plain", [haproxy, "-db", "-f", str(cfg)], module_work / "plain.log", harness.environment())
    try:
        until(lambda: harness.accepting("127.0.0.1:%d" % port), 15, "the plain HAProxy is listening")
        with harness.Gateway(haproxy, [mock], {name + "_target": mock.url() for name in ("openai", "anthropic", "gemini")},
                             limits={"LLM_ANSWER_TRAILERS": "keep"}) as gateway:
            yield gateway, ("127.0.0.1", port), mock
    finally:
        plain.end()


def without(head, *names):
    return b"\r\n".join(line for line in head.split(b"\r\n") if line.split(b":")[0].lower() not in names)


def through(address, mock, data, method):
    """What the upstream got and what the client got, without the ids that the gateway gives."""
    before = len(mock.requests)
    with wire.Connection(address, 20 * harness.SLOW) as connection:
        connection.send(data)
        answer = connection.read(method)
    got = [(without(one.raw_head, b"x-request-id"), one.body, one.chunked, one.trailer) for one in mock.requests[before:]]
    return got, (without(answer.raw_head, b"x-request-id", b"date"), answer.body, answer.hints, answer.trailer)


BODY = chat("gpt-5.5")


def post(target="/v1/chat/completions", *lines, method="POST", body=BODY, version="HTTP/1.1"):
    return wire.request(method, target, [("Host", "gw.test"), ("Authorization", "Bearer " + CLIENT_KEY)] + [tuple(line.split(": ", 1)) for line in lines], body, version=version)


def chunked(*pieces, trailer=b"", lines=()):
    head = post("/v1/chat/completions", "Transfer-Encoding: chunked", "Content-Type: application/json", *lines, body=None)
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


REQUESTS = {
    "a chat": post("/v1/chat/completions", "Content-Type: application/json"),
    "a stream": post("/v1/messages", "Content-Type: application/json", "anthropic-version: 2023-06-01", body=b'{"model":"claude-x","stream":true}'),
    "headers that a route would leave behind": post("/v1/x", "X-Headroom-Base-Url: https://a.test", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=a", "Cookie: a=b", "cookie: c=d",
                                                    "OpenAI-Organization: o", "X-Custom: 1", "X-HTTP-Method-Override: DELETE", "x-client: me", "X-Headroom-Project: p"),
    "every credential": post("/v1/x", "x-api-key: a", "api-key: b", "X-Goog-Api-Key: c", "Proxy-Authorization: Basic d"),
    "names and values as they are spelled": post("/v1/x", "X-OdD: a  b", "x-odd: \"c\\\"", "X-ODD:  lead", "X-Empty: ", "X-Tail: a \t", "X-Bytes: \u00e9\u00ff"),
    "many headers": post("/v1/x", *["X-H%d: %d" % (at, at) for at in range(80)]),
    "a long header": post("/v1/x", "X-Long: " + "a" * 8000),
    "keys in the query": post("/v1/x?key=a&k%65y=b&api_key=c&+token=d;access_token=e&??f"),
    "an odd query": post("/v1/x?&&a=%zz&%00&b=%2526&;=;&c[]=1&=&"),
    "an empty query": post("/v1/x?"),
    "dots in the path": post("/v1/../v1/./x//y/%2e%2e/%2f/;a=b"),
    "escapes in the path": post("/v1/%7Ex/%zz/%00/%C3%A9/a+b/%5c"),
    "punctuation in the path": post("/v1/x:y@z!$&'()*+,;=~|{}^`\"<>[]"),
    "two slashes inside": post("/v1//x"),
    "a model in the path": post("/v1beta/models/gemini-x:generateContent", body=b'{"contents":[]}'),
    "two models": post("/v1/chat/completions?model=a&model=b", "Content-Type: application/json", body=b'{"model":"a","Model":"b","model":"c"}'),
    "no JSON": post("/v1/chat/completions", "Content-Type: application/json", body=b"{\"model\":\x00\xff"),
    "a body of zeros": post("/v1/files", "Content-Type: application/octet-stream", body=bytes(50000)),
    "an empty body": post("/v1/x", body=b""),
    "no length": post("/v1/x", body=None),
    "a form": post("/v1/audio", "Content-Type: multipart/form-data; boundary=x", body=b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\r\n--x--\r\n"),
    "two content types": post("/v1/x", "Content-Type: a/b", "Content-Type: c/d"),
    "a coding": post("/v1/x", "Content-Encoding: nonsense"),
    "chunks": chunked(BODY[:5], BODY[5:]),
    "chunks and fields behind them": chunked(BODY, trailer=b"X-Api-Key: a\r\nX-Other: b\r\n", lines=["Trailer: x-api-key"]),
    "a PUT": post("/v1/x", method="PUT"), "a PATCH": post("/v1/x", method="PATCH"), "a DELETE": post("/v1/files/f", method="DELETE", body=None),
    "a PROPFIND": post("/v1/x", method="PROPFIND"), "a method of nobody's": post("/v1/x", method="M-SEARCH"), "a GET": post("/v1/models", method="GET", body=None),
    "a GET with a body": post("/v1/x", method="GET"), "a HEAD": post("/v1/models", method="HEAD", body=None), "OPTIONS": post("/v1/x", method="OPTIONS", body=None),
    "OPTIONS for all": post("*", method="OPTIONS", body=None),
    "HTTP/1.0": post("/v1/x", version="HTTP/1.0"), "HTTP/1.0, kept": post("/v1/x", "Connection: keep-alive", version="HTTP/1.0"),
    "close": post("/v1/x", "Connection: close"), "keep-alive": post("/v1/x", "Connection: keep-alive", "Keep-Alive: timeout=5"),
    "te": post("/v1/x", "Connection: TE", "TE: trailers"),
    "conditions and ranges": post("/v1/x", "If-None-Match: \"a\"", "Range: bytes=0-5", "Accept: */*", "Accept-Encoding: gzip, br"),
    "CORS": post("/v1/x", "Origin: https://a.test", "Access-Control-Request-Method: POST", method="OPTIONS", body=None),
    "max-forwards": post("/v1/x", "Max-Forwards: 0"), "via": post("/v1/x", "Via: 1.1 a"), "warning": post("/v1/x", "Warning: 199 - x"),
    "an id of the client's own": post("/v1/x", "X-Client-Request-Id: a", "X-Correlation-Id: b", "traceparent: 00-1-2-3"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(both, name):
    gateway, plain, mock = both
    data = REQUESTS[name]
    method = data.split(b" ")[0].decode()
    expected, got = through(plain, mock, data, method), through(gateway.address, mock, data, method)
    assert len(expected[0]) == 1
    assert got == expected


WEBSOCKET = ["Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
             "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.abc, x"]


def test_a_websocket(both):
    gateway, plain, mock = both
    data = post("/v1/realtime?model=gpt-realtime&key=a", *WEBSOCKET, method="GET", body=None)
    expected, got = through(plain, mock, data, "GET"), through(gateway.address, mock, data, "GET")
    assert got == expected and expected[1][0].startswith(b"HTTP/1.1 101")


ANSWERS = {
    "secrets": (200, [("Set-Cookie", "a=b"), ("set-cookie", "c=d; Path=/"), ("x-api-key", "k"), ("OpenAI-Organization", "o"), ("anthropic-organization-id", "i")], b"{}"),
    "a redirect": (307, [("Location", "https://a.test/x?key=a&b=c")], b""), "an upload": (200, [("x-goog-upload-url", "https://a.test/?key=a")], b""),
    "an error": (500, [("x-should-retry", "true"), ("Content-Type", "text/html")], b"<html>"), "too many": (429, [("Retry-After", "3")], b"{}"),
    "unauthorised": (401, [("WWW-Authenticate", 'Bearer realm="x"'), ("Proxy-Authenticate", "Basic")], b""), "an unknown status": (799, [], b"x"),
    "spelling": (200, [("X-OdD", "a  b"), ("x-empty", ""), ("X-Bytes", "\u00e9"), ("Server", "s"), ("Via", "1.1 y"), ("Connection", "x-odd")], b"abc"),
    "a coding": (200, [("Content-Encoding", "gzip"), ("Content-Type", "application/json"), ("ETag", "W/\"a\"")], b"\x1f\x8bnonsense"),
    "usage": (200, [("Content-Type", "application/json")], b'{"usage":{"prompt_tokens":1,"total_tokens":2}}'),
    "a long body": (200, [("Content-Type", "application/json")], b'{"a":"' + b"x" * 300000 + b'"}'),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(both, name):
    gateway, plain, mock = both
    mock.respond = lambda request: ANSWERS[name]
    try:
        data = post("/v1/chat/completions", "Content-Type: application/json")
        assert through(gateway.address, mock, data, "POST") == through(plain, mock, data, "POST")
    finally:
        mock.reset()


RAW = {
    "interim answers": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no length": b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nuntil the end",
    "chunks and a field behind them": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n2\r\nab\r\n0\r\nX: 1\r\nset-cookie: a=b\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 Fine\r\nContent-Length: 2\r\n\r\n{}",
    "a reason of its own": b"HTTP/1.1 200 As you wish\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_raw_answers(both, name):
    gateway, plain, mock = both
    mock.raw = RAW[name]
    try:
        assert through(gateway.address, mock, post("/v1/x"), "POST") == through(plain, mock, post("/v1/x"), "POST")
    finally:
        mock.reset()


def test_http_2(both):
    """Over HTTP/2 too the upstream gets what it would get from a plain HAProxy."""
    gateway, plain, mock = both
    heads = []
    for address in (plain, gateway.address):
        before = len(mock.requests)
        with http2.Connection(address) as connection:
            status = connection.ask("POST", "/v1/x//y?key=a&%zz", [("Host", "gw.test"), ("content-type", "a/b"), ("x-odd", "1"), ("cookie", "a=b"),
                                                                   ("cookie", "c=d"), ("te", "trailers")], BODY).status
        got, = mock.requests[before:]
        assert status == 200 and got.body == BODY
        heads.append(re.sub(rb"\r\n(x-request-id|content-length|transfer-encoding): [^\r]*", b"", got.raw_head))
    assert heads[0] == heads[1]
