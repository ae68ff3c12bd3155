"""A ZooKeeper server reduced to what a client's bookkeeping can be held against: it remembers all that it executed.

One client session, znodes without data, and both tables of watches, in the two ways that servers have kept them:
before 3.9.0 one mode for each path and table, the last one winning; since then each mode for itself (ZOOKEEPER-4466).
Requests are read from bytes and answered with bytes. Auth packets are answered as they are read, all others when they
are executed, so that auth replies overtake as they do on real servers.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from tests.support.fake.wire import (
    Sent,
    auth_reply,
    connect_response,
    notification,
    payloads,
    pong,
    read_request,
    reply,
)
from zkwire.codes import AddWatchMode, ErrorCode, EventType, OpCode, WatcherType
from zkwire.jute import decode
from zkwire.paths import ancestors
from zkwire.records import (
    ConnectRequest,
    ErrorResponse,
    ExistsResponse,
    GetChildrenResponse,
    GetDataResponse,
    SetDataResponse,
    Stat,
    SyncResponse,
)

STANDARD, PERSISTENT, RECURSIVE = "standard", "persistent", "recursive"
_MODES = {AddWatchMode.PERSISTENT: PERSISTENT, AddWatchMode.PERSISTENT_RECURSIVE: RECURSIVE}


class Table:
    """(path, mode) of one connection."""

    def __init__(self, *, one_mode: bool) -> None:
        self._one_mode = one_mode
        self.modes: dict[str, set[str]] = {}

    def add(self, path: str, mode: str) -> None:
        if self._one_mode:
            self.modes[path] = {mode}
        else:
            self.modes.setdefault(path, set()).add(mode)

    def has(self, path: str, *modes: str) -> bool:
        return not self.modes.get(path, set()).isdisjoint(modes)

    def remove(self, path: str, mode: str | None) -> bool:
        """Whether there was such a watch; None is any."""
        found = self.modes.get(path, set())
        gone = set(found) if mode is None else found & {mode}
        found -= gone
        return bool(gone)


class ModelServer:
    """The server, its znodes, and the one connection that it has at a time."""

    def __init__(self, *, old: bool) -> None:
        self.old = old
        self.zxid = 1
        #: path -> (mzxid, pzxid)
        self.znodes: dict[str, tuple[int, int]] = {"/": (0, 0)}
        self.expired = False
        #: What identifies a request -> the zxid that it was executed at.
        self.executed: dict[str, int] = {}
        self.twice: list[str] = []
        self.refuse_next_add_watch = False
        self.connect()

    def connect(self) -> None:
        """A new TCP connection; watches of the one before are gone."""
        self.data, self.child = Table(one_mode=self.old), Table(one_mode=self.old)
        self.out = b""
        self._in = b""
        self._greeted = False
        self.pipeline: deque[Sent] = deque()

    # --- bytes

    def read(self, data: bytes) -> None:
        found, self._in = payloads(self._in + data)
        for payload in found:
            if not self._greeted:
                self._greeted = True
                request = decode(ConnectRequest, payload)
                gone = self.expired and request.session_id != 0
                self.out += connect_response(0, time_out=0, passwd=bytes(16)) if gone else connect_response()
                continue
            sent = read_request(payload)
            if sent.opcode is OpCode.AUTH:
                self.out += auth_reply()
            else:
                self.pipeline.append(sent)

    def execute(self, count: int) -> None:
        """Execute so many of the requests read."""
        for _ in range(min(count, len(self.pipeline))):
            self._execute(self.pipeline.popleft())

    # --- what others do

    def change(self, path: str) -> None:
        """Another client's setData, or create where there is no such znode."""
        self.zxid += 1
        if path in self.znodes:
            self.znodes[path] = (self.zxid, self.znodes[path][1])
            self._fire_data(EventType.NODE_DATA_CHANGED, path)
            return
        parent = path[: path.rfind("/")] or "/"
        if parent not in self.znodes:
            return
        self.znodes[path] = (self.zxid, self.zxid)
        self._touch(parent)
        self._fire_data(EventType.NODE_CREATED, path)
        self._fire_child(EventType.NODE_CHILDREN_CHANGED, parent)

    def delete(self, path: str) -> None:
        """Another client's delete."""
        self.zxid += 1
        if path not in self.znodes or self.children(path):
            return
        del self.znodes[path]
        parent = path[: path.rfind("/")] or "/"
        self._touch(parent)
        told = self._fire_data(EventType.NODE_DELETED, path)
        self._fire_child(EventType.NODE_DELETED, path, told=told)
        self._fire_child(EventType.NODE_CHILDREN_CHANGED, parent)

    def children(self, path: str) -> list[str]:
        return [found for found in self.znodes if found != "/" and (found[: found.rfind("/")] or "/") == path]

    def _touch(self, path: str) -> None:
        self.znodes[path] = (self.znodes[path][0], self.zxid)

    def _fire_data(self, kind: EventType, path: str) -> bool:
        recursive = any(self.data.has(parent, RECURSIVE) for parent in ancestors(path))
        if recursive or self.data.has(path, STANDARD, PERSISTENT):
            self.data.remove(path, STANDARD)
            self._notify(kind, path, self.zxid)
            return True
        return False

    def _fire_child(self, kind: EventType, path: str, *, told: bool = False) -> None:
        if self.child.has(path, STANDARD, PERSISTENT):
            self.child.remove(path, STANDARD)
            if not told:
                self._notify(kind, path, self.zxid)

    def _notify(self, kind: EventType, path: str, zxid: int) -> None:
        self.out += notification(kind, path, -1 if self.old else zxid)

    # --- requests

    def _execute(self, sent: Sent) -> None:
        xid, opcode, record = sent
        match opcode:
            case OpCode.PING:
                self.out += pong(self.zxid)
            case OpCode.SYNC:
                self._note(record.path)
                self.out += reply(xid, self.zxid, record=SyncResponse(record.path))
            case OpCode.SET_DATA:
                self.zxid += 1
                self._note(record.data.decode())
                if record.path not in self.znodes:
                    self.out += reply(xid, self.zxid, ErrorCode.NO_NODE)
                    return
                self.znodes[record.path] = (self.zxid, self.znodes[record.path][1])
                self._fire_data(EventType.NODE_DATA_CHANGED, record.path)
                self.out += reply(xid, self.zxid, record=SetDataResponse(self._stat(record.path)))
            case OpCode.EXISTS | OpCode.GET_DATA | OpCode.GET_CHILDREN:
                self._read(xid, opcode, record)
            case OpCode.ADD_WATCH:
                if self.refuse_next_add_watch:
                    self.refuse_next_add_watch = False
                    self.out += reply(xid, self.zxid, ErrorCode.THROTTLED_OP)
                    return
                self._add_persistent(record.path, _MODES[record.mode])
                self.out += reply(xid, self.zxid, record=ErrorResponse(0))
            case OpCode.REMOVE_WATCHES:
                self.out += reply(xid, self.zxid, self._remove(record.path, record.type))
            case OpCode.SET_WATCHES | OpCode.SET_WATCHES2:
                self._set_watches(record)
                self.out += reply(xid, self.zxid)
            case _:
                assert opcode is OpCode.CLOSE_SESSION
                self.pipeline.clear()
                self.out += reply(xid, self.zxid)

    def _note(self, token: str) -> None:
        if token in self.executed:
            self.twice.append(token)
        self.executed[token] = self.zxid

    def _stat(self, path: str) -> Stat:
        mzxid, pzxid = self.znodes[path]
        return Stat(1, mzxid, 0, 0, 0, 0, 0, 0, 0, 0, pzxid)

    def _read(self, xid: int, opcode: OpCode, record: Any) -> None:
        path = record.path
        there = path in self.znodes
        if record.watch and (there or opcode is OpCode.EXISTS):
            (self.child if opcode is OpCode.GET_CHILDREN else self.data).add(path, STANDARD)
        if not there:
            self.out += reply(xid, self.zxid, ErrorCode.NO_NODE)
        elif opcode is OpCode.EXISTS:
            self.out += reply(xid, self.zxid, record=ExistsResponse(self._stat(path)))
        elif opcode is OpCode.GET_DATA:
            self.out += reply(xid, self.zxid, record=GetDataResponse(b"", self._stat(path)))
        else:
            self.out += reply(xid, self.zxid, record=GetChildrenResponse(tuple(self.children(path))))

    def _add_persistent(self, path: str, mode: str) -> None:
        self.data.add(path, mode)
        if mode == PERSISTENT or self.old:
            self.child.add(path, mode)

    def _remove(self, path: str, kind: int) -> int:
        # Before 3.9.0 there was one mode, and types 1 and 2 took it whatever it was.
        standard = None if self.old else STANDARD
        if kind == WatcherType.CHILDREN:
            found = self.child.remove(path, standard)
        elif kind == WatcherType.DATA:
            found = self.data.remove(path, standard)
        elif kind == WatcherType.ANY:
            found = self.data.remove(path, None) | self.child.remove(path, None)
        elif self.old:
            return ErrorCode.MARSHALLING_ERROR
        else:
            mode = PERSISTENT if kind == WatcherType.PERSISTENT else RECURSIVE
            found = self.data.remove(path, mode) | self.child.remove(path, mode)
        return ErrorCode.OK if found else ErrorCode.NO_WATCHER

    def _set_watches(self, record: Any) -> None:
        """Fire what happened since, and put back the rest (DataTree.setWatches)."""
        since, data, exist, child, *persistent = record
        for path in data:
            if path not in self.znodes:
                self._notify(EventType.NODE_DELETED, path, -1)
            elif self.znodes[path][0] > since:
                self._notify(EventType.NODE_DATA_CHANGED, path, -1)
            else:
                self.data.add(path, STANDARD)
        for path in exist:
            if path in self.znodes:
                self._notify(EventType.NODE_CREATED, path, -1)
            else:
                self.data.add(path, STANDARD)
        for path in child:
            if path not in self.znodes:
                self._notify(EventType.NODE_DELETED, path, -1)
            elif self.znodes[path][1] > since:
                self._notify(EventType.NODE_CHILDREN_CHANGED, path, -1)
            else:
                self.child.add(path, STANDARD)
        for paths, mode in zip(persistent, (PERSISTENT, RECURSIVE)):
            for path in paths:
                self._add_persistent(path, mode)
