"""Legs: requests whose answer streams go through a tap to a second frontend of HAProxy, which fetches the upstream's credential by itself. Here
the tap is the simplest one that works (plaintap.py)."""
import concurrent.futures
import json
import re
import socket
import threading
import time

import pytest

import certificates
import harness
import spop
from harness import CLIENT_KEY, bearer, cli, secret, until
from plaintap import TappedGateway

KEY, OTHER = secret("leg"), secret("leg-other")
SHAPES = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic", "/v1beta/models/rep-1:streamGenerateContent": "gemini"}


def routes(mock, tls=None):
    over_tls = [{"model_prefix": "tls-", "upstream": tls.url(host="localhost"), "auth": "env:KEY"}] if tls else []
    return over_tls + [{"model_prefix": "rep-", "upstream": mock.url(), "auth": "env:KEY"},
            {"model_prefix": "key-", "upstream": mock.url(), "auth": "env:OTHER", "auth_header": "x-api-key", "forward_headers": ["x-mine"]},
            {"model_prefix": "off-", "upstream": mock.url(), "auth": "env:KEY", "tap": False},
            {"model_prefix": "*", "upstream": mock.url("/star")}]


def runtime(path):
    """Gives haproxy.cfg the runtime API, at `path`."""
    return lambda text: text.replace("global\n", "global\n    stats socket %s level admin mode 600\n" % path, 1)


class Stream:
    """A stream of which the first event has come."""

    def __init__(self, gateway, model):
        self.tag, self.data = gateway.tag().encode(), b""
        body = harness.chat(model, stream=True)
        self.connection = gateway.connect()
        self.sock = self.connection.sock
        self.sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
                          b"x-client-request-id: %s\r\ncontent-length: %d\r\n\r\n" % (CLIENT_KEY.encode(), self.tag, len(body)) + body)
        while b"data: " not in self.data:
            self.data += self.sock.recv(65536)

    def rest(self):
        """Reads to the end of the answer, or of the connection."""
        try:
            while not self.whole:
                more = self.sock.recv(65536)
                if not more:
                    break
                self.data += more
        except OSError:
            pass
        self.connection.close()
        return self.data

    @property
    def whole(self):
        return self.data.endswith(b"\r\n0\r\n\r\n")


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock, module_work):
    authority = certificates.Authority(module_work)
    mock, tls = make_mock("legs"), make_mock("legs-tls", tls=authority.server)
    with TappedGateway(haproxy, [mock, tls], {"routes": routes(mock, tls), "ca_file": str(authority.ca), "openai_target": mock.url("/openai"),
                                                   "admin_listen": "unix@%s/admin.sock" % module_work},
                       env={"KEY": KEY, "OTHER": OTHER}, owners={KEY: [mock, tls], OTHER: [mock]}) as gateway:
        gateway.mock, gateway.tls = mock, tls
        yield gateway


# ---- which requests go through the tap

THROUGH = [
    ("/v1/chat/completions", {"model": "rep-1", "stream": True}, True),
    ("/v1/chat/completions", {"model": "rep-1", "stream": False}, False),
    ("/v1/chat/completions", {"model": "rep-1"}, False),
    ("/v1/chat/completions", {"model": "off-1", "stream": True}, False),
    ("/v1/chat/completions", {"model": "star", "stream": True}, True),
    ("/v1/messages", {"model": "key-1", "stream": True}, True),
    ("/v1/responses", {"model": "rep-1", "stream": True}, True),
    ("/v1/embeddings", {"model": "rep-1", "input": "x"}, True),
    ("/v1/images/generations", {"model": "rep-1", "prompt": "x"}, True),
    ("/openai/deployments/rep-1/embeddings", {"input": "x"}, True),
    ("/v1beta/models/rep-1:streamGenerateContent", {"contents": []}, True),
    ("/v1beta/models/rep-1:generateContent", {"contents": []}, False),
    ("/v1beta/models/rep-1:batchEmbedContents", {"requests": []}, True),
    ("/v1beta/models/rep-image:generateContent", {"contents": []}, True),
    ("/v1/chat/completions", {"model": "rep-audio"}, True),
    ("/model/rep-1/converse-stream", {"messages": []}, True),
    ("/model/rep-1/converse", {"messages": []}, False),
    ("/api/chat", {"model": "rep-1", "messages": []}, True),
    ("/api/chat", {"model": "rep-1", "messages": [], "stream": False}, False),
    ("/api/generate", {"model": "rep-1", "prompt": "x"}, True),
    ("/v2/chat", {"model": "rep-1", "messages": []}, False),
    ("/api/embed", {"model": "rep-1", "input": "x"}, True),
    ("/v1/moderations", {"model": "rep-1", "input": "x"}, False),
]


