"""A frame-aware proxy between any ZooKeeper client and a server: it relays every byte, knows what each frame is, and
breaks on request what a network can break.

    async with Tap("127.0.0.1:2181") as tap:
        tap.fault = cut(after=reply_to(OpCode.CREATE))     # the client never learns that its next one was done
        async with zkwire.connect(tap.address) as zk: ...

Without a fault bytes go on as they come. With one, a frame goes on when it is whole and the fault has said how; each
frame is asked about once, in the order of its direction. What is no frame (four-letter words, TLS) never is.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

import trio

from ..client.nursery import HiddenNursery
from ..frames import Direction
from ..hosts import Host, parse_hosts
from ..traffic.conversation import Conversation, SeenFrame
from ..traffic.faults import (
    PASS,
    Action,
    Corrupt,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Fault,
    Match,
    Pass,
    Reorder,
    Replace,
    Rule,
    Side,
)

_RECEIVE_SIZE = 64 * 1024

# --- faults that can be waited for


class When(Rule):
    """A rule that a test can wait for."""

    def __init__(
        self, match: Match, action: Action | Callable[[SeenFrame], Action], *, skip: int = 0, times: int | None = 1
    ) -> None:
        super().__init__(match, action, skip=skip, times=times)
        self._lot = trio.lowlevel.ParkingLot()

    def __call__(self, seen: SeenFrame) -> Action:
        action = super().__call__(seen)
        self._lot.unpark_all()
        return action

    async def wait(self, count: int = 1) -> None:
        """Return when it has acted on so many frames."""
        while len(self.hits) < count:
            await self._lot.park()


def cut(
    *,
    before: Match | None = None,
    inside: Match | None = None,
    at: int = 1,
    after: Match | None = None,
    side: Side = Side.BOTH,
    reset: bool = False,
    skip: int = 0,
    times: int | None = 1,
) -> When:
    """A fault that cuts the connection before, `at` bytes inside, or after a frame: exactly one of the three."""
    places = [(match, place) for match, place in ((before, 0), (inside, at), (after, None)) if match is not None]
    if len(places) != 1:
        raise ValueError("cut takes one of before, inside and after")
    match, place = places[0]
    return When(match, Cut(place, side, reset), skip=skip, times=times)


# --- the tap


class Observer(Protocol):
    """What a tap tells of its connections, as it happens, in its own tasks: no method may wait. `connection` counts
    them from 0, `now` is trio's clock, and a piece is as Conversation gives it."""

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        """A client connected, and a server took the connection."""

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        """A client connected, and no server did; the client is sent away."""

    def passed(
        self, connection: int, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        """A frame, or bytes that are none, came at `now`, and this is what is done with it."""

    def closed(self, connection: int, by: str, now: float) -> None:
        """Both sides are closed; `by`: "client", "server" or "tap", whoever began."""


class Tap:
    """Listens, dials `target` for each client, and relays between the two.

    Args:
        target: the server, as "127.0.0.1:2181", or several by comma, of which each connection gets the next that
            answers. May be changed; connections that stand stay where they are.
        host, port: where to listen; port 0 takes a free one.
        observer: who is told what passes.

    For `async with`: inside the block it listens on `address`. Leaving the block closes every connection at once, and
    exceptions of the block leave it as they are. What `fault` raises leaves it too. Entering raises OSError where it
    cannot listen.
    """

    def __init__(
        self, target: str, host: str = "127.0.0.1", port: int = 0, *, observer: Observer | None = None
    ) -> None:
        self.target = target
        #: What decides about each frame; None lets all pass.
        self.fault: Fault | None = None
        #: How many connections were accepted so far.
        self.accepted = 0
        self._observer = observer
        self._listen_on = Host(host, port)
        self._links: set[_Link] = set()
        self._swallows = False
        self._open = trio.Event()  # not set while partitioned
        self._open.set()
        self._nursery = HiddenNursery()
        self._tasks: trio.Nursery
        self._listeners: list[trio.SocketListener] = []

    @property
    def address(self) -> str:
        """Where it listens: a connect string of one server."""
        return str(self._listen_on)

    async def __aenter__(self) -> Tap:
        self._tasks = await self._nursery.open()
        try:
            await self._listen()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:

        async def stop() -> None:
            self._tasks.cancel_scope.cancel()

        return await self._nursery.close(kind, error, where, stop)

    # --- faults of the whole

    def refuse(self) -> None:
        """Stop listening: connection attempts are refused. Connections that stand go on."""
        for listener in self._listeners:
            listener.socket.close()
        self._listeners.clear()

    def black_hole(self) -> None:
        """Accept connections from now on and never answer, also after `heal`. Those that stand go on."""
        self._swallows = True

    def partition(self) -> None:
        """Let nothing pass, either way, and close nothing; new connections are accepted and wait too."""
        if self._open.is_set():
            self._open = trio.Event()

    async def heal(self) -> None:
        """End `refuse`, `black_hole` and `partition`. What a partition held goes on."""
        self._swallows = False
        self._open.set()
        if not self._listeners:
            await self._listen()

    def cut(self, side: Side = Side.BOTH, *, reset: bool = False) -> None:
        """Close every connection now, or only one side of each."""
        for link in list(self._links):
            link.close(side, reset=reset)

    # --- beneath

    async def _listen(self) -> None:
        self._listeners = await trio.open_tcp_listeners(self._listen_on.port, host=self._listen_on.name)
        self._listen_on = self._listen_on._replace(port=self._listeners[0].socket.getsockname()[1])
        for listener in self._listeners:
            self._tasks.start_soon(self._accept, listener)

    async def _accept(self, listener: trio.SocketListener) -> None:
        async with listener:
            while True:
                try:
                    client = await listener.accept()
                except trio.ClosedResourceError:
                    return  # by `refuse`
                except OSError as error:
                    if error.errno not in _OUT_OF_FILES:
                        raise
                    await trio.sleep(0.1)
                    continue
                self._tasks.start_soon(self._take, socket.socket(fileno=client.socket.detach()))

    async def _take(self, client: socket.socket) -> None:
        """One client, from accepting it to its end."""
        link = _Link(client, Conversation(self.accepted))
        self.accepted += 1
        self._links.add(link)
        try:
            with link.scope:
                if self._swallows:
                    while await link.receive(Side.CLIENT):
                        pass
                    return
                await self._open.wait()
                if not await self._dial(link):
                    return
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._relay, link, Direction.SENT)
                    nursery.start_soon(self._relay, link, Direction.RECEIVED)
        finally:
            link.close(Side.BOTH)
            self._links.discard(link)
            if self._observer is not None and link.dialed:
                self._observer.closed(link.number, link.closed_by, trio.current_time())

    async def _dial(self, link: _Link) -> bool:
        """Whether a server took the connection; the first that does, beginning with another one each time."""
        hosts, _ = parse_hosts(self.target)
        start = link.number % len(hosts)
        reasons = []
        for host in hosts[start:] + hosts[:start]:
            try:
                stream = await trio.open_tcp_stream(host.name, host.port)
            except OSError as error:
                reasons.append(f"{host}: {reason(error)}")
                continue
            link.sockets[Side.SERVER] = socket.socket(fileno=stream.socket.detach())
            link.dialed = True
            if self._observer is not None:
                self._observer.opened(link.number, link.client, str(host), trio.current_time())
            return True
        if self._observer is not None:
            self._observer.unreachable(link.number, link.client, "; ".join(reasons), trio.current_time())
        link.close(Side.BOTH, reset=True)
        return False

    async def _relay(self, link: _Link, direction: Direction) -> None:
        """One direction, to the end of its stream."""
        source, sink = _SIDES[direction]
        conversation = link.conversation
        held = b""  # a frame that waits for the next one to overtake it
        ahead = 0  # how much of the frame that has begun went on already
        while (data := await link.receive(source)) is not None:
            now = trio.current_time()
            if not self._open.is_set():
                await self._open.wait()
            if self.fault is None:
                # Bytes first: reading them costs the client nothing that way. No other task comes between the two, so
                # that a request is always read before its reply.
                unsent = link.send_nowait(sink, held + conversation.partial(direction, ahead) + data)
                held = b""
                pieces = conversation.receive(direction, data, now)
                ahead = conversation.partial_size(direction)
                if not data:
                    pieces = [conversation.take_partial(direction)]
                for seen in pieces:
                    self._tell(link, direction, seen, PASS, now)
                if unsent:
                    await link.send(sink, unsent)
            else:
                pieces = conversation.receive(direction, data, now)
                if not data:
                    pieces = [conversation.take_partial(direction)]
                passed = []
                for seen in pieces:
                    raw = seen if isinstance(seen, bytes) else seen.data
                    fault = self.fault
                    if fault is None or ahead or isinstance(seen, bytes):
                        self._tell(link, direction, seen, PASS, now)
                        passed += [raw[ahead:], held]
                        held, ahead = b"", 0
                        continue
                    await self._send(link, sink, passed)
                    action = fault(seen)
                    self._tell(link, direction, seen, action, now)
                    if isinstance(action, Reorder) and not held:
                        held = raw
                        continue
                    await self._act(link, sink, raw, action)
                    if link.is_closed(source):
                        return  # what stood behind the cut never goes on
                    passed.append(held)
                    held = b""
                if not data:
                    passed.append(held)
                await self._send(link, sink, passed)
            if not data:
                link.ended(source)
                await link.send_eof(sink)
                return

    def _tell(self, link: _Link, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float) -> None:
        if self._observer is not None and seen != b"":
            self._observer.passed(link.number, direction, seen, action, now)

    async def _act(self, link: _Link, sink: Side, raw: bytes, action: Action) -> None:
        match action:
            case Pass() | Reorder():
                await self._send(link, sink, [raw])
            case Drop():
                pass
            case Delay(seconds=seconds, until=until):
                with trio.move_on_after(seconds):
                    await (trio.Event() if until is None else until).wait()
                await self._send(link, sink, [raw])
            case Replace(data=data):
                await self._send(link, sink, [data])
            case Corrupt():
                await self._send(link, sink, [action.of(raw)])
            case Duplicate():
                await self._send(link, sink, [raw, raw])
            case Cut(at=at, side=side, reset=reset):
                await self._send(link, sink, [raw[:at]])
                link.close(side, reset=reset)
                await trio.lowlevel.checkpoint()  # where this task ends, when both sides are closed

    async def _send(self, link: _Link, sink: Side, pieces: list[bytes]) -> None:
        """Send the pieces as one, and leave none."""
        data = b"".join(pieces)
        pieces.clear()
        if data:
            if not self._open.is_set():
                await self._open.wait()
            await link.send(sink, data)


