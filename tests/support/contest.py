"""What the candidates of candidate_process.py have done, and what must be true of what they counted.

Times of records are nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.support.candidate_process import (
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
from tests.support.judge import Pause, Stint


class Record(NamedTuple):
    kind: int
    token: int
    number: int
    time: int
    boottime: int


class Tape:
    """The records of one process, read while it writes them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self.records: list[Record] = []

    def read(self) -> list[Record]:
        """All records so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._place)
                # The process may be writing the last one at this moment.
                while len(data := file.read(RECORD.size)) == RECORD.size and (record := RECORD.unpack(data))[4]:
                    self.records.append(Record(*record))
                    self._place += RECORD.size
        return self.records


def stints(who: str, records: Iterable[Record], pauses: Sequence[Pause], *, is_over: bool) -> list[Stint]:
    """The bodies of one process, with times in seconds. `is_over`: the process has ended, by itself or not."""
    found: list[Stint] = []
    last = 0.0
    for record in records:
        last = record.time / 1e9
        if record.kind == ENTER:
            found.append(Stint(who, last, token=record.token, pauses=pauses))
        elif record.kind == STEP:
            found[-1].steps.append(last)
        elif record.kind == EXIT:
            found[-1].ended = last
    if found and is_over:
        found[-1].ended = min(found[-1].ended, last)
    return found


# --- what must be true of what they counted


def lost_updates(records: Iterable[Record], asked_kind: int, done_kind: int, final: int) -> list[str]:
    """What is wrong with a counter: a number was acknowledged twice, or the last one is not the number of writes.

    A write whose reply was lost may count or not.
    """
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
    """What is wrong with the count in the znode."""
    return lost_updates(records, GUARDED_ASKED, GUARDED_DONE, final)


def wrong_fenced(records: Iterable[Record], final: int, tokens: Sequence[int]) -> list[str]:
    """What is wrong with the count in the resource. `tokens`: those that it accepted, in order."""
    records = list(records)
    found = lost_updates(records, FENCED_ASKED, FENCED_DONE, final)
    if any(one >= other for one, other in pairwise(tokens)):
        found.append(f"the resource accepted an older token after a newer one: {tokens}")
    return found


def refusals(records: Iterable[Record]) -> int:
    """How many writes the resource refused."""
    return sum(record.kind == FENCED_REFUSED for record in records)
