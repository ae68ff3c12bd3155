"""What becomes of a term: kept, suspended, lost, resigned. Against the pretended ensemble, under a virtual clock.

T is 6 s: the lease ends at most 5.88 s after what it counts from, and the body is cancelled 1 s before.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from election import (
    CampaignTimeout,
    Election,
    ElectionError,
    NotLeaderError,
    ProclaimConflict,
    Term,
)
from election.leader.overrun import HardDeadline
from tests.support.fake.ensemble import Fault
from tests.support.stage import HOLDER, PATH, Stage, T, loses, stage
from zkwire import (
    BadVersionError,
    ConnectionLossError,
    Create,
    EventType,
    Frame,
    KeeperState,
    NodeExistsError,
    OpCode,
    SetData,
)


async def states_of(election: Election, seen: list[str]) -> None:
    async for state in election.states():
        seen.append(state)


async def work(log: list[tuple[str, float]], stopping: float = 0.0) -> None:
    """A body that notes when it begins and has finished, and takes its time to stop."""
    log.append(("begin", trio.current_time()))
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(stopping)
        log.append(("end", trio.current_time()))


# --- the lease


@pytest.mark.rule("L3")
async def test_deadline_moves_with_each_proof(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election, election.lead() as term:
        seen = set()
        for _ in range(200):
            seen.add(round(term.deadline, 3))
            assert trio.current_time() + 0.36 * T < term.deadline < trio.current_time() + 0.98 * T - 1
            assert term.lease_end == pytest.approx(term.deadline + 1, abs=0.001)
            await trio.sleep(0.1)
        assert len(seen) > 30


async def test_on_renewal_is_called_with_each_new_end_of_the_lease(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election, election.lead() as term:
        told: list[float] = []
        term.on_renewal = told.append
        await trio.sleep(T)
        assert 14 <= len(told) <= 17
        assert told == sorted(told)
        assert told[-1] == term.lease_end


@pytest.mark.rule("L3", "L5", "L11")
@pytest.mark.parametrize("how", ["both", "requests", "replies"])
async def test_body_is_cancelled_and_finished_before_the_session_can_expire(
    how: str, autojump_clock: MockClock
) -> None:
    log: list[tuple[str, float]] = []
    async with stage() as on, on.election() as election:
        async with trio.open_nursery() as nursery:
            with loses("no proof of leadership within the lease"):
                async with election.lead() as term:
                    node = term.node
                    await trio.sleep(3)
                    nursery.start_soon(lambda: on.fault("cut", how=how, lasts=30))
                    await work(log, stopping=0.9)
        await trio.sleep(5)
        (_, begun), (_, ended) = log
        assert 0.4 * T < ended - begun < 0.98 * T
        assert on.deletions(HOLDER) == on.deletions(node)
        assert ended < on.deletions(HOLDER)[0]


@pytest.mark.rule("L4", "L13")
async def test_no_step_follows_a_suspend_that_outlasts_the_lease(autojump_clock: MockClock) -> None:
    steps: list[float] = []
    async with stage() as on, on.election() as election:
        with loses():
            async with election.lead():
                while True:
                    await trio.sleep(0.01)
                    steps.append(on.ensemble.boottime())
                    if len(steps) == 100:
                        on.ensemble.timeline.jump(T)
    assert len(steps) == 100


@pytest.mark.rule("L4")
async def test_suspend_within_the_lease_is_outlived(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election, election.lead() as term:
        await trio.sleep(2.3)  # between two proofs: one on its way would count as slow
        on.ensemble.timeline.jump(0.3 * T)
        await trio.sleep(10)
        assert term.state == "leading"
        assert term.is_leader


@pytest.mark.rule("L5", "L6")
async def test_lost_connection_suspends_at_once_and_a_proof_ends_that(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    async with stage() as on, on.election() as election, trio.open_nursery() as nursery:
        async with election.lead() as term:
            nursery.start_soon(states_of, election, seen)
            await trio.sleep(3)
            await on.fault("reset")
            await trio.sleep(0.0005)  # less than any byte takes
            assert (term.state, term.is_leader) == ("suspended", True)
            await trio.sleep(10)
            assert term.state == "leading"
            assert on.deletions(term.node) == []
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == ["leading", "suspended", "leading", "resigning", "resigned"]


@pytest.mark.rule("L7")
async def test_return_after_the_body_was_cancelled_is_a_new_term(autojump_clock: MockClock) -> None:
    terms: list[tuple[str, int]] = []

    async def body(term: Term) -> None:
        terms.append((term.node, term.token))
        if len(terms) == 1:
            # Back before the session expires.
            nursery.start_soon(lambda: on.fault("cut", lasts=0.8 * T))
            await trio.sleep_forever()

    async with stage(tick=0.5) as on, on.election() as election, trio.open_nursery() as nursery:
        session = election._client.session_id
        await election.run(body)
        assert election._client.session_id == session
        (first, token), (second, next_token) = terms
        assert first != second
        assert token < next_token
        assert len(on.deletions(first)) == 1


@pytest.mark.rule("L8")
async def test_expired_leader_is_told_and_writes_nothing_to_its_old_znodes(autojump_clock: MockClock) -> None:
    frames: list[Frame] = []
    async with stage() as on, on.election(client={"on_frame": frames.append}) as election:
        with loses():
            async with election.lead() as term:
                await trio.sleep(3)
                await on.fault("close")
                await trio.sleep_forever()
        await trio.sleep(T)
        # The second handshake tells that the session is over; the third begins a new one.
        _, told, _ = [place for place, frame in enumerate(frames) if "ConnectResponse" in zkwire.format_frame(frame)]
        written = {frame.opcode for frame in frames[told:] if frame.direction is zkwire.Direction.SENT}
        assert not written & {OpCode.MULTI, OpCode.DELETE, OpCode.SET_DATA}
        assert term.state == "resigned"


@pytest.mark.rule("L9")
@pytest.mark.parametrize("path", ["node", HOLDER])
async def test_leader_whose_znode_an_administrator_deletes_hears_of_it(path: str, autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        with loses("was deleted"):
            async with election.lead() as term:
                await trio.sleep(3)
                began = trio.current_time()
                on.ensemble.delete(term.node if path == "node" else path)
                await trio.sleep_forever()
        took = trio.current_time() - began
        assert took < (0.1 if path == "node" else T / 16 + 0.1)


@pytest.mark.rule("L10")
async def test_nobody_hears_of_the_loss_before_the_flag_says_so(autojump_clock: MockClock) -> None:
    seen: list[tuple[str, bool]] = []

    async def listen() -> None:
        seen.append((await term.lost, term.is_leader))

    async with stage() as on, on.election() as election, trio.open_nursery() as nursery:
        term = await election.campaign()
        nursery.start_soon(listen)
        await trio.sleep(1)
        assert (term.is_leader, term.lost.is_set()) == (True, False)
        on.ensemble.delete(term.node)
        await term.lost.wait()
        assert (term.is_leader, term.state) == (False, "lost")
        await term.resign()
    assert seen == [(f"{term.node} was deleted", False)]


@pytest.mark.rule("L13")
async def test_flag_is_false_from_the_deadline_on_even_where_no_task_has_run_since(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        term = await election.campaign()
        await trio.sleep(1)
        on.ensemble.timeline.jump(T)  # and no turn of the loop
        assert not term.is_leader
        assert term.state == "lost"
        with loses("no proof of leadership within the lease"):
            await term.guarded([])
        await term.resign()


@pytest.mark.rule("L14")
async def test_bodies_of_one_process_never_overlap(autojump_clock: MockClock) -> None:
    inside = 0
    worked = 0

    async def body(term: Term) -> None:
        nonlocal inside, worked
        inside += 1
        assert inside == 1
        try:
            with trio.move_on_after(0.5):
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.7)  # also when it was cancelled
            inside -= 1
        worked += 1

    async with stage() as on, on.election() as one, trio.open_nursery() as nursery:
        for election in (one, on.on(one._client), on.on(one._client), on.on(one._client)):
            nursery.start_soon(election.run, body)
        for _ in range(8):
            await trio.sleep(0.6)
            for name in await one._client.get_children(PATH):
                on.ensemble.delete(f"{PATH}/{name}")
                break
    assert worked == 4


async def fail(term: Term) -> None:
    await trio.sleep(1)
    raise ZeroDivisionError("in the body")


async def fail_in_a_block(election: Election) -> None:
    async with election.lead() as term:
        await fail(term)


@pytest.mark.rule("L15")
async def test_body_that_raises_releases_and_what_it_raised_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        for way in (fail_in_a_block, lambda election: election.run(fail)):
            with pytest.raises(ZeroDivisionError, match="in the body"):
                await way(election)
        assert await election._client.get_children(PATH) == []
        assert await election._client.exists(HOLDER) is None


@pytest.mark.rule("L15")
async def test_run_returns_what_the_body_returns_and_does_not_queue_again(autojump_clock: MockClock) -> None:
    async def body(term: Term) -> int:
        await trio.sleep(1)
        return 42

    async with stage() as on, on.election() as election:
        assert await election.run(body) == 42
        assert await election.contenders() == []
        assert election.state == "resigned"


@pytest.mark.rule("L8", "L15")
async def test_body_whose_own_request_meets_the_end_of_the_session_leads_again(autojump_clock: MockClock) -> None:
    tokens: list[int] = []

    async def body(term: Term) -> None:
        tokens.append(term.token)
        if len(tokens) == 1:
            nursery.start_soon(lambda: on.fault("close"))
        while len(tokens) == 1:
            with suppress(ConnectionLossError):
                await bound.get_data("/")

    async with stage() as on, on.election() as election, trio.open_nursery() as nursery:
        bound = election._client.bound()
        await election.run(body)
        assert len(tokens) == 2
        assert tokens[0] < tokens[1]


@pytest.mark.rule("L16")
async def test_closed_client_ends_a_term_without_a_hang(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        with loses("session|closed"):
            async with election.lead():
                await trio.sleep(1)
                election._client.detach()
                await trio.sleep_forever()


@pytest.mark.rule("L16")
async def test_loss_during_the_cleanup_of_the_body_leaves_the_cleanup_alone(autojump_clock: MockClock) -> None:
    cleaned = []
    async with stage() as on, on.election() as election:
        with loses():
            async with election.lead() as term:
                try:
                    on.ensemble.delete(term.node)
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await on.fault("close")  # now the session goes as well
                        await trio.sleep(1)
                    cleaned.append(term.state)
    assert cleaned == ["lost"]


@pytest.mark.rule("L17")
async def test_loss_without_another_campaign_shows(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    async with stage() as on, on.election() as election, trio.open_nursery() as nursery:
        nursery.start_soon(states_of, election, seen)
        await trio.testing.wait_all_tasks_blocked()
        with loses():
            async with election.lead() as term:
                on.ensemble.delete(term.node)
                await trio.sleep_forever()
        assert election.state == "resigned"
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == ["idle", "entering", "leading", "lost", "resigning", "resigned"]


@pytest.mark.rule("L18")
async def test_unstable_link_makes_no_second_znode_and_no_second_leader(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election("a") as one, on.election("b") as other, trio.open_nursery() as nursery:
        leading: list[str] = []

        async def lead(name: str, election: Election) -> None:
            async with election.lead():
                leading.append(name)
                await trio.sleep_forever()

        nursery.start_soon(lead, "a", one)
        await trio.sleep(1)
        nursery.start_soon(lead, "b", other)
        for _ in range(40):
            for name in "ab":
                await on.fault("reset", name)
            await trio.sleep(0.7)
        created = [commit for commit in on.ensemble.history if commit.path.startswith("/e/")]
        assert [commit.kind for commit in created] == [EventType.NODE_CREATED] * 2
        assert leading == ["a"]
        nursery.cancel_scope.cancel()


@pytest.mark.rule("L19")
@pytest.mark.parametrize("server", ["a", "leader", "follower"])
async def test_killing_a_server_changes_no_leader(server: str, autojump_clock: MockClock) -> None:
    async with stage() as on, on.election("a") as one, on.election("b") as other, trio.open_nursery() as nursery:
        term = await one.campaign()
        nursery.start_soon(other.run, lambda term: trio.lowlevel.checkpoint())
        await trio.sleep(3)
        await on.fault("kill", server, lasts=4)
        await trio.sleep(20)
        assert term.state == "leading"
        assert on.deletions(term.node) == []
        await term.resign()


@pytest.mark.rule("L20")
async def test_wall_clock_is_nobodys_business(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> float:
        raise AssertionError("looked at the wall clock")

    async with stage() as on:
        for clock in ("time", "time_ns", "localtime", "gmtime"):
            monkeypatch.setattr(f"time.{clock}", never)
        async with on.election() as election, election.lead() as term:
            await trio.sleep(2 * T)
            await term.proclaim(b"x")


# --- resigning


@pytest.mark.rule("R1")
async def test_znodes_that_became_somebody_elses_are_left_alone(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election(mode="simple") as election, on.client("b") as other:
        with loses():
            async with election.lead():
                try:
                    on.ensemble.delete(PATH)
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await other.create(PATH, b"theirs", mode=zkwire.CreateMode.EPHEMERAL)
        assert (await other.get_data(PATH))[0] == b"theirs"
        assert await other.exists(HOLDER) is None


@pytest.mark.rule("R1")
async def test_data_that_somebody_else_wrote_does_not_keep_the_znode(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election, on.client("b") as other:
        async with election.lead() as term:
            await other.set_data(term.node, b"scribble")
            await other.set_data(term.node, b"scribble")
        assert await other.exists(term.node) is None
        assert await other.exists(HOLDER) is None


@pytest.mark.rule("R2")
async def test_resigning_twice_does_nothing_the_second_time(autojump_clock: MockClock) -> None:
    frames: list[Frame] = []
    async with stage() as on, on.election(client={"on_frame": frames.append}) as election:
        term = await election.campaign()
        await term.resign()
        assert (term.state, term.lost.reason) == ("resigned", "resigned")
        sent = len(frames)
        await term.resign()
        assert len(frames) == sent


@pytest.mark.rule("R2")
@pytest.mark.parametrize("applied", [True, False])
async def test_resigning_goes_on_over_lost_replies_until_it_is_confirmed(
    applied: bool, autojump_clock: MockClock
) -> None:
    async with stage() as on, on.election() as election:
        term = await election.campaign()
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            fault = ("drop reply", {"how": "MULTI"}) if applied else ("cut", {"how": "requests", "lasts": 1.0})
            nursery.start_soon(lambda: on.fault(fault[0], **fault[1]))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(term.resign)
            await trio.testing.wait_all_tasks_blocked()
            assert term.state == "resigning"
        assert term.state == "resigned"
        assert len(on.deletions(term.node)) == len(on.deletions(HOLDER)) == 1


@pytest.mark.rule("R2")
async def test_resigning_ends_with_the_session_where_no_server_is_reached(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election, trio.open_nursery() as nursery:
        term = await election.campaign()
        nursery.start_soon(lambda: on.fault("cut", lasts=60))
        await trio.sleep(0.1)
        began = trio.current_time()
        await term.resign()
        assert trio.current_time() - began <= T * 4 / 3 + 0.1
        assert term.state == "resigned"


@pytest.mark.rule("L11", "R5")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
async def test_closing_the_client_ends_the_body_first_then_the_znodes_then_the_session(
    mode: str, autojump_clock: MockClock
) -> None:
    log: list[tuple[str, float]] = []
    async with stage() as on, on.election(mode=mode) as election:

        async def lead() -> None:
            with loses("the client is being closed"):
                async with election.lead():
                    await work(log, stopping=0.8)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lead)
            await trio.sleep(2)
            await election._client.aclose()
        assert log[1][1] == pytest.approx(2.8, abs=0.1)
        assert log[1][1] < on.deletions(HOLDER)[0]
        assert not any(commit.closed for commit in on.ensemble.history)  # nothing was left for the session to take


@pytest.mark.rule("R5")
async def test_leaving_the_client_resigns_a_term_without_a_block(autojump_clock: MockClock) -> None:
    async with stage() as on:
        async with on.election() as election:
            term = await election.campaign()
        assert term.state == "resigned"
        assert len(on.deletions(HOLDER)) == 1
        assert not any(commit.closed for commit in on.ensemble.history)


async def test_resigning_in_the_block_ends_it_without_an_error(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        async with election.lead() as term:
            await term.resign()
            raise AssertionError("resign came back")
        assert term.state == "resigned"
        assert await election.run(Term.resign) is None
        with trio.fail_after(1):
            async with election.lead() as term:
                with trio.CancelScope(shield=True):
                    await term.resign()  # a block that does not let itself be cancelled ends it all the same


async def test_resigning_from_another_task_waits_until_the_block_has_finished(autojump_clock: MockClock) -> None:
    log: list[tuple[str, float]] = []
    async with stage() as on, on.election() as election, trio.open_nursery() as nursery:

        async def resign(term: Term) -> None:
            await trio.sleep(1)
            await term.resign()
            log.append(("resigned", trio.current_time()))

        async with election.lead() as term:
            nursery.start_soon(resign, term)
            await work(log, stopping=0.5)
    assert [what for what, _ in log] == ["begin", "end", "resigned"]


async def test_campaigning_again_resigns_a_lost_term_and_refuses_while_it_leads(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        first = await election.campaign()
        with pytest.raises(ElectionError, match="leads already"):
            await election.campaign()
        on.ensemble.delete(first.node)
        await first.lost
        second = await election.campaign()
        assert second.token > first.token
        assert second.is_leader
        await second.resign()


# --- proclaiming


@pytest.mark.rule("P1")
async def test_proclaim_of_one_who_does_not_lead_writes_nothing(autojump_clock: MockClock) -> None:
    frames: list[Frame] = []
    async with stage() as on, on.election(client={"on_frame": frames.append}) as election:
        term = await election.campaign()
        await term.resign()
        count = len(frames)
        with pytest.raises(NotLeaderError, match="resigned"):
            await term.proclaim(b"late")
        with pytest.raises(NotLeaderError, match="resigned"):
            await term.guarded([SetData("/e-epoch", b"")])
        term = await election.campaign()
        on.ensemble.delete(term.node)
        await term.lost
        with loses("was deleted"):
            await term.proclaim(b"late")
        sent = [frame for frame in frames[count:] if frame.opcode is OpCode.SET_DATA]
        assert sent == []
        await term.resign()


@pytest.mark.rule("P2")
async def test_foreign_write_makes_the_next_proclaim_fail_and_no_later_one(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election(data=b"0") as election, on.client("b") as other, election.lead() as term:
        await term.proclaim(b"1")
        await term.proclaim(b"2")
        await other.set_data(term.node, b"theirs")
        with pytest.raises(ProclaimConflict, match="expected data version 2, saw 3"):
            await term.proclaim(b"3")
        assert (await other.get_data(term.node))[0] == b"theirs"
        await term.proclaim(b"4")
        data, stat = await other.get_data(term.node)
        assert (data, stat.version) == (b"4", 4)
        assert term.is_leader


@pytest.mark.rule("P2")
@pytest.mark.parametrize("applied", [True, False])
async def test_proclaim_after_a_lost_one_finds_out_what_became_of_it(applied: bool, autojump_clock: MockClock) -> None:
    how = {"kind": "drop reply", "how": "MULTI"} if applied else {"kind": "cut", "how": "requests", "lasts": 0.2}
    async with stage() as on, on.election(data=b"0") as election, trio.open_nursery() as nursery:
        term = await election.campaign()
        await trio.sleep(0.3)
        nursery.start_soon(lambda: on.fault(**how))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(lambda: trio.lowlevel.checkpoint() if applied else on.fault("reset"))
        with pytest.raises(ConnectionLossError):
            await term.proclaim(b"1")
        await term.proclaim(b"2")
        data, stat = await election._client.get_data(term.node)
        assert (data, stat.version) == (b"2", 2 if applied else 1)
        await term.resign()


@pytest.mark.rule("P2")
async def test_foreign_write_after_a_lost_proclaim_is_distinguished_from_it(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election(data=b"0") as election, on.client("b") as other, election.lead() as term:
        await on.fault("drop reply", how="MULTI")
        with pytest.raises(ConnectionLossError):
            await term.proclaim(b"1")
        await other.set_data(term.node, b"theirs")
        with pytest.raises(ProclaimConflict):
            await term.proclaim(b"2")
        await term.proclaim(b"3")


async def test_proclaims_of_several_tasks_take_turns(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election, election.lead() as term:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(term.proclaim, b"%d" % number)
        assert (await election._client.get_data(term.node))[1].version == 20


# --- fencing


@pytest.mark.rule("P7")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
async def test_tokens_of_successive_terms_increase(mode: str, autojump_clock: MockClock) -> None:
    tokens: list[int] = []

    async def body(term: Term) -> None:
        tokens.append(term.token)
        stat = await election._client.exists(term.node)
        assert stat is not None
        assert term.token == stat.czxid
        if len(tokens) % 3 == 0:
            await on.fault("close")
            await trio.sleep_forever()

    async with stage() as on, on.election(mode=mode) as election:
        for _ in range(6):
            await election.run(body)
    assert len(tokens) > 6
    assert tokens == sorted(set(tokens))


@pytest.mark.rule("P8")
async def test_guarded_operations_are_applied_as_a_whole_or_not_at_all(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election() as election:
        zk = election._client
        async with election.lead() as term:
            path, stat = await term.guarded([Create("/x", b"1"), SetData("/x", b"2")])
            assert (path, stat.version) == ("/x", 1)
            with pytest.raises(NodeExistsError) as refused:
                await term.guarded([SetData("/x", b"3"), Create("/x", b"")])
            assert refused.value.index == 1
            assert refused.value.results is not None
            assert [type(result) for result in refused.value.results] == [type(None), NodeExistsError]
            with pytest.raises(BadVersionError) as refused_too:
                await term.guarded([SetData("/x", b"3", 7)])
            assert refused_too.value.index == 0
            assert (await zk.get_data("/x"))[0] == b"2"
            assert term.is_leader


@pytest.mark.rule("P8", "P9")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
@pytest.mark.parametrize("deleted", ["node", "holder"])
async def test_guarded_operation_fails_as_soon_as_leadership_is_gone(
    mode: str, deleted: str, autojump_clock: MockClock
) -> None:
    async with stage() as on, on.election(mode=mode) as election:
        await election._client.create("/x", b"")
        term = await election.campaign()
        on.ensemble.delete(term.node if deleted == "node" else HOLDER)
        await trio.lowlevel.checkpoint()
        with loses("was deleted"):
            while True:  # whichever comes first, the event or the refusal
                await term.guarded([SetData("/x", b"late")])
        version = (await election._client.get_data("/x"))[1].version
        assert not term.is_leader
        with loses():
            await term.guarded([SetData("/x", b"late")])
        assert (await election._client.get_data("/x"))[1].version == version
        await term.resign()


@pytest.mark.rule("P9")
async def test_resource_that_keeps_the_highest_token_refuses_the_older_term(autojump_clock: MockClock) -> None:
    highest = 0
    accepted: list[str] = []

    def write(token: int, who: str) -> None:
        nonlocal highest
        if token >= highest:
            highest = token
            accepted.append(who)

    async with stage() as on, on.election("a") as one, on.election("b") as other:
        term = await one.campaign()
        write(term.token, "a")
        on.ensemble.delete(term.node)
        await term.lost
        await term.resign()
        async with other.lead() as successor:
            write(successor.token, "b")
            write(term.token, "a")  # a message that was on its way all the time
            write(successor.token, "b")
    assert accepted == ["a", "b", "b"]


@pytest.mark.rule("P11")
@pytest.mark.parametrize("mode", ["sequential", "simple"])
@pytest.mark.parametrize(("how", "after"), [("resign", "resigned"), ("crash", "expired"), ("delete", "deleted")])
async def test_successor_knows_how_the_term_before_ended_and_delays_only_after_a_crash(
    how: str, after: str, mode: str, autojump_clock: MockClock
) -> None:
    async with stage() as on, on.election("a", mode=mode) as one, on.election("b", mode=mode) as other:
        began = 0.0

        async def succeed() -> None:
            patient = on.on(other._client, mode=mode, takeover_delay=30.0)
            async with patient.lead() as term:
                assert term.predecessor == after
                assert (trio.current_time() - began > 30) == (how != "resign")

        async with trio.open_nursery() as nursery:
            term = await one.campaign()
            assert term.predecessor == "none"
            nursery.start_soon(succeed)
            await trio.sleep(2)
            began = trio.current_time()
            if how == "resign":
                await term.resign()
            elif how == "crash":
                await on.fault("close", "a")
            else:
                on.ensemble.delete(term.node)
                await trio.sleep(10)
                assert await other.leader() is None
                assert other._client.state is KeeperState.SYNC_CONNECTED
                await term.resign()


async def test_loss_during_the_takeover_delay_leads_to_another_campaign(autojump_clock: MockClock) -> None:
    async with stage() as on, on.election("a") as one, on.election("b", takeover_delay=10.0) as other:
        await one.campaign()
        await on.fault("close", "a")
        async with trio.open_nursery() as nursery:

            async def disturb() -> None:
                await trio.sleep(5)
                leader = await other.leader()
                assert leader is not None
                on.ensemble.delete(leader.node)

            nursery.start_soon(disturb)
            async with other.lead() as term:
                assert trio.current_time() > 5
                assert term.is_leader


# --- how much of the lease a body begins with


def left(on: Stage, term: Term) -> float:
    """Seconds until the end of the lease."""
    return term.lease_end - on.ensemble.boottime()


@pytest.mark.rule("L3", "L12")
@pytest.mark.parametrize("without_a_block", [True, False])
async def test_body_begins_with_a_third_of_the_timeout_after_a_takeover_delay_without_proofs(
    without_a_block: bool, autojump_clock: MockClock
) -> None:
    async with stage() as on, on.election("a") as one, on.election("b", takeover_delay=10.0) as other:
        await one.campaign()
        await on.fault("close", "a")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            # Over shortly after the delay, when T/4 or so is left of the lease.
            nursery.start_soon(lambda: on.ensemble.inflict([Fault(10.0 - 0.4 * T, "cut", "b", 0.4 * T + 0.1)]))
            if without_a_block:
                term = await other.campaign()
                assert left(on, term) >= T / 3
                await term.resign()
            else:
                async with other.lead() as term:
                    assert left(on, term) >= T / 3
        assert trio.current_time() - began > 10.1
        assert term.predecessor == "expired"


@pytest.mark.rule("L12")
async def test_thread_of_the_hard_deadline_that_is_slow_to_start_takes_nothing_from_the_body(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Thread.start` waits until the thread runs, which on a busy machine may be long."""
    started: list[float] = []

    def start_slowly(overrun: HardDeadline) -> None:
        started.append(overrun.end)
        if len(started) == 1:
            on.ensemble.timeline.jump(0.7 * T)

    monkeypatch.setattr(HardDeadline, "start", start_slowly)
    async with stage() as on, on.election() as election, election.lead() as term:
        assert started[0] == float("inf")  # it has no deadline before the body begins
        assert left(on, term) >= T / 3


