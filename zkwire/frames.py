"""The anatomy of a frame: a length, a header, and the records after it.

    to the server      length  ConnectRequest                        the first frame of a connection: the handshake
                       length  RequestHeader  the operation's request
    from the server    length  ConnectResponse                       its answer
                       length  ReplyHeader    the operation's response, where err is 0
                       length  ReplyHeader    WatcherEvent           a notification: xid -1

The length counts the bytes after it, the payload. The functions here tell client and tools which records it holds.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from .codes import OpCode
from .jute.types import NestedType
from .records import ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent
from .text import counted

if TYPE_CHECKING:
    from .operations import Operation

#: The length before every payload.
LENGTH = struct.Struct(">i")
#: RequestHeader: xid, type.
REQUEST_HEADER = struct.Struct(">ii")
#: ReplyHeader: xid, zxid, err.
REPLY_HEADER = struct.Struct(">iqi")
#: The length and the header of a request at once.
REQUEST_PREFIX = struct.Struct(">iii")
#: The xid, with which both headers begin.
_XID = struct.Struct(">i")

#: In bytes.
LENGTH_SIZE = LENGTH.size
XID_SIZE = _XID.size
REQUEST_HEADER_SIZE = REQUEST_HEADER.size
REPLY_HEADER_SIZE = REPLY_HEADER.size
PASSWORD_SIZE = 16
#: Sizes without the password and without readOnly, which old peers leave out.
CONNECT_REQUEST_SIZE = NestedType(ConnectRequest).min_size
CONNECT_RESPONSE_SIZE = NestedType(ConnectResponse).min_size

_LARGE_PIECE = 1024

#: The longest request, in bytes: the default of jute.maxbuffer. A server closes the connection on a longer one.
MAX_REQUEST = 0xFFFFF

#: The longest reply that is taken by default, in bytes. Servers do not limit their replies: the reply to getData is
#: longer than MAX_REQUEST if the znode's data has that length, and a reply to getChildren may have any length. Only
#: bytes that have arrived take memory.
MAX_REPLY = 64 * 2**20


class Direction(str, Enum):
    """Which way a frame went, as seen from the client."""

    SENT = ">"
    RECEIVED = "<"


#: The only record of a connection's first frame in each direction.
HANDSHAKE: dict[Direction, Any] = {Direction.SENT: ConnectRequest, Direction.RECEIVED: ConnectResponse}
#: The first record of every other frame, and its size in bytes.
HEADER: dict[Direction, Any] = {Direction.SENT: RequestHeader, Direction.RECEIVED: ReplyHeader}
HEADER_SIZE = {Direction.SENT: REQUEST_HEADER_SIZE, Direction.RECEIVED: REPLY_HEADER_SIZE}
#: The records of a notification.
NOTIFICATION = (ReplyHeader, WatcherEvent)


def request_types(operation: Operation | None) -> tuple[Any, ...]:
    """The records of a request. If the operation is not known (None), only the header."""
    if operation is None or operation.request is None:
        return (RequestHeader,)
    return (RequestHeader, operation.request)


def reply_types(operation: Operation | None, err: int = 0) -> tuple[Any, ...]:
    """The records of a reply with this err. The operation is that of its request; None: not known.

    If err is not 0, nothing follows the header. `Operation.response_on_error` marks the operations for which something
    may follow.
    """
    if operation is None or operation.response is None or err:
        return (ReplyHeader,)
    return (ReplyHeader, operation.response)


def length_at(data: bytes | bytearray, offset: int = 0) -> int | None:
    """The length field of the frame at `offset`, even if it is out of range; None: fewer than 4 bytes are there."""
    return LENGTH.unpack_from(data, offset)[0] if len(data) - offset >= LENGTH_SIZE else None


def xid_of(payload: bytes | bytearray) -> int | None:
    """The xid of a request or reply; None: the payload is too short to have one."""
    return _XID.unpack_from(payload)[0] if len(payload) >= XID_SIZE else None


class Frame(NamedTuple):
    """One frame that was sent or received: the argument of `on_frame`.

    direction: which way it went.
    payload: the bytes after the length. For a reply that is longer than max_reply, only the ReplyHeader.
    types: the records that it holds, in order. The last may be missing if the bytes do not fit it.
    opcode: of the request, or of the request that a reply answers; None for the handshake and for notifications.
    now: when it was made or read: seconds on the clock of the caller, which for a Client is trio's.
    """

    direction: Direction
    payload: bytes
    types: tuple[Any, ...]
    opcode: OpCode | int | None
    now: float

    def __repr__(self) -> str:
        """Leaves out the payload's bytes: they may hold a password. `format_frame` shows all bytes but passwords."""
        names = ", ".join(kind.__name__ for kind in self.types)
        return (
            f"Frame(direction={self.direction.name}, payload=<{counted(len(self.payload), 'byte')}>, types=({names}), "
            f"opcode={self.opcode!r}, now={self.now!r})"
        )


