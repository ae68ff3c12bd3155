"""What session.html says: of each frame why it is sent, and of each field what its bytes mean there.

Before these sentences stands each field's note, from zkwire/records.py: unit, enum and range are not said again here. A
field that nothing is said of is an error, so that no byte of the page is without its sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from zkwire.codes import CreateMode, ErrorCode, EventType, Perms, Xid
from zkwire.explain.describe import RECORDS
from zkwire.operations import BY_OPCODE

#: Who is who, by connection.
NAMES = {0: "worker", 1: "observer", 2: "worker, again"}

#: Why each frame is sent, in the order of the recording.
STORY = [
    "A worker opens a TCP connection and sends this first. It is the only kind of request without a header, and "
    "nothing in it says that it is one: that it comes first does.",
    "The session stands. The id and the password are all that it takes to go on with it over another connection.",
    "The worker makes itself known. The znode is ephemeral: it goes when the worker's session ends, however it ends.",
    "The path comes back because a sequential znode's is only known now; this one is as it was asked for.",
    "Somebody else, with a TCP connection and a session of their own, wants to know where the worker is.",
    "Their timeout is longer, so they may be silent for longer.",
    "The observer reads the worker's znode. One byte at the end sets a watch: tell me when this changes, once.",
    "Data and metadata, in one piece. The watch stands from here on.",
    "The worker moves to another port. The version says: only if nobody else changed it since.",
    "The new metadata: the version went up, and mzxid is the transaction that did it.",
    "Nobody asked for this frame: it is the watch. It says what happened and to which znode, but not the new data. The "
    "watch is used up.",
    "So the observer asks again, and sets the next watch in the same request, so that no change between falls through.",
    "The znode is there, and the watch stands again.",
    "The worker has nothing to say, and says that. Clients do so when a third of the timeout went by without a frame.",
    "The answer tells the client that the server lives. It carries the last transaction that this server knows.",
    "Two seconds of silence: the worker's session expired, and the leader deleted its ephemeral znode. That is what "
    "the observer sees. All that the worker sees is that its connection was closed.",
    "The worker comes back and wants to go on with its session: the same first frame, now with an id and the password "
    "(and no last zxid, since this worker kept none).",
    "The server refuses: a timeout of 0 says that the session is over. Then it closes the connection. The worker must "
    "begin a new session, and its znode is gone for good.",
    "The observer looks once more, without a watch.",
    "No such znode. An error has a header and nothing after it, and the connection goes on as before.",
    "The observer says goodbye. That ends the session at once; merely closing the connection would leave its ephemeral "
    "znodes and watches to the timeout.",
    "The last frame. The server closes the connection after it.",
]


def _opcode(value: int) -> str:
    return f"{value} is {BY_OPCODE[value].name}. The fields after the header depend on it."


def _xid(value: int) -> str:
    if value == Xid.NOTIFICATION:
        return "-1 is reserved for notifications: this frame answers no request."
    if value == Xid.PING:
        return "-2 is reserved for pings."
    return "It says which reply belongs to which request."


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


#: What is said of a field, by "Record.field" or by the field's name alone; a function is given the value.
_FIELDS: dict[str, str | Callable[[Any], str]] = {
    "length": "Every frame begins with the count of the bytes after these four. It shows where the next frame starts.",
    # the handshake
    "protocol_version": "Every other frame has its xid here.",
    "last_zxid_seen": "So a client never goes back in time.",
    "ConnectRequest.time_out": "How long the client may be silent. It is a wish: the server puts it within its own "
    "bounds.",
    "ConnectResponse.time_out": lambda value: (
        "The client's pings and its patience follow from it."
        if value
        else "The server sends 0 when the session was closed or is unknown, or the password is wrong, and says no more."
    ),
    "ConnectRequest.session_id": lambda value: (
        "The client goes on with this one." if value else "The client has none yet."
    ),
    "ConnectResponse.session_id": lambda value: (
        "The same all over the ensemble. The session's ephemeral znodes carry it." if value else "There is none."
    ),
    "ConnectRequest.passwd": "It proves whose session it is. Four bytes of length stand in front.",
    "ConnectResponse.passwd": "Any client with id and password can take the session over. The server computes the "
    "password from the id, so it is worth no more than the id is. (This server ran for the recording only.)",
    "ConnectRequest.read_only": "For reading, that is: such a server takes no writes.",
    "ConnectResponse.read_only": "Some clients that do not send the byte break when they get one.",
    # headers
    "xid": _xid,
    "RequestHeader.type": _opcode,
    "ReplyHeader.zxid": "A transaction's number: the epoch of the leader in the upper half, a counter in the lower.",
    "err": _err,
    # requests and responses
    "path": "Where in the tree. Strings are UTF-8 with four bytes of length in front.",
    "CreateResponse.path": "The znode that was made.",
    "WatcherEvent.path": "The znode that it happened to.",
    "data": "Any bytes, here an address as text; ZooKeeper does not look into them. Four bytes of length stand in "
    "front, and -1 there means null.",
    "acl": "Who may do what: a list, and this is the count of its elements.",
    "perms": _perms,
    "scheme": '"world" has a single id, anyone. Others are "digest", "ip", "x509", "sasl".',
    "id": "Anyone at all.",
    "flags": _flags,
    "watch": lambda value: (
        "Here one is set: this one bit is all that there is to it on the wire." if value else "Here none is set."
    ),
    "SetDataRequest.version": "With another version there the answer is BAD_VERSION.",
    "WatcherEvent.type": _event,
    "state": "Clients use the field for changes of their own.",
    # Stat
    "czxid": "No two znodes have the same, so it tells a znode from one made later under the same path.",
    "mzxid": "A new ACL, or a child that comes or goes, leaves it alone.",
    "ctime": "For people: what came first is told by zxids, since clocks differ.",
    "mtime": "For people: what came first is told by zxids, since clocks differ.",
    "version": "What setData and delete compare their version with.",
    "cversion": "Only the znode's own children count, not theirs.",
    "aversion": "What setACL compares its version with.",
    "ephemeral_owner": lambda value: (
        "The znode goes with this session." if value else "The znode stays until somebody deletes it."
    ),
    "data_length": "Known here without asking for the data.",
    "num_children": "Ephemeral znodes cannot have any.",
    "pzxid": "What is done with a child's data leaves it alone.",
}


def of_field(path: str, value: Any) -> str:
    """The sentences for a field, `path` being its span's: its note first.

    Raises:
        KeyError: nothing is said of it.
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
