"""Candidates of an election on a fake ensemble: what they did and when, and what must be true of that.

A `Plot` is the input: who takes part and how, what goes wrong, and how the servers are set. `play` plays it under a
virtual clock and returns a `Story`; `wrongs` says what is wrong with that. So a search can choose plots, and shrink
them.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, NamedTuple

import trio
from trio.testing import MockClock

from election import CampaignTimeout, Election, LeadershipLostError, NotLeaderError, Term
from election.leader.states import NEXT, State
from tests.support import judge
from tests.support.fake.ensemble import Commit, FakeEnsemble, Fault
from tests.support.judge import Stint
from zkwire import Client, ConnectionLossError, EventType, SetData

PATH = "/a/e/master"
COUNTER = "/counter"
HOLDERS = {"sequential": "/a/e/master-holder", "simple": "/a/e-master-holder"}
EPOCHS = {"sequential": "/a/e/master-epoch", "simple": "/a/e-master-epoch"}
#: What an administrator may delete, with everything below it, without the holder.
TREES = {"sequential": "/a/e/master", "simple": "/a/e"}
#: What an administrator may delete to delete the whole election.
ABOVE = "/a"

How = Literal["run", "lead", "impatient", "cancelled", "campaign", "count", "outside", "restart"]


class Player(NamedTuple):
    """What one candidate does, again and again until the curtain. `at`: the server that it connects to first.

    how          what it does with each term
    run          keeps it, with `Election.run`
    lead         keeps it for `stays` seconds, then rests for `rests` seconds
    impatient    as lead, but waits for it at most `stays` seconds
    cancelled    is cancelled after `stays` seconds, whether it waits or leads
    restart      as lead, but closes its session after each term
    campaign     as lead, but without a block: it proclaims at each step, and resigns
    count        keeps it, and counts in `COUNTER` by `term.guarded`
    outside      keeps it, and counts in a variable that only leadership protects
    """

    how: How = "run"
    starts: float = 1.0
    stays: float = 5.0
    rests: float = 1.0
    at: int | None = None


class Plot(NamedTuple):
    """`timeout` is T in seconds; `tick` is at most half of it. With `lingers` a body that is cancelled uses all of its
    grace. Names in a fault: "leading" is the candidate that leads then, or its znode; "tree" is everything that
    candidates create; "above" is that and the rest of the election; "holder" and "epoch" are two znodes beside it."""

    players: tuple[Player, ...]
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    timeout: float = 6.0
    tick: float = 2.0
    size: int = 3
    mode: Literal["sequential", "simple"] = "sequential"
    renewal: Literal["commit", "ping", "none"] = "commit"
    lingers: bool = True
    first_sequence: int = 0
    waking: float = 0.0


class Story:
    """What happened."""

    def __init__(self, plot: Plot) -> None:
        self.plot = plot
        self.stints: list[Stint] = []
        self.history: list[Commit] = []
        self.curtain = math.inf  # when the candidates were told to end
        self.healed = 0.0  # when the last fault was over
        self.unfounded: list[str] = []  # leases that end later than the session may on the leading server
        self.counted = 0  # acknowledged
        self.perhaps = 0  # sent, and neither acknowledged nor refused
        self.counter = 0
        self.counted_outside = self.outside = 0
        self.children_at_rest: list[str] = []
        self.watches_at_rest: list[str] = []
        self.left: list[str] = []  # znodes and watches, after all had ended
        self.alive_at_rest = 0
        self.transitions: set[tuple[State, State]] = set()  # of all candidates


class Play:
    """A plot on the stage."""

    def __init__(self, plot: Plot) -> None:
        self.plot = plot
        self.story = Story(plot)
        self.fake = FakeEnsemble(
            plot.size, seed=plot.seed, tick=plot.tick, first_sequence=plot.first_sequence, waking=plot.waking
        )

    async def run(self) -> Story:
        plot, story, fake = self.plot, self.story, self.fake
        async with fake.running():
            async with fake.client("admin", 20 * plot.tick) as admin:
                await admin.create(COUNTER, b"0")
                await admin.sync()
            async with trio.open_nursery() as nursery:
                stages = [Stage(self, f"p{index}", player) for index, player in enumerate(plot.players)]
                for stage in stages:
                    nursery.start_soon(stage.run)
                await fake.inflict(plot.faults, self._resolve)
                story.healed = trio.current_time()
                await trio.sleep(self.patience)
                story.curtain = trio.current_time()
                story.children_at_rest = list(self._children())
                story.watches_at_rest = fake.watches()
                story.alive_at_rest = len(plot.players)
                for stage in stages:
                    stage.end()
                with trio.move_on_after(10 * plot.timeout) as ending:
                    for stage in stages:
                        await stage.done.wait()
                if ending.cancelled_caught:
                    story.left.append("a candidate that does not end")
                await trio.sleep(plot.tick)  # for the last deletions to reach every server
                story.left += [path for path, node in fake.tree.nodes.items() if node.owner]
                story.left += [f"watch on {path}" for path in fake.watches()]
                nursery.cancel_scope.cancel()
        story.counter = int(fake.tree.nodes[COUNTER].data or b"")
        story.history = fake.history
        return story

    @property
    def patience(self) -> float:
        """Seconds until a body runs again after the last fault is over."""
        return 2 * (self.plot.timeout + self.plot.tick) + 2.0

    def _children(self) -> tuple[str, ...]:
        node = self.fake.tree.nodes.get(PATH)
        return () if node is None else node.children

    def _resolve(self, fault: Fault) -> Fault | None:
        """The fault with the candidate or path that its names stand for; None if nobody leads now."""
        named = {"tree": TREES[self.plot.mode], "above": ABOVE}
        named |= {"holder": HOLDERS[self.plot.mode], "epoch": EPOCHS[self.plot.mode]}
        if fault.how in named:
            return fault._replace(how=named[fault.how])
        leading = next((stint for stint in reversed(self.story.stints) if stint.ended == math.inf), None)
        if "leading" not in (fault.who, fault.how):
            return fault
        if leading is None:
            return None
        return fault._replace(who=leading.who) if fault.who == "leading" else fault._replace(how=leading.node)


class Stage:
    """One player at work."""

    def __init__(self, play: Play, name: str, player: Player) -> None:
        self.play = play
        self.name = name
        self.player = player
        self.ended = False
        self._acting = trio.CancelScope()
        self.done = trio.Event()
        self._step = play.plot.timeout / 20

    async def run(self) -> None:
        fake, at = self.play.fake, self.player.at
        while not self.ended:
            zk = fake.client(self.name, self.play.plot.timeout, connect_timeout=math.inf)
            if at is not None:
                zk._dialing.search.preferred = (zk._dialing.search.hosts[at], fake.servers[at].address)
            async with zk:
                await self._contend(zk)
        self.done.set()

    def end(self) -> None:
        self.ended = True
        self._acting.cancel()

    async def _contend(self, zk: Client) -> None:
        plot, player = self.play.plot, self.player
        election = Election(
            zk,
            PATH,
            self.name.encode(),
            mode=plot.mode,
            renewal=plot.renewal,
            overrun="ignore",
            boottime=self.play.fake.boottime,
        )
        again = not self.ended
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._note_states, election)
            with trio.CancelScope() as self._acting:
                await trio.sleep_until(player.starts)
                while again:
                    with suppress(LeadershipLostError, CampaignTimeout):
                        await self._turn(election, zk)
                    await trio.sleep(0 if player.how in ("run", "count", "outside") else player.rests)
                    again = player.how != "restart"
            nursery.cancel_scope.cancel()

    async def _note_states(self, election: Election) -> None:
        last: State | None = None
        async for state in election.states():
            if last is not None:
                self.play.story.transitions.add((last, state))
            last = state

    async def _turn(self, election: Election, zk: Client) -> None:
        player = self.player
        if player.how in ("run", "count", "outside"):
            work: dict[str, Callable[[Term, Stint, Client], Awaitable[None]]] = {
                "run": self._stay,
                "count": self._count,
                "outside": self._count_outside,
            }

            async def body(term: Term) -> None:
                await self._lead(term, zk, lambda stint: work[player.how](term, stint, zk))

            await election.run(body)
        elif player.how == "campaign":
            await self._campaign(election)
        elif player.how == "cancelled":
            with trio.move_on_after(player.stays):
                async with election.lead() as term:
                    await self._lead(term, zk, lambda stint: self._stay(term, stint, zk))
        else:
            async with election.lead(player.stays if player.how == "impatient" else None) as term:

                async def stay(stint: Stint) -> None:
                    with trio.move_on_after(player.stays):
                        await self._stay(term, stint, zk)

                await self._lead(term, zk, stay)

    async def _lead(self, term: Term, zk: Client, work: Callable[[Stint], Awaitable[None]]) -> None:
        stint = Stint(self.name, trio.current_time(), token=term.token, node=term.node)
        self.play.story.stints.append(stint)
        self._check_lease(stint, zk, term.lease_end)
        term.on_renewal = lambda end: self._check_lease(stint, zk, end)
        try:
            await work(stint)
        finally:
            if self.play.plot.lingers:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.play.plot.timeout / 6 * 0.99)
            stint.ended = trio.current_time()

    def _check_lease(self, stint: Stint, zk: Client, end: float) -> None:
        """Note a lease that may end after its session, if the servers heard nothing from the client from now on."""
        leader = self.play.fake.leader
        if leader is not None and leader.leadership is not None and self.play.plot.renewal == "commit":
            promised = leader.leadership.tracker.promised.get(zk.session_id)
            if promised is not None and end > promised:
                now = trio.current_time()
                self.play.story.unfounded.append(
                    f"at {now:.3f} {stint} has a lease to {end:.3f}, its session may end at {promised:.3f}"
                )

    async def _stay(self, term: Term, stint: Stint, zk: Client) -> None:
        while True:
            await trio.sleep(self._step)
            stint.steps.append(trio.current_time())

    async def _count_outside(self, term: Term, stint: Stint, zk: Client) -> None:
        story = self.play.story
        while True:
            number = story.outside
            await trio.sleep(self._step)
            story.outside = number + 1
            story.counted_outside += 1

    async def _count(self, term: Term, stint: Stint, zk: Client) -> None:
        story = self.play.story
        while True:
            with suppress(ConnectionLossError):
                sync, reading = zk.sync(), zk.get_data(COUNTER)
                await sync
                number = int((await reading)[0] or b"")
                await trio.sleep(self._step)
                story.perhaps += 1
                try:
                    await term.guarded([SetData(COUNTER, b"%d" % (number + 1))])
                except NotLeaderError as error:
                    if "perhaps" not in str(error):
                        story.perhaps -= 1
                    raise
                story.perhaps -= 1
                story.counted += 1
            await trio.sleep(self._step)

    async def _campaign(self, election: Election) -> None:
        term = await election.campaign()
        stint = Stint(self.name, trio.current_time(), token=term.token, node=term.node)
        self.play.story.stints.append(stint)
        until = trio.current_time() + self.player.stays
        try:
            while term.is_leader and trio.current_time() < until:
                stint.steps.append(trio.current_time())
                with suppress(ConnectionLossError, NotLeaderError):
                    await term.proclaim(b"%f" % stint.steps[-1])
                with trio.move_on_after(self._step):
                    await term.lost.wait()
        finally:
            stint.ended = stint.steps[-1] if stint.steps else stint.began
            with trio.CancelScope(shield=True):
                await term.resign()


def play(plot: Plot) -> Story:
    """Play a plot under a virtual clock."""
    trio._core._run._r.seed(plot.seed)
    return trio.run(Play(plot).run, clock=MockClock(autojump_threshold=0), instruments=[_Spinning()])


class _Spinning(trio.abc.Instrument):
    """Fails when tasks run again and again while the virtual clock stands still."""

    LIMIT = 20_000

    def __init__(self) -> None:
        self._now = -1.0
        self._steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        now = trio.current_time()
        self._steps = self._steps + 1 if now == self._now else 0
        self._now = now
        if self._steps > self.LIMIT:
            raise AssertionError(f"at {now:.3f} time stands still in {task!r}")


# --- what must be true


def overlaps(story: Story) -> list[str]:
    """Two bodies at the same time."""
    return [str(overlap) for overlap in judge.overlaps(story.stints)]


def late_exits(story: Story) -> list[str]:
    """Bodies that worked after the servers had ended their session, when another candidate could have led."""
    found = []
    for commit in story.history:
        if commit.path == HOLDERS[story.plot.mode] and commit.kind is EventType.NODE_DELETED and commit.closed:
            for stint in story.stints:
                if stint.began < commit.time < stint.ended and _owner_of(story, stint) == commit.owner:
                    found.append(f"{stint} was outlived by its session, which ended at {commit.time:.3f}")
    return found


def _owner_of(story: Story, stint: Stint) -> int:
    return next(
        (commit.owner for commit in story.history if commit.zxid == stint.token and commit.path == stint.node), 0
    )


def unfounded_leases(story: Story) -> list[str]:
    return story.unfounded


def falling_tokens(story: Story) -> list[str]:
    return judge.falling_tokens(story.stints)


def queue_jumpers(story: Story) -> list[str]:
    """Bodies that began while an earlier candidate was still in the queue."""
    if story.plot.mode == "simple":
        return []
    found = []
    for stint in story.stints:
        there: dict[str, int] = {}
        for commit in story.history:
            if commit.time > stint.began:
                break
            if commit.path.rpartition("/")[0] == PATH:
                if commit.kind is EventType.NODE_CREATED:
                    there[commit.path] = commit.zxid
                elif commit.kind is EventType.NODE_DELETED:
                    there.pop(commit.path, None)
        earlier = [path for path, zxid in there.items() if zxid < stint.token]
        if earlier:
            found.append(f"{stint} came before {earlier}")
    return found


def duplicates(story: Story) -> list[str]:
    """Two znodes of one campaign at the same time: their names differ in the number only."""
    there: set[str] = set()
    found = []
    for commit in story.history:
        if commit.path.startswith(PATH + "/"):
            name = commit.path.rpartition("-lock-")[0]
            if commit.kind is EventType.NODE_DELETED:
                there.discard(name)
            elif commit.kind is EventType.NODE_CREATED:
                if name in there:
                    found.append(f"{commit.path} is the second of its campaign, at {commit.time:.3f}")
                there.add(name)
    return found


def leftovers(story: Story) -> list[str]:
    """Znodes and watches that nobody needs."""
    found = [f"left behind: {each}" for each in story.left]
    if story.plot.mode == "sequential" and len(story.children_at_rest) > story.alive_at_rest:
        found.append(f"{story.alive_at_rest} candidates have {story.children_at_rest}")
    if len(story.watches_at_rest) > story.alive_at_rest:
        found.append(f"{story.alive_at_rest} candidates have watches on {story.watches_at_rest}")
    return found


def standstill(story: Story) -> list[str]:
    """Nobody led again in time, although a candidate wanted to."""
    if not any(player.how in ("run", "count", "outside") for player in story.plot.players):
        return []
    if any(stint.ended > story.curtain - 1.5 for stint in story.stints):  # there may be a moment between two terms
        return []
    return [f"nobody leads at {story.curtain:.3f}, all was well since {story.healed:.3f}"]


def forbidden_transitions(story: Story) -> list[str]:
    return [f"{before} was followed by {after}" for before, after in story.transitions if after not in NEXT[before]]


def lost_updates(story: Story) -> list[str]:
    found = []
    if not story.counted <= story.counter <= story.counted + story.perhaps:
        found.append(f"counted {story.counted}, and perhaps {story.perhaps}; the counter says {story.counter}")
    if story.counted_outside != story.outside:
        found.append(f"counted {story.counted_outside} outside; the variable says {story.outside}")
    return found


def wrongs(story: Story) -> list[str]:
    """All that is wrong with it."""
    checks = [
        unfounded_leases,
        overlaps,
        late_exits,
        falling_tokens,
        queue_jumpers,
        leftovers,
        standstill,
        forbidden_transitions,
        lost_updates,
    ]
    return [wrong for check in checks for wrong in check(story)]
