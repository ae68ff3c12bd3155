"""`python -m election demo`, with a server and without one."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import zkwire
from tests.conftest import External
from tests.support.program import run
from tests.support.real.servers import Server


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "election", "demo", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def steps(shown: str) -> list[str]:
    """What it says, numbers apart."""
    said = re.findall(r"^(?:=== |[AB] \| \*\*\* ).*$", shown, re.MULTILINE)
    return [re.sub(r"(?<=[ /:.-])(?:0x[0-9a-f]+|\d+)\b", "N", line) for line in said]


SHOW = [
    "=== Three servers register under /demo-N/servers. The first frame of each kind is shown in full.",
    "=== A client reads them: N.N.N.N:N, N.N.N.N:N, N.N.N.N:N.",
    "=== It picks one at random: N.N.N.N:N. Then all three deregister.",
    "=== Two candidates contend for /demo-N/leader. Each frame is shown by the process that sent or got it.",
    "A | *** A leads, token N, predecessor: none",
    "B | *** B stands by",
    "=== A is killed (SIGKILL). It cannot close its session, so its znodes stay until the session expires.",
    "B | *** B leads, token N, predecessor: expired",
    "=== B leads N.N s after the kill. Now B resigns, and ends.",
    "B | *** B resigned",
    "=== Done.",
]


async def test_demo_shows_the_steps_and_their_frames_and_leaves_nothing(zookeeper: Server | External) -> None:
    shown = demo("--hosts", zookeeper.address)
    assert shown.returncode == 0, shown.stderr
    assert steps(shown.stdout) == SHOW
    for frame in (
        "> ConnectRequest",
        "> create xid=",
        "A | > multi xid=",
        "B | < event NODE_DELETED",
        "B | > closeSession",
    ):
        assert frame in shown.stdout
    assert "A | 0000  00 00 00 2d  " in shown.stdout  # in full
    async with zkwire.connect(zookeeper.address) as zk:
        assert not [name for name in await zk.get_children("/") if name.startswith("demo-")]


def test_demo_runs_beside_a_server_of_its_own_as_make_demo_has_it() -> None:
    shown = run("tests.support.real", "run", "--", sys.executable, "-m", "election", "demo")
    assert shown.returncode == 0, shown.stderr
    assert steps(shown.stdout) == SHOW


def test_demo_without_a_server_says_what_it_looked_for() -> None:
    for arguments, environment in [(["--hosts", "127.0.0.1:1"], {}), ([], {"ZKWIRE_HOSTS": "127.0.0.1:1"})]:
        shown = demo(*arguments, **environment)
        assert shown.returncode == 2
        assert shown.stderr.startswith("election: no session within 2 s (127.0.0.1:1: ")
        assert shown.stderr.endswith("; the demo needs a ZooKeeper server: start one, or give --hosts\n")
        assert shown.stdout == ""


def test_candidate_without_a_server_ends_in_one_line() -> None:
    options = ["--hosts", "127.0.0.1:1", "--session-timeout", "1"]
    ended = run("election.command.demo", "A", "/demo", *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"candidate: no session within .*\n", ended.stderr)
