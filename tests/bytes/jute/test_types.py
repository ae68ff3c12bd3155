"""Jute types: values on the wire, null and empty, and text."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import Empty, EveryType, some
from zkwire import records
from zkwire.jute import Buffer, JuteError, JuteType, TrailingBoolean, UString, decode, encode, wire
from zkwire.jute.types import CESU8, BufferType, FixedType, type_of
from zkwire.records import (
    ACL,
    ConnectRequest,
    CreateRequest,
    ExistsRequest,
    GetChildrenResponse,
    Id,
    SetDataRequest,
    SyncRequest,
)


def test_type_of_finds_the_jute_type_among_other_annotations() -> None:
    assert str(type_of(Annotated[int, "a note", FixedType("int", "i")])) == "int"
    assert str(type_of(Annotated[ACL, "a note"])) == "ACL"
    with pytest.raises(TypeError, match="expected a Jute type or a Record class"):
        type_of(Annotated[int, "a note"])


# --- values on the wire


def test_encode_writes_the_golden_bytes_of_a_create_request() -> None:
    request = CreateRequest("/a", b"\x01", (ACL(31, Id("world", "anyone")),), 3)
    assert encode(request) == bytes.fromhex(
        "00 00 00 02  2f 61"  # path
        "00 00 00 01  01"  # data
        "00 00 00 01"  # acl: one element
        "00 00 00 1f"  # acl[0].perms
        "00 00 00 05  77 6f 72 6c 64"  # acl[0].id.scheme
        "00 00 00 06  61 6e 79 6f 6e 65"  # acl[0].id.id
        "00 00 00 03"  # flags
    )


def test_encode_writes_the_golden_bytes_of_the_types_no_record_has() -> None:
    record = EveryType(
        -1, True, 1.5, -2.0, Empty(), (True, False), ((1,), None), (None, b""), ACL(1, Id("", None)), None
    )
    assert encode(record) == bytes.fromhex(
        "ff  01  3f c0 00 00  c0 00 00 00 00 00 00 00"  # byte, flag, small, big
        "00 00 00 02  01 00"  # flags
        "00 00 00 02  00 00 00 01  00 00 00 00 00 00 00 01  ff ff ff ff"  # rows
        "00 00 00 02  ff ff ff ff  00 00 00 00"  # buffers
        "00 00 00 01  00 00 00 00  ff ff ff ff"  # acl
    )


@pytest.mark.rule(74)
@pytest.mark.parametrize(("data", "wire_bytes"), [(None, "ff ff ff ff"), (b"", "00 00 00 00")])
def test_buffer_keeps_null_and_empty_apart(data: bytes | None, wire_bytes: str) -> None:
    request = SetDataRequest("/", data, 0)
    payload = encode(request)
    assert payload == bytes.fromhex(f"00 00 00 01  2f  {wire_bytes}  00 00 00 00")
    assert decode(SetDataRequest, payload).data == data
    assert wire.parse(SetDataRequest, payload).data == data


@pytest.mark.rule(74)
@pytest.mark.parametrize(("text", "wire_bytes"), [(None, "ff ff ff ff"), ("", "00 00 00 00")])
def test_ustring_keeps_null_and_empty_apart(text: str | None, wire_bytes: str) -> None:
    assert encode(SyncRequest(text)) == bytes.fromhex(wire_bytes)
    assert decode(SyncRequest, bytes.fromhex(wire_bytes)).path == text


@pytest.mark.rule(74)
@pytest.mark.parametrize(("names", "wire_bytes"), [(None, "ff ff ff ff"), ((), "00 00 00 00")])
def test_vector_keeps_null_and_empty_apart(names: tuple[str, ...] | None, wire_bytes: str) -> None:
    assert encode(GetChildrenResponse(names)) == bytes.fromhex(wire_bytes)
    assert decode(GetChildrenResponse, bytes.fromhex(wire_bytes)).children == names


@pytest.mark.parametrize("byte", [1, 2, 0x80, 0xFF])
def test_boolean_reads_any_byte_but_zero_as_true(byte: int) -> None:
    payload = bytes.fromhex("00 00 00 01  2f") + bytes([byte])
    assert decode(ExistsRequest, payload).watch is True
    assert wire.parse(ExistsRequest, payload).watch is True


@pytest.mark.parametrize(("byte", "value"), [(b"", None), (b"\x00", False), (b"\x02", True)])
def test_trailing_boolean_may_be_missing(byte: bytes, value: bool | None) -> None:
    payload = encode(ConnectRequest(0, 0, 10000, 0, bytes(16), None)) + byte
    assert len(payload) == 44 + len(byte)
    assert decode(ConnectRequest, payload).read_only is value
    assert wire.parse(ConnectRequest, payload).read_only is value


# --- text


def cesu8(text: str) -> bytes:
    """As Java's BinaryOutputArchive writes it: each UTF-16 unit on its own."""
    units = text.encode("utf-16-be", "surrogatepass")
    characters = (chr(unit) for (unit,) in struct.iter_unpack(">H", units))
    return b"".join(character.encode("utf-8", "surrogatepass") for character in characters)