@pytest.mark.parametrize("timeout", [1.0, 1.5, 2.0, 4.0])
async def test_turn_that_comes_at_any_time_begins_with_enough_and_keeps_its_place(
    timeout: float, autojump_clock: MockClock
) -> None:
    """A waiter sends only a ping each third of T, so the servers may have last heard of it T/3 ago."""

    async def succeed() -> None:
        async with on.on(other).lead() as successor:
            assert left(on, successor) >= max(timeout / 3, min(0.75, timeout / 2))
            assert successor.predecessor == "resigned"

    async with (
        stage(tick=timeout / 2) as on,
        on.ensemble.client("a", timeout) as one,
        on.ensemble.client("b", timeout) as other,
    ):
        for tenth in range(10):
            term = await on.on(one).campaign()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(succeed)
                await trio.sleep(timeout * (1 + tenth / 30))
                began = trio.current_time()
                await term.resign()
            assert trio.current_time() - began < (0.05 if timeout >= 2 else timeout / 4 + 0.05)


async def test_term_that_is_lost_before_its_body_begins_is_followed_by_another_campaign(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_late(overrun: HardDeadline) -> None:
        if not jumped:
            jumped.append(True)
            on.ensemble.timeline.jump(2 * T)

    jumped: list[bool] = []
    monkeypatch.setattr(HardDeadline, "start", start_late)
    async with stage() as on, on.election() as election, election.lead() as term:
        assert jumped
        assert term.is_leader
        assert left(on, term) >= T / 3


async def test_hard_deadline_is_nothing_to_a_term_whose_body_has_not_begun(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[HardDeadline] = []
    monkeypatch.setattr(HardDeadline, "start", lambda overrun: made.append(overrun))
    async with stage() as on, on.election("a") as one, on.election("b", takeover_delay=10.0) as other:
        await one.campaign()
        await on.fault("close", "a")
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                await trio.sleep(9.0)  # after many proofs
                ends.append(made[-1].end)

            ends: list[float] = []
            nursery.start_soon(look)
            async with other.lead() as term:
                assert ends == [float("inf")]
                assert made[-1].end == term.lease_end


async def test_takeover_delay_is_waited_out_by_the_next_when_a_term_is_lost_meanwhile(
    autojump_clock: MockClock,
) -> None:
    """A term without a body is not a hand-over."""
    async with (
        stage() as on,
        on.election("a") as one,
        on.election("b", takeover_delay=10.0) as other,
        on.election("c", takeover_delay=10.0) as third,
    ):
        await one.campaign()
        await on.fault("close", "a")
        began = trio.current_time()
        with pytest.raises(CampaignTimeout):
            await other.campaign(timeout=8.0)
        async with third.lead() as term:
            assert term.predecessor == "expired"
            assert trio.current_time() - began > 18.0


@pytest.mark.parametrize("mode", ["sequential", "simple"])
async def test_candidate_that_does_not_wait_for_others_waits_out_a_lease_that_may_last(
    mode: str, autojump_clock: MockClock
) -> None:
    async with stage() as on, on.election("a", mode=mode) as one, on.election("b", mode=mode) as other:
        term = await one.campaign()
        with pytest.raises(CampaignTimeout):
            await other.campaign(timeout=0)
        for path in (term.node, HOLDER, "/e-epoch"):
            on.ensemble.delete(path)
        await trio.sleep(0.1)
        began = trio.current_time()
        again = await other.campaign(timeout=0)
        assert T - 0.2 < trio.current_time() - began < T + 0.2
        assert again.predecessor == "deleted"
        await again.resign()
        assert not term.is_leader
