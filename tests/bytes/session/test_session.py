"""One session over its connections: handshakes, authentication, replies, losses, deadlines, watches and the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake.wire import (
    NO_NODE,
    PASSWORD,
    SESSION_ID,
    STAT,
    Sent,
    Talk,
    auth_reply,
    children_changed,
    connect_response,
    created,
    data_changed,
    deleted,
    failures,
    fired,
    notification,
    payloads,
    pong,
    refusal,
    replies,
    reply,
    states,
)
from zkwire.codes import AddWatchMode, ErrorCode, EventType, KeeperState, OpCode, WatcherType
from zkwire.errors import (
    AuthFailedError,
    ClosedError,
    ConnectionLossError,
    LocalProtocolError,
    ReplyTooLongError,
    SessionExpiredError,
)
from zkwire.frames import Frame, frame
from zkwire.jute import encode
from zkwire.operations import (
    ADD_WATCH,
    AUTH,
    BY_OPCODE,
    CHECK,
    CREATE,
    EXISTS,
    GET_CHILDREN,
    GET_DATA,
    SET_DATA,
    SYNC,
    WHO_AM_I,
    Operation,
)
from zkwire.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    ErrorResponse,
    ExistsRequest,
    ExistsResponse,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetSASLRequest,
    Id,
    RemoveWatchesRequest,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    SetDataResponse,
    SetSASLResponse,
    SetWatches,
    SetWatches2,
    SyncRequest,
    SyncResponse,
    WatcherEvent,
)
from zkwire.session.connection import Request
from zkwire.session.events import (
    NEED_DATA,
    Disconnected,
    Failed,
    Fired,
    Ponged,
    Replied,
    SessionInfo,
    StateChanged,
    WatchedEvent,
)
from zkwire.session.sasl import FIPS_HINT, DigestMD5, SaslError
from zkwire.session.session import TRANSITIONS, Session

DISCONNECTED, CONNECTED = KeeperState.DISCONNECTED, KeeperState.SYNC_CONNECTED
READ_ONLY, EXPIRED = KeeperState.CONNECTED_READ_ONLY, KeeperState.EXPIRED
AUTH_FAILED, CLOSED = KeeperState.AUTH_FAILED, KeeperState.CLOSED

EXISTS_OK = ExistsResponse(STAT)
DATA_OK = GetDataResponse(b"hi", STAT)


def connected(session_timeout: float = 10.0, **options: Any) -> Talk:
    """A session that stands, with nothing on its way. The time is 100.0."""
    talk = Talk(session_timeout, **options)
    assert states(talk.establish()) == [CONNECTED]
    assert talk.sent() == []
    return talk


def sync(talk: Talk, path: str = "/a") -> Request:
    return talk.request(SYNC, SyncRequest(path))


def get_data(talk: Talk, path: str = "/a", watcher: Any = None) -> Request:
    return talk.request(GET_DATA, GetDataRequest(path, False), watcher)


def exists(talk: Talk, path: str = "/a", watcher: Any = None) -> Request:
    return talk.request(EXISTS, ExistsRequest(path, False), watcher)


def get_children(talk: Talk, path: str = "/a", watcher: Any = None) -> Request:
    return talk.request(GET_CHILDREN, GetChildrenRequest(path, False), watcher)


def add_watch(talk: Talk, path: str, mode: AddWatchMode, watcher: Any) -> Request:
    return talk.request(ADD_WATCH, AddWatchRequest(path, mode), watcher)


def add_auth(talk: Talk, name: bytes, scheme: str = "digest") -> Request:
    request = Request(AUTH, AuthPacket(0, scheme, name))
    talk.session.add_auth(request, talk.now)
    return request


def doom(talk: Talk, by: str) -> list[Any]:
    """The connection comes to its end, and the caller has not yet said tcp_lost."""
    if by == "eof":
        return talk.eof()
    return talk.serve(reply(99)) if by == "nonsense" else talk.at(talk.now + 10.0)


def kinds(events: list[Any]) -> list[type]:
    return [type(event) for event in events]


class ScriptedSasl:
    """A mechanism of two steps: it answers "challenge" with "answer", and takes "proof" for the end."""

    def __init__(self) -> None:
        self.starts: list[ScriptedSasl] = []  # one list for all copies

    def start(self) -> bytes:
        self.starts.append(self)
        return b""

    def step(self, challenge: bytes) -> bytes | None:
        if challenge == b"challenge":
            return b"answer"
        if challenge == b"proof":
            return None
        raise SaslError(f"got {challenge!r}")


def sasl_reply(xid: int, token: bytes | None, err: int = 0) -> bytes:
    return reply(xid, 0, err, SetSASLResponse(token))


# --- on_frame is not our code


def failing_at(number: int) -> Callable[[Frame], None]:
    """An on_frame that raises at the frame of this number. It must not be called again."""
    seen: list[Frame] = []

    def on_frame(frame: Frame) -> None:
        seen.append(frame)
        assert len(seen) <= number, "called after it had failed"
        if len(seen) == number:
            raise OSError("disk full")

    return on_frame


@pytest.mark.parametrize("number", range(1, 8))
def test_what_on_frame_raises_comes_out_of_next_event_when_no_event_is_left(number: int) -> None:
    """Frames: ConnectRequest, ConnectResponse, auth, its reply, two requests, the first one's reply."""
    session = Session(10.0, auth=[("digest", b"a:a")], on_frame=failing_at(number))
    talk = Talk()
    talk.session = session
    requests = [sync(talk, "/1"), sync(talk, "/2")]
    session.tcp_connected(talk.now, talk.now + 3)
    found: list[Any] = []
    caught: list[BaseException] = []
    for data in (connect_response(), auth_reply(), reply(1, record=SyncResponse("/1")), reply(2, -1, NO_NODE)):
        session.receive_data(data, talk.now)
        while True:
            try:
                event = session.next_event(talk.now)
            except OSError as error:
                caught.append(error)
                continue
            if event is NEED_DATA:
                break
            found.append(event)
    assert [str(error) for error in caught] == ["disk full"]
    assert [event.request for event in replies(found)] == requests
    assert states(found) == [CONNECTED]


def test_on_frame_that_fails_as_the_connection_ends_is_still_told_of() -> None:
    talk = Talk()
    talk.session = Session(10.0, on_frame=failing_at(3))
    talk.establish()
    pending = sync(talk)
    talk.session.tcp_lost(talk.now, "cut")
    assert talk.session.next_event(talk.now) == StateChanged(DISCONNECTED, "cut")
    with pytest.raises(OSError, match="disk full"):
        talk.session.next_event(talk.now)
    assert talk.session.next_event(talk.now) is NEED_DATA
    assert pending.xid == 1


# --- the session to resume

NOT_SESSIONS = [
    ("0x100", PASSWORD, "id is an int, not str"),
    (True, PASSWORD, "id is an int, not bool"),
    (1.5, PASSWORD, "id is an int, not float"),
    (None, PASSWORD, "id is an int, not NoneType"),
    (2**63, PASSWORD, f"id is a signed number of 64 bits, not {2**63} (as such it is {-(2**63)})"),
    (2**64, PASSWORD, f"id is a signed number of 64 bits, not {2**64}"),
    (-(2**63) - 1, PASSWORD, f"id is a signed number of 64 bits, not {-(2**63) - 1}"),
    (0, PASSWORD, "id 0 is that of no session; for a new session pass None"),
    (5, "a secret", "password is bytes, not str"),
    (5, None, "password is bytes, not NoneType"),
    (5, [1, 2], "password is bytes, not list"),
]


@pytest.mark.parametrize(("id", "password", "text"), NOT_SESSIONS)
def test_what_can_be_no_session_is_refused_before_there_is_a_connection(id: Any, password: Any, text: str) -> None:
    with pytest.raises(LocalProtocolError) as refused:
        Session(10.0, session=SessionInfo(id, password))
    assert str(refused.value) == f"SessionInfo: {text}"


@pytest.mark.parametrize("id", [-(2**63), -1, 1, 2**63 - 1])
def test_every_number_of_64_bits_but_0_is_the_id_of_a_session(id: int) -> None:
    talk = Talk(session=SessionInfo(id, PASSWORD))
    assert talk.dial().session_id == id


def test_password_of_a_session_to_resume_is_copied() -> None:
    password: Any = bytearray(PASSWORD)
    talk = Talk(session=SessionInfo(5, password))
    password.clear()
    assert talk.dial().passwd == PASSWORD


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
def test_session_stands_after_connect_responses_of_36_and_37_bytes(read_only: bool | None) -> None:
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


# --- authentication


