"""Which write caused an event, and which request armed its watch."""

from __future__ import annotations

import pytest

from tests.support.book import CHANGED, CHILDREN, CREATED, DELETED, RECEIVED, SENT, Book, make_ephemeral
from zkwire.codes import AddWatchMode, CreateMode, ErrorCode, EventType, OpCode, Xid
from zkwire.jute import Encodable, encode
from zkwire.multi import MultiItem, MultiRequest, MultiResponse, item
from zkwire.records import (
    AddWatchRequest,
    CheckVersionRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    ErrorResponse,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    MultiHeader,
    ReconfigRequest,
    ReplyHeader,
    SetDataRequest,
    SetWatches,
    SetWatches2,
    Stat,
)
from zkwire.traffic.causes import AnsweredRequest
from zkwire.traffic.entries import EventSeen, Exchange

STAT = Stat(1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11)


# --- causes

WRITES: list[tuple[int, Encodable | None, Encodable | None, list[tuple[EventType, str]]]] = [
    (OpCode.SET_DATA, SetDataRequest("/a", b"", -1), None, [(CHANGED, "/a")]),
    (OpCode.CREATE, CreateRequest("/a/b", b"", (), 0), CreateResponse("/a/b"), [(CREATED, "/a/b"), (CHILDREN, "/a")]),
    (
        OpCode.CREATE2,
        CreateRequest("/n-", b"", (), CreateMode.PERSISTENT_SEQUENTIAL),
        Create2Response("/n-0000000003", STAT),
        [(CREATED, "/n-0000000003"), (CHILDREN, "/")],
    ),
    (OpCode.DELETE, DeleteRequest("/a/b", -1), None, [(DELETED, "/a/b"), (CHILDREN, "/a")]),
    (
        OpCode.MULTI,
        MultiRequest(
            (
                item(OpCode.CHECK, CheckVersionRequest("/c", 1)),
                item(OpCode.CREATE, CreateRequest("/q/n-", b"", (), 3)),
                item(OpCode.SET_DATA, SetDataRequest("/d", b"", -1)),
            )
        ),
        MultiResponse(
            (
                MultiItem(MultiHeader(OpCode.CHECK, False, 0), None),
                MultiItem(MultiHeader(OpCode.CREATE, False, 0), CreateResponse("/q/n-0000000001")),
                MultiItem(MultiHeader(OpCode.SET_DATA, False, 0), None),
            )[:2]
        ),
        [(CREATED, "/q/n-0000000001"), (CHILDREN, "/q"), (CHANGED, "/d")],
    ),
    (OpCode.RECONFIG, ReconfigRequest("", "", "", -1), None, [(CHANGED, "/zookeeper/config")]),
    (OpCode.CLOSE_SESSION, None, None, [(DELETED, "/eph/e"), (CHILDREN, "/eph")]),
]


@pytest.mark.parametrize("zxid", [50, -1])
@pytest.mark.parametrize("order", ["event first", "reply first"])
@pytest.mark.parametrize(("opcode", "record", "answer", "events"), WRITES)
def test_event_is_told_with_the_write_that_caused_it(
    zxid: int,
    order: str,
    opcode: int,
    record: Encodable | None,
    answer: Encodable | None,
    events: list[tuple[EventType, str]],
) -> None:
    book = Book()
    make_ephemeral(book.writer)
    book.watcher.now = book.writer.now = 3.0
    write = book.writer.request(opcode, record)
    book.watcher.now = book.writer.now = 4.0
    if order == "reply first":
        book.writer.reply(write, answer, zxid=50)
    for kind, path in events:
        book.watcher.event(kind, path, zxid)
    if order == "event first":
        assert book.events() == [], "the reply decides"
        book.writer.reply(write, answer, zxid=50)
    step = AnsweredRequest(1, write.xid, opcode, write.path, 3.0)
    assert book.events() == [(path, step, zxid == 50, None) for _, path in events]
    assert [(entry.now, entry.session) for entry in book.of(EventSeen)] == [(4.0, 5)] * len(events)
    if order == "event first":
        assert isinstance(book.entries[-len(events) - 1], Exchange), "the write comes before its events"


@pytest.mark.parametrize("zxid", [50, -1])
def test_event_that_no_write_here_fits_is_told_at_once(zxid: int) -> None:
    book = Book()
    for opcode, record, answer, _ in WRITES[:2]:
        book.writer.reply(book.writer.request(opcode, record), answer, zxid=49)
    book.writer.request(OpCode.SET_DATA, SetDataRequest("/other", b"", -1))
    book.watcher.event(CHANGED, "/elsewhere", zxid)
    book.watcher.event(DELETED, "/a", zxid)
    assert book.events() == [("/elsewhere", None, False, None), ("/a", None, False, None)]


