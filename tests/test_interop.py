"""Our contenders and those of other programs in one queue, on real servers: kazoo, and Curator in a Java process."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from election import dialects
from tests.live import Addressed, client
from tests.peers.curator import (
    RECIPES,
    Curator,
    CuratorProcess,
    NoCurator,
    compile_contender,
    find_curators,
    run_curator,
)
from tests.peers.history import History
from tests.peers.kazoo_peer import KazooContender
from zkwire import Client, NoNodeError

Compiled = Callable[[Curator], str]


@dataclass(frozen=True)
class Peer:
    """A recipe of another program: kazoo's where there is no Curator."""

    recipe: str
    dialect: str
    curator: Curator | NoCurator | None = None

    def __str__(self) -> str:
        version = getattr(self.curator, "version", "none")
        return f"{self.recipe}-kazoo" if self.curator is None else f"{self.recipe}-curator-{version}"


def _curators() -> list[Curator | NoCurator]:
    """At collection nothing may fail; a test that needs Curator then does, with the reason."""
    try:
        return [*find_curators()]
    except NoCurator as missing:
        return [missing]


CURATORS = _curators()
KAZOO = [Peer("election", "kazoo"), Peer("lock", "kazoo")]
PEERS = [*KAZOO, *(Peer(recipe, RECIPES[recipe], curator) for curator in CURATORS for recipe in RECIPES)]
ONE_OF_EACH = [next(peer for peer in PEERS if peer.dialect == dialect) for dialect in dialects.DIALECTS]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compiles Contender.java against a Curator, once; the classpath."""
    done: dict[Curator, str] = {}

    def classpath(curator: Curator) -> str:
        if curator not in done:
            done[curator] = compile_contender(curator, tmp_path_factory.mktemp("contender"))
        return done[curator]

    return classpath


class Arena:
    """One election path, and contenders of all kinds on it."""

    def __init__(self, zk: Client, hosts: str, path: str, compiled: Compiled, nursery: trio.Nursery) -> None:
        self.zk = zk
        self.path = path
        self.history = History()
        self._hosts = hosts
        self._compiled = compiled
        self._nursery = nursery
        self._processes: dict[Curator, CuratorProcess] = {}
        self._leave: dict[str, Callable[[], object]] = {}

    async def curator(self, curator: Curator | NoCurator) -> CuratorProcess:
        """The process of this version, for all its contenders here."""
        if isinstance(curator, NoCurator):
            raise curator
        if curator not in self._processes:
            classpath = self._compiled(curator)
            process = await self._nursery.start(run_curator, classpath, self._hosts, self.history)
            self._processes[curator] = process
        return self._processes[curator]

    async def enter(self, peer: Peer, name: str) -> None:
        """Let a contender enter, and wait until it is in the queue or leads."""
        before = set(await self.children())
        if peer.curator is None:
            contender = KazooContender(peer.recipe, name, self.path, self._hosts, self.history)
            self._leave[name] = contender.leave
            self._nursery.start_soon(contender.run)
        else:
            process = await self.curator(peer.curator)
            self._leave[name] = lambda: self._nursery.start_soon(process.leave, name)
            await process.enter(peer.recipe, name, self.path)
        await self.queued(lambda children: not children <= before)

    def leave(self, name: str) -> None:
        self._leave[name]()

    async def children(self) -> list[str]:
        try:
            return await self.zk.get_children(self.path)
        except NoNodeError:
            return []

    async def queued(self, wanted: Callable[[set[str]], bool]) -> None:
        """Wait until the children are as wanted."""
        with trio.fail_after(30):
            while True:
                try:
                    children, watch = await self.zk.get_children_and_watch(self.path)
                except NoNodeError:
                    stat, watch = await self.zk.exists_and_watch(self.path)
                    children = []
                    if stat is not None:
                        watch.disarm()
                        continue
                if wanted(set(children)):
                    watch.disarm()
                    return
                await watch.wait()

    async def serve(self, *names: str) -> None:
        """Each leads in turn: wait until one does, and let it leave."""
        for name in names:
            await self.history.reached("leading", name)
            self.leave(name)
            await self.history.reached("left", name)


@asynccontextmanager
async def arena(zookeeper: Addressed, path: str, compiled: Compiled) -> AsyncIterator[Arena]:
    async with client(zookeeper) as zk, trio.open_nursery() as nursery:
        yield Arena(zk, zookeeper.address, path, compiled, nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.rule("W8")
@pytest.mark.parametrize("peer", PEERS, ids=str)
async def test_peers_are_fair_among_themselves(peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled) -> None:
    """The test of the tests: what the others report is right without us."""
    async with arena(zookeeper, root, compiled) as field:
        names = ["a", "b", "c"]
        for name in names:
            await field.enter(peer, name)
        assert {dialects.dialect_of(child) for child in await field.children()} == {peer.dialect}
        await field.serve(*names)
        assert field.history.leaders() == names
        assert field.history.overlaps() == []


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(ONE_OF_EACH, 2)], ids=str)
async def test_recipes_of_two_dialects_both_lead(
    first: Peer, second: Peer, zookeeper: Addressed, root: str, compiled: Compiled
) -> None:
    """Why a path has one dialect: neither program sees an error, and there are two leaders."""
    async with arena(zookeeper, root, compiled) as field:
        await field.enter(first, "first")
        await field.history.reached("leading", "first")
        await field.enter(second, "second")
        await field.history.reached("leading", "second")
        await field.serve("second", "first")
        assert len(field.history.overlaps()) == 1


@pytest.mark.rule("W13")
@pytest.mark.parametrize("curator", CURATORS, ids=lambda found: getattr(found, "version", "none"))
@pytest.mark.parametrize(
    ("recipe", "below", "called"),
    [
        ("read", "", "Curator read-write lock"),
        ("write", "", "Curator read-write lock"),
        ("semaphore", "/leases", "Curator lease"),
    ],
)
async def test_names_of_other_recipes_of_curator(
    recipe: str, below: str, called: str, curator: Curator, zookeeper: Addressed, root: str, compiled: Compiled
) -> None:
    async with arena(zookeeper, root, compiled) as field:
        await (await field.curator(curator)).enter(recipe, "a", root)
        await field.history.reached("leading", "a")
        (child,) = await field.zk.get_children(root + below)
        assert dialects.dialect_of(child) == called


@pytest.mark.rule("W13")
async def test_name_of_a_read_lock_of_kazoo(zookeeper: Addressed, root: str, compiled: Compiled) -> None:
    async with arena(zookeeper, root, compiled) as field:
        await field.enter(Peer("read", "kazoo"), "a")
        (child,) = await field.children()
        assert dialects.dialect_of(child) == "kazoo read lock"
        await field.serve("a")
