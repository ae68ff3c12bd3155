"""What session.html says: why each frame is sent, and what the bytes of each field mean there.

The page shows each field's note from zkwire/records.py first, so unit, enum and range are not repeated here. A field
without a sentence here is an error: every byte of the page is explained.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from zkwire.codes import CreateMode, ErrorCode, EventType, Perms, Xid
from zkwire.explain.describe import RECORDS
from zkwire.operations import BY_OPCODE

#: The names of the clients, by connection.
NAMES = {0: "worker", 1: "observer", 2: "worker, again"}

#: Why each frame is sent, in the order of the recording.
STORY = [
    "A worker opens a TCP connection and sends this first. It is the only kind of request without a header. The server "
    "knows it by its place: it comes first.",
    "The server grants the session. A client needs only its id and password to resume it on another connection.",
    "The worker registers itself. The znode is ephemeral: the server deletes it when the worker's session ends.",
    "The reply has the path, since the server chooses that of a sequential znode. This one is the path of the request.",
    "An observer, with its own TCP connection and session, wants to know where the worker is.",
    "The observer asked for a longer timeout, so it may be silent for longer.",
    "The observer reads the worker's znode. The byte at the end sets a watch: the next change causes one event.",
    "The data and the metadata in one reply. The watch is set from now on.",
    "The worker moves to another port. The version means: only if nobody else has changed the znode since.",
    "The new metadata: the version is higher by one, and mzxid is the transaction that set the data.",
    "This frame answers no request: the watch has fired. It says what happened to which znode, not the new data. "
    "The watch is used up.",
    "So the observer reads again, and sets the next watch in the same request. This way it misses no change.",
    "The new data. The watch is set again.",
    "A ping: the worker has nothing to ask. Clients send one when they have sent nothing for a third of the timeout.",
    "The reply shows the client that the server lives. It carries the last transaction that this server knows.",
    "The worker sent nothing for two seconds. Its session expired, and the leader deleted its ephemeral znode. The "
    "observer gets this event. The worker only sees that its connection was closed.",
    "The worker comes back and wants to resume its session: the same first frame, now with the id and the password. It "
    "has no last zxid, since this worker has not kept it.",
    "The server refuses: a timeout of 0 means that the session is over. Then it closes the connection. The worker must "
    "begin a new session, and its znode does not come back.",
    "The observer reads once more, without a watch.",
    "There is no such znode. An error is a header with nothing after it. The connection stays open.",
    "The observer ends its session at once. If it only closed the connection, its ephemeral znodes would stay until "
    "the timeout.",
    "The last frame. The server closes the connection after it.",
]


def _opcode(value: int) -> str:
    return f"{value} is {BY_OPCODE[value].name}. It says which fields follow the header."


def _xid(value: int) -> str:
    if value == Xid.NOTIFICATION:
        return "-1 is reserved for notifications: this frame answers no request."
    if value == Xid.PING:
        return "-2 is reserved for pings."
    return "The reply has the same number, so the client knows which request it belongs to."


def _flags(value: int) -> str:
    return f"{value} is {CreateMode(value).name}."


def _err(value: int) -> str:
    if value:
        return f"{ErrorCode(value).name}: the request failed."
    return "The request succeeded."


def _event(value: int) -> str:
    return f"What happened: {EventType(value).name}."


def _perms(value: int) -> str:
    return f"Here: {', '.join(each.name or '' for each in Perms if each in Perms(value) and each is not Perms.ALL)}."


#: The sentence about a field, by "Record.field" or by the field's name alone; a function gets the value.
_FIELDS: dict[str, str | Callable[[Any], str]] = {
    "length": "Every frame begins with the count of the bytes after these four. The next frame starts after them.",
    # the handshake
    "protocol_version": "In every other frame the xid is here.",
    "last_zxid_seen": "A server that is behind it refuses the client, so the client never sees an older state.",
    "ConnectRequest.time_out": "How long the client wants to be allowed to be silent. The server clamps it to its own "
    "bounds.",
    "ConnectResponse.time_out": lambda value: (
        "The client derives from it when to ping and when to give up the server."
        if value
        else "The server sends 0 when the session was closed or is unknown, or the password is wrong."
    ),
    "ConnectRequest.session_id": lambda value: (
        "The client resumes this session." if value else "The client has no session yet."
    ),
    "ConnectResponse.session_id": lambda value: (
        "The id is the same on all servers. The session's ephemeral znodes carry it."
        if value
        else "There is no session."
    ),
    "ConnectRequest.passwd": "It proves that the session is the client's. Its length is in the four bytes before it.",
    "ConnectResponse.passwd": "Any client that has id and password can take over the session. The server computes the "
    "password from the id, so the id alone is enough. (This server ran for the recording only.)",
    "ConnectRequest.read_only": "Such a server takes no writes.",
    "ConnectResponse.read_only": "Some clients that do not send this byte fail when they receive it.",
    # headers
    "xid": _xid,
    "RequestHeader.type": _opcode,
    "ReplyHeader.zxid": "A transaction's number: the epoch of the leader in the upper half, a counter in the lower.",
    "err": _err,
    # requests and responses
    "path": "The znode. Strings are UTF-8, after four bytes with their length.",
    "CreateResponse.path": "The znode that was created.",
    "WatcherEvent.path": "The znode that has changed.",
    "data": "Any bytes, here an address as text. ZooKeeper does not look into them. Their length is in the four bytes "
    "before them; -1 means null.",
    "acl": "Who may do what. This is the number of elements of the list.",
    "perms": _perms,
    "scheme": '"world" has one id, "anyone". Other schemes are "digest", "ip", "x509", "sasl".',
    "id": "Everybody.",
    "flags": _flags,
    "watch": lambda value: "A watch is set. On the wire it is only this byte." if value else "No watch is set.",
    "SetDataRequest.version": "If the znode has another version, the reply is BAD_VERSION.",
    "WatcherEvent.type": _event,
    "state": "Clients use the other values for changes of their own state.",
    # Stat
    "czxid": "No two znodes have the same one, so it distinguishes a znode from a later one with the same path.",
    "mzxid": "A new ACL, and a child that is created or deleted, do not change it.",
    "ctime": "For people. To find out what came first compare zxids: clocks differ.",
    "mtime": "For people. To find out what came first compare zxids: clocks differ.",
    "version": "What setData and delete compare their version with.",
    "cversion": "Counts the znode's own children only, not theirs.",
    "aversion": "What setACL compares its version with.",
    "ephemeral_owner": lambda value: (
        "The znode is deleted when this session ends." if value else "The znode stays until somebody deletes it."
    ),
    "data_length": "Here without asking for the data.",
    "num_children": "Ephemeral znodes cannot have any.",
    "pzxid": "A change of a child's data does not change it.",
}


def of_field(path: str, value: Any) -> str:
    """The sentences about a field, its note first. `path` is that of its span.

    Raises:
        KeyError: there is no sentence about it.
    """
    record, _, name = path.replace("[", ".").rpartition(".")
    name = name or path
    said = _FIELDS.get(f"{record}.{name}", _FIELDS.get(name))
    if said is None:
        raise KeyError(path)
    note, text = note_of(path), said(value) if callable(said) else said
    return f"{note[0].upper()}{note[1:]}. {text}" if note else text


def note_of(path: str) -> str:
    """The note of the field that a span with this path shows; "" where it has none."""
    record, *fields = re.sub(r"\[\d+\]", "", path).split(".")
    note: str = ""
    kind: Any = RECORDS.get(record)  # None for "length", which is not part of a record
    for name in fields:
        field = next(each for each in kind.FIELDS if each.name == name)
        note, inner = field.note, getattr(field.type, "element", field.type)
        kind = getattr(inner, "record", None)
    return note
