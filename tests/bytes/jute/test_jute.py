"""Jute: what each type is on the wire, and that the fused codec and the construct one are the same codec.

The property tests run over every record class of zkwire.records, and over one with the types that no record uses.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import struct
import tracemalloc
from typing import Annotated, Any

import construct
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from zkwire import records
from zkwire.explain import dump as trace
from zkwire.jute import (
    Boolean,
    Buffer,
    Byte,
    Double,
    Float,
    JuteError,
    JuteType,
    Long,
    Record,
    TrailingBoolean,
    UString,
    Vector,
    decode,
    decode_at,
    encode,
    fused,
    wire,
)
from zkwire.jute.types import CESU8, BufferType, FixedType, NestedType, UStringType, VectorType, is_secret, type_of
from zkwire.records import (
    ACL,
    ConnectRequest,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetACLResponse,
    GetChildrenResponse,
    GetDataRequest,
    Id,
    MultiHeader,
    SetDataRequest,
    Stat,
    SyncRequest,
    WatcherEvent,
)


class Empty(Record):
    """No fields: what a request without a body would be."""


class EveryType(Record):
    """The types that no record of ZooKeeper's has, and the ways of nesting that none uses."""

    byte: Byte
    flag: Boolean
    small: Float
    big: Double
    empty: Empty
    flags: Vector[Boolean]
    rows: Vector[Vector[Long]]
    buffers: Vector[Buffer]
    acl: ACL
    tail: TrailingBoolean


class Noted(Record):
    """Fields with a note, and one without."""

    time: Annotated[Long, "milliseconds"]
    acl: Annotated[ACL, "who"]
    paths: Annotated[Vector[UString], "paths"]
    flag: Boolean


class Named(Record):
    """One more string."""

    text: UString


class Crowd(Record):
    """Elements that take no bytes: their count would be bounded by nothing."""

    members: Vector[Empty]


RECORDS: list[Any] = [
    cls for cls in vars(records).values() if inspect.isclass(cls) and issubclass(cls, Record) and cls is not Record
]
RECORDS += [Empty, EveryType, Named]

every_record_with_fields = pytest.mark.parametrize(
    "cls", [cls for cls in RECORDS if cls.FIELDS], ids=lambda cls: cls.__name__
)
every_record = pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
some = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=15)


def values(kind: JuteType) -> st.SearchStrategy[Any]:
    """All values of a wire type."""
    if isinstance(kind, NestedType):
        return instances(kind.record)
    if isinstance(kind, VectorType):
        return st.none() | st.lists(values(kind.element), max_size=3).map(tuple)
    if isinstance(kind, UStringType):
        return st.none() | st.text(max_size=12)
    if isinstance(kind, BufferType):
        return st.none() | st.binary(max_size=12)
    assert isinstance(kind, FixedType)
    if kind.code == "?":
        return st.none() | st.booleans() if kind.optional else st.booleans()
    if kind.code in "fd":
        return st.floats(width=kind.size * 8, allow_nan=False)  # type: ignore[arg-type]  # 32 or 64
    bits = kind.size * 8
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def instances(cls: Any) -> st.SearchStrategy[Any]:
    """All records of a class."""
    return st.tuples(*(values(field.type) for field in cls.FIELDS)).map(lambda fields: cls(*fields))


def outcome(read: Any, *arguments: Any) -> Any:
    """What a codec returns, as text since NaN is not equal to itself; or where and why it refuses."""
    try:
        return repr(read(*arguments))
    except JuteError as error:
        return error.path, error.offset, error.reason


def fused_outcome(cls: Any, data: bytes) -> Any:
    """The fused codec alone: its value, or None where it refuses."""
    try:
        return repr(cls._decode(data, 0, len(data))[0])
    except (fused.Unfit, fused.StructError, ValueError):
        return None


# --- both codecs, on every record


@every_record
@some
@given(data=st.data())
def test_fused_encode_equals_construct_build(cls: Any, data: st.DataObject) -> None:
    record = data.draw(instances(cls))
    assert encode(record) == wire.build(record)


@every_record
@some
@given(data=st.data())
def test_both_codecs_decode_what_was_encoded(cls: Any, data: st.DataObject) -> None:
    record = data.draw(instances(cls))
    payload = encode(record)
    assert decode(cls, payload) == record
    assert wire.parse(cls, payload) == record


