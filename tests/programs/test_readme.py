"""The programs and commands of the README do what the README shows."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.conftest import External
from tests.support.live import client
from tests.support.program import Program
from tests.support.real.servers import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
#: Which of the programs is which.
FIRST, SOCKET, ELECTION = range(3)


def test_program_of_the_readme_prints_what_the_readme_shows(zookeeper: Server | External) -> None:
    code = PROGRAMS[FIRST].replace("127.0.0.1:2181", zookeeper.address)
    assert len(code.strip().splitlines()) <= 12
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "NODE_DATA_CHANGED" in shown.stdout
    dump = "\n".join(line[4:] for line in README.splitlines() if re.match(r"    (> |[0-9a-f]{4}  )", line))
    assert dump in shown.stderr


def test_election_of_the_readme_leads(zookeeper: Server | External, root: str) -> None:
    code = PROGRAMS[ELECTION].replace("127.0.0.1:2181", zookeeper.address).replace("/jobs", root)
    with Program([sys.executable, "-c", code]) as process:
        lines = [process.next() for _ in range(2)]
    assert re.fullmatch(r"leading with token \d+", lines[0]), lines
    assert lines[0] == lines[1]


def program(number: int, path: Path, hosts: str, root: str) -> list[str]:
    """The command that runs one of the README's programs, from a file as its reader would."""
    path.write_text(PROGRAMS[number].replace("127.0.0.1:2181", hosts + root))
    return [sys.executable, str(path)]


@pytest.mark.parametrize("number", [FIRST, ELECTION])
def test_program_of_the_readme_without_a_server_says_so_in_one_line(tmp_path: Path, number: int) -> None:
    command = program(number, tmp_path / "first.py", "127.0.0.1:1", "")
    text = (tmp_path / "first.py").read_text().replace("session_timeout=10.0", "session_timeout=3.0")
    (tmp_path / "first.py").write_text(text)
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert re.fullmatch(r"first: no session within 3 s \(.*\)\n", shown.stderr)


@pytest.mark.parametrize(
    ("number", "path", "problem"),
    [
        (FIRST, "/demo", "NODE_EXISTS .*/demo"),
        (ELECTION, "/jobs/nightly-holder", "/jobs/nightly-holder is not ephemeral, .*"),
    ],
)
async def test_program_of_the_readme_with_a_persistent_znode_in_its_way_says_so_in_one_line(
    zookeeper: Server | External, root: str, tmp_path: Path, number: int, path: str, problem: str
) -> None:
    async with client(zookeeper) as zk:
        await zk.ensure_path(root + path)
    command = program(number, tmp_path / "first.py", zookeeper.address, root)
    shown = await trio.to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    )
    assert shown.returncode == 1
    assert re.fullmatch(rf"first: {problem}", shown.stderr.splitlines()[-1])
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("number", [FIRST, ELECTION])
def test_program_of_the_readme_is_stopped_in_one_line_while_it_connects(tmp_path: Path, number: int, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        command = program(number, tmp_path / "first.py", f"127.0.0.1:{silent.getsockname()[1]}", "")
        with Program(command, apart=True) as process, silent.accept()[0]:
            process.send(signal.Signals[name])
            status, stdout, stderr = process.result()
    assert (status, stdout, stderr.splitlines()[-1]) == (0, "", f"first: stopped by {name}")
    assert "Traceback" not in stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
async def test_next_leader_of_the_readme_leads_at_once_when_the_first_is_stopped(
    zookeeper: Server | External, root: str, tmp_path: Path, name: str
) -> None:
    async with client(zookeeper) as zk:
        await zk.ensure_path(root)
        command = program(ELECTION, tmp_path / "first.py", zookeeper.address, root)

        def play() -> None:
            with Program(command, apart=True) as process:
                assert process.next().startswith("leading with token")
                process.send(signal.Signals[name])
                status, _, stderr = process.result()
            assert (status, stderr) == (0, f"first: stopped by {name}\n")

        await trio.to_thread.run_sync(play)
        assert await zk.get_children(f"{root}/jobs/nightly") == []
        assert await zk.exists(f"{root}/jobs/nightly-holder") is None


def shell(command: str, hosts: str = "127.0.0.1:1") -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ZKWIRE_HOSTS": hosts}
    return subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_daily_commands_of_the_readme_are_done_in_their_order(zookeeper: Server | External) -> None:
    section = README.partition("## On the command line")[2].partition("\n## ")[0]
    commands = re.findall(r"^zkwire .+$", section, re.MULTILINE)
    assert len(commands) >= 9
    for command in commands:
        if not command.startswith("zkwire watch"):  # which has no end of its own
            shown = shell(command, zookeeper.address)
            assert shown.returncode == 0, f"{command}: {shown.stderr}"
