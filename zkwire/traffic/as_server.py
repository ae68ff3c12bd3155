"""Recorded traffic, played to a client: each request gets the reply that was recorded for it.

    script = Script(connections(recording.read(file)))
    playing = script.accept()
    stream.send(playing.receive(stream.recv(), now))

A request is matched by its content, not by its xid: by its operation and by every field except those that differ from
run to run (zxids, timeouts, passwords, SASL tokens). If several recorded requests are equal, the first one that was not
matched yet is taken. Pings are answered when they come. An event is sent when every request before it in the recording
has come, and before the replies that come after it there. A client that sends a request which is not in the recording
has diverged; its connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..codes import OpCode, Xid
from ..explain.plain import as_json
from ..frames import REPLY_HEADER_SIZE, XID_SIZE, Direction, frame
from ..jute import Record, TypedTuple, encode
from ..multi import MultiSequence
from ..records import AuthPacket, ConnectRequest, GetSASLRequest, ReplyHeader, SetWatches, SetWatches2
from ..text import counted
from .conversation import Conversation, SeenFrame
from .recording import RecordedBytes, RecordedClosing, RecordedLine, RecordedOpening
from .report import frame_text, request_text

#: Fields of requests that differ from run to run. They are not compared.
_VOLATILE: dict[type[Record], tuple[str, ...]] = {
    ConnectRequest: ("protocol_version", "last_zxid_seen", "time_out", "passwd"),
    SetWatches: ("relative_zxid",),
    SetWatches2: ("relative_zxid",),
    AuthPacket: ("type", "auth"),
    GetSASLRequest: ("token",),
}

# --- what was recorded


@dataclass
class RecordedConnection:
    """One connection of a recording.

    Attributes:
        number: of the connection, in the recording.
        frames: in the order in which they came, without pings. A frame that a fault acted on is as it came to the tap.
        closed_by: "client", "server" or "tap"; "" if the recording has no end of the connection.
        faulted: how many frames a fault acted on.
    """

    number: int
    frames: list[SeenFrame] = field(default_factory=list)
    closed_by: str = ""
    faulted: int = 0

    @property
    def session(self) -> int:
        """The session that its ConnectRequest asks for; 0 for a new one."""
        first = self.frames[0].record
        return first.session_id if isinstance(first, ConnectRequest) else 0


#: A connection, and what happened on it. None: it was opened; a SeenFrame: this came; a str: this side closed it.
RecordedStep = tuple[RecordedConnection, SeenFrame | str | None]


def timeline(items: Iterable[RecordedLine]) -> list[RecordedStep]:
    """The steps of a recording, in order, without pings and without connections that do not speak ZooKeeper's protocol.

    Raises:
        RecordingError: as `recording.read`.
    """
    steps: list[RecordedStep] = []
    open_ones: dict[int, tuple[RecordedConnection, Conversation]] = {}
    for item in items:
        if isinstance(item, RecordedOpening) or item.connection not in open_ones:
            open_ones[item.connection] = (RecordedConnection(item.connection), Conversation(item.connection))
            steps.append((open_ones[item.connection][0], None))
        recorded, conversation = open_ones[item.connection]
        if isinstance(item, RecordedClosing):
            recorded.closed_by = item.by
            steps.append((recorded, item.by))
        elif isinstance(item, RecordedBytes):
            recorded.faulted += bool(item.fault)
            for seen in conversation.receive(item.direction, item.data, item.time):
                if isinstance(seen, SeenFrame) and not _is_ping(seen):
                    recorded.frames.append(seen)
                    steps.append((recorded, seen))
    return [step for step in steps if _is_zookeepers(step[0])]


def connections(steps: Iterable[RecordedStep]) -> list[RecordedConnection]:
    """The connections of a timeline, in the order in which they were opened."""
    return [recorded for recorded, what in steps if what is None]


def _is_ping(seen: SeenFrame) -> bool:
    return seen.opcode == OpCode.PING or (seen.direction is Direction.RECEIVED and seen.xid == Xid.PING)


def _is_zookeepers(recorded: RecordedConnection) -> bool:
    return bool(recorded.frames) and isinstance(recorded.frames[0].record, ConnectRequest)


# --- comparing


def difference(recorded: SeenFrame, given: SeenFrame) -> str | None:
    """How two requests differ, in words; None if they are equal in all fields that are compared."""
    if recorded.opcode != given.opcode:
        return f"{frame_text(recorded)[2:]} was recorded"
    if recorded.record is None or given.record is None:
        same = recorded.frame.payload[XID_SIZE:] == given.frame.payload[XID_SIZE:]
        return None if same else "the bytes after the xid differ"
    return next(iter(differences(_stable(recorded.record), _stable(given.record))), None)


def _stable(record: Any) -> Any:
    names = _VOLATILE.get(type(record), ())
    return record.replace(**{name: _NOTHING[type(getattr(record, name))] for name in names}) if names else record


_NOTHING: dict[type, Any] = {int: 0, bytes: b"", type(None): b""}


def differences(recorded: Any, given: Any, name: str = "") -> list[str]:
    """Each field in which two records differ: "data: recorded 'x', now 'y'"."""
    if type(recorded) is not type(given) and (isinstance(recorded, TypedTuple) or isinstance(given, TypedTuple)):
        return [f"{name or 'record'}: recorded {type(recorded).__name__}, now {type(given).__name__}"]
    if isinstance(recorded, MultiSequence) and len(recorded) == len(given):
        return [
            each
            for place, (was, now) in enumerate(zip(recorded, given))
            for each in differences(was.header, now.header, f"[{place}]")
            + differences(was.body, now.body, f"[{place}]")
        ]
    if isinstance(recorded, Record):
        return [
            each
            for known, was, now in zip(type(recorded).FIELDS, recorded, given)
            for each in differences(was, now, f"{name}.{known.name}".lstrip("."))
        ]
    return (
        []
        if recorded == given
        else [f"{name or 'record'}: recorded {_short(recorded, name)}, now {_short(given, name)}"]
    )


def _short(value: Any, name: str) -> str:
    shown = as_json(value, name=name)
    return shown if isinstance(value, int) and isinstance(shown, str) else f"{shown!r:.80}"


# --- as a server


class Script:
    """A recording that is played as a server. A client's connection gets the replies of one recorded connection: the
    first that was not played yet and that asks for the same session.

    Args:
        recorded: the connections, in the order in which they were opened.
        diverged: called with a line for each difference from the recording.
    """

    def __init__(
        self, recorded: Sequence[RecordedConnection], diverged: Callable[[str], object] = lambda text: None
    ) -> None:
        self._left = list(recorded)
        self._playing = 0
        self._diverged = diverged
        #: The differences from the recording, in words.
        self.divergences: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether every connection was played, and no client is connected."""
        return not self._left and self._playing == 0

    def accept(self) -> Playing:
        """A client has connected."""
        self._playing += 1
        return Playing(self)

    def choose(self, session: int) -> RecordedConnection | None:
        found = next((recorded for recorded in self._left if recorded.session == session), None)
        if found is not None:
            self._left.remove(found)
        return found

    def diverged(self, text: str) -> None:
        self.divergences.append(text)
        self._diverged(text)

    def ended(self) -> None:
        self._playing -= 1


