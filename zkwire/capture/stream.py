"""One direction of a TCP connection: its segments, late, twice or overlapping as they may come, as bytes in order."""

from __future__ import annotations

from typing import NamedTuple

from .packet import Segment


class Arrival(NamedTuple):
    """A segment, the number of its packet and its time, in nanoseconds since 1970."""

    number: int
    time_ns: int
    segment: Segment


class Piece(NamedTuple):
    """Some bytes, from the unwrapped sequence number `start` on. `acknowledged` is what their segment acknowledged."""

    start: int
    data: bytes
    number: int
    time_ns: int
    acknowledged: int | None

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class Stream:
    """Puts segments in order. Sequence numbers are unwrapped, so that they do not start over at 2**32."""

    def __init__(self) -> None:
        #: Of the next byte to hand on, and what it was first; None until something of this direction is known.
        self.next: int | None = None
        self.began: int | None = None
        #: Since when bytes are known to be missing, because they were acknowledged.
        self.missed_ns: int | None = None
        #: How many bytes wait, for those in front of them or to be taken.
        self.size = 0
        self._waiting: list[Piece] = []  # by start
        self._fin: int | None = None
        self._acknowledged: int | None = None
        self._known = 0  # behind the last byte that was sent

    def unwrap(self, sequence: int) -> int:
        """The number nearest to the next byte's."""
        near = sequence if self.next is None else self.next
        return near + (sequence - near + 2**31) % 2**32 - 2**31

    def is_of(self, segment: Segment) -> bool:
        """Whether this SYN is the beginning of this stream, and not of a later one."""
        return self.began is None or self.unwrap(segment.sequence) + 1 == self.began

    @property
    def handed(self) -> int | None:
        """What the other end has acknowledged once it has all that was taken."""
        return self.next if self.next is None or self.next != self._fin else self.next + 1

    @property
    def ended(self) -> bool:
        """Whether all was taken, and no more follows."""
        return self.next is not None and self.next == self._fin

    @property
    def is_short(self) -> bool:
        """Whether more is known to have been sent than was taken."""
        return self.next is not None and self.next < self._sent

    @property
    def _sent(self) -> int:
        """Behind the last byte that is known to have been sent."""
        return self._fin if self._fin is not None else max(self._known, self._acknowledged or 0)

    def receive(self, arrival: Arrival) -> None:
        """Take a segment of this direction."""
        segment = arrival.segment
        start = self.unwrap(segment.sequence) + segment.syn
        if segment.syn or segment.length:
            self._begin(start)
        end = start + segment.length
        self._known = max(self._known, end)
        piece = Piece(start, segment.data, arrival.number, arrival.time_ns, segment.acknowledged)
        if segment.data:
            place = len(self._waiting)
            while place and self._waiting[place - 1].start > start:
                place -= 1
            self._waiting.insert(place, piece)
            self.size += len(piece.data)
        if segment.fin:
            self._fin = end

    def acknowledge(self, sequence: int, time_ns: int) -> None:
        """The other end has all bytes before this one."""
        acknowledged = self.unwrap(sequence)
        self._begin(acknowledged)
        self._acknowledged = max(acknowledged, self._acknowledged or acknowledged)
        if self.missed_ns is None and self._acknowledged > self._reached():
            self.missed_ns = time_ns

    def _begin(self, start: int) -> None:
        if self.next is None:
            self.next = self.began = self._known = start

    def _reached(self) -> int:
        """What could be acknowledged of what was seen."""
        assert self.next is not None
        reached = self.next
        for piece in self._waiting:
            if piece.start > reached:
                break
            reached = max(reached, piece.end)
        return reached

    def peek(self) -> Piece | None:
        """What `take` will give, perhaps with bytes in front that were taken before."""
        if self.next is None:
            return None
        while self._waiting and self._waiting[0].end <= self.next:
            self.size -= len(self._waiting.pop(0).data)
        return self._waiting[0] if self._waiting and self._waiting[0].start <= self.next else None

    def take(self) -> Piece | None:
        """The next bytes in order; None when they have not come."""
        piece = self.peek()
        if piece is None or self.next is None:
            return None
        del self._waiting[0]
        self.size -= len(piece.data)
        fresh = piece._replace(start=self.next, data=piece.data[self.next - piece.start :])
        self.next = piece.end
        if self._acknowledged is None or self._acknowledged <= self._reached():
            self.missed_ns = None
        return fresh

    def skip(self) -> int:
        """Give up the bytes that are missing in front of those that wait, or of what else is known to have been sent;
        how many they are."""
        assert self.next is not None
        self.missed_ns = None
        end = self._waiting[0].start if self._waiting else self._sent
        missing = max(end - self.next, 0)
        self.next += missing
        return missing
