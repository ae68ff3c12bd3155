"""Writes whose end is not known, and requests that were made without a connection."""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import zkwire
from tests.conftest import External
from tests.support.behind import Behind, behind, held, outcome
from tests.support.real.servers import Server
from zkwire import Client, ConnectionLossError, CreateMode, OpCode
from zkwire.client.transport import SocketTransport, Transport
from zkwire.tap.tap import When, cut
from zkwire.traffic.faults import Delay, reply_to, request


async def _prepare(at: Behind, root: str) -> None:
    await at.other.ensure_path(f"{root}/node")
    await at.other.create(f"{root}/node/old", b"")


def _write(zk: Client, root: str, opcode: OpCode) -> Awaitable[Any]:
    node = f"{root}/node"
    if opcode is OpCode.CREATE:
        return zk.create(f"{node}/new-", mode=CreateMode.PERSISTENT_SEQUENTIAL)
    if opcode is OpCode.SET_DATA:
        return zk.set_data(node, b"written")
    if opcode is OpCode.DELETE:
        return zk.delete(f"{node}/old")
    return zk.multi([zkwire.SetData(node, b"written"), zkwire.Delete(f"{node}/old")])


async def _written(at: Behind, root: str, opcode: OpCode) -> int:
    """How often that write was applied: by the server's own counts."""
    stat = await at.other.exists(f"{root}/node")
    assert stat is not None
    if opcode in (OpCode.SET_DATA, OpCode.MULTI):
        assert stat.cversion - 1 == (stat.version if opcode is OpCode.MULTI else 0)
        return int(stat.version)
    return int(stat.cversion) - 1


WRITES = [OpCode.CREATE, OpCode.SET_DATA, OpCode.DELETE, OpCode.MULTI]


@pytest.mark.rule(30, 31)
@pytest.mark.parametrize("opcode", WRITES, ids=lambda opcode: opcode.name)
async def test_write_is_maybe_applied_and_was_applied_once_when_its_reply_is_lost(
    zookeeper: Server | External, root: str, opcode: OpCode
) -> None:
    async with behind(zookeeper) as at:
        await _prepare(at, root)
        at.fault = cut(before=reply_to(opcode))
        error = await outcome(_write(at.zk, root, opcode))
        assert isinstance(error, ConnectionLossError)
        assert (error.written, error.maybe_applied) == ("in full", True)
        await at.zk.sync(root)
        assert await _written(at, root, opcode) == 1
        assert len(at.all(request(opcode))) == 1


@pytest.mark.rule(30, 31)
@pytest.mark.parametrize("opcode", WRITES, ids=lambda opcode: opcode.name)
async def test_write_is_maybe_applied_and_is_not_repeated_when_the_request_is_lost(
    zookeeper: Server | External, root: str, opcode: OpCode
) -> None:
    async with behind(zookeeper) as at:
        await _prepare(at, root)
        at.fault = cut(before=request(opcode))
        error = await outcome(_write(at.zk, root, opcode))
        assert isinstance(error, ConnectionLossError)
        assert (error.written, error.maybe_applied) == ("in full", True)
        await at.zk.sync(root)
        assert await _written(at, root, opcode) == 0


