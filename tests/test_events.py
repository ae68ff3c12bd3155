"""What the core gives its caller: values that show no secret and compare as expected."""

from __future__ import annotations

import pickle

from zkwire.codes import EventType, KeeperState
from zkwire.events import NEED_DATA, Direction, Frame, NeedData, SessionInfo, WatchedEvent


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


def test_session_info_survives_pickle_for_another_process() -> None:
    info = SessionInfo(0x100, b"0123456789abcdef")
    assert pickle.loads(pickle.dumps(info)) == info


def test_direction_is_the_arrow_of_a_dump() -> None:
    assert [direction.value for direction in Direction] == [">", "<"]


def test_frame_fields_are_in_the_order_that_on_frame_documents() -> None:
    assert Frame._fields == ("direction", "payload", "types", "opcode", "now")
