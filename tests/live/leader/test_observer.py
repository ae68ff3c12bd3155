"""Observers of an election on real servers: what they are told is true, also at the end, and they leave no watch."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Literal

import pytest
import trio

from election import Leader, LeaderStream
from tests.support.behind import held
from tests.support.candidates import (
    Candidate,
    administrator,
    alone,
    candidate,
    candidates,
    children,
    end_session,
    in_turn,
    watch_count,
)
from tests.support.live import EPHEMERAL, PATIENCE
from tests.support.real.servers import Server
from zkwire import ClosedError, CreateMode, OpCode, SessionExpiredError
from zkwire.tap.tap import cut
from zkwire.traffic.faults import reply_to, request

Mode = Literal["sequential", "simple"]
MODES: list[Mode] = ["sequential", "simple"]
SEQUENTIAL = CreateMode.EPHEMERAL_SEQUENTIAL


async def following(stream: LeaderStream) -> Leader | None:
    with trio.fail_after(PATIENCE):
        return await stream.__anext__()


async def until_data(stream: LeaderStream, data: bytes | None) -> None:
    """Wait until the stream says that the candidate with this identity leads, or None that nobody does."""
    while True:
        found = await following(stream)
        if (None if found is None else found.data) == data:
            return


# --- nobody there


@pytest.mark.rule("P3", "P6")
@pytest.mark.parametrize("mode", MODES)
async def test_election_that_nobody_has_entered_has_no_leader_and_is_not_made(
    zookeeper: Server, root: str, mode: Mode
) -> None:
    await alone(zookeeper)
    async with candidate(zookeeper, f"{root}/master", mode=mode) as who:
        assert await who.election.leader() is None
        assert await who.election.contenders() == []
        stream = who.election.observe()
        assert await following(stream) is None
        await stream.aclose()
        assert await who.zk.exists(root) is None
        sent = {each.opcode for each in who.all(request())}
        assert not sent & {OpCode.CREATE, OpCode.CREATE2, OpCode.MULTI, OpCode.SET_DATA}
        assert await watch_count(zookeeper) == 0


@pytest.mark.rule("P3")
async def test_path_without_contenders_has_no_leader(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as who:
        await zk.create(root)
        await zk.create(f"{root}/config")
        assert await who.election.leader() is None
        assert await who.election.contenders() == []


# --- the stream


@pytest.mark.rule("P4", "P6")
@pytest.mark.parametrize("mode", MODES)
async def test_observer_hears_of_every_change_and_has_no_znode(zookeeper: Server, root: str, mode: Mode) -> None:
    path = f"{root}/master"
    await alone(zookeeper)
    async with (
        candidate(zookeeper, path, mode=mode) as observer,
        candidate(zookeeper, path, mode=mode, data=b"one") as one,
        candidate(zookeeper, path, mode=mode, data=b"two") as two,
    ):
        stream = observer.election.observe()
        assert await following(stream) is None, "the present state comes first"
        async with one.election.lead() as term:
            assert await following(stream) == Leader(b"one", term.node, term.token)
            assert await observer.election.leader() == Leader(b"one", term.node, term.token)
            await term.proclaim(b"uno")
            assert await following(stream) == Leader(b"uno", term.node, term.token)
        assert await following(stream) is None
        async with two.election.lead() as term:
            assert await following(stream) == Leader(b"two", term.node, term.token)
            late = observer.election.observe()
            assert await following(late) == Leader(b"two", term.node, term.token)
            await late.aclose()
        assert await following(stream) is None
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()
        assert not observer.all(request(OpCode.CREATE)) + observer.all(request(OpCode.MULTI))
        assert await watch_count(zookeeper) == 0


@pytest.mark.rule("P4")
async def test_slow_observer_misses_some_but_not_the_last(zookeeper: Server, root: str) -> None:
    async with candidate(zookeeper, root) as observer, candidate(zookeeper, root) as who:
        stream = observer.election.observe()
        assert await following(stream) is None
        for number in range(5):
            async with who.election.lead() as term:
                await term.proclaim(b"%d" % number)
        async with who.election.lead() as term:
            await term.proclaim(b"last")
            await until_data(stream, b"last")
            with trio.move_on_after(0.2):
                raise AssertionError(await stream.__anext__())
        await until_data(stream, None)
        await stream.aclose()


@pytest.mark.rule("P4")
async def test_deleted_leader_that_still_works_is_no_leader_and_neither_is_the_next(
    zookeeper: Server, root: str
) -> None:
    async with (
        administrator(zookeeper) as zk,
        candidate(zookeeper, root, data=b"one", timeout=4.0) as one,
        candidate(zookeeper, root, data=b"two") as two,
        candidate(zookeeper, root) as observer,
    ):
        first, second = await in_turn((one, two))
        term = await first.wait()
        stream = observer.election.observe()
        await until_data(stream, b"one")
        one.tap.partition()
        await zk.delete(term.node)
        await two.until("waiting")
        assert await following(stream) is None
        assert await observer.election.leader() is None
        assert [each.is_leader for each in await observer.election.contenders()] == [False]
        one.tap.cut()
        await one.heal()
        won = await second.wait()
        assert await following(stream) == Leader(b"two", won.node, won.token)
        await stream.aclose()
        await second.end()


@pytest.mark.rule("P4")
async def test_leader_that_goes_while_it_is_looked_up_is_followed_by_the_next(zookeeper: Server, root: str) -> None:
    """Between the list and the holder, and between the holder and the leader's znode."""
    async with AsyncExitStack() as stack:
        observer = await stack.enter_async_context(candidate(zookeeper, root))
        everybody = [
            await stack.enter_async_context(candidate(zookeeper, root, data=b"%d" % number)) for number in range(4)
        ]
        tasks = await in_turn(everybody)
        _, second, *_ = await children(observer.zk, root)
        for number, path in enumerate([f"{root}-holder", f"{root}/{second}", f"{root}-holder"]):
            stream = observer.election.observe()
            async with trio.open_nursery() as looking:
                with held(observer, request(OpCode.GET_DATA, path)) as fault:
                    looking.start_soon(until_data, stream, b"%d" % (number + 1))
                    await fault.wait()
                    await tasks[number].end()
                    await tasks[number + 1].wait()
            await stream.aclose()
        await tasks[3].end()


