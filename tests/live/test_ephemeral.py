"""What recipes do with znodes that a session owns, over whatever servers and connections do meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

import zkwire
from election import CampaignTimeout
from election.ephemeral import delete_own
from tests.support.campaigns import EPHEMERAL, administrator, contender, leading
from tests.support.processes import wait_until
from tests.support.real.servers import Distribution, Ensemble, Server
from zkwire import KeeperState, OpCode
from zkwire.tap.tap import When, cut
from zkwire.traffic.faults import PASS, Delay, Match, reply_to, request

# --- deleting what is ours


async def test_znode_is_deleted_when_the_session_owns_it_and_it_is_the_one_meant(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, administrator(zookeeper) as other:
        seen: list[bytes] = []

        def meant(data: bytes, stat: zkwire.Stat) -> bool:
            seen.append(data)
            return data == b"ours"

        await zk.create(root, b"ours", mode=EPHEMERAL)
        await delete_own(other.bound(), root, meant)
        assert seen == []
        assert await zk.exists(root) is not None
        await zk.set_data(root, b"theirs")
        await delete_own(zk.bound(), root, meant)
        assert seen == [b"theirs"]
        assert await zk.exists(root) is not None
        await zk.set_data(root, None)
        await delete_own(zk.bound(), root, lambda data, stat: data == b"")
        assert await zk.exists(root) is None
        await delete_own(zk.bound(), root, meant)
        assert seen == [b"theirs"]


async def test_znode_that_was_written_meanwhile_is_looked_at_again(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, contender(zookeeper, root) as who:
        for last, kept in ((b"ours", False), (b"theirs", True)):
            await who.zk.create(root, b"ours", mode=EPHEMERAL)
            released = trio.Event()
            who.fault = When(request(OpCode.DELETE), Delay(until=released))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(delete_own, who.zk.bound(), root, lambda data, stat: data == b"ours")
                await who.fault.wait()
                await zk.set_data(root, last)
                released.set()
            assert (await zk.exists(root) is not None) is kept


@pytest.mark.rule("C9", "R2")
@pytest.mark.parametrize("match", [request, reply_to], ids=["request", "reply"])
@pytest.mark.parametrize("opcode", [OpCode.SYNC, OpCode.GET_DATA, OpCode.DELETE], ids=lambda opcode: opcode.name)
async def test_deletion_goes_on_over_a_lost_connection(
    zookeeper: Server, root: str, match: Any, opcode: OpCode
) -> None:
    async with administrator(zookeeper) as zk, contender(zookeeper, root) as who:
        await who.zk.create(root, mode=EPHEMERAL)
        lost: Match = match(opcode)
        who.fault = cut(before=lost)
        await delete_own(who.zk.bound(), root, lambda data, stat: True)
        assert len(who.fault.hits) == 1
        assert await zk.exists(root) is None


# --- servers in read-only mode


@pytest.fixture(scope="module")
def pair(distribution: Distribution) -> Iterator[Ensemble]:
    """Two servers, of which one that is left alone serves reads."""
    config = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}
    with Ensemble(distribution, 2, config=config, jvm=["-Dreadonlymode.enabled=true"]) as servers:
        yield servers


async def alone(servers: Ensemble) -> Server:
    def kill() -> Server:
        survivor, other = servers.servers
        other.kill()
        assert wait_until(lambda: survivor.mode() == "read-only", 60.0)
        return survivor

    return await trio.to_thread.run_sync(kill)


@pytest.mark.rule("C13", "W15")
async def test_nobody_enters_on_a_read_only_server(pair: Ensemble, root: str) -> None:
    survivor = await alone(pair)
    options: dict[str, Any] = {"timeout": 4.0, "client": {"read_only": True}}
    async with (
        contender(survivor, f"{root}-queue", **options) as one,
        contender(survivor, f"{root}-znode", mode="simple", **options) as other,
        trio.open_nursery() as nursery,
    ):
        for who in (one, other):
            assert who.zk.state is KeeperState.CONNECTED_READ_ONLY
            with pytest.raises(CampaignTimeout):
                await who.election.campaign(timeout=0.2)
        tasks = [leading(nursery, who) for who in (one, other)]
        for who in (one, other):
            await who.until("entering")
            who.fault = pings = When(reply_to(OpCode.PING), PASS, times=None)
            await pings.wait(1)
            writes = [each for each in who.frames if each.opcode in (OpCode.CREATE, OpCode.MULTI)]
            assert writes == [], "they would be refused, but nobody could tell if their answers were lost"
        assert not any(task.began.is_set() for task in tasks)
        await trio.to_thread.run_sync(pair.start)
        for task in tasks:
            term = await task.wait()
            assert task.who.zk.state is KeeperState.SYNC_CONNECTED
            assert await task.who.zk.exists(term.node) is not None
            await task.end()
