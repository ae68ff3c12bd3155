"""A connection to a server without a client: sends any bytes, and shows the frames that come back.

    line = RawConnection(stream, lambda direction, seen: print(direction, seen))
    await line.send(data)
    while await line.receive(): ...

`Dialogue` adds what a client does around bytes that it was given: the handshake, authentication, the wait for the
replies, and the end of the session.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum

import trio

from ..codes import OpCode, Xid
from ..frames import PASSWORD_SIZE, Direction, frame
from ..hosts import Host
from ..jute import encode
from ..records import AuthPacket, ConnectRequest, ConnectResponse, RequestHeader
from ..traffic.conversation import Conversation, SeenFrame
from .dial import dial, open_tcp

_RECEIVE_SIZE = 64 * 1024
#: Seconds that the server has to confirm the end of a session.
_CLOSING_TIME = 2.0


class RawConnection:
    """One TCP or TLS connection.

    Args:
        stream: to the server.
        take: called with each frame seen, and with stray bytes, of both directions.
        number: the number of the connection, in its frames.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        take: Callable[[Direction, SeenFrame | bytes], object],
        number: int = 0,
    ) -> None:
        self._stream = stream
        self._take = take
        self.conversation = Conversation(number)

    async def send(self, data: bytes) -> None:
        """Raises trio.BrokenResourceError if the server has closed the connection."""
        self._see(Direction.SENT, data)
        await self._stream.send_all(data)

    async def receive(self) -> bool:
        """Wait for bytes. False: there are none, because the server has closed the connection."""
        try:
            data = await self._stream.receive_some(_RECEIVE_SIZE)
        except (trio.BrokenResourceError, OSError):
            return False
        self._see(Direction.RECEIVED, bytes(data))
        return bool(data)

    async def wait_closed(self) -> None:
        """Return when the server has closed the connection. The bytes that come before that are dropped."""
        with suppress(trio.BrokenResourceError, OSError):
            while await self._stream.receive_some(_RECEIVE_SIZE):
                pass

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _see(self, direction: Direction, data: bytes) -> None:
        for seen in self.conversation.receive(direction, data, trio.current_time()):
            self._take(direction, seen)


class Outcome(Enum):
    """How a wait for the server ended."""

    DONE = "done"
    CLOSED = "closed by the server"
    SILENT = "no bytes in time"


async def dial_stream(hosts: Iterable[Host], ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
    """A stream to the first server that takes a connection; with `ssl_context`, TLS.

    Raises:
        NoServerError: no server took one. The message has the reason for each.
    """

    async def connect(host: Host) -> trio.abc.Stream:
        stream = await open_tcp(host)
        if ssl_context is None:
            return stream
        name = host.name.partition("%")[0].removesuffix(".")
        secured = trio.SSLStream(stream, ssl_context, server_hostname=name, https_compatible=True)
        await secured.do_handshake()
        return secured

    return (await dial(hosts, connect))[1]


class Dialogue:
    """Sends bytes on one connection, waits for the replies, and counts both.

    Args:
        stream: to the server.
        patience: seconds that the server may be silent.
        show: called with each frame seen, and with stray bytes, of both directions.
    """

    def __init__(
        self, stream: trio.abc.Stream, patience: float, show: Callable[[Direction, SeenFrame | bytes], object]
    ) -> None:
        self._connection = RawConnection(stream, self._take)
        self._patience = patience
        self._show = show
        self._is_framed = True  # whether only frames were sent
        self._is_closed = False
        #: The ConnectResponse, once it has come.
        self.response: SeenFrame | None = None
        #: How many requests were sent, and how many replies to them came. The handshake is not counted.
        self.requests = self.replies = 0
        #: The error of the last reply.
        self.err = 0

    @property
    def is_whole(self) -> bool:
        """Whether everything sent was whole frames. Only then is it known how many replies are still to come."""
        return self._is_framed and not self._connection.conversation.partial_size(Direction.SENT)

    def partial(self, direction: Direction) -> bytes:
        """The beginning of a frame of this direction that is not whole yet; b"" if there is none."""
        return self._connection.conversation.partial(direction)

    async def connect(self, time_out: int, data: bytes | None = None) -> None:
        """Send a ConnectRequest for a new session, or `data` in place of it. `time_out`: milliseconds."""
        await self.send(data or frame(encode(ConnectRequest(0, 0, time_out, 0, bytes(PASSWORD_SIZE), False))))

    async def send(self, data: bytes) -> None:
        """Send bytes. Raises nothing if the server has closed the connection: what it sent before can still be read."""
        with suppress(trio.BrokenResourceError, OSError):
            await self._connection.send(data)

    async def connected(self) -> Outcome:
        """Wait for the ConnectResponse."""
        return await self._until(lambda: self.response is not None)

    async def replied(self) -> Outcome:
        """Wait for the replies to all requests. DONE only if everything sent was whole frames."""
        return await self._until(lambda: self.is_whole and self.replies >= self.requests)

    async def authenticate(self, scheme: str, credentials: bytes) -> Outcome:
        """Send one identity, and wait for the reply, whose error is `err`."""
        packet = encode(RequestHeader(Xid.AUTH, OpCode.AUTH)) + encode(AuthPacket(0, scheme, credentials))
        await self.send(frame(packet))
        return await self._until(lambda: self.replies >= self.requests)

    async def end_session(self) -> None:
        """Close the session, if there is one and the server still reads frames."""
        record = None if self.response is None else self.response.record
        has_session = isinstance(record, ConnectResponse) and record.time_out > 0
        if self._is_closed or not has_session or not self.is_whole:
            return
        await self.send(frame(encode(RequestHeader(1, OpCode.CLOSE_SESSION))))
        with trio.move_on_after(_CLOSING_TIME):
            await self._connection.wait_closed()

    async def _until(self, done: Callable[[], bool]) -> Outcome:
        with trio.move_on_after(self._patience):
            while not done():
                if not await self._connection.receive():
                    self._is_closed = True
                    return Outcome.CLOSED
            return Outcome.DONE
        return Outcome.SILENT

    def _take(self, direction: Direction, seen: SeenFrame | bytes) -> None:
        self._show(direction, seen)
        if isinstance(seen, bytes):
            self._is_framed = self._is_framed and direction is Direction.RECEIVED
        elif seen.is_handshake:
            self.response = seen if direction is Direction.RECEIVED else self.response
        elif direction is Direction.SENT:
            self.requests += seen.header is not None
        elif seen.request is not None:
            self.replies += 1
            self.err = seen.err
