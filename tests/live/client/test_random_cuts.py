"""Several clients work while connections are cut at random: the tree holds what the results allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Sequence
from random import Random
from typing import Any

import pytest
import trio

import zkwire
from tests.conftest import External
from tests.support.behind import behind
from tests.support.real.servers import Server
from zkwire import Client, ConnectionLossError, CreateMode, EventType, OpCode
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import PASS, Action, Cut, Side


class Ledger:
    """What the results of a random workload allow the server to hold."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.marks: dict[bytes, str] = {}  # sequential creates by their data: "done", "maybe", "not"
        self.nodes: dict[str, set[bool]] = {}  # by path, whether it may be there
        self.counter = Counter[str]()  # setDatas of the shared counter, by their end
        self.versions: list[int] = []
        self.values: dict[str, set[bytes]] = {}  # what each task's own znode may hold
        self.ephemerals: set[str] = set()
        self.losses = Counter[str]()

    async def write(self, awaitable: Awaitable[Any], patience: float) -> tuple[str, Any]:
        """How it ended, and its result."""
        try:
            with trio.move_on_after(patience):
                return "done", await awaitable
        except ConnectionLossError as error:
            self.losses[error.written] += 1
            return ("maybe" if error.maybe_applied else "not"), None
        return "maybe", None  # cancelled


async def _work(zk: Client, random: Random, ledger: Ledger, name: str, rounds: int) -> None:
    root = ledger.root
    own = f"{root}/own-{name}"
    made: list[str] = []
    for number in range(rounds):
        patience = random.choice([60, 60, 60, 60, 60, 60, 60, 0.003])
        mark = f"{name}.{number}".encode()
        match random.randrange(8):
            case 0:
                call = zk.create(f"{root}/seq/s-", mark, mode=CreateMode.PERSISTENT_SEQUENTIAL)
                ledger.marks[mark], _ = await ledger.write(call, patience)
            case 1:
                end, stat = await ledger.write(zk.set_data(f"{root}/counter", mark), patience)
                ledger.counter[end] += 1
                if stat is not None:
                    ledger.versions.append(stat.version)
            case 2:
                operations: list[zkwire.SetData | zkwire.Create] = [
                    zkwire.SetData(f"{root}/counter", mark),
                    zkwire.Create(f"{root}/seq/s-", mark, CreateMode.PERSISTENT_SEQUENTIAL),
                ]
                end, results = await ledger.write(zk.multi(operations), patience)
                ledger.marks[mark] = end
                ledger.counter[end] += 1
                if results is not None:
                    ledger.versions.append(results[0].version)
            case 3:
                path = f"{root}/nodes/{name}-{number}"
                end, _ = await ledger.write(zk.create(path, mode=CreateMode.EPHEMERAL), patience)
                ledger.nodes[path] = {"done": {True}, "maybe": {True, False}, "not": {False}}[end]
                if end == "done":
                    made.append(path)
                    ledger.ephemerals.add(path)
            case 4 if made:
                path = made.pop(random.randrange(len(made)))
                end, _ = await ledger.write(zk.delete(path), patience)
                ledger.nodes[path] = {"done": {False}, "maybe": {True, False}, "not": {True}}[end]
            case 5:
                # Two at once, awaited the other way round: the later one is the later one all the same.
                first, second = zk.set_data(own, mark + b"a"), zk.set_data(own, mark + b"b")
                ends = [(await ledger.write(call, 60))[0] for call in (second, first)]
                for end, value in ((ends[1], mark + b"a"), (ends[0], mark + b"b")):
                    if end == "done":
                        ledger.values[own] = {value}
                    elif end == "maybe":
                        ledger.values[own] |= {value}
            case 6:
                end, result = await ledger.write(zk.get_data(own), patience)
                if result is not None:
                    assert result[0] in ledger.values[own]
                    ledger.values[own] = {result[0]}
            case _:
                end, result = await ledger.write(zk.get_data_and_watch(f"{root}/stirred"), patience)
                if result is not None and random.random() < 0.5:
                    assert (await result[2].wait()).type is EventType.NODE_DATA_CHANGED


async def _random_run(server: Server | External, root: str, seed: int, sides: Sequence[Side]) -> Ledger:
    random = Random(seed)
    ledger = Ledger(root)

    def fault(seen: SeenFrame) -> Action:
        if seen.opcode is OpCode.CLOSE_SESSION or random.random() > 0.04:
            return PASS
        return Cut(random.randrange(len(seen.data) + 1), random.choice(sides), random.random() < 0.5)

    async with behind(server, 20.0) as at:
        session_id = at.zk.session_id
        for name in ("", "/seq", "/nodes", "/counter", "/stirred"):
            await at.other.create(root + name)
        names = [str(task) for task in range(4)]
        for name in names:
            await at.other.create(f"{root}/own-{name}", b"")
            ledger.values[f"{root}/own-{name}"] = {b""}
        at.fault = fault

        async def stir() -> None:
            """Fires the watches that tasks wait for."""
            while True:
                await trio.sleep(0.02)
                await at.other.set_data(f"{root}/stirred", b"")

        async with trio.open_nursery() as stirring:
            stirring.start_soon(stir)
            async with trio.open_nursery() as tasks:
                for name in names:
                    tasks.start_soon(_work, at.zk, Random(f"{seed} {name}"), ledger, name, 40)
            stirring.cancel_scope.cancel()
        at.fault = None
        await at.settle()  # the last cut may not have been noticed yet
        assert at.zk.session_id == session_id
        await _compare(at.other, ledger, session_id)
        assert at.tap.accepted > 3, "nothing was cut"
    return ledger


async def _compare(zk: Client, ledger: Ledger, session_id: int) -> None:
    root = ledger.root
    names = await zk.get_children(f"{root}/seq")
    found = Counter([(await zk.get_data(f"{root}/seq/{name}"))[0] for name in names])
    assert max(found.values(), default=0) <= 1, "a write happened twice"
    for mark, end in ledger.marks.items():
        assert found[mark] in {"done": [1], "maybe": [0, 1], "not": [0]}[end], (mark, end)
    _, stat = await zk.get_data(f"{root}/counter")
    done = ledger.counter["done"]
    assert done <= stat.version <= done + ledger.counter["maybe"]
    assert len(set(ledger.versions)) == len(ledger.versions), "one version for two writes"
    there = {f"{root}/nodes/{name}" for name in await zk.get_children(f"{root}/nodes")}
    for path, allowed in ledger.nodes.items():
        assert (path in there) in allowed, path
    for path in there:
        assert (await zk.get_data(path))[1].ephemeral_owner == session_id
    for path, values in ledger.values.items():
        assert (await zk.get_data(path))[0] in values


@pytest.mark.rule(10, 29, 30, 31, 34, 35, 54)
@pytest.mark.parametrize("sides", [[Side.BOTH], [Side.BOTH, Side.CLIENT]], ids=["both sides", "one side too"])
@pytest.mark.parametrize("seed", range(3))
async def test_tree_holds_what_the_results_allow_after_cuts_at_random_frames(
    zookeeper: Server | External, root: str, seed: int, sides: Sequence[Side]
) -> None:
    ledger = await _random_run(zookeeper, root, seed, sides)
    assert ledger.losses["in full"] > 0
    assert "done" in ledger.marks.values()
