"""A client on memory servers, and what such a server may do in place of serving."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
import trio.testing

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.wire import Sent
from zkwire import KeeperState
from zkwire.client.transport import Transport

HOST = "10.0.0.1:2181"


def connect(servers: MemoryServers, hosts: str = HOST, timeout: float = 9.0, **options: Any) -> zkwire.Client:
    return zkwire.connect(hosts, timeout, dial=servers.dial, **options)


async def hold(conversation: ServerSide) -> None:
    """Shake hands, read requests, answer none."""
    await conversation.shake_hands()
    while await conversation.read() is not None:
        pass


async def shake_and_go(conversation: ServerSide) -> None:
    """Shake hands and close the connection."""
    await conversation.shake_hands()


async def serve_or_go(conversation: ServerSide) -> None:
    """Serve a client that may go before it has sent a ConnectRequest."""
    with suppress(AssertionError):
        await conversation.serve()


async def until(zk: zkwire.Client, wanted: KeeperState) -> None:
    """Wait for a state."""
    async for state in zk.states():
        if state is wanted:
            return
    raise AssertionError(f"never {wanted.name}")


Script = Callable[[ServerSide], Awaitable[None]]


def answering(*records: Any) -> Script:
    """A server that answers the first requests with these records (an int: with this error), then like any other."""

    async def script(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        for record in records:
            got: Sent | None = await conversation.read()
            assert got is not None
            if isinstance(record, int):
                await conversation.reply(got, err=record)
            else:
                await conversation.reply(got, record)
        await conversation.serve_on()

    return script


class Hosts:
    """Servers by address, for `connect(dial=...)`; those that are not in `up` refuse."""

    def __init__(self, *up: str, **servers: MemoryServers) -> None:
        self.servers = {f"10.0.0.{name[1:]}": these for name, these in servers.items()}
        self.connect_string = ",".join(self.servers)
        self.up = {f"10.0.0.{name[1:]}" for name in up} or set(self.servers)

    async def dial(self, address: str, port: int, host_name: str) -> Transport:
        if address not in self.up:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError("refused")
        return await self.servers[address].dial(address, port, host_name)

    def all_up(self) -> None:
        self.up = set(self.servers)


def granting(seconds: float, then: Script = ServerSide.serve_on) -> Script:
    """A server that grants this session timeout; what comes then."""

    async def script(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=round(seconds * 1000))
        await then(conversation)

    return script


async def freeze(conversation: ServerSide) -> None:
    """Read requests, and answer none."""
    while await conversation.read() is not None:
        pass
