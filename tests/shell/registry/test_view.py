"""A live view on memory servers and a clock that a test moves: options, errors that are noted, and policies."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from election.errors import NoMembersError, RegistryError
from election.registry.registry import Registry
from tests.support.fake.memory import MemoryServers, ServerSide
from zkwire import Client, ErrorCode, OpCode

# --- picking


def memory_client(script: Any = ServerSide.serve) -> Client:
    return zkwire.connect("10.0.0.1:2181", dial=MemoryServers(script).dial)


@pytest.mark.rule("D12")
async def test_member_with_so_many_errors_within_the_window_is_not_picked_until_it_is_over(
    autojump_clock: MockClock,
) -> None:
    async with memory_client() as zk, Registry(zk, "/s").members(errors=3, window=30) as members:
        a = members.snapshot()[0]

        def picked() -> set[str]:
            return {members.pick(name).name for name in ("random", "round-robin", "least-loaded") for _ in range(30)}

        for _ in range(2):
            members.note_error(a)
            await trio.sleep(10)
            assert picked() == {"a", "b"}
        members.note_error(a)  # at 20 s
        assert picked() == {"b"}
        await trio.sleep(9)
        assert picked() == {"b"}
        await trio.sleep(2)  # the error at 0 s lies 31 s back
        assert picked() == {"a", "b"}
        members.note_error(a)
        assert picked() == {"b"}
        members.note_success(a)
        assert picked() == {"a", "b"}


@pytest.mark.rule("D12")
@pytest.mark.parametrize("policy", ["use", "fail"])
async def test_when_all_are_down_the_policy_decides(autojump_clock: MockClock, policy: Any) -> None:
    async with memory_client() as zk, Registry(zk, "/s").members(errors=1, when_all_down=policy) as members:
        for member in members.snapshot():
            members.note_error(member)
        if policy == "use":
            assert {members.pick().name for _ in range(50)} == {"a", "b"}
        else:
            with pytest.raises(NoMembersError, match="all members of /s are down: a, b"):
                members.pick()
        await trio.sleep(31)
        assert {members.pick().name for _ in range(50)} == {"a", "b"}


@pytest.mark.rule("D11", "D12")
async def test_sticky_leaves_a_member_that_is_down_and_stays_with_the_next(autojump_clock: MockClock) -> None:
    async with memory_client() as zk, Registry(zk, "/s").members(errors=2) as members:
        first = members.pick("sticky")
        members.note_error(first)
        assert members.pick("sticky") == first
        members.note_error(first)
        second = members.pick("sticky")
        assert second != first
        await trio.sleep(60)
        assert {members.pick("sticky") for _ in range(20)} == {second}


async def test_uses_are_counted_and_their_outcomes_noted(autojump_clock: MockClock) -> None:
    async with memory_client() as zk, Registry(zk, "/s").members(errors=1) as members:
        with members.use("least-loaded") as one, members.use("least-loaded") as two:
            assert {one.name, two.name} == {"a", "b"}
            with members.use("least-loaded") as three:
                other = {"a": "b", "b": "a"}[three.name]
                assert {members.pick("least-loaded").name for _ in range(20)} == {other}
        assert members._picker._in_flight == {}
        with pytest.raises(OSError, match="refused"), members.use() as bad:
            raise OSError("refused")
        assert {members.pick().name for _ in range(20)} == {"a", "b"} - {bad.name}
        with trio.CancelScope() as scope, members.use() as good:
            scope.cancel()
            await trio.sleep(1)
        assert members.pick() == good  # a cancellation is not an error of the member
        members.note_error(good)
        with members.use("sticky") as again:  # all are down, so all are used
            pass
        assert members.pick() == again  # a success


@pytest.mark.parametrize("options", [{"errors": 0}, {"window": -1}, {"when_all_down": "panic"}])
async def test_options_out_of_range_are_refused(autojump_clock: MockClock, options: Any) -> None:
    async with memory_client() as zk:
        with pytest.raises(RegistryError, match="errors must be 1 or more"):
            Registry(zk, "/s").members(**options)


# --- errors and ends


async def test_servers_without_persistent_watches_are_an_error(autojump_clock: MockClock) -> None:
    async def old(side: ServerSide) -> None:
        await side.shake_hands()
        while (got := await side.read()) is not None:
            if got.opcode is OpCode.ADD_WATCH:
                await side.reply(got, err=ErrorCode.UNIMPLEMENTED)
            else:
                await side.answer(got)

    async with memory_client(old) as zk:
        with pytest.raises(RegistryError, match="they came with ZooKeeper"):
            async with Registry(zk, "/s").members():
                await trio.sleep_forever()
