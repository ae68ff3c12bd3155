"""Whole trees on real servers: pipelined, bounded, and in spite of what others do meanwhile."""

from __future__ import annotations

import io
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.conftest import External
from tests.support.live import PATIENCE, client
from tests.support.real.servers import Server
from zkwire import ACL, OPEN_ACL_UNSAFE, Client, Id, NoAuthError, NoNodeError, NotEmptyError, OpCode, Perms
from zkwire.cli.common import Progress
from zkwire.cli.tree import ROUNDS, WINDOW, delete_all, pre_order, walk
from zkwire.frames import Direction
from zkwire.tap.tap import Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import PASS, Delay


async def plant(zk: Client, root: str, width: int, depth: int = 1) -> list[str]:
    """A tree of `width` children in each of `depth` levels; its paths, parents first."""
    made, level = [root], [root]
    for _ in range(depth):
        level = [f"{parent}/n{place}" for parent in level for place in range(width)]
        made += level
    for call in [zk.create(path) for path in made]:
        await call
    return made


async def test_walk_and_delete_a_large_tree_with_a_bounded_pipeline(zookeeper: Server | External, root: str) -> None:
    most = {OpCode.GET_CHILDREN: 0, OpCode.DELETE: 0}
    on_their_way = deletes = 0

    def count(seen: SeenFrame) -> Any:
        nonlocal on_their_way, deletes
        if seen.direction is Direction.SENT:
            on_their_way += 1
            deletes += seen.opcode == OpCode.DELETE
        elif seen.request is not None:
            on_their_way -= 1
        if seen.opcode in most:
            most[OpCode(seen.opcode)] = max(most[OpCode(seen.opcode)], on_their_way)
        return PASS

    async with Tap(zookeeper.address) as tap, client(tap) as zk:
        made = await plant(zk, root, width=38, depth=2)
        assert len(made) == 1483
        tap.fault = count
        tree = await walk(zk, root, {})
        assert sorted(tree) == sorted(made)
        assert pre_order(tree, root) == sorted(made, key=lambda path: path.split("/"))
        assert await delete_all(zk, root) == len(made)
        tap.fault = None
        assert await zk.exists(root) is None
    assert deletes == len(made)  # children first: none is refused, and none asked for twice
    for largest in most.values():
        assert 1 < largest <= WINDOW + 1  # a ping may be among them


class Held:
    """A fault that holds the first request of a kind until something else was done."""

    def __init__(self, opcode: OpCode, path: str) -> None:
        self.opcode, self.path = opcode, path
        self.came, self.go_on = trio.Event(), trio.Event()

    def __call__(self, seen: SeenFrame) -> Any:
        wanted = seen.direction is Direction.SENT and (seen.opcode, seen.path) == (self.opcode, self.path)
        if wanted and not self.came.is_set():
            self.came.set()
            return Delay(until=self.go_on)
        return PASS


async def meanwhile(
    zookeeper: Server | External,
    held: Held,
    work: Callable[[Client], Awaitable[Any]],
    disturb: Callable[[Client], Awaitable[Any]],
) -> Any:
    """The result of `work`, with `disturb` done while it is held."""
    result: Any = None
    with trio.fail_after(3 * PATIENCE):
        async with Tap(zookeeper.address) as tap, client(zookeeper) as other, client(tap) as zk:
            tap.fault = held

            async def working() -> None:
                nonlocal result
                result = await work(zk)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(working)
                await held.came.wait()
                await disturb(other)
                held.go_on.set()
    return result


