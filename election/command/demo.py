"""`python -m election demo`: two candidates, three registered servers, a takeover, and the frames of each step.

python -m election.command.demo NAME PATH [--hosts ...]          one candidate, a process of its own
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import trio

import zkwire
from zkwire import Client, CommandParser, Frame, OpCode, ZkwireError, format_frame

from ..leader.election import Election
from ..leader.term import Term
from ..registry.registry import Registry
from .local_server import NoLocalServer, local_server

#: Seconds: how long a killed leader's znodes stay, where the servers grant so little.
SESSION_TIMEOUT = 2.0
#: Seconds to look for a server that runs already.
CONNECT_TIMEOUT = 2.0
#: Seconds for the whole demo, on a slow machine.
PATIENCE = 60.0


class DemoError(Exception):
    """Why the demo could not be shown."""


class Access(NamedTuple):
    """How the servers are reached.

    Attributes:
        hosts: a connect string.
        arguments: for `zkwire.connect`, as `zkwire.connect_arguments` gives them.
        options: the same for the command line of a candidate, but for hosts and credentials.
    """

    hosts: str
    arguments: dict[str, Any]
    options: list[str]

    def connect(self, **more: Any) -> Client:
        return zkwire.connect(**{**self.arguments, "hosts": self.hosts, "session_timeout": SESSION_TIMEOUT}, **more)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with the credentials for a candidate. A list of processes would show a command
        line."""
        lines = [f"{scheme}:{os.fsdecode(credentials)}" for scheme, credentials in self.arguments["auth"]]
        return {**os.environ, "ZKWIRE_AUTH": "\n".join(lines)}


class Frames:
    """Prints frames: the first of a kind in full, byte by byte, the others as a line; heartbeats not at all."""

    def __init__(self) -> None:
        self._seen: set[Any] = set()

    def __call__(self, frame: Frame) -> None:
        kind = frame.direction, frame.opcode, frame.types[:1]
        text = format_frame(frame)
        proof = frame.opcode is OpCode.MULTI and "CreateRequest" not in text and "CreateResponse" not in text
        if frame.opcode is OpCode.PING or (proof and kind in self._seen):
            return
        say(text.splitlines()[0] if kind in self._seen else text + "\n")
        self._seen.add(kind)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# --- a candidate


async def candidate(name: str, path: str, access: Access) -> None:
    """Contend, and lead until SIGTERM."""
    async with access.connect(on_frame=Frames()) as zk:
        election = Election(zk, path, name.encode())

        async def lead(term: Term) -> None:
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                say(f"*** {name} leads, token {term.token:#x}, predecessor: {term.predecessor}")
                await anext(signals)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell_waiting, name, election)
            await election.run(lead)
            nursery.cancel_scope.cancel()
        say(f"*** {name} resigned")


async def _tell_waiting(name: str, election: Election) -> None:
    async for state in election.states():
        if state == "waiting":
            say(f"*** {name} stands by")


class Candidate:
    """A candidate process, whose output is passed on with its name in front."""

    def __init__(self, name: str, path: str, access: Access) -> None:
        self.name = name
        self._command = [
            sys.executable,
            "-m",
            "election.command.demo",
            name,
            path,
            "--hosts",
            access.hosts,
            *access.options,
        ]
        self._environment = access.environment
        self._said: list[str] = []
        self._spoke = trio.Event()
        self._ended = False
        self._process: trio.Process | None = None

    async def run(self) -> None:
        self._process = await trio.lowlevel.open_process(self._command, stdout=subprocess.PIPE, env=self._environment)
        assert self._process.stdout is not None
        rest = b""
        try:
            async for data in self._process.stdout:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    text = line.decode()
                    say(f"{self.name} | {text}" if text else "")
                    if text.startswith("*** "):
                        self._said.append(text)
                        self._spoke.set()
        finally:
            self._process.kill()  # no matter where it has ended already
            self._ended = True
            self._spoke.set()
            with trio.CancelScope(shield=True):
                await self._process.wait()

    async def says(self, text: str) -> None:
        """Wait until it has said it."""
        while not any(f"{self.name} {text}" in said for said in self._said):
            if self._ended:
                raise DemoError(f"candidate {self.name} ended before it said {text!r}")
            self._spoke = trio.Event()
            await self._spoke.wait()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def ask_to_end(self) -> None:
        assert self._process is not None
        self._process.terminate()


