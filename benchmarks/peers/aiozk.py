"""aiozk, on asyncio. 500 at a time: `asyncio.gather`."""

from __future__ import annotations

import asyncio
from typing import Any

from aiozk import WatchEvent, ZKClient

from benchmarks import scenarios
from benchmarks.meter import Meter, announce
from benchmarks.peers import method


class Aiozk:
    def __init__(self, hosts: str) -> None:
        self._hosts = hosts

    def run(self, scenario: str, meter: Meter) -> None:
        asyncio.run(getattr(self, method(scenario))(meter))

    def idle(self, session_timeout: float) -> None:
        asyncio.run(self._idle(session_timeout))

    async def get_data_serial(self, meter: Meter) -> None:
        zk = await self._connected()
        for _ in meter:
            await zk.get(scenarios.SMALL)
        await zk.close()

    async def get_data_500(self, meter: Meter) -> None:
        zk = await self._connected()
        for _ in meter:
            await asyncio.gather(*(zk.get(scenarios.SMALL) for _ in range(scenarios.BATCH)))
        await zk.close()

    async def set_data_500(self, meter: Meter) -> None:
        zk = await self._connected()
        for _ in meter:
            await asyncio.gather(*(zk.set(scenarios.SMALL, scenarios.SMALL_DATA, -1) for _ in range(scenarios.BATCH)))
        await zk.close()

    async def create(self, meter: Meter) -> None:
        zk = await self._connected()
        for _ in meter:
            await zk.create(f"{scenarios.NEW}/n-", scenarios.SMALL_DATA, ephemeral=True, sequential=True)
        await zk.close()

    async def get_children_10000(self, meter: Meter) -> None:
        zk = await self._connected()
        for _ in meter:
            await zk.get_children(scenarios.PARENT)
        await zk.close()

    async def get_data_1MB(self, meter: Meter) -> None:
        zk = await self._connected()
        for _ in meter:
            await zk.get(scenarios.LARGE)
        await zk.close()

    async def set_data_1MB(self, meter: Meter) -> None:
        zk, data = await self._connected(), bytes(scenarios.LARGE_SIZE)
        for _ in meter:
            await zk.set(scenarios.LARGE, data, -1)
        await zk.close()

    async def watches_1000(self, meter: Meter) -> None:
        zk = await self._connected()
        paths = [scenarios.watched_path(index) for index in range(scenarios.WATCHES)]
        for _ in meter.untimed():
            events = [zk.wait_for_events([WatchEvent.DATA_CHANGED], path) for path in paths]
            await asyncio.gather(*(zk.get(path, watch=True) for path in paths))
            announce("armed")
            with meter.lap():
                await asyncio.gather(*events)
        await zk.close()

    async def connect(self, meter: Meter) -> None:
        for _ in meter:
            zk = await self._connected()
            await zk.close()

    async def _connected(self, session_timeout: float = scenarios.SESSION_TIMEOUT) -> Any:
        zk = ZKClient(self._hosts, session_timeout=session_timeout)
        await zk.start()
        return zk

    async def _idle(self, session_timeout: float) -> None:
        _zk = await self._connected(session_timeout)
        announce("idle")
        await asyncio.Event().wait()
