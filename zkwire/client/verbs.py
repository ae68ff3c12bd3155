"""The operations as methods: each checks its arguments, makes one request record, and says what its result is.

Everything here is a thin dress for zkwire/operations.py; the frames are made in zkwire/session/connection.py.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .. import operations as ops
from .. import paths
from ..codes import AddWatchMode, CreateMode, ErrorCode, OpCode, Perms, WatcherType
from ..errors import (
    BadArgumentsError,
    LocalProtocolError,
    NoAuthError,
    NodeExistsError,
    RemoteProtocolError,
    ZooKeeperError,
    from_code,
)
from ..multi import MultiItem, MultiReadRequest, MultiRequest, MultiResponse, item
from ..operations import Operation
from ..records import (
    ACL,
    AddWatchRequest,
    CheckVersionRequest,
    CheckWatchesRequest,
    ClientInfo,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    ErrorResponse,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    Id,
    ReconfigRequest,
    SetACLRequest,
    SetDataRequest,
    SetDataResponse,
    Stat,
    SyncRequest,
)
from ..session.connection import frozen
from ..session.events import Replied
from ..text import counted
from .call import Call, Owner
from .handles import Watch, WatchStream

if TYPE_CHECKING:
    from ..jute import Record

T = TypeVar("T")

#: Anyone may do anything. Source: ZooDefs.Ids.
OPEN_ACL_UNSAFE: tuple[ACL, ...] = (ACL(Perms.ALL, Id("world", "anyone")),)
#: Every identity that this connection has authenticated may do anything.
CREATOR_ALL_ACL: tuple[ACL, ...] = (ACL(Perms.ALL, Id("auth", "")),)
#: Anyone may read.
READ_ACL_UNSAFE: tuple[ACL, ...] = (ACL(Perms.READ, Id("world", "anyone")),)

CONFIG_PATH = "/zookeeper/config"


class MultiOperation:
    """What `multi` takes: Create, Delete, SetData and Check."""

    path: str


class MultiReadOperation:
    """What `multi_read` takes: GetData and GetChildren."""

    path: str


@dataclass(frozen=True)
class Create(MultiOperation):
    """create inside multi. Its result is the path; with `with_stat`, (path, Stat), where the Stat is None from servers
    before 3.7.2, 3.8.2 and 3.9.0 (rule 70)."""

    path: str
    data: bytes | None = b""
    mode: CreateMode = CreateMode.PERSISTENT
    acl: Sequence[ACL] = OPEN_ACL_UNSAFE
    ttl: float | None = None
    with_stat: bool = False


@dataclass(frozen=True)
class Delete(MultiOperation):
    """delete inside multi. Its result is None."""

    path: str
    version: int = -1


@dataclass(frozen=True)
class SetData(MultiOperation):
    """setData inside multi. Its result is the Stat."""

    path: str
    data: bytes | None
    version: int = -1


@dataclass(frozen=True)
class Check(MultiOperation):
    """check inside multi: the znode exists and has this version (-1: any). Its result is None."""

    path: str
    version: int = -1


@dataclass(frozen=True)
class GetData(MultiReadOperation):
    """getData inside multiRead. Its result is (data, Stat)."""

    path: str


@dataclass(frozen=True)
class GetChildren(MultiReadOperation):
    """getChildren inside multiRead. Its result is the list of names."""

    path: str


class Verbs(Owner):
    """One method per operation. Each returns a `Call` to be awaited, except where several requests are needed.

    All of them raise, before a byte is sent: BadArgumentsError for a bad path; LocalProtocolError for a field of the
    wrong type, a mode that does not fit, or a request longer than `max_frame`. Awaiting raises a ZooKeeperError of the
    server's, ConnectionLossError, SessionExpiredError, AuthFailedError or ClosedError. A `version` of -1 matches any.
    """

    _chroot: str

    # --- znodes

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        mode: CreateMode = CreateMode.PERSISTENT,
        acl: Sequence[ACL] = OPEN_ACL_UNSAFE,
        ttl: float | None = None,
    ) -> Call[str]:
        """Create a znode; its path, with the sequence digits where the mode is sequential.

        `ttl` (seconds, 0.001 to about 34 years) goes with the two TTL modes, which the server must have enabled. Common
        errors: NodeExistsError, NoNodeError (no parent), NoChildrenForEphemeralsError, InvalidACLError.
        """
        operation, record = self._create(path, data, mode, acl, ttl, with_stat=False)
        return self._call(operation, record, self._created_path)

    def create2(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        mode: CreateMode = CreateMode.PERSISTENT,
        acl: Sequence[ACL] = OPEN_ACL_UNSAFE,
        ttl: float | None = None,
    ) -> Call[tuple[str, Stat]]:
        """As `create`, and the new znode's Stat with the path."""
        operation, record = self._create(path, data, mode, acl, ttl, with_stat=True)
        return self._call(operation, record, lambda reply: (self._created_path(reply), reply.response.stat))

    def delete(self, path: str, version: int = -1) -> Call[None]:
        """Delete a znode. Common errors: NoNodeError, BadVersionError, NotEmptyError."""
        return self._call(ops.DELETE, DeleteRequest(self._path(path, ops.DELETE), version), _nothing)

    def exists(self, path: str) -> Call[Stat | None]:
        """The znode's Stat; None when there is no such znode."""
        record = ExistsRequest(self._path(path, ops.EXISTS), False)
        return self._call(ops.EXISTS, record, _stat_or_none, expected=ErrorCode.NO_NODE)

    def get_data(self, path: str) -> Call[tuple[bytes | None, Stat]]:
        """The znode's data and Stat. Data that was set to null is None, which is not b""."""
        return self._call(ops.GET_DATA, GetDataRequest(self._path(path, ops.GET_DATA), False), _data_and_stat)

    def set_data(self, path: str, data: bytes | None, version: int = -1) -> Call[Stat]:
        """Set the znode's data; its new Stat. Common errors: NoNodeError, BadVersionError."""
        if isinstance(data, bytearray):
            data = bytes(data)  # a copy: the caller may change it before the request is sent
        return self._call(ops.SET_DATA, SetDataRequest(self._path(path, ops.SET_DATA), data, version), _stat)

    def get_children(self, path: str) -> Call[list[str]]:
        """The names of the znode's children, in no order."""
        record = GetChildrenRequest(self._path(path, ops.GET_CHILDREN), False)
        return self._call(ops.GET_CHILDREN, record, lambda reply: _children(reply.response))

    def get_children2(self, path: str) -> Call[tuple[list[str], Stat]]:
        """The names of the znode's children, in no order, and the znode's Stat."""
        record = GetChildren2Request(self._path(path, ops.GET_CHILDREN2), False)
        return self._call(ops.GET_CHILDREN2, record, _children_and_stat)

    def get_all_children_number(self, path: str) -> Call[int]:
        """How many descendants the znode has. Since 3.6.0."""
        operation = ops.GET_ALL_CHILDREN_NUMBER
        record = GetAllChildrenNumberRequest(self._path(path, operation))
        return self._call(operation, record, lambda reply: int(reply.response.total_number))

    def get_ephemerals(self, prefix: str = "/") -> Call[list[str]]:
        """This session's ephemeral znodes whose path begins with the text `prefix` (/a finds /ab too; rule 79). Since
        3.6.0."""
        record = GetEphemeralsRequest(self._path(prefix, ops.GET_EPHEMERALS))

        def finish(reply: Replied) -> list[str]:
            found = _required(reply.response.ephemerals, "GetEphemeralsResponse.ephemerals")
            own = [_required(path, "GetEphemeralsResponse.ephemerals[]") for path in found]
            # The server compares text: with chroot /app it finds /apple too.
            inside = [path for path in own if not self._chroot or f"{path}/".startswith(self._chroot + "/")]
            return [paths.strip(self._chroot, path) for path in inside]

        return self._call(ops.GET_EPHEMERALS, record, finish)

    def get_acl(self, path: str) -> Call[tuple[list[ACL], Stat]]:
        """The znode's ACL and Stat. Digests are masked for who has no ADMIN permission."""
        record = GetACLRequest(self._path(path, ops.GET_ACL))
        return self._call(ops.GET_ACL, record, lambda reply: (list(reply.response.acl or ()), reply.response.stat))

    def set_acl(self, path: str, acl: Sequence[ACL], version: int = -1) -> Call[Stat]:
        """Set the znode's ACL; its new Stat. `version` is compared with Stat.aversion."""
        record = SetACLRequest(self._path(path, ops.SET_ACL), _acl(acl, "setACL"), version)
        return self._call(ops.SET_ACL, record, _stat)

    def sync(self, path: str = "/") -> Call[str]:
        """Returns, with the path, when the connected server has all that was committed before. Any path will do."""
        record = SyncRequest(self._path(path, ops.SYNC))
        return self._call(ops.SYNC, record, lambda reply: self._own(reply, "SyncResponse"))

    def ensure_path(self, path: str, acl: Sequence[ACL] = OPEN_ACL_UNSAFE) -> Coroutine[Any, Any, None]:
        """Create the znode and its parents where they do not exist, and the chroot before them: for `ensure_path("/")`
        that one alone.

        A parent that exists need not permit a create: servers would check the permission before they find that the
        child exists.
        """
        return self._ensure_path(self._path(path, ops.CREATE), _acl(acl, "create"))

    async def _ensure_path(self, server_path: str, acl: tuple[ACL, ...]) -> None:
        for parent in reversed(paths.ancestors(server_path)[:-1] if server_path != "/" else []):
            operation, record = ops.CREATE, CreateRequest(parent, b"", acl, CreateMode.PERSISTENT)
            try:
                await self._call(operation, record, _nothing)
            except NodeExistsError:
                continue
            except NoAuthError:
                seeing = self._call(ops.EXISTS, ExistsRequest(parent, False), _stat_or_none, expected=ErrorCode.NO_NODE)
                if await seeing is None:
                    raise

    # --- watches

    def get_data_and_watch(self, path: str) -> Call[tuple[bytes | None, Stat, Watch]]:
        """As `get_data`, and a watch that fires when the data changes or the znode goes."""
        server_path = self._path(path, ops.GET_DATA)
        watch = Watch(self, server_path)
        record = GetDataRequest(server_path, True)
        return self._call(ops.GET_DATA, record, lambda reply: (*_data_and_stat(reply), watch), watch)

    def exists_and_watch(self, path: str) -> Call[tuple[Stat | None, Watch]]:
        """As `exists`, and a watch that fires when the znode comes, changes or goes."""
        server_path = self._path(path, ops.EXISTS)
        watch = Watch(self, server_path)
        record = ExistsRequest(server_path, True)
        return self._call(
            ops.EXISTS, record, lambda reply: (_stat_or_none(reply), watch), watch, expected=ErrorCode.NO_NODE
        )

    def get_children_and_watch(self, path: str) -> Call[tuple[list[str], Watch]]:
        """As `get_children`, and a watch that fires when a child comes or goes, or the znode goes."""
        server_path = self._path(path, ops.GET_CHILDREN)
        watch = Watch(self, server_path)
        record = GetChildrenRequest(server_path, True)
        return self._call(ops.GET_CHILDREN, record, lambda reply: (_children(reply.response), watch), watch)

    def get_children2_and_watch(self, path: str) -> Call[tuple[list[str], Stat, Watch]]:
        """As `get_children2`, and a watch that fires when a child comes or goes, or the znode goes."""
        server_path = self._path(path, ops.GET_CHILDREN2)
        watch = Watch(self, server_path)
        record = GetChildren2Request(server_path, True)
        return self._call(ops.GET_CHILDREN2, record, lambda reply: (*_children_and_stat(reply), watch), watch)

    def add_watch(self, path: str, mode: AddWatchMode) -> WatchStream:
        """A persistent watch, for `async with`: on the path alone, with its children's comings and goings, or on the
        whole tree below it. The znode need not exist. Since 3.6.0."""
        if not isinstance(mode, AddWatchMode):
            raise LocalProtocolError(f"addWatch takes an AddWatchMode, not {mode!r}")
        return WatchStream(self, self._path(path, ops.ADD_WATCH), mode)

    def check_watches(self, path: str, watcher_type: WatcherType) -> Call[bool]:
        """Whether the server holds such a watch for this connection. Servers before 3.9.0 also answer for others'."""
        if not isinstance(watcher_type, WatcherType):
            raise LocalProtocolError(f"checkWatches takes a WatcherType, not {watcher_type!r}")
        record = CheckWatchesRequest(self._path(path, ops.CHECK_WATCHES), watcher_type)
        return self._call(ops.CHECK_WATCHES, record, lambda reply: reply.err == 0, expected=ErrorCode.NO_WATCHER)

    # --- several at once

    def multi(self, operations: Iterable[MultiOperation]) -> Call[list[Any]]:
        """All of them or none. A list of results in order: see the result of each class.

        `operations` may be any iterable, a generator too; it is read before this returns.

        When one fails, nothing is applied and its error is raised, with `index` saying which it was and `results` what
        became of each: None for those before it, RuntimeInconsistencyError for those after.
        """
        asked = _all("multi", operations)
        items = []
        for index, operation in enumerate(asked):
            with _numbered("multi", index):
                items.append(self._multi_item(operation))
        request = frozen(MultiRequest(tuple(items)))
        return self._call(ops.MULTI, request, lambda reply: self._multi_results(asked, items, reply.response))

    def multi_read(self, operations: Iterable[MultiReadOperation]) -> Call[list[Any]]:
        """Each on its own. A list in order: the result of each, or its ZooKeeperError, not raised. Since 3.6.0."""
        asked = _all("multiRead", operations)
        items = []
        for index, operation in enumerate(asked):
            with _numbered("multiRead", index):
                items.append(self._multi_read_item(operation))

        def finish(reply: Replied) -> list[Any]:
            _same_count(items, reply.response)
            return [self._multi_read_result(operation, body) for operation, (_, body) in zip(asked, reply.response)]

        return self._call(ops.MULTI_READ, MultiReadRequest(tuple(items)), finish)

    # --- the connection and the ensemble

    def who_am_i(self) -> Call[list[ClientInfo]]:
        """The identities of this connection. Since 3.7.0."""
        return self._call(ops.WHO_AM_I, None, lambda reply: list(reply.response.client_info or ()))

    def get_config(self) -> Call[tuple[bytes | None, Stat]]:
        """The ensemble's configuration (data and Stat of /zookeeper/config, whatever the chroot): b"" on a standalone
        server, else server.N lines and a version line."""
        return self._call(ops.GET_DATA, GetDataRequest(CONFIG_PATH, False), _data_and_stat)

    def reconfig(
        self,
        joining: Sequence[str] | str | None = None,
        leaving: Sequence[str] | str | None = None,
        new_members: Sequence[str] | str | None = None,
        from_config: int = -1,
    ) -> Call[tuple[bytes | None, Stat]]:
        """Change the ensemble: `joining` and `new_members` are server.N=... lines, `leaving` server ids. The new
        configuration's data and Stat.

        Common errors: ReconfigDisabledError, NoAuthError, BadVersionError (`from_config` is not the current one),
        NewConfigNoQuorumError. Since 3.5.0.
        """
        record = ReconfigRequest(_joined(joining), _joined(leaving), _joined(new_members), from_config)
        return self._call(ops.RECONFIG, record, _data_and_stat)

    # --- beneath

    def _client_path(self, path: str) -> str:
        return paths.strip(self._chroot, path)

    def _refusal(self, code: int, path: str | None, operation: str) -> ZooKeeperError:
        error = from_code(code, None if path is None else self._client_path(path), operation)
        if self._chroot and code == ErrorCode.NO_NODE and f"{path}/".startswith(self._chroot + "/"):
            error.reason = _about_chroot(self._chroot, error.path or "/", operation)
        return error

    def _add_watch(self, path: str, mode: AddWatchMode, watcher: object) -> Call[None]:
        return self._call(ops.ADD_WATCH, AddWatchRequest(path, mode), _nothing, watcher)

    async def _check_modes(self, path: str, mode: AddWatchMode) -> None:
        """Before 3.9.0 a server has one persistent mode per path: a second addWatch silently replaces the first. Such a
        server does not know the watcher types 4 and 5, so it answers a checkWatches of type 4 with an error."""
        if not self._has_watch(path, AddWatchMode(1 - mode)):
            return
        record = CheckWatchesRequest(path, WatcherType.PERSISTENT)
        expected = ErrorCode.MARSHALLING_ERROR
        if await self._call(ops.CHECK_WATCHES, record, lambda reply: reply.err, expected=expected) == expected:
            raise LocalProtocolError(
                f"{self._client_path(path)} has a persistent watch of the other mode, and a server before 3.9.0 "
                "holds one mode per path"
            )

    def _path(self, path: str, operation: Operation, *, sequential: bool = False) -> str:
        """The server's name for the path. Raises BadArgumentsError when it names no znode."""
        reason = paths.problem(path, sequential=sequential)
        if reason is not None:
            raise BadArgumentsError(path if isinstance(path, str) else None, operation.name, reason=reason)
        if sequential and path == "/":
            return self._chroot + "/"  # the digits go behind the slash, not behind the chroot's name
        return paths.under(self._chroot, path)

    def _own(self, reply: Replied, record: str) -> str:
        return self._client_path(_required(reply.response.path, record + ".path"))

    def _created_path(self, reply: Replied) -> str:
        return self._own(reply, "CreateResponse")

    def _create(
        self,
        path: str,
        data: bytes | None,
        mode: CreateMode,
        acl: Sequence[ACL],
        ttl: float | None,
        *,
        with_stat: bool,
    ) -> tuple[Operation, Record]:
        if not isinstance(mode, CreateMode):
            raise LocalProtocolError(f"create takes a CreateMode, not {mode!r}")
        if isinstance(data, bytearray):
            data = bytes(data)
        operation = ops.create_operation(mode, with_stat=with_stat)
        server_path = self._path(path, operation, sequential=mode.is_sequential)
        if mode.has_ttl:
            if not (isinstance(ttl, (int, float)) and abs(ttl) < math.inf):
                raise LocalProtocolError(f"{mode.name} needs a ttl in seconds, not {ttl!r:.60}")
            return operation, CreateTTLRequest(server_path, data, _acl(acl, "create"), mode, round(ttl * 1000))
        if ttl is not None:
            raise LocalProtocolError(f"{mode.name} takes no ttl")
        return operation, CreateRequest(server_path, data, _acl(acl, "create"), mode)

    def _multi_item(self, operation: MultiOperation) -> MultiItem:
        match operation:
            case Create(path, data, mode, acl, ttl, with_stat):
                row, record = self._create(path, data, mode, acl, ttl, with_stat=with_stat)
                return item(row.opcode, record)
            case Delete(path, version):
                return item(OpCode.DELETE, DeleteRequest(self._path(path, ops.DELETE), version))
            case SetData(path, data, version):
                return item(OpCode.SET_DATA, SetDataRequest(self._path(path, ops.SET_DATA), data, version))
            case Check(path, version):
                return item(OpCode.CHECK, CheckVersionRequest(self._path(path, ops.CHECK), version))
        raise LocalProtocolError(f"multi takes Create, Delete, SetData and Check, not {operation!r}")

    def _multi_read_item(self, operation: MultiReadOperation) -> MultiItem:
        match operation:
            case GetData(path=path):
                return item(OpCode.GET_DATA, GetDataRequest(self._path(path, ops.GET_DATA), False))
            case GetChildren(path=path):
                return item(OpCode.GET_CHILDREN, GetChildrenRequest(self._path(path, ops.GET_CHILDREN), False))
        raise LocalProtocolError(f"multiRead takes GetData and GetChildren, not {operation!r}")

    def _multi_results(
        self,
        operations: Sequence[MultiOperation],
        items: list[MultiItem],
        response: MultiResponse,
    ) -> list[Any]:
        """A failed multi has err 0 in its header; the errors are in the body, and the reason is the first that is not 0
        (rule 68)."""
        _same_count(items, response)
        errors = [body.err for _, body in response if isinstance(body, ErrorResponse)]
        if errors:
            if len(errors) != len(items):
                raise RemoteProtocolError(f"MultiResponse: expected no error or {len(items)}, got {len(errors)}")
            index = next((place for place, err in enumerate(errors) if err), 0)
            names = [ops.BY_OPCODE[header.type].name for header, _ in items]
            error = self._refusal_of(errors[index], operations[index].path, f"multi[{index}] {names[index]}")
            error.index = index
            error.results = [
                None if err == 0 else self._refusal_of(err, operation.path, name)
                for err, operation, name in zip(errors, operations, names)
            ]
            raise error
        return [self._multi_result(operation, body) for operation, (_, body) in zip(operations, response)]

    def _refusal_of(self, code: int, client_path: str, operation: str) -> ZooKeeperError:
        return self._refusal(code, paths.under(self._chroot, client_path), operation)

    def _multi_read_result(self, operation: MultiReadOperation, body: Any) -> Any:
        if isinstance(body, ErrorResponse):
            return self._refusal_of(body.err, operation.path, "multiRead")
        if isinstance(operation, GetData):
            return tuple(_result(body, GetDataResponse))
        return _children(_result(body, GetChildrenResponse))

    def _multi_result(self, operation: MultiOperation, body: Any) -> Any:
        match operation:
            case Create(with_stat=with_stat):
                made = _result(body, CreateResponse, Create2Response)
                path = self._client_path(_required(made.path, "CreateResponse.path"))
                return (path, getattr(made, "stat", None)) if with_stat else path
            case SetData():
                return _result(body, SetDataResponse).stat
        return None