@pytest.mark.rule(12, 13, 16)
def test_auths_sasl_watches_and_requests_go_in_this_order_on_every_connection() -> None:
    talk = Talk(auth=[("digest", b"a:a"), ("digest", b"b:b")], sasl=ScriptedSasl())
    for xid in (1, 7):
        talk.dial()
        first = sync(talk, "/first")
        assert talk.serve(connect_response()) == []
        assert [(sent.opcode, sent.record.auth) for sent in talk.sent()] == [
            (OpCode.AUTH, b"a:a"),
            (OpCode.AUTH, b"b:b"),
        ]
        second = sync(talk, "/second")
        assert talk.serve(auth_reply()) == []
        assert talk.sent() == []
        assert talk.serve(auth_reply()) == []
        assert talk.sent() == [Sent(xid, OpCode.SASL, GetSASLRequest(b""))]
        assert talk.serve(sasl_reply(xid, b"challenge")) == []
        assert talk.sent() == [Sent(xid + 1, OpCode.SASL, GetSASLRequest(b"answer"))]
        assert talk.session.state is DISCONNECTED
        assert states(talk.serve(sasl_reply(xid + 1, b"proof"))) == [CONNECTED]
        sent = talk.sent()
        if xid == 1:
            assert [request.record.path for request in sent] == ["/first", "/second"]
            talk.serve(reply(3, 5, record=SyncResponse("/")), reply(4, 5, record=SyncResponse("/")))
            get_data(talk, "/watched", "watcher")
            get_data(talk, "/lost")
            talk.sent()
            talk.serve(reply(5, 6, record=DATA_OK))
            assert [request for request, _ in failures(talk.lose())]
        else:
            assert [request.opcode for request in sent] == [OpCode.SET_WATCHES, OpCode.SYNC, OpCode.SYNC]
            assert sent[0].record == SetWatches(6, ("/watched",), (), ())
            assert [first.xid, second.xid] == [sent[1].xid, sent[2].xid]


@pytest.mark.rule(12)
def test_watches_go_before_requests_without_any_authentication() -> None:
    talk = connected()
    exists(talk, "/e", "watcher")
    talk.serve(reply(1, 5, NO_NODE))
    talk.lose()
    sync(talk)
    talk.establish()
    assert talk.sent()[-2:] == [
        Sent(2, OpCode.SET_WATCHES, SetWatches(5, (), ("/e",), ())),
        Sent(3, OpCode.SYNC, SyncRequest("/a")),
    ]


@pytest.mark.rule(13)
def test_connected_is_announced_only_after_every_auth_reply() -> None:
    talk = Talk(auth=[("digest", b"a:a")])
    assert talk.establish() == []
    added = add_auth(talk, b"b:b")
    assert talk.serve(auth_reply()) == []
    events = talk.serve(auth_reply())
    assert events == [Replied(added, 0, 0, None), StateChanged(CONNECTED, "")]


@pytest.mark.rule(13)
def test_an_auth_added_during_sasl_neither_restarts_it_nor_is_overtaken_by_connected() -> None:
    sasl = ScriptedSasl()
    talk = Talk(sasl=sasl)
    talk.establish()
    add_auth(talk, b"a:a")
    assert talk.opcodes() == [OpCode.SASL, OpCode.AUTH]
    assert states(talk.serve(auth_reply())) == []
    assert talk.sent() == []
    add_auth(talk, b"b:b")
    talk.serve(sasl_reply(1, b"challenge"))
    assert states(talk.serve(sasl_reply(2, b"proof"))) == [], "the second auth is unanswered"
    assert states(talk.serve(auth_reply())) == [CONNECTED]
    assert len(sasl.starts) == 1


@pytest.mark.rule(14)
@pytest.mark.parametrize("err", [ErrorCode.AUTH_FAILED, ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH, -4711])
def test_an_auth_reply_with_an_error_is_terminal(err: int) -> None:
    talk = Talk(auth=[("nonsense", b"a:a")])
    waiting = sync(talk)
    talk.establish()
    events = talk.serve(auth_reply(err))
    assert kinds(events) == [Failed, StateChanged, Disconnected]
    ((request, error),) = failures(events)
    assert request is waiting
    assert isinstance(error, AuthFailedError)
    named = ErrorCode(err).name if err != -4711 else "-4711"
    assert error.reason == f"the server answered {named} to auth scheme 'nonsense'"
    assert talk.session.state is AUTH_FAILED
    with pytest.raises(AuthFailedError):
        sync(talk)


@pytest.mark.rule(14)
def test_an_auth_added_later_that_fails_fails_its_request_and_the_session() -> None:
    talk = connected()
    pending, added = sync(talk), add_auth(talk, b"x", "nonsense")
    events = talk.serve(auth_reply(-115))
    assert [(request, type(error)) for request, error in failures(events)] == [
        (pending, AuthFailedError),
        (added, AuthFailedError),
    ]
    assert states(events) == [AUTH_FAILED]


@pytest.mark.rule(15)
@pytest.mark.parametrize("answers", [[], [auth_reply()], [auth_reply(), auth_reply(), sasl_reply(1, b"challenge")]])
def test_a_loss_during_auth_or_sasl_is_a_loss_and_no_auth_failure(answers: list[bytes]) -> None:
    talk = Talk(auth=[("digest", b"a:a"), ("digest", b"b:b")], sasl=ScriptedSasl())
    waiting = sync(talk)
    talk.establish()
    talk.serve(*answers)
    talk.sent()
    assert talk.eof() == [Disconnected("the server closed the connection")]
    assert talk.lose() == []
    assert talk.session.state is DISCONNECTED
    talk.establish()
    xid = 1 if len(answers) < 3 else 3
    talk.serve(auth_reply(), auth_reply(), sasl_reply(xid, b"challenge"))
    assert states(talk.serve(sasl_reply(xid + 1, b"proof"))) == [CONNECTED]
    assert talk.sent()[-1].record.path == waiting.path


@pytest.mark.rule(15)
def test_an_auth_on_its_way_survives_the_loss_and_is_answered_on_the_next_connection() -> None:
    talk = connected()
    added = add_auth(talk, b"a:a")
    assert talk.opcodes() == [OpCode.AUTH]
    assert failures(talk.lose()) == []
    assert talk.establish() == []
    assert talk.opcodes() == [OpCode.AUTH]
    assert replies(talk.serve(auth_reply())) == [Replied(added, 0, 0, None)]


@pytest.mark.rule(13)
@pytest.mark.parametrize("pings", [False, True])
@pytest.mark.parametrize(
    ("answers", "missing"),
    [([], "auth"), ([auth_reply()], "SASL"), ([auth_reply(), sasl_reply(1, b"challenge")], "SASL")],
)
def test_attempt_ends_with_its_time_whatever_else_is_answered_while_auth_or_sasl_is_not(
    answers: list[bytes], missing: str, pings: bool
) -> None:
    talk = Talk(auth=[("digest", b"a:a")], sasl=ScriptedSasl())
    waiting = sync(talk)
    talk.dial(within=4.0)
    assert states(talk.serve(connect_response(), *answers)) == []
    for _ in range(3):
        assert talk.at(talk.now + 1.0) == []
        if pings:
            talk.serve(pong())
    assert (talk.session.next_deadline() or 0.0) <= 104.0
    assert talk.at(104.0) == [Disconnected(f"no reply to {missing} in time")]
    assert talk.lose(f"no reply to {missing} in time") == []
    assert talk.session.state is DISCONNECTED
    talk.dial()
    xid = 1 if not answers or missing == "auth" else (2 if len(answers) == 1 else 3)
    events = talk.serve(connect_response(), auth_reply())
    events += talk.serve(sasl_reply(xid, b"challenge"), sasl_reply(xid + 1, b"proof"))
    assert states(events) == [CONNECTED]
    assert talk.sent()[-1].record.path == waiting.path


def test_session_that_stands_has_no_handshake_to_end() -> None:
    talk = Talk(auth=[("digest", b"a:a")])
    talk.dial(within=1.0)
    assert states(talk.serve(connect_response(), auth_reply())) == [CONNECTED]
    assert talk.at(101.0) == []
    assert talk.session.state is CONNECTED


@pytest.mark.rule(16)
def test_connection_ends_when_the_reply_to_a_later_auth_is_lost_and_the_next_one_brings_it() -> None:
    talk = connected()
    talk.now = 102.0
    added = add_auth(talk, b"a:a")
    pending = sync(talk)
    talk.sent()
    for now in (103.0, 105.0, 107.0, 108.6):
        assert kinds(talk.at(now)) == []
        talk.serve(pong())
    assert talk.session.next_deadline() == pytest.approx(102 + 10 * 2 / 3)
    (event,) = talk.at(108.7)
    assert event == Disconnected("no reply to auth for 6.7 s, 2/3 of the session timeout")
    assert [request for request, _ in failures(talk.lose(event.reason))] == [pending]
    talk.dial()
    assert replies(talk.serve(connect_response(), auth_reply())) == [Replied(added, 0, 0, None)]
    assert talk.session.state is CONNECTED


