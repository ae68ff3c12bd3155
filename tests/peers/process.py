"""A process in which candidates of another program run. We and it exchange lines.

We send "enter RECIPE NAME PATH", "leave NAME" and "look RECIPE NAME PATH". It sends "leading NAME" when a body begins,
"stopped NAME" before leadership is given up, "left NAME" when the session is closed, "failed NAME", and after "look"
"saw:IDENTITY,IDENTITY... NAME": the candidates, the leader first. Each of its lines ends with the time in nanoseconds
of CLOCK_MONOTONIC. Every candidate has a session of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tests.peers.history import History
from tests.support.program import Program


class PeerProcess(Program):
    """One such process. What it sends goes to `history`; its stderr is ours."""

    def __init__(self, command: Sequence[str], history: History) -> None:
        super().__init__(command, keys=True, stderr=None)
        self._history = history

    def enter(self, recipe: str, name: str, path: str) -> None:
        """Let a candidate enter."""
        self.press(f"enter {recipe} {name} {path}\n")

    def leave(self, name: str) -> None:
        """Let a candidate stop, give up leadership and close its session. It reports "stopped" and "left"."""
        self.press(f"leave {name}\n")

    async def look(self, recipe: str, name: str, path: str) -> list[str]:
        """The identities of the candidates, as this program reads them in the recipe's dialect, the leader first."""
        self.press(f"look {recipe} {name} {path}\n")
        return (await self._history.said("saw:", name)).removeprefix("saw:").split(",")

    async def listen(self) -> None:
        """Add what the process sends to the history, until this is cancelled."""
        while True:
            while line := self.out.take(""):
                what, name, at = line.split(" ")
                self._history.note(what, name, int(at))
            await trio.sleep(0.01)  # another process prints it; there is no event to wait for


async def run_peer(
    command: Sequence[str], history: History, *, task_status: trio.TaskStatus[PeerProcess] = trio.TASK_STATUS_IGNORED
) -> None:
    """Start a process, for `nursery.start`. It is killed when this is cancelled, or when our process ends."""
    with PeerProcess(command, history) as peer:
        task_status.started(peer)
        await peer.listen()
