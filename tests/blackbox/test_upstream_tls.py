"""How a route's upstream is reached: CA, client certificate, HTTP/2, the certificate's name, time, and the number of connections."""
import json
import re
import shutil
import threading
import time

import pytest

import certificates
import harness
from harness import JSON, bearer, chat, cli, free_port, secret, until

# In TLS 1.3 a server refuses a client certificate after the handshake, which makes the 502.
REFUSED = (502, 503)
# What becomes of a request by each route, the upstream of each, and its keys.
TLS_ROUTES = {
    "mutual-": ((200,), "mutual", {"client_cert": "{dir}/client.bundle"}),
    "without-": (REFUSED, "mutual", {}),
    "stranger-": (REFUSED, "mutual", {"client_cert": "{dir}/stranger.bundle"}),
    "h2-": ((200,), "nghttpx", {"client_cert": "{dir}/client.bundle", "alpn": "h2"}),
    "h2-either-": ((200,), "nghttpx", {"client_cert": "{dir}/client.bundle", "alpn": "h2,http/1.1"}),
    "h2-not-": (REFUSED, "nghttpx", {"client_cert": "{dir}/client.bundle"}),
    "h2-without-": (REFUSED, "nghttpx", {"alpn": "h2"}),
    "h1-either-": ((200,), "plain", {"alpn": "h2,http/1.1"}),
    "h1-": ((200,), "plain", {"alpn": "http/1.1"}),
    "address-": ((200,), "https://127.0.0.1:%d", {"sni": "localhost"}),
    "misnamed-": (REFUSED, "https://127.0.0.1:%d", {"sni": "elsewhere.test"}),
    "other-name-": ((200,), "elsewhere", {"sni": "elsewhere.test"}),
    "other-ca-": ((200,), "strange", {"ca_file": "{other}/ca.pem"}),
    "other-ca-not-": (REFUSED, "strange", {}),
    "system-ca-": (REFUSED, "plain", {"ca_file": "@system-ca"}),
}


class Servers:
    """Upstreams behind TLS; nghttpx, which speaks HTTP/2 only and asks for a client certificate."""

    def __init__(self, make_mock, directory):
        (directory / "other").mkdir()
        self.own, self.other = certificates.Authority(directory), certificates.Authority(directory / "other")
        self.directory, port = directory, free_port()
        self.mocks = {"mutual": make_mock("mutual", tls=self.own.mutual), "plain": make_mock("plain", tls=self.own.server),
                      "elsewhere": make_mock("elsewhere", tls=self.own.misnamed), "strange": make_mock("strange", tls=self.other.server),
                      "nghttpx": make_mock("behind")}
        self.urls = {name: mock.url(host="localhost") for name, mock in self.mocks.items()}
        self.urls["nghttpx"] = "https://localhost:%d" % port
        self.urls["https://127.0.0.1:%d"] = "https://127.0.0.1:%d" % self.mocks["plain"].port
        self.process = harness.Process("nghttpx", [
            shutil.which("nghttpx") or "/usr/sbin/nghttpx", "--conf=/dev/null", "--workers=1", "-f127.0.0.1,%d" % port, "--npn-list=h2",
            "--verify-client", "--verify-client-cacert=%s" % self.own.ca, "-b127.0.0.1,%d" % self.mocks["nghttpx"].port,
            str(directory / "localhost.key"), str(directory / "localhost.pem")], directory / "nghttpx.log", harness.environment())
        until(lambda: harness.accepting("127.0.0.1:%d" % port), 10, self.process.tail)

    def routes(self):
        places = {"dir": self.directory, "other": self.directory / "other"}
        for prefix, (_, upstream, keys) in sorted(TLS_ROUTES.items(), key=lambda row: -len(row[0])):
            yield dict({"model_prefix": prefix, "upstream": self.urls[upstream], "auth": "env:KEY"},
                       **{key: value.format(**places) for key, value in keys.items()})

    def mock(self, prefix):
        return self.mocks.get(TLS_ROUTES[prefix][1], self.mocks["plain"])


@pytest.fixture(scope="module")
def servers(make_mock, module_work):
    servers = Servers(make_mock, module_work)
    yield servers
    servers.process.end()


@pytest.fixture(scope="module")
def over_tls(haproxy, servers):
    with harness.Gateway(haproxy, servers.mocks.values(), {"ca_file": str(servers.own.ca), "routes": list(servers.routes())},
                         env={"KEY": secret("upstream-tls")}) as gateway:
        yield gateway


@pytest.mark.parametrize("prefix", TLS_ROUTES)
def test_who_verifies_whom(over_tls, servers, prefix):
    expected = TLS_ROUTES[prefix][0]
    for stream in (False, True):
        answer = over_tls.ask(prefix + "1", stream=stream)
        assert answer.status in expected, (answer.response, over_tls.haproxy.tail())
        if expected != REFUSED:
            got = answer.only(servers.mock(prefix))
            # nghttpx names the protocol of what came to it.
            assert (got.header("via") or "").startswith("2 ") == prefix.startswith("h2-"), got.headers
        else:
            answer.nowhere()


