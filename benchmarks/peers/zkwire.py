"""zkwire, in two styles where there are many requests at a time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import trio

import zkwire
from benchmarks import scenarios
from benchmarks.meter import Meter, announce
from benchmarks.peers import method


class Zkwire:
    """500 at a time: 500 tasks in a nursery."""

    on_frame: Callable[[zkwire.Frame], object] | None = None

    def __init__(self, hosts: str) -> None:
        self._hosts = hosts

    def run(self, scenario: str, meter: Meter) -> None:
        trio.run(getattr(self, method(scenario)), meter)

    def idle(self, session_timeout: float) -> None:
        trio.run(self._idle, session_timeout)

    async def get_data_serial(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                await zk.get_data(scenarios.SMALL)

    tracing = get_data_serial

    async def get_data_500(self, meter: Meter) -> None:
        async with self._connect() as zk:

            async def one() -> None:
                await zk.get_data(scenarios.SMALL)

            for _ in meter:
                await _at_a_time(one)

    async def set_data_500(self, meter: Meter) -> None:
        async with self._connect() as zk:

            async def one() -> None:
                await zk.set_data(scenarios.SMALL, scenarios.SMALL_DATA)

            for _ in meter:
                await _at_a_time(one)

    async def create(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                await zk.create(
                    f"{scenarios.NEW}/n-", scenarios.SMALL_DATA, mode=zkwire.CreateMode.EPHEMERAL_SEQUENTIAL
                )

    async def get_children_10000(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                await zk.get_children(scenarios.PARENT)

    async def get_data_1MB(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                await zk.get_data(scenarios.LARGE)

    async def set_data_1MB(self, meter: Meter) -> None:
        data = bytes(scenarios.LARGE_SIZE)
        async with self._connect() as zk:
            for _ in meter:
                await zk.set_data(scenarios.LARGE, data)

    async def watches_1000(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter.untimed():
                calls = [zk.get_data_and_watch(scenarios.watched_path(index)) for index in range(scenarios.WATCHES)]
                watches = [(await call)[2] for call in calls]
                announce("armed")
                with meter.lap():
                    for watch in watches:
                        await watch.wait()

    async def connect(self, meter: Meter) -> None:
        for _ in meter:
            async with self._connect():
                pass

    def failovers(self, candidates: int, rounds: int) -> dict[str, float]:
        return trio.run(self._failovers, candidates, rounds)

    def registry(self, members: int, churn: int) -> dict[str, float]:
        return trio.run(self._registry, members, churn)

    async def _failovers(self, candidates: int, rounds: int) -> dict[str, float]:
        # Not at the top: their memory would count as an idle session's.
        from benchmarks import elections
        from election import Election, Term

        clock, path = elections.Clock(), f"/election-{uuid.uuid4().hex}"
        led = trio.Event()
        terms: list[Term] = []

        async def contend(election: Election) -> None:
            term = await election.campaign()
            clock.leads()
            terms.append(term)
            led.set()

        async with (
            self._connect(elections.SESSION_TIMEOUT) as one,
            self._connect(elections.SESSION_TIMEOUT) as other,
            trio.open_nursery() as nursery,
        ):
            for number in range(candidates):
                election = Election((one, other)[number % 2], path)
                nursery.start_soon(contend, election)
                async for state in election.states():
                    if state in ("waiting", "leading"):
                        break
            before = elections.packets(self._hosts)
            for number in range(rounds):
                while len(terms) <= number:
                    led = trio.Event()
                    await led.wait()
                if number == rounds - 1:
                    break
                clock.resigns()
                await terms[number].resign()
            packets = elections.packets(self._hosts) - before
            nursery.cancel_scope.cancel()
        return clock.figures(packets)

    async def _registry(self, members: int, churn: int) -> dict[str, float]:
        from benchmarks import elections
        from election import Registration, Registry

        reads = [0]

        def count(frame: zkwire.Frame) -> None:
            if frame.direction is zkwire.Direction.SENT and frame.opcode is zkwire.OpCode.GET_DATA:
                reads[0] += 1

        path = f"/registry-{uuid.uuid4().hex}"
        async with (
            self._connect(elections.SESSION_TIMEOUT) as servers,
            zkwire.connect(self._hosts, elections.SESSION_TIMEOUT, on_frame=count) as client,
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

    def _connect(self, session_timeout: float = scenarios.SESSION_TIMEOUT) -> zkwire.Client:
        return zkwire.connect(self._hosts, session_timeout, on_frame=self.on_frame)

    async def _idle(self, session_timeout: float) -> None:
        async with self._connect(session_timeout):
            announce("idle")
            await trio.sleep_forever()


class ZkwireInOrder(Zkwire):
    """500 at a time: 500 calls, awaited in order by one task."""

    async def get_data_500(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                for call in [zk.get_data(scenarios.SMALL) for _ in range(scenarios.BATCH)]:
                    await call

    async def set_data_500(self, meter: Meter) -> None:
        async with self._connect() as zk:
            for _ in meter:
                for call in [zk.set_data(scenarios.SMALL, scenarios.SMALL_DATA) for _ in range(scenarios.BATCH)]:
                    await call


class ZkwireTraced(Zkwire):
    """Every frame is given to a function that does nothing."""

    @staticmethod
    def on_frame(frame: zkwire.Frame) -> None:
        pass


async def _at_a_time(function: Callable[[], Awaitable[Any]]) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(scenarios.BATCH):
            nursery.start_soon(function)