@pytest.mark.rule(16)
def test_auth_that_no_connection_answers_fails_and_is_taken_back() -> None:
    talk = connected()
    added = add_auth(talk, b"a:a")
    talk.at(106.7)
    talk.lose("no reply to auth")
    waiting = sync(talk)
    for now in (108.0, 111.0, 114.0, 117.0):
        talk.now = now
        talk.dial(within=2.0)
        assert talk.serve(connect_response()) == []
        assert talk.at(now + 2.0)[0] == Disconnected("no reply to auth in time")
        talk.lose("no reply to auth in time")
    assert talk.session.next_deadline() == pytest.approx(106.7 + 40 / 3)
    found = failures(talk.at(120.1))
    assert [request for request, _ in found] == [waiting, added]
    assert [str(error) for _, error in found] == [
        "CONNECTION_LOSS (-4): sync /a (not sent; no server: no reply to auth in time)",
        "CONNECTION_LOSS (-4): auth (written in full, maybe applied; no server: no reply to auth in time)",
    ]
    assert talk.session.auths == []
    assert states(talk.establish()) == [CONNECTED], "without it the session stands again"


def test_auth_without_any_server_fails_as_every_request_does() -> None:
    talk = Talk(session_timeout=9.0)
    added = add_auth(talk, b"a:a")
    assert talk.session.next_deadline() == 112.0
    ((request, error),) = failures(talk.at(112.0))
    assert request is added
    assert str(error) == "CONNECTION_LOSS (-4): auth (not sent; no server)"
    assert talk.session.auths == []
    talk.establish()
    assert talk.opcodes() == []


def test_late_reply_to_an_auth_that_was_taken_back_tells_nobody() -> None:
    talk = Talk(session_timeout=9.0)
    added = add_auth(talk, b"a:a")
    talk.now = 111.0
    talk.establish()
    assert [request for request, _ in failures(talk.at(113.4))] == [added]
    assert talk.serve(auth_reply()) == [StateChanged(CONNECTED, "")]


def test_auth_given_up_before_it_was_sent_is_forgotten() -> None:
    talk = Talk()
    forgotten, kept = add_auth(talk, b"a:a"), add_auth(talk, b"b:b")
    talk.session.cancel(forgotten)
    talk.session.cancel(forgotten)
    talk.establish()
    assert [sent.record.auth for sent in talk.sent()] == [b"b:b"]
    talk.session.cancel(kept)
    assert replies(talk.serve(auth_reply())) == [Replied(kept, 0, 0, None)]
    talk.lose()
    talk.establish()
    assert [sent.record.auth for sent in talk.sent()] == [b"b:b"], "it was sent, so it stays"


@pytest.mark.parametrize("granted", [4.0, 0.5])
def test_requests_wait_for_a_session_by_what_an_earlier_one_was_granted(granted: float) -> None:
    talk = Talk(60.0, granted=granted)
    assert talk.session.session_timeout == granted
    sync(talk)
    assert talk.session.next_deadline() == pytest.approx(100 + granted * 4 / 3)
    assert talk.dial().time_out == 60_000


@pytest.mark.rule(6)
def test_requests_on_a_read_only_session_wait_by_the_granted_timeout() -> None:
    talk = Talk(60.0, read_only=True)
    talk.establish(connect_response(7, read_only=True, time_out=4000))
    talk.lose()
    sync(talk)
    assert talk.session.next_deadline() == pytest.approx(100 + 16 / 3)


def test_session_tells_when_its_server_may_end_it() -> None:
    talk = Talk(60.0)
    assert talk.session.may_end_at is None
    assert Talk(session=SessionInfo(5, PASSWORD)).session.may_end_at is None
    talk.establish(connect_response(time_out=4000))
    assert talk.session.may_end_at == 104.0
    talk.now = 101.0
    talk.serve(pong())
    talk.lose()
    assert talk.session.may_end_at == 105.0


@pytest.mark.rule(16)
def test_all_auths_are_sent_again_in_the_order_they_were_added() -> None:
    talk = Talk(auth=[("digest", b"a")])
    talk.establish()
    add_auth(talk, b"b")
    talk.serve(auth_reply(), auth_reply())
    talk.lose()
    while_away = add_auth(talk, b"c")
    talk.dial()
    while_dialing = add_auth(talk, b"d")
    talk.serve(connect_response())
    assert [sent.record.auth for sent in talk.sent()] == [b"a", b"b", b"c", b"d"]
    events = talk.serve(*[auth_reply()] * 4)
    assert [event.request for event in replies(events)] == [while_away, while_dialing], "each is answered once"


@pytest.mark.rule(20)
def test_an_auth_reply_overtakes_and_harms_nothing() -> None:
    talk = connected()
    first = sync(talk)
    added = add_auth(talk, b"a")
    events = talk.serve(auth_reply(), reply(1, record=SyncResponse("/a")))
    assert [event.request for event in replies(events)] == [added, first]


@pytest.mark.parametrize(
    ("scheme", "token", "message"),
    [("digest", "a str", "AuthPacket.auth"), (7, b"x", "AuthPacket.scheme"), ("digest", bytes(2**20), "1048575")],
)
def test_an_auth_that_cannot_be_sent_is_refused_when_it_is_given(scheme: Any, token: Any, message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        Talk(auth=[(scheme, token)])
    for talk in (Talk(), connected()):
        with pytest.raises(LocalProtocolError, match=message):
            add_auth(talk, token, scheme)
        talk.lose()
        talk.establish()
        assert talk.sent() == [], "and it is not tried on the next connection"
        assert talk.session.state is CONNECTED


@pytest.mark.parametrize("end", ["close", "detach", "expiry"])
def test_an_auth_on_its_way_fails_when_the_session_ends(end: str) -> None:
    talk = connected()
    added = add_auth(talk, b"a")
    if end == "close":
        talk.session.close(talk.now)
        events = talk.serve(reply(1))
    elif end == "detach":
        talk.session.detach()
        events = talk.events()
    else:
        talk.lose()
        events = talk.at(200.0)
    ((request, error),) = failures(events)
    assert request is added
    assert isinstance(error, SessionExpiredError if end == "expiry" else ClosedError)


@pytest.mark.rule(80)
def test_a_null_sasl_token_does_not_count_as_authenticated() -> None:
    talk = Talk(sasl=ScriptedSasl())
    talk.establish()
    events = talk.serve(sasl_reply(1, None))
    assert events[0] == StateChanged(AUTH_FAILED, events[0].reason)
    assert "null token" in str(talk.session.error)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sasl_reply(1, b"junk"), "SASL: got b'junk'"),
        (sasl_reply(1, None, -110), "SASL: the server answered NODE_EXISTS (-110)"),
        (sasl_reply(1, None, -115), f"SASL: the server answered AUTH_FAILED (-115) {FIPS_HINT}"),
        (sasl_reply(1, None, -124), "the server requires an authentication first"),
    ],
)
def test_a_sasl_failure_is_terminal(answer: bytes, reason: str) -> None:
    talk = Talk(sasl=ScriptedSasl())
    waiting = sync(talk)
    talk.establish()
    events = talk.serve(answer)
    assert kinds(events) == [Failed, StateChanged, Disconnected]
    ((request, error),) = failures(events)
    assert request is waiting
    assert isinstance(error, AuthFailedError)
    assert error.reason == reason


class FailingSasl:
    """A mechanism whose method `where` does `what`."""

    def __init__(self, where: str, what: Callable[[], Any]) -> None:
        self.where, self.what = where, what

    def start(self) -> bytes:
        return b"" if self.where != "start" else self.what()

    def step(self, challenge: bytes) -> bytes | None:
        return self.what()  # type: ignore[no-any-return]


def raise_key_error() -> None:
    raise KeyError("a secret of the mechanism")


@pytest.mark.parametrize("where", ["start", "step"])
@pytest.mark.parametrize(
    ("what", "reason", "cause"),
    [
        (raise_key_error, "SASL: the mechanism raised KeyError", KeyError),
        (lambda: "a secret", "SASL: the mechanism returned str, not bytes", type(None)),
        (
            lambda: bytes(2**20),
            "SASL: sasl takes 1048588 bytes, a request 1048575 at most (the server's jute.maxbuffer)",
            LocalProtocolError,
        ),
    ],
)
def test_a_mechanism_that_fails_ends_the_session_and_tells_the_server(
    where: str, what: Callable[[], Any], reason: str, cause: type
) -> None:
    talk = Talk(sasl=FailingSasl(where, what))
    waiting = sync(talk)
    events = talk.establish()
    if where == "step":
        talk.sent()
        events = talk.serve(sasl_reply(1, b"challenge"))
    assert kinds(events) == [Failed, StateChanged, Disconnected]
    ((request, error),) = failures(events)
    assert request is waiting
    assert isinstance(error, AuthFailedError)
    assert error.reason == reason
    assert type(error.__cause__) is cause
    assert talk.session.state is AUTH_FAILED
    assert talk.opcodes() == [OpCode.CLOSE_SESSION]
    assert talk.sent() == []
    assert talk.lose() == []
    with pytest.raises(AuthFailedError) as caught:
        sync(talk)
    assert caught.value.__cause__ is error.__cause__


