"""The reader of answers that pass, on streams at random of every provider's shape in every framing, whole, in pieces, and cut anywhere. What the generator put
into a stream is what it tells; a model's text, a tool's arguments and echoes look like usage, and do not count.

    STREAMED=200000 STREAMED_SEED=7 pytest tests/blackbox/test_tap_usage.py
"""
import copy
import os
import random

import pytest

import harness
import streamed

STREAMS = int(os.environ.get("STREAMED", "1500"))
SEED = int(os.environ.get("STREAMED_SEED", "1"))
PARTS = 2       # tests into which the streams are divided, because tests can run side by side
AT_ONCE = 1000


@pytest.fixture(scope="session")
def driver():
    """The program of tests/unit/tap_usage_driver.c, built with ASan and UBSan, or the one at the path TAP_USAGE_DRIVER."""
    return os.environ.get("TAP_USAGE_DRIVER") or str(harness.built("drivers/tap_usage_driver"))


def stream(r):
    kind, events, flag = r.choice(streamed.SHAPES)(r)
    return kind, streamed.framed(r, kind, events, flag)


def result(said):
    final, _, _, content, _, first, last = said
    return final, content, first, last


@pytest.mark.parametrize("part", range(PARTS))
def test_streams_at_random(driver, part):
    r = random.Random(SEED * PARTS + part)
    left, finals, untold = STREAMS // PARTS, 0, 0
    while left > 0:
        streams = [stream(r) for _ in range(min(AT_ONCE, left))]
        left -= len(streams)
        bodies = [(kind, b"".join(piece for piece, _ in pieces)) for kind, pieces in streams]
        for steps in (None, b"\1", bytes(r.randint(1, 255) for _ in range(9))):
            said = streamed.answers(driver, [streamed.question(kind, body, steps or b"") for kind, body in bodies])
            for (kind, pieces), (_, body), one in zip(streams, bodies, said):
                told = streamed.expected(pieces, True)
                assert not one[1], (kind, body)
                assert (one[2], result(one)) == (told.events, told.result()), (kind, body, steps)
        finals += sum(one[0] for one in said)
        untold += sum(one[6] is None for one in said)
    assert finals > STREAMS // PARTS // 3 and untold > STREAMS // PARTS // 100


def cut_results(pieces, at):
    """What a stream that is cut there may tell: the event at the cut may be told, in part or as a whole, or not."""
    done = 0
    before = []
    for piece, event in pieces:
        if done + len(piece) > at:
            break
        done += len(piece)
        before.append((piece, event))
    without = streamed.expected(before, False)
    if not isinstance(event, streamed.Event):
        if event == "done":        # the mark of the end may be read without the end of its line
            over = copy.copy(without)
            over.end()
            return [without.result(), over.result()]
        return [without.result()]
    with_it = copy.copy(without)
    with_it.add(event)
    out = [without.result(), with_it.result(), (False,) + with_it.result()[1:]]
    # Content may be told before the usage behind it, and the other way around.
    for content in (without.content, with_it.content):
        final = without.final and content == without.content
        out += [(final, content, without.first, without.last), (False, content, with_it.first, with_it.last), (without.final, content, without.first, without.last)]
    # One object that is complete has told all.
    over = copy.copy(with_it)
    over.end()
    return out + ([over.result()] if len(pieces) == 1 else [])


def test_streams_that_are_cut(driver):
    r = random.Random(SEED)
    streams = [stream(r) for _ in range(STREAMS // 3)]
    cases = []
    for kind, pieces in streams:
        body = b"".join(piece for piece, _ in pieces)
        cases += [(kind, pieces, body[:at], at) for at in [r.randrange(len(body)) for _ in range(3)]]
    said = streamed.answers(driver, [streamed.question(kind, body, bytes([r.randint(1, 200)]), False) for kind, _, body, _ in cases])
    for (kind, pieces, body, at), one in zip(cases, said):
        truth = streamed.expected(pieces, True)
        assert result(one) in cut_results(pieces, at), (kind, body)
        assert not one[1], (kind, body)
        # What is said to be exact is what the whole stream would have told, unless that contradicts itself.
        assert not one[0] or truth.refuted or (one[5], one[6]) == (truth.first, truth.last), (kind, body)
