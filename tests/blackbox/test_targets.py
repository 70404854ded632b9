"""The URL at which a request arrives: the base path is added, `/v1` is not doubled, and path and query stay as they were. Also: which option
sets each of the three targets, and what the backends are called."""
import json
import re
import socket

import pytest

import certificates
import harness
from harness import CLIENT_KEY, bearer, chat, cli, secret
from upstream import Mock

KEY = secret("targets")

# base path of an upstream: {request target: target received}
BASES = {
    "": {"/v1/chat/completions": None, "/chat": None, "/": None, "/v1": None},
    "/": {"/v1/chat/completions": "/v1/chat/completions"},
    "//": {"/v1/chat/completions": "/v1/chat/completions"},
    "/v1": {"/v1/chat/completions": "/v1/chat/completions", "/chat/completions": "/v1/chat/completions",
            "/v1/messages?beta=true": "/v1/messages?beta=true", "/v1": "/v1", "/v1?a=b": "/v1?a=b",
            "/v10/x": "/v1/v10/x", "/v1beta/x": "/v1/v1beta/x",
            "/v1/v1/x": "/v1/v1/x", "/x/v1/y": "/v1/x/v1/y", "/v1/": "/v1/"},
    "/v1/": {"/v1/messages": "/v1/messages"},
    "/api": {"/v1/chat/completions": "/api/v1/chat/completions", "/v1/messages?beta=true": "/api/v1/messages?beta=true",
             "/x?y": "/api/x?y", "/api/x": "/api/api/x", "/": "/api/"},
    "/api/": {"/v1/messages": "/api/v1/messages"},
    "/api/v1": {"/v1/chat/completions": "/api/v1/chat/completions", "/responses": "/api/v1/responses",
                "/v1/x?a=/v1/y": "/api/v1/x?a=/v1/y"},
    "/openai/deployments/a-b.c_d": {"/v1/x": "/openai/deployments/a-b.c_d/v1/x"},
    "/v1/proxy": {"/v1/x": "/v1/proxy/v1/x"},
    # A base that ends in another version: the client's /v1 gives way to it, and so does the base's own.
    "/api/paas/v4": {"/v1/chat/completions": "/api/paas/v4/chat/completions", "/chat/completions": "/api/paas/v4/chat/completions",
                     "/v4/chat/completions": "/api/paas/v4/chat/completions", "/v1": "/api/paas/v4", "/v1/": "/api/paas/v4/",
                     "/v1?a=/v1/b": "/api/paas/v4?a=/v1/b", "/v10/x": "/api/paas/v4/v10/x", "/v1beta/x": "/api/paas/v4/v1beta/x",
                     "/v1/v1/x": "/api/paas/v4/v1/x", "/x/v1/y": "/api/paas/v4/x/v1/y", "//v1/chat/completions": "/api/paas/v4/chat/completions"},
    "/api/v3/": {"/v1/chat/completions": "/api/v3/chat/completions", "/v3": "/api/v3"},
    "/v1beta/openai": {"/v1/chat/completions": "/v1beta/openai/chat/completions", "/chat/completions": "/v1beta/openai/chat/completions",
                       "/v1beta/openai/chat/completions": "/v1beta/openai/chat/completions",
                       "/v1beta/models/m": "/v1beta/openai/v1beta/models/m", "/v1beta/openaix": "/v1beta/openai/v1beta/openaix"},
    "/v1beta": {"/v1beta/models/m": "/v1beta/models/m", "/v1/models/m": "/v1beta/models/m"},
    "/v1/account/gateway/compat": {"/v1/x": "/v1/account/gateway/compat/x", "/v1/account/gateway/compat/x": "/v1/account/gateway/compat/x"},
    "/v1.1": {"/v1/x": "/v1.1/x", "/v1.1/x": "/v1.1/x", "/v111/x": "/v1.1/v111/x"},
    "/av1": {"/v1/x": "/av1/v1/x"},
}
ROWS = [(base, sent, sent if got is None else got) for base, targets in BASES.items() for sent, got in targets.items()]


def prefix(base):
    return "b%d-" % list(BASES).index(base)


