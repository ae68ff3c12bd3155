"""What the client makes of connections that break, on real servers behind a tap."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import zkwire
from tests.conftest import External
from tests.support.real.servers import Distribution, Server
from zkwire import (
    AddWatchMode,
    Client,
    ConnectionLossError,
    CreateMode,
    Direction,
    EventType,
    KeeperState,
    NoNodeError,
    NoServerError,
    OpCode,
    SessionExpiredError,
    SessionInfo,
    Watch,
    Xid,
    ZkwireError,
)
from zkwire.client.call import Call
from zkwire.client.transport import SocketTransport, Transport
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import AuthPacket, ConnectRequest, ConnectResponse, ReplyHeader, SetWatches, SetWatches2
from zkwire.tap.tap import (
    DROP,
    PASS,
    Action,
    Cut,
    Delay,
    Fault,
    Match,
    Replace,
    Side,
    Tap,
    When,
    cut,
    frame_number,
    notification,
    reply_to,
    request,
)
from zkwire.traffic.conversation import SeenFrame

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
CONNECTED, DISCONNECTED, EXPIRED = KeeperState.SYNC_CONNECTED, KeeperState.DISCONNECTED, KeeperState.EXPIRED


class Behind:
    """A client behind a tap, every frame that passed, and another client straight on the server."""

    def __init__(self, tap: Tap, zk: Client, other: Client) -> None:
        self.tap = tap
        self.zk = zk
        self.other = other
        self.frames: list[SeenFrame] = []
        self.fault: Fault | None = None

    def see(self, seen: SeenFrame) -> Action:
        self.frames.append(seen)
        return PASS if self.fault is None else self.fault(seen)

    def of(self, connection: int, direction: Direction) -> list[SeenFrame]:
        return [each for each in self.frames if (each.connection, each.direction) == (connection, direction)]

    def all(self, match: Match) -> list[SeenFrame]:
        return [each for each in self.frames if match(each)]

    async def until(self, state: KeeperState) -> None:
        async for each in self.zk.states():
            if each is state:
                return

    async def cut(self) -> None:
        """Cut, and return when the client knows it: what it does next goes to the next connection."""
        self.tap.cut()
        await self.until(DISCONNECTED)

    async def settle(self) -> None:
        """Return when a request has come through."""
        while isinstance(await outcome(self.zk.sync()), ConnectionLossError):
            continue

    @asynccontextmanager
    async def gap(self) -> AsyncIterator[None]:
        """Cut, and no server to be found until the end of the block."""
        self.tap.refuse()
        await self.cut()
        yield
        await self.tap.heal()


@asynccontextmanager
async def behind(
    server: Server | External, session_timeout: float = 10.0, *, fault: Fault | None = None, **options: Any
) -> AsyncIterator[Behind]:
    with trio.fail_after(60):
        async with Tap(server.address) as tap:
            connecting = zkwire.connect(tap.address, session_timeout, connect_timeout=20, **options)
            result = Behind(tap, connecting, zkwire.connect(server.address, connect_timeout=20))
            result.fault = fault
            tap.fault = result.see
            async with result.other, connecting:
                yield result


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """Its result, or its error."""
    try:
        return await awaitable
    except ZkwireError as error:
        return error


# --- a cut at every frame of a session


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


# --- writes whose end is not known


async def _prepare(at: Behind, root: str) -> None:
    await at.other.ensure_path(f"{root}/node")
    await at.other.create(f"{root}/node/old", b"")


def _write(zk: Client, root: str, opcode: OpCode) -> Awaitable[Any]:
    node = f"{root}/node"
    if opcode is OpCode.CREATE:
        return zk.create(f"{node}/new-", mode=CreateMode.PERSISTENT_SEQUENTIAL)
    if opcode is OpCode.SET_DATA:
        return zk.set_data(node, b"written")
    if opcode is OpCode.DELETE:
        return zk.delete(f"{node}/old")
    return zk.multi([zkwire.SetData(node, b"written"), zkwire.Delete(f"{node}/old")])


async def _written(at: Behind, root: str, opcode: OpCode) -> int:
    """How often that write was applied: by the server's own counts."""
    stat = await at.other.exists(f"{root}/node")
    assert stat is not None
    if opcode in (OpCode.SET_DATA, OpCode.MULTI):
        assert stat.cversion - 1 == (stat.version if opcode is OpCode.MULTI else 0)
        return int(stat.version)
    return int(stat.cversion) - 1


WRITES = [OpCode.CREATE, OpCode.SET_DATA, OpCode.DELETE, OpCode.MULTI]


@pytest.mark.rule(30, 31)
@pytest.mark.parametrize("opcode", WRITES, ids=lambda opcode: opcode.name)
async def test_write_is_maybe_applied_and_was_applied_once_when_its_reply_is_lost(
    zookeeper: Server | External, root: str, opcode: OpCode
) -> None:
    async with behind(zookeeper) as at:
        await _prepare(at, root)
        at.fault = cut(before=reply_to(opcode))
        error = await outcome(_write(at.zk, root, opcode))
        assert isinstance(error, ConnectionLossError)
        assert (error.written, error.maybe_applied) == ("in full", True)
        await at.zk.sync(root)
        assert await _written(at, root, opcode) == 1
        assert len(at.all(request(opcode))) == 1


