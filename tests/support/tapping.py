"""`zkwire tap` and `zkwire replay` in processes of their own, as users run them."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.support.program import Program, module
from zkwire.codes import OpCode
from zkwire.frames import Direction, frame
from zkwire.jute import encode
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
