"""Where a frame starts in the middle of a stream: frames of real servers, and bytes that only look like one."""

from __future__ import annotations

import pytest

from tests.support.dialogues import HANDSHAKE, TALK, dialogue
from tests.support.golden import Golden
from zkwire.capture import resync
from zkwire.capture.resync import FrameFinder, is_handshake
from zkwire.codes import OpCode
from zkwire.frames import Direction, frame
from zkwire.operations import BY_OPCODE

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
FRAMES = dialogue("create", "watch-getData", "ping", "getChildren2", "multi")


@pytest.mark.parametrize("golden", FRAMES[2:], ids=lambda golden: golden.name)
def test_every_frame_is_found_alone_and_after_other_bytes(golden: Golden) -> None:
    data = frame(golden.payload)
    assert FrameFinder(golden.direction).receive(data) == 0
    finder = FrameFinder(golden.direction)
    assert finder.receive(b"\xff" * 10) is None
    assert finder.receive(data[:6]) is None
    assert finder.receive(data[6:]) == 10
    together = FrameFinder(golden.direction)
    assert together.receive(b"\xff" * 7 + data) == 7


def test_a_frame_needs_another_after_it_or_the_end() -> None:
    data = frame(TALK["ping"][0].payload)
    assert FrameFinder(SENT).receive(data + data[:3]) == 0
    assert FrameFinder(SENT).receive(data + b"\xff" * 20) is None


@pytest.mark.parametrize(
    ("direction", "payload"),
    [
        (SENT, b"\0\0\0\1\0\0\0\x63"),  # opcode 99
        (SENT, b"\xff\xff\xff\xff\0\0\0\x0b"),  # xid -1
        (SENT, b"\xff\xff\xff\xfe\0\0\0\x0b\0"),  # a ping with a body
        (SENT, b"\0\0\0\1\0\0\0\4"),  # a getData without one
        (SENT, b"\0\0\0\1\0\0\0\4\0\0\0\1/\0\0"),  # a byte after it
        (RECEIVED, b"\0\0\0\1" + bytes(7) + b"\1" + b"\0\0\0\1"),  # err 1
        (RECEIVED, b"\0\0\0\1" + b"\xff" * 7 + b"\xfe" + bytes(4)),  # zxid -2
        (RECEIVED, b"\xff" * 12 + bytes(4)),  # an event without a body
        (RECEIVED, b"\xff\xff\xff\xfd" + bytes(12)),  # xid -3
        (RECEIVED, b"\xff\xff\xff\xfe" + bytes(13)),  # a ping's with a body
        (RECEIVED, b"\0\0\0\1" + bytes(12)),  # zxid 0 and nothing
        (RECEIVED, b"\0\0\0\1" + bytes(7) + b"\1" + b"\xff\xff\xff\x9b" + bytes(4)),  # NoNode with a body
        (RECEIVED, b"\0\0\0\1" + bytes(7) + b"\1" + bytes(4) + b"\xff"),  # not a record
    ],
)
def test_bytes_that_no_peer_sends_are_not_a_frame(direction: Direction, payload: bytes) -> None:
    assert FrameFinder(direction).receive(frame(payload)) is None


@pytest.mark.parametrize("direction", list(Direction))
def test_a_handshake_is_known_by_its_first_bytes(direction: Direction) -> None:
    data = frame(HANDSHAKE[0 if direction is SENT else 1].payload)
    for size in range(len(data)):
        assert is_handshake(direction, data[:size]) is None
    assert is_handshake(direction, data) is True
    assert is_handshake(direction, data + b"more") is True
    other = bytearray(data)
    other[7] = 1  # protocol version
    assert is_handshake(direction, bytes(other)) is False
    assert is_handshake(direction, frame(data[4:] + b"\0\0")) is False
    assert is_handshake(direction, b"\0\0\4\1" + data[4:]) is False
    assert is_handshake(direction, b"GET") is False


@pytest.mark.parametrize("direction", list(Direction))
def test_a_stream_may_begin_with_the_handshake_or_not(direction: Direction) -> None:
    data = frame(HANDSHAKE[0 if direction is SENT else 1].payload)
    finder = FrameFinder(direction, may_begin=True)
    assert finder.receive(data[:9]) is None
    assert finder.receive(data[9:]) == 0
    assert finder.is_handshake
    for golden in FRAMES[2:]:
        if golden.direction is direction:
            other = FrameFinder(direction, may_begin=True)
            assert other.receive(frame(golden.payload)) == 0
            assert not other.is_handshake


def test_where_a_segment_starts_comes_first() -> None:
    """A plausible frame at the start of a segment is waited for, although a whole frame comes later in it."""
    data = frame(TALK["create"][0].payload)
    finder = FrameFinder(SENT)
    assert finder.receive(data[:20] + b"\xff" + frame(TALK["ping"][0].payload)) is None
    finder = FrameFinder(SENT)
    assert finder.receive(data[:20]) is None
    assert finder.receive(data[20:]) == 0


def test_bytes_without_a_frame_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "_MAX_KEPT", 100)
    finder = FrameFinder(SENT, dropped=7)
    ping = frame(TALK["ping"][0].payload)
    for _ in range(10):
        assert finder.receive(b"\xff" * 40) is None
    assert len(finder.data) <= 140
    assert finder.dropped + len(finder.data) == 407
    assert finder.receive(b"\xff" * 40 + ping[:3]) is None
    start = finder.receive(ping[3:])
    assert start is not None
    assert finder.dropped + start == 447
    assert finder.data[start:] == ping


def test_four_bytes_that_abound_make_no_request() -> None:
    """With an operation of -1 any "ff ff ff ff" could be the opcode of a frame."""
    assert OpCode.ERROR not in BY_OPCODE
