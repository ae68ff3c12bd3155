"""How a term ended, as its successor sees it, on real servers: it never begins while the one before may work."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from election import LeadershipLostError
from tests.support.behind import SENT
from tests.support.candidates import administrator, candidate, candidates, end_session, in_turn, watches
from tests.support.live import PATIENCE
from tests.support.real.servers import Server
from zkwire import OpCode
from zkwire.tap.tap import cut
from zkwire.traffic.conversation import SeenFrame


@pytest.mark.rule("P11")
async def test_successor_tells_a_resignation_an_expiry_and_a_deletion(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidates(zookeeper, root, 2) as (one, other):
        ends = []
        for end in ("", "resign", "close", "delete", "delete and resign", "resign"):
            one, other = other, one
            task = one.lead()
            await one.until("leading")
            term = await task.wait()
            ends.append(term.predecessor)
            next_ = other.lead()
            await other.until("waiting")
            if end == "close":
                await end_session(zookeeper, one.zk.session)
            elif end.startswith("delete"):
                await zk.delete(term.node)
            if end.startswith("delete and"):
                await term.resign()
            task.finish.set()
            with trio.fail_after(PATIENCE):
                await task.over.wait()
            after = (await next_.wait()).predecessor
            ends.append(after)
            await next_.end()
        assert ends == [
            *("none", "resigned"),
            *("resigned", "resigned"),
            *("resigned", "expired"),
            *("resigned", "deleted"),
            *("resigned", "deleted"),
            *("resigned", "resigned"),
        ]


@pytest.mark.rule("L11", "P11")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
async def test_successor_of_a_deleted_leader_waits_until_that_one_has_finished(
    zookeeper: Server, root: str, mode: str
) -> None:
    path = f"{root}/master"
    async with (
        administrator(zookeeper) as zk,
        candidates(zookeeper, path, 2, mode=mode) as (leader, who),
        trio.open_nursery() as nursery,
    ):
        told, finish, finished = trio.Event(), trio.Event(), trio.Event()

        async def work() -> None:
            with suppress(LeadershipLostError):
                async with leader.election.lead() as term:
                    node.append(term.node)
                    try:
                        await trio.sleep_forever()
                    finally:
                        told.set()
                        with trio.CancelScope(shield=True):
                            await finish.wait()
            finished.set()

        node: list[str] = []
        nursery.start_soon(work)
        await leader.until("leading")
        task = who.lead()
        await who.until("waiting")
        await zk.delete(node[0])
        await told.wait()
        await who.until("waiting")
        holder = f"{path}-holder" if mode == "sequential" else f"{root}-master-holder"
        assert await watches(zookeeper, who.zk.session_id) == [holder]
        assert not task.began.is_set()
        finish.set()
        assert (await task.wait()).predecessor == "deleted"
        await finished.wait()
        await task.end()


@pytest.mark.rule("P11", "L8")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
async def test_successor_of_a_deleted_leader_that_is_cut_off_waits_until_its_session_has_expired(
    zookeeper: Server, root: str, mode: str
) -> None:
    path = f"{root}/master"
    async with (
        administrator(zookeeper) as zk,
        candidate(zookeeper, path, mode=mode, timeout=2.0) as leader,
        candidate(zookeeper, path, mode=mode) as who,
    ):
        first, task = await in_turn((leader, who))
        term = await first.wait()
        leader.tap.partition()
        await zk.delete(term.node)
        await who.until("waiting")
        assert term.is_leader, "it knows nothing yet"
        holder = f"{path}-holder" if mode == "sequential" else f"{root}-master-holder"
        assert (await zk.get_data(holder))[1].ephemeral_owner == leader.zk.session_id
        won = await task.wait()
        assert won.predecessor == "deleted"
        assert first.finish.is_set() is False
        assert first.lost is not None or term.lost.is_set()
        assert not term.is_leader
        await task.end()


@pytest.mark.rule("R2")
async def test_resignation_whose_request_is_lost_leaves_no_holder_of_a_deleted_znode(
    zookeeper: Server, root: str
) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        task = who.lead()
        term = await task.wait()
        lost = cut(before=_resigning)
        who.fault = who.parting(lost)
        task.finish.set()
        await lost.wait()
        await zk.delete(term.node)
        await who.heal()
        await task.end()
        assert await zk.exists(f"{root}-holder") is None


def _resigning(seen: SeenFrame) -> bool:
    return seen.direction is SENT and seen.opcode is OpCode.MULTI and len(seen.record) == 3