@pytest.fixture(scope="module")
def based(haproxy, make_mock):
    mock = make_mock("based")
    replace = {"auth": "env:KEY", "paths": "any"}
    routes = [{"model_prefix": prefix(base), "upstream": mock.url(base), **(replace if at % 2 else {})} for at, base in enumerate(BASES)]
    with harness.Gateway(haproxy, [mock], {"routes": routes, "openai_target": mock.url()},
                         env={"KEY": KEY}) as gateway:
        gateway.mock = mock
        yield gateway


@pytest.mark.parametrize("base, sent, received", ROWS)
def test_base_path(based, base, sent, received):
    got = based.post(sent, chat(prefix(base) + "m")).only(based.mock)
    assert got.target == received
    assert got.header("host") == based.mock.authority


QUERIES = ["", "?", "?a", "?a=", "?a=b&a=b", "?a=b?c", "?a=%20+%2B", "?%61=1", "?&&", "?a=b&", "?q=/v1/../x", "?a=\u00e9",
           "?a=b;c=d", "?a=[]{}|^\"'", "?monkey=1", "?keys=1", "?xkey=1&mykey=2", "?a=key=b"]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("base", ["/api", "/v1/"])      # the route of one base replaces the credential, the other does not
def test_query(based, base, query):
    answer = based.post("/v1/x" + query, chat(prefix(base) + "m"))
    if answer.status == 400 and not query.isascii():
        return answer.nowhere()         # HAProxy may refuse bytes that are not allowed in a URL
    expected = ("/api" if base == "/api" else "") + "/v1/x" + query
    # A `?` with nothing behind it may be dropped; every other query arrives unchanged.
    assert answer.only(based.mock).target in (expected, expected.rstrip("?"))


PATHS = ["/v1/a%2Fb", "/v1/a%2fb", "/v1/%20", "/v1/a//b", "//v1/a", "/v1/./a", "/v1/a/../b", "/v1/a;b=c", "/v1/a:b@c",
         "/v1/%00", "/v1/%", "/v1/%zz", "/V1/x", "/v1/a%3Fb", "/v1/a%23b", "/v1/a$b!'()*+,=~", "/v1/%E2%82%AC",
         "/v1/" + "x" * 2000]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("base", ["", "/api", "/api/"])
def test_path_stays_to_the_byte(based, base, path):
    answer = based.post(path, chat(prefix(base) + "m"))
    if answer.status == 400:
        return answer.nowhere()
    assert answer.only(based.mock).target == base.rstrip("/") + ("/" + path.lstrip("/"))


# What the client sent, and the path that the upstream gets behind its base.
SLASHES = {"//v1/x": "/v1/x", "///v1/x": "/v1/x", "//": "/", "//?a=//b": "/?a=//b", "//v1/x?a=//b": "/v1/x?a=//b",
           "/p/alpha//v1/x": "/v1/x", "//p/alpha/v1/x": "/v1/x", "http://gw.test//v1/x": "/v1/x"}


@pytest.mark.parametrize("sent", SLASHES)
@pytest.mark.parametrize("base", ["", "/api"])
def test_slashes_at_the_beginning_are_merged(based, base, sent):
    answer = based.call("POST", sent, harness.JSON + bearer(), chat(prefix(base) + "m"), host="gw.test")
    assert answer.only(based.mock).target == base + SLASHES[sent]


STRIP = {       # base, strip_v1: {request target: target received}
    ("/inference", True): {"/v1/chat/completions": "/inference/chat/completions", "/chat/completions": "/inference/chat/completions",
                           "/v1": "/inference"},
    ("", True): {"/v1/chat/completions": "/chat/completions", "/v1": "/", "/v1?a=b": "/?a=b", "/v1/": "/", "/v10/x": "/v10/x",
                 "/x": "/x"},
    ("/v2", False): {"/v1/chat/completions": "/v2/v1/chat/completions", "/v2/x": "/v2/v2/x", "/x": "/v2/x"},
    ("/v1", True): {"/v1/x": "/v1/x", "/x": "/v1/x"},
}


