"""A frame in one sentence.

    The client asks the server to give the data and Stat of /app, and leaves a data watch (getData, xid 1).
    The server answers getData, xid 1: 5 bytes of data; version 0, no children.

A sentence is made from the values in the frame's records, and from the operations table. `zkwire describe` takes its
words for an operation from here.
"""

from __future__ import annotations

from typing import Any

from ..codes import AddWatchMode, CreateMode, ErrorCode, EventType, KeeperState, OpCode, WatcherType, Xid
from ..errors import BY_CODE
from ..multi import MultiSequence
from ..operations import BY_OPCODE
from ..records import (
    ConnectRequest,
    ConnectResponse,
    Create2Response,
    CreateResponse,
    GetACLResponse,
    GetAllChildrenNumberResponse,
    GetChildren2Response,
    GetChildrenResponse,
    GetDataResponse,
    GetEphemeralsResponse,
    ReplyHeader,
    SetSASLResponse,
    Stat,
    SyncResponse,
    WatcherEvent,
    WhoAmIResponse,
)
from ..text import counted, hexadecimal, name_of, plural, printable

#: What the client asks for, with the fields of the request.
_ASKS: dict[int, str] = {
    OpCode.CREATE: "create {path}, {mode}, with {data}",
    OpCode.DELETE: "delete {path}{version}",
    OpCode.EXISTS: "say whether {path} exists, and give its Stat",
    OpCode.GET_DATA: "give the data and Stat of {path}",
    OpCode.SET_DATA: "make {data} the data of {path}{version}",
    OpCode.GET_ACL: "give the ACL and Stat of {path}",
    OpCode.SET_ACL: "set the ACL of {path}{version}",
    OpCode.GET_CHILDREN: "name the children of {path}",
    OpCode.SYNC: "answer once it has applied all that the ensemble has committed so far (with the path {path})",
    OpCode.PING: "answer: a ping, which keeps the session alive",
    OpCode.GET_CHILDREN2: "name the children of {path}, and give its Stat",
    OpCode.CHECK: "check that {path} exists{and_version}, which is allowed only inside multi",
    OpCode.MULTI: "do {items}, all or none of them",
    OpCode.CREATE2: "create {path}, {mode}, with {data}, and give its Stat",
    OpCode.RECONFIG: "change the members of the ensemble, and give the new configuration",
    OpCode.CHECK_WATCHES: "say whether this connection has {watches} on {path}",
    OpCode.REMOVE_WATCHES: "remove {watches} from {path}",
    OpCode.CREATE_CONTAINER: (
        "create {path}, a container, which is deleted some time after its last child was, with {data}"
    ),
    OpCode.CREATE_TTL: "create {path}, {mode}, with {data} and a time to live of {ttl} ms",
    OpCode.MULTI_READ: "do {items}, each on its own",
    OpCode.AUTH: "give this connection an identity of the scheme {scheme}",
    OpCode.SET_WATCHES: "set the watches of an earlier connection again, and send the events since {relative_zxid}",
    OpCode.SASL: "take the next token of a SASL authentication",
    OpCode.GET_EPHEMERALS: "list this session's ephemeral znodes whose path begins with {prefix_path}",
    OpCode.GET_ALL_CHILDREN_NUMBER: "count all descendants of {path}",
    OpCode.SET_WATCHES2: (
        "set the watches of an earlier connection again, persistent ones too, and send the events since {relative_zxid}"
    ),
    OpCode.ADD_WATCH: "set a {add_mode} watch on {path}",
    OpCode.WHO_AM_I: "list the identities of this connection",
    OpCode.CLOSE_SESSION: "end the session, and delete its ephemeral znodes",
}

_EVENTS: dict[int, str] = {
    EventType.NODE_CREATED: "{path} was created",
    EventType.NODE_DELETED: "{path} was deleted",
    EventType.NODE_DATA_CHANGED: "the data of {path} was set",
    EventType.NODE_CHILDREN_CHANGED: "{path} got or lost a child",
}

_WATCHES = {
    WatcherType.CHILDREN: "child watches",
    WatcherType.DATA: "data watches",
    WatcherType.ANY: "watches of any kind",
    WatcherType.PERSISTENT: "a persistent watch",
    WatcherType.PERSISTENT_RECURSIVE: "a persistent recursive watch",
}


def purpose(opcode: int) -> str:
    """What an operation asks the server to do, with the names of its fields in capitals: "delete PATH"."""
    return _ASKS[opcode].format_map(_Names())


