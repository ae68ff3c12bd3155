"""One direction of a TCP connection: its segments, late, twice or overlapping as they may come, as bytes in order."""

from __future__ import annotations

from collections import deque
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


class Gap(NamedTuple):
    """`missing` bytes that were sent and not captured. Packet `number` at `time_ns` is the first that shows it: it
    acknowledges them, comes after them, or was cut short in them. `before`: they were sent before that packet, which is
    false only if it was cut short in them."""

    missing: int
    number: int
    time_ns: int
    before: bool


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
        # Packets that show that more was sent than was captured: (end of it, number, time, whether it was sent before).
        self._evidence: deque[tuple[int, int, int, bool]] = deque()

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
    def has_fin(self) -> bool:
        """Whether the end of this direction was seen."""
        return self._fin is not None

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
        if segment.fin or not segment.data or len(segment.data) < segment.length:
            self._note(end, arrival.number, arrival.time_ns, before=len(segment.data) == segment.length)

    def acknowledge(self, sequence: int, number: int, time_ns: int) -> None:
        """Packet `number` says that the other end has all bytes before this one."""
        acknowledged = self.unwrap(sequence)
        self._begin(acknowledged)
        self._acknowledged = max(acknowledged, self._acknowledged or acknowledged)
        if self._acknowledged > self._reached():
            self._note(acknowledged, number, time_ns, before=True)
            if self.missed_ns is None:
                self.missed_ns = time_ns

    def _note(self, end: int, number: int, time_ns: int, *, before: bool) -> None:
        if not self._evidence or end > self._evidence[-1][0]:
            self._evidence.append((end, number, time_ns, before))

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
        self._forget_evidence()
        if self._acknowledged is None or self._acknowledged <= self._reached():
            self.missed_ns = None
        return fresh

    def skip(self, within_ns: int) -> Gap | None:
        """Give up the missing bytes before those that wait. If none wait, give up the other bytes that are known to
        have been sent, but only those that became known within so many nanoseconds. None if nothing is missing."""
        assert self.next is not None
        self.missed_ns = None
        ahead = self._waiting[0] if self._waiting else None
        end = self._sent if ahead is None else ahead.start
        if end <= self.next:
            return None  # bytes were acknowledged that are beyond the stream's end, and were never sent
        self._forget_evidence()
        places = [(number, at_ns, before) for _, number, at_ns, before in self._evidence][:1]
        if ahead is None:
            first_ns = self._evidence[0][2]
            end = min(end, max(known for known, _, at_ns, _ in self._evidence if at_ns - first_ns <= within_ns))
        else:
            places.append((ahead.number, ahead.time_ns, True))
        missing, self.next = end - self.next, end
        self._forget_evidence()
        if ahead is None and self._evidence:
            self.missed_ns = self._evidence[0][2]
        return Gap(missing, *min(places))

    def _forget_evidence(self) -> None:
        """Forget the evidence of bytes that were taken or given up."""
        while self._evidence and self.next is not None and self._evidence[0][0] <= self.next:
            self._evidence.popleft()
