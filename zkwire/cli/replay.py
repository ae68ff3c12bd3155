"""`zkwire replay`: recorded traffic again, as the server or as the client that it was."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

import trio

from ..codes import OpCode
from ..frames import Direction, frame
from ..hosts import Host, parse_hosts
from ..jute import encode
from ..records import RequestHeader
from ..tap.dial import error_text
from ..text import counted
from ..traffic import recording
from ..traffic.as_client import Rerun
from ..traffic.as_server import RecordedConnection, RecordedStep, Script, connections, timeline
from ..traffic.conversation import Conversation, SeenFrame
from ..traffic.report import frame_text
from .addresses import listening, servers
from .common import DONE, FAILED, NO_SERVER, CommandError
from .program import run_until_signal

_RECEIVE_SIZE = 64 * 1024


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Plays what zkwire tap --record has written. As a server (without --to): listens, and gives whoever asks what "
        "was asked then the recorded replies and events; each connection plays the next of the recording that asked "
        "for the same session. As a client (--to): sends the recorded requests, and compares the replies; session ids, "
        "zxids, times and the numbers of sequential znodes are matched, not compared. Prints what was not as recorded, "
        "and exits 1 if there was any."
    )
    parser.add_argument("file", metavar="FILE", help="a recording")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--listen", metavar="LISTEN", default="2181", help="HOST:PORT, :PORT or PORT (default: 2181 on loopback)"
    )
    where.add_argument("--to", metavar="SERVER", help="be the client of this server")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="with --to: how long to wait for a reply (default: 10)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    steps, with_secrets = _load(options.file)
    count = len(connections(steps))
    if not count:
        raise CommandError(f"{options.file}: no connection of ZooKeeper's is in it")
    faulted = sum(recorded.faulted for recorded in connections(steps))
    if faulted:
        they = "it is played as it came" if faulted == 1 else "they are played as they came"
        _note(f"a fault acted on {counted(faulted, 'frame')} of the recording; {they}, without it")
    if options.to is None:
        host = listening(options.listen)
        return run_until_signal(lambda: _serve(steps, host))
    server = servers(options.to)
    return run_until_signal(lambda: _rerun(steps, server, Rerun(with_secrets=with_secrets), options.timeout))


def _load(path: str) -> tuple[list[RecordedStep], bool]:
    try:
        with open(path, encoding="utf-8") as file:
            with_secrets = recording.has_secrets(file.readline())
            file.seek(0)
            return timeline(recording.read(file)), with_secrets
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    except (recording.RecordingError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}") from None


def _note(text: str) -> None:
    print(f"zkwire: {text}", file=sys.stderr, flush=True)


# --- as a server


async def _serve(steps: list[RecordedStep], host: Host) -> int:
    recorded = connections(steps)
    script = Script(recorded, lambda text: print(text, flush=True))
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
            pass  # the client has gone: as an end
        finally:
            playing.close()
            if script.is_over:
                over.set()

    try:
        listeners = await trio.open_tcp_listeners(host.port, host=host.name)
    except OSError as error:
        raise CommandError(f"cannot listen on {host}: {error_text(error)}") from None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def until_signal() -> None:
            await signals.__anext__()
            over.set()

        async with trio.open_nursery() as nursery:
            address = host._replace(port=listeners[0].socket.getsockname()[1])
            _note(f"{address} plays {counted(len(recorded), 'connection')}; Ctrl-C ends it")
            nursery.start_soon(trio.serve_listeners, play, listeners)
            nursery.start_soon(until_signal)
            await over.wait()
            nursery.cancel_scope.cancel()
    return FAILED if script.divergences else DONE


# --- as a client


class _Line:
    """One connection to the server, as one of the recording was."""

    def __init__(self, stream: trio.SocketStream, number: int) -> None:
        self._stream = stream
        self._conversation = Conversation(number)
        self._came: list[SeenFrame] = []  # and nobody has asked for it yet
        self.has_session = False

    async def send(self, data: bytes) -> None:
        self._conversation.receive(Direction.SENT, data, trio.current_time())
        await self._stream.send_all(data)

    async def take(self, wanted: Callable[[SeenFrame], bool]) -> SeenFrame | None:
        """The next frame that is wanted; those before it stay for later. None at the end of the stream."""
        while True:
            found = next((seen for seen in self._came if wanted(seen)), None)
            if found is not None:
                self._came.remove(found)
                return found
            data = await self._stream.receive_some(_RECEIVE_SIZE)
            if not data:
                return None
            pieces = self._conversation.receive(Direction.RECEIVED, bytes(data), trio.current_time())
            self._came += [seen for seen in pieces if isinstance(seen, SeenFrame)]

    def events(self) -> list[SeenFrame]:
        """Those that came and nobody asked for."""
        return [seen for seen in self._came if seen.is_notification]

    async def close(self) -> None:
        """Close the session too: nobody else will."""
        async with self._stream:
            if self.has_session:
                with trio.move_on_after(2):
                    await self.send(frame(encode(RequestHeader(-1000, OpCode.CLOSE_SESSION))))
                    await self.take(lambda seen: seen.opcode == OpCode.CLOSE_SESSION)


class _Client:
    """Goes through the steps of a recording, one by one."""

    def __init__(self, server: str, rerun: Rerun, timeout: float) -> None:
        self._server = server
        self._rerun = rerun
        self._timeout = timeout
        self._lines: dict[int, _Line] = {}  # by the connection's number
        self._unsent: set[SeenFrame] = set()
        self.sent = self.compared = self.divergences = 0

    async def go(self, steps: list[RecordedStep]) -> None:
        try:
            for recorded, what in steps:
                if what is None:
                    self._lines[recorded.number] = await self._dial(recorded)
                elif recorded.number not in self._lines:
                    continue  # it has ended too early, which was told of
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

    async def _dial(self, recorded: RecordedConnection) -> _Line:
        hosts, _ = parse_hosts(self._server)
        reasons = []
        for host in hosts:
            try:
                return _Line(await trio.open_tcp_stream(host.name, host.port), recorded.number)
            except OSError as error:
                reasons.append(f"{host}: {error_text(error)}")
        raise CommandError("; ".join(reasons), NO_SERVER)

    async def _close(self, recorded: RecordedConnection) -> None:
        line = self._lines.pop(recorded.number)
        for event in line.events():
            self._differs(recorded, event, "was not recorded")
        if recorded.closed_by != "tap":
            line.has_session = False  # a session that outlived its connection does so again
        await line.close()

    async def _send(self, recorded: RecordedConnection, seen: SeenFrame) -> None:
        why = self._rerun.why_not_sent(seen)
        if why is not None:
            self._unsent.add(seen)
            _note(f"connection {recorded.number}: {frame_text(seen)} is not sent: {why}")
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
        except trio.BrokenResourceError:
            now = None
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
        self.divergences += 1
        print(f"connection {recorded.number}: {frame_text(seen)}: {text}", flush=True)


async def _rerun(steps: list[RecordedStep], server: str, rerun: Rerun, timeout: float) -> int:
    client = _Client(server, rerun, timeout)
    await client.go(steps)
    outcome = counted(client.divergences, "difference") if client.divergences else "as recorded"
    sent, compared = counted(client.sent, "request"), counted(client.compared, "reply or event")
    print(f"{sent} sent, {compared} compared: {outcome}")
    return FAILED if client.divergences else DONE
