"""The clock behind leases: one that also runs while the machine is suspended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

import trio


def _choose(platform: str) -> int | None:
    """The clock_gettime clock that runs through a suspend; None where time.monotonic must do.

    Linux's, and OpenBSD's, is CLOCK_BOOTTIME. macOS has no such name: there CLOCK_MONOTONIC "will continue to increment
    while the system is asleep" (clock_gettime(3)), but time.monotonic is mach_absolute_time, which does not. Windows
    has no clock_gettime, and its time.monotonic goes on. What other systems do is not known.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.CLOCK_BOOTTIME
    return getattr(time, "CLOCK_MONOTONIC", None) if platform == "darwin" else None


_CLOCK = _choose(sys.platform)

#: Seconds by which two readings of two clocks may differ without one of them having jumped.
_JITTER = 0.001


def boottime() -> float:
    """Seconds since the machine started, suspended or not, as far as the system has such a clock (see `_choose`); never
    set back, nor forward, by anyone (rule L20)."""
    if _CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_CLOCK)


class BootClock:
    """Times of trio's clock as boot times.

    trio's clock is CLOCK_MONOTONIC, which stands still during a suspend while the servers' clocks go on (rule L4). A
    time of before the last suspend is converted as of then, so that a lease is never counted from too late a time. So
    this is made early, and kept: of what was before the first look at the clocks nothing is known.
    """

    def __init__(self, boottime: Callable[[], float]) -> None:
        """`boottime` is the clock of leases; tests give their own."""
        self.boottime = boottime
        self._offsets: list[tuple[float, float]] = []  # (trio's time, what to add to it), oldest first
        with suppress(RuntimeError):  # made outside of trio: the first look comes later
            self.sample()

    def sample(self) -> None:
        """Look whether the machine was suspended."""
        # In this order: what comes between the two readings makes boot times early, not late.
        boot = self.boottime()
        now = trio.current_time()
        if not self._offsets or boot - now > self._offsets[-1][1] + _JITTER:
            self._offsets.append((now, boot - now))

    def at(self, when: float) -> float:
        """A past time of trio's clock, as a boot time that is never too late."""
        for since, offset in reversed(self._offsets):
            if since <= when:
                return when + offset
        return when + self._offsets[0][1]

    def in_trio(self, boot: float) -> float:
        """A boot time to come, as a time of trio's clock."""
        return trio.current_time() + boot - self.boottime()
