"""What a server does, as scripts that run against a real server and against the fake one.

A script gets `connect`, which makes a client of the server, and a path of its own. It returns what it observed, without
the values that differ from run to run (zxids, ids, times).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from zkwire import (
    Check,
    Client,
    Create,
    CreateMode,
    Delete,
    Direction,
    Frame,
    KeeperState,
    OpCode,
    SessionExpiredError,
    SessionInfo,
    SetData,
    Stat,
    Xid,
    ZooKeeperError,
)
from zkwire.jute import decode_at
from zkwire.records import ReplyHeader, WatcherEvent

Connect = Callable[..., Client]
Script = Callable[[Connect, str], Awaitable[list[Any]]]

#: Session timeout in seconds. The servers' ticks are half a second.
TIMEOUT = 2.0
TICK = 0.5


class Received:
    """For `on_frame`: what was received, in order, without handshakes and pings."""

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def __call__(self, frame: Frame) -> None:
        if frame.direction is not Direction.RECEIVED or ReplyHeader not in frame.types:
            return
        header, end = decode_at(ReplyHeader, frame.payload, 0, len(frame.payload))
        if header.xid == Xid.NOTIFICATION:
            event, _ = decode_at(WatcherEvent, frame.payload, end, len(frame.payload))
            self.frames.append(("event", event.type, event.path))
        elif frame.opcode is not OpCode.PING and frame.opcode is not None:
            self.frames.append((OpCode(frame.opcode).name, header.err))


def essence(stat: Stat, session_id: int) -> tuple[Any, ...]:
    """The fields of a Stat that do not differ from run to run."""
    owner = "own" if stat.ephemeral_owner == session_id else "none" if not stat.ephemeral_owner else "other"
    same = stat.czxid == stat.mzxid, stat.czxid == stat.pzxid
    return stat.version, stat.cversion, owner, stat.data_length, stat.num_children, *same


async def outcome(call: Awaitable[Any]) -> Any:
    """The result, or the name of the error."""
    try:
        return await call
    except ZooKeeperError as error:
        return type(error).__name__


async def state_of(zk: Client, *wanted: KeeperState) -> str:
    states = zk.states()
    async for state in states:
        if state in wanted:
            break
    await states.aclose()
    return zk.state.name


async def znodes(connect: Connect, root: str) -> list[Any]:
    async with connect() as zk:

        async def look(path: str) -> Any:
            stat = await zk.exists(path)
            return None if stat is None else essence(stat, zk.session_id)

        seen: list[Any] = [
            await outcome(zk.create(f"{root}/a")),
            await outcome(zk.create(root, b"data")),
            await outcome(zk.create(root)),
            await outcome(zk.create(f"{root}/p-", mode=CreateMode.PERSISTENT_SEQUENTIAL)),
            await outcome(zk.create(f"{root}/plain")),
            await outcome(zk.create(f"{root}/plain")),
            await outcome(zk.create(f"{root}/e-", b"12", mode=CreateMode.EPHEMERAL_SEQUENTIAL)),
            await outcome(zk.create(f"{root}/e-0000000002/child")),
            await look(root),
            await look(f"{root}/e-0000000002"),
            await outcome(zk.delete(root)),
            await outcome(zk.delete(f"{root}/plain", version=1)),
            await outcome(zk.delete(f"{root}/plain")),
            await outcome(zk.delete(f"{root}/plain")),
            await look(f"{root}/plain"),
            await outcome(zk.set_data(f"{root}/plain", b"")),
            await outcome(zk.set_data(root, b"x", version=3)),
            essence(await zk.set_data(root, b"longer", version=0), zk.session_id),
            sorted(await zk.get_children(root)),
            await outcome(zk.create(f"{root}/s-", mode=CreateMode.EPHEMERAL_SEQUENTIAL)),
            await look(root),
            (await zk.get_data(root))[0],
            sorted(await zk.get_ephemerals(root)),
            await zk.sync(root),
        ]
        path, stat = await zk.create2(f"{root}/two", None)
        seen += [path, essence(stat, zk.session_id)]
    return seen


async def multis(connect: Connect, root: str) -> list[Any]:
    seen: list[Any] = []
    async with connect() as zk:
        await zk.create(root)

        async def do(*operations: Any) -> None:
            try:
                results = await zk.multi(operations)
                seen.append([essence(each, 0) if isinstance(each, Stat) else each for each in results])
            except ZooKeeperError as error:
                becomes = [type(each).__name__ for each in error.results or []]
                seen.append((type(error).__name__, error.index, error.path, becomes))

        sequential = CreateMode.PERSISTENT_SEQUENTIAL
        await do(Create(f"{root}/a", b"1"), Create(f"{root}/a/b"), SetData(f"{root}/a", b"22", version=0))
        await do(Create(f"{root}/s-", mode=sequential), Create(f"{root}/s-", mode=sequential))
        await do(Check(f"{root}/a", 1), Delete(f"{root}/a/b"), Create(f"{root}/c"))
        await do(Create(f"{root}/d"), Check(f"{root}/a", 7), Delete(f"{root}/c"))
        await do(Create(f"{root}/d"), Check(f"{root}/none"))
        await do(Create(f"{root}/d"), Delete(root))
        await do(Create(f"{root}/d"), Create(f"{root}/d"))
        await do(Create(f"{root}/s-", mode=sequential), Delete(f"{root}/a", version=0))
        await do(Create(f"{root}/s-", mode=sequential))
        await do(Create(f"{root}/e", mode=CreateMode.EPHEMERAL), Create(f"{root}/e/f"))
        await do()
        stat = await zk.exists(root)
        assert stat is not None
        seen += [sorted(await zk.get_children(root)), essence(stat, zk.session_id)]
    return seen


async def watches(connect: Connect, root: str) -> list[Any]:
    received = Received()
    async with connect(on_frame=received) as zk:
        await zk.create(root)
        await zk.get_data_and_watch(root)
        await zk.get_children_and_watch(root)
        await zk.exists_and_watch(f"{root}/a")
        await outcome(zk.get_data_and_watch(f"{root}/a"))  # leaves no watch
        await outcome(zk.get_children_and_watch(f"{root}/b"))
        await zk.create(f"{root}/b")
        await zk.get_children_and_watch(root)
        await zk.create(f"{root}/a")
        await zk.set_data(f"{root}/a", b"")  # the watch is gone
        await zk.get_data_and_watch(f"{root}/a")
        await zk.get_children_and_watch(f"{root}/a")
        await zk.get_children_and_watch(root)
        await zk.set_data(root, b"")
        await zk.multi([Create(f"{root}/c"), SetData(f"{root}/a", b""), Delete(f"{root}/a")])
        _, _, watch = await zk.get_data_and_watch(f"{root}/b")
        watch.disarm()
        await zk.delete(f"{root}/b")
        await outcome(zk.multi([Delete(f"{root}/c"), Delete(f"{root}/none")]))
    return received.frames


async def watches_over_a_gap(connect: Connect, root: str) -> list[Any]:
    seen: list[Any] = []
    async with connect() as other, connect() as zk:
        for name in ("", "/changed", "/deleted", "/same", "/again"):
            await other.create(root + name)
        await zk.sync()
        found = {
            "changed": (await zk.get_data_and_watch(f"{root}/changed"))[2],
            "deleted": (await zk.get_data_and_watch(f"{root}/deleted"))[2],
            "again": (await zk.get_data_and_watch(f"{root}/again"))[2],
            "created": (await zk.exists_and_watch(f"{root}/created"))[1],
            "children": (await zk.get_children_and_watch(root))[1],
            "same": (await zk.get_data_and_watch(f"{root}/same"))[2],
        }
        changes: list[Awaitable[Any]] = [
            other.set_data(f"{root}/changed", b""),
            other.delete(f"{root}/deleted"),
            other.delete(f"{root}/again"),
            other.create(f"{root}/again"),
            other.create(f"{root}/created"),
        ]
        states = zk.states()
        assert zk._link is not None
        zk._link.give_up("the script breaks it")
        async for state in states:
            if state is KeeperState.DISCONNECTED:
                break
        await states.aclose()
        for change in changes:
            await change
        await state_of(zk, KeeperState.SYNC_CONNECTED)
        await zk.sync()
        for name, watch in found.items():
            if name == "same":
                assert watch.event is None
                await other.set_data(f"{root}/same", b"")
            event = await watch.wait()
            # A deletion may be seen before the creation after it, or both as one change.
            seen.append((name, name == "again" or event.type, event.path))
    return seen


async def sessions(connect: Connect, root: str) -> list[Any]:
    seen: list[Any] = []
    async with connect() as other:
        await other.create(root)
        async with connect() as zk:
            await zk.create(f"{root}/closed", mode=CreateMode.EPHEMERAL)
            gone = zk.session
        seen.append(sorted(await other.get_children(root)))
        with_id = connect(session=gone, new_session=False)
        try:
            async with with_id:
                seen.append("a closed session lives")
        except SessionExpiredError:
            seen.append("a closed session is expired")
        async with connect(new_session=False) as zk:
            await zk.create(f"{root}/kept", mode=CreateMode.EPHEMERAL)
            kept = zk.session
            zk.detach()
        seen.append(await other.get_children(root))
        try:
            async with connect(session=SessionInfo(kept.id, bytes(16)), new_session=False):
                seen.append("any password will do")
        except SessionExpiredError:
            seen.append("a wrong password is refused")
        received = Received()
        async with connect(session=kept, new_session=False, on_frame=received) as zk:
            seen.append(zk.session_id == kept.id)
            seen.append(await zk.get_ephemerals())
            async with connect(session=kept, new_session=False):
                await state_of(zk, KeeperState.DISCONNECTED)  # on one server the newer connection ends the older
                zk.detach()
            seen.append(received.frames)
        seen.append(await other.get_children(root))
    return seen


async def close_from_outside(connect: Connect, root: str) -> list[Any]:
    seen: list[Any] = []
    async with connect() as other, connect(new_session=False) as zk:
        await zk.create(root, mode=CreateMode.EPHEMERAL)
        await other.sync()
        stat, watch = await other.exists_and_watch(root)
        assert stat is not None
        async with connect(session=zk.session, new_session=False):
            pass
        event = await watch.wait()
        seen += [event.type, await state_of(zk, KeeperState.EXPIRED), await other.exists(root)]
    return seen


async def expiry(connect: Connect, root: str) -> list[Any]:
    """A session lasts at least as long as its timeout. The server sends nothing at its end."""
    seen: list[Any] = []
    async with connect() as other:
        received = Received()
        async with connect(on_frame=received) as zk:
            await zk.create(root, mode=CreateMode.EPHEMERAL)
            last = trio.current_time()
            zk.detach()
        stat, watch = await other.exists_and_watch(root)
        assert stat is not None
        event = await watch.wait()
        lived = trio.current_time() - last
        # A loaded machine is late, never early. We count from a reply, so from a round trip after the request.
        seen += [event.type, lived > TIMEOUT - 0.1, received.frames]
    return seen


SCRIPTS: dict[str, Script] = {
    script.__name__: script
    for script in (znodes, multis, watches, watches_over_a_gap, sessions, close_from_outside, expiry)
}
