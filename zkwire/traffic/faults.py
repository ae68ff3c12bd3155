"""Faults of a connection, frame by frame: what may happen to a frame, which frame it happens to, and how often.

A fault is called with each frame as it passes, and says what is to happen to it. `Rule` makes one of a matcher and an
action; `parse_fault` makes one of words:

    drop reply create                       the first reply to a create is swallowed
    delay 0.5 request getData /app always   half a second for every getData of /app, and for all behind it
    cut reply create* /app/** nth 3         the connection ends in place of the third such reply
    cut inside request setData              half of the request goes on, then the connection ends
    corrupt reply p=0.1                     one bit, in about every tenth reply
    dup event nodeDeleted                   the event comes twice
    reorder reply getData                   the reply goes on behind the next frame

    ACTION WHAT [OPERATIONS] [PATH] [HOW OFTEN]

ACTION is drop; delay SECONDS (also 500ms; 1 second where nothing is said); cut [before|inside [BYTES]|after] (before
where nothing is said; inside: after half of the frame, or after so many bytes of it); corrupt [OFFSET] (one bit of a
byte that is chosen by chance but never of the length, or of the one with this offset in a dump); dup; reorder. WHAT is
request, reply or event. OPERATIONS and PATH are those of zkwire.traffic.selection; for events, the types: nodeCreated,
nodeDeleted, nodeDataChanged, nodeChildrenChanged. HOW OFTEN is once (where nothing is said), nth N, always, or p=P, by
chance. The handshake and pings, which come as the clock will have it, are matched only where OPERATIONS name them; *
names all. The same words, chance and traffic give the same faults.
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

# --- what may happen to a frame


class Side(Enum):
    """Which of the two TCP connections behind one client."""

    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


class Waitable(Protocol):
    """As trio.Event."""

    async def wait(self) -> Any: ...


@dataclass(frozen=True)
class Pass:
    """The frame goes on."""


@dataclass(frozen=True)
class Drop:
    """The frame is swallowed."""

    def __str__(self) -> str:
        return "dropped"


@dataclass(frozen=True)
class Delay:
    """The frame, and all behind it in its direction, waits for the event or for so many seconds, whichever is first."""

    seconds: float = math.inf
    until: Waitable | None = None

    def __str__(self) -> str:
        return "delayed" if self.seconds == math.inf else f"delayed by {self.seconds:g} s"


@dataclass(frozen=True)
class Cut:
    """The connection is closed when `at` bytes of the frame have gone on; None: all of it, -1: all but the last.

    With `side`, only the TCP connection to that side is closed, and the other one stays, silent. `reset` closes with an
    RST in place of a FIN.
    """

    at: int | None = 0
    side: Side = Side.BOTH
    reset: bool = False

    def __str__(self) -> str:
        places = {0: "before it", None: "after it"}
        return "connection cut " + (places.get(self.at) or f"after {counted(self.at or 0, 'byte')} of it")


@dataclass(frozen=True)
class Replace:
    """These bytes go on in its place; a frame's have the length in front."""

    data: bytes

    def __str__(self) -> str:
        return "replaced"


@dataclass(frozen=True)
class Corrupt:
    """The frame goes on with `bits` turned over in the byte at `offset`, as dumps count: the length is 0 to 3."""

    offset: int
    bits: int

    def of(self, data: bytes) -> bytes:
        """The frame's bytes as they go on."""
        return data[: self.offset] + bytes([data[self.offset] ^ self.bits]) + data[self.offset + 1 :]

    def __str__(self) -> str:
        return f"corrupted at offset {self.offset:04x} by {self.bits:02x}"


@dataclass(frozen=True)
class Duplicate:
    """The frame goes on twice."""

    def __str__(self) -> str:
        return "duplicated"


@dataclass(frozen=True)
class Reorder:
    """The frame goes on behind the next one of its direction, or at the end of the stream. One that is to do so while
    another waits lets that one follow it: reordering all of them swaps them in pairs."""

    def __str__(self) -> str:
        return "sent behind the next"


Action = Pass | Drop | Delay | Cut | Replace | Corrupt | Duplicate | Reorder
PASS = Pass()
DROP = Drop()

