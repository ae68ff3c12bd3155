"""Entering an election on real servers: one znode for each campaign, whatever is lost on the way, and none after it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

import zkwire
from election import CampaignTimeout, Election, ElectionError
from election.leader.dialects import DIALECTS
from tests.support.behind import RECEIVED, held
from tests.support.candidates import (
    GUID,
    administrator,
    alone,
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
from tests.support.live import CONNECTED, EPHEMERAL, EXPIRED, PATIENCE, reached
from tests.support.real.servers import Server
from zkwire import (
    ACL,
    READ_ACL_UNSAFE,
    AuthFailedError,
    CreateMode,
    Delete,
    ErrorCode,
    InvalidACLError,
    KeeperState,
    NoAuthError,
    NoNodeError,
    NotEmptyError,
    OpCode,
    Perms,
    SessionExpiredError,
)
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import ConnectResponse, ReplyHeader
from zkwire.tap.tap import When, cut
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import PASS, Action, Delay, Fault, Replace, frame_number, reply_to, request

SEQUENTIAL = CreateMode.EPHEMERAL_SEQUENTIAL
Mode = Literal["sequential", "simple"]
MODES: list[Mode] = ["sequential", "simple"]

# --- the way to the path


@pytest.mark.rule("C1")
@pytest.mark.parametrize("mode", MODES)
async def test_parents_that_somebody_else_is_making_are_made(zookeeper: Server, root: str, mode: Mode) -> None:
    path = f"{root}/a/b/master"
    async with administrator(zookeeper) as zk, candidates(zookeeper, path, 2, mode=mode) as (slow, quick):
        with held(slow, request(OpCode.CREATE, root)) as fault:
            second = slow.lead()
            await fault.wait()
            first = quick.lead()
            await first.wait()
        await slow.until("waiting")
        exists = [each for each in slow.all(reply_to(OpCode.CREATE, root)) if each.err is ErrorCode.NODE_EXISTS]
        assert len(exists) == 1, "the parent was there before"
        for parent in (root, f"{root}/a", f"{root}/a/b"):
            stat = await zk.exists(parent)
            assert stat is not None
            assert stat.ephemeral_owner == 0
        await first.end()
        await second.wait()
        await second.end()


@pytest.mark.rule("C2")
async def test_path_that_vanishes_before_the_create_is_made_again(zookeeper: Server, root: str) -> None:
    """As a container does, which the server removes a while after its last child."""
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root, mode=CreateMode.CONTAINER)
        with held(who, below(root, OpCode.CREATE)) as fault:
            task = who.lead()
            await fault.wait()
            await zk.delete(root)
        term = await task.wait()
        assert [f"{root}/{name}" for name in await children(zk, root)] == [term.node]
        assert [each.err for each in who.all(below(root, OpCode.CREATE, direction=RECEIVED))] == [ErrorCode.NO_NODE, 0]
        await task.end()


@pytest.mark.rule("C3")
async def test_every_campaign_has_a_guid_of_its_own(zookeeper: Server, root: str) -> None:
    async with candidate(zookeeper, root) as who:
        guids = []
        for _ in range(3):
            async with who.election.lead() as term:
                guids.append(guid_of(term.node))
        assert len(set(guids)) == 3


@pytest.mark.rule("C11")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xfe not text", b"x" * 300_000], ids=["none", "0", "raw", "long"])
async def test_data_of_a_contender_is_what_it_was_given(zookeeper: Server, root: str, mode: Mode, data: bytes) -> None:
    async with candidate(zookeeper, root, data=data, mode=mode) as who, who.election.lead() as term:
        assert (await who.zk.get_data(term.node))[0] == data


# --- replies and requests that are lost


LOSSES: dict[str, Callable[[str], When]] = {
    "request": lambda root: cut(before=below(root, OpCode.CREATE)),
    "half of the request": lambda root: cut(inside=below(root, OpCode.CREATE), at=20),
    "reply": lambda root: cut(before=below(root, OpCode.CREATE, direction=RECEIVED)),
    "half of the reply": lambda root: cut(inside=below(root, OpCode.CREATE, direction=RECEIVED), at=20),
}


@pytest.mark.rule(32, "C4", "C5", "C10")
@pytest.mark.parametrize("lost", LOSSES)
async def test_create_whose_end_is_not_known_is_looked_for_before_another(
    zookeeper: Server, root: str, lost: str
) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        who.fault = fault = LOSSES[lost](root)
        task = who.lead()
        term = await task.wait()
        assert len(fault.hits) == 1
        names = await children(zk, root)
        assert [f"{root}/{name}" for name in names] == [term.node]
        again = len(who.all(below(root, OpCode.CREATE))) - 1
        assert again == (1 if "request" in lost else 0)
        behind = [each.opcode for each in who.frames if each.connection == 1 and each.header and not each.request]
        assert behind[:2] == [OpCode.SYNC, OpCode.GET_CHILDREN], "a server that lags must catch up before it is asked"
        await task.end()
        assert await children(zk, root) == []


@pytest.mark.rule("C4", "W11")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("match", [request(OpCode.MULTI), reply_to(OpCode.MULTI)], ids=["request", "reply"])
async def test_term_begins_once_when_the_end_of_its_transaction_is_not_known(
    zookeeper: Server, root: str, mode: Mode, match: Callable[[SeenFrame], bool]
) -> None:
    await alone(zookeeper)
    path = f"{root}/master"
    async with administrator(zookeeper) as zk, candidates(zookeeper, path, 2, mode=mode) as (who, other):
        async with other.election.lead():
            pass  # makes what is missing
        who.fault = cut(before=match)
        task = who.lead()
        term = await task.wait()
        assert term.predecessor == "resigned"
        holder = f"{path}-holder" if mode == "sequential" else f"{root}-master-holder"
        stat = await zk.exists(holder)
        assert stat is not None
        assert stat.ephemeral_owner == who.zk.session_id
        assert (await zk.exists(term.node)) is not None
        await task.end()
        assert await zk.exists(holder) is None
        assert await zk.exists(term.node) is None
        assert await watch_count(zookeeper) == 0


@pytest.mark.rule("C6")
async def test_znode_with_our_guid_of_another_session_is_deleted_and_not_adopted(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        released = trio.Event()
        lost = cut(before=below(root, OpCode.CREATE))
        held = When(request(OpCode.SYNC), Delay(until=released))
        who.fault = _both(lost, held)
        task = who.lead()
        await held.wait()
        prefix = lost.hits[0].path
        assert prefix is not None
        planted = await zk.create(prefix, mode=SEQUENTIAL)
        released.set()
        term = await task.wait()
        assert term.node != planted
        assert term.node.startswith(prefix)
        assert [f"{root}/{name}" for name in await children(zk, root)] == [term.node]
        await task.end()


@pytest.mark.rule("C7", "C3")
async def test_nothing_of_the_old_session_is_adopted_when_it_ended_between_two_tries(
    zookeeper: Server, root: str
) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        lost = cut(before=below(root, OpCode.CREATE, direction=RECEIVED))
        who.fault = who.parting(lost)
        old = who.zk.session_id
        task = who.lead()
        await lost.wait()
        await end_session(zookeeper, who.zk.session)
        (asked,) = who.all(below(root, OpCode.CREATE))
        planted = await zk.create(asked.path or "", mode=SEQUENTIAL)  # as if an earlier campaign had left it
        await who.heal()
        await who.until("waiting")
        assert who.zk.session_id != old
        *_, ours = await children(zk, root)
        assert guid_of(ours) != guid_of(planted)
        await zk.delete(planted)
        assert (await task.wait()).node == f"{root}/{ours}"
        stat = await zk.exists(f"{root}/{ours}")
        assert stat is not None
        assert stat.ephemeral_owner == who.zk.session_id
        await task.end()


@pytest.mark.rule("C10")
async def test_second_znode_with_our_guid_is_removed(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidates(zookeeper, root, 2) as (leader, who):
        async with leader.election.lead() as term:
            task = who.lead()
            await who.until("waiting")
            _, ours = await children(zk, root)
            twin = await who.zk.create(f"{root}/{ours[:-10]}", mode=SEQUENTIAL)
            await term.proclaim(b"wakes it")
            await who.until("waiting")
            assert await children(zk, root) == [term.node.rpartition("/")[2], ours]
            assert await zk.exists(twin) is None
        assert (await task.wait()).node == f"{root}/{ours}"
        await task.end()


# --- what ends a campaign


@pytest.mark.rule("C8")
@pytest.mark.parametrize("mode", MODES)
async def test_refusal_is_raised_and_not_taken_for_somebody_elses_leadership(
    zookeeper: Server, root: str, mode: Mode
) -> None:
    await alone(zookeeper)
    path = f"{root}/read/master"
    async with administrator(zookeeper) as zk, candidate(zookeeper, path, mode=mode) as who:
        await zk.create(root)
        await zk.create(f"{root}/read", acl=READ_ACL_UNSAFE)
        if mode == "sequential":
            with pytest.raises(NoAuthError):
                async with who.election.lead():
                    pass
        else:
            with pytest.raises(NoAuthError):
                await who.election.campaign()
        with pytest.raises(InvalidACLError):
            await Election(who.zk, f"{root}/open/master", mode=mode, acl=NOBODY).campaign()
        assert who.election.state == "idle"
        assert await watch_count(zookeeper) == 0


#: An ACL that lets anybody create children, but not delete them.
CREATE_ONLY = (ACL(Perms.READ | Perms.CREATE | Perms.WRITE, zkwire.Id("world", "anyone")),)
#: An identity without a scheme.
NOBODY = (ACL(31, zkwire.Id("", "")),)


@pytest.mark.rule("C8", "W10")
@pytest.mark.parametrize("mode", MODES)
async def test_waiter_whose_client_ends_raises_the_reason(zookeeper: Server, root: str, mode: Mode) -> None:
    path = f"{root}/master"
    async with (
        candidate(zookeeper, path, mode=mode) as leader,
        candidate(zookeeper, path, mode=mode, client={"new_session": False}) as expiring,
        candidate(zookeeper, path, mode=mode) as refused,
        leader.election.lead() as term,
    ):
        async with trio.open_nursery() as nursery:

            async def raises(who: Election, kind: type[Exception]) -> None:
                with pytest.raises(kind):
                    await who.campaign()
                assert who.state == "idle"

            nursery.start_soon(raises, expiring.election, SessionExpiredError)
            nursery.start_soon(raises, refused.election, AuthFailedError)
            await expiring.until("waiting")
            await refused.until("waiting")
            await end_session(zookeeper, expiring.zk.session)
            with pytest.raises(AuthFailedError):
                await refused.zk.add_auth("nonsense", b"")
        assert term.is_leader


@pytest.mark.rule("C8", "C4")
async def test_create_that_is_answered_by_session_moved_is_looked_for(zookeeper: Server, root: str) -> None:
    """It went to a server that the session has left, and is not known to have been refused by all."""
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)

        def moved(seen: SeenFrame) -> Action:
            assert seen.xid is not None
            return Replace(frame(encode(ReplyHeader(seen.xid, seen.zxid, ErrorCode.SESSION_MOVED))))

        who.fault = When(below(root, OpCode.CREATE, direction=RECEIVED), moved)
        async with who.election.lead() as term:
            assert [f"{root}/{name}" for name in await children(zk, root)] == [term.node]


@pytest.mark.rule("C12")
async def test_session_that_comes_back_with_another_id_is_lost(zookeeper: Server, root: str) -> None:
    async with (
        administrator(zookeeper) as zk,
        candidate(zookeeper, root) as leader,
        candidate(zookeeper, root, timeout=2.0) as who,
    ):
        first, second = await in_turn((leader, who))
        old = who.zk.session_id
        _, before = await children(zk, root)

        def other(seen: SeenFrame) -> Action:
            response = seen.record
            assert isinstance(response, ConnectResponse)
            return Replace(frame(encode(response.replace(session_id=response.session_id ^ 0xFF00))))

        who.fault = When(frame_number(RECEIVED, 0), other)
        who.tap.cut()
        await who.until("entering")
        await who.until("waiting")
        assert who.zk.session_id not in (old, old ^ 0xFF00)
        assert guid_of((await children(zk, root))[-1]) != guid_of(before)
        await first.end()
        term = await second.wait()
        assert guid_of(term.node) != guid_of(before)
        await second.end()


# --- connections and sessions


@pytest.mark.rule("W6", "W14")
@pytest.mark.parametrize("mode", MODES)
async def test_release_during_a_lost_connection_is_told_after_it(zookeeper: Server, root: str, mode: Mode) -> None:
    path = f"{root}/master"
    async with candidates(zookeeper, path, 2, mode=mode) as (leader, who):
        first, second = await in_turn((leader, who))
        await who.part()
        await first.end()
        await who.heal()
        await second.wait()
        assert len(who.all(below(path, OpCode.CREATE))) == (1 if mode == "sequential" else 0)
        await second.end()


@pytest.mark.rule("W10", "C3")
@pytest.mark.parametrize("mode", MODES)
async def test_waiter_whose_session_expires_enters_again_at_once(zookeeper: Server, root: str, mode: Mode) -> None:
    path = f"{root}/master"
    async with administrator(zookeeper) as zk, candidates(zookeeper, path, 2, mode=mode) as (leader, who):
        first, second = await in_turn((leader, who))
        old, before = who.zk.session_id, await children(zk, path)
        await end_session(zookeeper, who.zk.session)
        await who.until("entering")
        await who.until("waiting")
        assert not first.over.is_set()
        assert who.zk.session_id != old
        assert await watches(zookeeper, who.zk.session_id) == [(await first.wait()).node]
        after = await children(zk, path)
        await first.end()
        node = (await second.wait()).node
        if mode == "sequential":
            assert guid_of(after[1]) != guid_of(before[1])
            assert node == f"{path}/{after[1]}"
        await second.end()


# --- cancelled, or out of time


def _both(*faults: Fault) -> Fault:
    def fault(seen: SeenFrame) -> Action:
        return next((action for each in faults if (action := each(seen)) != PASS), PASS)

    return fault


@pytest.mark.rule("C9", "R7")
@pytest.mark.parametrize("direction", ["request", "reply"])
@pytest.mark.parametrize("then", ["goes on", "is cut"])
@pytest.mark.parametrize("opcode", [OpCode.CREATE, OpCode.MULTI], ids=["create", "multi"])
async def test_campaign_cancelled_with_a_request_under_way_leaves_no_znode(
    zookeeper: Server, root: str, direction: str, then: str, opcode: OpCode
) -> None:
    await alone(zookeeper)
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        async with who.election.lead():
            pass  # makes what is missing
        match = (request if direction == "request" else reply_to)(opcode)
        with held(who, match) as fault:
            task = who.lead()
            await fault.wait()
            task.cancel()
            if then == "is cut":
                who.tap.cut()
        with trio.fail_after(PATIENCE):
            await task.over.wait()
        assert await children(zk, root) == []
        assert await zk.exists(f"{root}-holder") is None
        assert await watch_count(zookeeper) == 0
        assert who.zk.state is KeeperState.SYNC_CONNECTED
        assert who.election.state == "idle"


@pytest.mark.rule("C9")
async def test_campaign_cancelled_without_a_connection_ends_with_its_session(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        lost = cut(before=below(root, OpCode.CREATE, direction=RECEIVED))
        who.fault = who.parting(lost)
        task = who.lead()
        await lost.wait()
        task.cancel()
        assert len(await children(zk, root)) == 1
        await end_session(zookeeper, who.zk.session)
        assert not task.over.is_set()
        await who.heal()
        with trio.fail_after(PATIENCE):
            await task.over.wait()
        assert await children(zk, root) == []


@pytest.mark.rule("C9")
@pytest.mark.parametrize("mode", MODES)
async def test_campaign_cancelled_before_its_session_began_sends_nothing_more(
    zookeeper: Server, root: str, mode: Mode
) -> None:
    """It can have no znodes on the servers, so it ends at once, as when a program is stopped while no server
    answers."""
    path = f"{root}/master"
    async with administrator(zookeeper) as zk, candidate(zookeeper, path, mode=mode, timeout=1) as who:
        async with who.election.lead():
            pass  # makes what is missing
        await who.part()
        await reached(who.zk, EXPIRED)  # it has given up the session
        await wait_all_tasks_blocked()
        assert who.zk.bound().session.id == 0
        task = who.lead()
        await wait_all_tasks_blocked(0.05)
        task.cancel()
        with trio.fail_after(PATIENCE):
            await task.over.wait()
        since = len(who.frames)
        await who.heal()
        await reached(who.zk, CONNECTED)
        await who.zk.sync()
        assert who.requests(since) == [OpCode.SYNC]
        assert await zk.exists(f"{path}-holder") is None
        assert who.election.state == "idle"


@pytest.mark.rule("W15")
@pytest.mark.parametrize("mode", MODES)
async def test_campaign_out_of_time_has_removed_its_znode(zookeeper: Server, root: str, mode: Mode) -> None:
    await alone(zookeeper)
    path = f"{root}/master"
    async with (
        administrator(zookeeper) as zk,
        candidates(zookeeper, path, 2, mode=mode) as (leader, who),
        leader.election.lead() as term,
    ):
        for timeout in (0, 0.2):
            with pytest.raises(CampaignTimeout, match="master"):
                await who.election.campaign(timeout)
            assert await children(zk, path) == ([] if mode == "simple" else [term.node.rpartition("/")[2]])
            assert await watch_count(zookeeper) == 1, "the leader's own"
            assert who.election.state == "idle"


@pytest.mark.rule("W15")
@pytest.mark.parametrize("comes_back", [True, False], ids=["that comes back", "that does not"])
async def test_campaign_out_of_time_without_a_connection_has_removed_its_znode(
    zookeeper: Server, root: str, comes_back: bool
) -> None:
    async with (
        administrator(zookeeper) as zk,
        candidate(zookeeper, root) as leader,
        candidate(zookeeper, root, timeout=1.5) as who,
        leader.election.lead() as term,
        trio.open_nursery() as nursery,
    ):
        returned = trio.Event()

        async def campaign() -> None:
            with pytest.raises(TimeoutError):
                await who.election.campaign(timeout=0.5)
            returned.set()

        nursery.start_soon(campaign)
        await who.until("waiting")
        await who.part()
        assert len(await children(zk, root)) == 2
        if comes_back:
            await trio.sleep(0.7)
            assert not returned.is_set()
            await who.heal()
        with trio.fail_after(PATIENCE):
            await returned.wait()
        assert await children(zk, root) == [term.node.rpartition("/")[2]]


# --- znodes that the process left in an earlier life


@pytest.mark.rule("R3", "R4")
async def test_contender_of_the_session_in_another_process_is_deleted_and_not_adopted(
    zookeeper: Server, root: str
) -> None:
    async with administrator(zookeeper) as zk:
        await zk.create(root)
        async with zkwire.connect(zookeeper.address) as earlier:
            old = await earlier.create(f"{root}/_c_{GUID}-lock-", mode=SEQUENTIAL)
            session = earlier.session
            earlier.detach()
        async with candidate(zookeeper, root, client={"session": session}) as who, who.election.lead() as term:
            assert who.zk.session_id == session.id
            assert term.node != old
            assert await zk.exists(old) is None


@pytest.mark.rule("R3", "R4")
@pytest.mark.parametrize("mode", MODES)
async def test_leader_of_the_session_in_another_process_is_waited_out_for_one_timeout(
    zookeeper: Server, root: str, mode: Mode
) -> None:
    path = f"{root}/master"
    holder = f"{path}-holder" if mode == "sequential" else f"{root}-master-holder"
    async with administrator(zookeeper) as zk:
        await zk.ensure_path(path if mode == "sequential" else root)
        async with zkwire.connect(zookeeper.address, 1.5) as earlier:
            mark = f"_c_{GUID}-lock-0000000000" if mode == "sequential" else GUID
            old = f"{path}/{mark}" if mode == "sequential" else path
            await earlier.create(old, mode=EPHEMERAL)
            await earlier.create(holder, mark.encode(), mode=EPHEMERAL)
            session = earlier.session
            earlier.detach()
        czxid = (await zk.get_data(old))[1].czxid
        began = trio.current_time()
        async with (
            candidate(zookeeper, path, timeout=1.5, mode=mode, client={"session": session}) as who,
            who.election.lead() as term,
        ):
            assert who.zk.session_id == session.id
            assert trio.current_time() - began >= who.zk.session_timeout
            assert term.token > czxid
            assert (await zk.get_data(holder))[1].ephemeral_owner == session.id


@pytest.mark.rule("R4")
@pytest.mark.parametrize("mode", MODES)
async def test_leader_of_an_earlier_session_is_waited_out(zookeeper: Server, root: str, mode: Mode) -> None:
    path = f"{root}/master"
    async with administrator(zookeeper) as zk:
        async with zkwire.connect(zookeeper.address, 1.0) as earlier:
            old = await Election(earlier, path, mode=mode).campaign()
            earlier.detach()
        async with candidate(zookeeper, path, mode=mode) as who:
            task = who.lead()
            await who.until("waiting")
            term = await task.wait()
            assert term.predecessor == "expired"
            assert term.token > old.token
            stat = await zk.exists(term.node)
            assert stat is not None
            assert stat.ephemeral_owner == who.zk.session_id
            await task.end()


# --- contenders that no session owns


def restored(dialect: str) -> str:
    """The first znode of a queue as a restored backup has it: no session owns it."""
    return DIALECTS[dialect].prefix(GUID) + "0000000000"


async def says_so(call: Callable[[], Awaitable[object]], node: str) -> None:
    with trio.fail_after(PATIENCE), pytest.raises(ElectionError, match=f"^{node} is not ephemeral, no session owns it"):
        await call()


async def led(election: Election) -> None:
    async with election.lead():
        raise AssertionError("leads")


async def ran(election: Election) -> None:
    await election.run(lambda term: trio.lowlevel.checkpoint())


async def observed(election: Election) -> None:
    async for leader in election.observe():
        raise AssertionError(leader)


WAYS: list[Callable[[Election], Awaitable[object]]] = [
    led,
    ran,
    observed,
    lambda election: election.campaign(),
    lambda election: election.campaign(timeout=0),
    lambda election: election.leader(),
    lambda election: election.contenders(),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", [CreateMode.PERSISTENT, CreateMode.CONTAINER])
async def test_contender_that_no_session_owns_is_an_error_that_says_so(
    zookeeper: Server, root: str, dialect: str, kind: CreateMode
) -> None:
    await alone(zookeeper)
    async with administrator(zookeeper) as zk, candidate(zookeeper, root, dialect=dialect) as who:
        node = f"{root}/{restored(dialect)}"
        await zk.create(root)
        await zk.create(node, b"restored", mode=kind)
        for way in WAYS:
            await says_so(lambda way=way: way(who.election), node)  # type: ignore[misc]
        assert who.election.state == "idle"
        assert await children(zk, root) == [restored(dialect)]
        assert await watch_count(zookeeper) == 0
        await zk.delete(node)
        async with who.election.lead(timeout=5) as term:
            assert term.is_leader


async def test_contender_that_no_session_owns_is_found_before_one_of_another_program(
    zookeeper: Server, root: str
) -> None:
    """Which waits for it, for ever."""
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        node = f"{root}/{restored('native')}"
        await zk.create(root)
        await zk.create(node)
        await zk.create(f"{root}/_c_{'0' * 32}-lock-", mode=SEQUENTIAL)
        await says_so(who.election.campaign, node)
        await says_so(who.election.leader, node)


async def test_contender_that_no_session_owns_and_that_comes_while_somebody_leads_hides_no_leader(
    zookeeper: Server, root: str
) -> None:
    async with (
        administrator(zookeeper) as zk,
        candidate(zookeeper, root, data=b"leads") as leader,
        candidate(zookeeper, root) as who,
        leader.election.lead() as term,
    ):
        node = f"{root}/_c_{GUID}-lock-2147483646"
        await zk.create(node)
        found = await who.election.leader()
        assert found is not None
        assert (found.data, found.node) == (b"leads", term.node)
        await says_so(who.election.contenders, node)


@pytest.mark.parametrize("mode", MODES)
async def test_holder_and_leaders_znode_that_no_session_owns_are_distinguished_from_a_leaders(
    zookeeper: Server, root: str, mode: Mode
) -> None:
    path = f"{root}/master"
    holder = f"{path}-holder" if mode == "sequential" else f"{root}-master-holder"
    async with administrator(zookeeper) as zk, candidate(zookeeper, path, mode=mode) as who:
        await zk.ensure_path(path)
        if mode == "simple":
            for way in WAYS:
                await says_so(lambda way=way: way(who.election), path)  # type: ignore[misc]
            await zk.delete(path)
        else:
            await zk.create(f"{path}/{restored('native')}", mode=EPHEMERAL)
            await zk.create(holder, restored("native").encode())
            await says_so(who.election.leader, holder)
            await says_so(lambda: observed(who.election), holder)
            await zk.delete(f"{path}/{restored('native')}")
            await zk.delete(holder)
        await zk.create(holder, b"restored")
        await says_so(who.election.campaign, holder)


# --- permissions


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("denied", [READ_ACL_UNSAFE, CREATE_ONLY], ids=["to create", "to delete"])
async def test_refusal_of_holder_or_epoch_says_what_they_are_for_and_which_path_would_do(
    zookeeper: Server, root: str, mode: Mode, denied: Any
) -> None:
    """Candidates that may do everything below the election's path, but nothing beside it."""
    path = f"{root}/jobs/nightly" if mode == "sequential" else f"{root}/jobs/nightly/master"
    below = f"{path}/leader"
    async with administrator(zookeeper) as zk:
        await zk.add_auth("digest", b"admin:secret")
        await zk.create(root)
        await zk.create(f"{root}/jobs", acl=(*denied, ACL(Perms.ALL, zkwire.Id("auth", ""))))
        await zk.create(f"{root}/jobs/nightly")
        async with candidate(zookeeper, path, mode=mode) as who:
            with pytest.raises(NoAuthError) as refused:
                async with who.election.lead():
                    assert denied is CREATE_ONLY
        said = str(refused.value)
        assert f"allow all candidates to create and delete children of {root}/jobs, and to read" in said
        assert said.endswith(f"or give all candidates a path one step deeper, such as {below}")
        assert re.search(r"^NO_AUTH \(-102\): .* \S+/jobs/nightly(-master)?-(holder|epoch): an election needs", said)
        async with candidate(zookeeper, below, mode=mode) as deeper, deeper.election.lead() as term:
            assert term.is_leader
        await zk.set_acl(f"{root}/jobs", zkwire.OPEN_ACL_UNSAFE)


