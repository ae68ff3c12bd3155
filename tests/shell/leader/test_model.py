"""No two leaders, ever: candidates of all kinds on a fake ensemble, while a search chooses what goes wrong.

`ZKWIRE_MODEL_EXAMPLES=5000` makes it search longer, and elsewhere each time.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import permutations
from typing import Any, NamedTuple

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from election.leader.campaign import Campaign, Plan, Victory
from election.leader.keeper import Keeper
from election.leader.lease import CommitLease, Renewal
from election.leader.paths import Mode
from election.leader.queue import SequentialCampaign
from election.leader.states import NEXT, Progress
from election.leader.witness import Witness
from tests.support.election_model import (
    How,
    Player,
    Plot,
    Story,
    duplicates,
    lost_updates,
    overlaps,
    play,
    queue_jumpers,
    unfounded_leases,
    wrongs,
)
from tests.support.fake import server as fake_server
from tests.support.fake.ensemble import FakeEnsemble, Fault
from zkwire import BoundClient, Check, NoNodeError, ZooKeeperError

EXAMPLES = int(os.environ.get("ZKWIRE_MODEL_EXAMPLES", "0"))


def search(examples: int) -> settings:
    # What it finds is small anyway, and hypothesis' phase `explain` would take minutes.
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )


tenths = st.integers(0, 300).map(lambda tenth: tenth / 10)
short = st.integers(1, 150).map(lambda tenth: tenth / 10)
names = st.sampled_from(["leading", "p0", "p1", "p2"])
servers = st.sampled_from(["leader", "follower", "leading", "p0", "p1", 0, 1, 2])


def fault(kind: str, who: st.SearchStrategy[Any], **rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Fault]:
    # Not st.builds, which would also choose arguments that have a default.
    return st.tuples(tenths, who, st.fixed_dictionaries(rest)).map(lambda t: Fault(t[0], kind, t[1], **t[2]))


ways = st.sampled_from(["both", "requests", "replies"])
opcodes = st.sampled_from(["CREATE", "MULTI", "DELETE"])
faults = st.one_of(
    fault("cut", names, lasts=short, how=ways),
    fault("stall", names, lasts=short, how=ways),
    fault("reset", names),
    fault("drop reply", names, lasts=st.just(10.0), how=opcodes),
    fault("part", servers, lasts=short),
    fault("kill", servers, lasts=short),
    fault("pause", servers, lasts=short),
    fault("slow", servers, lasts=short, amount=st.sampled_from([0.1, 0.3, 1.0, 3.0])),
    fault("lag", servers, lasts=short, amount=st.sampled_from([0.1, 0.3, 1.0, 3.0])),
    fault("delete", st.just(""), how=st.sampled_from(["leading", "tree"])),
)
#: More that an administrator may delete, and how.
deletions = st.lists(
    fault(
        "delete",
        st.just(""),
        how=st.sampled_from(["above", "tree", "leading", "epoch"]),
        amount=st.sampled_from([0.0, 0.001, 0.01, 0.3]),
    ),
    min_size=1,
    max_size=3,
)

hows: list[How] = ["run", "lead", "impatient", "cancelled", "campaign", "count", "outside", "restart"]
players = st.tuples(
    st.sampled_from(hows),
    st.integers(10, 30).map(lambda tenth: tenth / 10),
    st.integers(5, 100).map(lambda tenth: tenth / 10),
    st.sampled_from([0.5, 3.0]),
).map(lambda t: Player(t[0], t[1], t[2], t[3]))

suspends = st.lists(
    fault("suspend", st.just(""), amount=st.sampled_from([0.5, 2.0, 3.0, 4.0, 10.0])), min_size=1, max_size=2
)

settings_of_servers = st.sampled_from([(6.0, 2.0), (4.0, 2.0), (12.0, 2.0), (6.0, 0.5)])

plots = st.builds(
    lambda servers, **rest: Plot(timeout=servers[0], tick=servers[1], **rest),
    settings_of_servers,
    players=st.lists(players, min_size=2, max_size=4).map(tuple),
    faults=st.lists(faults, max_size=5).map(tuple),
    seed=st.integers(0, 1000),
    mode=st.sampled_from(["sequential", "simple"]),
)


@pytest.mark.rule("L1", "L2", "L3", "L11", "L14", "L18", "P7", "P8", "W8", "W14", "C10", "R7")
@search(30)
@given(plots)
def test_no_two_leaders_whatever_goes_wrong(plot: Plot) -> None:
    assert wrongs(play(plot)) == []


@pytest.mark.rule("W17", "L9")
@search(40)
@given(plots, deletions)
def test_no_two_leaders_when_the_tree_above_is_deleted(plot: Plot, deletions: list[Fault]) -> None:
    """A client that was a candidate before the deletion has seen it; a client that is new each time has not."""
    players = tuple(each._replace(how="lead") if each.how == "restart" else each for each in plot.players)
    later = [each._replace(at=each.at + 5.0) for each in deletions]  # when all have come
    story = play(plot._replace(players=players, faults=(*plot.faults[:3], *later)))
    assert [wrong for wrong in wrongs(story) if "left behind" not in wrong] == []


@pytest.mark.rule("L4", "L13")
@search(12)
@given(plots, suspends)
def test_no_two_leaders_when_their_machine_sleeps(plot: Plot, suspends: list[Fault]) -> None:
    # A body that takes its time after its cancellation counts it on a clock that does not run during a suspend.
    assert wrongs(play(plot._replace(lingers=False, faults=(*plot.faults[:2], *suspends)))) == []


@pytest.mark.rule("L4")
def test_lease_counts_a_time_before_a_suspend_as_it_was_then() -> None:
    """The second campaign begins right after a suspend, and counts what was sent before the suspend."""
    players = (Player("lead", 1.0, 2.0, 4.0),)
    story = play(Plot(players, (Fault(7.0, "suspend", amount=8.0),), timeout=12.0, lingers=False))
    assert [stint.began > 7.0 for stint in story.stints][:2] == [False, True]
    assert wrongs(story) == []


def test_same_plot_is_the_same_story_twice() -> None:
    plot = Plot((Player("count"), Player("lead"), Player("campaign")), (Fault(8, "kill", "leader", 3.0),), seed=5)
    one, other = play(plot), play(plot)
    assert [(stint.began, stint.steps, stint.ended, stint.token) for stint in one.stints] == [
        (stint.began, stint.steps, stint.ended, stint.token) for stint in other.stints
    ]


# --- the search finds what it looks for

#: The first leads, and its follower is cut off from the others for longer than the session lasts.
hole = Plot((Player(at=1), Player(starts=1.5, at=0), Player(starts=2.0, at=2)), (Fault(10, "part", 1, lasts=15),))


@pytest.mark.rule("L2")
@pytest.mark.parametrize("timeout", [4.0, 6.0])
@pytest.mark.parametrize("mode", ["sequential", "simple"])
def test_lease_of_commits_survives_a_follower_that_is_cut_off(timeout: float, mode: Mode) -> None:
    story = play(hole._replace(timeout=timeout, mode=mode))
    assert wrongs(story) == []
    assert [stint.who for stint in story.stints][:1] == ["p0"]
    assert len(story.stints) > 1


@pytest.mark.rule("L2")
@pytest.mark.parametrize("renewal", ["ping", "none"])
@pytest.mark.parametrize("timeout", [4.0, 6.0])
def test_lease_of_pings_does_not(renewal: Renewal, timeout: float) -> None:
    """Two lead for up to syncLimit - T/3, as docs/election-safety.md says."""
    story = play(hole._replace(timeout=timeout, renewal=renewal))
    assert overlaps(story) != []
    first, second = story.stints[:2]
    assert 1.0 < first.ended - second.began < 10.0 - timeout / 3 + 1.5


@pytest.mark.rule("L1")
@pytest.mark.parametrize(("timeout", "start", "lasts"), [(6.0, 10.0, 3.0), (4.0, 11.0, 2.0)])
def test_lease_does_not_count_what_was_long_on_its_way(timeout: float, start: float, lasts: float) -> None:
    """The second wins when its link, which delivered nothing for a while, delivers again. Its pings reach the follower
    only then, so the leading server has not heard of them."""
    stays = start + lasts - 1.0 - timeout / 20
    first, second = Player("lead", 1.0, stays, 60.0, at=0), Player(starts=1.5, at=1)
    for seed in range(3):
        story = play(Plot((first, second), (Fault(start, "cut", "p1", lasts),), seed=seed, timeout=timeout))
        assert [stint.who for stint in story.stints][:2] == ["p0", "p1"]
        assert wrongs(story) == []


# --- znodes that somebody deletes

one_leads = (Player(at=1), Player(starts=1.5, at=0))
#: The leader cannot hear of the deletion, and works on until its lease ends.
cut_off = Fault(9.9, "cut", "p0", 15)


def deleted(*what: str, apart: float = 0.05) -> tuple[Fault, ...]:
    """One after the other."""
    return tuple(Fault(10 + apart * number, "delete", how=each) for number, each in enumerate(what))


orders = [order for length in (2, 3) for order in permutations(["leading", "holder", "epoch"], length)]
orders += [("tree", "holder"), ("holder", "tree"), ("epoch", "tree", "holder"), ("tree", "epoch", "holder")]


@pytest.mark.rule("W17", "L9")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
@pytest.mark.parametrize("order", orders, ids=" ".join)
def test_no_two_leaders_in_whatever_order_the_znodes_of_the_first_are_deleted(
    order: tuple[str, ...], mode: Mode
) -> None:
    for faults in (deleted(*order), (cut_off, *deleted(*order))):
        for seed in range(3):
            story = play(Plot(one_leads, faults, seed=seed, mode=mode))
            assert wrongs(story) == []
            assert {stint.who for stint in story.stints} == {"p0", "p1"}


@pytest.mark.rule("W17")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
@pytest.mark.parametrize("amount", [0.0, 0.001, 0.01, 0.3], ids="{} s apart".format)
def test_no_two_leaders_when_all_of_the_election_is_deleted(mode: Mode, amount: float) -> None:
    above = Fault(10, "delete", how="above", amount=amount)
    for faults in ((above,), (cut_off, above), (above, above._replace(at=12.0))):
        for seed in range(3):
            story = play(Plot((*one_leads, Player("lead", 2.0)), faults, seed=seed, mode=mode))
            assert wrongs(story) == []
            assert len(story.stints) > 1


@pytest.mark.parametrize("mode", ["sequential", "simple"])
def test_holder_that_went_first_is_noticed_on_servers_that_do_not_say_when(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of servers before 3.9.0 have no zxid."""
    fire = fake_server.Connection.fire
    monkeypatch.setattr(fake_server.Connection, "fire", lambda self, change, zxid: fire(self, change, -1))
    for seed in range(3):
        assert wrongs(play(Plot(one_leads, (cut_off, *deleted("holder", "leading")), seed=seed, mode=mode))) == []
        crash = play(Plot(one_leads, (Fault(10, "cut", "p0", 15),), seed=seed, mode=mode))
        assert wrongs(crash) == []
        second = crash.stints[1]
        assert second.began < 10 + 6 + 2 + 0.5, "a crash is not suspicious"


