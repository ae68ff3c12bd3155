"""Which watches there are, which event fires which, and how they are set again on a new connection.

Two things are kept apart:

* interest: the watchers of our callers, by kind and path. Many watchers share one watch on the server.
* standing: the watches that the server has for this connection, as (WatcherType, path). Lost with the connection.

A one-shot watch needs no watch of its own on a path that has a persistent one. It *rides* on the persistent one, which
sees the same events. This is necessary, not just cheaper: before 3.9.0 a server keeps one mode per path, and
getData(watch=true) turns a persistent watch into a one-shot (rule 65, ZOOKEEPER-4466). For the same reason a persistent
watch is removed only when nothing rides on it any more.

"Rule N": docs/client-rules.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..codes import AddWatchMode, EventType, WatcherType
from ..operations import SERVER_TYPE, TABLE_SEES, WatcherKind
from ..paths import ancestors
from ..records import RemoveWatchesRequest, SetWatches, SetWatches2
from .events import WatchedEvent

#: How many bytes of path text one SetWatches carries at most, well under any frame limit (ZOOKEEPER-706).
SET_WATCHES_MAX_LENGTH = 128 * 1024

_DATA, _EXIST, _CHILD = WatcherKind.DATA, WatcherKind.EXIST, WatcherKind.CHILD
_PERSISTENT, _RECURSIVE = WatcherKind.PERSISTENT, WatcherKind.PERSISTENT_RECURSIVE

_ONE_SHOTS = {WatcherType.DATA: (_DATA, _EXIST), WatcherType.CHILDREN: (_CHILD,)}
_PERSISTENTS = {WatcherType.PERSISTENT: _PERSISTENT, WatcherType.PERSISTENT_RECURSIVE: _RECURSIVE}

#: Which one-shot kinds an event on their path fires and uses up.
_FIRES_ONCE: dict[int, tuple[WatcherKind, ...]] = {
    event: tuple(kind for table, kinds in _ONE_SHOTS.items() if event in TABLE_SEES[table] for kind in kinds)
    for event in frozenset().union(*TABLE_SEES.values())
}


class Watches:
    """All watches of one session. Paths are the server's. Watchers are any objects that the caller gives."""

    def __init__(self) -> None:
        self._interest: dict[WatcherKind, dict[str, list[Any]]] = {kind: {} for kind in WatcherKind}
        self._standing: set[tuple[WatcherType, str]] = set()
        self._expected: Counter[str] = Counter()  # by path: requests on their way that will arm a watch there
        self._adding: Counter[str] = Counter()  # how many of those requests are addWatch
        self._granted: set[tuple[WatcherType, str]] = set()  # persistent ones in `standing` whose reply has come

    # --- arming

    def rides(self, kind: WatcherKind, path: str) -> bool:
        """Whether a one-shot watch needs no flag in its request, because a persistent watch sees its events."""
        if (WatcherType.PERSISTENT, path) in self._standing:
            return True
        return kind is not _CHILD and (WatcherType.PERSISTENT_RECURSIVE, path) in self._standing

    def expect(self, path: str, kind: WatcherKind | None = None) -> None:
        """A request that arms a watch on the path is sent. A persistent one counts as standing from now on: the server
        reads later requests after this one."""
        self._expected[path] += 1
        if kind is not None:
            self._adding[path] += 1
            self._standing.add((SERVER_TYPE[kind], path))

    def settle(self, path: str) -> None:
        """The reply to such a request has come, or will never come."""
        self._expected[path] -= 1
        if self._expected[path] <= 0:
            del self._expected[path]

    def arm(self, kind: WatcherKind, path: str, watcher: Any, *, riding: bool = False) -> None:
        """The reply says that the watch is set. `riding`: the server was not asked for a watch of its own."""
        self._interest[kind].setdefault(path, []).append(watcher)
        if not riding:
            self._standing.add((SERVER_TYPE[kind], path))
        if kind in (_PERSISTENT, _RECURSIVE):
            self._granted.add((SERVER_TYPE[kind], path))
            self._added(path)

    def refuse(self, kind: WatcherKind, path: str) -> bool:
        """The server refused a persistent watch. One that it took before stays. True if another addWatch is on its way
        to the path: then it is not known whether one-shot watches set between the two have a watch to ride on."""
        self._added(path)
        if (SERVER_TYPE[kind], path) not in self._granted:
            self._standing.discard((SERVER_TYPE[kind], path))
        return path in self._adding

    def _added(self, path: str) -> None:
        self._adding[path] -= 1
        if self._adding[path] <= 0:
            del self._adding[path]

    def child_watch_hidden_by(self, mode: int, path: str) -> bool:
        """Whether an addWatch that was just answered has replaced a child watch on its path. Servers before 3.9.0 do
        that with a recursive watch, which sees no NodeChildrenChanged."""
        return (
            mode == AddWatchMode.PERSISTENT_RECURSIVE
            and (WatcherType.CHILDREN, path) in self._standing
            and (WatcherType.PERSISTENT, path) not in self._standing
        )

    # --- firing

    def fire(self, event: WatchedEvent, *, one_shots_only: bool = False) -> list[Any]:
        """The watchers that are given the event. One-shot ones are used up."""
        path, kind = event.path, event.type
        watchers: list[Any] = []
        for once in _FIRES_ONCE.get(kind, ()):
            watchers += self._interest[once].pop(path, ())
            self._standing.discard((SERVER_TYPE[once], path))
        if kind in _FIRES_ONCE and not one_shots_only:
            watchers += self._interest[_PERSISTENT].get(path, ())
            # This event is for child watches. A recursive watch above them does not see it.
            if kind != EventType.NODE_CHILDREN_CHANGED and self._interest[_RECURSIVE]:
                for parent in ancestors(path):
                    watchers += self._interest[_RECURSIVE].get(parent, ())
        return watchers

    def all_watchers(self) -> list[Any]:
        """Every watcher, once each."""
        lists = (watchers for paths in self._interest.values() for watchers in paths.values())
        return list(dict.fromkeys(watcher for watchers in lists for watcher in watchers))

    def watchers(self, kind: WatcherKind, path: str) -> list[Any]:
        """The watchers of one kind on one path."""
        return list(self._interest[kind].get(path, ()))

    def clear(self) -> None:
        """Forget everything: the session is over."""
        for paths in self._interest.values():
            paths.clear()
        self.connection_lost()

    # --- disarming

    def disarm(self, path: str, watcher: Any) -> bool:
        """The watcher needs no more events of the path. False if it had no interest there any more."""
        found = False
        for paths in self._interest.values():
            watchers = paths.get(path, [])
            if watcher in watchers:
                found = True
                watchers.remove(watcher)
                if not watchers:
                    del paths[path]
        return found

    def removals(self, path: str) -> list[RemoveWatchesRequest]:
        """The requests that remove the server's unused watches on a path. They count as sent.

        There are none while a request is on its way that arms a watch there, since that watch would be removed too.
        """
        if path in self._expected:
            return []
        persistent = [type_ for type_ in _PERSISTENTS if (type_, path) in self._standing]
        unused = [type_ for type_ in persistent if path not in self._interest[_PERSISTENTS[type_]]]
        one_shots = any(path in self._interest[kind] for kind in (_DATA, _EXIST, _CHILD))
        if persistent and len(unused) == len(persistent):
            # Types 4 and 5 exist since 3.9.0, ANY since 3.5.0.
            return [] if one_shots else self._remove(path, WatcherType.ANY)
        if persistent:
            # Only servers since 3.9.0 have two modes on one path (see Verbs._check_modes). These know types 4 and 5.
            return [] if one_shots else [request for type_ in unused for request in self._remove(path, type_)]
        idle = [
            type_
            for type_, kinds in _ONE_SHOTS.items()
            if (type_, path) in self._standing and not any(path in self._interest[kind] for kind in kinds)
        ]
        return [request for type_ in idle for request in self._remove(path, type_)]

    def _remove(self, path: str, type_: WatcherType) -> list[RemoveWatchesRequest]:
        gone = set(WatcherType) if type_ is WatcherType.ANY else {type_}
        self._standing -= {(each, path) for each in gone}
        self._granted -= {(each, path) for each in gone}
        return [RemoveWatchesRequest(path, type_)]

    # --- reconnecting

    def connection_lost(self) -> None:
        """The server has no watch any more. Interest stays."""
        self._standing.clear()
        self._granted.clear()
        self._expected.clear()
        self._adding.clear()

    def set_watches(
        self, relative_zxid: int, max_length: int = SET_WATCHES_MAX_LENGTH
    ) -> list[SetWatches | SetWatches2]:
        """The requests that set all watches again, in pieces of at most `max_length` bytes of path text. The watches
        count as standing.

        If a znode has changed since `relative_zxid`, the server sends the event at once. SetWatches2 is used only if
        there are persistent watches, since servers before 3.6.0 close the connection on it. Child watches on the same
        path as a recursive watch come last: before 3.9.0 the later of the two stays.
        """
        interest = self._interest
        late = [path for path in interest[_CHILD] if path in interest[_RECURSIVE] and path not in interest[_PERSISTENT]]
        early = [path for path in interest[_CHILD] if path not in interest[_RECURSIVE] or path in interest[_PERSISTENT]]
        for kind in WatcherKind:
            self._standing |= {(SERVER_TYPE[kind], path) for path in interest[kind]}
        self._granted = {(type_, path) for type_, path in self._standing if type_ in _PERSISTENTS}
        pieces = _pieces(
            [
                *((0, path) for path in interest[_DATA]),
                *((1, path) for path in interest[_EXIST]),
                *((2, path) for path in early),
                *((3, path) for path in interest[_PERSISTENT]),
                *((4, path) for path in interest[_RECURSIVE]),
            ],
            max_length,
        )
        pieces += _pieces(((2, path) for path in late), max_length)
        return [_record(relative_zxid, piece) for piece in pieces]


def _pieces(entries: Iterable[tuple[int, str]], max_length: int) -> list[list[tuple[int, str]]]:
    """Entries (number of the list, path) in order, in pieces whose path text does not exceed the limit."""
    pieces: list[list[tuple[int, str]]] = []
    room = 0
    for entry in entries:
        size = len(entry[1].encode()) + 4
        if not pieces or size > room:
            pieces.append([])
            room = max_length
        pieces[-1].append(entry)
        room -= size
    return pieces


def _record(relative_zxid: int, piece: list[tuple[int, str]]) -> SetWatches | SetWatches2:
    lists = [tuple(path for place, path in piece if place == wanted) for wanted in range(5)]
    if lists[3] or lists[4]:
        return SetWatches2(relative_zxid, lists[0], lists[1], lists[2], lists[3], lists[4])
    return SetWatches(relative_zxid, lists[0], lists[1], lists[2])
