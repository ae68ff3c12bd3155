"""Two processes, one ephemeral znode: one leads, it is killed, the other takes over. Every byte of it is shown.

    python -m examples.takeover                        the show: starts two candidates, kills the leader, ends by itself
    python -m examples.takeover candidate NAME PATH    one candidate

The servers are those of $ZKWIRE_HOSTS, or 127.0.0.1:2181. This is the protocol at its barest: who creates the znode
leads. It has no fencing and no fairness, which an election needs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import trio

import zkwire
from zkwire import CreateMode, EventType, NodeExistsError, OpCode, format_frame

HOSTS = os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181")
SESSION_TIMEOUT = 3.0  # seconds: how long a killed leader's znode stays
PATIENCE = 60.0  # seconds for the whole show, on a slow machine


# --- one candidate


def show(frame: zkwire.Frame) -> None:
    """Every frame but the heartbeats, in one write, so that blocks stay whole."""
    if frame.opcode is not OpCode.PING:
        sys.stdout.write(format_frame(frame) + "\n\n")
        sys.stdout.flush()


def say(text: str) -> None:
    sys.stdout.write(f"*** {text}\n\n")
    sys.stdout.flush()


async def candidate(name: str, path: str) -> None:
    """Lead while the znode is ours, until SIGTERM; until then, watch whose it is."""
    async with zkwire.connect(HOSTS, SESSION_TIMEOUT, on_frame=show) as zk:
        while True:
            try:
                await zk.create(path, name.encode(), mode=CreateMode.EPHEMERAL)
            except NodeExistsError:
                stat, watch = await zk.exists_and_watch(path)
                if stat is None:
                    continue  # it went meanwhile
                say(f"{name} stands by")
                event = await watch.wait()
                say(f"{name} was told: {EventType(event.type).name} {event.path}")
            else:
                with trio.open_signal_receiver(signal.SIGTERM) as terminated:
                    say(f"{name} leads")
                    await terminated.__anext__()
                break
    say(f"{name} has closed its session")


# --- the show


class Candidate:
    """A candidate process, whose output is passed on with its name in front."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said: list[str] = []
        self.process: trio.Process | None = None
        self._spoke = trio.Event()

    async def run(self, path: str) -> None:
        command = [sys.executable, "-m", "examples.takeover", "candidate", self.name, path]
        self.process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        rest = b""
        try:
            async for data in self.process.stdout:
                *lines, rest = (rest + data).split(b"\n")
                for line in map(bytes.decode, lines):
                    print(f"{self.name} | {line}" if line else "", flush=True)
                    if line.startswith("*** "):
                        self.said.append(line[4:])
                        self._spoke.set()
        finally:
            self.process.kill()  # no matter where it is already gone
            self.said.append("ended")
            self._spoke.set()
        await self.process.wait()

    async def says(self, text: str) -> None:
        """Wait until it has said it. Raises Ended when it ends first."""
        while f"{self.name} {text}" not in self.said:
            if "ended" in self.said:
                raise Ended(f"candidate {self.name} ended before it said {text!r}: are there servers at {HOSTS}?")
            self._spoke = trio.Event()
            await self._spoke.wait()

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


class Ended(Exception):
    """A candidate ended too early."""


async def show_takeover() -> str | None:
    """The whole show. What went wrong, or None."""
    path = f"/takeover-{os.getpid()}"
    first, second = Candidate("A"), Candidate("B")
    with trio.move_on_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            narrate(f"Two candidates for {path} on {HOSTS}. Each frame is shown by the process that sent or got it.")
            try:
                nursery.start_soon(first.run, path)
                await first.says("leads")
                nursery.start_soon(second.run, path)
                await second.says("stands by")
                narrate("A is killed (SIGKILL): it can say no goodbye, so its znode stays until its session expires.")
                first.send_signal(signal.SIGKILL)
                killed = trio.current_time()
                await second.says("leads")
            except Ended as problem:
                nursery.cancel_scope.cancel()
                return str(problem)
            took = trio.current_time() - killed
            narrate(f"B leads {took:.1f} s after the kill; the session timeout is {SESSION_TIMEOUT:g} s. B goes home.")
            second.send_signal(signal.SIGTERM)
        return None
    return f"not done after {PATIENCE:g} s"


def narrate(text: str) -> None:
    print(f"\n=== {text}\n", flush=True)


def main() -> int:
    match sys.argv[1:]:
        case []:
            if problem := zkwire.run(show_takeover):
                print(f"takeover: {problem}", file=sys.stderr)
                return 1
        case ["candidate", name, path]:
            zkwire.run(candidate, name, path)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