@pytest.mark.parametrize("mode", ["sequential", "simple"])
def test_new_candidate_waits_where_another_one_has_seen_the_tree_go_and_left(mode: Mode) -> None:
    story = play(passed_on._replace(mode=mode))
    assert wrongs(story) == []
    assert [stint.who for stint in story.stints][:2] == ["p0", "p2"]
    assert 10 + 6.0 < story.stints[1].began < 12.2 + 6.0, "counted from the deletion, not from when it came"


#: The second candidate sees the deletion, waits, and runs out of time; the third has not seen it.
passed_on = Plot(
    (Player("lead", 1.0, 60.0, at=1), Player("impatient", 8.0, 4.0, 60.0, at=0), Player(starts=12.2, at=0)),
    (cut_off, Fault(10, "delete", how="above")),
)


@pytest.mark.parametrize("mode", ["sequential", "simple"])
def test_wait_after_a_deletion_ends_although_no_candidate_waits_for_all_of_it(mode: Mode) -> None:
    """If each candidate counted the doubt from the start, all of these would wait for ever."""
    impatient = [Player("impatient", 8.0 + i / 3, 2.0, 0.3, at=0) for i in range(3)]
    story = play(Plot((Player("lead", 1.0, 60.0, at=1), *impatient), passed_on.faults, mode=mode))
    assert wrongs(story) == []
    assert len({stint.who for stint in story.stints}) > 1