def test_large_bodies_by_http2(over_tls, servers):
    answer = over_tls.ask("h2-1", padding="x" * 700000)
    assert len(answer.only(servers.mock("h2-")).body) > 700000 and answer.status == 200


@pytest.mark.parametrize("prefix", ["mutual-", "h2-", "h1-either-"])
def test_websockets(over_tls, servers, prefix):
    """A WebSocket uses the protocol that the route names; where both are offered, HTTP/1.1."""
    mock = servers.mock(prefix)
    mock.gate = threading.Event()
    answer = over_tls.call("GET", "/v1/realtime?model=%s1" % prefix, bearer() + [
        ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")])
    mock.gate.set()
    mock.gate = None
    got = answer.only(mock)
    assert answer.status == 101 and (got.header("via") or "").startswith("2 ") == (prefix == "h2-"), got.headers


def test_the_name_that_is_asked_for(over_tls, servers):
    servers.own.names.clear()
    assert over_tls.ask("address-1").status == 200
    assert "localhost" in servers.own.names


# ---- time and number


@pytest.fixture(scope="module")
def timed(haproxy, make_mock):
    """A gateway whose clients may be silent for a second."""
    mock = make_mock("slow")
    routes = [{"model_prefix": "short-", "upstream": mock.url(), "timeout": 1}, {"model_prefix": "long-", "upstream": mock.url(), "timeout": 30}]
    with harness.Gateway(haproxy, [mock], {"routes": routes},
                         edit=lambda text: text.replace("    timeout client          10m\n", "    timeout client          1s\n")) as gateway:
        assert "timeout client          1s" in gateway.cfg.read_text()
        gateway.mock = mock
        yield gateway
    mock.reset()


@pytest.mark.parametrize("way", ["h1", "h2c"])
def test_how_long_an_upstream_may_think(timed, way):
    """An answer may take as long as the route says, also where the client may be silent for less."""
    timed.way, timed.mock.delay = way, 2.5
    got = {}

    def ask(model):
        got[model] = timed.ask(model)
    threads = [threading.Thread(target=ask, args=(model,)) for model in ("short-1", "long-1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    timed.way, timed.mock.delay = "h1", 0
    assert got["long-1"].status == 200 and got["short-1"].status == 504, got
    assert got["short-1"].json()["error"]["code"] == "upstream_timeout"


def test_how_long_a_stream_may_be_silent(timed):
    timed.mock.gate = threading.Event()
    got = []
    thread = threading.Thread(target=lambda: got.append(timed.ask("long-1", stream=True)))
    thread.start()
    time.sleep(2.5)
    timed.mock.gate.set()
    thread.join()
    timed.mock.gate = None
    assert got[0].status == 200 and b"[DONE]" in got[0].response.body


def test_the_number_of_connections(gateways, make_mock):
    """What is beyond the limit of the route waits; another route to the same upstream has a limit of its own."""
    mock = make_mock("counted")
    gateway = gateways([mock], {"routes": [{"model_prefix": "two-", "upstream": mock.url(), "max_connections": 2},
                                           {"model_prefix": "all-", "upstream": mock.url()}]})
    lock, now, most = threading.Lock(), [0], [0]

    def respond(request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.15)
        with lock:
            now[0] -= 1
        return 200, [("content-type", "application/json")], b"{}"
    mock.respond = respond
    seen = {}
    for model in ("two-1", "all-1"):
        most[0], got = 0, []
        threads = [threading.Thread(target=lambda: got.append(gateway.ask(model).status)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [200] * 8
        seen[model] = most[0]
    assert seen["two-1"] == 2 and seen["all-1"] > 2, seen


# ---- what goes along with a client certificate, and whose backend is whose


def test_what_the_certificate_goes_along_with(gateways, servers, make_mock):
    """The client certificate goes along with the same requests as a credential: those that run a model, and those that `paths` names."""
    mock = servers.mocks["mutual"]
    keys = {"upstream": servers.urls["mutual"], "client_cert": str(servers.own.client)}
    gateway = gateways([mock], {"ca_file": str(servers.own.ca), "routes": [
        dict(keys, path_prefix="/v1/files"), dict(keys, path_prefix="/v1/batches", paths=["GET /v1/batches"]), dict(keys, model_prefix="*")]})
    key = "Bearer " + harness.CLIENT_KEY
    got = gateway.ask("any").only(mock)
    assert got.header("authorization") == key       # the client's own credential passes through
    gateway.call("GET", "/v1/files/f1", bearer()).refused(403, "endpoint_not_allowed")
    gateway.call("POST", "/v1/batches", JSON + bearer(), b"{}").refused(403, "endpoint_not_allowed")
    assert gateway.call("GET", "/v1/batches/b1", bearer()).only(mock).header("authorization") == key


def test_backends_of_their_own(work):
    """Each set of values has a backend, which only routes with the same values share; and a name that changes with each value."""
    one = {"upstream": "https://one.test", "auth": "env:KEY"}
    sets = [{}, {"timeout": 60}, {"timeout": 61}, {"max_connections": 60}, {"alpn": "h2"}, {"sni": "h2"}, {"ca_file": "/a"}, {"client_cert": "/a"},
            {"ca_file": "/a", "client_cert": "/b"}, {"forward_headers": ["x-a"]}, {"forward_headers": ["x-a"], "timeout": 60}]
    table = [dict(one, model_prefix="m%d-" % number, **keys) for number, keys in enumerate(sets + sets)]
    file = harness.write_config(work, {"routes": table})
    names = [json.loads(cli("explain", "-c", file, "--model", route["model_prefix"] + "1", "--json", env={"KEY": secret("own")}).out)["backend"]
             for route in table]
    assert names[:len(sets)] == names[len(sets):] and len(set(names)) == len(sets), names
    assert names[0] == "llm-one.test" and all(re.fullmatch(r"llm-one\.test(-fwd-[0-9a-f]{8})?(-set-[0-9a-f]{8})?", name) for name in names)
    made = re.findall(r"(?m)^backend (\S+)$", cli("backends", "-c", file).out)
    assert set(names) < set(made) and len(made) == len(set(made))


WRONG = [
    ({"ca_file": "relative.pem"}, "ca_file"), ({"ca_file": "/a b"}, "ca_file"), ({"ca_file": "/a#b"}, "ca_file"), ({"ca_file": 1}, "ca_file"),
    ({"client_cert": "@system-ca"}, "client_cert"), ({"client_cert": "/a\nb"}, "client_cert"), ({"client_cert": ""}, "client_cert"),
    ({"alpn": "h3"}, "alpn"), ({"alpn": "h2, http/1.1"}, "alpn"), ({"alpn": None}, "alpn"),
    ({"sni": "a b"}, "sni"), ({"sni": "-a"}, "sni"), ({"sni": ""}, "sni"), ({"sni": "a)"}, "sni"),
    ({"sni": "10.0.0.1"}, "sni"), ({"sni": "a."}, "sni"), ({"sni": "a..b"}, "sni"), ({"upstream": "https://a..b"}, "upstream"),
    ({"timeout": 0}, "timeout"), ({"timeout": 86401}, "timeout"), ({"timeout": 1.5}, "timeout"), ({"timeout": "60"}, "timeout"),
    ({"max_connections": 0}, "max_connections"), ({"max_connections": -1}, "max_connections"), ({"max_connections": True}, "max_connections"),
    ({"max_connections": 1}, "max_connections"),
    ({"upstream": "http://a.test", "ca_file": "/a"}, "ca_file"), ({"upstream": "http://a.test", "client_cert": "/a"}, "client_cert"),
    ({"upstream": "http://a.test", "alpn": "h2"}, "alpn"), ({"upstream": "http://a.test", "sni": "a"}, "sni"),
    ({"upstream": "https://10.0.0.1"}, "host name"),
]


@pytest.mark.parametrize("keys, named", WRONG, ids=lambda value: json.dumps(value) if isinstance(value, dict) else "")
def test_values_that_are_refused(work, keys, named):
    """Strict: with line and column. Lenient: said, and never a backend that HAProxy does not accept."""
    route = dict({"upstream": "https://a.test", "model_prefix": "m"}, **keys)
    file = harness.write_config(work, {"routes": [route]})
    done = cli("check", "-c", file)
    assert done.code == 78 and named in done.err and re.search(r"spoa-llm\.json:\d+:\d+: ", done.err), done
    lenient = cli("backends", env={"HEADROOM_UPSTREAM_ROUTES": json.dumps([route])})
    assert lenient.code == 0 and named in lenient.err, lenient
    written = re.sub(r"str\([0-9a-f]{16}\)", "", lenient.out)      # but for the hash of it all
    assert not re.search(r"a b|a#b|relative|h3|a\)", written), written


def test_what_haproxy_makes_of_each_key(haproxy, work):
    """HAProxy accepts a backend with all of the keys."""
    certificates.Authority(work)
    route = {"upstream": "https://a.test", "model_prefix": "m", "ca_file": str(work / "ca.pem"), "client_cert": str(work / "client.bundle"), "alpn": "h2",
             "sni": "b.test", "timeout": 7200, "max_connections": 9}
    done = cli("backends", "-c", harness.write_config(work, {"routes": [route], "ca_file": str(work / "ca.pem")}))
    path = work / "whole.cfg"
    path.write_text(harness.gateway_config(done.out))
    good, said = harness.accepted(haproxy, path, {"LLM_SPOE_CONF": str(harness.SPOE_CONF)})
    assert good, said
    section = done.out.split("backend llm-a.test-set-")[1].split("\nbackend")[0]
    for part in ("timeout server 7200s", "timeout queue 60s", "timeout tunnel 7200s", "maxconn 4", "crt %s" % route["client_cert"], "sni str(b.test)", "alpn h2", "set-header host a.test"):
        assert part in section, section
