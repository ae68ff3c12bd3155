"""Where the znodes of an election are."""

from __future__ import annotations

import pytest

from election.leader.paths import ElectionPaths, Mode, parent_of


@pytest.mark.parametrize(
    ("path", "mode", "parent", "beside"),
    [
        ("/a/master", "sequential", "/a/master", "/a/master"),
        ("/master", "sequential", "/master", "/master"),
        ("/a/b/master", "simple", "/a/b", "/a/b-master"),
        ("/a/master", "simple", "/a", "/a-master"),
        ("/master", "simple", "/", "/master"),
    ],
)
def test_holder_and_epoch_lie_beside_what_an_administrator_would_delete(
    path: str, mode: Mode, parent: str, beside: str
) -> None:
    found = ElectionPaths.of(path, mode)
    assert found == (path, parent, f"{beside}-holder", f"{beside}-epoch")
    assert not found.holder.startswith(f"{path}/")
    if parent != "/":
        assert not found.holder.startswith(f"{parent}/")


@pytest.mark.parametrize("mode", ["sequential", "simple"])
def test_root_is_no_election(mode: Mode) -> None:
    with pytest.raises(ValueError, match="beside"):
        ElectionPaths.of("/", mode)


@pytest.mark.parametrize(("path", "parent"), [("/a/b/c", "/a/b"), ("/a", "/"), ("/a-holder", "/")])
def test_parent_of(path: str, parent: str) -> None:
    assert parent_of(path) == parent
