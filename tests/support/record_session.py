"""Records docs/session.pcap from a real server: the session that docs/session.html shows. `make session`.

A worker makes an ephemeral znode that an observer watches. Then the worker sends nothing more, and its session expires.
The bytes and the times are real, of a server and two blocking sockets. The packets around them are made here, so that
this needs no root.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.support.pcap_writer import Connection, PcapWriter
from tests.support.peer import Peer
from tests.support.real.distributions import Distribution, find_distribution
from tests.support.real.servers import Server
from zkwire.codes import CreateMode, ErrorCode, EventType, OpCode, Xid
from zkwire.frames import frame
from zkwire.jute import decode_at
from zkwire.records import (
    ACL,
    ConnectResponse,
    CreateRequest,
    ExistsRequest,
    GetDataRequest,
    Id,
    ReplyHeader,
    SetDataRequest,
    WatcherEvent,
)

FILE = Path(__file__).parents[2] / "docs" / "session.pcap"
VERSION = "3.9"
PATH = "/worker"
WORKER_TIME_OUT, OBSERVER_TIME_OUT = 2000, 10000  # ms
_OPEN = (ACL(31, Id("world", "anyone")),)


class CapturedPeer(Peer):
    """A client whose bytes are captured, with addresses of its own choice."""

    def __init__(self, server: Server, file: PcapWriter, address: str, port: int) -> None:
        super().__init__(server.address)
        self._file = file
        self._captured = Connection(file, client=address, client_port=port, server="192.0.2.1")
        self._note()
        self._captured.handshake()

    def _note(self) -> None:
        """Let the next packet have the current time."""
        self._file.now = max(time.time(), self._file.now)

    def put(self, *payloads: bytes) -> bytes:
        self._note()
        self._captured.client(b"".join(map(frame, payloads)))
        return super().put(*payloads)

    def receive(self) -> bytes | None:
        payload = super().receive()
        if payload is not None:
            self._note()
            self._captured.server(frame(payload))
        return payload

    def session(self, time_out: int, session_id: int = 0, password: bytes = bytes(16)) -> ConnectResponse:
        payload = self.connect(password, session_id, time_out)
        return decode_at(ConnectResponse, payload, 0, len(payload))[0]

    def ask(self, xid: int, opcode: OpCode, record: Any = None, err: int = ErrorCode.OK) -> None:
        payload = self.call(xid, opcode, record)
        header, _ = decode_at(ReplyHeader, payload, 0, len(payload))
        assert (header.xid, header.err) == (xid, err), header

    def event(self, kind: EventType) -> None:
        payload = self.take()
        header, offset = decode_at(ReplyHeader, payload, 0, len(payload))
        event, _ = decode_at(WatcherEvent, payload, offset, len(payload))
        assert (header.xid, event.type, event.path) == (Xid.NOTIFICATION, kind, PATH)

    def end(self) -> None:
        """The server closes the connection."""
        assert self.ends()
        self._note()
        self._captured.close()
        self.close()


def record(distribution: Distribution) -> bytes:
    """Record the session anew."""
    file = PcapWriter()
    file.now, file.step = 0.0, 1e-6
    with Server(distribution) as server:
        worker = CapturedPeer(server, file, "192.0.2.10", 40000)
        session = worker.session(WORKER_TIME_OUT)
        worker.ask(1, OpCode.CREATE, CreateRequest(PATH, b"192.0.2.10:8897", _OPEN, CreateMode.EPHEMERAL))
        observer = CapturedPeer(server, file, "192.0.2.20", 40001)
        observer.session(OBSERVER_TIME_OUT)
        observer.ask(1, OpCode.GET_DATA, GetDataRequest(PATH, True))
        worker.ask(2, OpCode.SET_DATA, SetDataRequest(PATH, b"192.0.2.10:8898", 0))
        observer.event(EventType.NODE_DATA_CHANGED)
        observer.ask(2, OpCode.EXISTS, ExistsRequest(PATH, True))
        worker.ask(Xid.PING, OpCode.PING)
        observer.event(EventType.NODE_DELETED)  # the worker sent nothing for as long as its timeout
        worker.end()
        again = CapturedPeer(server, file, "192.0.2.10", 40002)
        assert session.passwd is not None
        assert again.session(WORKER_TIME_OUT, session.session_id, session.passwd).time_out == 0
        again.end()
        observer.ask(3, OpCode.GET_DATA, GetDataRequest(PATH, False), ErrorCode.NO_NODE)
        observer.ask(4, OpCode.CLOSE_SESSION)
        observer.end()
    return file.bytes


if __name__ == "__main__":
    FILE.write_bytes(record(find_distribution(VERSION)))
    print(FILE)
