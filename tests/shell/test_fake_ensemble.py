"""The fake ensemble does as the source of the servers says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import zkwire
from tests.support.fake.ensemble import FakeEnsemble, Fault
from tests.support.fake.leader import Tracker
from tests.support.server_behaviours import state_of
from zkwire import (
    ConnectionLossError,
    CreateMode,
    EventType,
    KeeperState,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
)


def at(fake: FakeEnsemble, index: int, name: str = "a", timeout: float = 6.0, **options: Any) -> zkwire.Client:
    """A client of that server alone; the first is the leader."""
    return zkwire.connect(f"10.0.0.{index + 1}", timeout, dial=fake.dialer(name), **options)


async def deletion(fake: FakeEnsemble, path: str) -> float:
    """When the leader agreed to it, on trio's clock."""
    with trio.fail_after(120):
        while True:
            for commit in fake.history:
                if commit.path == path and commit.kind is EventType.NODE_DELETED:
                    return commit.time
            await trio.sleep(0.25)


def test_sessions_expire_at_the_first_multiple_of_a_tick_behind_the_timeout() -> None:
    tracker = Tracker(2.0, 0.5)
    tracker.track(1, 6000, 10.0)
    assert tracker.due(16.0) == []
    assert tracker.due(16.5) == [1]
    tracker.track(1, 6000, 10.5)  # a multiple itself is not behind it
    assert tracker.due(18.4) == []
    assert tracker.due(18.5) == [1]
    tracker.closing.add(1)
    assert not tracker.touch(1, 6000, 11.0)
    assert not tracker.touch(2, 6000, 11.0)


@pytest.mark.parametrize("server", [0, 1])
@pytest.mark.parametrize("seed", range(5))
async def test_silent_session_ends_with_its_ephemerals(autojump_clock: MockClock, server: int, seed: int) -> None:
    fake = FakeEnsemble(seed=seed)
    async with fake.running():
        async with at(fake, server) as zk:
            await zk.create("/a", mode=CreateMode.EPHEMERAL)
            await zk.create("/b", mode=CreateMode.EPHEMERAL)
            last = trio.current_time()
            zk.detach()
        ended = await deletion(fake, "/a")
    half = 0.0 if server == 0 else fake.tick / 2  # a follower's touches come with its answer to a ping
    assert 6.0 - 0.02 <= ended - last <= 6.0 + fake.tick + half + 0.02
    assert {commit.zxid for commit in fake.history if commit.closed} == {fake.history[-1].zxid}
    assert [commit.path for commit in fake.history if commit.closed] == ["/a", "/b"]


async def test_session_that_pings_lives_for_ever(autojump_clock: MockClock) -> None:
    fake = FakeEnsemble()
    async with fake.running(), at(fake, 0, "a") as on_leader, at(fake, 1, "b") as on_follower:
        await on_leader.create("/a", mode=CreateMode.EPHEMERAL)
        await on_follower.create("/b", mode=CreateMode.EPHEMERAL)
        await trio.sleep(3600)
        assert {"/a", "/b"} <= set(fake.tree.nodes)
        assert on_leader.state is on_follower.state is KeeperState.SYNC_CONNECTED


async def test_follower_cut_off_answers_pings_and_reads_and_its_sessions_expire(autojump_clock: MockClock) -> None:
    """The hole: the client is told nothing before the follower gives its leader up, long after its session's end."""
    fake = FakeEnsemble()
    async with fake.running(), at(fake, 1, timeout=4.0, new_session=False) as zk, trio.open_nursery() as nursery:
        await zk.create("/a", b"data", mode=CreateMode.EPHEMERAL)
        await trio.sleep(10)
        cut = trio.current_time()
        nursery.start_soon(fake.inflict, [Fault(0, "part", 1, lasts=30)])
        ended = await deletion(fake, "/a")
        assert 4.0 - fake.tick / 2 <= ended - cut <= 4.0 + fake.tick + 0.02
        assert zk.state is KeeperState.SYNC_CONNECTED
        assert (await zk.get_data("/a"))[0] == b"data"
        await trio.sleep_until(cut + fake.patience - fake.tick / 2 - 0.1)
        assert zk.state is KeeperState.SYNC_CONNECTED
        await state_of(zk, KeeperState.DISCONNECTED)
        assert trio.current_time() <= cut + fake.patience + 0.1
        await state_of(zk, KeeperState.EXPIRED)