def test_a_mechanism_that_starts_with_none_is_refused_since_servers_hang_up_on_a_null_token() -> None:
    talk = Talk(sasl=FailingSasl("start", lambda: None))
    talk.establish()
    assert "the mechanism returned NoneType, not bytes" in str(talk.session.error)


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("end", ["close", "detach"])
def test_a_mechanism_may_end_the_session(end: str, raises: bool) -> None:
    def leave() -> bytes:
        talk.session.close(talk.now) if end == "close" else talk.session.detach()
        if raises:
            raise KeyError
        return b"answer"

    talk = Talk(sasl=FailingSasl("step", leave))
    talk.establish()
    talk.sent()
    events = talk.serve(sasl_reply(1, b"challenge"))
    assert talk.opcodes() == ([OpCode.CLOSE_SESSION] if end == "close" else [])
    if end == "close":
        events = talk.serve(reply(2))
    assert states(events) == [CLOSED]


def test_a_challenge_that_comes_after_closing_is_not_answered() -> None:
    sasl = ScriptedSasl()
    talk = Talk(sasl=sasl)
    talk.establish()
    talk.sent()
    talk.session.close(talk.now)
    assert talk.serve(sasl_reply(1, b"challenge")) == []
    assert talk.opcodes() == [OpCode.CLOSE_SESSION]
    assert states(talk.serve(reply(2))) == [CLOSED]


def test_one_mechanism_serves_many_sessions_at_once_and_every_connection_anew() -> None:
    sasl = DigestMD5("bob", "secret")
    talks = [Talk(sasl=sasl) for _ in range(12)]
    challenge = b'realm="zk-sasl-md5",nonce="n",qop="auth",charset=utf-8,algorithm=md5-sess'
    answers = []
    for _ in range(2):
        for talk in talks:
            talk.establish()
        for talk, xid in [(talk, talk.sent()[0].xid) for talk in talks]:
            talk.serve(sasl_reply(xid, challenge))
            (answer,) = talk.sent()
            answers.append(answer.record.token)
        assert {talk.session.state for talk in talks} == {DISCONNECTED}
        for talk in talks:
            talk.lose()
    assert len(set(answers)) == 24
    assert all(b'username="bob"' in answer for answer in answers)


def test_a_sasl_refusal_after_the_challenge_does_not_blame_fips_mode() -> None:
    talk = Talk(sasl=ScriptedSasl())
    talk.establish()
    talk.serve(sasl_reply(1, b"challenge"))
    talk.serve(sasl_reply(2, None, -115))
    assert isinstance(talk.session.error, AuthFailedError)
    assert talk.session.error.reason == "SASL: the server answered AUTH_FAILED (-115)"


@pytest.mark.rule(14)
def test_minus_124_on_a_ping_is_terminal() -> None:
    talk = connected()
    assert states(talk.serve(pong(0, err=-124))) == [AUTH_FAILED]
    assert "SESSION_CLOSED_REQUIRE_SASL_AUTH" in str(talk.session.error)


def test_another_error_on_a_ping_costs_the_connection_and_not_the_session() -> None:
    talk = connected()
    assert kinds(talk.serve(pong(0, err=ErrorCode.SESSION_EXPIRED))) == [Disconnected]
    talk.lose()
    talk.dial()
    assert states(talk.serve(refusal())) == [EXPIRED]


@pytest.mark.rule(14)
def test_minus_124_on_a_reply_is_handed_on_and_ends_the_session() -> None:
    talk = connected()
    first, second = sync(talk), sync(talk)
    events = talk.serve(reply(1, 0, -124))
    assert kinds(events) == [Replied, Failed, StateChanged, Disconnected]
    assert events[0] == Replied(first, 0, -124, None)
    assert events[1].request is second
    assert states(events) == [AUTH_FAILED]


def test_minus_124_on_a_request_of_the_sessions_own_is_no_callers_reply() -> None:
    talk = connected()
    get_data(talk, "/d", "watcher")
    talk.serve(reply(1, record=DATA_OK))
    talk.lose()
    talk.establish()
    events = talk.serve(reply(2, 0, -124))
    assert kinds(events) == [StateChanged, Fired, Disconnected]


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
    assert kinds(talk.serve(pong(3), reply(1, 5, record=SyncResponse("/a")), pong(4))) == [Ponged, Replied, Ponged]


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
    unknown, behind = talk.request(WHO_AM_I), sync(talk)
    talk.sent()
    talk.session.receive_data(reply(1, -1, ErrorCode.UNIMPLEMENTED), talk.now)
    events = talk.eof()
    assert events == [
        Replied(unknown, -1, ErrorCode.UNIMPLEMENTED, None),
        Disconnected("the server closed the connection"),
    ]
    assert [request for request, _ in failures(talk.lose())] == [behind]
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
def test_last_zxid_is_not_moved_before_the_events_in_front_of_the_reply_are_handed_on() -> None:
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


# --- losses


@pytest.mark.rule(29, 30)
def test_a_loss_fails_what_was_written_in_order_and_says_how_much_of_it() -> None:
    talk = connected()
    requests = [sync(talk, f"/{index}") for index in range(5)]
    size = requests[0].end - requests[0].start
    talk.sent()
    late = sync(talk, "/late")
    events = talk.lose("cut", unsent=2 * size + 3)
    assert [(request, error.written) for request, error in failures(events)] == [  # type: ignore[attr-defined]
        (requests[0], "in full"),
        (requests[1], "in full"),
        (requests[2], "partly"),
    ]
    assert [error.maybe_applied for _, error in failures(events)] == [True, True, False]  # type: ignore[attr-defined]
    assert kinds(events) == [Failed, Failed, Failed, StateChanged]
    while_away = sync(talk, "/while-away")
    talk.establish()
    kept = [*requests[3:], late, while_away]
    assert [found.record.path for found in talk.sent()] == [request.path for request in kept]
    assert [
        event.request for event in replies(talk.serve(*(reply(r.xid, record=SyncResponse("/")) for r in kept)))
    ] == kept


@pytest.mark.rule(31)
def test_what_may_have_been_applied_is_never_sent_again() -> None:
    talk = connected()
    sync(talk)
    talk.sent()
    talk.lose()
    talk.establish()
    assert talk.sent() == []


def test_what_is_asked_for_behind_a_disconnected_waits_and_goes_behind_what_was_kept() -> None:
    talk = connected()
    kept = sync(talk, "/kept")
    assert kinds(talk.eof()) == [Disconnected]
    assert talk.session.data_to_send(talk.now) == b""
    behind = sync(talk, "/behind")
    assert talk.events() == []
    talk.lose()
    talk.establish()
    assert [found.record.path for found in talk.sent()] == [kept.path, behind.path] == ["/kept", "/behind"]


@pytest.mark.rule(34)
def test_a_cancelled_request_that_was_sent_keeps_its_place() -> None:
    talk = connected()
    first, second = sync(talk), sync(talk)
    talk.session.cancel(first)
    events = talk.serve(reply(1, record=SyncResponse("/a")), reply(2, record=SyncResponse("/a")))
    assert [event.request for event in replies(events)] == [first, second]


@pytest.mark.rule(34)
def test_a_cancelled_request_that_waits_is_forgotten() -> None:
    talk = Talk()
    cancelled, other = sync(talk, "/cancelled"), sync(talk, "/other")
    talk.session.cancel(cancelled)
    talk.session.cancel(cancelled)
    talk.establish()
    assert [found.record.path for found in talk.sent()] == [other.path]


@pytest.mark.rule(34)
def test_a_cancelled_request_that_never_left_is_not_sent_on_the_next_connection() -> None:
    talk = connected()
    answered, cancelled, other = sync(talk, "/answered"), sync(talk, "/cancelled"), sync(talk, "/other")
    talk.session.cancel(answered)
    talk.session.cancel(cancelled)
    talk.serve(reply(1, record=SyncResponse("/")))
    assert failures(talk.lose()) == []
    talk.establish()
    assert [found.record.path for found in talk.sent()] == [other.path]


def test_a_loss_of_no_connection_is_nothing() -> None:
    talk = Talk()
    assert talk.lose() == []
    assert talk.serve(pong()) == []
    assert talk.session.data_to_send(talk.now) == b""


def test_a_second_connection_beside_the_first_is_a_fault_of_the_caller() -> None:
    talk = connected()
    with pytest.raises(LocalProtocolError, match="tcp_lost comes between"):
        talk.dial()


def test_a_connection_for_a_session_that_is_over_is_a_fault_of_the_caller() -> None:
    talk = Talk()
    talk.session.detach()
    with pytest.raises(LocalProtocolError, match="over"):
        talk.dial()


