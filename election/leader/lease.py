"""How long nobody else can lead. Arithmetic: times are arguments, in seconds on one clock.

What the servers do (ExpiryQueue, LearnerSessionTracker, LearnerHandler; docs/election-safety.md has the drawing):

- T is the session timeout. The leading server expires a session no earlier than T after the last touch that it has
  heard of.
- It pings each follower every half tick. With the answer it hears which sessions have reached the follower. T is at
  least two ticks, so half a tick is T/4 at most.
- A pause of the leading server's JVM may delay that ping until the JVM runs again. Meanwhile it commits nothing, so the
  pause lies between two of our commits.
- A follower that is cut off still answers reads and the client's pings. Only a commit shows that the leading server
  took part: here `multi([check(own znode), check(holder)])`.

A proof has been committed. Let s be the send time of the previous proof, or of this one if it is the first. Then the
leading server pinged the follower at s - T/4 or later:

- Case 1, no pause: the ping was at most half a tick before this commit.
- Case 2, a pause: the ping was at most half a tick before the pause, which began after the previous commit.

A request that had been answered by s - T/4 had reached the follower by then. Let p be the send time of the newest such
request: the session lives until p + T. (A request that was only sent by s - T/4 may still have been on its way.) A
ConnectRequest counts at once, since the leading server itself answers it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Literal

from zkwire import BoundClient, Check, NoNodeError

Renewal = Literal["commit", "ping", "none"]

#: All are shares of the session timeout T.
PROOF_INTERVAL = 1 / 16  #: from the sending of one proof to the next
HALF_TICK = 1 / 4  #: half a tick at most, since the servers grant no T below two ticks (default of minSessionTimeout)
DRIFT = 1 / 50  #: by how much the servers' clocks may be faster than ours
GRACE = 1 / 6  #: from the cancellation of the body to the end of the lease: the body has to finish in this time
LONGEST_GRACE = 1 / 3  #: with a longer one a body would be cancelled although all is well
LEAST = 1 / 3  #: how much of the lease must be left when the body begins
#: The same in seconds, for a T so short that T/3 would be less; but T/2 at most, which steady proofs can keep. So a
#: process that stands still for half a second right after its body began can still finish before the hard deadline.
LEAST_SECONDS = 0.75
LEAST_AT_MOST = 1 / 2


class Lease(ABC):
    """The lease of one term: its end, the earlier time at which the body is cancelled, and how it is renewed."""

    #: Whether it ends unless proofs renew it.
    is_renewed: ClassVar[bool] = True

    def __init__(self, timeout: float, grace: float | None = None) -> None:
        """`timeout` is T in seconds; `grace` is how many seconds the body has to finish, T/6 by default."""
        self.timeout = timeout
        self._grace = grace
        #: Nobody else can lead before then; -inf before the first proof.
        self.end = -math.inf

    @property
    def grace(self) -> float:
        """Seconds between the cancellation of the body and the end."""
        return self.timeout * GRACE if self._grace is None else self._grace

    @property
    def cancel_at(self) -> float:
        """When the body is cancelled."""
        return self.end - self.grace

    @property
    def least(self) -> float:
        """Seconds of lease that a term must have left when its body begins."""
        share = max(self.timeout * LEAST, min(LEAST_SECONDS, self.timeout * LEAST_AT_MOST))
        return max(share, self.grace + self.timeout * PROOF_INTERVAL)

    @property
    def interval(self) -> float:
        """Seconds from the sending of one proof to the next."""
        return self.timeout * PROOF_INTERVAL

    @abstractmethod
    async def prove(self, session: BoundClient, node: str, holder: str) -> None:
        """Send a proof, and wait for its reply. Raises NoNodeError if one of the two znodes was deleted."""

    @abstractmethod
    def proved(self, sent: float, answered: float, last_answered: Callable[[float], float | None]) -> bool:
        """A proof sent at `sent` was successful, and its reply came at `answered`. Returns whether it counted.

        It counts from what was sent before it, not from when its reply came (rule L1).

        Args:
            last_answered: for seconds before `sent`: the send time of the newest request that the server had answered
                by then, or of this connection's ConnectRequest if that was later. None when that is not known; then
                only earlier proofs count.
        """

    def renegotiated(self, timeout: float, connected: float) -> None:
        """The session has this timeout since the ConnectRequest that was sent at `connected`. A shorter one shortens
        the lease."""
        if timeout < self.timeout:
            self.end = min(self.end, connected + timeout * (1 - DRIFT))
        self.timeout = timeout


class CommitLease(Lease):
    """`renewal="commit"`: a proof is a committed check of both znodes."""

    def __init__(self, timeout: float, grace: float | None = None) -> None:
        super().__init__(timeout, grace)
        self._proofs: deque[tuple[float, float]] = deque(maxlen=64)  # when each was sent, and answered

    async def prove(self, session: BoundClient, node: str, holder: str) -> None:
        await session.multi([Check(node), Check(holder)])

    def proved(self, sent: float, answered: float, last_answered: Callable[[float], float | None]) -> bool:
        asked = (self._proofs[-1][0] if self._proofs else sent) - self.timeout * HALF_TICK
        self._proofs.append((sent, answered))
        known = [time for time, reply in self._proofs if reply <= asked]
        heard = last_answered(sent - asked)
        if heard is not None and heard <= sent:
            known.append(heard)
        if not known:
            return False
        self.end = max(self.end, max(known) + self.timeout * (1 - DRIFT))
        return True


class PingLease(Lease):
    """`renewal="ping"`: a proof is a read, which a server also answers when it is cut off from the others (rule L2)."""

    async def prove(self, session: BoundClient, node: str, holder: str) -> None:
        if await session.exists(node) is None:
            raise NoNodeError(node)

    def proved(self, sent: float, answered: float, last_answered: Callable[[float], float | None]) -> bool:
        self.end = max(self.end, sent + self.timeout * (1 - DRIFT))
        return True


class NoLease(Lease):
    """`renewal="none"`: the lease has no end. A term lasts until the client hears that it is over."""

    is_renewed = False

    def __init__(self, timeout: float, grace: float | None = None) -> None:
        super().__init__(timeout, grace)
        self.end = math.inf

    @property
    def interval(self) -> float:
        """Infinite: no proof is sent."""
        return math.inf

    async def prove(self, session: BoundClient, node: str, holder: str) -> None:
        """Nothing to send."""

    def proved(self, sent: float, answered: float, last_answered: Callable[[float], float | None]) -> bool:
        return True

    def renegotiated(self, timeout: float, connected: float) -> None:
        self.timeout = timeout


LEASES: dict[Renewal, type[Lease]] = {"commit": CommitLease, "ping": PingLease, "none": NoLease}
