"""TCP and TLS streams as the client uses them: a send that never waits, and one task that may.

A trio Stream's `send_all` may have sent any part when it is cancelled, so no caller of the client ever runs it. Here a
caller tries `send_nowait`; what the socket does not take becomes the backlog, which only the writer task drains. So a
frame is never cut short by a cancellation, and how many bytes never left is known.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

#: How much is read at once at first: some hundred replies.
RECEIVE_SIZE = 64 * 1024
#: And at most, while what is read fills it.
RECEIVE_SIZE_LIMIT = 1024 * 1024


class Transport(Protocol):
    """A connected stream of bytes."""

    #: How many bytes taken by `send_nowait` have not been written.
    unsent: int

    def send_nowait(self, data: bytes) -> None:
        """Take the bytes, and write what can be written without waiting."""

    async def drain(self) -> None:
        """Write the rest. Raises OSError or trio.BrokenResourceError when the stream is broken."""

    def readable(self) -> Awaitable[object]:
        """Awaited, returns when `receive_nowait` has something to give. Raises as `drain`."""

    def receive_nowait(self) -> bytes | None:
        """Some bytes, b"" at the end; None when there are none yet."""

    async def aclose(self) -> None:
        """Close without a farewell."""


#: What opens a stream to one address: (address, port, host name, which TLS checks). Raises OSError or
#: trio.BrokenResourceError when there is none to be had.
Dial = Callable[[str, int, str], Awaitable[Transport]]


class SocketTransport:
    """A plain TCP socket, non-blocking, waited for through trio."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._backlog = memoryview(b"")
        self._error: OSError | None = None
        self._receive_size = RECEIVE_SIZE
        self.unsent = 0

    def send_nowait(self, data: bytes) -> None:
        if self.unsent:
            self._backlog = memoryview(bytes(self._backlog) + data)
            self.unsent = len(self._backlog)
            return
        sent = self._write(data)
        if sent != len(data):
            self._backlog = memoryview(data)[sent:]
            self.unsent = len(self._backlog)

    async def drain(self) -> None:
        while self.unsent:
            if self._error is not None:
                raise self._error
            await trio.lowlevel.wait_writable(self._socket)
            self._backlog = self._backlog[self._write(self._backlog) :]
            self.unsent = len(self._backlog)

    def readable(self) -> Awaitable[object]:
        # Trio's own coroutine, not one of ours around it, which would cost a reply another 2 us.
        return trio.lowlevel.wait_readable(self._socket)

    def receive_nowait(self) -> bytes | None:
        try:
            data = self._socket.recv(self._receive_size)
        except BlockingIOError:
            return None
        # What fills the buffer is part of something larger.
        full = len(data) == self._receive_size
        self._receive_size = min(self._receive_size * 2, RECEIVE_SIZE_LIMIT) if full else RECEIVE_SIZE
        return data

    async def aclose(self) -> None:
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    def _write(self, data: bytes | memoryview) -> int:
        """How many bytes the socket took. An error waits for `drain`: no caller of the client is to hear of it."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._error = error
            return 0


class StreamTransport:
    """Any trio stream: TLS, or a memory stream in a test. What `send_all` was given counts as written."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._backlog = b""
        self._received: bytes | None = None
        self.unsent = 0

    def send_nowait(self, data: bytes) -> None:
        self._backlog += data
        self.unsent = len(self._backlog)

    async def drain(self) -> None:
        while self._backlog:
            data, self._backlog, self.unsent = self._backlog, b"", 0
            await self._stream.send_all(data)

    async def readable(self) -> None:
        self._received = bytes(await self._stream.receive_some(RECEIVE_SIZE))

    def receive_nowait(self) -> bytes | None:
        data, self._received = self._received, None
        return data

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


def dialer(ssl_context: ssl.SSLContext | None) -> Dial:
    """Opens TCP streams; TLS ones with a context, which decides whether the host name is checked (by default it is)."""

    async def dial(address: str, port: int, host_name: str) -> Transport:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            await sock.connect((address, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if ssl_context is None:
                return SocketTransport(socket.socket(fileno=sock.detach()))
            stream = trio.SSLStream(trio.SocketStream(sock), ssl_context, server_hostname=host_name)
            await stream.do_handshake()
            return StreamTransport(stream)
        except BaseException:
            sock.close()
            raise

    return dial


async def resolve(name: str, port: int) -> list[str]:
    """All addresses of a host now (rule 43), in the resolver's order. Raises OSError."""
    try:
        found = await trio.socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # no name that DNS could hold, as "a..b"
        raise OSError(str(error)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
