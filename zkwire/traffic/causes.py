"""Which write caused an event, and which request armed the watch that saw it, as far as an onlooker can tell.

Servers since 3.9.0 put the zxid of the transaction into the event, and the reply to the write has the same zxid. Then
the cause is certain. Older servers send -1, and so does every server for events that setWatches finds after a
reconnect. Then the likely cause is the latest write through the same tap that fits the event and is not older than the
watch.

An event comes before the reply to its own write (FinalRequestProcessor triggers the watches first). So an event waits
for the replies to all unanswered writes that fit it. Each of these replies comes or its connection ends, so no event
waits forever. Writes that do not pass this tap are not seen, and neither are sessions that end on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..codes import CreateMode, ErrorCode, EventType, OpCode, WatcherType
from ..multi import MultiSequence
from ..operations import ADD_WATCH_ARMS, BY_OPCODE, CLOSE_SESSION, SERVER_TYPE, TABLE_SEES, WatcherKind
from ..paths import ancestors
from .conversation import SeenFrame

#: The operations that create a znode.
_CREATES = {row.opcode for row in BY_OPCODE.values() if EventType.NODE_CREATED in row.fires}
_EPHEMERAL = {CreateMode.EPHEMERAL, CreateMode.EPHEMERAL_SEQUENTIAL}
_SEQUENTIAL = {mode for mode in CreateMode if mode.is_sequential}
#: The operations that may cause an event.
WRITES = {row.opcode for row in BY_OPCODE.values() if row.writes}
_CONFIG = "/zookeeper/config"

#: How many answered writes are remembered.
_KEPT = 10_000

#: Operations that arm watches by their fields, not by the operations table.
_ARM_OTHERS = {OpCode.ADD_WATCH, OpCode.SET_WATCHES, OpCode.SET_WATCHES2}
_ONE_SHOT = {WatcherType.DATA, WatcherType.CHILDREN}


class AnsweredRequest(NamedTuple):
    """What is remembered of a request that was answered. `now` is the time when it was sent."""

    connection: int
    xid: int | None
    opcode: int | None
    path: str | None
    now: float


class Cause(NamedTuple):
    """The cause of an event.

    Attributes:
        write: the write that caused it; None if no write that fits was seen.
        certain: whether the zxid proves it.
        armed: the request that armed the watch; None if it was not seen.
    """

    write: AnsweredRequest | None
    certain: bool
    armed: AnsweredRequest | None


class _Effect(NamedTuple):
    """An event that a write causes. `open`: the path is only the beginning of the event's path, because the write is a
    sequential create whose reply has not come."""

    type: EventType
    path: str
    open: bool = False

    def is_of(self, record: Any) -> bool:
        path = record.path or ""
        return bool(record.type == self.type and (path.startswith(self.path) if self.open else path == self.path))


class Causes:
    """Follows the frames of all connections of one tap. Calls `found` with each event, the session of its connection,
    and its cause, as soon as the cause is known."""

    def __init__(self, found: Callable[[SeenFrame, int, Cause], object]) -> None:
        self._found = found
        self._unanswered: list[SeenFrame] = []  # writes
        self._done: dict[int, tuple[AnsweredRequest, tuple[_Effect, ...]]] = {}  # writes by zxid, oldest first
        # Events, their sessions, and the requests that armed their watches:
        self._waiting: list[tuple[SeenFrame, int, AnsweredRequest | None]] = []
        self._armed: dict[int, dict[tuple[WatcherType, str], AnsweredRequest]] = {}  # by connection
        self._sessions: dict[int, int] = {}  # by connection
        self._ephemerals: dict[int, set[str]] = {}  # by session

    def connected(self, connection: int, session_id: int) -> None:
        """This connection now has this session."""
        self._sessions[connection] = session_id

    def request(self, seen: SeenFrame) -> None:
        """A request was seen."""
        if seen.opcode in WRITES:
            self._unanswered.append(seen)

    def reply(self, seen: SeenFrame) -> None:
        """A reply was seen."""
        request = seen.request
        if request is None:
            return
        self._arm(request, seen)
        if request.opcode in WRITES:
            self._unanswered = [each for each in self._unanswered if each is not request]
            if not seen.failure:
                self._done[seen.zxid] = (_remembered(request), tuple(self._effects(request, seen)))
                self._note_ephemerals(request, seen)
                if len(self._done) > _KEPT:
                    del self._done[next(iter(self._done))]
            self._settle()

    def event(self, seen: SeenFrame) -> None:
        """A notification was seen."""
        self._waiting.append((seen, self._sessions.get(seen.connection, 0), self._disarm(seen)))
        self._settle()

    def closed(self, connection: int) -> None:
        """The connection ended: no more replies come on it, and its watches are gone."""
        self._armed.pop(connection, None)
        self._unanswered = [request for request in self._unanswered if request.connection != connection]
        self._sessions.pop(connection, None)
        self._settle()

    # --- writes

    def _note_ephemerals(self, request: SeenFrame, reply: SeenFrame) -> None:
        session = self._sessions.get(request.connection, 0)
        if request.opcode == OpCode.CLOSE_SESSION:
            self._ephemerals.pop(session, None)
        for opcode, asked, answered in _operations(request, reply):
            if opcode in _CREATES and asked is not None and asked.flags in _EPHEMERAL:
                self._ephemerals.setdefault(session, set()).add(getattr(answered, "path", None) or asked.path)

    def _effects(self, request: SeenFrame, reply: SeenFrame | None) -> Iterator[_Effect]:
        if request.opcode == OpCode.CLOSE_SESSION:
            for mine in self._ephemerals.get(self._sessions.get(request.connection, 0), ()):
                yield from _fired(OpCode.CLOSE_SESSION, mine)
        for opcode, asked, answered in _operations(request, reply):
            path = _CONFIG if opcode == OpCode.RECONFIG else getattr(asked, "path", None)
            created = getattr(answered, "path", None) if opcode in _CREATES else None
            is_open = created is None and opcode in _CREATES and asked is not None and asked.flags in _SEQUENTIAL
            if path:
                yield from _fired(opcode, created or path, is_open)

    def _may_cause(self, request: SeenFrame, event: SeenFrame) -> bool:
        """Whether an unanswered write may have caused the event. A closeSession may have deleted ephemerals that were
        not seen here. If the event has a zxid, the zxid of the reply will settle it, so the event waits for that."""
        if request.opcode == OpCode.CLOSE_SESSION and event.zxid > 0:
            return event.record.type in CLOSE_SESSION.fires
        return any(effect.is_of(event.record) for effect in self._effects(request, None))

    # --- events

    def _settle(self) -> None:
        """Report the events whose cause is known, or that no further reply can explain."""
        waiting, self._waiting = self._waiting, []
        for event, session, armed in waiting:
            cause = self._cause(event, armed)
            if cause is None:
                self._waiting.append((event, session, armed))
            else:
                self._found(event, session, cause)

    def _cause(self, event: SeenFrame, armed: AnsweredRequest | None) -> Cause | None:
        """None if it is not known yet."""
        if event.zxid > 0 and event.zxid in self._done:
            return Cause(self._done[event.zxid][0], True, armed)
        if event.record is None:
            return Cause(None, False, armed)
        if any(self._may_cause(request, event) for request in self._unanswered):
            return None
        if event.zxid <= 0:
            since = 0.0 if armed is None else armed.now
            for write, effects in reversed(self._done.values()):
                if write.now >= since and any(effect.is_of(event.record) for effect in effects):
                    return Cause(write, False, armed)
        return Cause(None, False, armed)

    # --- watches

    def _arm(self, request: SeenFrame, reply: SeenFrame) -> None:
        watches = self._armed.setdefault(request.connection, {})
        for kind, path in _armed_by(request, reply.err):
            watches[SERVER_TYPE[kind], path] = _remembered(request)

    def _disarm(self, event: SeenFrame) -> AnsweredRequest | None:
        """The latest request that armed a watch for this event. One-shot watches are removed."""
        record, watches = event.record, self._armed.get(event.connection, {})
        if record is None or not (record.path or "").startswith("/"):
            return None
        armed = []
        for at in ancestors(record.path):
            for table in TABLE_SEES if at == record.path else (WatcherType.PERSISTENT_RECURSIVE,):
                request = watches.get((table, at))
                if request is not None and record.type in TABLE_SEES[table]:
                    armed.append(request)
                    if table in _ONE_SHOT:
                        del watches[table, at]
        return max(armed, key=lambda request: request.now, default=None)


def _armed_by(request: SeenFrame, err: int) -> Iterator[tuple[WatcherKind, str]]:
    """The watches that a request has armed if its reply has this error."""
    operation = BY_OPCODE.get(request.opcode or 0)
    kind = None if operation is None else operation.arms_on_no_node if err == ErrorCode.NO_NODE else operation.arms
    if kind is not None:
        if request.record is not None and request.record.watch and err in (0, ErrorCode.NO_NODE):
            yield kind, request.record.path
    elif err or request.opcode not in _ARM_OTHERS or request.record is None:
        return
    elif request.opcode == OpCode.ADD_WATCH:
        if request.record.mode not in ADD_WATCH_ARMS:
            return  # a real server would have refused it, but the server here may be another program
        yield ADD_WATCH_ARMS[request.record.mode], request.record.path
    else:
        for kind in WatcherKind:
            for path in getattr(request.record, f"{kind.name.lower()}_watches", None) or ():
                yield kind, path


def _remembered(request: SeenFrame) -> AnsweredRequest:
    return AnsweredRequest(request.connection, request.xid, request.opcode, request.path, request.frame.now)


def _fired(opcode: int | None, path: str, is_open: bool = False) -> Iterator[_Effect]:
    """The events that an operation on the path causes."""
    operation = BY_OPCODE.get(opcode or 0)
    for kind in () if operation is None else operation.fires:
        if kind is EventType.NODE_CHILDREN_CHANGED:
            yield _Effect(kind, _parent(path))
        else:
            yield _Effect(kind, path, is_open)


def _operations(request: SeenFrame, reply: SeenFrame | None) -> Iterator[tuple[int | None, Any, Any]]:
    """(opcode, record, result) of each operation of a write. A multi has several."""
    result = None if reply is None else reply.record
    if not isinstance(request.record, MultiSequence):
        yield request.opcode, request.record, result
        return
    results = [each.body for each in result] if isinstance(result, MultiSequence) else []
    for place, (header, body) in enumerate(request.record):
        yield header.type, body, results[place] if place < len(results) else None


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
