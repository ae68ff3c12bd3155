"""Real ZooKeeper servers on loopback: found, started, stopped, killed, frozen.

Plain and synchronous, without dependencies, so that tests, benchmarks and the Makefile can all use it. Where there is
no server it raises `NoZooKeeper`, which says how to get one.

    python -m tests.support.real run -- COMMAND [ARGUMENT...]      # with a server, see __main__.py

No server outlives the Python process that started it, not even one killed by SIGKILL: see `spawn`.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.support.processes import HOST, free_port, spawn, wait_until
from tests.support.real.distributions import Distribution, NoZooKeeper, find_distribution, find_distributions, java

__all__ = [
    "Distribution",
    "Ensemble",
    "NoZooKeeper",
    "Server",
    "ServerError",
    "find_distribution",
    "find_distributions",
]

START_TIMEOUT = 30.0  # seconds; a loaded two-core machine needs about two
STOP_TIMEOUT = 5.0  # seconds between SIGTERM and SIGKILL

# In a JVM the last option wins, so a caller's own options override these.
JVM_OPTIONS = [
    "-Xms32m",
    "-Xmx256m",
    "-XX:TieredStopAtLevel=1",  # these three make the start faster, which matters with many short-lived servers
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Dzookeeper.extendedTypesEnabled=true",  # TTL znodes
    "-Dzookeeper.jmx.log4j.disable=true",
    "-Dzookeeper.forceSync=no",  # no test turns the power off, so none needs fsync
    "-Dzookeeper.preAllocSize=1024",  # KiB; the default writes 64 MiB of zeros for every log file
    "-Dorg.apache.logging.log4j.level=WARN",  # log4j 2 without a file: to the console, at this level
]

# A distribution has one of these logging libraries, which finds its file on the classpath. All write to the console,
# which goes to `zookeeper.log` together with what the JVM itself prints.
LOGGING_FILES = {
    "simplelogger.properties": "org.slf4j.simpleLogger.defaultLogLevel=warn\n",
    "log4j.properties": (
        "log4j.rootLogger=WARN, console\n"
        "log4j.appender.console=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.console.layout=org.apache.log4j.PatternLayout\n"
        "log4j.appender.console.layout.ConversionPattern=%d %p %c: %m%n\n"
    ),
    "logback.xml": (
        '<configuration><appender name="console" class="ch.qos.logback.core.ConsoleAppender"><encoder>'
        "<pattern>%d %p %c: %m%n</pattern></encoder></appender>"
        '<root level="WARN"><appender-ref ref="console"/></root></configuration>\n'
    ),
}


class ServerError(Exception):
    """A server did not start or does not serve. The message ends with the end of its log."""


# --- one server ------------------------------------------------------------------------------------------------------

StartedT = TypeVar("StartedT", bound="Started")

_open_servers: set[Server] = set()


@atexit.register
def _close_servers() -> None:
    for server in list(_open_servers):
        server.kill()  # their data goes too, so they need not end in good order
        server.close()


class Started(ABC):
    """`with` starts it, then closes it."""

    @abstractmethod
    def start(self) -> None:
        """Start it; it serves when this returns."""

    @abstractmethod
    def close(self) -> None:
        """End it."""

    def __enter__(self: StartedT) -> StartedT:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Server(Started):
    """One ZooKeeper server process with a port and a data directory of its own. `with` starts it, then closes it.

    Args:
        distribution: the jars to run.
        directory: where configuration, data and `zookeeper.log` go; None: a temporary directory, removed by `close`.
        config: lines of `zoo.cfg` that are added to the defaults, or replace them. For example `reconfigEnabled`,
            `localSessionsEnabled`. Kept in `server.config`, which may be changed until the first start.
        jvm: options of the JVM, mostly system properties. For example `-Dreadonlymode.enabled=true`,
            `-Dznode.container.checkIntervalMs=500` (containers and TTL znodes are removed that often; default 60000),
            `-XX:TieredStopAtLevel=4` for benchmarks. Kept in `server.jvm`, which each start reads.
        myid: 1 to 254 for a member of an ensemble, whose `server.N` lines are in `config`; None: standalone.
        port: the client port; None: a free one.
    """

    def __init__(
        self,
        distribution: Distribution,
        directory: Path | None = None,
        *,
        config: Mapping[str, str] | None = None,
        jvm: Sequence[str] = (),
        myid: int | None = None,
        port: int | None = None,
    ) -> None:
        self.distribution = distribution
        self.port = free_port() if port is None else port
        self._temporary = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix="zkwire-server-")) if directory is None else directory
        self.config = dict(config or {})
        self.jvm = list(jvm)
        self._myid = myid
        self._process: subprocess.Popen[bytes] | None = None
        _open_servers.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version} {self.address} {self.directory}>"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def version(self) -> str:
        return self.distribution.version

    @property
    def pid(self) -> int | None:
        """The process id of the JVM, or None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        return self.directory / "zookeeper.log"

    def start(self, *, wait: bool = True, timeout: float = START_TIMEOUT) -> None:
        """Start the process, on the data it left behind if it ran before, and wait until it serves.

        A member of an ensemble serves when it has found its quorum: start all with `wait=False` first.

        Raises:
            ServerError: it ended, or did not serve within `timeout` seconds (it is killed then).
        """
        if self.pid is not None:
            raise ServerError(f"{self!r} is running already")
        configuration = self._write_files()
        classpath = os.pathsep.join([str(self.directory / "logging"), self.distribution.classpath])
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        command = [java(), *JVM_OPTIONS, *self.jvm, "-cp", classpath, main, str(configuration)]
        with self.log.open("ab") as log:
            # In a session of its own, so that Ctrl-C at the terminal does not reach it.
            self._process = spawn(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        _open_servers.add(self)
        if wait:
            self.wait_serving(timeout)

    def wait_serving(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until the server serves.

        Raises:
            ServerError: it ended, or did not serve within `timeout` seconds (it is killed then).
        """
        wait_until(lambda: self.pid is None or self.mode() is not None, timeout)
        if self.pid is None or self.mode() is None:
            status = self._process.poll() if self._process is not None else None
            what = f"does not serve after {timeout} s" if self.pid is not None else f"ended with status {status}"
            self.kill()
            raise ServerError(f"{self!r} {what}. End of its log:\n{self.log_tail()}")

    def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL after 5 seconds. The data stays, for `start`. Idempotent."""
        if self._process is None:
            return
        self.begin_stop()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def begin_stop(self) -> None:
        """Send SIGTERM and return at once, to stop several servers at a time; `stop` then waits."""
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # a suspended process would not see the SIGTERM

    def kill(self) -> None:
        """End the process by SIGKILL, as a crash would. The data stays, for `start`. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """`stop`, then `start` on the same port and data; sessions and znodes survive."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Freeze the process (SIGSTOP): its connections stay open and nothing answers. Returns when all its threads
        have stopped."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            wait_until(self._stands_still, START_TIMEOUT)

    def _stands_still(self) -> bool:
        """Whether all threads have stopped (proc(5)); True where there is no /proc."""
        assert self._process is not None
        threads = Path(f"/proc/{self._process.pid}/task")
        if not threads.exists():
            return True
        states = [(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads.iterdir()]
        return all(state in "TtZX" for state in states)

    def resume(self) -> None:
        """Let a suspended process go on (SIGCONT). Time has passed, so sessions may expire at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process and remove its temporary directory; a directory that was given stays. Idempotent."""
        if self._temporary:
            self.kill()  # faster than `stop`, and the data goes anyway
        self.stop()
        _open_servers.discard(self)
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def four_letter(self, word: str, *, timeout: float = 2.0) -> str:
        """The answer to a four-letter word, such as "srvr", "mntr" or "wchp".

        Raises:
            OSError: nobody listens, or no answer within `timeout` seconds (TimeoutError).
        """
        answer = b""
        with socket.create_connection((HOST, self.port), timeout) as connection:
            connection.sendall(word.encode())
            while chunk := connection.recv(65536):
                answer += chunk
        return answer.decode()

    def mode(self) -> str | None:
        """ "standalone", "leader", "follower", "observer" or "read-only"; None while the server does not serve."""
        try:
            mode = re.search(r"^Mode: (.+)$", self.four_letter("srvr"), re.MULTILINE)
        except OSError:
            return None
        return mode[1].strip() if mode else None

    def log_tail(self, lines: int = 30) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def _write_files(self) -> Path:
        """Write what a first start needs; `zoo.cfg` only once, because a server with reconfig writes to it as well."""
        configuration = self.directory / "zoo.cfg"
        if not configuration.exists():
            data = self.directory / "data"
            data.mkdir(parents=True, exist_ok=True)
            if self._myid is not None:
                (data / "myid").write_text(f"{self._myid}\n")
            logging = self.directory / "logging"
            logging.mkdir(exist_ok=True)
            for name, text in LOGGING_FILES.items():
                (logging / name).write_text(text)
            configuration.write_text("".join(f"{key}={value}\n" for key, value in self._settings(data).items()))
        return configuration

    def _settings(self, data: Path) -> dict[str, str]:
        settings = {
            "dataDir": str(data),
            "tickTime": "500",
            "minSessionTimeout": "500",
            "maxSessionTimeout": "60000",
            "maxClientCnxns": "0",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
        }
        # "server.1=host:port:port;host:port" has the client port already, and naming it twice stops a reconfig.
        if not any(key.startswith("server.") and ";" in value for key, value in self.config.items()):
            settings |= {"clientPort": str(self.port), "clientPortAddress": HOST}
        return settings | self.config


# --- an ensemble -----------------------------------------------------------------------------------------------------


class Ensemble(Started):
    """Servers that elect a leader and hold one tree. `with` starts them, then closes them.

    Members are stopped, killed, suspended and started again one by one through `servers`.

    Args:
        distribution: the jars to run.
        size: number of voting members; at least 2 before 3.5.
        config: added to the `zoo.cfg` of every member, see `Server`.
        jvm: added to the JVM options of every member, see `Server`; `-Dreadonlymode.enabled=true` lets a member that
            lost its quorum serve reads.
    """

    def __init__(
        self,
        distribution: Distribution,
        size: int = 3,
        *,
        config: Mapping[str, str] | None = None,
        jvm: Sequence[str] = (),
    ) -> None:
        ports = [(free_port(), free_port(), free_port()) for _ in range(size)]
        settings = {
            "initLimit": "10",  # ticks: 5 s to join
            "syncLimit": "4",  # ticks: 2 s until a silent peer is given up
            "standaloneEnabled": "false",  # so that an ensemble may have one member
        }
        for myid, (client, quorum, election) in enumerate(ports, start=1):
            # The part after the semicolon came with reconfig, in 3.5.
            client_part = f";{HOST}:{client}" if distribution.version_tuple >= (3, 5) else ""
            settings[f"server.{myid}"] = f"{HOST}:{quorum}:{election}{client_part}"
        settings |= config or {}
        self.servers = [
            Server(distribution, config=settings, jvm=jvm, myid=myid, port=client)
            for myid, (client, _, _) in enumerate(ports, start=1)
        ]

    def __repr__(self) -> str:
        return f"<Ensemble {self.version} {self.hosts}>"

    @property
    def version(self) -> str:
        return self.servers[0].version

    @property
    def hosts(self) -> str:
        """The connect string: "127.0.0.1:12181,127.0.0.1:12182,..."."""
        return ",".join(server.address for server in self.servers)

    def start(self, *, timeout: float = START_TIMEOUT) -> None:
        """Start all members that do not run, and wait until all serve.

        Raises:
            ServerError: as `wait_serving`.
        """
        for server in self.servers:
            if server.pid is None:
                server.start(wait=False)
        self.wait_serving(timeout)

    def wait_serving(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until every member that runs serves, as leader or follower, under exactly one leader.

        Raises:
            ServerError: not within `timeout` seconds. The message has the log of each member that runs.
        """

        def serving() -> bool:
            modes = [server.mode() for server in self.servers if server.pid is not None]
            return modes.count("leader") == 1 and modes.count("follower") == len(modes) - 1

        if not wait_until(serving, timeout):
            running = [server for server in self.servers if server.pid is not None]
            states = "\n".join(f"{server!r} {server.mode()}:\n{server.log_tail()}" for server in running)
            raise ServerError(f"no ensemble within {timeout} s, {len(running)} members run\n{states}")

    def leader(self) -> Server:
        """The member that leads now.

        Raises:
            ServerError: none does.
        """
        for server in self.servers:
            if server.pid is not None and server.mode() == "leader":
                return server
        raise ServerError(f"{self!r} has no leader now")

    def followers(self) -> list[Server]:
        """The members that follow now, in the order of `servers`."""
        return [server for server in self.servers if server.pid is not None and server.mode() == "follower"]

    def stop(self) -> None:
        """Stop all members; their data stays, for `start`."""
        for server in self.servers:
            server.begin_stop()
        for server in self.servers:
            server.stop()

    def close(self) -> None:
        """Stop all members and remove their directories. Idempotent."""
        for server in self.servers:
            server.close()