@pytest.mark.parametrize("zxid", [50, -1])
@pytest.mark.parametrize("how", ["fails", "connection ends"])
def test_event_waits_no_longer_when_the_write_that_fits_is_none(zxid: int, how: str) -> None:
    book = Book()
    write = book.writer.request(OpCode.SET_DATA, SetDataRequest("/a", b"", -1))
    book.watcher.event(CHANGED, "/a", zxid)
    assert book.events() == []
    if how == "fails":
        book.writer.reply(write, err=ErrorCode.BAD_VERSION, zxid=51)
    else:
        book.writer.close()
    assert book.events() == [("/a", None, False, None)]


def test_event_is_reported_though_its_connection_has_ended_meanwhile() -> None:
    book = Book()
    write = book.writer.request(OpCode.SET_DATA, SetDataRequest("/a", b"", -1))
    book.watcher.event(CHANGED, "/a", 50)
    book.watcher.close()
    book.writer.reply(write, zxid=50)
    assert [(entry.session, entry.cause.certain) for entry in book.of(EventSeen)] == [(5, True)]


def test_event_of_the_end_of_a_session_waits_for_it_though_its_ephemerals_are_not_known() -> None:
    book = Book()
    end = book.writer.request(OpCode.CLOSE_SESSION)
    book.watcher.event(CHANGED, "/other", 49)
    book.watcher.event(DELETED, "/made-before-the-tap", 50)
    assert len(book.events()) == 1
    book.writer.reply(end, zxid=50)
    assert book.events()[1] == (
        "/made-before-the-tap",
        AnsweredRequest(1, end.xid, OpCode.CLOSE_SESSION, None, 0.0),
        True,
        None,
    )


def test_multi_that_failed_causes_nothing() -> None:
    book = Book()
    write = book.writer.request(OpCode.MULTI, WRITES[4][1])
    failed = MultiItem(MultiHeader(OpCode.ERROR, False, -103), ErrorResponse(ErrorCode.BAD_VERSION))
    spared = MultiItem(MultiHeader(OpCode.ERROR, False, 0), ErrorResponse(0))
    book.writer.reply(write, MultiResponse((spared, failed)), zxid=50)
    book.watcher.event(CHANGED, "/d")
    assert book.events() == [("/d", None, False, None)]


def test_of_several_writes_the_latest_is_the_likely_cause_and_none_older_than_the_watch() -> None:
    book = Book()

    def write(now: float, zxid: int) -> AnsweredRequest:
        book.writer.now = now
        request = book.writer.request(OpCode.SET_DATA, SetDataRequest("/a", b"", -1))
        book.writer.reply(request, zxid=zxid)
        return AnsweredRequest(1, request.xid, OpCode.SET_DATA, "/a", now)

    write(1.0, 11)
    book.watcher.now = 2.0
    book.arm(OpCode.GET_DATA, GetDataRequest("/a", True))
    book.watcher.event(CHANGED, "/a")
    book.watcher.now = 3.0
    book.arm(OpCode.GET_DATA, GetDataRequest("/a", True))
    write(4.0, 12)
    latest = write(5.0, 13)
    book.watcher.event(CHANGED, "/a")
    assert book.events() == [("/a", None, False, 1), ("/a", latest, False, 2)]


def test_writes_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zkwire.traffic.causes._KEPT", 2)
    book = Book()
    for number in range(3):
        write = book.writer.request(OpCode.SET_DATA, SetDataRequest(f"/{number}", b"", -1))
        book.writer.reply(write, zxid=50 + number)
    for number in range(3):
        book.watcher.event(CHANGED, f"/{number}", 50 + number)
    assert [certain for *_, certain, _ in book.events()] == [False, True, True]


def test_event_that_cannot_be_decoded_is_reported() -> None:
    book = Book()
    book.watcher.seen(RECEIVED, encode(ReplyHeader(Xid.NOTIFICATION, 50, 0)) + b"??")
    assert book.events() == [(None, None, False, None)]


def test_writes_that_cannot_be_decoded_or_have_no_path_cause_nothing() -> None:
    book = Book()
    for payload in (b"??", encode(SetDataRequest(None, None, 0)), encode(SetDataRequest("", None, 0))):
        book.writer.seen(SENT, b"\0\0\0\x01\0\0\0\x05" + payload)
    book.watcher.event(CHANGED, "/a", 50)
    book.watcher.event(CHANGED, "no path", 50)
    assert [path for path, *_ in book.events()] == ["/a", "no path"]


# --- watches

