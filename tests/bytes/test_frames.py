"""FrameBuffer: bytes in any pieces become the same frames, for work that grows with the bytes and no faster."""

from __future__ import annotations

import itertools
import struct
import sys
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.each import for_each
from zkwire.codes import ErrorCode, OpCode
from zkwire.frames import (
    CONNECT_REQUEST_SIZE,
    CONNECT_RESPONSE_SIZE,
    HANDSHAKE,
    HEADER,
    HEADER_SIZE,
    MAX_REPLY,
    MAX_REQUEST,
    PASSWORD_SIZE,
    REPLY_HEADER,
    REQUEST_HEADER,
    REQUEST_PREFIX,
    Direction,
    Frame,
    FrameBuffer,
    FrameError,
    frame,
    length_at,
    reply_types,
    request_types,
    xid_of,
)
from zkwire.jute import encode
from zkwire.operations import BY_OPCODE, DELETE, GET_DATA, PING, WHO_AM_I, Operation
from zkwire.records import (
    ConnectRequest,
    ConnectResponse,
    GetDataRequest,
    GetDataResponse,
    ReplyHeader,
    RequestHeader,
    SyncRequest,
    WhoAmIResponse,
)

# Frames of 0, 1, 3 and 300 bytes: a length prefix with zero, one and two bytes that are not 0.
PAYLOADS = [b"", b"a", b"bcd", bytes(range(256)) + b"x" * 44]
STREAM = b"".join(frame(payload) for payload in PAYLOADS)


def drain(frames: FrameBuffer) -> list[bytes]:
    """The payloads of all whole frames."""
    found = []
    while (place := frames.next_frame()) is not None:
        buffer, start, end = place
        found.append(buffer[start:end])
    return found


def read(pieces: list[bytes]) -> list[bytes]:
    frames = FrameBuffer()
    found = []
    for piece in pieces:
        frames.append(piece)
        found += drain(frames)
    return found


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


# --- anatomy


def test_headers_are_laid_out_as_their_records_are_declared() -> None:
    assert REQUEST_HEADER.pack(7, 4) == encode(RequestHeader(7, 4))
    assert REPLY_HEADER.pack(7, -1, -101) == encode(ReplyHeader(7, -1, -101))
    assert REQUEST_PREFIX.pack(8, 7, 4) == frame(encode(RequestHeader(7, 4)))
    for direction, header in [(Direction.SENT, RequestHeader(7, 4)), (Direction.RECEIVED, ReplyHeader(7, 0, 0))]:
        assert type(header) is HEADER[direction]
        assert len(encode(header)) == HEADER_SIZE[direction]


def test_handshakes_have_these_sizes_beside_the_password_and_read_only() -> None:
    password = bytes(PASSWORD_SIZE)
    request, response = ConnectRequest(0, 0, 0, 0, password, None), ConnectResponse(0, 0, 0, password, None)
    assert {Direction.SENT: type(request), Direction.RECEIVED: type(response)} == HANDSHAKE
    assert len(encode(request)) == CONNECT_REQUEST_SIZE + PASSWORD_SIZE
    assert len(encode(response)) == CONNECT_RESPONSE_SIZE + PASSWORD_SIZE


@pytest.mark.parametrize(
    ("operation", "request_body", "reply_body"),
    [
        (GET_DATA, (GetDataRequest,), (GetDataResponse,)),
        (DELETE, (DELETE.request,), ()),
        (WHO_AM_I, (), (WhoAmIResponse,)),
        (PING, (), ()),
        (None, (), ()),
    ],
)
def test_operation_says_which_records_follow_the_header(
    operation: Operation | None, request_body: tuple[type, ...], reply_body: tuple[type, ...]
) -> None:
    assert request_types(operation) == (RequestHeader, *request_body)
    assert reply_types(operation) == (ReplyHeader, *reply_body)


@pytest.mark.parametrize("row", BY_OPCODE.values(), ids=lambda row: row.name)
def test_nothing_follows_the_header_of_a_reply_with_an_error(row: Operation) -> None:
    assert reply_types(row, ErrorCode.NO_NODE) == (ReplyHeader,)


