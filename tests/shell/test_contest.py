"""What the checkers of tests/support/judge.py and contest.py find, and the resource that takes no older token."""

from __future__ import annotations

import pytest

from tests.support import contest, judge
from tests.support.candidate_process import ENTER, EXIT, GUARDED_ASKED, GUARDED_DONE, STEP
from tests.support.contest import Record
from tests.support.fenced_resource import Resource
from tests.support.judge import Pause, Stint

MS = 1_000_000  # nanoseconds


def stint(
    who: str, token: int, began: int, *steps: int, ended: int | None = None, pauses: tuple[Pause, ...] = ()
) -> Stint:
    """Times in milliseconds."""
    times = [Record(STEP, token, place, step * MS, 0) for place, step in enumerate(steps)]
    records = [Record(ENTER, token, 0, began * MS, 0), *times]
    if ended is not None:
        records.append(Record(EXIT, token, 0, ended * MS, 0))
    (found,) = contest.stints(who, records, [Pause(a / 1000, b / 1000) for a, b in pauses], is_over=False)
    return found


def test_bodies_one_behind_the_other_are_well() -> None:
    found = [stint("a", 1, 0, 1, 2, ended=3), stint("b", 2, 4, 5, 6)]
    assert judge.overlaps(found, 0.01) == []
    assert judge.stale_steps(found) == (0, [])
    assert judge.falling_tokens(found) == []


def test_bodies_at_a_time_are_an_overlap_also_without_steps() -> None:
    first, short, second = stint("a", 1, 0, 1, ended=9), stint("b", 2, 1, ended=2), stint("c", 3, 4, 5)
    longest = judge.overlaps([first, short, second], 0.02)[0]
    assert (round(longest.seconds, 6), *longest[1:]) == (0.005, first, second)
    assert judge.overlaps([stint("a", 1, 0), stint("b", 2, 7)], 0.01) != []
    assert judge.stale_steps([stint("a", 1, 0, 5), stint("b", 2, 4)])[1] != []


def test_stopped_body_does_not_overlap_and_may_finish_its_step() -> None:
    pauses = (Pause(10, 5000),)
    for steps in ((5,), (5, 5001)):
        found = [stint("a", 1, 0, *steps, ended=5003, pauses=pauses), stint("b", 2, 2000, 2001, 6000)]
        assert judge.overlaps(found, 7.0) == []
        assert judge.stale_steps(found) == (len(steps) - 1, [])


def test_stopped_body_that_goes_on_is_found() -> None:
    pauses = (Pause(10, 5000),)
    for steps, ended in (((5, 5001, 5004), 5010), ((5, 6500), 6501), ((5,), 6501)):
        found = [stint("a", 1, 0, *steps, ended=ended, pauses=pauses), stint("b", 2, 2000, 2001)]
        assert judge.overlaps(found, 7.0) != []
        assert bool(judge.stale_steps(found)[1]) == (len(steps) > 1)


def test_tokens_that_do_not_rise_are_found() -> None:
    assert judge.falling_tokens([stint("b", 1, 5), stint("a", 1, 0, ended=1)]) != []
    assert judge.falling_tokens([stint("b", 2, 5), stint("a", 3, 0, ended=1)]) != []


def test_body_of_a_process_that_is_gone_ends_with_its_last_record() -> None:
    records = [Record(ENTER, 1, 0, 10 * MS, 0), Record(STEP, 1, 1, 20 * MS, 0), Record(GUARDED_ASKED, 1, 1, 30 * MS, 0)]
    (found,) = contest.stints("a", records, [], is_over=True)
    assert (found.began, found.steps, found.ended) == (0.01, [0.02], 0.03)


@pytest.mark.parametrize(
    ("asked", "done", "final", "is_well"),
    [
        ([1, 2, 3], [1, 2, 3], 3, True),
        ([1, 2, 2, 3], [1, 2, 3], 3, True),
        ([1, 2, 3], [1, 3], 3, True),
        ([1, 2, 3], [1, 2, 3], 2, False),
        ([1, 2, 2], [1, 2, 2], 2, False),
        ([1, 1, 2], [1, 1, 2], 3, False),
        ([1, 2], [1, 2], 3, False),
    ],
)
def test_updates_that_are_lost_are_found(asked: list[int], done: list[int], final: int, is_well: bool) -> None:
    records = [Record(GUARDED_ASKED, 1, number, 0, 0) for number in asked]
    records += [Record(GUARDED_DONE, 1, number, 0, 0) for number in done]
    assert (contest.wrong_guarded(records, final) == []) == is_well


def test_resource_that_takes_an_older_token_is_found() -> None:
    assert contest.wrong_fenced([], 0, [1, 2, 3]) == []
    assert contest.wrong_fenced([], 0, [1, 3, 2]) != []


def test_resource_takes_nothing_older_than_the_newest_token() -> None:
    resource = Resource()
    assert [resource.answer(*line.split()) for line in ("read 5", "write 5 1", "read 7", "write 5 2", "read 5")] == [
        "0",
        "done",
        "1",
        "stale",
        "stale",
    ]
    assert (resource.number, resource.tokens, resource.refused) == (1, [5, 7], 2)
