"""The operations table: complete, named as ZooKeeper names things, and what must not be sent."""

from __future__ import annotations

import re
from typing import Any

import pytest

from zkwire import operations, records
from zkwire.codes import MAX_TTL_MS, CreateMode, EventType, OpCode
from zkwire.jute import Record
from zkwire.multi import MultiReadRequest, MultiRequest, MultiResponse, item
from zkwire.operations import (
    BY_OPCODE,
    CHECK,
    OPERATIONS,
    Operation,
    WatcherKind,
    create_operation,
    opcode_named,
    problem,
)
from zkwire.records import (
    ACL,
    CheckVersionRequest,
    Create2Response,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    ErrorResponse,
    ExistsRequest,
    GetDataRequest,
    GetDataResponse,
    Id,
    SetACLRequest,
    SetDataRequest,
)

#: Opcodes that no client sends.
NEVER_SENT = {OpCode.DELETE_CONTAINER, OpCode.CREATE_SESSION, OpCode.ERROR}

#: Requests that are not named as their operation. None: a header alone.
ODD_REQUESTS: dict[str, Any] = {
    "ping": None,
    "closeSession": None,
    "whoAmI": None,
    "create2": CreateRequest,
    "createContainer": CreateRequest,
    "check": CheckVersionRequest,
    "multi": MultiRequest,
    "multiRead": MultiReadRequest,
    "auth": records.AuthPacket,
    "setWatches": records.SetWatches,
    "setWatches2": records.SetWatches2,
    "sasl": records.GetSASLRequest,
}

#: Responses that are not named as their operation. None: err says all.
ODD_RESPONSES: dict[str, Any] = {
    **dict.fromkeys(["delete", "ping", "auth", "setWatches", "setWatches2", "checkWatches", "removeWatches"]),
    **dict.fromkeys(["closeSession", "check"]),
    "createContainer": Create2Response,
    "createTTL": Create2Response,
    "reconfig": GetDataResponse,
    "multi": MultiResponse,
    "multiRead": MultiResponse,
    "sasl": records.SetSASLResponse,
    "addWatch": ErrorResponse,
}

#: The first release with the operation, where it was not there from the first.
SINCE = {
    "getChildren2": "3.3.0",
    **dict.fromkeys(["check", "multi", "sasl"], "3.4.0"),
    **dict.fromkeys(["create2", "reconfig", "checkWatches", "removeWatches"], "3.5.0"),
    "createContainer": "3.5.1",
    "createTTL": "3.5.3",
    **dict.fromkeys(["multiRead", "getEphemerals", "getAllChildrenNumber", "setWatches2", "addWatch"], "3.6.0"),
    "whoAmI": "3.7.0",
}

every_operation = pytest.mark.parametrize("row", BY_OPCODE.values(), ids=lambda row: row.name)

OPEN = (ACL(31, Id("world", "anyone")),)


def record_named(name: str) -> Any:
    """`getData` and "Request" make GetDataRequest."""
    return getattr(records, name[0].upper() + name[1:])


# --- the table


def test_table_has_every_opcode_that_a_client_may_send() -> None:
    assert set(BY_OPCODE) == set(OpCode) - NEVER_SENT


@every_operation
def test_operation_is_found_by_opcode_and_by_name(row: Operation) -> None:
    assert BY_OPCODE[row.opcode] is row
    assert OPERATIONS[row.name] is row
    assert getattr(operations, row.opcode.name) is row


@every_operation
def test_operation_is_named_as_its_opcode(row: Operation) -> None:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", row.name).upper()
    assert snake == row.opcode.name


@every_operation
def test_operation_sends_the_record_named_as_itself(row: Operation) -> None:
    expected = ODD_REQUESTS[row.name] if row.name in ODD_REQUESTS else record_named(row.name + "Request")
    assert row.request is expected


@every_operation
def test_operation_gets_the_record_named_as_itself(row: Operation) -> None:
    expected = ODD_RESPONSES[row.name] if row.name in ODD_RESPONSES else record_named(row.name + "Response")
    assert row.response is expected


@every_operation
def test_operation_knows_its_first_release(row: Operation) -> None:
    assert row.since == SINCE.get(row.name, "")


@every_operation
def test_operation_stands_in_multi_where_multi_carries_its_request(row: Operation) -> None:
    for inside, sequence in [(row.in_multi, MultiRequest), (row.in_multi_read, MultiReadRequest)]:
        assert inside == (row.opcode in sequence.BODIES)
        if inside:
            assert sequence.BODIES[row.opcode] is row.request


@pytest.mark.rule(48)
def test_only_reads_arm_a_one_shot_watch_and_only_exists_does_on_no_node() -> None:
    assert {
        row.name: (row.arms, row.arms_on_no_node) for row in BY_OPCODE.values() if row.arms or row.arms_on_no_node
    } == {
        "exists": (WatcherKind.DATA, WatcherKind.EXIST),
        "getData": (WatcherKind.DATA, None),
        "getChildren": (WatcherKind.CHILD, None),
        "getChildren2": (WatcherKind.CHILD, None),
    }


