"""A blocking socket: it sends requests that were encoded before, and counts the frames that come back.

It decodes nothing, so no client in Python can use less CPU. Its xids are all 1: servers return an xid as it is.
"""

from __future__ import annotations

import socket
import struct
import threading

from benchmarks.meter import Meter, announce
from benchmarks.peers import method
from benchmarks.scenarios import (
    BATCH,
    LARGE,
    LARGE_SIZE,
    NEW,
    PARENT,
    SESSION_TIMEOUT,
    SMALL,
    SMALL_DATA,
    WATCHES,
    watched_path,
)

_CREATE, _GET_DATA, _SET_DATA, _GET_CHILDREN, _MULTI, _CLOSE_SESSION = 1, 4, 5, 8, 14, -11
_EPHEMERAL_SEQUENTIAL = 3
_LENGTH = struct.Struct(">i")
_RECEIVE_SIZE = 256 * 1024


class BareSocket:
    def __init__(self, hosts: str) -> None:
        self._hosts = hosts

    def run(self, scenario: str, meter: Meter) -> None:
        getattr(self, method(scenario))(meter)

    def idle(self, session_timeout: float) -> None:
        """No pings: the session expires, but the process stays."""
        _connection = Connection(self._hosts, session_timeout)
        announce("idle")
        threading.Event().wait()

    def get_data_serial(self, meter: Meter) -> None:
        self._repeat(meter, get_data(SMALL))

    def get_data_500(self, meter: Meter) -> None:
        self._repeat(meter, get_data(SMALL), BATCH)

    def set_data_500(self, meter: Meter) -> None:
        self._repeat(meter, set_data(SMALL, SMALL_DATA), BATCH)

    def create(self, meter: Meter) -> None:
        acl = _LENGTH.pack(1) + struct.pack(">i", 31) + _text("world") + _text("anyone")
        body = _text(f"{NEW}/n-") + _buffer(SMALL_DATA) + acl + struct.pack(">i", _EPHEMERAL_SEQUENTIAL)
        self._repeat(meter, request(_CREATE, body))

    def get_children_10000(self, meter: Meter) -> None:
        self._repeat(meter, request(_GET_CHILDREN, _text(PARENT) + b"\0"))

    def get_data_1MB(self, meter: Meter) -> None:
        self._repeat(meter, get_data(LARGE))

    def set_data_1MB(self, meter: Meter) -> None:
        self._repeat(meter, set_data(LARGE, bytes(LARGE_SIZE)))

    def watches_1000(self, meter: Meter) -> None:
        connection = Connection(self._hosts)
        arm = b"".join(get_data(watched_path(index), watch=True) for index in range(WATCHES))
        for _ in meter.untimed():
            connection.exchange(arm, WATCHES)
            announce("armed")
            with meter.lap():
                connection.exchange(b"", WATCHES)
        connection.close()

    def connect(self, meter: Meter) -> None:
        for _ in meter:
            Connection(self._hosts).close()

    def _repeat(self, meter: Meter, frame: bytes, count: int = 1) -> None:
        connection = Connection(self._hosts)
        frames = frame * count
        for _ in meter:
            connection.exchange(frames, count)
        connection.close()


class Connection:
    """A new session on the first host."""

    def __init__(self, hosts: str, session_timeout: float = SESSION_TIMEOUT) -> None:
        name, _, port = hosts.partition("/")[0].split(",")[0].rpartition(":")
        self._socket = socket.create_connection((name.strip("[]"), int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        body = struct.pack(">iqiq", 0, 0, round(session_timeout * 1000), 0) + _buffer(bytes(16)) + b"\0"
        self.exchange(_LENGTH.pack(len(body)) + body, 1)

    def exchange(self, frames: bytes, replies: int) -> None:
        """Send the frames, and read this number of replies."""
        if frames:
            self._socket.sendall(frames)
        unpack, receive = _LENGTH.unpack_from, self._socket.recv
        buffer, offset = self._buffer, 0
        pieces: list[bytes] = []
        while replies:
            available = len(buffer) - offset
            if available >= 4:
                missing = 4 + unpack(buffer, offset)[0] - available
                if missing <= 0:
                    offset += available + missing
                    replies -= 1
                    continue
            else:
                missing = 1
            pieces.append(buffer[offset:])
            while missing > 0:
                data = receive(_RECEIVE_SIZE)
                if not data:
                    raise ConnectionError("the server closed the connection")
                pieces.append(data)
                missing -= len(data)
            buffer, offset = b"".join(pieces), 0
            pieces.clear()
        self._buffer = buffer[offset:]

    def close(self) -> None:
        """Close the session and the connection."""
        self.exchange(request(_CLOSE_SESSION), 1)
        self._socket.close()


def request(opcode: int, body: bytes = b"") -> bytes:
    return struct.pack(">iii", 8 + len(body), 1, opcode) + body


def get_data(path: str, *, watch: bool = False) -> bytes:
    return request(_GET_DATA, _text(path) + (b"\1" if watch else b"\0"))


def set_data(path: str, data: bytes) -> bytes:
    return request(_SET_DATA, _text(path) + _buffer(data) + struct.pack(">i", -1))


def fire_watches() -> bytes:
    """One multi that sets every watched znode: one transaction, all notifications at once."""
    items = [
        struct.pack(">i?i", _SET_DATA, False, -1) + _text(watched_path(index)) + _buffer(b"y") + struct.pack(">i", -1)
        for index in range(WATCHES)
    ]
    return request(_MULTI, b"".join(items) + struct.pack(">i?i", -1, True, -1))


def _buffer(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _text(text: str) -> bytes:
    return _buffer(text.encode())
