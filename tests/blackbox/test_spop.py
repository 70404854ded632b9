"""SPOP on the wire: the agent accepts good frames in pieces of any size and rejects bad ones, and neither disturbs another connection."""
import random
import re
import socket
import threading
import time

import pytest

import harness
import spop
from harness import chat

MODELS = {"one-x": "llm-one.test", "two-x": "llm-two.test"}


@pytest.fixture(scope="module")
def agent(module_work):
    config = {"max_frame_size": 65536, "routes": [
        {"model_prefix": "one-", "upstream": "https://one.test"}, {"model_prefix": "two-", "upstream": "https://two.test"},
        {"model_prefix": "key-", "upstream": "https://key.test", "auth": "env:LONG_KEY"}]}
    with harness.Agent(module_work, config, env={"LONG_KEY": harness.secret("long") + "k" * 600}) as agent:
        yield agent


@pytest.fixture(autouse=True)
def undisturbed(agent):
    """A connection opened before each test must still be served after it."""
    with agent.client() as before:
        assert before.ask(body=chat("one-x"))["backend"] == "llm-one.test"
        yield
        answer = before.ask(body=chat("two-x"))
        assert (answer["deny"], answer["backend"]) == (False, "llm-two.test")
    assert agent.process.running()


def ask_each(client, models, step=None):
    """Sends a question for each model in one stream of bytes, and checks the answers. It reads while a thread sends, because the agent may stop
    reading while its answers are not read."""
    raw = b"".join(spop.notify(spop.question(chat(model)), 100 + at, at) for at, model in enumerate(models))
    sender = threading.Thread(target=client.send, args=(raw, step))
    sender.start()
    left = {(100 + at, at): model for at, model in enumerate(models)}
    while left:
        answer = client.receive()
        assert answer.kind == spop.ACK
        assert answer.variables()["backend"] == MODELS[left.pop((answer.stream, answer.number))]
    sender.join()


# ---- HELLO


@pytest.mark.parametrize("offered", [256, 257, 1000, 16380, 65535, 65536, 65537, 1 << 20, (1 << 32) - 1])
def test_frame_size_is_the_smaller_of_both(agent, offered):
    with agent.client(max_frame_size=spop.U32(offered)) as client:
        assert client.agreed["max-frame-size"] == min(65536, offered)
        assert client.agreed["version"] == "2.0"


def test_frame_size_is_what_haproxy_offers(agents):
    """Without max_frame_size the agent takes what HAProxy offers, as far as max_memory allows, and says so if that is less."""
    agent = agents({"max_memory": 16 << 20, "routes": [{"model_prefix": "*"}]})
    offered = 12 << 20
    with agent.client(max_frame_size=spop.U32(offered)) as client:
        assert client.agreed["max-frame-size"] == offered
        assert client.ask(body=b'{"messages":"%s","model":"gpt-1"}' % (b"x" * (offered - 1000)))["model"] == "gpt-1"
    assert not agent.lines("event=frame_size")
    for _ in range(2):
        with agent.client(max_frame_size=spop.U32(20 << 20)) as client:
            taken = client.agreed["max-frame-size"]
            assert taken == (16 << 20) - 160 * 1024 - 4
    # HAProxy says HELLO often, and so the log says this once a minute.
    said, = agent.lines("event=frame_size")
    assert re.search(r"level=warn.* offered=%d taken=%d .*max_memory=%d hint=\"raise max_memory" % (20 << 20, taken, 16 << 20), said), said
    # An answer is sent before the memory of its question is given back: by another thread of the agent, perhaps after the next connection asks.
    harness.until(lambda: re.search(r"^spoa_llm_spop_connections 0$", agent.http(path="/metrics").text, re.M), what="the connections are closed")
    with agent.client(max_frame_size=spop.U32(20 << 20)) as client:
        assert client.ask(body=b'{"messages":"%s","model":"gpt-1"}' % (b"x" * (taken - 1000)))["model"] == "gpt-1"
    assert re.search(r"^spoa_llm_spop_hellos_short_total 3$", agent.http(path="/metrics").text, re.M)