@pytest.mark.parametrize("target, body, through", THROUGH, ids=["%s %s" % (target, body.get("stream", body.get("model", ""))) for target, body, _ in THROUGH])
def test_which_requests_go_through(gateway, target, body, through):
    answer = gateway.post(target, body)
    got = answer.only(gateway.mock)
    assert answer.status == 200 and gateway.went(answer) == through, answer.response
    assert got.header("authorization") == ("Bearer " + (CLIENT_KEY if body.get("model") == "star" else KEY) if body.get("model") != "key-1" else None)
    # Nothing of the way between is left.
    assert not [name for name, _ in got.headers if name.lower().startswith("x-llm")] and not answer.header("x-llm-leg")
    assert got.header("x-request-id") == answer.header("x-request-id")


def test_no_legs_for_what_never_goes_through(work):
    """Without the option, HAProxy's file and the agent's answers are what they were. A route alone can have it too."""
    def made(**config):
        return cli("backends", "-c", harness.write_config(work, config)).out
    route = {"model_prefix": "a", "upstream": "https://a.test"}
    assert "leg." not in made(routes=[route]) and "tap" not in made(tap=True, routes=[dict(route, tap=False)]).split("backend llm-tap")[0].split("#")[0]
    assert "leg." not in made(routes=[dict(route, tap=False)])
    alone = re.findall(r"(?m)^backend (leg\.\S+)", made(routes=[dict(route, tap=True)]))
    assert len(alone) == 1 and alone[0].startswith("leg.a.test.")
    # The targets have legs of their own, which pass the client's credential through.
    everywhere = re.findall(r"(?m)^backend (leg\.\S+)", made(tap=True, routes=[route]))
    assert len(everywhere) == 4 and everywhere[0] == alone[0]


def test_the_name_of_a_leg(work):
    """It changes with all that a leg stands for, and with nothing else; a socket's path has room for it, and the tap takes it."""
    def name(**route):
        text = cli("backends", "-c", harness.write_config(work, {"routes": [dict({"model_prefix": "a", "upstream": "https://a.test", "tap": True}, **route)]})).out
        [found] = re.findall(r"(?m)^backend (leg\.\S+)", text)
        assert re.fullmatch(r"leg\.[A-Za-z0-9._-]{1,23}\.[0-9a-f]{16}", found) and len(found) <= 44, found
        assert "frontend %s.in\n" % found in text and "/%s.sock" % found in text and "str(%s)" % found in text or "auth" not in route
        return found
    first = name(auth="env:A")
    assert first == name(auth="env:A", name="other") == name(auth="env:A", model_prefix="*") == name(auth="env:A", reference_model="m")
    others = [name(), name(auth="env:B"), name(auth="file:/A"), name(auth="env:A", auth_header="api-key"),
              name(auth="env:A", upstream="https://b.test"), name(auth="env:A", upstream="http://a.test"), name(auth="env:A", backend="mine"),
              name(auth="env:A", timeout=7), name(auth="env:A", forward_headers=["x-a"]),
              name(auth="env:A", upstream="http://[::1]:8000/%s" % ("a_" * 20)), name(auth="env:A", upstream="https://" + "a" * 60 + ".test/x")]
    assert len({first, *others}) == 1 + len(others)
    # Passthrough has no header of its own.
    assert name(auth_header="api-key") == name()


