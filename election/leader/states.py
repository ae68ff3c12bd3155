"""The states of an election, as a stream."""

from __future__ import annotations

from collections import deque

import trio

#: States that wait for a slow reader; past that the oldest are dropped, never the last.
MAX_BUFFERED_STATES = 64


class StateStream:
    """The current state first, then every change, for `async for`. One reader."""

    def __init__(self, current: str) -> None:
        self._states = deque([current], maxlen=MAX_BUFFERED_STATES)
        self._arrived = trio.Event()
        self._over = False

    def __aiter__(self) -> StateStream:
        return self

    async def __anext__(self) -> str:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._states:
            if self._over:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._states.popleft()

    def put(self, state: str) -> None:
        """Called by the election."""
        if not self._over:
            self._states.append(state)
            self._arrived.set()

    async def aclose(self) -> None:
        """Iteration ends."""
        self._over = True
        self._states.clear()
        self._arrived.set()
