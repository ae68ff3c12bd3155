"""The four strategies and what is counted for them, with given chance and over lists that change."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from election.errors import NoMembersError, RegistryError
from election.registry.picking import STRATEGIES, Picker, strategy


class Named(NamedTuple):
    name: str


def named(*names: str) -> list[Named]:
    return [Named(name) for name in sorted(names)]


def rng() -> random.Random:
    return random.Random(7)


@pytest.mark.rule("D10")
@given(
    which=st.sampled_from(sorted(STRATEGIES)),
    lists=st.lists(st.sets(st.sampled_from("abcdefgh"), min_size=1), min_size=1, max_size=20),
    seed=st.integers(0, 2**32),
)
def test_every_pick_is_from_the_present_list(which: str, lists: list[set[str]], seed: int) -> None:
    picker = strategy(which, random.Random(seed))
    for names in lists:
        assert picker.pick(named(*names), {}).name in names


@pytest.mark.rule("D11")
def test_round_robin_over_a_stable_list_is_exactly_fair() -> None:
    picker, members = strategy("round-robin", rng()), named(*"abcde")
    rounds = [[picker.pick(members, {}).name for _ in members] for _ in range(20)]
    assert all(sorted(names) == list("abcde") for names in rounds)
    assert len({tuple(names) for names in rounds}) == 1  # and in the same order


@pytest.mark.rule("D11")
def test_round_robin_goes_on_after_a_member_that_has_gone() -> None:
    picker = strategy("round-robin", rng())
    while picker.pick(named(*"abc"), {}).name != "b":
        pass
    assert [picker.pick(named("a", "c", "d"), {}).name for _ in range(4)] == ["c", "d", "a", "c"]


def test_clients_do_not_all_begin_a_round_with_the_same_member() -> None:
    firsts = {strategy("round-robin", random.Random(seed)).pick(named(*"abcde"), {}).name for seed in range(50)}
    assert firsts == set("abcde")


def test_random_picks_each_about_as_often() -> None:
    picker = strategy("random", rng())
    picks = Counter(picker.pick(named(*"abcd"), {}).name for _ in range(4000))
    assert set(picks) == set("abcd")
    assert all(850 < count < 1150 for count in picks.values())


@pytest.mark.rule("D11")
def test_sticky_changes_only_when_its_member_leaves() -> None:
    picker = strategy("sticky", rng())
    first = picker.pick(named(*"abcdefgh"), {}).name
    assert {picker.pick(named(first, *other), {}).name for other in ("abc", "xyz", "", "h")} == {first}
    second = picker.pick(named(*set("abcdefgh") - {first}), {}).name
    assert second != first
    assert {picker.pick(named(*"abcdefgh"), {}).name for _ in range(20)} == {second}  # not back to the first


@pytest.mark.rule("D11")
@given(loads=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3), min_size=1), seed=st.integers(0, 2**32))
def test_least_loaded_takes_one_of_the_least_loaded(loads: dict[str, int], seed: int) -> None:
    in_flight = {name: count for name, count in loads.items() if count}
    chosen = strategy("least-loaded", random.Random(seed)).pick(named(*loads), in_flight)
    assert loads[chosen.name] == min(loads.values())


def test_least_loaded_spreads_over_equals() -> None:
    picker = strategy("least-loaded", rng())
    assert {picker.pick(named(*"abc"), {"a": 1}).name for _ in range(50)} == {"b", "c"}


def test_unknown_strategy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        RegistryError, match="no strategy 'fastest'; expected one of random, round-robin, sticky, least-loaded"
    ):
        strategy("fastest", rng())


# --- what a view counts


def picker(when_all_down: Any = "use", errors: int = 2) -> Picker:
    return Picker("/s", errors=errors, window=10.0, when_all_down=when_all_down, rng=rng())


@pytest.mark.rule("D12")
def test_member_with_so_many_errors_is_not_picked_while_they_are_within_the_window() -> None:
    members, picks = named("a", "b"), picker()

    def picked(now: float) -> set[str]:
        return {picks.pick("random", members, now).name for _ in range(50)}

    picks.note_error("a", 0.0)
    assert picked(0.0) == {"a", "b"}
    picks.note_error("a", 5.0)
    assert picked(9.9) == {"b"}
    assert picked(10.0) == {"a", "b"}
    picks.note_error("a", 11.0)
    assert picked(14.9) == {"b"}, "the errors of 5 and 11 s"
    picks.forget_errors("a")
    assert picked(14.9) == {"a", "b"}


@pytest.mark.rule("D12")
def test_when_all_are_down_any_is_picked_or_none() -> None:
    for when_all_down in ("use", "fail"):
        picks = picker(when_all_down, errors=1)
        for name in "ab":
            picks.note_error(name, 0.0)
        if when_all_down == "use":
            assert picks.pick("sticky", named("a", "b"), 1.0).name in "ab"
        else:
            with pytest.raises(NoMembersError, match="all members of /s are down: a, b"):
                picks.pick("sticky", named("a", "b"), 1.0)


@pytest.mark.rule("D11")
def test_uses_in_flight_are_counted_until_their_blocks_are_left() -> None:
    members, picks = named("a", "b"), picker()
    with picks.in_flight("a"), picks.in_flight("a"), picks.in_flight("b"):
        assert picks.pick("least-loaded", members, 0.0).name == "b"
    with pytest.raises(ValueError, match="mine"), picks.in_flight("a"):
        raise ValueError("mine")
    assert {picks.pick("least-loaded", members, 0.0).name for _ in range(50)} == {"a", "b"}


@pytest.mark.parametrize("wrong", [{"errors": 0}, {"window": -1.0}, {"when_all_down": "wait"}], ids=str)
def test_picker_refuses_options_that_mean_nothing(wrong: dict[str, Any]) -> None:
    options: dict[str, Any] = {"errors": 2, "window": 30.0, "when_all_down": "use", **wrong}
    with pytest.raises(RegistryError, match="errors must be 1 or more"):
        Picker("/s", **options, rng=rng())
