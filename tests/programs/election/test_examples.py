"""The programs of examples/ that elect, as processes of their own, while they are stopped and killed."""

from __future__ import annotations

import itertools
import re
import signal
import socket
from collections.abc import Callable
from random import Random

import pytest
import trio

import zkwire
from election import Election
from tests.conftest import External
from tests.support.live import client
from tests.support.processes import wait_until
from tests.support.program import PATIENCE, Program, module, remote_ports, run
from tests.support.real.servers import Ensemble, Server
from zkwire import Direction, KeeperState, Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import Pass, parse_fault


class Programs:
    """Those that a test has started."""

    def __init__(self, started: Callable[..., Program]) -> None:
        self._started = started
        self.all: list[Program] = []

    def start(self, name: str, *arguments: str, **options: bool) -> Program:
        self.all.append(self._started(module(f"examples.{name}", *arguments), **options))
        return self.all[-1]

    def living(self) -> list[Program]:
        return [program for program in self.all if program.is_alive]

    def leader(self, pattern: str, token: int) -> tuple[Program, int]:
        """Wait for a living one that leads with a higher token than this; it, and its token."""

        def leading() -> list[tuple[Program, int]]:
            found = [(program, int(line.split()[-1])) for program in self.living() for line in program.lines(pattern)]
            return [(program, newer) for program, newer in found if newer > token]

        assert wait_until(lambda: bool(leading()) or not self.living(), PATIENCE)
        assert leading(), [program.printed for program in self.all]
        return max(leading(), key=lambda found: found[1])


@pytest.fixture
def programs(started: Callable[..., Program]) -> Programs:
    return Programs(started)


@pytest.fixture
async def hosts(zookeeper: Server | External, root: str) -> str:
    """The server, with a chroot of the test's own, in which the programs' own paths are free."""
    async with client(zookeeper) as zk:
        await zk.ensure_path(root)
    return zookeeper.address + root


def one_at_a_time(programs: Programs) -> None:
    """The jobs of all together, by the time: each leader's are in a row."""
    jobs = sorted(
        (match[2], match[1])
        for program in programs.all
        for line in program.lines(" runs the job at ")
        if (match := re.fullmatch(r"(\d+) runs the job at (\S+)", line))
    )
    leaders = [pid for pid, _ in itertools.groupby(jobs, key=lambda job: job[1])]
    assert len(leaders) == len(set(leaders)), leaders


async def test_job_goes_on_over_ten_failovers_in_a_row(programs: Programs, hosts: str) -> None:
    def start() -> Program:
        arguments = ["--hosts", f"{tap.address}/{root}", "--session-timeout", "2", "--period", "0.05"]
        return programs.start("scheduled_job", *arguments)

    sessions: list[int] = []

    def note(seen: SeenFrame) -> Pass:
        if seen.is_handshake and seen.direction is Direction.SENT:
            sessions.append(seen.record.session_id)
        return Pass()

    address, root = hosts.split("/", 1)
    async with Tap(address) as tap:
        tap.fault = note
        await trio.to_thread.run_sync(start)
        first, token = await trio.to_thread.run_sync(programs.leader, " leads, token ", 0)
        for _ in range(2):
            await trio.to_thread.run_sync(lambda: start().says("stands by"))
        leader = first
        for turn in range(10):
            leader.send(signal.SIGKILL if turn % 2 else signal.SIGTERM)
            assert await trio.to_thread.run_sync(leader.ends) == (-signal.SIGKILL if turn % 2 else 0)
            previous = leader
            leader, token = await trio.to_thread.run_sync(programs.leader, " leads, token ", token)
            assert leader is not previous
            await trio.to_thread.run_sync(lambda: start().says("stands by"))
            await trio.to_thread.run_sync(leader.says, " runs the job ", 3)
        one_at_a_time(programs)
        async with zkwire.connect(hosts) as zk:
            assert await zk.get_children("/ElectMasterDemo") == ["master"]
            data, stat = await zk.get_data("/ElectMasterDemo/master")
            assert (data, bool(stat.ephemeral_owner)) == (b"", True)
            assert (await zk.get_data("/ElectMasterDemo"))[1].ephemeral_owner == 0
        standby = next(program for program in programs.living() if program is not leader)
        before = standby.cpu_seconds()
        await trio.sleep(2)
        assert standby.cpu_seconds() - before < 0.5
        assert sessions == [0] * len(programs.all)  # each of them asked for one


