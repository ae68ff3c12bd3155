"""The server's half of a connection, frame by frame, and a Talk that a Session has with it.

    talk = Talk()
    talk.dial()                                            # the ConnectRequest, parsed
    talk.serve(connect_response())                         # the events that these bytes give
    talk.sent()                                            # what the client wrote since, parsed

Bytes go both ways as on a socket; the time is `talk.now` and stands still unless a test moves it.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from zkwire.codes import ErrorCode, EventType, KeeperState, OpCode, Xid
from zkwire.frames import Frame, frame
from zkwire.jute import Encodable, decode, decode_at, encode
from zkwire.operations import BY_OPCODE
from zkwire.records import ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, Stat, WatcherEvent
from zkwire.session.events import NEED_DATA, Failed, Fired, Replied, StateChanged
from zkwire.session.requests import Request
from zkwire.session.session import Session

SESSION_ID = 0x1000004515E0058
PASSWORD = bytes(range(1, 17))
STAT = Stat(1, 1, 1700000000000, 1700000000000, 0, 0, 0, 0, 2, 0, 1)


# --- frames of a server


def connect_response(
    session_id: int = SESSION_ID,
    *,
    time_out: int = 10_000,
    passwd: bytes | None = PASSWORD,
    read_only: bool | None = False,
) -> bytes:
    """The server's yes. `read_only` None leaves the byte out, as servers do for clients before 3.4."""
    return frame(encode(ConnectResponse(0, time_out, session_id, passwd, read_only)))


def refusal() -> bytes:
    """The server's no: time_out 0, no id, a password of zeros."""
    return connect_response(0, time_out=0, passwd=bytes(16))


def reply(xid: int, zxid: int = 1, err: int = 0, record: Encodable | None = None, trailing: bytes = b"") -> bytes:
    return frame(encode(ReplyHeader(xid, zxid, err)) + (b"" if record is None else encode(record)) + trailing)


def notification(kind: int, path: str | None, zxid: int = -1, state: int = KeeperState.SYNC_CONNECTED) -> bytes:
    return frame(encode(ReplyHeader(Xid.NOTIFICATION, zxid, 0)) + encode(WatcherEvent(kind, state, path)))


def created(path: str) -> bytes:
    return notification(EventType.NODE_CREATED, path)


def deleted(path: str) -> bytes:
    return notification(EventType.NODE_DELETED, path)


def data_changed(path: str) -> bytes:
    return notification(EventType.NODE_DATA_CHANGED, path)


def children_changed(path: str) -> bytes:
    return notification(EventType.NODE_CHILDREN_CHANGED, path)


def pong(zxid: int = 1, err: int = 0) -> bytes:
    return reply(Xid.PING, zxid, err)


def auth_reply(err: int = 0) -> bytes:
    return reply(Xid.AUTH, 0, err)


# --- frames of a client, read


class Sent(NamedTuple):
    """A request as the server reads it."""

    xid: int
    opcode: OpCode
    record: Any


def payloads(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames at the start of the bytes, without lengths, and the rest."""
    found = []
    while len(data) >= 4:
        (length,) = struct.unpack_from(">i", data)
        if len(data) < 4 + length:
            break
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found, data


def read_request(payload: bytes) -> Sent:
    header, body = decode_at(RequestHeader, payload, 0, len(payload))
    row = BY_OPCODE[header.type]
    request: Any = row.request  # decodes as well as it encodes
    record = None if request is None else decode(request, payload[body:])
    return Sent(header.xid, row.opcode, record)


def read_connect_request(data: bytes) -> ConnectRequest:
    """The only frame in the bytes."""
    (payload,), rest = payloads(data)
    assert rest == b""
    return decode(ConnectRequest, payload)


class Talk:
    """A Session, and by hand the servers that it talks to."""

    def __init__(self, session_timeout: float = 10.0, *, now: float = 100.0, **options: Any) -> None:
        self.now = now
        self.frames: list[Frame] = []
        self.session = Session(session_timeout, on_frame=self.frames.append, **options)

    def dial(self, within: float = 3.0) -> ConnectRequest:
        """A stream to a server stands; the ConnectRequest it gets, and nothing else."""
        self.session.tcp_connected(self.now, self.now + within)
        return read_connect_request(self.session.data_to_send(self.now))

    def establish(self, response: bytes | None = None) -> list[Any]:
        """Dial, and take the server's answer."""
        self.dial()
        return self.serve(connect_response() if response is None else response)

    def serve(self, *frames: bytes) -> list[Any]:
        """The events that these bytes of the server give."""
        if frames:  # no bytes would be EOF
            self.session.receive_data(b"".join(frames), self.now)
        return self.events()

    def eof(self) -> list[Any]:
        self.session.receive_data(b"", self.now)
        return self.events()

    def lose(self, reason: str = "cut", unsent: int = 0) -> list[Any]:
        """The stream is gone; the events of that."""
        self.session.tcp_lost(self.now, reason, unsent)
        return self.events()

    def at(self, now: float) -> list[Any]:
        """The time passes, and `handle_timeout` is called; the events of that."""
        self.now = now
        self.session.handle_timeout(now)
        return self.events()

    def events(self) -> list[Any]:
        found: list[Any] = []
        while (event := self.session.next_event(self.now)) is not NEED_DATA:
            found.append(event)
        return found

    def request(self, operation: Any, record: Any = None, watcher: Any = None) -> Request:
        request = Request(operation, record, watcher)
        self.session.request(request, self.now)
        return request

    def sent(self) -> list[Sent]:
        """What the client wrote since the last time."""
        found, rest = payloads(self.session.data_to_send(self.now))
        assert rest == b""
        return [read_request(payload) for payload in found]

    def opcodes(self) -> list[OpCode]:
        return [frame_.opcode for frame_ in self.sent()]


# --- events, as tests look at them


def states(events: list[Any]) -> list[KeeperState]:
    return [event.state for event in events if type(event) is StateChanged]


def replies(events: list[Any]) -> list[Replied]:
    return [event for event in events if type(event) is Replied]


def failures(events: list[Any]) -> list[tuple[Request, Exception]]:
    return [(event.request, event.error) for event in events if type(event) is Failed]


def fired(events: list[Any]) -> list[tuple[list[Any], int, str]]:
    """(watchers, event type, path) of each."""
    return [(event.watchers, event.event.type, event.event.path) for event in events if type(event) is Fired]


NO_NODE = ErrorCode.NO_NODE
