"""LLM_TRACE: a client's traceparent is honoured, and goes on to the upstream with the gateway's own span as the parent (W3C Trace Context)."""
import re

import pytest

import harness
import http2
import logs
from pools import TappedPoolGateway, declines, pool
from upstream import Mock

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = "00-%s-%s-01" % (TRACE, SPAN)
STATE = ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")

# What a client sends; what the line has of it.
HONOURED = [(GOOD, GOOD), (GOOD[:-2] + "00", GOOD[:-2] + "00"), (GOOD[:-2] + "03", GOOD[:-2] + "03"), (GOOD[:-2] + "fd", GOOD[:-2] + "fd"),
            ("cc" + GOOD[2:], "cc" + GOOD[2:]), ("01" + GOOD[2:] + "-what-the-future-will-be-like", "01" + GOOD[2:]), ("cc" + GOOD[2:] + "-", "cc" + GOOD[2:])]
REFUSED = ["", "0", GOOD.upper(), GOOD + "-01", GOOD + "0", GOOD + "-", "ff" + GOOD[2:], GOOD[:-1], GOOD.replace(TRACE, "0" * 32), GOOD.replace(SPAN, "0" * 16),
           GOOD.replace("-", "_"), GOOD.replace(TRACE, TRACE[:-1] + "g"), GOOD.replace(TRACE, TRACE[:-1]), GOOD.replace(SPAN, SPAN + "0"), "0-" + GOOD[3:], "cc" + GOOD[2:] + "x",
           GOOD + "," + GOOD, GOOD[:-2] + "0g", '"' + GOOD + '"', "00-%s-%s" % (TRACE, SPAN)]


@pytest.fixture(scope="module")
def receiver():
    with logs.Receiver() as one:
        yield one


@pytest.fixture(scope="module")
def mock():
    one = Mock("upstream")
    yield one
    one.close()


def gateway_of(haproxy, mock, receiver, setting):
    config = {"openai_target": mock.url(), "routes": [{"model_prefix": "own-", "upstream": mock.url("/own"), "auth": "env:OWN"}, {"model_prefix": "*"}]}
    return harness.Gateway(haproxy, [mock], config, env={"OWN": harness.secret("own")}, limits=dict(receiver.environment, LLM_TRACE=setting))


@pytest.fixture(scope="module")
def gateway(haproxy, mock, receiver):
    with gateway_of(haproxy, mock, receiver, "on") as one:
        yield one


def span_of(exchange):
    """The last 16 digits of the request's id, and all of them."""
    digits = exchange.header("x-request-id").replace("-", "")
    return digits[16:], digits


def goes_on(exchange, mock, parent, state):
    """Whether the upstream got one traceparent: in the trace of `parent`, or in a new one."""
    got = exchange.only(mock)
    span, trace = span_of(exchange)
    flags = "01"
    if parent:
        trace, flags = parent[3:35], "0%d" % (int(parent[53:], 16) & 3)
    assert got.all("traceparent") == ["00-%s-%s-%s" % (trace, span, flags)], (parent, got)
    assert got.all("tracestate") == ([STATE[1]] if state else []), got


def test_a_valid_one_is_honoured(gateway, receiver, mock):
    for model in ("any-1", "own-1"):
        for sent, kept in HONOURED:
            exchange = gateway.ask(model, [("TraceParent", sent), STATE])
            assert exchange.status == 200
            goes_on(exchange, mock, kept, True)
            assert receiver.record(exchange.header("x-request-id"))["traceparent"] == kept


def test_anything_else_begins_a_trace(gateway, receiver, mock):
    for headers in [[("traceparent", value)] for value in REFUSED] + [[], [("traceparent", GOOD)] * 2, [("traceparent", GOOD), ("traceparent", "x")]]:
        exchange = gateway.ask("any-1", headers + [STATE])
        assert exchange.status == 200
        goes_on(exchange, mock, None, False)
        assert receiver.record(exchange.header("x-request-id"))["traceparent"] in ("", "-"), headers


def test_over_http2(gateway, receiver, mock):
    with http2.Connection(gateway.address) as connection:
        for number, (sent, kept) in enumerate(HONOURED[:3] + [(REFUSED[2], None)]):
            trace = TRACE[:-1] + str(number)
            exchange = gateway.ask("any-1", [("traceparent", sent.replace(TRACE, trace))], connection=connection)
            assert exchange.status == 200
            goes_on(exchange, mock, kept and kept.replace(TRACE, trace), False)


def test_a_refused_request_tells_its_trace(gateway, receiver):
    exchange = gateway.post("/v1/chat/completions", b"{", [("traceparent", GOOD), ("content-type", "application/json")])
    if exchange.status == 200:
        exchange = gateway.call("TRACE", "/", [("traceparent", GOOD)])
    assert exchange.status >= 400
    assert receiver.record(exchange.header("x-request-id"))["traceparent"] == GOOD


@pytest.mark.parametrize("setting", ("own", "off"))
def test_the_other_settings(haproxy, mock, receiver, setting):
    """`own` believes no client. `off` leaves both headers as they are, and the line has no trace."""
    with gateway_of(haproxy, mock, receiver, setting) as gateway:
        exchange = gateway.ask("own-1", [("traceparent", GOOD), STATE])
        assert "traceparent" not in receiver.record(exchange.header("x-request-id"))
        if setting == "own":
            goes_on(exchange, mock, None, False)
        else:
            got = exchange.only(mock)
            assert got.all("traceparent") == [GOOD] and got.all("tracestate") == [STATE[1]]
            assert not gateway.ask("own-1").only(mock).all("traceparent")


def test_members_of_a_pool_and_the_tap(haproxy, receiver, make_mock):
    """Each member that is tried gets the same headers, also behind the tap."""
    mocks = {name: make_mock(name) for name in "ab"}
    with TappedPoolGateway(haproxy, list(mocks.values()), {"routes": [pool(mocks, "one")]}, limits=dict(receiver.environment, LLM_TRACE="on")) as gateway:
        for stream, members in ((False, 2), (True, 1)):
            mocks["a"].respond = declines(429)
            exchange = gateway.ask("one-1", [("traceparent", GOOD), STATE], stream=stream)
            assert exchange.status == 200 and len(exchange.seen) == members, exchange.seen
            for request in exchange.seen:
                assert request.all("traceparent") == ["00-%s-%s-01" % (TRACE, span_of(exchange)[0])] and request.all("tracestate") == [STATE[1]], request
            assert receiver.record(exchange.header("x-request-id"))["traceparent"] == GOOD
        assert gateway.went(exchange)