@pytest.mark.parametrize("renewal", ["commit", "ping", "none"])
def test_leaders_of_pings_lose_updates_unless_they_are_guarded(renewal: Renewal) -> None:
    outside = hole._replace(renewal=renewal, players=tuple(each._replace(how="outside") for each in hole.players))
    story = play(outside)
    assert story.counted_outside > 50
    assert (lost_updates(story) == []) == (renewal == "commit")
    guarded = hole._replace(renewal=renewal, players=tuple(each._replace(how="count") for each in hole.players))
    story = play(guarded)
    assert story.counted > 20
    assert lost_updates(story) == []


def without_servers(at: float) -> tuple[Fault, ...]:
    """All three of them are down for a while."""
    return tuple(Fault(at, "kill", server, lasts=4) for server in range(3))


#: Together they show each transition that there is.
EVENTFUL = [
    hole,
    passed_on,
    Plot((Player(), Player("cancelled", 1.5, 3.0))),  # gives up while it waits
    Plot((Player("cancelled", stays=0.002),)),  # gives up as soon as it has begun
    Plot(
        (Player("lead", stays=12.0),), (Fault(6, "reset", "p0"), *without_servers(11))
    ),  # suspended, and back; then lost
    Plot((Player("lead", stays=4.0),), without_servers(4)),  # resigns while it is suspended
    # Each of three is over before its body begins, while a lease may last: two lose their session, one gives up.
    passed_on._replace(faults=(*passed_on.faults, Fault(14, "close", "p2"))),
    Plot(one_leads, (cut_off, *deleted("leading", "holder"), Fault(12, "close", "p1"))),
    Plot((one_leads[0], Player("cancelled", 1.5, 11.0)), (cut_off, *deleted("leading", "holder"))),
]


