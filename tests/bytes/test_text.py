"""Numbers and text as people read them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zkwire
from zkwire.codes import ErrorCode
from zkwire.text import counted, folded, hexadecimal, name_of, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [("/a b", "/a b"), ("/ünder", "/ünder"), ("/\x1b[2J", "/\\x1b[2J"), ("/a\nb", "/a\\nb"), ("/\ud800", "/\\ud800")],
)
def test_printable_escapes_what_a_terminal_must_not_get(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_number_without_a_name_is_named_by_its_digits() -> None:
    assert (name_of(ErrorCode, -101), name_of(ErrorCode, -4711)) == ("NO_NODE", "-4711")


def test_session_id_is_shown_as_servers_log_it() -> None:
    assert hexadecimal(0x1000004515E0058) == "0x1000004515e0058"
    assert hexadecimal(-2) == "0xfffffffffffffffe"


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ("byte",), "1 byte"),
        (0, ("byte",), "0 bytes"),
        (2, ("child",), "2 children"),
        (1, ("byte", "was"), "1 byte was"),
        (3, ("entry", "is"), "3 entries are"),
    ],
)
def test_one_thing_is_counted_in_the_singular(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text


@pytest.mark.parametrize("name", ["getData", "get_data", "GET-DATA", " get data "])
def test_folded_name_is_the_same_for_each_spelling(name: str) -> None:
    assert folded(name) == "getdata"


def test_every_message_counts_by_the_one_function_that_knows_the_singular() -> None:
    """Counts that cannot be 1 are left out: constants, sums, ends of ranges, and the whole of which a part is
    counted."""
    nouns = "bytes|characters|connections|differences|elements|faults|frames|packets|replies|requests|results"
    plurals = re.compile(rf"(of |to )?\{{([^{{}}]+)\}} (?:{nouns}|znodes|descendants)\b")
    found = []
    for package in ("zkwire", "election"):
        for path in Path(zkwire.__file__).parents[1].joinpath(package).rglob("*.py"):
            if path.parent.name == "jute":
                continue  # it cannot import text.py, and has singulars of its own
            for of, number in plurals.findall(path.read_text(encoding="utf-8")):
                if (
                    not (of and " + " in number)
                    and of != "to "
                    and not number.isupper()
                    and not re.match(r"\d+ \+", number)
                ):
                    found.append(f"{path.name}: {number}")
    assert found == []
