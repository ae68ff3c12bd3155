"""The session and `on_frame`, which is not our code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake.talks import CONNECTED, DISCONNECTED, sync
from tests.support.fake.wire import NO_NODE, Talk, auth_reply, connect_response, replies, reply, states
from zkwire.frames import Frame
from zkwire.records import SyncResponse
from zkwire.session.events import NEED_DATA, StateChanged
from zkwire.session.session import Session


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


def test_on_frame_that_fails_as_the_connection_ends_is_still_reported() -> None:
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
