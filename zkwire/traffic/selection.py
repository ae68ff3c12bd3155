"""Which operations and which paths, in words: what the filters and the faults of a tap are given.

getData                one operation, by ZooKeeper's name; get_data and GETDATA are taken for it too
create,create2         several
create*                all whose names begin so
*                      all
connect                the handshake

/app                   one znode
/app/*                 its children: * stands for any characters of one name
/app/n-*               those of its children whose names begin so
/app/**                the znode and all below it; /** is every path
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..operations import OPERATIONS
from ..text import folded

#: The handshake among the operations. It has no opcode on the wire.
CONNECT = 0

_NAMES: dict[str, int] = {"connect": CONNECT, **{folded(name): row.opcode for name, row in OPERATIONS.items()}}


class SelectionError(ValueError):
    """Words that name no operation, or a pattern that no path can match."""


def opcodes(text: str) -> frozenset[int]:
    """The opcodes that the words select, `CONNECT` for the handshake.

    Raises:
        SelectionError: names the word that is no operation.
    """
    found: set[int] = set()
    for word in text.split(","):
        name = folded(word)
        stem = name[:-1]
        chosen = {
            code
            for known, code in _NAMES.items()
            if known == name or (name.endswith("*") and known[: len(stem)] == stem)
        }
        if not name or not chosen:
            raise SelectionError(f"{word!r} is no operation; there are connect, {', '.join(sorted(OPERATIONS))}")
        found |= chosen
    return frozenset(found)


def path_pattern(text: str) -> Callable[[str], bool]:
    """What tells whether a path is selected.

    Raises:
        SelectionError: the pattern does not start with a slash, or has ** elsewhere than as its last name.
    """
    if not text.startswith("/"):
        raise SelectionError(f"path {text!r} does not start with '/'")
    stem, below = (text[:-3], "(?:/.*)?") if text.endswith("/**") else (text, "")
    if "**" in stem:
        raise SelectionError(f"path {text!r}: ** stands only for the last name, as in /app/**")
    names = ("[^/]+" if name == "*" else re.escape(name).replace(r"\*", "[^/]*") for name in stem.split("/"))
    match = re.compile("(?=/)" + "/".join(names) + below, re.DOTALL).fullmatch
    return lambda path: match(path) is not None
