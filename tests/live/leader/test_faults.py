"""No two leaders, ever: candidates in processes of their own on three real servers, while processes, links and servers
fail.

Both modes run at the same time, with their own candidates. After each fault: no two bodies at the same time, no step
after the end of a term except the one that was under way when the process was stopped, tokens that rise, and a body
that works again. At the end: nothing that was acknowledged is lost, and no candidate's znode, holder or watch is left.

Faults of processes, replies, znodes and servers are played with each version of the server. Random pairs of all of
them, and the unsafe builds that show that these tests would see two leaders, with the first version only; faults of
links, and closed sessions, with the last. ZKWIRE_FAULT_PAIRS=50 plays more pairs, ZKWIRE_FAULT_SEED=N others.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

import zkwire
from tests.conftest import _distributions
from tests.support import contest, judge
from tests.support.live import PATIENCE, until
from tests.support.real.servers import Ensemble, Server, ServerError
from tests.support.rig import TICK, TIMEOUT, Fleet, Rig, Stall, persistently, rig
from zkwire import Delete, Direction, NoNodeError, NotEmptyError, OpCode
from zkwire.tap.tap import When
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import Cut, Delay, Match, reply_to

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED

SEED = int(os.environ.get("ZKWIRE_FAULT_SEED", "1"))
PAIRS = int(os.environ.get("ZKWIRE_FAULT_PAIRS", "3"))

first_version, last_version = (
    pytest.mark.parametrize("found", [found], indirect=True, ids=[getattr(found, "version", "none")])
    for found in (_distributions()[0], _distributions()[-1])
)

#: A session timeout, in seconds, of leaders that have no lease: a third of it, less a tick, is how long they may go on
#: beside the next one, since a client takes its session for expired after 4/3 of it.
LONG = 6.0

#: A fault of one fleet: returns when it is over.
Fault = Callable[[Fleet, random.Random], Awaitable[None]]

# --- processes


async def stop(share: float, fleet: Fleet, rng: random.Random) -> None:
    leader = fleet.leader
    await leader.stop()
    await trio.sleep(share * TIMEOUT)
    leader.go_on()


async def stop_waiters(fleet: Fleet, rng: random.Random) -> None:
    """Their turn comes, and their sessions expire, while they stand still."""
    leader, waiting = fleet.leader, fleet.waiting
    for slot in waiting:
        await slot.stop()
    await leader.leave()
    await leader.come_back()
    await trio.sleep(1.2 * TIMEOUT + TICK)
    for slot in waiting:
        slot.go_on()


async def kill(fleet: Fleet, rng: random.Random) -> None:
    fleet.leader.kill()


# --- links


async def hold(directions: tuple[Direction, ...], fleet: Fleet, rng: random.Random) -> None:
    with fleet.leader.link.held(*directions):
        await trio.sleep(rng.uniform(1.2, 1.8) * TIMEOUT)


async def reset(fleet: Fleet, rng: random.Random) -> None:
    for _ in range(3):
        fleet.leader.link.reset()
        await trio.sleep(rng.uniform(0.0, 0.3))


async def delay(fleet: Fleet, rng: random.Random) -> None:
    with fleet.leader.link.rule(lambda seen: Delay(rng.uniform(0.0, 0.3))):
        await trio.sleep(1.5 * TIMEOUT)


async def stall(direction: Direction, fleet: Fleet, rng: random.Random) -> None:
    """In the middle of a frame; new connections pass."""

    def match(seen: SeenFrame) -> bool:
        return seen.direction is direction and not seen.is_handshake

    with fleet.leader.link.rule(Stall(match)):
        await trio.sleep(1.5 * TIMEOUT)


# --- lost replies


async def is_lost(rule: When, fleet: Fleet) -> None:
    """Wait until the reply has come that is to be lost; where other things fail meanwhile it may never come."""
    with trio.move_on_after(PATIENCE if fleet.rig.one_at_a_time else TIMEOUT):
        await rule.wait()
    assert rule.hits or not fleet.rig.one_at_a_time


async def lose_proof(fleet: Fleet, rng: random.Random) -> None:
    lost = When(reply_to(OpCode.MULTI), Cut(0))
    with fleet.leader.link.rule(lost):
        await is_lost(lost, fleet)


async def lose_begin(fleet: Fleet, rng: random.Random) -> None:
    """The next term's first transaction is applied, and nobody is told."""
    leader = fleet.leader
    lost = When(_granted(reply_to(OpCode.MULTI)), Cut(0))
    with ExitStack() as stack:
        for slot in fleet.waiting:
            stack.enter_context(slot.link.rule(lost))
        await leader.leave()
        await is_lost(lost, fleet)
    await leader.come_back()


