"""Curator's recipes as contenders: its versions on this machine, and a process that runs them (Contender.java)."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.distributions import DEBIAN_JARS, NoZooKeeper, find_distributions, java
from tests.peers.history import History

SOURCE = Path(__file__).with_name("Contender.java")

#: The recipes that contend, by the dialect that they speak.
RECIPES = {"selector": "native", "mutex": "native", "latch": "curator-latch"}


class NoCurator(Exception):
    """No jars of Curator; the message says how to get them."""


@dataclass(frozen=True)
class Curator:
    """A set of jars that holds Curator and all it needs."""

    version: str
    classpath: str


def find_curators() -> list[Curator]:
    """All versions of Curator on this machine, never none: Debian's package, and what the ZooKeeper distributions of
    `make zookeeper-matrix` carry.

    Raises:
        NoCurator: there is none.
    """
    found = [*_debian()]
    with contextlib.suppress(NoZooKeeper):
        for distribution in find_distributions():
            for jar in distribution.classpath.split(os.pathsep):
                if version := re.fullmatch(r"curator-recipes-(\d.*)\.jar", os.path.basename(jar)):
                    found.append(Curator(version[1], distribution.classpath))
    if not found:
        raise NoCurator(
            "no Curator on this machine. Run `make zookeeper` to install Debian's package, or `make zookeeper-matrix` "
            f"(looked at {DEBIAN_JARS}/curator-recipes.jar and the jars beside ZooKeeper's)"
        )
    return found


def _debian() -> list[Curator]:
    jar = DEBIAN_JARS / "curator-recipes.jar"
    versions = [
        match[1]
        for path in DEBIAN_JARS.glob("curator-recipes-*.jar")
        if (match := re.fullmatch(r"curator-recipes-(\d.*)\.jar", path.name))
    ]
    if not jar.exists() or not versions:
        return []
    # Its manifest names Curator's other jars and ZooKeeper's, and their manifests the rest, but for a logging library.
    return [Curator(versions[0], os.pathsep.join(map(str, [jar, DEBIAN_JARS / "slf4j-simple.jar"])))]


def compile_contender(curator: Curator, directory: Path) -> str:
    """Compile Contender.java; the classpath to run it with.

    By the compiler's module, which a plain Java runtime has, too: there need be no `javac`.
    """
    command = [java(), "-m", "jdk.compiler/com.sun.tools.javac.Main", "-d", str(directory), "-cp", curator.classpath]
    done = subprocess.run([*command, str(SOURCE)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return os.pathsep.join([str(directory), curator.classpath])


class CuratorProcess:
    """A Java process whose contenders report to `history`. Each has a session of its own."""

    def __init__(self, process: trio.Process, history: History) -> None:
        self._process = process
        self._history = history

    async def enter(self, recipe: str, name: str, path: str) -> None:
        """Let a contender enter: "selector", "mutex" or "latch"; or, for their names, "read", "write", "semaphore"."""
        await self._tell(f"enter {recipe} {name} {path}")

    async def leave(self, name: str) -> None:
        """Let it stop, give up leadership and close its session: reported as "stopped" and "left"."""
        await self._tell(f"leave {name}")

    def kill(self) -> None:
        """End the process at once (SIGKILL). Its sessions stay until their time is over."""
        self._process.kill()

    async def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{line}\n".encode())

    async def listen(self) -> None:
        """Hand what the process prints to the history, until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                what, name, at = line.decode().split(" ")
                self._history.note(what, name, int(at))


async def run_curator(
    classpath: str,
    hosts: str,
    history: History,
    timeout: float = 10.0,
    *,
    task_status: trio.TaskStatus[CuratorProcess] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A process, for `nursery.start`; session timeout in seconds. Ends when cancelled, or with our own process."""
    options = ["-Xms32m", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]
    quiet = ["-Dorg.apache.logging.log4j.level=OFF", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"]
    command = [java(), *options, *quiet, "-cp", classpath, "Contender", hosts, str(int(timeout * 1000))]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        peer = CuratorProcess(process, history)
        task_status.started(peer)
        await peer.listen()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


def main() -> int:
    """Print the versions of this machine; 2 if there is none."""
    try:
        for curator in find_curators():
            print("Curator", curator.version)
    except NoCurator as missing:
        print(f"python -m tests.peers.curator: {missing}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
