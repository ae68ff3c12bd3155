"""Sessions on real servers: the timeout, resuming, take-over, expiry, and the stream of states."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress

import pytest
import trio
import trio.testing

import zkwire
from tests.conftest import External
from tests.support.behind import expire, heal, on_line, part
from tests.support.live import (
    CONNECTED,
    DISCONNECTED,
    EPHEMERAL,
    PATIENCE,
    SLACK,
    client,
    connect_requests,
    reached,
    sent,
    until_gone,
)
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Server
from zkwire import ClosedError, Direction, Frame, KeeperState, OpCode, SessionExpiredError, SessionInfo

# --- the timeout


@pytest.mark.rule(6)
@pytest.mark.parametrize(("asked", "got"), [(0.4, 0.5), (1.001, 1.001), (3600.0, 60.0)])
async def test_session_timeout_is_what_the_server_made_of_it(server: Server, asked: float, got: float) -> None:
    async with client(server, timeout=asked, connect_timeout=PATIENCE) as zk:
        assert zk.session_timeout == got


@pytest.mark.rule(7)
async def test_reconnect_asks_for_the_original_timeout(server: Server) -> None:
    frames: list[Frame] = []
    async with on_line(server, timeout=3600.0, on_frame=frames.append) as (zk, line):
        await part(zk, line)
        await heal(zk, line)
        assert [int.from_bytes(frame.payload[12:16], "big") for frame in connect_requests(frames)] == [3_600_000] * 2


@pytest.mark.rule(36)
async def test_idle_session_outlives_its_timeout_by_pings(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, timeout=2.0, on_frame=frames.append) as zk:
        session_id = zk.session_id
        await zk.create(root, mode=EPHEMERAL)
        await trio.sleep(2.5)
        assert await zk.exists(root) is not None
        assert zk.session_id == session_id
        assert len(sent(frames, OpCode.PING)) >= 3
        assert len(connect_requests(frames)) == 1


# --- resuming, detaching, closing


async def test_session_is_resumed_with_its_ephemerals_after_detach(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as first:
        await first.create(root, mode=EPHEMERAL)
        first.detach()
    async with client(zookeeper, session=first.session) as second:
        assert second.session_id == first.session_id
        assert await second.get_ephemerals(root) == [root]
    async with client(zookeeper) as other:
        assert await other.exists(root) is None


RESUMING_PROGRAM = """
import sys, trio, zkwire

async def main(hosts, session_id, password):
    session = zkwire.SessionInfo(int(session_id), bytes.fromhex(password))
    async with zkwire.connect(hosts, session=session, new_session=False) as zk:
        print(zk.session_id, *await zk.get_ephemerals())
        zk.detach()

trio.run(main, *sys.argv[1:])
"""


FORKING_PROGRAM = """
import os, sys, trio, zkwire

async def states(zk):
    async for _ in zk.states():
        return

def misuses(zk, watch, call):
    async def await_call():
        await call
    async def leave():
        await zk.aclose()
    async def detach():
        zk.detach()
    async def disarm():
        watch.disarm()
    async def bound():
        await zk.bound().exists("/")
    async def add_watch():
        async with zk.add_watch("/", zkwire.AddWatchMode.PERSISTENT):
            pass
    return {
        "call": lambda: zk.exists("/"), "pending call": await_call, "auth": lambda: zk.add_auth("digest", b"u:p"),
        "wait": watch.wait, "states": lambda: states(zk), "aclose": leave, "detach": detach, "disarm": disarm,
        "bound": bound, "add_watch": add_watch,
    }

async def main(hosts, root):
    async with zkwire.connect(hosts) as zk:
        await zk.create(root, mode=zkwire.CreateMode.EPHEMERAL)
        seen = zk.states()
        _, watch = await zk.exists_and_watch(root)
        session_id = zk.session_id
        for name in [*misuses(zk, watch, None), "leave"]:
            call = zk.exists(root)
            pid = os.fork()
            if pid == 0:
                if name == "leave":
                    zk.exists("/")  # whose RuntimeError leaves the block, and all of trio
                try:
                    await misuses(zk, watch, call)[name]()
                except RuntimeError as error:
                    print(name, "->", error, flush=True)
                os._exit(0)
            # Not in the way of trio: this process is the one whose loop goes on.
            os.waitpid(pid, 0)
            assert await call is not None
            assert await zk.exists(root) is not None
        await trio.sleep(0.1)
        assert await zk.exists(root) is not None
        assert (zk.session_id, zk.state) == (session_id, zkwire.KeeperState.SYNC_CONNECTED)
        assert watch.event is None
        zk.detach()
        print("states", [state.name async for state in seen])

try:
    trio.run(main, *sys.argv[1:])
except RuntimeError as error:
    print("leave ->", error)
