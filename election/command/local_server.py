"""A ZooKeeper server for the demo where none runs: found on this machine, started on loopback, gone behind it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

#: Seconds until a server that was started must answer.
START_TIMEOUT = 30.0

_CONFIGURATION = """\
dataDir={directory}
clientPort={port}
clientPortAddress=127.0.0.1
tickTime=500
admin.enableServer=false
"""
# The first three make a short-lived JVM start sooner; a demo needs no data to survive a power cut.
_OPTIONS = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Dzookeeper.forceSync=no"]
_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


class NoLocalServer(Exception):
    """There is none to start, or it did not; the message says what was looked for."""


@asynccontextmanager
async def local_server() -> AsyncIterator[str]:
    """A server inside the block; its connect string. Raises NoLocalServer."""
    with tempfile.TemporaryDirectory(prefix="election-demo-") as directory:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = _start(directory, port)
        try:
            if not await _serves(port, server):
                raise NoLocalServer(f"the server did not start: {_last_words(directory)}")
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()


def _start(directory: str, port: int) -> subprocess.Popen[bytes]:
    configuration = Path(directory, "zoo.cfg")
    configuration.write_text(_CONFIGURATION.format(directory=directory, port=port))
    command = [_java(), *_OPTIONS, "-cp", _classpath(), _MAIN, str(configuration)]
    with Path(directory, "log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _last_words(directory: str) -> str:
    said = Path(directory, "log").read_text(errors="replace").strip().splitlines()
    return said[-1] if said else "it said nothing"


async def _serves(port: int, server: subprocess.Popen[bytes]) -> bool:
    with trio.move_on_after(START_TIMEOUT):
        while server.poll() is None:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)
                continue
            await stream.aclose()
            return True
    return False


def _classpath() -> str:
    """Of $ZOOKEEPER_HOME, of Debian's package, or of what `make zookeeper-matrix` fetched."""
    home = os.environ.get("ZOOKEEPER_HOME")
    cache = Path(os.environ.get("ZKWIRE_CACHE") or Path.home() / ".cache" / "zkwire")
    debian = Path("/usr/share/java")
    if shutil.which(_java()) is None:
        raise NoLocalServer("no Java to run one")
    for directory in ([Path(home)] if home else []) + [debian] + sorted(cache.glob("zookeeper-*"), reverse=True):
        if directory == debian and (debian / "zookeeper.jar").exists():
            return os.pathsep.join(str(debian / jar) for jar in ("slf4j-simple.jar", "zookeeper.jar"))
        jars = sorted(directory.glob("*.jar")) + sorted(directory.glob("lib/*.jar"))
        if directory != debian and any(jar.name.startswith("zookeeper-") for jar in jars):
            return os.pathsep.join(map(str, jars))
    raise NoLocalServer(f"no ZooKeeper in $ZOOKEEPER_HOME, {debian} and {cache}")


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    return os.path.join(home, "bin", "java") if home else "java"