def string(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


@pytest.mark.rule(75)
@some
@given(st.text())
def test_ustring_reads_javas_surrogate_pairs_as_the_same_text(text: str) -> None:
    payload = string(cesu8(text))
    assert decode(SyncRequest, payload) == wire.parse(SyncRequest, payload) == SyncRequest(text)


@pytest.mark.rule(75)
def test_ustring_reads_the_surrogate_pair_of_an_emoji() -> None:
    payload = bytes.fromhex("00 00 00 08  61  ed a0 bd ed b8 80  62")
    assert decode(SyncRequest, payload).path == "a\U0001f600b"


def test_ustring_writes_plain_utf8() -> None:
    assert encode(SyncRequest("\U0001f600")) == bytes.fromhex("00 00 00 04  f0 9f 98 80")


@pytest.mark.parametrize(
    "malformed",
    [
        "ed a0 bd",  # a high surrogate alone, at the end
        "ed a0 bd 61 62 63",  # and before other text
        "ed b8 80",  # a low surrogate alone
        "ed b8 80 ed a0 bd",  # a pair the wrong way round
        "ed a0 bd ed a0 bd",  # two high ones
        "ed a0 bd ed b8",  # a pair cut short
        "ff fe",  # no UTF-8
        "c0 80",  # NUL, as DataOutput.writeUTF would have it
        "e2 82",  # a character cut short
    ],
)
def test_ustring_refuses_a_lone_surrogate_and_malformed_utf8(malformed: str) -> None:
    payload = string(b"ok" + bytes.fromhex(malformed))
    with pytest.raises(JuteError, match=r"^SyncRequest\.path at offset 0: ustring: .*can't decode byte") as refused:
        decode(SyncRequest, payload)
    with pytest.raises(JuteError, match="can't decode byte") as explained:
        wire.parse(SyncRequest, payload)
    assert str(refused.value) == str(explained.value)


def test_cesu8_error_handler_only_joins_surrogate_pairs() -> None:
    with pytest.raises(UnicodeDecodeError):
        "\U0001f600".encode().decode("ascii", CESU8)
    with pytest.raises(UnicodeEncodeError):
        "é".encode("ascii", CESU8)


# --- lengths


@pytest.mark.parametrize("length", [-2, -(2**31)])
@pytest.mark.parametrize("cls", [SyncRequest, GetChildrenResponse, records.GetSASLRequest])
def test_a_negative_length_that_is_not_null_is_refused(cls: Any, length: int) -> None:
    with pytest.raises(JuteError, match=f"length {length} is negative and not -1"):
        decode(cls, struct.pack(">i", length) + b"more")


@pytest.mark.rule(2)
@pytest.mark.parametrize("length", [100, 2**24, 2**31 - 1])
@pytest.mark.parametrize("cls", [SyncRequest, GetChildrenResponse, records.GetSASLRequest, records.WhoAmIResponse])
def test_a_length_is_checked_before_it_is_allocated(cls: Any, length: int) -> None:
    payload = struct.pack(">i", length) + bytes(99)
    with pytest.raises(JuteError):
        decode(cls, b"")  # construct is loaded by the first error, and takes memory once
    tracemalloc.start()
    try:
        with pytest.raises(JuteError, match=rf"length {length} needs at least \d+ bytes, 99 are left"):
            decode(cls, payload)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_null_is_a_value_of_every_type_that_has_it() -> None:
    vector = GetChildrenResponse.FIELDS[0].type
    for kind in (type_of(Buffer), type_of(UString), type_of(TrailingBoolean), vector):
        assert kind.problem(None, "field") is None


def test_buffer_shows_the_value_that_it_refuses_unless_it_is_secret() -> None:
    assert BufferType().problem("text", "data") == ("data", "buffer takes bytes or None, not str 'text'")
    assert BufferType(secret=True).problem("text", "passwd") == ("passwd", "buffer takes bytes or None, not str")


def test_a_jute_type_of_no_kind_has_no_problem_to_tell() -> None:
    with pytest.raises(AssertionError, match="abstract"):
        JuteType().problem(1, "path")
