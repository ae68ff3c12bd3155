"""Connections cut at each frame and at each byte: nothing is repeated, and the session goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import zkwire
from tests.conftest import External
from tests.support.behind import RECEIVED, SENT, Behind, behind, outcome
from tests.support.real.servers import Server
from zkwire import Client, ConnectionLossError, CreateMode, Direction, EventType, NoNodeError, OpCode, ZkwireError
from zkwire.tap.tap import When, cut
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import Cut, Fault, Match, frame_number, reply_to, request


class Script:
    """One session of everything, and what the server may hold after it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.results: dict[str, Any] = {}

    async def run(self, zk: Client) -> None:
        base = self.base
        steps: dict[str, Callable[[], Awaitable[Any]]] = {
            "ephemeral": lambda: zk.create(f"{base}/e", b"", mode=CreateMode.EPHEMERAL),
            "sequential": lambda: zk.create(f"{base}/s-", b"", mode=CreateMode.PERSISTENT_SEQUENTIAL),
            "data watch": lambda: zk.get_data_and_watch(base),
            "child watch": lambda: zk.get_children_and_watch(base),
            "set 1": lambda: zk.set_data(base, b"1"),
            "set 2": lambda: zk.set_data(base, b"2"),
            "multi": lambda: zk.multi(
                [zkwire.Create(f"{base}/m-", mode=CreateMode.PERSISTENT_SEQUENTIAL), zkwire.SetData(base, b"3")]
            ),
            "create": lambda: zk.create2(f"{base}/x"),
            "delete": lambda: zk.delete(f"{base}/x"),
            "exists": lambda: zk.exists(base),
            "sync": lambda: zk.sync(base),
        }
        for name, step in steps.items():
            self.results[name] = await outcome(step())

    def count(self, *names: str) -> range:
        """How often these writes may have happened, all in all."""
        done = [name for name in names if not isinstance(self.results[name], ZkwireError)]
        return range(len(done), len(done) + len([name for name in names if self.is_doubtful(name)]) + 1)

    def is_doubtful(self, name: str) -> bool:
        error = self.results[name]
        return isinstance(error, ConnectionLossError) and error.maybe_applied

    async def check(self, at: Behind, session_id: int) -> None:
        results, base = self.results, self.base
        errors = {name: error for name, error in results.items() if isinstance(error, ZkwireError)}
        if self.is_doubtful("create") and isinstance(errors.get("delete"), NoNodeError):
            del errors["delete"]
        losses = [error for error in errors.values() if isinstance(error, ConnectionLossError)]
        assert len(losses) == len(errors), errors
        assert len(losses) <= 1, "one cut costs one request at most, when they are made one by one"
        assert [error.written for error in losses] == ["in full"] * len(losses)
        await at.settle()
        assert at.zk.session_id == session_id
        names, stat = await at.other.get_children2(base)
        kinds = Counter(name[0] for name in names)
        assert kinds["e"] in self.count("ephemeral")
        assert kinds["s"] in self.count("sequential")
        assert kinds["m"] in self.count("multi")
        assert stat.version in self.count("set 1", "set 2", "multi")
        assert kinds["x"] == 0 or self.is_doubtful("delete")
        if kinds["e"]:
            ephemeral = await at.other.exists(f"{base}/e")
            assert ephemeral is not None
            assert ephemeral.ephemeral_owner == session_id
        if "data watch" not in errors:
            assert (await results["data watch"][-1].wait()).type is EventType.NODE_DATA_CHANGED
        if "child watch" not in errors:
            assert (await results["child watch"][-1].wait()).type is EventType.NODE_CHILDREN_CHANGED


async def run_script(server: Server | External, base: str, fault: Fault | None) -> list[SeenFrame]:
    """One run under the fault, checked; all frames of its first connection."""
    async with zkwire.connect(server.address) as helper:
        await helper.ensure_path(base)
    async with behind(server, fault=fault) as at:
        script = Script(base)
        session_id = at.zk.session_id
        await script.run(at.zk)
        await script.check(at, session_id)
    async with zkwire.connect(server.address) as helper:
        if at.all(reply_to(OpCode.CLOSE_SESSION)):
            assert await helper.exists(f"{base}/e") is None
        else:
            # Left without a connection, or with one just cut: then the session ends with its timeout.
            assert isinstance(fault, When)
            assert fault.hits[0].opcode in (OpCode.SYNC, OpCode.CLOSE_SESSION)
    return [each for each in at.frames if each.connection == 0]


