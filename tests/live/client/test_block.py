"""The end of a client's block: what is closed, what leaves it, and what is not left open."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

import zkwire
from tests.conftest import External
from tests.support.behind import Line, heal, on_line, part
from tests.support.live import EPHEMERAL, client
from tests.support.processes import HOST, free_port
from tests.support.real.servers import Server
from zkwire import ClosedError, Direction, Frame, KeeperState, NoNodeError, NoServerError, OpCode


async def test_closing_without_a_connection_takes_no_time(zookeeper: Server | External) -> None:
    line = Line()
    with trio.fail_after(60):
        async with zkwire.connect(zookeeper.address, 30.0, dial=line.dial) as zk:
            await part(zk, line)
            waiting = zk.exists("/")
            began = trio.current_time()
        assert trio.current_time() - began < 1.0
        with pytest.raises(ClosedError):
            await waiting


async def test_closing_lets_earlier_requests_finish(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        calls = [zk.create(root), *(zk.create(f"{root}/{number}") for number in range(200))]
    for call in calls:
        assert await call
    async with client(zookeeper) as other:
        assert len(await other.get_children(root)) == 200


class OwnError(Exception):
    pass


async def test_exception_of_the_block_leaves_it_as_itself(zookeeper: Server | External) -> None:
    with pytest.raises(OwnError) as error:
        async with client(zookeeper):
            raise OwnError("mine")
    assert error.value.args == ("mine",)


async def test_server_error_leaves_the_block_as_itself(zookeeper: Server | External, root: str) -> None:
    with pytest.raises(NoNodeError):
        async with client(zookeeper) as zk:
            await zk.get_data(root)


async def test_cancellation_passes_through_the_block_and_closes_the_session(
    zookeeper: Server | External, root: str
) -> None:
    with trio.CancelScope() as scope:
        async with client(zookeeper) as zk:
            await zk.create(root, mode=EPHEMERAL)
            scope.cancel()
            await zk.exists(root)
            raise AssertionError("not reached")
    assert scope.cancelled_caught
    assert zk.state is KeeperState.CLOSED
    async with client(zookeeper) as other:
        assert await other.exists(root) is None


async def test_exception_of_on_frame_leaves_the_block_as_itself(zookeeper: Server | External) -> None:
    def on_frame(frame: Frame) -> None:
        if frame.opcode is OpCode.SYNC and frame.direction is Direction.RECEIVED:
            raise OwnError

    with pytest.raises(OwnError):
        async with client(zookeeper, on_frame=on_frame) as zk:
            await zk.sync()


async def test_cancellation_ends_entering_a_block_that_finds_no_server() -> None:
    with trio.move_on_after(0.2) as scope:
        async with zkwire.connect(f"{HOST}:{free_port()}", connect_timeout=float("inf")):
            raise AssertionError("not reached")
    assert scope.cancelled_caught


async def test_client_leaves_no_task_and_no_socket_behind(zookeeper: Server | External, root: str) -> None:
    open_before = len(os.listdir("/dev/fd"))
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    async with on_line(zookeeper) as (zk, line), zk.add_watch(root, zkwire.AddWatchMode.PERSISTENT):
        for _ in range(3):
            await part(zk, line)
            await heal(zk, line)
    del line, zk
    for hosts in (f"{HOST}:{free_port()}", f"{HOST}:{free_port()},{HOST}:{free_port()}"):
        with pytest.raises(NoServerError):
            async with zkwire.connect(hosts, connect_timeout=0.2):
                raise AssertionError("not reached")
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks_before
    assert len(os.listdir("/dev/fd")) == open_before
