"""Replay as a server: who asks what was asked then is answered as then, and who does not is told where. No sockets."""

from __future__ import annotations

import pytest

from tests.support.traffic import Traffic
from zkwire.codes import CreateMode, ErrorCode, EventType, OpCode, Xid
from zkwire.frames import Direction, frame
from zkwire.jute import Encodable, encode
from zkwire.multi import MultiRequest, item
from zkwire.records import (
    AuthPacket,
    CheckVersionRequest,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetDataRequest,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    SetWatches,
)
from zkwire.traffic.as_server import Playing, RecordedConnection, Script, connections, difference, differences, timeline
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import Action
from zkwire.traffic.recording import RecordedBytes, RecordedClosing, RecordedLine, RecordedOpening

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED


class Tape:
    """An observer that writes a recording's items, and a connection to write them of."""

    def __init__(self) -> None:
        self.items: list[RecordedLine] = []

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        self.items.append(RecordedOpening(now, connection, client, server))

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        raise AssertionError

    def passed(
        self, connection: int, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        data = seen if isinstance(seen, bytes) else seen.data
        self.items.append(RecordedBytes(now, connection, direction, data))

    def closed(self, connection: int, by: str, now: float) -> None:
        self.items.append(RecordedClosing(now, connection, by))

    def connection(self, number: int = 0, asked: int = 0) -> Traffic:
        traffic = Traffic(number, self)
        traffic.open()
        traffic.connect(0x77, asked)
        return traffic

    def recorded(self) -> list[RecordedConnection]:
        return connections(timeline(self.items))

    def script(self) -> Script:
        return Script(self.recorded())


def get(path: str = "/a", watch: bool = False) -> GetDataRequest:
    return GetDataRequest(path, watch)


def exchange(traffic: Traffic, opcode: int, record: Encodable | None = None, *, zxid: int = 9) -> None:
    traffic.reply(traffic.request(opcode, record), zxid=zxid)


def connect(playing: Playing, session: int = 0) -> bytes:
    request = ConnectRequest(0, 99, 4_000, session, b"another", True)
    return playing.receive(frame(encode(request)), 0.0)


def ask(playing: Playing, xid: int, opcode: int, record: Encodable | None = None) -> bytes:
    body = b"" if record is None else encode(record)
    return playing.receive(frame(encode(RequestHeader(xid, opcode)) + body), 0.0)


def reply(xid: int, zxid: int = 9, err: int = 0) -> bytes:
    return frame(encode(ReplyHeader(xid, zxid, err)))


CONNECTED = frame(encode(ConnectResponse(0, 10_000, 0x77, bytes(16), False)))

# --- what was recorded


def test_timeline_has_frames_in_order_without_pings_and_leaves_out_what_is_not_zookeepers() -> None:
    tape = Tape()
    first = tape.connection(0)
    first.reply(first.request(OpCode.PING, xid=Xid.PING))
    other = Traffic(1, tape)
    other.open()
    other.raw(SENT, b"ruok")
    second = tape.connection(2)
    asked = first.request(OpCode.GET_DATA, get())
    second.reply(second.request(OpCode.SYNC))
    first.reply(asked)
    first.close("server")
    empty = Traffic(3, tape)
    empty.open()
    steps = timeline(tape.items)
    shown = [
        (recorded.number, what if not isinstance(what, SeenFrame) else what.direction.value) for recorded, what in steps
    ]
    assert shown == [
        *((0, None), (0, ">"), (0, "<")),
        *((2, None), (2, ">"), (2, "<")),
        *((0, ">"), (2, ">"), (2, "<"), (0, "<"), (0, "server")),
    ]  # fmt: skip
    assert [(each.number, each.closed_by, len(each.frames)) for each in connections(steps)] == [
        (0, "server", 4),
        (2, "", 4),
    ]


def test_timeline_joins_frames_that_were_recorded_in_pieces_and_counts_faults() -> None:
    data = frame(encode(ConnectRequest(0, 0, 10_000, 5, b"", False)))
    items: list[RecordedLine] = [
        RecordedBytes(0.0, 4, SENT, data[:9], "delayed"),
        RecordedBytes(0.0, 4, SENT, data[9:]),
    ]
    (recorded,) = connections(timeline(items))
    assert (recorded.number, recorded.session, recorded.faulted, len(recorded.frames)) == (4, 5, 1, 1)


# --- what is the same

CHECKED = CheckVersionRequest("/a", 1)


def seen(opcode: int, record: Encodable | None) -> SeenFrame:
    return Tape().connection().request(opcode, record)


@pytest.mark.parametrize(
    ("opcode", "one", "other"),
    [
        (OpCode.GET_DATA, get(), get()),
        (OpCode.SET_WATCHES, SetWatches(1, ("/a",), (), ()), SetWatches(2, ("/a",), (), ())),
        (OpCode.AUTH, AuthPacket(0, "digest", b"a"), AuthPacket(1, "digest", None)),
        (OpCode.MULTI, MultiRequest((item(OpCode.CHECK, CHECKED),)), MultiRequest((item(OpCode.CHECK, CHECKED),))),
        (OpCode.CLOSE_SESSION, None, None),
        (999, get(), get()),
    ],
)  # fmt: skip
def test_requests_ask_the_same_whatever_differs_from_run_to_run(opcode: int, one: Encodable, other: Encodable) -> None:
    assert difference(seen(opcode, one), seen(opcode, other)) is None


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ((OpCode.GET_DATA, get()), (OpCode.EXISTS, get()), "getData xid=1 /a was recorded"),
        ((OpCode.GET_DATA, get()), (OpCode.GET_DATA, get("/b")), "path: recorded '/a', now '/b'"),
        ((OpCode.GET_DATA, get()), (OpCode.GET_DATA, None), "the bytes after the xid differ"),
        ((999, get()), (999, get("/b")), "the bytes after the xid differ"),
        (
            (OpCode.SET_DATA, SetDataRequest("/a", b"\xff", 1)),
            (OpCode.SET_DATA, SetDataRequest("/a", None, 1)),
            "data: recorded {'base64': '/w=='}, now None",
        ),
        (
            (OpCode.AUTH, AuthPacket(0, "digest", b"x")),
            (OpCode.AUTH, AuthPacket(0, "ip", b"x")),
            "scheme: recorded 'digest', now 'ip'",
        ),
        (
            (OpCode.MULTI, MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", 1)),))),
            (OpCode.MULTI, MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", 2)),))),
            "[0].version: recorded 1, now 2",
        ),
        (
            (OpCode.MULTI, MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", 1)),))),
            (OpCode.MULTI, MultiRequest(())),
            "record: recorded [{'op': 'delete', 'path': '/a', 'version': 1}], now []",
        ),
    ],
)
def test_difference_names_the_first_field(
    one: tuple[int, Encodable | None], other: tuple[int, Encodable | None], said: str
) -> None:
    assert difference(seen(*one), seen(*other)) == said


def test_differences_tell_records_of_other_types_apart() -> None:
    assert differences(get(), ExistsRequest("/a", False)) == ["record: recorded GetDataRequest, now ExistsRequest"]
    assert differences(None, get(), "[2]") == ["[2]: recorded NoneType, now GetDataRequest"]


# --- as a server


def test_client_that_asks_the_same_is_answered_the_same_under_its_own_xids() -> None:
    tape = Tape()
    traffic = tape.connection()
    exchange(traffic, OpCode.GET_DATA, get())
    exchange(traffic, OpCode.SET_DATA, SetDataRequest("/a", b"x", -1), zxid=10)
    exchange(traffic, OpCode.GET_DATA, get(), zxid=11)
    traffic.reply(traffic.request(OpCode.EXISTS, ExistsRequest("/none", False)), err=ErrorCode.NO_NODE, zxid=11)
    script = tape.script()
    playing = script.accept()
    assert connect(playing) == CONNECTED
    assert ask(playing, 501, OpCode.GET_DATA, get()) == reply(501, 9)
    assert ask(playing, 502, OpCode.SET_DATA, SetDataRequest("/a", b"x", -1)) == reply(502, 10)
    assert ask(playing, 503, OpCode.GET_DATA, get()) == reply(503, 11), "the second of two that are equal"
    assert ask(playing, 504, OpCode.EXISTS, ExistsRequest("/none", False)) == reply(504, 11, ErrorCode.NO_NODE)
    assert not playing.is_over
    assert not script.is_over
    playing.close()
    assert script.is_over
    assert script.divergences == []


def test_client_is_answered_whatever_pieces_its_requests_come_in() -> None:
    tape = Tape()
    traffic = tape.connection()
    exchange(traffic, OpCode.GET_DATA, get())
    playing = tape.script().accept()
    data = frame(encode(ConnectRequest(0, 0, 1, 0, b"", False))) + traffic.request(OpCode.GET_DATA, get()).data
    sent = b"".join(playing.receive(data[place : place + 1], 0.0) for place in range(len(data)))
    assert sent == CONNECTED + reply(2)


def test_recorded_request_that_is_too_short_for_a_header_is_played_without_an_answer() -> None:
    tape = Tape()
    traffic = tape.connection()
    traffic.seen(SENT, b"\0\0\0\1")
    exchange(traffic, OpCode.SYNC)
    script = tape.script()
    playing = script.accept()
    connect(playing)
    assert playing.receive(frame(b"\0\0\0\1"), 0.0) == b""
    assert ask(playing, 2, OpCode.SYNC) == reply(2)
    assert script.divergences == []


def test_pings_are_answered_with_the_last_zxid() -> None:
    tape = Tape()
    exchange(tape.connection(), OpCode.GET_DATA, get(), zxid=12)
    playing = tape.script().accept()
    connect(playing)
    assert ask(playing, Xid.PING, OpCode.PING) == reply(Xid.PING, 0)
    ask(playing, 1, OpCode.GET_DATA, get())
    assert ask(playing, Xid.PING, OpCode.PING) == reply(Xid.PING, 12)


def test_events_come_when_all_was_asked_that_was_asked_before_them() -> None:
    tape = Tape()
    traffic = tape.connection()
    exchange(traffic, OpCode.GET_DATA, get("/a", True))
    asked = traffic.request(OpCode.SET_DATA, SetDataRequest("/a", b"x", -1))
    first = traffic.event(EventType.NODE_DATA_CHANGED, "/a", 10)
    traffic.reply(asked, zxid=10)
    second = traffic.event(EventType.NODE_DELETED, "/a", 11)
    stray = traffic.seen(RECEIVED, encode(ReplyHeader(999, 1, 0)))
    exchange(traffic, OpCode.SYNC)
    playing = tape.script().accept()
    assert connect(playing) == CONNECTED
    assert ask(playing, 1, OpCode.GET_DATA, get("/a", True)) == reply(1)
    changed = ask(playing, 2, OpCode.SET_DATA, SetDataRequest("/a", b"x", -1))
    assert changed == first.data + reply(2, 10) + second.data + stray.data
    assert ask(playing, 3, OpCode.SYNC) == reply(3)


def test_event_that_came_at_once_comes_at_once() -> None:
    tape = Tape()
    event = tape.connection().event(EventType.NODE_DELETED, "/a")
    assert connect(tape.script().accept()) == CONNECTED + event.data


def test_request_without_a_reply_in_the_recording_has_none() -> None:
    tape = Tape()
    tape.connection().request(OpCode.GET_DATA, get())
    script = tape.script()
    playing = script.accept()
    connect(playing)
    assert ask(playing, 1, OpCode.GET_DATA, get()) == b""
    playing.close()
    assert script.divergences == []


def test_connection_ends_where_the_server_ended_it() -> None:
    tape = Tape()
    traffic = tape.connection()
    exchange(traffic, OpCode.CLOSE_SESSION)
    traffic.close("server")
    playing = tape.script().accept()
    connect(playing)
    assert not playing.is_over
    assert ask(playing, 1, OpCode.CLOSE_SESSION) == reply(1)
    assert playing.is_over
    assert ask(playing, 2, OpCode.SYNC) == b"", "nobody is there any more"


def test_connections_are_played_by_the_session_that_they_ask_for() -> None:
    tape = Tape()
    for number, asked in enumerate((0, 5, 0)):
        exchange(tape.connection(number, asked), OpCode.GET_DATA, get(f"/{number}"))
    script = tape.script()
    playings = [script.accept() for _ in range(4)]
    for playing, session, path in zip(playings, (5, 0, 0), ("/1", "/0", "/2")):
        assert connect(playing, session) == CONNECTED
        assert ask(playing, 1, OpCode.GET_DATA, get(path)) == reply(1)
    for playing, session in zip((playings[3], script.accept()), (0, 6)):
        assert connect(playing, session) == b""
        assert playing.is_over
    assert script.divergences == [
        "connection ?: asks for a new session, but no connection of the recording that is left does",
        "connection ?: asks for session 0x6, but no connection of the recording that is left does",
    ]


# --- divergence


@pytest.mark.parametrize(
    ("opcode", "record", "said"),
    [
        (OpCode.GET_DATA, get("/b"), "getData xid=1 /b: path: recorded '/a', now '/b'"),
        (OpCode.SYNC, get(), "sync xid=1 /a: the recording has getData xid=1 /a next"),
        (OpCode.CREATE, CreateRequest("/c", b"", (), CreateMode.EPHEMERAL), "create xid=1 /c, 0 bytes, EPHEMERAL: the"),
    ],
)
def test_client_that_asks_something_else_is_told_what_was_recorded(opcode: int, record: Encodable, said: str) -> None:
    tape = Tape()
    exchange(tape.connection(), OpCode.GET_DATA, get())
    heard: list[str] = []
    script = Script(tape.recorded(), heard.append)
    playing = script.accept()
    connect(playing)
    assert ask(playing, 1, opcode, record) == b""
    assert playing.is_over
    playing.close()
    (line,) = script.divergences
    assert line.startswith(f"connection 0: {said}")
    assert heard == [line]


def test_client_that_asks_more_than_was_recorded_is_told_so() -> None:
    tape = Tape()
    tape.connection()
    script = tape.script()
    playing = script.accept()
    connect(playing)
    ask(playing, 7, OpCode.GET_DATA, get())
    assert script.divergences == ["connection 0: getData xid=7 /a: the recording has no more requests"]


def test_client_that_asks_in_another_order_is_answered_and_reported() -> None:
    tape = Tape()
    traffic = tape.connection()
    exchange(traffic, OpCode.GET_DATA, get("/a"), zxid=1)
    exchange(traffic, OpCode.GET_DATA, get("/b"), zxid=2)
    script = tape.script()
    playing = script.accept()
    connect(playing)
    assert ask(playing, 1, OpCode.GET_DATA, get("/b")) == reply(1, 2)
    assert ask(playing, 2, OpCode.GET_DATA, get("/a")) == reply(2, 1)
    assert script.divergences == ["connection 0: getData xid=1 /b: before getData xid=1 /a, which came first"]


@pytest.mark.parametrize(("count", "more"), [(1, ""), (3, ""), (5, " and 2 more")])
def test_client_that_ends_early_is_told_what_it_has_not_asked(count: int, more: str) -> None:
    tape = Tape()
    traffic = tape.connection()
    for _ in range(count):
        exchange(traffic, OpCode.SYNC)
    script = tape.script()
    playing = script.accept()
    connect(playing)
    playing.close()
    names = ", ".join(f"sync xid={number + 1} (undecoded)" for number in range(min(count, 3)))
    assert script.divergences == [f"connection 0: ended without {names}{more}"]


def test_client_that_does_not_speak_zookeeper_is_reported() -> None:
    script = Tape().script()
    for data, said in (
        (b"GET / HTTP/1.1", "14 bytes that cannot be a frame"),
        (frame(b"??"), "the first frame is not a ConnectRequest"),
    ):
        playing = script.accept()
        assert playing.receive(data, 0.0) == b""
        assert playing.is_over
        playing.close()
        assert script.divergences[-1] == f"connection ?: {said}"