def test_an_operator_says_whether_v1_gives_way(gateways, make_mock):
    """For bases that the URL does not tell of. Each backend is named by what it does, so that HAProxy cannot mix the two up."""
    mock = make_mock("strip")
    routes = [{"model_prefix": "s%d-" % at, "strip_v1": strip, "upstream": mock.url(base)} for at, (base, strip) in enumerate(STRIP)]
    routes += [{"model_prefix": "u-", "upstream": mock.url("/inference")}, {"model_prefix": "w-", "upstream": mock.url("/v2")}]
    gateway = gateways([mock], {"routes": routes, "openai_target": mock.url()})
    for at, targets in enumerate(STRIP.values()):
        for sent, received in targets.items():
            assert gateway.ask("s%d-m" % at, target=sent).only(mock).target == received, sent
            said = explain("-c", gateway.agent.file, "--model", "s%d-m" % at, "--path", sent)
            assert said["upstream"] == mock.url(received)
    assert gateway.ask("u-m", target="/v1/x").only(mock).target == "/inference/v1/x"
    assert gateway.ask("w-m", target="/v1/x").only(mock).target == "/v2/x"


def test_absolute_form(based):
    """A client that takes the gateway for a proxy names a host in the request line; the upstream still gets its own name as Host."""
    for target in ("http://gw.test/v1/x?a=b", "http://other.test:1/v1/x?a=b"):
        answer = based.call("POST", target, harness.JSON + bearer(), chat(prefix("/api") + "m"),
                            host=target.split("/")[2])
        if answer.status >= 400:
            answer.nowhere()
            continue
        got = answer.only(based.mock)
        assert got.target in ("/api/v1/x?a=b", based.mock.url("/api/v1/x?a=b"))
        assert got.all("host") == [based.mock.authority]


def test_check_says_what_a_request_becomes(work):
    file = harness.write_config(work, {"openai_target": "https://t.test/v3", "routes": [
        {"model_prefix": "a", "upstream": "https://x.test/api/paas/v4"}, {"model_prefix": "b", "upstream": "https://y.test"},
        {"model_prefix": "c", "upstream": "https://z.test/in", "strip_v1": True}, {"model_prefix": "d", "protocol": "anthropic"}]})
    out = cli("check", "-c", file).out
    for url in ("https://x.test/api/paas/v4/chat/completions", "https://y.test/v1/chat/completions", "https://z.test/in/chat/completions",
                "https://t.test/v3/chat/completions"):
        assert "/v1/chat/completions becomes %s\n" % url in out
    assert out.count("/v1/messages becomes https://api.anthropic.com/v1/messages\n") == 2
    assert explain("-c", file, "--model", "a")["upstream"] == "https://x.test/api/paas/v4/chat/completions"
    assert explain("-c", file, "--model", "a", "--path", "//v1/x?a=//b")["upstream"] == "https://x.test/api/paas/v4/x?a=//b"


@pytest.mark.parametrize("route, said", [
    ({"upstream": "https://x.test/a", "strip_v1": "yes"}, '"strip_v1" must be true or false'),
    ({"strip_v1": True}, '"strip_v1" is for a route with an "upstream" of its own')])
def test_strip_v1_is_checked(work, route, said):
    done = cli("check", "-c", harness.write_config(work, {"routes": [{"model_prefix": "a", **route}]}))
    assert done.code == 78 and said in done.err, done


# ---- which option sets a target


def explain(*args, env=None, **flags):
    done = cli("explain", "--json", *args, env=env)
    assert done.code == 0, done
    return json.loads(done.out)


CALLERS = {"openai": (), "anthropic": ("--header", "x-api-key: k"), "gemini": ("--header", "x-goog-api-key: k")}


@pytest.mark.parametrize("name, url", [("openai", "https://api.openai.com"), ("anthropic", "https://api.anthropic.com"),
                                       ("gemini", "https://generativelanguage.googleapis.com")])
def test_default_targets(name, url):
    got = explain("--model", "m", "--path", "/v1/x", *CALLERS[name])
    assert got["upstream"].startswith(url), got
    assert got["backend"] == "llm-" + url.split("/")[2]


