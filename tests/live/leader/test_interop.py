"""Our candidates and those of kazoo and Curator, which run in processes of their own, in one queue on real servers."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from election import Election, LeadershipLostError, MixedDialect
from election.leader import dialects
from tests.peers import curator, kazoo_peer
from tests.peers.curator import Curator, NoCurator
from tests.peers.history import History
from tests.peers.process import PeerProcess, run_peer
from tests.support.behind import Line
from tests.support.judge import overlaps
from tests.support.live import Addressed, client
from zkwire import Client, NoNodeError

Compiled = Callable[[Curator], str]

#: Session timeout in seconds of those that are killed or cut off.
SHORT = 3.0


@dataclass(frozen=True)
class Peer:
    """A recipe of another program: kazoo's where there is no Curator. Ours, where there is no recipe."""

    dialect: str
    recipe: str = ""
    curator: Curator | NoCurator | None = None

    def __str__(self) -> str:
        version = getattr(self.curator, "version", "none")
        return f"kazoo-{self.recipe}" if self.curator is None else f"curator-{version}-{self.recipe}"


def _curators() -> list[Curator | NoCurator]:
    """At collection nothing may fail; a test that needs Curator then does, with the reason."""
    try:
        return [*curator.find_curators()]
    except NoCurator as missing:
        return [missing]


