"""The chroot of a connect string goes on every path and comes off every answer."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.scripts import HOST, answering, connect
from tests.support.fake.wire import STAT
from zkwire import BadArgumentsError, CreateMode, ErrorCode, EventType, NoNodeError, OpCode
from zkwire.records import GetDataResponse


@pytest.mark.rule(59)
async def test_chroot_goes_on_every_path_and_comes_off_every_answer(autojump_clock: MockClock) -> None:
    async def fire(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        for _ in range(3):
            got = await conversation.read()
            assert got is not None
            if got.opcode is OpCode.EXISTS:
                await conversation.reply(got, err=ErrorCode.NO_NODE)
            else:
                await conversation.answer(got)
        await conversation.notify(EventType.NODE_CREATED, "/app")
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, err=ErrorCode.NO_NODE)
        await conversation.serve_on()

    servers = MemoryServers(fire)
    async with connect(servers, HOST + "/app") as zk:
        assert await zk.create("/a", b"") == "/a"
        stat, watch = await zk.exists_and_watch("/")
        assert stat is None
        assert watch.path == "/"
        await zk.get_data("/b")
        assert (await watch.wait()).path == "/"
        with pytest.raises(NoNodeError) as caught:
            await zk.delete("/c")
        assert caught.value.path == "/c"
        await zk.get_config()
        assert [getattr(got.record, "path", None) for got in servers.requests] == [
            "/app/a",
            "/app",
            "/app/b",
            "/app/c",
            "/zookeeper/config",
        ]


async def test_bad_path_is_refused_as_the_caller_wrote_it(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers, HOST + "/app") as zk:
        with pytest.raises(BadArgumentsError, match="'a' does not start with '/'"):
            zk.get_data("a")
        assert servers.requests == []


@pytest.mark.rule(77)
async def test_sequential_create_of_the_root_stays_inside_the_chroot(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers, HOST + "/app") as zk:
        await zk.create("/", b"", mode=CreateMode.PERSISTENT_SEQUENTIAL)
        assert servers.requests[0].record.path == "/app/"
    servers = MemoryServers()
    async with connect(servers) as zk:
        await zk.create("/", b"", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        assert servers.requests[0].record.path == "/"


async def test_reply_that_is_too_long_fails_its_call_with_the_path_of_the_caller(autojump_clock: MockClock) -> None:
    script = answering(GetDataResponse(bytes(5000), STAT))
    servers = MemoryServers(script)
    async with connect(servers, HOST + "/app", max_reply=1000) as zk:
        long, other = zk.get_data("/long"), zk.get_data("/other")
        with pytest.raises(zkwire.ReplyTooLongError, match=r"^getData /long: expected a reply of at most 1000 bytes"):
            await long
        assert (await other)[0] == b"/app/other"
    assert len(servers.dialled) == 1
