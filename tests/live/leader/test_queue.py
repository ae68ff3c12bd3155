"""Waiting in the queue, on real servers: for one other, at no cost, in order, over whatever happens to the znodes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import trio

from election import MixedDialect
from tests.support.behind import held
from tests.support.candidates import (
    GUID,
    administrator,
    alone,
    any_of,
    below,
    candidate,
    candidates,
    children,
    end_session,
    guid_of,
    in_turn,
    watch_count,
    watches,
)
from tests.support.live import CONNECTED, EPHEMERAL, PATIENCE, reached
from tests.support.real.servers import Server
from zkwire import CreateMode, Delete, ErrorCode, OpCode
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import CreateRequest, RequestHeader
from zkwire.tap.tap import When
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import PASS, Action, Replace, reply_to, request

# --- one watch, on the one before


@pytest.mark.rule("W1", "W2", "W8", "R7")
async def test_waiter_watches_the_one_before_it_and_nothing_else(zookeeper: Server, root: str) -> None:
    await alone(zookeeper)
    async with administrator(zookeeper) as zk, candidates(zookeeper, root, 4) as everybody:
        tasks = await in_turn(everybody)
        while tasks:
            names = [f"{root}/{name}" for name in await children(zk, root)]
            term = await tasks[0].wait()
            assert term.node == names[0], "the order is that of the numbers"
            assert [task.began.is_set() for task in tasks] == [True] + [False] * (len(tasks) - 1)
            watched = [await watches(zookeeper, who.zk.session_id) for who in everybody]
            assert watched == [[]] * (5 - len(tasks)) + [[name] for name in names[:-1]]
            assert await watch_count(zookeeper) == len(tasks), "the leader watches its own"
            await tasks.pop(0).end()
        assert await watch_count(zookeeper) == 0
        assert await children(zk, root) == []
        assert await zk.exists(f"{root}-holder") is None


@pytest.mark.rule("W2", "W3")
async def test_waiter_lists_again_when_the_one_before_goes_before_it_is_watched(zookeeper: Server, root: str) -> None:
    async with candidates(zookeeper, root, 2) as (leader, who):
        first = leader.lead()
        node = (await first.wait()).node
        with held(who, request(OpCode.GET_DATA, node)) as fault:
            second = who.lead()
            await fault.wait()
            await first.end()
        term = await second.wait()
        (reply,) = who.all(reply_to(OpCode.GET_DATA, node))
        assert reply.err is ErrorCode.NO_NODE
        assert "waiting" not in who.states
        assert term.is_leader
        assert await watches(zookeeper, who.zk.session_id) == [], "none for what is not there"
        await second.end()


@pytest.mark.rule("W4", "R8")
async def test_waiter_whose_predecessor_leaves_waits_for_the_one_before_it(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidates(zookeeper, root, 4) as everybody:
        tasks = await in_turn(everybody)
        names = await children(zk, root)
        second, last = everybody[1], everybody[3]
        tasks[2].cancel()
        await last.until("waiting")
        assert await watches(zookeeper, last.zk.session_id) == [f"{root}/{names[1]}"]
        assert [len(who.events()) for who in (second, last)] == [0, 1]
        assert await children(zk, root) == [names[0], names[1], names[3]]
        await tasks[0].end()
        await tasks[1].wait()
        assert (len(second.events()), len(last.events())) == (1, 1)
        assert not tasks[3].began.is_set()
        await tasks[1].end()
        await tasks[3].wait()
        await tasks[3].end()


@pytest.mark.rule("W5")
async def test_change_of_the_predecessors_data_makes_no_leader(zookeeper: Server, root: str) -> None:
    async with candidates(zookeeper, root, 2) as (leader, who):
        first, second = await in_turn((leader, who))
        term = await first.wait()
        for number in range(3):
            await term.proclaim(b"%d" % number)
            await who.until("waiting")
            assert await watches(zookeeper, who.zk.session_id) == [term.node]
        assert not who.all(request(OpCode.MULTI))
        await first.end()
        await second.wait()
        await second.end()


# --- what waiting costs


async def _release(server: Server, path: str, waiters: int) -> tuple[int, int, int]:
    """Events and requests of all when the leader releases, and how many bytes of them are the list."""
    # With a lease proofs would come in between.
    async with candidates(server, path, waiters + 1, renewal="none") as everybody:
        tasks = await in_turn(everybody)
        before = [len(who.frames) for who in everybody]
        await tasks[0].end()
        await tasks[1].wait()
        async with administrator(server) as zk:  # by then every candidate that was woken has been heard
            for who in everybody:
                await who.zk.sync(path)
            await zk.sync(path)
        # Not counted: the old leader hears of its own znode, where that saves it a request.
        events = sum(len(who.events(since)) for who, since in zip(everybody[1:], before[1:]))
        requests = sum(len(who.requests(since)) - 1 for who, since in zip(everybody, before))
        lists = sum(len(who.all(request(OpCode.GET_CHILDREN), since)) for who, since in zip(everybody, before))
        return events, requests, lists


@pytest.mark.rule("W7")
async def test_release_wakes_one_waiter_and_costs_the_same_for_any_number(zookeeper: Server, root: str) -> None:
    few = await _release(zookeeper, f"{root}-few", 4)
    many = await _release(zookeeper, f"{root}-many", 50)
    assert few == many
    events, requests, lists = many
    assert (events, lists) == (1, 1)
    assert requests <= 6


@pytest.mark.rule("W16")
async def test_waiting_sends_pings_and_nothing_else(zookeeper: Server, root: str) -> None:
    async with (
        candidate(zookeeper, root) as leader,
        candidate(zookeeper, root, timeout=1.0) as who,
        leader.election.lead(),
    ):
        who.lead()
        await who.until("waiting")
        since = len(who.frames)
        who.fault = pings = When(reply_to(OpCode.PING), PASS, times=None)
        await pings.wait(4)
        assert {each.opcode for each in who.frames[since:]} == {OpCode.PING}


# --- connections and sessions


@pytest.mark.rule("W6", "W14")
async def test_place_is_kept_over_lost_connections(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidates(zookeeper, root, 3) as (leader, who, last):
        tasks = await in_turn((leader, who, last))
        names = await children(zk, root)
        for _ in range(3):
            since = len(who.frames)
            await who.part()
            await who.heal()
            await reached(who.zk, CONNECTED)
            await who.zk.sync(root)
            assert who.requests(since) == [OpCode.SET_WATCHES, OpCode.SYNC]
            assert await watches(zookeeper, who.zk.session_id) == [f"{root}/{names[0]}"]
        assert await children(zk, root) == names
        assert last.events() == []
        await tasks[0].end()
        assert (await tasks[1].wait()).node == f"{root}/{names[1]}"
        await tasks[1].end()
        await tasks[2].wait()
        await tasks[2].end()


# --- the own znode, and the path


@pytest.mark.rule("W9", "C3", "C10")
async def test_waiter_whose_znode_is_deleted_enters_again_after_all_others(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidates(zookeeper, root, 3) as (leader, who, other):
        tasks = await in_turn((leader, who, other))
        names = await children(zk, root)
        await zk.delete(f"{root}/{names[1]}")
        await other.until("waiting")
        await tasks[0].end()
        assert (await tasks[2].wait()).node == f"{root}/{names[2]}"
        await who.until("waiting")
        _, again = await children(zk, root)
        assert guid_of(again) != guid_of(names[1])
        await tasks[2].end()
        assert (await tasks[1].wait()).node == f"{root}/{again}"
        await tasks[1].end()


@pytest.mark.rule("W11")
async def test_first_in_the_list_whose_znode_goes_before_the_commit_does_not_lead_with_it(
    zookeeper: Server, root: str
) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        async with who.election.lead():
            pass
        with held(who, request(OpCode.MULTI)) as fault:
            task = who.lead()
            await fault.wait()
            (name,) = await children(zk, root)
            assert not task.began.is_set()
            await zk.delete(f"{root}/{name}")
        term = await task.wait()
        assert guid_of(term.node) != guid_of(name)
        assert next(item.body.path for item in fault.hits[0].record) == f"{root}/{name}", "its check comes first"
        refused, won = [reply.record for reply in who.all(reply_to(OpCode.MULTI))][-2:]
        assert refused[0].body.err == ErrorCode.NO_NODE
        assert not won[0].header.err
        await task.end()


@pytest.mark.rule("W11", "W10")
async def test_first_in_the_list_whose_session_ends_before_the_commit_does_not_lead_in_it(
    zookeeper: Server, root: str
) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        async with who.election.lead():
            pass
        with held(who, request(OpCode.MULTI)) as fault:
            task = who.lead()
            await fault.wait()
            old = who.zk.session_id
            await end_session(zookeeper, who.zk.session)
            assert not task.began.is_set()
        term = await task.wait()
        stat = await zk.exists(term.node)
        assert stat is not None
        assert stat.ephemeral_owner == who.zk.session_id != old
        await task.end()


@pytest.mark.rule("W17", "W9", "P7")
async def test_path_deleted_under_a_leader_and_its_waiters_is_made_again_and_nobody_is_stranded(
    zookeeper: Server, root: str
) -> None:
    async with administrator(zookeeper) as zk, candidates(zookeeper, root, 3) as (leader, one, other):
        tasks = await in_turn((leader, one, other))
        old = await tasks[0].wait()
        await zk.multi([*(Delete(f"{root}/{name}") for name in await children(zk, root)), Delete(root)])
        await tasks[0].over.wait()
        assert tasks[0].lost is not None
        tokens = [old.token]
        for _ in range(2):
            now = await any_of(tasks[1:])
            term = await now.wait()
            tokens.append(term.token)
            assert term.predecessor == ("deleted" if len(tokens) == 2 else "resigned")
            await now.end()
            tasks.remove(now)
        assert tokens == sorted(set(tokens))
        assert await children(zk, root) == []


# --- other names


@pytest.mark.rule("W12", "W8")
async def test_order_holds_when_the_counter_wraps(zookeeper: Server, root: str) -> None:
    """The server is made to name contenders as it would after 2**31 creates: by creates with whole names."""
    numbers = [2147483646, 2147483647, -2147483648, -2147483647]
    async with AsyncExitStack() as stack:
        zk = await stack.enter_async_context(administrator(zookeeper))
        await zk.create(root)
        tasks = []
        for number in numbers:
            who = await stack.enter_async_context(candidate(zookeeper, root))
            who.fault = When(below(root, OpCode.CREATE), _named(number))
            tasks.append(who.lead())
            await who.until("waiting" if len(tasks) > 1 else "leading")
        for task, number in zip(tasks, numbers):
            assert (await task.wait()).node.endswith(f"-lock-{number}")
            assert sum(each.began.is_set() for each in tasks) == tasks.index(task) + 1
            await task.end()


def _named(number: int) -> Callable[[SeenFrame], Action]:
    def action(seen: SeenFrame) -> Action:
        asked = seen.record
        assert isinstance(asked, CreateRequest)
        assert isinstance(seen.header, RequestHeader)
        return Replace(
            frame(encode(seen.header) + encode(asked.replace(path=f"{asked.path}{number:010d}", flags=EPHEMERAL)))
        )

    return action


@pytest.mark.rule("W13")
async def test_children_without_a_number_are_no_contenders(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        for name in ("", "config", "-lock-", "a-lock-000", "0000000000x", f"_c_{GUID}-lock-"):
            await zk.create(f"{root}/{name or 'x'}")
        async with who.election.lead(timeout=5) as term:
            assert term.is_leader


@pytest.mark.rule("W13")
async def test_path_of_another_dialect_is_refused_before_anything_is_created(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        foreign = await zk.create(f"{root}/{'0' * 32}__lock__", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        with pytest.raises(MixedDialect, match="kazoo"):
            await who.election.campaign()
        assert [f"{root}/{name}" for name in await children(zk, root)] == [foreign]
        assert not who.all(request(OpCode.CREATE))
        assert await zk.exists(f"{root}-holder") is None


@pytest.mark.rule("W13")
async def test_contender_of_another_dialect_is_waited_for_where_a_warning_will_do(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root, mixed="warn") as who:
        await zk.create(root)
        foreign = await zk.create(f"{root}/{'0' * 32}__lock__", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        task = who.lead()
        with pytest.warns(RuntimeWarning, match="kazoo"):
            await who.until("waiting")
        assert await watches(zookeeper, who.zk.session_id) == [foreign]
        await zk.delete(foreign)
        await task.wait()
        await task.end()


@pytest.mark.rule("W13")
async def test_waiter_leaves_when_another_dialect_comes(zookeeper: Server, root: str) -> None:
    async with (
        administrator(zookeeper) as zk,
        candidates(zookeeper, root, 2) as (leader, who),
        leader.election.lead() as term,
        trio.open_nursery() as nursery,
    ):

        async def refused() -> None:
            with pytest.raises(MixedDialect):
                await who.election.campaign()

        nursery.start_soon(refused)
        await who.until("waiting")
        await zk.create(f"{root}/{'0' * 32}__lock__", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        await term.proclaim(b"wakes it")
        with trio.fail_after(PATIENCE):
            await who.until("idle")
        assert len(await children(zk, root)) == 2
