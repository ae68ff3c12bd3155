"""The fake ensemble does as real servers do, where both can be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

import zkwire
from tests.support.fake.ensemble import FakeEnsemble
from tests.support.live import Addressed
from tests.support.real.servers import Ensemble
from tests.support.server_behaviours import SCRIPTS, TICK, TIMEOUT, state_of
from zkwire import ConnectionLossError, CreateMode, KeeperState


@pytest.mark.parametrize("name", SCRIPTS)
async def test_fake_server_behaves_as_a_real_one(zookeeper: Addressed, root: str, name: str) -> None:
    script = SCRIPTS[name]
    with trio.fail_after(60):
        real = await script(lambda **options: zkwire.connect(zookeeper.address, TIMEOUT, **options), root)
        fake = FakeEnsemble(1, tick=TICK)
        async with fake.running():
            pretended = await script(lambda **options: fake.client("a", TIMEOUT, **options), root)
    assert pretended == real


async def moved(connect: Callable[..., zkwire.Client], root: str) -> list[Any]:
    """On an ensemble, with two servers that are not the same one: the old connection of a session that moved."""
    seen: list[Any] = []
    async with connect(0, new_session=False) as old:
        await old.create(root)
        async with connect(1, session=old.session, new_session=False) as new:
            assert new.session_id == old.session_id
            seen.append(await old.sync(root))
            seen.append((await old.get_data(root))[0])
            seen.append(new.state.name)
            try:
                await old.create(f"{root}/by the old")
            except ConnectionLossError:
                seen.append("closed without a word")
            await state_of(old, KeeperState.DISCONNECTED)
            await new.create(f"{root}/by the new")
            seen.append(await new.get_children(root))
            new.detach()
    return seen


async def test_fake_ensemble_moves_a_session_as_a_real_one_does(ensemble: Ensemble, root: str) -> None:
    with trio.fail_after(60):
        one, other = ensemble.followers()
        addresses = [one.address, other.address]
        real = await moved(lambda at, **options: zkwire.connect(addresses[at], 10.0, **options), root)
        fake = FakeEnsemble(tick=TICK)
        async with fake.running():

            def connect(at: int, **options: Any) -> zkwire.Client:
                return zkwire.connect(f"10.0.0.{at + 2}", 10.0, dial=fake.dialer("a"), **options)

            pretended = await moved(connect, root)
    assert pretended == real


async def frozen_leader(
    connect: Callable[..., zkwire.Client], freeze: Callable[[], object], thaw: Callable[[], object], root: str
) -> list[Any]:
    """Its follower answers reads and pings, but nothing behind a write, until it gives the leader up."""
    seen: list[Any] = []
    async with connect() as zk:
        await zk.create(root, b"data", mode=CreateMode.EPHEMERAL)
        freeze()
        try:
            seen.append((await zk.get_data(root))[0])
            write, read = zk.set_data(root, b"other"), zk.get_data(root)
            for call in (write, read):
                try:
                    await call
                except ConnectionLossError as loss:
                    seen.append(loss.maybe_applied)
            await state_of(zk, KeeperState.SYNC_CONNECTED)
            seen.append(await zk.get_ephemerals())
        finally:
            thaw()
    return seen


async def test_fake_follower_of_a_frozen_leader_does_as_a_real_one(ensemble: Ensemble, root: str) -> None:
    with trio.fail_after(110):
        leader, followers = ensemble.leader(), ",".join(server.address for server in ensemble.followers())
        real = await frozen_leader(lambda: zkwire.connect(followers, 15.0), leader.suspend, leader.resume, root)
        fake = FakeEnsemble(tick=1.0, sync_limit=2)
        async with fake.running():

            def connect() -> zkwire.Client:
                return zkwire.connect("10.0.0.2,10.0.0.3", 15.0, dial=fake.dialer("a"))

            pretended = await frozen_leader(connect, fake.servers[0].pause, fake.servers[0].resume, root)
    assert pretended == real
