"""Where a frame starts in the middle of a stream.

Nothing marks a frame's beginning, so bytes are taken for one only when they are a whole frame as ZooKeeper would send
it: a length, a header with a known opcode or error code, and a record that ends exactly where the frame does. Behind it
must be the end of what was seen, or something that may be a frame again.
"""

from __future__ import annotations

import struct
from typing import Any

from ..codes import ErrorCode, Xid, known
from ..frames import Direction
from ..jute import JuteError, decode_at
from ..operations import BY_OPCODE
from ..records import ConnectRequest, ConnectResponse, WatcherEvent

_LENGTH_AND_TWO = struct.Struct(">iii")
_REPLY = struct.Struct(">iqi")
_HANDSHAKE = {Direction.SENT: ConnectRequest, Direction.RECEIVED: ConnectResponse}
#: The longest handshake: passwords have 16 bytes, and nobody's has a multiple of that.
_MAX_HANDSHAKE = 1024
#: The longest frame that is looked for: each is waited for until it is whole.
_MAX_LENGTH = 4 * 2**20
#: How many bytes without a frame are kept to look for one.
_MAX_KEPT = 256 * 2**10

_RESPONSES: tuple[Any, ...] = tuple(
    {row.response: None for row in BY_OPCODE.values() if row.response is not None}  # a set, in order
)


def is_handshake(direction: Direction, data: bytes | bytearray) -> bool | None:
    """Whether these first bytes of a stream are a ConnectRequest, or its answer. None: too few to tell."""
    if len(data) < 8:
        return None if (b"\0\0\0" + b"\0" * 5).startswith(data[:3] + data[4:]) else False
    length, version = struct.unpack_from(">ii", data)
    if version != 0 or not 20 <= length <= _MAX_HANDSHAKE:
        return False
    if len(data) < 4 + length:
        return None
    return _is_exactly(_HANDSHAKE[direction], data, 4, 4 + length)


def _is_exactly(record_type: Any, data: bytes | bytearray, start: int, end: int) -> bool:
    try:
        return decode_at(record_type, bytes(data[start:end]), 0, end - start)[1] == end - start
    except JuteError:
        return False


class FrameFinder:
    """Takes one direction's bytes until a frame starts in them. They are in `data`, without the first `dropped`.

    With `may_begin` the bytes may be the connection's first; then `is_handshake` says whether they were.
    """

    def __init__(self, direction: Direction, *, may_begin: bool = False, dropped: int = 0) -> None:
        self.data = bytearray()
        self.dropped = dropped
        self.is_handshake = False
        self._may_begin = may_begin
        self._direction = direction
        self._starts: list[int] = []  # where segments start: offsets that may be a frame's whose end has not come
        self._others: list[int] = []  # the same, of all other offsets
        self._looked = 0

    def receive(self, data: bytes) -> int | None:
        """Take one segment's bytes. The offset in `data` at which a frame starts, once there is one."""
        self._starts.append(len(self.data))
        self.data += data
        if self._may_begin:
            verdict = is_handshake(self._direction, self.data)
            if verdict is not False:
                self.is_handshake = verdict is True
                return 0 if verdict else None
            self._may_begin = False
        found, self._starts = self._first(self._starts)
        if found is None and not self._starts:  # nearly all frames start where a segment does: see those whole first
            found, self._others = self._first([*self._others, *range(self._looked, len(self.data))])
            self._looked = len(self.data)
        if found is None:
            self._drop()
        return found

    def _first(self, offsets: list[int]) -> tuple[int | None, list[int]]:
        """The first at which a frame starts; and those at which one may."""
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
        """Whether a frame starts here. None: it may, and its end has not come."""
        end = self._frame(data, offset)
        if not end:
            return end if end is None else False
        return end == len(data) or self._frame(data, end) != 0

    def _frame(self, data: bytearray, offset: int) -> int | None:
        """The end of the frame that starts here; 0 when none does, None when it may and its end has not come."""
        left = len(data) - offset
        if left < 4:
            return None
        length: int = struct.unpack_from(">i", data, offset)[0]
        sent = self._direction is Direction.SENT
        if not (8 if sent else 16) <= length <= _MAX_LENGTH:
            return 0
        if left < (12 if sent else 20):
            return None
        end = offset + 4 + length
        record_types = self._request(data, offset, length) if sent else self._reply(data, offset, length)
        if record_types is None:
            return 0
        if end > len(data):
            return None
        body = offset + (12 if sent else 20)
        return end if body == end or any(_is_exactly(kind, data, body, end) for kind in record_types) else 0

    def _request(self, data: bytearray, offset: int, length: int) -> tuple[Any, ...] | None:
        """The records that may follow the header; None when it is no header."""
        _, xid, opcode = _LENGTH_AND_TWO.unpack_from(data, offset)
        operation = BY_OPCODE.get(opcode)
        if operation is None or (xid < 0 and xid not in (Xid.PING, Xid.AUTH, Xid.SET_WATCHES)):
            return None
        if (operation.request is None) != (length == 8):
            return None
        return (operation.request,)

    def _reply(self, data: bytearray, offset: int, length: int) -> tuple[Any, ...] | None:
        xid, zxid, err = _REPLY.unpack_from(data, offset + 4)
        if not isinstance(known(ErrorCode, err), ErrorCode) or zxid < -1:
            return None
        if xid == Xid.NOTIFICATION:
            return (WatcherEvent,) if length > 16 else None
        if xid < 0:
            return () if length == 16 and xid in (Xid.PING, Xid.AUTH, Xid.SET_WATCHES) else None
        if length == 16:
            return () if zxid else None  # where zeros abound, as in a Stat, an empty reply is found too easily
        return None if err else _RESPONSES
