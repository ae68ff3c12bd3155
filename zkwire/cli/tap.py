"""`zkwire tap`: what passes between ZooKeeper clients and their server, as it passes; broken on request."""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import datetime
from io import FileIO
from random import Random
from typing import Any

import trio

from ..explain.dump import format_frame
from ..frames import Direction
from ..tap.dial import error_text
from ..tap.tap import Tap
from ..text import counted
from ..traffic import recording
from ..traffic.conversation import SeenFrame
from ..traffic.entries import (
    ConnectionClosed,
    Entry,
    EntryMaker,
    EventSeen,
    Exchange,
    FaultInjected,
    Filter,
    Handshake,
    ServerUnreachable,
    UnansweredRequest,
)
from ..traffic.faults import PASS, Action, FaultError, first_of, parse_fault
from ..traffic.report import entry_json, entry_text, undecoded
from ..traffic.selection import SelectionError, opcodes, path_pattern
from .addresses import listening, servers
from .common import USAGE, CommandError, Paint
from .program import run_until_signal


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Listens on LISTEN, connects each client to SERVER, passes every byte on and shows what it is: a line for each "
        "request with its reply, the time between the two, events with the write that caused them, and requests that "
        "were left without a reply. Point any client at LISTEN. Ctrl-C ends it."
    )
    parser.add_argument("listen", metavar="LISTEN", help="HOST:PORT; :PORT or PORT: on loopback; port 0: any free one")
    parser.add_argument(
        "server", metavar="SERVER", help="HOST:PORT, :PORT or PORT; several by comma: each client gets the next"
    )
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--op", metavar="OPERATIONS", help="only these: getData, create*, connect, or several by comma")
    shown.add_argument("--path", metavar="PATTERN", help="only what concerns such a path: /app, /app/*, /app/**")
    shown.add_argument("--session", metavar="ID", type=_session, help="only this session, as 0x100000a1b2c0000")
    shown.add_argument("--pings", action="store_true", help="pings too")
    shown.add_argument("--hex", action="store_true", help="with every byte of the frames, annotated")
    shown.add_argument("--json", action="store_true", help="a JSON object in a line for each")
    shown.add_argument("--secrets", action="store_true", help="passwords too, also in the recording")
    parser.add_argument("--record", metavar="FILE", help="all that passes, for zkwire replay; overwrites the file")
    broken = parser.add_argument_group(
        "faults",
        "ACTION WHAT [OPERATIONS] [PATH] [HOW OFTEN]: ACTION is drop, delay [SECONDS], cut [before|inside [BYTES]|"
        "after], corrupt [OFFSET], dup or reorder; WHAT is request, reply or event; HOW OFTEN is once (where nothing "
        "is said), nth N, always or p=P. Pings and connect are meant only where they are named.",
    )
    broken.add_argument(
        "--fault", metavar="FAULT", action="append", default=[], help="as 'drop reply create /app/** nth 2'; repeatable"
    )
    broken.add_argument(
        "--seed", type=int, help="of what the faults leave to chance; the same one gives the same again"
    )
    parser.set_defaults(run=run)


def _session(given: str) -> int:
    number = int(given, 0)
    return number - 2**64 if number >= 2**63 else number


