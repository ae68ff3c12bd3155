"""Dialects: our names, whose names are whose, and what a path with two dialects is answered."""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from election.errors import MixedDialect
from election.leader import dialects
from election.leader.dialects import DIALECTS, Dialect

HEX = "9d5b1f0c3a7e4d219f6b0a1c2d3e4f50"
GUID = str(uuid.UUID(HEX))

#: Names as each program makes them, by what dialect_of calls them.
NAMES = [
    ("native", f"_c_{GUID}-lock-0000000003"),  # ours, Curator's LeaderSelector and InterProcessMutex, kezhuw's
    ("native", f"_c_{HEX}-lock-0000000003"),  # go-zookeeper's
    ("native", "lock-0000000003"),  # kezhuw's, with a prefix for all
    ("native", f"_c_{GUID}-lock--2147483648"),
    ("curator-latch", f"_c_{GUID}-latch-0000000003"),
    ("curator-latch", f"_c_{GUID}-latch--000000001"),
    ("kazoo", f"{HEX}__lock__0000000003"),
    ("kazoo", f"{HEX}__lock__-2147483648"),
    ("Curator read-write lock", f"_c_{GUID}-__READ__0000000003"),
    ("Curator read-write lock", f"_c_{GUID}-__WRIT__0000000003"),
    ("Curator lease", f"_c_{GUID}-lease-0000000003"),
    ("kazoo read lock", f"{HEX}__rlock__0000000003"),
    ("ZooKeeper WriteLock", "x-72057594037927936-0000000003"),
    ("ZooKeeper WriteLock", "x--72057594037927936-0000000003"),  # a session id may be negative
    ("ZooKeeper WriteLock", "x-0100003a7e4d21ff-0000000003"),
    ("LeaderElectionSupport", "n_0000000003"),
    ("Solr", "72057594037927936-127.0.0.1:8983_solr-n_0000000003"),
    ("aiozk", f"candidate-{HEX}-0000000003"),
    ("aiozk", f"lock-{HEX}-0000000003"),
    ("finagle", "member_0000000003"),
    ("unknown", "0000000003"),
    ("unknown", "block_0000000003"),
    ("unknown", f"_c_{GUID}-lock0000000003"),
    ("unknown", f"_c_{GUID}__lock_0000000003"),
    ("unknown", f"_c_{GUID}-lock-extra-0000000003"),
]
guids = st.uuids(version=4).map(str)


@pytest.mark.parametrize(
    ("dialect", "prefix"),
    [
        ("native", f"_c_{GUID}-lock-"),
        ("curator-latch", f"_c_{GUID}-latch-"),
        ("kazoo", f"{HEX}__lock__"),
    ],
)
def test_prefix(dialect: str, prefix: str) -> None:
    assert DIALECTS[dialect].prefix(GUID) == prefix
    assert DIALECTS[dialect].name == dialect


def test_there_are_three_dialects() -> None:
    assert list(DIALECTS) == ["native", "curator-latch", "kazoo"]


@pytest.mark.rule("C3")
def test_every_guid_is_new() -> None:
    made = {dialects.new_guid() for _ in range(1000)}
    assert len(made) == 1000
    for guid in made:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", guid)


@pytest.mark.parametrize(("called", "child"), NAMES)
def test_whose_name_it_is(called: str, child: str) -> None:
    assert dialects.dialect_of(child) == called
    assert [name for name, dialect in DIALECTS.items() if dialect.speaks(child)] == [called] * (called in DIALECTS)


def test_a_name_without_a_number_is_nobodys() -> None:
    assert not DIALECTS["native"].speaks("lock-")
    with pytest.raises(ValueError, match=r"^'lock-' does not end in a sequence number$"):
        dialects.dialect_of("lock-")


@given(guids, st.sampled_from(list(DIALECTS.values())), st.integers(-(2**31), 2**31 - 1))
def test_our_own_names_are_of_our_dialect_alone(guid: str, dialect: Dialect, number: int) -> None:
    child = f"{dialect.prefix(guid)}{number:010d}"
    assert dialects.dialect_of(child) == dialect.name
    assert [other for other in DIALECTS.values() if other.speaks(child)] == [dialect]
    assert dialects.contenders([child], dialect, "/e") == [child]


@pytest.mark.rule("C4")
@given(guids, guids, st.sampled_from(list(DIALECTS.values())))
def test_own_children_are_those_that_carry_the_guid(guid: str, other: str, dialect: Dialect) -> None:
    mine = [dialect.prefix(guid) + "0000000001", dialect.prefix(guid) + "0000000009"]
    names = [mine[0], dialect.prefix(other) + "0000000004", "config", guid, mine[1]]
    assert dialect.own(names, guid) == (mine if guid != other else [mine[0], names[1], mine[1]])


