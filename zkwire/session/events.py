"""Events: what `next_event` of a Connection and of a Session returns, and what a watcher receives.

All are NamedTuples: compare them, unpack them, or match on their class. docs/embedding.md shows a loop that does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..codes import EventType, KeeperState
from ..text import counted, hexadecimal

if TYPE_CHECKING:
    from ..records import ConnectResponse


class NeedData:
    """The class of `NEED_DATA`, its only instance."""

    def __repr__(self) -> str:
        return "NEED_DATA"


#: `next_event` has no event now: it needs more bytes (`receive_data`) or more time (`handle_timeout`).
NEED_DATA = NeedData()


class WatchedEvent(NamedTuple):
    """What happened to a watched znode, or to the session. Has the fields of Java's WatchedEvent, and the zxid.

    Three kinds:

    1. Of a znode: `type` is NODE_CREATED, NODE_DELETED, NODE_DATA_CHANGED or NODE_CHILDREN_CHANGED. `path` is the
       znode's path; a Client leaves its chroot out, a Session does not.
    2. Type NONE: the session has ended, and `state` says how: EXPIRED, CLOSED or AUTH_FAILED. No event follows.
    3. Type RESYNC: a persistent watch is set again after a reconnect. The server keeps no events for it, so some may
       be missing: read again what you watch.

    `type` and `state` are plain ints where ZooKeeper has no name for the number. `zxid` is the transaction's; -1 where
    the server sends none: servers before 3.9.0, and events that setWatches found after a reconnect.
    """

    type: EventType | int
    state: KeeperState | int
    path: str
    zxid: int = -1


class SessionInfo(NamedTuple):
    """The id (signed, 64 bits) and the password (16 bytes) of a session: what resumes it, in this process or another.

    Treat both as secrets: a server computes the password from the id, so knowing the id is enough.
    """

    id: int
    password: bytes

    def __repr__(self) -> str:
        shown = hexadecimal(self.id) if isinstance(self.id, int) else f"<{type(self.id).__name__}>"
        known = isinstance(self.password, bytes)
        password = counted(len(self.password), "byte") if known else type(self.password).__name__
        return f"SessionInfo(id={shown}, password=<{password}>)"


# --- events of a Connection and of a Session


class Replied(NamedTuple):
    """The reply to `request`. Replies come in the order of their requests.

    `request` is the object that was given to `request()` or `send()`. `zxid` is that of the write, or for a read the
    newest that the server had applied; -1 if the server refused the request unread. `err` is 0 or an error code, as in
    ErrorCode, or a number that has no name there. `response` is a record of the class `request.operation.response`;
    None when `err` is not 0 or the operation has no response.

    From a Connection, `response` is a TooLong when the reply is longer than max_reply. A Session returns a Failed
    instead of such a Replied.
    """

    request: Any
    zxid: int
    err: int
    response: Any


# --- events of a Connection


class Connected(NamedTuple):
    """The server has granted the session. `response.time_out` is the negotiated timeout in milliseconds."""

    response: ConnectResponse


class SessionRefused(NamedTuple):
    """The server has answered the ConnectRequest with time_out 0: the session is expired, closed or unknown, or the
    password is wrong."""


class TooLong(NamedTuple):
    """Takes the place of a response when the reply is longer than max_reply: the reply has `length` bytes, without the
    4 of its length prefix. Its header was read; the rest is dropped as it arrives."""

    length: int


class Notified(NamedTuple):
    """A notification, as the server sent it: its path has the chroot, if any."""

    event: WatchedEvent


class AuthReplied(NamedTuple):
    """The reply to an auth packet. `err` is 0 or AUTH_FAILED (-115). `request` is None when the server refused a ping
    because it requires SASL first.

    It may overtake the replies to earlier requests: the server's thread that reads auth packets answers them at once
    (ZooKeeperServer.processPacket).
    """

    request: Any
    err: int


class Ponged(NamedTuple):
    """The reply to a ping. `zxid` is the last transaction that the server has applied."""

    zxid: int


# --- events of a Session


class StateChanged(NamedTuple):
    """The session has a new state. `reason` says why, in words; "" when it has just been connected."""

    state: KeeperState
    reason: str


class Failed(NamedTuple):
    """`request` will get no reply.

    `error` is a ConnectionLossError (its `maybe_applied` says whether the server may have applied the request), a
    SessionExpiredError, AuthFailedError or ClosedError (the session has ended), a ReplyTooLongError, or a
    LocalProtocolError (the request could not be sent after all).
    """

    request: Any
    error: Exception


class Fired(NamedTuple):
    """A watch has fired: give `event` to each of `watchers`. Those are the objects that were passed as
    `Request(..., watcher=)`. The event's path is the server's, with the chroot, if any."""

    watchers: list[Any]
    event: WatchedEvent


class Disconnected(NamedTuple):
    """The connection is of no more use: close the socket, call `tcp_lost`, and connect again unless the state is
    EXPIRED, CLOSED or AUTH_FAILED. `reason` says why, in words."""

    reason: str
