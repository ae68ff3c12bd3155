"""Which member is picked: random, round-robin, sticky, least-loaded. Pure: chance is an argument."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from ..errors import RegistryError


class Named(Protocol):
    """What can be picked."""

    @property
    def name(self) -> str: ...


M = TypeVar("M", bound=Named)


class Strategy(ABC):
    """One way to pick. It may remember what it picked, so each user of a list has its own."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    @abstractmethod
    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        """One of the members, which are at least one, sorted by name. `in_flight` counts uses by name, 0 left out."""


class RandomPick(Strategy):
    """Any, each as likely."""

    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        return self._rng.choice(members)


class RoundRobin(Strategy):
    """The next behind the last picked, by name: exactly fair while the list stays, and no index to run out of range
    when it shrinks (rules D10, D11)."""

    _last: str | None = None

    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        if self._last is None:  # not all clients begin with the first
            chosen = self._rng.choice(members)
        else:
            behind = bisect_right(members, self._last, key=lambda member: member.name)
            chosen = members[behind % len(members)]
        self._last = chosen.name
        return chosen


class Sticky(Strategy):
    """The same as last time while it can be picked, else any (rule D11)."""

    _last: str | None = None

    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        if self._last is not None:
            place = bisect_left(members, self._last, key=lambda member: member.name)
            if place < len(members) and members[place].name == self._last:
                return members[place]
        chosen = self._rng.choice(members)
        self._last = chosen.name
        return chosen


class LeastLoaded(Strategy):
    """One with the fewest uses in flight, any of these. It knows of this client's uses only."""

    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        if 2 * len(in_flight) < len(members):  # most are idle: one of them is found in two tries or so
            while (chosen := self._rng.choice(members)).name in in_flight:
                pass
            return chosen
        fewest = min(in_flight.get(member.name, 0) for member in members)
        return self._rng.choice([member for member in members if in_flight.get(member.name, 0) == fewest])


STRATEGIES: dict[str, type[Strategy]] = {
    "random": RandomPick,
    "round-robin": RoundRobin,
    "sticky": Sticky,
    "least-loaded": LeastLoaded,
}


def strategy(name: str, rng: random.Random) -> Strategy:
    """A new strategy by its name. Raises RegistryError for a name that is none."""
    if name not in STRATEGIES:
        raise RegistryError(f"there is no strategy {name!r}: {', '.join(STRATEGIES)}")
    return STRATEGIES[name](rng)