class _Link:
    """The two TCP connections of one client. A side that was closed here takes all and gives nothing; one that broke
    takes the other with it."""

    def __init__(self, client: socket.socket, conversation: Conversation) -> None:
        client.setblocking(False)
        self.conversation = conversation
        self.number = conversation.connection
        self.sockets = {Side.CLIENT: client}
        self.scope = trio.CancelScope()
        self.dialed = False
        #: Who ended it, once somebody has.
        self.closed_by = ""
        self._closed: set[Side] = set()

    @property
    def client(self) -> str:
        """The client's address."""
        try:
            return str(Host(*self.sockets[Side.CLIENT].getpeername()[:2]))
        except OSError:
            return "a client that has gone"

    async def receive(self, side: Side) -> bytes | None:
        """Some bytes, b"" at the end, None when this side was closed here."""
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
        """Send what can be sent without waiting; the rest, for `send`."""
        if side in self._closed or not data:
            return b""
        try:
            return data[self.sockets[side].send(data) :]
        except OSError:
            return data  # for `send` to see again

    async def send(self, side: Side, data: bytes) -> None:
        rest = memoryview(data)
        while rest and side not in self._closed:
            sock = self.sockets[side]
            try:
                rest = rest[sock.send(rest) :]
            except BlockingIOError:
                with suppress(trio.ClosedResourceError):  # closed here; then the loop ends
                    await trio.lowlevel.wait_writable(sock)
            except OSError:
                await self._broke(side)

    async def send_eof(self, side: Side) -> None:
        if side in self._closed:
            return
        try:
            self.sockets[side].shutdown(socket.SHUT_WR)
        except OSError:
            await self._broke(side)

    def is_closed(self, side: Side) -> bool:
        """Whether this side was closed here."""
        return side in self._closed

    def ended(self, side: Side) -> None:
        """This side ended, by itself; the first counts."""
        self.closed_by = self.closed_by or side.value

    async def _broke(self, side: Side) -> None:
        if side not in self._closed:
            self.ended(side)
            self.close(Side.BOTH, reset=True)
        await trio.lowlevel.checkpoint()

    def close(self, side: Side, *, reset: bool = False) -> None:
        """Close without waiting. With both sides closed, the link is at its end."""
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


_SIDES = {Direction.SENT: (Side.CLIENT, Side.SERVER), Direction.RECEIVED: (Side.SERVER, Side.CLIENT)}

#: The machine, not the client, is at fault: others may end soon.
_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def reason(error: OSError) -> str:
    """Why a host was not reached, or not listened on, in a few words; of several attempts the first's."""
    cause = error.__cause__
    nested = getattr(cause, "exceptions", None)
    if nested:
        cause = nested[0]
    shown = cause if isinstance(cause, OSError) else error
    known = isinstance(shown.errno, int) and shown.errno > 0 and not isinstance(shown, socket.gaierror)
    return os.strerror(shown.errno or 0) if known else str(shown.strerror or shown)
