"""Records as JSON: what each kind of value becomes."""

from __future__ import annotations

from typing import Any

import pytest

from zkwire.codes import CreateMode, OpCode
from zkwire.explain.plain import as_json, bytes_as_json, field_as_json
from zkwire.multi import MultiItem, MultiRequest, MultiResponse, item
from zkwire.records import (
    ACL,
    AuthPacket,
    CreateRequest,
    DeleteRequest,
    GetChildrenResponse,
    Id,
    MultiHeader,
    ReplyHeader,
    WatcherEvent,
)

WORLD = (ACL(31, Id("world", "anyone")),)


def test_lists_and_records_within_records_are_shown_in_json() -> None:
    record = CreateRequest("/a", None, WORLD, CreateMode.EPHEMERAL)
    acl = [{"perms": 31, "id": {"scheme": "world", "id": "anyone"}}]
    assert as_json(record) == {"path": "/a", "data": None, "acl": acl, "flags": 1}
    assert as_json(GetChildrenResponse(("b", "c"))) == {"children": ["b", "c"]}


def test_event_as_json_has_no_number_for_its_state() -> None:
    assert as_json(WatcherEvent(1, 3, "/a")) == {"type": 1, "state": "SYNC_CONNECTED", "path": "/a"}


@pytest.mark.parametrize(
    ("data", "shown"), [(None, None), (b"", ""), (b"text", "text"), (b"\xff\x00", {"base64": "/wA="})]
)
def test_bytes_are_text_where_they_can_be(data: bytes | None, shown: Any) -> None:
    assert bytes_as_json(data) == shown


def test_field_is_hexadecimal_where_servers_log_it_so() -> None:
    assert as_json(ReplyHeader(7, 0x100000009, 0)) == {"xid": 7, "zxid": "0x100000009", "err": 0}
    assert field_as_json("GetDataResponse.stat.czxid", 16) == "0x10"
    assert field_as_json("data", bytearray(b"x")) == "x"
    assert field_as_json("version", 16) == 16


def test_secret_is_its_size_unless_it_is_asked_for() -> None:
    packet = AuthPacket(0, "digest", b"user:password")
    assert as_json(packet) == {"type": 0, "scheme": "digest", "auth": "<13 bytes>"}
    assert as_json(packet, show_secrets=True)["auth"] == "user:password"


def test_multi_is_a_list_of_operations_and_of_results() -> None:
    assert as_json(MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", -1)),))) == [
        {"op": "delete", "path": "/a", "version": -1}
    ]
    assert as_json(MultiResponse((MultiItem(MultiHeader(OpCode.DELETE, False, 0), None),))) == [{"op": "delete"}]