@pytest.mark.parametrize("more", [{}, {"timeout": 1, "max_connections": 2}, {"timeout": 7200}], ids=str)
def test_the_leg_tells_first(work, more):
    """The backend in front of a leg waits longer than all that the backend behind it may wait for."""
    text = cli("backends", "-c", harness.write_config(work, {"upstream_addresses": 5, "routes": [
        dict({"model_prefix": "a", "upstream": "https://a.test", "tap": True}, **more)]})).out
    leg, behind = text.split("\nbackend leg.")[1].split("\nfrontend")[0], text.split("\nbackend llm-a.test")[1].split("\nbackend")[0]

    def number(section, what):
        return int((re.search(r"(?m)^    %s (\d+)" % what, section) or [0, 0])[1])
    waits = number(behind, "timeout queue") + (1 + number(behind, "retries")) * number(behind, "timeout connect") + number(behind, "timeout server")
    assert number(behind, "timeout server") == more.get("timeout", 600) and number(leg, "timeout server") > waits


def sections(text):
    """The names of HAProxy's sections, each with its kind. A backend and a frontend may not share one, because rules name either."""
    return re.findall(r"(?m)^(frontend|backend|listen|ring|resolvers|cache|peers|http-errors|userlist) (\S+)", text)


def test_no_name_twice(haproxy, work):
    """No host makes a backend that has the name of a section of the gateway's own, and no route may give such a name."""
    own = sections(harness.gateway_config("") + (harness.ROOT / "dist" / "haproxy-existing.cfg").read_text())
    config = {"tap": True, "routes": [{"model_prefix": "a", "upstream": "https://a.test", "auth": "env:KEY"}]}
    own += sections(cli("backends", "-c", harness.write_config(work, config)).out)
    names = {name for _, name in own if name not in ("www", "llm-a.test") and not name.startswith("llm-api.") and "googleapis" not in name}
    assert {"llm", "llm-agent", "llm-refuse", "llm-ledger", "llm-tap", "llm-dns", "llm-gateway"} < names
    hosts = [name[4:] for name in names if name.startswith("llm-")] + ["leg.a", "a.test", "a.test.in"]
    rests = ("", ":443", ":80", "/tap", "-tls", "-strip-v1", "/-tls")
    urls = [scheme + host + rest for host in hosts for scheme in ("https://", "http://") for rest in rests]
    config["routes"] = [{"model_prefix": "m%d-" % n, "upstream": url, "auth": "env:KEY"} for n, url in enumerate(urls)]
    file = harness.write_config(work, config)
    done = cli("backends", "-c", file)
    assert done.code == 0, done
    text = harness.gateway_config(done.out) + (harness.ROOT / "dist" / "haproxy-existing.cfg").read_text()
    made = [name for _, name in sections(text)]
    assert len(made) == len(set(made)) > len(urls), [name for name in made if made.count(name) > 1]
    # The agent names these very sections.
    policy = json.loads(cli("explain", "-c", file, "--model", "m%d-x" % urls.index("https://tap"), "--json", env={"KEY": secret("names")}).out)
    assert policy["backend"] in made and policy["backend"] not in names and policy["upstream"].startswith("https://tap/"), policy
    (work / "haproxy.cfg").write_text(harness.gateway_config(done.out.replace(",libc", "")))    # looks no name up
    (work / "legs").mkdir()
    accepted, said = harness.accepted(haproxy, work / "haproxy.cfg", {"LLM_SPOE_CONF": str(harness.SPOE_CONF), "LLM_LEGS": str(work / "legs")})
    assert accepted and not re.search("(?i)same name|previously", said), said
    for name in sorted(names):
        config["routes"] = [{"model_prefix": "a", "upstream": "https://a.test", "backend": name}]
        refused = cli("check", "-c", harness.write_config(work, config))
        assert refused.code and '"backend": "%s" is a name of the gateway\'s own in HAProxy; choose another one' % name in refused.err, (name, refused)


def test_explain_shows_the_leg(work):
    file = harness.write_config(work, {"tap": True, "routes": [{"model_prefix": "a", "upstream": "https://a.test", "auth": "env:KEY"}]})
    env = {"KEY": secret("leg-explain")}
    body = work / "body.json"
    body.write_text('{"model":"a1","stream":true}')
    told = json.loads(cli("explain", "-c", file, "--body", body, "--json", env=env).out)
    assert told["leg"] in cli("backends", "-c", file).out and told["leg"] in cli("explain", "-c", file, "--body", body, env=env).out
    assert "leg" not in json.loads(cli("explain", "-c", file, "--model", "a1", "--json", env=env).out)


