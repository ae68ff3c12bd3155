"""One TCP stream: bytes in, events out. No I/O, explicit time."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake.connections import HELLO, established, handshaking, send, served
from tests.support.fake.wire import (
    PASSWORD,
    SESSION_ID,
    STAT,
    auth_reply,
    connect_response,
    created,
    data_changed,
    notification,
    payloads,
    pong,
    read_connect_request,
    read_request,
    refusal,
    reply,
)
from zkwire.codes import ErrorCode, EventType, KeeperState, OpCode, Xid
from zkwire.errors import LocalProtocolError, RemoteProtocolError
from zkwire.frames import Direction, Frame, frame
from zkwire.jute import encode
from zkwire.operations import (
    AUTH,
    BY_OPCODE,
    CLOSE_SESSION,
    CREATE,
    DELETE,
    GET_DATA,
    SET_DATA,
    SYNC,
    WHO_AM_I,
    Operation,
)
from zkwire.records import (
    AuthPacket,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    DeleteRequest,
    ExistsResponse,
    GetDataRequest,
    GetDataResponse,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    SyncRequest,
    SyncResponse,
    WatcherEvent,
)
from zkwire.session.connection import Connection
from zkwire.session.events import (
    NEED_DATA,
    AuthReplied,
    Connected,
    Notified,
    Ponged,
    Replied,
    SessionRefused,
    TooLong,
    WatchedEvent,
)
from zkwire.session.requests import Request, XidCounter
from zkwire.session.states import CONNECTION_TRANSITIONS, ConnectionState

HANDSHAKING, ESTABLISHED = ConnectionState.HANDSHAKING, ConnectionState.ESTABLISHED
CLOSING, CLOSED, FAILED = ConnectionState.CLOSING, ConnectionState.CLOSED, ConnectionState.FAILED


def broken_by(connection: Connection, *frames: bytes) -> str:
    """What the RemoteProtocolError says that these frames raise."""
    connection.receive_data(b"".join(frames), 0.0)
    with pytest.raises(RemoteProtocolError) as caught:
        connection.next_event(0.0)
    assert connection.state is FAILED
    return str(caught.value)


# --- the handshake


def test_connection_begins_with_the_connect_request() -> None:
    connection = Connection(HELLO, now=0.0, deadline=3.0)
    assert read_connect_request(connection.data_to_send(0.0)) == HELLO
    assert connection.data_to_send(0.0) == b""
    assert connection.state is HANDSHAKING


@pytest.mark.rule(1)
def test_connection_reads_a_connect_response_cut_at_every_byte() -> None:
    data = connect_response()
    for cut in range(1, len(data)):
        connection = handshaking()
        assert served(connection, data[:cut]) == []
        assert [type(event) for event in served(connection, data[cut:])] == [Connected]


@pytest.mark.rule(1)
def test_connection_reads_replies_and_notifications_cut_at_every_byte() -> None:
    data = reply(1, 5, record=ExistsResponse(STAT)) + data_changed("/a") + pong(6)
    for cut in range(1, len(data)):
        connection = established()
        request = send(connection)
        assert served(connection, data[:cut]) + served(connection, data[cut:]) == [
            Replied(request, 5, 0, ExistsResponse(STAT)),
            Notified(WatchedEvent(EventType.NODE_DATA_CHANGED, KeeperState.SYNC_CONNECTED, "/a", -1)),
            Ponged(6),
        ]


@pytest.mark.rule(3)
@pytest.mark.parametrize(("read_only", "size"), [(None, 36), (False, 37), (True, 37)])
def test_connection_accepts_connect_responses_of_36_and_37_bytes(read_only: bool | None, size: int) -> None:
    data = connect_response(read_only=read_only)
    assert len(data) == 4 + size
    connection = handshaking()
    (event,) = served(connection, data)
    assert event == Connected(ConnectResponse(0, 10_000, SESSION_ID, PASSWORD, read_only))
    assert connection.state is ESTABLISHED


@pytest.mark.rule(6)
def test_connection_adopts_the_negotiated_timeout() -> None:
    connection = handshaking()
    served(connection, connect_response(time_out=4_000))
    assert connection.session_timeout == 4.0
    assert connection.next_deadline() == pytest.approx(4.0 / 3)


@pytest.mark.rule(8)
@pytest.mark.parametrize("time_out", [0, -1])
def test_connection_takes_a_timeout_of_0_for_a_refusal_and_ends(time_out: int) -> None:
    connection = handshaking()
    assert served(connection, connect_response(0, time_out=time_out), pong()) == [SessionRefused()]
    assert connection.state is CLOSED
    assert connection.next_event(0.0) is None
    assert connection.next_deadline() is None


@pytest.mark.rule(10)
def test_connection_ends_without_an_event_when_eof_comes_before_the_connect_response() -> None:
    connection = handshaking()
    connection.receive_data(connect_response()[:20], 0.0)
    connection.receive_data(b"", 0.0)
    assert connection.next_event(0.0) is None
    assert connection.state is CLOSED


@pytest.mark.rule(11)
@pytest.mark.parametrize(
    "command",
    [
        lambda connection: connection.send(Request(SYNC, SyncRequest("/")), 0.0),
        lambda connection: connection.send_auth(Request(AUTH, AuthPacket(0, "digest", b"u:p")), 0.0),
        lambda connection: connection.close(Request(CLOSE_SESSION), 0.0),
    ],
    ids=["request", "auth", "close"],
)
def test_connection_sends_nothing_but_the_connect_request_before_its_answer(command: Any) -> None:
    connection = handshaking()
    with pytest.raises(LocalProtocolError, match="handshaking"):
        command(connection)
    assert connection.data_to_send(0.0) == b""
    assert connection.handle_timeout(2.9) is None
    assert connection.data_to_send(2.9) == b""


@pytest.mark.rule(17)
def test_connection_fails_on_the_16_byte_answer_of_a_read_only_server() -> None:
    message = broken_by(handshaking(), reply(0, 0, ErrorCode.NOT_READ_ONLY))
    assert message == "expected a ConnectResponse of at least 36 bytes, got 16 bytes with error code -119"


@pytest.mark.parametrize("size", [0, 15, 16, 35])
def test_connection_fails_on_an_answer_too_short_for_a_connect_response(size: int) -> None:
    assert broken_by(handshaking(), frame(bytes(size))).endswith(f"got {size} bytes")


def test_connection_fails_on_a_connect_response_with_an_impossible_password_length() -> None:
    data = struct.pack(">iiqi", 0, 10_000, SESSION_ID, 77) + bytes(17)
    assert "passwd" in broken_by(handshaking(), frame(data))


def test_connection_must_be_given_up_when_no_connect_response_comes_in_time() -> None:
    connection = handshaking()
    assert connection.next_deadline() == 3.0
    assert connection.handle_timeout(2.999) is None
    assert connection.handle_timeout(3.0) == "no ConnectResponse in time"


@pytest.mark.rule(2)
@pytest.mark.parametrize("length", [-1, -(2**31), 2**31 - 1, 1001])
def test_connection_fails_on_a_length_that_no_frame_has(length: int) -> None:
    connection = established(max_reply=1000)
    assert f"frame length {length}" in broken_by(connection, struct.pack(">i", length))


# --- replies that are longer than is taken


def long_reply(xid: int, size: int = 5000, err: int = 0) -> bytes:
    return reply(xid, 7, err, GetDataResponse(bytes(size), STAT))


EXISTS_OK = ExistsResponse(STAT)


def test_connection_drops_a_long_reply_and_takes_those_around_it() -> None:
    data = reply(1, 6, record=EXISTS_OK) + long_reply(2) + reply(3, 8, record=EXISTS_OK)
    for cut in range(1, len(data), 97):
        connection = established(max_reply=1000)
        first, second, third = (send(connection) for _ in range(3))
        events = []
        for piece in (data[:cut], data[cut:]):
            events += served(connection, piece)
        assert [type(event) for event in events] == [Replied] * 3
        assert [event.request for event in events] == [first, second, third]
        assert events[1] == Replied(second, 7, 0, TooLong(len(long_reply(2)) - 4))
    assert connection.state is ConnectionState.ESTABLISHED


def test_connection_waits_for_the_header_of_a_long_frame_before_it_judges_it() -> None:
    connection = established(max_reply=1000)
    send(connection)
    data = long_reply(1)
    connection.receive_data(data[:19], 1.0)
    assert connection.next_event(1.0) is NEED_DATA
    connection.receive_data(b"", 1.0)
    assert connection.next_event(1.0) is None
    assert connection.state is ConnectionState.CLOSED


def test_connection_ends_in_the_middle_of_a_reply_that_it_drops() -> None:
    connection = established(max_reply=1000)
    send(connection)
    assert [type(event.response) for event in served(connection, long_reply(1)[:3000])] == [TooLong]
    connection.receive_data(b"", 1.0)
    assert connection.next_event(1.0) is None


def test_connection_takes_the_error_of_a_long_reply() -> None:
    connection = established(max_reply=1000)
    request = send(connection)
    assert served(connection, long_reply(1, err=-101)) == [Replied(request, 7, -101, None)]


@pytest.mark.rule(2, 18)
@pytest.mark.parametrize(
    "data",
    [
        long_reply(2),  # not its turn
        long_reply(Xid.NOTIFICATION),
        long_reply(Xid.PING),
        b"HTTP/1.1 400 Bad Request",
        struct.pack(">i", 2**30 + 1) + long_reply(1)[4:],
        b"\x7f\xff\xff\xff",
    ],
)
def test_connection_fails_on_a_long_frame_that_is_not_the_reply_to_the_oldest_request(data: bytes) -> None:
    connection = established(max_reply=1000)
    send(connection)
    send(connection)
    assert "expected 0 to 1000" in broken_by(connection, data)


@pytest.mark.rule(2)
def test_connection_takes_no_long_frame_for_a_connect_response() -> None:
    assert "frame length 1001" in broken_by(handshaking(max_reply=1000), frame(bytes(1001)))


def test_connection_shows_the_header_of_a_long_reply() -> None:
    frames: list[Frame] = []
    connection = established(max_reply=1000, on_frame=frames.append)
    send(connection)
    served(connection, long_reply(1))
    shown = frames[-1]
    assert (shown.payload, shown.types, shown.opcode) == (long_reply(1)[4:20], (ReplyHeader,), OpCode.EXISTS)


# --- replies


@pytest.mark.rule(18)
def test_connection_matches_replies_in_request_order() -> None:
    connection = established()
    first, second = send(connection, "/a"), send(connection, "/b")
    assert [first.xid, second.xid] == [1, 2]
    assert served(connection, reply(1, 7, ErrorCode.NO_NODE), reply(2, 8, record=ExistsResponse(STAT))) == [
        Replied(first, 7, ErrorCode.NO_NODE, None),
        Replied(second, 8, 0, ExistsResponse(STAT)),
    ]


@pytest.mark.rule(18)
def test_connection_fails_when_a_reply_skips_a_request() -> None:
    connection = established()
    send(connection), send(connection)
    assert broken_by(connection, reply(2)) == "expected xid 1 (exists), got a reply with xid 2"
    assert connection.next_event(0.0) is None


@pytest.mark.rule(18)
def test_connection_fails_on_a_reply_to_nothing() -> None:
    assert broken_by(established(), reply(1)) == "expected no reply, got a reply with xid 1"


@pytest.mark.rule(18)
def test_connection_fails_on_a_reply_that_comes_twice() -> None:
    connection = established()
    send(connection)
    assert len(served(connection, reply(1, err=ErrorCode.NO_NODE))) == 1
    broken_by(connection, reply(1, err=ErrorCode.NO_NODE))


@pytest.mark.rule(19)
def test_connection_numbers_requests_from_1_again_after_2_to_the_31_minus_1() -> None:
    connection = established(xids=XidCounter(2**31 - 2))
    assert [send(connection).xid for _ in range(4)] == [2**31 - 2, 2**31 - 1, 1, 2]
    found, _ = payloads(connection.data_to_send(0.0))
    assert [read_request(payload).xid for payload in found] == [2**31 - 2, 2**31 - 1, 1, 2]
    assert len(served(connection, *(reply(xid, err=-101) for xid in (2**31 - 2, 2**31 - 1, 1, 2)))) == 4


@pytest.mark.rule(20)
@pytest.mark.parametrize("xid", [0, -3, -5, Xid.AUTH, Xid.SET_WATCHES, -77, -(2**31)])
def test_connection_fails_on_a_reserved_xid_that_belongs_to_nothing(xid: int) -> None:
    connection = established()
    send(connection)
    assert f"xid {xid}" in broken_by(connection, reply(xid))


@pytest.mark.rule(20, 21)
def test_connection_tells_pings_auth_replies_and_notifications_by_xid_between_any_replies() -> None:
    connection = established()
    first, second = send(connection), send(connection)
    auth = Request(AUTH, AuthPacket(0, "digest", b"u:p"))
    connection.send_auth(auth, 0.0)
    events = served(
        connection,
        auth_reply(),  # overtakes the replies to what was sent before it
        pong(3),
        reply(1, 4, -101),
        pong(5),
        created("/x"),
        pong(6),
        reply(2, 7, -101),
    )
    assert events == [
        AuthReplied(auth, 0),
        Ponged(3),
        Replied(first, 4, -101, None),
        Ponged(5),
        Notified(WatchedEvent(EventType.NODE_CREATED, KeeperState.SYNC_CONNECTED, "/x", -1)),
        Ponged(6),
        Replied(second, 7, -101, None),
    ]


@pytest.mark.rule(20)
def test_connection_gives_auth_replies_to_auth_packets_in_order() -> None:
    connection = established()
    auths = [Request(AUTH, AuthPacket(0, "digest", name)) for name in (b"a:a", b"b:b")]
    for auth in auths:
        connection.send_auth(auth, 0.0)
    assert served(connection, auth_reply(), auth_reply(-115)) == [AuthReplied(auths[0], 0), AuthReplied(auths[1], -115)]


@pytest.mark.rule(14)
def test_connection_takes_minus_124_on_a_ping_for_an_auth_failure() -> None:
    assert served(established(), pong(0, err=-124)) == [AuthReplied(None, -124)]


def test_connection_fails_when_a_ping_is_answered_with_an_error_of_the_session() -> None:
    assert "error code -112" in broken_by(established(), pong(0, err=ErrorCode.SESSION_EXPIRED))


@pytest.mark.rule(23)
def test_connection_hands_on_error_codes_it_does_not_know() -> None:
    connection = established()
    request = send(connection)
    assert served(connection, reply(1, 9, -9999)) == [Replied(request, 9, -9999, None)]


@pytest.mark.rule(24)
def test_connection_never_reads_a_body_after_an_error() -> None:
    connection = established()
    first, second = send(connection), send(connection)
    events = served(connection, reply(1, 9, -101, trailing=b"\xff\xff\xff\xff"), reply(2, 9, -101))
    assert events == [Replied(first, 9, -101, None), Replied(second, 9, -101, None)]


@pytest.mark.rule(24)
def test_connection_never_takes_trailing_bytes_for_the_next_frame() -> None:
    connection = established()
    first = send(connection)
    second = Request(DELETE, DeleteRequest("/a", -1))
    connection.send(second, 0.0)
    events = served(
        connection,
        reply(1, 3, record=ExistsResponse(STAT), trailing=reply(2, 4)),
        reply(2, 5, trailing=b"more"),
    )
    assert events == [Replied(first, 3, 0, ExistsResponse(STAT)), Replied(second, 5, 0, None)]


@pytest.mark.rule(25)
def test_connection_gives_the_unimplemented_reply_before_the_eof_that_follows() -> None:
    connection = established()
    request = Request(WHO_AM_I)
    connection.send(request, 0.0)
    connection.receive_data(reply(1, -1, ErrorCode.UNIMPLEMENTED), 0.0)
    connection.receive_data(b"", 0.0)
    assert connection.next_event(0.0) == Replied(request, -1, ErrorCode.UNIMPLEMENTED, None)
    assert connection.next_event(0.0) is None
    assert connection.state is CLOSED
    assert connection.next_event(0.0) is None


@pytest.mark.parametrize("size", range(16))
def test_connection_fails_on_a_frame_too_short_for_a_reply_header(size: int) -> None:
    connection = established()
    send(connection)
    assert broken_by(connection, frame(bytes(size))) == f"expected a ReplyHeader of 16 bytes, got a frame of {size}"


def test_connection_names_the_field_that_does_not_fit() -> None:
    connection = established()
    connection.send(Request(GET_DATA, GetDataRequest("/a", False)), 0.0)
    body = struct.pack(">i", 5) + b"abc"
    assert "GetDataResponse.data" in broken_by(connection, frame(struct.pack(">iqi", 1, 1, 0) + body))


def test_connection_fails_on_a_notification_without_a_path() -> None:
    assert "WatcherEvent.path" in broken_by(established(), notification(EventType.NODE_CREATED, None))


def test_connection_hands_on_event_types_and_states_it_does_not_know() -> None:
    assert served(established(), notification(99, "/a", 5, state=42)) == [Notified(WatchedEvent(99, 42, "/a", 5))]


@pytest.mark.parametrize("row", BY_OPCODE.values(), ids=lambda row: row.name)
@given(junk=st.binary(max_size=80))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_connection_takes_any_body_for_a_reply_or_for_a_remote_protocol_error(row: Operation, junk: bytes) -> None:
    connection = established()
    request = Request(row)
    # As though it had been sent: what it asked for does not matter for reading its reply.
    request.xid = 1
    connection.pending.append(request)
    connection.receive_data(frame(struct.pack(">iqi", 1, 5, 0) + junk), 0.0)
    try:
        event = connection.next_event(0.0)
    except RemoteProtocolError:
        assert connection.state is FAILED
        assert list(connection.pending) == [request], "it has had no reply, and fails with the connection"
    else:
        assert type(event) is Replied
        assert event.request is request


@given(data=st.binary(max_size=200), length=st.booleans(), in_handshake=st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_connection_takes_any_bytes_for_events_or_for_a_remote_protocol_error(
    data: bytes, length: bool, in_handshake: bool
) -> None:
    connection = handshaking() if in_handshake else established()
    connection.receive_data(frame(data) if length else data, 0.0)
    for _ in range(100):
        try:
            event = connection.next_event(0.0)
        except RemoteProtocolError:
            assert connection.state is FAILED
            assert connection.next_event(0.0) is None
            return
        if event is NEED_DATA or event is None:
            return
    raise AssertionError("200 bytes hold no 100 frames of 4 bytes and more")


# --- requests


@pytest.mark.rule(35)
def test_connection_writes_frames_in_the_order_of_send() -> None:
    connection = established()
    for path in ("/c", "/a", "/b"):
        send(connection, path)
    data = connection.data_to_send(0.0)
    found, rest = payloads(data)
    assert rest == b""
    assert [read_request(payload).record.path for payload in found] == ["/c", "/a", "/b"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(SET_DATA, SetDataRequest("/a", bytes(1000), -1)), "1000 at most"),
        (Request(SET_DATA, SetDataRequest("/a", "text", -1)), "SetDataRequest.data"),  # type: ignore[arg-type]
        (Request(SET_DATA, DeleteRequest("/a", -1)), "SetDataRequest, not DeleteRequest"),
        (Request(CREATE, CreateRequest("/a", b"", (), 0)), "ACL is empty"),
        (Request(WHO_AM_I, SyncRequest("/")), "no record"),
    ],
)
def test_connection_refuses_a_bad_request_before_a_byte_is_queued(request_: Request, message: str) -> None:
    connection = established(max_frame=1000)
    with pytest.raises(LocalProtocolError, match=message):
        connection.send(request_, 0.0)
    assert connection.data_to_send(0.0) == b""
    assert not connection.pending
    assert send(connection).xid == 1, "no number was used up"


def test_connection_sends_the_longest_request_there_may_be() -> None:
    connection = established(max_frame=1000)
    connection.send(Request(SET_DATA, SetDataRequest("/a", bytes(1000 - 8 - 6 - 4 - 4), -1)), 0.0)
    assert len(connection.data_to_send(0.0)) == 1004


@pytest.mark.rule(46)
def test_connection_takes_replies_but_no_requests_after_close_session() -> None:
    connection = established()
    before, close = send(connection), Request(CLOSE_SESSION)
    connection.close(close, 0.0)
    assert connection.state is CLOSING
    with pytest.raises(LocalProtocolError, match="closing"):
        send(connection)
    with pytest.raises(LocalProtocolError, match="closing"):
        connection.send_auth(Request(AUTH, AuthPacket(0, "digest", b"u:p")), 0.0)
    found, _ = payloads(connection.data_to_send(0.0))
    assert [read_request(payload).opcode for payload in found] == [OpCode.EXISTS, OpCode.CLOSE_SESSION]
    assert served(connection, reply(1, 3, -101), reply(2, 4)) == [
        Replied(before, 3, -101, None),
        Replied(close, 4, 0, None),
    ]


# --- the loss


@pytest.mark.rule(30)
def test_connection_tells_what_left_in_full_partly_and_not_at_all() -> None:
    connection = established()
    requests = [send(connection, f"/{index}") for index in range(4)]
    size = requests[0].end - requests[0].start
    connection.data_to_send(0.0)
    late = send(connection, "/late")  # in the outbox still
    first, second, third, fourth = requests
    doubtful, unwritten = connection.lost(unsent=2 * size + 1)
    assert doubtful == [(first, "in full"), (second, "partly")]
    assert unwritten == [third, fourth, late]
    assert connection.state is CLOSED
    assert connection.lost() == ([], [])


@pytest.mark.rule(30)
@pytest.mark.parametrize("unsent", range(0, 60))
def test_connection_never_calls_in_full_what_was_cut_at_any_byte(unsent: int) -> None:
    connection = established()
    first, second = send(connection), send(connection)
    data = connection.data_to_send(0.0)
    doubtful, unwritten = connection.lost(unsent=min(unsent, len(data)))
    whole, rest = payloads(data[: max(len(data) - unsent, 0)])
    assert [written for _, written in doubtful] == ["in full"] * len(whole) + ["partly"] * bool(rest)
    assert [request for request, _ in doubtful] + unwritten == [first, second]


@pytest.mark.rule(30)
def test_connection_counts_frames_of_its_own_among_what_was_written() -> None:
    connection = established()
    connection.send_auth(Request(AUTH, AuthPacket(0, "digest", b"u:p")), 0.0)
    connection.handle_timeout(4.0)
    request = send(connection)
    data = connection.data_to_send(4.0)
    assert len(payloads(data)[0]) == 3
    assert connection.lost(unsent=request.end - request.start) == ([], [request])


def test_connection_answers_a_request_no_more_when_it_is_lost() -> None:
    connection = established()
    send(connection)
    connection.lost()
    connection.receive_data(reply(1, err=-101), 0.0)
    assert connection.next_event(0.0) is None


# --- time


@pytest.mark.rule(36)
def test_connection_pings_a_third_of_the_timeout_after_the_last_write() -> None:
    connection = established()
    send(connection)
    connection.data_to_send(2.0)
    connection.receive_data(pong(), 5.0)
    assert connection.next_deadline() == pytest.approx(2.0 + 10 / 3)
    assert connection.handle_timeout(5.33) is None
    assert connection.data_to_send(5.33) == b""
    assert connection.handle_timeout(5.34) is None
    ((ping,), rest) = payloads(connection.data_to_send(5.34))
    assert (ping, rest) == (struct.pack(">ii", Xid.PING, OpCode.PING), b"")
    assert connection.next_deadline() == pytest.approx(5.34 + 10 / 3)


@pytest.mark.rule(36)
def test_connection_queues_one_ping_only_while_nobody_writes() -> None:
    connection = established()
    for now in (4.0, 4.1, 4.2):
        assert connection.handle_timeout(now) is None
    deadline = connection.next_deadline()
    assert deadline is not None
    assert deadline > 4.2, "a deadline that has passed already makes a busy loop"
    assert len(payloads(connection.data_to_send(4.3))[0]) == 1


@pytest.mark.rule(37)
def test_connection_must_be_given_up_after_two_thirds_of_the_timeout_without_a_byte() -> None:
    connection = established()
    connection.receive_data(b"\x00", 1.0)  # any byte counts
    connection.data_to_send(1.0)
    connection.handle_timeout(6.0)
    connection.data_to_send(6.0)
    assert connection.next_deadline() == pytest.approx(1.0 + 20 / 3)
    assert connection.handle_timeout(7.66) is None
    assert connection.handle_timeout(7.67) == "no byte from the server for 6.67 s, 2/3 of the session timeout"


@pytest.mark.rule(37, 40)
def test_connection_must_be_given_up_after_four_thirds_of_the_timeout_without_a_whole_frame() -> None:
    connection = established()
    connection.receive_data(b"\x00", 6.0)  # the first bytes of a frame that trickles in
    connection.receive_data(b"\x00", 12.0)
    assert connection.handle_timeout(13.3) is None
    connection.data_to_send(13.3)
    assert connection.next_deadline() == pytest.approx(40 / 3)
    assert connection.handle_timeout(13.34) == "no whole frame from the server for 13.3 s, 4/3 of the session timeout"


@pytest.mark.rule(16)
def test_connection_must_be_given_up_when_an_auth_packet_is_not_answered_though_pings_are() -> None:
    connection = established()
    connection.send_auth(Request(AUTH, AuthPacket(0, "digest", b"a")), 1.0)
    connection.send_auth(Request(AUTH, AuthPacket(0, "digest", b"b")), 5.0)
    connection.receive_data(reply(Xid.AUTH, 0), 6.0)
    assert isinstance(connection.next_event(6.0), AuthReplied)
    for now in (8.0, 11.0):
        connection.data_to_send(now)
        assert connection.handle_timeout(now) is None
        connection.receive_data(reply(Xid.PING), now)
        assert isinstance(connection.next_event(now), Ponged)
    assert connection.handle_timeout(11.5) is None, "but a ping is due"
    connection.data_to_send(11.5)
    assert connection.next_deadline() == pytest.approx(5 + 20 / 3)
    assert connection.handle_timeout(11.67) == "no reply to auth for 6.67 s, 2/3 of the session timeout"


@pytest.mark.rule(37)
def test_connection_does_not_ping_while_closing_and_still_gives_up_a_silent_server() -> None:
    connection = established()
    connection.close(Request(CLOSE_SESSION), 0.0)
    connection.data_to_send(0.0)
    assert connection.next_deadline() == pytest.approx(20 / 3)
    assert connection.handle_timeout(6.0) is None
    assert connection.data_to_send(6.0) == b""
    assert connection.handle_timeout(7.0) is not None


def test_connection_has_no_deadline_after_its_end() -> None:
    connection = established()
    connection.lost()
    assert connection.next_deadline() is None
    assert connection.handle_timeout(100.0) is None


@pytest.mark.rule(40)
def test_connection_notes_when_the_last_valid_frame_came() -> None:
    connection = handshaking()
    assert connection.last_frame is None
    for now, data in [(1.0, connect_response()), (2.0, pong()), (3.0, created("/a"))]:
        served(connection, data, now=now)
        assert connection.last_frame == now
    send(connection)
    served(connection, reply(1, err=-101), now=4.0)
    assert connection.last_frame == 4.0
    connection.receive_data(reply(7), 5.0)
    with pytest.raises(RemoteProtocolError):
        connection.next_event(5.0)
    assert connection.last_frame == 4.0


# --- what is seen of it


def test_connection_shows_every_frame_with_its_records() -> None:
    frames: list[Frame] = []
    connection = established(on_frame=frames.append)
    request = Request(SYNC, SyncRequest("/"))
    connection.send(request, 1.0)
    connection.send_auth(Request(AUTH, AuthPacket(0, "digest", b"u:p")), 2.0)
    connection.handle_timeout(4.0)
    connection.send(Request(WHO_AM_I), 4.0)
    written = connection.data_to_send(4.0)
    read = [reply(1, 1, record=SyncResponse("/")), auth_reply(), pong(), created("/x"), reply(2, 1, -6)]
    served(connection, *read, now=5.0)
    connection.close(Request(CLOSE_SESSION), 6.0)
    shown = [(found.direction, found.types, found.opcode, found.now) for found in frames]
    sent, received = Direction.SENT, Direction.RECEIVED
    assert shown == [
        (sent, (ConnectRequest,), None, 0.0),
        (received, (ConnectResponse,), None, 0.0),
        (sent, (RequestHeader, SyncRequest), OpCode.SYNC, 1.0),
        (sent, (RequestHeader, AuthPacket), OpCode.AUTH, 2.0),
        (sent, (RequestHeader,), OpCode.PING, 4.0),
        (sent, (RequestHeader,), OpCode.WHO_AM_I, 4.0),
        (received, (ReplyHeader, SyncResponse), OpCode.SYNC, 5.0),
        (received, (ReplyHeader,), OpCode.AUTH, 5.0),
        (received, (ReplyHeader,), OpCode.PING, 5.0),
        (received, (ReplyHeader, WatcherEvent), None, 5.0),
        (received, (ReplyHeader,), OpCode.WHO_AM_I, 5.0),
        (sent, (RequestHeader,), OpCode.CLOSE_SESSION, 6.0),
    ]
    assert [found.payload for found in frames[2:6]] == payloads(written)[0]
    assert b"".join(frame(found.payload) for found in frames[6:11]) == b"".join(read)


@pytest.mark.parametrize(
    ("connection", "data", "types"),
    [
        (handshaking, reply(0, 0, -119), (ReplyHeader,)),
        (handshaking, frame(bytes(12)), ()),
        (handshaking, frame(struct.pack(">iiqi", 0, 1, 1, 77) + bytes(17)), ()),
        (established, reply(5), (ReplyHeader,)),
        (established, notification(1, None), (ReplyHeader,)),
        (established, frame(bytes(15)), ()),
    ],
)
def test_connection_shows_the_frame_that_broke_the_protocol(connection: Any, data: bytes, types: Any) -> None:
    frames: list[Frame] = []
    broken_by(connection(on_frame=frames.append), data)
    assert frames[-1] == Frame(Direction.RECEIVED, data[4:], types, None, 0.0)


# --- the table

#: How to bring about each transition: from a fresh connection to the state, then what happens.
_INTO: dict[ConnectionState, Any] = {HANDSHAKING: handshaking, ESTABLISHED: established}


def _closing() -> Connection:
    connection = established()
    connection.close(Request(CLOSE_SESSION), 0.0)
    return connection


_INTO[CLOSING] = _closing
_HAPPENS: dict[str, Any] = {
    "ConnectResponse": lambda connection: served(connection, connect_response()),
    "SessionRefused": lambda connection: served(connection, refusal()),
    "closeSession": lambda connection: connection.close(Request(CLOSE_SESSION), 0.0),
    "lost": lambda connection: connection.lost(),
    "RemoteProtocolError": lambda connection: broken_by(connection, struct.pack(">i", -1)),
}


@pytest.mark.parametrize(
    ("state", "happened"), CONNECTION_TRANSITIONS, ids=lambda value: getattr(value, "value", value)
)
def test_connection_goes_every_way_of_its_table(state: ConnectionState, happened: str) -> None:
    connection = _INTO[state]()
    assert connection.state is state
    _HAPPENS[happened](connection)
    assert connection.state is CONNECTION_TRANSITIONS[state, happened]


@pytest.mark.parametrize("state", [CLOSED, FAILED], ids=lambda state: state.value)
def test_connection_leaves_a_terminal_state_by_nothing(state: ConnectionState) -> None:
    assert not any(before is state for before, _ in CONNECTION_TRANSITIONS)
    connection = established()
    _HAPPENS["lost" if state is CLOSED else "RemoteProtocolError"](connection)
    for data in (connect_response(), refusal(), struct.pack(">i", -1), reply(1), b""):
        assert served(connection, data) == []
    connection.lost()
    assert connection.handle_timeout(1e9) is None
    for command in (send, _HAPPENS["closeSession"]):
        with pytest.raises(LocalProtocolError, match=state.value):
            command(connection)
    assert connection.state is state


def test_connection_keeps_a_large_reply_that_arrives_in_pieces() -> None:
    connection = established()
    request = Request(GET_DATA, GetDataRequest("/a", False))
    connection.send(request, 0.0)
    data = reply(1, 2, record=GetDataResponse(b"x" * 300_000, STAT))
    connection.receive_data(data[:100], 0.0)
    assert connection.next_event(0.0) is NEED_DATA
    assert served(connection, data[100:]) == [Replied(request, 2, 0, GetDataResponse(b"x" * 300_000, STAT))]
    assert encode(GetDataResponse(b"x", STAT)) in reply(1, 2, record=GetDataResponse(b"x", STAT))


@pytest.mark.rule(18, 25)
def test_refusal_of_an_unknown_opcode_may_overtake_earlier_replies() -> None:
    """Seen on 3.8.0: the thread that reads it answers, while the request before it is still being worked on."""
    connection = established()
    before, unknown, after = (Request(GET_DATA, GetDataRequest("/a", False)) for _ in range(3))
    for request in (before, unknown, after):
        connection.send(request, 0.0)
    refusal = reply(2, -1, ErrorCode.UNIMPLEMENTED)
    assert served(connection, refusal) == [Replied(unknown, -1, ErrorCode.UNIMPLEMENTED, None)]
    answer = GetDataResponse(b"x", STAT)
    assert served(connection, reply(1, 5, record=answer)) == [Replied(before, 5, 0, answer)]
    assert list(connection.pending) == [after]


@pytest.mark.rule(18)
@pytest.mark.parametrize(
    ("xid", "zxid", "err"),
    [(2, 7, ErrorCode.UNIMPLEMENTED), (2, -1, ErrorCode.NO_NODE), (9, -1, ErrorCode.UNIMPLEMENTED)],
)
def test_no_other_reply_may_overtake(xid: int, zxid: int, err: int) -> None:
    connection = established()
    for _ in range(2):
        connection.send(Request(GET_DATA, GetDataRequest("/a", False)), 0.0)
    assert f"expected xid 1 (getData), got a reply with xid {xid}" in broken_by(connection, reply(xid, zxid, err))


def test_connect_response_without_a_session_id_gives_no_session() -> None:
    connection = handshaking()
    assert "ConnectResponse.session_id at offset 8" in broken_by(connection, connect_response(session_id=0))


@pytest.mark.rule(10)
@pytest.mark.parametrize("time_out", [0, 10_000])
def test_connect_response_of_another_protocol_version_gives_no_session(time_out: int) -> None:
    """ClickHouse Keeper without a leader answers 42, and hangs up."""
    frames: list[Frame] = []
    connection = handshaking(on_frame=frames.append)
    response = frame(encode(ConnectResponse(42, time_out, SESSION_ID, PASSWORD, False)))
    assert "ConnectResponse.protocol_version at offset 0: expected 0, got 42" in broken_by(connection, response)
    assert [shown.types for shown in frames[1:]] == [(ConnectResponse,)], "it is shown once"
