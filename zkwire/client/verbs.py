"""The operations as methods: each checks its arguments, makes one request record, and says what its result is.

zkwire/operations.py says what each operation sends and gets. zkwire/session/connection.py makes the frames.
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

    What a method itself raises, before a byte is sent: BadArgumentsError for a path that no znode can have;
    LocalProtocolError for an argument of the wrong type, a mode that does not fit, or a request longer than
    `max_frame`; SessionExpiredError, AuthFailedError or ClosedError if the session is over.

    What awaiting the Call raises: an error of the server's, as the method's "Raises:" says; ConnectionLossError, which
    says whether the request may have been applied; SessionExpiredError, AuthFailedError or ClosedError when the session
    ends; ReplyTooLongError. Any operation may also fail with MarshallingError, UnimplementedError,
    SessionClosedRequireSaslAuthError or ThrottledOpError, and a write with NotReadOnlyError.

    A `version` of -1 is any version.
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
        """Create a znode. The result is its path, with ten digits at the end if the mode is sequential.

        Args:
            data: null if None, which is not b"".
            mode: persistent by default.
            acl: who may do what; everybody everything by default.
            ttl: seconds, 0.001 to about 34 years; for the two modes with a TTL, and for no other.

        Raises:
            NodeExistsError: the znode exists.
            NoNodeError: its parent does not exist.
            NoChildrenForEphemeralsError: its parent is ephemeral.
            NoAuthError: this connection has no CREATE permission on the parent.
            InvalidACLError: the ACL has a scheme or an id that the server does not know, or the scheme "auth" and this
                connection has not authenticated.
            BadArgumentsError: the server does not take the path.
            QuotaExceededError: the server enforces a quota, and the znode would exceed it.
            EphemeralOnLocalSessionError: the znode would be ephemeral, and the session is a local one.
            UnimplementedError: the mode has a TTL, and the server does not have zookeeper.extendedTypesEnabled.
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
        """As `create`. The result is the path and the new znode's Stat.

        Raises:
            NodeExistsError: the znode exists.
            NoNodeError: its parent does not exist.
            NoChildrenForEphemeralsError: its parent is ephemeral.
            NoAuthError: this connection has no CREATE permission on the parent.
            InvalidACLError: the ACL has a scheme or an id that the server does not know, or the scheme "auth" and this
                connection has not authenticated.
            BadArgumentsError: the server does not take the path.
            QuotaExceededError: the server enforces a quota, and the znode would exceed it.
            EphemeralOnLocalSessionError: the znode would be ephemeral, and the session is a local one.
            UnimplementedError: the mode has a TTL, and the server does not have zookeeper.extendedTypesEnabled.
        """
        operation, record = create_request(self._chroot, path, data, mode, acl, ttl, with_stat=True)
        return self._call(operation, record, lambda reply: (self._created_path(reply), reply.response.stat))

    def delete(self, path: str, version: int = -1) -> Call[None]:
        """Delete a znode. `version` is compared with Stat.version.

        Raises:
            NoNodeError: there is no such znode.
            BadVersionError: its version is another one.
            NotEmptyError: it has children.
            NoAuthError: this connection has no DELETE permission on the parent.
            BadArgumentsError: the server does not take the path, such as "/".
        """
        return self._call(ops.DELETE, DeleteRequest(server_path(self._chroot, path, ops.DELETE), version), _nothing)

    def exists(self, path: str) -> Call[Stat | None]:
        """The znode's Stat; None if there is no such znode.

        Raises:
            NoAuthError: the server asks for READ permission here, and this connection has none.
            BadArgumentsError: the server does not take the path.
        """
        record = ExistsRequest(server_path(self._chroot, path, ops.EXISTS), False)
        return self._call(ops.EXISTS, record, _stat_or_none, expected=ErrorCode.NO_NODE)

    def get_data(self, path: str) -> Call[tuple[bytes | None, Stat]]:
        """The znode's data and Stat. Data that was set to null is None, which is not b"".

        Raises:
            NoNodeError: there is no such znode.
            NoAuthError: this connection has no READ permission on it.
        """
        record = GetDataRequest(server_path(self._chroot, path, ops.GET_DATA), False)
        return self._call(ops.GET_DATA, record, _data_and_stat)

    def set_data(self, path: str, data: bytes | None, version: int = -1) -> Call[Stat]:
        """Set the znode's data. The result is its new Stat. `version` is compared with Stat.version.

        Raises:
            NoNodeError: there is no such znode.
            BadVersionError: its version is another one.
            NoAuthError: this connection has no WRITE permission on it.
            BadArgumentsError: the server does not take the path.
            QuotaExceededError: the server enforces a quota, and the data would exceed it.
        """
        if isinstance(data, bytearray):
            data = bytes(data)  # a copy: the caller may change it before the request is sent
        record = SetDataRequest(server_path(self._chroot, path, ops.SET_DATA), data, version)
        return self._call(ops.SET_DATA, record, _stat)

    def get_children(self, path: str) -> Call[list[str]]:
        """The names of the znode's children, without the parent's path, in no particular order.

        Raises:
            NoNodeError: there is no such znode.
            NoAuthError: this connection has no READ permission on it.
        """
        record = GetChildrenRequest(server_path(self._chroot, path, ops.GET_CHILDREN), False)
        return self._call(ops.GET_CHILDREN, record, lambda reply: children(reply.response))

    def get_children2(self, path: str) -> Call[tuple[list[str], Stat]]:
        """The names of the znode's children, in no particular order, and the znode's Stat.

        Raises:
            NoNodeError: there is no such znode.
            NoAuthError: this connection has no READ permission on it.
        """
        record = GetChildren2Request(server_path(self._chroot, path, ops.GET_CHILDREN2), False)
        return self._call(ops.GET_CHILDREN2, record, _children_and_stat)

    def get_all_children_number(self, path: str) -> Call[int]:
        """How many znodes there are below this one, at any depth. Since 3.6.0.

        Raises:
            NoNodeError: there is no such znode.
            NoAuthError: this connection has no READ permission on it.
        """
        operation = ops.GET_ALL_CHILDREN_NUMBER
        record = GetAllChildrenNumberRequest(server_path(self._chroot, path, operation))
        return self._call(operation, record, lambda reply: int(reply.response.total_number))

    def get_ephemerals(self, prefix: str = "/") -> Call[list[str]]:
        """The paths of this session's ephemeral znodes that begin with the text `prefix` (rule 79). Since 3.6.0.

        The server compares text: with "/a" it finds "/ab" too.
        """
        record = GetEphemeralsRequest(server_path(self._chroot, prefix, ops.GET_EPHEMERALS))

        def finish(reply: Replied) -> list[str]:
            found = required(reply.response.ephemerals, "GetEphemeralsResponse.ephemerals")
            own = [required(path, "GetEphemeralsResponse.ephemerals[]") for path in found]
            # The server compares text: with chroot /app it finds /apple too.
            inside = [path for path in own if not self._chroot or f"{path}/".startswith(self._chroot + "/")]
            return [paths.strip(self._chroot, path) for path in inside]

        return self._call(ops.GET_EPHEMERALS, record, finish)

    def get_acl(self, path: str) -> Call[tuple[list[ACL], Stat]]:
        """The znode's ACL and Stat. The server masks digests if this connection has no ADMIN permission.

        Raises:
            NoNodeError: there is no such znode.
            NoAuthError: this connection has no READ permission on it.
        """
        record = GetACLRequest(server_path(self._chroot, path, ops.GET_ACL))
        return self._call(ops.GET_ACL, record, lambda reply: (list(reply.response.acl or ()), reply.response.stat))

    def set_acl(self, path: str, acl: Sequence[ACL], version: int = -1) -> Call[Stat]:
        """Set the znode's ACL. The result is its new Stat. `version` is compared with Stat.aversion.

        Raises:
            NoNodeError: there is no such znode.
            BadVersionError: the version of its ACL is another one.
            NoAuthError: this connection has no ADMIN permission on it.
            InvalidACLError: the ACL is empty, or has a scheme or an id that the server does not know, or the scheme
                "auth" and this connection has not authenticated.
            BadArgumentsError: the server does not take the path.
        """
        record = SetACLRequest(server_path(self._chroot, path, ops.SET_ACL), acl_of(acl, "setACL"), version)
        return self._call(ops.SET_ACL, record, _stat)

    def sync(self, path: str = "/") -> Call[str]:
        """Wait until the connected server has everything that was committed before. Any path will do; the result is the
        path."""
        record = SyncRequest(server_path(self._chroot, path, ops.SYNC))
        return self._call(
            ops.SYNC, record, lambda reply: self._client_path(required(reply.response.path, "SyncResponse.path"))
        )

    def ensure_path(self, path: str, acl: Sequence[ACL] = OPEN_ACL_UNSAFE) -> Coroutine[Any, Any, None]:
        """Create the chroot, the parents of the znode and the znode itself, as far as they do not exist.
        `ensure_path("/")` creates only the chroot.

        A parent need not permit a create if the child exists, although servers check the permission first.

        Raises:
            NoNodeError: a parent was deleted meanwhile.
            NoChildrenForEphemeralsError: a parent is ephemeral.
            NoAuthError: this connection has no CREATE permission on the first parent below which something is missing.
            InvalidACLError: as for `create`.
            BadArgumentsError: the server does not take the path.
            QuotaExceededError: the server enforces a quota, and the znode would exceed it.
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
        """As `get_data`, and a watch that fires when the data changes or the znode is deleted.

        Raises:
            NoNodeError: there is no such znode.
            NoAuthError: this connection has no READ permission on it.
        """
        watched = server_path(self._chroot, path, ops.GET_DATA)
        watch = Watch(self, watched)
        record = GetDataRequest(watched, True)
        return self._call(ops.GET_DATA, record, lambda reply: (*_data_and_stat(reply), watch), watch)

    def exists_and_watch(self, path: str) -> Call[tuple[Stat | None, Watch]]:
        """As `exists`, and a watch that fires when the znode is created or deleted, or its data changes.

        Raises:
            NoAuthError: the server asks for READ permission here, and this connection has none.
            BadArgumentsError: the server does not take the path.
        """
        watched = server_path(self._chroot, path, ops.EXISTS)
        watch = Watch(self, watched)
        record = ExistsRequest(watched, True)
        return self._call(
            ops.EXISTS, record, lambda reply: (_stat_or_none(reply), watch), watch, expected=ErrorCode.NO_NODE
        )

    def get_children_and_watch(self, path: str) -> Call[tuple[list[str], Watch]]:
        """As `get_children`, and a watch that fires when a child is created or deleted, or the znode is deleted.

        Raises:
            NoNodeError: there is no such znode.
            NoAuthError: this connection has no READ permission on it.
        """
        watched = server_path(self._chroot, path, ops.GET_CHILDREN)
        watch = Watch(self, watched)
        record = GetChildrenRequest(watched, True)
        return self._call(ops.GET_CHILDREN, record, lambda reply: (children(reply.response), watch), watch)

    def get_children2_and_watch(self, path: str) -> Call[tuple[list[str], Stat, Watch]]:
        """As `get_children2`, and a watch that fires when a child is created or deleted, or the znode is deleted.

        Raises:
            NoNodeError: there is no such znode.
            NoAuthError: this connection has no READ permission on it.
        """
        watched = server_path(self._chroot, path, ops.GET_CHILDREN2)
        watch = Watch(self, watched)
        record = GetChildren2Request(watched, True)
        return self._call(ops.GET_CHILDREN2, record, lambda reply: (*_children_and_stat(reply), watch), watch)

    def add_watch(self, path: str, mode: AddWatchMode) -> WatchStream:
        """A persistent watch, for `async with`. Since 3.6.0. The znode need not exist.

        PERSISTENT sees the znode itself, and when its children are created and deleted. PERSISTENT_RECURSIVE sees the
        znode and everything below it.
        """
        if not isinstance(mode, AddWatchMode):
            raise LocalProtocolError(f"addWatch takes an AddWatchMode, not {mode!r}")
        return WatchStream(self, server_path(self._chroot, path, ops.ADD_WATCH), mode)

    def check_watches(self, path: str, watcher_type: WatcherType) -> Call[bool]:
        """Whether the server has such a watch on the path for this connection. Since 3.5.0.

        Servers before 3.9.0 also answer True for the watch of another connection.
        """
        if not isinstance(watcher_type, WatcherType):
            raise LocalProtocolError(f"checkWatches takes a WatcherType, not {watcher_type!r}")
        record = CheckWatchesRequest(server_path(self._chroot, path, ops.CHECK_WATCHES), watcher_type)
        return self._call(ops.CHECK_WATCHES, record, lambda reply: reply.err == 0, expected=ErrorCode.NO_WATCHER)

    # --- several at once

    def multi(self, operations: Iterable[MultiOperation]) -> Call[list[Any]]:
        """Do all of the operations or none of them. The result is a list, in order: see each class for its result.

        `operations` may be any iterable, a generator too. It is read before this returns.

        When one fails, nothing is applied and its error is raised. The error's `index` says which one it was. Its
        `results` has one entry for each operation: None for those before it, RuntimeInconsistencyError for those after.

        Raises:
            NoNodeError: a znode, or the parent of one to be created, does not exist.
            NodeExistsError: a znode to be created exists.
            BadVersionError: a version is another one than the one given.
            NotEmptyError: a znode to be deleted has children.
            NoChildrenForEphemeralsError: the parent of a znode to be created is ephemeral.
            NoAuthError: this connection has no permission for one of the operations.
            InvalidACLError, EphemeralOnLocalSessionError, UnimplementedError: as for `create`.
            BadArgumentsError: the server does not take a path.
            QuotaExceededError: the server enforces a quota, and one of the operations would exceed it.
        """
        asked, request = multi_request(self._chroot, operations)
        return self._call(ops.MULTI, request, lambda reply: multi_results(self._chroot, asked, request, reply.response))

    def multi_read(self, operations: Iterable[MultiReadOperation]) -> Call[list[Any]]:
        """Do each of the operations. Since 3.6.0. The result is a list, in order: the result of each, or its error.

        Errors in the list are not raised: NoNodeError and NoAuthError, as for `get_data`.
        """
        asked, request = multi_read_request(self._chroot, operations)
        return self._call(
            ops.MULTI_READ, request, lambda reply: multi_read_results(self._chroot, asked, reply.response)
        )

    # --- the connection and the ensemble

    def who_am_i(self) -> Call[list[ClientInfo]]:
        """Who this connection is to the server: one ClientInfo for each authentication. Since 3.7.0."""
        return self._call(ops.WHO_AM_I, None, lambda reply: list(reply.response.client_info or ()))

    def get_config(self) -> Call[tuple[bytes | None, Stat]]:
        """The ensemble's configuration: data and Stat of /zookeeper/config, whatever the chroot.

        The data is b"" on a standalone server, else lines of the form server.N=... and a line with the version.

        Raises:
            NoNodeError: the server has no such znode: before 3.5.0.
            NoAuthError: this connection has no READ permission on it.
        """
        return self._call(ops.GET_DATA, GetDataRequest(CONFIG_PATH, False), _data_and_stat)

    def reconfig(
        self,
        joining: Sequence[str] | str | None = None,
        leaving: Sequence[str] | str | None = None,
        new_members: Sequence[str] | str | None = None,
        from_config: int = -1,
    ) -> Call[tuple[bytes | None, Stat]]:
        """Change the ensemble. The result is the new configuration: its data and Stat. Since 3.5.0.

        Args:
            joining: lines server.N=..., as a list or separated by commas: servers to add or to change.
            leaving: ids of servers to remove, in the same form.
            new_members: lines server.N=...: the whole new ensemble, instead of the two others.
            from_config: the version that the configuration must have, in hexadecimal in its last line; -1 is any.

        Raises:
            ReconfigDisabledError: the servers do not have reconfigEnabled=true.
            UnimplementedError: the server is standalone.
            ReconfigInProgressError: another reconfig is not done yet.
            BadVersionError: the configuration has another version than `from_config`.
            BadArgumentsError: the server does not understand the members, or the change is not allowed.
            NewConfigNoQuorumError: too few servers of the new configuration are up to date.
            NoAuthError: this connection has no WRITE permission on /zookeeper/config.
        """
        record = ReconfigRequest(_joined(joining), _joined(leaving), _joined(new_members), from_config)
        return self._call(ops.RECONFIG, record, _data_and_stat)

    # --- what the methods use

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
