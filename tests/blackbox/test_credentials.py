"""A credential goes to one upstream only: which credentials of a client are stripped, which credential of the operator's takes their place,
where the agent reads that one, and what happens if it is missing."""
import json
import os
import pathlib
import signal
import tempfile
import time
import urllib.request

import pytest

import harness
from harness import CLIENT_KEY, bearer, chat, cli, secret

OPERATOR = {name: secret(name) for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key")}
MINE = secret("mine")
VARIABLE = {header: header.upper().replace("-", "_") for header in OPERATOR}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock):
    """One route per auth_header, each with an upstream of its own, and a route with auth passthrough."""
    mocks = {name: make_mock("cred-" + name) for name in [*OPERATOR, "default", "pass", "legacy"]}
    routes = [{"model_prefix": header + ".", "upstream": mocks[header].url(), "auth": "env:" + VARIABLE[header],
               "auth_header": header} for header in OPERATOR]
    routes += [{"model_prefix": "default.", "upstream": mocks["default"].url(), "auth": "env:AUTHORIZATION"},
               {"model_prefix": "pass.", "upstream": mocks["pass"].url(), "auth": "passthrough"}]
    owners = {value: [mocks[header]] for header, value in OPERATOR.items()}
    owners[OPERATOR["authorization"]].append(mocks["default"])
    owners[CLIENT_KEY] = owners[MINE] = [mocks["pass"], mocks["legacy"]]
    with harness.Gateway(haproxy, mocks.values(), {"routes": routes, "openai_target": mocks["legacy"].url(),
                                                     "anthropic_target": mocks["legacy"].url(),
                                                     "gemini_target": mocks["legacy"].url()},
                         env={VARIABLE[header]: value for header, value in OPERATOR.items()},
                         owners=owners) as gateway:
        gateway.by_name = mocks
        yield gateway


@pytest.mark.parametrize("header", [*OPERATOR, "default"])
def test_the_header_that_is_set(gateway, header):
    got = gateway.ask(header + ".m").only(gateway.by_name[header])
    name = "authorization" if header == "default" else header
    value = OPERATOR[name]
    assert got.all(name) == ["Bearer " + value if name == "authorization" else value]
    for other in OPERATOR:
        assert other == name or not got.all(other)
    assert not got.has(CLIENT_KEY)


# Each header in which a client may send a credential. If the route replaces the credential, all of them must be gone, whichever header the
# operator's credential goes into. If the route passes the credential through, they must arrive as sent.
STRIPPED = {
    "authorization": [("authorization", "Bearer " + MINE)],
    "authorization in capitals": [("AUTHORIZATION", "Bearer " + MINE)],
    "authorization in mixed case": [("aUtHoRiZaTiOn", "Bearer " + MINE)],
    "authorization of another scheme": [("Authorization", "Basic " + MINE)],
    "authorization without a scheme": [("Authorization", MINE)],
    "three of authorization": [("Authorization", "Bearer " + MINE), ("authorization", "Basic " + MINE),
                               ("AUTHORIZATION", MINE)],
    "x-api-key": [("x-api-key", MINE)],
    "X-Api-Key twice": [("X-Api-Key", MINE), ("x-api-key", MINE)],
    "api-key": [("api-key", MINE)],
    "Api-Key twice": [("Api-Key", MINE), ("API-KEY", MINE)],
    "x-goog-api-key": [("X-Goog-Api-Key", MINE)],
    "x-goog-api-key twice": [("x-goog-api-key", MINE), ("X-GOOG-API-KEY", MINE)],
    "proxy-authorization": [("Proxy-Authorization", "Basic " + MINE)],
    "cookie": [("Cookie", "session=" + MINE)],
    "cookies": [("Cookie", "a=b; session=" + MINE), ("cookie", "c=" + MINE)],
    "all of them": [("Authorization", "Bearer " + MINE), ("x-api-key", MINE), ("api-key", MINE),
                    ("x-goog-api-key", MINE), ("Proxy-Authorization", MINE), ("Cookie", MINE)],
}


