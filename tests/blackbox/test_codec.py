"""The tests' own SPOP codec against the figures of HAProxy's SPOE.txt, because tests with a wrong codec would prove nothing."""
import pytest

import spop


@pytest.mark.parametrize("value, size", [
    (0, 1), (239, 1), (240, 2), (2287, 2), (2288, 3), (264431, 3), (264432, 4), (33818863, 4), (33818864, 5),
    (4328786159, 5), (4328786160, 6), (2**63, 10), (2**64 - 1, 10)])
def test_varint_sizes_of_the_specification(value, size):
    raw = spop.varint(value)
    assert len(raw) == size
    assert spop.read_varint(raw + b"more", 0) == (value, size)
    for cut in range(size):
        with pytest.raises(spop.Bad):
            spop.read_varint(raw[:cut], 0)


@pytest.mark.parametrize("value, raw", [
    (None, b"\x00"), (False, b"\x01"), (True, b"\x11"), (spop.U32(7), b"\x03\x07"), (-1, b"\x04" + spop.varint(2**64 - 1)),
    ("ab", b"\x08\x02ab"), (b"ab", b"\x09\x02ab"), (spop.IPv4(b"\x7f\0\0\1"), b"\x06\x7f\0\0\1")])
def test_typed_values(value, raw):
    assert spop.typed(value) == raw
    assert spop.read_typed(raw, 0) == (value, len(raw))


def test_a_frame_as_its_bytes():
    raw = spop.frame(spop.NOTIFY, spop.message("m", {"a": 1}), 300, 2)
    assert raw == b"\x00\x00\x00\x0f" + b"\x03" + b"\x00\x00\x00\x01" + b"\xfc\x03" + b"\x02" + b"\x01m\x01\x01a\x04\x01"
    got = spop.Frame(raw[4:])
    assert (got.stream, got.number, got.messages()) == (300, 2, [("m", {"a": 1})])


def test_actions_are_read_strictly():
    def ack(payload):
        return spop.Frame(spop.frame(spop.ACK, payload, 1, 1)[4:])

    assert ack(spop.actions({"deny": False})).variables() == {"deny": False}
    for bad in (b"\x01\x03\x02\x04de", b"\x01\x02\x02" + spop.string("x"), spop.set_var("x", 1, "sess"),
                spop.set_var("x", 1) * 2, b"\x01"):
        with pytest.raises(spop.Bad):
            ack(bad).variables()