def _about_chroot(chroot: str, path: str, operation: str) -> str:
    """What to look at when `path` does not exist under the chroot. If the parent of a znode to be created is directly
    under the chroot, it is the chroot that is missing."""
    if path == "/" or ("create" in operation and path.count("/") == 1):
        return f'the chroot {chroot} does not exist; ensure_path("/") creates it'
    return f'the server has no {chroot}{path}; ensure_path("/") creates the chroot {chroot} if it is missing too'


def _nothing(_: Replied) -> None:
    return None


def _stat(reply: Replied) -> Stat:
    found: Stat = reply.response.stat
    return found


def _stat_or_none(reply: Replied) -> Stat | None:
    return None if reply.err else _stat(reply)


def _data_and_stat(reply: Replied) -> tuple[bytes | None, Stat]:
    data, stat = reply.response
    return data, stat


def _children_and_stat(reply: Replied) -> tuple[list[str], Stat]:
    return _children(reply.response), reply.response.stat


def _children(response: Any) -> list[str]:
    found = _required(response.children, "GetChildrenResponse.children")
    if None in found:
        raise RemoteProtocolError(f"GetChildrenResponse.children[{found.index(None)}]: expected a name, got null")
    return list(found)


def _required(value: T | None, place: str) -> T:
    if value is None:
        raise RemoteProtocolError(f"{place}: expected a value, got null")
    return value


