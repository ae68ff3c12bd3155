"""Entering and leaving a client's block, and what can go wrong on the way."""

from __future__ import annotations

import gc
import math
import signal
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide, refuse, silent, unreachable
from tests.support.fake.scripts import HOST, connect, hold, serve_or_go, shake_and_go, until
from zkwire import ClosedError, KeeperState, LocalProtocolError, NoServerError, OpCode, SessionExpiredError
from zkwire.client.nursery import beside
from zkwire.client.transport import StreamTransport, Transport

# --- entering and leaving


async def test_connect_fails_without_a_server_within_the_session_timeout(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(NoServerError, match=r"no session within 9 s \(10\.0\.0\.1:2181: no TCP connection in time\)"):
        async with zkwire.connect(HOST, 9.0, dial=unreachable):
            pass
    assert trio.current_time() - began == pytest.approx(9.0)


async def test_connect_timeout_bounds_the_wait_and_the_error_names_each_server(autojump_clock: MockClock) -> None:
    servers = MemoryServers(refuse)
    began = trio.current_time()
    with pytest.raises(NoServerError) as caught:
        async with connect(servers, "10.0.0.1,10.0.0.2:99", connect_timeout=3.0):
            pass
    assert trio.current_time() - began == pytest.approx(3.0)
    assert "10.0.0.1:2181: the server closed the connection" in str(caught.value)
    assert "10.0.0.2:99: the server closed the connection" in str(caught.value)


async def test_connect_waits_for_ever_when_told_so(autojump_clock: MockClock) -> None:
    servers = MemoryServers(*[refuse] * 300, ServerSide.serve)
    began = trio.current_time()
    async with connect(servers, connect_timeout=math.inf) as zk:
        assert zk.state is KeeperState.SYNC_CONNECTED
    assert trio.current_time() - began > 300


async def test_exception_of_the_body_leaves_as_itself(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    with pytest.raises(KeyError) as caught:
        async with connect(servers):
            raise KeyError("mine")
    assert caught.value.args == ("mine",)
    assert servers.opcodes() == [OpCode.CLOSE_SESSION]


async def test_cancelled_body_still_closes_the_session(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    with trio.move_on_after(1) as scope:
        async with connect(servers):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert servers.opcodes() == [OpCode.CLOSE_SESSION]


async def test_leaving_is_bounded_when_the_server_does_not_answer(autojump_clock: MockClock) -> None:
    servers = MemoryServers(hold)
    async with connect(servers):
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(2.0)


async def test_leaving_takes_no_time_without_a_connection(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(lose, silent)
    async with connect(servers) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        began = trio.current_time()
    assert trio.current_time() == began


async def test_closers_run_before_the_session_is_closed_the_last_one_first(autojump_clock: MockClock) -> None:
    servers = MemoryServers(ServerSide.serve)
    told: list[tuple[str, KeeperState]] = []

    async def closer(name: str) -> None:
        await trio.sleep(5)  # takes as long as it takes, even if the caller is cancelled
        told.append((name, zk.state))

    with trio.move_on_after(1):
        async with connect(servers) as zk:
            zk.before_close(partial(closer, "first"))
            zk.before_close(partial(closer, "forgotten"))()
            zk.before_close(partial(closer, "last"))
            await trio.sleep_forever()
    assert told == [("last", KeeperState.SYNC_CONNECTED), ("first", KeeperState.SYNC_CONNECTED)]
    assert zk.state is KeeperState.CLOSED
    assert trio.current_time() == 11


async def test_detach_leaves_without_closing_the_session(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        info = zk.session
        zk.detach()
        assert zk.state is KeeperState.CLOSED
    assert servers.opcodes() == []
    async with connect(servers, session=info) as zk:
        assert zk.session_id == info.id


async def test_client_is_entered_once(autojump_clock: MockClock) -> None:
    client = connect(MemoryServers())
    async with client:
        pass
    with pytest.raises(RuntimeError, match="entered once"):
        await client.__aenter__()


async def test_client_that_was_never_entered_cannot_be_left() -> None:
    with pytest.raises(RuntimeError, match="never entered"):
        await connect(MemoryServers()).__aexit__(None, None, None)


async def test_request_outside_the_block_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(LocalProtocolError, match="inside `async with"):
        connect(MemoryServers()).get_data("/a")


@pytest.mark.rule(33)
async def test_request_after_close_is_refused(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        await zk.aclose()
        with pytest.raises(ClosedError):
            zk.get_data("/a")
        await zk.aclose()  # a second time does nothing


# --- what else can go wrong while leaving


async def test_closer_that_fails_keeps_neither_the_others_nor_the_session_from_closing(
    autojump_clock: MockClock,
) -> None:
    servers = MemoryServers()
    told = []

    async def note() -> None:
        told.append(zk.state)

    async def fail() -> None:
        raise KeyError("of the closer")

    with pytest.raises(KeyError, match="of the closer"):  # noqa: PT012  # by the block as a whole
        async with connect(servers) as zk:
            zk.before_close(note)
            zk.before_close(fail)
    assert told == [KeeperState.SYNC_CONNECTED]
    assert servers.opcodes() == [OpCode.CLOSE_SESSION]


async def test_exception_of_a_dial_leaves_the_block_as_itself_and_leaves_nobody_waiting(
    autojump_clock: MockClock,
) -> None:
    servers = MemoryServers(shake_and_go)
    ends: list[object] = []

    async def dial(address: str, port: int, host_name: str) -> Transport:
        if servers.dialled:
            raise KeyError("of the dial")
        return await servers.dial(address, port, host_name)

    async def outside(zk: zkwire.Client) -> None:
        with pytest.raises(ClosedError) as caught:
            await zk.get_data("/a")
        ends.append(caught.value)

    async def watch_states(zk: zkwire.Client) -> None:
        ends.append([state async for state in zk.states()])

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            with pytest.raises(KeyError, match="of the dial"):  # noqa: PT012  # by the block as a whole
                async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
                    nursery.start_soon(watch_states, zk)
                    await until(zk, KeeperState.DISCONNECTED)
                    nursery.start_soon(outside, zk)
                    await trio.sleep_forever()
    assert [type(end) for end in ends] in ([ClosedError, list], [list, ClosedError])
    assert zk.state is KeeperState.CLOSED


class Interrupting(StreamTransport):
    """A transport in which a SIGINT arrives, while a task of the client or a caller runs."""

    def __init__(self, stream: trio.abc.Stream, method: str) -> None:
        super().__init__(stream)
        self.method = method
        self.sent = False  # whether the session is connected, and the getData was sent

    def interrupt(self, method: str) -> None:
        if self.method == method:
            self.method = ""
            signal.raise_signal(signal.SIGINT)

    def send_nowait(self, data: bytes) -> None:
        if data[11:12] == bytes([OpCode.GET_DATA]):
            self.sent = True
            self.interrupt("send_nowait")
        super().send_nowait(data)

    async def drain(self) -> None:
        if self.sent:
            self.interrupt("drain")
        await super().drain()

    def receive_nowait(self) -> bytes | None:
        if self.sent:
            self.interrupt("receive_nowait")
        return super().receive_nowait()


@pytest.mark.parametrize("where", ["dial", "receive_nowait", "drain", "send_nowait", "on_frame", "timer"])
def test_sigint_that_meets_the_client_is_a_keyboard_interrupt_and_the_session_is_closed(where: str) -> None:
    servers = MemoryServers(serve_or_go)
    interrupted = False

    async def dial(address: str, port: int, host_name: str) -> Transport:
        transport = await servers.dial(address, port, host_name)
        assert isinstance(transport, StreamTransport)
        if where == "dial":
            signal.raise_signal(signal.SIGINT)
        return Interrupting(transport._stream, where)

    def on_frame(frame: zkwire.Frame) -> None:
        nonlocal interrupted
        if not interrupted and (where, frame.opcode) in (("on_frame", OpCode.GET_DATA), ("timer", OpCode.PING)):
            interrupted = True
            signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        async with zkwire.connect(HOST, 9.0, dial=dial, on_frame=on_frame) as zk:
            await zk.get_data("/a")
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert servers.opcodes()[-1:] == ([] if where == "dial" else [OpCode.CLOSE_SESSION])


async def test_leaving_while_the_session_has_just_expired_opens_no_new_one(autojump_clock: MockClock) -> None:
    async def once(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(once, expired, ServerSide.serve)
    async with connect(servers) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        with pytest.raises(SessionExpiredError):
            await zk.get_data("/a")
        began = trio.current_time()
    assert trio.current_time() == began
    assert len(servers.conversations) == 2


async def test_state_stream_that_nobody_holds_is_forgotten(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        for _ in range(10):
            async for _state in zk.states():
                break
        gc.collect()
        assert len(zk._states) == 0


# --- a task beside a block


async def test_task_beside_a_block_ends_with_it() -> None:
    ended = False

    async def task() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    async with beside(task):
        await trio.testing.wait_all_tasks_blocked()
        assert not ended
    assert ended
    with pytest.raises(ValueError, match="of the block"):  # no group of exceptions
        async with beside(task):
            raise ValueError("of the block")


async def test_task_that_fails_cancels_the_block_and_its_error_is_raised_as_itself() -> None:
    async def task() -> None:
        raise ValueError("of the task")

    with pytest.raises(ValueError, match="of the task"):
        async with beside(task):
            await trio.sleep_forever()


async def test_block_goes_on_when_the_task_beside_it_is_done(autojump_clock: MockClock) -> None:
    async with beside(trio.lowlevel.checkpoint):
        await trio.sleep(1)
