"""Several SPOP threads: which thread gets a connection, limits that hold for all threads together, and peers that take too much."""
import collections
import contextlib
import os
import pathlib
import re
import struct
import time

import pytest

import harness
import spop
from harness import chat

ROUTES = {"routes": [{"model_prefix": "one-", "upstream": "https://one.test"}]}


def threaded(agents, count, **more):
    return agents(dict(ROUTES, threads=count, log_level="debug", **more))


def spread(agent):
    """How many connections each thread has taken so far."""
    return collections.Counter(re.search(r"thread=(\d+)", line).group(1) for line in agent.lines(r"event=connection "))


def threads_of(agent):
    path = "/proc/%d/task" % agent.pid
    return len(list(pathlib.Path(path).iterdir()))


def close_all(clients):
    for client in clients:
        client.close()


def even(counts, threads, each):
    """Whether each of `threads` has taken about `each` connections. One more or less is right, because the least loaded thread has only a
    millisecond to take a connection, and on a busy machine it may sometimes come too late."""
    return set(counts) == set(threads) and all(abs(count - each) <= 1 for count in counts.values())


@pytest.mark.alone      # a thread that gets no CPU for a millisecond takes fewer
def test_connections_spread_over_the_threads(agents):
    agent = threaded(agents, 3)
    # Nine, because the log limits how many lines of one event it writes in a second.
    clients = [agent.client() for _ in range(9)]
    assert even(spread(agent), "012", 3), spread(agent)
    for client in clients:
        assert client.ask(body=chat("one-x"))["backend"] == "llm-one.test"
    close_all(clients)


def test_a_thread_that_lost_its_connections_gets_the_next(agents):
    agent = threaded(agents, 2)
    clients = [agent.client() for _ in range(5)]

    def order():
        """The thread of each connection: the log has a line for each, in the order in which they came."""
        return [re.search(r"thread=(\d+)", line).group(1) for line in agent.lines(r"event=connection ")]
    # A thread that does not run in time leaves its connections to the other one.
    harness.until(lambda: len(set(order())) == 2 or clients.append(agent.client()), 10, "both threads have connections")
    # Close all connections of thread 1.
    first = order()
    gone = [client for client, thread in zip(clients, first) if thread == "1"]
    stay = len(clients) - len(gone)
    close_all(gone)
    harness.until(lambda: len(agent.lines("event=connection_closed")) >= len(gone), 5, "the connections end")
    more = [agent.client() for _ in range(3)]
    again = order()[len(clients):]
    assert again.count("1") >= (2 if stay >= 2 else 1), (first, again)
    close_all(clients + more)


def test_one_thread_for_each_core(agents):
    one = threaded(agents, 1)
    rest = threads_of(one) - 1
    many = agents(dict(ROUTES))
    assert threads_of(many) - rest == len(os.sched_getaffinity(0))


def test_max_connections_is_of_all_threads(agents):
    agent = threaded(agents, 3, max_connections=4)
    clients = [agent.client() for _ in range(4)]
    for _ in range(3):
        over = spop.Client(agent.address, greet=False)
        assert over.closed()
        over.close()
    assert len(agent.lines("event=connection_refused.*max_connections=4")) == 3
    for client in clients:
        assert client.ask(body=chat("one-x"))["deny"] is False
    close_all(clients)


def test_connections_beyond_max_memory_are_refused(agents):
    """Each client announces a large frame and sends the beginning: the agent allocates the whole frame at once."""
    agent = threaded(agents, 2, max_memory=4 << 20, max_frame_size=1 << 20)
    with agent.client() as undisturbed:
        size = 1000 * 1000
        head = struct.pack(">I", size) + b"\x03" + struct.pack(">I", 1) + b"\x01\x01"
        clients, refused = [], 0
        for _ in range(8):
            client = agent.client(max_frame_size=spop.U32(1 << 20))
            client.send(head + b"x" * 200)
            clients.append(client)
        harness.until(lambda: len(agent.lines("event=memory_limit")) >= 4, 5, "some connections are refused")
        time.sleep(0.2)
        for client in clients:
            try:
                answer = client.receive(timeout=0.3)
            except TimeoutError:
                continue
            assert answer.kind == spop.AGENT_DISCONNECT
            assert answer.kv()["status-code"] == 13 and "max_memory" in answer.kv()["message"]
            assert client.closed()
            refused += 1
        # Four frames of a megabyte do not fit into max_memory together with the other buffers.
        assert 4 <= refused <= 5
        assert undisturbed.ask(body=chat("one-x"))["deny"] is False
        close_all(clients)
        harness.until(lambda: len(agent.lines("event=connection_closed")) >= 4, 5, "the connections that were not refused end")
        for _ in range(4):
            with agent.client(max_frame_size=spop.U32(1 << 20)) as client:
                assert client.ask(body=chat("one-x", pad="p" * 900000))["deny"] is False, "the memory of the closed connections is not free again"


