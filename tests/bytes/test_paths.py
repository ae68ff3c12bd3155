"""Which paths name a znode (PathUtils.validatePath), and what a chroot does to them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zkwire import paths

#: First and last of each forbidden range (PathUtils.validatePath). Java sees surrogates for all from U+10000 on.
FORBIDDEN = [
    *[0x0000, 0x0001, 0x001F],
    *[0x007F, 0x0080, 0x009F],
    *[0xD800, 0xDBFF, 0xDC00, 0xDFFF],
    *[0xE000, 0xF8FF],
    *[0xFFF0, 0xFFFD, 0xFFFF],
    *[0x10000, 0x1F600, 0x10FFFF],
]
#: Their neighbours, and characters that are only unusual.
ALLOWED = [0x0020, 0x007E, 0x00A0, 0xD7FF, 0xF900, 0xFFEF, *map(ord, "\\:*?é中\u2028\ufeff")]


def java_allows(path: str) -> bool:
    """PathUtils.validatePath, transcribed: over UTF-16 units, with the character before kept in `last`."""
    data = path.encode("utf-16-be", "surrogatepass")
    units = [int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2)]
    if not units or units[0] != ord("/"):
        return False
    if len(units) == 1:
        return True
    if units[-1] == ord("/"):
        return False
    last = ord("/")
    for place in range(1, len(units)):
        unit = units[place]
        ends = place + 1 == len(units) or units[place + 1] == ord("/")
        if unit == 0 or (unit == ord("/") and last == ord("/")):
            return False
        if unit == ord(".") and last == ord("."):
            if units[place - 2] == ord("/") and ends:
                return False
        elif unit == ord(".") and units[place - 1] == ord("/") and ends:
            return False
        if 0 < unit <= 0x1F or 0x7F <= unit <= 0x9F or 0xD800 <= unit <= 0xF8FF or 0xFFF0 <= unit <= 0xFFFF:
            return False
        last = unit
    return True


#: Texts of the characters that decide.
deciding = st.text(st.sampled_from("//..a\0\x1f\x7f\xa0\ud7ff\ue000\uf900\uffef\ufff0\U00010000"), max_size=8)


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b", "/a b", "/...", "/.a", "/a.", "/a/..b", "/a/b../c", "/" + "x" * 200_000]
)
def test_path_names_a_znode(path: str) -> None:
    assert paths.problem(path) is None


@pytest.mark.rule(76)
@pytest.mark.parametrize("character", ALLOWED, ids=hex)
def test_path_may_hold_a_character_beside_the_forbidden_ranges(character: int) -> None:
    assert paths.problem(f"/a{chr(character)}b") is None


@pytest.mark.rule(76)
@pytest.mark.parametrize("character", FORBIDDEN, ids=hex)
def test_path_with_a_forbidden_character_is_refused_with_its_place(character: int) -> None:
    text = paths.problem(f"/a{chr(character)}b")
    assert text is not None
    assert text.endswith(f" has U+{character:04X} at index 2, which no znode's name may have")


@pytest.mark.rule(76)
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (None, "a path is a str, not NoneType None"),
        (b"/a", "a path is a str, not bytes b'/a'"),
        ("", "a path is not empty; the root is '/'"),
        ("a", "path 'a' does not start with '/'"),
        ("a/b", "path 'a/b' does not start with '/'"),
        ("/a/", "path '/a/' ends with '/'"),
        ("//", "path '//' ends with '/'"),
        ("//a", "path '//a' has a component ''"),
        ("/a//b", "path '/a//b' has a component ''"),
        ("/.", "path '/.' has a component '.'"),
        ("/a/./b", "path '/a/./b' has a component '.'"),
        ("/..", "path '/..' has a component '..'"),
        ("/a/../b", "path '/a/../b' has a component '..'"),
    ],
)
def test_path_that_names_no_znode_is_refused_with_the_reason(path: object, reason: str) -> None:
    assert paths.problem(path) == reason


@pytest.mark.rule(76)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=500)
@given(deciding | deciding.map(lambda text: "/" + text))
def test_path_is_refused_exactly_where_java_refuses_it(path: str) -> None:
    assert (paths.problem(path) is None) == java_allows(path)


@pytest.mark.rule(77)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=500)
@given(deciding | deciding.map(lambda text: "/" + text))
def test_sequential_path_is_refused_exactly_where_java_refuses_it(path: str) -> None:
    """Java looks at the path with a digit after it."""
    assert (paths.problem(path, sequential=True) is None) == java_allows(path + "1")


@pytest.mark.rule(77)
@pytest.mark.parametrize("path", ["/", "/a/", "/a/.", "/a/.."])
def test_sequential_path_may_end_in_a_part_that_digits_make_a_name(path: str) -> None:
    assert paths.problem(path, sequential=True) is None


@pytest.mark.rule(77)
@pytest.mark.parametrize("path", ["/a//", "//", "", "a/", "/a\0/"])
def test_sequential_path_is_refused_where_no_digits_can_help(path: str) -> None:
    assert paths.problem(path, sequential=True) is not None


@pytest.mark.parametrize(
    ("chroot", "path", "server_path"),
    [("", "/", "/"), ("", "/a", "/a"), ("/app", "/", "/app"), ("/app", "/a/b", "/app/a/b")],
)
def test_chroot_goes_in_front_of_a_path(chroot: str, path: str, server_path: str) -> None:
    assert paths.under(chroot, path) == server_path
    assert paths.strip(chroot, server_path) == path


@pytest.mark.rule(59)
@pytest.mark.parametrize("outside", ["/apple", "/apple/pie", "/zookeeper/config", "/", "/ap"])
def test_chroot_is_stripped_only_at_a_slash(outside: str) -> None:
    assert paths.strip("/app", outside) == outside


@pytest.mark.rule(59)
def test_chroot_itself_becomes_the_root() -> None:
    assert paths.strip("/app", "/app") == "/"


@pytest.mark.parametrize(
    ("path", "expected"), [("/", ["/"]), ("/a", ["/a", "/"]), ("/a/b/c", ["/a/b/c", "/a/b", "/a", "/"])]
)
def test_ancestors_go_from_the_path_up_to_the_root(path: str, expected: list[str]) -> None:
    assert paths.ancestors(path) == expected
