"""What the tests of elections share: contenders behind a tap, and what the server knows of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

import zkwire
from election import Election, LeadershipLostError, Term
from tests.support.real.servers import Server
from zkwire import Client, CreateMode, Direction, KeeperState, OpCode, SessionInfo
from zkwire.tap.tap import Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import PASS, Action, Fault, Match

#: Seconds until a test gives up waiting for what must come.
PATIENCE = 20.0
GUID = "9d5b1f0c-3a7e-4d21-9f6b-0a1c2d3e4f50"
SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
EPHEMERAL = CreateMode.EPHEMERAL


class Contender:
    """An election on a client of its own, behind a tap, and every frame that passed it.

    Attributes:
        fault: what the tap does.
        terms: how many have begun; `term` is the last.
    """

    def __init__(self, tap: Tap, zk: Client, path: str, **options: Any) -> None:
        self.tap = tap
        self.zk = zk
        self.frames: list[SeenFrame] = []
        self.fault: Fault | None = None
        self.election = Election(zk, path, **options)
        self.path = path
        self.seen = self.election.states()
        self.states: list[str] = []
        tap.fault = self._see

    def _see(self, seen: SeenFrame) -> Action:
        self.frames.append(seen)
        return PASS if self.fault is None else self.fault(seen)

    async def until(self, state: str) -> None:
        """Wait until the election is in the state, from where the last `until` found its own."""
        with trio.fail_after(PATIENCE):
            async for each in self.seen:
                self.states.append(each)
                if each == state:
                    return

    async def connected(self) -> None:
        with trio.fail_after(PATIENCE):
            async for state in self.zk.states():
                if state is KeeperState.SYNC_CONNECTED:
                    return

    async def cut(self) -> None:
        """Cut the connection; no server is to be found until `tap.heal()`."""
        self.tap.refuse()
        self.tap.cut()
        with trio.fail_after(PATIENCE):
            async for state in self.zk.states():
                if state is KeeperState.DISCONNECTED:
                    return

    def all(self, match: Match, since: int = 0) -> list[SeenFrame]:
        """The frames that match, of those behind the first `since`."""
        return [each for each in self.frames[since:] if match(each)]

    def requests(self, since: int = 0) -> list[OpCode | int | None]:
        """The opcodes of the requests behind the first `since` frames, without pings and handshakes."""
        sent = [each for each in self.frames[since:] if each.direction is SENT and not each.is_handshake]
        return [each.opcode for each in sent if each.opcode is not OpCode.PING]

    def events(self, since: int = 0) -> list[SeenFrame]:
        return [each for each in self.frames[since:] if each.is_notification]


@asynccontextmanager
async def contender(
    server: Server, path: str, *, timeout: float = 10.0, client: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Contender]:
    """One that may contend: `client` are options of connect, the others of Election. The block has a minute."""
    with trio.fail_after(60):
        async with (
            Tap(server.address) as tap,
            zkwire.connect(tap.address, timeout, connect_timeout=PATIENCE, **client or {}) as zk,
        ):
            yield Contender(tap, zk, path, **options)


class Leading:
    """A task that leads once, until it is told to finish."""

    def __init__(self, who: Contender) -> None:
        self.who = who
        self.began = trio.Event()
        self.finish = trio.Event()
        self.over = trio.Event()
        self.term: Term | None = None
        self.lost: LeadershipLostError | None = None

    async def run(self) -> None:
        try:
            async with self.who.election.lead() as self.term:
                self.began.set()
                await self.finish.wait()
        except LeadershipLostError as error:
            self.lost = error
        finally:
            self.over.set()

    async def wait(self) -> Term:
        """The term, when it has begun."""
        with trio.fail_after(PATIENCE):
            await self.began.wait()
        assert self.term is not None
        return self.term

    async def end(self) -> None:
        """Finish, and return when the znodes are gone."""
        self.finish.set()
        with trio.fail_after(PATIENCE):
            await self.over.wait()


def leading(nursery: trio.Nursery, who: Contender) -> Leading:
    """Let it lead in the background."""
    task = Leading(who)
    nursery.start_soon(task.run)
    return task


async def any_of(tasks: Sequence[Leading]) -> Leading:
    """The first of them whose term has begun."""

    async def watch(task: Leading) -> None:
        await task.began.wait()
        nursery.cancel_scope.cancel()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(watch, task)
    (begun,) = [task for task in tasks if task.began.is_set()]
    return begun


@asynccontextmanager
async def administrator(server: Server) -> AsyncIterator[Client]:
    """A client straight on the server."""
    async with zkwire.connect(server.address, connect_timeout=PATIENCE) as zk:
        yield zk


async def end_session(server: Server, session: SessionInfo) -> None:
    """Close a session from elsewhere."""
    async with zkwire.connect(server.address, session=session, new_session=False, connect_timeout=PATIENCE):
        pass


async def alone(server: Server) -> None:
    """Wait until the server has seen the clients of earlier tests go, and holds no watches of theirs."""
    with trio.fail_after(PATIENCE):
        while await _figure(server, "zk_num_alive_connections") > 1:  # noqa: ASYNC110 - only the server can tell
            await trio.sleep(0.02)  # one is that of the question
    assert await watch_count(server) == 0


async def watch_count(server: Server) -> int:
    """How many watches of any kind the server holds for anybody."""
    return await _figure(server, "zk_watch_count")


async def _figure(server: Server, name: str) -> int:
    text = await trio.to_thread.run_sync(server.four_letter, "mntr")
    found = re.search(rf"^{name}\s+(\d+)", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


async def watches(server: Server, session_id: int) -> list[str]:
    """The paths that a session watches, by the server's own table, which leaves out watches of children."""
    text = await trio.to_thread.run_sync(server.four_letter, "wchc")
    found = []
    for block in re.split(r"^0x", text, flags=re.MULTILINE)[1:]:
        first, *paths = block.splitlines()
        if int(first, 16) == session_id % 2**64:
            found += [path.strip() for path in paths if path.strip()]
    return sorted(found)


async def children(zk: Client, path: str) -> list[str]:
    """In the order of their numbers."""
    await zk.sync(path)
    return sorted(await zk.get_children(path), key=lambda name: name[-10:])


def guid_of(node: str) -> str:
    """The GUID in the name of a contender of the native dialect."""
    found = re.search(r"_c_([0-9a-f-]{36})-lock-", node)
    assert found is not None, node
    return found[1]


def below(path: str, opcode: OpCode, *, direction: Direction = SENT) -> Match:
    """Matches requests of an opcode for anything below the path, or the replies to them."""

    def match(seen: SeenFrame) -> bool:
        asked = seen if direction is SENT else seen.request
        return (
            seen.direction is direction
            and asked is not None
            and seen.opcode is opcode
            and (asked.path or "").startswith(path + "/")
        )

    return match