@pytest.mark.rule(30, 35)
async def test_requests_made_without_a_connection_are_applied_once_in_call_order(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        async with at.parted():
            calls = [at.zk.set_data(root, b"%d" % number, version=number) for number in range(50)]
            late = at.zk.create(f"{root}/s-", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        stats = [await call for call in reversed(calls)]
        assert [stat.version for stat in stats] == list(range(50, 0, -1))
        assert await late == f"{root}/s-0000000000"
        data, stat = await at.other.get_data(root)
        assert (data, stat.version, stat.num_children) == (b"49", 50, 1)


async def _narrow_dial(address: str, port: int, host_name: str) -> Transport:
    """A stream whose kernel buffers hold little, so that requests stay unwritten."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    await sock.connect((address, port))
    return SocketTransport(socket.socket(fileno=sock.detach()))


@pytest.mark.rule(29, 30, 31)
async def test_lost_connection_fails_what_was_written_and_keeps_what_was_not(
    zookeeper: Server | External, root: str
) -> None:
    """The server's end stops reading while the client writes: some requests left whole, one in part, the rest never."""
    ended: list[int] = []
    results: dict[int, Any] = {}
    size = 300
    async with behind(zookeeper, dial=_narrow_dial) as at:
        await at.other.ensure_path(root)
        at.tap.partition()
        calls = [
            at.zk.create(f"{root}/s-", b"%05d" % number + bytes(20_000), mode=CreateMode.PERSISTENT_SEQUENTIAL)
            for number in range(size)
        ]

        async def wait(number: int) -> None:
            results[number] = await outcome(calls[number])
            ended.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(size):
                nursery.start_soon(wait, number)
            await wait_all_tasks_blocked(0.05)  # the kernel has taken what it will
            await at.cut()
            await at.heal()
        names = sorted(await at.other.get_children(root))
        found = [int((await at.other.get_data(f"{root}/{name}"))[0][:5] or 0) for name in names]  # type: ignore[index]
    lost = {number: error for number, error in results.items() if isinstance(error, ConnectionLossError)}
    assert not [error for number, error in results.items() if isinstance(error, Exception) and number not in lost]
    whole = [number for number, error in lost.items() if error.written == "in full"]
    partly = [number for number, error in lost.items() if error.written == "partly"]
    kept = [number for number in range(size) if number not in lost]
    assert sorted(lost) == list(range(len(lost))), "those written are the first"
    assert (len(whole) > 0, len(partly), len(kept) > 0) == (True, 1, True)
    assert partly == [len(whole)]
    assert not lost[partly[0]].maybe_applied
    assert set(ended[: len(lost)]) == set(lost), "they fail first, at once"
    assert [number for number in found if number in kept] == kept, "what was kept is applied once, in order"
    assert set(found) <= {*whole, *kept}
    assert len(set(found)) == len(found)


@pytest.mark.rule(34)
async def test_cancelled_request_consumes_its_reply(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        await at.other.create(root, b"data")
        with held(at, reply_to(OpCode.GET_CHILDREN)) as fault:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(outcome, at.zk.get_children(root))
                    await fault.wait()
                    scope.cancel()
            call = at.zk.get_data(root)
        assert (await call)[0] == b"data"
        assert at.tap.accepted == 1


@pytest.mark.rule(34, 35)
async def test_cancelled_request_that_waited_for_a_connection_is_never_sent(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        async with at.parted():
            first = at.zk.create(root, b"first")
            with trio.move_on_after(0.05) as scope:
                await at.zk.set_data(root, b"cancelled")
            assert scope.cancelled_caught
            last = at.zk.create(f"{root}/last")
        await first
        await last
        assert (await at.other.get_data(root))[0] == b"first"
        assert at.all(request(OpCode.SET_DATA)) == []


@pytest.mark.rule(35)
async def test_requests_leave_in_the_order_of_their_calls_not_of_their_awaits(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        calls = [at.zk.exists(f"{root}-{number}") for number in range(20)]
        for call in reversed(calls):
            assert await call is None
        assert [each.path for each in at.all(request(OpCode.EXISTS))] == [f"{root}-{number}" for number in range(20)]


@pytest.mark.rule(29, 38)
async def test_end_of_the_stream_wakes_every_waiter_at_once(zookeeper: Server | External, root: str) -> None:
    ended: list[int] = []
    async with behind(zookeeper, 50.0) as at:
        fault = When(request(), Delay())
        at.fault = fault
        calls = [at.zk.exists(root) for _ in range(100)]

        async def wait(number: int) -> None:
            with pytest.raises(ConnectionLossError) as caught:
                await calls[number]
            assert caught.value.written == "in full"
            ended.append(number)

        with trio.fail_after(10):  # the silence limit would be 33 s
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(wait, number)
                await fault.wait()
                await at.cut()
    assert len(ended) == 100