SOURCES = [
    # file, variable, flag, and the host of the one that counts
    ("https://file.test", None, None, "file.test"),
    (None, "https://var.test", None, "var.test"),
    (None, None, "https://flag.test", "flag.test"),
    ("https://file.test", "https://var.test", None, "var.test"),
    ("https://file.test", None, "https://flag.test", "flag.test"),
    ("https://file.test", "https://var.test", "https://flag.test", "flag.test"),
]


@pytest.mark.parametrize("name", list(CALLERS))
@pytest.mark.parametrize("in_file, in_variable, in_flag, host", SOURCES)
def test_precedence_of_targets(work, name, in_file, in_variable, in_flag, host):
    file = harness.write_config(work, {name + "_target": in_file} if in_file else {})
    env = {name.upper() + "_TARGET_API_URL": in_variable} if in_variable else {}
    flag = ["--%s-target" % name, in_flag] if in_flag else []
    got = explain("-c", file, *flag, "--model", "m", "--path", "/v1/x", *CALLERS[name], env=env)
    assert got["backend"] == "llm-" + host, got


@pytest.mark.parametrize("name", list(CALLERS))
def test_an_empty_variable_is_none(name):
    got = explain("--model", "m", *CALLERS[name], env={name.upper() + "_TARGET_API_URL": ""})
    assert got["backend"].endswith((".com", "googleapis.com")), got


def test_targets_by_variable_through_the_gateway(gateways, make_mock):
    mocks = {name: make_mock("var-" + name) for name in CALLERS}
    gateway = gateways(mocks.values(), {}, env={name.upper() + "_TARGET_API_URL": mock.url("/p/v1/")
                                                for name, mock in mocks.items()})
    for name, headers in (("openai", bearer()), ("anthropic", [("x-api-key", CLIENT_KEY)]),
                          ("gemini", [("x-goog-api-key", CLIENT_KEY)])):
        got = gateway.post("/v1/x?y=z", b"{}", headers).only(mocks[name])
        assert got.target == "/p/v1/x?y=z"


# ---- names of backends

NAMES = [
    ("https://ollama.com", "llm-ollama.com"),
    ("https://ollama.com/", "llm-ollama.com"),
    ("https://OLLAMA.com", "llm-ollama.com"),
    ("https://ollama.com:443", "llm-ollama.com"),
    ("https://ollama.com:8443", "llm-ollama.com:8443-tls"),
    ("http://ollama.com", "llm-ollama.com:80"),
    ("http://127.0.0.1:8001/api", "llm-127.0.0.1:8001_api"),
    ("https://x.test/v1", "llm-x.test_v1"),
    ("https://x.test/api/v1", "llm-x.test_api_v1"),
    ("https://x.test/a/b-c.d/", "llm-x.test_a_b-c.d"),
    # `_` is doubled, so that /a/b and /a_b have different names, and so do a/b and a_b.
    ("https://x.test/a_b", "llm-x.test_a__b"),
    ("http://my_service:8000", "llm-my__service:8000"),
    ("https://x.test.", "llm-x.test"),
    ("http://10.0.0.1.:8000", "llm-10.0.0.1:8000"),
]


@pytest.mark.parametrize("url, name", NAMES)
def test_backend_name(work, url, name):
    file = harness.write_config(work, {"routes": [{"model_prefix": "*", "upstream": url}]})
    assert explain("-c", file, "--model", "m", "--path", "/v1/x")["backend"] == name
    done = cli("backends", "-c", file)
    assert "backend %s\n" % name in done.out and not re.search(r"(?m)^[^#\n]*\.(:|$)", done.out), done


def test_two_bases_on_one_host_are_two_backends(gateways, make_mock):
    mock = make_mock("twice")
    gateway = gateways([mock], {"openai_target": mock.url("/t"), "routes": [
        {"model_prefix": "a", "upstream": mock.url("/one")}, {"model_prefix": "b", "upstream": mock.url("/two/v1")},
        {"model_prefix": "c", "upstream": mock.url("/two")}, {"model_prefix": "d", "upstream": mock.url("/one/")}]})
    for model, target in (("a", "/one/v1/x"), ("b", "/two/v1/x"), ("c", "/two/v1/x"), ("d", "/one/v1/x"),
                          ("z", "/t/v1/x")):
        assert gateway.ask(model, target="/v1/x").only(mock).target == target