@every_record
@some
@given(data=st.data())
def test_both_codecs_agree_on_arbitrary_bytes(cls: Any, data: st.DataObject) -> None:
    payload = data.draw(st.binary(max_size=100))
    seen = outcome(wire.parse, cls, payload)
    assert outcome(decode, cls, payload) == seen
    assert fused_outcome(cls, payload) == (seen if isinstance(seen, str) else None)


@every_record_with_fields
@some
@given(data=st.data())
def test_both_codecs_agree_on_changed_bytes(cls: Any, data: st.DataObject) -> None:
    payload = encode(data.draw(instances(cls)))
    place = data.draw(st.integers(0, len(payload) - 1))
    length = st.integers(-(2**31), 2**31 - 1).map(struct.Struct(">i").pack)
    changed = payload[:place] + data.draw(st.binary(max_size=6) | length) + payload[place + 1 :]
    seen = outcome(wire.parse, cls, changed)
    assert outcome(decode, cls, changed) == seen
    assert fused_outcome(cls, changed) == (seen if isinstance(seen, str) else None)


@every_record
@some
@given(data=st.data())
def test_both_codecs_agree_on_bytes_cut_short_with_more_behind_them(cls: Any, data: st.DataObject) -> None:
    """The bytes behind `end` are the next frame's, and none of this record's."""
    payload = encode(data.draw(instances(cls)))
    end = data.draw(st.integers(0, len(payload)))
    seen = outcome(wire.parse, cls, payload[:end])
    assert outcome(lambda: decode_at(cls, b"before" + payload, 6, 6 + end)[0]) == seen


@every_record
@some
@given(data=st.data())
def test_decode_at_stops_behind_the_record(cls: Any, data: st.DataObject) -> None:
    # A trailing boolean takes the byte behind it where it was left out, by its nature.
    record = data.draw(instances(cls))
    assume(encode(record) == b"" or record[-1] is not None)
    payload = encode(record)
    assert decode_at(cls, b"xy" + payload + b"next", 2, 2 + len(payload) + 4) == (record, 2 + len(payload))


@every_record
@some
@given(data=st.data())
def test_spans_tile_the_bytes(cls: Any, data: st.DataObject) -> None:
    payload = encode(data.draw(instances(cls)))
    found, error = wire.spans(cls, payload)
    assert error is None
    assert [span.start for span in found] == [0, *(span.end for span in found)][: len(found)]
    assert (found[-1].end if found else 0) == len(payload)


@every_record
@some
@given(data=st.data())
def test_spans_stop_at_the_field_at_which_decode_refuses(cls: Any, data: st.DataObject) -> None:
    payload = encode(data.draw(instances(cls)))
    whole, _ = wire.spans(cls, payload)
    cut = data.draw(st.integers(0, len(payload)))
    found, error = wire.spans(cls, payload[:cut])
    with_error = outcome(decode, cls, payload[:cut])
    if isinstance(with_error, str):
        assert error is None
    else:
        assert error is not None
        assert (error.path, error.offset, error.reason) == with_error
        assert 0 < error.missing <= len(payload) - cut
        assert found == whole[: len(found)]
        assert (whole[len(found)].path, whole[len(found)].start) == (error.path, error.offset)


@every_record
def test_record_is_equal_by_class_and_fields(cls: Any) -> None:
    record, same = (cls(*range(len(cls.FIELDS))) for _ in range(2))
    assert record == same
    assert hash(record) == hash(same)
    assert record != tuple(record)
    assert tuple(record) != record


@every_record
def test_record_survives_copy_and_pickle(cls: Any) -> None:
    record = cls(*range(len(cls.FIELDS)))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(record, protocol)) == record
    assert type(copy.copy(record)) is cls
    assert copy.deepcopy(record) == record


# --- records


def test_records_of_two_classes_differ_with_the_same_fields() -> None:
    assert ExistsRequest("/a", False) != GetDataRequest("/a", False)
    assert len({ExistsRequest("/a", False), GetDataRequest("/a", False)}) == 2


def test_record_is_immutable() -> None:
    request = GetDataRequest("/a", False)
    with pytest.raises(AttributeError):
        request.path = "/b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        request.other = 1  # type: ignore[attr-defined]


def test_record_takes_its_fields_by_position_and_by_name() -> None:
    assert GetDataRequest(watch=True, path="/a") == GetDataRequest("/a", True)


@pytest.mark.parametrize("arguments", [(), ("/a",), ("/a", True, 1)])
def test_record_wants_exactly_its_fields(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"GetDataRequest.__new__\(\)"):
        GetDataRequest(*arguments)


