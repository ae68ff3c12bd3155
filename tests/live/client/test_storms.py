"""Clients, servers and limits that could cause a storm of connections, and do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing

from tests.conftest import External
from tests.support.behind import Line, part
from tests.support.live import CONNECTED, PATIENCE, client, connect_requests, reached, sent
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Server
from zkwire import Frame, OpCode, ReplyTooLongError


@pytest.fixture(scope="module")
def narrow(distribution: Distribution) -> Iterator[Server]:
    """A server that takes requests of 4 kB at most."""
    with Server(distribution, jvm=["-Djute.maxbuffer=4096"]) as private:
        yield private


@pytest.mark.rule(56)
async def test_watches_come_back_on_a_server_that_takes_less_than_they_need_in_one_request(
    narrow: Server, root: str
) -> None:
    """The server closes the connection at the first setWatches of 12 kB, and sends no error."""
    line, frames = Line(), list[Frame]()
    async with client(narrow, dial=line.dial, on_frame=frames.append) as zk:
        await zk.create(root)
        paths = [f"{root}/{number:030}" for number in range(200)]
        watches = [(await zk.exists_and_watch(path))[1] for path in paths]
        session_id = zk.session_id
        await part(zk, line)
        line.heal()
        with trio.fail_after(PATIENCE):
            for path, watch in zip(paths[::50], watches[::50], strict=True):
                async with client(narrow) as other:
                    await other.create(path)
                assert (await watch.wait()).path == path
        assert zk.session_id == session_id
        restoring = sent(frames, OpCode.SET_WATCHES)
        assert len(restoring[0].payload) > 4096
        assert len(connect_requests(frames)) <= 6


async def test_reply_longer_than_max_reply_fails_its_call_and_nothing_else(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, max_reply=50_000, on_frame=frames.append) as zk:
        await zk.create(root, bytes(900_000))
        await zk.create(f"{root}/small", b"small")
        calls = [zk.get_data(path) for path in (f"{root}/small", root, f"{root}/small")]
        watching = zk.get_data_and_watch(root)
        assert (await calls[0])[0] == (await calls[2])[0] == b"small"
        with pytest.raises(
            ReplyTooLongError, match=f"^getData {root}: expected a reply of at most 50000 bytes, got one"
        ):
            await calls[1]
        with pytest.raises(ReplyTooLongError):
            await watching
        await zk.set_data(root, b"")
        assert (await zk.get_data(root))[0] == b""
        assert len(connect_requests(frames)) == 1
        assert len(sent(frames, OpCode.REMOVE_WATCHES)) == 1


@pytest.mark.rule(42, 44)
async def test_two_clients_on_one_session_make_no_storm_and_are_told(
    zookeeper: Server | External, caplog: pytest.LogCaptureFixture
) -> None:
    frames: list[Frame] = []
    async with (
        client(zookeeper, on_frame=frames.append) as zk,
        client(zookeeper, session=zk.session, on_frame=frames.append) as other,
    ):
        states = zk.states()
        await trio.sleep(6)
        attempts = len(connect_requests(frames))
        assert attempts <= 40, "20 a second before"
        with trio.fail_after(PATIENCE):
            while "connections in a row ended so soon" not in states.reason:
                await states.__anext__()
        other.detach()
        await reached(zk, CONNECTED)
        assert zk.session_id == other.session_id
    assert any("Does another client use this session" in record.getMessage() for record in caplog.records)
