"""The live view of a service's members: what is read, and when.

One persistent recursive watch on the service's path names every member that comes, changes or goes, so that only that
one is read (rule D13). After the event of a one-shot watch the whole list would have to be read. The watch can be set
before the path exists. All members are read when the view begins, and after every reconnect, since servers keep no
events for persistent watches.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import Literal, NamedTuple

import trio

from zkwire import (
    AddWatchMode,
    BoundClient,
    Client,
    EventType,
    HiddenNursery,
    KeeperState,
    NoAuthError,
    NoNodeError,
    SessionExpiredError,
    Stat,
    UnimplementedError,
    WatchedEvent,
)

from ..ephemeral import PAUSE, UNCERTAIN
from ..errors import NoMembersError, RegistryError
from .layouts import Layout, Member
from .layouts.payload import PayloadError
from .picking import Picker

#: Reads that are sent at once: enough to hide the round trip, and few enough for globalOutstandingLimit, 1000, of the
#: servers.
READS_AT_ONCE = 500

#: What was read of a member: its data and Stat; a NoAuthError if it may not be read; None if it is not there.
Reading = tuple[bytes, Stat] | NoAuthError | None


class Change(NamedTuple):
    """One change of a view. `member` is the member as it is now; with "removed", as it was.

    When one registration replaces another of the same name, that is "removed", then "added".
    """

    kind: Literal["added", "updated", "removed"]
    member: Member


class _Changes:
    """The changes of a view that its iterator has not given yet. Several changes of one member become one."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        """`members` are those of the view, which changes them."""
        self._members = members
        self._given: dict[str, Member] = {}  # the members as the iterator has given them
        self._noted: dict[str, None] = {}  # names of members that have changed, the oldest first
        self._arrived = trio.Event()
        self._over = False

    def begin(self) -> None:
        """Give only what changes from now on."""
        self._given = dict(self._members)
        self._noted.clear()

    def note(self, name: str) -> None:
        """A member of this name has come, changed or gone."""
        self._noted[name] = None
        self._arrived.set()

    def end(self) -> None:
        """After the changes that were noted, the iteration ends."""
        self._over = True
        self._arrived.set()

    async def next(self) -> Change:
        """Wait for the next change. Raises StopAsyncIteration after the last one."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while (change := self.take()) is None:
            if self._over:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
        return change

    def take(self) -> Change | None:
        """The next change, if one was noted."""
        while self._noted:
            name = next(iter(self._noted))
            before, now = self._given.get(name), self._members.get(name)
            if before is not None and (now is None or now.czxid != before.czxid):
                del self._given[name]  # the name stays noted: there may be another member of that name now
                return Change("removed", before)
            del self._noted[name]
            if now is not None and now != before:
                self._given[name] = now
                return Change("added" if before is None else "updated", now)
        return None


