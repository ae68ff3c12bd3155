"""Candidates on a real ensemble, in processes of their own, each with taps between it and the servers.

A `Rig` has one `Fleet` for each election, a fleet has `Slot`s, and in each slot a candidate runs. When its process
ends, the slot starts another one, as a supervisor would. A candidate's `Link` can be held, delayed, cut and reset.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

import zkwire
from election import Election
from election.leader.paths import ElectionPaths, Mode
from tests.support import contest, judge
from tests.support.candidate_process import STEP
from tests.support.contest import Record, Tape
from tests.support.judge import Overlap, Pause, Stint
from tests.support.live import PATIENCE, until, watched_paths
from tests.support.program import Program, module
from tests.support.real.servers import Ensemble
from zkwire import Client, Direction, SessionInfo, Stat
from zkwire.tap.tap import Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import DROP, PASS, Action, Delay, Fault, Match, Replace

T = TypeVar("T")

#: Session timeout of the candidates, and the servers' tick, in seconds.
TIMEOUT, TICK = 2.0, 0.5
#: The exit status of a candidate whose body had not ended at the end of its lease.
OVERRUN = 3


async def persistently(operation: Callable[[], Awaitable[T]]) -> T:
    """The result of an operation. It is repeated when a connection is lost, so it must be safe to repeat."""
    while True:
        try:
            return await operation()
        except zkwire.ConnectionLossError:
            continue


class Link:
    """The connections of one candidate to the servers, with a tap for each server.

    Attributes:
        session: the session that a server granted last.
        server: the number of the server of the last connection.
    """

    def __init__(self, servers: Sequence[str]) -> None:
        self.taps = [Tap(address, observer=_Eye(self, index)) for index, address in enumerate(servers)]
        self.session: SessionInfo | None = None
        self.server = 0
        self._rules: list[Fault] = []
        for tap in self.taps:
            tap.fault = self._decide

    @property
    def hosts(self) -> str:
        return ",".join(tap.address for tap in self.taps)

    def _decide(self, seen: SeenFrame) -> Action:
        return next((action for rule in self._rules if (action := rule(seen)) != PASS), PASS)

    @contextmanager
    def rule(self, rule: Fault) -> Iterator[None]:
        """Ask this rule about each frame until the end of the block."""
        self._rules.append(rule)
        try:
            yield
        finally:
            self._rules.remove(rule)

    @contextmanager
    def held(self, *directions: Direction) -> Iterator[None]:
        """Hold all frames in these directions, on all connections, until the end of the block."""
        healed = trio.Event()
        try:
            with self.rule(lambda each: Delay(until=healed) if each.direction in directions else PASS):
                yield
        finally:
            healed.set()

    def reset(self) -> None:
        for tap in self.taps:
            tap.cut(reset=True)


class _Eye:
    """Tells a link what one of its taps sees."""

    def __init__(self, link: Link, index: int) -> None:
        self._link = link
        self._index = index

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        self._link.server = self._index

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        pass

    def passed(
        self, connection: int, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        if isinstance(seen, SeenFrame) and seen.is_handshake and direction is Direction.RECEIVED:
            response = seen.record
            if response is not None and response.time_out:
                self._link.session = SessionInfo(response.session_id, response.passwd)

    def closed(self, connection: int, by: str, now: float) -> None:
        pass


class Stall:
    """A rule: only half of the first frame that matches goes on, and nothing after it in the same direction."""

    def __init__(self, match: Match) -> None:
        self._match = match
        self._stalled: SeenFrame | None = None

    def __call__(self, seen: SeenFrame) -> Action:
        if self._stalled is None:
            if not self._match(seen):
                return PASS
            self._stalled = seen
            return Replace(seen.data[: len(seen.data) // 2])
        same = self._stalled.direction is seen.direction and self._stalled.connection == seen.connection
        return DROP if same and seen.index > self._stalled.index else PASS


class Slot:
    """A place for one candidate, and all processes that ran in it, one after another."""

    def __init__(self, fleet: Fleet, name: str, link: Link) -> None:
        self.name = name
        self.link = link
        self.is_leaving = False
        self.statuses: list[int] = []  # of those that ended
        self._fleet = fleet
        self._runs: list[tuple[Program, Tape, list[Pause]]] = []
        self._stops = 0  # how many faults have stopped it
        self._stopped: dict[Program, float] = {}  # since when
        self._was_killed = False
        self._starting = trio.Lock()

    @property
    def program(self) -> Program:
        return self._runs[-1][0]

    @property
    def is_alive(self) -> bool:
        return self.program.is_alive

    @property
    def is_contending(self) -> bool:
        """Whether its process waits or leads, by what it prints."""
        states = [line.split()[-1] for line in self.program.lines(" (idle|entering|waiting|leading|suspended|lost)$")]
        return self.is_alive and states[-1:] in (["waiting"], ["leading"])

    async def start(self) -> None:
        rig, fleet = self._fleet.rig, self._fleet
        stem = rig.directory / f"{self.name}-{len(self._runs)}"
        arguments = [
            *(self.link.hosts + rig.root, fleet.path, fleet.counter, f"{stem}.records", str(rig.port), fleet.name),
            *("--mode", fleet.mode, "--timeout", str(fleet.timeout), *fleet.options),
        ]
        self._was_killed = False
        program = await trio.to_thread.run_sync(Program, module("tests.support.candidate_process", *arguments))
        self._runs.append((program, Tape(Path(f"{stem}.records")), []))

    async def keep(self) -> None:
        """Start a new process whenever one has ended, until `leave`."""
        while True:
            await trio.sleep(0.05)
            async with self._starting:
                if self._runs and not self.is_alive and not self.is_leaving:
                    status = self.program.popen.returncode
                    self.statuses.append(status)
                    expected = [OVERRUN] + [-signal.SIGKILL] * self._was_killed
                    assert status in expected, f"{self.name} ended with {status}:\n{self.program.printed}"
                    await self.start()

    async def stop(self) -> None:
        """SIGSTOP. Returns when the process has stopped."""
        program = self.program
        self._stops += 1
        await trio.to_thread.run_sync(program.stop)
        self._stopped.setdefault(program, time.monotonic())

    def go_on(self) -> None:
        """SIGCONT, unless another fault has stopped it too."""
        self._stops -= 1
        if self._stops == 0:
            for program, _, pauses in self._runs:
                if program in self._stopped:
                    pauses.append(Pause(self._stopped.pop(program), time.monotonic()))
                    program.send(signal.SIGCONT)

    def kill(self) -> None:
        self._was_killed = True
        self.program.send(signal.SIGKILL)

    async def leave(self) -> None:
        """SIGTERM. Returns when the process has ended in good order."""
        self.is_leaving = True
        program = self.program
        if program.is_alive:
            program.send(signal.SIGTERM)
            await until(lambda: not program.is_alive, f"{self.name} to end")
        # Killed by the SIGTERM: it had no handler for it yet.
        assert program.popen.returncode in (0, OVERRUN, -signal.SIGTERM), program.printed

    async def come_back(self) -> None:
        async with self._starting:
            if self.is_leaving:
                await self.start()
                self.is_leaving = False

    def end(self) -> None:
        for program, _, _ in self._runs:
            program.kill()

    @property
    def last_step(self) -> int:
        """When its current process took its last step, in nanoseconds; 0 before the first step."""
        return next((record.time for record in reversed(self._runs[-1][1].read()) if record.kind == STEP), 0)

    def records(self) -> list[Record]:
        return [record for _, tape, _ in self._runs for record in tape.read()]

    def stints(self) -> list[Stint]:
        found = []
        for index, (program, tape, pauses) in enumerate(self._runs):
            is_over = not program.is_alive  # before it is read
            # One that is stopped now stays so until SIGCONT.
            now = [Pause(self._stopped[program], time.monotonic())] if program in self._stopped else []
            found += contest.stints(f"{self.name}-{index}", tape.read(), pauses + now, is_over=is_over)
        return found


class Fleet:
    """The candidates of one election."""

    def __init__(self, rig: Rig, mode: Mode, timeout: float, options: Sequence[str]) -> None:
        self.rig = rig
        self.mode = mode
        self.timeout = timeout
        self.options = options
        self.name = mode
        self.path = "/queue" if mode == "sequential" else "/one/leader"
        self.counter = f"/counter-{mode}"
        self.paths = ElectionPaths.of(self.path, mode)
        self.slots: list[Slot] = []
        self.recovered_in: list[float] = []  # seconds

    def stints(self) -> list[Stint]:
        """All so far, in the order of their beginnings."""
        return sorted((each for slot in self.slots for each in slot.stints()), key=lambda each: each.began)

    def records(self) -> list[Record]:
        return [record for slot in self.slots for record in slot.records()]

    @property
    def leader(self) -> Slot:
        """The slot whose body began last."""
        latest = self.stints()[-1]
        return next(slot for slot in self.slots if latest.who.startswith(f"{slot.name}-"))

    @property
    def waiting(self) -> list[Slot]:
        leader = self.leader
        return [slot for slot in self.slots if slot is not leader]

    async def works(self, *, other_than: Slot | None = None) -> None:
        """Wait until a body takes a step after now. `other_than`: a slot whose steps do not count."""
        now = time.monotonic_ns()

        def stepped() -> bool:
            return any(slot.last_step > now for slot in self.slots if slot is not other_than)

        try:
            await until(stepped, f"a body of {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.stints()[-5:]}\n{self.logs()}") from None

    async def recovers(self) -> None:
        """Wait until a body works. Nothing so far may be wrong."""
        began = trio.current_time()
        await self.works()
        self.recovered_in.append(trio.current_time() - began)
        if self.recovered_in[-1] > 2 * (self.timeout + TICK):
            print(f"{self.name} took {self.recovered_in[-1]:.1f} s at {time.monotonic():.3f}\n{self.logs()}")
        assert not (found := self.wrongs()), "\n".join([*found, self.logs()])

    def logs(self) -> str:
        """What the current processes have printed."""
        return "\n".join(f"{slot.name}:\n{slot.program.printed}" for slot in self.slots)

    async def node(self) -> str | None:
        """The path of the leader's znode; None when nobody leads."""
        leader = await persistently(Election(self.rig.zk, self.path, mode=self.mode).leader)
        return None if leader is None else leader.node

    def is_complete(self) -> bool:
        """Whether each of them waits or leads."""
        return all(slot.is_contending for slot in self.slots)

    def overlaps(self) -> list[Overlap]:
        """Pairs of bodies that worked at the same time so far, the longest overlap first."""
        return judge.overlaps(self.stints(), time.monotonic())

    def wrongs(self) -> list[str]:
        """What is wrong with the bodies so far."""
        stints = self.stints()
        found = [str(overlap) for overlap in judge.overlaps(stints, time.monotonic())[:1]]
        return found + judge.falling_tokens(stints) + judge.stale_steps(stints)[1]

    async def wrong_counts(self) -> list[str]:
        """What is wrong with what they counted. Call it when all have left."""
        zk = self.rig.zk

        async def read() -> int:
            await zk.sync(self.counter)  # a server that was stopped may not know the last writes yet
            return int((await zk.get_data(self.counter))[0] or b"")

        final = await persistently(read)
        report = self.rig.report(self.name)
        records = self.records()
        return contest.wrong_guarded(records, final) + contest.wrong_fenced(records, report["number"], report["tokens"])

    def summary(self) -> str:
        stints = self.stints()
        longest = max((overlap.seconds for overlap in self.overlaps()), default=0.0) * 1000
        statuses = sorted(status for slot in self.slots for status in slot.statuses)
        return (
            f"{self.name}: {len(stints)} terms, {sum(len(each.steps) for each in stints)} steps, "
            f"largest overlap {longest:.1f} ms, {judge.stale_steps(stints)[0]} stale steps, "
            f"{contest.refusals(self.records())} refused, "
            f"a body after {max(self.recovered_in, default=0):.1f} s at most, processes ended with {statuses}"
        )


