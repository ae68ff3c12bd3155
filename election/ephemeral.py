"""What recipes do with znodes that a session owns: over lost connections and lost replies, until it is done or the
session is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from zkwire import (
    ACL,
    AuthFailedError,
    BadVersionError,
    BoundClient,
    Client,
    ClosedError,
    ConnectionLossError,
    KeeperState,
    NoNodeError,
    NotReadOnlyError,
    SessionExpiredError,
    SessionMovedError,
    Stat,
    ThrottledOpError,
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