def test_record_shows_its_fields() -> None:
    assert repr(ACL(31, Id("world", "anyone"))) == "ACL(perms=31, id=Id(scheme='world', id='anyone'))"


def test_record_replace_changes_some_fields_of_a_copy() -> None:
    request = GetDataRequest("/a", False)
    assert request.replace(watch=True) == GetDataRequest("/a", True)
    assert request == GetDataRequest("/a", False)


def test_record_replace_refuses_a_field_it_has_not() -> None:
    with pytest.raises(TypeError, match="version"):
        GetDataRequest("/a", False).replace(version=1)


def test_record_fields_are_its_declaration() -> None:
    assert [(field.name, str(field.type)) for field in CreateRequest.FIELDS] == [
        ("path", "ustring"),
        ("data", "buffer"),
        ("acl", "vector<ACL>"),
        ("flags", "int"),
    ]


def test_record_class_refuses_an_annotation_that_is_no_jute_type() -> None:
    with pytest.raises(TypeError, match="expected a Jute type or a Record class, got <class 'int'>"):
        type_of(int)


def test_type_of_finds_the_jute_type_among_other_annotations() -> None:
    assert str(type_of(Annotated[int, "a note", FixedType("int", "i")])) == "int"
    assert str(type_of(Annotated[ACL, "a note"])) == "ACL"
    with pytest.raises(TypeError, match="expected a Jute type or a Record class"):
        type_of(Annotated[int, "a note"])


def test_field_has_the_note_of_its_annotation() -> None:
    assert [(str(field.type), field.note) for field in Noted.FIELDS] == [
        ("long", "milliseconds"),
        ("ACL", "who"),
        ("vector<ustring>", "paths"),
        ("boolean", ""),
    ]
    assert decode(Noted, encode(noted := Noted(5, ACL(1, Id("world", "anyone")), ("/a",), True))) == noted


def test_codec_reads_a_stat_with_one_unpack() -> None:
    assert Stat.CODEC.count("unpack_qqqqiiiqiiq(") == 1
    assert "unpack" not in Stat.CODEC.replace("unpack_qqqqiiiqiiq(", "")


def test_wire_is_a_construct_struct_that_parses_on_its_own() -> None:
    container = DeleteRequest.WIRE.parse(bytes.fromhex("00 00 00 02  2f 61  ff ff ff ff"))
    assert isinstance(container, construct.Container)
    assert (container.path, container.version) == ("/a", -1)
    assert DeleteRequest.WIRE is DeleteRequest.WIRE


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


def test_decode_leaves_bytes_behind_the_record_alone() -> None:
    assert decode(MultiHeader, encode(MultiHeader(1, False, 0)) + b"more") == MultiHeader(1, False, 0)


def test_encode_takes_a_list_for_a_vector_and_a_bytearray_for_a_buffer() -> None:
    request = CreateRequest("/a", b"x", (ACL(1, Id("a", "b")),), 0)
    loose = CreateRequest("/a", bytearray(b"x"), [ACL(1, Id("a", "b"))], 0)  # type: ignore[arg-type]
    assert encode(loose) == wire.build(loose) == encode(request)


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


# --- what does not fit: decoding

ACL_RESPONSE = encode(GetACLResponse((ACL(31, Id("world", "anyone")), ACL(1, Id("ip", "::1"))), Stat(*range(11))))


@pytest.mark.parametrize(
    ("cut", "path", "offset"),
    [
        (0, "GetACLResponse.acl", 0),
        (6, "GetACLResponse.acl", 0),  # there is no room for two elements
        (30, "GetACLResponse.acl[1].perms", 27),
        (33, "GetACLResponse.acl[1].id.scheme", 31),
        (43, "GetACLResponse.acl[1].id.id", 37),
        (59, "GetACLResponse.stat.mzxid", 52),
        (111, "GetACLResponse.stat.pzxid", 104),
    ],
)
def test_jute_error_names_the_field_and_its_offset_where_bytes_are_cut(cut: int, path: str, offset: int) -> None:
    with pytest.raises(JuteError, match=f"at offset {offset}: ") as caught:
        decode(GetACLResponse, ACL_RESPONSE[:cut])
    assert (caught.value.path, caught.value.offset) == (path, offset)
    assert str(caught.value) == f"{path} at offset {offset}: {caught.value.reason}"


