"""`python -m election demo`, with servers that are there, that it starts, and without any."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zkwire
from tests.conftest import External
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Server


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("ZKWIRE_HOSTS", "ZOOKEEPER_HOME")}
    command = [sys.executable, "-m", "election", "demo", *arguments]
    return subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


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
    "=== A is killed (SIGKILL): it can say no goodbye, so its znodes stay until its session expires.",
    "B | *** B leads, token N, predecessor: expired",
    "=== B leads N.N s after the kill. Now B resigns, and goes home.",
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


def test_demo_starts_a_server_where_none_runs(distribution: Distribution, tmp_path: Path) -> None:
    jars = tmp_path / "lib"
    jars.mkdir()
    for jar in distribution.classpath.split(os.pathsep):
        name = os.path.basename(jar).replace("zookeeper.jar", f"zookeeper-{distribution.version}.jar")
        (jars / name).symlink_to(jar)
    shown = demo(ZOOKEEPER_HOME=str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    started, *rest = steps(shown.stdout)
    assert started.startswith("=== No ZooKeeper at N.N.N.N:N: one was started at N.N.N.N:N")
    assert rest == SHOW


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["--hosts", "127.0.0.1:1"], {}, "no session within 2 s (127.0.0.1:1: "),
        ([], {"JAVA_HOME": "/nowhere"}, "no ZooKeeper at 127.0.0.1:2181, and none to start (no Java to run one)"),
    ],
)
def test_demo_without_a_server_says_what_it_looked_for(
    arguments: list[str], environment: dict[str, str], says: str
) -> None:
    shown = demo(*arguments, **environment)
    assert shown.returncode == 2
    assert f"election: {says}" in shown.stderr
    assert "Traceback" not in shown.stderr