async def lose_resignation(fleet: Fleet, rng: random.Random) -> None:
    leader = fleet.leader
    lost = When(lambda each: reply_to(OpCode.MULTI)(each) and _deletes(each.request), Cut(0))
    with leader.link.rule(lost):
        await leader.leave()
        await is_lost(lost, fleet)
    await leader.come_back()


async def lose_exit_and_entry(fleet: Fleet, rng: random.Random) -> None:
    """The delete of a candidate that gives up waiting, and the create of one; simple mode has neither."""
    if fleet.mode == "sequential":
        slot = rng.choice(fleet.waiting)
        left, entered = When(reply_to(OpCode.DELETE), Cut(0)), When(reply_to(OpCode.CREATE), Cut(0))
        with slot.link.rule(left), slot.link.rule(entered):
            await slot.leave()
            await is_lost(left, fleet)
            await slot.come_back()
            await is_lost(entered, fleet)


def _granted(match: Match) -> Match:
    return lambda seen: match(seen) and seen.err == 0


def _deletes(seen: SeenFrame | None) -> bool:
    return seen is not None and OpCode.DELETE in [item.header.type for item in seen.record]


# --- sessions and znodes


async def delete_node(fleet: Fleet, rng: random.Random) -> None:
    node = await fleet.node()
    if node is not None:
        with suppress(NoNodeError):
            await persistently(lambda: fleet.rig.zk.delete(node))


async def delete_path(fleet: Fleet, rng: random.Random) -> None:
    """With all that is in it, in one transaction."""
    zk, parent = fleet.rig.zk, fleet.paths.parent
    for _ in range(100):  # while candidates come and go
        with suppress(NoNodeError, NotEmptyError):
            children = await persistently(lambda: zk.get_children(parent))
            operations = [Delete(f"{parent}/{child}") for child in children]
            await persistently(lambda operations=operations: zk.multi([*operations, Delete(parent)]))  # type: ignore[misc]
            return


async def delete_node_of_a_leader_that_is_cut_off(fleet: Fleet, rng: random.Random) -> None:
    with fleet.leader.link.held(SENT, RECEIVED):
        await trio.sleep(rng.uniform(0.0, 0.3))
        await delete_node(fleet, rng)
        await trio.sleep(1.5 * TIMEOUT)


async def delete_election(fleet: Fleet, rng: random.Random) -> None:
    """Delete all znodes of the election, as `rm -r` of a tree above it does."""
    paths = fleet.paths
    first, *others = rng.sample([delete_path, delete_holder, delete_epoch], 3)
    await first(fleet, rng)
    for other in others:
        await other(fleet, rng)
    print(f"{paths.path} is deleted, {first.__name__} first")


async def delete_holder(fleet: Fleet, rng: random.Random) -> None:
    with suppress(NoNodeError):
        await persistently(lambda: fleet.rig.zk.delete(fleet.paths.holder))


async def delete_epoch(fleet: Fleet, rng: random.Random) -> None:
    with suppress(NoNodeError):
        await persistently(lambda: fleet.rig.zk.delete(fleet.paths.epoch))


async def delete_holder_and_node(fleet: Fleet, rng: random.Random) -> None:
    """For one fleet only: a change of the other fleet beside the holder, at the same time, would hide the deletion."""
    if fleet.mode == "sequential":
        node = await fleet.node()
        await delete_holder(fleet, rng)
        if node is not None:
            with suppress(NoNodeError):
                await persistently(lambda: fleet.rig.zk.delete(node))


