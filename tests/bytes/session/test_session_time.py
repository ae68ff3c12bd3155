"""A session's deadlines: pings, silence, and expiry."""

from __future__ import annotations

import pytest

from tests.support.fake.talks import DATA_OK, DISCONNECTED, EXPIRED, add_auth, connected, get_data, kinds, sync
from tests.support.fake.wire import (
    PASSWORD,
    SESSION_ID,
    Sent,
    Talk,
    auth_reply,
    connect_response,
    failures,
    fired,
    pong,
    reply,
    states,
)
from zkwire.codes import EventType, OpCode
from zkwire.errors import ConnectionLossError, SessionExpiredError
from zkwire.session.events import Disconnected, Failed, Fired, SessionInfo, StateChanged
from zkwire.session.session import Session

# --- time


@pytest.mark.rule(36)
def test_a_ping_goes_out_a_third_of_the_timeout_after_the_last_write() -> None:
    talk = connected()
    assert talk.at(103.3) == []
    assert talk.sent() == []
    talk.at(103.4)
    assert talk.sent() == [Sent(-2, OpCode.PING, None)]


@pytest.mark.rule(37)
def test_a_silent_server_is_given_up_after_two_thirds_of_the_timeout() -> None:
    talk = connected()
    talk.at(103.4)
    talk.sent()
    (event,) = talk.at(106.7)
    assert isinstance(event, Disconnected)
    assert talk.at(107.0) == [], "once is enough"
    assert states(talk.lose(event.reason)) == [DISCONNECTED]


@pytest.mark.rule(40)
def test_the_session_expires_4_thirds_of_the_timeout_after_the_last_valid_frame() -> None:
    talk = connected()
    get_data(talk, "/a", "watcher")
    talk.serve(reply(1, record=DATA_OK))
    talk.now = 102.0
    talk.serve(pong())
    talk.now = 105.0
    talk.lose()
    waiting = sync(talk)
    assert talk.session.next_deadline() == pytest.approx(102 + 40 / 3)
    assert talk.at(115.3) == []
    events = talk.at(115.4)
    assert kinds(events) == [Failed, StateChanged, Fired]
    ((request, error),) = failures(events)
    assert request is waiting
    assert isinstance(error, SessionExpiredError)
    assert events[1] == StateChanged(EXPIRED, "no valid frame for 13.4 s, 4/3 of the session timeout")
    assert fired(events) == [(["watcher"], EventType.NONE, "")]
    assert events[2].event.state is EXPIRED
    assert talk.session.next_deadline() is None


@pytest.mark.rule(40)
def test_servers_that_accept_tcp_and_never_answer_do_not_postpone_expiry() -> None:
    talk = connected()
    talk.lose()
    for now in (103.0, 106.0, 109.0):
        talk.now = now
        talk.dial(within=2.0)
        talk.session.receive_data(b"\x00\x00", now)  # bytes, but no valid frame
        assert kinds(talk.at(now + 2.0)) == [Disconnected]
        talk.lose()
    talk.now = 112.0
    talk.dial(within=2.0)
    assert talk.session.next_deadline() == pytest.approx(100 + 40 / 3)


@pytest.mark.rule(6, 40)
def test_expiry_counts_by_the_negotiated_timeout() -> None:
    talk = Talk(60.0)
    talk.establish(connect_response(time_out=3_000))
    talk.lose()
    assert talk.session.next_deadline() == pytest.approx(104.0)
    assert states(talk.at(104.1)) == [EXPIRED]


@pytest.mark.rule(40)
def test_the_session_expires_while_a_connection_is_handshaking() -> None:
    talk = connected()
    talk.lose()
    talk.now = 113.0
    talk.dial(within=3.0)
    events = talk.at(113.4)
    assert kinds(events) == [StateChanged, Disconnected]
    assert talk.serve(connect_response()) == []
    assert talk.lose() == []
    assert talk.session.state is EXPIRED


@pytest.mark.rule(40)
def test_the_session_does_not_expire_while_authentication_is_answered() -> None:
    talk = connected(auth=[])
    add_auth(talk, b"a")
    talk.serve(auth_reply())
    talk.lose()
    talk.now = 112.0
    talk.establish()
    assert talk.session.next_deadline() == 115.0, "what the handshake has"
    assert talk.at(114.0) == []


@pytest.mark.rule(40)
def test_expiry_counts_at_time_zero_too() -> None:
    talk = Talk(now=0.0)
    talk.establish()
    talk.lose()
    assert talk.at(14.0)[0] == StateChanged(EXPIRED, "no valid frame for 14 s, 4/3 of the session timeout")


@pytest.mark.rule(30)
@pytest.mark.parametrize("read_only", [False, True], ids=["never any server", "only read-only ones"])
def test_requests_that_wait_for_a_first_session_fail_as_not_sent_after_4_thirds(read_only: bool) -> None:
    talk = Talk(read_only=True)
    if read_only:
        talk.establish(connect_response(read_only=True))
        talk.lose()
        talk.now = 110.0
    began = talk.now
    first = sync(talk)
    talk.now += 5.0
    second = sync(talk)
    assert talk.session.next_deadline() == pytest.approx(began + 40 / 3)
    assert talk.at(began + 13.3) == []
    events = talk.at(began + 13.4)
    assert [request for request, _ in failures(events)] == [first, second]
    for _, error in failures(events):
        assert isinstance(error, ConnectionLossError)
        assert error.written == "not sent"
    assert talk.session.next_deadline() is None
    third = sync(talk)
    talk.establish()
    assert talk.sent()[-1].record == third.record


def test_what_a_read_only_server_never_got_does_not_wait_for_ever() -> None:
    talk = Talk(read_only=True)
    talk.establish(connect_response(read_only=True))
    kept = sync(talk)
    talk.lose()
    assert [request for request, _ in failures(talk.at(113.4))] == [kept]


def test_a_session_resumed_without_an_answer_does_not_expire_by_itself() -> None:
    talk = Talk(session=SessionInfo(SESSION_ID, PASSWORD))
    assert talk.session.next_deadline() is None
    assert talk.at(1e6) == []


# --- the table


def test_session_tells_what_its_connection_has_an_answer_to_and_nothing_without_one() -> None:
    session = Session(10.0)
    assert session.last_answered(9.0) is None
    session.tcp_connected(2.0, 5.0)
    assert session.last_answered(9.0) == 2.0
    session.tcp_lost(3.0, "cut")
    assert session.last_answered(9.0) is None