#: What decides about a frame. It is called in the tap's own tasks, and must not wait.
Fault = Callable[[SeenFrame], Action]

# --- which frames

Match = Callable[[SeenFrame], bool]


def request(opcode: int | None = None, path: str | None = None) -> Match:
    """Matches a request, not the handshake; of that opcode and path, where given."""

    def match(seen: SeenFrame) -> bool:
        return seen.direction is Direction.SENT and seen.header is not None and _is(seen, opcode, path)

    return match


def reply_to(opcode: int | None = None, path: str | None = None) -> Match:
    """Matches the reply to a request of that opcode and path, where given."""

    def match(seen: SeenFrame) -> bool:
        return seen.request is not None and _is(seen, opcode, path)

    return match


def notification(path: str | None = None) -> Match:
    """Matches a notification, of that path where given."""
    return lambda seen: seen.is_notification and path in (None, seen.path)


def frame_number(direction: Direction, index: int) -> Match:
    """Matches the index-th frame of a direction; the handshake's is 0."""
    return lambda seen: seen.direction is direction and seen.index == index


def _is(seen: SeenFrame, opcode: int | None, path: str | None) -> bool:
    return opcode in (None, seen.opcode) and path in (None, seen.path)


# --- faults made of both


class Rule:
    """A fault: the action, or what a callable makes of the frame, for the frames that match; all others pass.

    The first `skip` that match pass too, then those for which `chance` is false, and so do all after `times` (None: no
    limit).
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
        #: The frames it acted on.
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
    """The first of the faults that does not let the frame pass decides; those behind it do not see the frame."""

    def fault(seen: SeenFrame) -> Action:
        return next((action for each in faults if (action := each(seen)) != PASS), PASS)

    return fault


# --- faults in words


class FaultError(ValueError):
    """Words that are no fault; says which one is wrong, and what may stand there."""


class Randomness(Protocol):
    """As random.Random, seeded by whoever wants the same faults again."""

    def random(self) -> float: ...
    def randrange(self, start: int, stop: int) -> int: ...


def parse_fault(text: str, chance: Randomness) -> Rule:
    """The fault that the words name, as above. A path with a space in it stands in quotes.

    Raises:
        FaultError: they name none.
    """
    try:
        return _FaultWords(text, chance).rule()
    except ValueError as error:  # FaultError and SelectionError are; shlex raises it for a quote that is not closed
        raise FaultError(f"fault {text!r}: {error}") from None


_EVENT_TYPES = {folded(code.name): code for code in EventType if code > 0 and code.name.startswith("NODE_")}
_OFTEN = ("once", "nth", "always")


class _FaultWords:
    """A fault's words, taken from the front."""

    def __init__(self, text: str, chance: Randomness) -> None:
        self._words = shlex.split(text)
        self._chance = chance

    def rule(self) -> Rule:
        action = self._action()
        match = self._match()
        often = self._often()
        if self._words:
            raise FaultError(f"{self._words[0]!r} is one word too many, or stands in the wrong place")
        return Rule(match, action, **often)

    def _next(self) -> str:
        return self._words[0] if self._words else ""

    def _take(self) -> str:
        return self._words.pop(0) if self._words else ""

    # --- what happens

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
            raise FaultError(f"expected seconds, as 0.5 or 500ms, got {word!r}") from None
        if not seconds < math.inf:
            raise FaultError(f"expected seconds that end, got {word!r}")
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

    # --- to which frames

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
            raise SelectionError(f"{name!r} is no type of event; there are {known}")
        found |= set(_EVENT_TYPES.values()) if key == "*" else {_EVENT_TYPES[key]}
    return frozenset(found)


def _selected(seen: SeenFrame, codes: frozenset[int] | None, *, everything: bool) -> bool:
    """`everything` takes in what has no name: an opcode that nobody knows, and a reply that answers nothing."""
    if seen.is_notification:
        return False
    if seen.is_handshake:
        return codes is not None and CONNECT in codes
    if codes is None:
        return seen.opcode != OpCode.PING
    return everything or seen.opcode in codes


def _on(seen: SeenFrame, path: Callable[[str], bool] | None) -> bool:
    return path is None or any(path(each) for each in seen.paths)