async def while_cut_off(fault: Fault, fleet: Fleet, rng: random.Random) -> None:
    with fleet.leader.link.held(SENT, RECEIVED):
        await trio.sleep(rng.uniform(0.0, 0.3))
        await fault(fleet, rng)
        await trio.sleep(1.5 * TIMEOUT)


FAULTS: dict[str, Fault] = {
    "stop 0.5 T": partial(stop, 0.5),
    "stop 0.9 T": partial(stop, 0.9),
    "stop 1.1 T": partial(stop, 1.1),
    "stop 3 T": partial(stop, 3.0),
    "stop all who wait": stop_waiters,
    "kill": kill,
    "hold both": partial(hold, (SENT, RECEIVED)),
    "hold requests": partial(hold, (SENT,)),
    "hold replies": partial(hold, (RECEIVED,)),
    "reset": reset,
    "delay": delay,
    "stall in a request": partial(stall, SENT),
    "stall in a reply": partial(stall, RECEIVED),
    "lose a proof": lose_proof,
    "lose a begin": lose_begin,
    "lose a resignation": lose_resignation,
    "lose an exit and an entry": lose_exit_and_entry,
    "delete the node": delete_node,
    "delete the path": delete_path,
    "delete the node of one cut off": delete_node_of_a_leader_that_is_cut_off,
}
#: Only candidates that ran before the deletion know of it; a process that is started again meanwhile does not.
DELETIONS: dict[str, Fault] = {
    "delete the election": delete_election,
    "delete the election of one cut off": partial(while_cut_off, delete_election),
    "delete the holder and the node": delete_holder_and_node,
    "delete the holder and the node of one cut off": partial(while_cut_off, delete_holder_and_node),
}

# --- servers

#: Which server; by the fleets of a rig.
Choice = Callable[[Rig], Server]


def leading(rig: Rig) -> Server:
    try:
        return rig.ensemble.leader()
    except ServerError:  # while others are down
        return rig.ensemble.servers[0]


def following(rig: Rig) -> Server:
    return (rig.ensemble.followers() or rig.ensemble.servers)[0]


def own(rig: Rig) -> Server:
    """That the first fleet's leader is connected to."""
    return rig.ensemble.servers[rig.fleets[0].leader.link.server]


async def kill_server(choice: Choice, rig: Rig, rng: random.Random) -> None:
    server = await trio.to_thread.run_sync(choice, rig)
    await trio.to_thread.run_sync(server.kill)
    await trio.sleep(rng.uniform(0.5, 1.5) * TIMEOUT)
    if server.pid is None:
        await trio.to_thread.run_sync(lambda: server.start(wait=False))


async def stop_server(choice: Choice, rig: Rig, rng: random.Random) -> None:
    server = await trio.to_thread.run_sync(choice, rig)
    server.suspend()
    await trio.sleep(TIMEOUT + 2 * TICK)
    server.resume()


SERVER_FAULTS: dict[str, Callable[[Rig, random.Random], Awaitable[None]]] = {
    f"{verb} the {name} server": partial(fault, choice)
    for name, choice in (("leading", leading), ("following", following), ("leader's own", own))
    for verb, fault in (("kill", kill_server), ("stop", stop_server))
}


# --- playing them


async def inflict(name: str, rig: Rig, rng: random.Random) -> None:
    """On all fleets at a time."""
    if name in SERVER_FAULTS:
        await SERVER_FAULTS[name](rig, rng)
    else:
        async with trio.open_nursery() as nursery:
            for fleet in rig.fleets:
                nursery.start_soon({**FAULTS, **DELETIONS}[name], fleet, rng)


