"""One direction of a TCP connection: puts the bytes of segments in order. They may come late, twice or overlap."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from .packet import Segment


class Arrival(NamedTuple):
    """A segment, with the number and the time of its packet, in nanoseconds since 1970."""

    number: int
    time_ns: int
    segment: Segment


class Piece(NamedTuple):
    """Some bytes. `start` is the unwrapped sequence number of the first; `acknowledged` is as in their segment."""

    start: int
    data: bytes
    number: int
    time_ns: int
    acknowledged: int | None

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class Gap(NamedTuple):
    """Bytes that were sent and not captured.

    missing: how many.
    number, time_ns: of the first packet that shows it: it acknowledges them, follows them, or was cut within them.
    before: whether they were sent before that packet. False only if it was cut within them.
    """

    missing: int
    number: int
    time_ns: int
    before: bool


class Stream:
    """Puts segments in order. Sequence numbers are unwrapped: they do not start again at 0 after 2**32."""

    def __init__(self) -> None:
        #: The sequence number of the next byte to hand on, and of the first one; None: none is known yet.
        self.next: int | None = None
        self.began: int | None = None
        #: The time when an acknowledgement showed that bytes are missing; None: none are missing.
        self.missed_ns: int | None = None
        #: How many bytes were received and not taken, some of which wait for bytes before them.
        self.size = 0
        self._waiting: list[Piece] = []  # by start
        self._fin: int | None = None
        self._acknowledged: int | None = None
        self._known = 0  # the sequence number after the last byte that was sent, as far as segments show it
        # Packets that show that more was sent than was captured: (end of those bytes, number, time, sent before it).
        self._evidence: deque[tuple[int, int, int, bool]] = deque()

    def unwrap(self, sequence: int) -> int:
        """The unwrapped number that is nearest to that of the next byte."""
        near = sequence if self.next is None else self.next
        return near + (sequence - near + 2**31) % 2**32 - 2**31

    def is_of(self, segment: Segment) -> bool:
        """Whether this SYN begins this stream. False: it begins a later one with the same ports."""
        return self.began is None or self.unwrap(segment.sequence) + 1 == self.began

    @property
    def handed(self) -> int | None:
        """The acknowledgement number that the other end sends when it has received all bytes that were taken here."""
        return self.next if self.next is None or self.next != self._fin else self.next + 1

    @property
    def ended(self) -> bool:
        """Whether all bytes were taken and the stream's end has come."""
        return self.next is not None and self.next == self._fin

    @property
    def has_fin(self) -> bool:
        """Whether the FIN of this direction was captured."""
        return self._fin is not None

    @property
    def is_short(self) -> bool:
        """Whether more bytes are known to have been sent than were taken."""
        return self.next is not None and self.next < self._sent

    @property
    def _sent(self) -> int:
        """The sequence number after the last byte that is known to have been sent."""
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
        """The sequence number up to which every byte was captured."""
        assert self.next is not None
        reached = self.next
        for piece in self._waiting:
            if piece.start > reached:
                break
            reached = max(reached, piece.end)
        return reached

    def peek(self) -> Piece | None:
        """What `take` will return; it may begin with bytes that were taken before."""
        if self.next is None:
            return None
        while self._waiting and self._waiting[0].end <= self.next:
            self.size -= len(self._waiting.pop(0).data)
        return self._waiting[0] if self._waiting and self._waiting[0].start <= self.next else None

    def take(self) -> Piece | None:
        """The next bytes in order; None: they have not come."""
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
        """Give up missing bytes; None: no bytes are missing. If bytes wait, all missing bytes before them are given up.
        If none wait, all bytes that are known to have been sent, as far as packets within `within_ns` nanoseconds of
        the first such packet show them."""
        assert self.next is not None
        self.missed_ns = None
        ahead = self._waiting[0] if self._waiting else None
        end = self._sent if ahead is None else ahead.start
        if end <= self.next:
            return None  # the bytes that were acknowledged are after the stream's end: nobody sent them
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
