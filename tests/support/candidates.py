"""What the tests of elections share: candidates behind a tap, and what the server says about them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

import zkwire
from election import Election, LeadershipLostError, Term
from tests.support.behind import SENT, Behind
from tests.support.live import PATIENCE
from tests.support.real.servers import Server
from zkwire import Client, Direction, OpCode, SessionInfo
from zkwire.tap.tap import Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import Match

GUID = "9d5b1f0c-3a7e-4d21-9f6b-0a1c2d3e4f50"


class Candidate(Behind):
    """An election on a client of its own behind a tap."""

    def __init__(self, tap: Tap, zk: Client, nursery: trio.Nursery, path: str, **options: Any) -> None:
        super().__init__(tap, zk)
        self.election = Election(zk, path, **options)
        self.seen = self.election.states()
        self.states: list[str] = []
        self._nursery = nursery

    async def until(self, state: str) -> None:
        """Wait for the next time that the election enters the state, after the one that the last `until` waited for."""
        with trio.fail_after(PATIENCE):
            async for each in self.seen:
                self.states.append(each)
                if each == state:
                    return

    def lead(self) -> Leading:
        """Start a task that leads once."""
        task = Leading(self)
        self._nursery.start_soon(task.run)
        return task


@asynccontextmanager
async def candidate(
    server: Server, path: str, *, timeout: float = 10.0, client: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Candidate]:
    """A candidate. `client`: options of `connect`; all others are options of `Election`. The block may take a minute.
    Tasks that `lead` started are cancelled at its end."""
    with trio.fail_after(60):
        async with (
            Tap(server.address) as tap,
            zkwire.connect(tap.address, timeout, connect_timeout=PATIENCE, **client or {}) as zk,
            trio.open_nursery() as nursery,
        ):
            yield Candidate(tap, zk, nursery, path, **options)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def candidates(server: Server, path: str, count: int, **options: Any) -> AsyncIterator[list[Candidate]]:
    """`count` candidates with the same options."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(candidate(server, path, **options)) for _ in range(count)]


async def in_turn(everybody: Iterable[Candidate]) -> list[Leading]:
    """Let the candidates enter one after another: the first leads, the others wait."""
    tasks: list[Leading] = []
    for who in everybody:
        tasks.append(who.lead())
        await who.until("waiting" if len(tasks) > 1 else "leading")
    return tasks


class Leading:
    """A task that leads once, until it is told to finish, or cancelled."""

    def __init__(self, who: Candidate) -> None:
        self.who = who
        self.began = trio.Event()
        self.finish = trio.Event()
        self.over = trio.Event()
        self.term: Term | None = None
        self.lost: LeadershipLostError | None = None
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        try:
            with self._scope:
                async with self.who.election.lead() as self.term:
                    self.began.set()
                    await self.finish.wait()
        except LeadershipLostError as error:
            self.lost = error
        finally:
            self.over.set()

    async def wait(self) -> Term:
        """Wait until the term begins. Returns it."""
        with trio.fail_after(PATIENCE):
            await self.began.wait()
        assert self.term is not None
        return self.term

    async def end(self) -> None:
        """End the block, and wait until its znodes are deleted."""
        self.finish.set()
        with trio.fail_after(PATIENCE):
            await self.over.wait()

    def cancel(self) -> None:
        """Cancel the block, or the wait for it."""
        self._scope.cancel()


async def any_of(tasks: Sequence[Leading]) -> Leading:
    """Wait until the term of one of them begins. Returns that one."""

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
    """A client that is connected to the server directly."""
    async with zkwire.connect(server.address, connect_timeout=PATIENCE) as zk:
        yield zk


async def end_session(server: Server, session: SessionInfo) -> None:
    """Close a session from another connection."""
    async with zkwire.connect(server.address, session=session, new_session=False, connect_timeout=PATIENCE):
        pass


async def alone(server: Server) -> None:
    """Wait until the connections of earlier tests are closed, and all their watches removed."""
    with trio.fail_after(PATIENCE):
        while await _figure(server, "zk_num_alive_connections") > 1:  # noqa: ASYNC110 - only the server can tell
            await trio.sleep(0.02)  # this question takes a connection too
    assert await watch_count(server) == 0


async def watch_count(server: Server) -> int:
    """How many watches the server has, of all kinds and all sessions."""
    return await _figure(server, "zk_watch_count")


async def _figure(server: Server, name: str) -> int:
    text = await trio.to_thread.run_sync(server.four_letter, "mntr")
    found = re.search(rf"^{name}\s+(\d+)", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


async def watches(server: Server, session_id: int) -> list[str]:
    """The paths that a session watches. The server's own list, which leaves out watches of children."""
    text = await trio.to_thread.run_sync(server.four_letter, "wchc")
    found = []
    for block in re.split(r"^0x", text, flags=re.MULTILINE)[1:]:
        first, *paths = block.splitlines()
        if int(first, 16) == session_id % 2**64:
            found += [path.strip() for path in paths if path.strip()]
    return sorted(found)


async def children(zk: Client, path: str) -> list[str]:
    """The names of the children, in the order of their numbers."""
    await zk.sync(path)
    return sorted(await zk.get_children(path), key=lambda name: name[-10:])


def guid_of(node: str) -> str:
    """The GUID in the name of a candidate's znode (native dialect)."""
    found = re.search(r"_c_([0-9a-f-]{36})-lock-", node)
    assert found is not None, node
    return found[1]


def below(path: str, opcode: OpCode, *, direction: Direction = SENT) -> Match:
    """Matches requests with this opcode for any znode below the path, or the replies to them."""

    def match(seen: SeenFrame) -> bool:
        asked = seen if direction is SENT else seen.request
        return (
            seen.direction is direction
            and asked is not None
            and seen.opcode is opcode
            and (asked.path or "").startswith(path + "/")
        )

    return match