def test_model_sees_every_transition_of_the_table_and_no_other() -> None:
    seen = {transition for plot in EVENTFUL for transition in play(plot).transitions}
    assert seen == {(before, after) for before, following in NEXT.items() for after in following}


class Breakage(NamedTuple):
    """A way to build it wrong, a plot in which that does harm, and the check that finds it."""

    breaks: Callable[[pytest.MonkeyPatch], object]
    plot: Plot
    check: Callable[[Story], list[str]]


def lease_from_reply(patch: pytest.MonkeyPatch) -> None:
    def proved(self: CommitLease, sent: float, answered: float, last_answered: object) -> bool:
        self.end = max(self.end, answered + self.timeout * 0.98)
        return True

    patch.setattr(CommitLease, "proved", proved)


def lease_from_the_last_proof(patch: pytest.MonkeyPatch) -> None:
    """As if a commit showed that the leading server had heard of all that was sent before."""

    def proved(self: CommitLease, sent: float, answered: float, last_answered: object) -> bool:
        self.end = max(self.end, sent + self.timeout * 0.98)
        return True

    patch.setattr(CommitLease, "proved", proved)


def lease_on_a_clock_that_sleeps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FakeEnsemble, "boottime", lambda self: trio.current_time())


def no_sync_before_the_search(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BoundClient, "sync", lambda self, path: trio.lowlevel.checkpoint())


def no_respect_for_the_holder(patch: pytest.MonkeyPatch) -> None:
    async def take_over(self: Campaign) -> None:
        with suppress(NoNodeError):
            await self.plan.client.delete(self.plan.paths.holder)

    patch.setattr(Campaign, "_wait_for_holder", take_over)


def release_before_the_body_has_ended(patch: pytest.MonkeyPatch) -> None:
    lose = Keeper.lose

    def hasty(self: Keeper, reason: str) -> None:
        lose(self, reason)
        trio.lowlevel.spawn_system_task(self.campaign.resign, self.victory.node, self.version)

    patch.setattr(Keeper, "lose", hasty)


def no_second_look_at_the_queue(patch: pytest.MonkeyPatch) -> None:
    """A candidate that believes it is its turn as soon as the one before it is gone."""
    wait_for, win = SequentialCampaign._wait_for, SequentialCampaign.win
    won: list[Victory] = []

    async def hasty(self: SequentialCampaign, node: str) -> None:
        await wait_for(self, node)
        own = f"{self.plan.paths.path}/{self._name}"
        with suppress(ZooKeeperError):
            while (victory := await self.begin(own, Check(own))) is None:
                continue
            won.append(victory)
            raise EOFError

    async def hasty_win(self: SequentialCampaign) -> Victory:
        try:
            return await win(self)
        except EOFError:
            return won.pop()

    patch.setattr(SequentialCampaign, "_wait_for", hasty)
    patch.setattr(SequentialCampaign, "win", hasty_win)