# ---- the credential


def test_the_tap_sees_no_credential_of_the_operators(gateway):
    """Where the route replaces the credential, the tap does not see the client's either. A credential that passes through has to go through the tap."""
    mock = gateway.mock
    for model, header, value in (("rep-1", "authorization", "Bearer " + KEY), ("key-1", "x-api-key", OTHER)):
        mock.extra_headers = [("set-cookie", "session=" + KEY), ("set-cookie2", KEY)]
        before = len(gateway.tap.seen)
        answer = gateway.post("/v1/messages", {"model": model, "stream": True}, bearer() + [
            ("x-api-key", CLIENT_KEY), ("cookie", CLIENT_KEY), ("x-mine", "1"), ("x-other", "1"), ("accept-encoding", "gzip, br")])
        mock.reset()
        got = answer.only(mock)
        assert gateway.went(answer) and got.header(header) == value and not got.has(CLIENT_KEY)
        assert got.header("accept-encoding") == "identity"
        assert got.header("x-mine") == ("1" if model == "key-1" else None) and not got.header("x-other")
        assert not answer.header("set-cookie")
        passed = bytes(gateway.tap.seen[before:])
        assert answer.tag.encode() in passed and CLIENT_KEY.encode() not in passed
    answer = gateway.post("/v1/messages", {"model": "star", "stream": True})
    assert answer.only(mock).header("authorization") == "Bearer " + CLIENT_KEY and gateway.went(answer)
    for value in (KEY, OTHER):
        assert value.encode() not in gateway.tap.seen


def test_a_trailer_does_not_reach_the_tap(gateway, haproxy):
    """From HAProxy 3.2 on: a field behind the body could carry the client's credential, which is not for the tap where the route has another one."""
    body = harness.chat("rep-1", stream=True)
    before = len(gateway.tap.seen)
    with gateway.connect() as connection:
        tag = gateway.tag()
        connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nx-client-request-id: %s\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-Api-Key: %s\r\n\r\n" % (tag.encode(), len(body), body, CLIENT_KEY.encode()))
        answer = harness.Exchange(gateway, tag, connection.read())
    assert answer.status == 200 and gateway.went(answer)
    assert (CLIENT_KEY.encode() in gateway.tap.seen[before:]) == (harness.version_of(haproxy) < (3, 2))


def test_a_leg_strips_by_itself(gateway):
    """Whatever comes to it, by whatever way: only the operator's credential goes on."""
    leg = re.search(r"(leg\.\S+)\.in\n(?:(?!\nfrontend)(?s:.))*?set-header authorization", gateway.backends).group(1)
    names = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie")
    sent = [(name, CLIENT_KEY) for name in names] + [("x-llm-leg", leg), ("x-llm-protocol", "openai"), ("x-llm-x", "1"), ("x-request-id", "t-leg-1"),
                                                     ("x-client-request-id", gateway.tag())]
    got = harness.http("unix@%s/%s.sock" % (gateway.legs, leg), "POST", "/v1/chat/completions", dict(sent, **{"content-type": "application/json"}),
                       harness.chat("rep-1", stream=True))
    [seen] = gateway.seen(sent[-1][1])
    assert got.status == 200 and seen.header("authorization") == "Bearer " + KEY and not seen.has(CLIENT_KEY)
    assert not [name for name, _ in seen.headers if name in names[1:] or name.startswith("x-llm")]


def test_no_client_chooses_a_leg(gateway):
    """Headers of clients and of upstreams that look like the gateway's count for nothing."""
    [leg, *_] = [name for name in re.findall(r"(?m)^backend (leg\.\S+)", gateway.backends)]
    forged = [("x-llm-leg", leg), ("x-llm-protocol", "anthropic"), ("X-LLM-Member", leg)]
    gateway.mock.extra_headers = [("x-llm-leg", "upstream_timeout")]
    try:
        for body in ({"model": "star", "stream": True}, {"model": "star"}):
            answer = gateway.post("/v1/chat/completions", body, bearer() + forged)
            got = answer.only(gateway.mock)
            assert answer.status == 200 and got.path.startswith("/star/") and got.header("authorization") == "Bearer " + CLIENT_KEY
            assert not [name for name, _ in got.headers if name.startswith("x-llm")] and not answer.header("x-llm-leg")
    finally:
        gateway.mock.reset()
    # The path by which HAProxy checks the tap is an upstream's for a client.
    answer = gateway.post("/.tap", {"model": "star", "stream": True})
    assert gateway.went(answer) and answer.only(gateway.mock).path == "/star/.tap"