def test_frame_size_by_option(agents):
    agent = agents({"max_frame_size": 65536, "routes": [{"model_prefix": "*"}]})
    with agent.client(max_frame_size=spop.U32(1 << 20)):
        agent.log(r"event=frame_size offered=1048576 taken=65536 max_frame_size=65536 .*hint=\"take max_frame_size out")


@pytest.mark.parametrize("offered, agreed", [
    ("pipelining", {"pipelining"}), ("pipelining,async", {"pipelining"}), ("async , pipelining", {"pipelining"}),
    (" pipelining ", {"pipelining"}), ("fragmentation", set()), ("async", set()), ("", set()),
    ("xpipelining", set()), ("pipeliningx,other", set())])
def test_capabilities_are_those_offered_and_kept(agent, offered, agreed):
    with agent.client(capabilities=offered) as client:
        assert {name.strip() for name in client.agreed["capabilities"].split(",") if name.strip()} == agreed


@pytest.mark.parametrize("versions", ["2.0", "1.0,2.0", " 2.0 , 1.5", "2.0,3.0", "3.0, 2.0", "2.1"])
def test_versions_that_include_2_0(agent, versions):
    with agent.client(supported_versions=versions) as client:
        assert client.agreed["version"] == "2.0"


BAD_HELLOS = {
    "no supported-versions": (spop.hello(without=["supported-versions"]), {5}),
    "no max-frame-size": (spop.hello(without=["max-frame-size"]), {6}),
    "no capabilities": (spop.hello(without=["capabilities"]), {7}),
    "nothing in it": (spop.frame(spop.HAPROXY_HELLO), {5}),
    "version 1.0": (spop.hello(supported_versions="1.0"), {8}),
    "version 3.0": (spop.hello(supported_versions="3.0"), {8}),
    "version 20.0": (spop.hello(supported_versions="20.0"), {8}),
    "version 12.0": (spop.hello(supported_versions="12.0"), {8}),
    "version empty": (spop.hello(supported_versions=""), {5, 8}),
    "version words": (spop.hello(supported_versions="two"), {8}),
    "version a number": (spop.hello(supported_versions=2), {4, 5}),
    "size 255": (spop.hello(max_frame_size=spop.U32(255)), {9}),
    "size 0": (spop.hello(max_frame_size=spop.U32(0)), {9}),
    "size negative": (spop.hello(max_frame_size=-1), {4, 6, 9}),
    "size a string": (spop.hello(max_frame_size="16380"), {4, 6}),
    "size NULL": (spop.hello(max_frame_size=None), {4, 6}),
    "capabilities a number": (spop.hello(capabilities=1), {4, 7}),
    "a stream-id": (spop.frame(spop.HAPROXY_HELLO, spop.kv(spop.HELLO), stream=1), {4}),
    "a frame-id": (spop.frame(spop.HAPROXY_HELLO, spop.kv(spop.HELLO), number=1), {4}),
    "cut in a key": (spop.frame(spop.HAPROXY_HELLO, spop.kv(spop.HELLO) + b"\x0ahealth"), {4}),
    "a key without value": (spop.frame(spop.HAPROXY_HELLO, spop.kv(spop.HELLO) + spop.string("healthcheck")), {4}),
    "value of type 10": (spop.frame(spop.HAPROXY_HELLO, spop.kv(spop.HELLO) + spop.string("x") + b"\x0a"), {4}),
    "not final": (spop.frame(spop.HAPROXY_HELLO, spop.kv(spop.HELLO), flags=0), {4, 10}),
    "NOTIFY before HELLO": (spop.notify(spop.question(chat("one-x"))), {4}),
    "DISCONNECT before HELLO": (spop.frame(spop.HAPROXY_DISCONNECT, spop.kv(
        {"status-code": spop.U32(0), "message": "bye"})), {0, 4}),
    "ACK before HELLO": (spop.frame(spop.ACK), {4}),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", {3}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {3}),
}


@pytest.mark.parametrize("case", BAD_HELLOS)
def test_bad_hello(agent, case):
    raw, codes = BAD_HELLOS[case]
    with agent.client(greet=False) as client:
        client.send(raw)
        status, text = client.disconnected()
        assert status in codes, (status, text)
        assert text


