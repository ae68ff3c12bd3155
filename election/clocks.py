"""The clock of leases: it also runs while the machine is suspended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

import trio


def _choose(platform: str) -> int | None:
    """The clock of clock_gettime that also runs during a suspend; None if time.monotonic is the best there is.

    On Linux and OpenBSD it is CLOCK_BOOTTIME. macOS has no clock of that name: there CLOCK_MONOTONIC "will continue to
    increment while the system is asleep" (clock_gettime(3)), but time.monotonic is mach_absolute_time, which does not.
    Windows has no clock_gettime; its time.monotonic runs during a suspend. What other systems do is not known.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.CLOCK_BOOTTIME
    return getattr(time, "CLOCK_MONOTONIC", None) if platform == "darwin" else None


_CLOCK = _choose(sys.platform)

#: Seconds by which the offset between two clocks may change without a suspend.
_JITTER = 0.001


def boottime() -> float:
    """Seconds since the machine started. A suspend counts too, if the system has such a clock (see `_choose`). Nobody
    can set this clock (rule L20)."""
    if _CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_CLOCK)


class BootClock:
    """Converts times of trio's clock to boot times, and back.

    trio's clock is CLOCK_MONOTONIC, which does not run during a suspend, although the servers' clocks do (rule L4). A
    time before the last suspend is converted with the offset of that time, so the result is never too late. Create
    the BootClock early: times before its creation cannot be converted exactly.
    """

    def __init__(self, boottime: Callable[[], float]) -> None:
        """`boottime` reads the clock of leases; tests have their own."""
        self.boottime = boottime
        self._offsets: list[tuple[float, float]] = []  # (trio's time, what to add to it), oldest first
        with suppress(RuntimeError):  # not in trio yet: `sample` is called later
            self.sample()

    def sample(self) -> None:
        """Note whether the machine was suspended since the last call."""
        # In this order, a pause between the two readings makes boot times early, not late.
        boot = self.boottime()
        now = trio.current_time()
        if not self._offsets or boot - now > self._offsets[-1][1] + _JITTER:
            self._offsets.append((now, boot - now))

    def at(self, when: float) -> float:
        """The boot time of `when`, a past time on trio's clock. It may be too early, never too late."""
        for since, offset in reversed(self._offsets):
            if since <= when:
                return when + offset
        return when + self._offsets[0][1]

    def in_trio(self, boot: float) -> float:
        """`boot`, a future boot time, on trio's clock."""
        return trio.current_time() + boot - self.boottime()
