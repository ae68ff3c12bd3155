"""One session: the handshake on each connection."""

from __future__ import annotations

import pytest

from tests.support.fake.talks import (
    CONNECTED,
    DISCONNECTED,
    EXPIRED,
    READ_ONLY,
    ScriptedSasl,
    add_auth,
    connected,
    kinds,
    sync,
)
from tests.support.fake.wire import (
    PASSWORD,
    SESSION_ID,
    Sent,
    Talk,
    connect_response,
    failures,
    refusal,
    replies,
    reply,
    states,
)
from zkwire.codes import ErrorCode, OpCode
from zkwire.errors import SessionExpiredError
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import ConnectRequest, ConnectResponse, SyncRequest, SyncResponse
from zkwire.session.events import NEED_DATA, Disconnected, Failed, SessionInfo, StateChanged

# --- the handshake


@pytest.mark.rule(4)
@pytest.mark.parametrize("read_only", [False, True])
def test_connect_request_always_carries_the_read_only_byte(read_only: bool) -> None:
    talk = Talk(read_only=read_only)
    assert talk.dial() == ConnectRequest(0, 0, 10_000, 0, bytes(16), read_only)
    talk.lose()
    talk.session.tcp_connected(talk.now, talk.now + 1)
    assert len(talk.session.data_to_send(talk.now)) == 49


@pytest.mark.rule(3)
@pytest.mark.parametrize("read_only", [None, False])
def test_session_is_connected_after_connect_responses_of_36_and_37_bytes(read_only: bool | None) -> None:
    talk = Talk()
    events = talk.establish(connect_response(read_only=read_only))
    assert events == [StateChanged(CONNECTED, "")]
    assert talk.session.info == SessionInfo(SESSION_ID, PASSWORD)


@pytest.mark.rule(6, 36, 37)
def test_session_adopts_the_negotiated_timeout_for_its_deadlines() -> None:
    talk = Talk(60.0)
    talk.establish(connect_response(time_out=40_000))
    assert talk.session.session_timeout == 40.0
    assert talk.session.next_deadline() == pytest.approx(100 + 40 / 3)


@pytest.mark.rule(7)
def test_session_asks_for_its_original_timeout_on_every_connection() -> None:
    talk = Talk(60.0)
    assert talk.dial().time_out == 60_000
    talk.serve(connect_response(time_out=40_000))
    for _ in range(2):
        talk.lose()
        assert talk.dial().time_out == 60_000
        talk.serve(connect_response(time_out=20_000))


@pytest.mark.rule(54)
def test_session_resumes_with_its_id_password_and_last_zxid() -> None:
    talk = connected()
    sync(talk)
    talk.serve(reply(1, 77, record=SyncResponse("/a")))
    talk.lose()
    assert talk.dial() == ConnectRequest(0, 77, 10_000, SESSION_ID, PASSWORD, False)


@pytest.mark.rule(44)
def test_session_resumes_what_it_was_given() -> None:
    talk = Talk(session=SessionInfo(-5, b"secret"))
    assert talk.dial() == ConnectRequest(0, 0, 10_000, -5, b"secret", False)
    assert states(talk.serve(connect_response(-5))) == [CONNECTED]
    assert talk.session.info.id == -5


@pytest.mark.rule(8, 39)
def test_session_is_expired_when_the_answer_has_timeout_0() -> None:
    talk = connected()
    talk.lose()
    waiting = sync(talk)
    talk.dial()
    events = talk.serve(refusal())
    assert kinds(events) == [Failed, StateChanged, Disconnected]
    ((request, error),) = failures(events)
    assert request is waiting
    assert isinstance(error, SessionExpiredError)
    assert (error.path, error.operation) == ("/a", "sync")
    assert states(events) == [EXPIRED]


@pytest.mark.rule(9)
def test_session_is_expired_when_the_answer_has_another_id() -> None:
    talk = connected()
    talk.lose()
    talk.dial()
    events = talk.serve(connect_response(SESSION_ID + 1))
    assert events[0] == StateChanged(EXPIRED, "asked to resume 0x1000004515e0058, got 0x1000004515e0059")
    assert talk.session.info.id == SESSION_ID


