"""The znodes of a fake ensemble: one tree, and transactions on it. Pure: no clock, no network.

The leader makes a `Transaction` with a `Draft` on its newest tree; every server then applies the same one, in zxid
order. Checks and their order are those of PrepRequestProcessor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from zkwire.codes import CreateMode, ErrorCode, EventType, OpCode
from zkwire.jute import Record
from zkwire.multi import MultiItem, MultiResponse
from zkwire.paths import problem
from zkwire.records import (
    Create2Response,
    CreateResponse,
    ErrorResponse,
    MultiHeader,
    SetDataResponse,
    Stat,
)

CREATES = (OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL)
_EPHEMERAL = (CreateMode.EPHEMERAL, CreateMode.EPHEMERAL_SEQUENTIAL)


class Node(NamedTuple):
    """A znode as it is between two transactions."""

    data: bytes | None
    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    owner: int
    pzxid: int
    version: int = 0
    created: int = 0  # children ever created: what servers store, and number sequential children with
    children: tuple[str, ...] = ()

    @property
    def stat(self) -> Stat:
        cversion = _int32(2 * self.created - len(self.children))
        length = len(self.data or b"")
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            cversion,
            0,
            self.owner,
            length,
            len(self.children),
            self.pzxid,
        )


class Change(NamedTuple):
    """What happened to a znode, for watches and for the history."""

    kind: EventType  # NODE_CREATED, NODE_DELETED or NODE_DATA_CHANGED
    path: str
    node: Node  # after it; before it for a deletion


class Transaction(NamedTuple):
    """What servers agree on."""

    zxid: int
    request: Any  # whose answer it is
    err: int = 0
    response: Any = None
    nodes: tuple[tuple[str, Node | None], ...] = ()
    changes: tuple[Change, ...] = ()
    opens: tuple[int, int] | None = None  # session id and timeout in ms
    closes: int = 0  # session id


class Refused(Exception):
    """The error code of an operation that cannot be done."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class Tree:
    """What one server has applied."""

    def __init__(self) -> None:
        root = Node(b"", 0, 0, 0, 0, 0, 0, children=("zookeeper",))
        self.nodes: dict[str, Node] = {"/": root, "/zookeeper": Node(b"", 0, 0, 0, 0, 0, 0)}
        self.sessions: dict[int, int] = {}  # id -> timeout in ms
        self.zxid = 0

    def copy(self) -> Tree:
        tree = Tree()
        tree.nodes, tree.sessions, tree.zxid = dict(self.nodes), dict(self.sessions), self.zxid
        return tree

    def apply(self, transaction: Transaction) -> None:
        assert transaction.zxid > self.zxid
        self.zxid = transaction.zxid
        for path, node in transaction.nodes:
            self._put(path, node)
        if transaction.opens is not None:
            session, timeout = transaction.opens
            self.sessions[session] = timeout
        if transaction.closes:
            self.sessions.pop(transaction.closes, None)

    def _put(self, path: str, node: Node | None) -> None:
        if node is None:
            self.nodes.pop(path, None)
        else:
            self.nodes[path] = node

    def ephemerals(self, session: int) -> list[str]:
        return [path for path, node in self.nodes.items() if node.owner == session]

    def below(self, path: str) -> list[str]:
        """The path and all under it, deepest first."""
        found = [name for name in self.nodes if name == path or name.startswith(path.rstrip("/") + "/")]
        return sorted(found, key=lambda name: name.count("/"), reverse=True)


