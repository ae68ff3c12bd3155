"""Whole trees of znodes. Requests are sent without waiting for the replies to earlier ones, but at most `WINDOW` are
unanswered at a time."""

from __future__ import annotations

from collections import deque
from itertools import islice

from .. import paths
from ..client.call import Call
from ..client.client import Client
from ..errors import NoAuthError, NoNodeError, NotEmptyError
from .common import Progress
from .status import USAGE, CommandError

WINDOW = 256

#: How many times a tree is listed again, for znodes that were created while it was being deleted.
ROUNDS = 10

#: Znodes that no server deletes (DataTree, PrepRequestProcessor.pRequest2TxnDelete).
RESERVED = ("/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota")


def refuse_reserved(path: str, chroot: str) -> None:
    """Raise a CommandError for a path that must not be deleted: one of the server's znodes, or the root. The znode of a
    chroot is the root too; a client without that chroot can delete it by its path."""
    if path == "/" or paths.under(chroot, path) in RESERVED:
        raise CommandError(f"{path} cannot be deleted: it belongs to the server or is the root", USAGE)


async def walk(zk: Client, root: str, unreadable: dict[str, NoAuthError]) -> dict[str, list[str]]:
    """The znode and everything below it, level by level, each with the names of its children. Znodes that are deleted
    meanwhile are left out. A znode that this connection must not read is in the result without children, and its error
    is put into `unreadable`.

    Raises:
        NoNodeError: there is no such root.
    """
    found: dict[str, list[str]] = {}
    pending = deque([root])
    calls: deque[tuple[str, Call[list[str]]]] = deque()
    with Progress("znode", "found") as progress:
        while pending or calls:
            while pending and len(calls) < WINDOW:
                path = pending.popleft()
                calls.append((path, zk.get_children(path)))
            path, call = calls.popleft()
            try:
                names = await call
            except NoNodeError:
                if path == root:
                    raise
                continue
            except NoAuthError as error:
                unreadable[path] = error
                names = []
            found[path] = names
            pending += (child(path, name) for name in names)
            progress.update(len(found))
    return found


def child(parent: str, name: str) -> str:
    return f"/{name}" if parent == "/" else f"{parent}/{name}"


def pre_order(tree: dict[str, list[str]], root: str) -> list[str]:
    """The paths of a tree that `walk` found: each znode, then its children by name."""
    found: list[str] = []
    pending = [root]
    while pending:
        path = pending.pop()
        if path in tree:
            found.append(path)
            pending += (child(path, name) for name in sorted(tree[path], reverse=True))
    return found


async def delete_all(zk: Client, root: str) -> int:
    """Delete the znode and everything below it, the lowest first. Returns how many were deleted by this call.

    Other clients may delete or create znodes meanwhile; for new znodes the tree is listed again. A znode that must not
    be read can be deleted if it has no children.

    Raises:
        NoNodeError: there is no such root.
        NoAuthError: a znode that is left must not be deleted, or must not be read and has children.
        NotEmptyError: other clients create znodes faster than this deletes them.
    """
    deleted = 0
    not_empty: NotEmptyError | None = None
    for _ in range(ROUNDS):
        try:
            unreadable: dict[str, NoAuthError] = {}
            tree = await walk(zk, root, unreadable)
        except NoNodeError:
            if not_empty is None:
                raise
            return deleted  # another client deleted the rest
        # walk gives parents before children. The server does a session's requests in order, so a parent's delete can be
        # sent before the replies to its children's.
        count, not_empty = await _delete(zk, list(reversed(tree)))
        deleted += count
        if not_empty is None:
            return deleted
        if unreadable and not count:
            raise next(iter(unreadable.values()))
    assert not_empty is not None
    raise not_empty


async def _delete(zk: Client, doomed: list[str]) -> tuple[int, NotEmptyError | None]:
    """Delete these znodes. Returns how many were deleted, and the last NotEmptyError, of a znode with new children."""
    deleted = 0
    not_empty: NotEmptyError | None = None
    paths_left = iter(doomed)
    calls = deque(zk.delete(path) for path in islice(paths_left, WINDOW))
    with Progress("znode", "deleted") as progress:
        while calls:
            try:
                await calls.popleft()
                deleted += 1
            except NoNodeError:
                pass
            except NotEmptyError as error:
                not_empty = error
            calls.extend(zk.delete(path) for path in islice(paths_left, 1))
            progress.update(deleted)
    return deleted, not_empty