def test_jute_error_offset_counts_from_the_start_of_the_record() -> None:
    with pytest.raises(JuteError, match=r"^ExistsRequest\.watch at offset 6: boolean: "):
        decode_at(ExistsRequest, b"header" + bytes.fromhex("00 00 00 02  2f 61"), 6, 12)


def test_jute_error_survives_pickle() -> None:
    error = pickle.loads(pickle.dumps(JuteError("A.b", "reason", 3)))
    assert (str(error), error.path, error.reason, error.offset) == ("A.b at offset 3: reason", "A.b", "reason", 3)


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


@pytest.mark.rule(2)
def test_a_vector_of_elements_without_bytes_is_bounded_by_the_bytes_left() -> None:
    assert decode(Crowd, struct.pack(">i", 4) + b"four") == Crowd((Empty(),) * 4)
    with pytest.raises(JuteError, match=r"^Crowd\.members at offset 0: .*length 5 needs at least 5 bytes, 4 are left"):
        decode(Crowd, struct.pack(">i", 5) + b"four")


# --- what does not fit: encoding

# For a type checker, these calls are as wrong as they are meant to be.
loose: Any = records
EVERY_TYPE: Any = EveryType


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (loose.GetDataRequest(b"/a", False), "GetDataRequest.path: ustring takes str or None, not bytes b'/a'"),
        (loose.GetDataRequest("/a", 1), "GetDataRequest.watch: boolean takes True or False, not int 1"),
        (loose.GetDataRequest("/a", None), "GetDataRequest.watch: boolean takes True or False, not NoneType None"),
        (loose.SetDataRequest("/a", "x", 0), "SetDataRequest.data: buffer takes bytes or None, not str 'x'"),
        (
            loose.SetDataRequest("/a", memoryview(b""), -1),
            "SetDataRequest.data: buffer takes bytes or None, not memoryview <memory",
        ),
        (loose.DeleteRequest("/a", 2**31), "DeleteRequest.version: int takes a value of 4 bytes ("),
        (loose.DeleteRequest("/a", "1"), "DeleteRequest.version: int takes a value of 4 bytes ("),
        (
            loose.ConnectRequest(0, 2**63, 0, 0, b"", False),
            "ConnectRequest.last_zxid_seen: long takes a value of 8 bytes (",
        ),
        (loose.ConnectRequest(0, 0, 0, 0, b"", 0), "ConnectRequest.read_only: boolean takes True or False, not int 0"),
        (loose.SyncRequest("a\ud800"), "SyncRequest.path: ustring takes text that UTF-8 can carry ("),
        (
            loose.GetChildrenResponse("ab"),
            "GetChildrenResponse.children: vector<ustring> takes a tuple, a list or None, not ",
        ),
        (loose.GetChildrenResponse(("a", 1)), "GetChildrenResponse.children[1]: ustring takes str or None, not int 1"),
        (
            loose.GetChildrenResponse(loose.Id("a", "b")),
            "GetChildrenResponse.children: vector<ustring> takes a tuple, a list or None, not Id Id(",
        ),
        (
            loose.CreateRequest("/a", b"", (loose.ACL(31, loose.Id("world", 1)),), 0),
            "CreateRequest.acl[0].id.id: ustring takes str or None, not int 1",
        ),
        (
            loose.CreateRequest("/a", b"", (loose.ACL(31, ("world", "anyone")),), 0),
            "CreateRequest.acl[0].id: Id takes a Id, not tuple",
        ),
        (
            loose.CreateRequest("/a", b"", ((31, loose.Id("", "")),), 0),
            "CreateRequest.acl[0]: ACL takes a ACL, not tuple",
        ),
        (
            EVERY_TYPE(128, False, 0.0, 0.0, Empty(), (), (), (), ACL(0, Id("", "")), None),
            "EveryType.byte: byte takes a value of 1 byte (",
        ),
        (
            EVERY_TYPE(0, False, 1e300, 0.0, Empty(), (), (), (), ACL(0, Id("", "")), None),
            "EveryType.small: float takes a value of 4 bytes (",
        ),
        (
            EVERY_TYPE(0, False, 0.0, 0.0, (), (), (), (), ACL(0, Id("", "")), None),
            "EveryType.empty: Empty takes a Empty, not tuple ()",
        ),
        (
            EVERY_TYPE(0, False, 0.0, 0.0, Empty(), (1,), (), (), ACL(0, Id("", "")), None),
            "EveryType.flags[0]: boolean takes True or False, not int 1",
        ),
    ],
)
def test_encode_names_the_field_and_the_value_that_do_not_fit(record: Record, text: str) -> None:
    with pytest.raises(JuteError) as refused:
        encode(record)
    assert str(refused.value).startswith(text)
    assert refused.value.offset is None
    with pytest.raises(JuteError) as explained:
        wire.build(record)
    assert str(explained.value) == str(refused.value)


