"""A runner in a process of its own, without a server: the test decides when it leads.

    python -m tests.support.runner_process CONTROL LEASES on-lost kill-after COMMAND...

CONTROL is a FIFO. It takes the orders "stall" (renew no more), "lose" (leadership is lost now) and "win" (the next term
may begin; the first one begins by itself). The end of each lease is written to the file LEASES before the watchdog gets
it. Reports go to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from election.clocks import boottime
from election.command.runner import Runner
from election.errors import LeadershipLostError

#: Seconds: the length of a lease, the part at its end in which the body is cancelled, and the time between renewals.
LEASE, GRACE, INTERVAL = 3.0, 2.0, 0.1


class Term:
    """A term as the runner sees it."""

    def __init__(self, number: int) -> None:
        self.node = f"/stand-in/n-{number}"
        self.token = number
        self.on_renewal: Callable[[float], object] | None = None
        self.lease_end = boottime() + LEASE

    @property
    def deadline(self) -> float:
        return trio.current_time() + self.lease_end - GRACE - boottime()


class Leadership(trio.abc.Instrument):
    """Stands for an election. As there, no task runs after the deadline before the body is cancelled."""

    def __init__(self, control: str, leases: str) -> None:
        self._control = control
        self._leases = leases
        self._terms = 0
        self._may_win = trio.Event()
        self._may_win.set()
        self._stalled = False
        self._scope = trio.CancelScope()
        self._term: Term | None = None
        trio.lowlevel.add_instrument(self)

    def after_io_wait(self, timeout: float) -> None:
        if self._term is not None and boottime() > self._term.lease_end - GRACE:
            self._scope.cancel()

    async def listen(self) -> None:
        orders = os.open(self._control, os.O_RDWR | os.O_NONBLOCK)  # for writing too, so that it never ends
        while True:
            await trio.lowlevel.wait_readable(orders)
            for order in os.read(orders, 4096).decode().split():
                if order == "stall":
                    self._stalled = True
                elif order == "lose":
                    self._scope.cancel()
                elif order == "win":
                    self._may_win.set()

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term]:
        await self._may_win.wait()
        self._may_win = trio.Event()
        self._stalled = False
        self._terms += 1
        term = self._term = Term(self._terms)
        self._say(term)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew, term)
            with trio.CancelScope(deadline=term.deadline) as self._scope:
                yield term
            nursery.cancel_scope.cancel()
        self._term = None
        print(f"released {self._terms} {boottime()}", file=sys.stderr, flush=True)
        if self._scope.cancelled_caught:
            raise LeadershipLostError("said so")

    async def _renew(self, term: Term) -> None:
        while True:
            await trio.sleep(INTERVAL)
            if self._stalled or self._scope.cancel_called:
                continue
            term.lease_end = boottime() + LEASE
            self._scope.deadline = term.deadline
            self._say(term)
            if term.on_renewal is not None:
                term.on_renewal(term.lease_end)

    def _say(self, term: Term) -> None:
        with open(self._leases, "a") as file:
            file.write(f"{term.lease_end!r}\n")


def report(event: str, **details: object) -> None:
    print(event, *(f"{name}={value}" for name, value in details.items()), file=sys.stderr, flush=True)


async def main(control: str, leases: str, on_lost: str, kill_after: str, *command: str) -> int:
    leadership = Leadership(control, leases)
    runner = Runner(
        command,
        leadership.lead,
        lambda term: {"ELECTION_NODE": term.node},
        on_lost="retry" if on_lost == "retry" else "exit",
        kill_after=float(kill_after),
        report=report,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leadership.listen)
        status = await runner.run()
        nursery.cancel_scope.cancel()
    return status


if __name__ == "__main__":
    sys.exit(trio.run(partial(main, *sys.argv[1:])))