def run(options: argparse.Namespace) -> None:
    host = listening(options.listen)
    target = servers(options.server)
    wanted = _filter(options)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    try:
        # Each has a chance of its own, so that what one does is the same whatever stands beside it.
        faults = [parse_fault(words, Random(f"{seed}:{place}")) for place, words in enumerate(options.fault)]
    except FaultError as error:
        raise CommandError(str(error), USAGE) from None
    with ExitStack() as stack:
        epoch = _Epoch()
        observers: list[EntryMaker | Recorder] = [EntryMaker(_Display(options, wanted, epoch).show)]
        if options.record:
            observers.append(stack.enter_context(Recorder(options.record, epoch, with_secrets=options.secrets)))

        async def main() -> None:
            later = _Later(observers)
            tap = Tap(target, host.name, host.port, observer=later)
            tap.fault = first_of(*faults) if faults else None
            try:
                async with AsyncExitStack() as running:
                    try:
                        await running.enter_async_context(tap)
                    except OSError as error:
                        raise CommandError(f"cannot listen on {host}: {error_text(error)}") from None
                    with ending_by_signal():
                        print(f"zkwire: {tap.address} to {target}; Ctrl-C ends it", file=sys.stderr, flush=True)
                        if faults:
                            print(f"zkwire: {counted(len(faults), 'fault')}, seed {seed}", file=sys.stderr, flush=True)
                        await later.run()
            finally:
                later.catch_up()

        run_until_signal(main)


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """SIGINT and SIGTERM end the block, and nothing else."""
    token = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope:
        before = {
            number: signal.signal(number, lambda *_: token.run_sync_soon(scope.cancel))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _filter(options: argparse.Namespace) -> Filter:
    try:
        return Filter(
            None if options.op is None else opcodes(options.op),
            None if options.path is None else path_pattern(options.path),
            options.session,
            options.pings,
        )
    except SelectionError as error:
        raise CommandError(str(error), USAGE) from None


class _Epoch:
    """What is to be added to trio's clock for seconds since 1970. The wall clock is read once: it may jump."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def of(self, now: float) -> float:
        if self._offset is None:
            self._offset = time.time() - trio.current_time()
        return now + self._offset


class _Later:
    """Tells the observers what passes, not as it passes but soon after, many at a time: printing a frame takes longer
    than passing it on, and few clients are to wait for that."""

    _PAUSE = 0.05  # seconds until what has come is looked at
    _TURN = 0.01  # seconds of work before the clients have their turn
    _LIMIT = 10_000  # of what waits; with more, the clients wait after all

    def __init__(self, observers: list[EntryMaker | Recorder]) -> None:
        self._observers = observers
        self._waiting: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._some = trio.Event()

    def opened(self, *told: Any) -> None:
        self._note("opened", told)

    def unreachable(self, *told: Any) -> None:
        self._note("unreachable", told)

    def passed(self, *told: Any) -> None:
        self._note("passed", told)

    def closed(self, *told: Any) -> None:
        self._note("closed", told)

    def _note(self, what: str, told: tuple[Any, ...]) -> None:
        self._waiting.append((what, told))
        self._some.set()
        if len(self._waiting) > self._LIMIT:
            self.catch_up()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._some.wait()
            await trio.sleep(self._PAUSE)
            self._some = trio.Event()
            while self._waiting:
                self._tell(time.perf_counter() + self._TURN)
                await trio.sleep(self._TURN)

    def catch_up(self) -> None:
        """Tell all that waits, now."""
        self._tell(math.inf)

    def _tell(self, until: float) -> None:
        while self._waiting and time.perf_counter() < until:
            what, told = self._waiting.popleft()
            for each in self._observers:
                getattr(each, what)(*told)
        sys.stdout.flush()


class _Display:
    """Entries on stdout: text or JSON."""

    def __init__(self, options: argparse.Namespace, wanted: Filter, epoch: _Epoch) -> None:
        self._options = options
        self._wanted = wanted
        self._epoch = epoch
        self._paint = Paint(sys.stdout)

    def show(self, entry: Entry) -> None:
        if not self._wanted.wants(entry):
            return
        wall = self._epoch.of(entry.now)
        if self._options.json:
            shown = entry_json(entry, wall - entry.now, show_secrets=self._options.secrets)
            if self._options.hex:
                shown["frames"] = [
                    (seen.data if self._options.secrets else recording.without_secrets(seen)).hex()
                    for seen in _frames(entry)
                ]
            sys.stdout.write(json.dumps(shown, ensure_ascii=True) + "\n")
        else:
            clock = datetime.fromtimestamp(wall).strftime("%H:%M:%S.%f")
            sys.stdout.write(f"{self._paint.dim(clock)} {self._colour(entry)(entry_text(entry))}\n")
            for seen in _frames(entry) if self._options.hex else ():
                dump = format_frame(seen.frame, show_secrets=self._options.secrets)
                sys.stdout.write("".join(f"    {line}\n" for line in dump.split("\n")))

    def _colour(self, entry: Entry) -> Callable[[str], str]:
        if undecoded(entry):
            return self._paint.red
        match entry:
            case FaultInjected() | UnansweredRequest() | ServerUnreachable():
                return self._paint.red
            case Exchange(reply=reply) if reply.err:
                return self._paint.red
            case ConnectionClosed(unanswered=unanswered) if unanswered:
                return self._paint.red
            case EventSeen():
                return self._paint.yellow
            case Exchange():
                return str
        return self._paint.cyan


def _frames(entry: Entry) -> Iterator[SeenFrame]:
    match entry:
        case Handshake(request=request, response=reply) | Exchange(request=request, reply=reply):
            if request is not None:
                yield request
            yield reply
        case UnansweredRequest(request=request):
            yield request
        case EventSeen(event=event):
            yield event


class Recorder:
    """Writes what a tap tells to a file, as it comes. For `with`: the block's end is that of the recording."""

    def __init__(self, path: str, epoch: _Epoch, *, with_secrets: bool) -> None:
        self._path = path
        self._epoch = epoch
        self._with_secrets = with_secrets
        self._writer = recording.Writer(secrets=with_secrets)
        self._file: FileIO

    def __enter__(self) -> Recorder:
        try:
            # Only its owner reads it: data is in it, and with --secrets what gives access to more.
            self._file = FileIO(self._path, "w", opener=lambda path, flags: os.open(path, flags, 0o600))
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._write(self._writer.start())
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._write(self._writer.end())

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        self._write(self._writer.line(recording.RecordedOpening(self._epoch.of(now), connection, client, server)))

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        """Nothing passed."""

    def passed(
        self, connection: int, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        whole = isinstance(seen, bytes) or self._with_secrets
        data = seen if isinstance(seen, bytes) else seen.data if whole else recording.without_secrets(seen)
        fault = "" if action == PASS else str(action)
        self._write(self._writer.line(recording.RecordedBytes(self._epoch.of(now), connection, direction, data, fault)))

    def closed(self, connection: int, by: str, now: float) -> None:
        self._write(self._writer.line(recording.RecordedClosing(self._epoch.of(now), connection, by)))

    def _write(self, line: str) -> None:
        """Unbuffered: whoever looks into the file sees what has passed."""
        data = line.encode()
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> CommandError:
        return CommandError(f"{self._path}: {error.strerror or error}")