def test_no_session_in_time_is_an_error(programs: Programs) -> None:
    ended = run("examples.scheduled_job", "--hosts", "127.0.0.1:1")
    assert ended.returncode == 1
    assert "scheduled_job: no session within 3 s" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_killed_server_changes_no_leader_and_a_killed_leader_does(
    programs: Programs, ensemble: Ensemble, root: str
) -> None:
    async with zkwire.connect(ensemble.hosts) as zk:
        await zk.ensure_path(root)
    arguments = ["--hosts", ensemble.hosts + root, "--session-timeout", "5", "--path", "/test04/master"]

    def play() -> None:
        leader = programs.start("scheduled_job", *arguments, "--period", "0.1")
        (said,) = leader.says(" leads, token ")
        standby = programs.start("scheduled_job", *arguments, "--period", "0.1")
        standby.says("stands by")
        ports = {int(server.address.rpartition(":")[2]): server for server in ensemble.servers}
        (port,) = remote_ports(leader.pid) & set(ports)
        ports[port].kill()
        assert wait_until(lambda: bool(remote_ports(leader.pid) & (set(ports) - {port})), PATIENCE)
        leader.says(" runs the job ", len(leader.lines(" runs the job ")) + 20)
        assert leader.lines(" leads") == [said]
        assert standby.lines(" leads") == []
        ports[port].start()
        leader.send(signal.SIGKILL)
        standby.says(" leads, token ")
        standby.says(" runs the job ", 3)
        one_at_a_time(programs)

    await trio.to_thread.run_sync(play)


async def test_master_is_found_by_its_address_and_hands_over_at_a_key(programs: Programs, hosts: str) -> None:
    long = "10.0.0.2:" + "9" * 5000

    def start(address: str) -> Program:
        return programs.start("address", address, "--hosts", hosts, "--session-timeout", "2", keys=True)

    def play_first() -> None:
        first = start("10.0.0.1:80")
        first.says("this is the master")
        second = start(long)
        second.says("^master 10.0.0.1:80$")
        assert second.lines("this is") == []
        first.press()
        second.says("this is the master")
        first.says(f"^master {long}$")
        second.press()
        first.says("this is the master", 2)
        second.says("^master 10.0.0.1:80$", 2)

    def play_second() -> None:
        first, second = programs.all
        second.says("^master 10.0.0.1:8080$")
        first.kill()
        second.says("this is the master", 2)
        assert second.lines("master")[-1] in ("this is the master now; Enter hands over", f"master {long}")
        third = start("10.0.0.3:80")
        third.says(f"^master {long}$")
        second.kill()
        third.says("^master 10.0.0.3:80$")

    await trio.to_thread.run_sync(play_first)
    async with zkwire.connect(hosts) as zk:
        await zk.set_data("/master", b"10.0.0.1:8080")
    await trio.to_thread.run_sync(play_second)


async def test_campaign_proclaim_resign_and_the_next_in_line(programs: Programs, hosts: str) -> None:
    def start(*arguments: str) -> Program:
        return programs.start("proclaim", "--hosts", hosts, "--session-timeout", "3", *arguments)

    def play() -> None:
        observer = start("--observe")
        observer.says("nobody leads")
        first = start("--tick", "0.3")
        first.says("leads, token")
        second = start("second-value", "--tick", "0.3")
        assert first.ends() == second.ends() == 0
        for program in (first, second):
            first_line, *_, last_line = program.lines()
            assert re.fullmatch(r"leads, token \d+", first_line)
            assert last_line == "resigned"
            values = [line.split()[-1] for line in program.lines("works on")]
            assert len(values) == len(set(values)) == 5
            assert all(re.fullmatch(rf"{re.escape(socket.gethostname())}-\d{{13}}", value) for value in values)
        observer.says("nobody leads", 3)
        leaders = [line if line == "nobody leads" else line.split()[0] for line in observer.lines()]
        tokens = [line.split()[-1] for program in (first, second) for line in program.lines("leads, token")]
        changes = [leader for leader, _ in itertools.groupby(leaders)]
        assert changes == ["nobody leads", tokens[0], "nobody leads", tokens[1], "nobody leads"]
        assert any(line.endswith(" second-value") for line in observer.lines())

    await trio.to_thread.run_sync(play)


