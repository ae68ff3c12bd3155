"""Which readings bytes leave: always the right one, and no other where something in the bytes rules it out."""

from __future__ import annotations

import pytest

from tests.support import golden
from tests.support.each import for_each
from tests.support.golden import Golden
from tests.support.samples import CREATE_REPLY, EVENT, GET_DATA, GET_DATA_REPLY, PING, STAT
from zkwire.codes import OpCode
from zkwire.explain.readings import ANY, Wanted, end_of, is_plausible, mismatch, readings
from zkwire.frames import Direction
from zkwire.jute import encode
from zkwire.records import (
    ConnectRequest,
    Create2Response,
    ErrorResponse,
    GetChildrenResponse,
    GetDataResponse,
    GetEphemeralsResponse,
    ReplyHeader,
    RequestHeader,
    SetDataResponse,
    SetSASLResponse,
)

GOLDENS = [shown for shown in golden.load() if "MarshallingError-01" not in shown.name]


def reply(body: bytes) -> bytes:
    return encode(ReplyHeader(1, 9, 0)) + body


@for_each("shown", GOLDENS, ids=lambda shown: shown.id)
def test_golden_frame_is_among_its_readings(shown: Golden) -> None:
    """Whole, and without its second half. The caller does not say what it is."""
    payload = shown.payload
    assert shown.types in [reading.types for reading in readings(payload)]
    begun = readings(payload[: len(payload) // 2], length=len(payload))
    assert any(reading.types == shown.types or reading.types == shown.types[:1] for reading in begun)


@for_each("shown", GOLDENS, ids=lambda shown: shown.id)
def test_reading_of_a_golden_frame_ends_where_it_does_and_is_plausible(shown: Golden) -> None:
    found = [reading for reading in readings(shown.payload) if reading.types == shown.types]
    assert [end_of(reading, shown.payload) for reading in found] == [len(shown.payload)] * len(found)
    assert all(is_plausible(reading, shown.payload) for reading in found)


def test_reply_to_a_known_request_answers_that() -> None:
    asked = {1: OpCode.SYNC}
    (reading,) = readings(CREATE_REPLY[4:].replace(b"\0\0\0\x02", b"\0\0\0\x01", 1), asked=asked)
    assert reading.names == ("sync",)


def test_reply_is_one_to_the_operation_that_the_caller_names() -> None:
    (reading,) = readings(CREATE_REPLY[4:], Wanted(Direction.RECEIVED, OpCode.SYNC))
    assert reading.names == ("sync",)


def test_operations_with_the_same_records_are_one_reading() -> None:
    (reading,) = readings(GET_DATA_REPLY[4:])
    assert (reading.opcode, reading.names) == (None, ("getData", "reconfig"))


def test_unknown_opcode_alone_is_a_request() -> None:
    (reading,) = readings(encode(RequestHeader(1, 99)))
    assert (reading.direction, reading.opcode) == (Direction.SENT, 99)


def test_reading_says_what_it_is() -> None:
    said = {reading.option: str(reading) for data in (PING, EVENT, CREATE_REPLY) for reading in readings(data[4:])}
    assert said == {
        "--request": "the request ping",
        "--event": "a notification",
        "--reply-to create": "the reply to create",
        "--reply-to sync": "the reply to sync",
    }
    handshake = readings(encode(ConnectRequest(0, 0, 10000, 0, bytes(16), False)))[0]
    assert (handshake.option, str(handshake)) == (
        "--request --connect",
        "a ConnectRequest, the first frame of its direction",
    )
    unknown = [(reading.option, str(reading)) for reading in readings(encode(RequestHeader(1, 99)) + bytes(9))]
    assert unknown[0] == ("--request", "a request")
    beginning = [(reading.option, str(reading)) for reading in readings(b"", length=16)]
    assert beginning[-1] == ("--response", "a reply")


@pytest.mark.parametrize("xid", [-2, -4, -8])
def test_reserved_xids_say_what_is_answered(xid: int) -> None:
    (reading,) = readings(encode(ReplyHeader(xid, 9, 0)))
    assert reading.names == {-2: ("ping",), -4: ("auth",), -8: ("setWatches", "setWatches2")}[xid]
    # also where somebody says that it is something else
    assert readings(encode(ReplyHeader(xid, 9, 0)), Wanted(Direction.RECEIVED, OpCode.DELETE)) == [reading]


@pytest.mark.parametrize(
    ("body", "left"),
    [
        # Which bytes no server sends is known of each field.
        (encode(SetDataResponse(STAT)), ["exists", "setData", "setACL"]),
        (encode(GetDataResponse(b"", STAT)), ["getACL", "getChildren2"]),  # 0 bytes of data, where the Stat says 2
        (encode(GetChildrenResponse(("a", "b"))), ["getChildren"]),
        (encode(GetEphemeralsResponse(("/a", "/b"))), ["getEphemerals"]),
        (encode(GetChildrenResponse(())), ["getChildren", "sync", "sasl", "getEphemerals", "getAllChildrenNumber"]),
        (encode(ErrorResponse(5)), ["getAllChildrenNumber"]),
        (encode(SetSASLResponse(b"realm=x")), ["sync", "sasl"]),
        (encode(Create2Response("/abc", STAT)), ["create2"]),
        (b"", ["delete"]),
    ],
)
def test_reply_is_what_fits_and_may_be(body: bytes, left: list[str]) -> None:
    found = [reading.names[0] for reading in readings(reply(body))]
    assert set(left) <= set(found)
    if "sasl" not in left:
        assert sorted(found) == sorted(left)


def test_error_with_a_body_is_that_of_multi_read_or_sasl() -> None:
    (reading,) = readings(encode(ReplyHeader(1, 0, -115)) + b"\xff\xff\xff\xff")
    assert reading.names == ("sasl",)


def test_cut_frame_is_none_that_would_be_longer() -> None:
    """9 bytes are left after a count of 9: enough for text of that length or a header, not for a vector."""
    beginning = encode(ReplyHeader(1, 9, 0)) + (9).to_bytes(4, "big")
    found = {name for reading in readings(beginning, length=len(beginning) + 9) for name in reading.names}
    assert found == {"create", "sync", "sasl", "multi", "multiRead"}


def test_bytes_after_a_record_leave_its_reading() -> None:
    assert [reading.names for reading in readings(GET_DATA[4:] + b"junk")] == [("getData",)]


@pytest.mark.parametrize(
    ("payload", "wanted", "reason"),
    [
        (bytes(19), Wanted(connect=True), "19 bytes at offset 4 hold neither a ConnectRequest nor a ConnectResponse"),
        (GET_DATA_REPLY[4:], Wanted(event=True), "ReplyHeader.xid at offset 4: 1, but a notification has -1"),
        (bytes(7), ANY, "7 bytes at offset 4 hold no header: a request's has 8 bytes, a reply's 16"),
    ],
)
def test_bytes_that_leave_no_reading_say_why(payload: bytes, wanted: Wanted, reason: str) -> None:
    assert readings(payload, wanted) == []
    assert mismatch(payload, wanted) == reason
