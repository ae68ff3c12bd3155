"""kazoo with its default handler, which is threads. 500 at a time: 500 `get_async`, then 500 `get`."""

from __future__ import annotations

import threading
from typing import Any

from kazoo.client import KazooClient

from benchmarks.meter import Meter, announce
from benchmarks.peers import method
from benchmarks.scenarios import (
    BATCH,
    LARGE,
    LARGE_SIZE,
    NEW,
    PARENT,
    SESSION_TIMEOUT,
    SMALL,
    SMALL_DATA,
    WATCHES,
    watched_path,
)


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
            zk.get(SMALL)
        zk.stop()

    def get_data_500(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            for result in [zk.get_async(SMALL) for _ in range(BATCH)]:
                result.get()
        zk.stop()

    def set_data_500(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            for result in [zk.set_async(SMALL, SMALL_DATA) for _ in range(BATCH)]:
                result.get()
        zk.stop()

    def create(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            zk.create(f"{NEW}/n-", SMALL_DATA, ephemeral=True, sequence=True)
        zk.stop()

    def get_children_10000(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            zk.get_children(PARENT)
        zk.stop()

    def get_data_1MB(self, meter: Meter) -> None:
        zk = self._connected()
        for _ in meter:
            zk.get(LARGE)
        zk.stop()

    def set_data_1MB(self, meter: Meter) -> None:
        zk, data = self._connected(), bytes(LARGE_SIZE)
        for _ in meter:
            zk.set(LARGE, data)
        zk.stop()

    def watches_1000(self, meter: Meter) -> None:
        zk = self._connected()
        left, done = WATCHES, threading.Event()

        def fired(_: Any) -> None:  # all in kazoo's one callback thread
            nonlocal left
            left -= 1
            if not left:
                done.set()

        for _ in meter.untimed():
            left = WATCHES
            done.clear()
            for result in [zk.get_async(watched_path(index), fired) for index in range(WATCHES)]:
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

    def _connected(self, session_timeout: float = SESSION_TIMEOUT) -> Any:
        zk = KazooClient(self._hosts, timeout=session_timeout)
        zk.start()
        return zk
