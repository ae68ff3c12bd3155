"""A command under its watchdog: the side of the runner.

The command is a child of a watchdog process (see watchdog.py). Each renewed deadline is sent to the watchdog, which
acts on it by itself. If the watchdog does not answer, or is killed, this side kills the command.

A process below the watchdog that loses its parent becomes a child of the watchdog. After the watchdog's end it becomes
a child of this process, which `Command.start` makes a subreaper. So use this in a process that has no other children.
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

#: The part of the time between the cancellation of a body and the end of its lease that is kept for the KILL to work.
MARGIN = 1 / 4


class Ended(NamedTuple):
    """How a command, and everything it started, ended.

    Attributes:
        status: its exit status, or minus the number of the signal that ended it.
        why: "itself"; "background" if it ended with 0 and something that it had started ran on; "stopped"; "deadline";
            "watchdog" if the watchdog failed, and this side killed it.
    """

    status: int
    why: str

    @property
    def shell_status(self) -> int:
        """The exit status as shells have it: 128 more than the signal."""
        return 128 - self.status if self.status < 0 else self.status


class Command:
    """A command under its watchdog. `Command.start` makes one; await `finish` in the end."""

    def __init__(self, process: trio.Process, channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self._received = b""
        self._kill_at = math.inf  # when this side kills the command, if the watchdog has not
        self.pid: int | None = None
        self.ended: Ended | None = None

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> Command:
        """Start the watchdog. The first `lease` starts the command."""
        watchdog.become_subreaper()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        script = [sys.executable, "-I", "-S", watchdog.__file__, str(theirs.fileno()), *command]
        with theirs, trio.CancelScope(shield=True):  # if this were cancelled, the process would be lost
            process = await trio.lowlevel.open_process(
                script, pass_fds=[theirs.fileno()], env=environment, start_new_session=True
            )
        return cls(process, ours)

    # --- to the watchdog; none of these waits

    def lease(self, soft: float, end: float) -> None:
        """The command is to be asked to end at `soft`, and must be dead at `end`: seconds of CLOCK_BOOTTIME, inf for
        never. It is killed after three quarters of the time between the two."""
        margin = 0.0 if soft == math.inf else (end - soft) * MARGIN
        self._kill_at = end - margin / 2
        self._say(f"lease {soft!r} {end - margin!r}")

    def send_signal(self, number: int, *, group: bool) -> None:
        """Send a signal to the command, or to its process group."""
        self._say(f"{'group' if group else 'signal'} {number:d}")

    def stop(self, kill_after: float = math.inf) -> None:
        """Send TERM now, and KILL after `kill_after` seconds, or earlier if the lease demands it."""
        self._say(f"stop {kill_after!r}")

    def _say(self, line: str) -> None:
        # A watchdog that was stopped does not read, and may miss a renewal: it then acts on the shorter lease. A line
        # as short as these is sent as a whole or not at all. `wait` notices when the watchdog is gone.
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self._channel.send(f"{line}\n".encode())

    # --- from the watchdog

    async def wait(self) -> Ended:
        """Wait for the end of the command. May be cancelled, and called again."""
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
        """Wait for the end in a shielded scope, after the command was asked to end or has ended by itself.

        The watchdog kills it in time. If it does not, for example since it was stopped itself, this kills the command.
        """
        with trio.CancelScope(shield=True):
            while self.ended is None:
                with trio.move_on_after(max(self._kill_at - boottime(), 0)):
                    await self.wait()
                if self.ended is None and boottime() >= self._kill_at:  # a lease may have moved it meanwhile
                    await self._kill()
            await self._process.wait()
            self._channel.close()
        return await self.wait()

    async def _kill(self) -> Ended:
        """Kill the command and everything that it has started, without the watchdog."""
        status = -signal.SIGKILL
        with trio.CancelScope(shield=True):
            self._process.kill()  # the kernel then kills the command too
            await self._process.wait()
            # All that are left have become our children. Nobody else waits for them, so their pids stay theirs.
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
