"""Text for people: names and counts, hexadecimal numbers, and text that a terminal can show."""

from __future__ import annotations

import re
from enum import IntEnum

from .codes import member_or_int


def printable(text: str) -> str:
    """The text, with an escape for each character that is not printable: a terminal would obey it, and no stream takes
    a lone surrogate."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def name_of(codes: type[IntEnum], number: int) -> str:
    """The number's name, or the number itself if it has none."""
    code = member_or_int(codes, number)
    return code.name if isinstance(code, IntEnum) else str(code)


def folded(name: str) -> str:
    """The name without case, blanks, _ and -: "getData", "get_data" and "GET-DATA" all become "getdata"."""
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
    """The plural of a noun or a verb."""
    return _PLURALS.get(word, f"{word}s")


def counted(number: int, noun: str, verb: str = "") -> str:
    """The number with the noun, and with the verb if there is one: `1 byte was`, `2 bytes were`. Give both words in the
    singular."""
    words = [noun, verb] if verb else [noun]
    return " ".join([str(number), *(words if number == 1 else map(plural, words))])


def hexadecimal(number: int) -> str:
    """A session id or zxid as servers log it: 64 bits, unsigned, 0x1000004515e0058."""
    return f"0x{number & 0xFFFFFFFFFFFFFFFF:x}"