def test_every_request_record_belongs_to_an_operation() -> None:
    requests = {cls for name, cls in vars(records).items() if name.endswith("Request")}
    unused = requests - {row.request for row in BY_OPCODE.values()}
    # ConnectRequest is the handshake; nobody sends SetSASLRequest, which zookeeper.jute declares.
    assert unused == {records.ConnectRequest, records.SetSASLRequest}


@pytest.mark.parametrize("with_stat", [False, True])
@pytest.mark.parametrize(
    ("mode", "opcode"),
    [
        (CreateMode.PERSISTENT, None),
        (CreateMode.EPHEMERAL, None),
        (CreateMode.PERSISTENT_SEQUENTIAL, None),
        (CreateMode.EPHEMERAL_SEQUENTIAL, None),
        (CreateMode.CONTAINER, OpCode.CREATE_CONTAINER),
        (CreateMode.PERSISTENT_WITH_TTL, OpCode.CREATE_TTL),
        (CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, OpCode.CREATE_TTL),
    ],
)
def test_create_operation_has_the_opcode_of_the_mode(mode: CreateMode, opcode: OpCode | None, with_stat: bool) -> None:
    plain = OpCode.CREATE2 if with_stat else OpCode.CREATE
    assert create_operation(mode, with_stat=with_stat).opcode is (opcode or plain)


# --- what must not be sent


def create(flags: Any = 0, acl: Any = OPEN) -> CreateRequest:
    return CreateRequest("/a", b"", acl, flags)


def create_ttl(flags: int = 5, ttl: Any = 1000, acl: Any = OPEN) -> CreateTTLRequest:
    return CreateTTLRequest("/a", b"", acl, flags, ttl)


@pytest.mark.rule(82)
def test_check_alone_is_refused() -> None:
    reason = problem(CHECK, CheckVersionRequest("/a", 0))
    assert reason is not None
    assert reason.startswith("check is allowed only inside multi")


def test_check_inside_multi_may_be_sent() -> None:
    assert problem(OPERATIONS["multi"], MultiRequest((item(OpCode.CHECK, CheckVersionRequest("/a", 0)),))) is None


@pytest.mark.parametrize(
    ("name", "request_record"),
    [
        ("ping", None),
        ("whoAmI", None),
        ("delete", DeleteRequest("/a", -1)),
        *[("create", create(flags)) for flags in (0, 1, 2, 3)],
        *[("create2", create(flags)) for flags in (0, 1, 2, 3)],
        ("createContainer", create(4)),
        *[("createTTL", create_ttl(flags, ttl)) for flags in (5, 6) for ttl in (1, MAX_TTL_MS)],
        ("multi", MultiRequest()),
        ("multiRead", MultiReadRequest()),
        ("multi", MultiRequest((item(OpCode.CREATE_TTL, create_ttl()), item(OpCode.DELETE, DeleteRequest("/a", 0))))),
        ("multiRead", MultiReadRequest((item(OpCode.GET_DATA, GetDataRequest("/a", False)),))),
    ],
)
def test_a_right_request_may_be_sent(name: str, request_record: Record | None) -> None:
    assert problem(OPERATIONS[name], request_record) is None


@pytest.mark.parametrize(
    ("name", "request_record", "reason"),
    [
        ("getData", ExistsRequest("/a", False), "getData takes GetDataRequest, not ExistsRequest"),
        ("getData", None, "getData takes GetDataRequest, not NoneType"),
        ("ping", DeleteRequest("/a", -1), "ping takes no record, not DeleteRequest"),
        ("createTTL", create(), "createTTL takes CreateTTLRequest, not CreateRequest"),
        ("multi", MultiReadRequest(), "multi takes MultiRequest, not MultiReadRequest"),
    ],
)
def test_a_record_of_another_operation_is_refused(name: str, request_record: Any, reason: str) -> None:
    assert problem(OPERATIONS[name], request_record) == reason


@pytest.mark.parametrize("flags", [-1, 7, 255, None, "0", 1.0])
@pytest.mark.parametrize("name", ["create", "create2", "createContainer"])
def test_flags_that_are_no_create_mode_are_refused(name: str, flags: Any) -> None:
    assert problem(OPERATIONS[name], create(flags)) == f"{name}: flags {flags!r} are not a CreateMode (0 to 6)"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *[("create", mode) for mode in (4, 5, 6)],
        *[("create2", mode) for mode in (4, 5, 6)],
        *[("createContainer", mode) for mode in (0, 1, 2, 3, 5, 6)],
    ],
)
def test_a_mode_under_anothers_opcode_is_refused(name: str, mode: int) -> None:
    assert problem(OPERATIONS[name], create(mode)) == f"{name} does not take {CreateMode(mode).name}"


@pytest.mark.parametrize("ttl", [-1, 0, 1, 1000])
@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4])
def test_create_ttl_with_another_mode_is_refused_since_it_can_stop_a_server(mode: int, ttl: int) -> None:
    reason = f"createTTL does not take {CreateMode(mode).name}"
    assert problem(OPERATIONS["createTTL"], create_ttl(mode, ttl)) == reason
    inside = MultiRequest((item(OpCode.CREATE_TTL, create_ttl(mode, ttl)),))
    assert problem(OPERATIONS["multi"], inside) == f"multi[0]: {reason}"