@pytest.mark.rule("P4")
async def test_contender_of_another_program_leads_when_it_is_first(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as observer:
        await zk.create(root)
        stream = observer.election.observe()
        assert await following(stream) is None
        node, stat = await zk.create2(f"{root}/lock-", b"kezhuw's", mode=SEQUENTIAL)
        assert await following(stream) == Leader(b"kezhuw's", node, stat.czxid if stat else -1)
        await zk.create(f"{root}-holder", b"../" + node.encode(), mode=EPHEMERAL)
        assert await observer.election.leader() is None, "a holder that names no contender"
        await stream.aclose()


# --- connections and sessions


@pytest.mark.rule("P5")
@pytest.mark.parametrize("loss", ["connection", "session"])
@pytest.mark.parametrize("mode", MODES)
async def test_observer_looks_anew_after_a_lost_connection_or_session(
    zookeeper: Server, root: str, mode: Mode, loss: str
) -> None:
    path = f"{root}/master"
    async with (
        candidate(zookeeper, path, mode=mode) as observer,
        candidate(zookeeper, path, mode=mode, data=b"one") as one,
        candidate(zookeeper, path, mode=mode, data=b"two") as two,
    ):
        stream = observer.election.observe()
        assert await following(stream) is None
        async with one.election.lead():
            await until_data(stream, b"one")
            await observer.part()
            if loss == "session":
                await end_session(zookeeper, observer.zk.session)
        async with two.election.lead():
            await observer.heal()
            await until_data(stream, b"two")
            if loss == "session":
                await end_session(zookeeper, observer.zk.session)
        await until_data(stream, None)
        await stream.aclose()


@pytest.mark.rule("P5")
@pytest.mark.parametrize("opcode", [OpCode.GET_CHILDREN, OpCode.GET_DATA], ids=lambda opcode: opcode.name)
async def test_look_whose_reply_is_lost_is_taken_again(zookeeper: Server, root: str, opcode: OpCode) -> None:
    async with (
        candidate(zookeeper, root) as observer,
        candidate(zookeeper, root, data=b"one") as one,
        one.election.lead() as term,
    ):
        found = Leader(b"one", term.node, term.token)
        observer.fault = cut(before=reply_to(opcode))
        assert await observer.election.leader() == found
        observer.fault = cut(before=reply_to(opcode))
        (only,) = await observer.election.contenders()
        assert only == (*found, True)
        observer.fault = cut(before=reply_to(opcode))
        stream = observer.election.observe()
        assert await following(stream) == found
        await stream.aclose()


@pytest.mark.rule("P10")
async def test_contenders_are_read_whose_replies_are_lost(zookeeper: Server, root: str) -> None:
    async with AsyncExitStack() as stack:
        observer = await stack.enter_async_context(candidate(zookeeper, root))
        await observer.zk.create(root)
        nodes = [await observer.zk.create(f"{root}/lock-", b"%d" % n, mode=SEQUENTIAL) for n in range(5)]
        observer.fault = cut(before=reply_to(OpCode.GET_DATA, nodes[2]))
        found = await observer.election.contenders()
        assert [each.node for each in found] == nodes
        assert [each.data for each in found] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.rule("P5")
async def test_stream_ends_with_an_error_when_its_client_does(zookeeper: Server, root: str) -> None:
    async with candidate(zookeeper, root, client={"new_session": False}) as observer:
        stream = observer.election.observe()
        assert await following(stream) is None
        await end_session(zookeeper, observer.zk.session)
        with pytest.raises(SessionExpiredError):
            await following(stream)
    async with candidate(zookeeper, root) as observer:
        stream = observer.election.observe()
        assert await following(stream) is None
        await observer.zk.aclose()
        with pytest.raises(ClosedError):
            await following(stream)


@pytest.mark.rule("P6", "R7")
@pytest.mark.parametrize("place", ["list", "holder", "znode"])
async def test_look_that_is_cancelled_or_closed_leaves_no_watch(zookeeper: Server, root: str, place: str) -> None:
    await alone(zookeeper)
    async with candidates(zookeeper, root, 2) as (observer, one), one.election.lead() as term:
        match = {
            "list": reply_to(OpCode.GET_CHILDREN, root),
            "holder": reply_to(OpCode.GET_DATA, f"{root}-holder"),
            "znode": reply_to(OpCode.GET_DATA, term.node),
        }[place]
        for end in ("cancelled", "closed"):
            stream = observer.election.observe()
            async with trio.open_nursery() as nursery:
                with held(observer, match) as fault:
                    nursery.start_soon(_end, stream)
                    await fault.wait()
                    if end == "closed":
                        await stream.aclose()
                    else:
                        nursery.cancel_scope.cancel()
            await observer.zk.sync(root)
            await observer.zk.sync(root)
            assert await watch_count(zookeeper) == 1, "the leader's own"


async def _end(stream: LeaderStream) -> None:
    with pytest.raises(StopAsyncIteration):
        await stream.__anext__()


# --- contenders


@pytest.mark.rule("P10")
async def test_contenders_are_in_order_and_the_leader_is_marked(zookeeper: Server, root: str) -> None:
    identities = [b"one", b"", b"\xff\xfe"]
    async with AsyncExitStack() as stack:
        zk = await stack.enter_async_context(administrator(zookeeper))
        everybody: list[Candidate] = [
            await stack.enter_async_context(candidate(zookeeper, root, data=data)) for data in identities
        ]
        await in_turn(everybody)
        foreign = await zk.create(f"{root}/{'0' * 32}__lock__", b"\x80 not ours", mode=SEQUENTIAL)
        null = await zk.create(f"{root}/n_", None, mode=SEQUENTIAL)
        await zk.create(f"{root}/config")
        found = await everybody[1].election.contenders()
        assert [each.data for each in found] == [*identities, b"\x80 not ours", b""]
        assert [each.is_leader for each in found] == [True, False, False, False, False]
        assert [each.node for each in found][3:] == [foreign, null]
        assert [each.token for each in found] == sorted({each.token for each in found})


@pytest.mark.rule("P10")
async def test_contender_that_goes_while_all_are_read_is_left_out(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as observer:
        await zk.create(root)
        nodes = [await zk.create(f"{root}/lock-", mode=SEQUENTIAL) for _ in range(3)]
        found: list[str] = []

        async def read() -> None:
            found.extend(each.node for each in await observer.election.contenders())

        async with trio.open_nursery() as nursery:
            # One look for the leader comes first; then all are read.
            with held(observer, request(OpCode.GET_DATA, nodes[1])) as fault:
                nursery.start_soon(read)
                await fault.wait()
                await zk.delete(nodes[1])
        assert found == [nodes[0], nodes[2]]


@pytest.mark.rule("P10")
async def test_path_that_goes_while_the_contenders_are_listed_has_none(zookeeper: Server, root: str) -> None:
    async with administrator(zookeeper) as zk, candidate(zookeeper, root) as observer:
        await zk.create(root)

        async def read() -> None:
            assert await observer.election.contenders() == []

        async with trio.open_nursery() as nursery:
            with held(observer, request(OpCode.GET_CHILDREN, root), skip=1) as fault:
                nursery.start_soon(read)
                await fault.wait()
                await zk.delete(root)


async def test_simple_election_knows_its_leader_alone(zookeeper: Server, root: str) -> None:
    async with (
        candidate(zookeeper, root, mode="simple", data=b"one") as one,
        candidate(zookeeper, root, mode="simple") as two,
        one.election.lead() as term,
    ):
        two.lead()
        await two.until("waiting")
        assert await two.election.contenders() == [(b"one", root, term.token, True)]
