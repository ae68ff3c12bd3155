"""Where this machine's ZooKeeper servers are: an Apache release, Debian's package, or our cache of others."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

DEBIAN_JARS = Path("/usr/share/java")

# Missing in the manifest of Debian's zookeeper.jar: a logging library for slf4j, without which there is no log, and the
# part of netty without which TLS connections fail (NoClassDefFoundError). Debian's packages depend on all of them.
DEBIAN_EXTRA_JARS = [
    "slf4j-simple.jar",
    "netty-codec.jar",
    "netty-resolver.jar",
    "netty-transport-native-unix-common.jar",
]


class NoZooKeeper(Exception):
    """No ZooKeeper jars, or no Java to run them; the message says how to get them."""


@dataclass(frozen=True)
class Distribution:
    """A set of jars that holds one ZooKeeper server: its version, such as "3.8.0", and the classpath to run it."""

    version: str
    classpath: str

    @property
    def jar(self) -> str:
        """The path of ZooKeeper's own jar on the classpath."""
        own = re.compile(r"zookeeper(-\d.*)?\.jar")
        return next(jar for jar in self.classpath.split(os.pathsep) if own.fullmatch(os.path.basename(jar)))

    @property
    def version_tuple(self) -> tuple[int, ...]:
        """The version as numbers, to compare: "3.10.0-beta" is (3, 10, 0)."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version)[:3])


def find_distributions() -> list[Distribution]:
    """All ZooKeeper distributions on this machine, at least one, the preferred one first.

    In this order: the unpacked Apache release at `$ZOOKEEPER_HOME`, Debian's package, and the cache that
    `make zookeeper-matrix` fills, newest first.

    Raises:
        NoZooKeeper: there is none, or no `java` command.
    """
    found: list[Distribution] = []
    home = os.environ.get("ZOOKEEPER_HOME")
    if home:
        found += _unpacked(Path(home))
    found += _debian()
    cached = [distribution for path in cache_directory().glob("zookeeper-*") for distribution in _unpacked(path)]
    found += sorted(cached, key=lambda distribution: distribution.version_tuple, reverse=True)
    if not found:
        raise NoZooKeeper(
            "no ZooKeeper server on this machine. Run `make zookeeper` to install Debian's package, "
            "`make zookeeper-matrix` for newer and older versions, or set ZOOKEEPER_HOME to an unpacked Apache release "
            f"(looked at ZOOKEEPER_HOME={home or ''}, {DEBIAN_JARS}/zookeeper.jar and {cache_directory()})"
        )
    if shutil.which(java()) is None:
        raise NoZooKeeper(f"ZooKeeper {found[0].version} is here, but no {java()!r} to run it. Run `make zookeeper`.")
    return found


def find_distribution(version: str | None = None) -> Distribution:
    """The preferred distribution, or the first whose version is `version` or begins with it ("3.9" finds 3.9.4).

    Raises:
        NoZooKeeper: there is none, or none of that version.
    """
    distributions = find_distributions()
    for distribution in distributions:
        if version is None or f"{distribution.version}.".startswith(f"{version}."):
            return distribution
    here = ", ".join(distribution.version for distribution in distributions)
    raise NoZooKeeper(f"no ZooKeeper {version} on this machine, only {here}. Run `make zookeeper-matrix` for more.")


def cache_directory() -> Path:
    """Where `make zookeeper-matrix` puts versions that Debian lacks: `$ZKWIRE_CACHE`, or ~/.cache/zkwire."""
    return Path(os.environ.get("ZKWIRE_CACHE") or Path.home() / ".cache" / "zkwire")


def java() -> str:
    home = os.environ.get("JAVA_HOME")
    return os.path.join(home, "bin", "java") if home else "java"


def _unpacked(directory: Path) -> list[Distribution]:
    """The distribution whose jars lie in `directory` (3.4 releases, our cache) or `directory`/lib (3.5 and later)."""
    jars = sorted(directory.glob("*.jar")) + sorted(directory.glob("lib/*.jar"))
    for jar in jars:
        version = re.fullmatch(r"zookeeper-(\d+\.\d+\.\d+.*)\.jar", jar.name)
        if version:
            return [Distribution(version[1], os.pathsep.join(map(str, jars)))]
    return []


def _debian() -> list[Distribution]:
    jar = DEBIAN_JARS / "zookeeper.jar"
    if not jar.exists():
        return []
    with zipfile.ZipFile(jar) as archive:
        name = "META-INF/maven/org.apache.zookeeper/zookeeper/pom.properties"
        properties = archive.read(name).decode() if name in archive.namelist() else ""
    links = [path.name for path in DEBIAN_JARS.glob("zookeeper-*.jar") if path.resolve() == jar.resolve()]
    versions = [
        match[1]
        for text in [properties, *links]
        if (match := re.search(r"(?:version=|^zookeeper-)(\d+\.\d+\.\d+)", text))
    ]
    if not versions:
        return []
    extra = [DEBIAN_JARS / name for name in DEBIAN_EXTRA_JARS if (DEBIAN_JARS / name).exists()]
    return [Distribution(versions[0], os.pathsep.join(map(str, [*extra, jar])))]
