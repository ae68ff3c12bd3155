"""Sessions, watches and counts while the servers of an ensemble are killed, frozen and started again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import pytest
import trio

import zkwire
from tests.support.behind import Line, heal
from tests.support.live import PATIENCE, reached
from tests.support.real.servers import Ensemble, Server, ServerError
from zkwire import (
    AddWatchMode,
    BadVersionError,
    Client,
    ConnectionLossError,
    CreateMode,
    EventType,
    KeeperState,
    NodeExistsError,
)
from zkwire.client.call import Call
from zkwire.client.transport import SocketTransport

T = TypeVar("T")

#: Session timeout in seconds: an election takes one or two on a loaded machine.
TIMEOUT = 15.0
#: Seconds for a whole test.
LIMIT = 110.0


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """What waits for servers runs beside the clients."""
    return await trio.to_thread.run_sync(functools.partial(function, *arguments))


def connected_to(zk: Client, ensemble: Ensemble) -> Server:
    """The server that the client's socket leads to."""
    assert zk._link is not None
    assert isinstance(zk._link.transport, SocketTransport)
    port = zk._link.transport._socket.getpeername()[1]
    return next(server for server in ensemble.servers if server.port == port)


async def persistently(operation: Callable[[], Call[T]]) -> T:
    """The operation's result; it is one that may be repeated."""
    while True:
        try:
            return await operation()
        except ConnectionLossError:
            continue


@pytest.mark.rule(29, 30)
@pytest.mark.parametrize("victim", ["own server", "leader"])
async def test_session_with_ephemerals_and_watches_survives_the_death_of(
    ensemble: Ensemble, root: str, victim: str
) -> None:
    with trio.fail_after(LIMIT):
        async with (
            zkwire.connect(ensemble.hosts, TIMEOUT, connect_timeout=60) as other,
            zkwire.connect(ensemble.hosts, TIMEOUT, connect_timeout=60) as zk,
        ):
            session_id = zk.session_id
            await zk.create(root)
            await zk.create(root + "/ephemeral", mode=CreateMode.EPHEMERAL)
            await other.sync(root)
            _, _, watch = await zk.get_data_and_watch(root)
            async with zk.add_watch(root, AddWatchMode.PERSISTENT_RECURSIVE) as events:
                dead = connected_to(zk, ensemble) if victim == "own server" else ensemble.leader()
                calls = [zk.get_data(root) for _ in range(50)]
                await in_thread(dead.kill)
                for call in calls:
                    with suppress(ConnectionLossError):  # each ends, with its result or with this
                        assert (await call)[0] == b""
                with suppress(BadVersionError):  # then one whose answer was lost had been applied
                    await persistently(lambda: other.set_data(root, b"changed", version=0))
                with trio.fail_after(PATIENCE * 2):
                    assert (await watch.wait()).type is EventType.NODE_DATA_CHANGED
                await persistently(lambda: zk.sync(root))
                assert await persistently(lambda: zk.get_ephemerals(root)) == [root + "/ephemeral"]
                with trio.fail_after(PATIENCE):
                    event = await events.__anext__()
                assert event.type in (EventType.RESYNC, EventType.NODE_DATA_CHANGED)
                assert zk.session_id == session_id
                assert (await persistently(lambda: zk.get_data(root)))[0] == b"changed"


@pytest.mark.rule(37)
async def test_session_moves_on_when_its_server_freezes(ensemble: Ensemble, root: str) -> None:
    with trio.fail_after(LIMIT):
        async with zkwire.connect(ensemble.hosts, 6.0, connect_timeout=60) as zk:
            session_id = zk.session_id
            await zk.create(root, mode=CreateMode.EPHEMERAL)
            frozen = connected_to(zk, ensemble)
            frozen.suspend()
            try:
                with pytest.raises(ConnectionLossError) as loss:
                    await zk.get_data(root)
                assert loss.value.maybe_applied
                assert await persistently(lambda: zk.get_ephemerals(root)) == [root]
                assert connected_to(zk, ensemble) is not frozen
                assert zk.session_id == session_id
            finally:
                frozen.resume()