def test_an_upstream_that_pretends_to_be_a_leg(gateway):
    """Its header x-llm-leg puts no code of the gateway's into the log line."""
    gateway.mock.extra_headers = [("x-llm-leg", "upstream_timeout")]
    try:
        answer = gateway.ask("rep-1", stream=True)
    finally:
        gateway.mock.reset()
    assert gateway.went(answer) and answer.status == 200
    lines = until(lambda: [line for line in gateway.haproxy.text().splitlines() if answer.header("x-request-id") in line], 10, gateway.haproxy.tail)
    assert json.loads(lines[0])["code"] == "" and json.loads(lines[0])["srv"] == "tap"


def test_legs_keep_connections_to_the_agent(gateway):
    """Frontend and legs ask in turn, each over connections of its own, and HAProxy opens none for a single question."""
    def opened():
        return int(re.search(r"(?m)^spoa_llm_spop_connections_opened_total (\d+)", gateway.agent.http(path="/metrics").text).group(1))

    def ask(times):
        """Asks so often, and returns how many connections there have been."""
        for _ in range(times):
            for model in ("rep-1", "key-1"):
                assert gateway.ask(model, stream=True).status == 200
        return opened()
    # At first each thread of HAProxy opens some. Every five seconds HAProxy closes some that are idle.
    before, began = ask(10), time.monotonic()
    assert ask(20) <= before + 5 * (1 + int((time.monotonic() - began) / 5))


def test_sockets_of_legs(gateway):
    """Only HAProxy's own user can connect to a leg, unless LLM_LEG_ACCESS says otherwise."""
    until(lambda: len([path for path in gateway.legs.iterdir() if path.suffix == ".sock"]) == 7, 5,
          lambda: "of four routes, and of three targets: %s" % list(gateway.legs.iterdir()))
    sockets = list(gateway.legs.iterdir())
    assert all(path.is_socket() and path.stat().st_mode & 0o777 == 0o600 for path in sockets)


# ---- bytes


def test_the_bytes_are_the_same(gateway):
    """A stream, a large answer and a large request, through the tap and straight."""
    large = b'{"data":"' + b"x" * 3000000 + b'"}'
    for target, respond, more in (("/v1/chat/completions", None, {"stream": True}),
                                  ("/v1/embeddings", lambda request: (200, [("content-type", "application/json")], large), {}),
                                  ("/v1/messages", None, {"stream": True, "padding": "y" * 700000})):
        gateway.mock.respond = respond
        try:
            answers = [gateway.post(target, dict({"model": model, "input": "x"}, **more)) for model in ("rep-1", "off-1")]
        finally:
            gateway.mock.reset()
        assert [gateway.went(one) for one in answers] == [True, False]
        through, straight = (one.response.body.replace(b"off-1", b"rep-1") for one in answers)
        assert through == straight and answers[0].status == 200
        assert [one.only(gateway.mock).body.replace(b"off-1", b"rep-1") for one in answers[:1]] == [answers[1].only(gateway.mock).body.replace(b"off-1", b"rep-1")]


def test_tls_to_the_upstream(gateway):
    """The leg does TLS, so that the tap reads the answer."""
    for stream in (True, False):
        answer = gateway.ask("tls-1", stream=stream)
        assert answer.only(gateway.tls).header("authorization") == "Bearer " + KEY and gateway.went(answer) == stream
    assert b"chat.completion.chunk" in gateway.tap.seen and KEY.encode() not in gateway.tap.seen


def test_a_client_that_leaves(gateway):
    """The upstream is told, through tap and leg, so that it computes nothing that nobody reads."""
    gateway.mock.gate = threading.Event()
    try:
        stream = Stream(gateway, "rep-1")
        before = set(gateway.mock.open)
        stream.connection.close()
        until(lambda: any(left(one) for one in before), 10, "the upstream sees that the client has left")
    finally:
        gateway.mock.gate.set()
        gateway.mock.reset()


