"""Handles on watches: `Watch` for one event, `WatchStream` for all of a persistent watch's.

The task that reads the connection puts events into them in wire order: an event that comes before a reply is there
before that reply reaches its caller. A handle never makes that task wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from ..codes import AddWatchMode, EventType, KeeperState
from ..session.events import WatchedEvent

if TYPE_CHECKING:
    from types import TracebackType

    from .call import Owner

T = TypeVar("T")
S = TypeVar("S")

#: How many events a WatchStream holds for a slow reader. If there are more, one RESYNC takes the place of all.
MAX_BUFFERED_EVENTS = 65536


class Watch:
    """A one-shot watch. It is armed already when the method that makes it returns it.

    Several Watches on one path share one watch on the server, and each sees the event. It is kept over reconnects: a
    change that happened meanwhile fires it then. When the session ends it fires too, with type NONE and the session's
    last state. The client keeps it until it fires, even if you do not: disarm it if no event may come for long.

        async with watch:            # leaving the block disarms it
            event = await watch.wait()
    """

    def __init__(self, owner: Owner, server_path: str) -> None:
        self._owner = owner
        self._server_path = server_path
        self._fired = trio.Event()
        #: The event, as soon as it has come off the wire; None before.
        self.event: WatchedEvent | None = None

    @property
    def path(self) -> str:
        """The path that is watched."""
        return self._owner._client_path(self._server_path)

    async def wait(self) -> WatchedEvent:
        """Wait for the event, and return it. Any number of tasks may wait, before and after it has come.

        Raises RuntimeError in another trio.run or another process than the client's.
        """
        self._owner.check_run()
        await self._fired.wait()
        assert self.event is not None
        return self.event

    def disarm(self) -> None:
        """End the watch; if it was the last one on the path, the server is told. Tasks that still wait get an event of
        type DATA_WATCH_REMOVED, as in the Java client."""
        if self.event is None:
            self._owner._disarm(self._server_path, self)
            self.deliver(WatchedEvent(EventType.DATA_WATCH_REMOVED, KeeperState.SYNC_CONNECTED, self._server_path))

    def deliver(self, event: WatchedEvent) -> None:
        """Called when the event has come off the wire. Its path is the server's."""
        if self.event is None:
            self.event = event._replace(path=self._owner._client_path(event.path) if event.path else self.path)
            self._fired.set()

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.disarm()


class _Stream(Generic[T]):
    """An async iterator over the items that arrive, in order. It ends after the last item."""

    def __init__(self, items: Iterable[T] = (), *, over: bool = False, check_run: Callable[[], None]) -> None:
        self._check_run = check_run
        self._items = deque(items)
        self._arrived = trio.Event()
        self._over = over  # nothing more will arrive

    def _put(self, item: T, *, last: bool) -> None:
        self._items.append(item)
        self._over = last
        self._arrived.set()

    def _end(self) -> None:
        self._over = True
        self._arrived.set()

    def __aiter__(self) -> _Stream[T]:
        return self

    async def __anext__(self) -> T:
        self._check_run()
        while not self._items:
            if self._over:
                raise StopAsyncIteration
            if self._arrived.is_set():
                self._arrived = trio.Event()
            await self._arrived.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._items.popleft()


class WatchStream(_Stream[WatchedEvent]):
    """All events of a persistent watch, in order, as an async iterator inside its block.

        async with zk.add_watch("/a", AddWatchMode.PERSISTENT_RECURSIVE) as events:
            async for event in events: ...

    Servers keep no events for persistent watches. So after a reconnect it yields an event of type RESYNC: read again
    what you watch. It yields one too, instead of all events, if more than 65536 have not been read. When the session
    ends it yields one event of type NONE with the session's last state, and then it ends.
    """

    def __init__(self, owner: Owner, server_path: str, mode: AddWatchMode) -> None:
        super().__init__(check_run=owner.check_run)
        self._owner = owner
        self._server_path = server_path
        self._mode = mode
        self._entered = False

    @property
    def path(self) -> str:
        """The path that is watched."""
        return self._owner._client_path(self._server_path)

    async def __aenter__(self) -> WatchStream:
        if self._entered:
            raise RuntimeError("a watch stream is entered once; add_watch() makes another")
        self._entered = True
        await self._owner._check_modes(self._server_path, self._mode)
        await self._owner._add_watch(self._server_path, self._mode, self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the watch, and the iteration. If it was the last one on the path, the server is told."""
        if not self._over:
            self._end()
            self._owner._disarm(self._server_path, self)

    def deliver(self, event: WatchedEvent) -> None:
        """Called when the event has come off the wire. Its path is the server's."""
        if self._over:
            return
        path = self._owner._client_path(event.path) if event.path else self.path
        if len(self._items) >= MAX_BUFFERED_EVENTS:
            self._items.clear()
            event = WatchedEvent(EventType.RESYNC, event.state, "")
            path = self.path
        self._put(event._replace(path=path), last=event.type == EventType.NONE)

    async def __anext__(self) -> WatchedEvent:
        if not self._entered:
            raise RuntimeError("there is no watch outside the block: async with zk.add_watch(...) as events")
        return await super().__anext__()


class StateStream(_Stream[S]):
    """The states of a client (KeeperState), or of another object: the current one first, then every change. It ends
    after a terminal one. For one reader.

    `reason` says why the state of a client became the one that was given last, such as "the server closed the
    connection". It is "" before the first connection and while connected.
    """

    def __init__(
        self,
        current: S,
        reason: str = "",
        *,
        over: bool = False,
        check_run: Callable[[], None],
        limit: int | None = None,
    ) -> None:
        """`limit`: how many states are kept for a slow reader. If there are more, the oldest are dropped."""
        super().__init__([current], over=over, check_run=check_run)
        self.reason = ""
        self._items = deque(self._items, limit)
        self._reasons = deque([reason], limit)

    def deliver(self, state: S, reason: str = "", *, last: bool = False) -> None:
        """Called by the object at each change of its state."""
        if not self._over:
            self._reasons.append(reason)
            self._put(state, last=last)

    async def __anext__(self) -> S:
        state = await super().__anext__()
        self.reason = self._reasons.popleft()
        return state

    async def aclose(self) -> None:
        """End the iteration."""
        self._items.clear()
        self._end()
