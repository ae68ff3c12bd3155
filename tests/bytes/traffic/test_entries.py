"""Entries: requests with their replies, events with their causes, and what had no answer. No sockets, no clock."""

from __future__ import annotations

import pytest

from tests.support.book import CREATED, RECEIVED, SENT, Book, make_ephemeral
from tests.support.traffic import Traffic
from zkwire.codes import ErrorCode, OpCode, Xid
from zkwire.jute import encode
from zkwire.records import ExistsRequest, ReplyHeader
from zkwire.traffic.entries import (
    ConnectionClosed,
    ConnectionOpened,
    Entry,
    EntryMaker,
    EventSeen,
    Exchange,
    FaultInjected,
    Filter,
    Handshake,
    ServerUnreachable,
    StrayBytesSeen,
    UnansweredRequest,
    frame_of,
    new_frames,
)
from zkwire.traffic.faults import DROP, PASS
from zkwire.traffic.selection import opcodes, path_pattern

# --- connections, requests and replies


def test_a_connection_has_entries_from_its_opening_to_its_end() -> None:
    entries: list[Entry] = []
    traffic = Traffic(3, EntryMaker(entries.append))
    traffic.open()
    traffic.now = 1.0
    request, response = traffic.connect(0x77)
    asked = traffic.request(OpCode.EXISTS, ExistsRequest("/a", False))
    traffic.now = 1.5
    reply = traffic.reply(asked, err=ErrorCode.NO_NODE)
    left = traffic.request(OpCode.SYNC)
    traffic.now = 4.0
    traffic.close("server")
    assert entries == [
        ConnectionOpened(3, 0, 0.0, "client:1", "server:2181"),
        Handshake(3, 0x77, 1.0, request, response),
        Exchange(3, 0x77, 1.5, asked, reply),
        UnansweredRequest(3, 0x77, 4.0, left),
        ConnectionClosed(3, 0x77, 4.0, "server", 1),
    ]


def test_a_hundred_requests_are_paired_with_their_replies_in_order() -> None:
    book = Book()
    asked = [book.writer.request(OpCode.EXISTS, ExistsRequest(f"/{number}", False)) for number in range(100)]
    replies = [book.writer.reply(request, err=ErrorCode.NO_NODE) for request in asked]
    assert [(entry.request, entry.reply) for entry in book.entries if isinstance(entry, Exchange)] == list(
        zip(asked, replies)
    )
    book.writer.close()
    assert book.entries[-1] == ConnectionClosed(1, 6, 0.0, "client", 0)


def test_request_that_a_fault_dropped_has_no_reply() -> None:
    book = Book()
    payload = encode(ExistsRequest("/a", False))
    dropped = book.writer.seen(SENT, b"\0\0\0\x01\0\0\0\x03" + payload, DROP)
    book.writer.close()
    assert book.entries == [
        FaultInjected(1, 6, 0.0, dropped, DROP),
        UnansweredRequest(1, 6, 0.0, dropped),
        ConnectionClosed(1, 6, 0.0, "client", 1),
    ]


def test_handshake_that_had_no_answer_is_one_of_the_unanswered() -> None:
    book = Book()
    traffic = Traffic(2, book.maker)
    traffic.open()
    request = traffic.seen(SENT, b"\0" * 45)
    traffic.close("server")
    assert book.entries[1:] == [UnansweredRequest(2, 0, 0.0, request), ConnectionClosed(2, 0, 0.0, "server", 1)]


def test_refused_session_and_undecodable_handshake_leave_the_session_open() -> None:
    book = Book()
    for payload in (b"\0" * 37, b"short"):
        traffic = Traffic(2, book.maker)
        traffic.open()
        response = traffic.seen(RECEIVED, payload)
        assert book.entries[-1] == Handshake(2, 0, 0.0, None, response)
        traffic.close()


def test_reply_to_nothing_and_a_frame_without_a_header_have_entries() -> None:
    book = Book()
    stray = book.writer.seen(RECEIVED, encode(ReplyHeader(99, 9, 0)))
    short = book.writer.seen(RECEIVED, b"abc")
    assert book.entries == [Exchange(1, 6, 0.0, None, stray), Exchange(1, 6, 0.0, None, short)]


def test_client_that_no_server_took_has_an_entry() -> None:
    book = Book()
    book.maker.unreachable(7, "client:7", "refused", 2.0)
    assert book.entries == [ServerUnreachable(7, 0, 2.0, "client:7", "refused")]