@pytest.mark.parametrize("ttl", [-1, 0, MAX_TTL_MS + 1, 1.5, None])
@pytest.mark.parametrize("mode", [5, 6])
def test_a_time_to_live_out_of_range_is_refused(mode: int, ttl: Any) -> None:
    reason = f"createTTL: ttl is 1 to 1099511627775 ms, not {ttl!r}"
    assert problem(OPERATIONS["createTTL"], create_ttl(mode, ttl)) == reason
    inside = MultiRequest((item(OpCode.CREATE_TTL, create_ttl(mode, ttl)),))
    assert problem(OPERATIONS["multi"], inside) == f"multi[0]: {reason}"


@pytest.mark.parametrize("acl", [(), None, []])
@pytest.mark.parametrize(("name", "make"), [("create", create), ("createTTL", create_ttl)])
def test_an_empty_acl_is_refused(name: str, make: Any, acl: Any) -> None:
    assert problem(OPERATIONS[name], make(acl=acl)) == f"{name}: the ACL is empty"


@pytest.mark.parametrize("opcode", sorted(set(OpCode) - set(MultiRequest.BODIES)))
def test_multi_refuses_an_opcode_that_it_does_not_carry(opcode: OpCode) -> None:
    request = MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", -1)), item(opcode, SetACLRequest("/a", OPEN, -1))))
    assert problem(OPERATIONS["multi"], request) == f"multi[1]: opcode {opcode} is not allowed in multi"


@pytest.mark.parametrize("opcode", sorted(set(OpCode) - set(MultiReadRequest.BODIES)))
def test_multi_read_refuses_an_opcode_that_it_does_not_carry(opcode: OpCode) -> None:
    request = MultiReadRequest((item(opcode, ExistsRequest("/a", False)),))
    assert problem(OPERATIONS["multiRead"], request) == f"multiRead[0]: opcode {opcode} is not allowed in multiRead"


def test_multi_refuses_a_record_of_another_operation() -> None:
    request = MultiRequest((item(OpCode.DELETE, SetDataRequest("/a", b"", -1)),))
    assert problem(OPERATIONS["multi"], request) == "multi[0]: delete takes DeleteRequest, not SetDataRequest"


def test_multi_refuses_an_item_that_marks_the_end() -> None:
    last = item(OpCode.DELETE, DeleteRequest("/a", -1))
    early = last._replace(header=last.header.replace(done=True))
    reason = "multi[0]: done marks the end: the server would not read the operations after it"
    assert problem(OPERATIONS["multi"], MultiRequest((early, last))) == reason


# --- names, events and errors


@pytest.mark.parametrize(
    ("opcode", "name"),
    [(4, "getData"), (-11, "closeSession"), (OpCode.ERROR, "opcode -1"), (99, "opcode 99"), (None, "reply")],
)
def test_operation_has_a_name(opcode: int | None, name: str) -> None:
    assert operations.operation_name(opcode) == name


def test_watches_see_what_operations_fire() -> None:
    fired = {kind for row in BY_OPCODE.values() for kind in row.fires}
    seen = {kind for kinds in operations.SEES.values() for kind in kinds}
    assert fired == seen
    assert set(operations.SEES) == set(WatcherKind)


@every_operation
def test_operation_names_each_of_its_errors_once_and_none_that_any_operation_has(row: Operation) -> None:
    assert len(set(row.errors)) == len(row.errors)
    # createTTL and reconfig have a reason of their own for it, and name that.
    assert {code.name for code in row.errors if code in operations.ANY_OPERATION} <= {"UNIMPLEMENTED"}


def test_operations_that_write_are_those_that_take_a_zxid() -> None:
    assert {row.name for row in BY_OPCODE.values() if row.writes} == {
        *("create", "create2", "createContainer", "createTTL", "delete", "setData", "setACL"),
        *("multi", "reconfig", "closeSession"),
    }


@every_operation
def test_only_a_write_fires_events_and_each_but_set_acl_and_multi_does(row: Operation) -> None:
    assert bool(row.fires) == (row.writes and row.name not in ("setACL", "multi"))
    assert (EventType.NODE_CREATED in row.fires) == row.name.startswith("create")


@every_operation
def test_a_server_in_read_only_mode_refuses_writes_sync_and_check_but_not_close_session(row: Operation) -> None:
    refused = (row.writes or row.name in ("sync", "check")) and row.name != "closeSession"
    assert row.not_in_read_only == refused


@every_operation
def test_operation_is_named_in_any_spelling(row: Operation) -> None:
    snake = row.opcode.name
    for spelling in (row.name, snake, snake.lower(), snake.lower().replace("_", "-"), str(int(row.opcode))):
        assert opcode_named(spelling) == row.opcode


def test_name_of_no_operation_is_none() -> None:
    assert opcode_named("getDatum") is None
    assert opcode_named("99") == 99