@pytest.mark.parametrize("case", STRIPPED)
@pytest.mark.parametrize("header", OPERATOR)
def test_stripped_where_replaced(gateway, header, case):
    got = gateway.ask(header + ".m", headers=[("x-stainless-before", "1")] + STRIPPED[case] + [("x-stainless-after", "2")]).only(
        gateway.by_name[header])
    assert not got.has(MINE), got
    sent = {name.lower() for name, _ in STRIPPED[case]}
    assert not [name for name, _ in got.headers if name.lower() in sent - {header}]
    value = OPERATOR[header]
    assert got.all(header) == ["Bearer " + value if header == "authorization" else value]
    assert (got.all("x-stainless-before"), got.all("x-stainless-after")) == (["1"], ["2"])


@pytest.mark.parametrize("case", STRIPPED)
@pytest.mark.parametrize("model, name", [("pass.m", "pass"), ("other", "legacy")])
def test_kept_where_passed_through(gateway, model, name, case):
    got = gateway.ask(model, headers=STRIPPED[case]).only(
        gateway.by_name[name])
    sent = [(key.lower(), value) for key, value in STRIPPED[case]]
    names = {key for key, _ in sent}
    assert [(key.lower(), value) for key, value in got.headers if key.lower() in names] == sent
    assert not any(got.has(value) for value in OPERATOR.values())


# {query that the client sends: query that the upstream gets; None: any, as long as the credential is not in it}
KEYS = {
    "?key=%s": "", "?key=%s&alt=sse": "?alt=sse", "?alt=sse&key=%s": "?alt=sse", "?a=1&key=%s&b=2": "?a=1&b=2",
    "?key=%s&key=%s": "", "?key=%s&a=1&key=%s": "?a=1", "?a=1&key=%s&key=%s&b=2": "?a=1&b=2",
    "?%%6bey=%s": "", "?%%6Bey=%s&a=1": "?a=1", "?a=1&k%%65y=%s": "?a=1", "?a=1&ke%%79=%s&b=2": "?a=1&b=2",
    "?%%6b%%65%%79=%s": "", "?a=1&&key=%s": None, "?&key=%s": None, "?key=%s&": None, "?key=%s&&a=1": None,
    "?key=a&key=%s": "", "?key=%s%%26x=1": "", "?monkey=1&key=%s&keys=2": "?monkey=1&keys=2",
    "?x=key=1&key=%s": "?x=key=1", "?key=x=%s": "", "?a=%%20+%%2B&key=%s&c=%%2f": "?a=%%20+%%2B&c=%%2f",
    "?key=?key=%s": "", "?key&key=%s": None,
}


@pytest.mark.parametrize("query", KEYS)
@pytest.mark.parametrize("header", ["authorization", "x-goog-api-key"])
def test_the_key_parameter(gateway, header, query):
    sent = query % ((MINE,) * query.count("%s"))
    left = KEYS[query]
    for target in (CHAT, "/v1beta/models/%s.m:generateContent" % header):
        got = gateway.post(target + sent, chat(header + ".m") if target is CHAT else b'{"contents":[]}').only(
            gateway.by_name[header])
        assert not got.has(MINE), got
        assert got.path == target
        if left is not None:
            assert got.target == target + left % (), got


@pytest.mark.parametrize("query", KEYS)
@pytest.mark.parametrize("model, name", [("pass.m", "pass"), ("other", "legacy")])
def test_the_key_parameter_where_passed_through(gateway, model, name, query):
    sent = query % ((MINE,) * query.count("%s"))
    assert gateway.ask(model, target=CHAT + sent).only(gateway.by_name[name]).target == CHAT + sent


def test_the_key_parameter_with_the_model_in_the_query(gateway):
    for target in (CHAT + "?model=authorization.m&key=%s", CHAT + "?key=%s&model=authorization.m"):
        got = gateway.post(target % MINE, b"{}").only(gateway.by_name["authorization"])
        assert got.target == CHAT + "?model=authorization.m"


def test_absolute_form_with_a_key(gateway):
    answer = gateway.call("POST", "http://gw.test%s?a=1&key=%s" % (CHAT, MINE), harness.JSON + bearer(),
                          chat("authorization.m"))
    if answer.status == 200:
        mock = gateway.by_name["authorization"]
        assert answer.only(mock).target in (CHAT + "?a=1", mock.url(CHAT + "?a=1"))
    else:
        answer.nowhere()


UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
PROTOCOLS = [
    [("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.%s, openai-beta.realtime-v1" % MINE)],
    [("Sec-WebSocket-Protocol", "openai-insecure-api-key.%s,realtime" % MINE)],
    [("Sec-WebSocket-Protocol", "realtime,openai-insecure-api-key.%s" % MINE)],
    [("Sec-WebSocket-Protocol", "realtime"), ("sec-websocket-protocol", "openai-insecure-api-key." + MINE)],
    [("SEC-WEBSOCKET-PROTOCOL", "realtime , OpenAI-Insecure-API-Key.%s , x" % MINE)],
    [("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.%s, openai-insecure-api-key.%s" % (MINE, MINE))],
    # More lines than any client sends. Subprotocols may be lost here, but the key must not reach the upstream.
    [("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b"),
     ("Sec-WebSocket-Protocol", "openai-insecure-api-key." + MINE)],
    [("Sec-WebSocket-Protocol", "openai-insecure-api-key." + MINE), ("Sec-WebSocket-Protocol", "b"),
     ("Sec-WebSocket-Protocol", "c"), ("Sec-WebSocket-Protocol", "openai-insecure-api-key." + MINE)],
    [("Sec-WebSocket-Protocol", "openai-insecure-api-key." + MINE)],
]


@pytest.mark.parametrize("at", range(len(PROTOCOLS)))
def test_a_websocket_protocol_with_a_key(gateway, at):
    answer = gateway.call("GET", "/v1/realtime?model=x-api-key.m", UPGRADE + PROTOCOLS[at])
    if answer.status == 101:
        got = answer.only(gateway.by_name["x-api-key"])
        assert not got.has(MINE), got
        offered = [word.strip() for value in got.all("sec-websocket-protocol") for word in value.split(",")]
        if "realtime" in repr(PROTOCOLS[at]):
            assert "realtime" in offered, "the subprotocol that holds no key was lost too"
        assert "" not in offered
        assert len(PROTOCOLS[at]) > 1 or "realtime" in offered or not got.all("sec-websocket-protocol")
        assert got.header("x-api-key") == OPERATOR["x-api-key"]
    else:
        answer.nowhere()


@pytest.mark.parametrize("at", range(len(PROTOCOLS)))
def test_a_websocket_protocol_where_passed_through(gateway, at):
    answer = gateway.call("GET", "/v1/realtime?model=pass.m", UPGRADE + PROTOCOLS[at])
    if answer.status == 101:
        got = answer.only(gateway.by_name["pass"])
        assert got.all("sec-websocket-protocol") == [value for _, value in PROTOCOLS[at]]
        assert "upgrade" in got.header("connection").lower() and got.header("upgrade").lower() == "websocket"
    else:
        answer.nowhere()


def test_a_trailer_is_no_way_in(gateway, haproxy):
    """No server uses the fields after a chunked body, but a client's credential should not reach the upstream there either."""
    body = chat("authorization.m")
    with gateway.connect() as connection:
        tag = gateway.tag()
        connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\n"
                        b"x-client-request-id: %s\r\nTrailer: authorization\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"%x\r\n%s\r\n0\r\nAuthorization: Bearer %s\r\n\r\n"
                        % (tag.encode(), len(body), body, MINE.encode()))
        response = connection.read()
    gateway.answers.append(response)
    answer = harness.Exchange(gateway, tag, response)
    if response.status == 200:
        got = answer.only(gateway.by_name["authorization"])
        assert got.body == body
        assert got.all("authorization") == ["Bearer " + OPERATOR["authorization"]]
        if harness.version_of(haproxy) < (3, 2):
            pytest.xfail("this HAProxy forwards a client's trailer fields and has no option that drops them")
        assert not got.trailer


def test_the_same_connection_for_different_families(gateway):
    """The variables of one request must not affect the next request on the connection."""
    order = ["authorization.m", "pass.m", "x-api-key.m", "other", "x-goog-api-key.m", "pass.m", "authorization.m"]
    with gateway.connect() as connection:
        for at, model in enumerate(order):
            name = "legacy" if model == "other" else model.split(".")[0]
            mine = [("x-api-key", MINE), ("cookie", "n=%d" % at)] if at % 2 else bearer()
            target = ["/v1/messages?n=%d", "/v1/chat/completions?n=%d", "/v1/responses?n=%d"][at % 3] % at
            got = gateway.ask(model, mine, target, connection=connection).only(gateway.by_name[name])
            assert got.target == target
            if name in OPERATOR:
                assert not got.has(MINE) and not got.has(CLIENT_KEY)
                assert [key.lower() for key, _ in got.headers if key.lower() in OPERATOR] == [name]
            else:
                for key, value in mine:
                    assert got.all(key) == [value]
                assert not any(got.has(value) for value in OPERATOR.values())


