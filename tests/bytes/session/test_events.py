"""What the core gives its caller: values that show no secret and compare as expected."""

from __future__ import annotations

import pickle
from typing import Any

from zkwire.codes import EventType, KeeperState
from zkwire.frames import Direction, Frame
from zkwire.jute import encode
from zkwire.operations import AUTH
from zkwire.records import AuthPacket, ConnectResponse, SetSASLResponse
from zkwire.session.events import (
    NEED_DATA,
    AuthReplied,
    Connected,
    Failed,
    NeedData,
    Replied,
    SessionInfo,
    WatchedEvent,
)
from zkwire.session.requests import Request


def test_need_data_is_one_object_that_shows_its_name() -> None:
    assert isinstance(NEED_DATA, NeedData)
    assert repr(NEED_DATA) == "NEED_DATA"


def test_watched_event_has_no_zxid_unless_the_server_gave_one() -> None:
    event = WatchedEvent(EventType.NODE_CREATED, KeeperState.SYNC_CONNECTED, "/a")
    assert event.zxid == -1
    assert event == (1, 3, "/a", -1)


def test_session_info_shows_the_id_as_servers_log_it_and_hides_the_password() -> None:
    info = SessionInfo(-0x7FFFFFFFFFFFFFFF, b"0123456789abcdef")
    assert repr(info) == "SessionInfo(id=0x8000000000000001, password=<16 bytes>)"
    assert str(info) == f"{info}" == repr(info)


def test_session_info_of_the_wrong_types_shows_their_names() -> None:
    made_of_json: Any = SessionInfo("0x5", "a secret")  # type: ignore[arg-type]
    assert repr(made_of_json) == "SessionInfo(id=<str>, password=<str>)"


def test_no_event_shows_a_password() -> None:
    request = Request(AUTH, AuthPacket(0, "digest", b"user:secret"))
    response = ConnectResponse(0, 10_000, 5, b"the secret", False)
    payload = encode(response)
    shown = [
        request,
        Connected(response),
        Replied(request, 1, 0, SetSASLResponse(b"the secret")),
        AuthReplied(request, 0),
        Failed(request, ValueError()),
        Frame(Direction.RECEIVED, payload, (ConnectResponse,), None, 1.0),
        Frame(Direction.RECEIVED, payload, (), None, 1.0),
    ]
    assert "secret" not in f"{shown}"


def test_session_info_survives_pickle_for_another_process() -> None:
    info = SessionInfo(0x100, b"0123456789abcdef")
    assert pickle.loads(pickle.dumps(info)) == info
