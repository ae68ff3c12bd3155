"""What the sans-IO core gives its caller, and what a watcher is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..codes import EventType, KeeperState
from ..text import counted, hexadecimal

if TYPE_CHECKING:
    from ..records import ConnectResponse


class NeedData:
    """`next_event` has nothing until more bytes, or time, come in."""

    def __repr__(self) -> str:
        return "NEED_DATA"


NEED_DATA = NeedData()


class WatchedEvent(NamedTuple):
    """What a watch saw. Equal to Java's WatchedEvent, with the transaction's zxid beside it.

    `path` is the client's (chroot stripped). `zxid` is -1 where the server gives none: servers before 3.9.0, and events
    that setWatches found after a reconnect. With type NONE it is the session that changed, to `state`: EXPIRED, CLOSED
    or AUTH_FAILED, and nothing more will come. With type RESYNC a persistent watch stands again after a gap in which
    events may have been missed: read again what you watch.
    """

    type: EventType | int
    state: KeeperState | int
    path: str
    zxid: int = -1


class SessionInfo(NamedTuple):
    """What resumes a session, in this process or another. The password is no secret from whoever knows the id: servers
    compute it from the id. Treat both alike."""

    id: int
    password: bytes

    def __repr__(self) -> str:
        shown = hexadecimal(self.id) if isinstance(self.id, int) else f"<{type(self.id).__name__}>"
        known = isinstance(self.password, bytes)
        password = counted(len(self.password), "byte") if known else type(self.password).__name__
        return f"SessionInfo(id={shown}, password=<{password}>)"


# --- events of a Connection


class Connected(NamedTuple):
    """The server answered the ConnectRequest, and not with a no."""

    response: ConnectResponse


class SessionRefused(NamedTuple):
    """The server answered with time_out 0: the session is expired, closed or unknown, or the password is wrong."""


class TooLong(NamedTuple):
    """Takes the place of a response that is longer than max_reply: the reply has `length` bytes. Its header was read,
    and the rest is dropped as it arrives."""

    length: int


class Replied(NamedTuple):
    """The reply to `request`, in request order. `response` is None when `err` is not 0 or the operation has none; a
    TooLong when the reply is longer than is taken."""

    request: Any
    zxid: int
    err: int
    response: Any


class Notified(NamedTuple):
    """A notification, as the server sent it."""

    event: WatchedEvent


class AuthReplied(NamedTuple):
    """The reply to an auth packet. These overtake replies to earlier requests: the server's thread that reads them
    answers at once (ZooKeeperServer.processPacket)."""

    request: Any
    err: int


class Ponged(NamedTuple):
    """The reply to a ping."""

    zxid: int


# --- events of a Session


class StateChanged(NamedTuple):
    """The session's new state, and why."""

    state: KeeperState
    reason: str


class Failed(NamedTuple):
    """`request` will get no reply."""

    request: Any
    error: Exception


class Fired(NamedTuple):
    """`watchers` are to be given `event`, whose path is the server's."""

    watchers: list[Any]
    event: WatchedEvent


class Disconnected(NamedTuple):
    """The TCP connection is of no more use: close it."""

    reason: str