async def test_walk_leaves_out_what_goes_meanwhile(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await plant(zk, root, width=3)
    held = Held(OpCode.GET_CHILDREN, f"{root}/n1")
    tree = await meanwhile(zookeeper, held, lambda zk: walk(zk, root, {}), lambda other: other.delete(f"{root}/n1"))
    assert sorted(tree) == [root, f"{root}/n0", f"{root}/n2"]
    assert pre_order(tree, root) == sorted(tree)


async def test_delete_takes_what_appears_meanwhile_too(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await plant(zk, root, width=2)
    held = Held(OpCode.DELETE, f"{root}/n1")
    deleted = await meanwhile(
        zookeeper, held, lambda zk: delete_all(zk, root), lambda other: other.create(f"{root}/n1/late")
    )
    assert deleted == 4
    async with client(zookeeper) as zk:
        assert await zk.exists(root) is None


async def test_delete_does_not_mind_what_others_delete(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await plant(zk, root, width=2)
    held = Held(OpCode.DELETE, f"{root}/n1")
    deleted = await meanwhile(
        zookeeper, held, lambda zk: delete_all(zk, root), lambda other: other.delete(f"{root}/n1")
    )
    assert deleted == 2


async def test_delete_ends_when_others_delete_the_rest(zookeeper: Server | External, root: str) -> None:
    """A child appears, so the tree is looked through again; by then somebody else has deleted all of it."""
    async with client(zookeeper) as zk:
        await plant(zk, root, width=0)

    async with Tap(zookeeper.address) as tap, client(zookeeper) as other, client(tap) as zk:
        creating, deleting = Held(OpCode.DELETE, root), Held(OpCode.GET_CHILDREN, root)
        tap.fault = creating
        with trio.fail_after(3 * PATIENCE):
            async with trio.open_nursery() as nursery:

                async def work() -> None:
                    assert await delete_all(zk, root) == 0

                nursery.start_soon(work)
                await creating.came.wait()
                await other.create(f"{root}/late")
                tap.fault = deleting
                creating.go_on.set()
                await deleting.came.wait()
                await other.delete(f"{root}/late")
                await other.delete(root)
                deleting.go_on.set()


async def test_delete_gives_up_when_others_create_faster(zookeeper: Server | External, root: str) -> None:
    """At each delete of the root there is a new child."""
    async with client(zookeeper) as zk:
        await zk.create(root)
    rounds = 0

    async with Tap(zookeeper.address) as tap, client(zookeeper) as other, client(tap) as zk:
        wanted, made = trio.Semaphore(0), trio.Event()

        def hold(seen: SeenFrame) -> Any:
            nonlocal made
            if seen.direction is Direction.SENT and (seen.opcode, seen.path) == (OpCode.DELETE, root):
                made = trio.Event()
                wanted.release()
                return Delay(until=made)
            return PASS

        async def create() -> None:
            nonlocal rounds
            while True:
                await wanted.acquire()
                rounds += 1
                await other.create(f"{root}/late-{rounds}")
                made.set()

        tap.fault = hold
        with trio.fail_after(3 * PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(create)
                with pytest.raises(NotEmptyError):
                    await delete_all(zk, root)
                nursery.cancel_scope.cancel()
    assert rounds == ROUNDS


async def test_missing_root_is_no_node(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(NoNodeError):
            await walk(zk, root, {})
        with pytest.raises(NoNodeError):
            await delete_all(zk, root)


# --- znodes that must not be read

CLOSED = [ACL(Perms.DELETE, Id("world", "anyone"))]


async def test_unreadable_znodes_stand_in_the_tree_without_children(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await plant(zk, root, width=2)
        await zk.set_acl(f"{root}/n0", CLOSED)
        unreadable: dict[str, NoAuthError] = {}
        assert await walk(zk, root, unreadable) == {root: ["n0", "n1"], f"{root}/n0": [], f"{root}/n1": []}
        assert list(unreadable) == [f"{root}/n0"]
        assert await delete_all(zk, root) == 3


async def test_unreadable_parent_is_what_delete_fails_with(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await plant(zk, root, width=2, depth=2)
        await zk.set_acl(f"{root}/n0", [ACL(Perms.DELETE | Perms.ADMIN, Id("world", "anyone"))])
        with pytest.raises(NoAuthError, match=f"getChildren {root}/n0$"):
            await delete_all(zk, root)
        assert await zk.exists(f"{root}/n1") is None  # and all else is gone
        await zk.set_acl(f"{root}/n0", OPEN_ACL_UNSAFE)
        assert await delete_all(zk, root) == 4


# --- progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_terminals_and_wiped_away(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    with Progress("znode", "found") as progress:
        progress.update(12)
        progress.update(13)  # at once: not shown
    assert stderr.getvalue() == ("\r12 znodes found\r\x1b[K" if terminal else "")
