"""How soon the next leader leads, how many packets that costs, and what a large registry costs; compared with kazoo.

Each measurement runs in a process of its own (benchmarks/peer.py).
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

CLIENTS = ("zkwire", "kazoo")
CANDIDATES = (5, 100, 1000)
MEMBERS, CHURN = 10_000, 100
#: Seconds; no session may expire while a thousand candidates enter.
SESSION_TIMEOUT = 60.0


def failovers(hosts: str, rounds: int) -> list[dict[str, Any]]:
    """One row for each client and number of candidates."""
    rows = []
    for candidates in CANDIDATES:
        for client in CLIENTS:
            row = _in_a_process(client, "failovers", hosts, str(candidates), str(min(rounds, candidates - 1)))
            rows.append({"client": client, "candidates": candidates, **row})
    return rows


def registries(hosts: str, members: int) -> list[dict[str, Any]]:
    """One row for each client."""
    return [
        {"client": client, **_in_a_process(client, "registry", hosts, str(members), str(CHURN))} for client in CLIENTS
    ]


def _in_a_process(client: str, what: str, hosts: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.peer", client, what, *arguments]
    environment = {**os.environ, "ZKWIRE_HOSTS": hosts}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def packets(hosts: str) -> int:
    """The number of packets that the server has received and sent so far (four-letter word srvr)."""
    host, _, port = hosts.partition("/")[0].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"srvr")
        text = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(("Received:", "Sent:")))


class Clock:
    """Measures the time from each resignation to the next leader."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._resigned = 0.0

    def resigns(self) -> None:
        self._resigned = time.perf_counter()

    def leads(self) -> None:
        if self._resigned:
            self.milliseconds.append((time.perf_counter() - self._resigned) * 1000)

    def figures(self, packets: int) -> dict[str, float]:
        ordered = sorted(self.milliseconds)
        return {
            "median ms": statistics.median(ordered),
            "p99 ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
            "packets": packets / len(ordered),
        }
