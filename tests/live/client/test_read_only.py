"""Read-only servers: what they serve, and how a client leaves them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing

import zkwire
from tests.support.live import CONNECTED, client, connect_requests, no_server, reached
from tests.support.processes import wait_until
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Ensemble, Server
from zkwire import Frame, KeeperState, NotReadOnlyError


@pytest.fixture(scope="module")
def read_only(distribution: Distribution) -> Iterator[Ensemble]:
    """Three servers, of which one that is left alone serves reads."""
    config = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}
    with Ensemble(distribution, config=config, jvm=["-Dreadonlymode.enabled=true"]) as servers:
        yield servers


async def left_alone(ensemble: Ensemble) -> Server:
    """The one server that is not killed, once it is in read-only mode."""

    def kill() -> Server:
        survivor, *others = ensemble.servers
        for server in others:
            server.kill()
        assert wait_until(lambda: survivor.mode() == "read-only", 60.0)
        return survivor

    return await trio.to_thread.run_sync(kill)


@pytest.mark.rule(17)
async def test_read_only_server_serves_reads_until_the_quorum_is_back(read_only: Ensemble, root: str) -> None:
    await trio.to_thread.run_sync(read_only.start)
    async with client(read_only.servers[0]) as zk:
        await zk.create(root, b"data")
    await left_alone(read_only)
    frames: list[Frame] = []
    with trio.fail_after(90):
        async with zkwire.connect(
            read_only.hosts, 10.0, connect_timeout=30.0, read_only=True, on_frame=frames.append
        ) as zk:
            assert zk.state is KeeperState.CONNECTED_READ_ONLY
            assert (await zk.get_data(root))[0] == b"data"
            with pytest.raises(NotReadOnlyError):
                await zk.set_data(root, b"")
            with pytest.raises(NotReadOnlyError):
                await zk.multi([zkwire.Check(root)])
            await trio.to_thread.run_sync(read_only.start)
            await reached(zk, CONNECTED)
            await zk.set_data(root, b"written")
            ids = [int.from_bytes(frame.payload[16:24], "big") for frame in connect_requests(frames)]
            assert set(ids) == {0}, "a read-only server's session id is never shown to another"


async def test_read_only_server_will_not_do_for_a_client_that_did_not_ask_for_one(read_only: Ensemble) -> None:
    alone = await left_alone(read_only)
    assert f"{alone.address}: the server closed the connection" in await no_server(alone.address, wait=3.0)


async def test_client_leaves_a_read_only_server_for_a_read_write_one_that_it_finds(
    read_only: Ensemble, distribution: Distribution
) -> None:
    """The two servers have nothing to do with each other: so only the search can have moved the client."""
    alone = await left_alone(read_only)
    other = Server(distribution)
    try:
        with trio.fail_after(90):
            hosts = f"{alone.address},{other.address}"
            async with zkwire.connect(hosts, 10.0, connect_timeout=30.0, read_only=True) as zk:
                assert zk.state is KeeperState.CONNECTED_READ_ONLY
                await trio.to_thread.run_sync(other.start)
                await reached(zk, CONNECTED)
                await zk.create("/here")
    finally:
        other.close()
