"""Faults, which act on single frames of a connection: what a fault does, to which frames, and how often.

A fault is called with each frame when it comes, and returns the action for the frame. `Rule` makes a fault from a
matcher and an action; `parse_fault` makes one from words:

    drop reply create                       the first reply to a create is dropped
    delay 0.5 request getData /app always   every getData of /app waits half a second, and so do the frames after it
    cut reply create* /app/** nth 3         the connection ends in place of the third such reply
    cut inside request setData              half of the request is passed on, then the connection ends
    corrupt reply p=0.1                     one bit is changed, in about every tenth reply
    dup event nodeDeleted                   the event is sent twice
    reorder reply getData                   the reply is sent after the next frame

    ACTION WHAT [OPERATIONS] [PATH] [HOW OFTEN]

ACTION       drop
             delay [SECONDS]      0.5 or 500ms; default 1 second
             cut [before|inside [BYTES]|after]
                                  default before; inside: after half of the frame, or after so many bytes of it
             corrupt [OFFSET]     one bit of the byte at this offset, as dumps count; default: of a byte chosen at
                                  random, but never of the length
             dup
             reorder
WHAT         request, reply or event
OPERATIONS   as in zkwire.traffic.selection; for events their types: nodeCreated, nodeDeleted, nodeDataChanged,
             nodeChildrenChanged
PATH         as in zkwire.traffic.selection
HOW OFTEN    once (the default), nth N, always, or p=P: at random, with this probability

The handshake and pings are matched only if OPERATIONS name them (* names all), since the clock decides when pings
come. The same words, seed and traffic give the same faults.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from ..codes import EventType, OpCode
from ..frames import Direction
from ..text import counted, folded
from .conversation import SeenFrame
from .selection import CONNECT, SelectionError, opcodes, path_pattern

# --- what may be done to a frame


class Side(Enum):
    """Which of the two TCP connections of one client of a tap."""

    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


class Waitable(Protocol):
    """What a `Delay` can wait for, such as a trio.Event. This folder does not know trio."""

    async def wait(self) -> Any: ...


@dataclass(frozen=True)
class Pass:
    """The frame is passed on."""


@dataclass(frozen=True)
class Drop:
    """The frame is not passed on."""

    def __str__(self) -> str:
        return "dropped"


@dataclass(frozen=True)
class Delay:
    """The frame, and everything after it in its direction, waits for `until` or for `seconds`, whichever ends first."""

    seconds: float = math.inf
    until: Waitable | None = None

    def __str__(self) -> str:
        return "delayed" if self.seconds == math.inf else f"delayed by {self.seconds:g} s"


@dataclass(frozen=True)
class Cut:
    """The connection is closed after `at` bytes of the frame were passed on. None: all bytes; -1: all but the
    last.

    `side`: which of the two TCP connections is closed. If it is only one, the other stays open, and silent. `reset`:
    close with an RST in place of a FIN.
    """

    at: int | None = 0
    side: Side = Side.BOTH
    reset: bool = False

    def __str__(self) -> str:
        places = {0: "before it", None: "after it"}
        return "connection cut " + (places.get(self.at) or f"after {counted(self.at or 0, 'byte')} of it")


@dataclass(frozen=True)
class Replace:
    """These bytes are passed on in place of the frame. If they are a frame, they include its length."""

    data: bytes

    def __str__(self) -> str:
        return "replaced"


@dataclass(frozen=True)
class Corrupt:
    """The frame is passed on with `bits` flipped in the byte at `offset`, as dumps count: the length is 0 to 3."""

    offset: int
    bits: int

    def of(self, data: bytes) -> bytes:
        """The frame's bytes with the change, as they are passed on."""
        return data[: self.offset] + bytes([data[self.offset] ^ self.bits]) + data[self.offset + 1 :]

    def __str__(self) -> str:
        return f"corrupted at offset {self.offset:04x} by {self.bits:02x}"


@dataclass(frozen=True)
class Duplicate:
    """The frame is passed on twice."""

    def __str__(self) -> str:
        return "duplicated"


@dataclass(frozen=True)
class Reorder:
    """The frame is passed on after the next one of its direction, or at the end of the stream. Only one frame waits at
    a time: if the next one is to be reordered too, it is passed on at once, and the waiting one after it. So reordering
    all frames swaps them in pairs."""

    def __str__(self) -> str:
        return "sent after the next"


Action = Pass | Drop | Delay | Cut | Replace | Corrupt | Duplicate | Reorder
PASS = Pass()
DROP = Drop()

