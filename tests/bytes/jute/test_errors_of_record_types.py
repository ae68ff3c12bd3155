"""What does not fit: errors name the field, its offset, and the value."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import pytest

from tests.support.records import Empty, EveryType, loose
from zkwire.jute import JuteError, Record, Vector, decode, decode_at, encode, wire
from zkwire.records import ACL, ExistsRequest, GetACLResponse, Id, Stat


class Crowd(Record):
    """Elements that take no bytes: their count would be bounded by nothing."""

    members: Vector[Empty]


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


@pytest.mark.rule(2)
def test_a_vector_of_elements_without_bytes_is_bounded_by_the_bytes_left() -> None:
    assert decode(Crowd, struct.pack(">i", 4) + b"four") == Crowd((Empty(),) * 4)
    with pytest.raises(JuteError, match=r"^Crowd\.members at offset 0: .*length 5 needs at least 5 bytes, 4 are left"):
        decode(Crowd, struct.pack(">i", 5) + b"four")


# --- what does not fit: encoding
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
