"""The clock behind leases: one that also runs while the machine is suspended."""

from __future__ import annotations

import time

#: trio's clock is CLOCK_MONOTONIC, which stands still during a suspend while the servers' clocks go on (rule L4).
#: Where a system has no CLOCK_BOOTTIME, its monotonic clock must do.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def boottime() -> float:
    """Seconds since the machine started, suspended or not; never set back, nor forward, by anyone (rule L20)."""
    if _CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_CLOCK)
