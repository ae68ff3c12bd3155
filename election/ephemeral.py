"""Ephemeral znodes of one session, over lost connections and lost replies: created once, found again, deleted surely.

Everything here goes on until it is done or the session is over. Elections and registrations both stand on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar
from weakref import WeakSet

import trio

from zkwire import (
    ACL,
    AuthFailedError,
    BadVersionError,
    BoundClient,
    Client,
    ClosedError,
    ConnectionLossError,
    CreateMode,
    KeeperState,
    NoNodeError,
    NotReadOnlyError,
    SessionExpiredError,
    SessionMovedError,
    Stat,
    ThrottledOpError,
    ZkwireError,
)

from .errors import ElectionError

T = TypeVar("T")

#: The session is over, or no longer ours to use: its ephemerals are gone or will go, and nothing is left to do.
SESSION_OVER = (SessionExpiredError, ClosedError, AuthFailedError)
#: The request may have been applied or not. SessionMoved: it went to a server that the session had left.
UNCERTAIN = (ConnectionLossError, SessionMovedError, ThrottledOpError)

#: Seconds between tries of a server that sheds load, and of one in read-only mode, which has no quorum.
PAUSE = 0.05
READ_ONLY_PAUSE = 0.5


def path_problem(path: object) -> str | None:
    """Why this cannot be the path of an election's or a service's own znode; None if it can."""
    if not isinstance(path, str):
        return f"a path is a str, not {type(path).__name__}"
    if not path.startswith("/"):
        return "a path starts with /"
    if path.endswith("/"):
        return "a path does not end with /, and / itself is taken"
    if not {"", ".", ".."}.isdisjoint(path.split("/")[1:]):
        return "no part of a path between two slashes is empty, . or .."
    return None


async def retried(request: Callable[[], Awaitable[T]]) -> T:
    """The result of a request that may be sent any number of times: reads, `sync`, `ensure_path`.

    What was never sent waits for the next connection by itself, so that this does not spin while there is none.
    """
    while True:
        try:
            return await request()
        except ThrottledOpError:
            await trio.sleep(PAUSE)
        except NotReadOnlyError:  # of `sync`, or of `ensure_path`
            await trio.sleep(READ_ONLY_PAUSE)
        except UNCERTAIN:
            continue


def must_be_owned(node: str, stat: Stat) -> None:
    """Raises ElectionError if no session owns this znode, which is in the place of a contender or a leader."""
    if not stat.ephemeral_owner:
        raise ElectionError(
            f"{node} is not ephemeral, no session owns it, so no candidate made it (it may come from a backup that was "
            f"restored); while it is there nobody can lead: delete it"
        )


async def ensured(zk: BoundClient, path: str, acl: Sequence[ACL]) -> None:
    """Make the path and its parents, also while somebody else deletes them."""
    while True:
        try:
            await retried(lambda: zk.ensure_path(path, acl))
        except NoNodeError as error:
            if error.path is None or error.path.rpartition("/")[0] == "":
                raise  # the chroot is missing, and no path can create that
        else:
            return


async def synced(zk: BoundClient, path: str, request: Callable[[], Awaitable[T]]) -> T:
    """The same for a read that must see all that was committed before it, so behind a `sync` on its connection: a
    server that the session has just come to may lag behind what the last one did (rule C5)."""

    async def both() -> T:
        sync = zk.sync(path)
        reply = request()
        await sync
        return await reply

    return await retried(both)


async def read_write(zk: Client) -> None:
    """Wait until the client is on a server that takes writes, or has no session any more (rule C13)."""
    states = zk.states()
    try:
        async for state in states:
            if state is KeeperState.SYNC_CONNECTED:
                return
    finally:
        await states.aclose()


async def delete_own(zk: BoundClient, path: str, is_ours: Callable[[bytes, Stat], bool]) -> None:
    """Delete a znode if this session owns it and `is_ours(data, stat)`, by the version that was looked at (rule R1).

    A znode that is not there is deleted already (rule R2).
    """
    while True:
        try:
            data, stat = await synced(zk, path, lambda: zk.get_data(path))
            if stat.ephemeral_owner != zk.session.id or not is_ours(data or b"", stat):
                return
            await zk.delete(path, stat.version)
        except NoNodeError:
            return
        except (BadVersionError, NotReadOnlyError, *UNCERTAIN):
            continue
        else:
            return


# --- an ephemeral of our own

#: All of this process: none takes the znode of another for its own.
_all: WeakSet[OwnedEphemeral] = WeakSet()


def is_held(client: Client, path: str) -> bool:
    """Whether an OwnedEphemeral in the client's present session has this znode."""
    return any(each.node == path and each.client is client and not each.session.expired for each in _all)


