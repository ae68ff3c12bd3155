"""`Later`: tells observers what passed a tap, soon after it has passed, many events at a time.

Printing a frame takes longer than passing it on, and clients should not wait for that.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

import trio

from ..frames import Direction
from ..traffic.conversation import SeenFrame
from ..traffic.faults import Action
from .tap import Observer

#: Seconds from an event until the observers are called with it.
_PAUSE = 0.05
#: Seconds of work after which the clients have their turn.
_TURN = 0.01
#: How many events may wait. If there are more, the observers are called at once, and the clients wait for that.
_LIMIT = 10_000


class Later:
    """An observer of a tap that tells others. `told` is called each time after it has told them something."""

    def __init__(self, observers: Sequence[Observer], told: Callable[[], object]) -> None:
        self._opened = [observer.opened for observer in observers]
        self._unreachable = [observer.unreachable for observer in observers]
        self._passed = [observer.passed for observer in observers]
        self._closed = [observer.closed for observer in observers]
        self._told = told
        # The methods to call, and their arguments:
        self._waiting: deque[tuple[Sequence[Callable[..., object]], tuple[object, ...]]] = deque()
        self._some = trio.Event()

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        self._add(self._opened, connection, client, server, now)

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        self._add(self._unreachable, connection, client, reason, now)

    def passed(
        self, connection: int, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        self._add(self._passed, connection, direction, seen, action, now)

    def closed(self, connection: int, by: str, now: float) -> None:
        self._add(self._closed, connection, by, now)

    def _add(self, methods: Sequence[Callable[..., object]], *arguments: object) -> None:
        self._waiting.append((methods, arguments))
        self._some.set()
        if len(self._waiting) > _LIMIT:
            self.catch_up()

    async def run(self) -> None:
        """Tell the observers, until cancelled. Events that were not told by then wait for `catch_up`."""
        while True:
            await self._some.wait()
            await trio.sleep(_PAUSE)
            self._some = trio.Event()
            while self._waiting:
                self._tell(time.perf_counter() + _TURN)
                await trio.sleep(_TURN)

    def catch_up(self) -> None:
        """Tell everything that waits, now."""
        self._tell(math.inf)

    def _tell(self, until: float) -> None:
        while self._waiting and time.perf_counter() < until:
            methods, arguments = self._waiting.popleft()
            for method in methods:
                method(*arguments)
        self._told()
