"""Watches on real servers: what fires, in which order, which are set after a reconnect, and what the server is told."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
import trio
import trio.testing

from tests.conftest import External
from tests.support.behind import heal, on_line, part
from tests.support.live import PATIENCE, client, reached, sent, watched_paths
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Server
from zkwire import (
    AddWatchMode,
    Client,
    ConnectionLossError,
    Create,
    CreateMode,
    Delete,
    Direction,
    EventType,
    Frame,
    KeeperState,
    LocalProtocolError,
    MarshallingError,
    NoNodeError,
    NoWatcherError,
    OpCode,
    SetData,
    Watch,
    WatchedEvent,
    WatcherType,
    WatchStream,
    Xid,
)
from zkwire.client.call import Call
from zkwire.operations import ADD_WATCH, REMOVE_WATCHES
from zkwire.records import AddWatchRequest, RemoveWatchesRequest

CREATED, DELETED = EventType.NODE_CREATED, EventType.NODE_DELETED
DATA_CHANGED, CHILDREN_CHANGED = EventType.NODE_DATA_CHANGED, EventType.NODE_CHILDREN_CHANGED
PERSISTENT, RECURSIVE = AddWatchMode.PERSISTENT, AddWatchMode.PERSISTENT_RECURSIVE
MODES_LIVE_SIDE_BY_SIDE = (3, 9, 0)


def notifications(frames: list[Frame]) -> list[Frame]:
    wanted = int(Xid.NOTIFICATION).to_bytes(4, "big", signed=True)
    return [frame for frame in frames if frame.direction is Direction.RECEIVED and frame.payload[:4] == wanted]


def at_once(step: Coroutine[Any, Any, WatchedEvent]) -> WatchedEvent:
    """The event of `stream.__anext__()`, which must be there without waiting."""
    try:
        step.send(None)
    except StopIteration as finished:
        event: WatchedEvent = finished.value
        return event
    step.close()
    raise AssertionError("the event had to be waited for")


def handed_on(stream: WatchStream, count: int) -> list[tuple[EventType | int, str]]:
    """As many events, all of them there already."""
    events = [at_once(stream.__anext__()) for _ in range(count)]
    return [(event.type, event.path) for event in events]


async def nothing_more(stream: WatchStream, zk: Client) -> None:
    """No event is there, nor on its way before the reply to a read."""
    await zk.exists("/")
    step = stream.__anext__()
    with trio.move_on_after(0.001):
        raise AssertionError(f"unexpected {await step}")


async def fired(*watches: Watch) -> list[EventType | int]:
    with trio.fail_after(PATIENCE):
        return [(await watch.wait()).type for watch in watches]


# --- one-shot watches


@pytest.mark.rule(48)
async def test_watch_is_armed_only_by_a_result_that_stands_for_something(server: Server, root: str) -> None:
    async with client(server) as zk:
        with pytest.raises(NoNodeError):
            await zk.get_data_and_watch(root)
        with pytest.raises(NoNodeError):
            await zk.get_children_and_watch(root)
        assert root not in await watched_paths(server)
        stat, watch = await zk.exists_and_watch(root)
        assert stat is None
        assert root in await watched_paths(server)
        await zk.create(root)
        assert await fired(watch) == [CREATED]


@pytest.mark.rule(49)
async def test_event_of_the_own_write_is_there_before_its_reply(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        _, created = await zk.exists_and_watch(root)
        await zk.create(root)
        assert created.event is not None
        assert created.event.type is CREATED
        _, _, changed = await zk.get_data_and_watch(root)
        _, parent = await zk.get_children_and_watch(root)
        await zk.set_data(root, b"1")
        assert changed.event is not None
        assert changed.event == changed.event._replace(type=DATA_CHANGED, path=root, state=KeeperState.SYNC_CONNECTED)
        await zk.create(root + "/child")
        assert parent.event is not None
        assert parent.event.type is CHILDREN_CHANGED


@pytest.mark.rule(50)
async def test_event_is_handed_on_before_any_read_that_shows_the_change(
    zookeeper: Server | External, root: str
) -> None:
    """One client writes as fast as it can, the other reads in a row: no reply may run ahead of its event."""
    async with client(zookeeper) as writer, client(zookeeper) as reader:
        await writer.create(root)
        finished = False

        async def write() -> None:
            nonlocal finished
            for batch in range(30):
                calls = [writer.set_data(root, b"%d" % number) for number in range(batch * 20, batch * 20 + 20)]
                for call in calls:
                    await call
            finished = True

        seen = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while not finished:
                _, armed, watch = await reader.get_data_and_watch(root)
                reads = [reader.get_data(root) for _ in range(8)]
                for read in reads:
                    _, stat = await read
                    if stat.version != armed.version:
                        assert watch.event is not None, "newer data, and no event yet"
                        seen += 1
                watch.disarm()
        assert seen > 10


@pytest.mark.rule(50, 63)
async def test_stream_has_every_event_up_to_the_version_that_was_read(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as writer, client(zookeeper) as reader:
        await writer.create(root)
        async with reader.add_watch(root, PERSISTENT) as events, trio.open_nursery() as nursery:

            async def write() -> None:
                for _ in range(25):
                    calls = [writer.set_data(root, b"") for _ in range(20)]
                    for call in calls:
                        await call

            nursery.start_soon(write)
            taken = 0
            while taken < 500:
                _, stat = await reader.get_data(root)
                missing = stat.version - taken
                assert handed_on(events, missing) == [(DATA_CHANGED, root)] * missing
                taken = stat.version


@pytest.mark.rule(51)
async def test_deletion_wakes_three_kinds_of_watches_with_one_frame(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    async with client(zookeeper) as other, client(zookeeper, on_frame=frames.append) as zk:
        await other.create(root)
        _, _, data = await zk.get_data_and_watch(root)
        _, exists = await zk.exists_and_watch(root)
        _, children = await zk.get_children_and_watch(root)
        await other.delete(root)
        assert await fired(data, exists, children) == [DELETED] * 3
        await zk.exists(root)
        assert len(notifications(frames)) == 1


@pytest.mark.rule(52)
async def test_two_exists_watches_on_one_path_wake_with_one_frame(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, on_frame=frames.append) as zk:
        _, first = await zk.exists_and_watch(root)
        _, second = await zk.exists_and_watch(root)
        await zk.create(root)
        assert await fired(first, second) == [CREATED, CREATED]
        await zk.exists(root)
        assert len(notifications(frames)) == 1


@pytest.mark.rule(53)
async def test_events_go_only_to_watches_of_their_kind(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        _, _, data = await zk.get_data_and_watch(root)
        _, exists = await zk.exists_and_watch(root)
        _, _, children = await zk.get_children2_and_watch(root)
        await zk.create(root + "/child")
        assert (data.event, exists.event) == (None, None)
        assert await fired(children) == [CHILDREN_CHANGED]
        _, children = await zk.get_children_and_watch(root)
        await zk.set_data(root, b"")
        assert children.event is None
        assert await fired(data, exists) == [DATA_CHANGED] * 2
        await zk.delete(root + "/child")
        _, children = await zk.get_children_and_watch(root)
        await zk.delete(root)
        assert await fired(children) == [DELETED]


@pytest.mark.rule(60)
async def test_watch_set_again_after_it_fired_sees_each_change_once(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, on_frame=frames.append) as zk:
        await zk.create(root)
        for _ in range(3):
            watches = [(await zk.get_data_and_watch(root))[2] for _ in range(3)]
            await zk.set_data(root, b"")
            await zk.set_data(root, b"")
            assert await fired(*watches) == [DATA_CHANGED] * 3
        assert len(notifications(frames)) == 3


async def test_event_has_the_zxid_of_its_transaction_from_3_9_on(
    server: Server, distribution: Distribution, root: str
) -> None:
    async with client(server) as zk:
        await zk.create(root)
        _, _, watch = await zk.get_data_and_watch(root)
        stat = await zk.set_data(root, b"")
        assert watch.event is not None
        assert watch.event.zxid == (stat.mzxid if distribution.version_tuple >= (3, 9, 0) else -1)


# --- one-shot watches over a reconnect


@pytest.mark.rule(54, 55)
async def test_reconnect_fires_what_happened_meanwhile_before_set_watches_is_answered(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper) as other, on_line(zookeeper, on_frame=frames.append) as (zk, line):
        await other.create(root)
        for name in ("gone", "changed", "parent", "parent-gone", "again", "calm"):
            await other.create(f"{root}/{name}")
        await zk.sync()
        data_of = {name: (await zk.get_data_and_watch(f"{root}/{name}"))[2] for name in ("gone", "changed", "again")}
        _, made = await zk.exists_and_watch(root + "/made")
        _, exists_gone = await zk.exists_and_watch(root + "/gone")
        _, parent = await zk.get_children_and_watch(root + "/parent")
        _, parent_gone = await zk.get_children_and_watch(root + "/parent-gone")
        _, calm = await zk.get_children_and_watch(root + "/calm")
        _, calm_exists = await zk.exists_and_watch(root + "/never-made")
        seen = zk.last_zxid
        await part(zk, line)
        await other.delete(root + "/gone")
        await other.set_data(root + "/changed", b"new")
        await other.create(root + "/made")
        await other.create(root + "/parent/child")
        await other.delete(root + "/parent-gone")
        await other.delete(root + "/again")
        await other.create(root + "/again")
        frames.clear()
        await heal(zk, line)
        watches = [data_of["gone"], data_of["changed"], data_of["again"], made, exists_gone, parent, parent_gone]
        kinds = await fired(*watches)
        assert kinds == [DELETED, DATA_CHANGED, DATA_CHANGED, CREATED, DELETED, CHILDREN_CHANGED, DELETED]
        await zk.exists("/")
        assert (calm.event, calm_exists.event) == (None, None)

        (request,) = sent(frames, OpCode.SET_WATCHES)
        assert int.from_bytes(request.payload[8:16], "big") == seen
        received = [frame for frame in frames if frame.direction is Direction.RECEIVED]
        answer = next(place for place, frame in enumerate(received) if frame.opcode is OpCode.SET_WATCHES)
        # Another client's change can only be told after the reply: here is none.
        assert all(received.index(frame) < answer for frame in notifications(frames))
        assert len(notifications(frames)) == 6

        await other.create(root + "/calm/child")
        await other.create(root + "/never-made")
        assert await fired(calm, calm_exists) == [CHILDREN_CHANGED, CREATED]


@pytest.mark.rule(55)
async def test_reconnect_fires_nothing_for_what_was_seen_before_the_loss(
    zookeeper: Server | External, root: str
) -> None:
    async with on_line(zookeeper) as (zk, line):
        await zk.create(root)
        await zk.set_data(root, b"own change")
        _, _, data = await zk.get_data_and_watch(root)
        _, children = await zk.get_children_and_watch(root)
        for _ in range(3):
            await part(zk, line)
            await heal(zk, line)
        await zk.exists("/")
        assert (data.event, children.event) == (None, None)
        await zk.set_data(root, b"")
        assert await fired(data) == [DATA_CHANGED]


@pytest.mark.rule(57, 67)
async def test_reconnect_restores_neither_fired_nor_disarmed_watches(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    async with on_line(zookeeper, on_frame=frames.append) as (zk, line):
        await zk.create(root)
        _, _, watch = await zk.get_data_and_watch(root)
        _, children = await zk.get_children_and_watch(root)
        await zk.set_data(root, b"")
        assert await fired(watch) == [DATA_CHANGED]
        await part(zk, line)
        children.disarm()
        await heal(zk, line)
        await zk.exists("/")
        assert sent(frames, OpCode.SET_WATCHES, OpCode.SET_WATCHES2) == []


@pytest.mark.rule(58)
async def test_watch_whose_reply_was_lost_is_not_restored_and_its_caller_hears_of_the_loss(
    server: Server, root: str
) -> None:
    frames: list[Frame] = []
    async with on_line(server, on_frame=frames.append) as (zk, line):
        await zk.create(root)
        server.suspend()
        try:
            calls: list[Call[Any]] = [zk.get_data_and_watch(root), zk.get_children_and_watch(root)]
            await trio.testing.wait_all_tasks_blocked()  # until the writer has sent the second too
            await part(zk, line)
        finally:
            server.resume()
        await heal(zk, line)
        for call in calls:
            with pytest.raises(ConnectionLossError) as loss:
                await call
            assert loss.value.maybe_applied
        await zk.exists("/")
        assert sent(frames, OpCode.SET_WATCHES, OpCode.SET_WATCHES2) == []


@pytest.mark.rule(56)
async def test_reconnect_restores_more_watches_than_one_set_watches_may_carry(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper) as other, on_line(zookeeper, on_frame=frames.append) as (zk, line):
        await other.create(root)
        paths = [f"{root}/{number:04}-{'x' * 400}" for number in range(1000)]
        calls = [zk.exists_and_watch(path) for path in paths]
        watches = [(await call)[1] for call in calls]
        await part(zk, line)
        await other.create(paths[500])
        frames.clear()
        await heal(zk, line)
        assert await fired(watches[500]) == [CREATED]
        await zk.exists("/")
        requests = sent(frames, OpCode.SET_WATCHES)
        assert len(requests) == 4
        assert max(len(frame.payload) for frame in requests) < 140_000
        answers = [frame for frame in frames if frame.opcode is OpCode.SET_WATCHES]
        assert len(answers) == 2 * len(requests), "every piece is acknowledged"
        for place in (0, 250, 999):
            await other.create(paths[place])
        assert await fired(watches[0], watches[250], watches[999]) == [CREATED] * 3
        assert sum(watch.event is not None for watch in watches) == 4


async def test_watches_survive_a_restart_of_the_server(distribution: Distribution, root: str) -> None:
    with Server(distribution) as private:
        async with client(private) as zk:
            session_id = zk.session_id
            await zk.create(root, mode=CreateMode.EPHEMERAL)
            _, _, watch = await zk.get_data_and_watch(root)
            await trio.to_thread.run_sync(private.restart)
            await reached(zk, KeeperState.SYNC_CONNECTED)
            while True:
                try:
                    await zk.set_data(root, b"")
                    break
                except ConnectionLossError:
                    continue
            assert await fired(watch) == [DATA_CHANGED]
            assert zk.session_id == session_id


# --- persistent watches


@pytest.mark.rule(61)
async def test_add_watch_with_a_mode_that_the_server_does_not_know_raises_marshalling_error(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(MarshallingError):
            await zk._call(ADD_WATCH, AddWatchRequest(root, 7), lambda reply: None)
        with pytest.raises(LocalProtocolError, match="takes an AddWatchMode"):
            zk.add_watch(root, 7)  # type: ignore[arg-type]


@pytest.mark.rule(61, 63)
async def test_persistent_watch_sees_data_and_children_of_its_path_and_stays(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as zk, zk.add_watch(root, PERSISTENT) as events:
        assert events.path == root
        for _ in range(2):
            await zk.create(root)
            await zk.set_data(root, b"")
            await zk.create(root + "/child")
            await zk.set_data(root + "/child", b"")
            await zk.create(root + "/child/grandchild")
            await zk.delete(root + "/child/grandchild")
            await zk.delete(root + "/child")
            await zk.delete(root)
            kinds = [CREATED, DATA_CHANGED, CHILDREN_CHANGED, CHILDREN_CHANGED, DELETED]
            assert handed_on(events, 5) == [(kind, root) for kind in kinds]
        await nothing_more(events, zk)


@pytest.mark.rule(62)
async def test_recursive_watch_sees_all_below_its_path_and_never_children_changed(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as zk, zk.add_watch(root, RECURSIVE) as events:
        child, grandchild = root + "/child", root + "/child/grandchild"
        await zk.create(root)
        await zk.create(child)
        _, children = await zk.get_children_and_watch(child)
        await zk.create(grandchild)
        await zk.set_data(grandchild, b"")
        await zk.delete(grandchild)
        await zk.delete(child)
        await zk.create(root + "ly-not-below")
        assert handed_on(events, 6) == [
            (CREATED, root),
            (CREATED, child),
            (CREATED, grandchild),
            (DATA_CHANGED, grandchild),
            (DELETED, grandchild),
            (DELETED, child),
        ]
        assert await fired(children) == [CHILDREN_CHANGED]
        await nothing_more(events, zk)


@pytest.mark.rule(62)
async def test_recursive_watch_on_the_root_sees_everything(server: Server, root: str) -> None:
    async with client(server) as other, client(server) as zk, zk.add_watch("/", RECURSIVE) as events:
        await other.create(root)
        with trio.fail_after(PATIENCE):
            async for event in events:
                if event.path == root:
                    assert event.type is CREATED
                    break


async def test_streams_on_one_path_each_see_every_event_and_end_on_their_own(server: Server, root: str) -> None:
    async with client(server) as zk, zk.add_watch(root, PERSISTENT) as first:
        async with zk.add_watch(root, PERSISTENT) as second:
            await zk.create(root)
            assert handed_on(first, 1) == handed_on(second, 1) == [(CREATED, root)]
        await zk.set_data(root, b"")
        assert handed_on(first, 1) == [(DATA_CHANGED, root)]
        assert root in await watched_paths(server)


@pytest.mark.rule(64)
@pytest.mark.parametrize("mode", [PERSISTENT, RECURSIVE])
async def test_stream_yields_resync_after_a_reconnect_and_goes_on(
    zookeeper: Server | External, root: str, mode: AddWatchMode
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper) as other, on_line(zookeeper, on_frame=frames.append) as (zk, line):
        await other.create(root)
        async with zk.add_watch(root, mode) as events:
            await part(zk, line)
            await other.set_data(root, b"unseen")
            await heal(zk, line)
            with trio.fail_after(PATIENCE):
                assert await events.__anext__() == WatchedEvent(EventType.RESYNC, KeeperState.SYNC_CONNECTED, root)
            assert len(sent(frames, OpCode.SET_WATCHES2)) == 1
            await other.set_data(root, b"seen")
            await zk.sync(root)
            assert handed_on(events, 1) == [(DATA_CHANGED, root)]
            await nothing_more(events, zk)


# --- different kinds on one path


@pytest.mark.rule(65)
@pytest.mark.parametrize("mode", [PERSISTENT, RECURSIVE])
@pytest.mark.parametrize("persistent_first", [True, False])
async def test_one_shot_watches_take_nothing_from_a_persistent_one_on_their_path(
    zookeeper: Server | External, root: str, mode: AddWatchMode, persistent_first: bool
) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await other.create(root)

        async def one_shots() -> list[Watch]:
            return [
                (await zk.get_data_and_watch(root))[2],
                (await zk.exists_and_watch(root))[1],
                (await zk.get_children_and_watch(root))[1],
            ]

        watches = [] if persistent_first else await one_shots()
        async with zk.add_watch(root, mode) as events:
            for turn in range(3):
                if turn or persistent_first:
                    watches = await one_shots()
                child = f"{root}/{turn}"
                await other.set_data(root, b"")
                await other.set_data(root, b"")
                await other.create(child)
                await other.delete(child)
                await zk.sync(root)
                assert await fired(*watches) == [DATA_CHANGED, DATA_CHANGED, CHILDREN_CHANGED]
                own: list[tuple[EventType, str]] = [(DATA_CHANGED, root)] * 2
                if mode is PERSISTENT:
                    assert handed_on(events, 4) == [*own, (CHILDREN_CHANGED, root), (CHILDREN_CHANGED, root)]
                else:
                    assert handed_on(events, 4) == [*own, (CREATED, child), (DELETED, child)]
                await nothing_more(events, zk)


@pytest.mark.rule(65)
@pytest.mark.parametrize("mode", [PERSISTENT, RECURSIVE])
async def test_one_shot_and_persistent_watches_of_one_path_both_come_back_after_a_reconnect(
    zookeeper: Server | External, root: str, mode: AddWatchMode
) -> None:
    async with client(zookeeper) as other, on_line(zookeeper) as (zk, line):
        await other.create(root)
        _, _, data = await zk.get_data_and_watch(root)
        async with zk.add_watch(root, mode) as events:
            _, children = await zk.get_children_and_watch(root)
            await part(zk, line)
            await heal(zk, line)
            await zk.exists("/")
            assert handed_on(events, 1) == [(EventType.RESYNC, root)]
            for turn in range(2):
                await other.set_data(root, b"")
                await other.create(f"{root}/{turn}")
            await zk.sync(root)
            assert await fired(data, children) == [DATA_CHANGED, CHILDREN_CHANGED]
            child_events = (
                [(CHILDREN_CHANGED, root)] * 2 if mode is PERSISTENT else [(CREATED, f"{root}/{n}") for n in (0, 1)]
            )
            assert handed_on(events, 4) == [
                (DATA_CHANGED, root),
                child_events[0],
                (DATA_CHANGED, root),
                child_events[1],
            ]
            await nothing_more(events, zk)


@pytest.mark.rule(65)
@pytest.mark.parametrize("mode", [PERSISTENT, RECURSIVE])
async def test_one_shot_watch_outlives_the_persistent_one_it_came_after(
    server: Server, root: str, mode: AddWatchMode
) -> None:
    async with client(server) as other, client(server) as zk:
        await other.create(root)
        async with zk.add_watch(root, mode):
            _, _, data = await zk.get_data_and_watch(root)
        await other.set_data(root, b"")
        assert await fired(data) == [DATA_CHANGED]
        await zk.exists("/")
        assert root not in await watched_paths(server), "nobody is interested any more"


@pytest.mark.rule(65)
async def test_both_persistent_modes_on_one_path_work_from_3_9_on_and_are_refused_before(
    server: Server, distribution: Distribution, root: str
) -> None:
    async with client(server) as zk, zk.add_watch(root, PERSISTENT) as own:
        if distribution.version_tuple < MODES_LIVE_SIDE_BY_SIDE:
            with pytest.raises(
                LocalProtocolError, match=r"persistent watch of the other mode, and a server before 3\.9"
            ):
                async with zk.add_watch(root, RECURSIVE):
                    pass
            await zk.create(root)
            assert handed_on(own, 1) == [(CREATED, root)], "the one that stood is unharmed"
            return
        async with zk.add_watch(root, RECURSIVE) as tree:
            await zk.create(root)
            await zk.create(root + "/child")
            assert handed_on(own, 2) == [(CREATED, root), (CHILDREN_CHANGED, root)]
            assert handed_on(tree, 2) == [(CREATED, root), (CREATED, root + "/child")]
        await zk.delete(root + "/child")
        assert handed_on(own, 1) == [(CHILDREN_CHANGED, root)]
        await nothing_more(own, zk)


@pytest.mark.rule(65)
async def test_modes_of_different_clients_on_one_path_do_not_meet(zookeeper: Server | External, root: str) -> None:
    async with (
        client(zookeeper) as first,
        client(zookeeper) as second,
        first.add_watch(root, PERSISTENT) as own,
        second.add_watch(root, RECURSIVE) as tree,
    ):
        await first.create(root)
        await first.create(root + "/child")
        await second.sync(root)
        assert handed_on(own, 2) == [(CREATED, root), (CHILDREN_CHANGED, root)]
        assert handed_on(tree, 2) == [(CREATED, root), (CREATED, root + "/child")]


async def test_multi_fires_its_events_in_the_order_of_its_operations(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk, zk.add_watch(root, RECURSIVE) as events:
        await zk.multi([Create(root), Create(root + "/b"), SetData(root + "/b", b""), Create(root + "/a")])
        created = [(CREATED, root), (CREATED, root + "/b")]
        assert handed_on(events, 4) == [*created, (DATA_CHANGED, root + "/b"), (CREATED, root + "/a")]
        await zk.multi([Delete(root + "/a"), Delete(root + "/b"), Delete(root)])
        assert handed_on(events, 3) == [(DELETED, root + "/a"), (DELETED, root + "/b"), (DELETED, root)]


# --- the end of interest


@pytest.mark.rule(66)
async def test_remove_watches_without_such_a_watch_raises_no_watcher_and_types_match_exactly(
    zookeeper: Server | External, root: str
) -> None:
    def remove(kind: WatcherType) -> Call[None]:
        return zk._call(REMOVE_WATCHES, RemoveWatchesRequest(root, kind), lambda reply: None)

    async with client(zookeeper) as zk:
        with pytest.raises(NoWatcherError):
            await remove(WatcherType.ANY)
        await zk.create(root)
        await zk.get_data_and_watch(root)
        with pytest.raises(NoWatcherError):
            await remove(WatcherType.CHILDREN)
        await remove(WatcherType.DATA)
        with pytest.raises(NoWatcherError):
            await remove(WatcherType.DATA)


@pytest.mark.rule(67)
async def test_server_is_told_when_the_last_one_shot_interest_in_a_path_ends(server: Server, root: str) -> None:
    async with client(server) as zk:
        await zk.create(root)
        _, _, first = await zk.get_data_and_watch(root)
        _, second = await zk.exists_and_watch(root)
        _, children = await zk.get_children_and_watch(root)
        first.disarm()
        await zk.exists("/")
        assert await zk.check_watches(root, WatcherType.DATA), "another still waits"
        second.disarm()
        assert not await zk.check_watches(root, WatcherType.DATA)
        assert await zk.check_watches(root, WatcherType.CHILDREN)
        async with children:
            pass
        await zk.exists("/")
        assert root not in await watched_paths(server)


@pytest.mark.rule(66, 67)
@pytest.mark.parametrize("mode", [PERSISTENT, RECURSIVE])
async def test_server_is_told_when_the_last_persistent_interest_in_a_path_ends(
    server: Server, root: str, mode: AddWatchMode
) -> None:
    async with client(server) as zk:
        async with zk.add_watch(root, mode):
            async with zk.add_watch(root, mode):
                pass
            await zk.exists("/")
            assert root in await watched_paths(server)
        await zk.exists("/")
        assert root not in await watched_paths(server)


@pytest.mark.rule(67)
@pytest.mark.parametrize("told", ["one-shot", "persistent"])
async def test_event_that_crosses_the_end_of_interest_is_discarded(
    zookeeper: Server | External, root: str, told: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper) as other, on_line(zookeeper, on_frame=frames.append) as (zk, line):
        await other.create(root)
        if told == "one-shot":
            _, _, watch = await zk.get_data_and_watch(root)
            line.hold()
            await other.set_data(root, b"")
            watch.disarm()
        else:
            async with zk.add_watch(root, PERSISTENT) as events:
                line.hold()
                await other.set_data(root, b"")
        await trio.testing.wait_all_tasks_blocked()
        line.release()
        await zk.sync(root)
        assert len(notifications(frames)) == 1
        assert len(sent(frames, OpCode.REMOVE_WATCHES)) == 1
        if told == "one-shot":
            assert await fired(watch) == [EventType.DATA_WATCH_REMOVED]
        else:
            assert [event async for event in events] == []
        assert zk.state is KeeperState.SYNC_CONNECTED


@pytest.mark.rule(67)
async def test_watch_asked_for_while_another_is_being_removed_is_set(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        _, _, first = await zk.get_data_and_watch(root)
        for _ in range(20):
            call = zk.get_data_and_watch(root)
            first.disarm()
            _, _, first = await call
        await zk.set_data(root, b"")
        assert await fired(first) == [DATA_CHANGED]


@pytest.mark.rule(34, 67)
async def test_cancelled_read_leaves_no_watch_on_the_server(server: Server, root: str) -> None:
    async with client(server) as zk:
        await zk.create(root)
        with trio.CancelScope() as scope:
            call = zk.get_data_and_watch(root)
            scope.cancel()
            await call
        assert scope.cancelled_caught
        await zk.exists("/")
        await zk.exists("/")
        assert root not in await watched_paths(server)


@pytest.mark.rule(67)
async def test_cancelled_add_watch_leaves_no_watch_on_the_server(server: Server, root: str) -> None:
    async with on_line(server) as (zk, line):
        line.hold()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(zk.add_watch(root, PERSISTENT).__aenter__)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        line.release()
        await zk.exists("/")
        await zk.exists("/")
        assert root not in await watched_paths(server)


async def test_disarmed_watch_gives_who_waits_a_removal_event(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        _, watch = await zk.exists_and_watch(root)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fired, watch)
            await trio.testing.wait_all_tasks_blocked()
            watch.disarm()
        assert await fired(watch) == [EventType.DATA_WATCH_REMOVED]


# --- streams


async def test_stream_ends_for_its_reader_when_it_is_closed(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        seen: list[WatchedEvent] = []

        async def read(events: WatchStream) -> None:
            async for event in events:
                seen.append(event)

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery, zk.add_watch(root, PERSISTENT) as events:
                nursery.start_soon(read, events)
                await zk.create(root)
                await trio.testing.wait_all_tasks_blocked()
                await events.aclose()
        assert [event.type for event in seen] == [CREATED]


async def test_stream_replaces_events_by_resync_when_its_reader_is_too_slow(
    zookeeper: Server | External, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zkwire.client.handles.MAX_BUFFERED_EVENTS", 10)
    async with client(zookeeper) as zk, zk.add_watch(root, PERSISTENT) as events:
        await zk.create(root)
        for _ in range(11):
            await zk.set_data(root, b"")
        assert handed_on(events, 2) == [(EventType.RESYNC, root), (DATA_CHANGED, root)]
        await nothing_more(events, zk)


async def test_watches_are_told_the_end_of_the_session(zookeeper: Server | External, root: str) -> None:
    """Expired while the line was cut: another client closes the session meanwhile."""
    async with on_line(zookeeper) as (zk, line):
        _, watch = await zk.exists_and_watch(root)
        async with zk.add_watch(root, RECURSIVE) as events:
            await part(zk, line)
            async with client(zookeeper, session=zk.session):
                pass
            await heal(zk, line)
            assert await fired(watch) == [EventType.NONE]
            assert watch.event is not None
            assert watch.event.state is KeeperState.EXPIRED
            with trio.fail_after(PATIENCE):
                found = [event async for event in events]
            assert [(event.type, event.state) for event in found] == [(EventType.NONE, KeeperState.EXPIRED)]


async def test_watches_are_told_that_the_client_is_closed(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        _, watch = await zk.exists_and_watch(root)
    assert await fired(watch) == [EventType.NONE]
    assert watch.event is not None
    assert watch.event.state is KeeperState.CLOSED


async def test_add_watch_asked_for_during_a_gap_is_set_after_it(zookeeper: Server | External, root: str) -> None:
    async with on_line(zookeeper) as (zk, line):
        await part(zk, line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heal, zk, line)
            async with zk.add_watch(root, PERSISTENT) as events:
                await zk.create(root)
                assert handed_on(events, 1) == [(CREATED, root)]
