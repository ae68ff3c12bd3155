"""Cancelled calls: nothing is sent that was not, and a reply that is late goes to nobody."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide, silent
from tests.support.fake.scripts import connect, until
from zkwire import AddWatchMode, CreateMode, KeeperState, OpCode


async def never_cancelled(zk: zkwire.Client) -> None:
    """Every kind of wait that the client has, one after the other."""
    await zk.create("/a", b"", mode=CreateMode.EPHEMERAL)
    await zk.get_data("/a")
    await zk.ensure_path("/a/b")
    await zk.add_auth("digest", b"u:p")
    _, watch = await zk.exists_and_watch("/a")
    async with watch, zk.add_watch("/a", AddWatchMode.PERSISTENT) as events:
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await watch.wait()
        with trio.move_on_after(1):
            await events.__anext__()
    states = zk.states()
    assert await states.__anext__() is KeeperState.SYNC_CONNECTED
    with trio.move_on_after(1):
        await states.__anext__()


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope just before one task's n-th step."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.task: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


@pytest.mark.rule(34)
async def test_cancelling_at_any_step_leaves_the_connection_unharmed(autojump_clock: MockClock) -> None:
    step, done = 0, False
    while not done:
        step += 1
        servers = MemoryServers()
        async with connect(servers) as zk:
            cancel = CancelAtStep(step)

            async def victim(cancel: CancelAtStep = cancel, zk: zkwire.Client = zk) -> None:
                cancel.task = trio.lowlevel.current_task()
                with cancel.scope:
                    await never_cancelled(zk)

            trio.lowlevel.add_instrument(cancel)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(victim)
            trio.lowlevel.remove_instrument(cancel)
            done = not cancel.scope.cancelled_caught
            for number in range(3):
                assert (await zk.get_data(f"/{step}-{number}"))[0] == f"/{step}-{number}".encode()
        assert len(servers.conversations) == 1, "the connection was not replaced"
    assert step > 8, "the script has more steps than that"


@pytest.mark.parametrize("hidden", [False, True])
async def test_cancelled_task_sends_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    """Also in a trio that keeps the status of a task's cancellation elsewhere."""
    if hidden:
        monkeypatch.setattr("zkwire.client.call.getattr", lambda *_: None, raising=False)
    servers = MemoryServers()
    async with connect(servers) as zk:
        with trio.CancelScope() as scope:
            scope.cancel()
            await zk.create("/a", b"")
        assert scope.cancelled_caught
        assert servers.opcodes() == []


async def test_call_made_when_cancelled_is_sent_when_awaited_under_a_shield(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        with trio.CancelScope() as scope:
            scope.cancel()
            call = zk.get_data("/a")
            with trio.CancelScope(shield=True):
                assert (await call)[0] == b"/a"
        assert servers.opcodes() == [OpCode.GET_DATA]


@pytest.mark.rule(34)
async def test_cancelled_request_leaves_its_reply_to_nobody(autojump_clock: MockClock) -> None:
    async def late(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        first = await conversation.read()
        assert first is not None
        await trio.sleep(2)
        await conversation.answer(first)
        await conversation.serve_on()

    async with connect(MemoryServers(late)) as zk:
        with trio.move_on_after(1) as scope:
            await zk.get_data("/first")
        assert scope.cancelled_caught
        assert (await zk.get_data("/second"))[0] == b"/second"


async def test_request_cancelled_before_it_was_sent_is_never_sent(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(lose, silent, ServerSide.serve)
    async with connect(servers) as zk:
        await zk.states().__anext__()
        await until(zk, KeeperState.DISCONNECTED)
        with trio.move_on_after(0.5) as scope:
            await zk.create("/never", b"")
        assert scope.cancelled_caught
        await zk.create("/later", b"")
        assert [got.record.path for got in servers.requests] == ["/later"]


async def test_watch_of_a_cancelled_request_is_removed_when_it_is_set(autojump_clock: MockClock) -> None:
    async def late(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        first = await conversation.read()
        assert first is not None
        await trio.sleep(2)
        await conversation.answer(first)
        await conversation.serve_on()

    servers = MemoryServers(late)
    async with connect(servers) as zk:
        with trio.move_on_after(1):
            await zk.get_data_and_watch("/a")
        await trio.sleep(2)
        assert servers.opcodes() == [OpCode.GET_DATA, OpCode.REMOVE_WATCHES]
