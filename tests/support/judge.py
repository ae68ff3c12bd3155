"""What must be true of every election, in whatever way a test watches it: no two lead at a time, and tokens rise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

#: Seconds until a process that got SIGCONT runs again, on a machine with much else to do.
WAKING = 1.0


class Pause(NamedTuple):
    """A time in which a process was stopped: from when the test saw that until the test sent SIGCONT."""

    stopped: float
    continued: float


@dataclass
class Stint:
    """One time of leading: a body, from its first moment to its last. All times are seconds of one clock.

    Attributes:
        who: the candidate.
        ended: infinite while it goes on.
        token: the term's; 0 where it is not known.
        node: the path of the leader's znode; empty where it is not known.
        steps: when the body did something.
        pauses: when the process was stopped. Nothing runs in a pause. After it, the step that was under way may end.
    """

    who: str
    began: float
    ended: float = math.inf
    token: int = 0
    node: str = ""
    steps: list[float] = field(default_factory=list)
    pauses: Sequence[Pause] = ()

    def __repr__(self) -> str:
        return f"<{self.who} {self.token:#x} {self.node} {self.began:.4f} to {self.ended:.4f}>"

    def pieces(self, now: float) -> list[tuple[float, float]]:
        """The times in which it worked: (begin, end). The first step after a pause does not count: it was under way."""
        end = min(self.ended, now)
        begin, found = self.began, []
        for pause in self.pauses:
            if not self.began <= pause.stopped < end:
                continue
            found.append((begin, min(end, pause.stopped)))
            after = [step for step in self.steps if step >= pause.continued]
            begin = min(after[1] if len(after) > 1 else end, pause.continued + WAKING)
        found.append((begin, end))
        return [(start, stop) for start, stop in found if start < stop or not self.pauses]


class Overlap(NamedTuple):
    seconds: float
    one: Stint
    other: Stint


def overlaps(stints: Sequence[Stint], now: float = math.inf) -> list[Overlap]:
    """All pairs that led at the same time: there must be none. The longest first.

    Args:
        stints: of one election.
        now: the end of those that go on.
    """
    pieces = sorted((piece, index) for index, stint in enumerate(stints) for piece in stint.pieces(now))
    found = []
    for place, ((start, end), index) in enumerate(pieces):
        for (start2, end2), index2 in pieces[place + 1 :]:
            if start2 >= end:
                break
            if index != index2:
                found.append(Overlap(min(end, end2) - max(start, start2), stints[index], stints[index2]))
    return sorted(found, key=lambda overlap: -overlap.seconds)


def falling_tokens(stints: Sequence[Stint]) -> list[str]:
    """Terms whose token is not above that of the term before: there must be none."""
    ordered = sorted(stints, key=lambda stint: stint.began)
    return [f"{one} came before {other}" for one, other in pairwise(ordered) if one.token >= other.token]


def stale_steps(stints: Sequence[Stint]) -> tuple[int, list[str]]:
    """How many steps were taken after a later term had begun; and which of them are wrong: all but the one that
    was under way when the process was stopped."""
    count, wrong = 0, []
    for stint in stints:
        began = min((other.began for other in stints if other.token > stint.token), default=math.inf)
        stale = [step for step in stint.steps if step > began]
        count += len(stale)
        for step in stale:
            before = [pause for pause in stint.pauses if stint.began <= pause.stopped and pause.continued <= step]
            was_under_way = before and not any(before[-1].continued <= other < step for other in stint.steps)
            if not was_under_way or step > before[-1].continued + WAKING:
                wrong.append(f"{stint} took a step at {step:.4f}, in a later term")
    return count, wrong