@every_record_with_fields
@some
@given(data=st.data())
def test_both_codecs_refuse_the_same_records(cls: Any, data: st.DataObject) -> None:
    """One field holds a value of some other type."""
    record = data.draw(instances(cls))
    place = data.draw(st.integers(0, len(record) - 1))
    odd = st.sampled_from([None, True, -1, 2**40, 2**70, 0.5, "x", "\ud800", b"x", (), ("a",), (None,), Id("", "")])
    changed = cls(*record[:place], data.draw(odd), *record[place + 1 :])
    assert outcome(encode, changed) == outcome(wire.build, changed)


# --- secrets

PASSWORD = b"a secret"
SECRETS = [
    records.ConnectRequest(0, 0, 10_000, 5, PASSWORD, False),
    records.ConnectResponse(0, 10_000, 5, PASSWORD, False),
    records.AuthPacket(0, "digest", PASSWORD),
    records.GetSASLRequest(PASSWORD),
    records.SetSASLRequest(PASSWORD),
    records.SetSASLResponse(PASSWORD),
]


@pytest.mark.parametrize("record", SECRETS, ids=lambda record: type(record).__name__)
def test_repr_of_a_record_says_of_a_secret_only_how_long_it_is(record: Record) -> None:
    assert "<8 bytes>" in repr(record)
    assert "secret" not in f"{record} {record!r} {[record]}"
    assert PASSWORD in tuple(record), "it is still there for who reads the field"


@pytest.mark.parametrize("value", ["a secret", memoryview(PASSWORD), 7], ids=["str", "memoryview", "int"])
@pytest.mark.parametrize("record", SECRETS, ids=lambda record: type(record).__name__)
def test_error_and_repr_name_only_the_type_of_a_secret_that_does_not_fit(record: Record, value: Any) -> None:
    (field,) = (field.name for field, held in zip(record.FIELDS, record) if held is PASSWORD)
    wrong = record.replace(**{field: value})
    with pytest.raises(JuteError) as refused:
        encode(wrong)
    name = type(value).__name__
    assert str(refused.value) == f"{type(record).__name__}.{field}: buffer takes bytes or None, not {name}"
    assert f"{field}=<{name}>" in repr(wrong)


def test_repr_of_a_secret_that_is_null_says_so() -> None:
    assert repr(records.GetSASLRequest(None)) == "GetSASLRequest(token=None)"


def test_every_field_that_dumps_show_as_dots_is_a_secret_of_its_record() -> None:
    secret = {
        f"{type(record).__name__}.{field.name}"
        for record in SECRETS
        for field in record.FIELDS
        if is_secret(field.type)
    }
    assert secret >= trace.SECRETS


# --- a codec that disagrees with its explanation is a defect, and says so


def test_encode_says_when_no_field_has_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SyncRequest, "_problem", lambda self: None)
    with pytest.raises(AssertionError, match=r"the codec of SyncRequest\(path=1\) failed without a problem"):
        encode(SyncRequest(1))  # type: ignore[arg-type]


def test_decode_says_when_only_the_fused_codec_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WatcherEvent, "_explain", lambda data: None)
    with pytest.raises(AssertionError, match=r"only the fused codec of .*WatcherEvent.* refuses these 5 bytes"):
        decode(WatcherEvent, b"short")


def test_decode_asks_a_sequence_of_records_to_explain_bytes_that_do_not_fit() -> None:
    class Sequence:
        @staticmethod
        def _decode(buffer: bytes, offset: int, end: int, /) -> tuple[Any, int]:
            raise fused.Unfit

        @classmethod
        def _explain(cls, data: bytes) -> None:
            raise JuteError("Sequence[0].header", "expected more", 7)

    with pytest.raises(JuteError, match=r"^Sequence\[0\]\.header at offset 7: expected more$"):
        decode(Sequence, b"")


def test_a_jute_type_of_no_kind_has_no_problem_to_tell() -> None:
    with pytest.raises(AssertionError, match="abstract"):
        JuteType().problem(1, "path")
