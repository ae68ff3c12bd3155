"""What a lease is counted from: when the last thing was sent that the server had answered by a time."""

from __future__ import annotations

import math

from tests.support.fake.connections import established, send, served
from tests.support.fake.wire import pong, reply
from zkwire.codes import ErrorCode
from zkwire.session.connection import Connection
from zkwire.session.events import Ponged
from zkwire.session.requests import Request


def asks(connection: Connection, sent: float, answered: float | None = None) -> None:
    """Send a request, and take its reply."""
    request = send(connection, now=sent)
    connection.data_to_send(sent)
    if answered is not None:
        answer(connection, request, answered)


def answer(connection: Connection, request: Request, now: float) -> None:
    assert len(served(connection, reply(request.xid, err=ErrorCode.NO_NODE), now=now)) == 1


def test_connection_tells_what_had_been_answered_by_a_time() -> None:
    connection = established()  # of 10 s: a time each 0.42 s is kept
    asks(connection, 1.0, 1.1)
    asks(connection, 1.2, 1.3)  # counts as what was sent at 1.0
    asks(connection, 2.0, 4.0)
    asks(connection, 5.0)
    times = (9.0, 4.0, 3.9, 1.1, 1.0)
    assert [connection.last_answered(before) for before in times] == [2.0, 2.0, 1.0, 1.0, 0.0]


def test_answer_does_not_show_that_what_was_sent_later_has_arrived() -> None:
    connection = established()
    first = send(connection, now=1.0)
    connection.data_to_send(1.0)
    second = send(connection, now=2.0)
    connection.data_to_send(2.0)
    answer(connection, first, 3.0)
    assert connection.last_answered(9.0) == 1.0
    answer(connection, second, 4.0)
    assert connection.last_answered(9.0) == 2.0


def test_answer_to_a_ping_shows_that_it_had_arrived() -> None:
    connection = established()
    asks(connection, 0.5, 0.6)
    assert connection.handle_timeout(4.0) is None
    connection.data_to_send(4.0)
    send(connection, now=4.1)
    connection.data_to_send(4.1)
    assert connection.last_answered(9.0) == 0.5
    assert served(connection, pong(6), pong(6), now=5.0) == [Ponged(6)] * 2  # one more than there were pings
    assert connection.last_answered(9.0) == 4.0
    assert connection.last_answered(4.9) == 0.5


def test_connection_counts_from_its_connect_request_at_the_earliest() -> None:
    connection = established()
    assert connection.last_answered(-5.0) == 0.0
    assert connection.last_answered(math.inf) == 0.0


def test_connection_that_sends_much_keeps_few_times_and_is_early_rather_than_late() -> None:
    connection = established()
    for tenth in range(1, 300):
        asks(connection, tenth / 10, tenth / 10)
    for before in (29.9, 28.0, 26.2):
        assert before - 10 / 24 - 0.1 <= connection.last_answered(before) <= before
    assert connection.last_answered(1.0) == 0.0  # so long ago that it is no longer known
