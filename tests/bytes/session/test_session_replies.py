"""Replies that a session hands on, their xids and zxids, and replies that are longer than is taken."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake.talks import (
    AUTH_FAILED,
    CLOSED,
    CONNECTED,
    DATA_OK,
    DISCONNECTED,
    ScriptedSasl,
    add_auth,
    connected,
    exists,
    get_data,
    kinds,
    sasl_reply,
    sync,
)
from tests.support.fake.wire import (
    NO_NODE,
    STAT,
    Sent,
    Talk,
    auth_reply,
    data_changed,
    failures,
    notification,
    pong,
    reply,
    states,
)
from zkwire.codes import ErrorCode, EventType, OpCode, WatcherType
from zkwire.errors import ConnectionLossError, ReplyTooLongError
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.operations import BY_OPCODE, CHECK, WHO_AM_I, Operation
from zkwire.records import (
    ConnectRequest,
    ConnectResponse,
    GetDataRequest,
    GetDataResponse,
    RemoveWatchesRequest,
    ReplyHeader,
    RequestHeader,
    SyncResponse,
    WatcherEvent,
)
from zkwire.session.events import Disconnected, Failed, Fired, Replied, StateChanged

# --- replies


@pytest.mark.rule(18)
def test_replies_are_handed_on_in_request_order() -> None:
    talk = connected()
    first, second = sync(talk, "/1"), exists(talk, "/2")
    events = talk.serve(reply(1, 5, record=SyncResponse("/1")), reply(2, 6, NO_NODE))
    assert events == [Replied(first, 5, 0, SyncResponse("/1")), Replied(second, 6, NO_NODE, None)]


@pytest.mark.rule(18, 29)
def test_a_wrong_xid_costs_the_connection_fails_what_was_written_and_the_session_goes_on() -> None:
    talk = connected()
    first, second = sync(talk), sync(talk)
    talk.sent()
    (event,) = talk.serve(reply(2, record=SyncResponse("/a")))
    assert isinstance(event, Disconnected)
    assert event.reason.startswith("RemoteProtocolError: expected xid 1 (sync)")
    assert talk.serve(reply(1, record=SyncResponse("/a"))) == [], "nothing more is read from it"
    events = talk.lose(event.reason)
    assert [request for request, _ in failures(events)] == [first, second]
    assert all(isinstance(error, ConnectionLossError) and error.cause == event.reason for _, error in failures(events))
    assert states(events) == [DISCONNECTED]
    assert states(talk.establish()) == [CONNECTED]


@pytest.mark.rule(19)
def test_xids_go_on_over_connections() -> None:
    talk = connected()
    assert sync(talk).xid == 1
    talk.sent()
    talk.lose()
    talk.establish()
    assert sync(talk).xid == 2


@pytest.mark.rule(21)
def test_pings_may_come_anywhere() -> None:
    talk = connected()
    sync(talk)
    assert kinds(talk.serve(pong(3), reply(1, 5, record=SyncResponse("/a")), pong(4))) == [Replied]


@pytest.mark.rule(22, 56)
def test_several_set_watches_on_their_way_have_numbers_of_their_own() -> None:
    talk = connected(max_frame=200)
    for index in range(5):
        get_data(talk, f"/{index}" + "x" * 60, "watcher")
        talk.serve(reply(index + 1, 5, record=DATA_OK))
    talk.lose()
    sync(talk)
    talk.establish()
    sent = [found for found in talk.sent() if found.opcode is not OpCode.GET_DATA]
    assert [(found.xid, found.opcode) for found in sent] == [
        (6, OpCode.SET_WATCHES),
        (7, OpCode.SET_WATCHES),
        (8, OpCode.SET_WATCHES),
        (9, OpCode.SYNC),
    ]
    assert all(8 + len(encode(found.record)) <= 200 for found in sent), "as long as a server takes"
    assert talk.serve(reply(6, 6), reply(7, 6), reply(8, 6)) == []


@pytest.mark.rule(23)
def test_an_unknown_error_code_is_handed_on() -> None:
    talk = connected()
    request = sync(talk)
    assert talk.serve(reply(1, 5, -9999)) == [Replied(request, 5, -9999, None)]


@pytest.mark.rule(25)
def test_unimplemented_and_eof_give_the_reply_and_then_loss_for_the_rest() -> None:
    talk = connected()
    unknown, after = talk.request(WHO_AM_I), sync(talk)
    talk.sent()
    talk.session.receive_data(reply(1, -1, ErrorCode.UNIMPLEMENTED), talk.now)
    events = talk.eof()
    assert events == [
        Replied(unknown, -1, ErrorCode.UNIMPLEMENTED, None),
        Disconnected("the server closed the connection"),
    ]
    assert [request for request, _ in failures(talk.lose())] == [after]
    assert talk.session.last_zxid == 0


@pytest.mark.rule(26)
def test_last_zxid_moves_by_replies_to_requests_and_by_nothing_else() -> None:
    talk = connected()
    add_auth(talk, b"a")
    for index in range(4):
        sync(talk, f"/{index}")
    talk.serve(notification(EventType.NODE_CREATED, "/x", zxid=50), pong(51), auth_reply())
    assert talk.session.last_zxid == 0
    talk.serve(reply(1, 7, NO_NODE))
    assert talk.session.last_zxid == 7, "failed requests consume a zxid too"
    talk.serve(reply(2, 0, NO_NODE), reply(3, -1, NO_NODE), reply(4, 6, NO_NODE))
    assert talk.session.last_zxid == 7


@pytest.mark.rule(27)
def test_last_zxid_is_not_moved_until_the_events_before_the_reply_are_given_out() -> None:
    talk = connected()
    get_data(talk, "/a", "watcher")
    talk.serve(reply(1, 5, record=DATA_OK))
    get_data(talk, "/a")
    talk.session.receive_data(data_changed("/a") + reply(2, 6, record=DATA_OK), talk.now)
    assert isinstance(talk.session.next_event(talk.now), Fired)
    assert talk.session.last_zxid == 5
    assert isinstance(talk.session.next_event(talk.now), Replied)
    assert talk.session.last_zxid == 6


@pytest.mark.rule(27, 56)
def test_last_zxid_is_not_moved_before_every_set_watches_is_answered() -> None:
    talk = connected(max_frame=100)
    for index, path in enumerate(("/a" * 20, "/b" * 20)):
        get_data(talk, path, path)
        talk.serve(reply(index + 1, 5, record=DATA_OK))
    talk.lose()
    talk.establish()
    talk.serve(reply(3, 9))
    assert talk.session.last_zxid == 5, "what happened to the second path until 9 is not known yet"
    talk.lose()
    talk.establish()
    assert [found.record.relative_zxid for found in talk.sent()[-2:]] == [5, 5]
    talk.serve(reply(5, 9), reply(6, 10))
    assert talk.session.last_zxid == 10


def test_session_shows_every_frame_both_ways_with_its_records() -> None:
    talk = connected(auth=[])
    get_data(talk, "/a", "watcher")
    talk.serve(reply(1, 5, record=DATA_OK), data_changed("/a"))
    assert [found.types for found in talk.frames] == [
        (ConnectRequest,),
        (ConnectResponse,),
        (RequestHeader, GetDataRequest),
        (ReplyHeader, GetDataResponse),
        (ReplyHeader, WatcherEvent),
    ]
    assert [found.opcode for found in talk.frames] == [None, None, OpCode.GET_DATA, OpCode.GET_DATA, None]


@pytest.mark.parametrize("row", [row for row in BY_OPCODE.values() if row is not CHECK], ids=lambda row: row.name)
@given(junk=st.binary(max_size=60))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_reply_body_gives_a_reply_or_costs_the_connection(row: Operation, junk: bytes) -> None:
    talk = connected()
    request = sync(talk)
    talk.sent()
    request.operation = row  # its reply is read as this one's
    events = talk.serve(frame(encode(ReplyHeader(1, 5, 0)) + junk))
    assert kinds(events) in ([Replied], [Disconnected])
    if kinds(events) == [Disconnected]:
        assert events[0].reason.startswith("RemoteProtocolError: ")
        assert talk.session.state is CONNECTED
        assert [failed for failed, _ in failures(talk.lose())] == [request]


@given(
    junk=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.binary(max_size=60).map(frame),
            st.tuples(st.sampled_from([-1, -2, -4, -8, 0, 1, 2]), st.sampled_from([0, -101, -124]), st.binary()).map(
                lambda made: frame(encode(ReplyHeader(made[0], 9, made[1])) + made[2])
            ),
        ),
        max_size=4,
    ),
    sasl=st.booleans(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_at_any_time_give_events_and_never_an_exception(junk: list[bytes], sasl: bool) -> None:
    talk = Talk(sasl=ScriptedSasl() if sasl else None, auth=[("digest", b"a:a")])
    get_data(talk, "/a", "watcher")
    talk.establish()
    if not sasl:
        talk.serve(auth_reply())
    talk.serve(*junk)
    talk.lose()
    talk.session.disarm("/a", "watcher", talk.now)
    talk.session.close(talk.now)
    talk.events()
    assert talk.session.state in (CLOSED, AUTH_FAILED)


# --- replies that are longer than is taken


def long_data(xid: int, zxid: int = 7) -> bytes:
    return reply(xid, zxid, 0, GetDataResponse(bytes(5000), STAT))


def test_long_reply_fails_its_request_and_leaves_the_connection_and_the_others_alone() -> None:
    talk = connected(max_reply=1000)
    long, other = get_data(talk, "/long"), sync(talk)
    events = talk.serve(long_data(1), reply(2, 8, record=SyncResponse("/a")))
    assert kinds(events) == [Failed, Replied]
    ((request, error),) = failures(events)
    assert request is long
    assert isinstance(error, ReplyTooLongError)
    assert (error.path, error.operation, error.length, error.limit) == ("/long", "getData", len(long_data(1)) - 4, 1000)
    assert str(error).startswith("getData /long: expected a reply of at most 1000 bytes, got one of 5088, which was")
    assert events[1].request is other
    assert talk.session.state is CONNECTED
    assert talk.session.last_zxid == 8
    get_data(talk, "/long")
    assert kinds(talk.serve(long_data(3))) == [Failed]


def test_watch_of_a_request_whose_reply_is_too_long_is_taken_from_the_server() -> None:
    talk = connected(max_reply=1000)
    get_data(talk, "/long", "watcher")
    talk.sent()
    assert kinds(talk.serve(long_data(1))) == [Failed]
    assert talk.sent() == [Sent(2, OpCode.REMOVE_WATCHES, RemoveWatchesRequest("/long", WatcherType.DATA))]
    assert talk.serve(data_changed("/long")) == [], "an event that crosses it on the wire is nobody's"


def test_long_reply_to_a_request_that_was_given_up_harms_nothing() -> None:
    talk = connected(max_reply=1000)
    request = get_data(talk)
    talk.sent()
    talk.session.cancel(request)
    assert kinds(talk.serve(long_data(1))) == [Failed]
    assert kinds(talk.lose()) == [StateChanged]


def test_long_sasl_token_ends_the_attempt() -> None:
    talk = Talk(sasl=ScriptedSasl(), max_reply=1000)
    talk.establish()
    (event,) = talk.serve(sasl_reply(1, bytes(2000)))
    assert event == Disconnected("RemoteProtocolError: the reply to sasl has 2020 bytes, max_reply is 1000")
