"""The operations table: what each opcode sends and gets, which watch it arms, since when, and where it may stand."""

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


class WatcherKind(Enum):
    """What a client waits for. The server knows the first two as one (both are in its data table)."""

    DATA = "data"
    EXIST = "exist"  # on a znode that did not exist when the watch was set
    CHILD = "child"
    PERSISTENT = "persistent"
    PERSISTENT_RECURSIVE = "persistent recursive"


class Operation(NamedTuple):
    """One row. `request` or `response` None: a header and nothing behind it.

    `arms` is the watch that a request with a watcher sets when the reply's err is 0, `arms_on_no_node` when it is
    NoNode (exists only; rule 48). addWatch arms by its mode (`ADD_WATCH_ARMS`).
    """

    opcode: OpCode
    name: str
    request: type[Encodable] | None
    response: type[Decodable] | None
    since: str = ""
    arms: WatcherKind | None = None
    arms_on_no_node: WatcherKind | None = None
    in_multi: bool = False
    in_multi_read: bool = False


_DATA, _EXIST, _CHILD = WatcherKind.DATA, WatcherKind.EXIST, WatcherKind.CHILD

CREATE = Operation(OpCode.CREATE, "create", CreateRequest, CreateResponse, in_multi=True)
DELETE = Operation(OpCode.DELETE, "delete", DeleteRequest, None, in_multi=True)
EXISTS = Operation(OpCode.EXISTS, "exists", ExistsRequest, ExistsResponse, "", _DATA, _EXIST)
GET_DATA = Operation(OpCode.GET_DATA, "getData", GetDataRequest, GetDataResponse, "", _DATA, in_multi_read=True)
SET_DATA = Operation(OpCode.SET_DATA, "setData", SetDataRequest, SetDataResponse, in_multi=True)
GET_ACL = Operation(OpCode.GET_ACL, "getACL", GetACLRequest, GetACLResponse)
SET_ACL = Operation(OpCode.SET_ACL, "setACL", SetACLRequest, SetACLResponse)
GET_CHILDREN = Operation(
    OpCode.GET_CHILDREN, "getChildren", GetChildrenRequest, GetChildrenResponse, "", _CHILD, in_multi_read=True
)
SYNC = Operation(OpCode.SYNC, "sync", SyncRequest, SyncResponse)
PING = Operation(OpCode.PING, "ping", None, None)
GET_CHILDREN2 = Operation(
    OpCode.GET_CHILDREN2, "getChildren2", GetChildren2Request, GetChildren2Response, "3.3.0", _CHILD
)
CHECK = Operation(OpCode.CHECK, "check", CheckVersionRequest, None, "3.4.0", in_multi=True)
MULTI = Operation(OpCode.MULTI, "multi", MultiRequest, MultiResponse, "3.4.0")
CREATE2 = Operation(OpCode.CREATE2, "create2", CreateRequest, Create2Response, "3.5.0", in_multi=True)
RECONFIG = Operation(OpCode.RECONFIG, "reconfig", ReconfigRequest, GetDataResponse, "3.5.0")
CHECK_WATCHES = Operation(OpCode.CHECK_WATCHES, "checkWatches", CheckWatchesRequest, None, "3.5.0")
REMOVE_WATCHES = Operation(OpCode.REMOVE_WATCHES, "removeWatches", RemoveWatchesRequest, None, "3.5.0")
CREATE_CONTAINER = Operation(
    OpCode.CREATE_CONTAINER, "createContainer", CreateRequest, Create2Response, "3.5.1", in_multi=True
)
CREATE_TTL = Operation(OpCode.CREATE_TTL, "createTTL", CreateTTLRequest, Create2Response, "3.5.3", in_multi=True)
MULTI_READ = Operation(OpCode.MULTI_READ, "multiRead", MultiReadRequest, MultiResponse, "3.6.0")
AUTH = Operation(OpCode.AUTH, "auth", AuthPacket, None)
SET_WATCHES = Operation(OpCode.SET_WATCHES, "setWatches", SetWatches, None)
SASL = Operation(OpCode.SASL, "sasl", GetSASLRequest, SetSASLResponse, "3.4.0")
GET_EPHEMERALS = Operation(OpCode.GET_EPHEMERALS, "getEphemerals", GetEphemeralsRequest, GetEphemeralsResponse, "3.6.0")
GET_ALL_CHILDREN_NUMBER = Operation(
    OpCode.GET_ALL_CHILDREN_NUMBER,
    "getAllChildrenNumber",
    GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse,
    "3.6.0",
)
SET_WATCHES2 = Operation(OpCode.SET_WATCHES2, "setWatches2", SetWatches2, None, "3.6.0")
ADD_WATCH = Operation(OpCode.ADD_WATCH, "addWatch", AddWatchRequest, ErrorResponse, "3.6.0")
WHO_AM_I = Operation(OpCode.WHO_AM_I, "whoAmI", None, WhoAmIResponse, "3.7.0")
CLOSE_SESSION = Operation(OpCode.CLOSE_SESSION, "closeSession", None, None)

