"""zkwire, in two styles where there are many requests at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

import zkwire
from benchmarks.meter import Meter, announce
from benchmarks.peers import method
from benchmarks.scenarios import (
    BATCH,
    LARGE,
    LARGE_SIZE,
    NEW,
    PARENT,
    SESSION_TIMEOUT,
    SMALL,
    SMALL_DATA,
    WATCHES,
    watched_path,
)


class Zkwire:
    """500 at a time: 500 tasks in a nursery."""

    on_frame: Callable[[zkwire.Frame], object] | None = None

    def __init__(self, hosts: str) -> None:
        self._hosts = hosts

    def run(self, scenario: str, meter: Meter) -> None:
        trio.run(getattr(self, method(scenario)), meter)

    def idle(self, session_timeout: float) -> None:
        trio.run(self._idle, session_timeout)

    async def get_data_serial(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                await zk.get_data(SMALL)

    tracing = get_data_serial

    async def get_data_500(self, meter: Meter) -> None:
        async with self._connect() as zk:

            async def one() -> None:
                await zk.get_data(SMALL)

            for _ in meter:
                await _at_a_time(one)

    async def set_data_500(self, meter: Meter) -> None:
        async with self._connect() as zk:

            async def one() -> None:
                await zk.set_data(SMALL, SMALL_DATA)

            for _ in meter:
                await _at_a_time(one)

    async def create(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                await zk.create(f"{NEW}/n-", SMALL_DATA, mode=zkwire.CreateMode.EPHEMERAL_SEQUENTIAL)

    async def get_children_10000(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                await zk.get_children(PARENT)

    async def get_data_1MB(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                await zk.get_data(LARGE)

    async def set_data_1MB(self, meter: Meter) -> None:
        data = bytes(LARGE_SIZE)
        async with self._connect() as zk:
            for _ in meter:
                await zk.set_data(LARGE, data)

    async def watches_1000(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter.untimed():
                calls = [zk.get_data_and_watch(watched_path(index)) for index in range(WATCHES)]
                watches = [(await call)[2] for call in calls]
                announce("armed")
                with meter.lap():
                    for watch in watches:
                        await watch.wait()

    async def connect(self, meter: Meter) -> None:
        for _ in meter:
            async with self._connect():
                pass

    def _connect(self, session_timeout: float = SESSION_TIMEOUT) -> zkwire.Client:
        return zkwire.connect(self._hosts, session_timeout, on_frame=self.on_frame)

    async def _idle(self, session_timeout: float) -> None:
        async with self._connect(session_timeout):
            announce("idle")
            await trio.sleep_forever()


class ZkwireInOrder(Zkwire):
    """500 at a time: 500 calls, awaited in order by one task."""

    async def get_data_500(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                for call in [zk.get_data(SMALL) for _ in range(BATCH)]:
                    await call

    async def set_data_500(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                for call in [zk.set_data(SMALL, SMALL_DATA) for _ in range(BATCH)]:
                    await call


class ZkwireTraced(Zkwire):
    """Every frame is given to a function that does nothing."""

    @staticmethod
    def on_frame(frame: zkwire.Frame) -> None:
        pass


async def _at_a_time(function: Callable[[], Awaitable[Any]]) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(BATCH):
            nursery.start_soon(function)