class OwnedEphemeral:
    """One ephemeral znode of one session: never created twice, whatever replies are lost (rules C4 to C7).

        znode = OwnedEphemeral(client, client.bound(), "/services/daytime/h1:8897", mode=CreateMode.EPHEMERAL, acl=acl)
        while not await znode.create(b"data"): ...
        await znode.delete()

    A `create` whose reply is lost may have been applied. So the znode is looked for before it is created again. It is
    ours if this session owns it and its name has our GUID. Where other programs decide what names look like and leave
    no room for a GUID, it is ours if it has the data that we sent, and no other OwnedEphemeral of the client has it.

    Every method raises SessionExpiredError, ClosedError or AuthFailedError when the session is over: then the znode is
    gone, or goes soon.

    Args:
        client, session: the session is `client.bound()`; the znode is never looked for in another one (rule C7).
        path: where to create it; with a sequential mode the path without the digits.
        mode: EPHEMERAL or EPHEMERAL_SEQUENTIAL.
        acl: the znode's.
        has_guid: whether `path` contains a GUID that nobody else uses.

    Attributes:
        node: the path of the znode, digits included; None before it is created, and after `delete` or `forget`.
        may_exist: False if certainly no request of ours has created a znode that is still there.
    """

    def __init__(
        self,
        client: Client,
        session: BoundClient,
        path: str,
        *,
        mode: CreateMode,
        acl: Sequence[ACL],
        has_guid: bool = False,
    ) -> None:
        self.client = client
        self.session = session
        self.node: str | None = None
        self.may_exist = False
        self._path = path
        self._parent = path.rpartition("/")[0] or "/"
        self._mode = mode
        self._acl = acl
        self._has_guid = has_guid
        self._data = b""  # of the last create
        _all.add(self)

    async def create(self, data: bytes) -> bool:
        """Send one request to create the znode, and find out what became of it.

        Returns whether the znode is there; `node` is its path. After False it is certain that it is not, and that it
        does not come later: call it again. On a server in read-only mode it waits, and sends nothing (rule C13).

        Raises NoNodeError if the parent is missing, NodeExistsError, and whatever else the server refuses it with. No
        znode was created then.
        """
        if self.client.state is KeeperState.CONNECTED_READ_ONLY:
            await read_write(self.client)
        self._data, self.may_exist = data, True
        try:
            self.node = await self.session.create(self._path, data, mode=self._mode, acl=self._acl)
        except NotReadOnlyError:  # the request waited for a connection, and this one is to such a server
            self.may_exist = False
            await read_write(self.client)
        except UNCERTAIN as error:
            if isinstance(error, ThrottledOpError):
                await trio.sleep(PAUSE)
            await self.find()
        except SESSION_OVER:
            raise
        except ZkwireError:
            self.may_exist = False
            raise
        return self.node is not None

    async def find(self) -> None:
        """Set `node` to the path of our znode if a request of ours has created one, else to None.

        With a GUID there may be others that have it: a second one, or that of another session. They are deleted (rule
        C6).
        """
        ours: list[tuple[str, int]] = []
        others: list[tuple[str, int]] = []
        for path, data, stat in sorted(await self._candidates(), key=lambda each: each[2].czxid):
            is_ours = stat.ephemeral_owner == self.session.session.id
            if not self._has_guid:
                is_free = path == self.node or not is_held(self.client, path)
                is_ours = is_ours and is_free and data == self._data
            (ours if is_ours else others).append((path, stat.version))
        self.node = ours[0][0] if ours else None
        self.may_exist = bool(ours)
        if self._has_guid:
            for path, version in ours[1:] + others:
                with suppress(NoNodeError, BadVersionError):
                    await retried(partial(self.session.delete, path, version))

    async def delete(self) -> None:
        """Delete the znode, also one whose creation was not answered. When this returns it is gone and does not come
        back (rules C9, R2, D5)."""
        if not self.session.session.id:
            return  # the session has never begun: nothing was sent
        if self.may_exist and (self.node is None or self._has_guid):
            await self.find()
        if self.node is not None:
            await delete_own(self.session, self.node, lambda data, stat: True)
        self.forget()

    def forget(self) -> None:
        """The znode is not there any more: somebody deleted it, or the session is over."""
        self.node = None
        self.may_exist = False

    async def _candidates(self) -> list[tuple[str, bytes, Stat]]:
        """The znodes that may be ours, as all servers agree.

        The `sync` makes that final: a create that was still on its way is done by then, or will be refused, since its
        connection has lost the session (rule C5).
        """

        async def look() -> list[tuple[str, bytes, Stat]]:
            sync = self.session.sync(self._parent)
            paths = [self._path]
            if self._mode.is_sequential:
                try:
                    names = await self.session.get_children(self._parent)
                except NoNodeError:
                    names = []
                base = "" if self._parent == "/" else self._parent
                paths = [path for name in names if (path := f"{base}/{name}").startswith(self._path)]
            reads = [self.session.get_data(path) for path in paths]
            await sync
            found = []
            for path, read in zip(paths, reads):
                try:
                    data, stat = await read
                except NoNodeError:
                    continue
                found.append((path, data or b"", stat))
            return found

        return await retried(look)
