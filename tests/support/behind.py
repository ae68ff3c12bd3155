"""A client behind a tap, whose connections a test cuts and whose frames it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import trio

import zkwire
from tests.conftest import External
from tests.support.real.servers import Server
from zkwire import Client, ConnectionLossError, Direction, KeeperState, ZkwireError
from zkwire.tap.tap import Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import PASS, Action, Fault, Match

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
CONNECTED, DISCONNECTED, EXPIRED = KeeperState.SYNC_CONNECTED, KeeperState.DISCONNECTED, KeeperState.EXPIRED


class Behind:
    """A client behind a tap, every frame that passed, and another client straight on the server."""

    def __init__(self, tap: Tap, zk: Client, other: Client) -> None:
        self.tap = tap
        self.zk = zk
        self.other = other
        self.frames: list[SeenFrame] = []
        self.fault: Fault | None = None

    def see(self, seen: SeenFrame) -> Action:
        self.frames.append(seen)
        return PASS if self.fault is None else self.fault(seen)

    def of(self, connection: int, direction: Direction) -> list[SeenFrame]:
        return [each for each in self.frames if (each.connection, each.direction) == (connection, direction)]

    def all(self, match: Match) -> list[SeenFrame]:
        return [each for each in self.frames if match(each)]

    async def until(self, state: KeeperState) -> None:
        async for each in self.zk.states():
            if each is state:
                return

    async def cut(self) -> None:
        """Cut, and return when the client knows it: what it does next goes to the next connection."""
        self.tap.cut()
        await self.until(DISCONNECTED)

    async def settle(self) -> None:
        """Return when a request has come through."""
        while isinstance(await outcome(self.zk.sync()), ConnectionLossError):
            continue

    @asynccontextmanager
    async def gap(self) -> AsyncIterator[None]:
        """Cut, and no server to be found until the end of the block."""
        self.tap.refuse()
        await self.cut()
        yield
        await self.tap.heal()


@asynccontextmanager
async def behind(
    server: Server | External, session_timeout: float = 10.0, *, fault: Fault | None = None, **options: Any
) -> AsyncIterator[Behind]:
    with trio.fail_after(60):
        async with Tap(server.address) as tap:
            connecting = zkwire.connect(tap.address, session_timeout, connect_timeout=20, **options)
            result = Behind(tap, connecting, zkwire.connect(server.address, connect_timeout=20))
            result.fault = fault
            tap.fault = result.see
            async with result.other, connecting:
                yield result


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """Its result, or its error."""
    try:
        return await awaitable
    except ZkwireError as error:
        return error