def left(sock):
    """Whether the other side of `sock` has closed it."""
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("way", ["h2c", "h1"])
def test_over_http_2(gateway, way):
    gateway.way = way
    try:
        answer = gateway.ask("rep-1", stream=True)
    finally:
        gateway.way = "h1"
    assert answer.only(gateway.mock).header("authorization") == "Bearer " + KEY and gateway.went(answer) and b"[DONE]" in answer.response.body


# ---- the tap goes, and comes


def test_without_a_tap(gateway):
    """A killed tap cuts what is in it. What comes then goes straight to the leg, at once, with the same credential."""
    gateway.mock.gate = threading.Event()
    stream = Stream(gateway, "rep-1")
    assert stream.tag in gateway.tap.seen
    gateway.tap.kill()
    assert stream.rest() and not stream.whole
    gateway.mock.gate.set()
    gateway.mock.reset()
    with gateway.connect() as connection:
        for model in ("rep-1", "key-1", "star", "rep-1") * 3:
            answer = gateway.ask(model, stream=True, connection=connection)
            assert answer.status == 200 and not gateway.went(answer)
            got = answer.only(gateway.mock)
            assert (got.header("authorization"), got.header("x-api-key")) == (
                ("Bearer " + KEY, None) if model == "rep-1" else (None, OTHER) if model == "key-1" else ("Bearer " + CLIENT_KEY, None))
    gateway.tap.up()
    until(lambda: gateway.went(gateway.ask("rep-1", stream=True)), 10, "streams go through the tap again")


def test_legs_that_nobody_reaches(haproxy, make_mock):
    """As after a reload with a mode of their sockets that HAProxy itself cannot pass: streams are refused until HAProxy has noticed, and then go to their
    upstream without a leg, with their credential."""
    mock = make_mock("unreached")
    with TappedGateway(haproxy, [mock], {"routes": routes(mock)}, env={"KEY": KEY, "OTHER": OTHER}, owners={KEY: [mock], OTHER: [mock]}) as gateway:
        assert gateway.went(gateway.ask("rep-1", stream=True))
        for path in gateway.legs.iterdir():
            path.unlink()
        for pair in list(gateway.tap.open.items()):
            for connection in pair:
                connection.close()
        answer = until(lambda: next((one for one in [gateway.ask("rep-1", stream=True)] if one.status == 200 and not gateway.went(one)), None), 15,
                       "a stream goes without its leg")
        assert answer.only(mock).header("authorization") == "Bearer " + KEY


def test_the_switch(haproxy, make_mock, work):
    """The runtime API turns the tap off and on: new requests go straight, and the stream in the tap goes on to its end."""
    mock = make_mock("switched")
    gateway = TappedGateway(haproxy, [mock], {"routes": routes(mock)}, env={"KEY": KEY, "OTHER": OTHER}, edit=runtime(work / "api.sock"))
    with gateway:
        def turn(value):
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(work / "api.sock"))
                one.sendall(b"experimental-mode on; set var proc.llm_tap bool(%s)\n" % value)
                while one.recv(4096):   # HAProxy closes when it has done both
                    pass
        mock.gate = threading.Event()
        stream = Stream(gateway, "rep-1")
        assert stream.tag in gateway.tap.seen
        turn(b"false")
        gate, mock.gate = mock.gate, None
        for model in ("rep-1", "star", "key-1"):
            answer = gateway.ask(model, stream=True)
            assert answer.status == 200 and not gateway.went(answer)
            answer.only(mock)
        gate.set()
        stream.rest()
        assert stream.whole and b"[DONE]" in stream.data
        turn(b"true")
        assert gateway.went(gateway.ask("rep-1", stream=True))


# ---- a leg fails closed