def test_peers_that_read_nothing_are_held_and_bounded(agents):
    agent = threaded(agents, 2, max_memory=2 << 20, max_frame_size=65536)
    before = agent.rss()
    question = spop.notify(spop.question(chat("one-x")))
    clients = []
    for _ in range(24):
        client = agent.client()
        client.sock.setblocking(False)
        clients.append(client)
    for client in clients:
        sent = 0
        try:
            while sent < 4 << 20:
                sent += client.sock.send(question * 200)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
    assert agent.ask(body=chat("one-x"))["deny"] is False
    assert agent.rss() - before < (8 << 20) * harness.SLOW
    close_all(clients)


@pytest.mark.parametrize("mode, offered, agreed", [
    ("auto", "pipelining,async", "pipelining"), ("auto", "pipelining", "pipelining"), ("auto", "", ""),
    ("on", "pipelining,async", "pipelining"), ("on", "async", ""),
    ("off", "pipelining,async", ""), ("off", "pipelining", "")])
def test_pipelining(agents, mode, offered, agreed):
    agent = threaded(agents, 1, pipelining=mode)
    with agent.client(capabilities=offered) as client:
        assert client.agreed["capabilities"] == agreed
        # The agent answers questions that are sent without waiting even if pipelining was not agreed on.
        raw = b"".join(spop.notify(spop.question(chat("one-x")), at, 1) for at in range(1, 6))
        client.send(raw)
        for at in range(1, 6):
            assert client.ack(at, 1).variables()["deny"] is False


def test_many_clients_on_many_threads_get_their_own_answers(agents):
    config = {"threads": 4, "routes": [{"model_prefix": "m%d-" % at, "upstream": "https://u%d.test" % at} for at in range(8)]}
    agent = agents(config)
    clients = [agent.client() for _ in range(32)]
    for turn in range(20):
        for at, client in enumerate(clients):
            client.send(b"".join(spop.notify(spop.question(chat("m%d-x" % ((at + k) % 8))), 1 + k, turn) for k in range(8)))
        for at, client in enumerate(clients):
            for k in range(8):
                assert client.ack(1 + k, turn).variables()["backend"] == "llm-u%d.test" % ((at + k) % 8)
    close_all(clients)


def test_large_frames_of_several_connections(agents):
    """The agent keeps the buffers of large frames for the next ones, of any connection, and reads into them what comes next."""
    agent = agents({"threads": 1, "routes": [{"model_prefix": "one-", "upstream": "https://one.test"}, {"model_prefix": "two-", "upstream": "https://two.test"}]})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(agent.client(max_frame_size=spop.U32(1 << 20))) for _ in range(4)]
        for turn, size in enumerate((40000, 300000, 140000, 900000, 200000)):
            frames = [spop.notify(spop.question(chat(("one-x", "two-x")[(turn + at) % 2], padding="pq"[at % 2] * size)), 1, 1) for at in range(len(clients))]
            for part in range(3):
                for client, frame in zip(clients, frames):
                    client.send(frame[part * len(frame) // 3:(part + 1) * len(frame) // 3])
            for at, client in enumerate(clients):
                assert client.ack(1, 1).variables()["backend"] == ("llm-one.test", "llm-two.test")[(turn + at) % 2]
                assert client.ask(body=chat("one-x"))["backend"] == "llm-one.test"