async def test_campaigner_whose_znode_is_deleted_stops_working_and_says_so(programs: Programs, hosts: str) -> None:
    candidate = programs.start("proclaim", "--hosts", hosts, "--tick", "0.3", "--ticks", "1000")
    await trio.to_thread.run_sync(candidate.says, "works on 2")
    async with zkwire.connect(hosts) as zk:
        assert zk.state is KeeperState.SYNC_CONNECTED
        (name,) = await zk.get_children("/proclaimed")
        await zk.delete(f"/proclaimed/{name}")
    assert await trio.to_thread.run_sync(candidate.ends) == 0
    assert candidate.lines("^lost: .* was deleted")
    assert candidate.lines()[-1] == "resigned"


async def test_value_that_is_empty_is_host_and_milliseconds(programs: Programs, hosts: str) -> None:
    candidate = programs.start("proclaim", "", "--hosts", hosts, "--tick", "1000")
    await trio.to_thread.run_sync(candidate.says, "leads, token")
    async with zkwire.connect(hosts) as zk:
        (name,) = await zk.get_children("/proclaimed")
        data, _ = await zk.get_data(f"/proclaimed/{name}")
    assert data is not None
    assert re.fullmatch(rf"{re.escape(socket.gethostname())}-\d{{13}}", data.decode())


async def test_campaigner_goes_on_after_a_lost_reply_and_after_a_foreign_write(programs: Programs, hosts: str) -> None:
    address, root = hosts.split("/", 1)
    async with Tap(address) as tap:
        arguments = ["--hosts", f"{tap.address}/{root}", "--tick", "0.1", "--ticks", "1000", "--session-timeout", "60"]
        candidate = await trio.to_thread.run_sync(lambda: programs.start("proclaim", *arguments))
        await trio.to_thread.run_sync(candidate.says, "works on 2:")
        tap.fault = parse_fault("cut reply multi always", Random(0))  # applied, and the candidate does not learn it
        await trio.to_thread.run_sync(candidate.says, r"^skips \d+: .*maybe applied")
        tap.fault = None
        await trio.to_thread.run_sync(candidate.says, "works on", len(candidate.lines("works on")) + 3)
        async with zkwire.connect(hosts) as zk:
            (name,) = await zk.get_children("/proclaimed")
            await zk.set_data(f"/proclaimed/{name}", b"not utf-8: \xff")
            await trio.to_thread.run_sync(candidate.says, r"^skips \d+: .*somebody else wrote to it")
            await trio.to_thread.run_sync(candidate.says, "works on", len(candidate.lines("works on")) + 3)
        assert candidate.is_alive


async def test_campaigner_that_is_stopped_resigns(programs: Programs, hosts: str) -> None:
    """The next in line leads, long before the session could have expired."""

    def play() -> None:
        arguments = ["--hosts", hosts, "--session-timeout", "60"]
        first = programs.start("proclaim", *arguments, "--ticks", "1000", "--tick", "0.1")
        first.says("works on")
        second = programs.start("proclaim", *arguments, "--ticks", "1", "--tick", "0.1")
        first.send(signal.SIGTERM)
        assert (first.ends(), first.lines()[-1]) == (0, "proclaim: stopped by SIGTERM")
        assert second.ends() == 0

    await trio.to_thread.run_sync(play)


async def test_observer_shows_data_that_is_not_text(programs: Programs, hosts: str) -> None:
    observer = programs.start("proclaim", "--observe", "--hosts", hosts)
    candidate = programs.start("proclaim", "--hosts", hosts, "--tick", "1000")
    await trio.to_thread.run_sync(candidate.says, "leads, token")
    async with zkwire.connect(hosts) as zk:
        (name,) = await zk.get_children("/proclaimed")
        await zk.set_data(f"/proclaimed/{name}", b"no text: \xff")
    await trio.to_thread.run_sync(observer.says, r" no text: \\xff$")


