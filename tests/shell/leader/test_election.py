"""Blocks of `lead` and bodies of `run` that do unusual things. Against the pretended ensemble, with a virtual clock."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import zkwire
from election import Election, ElectionError, LeadershipLostError, Term
from tests.support.stage import HOLDER, PATH, T, loses, stage

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

Block = Callable[[Election, Term, trio.Nursery], Awaitable[None]]


async def lose(election: Election, term: Term) -> None:
    """Delete the leader's znode, and wait until that is known."""
    await election._client.delete(term.node)
    await term.lost.wait()


async def proclaim(term: Term) -> None:
    with trio.CancelScope(shield=True):  # to hear of it by its error, not by the cancellation
        await term.proclaim(b"")


@pytest.mark.parametrize("mode", ["sequential", "simple"])
async def test_grace_of_more_than_a_third_of_the_timeout_is_an_error_and_not_a_wait(
    mode: str, autojump_clock: MockClock
) -> None:
    async with stage() as on, on.client("a") as zk:
        for grace in (T / 3 + 0.01, 60.0, float("inf")):
            with pytest.raises(ElectionError, match="more than a third"):
                await on.on(zk, mode=mode, grace=grace).campaign()
        assert await zk.exists(PATH) is None
        async with on.on(zk, mode=mode, grace=T / 3).lead() as term:
            assert term.is_leader


async def test_acl_is_the_one_that_was_given_whatever_becomes_of_the_list(autojump_clock: MockClock) -> None:
    async with stage() as on, on.client("a") as zk:
        acl = list(zkwire.OPEN_ACL_UNSAFE)
        election = on.on(zk, acl=acl)
        acl.clear()
        async with election.lead() as term:
            assert term.is_leader


async def test_run_leads_again_when_the_loss_comes_in_a_group(autojump_clock: MockClock) -> None:
    terms: list[Term] = []

    async def body(term: Term) -> str:
        terms.append(term)
        if len(terms) == 1:
            async with trio.open_nursery() as nursery:
                await lose(election, term)
                nursery.start_soon(proclaim, term)
                nursery.start_soon(proclaim, term)
        return "done"

    async with stage() as on, on.election() as election:
        assert await election.run(body) == "done"
        assert len(terms) == 2