async def test_unacknowledged_write_holds_back_ping_replies(autojump_clock: MockClock) -> None:
    """So writes make a partition visible, which pings do not."""
    fake = FakeEnsemble(sync_limit=20)
    async with fake.running(), at(fake, 1, timeout=6.0) as zk, trio.open_nursery() as nursery:
        await zk.create("/a")
        last = trio.current_time()
        nursery.start_soon(fake.inflict, [Fault(0, "part", 1, lasts=4.5)])
        await trio.sleep(1)
        write, read = zk.set_data("/a", b"1"), zk.get_data("/a")
        for call in (write, read):
            with pytest.raises(ConnectionLossError):
                await call
        assert trio.current_time() - last == pytest.approx(4.0, abs=0.01)  # 2/3 of the timeout: no ping was answered
        await trio.sleep(1)
        assert fake.tree.nodes["/a"].data == b"1"  # the write was on its way all the time


@pytest.mark.parametrize("seed", range(3))
async def test_new_leader_gives_everyone_a_full_timeout(autojump_clock: MockClock, seed: int) -> None:
    fake = FakeEnsemble(seed=seed)
    async with fake.running(), trio.open_nursery() as nursery:
        async with at(fake, 1) as zk:
            await zk.create("/a", mode=CreateMode.EPHEMERAL)
            zk.detach()
        await trio.sleep(4)
        killed = trio.current_time()
        nursery.start_soon(fake.inflict, [Fault(0, "kill", "leader", lasts=5)])
        ended = await deletion(fake, "/a")
        assert killed + 6.0 < ended <= killed + fake.election_time[1] + 6.0 + fake.tick + 0.1
        await trio.sleep(10)
        assert sorted(server.role for server in fake.servers) == ["follower", "follower", "leader"]
        assert len({server.tree.zxid for server in fake.servers}) == 1


async def test_leader_that_slept_expires_sessions_of_which_others_heard(autojump_clock: MockClock) -> None:
    fake = FakeEnsemble(sync_limit=20)
    async with fake.running(), at(fake, 1, timeout=4.0, new_session=False) as zk, trio.open_nursery() as nursery:
        await zk.create("/a", mode=CreateMode.EPHEMERAL)
        await trio.sleep(10)
        nursery.start_soon(fake.inflict, [Fault(0, "pause", "leader", lasts=8)])
        slept = trio.current_time()
        await trio.sleep(7.9)
        assert zk.state is KeeperState.SYNC_CONNECTED
        await state_of(zk, KeeperState.EXPIRED)
        assert slept + 8 <= await deletion(fake, "/a") <= slept + 8.1


async def test_request_from_before_a_move_is_refused(autojump_clock: MockClock) -> None:
    fake = FakeEnsemble()
    async with fake.running(), fake.client("a", 6.0) as zk, trio.open_nursery() as nursery:
        await zk.create("/a")
        before = fake.connection("a")
        assert before is not None
        nursery.start_soon(fake.inflict, [Fault(0, "stall", "a", lasts=20)])
        await trio.sleep(1)
        with pytest.raises(ConnectionLossError) as loss:
            await zk.create("/a/late")
        assert loss.value.maybe_applied
        await state_of(zk, KeeperState.SYNC_CONNECTED)
        after = fake.connection("a")
        assert after is not None
        assert after.server is not before.server
        assert not before.closed
        await trio.sleep(20)
        assert before.closed
        assert await zk.get_children("/a") == []


async def test_new_server_may_not_have_applied_what_the_old_one_did_not_answer(autojump_clock: MockClock) -> None:
    """Why a search for a znode that may have been created begins with a sync."""
    fake = FakeEnsemble()
    async with fake.running(), trio.open_nursery() as nursery:
        zk = zkwire.connect("10.0.0.1,10.0.0.2", 6.0, dial=fake.dialer("a"))
        zk._dialing.search.preferred = (zk._dialing.search.hosts[0], "10.0.0.1")
        async with zk:
            await zk.create("/a")
            await trio.sleep(1)
            faults = [Fault(0, "slow", 1, lasts=9, amount=3.0), Fault(0, "drop reply", "a", how="CREATE")]
            nursery.start_soon(fake.inflict, faults)
            await trio.sleep(0.1)
            with pytest.raises(ConnectionLossError):
                await zk.create("/a/made")
            assert await zk.get_children("/a") == []
            await zk.sync()
            assert await zk.get_children("/a") == ["made"]


