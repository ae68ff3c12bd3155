"""Picking: by chance that is given, over lists that change."""

from __future__ import annotations

import random
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from election.errors import RegistryError
from election.registry.picking import STRATEGIES, strategy


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
def test_every_pick_is_of_the_list_of_now(which: str, lists: list[set[str]], seed: int) -> None:
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
def test_round_robin_goes_on_behind_a_member_that_has_gone() -> None:
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


def test_unknown_strategy_is_refused_with_those_there_are() -> None:
    with pytest.raises(RegistryError, match="no strategy 'fastest': random, round-robin, sticky, least-loaded"):
        strategy("fastest", rng())