def sentence(types: tuple[Any, ...], records: list[Any], opcode: int | None, names: tuple[str, ...] = ()) -> str:
    """One sentence about a frame of these records.

    types: the records that it should have.
    records: those of them that fit its bytes.
    opcode: of the request, or of the request that a reply answers; None: not known, or there is none.
    names: the operations that a reply may answer, if it is not known which it answers.
    """
    found = {type(record): record for record in records}
    if types[:1] == (ConnectRequest,):
        text = _connect_request(found.get(ConnectRequest))
    elif types[:1] == (ConnectResponse,):
        text = _connect_response(found.get(ConnectResponse))
    elif WatcherEvent in types:
        text = _notification(found.get(ReplyHeader), found.get(WatcherEvent))
    elif types[:1] == (ReplyHeader,):
        text = _reply(found.get(ReplyHeader), records[1:], opcode, names)
    elif not records:
        text = "The beginning of a request."
    else:
        text = _request(records[0].xid, records[1:], records[0].type)
    return printable(text)


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        words = {
            "version": " if its version is VERSION",
            "and_version": " and has version VERSION",
            "items": "several operations",
            "add_mode": "persistent or persistent recursive",
            "watches": "watches of TYPE",
        }
        return words.get(name, name.upper())


class _Words(dict[str, str]):
    """The fields of a record as words."""

    def __init__(self, record: Any) -> None:
        super().__init__()
        self._record = record

    def __missing__(self, name: str) -> str:
        record = self._record
        if name == "items":
            return _count(len(record), "operation")
        if name == "mode":
            return name_of(CreateMode, record.flags).lower().replace("_", " ")
        if name == "add_mode":
            return name_of(AddWatchMode, record.mode).lower().replace("_", " ")
        if name == "watches":
            return _WATCHES.get(record.type, f"watches of type {record.type}")
        if name == "and_version":
            return "" if record.version == -1 else f" and has version {record.version}"
        value = getattr(record, name)
        if name == "data":
            return _data(value)
        if name == "version":
            return "" if value == -1 else f" if its version is {value}"
        if name == "relative_zxid":
            return hexadecimal(value)
        return "null" if value is None else str(value) or "''"


def _request(xid: int, body: list[Any], opcode: int) -> str:
    operation = BY_OPCODE.get(opcode)
    if operation is None:
        return f"The client asks for opcode {opcode}, xid {xid}, which is not an operation of clients."
    where = f"({operation.name}, xid {xid})"
    if opcode == OpCode.PING:
        odd = "" if xid == Xid.PING else f"; its xid is {xid}, but that of the answer will be -2"
        return f"A ping from the client: it keeps the session alive, and asks only for an answer{odd}."
    if operation.request is not None and not body:
        return f"The client sends {operation.name}, xid {xid}, with a body that cannot be read."
    asks = _ASKS[opcode].format_map(_Words(body[0] if body else None))
    watch = ""
    if operation.arms is not None and body[0].watch:
        watch = ", and leaves a " + " watch or, where there is none, an ".join(
            kind.value for kind in (operation.arms, operation.arms_on_no_node) if kind is not None
        )
        watch += " watch"
    return f"The client asks the server to {asks}{watch} {where}."


def _reply(header: Any, body: list[Any], opcode: int | None, names: tuple[str, ...]) -> str:
    if header is None:
        return "The beginning of a server's answer."
    what = f"xid {header.xid}"
    unknown = ""
    if opcode is not None:
        operation = BY_OPCODE.get(opcode)
        what = f"{operation.name if operation else f'opcode {opcode}'}, {what}"
    elif names:
        listed = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) <= 4 else "what was asked"
        unknown = f"; these bytes do not say {'which it was: ' + listed if len(names) <= 4 else listed}"
    if opcode == OpCode.PING and not header.err:
        return f"The server answers a ping: the session lives. The last zxid here is {hexadecimal(header.zxid)}."
    if header.xid == 0 and header.err == ErrorCode.NOT_READ_ONLY:
        return "A server in read-only mode refuses the session: it sends this in place of a ConnectResponse."
    if header.err:
        return f"The server answers {what}: {_error(header.err)}{unknown}."
    result = "; ".join(filter(None, (_result(record) for record in body))) or "done"
    return f"The server answers {what}: {result}{unknown}."


