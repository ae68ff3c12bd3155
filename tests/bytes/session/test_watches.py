"""Which watches there are, which event fires which, and how they are set again. Watchers are plain strings here."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zkwire.codes import AddWatchMode, EventType, KeeperState, WatcherType
from zkwire.jute import encode
from zkwire.operations import WatcherKind
from zkwire.records import RemoveWatchesRequest, SetWatches, SetWatches2
from zkwire.session.events import WatchedEvent
from zkwire.session.watches import SET_WATCHES_MAX_LENGTH, Watches

DATA, EXIST, CHILD = WatcherKind.DATA, WatcherKind.EXIST, WatcherKind.CHILD
PERSISTENT, RECURSIVE = WatcherKind.PERSISTENT, WatcherKind.PERSISTENT_RECURSIVE
CREATED, DELETED = EventType.NODE_CREATED, EventType.NODE_DELETED
DATA_CHANGED, CHILDREN_CHANGED = EventType.NODE_DATA_CHANGED, EventType.NODE_CHILDREN_CHANGED


def armed(*entries: tuple[WatcherKind, str, str]) -> Watches:
    """Watches with each (kind, path, watcher) armed, as by a request and its reply."""
    watches = Watches()
    for kind, path, watcher in entries:
        watches.expect(path, kind if kind in (PERSISTENT, RECURSIVE) else None)
        watches.settle(path)
        riding = kind not in (PERSISTENT, RECURSIVE) and watches.rides(kind, path)
        watches.arm(kind, path, watcher, riding=riding)
    return watches


def fire(watches: Watches, kind: int, path: str) -> list[str]:
    return watches.fire(WatchedEvent(kind, KeeperState.SYNC_CONNECTED, path))


def removal(path: str, kind: WatcherType) -> list[RemoveWatchesRequest]:
    return [RemoveWatchesRequest(path, kind)]


# --- firing


@pytest.mark.rule(53, 62, 63)
@pytest.mark.parametrize(
    ("event", "wakes"),
    [
        (CREATED, {DATA, EXIST, PERSISTENT, RECURSIVE}),
        (DATA_CHANGED, {DATA, EXIST, PERSISTENT, RECURSIVE}),
        (CHILDREN_CHANGED, {CHILD, PERSISTENT}),
        (DELETED, {DATA, EXIST, CHILD, PERSISTENT, RECURSIVE}),
        (EventType.DATA_WATCH_REMOVED, set()),
        (EventType.NONE, set()),
        (99, set()),
    ],
)
def test_event_fires_the_kinds_of_its_own_path_and_uses_up_the_one_shots(event: int, wakes: set[WatcherKind]) -> None:
    watches = armed(*((kind, "/a", kind.name) for kind in WatcherKind))
    assert sorted(fire(watches, event, "/a")) == sorted(kind.name for kind in wakes)
    for kind in WatcherKind:
        used_up = kind in wakes and kind in (DATA, EXIST, CHILD)
        assert watches.watchers(kind, "/a") == ([] if used_up else [kind.name])


@pytest.mark.rule(51)
def test_one_deleted_event_wakes_data_exist_and_child_watchers() -> None:
    watches = armed((DATA, "/a", "data"), (EXIST, "/a", "exist"), (CHILD, "/a", "child"))
    assert fire(watches, DELETED, "/a") == ["data", "exist", "child"]
    assert fire(watches, DELETED, "/a") == []


@pytest.mark.rule(52, 60)
def test_one_event_wakes_every_watcher_of_a_path_once() -> None:
    watches = armed((EXIST, "/a", "first"), (EXIST, "/a", "second"))
    assert fire(watches, CREATED, "/a") == ["first", "second"]
    assert fire(watches, CREATED, "/a") == []


def test_event_fires_nothing_on_other_paths() -> None:
    watches = armed((DATA, "/a", "a"), (PERSISTENT, "/a", "persistent"), (RECURSIVE, "/a", "recursive"))
    for path in ("/", "/b", "/ab"):
        assert fire(watches, DATA_CHANGED, path) == []


@pytest.mark.rule(62)
@pytest.mark.parametrize("event", [CREATED, DATA_CHANGED, DELETED])
def test_recursive_watch_sees_its_znode_and_every_descendant(event: EventType) -> None:
    watches = armed((RECURSIVE, "/a", "a"), (RECURSIVE, "/", "root"))
    assert fire(watches, event, "/a") == ["a", "root"]
    assert fire(watches, event, "/a/b/c") == ["a", "root"]
    assert fire(watches, event, "/ab") == ["root"]
    assert fire(watches, event, "/") == ["root"]


@pytest.mark.rule(62)
def test_recursive_watch_never_gets_the_children_changed_of_a_child_watch_below_it() -> None:
    watches = armed((RECURSIVE, "/a", "recursive"), (CHILD, "/a", "child"), (CHILD, "/a/b", "grandchild"))
    assert fire(watches, CHILDREN_CHANGED, "/a") == ["child"]
    assert fire(watches, CHILDREN_CHANGED, "/a/b") == ["grandchild"]


@pytest.mark.rule(63)
def test_persistent_watch_stays() -> None:
    watches = armed((PERSISTENT, "/a", "watcher"))
    for event in (CREATED, CHILDREN_CHANGED, DATA_CHANGED, DELETED, CREATED):
        assert fire(watches, event, "/a") == ["watcher"]


def test_event_with_a_path_that_is_none_fires_nothing() -> None:
    watches = armed((RECURSIVE, "/a", "a"))
    for path in ("", "a", "a/b"):
        assert fire(watches, CREATED, path) == []


@pytest.mark.rule(60)
@given(
    entries=st.lists(st.tuples(st.sampled_from([DATA, EXIST, CHILD]), st.sampled_from(["/", "/a", "/a/b"]))),
    events=st.lists(st.tuples(st.sampled_from(list(EventType)), st.sampled_from(["/", "/a", "/a/b"]))),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_shot_watchers_fire_once_at_most(
    entries: list[tuple[WatcherKind, str]], events: list[tuple[EventType, str]]
) -> None:
    watches = armed(*((kind, path, str(index)) for index, (kind, path) in enumerate(entries)))
    found = [watcher for event, path in events for watcher in fire(watches, event, path)]
    assert len(found) == len(set(found))


# --- what there is


def test_all_watchers_names_each_once() -> None:
    watches = armed((DATA, "/a", "x"), (CHILD, "/a", "x"), (RECURSIVE, "/", "y"))
    assert watches.all_watchers() == ["x", "y"]


def test_clear_forgets_interest_and_standing() -> None:
    watches = armed((DATA, "/a", "x"), (PERSISTENT, "/p", "y"))
    watches.clear()
    assert watches.all_watchers() == []
    assert watches.set_watches(5) == []
    assert not watches.rides(DATA, "/p")


# --- riding


@pytest.mark.rule(65)
def test_one_shots_ride_on_a_persistent_watch_that_sees_their_events() -> None:
    watches = armed((PERSISTENT, "/p", "x"), (RECURSIVE, "/r", "y"))
    assert [watches.rides(kind, "/p") for kind in (DATA, EXIST, CHILD)] == [True, True, True]
    assert [watches.rides(kind, "/r") for kind in (DATA, EXIST, CHILD)] == [True, True, False]
    assert [watches.rides(kind, "/r/below") for kind in (DATA, EXIST, CHILD)] == [False, False, False]


@pytest.mark.rule(65)
def test_one_shots_ride_on_an_add_watch_that_is_on_its_way() -> None:
    watches = Watches()
    watches.expect("/p", PERSISTENT)
    assert watches.rides(DATA, "/p")


def test_one_shots_ride_no_more_when_add_watch_was_refused() -> None:
    watches = Watches()
    watches.expect("/p", PERSISTENT)
    watches.settle("/p")
    assert watches.refuse(PERSISTENT, "/p") is False
    assert not watches.rides(DATA, "/p")


def test_a_refused_add_watch_tells_of_another_on_its_way() -> None:
    watches = Watches()
    for _ in range(3):
        watches.expect("/p", PERSISTENT)
    assert watches.refuse(PERSISTENT, "/p") is True
    watches.arm(PERSISTENT, "/p", "x")
    assert watches.refuse(PERSISTENT, "/p") is False
    watches.expect("/p", PERSISTENT)
    watches.connection_lost()
    watches.expect("/p", PERSISTENT)
    assert watches.refuse(PERSISTENT, "/p") is False


def test_a_watch_asked_for_before_an_add_watch_is_set_by_itself() -> None:
    watches = Watches()
    watches.expect("/p")
    watches.expect("/p", PERSISTENT)
    watches.settle("/p")
    watches.arm(DATA, "/p", "x")
    watches.settle("/p")
    watches.refuse(PERSISTENT, "/p")
    watches.disarm("/p", "x")
    assert watches.removals("/p") == removal("/p", WatcherType.DATA)


def test_a_refused_add_watch_takes_nothing_from_the_watch_that_is_set() -> None:
    watches = armed((PERSISTENT, "/p", "first"))
    watches.expect("/p", PERSISTENT)
    watches.settle("/p")
    watches.refuse(PERSISTENT, "/p")
    assert watches.rides(DATA, "/p")
    assert fire(watches, CREATED, "/p") == ["first"]


def test_nothing_rides_after_the_connection_is_lost() -> None:
    watches = armed((PERSISTENT, "/p", "x"))
    watches.connection_lost()
    assert not watches.rides(DATA, "/p")


@pytest.mark.rule(62, 65)
@pytest.mark.parametrize(
    ("entries", "mode", "hidden"),
    [
        ([(CHILD, "/r", "child"), (RECURSIVE, "/r", "x")], AddWatchMode.PERSISTENT_RECURSIVE, True),
        ([(CHILD, "/r", "child"), (PERSISTENT, "/r", "x")], AddWatchMode.PERSISTENT, False),
        ([(RECURSIVE, "/r", "x")], AddWatchMode.PERSISTENT_RECURSIVE, False),
        ([(DATA, "/r", "data"), (RECURSIVE, "/r", "x")], AddWatchMode.PERSISTENT_RECURSIVE, False),
        (
            [(CHILD, "/r", "child"), (PERSISTENT, "/r", "p"), (RECURSIVE, "/r", "x")],
            AddWatchMode.PERSISTENT_RECURSIVE,
            False,
        ),
    ],
)
def test_a_recursive_watch_hides_the_child_watch_of_its_path_unless_a_persistent_one_sees_its_events(
    entries: list[tuple[WatcherKind, str, str]], mode: AddWatchMode, hidden: bool
) -> None:
    assert armed(*entries).child_watch_hidden_by(mode, "/r") is hidden


# --- disarming


@pytest.mark.rule(67)
@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        (DATA, WatcherType.DATA),
        (EXIST, WatcherType.DATA),
        (CHILD, WatcherType.CHILDREN),
        (PERSISTENT, WatcherType.ANY),
        (RECURSIVE, WatcherType.ANY),
    ],
)
def test_the_last_watcher_of_a_path_takes_the_servers_watch_with_it(kind: WatcherKind, type_: WatcherType) -> None:
    watches = armed((kind, "/a", "first"), (kind, "/a", "last"))
    assert watches.disarm("/a", "first") is True
    assert watches.removals("/a") == []
    assert watches.disarm("/a", "last") is True
    assert watches.removals("/a") == removal("/a", type_)
    assert watches.removals("/a") == [], "it counts as done"


def test_disarm_says_that_there_was_no_interest_any_more() -> None:
    watches = armed((DATA, "/a", "x"))
    assert watches.disarm("/b", "x") is False
    assert watches.disarm("/a", "y") is False
    fire(watches, DELETED, "/a")
    assert watches.disarm("/a", "x") is False
    assert watches.removals("/a") == [], "the server has used it up"


def test_a_data_watch_stays_while_an_exist_watcher_shares_it() -> None:
    watches = armed((DATA, "/a", "data"), (EXIST, "/a", "exist"), (CHILD, "/a", "child"))
    watches.disarm("/a", "data")
    assert watches.removals("/a") == []
    watches.disarm("/a", "child")
    assert watches.removals("/a") == removal("/a", WatcherType.CHILDREN)
    watches.disarm("/a", "exist")
    assert watches.removals("/a") == removal("/a", WatcherType.DATA)


@pytest.mark.rule(67)
def test_nothing_is_removed_while_a_request_is_on_its_way_that_arms_there() -> None:
    watches = armed((DATA, "/a", "old"))
    watches.expect("/a")
    watches.expect("/a")
    watches.disarm("/a", "old")
    assert watches.removals("/a") == []
    watches.settle("/a")
    assert watches.removals("/a") == []
    watches.settle("/a")
    assert watches.removals("/a") == removal("/a", WatcherType.DATA)


@pytest.mark.rule(65, 67)
def test_a_persistent_watch_is_removed_only_when_nothing_rides_on_it() -> None:
    watches = armed((PERSISTENT, "/p", "stream"), (DATA, "/p", "rider"))
    watches.disarm("/p", "stream")
    assert watches.removals("/p") == []
    assert fire(watches, DATA_CHANGED, "/p") == ["rider"]
    assert watches.removals("/p") == removal("/p", WatcherType.ANY)


@pytest.mark.rule(65, 67)
def test_a_rider_that_leaves_last_takes_the_persistent_watch_with_it() -> None:
    watches = armed((RECURSIVE, "/r", "stream"), (DATA, "/r", "rider"))
    watches.disarm("/r", "stream")
    watches.disarm("/r", "rider")
    assert watches.removals("/r") == removal("/r", WatcherType.ANY)


def test_a_rider_that_leaves_first_takes_nothing_with_it() -> None:
    watches = armed((PERSISTENT, "/p", "stream"), (CHILD, "/p", "rider"))
    watches.disarm("/p", "rider")
    assert watches.removals("/p") == []
    watches.disarm("/p", "stream")
    assert watches.removals("/p") == removal("/p", WatcherType.ANY)


def test_one_of_two_modes_on_a_path_is_removed_by_its_own_type() -> None:
    watches = armed((PERSISTENT, "/p", "persistent"), (RECURSIVE, "/p", "recursive"))
    watches.disarm("/p", "persistent")
    assert watches.removals("/p") == removal("/p", WatcherType.PERSISTENT)
    watches.disarm("/p", "recursive")
    assert watches.removals("/p") == removal("/p", WatcherType.ANY)


def test_one_of_two_modes_stays_while_a_one_shot_rides() -> None:
    watches = armed((PERSISTENT, "/p", "persistent"), (RECURSIVE, "/p", "recursive"), (CHILD, "/p", "rider"))
    watches.disarm("/p", "persistent")
    assert watches.removals("/p") == []
    fire(watches, CHILDREN_CHANGED, "/p")
    assert watches.removals("/p") == removal("/p", WatcherType.PERSISTENT)


@pytest.mark.rule(67)
def test_an_event_that_crosses_the_removal_fires_nothing() -> None:
    watches = armed((PERSISTENT, "/p", "stream"), (DATA, "/d", "watch"))
    for path, watcher in (("/p", "stream"), ("/d", "watch")):
        watches.disarm(path, watcher)
        assert watches.removals(path)
        assert fire(watches, DATA_CHANGED, path) == []


def test_nothing_is_removed_of_what_a_lost_connection_held() -> None:
    watches = armed((DATA, "/a", "x"))
    watches.connection_lost()
    assert watches.disarm("/a", "x") is True
    assert watches.removals("/a") == []


def test_nothing_waits_for_a_reply_that_a_lost_connection_owed() -> None:
    watches = armed((DATA, "/a", "x"))
    watches.expect("/a")
    watches.connection_lost()
    watches.set_watches(7)
    watches.disarm("/a", "x")
    assert watches.removals("/a") == removal("/a", WatcherType.DATA)


# --- coming back


def test_no_watches_need_no_set_watches() -> None:
    assert Watches().set_watches(7) == []


@pytest.mark.rule(54, 55, 57)
def test_set_watches_puts_back_what_has_not_fired_in_the_servers_lists() -> None:
    watches = armed((DATA, "/d", "x"), (EXIST, "/e", "x"), (CHILD, "/c", "x"), (DATA, "/gone", "x"))
    fire(watches, DELETED, "/gone")
    assert watches.set_watches(7) == [SetWatches(7, ("/d",), ("/e",), ("/c",))]


@pytest.mark.rule(64)
def test_set_watches_2_is_used_where_there_is_a_persistent_watch_and_nowhere_else() -> None:
    watches = armed((DATA, "/d", "x"), (PERSISTENT, "/p", "x"), (RECURSIVE, "/r", "x"))
    assert watches.set_watches(7) == [SetWatches2(7, ("/d",), (), (), ("/p",), ("/r",))]
    watches.disarm("/p", "x")
    watches.disarm("/r", "x")
    assert watches.set_watches(7) == [SetWatches(7, ("/d",), (), ())]


def test_watches_of_a_set_watches_count_as_standing() -> None:
    watches = armed((DATA, "/d", "x"), (PERSISTENT, "/p", "x"))
    watches.connection_lost()
    watches.set_watches(7)
    assert watches.rides(DATA, "/p")
    watches.disarm("/d", "x")
    assert watches.removals("/d") == removal("/d", WatcherType.DATA)


@pytest.mark.rule(62)
def test_set_watches_puts_the_child_watch_of_a_recursive_path_last() -> None:
    watches = armed(
        (CHILD, "/r", "late"), (RECURSIVE, "/r", "x"), (CHILD, "/c", "early"), (CHILD, "/both", "early"),
        (PERSISTENT, "/both", "x"), (RECURSIVE, "/both", "x"),
    )  # fmt: skip
    assert watches.set_watches(7) == [
        SetWatches2(7, (), (), ("/c", "/both"), ("/both",), ("/r", "/both")),
        SetWatches(7, (), (), ("/r",)),
    ]


@pytest.mark.rule(56)
def test_set_watches_is_cut_into_pieces_of_128_kib_of_path_text() -> None:
    paths = [f"/{index:05}-ü" + "x" * 991 for index in range(400)]
    kinds = [DATA, EXIST, CHILD, PERSISTENT, RECURSIVE]
    watches = armed(*((kinds[index // 80], path, "x") for index, path in enumerate(paths)))
    pieces = watches.set_watches(7)
    assert len(pieces) == -(-400 * (1000 + 4) // SET_WATCHES_MAX_LENGTH) == 4
    for piece in pieces:
        assert len(encode(piece)) <= SET_WATCHES_MAX_LENGTH + 8 + 5 * 4
    assert [path for piece in pieces for field in piece[1:] for path in field] == paths, "all of them, once, in order"
    assert [type(piece) for piece in pieces] == [SetWatches, SetWatches2, SetWatches2, SetWatches2]
    assert {piece.relative_zxid for piece in pieces} == {7}


@pytest.mark.rule(56)
def test_set_watches_cuts_at_the_limit_given() -> None:
    watches = armed((DATA, "/aa", "x"), (DATA, "/bb", "x"), (DATA, "/cc", "x"))
    assert watches.set_watches(7, 14) == [SetWatches(7, ("/aa", "/bb"), (), ()), SetWatches(7, ("/cc",), (), ())]
    assert [piece.data_watches for piece in watches.set_watches(7, 13)] == [("/aa",), ("/bb",), ("/cc",)]


def test_a_path_longer_than_the_limit_has_a_piece_of_its_own() -> None:
    long = "/" + "x" * SET_WATCHES_MAX_LENGTH
    watches = armed((DATA, "/a", "x"), (DATA, long, "x"), (DATA, "/b", "x"))
    assert [piece.data_watches for piece in watches.set_watches(7)] == [("/a",), (long,), ("/b",)]
