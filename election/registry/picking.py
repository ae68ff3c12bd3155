"""Which member is picked: the four strategies, and what is counted for them. The random numbers and the time come from
the caller."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol, TypeVar

from ..errors import NoMembersError, RegistryError


class Named(Protocol):
    """What can be picked."""

    @property
    def name(self) -> str: ...


M = TypeVar("M", bound=Named)


class Strategy(ABC):
    """One way to pick. It may remember what it picked last, so each view has its own."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    @abstractmethod
    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        """One of the members. There is at least one, and they are sorted by name. `in_flight` has the number of uses of
        each member that is in use, by its name."""


class RandomPick(Strategy):
    """Any member, each with the same chance."""

    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        return self._rng.choice(members)


class RoundRobin(Strategy):
    """The member after the last picked one, by name. Exactly fair while the list stays the same. It keeps no index, so
    a list that shrinks does no harm (rules D10, D11)."""

    _last: str | None = None

    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        if self._last is None:  # not all clients begin with the first
            chosen = self._rng.choice(members)
        else:
            following = bisect_right(members, self._last, key=lambda member: member.name)
            chosen = members[following % len(members)]
        self._last = chosen.name
        return chosen


class Sticky(Strategy):
    """The same member as last time while it can be picked, else any (rule D11)."""

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
    """Any of the members with the fewest uses in flight. Only the uses through this view are known."""

    def pick(self, members: Sequence[M], in_flight: Mapping[str, int]) -> M:
        if 2 * len(in_flight) < len(members):  # most are idle: two tries find one on average
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
    """A new strategy by its name. Raises RegistryError for an unknown name."""
    if name not in STRATEGIES:
        raise RegistryError(f"there is no strategy {name!r}; expected one of {', '.join(STRATEGIES)}")
    return STRATEGIES[name](rng)


class Picker:
    """Picks for one view, and counts what the picks depend on: uses in flight, and errors (rule D12).

    Args:
        path: of the service, for messages.
        errors, window: a member with this many errors within this many seconds is down.
        when_all_down: whether any member is picked then ("use"), or none ("fail").
        rng: the source of random numbers.

    Raises RegistryError if `errors` is below 1 or `window` below 0, and for another `when_all_down`.
    """

    def __init__(
        self, path: str, *, errors: int, window: float, when_all_down: Literal["use", "fail"], rng: random.Random
    ) -> None:
        if errors < 1 or window < 0 or when_all_down not in ("use", "fail"):
            raise RegistryError('members: errors must be 1 or more, window 0 s or more, when_all_down "use" or "fail"')
        self._path = path
        self._max_errors = errors
        self._window = window
        self._when_all_down = when_all_down
        self._rng = rng
        self._strategies: dict[str, Strategy] = {}
        self._in_flight: dict[str, int] = {}  # by name
        self._errors: dict[str, deque[float]] = {}  # the times of the newest, by name

    def pick(self, strategy_name: str, members: Sequence[M], now: float) -> M:
        """One of the members. There is at least one, and they are sorted by name.

        Raises NoMembersError if all are down and `when_all_down` is "fail", and RegistryError for an unknown strategy.
        """
        if strategy_name not in self._strategies:
            self._strategies[strategy_name] = strategy(strategy_name, self._rng)
        return self._strategies[strategy_name].pick(self._up(members, now), self._in_flight)

    @contextmanager
    def in_flight(self, name: str) -> Iterator[None]:
        """The member is in use in the block."""
        self._in_flight[name] = self._in_flight.get(name, 0) + 1
        try:
            yield
        finally:
            self._in_flight[name] -= 1
            if not self._in_flight[name]:
                del self._in_flight[name]

    def note_error(self, name: str, now: float) -> None:
        """A use of the member failed."""
        self._errors.setdefault(name, deque(maxlen=self._max_errors)).append(now)

    def forget_errors(self, name: str) -> None:
        """The member has no errors: a use succeeded, or it has gone."""
        self._errors.pop(name, None)

    def _up(self, members: Sequence[M], now: float) -> Sequence[M]:
        """Those that are not down; all members if all are down and may be used then."""
        since = now - self._window
        down = {name for name, times in self._errors.items() if len(times) == self._max_errors and times[0] > since}
        if not down:
            return members
        up = [member for member in members if member.name not in down]
        if not up and self._when_all_down == "fail":
            raise NoMembersError(f"all members of {self._path} are down: {', '.join(sorted(down))}")
        return up or members