# --- stray bytes


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", "TLS: it cannot be read here"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH", "SSH"),
        (b"ruok", "the four-letter word ruok"),
        (b"srvr\r\n", "the four-letter word srvr"),
        (b"\xff\xff\xff\xff", "not ZooKeeper: 4 bytes, ff ff ff ff"),
        (b"\xff" * 20, "not ZooKeeper: 20 bytes, " + "ff " * 16 + "..."),
    ],
)
def test_what_is_not_zookeepers_is_named_once(data: bytes, what: str) -> None:
    entries: list[Entry] = []
    traffic = Traffic(0, EntryMaker(entries.append))
    traffic.open()
    traffic.raw(SENT, data)
    traffic.raw(RECEIVED, b"an answer")
    assert entries[1:] == [StrayBytesSeen(0, 0, 0.0, SENT, what)]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\xff\xff\xff\xfe??", "not a frame: it would be -2 bytes long"),
        (b"\0\0", "2 bytes of a frame whose end did not come"),
    ],
)
def test_stray_bytes_after_frames_have_an_entry(data: bytes, what: str) -> None:
    book = Book()
    book.maker.passed(1, SENT, data, DROP, 0.0)
    assert book.entries == [StrayBytesSeen(1, 6, 0.0, SENT, what)]


def test_beginning_of_a_frame_has_an_entry() -> None:
    book = Book()
    book.maker.passed(1, RECEIVED, b"\0\0\0\x09abc", DROP, 0.0)
    assert book.entries == [StrayBytesSeen(1, 6, 0.0, RECEIVED, "7 bytes of a frame whose end did not come")]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\0\0\0\x2dabc", "7 bytes of a frame whose end did not come"),
        (b"\0\0\0", "not ZooKeeper: 3 bytes, 00 00 00"),
    ],
)
def test_client_that_dies_within_its_first_frame_is_zookeepers(data: bytes, what: str) -> None:
    entries: list[Entry] = []
    maker = EntryMaker(entries.append)
    maker.opened(0, "client", "server", 0.0)
    maker.passed(0, SENT, data, PASS, 0.0)
    assert entries[1:] == [StrayBytesSeen(0, 0, 0.0, SENT, what)]


# --- filters


def everything() -> list[Entry]:
    """An entry of each kind, and of a ping."""
    book = Book()
    book.connection(2, 7)
    ping = book.watcher.request(OpCode.PING, xid=Xid.PING)
    book.watcher.reply(ping)
    make_ephemeral(book.writer)
    book.watcher.event(CREATED, "/eph/e", 2)
    book.writer.seen(SENT, b"\0\0\0\x09\0\0\0\x0b", DROP)
    book.maker.unreachable(9, "client:9", "refused", 0.0)
    book.maker.passed(1, SENT, b"??", DROP, 0.0)
    book.writer.close()
    return book.entries


def shown(filter: Filter) -> list[str]:
    return [type(entry).__name__ for entry in everything() if filter.wants(entry)]


ALL = [
    "ConnectionOpened",
    "Handshake",
    "Exchange",
    "EventSeen",
    "FaultInjected",
    "ServerUnreachable",
    "StrayBytesSeen",
    "ConnectionClosed",
]


def test_filter_leaves_out_pings_and_nothing_else() -> None:
    assert shown(Filter()) == ALL
    with_pings = shown(Filter(pings=True))
    assert with_pings == [*ALL[:2], "Exchange", *ALL[2:-1], "UnansweredRequest", "ConnectionClosed"]


def test_filter_by_operation() -> None:
    assert shown(Filter(opcodes("create*"))) == ["Exchange"]
    assert shown(Filter(opcodes("ping"))) == ["Exchange", "FaultInjected", "UnansweredRequest"]
    assert shown(Filter(opcodes("connect"))) == ["Handshake"]


def test_filter_by_path() -> None:
    assert shown(Filter(path=path_pattern("/eph/**"))) == ["Exchange", "EventSeen"]
    assert shown(Filter(path=path_pattern("/other"))) == []
    assert shown(Filter(opcodes("delete"), path_pattern("/eph/**"))) == []


def test_filter_by_session() -> None:
    assert shown(Filter(session=7)) == ["Handshake"]
    assert shown(Filter(session=6, pings=True)) == [
        "Exchange",
        "FaultInjected",
        "StrayBytesSeen",
        "UnansweredRequest",
        "ConnectionClosed",
    ]
    assert shown(Filter(session=99)) == []


def test_entry_is_about_a_frame_or_about_the_connection() -> None:
    kinds = {type(entry).__name__ for entry in everything() if frame_of(entry) is None}
    assert kinds == {"ConnectionOpened", "ServerUnreachable", "StrayBytesSeen", "ConnectionClosed"}


def test_new_frames_of_an_entry_are_those_that_no_other_shows() -> None:
    book = Book()
    request = book.writer.request(OpCode.EXISTS)
    waiting = book.writer.request(OpCode.EXISTS)
    reply = book.writer.reply(request)
    event = book.watcher.event(CREATED, "/a")
    stray = book.writer.seen(RECEIVED, b"abc")
    book.writer.close()
    shown = {type(entry): list(new_frames(entry)) for entry in book.entries if not isinstance(entry, Exchange)}
    assert [list(new_frames(entry)) for entry in book.of(Exchange)] == [[request, reply], [stray]]
    assert shown == {EventSeen: [event], UnansweredRequest: [waiting], ConnectionClosed: []}