class Liar:
    """A gateway whose agent is a fake: it tells the truth about requests, and of a leg's question what `say` is."""

    def __init__(self, haproxy, mock):
        self.say, self.mock = {}, mock
        self.gateway = TappedGateway(haproxy, [mock], {"routes": routes(mock)}, env={"KEY": KEY, "OTHER": OTHER}, fake=self.answer)
        self.leg, self.backend = re.search(r"(?s)(leg\.\S+)\.in\n.*?default_backend (\S+)", self.gateway.backends).groups()
        self.protocol = "openai"

    def answer(self, args):
        if "member" in args:
            assert args["member"] == self.leg and args["id"]
            return {name: self.backend if value == "@0" else value for name, value in self.say.items()} if isinstance(self.say, dict) else self.say
        return {"backend": self.backend, "leg": self.leg, "auth_value": "Bearer " + KEY, "protocol": self.protocol, "stream": True, "allow": "authorization"}


@pytest.fixture(scope="module")
def liar(haproxy, make_mock):
    liar = Liar(haproxy, make_mock("liar"))
    with liar.gateway:
        yield liar


TRUTH = {"backend": "@0", "auth": "replace", "auth_header": "authorization", "auth_value": "Bearer " + KEY, "deny": False}


def but(**changes):
    return {name: value for name, value in dict(TRUTH, **changes).items() if value is not ...}


NO_ANSWER, NO_CREDENTIAL = (503, "gateway_unavailable"), (502, "upstream_auth_unavailable")
LIES = {
    "nothing": ({}, NO_ANSWER),
    "no answer": (None, NO_ANSWER),
    "the connection ends": (spop.FakeAgent.CLOSE, NO_ANSWER),
    "an unknown leg": ({"deny": True, "status": 502, "code": "no_backend"}, NO_ANSWER),
    "no credential": ({"deny": True, "status": 502, "code": "upstream_auth_unavailable"}, NO_CREDENTIAL),
    "no credential, and yet one": (but(deny=True, status=502, code="upstream_auth_unavailable"), NO_CREDENTIAL),
    "deny missing": (but(deny=...), NO_ANSWER),
    "deny NULL": (but(deny=None), NO_ANSWER),
    "deny true": (but(deny=True), NO_ANSWER),
    "deny a text": (but(deny="false"), NO_ANSWER),
    "another backend": (but(backend="llm-refuse"), NO_ANSWER),
    "no backend": (but(backend=...), NO_ANSWER),
    "passthrough": (but(auth="passthrough"), NO_ANSWER),
    "no auth": (but(auth=...), NO_ANSWER),
    "another header": (but(auth_header="x-api-key"), NO_ANSWER),
    "no header": (but(auth_header=...), NO_ANSWER),
    "an empty credential": (but(auth_value=""), NO_ANSWER),
    "no credential at all": (but(auth_value=...), NO_ANSWER),
}


def test_a_leg_that_is_told_the_truth(liar):
    liar.say = TRUTH
    answer = liar.gateway.ask("rep-1", stream=True)
    assert answer.only(liar.mock).header("authorization") == "Bearer " + KEY and liar.gateway.went(answer)


@pytest.mark.parametrize("lie, shape", [(lie, "openai") for lie in LIES] + [
    (lie, shape) for lie in ("nothing", "no credential") for shape in ("anthropic", "gemini")])
def test_a_leg_that_is_told_less_forwards_nothing(liar, lie, shape):
    """The client gets the refusal that it would get without a leg, in the shape of its API."""
    liar.say, (status, code) = LIES[lie]
    liar.protocol = shape
    answer = liar.gateway.ask("rep-1", stream=True).refused(status, code, shape)
    assert liar.gateway.went(answer) and not answer.header("x-llm-leg")


def test_the_agent_goes_between_its_two_answers(liar):
    """It lets the request through, and is gone when the leg asks: no request goes on, neither through the tap nor straight."""
    say, liar.say = liar.say, spop.FakeAgent.CLOSE
    liar.protocol = "openai"
    try:
        for _ in range(3):
            liar.gateway.ask("rep-1", stream=True).refused(503, "gateway_unavailable")
        liar.gateway.tap.kill()
        liar.gateway.ask("rep-1", stream=True).refused(503, "gateway_unavailable")
        liar.say = {"deny": True, "status": 502, "code": "upstream_auth_unavailable"}
        liar.gateway.ask("rep-1", stream=True).refused(502, "upstream_auth_unavailable")
    finally:
        liar.say = say
        liar.gateway.tap.up()


