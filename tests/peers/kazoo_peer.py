"""kazoo's recipes as contenders: a thread and a session for each."""

from __future__ import annotations

import threading
import time
from typing import Any

import trio
from kazoo.client import KazooClient

from tests.peers.history import History


class KazooContender:
    """Run with `nursery.start_soon(contender.run)`; reports to `history`.

    Args:
        recipe: "election" or "lock"; or, for its name, "read".
        timeout: the session's, in seconds.
    """

    def __init__(self, recipe: str, name: str, path: str, hosts: str, history: History, timeout: float = 10.0) -> None:
        self.name = name
        self._recipe = recipe
        self._path = path
        self._client: Any = KazooClient(hosts, timeout=timeout)
        self._history = history
        self._leave = threading.Event()

    def leave(self) -> None:
        """Let it stop, give up leadership and close its session: reported as "stopped" and "left"."""
        self._leave.set()

    async def run(self) -> None:
        """Contend until `leave`. Cancelled, it tells the thread to leave, and does not wait for it."""
        try:
            await trio.to_thread.run_sync(self._contend, abandon_on_cancel=True)
        finally:
            self._leave.set()

    def _note(self, what: str) -> None:
        trio.from_thread.run_sync(self._history.note, what, self.name, time.monotonic_ns())

    def _lead(self) -> None:
        self._note("leading")
        assert self._leave.wait(60)
        self._note("stopped")

    def _contend(self) -> None:
        self._client.start(20)
        try:
            if self._recipe == "election":
                self._client.Election(self._path, self.name).run(self._lead)
            else:
                lock = {"lock": self._client.Lock, "read": self._client.ReadLock}[self._recipe](self._path, self.name)
                with lock:
                    self._lead()
        finally:
            self._client.stop()
            self._client.close()
        self._note("left")
