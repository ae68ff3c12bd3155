"""The daytime service: its servers and clients as processes of their own, while servers stop, die, start and join."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio

import zkwire
from tests.conftest import External
from tests.support.live import client
from tests.support.processes import free_port, wait_until
from tests.support.program import PATIENCE, Program, module
from tests.support.real.servers import Server
from zkwire import Client, CreateMode, Direction, SessionExpiredError, SessionInfo, Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import Pass

#: A line with an answer, among all that a client prints.
ANSWER = r"^127\.0\.0\.1:\d+:\d{4}-"
STRATEGIES = ("random", "round-robin", "sticky", "least-loaded")


class Service:
    """A registry of one test, with its servers and clients."""

    def __init__(self, hosts: str, root: str, started: Callable[..., Program]) -> None:
        self.hosts = hosts
        self.root = root
        self._started = started

    def server(self, port: int, *, wait: bool = True) -> Program:
        """A server; registered, or just started."""
        process = self._start("daytime_server", "--port", str(port))
        if wait:
            process.says(f"127.0.0.1:{port} is registered")
        return process

    def client(self, *options: str) -> Program:
        return self._start("daytime_client", *options)

    def _start(self, name: str, *options: str) -> Program:
        return self._started(module(f"examples.{name}", "--hosts", self.hosts, "--root", self.root, *options))


@pytest.fixture
def service(zookeeper: Server | External, root: str, started: Callable[..., Program]) -> Service:
    return Service(zookeeper.address, root, started)


def test_no_round_fails_while_servers_stop_die_start_and_join(service: Service) -> None:
    """More than a hundred rounds with each strategy; every step is taken in the midst of them."""
    ports = [free_port() for _ in range(4)]
    first, second, third = (service.server(port) for port in ports[:3])
    clients = [service.client("--strategy", name, "--rounds", "100000", "--interval", "0.03") for name in STRATEGIES]

    def more_rounds(number: int = 5) -> None:
        """Wait until every client has had so many more."""
        wanted = [len(each.lines(ANSWER)) + number for each in clients]

        def had() -> bool:
            return all(len(each.lines(ANSWER)) >= count for each, count in zip(clients, wanted))

        assert wait_until(had, PATIENCE), [each.lines()[-5:] for each in clients]

    more_rounds(20)
    first.send(signal.SIGTERM)
    first.says("deregistered")
    assert first.ends() == 0
    more_rounds()
    second.kill()
    second = service.server(ports[1], wait=False)
    more_rounds()
    first, fourth = service.server(ports[0]), service.server(ports[3])
    more_rounds()
    third.kill()
    more_rounds()
    second.says(f"127.0.0.1:{ports[1]} is registered")  # its former life's session has expired
    more_rounds(20)
    first.kill()
    second.kill()
    more_rounds(20)

    for strategy, each in zip(STRATEGIES, clients):
        assert each.is_alive, each.lines()[-5:]
        answers = [int(line.split(":")[1]) for line in each.lines(ANSWER)]
        assert len(answers) >= 100
        assert set(answers) == set(ports) or (strategy == "sticky" and set(answers) < set(ports))
        assert set(answers[-10:]) == {ports[3]}
    assert fourth.is_alive


def test_answers_are_host_port_and_time(service: Service) -> None:
    port = free_port()
    service.server(port)
    asks = service.client("--interval", "0")
    assert asks.ends() == 0
    lines = asks.lines()
    assert len(lines) == 200
    assert set(lines[::2]) == {f"connect host: 127.0.0.1:{port}"}
    for line in lines[1::2]:
        assert re.fullmatch(rf"127\.0\.0\.1:{port}:\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", line)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"timestamp"],
        [b"timestamp\n"],
        [b"TimeStamp\r\n"],
        [b" \ttimestamp  \r\n"],
        [b"time", b"stamp"],
        [bytes([byte]) for byte in b"\ntimestamp"],
    ],
)
async def test_request_is_answered_however_it_is_written(service: Service, pieces: list[bytes]) -> None:
    port = free_port()
    await trio.to_thread.run_sync(service.server, port)
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                await stream.send_all(piece)
                await trio.sleep(0.02)  # so that each piece is likely to arrive alone
            answer = b"".join([data async for data in stream])
    assert re.fullmatch(rb"127\.0\.0\.1:%d:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d" % port, answer)


async def test_server_says_what_it_answers_and_clients_that_say_nothing_block_nobody(service: Service) -> None:
    port = free_port()
    await trio.to_thread.run_sync(service.server, port)
    with trio.fail_after(PATIENCE):
        async with AsyncExitStack() as silent:
            for _ in range(20):
                await silent.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"time, please\n")
                assert b"".join([data async for data in stream]) == b"The only request is: timestamp\n"
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await stream.receive_some() == b""  # it is closed when it has said nothing for long


def test_list_that_stays_empty_is_a_clear_error(service: Service) -> None:
    asks = service.client("--patience", "0.5")
    assert asks.ends() == 1
    assert asks.lines() == [
        "no server is registered: waiting for one",
        f"daytime_client: {service.root} has no members that may be used",
    ]


def test_client_outlives_a_list_that_is_empty_for_a_moment(service: Service) -> None:
    asks = service.client("--rounds", "100000", "--interval", "0.03", "--patience", "60")
    for turn in range(1, 4):
        asks.says("no server is registered: waiting for one", turn)
        had = len(asks.lines(ANSWER))
        server = service.server(free_port())
        assert wait_until(partial(has_lines, asks, had + 3), PATIENCE)
        server.send(signal.SIGTERM)
        assert server.ends() == 0
    assert asks.is_alive


def has_lines(process: Program, number: int) -> bool:
    return len(process.lines(ANSWER)) >= number


async def test_servers_that_are_all_dead_give_few_lines(zookeeper: Server | External, service: Service) -> None:
    """They stay on the list, as those of another session would for its timeout."""
    async with client(zookeeper) as zk:
        await zk.ensure_path(service.root)
        for _ in range(3):
            await zk.create(f"{service.root}/127.0.0.1:{free_port()}", b"", mode=CreateMode.EPHEMERAL)
        await zk.create(f"{service.root}/{'x' * 100}:80", b"", mode=CreateMode.EPHEMERAL)  # no host name
        asks = service.client("--rounds", "100000", "--interval", "0")
        began = trio.current_time()
        assert await trio.to_thread.run_sync(wait_until, lambda: len(asks.lines()) >= 18, PATIENCE)
        assert trio.current_time() - began > 5
        assert asks.is_alive
        server = await trio.to_thread.run_sync(service.server, free_port())
        assert await trio.to_thread.run_sync(wait_until, lambda: len(asks.lines(ANSWER)) > 10, PATIENCE)
        assert server.is_alive


async def test_session_timeouts_are_those_that_were_asked_for(zookeeper: Server | External, root: str) -> None:
    asked: list[int] = []

    def note(seen: SeenFrame) -> Pass:
        if seen.is_handshake and seen.direction is Direction.SENT:
            asked.append(seen.record.time_out)
        return Pass()

    async with Tap(zookeeper.address) as tap:
        tap.fault = note
        for name in ("daytime_server", "daytime_client"):
            await trio.to_thread.run_sync(ask_for_a_timeout, name, tap.address, root)
    assert asked == [7000, 7000]


def ask_for_a_timeout(name: str, hosts: str, root: str) -> None:
    options = ["--port", str(free_port())] if name == "daytime_server" else ["--patience", "0"]
    with Program(
        module(f"examples.{name}", "--hosts", hosts, "--root", root, *options, "--session-timeout", "7")
    ) as process:
        process.next()


def test_client_whose_last_server_is_killed_says_so_when_its_session_has_expired(service: Service) -> None:
    port = free_port()
    server = service.server(port)
    asks = service.client("--rounds", "10000", "--interval", "0", "--patience", "0.5")
    assert wait_until(lambda: len(asks.lines(ANSWER)) > 3, PATIENCE)
    server.kill()
    assert asks.ends() == 1
    assert asks.lines()[-1] == f"daytime_client: {service.root} has no members that may be used"
    assert asks.lines()[-2] == "no server is registered: waiting for one"
    assert f"{port} failed" in asks.lines()[-3]


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
    assert server.is_alive
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


def test_hosts_without_servers_are_an_error(started: Callable[..., Program]) -> None:
    options = {"daytime_server": ["--port", str(free_port())], "daytime_client": []}
    hosts = "127.0.0.1:1"
    asking = {name: started(module(f"examples.{name}", "--hosts", hosts, *more)) for name, more in options.items()}
    for name, process in asking.items():
        assert process.ends() == 1
        assert process.lines()[-1].startswith(f"{name}: no session within 4 s")