def _error(code: int) -> str:
    """The code with its name and its meaning: "NO_NODE (-101), the znode does not exist"."""
    name = name_of(ErrorCode, code)
    if name == str(code):
        return f"error {code}, which no server up to 3.9 has"
    cls = BY_CODE.get(code)
    meaning = first_sentence(cls.__doc__ or "") if cls is not None and "__doc__" in vars(cls) else ""
    return f"{name} ({code})" + (f", {meaning[0].lower()}{meaning[1:]}" if meaning else "")


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, in one line, without its full stop."""
    line = " ".join(text.split("\n\n")[0].split())
    return line.partition(". ")[0].rstrip(".")


def _result(record: Any) -> str:
    if isinstance(record, MultiSequence):
        failed = next(
            (i for i, item in enumerate(record) if item.header.type == OpCode.ERROR and item.header.err), None
        )
        if failed is None:
            return _count(len(record), "result")
        return f"{_count(len(record), 'result')}, and number {failed} is {_error(record[failed].header.err)}"
    by_type: dict[type[Any], str] = {
        CreateResponse: "created {path}",
        Create2Response: "created {path}; {stat}",
        GetDataResponse: "{data}; {stat}",
        GetChildrenResponse: "{children}",
        GetChildren2Response: "{children}; {stat}",
        GetACLResponse: "{acl}; {stat}",
        GetEphemeralsResponse: "{ephemerals}",
        GetAllChildrenNumberResponse: "{total_number}",
        SyncResponse: "{path} is synchronized",
        WhoAmIResponse: "{client_info}",
        SetSASLResponse: "{token}",
    }
    template = by_type.get(type(record))
    if template is None:
        stat = getattr(record, "stat", None)
        return "" if stat is None else _stat(stat)
    return template.format_map({field.name: _value(field.name, value) for field, value in zip(record.FIELDS, record)})


def _value(name: str, value: Any) -> str:
    if isinstance(value, Stat):
        return _stat(value)
    if name == "data":
        return _data(value)
    if name == "token":
        return (
            "no token: SASL is done, or not configured"
            if value is None
            else f"a token of {counted(len(value), 'byte')}"
        )
    nouns = {"children": "child", "acl": "entry", "ephemerals": "ephemeral znode", "client_info": "identity"}
    if name == "total_number":
        return counted(value, "descendant")
    if name in nouns:
        return _count(len(value or ()), nouns[name])
    return "null" if value is None else str(value)


def _stat(stat: Any) -> str:
    owner = f", ephemeral of session {hexadecimal(stat.ephemeral_owner)}" if stat.ephemeral_owner else ""
    return f"version {stat.version}, {_count(stat.num_children, 'child')}{owner}"


def _data(data: bytes | None) -> str:
    if data is None:
        return "null as data"
    return f"{_count(len(data), 'byte')} of data" if data else "empty data"


def _count(number: int, noun: str) -> str:
    return counted(number, noun) if number else f"no {plural(noun)}"


def _notification(header: Any, event: Any) -> str:
    if header is None or event is None:
        return "A notification, whose body cannot be read."
    if event.type not in _EVENTS:
        kind = name_of(EventType, event.type)
        return f"A notification of the event {kind} on {event.path}, which no server up to 3.9 sends."
    what = _EVENTS[event.type].format(path="null" if event.path is None else event.path)
    state = "" if event.state == KeeperState.SYNC_CONNECTED else f", in state {name_of(KeeperState, event.state)}"
    zxid = "" if header.zxid == -1 else f", by transaction {hexadecimal(header.zxid)}"
    return f"A watch fires: {what}{zxid}{state} ({name_of(EventType, event.type)})."


def _connect_request(request: Any) -> str:
    if request is None:
        return "A client's first frame, which cannot be read."
    session = f"to go on with session {hexadecimal(request.session_id)}" if request.session_id else "for a new session"
    read_only = "; a read-only server will do" if request.read_only else ""
    seen = f"; the last zxid it saw is {hexadecimal(request.last_zxid_seen)}" if request.last_zxid_seen else ""
    return f"A client connects, and asks {session} with a timeout of {request.time_out} ms{seen}{read_only}."


def _connect_response(response: Any) -> str:
    if response is None:
        return "A server's first frame, which cannot be read."
    if response.time_out <= 0:
        return "The server refuses the session: it is expired, closed or unknown, or the password is wrong."
    read_only = ", and is in read-only mode" if response.read_only else ""
    session = hexadecimal(response.session_id)
    return f"The server grants session {session} with a timeout of {response.time_out} ms{read_only}."