def _acl(acl: Sequence[ACL], operation: str) -> tuple[ACL, ...]:
    if not isinstance(acl, (tuple, list)):
        raise LocalProtocolError(f"{operation} takes a sequence of ACL, not {acl!r:.60}")
    return tuple(acl)


def _all(name: str, operations: Iterable[T]) -> tuple[T, ...]:
    """A copy of the operations, since a generator can be read only once, and a list may change later."""
    if not isinstance(operations, Iterable):
        raise LocalProtocolError(f"{name} takes a list of operations, not {operations!r:.60}")
    return tuple(operations)


def _joined(members: Sequence[str] | str | None) -> str | None:
    if members is None or isinstance(members, str):
        return members
    try:
        return ",".join(members)
    except TypeError:
        raise LocalProtocolError(f"reconfig takes members as str, not {members!r:.60}") from None


@contextmanager
def _numbered(name: str, index: int) -> Iterator[None]:
    """Says of what is wrong with an operation which one it is."""
    try:
        yield
    except BadArgumentsError as error:
        error.operation = f"{name}[{index}] {error.operation}"
        error.index = index
        raise
    except LocalProtocolError as error:
        raise LocalProtocolError(f"{name}[{index}]: {error}") from None


def _result(body: object, *expected: type[Record]) -> Any:
    """The result, which must be one of these records: a server might answer with another's."""
    if not isinstance(body, expected):
        wanted = " or ".join(record.__name__ for record in expected)
        raise RemoteProtocolError(f"MultiResponse: expected a {wanted}, got {body!r:.80}")
    return body


def _same_count(items: Sequence[MultiItem], response: MultiResponse) -> None:
    if len(items) != len(response):
        raise RemoteProtocolError(f"MultiResponse: expected {counted(len(items), 'result')}, got {len(response)}")