"""


async def test_forked_process_is_refused_and_its_parent_unharmed(zookeeper: Server | External, root: str) -> None:
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-c", FORKING_PROGRAM, zookeeper.address, root], capture_stdout=True, capture_stderr=True
        )
    lines = done.stdout.decode().splitlines()
    refused = "this client belongs to the parent process: a forked process makes its own by connect()"
    names = ["call", "pending call", "auth", "wait", "states", "aclose", "detach", "disarm", "bound", "add_watch"]
    assert lines == [*[f"{name} -> {refused}" for name in [*names, "leave"]], "states ['SYNC_CONNECTED', 'CLOSED']"]


async def test_session_is_resumed_in_another_process(zookeeper: Server | External, root: str) -> None:
    async with on_line(zookeeper) as (zk, line):
        await zk.create(root, mode=EPHEMERAL)
        await part(zk, line)
        arguments = [zookeeper.address, str(zk.session.id), zk.session.password.hex()]
        done = await trio.run_process([sys.executable, "-c", RESUMING_PROGRAM, *arguments], capture_stdout=True)
        assert done.stdout.decode().split() == [str(zk.session_id), root]
        await heal(zk, line)
        assert await zk.get_ephemerals(root) == [root], "and taken back"


@pytest.mark.rule(39, 47)
async def test_detached_session_keeps_its_ephemerals_until_its_timeout_and_is_expired_then(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as other:
        async with client(zookeeper, timeout=1.0, connect_timeout=PATIENCE) as zk:
            await zk.create(root, mode=EPHEMERAL)
            zk.detach()
            with pytest.raises(ClosedError):
                await zk.exists(root)
        began = trio.current_time()
        assert await other.exists(root) is not None
        await until_gone(other, root)
        assert trio.current_time() - began > 0.5
        with pytest.raises(SessionExpiredError):
            async with client(zookeeper, session=zk.session, new_session=False):
                raise AssertionError("not reached")
        async with client(zookeeper, session=zk.session) as fresh:
            assert fresh.session_id not in (0, zk.session_id)


@pytest.mark.rule(46)
async def test_leaving_the_block_closes_the_session_and_its_ephemerals_are_gone_at_once(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper) as other:
        async with client(zookeeper, on_frame=frames.append) as zk:
            await zk.create(root, mode=EPHEMERAL)
        assert await other.exists(root) is None
        assert zk.state is KeeperState.CLOSED
        assert frames[-1].opcode is OpCode.CLOSE_SESSION
        assert frames[-1].direction is Direction.RECEIVED
        with pytest.raises(SessionExpiredError):
            async with client(zookeeper, session=zk.session, new_session=False):
                raise AssertionError("not reached")


@pytest.mark.rule(33)
async def test_request_after_the_block_raises_closed(zookeeper: Server | External) -> None:
    async with client(zookeeper) as zk:
        pass
    with pytest.raises(ClosedError):
        await zk.exists("/")
    with pytest.raises(RuntimeError, match="entered once"):
        await zk.__aenter__()


# --- take-over


@pytest.mark.rule(44)
async def test_resuming_a_session_from_elsewhere_closes_the_older_connection(
    zookeeper: Server | External, root: str
) -> None:
    async with on_line(zookeeper) as (older, line):
        await older.create(root, mode=EPHEMERAL)
        line.refuse()
        async with client(zookeeper, session=older.session) as newer:
            await reached(older, DISCONNECTED)
            assert await newer.get_ephemerals(root) == [root]
            newer.detach()
        await heal(older, line)
        assert older.session_id == newer.session_id
        assert await older.get_ephemerals(root) == [root]


@pytest.mark.rule(45)
async def test_resuming_with_a_wrong_password_is_refused_and_the_owner_goes_on(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as owner:
        await owner.create(root, mode=EPHEMERAL)
        states = owner.states()
        assert await states.__anext__() is CONNECTED
        with pytest.raises(SessionExpiredError):
            async with client(zookeeper, session=SessionInfo(owner.session_id, b"x" * 16), new_session=False):
                raise AssertionError("not reached")
        with trio.fail_after(PATIENCE):
            assert [await states.__anext__(), await states.__anext__()] == [DISCONNECTED, CONNECTED]
        assert await owner.get_ephemerals(root) == [root]


@pytest.mark.rule(29, 30)
async def test_request_that_was_never_written_survives_the_loss_of_its_connection(
    zookeeper: Server | External, root: str
) -> None:
    async with on_line(zookeeper) as (zk, line):
        await zk.create(root)
        # The first is written at once, the rest are left to the writer, which finds the line cut.
        written = zk.set_data(root, b"1")
        unwritten = [zk.set_data(root, data) for data in (b"2", b"3")]
        line.part()
        with suppress(zkwire.ConnectionLossError):  # its reply may have been faster
            await written
        line.heal()
        versions = [(await call).version for call in unwritten]
        assert versions[1] == versions[0] + 1
        assert (await zk.get_data(root))[0] == b"3"


# --- expiry


@pytest.mark.rule(28, 39)
async def test_client_opens_a_new_session_after_expiry(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    async with on_line(zookeeper, on_frame=frames.append) as (zk, line):
        await zk.create(root, mode=EPHEMERAL)
        session_id = zk.session_id
        states = zk.states()
        await expire(zk, line, zookeeper)
        with trio.fail_after(PATIENCE):
            seen = [await states.__anext__() for _ in range(4)]
        assert seen == [CONNECTED, DISCONNECTED, KeeperState.EXPIRED, CONNECTED]
        assert zk.session_id not in (0, session_id)
        assert await zk.exists(root) is None
        last = connect_requests(frames)[-1].payload
        assert int.from_bytes(last[4:12], "big") == 0, "lastZxidSeen"
        assert int.from_bytes(last[16:24], "big") == 0, "sessionId"


@pytest.mark.rule(33)
async def test_client_without_new_session_is_over_after_expiry(zookeeper: Server | External) -> None:
    async with on_line(zookeeper, new_session=False) as (zk, line):
        states = zk.states()
        await expire(zk, line, zookeeper)
        with trio.fail_after(PATIENCE):
            assert [state async for state in states] == [CONNECTED, DISCONNECTED, KeeperState.EXPIRED]
        with pytest.raises(SessionExpiredError):
            await zk.exists("/")


async def test_request_that_waited_for_a_connection_does_not_cross_into_the_next_session(
    zookeeper: Server | External, root: str
) -> None:
    async with on_line(zookeeper) as (zk, line):
        await part(zk, line)
        waiting = zk.create(root)
        async with client(zookeeper, session=zk.session):
            pass
        line.heal()
        with pytest.raises(SessionExpiredError):
            await waiting
        await reached(zk, CONNECTED)
        assert await zk.exists(root) is None


async def test_bound_client_ends_with_its_session(zookeeper: Server | External) -> None:
    async with on_line(zookeeper) as (zk, line):
        bound = zk.bound()
        assert await bound.exists("/") is not None
        assert bound.session == zk.session
        await expire(zk, line, zookeeper)
        await reached(zk, KeeperState.EXPIRED, CONNECTED)
        await reached(zk, CONNECTED)
        assert bound.expired
        with pytest.raises(SessionExpiredError):
            await bound.exists("/")
        assert await zk.exists("/") is not None


@pytest.mark.rule(37, 40)
async def test_client_gives_up_a_frozen_server_and_then_its_session_by_itself(server: Server, root: str) -> None:
    """A frozen server takes TCP connections, and answers nothing."""
    async with client(server, timeout=1.5, connect_timeout=PATIENCE) as zk:
        await zk.create(root, mode=EPHEMERAL)
        bound = zk.bound()
        states = zk.states()
        assert await states.__anext__() is CONNECTED
        server.suspend()
        try:
            waiting = zk.get_data(root)
            with pytest.raises(zkwire.ConnectionLossError) as loss:
                await waiting
            assert "no byte from the server" in loss.value.cause
            with pytest.raises(SessionExpiredError):
                await bound.get_data(root)
            assert [await states.__anext__(), await states.__anext__()] == [DISCONNECTED, KeeperState.EXPIRED]
        finally:
            server.resume()
        await reached(zk, CONNECTED)
        await until_gone(zk, root)


@pytest.mark.rule(10, 28, 40)
async def test_client_gives_up_its_session_when_the_only_server_has_lost_its_data(
    distribution: Distribution, root: str
) -> None:
    """Such a server has seen less than the client, and closes the connection without a reply: that is not an expiry."""
    with Server(distribution) as private:
        async with client(private, timeout=3.0, connect_timeout=PATIENCE) as zk:
            await zk.create(root)
            states = zk.states()

            def lose_data() -> None:
                private.kill()
                shutil.rmtree(private.directory / "data" / "version-2")
                private.start()

            await trio.to_thread.run_sync(lose_data)
            with trio.fail_after(PATIENCE):
                seen = [await states.__anext__() for _ in range(4)]
            assert seen == [CONNECTED, DISCONNECTED, KeeperState.EXPIRED, CONNECTED]
            assert await zk.exists(root) is None


# --- the end of the block


async def test_closing_is_bounded_when_the_server_is_frozen(server: Server) -> None:
    with trio.fail_after(60):
        async with zkwire.connect(server.address, 60.0) as zk:
            server.suspend()
            began = trio.current_time()
        server.resume()
        assert trio.current_time() - began < 2.0 + SLACK
        assert zk.state is KeeperState.CLOSED


# --- the stream of states


async def test_states_yields_the_current_state_first_then_each_change_and_ends_after_closing(
    zookeeper: Server | External,
) -> None:
    async with on_line(zookeeper) as (zk, line):
        states = zk.states()
        await part(zk, line)
        await heal(zk, line)
    assert [state async for state in states] == [CONNECTED, DISCONNECTED, CONNECTED, KeeperState.CLOSED]
    assert [state async for state in zk.states()] == [KeeperState.CLOSED]


async def test_states_stream_that_was_closed_yields_nothing_more(zookeeper: Server | External) -> None:
    async with on_line(zookeeper) as (zk, line):
        states = zk.states()
        await states.aclose()
        await part(zk, line)
        await heal(zk, line)
    assert [state async for state in states] == []