async def test_deposed_leader_answers_sync_with_what_is_no_longer_true(autojump_clock: MockClock) -> None:
    fake = FakeEnsemble()
    async with fake.running(), at(fake, 0, "a", 20.0) as zk, at(fake, 1, "b", 20.0) as other:
        await zk.create("/a", b"old")
        await other.sync()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fake.inflict, [Fault(0, "part", 0, lasts=30)])
            await trio.sleep(fake.patience - fake.tick / 2)
            assert await zk.sync("/") == "/"
            await trio.sleep(fake.tick)
            assert fake.servers[0].role == "looking"
            await state_of(other, KeeperState.SYNC_CONNECTED)
            await other.set_data("/a", b"new")
            assert fake.leader is not fake.servers[0]
        await state_of(zk, KeeperState.SYNC_CONNECTED)
        assert (await zk.get_data("/a"))[0] == b"new"


async def test_leader_that_stood_still_leads_nobody_of_a_later_epoch(autojump_clock: MockClock) -> None:
    """When it goes on it takes itself for the leader until its next look, while the others may need a new one."""
    fake = FakeEnsemble()
    async with fake.running(), at(fake, 1, timeout=20.0) as zk, trio.open_nursery() as nursery:
        await zk.create("/a", b"old")
        first = fake.servers[0]
        assert first.leadership is not None
        nursery.start_soon(fake.inflict, [Fault(0, "pause", 0, lasts=15)])
        await trio.sleep(14)
        await zk.set_data("/a", b"new")
        second, third = sorted(fake.servers[1:], key=lambda server: server.leadership is None)
        assert second.leadership is not None
        first.paused = False  # it goes on, and has not read yet what arrived
        second.kill()
        assert not fake.elect(third)


@pytest.mark.parametrize("opcode", ["CREATE", "MULTI", "DELETE"])
async def test_lost_reply_of(autojump_clock: MockClock, opcode: str) -> None:
    fake = FakeEnsemble()
    async with fake.running(), fake.client("a", 6.0) as zk:
        await zk.create("/a")
        await fake.inflict([Fault(0, "drop reply", "a", how=opcode)])
        await zk.get_data("/a")
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "CREATE": lambda: zk.create("/b"),
            "MULTI": lambda: zk.multi([zkwire.Create("/b")]),
            "DELETE": lambda: zk.delete("/a"),
        }
        with pytest.raises(ConnectionLossError):
            await calls[opcode]()
        with pytest.raises((NodeExistsError, NoNodeError)):
            await calls[opcode]()


@pytest.mark.parametrize("how", ["both", "requests", "replies"])
async def test_cut_client_loses_its_connection_and_comes_back(autojump_clock: MockClock, how: str) -> None:
    fake = FakeEnsemble()
    async with fake.running(), fake.client("a", 12.0) as zk, trio.open_nursery() as nursery:
        await zk.create("/a", mode=CreateMode.EPHEMERAL)
        began = trio.current_time()
        nursery.start_soon(fake.inflict, [Fault(0, "cut", "a", lasts=10, how=how)])
        with pytest.raises(ConnectionLossError):
            await zk.set_data("/a", b"1")
        assert trio.current_time() == pytest.approx(began + 8.0, abs=0.1)
        await state_of(zk, KeeperState.SYNC_CONNECTED)
        assert trio.current_time() >= began + 10
        assert await zk.get_ephemerals() == ["/a"]
        await zk.sync()
        stat = await zk.exists("/a")
        assert stat is not None
        if how == "replies":
            assert stat.version == 1


