"""What the tests against real servers share: clients with a deadline, a line to cut, waiting for a state."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import pytest
import trio

import zkwire
from tests.support.real.servers import Server
from zkwire import Client, CreateMode, Direction, Frame, KeeperState, NoServerError, OpCode
from zkwire.client.transport import SocketTransport, Transport, dialer
from zkwire.records import ConnectRequest

DISCONNECTED, CONNECTED = KeeperState.DISCONNECTED, KeeperState.SYNC_CONNECTED
EPHEMERAL = CreateMode.EPHEMERAL
#: Above what a loaded machine adds to what is promised, in seconds.
SLACK = 5.0
#: Session timeout in seconds of clients whose timing is no matter; the servers take 0.5 to 60.
TIMEOUT = 10.0
#: Seconds until a test gives up waiting for what must come.
PATIENCE = 20.0


class Addressed(Protocol):
    @property
    def address(self) -> str: ...


@asynccontextmanager
async def client(
    server: Addressed, chroot: str = "", timeout: float = TIMEOUT, **options: Any
) -> AsyncIterator[Client]:
    """A client of a server or of `ensemble.hosts`; the whole block has a minute."""
    with trio.fail_after(60):
        async with zkwire.connect(server.address + chroot, timeout, **options) as zk:
            yield zk


class Line:
    """The way to the servers, for `connect(dial=line.dial)`.

    Between `cut` and `restore` nobody is reached; between `hold` and `release` nothing that comes is handed on.
    """

    def __init__(self) -> None:
        self._dial = dialer(None)
        self._transports: list[SocketTransport] = []
        self._whole = trio.Event()
        self._whole.set()
        self.flowing = trio.Event()
        self.flowing.set()

    async def dial(self, address: str, port: int, host_name: str) -> Transport:
        await self._whole.wait()
        transport = await self._dial(address, port, host_name)
        assert isinstance(transport, SocketTransport)
        transport = _LineTransport(transport._socket, self)
        self._transports.append(transport)
        return transport

    def bar(self) -> None:
        """No new connection until `restore`; those that stand go on."""
        self._whole = trio.Event()

    def cut(self) -> None:
        self.bar()
        for transport in self._transports:
            with suppress(OSError):  # some are closed already
                transport._socket.shutdown(socket.SHUT_RDWR)
        self._transports.clear()

    def restore(self) -> None:
        self._whole.set()

    def hold(self) -> None:
        self.flowing = trio.Event()

    def release(self) -> None:
        self.flowing.set()


class _LineTransport(SocketTransport):
    def __init__(self, sock: socket.socket, line: Line) -> None:
        super().__init__(sock)
        self._line = line

    async def readable(self) -> None:
        await super().readable()
        await self._line.flowing.wait()


async def reached(zk: Client, *wanted: KeeperState) -> None:
    """Wait until the client is in one of the states."""
    states = zk.states()
    with trio.fail_after(PATIENCE):
        async for state in states:
            if state in wanted:
                break
    await states.aclose()


async def cut(zk: Client, line: Line) -> None:
    """Cut the line, and wait until the client knows."""
    line.cut()
    await reached(zk, KeeperState.DISCONNECTED)


async def restore(zk: Client, line: Line) -> None:
    """Restore the line, and wait until the session stands again."""
    line.restore()
    await reached(zk, KeeperState.SYNC_CONNECTED)


async def until_gone(zk: Client, path: str) -> None:
    """Wait until there is no such znode."""
    with trio.fail_after(PATIENCE):
        while True:
            stat, watch = await zk.exists_and_watch(path)
            if stat is None:
                watch.disarm()
                return
            await watch.wait()


async def watched_paths(server: Server) -> set[str]:
    """The paths that any connection to this server watches."""
    text = await trio.to_thread.run_sync(server.four_letter, "wchp")
    return {line for line in text.splitlines() if line.startswith("/")}


def sent(frames: list[Frame], *opcodes: OpCode) -> list[Frame]:
    return [frame for frame in frames if frame.direction is Direction.SENT and frame.opcode in opcodes]


def connect_requests(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.types == (ConnectRequest,)]


async def no_server(hosts: str, ssl_context: ssl.SSLContext | None = None, *, wait: float = 1.0) -> str:
    """The message of the NoServerError that entering raises after `wait` seconds."""
    with trio.fail_after(60):
        with pytest.raises(NoServerError) as error:
            async with zkwire.connect(hosts, 10.0, connect_timeout=wait, ssl_context=ssl_context):
                raise AssertionError("not reached")
        return str(error.value)
