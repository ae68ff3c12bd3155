"""`Capture`: finds the frames in the bytes of a capture file, each with its connection and its time.

    capture = Capture()
    for captured in capture.receive(data): ...
    for captured in capture.end(): ...

Segments may come late, twice or in part. A `Notice` reports what was not captured: a capture that begins in the middle
of a connection, missing bytes, IP fragments that were left out. After a gap the next frame is found by the length of
the frame that the gap is in; where that is not known, by looking for bytes that are a frame.

A reply is read only after all bytes that its packet acknowledges. So it is paired with its request even if packets were
captured out of order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from ..frames import LENGTH_SIZE, Direction, length_at
from ..text import counted
from ..traffic.conversation import Conversation, SeenFrame
from .packet import LINK_TYPES, Broken, Endpoint, Fragment, Segment, segment_of
from .pcap import Packet, PacketReader
from .resync import FrameFinder, is_handshake
from .stream import Arrival, Gap, Stream

#: Where ZooKeeper listens for clients unless its configuration says otherwise.
DEFAULT_PORT = 2181

#: A packet that was not captured this long after its acknowledgement will not come.
_LATE_NS = 10**9
#: The most bytes of one direction that wait for others.
_MAX_WAITING = 16 * 2**20
#: How much of a connection is kept at most until it is known whether it is ZooKeeper's: bytes of data, and packets.
_MAX_HELD, _MAX_ARRIVALS = 16 * 2**10, 256

_NAMES = {Direction.SENT: "client to server", Direction.RECEIVED: "server to client"}


class Link(NamedTuple):
    """A TCP connection between a ZooKeeper client and a server; `number` counts such connections from 0."""

    number: int
    client: Endpoint
    server: Endpoint


class Stray(NamedTuple):
    """Bytes that are not a frame: a four-letter word and its answer, TLS."""

    direction: Direction
    data: bytes


class Notice(NamedTuple):
    """What was not captured or cannot be read, in words. `before`: it happened before the packet that shows it."""

    text: str
    before: bool = False


class Captured(NamedTuple):
    """A frame, stray bytes, or a notice.

    number, time_ns: of the packet that completed it; the time is in nanoseconds since 1970.
    link: the connection; None for a notice that is not about a single one.
    """

    number: int
    time_ns: int
    link: Link | None
    what: SeenFrame | Stray | Notice

    @property
    def order(self) -> tuple[int, int, bool]:
        """A key that sorts by the time of passing."""
        return self.time_ns, self.number, not (isinstance(self.what, Notice) and self.what.before)


class Capture:
    """Reads one capture file.

    Args:
        ports: where the servers listen; None: on 2181, and on each port to which a ConnectRequest is sent.

    Take everything that `receive` yields before you call it again.
    """

    def __init__(self, ports: Collection[int] | None = None) -> None:
        self.ports = {DEFAULT_PORT} if ports is None else set(ports)
        #: How many were read so far: packets, packets with TCP, and connections of ZooKeeper.
        self.packets = self.segments = self.links = 0
        self._learns = ports is None
        self._reader = PacketReader()
        self._candidates: dict[frozenset[Endpoint], _Candidate] = {}
        self._connections: dict[frozenset[Endpoint], _Connection] = {}
        self._told: set[object] = set()  # the keys of the notices that were given

    def receive(self, data: bytes) -> Iterator[Captured]:
        """The frames, stray bytes and notices that these bytes of the file complete.

        Raises:
            CaptureError: the file is damaged. All that is complete before that place has been yielded.
        """
        for packet in self._reader.receive(data):
            self.packets += 1
            yield from self._packet(packet)

    def end(self) -> Iterator[Captured]:
        """The file has no more bytes: yields everything that still waited for bytes that were not captured.

        Raises:
            CaptureError: the file ends within a packet. Everything else has been yielded.
        """
        for connection in self._connections.values():
            yield from connection.finish()
        self._reader.end()

    def _packet(self, packet: Packet) -> Iterator[Captured]:
        if packet.link_type not in LINK_TYPES:
            yield from self._tell(packet, packet.link_type, f"link type {packet.link_type} is not known: left out")
            return
        found = segment_of(packet.link_type, packet.data)
        if isinstance(found, Fragment):
            what = f"IP packet {found.identification} from {found.source} to {found.target} came in fragments: left out"
            yield from self._tell(packet, found[:3], what)
        elif isinstance(found, Broken):
            yield from self._tell(packet, packet.number, f"packet {packet.number}: {found.reason}")
        elif found is not None:
            self.segments += 1
            yield from self._segment(Arrival(packet.number, packet.time_ns, found))

    def _tell(self, packet: Packet, key: object, text: str) -> Iterator[Captured]:
        if key not in self._told:
            self._told.add(key)
            yield Captured(packet.number, packet.time_ns, None, Notice(text))

    def _segment(self, arrival: Arrival) -> Iterator[Captured]:
        segment = arrival.segment
        key = frozenset((segment.source, segment.target))
        connection = self._connections.get(key)
        if connection is not None and segment.syn and not connection.is_of(segment):
            yield from connection.finish()  # the ports are used again
            connection = None
        if connection is not None:
            yield from connection.receive(arrival)
            return
        candidate = self._candidates.get(key)
        if candidate is None or (segment.syn and segment.acknowledged is None):
            candidate = self._candidates[key] = _Candidate(segment)
        candidate.add(arrival)
        server = self._server(candidate.first)
        if server is None and self._learns and (server := candidate.server(segment.target)) is not None:
            self.ports.add(server.port)
            for other, held in list(self._candidates.items()):
                if held is not candidate and (end := self._server(held.first)) is not None:
                    yield from self._accept(other, end)
        if server is not None:
            yield from self._accept(key, server)

    def _server(self, first: Segment) -> Endpoint | None:
        """The end that is the server, by its port and by the first captured segment; None: not known."""
        ends = [first.target, first.source]
        if first.syn and first.acknowledged is not None:
            ends.reverse()
        return next((end for end in ends if end.port in self.ports), None)

    def _accept(self, key: frozenset[Endpoint], server: Endpoint) -> Iterator[Captured]:
        client = next((end for end in key if end != server), server)
        connection = self._connections[key] = _Connection(Link(self.links, client, server))
        self.links += 1
        for arrival in self._candidates.pop(key).arrivals:
            yield from connection.receive(arrival)


class _Candidate:
    """A TCP connection of which it is not known yet whether it is ZooKeeper's."""

    def __init__(self, first: Segment) -> None:
        self.first = first
        self.arrivals: list[Arrival] = []
        self._streams: dict[Endpoint, Stream] = {}  # by target
        self._begun: dict[Endpoint, bytes | None] = {}  # their first bytes; None: these are not a ConnectRequest
        self._held = 0

    def add(self, arrival: Arrival) -> None:
        """Keep the segment while there is room. Segments that were not kept are reported as missing bytes, if the
        connection turns out to be ZooKeeper's."""
        stream = self._streams.setdefault(arrival.segment.target, Stream())
        if self._held <= _MAX_HELD and len(self.arrivals) < _MAX_ARRIVALS:
            self.arrivals.append(arrival)
            self._held += len(arrival.segment.data)
            stream.receive(arrival)

    def server(self, target: Endpoint) -> Endpoint | None:
        """The target, if the first bytes that were sent to it are a ConnectRequest; else None."""
        begun = self._begun.get(target, b"")
        while begun is not None and (piece := self._streams[target].take()) is not None:
            begun += piece.data
            verdict = is_handshake(Direction.SENT, begun)
            if verdict:
                return target
            if verdict is False:
                begun = None
        self._begun[target] = begun
        return None


