"""Ephemeral znodes of a session: created once, found again after a lost reply, and deleted for certain.

Elections and registrations both use this. Requests are repeated over lost connections, until they are done or the
session is over. A parameter `session` is a BoundClient; `client` is the Client that it came from.
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

#: The session is over, or we cannot use it any more. Its ephemerals are gone or will go, and nothing is left to do.
SESSION_OVER = (SessionExpiredError, ClosedError, AuthFailedError)
#: The request may have been applied, or not. SessionMoved: it went to a server that the session had left.
UNCERTAIN = (ConnectionLossError, SessionMovedError, ThrottledOpError)

#: Seconds until a request is repeated, after a server shed it, and after a server in read-only mode refused it.
PAUSE = 0.05
READ_ONLY_PAUSE = 0.5


def path_problem(path: object) -> str | None:
    """Why this cannot be the path of an election or a service, in a few words; None if it can."""
    if not isinstance(path, str):
        return f"a path is a str, not {type(path).__name__}"
    if not path.startswith("/"):
        return "a path starts with /"
    if path.endswith("/"):
        return "a path does not end with /, and / itself cannot be used"
    if not {"", ".", ".."}.isdisjoint(path.split("/")[1:]):
        return "no part of a path between two slashes is empty, . or .."
    return None


async def retried(request: Callable[[], Awaitable[T]]) -> T:
    """Send a request until it is answered, and return its result. For requests that may be applied any number of times:
    reads, `sync`, `ensure_path`.

    Each try waits for a connection, so this does not loop without a pause while there is none.
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
    """Raise ElectionError if no session owns this znode of a contender or a leader."""
    if not stat.ephemeral_owner:
        raise ElectionError(
            f"{node} is not ephemeral, no session owns it, so no candidate created it (perhaps a backup was restored); "
            f"while it is there nobody can lead: delete it"
        )


async def ensured(session: BoundClient, path: str, acl: Sequence[ACL]) -> None:
    """Create the path and its parents if they are missing, also while somebody else deletes them."""
    while True:
        try:
            await retried(lambda: session.ensure_path(path, acl))
        except NoNodeError as error:
            if error.path is None or error.path.rpartition("/")[0] == "":
                raise  # the chroot is missing, and no path can create that
        else:
            return


async def synced(session: BoundClient, path: str, request: Callable[[], Awaitable[T]]) -> T:
    """Send a `sync` and then a read, again until both are answered. Returns the result of the read. It shows everything
    that was committed before. Without the `sync`, a server to which the session has just moved may lag (rule C5)."""

    async def both() -> T:
        sync = session.sync(path)
        reply = request()
        await sync
        return await reply

    return await retried(both)


async def read_write(client: Client) -> None:
    """Wait until the client is connected to a server that takes writes, or has no session any more (rule C13)."""
    states = client.states()
    try:
        async for state in states:
            if state is KeeperState.SYNC_CONNECTED:
                return
    finally:
        await states.aclose()


async def delete_own(session: BoundClient, path: str, is_ours: Callable[[bytes, Stat], bool]) -> None:
    """Delete a znode if the session owns it and `is_ours(data, stat)`. If the znode was written or replaced after it
    was read, it is not deleted, but read again (rule R1). A znode that is not there counts as deleted (rule R2)."""
    while True:
        try:
            data, stat = await synced(session, path, lambda: session.get_data(path))
            if stat.ephemeral_owner != session.session.id or not is_ours(data or b"", stat):
                return
            await session.delete(path, stat.version)
        except NoNodeError:
            return
        except (BadVersionError, NotReadOnlyError, *UNCERTAIN):
            continue
        else:
            return


# --- an ephemeral of our own

#: All OwnedEphemerals of this process. None of them takes a znode that belongs to another.
_all: WeakSet[OwnedEphemeral] = WeakSet()


def is_held(client: Client, path: str) -> bool:
    """Whether an OwnedEphemeral of the client has this znode in the present session."""
    return any(each.node == path and each.client is client and not each.session.expired for each in _all)


class OwnedEphemeral:
    """One ephemeral znode of one session. It is never created twice, whichever replies are lost (rules C4 to C7).

        znode = OwnedEphemeral(client, client.bound(), "/services/daytime/h1:8897", mode=CreateMode.EPHEMERAL, acl=acl)
        while not await znode.create(b"data"): ...
        await znode.delete()

    If the reply to a create is lost, the create may have been applied. So the znode is looked for before it is created
    again. A znode is ours if this session owns it and its name has our GUID. In a layout of other programs, whose names
    have no place for a GUID, it is ours if this session owns it, it has the data that we sent, and it does not belong
    to another OwnedEphemeral of the client.

    Every method raises SessionExpiredError, ClosedError or AuthFailedError when the session is over. The znode is gone
    then, or goes soon.

    Args:
        client, session: the session is `client.bound()`. The znode is never looked for in another session (rule C7).
        path: where to create it; with a sequential mode the path without the digits.
        mode: EPHEMERAL or EPHEMERAL_SEQUENTIAL.
        acl: the znode's.
        has_guid: whether `path` contains a GUID that nobody else uses.

    Attributes:
        node: the path of the znode, with its digits; None before it is created, and after `delete` or `forget`.
        may_exist: False if it is certain that no znode of ours is there.
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

        Returns True when the znode is there; `node` is its path. False means: it is not there, and does not appear
        later either; call this again. While the client is connected to a server in read-only mode, this waits (rule
        C13).

        Raises NoNodeError if the parent is missing, NodeExistsError, and any other error with which the server refuses
        the request. After an error no znode was created.
        """
        if self.client.state is KeeperState.CONNECTED_READ_ONLY:
            await read_write(self.client)
        self._data, self.may_exist = data, True
        try:
            self.node = await self.session.create(self._path, data, mode=self._mode, acl=self._acl)
        except NotReadOnlyError:  # the request had waited for a connection, and the first was to a read-only server
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
        """Look for a znode that a request of ours has created, and set `node` to its path, or to None.

        Any other znode with our GUID is deleted: a second one, or one that another session owns (rule C6).
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
        """Delete the znode, also if the create was not answered. When this returns, the znode is gone and does not come
        back (rules C9, R2, D5)."""
        if not self.session.session.id:
            return  # the session has not begun, so nothing was sent
        if self.may_exist and (self.node is None or self._has_guid):
            await self.find()
        if self.node is not None:
            await delete_own(self.session, self.node, lambda data, stat: True)
        self.forget()

    def forget(self) -> None:
        """Note that the znode is not there any more, since somebody deleted it or the session is over."""
        self.node = None
        self.may_exist = False

    async def _candidates(self) -> list[tuple[str, bytes, Stat]]:
        """Path, data and Stat of each znode that may be ours.

        The `sync` makes the answer final. A create that was still on its way is applied by then, or it will be refused,
        since the session has left the connection that it came on (rule C5).
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
