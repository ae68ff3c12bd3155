"""What session.html says: of each frame why it is sent, and of each field what its bytes mean there.

A field that nothing is said of is an error, so that no byte of the page is without its sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zkwire.codes import CreateMode, ErrorCode, EventType, Perms, Xid
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
    "No. A timeout of 0 is how a server says that the session is over, and it closes the connection. The worker must "
    "start anew, and its znode is gone for good.",
    "The observer looks once more, without a watch.",
    "No such znode. An error has a header and nothing behind it, and the connection goes on as before.",
    "The observer says goodbye. That ends the session at once; merely closing the connection would leave its ephemeral "
    "znodes and watches to the timeout.",
    "The last frame. The server closes the connection behind it.",
]


def _opcode(value: int) -> str:
    return f"The opcode: {value} is {BY_OPCODE[value].name}. What stands behind the header depends on it."


def _xid(value: int) -> str:
    if value == Xid.NOTIFICATION:
        return "-1 is reserved for notifications: this frame answers no request."
    if value == Xid.PING:
        return "-2 is reserved for pings."
    return "The client numbers its requests, and the reply repeats the number."


def _flags(value: int) -> str:
    return f"{value} is {CreateMode(value).name}. The mode is a number, not bits: 0 to 6."


def _err(value: int) -> str:
    if value:
        return f"{ErrorCode(value).name}. Behind an error nothing follows."
    return "0: it went well, and the response follows, if the operation has one."


def _event(value: int) -> str:
    return f"What happened: {EventType(value).name}."


def _perms(value: int) -> str:
    return f"Bits: {', '.join(each.name or '' for each in Perms if each in Perms(value) and each is not Perms.ALL)}."


#: What is said of a field, by "Record.field" or by the field's name alone; a function is given the value.
_FIELDS: dict[str, str | Callable[[Any], str]] = {
    "length": "Every frame begins with the count of the bytes behind these four. Without it nobody knew where the next "
    "frame starts.",
    # the handshake
    "protocol_version": "Always 0. Every other frame has its xid here.",
    "last_zxid_seen": "The newest transaction that this client knows of. A server that is behind it refuses, so that a "
    "client never goes back in time. 0: none yet.",
    "ConnectRequest.time_out": "How long the client may be silent, in milliseconds. It is a wish: the server puts it "
    "within its own bounds.",
    "ConnectResponse.time_out": lambda value: (
        "What the server grants, in milliseconds. The client's pings and its patience follow from it."
        if value
        else "0: the session is expired, closed or unknown, or the password is wrong. There is no other sign."
    ),
    "ConnectRequest.session_id": lambda value: "The session to go on with." if value else "0 asks for a new session.",
    "ConnectResponse.session_id": lambda value: (
        "The session's id, the same all over the ensemble. Its ephemeral znodes carry it."
        if value
        else "0: no session."
    ),
    "ConnectRequest.passwd": "16 bytes that prove whose session it is; zeros for a new one. Four bytes of length stand "
    "in front.",
    "ConnectResponse.passwd": "Whoever knows id and password can take the session over. The server computes it from "
    "the id, so it is worth no more than the id is. (This server ran for the recording only.)",
    "ConnectRequest.read_only": "Whether a server that lost its quorum will do, for reading. The byte came with 3.4, "
    "and older clients end the frame before it.",
    "ConnectResponse.read_only": "Whether this server is read-only now. It is left out when the request had no such "
    "byte; servers 3.9.0 to 3.9.2 sent it all the same, and broke clients.",
    # headers
    "xid": _xid,
    "RequestHeader.type": _opcode,
    "ReplyHeader.zxid": "The last transaction that this server knew of as it answered: the epoch of the leader in the "
    "upper half, a counter in the lower. Of a write, its own transaction.",
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
        "1: and set a watch. This one bit is all that there is to it on the wire." if value else "0: and set no watch."
    ),
    "SetDataRequest.version": "The version that the data must have now, else the answer is BAD_VERSION. -1 takes any.",
    "WatcherEvent.type": _event,
    "state": "3, SyncConnected: a server sends nothing else here. Clients use the field for changes of their own.",
    # Stat
    "czxid": "The transaction that created the znode. No two znodes have the same, so it tells a znode from one made "
    "later under the same path.",
    "mzxid": "The transaction that last set its data.",
    "ctime": "When it was created, in milliseconds since 1970 by the leader's clock.",
    "mtime": "When its data was last set.",
    "version": "How often its data was set since it was created.",
    "cversion": "How often a child came or went.",
    "aversion": "How often its ACL was set.",
    "ephemeral_owner": "The session that it goes with; 0 for a znode that stays.",
    "data_length": "The count of bytes of data, known here without asking for them.",
    "num_children": "How many children it has. Ephemeral znodes cannot have any.",
    "pzxid": "The transaction that last made or removed a child; before that, the one that created it.",
}


def of_field(path: str, value: Any) -> str:
    """The sentences for a field, `path` being its span's.

    Raises:
        KeyError: nothing is said of it.
    """
    record, _, name = path.replace("[", ".").rpartition(".")
    name = name or path
    said = _FIELDS.get(f"{record}.{name}", _FIELDS.get(name))
    if said is None:
        raise KeyError(path)
    return said(value) if callable(said) else said