class _OneDirection:
    """One direction of a connection of ZooKeeper."""

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.stream = Stream()
        self.has_begun = False  # whether its SYN was captured, or bytes were handed on
        self.has_gap = False
        self.finder: FrameFinder | None = None  # looks for the next frame, while it is not known where that starts
        self.skip = 0  # bytes still to come of a frame that has a gap in it
        self.gap: Gap | None = None  # missing bytes that are not reported yet: nothing was captured after them so far
        self.number = self.time_ns = 0  # of the last packet whose bytes were handed on


class _Connection:
    """One connection: the stream of each direction, and the frames in them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._sent, self._received = _OneDirection(Direction.SENT), _OneDirection(Direction.RECEIVED)
        self._conversation = Conversation(link.number)
        self._tells_of_middle = True
        self._finished = False
        self._holds_back = True

    def is_of(self, segment: Segment) -> bool:
        """Whether this SYN belongs to this connection."""
        return self._ways(segment)[0].stream.is_of(segment)

    def _ways(self, segment: Segment) -> tuple[_OneDirection, _OneDirection]:
        """The direction of this segment, and the other one."""
        return (self._sent, self._received) if segment.target == self._link.server else (self._received, self._sent)

    def receive(self, arrival: Arrival) -> Iterator[Captured]:
        """Take a segment; yields the frames, stray bytes and notices that it completes."""
        if self._finished:
            return  # a reset ended the connection: no end reads what came after it
        segment = arrival.segment
        way, other = self._ways(segment)
        way.has_begun = way.has_begun or segment.syn
        for each in (way, other):
            if not each.number:
                each.number, each.time_ns = arrival[:2]
        way.stream.receive(arrival)
        if segment.acknowledged is not None and not segment.rst:
            other.stream.acknowledge(segment.acknowledged, arrival.number, arrival.time_ns)
        yield from self._drain()
        while (late := self._late(arrival.time_ns)) is not None:
            yield from self._give_up(late)
            yield from self._drain()
        if segment.rst or (way.stream.ended and other.stream.ended):
            yield from self.finish()

    def finish(self) -> Iterator[Captured]:
        """No segment follows: yields everything that is left."""
        if self._finished:
            return
        self._finished = True
        for way, other in ((self._sent, self._received), (self._received, self._sent)):
            if way is self._received:
                self._holds_back = False  # by now the client's bytes have been read, or reported as missing
                yield from self._drain()
            while way.stream.size or way.stream.is_short:
                yield from self._give_up(way)
                yield from self._drain()
            if way.gap is not None and other.stream.has_fin and not way.stream.has_fin:
                # Both ends have closed. The last sequence number that was acknowledged is a FIN's, and not a byte's.
                way.gap = way.gap._replace(missing=way.gap.missing - 1)
            yield from self._tell_gap(way)
            if way.finder is not None:
                yield from self._left_out(way, way.finder.dropped + len(way.finder.data))
            if rest := self._conversation.take_partial(way.direction):
                what = _notice(way, f"the stream ends {counted(len(rest), 'byte')} into a frame")
                yield Captured(way.number, way.time_ns, self._link, what)

    def _late(self, now_ns: int) -> _OneDirection | None:
        """A direction whose missing bytes will not come any more; None: there is none."""
        for way in (self._sent, self._received):
            stream = way.stream
            too_late = stream.missed_ns is not None and now_ns - stream.missed_ns > _LATE_NS
            if (too_late or stream.size > _MAX_WAITING) and stream.peek() is None:
                return way
        return None

    def _drain(self) -> Iterator[Captured]:
        """Hand on the bytes that are in order."""
        while True:
            way, piece = self._sent, self._sent.stream.take()
            if piece is None and not self._is_held_back():
                way, piece = self._received, self._received.stream.take()
            if piece is None:
                return
            if piece.number > way.number:  # else the piece waited for a later packet, whose number `way` has
                way.number, way.time_ns = piece.number, piece.time_ns
            yield from self._hand_on(way, piece.data)

    def _is_held_back(self) -> bool:
        """Whether the server's next bytes acknowledge bytes of the client that were not read yet: the reply may be to a
        request in those bytes."""
        waiting, handed = self._received.stream.peek(), self._sent.stream.handed
        if not self._holds_back or waiting is None or waiting.acknowledged is None or handed is None:
            return False
        return self._sent.stream.unwrap(waiting.acknowledged) > handed and self._received.stream.size <= _MAX_WAITING

    def _hand_on(self, way: _OneDirection, data: bytes) -> Iterator[Captured]:
        """The next bytes of one direction."""
        yield from self._tell_gap(way)
        if not way.has_begun:
            way.has_begun = True
            way.finder = FrameFinder(way.direction, may_begin=True)
        dropped = min(way.skip, len(data))
        way.skip -= dropped
        data = data[dropped:]
        if not data:
            return
        finder = way.finder
        if finder is not None:
            start = finder.receive(data)
            if start is None:
                return
            way.finder = None
            data = bytes(finder.data[start:])
            if not finder.is_handshake:
                yield from self._left_out(way, finder.dropped + start)
                self._conversation.resume(way.direction)
        for piece in self._conversation.receive(way.direction, data, way.time_ns / 10**9):
            what = Stray(way.direction, piece) if isinstance(piece, bytes) else piece
            yield Captured(way.number, way.time_ns, self._link, what)

    def _give_up(self, way: _OneDirection) -> Iterator[Captured]:
        """Skip missing bytes. They are reported only when more bytes follow, since the last of them may be a FIN."""
        gap = way.stream.skip(_LATE_NS)
        if gap is not None:
            yield from self._tell_gap(way)
            way.gap = gap

    def _tell_gap(self, way: _OneDirection) -> Iterator[Captured]:
        """Report the missing bytes that were skipped."""
        gap, way.gap = way.gap, None
        if gap is None or not gap.missing:
            return
        way.has_begun = way.has_gap = True
        partial = self._conversation.resume(way.direction)
        left = way.skip  # bytes still to come of the frame that the gap is in, as far as its length is known
        if (length := length_at(partial)) is not None:
            left = LENGTH_SIZE + length - len(partial)
        where = ", within a frame" if partial or way.skip else ""
        notice = _notice(way, f"{counted(gap.missing, 'byte', 'was')} not captured{where}")._replace(before=gap.before)
        yield Captured(gap.number, gap.time_ns, self._link, notice)
        way.skip = max(left - gap.missing, 0)
        if way.finder is not None or left < gap.missing:
            lost = 0 if way.finder is None else way.finder.dropped + len(way.finder.data)
            way.finder = FrameFinder(way.direction, dropped=lost)

    def _left_out(self, way: _OneDirection, size: int) -> Iterator[Captured]:
        if self._tells_of_middle and not way.has_gap:
            self._tells_of_middle = False
            yield Captured(way.number, way.time_ns, self._link, Notice("the capture begins within this connection"))
        if size:
            what = _notice(way, f"{counted(size, 'byte')} of frames that were not captured whole")
            yield Captured(way.number, way.time_ns, self._link, what)


def _notice(way: _OneDirection, text: str) -> Notice:
    return Notice(f"{_NAMES[way.direction]}: {text}")
