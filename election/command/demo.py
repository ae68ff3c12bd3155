"""`python -m election demo`: three registered servers, two candidates, a takeover, and the frames of each step.

python -m election.command.demo NAME PATH [--hosts ...]          one candidate, a process of its own
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import trio

import zkwire
from zkwire import Client, CommandParser, Frame, NoServerError, OpCode, beside, format_frame
from zkwire.cli.status import NO_SERVER, CommandError, run_command

from ..leader.election import Election
from ..leader.term import Term
from ..registry.registry import Registry

#: Seconds that the znodes of a killed leader stay, if the servers grant such a short timeout.
SESSION_TIMEOUT = 2.0
#: Seconds to look for a server.
CONNECT_TIMEOUT = 2.0
#: Seconds for the whole demo, on a slow machine.
PATIENCE = 60.0


class Access(NamedTuple):
    """How the servers are reached.

    Attributes:
        arguments: for `zkwire.connect`, as `zkwire.connect_arguments` gives them.
        options: the same as options for a candidate, without hosts and credentials.
    """

    arguments: dict[str, Any]
    options: list[str]

    def connect(self, **more: Any) -> Client:
        return zkwire.connect(**{**self.arguments, "session_timeout": SESSION_TIMEOUT}, **more)

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a candidate, with the credentials. In its arguments everybody could see them."""
        lines = [f"{scheme}:{os.fsdecode(credentials)}" for scheme, credentials in self.arguments["auth"]]
        return {**os.environ, "ZKWIRE_AUTH": "\n".join(lines)}


class Frames:
    """Prints frames: the first of each kind byte by byte, the others as one line, and pings not at all."""

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
    """Take part in the election, and lead until SIGTERM."""
    async with access.connect(on_frame=Frames()) as zk:
        election = Election(zk, path, name.encode())

        async def lead(term: Term) -> None:
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                say(f"*** {name} leads, token {term.token:#x}, predecessor: {term.predecessor}")
                await anext(signals)

        async with beside(lambda: _tell_waiting(name, election)):
            await election.run(lead)
        say(f"*** {name} resigned")


async def _tell_waiting(name: str, election: Election) -> None:
    async for state in election.states():
        if state == "waiting":
            say(f"*** {name} stands by")


class Candidate:
    """A candidate process, whose output is passed on with its name before each line."""

    def __init__(self, name: str, path: str, access: Access) -> None:
        self.name = name
        arguments = [name, path, "--hosts", access.arguments["hosts"], *access.options]
        self._command = [sys.executable, "-m", "election.command.demo", *arguments]
        self._environment = access.environment
        self._said: list[str] = []
        self._spoke = trio.Event()  # or it has ended; replaced by each `_until`
        self._ended = False
        self._process: trio.Process | None = None

    async def run(self) -> None:
        """From its start to its end. A cancellation kills it."""
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
            self._process.kill()  # does nothing if it has ended already
            self._ended = True
            self._spoke.set()
            with trio.CancelScope(shield=True):
                await self._process.wait()

    async def says(self, text: str) -> None:
        """Wait until it has said it. Raises CommandError if it ends before."""

        def has_said() -> bool:
            return any(f"{self.name} {text}" in said for said in self._said)

        await self._until(lambda: self._ended or has_said())
        if not has_said():
            raise CommandError(f"candidate {self.name} ended before it said {text!r}")

    async def ends(self) -> None:
        """Wait until it has ended, and all its output was passed on."""
        await self._until(lambda: self._ended)

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._spoke = trio.Event()
            await self._spoke.wait()

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


# --- the show


async def show(access: Access) -> None:
    """The whole demo. Raises CommandError if it could not be shown."""
    try:
        async with access.connect(connect_timeout=CONNECT_TIMEOUT):
            pass
    except NoServerError as error:
        raise CommandError(
            f"{error}; the demo needs a ZooKeeper server: start one, or give --hosts", NO_SERVER
        ) from None
    with trio.move_on_after(PATIENCE) as patience:
        await _show_registry(access)
        await _show_takeover(access)
    if patience.cancelled_caught:
        raise CommandError(f"the demo was not done after {PATIENCE:g} s")
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
    narrate(f"Two candidates contend for {path}. Each frame is shown by the process that sent or got it.")
    async with beside(first.run):
        await first.says("leads")
        async with beside(second.run):
            await second.says("stands by")
            narrate("A is killed (SIGKILL). It cannot close its session, so its znodes stay until the session expires.")
            first.send_signal(signal.SIGKILL)
            killed = trio.current_time()
            await second.says("leads")
            narrate(f"B leads {trio.current_time() - killed:.1f} s after the kill. Now B resigns, and ends.")
            second.send_signal(signal.SIGTERM)
            await second.says("resigned")
            await second.ends()
    await _remove(access, path)


async def _remove(access: Access, path: str) -> None:
    """Delete the znodes of the demo."""
    async with access.connect() as zk:
        for znode in (path, f"{path}-epoch", path.rpartition("/")[0]):
            try:
                await zk.delete(znode)
            except (zkwire.NoNodeError, zkwire.NotEmptyError):
                continue


def narrate(text: str) -> None:
    say(f"\n=== {text}\n")


def main(arguments: list[str]) -> None:
    """One candidate: see the head of this file."""
    parser = CommandParser(prog="python -m election.command.demo")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("path", metavar="PATH")
    zkwire.add_connection_options(parser)
    options = parser.parse_args(arguments)
    access = Access(zkwire.connect_arguments(options), [])
    zkwire.run_until_signal(lambda: candidate(options.name, options.path, access))


if __name__ == "__main__":
    run_command("candidate", main)
