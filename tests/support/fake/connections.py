"""A Connection of the client, and by hand the server at its other end."""

from __future__ import annotations

from typing import Any

from tests.support.fake.wire import connect_response
from zkwire.operations import EXISTS
from zkwire.records import ConnectRequest, ExistsRequest
from zkwire.session.connection import Connection
from zkwire.session.events import NEED_DATA, Connected
from zkwire.session.requests import Request

HELLO = ConnectRequest(0, 0, 10_000, 0, bytes(16), False)


def handshaking(**options: Any) -> Connection:
    """A connection whose ConnectRequest has been written at 0.0."""
    connection = Connection(HELLO, now=0.0, deadline=3.0, **options)
    connection.data_to_send(0.0)
    return connection


def established(**options: Any) -> Connection:
    connection = handshaking(**options)
    connection.receive_data(connect_response(), 0.0)
    assert type(connection.next_event(0.0)) is Connected
    return connection


def send(connection: Connection, path: str = "/a", now: float = 0.0) -> Request:
    request = Request(EXISTS, ExistsRequest(path, False))
    connection.send(request, now)
    return request


def served(connection: Connection, *frames: bytes, now: float = 0.0) -> list[Any]:
    connection.receive_data(b"".join(frames), now)
    events = []
    while (event := connection.next_event(now)) is not NEED_DATA and event is not None:
        events.append(event)
    return events
