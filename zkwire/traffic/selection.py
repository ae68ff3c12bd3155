"""Which operations and which paths, in words, for the filters and the faults of a tap.

getData                one operation, by ZooKeeper's name; get_data and GETDATA mean the same
create,create2         several
create*                all whose names begin with "create"
*                      all
connect                the handshake

/app                   one znode
/app/*                 its children: * is any characters of one name
/app/n-*               its children whose names begin with "n-"
/app/**                the znode and everything below it; /** is every path
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..operations import OPERATIONS
from ..text import folded

#: The number of the handshake in a selection. It has no opcode on the wire.
CONNECT = 0

_NAMES: dict[str, int] = {"connect": CONNECT, **{folded(name): row.opcode for name, row in OPERATIONS.items()}}


class SelectionError(ValueError):
    """A word that is not an operation, or a pattern that no path can match. The message names it."""


def opcodes(text: str) -> frozenset[int]:
    """The opcodes that the words select. `CONNECT` is the handshake.

    Raises:
        SelectionError: a word is not an operation.
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
            raise SelectionError(f"{word!r} is not an operation; there are connect, {', '.join(sorted(OPERATIONS))}")
        found |= chosen
    return frozenset(found)


def path_pattern(text: str) -> Callable[[str], bool]:
    """A function that says whether a path is selected.

    Raises:
        SelectionError: the pattern does not start with a slash, or has ** in another place than its last name.
    """
    if not text.startswith("/"):
        raise SelectionError(f"path {text!r} does not start with '/'")
    stem, below = (text[:-3], "(?:/.*)?") if text.endswith("/**") else (text, "")
    if "**" in stem:
        raise SelectionError(f"path {text!r}: ** can only be the last name, as in /app/**")
    names = ("[^/]+" if name == "*" else re.escape(name).replace(r"\*", "[^/]*") for name in stem.split("/"))
    match = re.compile("(?=/)" + "/".join(names) + below, re.DOTALL).fullmatch
    return lambda path: match(path) is not None
