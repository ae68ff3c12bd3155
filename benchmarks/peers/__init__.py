"""The clients that are measured, one module each. Only the process that measures a client imports its module."""

from __future__ import annotations

import importlib
from typing import Protocol

from benchmarks.meter import Meter


class Peer(Protocol):
    """A client. Each scenario that it takes part in is a method: `get_data_500` for `get_data-500`."""

    def __init__(self, hosts: str) -> None: ...

    def run(self, scenario: str, meter: Meter) -> None:
        """Do the repetitions that the meter asks for, in a session of its own."""

    def idle(self, session_timeout: float) -> None:
        """Open a session, print "idle", and do nothing until killed."""


#: Row of the table: (module, class). The order is that of the table.
PEERS = {
    "zkwire": ("zkwire", "Zkwire"),
    "zkwire in order": ("zkwire", "ZkwireInOrder"),
    "zkwire on_frame": ("zkwire", "ZkwireTraced"),
    "kazoo": ("kazoo", "Kazoo"),
    "aiozk": ("aiozk", "Aiozk"),
    "C client": ("c_client", "CClient"),
    "go-zookeeper": ("go_client", "GoClient"),
    "bare socket": ("bare_socket", "BareSocket"),
}


def load(name: str) -> type[Peer]:
    """The peer's class. Raises ImportError when its package is not installed."""
    module, attribute = PEERS[name]
    peer: type[Peer] = getattr(importlib.import_module(f"benchmarks.peers.{module}"), attribute)
    return peer


def method(scenario: str) -> str:
    return scenario.replace("-", "_")