def test_refused_then_allowed_then_refused_on_one_connection(gateway):
    with gateway.connect() as connection:
        gateway.post(CHAT, b'{"model":"a","model":"b"}', connection=connection).refused(400, "ambiguous_model")
        got = gateway.ask("pass.m", connection=connection).only(gateway.by_name["pass"])
        assert got.header("authorization") == "Bearer " + CLIENT_KEY
        gateway.ask("authorization.m", connection=connection).only(gateway.by_name["authorization"])
        gateway.post(CHAT, b'{"model":7}', connection=connection).refused(400, "invalid_model")


# ---- credentials from the environment

BROKEN = secret("unusable")
MISSING = {
    "not set": None, "empty": "", "a blank": " ", "blanks and tabs": " \t ", "a line end": "\n", "CR LF": "\r\n",
    "a line end inside": BROKEN + "\nb", "a header after it": BROKEN + "\r\nx-evil: 1", "a CR inside": BROKEN + "\rb",
    "a tab inside": BROKEN + "\tb", "DEL": BROKEN + "\x7fb", "control-A": "\x01", "escape": BROKEN + "\x1b[0m", "too long": BROKEN + "k" * 100000,
    "a no-break space": "\u00a0", "ideographic spaces": "\u3000 \u3000", "a byte order mark in front": "\ufeff" + BROKEN, "no width behind": BROKEN + "\u200b",
}


@pytest.fixture(scope="module")
def unusable(haproxy, make_mock):
    mock = make_mock("unusable")
    names = {case: "MISSING_%d" % at for at, case in enumerate(MISSING)}
    routes = [{"model_prefix": names[case] + ":", "upstream": mock.url(), "auth": "env:" + names[case],
               "auth_header": ["authorization", "x-api-key"][at % 2]} for at, case in enumerate(MISSING)]
    with harness.Gateway(haproxy, [mock], {"routes": routes, "openai_target": mock.url()},
                         env={names[case]: value for case, value in MISSING.items() if value is not None}) as gateway:
        gateway.names, gateway.mock = names, mock
        yield gateway


@pytest.mark.parametrize("case", MISSING)
def test_an_unusable_credential_refuses(unusable, case):
    """The client gets 502 before any upstream is contacted. No request goes out with the client's credential stripped and none in its
    place."""
    connections = unusable.mock.connections
    unusable.ask(unusable.names[case] + ":m").refused(502, "upstream_auth_unavailable")
    assert unusable.mock.connections - connections <= 1, "the upstream got more connections than a health check makes"
    assert not unusable.mock.requests or all(not one.body for one in unusable.mock.requests)


def test_others_are_served_meanwhile(unusable):
    assert unusable.ask("none-of-them").status == 200


# ---- values that are usable, however odd

ODD = [secret("odd") + tail for tail in ('"quoted"', "#{|}%%41%s$HOME", "a+b/c==", "  b", "\\n\\", "~!@#$%^&*()_+{}:<>?", "k" * 4000)] + ["k"]


@pytest.fixture(scope="module")
def odd(haproxy, make_mock, module_work):
    mock = make_mock("odd")
    routes, env = [], {}
    for at, value in enumerate(ODD):
        env["ODD_%d" % at] = value
        (module_work / ("odd%d" % at)).write_text(value)
        routes += [{"model_prefix": "e%d." % at, "upstream": mock.url(), "auth": "env:ODD_%d" % at},
                   {"model_prefix": "f%d." % at, "upstream": mock.url(), "auth_header": "api-key",
                    "auth": "file:%s/odd%d" % (module_work, at)}]
    with harness.Gateway(haproxy, [mock], {"routes": routes}, env=env) as gateway:
        gateway.mock = mock
        yield gateway


@pytest.mark.parametrize("at", range(len(ODD)))
def test_a_credential_arrives_to_the_byte(odd, at):
    assert odd.ask("e%d.m" % at).only(odd.mock).all("authorization") == ["Bearer " + ODD[at]]
    assert odd.ask("f%d.m" % at).only(odd.mock).all("api-key") == [ODD[at]]


# ---- credentials from files


