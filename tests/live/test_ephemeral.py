"""What recipes do with znodes that a session owns, over whatever servers and connections do meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

import zkwire
from election import CampaignTimeout
from election.ephemeral import OwnedEphemeral, delete_own, is_held
from tests.support.behind import held
from tests.support.candidates import GUID, administrator, candidate
from tests.support.live import EPHEMERAL
from tests.support.processes import wait_until
from tests.support.real.servers import Distribution, Ensemble, Server
from zkwire import (
    OPEN_ACL_UNSAFE,
    Client,
    CreateMode,
    KeeperState,
    LocalProtocolError,
    NodeExistsError,
    NoNodeError,
    OpCode,
    SessionExpiredError,
)
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
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        for last, kept in ((b"ours", False), (b"theirs", True)):
            await who.zk.create(root, b"ours", mode=EPHEMERAL)
            async with trio.open_nursery() as nursery:
                with held(who, request(OpCode.DELETE)) as fault:
                    nursery.start_soon(delete_own, who.zk.bound(), root, lambda data, stat: data == b"ours")
                    await fault.wait()
                    await zk.set_data(root, last)
            assert (await zk.exists(root) is not None) is kept


@pytest.mark.rule("C9", "R2")
@pytest.mark.parametrize("match", [request, reply_to], ids=["request", "reply"])
@pytest.mark.parametrize("opcode", [OpCode.SYNC, OpCode.GET_DATA, OpCode.DELETE], ids=lambda opcode: opcode.name)
async def test_deletion_goes_on_over_a_lost_connection(
    zookeeper: Server, root: str, match: Any, opcode: OpCode
) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await who.zk.create(root, mode=EPHEMERAL)
        lost: Match = match(opcode)
        who.fault = cut(before=lost)
        await delete_own(who.zk.bound(), root, lambda data, stat: True)
        assert len(who.fault.hits) == 1
        assert await zk.exists(root) is None


# --- an ephemeral of our own


SEQUENTIAL = CreateMode.EPHEMERAL_SEQUENTIAL


def owned(zk: Client, path: str, mode: CreateMode = EPHEMERAL, *, has_guid: bool = False) -> OwnedEphemeral:
    return OwnedEphemeral(zk, zk.bound(), path, mode=mode, acl=OPEN_ACL_UNSAFE, has_guid=has_guid)


async def created(znode: OwnedEphemeral, data: bytes = b"data") -> str:
    """Call `create` until the znode is there; its path."""
    while not await znode.create(data):
        pass
    assert znode.node is not None
    return znode.node


KINDS = [(EPHEMERAL, False), (SEQUENTIAL, False), (SEQUENTIAL, True)]
kinds = pytest.mark.parametrize(("mode", "has_guid"), KINDS, ids=["name", "data", "guid"])


@kinds
@pytest.mark.rule("C4", "C5", "C6", "C9")
@pytest.mark.parametrize("lost", ["request", "reply"])
async def test_znode_is_created_once_and_deleted_although_its_connection_was_lost(
    zookeeper: Server, root: str, mode: CreateMode, has_guid: bool, lost: str
) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        znode = owned(who.zk, f"{root}/{GUID}-", mode, has_guid=has_guid)
        assert not znode.may_exist
        who.fault = cut(before=(request if lost == "request" else reply_to)(OpCode.CREATE))
        assert await znode.create(b"data") is (lost == "reply"), "the outcome is known"
        assert len(who.fault.hits) == 1
        assert znode.may_exist is (lost == "reply")
        node = await created(znode) if lost == "request" else znode.node
        assert [f"{root}/{name}" for name in await zk.get_children(root)] == [node]
        assert is_held(who.zk, str(node))
        await znode.find()
        assert znode.node == node
        creates = who.requests().count(OpCode.CREATE)
        assert creates == (2 if lost == "request" else 1)
        sent = who.requests()
        search = OpCode.GET_CHILDREN if mode.is_sequential else OpCode.GET_DATA
        assert sent.index(OpCode.SYNC) < sent.index(search, sent.index(OpCode.CREATE))
        await znode.delete()
        assert await zk.get_children(root) == []
        assert (znode.node, znode.may_exist, is_held(who.zk, str(node))) == (None, False, False)


@kinds
@pytest.mark.rule("C9")
async def test_znode_whose_creation_was_cancelled_is_deleted(
    zookeeper: Server, root: str, mode: CreateMode, has_guid: bool
) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        znode = owned(who.zk, f"{root}/{GUID}-", mode, has_guid=has_guid)
        who.fault = When(request(OpCode.CREATE), Delay(0.1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(znode.create, b"data")
            await who.fault.wait()
            nursery.cancel_scope.cancel()
        assert znode.may_exist
        await znode.delete()
        await zk.sync()
        assert who.requests().count(OpCode.DELETE) == 1
        assert await zk.get_children(root) == []


@pytest.mark.rule("C6")
async def test_only_one_znode_with_our_guid_is_left_and_it_is_of_our_session(zookeeper: Server, root: str) -> None:
    path = f"{root}/_c_{GUID}-lock-"
    async with administrator(zookeeper) as zk, administrator(zookeeper) as other:
        await zk.create(root)
        znode = owned(zk, path, SEQUENTIAL, has_guid=True)
        await other.create(path, mode=SEQUENTIAL)
        first = await zk.create(path, mode=SEQUENTIAL)
        await zk.create(path, mode=SEQUENTIAL)
        await znode.find()
        await zk.sync()
        assert [f"{root}/{name}" for name in await zk.get_children(root)] == [znode.node] == [first]
        await zk.create(path, mode=SEQUENTIAL)
        await znode.delete()
        assert await zk.get_children(root) == []


@pytest.mark.rule("C6")
async def test_without_a_guid_znodes_of_others_are_neither_taken_nor_deleted(zookeeper: Server, root: str) -> None:
    """Neither those of another session, nor those with other data, nor what another OwnedEphemeral has."""
    path = f"{root}/member_"
    async with administrator(zookeeper) as other, candidate(zookeeper, root) as who:
        await other.create(root)
        await other.create(path, b"data", mode=SEQUENTIAL)
        await who.zk.create(path, b"not data", mode=SEQUENTIAL)
        twin = owned(who.zk, path, SEQUENTIAL)
        await created(twin)
        znode = owned(who.zk, path, SEQUENTIAL)
        who.fault = cut(before=request(OpCode.CREATE))
        assert not await znode.create(b"data")
        assert znode.node is None
        await znode.delete()
        assert len(await other.get_children(root)) == 3


async def test_nothing_is_there_after_a_create_that_was_refused(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk:
        missing, taken, too_large = owned(zk, f"{root}/a"), owned(zk, root), owned(zk, f"{root}-large")
        with pytest.raises(NoNodeError):
            await missing.create(b"")
        await zk.create(root, mode=EPHEMERAL)
        with pytest.raises(NodeExistsError):
            await taken.create(b"")
        with pytest.raises(LocalProtocolError):
            await too_large.create(bytes(2**20))
        for znode in (missing, taken, too_large):
            assert not znode.may_exist
            await znode.delete()
        assert await zk.exists(root) is not None


@pytest.mark.rule("C7")
async def test_session_that_is_over_has_no_znode_of_ours(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as other, candidate(zookeeper, root) as who:
        znode = owned(who.zk, root)
        await created(znode)
        await who.part()
        async with zkwire.connect(zookeeper.address, session=who.zk.session):
            pass  # closes it
        await who.heal()
        with pytest.raises(SessionExpiredError):
            await znode.find()
        with pytest.raises(SessionExpiredError):
            await znode.delete()
        assert not is_held(who.zk, root)
        assert await other.exists(root) is None


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
        candidate(survivor, f"{root}-queue", **options) as one,
        candidate(survivor, f"{root}-znode", mode="simple", **options) as other,
    ):
        for who in (one, other):
            assert who.zk.state is KeeperState.CONNECTED_READ_ONLY
            with pytest.raises(CampaignTimeout):
                await who.election.campaign(timeout=0.2)
        tasks = [who.lead() for who in (one, other)]
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
