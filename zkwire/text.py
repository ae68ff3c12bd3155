"""Numbers and text as people read them."""

from __future__ import annotations

import re
from enum import IntEnum

from .codes import known


def printable(text: str) -> str:
    """The text, with what no stream may take (a lone surrogate), or a terminal obeys, as its escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def name_of(codes: type[IntEnum], number: int) -> str:
    """The number's name, or the number where it has none."""
    code = known(codes, number)
    return code.name if isinstance(code, IntEnum) else str(code)


def folded(name: str) -> str:
    """A name without what people spell differently: "getData", "get_data" and "GET-DATA" are "getdata"."""
    return re.sub(r"[\s_-]", "", name).lower()


_PLURALS = {
    "child": "children",
    "entry": "entries",
    "reply or event": "replies and events",
    "identity": "identities",
    "watch": "watches",
    "is": "are",
    "that is": "that are",
    "was": "were",
}


def plural(word: str) -> str:
    return _PLURALS.get(word, f"{word}s")


def counted(number: int, noun: str, verb: str = "") -> str:
    """The number with the noun, and a verb if wanted: `1 byte was`, `2 bytes were`. Both are given in the singular."""
    words = [noun, verb] if verb else [noun]
    return " ".join([str(number), *(words if number == 1 else map(plural, words))])


def hexadecimal(number: int) -> str:
    """A session id or zxid as servers log it: 64 bits, unsigned, as 0x1000004515e0058."""
    return f"0x{number & 0xFFFFFFFFFFFFFFFF:x}"
