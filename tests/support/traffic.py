"""Frames of a conversation, one by one, for tests of what an onlooker makes of them. No sockets, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zkwire.codes import ErrorCode, KeeperState, OpCode, Xid
from zkwire.frames import Direction, frame
from zkwire.jute import Encodable, encode
from zkwire.records import ConnectRequest, ConnectResponse, ExistsRequest, ReplyHeader, RequestHeader, WatcherEvent
from zkwire.traffic.conversation import Conversation, SeenFrame
from zkwire.traffic.faults import PASS, Action

if TYPE_CHECKING:
    from zkwire.tap.tap import Observer  # which imports trio

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED

CONNECT = frame(encode(ConnectRequest(0, 0, 10_000, 0, bytes(16), False)))
CONNECTED = frame(encode(ConnectResponse(0, 10_000, 0x1234, bytes(16), False)))


def exists(xid: int, path: str = "/a") -> bytes:
    return frame(encode(RequestHeader(xid, OpCode.EXISTS)) + encode(ExistsRequest(path, False)))


def no_node(xid: int, zxid: int = 5) -> bytes:
    return frame(encode(ReplyHeader(xid, zxid, ErrorCode.NO_NODE)))


class Traffic:
    """One connection. Each call is one frame at the time `now`. The observer gets it, and the call returns it."""

    def __init__(self, connection: int = 0, observer: Observer | None = None) -> None:
        self.now = 0.0
        self._connection = connection
        self._conversation = Conversation(connection)
        self._observer = observer
        self._xid = 0

    def seen(self, direction: Direction, payload: bytes, action: Action = PASS) -> SeenFrame:
        (seen,) = self._conversation.receive(direction, frame(payload), self.now)
        assert isinstance(seen, SeenFrame)
        if self._observer is not None:
            self._observer.passed(self._connection, direction, seen, action, self.now)
        return seen

    def raw(self, direction: Direction, data: bytes) -> None:
        """Stray bytes."""
        assert self._observer is not None
        for seen in self._conversation.receive(direction, data, self.now):
            self._observer.passed(self._connection, direction, seen, PASS, self.now)

    def open(self) -> None:
        assert self._observer is not None
        self._observer.opened(self._connection, "client:1", "server:2181", self.now)

    def close(self, by: str = "client") -> None:
        assert self._observer is not None
        self._observer.closed(self._connection, by, self.now)

    def connect(self, session_id: int = 5, asked: int = 0, time_out: int = 10_000) -> list[SeenFrame]:
        request = ConnectRequest(0, 0, 10_000, asked, bytes(16), False)
        response = ConnectResponse(0, time_out, session_id, bytes(16), False)
        return [
            self.seen(Direction.SENT, encode(request)),
            self.seen(Direction.RECEIVED, encode(response)),
        ]

    def request(self, opcode: int, record: Encodable | None = None, xid: int | None = None) -> SeenFrame:
        self._xid += 1
        header = encode(RequestHeader(self._xid if xid is None else xid, opcode))
        return self.seen(Direction.SENT, header + (b"" if record is None else encode(record)))

    def reply(self, request: SeenFrame, record: Encodable | None = None, *, zxid: int = 9, err: int = 0) -> SeenFrame:
        assert request.xid is not None
        header = encode(ReplyHeader(request.xid, zxid, err))
        return self.seen(Direction.RECEIVED, header + (b"" if record is None else encode(record)))

    def event(self, type: int, path: str, zxid: int = -1) -> SeenFrame:
        body = encode(WatcherEvent(type, KeeperState.SYNC_CONNECTED, path))
        return self.seen(Direction.RECEIVED, encode(ReplyHeader(Xid.NOTIFICATION, zxid, 0)) + body)