@pytest.mark.rule(38)
def test_eof_fails_what_waits_at_once() -> None:
    talk = connected()
    request = sync(talk)
    talk.sent()
    assert kinds(talk.eof()) == [Disconnected]
    assert [failed for failed, _ in failures(talk.lose())] == [request]


@pytest.mark.rule(45)
def test_a_connection_taken_away_by_a_resume_elsewhere_is_resumed() -> None:
    talk = connected()
    assert kinds(talk.eof()) == [Disconnected]
    talk.lose()
    assert talk.dial().session_id == SESSION_ID
    assert states(talk.serve(connect_response())) == [CONNECTED]


# --- what is refused


_BAD = [
    (SET_DATA, SetDataRequest("/a", bytes(2**20), -1), None, "1048575 at most"),
    (SET_DATA, SetDataRequest("/a", 7, -1), None, "SetDataRequest.data"),  # type: ignore[arg-type]
    (SET_DATA, GetDataRequest("/a", False), None, "SetDataRequest, not GetDataRequest"),
    (GET_DATA, "junk", None, "GetDataRequest, not str"),
    (GET_DATA, "junk", "watcher", "GetDataRequest, not str"),
    (CHECK, CheckVersionRequest("/a", 1), None, "only inside multi"),
    (GET_DATA, GetDataRequest(None, False), "watcher", "takes a path, not None"),
    (SYNC, SyncRequest("/a"), "watcher", "sync arms no watch"),
    (ADD_WATCH, AddWatchRequest("/a", 7), "watcher", "mode 7 is no AddWatchMode"),
    (EXISTS, ExistsRequest("/" + "x" * (0xFFFFF - 40), False), "watcher", "too long for a watch"),
]


@pytest.mark.parametrize(("operation", "record", "watcher", "message"), _BAD)
@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "disconnected"])
def test_a_bad_request_is_refused_before_a_byte_is_queued(
    operation: Operation, record: Any, watcher: Any, message: str, is_connected: bool
) -> None:
    talk = connected() if is_connected else Talk()
    with pytest.raises(LocalProtocolError, match=message):
        talk.request(operation, record, watcher)
    if not is_connected:
        assert talk.session.next_deadline() is None, "nothing waits"
        talk.establish()
    assert talk.sent() == []
    assert talk.events() == []
    talk.lose()
    talk.establish()
    assert talk.sent() == []


def test_the_longest_path_for_a_watch_can_be_put_back() -> None:
    talk = connected(max_frame=500)
    longest = "/" + "x" * (500 - 41)
    add_watch(talk, longest, AddWatchMode.PERSISTENT, "watcher")
    talk.serve(reply(1, 5, record=ErrorResponse(0)))
    talk.lose()
    talk.establish()
    (set_watches,), _ = payloads(talk.session.data_to_send(talk.now))
    assert len(set_watches) == 500
    assert talk.session.state is CONNECTED


def test_a_list_that_changes_while_its_request_waits_is_not_looked_at_again() -> None:
    talk = Talk()
    acl = [ACL(31, Id("world", "anyone"))]
    talk.request(CREATE, CreateRequest("/a", b"", acl, 0))  # type: ignore[arg-type]
    acl.clear()
    assert failures(talk.establish()) == []
    assert talk.sent()[0].record.acl == (ACL(31, Id("world", "anyone")),)


def test_a_request_spoilt_while_it_waited_fails_alone() -> None:
    talk = Talk()
    spoilt = talk.request(CREATE, CreateRequest("/a", b"", (ACL(31, Id("world", "anyone")),), 0))
    other = sync(talk)
    spoilt.record = CreateRequest("/a", b"", (), 0)
    events = talk.establish()
    ((request, error),) = failures(events)
    assert request is spoilt
    assert isinstance(error, LocalProtocolError)
    assert talk.sent() == [Sent(other.xid, OpCode.SYNC, SyncRequest("/a"))]


def test_outstanding_counts_requests_without_a_reply() -> None:
    talk = Talk()
    assert talk.session.outstanding == 0
    talk.establish()
    sync(talk), sync(talk)
    assert talk.session.outstanding == 2
    talk.serve(reply(1, record=SyncResponse("/")))
    assert talk.session.outstanding == 1


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


# --- watches


@pytest.mark.rule(48)
@pytest.mark.parametrize(
    ("ask", "answer", "event"),
    [
        (get_data, reply(1, record=DATA_OK), data_changed("/a")),
        (exists, reply(1, record=EXISTS_OK), data_changed("/a")),
        (exists, reply(1, err=NO_NODE), created("/a")),
        (get_children, reply(1, record=GetChildrenResponse(())), children_changed("/a")),
    ],
)
def test_a_watch_is_armed_by_the_reply_and_sees_the_event_right_behind_it(
    ask: Any, answer: bytes, event: bytes
) -> None:
    talk = connected()
    request = ask(talk, "/a", "watcher")
    assert talk.sent()[0].record.watch is True
    events = talk.serve(answer + event)
    assert kinds(events) == [Replied, Fired]
    assert events[0].request is request
    assert fired(events)[0][0] == ["watcher"]
    assert fired(talk.serve(event)) == [], "once"


@pytest.mark.rule(48)
@pytest.mark.parametrize(
    ("ask", "err"),
    [(get_data, NO_NODE), (get_children, NO_NODE), (exists, ErrorCode.NO_AUTH), (get_data, ErrorCode.NO_AUTH)],
)
def test_a_watch_is_not_armed_by_an_error(ask: Any, err: int) -> None:
    talk = connected()
    ask(talk, "/a", "watcher")
    assert kinds(talk.serve(reply(1, err=err), created("/a"), deleted("/a"))) == [Replied]
    talk.lose()
    talk.establish()
    assert OpCode.SET_WATCHES not in talk.opcodes()


@pytest.mark.rule(48, 54, 55)
def test_an_exists_watch_is_put_back_by_what_its_reply_said() -> None:
    talk = connected()
    exists(talk, "/there", "x")
    exists(talk, "/absent", "y")
    talk.serve(reply(1, 5, record=EXISTS_OK), reply(2, 6, NO_NODE))
    talk.lose()
    talk.establish()
    assert talk.sent()[-1].record == SetWatches(6, ("/there",), ("/absent",), ())


@pytest.mark.rule(49, 50)
def test_events_are_handed_on_before_the_replies_behind_them() -> None:
    talk = connected()
    get_data(talk, "/a", "watcher")
    talk.serve(reply(1, record=DATA_OK))
    talk.request(SET_DATA, SetDataRequest("/a", b"x", -1))
    assert kinds(talk.serve(data_changed("/a"), reply(2, record=SetDataResponse(STAT)))) == [Fired, Replied]


@pytest.mark.rule(51, 53)
def test_one_deleted_frame_wakes_data_exist_and_child_watchers() -> None:
    talk = connected()
    exists(talk, "/a", "exist")
    get_data(talk, "/a", "data")
    get_children(talk, "/a", "child")
    talk.serve(reply(1, err=NO_NODE), reply(2, record=DATA_OK), reply(3, record=GetChildrenResponse(())))
    assert fired(talk.serve(deleted("/a"))) == [(["data", "exist", "child"], EventType.NODE_DELETED, "/a")]


@pytest.mark.rule(52)
def test_one_frame_wakes_every_watcher_of_a_path() -> None:
    talk = connected()
    exists(talk, "/a", "first")
    exists(talk, "/a", "second")
    talk.serve(reply(1, err=NO_NODE), reply(2, err=NO_NODE))
    assert fired(talk.serve(created("/a"))) == [(["first", "second"], EventType.NODE_CREATED, "/a")]


@pytest.mark.rule(57)
def test_a_watch_that_fired_before_the_loss_is_not_put_back() -> None:
    talk = connected()
    get_data(talk, "/a", "watcher")
    talk.serve(reply(1, record=DATA_OK), data_changed("/a"))
    talk.lose()
    talk.establish()
    assert talk.opcodes()[1:] == []


@pytest.mark.rule(58)
def test_a_watch_whose_reply_was_lost_is_not_known() -> None:
    talk = connected()
    request = get_data(talk, "/a", "watcher")
    talk.sent()
    assert [failed for failed, _ in failures(talk.lose())] == [request]
    talk.establish()
    assert talk.sent() == []
    assert fired(talk.serve(data_changed("/a"))) == []


@pytest.mark.rule(54)
def test_events_found_by_set_watches_come_before_connected_requests_are_answered() -> None:
    talk = connected()
    get_data(talk, "/a", "watcher")
    talk.serve(reply(1, 5, record=DATA_OK))
    talk.lose()
    waiting = sync(talk)
    talk.establish()
    events = talk.serve(data_changed("/a"), reply(2, 9), reply(3, 9, record=SyncResponse("/a")))
    assert kinds(events) == [Fired, Replied]
    assert events[1].request is waiting
    talk.lose()
    talk.establish()
    assert OpCode.SET_WATCHES not in talk.opcodes()[-1:], "it was not armed again"


