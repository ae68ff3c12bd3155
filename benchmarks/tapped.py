"""What `zkwire tap` adds to a request: the same client on the same server, directly and through taps, in turns."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.meter import Measurement, Rounds

_TAP = ["zkwire", "tap", "0", "{hosts}"]

#: Row of the table: the module between client and server, and its arguments; None: nothing is between them.
ROWS: dict[str, list[str] | None] = {
    "straight": None,
    "a relay that reads nothing": ["benchmarks.relay", "{hosts}"],
    "tap": _TAP,
    "tap --json": [*_TAP, "--json"],
    "tap --hex": [*_TAP, "--hex"],
    "tap --fault": [*_TAP, "--fault", "drop request delete /nowhere"],
}


def measure(hosts: str, rounds: int, once: Callable[[str], Measurement]) -> dict[str, Rounds]:
    """Measure each way once in each round. `once` measures the client, given the hosts to connect to."""
    found: dict[str, list[Measurement]] = {name: [] for name in ROWS}
    with ExitStack() as stack:
        ways = {
            name: hosts if command is None else stack.enter_context(_between(hosts, command))
            for name, command in ROWS.items()
        }
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(once(way))
    return {name: Rounds(tuple(measurements)) for name, measurements in found.items()}


def added(results: dict[str, Rounds], name: str) -> float:
    """Microseconds that this way adds to the median latency: the median of the differences within each round."""
    return results[name].difference("median", results["straight"])


@contextmanager
def _between(hosts: str, command: list[str]) -> Iterator[str]:
    """Run the process between client and server. Yields its address. What it prints goes to /dev/null."""
    words = [word.format(hosts=hosts) for word in command]
    with subprocess.Popen(
        [sys.executable, "-m", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.match(r"zkwire: (\S+) to ", line)
        try:
            if match is None:
                raise ChildProcessError(f"{' '.join(words)}: {line}{process.stderr.read()}")
            yield match[1]
        finally:
            process.kill()
