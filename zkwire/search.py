"""The search for a server: which to try next, after which pause, and what each did last. No I/O, no clock.

A round visits all hosts once; between rounds is a pause that grows, and starts over when a session stood (rule 42).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .hosts import Host

T = TypeVar("T")

#: Seconds between rounds: from first to last, doubling, each drawn between half and all of it.
PAUSE_FIRST, PAUSE_LAST = 0.05, 3.0


class Chance(Protocol):
    """What a Search needs of random.Random."""

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """k elements in random order."""

    def uniform(self, a: float, b: float) -> float:
        """A number between the two."""


class Search:
    """What a client knows of its servers."""

    def __init__(self, hosts: list[Host], random: Chance) -> None:
        self.hosts = hosts
        #: A server, by host and address, that said it is read-write: tried first, once.
        self.preferred: tuple[Host, str] | None = None
        self._random = random
        self._pause = PAUSE_FIRST
        self._lost: tuple[Host, str] | None = None  # the server that the last session stood on
        self._ended: dict[str, str] = {}  # what each server did last
        self._current: tuple[str, str] | None = None  # the server being tried now, and what it has not done yet

    def round(self) -> list[Host]:
        """All hosts, in random order; one known to be read-write first, the one just lost last.

        A dead host takes its whole share of the time, and the server has not heard of us for 2/3 of it by then.
        """
        hosts = self._random.sample(self.hosts, len(self.hosts))
        if self._lost is not None:
            hosts.sort(key=self._lost[0].__eq__)
        if self.preferred is not None:
            hosts.sort(key=self.preferred[0].__ne__)
        return hosts

    def order(self, host: Host, addresses: list[str]) -> list[str]:
        """A host's addresses, in the same manner."""
        ordered = self._random.sample(addresses, len(addresses))
        if self._lost is not None and self._lost[0] == host:
            ordered.sort(key=self._lost[1].__eq__)
        if self.preferred is not None and self.preferred[0] == host:
            ordered.sort(key=self.preferred[1].__ne__)
        self.preferred = None
        return ordered

    def next_pause(self) -> float:
        """Seconds to wait before the next round."""
        pause = self._pause * self._random.uniform(0.5, 1)
        self._pause = min(self._pause * 2, PAUSE_LAST)
        return pause

    def trying(self, host: Host, missing: str) -> None:
        """An attempt goes on; `missing` is what to say of it if it were given up now."""
        self._current = (str(host), missing)

    def tried(self, host: Host, what: str) -> None:
        """An attempt has ended: `what` the server did."""
        self._ended[str(host)] = what
        self._current = None

    def stood(self, host: Host, address: str) -> None:
        """The attempt that has ended had a session."""
        self._lost = (host, address)
        self._pause = PAUSE_FIRST

    def report(self) -> str:
        """Each server tried, and what it did; "" when none was."""
        ended = dict(self._ended)
        if self._current is not None:  # what an earlier attempt found out is not forgotten for it
            server, missing = self._current
            if ended.setdefault(server, missing) != missing:
                ended[server] += f", then {missing}"
        return "; ".join(f"{server}: {what}" for server, what in ended.items())