@pytest.mark.rule(61, 63)
def test_a_persistent_watch_is_armed_by_its_reply_and_stays() -> None:
    talk = connected()
    add_watch(talk, "/a", AddWatchMode.PERSISTENT, "stream")
    assert fired(talk.serve(created("/a"))) == [], "not before the reply"
    events = talk.serve(reply(1, record=ErrorResponse(0)), created("/a"), children_changed("/a"), deleted("/a"))
    assert [kind for _, kind, _ in fired(events)] == [1, 4, 2]


@pytest.mark.rule(62)
def test_a_recursive_watch_sees_descendants_and_never_children_changed() -> None:
    talk = connected()
    add_watch(talk, "/a", AddWatchMode.PERSISTENT_RECURSIVE, "stream")
    get_children(talk, "/a/b", "child")
    talk.serve(reply(1, record=ErrorResponse(0)), reply(2, record=GetChildrenResponse(())))
    events = talk.serve(created("/a/b/c"), children_changed("/a/b"), deleted("/a"), created("/ab"))
    assert fired(events) == [
        (["stream"], EventType.NODE_CREATED, "/a/b/c"),
        (["child"], EventType.NODE_CHILDREN_CHANGED, "/a/b"),
        (["stream"], EventType.NODE_DELETED, "/a"),
    ]


@pytest.mark.rule(64)
def test_persistent_watches_are_told_to_resync_after_the_set_watches_2_reply() -> None:
    talk = connected()
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "p")
    add_watch(talk, "/r", AddWatchMode.PERSISTENT_RECURSIVE, "r")
    get_data(talk, "/d", "d")
    talk.serve(reply(1, record=ErrorResponse(0)), reply(2, record=ErrorResponse(0)), reply(3, 8, record=DATA_OK))
    talk.lose()
    waiting = sync(talk)
    assert fired(talk.establish()) == []
    assert talk.sent()[-2].record == SetWatches2(8, ("/d",), (), (), ("/p",), ("/r",))
    events = talk.serve(reply(4, 9), reply(5, 9, record=SyncResponse("/a")))
    assert events == [
        Fired(["p"], WatchedEvent(EventType.RESYNC, CONNECTED, "")),
        Fired(["r"], WatchedEvent(EventType.RESYNC, CONNECTED, "")),
        Replied(waiting, 9, 0, SyncResponse("/a")),
    ]


@pytest.mark.rule(64)
def test_a_stream_that_left_meanwhile_is_not_told_to_resync() -> None:
    talk = connected()
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "p")
    talk.serve(reply(1, record=ErrorResponse(0)))
    talk.lose()
    talk.establish()
    talk.session.disarm("/p", "p", talk.now)
    assert fired(talk.serve(reply(2, 9))) == []


def test_set_watches_that_fails_costs_the_connection() -> None:
    talk = connected()
    get_data(talk, "/d", "d")
    talk.serve(reply(1, record=DATA_OK))
    talk.lose()
    talk.establish()
    assert talk.serve(reply(2, 9, -5)) == [Disconnected("setWatches failed with -5: the watches do not stand")]


@pytest.mark.rule(65)
def test_a_one_shot_behind_an_add_watch_on_its_way_rides_on_it() -> None:
    talk = connected()
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "stream")
    get_data(talk, "/p", "rider")
    assert [found.record for found in talk.sent()] == [AddWatchRequest("/p", 0), GetDataRequest("/p", False)]
    talk.serve(reply(1, record=ErrorResponse(0)), reply(2, record=DATA_OK))
    assert fired(talk.serve(data_changed("/p"))) == [(["rider", "stream"], EventType.NODE_DATA_CHANGED, "/p")]
    assert fired(talk.serve(data_changed("/p"))) == [(["stream"], EventType.NODE_DATA_CHANGED, "/p")]


@pytest.mark.rule(65)
@pytest.mark.parametrize(
    ("ask", "answer", "record"),
    [
        (get_data, reply(2, 7, record=DATA_OK), SetWatches(7, ("/p",), (), ())),
        (exists, reply(2, 7, NO_NODE), SetWatches(7, (), ("/p",), ())),
        (get_children, reply(2, 7, record=GetChildrenResponse(())), SetWatches(7, (), (), ("/p",))),
    ],
)
def test_a_rider_on_an_add_watch_that_is_refused_gets_a_watch_of_its_own(
    ask: Any, answer: bytes, record: SetWatches
) -> None:
    talk = connected()
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "stream")
    ask(talk, "/p", "rider")
    talk.sent()
    talk.serve(reply(1, 6, ErrorCode.THROTTLED_OP), answer)
    assert talk.sent() == [Sent(3, OpCode.SET_WATCHES, record)]
    assert talk.serve(reply(3, 7)) == []
    assert fired(talk.serve(deleted("/p"))) == [(["rider"], EventType.NODE_DELETED, "/p")]


@pytest.mark.rule(65)
def test_an_add_watch_refused_before_another_on_the_same_path_costs_the_connection() -> None:
    talk = connected()
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "first")
    rider = get_data(talk, "/p", "rider")
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "second")
    talk.sent()
    refused, given_up = talk.serve(reply(1, 6, ErrorCode.THROTTLED_OP), reply(2, 7, record=DATA_OK))
    assert isinstance(refused, Replied)
    assert given_up == Disconnected("addWatch failed with -127 while another one was on its way to /p")
    assert failures(talk.lose())[0][0] is rider


@pytest.mark.rule(67)
def test_a_watch_whose_last_interest_ended_behind_an_add_watch_is_removed_when_that_is_refused() -> None:
    talk = connected()
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "first")
    talk.serve(reply(1, record=ErrorResponse(0)))
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "second")
    talk.session.disarm("/p", "first", talk.now)
    assert talk.opcodes() == [OpCode.ADD_WATCH, OpCode.ADD_WATCH]
    talk.serve(reply(2, 6, ErrorCode.THROTTLED_OP))
    assert talk.sent() == [Sent(3, OpCode.REMOVE_WATCHES, RemoveWatchesRequest("/p", WatcherType.ANY))]


@pytest.mark.rule(65)
def test_nothing_rides_on_a_persistent_watch_that_went_with_its_connection() -> None:
    talk = connected()
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "stream")
    talk.serve(reply(1, record=ErrorResponse(0)))
    talk.lose()
    talk.session.disarm("/p", "stream", talk.now)
    get_data(talk, "/p", "watcher")
    talk.establish()
    assert talk.sent() == [Sent(2, OpCode.GET_DATA, GetDataRequest("/p", True))]


@pytest.mark.rule(62)
def test_a_child_watch_hidden_by_a_recursive_one_is_set_again() -> None:
    talk = connected()
    get_children(talk, "/r", "child")
    add_watch(talk, "/r", AddWatchMode.PERSISTENT_RECURSIVE, "stream")
    talk.sent()
    talk.serve(reply(1, 5, record=GetChildrenResponse(())), reply(2, 6, record=ErrorResponse(0)))
    assert talk.sent() == [Sent(3, OpCode.SET_WATCHES, SetWatches(6, (), (), ("/r",)))]
    assert fired(talk.serve(reply(3, 6), children_changed("/r"))) == [
        (["child"], EventType.NODE_CHILDREN_CHANGED, "/r")
    ]


@pytest.mark.rule(27, 62)
def test_last_zxid_is_not_moved_while_a_child_watch_is_set_again() -> None:
    talk = connected()
    get_children(talk, "/r", "child")
    add_watch(talk, "/r", AddWatchMode.PERSISTENT_RECURSIVE, "stream")
    sync(talk)
    talk.serve(reply(1, 5, record=GetChildrenResponse(())), reply(2, 6, record=ErrorResponse(0)))
    talk.serve(reply(3, 9, record=SyncResponse("/a")))
    assert talk.session.last_zxid == 6, "a change under /r from 7 to 9 has given no event yet"
    talk.serve(reply(4, 9))
    assert talk.session.last_zxid == 9


@pytest.mark.rule(67)
def test_the_last_watcher_that_leaves_takes_the_servers_watch_with_it() -> None:
    talk = connected()
    get_data(talk, "/a", "x")
    get_data(talk, "/a", "y")
    talk.serve(reply(1, record=DATA_OK), reply(2, record=DATA_OK))
    talk.sent()
    talk.session.disarm("/a", "x", talk.now)
    assert talk.sent() == []
    talk.session.disarm("/a", "y", talk.now)
    talk.session.disarm("/a", "y", talk.now)
    assert talk.sent() == [Sent(3, OpCode.REMOVE_WATCHES, RemoveWatchesRequest("/a", WatcherType.DATA))]
    assert talk.serve(data_changed("/a"), reply(3)) == [], "an event that crosses it is discarded"