READS: list[tuple[int, Encodable, int, list[EventType]]] = [
    (OpCode.GET_DATA, GetDataRequest("/a", True), 0, [CREATED, DELETED, CHANGED]),
    (OpCode.EXISTS, ExistsRequest("/a", True), 0, [CREATED, DELETED, CHANGED]),
    (OpCode.EXISTS, ExistsRequest("/a", True), ErrorCode.NO_NODE, [CREATED, DELETED, CHANGED]),
    (OpCode.GET_CHILDREN, GetChildrenRequest("/a", True), 0, [DELETED, CHILDREN]),
    (OpCode.ADD_WATCH, AddWatchRequest("/a", AddWatchMode.PERSISTENT), 0, [CREATED, DELETED, CHANGED, CHILDREN]),
    (OpCode.SET_WATCHES, SetWatches(0, ("/a",), (), None), 0, [CREATED, DELETED, CHANGED]),
    (OpCode.SET_WATCHES, SetWatches(0, (), ("/a",), ()), 0, [CREATED, DELETED, CHANGED]),
    (OpCode.SET_WATCHES2, SetWatches2(0, (), (), ("/a",), (), ()), 0, [DELETED, CHILDREN]),
    (OpCode.SET_WATCHES2, SetWatches2(0, (), (), (), ("/a",), ()), 0, [CREATED, DELETED, CHANGED, CHILDREN]),
    (OpCode.GET_DATA, GetDataRequest("/a", False), 0, []),
    (OpCode.GET_DATA, GetDataRequest("/a", True), ErrorCode.NO_NODE, []),
    (OpCode.GET_DATA, GetDataRequest("/b", True), 0, []),
    (OpCode.ADD_WATCH, AddWatchRequest("/", AddWatchMode.PERSISTENT), 0, []),
    (OpCode.SYNC, ExistsRequest("/a", True), 0, []),
]


@pytest.mark.parametrize(("opcode", "record", "err", "kinds"), READS)
def test_event_is_told_with_the_request_that_armed_its_watch(
    opcode: int, record: Encodable, err: int, kinds: list[EventType]
) -> None:
    for kind in EventType(1), EventType(2), EventType(3), EventType(4):
        book = Book()
        book.arm(opcode, record, err=err)
        book.watcher.event(kind, "/a")
        assert book.events() == [("/a", None, False, 1 if kind in kinds else None)]


def test_recursive_watch_did_not_see_a_change_of_children() -> None:
    """A recursive watch that was armed later is not what saw it."""
    book = Book()
    book.arm(OpCode.GET_CHILDREN, GetChildrenRequest("/a", True))
    book.arm(OpCode.ADD_WATCH, AddWatchRequest("/a", AddWatchMode.PERSISTENT_RECURSIVE))
    for kind in (CHILDREN, CREATED, CHILDREN):
        book.watcher.event(kind, "/a")
    assert [armed for *_, armed in book.events()] == [1, 2, None]


def test_watch_of_a_mode_that_nobody_knows_is_none() -> None:
    book = Book()
    book.arm(OpCode.ADD_WATCH, AddWatchRequest("/a", 7))
    book.watcher.event(CHANGED, "/a")
    assert book.events() == [("/a", None, False, None)]


def test_one_shot_watches_are_used_up_and_persistent_ones_are_not() -> None:
    book = Book()
    book.arm(OpCode.GET_DATA, GetDataRequest("/a", True))
    book.watcher.now = -1.0
    book.arm(OpCode.ADD_WATCH, AddWatchRequest("/", AddWatchMode.PERSISTENT_RECURSIVE))
    for path in ("/a", "/a", "/a/b/c"):
        book.watcher.event(CHANGED, path)
    assert [armed for *_, armed in book.events()] == [1, 2, 2]
    assert len(book.of(Exchange)) == 2


def test_watches_belong_to_a_connection_and_end_with_it() -> None:
    book = Book()
    book.arm(OpCode.GET_DATA, GetDataRequest("/a", True))
    book.writer.event(CHANGED, "/a")
    book.watcher.close()
    book.connection(0, 5).event(CHANGED, "/a")
    assert [armed for *_, armed in book.events()] == [None, None]


def test_read_that_cannot_be_decoded_arms_nothing() -> None:
    book = Book()
    broken = book.watcher.seen(SENT, b"\0\0\0\x01\0\0\0\x04??")
    book.watcher.reply(broken)
    book.watcher.event(CHANGED, "/a")
    assert book.events() == [("/a", None, False, None)]


def test_reply_without_its_request_arms_nothing() -> None:
    book = Book()
    book.watcher.seen(RECEIVED, encode(ReplyHeader(99, 9, 0)))
    book.watcher.event(CHANGED, "/a")
    assert book.events() == [("/a", None, False, None)]
