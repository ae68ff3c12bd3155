"""`zkwire tap`: a proxy that shows what passes between ZooKeeper clients and a server, and can inject faults."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from datetime import datetime
from random import Random

from ..tap.dial import error_text
from ..tap.later import Later
from ..tap.recorder import Recorder, WallClock
from ..tap.tap import Observer, Tap
from ..text import counted
from ..traffic import recording
from ..traffic.entries import (
    ConnectionClosed,
    Entry,
    EntryMaker,
    EventSeen,
    Exchange,
    FaultInjected,
    Filter,
    ServerUnreachable,
    UnansweredRequest,
    new_frames,
)
from ..traffic.faults import FaultError, first_of, parse_fault
from ..traffic.report import entry_json, entry_text, undecoded
from ..traffic.selection import SelectionError, opcodes, path_pattern
from .addresses import listening, servers
from .common import Paint, ending_by_signal
from .program import run_until_signal
from .status import USAGE, CommandError


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Listens on LISTEN, connects each client to SERVER, passes every byte on and shows what it means: a line for "
        "each request with its reply and the time between the two, for each event with the write that caused it, and "
        "for each request that got no reply. Point any client at LISTEN. Ctrl-C ends it."
    )
    parser.add_argument(
        "listen", metavar="LISTEN", help="HOST:PORT; :PORT or PORT is on loopback; port 0 takes a free one"
    )
    parser.add_argument(
        "server",
        metavar="SERVER",
        help="HOST:PORT, :PORT or PORT; or several with commas between them: each client gets the next",
    )
    shown = parser.add_argument_group("what is shown")
    shown.add_argument(
        "--op", metavar="OPERATIONS", help="only these: getData, create*, connect, or several with commas between them"
    )
    shown.add_argument("--path", metavar="PATTERN", help="only lines about these paths: /app, /app/*, /app/**")
    shown.add_argument("--session", metavar="ID", type=_session, help="only this session, such as 0x100000a1b2c0000")
    shown.add_argument("--pings", action="store_true", help="show pings too")
    shown.add_argument("--hex", action="store_true", help="show every byte of the frames, annotated")
    shown.add_argument("--json", action="store_true", help="print one JSON object per line")
    shown.add_argument("--secrets", action="store_true", help="show passwords too, and write them into the recording")
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="write everything that passes to FILE, for zkwire replay; the file is overwritten",
    )
    broken = parser.add_argument_group(
        "faults",
        "FAULT is ACTION WHAT [OPERATIONS] [PATH] [HOW OFTEN]. ACTION is drop, delay [SECONDS], cut [before|inside "
        "[BYTES]|after], corrupt [OFFSET], dup or reorder. WHAT is request, reply or event. HOW OFTEN is once (the "
        "default), nth N, always or p=P. A fault acts on pings and on connect only if OPERATIONS name them.",
    )
    broken.add_argument(
        "--fault",
        metavar="FAULT",
        action="append",
        default=[],
        help="such as 'drop reply create /app/** nth 2'; can be repeated",
    )
    broken.add_argument("--seed", type=int, help="for faults that act at random: the same seed repeats what they do")
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
        # Each fault has its own random numbers, so that it does the same whichever others are given.
        faults = [parse_fault(words, Random(f"{seed}:{place}")) for place, words in enumerate(options.fault)]
    except FaultError as error:
        raise CommandError(str(error), USAGE) from None
    with ExitStack() as stack:
        clock = WallClock()
        observers: list[Observer] = [EntryMaker(_Display(options, wanted, clock).show)]
        if options.record:
            observers.append(stack.enter_context(Recorder(options.record, clock, with_secrets=options.secrets)))

        async def main() -> None:
            later = Later(observers, sys.stdout.flush)
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


class _Display:
    """Entries on stdout: text or JSON."""

    def __init__(self, options: argparse.Namespace, wanted: Filter, clock: WallClock) -> None:
        self._options = options
        self._wanted = wanted
        self._clock = clock
        self._paint = Paint(sys.stdout)

    def show(self, entry: Entry) -> None:
        if not self._wanted.wants(entry):
            return
        wall = self._clock.of(entry.now)
        if self._options.json:
            shown = entry_json(entry, wall - entry.now, show_secrets=self._options.secrets)
            if self._options.hex:
                shown["frames"] = [
                    (seen.data if self._options.secrets else recording.without_secrets(seen)).hex()
                    for seen in new_frames(entry)
                ]
            sys.stdout.write(json.dumps(shown, ensure_ascii=True) + "\n")
        else:
            clock = datetime.fromtimestamp(wall).strftime("%H:%M:%S.%f")
            sys.stdout.write(f"{self._paint.dim(clock)} {self._colour(entry)(entry_text(entry))}\n")
            for seen in new_frames(entry) if self._options.hex else ():
                from ..explain.dump import format_frame  # late: construct takes 20 ms to load

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
