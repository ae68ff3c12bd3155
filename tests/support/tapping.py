"""`zkwire tap` and `zkwire replay` in processes of their own, as users run them, and a client that is a bare socket."""

from __future__ import annotations

import re
import signal
import socket
import struct
from pathlib import Path

from tests.support.program import PATIENCE, Program, module
from zkwire.codes import OpCode
from zkwire.frames import Direction, frame
from zkwire.jute import Encodable, encode
from zkwire.records import ConnectRequest, ConnectResponse, ExistsRequest, ReplyHeader, RequestHeader
from zkwire.traffic import recording


class Listening(Program):
    """A command that prints on stderr where it listens: `zkwire tap`, or `zkwire replay` as a server.

    Attributes:
        address: host and port.
    """

    def __init__(self, *arguments: str) -> None:
        super().__init__(module("zkwire", *arguments), apart=True)
        first = self.next(on=self.err)
        match = re.match(r"zkwire: (\S+) (to|plays) ", first)
        assert match, first + self.err.rest
        self.address = match[1]

    def interrupt(self, number: int = signal.SIGINT) -> list[str]:
        """End it by a signal, as a user would. Returns all lines that it has printed."""
        self.send(number)
        assert self.ends() == 0, self.printed
        return self.lines()

    def shown(self) -> list[str]:
        """The lines that it has printed, without the time and the connection at their beginning."""
        return [line.split(" ", 2)[2] for line in self.lines()]


def tap(target: str, *arguments: str, listen: str = "0") -> Listening:
    """`zkwire tap`."""
    return Listening("tap", listen, target, *arguments)


class Peer:
    """A client that is a blocking socket: it sends and reads frames, and uses nothing of zkwire's own client."""

    def __init__(self, address: str) -> None:
        name, _, port = address.rpartition(":")
        self.socket = socket.create_connection((name.strip("[]"), int(port)), PATIENCE)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, xid: int, opcode: int, record: Encodable | None = None) -> bytes:
        data = frame(encode(RequestHeader(xid, opcode)) + (b"" if record is None else encode(record)))
        self.socket.sendall(data)
        return data

    def take(self) -> bytes:
        """The next frame's payload."""
        (length,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(length)

    def call(self, xid: int, opcode: int, record: Encodable | None = None) -> bytes:
        self.send(xid, opcode, record)
        return self.take()

    def connect(self, password: bytes = bytes(16), session_id: int = 0) -> bytes:
        self.socket.sendall(frame(encode(ConnectRequest(0, 0, 10_000, session_id, password, False))))
        return self.take()

    def ends(self) -> bool:
        """Whether the stream ends here."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, "the connection ended"
            data += piece
        return data


def written(directory: Path, opcode: OpCode = OpCode.EXISTS, *, fault: str = "") -> Path:
    """Write a recording of one request and its reply. Returns its path."""
    request = encode(RequestHeader(1, opcode)) + encode(ExistsRequest("/a", False))
    chunks = [
        (Direction.SENT, encode(ConnectRequest(0, 0, 10_000, 0, b"", False))),
        (Direction.RECEIVED, encode(ConnectResponse(0, 10_000, 5, bytes(16), False))),
        (Direction.SENT, request),
        (Direction.RECEIVED, encode(ReplyHeader(1, 9, -101))),
    ]
    writer = recording.Writer()
    lines = [writer.start(), writer.line(recording.RecordedOpening(0.0, 0, "client:1", "server:2181"))]
    lines += [writer.line(recording.RecordedBytes(0.0, 0, way, frame(data), fault)) for way, data in chunks]
    path = directory / f"recording-{opcode}"
    path.write_text("".join([*lines, writer.line(recording.RecordedClosing(0.0, 0, "client")), writer.end()]))
    return path
