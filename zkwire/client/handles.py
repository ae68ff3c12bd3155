"""Handles on watches: `Watch` for one event, `WatchStream` for all of a persistent watch's.

Events are put into them by the reader as it meets them on the wire, before any reply behind them reaches its caller.
Neither makes the reader wait.
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

#: Events that a WatchStream holds for a slow reader; past that they are replaced by one RESYNC.
MAX_BUFFERED_EVENTS = 65536


class Watch:
    """A one-shot watch, armed by the reply that it came with.

    Several Watches on one path share one watch on the server; each sees the event. It is kept over reconnects: what
    happened meanwhile fires it then. When the session ends it fires too, with type NONE and the session's last state.
    A Watch that is dropped is still kept for its event: end the interest where none may come for long.

        async with watch:            # leaving the block ends the interest; the server is told when it was the last
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
        """The event, when it comes. Any number of tasks may wait, before and after it."""
        self._owner.check_run()
        await self._fired.wait()
        assert self.event is not None
        return self.event

    def disarm(self) -> None:
        """End the interest. Whoever still waits gets an event of type DATA_WATCH_REMOVED, as in the Java client."""
        if self.event is None:
            self._owner._disarm(self._server_path, self)
            self.deliver(WatchedEvent(EventType.DATA_WATCH_REMOVED, KeeperState.SYNC_CONNECTED, self._server_path))

    def deliver(self, event: WatchedEvent) -> None:
        """Called by the reader."""
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
    """What has arrived, in order, as an async iterator; ends behind the last."""

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

    After a reconnect it yields an event of type RESYNC, since servers keep no events for persistent watches: read again
    what you watch. The same when a reader is more than 65536 events behind. When the session ends it yields one event
    of type NONE with the session's last state, and then ends.
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
        """End the interest; iteration ends. The server is told when it was the last."""
        if not self._over:
            self._end()
            self._owner._disarm(self._server_path, self)

    def deliver(self, event: WatchedEvent) -> None:
        """Called by the reader."""
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
            raise RuntimeError("no watch stands outside the block: async with zk.add_watch(...) as events")
        return await super().__anext__()


class StateStream(_Stream[KeeperState]):
    """The client's states, the current one first, then every change; ends after a terminal one. One reader.

    `reason` says why the state changed to the one given last, as "the server closed the connection"; "" before the
    first connection, and while a session stands.
    """

    def __init__(self, current: KeeperState, reason: str, *, over: bool, check_run: Callable[[], None]) -> None:
        super().__init__([current], over=over, check_run=check_run)
        self.reason = ""
        self._reasons = deque([reason])

    def deliver(self, state: KeeperState, reason: str, *, last: bool) -> None:
        """Called by the client."""
        if not self._over:
            self._reasons.append(reason)
            self._put(state, last=last)

    async def __anext__(self) -> KeeperState:
        state = await super().__anext__()
        self.reason = self._reasons.popleft()
        return state

    async def aclose(self) -> None:
        """Iteration ends."""
        self._items.clear()
        self._end()
