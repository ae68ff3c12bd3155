"""The examples that teach: the counter with its guarded writes, and the election by hand."""

from __future__ import annotations

import re
import signal

import pytest
import trio

from tests.conftest import External
from tests.support.live import client
from tests.support.processes import wait_until
from tests.support.program import PATIENCE, Program, module, run
from tests.support.real.servers import Server


@pytest.fixture
def hosts(zookeeper: Server | External, root: str) -> str:
    """The server, with a chroot of the test's own, in which the programs' own paths are free."""

    async def prepare() -> None:
        async with client(zookeeper) as zk:
            await zk.ensure_path(root)

    trio.run(prepare)
    return zookeeper.address + root


def test_counter_loses_and_repeats_no_number_when_its_leader_is_killed(hosts: str) -> None:
    options = ("--hosts", hosts, "--session-timeout", "1", "--period", "0.05")
    programs = [Program(module("examples.counter", *options)) for _ in "AB"]

    def counts() -> list[tuple[int, int]]:
        """(token, number) of all lines of both, by number."""
        lines = [line for program in programs for line in program.lines("counts")]
        found = [re.fullmatch(r"token (\d+) counts (\d+)", line) for line in lines]
        return sorted(((int(each[1]), int(each[2])) for each in found if each), key=lambda pair: pair[1])

    try:
        assert wait_until(lambda: len(counts()) >= 5, PATIENCE)
        leader = next(program for program in programs if program.lines("counts"))
        other = next(program for program in programs if program is not leader)
        leader.send(signal.SIGKILL)
        other.says("counts", times=5)
        other.send(signal.SIGTERM)
        assert other.ends() == 0
    finally:
        for program in programs:
            program.kill()
    numbers = [number for _, number in counts()]
    assert len(numbers) == len(set(numbers))
    missing = set(range(1, numbers[-1] + 1)) - set(numbers)
    assert len(missing) <= 1  # the last one of the leader that was killed may be written and not printed
    assert [token for token, _ in counts()] == sorted(token for token, _ in counts())
    assert len({token for token, _ in counts()}) == 2


def test_election_by_hand_leads_in_the_order_of_the_queue(hosts: str) -> None:
    options = ("--hosts", hosts, "--session-timeout", "1")
    programs: list[Program] = []
    try:
        for name in "ABC":
            programs.append(Program(module("examples.election_by_hand", name, *options)))
            programs[-1].says(f"{name} (leads|waits)")
        first, second, third = programs
        first.says("^A leads$")
        second.send(signal.SIGTERM)  # from the middle: the one after it waits for the one before it
        assert second.ends() == 0
        third.says("^C waits for n-0000000000$")
        first.send(signal.SIGKILL)
        third.says("^C leads$")
        third.send(signal.SIGTERM)
        assert third.ends() == 0
        assert third.lines()[-2:] == ["C resigns", "election_by_hand: stopped by SIGTERM"]
    finally:
        for program in programs:
            program.kill()


@pytest.mark.parametrize(("name", "arguments"), [("counter", ()), ("election_by_hand", ("A",))])
def test_example_without_a_server_says_so_in_one_line(name: str, arguments: tuple[str, ...]) -> None:
    ended = run(f"examples.{name}", *arguments, "--hosts", "127.0.0.1:1", "--session-timeout", "1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(rf"{name}: no session within 1 s \(127\.0\.0\.1:1: .*\)\n", ended.stderr)
