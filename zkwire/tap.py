"""A frame-aware proxy between any ZooKeeper client and a server: it relays every byte, knows what each frame is, and
breaks on request what a network can break.

    async with Tap("127.0.0.1:2181") as tap:
        tap.fault = cut(after=reply_to(OpCode.CREATE))     # the client never learns that its next one was done
        async with zkwire.connect(tap.address) as zk: ...

Without a fault bytes go on as they come. With one, a frame goes on when it is whole and the fault has said how; each
frame is asked about once, in the order of its direction. What is no frame (four-letter words, TLS) never is.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

import trio

from .conversation import Conversation, Passing
from .events import Direction
from .hosts import Host, parse
from .nursery import HiddenNursery

# --- what may happen to a frame


class Side(Enum):
    """Which of the two TCP connections behind one client."""

    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


@dataclass(frozen=True)
class Pass:
    """The frame goes on."""


@dataclass(frozen=True)
class Drop:
    """The frame is swallowed."""


@dataclass(frozen=True)
class Delay:
    """The frame, and all behind it in its direction, waits for the event or for so many seconds, whichever is first."""

    seconds: float = math.inf
    until: trio.Event | None = None


@dataclass(frozen=True)
class Cut:
    """The connection is closed when `at` bytes of the frame have gone on; None: all of it, -1: all but the last.

    With `side`, only the TCP connection to that side is closed, and the other one stays, silent. `reset` closes with an
    RST in place of a FIN.
    """

    at: int | None = 0
    side: Side = Side.BOTH
    reset: bool = False


@dataclass(frozen=True)
class Replace:
    """These bytes go on in its place; a frame's have the length in front."""

    data: bytes


Action = Pass | Drop | Delay | Cut | Replace
PASS = Pass()
DROP = Drop()

#: What decides about a frame. It is called in the tap's own tasks, and must not wait.
Fault = Callable[[Passing], Action]

# --- which frames

Match = Callable[[Passing], bool]


def request(opcode: int | None = None, path: str | None = None) -> Match:
    """Matches a request, not the handshake; of that opcode and path, where given."""

    def match(passing: Passing) -> bool:
        return passing.direction is Direction.SENT and passing.header is not None and _is(passing, opcode, path)

    return match


def reply_to(opcode: int | None = None, path: str | None = None) -> Match:
    """Matches the reply to a request of that opcode and path, where given."""

    def match(passing: Passing) -> bool:
        return passing.request is not None and _is(passing, opcode, path)

    return match


def notification(path: str | None = None) -> Match:
    """Matches a notification, of that path where given."""
    return lambda passing: passing.is_notification and path in (None, passing.path)


def frame_number(direction: Direction, index: int) -> Match:
    """Matches the index-th frame of a direction; the handshake's is 0."""
    return lambda passing: passing.direction is direction and passing.index == index


def _is(passing: Passing, opcode: int | None, path: str | None) -> bool:
    return opcode in (None, passing.opcode) and path in (None, passing.path)


# --- faults made of both


class When:
    """A fault: the action, or what a callable makes of the frame, for the frames that match; all others pass.

    The first `skip` that match pass too, and so do all after `times` (None: no limit).
    """

    def __init__(
        self, match: Match, action: Action | Callable[[Passing], Action], *, skip: int = 0, times: int | None = 1
    ) -> None:
        self._match = match
        self._action = action
        self._skip = skip
        self._times = times
        self._lot = trio.lowlevel.ParkingLot()
        #: The frames it acted on.
        self.hits: list[Passing] = []

    def __call__(self, passing: Passing) -> Action:
        if (self._times is not None and len(self.hits) >= self._times) or not self._match(passing):
            return PASS
        if self._skip:
            self._skip -= 1
            return PASS
        self.hits.append(passing)
        self._lot.unpark_all()
        return self._action(passing) if callable(self._action) else self._action

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


def first_of(*faults: Fault) -> Fault:
    """The first of the faults that does not let the frame pass decides; those behind it do not see the frame."""

    def fault(passing: Passing) -> Action:
        return next((action for each in faults if (action := each(passing)) != PASS), PASS)

    return fault


# --- the tap


