"""A client that is a blocking socket: it sends and reads frames, and uses nothing of zkwire's own client."""

from __future__ import annotations

import socket

from tests.support.program import PATIENCE
from zkwire.frames import frame
from zkwire.jute import Encodable, encode
from zkwire.records import ConnectRequest, RequestHeader


class Peer:
    """One connection, closed at the end of the `with` block."""

    def __init__(self, address: str) -> None:
        name, _, port = address.rpartition(":")
        self.socket = socket.create_connection((name.strip("[]"), int(port)), PATIENCE)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self.socket.close()

    def put(self, *payloads: bytes) -> bytes:
        """Send frames with these payloads in one piece. Returns the bytes."""
        data = b"".join(map(frame, payloads))
        self.socket.sendall(data)
        return data

    def send(self, xid: int, opcode: int, record: Encodable | None = None) -> bytes:
        """Send a request. Returns its bytes."""
        return self.put(encode(RequestHeader(xid, opcode)) + (b"" if record is None else encode(record)))

    def receive(self) -> bytes | None:
        """The payload of the next frame; None at the end of the stream."""
        length = self._stream.read(4)
        return self._stream.read(int.from_bytes(length, "big")) if length else None

    def take(self) -> bytes:
        """The payload of the next frame, which must come."""
        payload = self.receive()
        assert payload, "the connection ended"
        return payload

    def call(self, xid: int, opcode: int, record: Encodable | None = None) -> bytes:
        """Send a request. Returns the payload of the next frame."""
        self.send(xid, opcode, record)
        return self.take()

    def connect(self, password: bytes = bytes(16), session_id: int = 0, time_out: int = 10_000) -> bytes:
        """Ask for a session. Returns the payload of the response."""
        self.put(encode(ConnectRequest(0, 0, time_out, session_id, password, False)))
        return self.take()

    def ends(self) -> bool:
        """Whether the stream ends here."""
        try:
            return self._stream.read(1) == b""
        except ConnectionResetError:
            return True