@pytest.mark.rule(30, 31, 38)
@pytest.mark.parametrize("place", ["before", "inside", "before the last byte", "after"])
@pytest.mark.parametrize("direction", list(Direction), ids=["to the server", "to the client"])
async def test_session_goes_on_and_repeats_nothing_when_cut_at_any_frame(
    zookeeper: Server | External, root: str, direction: Direction, place: str
) -> None:
    whole = await run_script(zookeeper, f"{root}/whole", None)
    count = len([each for each in whole if each.direction is direction])
    assert count >= 13
    for index in range(count):
        match = frame_number(direction, index)
        at = {"before": 0, "inside": 6, "before the last byte": -1, "after": None}[place]
        fault = When(match, Cut(at))
        await run_script(zookeeper, f"{root}/{index}", fault)
        assert len(fault.hits) == 1, f"frame {index} never came"


def _of_create(direction: Direction) -> Match:
    return (request if direction is SENT else reply_to)(OpCode.CREATE)


@pytest.mark.rule(30, 31)
@pytest.mark.parametrize("direction", list(Direction), ids=["request", "reply"])
async def test_create_happens_once_or_not_at_all_when_cut_at_any_byte_of_it(
    zookeeper: Server | External, root: str, direction: Direction
) -> None:
    match = _of_create(direction)
    async with behind(zookeeper) as at:
        session_id = at.zk.session_id
        await at.other.ensure_path(root)
        await at.zk.create(f"{root}/s-", b"whole", mode=CreateMode.PERSISTENT_SEQUENTIAL)
        size = len(at.all(match)[-1].data)
        for offset in range(size):
            at.fault = cut(inside=match, at=offset)
            data = f"cut at {offset:03}".encode()
            error = await outcome(at.zk.create(f"{root}/s-", data, mode=CreateMode.PERSISTENT_SEQUENTIAL))
            assert isinstance(error, ConnectionLossError), f"cut at {offset}: {error}"
            assert error.maybe_applied, "the client wrote all of it, and cannot know more"
            await at.zk.sync(root)
        assert at.zk.session_id == session_id
        names = await at.other.get_children(root)
        found = [(await at.other.get_data(f"{root}/{name}"))[0] for name in sorted(names)]
    cuts = [f"cut at {offset:03}".encode() for offset in range(size)]
    assert found == [b"whole", *(cuts if direction is RECEIVED else [])]


@pytest.mark.rule(10)
@pytest.mark.parametrize("direction", list(Direction), ids=["request", "response"])
async def test_session_resumes_when_a_handshake_is_cut_at_any_byte(
    zookeeper: Server | External, root: str, direction: Direction
) -> None:
    async with behind(zookeeper) as at:
        session_id = at.zk.session_id
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        for offset in [0, 1, 3, 4, 5, 20, 39, 40]:
            fault = cut(inside=frame_number(direction, 0), at=offset)
            at.fault = fault
            await at.cut()
            await fault.wait()
            await at.zk.sync(root)
        assert at.zk.session_id == session_id
        stat = await at.other.exists(root)
        assert stat is not None
        assert stat.ephemeral_owner == session_id


@pytest.mark.rule(54, 57)
@pytest.mark.parametrize("direction", list(Direction), ids=["request", "reply"])
@pytest.mark.parametrize("offset", [0, 9, None])
async def test_watch_is_restored_when_its_restoring_is_cut(
    zookeeper: Server | External, root: str, direction: Direction, offset: int | None
) -> None:
    match = (request if direction is SENT else reply_to)(OpCode.SET_WATCHES)
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        *_, watch = await at.zk.get_data_and_watch(root)
        at.fault = When(match, Cut(offset))
        await at.cut()
        await at.fault.wait()
        await at.settle()
        assert len(at.all(request(OpCode.SET_WATCHES))) >= 2
        assert watch.event is None
        await at.other.set_data(root, b"new")
        assert (await watch.wait()).type is EventType.NODE_DATA_CHANGED
        await at.cut()
        await at.zk.sync(root)
        assert at.of(at.tap.accepted - 1, SENT)[1].opcode is OpCode.SYNC, "what has fired is not restored"
