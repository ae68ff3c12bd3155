"""How long each host is tried: limits that count from the timeout that was granted."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide, silent
from tests.support.fake.scripts import Hosts, connect, freeze, granting, until
from zkwire import ConnectionLossError, KeeperState, NoServerError
from zkwire.client.transport import StreamTransport, Transport


@pytest.mark.rule(41)
async def test_each_host_is_tried_within_its_share_of_the_timeout(autojump_clock: MockClock) -> None:
    servers = MemoryServers(silent)
    with pytest.raises(NoServerError):
        async with connect(servers, "10.0.0.1,10.0.0.2,10.0.0.3", timeout=9.0):
            pass
    first_round = servers.dialled[:3]
    assert {address for _, address in first_round} == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert [later[0] - earlier[0] for earlier, later in pairwise(first_round)] == pytest.approx([3.0, 3.0])


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


async def hang_up(conversation: ServerSide) -> None:
    """Close the connection after a second."""
    await trio.sleep(1)


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
