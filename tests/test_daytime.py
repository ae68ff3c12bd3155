"""The daytime service: its servers and clients as processes of their own, while servers stop, die, start and join."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import zkwire
from tests.conftest import External
from tests.live import client
from tests.processes import free_port, spawn, wait_until
from tests.servers import Server
from zkwire import Client, SessionExpiredError, SessionInfo

PATIENCE = 60.0  # seconds until a test gives up on a process
STRATEGIES = ("random", "round-robin", "sticky", "least-loaded")


class Process:
    """One of the examples, running."""

    def __init__(self, name: str, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("wb") as output:
            self.popen = spawn([sys.executable, "-m", f"examples.{name}", *arguments], output=output)

    def lines(self, *, answers: bool = True) -> list[str]:
        """What it has printed in whole lines: answers, or all."""
        whole = self._log.read_text().rpartition("\n")[0].split("\n")
        return [line for line in whole if re.match(r"127\.0\.0\.1:\d+:\d{4}-", line) or not answers]

    def says(self, text: str, times: int = 1) -> None:
        """Wait for a line, so many times."""

        def said() -> bool:
            return self.lines(answers=False).count(text) >= times

        assert wait_until(lambda: said() or self.popen.poll() is not None, PATIENCE), self._log.read_text()
        assert said(), self._log.read_text()

    def ends(self) -> int:
        return self.popen.wait(PATIENCE)


class Service:
    """A registry of a test's own, and who serves and asks there."""

    def __init__(self, hosts: str, root: str, directory: Path) -> None:
        self.hosts = hosts
        self.root = root
        self._directory = directory
        self.processes: list[Process] = []

    def server(self, port: int, *, wait: bool = True) -> Process:
        """A server; registered, or just started."""
        process = self._start("daytime_server", "--port", str(port))
        if wait:
            process.says(f"127.0.0.1:{port} is registered")
        return process

    def client(self, *options: str) -> Process:
        return self._start("daytime_client", *options)

    def _start(self, name: str, *options: str) -> Process:
        log = self._directory / f"{len(self.processes)}-{name}.log"
        process = Process(name, log, "--hosts", self.hosts, "--root", self.root, *options)
        self.processes.append(process)
        return process


@pytest.fixture
def service(zookeeper: Server | External, root: str, tmp_path: Path) -> Iterator[Service]:
    made = Service(zookeeper.address, root, tmp_path)
    yield made
    for process in made.processes:
        process.popen.kill()
        process.popen.wait()


def test_no_round_fails_while_servers_stop_die_start_and_join(service: Service) -> None:
    """More than a hundred rounds with each strategy; every step is taken in the midst of them."""
    ports = [free_port() for _ in range(4)]
    first, second, third = (service.server(port) for port in ports[:3])
    clients = [service.client("--strategy", name, "--rounds", "100000", "--interval", "0.03") for name in STRATEGIES]

    def more_rounds(number: int = 5) -> None:
        """Wait until every client has had so many more."""
        wanted = [len(each.lines()) + number for each in clients]

        def had() -> bool:
            return all(len(each.lines()) >= count for each, count in zip(clients, wanted))

        assert wait_until(had, PATIENCE), [each.lines(answers=False)[-5:] for each in clients]

    more_rounds(20)
    first.popen.send_signal(signal.SIGTERM)
    first.says("deregistered")
    assert first.ends() == 0
    more_rounds()
    second.popen.kill()
    second = service.server(ports[1], wait=False)
    more_rounds()
    first, fourth = service.server(ports[0]), service.server(ports[3])
    more_rounds()
    third.popen.kill()
    more_rounds()
    second.says(f"127.0.0.1:{ports[1]} is registered")  # its former life's session has expired
    more_rounds(20)
    first.popen.kill()
    second.popen.kill()
    more_rounds(20)

    for strategy, each in zip(STRATEGIES, clients):
        assert each.popen.poll() is None, each.lines(answers=False)[-5:]
        answers = [int(line.split(":")[1]) for line in each.lines()]
        assert len(answers) >= 100
        assert set(answers) == set(ports) or (strategy == "sticky" and set(answers) < set(ports))
        assert set(answers[-10:]) == {ports[3]}
    assert fourth.popen.poll() is None


def test_answers_are_host_port_and_time(service: Service) -> None:
    port = free_port()
    service.server(port)
    asks = service.client("--interval", "0")
    assert asks.ends() == 0
    assert len(asks.lines(answers=False)) == 100
    for line in asks.lines(answers=False):
        assert re.fullmatch(rf"127\.0\.0\.1:{port}:\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", line)


def test_empty_list_is_a_clear_error(service: Service) -> None:
    asks = service.client()
    assert asks.ends() == 1
    assert asks.lines(answers=False) == [f"daytime_client: {service.root} has no members that may be used"]


def test_client_whose_last_server_is_killed_says_so_when_its_session_has_expired(service: Service) -> None:
    port = free_port()
    server = service.server(port)
    asks = service.client("--rounds", "10000", "--interval", "0")
    assert wait_until(lambda: len(asks.lines()) > 3, PATIENCE)
    server.popen.kill()
    assert asks.ends() == 1
    assert asks.lines(answers=False)[-1] == f"daytime_client: {service.root} has no members that may be used"
    assert f"{port} failed" in asks.lines(answers=False)[-2]


@pytest.mark.rule("D1")
async def test_server_whose_session_is_ended_from_outside_is_registered_again(
    zookeeper: Server | External, service: Service
) -> None:
    port = free_port()
    server = await trio.to_thread.run_sync(service.server, port)
    async with client(zookeeper) as zk:
        former: list[int] = []
        for _ in range(3):
            owner = await next_owner(zk, f"{service.root}/127.0.0.1:{port}", former)
            if len(former) < 2:
                await close(zookeeper, zk, owner)
            former.append(owner)
    assert server.popen.poll() is None
    asks = service.client("--rounds", "1")
    assert await trio.to_thread.run_sync(asks.ends) == 0


async def next_owner(zk: Client, path: str, former: list[int]) -> int:
    """The session that owns the znode, when it is none of the former."""
    with trio.fail_after(PATIENCE):
        while True:
            stat, watch = await zk.exists_and_watch(path)
            async with watch:
                if stat is not None and stat.ephemeral_owner not in former:
                    return stat.ephemeral_owner
                await watch.wait()


async def close(server: Server | External, zk: Client, session: int) -> None:
    """End somebody's session: resume it, and close it. Who has it comes back to it as soon as it is taken, so that this
    may need more than one try."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                async with zkwire.connect(
                    server.address, session=SessionInfo(session, password(session)), new_session=False
                ) as taken:
                    await taken.sync()
            except SessionExpiredError:
                return


def password(session: int) -> bytes:
    """A session's password, which servers make of its id and of nothing secret (SessionTrackerImpl, superSecret):
    16 bytes of java.util.Random."""
    seed = (session ^ 0xB3415C00 ^ 0x5DEECE66D) & (2**48 - 1)
    made = b""
    while len(made) < 16:
        seed = (seed * 0x5DEECE66D + 0xB) & (2**48 - 1)
        made += (seed >> 16).to_bytes(4, "little")
    return made


def test_hosts_without_servers_are_an_error(tmp_path: Path) -> None:
    options = {"daytime_server": ["--port", str(free_port())], "daytime_client": []}
    started = {name: Process(name, tmp_path / name, "--hosts", "127.0.0.1:1", *more) for name, more in options.items()}
    for name, process in started.items():
        assert process.ends() == 1
        assert process.lines(answers=False)[-1].startswith(f"{name}: no session within 4 s")