def test_length_and_xid_are_not_known_before_their_four_bytes_are_there() -> None:
    data = bytes.fromhex("ff 00 00 00 08 ff ff ff fe")
    assert [length_at(data[:end], 1) for end in range(6)] == [None] * 5 + [8]
    assert [xid_of(data[5:end]) for end in range(5, 10)] == [None] * 4 + [-2]


# --- the receive buffer


def test_frame_puts_the_big_endian_length_in_front() -> None:
    assert frame(b"\x01\x02\x03") == bytes.fromhex("00 00 00 03  01 02 03")


def test_frame_buffer_has_no_frame_before_any_byte() -> None:
    frames = FrameBuffer()
    assert frames.next_frame() is None


def test_frame_buffer_gives_several_frames_of_one_piece_in_order() -> None:
    assert read([STREAM]) == PAYLOADS


@pytest.mark.rule(1)
@for_each("cut", range(len(STREAM) + 1))
def test_frame_buffer_gives_the_same_frames_split_at_every_byte(cut: int) -> None:
    assert read([STREAM[:cut], STREAM[cut:]]) == PAYLOADS


@pytest.mark.rule(1)
def test_frame_buffer_gives_the_same_frames_byte_by_byte() -> None:
    assert read(in_pieces(STREAM, 1)) == PAYLOADS


@pytest.mark.rule(1)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.binary(max_size=40), max_size=8),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_frame_buffer_gives_the_same_frames_in_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    assert read([stream[start:end] for start, end in itertools.pairwise(places)]) == payloads


def test_frame_buffer_keeps_frames_when_more_is_appended_before_they_are_taken() -> None:
    frames = FrameBuffer()
    for piece in in_pieces(STREAM, 7):
        frames.append(piece)
    assert drain(frames) == PAYLOADS


def test_frame_buffer_appends_after_a_frame_taken_only_partly() -> None:
    frames = FrameBuffer()
    frames.append(STREAM[:-1])
    buffer, start, end = frames.next_frame() or (b"", -1, -1)
    assert buffer[start:end] == PAYLOADS[0]
    frames.append(STREAM[-1:])
    assert drain(frames) == PAYLOADS[1:]


def test_frame_buffer_reads_a_whole_frame_where_it_arrived() -> None:
    frames = FrameBuffer()
    frames.append(STREAM)
    place = frames.next_frame()
    assert place is not None
    assert place[0] is STREAM


@pytest.mark.parametrize("piece", [100, 1024, 65536])
def test_frame_buffer_assembles_a_frame_of_many_pieces_once(piece: int) -> None:
    """Assembled at every piece, 2 MB in 1 KB pieces would be 2 GB of copying."""
    data, assembled = frame(bytes(2**21)), 0

    def count(_: object, event: str, called: object) -> None:
        nonlocal assembled
        assembled += event == "c_call" and getattr(called, "__name__", "") == "join"

    frames = FrameBuffer()
    sys.setprofile(count)
    try:
        for part in in_pieces(data, piece)[:-1]:
            frames.append(part)
            assert frames.next_frame() is None
        assert assembled == 0
        frames.append(in_pieces(data, piece)[-1])
    finally:
        sys.setprofile(None)
    assert assembled == 1
    assert drain(frames) == [bytes(2**21)]


def test_frame_that_comes_byte_by_byte_costs_not_much_more_memory_than_its_bytes() -> None:
    data = frame(bytes(200_000))
    frames = FrameBuffer()
    tracemalloc.start()
    try:
        for place in range(len(data) - 1):
            frames.append(data[place : place + 1])
            assert frames.next_frame() is None
        assert tracemalloc.get_traced_memory()[0] < 2 * len(data)
    finally:
        tracemalloc.stop()
    frames.append(data[-1:])
    assert drain(frames) == [bytes(200_000)]


def test_frame_buffer_lets_go_of_a_piece_when_all_its_frames_are_taken() -> None:
    frames = FrameBuffer()
    tracemalloc.start()
    try:
        frames.append(frame(bytes(1_000_000)))
        assert len(drain(frames)) == 1
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.rule(2)
@pytest.mark.parametrize("length", [-1, -(2**31), MAX_REPLY + 1, 2**31 - 1])
def test_frame_buffer_refuses_a_length_without_allocating_for_it(length: int) -> None:
    frames = FrameBuffer()
    frames.append(struct.pack(">i", length) + b"beginning")
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match=f"frame length {length}, expected 0 to {MAX_REPLY}"):
            frames.next_frame()
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.rule(2)
def test_frame_buffer_allocates_nothing_for_a_long_frame_that_has_only_begun() -> None:
    frames = FrameBuffer()
    tracemalloc.start()
    try:
        frames.append(struct.pack(">i", MAX_REPLY) + b"beginning")
        assert frames.next_frame() is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.rule(2)
