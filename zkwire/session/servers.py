"""The search for a server: which to try next, how long, after which pause, and what each did last. No I/O, no clock.

A round visits all hosts once. The pauses between rounds grow. They start over when a session has lasted for a while
(rule 42). "Rule N": docs/client-rules.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ..hosts import Host

T = TypeVar("T")

#: Seconds between rounds: the first pause, and the longest. The client waits for a random part, from half to all of it.
PAUSE_FIRST, PAUSE_LAST = 0.05, 3.0
#: By which factor each pause is longer than the one before. The second factor is used after a connection on which
#: requests were answered: it was of use, so pauses become long only if such losses continue for minutes.
GROWTH, GROWTH_SERVED = 2.0, 2.0 ** (1 / 40)
#: The longest pause as a share of the session timeout T, while there is a session to resume. So a server that comes
#: back when a quarter of T is left is asked twice before T is over.
PAUSE_RESUMING = 1 / 8
#: The same share, after a session that did not last for a while: a server had just renewed it, so there is more time.
PAUSE_SHORT = 1 / 4
#: A session has lasted for a while after this share of T, or after this many seconds if that is less. It must be longer
#: than the pauses above: when two clients resume one session, each has it for as long as the other one pauses.
WHILE, WHILE_LAST = 1 / 2, 5.0
#: How long it takes from dialling to a session, in seconds: a guess, until it was measured.
WAY = 0.5


class Chance(Protocol):
    """What a ServerSearch needs of random.Random."""

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """k elements in random order."""

    def uniform(self, a: float, b: float) -> float:
        """A number between the two."""


class ServerSearch:
    """What a client knows about its servers, and the order and the pauses in which it tries them."""

    def __init__(self, hosts: list[Host], random: Chance) -> None:
        self.hosts = hosts
        #: A server, by host and address, that said it is read-write: tried first, once.
        self.preferred: tuple[Host, str] | None = None
        self._random = random
        #: How many sessions in a row did not last for a while.
        self.short = 0
        #: How long it took from dialling to a session the last time, in seconds.
        self.way = WAY
        self._pause = PAUSE_FIRST
        self._lost: tuple[Host, str] | None = None  # the server that the last session was on
        self._ended: dict[str, str] = {}  # what each server did last
        self._current: tuple[str, str] | None = (
            None  # the server being tried, and what to report if this attempt is abandoned now
        )

    def round(self) -> list[Host]:
        """All hosts, in random order; one known to be read-write first, the one just lost last.

        A dead host takes its whole share of the time. When a silent server is given up, 2/3 of the session timeout has
        passed already, so the server that was just lost is not tried first again.
        """
        hosts = self._random.sample(self.hosts, len(self.hosts))
        if self._lost is not None:
            hosts.sort(key=self._lost[0].__eq__)
        if self.preferred is not None:
            hosts.sort(key=self.preferred[0].__ne__)
        return hosts

    def order(self, host: Host, addresses: list[str]) -> list[str]:
        """A host's addresses, in random order; one known to be read-write first, the one just lost last."""
        ordered = self._random.sample(addresses, len(addresses))
        if self._lost is not None and self._lost[0] == host:
            ordered.sort(key=self._lost[1].__eq__)
        if self.preferred is not None and self.preferred[0] == host:
            ordered.sort(key=self.preferred[1].__ne__)
        self.preferred = None
        return ordered

    def share(self, whole: float, left: float) -> float:
        """Seconds for each host of a round. `whole`: seconds for finding a server; `left`: how many of them are left.

        One attempt gets a third of the whole, so that there is time to ask again: a server that is just starting may
        take a ConnectRequest and never answer it. All hosts together get no more than what is left (rule 41). But an
        attempt is useless if it is shorter than the time from dialling to a session. So each gets at least that time,
        and three times that if possible.
        """
        share = max(whole / 3, 3 * self.way)
        return share if len(self.hosts) == 1 else max(min(share, left / len(self.hosts)), self.way)

    def next_pause(self, longest: float = PAUSE_LAST, growth: float = GROWTH) -> float:
        """Seconds to wait before the next round: `longest` at most, but never less than half the first pause. The pause
        after it will be `growth` times as long."""
        longest = max(min(longest, PAUSE_LAST), PAUSE_FIRST)
        pause = min(self._pause, longest) * self._random.uniform(0.5, 1)
        self._pause = min(self._pause * growth, PAUSE_LAST)
        return pause

    def trying(self, host: Host, missing: str) -> None:
        """An attempt has begun, or has come further. `missing`: what the report says if it is abandoned now."""
        self._current = (str(host), missing)

    def tried(self, host: Host, what: str) -> None:
        """An attempt has ended. `what`: what the server did."""
        self._ended[str(host)] = what
        self._current = None

    def had_session(self, host: Host, address: str, *, for_a_while: bool = True) -> None:
        """An attempt that had a session has ended. Only a session that lasted for a while resets the pauses."""
        self._lost = (host, address)
        if for_a_while:
            self._pause = PAUSE_FIRST
            self.short = 0
        else:
            self.short += 1

    def report(self) -> str:
        """Each server tried, and what it did; "" when none was."""
        ended = dict(self._ended)
        if self._current is not None:  # it is added to what an earlier attempt found out
            server, missing = self._current
            if ended.setdefault(server, missing) != missing:
                ended[server] += f", then {missing}"
        return "; ".join(f"{server}: {what}" for server, what in ended.items())


def is_a_while(seconds: float, session_timeout: float) -> bool:
    """Whether a session of so many seconds has lasted for a while: then the pauses start over."""
    return seconds >= min(session_timeout * WHILE, WHILE_LAST)
