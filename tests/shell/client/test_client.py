"""Ring 2: the trio shell over memory streams under a virtual clock. What waits, what ends it, and in which order."""

from __future__ import annotations

import asyncio
import gc
import math
import re
import signal
import socket
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide, refuse, silent, unreachable
from tests.support.fake.wire import STAT, Sent
from zkwire import (
    ACL,
    AddWatchMode,
    AuthFailedError,
    BadArgumentsError,
    Check,
    ClosedError,
    ConnectionLossError,
    Create,
    CreateMode,
    Delete,
    ErrorCode,
    EventType,
    GetChildren,
    GetData,
    Id,
    KeeperState,
    LocalProtocolError,
    NoNodeError,
    NoServerError,
    OpCode,
    Perms,
    RemoteProtocolError,
    SessionExpiredError,
    SessionInfo,
    SetData,
    WatchedEvent,
)
from zkwire.client.call import Call
from zkwire.client.nursery import beside
from zkwire.client.transport import RECEIVE_SIZE, SocketTransport, StreamTransport, Transport
from zkwire.multi import MultiItem, MultiResponse
from zkwire.records import (
    CreateResponse,
    ErrorResponse,
    ExistsResponse,
    GetChildrenResponse,
    GetDataResponse,
    MultiHeader,
    SetDataResponse,
    SetSASLResponse,
)

HOST = "10.0.0.1:2181"


def connect(servers: MemoryServers, hosts: str = HOST, timeout: float = 9.0, **options: Any) -> zkwire.Client:
    return zkwire.connect(hosts, timeout, dial=servers.dial, **options)


async def hold(conversation: ServerSide) -> None:
    """Shake hands, read requests, answer none."""
    await conversation.shake_hands()
    while await conversation.read() is not None:
        pass


async def shake_and_go(conversation: ServerSide) -> None:
    """Shake hands and close the connection."""
    await conversation.shake_hands()


async def serve_or_go(conversation: ServerSide) -> None:
    """Serve a client that may go before it has sent a ConnectRequest."""
    with suppress(AssertionError):
        await conversation.serve()


async def until(zk: zkwire.Client, wanted: KeeperState) -> None:
    """Wait for a state."""
    async for state in zk.states():
        if state is wanted:
            return
    raise AssertionError(f"never {wanted.name}")


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
        await trio.sleep(5)  # takes what it takes, whoever is cancelled
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


@pytest.mark.parametrize("timeout", [0, -1, math.inf, "10", 3e6])
def test_connect_refuses_a_bad_session_timeout(timeout: Any) -> None:
    with pytest.raises(LocalProtocolError, match="session_timeout"):
        zkwire.connect(HOST, timeout)


@pytest.mark.parametrize("timeout", [-1, math.nan, "10"])
def test_connect_refuses_a_bad_connect_timeout(timeout: Any) -> None:
    with pytest.raises(LocalProtocolError, match="connect_timeout is seconds, 0 or more, or None, not "):
        zkwire.connect(HOST, connect_timeout=timeout)


# --- order


