"""Pools whose streams go through a tap. The tap stands before the pool, so all attempts are made behind it, and no credential passes it."""
import pytest

import harness
import wire
from harness import CLIENT_KEY
from pools import KEYS, NAMES, TappedPoolGateway, bring_back, declines, pool

NO_TAP = {"tap": False}


@pytest.fixture(scope="module")
def mocks(make_mock):
    return {name: make_mock(name) for name in NAMES}


@pytest.fixture(autouse=True)
def good(mocks):
    yield
    bring_back(mocks)


@pytest.fixture(scope="module")
def gateway(haproxy, mocks):
    made = [pool(mocks, name, **more) for name, more in (
        ("next", {"names": NAMES, "pool_header": True}), ("large", {}), ("one", {}), ("off", NO_TAP), ("cut", {}), ("rest", {}), ("all", {}), ("plain", {}))]
    made.append(dict(pool(mocks, "through"), pool=[{"name": name, "upstream": mocks[name].url()} for name in "ab"]))
    with TappedPoolGateway(haproxy, list(mocks.values()), {"routes": made}) as gateway:
        yield gateway


def stream(gateway, name, **more):
    return gateway.ask(name + "-1", stream=True, **more)


def served(gateway, answer, member, tried=""):
    """Checks what gateway.served() checks; also that the request went through the tap, and without a credential of the operator's."""
    line = gateway.served(answer, member, tried)
    assert gateway.went(answer) and line["backend"].startswith("leg.pool.") and line["behind"].startswith("pool."), line
    for key in KEYS.values():
        assert key.encode() not in gateway.tap.seen
    return line


def test_streams_go_through_the_tap(gateway, mocks):
    for member, status in zip("abc", (429, 529, 503)):
        mocks[member].respond = declines(status)
    answer = stream(gateway, "next")
    assert answer.status == 200 and answer.complete and answer.events() and answer.all("llm-served-by") == ["d"]
    served(gateway, answer, "d", "a:429,b:529,c:503")
    assert {request.header("authorization") for request in answer.seen} == {"Bearer " + KEYS[name] for name in NAMES}
    assert [leg for leg, _ in gateway.tap.legs_asked if leg.startswith("leg.pool.next.")] and not [
        leg for leg, _ in gateway.tap.legs_asked if not leg.startswith("leg.")]


def test_a_large_request_for_a_stream(gateway, mocks):
    mocks["a"].respond = declines(429)
    answer = stream(gateway, "large", input="y" * 900000)
    assert answer.status == 200
    served(gateway, answer, "b", "a:429")
    assert len({request.body for request in answer.seen}) == 1 and len(answer.seen[0].body) > 900000


def test_the_last_one_answers(gateway, mocks):
    mocks["a"].respond, mocks["b"].respond = declines(503), declines(429, 9, b'{"by":"b"}')
    answer = stream(gateway, "one")
    assert (answer.status, answer.body, answer.header("retry-after")) == (429, b'{"by":"b"}', "9")
    served(gateway, answer, "b", "a:503")


def test_what_goes_without_the_tap(gateway, mocks):
    """Requests whose answer does not stream, and those of a route with `"tap": false`, do not go through the tap."""
    mocks["a"].respond = declines(429)
    for answer in (gateway.ask("plain-1"), stream(gateway, "off")):
        assert answer.status == 200 and not gateway.went(answer)
        gateway.served(answer, "b", "a:429")


def test_a_stream_that_breaks_is_not_tried_again(gateway, mocks):
    mocks["a"].break_after = 1
    with pytest.raises(wire.Cut) as cut:
        stream(gateway, "cut")
    assert cut.value.response.status == 200 and b"data: " in cut.value.response.body
    assert not [request for request in mocks["b"].requests if b'"cut-1"' in request.body]


def test_resting_members_are_passed_over(gateway, mocks):
    mocks["a"].respond = declines(429, 100)
    served(gateway, stream(gateway, "rest"), "b", "a:429")
    served(gateway, stream(gateway, "rest"), "b")
    mocks["b"].respond = declines(429, 100)
    answer = stream(gateway, "all")
    assert answer.status == 429
    served(gateway, answer, "b", "a:429")
    answer = stream(gateway, "all")
    assert answer.status == 429 and answer.json()["error"]["code"] == "upstream_resting"
    answer.nowhere()


def test_clients_credentials_that_pass_through(gateway, mocks):
    mocks["a"].respond = declines(429)
    answer = stream(gateway, "through")
    assert answer.status == 200 and gateway.went(answer)
    gateway.served(answer, "b", "a:429")
    assert [request.header("authorization") for request in answer.seen] == ["Bearer " + CLIENT_KEY] * 2


def test_without_the_tap_streams_go_on(haproxy, mocks):
    """No tap listens, so requests go past it."""
    with TappedPoolGateway(haproxy, list(mocks.values()), {"routes": [pool(mocks, "lost")]}, make_tap=None) as alone:
        mocks["a"].respond = declines(429)
        answer = stream(alone, "lost")
        assert answer.status == 200 and answer.complete
        line = alone.served(answer, "b", "a:429")
        assert line["srv"] == "leg"