def test_healthcheck_is_answered_with_hello(agent):
    with agent.client(greet=False) as client:
        client.send(spop.hello(capabilities="", healthcheck=True))
        answer = client.receive()
        assert answer.kind == spop.AGENT_HELLO
        assert (answer.kv()["version"], answer.kv()["capabilities"]) == ("2.0", "")


# ---- frames in pieces


def test_byte_by_byte(agent):
    with agent.client(greet=False) as client:
        client.send(spop.hello(), step=1)
        assert client.receive().kind == spop.AGENT_HELLO
        ask_each(client, ["one-x", "two-x"], step=1)


@pytest.mark.parametrize("step", [2, 3, 4, 5, 7, 64, 511])
def test_pieces_of(agent, step):
    with agent.client() as client:
        ask_each(client, ["one-x", "two-x", "one-x"], step)


def test_hello_and_questions_in_one_write(agent):
    with agent.client(greet=False) as client:
        client.send(spop.hello() + spop.notify(spop.question(chat("one-x")), 5, 6))
        assert client.receive().kind == spop.AGENT_HELLO
        assert client.ack(5, 6).variables()["backend"] == "llm-one.test"


def test_a_frame_and_a_half_then_the_rest(agent):
    first = spop.notify(spop.question(chat("one-x")), 1, 1)
    second = spop.notify(spop.question(chat("two-x")), 2, 1)
    for cut in (1, 3, 4, 5, 11, len(second) - 1):
        with agent.client() as client:
            client.send(first + second[:cut])
            # The first question is answered although the rest of the second frame has not come.
            assert client.ack(1, 1).variables()["backend"] == "llm-one.test"
            client.send(second[cut:])
            assert client.ack(2, 1).variables()["backend"] == "llm-two.test"


