"""Times of trio's clock as boot times, over a suspend."""

from __future__ import annotations

import time

import pytest
import trio
from trio.testing import MockClock

from election.clocks import BootClock, _choose, boottime


class Boot:
    """A boot clock of its own: ahead of trio's, and further after each suspend."""

    def __init__(self) -> None:
        self.ahead = 1000.0

    def __call__(self) -> float:
        return trio.current_time() + self.ahead


@pytest.mark.rule("L20")
def test_boot_time_is_the_systems_and_not_the_wall_clock() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_monotonic_clock_serves_where_there_is_no_boot_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("election.clocks._CLOCK", None)
    before = time.monotonic()
    assert before <= boottime() <= time.monotonic()


@pytest.mark.parametrize(
    ("platform", "has_boottime", "clock"),
    [
        ("linux", True, "CLOCK_BOOTTIME"),
        ("openbsd7", True, "CLOCK_BOOTTIME"),
        ("darwin", False, "CLOCK_MONOTONIC"),
        ("freebsd13", False, None),
        ("win32", False, None),
    ],
)
def test_clock_is_one_that_runs_through_a_suspend_where_the_system_has_one(
    monkeypatch: pytest.MonkeyPatch, platform: str, has_boottime: bool, clock: str | None
) -> None:
    expected = None if clock is None else getattr(time, clock)
    if not has_boottime:
        monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert _choose(platform) == expected


def test_macos_is_asked_by_clock_gettime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own monotonic clock stands still there while the machine sleeps."""
    monkeypatch.setattr("election.clocks._CLOCK", time.CLOCK_MONOTONIC)
    monkeypatch.setattr(time, "monotonic", lambda: pytest.fail("it stands still"))
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert before <= boottime() <= time.clock_gettime(time.CLOCK_MONOTONIC)


async def test_times_are_converted_both_ways(autojump_clock: MockClock) -> None:
    clocks = BootClock(Boot())
    await trio.sleep(5)
    assert clocks.at(5.0) == 1005.0
    assert clocks.in_trio(1012.0) == 12.0


@pytest.mark.rule("L4")
async def test_time_of_before_a_suspend_stays_as_early_as_it_was(autojump_clock: MockClock) -> None:
    boot = Boot()
    clocks = BootClock(boot)
    await trio.sleep(5)
    boot.ahead += 3600
    await trio.sleep(5)
    clocks.sample()  # at 10
    await trio.sleep(5)
    assert clocks.at(9.0) == 1009.0  # before or after it? early is safe
    assert clocks.at(10.0) == 1010.0 + 3600
    assert clocks.at(-1.0) == 999.0
    assert clocks.in_trio(boot() + 2) == 17.0  # what is to come is as of now


async def test_readings_that_were_interrupted_are_no_suspend(autojump_clock: MockClock) -> None:
    boot = Boot()
    clocks = BootClock(boot)
    boot.ahead -= 0.5
    clocks.sample()
    boot.ahead += 0.5005
    clocks.sample()
    assert clocks.at(7.0) == 1007.0