class FrameError(ValueError):
    """The length before a frame is out of range; `length` is its value."""

    def __init__(self, reason: str, length: int) -> None:
        super().__init__(reason)
        self.length = length


def frame(payload: bytes) -> bytes:
    """The payload with its length before it."""
    return LENGTH.pack(len(payload)) + payload


class FrameBuffer:
    """Takes bytes in pieces of any size, and returns whole frames.

    A frame is returned as `(buffer, start, end)`: its payload is `buffer[start:end]`. A frame that arrived whole is not
    copied. If only its beginning arrived, that is copied.
    """

    def __init__(self, limit: int = MAX_REPLY) -> None:
        self._limit = limit
        self._buffer = b""
        self._offset = 0
        self._pieces: list[bytes | bytearray] = []  # the beginning of a frame whose end has not arrived
        self._kept = 0  # bytes in them
        self._needed = 0  # bytes that must have arrived before more of that frame can be read
        self._skipping = 0  # bytes still to arrive of a frame that is dropped

    def append(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._skipping:
            dropped = min(self._skipping, len(data))
            self._skipping -= dropped
            data = data[dropped:]
        if self._pieces:
            self._keep(data)
            if self._kept >= self._needed:
                self._buffer, self._offset = b"".join(self._pieces), 0
                self._pieces.clear()
                self._kept = 0
        elif self._offset == len(self._buffer):
            self._buffer, self._offset = data, 0
        else:
            self._buffer, self._offset = self._buffer[self._offset :] + data, 0

    def _keep(self, data: bytes) -> None:
        """Large pieces are kept as they are, and joined once. Small ones are put together at once, so that a frame that
        comes byte by byte does not cost a Python object for each byte."""
        self._kept += len(data)
        if len(data) >= _LARGE_PIECE:
            self._pieces.append(data)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += data
        else:
            self._pieces.append(bytearray(data))

    def next_frame(self) -> tuple[bytes, int, int] | None:
        """The next whole frame; None: it has not all arrived.

        Raises:
            FrameError: its length is negative or above the limit. No memory is taken for it.
        """
        buffer, offset = self._buffer, self._offset
        available = len(buffer) - offset
        if available >= LENGTH_SIZE:
            (length,) = LENGTH.unpack_from(buffer, offset)
            if not 0 <= length <= self._limit:
                begun = buffer[offset : offset + LENGTH_SIZE]
                # A server that answers in text is not ZooKeeper: "HTTP", or "SSH-".
                text = f" ({begun.decode()!r})" if begun.isascii() and begun.decode().isprintable() else ""
                raise FrameError(f"frame length {length}{text}, expected 0 to {self._limit}", length)
            start = offset + LENGTH_SIZE
            end = start + length
            if end <= len(buffer):
                self._offset = end
                return buffer, start, end
            self._needed = LENGTH_SIZE + length
        elif available:
            self._needed = LENGTH_SIZE
        if available:  # else `_needed` stays as it is: a frame may have begun in earlier pieces
            self._keep(buffer[offset:] if offset else buffer)
        self._buffer, self._offset = b"", 0
        return None

    def begun(self, size: int) -> bytes:
        """The first `size` bytes of the payload for which `next_frame` raised FrameError; fewer if no more have
        arrived."""
        start = self._offset + LENGTH_SIZE
        return self._buffer[start : start + size]

    def skip(self) -> None:
        """Drop the frame for which `next_frame` raised FrameError, with the bytes of it that have not arrived yet. Its
        length must be above 0."""
        (length,) = LENGTH.unpack_from(self._buffer, self._offset)
        end = self._offset + LENGTH_SIZE + length
        self._skipping = max(end - len(self._buffer), 0)
        self._offset = min(end, len(self._buffer))