@pytest.mark.rule(30, 31)
@pytest.mark.parametrize("opcode", WRITES, ids=lambda opcode: opcode.name)
async def test_write_is_maybe_applied_and_is_not_repeated_when_the_request_is_lost(
    zookeeper: Server | External, root: str, opcode: OpCode
) -> None:
    async with behind(zookeeper) as at:
        await _prepare(at, root)
        at.fault = cut(before=request(opcode))
        error = await outcome(_write(at.zk, root, opcode))
        assert isinstance(error, ConnectionLossError)
        assert (error.written, error.maybe_applied) == ("in full", True)
        await at.zk.sync(root)
        assert await _written(at, root, opcode) == 0


@pytest.mark.rule(30, 35)
async def test_requests_made_without_a_connection_are_applied_once_in_call_order(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        async with at.gap():
            calls = [at.zk.set_data(root, b"%d" % number, version=number) for number in range(50)]
            late = at.zk.create(f"{root}/s-", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        stats = [await call for call in reversed(calls)]
        assert [stat.version for stat in stats] == list(range(50, 0, -1))
        assert await late == f"{root}/s-0000000000"
        data, stat = await at.other.get_data(root)
        assert (data, stat.version, stat.num_children) == (b"49", 50, 1)


async def _narrow_dial(address: str, port: int, host_name: str) -> Transport:
    """A stream whose kernel buffers hold little, so that requests stay unwritten."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    await sock.connect((address, port))
    return SocketTransport(socket.socket(fileno=sock.detach()))


@pytest.mark.rule(29, 30, 31)
async def test_lost_connection_fails_what_was_written_and_keeps_what_was_not(
    zookeeper: Server | External, root: str
) -> None:
    """The server's end stops reading while the client writes: some requests left whole, one in part, the rest never."""
    ended: list[int] = []
    results: dict[int, Any] = {}
    size = 300
    async with behind(zookeeper, dial=_narrow_dial) as at:
        await at.other.ensure_path(root)
        at.tap.partition()
        calls = [
            at.zk.create(f"{root}/s-", b"%05d" % number + bytes(20_000), mode=CreateMode.PERSISTENT_SEQUENTIAL)
            for number in range(size)
        ]

        async def wait(number: int) -> None:
            results[number] = await outcome(calls[number])
            ended.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(size):
                nursery.start_soon(wait, number)
            await wait_all_tasks_blocked(0.05)  # the kernel has taken what it will
            await at.cut()
            await at.tap.heal()
        names = sorted(await at.other.get_children(root))
        found = [int((await at.other.get_data(f"{root}/{name}"))[0][:5] or 0) for name in names]  # type: ignore[index]
    lost = {number: error for number, error in results.items() if isinstance(error, ConnectionLossError)}
    assert not [error for number, error in results.items() if isinstance(error, Exception) and number not in lost]
    whole = [number for number, error in lost.items() if error.written == "in full"]
    partly = [number for number, error in lost.items() if error.written == "partly"]
    kept = [number for number in range(size) if number not in lost]
    assert sorted(lost) == list(range(len(lost))), "those written are the first"
    assert (len(whole) > 0, len(partly), len(kept) > 0) == (True, 1, True)
    assert partly == [len(whole)]
    assert not lost[partly[0]].maybe_applied
    assert set(ended[: len(lost)]) == set(lost), "they fail first, at once"
    assert [number for number in found if number in kept] == kept, "what was kept is applied once, in order"
    assert set(found) <= {*whole, *kept}
    assert len(set(found)) == len(found)


@pytest.mark.rule(34)
async def test_cancelled_request_consumes_its_reply(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        await at.other.create(root, b"data")
        release = trio.Event()
        fault = When(reply_to(OpCode.GET_CHILDREN), Delay(until=release))
        at.fault = fault
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outcome, at.zk.get_children(root))
                await fault.wait()
                scope.cancel()
        call = at.zk.get_data(root)
        release.set()
        assert (await call)[0] == b"data"
        assert at.tap.accepted == 1


@pytest.mark.rule(34, 35)
async def test_cancelled_request_that_waited_for_a_connection_is_never_sent(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        async with at.gap():
            first = at.zk.create(root, b"first")
            with trio.move_on_after(0.05) as scope:
                await at.zk.set_data(root, b"cancelled")
            assert scope.cancelled_caught
            last = at.zk.create(f"{root}/last")
        await first
        await last
        assert (await at.other.get_data(root))[0] == b"first"
        assert at.all(request(OpCode.SET_DATA)) == []


@pytest.mark.rule(35)
async def test_requests_leave_in_the_order_of_their_calls_not_of_their_awaits(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        calls = [at.zk.exists(f"{root}-{number}") for number in range(20)]
        for call in reversed(calls):
            assert await call is None
        assert [each.path for each in at.all(request(OpCode.EXISTS))] == [f"{root}-{number}" for number in range(20)]


@pytest.mark.rule(29, 38)
async def test_end_of_the_stream_wakes_every_waiter_at_once(zookeeper: Server | External, root: str) -> None:
    ended: list[int] = []
    async with behind(zookeeper, 50.0) as at:
        fault = When(request(), Delay())
        at.fault = fault
        calls = [at.zk.exists(root) for _ in range(100)]

        async def wait(number: int) -> None:
            with pytest.raises(ConnectionLossError) as caught:
                await calls[number]
            assert caught.value.written == "in full"
            ended.append(number)

        with trio.fail_after(10):  # the silence limit would be 33 s
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(wait, number)
                await fault.wait()
                await at.cut()
    assert len(ended) == 100


# --- the session


@pytest.mark.rule(6, 7)
async def test_resume_asks_for_the_users_timeout_not_for_the_clamped_one(zookeeper: Server | External) -> None:
    async with behind(zookeeper, 100.0) as at:
        assert at.zk.session_timeout == 60.0, "these servers grant that at most"
        await at.zk.exists("/")
        session_id = at.zk.session_id
        await at.cut()
        await at.zk.sync()
        first, second = (at.of(connection, SENT)[0].record for connection in (0, 1))
        assert isinstance(second, ConnectRequest)
        assert (first.time_out, second.time_out) == (100_000, 100_000)
        assert (first.session_id, second.session_id) == (0, session_id)
        assert second.last_zxid_seen > 0
        assert second.passwd == at.zk.session.password


@pytest.mark.rule(11)
async def test_nothing_follows_the_connect_request_until_it_is_answered(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, auth=[("digest", b"a:b")]) as at:
        await at.zk.create(root)
        await at.zk.get_data_and_watch(root)
        release = trio.Event()
        fault = When(frame_number(RECEIVED, 0), Delay(until=release))
        at.fault = fault
        await at.cut()
        call = at.zk.exists(root)
        await fault.wait()
        await wait_all_tasks_blocked(0.05)
        assert [each.is_handshake for each in at.of(1, SENT)] == [True]
        release.set()
        await outcome(call)


@pytest.mark.rule(12, 16)
async def test_auths_come_first_on_every_new_connection_then_watches_then_requests(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, auth=[("digest", b"first:1"), ("digest", b"second:2")]) as at:
        await at.zk.create(root)
        await at.zk.add_auth("digest", b"third:3")
        *_, watch = await at.zk.get_data_and_watch(root)
        for connection in (1, 2):
            async with at.gap():
                call = at.zk.get_children(root)
            await call
            handshake, *auths, watches, user = at.of(connection, SENT)
            assert handshake.is_handshake
            assert [each.record for each in auths] == [
                AuthPacket(0, "digest", secret) for secret in (b"first:1", b"second:2", b"third:3")
            ]
            assert isinstance(watches.record, SetWatches)
            assert user.opcode is OpCode.GET_CHILDREN
        assert {each.user for each in await at.zk.who_am_i()} >= {"first", "second", "third"}
        assert watch.event is None


@pytest.mark.rule(13)
async def test_connected_is_announced_after_the_last_auth_reply(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper, auth=[("digest", b"first:1"), ("digest", b"second:2")]) as at:
        release = trio.Event()
        fault = When(reply_to(OpCode.AUTH), Delay(until=release), skip=1)
        at.fault = fault
        await at.cut()
        await fault.wait()
        call = at.zk.exists(root)
        await wait_all_tasks_blocked(0.05)
        assert at.zk.state is DISCONNECTED
        assert at.all(request(OpCode.EXISTS)) == []
        release.set()
        assert await call is None
        assert at.zk.state is CONNECTED


@pytest.mark.rule(15)
async def test_connection_lost_during_auth_is_a_loss_and_no_auth_failure(zookeeper: Server | External) -> None:
    async with behind(zookeeper, auth=[("digest", b"a:b")]) as at:
        fault = cut(before=reply_to(OpCode.AUTH), times=3)
        at.fault = fault
        await at.cut()
        await fault.wait(3)
        await at.zk.sync()
        assert at.zk.state is CONNECTED


@pytest.mark.rule(3)
async def test_connect_response_without_the_read_only_byte_is_accepted(zookeeper: Server | External, root: str) -> None:
    def shorten(seen: SeenFrame) -> Action:
        assert len(seen.frame.payload) == 37
        return Replace(frame(seen.frame.payload[:-1]))

    fault = When(frame_number(RECEIVED, 0), shorten, times=None)
    async with behind(zookeeper, fault=fault) as at:
        session_id = at.zk.session_id
        await at.cut()
        assert await at.zk.exists(root) is None
        assert (at.zk.session_id, len(fault.hits)) == (session_id, 2)


async def _end_session(server: Server | External, session: SessionInfo) -> None:
    """Close the session from elsewhere."""
    async with zkwire.connect(server.address, session=session):
        pass


@pytest.mark.rule(8, 28)
async def test_refused_resume_fails_what_waits_and_a_new_session_follows(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        states = at.zk.states()
        old = at.zk.session
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        bound = at.zk.bound()
        async with at.gap():
            await _end_session(zookeeper, old)
            calls: list[Call[Any]] = [
                at.zk.set_data(root, b"never"),
                at.zk.create(f"{root}-never"),
                bound.exists(root),
            ]
        errors = [await outcome(call) for call in calls]
        assert [type(error) for error in errors] == [SessionExpiredError] * 3
        await at.until(CONNECTED)
        assert await at.zk.exists(root) is None
        assert await at.zk.exists(f"{root}-never") is None
        assert at.zk.session_id not in (0, old.id)
        assert [await states.__anext__() for _ in range(4)] == [CONNECTED, DISCONNECTED, EXPIRED, CONNECTED]
        with pytest.raises(SessionExpiredError):
            bound.sync()  # a bound client does not cross over
        refused = at.of(1, RECEIVED)[0].record
        assert isinstance(refused, ConnectResponse)
        assert (refused.time_out, refused.session_id, refused.passwd) == (0, 0, bytes(16))
        fresh = at.of(2, SENT)[0].record
        assert (fresh.session_id, fresh.last_zxid_seen) == (0, 0)


@pytest.mark.rule(8, 33)
async def test_refused_resume_ends_a_client_that_wants_no_new_session(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper, new_session=False) as at:
        _, watch = await at.zk.exists_and_watch(root)
        async with at.gap():
            await _end_session(zookeeper, at.zk.session)
            call = at.zk.exists(root)
        assert isinstance(await outcome(call), SessionExpiredError)
        assert [state async for state in at.zk.states()] == [EXPIRED]
        with pytest.raises(SessionExpiredError):
            at.zk.exists(root)
        assert (await watch.wait())[:2] == (EventType.NONE, EXPIRED)
        assert at.tap.accepted == 2


@pytest.mark.rule(9)
async def test_another_session_in_the_answer_to_a_resume_is_expiry(zookeeper: Server | External, root: str) -> None:
    def another(seen: SeenFrame) -> Action:
        record = seen.record
        return Replace(frame(encode(record.replace(session_id=record.session_id + 1))))

    async with behind(zookeeper) as at:
        old = at.zk.session_id
        states = at.zk.states()
        async with at.gap():
            at.fault = When(frame_number(RECEIVED, 0), another)
            call = at.zk.create(root)
        assert isinstance(await outcome(call), SessionExpiredError)
        await at.until(CONNECTED)
        assert await at.zk.exists(root) is None
        assert at.zk.session_id != old
        assert [await states.__anext__() for _ in range(4)] == [CONNECTED, DISCONNECTED, EXPIRED, CONNECTED]


@pytest.mark.rule(40)
async def test_session_expires_without_a_servers_word_while_a_host_accepts_and_never_answers(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, 1.5) as at:
        assert at.zk.session_timeout == 1.5
        old = at.zk.session_id
        _, watch = await at.zk.exists_and_watch(root)
        began = trio.current_time()
        at.tap.black_hole()
        await at.cut()
        call = at.zk.exists(root)
        with trio.fail_after(12):
            assert isinstance(await outcome(call), SessionExpiredError)
        assert trio.current_time() - began > 1.7, "4/3 of the timeout is 2 s"
        assert at.tap.accepted >= 2, "it was dialled meanwhile"
        assert (await watch.wait()).state is EXPIRED
        await at.tap.heal()
        await at.until(CONNECTED)
        assert await at.zk.exists(root) is None
        assert at.zk.session_id != old


@pytest.mark.rule(37)
async def test_silent_server_is_noticed_after_two_thirds_of_the_timeout(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, 3.0) as at:
        began = trio.current_time()
        await at.zk.sync()
        at.tap.partition()
        call = at.zk.exists(root)
        error = await outcome(call)
        assert isinstance(error, ConnectionLossError)
        assert "2/3" in error.cause
        assert 1.9 < trio.current_time() - began < 10
        await at.tap.heal()


@pytest.mark.rule(36)
async def test_idle_session_is_kept_by_pings(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper, 1.5) as at:
        session_id = at.zk.session_id
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        pings = When(reply_to(OpCode.PING), PASS, times=None)
        at.fault = pings
        await pings.wait(5)  # every 0.5 s
        assert (at.zk.session_id, at.tap.accepted) == (session_id, 1)
        assert await at.other.exists(root) is not None


@pytest.mark.rule(37, 41)
@pytest.mark.parametrize("how", ["partition", "black hole"])
async def test_next_server_is_reached_within_the_timeout_and_the_session_lives(
    zookeeper: Server | External, root: str, how: str
) -> None:
    with trio.fail_after(60):
        async with Tap(zookeeper.address) as one, Tap(zookeeper.address) as two:
            taps = [one, two]
            hosts = f"{one.address},{two.address}"
            async with zkwire.connect(hosts, 9.0, connect_timeout=20) as zk:
                session_id = zk.session_id
                await zk.create(root, mode=CreateMode.EPHEMERAL)
                used = next(tap for tap in taps if tap.accepted)
                spare = next(tap for tap in taps if tap is not used)
                lost = zk.sync()
                if how == "partition":
                    used.partition()
                else:
                    used.black_hole()
                    used.cut()
                assert isinstance(await outcome(lost), ConnectionLossError)
                noticed = trio.current_time()
                await zk.sync()
                assert (used.accepted, spare.accepted) == (1, 1), "the lost one is not tried first"
                assert trio.current_time() - noticed < 3.0
                assert zk.session_id == session_id
                assert await zk.exists(root) is not None


@pytest.mark.rule(41)
async def test_hosts_that_never_answer_are_all_tried_within_the_timeout(zookeeper: Server | External) -> None:
    with trio.fail_after(60):
        async with Tap(zookeeper.address) as one, Tap(zookeeper.address) as two, Tap(zookeeper.address) as three:
            taps = [one, two, three]
            for tap in taps:
                tap.black_hole()
            with pytest.raises(NoServerError) as caught:
                async with zkwire.connect(",".join(tap.address for tap in taps), 3.0, connect_timeout=4.5):
                    pass
            assert all(tap.accepted for tap in taps)
            assert all(tap.address in str(caught.value) for tap in taps)


@pytest.mark.rule(13, 16)
async def test_reply_to_auth_that_is_lost_at_a_reconnect_costs_one_attempt(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, 6.0, auth=[("digest", b"a:b")]) as at:
        session_id = at.zk.session_id
        at.fault = When(reply_to(OpCode.AUTH), DROP)
        await at.cut()
        began = trio.current_time()
        await at.zk.sync()
        assert at.zk.session_id == session_id
        assert at.tap.accepted == 3, "the attempt without a reply, and the next"
        assert trio.current_time() - began >= 2.0 - 0.1, "a third of the timeout, which is its share"


@pytest.mark.rule(16)
async def test_reply_to_add_auth_that_is_lost_comes_on_the_next_connection(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, 3.0) as at:
        session_id = at.zk.session_id
        at.fault = When(reply_to(OpCode.AUTH), DROP)
        await at.zk.add_auth("digest", b"a:b")
        assert (at.zk.session_id, at.tap.accepted) == (session_id, 2)
        assert "a" in {identity.user for identity in await at.zk.who_am_i()}


@pytest.mark.rule(44)
async def test_session_taken_over_comes_back_when_the_other_leaves_it(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        session = at.zk.session
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        at.tap.refuse()  # else the two would take it from each other for ever
        async with zkwire.connect(zookeeper.address, session=session) as thief:
            assert thief.session_id == session.id
            await at.until(DISCONNECTED)
            await thief.set_data(root, b"theirs")
            thief.detach()
        await at.tap.heal()
        data, stat = await at.zk.get_data(root)
        assert (data, stat.ephemeral_owner, at.zk.session_id) == (b"theirs", session.id, session.id)


@pytest.mark.rule(45)
async def test_session_lives_on_when_somebody_tries_it_with_a_wrong_password(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        session = at.zk.session
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        states = at.zk.states()
        with pytest.raises(SessionExpiredError):
            async with zkwire.connect(
                zookeeper.address, session=SessionInfo(session.id, b"wrong" + bytes(11)), new_session=False
            ):
                pass
        assert [await states.__anext__() for _ in range(3)] == [CONNECTED, DISCONNECTED, CONNECTED]
        _, stat = await at.zk.get_data(root)
        assert (stat.ephemeral_owner, at.zk.session_id) == (session.id, session.id)


@pytest.mark.rule(46)
@pytest.mark.parametrize("how", ["partition", "cut"])
async def test_leaving_the_block_ends_soon_when_close_session_gets_no_reply(
    zookeeper: Server | External, how: str
) -> None:
    async with Tap(zookeeper.address) as tap:
        began = trio.current_time()
        with trio.fail_after(30):
            async with zkwire.connect(tap.address, 20.0) as zk:
                if how == "partition":
                    tap.partition()
                else:
                    tap.fault = cut(before=request(OpCode.CLOSE_SESSION))
                began = trio.current_time()
        assert zk.state is KeeperState.CLOSED
        assert trio.current_time() - began < 6, "2 s at most, and the silence limit is 13 s"


@pytest.mark.rule(10, 54)
async def test_session_ephemerals_and_watches_outlive_a_crash_of_the_server(
    distribution: Distribution, root: str
) -> None:
    with Server(distribution) as server, trio.fail_after(90):
        async with zkwire.connect(server.address, 30.0) as zk:
            session_id = zk.session_id
            await zk.create(root, b"one", mode=CreateMode.EPHEMERAL)
            *_, watch = await zk.get_data_and_watch(root)
            states = zk.states()
            server.kill()
            assert [await states.__anext__() for _ in range(2)] == [CONNECTED, DISCONNECTED]
            call = zk.set_data(root, b"two", version=0)
            await trio.to_thread.run_sync(server.start)
            assert (await call).version == 1
            assert watch.event is not None, "the event came before the reply"
            data, stat = await zk.get_data(root)
            assert (data, stat.ephemeral_owner, zk.session_id) == (b"two", session_id, session_id)


# --- replies that are none


def _wrong_xid(seen: SeenFrame) -> Action:
    header = seen.header
    assert isinstance(header, ReplyHeader)
    return Replace(frame(encode(header.replace(xid=header.xid + 1)) + seen.frame.payload[16:]))


def _short_body(seen: SeenFrame) -> Action:
    return Replace(frame(seen.frame.payload[:-3]))


def _no_header(seen: SeenFrame) -> Action:
    return Replace(frame(seen.frame.payload[:7]))


def _negative_length(seen: SeenFrame) -> Action:
    return Replace(b"\xff\xff\xff\xff" + seen.frame.payload)


def _huge_length(seen: SeenFrame) -> Action:
    return Replace(b"\x7f\xff\xff\xff" + seen.frame.payload)


def _unasked_auth(seen: SeenFrame) -> Action:
    return Replace(frame(encode(ReplyHeader(Xid.AUTH, 0, 0))) + seen.data)


@pytest.mark.rule(2, 18)
@pytest.mark.parametrize(
    "corrupt", [_wrong_xid, _short_body, _no_header, _negative_length, _huge_length, _unasked_auth]
)
async def test_reply_that_breaks_the_protocol_costs_the_connection_and_no_more(
    zookeeper: Server | External, root: str, corrupt: Callable[[SeenFrame], Action]
) -> None:
    async with behind(zookeeper) as at:
        session_id = at.zk.session_id
        await at.zk.create(root, b"data", mode=CreateMode.EPHEMERAL)
        _, watch = await at.zk.exists_and_watch(root)
        at.fault = When(reply_to(OpCode.GET_DATA), corrupt)
        before = at.zk.exists(root)
        calls: list[Call[Any]] = [at.zk.get_data(root), at.zk.get_children(root), at.zk.sync(root)]
        assert await before is not None
        errors = [await outcome(call) for call in calls]
        assert [type(error) for error in errors] == [ConnectionLossError] * 3
        assert all("RemoteProtocolError" in error.cause for error in errors)
        assert (await at.zk.get_data(root))[0] == b"data"
        assert (at.zk.session_id, at.tap.accepted) == (session_id, 2)
        await at.zk.set_data(root, b"more")
        assert (await watch.wait()).type is EventType.NODE_DATA_CHANGED


@pytest.mark.rule(18)
async def test_dropped_reply_costs_the_connection_at_the_next_reply(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        at.fault = When(reply_to(OpCode.GET_CHILDREN), DROP)
        calls: list[Call[Any]] = [at.zk.get_children("/"), at.zk.exists(root)]
        errors = [await outcome(call) for call in calls]
        assert [type(error) for error in errors] == [ConnectionLossError] * 2
        assert await at.zk.exists(root) is None


# --- watches


@pytest.mark.rule(54, 55)
async def test_events_of_a_gap_come_once_and_before_the_reply_to_set_watches(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        for name in ("", "/changed", "/gone", "/parent", "/same"):
            await at.other.create(root + name)
        watches: dict[str, Watch] = {}
        for name in ("/changed", "/gone", "/same"):
            *_, watches[name] = await at.zk.get_data_and_watch(root + name)
        for name in ("/made", "/never"):
            *_, watches[name] = await at.zk.exists_and_watch(root + name)
        *_, watches["/parent"] = await at.zk.get_children_and_watch(f"{root}/parent")
        last_zxid = at.zk.last_zxid
        async with at.gap():
            await at.other.set_data(f"{root}/changed", b"1")
            await at.other.set_data(f"{root}/changed", b"2")
            await at.other.delete(f"{root}/gone")
            await at.other.create(f"{root}/made")
            await at.other.create(f"{root}/parent/child")
        await at.zk.sync(root)
        fired = {name: watch.event.type for name, watch in watches.items() if watch.event is not None}
        assert fired == {
            "/changed": EventType.NODE_DATA_CHANGED,
            "/gone": EventType.NODE_DELETED,
            "/made": EventType.NODE_CREATED,
            "/parent": EventType.NODE_CHILDREN_CHANGED,
        }
        (set_watches,) = at.all(request(OpCode.SET_WATCHES))
        assert set_watches.record.relative_zxid == last_zxid
        received = at.of(1, RECEIVED)
        place = next(each.index for each in received if each.opcode is OpCode.SET_WATCHES)
        assert [each.is_notification for each in received[1:place]] == [True] * 4
        assert at.all(notification())[4:] == []
        # Once: another gap brings none of them back.
        await at.cut()
        await at.zk.sync(root)
        assert sorted(at.all(request(OpCode.SET_WATCHES))[1].record.data_watches) == [f"{root}/same"]
        assert at.all(request(OpCode.SET_WATCHES))[1].record.exist_watches == (f"{root}/never",)
        assert len(at.all(notification())) == 4


@pytest.mark.rule(22, 54, 56)
async def test_watches_in_several_pieces_are_all_restored_when_cut_between_the_pieces(
    zookeeper: Server | External, root: str
) -> None:
    paths = [f"{root}-{number:03}-{'long' * 200}" for number in range(200)]
    first, last = paths[0], paths[-1]
    async with behind(zookeeper) as at:
        watches = {path: watch for path in paths for _, watch in [await at.zk.exists_and_watch(path)]}
        fault = cut(after=reply_to(OpCode.SET_WATCHES))
        async with at.gap():
            at.fault = fault
            await at.other.create(first)
            await at.other.create(last)
        await fault.wait()
        await at.settle()
        assert {path for path, watch in watches.items() if watch.event is not None} == {first, last}
        pieces = [each for each in at.of(2, SENT) if each.opcode is OpCode.SET_WATCHES]
        assert len(pieces) == 2
        assert len({each.header.xid for each in pieces if each.header is not None}) == 2
        restored = [path for each in pieces for path in each.record.exist_watches]
        assert set(paths) - {first, last} <= set(restored) <= set(paths) - {first}
        assert len(restored) == len(set(restored))
        await at.zk.create(paths[100], mode=CreateMode.EPHEMERAL)
        assert (await watches[paths[100]].wait()).type is EventType.NODE_CREATED
        await at.other.delete(first)
        await at.other.delete(last)


@pytest.mark.rule(57)
async def test_watch_that_fired_before_the_loss_is_not_restored(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        *_, data = await at.zk.get_data_and_watch(root)
        *_, children = await at.zk.get_children_and_watch(root)
        await at.zk.set_data(root, b"1")
        await data.wait()
        await at.cut()
        await at.zk.sync(root)
        (set_watches,) = at.all(request(OpCode.SET_WATCHES))
        assert set_watches.record.data_watches == ()
        assert set_watches.record.child_watches == (root,)
        assert children.event is None


@pytest.mark.rule(48, 58)
async def test_watch_whose_reply_was_lost_is_not_known(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        at.fault = cut(before=reply_to(OpCode.GET_DATA))
        assert isinstance(await outcome(at.zk.get_data_and_watch(root)), ConnectionLossError)
        await at.zk.sync(root)
        await at.zk.set_data(root, b"1")
        await at.zk.sync(root)
        assert at.all(request(OpCode.SET_WATCHES)) == []
        assert at.all(notification()) == []


@pytest.mark.rule(54, 58)
async def test_event_lost_on_the_wire_comes_after_the_gap(zookeeper: Server | External, root: str) -> None:
    """The server had used up the watch, and the client has not seen the event's zxid: so it is found again."""
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        *_, watch = await at.zk.get_data_and_watch(root)
        at.fault = cut(before=notification(root))
        await at.other.set_data(root, b"1")
        assert (await watch.wait()).type is EventType.NODE_DATA_CHANGED
        await at.zk.sync(root)
        assert [each.connection for each in at.all(notification(root))] == [0, 1]


@pytest.mark.rule(60)
async def test_path_watched_again_after_a_reconnect_gives_one_event(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        *_, first = await at.zk.get_data_and_watch(root)
        await at.cut()
        *_, second = await at.zk.get_data_and_watch(root)
        assert len(at.all(request(OpCode.SET_WATCHES))) == 1
        await at.zk.set_data(root, b"1")
        assert [(await watch.wait()).type for watch in (first, second)] == [EventType.NODE_DATA_CHANGED] * 2
        await at.zk.set_data(root, b"2")
        assert len(at.all(notification(root))) == 1


@pytest.mark.rule(64)
@pytest.mark.parametrize("mode", list(AddWatchMode), ids=lambda mode: mode.name)
async def test_persistent_watch_stands_again_with_a_resync_in_place_of_the_events_of_the_gap(
    zookeeper: Server | External, root: str, mode: AddWatchMode
) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root)
        async with at.zk.add_watch(root, mode) as events:
            await at.zk.set_data(root, b"before")
            assert (await events.__anext__()).type is EventType.NODE_DATA_CHANGED
            async with at.gap():
                await at.other.set_data(root, b"missed")
            assert (await events.__anext__()).type is EventType.RESYNC
            await at.zk.set_data(root, b"after")
            event = await events.__anext__()
            assert (event.type, event.path) == (EventType.NODE_DATA_CHANGED, root)
        (set_watches,) = at.all(request(OpCode.SET_WATCHES2))
        assert isinstance(set_watches.record, SetWatches2)
        assert len(at.all(notification(root))) == 2


@pytest.mark.rule(50, 54)
async def test_watch_has_fired_when_a_read_after_the_gap_shows_the_change(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        await at.zk.create(root, b"old")
        *_, watch = await at.zk.get_data_and_watch(root)
        async with at.gap():
            await at.other.set_data(root, b"new")
            call = at.zk.get_data(root)
        assert (await call)[0] == b"new"
        assert watch.event is not None


# --- anything at any time


class Ledger:
    """What the results of a random workload allow the server to hold."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.marks: dict[bytes, str] = {}  # sequential creates by their data: "done", "maybe", "not"
        self.nodes: dict[str, set[bool]] = {}  # by path, whether it may be there
        self.counter = Counter[str]()  # setDatas of the shared counter, by their end
        self.versions: list[int] = []
        self.values: dict[str, set[bytes]] = {}  # what each task's own znode may hold
        self.ephemerals: set[str] = set()
        self.losses = Counter[str]()

    async def write(self, awaitable: Awaitable[Any], patience: float) -> tuple[str, Any]:
        """How it ended, and its result."""
        try:
            with trio.move_on_after(patience):
                return "done", await awaitable
        except ConnectionLossError as error:
            self.losses[error.written] += 1
            return ("maybe" if error.maybe_applied else "not"), None
        return "maybe", None  # cancelled


async def _work(zk: Client, random: Random, ledger: Ledger, name: str, rounds: int) -> None:
    root = ledger.root
    own = f"{root}/own-{name}"
    made: list[str] = []
    for number in range(rounds):
        patience = random.choice([60, 60, 60, 60, 60, 60, 60, 0.003])
        mark = f"{name}.{number}".encode()
        match random.randrange(8):
            case 0:
                call = zk.create(f"{root}/seq/s-", mark, mode=CreateMode.PERSISTENT_SEQUENTIAL)
                ledger.marks[mark], _ = await ledger.write(call, patience)
            case 1:
                end, stat = await ledger.write(zk.set_data(f"{root}/counter", mark), patience)
                ledger.counter[end] += 1
                if stat is not None:
                    ledger.versions.append(stat.version)
            case 2:
                operations: list[zkwire.SetData | zkwire.Create] = [
                    zkwire.SetData(f"{root}/counter", mark),
                    zkwire.Create(f"{root}/seq/s-", mark, CreateMode.PERSISTENT_SEQUENTIAL),
                ]
                end, results = await ledger.write(zk.multi(operations), patience)
                ledger.marks[mark] = end
                ledger.counter[end] += 1
                if results is not None:
                    ledger.versions.append(results[0].version)
            case 3:
                path = f"{root}/nodes/{name}-{number}"
                end, _ = await ledger.write(zk.create(path, mode=CreateMode.EPHEMERAL), patience)
                ledger.nodes[path] = {"done": {True}, "maybe": {True, False}, "not": {False}}[end]
                if end == "done":
                    made.append(path)
                    ledger.ephemerals.add(path)
            case 4 if made:
                path = made.pop(random.randrange(len(made)))
                end, _ = await ledger.write(zk.delete(path), patience)
                ledger.nodes[path] = {"done": {False}, "maybe": {True, False}, "not": {True}}[end]
            case 5:
                # Two at once, awaited the other way round: the later one is the later one all the same.
                first, second = zk.set_data(own, mark + b"a"), zk.set_data(own, mark + b"b")
                ends = [(await ledger.write(call, 60))[0] for call in (second, first)]
                for end, value in ((ends[1], mark + b"a"), (ends[0], mark + b"b")):
                    if end == "done":
                        ledger.values[own] = {value}
                    elif end == "maybe":
                        ledger.values[own] |= {value}
            case 6:
                end, result = await ledger.write(zk.get_data(own), patience)
                if result is not None:
                    assert result[0] in ledger.values[own]
                    ledger.values[own] = {result[0]}
            case _:
                end, result = await ledger.write(zk.get_data_and_watch(f"{root}/stirred"), patience)
                if result is not None and random.random() < 0.5:
                    assert (await result[2].wait()).type is EventType.NODE_DATA_CHANGED


async def _random_run(server: Server | External, root: str, seed: int, sides: Sequence[Side]) -> Ledger:
    random = Random(seed)
    ledger = Ledger(root)

    def fault(seen: SeenFrame) -> Action:
        if seen.opcode is OpCode.CLOSE_SESSION or random.random() > 0.04:
            return PASS
        return Cut(random.randrange(len(seen.data) + 1), random.choice(sides), random.random() < 0.5)

    async with behind(server, 20.0) as at:
        session_id = at.zk.session_id
        for name in ("", "/seq", "/nodes", "/counter", "/stirred"):
            await at.other.create(root + name)
        names = [str(task) for task in range(4)]
        for name in names:
            await at.other.create(f"{root}/own-{name}", b"")
            ledger.values[f"{root}/own-{name}"] = {b""}
        at.fault = fault

        async def stir() -> None:
            """Fires the watches that tasks wait for."""
            while True:
                await trio.sleep(0.02)
                await at.other.set_data(f"{root}/stirred", b"")

        async with trio.open_nursery() as stirring:
            stirring.start_soon(stir)
            async with trio.open_nursery() as tasks:
                for name in names:
                    tasks.start_soon(_work, at.zk, Random(f"{seed} {name}"), ledger, name, 40)
            stirring.cancel_scope.cancel()
        at.fault = None
        await at.settle()  # the last cut may not have been noticed yet
        assert at.zk.session_id == session_id
        await _compare(at.other, ledger, session_id)
        assert at.tap.accepted > 3, "nothing was cut"
    return ledger


async def _compare(zk: Client, ledger: Ledger, session_id: int) -> None:
    root = ledger.root
    names = await zk.get_children(f"{root}/seq")
    found = Counter([(await zk.get_data(f"{root}/seq/{name}"))[0] for name in names])
    assert max(found.values(), default=0) <= 1, "a write happened twice"
    for mark, end in ledger.marks.items():
        assert found[mark] in {"done": [1], "maybe": [0, 1], "not": [0]}[end], (mark, end)
    _, stat = await zk.get_data(f"{root}/counter")
    done = ledger.counter["done"]
    assert done <= stat.version <= done + ledger.counter["maybe"]
    assert len(set(ledger.versions)) == len(ledger.versions), "one version for two writes"
    there = {f"{root}/nodes/{name}" for name in await zk.get_children(f"{root}/nodes")}
    for path, allowed in ledger.nodes.items():
        assert (path in there) in allowed, path
    for path in there:
        assert (await zk.get_data(path))[1].ephemeral_owner == session_id
    for path, values in ledger.values.items():
        assert (await zk.get_data(path))[0] in values


@pytest.mark.rule(10, 29, 30, 31, 34, 35, 54)
@pytest.mark.parametrize("sides", [[Side.BOTH], [Side.BOTH, Side.CLIENT]], ids=["both sides", "one side too"])
@pytest.mark.parametrize("seed", range(3))
async def test_tree_holds_what_the_results_allow_after_cuts_at_random_frames(
    zookeeper: Server | External, root: str, seed: int, sides: Sequence[Side]
) -> None:
    ledger = await _random_run(zookeeper, root, seed, sides)
    assert ledger.losses["in full"] > 0
    assert "done" in ledger.marks.values()
