"""Requests from JSON, and the errors for JSON that is not a request."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from zkwire.codes import OpCode
from zkwire.explain.describe import RECORDS, described
from zkwire.explain.json_request import RequestError, request_from_json
from zkwire.jute import decode
from zkwire.multi import MultiItem, MultiRequest
from zkwire.operations import BY_OPCODE, Operation
from zkwire.records import (
    ACL,
    CreateRequest,
    DeleteRequest,
    GetDataRequest,
    GetSASLRequest,
    Id,
    MultiHeader,
    SetDataRequest,
    SetWatches,
)


def record(text: str) -> Any:
    return request_from_json(text)[1]


ANYONE = (ACL(31, Id("world", "anyone")),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"getData": {"path": "/a", "watch": true}}', GetDataRequest("/a", True)),
        ('{"get_data": {"path": "/a"}}', GetDataRequest("/a", False)),
        ('{"4": {"path": "/a"}}', GetDataRequest("/a", False)),
        ('{"getData": {"path": null}}', GetDataRequest(None, False)),
        ('{"setData": {"path": "/a", "data": "text\\u00e9"}}', SetDataRequest("/a", "texté".encode(), -1)),
        ('{"setData": {"path": "/a", "data": {"hex": "00ff"}}}', SetDataRequest("/a", b"\x00\xff", -1)),
        ('{"setData": {"path": "/a", "data": {"base64": "AP8="}, "version": 3}}', SetDataRequest("/a", b"\x00\xff", 3)),
        ('{"setData": {"path": "/a", "data": null}}', SetDataRequest("/a", None, -1)),
        ('{"create": {"path": "/a"}}', CreateRequest("/a", b"", ANYONE, 0)),
        (
            '{"create": {"path": "/a", "acl": [{"perms": 1, "id": {"scheme": "auth", "id": ""}}], "flags": 1}}',
            CreateRequest("/a", b"", (ACL(1, Id("auth", "")),), 1),
        ),
        (
            '{"setWatches": {"relative_zxid": 5, "data_watches": ["/a"], "exist_watches": [], "child_watches": []}}',
            SetWatches(5, ("/a",), (), ()),
        ),
        ('{"sasl": {"token": ""}}', GetSASLRequest(b"")),
        ('{"whoAmI": {}}', None),
        ('{"closeSession": null}', None),
        ('{"multi": []}', MultiRequest()),
        (
            '{"multi": [{"delete": {"path": "/a", "version": 2}}]}',
            MultiRequest((MultiItem(MultiHeader(OpCode.DELETE, False, -1), DeleteRequest("/a", 2)),)),
        ),
    ],
)
def test_request_is_made_of_json(text: str, expected: Any) -> None:
    assert record(text) == expected


def as_json(value: Any) -> Any:
    """The JSON of which this record is made."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if hasattr(value, "FIELDS"):
        return {field.name: as_json(item) for field, item in zip(value.FIELDS, value)}
    if isinstance(value, MultiRequest) or type(value).__name__ == "MultiReadRequest":
        return [{BY_OPCODE[header.type].name: as_json(body)} for header, body in value]
    return [as_json(item) for item in value] if isinstance(value, tuple) else value


#: ping and check must not be sent, and the flags of the example do not fit the other two.
OTHERS = {OpCode.PING, OpCode.CHECK, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL}


@pytest.mark.parametrize(
    "row", [row for row in BY_OPCODE.values() if row.opcode not in OTHERS], ids=lambda row: row.name
)
def test_every_operation_can_be_given_in_json(row: Operation) -> None:
    if row.request is None:
        assert request_from_json(json.dumps({row.name: {}})) == (row, None)
        return
    example = next(each for each in described(row.request.__name__) if each["kind"] == "record")["example"][0]
    made: Any = decode(RECORDS[row.request.__name__], bytes.fromhex(example))
    if row.opcode == OpCode.MULTI:
        made = MultiRequest((MultiItem(MultiHeader(OpCode.DELETE, False, -1), DeleteRequest("/a", -1)),))
    operation, found = request_from_json(json.dumps({row.name: as_json(made)}))
    assert (operation, found) == (row, made)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "this is not JSON"),
        ("{", "this is not JSON"),
        ("[]", 'the request is an object of one operation, {"getData": {"path": "/a"}}, not []'),
        ('{"getData": {}, "exists": {}}', "object of one operation"),
        ('{"getDatum": {}}', "'getDatum' is not an operation; there are addWatch, auth"),
        ('{"getData": 5}', "getData is an object with path, watch, not 5"),
        ('{"getData": {}}', "getData lacks path"),
        ('{"getData": {"path": "/a", "wotch": 1}}', "getData has no field 'wotch'; it has path, watch"),
        ('{"getData": {"path": "/a", "watch": 1}}', "getData.watch: boolean takes True or False, not int 1"),
        ('{"getData": {"path": 5}}', "getData.path: ustring takes str or None, not int 5"),
        ('{"setData": {"path": "/a", "data": 5}}', "setData.data: buffer takes bytes or None, not int 5"),
        ('{"setData": {"path": "/a", "data": {"hex": "0"}}}', "setData.data is not hex: '0'"),
        ('{"setData": {"path": "/a", "data": {"base64": "?"}}}', "setData.data is not base64: '?'"),
        ('{"setData": {"path": "/a", "data": {"rot13": "?"}}}', "setData.data: buffer takes"),
        ('{"setData": {"path": "/a", "version": 4294967296}}', "setData.version: int takes a value of 4 bytes"),
        ('{"create": {"path": "/a", "acl": {}}}', "create.acl: vector<ACL> takes"),
        ('{"create": {"path": "/a", "acl": [{"perms": 1}]}}', "create.acl[0] lacks id"),
        ('{"create": {"path": "/a", "acl": []}}', "create: the ACL is empty"),
        ('{"create": {"path": "/a", "flags": 9}}', "flags 9 are not a CreateMode"),
        ('{"createTTL": {"path": "/a", "ttl": -1, "flags": 5}}', "ttl is 1 to"),
        ('{"whoAmI": {"path": "/a"}}', 'whoAmI has no fields: it is {}, not {"path": "/a"}'),
        ('{"multi": {}}', "multi is a list of operations"),
        ('{"multi": [5]}', "multi[0] is an object of one operation"),
        ('{"multi": [{"getData": {"path": "/a"}}]}', "multi[0]: getData is not allowed in multi"),
        ('{"multi": [{"delete": {"path": "/a"}}, {"delete": {"pith": 1}}]}', "multi[1].delete has no field 'pith'"),
        ('{"check": {"path": "/a"}}', "check is allowed only inside multi"),
        ("[" * 5000, "the JSON is nested too deep"),
        ('{"a":' * 5000, "the JSON is nested too deep"),
        ('{"multi": ' + "[" * 900 + "]" * 900 + "}", "multi[0] is an object of one operation"),
        (
            '{"getData": {"path": "/a"}, "getData": {"path": "/b"}}',
            "an object of the JSON has the name 'getData' twice",
        ),
        ('{"getData": {"path": "/a", "path": "/b"}}', "an object of the JSON has the name 'path' twice"),
        ('{"getData": {"path": "\\ud800"}}', "getData.path: ustring takes text that UTF-8 can carry"),
    ],
)
def test_what_is_wrong_with_it_is_named(text: str, reason: str) -> None:
    with pytest.raises(RequestError) as refused:
        request_from_json(text)
    assert reason in str(refused.value)
