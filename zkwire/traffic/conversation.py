"""One connection as an onlooker sees it: finds the frames in the bytes of both directions. No I/O, no clock.

    conversation = Conversation()
    for seen in conversation.receive(Direction.SENT, data, now): ...

`seen` is a `SeenFrame`, which is one whole frame, or stray bytes, which are not a frame: a four-letter word and its
answer, TLS, and everything after a length that no frame may have. Nothing is left out: the frames and the stray bytes
of a direction, joined, are all its bytes.

The onlooker refuses nothing. It pairs a reply with the oldest request that has the reply's xid and no reply yet. So a
reply that comes out of order, which a client would refuse, is still shown with its request.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..codes import ErrorCode, OpCode, Xid, member_or_int
from ..frames import (
    HANDSHAKE,
    HEADER_SIZE,
    LENGTH_SIZE,
    MAX_REPLY,
    NOTIFICATION,
    Direction,
    Frame,
    FrameBuffer,
    FrameError,
    frame,
    reply_types,
    request_types,
)
from ..jute import JuteError, decode_at
from ..multi import MultiResponse, MultiSequence
from ..operations import BY_OPCODE
from ..records import (
    ErrorResponse,
    GetEphemeralsRequest,
    ReplyHeader,
    RequestHeader,
    SetWatches,
    SetWatches2,
)
from ..text import counted


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame that was seen on its way, and what it is.

    Attributes:
        frame: its bytes, direction and time.
        header: None for the handshake, and for a frame that is too short for a header.
        index: counts the frames of this direction on this connection. The handshake has 0.
        request: for a reply, the request that it answers, if that was seen; else None.
        connection: counts the connections of a tap, from 0.
    """

    frame: Frame
    header: RequestHeader | ReplyHeader | None
    index: int
    request: SeenFrame | None = None
    connection: int = 0

    @property
    def direction(self) -> Direction:
        return self.frame.direction

    @property
    def opcode(self) -> OpCode | int | None:
        """The opcode of a request, or of the request that a reply answers. None for the handshake and notifications."""
        return self.frame.opcode

    @property
    def data(self) -> bytes:
        """The frame's bytes, with the length before the payload."""
        return frame(self.frame.payload)

    @property
    def is_handshake(self) -> bool:
        """Whether it is the ConnectRequest or the ConnectResponse."""
        return self.frame.types == (HANDSHAKE[self.direction],)

    @property
    def is_notification(self) -> bool:
        return isinstance(self.header, ReplyHeader) and self.header.xid == Xid.NOTIFICATION

    @property
    def err(self) -> ErrorCode | int:
        """The error of a reply; 0 for other frames."""
        if not isinstance(self.header, ReplyHeader):
            return ErrorCode.OK
        return member_or_int(ErrorCode, self.header.err)

    @property
    def failure(self) -> ErrorCode | int:
        """Why a request failed, from its reply; 0 if it did not fail. The header of a multi that failed has err 0, and
        only its results have the error (rule 68 of docs/client-rules.md)."""
        if self.err or self.opcode != OpCode.MULTI or not isinstance(self.record, MultiResponse):
            return self.err
        errors = (
            member_or_int(ErrorCode, item.body.err) for item in self.record if isinstance(item.body, ErrorResponse)
        )
        return next(filter(None, errors), self.err)

    @property
    def zxid(self) -> int:
        """The zxid of a reply or a notification; 0 for other frames."""
        return self.header.zxid if isinstance(self.header, ReplyHeader) else 0

    @property
    def xid(self) -> int | None:
        """The xid in the header; None if there is no header."""
        return None if self.header is None else self.header.xid

    @property
    def record(self) -> Any:
        """The record after the header; for the handshake, the whole frame. None if there is no record, or if the bytes
        cannot be decoded."""
        return self._decoded[0]

    @property
    def undecoded(self) -> str:
        """Why the record could not be decoded: the field, its offset in the frame, and the problem. "" if it could."""
        return self._decoded[1]

    @cached_property
    def _decoded(self) -> tuple[Any, str]:
        payload = self.frame.payload
        if self.header is None and not self.is_handshake:
            name = "request" if self.direction is Direction.SENT else "reply"
            size = counted(HEADER_SIZE[self.direction], "byte")
            return None, f"expected the header of a {name}, {size}, got {len(payload)}"
        types = self.frame.types if self.header is None else self.frame.types[1:]
        if not types:
            return None, ""
        offset = 0 if self.header is None else HEADER_SIZE[self.direction]
        try:
            return decode_at(types[0], payload, offset, len(payload))[0], ""
        except JuteError as error:
            return None, f"{error.path} at offset {LENGTH_SIZE + offset + (error.offset or 0)}: {error.reason}"

    @property
    def path(self) -> str | None:
        """The path of a request, of the request that a reply answers, or of a notification. None if it has none."""
        return getattr(self.record, "path", None) if self.request is None else self.request.path

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path in the frame, once each. A multi and a setWatches have several. A reply has those of its request,
        and the path that was created."""
        own = _paths(self.record)
        return tuple(dict.fromkeys(own if self.request is None else self.request.paths + own))


def _paths(record: Any) -> tuple[str, ...]:
    if isinstance(record, MultiSequence):
        return tuple(path for item in record for path in _paths(item.body))
    if isinstance(record, (SetWatches, SetWatches2)):
        return tuple(path for paths in record[1:] for path in paths or () if path is not None)
    path = record.prefix_path if isinstance(record, GetEphemeralsRequest) else getattr(record, "path", None)
    return () if path is None else (path,)


class _OneDirection:
    """The bytes of one direction, as far as they have come."""

    def __init__(self) -> None:
        self.frames = FrameBuffer(MAX_REPLY)
        self.partial = bytearray()  # bytes that `receive` has not returned yet
        self.count = 0  # frames
        self.opaque = False  # whether all further bytes are stray


class Conversation:
    """Follows one connection. `connection` is the number that its frames get."""

    def __init__(self, connection: int = 0) -> None:
        self.connection = connection
        self._ways = {direction: _OneDirection() for direction in Direction}
        self._unanswered: list[SeenFrame] = []

    def receive(self, direction: Direction, data: bytes, now: float) -> list[SeenFrame | bytes]:
        """The frames and stray bytes that these bytes complete, in order."""
        way = self._ways[direction]
        way.partial += data
        seen: list[SeenFrame | bytes] = []
        if not way.opaque:
            way.frames.append(data)
            try:
                while (found := way.frames.next_frame()) is not None:
                    buffer, start, end = found
                    seen.append(self._whole(direction, way, buffer[start:end], now))
                    del way.partial[: LENGTH_SIZE + end - start]
            except FrameError:
                way.opaque = True
                if way.count == 0 and direction is Direction.SENT:
                    # This is not ZooKeeper's protocol, so the answer will not have frames: "rw" answers "isro".
                    self._ways[Direction.RECEIVED].opaque = True
        if way.opaque and way.partial:
            seen.append(self.take_partial(direction))
        return seen

    def partial(self, direction: Direction, skip: int = 0) -> bytes:
        """The bytes of this direction that `receive` has not returned, without the first `skip` of them: the beginning
        of a frame."""
        return bytes(self._ways[direction].partial[skip:])

    def partial_size(self, direction: Direction) -> int:
        """How many bytes `receive` has not returned."""
        return len(self._ways[direction].partial)

    def take_partial(self, direction: Direction) -> bytes:
        """Remove and return the bytes that `receive` has not returned: at the end of the stream they are stray."""
        way = self._ways[direction]
        rest = bytes(way.partial)
        way.partial.clear()
        return rest

    def resume(self, direction: Direction) -> bytes:
        """Call this after bytes of this direction were missed, if the next bytes start a frame that is not the
        handshake. Returns the beginning of the frame whose end was missed; b"" if there is none."""
        way = self._ways[direction]
        way.frames = FrameBuffer(MAX_REPLY)
        way.opaque = False
        way.count = max(way.count, 1)
        return self.take_partial(direction)

    def _whole(self, direction: Direction, way: _OneDirection, payload: bytes, now: float) -> SeenFrame:
        index = way.count
        way.count += 1
        if index == 0 or len(payload) < HEADER_SIZE[direction]:
            types = (HANDSHAKE[direction],) if index == 0 else ()
            return SeenFrame(Frame(direction, payload, types, None, now), None, index, None, self.connection)
        if direction is Direction.SENT:
            return self._request(payload, index, now)
        return self._reply(payload, index, now)

    def _request(self, payload: bytes, index: int, now: float) -> SeenFrame:
        header, _ = decode_at(RequestHeader, payload, 0, len(payload))
        operation = BY_OPCODE.get(header.type)
        opcode = header.type if operation is None else operation.opcode
        request = Frame(Direction.SENT, payload, request_types(operation), opcode, now)
        seen = SeenFrame(request, header, index, None, self.connection)
        self._unanswered.append(seen)
        return seen

    def _reply(self, payload: bytes, index: int, now: float) -> SeenFrame:
        header, _ = decode_at(ReplyHeader, payload, 0, len(payload))
        if header.xid == Xid.NOTIFICATION:
            event = Frame(Direction.RECEIVED, payload, NOTIFICATION, None, now)
            return SeenFrame(event, header, index, None, self.connection)
        request = self._answered(header.xid)
        opcode = None if request is None else request.opcode
        operation = None if opcode is None else BY_OPCODE.get(opcode)
        reply = Frame(Direction.RECEIVED, payload, reply_types(operation, header.err), opcode, now)
        return SeenFrame(reply, header, index, request, self.connection)

    def _answered(self, xid: int) -> SeenFrame | None:
        for place, request in enumerate(self._unanswered):
            assert isinstance(request.header, RequestHeader)
            # A ping is answered with -2, whatever its own xid was.
            if xid == (Xid.PING if request.header.type == OpCode.PING else request.header.xid):
                return self._unanswered.pop(place)
        return None