@pytest.mark.rule(29)
async def test_session_outlives_a_time_without_quorum(ensemble: Ensemble, root: str) -> None:
    with trio.fail_after(LIMIT):
        async with zkwire.connect(ensemble.hosts, 30.0, connect_timeout=60) as zk:
            session_id = zk.session_id
            await zk.create(root, mode=CreateMode.EPHEMERAL)
            for server in ensemble.servers[:2]:
                await in_thread(server.kill)
            await reached(zk, KeeperState.DISCONNECTED)
            waiting = zk.get_ephemerals(root)
            await in_thread(ensemble.start)
            assert await waiting == [root], "a request that was never sent waits for its server"
            assert zk.session_id == session_id


async def test_session_opened_on_one_server_is_resumed_on_another(ensemble: Ensemble, root: str) -> None:
    with trio.fail_after(LIMIT):
        async with zkwire.connect(ensemble.servers[0].address, TIMEOUT) as zk:
            await zk.create(root, mode=CreateMode.EPHEMERAL)
            zk.detach()
        async with zkwire.connect(ensemble.servers[1].address, TIMEOUT, session=zk.session, new_session=False) as zk:
            assert await zk.get_ephemerals(root) == [root]
        async with zkwire.connect(ensemble.servers[2].address, TIMEOUT) as other:
            await other.sync(root)
            assert await other.exists(root) is None


@pytest.mark.rule(44)
async def test_session_that_was_moved_refuses_writes_of_its_older_connection(ensemble: Ensemble, root: str) -> None:
    """The older server is not told: it serves reads, until a write shows that the session is another's."""
    line = Line()
    with trio.fail_after(LIMIT):
        async with zkwire.connect(ensemble.servers[0].address, TIMEOUT, dial=line.dial) as older:
            line.refuse()
            newer_at = ensemble.servers[1].address
            async with zkwire.connect(newer_at, TIMEOUT, session=older.session, new_session=False) as newer:
                await newer.create(root, mode=CreateMode.EPHEMERAL)
                assert await older.exists("/") is not None
                with pytest.raises(ConnectionLossError):
                    await older.create(root + "-older")
                assert await newer.exists(root + "-older") is None
                newer.detach()
            await heal(older, line)
            assert await older.get_ephemerals(root) == [root]


async def test_sync_shows_on_one_server_what_was_written_on_another(ensemble: Ensemble, root: str) -> None:
    with trio.fail_after(LIMIT):
        async with (
            zkwire.connect(ensemble.servers[0].address, TIMEOUT) as writer,
            zkwire.connect(ensemble.servers[1].address, TIMEOUT) as reader,
        ):
            await writer.create(root)
            for number in range(50):
                await writer.set_data(root, b"%d" % number)
                await reader.sync(root)
                assert (await reader.get_data(root))[0] == b"%d" % number


async def test_get_config_names_the_members_of_the_ensemble(ensemble: Ensemble) -> None:
    with trio.fail_after(LIMIT):
        async with zkwire.connect(ensemble.hosts, TIMEOUT) as zk:
            data, _ = await zk.get_config()
            assert data is not None
            assert [line.partition("=")[0] for line in data.decode().splitlines()] == [
                "server.1",
                "server.2",
                "server.3",
                "version",
            ]