# --- znodes of a leader that somebody deletes


@pytest.mark.rule("W17", "L9", "L11")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["all at once", "the deepest first", "the holder, then the leader's znode"])
async def test_body_after_a_deletion_begins_when_every_lease_is_over(
    zookeeper: Server, root: str, mode: Mode, how: str
) -> None:
    path = f"{root}/app/jobs/master"
    holder = f"{path}-holder" if mode == "sequential" else f"{root}/app/jobs-master-holder"
    async with (
        administrator(zookeeper) as zk,
        candidate(zookeeper, path, mode=mode, timeout=2.0) as leader,
        candidate(zookeeper, path, mode=mode, timeout=2.0) as who,
    ):
        first, second = await in_turn((leader, who))
        term = await first.wait()
        leader.tap.refuse()
        leader.tap.partition()  # it works on, and hears of nothing
        deleted = trio.current_time()
        if how == "the holder, then the leader's znode":
            await zk.delete(holder)
            await zk.delete(term.node)
        else:
            tree = await below_with(zk, f"{root}/app")
            if how == "all at once":
                await zk.multi([Delete(each) for each in tree])
            else:
                await delete_one_by_one(zk, tree)
        successor = await second.wait()
        assert term.state in ("resigning", "resigned"), "the body of the first has ended"
        assert trio.current_time() - deleted >= who.zk.session_timeout - 0.5  # T after it saw that, not before
        assert successor.predecessor == "deleted"
        assert successor.token > term.token
        await second.end()


async def below_with(zk: zkwire.Client, path: str) -> list[str]:
    """The path and everything below it, the deepest first."""
    found = [each for name in await zk.get_children(path) for each in await below_with(zk, f"{path}/{name}")]
    return [*found, path]


async def delete_one_by_one(zk: zkwire.Client, tree: list[str]) -> None:
    """Delete these, the deepest first, and what a candidate adds meanwhile."""
    for each in tree:
        with suppress(NoNodeError):
            try:
                await zk.delete(each)
            except NotEmptyError:  # the one that waits has entered again
                await delete_one_by_one(zk, await below_with(zk, each))