# --- the show


@asynccontextmanager
async def servers(access: Access, *, given: bool) -> AsyncIterator[Access]:
    """The servers for the demo: those at `access.hosts`, or one of our own if none answers there."""
    hosts = access.hosts
    try:
        async with access.connect(connect_timeout=CONNECT_TIMEOUT):
            found = True
    except zkwire.NoServerError as error:
        if given:
            raise DemoError(str(error)) from None
        found = False
    if found:
        yield access
        return
    try:
        async with local_server() as own:
            narrate(f"No ZooKeeper at {hosts}: one was started at {own}, for the time of this demo.")
            yield access._replace(hosts=own)
    except NoLocalServer as error:
        raise DemoError(f"no ZooKeeper at {hosts}, and none to start ({error})") from None


async def show(access: Access, *, given: bool) -> None:
    """The whole demo. `given`: whether the hosts were asked for, so that no others will do. Raises DemoError."""
    with trio.move_on_after(PATIENCE) as patience:
        async with servers(access, given=given) as found:
            await _show_registry(found)
            await _show_takeover(found)
    if patience.cancelled_caught:
        raise DemoError(f"not done after {PATIENCE:g} s")
    narrate("Done.")


async def _show_registry(access: Access) -> None:
    path = f"/demo-{os.getpid()}/servers"
    narrate(f"Three servers register under {path}. The first frame of each kind is shown in full.")
    async with AsyncExitStack() as stack:
        zk = await stack.enter_async_context(access.connect(on_frame=Frames()))
        registry = Registry(zk, path)
        for port in (8897, 8898, 8899):
            await stack.enter_async_context(registry.register(f"127.0.0.1:{port}"))
        async with registry.members() as members:
            narrate(f"A client reads them: {', '.join(member.name for member in members.snapshot())}.")
            narrate(f"It picks one at random: {members.pick('random').name}. Then all three deregister.")
    await _remove(access, path)


async def _show_takeover(access: Access) -> None:
    path = f"/demo-{os.getpid()}/leader"
    first, second = Candidate("A", path, access), Candidate("B", path, access)
    problem: DemoError | None = None
    async with trio.open_nursery() as nursery:
        try:
            narrate(f"Two candidates contend for {path}. Each frame is shown by the process that sent or got it.")
            nursery.start_soon(first.run)
            await first.says("leads")
            nursery.start_soon(second.run)
            await second.says("stands by")
            narrate("A is killed (SIGKILL): it can say no goodbye, so its znodes stay until its session expires.")
            first.kill()
            killed = trio.current_time()
            await second.says("leads")
            narrate(f"B leads {trio.current_time() - killed:.1f} s after the kill. Now B resigns, and goes home.")
            second.ask_to_end()
            await second.says("resigned")
        except DemoError as error:
            problem = error
            nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem
    await _remove(access, path)


async def _remove(access: Access, path: str) -> None:
    """Leave nothing behind."""
    async with access.connect() as zk:
        for znode in (path, f"{path}-epoch", path.rpartition("/")[0]):
            try:
                await zk.delete(znode)
            except (zkwire.NoNodeError, zkwire.NotEmptyError):
                continue


def narrate(text: str) -> None:
    say(f"\n=== {text}\n")


def main() -> None:
    """One candidate: see the head of this file."""
    parser = CommandParser(prog="python -m election.command.demo")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("path", metavar="PATH")
    zkwire.add_connection_options(parser)
    options = parser.parse_args()
    try:
        access = Access(options.hosts, zkwire.connect_arguments(options), [])
        trio.run(candidate, options.name, options.path, access)
    except ZkwireError as error:
        sys.exit(f"candidate: {error}")


if __name__ == "__main__":
    main()
