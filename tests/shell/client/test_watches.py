"""Watches and streams of watches: events, resyncs, their end, and what the server is told."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.scripts import connect
from zkwire import AddWatchMode, EventType, KeeperState, LocalProtocolError, OpCode, WatchedEvent


@pytest.mark.rule(50)
async def test_event_is_given_out_before_the_reply_after_it(autojump_clock: MockClock) -> None:
    async def event_then_reply(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        armed = await conversation.read()
        assert armed is not None
        await conversation.answer(armed)
        got = await conversation.read()
        assert got is not None
        await conversation.notify(EventType.NODE_DATA_CHANGED, "/a")
        await conversation.answer(got)
        await conversation.serve_on()

    async with connect(MemoryServers(event_then_reply)) as zk:
        _, _, watch = await zk.get_data_and_watch("/a")
        assert watch.event is None
        await zk.set_data("/a", b"")
        assert watch.event == WatchedEvent(EventType.NODE_DATA_CHANGED, KeeperState.SYNC_CONNECTED, "/a", -1)


async def test_disarmed_watch_ends_its_wait_and_tells_the_server(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        _, watch = await zk.exists_and_watch("/a")
        async with watch, trio.open_nursery() as nursery:
            seen: list[WatchedEvent] = []

            async def wait() -> None:
                seen.append(await watch.wait())

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            watch.disarm()
        assert [event.type for event in seen] == [EventType.DATA_WATCH_REMOVED]
        await zk.get_data("/b")
        assert servers.opcodes() == [OpCode.EXISTS, OpCode.REMOVE_WATCHES, OpCode.GET_DATA]


async def test_watch_stream_yields_events_a_resync_after_a_reconnect_and_the_end(autojump_clock: MockClock) -> None:
    async def two_events(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)
        await conversation.notify(EventType.NODE_CREATED, "/a/b")
        await conversation.notify(EventType.NODE_CHILDREN_CHANGED, "/a")

    servers = MemoryServers(two_events, ServerSide.serve)
    async with connect(servers) as zk:
        async with zk.add_watch("/a", AddWatchMode.PERSISTENT_RECURSIVE) as events:
            assert events.path == "/a"
            first, second = await events.__anext__(), await events.__anext__()
            assert (first.type, first.path) == (EventType.NODE_CREATED, "/a/b")
            assert (second.type, second.path) == (EventType.RESYNC, "/a")
            zk.detach()
            assert [event.state async for event in events] == [KeeperState.CLOSED]
        assert servers.opcodes() == [OpCode.ADD_WATCH, OpCode.SET_WATCHES2]


async def test_watch_stream_ends_when_closed_and_removes_the_watch(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        async with zk.add_watch("/a", AddWatchMode.PERSISTENT) as events:
            await events.aclose()
            assert [event async for event in events] == []
        await zk.get_data("/a")
        assert servers.opcodes() == [OpCode.ADD_WATCH, OpCode.REMOVE_WATCHES, OpCode.GET_DATA]


async def test_watch_stream_is_iterated_inside_its_block_only(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with trio.fail_after(1), pytest.raises(RuntimeError, match=r"async with zk\.add_watch"):
            await anext(zk.add_watch("/a", AddWatchMode.PERSISTENT))


async def test_watch_stream_is_entered_once(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        events = zk.add_watch("/a", AddWatchMode.PERSISTENT)
        async with events:
            pass
        with pytest.raises(RuntimeError, match="a watch stream is entered once"):
            async with events:
                pass


async def test_two_tasks_may_share_a_watch_stream_and_both_see_its_end(autojump_clock: MockClock) -> None:
    async def notify_twice(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)
        await trio.sleep(1)
        for path in ("/a", "/b"):
            await conversation.notify(EventType.NODE_CREATED, path)
        await conversation.serve_on()

    seen: list[str] = []

    async def read(events: zkwire.WatchStream) -> None:
        seen.extend([event.path async for event in events])

    async with connect(MemoryServers(notify_twice)) as zk:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery, zk.add_watch("/", AddWatchMode.PERSISTENT_RECURSIVE) as events:
                nursery.start_soon(read, events)
                nursery.start_soon(read, events)
                await trio.sleep(2)
    assert sorted(seen) == ["/a", "/b"]


async def test_watch_stream_with_a_slow_reader_is_given_one_resync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zkwire.client.handles.MAX_BUFFERED_EVENTS", 3)

    async def five_events(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)
        for number in range(5):
            await conversation.notify(EventType.NODE_CREATED, f"/{number}")
        await conversation.serve_on()

    async with (
        connect(MemoryServers(five_events)) as zk,
        zk.add_watch("/", AddWatchMode.PERSISTENT_RECURSIVE) as events,
    ):
        await zk.get_data("/x")
        assert [(await events.__anext__()).type for _ in range(2)] == [EventType.RESYNC, EventType.NODE_CREATED]


async def test_add_watch_takes_an_add_watch_mode_only(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with pytest.raises(LocalProtocolError, match="AddWatchMode"):
            zk.add_watch("/a", 0)  # type: ignore[arg-type]
