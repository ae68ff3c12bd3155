"""A frame-aware proxy between any ZooKeeper client and a server: it passes every byte on, knows what each frame is, and
injects faults.

    async with Tap("127.0.0.1:2181") as tap:
        tap.fault = cut(before=reply_to(OpCode.CREATE))    # the client never learns that its create was done
        async with zkwire.connect(tap.address) as zk: ...

Without a fault, bytes are passed on as they come. With one, a frame is passed on when it is whole and the fault has
decided about it. The fault is asked once for each frame, in the order of its direction, and never for stray bytes
(four-letter words, TLS).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

import trio

from ..client.nursery import HiddenNursery
from ..errors import NoServerError
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
from .dial import dial, listen, open_tcp
from .link import Link, Way

# --- faults that can be waited for


class When(Rule):
    """A rule that a test can wait for. It takes the arguments of Rule."""

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
        """Return when the rule has acted on `count` frames since it was made."""
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
    """A fault that cuts the connection before a frame that matches, `at` bytes inside it, or after it.

    Give exactly one of `before`, `inside` and `after`. `side` and `reset` are as of Cut, `skip` and `times` as of Rule.

    Raises:
        ValueError: none or several of the three were given.
    """
    places = [(match, place) for match, place in ((before, 0), (inside, at), (after, None)) if match is not None]
    if len(places) != 1:
        raise ValueError("cut takes one of before, inside and after")
    match, place = places[0]
    return When(match, Cut(place, side, reset), skip=skip, times=times)


# --- the tap


class Observer(Protocol):
    """A tap calls these methods when something happens, in its own tasks, so they must not wait. `connection` counts
    the connections from 0. `now` is trio's clock, in seconds."""

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        """A client connected, and a server took the connection."""

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        """A client connected, but no server took its connection. The client's connection is reset."""

    def passed(
        self, connection: int, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        """A frame or stray bytes came at `now`. `action` is what is done with them; it is PASS for stray bytes."""

    def closed(self, connection: int, by: str, now: float) -> None:
        """Both sides are closed. `by` is the side that closed first: "client", "server" or "tap"."""


class Tap:
    """Listens, connects to `target` for each client, and passes the bytes on between the two.

    Args:
        target: the server, such as "127.0.0.1:2181", or several with commas between them; each connection goes to the
            next of them that takes it. It may be changed; open connections stay with their server.
        host, port: where to listen. Port 0 takes a free one.
        observer: is told what happens.

    For `async with`: inside the block it listens on `address`. Leaving the block closes every connection at once.
    Exceptions of the block and of `fault` leave the block as they are. Entering raises OSError if it cannot listen.
    """

    def __init__(
        self, target: str, host: str = "127.0.0.1", port: int = 0, *, observer: Observer | None = None
    ) -> None:
        self.target = target
        #: Decides about each frame. None: all frames are passed on. It may be changed at any time.
        self.fault: Fault | None = None
        #: How many connections were accepted.
        self.accepted = 0
        self._observer = observer
        self._listen_on = Host(host, port)
        self._links: set[Link] = set()
        self._swallows = False
        self._open = trio.Event()  # not set while partitioned
        self._open.set()
        self._nursery = HiddenNursery()
        self._tasks: trio.Nursery
        self._listeners: list[trio.SocketListener] = []

    @property
    def address(self) -> str:
        """Where it listens, as a connect string."""
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

    # --- faults of all connections

    def refuse(self) -> None:
        """Stop listening: attempts to connect are refused. Open connections are not touched."""
        for listener in self._listeners:
            listener.socket.close()
        self._listeners.clear()

    def black_hole(self) -> None:
        """Accept new connections and never answer on them, not even after `heal`. Open connections are not touched."""
        self._swallows = True

    def partition(self) -> None:
        """Pass nothing on, in both directions, and close nothing. New connections are accepted, and wait too."""
        if self._open.is_set():
            self._open = trio.Event()

    async def heal(self) -> None:
        """End `refuse`, `black_hole` and `partition`. Bytes that a partition held are passed on."""
        self._swallows = False
        self._open.set()
        if not self._listeners:
            await self._listen()

    def cut(self, side: Side = Side.BOTH, *, reset: bool = False) -> None:
        """Close every connection now, or only one side of each."""
        for link in list(self._links):
            link.close(side, reset=reset)

    # --- connections

    async def _listen(self) -> None:
        self._listeners, self._listen_on = await listen(self._listen_on)
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
        """Serve one client, until its connection has ended."""
        link = Link(client, Conversation(self.accepted))
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
                    for way in (Way(link, Direction.SENT), Way(link, Direction.RECEIVED)):
                        nursery.start_soon(self._relay, way)
        finally:
            link.close(Side.BOTH)
            self._links.discard(link)
            if self._observer is not None and link.dialed:
                self._observer.closed(link.number, link.closed_by, trio.current_time())

    async def _dial(self, link: Link) -> bool:
        """Connect the link to the first server that takes the connection. Each link starts with another server of the
        list. False: no server did, and the link is closed."""
        hosts, _ = parse_hosts(self.target)
        start = link.number % len(hosts)
        try:
            host, stream = await dial(hosts[start:] + hosts[:start], open_tcp)
        except NoServerError as error:
            if self._observer is not None:
                self._observer.unreachable(link.number, link.client, str(error), trio.current_time())
            link.close(Side.BOTH, reset=True)
            return False
        link.sockets[Side.SERVER] = socket.socket(fileno=stream.socket.detach())
        link.dialed = True
        if self._observer is not None:
            self._observer.opened(link.number, link.client, str(host), trio.current_time())
        return True

    async def _relay(self, way: Way) -> None:
        """Pass on the bytes of one direction, until the end of its stream."""
        link = way.link
        while (data := await link.receive(way.source)) is not None:
            now = trio.current_time()
            if not self._open.is_set():
                await self._open.wait()
            if self.fault is None:
                await self._relay_untouched(way, data, now)
            elif not await self._relay_through_faults(way, data, now):
                return
            if not data:
                link.ended(way.source)
                await link.send_eof(way.sink)
                return

    async def _relay_untouched(self, way: Way, data: bytes, now: float) -> None:
        """Send the bytes as they come, and then find the frames in them, so that the client does not wait for that. No
        other task runs between the two steps, so a request is always seen before its reply."""
        link, conversation = way.link, way.link.conversation
        unsent = link.send_nowait(way.sink, way.held + conversation.partial(way.direction, way.ahead) + data)
        way.held = b""
        for seen in way.frames(data, now):
            self._tell(way, seen, PASS, now)
        way.ahead = conversation.partial_size(way.direction)
        if unsent:
            await link.send(way.sink, unsent)

    async def _relay_through_faults(self, way: Way, data: bytes, now: float) -> bool:
        """Send each frame when it is whole, as the fault says. False: the fault closed this side, and nothing more is
        read from it."""
        passed = []
        for seen in way.frames(data, now):
            raw = seen if isinstance(seen, bytes) else seen.data
            fault = self.fault
            if fault is None or way.ahead or isinstance(seen, bytes):
                self._tell(way, seen, PASS, now)
                passed += [raw[way.ahead :], way.held]
                way.held, way.ahead = b"", 0
                continue
            await self._send(way, passed)
            action = fault(seen)
            self._tell(way, seen, action, now)
            if isinstance(action, Reorder) and not way.held:
                way.held = raw
                continue
            await self._act(way, raw, action)
            if way.link.is_closed(way.source):
                return False
            passed.append(way.held)
            way.held = b""
        if not data:
            passed.append(way.held)
        await self._send(way, passed)
        return True

    def _tell(self, way: Way, seen: SeenFrame | bytes, action: Action, now: float) -> None:
        if self._observer is not None:
            self._observer.passed(way.link.number, way.direction, seen, action, now)

    async def _act(self, way: Way, raw: bytes, action: Action) -> None:
        match action:
            case Pass() | Reorder():
                await self._send(way, [raw])
            case Drop():
                pass
            case Delay(seconds=seconds, until=until):
                with trio.move_on_after(seconds):
                    await (trio.Event() if until is None else until).wait()
                await self._send(way, [raw])
            case Replace(data=data):
                await self._send(way, [data])
            case Corrupt():
                await self._send(way, [action.of(raw)])
            case Duplicate():
                await self._send(way, [raw, raw])
            case Cut(at=at, side=side, reset=reset):
                await self._send(way, [raw[:at]])
                way.link.close(side, reset=reset)
                await trio.lowlevel.checkpoint()  # if both sides are closed, this task is cancelled here

    async def _send(self, way: Way, parts: list[bytes]) -> None:
        """Send the parts as one, and empty the list."""
        data = b"".join(parts)
        parts.clear()
        if data:
            if not self._open.is_set():
                await self._open.wait()
            await way.link.send(way.sink, data)


#: The machine has too few file descriptors or buffers. Other connections may end soon.
_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
