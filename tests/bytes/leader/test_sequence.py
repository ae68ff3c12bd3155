"""The number at the end of a sequential znode's name, and the order of names, also when the counter wraps."""

from __future__ import annotations

import functools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from election.leader.sequence import in_order, precedes, split

FIRST, LAST = -(2**31), 2**31 - 1
counters = st.integers(FIRST, LAST)
#: What ends in a dash or an underscore, as every recipe's marker does.
markers = st.sampled_from(["lock-", "_c_9d5b-lock-", "latch-", "__lock__", "n_", "x-72057594037927936-", "-", "_"])


def int32(number: int) -> int:
    return (number + 2**31) % 2**32 - 2**31


def appended(number: int) -> str:
    """String.format("%010d", number): ten characters at least, and the sign is one of them."""
    return f"{number:010d}"


@pytest.mark.parametrize(
    ("name", "before", "number"),
    [
        ("lock-0000000000", "lock-", 0),
        ("lock-2147483647", "lock-", LAST),
        ("lock--2147483648", "lock-", FIRST),
        ("lock--1000000000", "lock-", -1_000_000_000),
        ("lock--999999999", "lock-", -999_999_999),
        ("lock--000000001", "lock-", -1),
        ("__lock__-2147483648", "__lock__", FIRST),
        ("n_-000000031", "n_", -31),
        ("0000000007", "", 7),
        ("a0000000007", "a", 7),
        ("-0000000007", "-", 7),
        # No counter writes a minus, ten digits and so small a number: the minus is the text's.
        ("lock--0000000005", "lock--", 5),
        # The text before the dash does not end as a marker does.
        ("lock-1500000000", "lock-", 1_500_000_000),
        ("12345678901234567890", "1234567890", 1234567890),
    ],
)
def test_suffix(name: str, before: str, number: int) -> None:
    assert split(name) == (before, number)


@pytest.mark.rule("W13")
@pytest.mark.parametrize(
    "name",
    [
        *[
            "",
            "config",
            "lock-",
            "000000007",
            "lock-000000007",
            "lock-00000000x7",
            "lock-0000000007x",
            "lock-000000000\n7",
        ],
        "lock-0000000007\n",  # `$` of a regular expression would pass over it
        "lock-٠٠٠٠٠٠٠٠٠٧",  # digits to str.isdigit, not to a server
        "lock-000000000²",
        "lock-2147483648",  # one more than a counter holds
        "lock--2147483649",
        "lock-9999999999",
        "lock--000000000",
        "lock999999999-",
        "backup-123456789",
        "-٠٠٠٠٠٠٠٠٧",
    ],
)
def test_no_suffix_that_a_server_makes(name: str) -> None:
    assert split(name) is None


@pytest.mark.rule("W12")
@given(markers, counters)
def test_suffix_of_every_counter_value_comes_off_again(before: str, number: int) -> None:
    assert split(before + appended(number)) == (before, number)


@given(st.text(st.sampled_from("-_01279a٣"), max_size=16))
def test_what_is_split_goes_together_again(name: str) -> None:
    parts = split(name)
    if parts is not None:
        before, number = parts
        assert FIRST <= number <= LAST
        assert before + appended(number) == name


@pytest.mark.rule("W12")
@given(counters, st.integers(0, 2**31 - 1))
def test_an_earlier_counter_value_precedes(start: int, distance: int) -> None:
    later = int32(start + distance)
    assert precedes(start, later) is (distance > 0)
    assert precedes(later, start) is False
    assert precedes(start, later) is (int32(start - later) < 0)


@pytest.mark.rule("W12")
def test_the_counter_wraps() -> None:
    assert precedes(LAST, FIRST)
    assert not precedes(FIRST, LAST)
    assert precedes(-1, 0)
    assert precedes(LAST - 5, FIRST + 5)


@pytest.mark.rule("W8", "W12")
@given(
    counters,
    st.lists(st.tuples(st.integers(0, 2**31 - 1), markers), unique=True, max_size=30),
    st.randoms(use_true_random=False),
)
def test_names_within_a_window_are_in_order_of_creation(
    start: int, created: list[tuple[int, str]], chance: random.Random
) -> None:
    """A total order within any window of 2**31, wherever it lies on the circle."""
    names = [before + appended(int32(start + distance)) for distance, before in created]
    expected = [name for _, name in sorted((distance, name) for (distance, _), name in zip(created, names))]
    chance.shuffle(names)
    assert [name for name, _ in in_order(names)] == expected


@pytest.mark.rule("W12")
@given(counters, st.lists(st.tuples(st.integers(0, 2**31 - 1), markers), unique=True, max_size=12))
def test_order_is_that_of_precedes(start: int, created: list[tuple[int, str]]) -> None:
    names = [before + appended(int32(start + distance)) for distance, before in created]
    numbers = {name: parts[1] for name in names if (parts := split(name)) is not None}

    def compare(a: str, b: str) -> int:
        if precedes(numbers[a], numbers[b]):
            return -1
        return 1 if precedes(numbers[b], numbers[a]) or a > b else -1

    assert [name for name, _ in in_order(names)] == sorted(names, key=functools.cmp_to_key(compare))


@pytest.mark.rule("W12")
def test_names_on_both_sides_of_the_wrap() -> None:
    names = ["lock-2147483646", "lock-2147483647", "lock--2147483648", "lock--2147483647"]
    assert in_order(reversed(names)) == [(name, "lock-") for name in names]
    around_zero = ["lock--000000002", "lock--000000001", "lock-0000000000", "lock-0000000001"]
    assert in_order(reversed(around_zero)) == [(name, "lock-") for name in around_zero]


@pytest.mark.rule("W12")
@pytest.mark.parametrize("start", [FIRST, FIRST + 1, -2, -1, 0, 1, LAST - 1, LAST])
def test_the_ends_of_a_window_are_in_order(start: int) -> None:
    """As far apart as two can be."""
    first, last = appended(start), appended(int32(start + 2**31 - 1))
    names = [f"lock-{first}", f"lock-{last}"]
    assert [name for name, _ in in_order(names)] == names
    assert [name for name, _ in in_order(reversed(names))] == names


@given(st.lists(st.tuples(counters, markers), unique=True, max_size=20), st.randoms(use_true_random=False))
def test_order_depends_on_the_set_of_names_only(numbered: list[tuple[int, str]], chance: random.Random) -> None:
    """Also of names that no window holds: everybody sees the same one first."""
    names = [before + appended(number) for number, before in numbered]
    ordered = in_order(names)
    assert sorted(name for name, _ in ordered) == sorted(names)
    chance.shuffle(names)
    assert in_order(names) == ordered


def test_equal_numbers_are_ordered_by_the_whole_name() -> None:
    assert in_order(["b-0000000003", "a-0000000003", "c-0000000002"]) == [
        ("c-0000000002", "c-"),
        ("a-0000000003", "a-"),
        ("b-0000000003", "b-"),
    ]


@pytest.mark.rule("W13")
def test_names_without_a_number_are_left_out() -> None:
    assert in_order(["config", "lock-0000000001", "lock-"]) == [("lock-0000000001", "lock-")]
    assert in_order([]) == []
