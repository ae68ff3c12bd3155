"""Watches over lost connections: what they see of the time without one, and what they do not."""

from __future__ import annotations

import pytest

from tests.conftest import External
from tests.support.behind import RECEIVED, SENT, behind, outcome
from tests.support.real.servers import Server
from zkwire import AddWatchMode, ConnectionLossError, CreateMode, EventType, OpCode, Watch
from zkwire.records import SetWatches2
from zkwire.tap.tap import cut
from zkwire.traffic.faults import notification, reply_to, request


@pytest.mark.rule(54, 55)
async def test_events_of_a_gap_come_once_and_before_the_reply_to_set_watches(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        for name in ("", "/changed", "/gone", "/parent", "/same"):
            await at.other.create(root + name)
        watches: dict[str, Watch] = {}
        for name in ("/changed", "/gone", "/same"):
            *_, watches[name] = await at.zk.get_data_and_watch(root + name)
        for name in ("/made", "/never"):
            *_, watches[name] = await at.zk.exists_and_watch(root + name)
        *_, watches["/parent"] = await at.zk.get_children_and_watch(f"{root}/parent")
        last_zxid = at.zk.last_zxid
        async with at.parted():
            await at.other.set_data(f"{root}/changed", b"1")
            await at.other.set_data(f"{root}/changed", b"2")
            await at.other.delete(f"{root}/gone")
            await at.other.create(f"{root}/made")
            await at.other.create(f"{root}/parent/child")
        await at.zk.sync(root)
        fired = {name: watch.event.type for name, watch in watches.items() if watch.event is not None}
        assert fired == {
            "/changed": EventType.NODE_DATA_CHANGED,
            "/gone": EventType.NODE_DELETED,
            "/made": EventType.NODE_CREATED,
            "/parent": EventType.NODE_CHILDREN_CHANGED,
        }
        (set_watches,) = at.all(request(OpCode.SET_WATCHES))
        assert set_watches.record.relative_zxid == last_zxid
        received = at.of(1, RECEIVED)
        place = next(each.index for each in received if each.opcode is OpCode.SET_WATCHES)
        assert [each.is_notification for each in received[1:place]] == [True] * 4
        assert at.all(notification())[4:] == []
        # Once: another gap brings none of them back.
        await at.cut()
        await at.zk.sync(root)
        assert sorted(at.all(request(OpCode.SET_WATCHES))[1].record.data_watches) == [f"{root}/same"]
        assert at.all(request(OpCode.SET_WATCHES))[1].record.exist_watches == (f"{root}/never",)
        assert len(at.all(notification())) == 4


@pytest.mark.rule(22, 54, 56)
async def test_watches_in_several_pieces_are_all_restored_when_cut_between_the_pieces(
    zookeeper: Server | External, root: str
) -> None:
    paths = [f"{root}-{number:03}-{'long' * 200}" for number in range(200)]
    first, last = paths[0], paths[-1]
    async with behind(zookeeper) as at:
        watches = {path: watch for path in paths for _, watch in [await at.zk.exists_and_watch(path)]}
        fault = cut(after=reply_to(OpCode.SET_WATCHES))
        async with at.parted():
            at.fault = fault
            await at.other.create(first)
            await at.other.create(last)
        await fault.wait()
        await at.settle()
        assert {path for path, watch in watches.items() if watch.event is not None} == {first, last}
        pieces = [each for each in at.of(2, SENT) if each.opcode is OpCode.SET_WATCHES]
        assert len(pieces) == 2
        assert len({each.header.xid for each in pieces if each.header is not None}) == 2
        restored = [path for each in pieces for path in each.record.exist_watches]
        assert set(paths) - {first, last} <= set(restored) <= set(paths) - {first}
        assert len(restored) == len(set(restored))
        await at.zk.create(paths[100], mode=CreateMode.EPHEMERAL)
        assert (await watches[paths[100]].wait()).type is EventType.NODE_CREATED
        await at.other.delete(first)
        await at.other.delete(last)


@pytest.mark.rule(57)
async def test_watch_that_fired_before_the_loss_is_not_restored(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        *_, data = await at.zk.get_data_and_watch(root)
        *_, children = await at.zk.get_children_and_watch(root)
        await at.zk.set_data(root, b"1")
        await data.wait()
        await at.cut()
        await at.zk.sync(root)
        (set_watches,) = at.all(request(OpCode.SET_WATCHES))
        assert set_watches.record.data_watches == ()
        assert set_watches.record.child_watches == (root,)
        assert children.event is None


@pytest.mark.rule(48, 58)
async def test_watch_whose_reply_was_lost_is_not_known(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        at.fault = cut(before=reply_to(OpCode.GET_DATA))
        assert isinstance(await outcome(at.zk.get_data_and_watch(root)), ConnectionLossError)
        await at.zk.sync(root)
        await at.zk.set_data(root, b"1")
        await at.zk.sync(root)
        assert at.all(request(OpCode.SET_WATCHES)) == []
        assert at.all(notification()) == []


@pytest.mark.rule(54, 58)
async def test_event_lost_on_the_wire_comes_after_the_gap(zookeeper: Server | External, root: str) -> None:
    """The server had used up the watch, and the client has not seen the event's zxid: so it is found again."""
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        *_, watch = await at.zk.get_data_and_watch(root)
        at.fault = cut(before=notification(root))
        await at.other.set_data(root, b"1")
        assert (await watch.wait()).type is EventType.NODE_DATA_CHANGED
        await at.zk.sync(root)
        assert [each.connection for each in at.all(notification(root))] == [0, 1]


@pytest.mark.rule(60)
async def test_path_watched_again_after_a_reconnect_gives_one_event(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        *_, first = await at.zk.get_data_and_watch(root)
        await at.cut()
        *_, second = await at.zk.get_data_and_watch(root)
        assert len(at.all(request(OpCode.SET_WATCHES))) == 1
        await at.zk.set_data(root, b"1")
        assert [(await watch.wait()).type for watch in (first, second)] == [EventType.NODE_DATA_CHANGED] * 2
        await at.zk.set_data(root, b"2")
        assert len(at.all(notification(root))) == 1


@pytest.mark.rule(64)
@pytest.mark.parametrize("mode", list(AddWatchMode), ids=lambda mode: mode.name)
async def test_persistent_watch_is_set_again_with_a_resync_in_place_of_the_events_of_the_gap(
    zookeeper: Server | External, root: str, mode: AddWatchMode
) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        async with at.zk.add_watch(root, mode) as events:
            await at.zk.set_data(root, b"before")
            assert (await events.__anext__()).type is EventType.NODE_DATA_CHANGED
            async with at.parted():
                await at.other.set_data(root, b"missed")
            assert (await events.__anext__()).type is EventType.RESYNC
            await at.zk.set_data(root, b"after")
            event = await events.__anext__()
            assert (event.type, event.path) == (EventType.NODE_DATA_CHANGED, root)
        (set_watches,) = at.all(request(OpCode.SET_WATCHES2))
        assert isinstance(set_watches.record, SetWatches2)
        assert len(at.all(notification(root))) == 2


@pytest.mark.rule(50, 54)
async def test_watch_has_fired_when_a_read_after_the_gap_shows_the_change(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root, b"old")
        *_, watch = await at.zk.get_data_and_watch(root)
        async with at.parted():
            await at.other.set_data(root, b"new")
            call = at.zk.get_data(root)
        assert (await call)[0] == b"new"
        assert watch.event is not None
