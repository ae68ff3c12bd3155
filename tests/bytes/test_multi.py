"""The bodies of multi and multiRead, byte by byte."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zkwire import records
from zkwire.codes import OpCode
from zkwire.jute import JuteError, Record, decode, decode_at, encode, wire
from zkwire.multi import (
    MultiItem,
    MultiReadRequest,
    MultiRequest,
    MultiResponse,
    MultiSequence,
    item,
)
from zkwire.records import (
    ACL,
    CheckVersionRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    ErrorResponse,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    Id,
    MultiHeader,
    SetDataRequest,
    SetDataResponse,
    Stat,
)

END = bytes.fromhex("ff ff ff ff  01  ff ff ff ff")
STAT = Stat(*range(11))
STAT_BYTES = encode(STAT)
OPEN = (ACL(31, Id("world", "anyone")),)


def result(type_: int, body: Record | None, err: int = 0) -> MultiItem:
    return MultiItem(MultiHeader(type_, False, err), body)


def test_multi_request_writes_a_header_before_each_operation_and_the_terminator() -> None:
    request = MultiRequest(
        (item(OpCode.DELETE, DeleteRequest("/a", -1)), item(OpCode.CHECK, CheckVersionRequest("/b", 2)))
    )
    payload = bytes.fromhex(
        "00 00 00 02  00  ff ff ff ff"  # MultiHeader: delete
        "00 00 00 02  2f 61  ff ff ff ff"  # path, version
        "00 00 00 0d  00  ff ff ff ff"  # MultiHeader: check
        "00 00 00 02  2f 62  00 00 00 02"  # path, version
        "ff ff ff ff  01  ff ff ff ff"  # terminator
    )
    assert encode(request) == payload
    assert decode(MultiRequest, payload) == request


@pytest.mark.rule(69)
@pytest.mark.parametrize("cls", [MultiRequest, MultiReadRequest, MultiResponse])
def test_an_empty_sequence_is_only_the_terminator(cls: Any) -> None:
    assert encode(cls()) == END
    assert decode(cls, END) == cls()


def test_terminator_is_known_by_its_done_byte_alone() -> None:
    assert decode(MultiResponse, bytes.fromhex("00 00 00 01  01  00 00 00 00")) == MultiResponse()


@pytest.mark.rule(68)
def test_failed_multi_is_an_error_result_for_each_operation() -> None:
    """The bytes of 3.9.4 for: create, delete of a missing znode, create."""
    payload = bytes.fromhex(
        "ffffffff 00 00000000 00000000"  # would have worked
        "ffffffff 00 ffffff9b ffffff9b"  # NoNode
        "ffffffff 00 fffffffe fffffffe"  # not tried
        "ffffffff 01 ffffffff"
    )
    response = decode(MultiResponse, payload)
    assert [(header.err, body) for header, body in response] == [
        (0, ErrorResponse(0)),
        (-101, ErrorResponse(-101)),
        (-2, ErrorResponse(-2)),
    ]
    assert encode(response) == payload


@pytest.mark.rule(70)
@pytest.mark.parametrize(
    ("type_", "body", "expected"),
    [
        # create2 before 3.7.2, 3.8.2 and 3.9.0, and a plain create
        (1, "00 00 00 02  2f 61", CreateResponse("/a")),
        # create2 since then; containers and TTL znodes at all times
        (15, "00 00 00 02  2f 61" + STAT_BYTES.hex(), Create2Response("/a", STAT)),
        (2, "", None),
        (13, "", None),
        (5, STAT_BYTES.hex(), SetDataResponse(STAT)),
    ],
)
def test_multi_result_is_read_by_its_own_type(type_: int, body: str, expected: Record | None) -> None:
    payload = MultiHeader(type_, False, 0)._encode() + bytes.fromhex(body) + END
    assert decode(MultiResponse, payload) == MultiResponse((result(type_, expected),))
    assert encode(MultiResponse((result(type_, expected),))) == payload


@pytest.mark.rule(72)
def test_multi_read_has_errors_in_place_while_the_others_succeed() -> None:
    payload = bytes.fromhex(
        "00000004 00 00000000  00000001 78" + STAT_BYTES.hex() +  # getData: "x" and its Stat
        "ffffffff 00 ffffff9b ffffff9b"  # NoNode
        "00000008 00 00000000  00000001 00000001 63"  # getChildren: ["c"]
        "ffffffff 01 ffffffff"
    )  # fmt: skip
    assert decode(MultiResponse, payload) == MultiResponse(
        (
            result(4, GetDataResponse(b"x", STAT)),
            result(-1, ErrorResponse(-101), -101),
            result(8, GetChildrenResponse(("c",))),
        )
    )


def outcome(cls: Any, payload: bytes) -> tuple[Any, str, int | None]:
    """(the class, "", 0) if the payload can be decoded, else (the class, field of the error, its offset)."""
    try:
        return type(decode(cls, payload)), "", 0
    except JuteError as error:
        return cls, error.path, error.offset


@pytest.mark.parametrize("cls", [MultiRequest, MultiReadRequest, MultiResponse])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(payload=st.binary(max_size=60))
def test_arbitrary_bytes_are_a_sequence_or_a_jute_error_with_its_place(cls: Any, payload: bytes) -> None:
    found, path, offset = outcome(cls, payload)
    assert found is cls
    assert path == "" or path.startswith(f"{cls.__name__}[")
    assert offset is not None
    assert 0 <= offset <= len(payload)


REQUEST = MultiRequest(
    (
        item(OpCode.CREATE, CreateRequest("/a", b"x", OPEN, 0)),
        item(OpCode.CREATE2, CreateRequest("/b", None, OPEN, 2)),
        item(OpCode.CREATE_CONTAINER, CreateRequest("/c", b"", OPEN, 4)),
        item(OpCode.CREATE_TTL, CreateTTLRequest("/d", b"", OPEN, 5, 1000)),
        item(OpCode.DELETE, DeleteRequest("/e", -1)),
        item(OpCode.SET_DATA, SetDataRequest("/f", b"y", 3)),
        item(OpCode.CHECK, CheckVersionRequest("/g", 0)),
    )
)


def test_multi_request_carries_every_write() -> None:
    assert {header.type for header, _ in REQUEST} == set(MultiRequest.BODIES)
    assert decode(MultiRequest, encode(REQUEST)) == REQUEST


def test_multi_read_request_carries_both_reads() -> None:
    request = MultiReadRequest(
        (
            item(OpCode.GET_DATA, GetDataRequest("/a", False)),
            item(OpCode.GET_CHILDREN, GetChildrenRequest("/a", False)),
        )
    )
    assert {header.type for header, _ in request} == set(MultiReadRequest.BODIES)
    assert decode(MultiReadRequest, encode(request)) == request


def test_multi_response_knows_the_result_of_all_it_may_carry() -> None:
    # Containers and TTL znodes are answered as create2.
    answered_as_create2 = {OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL}
    written = set(MultiRequest.BODIES) - answered_as_create2
    assert set(MultiResponse.BODIES) == written | set(MultiReadRequest.BODIES) | {OpCode.ERROR}


@pytest.mark.parametrize("cut", range(len(encode(REQUEST))))
def test_a_sequence_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(JuteError, match=r"^MultiRequest\[\d\]\.\w+\.[\w.\[\]]+ at offset \d+: "):
        decode(MultiRequest, encode(REQUEST)[:cut])


def test_jute_error_names_item_and_field_and_counts_from_the_body() -> None:
    payload = encode(REQUEST)
    offset = payload.index(b"/e") - 4
    with pytest.raises(JuteError) as caught:
        decode_at(MultiRequest, b"head" + payload, 4, 4 + offset + 5)
    assert (caught.value.path, caught.value.offset) == ("MultiRequest[4].DeleteRequest.path", offset)


def test_a_type_that_the_sequence_does_not_carry_is_refused() -> None:
    payload = encode(MultiHeader(3, False, -1)) + END
    with pytest.raises(
        JuteError, match=r"^MultiRequest\[0\]\.MultiHeader\.type at offset 0: expected one of .*, got 3"
    ):
        decode(MultiRequest, payload)


def test_decode_stops_after_the_terminator() -> None:
    assert decode_at(MultiResponse, b"x" + END + b"next", 1, 14) == (MultiResponse(), 10)


# For a type checker, these calls are as wrong as they are meant to be.
loose: Any = records


@pytest.mark.parametrize(
    ("place", "bad", "text"),
    [
        (0, item(OpCode.DELETE, loose.DeleteRequest("/a", "1")), "MultiRequest[0].DeleteRequest.version: int takes "),
        (2, item(OpCode.SET_DATA, loose.SetDataRequest("/a", "x", 0)), "MultiRequest[2].SetDataRequest.data: buffer "),
        (1, result(2**31, None), "MultiRequest[1].MultiHeader.type: int takes "),
    ],
)
def test_encode_names_item_and_field_that_do_not_fit(place: int, bad: MultiItem, text: str) -> None:
    items = [item(OpCode.DELETE, DeleteRequest("/a", -1))] * 3
    items[place] = bad
    with pytest.raises(JuteError) as caught:
        encode(MultiRequest(tuple(items)))
    assert str(caught.value).startswith(text)


# --- spans


RESPONSE = MultiResponse(
    (
        result(1, CreateResponse("/a")),
        result(2, None),
        result(4, GetDataResponse(b"x", STAT)),
        result(-1, ErrorResponse(-2), -2),
    )
)


@pytest.mark.parametrize("sequence", [REQUEST, RESPONSE, MultiResponse()])
def test_spans_tile_the_bytes(sequence: MultiSequence) -> None:
    payload = encode(sequence)
    found, error = type(sequence).spans(payload + b"after")
    assert error is None
    assert [span.start for span in found] == [0, *(span.end for span in found)][: len(found)]
    assert found[-1].end == len(payload)


def test_spans_name_item_record_and_field() -> None:
    found, _ = MultiResponse.spans(encode(MultiResponse((result(2, None), result(1, CreateResponse("/a"))))))
    assert [(span.path, span.start, span.value) for span in found] == [
        ("MultiResponse[0].MultiHeader.type", 0, 2),
        ("MultiResponse[0].MultiHeader.done", 4, False),
        ("MultiResponse[0].MultiHeader.err", 5, 0),
        ("MultiResponse[1].MultiHeader.type", 9, 1),
        ("MultiResponse[1].MultiHeader.done", 13, False),
        ("MultiResponse[1].MultiHeader.err", 14, 0),
        ("MultiResponse[1].CreateResponse.path", 18, "/a"),
        ("MultiResponse[2].MultiHeader.type", 24, -1),
        ("MultiResponse[2].MultiHeader.done", 28, True),
        ("MultiResponse[2].MultiHeader.err", 29, -1),
    ]


def test_spans_look_at_each_byte_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A multi may have tens of thousands of operations."""
    seen = 0
    spans = wire.spans

    def counting(record_type: Any, data: bytes) -> Any:
        nonlocal seen
        seen += len(data)
        return spans(record_type, data)

    monkeypatch.setattr(wire, "spans", counting)
    payload = encode(REQUEST)
    MultiRequest.spans(payload)
    assert seen == len(payload)