def test_paths_that_would_share_a_name(work, haproxy):
    """/a/b and /a_b must not end up in one backend."""
    file = harness.write_config(work, {"routes": [{"model_prefix": "a", "upstream": "http://127.0.0.1:1/a/b"},
                                                  {"model_prefix": "b", "upstream": "http://127.0.0.1:1/a_b"}]})
    check, backends = cli("check", "-c", file), cli("backends", "-c", file)
    if check.code == 78 and backends.code == 78:
        return      # refused: the operator has to name one of the two backends
    assert explain("-c", file, "--model", "a")["backend"] != explain("-c", file, "--model", "b")["backend"]


# ---- TLS


@pytest.fixture(scope="module")
def secure(haproxy, make_mock, authority):
    mock = make_mock("secure", tls=authority.server)
    key = secret("tls")
    del authority.names[:]
    routes = [{"model_prefix": "name-", "upstream": mock.url("/api", host="localhost"), "auth": "env:KEY"}]
    with harness.Gateway(haproxy, [mock], {"routes": routes, "ca_file": str(authority.ca),
                                           "openai_target": mock.url(host="localhost")},
                         env={"KEY": key}) as gateway:
        gateway.mock = mock
        yield gateway


def test_tls_upstream(secure, authority):
    got = secure.ask("name-1").only(secure.mock)
    assert got.target == "/api/v1/chat/completions"
    assert got.all("host") == ["localhost:%d" % secure.mock.port]
    # HAProxy's checks ask for that name too, because some servers let nobody in who does not.
    harness.until(lambda: len(authority.names) >= 2, 20, "a check")
    assert set(authority.names) == {"localhost"}, authority.names


@pytest.mark.parametrize("url", ["https://127.0.0.1", "https://10.0.0.1:8443/api", "https://[::1]"])
def test_an_address_cannot_be_verified(work, url):
    """HAProxy does not compare the address in a certificate with the address that it connects to, so every request would fail: `check` says so."""
    file = harness.write_config(work, {"routes": [{"model_prefix": "a", "upstream": url}]})
    done = cli("check", "-c", file)
    assert done.code == 78 and "host name" in done.err, done


def test_tls_is_verified(gateways, make_mock, authority, work):
    """Neither an upstream with a certificate of another CA nor one with a certificate for another name gets a request or a credential."""
    other = certificates.Authority(work)
    strange = make_mock("strange", tls=other.server)
    misnamed = make_mock("misnamed", tls=authority.misnamed)
    key = secret("tls-refused")
    gateway = gateways([strange, misnamed], {
        "ca_file": str(authority.ca), "openai_target": strange.url(host="localhost"), "routes": [
            {"model_prefix": "strange-", "upstream": strange.url(host="localhost"), "auth": "env:KEY"},
            {"model_prefix": "misnamed-", "upstream": misnamed.url(host="localhost"), "auth": "env:KEY"}]}, env={"KEY": key})
    for model in ("strange-1", "misnamed-1"):
        answer = gateway.ask(model)
        assert answer.status in (502, 503), answer.response
        answer.nowhere()
        assert answer.json()["error"]["message"]


def test_the_system_certificates_are_the_default(work):
    file = harness.write_config(work, {"routes": [{"model_prefix": "*", "upstream": "https://x.test"}]})
    done = cli("backends", "-c", file)
    assert "verify required" in done.out and "verify none" not in done.out, done
    assert "sni" in done.out and "x.test" in done.out


def test_an_ipv6_upstream(gateways, make_mock):
    """The Host header, too, has the address in brackets."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    mock = Mock("six", host="::1", family=socket.AF_INET6)
    try:
        gateway = gateways([mock], {"routes": [{"model_prefix": "*", "upstream": "http://[::1]:%d/six" % mock.port}]})
        got = gateway.ask("m").only(mock)
        assert got.target == "/six/v1/chat/completions"
        assert got.all("host") == ["[::1]:%d" % mock.port]
    finally:
        mock.close()