@pytest.mark.rule(35)
async def test_requests_go_out_in_the_order_of_calls_whenever_they_are_awaited(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        calls = [zk.get_data(f"/{number}") for number in range(20)]
        for call in reversed(calls):
            await call
        assert [got.record.path for got in servers.requests] == [f"/{number}" for number in range(20)]


async def test_call_gives_its_result_again_when_awaited_again(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        call = zk.get_data("/a")
        assert await call == await call == (b"/a", STAT)


async def test_two_tasks_cannot_await_one_call(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(hold)) as zk, trio.open_nursery() as nursery:
        call = zk.get_data("/a")

        async def wait_for_it() -> None:
            await call

        nursery.start_soon(wait_for_it)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="two tasks await one getData"):
            await call
        nursery.cancel_scope.cancel()


async def test_call_whose_await_was_cancelled_is_not_awaited_again(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(shake_and_go, hold)) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        call = zk.get_data("/a")
        with trio.CancelScope() as scope:
            scope.cancel()
            await call  # it waited for a connection, and is forgotten
        with trio.fail_after(1), pytest.raises(RuntimeError, match="getData was given up: a task that awaited it"):
            await call


async def test_method_is_an_async_function_to_start_soon_and_sends_in_the_order_of_the_lines(
    autojump_clock: MockClock,
) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(zk.create, "/a", b"data")
            nursery.start_soon(zk.get_data, "/b")
            last = zk.get_data("/c")
        await last
        assert [(got.opcode, got.record.path) for got in servers.requests] == [
            (OpCode.CREATE, "/a"),
            (OpCode.GET_DATA, "/b"),
            (OpCode.GET_DATA, "/c"),
        ]


async def test_error_of_a_call_in_start_soon_leaves_the_nursery(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(answering(ErrorCode.NO_NODE))) as zk:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  # an ExceptionGroup, which 3.10 does not know
            async with trio.open_nursery() as nursery:
                nursery.start_soon(zk.get_data, "/a")
        assert [type(error) for error in getattr(caught.value, "exceptions", ())] == [NoNodeError]


async def test_method_is_an_async_function_to_another_thread(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        path = await trio.to_thread.run_sync(partial(trio.from_thread.run, zk.create, "/a"))
        assert path == "/a"
        assert servers.opcodes() == [OpCode.CREATE]


async def test_call_in_the_place_of_an_async_function_is_trios_own_type_error(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(hold)) as zk, trio.open_nursery() as nursery:
        with pytest.raises(TypeError, match=r"nursery.start_soon\(getData, \.\.\.\)"):
            nursery.start_soon(zk.get_data("/a"))  # type: ignore[arg-type]


async def test_add_auth_is_a_call_whose_frame_leaves_in_its_turn(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        calls: list[Call[Any]] = [zk.get_data("/a"), zk.add_auth("digest", b"user:password"), zk.get_data("/b")]
        for call in calls:
            await call
        assert servers.opcodes() == [OpCode.GET_DATA, OpCode.AUTH, OpCode.GET_DATA]


async def test_call_is_driven_by_hand_as_any_coroutine(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        call = zk.get_data("/a")
        assert isinstance(call, Coroutine)

        class Driver:
            def __await__(self) -> Generator[Any, Any, Any]:
                sent = None
                while True:
                    try:
                        trap = call.send(sent)
                    except StopIteration as stop:
                        return stop.value
                    sent = yield trap

        assert await Driver() == await Driver() == await call == (b"/a", STAT)


@pytest.mark.parametrize("how", ["close", "throw", "throw while it waits"])
async def test_call_that_is_closed_or_thrown_into_is_given_up_and_harms_no_other(
    how: str, autojump_clock: MockClock
) -> None:
    answer_now = trio.Event()

    async def answer_late(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await answer_now.wait()
        await conversation.answer(got)
        await conversation.serve_on()

    async with connect(MemoryServers(answer_late)) as zk:
        call = zk.get_data("/a")
        if how == "close":
            call.close()
            call.close()
        else:
            if how == "throw while it waits":
                call.send(None)
            with pytest.raises(KeyError, match="mine"):
                call.throw(KeyError("mine"))
        with pytest.raises(RuntimeError, match="getData was given up"):
            await call
        answer_now.set()
        assert await zk.get_data("/b") == (b"/b", STAT)


async def test_closed_call_that_waited_for_a_connection_is_never_sent(autojump_clock: MockClock) -> None:
    servers = MemoryServers(shake_and_go, ServerSide.serve)
    async with connect(servers) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        zk.create("/a").close()
        await zk.get_data("/b")
        assert servers.opcodes() == [OpCode.GET_DATA]


async def test_closing_a_call_that_has_its_result_changes_nothing(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        call = zk.get_data("/a")
        await zk.get_data("/b")
        call.close()
        assert await call == (b"/a", STAT)


async def test_call_that_nobody_awaits_is_no_warning(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            zk.get_data("/a")
            gc.collect()
            await zk.get_data("/b")
            gc.collect()


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


# --- another trio.run, and none


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
        self.sent = False  # whether a session stands, and the getData has been sent

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


# --- what the caller passed is not looked at again


async def test_multi_takes_a_generator_and_gives_a_result_for_each(autojump_clock: MockClock) -> None:
    items = [(OpCode.CREATE, CreateResponse("/a")), (OpCode.SET_DATA, SetDataResponse(STAT)), (OpCode.CHECK, None)]
    response = MultiResponse(tuple(MultiItem(MultiHeader(kind, False, 0), body) for kind, body in items))
    async with connect(MemoryServers(answering(response))) as zk:
        operations = (operation for operation in [Create("/a"), SetData("/a", b"x"), Check("/a", 1)])
        assert await zk.multi(operations) == ["/a", STAT, None]


async def test_list_given_to_multi_may_change_before_the_reply(autojump_clock: MockClock) -> None:
    response = MultiResponse((MultiItem(MultiHeader(OpCode.CREATE, False, 0), CreateResponse("/a")),))
    async with connect(MemoryServers(answering(response))) as zk:
        operations: list[Any] = [Create("/a")]
        call = zk.multi(operations)
        operations.clear()
        assert await call == ["/a"]


async def test_failed_multi_of_a_generator_names_what_failed(autojump_clock: MockClock) -> None:
    response = MultiResponse(
        tuple(MultiItem(MultiHeader(OpCode.ERROR, False, err), ErrorResponse(err)) for err in (0, ErrorCode.NO_NODE))
    )
    async with connect(MemoryServers(answering(response))) as zk:
        with pytest.raises(NoNodeError, match=r"multi\[1\] delete /b") as caught:
            await zk.multi(operation for operation in [Create("/a"), Delete("/b")])
        assert (caught.value.index, caught.value.path) == (1, "/b")


async def test_multi_read_takes_a_generator_or_a_list_that_changes(autojump_clock: MockClock) -> None:
    response = MultiResponse((MultiItem(MultiHeader(OpCode.GET_DATA, False, 0), GetDataResponse(b"x", STAT)),))
    async with connect(MemoryServers(answering(response, response))) as zk:
        assert await zk.multi_read(GetData(path) for path in ["/a"]) == [(b"x", STAT)]
        operations = [GetData("/a")]
        call = zk.multi_read(operations)
        operations.clear()
        assert await call == [(b"x", STAT)]


@pytest.mark.parametrize("name", ["multi", "multiRead"])
async def test_multi_of_no_list_at_all_is_refused_by_name(name: str, autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with pytest.raises(LocalProtocolError, match=f"{name} takes a list of operations, not 5"):
            zk.multi(5) if name == "multi" else zk.multi_read(5)  # type: ignore[arg-type]


async def test_request_that_waits_for_a_connection_keeps_the_bytes_and_lists_it_was_given(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()

    async def serve_after_the_gate(conversation: ServerSide) -> None:
        await gate.wait()
        await conversation.shake_hands()
        while (got := await conversation.read()) is not None:
            if got.opcode in (OpCode.AUTH, OpCode.GET_DATA):
                await conversation.answer(got)

    servers = MemoryServers(shake_and_go, serve_after_the_gate)
    acl = [ACL(Perms.READ, Id("world", "anyone"))]
    data: Any = bytearray(b"old")
    token = bytearray(b"u:old")
    async with connect(servers) as zk, trio.open_nursery() as nursery:
        await until(zk, KeeperState.DISCONNECTED)
        for method, *arguments in (
            (zk.set_data, "/a", data),
            (zk.create, "/b", data),
            (zk.multi, [SetData("/c", data)]),
            (zk.set_acl, "/d", acl),
            (zk.add_auth, "digest", token),
        ):
            nursery.start_soon(cast(Any, method), *arguments)
        data[:] = b"new"
        token[:] = b"u:new"
        acl.clear()
        gate.set()
        await until(zk, KeeperState.SYNC_CONNECTED)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    records = {got.opcode: got.record for got in servers.requests}
    assert records[OpCode.SET_DATA].data == b"old"
    assert records[OpCode.CREATE].data == b"old"
    assert records[OpCode.MULTI][0].body.data == b"old"
    assert records[OpCode.SET_ACL].acl == (ACL(Perms.READ, Id("world", "anyone")),)
    assert records[OpCode.AUTH].auth == b"u:old"


async def test_ensure_path_keeps_the_acl_it_was_given_for_every_parent(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        acl = [ACL(Perms.READ, Id("world", "anyone"))]
        making = zk.ensure_path("/a/b", acl)
        acl.clear()
        await making
        assert [got.record.acl for got in servers.requests] == [(ACL(Perms.READ, Id("world", "anyone")),)] * 2


async def test_call_made_in_a_cancelled_task_keeps_the_bytes_it_was_given(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        data: Any = bytearray(b"old")
        with trio.CancelScope() as scope:  # noqa: ASYNC100  # the call is made in it, and awaited outside
            scope.cancel()
            call = zk.set_data("/a", data)
        data[:] = b"new"
        await call
        assert servers.requests[0].record.data == b"old"


@pytest.mark.rule(50)
async def test_event_is_handed_on_before_the_reply_behind_it(autojump_clock: MockClock) -> None:
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


# --- what is refused before a byte is sent


@pytest.mark.rule(76)
@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda zk: zk.create("/a", b"", mode=0), "create takes a CreateMode, not 0"),
        (lambda zk: zk.create("/a", b"", acl="open"), "create takes a sequence of ACL, not 'open'"),
        (lambda zk: zk.create("/a", "text"), "CreateRequest.data: buffer takes bytes or None, not str 'text'"),
        (lambda zk: zk.create2("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl="5"), "in seconds, not '5'"),
        (lambda zk: zk.create2("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl=math.inf), "in seconds, not inf"),
        (lambda zk: zk.create2("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl=math.nan), "in seconds, not nan"),
        (lambda zk: zk.delete("/a", version="1"), "DeleteRequest.version: int takes a value of 4 bytes"),
        (lambda zk: zk.set_acl("/a", [None]), "SetACLRequest.acl[0]: ACL takes a ACL, not NoneType"),
        (lambda zk: zk.check_watches("/a", 7), "checkWatches takes a WatcherType, not 7"),
        (lambda zk: zk.add_watch("/a", 1), "addWatch takes an AddWatchMode, not 1"),
        (lambda zk: zk.reconfig(leaving=[3]), "reconfig takes members as str, not [3]"),
        (lambda zk: zk.reconfig(joining=5), "reconfig takes members as str, not 5"),
        (lambda zk: zk.reconfig(from_config=None), "ReconfigRequest.cur_config_id: long takes a value of 8 bytes"),
        (lambda zk: zk.multi(["/a"]), "multi takes Create, Delete, SetData and Check, not '/a'"),
        (lambda zk: zk.multi_read(["/a"]), "multiRead takes GetData and GetChildren, not '/a'"),
    ],
)
async def test_argument_of_the_wrong_type_is_refused_by_name_before_a_byte_is_sent(
    ask: Callable[[zkwire.Client], object], message: str, autojump_clock: MockClock
) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        with pytest.raises(LocalProtocolError, match=re.escape(message)):
            ask(zk)
        await trio.sleep(1)
        assert servers.opcodes() == []


# --- cancellation


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


async def test_watch_of_a_cancelled_request_is_removed_when_it_stands(autojump_clock: MockClock) -> None:
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


# --- losing and finding connections


@pytest.mark.rule(38)
async def test_end_of_the_stream_fails_every_waiter_at_once_in_order(autojump_clock: MockClock) -> None:
    async def read_two_and_close(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        await conversation.read()
        await conversation.read()

    ended: list[tuple[str, str, float]] = []
    async with connect(MemoryServers(read_two_and_close, silent)) as zk, trio.open_nursery() as nursery:

        async def ask(path: str) -> None:
            try:
                await zk.set_data(path, b"")
            except ConnectionLossError as error:
                ended.append((error.path or "", error.written, trio.current_time()))

        began = trio.current_time()
        nursery.start_soon(ask, "/a")
        nursery.start_soon(ask, "/b")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.deadline = began + 5
    assert sorted(ended) == [("/a", "in full", began), ("/b", "in full", began)]


@pytest.mark.rule(29, 30)
async def test_requests_made_while_disconnected_wait_and_go_out_in_order(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(lose, ServerSide.serve)
    async with connect(servers) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        calls = [zk.set_data(f"/{number}", b"") for number in range(5)]
        for call in calls:
            await call
        assert [got.record.path for got in servers.requests] == [f"/{number}" for number in range(5)]
        assert servers.conversations[1].connect_request is not None
        assert servers.conversations[1].connect_request.session_id == zk.session_id


@pytest.mark.rule(36)
async def test_idle_client_pings_once_per_third_of_the_timeout(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers, timeout=9.0):
        await trio.sleep(60.5)
        assert len(servers.requests) == 20
        assert {got.opcode for got in servers.requests} == {OpCode.PING}


@pytest.mark.rule(37)
async def test_silent_server_is_left_after_two_thirds_of_the_timeout(autojump_clock: MockClock) -> None:
    servers = MemoryServers(hold, ServerSide.serve)
    async with connect(servers, "10.0.0.1,10.0.0.2", timeout=9.0) as zk:
        began = trio.current_time()
        states = zk.states()
        assert [await states.__anext__() for _ in range(3)] == [
            KeeperState.SYNC_CONNECTED,
            KeeperState.DISCONNECTED,
            KeeperState.SYNC_CONNECTED,
        ]
        assert servers.dialled[1][0] - began == pytest.approx(6.0, abs=0.2)


@pytest.mark.rule(40)
async def test_session_expires_locally_while_servers_accept_and_never_answer(autojump_clock: MockClock) -> None:
    async def once(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(once, silent)
    async with connect(servers, timeout=9.0, new_session=False) as zk:
        began = trio.current_time()
        await until(zk, KeeperState.DISCONNECTED)
        with pytest.raises(SessionExpiredError):
            await zk.get_data("/a")
        assert trio.current_time() - began == pytest.approx(12.0)
        assert zk.state is KeeperState.EXPIRED
        assert [state async for state in zk.states()] == [KeeperState.EXPIRED]
        with pytest.raises(SessionExpiredError):
            zk.get_data("/a")


@pytest.mark.rule(8, 28)
async def test_new_session_follows_an_expired_one_and_takes_nothing_over(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, GetDataResponse(b"", STAT), zxid=77)

    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(lose, expired, ServerSide.serve)
    async with connect(servers) as zk:
        first = zk.session_id
        bound = zk.bound()
        _, _, watch = await zk.get_data_and_watch("/a")
        assert zk.last_zxid == 77
        await until(zk, KeeperState.DISCONNECTED)
        with pytest.raises(SessionExpiredError):
            await zk.get_data("/b")
        retried = zk.get_data("/b")
        assert (await watch.wait()) == WatchedEvent(EventType.NONE, KeeperState.EXPIRED, "/a", -1)
        await until(zk, KeeperState.SYNC_CONNECTED)
        assert zk.session_id != first
        last = servers.conversations[-1].connect_request
        assert last is not None
        assert (last.session_id, last.last_zxid_seen) == (0, 0)
        assert (await retried)[0] == b"/b"
        assert bound.expired
        assert bound.last_answered(math.inf) is None
        assert zk.last_answered(math.inf) == zk.bound().last_answered(math.inf) == trio.current_time()
        with pytest.raises(SessionExpiredError):
            bound.get_data("/c")


@pytest.mark.rule(41)
async def test_each_host_is_tried_within_its_share_of_the_timeout(autojump_clock: MockClock) -> None:
    servers = MemoryServers(silent)
    with pytest.raises(NoServerError):
        async with connect(servers, "10.0.0.1,10.0.0.2,10.0.0.3", timeout=9.0):
            pass
    first_round = servers.dialled[:3]
    assert {address for _, address in first_round} == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert [later[0] - earlier[0] for earlier, later in pairwise(first_round)] == pytest.approx([3.0, 3.0])


@pytest.mark.rule(42)
async def test_pause_between_rounds_grows_to_three_seconds_and_is_jittered(autojump_clock: MockClock) -> None:
    servers = MemoryServers(refuse)
    with pytest.raises(NoServerError):
        async with connect(servers, connect_timeout=600):
            pass
    times = [when for when, _ in servers.dialled]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] <= 0.05
    assert max(pauses) <= 3.0
    assert min(pauses[8:]) >= 1.5
    assert len({round(pause, 3) for pause in pauses[8:]}) > len(pauses[8:]) / 2


@pytest.mark.rule(42)
@pytest.mark.parametrize(("stands", "least", "most"), [(1.0, 1.5, 3.0), (5.1, 0.0, 0.1)])
async def test_pause_starts_over_only_when_a_session_has_stood_for_a_while(
    stands: float, least: float, most: float, autojump_clock: MockClock
) -> None:
    async def lose_after_a_session(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        await trio.sleep(stands)

    servers = MemoryServers(*[refuse] * 12, lose_after_a_session, *[refuse] * 12, ServerSide.serve)
    async with connect(servers, connect_timeout=600, timeout=600):
        await trio.sleep(60)
    times = [when for when, _ in servers.dialled]
    assert times[12] - times[11] >= 1.5, "a connection alone does not start it over"
    assert least <= times[13] - times[12] - stands <= most


async def test_hosts_are_tried_in_random_order(autojump_clock: MockClock) -> None:
    firsts = set()
    for _ in range(40):
        servers = MemoryServers()
        async with connect(servers, "10.0.0.1,10.0.0.2,10.0.0.3"):
            firsts.add(servers.dialled[0][1])
    assert firsts == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


async def test_resumed_session_refused_is_an_error_when_no_new_one_is_wanted(autojump_clock: MockClock) -> None:
    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    with pytest.raises(SessionExpiredError):
        async with connect(MemoryServers(expired), session=SessionInfo(5, bytes(16)), new_session=False):
            pass


async def test_auth_refused_ends_the_client(autojump_clock: MockClock) -> None:
    async def refuse_auth(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, err=ErrorCode.AUTH_FAILED)

    with pytest.raises(AuthFailedError, match="'nonsense'"):
        async with connect(MemoryServers(refuse_auth), auth=[("nonsense", b"x")]):
            pass


@pytest.mark.rule(16)
async def test_auth_added_while_connected_is_sent_again_first_on_the_next_connection(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        for _ in range(2):
            got = await conversation.read()
            assert got is not None
            await conversation.answer(got)

    servers = MemoryServers(lose, ServerSide.serve)
    async with connect(servers, auth=[("digest", b"a:b")]) as zk:
        await zk.add_auth("digest", b"c:d")
        await until(zk, KeeperState.DISCONNECTED)
        await zk.get_data("/a")
        assert [(got.opcode, getattr(got.record, "auth", None)) for got in servers.requests] == [
            (OpCode.AUTH, b"a:b"),
            (OpCode.AUTH, b"c:d"),
            (OpCode.AUTH, b"a:b"),
            (OpCode.AUTH, b"c:d"),
            (OpCode.GET_DATA, None),
        ]


# --- read-only mode


async def test_read_only_client_moves_to_a_read_write_server_when_one_answers(autojump_clock: MockClock) -> None:
    async def read_only(conversation: ServerSide) -> None:
        await conversation.shake_hands(read_only=True)
        await conversation.serve_on()

    async def says_ro(conversation: ServerSide) -> None:
        assert await conversation.stream.receive_some(4) == b"isro"
        await conversation.stream.send_all(b"ro")

    async def says_rw(conversation: ServerSide) -> None:
        assert await conversation.stream.receive_some(4) == b"isro"
        await conversation.stream.send_all(b"rw")

    async def read_write(conversation: ServerSide) -> None:
        await conversation.shake_hands(read_only=False)
        await conversation.serve_on()

    async def hangs_up(conversation: ServerSide) -> None:
        pass

    servers = MemoryServers(read_only, says_ro, hangs_up, says_rw, read_write)
    async with connect(servers, read_only=True) as zk:
        assert zk.state is KeeperState.CONNECTED_READ_ONLY
        states = zk.states()
        assert [await states.__anext__() for _ in range(3)] == [
            KeeperState.CONNECTED_READ_ONLY,
            KeeperState.DISCONNECTED,
            KeeperState.SYNC_CONNECTED,
        ]
        request = servers.conversations[-1].connect_request
        assert request is not None
        assert request.session_id == 0, "a read-only server's session is not resumed (rule 17)"


# --- watches


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


async def test_watch_stream_far_behind_is_given_one_resync(monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- chroot


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


# --- transports


async def test_socket_transport_keeps_what_the_socket_does_not_take_and_counts_it(autojump_clock: MockClock) -> None:
    near, far = socket.socketpair()
    with far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport = SocketTransport(near)
        data = bytes(range(256)) * 4096
        transport.send_nowait(data)
        assert 0 < transport.unsent < len(data)
        transport.send_nowait(b"tail")
        far.setblocking(False)
        received = bytearray()

        async def read_all() -> None:
            while len(received) < len(data) + 4:
                await trio.lowlevel.wait_readable(far)
                received.extend(far.recv(65536))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all)
            nursery.start_soon(transport.drain)
        assert bytes(received) == data + b"tail"
        assert transport.unsent == 0
        await transport.aclose()


async def test_socket_transport_reports_a_broken_socket_to_the_one_who_drains(autojump_clock: MockClock) -> None:
    near, far = socket.socketpair()
    transport = SocketTransport(near)
    far.close()
    transport.send_nowait(b"x")
    assert transport.unsent == 1
    with pytest.raises(OSError, match="pipe"):
        await transport.drain()
    await transport.aclose()


async def test_large_request_is_written_in_pieces_while_smaller_ones_wait_behind_it(autojump_clock: MockClock) -> None:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    async def dial(address: str, port: int, host_name: str) -> Transport:
        return SocketTransport(near)

    servers = MemoryServers()
    conversation = ServerSide(servers, trio.SocketStream(trio.socket.from_stdlib_socket(far)), "")  # type: ignore[arg-type]
    async with conversation.stream, trio.open_nursery() as nursery:
        nursery.start_soon(conversation.serve)
        async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
            calls = [
                zk.set_data("/big", bytes(900_000)),
                zk.set_data("/small", b""),
                zk.set_data("/big", bytes(500_000)),
            ]
            for call in calls:
                await call
        nursery.cancel_scope.cancel()
    assert [len(got.record.data) for got in servers.requests[:3]] == [900_000, 0, 500_000]


async def test_frames_not_written_are_given_back_when_the_connection_is_lost(autojump_clock: MockClock) -> None:
    """The first server takes the beginning of a large request and nothing more: what is behind it was never sent."""
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    second = MemoryServers()
    dials = 0

    async def dial(address: str, port: int, host_name: str) -> Transport:
        nonlocal dials
        dials += 1
        return SocketTransport(near) if dials == 1 else await second.dial(address, port, host_name)

    first = ServerSide(second, trio.SocketStream(trio.socket.from_stdlib_socket(far)), "")  # type: ignore[arg-type]

    async def shake_hands_and_stall() -> None:
        await first.shake_hands()
        await trio.sleep(1)
        far.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake_hands_and_stall)
        async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
            large, small = zk.set_data("/large", bytes(900_000)), zk.set_data("/small", b"")
            with pytest.raises(ConnectionLossError) as caught:
                await large
            assert caught.value.written == "partly"
            assert not caught.value.maybe_applied
            await small
    assert [got.record.path for got in second.requests if got.opcode is OpCode.SET_DATA] == ["/small"]


async def test_stream_transport_counts_what_it_was_not_yet_asked_to_drain(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours)
    transport.send_nowait(b"abc")
    assert transport.unsent == 3
    await transport.drain()
    assert transport.unsent == 0
    assert await theirs.receive_some() == b"abc"
    await transport.aclose()


Script = Callable[[ServerSide], Awaitable[None]]


def answering(*records: Any) -> Script:
    """A server that answers the first requests with these records (an int: with this error), then like any other."""

    async def script(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        for record in records:
            got: Sent | None = await conversation.read()
            assert got is not None
            if isinstance(record, int):
                await conversation.reply(got, err=record)
            else:
                await conversation.reply(got, record)
        await conversation.serve_on()

    return script


async def test_exists_is_none_without_a_znode_and_raises_every_other_error(autojump_clock: MockClock) -> None:
    script = answering(ErrorCode.NO_NODE, ErrorCode.NO_AUTH, ExistsResponse(STAT))
    async with connect(MemoryServers(script)) as zk:
        assert await zk.exists("/a") is None
        with pytest.raises(zkwire.NoAuthError):
            await zk.exists("/a")
        assert await zk.exists("/a") == STAT


@pytest.mark.rule(23)
async def test_unknown_error_code_keeps_its_number(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(answering(-9999))) as zk:
        with pytest.raises(zkwire.ZooKeeperError, match=r"unknown error code \(-9999\): getData /a") as caught:
            await zk.get_data("/a")
        assert caught.value.code == -9999


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


async def test_new_session_does_not_wait_for_the_dial_of_the_old_one(autojump_clock: MockClock) -> None:
    async def once(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(once, ServerSide.serve)
    dials = 0

    async def dial(address: str, port: int, host_name: str) -> Transport:
        nonlocal dials
        dials += 1
        return await (unreachable if 2 <= dials <= 5 else servers.dial)(address, port, host_name)

    async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        began = trio.current_time()
        await until(zk, KeeperState.EXPIRED)
        await until(zk, KeeperState.SYNC_CONNECTED)
        assert dials == 6
        assert 12.0 <= trio.current_time() - began <= 13.5, "4/3 of the timeout, and a pause"


async def test_state_stream_that_nobody_holds_is_forgotten(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        for _ in range(10):
            async for _state in zk.states():
                break
        gc.collect()
        assert len(zk._states) == 0


class Resolver(trio.abc.HostnameResolver):
    """Answers each look-up with the next of these lists of addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        self.asked.append(host.decode() if isinstance(host, bytes) else host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise AssertionError("a client resolves names, never addresses")


@pytest.mark.rule(43)
async def test_host_name_is_resolved_at_every_attempt_and_all_its_addresses_are_tried(
    autojump_clock: MockClock,
) -> None:
    resolver = Resolver(["10.0.0.1", "10.0.0.2"], ["10.0.0.3"])
    trio.socket.set_custom_hostname_resolver(resolver)
    servers = MemoryServers(refuse, refuse, ServerSide.serve)
    async with connect(servers, "zoo.example:2181"):
        assert sorted(address for _, address in servers.dialled[:2]) == ["10.0.0.1", "10.0.0.2"]
        assert servers.dialled[2][1] == "10.0.0.3"
        assert resolver.asked == ["zoo.example", "zoo.example"]


async def test_name_that_is_not_resolved_is_named_with_the_reason(autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver([]))
    with pytest.raises(NoServerError, match=r"nowhere\.example:2181: name not resolved: .*unknown name"):
        async with connect(MemoryServers(), "nowhere.example", connect_timeout=1):
            pass


async def test_scope_id_of_an_address_is_kept(autojump_clock: MockClock) -> None:
    index = socket.if_nametoindex("lo")
    servers = MemoryServers()
    async with connect(servers, "[fe80::1%lo]:2182") as zk:
        assert [address for _, address in servers.dialled] == [f"fe80::1%{index}"]
        assert zk.state is KeeperState.SYNC_CONNECTED


async def test_lookup_that_hangs_is_shared_and_not_started_again(autojump_clock: MockClock) -> None:
    class Slow(Resolver):
        async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
            found = await super().getaddrinfo(*args, **kwargs)
            await trio.sleep(100)
            return found

    resolver = Slow(["10.0.0.1"])
    trio.socket.set_custom_hostname_resolver(resolver)
    servers = MemoryServers()
    with pytest.raises(NoServerError, match="not resolved"):
        async with connect(servers, "slow.example", 3.0, connect_timeout=90):
            pass
    async with connect(servers, "slow.example", 3.0, connect_timeout=90):
        assert 100 <= trio.current_time() <= 104
    assert resolver.asked == ["slow.example"]


async def test_name_that_is_none_is_named_while_the_other_hosts_are_tried(autojump_clock: MockClock) -> None:
    with pytest.raises(NoServerError, match=r"a\.\.b:2181: name not resolved: .*label empty"):
        async with connect(MemoryServers(refuse), "a..b,10.0.0.1"):
            pass
    async with connect(MemoryServers(), "a..b,10.0.0.1") as zk:
        assert zk.state is KeeperState.SYNC_CONNECTED


async def test_resolver_that_never_answers_takes_no_more_than_its_share(autojump_clock: MockClock) -> None:
    class Stuck(Resolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            await trio.sleep_forever()

    trio.socket.set_custom_hostname_resolver(Stuck([]))
    servers = MemoryServers()
    began = trio.current_time()
    async with connect(servers, "stuck.example,10.0.0.1", timeout=9.0):
        assert trio.current_time() - began <= 4.5 + 0.01


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


async def test_auth_added_later_is_taken_into_the_next_session(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)

    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(lose, expired, ServerSide.serve)
    async with connect(servers) as zk:
        await zk.add_auth("digest", b"a:b")
        await until(zk, KeeperState.EXPIRED)
        await until(zk, KeeperState.SYNC_CONNECTED)
        assert [got.record.auth for got in servers.requests] == [b"a:b", b"a:b"]


async def test_server_that_refuses_every_session_is_asked_ever_more_rarely(autojump_clock: MockClock) -> None:
    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(expired)
    with pytest.raises(NoServerError, match="the server does not know the session"):
        async with connect(servers, connect_timeout=60):
            pass
    assert 20 <= len(servers.dialled) <= 60


async def test_last_words_of_a_server_are_heard_after_a_write_to_it_failed(autojump_clock: MockClock) -> None:
    class OneWay(StreamTransport):
        """Takes nothing any more, and still has something to read."""

        broken = False

        async def drain(self) -> None:
            if self.broken:
                raise trio.BrokenResourceError from OSError("broken pipe")
            await super().drain()

    ours, theirs = trio.testing.memory_stream_pair()
    transport = OneWay(ours)
    servers = MemoryServers()
    conversation = ServerSide(servers, theirs, "")
    dials = 0

    async def dial(address: str, port: int, host_name: str) -> Transport:
        nonlocal dials
        dials += 1
        return transport if dials == 1 else await servers.dial(address, port, host_name)

    async def answer_late() -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await trio.sleep(1.1)
        await conversation.answer(got)
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_late)
        async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
            first = zk.get_data("/first")
            await trio.sleep(1)
            transport.broken = True
            second = zk.get_data("/second")
            assert (await first)[0] == b"/first"
            assert (await second)[0] == b"/second", "it never left, and goes out on the next connection"


async def test_leaving_while_authenticating_closes_the_session(autojump_clock: MockClock) -> None:
    async def answer_no_auth(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        while (got := await conversation.read()) is not None:
            if got.opcode is OpCode.CLOSE_SESSION:
                await conversation.answer(got)
                return

    servers = MemoryServers(answer_no_auth)
    with pytest.raises(NoServerError):
        async with connect(servers, auth=[("digest", b"a:b")], connect_timeout=1):
            pass
    assert servers.opcodes() == [OpCode.AUTH, OpCode.CLOSE_SESSION]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("session", 5),
        ("read_only", "no"),
        ("ssl_context", True),
        ("auth", "digest"),
        ("auth", [("digest", "text")]),
        ("sasl", "digest"),
        ("on_frame", "print"),
        ("new_session", 0),
        ("max_frame", "1 MB"),
        ("max_reply", -1),
        ("max_reply", 0),
        ("max_reply", 1e6),
        ("dial", 2181),
    ],
)
def test_connect_refuses_an_argument_of_the_wrong_type(argument: str, value: Any) -> None:
    with pytest.raises(LocalProtocolError, match=f"connect: {argument} is "):
        zkwire.connect(HOST, **{argument: value})


@pytest.mark.parametrize(
    ("argument", "value", "seen"),
    [
        ("auth", [("digest", "u:secret")], "list of (tuple of (str, str))"),
        ("auth", "u:secret", "str"),
        ("session", (5, b"a secret"), "tuple of (int, bytes)"),
        ("sasl", ("u", "secret"), "tuple of (str, str)"),
    ],
)
def test_connect_does_not_show_a_secret_of_the_wrong_type(argument: str, value: Any, seen: str) -> None:
    with pytest.raises(LocalProtocolError, match=re.escape(f", not {seen}") + "$") as caught:
        zkwire.connect(HOST, **{argument: value})
    assert "secret" not in str(caught.value)


async def test_add_auth_does_not_show_a_password_that_is_no_bytes(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with pytest.raises(LocalProtocolError, match=r"^AuthPacket\.auth: buffer takes bytes or None, not str$"):
            zk.add_auth("digest", "user:secret")  # type: ignore[arg-type]


async def test_add_auth_with_its_arguments_swapped_does_not_show_the_password(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with pytest.raises(LocalProtocolError, match=r"^add_auth: scheme is a str, not bytes$"):
            zk.add_auth(b"user:secret", "digest")  # type: ignore[arg-type]


async def test_call_does_not_show_a_password(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        call = zk.add_auth("digest", b"user:secret")
        assert repr(call) == "<auth xid=0 AuthPacket(type=0, scheme='digest', auth=<11 bytes>)>"
        await call


@pytest.mark.parametrize(("id", "password"), [("0x100", b""), (2**63, b""), (5, "text"), (0, bytes(16))])
def test_connect_refuses_a_session_that_can_be_none(id: Any, password: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"^SessionInfo: "):
        zkwire.connect(HOST, session=SessionInfo(id, password))


@pytest.mark.parametrize("hosts", [None, ["10.0.0.1"], 2181])
def test_connect_refuses_hosts_that_are_no_text(hosts: Any) -> None:
    with pytest.raises(LocalProtocolError, match="connect: hosts is a connect string"):
        zkwire.connect(hosts)


async def test_wrong_operation_of_a_multi_is_named_by_its_number(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        with pytest.raises(BadArgumentsError, match=r"multi\[1\] delete bad") as caught:
            zk.multi([Check("/a"), Delete("bad")])
        assert caught.value.index == 1
        with pytest.raises(LocalProtocolError, match=r"multi\[0\]: PERSISTENT_WITH_TTL needs a ttl"):
            zk.multi([Create("/a", mode=CreateMode.PERSISTENT_WITH_TTL)])
        with pytest.raises(LocalProtocolError, match=r"multiRead\[1\]: multiRead takes GetData and GetChildren"):
            zk.multi_read([GetData("/a"), Delete("/a")])  # type: ignore[list-item]
        assert servers.opcodes() == []


@pytest.mark.parametrize(
    "items",
    [
        [(OpCode.SET_DATA, SetDataResponse(STAT)), (OpCode.SET_DATA, SetDataResponse(STAT))],
        [(OpCode.CREATE, CreateResponse("/a")), (OpCode.CREATE, CreateResponse("/a"))],
        [(OpCode.CREATE, CreateResponse("/a"))],
        [(OpCode.CREATE, CreateResponse("/a")), (OpCode.ERROR, ErrorResponse(-101))],
        [(OpCode.CREATE, CreateResponse(None)), (OpCode.SET_DATA, SetDataResponse(STAT))],
    ],
)
async def test_results_that_do_not_answer_the_multi_are_the_servers_fault(
    autojump_clock: MockClock, items: list[tuple[OpCode, Any]]
) -> None:
    response = MultiResponse(tuple(MultiItem(MultiHeader(kind, False, 0), body) for kind, body in items))
    async with connect(MemoryServers(answering(response))) as zk:
        with pytest.raises(RemoteProtocolError, match=r"MultiResponse|CreateResponse\.path"):
            await zk.multi([Create("/a"), SetData("/a", b"")])


@pytest.mark.parametrize(
    "items",
    [
        [(OpCode.GET_CHILDREN, GetChildrenResponse(())), (OpCode.GET_CHILDREN, GetChildrenResponse(()))],
        [(OpCode.GET_DATA, GetDataResponse(b"", STAT)), (OpCode.GET_DATA, GetDataResponse(b"", STAT))],
        [(OpCode.GET_DATA, GetDataResponse(b"", STAT)), (OpCode.GET_CHILDREN, GetChildrenResponse(None))],
    ],
)
async def test_results_that_do_not_answer_the_multi_read_are_the_servers_fault(
    autojump_clock: MockClock, items: list[tuple[OpCode, Any]]
) -> None:
    response = MultiResponse(tuple(MultiItem(MultiHeader(kind, False, 0), body) for kind, body in items))
    async with connect(MemoryServers(answering(response))) as zk:
        with pytest.raises(RemoteProtocolError, match=r"MultiResponse|GetChildrenResponse"):
            await zk.multi_read([GetData("/a"), GetChildren("/a")])


async def test_socket_transport_has_nothing_then_bytes_then_the_end(autojump_clock: MockClock) -> None:
    near, far = socket.socketpair()
    transport = SocketTransport(near)
    assert transport.receive_nowait() is None
    far.send(b"abc")
    await transport.readable()
    assert transport.receive_nowait() == b"abc"
    far.close()
    await transport.readable()
    assert transport.receive_nowait() == b""
    await transport.aclose()


async def test_socket_transport_reads_more_at_once_while_what_it_reads_fills_the_buffer(
    autojump_clock: MockClock,
) -> None:
    near, far = socket.socketpair()
    for end in (near, far):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 2**20)
    transport = SocketTransport(near)
    far.setblocking(False)
    sent = far.send(bytes(300_000))
    sizes: list[int] = []
    while sum(sizes) < sent:
        await transport.readable()
        sizes.append(len(transport.receive_nowait() or b""))
    assert sizes[0] == RECEIVE_SIZE
    assert max(sizes) > RECEIVE_SIZE
    far.close()
    await transport.aclose()


async def test_single_server_that_does_not_answer_is_asked_three_times_within_the_timeout(
    autojump_clock: MockClock,
) -> None:
    """A ConnectRequest sent while a server starts may stay unanswered: seen on 3.8.0."""

    async def once(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(once, silent, silent, ServerSide.serve)
    async with connect(servers, timeout=9.0) as zk:
        session_id = zk.session_id
        await until(zk, KeeperState.DISCONNECTED)
        began = trio.current_time()
        await zk.get_data("/a")
        assert trio.current_time() - began < 9.0
        assert zk.session_id == session_id


# --- limits that count from the timeout that was granted


class Hosts:
    """Servers by address, for `connect(dial=...)`; those that are not in `up` refuse."""

    def __init__(self, *up: str, **servers: MemoryServers) -> None:
        self.servers = {f"10.0.0.{name[1:]}": these for name, these in servers.items()}
        self.connect_string = ",".join(self.servers)
        self.up = {f"10.0.0.{name[1:]}" for name in up} or set(self.servers)

    async def dial(self, address: str, port: int, host_name: str) -> Transport:
        if address not in self.up:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError("refused")
        return await self.servers[address].dial(address, port, host_name)

    def all_up(self) -> None:
        self.up = set(self.servers)


def granting(seconds: float, then: Script = ServerSide.serve_on) -> Script:
    """A server that grants this session timeout; what comes then."""

    async def script(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=round(seconds * 1000))
        await then(conversation)

    return script


async def hang_up(conversation: ServerSide) -> None:
    """Close the connection after a second."""
    await trio.sleep(1)


async def freeze(conversation: ServerSide) -> None:
    """Read requests, and answer none."""
    while await conversation.read() is not None:
        pass


@pytest.mark.rule(6, 41)
async def test_silent_host_gets_its_share_of_the_granted_timeout_and_the_session_lives(
    autojump_clock: MockClock,
) -> None:
    """Asked for 60 s and granted 4 s: a host that accepts and says nothing does not get 20 s."""
    hosts = Hosts("h1", h1=MemoryServers(granting(4.0, hang_up), granting(4.0)), h2=MemoryServers(silent))
    async with zkwire.connect(hosts.connect_string, 60.0, dial=hosts.dial) as zk:
        session_id = zk.session_id
        hosts.all_up()
        await until(zk, KeeperState.DISCONNECTED)
        began = trio.current_time()
        await until(zk, KeeperState.SYNC_CONNECTED)
        assert zk.session_id == session_id
        assert trio.current_time() - began < 2.0


@pytest.mark.rule(37, 41)
async def test_silent_host_gets_a_share_of_what_a_frozen_server_has_left_of_the_timeout(
    autojump_clock: MockClock,
) -> None:
    """The frozen server is given up after 2/3 of the timeout, so three hosts share the last third."""
    for _ in range(8):  # the order of hosts is random
        hosts = Hosts(
            "h1",
            h1=MemoryServers(granting(9.0, freeze)),
            h2=MemoryServers(silent),
            h3=MemoryServers(granting(9.0)),
        )
        async with zkwire.connect(hosts.connect_string, 9.0, dial=hosts.dial) as zk:
            began, session_id = trio.current_time(), zk.session_id
            hosts.all_up()
            await until(zk, KeeperState.DISCONNECTED)
            assert trio.current_time() - began == pytest.approx(6.0)
            await until(zk, KeeperState.SYNC_CONNECTED)
            assert trio.current_time() - began < 8.0, "a silent host that comes first gets 1 s"
            assert zk.session_id == session_id


@pytest.mark.rule(17)
async def test_read_write_server_is_sought_within_shares_of_the_granted_timeout(autojump_clock: MockClock) -> None:
    async def read_only(conversation: ServerSide) -> None:
        await conversation.shake_hands(read_only=True, time_out=4000)
        await conversation.serve_on()

    async def read_write(conversation: ServerSide) -> None:
        first = await conversation.stream.receive_some(4)
        if first == b"isro":
            await conversation.stream.send_all(b"rw")
            return
        conversation.unread(bytes(first))
        await conversation.shake_hands(read_only=False, time_out=4000)
        await conversation.serve_on()

    for _ in range(4):  # the order of hosts is random
        hosts = Hosts("h1", h1=MemoryServers(read_only, silent), h2=MemoryServers(silent), h3=MemoryServers(read_write))
        async with zkwire.connect(hosts.connect_string, 600.0, read_only=True, dial=hosts.dial) as zk:
            assert zk.state is KeeperState.CONNECTED_READ_ONLY
            began = trio.current_time()
            hosts.all_up()
            await until(zk, KeeperState.SYNC_CONNECTED)
            assert trio.current_time() - began < 10.0, "a silent host gets a third of 4 s, not of 600"


def far_away(servers: MemoryServers, way: float) -> Callable[[str, int, str], Awaitable[Transport]]:
    """Dials servers that are `way` seconds away, there and back."""

    class Delayed(StreamTransport):
        async def readable(self) -> None:
            await super().readable()
            await trio.sleep(way)  # what was sent meanwhile arrives that much later

    async def dial(address: str, port: int, host_name: str) -> Transport:
        await trio.sleep(way)
        near = await servers.dial(address, port, host_name)
        assert isinstance(near, StreamTransport)
        return Delayed(near._stream)

    return dial


@pytest.mark.rule(6)
@pytest.mark.parametrize("hosts", ["10.0.0.1", "10.0.0.1,10.0.0.2,10.0.0.3"])
@pytest.mark.parametrize("options", [{}, {"connect_timeout": 5.0}, {"connect_timeout": math.inf}])
async def test_short_timeout_leaves_enough_time_for_the_way_to_a_server(
    hosts: str, options: dict[str, Any], autojump_clock: MockClock
) -> None:
    """Asked for 0.2 s, with 0.1 s each way: servers grant more, and say so at the end of that way."""
    servers = MemoryServers(granting(4.0))
    async with zkwire.connect(hosts, 0.2, dial=far_away(servers, 0.2), **options) as zk:
        assert trio.current_time() == pytest.approx(0.4)
        assert zk.session_timeout == 4.0


async def test_attempts_are_as_long_as_the_way_to_a_session_was(autojump_clock: MockClock) -> None:
    """It takes 0.9 s from dialling to a session. A third of what a frozen server has left of 4 s would be too short."""
    servers = MemoryServers(granting(4.0, freeze), granting(4.0))
    async with zkwire.connect("10.0.0.1", 4.0, dial=far_away(servers, 0.45)) as zk:
        session_id = zk.session_id
        await until(zk, KeeperState.DISCONNECTED)
        await until(zk, KeeperState.SYNC_CONNECTED)
        assert zk.session_id == session_id
        assert len(servers.dialled) == 2


@pytest.mark.rule(41)
async def test_connect_timeout_is_shared_out_among_the_hosts(autojump_clock: MockClock) -> None:
    """Entering has 3 s for three servers, with a session timeout of 10 s. One server is frozen, and gets 1 s."""
    for _ in range(20):  # the order of hosts is random
        hosts = Hosts(h1=MemoryServers(silent), h2=MemoryServers(granting(10.0)), h3=MemoryServers(granting(10.0)))
        began = trio.current_time()
        async with zkwire.connect(hosts.connect_string, 10.0, dial=hosts.dial, connect_timeout=3.0):
            assert trio.current_time() - began <= 1.01


async def test_requests_wait_for_a_next_session_by_the_timeout_that_was_granted(autojump_clock: MockClock) -> None:
    servers = MemoryServers(granting(4.0, hang_up), silent)
    async with zkwire.connect("10.0.0.1", 60.0, dial=servers.dial) as zk:
        await until(zk, KeeperState.EXPIRED)
        assert zk.session_timeout == 4.0
        began = trio.current_time()
        with pytest.raises(ConnectionLossError, match="not sent; no server: no ConnectResponse in time"):
            await zk.get_data("/a")
        assert trio.current_time() - began == pytest.approx(4.0 * 4 / 3)


# --- a server that comes back, and sessions that do not stand


@pytest.mark.rule(42)
@pytest.mark.parametrize(("timeout", "away"), [(4.0, 2.7), (4.0, 3.0), (9.0, 6.5), (30.0, 22.0)])
async def test_server_that_comes_back_with_a_quarter_of_the_timeout_left_is_found_in_time(
    timeout: float, away: float, autojump_clock: MockClock
) -> None:
    hosts = Hosts(h1=MemoryServers(granting(timeout, freeze)))
    found: list[float] = []
    attempts = 0

    async def dial(address: str, port: int, host_name: str) -> Transport:
        nonlocal attempts
        attempts += 1
        return await hosts.dial(address, port, host_name)

    async def run_client() -> None:
        async with zkwire.connect("10.0.0.1", timeout, dial=dial) as zk:
            session_id = zk.session_id
            await until(zk, KeeperState.DISCONNECTED)
            lost = trio.current_time()
            await until(zk, KeeperState.SYNC_CONNECTED)
            assert zk.session_id == session_id
            found.append(trio.current_time() - lost)

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(run_client)
        await trio.testing.wait_all_tasks_blocked()
        hosts.up, before = set(), attempts
        for conversation in hosts.servers["10.0.0.1"].conversations:
            await conversation.stream.aclose()
        hosts.servers["10.0.0.1"].scripts = [granting(timeout)]
        await trio.sleep(away)
        assert attempts - before <= 30 * (6 + away / (timeout / 16)), "no storm"
        hosts.all_up()
    assert len(found) == 30
    assert max(found) <= away + timeout / 8


async def test_pause_grows_to_three_seconds_where_no_session_is_at_stake(autojump_clock: MockClock) -> None:
    servers = MemoryServers(refuse)
    with pytest.raises(NoServerError):
        async with connect(servers, timeout=4.0, connect_timeout=120):
            pass
    assert len(servers.dialled) < 120 / 1.5


@pytest.mark.rule(42)
async def test_session_that_is_cut_again_and_again_makes_pauses_grow_and_is_told(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    servers = MemoryServers(shake_and_go)
    reasons: list[str] = []
    async with connect(servers, timeout=10.0) as zk, trio.open_nursery() as nursery:

        async def note_reasons() -> None:
            states = zk.states()
            async for state in states:
                if state is KeeperState.DISCONNECTED:
                    reasons.append(states.reason)

        nursery.start_soon(note_reasons)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
        assert zk.session_id == 0x101, "it is one session all the while"
    assert len(servers.dialled) <= 45, "less than one a second"
    times = [when for when, _ in servers.dialled]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 2.5, "a quarter of the session timeout"
    assert reasons[0] == "the server closed the connection"
    assert re.fullmatch(
        r"the server closed the connection, 0 s after the session stood there; 5 connections in a row ended so soon",
        reasons[4],
    )
    warnings = [record for record in caplog.records if record.name == "zkwire"]
    assert [record.levelname for record in warnings] == ["WARNING"] * 4, "at 3, 6, 12 and 24"
    assert "session 0x101: the server closed the connection, 0 s after" in warnings[0].getMessage()
    assert "3 connections in a row" in warnings[0].getMessage()


async def test_request_lost_again_and_again_is_told_how_often_in_its_error(autojump_clock: MockClock) -> None:
    async def read_one_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        await conversation.read()

    async with connect(MemoryServers(read_one_and_go)) as zk:
        for _ in range(3):
            with pytest.raises(ConnectionLossError) as caught:
                await zk.get_data("/a")
    assert "3 connections in a row ended so soon" in str(caught.value)


@pytest.mark.rule(42, 44)
async def test_two_clients_on_one_session_take_it_from_each_other_slowly(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    owner: ServerSide | None = None

    async def evict(conversation: ServerSide) -> None:
        nonlocal owner
        await conversation.shake_hands()
        before, owner = owner, conversation
        if before is not None:
            await before.stream.aclose()
        await conversation.serve_on()

    servers.scripts = [evict]
    async with connect(servers, timeout=10.0) as zk, connect(servers, timeout=10.0, session=zk.session) as other:
        await trio.sleep(10)  # pauses grow
        before = len(servers.dialled)
        await trio.sleep(100)
        assert len(servers.dialled) - before <= 100, "one a second by the two of them"
        assert zk.session_id == other.session_id
        other.detach()
        await trio.sleep(5)
        assert zk.state is KeeperState.SYNC_CONNECTED
        before = len(servers.dialled)
        await trio.sleep(60)
        assert len(servers.dialled) == before


# --- auths and SASL that are never answered


async def shake_and_pong(conversation: ServerSide) -> None:
    """Shake hands, and answer pings and nothing else."""
    await conversation.shake_hands()
    while (got := await conversation.read()) is not None:
        if got.opcode is OpCode.PING:
            await conversation.answer(got)


class Mechanism:
    """Two tokens each way."""

    def start(self) -> bytes:
        return b"first"

    def step(self, challenge: bytes) -> bytes | None:
        return None if challenge == b"proof" else b"second"


async def sasl_serve(conversation: ServerSide) -> None:
    await conversation.shake_hands()
    for token in (b"challenge", b"proof"):
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, SetSASLResponse(token))
    await conversation.serve_on()


async def sasl_serve_and_go(conversation: ServerSide) -> None:
    await conversation.shake_hands()
    for token in (b"challenge", b"proof"):
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, SetSASLResponse(token))


@pytest.mark.rule(13, 15)
@pytest.mark.parametrize("kind", ["auth", "sasl"])
async def test_reply_to_auth_or_sasl_that_is_lost_at_a_reconnect_costs_one_attempt(
    kind: str, autojump_clock: MockClock
) -> None:
    async def serve_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)

    options: dict[str, Any]
    if kind == "auth":
        servers = MemoryServers(serve_and_go, shake_and_pong, ServerSide.serve)
        options = {"auth": [("digest", b"a:b")]}
    else:
        servers, options = MemoryServers(sasl_serve_and_go, shake_and_pong, sasl_serve), {"sasl": Mechanism()}
    async with connect(servers, **options) as zk:
        session_id = zk.session_id
        await until(zk, KeeperState.DISCONNECTED)
        began = trio.current_time()
        await zk.get_data("/a")
        assert trio.current_time() - began < 4.0
        assert zk.session_id == session_id


@pytest.mark.rule(16)
async def test_add_auth_without_a_server_ends_as_every_call_does(autojump_clock: MockClock) -> None:
    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(shake_and_go, expired, silent)
    async with connect(servers) as zk:
        await until(zk, KeeperState.EXPIRED)
        ended: list[float] = []

        async def ask(what: Awaitable[Any]) -> None:
            with pytest.raises(ConnectionLossError, match="not sent; no server"):
                await what
            ended.append(trio.current_time())

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, zk.add_auth("digest", b"a:b"))
            nursery.start_soon(ask, zk.get_data("/a"))
        assert ended == pytest.approx([began + 12.0] * 2)


@pytest.mark.rule(16)
async def test_add_auth_ends_with_its_session_as_every_call_does(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(shake_and_go, silent), new_session=False) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        with trio.fail_after(12.1), pytest.raises(SessionExpiredError):
            await zk.add_auth("digest", b"a:b")


@pytest.mark.rule(16)
async def test_add_auth_whose_reply_is_lost_is_answered_on_the_next_connection(autojump_clock: MockClock) -> None:
    servers = MemoryServers(shake_and_pong, ServerSide.serve)
    async with connect(servers) as zk:
        began = trio.current_time()
        await zk.add_auth("digest", b"a:b")
        assert trio.current_time() - began == pytest.approx(6.0, abs=0.1), "2/3 of the timeout"
        await zk.get_data("/a")
        assert servers.opcodes() == [OpCode.AUTH, OpCode.AUTH, OpCode.GET_DATA]


async def test_add_auth_that_is_never_answered_fails_and_the_client_goes_on_without_it(
    autojump_clock: MockClock,
) -> None:
    async def no_auth(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        while (got := await conversation.read()) is not None:
            if got.opcode is not OpCode.AUTH:
                await conversation.answer(got)

    async with connect(MemoryServers(no_auth)) as zk:
        began = trio.current_time()
        with pytest.raises(ConnectionLossError, match=r"auth .*no server: no reply to auth in time"):
            await zk.add_auth("digest", b"a:b")
        assert trio.current_time() - began < 6 + 12 + 4
        assert (await zk.get_data("/a"))[0] == b"/a"


async def test_requests_end_while_a_configured_auth_is_never_answered(autojump_clock: MockClock) -> None:
    async def answer_one_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)

    async with connect(MemoryServers(answer_one_and_go, shake_and_pong), auth=[("digest", b"a:b")]) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        for _ in range(2):
            with trio.fail_after(12.1), pytest.raises(ConnectionLossError, match="no reply to auth in time"):
                await zk.get_data("/a")


async def test_reply_that_is_too_long_fails_its_call_with_the_path_of_the_caller(autojump_clock: MockClock) -> None:
    script = answering(GetDataResponse(bytes(5000), STAT))
    servers = MemoryServers(script)
    async with connect(servers, HOST + "/app", max_reply=1000) as zk:
        long, other = zk.get_data("/long"), zk.get_data("/other")
        with pytest.raises(zkwire.ReplyTooLongError, match=r"^getData /long: expected a reply of at most 1000 bytes"):
            await long
        assert (await other)[0] == b"/app/other"
    assert len(servers.dialled) == 1


@pytest.mark.rule(42)
async def test_connection_that_served_before_it_was_cut_makes_pauses_grow_slowly(autojump_clock: MockClock) -> None:
    async def answer_one_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        if got is not None:
            await conversation.answer(got)

    servers = MemoryServers(answer_one_and_go)

    async def keep_asking() -> None:
        while True:
            await zk.get_data("/a")
            await until(zk, KeeperState.DISCONNECTED)

    async with connect(servers, timeout=10.0) as zk, trio.open_nursery() as nursery:
        nursery.start_soon(keep_asking)
        await trio.sleep(5)
        assert len(servers.dialled) > 50, "it is of use"
        await trio.sleep(295)
        before = len(servers.dialled)
        await trio.sleep(60)
        assert len(servers.dialled) - before <= 45, "but not for ever"
        nursery.cancel_scope.cancel()


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


async def test_states_say_why_the_state_is_what_it_is_from_the_first_on(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(shake_and_go, silent), new_session=False) as zk:
        states = zk.states()
        assert (await anext(states), states.reason) == (KeeperState.SYNC_CONNECTED, "")
        assert (await anext(states), states.reason) == (KeeperState.DISCONNECTED, "the server closed the connection")
        later = zk.states()
        assert (await anext(later), later.reason) == (KeeperState.DISCONNECTED, "the server closed the connection")
        assert await anext(states) is KeeperState.EXPIRED
        assert "no valid frame for 12 s" in states.reason


@pytest.mark.rule(42)
async def test_server_that_calls_itself_read_write_and_gives_no_session_makes_no_storm(
    autojump_clock: MockClock,
) -> None:
    async def read_only(conversation: ServerSide) -> None:
        first = await conversation.stream.receive_some(4)
        if first == b"isro":
            await conversation.stream.send_all(b"ro")
            return
        conversation.unread(bytes(first))
        await conversation.shake_hands(read_only=True)
        await conversation.serve_on()

    async def lie(conversation: ServerSide) -> None:
        if await conversation.stream.receive_some(4) == b"isro":
            await conversation.stream.send_all(b"rw")

    hosts = Hosts("h1", h1=MemoryServers(read_only), h2=MemoryServers(lie))
    async with zkwire.connect(hosts.connect_string, 10.0, read_only=True, dial=hosts.dial) as zk:
        hosts.all_up()
        await trio.sleep(100)
        assert len(hosts.servers["10.0.0.1"].dialled) <= 80, "less than one a second"
        assert zk.session_timeout == 10.0