def test_frame_buffer_takes_a_frame_of_exactly_the_limit_and_none_longer() -> None:
    frames = FrameBuffer(limit=3)
    frames.append(frame(b"abc") + frame(b"abcd"))
    assert frames.next_frame() is not None
    with pytest.raises(FrameError, match="frame length 4, expected 0 to 3"):
        frames.next_frame()


def test_frame_buffer_refuses_a_bad_length_again_at_every_look() -> None:
    frames = FrameBuffer()
    frames.append(b"\xff\xff\xff\xff")
    for _ in range(2):
        with pytest.raises(FrameError):
            frames.next_frame()


def test_the_request_limit_is_the_server_default_of_jute_maxbuffer() -> None:
    assert MAX_REQUEST == 1_048_575


def test_frame_buffer_shows_a_length_that_is_text() -> None:
    frames = FrameBuffer()
    frames.append(b"HTTP/1.1 400 Bad Request")
    with pytest.raises(FrameError, match=r"frame length 1213486160 \('HTTP'\), expected 0 to"):
        frames.next_frame()


# --- frames that are dropped


def skip_long_frames(frames: FrameBuffer) -> list[bytes]:
    """All whole frames; of one that is too long, its first three bytes when they have come."""
    found: list[bytes] = []
    lengths = []
    while True:
        try:
            frame_ = frames.next_frame()
        except FrameError as error:
            lengths.append(error.length)
            begun = frames.begun(3)
            if len(begun) < 3:
                return found
            found.append(begun)
            frames.skip()
            continue
        if frame_ is None:
            assert set(lengths) <= {1000}
            return found
        buffer, start, end = frame_
        found.append(bytes(buffer[start:end]))


@pytest.mark.rule(1, 2)
@for_each("cut", range(1, 1020))
def test_frame_buffer_drops_a_long_frame_split_at_every_byte(cut: int) -> None:
    data = frame(b"ab") + frame(b"xyz" + bytes(997)) + frame(b"cd") + frame(b"e")
    frames = FrameBuffer(limit=20)
    found = []
    for piece in (data[:cut], data[cut:]):
        frames.append(piece)
        found += skip_long_frames(frames)
    assert found == [b"ab", b"xyz", b"cd", b"e"]


def test_frame_buffer_drops_long_frames_that_come_byte_by_byte_and_follow_each_other() -> None:
    frames = FrameBuffer(limit=20)
    found = []
    for byte in frame(b"xyz" + bytes(997)) * 2 + frame(b"ab"):
        frames.append(bytes([byte]))
        found += skip_long_frames(frames)
    assert found == [b"xyz", b"xyz", b"ab"]


@pytest.mark.rule(2)
def test_frame_buffer_keeps_no_byte_of_a_frame_that_it_drops() -> None:
    frames = FrameBuffer(limit=20)
    piece = bytes(100_000)
    frames.append(struct.pack(">i", 2**31 - 1) + piece)
    with pytest.raises(FrameError) as caught:
        frames.next_frame()
    assert caught.value.length == 2**31 - 1
    tracemalloc.start()
    try:
        frames.skip()
        del caught
        for _ in range(200):
            frames.append(piece)
            assert frames.next_frame() is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_frame_shows_what_it_is_without_its_bytes() -> None:
    frame = Frame(Direction.SENT, b"1234", (RequestHeader, SyncRequest), OpCode.SYNC, 1.5)
    assert repr(frame) == (
        "Frame(direction=SENT, payload=<4 bytes>, types=(RequestHeader, SyncRequest), opcode=<OpCode.SYNC: 9>, now=1.5)"
    )


def test_direction_is_the_arrow_of_a_dump() -> None:
    assert [direction.value for direction in Direction] == [">", "<"]


def test_frame_fields_are_in_the_order_that_on_frame_documents() -> None:
    assert Frame._fields == ("direction", "payload", "types", "opcode", "now")
