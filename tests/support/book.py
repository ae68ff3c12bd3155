"""What a watcher and a writer do, as entries of a report, for tests of the report and of causes."""

from __future__ import annotations

from typing import Any

from tests.support.traffic import Traffic
from zkwire.codes import CreateMode, EventType, OpCode
from zkwire.frames import Direction
from zkwire.jute import Encodable
from zkwire.records import CreateRequest, CreateResponse
from zkwire.traffic.causes import AnsweredRequest
from zkwire.traffic.entries import Entry, EntryMaker, EventSeen

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
CREATED, DELETED, CHANGED, CHILDREN = (EventType(number) for number in (1, 2, 3, 4))


class Book:
    """A ledger, what it wrote, and two connections: one that watches and one that writes."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.maker = EntryMaker(self.entries.append)
        self.watcher = self.connection(0, 5)
        self.writer = self.connection(1, 6)
        self.entries.clear()

    def connection(self, number: int, session: int) -> Traffic:
        traffic = Traffic(number, self.maker)
        traffic.open()
        traffic.connect(session)
        return traffic

    def of(self, *kinds: type) -> list[Any]:
        return [entry for entry in self.entries if isinstance(entry, kinds)]

    def events(self) -> list[tuple[str | None, AnsweredRequest | None, bool, int | None]]:
        """Of each event: its path, what wrote it, whether that is certain, and the xid that armed the watch."""
        return [
            (entry.event.path, entry.cause.write, entry.cause.certain, entry.cause.armed and entry.cause.armed.xid)
            for entry in self.of(EventSeen)
        ]

    def arm(self, opcode: int, record: Encodable, *, err: int = 0) -> None:
        self.watcher.reply(self.watcher.request(opcode, record), err=err)


def make_ephemeral(traffic: Traffic) -> None:
    record = CreateRequest("/eph/e", b"", (), CreateMode.EPHEMERAL)
    traffic.reply(traffic.request(OpCode.CREATE, record), CreateResponse("/eph/e"), zxid=2)