#: Decides what is done with a frame. It is called in the tap's own tasks, and must not wait.
Fault = Callable[[SeenFrame], Action]

# --- which frames

Match = Callable[[SeenFrame], bool]


def request(opcode: int | None = None, path: str | None = None) -> Match:
    """Matches a request, but not the handshake. With `opcode` or `path`, only requests that have them."""

    def match(seen: SeenFrame) -> bool:
        return seen.direction is Direction.SENT and seen.header is not None and _is(seen, opcode, path)

    return match


def reply_to(opcode: int | None = None, path: str | None = None) -> Match:
    """Matches the reply to a request. With `opcode` or `path`, only if the request has them."""

    def match(seen: SeenFrame) -> bool:
        return seen.request is not None and _is(seen, opcode, path)

    return match


def notification(path: str | None = None) -> Match:
    """Matches a notification. With `path`, only of that path."""
    return lambda seen: seen.is_notification and path in (None, seen.path)


def frame_number(direction: Direction, index: int) -> Match:
    """Matches the frame of a direction that has this index. The handshake has 0."""
    return lambda seen: seen.direction is direction and seen.index == index


def _is(seen: SeenFrame, opcode: int | None, path: str | None) -> bool:
    return opcode in (None, seen.opcode) and path in (None, seen.path)


# --- a match and an action together


class Rule:
    """A fault: does `action` to the frames that match, and passes all others on.

    Args:
        action: the action, or a function that returns it for a frame.
        skip: how many frames that match are passed on first.
        times: how many frames it acts on at most; None: no limit.
        chance: called for each frame that matches after the skipped ones. If it returns False, the frame is passed on.
    """

    def __init__(
        self,
        match: Match,
        action: Action | Callable[[SeenFrame], Action],
        *,
        skip: int = 0,
        times: int | None = 1,
        chance: Callable[[], bool] | None = None,
    ) -> None:
        self._match = match
        self._action = action
        self._skip = skip
        self._times = times
        self._chance = chance
        #: The frames that it acted on, in order.
        self.hits: list[SeenFrame] = []

    def __call__(self, seen: SeenFrame) -> Action:
        if (self._times is not None and len(self.hits) >= self._times) or not self._match(seen):
            return PASS
        if self._skip:
            self._skip -= 1
            return PASS
        if self._chance is not None and not self._chance():
            return PASS
        self.hits.append(seen)
        return self._action(seen) if callable(self._action) else self._action


def first_of(*faults: Fault) -> Fault:
    """A fault that calls these faults in order. The first one that returns another action than Pass decides, and the
    faults after it do not see the frame."""

    def fault(seen: SeenFrame) -> Action:
        return next((action for each in faults if (action := each(seen)) != PASS), PASS)

    return fault


# --- faults in words


class FaultError(ValueError):
    """The text does not describe a fault. The message has the word that is wrong, and the words that can be there."""


class Randomness(Protocol):
    """Such as a random.Random. With the same seed, the faults are the same. This folder does not know `random`."""

    def random(self) -> float: ...
    def randrange(self, start: int, stop: int) -> int: ...


def parse_fault(text: str, chance: Randomness) -> Rule:
    """The fault that the text describes, in the form at the top of this file. A path with a space must be in quotes.
    `chance` decides for the faults that act at random.

    Raises:
        FaultError: the text does not describe a fault.
    """
    try:
        return _FaultWords(text, chance).rule()
    except ValueError as error:  # a FaultError, a SelectionError, or from shlex: a quote is not closed
        raise FaultError(f"fault {text!r}: {error}") from None


_EVENT_TYPES = {folded(code.name): code for code in EventType if code > 0 and code.name.startswith("NODE_")}
_OFTEN = ("once", "nth", "always")


