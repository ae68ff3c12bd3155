"""One znode, whose creator leads, on real servers."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import zkwire
from election import CampaignTimeout, Election, ElectionError, Term
from tests.support.behind import held
from tests.support.candidates import administrator, alone, any_of, candidate, in_turn, watch_count, watches
from tests.support.live import EPHEMERAL, PATIENCE
from tests.support.real.servers import Server
from zkwire import EventType, OpCode
from zkwire.tap.tap import cut
from zkwire.traffic.faults import reply_to, request

#: The 10,000 of rule S5 take about five minutes on two cores: ZKWIRE_S5_ROUNDS=10000.
ROUNDS = int(os.environ.get("ZKWIRE_S5_ROUNDS", "200"))


def simple(server: Server, path: str, **options: Any) -> Any:
    return candidate(server, path, mode="simple", **options)


# --- standing by


@pytest.mark.rule("S1")
async def test_standby_watches_by_exists_and_leads_when_the_znode_goes(zookeeper: Server, root: str) -> None:
    async with simple(zookeeper, root) as leader, simple(zookeeper, root) as who:
        first = leader.lead()
        term = await first.wait()
        assert term.node == root
        second = who.lead()
        await who.until("waiting")
        assert await watches(zookeeper, who.zk.session_id) == [root]
        assert [each.opcode for each in who.all(request())][-1] is OpCode.EXISTS
        assert not second.began.is_set()
        await first.end()
        won = await second.wait()
        assert won.token > term.token
        assert await watches(zookeeper, who.zk.session_id) == []
        await second.end()


@pytest.mark.rule("S1", "C4")
@pytest.mark.parametrize("lost", [request(OpCode.MULTI), reply_to(OpCode.MULTI)], ids=["request", "reply"])
async def test_znode_of_the_own_session_is_leadership(zookeeper: Server, root: str, lost: Any) -> None:
    """What was created without an answer is told from somebody else's by its owner, and by the holder."""
    async with simple(zookeeper, root) as who, simple(zookeeper, root) as other:
        async with other.election.lead():
            pass
        who.fault = cut(before=lost)
        task = who.lead()
        await task.wait()
        rival = other.lead()
        await other.until("waiting")
        assert not rival.began.is_set()
        await task.end()
        await rival.wait()
        await rival.end()


@pytest.mark.rule("S2")
async def test_znode_that_goes_before_it_is_watched_is_tried_for_at_once(zookeeper: Server, root: str) -> None:
    await alone(zookeeper)
    async with simple(zookeeper, root) as leader, simple(zookeeper, root) as who:
        first = leader.lead()
        await first.wait()
        with held(who, request(OpCode.EXISTS, root)) as fault:
            second = who.lead()
            await fault.wait()
            await first.end()
        await second.wait()
        assert "waiting" not in who.states
        assert await watch_count(zookeeper) == 1, "its own, and not that of the exists"
        await second.end()


@pytest.mark.rule("S3", "R7")
async def test_failovers_go_on_at_one_cost_and_nothing_is_sent_between_them(zookeeper: Server, root: str) -> None:
    await alone(zookeeper)
    async with AsyncExitStack() as stack:
        everybody = [
            await stack.enter_async_context(simple(zookeeper, root, renewal="none"))  # else proofs come in between
            for _ in range(3)
        ]
        waiting = {who: who.lead() for who in everybody}
        costs: list[int] = []
        tokens: list[int] = []
        while len(tokens) < 40:
            task = await any_of(list(waiting.values()))
            for who in everybody:
                if who is not task.who:
                    await who.until("waiting")
            tokens.append((await task.wait()).token)
            counts = [len(who.requests()) for who in everybody]
            for who in everybody:  # after these, everything that was still to come is there
                await who.zk.sync(root)
            assert [len(who.requests()) for who in everybody] == [count + 1 for count in counts]
            costs.append(sum(counts))
            for who in everybody:
                who.frames.clear()
            await task.end()
            waiting[task.who] = task.who.lead()
        assert tokens == sorted(set(tokens))
        assert max(costs) <= costs[0], "the first makes parents besides"
    async with administrator(zookeeper) as zk:
        assert await zk.exists(root) is None
    assert await watch_count(zookeeper) == 0


