"""Measures the CPU and the time of operations."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple


class Measurement(NamedTuple):
    """What one process measured. Times are microseconds."""

    cpu: float  # per operation, all threads, user and system
    rate: float  # operations per second
    median: float  # of the repetitions' latencies
    p99: float


class Rounds(NamedTuple):
    """What one client measured, round by round."""

    rounds: tuple[Measurement, ...]

    def figure(self, name: str) -> float:
        """The median of the rounds."""
        return statistics.median(self._figures(name))

    def ratio(self, name: str, other: Rounds) -> float:
        """The median of the ratios within each round. In one round both clients run on an equally loaded machine."""
        return statistics.median(ours / theirs for ours, theirs in zip(self._figures(name), other._figures(name)))

    def difference(self, name: str, other: Rounds) -> float:
        """The median of the differences within each round."""
        return statistics.median(ours - theirs for ours, theirs in zip(self._figures(name), other._figures(name)))

    def _figures(self, name: str) -> list[float]:
        return [getattr(measurement, name) for measurement in self.rounds]


class Meter:
    """Measures CPU and time of repetitions. The first ones warm up, and do not count.

    for _ in meter:                     # or, where a repetition needs preparation:
        one repetition                  #     for _ in meter.untimed():
                                        #         preparation
                                        #         with meter.lap(): one repetition
    """

    def __init__(self, repetitions: int, batch: int) -> None:
        self.repetitions = repetitions
        self.warm_up = max(repetitions // 10, 1)
        self._batch = batch
        self._cpu = 0.0
        self._laps: list[float] = []

    def __iter__(self) -> Iterator[None]:
        for _ in range(self.warm_up):
            yield
        clock, laps = time.perf_counter, []
        cpu = time.process_time()
        before = clock()
        for _ in range(self.repetitions):
            yield
            now = clock()
            laps.append(now - before)
            before = now
        self._cpu += time.process_time() - cpu
        self._laps += laps

    def untimed(self) -> Iterator[None]:
        """Repetitions that `lap` measures, and one before them to warm up."""
        for index in range(self.repetitions + 1):
            yield
            if index == 0:
                self._cpu = 0.0
                self._laps.clear()

    @contextlib.contextmanager
    def lap(self) -> Iterator[None]:
        cpu, before = time.process_time(), time.perf_counter()
        yield
        self._laps.append(time.perf_counter() - before)
        self._cpu += time.process_time() - cpu

    def result(self) -> Measurement:
        laps = sorted(self._laps)
        operations = len(laps) * self._batch
        return Measurement(
            cpu=self._cpu / operations * 1e6,
            rate=operations / sum(laps),
            median=laps[len(laps) // 2] * 1e6,
            p99=laps[min(int(len(laps) * 0.99), len(laps) - 1)] * 1e6,
        )


def announce(word: str) -> None:
    """Tell the process that started this one what is done. At "armed" it fires the watches."""
    print(word, flush=True)


def report(measurement: Measurement) -> None:
    print(json.dumps(measurement._asdict()), flush=True)