@pytest.mark.rule("C4")
def test_a_child_of_another_dialect_with_the_guid_is_not_ours() -> None:
    names = [dialect.prefix(GUID) + "0000000001" for dialect in DIALECTS.values()]
    assert [dialect.own(names, GUID) for dialect in DIALECTS.values()] == [[name] for name in names]


@pytest.mark.rule("W8", "W13")
@pytest.mark.parametrize("name", DIALECTS)
def test_contenders_are_in_order_and_others_are_left_out(name: str) -> None:
    dialect = DIALECTS[name]
    prefixes = [dialect.prefix(dialects.new_guid()) for _ in range(4)]
    ordered = [
        prefix + end for prefix, end in zip(prefixes, ["2147483646", "2147483647", "-2147483648", "-2147483647"])
    ]
    assert dialects.contenders([*reversed(ordered), "config", "lock-"], dialect, "/e") == ordered
    assert dialects.contenders([], dialect, "/e") == []


@pytest.mark.rule("W8")
def test_all_programs_of_the_native_dialect_share_a_queue() -> None:
    names = [f"_c_{HEX}-lock-0000000002", "lock-0000000001", f"_c_{GUID}-lock-0000000003"]
    assert dialects.contenders(names, DIALECTS["native"], "/e") == [names[1], names[0], names[2]]


def go_number(name: str) -> int:
    """What go-zookeeper's Lock orders by (lock.go): the integer after the last "lock-", or without one after the last
    "__". Any other child ends its Lock with an error."""
    marker = "lock-" if "lock-" in name else "__"
    return int(name.rpartition(marker)[2])


@pytest.mark.rule("W8")
@given(guids, st.integers(0, 2**31 - 1))
def test_go_zookeeper_reads_our_number(guid: str, number: int) -> None:
    """It runs in no test: this rests on its source. It respects `kazoo` too, which does not respect it."""
    for name in ("native", "kazoo"):
        assert go_number(f"{DIALECTS[name].prefix(guid)}{number:010d}") == number
    with pytest.raises(ValueError, match="invalid literal"):
        go_number(f"{DIALECTS['curator-latch'].prefix(guid)}{number:010d}")


@pytest.mark.rule("W12")
@pytest.mark.parametrize("key", [go_number, lambda name: name[len(f"_c_{GUID}-lock-") :]], ids=["go", "curator"])
def test_where_others_go_wrong_when_the_counter_wraps(key: Callable[[str], int | str]) -> None:
    """An integer without wrap-around, and a text (Curator; kazoo and kezhuw alike), both put the newer one first."""
    older, newer = (DIALECTS["native"].prefix(GUID) + end for end in ("2147483647", "-2147483648"))
    assert sorted([older, newer], key=key) == [newer, older]
    assert dialects.contenders([newer, older], DIALECTS["native"], "/e") == [older, newer]


@pytest.mark.rule("W13")
@pytest.mark.parametrize("ours", DIALECTS)
@pytest.mark.parametrize(("called", "child"), NAMES)
def test_contender_of_another_dialect_is_refused(ours: str, called: str, child: str) -> None:
    dialect = DIALECTS[ours]
    own = dialect.prefix(dialects.new_guid()) + "0000000001"
    if called == ours:
        assert set(dialects.contenders([own, child], dialect, "/the/path")) == {own, child}
        return
    with pytest.raises(MixedDialect) as refused:
        dialects.contenders([own, child], dialect, "/the/path")
    for part in ["/the/path", repr(ours), repr(called), repr(child)]:
        assert part in str(refused.value)


@pytest.mark.rule("W13")
def test_with_a_warning_every_dialect_counts() -> None:
    own = DIALECTS["native"].prefix(GUID) + "0000000003"
    names = [own, "n_0000000002", f"{HEX}__lock__0000000001", "config"]
    with pytest.warns(RuntimeWarning, match=r"/e .*'native'.*__lock__0000000001' is of dialect 'kazoo'") as warned:
        found = dialects.contenders(names, DIALECTS["native"], "/e", mixed="warn")
    assert found == [names[2], names[1], own]
    assert len(warned) == 1
    assert warned[0].filename == __file__


def test_one_dialect_gives_no_warning() -> None:
    own = DIALECTS["kazoo"].prefix(GUID) + "0000000003"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dialects.contenders([own, "config"], DIALECTS["kazoo"], "/e", mixed="warn") == [own]