@pytest.mark.rule(10)
@pytest.mark.parametrize("resuming", [False, True])
def test_eof_before_the_connect_response_is_a_failed_attempt_and_no_expiry(resuming: bool) -> None:
    talk = Talk(session=SessionInfo(SESSION_ID, PASSWORD) if resuming else None)
    waiting = sync(talk)
    talk.dial()
    assert talk.eof() == [Disconnected("the server closed the connection")]
    assert talk.lose() == []
    assert talk.session.state is DISCONNECTED
    assert talk.dial().session_id == (SESSION_ID if resuming else 0)
    talk.serve(connect_response())
    assert talk.sent() == [Sent(1, OpCode.SYNC, SyncRequest("/a"))]
    assert replies(talk.serve(reply(1, record=SyncResponse("/a"))))[0].request is waiting


@pytest.mark.rule(11)
def test_nothing_is_written_before_the_connect_response() -> None:
    talk = Talk(auth=[("digest", b"u:p")], sasl=ScriptedSasl())
    talk.dial()
    sync(talk)
    add_auth(talk, b"late:late")
    talk.session.disarm("/a", "nobody", talk.now)
    assert talk.at(102.9) == []
    assert talk.sent() == []


def test_an_attempt_ends_when_its_time_is_over() -> None:
    talk = Talk()
    talk.dial(within=3.0)
    assert talk.session.next_deadline() == 103.0
    assert talk.at(103.0) == [Disconnected("no ConnectResponse in time")]
    assert talk.session.next_deadline() is None
    assert talk.session.state is DISCONNECTED


@pytest.mark.rule(17)
def test_session_id_sent_stays_0_while_only_read_only_servers_were_seen() -> None:
    talk = Talk(read_only=True)
    assert states(talk.establish(connect_response(7, read_only=True))) == [READ_ONLY]
    talk.lose()
    assert talk.dial().session_id == 0
    assert states(talk.serve(connect_response(8, read_only=True))) == [READ_ONLY]
    talk.lose()
    request = talk.dial()
    assert (request.session_id, request.passwd) == (0, bytes(16))
    assert states(talk.serve(connect_response(9))) == [CONNECTED]
    talk.lose()
    assert talk.dial().session_id == 9


@pytest.mark.rule(17)
def test_a_session_of_a_read_write_server_is_resumed_after_a_read_only_one() -> None:
    talk = connected(read_only=True)
    talk.lose()
    assert talk.dial().session_id == SESSION_ID
    assert states(talk.serve(connect_response(read_only=True))) == [READ_ONLY]
    talk.lose()
    assert talk.dial().session_id == SESSION_ID


@pytest.mark.rule(10)
@pytest.mark.parametrize("time_out", [0, 10_000])
@pytest.mark.parametrize("resuming", [False, True])
def test_answer_of_another_protocol_version_is_a_failed_attempt_and_no_expiry(resuming: bool, time_out: int) -> None:
    talk = connected() if resuming else Talk()
    talk.lose()
    talk.now = 105.0
    events = talk.establish(frame(encode(ConnectResponse(42, time_out, 5, PASSWORD, False))))
    assert [type(event) for event in events] == [Disconnected]
    assert "expected 0, got 42" in events[0].reason
    assert talk.lose() == []
    assert talk.session.state is DISCONNECTED
    assert talk.session.may_end_at == (110.0 if resuming else None), "it has not renewed the session"
    assert talk.dial().session_id == (SESSION_ID if resuming else 0)


@pytest.mark.rule(17)
def test_the_16_byte_answer_of_a_read_only_server_is_a_failed_attempt() -> None:
    talk = Talk(read_only=True)
    talk.dial()
    (event,) = talk.serve(reply(0, 0, ErrorCode.NOT_READ_ONLY))
    assert isinstance(event, Disconnected)
    assert "error code -119" in event.reason
    talk.lose()
    assert talk.session.state is DISCONNECTED
    assert talk.session.error is None


@pytest.mark.rule(28)
def test_a_new_session_starts_with_zxid_0() -> None:
    assert Talk().dial().last_zxid_seen == 0


def test_an_empty_session_has_nothing_to_say() -> None:
    talk = Talk()
    assert talk.session.next_event(0.0) is NEED_DATA
    assert talk.session.next_deadline() is None
    assert talk.session.data_to_send(0.0) == b""
