"""A process of contenders of another program, by lines.

To it: "enter RECIPE NAME PATH", "leave NAME", "look RECIPE NAME PATH". From it, each with the time of CLOCK_MONOTONIC
in nanoseconds at its end: "leading NAME" when a body begins, "stopped NAME" before leadership is given up, "left NAME"
when the session is closed, "failed NAME"; and to "look", "saw:IDENTITY,IDENTITY... NAME": the contenders, the leader
first. Every contender has a session of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tests.peers.history import History
from tests.support.program import Program


class PeerProcess(Program):
    """One such process; what it says goes to `history`. What it prints on stderr is printed where we print."""

    def __init__(self, command: Sequence[str], history: History) -> None:
        super().__init__(command, keys=True, stderr=None)
        self._history = history

    def enter(self, recipe: str, name: str, path: str) -> None:
        """Let a contender enter."""
        self.press(f"enter {recipe} {name} {path}\n")

    def leave(self, name: str) -> None:
        """Let it stop, give up leadership and close its session: reported as "stopped" and "left"."""
        self.press(f"leave {name}\n")

    async def look(self, recipe: str, name: str, path: str) -> list[str]:
        """The identities of the contenders of the recipe's dialect, as this program reads them, the leader first."""
        self.press(f"look {recipe} {name} {path}\n")
        return (await self._history.said("saw:", name)).removeprefix("saw:").split(",")

    async def listen(self) -> None:
        """Hand what the process says to the history, until this is cancelled."""
        while True:
            while line := self.out.take(""):
                what, name, at = line.split(" ")
                self._history.note(what, name, int(at))
            await trio.sleep(0.01)  # another process prints it, and does not tell


async def run_peer(
    command: Sequence[str], history: History, *, task_status: trio.TaskStatus[PeerProcess] = trio.TASK_STATUS_IGNORED
) -> None:
    """Start one, for `nursery.start`. It is killed when this is cancelled, and ends by itself when our process does."""
    with PeerProcess(command, history) as peer:
        task_status.started(peer)
        await peer.listen()
