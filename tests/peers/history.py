"""Who led when: what candidates of all programs report."""

from __future__ import annotations

import time
from typing import NamedTuple

import trio

from tests.support.judge import Stint


class Happening(NamedTuple):
    """What a candidate reports.

    Attributes:
        what: "leading" (its body begins), "stopped" (its body has ended; it is about to give up leadership),
            "left" (its session is closed) or "failed".
        name: the name of the candidate.
        at: CLOCK_MONOTONIC in nanoseconds: one clock for all processes.
    """

    what: str
    name: str
    at: int


class History:
    """All happenings, in the order in which they arrived. To be used in trio's thread only."""

    def __init__(self) -> None:
        self.happenings: list[Happening] = []
        self._heard = trio.Event()

    def note(self, what: str, name: str, at: int | None = None) -> None:
        self.happenings.append(Happening(what, name, time.monotonic_ns() if at is None else at))
        self._heard.set()
        self._heard = trio.Event()

    def has(self, what: str, name: str) -> bool:
        return any((happening.what, happening.name) == (what, name) for happening in self.happenings)

    async def reached(self, what: str, name: str, patience: float = 30.0) -> None:
        """Wait until it has happened.

        Raises:
            AssertionError: the candidate failed, or `patience` seconds are over.
        """
        await self.said(what, name, patience)

    async def said(self, start: str, name: str, patience: float = 30.0) -> str:
        """Wait for a report of the candidate that begins with `start`. Returns the first. Raises as `reached`."""
        with trio.move_on_after(patience):
            while True:
                for what, whose, _ in self.happenings:
                    if whose == name and what.startswith(start):
                        return what
                assert not self.has("failed", name), f"{name} failed: {self.happenings}"
                await self._heard.wait()
        raise AssertionError(f"{name}: no {start!r} within {patience} s: {self.happenings}")

    def stints(self) -> list[Stint]:
        """All terms. Where a candidate reports "stopped" more than once, the first time counts."""
        found = []
        for what, name, at in self.happenings:
            if what == "leading":
                ends = [other.at for other in self.happenings if other[:2] == ("stopped", name) and other.at >= at]
                assert ends, f"{name} never stopped: {self.happenings}"
                found.append(Stint(name, at / 1e9, min(ends) / 1e9))
        return found

    def leaders(self) -> list[str]:
        """The names of all that have led, in the order in which they began."""
        began = sorted((at, name) for what, name, at in self.happenings if what == "leading")
        return [name for _, name in began]