@pytest.mark.parametrize("sequence", [REQUEST, RESPONSE])
def test_spans_stop_at_the_field_that_decode_refuses(sequence: MultiSequence) -> None:
    payload = encode(sequence)
    whole, _ = type(sequence).spans(payload)
    for cut in range(len(payload)):
        with pytest.raises(JuteError) as refused:
            decode(type(sequence), payload[:cut])
        found, error = type(sequence).spans(payload[:cut])
        assert error is not None
        assert (error.path, error.offset, error.missing) == (
            refused.value.path,
            refused.value.offset,
            refused.value.missing,
        )
        assert error.missing > 0
        place = len(found)
        assert found == whole[:place]
        assert (whole[place].path, whole[place].start) == (error.path, error.offset)


def test_spans_stop_at_a_type_that_decode_refuses() -> None:
    found, error = MultiRequest.spans(encode(MultiHeader(7, False, -1)) + b"more")
    assert [span.path for span in found] == [f"MultiRequest[0].MultiHeader.{name}" for name in ("type", "done", "err")]
    assert error is not None
    assert (error.path, error.offset, error.missing) == ("MultiRequest[0].MultiHeader.type", 0, 0)
    assert "got 7" in error.reason


# --- as a value


def test_sequences_are_equal_by_class_and_items() -> None:
    same = MultiRequest(tuple(REQUEST))
    assert same == REQUEST
    assert hash(same) == hash(REQUEST)
    assert MultiRequest() != REQUEST
    assert MultiRequest() != MultiReadRequest()
    assert len({MultiRequest(), MultiReadRequest()}) == 2
    assert tuple(REQUEST) != REQUEST
    assert tuple(REQUEST) != MultiRequest(tuple(REQUEST))


def test_sequence_survives_pickle_and_shows_its_items() -> None:
    request = MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", -1)),))
    assert pickle.loads(pickle.dumps(request)) == request
    assert repr(request) == (
        "MultiRequest([MultiItem(header=MultiHeader(type=<OpCode.DELETE: 2>, done=False, err=-1), "
        "body=DeleteRequest(path='/a', version=-1))])"
    )