def test_the_beginning_of_a_frame_of_any_size(agent):
    """Beginnings wait in one place up to some size of the frame, and in another one from there on; both are followed by further frames."""
    first, last = spop.notify(spop.question(chat("one-x")), 1, 1), spop.notify(spop.question(chat("one-x")), 3, 1)
    with agent.client(max_frame_size=spop.U32(65536)) as client, agent.client() as other:
        for size in (4096, 32000, 32767, 32768, 33000, 65000):
            frame = spop.notify(spop.question(chat("two-x", padding="p" * size)), 2, 1)
            frame = spop.notify(spop.question(chat("two-x", padding="p" * (2 * size - len(frame)))), 2, 1)
            assert len(frame) == size
            for cut in (5, size // 2, size - 1):
                client.send(first + frame[:cut])
                assert client.ack(1, 1).variables()["backend"] == "llm-one.test"
                assert other.ask(body=chat("one-x", padding="q" * 1000))["backend"] == "llm-one.test"
                client.send(frame[cut:] + last)
                assert client.ack(2, 1).variables()["backend"] == "llm-two.test"
                assert client.ack(3, 1).variables()["backend"] == "llm-one.test"


@pytest.mark.parametrize("count", [20, 1000])
def test_pipelined_each_acknowledged_once(agent, count):
    with agent.client() as client:
        ask_each(client, [("one-x", "two-x")[at % 3 == 0] for at in range(count)])
        # No question was acknowledged twice, because the next frame is the answer to this next question.
        assert client.ask(body=chat("one-x"))["backend"] == "llm-one.test"


@pytest.mark.parametrize("stream, number", [
    (0, 0), (1, 0), (239, 240), (2287, 2288), (2**31, 2**32), (2**63, 2**64 - 1), (33818864, 4328786160)])
def test_ids_come_back_as_they_were(agent, stream, number):
    with agent.client() as client:
        client.send(spop.notify(spop.question(chat("one-x")), stream, number))
        assert client.ack(stream, number).variables()["deny"] is False


def test_the_largest_frame_that_was_agreed(agent):
    with agent.client(max_frame_size=spop.U32(16380)) as client:
        for size in (16380, 16379):
            frame = spop.notify(spop.question(chat("one-x")), 1, 1)
            pad = size - (len(frame) - 4) - len(spop.string("pad")) - 4
            args = dict(spop.question(chat("one-x")), pad=b"p" * pad)
            frame = spop.notify(args, 1, 1)
            assert len(frame) - 4 == size
            client.send(frame)
            assert client.ack(1, 1).variables()["backend"] == "llm-one.test"


def test_many_connections(agent):
    clients = [agent.client() for _ in range(100)]
    try:
        for at, client in enumerate(clients):
            client.send(spop.notify(spop.question(chat("one-x")), at, 1))
        for at, client in reversed(list(enumerate(clients))):
            assert client.ack(at, 1).variables()["backend"] == "llm-one.test"
    finally:
        for client in clients:
            client.close()


def test_connections_leave_nothing_behind(agent):
    def churn():
        for at in range(60):
            client = agent.client(greet=at % 3 != 0)
            if at % 3 == 1:
                client.send(spop.notify(spop.question(chat("one-x")))[:at])
            client.close()
    churn()
    harness.until(lambda: agent.descriptors() < 40, 5, "descriptors of closed connections are given back")
    before = agent.descriptors()
    churn()
    harness.until(lambda: agent.descriptors() <= before, 5, lambda: "descriptors: %d, before %d" % (
        agent.descriptors(), before))


# ---- frames that end a connection, and with which status code


def body_of(frame):
    return frame[4:]


BAD_FRAMES = {
    "larger than agreed": (b"\x00\x00\x40\x00" + b"x" * 64, {3}),
    "4 GiB": (b"\xff\xff\xff\xff", {3}),
    "2 GiB": (b"\x80\x00\x00\x00", {3}),
    "empty": (b"\x00\x00\x00\x00", {4}),
    "of one byte": (b"\x00\x00\x00\x01\x03", {4}),
    "without ids": (b"\x00\x00\x00\x05\x03\x00\x00\x00\x01", {4}),
    "without frame-id": (b"\x00\x00\x00\x06\x03\x00\x00\x00\x01\x01", {4}),
    "with a cut varint": (b"\x00\x00\x00\x07\x03\x00\x00\x00\x01\x01\xff", {4}),
    "with an endless varint": (spop.frame(3)[:9].replace(b"\x00\x00\x00\x07", b"\x00\x00\x00\x1b") + b"\xff" * 22, {4}),
    "not final": (spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, spop.question(chat("one-x"))), 1, 1, flags=0),
                  {10}),
    "a fragment": (spop.frame(spop.UNSET, b"x", 1, 1, flags=0), {10, 11}),
    "a last fragment": (spop.frame(spop.UNSET, b"x", 1, 1), {4, 10, 11}),
    "a second HELLO": (spop.hello(), {4}),
    "message name beyond the end": (spop.frame(spop.NOTIFY, b"\x20llm-request\x00", 1, 1), {4}),
    "message without count": (spop.frame(spop.NOTIFY, spop.string("llm-request"), 1, 1), {4}),
    "fewer arguments than counted": (
        spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, {"path": "/v1"}, count=2), 1, 1), {4}),
    "an argument without value": (
        spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, [], count=1) + spop.string("path"), 1, 1), {4}),
    "a string beyond the end": (
        spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, {"path": spop.Raw(b"\x08\xef/v1")}), 1, 1), {4}),
    "a string of 2^64-1 bytes": (spop.frame(spop.NOTIFY, spop.message(
        spop.REQUEST, {"path": spop.Raw(b"\x08" + spop.varint(2**64 - 1) + b"/v1")}), 1, 1), {4}),
    "a binary of 2^63 bytes": (spop.frame(spop.NOTIFY, spop.message(
        spop.REQUEST, {"body": spop.Raw(b"\x09" + spop.varint(2**63) + b"{}")}), 1, 1), {4}),
    "an address cut": (
        spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, {"src": spop.Raw(b"\x07\x00\x00")}), 1, 1), {4}),
    "a value of type 10": (
        spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, {"path": spop.Raw(b"\x0a")}), 1, 1), {4}),
    "a value of type 15": (
        spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, {"x": spop.Raw(b"\x0f\x00")}), 1, 1), {4}),
    "an integer cut": (
        spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, {"length": spop.Raw(b"\x04\xf0\x80")}), 1, 1), {4}),
    "a second message cut": (spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, spop.question(chat("one-x")))
                                        + b"\x05other"[:3], 1, 1), {4}),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_frame(agent, case):
    raw, codes = BAD_FRAMES[case]
    with agent.client() as client:
        assert client.ask(body=chat("one-x"))["deny"] is False
        client.send(raw)
        status, text = client.disconnected()
        assert status in codes, (status, text)
        assert text


