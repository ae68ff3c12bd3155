"""A session's watches on its connections: what is sent to set, restore and remove them, and what the replies do.

watches.py knows which watches there are. This file sends the requests about them and takes the replies. "Rule N":
docs/client-rules.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..codes import ErrorCode
from ..operations import ADD_WATCH, ADD_WATCH_ARMS, REMOVE_WATCHES, SET_WATCHES, SET_WATCHES2, WatcherKind
from ..records import SetWatches, SetWatches2
from ..text import counted
from .connection import Connection
from .events import Replied, WatchedEvent
from .requests import SET_WATCHES_FRAME, OwnRequest, Request
from .states import ConnectionState
from .watches import SET_WATCHES_MAX_LENGTH, Watches

_SET_WATCHES_LISTS = (WatcherKind.DATA, WatcherKind.EXIST, WatcherKind.CHILD)


class Arming:
    """The requests about the watches of one session, on one connection after another.

    A method that returns a str returns the reason why the connection must be given up, "" if there is none.
    """

    def __init__(self, max_frame: int) -> None:
        self.watches = Watches()
        #: How many setWatches of this connection are not answered yet.
        self.restoring = 0
        self._connection: Connection | None = None
        self._length = min(SET_WATCHES_MAX_LENGTH, max_frame - SET_WATCHES_FRAME)  # of the paths in one setWatches
        self._longest_answered = 0  # the longest setWatches that was answered on this connection, in bytes
        self._server_removes = True  # whether it knows removeWatches
        self._events_have_zxids = False

    # --- connections

    def begin(self, connection: Connection, last_zxid: int, now: float) -> None:
        """Set all watches again on a new connection."""
        self._connection = connection
        self._longest_answered = 0
        for record in self.watches.set_watches(last_zxid, self._length):
            self._send_set_watches(record, now)

    def give_up(self) -> None:
        """Send nothing more on this connection."""
        self._connection = None

    def lost(self, unanswered: Iterable[Request]) -> str:
        """The connection was lost before these requests were answered. Returns words about an unanswered setWatches for
        the end of the state's reason; "" if there is none.

        A server with a smaller jute.maxbuffer than ours closes the connection when a setWatches is too long for it, and
        would do so each time. So the next ones are shorter, in the end one for each path.
        """
        self._connection = None
        self.restoring = 0
        self.watches.connection_lost()
        for request in unanswered:
            if type(request) is OwnRequest and request.operation in (SET_WATCHES, SET_WATCHES2):
                size = request.end - request.start - 4
                if size <= self._longest_answered:
                    break
                self._length = max(min(self._length, size) // 4, 1)
                sent = counted(size, "byte")
                return (
                    f"; no answer to a setWatches of {sent}: "
                    "the next ones are shorter, in case the server's jute.maxbuffer is smaller"
                )
        return ""

    # --- requests of callers that arm a watch

    def send(self, request: Request, connection: Connection, now: float) -> None:
        """Send a request that has a watcher. Raises as Connection.send."""
        path, kind = request.record.path, request.operation.arms
        if kind is not None:  # whether a one-shot watch needs its flag is known only now, in wire order
            request.record = request.record.replace(watch=not self.watches.rides(kind, path))
        connection.send(request, now)
        self.watches.expect(path, None if kind is not None else ADD_WATCH_ARMS[request.record.mode])

    def take_reply(self, event: Replied, last_zxid: int, now: float) -> str:
        """Arm the watch in the step that takes the reply: the next frame may already be its event."""
        request, err = event.request, event.err
        path, operation = request.record.path, request.operation
        self.watches.settle(path)
        if operation is ADD_WATCH:
            kind = ADD_WATCH_ARMS[request.record.mode]
            if err:
                if self.watches.refuse(kind, path):
                    return f"addWatch failed with {err} while another one was on its way to {path}"
                self._remove_unused(path, now)  # an earlier watch may have lost its last watcher meanwhile
                return ""
            self.watches.arm(kind, path, request.watcher)
            if self.watches.child_watch_hidden_by(request.record.mode, path):
                self._send_set_watches(SetWatches(last_zxid, (), (), (path,)), now)
            return ""
        armed = operation.arms if err == 0 else operation.arms_on_no_node if err == ErrorCode.NO_NODE else None
        if armed is not None:
            riding = not request.record.watch and self.watches.rides(armed, path)
            self.watches.arm(armed, path, request.watcher, riding=riding)
            if not request.record.watch and not riding:
                # The addWatch that it was to ride on was refused, so the server has no watch yet.
                lists = ((path,) if kind is armed else () for kind in _SET_WATCHES_LISTS)
                self._send_set_watches(SetWatches(last_zxid, *lists), now)
        self._remove_unused(path, now)
        return ""

    # --- what ends a watch

    def disarm(self, path: str, watcher: Any, now: float) -> None:
        """The watcher needs no more events of the path. If it was the last one, the server's watch is removed (rule
        67)."""
        if self.watches.disarm(path, watcher):
            self._remove_unused(path, now)

    def fire(self, event: WatchedEvent, now: float) -> list[Any]:
        """Take a notification. Returns the watchers that are given the event."""
        # Since 3.9.0 events carry their transaction's zxid, except those that setWatches finds. These are only for the
        # one-shot watches that it has set again: a persistent watch has seen the event already, or gets a RESYNC.
        self._events_have_zxids = self._events_have_zxids or event.zxid > 0
        watchers = self.watches.fire(event, one_shots_only=self._events_have_zxids and event.zxid <= 0)
        self._remove_unused(event.path, now)
        return watchers

    # --- our own requests

    def note_restored(self, request: Request) -> None:
        """The server has answered one of the session's own requests. If it is a setWatches, one fewer is on its way."""
        if self.restoring and request.operation in (SET_WATCHES, SET_WATCHES2):
            self.restoring -= 1
            self._longest_answered = max(self._longest_answered, request.end - request.start - 4)

    def take_own_reply(self, event: Replied) -> str:
        """Take the reply to a setWatches or a removeWatches."""
        operation = event.request.operation
        if operation is not REMOVE_WATCHES:
            return f"{operation.name} failed with {event.err}: the watches are not set" if event.err else ""
        if event.err == ErrorCode.UNIMPLEMENTED:
            self._server_removes = False  # a server before 3.5.0, which closes the connection for it
        return ""

    def to_resync(self, request: Request) -> Iterator[list[Any]]:
        """The watchers of persistent watches that an answered setWatches2 has set again, by kind. The server has kept
        no events for them (rule 64)."""
        if request.operation is SET_WATCHES2:
            for kind, paths in (
                (WatcherKind.PERSISTENT, request.record.persistent_watches),
                (WatcherKind.PERSISTENT_RECURSIVE, request.record.persistent_recursive_watches),
            ):
                watchers = [watcher for path in paths or () for watcher in self.watches.watchers(kind, path or "")]
                if watchers:
                    yield watchers

    def _send_set_watches(self, record: SetWatches | SetWatches2, now: float) -> None:
        if self._connection is not None and self._connection.state is ConnectionState.ESTABLISHED:
            self.restoring += 1
            operation = SET_WATCHES if isinstance(record, SetWatches) else SET_WATCHES2
            self._connection.send(OwnRequest(operation, record), now)

    def _remove_unused(self, path: str, now: float) -> None:
        """Remove the server's watches on a path that no watcher needs any more."""
        connection = self._connection
        if self._server_removes and connection is not None and connection.state is ConnectionState.ESTABLISHED:
            for record in self.watches.removals(path):
                connection.send(OwnRequest(REMOVE_WATCHES, record), now)