async def test_what_administrators_do(autojump_clock: MockClock) -> None:
    fake = FakeEnsemble()
    async with fake.running(), fake.client("a", 6.0, new_session=False) as zk:
        await zk.ensure_path("/a/b/c")
        await fake.inflict([Fault(0, "delete", how="/a"), Fault(0.1, "delete", how="/none")])
        await zk.sync()
        assert await zk.exists("/a") is None
        await fake.inflict([Fault(0, "close", "a")])
        await state_of(zk, KeeperState.EXPIRED)
        with pytest.raises(SessionExpiredError):
            await zk.exists("/a")


async def test_suspended_machine_finds_its_session_gone(autojump_clock: MockClock) -> None:
    fake = FakeEnsemble()
    async with fake.running(), fake.client("a", 6.0, new_session=False) as zk:
        await zk.create("/a", mode=CreateMode.EPHEMERAL)
        clocks = trio.current_time(), fake.boottime()
        await fake.inflict([Fault(0, "suspend", amount=9.0)])
        assert fake.boottime() - clocks[1] == pytest.approx(9.0)
        await state_of(zk, KeeperState.EXPIRED)
        assert trio.current_time() < clocks[0] + 1.0


async def test_sequence_numbers_wrap_and_count_all_children(autojump_clock: MockClock) -> None:
    fake = FakeEnsemble(first_sequence=2**31 - 2)
    async with fake.running(), fake.client("a", 6.0) as zk:
        await zk.create("/a")
        await zk.create("/a/plain")
        made = [await zk.create("/a/n", mode=CreateMode.EPHEMERAL_SEQUENTIAL) for _ in range(3)]
        assert made == ["/a/n2147483647", "/a/n-2147483648", "/a/n-2147483647"]


async def test_what_was_acknowledged_survives_every_fault(autojump_clock: MockClock) -> None:
    """And all servers agree in the end; and what happened twice under the same conditions happened alike."""

    async def life(seed: int) -> list[Any]:
        fake = FakeEnsemble(seed=seed)
        chance = fake.random
        servers: list[int | str] = [0, 1, 2, "leader", "follower", "a"]
        faults = [
            Fault(
                chance.uniform(0, 60),
                chance.choice(["kill", "pause", "part", "lag", "slow"]),
                chance.choice(servers),
                lasts=chance.uniform(0.1, 15),
                amount=chance.uniform(0.1, 2),
            )
            for _ in range(chance.randint(1, 8))
        ]
        faults += [Fault(chance.uniform(0, 60), "reset", "a"), Fault(chance.uniform(0, 60), "stall", "a", lasts=5)]
        acknowledged: list[str] = []
        async with fake.running(), trio.open_nursery() as nursery:
            nursery.start_soon(fake.inflict, faults)
            async with fake.client("a", 20.0) as zk:
                for number in range(300):
                    try:
                        acknowledged.append(await zk.create(f"/{number}"))
                    except (ConnectionLossError, SessionExpiredError):
                        continue
                    finally:
                        await trio.sleep(0.2)
                await zk.sync()
                assert set(acknowledged) <= {f"/{name}" for name in await zk.get_children("/")}
            await trio.sleep(60)
            assert sorted(server.role for server in fake.servers) == ["follower", "follower", "leader"]
            assert fake.servers[0].tree.nodes == fake.servers[1].tree.nodes == fake.servers[2].tree.nodes
        assert len(acknowledged) > 100
        return [acknowledged, [commit[1:] for commit in fake.history]]

    for seed in range(10):
        outcome = await life(seed)
        if seed < 3:
            assert await life(seed) == outcome


async def test_leader_hears_of_a_followers_client_by_its_own_pings_alone(autojump_clock: MockClock) -> None:
    fake = FakeEnsemble()
    async with fake.running(), at(fake, 1, "a") as on_follower, at(fake, 0, "b") as on_leader:
        leadership = fake.servers[0].leadership
        assert leadership is not None
        promised = leadership.tracker.promised
        await trio.sleep_until(10.3)  # between two pings
        before = dict(promised)
        await on_follower.create("/a")
        await on_leader.create("/b")
        assert promised[on_follower.session_id] == before[on_follower.session_id]
        assert promised[on_leader.session_id] == pytest.approx(10.3 + 6.0, abs=0.1)
        await trio.sleep_until(11.1)
        assert promised[on_follower.session_id] == pytest.approx(11.0 + 6.0, abs=0.1)