class Tap:
    """Listens, dials `target` for each client, and relays between the two.

    Args:
        target: the server, as "127.0.0.1:2181". May be changed; connections that stand stay where they are.
        host, port: where to listen; port 0 takes a free one.

    For `async with`: inside the block it listens on `address`. Leaving the block closes every connection at once, and
    exceptions of the block leave it as they are. What `fault` raises leaves it too.
    """

    def __init__(self, target: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.target = target
        #: What decides about each frame; None lets all pass.
        self.fault: Fault | None = None
        #: How many connections were accepted so far.
        self.accepted = 0
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
                self._tasks.start_soon(self._take, client)

    async def _take(self, client: trio.SocketStream) -> None:
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
                await self._dial(link)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._relay, link, Direction.SENT)
                    nursery.start_soon(self._relay, link, Direction.RECEIVED)
        except OSError:  # no server there
            link.close(Side.BOTH, reset=True)
        finally:
            link.close(Side.BOTH)
            self._links.discard(link)

    async def _dial(self, link: _Link) -> None:
        (host,), _ = parse(self.target)
        link.streams[Side.SERVER] = await trio.open_tcp_stream(host.name, host.port)

    async def _relay(self, link: _Link, direction: Direction) -> None:
        """One direction, to the end of its stream."""
        source, sink = _SIDES[direction]
        ahead = 0  # how much of the frame that has begun went on already
        while (data := await link.receive(source)) is not None:
            await self._open.wait()
            passed = []
            pieces = link.conversation.receive(direction, data, trio.current_time())
            if not data:
                pieces = [link.conversation.take_partial(direction)]
            for piece in pieces:
                raw = piece if isinstance(piece, bytes) else piece.data
                if self.fault is None or ahead or isinstance(piece, bytes):
                    passed.append(raw[ahead:])
                    ahead = 0
                else:
                    await self._send(link, sink, passed)
                    await self._act(link, sink, raw, self.fault(piece))
                    if link.is_closed(source):
                        return  # what stood behind the cut never goes on
            if self.fault is None and data:
                passed.append(link.conversation.partial(direction, ahead))
                ahead += len(passed[-1])
            await self._send(link, sink, passed)
            if not data:
                await link.send_eof(sink)
                return

    async def _act(self, link: _Link, sink: Side, raw: bytes, action: Action) -> None:
        match action:
            case Pass():
                await self._send(link, sink, [raw])
            case Drop():
                pass
            case Delay(seconds=seconds, until=until):
                with trio.move_on_after(seconds):
                    await (trio.Event() if until is None else until).wait()
                await self._send(link, sink, [raw])
            case Replace(data=data):
                await self._send(link, sink, [data])
            case Cut(at=at, side=side, reset=reset):
                await self._send(link, sink, [raw[:at]])
                link.close(side, reset=reset)
                await trio.lowlevel.checkpoint()  # where this task ends, when both sides are closed

    async def _send(self, link: _Link, sink: Side, pieces: list[bytes]) -> None:
        """Send the pieces as one, and leave none."""
        data = b"".join(pieces)
        pieces.clear()
        if data:
            await self._open.wait()
            await link.send(sink, data)


class _Link:
    """The two TCP connections of one client. A side that was closed here takes all and gives nothing; one that broke
    takes the other with it."""

    def __init__(self, client: trio.SocketStream, conversation: Conversation) -> None:
        self.conversation = conversation
        self.streams = {Side.CLIENT: client}
        self.scope = trio.CancelScope()
        self._closed: set[Side] = set()

    async def receive(self, side: Side) -> bytes | None:
        """Some bytes, b"" at the end, None when this side was closed here."""
        try:
            return bytes(await self.streams[side].receive_some())
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            await self._broke(side)
            return None

    async def send(self, side: Side, data: bytes) -> None:
        try:
            await self.streams[side].send_all(data)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            await self._broke(side)

    async def send_eof(self, side: Side) -> None:
        try:
            await self.streams[side].send_eof()
        except (trio.ClosedResourceError, trio.BrokenResourceError, OSError):
            await self._broke(side)

    def is_closed(self, side: Side) -> bool:
        """Whether this side was closed here."""
        return side in self._closed

    async def _broke(self, side: Side) -> None:
        if side not in self._closed:
            self.close(Side.BOTH, reset=True)
        await trio.lowlevel.checkpoint()

    def close(self, side: Side, *, reset: bool = False) -> None:
        """Close without waiting. With both sides closed, the link is at its end."""
        for each in (Side.CLIENT, Side.SERVER) if side is Side.BOTH else (side,):
            self._closed.add(each)
            if each in self.streams:
                sock = self.streams[each].socket
                if reset and sock.fileno() != -1:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        if len(self._closed) == 2:
            self.scope.cancel()


_SIDES = {Direction.SENT: (Side.CLIENT, Side.SERVER), Direction.RECEIVED: (Side.SERVER, Side.CLIENT)}