class Playing:
    """One connection, as it is played. `is_over`: nothing more will be sent, and the connection must be closed."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._conversation = Conversation()
        self._recorded: RecordedConnection | None = None
        # Recorded frames, by their index among the frames of the connection:
        self._requests: dict[int, SeenFrame] = {}  # requests that have not come yet
        self._replies: dict[SeenFrame, int] = {}  # replies, by request
        self._unasked: list[int] = []  # frames that answer no request, such as events, and were not sent yet
        self._zxid = 0
        self.is_over = False

    def receive(self, data: bytes, now: float) -> bytes:
        """Take bytes of the client. Returns the bytes to send to it, which may be none."""
        sent = b""
        for seen in self._conversation.receive(Direction.SENT, data, now):
            if self.is_over:
                break
            if isinstance(seen, bytes):
                self._diverge(f"{counted(len(seen), 'byte')} that cannot be a frame")
            elif seen.is_handshake:
                sent += self._connect(seen)
            elif seen.opcode == OpCode.PING:
                sent += frame(encode(ReplyHeader(Xid.PING, self._zxid, 0)))
            else:
                sent += self._request(seen)
        return sent

    def close(self) -> None:
        """The connection has ended. Requests that have not come are reported."""
        if self._requests and not self.is_over:
            missing = ", ".join(request_text(request) for request in islice(self._requests.values(), 3))
            more = f" and {len(self._requests) - 3} more" if len(self._requests) > 3 else ""
            self._script.diverged(f"{self._name()}: ended without {missing}{more}")
        self.is_over = True
        self._script.ended()

    def _name(self) -> str:
        return "connection ?" if self._recorded is None else f"connection {self._recorded.number}"

    def _diverge(self, text: str) -> None:
        self._script.diverged(f"{self._name()}: {text}")
        self.is_over = True

    def _connect(self, given: SeenFrame) -> bytes:
        record = given.record
        if not isinstance(record, ConnectRequest):
            self._diverge("the first frame is not a ConnectRequest")
            return b""
        self._recorded = self._script.choose(record.session_id)
        if self._recorded is None:
            what = f"session {record.session_id:#x}" if record.session_id else "a new session"
            self._diverge(f"asks for {what}, but no connection of the recording that is left does")
            return b""
        for place, seen in enumerate(self._recorded.frames):
            if seen.direction is Direction.RECEIVED:
                if seen.request is None:
                    self._unasked.append(place)
                else:
                    self._replies[seen.request] = place
            elif place:
                self._requests[place] = seen
        return self._send([])

    def _request(self, given: SeenFrame) -> bytes:
        found = next((place for place, each in self._requests.items() if difference(each, given) is None), None)
        expected = next(iter(self._requests.values()), None)
        if expected is None:
            self._diverge(f"{request_text(given)}: the recording has no more requests")
            return b""
        if found is None:
            why = difference(expected, given) if expected.opcode == given.opcode else None
            self._diverge(f"{request_text(given)}: {why or f'the recording has {request_text(expected)} next'}")
            return b""
        asked = self._requests.pop(found)
        if asked is not expected:
            # The request gets its reply: a client may send independent requests in any order.
            text = f"{request_text(given)}: before {request_text(expected)}, which came first"
            self._script.diverged(f"{self._name()}: {text}")
        # A frame that is too short for a header has no xid, so it has no reply either.
        return self._send([self._replies.pop(asked)] if asked in self._replies else [], given.xid or 0)

    def _send(self, due: list[int], xid: int = 0) -> bytes:
        """These frames, and the events that are due, in their order. `xid`: of the request that was just matched."""
        assert self._recorded is not None
        frames = self._recorded.frames
        waiting = next(iter(self._requests), len(frames))  # frames recorded after this request wait for it
        while self._unasked and self._unasked[0] < waiting:
            due.append(self._unasked.pop(0))
        data = b"".join(self._answer(frames[place], xid) for place in sorted(due))
        if not self._requests and not self._unasked and self._recorded.closed_by == "server":
            self.is_over = True
        return data

    def _answer(self, seen: SeenFrame, xid: int) -> bytes:
        self._zxid = max(self._zxid, seen.zxid)
        if seen.request is None:
            return seen.data
        assert isinstance(seen.header, ReplyHeader)
        return frame(encode(seen.header.replace(xid=xid)) + seen.frame.payload[REPLY_HEADER_SIZE:])