class Members:
    """A live view of the members of a service, for `async with`. In the block it is complete, and follows every change.

        async with registry.members() as members:
            members.snapshot()
            with members.use("least-loaded") as member: ...
            async for change in members: ...

    Iterating gives the changes since the block was entered. A snapshot from the start of the block, with
    these changes applied, is the present snapshot. Several changes of one member that were not read yet become one
    change, which gives their outcome. Only one task may iterate.

    If the view cannot be kept, the block is cancelled and raises one of these:

        NoAuthError          the client may not read the path
        RegistryError        the servers have no persistent watches: they are older than 3.6
        SessionExpiredError  the session expired, and the client was made with `new_session=False`
        ClosedError, AuthFailedError
    """

    def __init__(
        self,
        client: Client,
        path: str,
        layout: Layout,
        *,
        errors: int = 2,
        window: float = 30.0,
        when_all_down: Literal["use", "fail"] = "use",
        on_problem: Callable[[str, Exception], object] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self._path = path
        self._layout = layout
        self._picker = Picker(
            path, errors=errors, window=window, when_all_down=when_all_down, rng=rng or random.Random()
        )
        self._on_problem = on_problem

        # the view
        self._members: dict[str, Member] = {}
        self._sorted: list[Member] | None = None  # those that are enabled; None: to be made again
        self._problems: dict[str, Exception] = {}
        self._losses = 0  # how often the connection was lost
        self._read_at = -1  # `_losses` when all members were last read
        self._lost_at: float | None = None

        # what is still to be read
        self._bound: BoundClient | None = None  # the session that has the watch
        self._all = False
        self._named: dict[str, bool] = {}  # False: it is gone
        self._marked = trio.Event()

        self._changes = _Changes(self._members)
        self._nursery = HiddenNursery()
        self._tasks: trio.Nursery
        self._whole = trio.Event()

    # --- the view

    def snapshot(self) -> list[Member]:
        """All members, sorted by name, also those that are not enabled."""
        return sorted(self._members.values(), key=lambda member: member.name)

    @property
    def problems(self) -> Mapping[str, Exception]:
        """Why members are left out: by the name of the znode, a PayloadError or a NoAuthError (rule D9)."""
        return MappingProxyType(self._problems)

    @property
    def stale(self) -> bool:
        """Whether the view may be out of date: from the loss of the connection until all members have been read again.
        A server that does not answer any more is noticed after 2/3 of the session timeout."""
        return self._client.state is not KeeperState.SYNC_CONNECTED or self._read_at != self._losses

    @property
    def age(self) -> float:
        """For how many seconds the view has been stale; 0.0 if it is not."""
        if not self.stale or self._lost_at is None:
            return 0.0
        return trio.current_time() - self._lost_at

    # --- picking

    def pick(self, strategy_name: str = "random") -> Member:
        """A member. The strategy is "random", "round-robin", "sticky" or "least-loaded".

        A member that is not enabled is never picked. A member that is down (`note_error`) is picked only if all are
        down, and with `when_all_down="fail"` not even then. A stale view can be picked from too.

        Raises NoMembersError if there is none to pick, and RegistryError for an unknown strategy.
        """
        return self._picker.pick(strategy_name, self._candidates(), trio.current_time())

    @contextmanager
    def use(self, strategy_name: str = "random") -> Iterator[Member]:
        """Pick a member, and use it in the block: it is in flight, for "least-loaded", until the block is left.

        An exception of the block, other than a cancellation, counts as an error of the member; leaving the block
        without one counts as a success.
        """
        member = self.pick(strategy_name)
        with self._picker.in_flight(member.name):
            try:
                yield member
            except Exception:
                self.note_error(member)
                raise
            self.note_success(member)

    def note_error(self, member: Member) -> None:
        """A use of the member failed. If it had `errors` of these within the last `window` seconds, the member is down
        (rule D12). A new registration under its name starts without errors."""
        present = self._members.get(member.name)
        if present is not None and present.czxid == member.czxid:
            self._picker.note_error(member.name, trio.current_time())

    def note_success(self, member: Member) -> None:
        """A use of the member succeeded: its errors are forgotten."""
        self._picker.forget_errors(member.name)

    def _candidates(self) -> Sequence[Member]:
        """The members that may be used, sorted by name. Raises NoMembersError if there are none."""
        if self._sorted is None:
            self._sorted = [member for member in self.snapshot() if member.enabled]
        if not self._sorted:
            stale = f" (as of {self.age:.0f} s ago, when the connection was lost)" if self.stale else ""
            raise NoMembersError(f"{self._path} has no members that may be used{stale}")
        return self._sorted

    # --- changes

    def __aiter__(self) -> Members:
        return self

    async def __anext__(self) -> Change:
        return await self._changes.next()

    # --- the block

    async def __aenter__(self) -> Members:
        if self._nursery.is_open:
            raise RuntimeError("a view is entered once; members() makes another")
        self._tasks = await self._nursery.open()
        for task in (self._watch_connection, self._watch_members, self._read):
            self._tasks.start_soon(task)
        try:
            await self._whole.wait()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        self._changes.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        self._changes.end()

        async def stop() -> None:
            self._tasks.cancel_scope.cancel()

        return await self._nursery.close(kind, error, where, stop)

    # --- our tasks

    async def _watch_connection(self) -> None:
        """Count each loss of the connection. This runs before anything can be read over the next connection."""
        async for state in self._client.states():
            if state is not KeeperState.SYNC_CONNECTED:
                self._losses += 1
                if self._lost_at is None:
                    self._lost_at = trio.current_time()

    async def _watch_members(self) -> None:
        """Keep one watch in each session, and mark what its events name."""
        while True:
            bound = self._client.bound()
            try:
                async with bound.add_watch(self._path, AddWatchMode.PERSISTENT_RECURSIVE) as events:
                    self._bound = bound
                    self._mark_all()
                    async for event in events:
                        self._mark(event)
            except SessionExpiredError:
                if self._client.bound().expired:
                    raise  # no session follows
            except UnimplementedError:
                raise RegistryError("the server has no persistent watches: they came with ZooKeeper 3.6.0") from None
            except UNCERTAIN:
                await trio.sleep(PAUSE)

    def _mark_all(self) -> None:
        self._all = True
        self._named.clear()
        self._marked.set()

    def _mark(self, event: WatchedEvent) -> None:
        if event.type == EventType.RESYNC:
            self._mark_all()
            return
        parent, _, name = event.path.rpartition("/")
        if event.type != EventType.NONE and parent == self._path and self._layout.is_member(name):
            self._named[name] = event.type != EventType.NODE_DELETED
            self._marked.set()

    async def _read(self) -> None:
        """Read what is marked. What is marked meanwhile is read in the next round."""
        while True:
            await self._marked.wait()
            self._marked = trio.Event()
            whole, self._all = self._all, False
            named, self._named = self._named, {}
            losses, bound = self._losses, self._bound
            assert bound is not None
            try:
                found = await (self._read_all(bound) if whole else self._read_named(bound, named))
            except SessionExpiredError:
                continue  # when the watch of the next session is set, all is marked
            except UNCERTAIN:
                await trio.sleep(PAUSE)
                if bound is self._bound and not bound.expired:
                    self._mark_all()
                continue
            if whole:
                gone = (self._members.keys() | self._problems.keys()) - found.keys()
                found.update(dict.fromkeys(gone))
                self._read_at, self._lost_at = losses, None
            for name, result in found.items():
                self._take(name, result)
            self._whole.set()

    async def _read_all(self, bound: BoundClient) -> dict[str, Reading]:
        try:
            names = await bound.get_children(self._path)
        except NoNodeError:
            return {}
        return await self._read_named(bound, {name: True for name in names if self._layout.is_member(name)})

    async def _read_named(self, bound: BoundClient, named: Mapping[str, bool]) -> dict[str, Reading]:
        """What was read of each member of these names."""
        found: dict[str, Reading] = dict.fromkeys(named)
        names = [name for name, there in named.items() if there]
        for start in range(0, len(names), READS_AT_ONCE):
            some = names[start : start + READS_AT_ONCE]
            reads = [bound.get_data(f"{self._path}/{name}") for name in some]
            for name, read in zip(some, reads):
                try:
                    data, stat = await read
                    found[name] = data or b"", stat
                except NoNodeError:
                    pass
                except NoAuthError as error:
                    found[name] = error
        return found

    def _take(self, name: str, result: Reading) -> None:
        """Put what was read into the view."""
        member: Member | None = None
        problem: Exception | None = None
        if isinstance(result, NoAuthError):
            problem = result
        elif result is not None:
            data, stat = result
            try:
                member = self._layout.decode(name, data, stat.czxid)
            except PayloadError as error:
                problem = error
        if problem is None:
            self._problems.pop(name, None)
        else:
            self._problems[name] = problem
        before = self._members.get(name)
        if member != before:
            if member is None:
                del self._members[name]
            else:
                self._members[name] = member
            if member is None or before is None or member.czxid != before.czxid:
                self._picker.forget_errors(name)
            self._sorted = None
            self._changes.note(name)
        if problem is not None and self._on_problem is not None:
            self._on_problem(name, problem)
