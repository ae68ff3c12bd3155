"""The operations table: one row for each operation, with all that client, server and tools know about it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from .codes import MAX_TTL_MS, AddWatchMode, CreateMode, ErrorCode, EventType, OpCode, WatcherType
from .jute import Decodable, Encodable
from .multi import MultiReadRequest, MultiRequest, MultiResponse
from .records import (
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    CheckWatchesRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    ErrorResponse,
    ExistsRequest,
    ExistsResponse,
    GetACLRequest,
    GetACLResponse,
    GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse,
    GetChildren2Request,
    GetChildren2Response,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    GetEphemeralsResponse,
    GetSASLRequest,
    ReconfigRequest,
    RemoveWatchesRequest,
    SetACLRequest,
    SetACLResponse,
    SetDataRequest,
    SetDataResponse,
    SetSASLResponse,
    SetWatches,
    SetWatches2,
    SyncRequest,
    SyncResponse,
    WhoAmIResponse,
)
from .text import folded


class WatcherKind(Enum):
    """What a watch waits for. Servers keep the first two in one table (`SERVER_TYPE`)."""

    DATA = "data"
    EXIST = "exist"  # for a znode that did not exist when the watch was set
    CHILD = "child"
    PERSISTENT = "persistent"
    PERSISTENT_RECURSIVE = "persistent recursive"


class Operation(NamedTuple):
    """One row of the table: what a client may ask for, and what a server does with it.

    opcode: RequestHeader.type. Source: ZooDefs.OpCode.
    name: ZooKeeper's name, "getData".
    request: the record after the RequestHeader; None: nothing follows it.
    response: the record after a ReplyHeader whose err is 0; None: nothing follows it.
    response_on_error: True: the response may follow a header with an error too (tests/frames:
        multiRead-delete-MarshallingError, sasl-AuthFailed).
    since: the first release that has the operation, "3.4.0"; "": every release has it. Source: ZooDefs.java of each.
    arms: the watch that a request with `watch` True sets when the reply's err is 0; None: it sets none. addWatch sets
        the one that its mode says (`ADD_WATCH_ARMS`), setWatches those that it lists. Source: FinalRequestProcessor.
    arms_on_no_node: the watch that it sets when err is NO_NODE. Only exists sets one (rule 48).
    writes: True: the leader gives the request a zxid of its own, and every server applies it. False for check: only
        the multi that holds it has a zxid. Source: PrepRequestProcessor.pRequest.
    fires: the events that it causes when it succeeds. NODE_CHILDREN_CHANGED is an event of the parent, every other one
        of the path itself. The path of reconfig is /zookeeper/config; closeSession has one for each ephemeral of the
        session. A multi causes the events of its operations. Source: DataTree.processTxn.
    errors: the codes that a server may refuse it with, in the order in which it checks. Source: PrepRequestProcessor,
        FinalRequestProcessor and DataTree of 3.9. Not listed: those of `ANY_OPERATION`, and NOT_READ_ONLY.
    not_in_read_only: True: a server in read-only mode refuses it with NOT_READ_ONLY. Source: ReadOnlyRequestProcessor.
    """

    opcode: OpCode
    name: str
    request: type[Encodable] | None
    response: type[Decodable] | None
    since: str = ""
    arms: WatcherKind | None = None
    arms_on_no_node: WatcherKind | None = None
    writes: bool = False
    fires: tuple[EventType, ...] = ()
    errors: tuple[ErrorCode, ...] = ()
    not_in_read_only: bool = False
    response_on_error: bool = False

    @property
    def in_multi(self) -> bool:
        """Whether multi may hold it."""
        return self.opcode in MultiRequest.BODIES

    @property
    def in_multi_read(self) -> bool:
        """Whether multiRead may hold it."""
        return self.opcode in MultiReadRequest.BODIES


_CREATED = (EventType.NODE_CREATED, EventType.NODE_CHILDREN_CHANGED)
_DELETED = (EventType.NODE_DELETED, EventType.NODE_CHILDREN_CHANGED)
_DATA_CHANGED = (EventType.NODE_DATA_CHANGED,)

_E = ErrorCode
_CREATE_ERRORS = (
    _E.BAD_ARGUMENTS,
    _E.EPHEMERAL_ON_LOCAL_SESSION,
    _E.INVALID_ACL,
    _E.NO_NODE,
    _E.NO_AUTH,
    _E.NODE_EXISTS,
    _E.NO_CHILDREN_FOR_EPHEMERALS,
    _E.QUOTA_EXCEEDED,
)
_CREATE_LASTING_ERRORS = tuple(code for code in _CREATE_ERRORS if code is not _E.EPHEMERAL_ON_LOCAL_SESSION)
# The first: from a server without zookeeper.extendedTypesEnabled.
_CREATE_TTL_ERRORS = (_E.UNIMPLEMENTED, *_CREATE_LASTING_ERRORS)
_DELETE_ERRORS = (_E.BAD_ARGUMENTS, _E.NO_AUTH, _E.NO_NODE, _E.BAD_VERSION, _E.NOT_EMPTY)
_SET_DATA_ERRORS = (_E.BAD_ARGUMENTS, _E.NO_NODE, _E.NO_AUTH, _E.QUOTA_EXCEEDED, _E.BAD_VERSION)
_SET_ACL_ERRORS = (_E.BAD_ARGUMENTS, _E.INVALID_ACL, _E.NO_NODE, _E.NO_AUTH, _E.BAD_VERSION)
_RECONFIG_ERRORS = (
    _E.RECONFIG_DISABLED,
    _E.UNIMPLEMENTED,  # from a standalone server
    _E.RECONFIG_IN_PROGRESS,
    _E.BAD_VERSION,
    _E.BAD_ARGUMENTS,
    _E.NEW_CONFIG_NO_QUORUM,
    _E.NO_AUTH,
)
_READ_ERRORS = (_E.NO_NODE, _E.NO_AUTH)

#: The codes that a server may refuse any operation with.
ANY_OPERATION = (_E.MARSHALLING_ERROR, _E.UNIMPLEMENTED, _E.SESSION_CLOSED_REQUIRE_SASL_AUTH, _E.THROTTLED_OP)

# A row takes a line or two here, so that the rows can be compared.
# fmt: off
CREATE = Operation(OpCode.CREATE, "create", CreateRequest, CreateResponse,
    writes=True, fires=_CREATED, errors=_CREATE_ERRORS, not_in_read_only=True)
DELETE = Operation(OpCode.DELETE, "delete", DeleteRequest, None,
    writes=True, fires=_DELETED, errors=_DELETE_ERRORS, not_in_read_only=True)
EXISTS = Operation(OpCode.EXISTS, "exists", ExistsRequest, ExistsResponse,
    arms=WatcherKind.DATA, arms_on_no_node=WatcherKind.EXIST, errors=(_E.BAD_ARGUMENTS, _E.NO_AUTH, _E.NO_NODE))
GET_DATA = Operation(OpCode.GET_DATA, "getData", GetDataRequest, GetDataResponse,
    arms=WatcherKind.DATA, errors=_READ_ERRORS)
SET_DATA = Operation(OpCode.SET_DATA, "setData", SetDataRequest, SetDataResponse,
    writes=True, fires=_DATA_CHANGED, errors=_SET_DATA_ERRORS, not_in_read_only=True)
GET_ACL = Operation(OpCode.GET_ACL, "getACL", GetACLRequest, GetACLResponse, errors=_READ_ERRORS)
SET_ACL = Operation(OpCode.SET_ACL, "setACL", SetACLRequest, SetACLResponse,
    writes=True, errors=_SET_ACL_ERRORS, not_in_read_only=True)
GET_CHILDREN = Operation(OpCode.GET_CHILDREN, "getChildren", GetChildrenRequest, GetChildrenResponse,
    arms=WatcherKind.CHILD, errors=_READ_ERRORS)
SYNC = Operation(OpCode.SYNC, "sync", SyncRequest, SyncResponse, not_in_read_only=True)
PING = Operation(OpCode.PING, "ping", None, None)
GET_CHILDREN2 = Operation(OpCode.GET_CHILDREN2, "getChildren2", GetChildren2Request, GetChildren2Response,
    since="3.3.0", arms=WatcherKind.CHILD, errors=_READ_ERRORS)
CHECK = Operation(OpCode.CHECK, "check", CheckVersionRequest, None,
    since="3.4.0", errors=(_E.BAD_ARGUMENTS, _E.NO_NODE, _E.NO_AUTH, _E.BAD_VERSION), not_in_read_only=True)
MULTI = Operation(OpCode.MULTI, "multi", MultiRequest, MultiResponse,
    since="3.4.0", writes=True, not_in_read_only=True)
CREATE2 = Operation(OpCode.CREATE2, "create2", CreateRequest, Create2Response,
    since="3.5.0", writes=True, fires=_CREATED, errors=_CREATE_ERRORS, not_in_read_only=True)
RECONFIG = Operation(OpCode.RECONFIG, "reconfig", ReconfigRequest, GetDataResponse,
    since="3.5.0", writes=True, fires=_DATA_CHANGED, errors=_RECONFIG_ERRORS, not_in_read_only=True)
CHECK_WATCHES = Operation(OpCode.CHECK_WATCHES, "checkWatches", CheckWatchesRequest, None,
    since="3.5.0", errors=(_E.NO_WATCHER,))
REMOVE_WATCHES = Operation(OpCode.REMOVE_WATCHES, "removeWatches", RemoveWatchesRequest, None,
    since="3.5.0", errors=(_E.NO_WATCHER,))
CREATE_CONTAINER = Operation(OpCode.CREATE_CONTAINER, "createContainer", CreateRequest, Create2Response,
    since="3.5.1", writes=True, fires=_CREATED, errors=_CREATE_LASTING_ERRORS, not_in_read_only=True)
CREATE_TTL = Operation(OpCode.CREATE_TTL, "createTTL", CreateTTLRequest, Create2Response,
    since="3.5.3", writes=True, fires=_CREATED, errors=_CREATE_TTL_ERRORS, not_in_read_only=True)
MULTI_READ = Operation(OpCode.MULTI_READ, "multiRead", MultiReadRequest, MultiResponse,
    since="3.6.0", response_on_error=True)
AUTH = Operation(OpCode.AUTH, "auth", AuthPacket, None, errors=(_E.AUTH_FAILED,))
SET_WATCHES = Operation(OpCode.SET_WATCHES, "setWatches", SetWatches, None)
SASL = Operation(OpCode.SASL, "sasl", GetSASLRequest, SetSASLResponse,
    since="3.4.0", errors=(_E.AUTH_FAILED,), response_on_error=True)
GET_EPHEMERALS = Operation(OpCode.GET_EPHEMERALS, "getEphemerals", GetEphemeralsRequest, GetEphemeralsResponse,
    since="3.6.0")
GET_ALL_CHILDREN_NUMBER = Operation(OpCode.GET_ALL_CHILDREN_NUMBER, "getAllChildrenNumber",
    GetAllChildrenNumberRequest, GetAllChildrenNumberResponse, since="3.6.0", errors=_READ_ERRORS)
SET_WATCHES2 = Operation(OpCode.SET_WATCHES2, "setWatches2", SetWatches2, None, since="3.6.0")
ADD_WATCH = Operation(OpCode.ADD_WATCH, "addWatch", AddWatchRequest, ErrorResponse, since="3.6.0")
WHO_AM_I = Operation(OpCode.WHO_AM_I, "whoAmI", None, WhoAmIResponse, since="3.7.0")
CLOSE_SESSION = Operation(OpCode.CLOSE_SESSION, "closeSession", None, None, writes=True, fires=_DELETED)
# fmt: on

_ROWS = (
    *(CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC, PING, GET_CHILDREN2, CHECK),
    *(MULTI, CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER, CREATE_TTL, MULTI_READ, AUTH),
    *(SET_WATCHES, SASL, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER, SET_WATCHES2, ADD_WATCH, WHO_AM_I, CLOSE_SESSION),
)

#: Every operation that a client may send, by opcode.
BY_OPCODE: dict[int, Operation] = {row.opcode: row for row in _ROWS}

#: The same by name: "getData".
OPERATIONS: dict[str, Operation] = {row.name: row for row in _ROWS}


def operation_name(opcode: int | None) -> str:
    """ZooKeeper's name of the operation; "opcode 99" if it has none. None gives "reply", since only replies can have an
    unknown operation."""
    if opcode is None:
        return "reply"
    return BY_OPCODE[opcode].name if opcode in BY_OPCODE else f"opcode {opcode:d}"


_OPCODES = {folded(row.name): row.opcode for row in _ROWS}


def opcode_named(name: str) -> int | None:
    """The opcode of the operation with this name, in any spelling ("getData", "get_data"). A number is taken as the
    opcode, known or not. None: no operation has this name."""
    return int(name) if name.lstrip("-").isdigit() else _OPCODES.get(folded(name))


#: The watch that addWatch arms, by its mode.
ADD_WATCH_ARMS = {
    AddWatchMode.PERSISTENT: WatcherKind.PERSISTENT,
    AddWatchMode.PERSISTENT_RECURSIVE: WatcherKind.PERSISTENT_RECURSIVE,
}

#: For each kind of watch, the events on its path that it sees. A recursive one sees them on all paths below it too.
SEES: dict[WatcherKind, tuple[EventType, ...]] = {
    WatcherKind.DATA: (EventType.NODE_DATA_CHANGED, EventType.NODE_DELETED),
    WatcherKind.EXIST: (EventType.NODE_CREATED,),
    WatcherKind.CHILD: (EventType.NODE_CHILDREN_CHANGED, EventType.NODE_DELETED),
    WatcherKind.PERSISTENT: (
        EventType.NODE_CREATED,
        EventType.NODE_DATA_CHANGED,
        EventType.NODE_CHILDREN_CHANGED,
        EventType.NODE_DELETED,
    ),
    WatcherKind.PERSISTENT_RECURSIVE: (EventType.NODE_CREATED, EventType.NODE_DATA_CHANGED, EventType.NODE_DELETED),
}

#: The table of the server in which a watch of each kind is kept.
SERVER_TYPE = {
    WatcherKind.DATA: WatcherType.DATA,
    WatcherKind.EXIST: WatcherType.DATA,
    WatcherKind.CHILD: WatcherType.CHILDREN,
    WatcherKind.PERSISTENT: WatcherType.PERSISTENT,
    WatcherKind.PERSISTENT_RECURSIVE: WatcherType.PERSISTENT_RECURSIVE,
}

#: For each table of the server, the events that a watch in it sees. The server does not know the kind of that watch.
TABLE_SEES: dict[WatcherType, frozenset[EventType]] = {
    table: frozenset(event for kind, its in SERVER_TYPE.items() if its is table for event in SEES[kind])
    for table in SERVER_TYPE.values()
}


def create_operation(mode: CreateMode, *, with_stat: bool) -> Operation:
    """The operation that creates a znode of this mode.

    Containers and TTL znodes have opcodes of their own. With another opcode the server does odd things: create with the
    flags of a container makes a persistent znode, and inside multi a container.
    """
    if mode is CreateMode.CONTAINER:
        return CREATE_CONTAINER
    if mode.has_ttl:
        return CREATE_TTL
    return CREATE2 if with_stat else CREATE


def problem(operation: Operation, request: Encodable | None, *, inside_multi: bool = False) -> str | None:
    """Why this request must not be sent, alone or as one operation of a multi; None: it may be sent."""
    if operation is CHECK and not inside_multi:
        return (
            "check is allowed only inside multi: alone, 3.8.0 never answers it and later servers close the connection"
        )
    if type(request) is not (operation.request or type(None)):
        wanted = "no record" if operation.request is None else operation.request.__name__
        return f"{operation.name} takes {wanted}, not {type(request).__name__}"
    content_problem = _CONTENT_PROBLEMS.get(type(request))
    return None if content_problem is None else content_problem(operation, request)


def _multi_problem(operation: Operation, request: MultiRequest | MultiReadRequest) -> str | None:
    for index, (header, body) in enumerate(request):
        if header.type not in request.BODIES:
            return f"{operation.name}[{index}]: opcode {header.type} is not allowed in {operation.name}"
        if header.done:
            return f"{operation.name}[{index}]: done marks the end: the server would not read the operations after it"
        if reason := problem(BY_OPCODE[header.type], body, inside_multi=True):
            return f"{operation.name}[{index}]: {reason}"
    return None


def _create_problem(operation: Operation, request: CreateRequest | CreateTTLRequest) -> str | None:
    if not isinstance(request.flags, int) or request.flags not in set(CreateMode):
        return f"{operation.name}: flags {request.flags!r} are not a CreateMode (0 to 6)"
    mode = CreateMode(request.flags)
    if operation.opcode is not create_operation(mode, with_stat=operation.opcode is OpCode.CREATE2).opcode:
        return f"{operation.name} does not take {mode.name}"
    if isinstance(request, CreateTTLRequest) and not (isinstance(request.ttl, int) and 1 <= request.ttl <= MAX_TTL_MS):
        # This protects servers: one that gets a ttl of -1 with other flags stops for good, since it cannot replay its
        # own log any more (seen with 3.8.0 and 3.9.4).
        return f"{operation.name}: ttl is 1 to {MAX_TTL_MS} ms, not {request.ttl!r}"
    if not request.acl:
        return f"{operation.name}: the ACL is empty"
    return None


#: Requests whose values can be wrong although their types are right.
_CONTENT_PROBLEMS: dict[type[Any], Callable[[Operation, Any], str | None]] = {
    CreateRequest: _create_problem,
    CreateTTLRequest: _create_problem,
    MultiRequest: _multi_problem,
    MultiReadRequest: _multi_problem,
}