CURATORS = _curators()
PEERS = [
    *(Peer(dialect, recipe) for recipe, dialect in kazoo_peer.RECIPES.items()),
    *(Peer(dialect, recipe, found) for found in CURATORS for recipe, dialect in curator.RECIPES.items()),
]
ONE_OF_EACH = [next(peer for peer in PEERS if peer.dialect == dialect) for dialect in dialects.DIALECTS]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compiles Contender.java against a Curator, once; the classpath."""
    done: dict[Curator, str] = {}

    def classpath(found: Curator) -> str:
        if found not in done:
            done[found] = curator.compile_candidate(found, tmp_path_factory.mktemp("candidate"))
        return done[found]

    return classpath


class Arena:
    """One election path, and candidates of all kinds on it."""

    def __init__(self, zk: Client, server: Addressed, path: str, compiled: Compiled, nursery: trio.Nursery) -> None:
        self.zk = zk
        self.path = path
        self.history = History()
        self._server = server
        self._compiled = compiled
        self._nursery = nursery
        self._processes: dict[object, PeerProcess] = {}
        self._leave: dict[str, Callable[[], object]] = {}

    async def process(self, peer: Peer, timeout: float = 10.0) -> PeerProcess:
        """The process for all candidates of this program and session timeout, in seconds."""
        if isinstance(peer.curator, NoCurator):
            raise peer.curator
        key = (peer.curator, timeout)
        if key not in self._processes:
            if peer.curator is None:
                command = kazoo_peer.candidate_command(self._server.address, timeout)
            else:
                # Not in this thread: on a busy machine our own session would expire meanwhile.
                classpath = await trio.to_thread.run_sync(self._compiled, peer.curator)
                command = curator.candidate_command(classpath, self._server.address, timeout)
            self._processes[key] = await self._nursery.start(run_peer, command, self.history)
        return self._processes[key]

    async def enter(self, peer: Peer, name: str, timeout: float = 10.0, line: Line | None = None) -> None:
        """Let a candidate enter, and wait until it is in the queue. A line may carry one of ours."""
        before = set(await self.children())
        await self.start(peer, name, timeout, line)
        await self.queued(lambda children: not children <= before)

    async def start(self, peer: Peer, name: str, timeout: float = 10.0, line: Line | None = None) -> None:
        """The same without the wait."""
        if not peer.recipe:
            leave = trio.Event()
            self._leave[name] = leave.set
            self._nursery.start_soon(self._contend, peer.dialect, name, leave, timeout, line)
            return
        process = await self.process(peer, timeout)
        self._leave[name] = lambda: process.leave(name)
        process.enter(peer.recipe, name, self.path)

    def leave(self, name: str) -> None:
        """Let a candidate stop and leave."""
        self._leave[name]()

    async def _contend(self, dialect: str, name: str, leave: trio.Event, timeout: float, line: Line | None) -> None:
        """One of ours, with a session of its own."""
        options: dict[str, Any] = {} if line is None else {"dial": line.dial}
        async with client(self._server, timeout=timeout, **options) as zk:
            election = Election(zk, self.path, name.encode(), dialect=dialect)
            try:
                async with election.lead():
                    self.history.note("leading", name)
                    try:
                        await leave.wait()
                    finally:
                        self.history.note("stopped", name)
            except LeadershipLostError:
                self.history.note("lost", name)
            except MixedDialect:
                self.history.note("refused", name)
        self.history.note("left", name)

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
        yield Arena(zk, zookeeper, path, compiled, nursery)
        nursery.cancel_scope.cancel()


# --- the others among themselves: the test of the tests


@pytest.mark.rule("W8")
@pytest.mark.parametrize("peer", PEERS, ids=str)
async def test_peers_are_fair_among_themselves(peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled) -> None:
    async with arena(zookeeper, root, compiled) as field:
        names = ["a", "b", "c"]
        for name in names:
            await field.enter(peer, name)
        assert {dialects.dialect_of(child) for child in await field.children()} == {peer.dialect}
        await field.serve(*names)
        assert field.history.leaders() == names
        assert overlaps(field.history.stints()) == []


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
        assert len(overlaps(field.history.stints())) == 1


@pytest.mark.rule("W13")
@pytest.mark.parametrize("which", CURATORS, ids=lambda found: getattr(found, "version", "none"))
@pytest.mark.parametrize(
    ("recipe", "below", "called"),
    [
        ("read", "", "Curator read-write lock"),
        ("write", "", "Curator read-write lock"),
        ("semaphore", "/leases", "Curator lease"),
    ],
)
async def test_names_of_other_recipes_of_curator(
    recipe: str, below: str, called: str, which: Curator, zookeeper: Addressed, root: str, compiled: Compiled
) -> None:
    async with arena(zookeeper, root, compiled) as field:
        (await field.process(Peer("", "", which))).enter(recipe, "a", root)
        await field.history.reached("leading", "a")
        (child,) = await field.zk.get_children(root + below)
        assert dialects.dialect_of(child) == called


@pytest.mark.rule("W13")
async def test_name_of_a_read_lock_of_kazoo(zookeeper: Addressed, root: str, compiled: Compiled) -> None:
    async with arena(zookeeper, root, compiled) as field:
        await field.enter(Peer("kazoo", "read"), "a")
        (child,) = await field.children()
        assert dialects.dialect_of(child) == "kazoo read lock"
        await field.serve("a")


# --- ours among them


@pytest.mark.rule("W8")
@pytest.mark.parametrize("peer", PEERS, ids=str)
async def test_first_come_first_led_together(peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled) -> None:
    """Ours and theirs in turn: each waits for the one before, whosever it is."""
    async with arena(zookeeper, root, compiled) as field:
        names = ["their-1", "our-1", "our-2", "their-2", "their-3", "our-3"]
        for name in names:
            await field.enter(Peer(peer.dialect) if name.startswith("our") else peer, name)
        assert {dialects.dialect_of(child) for child in await field.children()} == {peer.dialect}
        await field.serve(*names)
        assert field.history.leaders() == names
        assert overlaps(field.history.stints()) == []
        assert await field.children() == []


@pytest.mark.parametrize("peer", PEERS, ids=str)
async def test_no_two_lead_in_a_rush(peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled) -> None:
    """Six at once, three times each; each enters again while it still leads, so that the queue is never short."""
    async with arena(zookeeper, root, compiled) as field:
        await field.enter(Peer(peer.dialect), "gatekeeper")

        async def lead_often(whose: Peer, name: str) -> None:
            await field.start(whose, f"{name}-0")
            for term in range(3):
                await field.history.reached("leading", f"{name}-{term}", 50)
                if term < 2:
                    await field.start(whose, f"{name}-{term + 1}")
                await trio.sleep(0.02)  # so that a second leader would be seen
                field.leave(f"{name}-{term}")
                await field.history.reached("left", f"{name}-{term}")

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(lead_often, peer, f"their-{number}")
                nursery.start_soon(lead_often, Peer(peer.dialect), f"our-{number}")
            await field.queued(lambda children: len(children) == 7)
            await field.serve("gatekeeper")
        assert overlaps(field.history.stints()) == []
        leaders = field.history.leaders()
        assert len(leaders) == 19
        assert {(first[0], second[0]) for first, second in itertools.pairwise(leaders)} >= {("o", "t"), ("t", "o")}
        assert await field.children() == []


@pytest.mark.parametrize("peer", ONE_OF_EACH, ids=str)
async def test_ours_leads_after_a_killed_peer(peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled) -> None:
    async with arena(zookeeper, root, compiled) as field:
        await field.enter(peer, "their", SHORT)
        await field.history.reached("leading", "their")
        await field.enter(Peer(peer.dialect), "our")
        (await field.process(peer, SHORT)).kill()
        field.history.note("stopped", "their")
        await field.serve("our")
        assert field.history.leaders() == ["their", "our"]
        assert overlaps(field.history.stints()) == []


@pytest.mark.rule("L3")
@pytest.mark.parametrize("peer", ONE_OF_EACH, ids=str)
async def test_peer_leads_after_ours_was_cut_off(
    peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled
) -> None:
    """Our body has ended before our session expires, which is all that the other program waits for."""
    async with arena(zookeeper, root, compiled) as field:
        line = Line()
        await field.enter(Peer(peer.dialect), "our", SHORT, line)
        await field.history.reached("leading", "our")
        await field.enter(peer, "their")
        line.part()
        await field.serve("their")
        assert field.history.leaders() == ["our", "their"]
        assert overlaps(field.history.stints()) == []
        line.heal()
        await field.history.reached("lost", "our")


@pytest.mark.rule("P10", "C11")
@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.recipe != "mutex"], ids=str)
async def test_each_program_reads_the_others_contenders(
    peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled
) -> None:
    async with arena(zookeeper, root, compiled) as field:
        for name in ["our-1", "their-1", "our-2"]:
            await field.enter(Peer(peer.dialect) if name.startswith("our") else peer, name)
        await field.history.reached("leading", "our-1")
        process = await field.process(peer)
        election = Election(field.zk, root, dialect=peer.dialect)
        assert await process.look(peer.recipe, "onlooker-1", root) == ["our-1", "their-1", "our-2"]
        shown = [(found.data, found.is_leader) for found in await election.contenders()]
        assert shown == [(b"our-1", True), (b"their-1", False), (b"our-2", False)]
        await field.serve("our-1")
        await field.history.reached("leading", "their-1")
        leader = await election.leader()
        assert leader is not None
        assert leader.data == b"their-1"
        assert await process.look(peer.recipe, "onlooker-2", root) == ["their-1", "our-2"]


# --- two dialects

MIXED = [
    pytest.param(dialect, peer, id=f"{dialect}-{peer}")
    for peer in ONE_OF_EACH
    for dialect in dialects.DIALECTS
    if dialect != peer.dialect
]


@pytest.mark.rule("W13")
@pytest.mark.parametrize(("dialect", "peer"), MIXED)
async def test_path_of_another_dialect_is_refused(
    dialect: str, peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled
) -> None:
    async with arena(zookeeper, root, compiled) as field:
        await field.enter(peer, "their")
        (child,) = await field.children()
        election = Election(field.zk, root, dialect=dialect)
        with pytest.raises(MixedDialect, match=re.escape(child)) as refused:
            async with election.lead():
                raise AssertionError("two leaders")
        for part in (root, repr(dialect), repr(peer.dialect)):
            assert part in str(refused.value)
        assert await field.children() == [child]
        assert await field.zk.exists(f"{root}-holder") is None
        assert election.state == "idle"
        await field.serve("their")


@pytest.mark.rule("W13")
@pytest.mark.parametrize(("dialect", "peer"), MIXED)
async def test_waiter_refuses_the_path_when_another_dialect_has_come(
    dialect: str, peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled
) -> None:
    """The other program leads beside our leader; nobody can prevent that. Our next candidate does not."""
    async with arena(zookeeper, root, compiled) as field:
        await field.enter(Peer(dialect), "our-1")
        await field.history.reached("leading", "our-1")
        await field.enter(Peer(dialect), "our-2")
        await field.enter(peer, "their")
        await field.history.reached("leading", "their")
        await field.serve("our-1")
        await field.history.reached("left", "our-2")
        assert field.history.has("refused", "our-2")
        assert field.history.leaders() == ["our-1", "their"]
        assert [dialects.dialect_of(child) for child in await field.children()] == [peer.dialect]


async def serve_and_lead(field: Arena, election: Election) -> None:
    """Our candidate enters after theirs, which then leaves."""

    async def serve() -> None:
        await field.queued(lambda children: len(children) == 2)
        await field.serve("their")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with election.lead():
            field.history.note("leading", "our")
            field.history.note("stopped", "our")


@pytest.mark.rule("W13")
@pytest.mark.parametrize(("dialect", "peer"), MIXED)
async def test_with_a_warning_ours_waits_for_another_dialect(
    dialect: str, peer: Peer, zookeeper: Addressed, root: str, compiled: Compiled
) -> None:
    async with arena(zookeeper, root, compiled) as field:
        await field.enter(peer, "their")
        await field.history.reached("leading", "their")
        election = Election(field.zk, root, dialect=dialect, mixed="warn")
        with pytest.warns(RuntimeWarning, match=repr(peer.dialect)):
            await serve_and_lead(field, election)
        assert field.history.leaders() == ["their", "our"]
        assert overlaps(field.history.stints()) == []
