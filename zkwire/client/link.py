"""`Link`: one connection of a client, and the two tasks that serve it.

_read   bytes in. Every event of the session is handled in the same step: no user code is ever waited for
_write  sleeps until the socket could not take all bytes, or a caller left frames for it; then writes them
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from ..codes import KeeperState
from ..session.session import Session
from .transport import Transport

#: What a stream raises when it is broken.
BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
#: Seconds: how long the link waits for the server's last bytes after a write failed, and writes ours after a refusal.
LAST_WORDS = 0.2


class Link:
    """A session's connection, from the moment the stream is open until it is closed.

    Args:
        session: whose bytes are moved.
        transport: the stream.
        pump: handles every event that the session has, then writes what it has to say. It never waits.
    """

    def __init__(self, session: Session, transport: Transport, pump: Callable[[float], None]) -> None:
        self.transport = transport
        #: Why the connection was given up, or lost.
        self.reason = "the client has stopped"
        #: When the session was connected on this link (trio's clock); None if it never was.
        self.connected_at: float | None = None
        #: Whether the server answered a request.
        self.served = False
        self._session = session
        self._pump = pump
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._writer: trio.lowlevel.Task | None = None  # while it sleeps

    async def run(self) -> None:
        """Move bytes until the connection is lost or given up."""
        with self._scope:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._read)
                self._nursery.start_soon(self._write)
                self._pump(trio.current_time())

    def start_soon(self, task: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task for as long as the connection is served. To be called while it is."""
        if self._nursery is not None:
            self._nursery.start_soon(task, *args)

    def give_up(self, reason: str) -> None:
        """Stop serving the connection."""
        self.reason = reason
        self._scope.cancel()

    def flush(self, now: float) -> None:
        """Write what the session has to say. What the socket does not take is left to the writer."""
        transport = self.transport
        if not transport.unsent:
            data = self._session.data_to_send(now)
            if data:
                transport.send_nowait(data)
        if transport.unsent:
            self.wake_writer()

    def wake_writer(self) -> None:
        """Have the writer ask the session for bytes, within this turn of trio's loop."""
        if self._writer is not None:
            task, self._writer = self._writer, None
            trio.lowlevel.reschedule(task)

    async def close(self) -> int:
        """Close the stream. Returns how many of the last bytes were never written."""
        if self._session.state is KeeperState.AUTH_FAILED:  # a closeSession may still be unwritten
            with trio.CancelScope(shield=True), trio.move_on_after(LAST_WORDS), suppress(*BROKEN):
                await self.transport.drain()
        unsent = self.transport.unsent
        with trio.CancelScope(shield=True):
            await self.transport.aclose()
        return unsent

    # --- the tasks

    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        session, transport = self._session, self.transport
        try:
            while True:
                # The wait comes first: a read tried at once would nearly always fail, and cost a system call.
                await transport.readable()
                data = transport.receive_nowait()
                if data is None:
                    continue
                now = trio.current_time()
                session.receive_data(data, now)
                self._pump(now)
                if not data:
                    return  # the session has seen the end, and the pump has acted on what it said
        except BROKEN as error:
            self.give_up(describe(error))

    @trio.lowlevel.enable_ki_protection
    async def _write(self) -> None:
        session, transport = self._session, self.transport
        try:
            while True:
                await transport.drain()
                data = session.data_to_send(trio.current_time())
                if data:
                    transport.send_nowait(data)
                elif not transport.unsent:
                    self._writer = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._stop_writer)
        except BROKEN as error:
            # Bytes that the server sent before may still come. The reader then finds the end of the stream by itself.
            await trio.sleep(LAST_WORDS)
            self.give_up(describe(error))

    def _stop_writer(self, _: Any) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED


def describe(error: BaseException) -> str:
    """What broke, in a line. trio hides the operating system's error in the cause."""
    known = error if isinstance(error, OSError) else error.__cause__ or error
    return f"{type(known).__name__}: {known}" if str(known) else type(known).__name__
