"""Measure zkwire, other clients and a bare socket on one server, in turns, and print a table for each scenario.

ZKWIRE_HOSTS=127.0.0.1:2181 python -m benchmarks [--quick] [--only SCENARIO]... [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

import trio

from benchmarks import elections, footprint, tapped, targets
from benchmarks.meter import Measurement, Rounds
from benchmarks.peers import PEERS, load
from benchmarks.peers.bare_socket import Connection, fire_watches, set_data
from benchmarks.peers.compiled import CompiledPeer
from benchmarks.prepare import znodes
from benchmarks.scenarios import BATCH, SCENARIOS, SMALL, SMALL_DATA, Scenario
from benchmarks.targets import Target

#: Rows that only some scenarios have.
_ROWS_OF = {
    "zkwire in order": ("get_data-500", "set_data-500"),
    "zkwire on_frame": ("tracing",),
}
_OTHERS = ("decode", "footprint", "failovers", "registry", "tap")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few operations: to see that it works")
    parser.add_argument("--only", action="append", choices=[*SCENARIOS, *_OTHERS], metavar="SCENARIO",
                        help=f"repeatable: {', '.join([*SCENARIOS, *_OTHERS])}")  # fmt: skip
    parser.add_argument("--rounds", type=int, help="how many times each client's turn comes (5; with --quick, 1)")
    options = parser.parse_args(arguments)
    hosts = os.environ.get("ZKWIRE_HOSTS")
    if not hosts:
        parser.error("ZKWIRE_HOSTS names no server; `make bench` starts one")
    chosen = options.only or [*SCENARIOS, *_OTHERS]
    trio.run(_run, hosts, chosen, options.quick, options.rounds or (1 if options.quick else 5))
    return 0


async def _run(hosts: str, chosen: Sequence[str], quick: bool, rounds: int) -> None:
    peers = _installed()
    met: list[Target] = []
    results: dict[str, dict[str, Rounds]] = {}
    async with znodes(hosts):
        # From here on one process runs at a time, and this one only waits.
        for name in chosen:
            if name not in SCENARIOS:
                continue
            scenario = SCENARIOS[name]
            results[name] = measure(
                hosts, scenario, _rows(scenario, peers), scenario.quick if quick else scenario.repetitions, rounds
            )
            print(f"\n{name}: {scenario.title}\n\n{table(results[name])}", flush=True)
        met += targets.of_scenarios(results)
        if "tap" in chosen:
            met += targets.of_tap(_tap(hosts, quick, rounds))
        if "footprint" in chosen:
            imports, sessions = _footprint(peers, quick)
            met += targets.of_footprint(imports, sessions)
            commands = footprint.cold(2 if quick else 15)
            rows = [[name, f"{milliseconds:.0f}"] for name, milliseconds in commands.items()]
            print(f"\nfootprint: a cold start\n\n{_grid([['', 'ms'], *rows])}", flush=True)
            met += targets.of_commands(commands)
    if "decode" in chosen:
        microseconds = json.loads(_python("benchmarks.decode", "1000" if quick else "10000"))
        print("\ndecode: a GetDataResponse of 100 bytes\n")
        print(_grid([["", "us"], *([name, f"{figure:.2f}"] for name, figure in microseconds.items())]))
        met += targets.of_decode(microseconds)
    if "failovers" in chosen:
        print("\nfailovers: from resigning to the next leader; packets of the server for each")
        print(_figures(elections.failovers(hosts, 5 if quick else 51)), flush=True)
    if "registry" in chosen:
        members = 1000 if quick else elections.MEMBERS
        print(f"\nregistry: {members:,} members, of which {elections.CHURN} go and others come")
        print(_figures(elections.registries(hosts, members)), flush=True)
    if met:
        print("\ntargets\n\n" + "\n".join(map(str, met)))


def measure(hosts: str, scenario: Scenario, rows: Iterable[str], repetitions: int, rounds: int) -> dict[str, Rounds]:
    """Measure each client once in each round."""
    found: dict[str, list[Measurement]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, measurements in found.items():
            measurements.append(_measure_once(hosts, name, scenario, repetitions))
    return {name: Rounds(tuple(measurements)) for name, measurements in found.items()}


def table(results: Mapping[str, Rounds]) -> str:
    """One row per client."""
    heading = ["", "CPU us/op", "op/s", "median us", "p99 us", "CPU/kazoo", "CPU/bare", "median/bare"]
    kazoo, bare = results.get("kazoo"), results.get("bare socket")
    rows = [
        [
            name,
            f"{row.figure('cpu'):,.1f}",
            f"{row.figure('rate'):,.0f}",
            f"{row.figure('median'):,.0f}",
            f"{row.figure('p99'):,.0f}",
            f"{row.ratio('cpu', kazoo):.2f}" if kazoo else "",
            f"{row.ratio('cpu', bare):.2f}" if bare else "",
            f"{row.ratio('median', bare):.2f}" if bare else "",
        ]
        for name, row in results.items()
    ]
    return _grid([heading, *rows])


def _installed() -> list[str]:
    """The clients that can run here. Prints which cannot, and why. Compiles those that need it."""
    found = []
    for name in PEERS:
        try:
            peer = load(name)
            if issubclass(peer, CompiledPeer):
                peer.build()
            found.append(name)
        except ImportError as error:
            print(f"without {name}: {error}")
    return found


def _rows(scenario: Scenario, peers: Iterable[str]) -> list[str]:
    if scenario.name == "tracing":
        return ["zkwire", "zkwire on_frame"]
    return [name for name in peers if scenario.name in _ROWS_OF.get(name, SCENARIOS)]


def _measure_once(hosts: str, name: str, scenario: Scenario, repetitions: int) -> Measurement:
    command = [sys.executable, "-m", "benchmarks.peer", name, scenario.name, str(repetitions)]
    environment = {**os.environ, "ZKWIRE_HOSTS": hosts}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = ""
        for line in process.stdout:
            if line == "armed\n":
                time.sleep(0.01)  # the client needs this long until it waits
                _send(hosts, fire_watches(), 1)
    if process.returncode:
        raise SystemExit(f"{name} failed in {scenario.name}")
    if scenario.name == "set_data-1MB":
        # A server holds its last 500 transactions in memory. 500 of these would fill its heap; now they are small.
        _send(hosts, set_data(SMALL, SMALL_DATA) * BATCH, BATCH)
    return Measurement(**json.loads(line))


def _send(hosts: str, frames: bytes, replies: int) -> None:
    connection = Connection(hosts)
    connection.exchange(frames, replies)
    connection.close()


def _tap(hosts: str, quick: bool, rounds: int) -> float:
    """Print the table of taps. Returns the microseconds that a tap adds."""
    scenario = SCENARIOS["get_data-serial"]
    repetitions = scenario.quick if quick else scenario.repetitions
    found = tapped.measure(hosts, rounds, lambda way: _measure_once(way, "bare socket", scenario, repetitions))
    rows = [
        [name, f"{row.figure('median'):,.0f}", f"{row.figure('p99'):,.0f}", f"{tapped.added(found, name):,.0f}"]
        for name, row in found.items()
    ]
    print(f"\ntap: {scenario.title}, by a bare socket\n\n{_grid([['', 'median us', 'p99 us', 'added us'], *rows])}")
    return tapped.added(found, "tap")


def _footprint(peers: Sequence[str], quick: bool) -> tuple[dict[str, footprint.Imported], dict[str, footprint.Idle]]:
    imports = {}
    for name in footprint.IMPORTS:
        if name in peers or name not in PEERS:
            imports[name] = footprint.imported(name, 2 if quick else 10)
    heading = ["", "import CPU ms", "resident MB", "which loads"]
    rows = [
        [name, f"{found.milliseconds:.1f}", f"{found.megabytes:.1f}", ", ".join(found.loaded)]
        for name, found in imports.items()
    ]
    print(f"\nfootprint: import in a fresh process\n\n{_grid([heading, *rows])}")
    names = [name for name in peers if name not in _ROWS_OF and name != "bare socket"]
    sessions = footprint.idle(names, 1.5 if quick else 6.0, 3)
    heading = ["", "resident MB", "threads", "wake-ups"]
    rows = [
        [name, f"{found.megabytes:.1f}", f"{found.threads}", f"{found.wakeups:.1f}"] for name, found in sessions.items()
    ]
    print(f"\nfootprint: an idle session; wake-ups per third of its timeout\n\n{_grid([heading, *rows])}", flush=True)
    return imports, sessions


def _python(module: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _figures(rows: Sequence[Mapping[str, object]]) -> str:
    """A table of rows that have the same keys."""
    texts = [[f"{value:,.1f}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    return "\n" + _grid([list(rows[0]), *texts])


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns, the first one to the left. It is Markdown too."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if index else cell.ljust(width) for index, (cell, width) in enumerate(zip(row, widths))
        )
        + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if index else "-") for index, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


if __name__ == "__main__":
    sys.exit(main())