def test_good_questions_before_a_bad_frame_are_answered(agent):
    with agent.client() as client:
        client.send(spop.notify(spop.question(chat("one-x")), 1, 1) + b"\xff\xff\xff\xff")
        assert client.ack(1, 1).variables()["backend"] == "llm-one.test"
        assert client.disconnected()[0] == spop.TOO_BIG


@pytest.mark.parametrize("kind", [4, 50, 100, 104, 255])
def test_unknown_frame_types_are_skipped(agent, kind):
    with agent.client() as client:
        client.send(spop.frame(kind, b"whatever", 9, 9) + spop.notify(spop.question(chat("one-x")), 1, 1))
        assert client.ack(1, 1).variables()["backend"] == "llm-one.test"


@pytest.mark.parametrize("status, text", [(0, "normal"), (1, "I/O error"), (2, "a timeout occurred"), (99, "")])
def test_haproxy_leaves(agent, status, text):
    with agent.client() as client:
        client.send(spop.frame(spop.HAPROXY_DISCONNECT, spop.kv({"status-code": spop.U32(status), "message": text})))
        assert client.disconnected()[0] == spop.NORMAL


def test_questions_before_haproxy_leaves_are_answered(agent):
    with agent.client() as client:
        client.send(spop.notify(spop.question(chat("one-x")), 1, 1) + spop.frame(
            spop.HAPROXY_DISCONNECT, spop.kv({"status-code": spop.U32(0), "message": "bye"})))
        assert client.ack(1, 1).variables()["deny"] is False
        assert client.disconnected()[0] == spop.NORMAL


# ---- the content of a NOTIFY


def test_unknown_arguments_are_ignored(agent):
    with agent.client() as client:
        args = list(spop.question(chat("one-x")).items())
        args[3:3] = [("model", "two-x"), ("x", True), ("src", spop.IPv4(b"\x7f\0\0\1")), ("", "nameless"),
                     ("dst", spop.IPv6(bytes(16))), ("BODY", chat("two-x")), ("n", spop.U64(2**63)), ("z", None)]
        client.send(spop.notify(args))
        assert client.ack(1, 1).variables()["backend"] == "llm-one.test"


def test_the_order_of_arguments_does_not_matter(agent):
    with agent.client() as client:
        client.send(spop.notify(list(reversed(spop.question(chat("two-x")).items()))))
        assert client.ack(1, 1).variables()["backend"] == "llm-two.test"


@pytest.mark.parametrize("name", list(spop.question(chat("one-x"))))
@pytest.mark.parametrize("how", ["missing", "NULL"])
def test_missing_arguments_are_empty(agent, name, how):
    args = spop.question(chat("one-x"))
    if how == "missing":
        del args[name]
    else:
        args[name] = None
    answer = agent.ask(args=args)
    if name == "body":
        # Without the body the agent does not know the model, and must not use a route by guessing.
        assert answer["deny"] is True or answer["route"] == "legacy"
    elif name == "headers" or (name, how) == ("flags", "missing"):
        # The agent does not know what there is about the request.
        assert (answer["deny"], answer["code"]) == (True, "contract_outdated")
    elif name in ("buffered", "length"):
        # The agent does not know then whether it sees the whole body: a refusal and the model's own route are both safe.
        assert answer["deny"] is True or answer["backend"] == "llm-one.test"
    else:
        assert (answer["deny"], answer["backend"]) == (False, "llm-one.test")


@pytest.mark.parametrize("name, value", [
    ("method", b"POST"), ("path", b"/v1/chat/completions"), ("ctype", b"application/json"), ("ua", b"x"),
    ("buffered", spop.U32(68)), ("length", spop.I32(68)), ("length", spop.U64(68)), ("headers", b"host,content-type")])
def test_arguments_of_another_type(agent, name, value):
    """HAProxy sends an argument as binary or string, or as any integer type: that depends on the expression in spoe.conf."""
    body = chat("one-x")
    value = type(value)(len(body)) if name in ("buffered", "length") else value
    assert agent.ask(body=body, **{name: value})["backend"] == "llm-one.test"


