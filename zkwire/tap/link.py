"""`Link`: the two TCP connections of one client of a tap, one to the client and one to the server."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import trio

from ..frames import Direction
from ..hosts import Host
from ..traffic.conversation import Conversation, SeenFrame
from ..traffic.faults import Side

_RECEIVE_SIZE = 64 * 1024


class Link:
    """The two TCP connections of one client, its two sides.

    Bytes that are sent to a side that the tap has closed are dropped, and none are received from it. When a side
    breaks, for example by a reset, the other one is reset too.
    """

    def __init__(self, client: socket.socket, conversation: Conversation) -> None:
        client.setblocking(False)
        self.conversation = conversation
        self.number = conversation.connection
        self.sockets = {Side.CLIENT: client}
        self.scope = trio.CancelScope()
        self.dialed = False
        #: The side that ended it first: "client", "server" or "tap"; "" while it is open.
        self.closed_by = ""
        self._closed: set[Side] = set()

    @property
    def client(self) -> str:
        """The client's address."""
        try:
            return str(Host(*self.sockets[Side.CLIENT].getpeername()[:2]))
        except OSError:
            return "a client that has disconnected"

    async def receive(self, side: Side) -> bytes | None:
        """Some bytes; b"" at the end of the stream; None if the tap has closed this side."""
        while side not in self._closed:
            sock = self.sockets[side]
            try:
                await trio.lowlevel.wait_readable(sock)
                return sock.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                await self._broke(side)
        await trio.lowlevel.checkpoint()
        return None

    def send_nowait(self, side: Side, data: bytes) -> bytes:
        """Send what can be sent without waiting. Returns the rest, for `send`."""
        if side in self._closed or not data:
            return b""
        try:
            return data[self.sockets[side].send(data) :]
        except OSError:
            return data  # `send` gets the same error, and handles it

    async def send(self, side: Side, data: bytes) -> None:
        """Send all of it, unless the side is closed or breaks."""
        rest = memoryview(data)
        while rest and side not in self._closed:
            sock = self.sockets[side]
            try:
                rest = rest[sock.send(rest) :]
            except BlockingIOError:
                with suppress(trio.ClosedResourceError):  # by the tap; then the loop ends
                    await trio.lowlevel.wait_writable(sock)
            except OSError:
                await self._broke(side)

    async def send_eof(self, side: Side) -> None:
        """Tell the other end of this side that no more bytes come."""
        if side in self._closed:
            return
        try:
            self.sockets[side].shutdown(socket.SHUT_WR)
        except OSError:
            await self._broke(side)

    def is_closed(self, side: Side) -> bool:
        """Whether the tap has closed this side."""
        return side in self._closed

    def ended(self, side: Side) -> None:
        """This side ended by itself."""
        self.closed_by = self.closed_by or side.value

    async def _broke(self, side: Side) -> None:
        if side not in self._closed:
            self.ended(side)
            self.close(Side.BOTH, reset=True)
        await trio.lowlevel.checkpoint()

    def close(self, side: Side, *, reset: bool = False) -> None:
        """Close without waiting. When both sides are closed, the link's tasks are cancelled."""
        self.closed_by = self.closed_by or "tap"
        for each in (Side.CLIENT, Side.SERVER) if side is Side.BOTH else (side,):
            self._closed.add(each)
            sock = self.sockets.get(each)
            if sock is not None and sock.fileno() != -1:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                trio.lowlevel.notify_closing(sock)
                sock.close()
        if len(self._closed) == 2:
            self.scope.cancel()


class Way:
    """One direction of a link: where its bytes come from and go to, and which are on their way."""

    def __init__(self, link: Link, direction: Direction) -> None:
        self.link = link
        self.direction = direction
        is_sent = direction is Direction.SENT
        self.source, self.sink = (Side.CLIENT, Side.SERVER) if is_sent else (Side.SERVER, Side.CLIENT)
        #: A frame that is to be sent after the next one.
        self.held = b""
        #: How many bytes of a frame that is not whole yet were sent already.
        self.ahead = 0

    def frames(self, data: bytes, now: float) -> list[SeenFrame | bytes]:
        """The frames and stray bytes that these bytes complete. b"" is the end of the stream: the beginning of a frame
        is stray bytes then."""
        conversation = self.link.conversation
        if data:
            return conversation.receive(self.direction, data, now)
        rest = conversation.take_partial(self.direction)
        return [rest] if rest else []
