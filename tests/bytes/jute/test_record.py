"""Records: their fields, their equality, what they show, and secrets that they do not."""

from __future__ import annotations

import copy
import pickle
from typing import Annotated, Any

import construct
import pytest

from tests.support.records import every_record
from zkwire import records
from zkwire.explain import dump
from zkwire.jute import Boolean, JuteError, Long, Record, UString, Vector, decode, encode, fused
from zkwire.jute.types import is_secret, type_of
from zkwire.records import (
    ACL,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetDataRequest,
    Id,
    Stat,
    SyncRequest,
    WatcherEvent,
)


class Noted(Record):
    """Fields with a note, and one without."""

    time: Annotated[Long, "milliseconds"]
    acl: Annotated[ACL, "who"]
    paths: Annotated[Vector[UString], "paths"]
    flag: Boolean


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


def test_field_has_the_note_of_its_annotation() -> None:
    assert [(str(field.type), field.note) for field in Noted.FIELDS] == [
        ("long", "milliseconds"),
        ("ACL", "who"),
        ("vector<ustring>", "paths"),
        ("boolean", ""),
    ]
    assert decode(Noted, encode(noted := Noted(5, ACL(1, Id("world", "anyone")), ("/a",), True))) == noted


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
    assert secret >= dump.SECRETS


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


def test_codec_reads_a_stat_with_one_unpack() -> None:
    assert Stat.CODEC.count("unpack_qqqqiiiqiiq(") == 1
    assert "unpack" not in Stat.CODEC.replace("unpack_qqqqiiiqiiq(", "")


def test_wire_is_a_construct_struct_that_parses_on_its_own() -> None:
    container = DeleteRequest.WIRE.parse(bytes.fromhex("00 00 00 02  2f 61  ff ff ff ff"))
    assert isinstance(container, construct.Container)
    assert (container.path, container.version) == ("/a", -1)
    assert DeleteRequest.WIRE is DeleteRequest.WIRE


@every_record
def test_record_survives_copy_and_pickle(cls: Any) -> None:
    record = cls(*range(len(cls.FIELDS)))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(record, protocol)) == record
    assert type(copy.copy(record)) is cls
    assert copy.deepcopy(record) == record