class Counter:
    """A client that counts in a znode's data, beside others: `total name:own name:own ...`.

    After a ConnectionLossError only the znode knows whether the increment was applied; so each one writes its own count
    beside the total, and looks there. `confirmed` are the increments it knows to have been applied.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self.confirmed = 0
        self.losses = 0

    async def increment(self, zk: Client) -> None:
        """Exactly once, whatever happens to servers."""
        while True:
            try:
                data, stat = await zk.get_data(self.path)
                counts = parse(data)
                if counts.get(self.name, 0) > self.confirmed:
                    break  # the attempt whose answer was lost
                assert counts.get(self.name, 0) == self.confirmed, "a confirmed increment is gone"
                counts[self.name] = self.confirmed + 1
                counts["total"] += 1
                await zk.set_data(self.path, unparse(counts), stat.version)
                break
            except BadVersionError:
                continue
            except ConnectionLossError:
                self.losses += 1
                # A server that lags would not show an attempt that was applied; the version then refuses the
                # next one, but only sync lets us see it.
                await persistently(lambda: zk.sync(self.path))
        self.confirmed += 1


def parse(data: bytes | None) -> dict[str, int]:
    assert data is not None
    return {name: int(count) for name, _, count in (entry.partition(":") for entry in data.decode().split())}


def unparse(counts: dict[str, int]) -> bytes:
    return " ".join(f"{name}:{count}" for name, count in counts.items()).encode()


async def test_counters_lose_and_double_nothing_while_servers_die_one_after_another(
    ensemble: Ensemble, root: str
) -> None:
    with trio.fail_after(LIMIT):
        async with zkwire.connect(ensemble.hosts, 60.0) as zk:
            await zk.create(root, b"total:0")
        counters = [Counter(root, name) for name in ("one", "two", "three")]
        turn_over = False
        counting = trio.Event()
        counting.set()
        increments = trio.Semaphore(0)
        confirmed: list[int] = []  # of each counter that has ended
        observed: list[int] = []

        async def observe() -> None:
            """Follow the total by one-shot watches until it is what all have confirmed."""
            async with zkwire.connect(ensemble.hosts, 60.0, new_session=False) as zk:
                while True:
                    data, _, watch = await persistently(lambda: zk.get_data_and_watch(root))
                    observed.append(parse(data)["total"])
                    if len(confirmed) == len(counters) and observed[-1] == sum(confirmed):
                        return
                    # The last event may be older than the last counter's word that it has ended.
                    with trio.move_on_after(0.5):
                        await watch.wait()
                    watch.disarm()

        async def count(counter: Counter) -> None:
            async with zkwire.connect(ensemble.hosts, 60.0, new_session=False) as zk:
                session_id = zk.session_id
                own = f"{root}/{counter.name}"
                with suppress(NodeExistsError):
                    await persistently(lambda: zk.create(own, mode=CreateMode.EPHEMERAL))
                while not turn_over:
                    await counting.wait()
                    await counter.increment(zk)
                    increments.release()
                confirmed.append(counter.confirmed)
                assert zk.session_id == session_id
                await persistently(lambda: zk.sync(own))
                assert await persistently(lambda: zk.get_ephemerals(own)) == [own]

        async def more_increments() -> None:
            for _ in range(increments.value + 50):
                await increments.acquire()

        async def all_die_in_turn() -> None:
            nonlocal counting
            leader = await in_thread(ensemble.leader)
            for server in [leader, *(server for server in ensemble.servers if server is not leader)]:
                await more_increments()
                await in_thread(server.kill)
                # Two servers may fail to agree: see ZOOKEEPER-4685.
                with suppress(ServerError):
                    await in_thread(ensemble.wait_serving, 10.0)
                    await more_increments()
                # Writes go on while one dies, and rest while it comes back, since servers of these versions may lose
                # transactions that are committed while one joins: ZOOKEEPER-4394, 4785, 4925.
                counting = trio.Event()
                await in_thread(functools.partial(server.start, wait=False))
                try:
                    await in_thread(ensemble.wait_serving, 15.0)
                except ServerError:
                    await in_thread(ensemble.stop)
                    await in_thread(ensemble.start)
                counting.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(observe)
            for counter in counters:
                nursery.start_soon(count, counter)
            await all_die_in_turn()
            turn_over = True

        async with zkwire.connect(ensemble.hosts, 60.0) as zk:
            await zk.sync(root)
            counts = parse((await zk.get_data(root))[0])
        assert counts == {"total": sum(counter.confirmed for counter in counters)} | {
            counter.name: counter.confirmed for counter in counters
        }
        assert observed == sorted(observed), "a session went back in time from one server to the next"
        assert sum(counter.losses for counter in counters) > 0, "no server died under a request: nothing was shown"