class Masters:
    """`address` programs on one path, with a keyboard each."""

    def __init__(self, programs: Programs, hosts: str, timeout: float = 60) -> None:
        self._programs = programs
        self._arguments = ["--hosts", hosts, "--session-timeout", str(timeout)]

    def start(self, address: str) -> Program:
        return self._programs.start("address", address, *self._arguments, keys=True)


async def test_enter_means_nothing_to_a_standby(programs: Programs, hosts: str) -> None:
    def play() -> None:
        masters = Masters(programs, hosts)
        first = masters.start("10.0.0.1:80")
        first.says("this is the master")
        second = masters.start("10.0.0.2:80")
        second.says("^master 10.0.0.1:80$")
        second.press()
        second.says("^only a master hands over$")
        first.press()
        second.says("this is the master")
        first.says("^master 10.0.0.2:80$")
        assert second.lines("^(only a master )?hands over$") == ["only a master hands over"]

    await trio.to_thread.run_sync(play)


async def test_first_enter_after_a_lost_term_hands_over(programs: Programs, hosts: str) -> None:
    first = Masters(programs, hosts).start("10.0.0.1:80")
    await trio.to_thread.run_sync(first.says, "this is the master")
    async with zkwire.connect(hosts) as zk:
        await zk.delete("/master")
    await trio.to_thread.run_sync(first.says, "this is the master", 2)
    first.press()
    await trio.to_thread.run_sync(first.says, "^hands over$")
    await trio.to_thread.run_sync(first.says, "this is the master", 3)  # nobody else is there


async def test_ctrl_d_at_a_terminal_ends_the_program(programs: Programs, hosts: str) -> None:
    arguments = ["address", "10.0.0.1:80", "--hosts", hosts]
    first = await trio.to_thread.run_sync(lambda: programs.start(*arguments, terminal=True))
    await trio.to_thread.run_sync(first.says, "this is the master")
    first.press()
    await trio.to_thread.run_sync(first.says, "^hands over$")
    first.press("\x04")
    assert await trio.to_thread.run_sync(first.ends) == 0
    async with zkwire.connect(hosts) as zk:
        assert await zk.exists("/master") is None


async def test_standby_shows_an_address_that_is_not_text(programs: Programs, hosts: str) -> None:
    async with zkwire.connect(hosts) as zk, Election(zk, "/master", b"\xff\xfe", mode="simple").lead():
        standby = Masters(programs, hosts).start("10.0.0.1:80")
        await trio.to_thread.run_sync(standby.says, r"^master \\xff\\xfe$")
    await trio.to_thread.run_sync(standby.says, "this is the master")


async def test_master_that_ends_by_q_or_by_sigterm_is_followed_at_once(programs: Programs, hosts: str) -> None:
    """Long before its session could have expired."""

    def play() -> None:
        masters = Masters(programs, hosts)
        first = masters.start("10.0.0.1:80")
        first.says("this is the master")
        second = masters.start("10.0.0.2:80")
        second.says("^master 10.0.0.1:80$")
        first.press("q\n")
        assert first.ends() == 0
        second.says("this is the master")
        third = masters.start("10.0.0.3:80")
        third.says("^master 10.0.0.2:80$")
        second.send(signal.SIGTERM)
        assert second.ends() == 0
        third.says("this is the master")
        third.says("^master 10.0.0.3:80$")

    await trio.to_thread.run_sync(play)


async def test_master_without_a_keyboard_stays(programs: Programs, hosts: str) -> None:
    """Its stdin is /dev/null; then a pipe whose other end is closed."""

    def play() -> None:
        first = programs.start("address", "10.0.0.1:80", "--hosts", hosts, "--session-timeout", "60")
        first.says("^master 10.0.0.1:80$")
        second = Masters(programs, hosts).start("10.0.0.2:80")
        second.says("^master 10.0.0.1:80$")
        second.close_keys()
        first.send(signal.SIGTERM)
        assert first.ends() == 0
        second.says("^master 10.0.0.2:80$")
        second.send(signal.SIGTERM)
        assert second.ends() == 0

    await trio.to_thread.run_sync(play)