#: What addWatch arms.
ADD_WATCH_ARMS = {
    AddWatchMode.PERSISTENT: WatcherKind.PERSISTENT,
    AddWatchMode.PERSISTENT_RECURSIVE: WatcherKind.PERSISTENT_RECURSIVE,
}

#: Every operation a client may send, by opcode.
BY_OPCODE: dict[int, Operation] = {row.opcode: row for row in list(globals().values()) if isinstance(row, Operation)}

#: The same by ZooKeeper's name: "getData".
OPERATIONS: dict[str, Operation] = {row.name: row for row in BY_OPCODE.values()}


def operation_name(opcode: int | None) -> str:
    """ZooKeeper's name of the operation, or its number; "reply" where it is not known, since only a reply does not say
    it."""
    if opcode is None:
        return "reply"
    return BY_OPCODE[opcode].name if opcode in BY_OPCODE else f"opcode {opcode:d}"


#: The events that each kind of watch sees: of its path, and a recursive one of all paths below it too.
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

#: The server's table for each kind.
SERVER_TYPE = {
    _DATA: WatcherType.DATA,
    _EXIST: WatcherType.DATA,
    _CHILD: WatcherType.CHILDREN,
    WatcherKind.PERSISTENT: WatcherType.PERSISTENT,
    WatcherKind.PERSISTENT_RECURSIVE: WatcherType.PERSISTENT_RECURSIVE,
}

#: The events that a watch in each of these tables sees. A server does not know why it stands there.
TABLE_SEES: dict[WatcherType, frozenset[EventType]] = {
    table: frozenset(event for kind, its in SERVER_TYPE.items() if its is table for event in SEES[kind])
    for table in SERVER_TYPE.values()
}

_CREATION = (EventType.NODE_CREATED, EventType.NODE_CHILDREN_CHANGED)

#: The events that an operation causes when it succeeds: NODE_CHILDREN_CHANGED of the parent, all others of the path.
FIRES: dict[int, tuple[EventType, ...]] = {
    OpCode.CREATE: _CREATION,
    OpCode.CREATE2: _CREATION,
    OpCode.CREATE_CONTAINER: _CREATION,
    OpCode.CREATE_TTL: _CREATION,
    OpCode.DELETE: (EventType.NODE_DELETED, EventType.NODE_CHILDREN_CHANGED),
    OpCode.SET_DATA: (EventType.NODE_DATA_CHANGED,),
    OpCode.RECONFIG: (EventType.NODE_DATA_CHANGED,),  # of /zookeeper/config
    OpCode.CLOSE_SESSION: (EventType.NODE_DELETED, EventType.NODE_CHILDREN_CHANGED),  # of the session's ephemerals
}

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
_READ_ERRORS = (_E.NO_NODE, _E.NO_AUTH)

