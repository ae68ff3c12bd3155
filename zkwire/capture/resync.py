"""Where a frame starts in the middle of a stream.

Nothing marks the beginning of a frame. So bytes are taken for a frame only if they are a whole one as ZooKeeper sends
it: a length, a header with a known opcode or error code, and a record that ends exactly where the frame does. After it
must come the end of the captured bytes, or bytes that may be another frame.
"""

from __future__ import annotations

from typing import Any

from ..codes import ErrorCode, Xid, member_or_int
from ..frames import (
    CONNECT_RESPONSE_SIZE,
    HANDSHAKE,
    HEADER_SIZE,
    LENGTH_SIZE,
    NOTIFICATION,
    REPLY_HEADER,
    REQUEST_HEADER,
    Direction,
    length_at,
    reply_types,
    request_types,
    xid_of,
)
from ..jute import JuteError, decode_at
from ..operations import BY_OPCODE

#: The longest handshake, in bytes. Passwords have 16 bytes; this leaves room for any that other servers may send.
_MAX_HANDSHAKE = 1024
#: The longest frame that is looked for, in bytes: it is taken only when it is whole, and until then all is kept.
_MAX_LENGTH = 4 * 2**20
#: The most bytes without a frame that are kept while one is looked for.
_MAX_KEPT = 256 * 2**10

#: The records that may follow the header of a reply without an error.
_RESPONSES = tuple(dict.fromkeys(types[1] for types in map(reply_types, BY_OPCODE.values()) if len(types) > 1))


def is_handshake(direction: Direction, data: bytes | bytearray) -> bool | None:
    """Whether the first bytes of a stream are a ConnectRequest, or its answer. None: they are too few to know."""
    length, version = length_at(data), xid_of(data[LENGTH_SIZE:])  # the version is 0, where other frames have their xid
    if length is None or version is None:
        return False if any(data[:3]) or any(data[LENGTH_SIZE:]) else None
    if version != 0 or not CONNECT_RESPONSE_SIZE <= length <= _MAX_HANDSHAKE:
        return False
    if len(data) < LENGTH_SIZE + length:
        return None
    return _is_exactly(HANDSHAKE[direction], data, LENGTH_SIZE, LENGTH_SIZE + length)


def _is_exactly(record_type: Any, data: bytes | bytearray, start: int, end: int) -> bool:
    try:
        return decode_at(record_type, bytes(data[start:end]), 0, end - start)[1] == end - start
    except JuteError:
        return False


class FrameFinder:
    """Takes the bytes of one direction until a frame starts in them.

    Attributes:
        data: the bytes so far, without the first ones, which were dropped since no frame starts in them.
        dropped: how many those were.
        is_handshake: whether the frame that was found is the handshake. Only with `may_begin`: the bytes may be the
            first of their connection.
    """

    def __init__(self, direction: Direction, *, may_begin: bool = False, dropped: int = 0) -> None:
        self.data = bytearray()
        self.dropped = dropped
        self.is_handshake = False
        self._may_begin = may_begin
        self._direction = direction
        # Offsets in `data` at which a frame may start whose end has not come: starts of segments, and all others.
        self._starts: list[int] = []
        self._others: list[int] = []
        self._looked = 0

    def receive(self, data: bytes) -> int | None:
        """Take the bytes of one segment. The offset in `data` at which a frame starts; None: no frame was found yet."""
        self._starts.append(len(self.data))
        self.data += data
        if self._may_begin:
            verdict = is_handshake(self._direction, self.data)
            if verdict is not False:
                self.is_handshake = verdict is True
                return 0 if verdict else None
            self._may_begin = False
        found, self._starts = self._first(self._starts)
        # Nearly all frames start where a segment does. Other places are looked at only when none of those is left.
        if found is None and not self._starts:
            found, self._others = self._first([*self._others, *range(self._looked, len(self.data))])
            self._looked = len(self.data)
        if found is None:
            self._drop()
        return found

    def _first(self, offsets: list[int]) -> tuple[int | None, list[int]]:
        """Two values: 1) the first of the offsets at which a frame starts, None if there is none; 2) in that case, the
        offsets at which a frame may still start."""
        still_open = []
        for offset in offsets:
            verdict = self._look(self.data, offset)
            if verdict:
                return offset, []
            if verdict is None:
                still_open.append(offset)
        return None, still_open

    def _drop(self) -> None:
        first = min([*self._starts, *self._others, self._looked])
        if first > _MAX_KEPT:
            del self.data[:first]
            self.dropped += first
            self._looked -= first
            self._starts = [offset - first for offset in self._starts]
            self._others = [offset - first for offset in self._others]

    def _look(self, data: bytearray, offset: int) -> bool | None:
        """Whether a frame starts here. None: not known, since its end has not come."""
        end = self._frame(data, offset)
        if not end:
            return end if end is None else False
        return end == len(data) or self._frame(data, end) != 0

    def _frame(self, data: bytearray, offset: int) -> int | None:
        """The end of the frame that starts here; 0: none does; None: not known, since its end has not come."""
        length = length_at(data, offset)
        if length is None:
            return None
        header = HEADER_SIZE[self._direction]
        if not header <= length <= _MAX_LENGTH:
            return 0
        start, end = offset + LENGTH_SIZE, offset + LENGTH_SIZE + length
        body = start + header
        if len(data) < body:
            return None
        is_sent = self._direction is Direction.SENT
        record_types = self._request(data, start, length) if is_sent else self._reply(data, start, length)
        if record_types is None:
            return 0
        if end > len(data):
            return None
        return end if body == end or any(_is_exactly(kind, data, body, end) for kind in record_types) else 0

    def _request(self, data: bytearray, start: int, length: int) -> tuple[Any, ...] | None:
        """The records that may follow the header; None: this is not a header."""
        xid, opcode = REQUEST_HEADER.unpack_from(data, start)
        operation = BY_OPCODE.get(opcode)
        if operation is None or (xid < 0 and xid not in (Xid.PING, Xid.AUTH, Xid.SET_WATCHES)):
            return None
        body_types = request_types(operation)[1:]
        return body_types if bool(body_types) == (length > REQUEST_HEADER.size) else None

    def _reply(self, data: bytearray, start: int, length: int) -> tuple[Any, ...] | None:
        xid, zxid, err = REPLY_HEADER.unpack_from(data, start)
        has_body = length > REPLY_HEADER.size
        if not isinstance(member_or_int(ErrorCode, err), ErrorCode) or zxid < -1:
            return None
        if xid == Xid.NOTIFICATION:
            return NOTIFICATION[1:] if has_body else None
        if xid < 0:
            return None if has_body or xid not in (Xid.PING, Xid.AUTH, Xid.SET_WATCHES) else ()
        if not has_body:
            return () if zxid else None  # among many zeros, as in a Stat, bytes look like an empty reply too often
        return None if err else _RESPONSES
