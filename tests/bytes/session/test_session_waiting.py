"""Lost connections, and requests that wait: which fail, which are kept, in which order, and how long they wait."""

from __future__ import annotations

import pytest

from tests.support.fake.talks import CONNECTED, connected, kinds, sync
from tests.support.fake.wire import SESSION_ID, Talk, connect_response, failures, pong, replies, reply, states
from zkwire.errors import LocalProtocolError
from zkwire.records import SyncResponse
from zkwire.session.events import Disconnected, Failed, StateChanged


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


def test_request_made_after_a_disconnected_waits_and_is_sent_after_those_that_were_kept() -> None:
    talk = connected()
    kept = sync(talk, "/kept")
    assert kinds(talk.eof()) == [Disconnected]
    assert talk.session.data_to_send(talk.now) == b""
    after = sync(talk, "/after")
    assert talk.events() == []
    talk.lose()
    talk.establish()
    assert [found.record.path for found in talk.sent()] == [kept.path, after.path] == ["/kept", "/after"]


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


def test_a_second_connection_beside_the_first_is_an_error_of_the_caller() -> None:
    talk = connected()
    with pytest.raises(LocalProtocolError, match="call tcp_lost before the next one"):
        talk.dial()


def test_a_connection_for_a_session_that_is_over_is_an_error_of_the_caller() -> None:
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


@pytest.mark.parametrize("granted", [4.0, 0.5])
def test_requests_wait_for_a_session_by_what_an_earlier_one_was_granted(granted: float) -> None:
    talk = Talk(60.0, granted=granted)
    assert talk.session.session_timeout == granted
    sync(talk)
    assert talk.session.next_deadline() == pytest.approx(100 + granted * 4 / 3)
    assert talk.dial().time_out == 60_000
