"""What the declarations say: all of it, under every name, with examples that are what they are said to be."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from tests.support import golden
from zkwire import records
from zkwire.codes import MAX_TTL_MS, AddWatchMode, CreateMode, ErrorCode, EventType, OpCode
from zkwire.explain import examples
from zkwire.explain.describe import RECORDS, described, everything, similar
from zkwire.explain.explained import explain
from zkwire.frames import Direction
from zkwire.jute import Record, decode, encode
from zkwire.operations import BY_OPCODE, CHECK, OPERATIONS, Operation
from zkwire.records import CreateTTLRequest


def the(name: str, kind: str) -> dict[str, Any]:
    (found,) = [each for each in described(name) if each["kind"] == kind]
    return found


def test_everything_is_there_once() -> None:
    names = [(each["kind"], each["name"]) for each in everything()]
    assert len(names) == len(set(names))
    assert {name for kind, name in names if kind == "operation"} == set(OPERATIONS)
    declared = {name for name, cls in vars(records).items() if inspect.isclass(cls) and issubclass(cls, Record)}
    assert {name for kind, name in names if kind == "record"} == (declared - {"Record"}) | {
        "MultiRequest",
        "MultiReadRequest",
        "MultiResponse",
    }
    assert {name for kind, name in names if kind == "error"} == {code.name for code in ErrorCode} - {"OK"}
    assert {name for kind, name in names if kind == "event"} == {kind.name for kind in EventType}
    assert {name for kind, name in names if kind == "mode"} == {mode.name for mode in CreateMode}
    assert {name for kind, name in names if kind == "watch mode"} == {mode.name for mode in AddWatchMode}
    assert {name for kind, name in names if kind == "word"} == {"xid", "zxid", "session", "watch"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("getData", [("operation", "getData")]),
        ("get_data", [("operation", "getData")]),
        ("GET-DATA", [("operation", "getData")]),
        ("4", [("operation", "getData")]),
        ("-11", [("operation", "closeSession")]),
        ("-101", [("error", "NO_NODE")]),
        ("-1", [("error", "SYSTEM_ERROR")]),
        ("NoNode", [("error", "NO_NODE")]),
        ("NoNodeError", [("error", "NO_NODE")]),
        ("NodeCreated", [("event", "NODE_CREATED")]),
        ("GetDataRequest", [("record", "GetDataRequest")]),
        ("get_data_request", [("record", "GetDataRequest")]),
        ("setWatches", [("operation", "setWatches"), ("record", "SetWatches")]),
        ("EphemeralSequential", [("mode", "EPHEMERAL_SEQUENTIAL")]),
        ("persistent-recursive", [("watch mode", "PERSISTENT_RECURSIVE")]),
        ("Zxid", [("word", "zxid")]),
        ("5", [("operation", "setData")]),
        ("nothing at all", []),
        ("10", []),
        ("", []),
    ],
)
def test_name_is_taken_in_any_spelling(name: str, expected: list[tuple[str, str]]) -> None:
    assert [(each["kind"], each["name"]) for each in described(name)] == expected


@pytest.mark.parametrize("row", BY_OPCODE.values(), ids=lambda row: row.name)
def test_example_of_an_operation_is_one(row: Operation) -> None:
    """A request first, then its reply. An example of sasl has as many of both as the login took."""
    shown = the(row.name, "operation")
    explained = list(explain(b"".join(map(bytes.fromhex, shown["example"]))))
    assert [each.problem for each in explained] == [""] * len(shown["example"])
    opcode = OpCode.MULTI if row is CHECK else row.opcode
    asked, *events, answered = explained
    assert (asked.readings[0].direction, asked.readings[0].opcode) == (Direction.SENT, opcode)
    assert (answered.readings[0].direction, answered.readings[0].opcode) == (Direction.RECEIVED, opcode)
    assert "OK" in answered.title.split()
    assert len(events) == {"setWatches": 4, "setWatches2": 4, "sasl": 2}.get(row.name, 0)
    assert row.name in [BY_OPCODE[span.value].name for span in asked.spans if span.path.endswith("Header.type")
                        and span.value in BY_OPCODE]  # fmt: skip
    assert re.fullmatch(r".+, recorded with ZooKeeper \d+\.\d+\.\d+", shown["example_of"])


@pytest.mark.parametrize("name", RECORDS)
def test_example_of_a_record_is_one(name: str) -> None:
    shown = the(name, "record")["example"]
    if name == "SetSASLRequest":
        assert shown == []  # no opcode carries it
        return
    (example,) = map(bytes.fromhex, shown)
    assert encode(decode(RECORDS[name], example)) == example


def test_example_of_create_ttl_harms_no_server() -> None:
    """Under other flags a ttl of -1 stops a server for good."""
    found = [decode(CreateTTLRequest, bytes.fromhex(examples.RECORDS["CreateTTLRequest"]))]
    for data in the("createTTL", "operation")["example"][:1]:
        found.append(decode(CreateTTLRequest, bytes.fromhex(data)[12:]))
    assert all(CreateMode(request.flags).has_ttl and 0 < request.ttl <= MAX_TTL_MS for request in found)


def test_operation_tells_its_fields_watches_and_errors() -> None:
    exists = the("exists", "operation")
    assert exists["request"]["fields"] == [
        {"name": "path", "type": "ustring", "note": ""},
        {
            "name": "watch",
            "type": "boolean",
            "note": "True sets a data watch, or an exist watch where there is no such znode",
        },
    ]
    assert exists["response"]["name"] == "ExistsResponse"
    assert exists["arms"] == [
        "a data watch, when watch is True and err is 0",
        "an exist watch, when watch is True and err is NO_NODE",
    ]
    assert [code["name"] for code in exists["errors"]] == ["BAD_ARGUMENTS", "NO_AUTH", "NO_NODE"]
    assert (exists["since"], exists["fires"]) == ("ever", [])
    create = the("createTTL", "operation")
    assert create["since"] == "3.5.3"
    assert create["fires"] == ["NODE_CREATED", "NODE_CHILDREN_CHANGED"]
    assert create["errors"][-1] == {"name": "NOT_READ_ONLY", "number": -119}
    assert the("addWatch", "operation")["arms"] == ["a persistent or a persistent recursive watch, as mode says"]
    assert the("ping", "operation")["request"] is None


def test_record_tells_the_notes_beside_its_fields_and_who_uses_it() -> None:
    notes = {field["name"]: field["note"] for field in the("Stat", "record")["fields"]}
    assert notes["czxid"] == "zxid of the create"
    assert notes["data_length"] == "bytes of data; 0 for null data too"
    assert {field["note"] for field in the("SetACLResponse", "record")["fields"]} == {""}
    assert the("GetDataResponse", "record")["used_by"] == ["getData", "reconfig"]
    assert the("MultiRequest", "record")["items"]["delete"] == "DeleteRequest"
    assert the("MultiResponse", "record")["items"]["error"] == "ErrorResponse"


def test_slip_is_answered_with_up_to_three_names() -> None:
    assert similar("getDatas")[:2] == ["getData", "setData"]
    assert similar("nonode")[0] == "NO_NODE"
    assert similar("NoNodeErrror")[0] == "NO_NODE"
    assert len(similar("getChildrn")) <= 3
    assert similar("4712") == []


def test_error_tells_which_operations_it_answers() -> None:
    assert the("NotEmpty", "error")["answers"] == ["delete"]
    assert "sync" in the("NotReadOnly", "error")["answers"]
    assert the("MarshallingError", "error")["any_operation"]
    assert the("RuntimeInconsistency", "error")["answers"] == ["multi"]
    assert the("ConnectionLoss", "error")["example"] == []  # no server sends it
    assert (the("NoNode", "error")["since"], the("QuotaExceeded", "error")["since"]) == ("ever", "3.7.0")


def test_event_tells_its_causes_and_who_sees_it() -> None:
    created = the("NodeCreated", "event")
    assert created["caused_by"] == ["create", "create2", "createContainer", "createTTL"]
    assert created["seen_by"] == ["exist", "persistent", "persistent recursive"]
    assert the("DataWatchRemoved", "event")["example"] == []


def test_every_error_of_a_real_server_is_told() -> None:
    """The golden frames are what real servers answered."""
    for shown in golden.load():
        if shown.kind != "reply" or not shown.err or shown.opcode not in BY_OPCODE:
            continue
        operation = the(BY_OPCODE[shown.opcode].name, "operation")
        listed = {code["number"] for code in operation["errors"] + operation["errors_of_any_operation"]}
        assert shown.err in listed, shown.id


def test_every_event_of_a_real_server_is_told() -> None:
    sent = {int.from_bytes(shown.payload[16:20], "big") for shown in golden.load() if shown.kind == "event"}
    assert sent == {each["number"] for each in everything() if each["kind"] == "event" and each["example"]}
