"""A command under its watchdog: the runner's end.

The command is a child of a watchdog process (see watchdog.py). Every renewed deadline is sent to the watchdog, which
acts on it by itself. When the watchdog does not answer, or is killed, this end kills the command.

A process below the watchdog that loses its parent becomes a child of the watchdog, and after the watchdog's end a child
of this process, which `Command.start` makes a subreaper. So this belongs into a process that has no other children.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import trio

from ..clocks import boottime
from . import watchdog

#: Which part of the time between the cancellation of a body and the end of its lease is kept back for the KILL to work.
MARGIN = 1 / 4


class Ended(NamedTuple):
    """How a command, and everything it started, ended.

    Attributes:
        status: its exit status, or minus the signal that ended it.
        why: "itself"; "background" if it ended but something that it had started ran on; "stopped"; "deadline"; or
            "watchdog" if the watchdog did not do its work.
    """

    status: int
    why: str

    @property
    def shell_status(self) -> int:
        """As shells have it: 128 more than the signal."""
        return 128 - self.status if self.status < 0 else self.status


class Command:
    """A command under its watchdog. Made by `Command.start`; `finish` must be awaited in the end."""

    def __init__(self, process: trio.Process, channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self._received = b""
        self._kill_at = math.inf  # where the watchdog has not done it
        self.pid: int | None = None
        self.ended: Ended | None = None

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> Command:
        """Start the watchdog; the first `lease` starts the command."""
        watchdog.become_subreaper()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        script = [sys.executable, "-I", "-S", watchdog.__file__, str(theirs.fileno()), *command]
        with theirs, trio.CancelScope(shield=True):  # a process that nobody knows of would be worse than a late one
            process = await trio.lowlevel.open_process(
                script, pass_fds=[theirs.fileno()], env=environment, start_new_session=True
            )
        return cls(process, ours)

    # --- what the watchdog is told; all of it at once, without waiting

    def lease(self, soft: float, end: float) -> None:
        """The command is asked to end at `soft`, and must be dead at `end`: seconds of CLOCK_BOOTTIME, inf for never.
        Of what is between the two, it is left three quarters."""
        margin = 0.0 if soft == math.inf else (end - soft) * MARGIN
        self._kill_at = end - margin / 2
        self._say(f"lease {soft!r} {end - margin!r}")

    def send_signal(self, number: int, *, group: bool) -> None:
        """To the command, or to its process group."""
        self._say(f"{'group' if group else 'signal'} {number:d}")

    def stop(self, kill_after: float = math.inf) -> None:
        """TERM now, KILL after so many seconds, or when the lease says so."""
        self._say(f"stop {kill_after!r}")

    def _say(self, line: str) -> None:
        # A watchdog that does not read, since it was stopped, misses a renewal: then the lease is the shorter one. So
        # short a line is sent as a whole or not at all. One that is gone is noticed in `wait`.
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self._channel.send(f"{line}\n".encode())

    # --- what it says

    async def wait(self) -> Ended:
        """The end. May be cancelled, and called again."""
        while True:
            if self.ended is not None:
                return self.ended
            try:
                data = self._channel.recv(4096)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._channel)
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                return await self._kill()
            *lines, self._received = (self._received + data).split(b"\n")
            for line in lines:
                match line.decode().split():
                    case ["started", pid]:
                        self.pid = int(pid)
                    case ["ended", status, why]:
                        self.ended = Ended(int(status), why)

    async def finish(self) -> Ended:
        """The end, in a shielded scope. The command was asked to end before, or did by itself.

        The watchdog kills it in time; where it does not, as when it was stopped itself, that is done here.
        """
        with trio.CancelScope(shield=True):
            while self.ended is None:
                with trio.move_on_after(max(self._kill_at - boottime(), 0)):
                    await self.wait()
                if self.ended is None and boottime() >= self._kill_at:  # which may have been moved meanwhile
                    await self._kill()
            await self._process.wait()
            self._channel.close()
        return await self.wait()

    async def _kill(self) -> Ended:
        """Kill everything, without the watchdog's help."""
        status = -signal.SIGKILL
        with trio.CancelScope(shield=True):
            self._process.kill()  # which kills the command too
            await self._process.wait()
            # All that is left has become ours, and nobody else waits for it: so the numbers are their own.
            while watchdog.has_children():
                left = watchdog.children()
                if self.pid in left:
                    watchdog.send(self.pid, signal.SIGKILL, group=True)
                for pid in left:
                    watchdog.send(pid, signal.SIGKILL)
                    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 (it does not wait)
                    if found is not None and pid == self.pid:
                        status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
                await trio.sleep(watchdog.LOOK_AGAIN)
        self.ended = Ended(status, "watchdog")
        return self.ended
