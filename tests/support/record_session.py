"""Records docs/session.pcap from a real server: the session that docs/session.html shows. `make session`.

A worker makes an ephemeral znode that an observer watches. Then the worker sends nothing more, and its session expires.
The bytes and the times are real, of a server and two blocking sockets. The packets around them are made here, so that
this needs no root.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from tests.support.pcap_writer import Connection, PcapWriter
from tests.support.real.distributions import Distribution, find_distribution
from tests.support.real.servers import Server
from zkwire.codes import CreateMode, ErrorCode, EventType, OpCode, Xid
from zkwire.frames import frame
from zkwire.jute import decode_at, encode
from zkwire.records import (
    ACL,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    ExistsRequest,
    GetDataRequest,
    Id,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    WatcherEvent,
)

FILE = Path(__file__).parents[2] / "docs" / "session.pcap"
VERSION = "3.9"
PATH = "/worker"
WORKER_TIME_OUT, OBSERVER_TIME_OUT = 2000, 10000  # ms
_PATIENCE = 20.0  # seconds
_OPEN = (ACL(31, Id("world", "anyone")),)


class Peer:
    """A client on a blocking socket whose bytes are kept."""

    def __init__(self, server: Server, file: PcapWriter, address: str, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), _PATIENCE)
        self._stream = self._socket.makefile("rb")
        self._file = file
        self._captured = Connection(file, client=address, client_port=port, server="192.0.2.1")
        self._note()
        self._captured.handshake()

    def _note(self) -> None:
        """Let the next packet have the current time."""
        self._file.now = max(time.time(), self._file.now)

    def send(self, payload: bytes) -> None:
        data = frame(payload)
        self._note()
        self._captured.client(data)
        self._socket.sendall(data)

    def receive(self) -> bytes:
        length = self._stream.read(4)
        payload = self._stream.read(int.from_bytes(length, "big"))
        assert payload, "the server closed the connection"
        self._note()
        self._captured.server(length + payload)
        return payload

    def connect(self, time_out: int, session_id: int = 0, password: bytes = bytes(16)) -> ConnectResponse:
        self.send(encode(ConnectRequest(0, 0, time_out, session_id, password, False)))
        payload = self.receive()
        return decode_at(ConnectResponse, payload, 0, len(payload))[0]

    def ask(self, xid: int, opcode: OpCode, record: Any = None, err: int = ErrorCode.OK) -> None:
        self.send(encode(RequestHeader(xid, opcode)) + (b"" if record is None else encode(record)))
        payload = self.receive()
        header, _ = decode_at(ReplyHeader, payload, 0, len(payload))
        assert (header.xid, header.err) == (xid, err), header

    def event(self, kind: EventType) -> None:
        payload = self.receive()
        header, offset = decode_at(ReplyHeader, payload, 0, len(payload))
        event, _ = decode_at(WatcherEvent, payload, offset, len(payload))
        assert (header.xid, event.type, event.path) == (Xid.NOTIFICATION, kind, PATH)

    def end(self) -> None:
        """The server closes the connection."""
        assert self._stream.read(1) == b""
        self._note()
        self._captured.close()
        self._stream.close()
        self._socket.close()


def record(distribution: Distribution) -> bytes:
    """Record the session anew."""
    file = PcapWriter()
    file.now, file.step = 0.0, 1e-6
    with Server(distribution) as server:
        worker = Peer(server, file, "192.0.2.10", 40000)
        session = worker.connect(WORKER_TIME_OUT)
        worker.ask(1, OpCode.CREATE, CreateRequest(PATH, b"192.0.2.10:8897", _OPEN, CreateMode.EPHEMERAL))
        observer = Peer(server, file, "192.0.2.20", 40001)
        observer.connect(OBSERVER_TIME_OUT)
        observer.ask(1, OpCode.GET_DATA, GetDataRequest(PATH, True))
        worker.ask(2, OpCode.SET_DATA, SetDataRequest(PATH, b"192.0.2.10:8898", 0))
        observer.event(EventType.NODE_DATA_CHANGED)
        observer.ask(2, OpCode.EXISTS, ExistsRequest(PATH, True))
        worker.ask(Xid.PING, OpCode.PING)
        observer.event(EventType.NODE_DELETED)  # the worker sent nothing for as long as its timeout
        worker.end()
        again = Peer(server, file, "192.0.2.10", 40002)
        assert session.passwd is not None
        assert again.connect(WORKER_TIME_OUT, session.session_id, session.passwd).time_out == 0
        again.end()
        observer.ask(3, OpCode.GET_DATA, GetDataRequest(PATH, False), ErrorCode.NO_NODE)
        observer.ask(4, OpCode.CLOSE_SESSION)
        observer.end()
    return file.bytes


if __name__ == "__main__":
    FILE.write_bytes(record(find_distribution(VERSION)))
    print(FILE)
