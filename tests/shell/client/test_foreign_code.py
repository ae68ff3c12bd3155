"""Code that is not ours: SASL mechanisms and `on_frame`, and what they raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.scripts import connect, hold, serve_or_go, shake_and_go, until
from tests.support.fake.wire import STAT
from zkwire import AuthFailedError, ClosedError, KeeperState, OpCode
from zkwire.client.call import Call
from zkwire.records import ExistsResponse, SetSASLResponse


async def test_failing_on_frame_ends_the_client_with_its_own_exception(autojump_clock: MockClock) -> None:
    def on_frame(frame: zkwire.Frame) -> None:
        if frame.opcode is OpCode.GET_DATA and frame.direction is zkwire.Direction.RECEIVED:
            raise ZeroDivisionError("in on_frame")

    with pytest.raises(ZeroDivisionError, match="in on_frame"):
        async with connect(MemoryServers(), on_frame=on_frame) as zk:
            await zk.get_data("/a")


async def test_on_frame_that_fails_while_leaving_ends_the_block_and_every_task(autojump_clock: MockClock) -> None:
    def on_frame(frame: zkwire.Frame) -> None:
        if frame.opcode is OpCode.CLOSE_SESSION:
            raise ZeroDivisionError("in on_frame")

    with pytest.raises(ZeroDivisionError, match="in on_frame") as caught:
        async with connect(MemoryServers(), on_frame=on_frame):
            raise KeyError("mine")
    assert isinstance(caught.value.__context__, KeyError)
    with trio.move_on_after(1) as scope:  # trio's own scopes are as they were
        await trio.sleep_forever()
    assert scope.cancelled_caught


# --- a mechanism is not our code


class BrokenSasl:
    """A mechanism that raises when it begins, or at the server's first token."""

    def __init__(self, where: str) -> None:
        self.where = where

    def start(self) -> bytes:
        if self.where == "start":
            raise KeyError("of the mechanism")
        return b""

    def step(self, challenge: bytes) -> bytes | None:
        raise KeyError("of the mechanism")


async def challenge_then_serve(conversation: ServerSide) -> None:
    await conversation.shake_hands()
    while (got := await conversation.read()) is not None:
        await conversation.reply(got, SetSASLResponse(b"challenge") if got.opcode is OpCode.SASL else None)


@pytest.mark.parametrize("where", ["start", "step"])
async def test_exception_of_a_mechanism_ends_connect_with_auth_failed_and_closes_the_session(
    where: str, autojump_clock: MockClock
) -> None:
    servers = MemoryServers(challenge_then_serve)
    with pytest.raises(AuthFailedError, match="SASL: the mechanism raised KeyError") as caught:
        async with connect(servers, sasl=BrokenSasl(where)):
            raise AssertionError("not reached")
    assert isinstance(caught.value.__cause__, KeyError)
    await trio.testing.wait_all_tasks_blocked()
    assert servers.opcodes() == [*([OpCode.SASL] if where == "step" else []), OpCode.CLOSE_SESSION]
    assert len(servers.dialled) == 1


async def test_exception_of_a_mechanism_after_a_reconnect_ends_every_wait(autojump_clock: MockClock) -> None:
    class WorksOnce:
        exchanges: ClassVar[int] = 0

        def start(self) -> bytes:
            WorksOnce.exchanges += 1
            if WorksOnce.exchanges > 1:
                raise KeyError("of the mechanism")
            return b""

        def step(self, challenge: bytes) -> bytes | None:
            return None

    async def challenge_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, SetSASLResponse(b"challenge"))
        assert await conversation.read() is not None, "the watch"
        await conversation.reply(servers.requests[-1], ExistsResponse(STAT))

    servers = MemoryServers(challenge_and_go, challenge_then_serve)
    async with connect(servers, sasl=WorksOnce()) as zk:
        _, watch = await zk.exists_and_watch("/a")
        states = [state async for state in zk.states()]
        assert states == [KeeperState.SYNC_CONNECTED, KeeperState.DISCONNECTED, KeeperState.AUTH_FAILED]
        assert (await watch.wait()).state is KeeperState.AUTH_FAILED
        with pytest.raises(AuthFailedError) as caught:
            await zk.get_data("/a")
        assert isinstance(caught.value.__cause__, KeyError)


# --- on_frame is not our code


def failing_at(opcode: OpCode | None, direction: zkwire.Direction, error: BaseException) -> Callable[[Any], None]:
    """An on_frame that raises at the first frame of an operation (None: the handshake) in this direction. It must not
    be called again."""
    failed = False

    def on_frame(frame: zkwire.Frame) -> None:
        nonlocal failed
        assert not failed, "called after it had failed"
        if (frame.opcode, frame.direction) == (opcode, direction):
            failed = True
            raise error

    return on_frame


