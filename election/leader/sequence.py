"""The number at the end of a sequential znode's name, and the order that follows from it, also when the counter wraps.

The server appends `String.format("%010d", counter)`. The counter is that of the parent's creates, a signed 32-bit
integer (PrepRequestProcessor). All children share it, creates of other znodes count too, and it starts again at 0 with
a new parent. Three forms exist:

    0000000000 .. 2147483647        ten digits
    -2147483648 .. -1000000000      a minus and ten digits
    -999999999 .. -000000001        a minus and nine digits, since the sign counts among the ten characters

After 2147483647 comes -2147483648. But on 3.8.0 and 3.9.4 only creates that are under way together get negative
numbers. Every later create gets 2147483647 again, since DataTree refuses a counter that is smaller than its own. Equal
numbers have no order. So the path must be deleted and created again before the counter gets there.
"""

from __future__ import annotations

from collections.abc import Iterable

_SPAN = 1 << 32
_HALF = 1 << 31
#: From minus this number down to -2**31, a number is written as a minus and ten digits.
_ELEVEN = 1_000_000_000


def split(name: str) -> tuple[str, int] | None:
    """The text before the sequence number of a child's name, and that number; None if the name has no such number.

    `lock--2147483648` is `lock-` and a negative number, `lock-2147483640` is `lock-` and ten digits. A dash is a minus
    only if the text before it ends like a marker, in a dash or an underscore.
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

    Correct if the two are less than 2**31 creates apart, which is true for all children that exist at the same time.
    """
    return (a - b) % _SPAN >= _HALF


def in_order(names: Iterable[str]) -> list[tuple[str, str]]:
    """The names that end in a sequence number, each with the text before it. The oldest comes first; equal numbers are
    in the order of the whole name.

    If all are within 2**31 creates, this is the order of `precedes`. In any case it depends on the set of names alone,
    so every candidate that reads them sees the same one first.
    """
    numbered = [(parts[1] % _SPAN, name, parts[0]) for name in names if (parts := split(name)) is not None]
    numbered.sort()
    # The counter is a circle, and the names lie on one side of it: the oldest is the one after the widest gap.
    first = 0
    if numbered and numbered[-1][0] - numbered[0][0] >= _HALF:
        widest = numbered[0][0] + _SPAN - numbered[-1][0]
        for place in range(1, len(numbered)):
            gap = numbered[place][0] - numbered[place - 1][0]
            if gap > widest:
                first, widest = place, gap
    return [(name, before) for _, name, before in numbered[first:] + numbered[:first]]
