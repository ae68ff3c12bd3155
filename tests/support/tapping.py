"""A `zkwire tap` as its users run it, in a process of its own, and a client that is nothing but a socket."""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue

from zkwire.frames import frame
from zkwire.jute import Encodable, encode
from zkwire.records import ConnectRequest, RequestHeader

PATIENCE = 30.0


class Running:
    """A `zkwire tap` in a process of its own, and what it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._queue: Queue[str | None] = Queue()
        assert process.stderr is not None
        first = process.stderr.readline()
        match = re.match(r"zkwire: (\S+) to ", first)
        assert match, first + process.stderr.read()
        self.address = match[1]
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def until(self, pattern: str) -> str:
        """The first line from here on that has it."""
        while (line := self._queue.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no line with {pattern!r} in\n" + "\n".join(self.lines))

    def end(self, number: int = signal.SIGINT) -> list[str]:
        """End it as its user would: all that it has printed."""
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.errors()
        while (line := self._queue.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        return self.lines

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def shown(self) -> list[str]:
        """What stands behind the time and the connection."""
        return [line.split(" ", 2)[2] for line in self.lines]


@contextmanager
def tap(target: str, *arguments: str, listen: str = "0") -> Iterator[Running]:
    command = [sys.executable, "-m", "zkwire", "tap", listen, target, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


class Peer:
    """A blocking socket that speaks in frames: a client, and nothing of zkwire's own client."""

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
        """Whether the next thing is the end of the stream."""
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
