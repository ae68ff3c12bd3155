"""Plays recordings: as the server to any clients, or as the client to a server.

`zkwire.traffic.as_server` and `zkwire.traffic.as_client` decide, without input and output, which frames are sent and
what differs from the recording. This module has the connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import trio

from ..codes import OpCode
from ..frames import Direction, frame
from ..hosts import Host
from ..jute import encode
from ..records import RequestHeader
from ..traffic.as_client import Rerun
from ..traffic.as_server import RecordedConnection, RecordedStep, Script
from ..traffic.conversation import SeenFrame
from ..traffic.report import frame_text
from .by_hand import RawConnection
from .dial import dial, open_tcp

_RECEIVE_SIZE = 64 * 1024
#: Seconds that the server has to confirm the end of a session.
_CLOSING_TIME = 2.0

# --- as a server


async def serve(script: Script, listeners: list[trio.SocketListener]) -> None:
    """Play the script to every client that connects, until all of it was played and no client is connected. Closes the
    listeners."""
    over = trio.Event()

    async def play(stream: trio.SocketStream) -> None:
        playing = script.accept()
        try:
            async with stream:
                while not playing.is_over:
                    data = await stream.receive_some(_RECEIVE_SIZE)
                    if not data:
                        break
                    await stream.send_all(playing.receive(bytes(data), trio.current_time()))
        except trio.BrokenResourceError:
            pass  # the client closed the connection
        finally:
            playing.close()
            if script.is_over:
                over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, play, listeners)
        await over.wait()
        nursery.cancel_scope.cancel()


# --- as a client


class _Line:
    """A connection to the server, on which the requests of one recorded connection are sent."""

    def __init__(self, stream: trio.SocketStream, number: int) -> None:
        self._connection = RawConnection(stream, self._take, number)
        self._came: list[SeenFrame] = []  # frames that were not asked for yet
        self.has_session = False

    def _take(self, direction: Direction, seen: SeenFrame | bytes) -> None:
        if direction is Direction.RECEIVED and isinstance(seen, SeenFrame):
            self._came.append(seen)

    async def send(self, data: bytes) -> None:
        await self._connection.send(data)

    async def take(self, wanted: Callable[[SeenFrame], bool]) -> SeenFrame | None:
        """The next frame that is wanted. Frames before it are kept for later. None: the server closed the
        connection."""
        while True:
            found = next((seen for seen in self._came if wanted(seen)), None)
            if found is not None:
                self._came.remove(found)
                return found
            if not await self._connection.receive():
                return None

    def events(self) -> list[SeenFrame]:
        """The events that came and were not asked for."""
        return [seen for seen in self._came if seen.is_notification]

    async def close(self) -> None:
        """Close the session, if there is one, and then the connection. No other connection would close the session."""
        try:
            if self.has_session:
                with trio.move_on_after(_CLOSING_TIME), suppress(trio.BrokenResourceError):
                    await self.send(frame(encode(RequestHeader(-1000, OpCode.CLOSE_SESSION))))
                    await self.take(lambda seen: seen.opcode == OpCode.CLOSE_SESSION)
        finally:
            await self._connection.aclose()


class PlayedClient:
    """Does all steps of a recording as a client, one by one, and compares what comes with what was recorded.

    Args:
        hosts: the servers. Each connection goes to the first that takes it.
        timeout: seconds that the server has for each reply and event.
        differs: called with a line for each difference.
        left_out: called with a line for each request that cannot be sent again.
    """

    def __init__(
        self,
        hosts: Iterable[Host],
        rerun: Rerun,
        timeout: float,
        *,
        differs: Callable[[str], object],
        left_out: Callable[[str], object],
    ) -> None:
        self._hosts = list(hosts)
        self._rerun = rerun
        self._timeout = timeout
        self._differs_with = differs
        self._left_out = left_out
        self._lines: dict[int, _Line] = {}  # by the connection's number
        self._unsent: set[SeenFrame] = set()
        #: Requests that were sent; replies and events that were waited for; differences.
        self.sent = self.compared = self.differences = 0

    async def play(self, steps: Iterable[RecordedStep]) -> None:
        """Raises NoServerError if no server takes a connection."""
        try:
            for recorded, what in steps:
                if what is None:
                    _, stream = await dial(self._hosts, open_tcp)
                    self._lines[recorded.number] = _Line(stream, recorded.number)
                elif recorded.number not in self._lines:
                    continue  # the server closed it too early, and that was reported already
                elif isinstance(what, str):
                    await self._close(recorded)
                elif what.direction is Direction.SENT:
                    await self._send(recorded, what)
                else:
                    await self._expect(recorded, what)
        finally:
            with trio.CancelScope(shield=True):
                for line in self._lines.values():
                    await line.close()

    async def _close(self, recorded: RecordedConnection) -> None:
        line = self._lines.pop(recorded.number)
        for event in line.events():
            self._differs(recorded, event, "was not recorded")
        if recorded.closed_by != "tap":
            line.has_session = False  # the session outlived this connection in the recording, so it must do so now
        await line.close()

    async def _send(self, recorded: RecordedConnection, seen: SeenFrame) -> None:
        why = self._rerun.why_not_sent(seen)
        if why is not None:
            self._unsent.add(seen)
            self._left_out(f"connection {recorded.number}: {frame_text(seen)} is not sent: {why}")
            return
        self.sent += 1
        try:
            await self._lines[recorded.number].send(self._rerun.request(seen))
        except trio.BrokenResourceError:
            await self._ended(recorded, seen)

    async def _expect(self, recorded: RecordedConnection, seen: SeenFrame) -> None:
        if seen.request in self._unsent:
            return
        line = self._lines[recorded.number]
        self.compared += 1
        try:
            with trio.fail_after(self._timeout):
                now = await line.take(lambda each: self._rerun.matches(seen, each))
        except trio.TooSlowError:
            self._differs(recorded, seen, f"did not come within {self._timeout:g} s")
            return
        if now is None:
            await self._ended(recorded, seen)
            return
        if seen.is_handshake:
            line.has_session = now.record is not None and now.record.time_out > 0
        elif seen.opcode == OpCode.CLOSE_SESSION:
            line.has_session = False
        for difference in self._rerun.compare(seen, now):
            self._differs(recorded, seen, difference)

    async def _ended(self, recorded: RecordedConnection, seen: SeenFrame) -> None:
        self._differs(recorded, seen, "the server closed the connection instead")
        line = self._lines.pop(recorded.number)
        line.has_session = False
        await line.close()

    def _differs(self, recorded: RecordedConnection, seen: SeenFrame, text: str) -> None:
        self.differences += 1
        self._differs_with(f"connection {recorded.number}: {frame_text(seen)}: {text}")