@pytest.mark.rule(66, 67)
def test_no_watcher_is_no_failure_of_a_removal() -> None:
    talk = connected()
    add_watch(talk, "/a", AddWatchMode.PERSISTENT, "x")
    talk.serve(reply(1, record=ErrorResponse(0)))
    talk.session.disarm("/a", "x", talk.now)
    assert talk.serve(reply(2, 5, ErrorCode.NO_WATCHER)) == []
    assert talk.session.state is CONNECTED


@pytest.mark.rule(67)
def test_a_removal_waits_for_the_reply_that_arms_on_the_same_path() -> None:
    talk = connected()
    get_data(talk, "/a", "x")
    talk.serve(reply(1, record=DATA_OK))
    exists(talk, "/a", "y")
    talk.session.disarm("/a", "x", talk.now)
    assert talk.opcodes() == [OpCode.GET_DATA, OpCode.EXISTS]
    talk.serve(reply(2, err=ErrorCode.NO_AUTH))
    assert talk.opcodes() == [OpCode.REMOVE_WATCHES]


@pytest.mark.rule(67)
def test_a_persistent_watch_goes_when_its_last_rider_has_fired() -> None:
    talk = connected()
    add_watch(talk, "/p", AddWatchMode.PERSISTENT, "stream")
    get_data(talk, "/p", "rider")
    talk.serve(reply(1, record=ErrorResponse(0)), reply(2, record=DATA_OK))
    talk.session.disarm("/p", "stream", talk.now)
    assert OpCode.REMOVE_WATCHES not in talk.opcodes()
    assert fired(talk.serve(data_changed("/p"))) == [(["rider"], EventType.NODE_DATA_CHANGED, "/p")]
    assert talk.sent() == [Sent(3, OpCode.REMOVE_WATCHES, RemoveWatchesRequest("/p", WatcherType.ANY))]


def test_a_server_that_does_not_know_remove_watches_is_asked_only_once() -> None:
    talk = connected()
    for index, path in enumerate(("/a", "/b")):
        get_data(talk, path, path)
        talk.serve(reply(index + 1, record=DATA_OK))
    talk.session.disarm("/a", "/a", talk.now)
    talk.sent()
    assert talk.serve(reply(3, -1, ErrorCode.UNIMPLEMENTED)) == []
    assert kinds(talk.eof()) == [Disconnected]
    talk.lose()
    talk.establish()
    talk.sent()
    talk.session.disarm("/b", "/b", talk.now)
    assert talk.sent() == []


@pytest.mark.parametrize("doomed_by", ["eof", "nonsense", "silence"])
def test_a_watcher_may_leave_between_disconnected_and_the_loss(doomed_by: str) -> None:
    talk = connected()
    get_data(talk, "/a", "x")
    talk.serve(reply(1, record=DATA_OK))
    talk.sent()
    events = doom(talk, doomed_by)
    assert kinds(events) == [Disconnected]
    talk.session.disarm("/a", "x", talk.now)
    talk.lose()
    talk.establish()
    assert talk.sent() == []


def test_a_watcher_may_leave_while_there_is_no_connection() -> None:
    talk = connected()
    get_data(talk, "/a", "x")
    talk.serve(reply(1, record=DATA_OK))
    talk.lose()
    talk.session.disarm("/a", "x", talk.now)
    talk.establish()
    assert talk.sent() == []


# --- the end


@pytest.mark.rule(46)
def test_close_sends_close_session_and_is_closed_by_its_reply() -> None:
    talk = connected()
    pending = sync(talk)
    talk.session.close(talk.now)
    talk.session.close(talk.now)
    assert talk.opcodes() == [OpCode.SYNC, OpCode.CLOSE_SESSION]
    assert talk.session.state is CONNECTED
    events = talk.serve(reply(1, record=SyncResponse("/a")), reply(2))
    assert kinds(events) == [Replied, StateChanged, Disconnected]
    assert events[0].request is pending
    assert states(events) == [CLOSED]
    assert talk.lose() == []


@pytest.mark.rule(33)
def test_nothing_is_taken_behind_close() -> None:
    talk = connected()
    talk.session.close(talk.now)
    talk.sent()
    with pytest.raises(ClosedError, match=r"closed \(sync\)"):
        sync(talk)
    with pytest.raises(ClosedError):
        add_auth(talk, b"a")
    assert talk.sent() == []


def test_close_without_a_connection_is_closed_at_once() -> None:
    talk = Talk()
    waiting = sync(talk)
    talk.session.close(talk.now)
    events = talk.events()
    assert kinds(events) == [Failed, StateChanged]
    ((request, error),) = failures(events)
    assert request is waiting
    assert isinstance(error, ClosedError)
    assert str(error) == "the client is closed (sync)"
    assert states(events) == [CLOSED]
    assert talk.session.next_deadline() is None


def test_close_during_the_handshake_is_closed_at_once() -> None:
    talk = Talk()
    talk.dial()
    talk.session.close(talk.now)
    assert kinds(talk.events()) == [StateChanged, Disconnected]
    assert talk.serve(connect_response()) == []


@pytest.mark.parametrize("doomed_by", ["eof", "nonsense", "silence"])
def test_close_between_disconnected_and_the_loss_is_closed_at_once(doomed_by: str) -> None:
    talk = connected()
    pending = sync(talk)
    talk.sent()
    events = doom(talk, doomed_by)
    assert kinds(events) == [Disconnected]
    behind = sync(talk)
    talk.session.close(talk.now)
    events = talk.events()
    assert [request for request, _ in failures(events)] == [pending, behind], "in call order"
    assert states(events) == [CLOSED]
    assert Disconnected not in kinds(events), "that was said"
    assert talk.lose() == []


def test_a_loss_while_closing_is_closed_without_another_connection() -> None:
    talk = connected()
    written = sync(talk)
    talk.sent()
    unwritten = sync(talk)
    talk.session.close(talk.now)
    assert kinds(talk.eof()) == [Disconnected]
    events = talk.lose()
    assert [(request, type(error)) for request, error in failures(events)] == [
        (written, ConnectionLossError),
        (unwritten, ClosedError),
    ]
    assert states(events) == [CLOSED]


def test_a_silent_server_is_given_up_while_closing() -> None:
    talk = connected()
    talk.session.close(talk.now)
    assert kinds(talk.at(106.7)) == [Disconnected]
    assert states(talk.lose()) == [CLOSED]


@pytest.mark.parametrize("mode", [AddWatchMode.PERSISTENT_RECURSIVE, AddWatchMode.PERSISTENT])
def test_watches_armed_while_closing_ask_for_nothing_more_and_are_told_of_the_end(mode: AddWatchMode) -> None:
    talk = connected()
    get_children(talk, "/r", "child")
    add_watch(talk, "/r", mode, "stream")
    get_data(talk, "/d", "data")
    talk.session.disarm("/r", "child", talk.now)
    talk.session.close(talk.now)
    events = talk.serve(
        reply(1, record=GetChildrenResponse(())),
        reply(2, record=ErrorResponse(0)),
        reply(3, record=DATA_OK),
        data_changed("/d"),
        reply(4),
    )
    assert kinds(events) == [Replied, Replied, Replied, Fired, StateChanged, Fired, Disconnected]
    assert fired(events)[1] == (["child", "stream"], EventType.NONE, "")
    assert talk.opcodes() == []


def test_a_watcher_may_leave_while_closing() -> None:
    talk = connected()
    get_data(talk, "/a", "x")
    talk.serve(reply(1, record=DATA_OK))
    talk.session.close(talk.now)
    talk.session.disarm("/a", "x", talk.now)
    assert talk.opcodes() == [OpCode.GET_DATA, OpCode.CLOSE_SESSION]
    assert fired(talk.serve(reply(2))) == []


@pytest.mark.rule(47)
def test_detach_ends_without_close_session() -> None:
    talk = connected()
    get_data(talk, "/a", "watcher")
    talk.serve(reply(1, record=DATA_OK))
    pending = sync(talk)
    talk.session.detach()
    assert talk.session.data_to_send(talk.now) == b""
    events = talk.events()
    assert kinds(events) == [Failed, StateChanged, Fired, Disconnected]
    assert events[0].request is pending
    assert events[2] == Fired(["watcher"], WatchedEvent(EventType.NONE, CLOSED, ""))
    talk.session.detach()
    assert talk.events() == []
    assert talk.session.info == SessionInfo(SESSION_ID, PASSWORD), "which whoever resumes it needs"


def _expired(talk: Talk) -> None:
    talk.lose()
    talk.at(200.0)


def _auth_failed(talk: Talk) -> None:
    talk.serve(pong(err=-124))


def _closed(talk: Talk) -> None:
    talk.session.detach()


