"""How soon the next leader leads, what that costs the server, and what a large registry costs; kazoo beside.

Each measurement runs in a process of its own: `python -m benchmarks.elections CLIENT WHAT HOSTS ARGUMENTS` prints JSON.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

import zkwire
from election import Election, Registration, Registry, Term

CLIENTS = ("zkwire", "kazoo")
CONTENDERS = (5, 100, 1000)
MEMBERS, CHURN = 10_000, 100
#: Seconds; no session may expire while a thousand contenders get ready.
SESSION_TIMEOUT = 60.0


def failovers(hosts: str, rounds: int) -> list[dict[str, Any]]:
    """Rows of figures, by client and number of contenders."""
    rows = []
    for contenders in CONTENDERS:
        for client in CLIENTS:
            row = _in_a_process(client, "failovers", hosts, str(contenders), str(min(rounds, contenders - 1)))
            rows.append({"client": client, "contenders": contenders, **row})
    return rows


def registries(hosts: str, members: int) -> list[dict[str, Any]]:
    """Rows of figures, by client."""
    return [
        {"client": client, **_in_a_process(client, "registry", hosts, str(members), str(CHURN))} for client in CLIENTS
    ]


def _in_a_process(client: str, what: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.elections", client, what, *arguments]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def _packets(hosts: str) -> int:
    """Requests and replies that the server has counted (four-letter word srvr)."""
    host, _, port = hosts.partition("/")[0].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"srvr")
        text = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(("Received:", "Sent:")))


class Clock:
    """From each resignation to the next leader."""

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


# --- a queue of contenders, of whom the first `rounds` resign one after another


async def zkwire_failovers(hosts: str, contenders: int, rounds: int) -> dict[str, float]:
    clock, path = Clock(), f"/election-{uuid.uuid4().hex}"
    led = trio.Event()
    terms: list[Term] = []

    async def contend(election: Election) -> None:
        term = await election.campaign()
        clock.leads()
        terms.append(term)
        led.set()

    async with (
        zkwire.connect(hosts, SESSION_TIMEOUT) as one,
        zkwire.connect(hosts, SESSION_TIMEOUT) as other,
        trio.open_nursery() as nursery,
    ):
        for number in range(contenders):
            election = Election((one, other)[number % 2], path)
            nursery.start_soon(contend, election)
            async for state in election.states():
                if state in ("waiting", "leading"):
                    break
        before = _packets(hosts)
        for number in range(rounds):
            while len(terms) <= number:
                led = trio.Event()
                await led.wait()
            if number == rounds - 1:
                break
            clock.resigns()
            await terms[number].resign()
        packets = _packets(hosts) - before
        nursery.cancel_scope.cancel()
    return clock.figures(packets)


def kazoo_failovers(hosts: str, contenders: int, rounds: int) -> dict[str, float]:
    from kazoo.client import KazooClient

    clock, path = Clock(), f"/election-{uuid.uuid4().hex}"
    clients = [KazooClient(hosts, timeout=SESSION_TIMEOUT) for _ in range(2)]
    for client in clients:
        client.start()
    leading = threading.Semaphore(0)
    resign = threading.Semaphore(0)

    def lead() -> None:
        clock.leads()
        leading.release()
        resign.acquire()
        clock.resigns()

    for number in range(contenders):
        election = clients[number % 2].Election(path)
        threading.Thread(target=election.run, args=(lead,), daemon=True).start()
        while len(clients[0].get_children(path) if clients[0].exists(path) else ()) <= number:
            time.sleep(0.001)
    time.sleep(1)  # until the last of them waits
    before = _packets(hosts)
    for number in range(rounds):
        leading.acquire()
        if number < rounds - 1:
            resign.release()
    return clock.figures(_packets(hosts) - before)


# --- a registry, of which a hundred members go and come back


async def zkwire_registry(hosts: str, members: int, churn: int) -> dict[str, float]:
    reads = [0]

    def count(frame: zkwire.Frame) -> None:
        if frame.direction is zkwire.Direction.SENT and frame.opcode is zkwire.OpCode.GET_DATA:
            reads[0] += 1

    path = f"/registry-{uuid.uuid4().hex}"
    async with (
        zkwire.connect(hosts, SESSION_TIMEOUT) as servers,
        zkwire.connect(hosts, SESSION_TIMEOUT, on_frame=count) as client,
        trio.open_nursery() as nursery,
    ):
        registry = Registry(servers, path)
        registrations: dict[str, Registration] = {}

        async def serve(name: str, *, task_status: trio.TaskStatus[None]) -> None:
            async with registry.register(name, data=b"x" * 100) as registrations[name]:
                task_status.started()
                await trio.sleep_forever()

        async def register(host: str, count: int) -> None:
            async with trio.open_nursery() as starting:
                for number in range(count):
                    starting.start_soon(nursery.start, serve, f"{host}:{number}")

        began = time.perf_counter()
        await register("10.0.0.1", members)
        registered = time.perf_counter()
        async with Registry(client, path).members() as view:
            read, reads_at_first = time.perf_counter(), reads[0]
            for number in range(churn):
                await registrations[f"10.0.0.1:{number}"].deregister()
            await register("10.0.0.2", churn)
            names = {member.name for member in view.snapshot()}
            changes = aiter(view)
            while len(names) != members or sum(name.startswith("10.0.0.2:") for name in names) != churn:
                await anext(changes)
                names = {member.name for member in view.snapshot()}
            churned = time.perf_counter()
        nursery.cancel_scope.cancel()
    return {
        "register s": registered - began,
        "read s": read - registered,
        "reads": reads_at_first,
        "churn s": churned - read,
        "reads of the churn": reads[0] - reads_at_first,
    }


def kazoo_registry(hosts: str, members: int, churn: int) -> dict[str, float]:
    """What a user of ChildrenWatch would write: new names are read, in one batch."""
    from kazoo.client import KazooClient

    path = f"/registry-{uuid.uuid4().hex}"
    servers, client = KazooClient(hosts, timeout=SESSION_TIMEOUT), KazooClient(hosts, timeout=SESSION_TIMEOUT)
    servers.start()
    client.start()
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


def main() -> None:
    client, what, hosts, *numbers = sys.argv[1:]
    measure = globals()[f"{client}_{what}"]
    arguments = hosts, *map(int, numbers)
    found = measure(*arguments) if client == "kazoo" else trio.run(measure, *arguments)
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # kazoo's threads wait for turns that never come


if __name__ == "__main__":
    main()