async def play(
    ensemble: Ensemble, root: str, directory: Path, plots: list[list[str]], seed: int, *options: str
) -> None:
    """One plot after another: all faults of a plot at a time, but for a random delay."""
    rng = random.Random(seed)
    async with rig(ensemble, root, directory) as stage:
        async with trio.open_nursery() as starting:
            starting.start_soon(stage.add, "sequential", 3, *options)
            starting.start_soon(stage.add, "simple", 2, *options)
        for plot in plots:
            await stage.all_contend()
            stage.one_at_a_time = len(plot) == 1
            began = trio.current_time()
            async with trio.open_nursery() as acting:
                for index, name in enumerate(plot):

                    async def later(name: str = name, seconds: float = rng.uniform(0, TIMEOUT) if index else 0) -> None:
                        await trio.sleep(seconds)
                        await inflict(name, stage, rng)

                    acting.start_soon(later)
            await trio.to_thread.run_sync(ensemble.start)
            healed = trio.current_time()
            await stage.all_well()
            print(f"{' + '.join(plot)}: {healed - began:.1f} s, well after {trio.current_time() - healed:.1f} s")
        await end(stage)


async def end(stage: Rig) -> None:
    """All candidates leave; nothing is wrong, and no znode is left."""
    left = await stage.leave()
    for fleet in stage.fleets:
        print(fleet.summary())
        assert fleet.wrongs() == []
    assert left == []


PROCESSES = ["stop 0.5 T", "stop 0.9 T", "stop 1.1 T", "stop 3 T", "stop all who wait", "kill"]
LINKS = [name for name in FAULTS if name.split()[0] in ("hold", "reset", "delay", "stall")]
ZNODES = [name for name in FAULTS if name.split()[0] in ("lose", "delete")]
SERVERS = list(SERVER_FAULTS)


def test_every_fault_is_played_alone() -> None:
    assert sorted(PROCESSES + LINKS + ZNODES + SERVERS) == sorted([*FAULTS, *SERVER_FAULTS])


@pytest.mark.rule("L3", "L13", "P7", "P9", "R7")
async def test_no_two_leaders_when_a_process_is_stopped_or_killed(
    ensemble: Ensemble, root: str, tmp_path: Path
) -> None:
    await play(ensemble, root, tmp_path, [[name] for name in PROCESSES], SEED)


@last_version
@pytest.mark.rule("L3", "L5", "L7", "L18")
async def test_no_two_leaders_when_a_link_fails(ensemble: Ensemble, root: str, tmp_path: Path) -> None:
    await play(ensemble, root, tmp_path, [[name] for name in LINKS], SEED)


@pytest.mark.rule("L9", "C4", "C9", "R2", "W17")
async def test_no_two_leaders_when_a_reply_is_lost_or_a_znode_deleted(
    ensemble: Ensemble, root: str, tmp_path: Path
) -> None:
    await play(ensemble, root, tmp_path, [[name] for name in ZNODES], SEED)


@pytest.mark.rule("L9", "W17")
async def test_no_two_leaders_when_all_znodes_of_the_leader_are_deleted(
    ensemble: Ensemble, root: str, tmp_path: Path
) -> None:
    await play(ensemble, root, tmp_path, [[name] for name in DELETIONS], SEED)


@pytest.mark.rule("L2", "L6", "P8")
async def test_no_two_leaders_when_a_server_is_stopped_or_killed(ensemble: Ensemble, root: str, tmp_path: Path) -> None:
    await play(ensemble, root, tmp_path, [[name] for name in SERVERS], SEED)


