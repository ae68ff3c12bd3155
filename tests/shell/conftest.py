"""A bound on every test of this ring. Its clock is virtual: a task that never waits would hang the test for ever."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

#: Real seconds. The longest test takes about 20 on a loaded machine.
BOUND = 300


@pytest.fixture(autouse=True)
def bound() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"the test runs for {BOUND} s of real time: does a task never wait?")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(BOUND)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