def test_a_body_as_string(agent):
    assert agent.ask(args=dict(spop.question(chat("one-x")), body=chat("one-x").decode()))["backend"] == "llm-one.test"


def test_several_messages_in_one_notify(agent):
    with agent.client() as client:
        for messages in ([("other", {"a": 1}), (spop.REQUEST, spop.question(chat("one-x")))],
                         [(spop.REQUEST, spop.question(chat("one-x"))), ("other", {"a": 1}), ("more", {})]):
            client.send(spop.frame(spop.NOTIFY, b"".join(spop.message(*one) for one in messages), 7, 8))
            assert client.ack(7, 8).variables()["backend"] == "llm-one.test"
        assert client.ask(body=chat("two-x"))["backend"] == "llm-two.test"


@pytest.mark.parametrize("payload", [b"", spop.message("other", {"a": 1}), spop.message("", {}),
                                     spop.message("llm-responses", spop.question(chat("one-x"))),
                                     spop.message("LLM-REQUEST", spop.question(chat("one-x")))],
                         ids=["none", "unknown", "nameless", "longer", "upper"])
def test_no_message_of_ours_is_acknowledged_and_allows_nothing(agent, payload):
    with agent.client() as client:
        client.send(spop.frame(spop.NOTIFY, payload, 3, 4))
        assert client.ack(3, 4).variables().get("deny") is not False
        assert client.ask(body=chat("two-x"))["backend"] == "llm-two.test"


def test_two_questions_in_one_notify_have_one_answer(agent):
    """The answer to the second question must not turn the refusal of the first into a permission."""
    with agent.client() as client:
        client.send(spop.frame(spop.NOTIFY, spop.message(spop.REQUEST, spop.question(b'{"model":1}'))
                               + spop.message(spop.REQUEST, spop.question(chat("one-x"))), 1, 1))
        denied = [value for _, name, value in client.ack(1, 1).actions() if name == "deny"]
        assert denied in ([True], [], [True, True])
        assert client.ask(body=chat("two-x"))["backend"] == "llm-two.test"


# ---- the content of an ACK


def test_what_forwards_is_the_last_action(agent):
    """HAProxy carries actions out in order: if `allow`, or for files of contract 1 `deny=false`, is the last one, an ACK that was cut short allows nothing."""
    with agent.client() as client:
        for model, allow in ("one-x", "passthrough"), ("key-x", "authorization"):
            for last, contract in (("allow", allow), {}), (("deny", False), {"contract": 1}):
                client.send(spop.notify(spop.question(chat(model), **contract)))
                actions = client.ack(1, 1).actions()
                assert actions[-1] == ("txn", *last), actions
                assert [name for _, name, _ in actions if name in ("allow", "deny")] == [last[0]], actions


@pytest.mark.parametrize("flags", [16, 1 << 40, -1, "4", True, b"1"])
def test_flags_that_the_agent_does_not_know_let_nothing_through(agent, flags):
    answer = agent.ask(args=dict(spop.question(chat("one-x")), flags=flags))
    assert (answer["deny"], answer["code"]) == (True, "contract_outdated")


@pytest.mark.parametrize("size", [256, 300, 400, 500, 600, 700, 750, 800, 900, 1000, 1200])
def test_an_ack_never_exceeds_the_agreed_size(agent, size):
    """`receive` fails on a larger frame. If the credential does not fit, the agent refuses, and sends no part of the credential."""
    with agent.client(max_frame_size=spop.U32(size)) as client:
        args = {"path": "/v1/responses", "method": "POST", "body": b'{"model":"key-x"}', "buffered": 17, "length": 17,
                "ctype": "application/json", "contract": 1}
        answer = client.ask(args=args)
        if answer["deny"] is False:
            assert len(answer["auth_value"]) > 600
        else:
            assert answer["status"] in (502, 503) and answer["code"]
            assert "auth_value" not in answer
        if size < 640:
            assert answer["deny"] is True
        if size == 1200:
            assert answer["deny"] is False


def test_a_long_model_in_a_small_frame(agent):
    with agent.client(max_frame_size=spop.U32(400)) as client:
        answer = client.ask(args={"path": "/v1/x", "method": "POST", "body": b'{"model":"one-%s"}' % (b"m" * 250),
                                  "buffered": 266, "length": 266})
        assert answer["deny"] is True or answer["model"] == "one-" + "m" * 250


