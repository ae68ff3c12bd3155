"""Runs a command only while leader: what is behind `python -m election run` and `register ... -- CMD`.

The command is a child of a watchdog process (see `election.command.watchdog`), which has each renewed deadline from
here and acts on it by itself. This side asks the command to end when the body of the term is cancelled, forwards
signals, and tells what became of it. When the watchdog does not answer, or is killed, this side kills the command.

What loses its parent below the watchdog comes to the watchdog, and after its end to this process, which `Command.start`
makes a subreaper: so this belongs into a process that has no other children.

Which signals go where, while the command runs:

    TERM            asks to stop: TERM to the command's process group, KILL after `kill_after` seconds
    INT, QUIT       to the process group, as from a terminal, whose foreground the command is not in
    HUP, USR1, USR2 to the command alone: they mean "reload" and the like, and would end most of its children
    CONT, STOP, TSTP  not forwarded: the command goes on while its runner stands still, until the end of the lease

A signal that this process was started to ignore (nohup, or & in a script) stays ignored, here and in the command.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Literal, NamedTuple, Protocol

import trio

from ..clocks import boottime
from ..errors import LeadershipLostError
from . import watchdog

#: Seconds between the command's TERM and its KILL, when the runner was asked to stop.
KILL_AFTER = 10.0
#: The exit status when leadership was lost, with `on_lost="exit"`.
LOST = 3
#: The exit status when the command ended with 0 but had put itself into the background: its work was not done.
IN_BACKGROUND = 1
#: Which part of the time between the cancellation of a body and the end of its lease is kept back for the KILL to work.
MARGIN = 1 / 4


def _signals(*names: str) -> tuple[signal.Signals, ...]:
    """Those that the system has: this module can be imported where commands cannot be run."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


_TO_GROUP = _signals("SIGINT", "SIGQUIT")
_TO_COMMAND = _signals("SIGHUP", "SIGUSR1", "SIGUSR2")

#: Called with what happened, and details of it.
Report = Callable[..., object]


class LeaseTerm(Protocol):
    """What is needed of an `election.Term`."""

    on_renewal: Callable[[float], object] | None

    @property
    def node(self) -> str: ...
    @property
    def token(self) -> int: ...
    @property
    def deadline(self) -> float: ...
    @property
    def lease_end(self) -> float: ...


def heeded(*names: str) -> list[signal.Signals]:
    """The signals of these names, without those that this system lacks or that this process was started to ignore
    (nohup, or & in a script)."""
    return [number for number in _signals(*names) if signal.getsignal(number) is not signal.SIG_IGN]


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


class Runner:
    """Leads, runs the command, and leads again."""

    def __init__(
        self,
        command: Sequence[str],
        lead: Callable[[], AbstractAsyncContextManager[LeaseTerm]],
        environment: Callable[[LeaseTerm], Mapping[str, str]],
        *,
        on_lost: Literal["retry", "exit"] = "retry",
        kill_after: float = KILL_AFTER,
        drain: Callable[[LeaseTerm], Awaitable[object]] | None = None,
        report: Report = lambda event, **details: None,
    ) -> None:
        """
        Args:
            command: the program and its arguments.
            lead: waits for leadership, and cancels its block when that is lost, as `Election.lead`.
            environment: what the command has beside our own environment.
            on_lost: what to do after leadership was lost: lead again, or end with status 3.
            kill_after: seconds between TERM and KILL, when this process is asked to stop.
            drain: awaited before the command is asked to stop, for `kill_after` seconds at most.
            report: called with "leading", "lost", "stopping", "background" or "ended", and details.
        """
        self._arguments = command
        self._lead = lead
        self._environment = environment
        self._on_lost = on_lost
        self._kill_after = kill_after
        self._drain = drain
        self._report = report
        self._term: LeaseTerm | None = None
        self._command: Command | None = None
        self._ended: Ended | None = None
        self._early: list[int] = []  # signals that came while the watchdog started
        self._given_up: int | None = None  # the signal that came while nothing ran
        self._stopping = False
        self._waiting = trio.CancelScope()

    async def run(self) -> int:
        """Until the command has ended, or a signal came before it ran: its exit status, as shells have it.

        Raises:
            What entering the block of `lead` raises.
        """
        failure: Exception | None = None
        status = 0
        with trio.open_signal_receiver(
            *heeded("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
        ) as received:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, received)
                try:
                    status = await self._run()
                except Exception as error:  # outside of the nursery, which would wrap it
                    failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return status

    async def _run(self) -> int:
        while True:
            self._ended = None
            reason = await self._run_once()
            ended = self._ended
            if ended is None:
                if self._given_up is not None:
                    return 128 + self._given_up
            elif ended.why == "background":
                self._report("background")
                self._report("ended", status=IN_BACKGROUND)
                return IN_BACKGROUND
            elif ended.why == "itself" or self._stopping or not (reason or ended.why == "deadline"):
                self._report("ended", status=ended.shell_status)
                return ended.shell_status
            self._report("lost", reason=reason or "the lease was over")
            if self._on_lost == "exit":
                return LOST

    async def _run_once(self) -> str:
        """One term; why it was lost, or nothing."""
        with trio.CancelScope() as self._waiting:
            if self._given_up is not None:
                return ""
            try:
                async with self._lead() as self._term:
                    if self._given_up is None:
                        await self._run_command(self._term)
            except LeadershipLostError as error:
                return str(error)
        return ""

    async def _run_command(self, term: LeaseTerm) -> None:
        """Run the command for as long as it runs, or we lead."""
        self._report("leading", node=term.node, token=term.token)
        self._early.clear()
        command = await Command.start(self._arguments, {**os.environ, **self._environment(term)})
        self._command = command

        def renew(end: float) -> None:
            command.lease(boottime() + term.deadline - trio.current_time(), end)

        try:
            term.on_renewal = renew
            renew(term.lease_end)
            while self._early:
                await self._forward(self._early.pop(0))
            await command.wait()
        finally:
            if command.ended is None:
                self._report("stopping")
                command.stop(self._kill_after)
            self._ended = await command.finish()
            self._command = self._term = None
            term.on_renewal = None

    # --- signals

    async def _heed(self, received: AsyncIterator[int]) -> None:
        async for number in received:
            if self._command is not None:
                await self._forward(number)
            elif self._term is not None:
                self._early.append(number)
            else:
                self._given_up = number
                self._waiting.cancel()

    async def _forward(self, number: int) -> None:
        assert self._command is not None
        if number != signal.SIGTERM:
            self._command.send_signal(number, group=number in _TO_GROUP)
            return
        self._stopping = True
        if self._drain is not None and self._term is not None:
            with trio.move_on_after(self._kill_after):
                await self._drain(self._term)
        if self._command is not None:
            self._command.stop(self._kill_after)
