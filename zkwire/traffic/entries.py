"""What happens on a tap's connections, as entries that a reader can follow: requests with their replies, events with
their causes, and what was left without an answer.

    ledger = Ledger(print)
    async with Tap(server, observer=ledger) as tap: ...

An exchange is an entry when its reply comes. `session` is 0 until the handshake has given one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..codes import OpCode
from ..frames import MAX_REPLY, Direction
from ..records import ConnectResponse
from ..text import counted
from .causes import Cause, Causes
from .conversation import Passing
from .faults import PASS, Action
from .selection import CONNECT


class Opened(NamedTuple):
    """A client connected, and a server took the connection."""

    connection: int
    session: int
    now: float
    client: str
    server: str


class Unreachable(NamedTuple):
    """A client connected, and there was no server for it."""

    connection: int
    session: int
    now: float
    client: str
    reason: str


class Connected(NamedTuple):
    """The handshake is over."""

    connection: int
    session: int
    now: float
    request: Passing | None
    response: Passing


class Exchanged(NamedTuple):
    """A request was answered; `now` is when. `request` is None for a reply that answers nothing that was asked."""

    connection: int
    session: int
    now: float
    request: Passing | None
    reply: Passing


class Unanswered(NamedTuple):
    """The connection ended, and this request, or ConnectRequest, had no reply."""

    connection: int
    session: int
    now: float
    request: Passing


class Notified(NamedTuple):
    """An event; `now` is when it came, which may be before the entry of its cause."""

    connection: int
    session: int
    now: float
    event: Passing
    cause: Cause


class Faulted(NamedTuple):
    """A fault acted on this frame; the entry that the frame itself makes comes too."""

    connection: int
    session: int
    now: float
    passing: Passing
    action: Action


class Opaque(NamedTuple):
    """From here on these are bytes that are no frames: `what` names them."""

    connection: int
    session: int
    now: float
    direction: Direction
    what: str


class Closed(NamedTuple):
    """Both sides are closed: `by` is "client", "server" or "tap"; `unanswered` counts the requests without a reply."""

    connection: int
    session: int
    now: float
    by: str
    unanswered: int


Entry = Opened | Unreachable | Connected | Exchanged | Unanswered | Notified | Faulted | Opaque | Closed


class _Following:
    """One connection."""

    def __init__(self) -> None:
        self.session = 0
        self.handshake: Passing | None = None  # a ConnectRequest without its response
        self.unanswered: dict[int, Passing] = {}  # requests by their index
        self.frames = 0
        self.opaque = False


class Ledger:
    """An observer of a tap: calls `write` with each entry."""

    def __init__(self, write: Callable[[Entry], object]) -> None:
        self._write = write
        self._connections: dict[int, _Following] = {}
        self._causes = Causes(self._notified)

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        self._connections[connection] = _Following()
        self._write(Opened(connection, 0, now, client, server))

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        self._write(Unreachable(connection, 0, now, client, reason))

    def piece(self, connection: int, direction: Direction, piece: Passing | bytes, action: Action, now: float) -> None:
        following = self._connections[connection]
        if isinstance(piece, bytes):
            if not following.opaque:
                following.opaque = True
                what = _rest(piece) if following.frames else name_of_bytes(piece)
                self._write(Opaque(connection, following.session, now, direction, what))
            return
        following.frames += 1
        if action != PASS:
            self._write(Faulted(connection, following.session, now, piece, action))
        if piece.is_handshake:
            self._handshake(following, piece)
        elif direction is Direction.SENT:
            following.unanswered[piece.index] = piece
            self._causes.request(piece)
        elif piece.is_notification:
            self._causes.event(piece)
        else:
            if piece.request is not None:
                del following.unanswered[piece.request.index]
            self._write(Exchanged(connection, following.session, now, piece.request, piece))
            self._causes.reply(piece)

    def closed(self, connection: int, by: str, now: float) -> None:
        following = self._connections[connection]
        left = [each for each in (following.handshake, *following.unanswered.values()) if each is not None]
        for request in left:
            self._write(Unanswered(connection, following.session, now, request))
        self._causes.closed(connection)
        del self._connections[connection]
        self._write(Closed(connection, following.session, now, by, len(left)))

    def _handshake(self, following: _Following, passing: Passing) -> None:
        if passing.direction is Direction.SENT:
            following.handshake = passing
            return
        if isinstance(passing.record, ConnectResponse) and passing.record.time_out > 0:
            following.session = passing.record.session_id
            self._causes.connected(passing.connection, following.session)
        request, following.handshake = following.handshake, None
        self._write(Connected(passing.connection, following.session, passing.frame.now, request, passing))

    def _notified(self, event: Passing, session: int, cause: Cause) -> None:
        self._write(Notified(event.connection, session, event.frame.now, event, cause))


# --- which entries to show


class Filter(NamedTuple):
    """What of the entries is wanted. With `opcodes`, `path` or `session` None, that leaves nothing out.

    Entries on connections as a whole have no operation and no path: they are left out where one of these is asked for.
    An event has a path, and no operation. Pings are wanted only with `pings`, or where `opcodes` has them.
    """

    opcodes: frozenset[int] | None = None
    path: Callable[[str], bool] | None = None
    session: int | None = None
    pings: bool = False

    def wants(self, entry: Entry) -> bool:
        passing = frame_of(entry)
        if self.session is not None and entry.session != self.session:
            return False
        if passing is None:
            return self.opcodes is None and self.path is None
        unasked = passing.opcode == OpCode.PING and not self.pings and self.opcodes is None
        if unasked and not isinstance(entry, Faulted):
            return False
        if self.path is not None and not any(self.path(each) for each in passing.paths):
            return False
        return self.opcodes is None or (CONNECT if passing.is_handshake else passing.opcode) in self.opcodes


def frame_of(entry: Entry) -> Passing | None:
    """The frame that the entry is about, the later one of two; None where it is about the connection."""
    match entry:
        case Connected(response=passing) | Exchanged(reply=passing) | Unanswered(request=passing):
            return passing
        case Notified(event=passing) | Faulted(passing=passing):
            return passing
    return None


# --- what is not ZooKeeper's

_HTTP = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI ")


def _rest(data: bytes) -> str:
    """What bytes are that stand behind frames and are none."""
    length = int.from_bytes(data[:4], "big", signed=True)
    if len(data) >= 4 and not 0 <= length <= MAX_REPLY:
        return f"no frame: it would be {counted(length, 'byte')} long"
    return f"{counted(len(data), 'byte')} of a frame whose end did not come"


def name_of_bytes(data: bytes) -> str:
    """What bytes are that are no frame, by their beginning."""
    if data[:2] == b"\x16\x03":
        return "TLS: nothing of it can be read here"
    if data[:4] in _HTTP:
        return "HTTP"
    if data[:4] == b"SSH-":
        return "SSH"
    if len(data) in (4, 5, 6) and data[:4].isalpha() and data[:4].islower():
        return f"the four-letter word {data[:4].decode()}"
    if len(data) >= 4 and 0 <= int.from_bytes(data[:4], "big", signed=True) <= MAX_REPLY:
        return _rest(data)  # of the first frame already
    return f"not ZooKeeper: {counted(len(data), 'byte')}, {data[:16].hex(' ')}{' ...' if len(data) > 16 else ''}"