#: What a server refuses an operation with, in the order in which it looks (PrepRequestProcessor, FinalRequestProcessor
#: and DataTree of 3.9). Not listed: `ANY_OPERATION`, and NOT_READ_ONLY of `NOT_IN_READ_ONLY_MODE`.
ERRORS: dict[int, tuple[ErrorCode, ...]] = {
    OpCode.CREATE: _CREATE_ERRORS,
    OpCode.CREATE2: _CREATE_ERRORS,
    OpCode.CREATE_CONTAINER: tuple(code for code in _CREATE_ERRORS if code is not _E.EPHEMERAL_ON_LOCAL_SESSION),
    OpCode.CREATE_TTL: (
        _E.UNIMPLEMENTED,  # where the server has no zookeeper.extendedTypesEnabled
        *(code for code in _CREATE_ERRORS if code is not _E.EPHEMERAL_ON_LOCAL_SESSION),
    ),
    OpCode.DELETE: (_E.BAD_ARGUMENTS, _E.NO_AUTH, _E.NO_NODE, _E.BAD_VERSION, _E.NOT_EMPTY),
    OpCode.SET_DATA: (_E.BAD_ARGUMENTS, _E.NO_NODE, _E.NO_AUTH, _E.QUOTA_EXCEEDED, _E.BAD_VERSION),
    OpCode.SET_ACL: (_E.BAD_ARGUMENTS, _E.INVALID_ACL, _E.NO_NODE, _E.NO_AUTH, _E.BAD_VERSION),
    OpCode.CHECK: (_E.BAD_ARGUMENTS, _E.NO_NODE, _E.NO_AUTH, _E.BAD_VERSION),
    OpCode.EXISTS: (_E.BAD_ARGUMENTS, _E.NO_AUTH, _E.NO_NODE),
    OpCode.GET_DATA: _READ_ERRORS,
    OpCode.GET_ACL: _READ_ERRORS,
    OpCode.GET_CHILDREN: _READ_ERRORS,
    OpCode.GET_CHILDREN2: _READ_ERRORS,
    OpCode.GET_ALL_CHILDREN_NUMBER: _READ_ERRORS,
    OpCode.CHECK_WATCHES: (_E.NO_WATCHER,),
    OpCode.REMOVE_WATCHES: (_E.NO_WATCHER,),
    OpCode.RECONFIG: (
        _E.RECONFIG_DISABLED,
        _E.UNIMPLEMENTED,  # by a standalone server
        _E.RECONFIG_IN_PROGRESS,
        _E.BAD_VERSION,
        _E.BAD_ARGUMENTS,
        _E.NEW_CONFIG_NO_QUORUM,
        _E.NO_AUTH,
    ),
    OpCode.AUTH: (_E.AUTH_FAILED,),
    OpCode.SASL: (_E.AUTH_FAILED,),
}

#: What any operation may be refused with.
ANY_OPERATION = (_E.MARSHALLING_ERROR, _E.UNIMPLEMENTED, _E.SESSION_CLOSED_REQUIRE_SASL_AUTH, _E.THROTTLED_OP)

#: What a server in read-only mode refuses, with NOT_READ_ONLY.
NOT_IN_READ_ONLY_MODE = frozenset(
    {
        OpCode.CREATE,
        OpCode.DELETE,
        OpCode.SET_DATA,
        OpCode.SET_ACL,
        OpCode.SYNC,
        OpCode.CHECK,
        OpCode.MULTI,
        OpCode.CREATE2,
        OpCode.RECONFIG,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
    }
)


def create_operation(mode: CreateMode, *, with_stat: bool) -> Operation:
    """The operation that creates a znode of this mode. Only containers and TTL znodes have opcodes of their own. Under
    another's the server does odd things: create with the flags of a container makes a persistent znode, but inside
    multi a container."""
    if mode is CreateMode.CONTAINER:
        return CREATE_CONTAINER
    if mode.has_ttl:
        return CREATE_TTL
    return CREATE2 if with_stat else CREATE


def problem(operation: Operation, request: Encodable | None, *, inside_multi: bool = False) -> str | None:
    """Why this request must not be sent, alone or as one operation of a multi; None when it may be."""
    if operation is CHECK and not inside_multi:
        return "check stands only inside multi: alone, 3.8.0 never answers it and later servers close the connection"
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
            return f"{operation.name}[{index}]: done marks the end; the server would not read on"
        if reason := problem(BY_OPCODE[header.type], body, inside_multi=True):
            return f"{operation.name}[{index}]: {reason}"
    return None


def _create_problem(operation: Operation, request: CreateRequest | CreateTTLRequest) -> str | None:
    if not isinstance(request.flags, int) or request.flags not in set(CreateMode):
        return f"{operation.name}: flags {request.flags!r} are no CreateMode (0 to 6)"
    mode = CreateMode(request.flags)
    if operation.opcode is not create_operation(mode, with_stat=operation.opcode is OpCode.CREATE2).opcode:
        return f"{operation.name} does not take {mode.name}"
    if isinstance(request, CreateTTLRequest) and not (isinstance(request.ttl, int) and 1 <= request.ttl <= MAX_TTL_MS):
        # Not a courtesy: a ttl of -1 under other flags stops a server for good, which cannot replay its own log then
        # (seen with 3.8.0 and 3.9.4).
        return f"{operation.name}: ttl is 1 to {MAX_TTL_MS} ms, not {request.ttl!r}"
    if not request.acl:
        return f"{operation.name}: the ACL is empty"
    return None


#: Requests whose contents can be wrong in ways that their types do not show.
_CONTENT_PROBLEMS: dict[type[Any], Callable[[Operation, Any], str | None]] = {
    CreateRequest: _create_problem,
    CreateTTLRequest: _create_problem,
    MultiRequest: _multi_problem,
    MultiReadRequest: _multi_problem,
}