@pytest.mark.rule("S4", "P4")
async def test_change_of_the_leaders_data_is_told_to_observers_and_makes_nobody_create(
    zookeeper: Server, root: str
) -> None:
    async with simple(zookeeper, root, data=b"old") as leader, simple(zookeeper, root) as who:
        first, _ = await in_turn((leader, who))
        term = await first.wait()
        observing = leader.election.observe()
        found = await observing.__anext__()
        assert found is not None
        assert found.data == b"old"
        since = len(who.frames)
        await term.proclaim(b"new")
        await who.until("waiting")
        found = await observing.__anext__()
        assert found is not None
        assert (found.data, found.token) == (b"new", term.token)
        assert who.requests(since) == [OpCode.EXISTS]
        assert [event.record.type for event in who.events(since)] == [EventType.NODE_DATA_CHANGED]
        await observing.aclose()


async def test_znode_that_no_leader_made_is_an_error(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, simple(zookeeper, root) as who:
        await zk.create(root)
        with pytest.raises(ElectionError, match="not ephemeral"):
            await who.election.campaign()
        await zk.delete(root)
        await zk.create(f"{root}-holder")
        with pytest.raises(ElectionError, match="not ephemeral"):
            await who.election.campaign()
        assert await zk.exists(root) is None


# --- what others do to the path


@pytest.mark.rule("R1", "P11")
@pytest.mark.parametrize("told", [True, False], ids=["that was told of it", "that was not"])
async def test_znode_of_another_program_survives_the_resignation_of_a_deleted_leader(
    zookeeper: Server, root: str, told: bool
) -> None:
    async with administrator(zookeeper) as zk, simple(zookeeper, root) as who, trio.open_nursery() as nursery:
        term = await who.election.campaign()
        if not told:
            who.tap.partition()
        await zk.multi([zkwire.Delete(root), zkwire.Create(root, b"theirs", EPHEMERAL)])
        if told:
            with trio.fail_after(PATIENCE):
                assert "deleted" in await term.lost
        nursery.start_soon(term.resign)
        await wait_all_tasks_blocked()
        await who.heal()
        await who.until("resigned")
        assert (await zk.get_data(root))[0] == b"theirs"
        assert await zk.exists(f"{root}-holder") is None
        waiting = who.lead()
        await who.until("waiting")
        assert await watches(zookeeper, who.zk.session_id) == [root]
        await zk.delete(root)
        assert (await waiting.wait()).predecessor == "deleted"
        await waiting.end()


@pytest.mark.rule("R2", "R7")
async def test_leader_whose_holder_alone_is_deleted_leaves_nothing_in_the_way(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, simple(zookeeper, root) as who:
        term = await who.election.campaign()
        await zk.delete(f"{root}-holder")
        with trio.fail_after(PATIENCE):
            assert f"{root}-holder was deleted" in await term.lost
        await term.resign()
        assert await zk.exists(root) is None
        await (await Election(zk, root, mode="simple").campaign(timeout=0)).resign()


# --- at once


@pytest.mark.rule("S5")
async def test_exactly_one_wins_of_those_that_start_at_once(zookeeper: Server, root: str) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(60 + ROUNDS / 20))
        clients = [await stack.enter_async_context(zkwire.connect(zookeeper.address)) for _ in range(5)]
        elections = [Election(zk, f"{root}/master", mode="simple") for zk in clients]
        token = 0
        for number in range(ROUNDS):
            terms: dict[int, Term] = {}

            async def start(index: int, terms: dict[int, Term] = terms) -> None:
                with suppress(CampaignTimeout):
                    terms[index] = await elections[index].campaign(timeout=0)

            async with trio.open_nursery() as nursery:
                for index in range(5):
                    nursery.start_soon(start, index)
            (term,) = terms.values()
            assert term.is_leader
            assert term.token > token, number
            token = term.token
            await term.resign()


@pytest.mark.rule("S6")
async def test_rush_on_a_free_path_is_spread_where_asked_for(
    zookeeper: Server, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays = [3600.0, 0.0, *[3600.0] * 10]
    asked = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return delays.pop(0)

    monkeypatch.setattr("random.uniform", uniform)
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(simple(zookeeper, root))
        standbys = [await stack.enter_async_context(simple(zookeeper, root, jitter=7.0)) for _ in range(12)]
        first = leader.lead()
        await first.wait()
        tasks = []
        for who in standbys:
            tasks.append(who.lead())
            await who.until("waiting")
            who.frames.clear()
        await first.end()
        task = await any_of(tasks)
        for who in standbys:
            await who.zk.sync(root)
        assert asked == [(0, 7.0)] * 12
        assert [len(who.all(request(OpCode.MULTI))) for who in standbys] == [who is task.who for who in standbys]


@pytest.mark.rule("S6")
async def test_nobody_waits_where_no_jitter_was_asked_for(
    zookeeper: Server, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 3600.0)
    async with simple(zookeeper, root) as leader, simple(zookeeper, root) as who:
        first, second = await in_turn((leader, who))
        await first.end()
        await second.wait()
        await second.end()
