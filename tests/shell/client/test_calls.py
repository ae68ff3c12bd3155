"""Calls: the order of their frames, what they copy, and what they give."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.scripts import answering, connect, hold, shake_and_go, until
from tests.support.fake.wire import STAT
from zkwire import (
    ACL,
    Check,
    Create,
    Delete,
    ErrorCode,
    GetChildren,
    GetData,
    Id,
    KeeperState,
    LocalProtocolError,
    NoNodeError,
    OpCode,
    Perms,
    RemoteProtocolError,
    SetData,
)
from zkwire.client.call import Call
from zkwire.multi import MultiItem, MultiResponse
from zkwire.records import (
    CreateResponse,
    ErrorResponse,
    ExistsResponse,
    GetChildrenResponse,
    GetDataResponse,
    MultiHeader,
    SetDataResponse,
)

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


async def test_call_that_is_never_awaited_gives_no_warning(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            zk.get_data("/a")
            gc.collect()
            await zk.get_data("/b")
            gc.collect()


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


# --- results


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
async def test_results_that_do_not_answer_the_multi_are_the_servers_error(
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
async def test_results_that_do_not_answer_the_multi_read_are_the_servers_error(
    autojump_clock: MockClock, items: list[tuple[OpCode, Any]]
) -> None:
    response = MultiResponse(tuple(MultiItem(MultiHeader(kind, False, 0), body) for kind, body in items))
    async with connect(MemoryServers(answering(response))) as zk:
        with pytest.raises(RemoteProtocolError, match=r"MultiResponse|GetChildrenResponse"):
            await zk.multi_read([GetData("/a"), GetChildren("/a")])
