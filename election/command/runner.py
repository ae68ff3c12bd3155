"""Runs a command only while leader: what `python -m election run` and `register ... -- CMD` do.

It asks the command to end when leadership is over, forwards signals, and reports how the command ended.

What it does with a signal while the command runs:

    TERM              stops the command: TERM to its process group, KILL after `kill_after` seconds
    INT, QUIT         forwards it to the process group, as a terminal does to the programs in its foreground
    HUP, USR1, USR2   forwards it to the command alone: it means "reload" and the like, and would end most of the
                      command's children
    CONT, STOP, TSTP  does not forward it: the command runs while its runner is stopped, until the end of the lease

A signal that this process was started to ignore (nohup, or & in a script) stays ignored, here and in the command.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import trio

from zkwire import beside

from ..clocks import boottime
from ..errors import LeadershipLostError
from .child import Command, Ended

#: Seconds between the TERM and the KILL for a command that is to stop.
KILL_AFTER = 10.0
#: The exit status after leadership was lost, with `on_lost="exit"`.
LOST = 3
#: The exit status if the command ended with 0 but had put itself into the background: its work was not done.
IN_BACKGROUND = 1


def _signals(*names: str) -> tuple[signal.Signals, ...]:
    """The signals of these names that the system has. This module must load also where commands cannot be run."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


_TO_GROUP = _signals("SIGINT", "SIGQUIT")

#: Called with the name of an event, and its details.
Report = Callable[..., object]


class LeaseTerm(Protocol):
    """The part of `election.Term` that a runner uses."""

    on_renewal: Callable[[float], object] | None

    @property
    def node(self) -> str: ...
    @property
    def token(self) -> int: ...
    @property
    def deadline(self) -> float: ...
    @property
    def lease_end(self) -> float: ...


def _handled(*names: str) -> list[signal.Signals]:
    """The signals of these names that this system has, without those that this process was started to ignore (nohup, or
    & in a script)."""
    return [number for number in _signals(*names) if signal.getsignal(number) is not signal.SIG_IGN]


class Runner:
    """Waits to lead, runs the command, and after a loss of leadership does so again."""

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
            lead: waits for leadership, and cancels its block when that is lost, as `Election.lead` does.
            environment: variables for the command, added to our own environment.
            on_lost: after leadership was lost, wait to lead again ("retry") or end with status 3 ("exit").
            kill_after: seconds between TERM and KILL, when this process is asked to stop.
            drain: awaited before the command is asked to stop, for `kill_after` seconds at most.
            report: called with "leading", "lost", "stopping", "background" or "ended", and details by name.
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
        """Run until the command has ended, or a signal came before it was started. Returns the exit status: that of the
        command, or 128 and the number of the signal.

        Raises what entering the block of `lead` raises.
        """
        signals = _handled("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
        with trio.open_signal_receiver(*signals) as received:
            async with beside(lambda: self._take_signals(received)):
                return await self._run()

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
        """Wait to lead, and run the command. Returns why leadership was lost; "" if it was not."""
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
        """Run the command until it ends, or leadership does."""
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

    async def _take_signals(self, received: AsyncIterator[int]) -> None:
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
