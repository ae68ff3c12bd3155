"""A client belongs to one trio run: another run, a thread, and asyncio are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.scripts import connect
from tests.support.fake.wire import STAT
from zkwire import AddWatchMode, OpCode
from zkwire.client.call import Call


async def next_state(zk: zkwire.Client) -> None:
    async for _ in zk.states():
        return


async def enter_a_watch(zk: zkwire.Client) -> None:
    async with zk.add_watch("/a", AddWatchMode.PERSISTENT):
        raise AssertionError("not reached")


async def without_waiting(function: Callable[[], object]) -> None:
    function()


MISUSES: dict[str, Callable[[zkwire.Client, Call[Any], Any], Awaitable[object]]] = {
    "call": lambda zk, call, watch: zk.get_data("/a"),
    "auth": lambda zk, call, watch: zk.add_auth("digest", b"u:p"),
    "several": lambda zk, call, watch: zk.ensure_path("/a"),
    "bound": lambda zk, call, watch: zk.bound().get_data("/a"),
    "pending call": lambda zk, call, watch: outcome_of(call),
    "wait": lambda zk, call, watch: watch.wait(),
    "states": lambda zk, call, watch: next_state(zk),
    "add_watch": lambda zk, call, watch: enter_a_watch(zk),
    "disarm": lambda zk, call, watch: without_waiting(watch.disarm),
    "aclose": lambda zk, call, watch: zk.aclose(),
    "detach": lambda zk, call, watch: without_waiting(zk.detach),
}


async def outcome_of(call: Call[Any]) -> Any:
    return await call


@pytest.mark.parametrize("misuse", MISUSES)
async def test_another_trio_run_is_refused_and_the_first_unharmed(misuse: str) -> None:
    go = trio.Event()

    async def answer_late(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)  # the watch
        got = await conversation.read()
        assert got is not None
        await go.wait()
        await conversation.answer(got)
        await conversation.serve_on()

    servers = MemoryServers(answer_late)
    async with connect(servers) as zk:
        _, watch = await zk.exists_and_watch("/w")
        call = zk.get_data("/first")

        async def other() -> None:
            with trio.fail_after(10), pytest.raises(RuntimeError, match=r"this client belongs to another trio\.run"):
                await MISUSES[misuse](zk, call, watch)

        await trio.to_thread.run_sync(trio.run, other)
        go.set()
        assert await call == (b"/first", STAT)
        assert await zk.get_data("/b") == (b"/b", STAT)
        assert watch.event is None
    assert servers.opcodes() == [OpCode.EXISTS, OpCode.GET_DATA, OpCode.GET_DATA, OpCode.CLOSE_SESSION]


async def test_thread_without_trio_is_told_how_to_call(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        for use in (lambda: zk.get_data("/a"), zk.detach):
            with pytest.raises(RuntimeError, match=r"zkwire runs on trio, .* trio\.from_thread\.run\(zk\.get_data"):
                await trio.to_thread.run_sync(use)
    assert servers.opcodes() == [OpCode.CLOSE_SESSION]


@pytest.mark.parametrize("enter", [lambda: connect(MemoryServers()), lambda: zkwire.Tap("127.0.0.1:1")])
def test_asyncio_is_told_that_zkwire_runs_on_trio(enter: Callable[[], Any]) -> None:
    async def main() -> None:
        async with enter():
            raise AssertionError("not reached")

    with pytest.raises(RuntimeError, match=r"zkwire runs on trio, .* trio\.run\(main\), not with asyncio\.run\(main\)"):
        asyncio.run(main())


def test_client_of_a_trio_run_that_is_over_is_refused_in_the_next() -> None:
    async def first() -> zkwire.Client:
        async with connect(MemoryServers()) as zk:
            pass
        return zk

    async def second(zk: zkwire.Client) -> None:
        with pytest.raises(RuntimeError, match="belongs to another"):
            zk.get_data("/a")

    trio.run(second, trio.run(first))