@pytest.mark.parametrize("error", [OSError("disk full"), ZeroDivisionError("in on_frame"), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("direction", zkwire.Direction)
@pytest.mark.parametrize("opcode", [OpCode.GET_DATA, OpCode.PING])
async def test_exception_of_on_frame_leaves_the_block_as_itself_and_the_session_is_closed(
    opcode: OpCode, direction: zkwire.Direction, error: BaseException, autojump_clock: MockClock
) -> None:
    servers = MemoryServers()
    with trio.fail_after(10), pytest.raises(type(error)) as caught:  # noqa: PT012  # by the block as a whole
        async with connect(servers, on_frame=failing_at(opcode, direction, error)) as zk:
            await zk.get_data("/a")  # the await raises, not the call
            await trio.sleep_forever()
    assert caught.value is error
    assert servers.opcodes() == [OpCode.GET_DATA, OpCode.CLOSE_SESSION]


@pytest.mark.parametrize("direction", zkwire.Direction)
async def test_exception_of_on_frame_in_the_handshake_leaves_connect_as_itself(
    direction: zkwire.Direction, autojump_clock: MockClock
) -> None:
    servers = MemoryServers(serve_or_go)
    began = trio.current_time()
    with pytest.raises(OSError, match="disk full"):
        async with connect(servers, on_frame=failing_at(None, direction, OSError("disk full"))):
            raise AssertionError("not reached")
    assert trio.current_time() == began
    assert servers.opcodes() == ([OpCode.CLOSE_SESSION] if direction is zkwire.Direction.RECEIVED else [])


async def test_call_of_a_task_outside_the_block_does_not_hang_when_on_frame_fails(autojump_clock: MockClock) -> None:
    on_frame = failing_at(OpCode.EXISTS, zkwire.Direction.SENT, OSError("disk full"))
    ends: list[BaseException] = []

    async def outside(zk: zkwire.Client) -> None:
        with pytest.raises(ClosedError) as caught:
            await zk.get_data("/a")
        ends.append(caught.value)

    async with trio.open_nursery() as nursery:
        with pytest.raises(OSError, match="disk full"):  # noqa: PT012  # by the block as a whole
            async with connect(MemoryServers(hold), on_frame=on_frame) as zk:
                nursery.start_soon(outside, zk)
                await trio.testing.wait_all_tasks_blocked()
                await zk.exists("/a")
    assert len(ends) == 1


async def test_on_frame_may_make_requests_whose_frames_follow_the_one_it_was_called_with(
    autojump_clock: MockClock,
) -> None:
    servers = MemoryServers()
    shown: list[tuple[str, OpCode | int | None]] = []
    results = []

    async with trio.open_nursery() as nursery:

        async def note(path: str) -> None:
            results.append(await zk.get_data(path))

        def on_frame(frame: zkwire.Frame) -> None:
            shown.append((frame.direction.value, frame.opcode))
            if frame.opcode is OpCode.SYNC:
                zk.exists("/inside")
                nursery.start_soon(note, "/inside")

        async with connect(servers, on_frame=on_frame) as zk:
            calls: list[Call[Any]] = [zk.sync("/a"), zk.get_data("/b")]
            assert [await call for call in calls] == ["/a", (b"/b", STAT)]
            await trio.sleep(1)
            asked, seen = list(servers.requests), [one for one in shown if one[1] is not None]
    assert [(got.opcode, got.record.path) for got in asked[:5]] == [
        (OpCode.SYNC, "/a"),
        (OpCode.EXISTS, "/inside"),  # made in on_frame, before the next line of the block
        (OpCode.GET_DATA, "/b"),
        (OpCode.GET_DATA, "/inside"),
        (OpCode.EXISTS, "/inside"),  # made at the reply
    ]
    assert results == [(b"/inside", STAT)] * 2
    assert seen[:3] == [(">", OpCode.SYNC), (">", OpCode.EXISTS), (">", OpCode.GET_DATA)]
    assert sorted(seen) == sorted((way, got.opcode) for way in "><" for got in asked)


async def test_request_of_on_frame_comes_after_those_that_waited_for_the_connection(autojump_clock: MockClock) -> None:
    servers = MemoryServers(shake_and_go, ServerSide.serve)
    made = False

    def on_frame(frame: zkwire.Frame) -> None:
        nonlocal made
        if frame.opcode is OpCode.GET_DATA and not made:
            made = True
            zk.exists("/inside")

    async with connect(servers, on_frame=on_frame) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        calls = [zk.get_data("/1"), zk.get_data("/2"), zk.get_data("/3")]
        assert [(await call)[0] for call in calls] == [b"/1", b"/2", b"/3"]
    assert [got.record.path for got in servers.requests[:4]] == ["/1", "/2", "/3", "/inside"]


async def test_on_frame_that_makes_a_request_at_every_frame_starves_nobody(autojump_clock: MockClock) -> None:
    servers = MemoryServers()

    def on_frame(frame: zkwire.Frame) -> None:
        if frame.opcode is OpCode.EXISTS and frame.direction is zkwire.Direction.SENT and len(servers.requests) < 50:
            zk.exists("/again")

    async with connect(servers, on_frame=on_frame) as zk:
        await zk.exists("/a")
        await trio.sleep(1)
        assert await zk.get_data("/b") == (b"/b", STAT)
    assert len(servers.requests) > 50


async def test_on_frame_may_close_the_client(autojump_clock: MockClock) -> None:
    def on_frame(frame: zkwire.Frame) -> None:
        if frame.opcode is OpCode.GET_DATA:
            zk.detach()

    async with connect(MemoryServers(), on_frame=on_frame) as zk:
        with pytest.raises(ClosedError):
            await zk.get_data("/a")
