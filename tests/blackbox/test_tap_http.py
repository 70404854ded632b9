"""The follower of HTTP/1.1 compared with a reading of the whole text by Python's regular expressions: on connections at random, half of them damaged, in
pieces at random.

    FOLLOW_CONNECTIONS=200000 FOLLOW_SEED=7 pytest tests/blackbox/test_tap_http.py
"""
import os
import random

import pytest

import follow
import harness

CONNECTIONS = int(os.environ.get("FOLLOW_CONNECTIONS", "4000"))
SEED = int(os.environ.get("FOLLOW_SEED", "1"))
PARTS = 4       # tests into which the connections are divided, because tests can run side by side
AT_ONCE = 2000


@pytest.fixture(scope="session")
def driver():
    """The program of tests/unit/http_driver.c, built with ASan and UBSan, or the one at the path HTTP_DRIVER."""
    return os.environ.get("HTTP_DRIVER") or str(harness.built("drivers/http_driver"))


@pytest.mark.parametrize("part", range(PARTS))
def test_connections_at_random(driver, part):
    r = random.Random(SEED * PARTS + part)
    left = CONNECTIONS // PARTS
    words = ("BAD", "CUT", "IDLE", " T ", " B ")
    seen = dict.fromkeys(words, 0)
    while left > 0:
        connections = [follow.connection(r) for _ in range(min(AT_ONCE, left))]
        left -= len(connections)
        whole = follow.answers(driver, connections)
        parts = follow.answers(driver, [follow.split(r, steps) for steps in connections])
        for steps, one, other in zip(connections, whole, parts):
            right = follow.expected(steps)
            assert one == right, "whole: %r" % steps
            assert other == right, "in parts: %r" % steps
            for word in words:
                seen[word] += word in right
    # The connections are of all kinds.
    assert min(seen.values()) > CONNECTIONS // PARTS // 100, seen