class Rig:
    """The whole rig, for one test. Made by the context manager `rig`."""

    def __init__(
        self, ensemble: Ensemble, root: str, directory: Path, zk: Client, port: int, nursery: trio.Nursery
    ) -> None:
        self.ensemble = ensemble
        self.root = root
        self.directory = directory
        self.zk = zk  #: an administrator's
        self.port = port  #: the resource's
        self.fleets: list[Fleet] = []
        self.one_at_a_time = True  #: whether nothing else fails while something does
        self._nursery = nursery

    async def add(self, mode: Mode, size: int, *options: str, timeout: float = TIMEOUT) -> Fleet:
        """Start a fleet. Returns it when one of its bodies works."""
        fleet = Fleet(self, mode, timeout, options)
        self.fleets.append(fleet)
        await self.zk.create(fleet.counter, b"0")
        for index in range(size):
            link = Link([server.address for server in self.ensemble.servers])
            for tap in link.taps:
                await self._nursery.start(_open, tap)
            slot = Slot(fleet, f"{mode}{index}", link)
            fleet.slots.append(slot)
            self._nursery.start_soon(slot.keep)
            await slot.start()
        await fleet.works()
        return fleet

    def report(self, name: str) -> dict[str, Any]:
        """The report of the resource."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(f"report {name}\n".encode())
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
        return answer

    async def all_well(self) -> None:
        """Wait until a body of each fleet works. Nothing so far may be wrong."""
        async with trio.open_nursery() as nursery:
            for fleet in self.fleets:
                nursery.start_soon(fleet.recovers)

    async def leave(self) -> list[str]:
        """Let all candidates leave. Returns what they left on the servers, or counted wrongly."""
        await self.all_contend()
        async with trio.open_nursery() as nursery:
            for fleet in self.fleets:
                for slot in fleet.slots:
                    nursery.start_soon(slot.leave)
        found = []
        for fleet in self.fleets:
            found += await fleet.wrong_counts()
            await self._until_gone(fleet)
        for server in self.ensemble.servers:
            # Watches of a session that was not closed go with its connection. A server may notice its end later.
            with trio.move_on_after(PATIENCE):
                while True:
                    paths = {path for path in await watched_paths(server) if path.startswith(self.root)}
                    if not paths:
                        break
                    await trio.sleep(0.05)
            found += [f"{server!r} has a watch on {path}" for path in paths]
        return found

    async def all_contend(self) -> None:
        """Wait until every candidate waits or leads, with one znode each."""
        for fleet in self.fleets:
            await until(fleet.is_complete, "all to contend")
            if fleet.mode == "sequential":
                children = await self._children(fleet.path)
                with trio.move_on_after(PATIENCE):
                    while len(children) != len(fleet.slots):
                        await trio.sleep(0.05)
                        children = await self._children(fleet.path)
                assert len(children) == len(fleet.slots)

    async def _children(self, path: str) -> list[str]:
        return await persistently(lambda: self.zk.get_children(path))

    async def _until_gone(self, fleet: Fleet) -> None:
        """Wait until no candidate's znode and no holder is left: at the close of its session, or at its expiry."""
        left: list[str] = []
        with trio.move_on_after(PATIENCE):
            while True:
                left = [path for path in (fleet.path, fleet.paths.holder) if await self._is_in_use(path)]
                if not left:
                    return
                await trio.sleep(0.05)
        raise AssertionError(f"left behind: {left}")

    async def _is_in_use(self, path: str) -> bool:
        async def look() -> Stat | None:
            await self.zk.sync(path)
            return await self.zk.exists(path)

        stat = await persistently(look)
        return stat is not None and (stat.ephemeral_owner != 0 or stat.num_children != 0)


async def _open(tap: Tap, task_status: trio.TaskStatus[None]) -> None:
    async with tap:
        task_status.started()
        await trio.sleep_forever()


@asynccontextmanager
async def rig(ensemble: Ensemble, root: str, directory: Path) -> AsyncIterator[Rig]:
    """A rig with servers, a resource and an administrator. Fleets are added with `add`."""
    resource = await trio.to_thread.run_sync(Program, module("tests.support.fenced_resource"))
    try:
        (port,) = await trio.to_thread.run_sync(resource.says, r"^\d+$")
        async with zkwire.connect(ensemble.hosts, 30.0, connect_timeout=PATIENCE) as zk:
            await zk.ensure_path(root)
        async with (
            zkwire.connect(ensemble.hosts + root, 30.0, connect_timeout=PATIENCE) as zk,
            trio.open_nursery() as nursery,
        ):
            made = Rig(ensemble, root, directory, zk, int(port), nursery)
            try:
                yield made
            finally:
                nursery.cancel_scope.cancel()
                for fleet in made.fleets:
                    for slot in fleet.slots:
                        slot.end()
    finally:
        resource.kill()
