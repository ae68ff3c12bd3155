"""A registration: an ephemeral znode that is kept up, over lost connections, expired sessions and deletions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

import trio

from zkwire import (
    ACL,
    OPEN_ACL_UNSAFE,
    BadVersionError,
    BoundClient,
    Client,
    EventType,
    HiddenNursery,
    NodeExistsError,
    NoNodeError,
    NotReadOnlyError,
    SessionExpiredError,
    ThrottledOpError,
)

from ..ephemeral import PAUSE, SESSION_OVER, UNCERTAIN, OwnedEphemeral, ensured, is_held, read_write, retried
from ..errors import RegistryError
from .layouts import Entry, Instance, Layout

#: Seconds until a znode that somebody deleted is created again: the first pause, and the longest, after doublings. The
#: first pause comes again when a znode has existed for the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
#: Seconds that leaving a cancelled block takes at most.
CLEANUP_TIMEOUT = 2.0


class Registration:
    """One member, registered for as long as its block lasts.

        async with registry.register("10.0.0.1:8897") as registration:
            await registration.update(b"...")

    Entering the block returns when the znode is there. If another session owns a znode of that name, entering waits for
    the end of that session: a process that was killed and started again gets its name back when its earlier session has
    expired. During the block the znode is created again in every new session (rule D1), and after a growing pause when
    somebody deletes it (rule D3). A reconnect within the session changes nothing (rule D2).

    Leaving the block deletes the znode, and returns when it is gone or the session is over (rule D5). Leaving a block
    that is cancelled takes 2 s at most; a znode that could not be deleted by then is deleted as soon as there is a
    connection.

    If the registration cannot be kept, the block is cancelled and raises one of these:

        RegistryError        a znode of that name belongs to no session, or to this client already
        NoAuthError          the client may not create the znode; any other refusal of the servers is raised too
        SessionExpiredError  the session expired, and the client was made with `new_session=False`
        ClosedError, AuthFailedError
    """

    def __init__(
        self, client: Client, path: str, layout: Layout, entry: Entry, *, acl: Sequence[ACL] = OPEN_ACL_UNSAFE
    ) -> None:
        #: Called before waiting for the end of another session, with the path of the znode and the id of the session
        #: that owns it. It must not wait. If it raises, the registration ends.
        self.on_waiting: Callable[[str, int], object] | None = None
        self._client = client
        self._path = path
        self._layout = layout
        self._entry = entry  # what the znode is to contain
        self._acl = tuple(acl)  # used again after each expiry
        self._written: Entry | None = None  # what the znode contains
        self._znode: OwnedEphemeral | None = None  # of the present session
        self._node: str | None = None
        self._former: set[int] = set()  # earlier sessions of ours
        self._pause = FIRST_PAUSE
        self._moved = trio.Event()  # set, and replaced, when `_node` changes
        self._nursery = HiddenNursery()
        self._work_scope = trio.CancelScope(shield=True)
        self._ended = trio.Event()
        self._removed = False

    @property
    def node(self) -> str | None:
        """The path of the znode, while it is known to exist; else None."""
        return self._node

    @property
    def data(self) -> bytes:
        """The data that the znode has, or will have."""
        return self._entry.data

    async def update(self, new: bytes | Instance) -> None:
        """Give the member new contents.

        Returns when they are written, or a later update has replaced them; without a connection it waits for one. When
        the znode has to be created again, it is created with them (rule D4).

        Args:
            new: names: the data; curator: the payload as text in UTF-8, or a ServiceInstance; serverset: a
                ServersetMember.

        Raises RegistryError if the layout cannot hold such contents, or the registration has ended. If the server
        refuses the contents, raises its error, and the contents before them stay.
        """
        former = self._entry
        wanted = self._entry = self._layout.updated(former, new)
        while self._entry is wanted and self._written is not wanted:
            if self._ended.is_set():
                raise RegistryError(f"{self._path}: the registration has ended")
            moved, node, znode = self._moved, self._node, self._znode
            if node is None or znode is None:
                await moved.wait()
                continue
            try:
                await znode.session.set_data(node, wanted.data)
            except (NoNodeError, SessionExpiredError):
                await moved.wait()  # it is created again, with these contents
            except NotReadOnlyError:
                await read_write(self._client)
            except ThrottledOpError:
                await trio.sleep(PAUSE)
            except UNCERTAIN:
                await trio.lowlevel.checkpoint()
            except Exception:
                if self._entry is wanted:
                    self._entry = former
                raise
            else:
                self._written = wanted

    async def deregister(self) -> None:
        """Delete the znode and do not create it again, as leaving the block does. May be called more than once.

        If a create is on its way, its outcome is found out first, so that the znode does not come back (rules C9, D5).
        """
        self._work_scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()  # at once, or after the task's own _remove_soon
        try:
            await self._remove()
        except trio.Cancelled:
            await self._remove_soon()
            raise

    # --- the block

    async def __aenter__(self) -> Registration:
        if self._nursery.is_open:
            raise RuntimeError("a registration is entered once; register() makes another")
        (await self._nursery.open()).start_soon(self._work)
        try:
            while self._node is None:
                await self._moved.wait()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        return await self._nursery.close(kind, error, where, self.deregister)

    # --- keeping it up

    async def _work(self) -> None:
        """Our task. It is shielded from a cancellation of the block, since it has the znode to delete."""
        try:
            with self._work_scope:
                await self._keep()
        except BaseException:
            await self._remove_soon()
            raise
        finally:
            self._ended.set()
            self._exists(None)

    async def _keep(self) -> None:
        """Keep the znode in one session after another."""
        while True:
            session = self._client.bound()
            try:
                await self._keep_in(session)
            except SessionExpiredError:
                if self._client.bound().expired:
                    raise  # no session follows
            finally:
                self._exists(None)
            self._former.add(session.session.id)

    async def _keep_in(self, session: BoundClient) -> None:
        """Create the znode, and create it again when somebody deleted it. Raises SessionExpiredError in the end."""
        path, entry = f"{self._path}/{self._entry.name}", self._entry
        znode = self._znode = OwnedEphemeral(self._client, session, path, mode=entry.mode, acl=self._acl)
        while True:
            self._exists(await self._create(znode))
            since = trio.current_time()
            await self._until_deleted(znode)
            self._exists(None)
            znode.forget()
            if not session.expired:
                await self._pause_before_repair(trio.current_time() - since)

    async def _create(self, znode: OwnedEphemeral) -> str:
        """Create the znode as soon as its name is free. Returns its path."""
        while znode.node is None:
            entry = self._entry
            try:
                if await znode.create(entry.data):
                    self._written = entry
            except NoNodeError:
                await ensured(znode.session, self._path, OPEN_ACL_UNSAFE)
            except NodeExistsError:
                await self._until_free(znode.session, f"{self._path}/{entry.name}")
        return znode.node

    async def _until_free(self, session: BoundClient, path: str) -> None:
        """Wait until another znode with our name may be gone. Such a znode is never adopted (rule R4)."""
        stat, watch = await retried(lambda: session.exists_and_watch(path))
        async with watch:
            if stat is None:
                return
            if stat.ephemeral_owner == 0:
                raise RegistryError(
                    f"{path} is not ephemeral, no session owns it, so it would never go: delete it, or change the name"
                )
            if is_held(self._client, path):
                raise RegistryError(f"{path} is registered by this client already")
            if stat.ephemeral_owner in (session.session.id, *self._former):
                # A former session of ours that a server still believes in, or one that this process has resumed. The
                # next create shows whether this has worked.
                with suppress(NoNodeError, BadVersionError, NotReadOnlyError, *UNCERTAIN):
                    await session.delete(path, stat.version)
            else:
                if self.on_waiting is not None:
                    self.on_waiting(path, stat.ephemeral_owner)
                await watch.wait()  # whatever the event is, the next create shows what happened

    async def _until_deleted(self, znode: OwnedEphemeral) -> None:
        """Wait until somebody has deleted the znode. Raises SessionExpiredError when the session is over."""
        session, node = znode.session, znode.node
        assert node is not None
        while True:
            try:
                _, stat, watch = await retried(lambda: session.get_data_and_watch(node))
            except NoNodeError:
                return
            async with watch:
                if stat.ephemeral_owner != session.session.id:
                    return  # it is another session's, which created it after ours was deleted
                event = await watch.wait()
            if event.type != EventType.NODE_DATA_CHANGED:
                return

    async def _pause_before_repair(self, existed: float) -> None:
        if existed >= LONGEST_PAUSE:
            self._pause = FIRST_PAUSE
        await trio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _exists(self, node: str | None) -> None:
        """Note that the znode exists at this path; None if it is not known to exist."""
        self._node = node
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    # --- deleting it

    async def _remove(self) -> None:
        """Delete the znode, if it exists or may exist."""
        if self._znode is None or self._removed:
            return
        with suppress(*SESSION_OVER):  # the znode goes with the session
            await self._znode.delete()
        self._removed = True

    async def _remove_soon(self) -> None:
        """Delete the znode within CLEANUP_TIMEOUT; if that is not enough, in a task that outlives the caller."""
        with trio.CancelScope(shield=True), trio.move_on_after(CLEANUP_TIMEOUT):
            await self._remove()
        if not self._removed:
            trio.lowlevel.spawn_system_task(self._remove_alone)

    async def _remove_alone(self) -> None:
        try:
            await self._remove()
        except Exception:  # no caller is left that could get it; the znode goes with the session
            if self._znode is not None:
                self._znode.forget()
