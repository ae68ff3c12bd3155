"""Time and wires of a fake ensemble: actions at times, and streams with delays that can be held or broken.

One task runs all that the servers do, in the order of their times, so that a run depends on nothing but its seed.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

Action = Callable[[], object]


class Timeline:
    """The servers' time: trio's, and ahead of it by all `jump`s.

    A jump is a suspend of the machine that the clients run on: the servers' time goes on while trio's stands.
    """

    def __init__(self) -> None:
        self.ahead = 0.0
        self._actions: list[tuple[float, int, Action]] = []
        self._count = itertools.count()
        self._acting: float | None = None
        self._wake = trio.Event()

    @property
    def now(self) -> float:
        return trio.current_time() + self.ahead if self._acting is None else self._acting

    def at(self, when: float, action: Action) -> None:
        heapq.heappush(self._actions, (max(when, self.now), next(self._count), action))
        self._wake.set()

    def after(self, delay: float, action: Action) -> None:
        self.at(self.now + delay, action)

    def jump(self, seconds: float) -> None:
        self.ahead += seconds
        self._wake.set()

    async def run(self) -> None:
        """Do everything at its time, for ever."""
        while True:
            if self._wake.is_set():
                self._wake = trio.Event()
            actions = self._actions
            while actions and actions[0][0] <= trio.current_time() + self.ahead:
                self._acting, _, action = heapq.heappop(actions)
                action()
            self._acting = None
            deadline = actions[0][0] - self.ahead if actions else math.inf
            with trio.move_on_at(deadline):
                await self._wake.wait()


class Wire:
    """One direction of a stream: keeps order, takes a while, and keeps what it has while it is held."""

    def __init__(self, timeline: Timeline, delay: Callable[[], float], deliver: Callable[[Any], object]) -> None:
        self._timeline = timeline
        self._delay = delay
        self._deliver = deliver
        self._on_the_way: deque[tuple[float, Any]] = deque()
        self._scheduled = False
        self._held = False
        self._cut = False
        self._last = 0.0

    def send(self, item: Any) -> None:
        if self._cut:
            return
        delay = self._delay()
        if not delay and not self._on_the_way and not self._held:
            self._deliver(item)
            return
        self._last = max(self._last, self._timeline.now + delay)
        self._on_the_way.append((self._last, item))
        self._schedule()

    def hold(self, held: bool) -> None:
        self._held = held
        self._schedule()

    def cut(self) -> None:
        """Nothing arrives any more, not even what is on the way."""
        self._cut = True
        self._on_the_way.clear()

    def _schedule(self) -> None:
        if self._on_the_way and not self._scheduled and not self._held:
            self._scheduled = True
            self._timeline.at(self._on_the_way[0][0], self._arrive)

    def _arrive(self) -> None:
        self._scheduled = False
        while not self._held and self._on_the_way and self._on_the_way[0][0] <= self._timeline.now:
            self._deliver(self._on_the_way.popleft()[1])
        self._schedule()


class MemoryTransport:
    """The client's end of a stream, for `connect(dial=...)`. All that it is given counts as written.

    `send` takes bytes towards the server, b"" for the end; `arrive` is what the server's end calls.
    """

    RESET = object()

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._received: deque[Any] = deque()
        self._arrived = trio.Event()
        self._closed = False
        self.unsent = 0

    def arrive(self, item: Any) -> None:
        """Bytes, b"" for the end, or RESET."""
        self._received.append(item)
        self._arrived.set()

    def send_nowait(self, data: bytes) -> None:
        if not self._closed:
            self._send(data)

    async def drain(self) -> None:
        await trio.lowlevel.checkpoint()

    async def readable(self) -> None:
        await self._arrived.wait()
        if self._received[0] is self.RESET:
            raise trio.BrokenResourceError("connection reset")

    def receive_nowait(self) -> bytes | None:
        if not self._received:
            return None
        data: bytes = self._received[0]
        if data:
            self._received.popleft()
            if not self._received:
                self._arrived = trio.Event()
        return data

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._send(b"")
        await trio.lowlevel.checkpoint()
