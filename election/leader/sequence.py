"""The number behind a sequential znode's name, and who came first by it, also after the counter has wrapped.

The server appends `String.format("%010d", counter)` of the parent's counter of creates, a signed 32-bit integer
(PrepRequestProcessor). It is shared by all children, counts plain creates too, and starts again at 0 with a new parent.
Three forms exist:

    0000000000 .. 2147483647        ten digits
    -2147483648 .. -1000000000      a minus and ten digits
    -999999999 .. -000000001        a minus and nine digits, since the sign counts among the ten characters

Behind 2147483647 comes -2147483648, but 3.8.0 and 3.9.4 get there only among creates that are under way together, and
then stay at 2147483647, since DataTree takes no smaller counter than it has. From there on numbers are equal and their
order says nothing: who contends has to make the path anew before that.
"""

from __future__ import annotations

from collections.abc import Iterable

_SPAN = 1 << 32
_HALF = 1 << 31
#: From here down to -2**31 a number takes a minus and ten digits.
_ELEVEN = 1_000_000_000


def split(name: str) -> tuple[str, int] | None:
    """A child's name as the text before its sequence number, and that number; None where no server made the suffix.

    `lock--2147483648` is `lock-` and a minus, `lock-2147483640` is `lock-` and ten digits: a dash is a minus only where
    the text before it ends as markers do, in a dash or an underscore.
    """
    digits = name[-10:]
    if digits.isascii() and len(digits) == 10:
        if digits.isdigit():
            number = int(digits)
            if number >= _ELEVEN and name[-11:-10] == "-" and name[-12:-11] in ("-", "_") and number <= _HALF:
                return name[:-11], -number
            return (name[:-10], number) if number < _HALF else None
        if digits[0] == "-" and digits[1:].isdigit() and name[-11:-10] in ("-", "_") and digits != "-000000000":
            return name[:-10], int(digits)
    return None


def precedes(a: int, b: int) -> bool:
    """Whether counter value `a` came before `b`: int32(a - b) < 0.

    True to what happened while the two are less than 2**31 creates apart, which holds for all that live on one path.
    """
    return (a - b) % _SPAN >= _HALF


def in_order(names: Iterable[str]) -> list[tuple[str, str]]:
    """Those names that end in a sequence number, each with the text before it; the oldest first, and equal numbers by
    the whole name.

    The order is that of `precedes` when all are within 2**31 creates. Whatever there is, it depends on the set of names
    alone, so that everybody who reads it sees the same one first.
    """
    numbered = [(parts[1] % _SPAN, name, parts[0]) for name in names if (parts := split(name)) is not None]
    numbered.sort()
    # The counter is a circle, and the names lie on one side of it: the oldest is the one behind the widest gap.
    first = 0
    if numbered and numbered[-1][0] - numbered[0][0] >= _HALF:
        widest = numbered[0][0] + _SPAN - numbered[-1][0]
        for place in range(1, len(numbered)):
            gap = numbered[place][0] - numbered[place - 1][0]
            if gap > widest:
                first, widest = place, gap
    return [(name, before) for _, name, before in numbered[first:] + numbered[:first]]
