"""Watches of a session: armed by replies, put back on the next connection, taken away."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake.talks import (
    CONNECTED,
    DATA_OK,
    add_watch,
    connected,
    doom,
    exists,
    get_children,
    get_data,
    kinds,
    sync,
)
from tests.support.fake.wire import (
    NO_NODE,
    STAT,
    Sent,
    children_changed,
    created,
    data_changed,
    deleted,
    failures,
    fired,
    notification,
    reply,
)
from zkwire.codes import AddWatchMode, ErrorCode, EventType, OpCode, WatcherType
from zkwire.operations import ADD_WATCH, SET_DATA
from zkwire.records import (
    AddWatchRequest,
    ErrorResponse,
    ExistsResponse,
    GetChildrenResponse,
    GetDataRequest,
    RemoveWatchesRequest,
    SetDataRequest,
    SetDataResponse,
    SetWatches,
    SetWatches2,
    SyncResponse,
)
from zkwire.session.events import Disconnected, Fired, Replied, StateChanged, WatchedEvent

EXISTS_OK = ExistsResponse(STAT)


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
def test_a_watch_is_armed_by_the_reply_and_sees_the_event_right_after_it(ask: Any, answer: bytes, event: bytes) -> None:
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
def test_events_are_given_out_before_the_replies_after_them() -> None:
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
    assert talk.serve(reply(2, 9, -5)) == [Disconnected("setWatches failed with -5: the watches are not set")]


@pytest.mark.rule(65)
def test_a_one_shot_after_an_add_watch_on_its_way_rides_on_it() -> None:
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
def test_a_watch_whose_last_interest_ended_after_an_add_watch_is_removed_when_that_is_refused() -> None:
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
def test_no_watcher_does_not_fail_a_removal() -> None:
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


# --- the table


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
        "the next ones are shorter, in case the server's jute.maxbuffer is smaller"
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
