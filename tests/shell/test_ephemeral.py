"""Requests of recipes that are sent until they are answered, and creates that are found again, in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import zkwire
from election import Election
from election.ephemeral import PAUSE, READ_ONLY_PAUSE, OwnedEphemeral, retried
from tests.support.fake.ensemble import FakeEnsemble, Fault
from tests.support.fake.memory import MemoryServers, ServerSide, silent
from tests.support.live import reached
from zkwire import (
    OPEN_ACL_UNSAFE,
    ConnectionLossError,
    CreateMode,
    EventType,
    KeeperState,
    NoAuthError,
    NotReadOnlyError,
    SessionMovedError,
    ThrottledOpError,
    ZooKeeperError,
)

# --- tries


async def test_request_is_sent_until_it_is_answered(autojump_clock: MockClock) -> None:
    errors: list[ZooKeeperError] = [
        ConnectionLossError("/a", "exists", "in full", "cut"),
        ThrottledOpError("/a", "exists"),
        SessionMovedError("/a", "exists"),
        NotReadOnlyError("/a", "sync"),
        ThrottledOpError("/a", "exists"),
    ]

    async def ask() -> str:
        if errors:
            raise errors.pop(0)
        return "answer"

    began = trio.current_time()
    assert await retried(ask) == "answer"
    assert trio.current_time() == pytest.approx(began + 2 * PAUSE + READ_ONLY_PAUSE)


async def test_other_errors_are_raised(autojump_clock: MockClock) -> None:
    async def ask() -> str:
        raise NoAuthError("/a", "getData")

    with pytest.raises(NoAuthError):
        await retried(ask)


# --- servers that lag


@pytest.mark.rule("C5", "C4", "C10", 32)
@pytest.mark.parametrize("seed", range(5))
async def test_create_is_found_on_a_server_that_does_not_have_it_yet(autojump_clock: MockClock, seed: int) -> None:
    """A server that is five seconds late. A read there without `sync` shows no znode, so another would be created."""
    servers = FakeEnsemble(seed=seed)
    with trio.fail_after(600):
        async with servers.running(), servers.client("a", 20.0) as zk:
            await zk.create("/election")
            connection = servers.connection("a")
            assert connection is not None
            async with trio.open_nursery() as nursery:
                lag = [
                    Fault(0, "lag", server.index, 60, amount=5.0)
                    for server in servers.servers
                    if server is not connection.server and server is not servers.leader
                ]
                assert lag
                faults = [*lag, Fault(0, "drop reply", "a", how="CREATE")]
                nursery.start_soon(servers.inflict, faults)
                await trio.sleep(0.1)
                term = await Election(zk, "/election", boottime=servers.boottime).campaign()
                made = [each for each in servers.history if each.path.startswith("/election/")]
                assert [(each.kind, each.path) for each in made] == [(EventType.NODE_CREATED, term.node)]
                await term.resign()
                nursery.cancel_scope.cancel()


# --- an ephemeral of our own


async def test_session_that_has_not_begun_has_nothing_to_delete(autojump_clock: MockClock) -> None:
    """The one before it has expired, and no server is to be found."""

    async def cuts_the_connection(side: ServerSide) -> None:
        await side.shake_hands()

    servers = MemoryServers(cuts_the_connection, silent)
    with trio.fail_after(600):
        async with zkwire.connect("10.0.0.1:2181", dial=servers.dial) as zk:
            await reached(zk, KeeperState.EXPIRED)
            znode = OwnedEphemeral(zk, zk.bound(), "/a", mode=CreateMode.EPHEMERAL, acl=OPEN_ACL_UNSAFE)
            with trio.move_on_after(1):
                await znode.create(b"")
            assert znode.may_exist
            await znode.delete()
            assert not znode.session.session.id
