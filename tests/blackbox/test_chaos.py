"""Faults around the gateway: whatever fails, each request reaches its own upstream, with its own credential and every byte as sent, or no
upstream. tests/rig/chaos.py has the faults and the checks of each request.

A longer run, with all faults in random order:

    CHAOS_S=1800 CHAOS_SEED=7 CHAOS_OUT=summary.json python3 -m pytest tests/blackbox/test_chaos.py -k at_random
"""
import json
import os
import random
import resource
import socket
import time

import pytest

import chaos
import harness
import spop

SEED = os.environ.get("CHAOS_SEED", "1")
SECONDS = float(os.environ.get("CHAOS_S", "8"))


@pytest.fixture(scope="module")
def world(haproxy):
    with chaos.World(haproxy, clock=True) as world:
        yield world


@pytest.mark.parametrize("fault", chaos.FAULTS, ids=lambda fault: fault.__name__)
def test_one_fault(world, fault):
    """The fault happens twice under traffic. When it is over, all requests are served again."""
    rng = random.Random("%s-%s" % (SEED, fault.__name__))
    asked = {request.header("x-client-request-id") for mock in world.mocks for request in mock.requests}
    traffic = chaos.Traffic(world, "%s-%s" % (SEED, fault.__name__), rate=60)
    try:
        for _ in range(2):
            fault(world, rng)
        chaos.serves_again(world)
    finally:
        traffic.end()
    told = audit(world, traffic, asked)
    assert told["sent"] >= 3 and told["arrived"] > 0, told


def audit(world, traffic, before):
    """Checks the requests of `traffic` alone and returns counts. The ids in `before` belong to earlier traffic, which was checked already; an
    id that begins with t belongs to a request of `gateway.ask()`."""
    known = set(before)
    for mock in world.mocks:
        with mock.lock:
            mock.requests[:] = [request for request in mock.requests if request.header("x-client-request-id") not in known
                                and not (request.header("x-client-request-id") or "").startswith("t")]
    told = traffic.audit()
    for mock in world.mocks:
        with mock.lock:
            mock.requests[:] = []
    return told


def test_all_faults_at_random(haproxy):
    """Faults in an order that CHAOS_SEED decides, under traffic, for CHAOS_S seconds."""
    rng = random.Random("all-%s" % SEED)
    counts, total = {}, {}
    with chaos.World(haproxy, clock=True) as world:
        started, first = time.monotonic(), None
        rss = []
        while time.monotonic() - started < SECONDS:
            traffic = chaos.Traffic(world, "all-%s-%d" % (SEED, len(counts)), rate=80)
            try:
                until = min(started + SECONDS, time.monotonic() + 60)
                while time.monotonic() < until:
                    fault = rng.choice(chaos.FAULTS)
                    counts[fault.__name__] = counts.get(fault.__name__, 0) + 1
                    fault(world, rng)
                chaos.serves_again(world, 30)
            finally:
                traffic.end()
            for name, value in audit(world, traffic, ()).items():
                total[name] = total.get(name, 0) + value
            if first is None:
                first = world.gateway.agent.rss()
            rss.append(world.gateway.agent.rss())
    told = {"haproxy": "%d.%d" % harness.version_of(haproxy), "seed": SEED, "seconds": round(time.monotonic() - started, 1),
            "faults": counts, "requests": total, "agent_rss_mib": [round(one / 2 ** 20, 1) for one in rss]}
    print(json.dumps(told))
    if os.environ.get("CHAOS_OUT"):
        with open(os.environ["CHAOS_OUT"], "a") as out:
            out.write(json.dumps(told) + "\n")
    assert total["arrived"] > 0 and total.get("200", 0) > 0, told


def connect_many(address, count, greeting):
    held = []
    for _ in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)       # waits while the agent's listen queue is full
        sock.settimeout(10 * harness.SLOW)
        if greeting:
            sock.sendall(greeting)
        held.append(sock)
    return held


@pytest.fixture
def many_descriptors():
    """Room for 12,000 more descriptors than this process has open: the mock upstreams of earlier tests may still hold some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 12000 + len(os.listdir("/proc/self/fd"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, max(need, hard)))
    except (ValueError, OSError):
        pytest.skip("the limit of open files, %d, is too low" % hard)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard), max(need, hard)))


def test_ten_thousand_idle_connections(haproxy, make_mock, many_descriptors):
    """10,000 idle connections that have sent HAProxy's greeting take up the agent's room. While HAProxy's connections fit beside them,
    requests are served. When they no longer fit, requests may be refused, until the idle connections are closed."""
    mock, key = make_mock("idle"), harness.secret("chaos-idle")
    config = {"routes": [{"model_prefix": "b-", "upstream": mock.url(), "auth": "env:KEY"}], "max_connections": 10100}
    with harness.Gateway(haproxy, [mock], config, env={"KEY": key}, owners={key: [mock]}) as gateway:
        held = connect_many(gateway.socket[5:], 10000, spop.hello())
        try:
            for sock in held[::100]:
                assert sock.recv(4), "an idle connection was refused"
            for _ in range(20):
                # On a busy machine a decision may take longer than HAProxy waits. HAProxy refuses the request then.
                answer = harness.until(lambda: gateway.ask("b-1"), 1)
                if answer.status != 200:
                    answer.refused(503, "gateway_unavailable")
                    answer = harness.until(lambda: [one for one in [gateway.ask("b-1")] if one.status == 200], 20)[0]
                assert answer.only(mock).header("authorization") == "Bearer " + key
            assert gateway.agent.rss() < (400 << 20) * (4 if "san" in harness.AGENT else 1), gateway.agent.rss()
            # Now more connections come than max_connections allows. HAProxy's next connection may be among those that the agent refuses.
            more = connect_many(gateway.socket[5:], 200, b"")
            for _ in range(10):
                answer = gateway.ask("b-1")
                if answer.status != 200:
                    answer.refused(503, "gateway_unavailable")
            for sock in more:
                sock.close()
        finally:
            for sock in held:
                sock.close()
        harness.until(lambda: gateway.ask("b-1").status == 200, 20, "requests are served again", step=0.1)
