"""Registrations on memory servers: arguments, servers that shed load, and read-only servers."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from election.ephemeral import PAUSE
from election.errors import RegistryError
from election.registry.registry import Registry
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.wire import STAT
from tests.support.live import reached
from zkwire import ErrorCode, KeeperState, OpCode
from zkwire.records import GetDataResponse

NAME = "127.0.0.1:8897"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/services/", "does not end with /"),
        ("/a//b", "empty"),
        ("/a/./b", r"\."),
        (b"/services", "str, not bytes"),
        (None, "str, not NoneType"),
    ],
)
async def test_impossible_path_of_a_registry_is_refused_with_the_reason(path: Any, problem: str) -> None:
    with pytest.raises(RegistryError, match=f"a registry needs the path of a znode.*: .*{problem}"):
        Registry(zkwire.connect("127.0.0.1:2181"), path)


async def test_arguments_of_the_wrong_kind_are_refused_before_anything_is_registered() -> None:
    wrong: Any
    zk = zkwire.connect("127.0.0.1:2181")
    for wrong in ("127.0.0.1:2181", None):
        with pytest.raises(RegistryError, match=r"needs a zkwire\.Client"):
            Registry(wrong, "/s")
    for wrong in (None, 5, b"names"):
        with pytest.raises(RegistryError, match="the layout is given by its name"):
            Registry(zk, "/s", wrong)
    for layout in ("names", "curator", "serverset"):
        registry = Registry(zk, "/s", layout)
        for wrong in ("text", "", bytearray(b"x"), None, 5):
            with pytest.raises(RegistryError, match=r"must be bytes, not \w+; a str can be given as text.encode"):
                registry.register("h:1", wrong)
        for wrong in (None, (), "world:anyone", zkwire.OPEN_ACL_UNSAFE[0], [("world", "anyone")]):
            with pytest.raises(RegistryError, match="the acl must be"):
                registry.register("h:1", acl=wrong)
        for wrong in (b"h:1", None, 8080):
            with pytest.raises(RegistryError, match="registers a"):
                registry.register(wrong)


async def test_server_that_sheds_load_is_asked_again_after_a_pause(autojump_clock: MockClock) -> None:
    asked: list[float] = []

    async def busy(side: ServerSide) -> None:
        await side.shake_hands()
        while (got := await side.read()) is not None:
            if got.opcode is OpCode.CREATE:
                asked.append(trio.current_time())
                if len(asked) < 3:
                    await side.reply(got, err=ErrorCode.THROTTLED_OP)
                    continue
            await side.answer(got)

    async with zkwire.connect("10.0.0.1:2181", dial=MemoryServers(busy).dial) as zk, Registry(zk, "/s").register(NAME):
        first, second, third = asked
        assert (second - first, third - second) == pytest.approx((PAUSE, PAUSE))


@pytest.mark.rule("D4")
async def test_update_that_is_shed_is_sent_again_after_a_pause(autojump_clock: MockClock) -> None:
    asked: list[float] = []

    async def busy(side: ServerSide) -> None:
        await side.shake_hands()
        while (got := await side.read()) is not None:
            if got.opcode is OpCode.GET_DATA:
                await side.reply(got, GetDataResponse(b"", STAT.replace(ephemeral_owner=zk.session_id)))
            elif got.opcode is OpCode.SET_DATA and len(asked) < 2:
                asked.append(trio.current_time())
                await side.reply(got, err=ErrorCode.THROTTLED_OP)
            else:
                await side.answer(got)

    async with zkwire.connect("10.0.0.1:2181", dial=MemoryServers(busy).dial) as zk:
        with trio.fail_after(600):
            async with Registry(zk, "/s").register(NAME) as registration:
                await registration.update(b"new")
                assert trio.current_time() - asked[0] >= 2 * PAUSE
        assert len(asked) == 2


@pytest.mark.rule("C13")
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not connected"])
async def test_server_in_read_only_mode_is_not_asked_again(autojump_clock: MockClock, connected: bool) -> None:
    """A request that waits for a connection is sent to it, if it comes first; otherwise nothing is. Then the
    registration waits for a server that takes writes."""
    asked: list[str] = []

    async def cuts_the_connection(side: ServerSide) -> None:
        await side.shake_hands()

    async def read_only(side: ServerSide) -> None:
        await side.shake_hands(read_only=True)
        while (got := await side.read()) is not None:
            if got.opcode is OpCode.CREATE:
                asked.append("read-only")
                await side.reply(got, err=ErrorCode.NOT_READ_ONLY)
            else:
                await side.answer(got)

    async def says_that_it_is_read_write(side: ServerSide) -> None:
        await trio.sleep(1)
        await side.stream.send_all(b"rw")

    async def read_write(side: ServerSide) -> None:
        asked.append("read-write")
        await side.shake_hands(read_only=False)
        await side.serve_on()

    scripts = [read_only, says_that_it_is_read_write, read_write]
    servers = MemoryServers(*scripts if connected else [cuts_the_connection, *scripts])
    with trio.fail_after(600):
        async with zkwire.connect("10.0.0.1:2181", dial=servers.dial, read_only=True) as zk:
            if not connected:
                await reached(zk, KeeperState.DISCONNECTED)
            async with Registry(zk, "/s").register(NAME):
                assert asked == (["read-write"] if connected else ["read-only", "read-write"])
