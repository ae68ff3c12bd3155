"""A process of contenders of another program, by lines.

To it: "enter RECIPE NAME PATH", "leave NAME", "look RECIPE NAME PATH". From it, each with the time of CLOCK_MONOTONIC
in nanoseconds at its end: "leading NAME" when a body begins, "stopped NAME" before leadership is given up, "left NAME"
when the session is closed, "failed NAME"; and to "look", "saw:IDENTITY,IDENTITY... NAME": the contenders, the leader
first. Every contender has a session of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import trio

from tests.peers.history import History


class PeerProcess:
    """One such process; what it says goes to `history`."""

    def __init__(self, process: trio.Process, history: History) -> None:
        self._process = process
        self._history = history
        self._telling = trio.Lock()

    async def enter(self, recipe: str, name: str, path: str) -> None:
        """Let a contender enter."""
        await self._tell(f"enter {recipe} {name} {path}")

    async def leave(self, name: str) -> None:
        """Let it stop, give up leadership and close its session: reported as "stopped" and "left"."""
        await self._tell(f"leave {name}")

    async def look(self, recipe: str, name: str, path: str) -> list[str]:
        """The identities of the contenders of the recipe's dialect, as this program reads them, the leader first."""
        await self._tell(f"look {recipe} {name} {path}")
        return (await self._history.said("saw:", name)).removeprefix("saw:").split(",")

    def kill(self) -> None:
        """End the process at once (SIGKILL). Its sessions stay until their time is over."""
        self._process.kill()

    async def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        async with self._telling:
            await self._process.stdin.send_all(f"{line}\n".encode())

    async def listen(self) -> None:
        """Hand what the process says to the history, until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                what, name, at = line.decode().split(" ")
                self._history.note(what, name, int(at))


async def run_peer(
    command: Sequence[str], history: History, *, task_status: trio.TaskStatus[PeerProcess] = trio.TASK_STATUS_IGNORED
) -> None:
    """Start one, for `nursery.start`. It is killed when this is cancelled, and ends by itself when our process does."""
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        peer = PeerProcess(process, history)
        task_status.started(peer)
        await peer.listen()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()
