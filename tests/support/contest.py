"""What contenders of tests/support/contending.py have done, and what must be true of it.

A `Stint` is one body, from its first record to its last. Where the driver of a test has stopped the process, that is
split (`Pause`): nothing runs in between, and what goes on behind it may be no more than the step that was under way.
Times are nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.support.contending import (
    ENTER,
    EXIT,
    FENCED_ASKED,
    FENCED_DONE,
    FENCED_REFUSED,
    GUARDED_ASKED,
    GUARDED_DONE,
    RECORD,
    STEP,
)

#: Nanoseconds within which a process that goes on has come to run, on a machine with much else to do.
WAKING = 1_000_000_000


class Record(NamedTuple):
    kind: int
    token: int
    number: int
    time: int
    boottime: int


class Pause(NamedTuple):
    """Within which a process surely stood still: from when it was seen to be stopped until it was told to go on."""

    stopped: int
    continued: int


class Tape:
    """The records of one process, read as they are written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self.records: list[Record] = []

    def read(self) -> list[Record]:
        """All so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._place)
                # The process may be writing the last one at this moment.
                while len(data := file.read(RECORD.size)) == RECORD.size and (record := RECORD.unpack(data))[4]:
                    self.records.append(Record(*record))
                    self._place += RECORD.size
        return self.records


@dataclass
class Stint:
    """One body. `ended` is None while it runs."""

    who: str
    token: int
    began: int
    pauses: Sequence[Pause]
    steps: list[int] = field(default_factory=list)
    last: int = 0  #: the time of the last record
    ended: int | None = None

    def __repr__(self) -> str:
        ended = "..." if self.ended is None else f"{self.ended / 1e9:.4f}"
        return f"<{self.who} {self.token:#x} {self.began / 1e9:.4f} to {ended}>"

    def pieces(self, now: int) -> list[tuple[int, int]]:
        """When it was at work. Behind a pause the first step does not count: it was under way."""
        end = now if self.ended is None else self.ended
        begin, found = self.began, []
        for pause in self.pauses:
            if not self.began <= pause.stopped < end:
                continue
            found.append((begin, min(end, pause.stopped)))
            after = [step for step in self.steps if step >= pause.continued]
            begin = min(after[1] if len(after) > 1 else end, pause.continued + WAKING)
        found.append((begin, end))
        return [(start, stop) for start, stop in found if start < stop]


def stints(who: str, records: Iterable[Record], pauses: Sequence[Pause], *, is_over: bool) -> list[Stint]:
    """The bodies of one process; `is_over` when it has ended, by itself or not."""
    found: list[Stint] = []
    for record in records:
        if record.kind == ENTER:
            found.append(Stint(who, record.token, record.time, pauses))
        stint = found[-1]
        stint.last = record.time
        if record.kind == STEP:
            stint.steps.append(record.time)
        elif record.kind == EXIT:
            stint.ended = record.time
    if found and found[-1].ended is None and is_over:
        found[-1].ended = found[-1].last
    return found


# --- what must be true of the bodies of one election


class Overlap(NamedTuple):
    seconds: float
    one: Stint
    other: Stint


def largest_overlap(all_stints: Sequence[Stint], now: int | None = None) -> Overlap | None:
    """Two bodies at a time, the pair that was so for longest."""
    now = time.monotonic_ns() if now is None else now
    pieces = sorted((piece, index) for index, stint in enumerate(all_stints) for piece in stint.pieces(now))
    found = []
    for place, ((start, end), index) in enumerate(pieces):
        for (start2, end2), index2 in pieces[place + 1 :]:
            if start2 >= end:
                break
            if index != index2:
                seconds = (min(end, end2) - max(start, start2)) / 1e9
                found.append(Overlap(seconds, all_stints[index], all_stints[index2]))
    return max(found, key=lambda overlap: overlap.seconds, default=None)


def stale_steps(all_stints: Sequence[Stint]) -> tuple[int, list[str]]:
    """How many steps were taken when a later term had begun, and which of them are more than the one that may have been
    under way when the process was stopped."""
    count, wrong = 0, []
    for stint in all_stints:
        began = min((other.began for other in all_stints if other.token > stint.token), default=None)
        stale = [step for step in stint.steps if began is not None and step > began]
        count += len(stale)
        for step in stale:
            behind = [pause for pause in stint.pauses if stint.began <= pause.stopped and pause.continued <= step]
            was_under_way = behind and not any(behind[-1].continued <= other < step for other in stint.steps)
            if not was_under_way or step > behind[-1].continued + WAKING:
                wrong.append(f"{stint} took a step at {step / 1e9:.4f}, in a later term")
    return count, wrong


def falling_tokens(all_stints: Sequence[Stint]) -> list[str]:
    """Terms whose token is not above that of the term before."""
    ordered = sorted(all_stints, key=lambda stint: stint.began)
    return [f"{one} came before {other}" for one, other in pairwise(ordered) if one.token >= other.token]


# --- what must be true of what they counted


def lost_updates(records: Iterable[Record], asked_kind: int, done_kind: int, final: int) -> list[str]:
    """Whether each number that was acknowledged was another one, and the last says how many there were, or more by some
    of those whose acknowledgement was lost."""
    records = list(records)
    asked = [record for record in records if record.kind == asked_kind]
    done = [record.number for record in records if record.kind == done_kind]
    found = []
    if len(set(done)) < len(done):
        found.append(f"{len(done) - len(set(done))} of {len(done)} numbers were acknowledged twice")
    if not len(done) <= final <= len(asked):
        found.append(f"{len(done)} of {len(asked)} were acknowledged, and the number is {final}, not {max(done)}")
    return found


def wrong_guarded(records: Iterable[Record], final: int) -> list[str]:
    """What is wrong with the znode that was counted in."""
    return lost_updates(records, GUARDED_ASKED, GUARDED_DONE, final)


def wrong_fenced(records: Iterable[Record], final: int, tokens: Sequence[int]) -> list[str]:
    """What is wrong with the resource that was counted in; `tokens` are those that it accepted, in order."""
    records = list(records)
    found = lost_updates(records, FENCED_ASKED, FENCED_DONE, final)
    if any(one >= other for one, other in pairwise(tokens)):
        found.append(f"the resource accepted an older token behind a newer one: {tokens}")
    return found


def refusals(records: Iterable[Record]) -> int:
    """How often the resource refused."""
    return sum(record.kind == FENCED_REFUSED for record in records)
