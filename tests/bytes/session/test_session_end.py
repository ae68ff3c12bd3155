"""The end of a session: closed, detached, expired, or refused."""

from __future__ import annotations

import pytest

from tests.support.fake.talks import (
    CLOSED,
    CONNECTED,
    DATA_OK,
    add_auth,
    connected,
    doom,
    get_data,
    kinds,
    sync,
)
from tests.support.fake.wire import (
    PASSWORD,
    SESSION_ID,
    Talk,
    connect_response,
    failures,
    reply,
    states,
)
from zkwire.codes import EventType, OpCode
from zkwire.errors import ClosedError, ConnectionLossError
from zkwire.records import SyncResponse
from zkwire.session.events import Disconnected, Failed, Fired, Replied, SessionInfo, StateChanged, WatchedEvent


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
def test_nothing_is_taken_after_close() -> None:
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
    after = sync(talk)
    talk.session.close(talk.now)
    events = talk.events()
    assert [request for request, _ in failures(events)] == [pending, after], "in call order"
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
    assert talk.session.info == SessionInfo(SESSION_ID, PASSWORD), "they are needed to resume it"
