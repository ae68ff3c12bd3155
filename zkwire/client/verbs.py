"""The operations as methods: each checks its arguments, makes one request record, and says what its result is.

What each operation sends and gets is said in zkwire/operations.py. Frames are made in zkwire/session/connection.py.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from .. import operations as ops
from .. import paths
from ..codes import AddWatchMode, CreateMode, ErrorCode, WatcherType
from ..errors import LocalProtocolError, NoAuthError, NodeExistsError, ZooKeeperError
from ..records import (
    ACL,
    OPEN_ACL_UNSAFE,
    AddWatchRequest,
    CheckWatchesRequest,
    ClientInfo,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    ReconfigRequest,
    SetACLRequest,
    SetDataRequest,
    Stat,
    SyncRequest,
)
from ..session.events import Replied
from .arguments import acl_of, create_request, refusal, required, server_path
from .call import Call, Owner
from .handles import Watch, WatchStream
from .several import (
    MultiOperation,
    MultiReadOperation,
    children,
    multi_read_request,
    multi_read_results,
    multi_request,
    multi_results,
)

CONFIG_PATH = "/zookeeper/config"


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
        operation, record = create_request(self._chroot, path, data, mode, acl, ttl, with_stat=False)
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
        operation, record = create_request(self._chroot, path, data, mode, acl, ttl, with_stat=True)
        return self._call(operation, record, lambda reply: (self._created_path(reply), reply.response.stat))

    def delete(self, path: str, version: int = -1) -> Call[None]:
        """Delete a znode. Common errors: NoNodeError, BadVersionError, NotEmptyError."""
        return self._call(ops.DELETE, DeleteRequest(server_path(self._chroot, path, ops.DELETE), version), _nothing)

    def exists(self, path: str) -> Call[Stat | None]:
        """The znode's Stat; None when there is no such znode."""
        record = ExistsRequest(server_path(self._chroot, path, ops.EXISTS), False)
        return self._call(ops.EXISTS, record, _stat_or_none, expected=ErrorCode.NO_NODE)

    def get_data(self, path: str) -> Call[tuple[bytes | None, Stat]]:
        """The znode's data and Stat. Data that was set to null is None, which is not b""."""
        record = GetDataRequest(server_path(self._chroot, path, ops.GET_DATA), False)
        return self._call(ops.GET_DATA, record, _data_and_stat)

    def set_data(self, path: str, data: bytes | None, version: int = -1) -> Call[Stat]:
        """Set the znode's data; its new Stat. Common errors: NoNodeError, BadVersionError."""
        if isinstance(data, bytearray):
            data = bytes(data)  # a copy: the caller may change it before the request is sent
        record = SetDataRequest(server_path(self._chroot, path, ops.SET_DATA), data, version)
        return self._call(ops.SET_DATA, record, _stat)

    def get_children(self, path: str) -> Call[list[str]]:
        """The names of the znode's children, in no order."""
        record = GetChildrenRequest(server_path(self._chroot, path, ops.GET_CHILDREN), False)
        return self._call(ops.GET_CHILDREN, record, lambda reply: children(reply.response))

    def get_children2(self, path: str) -> Call[tuple[list[str], Stat]]:
        """The names of the znode's children, in no order, and the znode's Stat."""
        record = GetChildren2Request(server_path(self._chroot, path, ops.GET_CHILDREN2), False)
        return self._call(ops.GET_CHILDREN2, record, _children_and_stat)

    def get_all_children_number(self, path: str) -> Call[int]:
        """How many descendants the znode has. Since 3.6.0."""
        operation = ops.GET_ALL_CHILDREN_NUMBER
        record = GetAllChildrenNumberRequest(server_path(self._chroot, path, operation))
        return self._call(operation, record, lambda reply: int(reply.response.total_number))

    def get_ephemerals(self, prefix: str = "/") -> Call[list[str]]:
        """This session's ephemeral znodes whose path begins with the text `prefix` (/a finds /ab too; rule 79). Since
        3.6.0."""
        record = GetEphemeralsRequest(server_path(self._chroot, prefix, ops.GET_EPHEMERALS))

        def finish(reply: Replied) -> list[str]:
            found = required(reply.response.ephemerals, "GetEphemeralsResponse.ephemerals")
            own = [required(path, "GetEphemeralsResponse.ephemerals[]") for path in found]
            # The server compares text: with chroot /app it finds /apple too.
            inside = [path for path in own if not self._chroot or f"{path}/".startswith(self._chroot + "/")]
            return [paths.strip(self._chroot, path) for path in inside]

        return self._call(ops.GET_EPHEMERALS, record, finish)

    def get_acl(self, path: str) -> Call[tuple[list[ACL], Stat]]:
        """The znode's ACL and Stat. Digests are masked for who has no ADMIN permission."""
        record = GetACLRequest(server_path(self._chroot, path, ops.GET_ACL))
        return self._call(ops.GET_ACL, record, lambda reply: (list(reply.response.acl or ()), reply.response.stat))

    def set_acl(self, path: str, acl: Sequence[ACL], version: int = -1) -> Call[Stat]:
        """Set the znode's ACL; its new Stat. `version` is compared with Stat.aversion."""
        record = SetACLRequest(server_path(self._chroot, path, ops.SET_ACL), acl_of(acl, "setACL"), version)
        return self._call(ops.SET_ACL, record, _stat)

    def sync(self, path: str = "/") -> Call[str]:
        """Returns, with the path, when the connected server has all that was committed before. Any path will do."""
        record = SyncRequest(server_path(self._chroot, path, ops.SYNC))
        return self._call(
            ops.SYNC, record, lambda reply: self._client_path(required(reply.response.path, "SyncResponse.path"))
        )

    def ensure_path(self, path: str, acl: Sequence[ACL] = OPEN_ACL_UNSAFE) -> Coroutine[Any, Any, None]:
        """Create the znode and its parents where they do not exist, and the chroot before them: for `ensure_path("/")`
        that one alone.

        A parent that exists need not permit a create: servers would check the permission before they find that the
        child exists.
        """
        return self._ensure_path(server_path(self._chroot, path, ops.CREATE), acl_of(acl, "create"))

    async def _ensure_path(self, path: str, acl: tuple[ACL, ...]) -> None:
        for parent in reversed(paths.ancestors(path)[:-1] if path != "/" else []):
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
        watched = server_path(self._chroot, path, ops.GET_DATA)
        watch = Watch(self, watched)
        record = GetDataRequest(watched, True)
        return self._call(ops.GET_DATA, record, lambda reply: (*_data_and_stat(reply), watch), watch)

    def exists_and_watch(self, path: str) -> Call[tuple[Stat | None, Watch]]:
        """As `exists`, and a watch that fires when the znode comes, changes or goes."""
        watched = server_path(self._chroot, path, ops.EXISTS)
        watch = Watch(self, watched)
        record = ExistsRequest(watched, True)
        return self._call(
            ops.EXISTS, record, lambda reply: (_stat_or_none(reply), watch), watch, expected=ErrorCode.NO_NODE
        )

    def get_children_and_watch(self, path: str) -> Call[tuple[list[str], Watch]]:
        """As `get_children`, and a watch that fires when a child comes or goes, or the znode goes."""
        watched = server_path(self._chroot, path, ops.GET_CHILDREN)
        watch = Watch(self, watched)
        record = GetChildrenRequest(watched, True)
        return self._call(ops.GET_CHILDREN, record, lambda reply: (children(reply.response), watch), watch)

    def get_children2_and_watch(self, path: str) -> Call[tuple[list[str], Stat, Watch]]:
        """As `get_children2`, and a watch that fires when a child comes or goes, or the znode goes."""
        watched = server_path(self._chroot, path, ops.GET_CHILDREN2)
        watch = Watch(self, watched)
        record = GetChildren2Request(watched, True)
        return self._call(ops.GET_CHILDREN2, record, lambda reply: (*_children_and_stat(reply), watch), watch)

    def add_watch(self, path: str, mode: AddWatchMode) -> WatchStream:
        """A persistent watch, for `async with`: on the path alone, with its children's comings and goings, or on the
        whole tree below it. The znode need not exist. Since 3.6.0."""
        if not isinstance(mode, AddWatchMode):
            raise LocalProtocolError(f"addWatch takes an AddWatchMode, not {mode!r}")
        return WatchStream(self, server_path(self._chroot, path, ops.ADD_WATCH), mode)

    def check_watches(self, path: str, watcher_type: WatcherType) -> Call[bool]:
        """Whether the server holds such a watch for this connection. Servers before 3.9.0 also answer for others'."""
        if not isinstance(watcher_type, WatcherType):
            raise LocalProtocolError(f"checkWatches takes a WatcherType, not {watcher_type!r}")
        record = CheckWatchesRequest(server_path(self._chroot, path, ops.CHECK_WATCHES), watcher_type)
        return self._call(ops.CHECK_WATCHES, record, lambda reply: reply.err == 0, expected=ErrorCode.NO_WATCHER)

    # --- several at once

    def multi(self, operations: Iterable[MultiOperation]) -> Call[list[Any]]:
        """All of them or none. A list of results in order: see the result of each class.

        `operations` may be any iterable, a generator too; it is read before this returns.

        When one fails, nothing is applied and its error is raised, with `index` saying which it was and `results` what
        became of each: None for those before it, RuntimeInconsistencyError for those after.
        """
        asked, request = multi_request(self._chroot, operations)
        return self._call(ops.MULTI, request, lambda reply: multi_results(self._chroot, asked, request, reply.response))

    def multi_read(self, operations: Iterable[MultiReadOperation]) -> Call[list[Any]]:
        """Each on its own. A list in order: the result of each, or its ZooKeeperError, not raised. Since 3.6.0."""
        asked, request = multi_read_request(self._chroot, operations)
        return self._call(
            ops.MULTI_READ, request, lambda reply: multi_read_results(self._chroot, asked, reply.response)
        )

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
        return refusal(self._chroot, code, path, operation)

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

    def _created_path(self, reply: Replied) -> str:
        return self._client_path(required(reply.response.path, "CreateResponse.path"))


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
    return children(reply.response), reply.response.stat


def _joined(members: Sequence[str] | str | None) -> str | None:
    if members is None or isinstance(members, str):
        return members
    try:
        return ",".join(members)
    except TypeError:
        raise LocalProtocolError(f"reconfig takes members as str, not {members!r:.60}") from None