class Draft:
    """One transaction in the making. `first_sequence` is the counter that a new parent starts with."""

    def __init__(self, tree: Tree, zxid: int, now_ms: int, first_sequence: int = 0) -> None:
        self._tree = tree
        self._zxid = zxid
        self._now = now_ms
        self._first_sequence = first_sequence
        self._before: list[tuple[str, Node | None]] = []
        self._after: list[tuple[str, Node | None]] = []
        self._changes: list[Change] = []

    def operation(self, opcode: int, record: Any, session: int) -> Record | None:
        """Do one; its result. Raises Refused, with what was done before still in place."""
        if opcode in CREATES:
            path = self._create(record.path, record.data, record.flags, session)
            if opcode == OpCode.CREATE:
                return CreateResponse(path)
            return Create2Response(path, self._tree.nodes[path].stat)
        if opcode == OpCode.DELETE:
            self._expect(record.path, record.version)
            self.delete(record.path)
            return None
        if opcode == OpCode.SET_DATA:
            node = self._expect(record.path, record.version)
            changed = node._replace(data=record.data, version=node.version + 1, mzxid=self._zxid, mtime=self._now)
            self._put(record.path, changed)
            self._changes.append(Change(EventType.NODE_DATA_CHANGED, record.path, changed))
            return SetDataResponse(changed.stat)
        assert opcode == OpCode.CHECK
        self._expect(record.path, record.version)
        return None

    def multi(self, items: Iterable[MultiItem], session: int) -> MultiResponse:
        """All or none; a failure is in the results, not in the header's err."""
        items = tuple(items)
        results: list[MultiItem] = []
        try:
            for header, record in items:
                body = self.operation(header.type, record, session)
                shown = OpCode.CREATE2 if isinstance(body, Create2Response) else header.type
                results.append(MultiItem(MultiHeader(shown, False, 0), body))
        except Refused as refused:
            self.undo()
            index = len(results)
            codes = [0] * index + [refused.code] + [ErrorCode.RUNTIME_INCONSISTENCY] * (len(items) - index - 1)
            results = [MultiItem(MultiHeader(OpCode.ERROR, False, code), ErrorResponse(code)) for code in codes]
        return MultiResponse(tuple(results))

    def delete(self, path: str) -> None:
        """Raises Refused."""
        node = self._tree.nodes[path]
        if node.children:
            raise Refused(ErrorCode.NOT_EMPTY)
        self._put(path, None)
        parent, name = _split(path)
        above = self._tree.nodes[parent]
        children = tuple(child for child in above.children if child != name)
        self._put(parent, above._replace(children=children, pzxid=self._zxid))
        self._changes.append(Change(EventType.NODE_DELETED, path, node))

    def undo(self) -> None:
        for path, node in reversed(self._before):
            self._tree._put(path, node)
        self._before.clear()
        self._after.clear()
        self._changes.clear()

    def finish(self, request: Any, err: int = 0, response: Any = None, **session: Any) -> Transaction:
        self._tree.zxid = self._zxid
        nodes, changes = tuple(self._after), tuple(self._changes)
        return Transaction(self._zxid, request, err, response, nodes, changes, **session)

    def _create(self, path: str, data: bytes | None, flags: int, session: int) -> str:
        mode = CreateMode(flags)
        parent, _ = _split(path)
        above = self._tree.nodes.get(parent)
        if above is None:
            raise Refused(ErrorCode.NO_NODE)
        if mode.is_sequential:
            path += f"{above.created:010d}"
        if problem(path) or path == "/":
            raise Refused(ErrorCode.NODE_EXISTS if path == "/" else ErrorCode.BAD_ARGUMENTS)
        if path in self._tree.nodes:
            raise Refused(ErrorCode.NODE_EXISTS)
        if above.owner:
            raise Refused(ErrorCode.NO_CHILDREN_FOR_EPHEMERALS)
        owner = session if mode in _EPHEMERAL else 0
        node = Node(data, self._zxid, self._zxid, self._now, self._now, owner, self._zxid, created=self._first_sequence)
        self._put(path, node)
        children = (*above.children, _split(path)[1])
        created = _int32(above.created + 1)
        self._put(parent, above._replace(children=children, created=created, pzxid=self._zxid))
        self._changes.append(Change(EventType.NODE_CREATED, path, node))
        return path

    def _expect(self, path: str, version: int) -> Node:
        node = self._tree.nodes.get(path)
        if node is None:
            raise Refused(ErrorCode.NO_NODE)
        if version not in (-1, node.version):
            raise Refused(ErrorCode.BAD_VERSION)
        return node

    def _put(self, path: str, node: Node | None) -> None:
        self._before.append((path, self._tree.nodes.get(path)))
        self._after.append((path, node))
        self._tree._put(path, node)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent or "/", name


def _int32(number: int) -> int:
    return (number + 2**31) % 2**32 - 2**31
