"""Clients whose connections a test cuts: behind a tap, with every frame that passes, or on a `Line`.

Both use the same words:

    cut     end the connection; the client may connect again at once
    part    end the connection; the client reaches no server until `heal`
    held    a frame waits until the end of a block
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import trio

import zkwire
from tests.support.live import CONNECTED, DISCONNECTED, TIMEOUT, Addressed, client, reached
from zkwire import Client, ConnectionLossError, Direction, OpCode, ZkwireError
from zkwire.client.transport import SocketTransport, Transport, dialer
from zkwire.tap.tap import Tap, When
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import PASS, Action, Delay, Fault, Match

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED


class Behind:
    """A client behind a tap, and every frame that passed.

    Attributes:
        fault: decides what the tap does with each frame; None: pass it on.
        other: a second client, connected to the server directly. Only the context manager `behind` sets it.
    """

    other: Client

    def __init__(self, tap: Tap, zk: Client, fault: Fault | None = None) -> None:
        self.tap = tap
        self.zk = zk
        self.frames: list[SeenFrame] = []
        self.fault = fault
        tap.fault = self._see

    def _see(self, seen: SeenFrame) -> Action:
        self.frames.append(seen)
        return PASS if self.fault is None else self.fault(seen)

    def of(self, connection: int, direction: Direction) -> list[SeenFrame]:
        """The frames of one connection, in one direction."""
        return [each for each in self.frames if (each.connection, each.direction) == (connection, direction)]

    def all(self, match: Match, since: int = 0) -> list[SeenFrame]:
        """The frames that match, of those after the first `since`."""
        return [each for each in self.frames[since:] if match(each)]

    def requests(self, since: int = 0) -> list[OpCode | int | None]:
        """The opcodes of the requests after the first `since` frames, without pings and handshakes."""
        sent = [each for each in self.frames[since:] if each.direction is SENT and not each.is_handshake]
        return [each.opcode for each in sent if each.opcode is not OpCode.PING]

    def events(self, since: int = 0) -> list[SeenFrame]:
        """The notifications after the first `since` frames."""
        return [each for each in self.frames[since:] if each.is_notification]

    async def cut(self) -> None:
        """Cut the connection. Returns when the client knows it: what it sends next goes to the next connection."""
        self.tap.cut()
        await reached(self.zk, DISCONNECTED)

    async def part(self) -> None:
        """Cut the connection, and refuse new ones until `heal`. Returns when the client knows it."""
        self.tap.refuse()
        await self.cut()

    async def heal(self) -> None:
        """Accept connections again."""
        await self.tap.heal()

    def parting(self, fault: Fault) -> Fault:
        """The same fault; when it does something, the tap refuses new connections from then on, until `heal`."""

        def decide(seen: SeenFrame) -> Action:
            action = fault(seen)
            if action != PASS:
                self.tap.refuse()
            return action

        return decide

    @asynccontextmanager
    async def parted(self) -> AsyncIterator[None]:
        """Part until the end of the block."""
        await self.part()
        yield
        await self.heal()

    async def settle(self) -> None:
        """Return when the server has answered a request."""
        while isinstance(await outcome(self.zk.sync()), ConnectionLossError):
            continue


@asynccontextmanager
async def behind(
    server: Addressed, session_timeout: float = 10.0, *, fault: Fault | None = None, **options: Any
) -> AsyncIterator[Behind]:
    """A client behind a tap, and a second one, `other`, without a tap. The block may take a minute."""
    with trio.fail_after(60):
        async with Tap(server.address) as tap:
            connecting = zkwire.connect(tap.address, session_timeout, connect_timeout=20, **options)
            result = Behind(tap, connecting, fault)
            result.other = zkwire.connect(server.address, connect_timeout=20)
            async with result.other, connecting:
                yield result


@contextmanager
def held(at: Behind | Tap, match: Match, *, skip: int = 0) -> Iterator[When]:
    """The first frame that matches, after `skip` others, waits until the end of the block.

    Yields the fault: its `wait()` returns when that frame has come.
    """
    released = trio.Event()
    at.fault = fault = When(match, Delay(until=released), skip=skip)
    try:
        yield fault
    finally:
        released.set()


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """The result; the error, if it raises a ZkwireError."""
    try:
        return await awaitable
    except ZkwireError as error:
        return error


class Line:
    """The connections of one client, for `connect(dial=line.dial)`."""

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

    def refuse(self) -> None:
        """Make no new connection until `heal`. Open ones go on."""
        self._whole = trio.Event()

    def part(self) -> None:
        self.refuse()
        for transport in self._transports:
            with suppress(OSError):  # some are closed already
                transport._socket.shutdown(socket.SHUT_RDWR)
        self._transports.clear()

    def heal(self) -> None:
        self._whole.set()

    def hold(self) -> None:
        """Keep back everything that the servers send until `release`."""
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


@asynccontextmanager
async def on_line(server: Addressed, timeout: float = TIMEOUT, **options: Any) -> AsyncIterator[tuple[Client, Line]]:
    """A client on a line, and the line. The block may take a minute."""
    line = Line()
    async with client(server, timeout=timeout, dial=line.dial, **options) as zk:
        yield zk, line


async def part(zk: Client, line: Line) -> None:
    """Part the line. Returns when the client knows it."""
    line.part()
    await reached(zk, DISCONNECTED)


async def heal(zk: Client, line: Line) -> None:
    """Heal the line. Returns when the client is connected again."""
    line.heal()
    await reached(zk, CONNECTED)


async def expire(zk: Client, line: Line, server: Addressed) -> None:
    """Part the line, close the client's session from another connection, and heal the line."""
    session = zk.session
    await part(zk, line)
    async with client(server, session=session) as elsewhere:
        assert elsewhere.session_id == session.id
    line.heal()