@first_version
async def test_no_two_leaders_when_two_things_fail_at_a_time(ensemble: Ensemble, root: str, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    names = [*FAULTS, *SERVER_FAULTS]
    plots = [rng.sample(names, 2) for _ in range(PAIRS)]
    print(f"ZKWIRE_FAULT_SEED={SEED} ZKWIRE_FAULT_PAIRS={PAIRS}")
    await play(ensemble, root, tmp_path, plots, SEED)


# --- what there is only a takeover delay for


async def close_session(fleet: Fleet, is_cut_off: bool) -> None:
    """By somebody who knows its id and password; also while the leader cannot hear of it."""
    leader = fleet.leader
    session, hosts = leader.link.session, fleet.rig.ensemble.hosts
    with ExitStack() as stack:
        if is_cut_off:
            stack.enter_context(leader.link.held(SENT, RECEIVED))
        async with zkwire.connect(hosts, TIMEOUT, session=session, new_session=False, connect_timeout=PATIENCE):
            pass
        await fleet.works(other_than=leader)


@last_version
async def test_no_two_leaders_with_a_takeover_delay_when_somebody_closes_the_session(
    ensemble: Ensemble, root: str, tmp_path: Path
) -> None:
    """The holder goes too, as with a session that has expired; only the lease of the leader may not be over yet."""
    async with rig(ensemble, root, tmp_path) as stage:
        async with trio.open_nursery() as starting:
            starting.start_soon(stage.add, "sequential", 2, "--takeover-delay", str(TIMEOUT))
            starting.start_soon(stage.add, "simple", 2, "--takeover-delay", str(TIMEOUT))
        for is_cut_off in (False, True):
            await stage.all_contend()  # without this the leader itself could be the first to come back
            async with trio.open_nursery() as acting:
                for fleet in stage.fleets:
                    acting.start_soon(close_session, fleet, is_cut_off)
            await stage.all_well()
        await end(stage)


# --- whether these tests would see two leaders


@first_version
async def test_two_leaders_are_seen_where_there_is_no_lease_and_their_token_saves_what_they_count(
    ensemble: Ensemble, root: str, tmp_path: Path
) -> None:
    async with rig(ensemble, root, tmp_path) as stage:
        fleet = await stage.add("sequential", 2, "--renewal", "none", "--unguarded", timeout=LONG)
        leader = fleet.leader
        with leader.link.held(SENT, RECEIVED):
            await fleet.works(other_than=leader)
            await until(lambda: leader.stints()[-1].ended < math.inf, "the client to give up its session")
        print(fleet.summary())
        assert fleet.overlaps()[0].seconds > 0.1
        assert judge.stale_steps(fleet.stints())[1] != []
        assert len(fleet.wrongs()) > 1
        assert await stage.leave() == []
        assert contest.refusals(fleet.records()) > 0


@first_version
async def test_steps_of_a_stopped_leader_are_seen_where_there_is_no_lease_and_spoil_what_it_counts_without_a_token(
    ensemble: Ensemble, root: str, tmp_path: Path
) -> None:
    async with rig(ensemble, root, tmp_path) as stage:
        fleet = await stage.add("sequential", 2, "--renewal", "none", "--unguarded", "--unfenced", timeout=LONG)
        leader = fleet.leader
        await leader.stop()
        await fleet.works(other_than=leader)
        with leader.link.held(SENT, RECEIVED):  # or it hears of its end before its second step
            leader.go_on()
            await until(lambda: leader.stints()[-1].ended < math.inf, "the client to give up its session")
        print(fleet.summary())
        count, wrong = judge.stale_steps(fleet.stints())
        assert len(wrong) >= count - 1 > 0
        assert fleet.overlaps() != []
        assert contest.refusals(fleet.records()) == 0
        assert "were acknowledged" in (await stage.leave())[0]


@first_version
@pytest.mark.parametrize(("broken", "delete"), [("holder", delete_node), ("witness", delete_election)])
async def test_two_leaders_are_seen_where_the_holder_is_not_waited_for_or_deletions_are_not_suspected(
    ensemble: Ensemble, root: str, tmp_path: Path, broken: str, delete: Fault
) -> None:
    async with rig(ensemble, root, tmp_path) as stage:
        # A long lease, so that the other one surely leads within it.
        fleet = await stage.add("sequential", 2, "--broken", broken, "--unguarded", timeout=LONG)
        leader = fleet.leader
        with leader.link.held(SENT, RECEIVED):
            await delete(fleet, random.Random(SEED))
            await fleet.works(other_than=leader)
            await until(lambda: leader.stints()[-1].ended < math.inf, "the end of a lease")
        print(fleet.summary())
        assert fleet.overlaps() != []
        assert len(fleet.wrongs()) > 1
        assert await stage.leave() == []