def no_suspicion(patch: pytest.MonkeyPatch) -> None:
    """A candidate that takes every deletion of a znode for the end of a session."""
    patch.setattr(Witness, "suspect", lambda self, until: None)


def no_suspicion_of_the_holder(patch: pytest.MonkeyPatch) -> None:
    succeeds = Witness.succeeds
    patch.setattr(Witness, "succeeds", lambda self, record, holder, parted: succeeds(self, record, None, None))


def no_memory_of_the_epoch(patch: pytest.MonkeyPatch) -> None:
    """A client that forgets, for each campaign, that it was a candidate before."""
    init = Campaign.__init__

    def forgetful(self: Campaign, plan: Plan, progress: Progress, *, wait: bool) -> None:
        init(self, dataclasses.replace(plan, witness=Witness()), progress, wait=wait)

    patch.setattr(Campaign, "__init__", forgetful)


def no_word_of_doubt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Campaign, "_doubt", lambda self: 0.0)


BREAKAGES = {
    "lease from reply": Breakage(
        lease_from_reply,
        Plot(one_leads, (Fault(10, "cut", "p0", 3.5, "replies"), Fault(10.3, "cut", "p0", 15, "requests"))),
        overlaps,
    ),
    "lease from the last proof": Breakage(lease_from_the_last_proof, Plot(one_leads, timeout=4.0), unfounded_leases),
    "lease on a clock that sleeps": Breakage(
        lease_on_a_clock_that_sleeps,
        Plot(one_leads, (Fault(10, "cut", "p0", 15), Fault(10.5, "suspend", amount=4.5)), lingers=False),
        overlaps,
    ),
    "no sync before the search": Breakage(
        no_sync_before_the_search,
        # The second campaign: its create is committed, and the servers that are left have not heard of that yet.
        Plot(
            (Player("lead", 1.0, 1.0, 5.0, at=0),),
            (
                Fault(7.0, "drop reply", "p0", 10.0, "CREATE"),
                Fault(7.0, "slow", 1, 5.0, amount=0.5),
                Fault(7.0, "slow", 2, 5.0, amount=0.5),
            ),
        ),
        duplicates,
    ),
    "no respect for the holder": Breakage(
        no_respect_for_the_holder,
        Plot(one_leads, (Fault(10, "cut", "p0", 15), Fault(10.2, "delete", how="leading"))),
        overlaps,
    ),
    "no suspicion when the tree is gone": Breakage(
        no_suspicion, Plot(one_leads, (Fault(10, "delete", how="above"),)), overlaps
    ),
    "no suspicion when the tree of a simple election is gone": Breakage(
        no_suspicion, Plot(one_leads, (cut_off, Fault(10, "delete", how="above", amount=0.01)), mode="simple"), overlaps
    ),
    "no suspicion of a holder that went first": Breakage(
        no_suspicion_of_the_holder, Plot(one_leads, deleted("holder", "leading", apart=0.01)), overlaps
    ),
    "no suspicion of a holder that went without a word": Breakage(
        no_suspicion_of_the_holder, Plot(one_leads, (cut_off, *deleted("leading", "holder"))), overlaps
    ),
    "no memory of the epoch": Breakage(
        no_memory_of_the_epoch,
        # The first rests while the second leads, and finds nothing when it comes back.
        Plot(
            (Player("lead", 1.0, 5.0, 3.0), Player(starts=1.5)),
            (Fault(7.5, "cut", "p1", 15), Fault(8.0, "delete", how="above")),
        ),
        overlaps,
    ),
    "no word of doubt": Breakage(no_word_of_doubt, passed_on, overlaps),
    "release before the body has ended": Breakage(
        release_before_the_body_has_ended, Plot(one_leads, (Fault(10, "delete", how="leading"),)), overlaps
    ),
    "no second look at the queue": Breakage(
        no_second_look_at_the_queue,
        Plot(
            (
                Player("lead", 1.0, 6.0, 60.0),
                Player(starts=1.5),
                Player("cancelled", 2.0, 3.0, 60.0),
                Player(starts=2.5),
            )
        ),
        queue_jumpers,
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_what_is_built_wrong_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breakage = BREAKAGES[name]
    plots = [breakage.plot._replace(seed=seed) for seed in range(3)]
    assert [wrongs(play(plot)) for plot in plots] == [[], [], []]
    breakage.breaks(monkeypatch)
    assert any(breakage.check(play(plot)) for plot in plots)
