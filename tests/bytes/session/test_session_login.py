"""Authentication of a session: auths and SASL on every connection, before anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake.talks import (
    AUTH_FAILED,
    CLOSED,
    CONNECTED,
    DATA_OK,
    DISCONNECTED,
    EXPIRED,
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
    PASSWORD,
    Sent,
    Talk,
    auth_reply,
    connect_response,
    failures,
    pong,
    refusal,
    replies,
    reply,
    states,
)
from zkwire.codes import ErrorCode, OpCode
from zkwire.errors import AuthFailedError, ClosedError, LocalProtocolError, SessionExpiredError
from zkwire.operations import AUTH
from zkwire.records import AuthPacket, GetSASLRequest, SetWatches, SyncRequest, SyncResponse
from zkwire.session.events import Disconnected, Failed, Fired, Replied, SessionInfo, StateChanged
from zkwire.session.requests import Request
from zkwire.session.sasl import FIPS_HINT, DigestMD5

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


def test_connected_session_has_no_handshake_to_end() -> None:
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
    assert auths_after(talk) == []
    assert states(talk.establish()) == [CONNECTED], "without it the session is connected again"


def test_auth_without_any_server_fails_as_every_request_does() -> None:
    talk = Talk(session_timeout=9.0)
    added = add_auth(talk, b"a:a")
    assert talk.session.next_deadline() == 112.0
    ((request, error),) = failures(talk.at(112.0))
    assert request is added
    assert str(error) == "CONNECTION_LOSS (-4): auth (not sent; no server)"
    assert auths_after(talk) == []
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
            "SASL: sasl takes 1048588 bytes, but a request may have 1048575 at most (the server's jute.maxbuffer)",
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


def test_minus_124_on_a_request_of_the_sessions_own_is_not_given_to_a_caller() -> None:
    talk = connected()
    get_data(talk, "/d", "watcher")
    talk.serve(reply(1, record=DATA_OK))
    talk.lose()
    talk.establish()
    events = talk.serve(reply(2, 0, -124))
    assert kinds(events) == [StateChanged, Fired, Disconnected]


def test_session_fails_authentication_before_it_is_connected() -> None:
    talk = Talk(auth=[("nonsense", b"")])
    talk.establish()
    assert states(talk.serve(auth_reply(-115))) == [AUTH_FAILED]


def test_auths_are_for_the_session_that_follows() -> None:
    talk = connected_with_auths(("digest", b"a:b"))
    talk.session.add_auth(Request(AUTH, AuthPacket(0, "digest", b"c:d")), talk.now)
    assert auths_after(talk) == [("digest", b"a:b"), ("digest", b"c:d")]


def auths_after(talk: Talk) -> list[tuple[str, bytes]]:
    """What the session that follows sends first, as (scheme, auth)."""
    following = Talk()
    following.session = talk.session.successor()
    following.establish()
    return [(sent.record.scheme, sent.record.auth) for sent in following.sent()]


def connected_with_auths(*auths: tuple[str, bytes]) -> Talk:
    talk = Talk(10.0, auth=auths)
    talk.establish()
    assert states(talk.serve(*[auth_reply() for _ in auths])) == [CONNECTED]
    return talk
