"""TCP and TLS streams as the client uses them: a send that never waits, and a writer task that may wait.

A trio Stream's `send_all` may have sent any part of its data when it is cancelled, so the tasks of the client's callers
never run it. They call `send_nowait`. What the socket does not take becomes the backlog, which only the writer task
drains. So a cancellation never cuts a frame short, and it is known how many bytes never left.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

#: How many bytes are read at once: enough for some hundred replies.
RECEIVE_SIZE = 64 * 1024
#: The most bytes that are read at once. The size doubles up to this as long as each read fills it.
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
        """Await it to wait until `receive_nowait` returns bytes. Raises as `drain`."""

    def receive_nowait(self) -> bytes | None:
        """Some bytes; b"" at the end of the stream; None if there are none yet."""

    async def aclose(self) -> None:
        """Close at once, without TLS's closing message."""

    # A transport may also have `abandon()`: close the file descriptor and touch nothing else. It is called in a forked
    # process, where the stream is the parent's.


#: A function that opens a stream to one address. Its arguments: the address, the port, and the host name, which TLS
#: checks. It raises OSError or trio.BrokenResourceError if it cannot.
Dial = Callable[[str, int, str], Awaitable[Transport]]


class SocketTransport:
    """A plain TCP socket. It does not block; waiting goes through trio."""

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
        # trio's own coroutine. One of ours around it would cost 2 us more for each reply.
        return trio.lowlevel.wait_readable(self._socket)

    def receive_nowait(self) -> bytes | None:
        try:
            data = self._socket.recv(self._receive_size)
        except BlockingIOError:
            return None
        # If the data fills the buffer, more is coming.
        full = len(data) == self._receive_size
        self._receive_size = min(self._receive_size * 2, RECEIVE_SIZE_LIMIT) if full else RECEIVE_SIZE
        return data

    async def aclose(self) -> None:
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    def abandon(self) -> None:
        self._socket.close()

    def _write(self, data: bytes | memoryview) -> int:
        """How many bytes the socket took. An error is raised later, by `drain`, not in a task of the client's
        caller."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._error = error
            return 0


class StreamTransport:
    """Any trio stream: TLS, or a memory stream in a test. Bytes that `send_all` was given count as written."""

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType | None = None) -> None:
        """`sock` is the socket below the stream, where there is one."""
        self._stream = stream
        self._socket = sock
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

    def abandon(self) -> None:
        if self._socket is not None:
            socket.close(self._socket.detach())


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
            stream = trio.SSLStream(trio.SocketStream(sock), ssl_context, server_hostname=_tls_name(host_name))
            await stream.do_handshake()
            return StreamTransport(stream, sock)
        except BaseException:
            sock.close()
            raise

    return dial


def _tls_name(host_name: str) -> str:
    """The name that TLS asks for and checks: without the dot that ends a full DNS name, and without a scope id.

    Certificates have neither (RFC 6066, 3: no trailing dot in a server name).
    """
    return host_name.partition("%")[0].removesuffix(".")


class _Lookup:
    """One lookup of a name: under way, or finished and its result not yet used."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.ended = math.inf  # on trio's clock
        self.addresses: list[str] = []
        self.error = ""


#: The lookups of this run of trio, by name and port.
_lookups: trio.lowlevel.RunVar[dict[tuple[str, int], _Lookup]] = trio.lowlevel.RunVar("zkwire lookups")
#: For how many seconds the result of a lookup may be used if no caller waited for it any more.
LOOKUP_KEPT = 10.0


async def resolve(name: str, port: int) -> list[str]:
    """All current addresses of a host (rule 43 of docs/client-rules.md), in the resolver's order. An address that needs
    a scope id has it: "fe80::1%2".

    A lookup that hangs occupies one of trio's 40 threads, even after its callers have given up. So all clients of a run
    share one lookup of each name, and no second one is started meanwhile. If it ends after its callers have given up,
    the next call uses the result.

    Raises:
        OSError: the name has no address.
    """
    try:
        lookups = _lookups.get()
    except LookupError:
        lookups = {}
        _lookups.set(lookups)
    key = (name, port)
    lookup = lookups.get(key)
    if lookup is None or trio.current_time() > lookup.ended + LOOKUP_KEPT:
        lookup = lookups[key] = _Lookup()
        # A system task: the caller may be cancelled while others still wait.
        trio.lowlevel.spawn_system_task(_look_up, name, port, lookup)
    await lookup.over.wait()
    if lookups.get(key) is lookup:
        del lookups[key]
    if lookup.error:
        raise OSError(lookup.error)
    return lookup.addresses


async def _look_up(name: str, port: int, lookup: _Lookup) -> None:
    try:
        found = await trio.socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        lookup.addresses = list(dict.fromkeys(_with_scope(*address) for *_, address in found))
    except Exception as error:  # UnicodeError for "a..b"; a resolver that the program gave to trio may raise anything
        lookup.error = str(error) or repr(error)
    finally:
        lookup.ended = trio.current_time()
        lookup.over.set()


def _with_scope(address: str | int, port: int, flow: int = 0, scope: int = 0) -> str:
    """The IP address as text, with its scope id if it has one. The arguments are the parts of a socket address."""
    return f"{address}%{scope}" if scope else str(address)
