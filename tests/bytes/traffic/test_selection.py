"""Operations and paths in words."""

from __future__ import annotations

import pytest

from zkwire.codes import OpCode
from zkwire.operations import BY_OPCODE
from zkwire.traffic.selection import CONNECT, SelectionError, opcodes, path_pattern


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("getData", {OpCode.GET_DATA}),
        ("get_data", {OpCode.GET_DATA}),
        ("GETDATA", {OpCode.GET_DATA}),
        ("create,delete", {OpCode.CREATE, OpCode.DELETE}),
        ("create, delete", {OpCode.CREATE, OpCode.DELETE}),
        ("create*", {OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL}),
        ("getChildren", {OpCode.GET_CHILDREN}),
        ("connect", {CONNECT}),
        ("*", {CONNECT, *BY_OPCODE}),
    ],
)
def test_words_select_operations(text: str, selected: set[int]) -> None:
    assert opcodes(text) == selected


@pytest.mark.parametrize("text", ["", "getdate", "create,", "create,,delete", "zz*", "c*e"])
def test_word_that_is_not_an_operation_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(SelectionError, match=r"is not an operation; there are connect, .*getData"):
        opcodes(text)


@pytest.mark.parametrize(
    ("pattern", "selected", "others"),
    [
        ("/", ["/"], ["/a", "/a/b"]),
        ("/a", ["/a"], ["/", "/ab", "/a/b", "/b"]),
        ("/a/*", ["/a/b", "/a/*"], ["/a", "/a/b/c", "/ab"]),
        ("/a/n-*", ["/a/n-", "/a/n-0000000003"], ["/a/m-1", "/a/n-1/x"]),
        ("/*/x", ["/a/x", "/b/x"], ["/a/b/x", "/x", "/a/y"]),
        ("/a/**", ["/a", "/a/b", "/a/b/c", "/a/new\nline"], ["/", "/ab", "/b/a"]),
        ("/**", ["/", "/a", "/a/b/c"], ["", "a"]),
        ("/*/**", ["/a", "/a/b/c"], ["/"]),
        ("/a.c", ["/a.c"], ["/abc"]),
        ("/n\n", ["/n\n"], ["/n"]),
    ],
)
def test_pattern_selects_paths(pattern: str, selected: list[str], others: list[str]) -> None:
    matches = path_pattern(pattern)
    assert [path for path in selected if not matches(path)] == []
    assert [path for path in others if matches(path)] == []


@pytest.mark.parametrize(
    ("pattern", "reason"), [("a", "start with"), ("", "start with"), ("/**/a", "last"), ("/a**", "last")]
)
def test_pattern_that_can_select_nothing_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(SelectionError, match=reason):
        path_pattern(pattern)