@pytest.mark.rule(33)
@pytest.mark.parametrize(
    ("end", "error"),
    [(_expired, SessionExpiredError), (_auth_failed, AuthFailedError), (_closed, ClosedError)],
)
def test_a_session_that_is_over_refuses_everything_with_its_own_error(end: Any, error: type[Exception]) -> None:
    talk = connected()
    end(talk)
    talk.events()
    state = talk.session.state
    for _ in range(2):
        with pytest.raises(error, match="sync"):
            sync(talk)
        with pytest.raises(error, match="auth"):
            add_auth(talk, b"a")
    talk.session.close(talk.now)
    talk.session.detach()
    talk.session.disarm("/a", "x", talk.now)
    talk.serve(pong())
    talk.lose()
    talk.at(1e6)
    assert talk.events() == []
    assert talk.session.state is state
    assert talk.session.next_deadline() is None


# --- the table


def _to_read_only(talk: Talk) -> None:
    talk.establish(connect_response(read_only=True))


_REACHED: dict[KeeperState, Any] = {
    DISCONNECTED: lambda talk: None,
    CONNECTED: lambda talk: talk.establish(),
    READ_ONLY: _to_read_only,
}


def _refused(talk: Talk) -> None:
    talk.establish(refusal())


def _auth_refused(talk: Talk) -> None:
    if talk.session.state is DISCONNECTED:
        talk.establish()
    add_auth(talk, b"", "nonsense")
    talk.serve(auth_reply(), auth_reply(-115))


_WAYS: dict[tuple[KeeperState, KeeperState], Any] = {
    (DISCONNECTED, CONNECTED): lambda talk: talk.establish(),
    (DISCONNECTED, READ_ONLY): _to_read_only,
    (DISCONNECTED, EXPIRED): _refused,
    (DISCONNECTED, CLOSED): _closed,
    (CONNECTED, DISCONNECTED): lambda talk: talk.lose(),
    (CONNECTED, AUTH_FAILED): _auth_failed,
    (CONNECTED, CLOSED): _closed,
    (READ_ONLY, DISCONNECTED): lambda talk: talk.lose(),
    (READ_ONLY, AUTH_FAILED): _auth_failed,
    (READ_ONLY, CLOSED): _closed,
}


@pytest.mark.parametrize(("before", "after"), _WAYS, ids=lambda state: state.name)
def test_session_goes_every_way_of_its_table(before: KeeperState, after: KeeperState) -> None:
    talk = Talk(read_only=True)
    _REACHED[before](talk)
    assert talk.session.state is before
    _WAYS[before, after](talk)
    assert talk.session.state is after


def test_session_fails_authentication_before_it_is_connected() -> None:
    talk = Talk(auth=[("nonsense", b"")])
    talk.establish()
    assert states(talk.serve(auth_reply(-115))) == [AUTH_FAILED]


def test_the_table_has_no_way_that_no_test_goes() -> None:
    ways = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    assert ways == {*_WAYS, (DISCONNECTED, AUTH_FAILED)}


def test_a_way_that_the_table_does_not_have_is_a_fault_of_ours() -> None:
    talk = connected()
    with pytest.raises(AssertionError, match="no way from SYNC_CONNECTED to EXPIRED"):
        talk.session._change_state(EXPIRED, "")


def test_an_empty_session_has_nothing_to_say() -> None:
    talk = Talk()
    assert talk.session.next_event(0.0) is NEED_DATA
    assert talk.session.next_deadline() is None
    assert talk.session.data_to_send(0.0) == b""


@pytest.mark.parametrize("operation", [BY_OPCODE[OpCode.PING], AUTH, BY_OPCODE[OpCode.CLOSE_SESSION]])
def test_what_the_session_sends_by_itself_is_refused_as_a_request(operation: Operation) -> None:
    talk = connected()
    record = AuthPacket(0, "digest", b"a:b") if operation is AUTH else None
    with pytest.raises(LocalProtocolError, match=operation.name):
        talk.session.request(Request(operation, record), talk.now)
    assert talk.sent() == []


def test_auths_are_for_the_session_that_follows() -> None:
    talk = connected_with_auths(("digest", b"a:b"))
    talk.session.add_auth(Request(AUTH, AuthPacket(0, "digest", b"c:d")), talk.now)
    assert talk.session.auths == [("digest", b"a:b"), ("digest", b"c:d")]


def test_session_tells_what_its_connection_has_an_answer_to_and_nothing_without_one() -> None:
    session = Session(10.0)
    assert session.last_answered(9.0) is None
    session.tcp_connected(2.0, 5.0)
    assert session.last_answered(9.0) == 2.0
    session.tcp_lost(3.0, "cut")
    assert session.last_answered(9.0) is None


def connected_with_auths(*auths: tuple[str, bytes]) -> Talk:
    talk = Talk(10.0, auth=auths)
    talk.establish()
    assert states(talk.serve(*[auth_reply() for _ in auths])) == [CONNECTED]
    return talk


def test_event_found_by_set_watches_is_for_one_shot_watches_where_others_have_zxids() -> None:
    """Since 3.9.0. Before, all events have -1, and a persistent watch gets them too."""
    for zxid, expected in ((7, ["one-shot"]), (-1, ["one-shot", "persistent"])):
        talk = connected()
        talk.request(ADD_WATCH, AddWatchRequest("/a", AddWatchMode.PERSISTENT), "persistent")
        talk.serve(reply(1, record=ErrorResponse(0)))
        (first,) = fired(talk.serve(notification(EventType.NODE_CREATED, "/a", zxid=zxid)))
        assert first[0] == ["persistent"]
        get_data(talk, "/a", "one-shot")
        talk.serve(reply(2, record=DATA_OK))
        (second,) = fired(talk.serve(notification(EventType.NODE_DATA_CHANGED, "/a", zxid=-1)))
        assert second[0] == expected


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


def test_watch_whose_event_would_be_too_long_is_refused() -> None:
    talk = connected(max_reply=100)
    exists(talk, "/" + "a" * 71, "watcher")
    with pytest.raises(LocalProtocolError, match="whose event max_reply=100 would not take"):
        exists(talk, "/" + "a" * 72, "watcher")
    assert len(notification(EventType.NODE_CREATED, "/" + "a" * 71)) == 4 + 100


# --- setWatches that a server closes the connection for


@pytest.mark.rule(56)
def test_setwatches_get_shorter_while_connections_are_lost_before_they_are_answered() -> None:
    talk = connected()
    paths = [f"/{number:099}" for number in range(100)]
    for path in paths:
        exists(talk, path, path)
        talk.serve(reply(talk.sent()[0].xid, 5, NO_NODE))
    talk.lose()
    sizes, reasons = [], []
    for _ in range(8):
        talk.establish()
        sent = talk.sent()
        assert [path for request in sent for path in request.record.exist_watches] == paths, "all come back, each once"
        sizes.append(max(len(request.record.exist_watches) for request in sent))
        talk.eof()
        (event,) = talk.lose("the server closed the connection")
        reasons.append(event.reason)
    assert sizes == [100, 25, 6, 1, 1, 1, 1, 1]
    assert reasons[0] == (
        "the server closed the connection; no answer to a setWatches of 10428 bytes: "
        "the next are shorter, if its jute.maxbuffer is less"
    )


@pytest.mark.rule(56)
def test_setwatches_stay_as_they_are_when_a_connection_is_lost_after_they_were_answered() -> None:
    talk = connected()
    for path in ("/a", "/b"):
        exists(talk, path, path)
        talk.serve(reply(talk.sent()[0].xid, 5, NO_NODE))
    talk.lose()
    for _ in range(5):
        talk.establish()
        (restoring,) = talk.sent()
        assert restoring.record.exist_watches == ("/a", "/b")
        talk.serve(reply(restoring.xid, 5))
        sync(talk)
        talk.sent()
        talk.lose()


@pytest.mark.rule(56)
def test_setwatches_that_never_left_do_not_make_the_next_ones_shorter() -> None:
    talk = connected()
    for path in ("/a", "/b"):
        exists(talk, path, path)
        talk.serve(reply(talk.sent()[0].xid, 5, NO_NODE))
    talk.lose()
    talk.establish()
    talk.lose()  # nothing was taken from the outbox
    talk.establish()
    assert len(talk.sent()) == 1


@pytest.mark.rule(56)
def test_setwatches_stay_as_they_are_when_one_as_long_was_answered_on_the_connection() -> None:
    talk = connected()
    for number in range(200):
        exists(talk, f"/{number:0999}", number)
        talk.serve(reply(talk.sent()[0].xid, 5, NO_NODE))
    talk.lose()
    for _ in range(3):
        talk.establish()
        first, second = talk.sent()
        talk.serve(reply(first.xid, 5))
        events = talk.lose("cut")
        assert events[0].reason == "cut"
        assert len(first.record.exist_watches) > len(second.record.exist_watches)
    talk.establish()
    talk.sent()
    assert "no answer to a setWatches" in talk.lose("cut")[0].reason
    talk.establish()
    assert len(talk.sent()) == 7
