"""kazoo with its default handler, which is threads. 500 at a time: 500 `get_async`, then 500 `get`."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from kazoo.client import KazooClient

from benchmarks import scenarios
from benchmarks.meter import Meter, announce
from benchmarks.peers import method


class Kazoo:
    def __init__(self, hosts: str) -> None:
        self._hosts = hosts

    def run(self, scenario: str, meter: Meter) -> None:
        getattr(self, method(scenario))(meter)

    def idle(self, session_timeout: float) -> None:
        self._connected(session_timeout)
        announce("idle")
        threading.Event().wait()

    def get_data_serial(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            zk.get(scenarios.SMALL)
        zk.stop()

    def get_data_500(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            for result in [zk.get_async(scenarios.SMALL) for _ in range(scenarios.BATCH)]:
                result.get()
        zk.stop()

    def set_data_500(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            for result in [zk.set_async(scenarios.SMALL, scenarios.SMALL_DATA) for _ in range(scenarios.BATCH)]:
                result.get()
        zk.stop()

    def create(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            zk.create(f"{scenarios.NEW}/n-", scenarios.SMALL_DATA, ephemeral=True, sequence=True)
        zk.stop()

    def get_children_10000(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            zk.get_children(scenarios.PARENT)
        zk.stop()

    def get_data_1MB(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            zk.get(scenarios.LARGE)
        zk.stop()

    def set_data_1MB(self, meter: Meter) -> None:
        zk, data = self._connected(), bytes(scenarios.LARGE_SIZE)
        for _ in meter:
            zk.set(scenarios.LARGE, data)
        zk.stop()

    def watches_1000(self, meter: Meter) -> None:
        zk = self._connected()
        left, done = scenarios.WATCHES, threading.Event()

        def fired(_: Any) -> None:  # kazoo calls this in one thread
            nonlocal left
            left -= 1
            if not left:
                done.set()

        for _ in meter.untimed():
            left = scenarios.WATCHES
            done.clear()
            for result in [zk.get_async(scenarios.watched_path(index), fired) for index in range(scenarios.WATCHES)]:
                result.get()
            announce("armed")
            with meter.lap():
                done.wait()
        zk.stop()

    def connect(self, meter: Meter) -> None:
        for _ in meter:
            zk = self._connected()
            zk.stop()
            zk.close()

    def failovers(self, candidates: int, rounds: int) -> dict[str, float]:
        # Not at the top: its memory would count as an idle session's.
        from benchmarks import elections

        clock, path = elections.Clock(), f"/election-{uuid.uuid4().hex}"
        clients = [self._connected(elections.SESSION_TIMEOUT) for _ in range(2)]
        leading = threading.Semaphore(0)
        resign = threading.Semaphore(0)

        def lead() -> None:
            clock.leads()
            leading.release()
            resign.acquire()
            clock.resigns()

        for number in range(candidates):
            election = clients[number % 2].Election(path)
            threading.Thread(target=election.run, args=(lead,), daemon=True).start()
            while len(clients[0].get_children(path) if clients[0].exists(path) else ()) <= number:
                time.sleep(0.001)
        time.sleep(1)  # by then the last one waits
        before = elections.packets(self._hosts)
        for number in range(rounds):
            leading.acquire()
            if number < rounds - 1:
                resign.release()
        return clock.figures(elections.packets(self._hosts) - before)

    def registry(self, members: int, churn: int) -> dict[str, float]:
        """As a user of ChildrenWatch would write it: the data of new names is read in one batch."""
        from benchmarks import elections

        path = f"/registry-{uuid.uuid4().hex}"
        servers, client = (self._connected(elections.SESSION_TIMEOUT) for _ in range(2))
        view: dict[str, bytes] = {}
        reads = [0]
        changed = threading.Event()

        def note(name: str, reply: Any) -> None:
            view[name] = reply.get()[0]
            changed.set()

        def read(names: list[str]) -> None:
            new = [name for name in names if name not in view]
            reads[0] += len(new)
            found = [(name, client.get_async(f"{path}/{name}")) for name in new]
            for name in set(view) - set(names):
                del view[name]
            for name, reply in found:
                reply.rawlink(partial(note, name))
            changed.set()

        def create(name: str) -> Any:
            return servers.create_async(f"{path}/{name}", b"x" * 100, ephemeral=True)

        def wait(done: Callable[[], bool]) -> None:
            while not done():
                changed.wait(0.01)
                changed.clear()

        servers.ensure_path(path)
        began = time.perf_counter()
        for reply in [create(f"10.0.0.1:{number}") for number in range(members)]:
            reply.get()
        registered = time.perf_counter()
        client.ChildrenWatch(path, read)
        wait(lambda: len(view) == members)
        done, reads_at_first = time.perf_counter(), reads[0]
        for number in range(churn):
            servers.delete(f"{path}/10.0.0.1:{number}")
        for number in range(churn):
            create(f"10.0.0.2:{number}").get()
        wait(lambda: sum(name.startswith("10.0.0.2:") for name in view) == churn and len(view) == members)
        return {
            "register s": registered - began,
            "read s": done - registered,
            "reads": reads_at_first,
            "churn s": time.perf_counter() - done,
            "reads of the churn": reads[0] - reads_at_first,
        }

    def _connected(self, session_timeout: float = scenarios.SESSION_TIMEOUT) -> Any:
        zk = KazooClient(self._hosts, timeout=session_timeout)
        zk.start()
        return zk