def test_what_the_agent_tells_a_leg(agents, work):
    """The names of HAProxy's legs, each with its credential; another name, or none, gets nothing."""
    file = work / "credential"
    file.write_text(KEY)
    config = {"tap": True, "refusal_status": 403, "routes": [
        {"model_prefix": "f", "upstream": "https://f.test", "auth": "file:%s" % file, "auth_header": "api-key"},
        {"model_prefix": "e", "upstream": "https://e.test", "auth": "env:MISSING_LEG_KEY"},
        {"model_prefix": "g", "upstream": "https://g.test", "auth": "env:MISSING_LEG_KEY", "enabled": False, "tap": True},
        {"model_prefix": "p", "upstream": "https://p.test"}, {"model_prefix": "n", "upstream": "https://n.test", "auth": "env:X", "tap": False}]}
    agent = agents(config)
    text = cli("backends", "-c", agent.file).out
    legs = dict(re.findall(r"(?s)frontend (leg\.\S+)\.in\n(?:(?!\nfrontend).)*?default_backend (\S+)", text))
    by_backend = {backend: leg for leg, backend in legs.items()}
    assert {"llm-f.test", "llm-e.test", "llm-p.test", "llm-api.openai.com"} < set(by_backend) and not {"llm-g.test", "llm-n.test"} & set(by_backend)
    with agent.client() as client:
        def ask(member):
            return client.ask({"id": "t-1", "member": member}, name="llm-member")
        assert ask(by_backend["llm-f.test"]) == {"backend": "llm-f.test", "auth": "replace", "auth_header": "api-key", "auth_value": KEY, "deny": False}
        assert ask(by_backend["llm-p.test"]) == {"backend": "llm-p.test", "auth": "passthrough", "deny": False}
        assert ask(by_backend["llm-api.openai.com"]) == {"backend": "llm-api.openai.com", "auth": "passthrough", "deny": False}
        assert ask(by_backend["llm-e.test"]) == {"status": 403, "code": "upstream_auth_unavailable", "deny": True}
        assert "leg=%s" % by_backend["llm-e.test"] in agent.log("event=leg_refused") and "auth=env:MISSING_LEG_KEY" in agent.log("event=leg_refused")
        for name in ("", None, "leg", "llm-f.test", by_backend["llm-f.test"][:-1], by_backend["llm-f.test"] + "0", by_backend["llm-f.test"].upper(), 7, "x" * 5000):
            assert ask(name) == {"status": 502, "code": "no_backend", "deny": True}, name
        assert client.ask({}, name="llm-member") == {"status": 502, "code": "no_backend", "deny": True}
        # What the agent tells HAProxy about a request names such a leg.
        for model, backend in (("f", "llm-f.test"), ("p", "llm-p.test")):
            assert client.ask(body='{"model":"%s","stream":true}' % model)["leg"] == by_backend[backend]
        for body in ('{"model":"n","stream":true}', '{"model":"f"}'):
            assert "leg" not in client.ask(body=body)
        assert "leg" not in client.ask(body='{"model":"f","stream":true}', upgrade=True, method="GET", path="/v1/realtime", model_param="f")


# ---- what HAProxy answers in place of an upstream


def test_an_upstream_that_does_not_answer(gateway):
    """The client gets the same status, code and body through the tap and straight."""
    mock, port = gateway.mock, gateway.mock.port

    def ask(target, shape, model):
        return gateway.post(target.replace("rep-", model), {} if shape == "gemini" else {"model": model + "1", "stream": True})
    for fault, status in (("raw", 502), ("down", 503)):
        if fault == "raw":
            mock.raw = b"no HTTP\r\n\r\n"
        else:
            mock.down()
        try:
            # At once, because HAProxy tries twice more, a second later each time.
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                pairs = [[pool.submit(ask, target, shape, model) for model in ("rep-", "off-")] for target, shape in SHAPES.items()]
                pairs = [[one.result() for one in pair] for pair in pairs]
        finally:
            mock.reset()
            if fault == "down":
                mock.port = port
                mock.up()
        for through, straight in pairs:
            assert gateway.went(through) and not gateway.went(straight)
            assert through.status == straight.status == status, (through.response, straight.response)
            assert through.response.body == straight.response.body and through.header("content-type") == straight.header("content-type")
    until(lambda: gateway.ask("rep-1").status == 200, 10, "the upstream is up")
