"""A registration: an ephemeral znode that is kept up, over lost connections, expired sessions and deletions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from weakref import WeakKeyDictionary

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

from ..ephemeral import SESSION_OVER, UNCERTAIN, delete_own, read_write, retried
from ..errors import RegistryError
from .layouts import Entry, Instance, Layout

#: Seconds until a znode that was deleted from outside is made again: the first time, doubling, the most. It begins anew
#: when a znode has stood for the most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
#: Seconds between tries of a server that sheds load.
SHED_PAUSE = 0.1
#: Seconds that a cancelled block takes at most.
CLEANUP_TIMEOUT = 2.0

#: The znodes that registrations hold, by client: no other registration takes them for its own.
_held: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()


class Registration:
    """One member, registered for as long as its block lasts.

        async with registry.register("10.0.0.1:8897") as registration:
            await registration.update(b"...")

    Entering the block returns when the znode is there. While another session holds the name that waits for its end: a
    process that was killed and started again gets its name when the session of its former life has expired. In the
    block the znode is made again in every new session (rule D1) and, after a growing pause, when somebody deletes it
    (rule D3); a reconnect within the session touches nothing (rule D2).

    Leaving the block deletes the znode, and returns when it is gone, or the session over (rule D5). A cancelled block
    takes 2 s at most; what is left to do then is done as soon as there is a connection.

    The block is cancelled, and raises: RegistryError when the name is that of a znode that would never go; NoAuthError
    and whatever else forbids the znode; SessionExpiredError with `new_session=False`; ClosedError; AuthFailedError.
    """

    def __init__(
        self, zk: Client, path: str, layout: Layout, entry: Entry, *, acl: Sequence[ACL] = OPEN_ACL_UNSAFE
    ) -> None:
        #: Called with the path and the session that owns it, before waiting for the end of that session. It must not
        #: wait. If it raises, the registration ends.
        self.on_waiting: Callable[[str, int], object] | None = None
        self._zk = zk
        self._path = path
        self._layout = layout
        self._entry = entry  # what is wanted
        self._acl = tuple(acl)  # used again after each expiry
        self._written: Entry | None = None  # what the znode has
        self._node: str | None = None
        self._bound: BoundClient | None = None  # the session of the two below
        self._mine: str | None = None  # a znode that we have made
        self._asked: Entry | None = None  # one that we may have made: the reply has not come
        self._former: set[int] = set()  # earlier sessions of ours
        self._pause = FIRST_PAUSE
        self._moved = trio.Event()  # set, and replaced, when `_node` changes
        self._nursery = HiddenNursery()
        self._work_scope = trio.CancelScope(shield=True)
        self._ended = trio.Event()
        self._removed = False

    @property
    def node(self) -> str | None:
        """The path of the znode, while it is known to stand; else None."""
        return self._node

    @property
    def data(self) -> bytes:
        """The data that the znode has, or will have."""
        return self._entry.data

    async def update(self, new: bytes | Instance) -> None:
        """Give the member new contents (names: bytes; curator: a payload as bytes, or an instance; serverset: a
        member).

        Returns when they are written, or a later update has taken their place; waits for a connection where there is
        none. Registering again registers them (rule D4). Raises RegistryError where the layout has no such contents, or
        the registration has ended; and what the server says against them, and then they are not registered.
        """
        former = self._entry
        wanted = self._entry = self._layout.updated(former, new)
        while self._entry is wanted and self._written is not wanted:
            if self._ended.is_set():
                raise RegistryError(f"{self._path}: the registration has ended")
            moved, node, bound = self._moved, self._node, self._bound
            if node is None or bound is None:
                await moved.wait()
                continue
            try:
                await bound.set_data(node, wanted.data)
            except (NoNodeError, SessionExpiredError):
                await moved.wait()  # it is made again, with these contents
            except NotReadOnlyError:
                await read_write(self._zk)
            except ThrottledOpError:
                await trio.sleep(SHED_PAUSE)
            except UNCERTAIN:
                await trio.lowlevel.checkpoint()
            except Exception:
                if self._entry is wanted:
                    self._entry = former
                raise
            else:
                self._written = wanted

    async def deregister(self) -> None:
        """Delete the znode and keep it up no longer, as leaving the block does. May be called again.

        The outcome of a create that is on its way is found out first, so that nothing comes back (rules C9, D5).
        """
        self._work_scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()  # at once, or after its own _remove_soon
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
        """Our task. A cancellation of the block is not for it: the znode is still to be deleted then."""
        try:
            with self._work_scope:
                await self._keep()
        except BaseException:
            await self._remove_soon()
            raise
        finally:
            self._ended.set()
            self._stands(None)

    async def _keep(self) -> None:
        """Place the znode and stand by it, again and again."""
        while True:
            if self._bound is None or self._bound.expired:
                if self._bound is not None:
                    self._former.add(self._bound.session.id)
                self._own(None)
                self._bound, self._asked = self._zk.bound(), None
            bound = self._bound
            try:
                node = await self._place(bound)
                since = trio.current_time()
                self._stands(node)
                await self._stand_by(bound, node)
            except SessionExpiredError:
                if self._zk.bound().expired:
                    raise  # no other will follow
                continue
            except NotReadOnlyError:
                await read_write(self._zk)
                continue
            except ThrottledOpError:
                await trio.sleep(SHED_PAUSE)
                continue
            except UNCERTAIN:
                continue  # the next request waits for the connection
            finally:
                self._stands(None)
            self._own(None)
            if not bound.expired:
                await self._pause_before_repair(trio.current_time() - since)

    async def _pause_before_repair(self, stood: float) -> None:
        if stood >= LONGEST_PAUSE:
            self._pause = FIRST_PAUSE
        await trio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _place(self, bound: BoundClient) -> str:
        """The path of our znode: the one that this session has already, or a new one."""
        if self._mine is not None or self._asked is not None:
            found = await self._find(bound)
            if found is not None:
                return found
        while True:
            entry = self._asked = self._entry
            path = f"{self._path}/{entry.name}"
            try:
                made = await bound.create(path, entry.data, mode=entry.mode, acl=self._acl)
            except NoNodeError:
                await bound.ensure_path(self._path)
            except NodeExistsError:
                self._asked = None
                await self._wait_out(bound, path)
            else:
                self._own(made)
                self._asked, self._written = None, entry
                return made

    async def _find(self, bound: BoundClient) -> str | None:
        """Our znode, where this session has it.

        Looked for behind a `sync`: the server may lag behind the one that made it, which our last zxid does not tell
        when the reply was lost (rule C5). A sequential one is known by its owner and its data.
        """
        bound.sync(self._path)
        asked = self._asked
        if self._mine is not None:
            candidates = [self._mine]
        elif asked is not None and asked.mode.is_sequential:
            try:
                names = await bound.get_children(self._path)
            except NoNodeError:
                names = []
            candidates = [f"{self._path}/{name}" for name in names if name.startswith(asked.name)]
        else:
            candidates = [f"{self._path}/{self._entry.name}"]
        candidates = [path for path in candidates if path == self._mine or path not in _held.get(self._zk, ())]
        reads = [bound.get_data(path) for path in candidates]
        found = None
        for path, read in zip(candidates, reads):
            try:
                data, stat = await read
            except NoNodeError:
                continue
            if stat.ephemeral_owner == bound.session.id and (asked is None or data == asked.data):
                found = path
        self._own(found)
        if asked is not None and found is not None:
            self._written = asked
        self._asked = None
        return found

    async def _wait_out(self, bound: BoundClient, path: str) -> None:
        """Return when a znode that is in our way has gone: it is never adopted (rule R4)."""
        stat, watch = await bound.exists_and_watch(path)
        async with watch:
            if stat is None:
                return
            if stat.ephemeral_owner == 0:
                raise RegistryError(f"{path} is there, and no session owns it: it would never go")
            if path in _held.get(self._zk, ()):
                raise RegistryError(f"{path} is registered by this client already")
            if stat.ephemeral_owner in (bound.session.id, *self._former):
                # A former session of ours that a server still believes in, or one that this process has resumed.
                try:
                    await bound.delete(path, stat.version)
                except (NoNodeError, BadVersionError):
                    return  # look again
            else:
                if self.on_waiting is not None:
                    self.on_waiting(path, stat.ephemeral_owner)
                await watch.wait()  # whatever it was: the next create tells

    async def _stand_by(self, bound: BoundClient, node: str) -> None:
        """Return when the znode is gone, or the session over."""
        while True:
            try:
                _, stat, watch = await bound.get_data_and_watch(node)
            except NoNodeError:
                return
            async with watch:
                if stat.ephemeral_owner != bound.session.id:
                    return  # somebody else's, after ours was deleted
                event = await watch.wait()
            if event.type != EventType.NODE_DATA_CHANGED:
                return

    def _stands(self, node: str | None) -> None:
        self._node = node
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    def _own(self, node: str | None) -> None:
        held = _held.setdefault(self._zk, set())
        if self._mine is not None:
            held.discard(self._mine)
        if node is not None:
            held.add(node)
        self._mine = node

    # --- taking it down

    async def _remove(self) -> None:
        """Delete what we have, and what we may have, in this session."""
        bound = self._bound
        if bound is None or self._removed:
            return
        try:
            if self._asked is not None:
                await retried(lambda: self._find(bound))
            if self._mine is not None:
                await delete_own(bound, self._mine, lambda data, stat: True)
        except SESSION_OVER:
            pass  # it goes with the session
        self._own(None)
        self._removed = True

    async def _remove_soon(self) -> None:
        """The same within CLEANUP_TIMEOUT; what takes longer goes on behind our caller's back."""
        with trio.CancelScope(shield=True), trio.move_on_after(CLEANUP_TIMEOUT):
            await self._remove()
        if not self._removed:
            trio.lowlevel.spawn_system_task(self._remove_alone)

    async def _remove_alone(self) -> None:
        try:
            await self._remove()
        except Exception:  # nobody is left who could be told: the znode goes with the session
            self._own(None)