async def test_run_lets_pass_what_else_comes_in_a_group_with_the_loss(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def body(term: Term) -> None:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope(shield=True):
                await lose(election, term)
            nursery.start_soon(proclaim, term)
            nursery.start_soon(fail)

    async with stage() as on, on.election() as election:
        with pytest.raises(BaseExceptionGroup) as caught:
            await election.run(body)
        assert {type(error) for error in caught.value.exceptions} == {LeadershipLostError, ZeroDivisionError}


async def test_run_does_not_take_the_loss_of_another_election_for_its_own(autojump_clock: MockClock) -> None:
    runs = 0

    async def body(term: Term) -> None:
        nonlocal runs
        runs += 1
        async with Election(outer._client, "/inner", overrun="ignore", boottime=on.ensemble.boottime).lead() as inner:
            await lose(outer, inner)
            await trio.sleep_forever()

    async with stage() as on, on.election() as outer:
        with loses("/inner"):
            await outer.run(body)
        assert runs == 1
        assert await outer._client.exists(HOLDER) is None


async def test_block_that_would_wait_for_itself_is_refused(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        async with election.lead() as term:
            for again in (election.lead(), election.lead(timeout=1.0)):
                with pytest.raises(ElectionError, match="wait for itself"):
                    await again.__aenter__()
            assert term.is_leader
            assert election.state == "leading"
        async with election.lead():
            assert await election.contenders() != []


Way = Callable[[Election], Awaitable[object]]


async def lead(election: Election) -> None:
    async with election.lead():
        raise AssertionError("led")


async def run(election: Election) -> None:
    await election.run(lambda term: lead(election))


WAYS: list[Way] = [lead, run, lambda election: election.campaign(), lambda election: election.campaign(timeout=0)]


@pytest.mark.rule("L14")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
async def test_second_campaign_of_one_election_is_refused_and_the_first_goes_on(
    mode: str, autojump_clock: MockClock
) -> None:
    async def refused(what: str) -> None:
        state = election.state
        for way in WAYS:
            with pytest.raises(ElectionError, match=f"this Election {what} already.* one Election for each candidate"):
                await way(election)
            assert election.state == state

    async def lead_first(task_status: trio.TaskStatus[None]) -> None:
        async with election.lead() as term:
            task_status.started()
            await ending.wait()
            assert term.is_leader

    async with stage() as on, on.election("a", mode=mode) as election, on.election("b", mode=mode) as other:
        ending = trio.Event()
        earlier = await other.campaign()
        async with trio.open_nursery() as nursery:

            async def second_tries() -> None:
                await trio.sleep(1)
                assert election.state == "waiting"
                await refused("waits for its turn")
                await earlier.resign()

            nursery.start_soon(second_tries)
            await nursery.start(lead_first)
            await refused("leads")
            await trio.sleep(T)
            assert election.state == "leading"
            ending.set()
        assert election.state == "resigned"
        async with election.lead() as term:  # one after another
            assert term.is_leader
        term = await election.campaign()
        await refused("leads")
        assert term.state == "leading"
        await term.resign()
        await (await election.campaign()).resign()


async def test_block_after_a_lost_term_without_one_resigns_that(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        term = await election.campaign()
        on.ensemble.delete(term.node)
        await term.lost
        async with election.lead() as again:
            assert again.is_leader
            assert term.state == "resigned"


async def resign_shielded(election: Election, term: Term, nursery: trio.Nursery) -> None:
    with trio.CancelScope(shield=True):
        await term.resign()


async def close(election: Election, term: Term, nursery: trio.Nursery) -> None:
    await election._client.aclose()
    await trio.lowlevel.checkpoint()


async def resign_shielded_in_a_task(election: Election, term: Term, nursery: trio.Nursery) -> None:
    nursery.start_soon(resign_shielded, election, term, nursery)
    await trio.sleep_forever()


async def close_in_a_task(election: Election, term: Term, nursery: trio.Nursery) -> None:
    nursery.start_soon(close, election, term, nursery)
    await trio.sleep_forever()


@pytest.mark.parametrize("block", [resign_shielded, resign_shielded_in_a_task, close, close_in_a_task])
async def test_block_that_ends_itself_does_not_wait_for_itself(block: Block, autojump_clock: MockClock) -> None:
    lost = None
    async with stage() as on, on.election() as election:
        before = trio.current_time()
        try:
            async with election.lead() as term, trio.open_nursery() as nursery:
                await block(election, term, nursery)
        except LeadershipLostError as error:
            lost = error
        assert trio.current_time() - before < T / 6
        assert (lost is not None) == (block in (close, close_in_a_task))
        await trio.sleep(1.0)
        assert HOLDER not in on.ensemble.tree.nodes


# --- what the constructor refuses


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"data": "text"}, r"data must be bytes; a str can be given as text.encode\(\); got str$"),
        ({"data": bytearray(b"x")}, "data must be bytes.*got bytearray"),
        ({"data": None}, "data must be bytes.*got NoneType"),
        ({"path": "/api/"}, "path must be the path of a znode: a path does not end with /, and .* got str '/api/'"),
        ({"path": "api"}, "a path starts with /"),
        ({"path": ""}, "a path starts with /"),
        ({"path": "//"}, "a path does not end with /"),
        ({"path": "/a//b"}, "no part of a path between two slashes is empty"),
        ({"path": "/a/../b"}, "no part of a path"),
        ({"path": b"/api"}, "a path is a str, not bytes"),
        ({"path": None}, "a path is a str, not NoneType"),
        ({"zk": "127.0.0.1:2181"}, r"zk must be a zkwire.Client, as zkwire.connect gives one; got str$"),
        ({"mode": "Simple"}, "mode must be 'sequential' or 'simple'; got str 'Simple'"),
        ({"mode": ["simple"]}, "mode must be .* got list"),
        ({"dialect": "curator"}, "dialect must be one of native, curator-latch, kazoo; got str 'curator'"),
        ({"dialect": ["native"]}, "dialect must be .* got list"),
        ({"renewal": True}, "renewal must be .* got bool True"),
        ({"acl": ()}, "acl must be a list or tuple of zkwire.ACL, not empty"),
        ({"acl": "world:anyone"}, "acl must be a list or tuple of zkwire.ACL"),
        ({"acl": zkwire.OPEN_ACL_UNSAFE[0]}, "acl must be a list or tuple of zkwire.ACL"),
        ({"mixed": False}, "mixed must be 'raise' or 'warn'"),
        ({"takeover_delay": "3"}, "takeover_delay must be seconds, 0 or more; got str '3'"),
        ({"takeover_delay": -1}, "takeover_delay must be seconds, 0 or more; got int -1"),
        ({"takeover_delay": None}, "takeover_delay must be seconds"),
        ({"jitter": float("nan")}, "jitter must be seconds, 0 or more"),
        ({"grace": True}, "grace must be None, or seconds, 0 or more; got bool True"),
        ({"overrun": "kill"}, "overrun must be 'exit', 'raise', 'ignore' or a function"),
        ({"boottime": 5.0}, "boottime must be a function that gives seconds"),
    ],
    ids=str,
)
async def test_argument_of_the_wrong_kind_is_refused_at_once(
    argument: dict[str, Any], said: str, autojump_clock: MockClock
) -> None:
    async with stage() as on, on.client("a") as zk:
        with pytest.raises(ValueError, match=f"^Election: .*{said}"):
            Election(**{"zk": zk, "path": PATH, **argument})


def test_what_only_the_election_calls_is_not_public() -> None:
    assert not {"finish", "lose", "check", "body"} & set(dir(Term))
