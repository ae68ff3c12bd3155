"""Curator's recipes as candidates: the versions on this machine, and the process that runs them (Candidate.java)."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.real.distributions import DEBIAN_JARS, NoZooKeeper, find_distributions, java

SOURCE = Path(__file__).with_name("Candidate.java")

#: The recipes, with the dialect that each speaks.
RECIPES = {"selector": "native", "mutex": "native", "latch": "curator-latch"}


class NoCurator(Exception):
    """No jars of Curator; the message says how to get them."""


@dataclass(frozen=True)
class Curator:
    """A set of jars that holds Curator and all it needs."""

    version: str
    classpath: str


def find_curators() -> list[Curator]:
    """All versions of Curator on this machine, at least one: Debian's package, and those in the ZooKeeper distributions
    of `make zookeeper-matrix`.

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
    # Its manifest names Curator's other jars and ZooKeeper's. Their manifests name the rest, except a logging library.
    return [Curator(versions[0], os.pathsep.join(map(str, [jar, DEBIAN_JARS / "slf4j-simple.jar"])))]


def compile_candidate(curator: Curator, directory: Path) -> str:
    """Compile Candidate.java. Returns the classpath to run it with.

    This uses the compiler's module, which a Java runtime without `javac` has too.
    """
    command = [java(), "-m", "jdk.compiler/com.sun.tools.javac.Main", "-d", str(directory), "-cp", curator.classpath]
    done = subprocess.run([*command, str(SOURCE)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stderr}\n(if there is no module jdk.compiler, install a JDK)"
    return os.pathsep.join([str(directory), curator.classpath])


def candidate_command(classpath: str, hosts: str, timeout: float) -> list[str]:
    """The command that runs the candidates (tests/peers/process.py). `timeout`: the session timeout in seconds."""
    options = ["-Xms32m", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]
    quiet = ["-Dorg.apache.logging.log4j.level=OFF", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"]
    return [java(), *options, *quiet, "-cp", classpath, "Candidate", hosts, str(int(timeout * 1000))]


def main() -> int:
    """Print the versions on this machine. Returns 2 if there is none."""
    try:
        for curator in find_curators():
            print("Curator", curator.version)
    except NoCurator as missing:
        print(f"python -m tests.peers.curator: {missing}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
