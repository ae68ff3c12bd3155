"""No server, or not a ZooKeeper server: connect says of each address what it did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

import zkwire
from tests.conftest import External
from tests.support.live import PATIENCE, SLACK, no_server
from tests.support.processes import HOST, free_port
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Server


async def test_entering_raises_no_server_with_each_server_and_what_it_did() -> None:
    dead = [f"{HOST}:{free_port()}" for _ in range(3)]
    began = trio.current_time()
    message = await no_server(",".join(dead))
    assert trio.current_time() - began < 1.0 + SLACK
    assert "no session within 1 s" in message
    for server in dead:
        assert f"{server}: ConnectionRefusedError" in message


async def test_entering_names_a_host_that_cannot_be_resolved() -> None:
    message = await no_server("no-such-host.invalid:2181", wait=2.0)
    assert "no-such-host.invalid:2181: name not resolved" in message


@pytest.mark.rule(41)
async def test_client_finds_the_one_server_that_lives_among_dead_ones(zookeeper: Server | External) -> None:
    dead = [f"{HOST}:{free_port()}" for _ in range(4)]
    with trio.fail_after(60):
        for _ in range(5):
            async with zkwire.connect(",".join([*dead, zookeeper.address]), 10.0) as zk:
                assert await zk.exists("/") is not None


@asynccontextmanager
async def pretender(handler: Callable[[trio.SocketStream], Awaitable[object]]) -> AsyncIterator[str]:
    """The address of something that listens and is not ZooKeeper."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host=HOST))
        yield f"{HOST}:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_server_that_answers_something_else_is_described() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.receive_some()

    async with pretender(answer) as address:
        assert f"{address}: RemoteProtocolError: frame length 1213486160" in await no_server(address)


async def test_server_that_accepts_and_closes_is_described() -> None:
    async def close(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with pretender(close) as address:
        assert f"{address}: the server closed the connection" in await no_server(address)


async def test_server_that_accepts_and_never_answers_is_described() -> None:
    async with pretender(lambda stream: trio.sleep_forever()) as address:
        began = trio.current_time()
        message = await no_server(address)
        assert trio.current_time() - began < 1.0 + SLACK
        assert f"{address}: no ConnectResponse" in message


async def test_server_is_described_by_what_it_did_before_also_while_it_is_tried_again() -> None:
    attempts = 0

    async def close_the_first(stream: trio.SocketStream) -> None:
        nonlocal attempts
        attempts += 1
        await stream.receive_some()
        if attempts > 1:
            await trio.sleep_forever()
        await stream.aclose()

    async with pretender(close_the_first) as address:
        message = await no_server(address)
        assert f"{address}: the server closed the connection, then no ConnectResponse in time" in message


@pytest.mark.rule(40, 41)
async def test_client_passes_by_a_server_that_never_answers(zookeeper: Server | External) -> None:
    async with pretender(lambda stream: trio.sleep_forever()) as address:
        with trio.fail_after(60):
            for _ in range(4):
                async with zkwire.connect(f"{address},{zookeeper.address}", 1.0, connect_timeout=PATIENCE) as zk:
                    assert await zk.exists("/") is not None


async def test_client_reaches_a_server_by_ipv6(distribution: Distribution) -> None:
    with Server(distribution, config={"clientPortAddress": "::"}) as dual:
        with trio.fail_after(60):
            async with zkwire.connect(f"[::1]:{dual.port}", 10.0) as zk:
                assert await zk.exists("/") is not None