@pytest.fixture(scope="module")
def filed(haproxy, make_mock, module_work):
    mock = make_mock("filed")
    path = module_work / "credential"
    with harness.Gateway(haproxy, [mock], {"openai_target": mock.url(), "routes": [
            {"model_prefix": "f", "upstream": mock.url(), "auth": "file:%s" % path}]}) as gateway:
        gateway.mock, gateway.path = mock, path
        yield gateway


def replace(path, content):
    """Replaces the file `path` as an operator's tool does: writes a new file beside it and renames that one over it."""
    new = path.with_suffix(".new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.replace(new, path)


def served(gateway, value, seconds=5):
    """Waits until the upstream gets the credential `value`; None: until the agent refuses. The agent is not restarted."""
    def now():
        answer = gateway.ask("f")
        if answer.status == 200:
            return answer.only(gateway.mock).all("authorization") == ["Bearer %s" % value]
        answer.refused(502, "upstream_auth_unavailable")
        return value is None
    harness.until(now, seconds, "the credential %s" % value, step=0.05)


def test_a_file_read_again_when_it_changes(filed):
    first, second, third, fourth = (secret("file%d" % at) for at in range(4))
    filed.path.unlink(missing_ok=True)
    served(filed, None)
    replace(filed.path, first)
    served(filed, first)
    replace(filed.path, second + "\n")          # the size differs only by the line end, and the time hardly
    served(filed, second)
    filed.path.write_text(third)                # written in place
    served(filed, third)
    stamp = os.stat(filed.path)
    replace(filed.path, fourth)                 # same size, same time: another inode
    os.utime(filed.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    served(filed, fourth)
    filed.path.unlink()
    served(filed, None)
    replace(filed.path, "  %s \r\n" % first)     # white space around a credential is not part of it
    served(filed, first)


UNUSABLE = {"empty": b"", "blank": b" ", "line-end": b"\n", "white": b"\r\n\t", "two-lines": b"sk-a\nsk-b",
            "NUL": b"sk-a\x00b", "control": b"sk-a\x01", "DEL": b"\x7f", "100K": b"k" * 100000, "3M": b"x" * 3000000,
            "no-break": b"\xc2\xa0\n", "two-boms": b"\xef\xbb\xbf\xef\xbb\xbfsk-a"}


@pytest.fixture(scope="module")
def spoiled(haproxy, make_mock, module_work):
    """A route with a credential file for each case of UNUSABLE. The files first hold a good credential, and then the content of the case."""
    mock = make_mock("spoiled")
    paths = {case: module_work / ("spoiled-" + case) for case in UNUSABLE}
    value = secret("once-good")
    for path in paths.values():
        path.write_text(value)
    with harness.Gateway(haproxy, [mock], {"openai_target": mock.url(), "routes": [
            {"model_prefix": case, "upstream": mock.url(), "auth": "file:%s" % path}
            for case, path in paths.items()]}) as gateway:
        for case in paths:
            assert gateway.ask(case).only(mock).header("authorization") == "Bearer " + value
        for case, path in paths.items():
            replace(path, UNUSABLE[case])
        yield gateway


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_file_with_nothing_usable(spoiled, case):
    harness.until(lambda: spoiled.ask(case).status == 502, 5, "the change is seen", step=0.05)
    spoiled.ask(case).refused(502, "upstream_auth_unavailable")


def test_a_link_that_is_moved(filed, module_work):
    """As in Kubernetes, the file is a link whose path goes through a link to a directory, and that second link is replaced."""
    values = [secret("link%d" % at) for at in range(3)]
    # A new folder, because the tests of several HAProxys share the folder of this module.
    place = pathlib.Path(tempfile.mkdtemp(dir=module_work))
    for at, value in enumerate(values):
        directory = place / ("data%d" % at)
        directory.mkdir()
        (directory / "credential").write_text(value)
    data = place / "data"
    data.symlink_to("data0")
    filed.path.unlink(missing_ok=True)
    filed.path.symlink_to(data / "credential")
    served(filed, values[0])
    for at in (1, 2):
        new = place / "data.new"
        new.symlink_to("data%d" % at)
        os.replace(new, data)
        served(filed, values[at])
    filed.path.unlink()


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling", "loop", "device"])
def test_a_file_that_is_none(gateways, make_mock, work, kind):
    """The agent refuses the request and never waits for such a file, because no decision waits for a disk."""
    path = work / "credential"
    {"directory": path.mkdir, "fifo": lambda: os.mkfifo(path), "dangling": lambda: path.symlink_to("nowhere"),
     "loop": lambda: path.symlink_to(path), "device": lambda: path.symlink_to("/dev/zero")}[kind]()
    mock = make_mock("none")
    gateway = gateways([mock], {"openai_target": mock.url(), "routes": [
        {"model_prefix": "f", "upstream": mock.url(), "auth": "file:%s" % path}]})
    start = time.monotonic()
    gateway.ask("f").refused(502, "upstream_auth_unavailable")
    gateway.ask("other").only(mock)
    assert time.monotonic() - start < 2 * harness.SLOW
    why = {"dangling": "there is no such file", "loop": "its links lead in a circle"}.get(kind, "it is a directory, a pipe or a device")
    assert 'problem="the file cannot be read: %s"' % why in gateway.agent.log("event=credential_missing")


# ---- a file with a token that expires


def until_then(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def token_file(token, seconds=3600, **more):
    return json.dumps(dict({"token": token, "expires_at": until_then(seconds)}, **more))


def events(gateway, name):
    return [line for line in gateway.agent.text().splitlines() if " event=%s " % name in line]


def test_a_token_that_expires(filed):
    """The agent takes a token out of JSON, stops using it when it expires, and takes the next one, without a restart."""
    first, second, third = (secret("token%d" % at) for at in range(3))
    replace(filed.path, token_file(first))
    served(filed, first)
    replace(filed.path, token_file(second, 3))
    served(filed, second)
    harness.until(lambda: events(filed, "credential_expiring"), 5, "the event of a token that expires soon")
    served(filed, None, 10)
    harness.until(lambda: [line for line in events(filed, "credential_missing") if "the token in the file expired" in line], 5, "the event of the expired token")
    replace(filed.path, token_file(third))
    served(filed, third)
    replace(filed.path, token_file(first, -1))
    served(filed, None)
    replace(filed.path, first)  # no JSON, and so without an end
    served(filed, first)
    for spoiled in ('{"token":"%s","expires_at":"tomorrow"}' % first, '{"token":"%s","expires_in":3600}' % first,
                    token_file(first)[:-1], '{"token":["%s"]}' % first, '{"token":"%s","expires_at":"2999-01-01T00:00:00"}' % first):
        replace(filed.path, spoiled)
        served(filed, None)
        replace(filed.path, '{"token":"%s"}' % first)
        served(filed, first)


def test_what_the_log_says_of_credentials(work):
    """At the start, after a change and as time goes by: read, missing, about to expire; each credential once, however many routes use it."""
    there, soon, later = work / "there", work / "soon", work / "later"
    there.write_text(secret("there"))
    soon.write_text(token_file(secret("soon"), 100))
    routes = [{"model_prefix": "a%d" % at, "upstream": "https://a.test", "auth": "file:%s" % there} for at in range(3)]
    routes += [{"model_prefix": "b", "upstream": "https://a.test", "auth": "file:%s" % soon},
               {"model_prefix": "c", "upstream": "https://a.test", "auth": "file:%s" % later},
               {"model_prefix": "d", "upstream": "https://a.test", "auth": "env:SAID"},
               {"model_prefix": "e", "upstream": "https://a.test", "auth": "env:NOT_SAID"},
               {"model_prefix": "f", "upstream": "https://a.test", "auth": "env:NOT_USED", "enabled": False}, {"model_prefix": "*"}]
    admin = "127.0.0.1:%d" % harness.free_port()
    with harness.Agent(work, {"routes": routes, "admin_listen": admin}, env={"SAID": secret("said")}) as agent:
        def said(name, **fields):
            lines = [line for line in agent.text().splitlines() if " event=%s " % name in line]
            return [line for line in lines if all(" %s=%s" % field in line for field in fields.items())]
        assert len(said("credential_read")) == 3, agent.text()
        assert said("credential_read", auth="file:%s" % there, route="a0", routes=3, expires='"not told"')
        assert said("credential_read", auth="file:%s" % soon, route="b", routes=1, expires="20") and said("credential_read", auth="env:SAID")
        assert len(said("credential_missing")) == 2
        assert said("credential_missing", auth="file:%s" % later) and said("credential_missing", auth="env:NOT_SAID")
        assert len(said("credential_expiring")) == 1 and said("credential_expiring", auth="file:%s" % soon)

        def figures():
            with urllib.request.urlopen("http://%s/metrics" % admin, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line.startswith("spoa_llm_credential")}
        harness.until(lambda: harness.accepting(admin), 5, "the admin server accepts")
        got = figures()
        ends = got.pop('spoa_llm_credential_expires_timestamp_seconds{route="b"}')
        assert abs(ends - time.time() - 100) < 30 and got == {
            "spoa_llm_credentials": 7, "spoa_llm_credentials_missing": 2, "spoa_llm_credentials_expiring": 1}, got
        replace(soon, token_file(secret("soon-again"), 3600))
        replace(later, secret("later"))
        harness.until(lambda: len(said("credential_read")) == 5, 5, "both files are read")
        assert len(said("credential_read", auth="file:%s" % soon)) == 2 and said("credential_read", auth="file:%s" % later)
        got = figures()
        assert got["spoa_llm_credentials_missing"] == 1 and got["spoa_llm_credentials_expiring"] == 0
        with urllib.request.urlopen("http://%s/readyz" % admin, timeout=5) as answer:
            check = [one for one in json.load(answer)["checks"] if one["part"] == "credentials"]
        assert not check[0]["ok"] and "1 of 7" in check[0]["detail"]
        there.touch()  # another time of the same content is nothing new
        later.unlink()
        harness.until(lambda: len(said("credential_missing")) == 3, 5, "a file that is gone is missing")
        agent.process.kill(signal.SIGHUP)
        harness.until(lambda: "event=reloaded" in agent.text(), 5, "the reload")
        assert len(said("credential_read")) == 5 and len(said("credential_missing")) == 3, "a reload repeats nothing"


# ---- nothing of a credential is ever shown


def test_explain_names_the_source_not_the_value(work):
    value = secret("explain")
    (work / "key").write_text(value)
    file = harness.write_config(work, {"routes": [
        {"model_prefix": "e", "upstream": "https://e.test", "auth": "env:EXPLAIN_KEY", "auth_header": "x-api-key"},
        {"model_prefix": "f", "upstream": "https://f.test", "auth": "file:%s/key" % work}]})
    for model, source in (("e", "env:EXPLAIN_KEY"), ("f", "file:%s/key" % work)):
        for form in ([], ["--json"]):
            # cli() fails the test if a credential that secret() made is in the output.
            done = cli("explain", "-c", file, "--model", model, *form, env={"EXPLAIN_KEY": value})
            assert done.code == 0 and source in done.out, done
    got = json.loads(cli("explain", "-c", file, "--model", "e", "--json", env={"EXPLAIN_KEY": value}).out)
    assert got["auth"] == "replace" and "auth_value" not in got
    assert {"authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie"} <= {
        str(name).lower() for name in got["strip"]}


def test_debug_log_shows_no_credential(gateways, make_mock):
    """The agent logs at level debug. When the gateway ends, the harness searches every log for every credential."""
    mock = make_mock("debug")
    key, mine = secret("debug"), secret("debug-client")
    gateway = gateways([mock], {"log_level": "debug", "anthropic_target": mock.url(), "routes": [
        {"model_prefix": "a", "upstream": mock.url(), "auth": "env:KEY"}]}, env={"KEY": key})
    for model in ("a", "b"):
        gateway.call("POST", "%s?key=%s" % (CHAT, mine), harness.JSON + [
            ("Authorization", "Bearer " + mine), ("x-api-key", mine), ("Cookie", mine), ("x-goog-api-key", mine),
            ("api-key", mine), ("User-Agent", "x")], chat(model)).only(mock)
    assert key not in gateway.agent.text() and mine not in gateway.agent.text()
    assert key not in gateway.haproxy.text() and mine not in gateway.haproxy.text()


def test_check_says_how_to_make_a_file(work):
    """Of a file that `credential set` would make, and is not there."""
    places = {"/etc/spoa-llm/credentials/none-of-this-test": True, "/etc/spoa-llm/credentials/none/of": False, str(work / "none"): False,
              "/run/spoa-llm-token/none-of-this-test": False}
    for path, told in places.items():
        done = harness.cli("check", "-c", harness.write_config(work, {"routes": [{"model_prefix": "a", "upstream": "https://a.test", "auth": "file:" + path}]}))
        assert "there is no such file" in done.out and ("`spoa-llm credential set none-of-this-test` makes the file" in done.out) == told, done
        assert told or "credential set" not in done.out, done
