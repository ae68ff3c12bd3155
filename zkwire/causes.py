"""Which write caused an event, and which request armed the watch that saw it, as far as an onlooker can tell.

A server since 3.9.0 names the transaction in the event's zxid, and the reply to the write has the same: that is
certain. Servers before send -1, and so does any server for events that setWatches finds after a gap; then it is the
latest write that went through the same tap, fits, and is no older than the watch: that is likely.

An event overtakes the reply to its own write (FinalRequestProcessor triggers the watches first), so an event waits for
the replies to those writes on their way that fit it. Each of these comes or its connection ends, so no event waits for
ever. Writes that go past the tap are not seen, and neither are the ends of sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .codes import AddWatchMode, CreateMode, ErrorCode, EventType, OpCode
from .conversation import Passing
from .multi import MultiSequence
from .paths import ancestors
from .records import ErrorResponse

_CREATES = {OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL}
_EPHEMERAL = {CreateMode.EPHEMERAL, CreateMode.EPHEMERAL_SEQUENTIAL}
_SEQUENTIAL = {mode for mode in CreateMode if mode.is_sequential}
#: The operations that change the tree.
WRITES = {*_CREATES, OpCode.DELETE, OpCode.SET_DATA, OpCode.MULTI, OpCode.RECONFIG, OpCode.CLOSE_SESSION}
_CONFIG = "/zookeeper/config"

#: How many writes are remembered.
_KEPT = 10_000

#: The events that each kind of watch sees.
_DATA = frozenset({EventType.NODE_CREATED, EventType.NODE_DELETED, EventType.NODE_DATA_CHANGED})
_CHILD = frozenset({EventType.NODE_CHILDREN_CHANGED, EventType.NODE_DELETED})
_ALL = _DATA | _CHILD
_ARMS: dict[int, frozenset[EventType]] = {
    OpCode.EXISTS: _DATA,
    OpCode.GET_DATA: _DATA,
    OpCode.GET_CHILDREN: _CHILD,
    OpCode.GET_CHILDREN2: _CHILD,
}
_ARM_OTHERS = {OpCode.ADD_WATCH, OpCode.SET_WATCHES, OpCode.SET_WATCHES2}


class Step(NamedTuple):
    """A request, in short: what is remembered of it when it has been answered."""

    connection: int
    xid: int | None
    opcode: int | None
    path: str | None
    now: float


class Cause(NamedTuple):
    """What is known of an event. `write` caused it; None where none that fits went through here. `certain` says whether
    the zxid proves it. `armed` set the watch."""

    write: Step | None
    certain: bool
    armed: Step | None


class _Effect(NamedTuple):
    """An event that a write causes; `open` where the path is only the beginning of it: a sequential create whose reply
    has not come."""

    type: EventType
    path: str
    open: bool = False

    def is_of(self, record: Any) -> bool:
        path = record.path or ""
        return bool(record.type == self.type and (path.startswith(self.path) if self.open else path == self.path))


class Causes:
    """Follows the frames of all connections of one tap; calls `found` with each event, the session of its connection
    and its cause, in the order in which they are known."""

    def __init__(self, found: Callable[[Passing, int, Cause], object]) -> None:
        self._found = found
        self._unanswered: list[Passing] = []  # writes
        self._done: dict[int, tuple[Step, tuple[_Effect, ...]]] = {}  # writes by zxid, oldest first
        self._waiting: list[tuple[Passing, int, Step | None]] = []  # events, their sessions, and what armed them
        self._armed: dict[int, dict[tuple[frozenset[EventType], str, bool], Step]] = {}  # by connection
        self._sessions: dict[int, int] = {}  # by connection
        self._ephemerals: dict[int, set[str]] = {}  # by session

    def connected(self, connection: int, session_id: int) -> None:
        """This connection has this session."""
        self._sessions[connection] = session_id

    def request(self, passing: Passing) -> None:
        """A request went by."""
        if passing.opcode in WRITES:
            self._unanswered.append(passing)

    def reply(self, passing: Passing) -> None:
        """The reply to a request went by."""
        request = passing.request
        if request is None:
            return
        self._arm(request, passing)
        if request.opcode in WRITES:
            self._unanswered = [each for each in self._unanswered if each is not request]
            if not failure(passing):
                self._done[passing.zxid] = (_step(request), tuple(self._effects(request, passing)))
                self._note_ephemerals(request, passing)
                if len(self._done) > _KEPT:
                    del self._done[next(iter(self._done))]
            self._settle()

    def event(self, passing: Passing) -> None:
        """A notification went by."""
        self._waiting.append((passing, self._sessions.get(passing.connection, 0), self._disarm(passing)))
        self._settle()

    def closed(self, connection: int) -> None:
        """The connection ended: no reply comes any more, and its watches are gone."""
        self._armed.pop(connection, None)
        self._unanswered = [request for request in self._unanswered if request.connection != connection]
        self._sessions.pop(connection, None)
        self._settle()

    # --- writes

    def _note_ephemerals(self, request: Passing, reply: Passing) -> None:
        session = self._sessions.get(request.connection, 0)
        if request.opcode == OpCode.CLOSE_SESSION:
            self._ephemerals.pop(session, None)
        for opcode, asked, answered in _operations(request, reply):
            if opcode in _CREATES and asked is not None and asked.flags in _EPHEMERAL:
                self._ephemerals.setdefault(session, set()).add(getattr(answered, "path", None) or asked.path)

    def _effects(self, request: Passing, reply: Passing | None) -> Iterator[_Effect]:
        if request.opcode == OpCode.CLOSE_SESSION:
            for mine in self._ephemerals.get(self._sessions.get(request.connection, 0), ()):
                yield from _deletion(mine)
        for opcode, asked, answered in _operations(request, reply):
            path = getattr(asked, "path", None)
            if opcode == OpCode.RECONFIG:
                yield _Effect(EventType.NODE_DATA_CHANGED, _CONFIG)
            elif not path:
                continue
            elif opcode in _CREATES:
                created = getattr(answered, "path", None)
                yield _Effect(EventType.NODE_CREATED, created or path, created is None and asked.flags in _SEQUENTIAL)
                yield _Effect(EventType.NODE_CHILDREN_CHANGED, _parent(path))
            elif opcode == OpCode.DELETE:
                yield from _deletion(path)
            elif opcode == OpCode.SET_DATA:
                yield _Effect(EventType.NODE_DATA_CHANGED, path)

    def _may_cause(self, request: Passing, event: Passing) -> bool:
        """Whether a write that is on its way may have caused the event. Of a session that ends not all ephemerals need
        be known here; where the zxid will tell, it is waited for."""
        if request.opcode == OpCode.CLOSE_SESSION and event.zxid > 0:
            return event.record.type in _CHILD
        return any(effect.is_of(event.record) for effect in self._effects(request, None))

    # --- events

    def _settle(self) -> None:
        """Tell of the events whose cause is known, or will not be known better."""
        waiting, self._waiting = self._waiting, []
        for event, session, armed in waiting:
            cause = self._cause(event, armed)
            if cause is None:
                self._waiting.append((event, session, armed))
            else:
                self._found(event, session, cause)

    def _cause(self, event: Passing, armed: Step | None) -> Cause | None:
        """None: not known yet."""
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

    def _arm(self, request: Passing, reply: Passing) -> None:
        types = _ARMS.get(request.opcode or 0)
        record = request.record if types is not None or request.opcode in _ARM_OTHERS else None
        if record is None:
            return
        watches = self._armed.setdefault(request.connection, {})
        missing = request.opcode == OpCode.EXISTS and reply.err == ErrorCode.NO_NODE
        if reply.err and not missing:
            return
        if types is not None:
            if record.watch:
                watches[types, record.path, False] = _step(request)
        elif request.opcode == OpCode.ADD_WATCH:
            watches[_ALL, record.path, record.mode == AddWatchMode.PERSISTENT_RECURSIVE] = _step(request)
        else:
            kinds = [(_DATA, False), (_DATA, False), (_CHILD, False), (_ALL, False), (_ALL, True)]
            for (kind, deep), paths in zip(kinds, record[1:]):
                watches.update({(kind, path, deep): _step(request) for path in paths or ()})

    def _disarm(self, event: Passing) -> Step | None:
        """The latest request that armed a watch for this event; one-shot watches are used up."""
        record, watches = event.record, self._armed.get(event.connection, {})
        if record is None or not (record.path or "").startswith("/"):
            return None
        armed = []
        for at in ancestors(record.path):
            for kind, deep in ((_DATA, False), (_CHILD, False), (_ALL, False), (_ALL, True)):
                step = watches.get((kind, at, deep))
                if step is not None and record.type in kind and (deep or at == record.path):
                    armed.append(step)
                    if kind is not _ALL:
                        del watches[kind, at, deep]
        return max(armed, key=lambda step: step.now, default=None)


def failure(reply: Passing) -> int:
    """Why a request failed, or 0. A multi that failed says so in its results only: its header has 0 (rule 68)."""
    if not reply.err and reply.opcode == OpCode.MULTI and isinstance(reply.record, MultiSequence):
        results = [each.body for each in reply.record]
        return next((body.err for body in results if isinstance(body, ErrorResponse) and body.err), 0)
    return reply.err


def _step(request: Passing) -> Step:
    return Step(request.connection, request.xid, request.opcode, request.path, request.frame.now)


def _deletion(path: str) -> list[_Effect]:
    return [_Effect(EventType.NODE_DELETED, path), _Effect(EventType.NODE_CHILDREN_CHANGED, _parent(path))]


def _operations(request: Passing, reply: Passing | None) -> Iterator[tuple[int | None, Any, Any]]:
    """Opcode, record and result of each operation of a write: of a multi all."""
    result = None if reply is None else reply.record
    if not isinstance(request.record, MultiSequence):
        yield request.opcode, request.record, result
        return
    results = [each.body for each in result] if isinstance(result, MultiSequence) else []
    for place, (header, body) in enumerate(request.record):
        yield header.type, body, results[place] if place < len(results) else None


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
