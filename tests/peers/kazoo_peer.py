"""kazoo's recipes as candidates: python -m tests.peers.kazoo_peer HOSTS SESSION_TIMEOUT_MS; see tests/peers/process.py.

Recipes: "election", "lock", and "read" (its name is what a test looks at).
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from typing import Any

from kazoo.client import KazooClient

#: The recipes, with the dialect that each speaks.
RECIPES = {"election": "kazoo", "lock": "kazoo"}


def candidate_command(hosts: str, timeout: float) -> list[str]:
    """The command that runs this module. `timeout`: the session timeout in seconds."""
    return [sys.executable, "-m", "tests.peers.kazoo_peer", hosts, str(int(timeout * 1000))]


class Candidate(threading.Thread):
    """A candidate with a client and a session of its own."""

    def __init__(self, hosts: str, timeout: float, recipe: str, name: str, path: str) -> None:
        super().__init__(daemon=True)
        self.leave = threading.Event()
        self._client: Any = KazooClient(hosts, timeout=timeout)
        self._recipe = recipe
        self._id = name
        self._path = path

    def say(self, what: str) -> None:
        at = time.monotonic_ns()
        sys.stdout.write(f"{what} {self._id} {at}\n")
        sys.stdout.flush()

    def run(self) -> None:
        try:
            self._client.start(20)
            self.take_part()
            self._client.stop()
            self._client.close()
            self.say("left")
        except BaseException:
            traceback.print_exc()
            self.say("failed")

    def take_part(self) -> None:
        if self._recipe == "election":
            self._client.Election(self._path, self._id).run(self._lead)
        else:
            recipe = self._client.Lock if self._recipe == "lock" else self._client.ReadLock
            with recipe(self._path, self._id):
                self._lead()

    def _lead(self) -> None:
        self.say("leading")
        self.leave.wait()
        self.say("stopped")


class Onlooker(Candidate):
    def take_part(self) -> None:
        self.say("saw:" + ",".join(self._client.Election(self._path).contenders()))


def main() -> None:
    hosts, timeout = sys.argv[1], int(sys.argv[2]) / 1000
    candidates: dict[str, Candidate] = {}
    for line in sys.stdin:
        verb, *words = line.split()
        if verb == "leave":
            candidates[words[0]].leave.set()
            continue
        recipe, name, path = words
        candidates[name] = (Candidate if verb == "enter" else Onlooker)(hosts, timeout, recipe, name, path)
        candidates[name].start()
    os._exit(0)  # like a crash: no session is closed


if __name__ == "__main__":
    main()
