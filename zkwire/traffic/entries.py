"""What happens on the connections of a tap, as entries that a reader can follow: requests with their replies, events
with their causes, and requests without a reply.

    maker = EntryMaker(print)
    async with Tap(server, observer=maker) as tap: ...

An exchange becomes an entry when its reply comes. `session` is 0 until the handshake has given one. `now` is the tap's
clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..codes import OpCode
from ..frames import MAX_REPLY, Direction, length_at
from ..records import ConnectResponse
from ..text import counted
from .causes import Cause, Causes
from .conversation import SeenFrame
from .faults import PASS, Action
from .selection import CONNECT


class ConnectionOpened(NamedTuple):
    """A client connected, and a server took the connection."""

    connection: int
    session: int
    now: float
    client: str
    server: str


class ServerUnreachable(NamedTuple):
    """A client connected, but no server took its connection."""

    connection: int
    session: int
    now: float
    client: str
    reason: str


class Handshake(NamedTuple):
    """The ConnectResponse came. `request` is None if no ConnectRequest was seen."""

    connection: int
    session: int
    now: float
    request: SeenFrame | None
    response: SeenFrame


class Exchange(NamedTuple):
    """A request was answered, at `now`. `request` is None for a reply to no request that was seen."""

    connection: int
    session: int
    now: float
    request: SeenFrame | None
    reply: SeenFrame


class UnansweredRequest(NamedTuple):
    """The connection ended before the reply to this request or ConnectRequest."""

    connection: int
    session: int
    now: float
    request: SeenFrame


class EventSeen(NamedTuple):
    """An event came, at `now`. That may be earlier than the times of the entries before it: it waits for its cause."""

    connection: int
    session: int
    now: float
    event: SeenFrame
    cause: Cause


class FaultInjected(NamedTuple):
    """A fault acted on this frame. The frame is also in an entry of its own."""

    connection: int
    session: int
    now: float
    seen: SeenFrame
    action: Action


class StrayBytesSeen(NamedTuple):
    """All further bytes of this direction are stray. `what` names them."""

    connection: int
    session: int
    now: float
    direction: Direction
    what: str


class ConnectionClosed(NamedTuple):
    """Both sides are closed. `by`: the side that closed first, "client", "server" or "tap". `unanswered`: how many
    requests have no reply."""

    connection: int
    session: int
    now: float
    by: str
    unanswered: int


Entry = (
    ConnectionOpened
    | ServerUnreachable
    | Handshake
    | Exchange
    | UnansweredRequest
    | EventSeen
    | FaultInjected
    | StrayBytesSeen
    | ConnectionClosed
)


class _Following:
    """What is known of one connection."""

    def __init__(self) -> None:
        self.session = 0
        self.handshake: SeenFrame | None = None  # the ConnectRequest, until its response comes
        self.unanswered: dict[int, SeenFrame] = {}  # requests by their index
        self.frames = 0
        self.opaque = False


class EntryMaker:
    """An observer of a tap. Calls `write` with each entry."""

    def __init__(self, write: Callable[[Entry], object]) -> None:
        self._write = write
        self._connections: dict[int, _Following] = {}
        self._causes = Causes(self._notified)

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        self._connections[connection] = _Following()
        self._write(ConnectionOpened(connection, 0, now, client, server))

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        self._write(ServerUnreachable(connection, 0, now, client, reason))

    def passed(
        self, connection: int, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        following = self._connections[connection]
        if isinstance(seen, bytes):
            if not following.opaque:
                following.opaque = True
                what = _rest(seen) if following.frames else name_of_bytes(seen)
                self._write(StrayBytesSeen(connection, following.session, now, direction, what))
            return
        following.frames += 1
        if action != PASS:
            self._write(FaultInjected(connection, following.session, now, seen, action))
        if seen.is_handshake:
            self._handshake(following, seen)
        elif direction is Direction.SENT:
            following.unanswered[seen.index] = seen
            self._causes.request(seen)
        elif seen.is_notification:
            self._causes.event(seen)
        else:
            if seen.request is not None:
                del following.unanswered[seen.request.index]
            self._write(Exchange(connection, following.session, now, seen.request, seen))
            self._causes.reply(seen)

    def closed(self, connection: int, by: str, now: float) -> None:
        following = self._connections[connection]
        left = [each for each in (following.handshake, *following.unanswered.values()) if each is not None]
        for request in left:
            self._write(UnansweredRequest(connection, following.session, now, request))
        self._causes.closed(connection)
        del self._connections[connection]
        self._write(ConnectionClosed(connection, following.session, now, by, len(left)))

    def _handshake(self, following: _Following, seen: SeenFrame) -> None:
        if seen.direction is Direction.SENT:
            following.handshake = seen
            return
        if isinstance(seen.record, ConnectResponse) and seen.record.time_out > 0:
            following.session = seen.record.session_id
            self._causes.connected(seen.connection, following.session)
        request, following.handshake = following.handshake, None
        self._write(Handshake(seen.connection, following.session, seen.frame.now, request, seen))

    def _notified(self, event: SeenFrame, session: int, cause: Cause) -> None:
        self._write(EventSeen(event.connection, session, event.frame.now, event, cause))


# --- which entries to show


class Filter(NamedTuple):
    """Which entries are wanted.

    Attributes:
        opcodes: only entries about these operations; None: about any.
        path: only entries with a path for which this returns True; None: with any path, or none.
        session: only entries of this session; None: of any.
        pings: pings too. Without it they are wanted only if `opcodes` has them.

    An entry about a whole connection has no operation and no path, and an event has no operation.
    """

    opcodes: frozenset[int] | None = None
    path: Callable[[str], bool] | None = None
    session: int | None = None
    pings: bool = False

    def wants(self, entry: Entry) -> bool:
        seen = frame_of(entry)
        if self.session is not None and entry.session != self.session:
            return False
        if seen is None:
            return self.opcodes is None and self.path is None
        unasked = seen.opcode == OpCode.PING and not self.pings and self.opcodes is None
        if unasked and not isinstance(entry, FaultInjected):
            return False
        if self.path is not None and not any(self.path(each) for each in seen.paths):
            return False
        return self.opcodes is None or (CONNECT if seen.is_handshake else seen.opcode) in self.opcodes


def frame_of(entry: Entry) -> SeenFrame | None:
    """The frame that the entry is about; None if it is about the connection. For an exchange it is the reply."""
    match entry:
        case Handshake(response=seen) | Exchange(reply=seen) | UnansweredRequest(request=seen):
            return seen
        case EventSeen(event=seen) | FaultInjected(seen=seen):
            return seen
    return None


def new_frames(entry: Entry) -> Iterator[SeenFrame]:
    """The frames that no earlier entry has shown, a request before its reply."""
    match entry:
        case Handshake(request=request, response=reply) | Exchange(request=request, reply=reply):
            if request is not None:
                yield request
            yield reply
        case UnansweredRequest(request=seen) | EventSeen(event=seen):
            yield seen


# --- names for stray bytes

_HTTP = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI ")


def _rest(data: bytes) -> str:
    """What the stray bytes after a frame are."""
    length = length_at(data)
    if length is not None and not 0 <= length <= MAX_REPLY:
        return f"not a frame: it would be {counted(length, 'byte')} long"
    return f"{counted(len(data), 'byte')} of a frame whose end did not come"


def name_of_bytes(data: bytes) -> str:
    """What the stray bytes at the start of a connection are, by their first bytes."""
    if data[:2] == b"\x16\x03":
        return "TLS: it cannot be read here"
    if data[:4] in _HTTP:
        return "HTTP"
    if data[:4] == b"SSH-":
        return "SSH"
    if len(data) in (4, 5, 6) and data[:4].isalpha() and data[:4].islower():
        return f"the four-letter word {data[:4].decode()}"
    length = length_at(data)
    if length is not None and 0 <= length <= MAX_REPLY:
        return _rest(data)  # the first frame is cut
    return f"not ZooKeeper: {counted(len(data), 'byte')}, {data[:16].hex(' ')}{' ...' if len(data) > 16 else ''}"
