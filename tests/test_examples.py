"""The examples, run as their reader would run them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.conftest import External
from tests.live import client
from tests.processes import free_port
from tests.programs import Program, run
from tests.servers import Server
from zkwire import Direction, OpCode, Tap
from zkwire.conversation import Passing
from zkwire.faults import Pass

ROOT = Path(__file__).parent.parent
PORT = free_port()

#: The programs of the five tutorials: their arguments, what they say when they are at work, and a path on which a
#: persistent znode stops them, with what they say of it.
TUTORIALS = {
    "scheduled_job": ((), "runs the job", "/ElectMasterDemo/master", "is not ephemeral"),
    "address": (("10.0.0.1:80",), "this is the master", "/master", "is not ephemeral"),
    "proclaim": (("--ticks", "1000", "--tick", "0.1"), "works on 1", "/proclaimed-holder", "is not ephemeral"),
    "daytime_server": (("--port", str(PORT)), "is registered", f"/go_servers/127.0.0.1:{PORT}", "no session owns it"),
    "daytime_client": ((), "no server is registered", None, None),
}


def run_example(name: str, hosts: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ZKWIRE_HOSTS": hosts}
    command = [sys.executable, "-m", f"examples.{name}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)


def test_takeover_shows_the_frames_and_ends_by_itself(zookeeper: Server | External) -> None:
    shown = run_example("takeover", zookeeper.address)
    assert shown.returncode == 0, shown.stderr
    steps = re.findall(r"^. \| \*\*\* (.+)$", shown.stdout, re.MULTILINE)
    assert [re.sub(r"/\S+", "PATH", step) for step in steps] == [
        "A leads",
        "B stands by",
        "B was told: NODE_DELETED PATH",
        "B leads",
        "B has closed its session",
    ]
    for frame in (
        "A | > ConnectRequest",
        "A | < ConnectResponse",
        "A | > create xid=1",
        "B | < create xid=1 NODE_EXISTS",
        "B | > exists xid=2",
        "B | < event NODE_DELETED",
        "B | > closeSession",
    ):
        assert frame in shown.stdout
    assert "ExistsRequest.watch = True" in shown.stdout


def test_takeover_without_a_server_says_so_and_fails() -> None:
    shown = run_example("takeover", "127.0.0.1:1")
    assert shown.returncode == 1
    assert "are there servers at 127.0.0.1:1?" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_bare_socket_drives_a_session_with_the_core_alone(zookeeper: Server | External) -> None:
    source = (ROOT / "examples" / "bare_socket.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 30
    look = "print([name for name in ('trio', 'ssl', 'asyncio', 'construct') if name in sys.modules])"
    code = f"import atexit, sys; atexit.register(lambda: {look})\n{source}"
    environment = {**os.environ, "ZKWIRE_HOSTS": zookeeper.address}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert shown.returncode == 0, shown.stderr
    *events, loaded = shown.stdout.splitlines()
    assert "state=<KeeperState.SYNC_CONNECTED: 3>" in events[0]
    assert any("GetChildrenResponse(children=(" in event and "'zookeeper'" in event for event in events)
    assert "state=<KeeperState.CLOSED: 7>" in events[-2]
    assert loaded == "[]"


def test_bare_socket_without_a_server_fails() -> None:
    shown = run_example("bare_socket", "127.0.0.1:1")
    assert shown.returncode == 1
    assert "ConnectionRefusedError" in shown.stderr


# --- the programs of the tutorials


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_without_a_server_says_so_in_one_line(name: str) -> None:
    ended = run(f"examples.{name}", *TUTORIALS[name][0], "--hosts", "127.0.0.1:1", "--session-timeout", "1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(rf"{name}: no session within [13] s \(127\.0\.0\.1:1: .*\)\n", ended.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", TUTORIALS)
async def test_tutorial_that_is_stopped_closes_its_session_and_says_so_in_one_line(
    zookeeper: Server | External, root: str, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    arguments, at_work, _, _ = TUTORIALS[name]
    closed: list[Passing] = []

    def note(passing: Passing) -> Pass:
        if passing.opcode is OpCode.CLOSE_SESSION and passing.direction is Direction.RECEIVED:
            closed.append(passing)
        return Pass()

    async with client(zookeeper) as zk:
        await zk.ensure_path(root)
    async with Tap(zookeeper.address) as tap:
        tap.fault = note
        program = await trio.to_thread.run_sync(
            lambda: Program(tmp_path / "log", f"examples.{name}", *arguments, "--hosts", tap.address + root)
        )
        try:
            await trio.to_thread.run_sync(program.says, at_work)
            program.send(number)
            assert await trio.to_thread.run_sync(program.ends) == 0
        finally:
            program.kill()
    assert len(closed) == 1
    expected = "deregistered" if name == "daytime_server" else f"{name}: stopped by {number.name}"
    assert program.lines()[-1] == expected
    assert "Traceback" not in program.log.read_text()


@pytest.mark.parametrize("name", [name for name, tutorial in TUTORIALS.items() if tutorial[2]])
async def test_tutorial_with_a_persistent_znode_in_its_way_says_so_in_one_line(
    zookeeper: Server | External, root: str, name: str
) -> None:
    arguments, _, path, problem = TUTORIALS[name]
    assert path is not None
    async with client(zookeeper) as zk:
        await zk.ensure_path(root + path)
    hosts = zookeeper.address + root
    ended = await trio.to_thread.run_sync(lambda: run(f"examples.{name}", *arguments, "--hosts", hosts))
    assert ended.returncode == 1
    assert re.fullmatch(rf"{name}: {path} .*{problem}.*\n", ended.stderr)


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_is_short(name: str) -> None:
    """Without its docstring and its command line: what a reader copies."""
    source = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    body = source.split('"""')[2].partition('if __name__ == "__main__":')[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 45