# ---- peers that misbehave for longer


def test_a_peer_that_reads_nothing(agent):
    """Such a peer fills its own connection, but blocks no other, and the agent's memory does not grow without end."""
    frames = spop.notify(spop.question(chat("one-x"), pad="x" * 3000), 1, 1) * 32
    with agent.client() as mute, agent.client() as other:
        before = agent.rss()
        mute.sock.settimeout(0.3)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += mute.sock.send(frames[sent % len(frames):])
        except (TimeoutError, socket.timeout):
            pass
        assert sent < 64 << 20, "the agent reads questions without end although nobody reads the answers"
        for _ in range(10):
            assert other.ask(body=chat("two-x"))["backend"] == "llm-two.test"
        assert agent.rss() - before < 32 << 20
        # When the peer reads at last, it gets an answer to every question that it sent whole.
        mute.sock.settimeout(10)
        whole = sent // (len(frames) // 32)
        for _ in range(whole):
            assert mute.ack(1, 1).variables()["backend"] == "llm-one.test"


def test_a_peer_that_stops_in_the_middle(agent):
    with agent.client(greet=False) as silent, agent.client() as half:
        half.send(spop.notify(spop.question(chat("one-x")))[:50])
        silent.send(spop.hello()[:7])
        for _ in range(5):
            assert agent.ask(body=chat("two-x"))["backend"] == "llm-two.test"


def test_a_peer_that_closes_its_sending_side(agent):
    with agent.client() as client:
        client.send(spop.notify(spop.question(chat("one-x"))))
        assert client.ack(1, 1).variables()["deny"] is False
        client.sock.shutdown(socket.SHUT_WR)
        assert client.closed()


def test_a_peer_that_resets_with_questions_under_way(agent):
    for _ in range(20):
        client = agent.client()
        client.send(spop.notify(spop.question(chat("one-x"))) * 200)
        client.close()
    assert agent.ask(body=chat("one-x"))["backend"] == "llm-one.test"


@pytest.mark.parametrize("seed", range(6))
def test_mutated_frames(agent, seed):
    """Valid frames in which bytes are changed, removed or doubled: the agent answers, disconnects or stays silent, but never crashes and never
    disturbs another connection."""
    rng = random.Random(seed)
    good = spop.notify(spop.question(chat("one-x"), upgrade=True, model_hint='{"model":"m"}', model_param="one-q"))
    for _ in range(60):
        raw = bytearray(good)
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(raw))
            kind = rng.randrange(4)
            if kind == 0:
                raw[at] = rng.randrange(256)
            elif kind == 1:
                raw[at] ^= 1 << rng.randrange(8)
            elif kind == 2:
                del raw[at:at + rng.randrange(1, 9)]
            else:
                raw[at:at] = raw[at:at + rng.randrange(1, 9)]
        if rng.random() < 0.7 and len(raw) > 8:
            raw[:4] = (len(raw) - 4).to_bytes(4, "big")
        with agent.client() as client:
            try:
                client.send(bytes(raw))
                client.sock.shutdown(socket.SHUT_WR)
                while True:
                    answer = client.receive()
                    if answer.kind == spop.ACK:
                        answer.actions()
            except (spop.Closed, BrokenPipeError, ConnectionResetError):
                pass
    assert agent.process.running(), agent.process.tail()


def test_connections_at_the_same_time(agent):
    """Eight peers ask at full speed; each of them gets the answers to its own questions."""
    failures = []

    def peer(at):
        try:
            with agent.client() as client:
                for turn in range(100):
                    model = ("one-x", "two-x")[(at + turn) % 2]
                    assert client.ask(body=chat(model))["backend"] == MODELS[model]
        except Exception as error:          # noqa: B902 (reported below)
            failures.append(error)
    threads = [threading.Thread(target=peer, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_answers_are_quick(agent):
    """Neither a timer nor Nagle's algorithm delays an answer: the median round trip is far below HAProxy's timeouts."""
    with agent.client() as client:
        times = []
        for _ in range(50):
            start = time.monotonic()
            client.ask(body=chat("one-x"))
            times.append(time.monotonic() - start)
    assert sorted(times)[25] < 0.02 * harness.SLOW