class _FaultWords:
    """The words of a fault, taken one by one from the front."""

    def __init__(self, text: str, chance: Randomness) -> None:
        self._words = shlex.split(text)
        self._chance = chance

    def rule(self) -> Rule:
        action = self._action()
        match = self._match()
        often = self._often()
        if self._words:
            raise FaultError(f"{self._words[0]!r} is one word too many, or in the wrong place")
        return Rule(match, action, **often)

    def _next(self) -> str:
        return self._words[0] if self._words else ""

    def _take(self) -> str:
        return self._words.pop(0) if self._words else ""

    # --- the action

    def _action(self) -> Action | Callable[[SeenFrame], Action]:
        word = self._take()
        match word:
            case "drop":
                return DROP
            case "dup":
                return Duplicate()
            case "reorder":
                return Reorder()
            case "delay":
                return Delay(self._seconds())
            case "cut":
                return self._cut()
            case "corrupt":
                return self._corrupt()
        raise FaultError(f"expected drop, delay, cut, corrupt, dup or reorder, got {word!r}")

    def _seconds(self) -> float:
        if not self._next()[:1].isdigit():
            return 1.0
        word = self._take()
        digits, scale = (word[:-2], 1000) if word.endswith("ms") else (word.removesuffix("s"), 1)
        try:
            seconds = float(digits) / scale
        except ValueError:
            raise FaultError(f"expected seconds, such as 0.5 or 500ms, got {word!r}") from None
        if not seconds < math.inf:
            raise FaultError(f"expected a finite number of seconds, got {word!r}")
        return seconds

    def _cut(self) -> Action | Callable[[SeenFrame], Action]:
        if self._next() not in ("before", "inside", "after"):
            return Cut(0)
        word = self._take()
        if word != "inside":
            return Cut(0 if word == "before" else None)
        if self._next().isdecimal():
            return Cut(int(self._take()))
        return lambda seen: Cut(len(seen.data) // 2)

    def _corrupt(self) -> Callable[[SeenFrame], Action]:
        chosen = int(self._take(), 0) if self._next()[:1].isdecimal() else None

        def corrupt(seen: SeenFrame) -> Action:
            size = len(seen.data)
            bit = 1 << self._chance.randrange(0, 8)
            if chosen is not None:
                return Corrupt(chosen, bit) if chosen < size else PASS
            return Corrupt(self._chance.randrange(4, size), bit) if size > 4 else PASS

        return corrupt

    # --- which frames

    def _match(self) -> Match:
        what = self._take()
        if what not in ("request", "reply", "event"):
            raise FaultError(f"expected request, reply or event, got {what!r}")
        names = None
        if self._words and not self._next().startswith("/") and not self._is_often(self._next()):
            names = self._take()
        path = path_pattern(self._take()) if self._next().startswith("/") else None
        if what == "event":
            types = frozenset(_EVENT_TYPES.values()) if names is None else _event_types(names)
            return lambda seen: seen.is_notification and getattr(seen.record, "type", None) in types and _on(seen, path)
        direction = Direction.SENT if what == "request" else Direction.RECEIVED
        codes = None if names is None else opcodes(names)
        return lambda seen: (
            seen.direction is direction and _selected(seen, codes, everything=names == "*") and _on(seen, path)
        )

    # --- how often

    def _is_often(self, word: str) -> bool:
        return word in _OFTEN or word.startswith(("p=", "nth="))

    def _often(self) -> dict[str, Any]:
        word = self._take()
        if word in ("", "once"):
            return {}
        if word == "always":
            return {"times": None}
        if word == "nth" or word.startswith("nth="):
            number = self._take() if word == "nth" else word[4:]
            if not (number.isdecimal() and int(number) > 0):
                raise FaultError(f"nth takes a number from 1, got {number!r}")
            return {"skip": int(number) - 1}
        if word.startswith("p="):
            probability = _probability(word)
            return {"times": None, "chance": lambda: self._chance.random() < probability}
        raise FaultError(f"expected once, nth N, always or p=P, got {word!r}")


def _probability(word: str) -> float:
    try:
        probability = float(word[2:])
    except ValueError:
        probability = 0.0
    if not 0 < probability <= 1:
        raise FaultError(f"p is above 0 and at most 1, got {word[2:]!r}")
    return probability


def _event_types(names: str) -> frozenset[EventType]:
    found = set()
    for name in names.split(","):
        key = folded(name)
        if key != "*" and key not in _EVENT_TYPES:
            known = ", ".join(code.name for code in _EVENT_TYPES.values())
            raise SelectionError(f"{name!r} is not a type of event; there are {known}")
        found |= set(_EVENT_TYPES.values()) if key == "*" else {_EVENT_TYPES[key]}
    return frozenset(found)


def _selected(seen: SeenFrame, codes: frozenset[int] | None, *, everything: bool) -> bool:
    """`everything`: also frames that no name can select, which are unknown opcodes and replies to no request."""
    if seen.is_notification:
        return False
    if seen.is_handshake:
        return codes is not None and CONNECT in codes
    if codes is None:
        return seen.opcode != OpCode.PING
    return everything or seen.opcode in codes


def _on(seen: SeenFrame, path: Callable[[str], bool] | None) -> bool:
    return path is None or any(path(each) for each in seen.paths)
