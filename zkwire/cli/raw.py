"""`zkwire send --raw` and `--connect`: sends any bytes, on a connection of their own, and shows what comes back."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

import trio

from ..explain.dump import format_frame
from ..explain.explained import Explained, explain, explain_frame
from ..explain.pasted import NotBytes, pasted_bytes
from ..explain.readings import Wanted
from ..frames import Direction
from ..hosts import parse_hosts
from ..tap.by_hand import Dialogue, Outcome, dial_stream
from ..traffic.conversation import SeenFrame
from .common import LIMIT, Paint, json_line
from .explain import explained_json, lines
from .program import connect_arguments, run_until_signal
from .status import DONE, FAILED, LOST, NO_SERVER, USAGE, CommandError, complain


def run(options: argparse.Namespace) -> int:
    """Run the verb. Raises CommandError if an option is not hexadecimal, or if no server is reached."""
    first = None if options.connect is None else _octets("--connect", options.connect)
    raw = None if options.raw is None else _octets("--raw", options.raw)
    arguments = connect_arguments(options)
    return run_until_signal(partial(_talk, options, arguments, first, raw))


def _octets(option: str, text: str) -> bytes:
    try:
        data = pasted_bytes(text.encode(errors="surrogateescape"), "hex")
    except NotBytes as error:
        raise CommandError(f"{option}: {error}", USAGE) from None
    if not data:
        raise CommandError(f"{option}: expected bytes in hexadecimal, got none", USAGE)
    return data


async def _talk(options: argparse.Namespace, arguments: dict[str, Any], first: bytes | None, raw: bytes | None) -> int:
    """Connect, authenticate, send `raw`, and show the frames that come back. Returns the exit status."""
    with trio.move_on_after(options.wait) as patience:
        stream = await dial_stream(parse_hosts(arguments["hosts"])[0], arguments["ssl_context"])
    if patience.cancelled_caught:
        raise CommandError(f"no server took the connection within {options.wait:g} s", NO_SERVER)
    printer = _Printer(options, stream)
    dialogue = printer.dialogue
    async with stream:
        printer.is_shown = first is not None
        await dialogue.connect(round(arguments["session_timeout"] * 1000), first)
        if raw is None:
            printer.show_partial(Direction.SENT)
        status = printer.status(await dialogue.connected())
        if status != DONE:
            return status
        printer.is_shown = False
        for scheme, credentials in arguments["auth"]:
            before = dialogue.replies
            status = printer.status(await dialogue.authenticate(scheme, credentials), before)
            if status != DONE or dialogue.err:
                raise CommandError(f"the server refused --auth of scheme {scheme!r}", status or FAILED)
        if raw is not None:
            printer.is_shown = True
            before = dialogue.replies
            await dialogue.send(raw)
            printer.show_partial(Direction.SENT)
            status = printer.status(await dialogue.replied(), before)
        printer.is_shown = False
        await dialogue.end_session()
    return status


class _Printer:
    """Prints what passes on one connection: everything while `is_shown`, else only what is wrong."""

    def __init__(self, options: argparse.Namespace, stream: trio.abc.Stream) -> None:
        self.dialogue = Dialogue(stream, options.wait, self._take)
        self.is_shown = True
        self._options = options
        self._paint = Paint(sys.stdout)
        self._printed = 0

    def status(self, outcome: Outcome, before: int = 0) -> int:
        """Print how a wait for the server failed, if it did. Returns the exit status. `before`: how many replies had
        come before the wait."""
        if outcome is Outcome.DONE:
            return DONE
        self.show_partial(Direction.RECEIVED)
        came, left = self.dialogue.replies - before, self.dialogue.requests - self.dialogue.replies
        if self.dialogue.response is None:
            after = ", and has sent no ConnectResponse"
        else:
            after = "" if not left else " without a reply" if not came else f" before {left} of the replies"
        if outcome is Outcome.CLOSED:
            return complain(f"the server closed the connection{after}", LOST)
        return complain(f"the server said nothing more for {self._options.wait:g} s{after}", FAILED)

    def show_partial(self, direction: Direction) -> None:
        """Show the bytes of a frame that is not whole."""
        if rest := self.dialogue.partial(direction):
            self._show_bytes(direction, rest)

    def _take(self, direction: Direction, seen: SeenFrame | bytes) -> None:
        if isinstance(seen, bytes):
            self._show_bytes(direction, seen)
            return
        if seen.frame.types:
            self._show([explain_frame(seen.frame)], is_wrong=bool(seen.undecoded))
        else:
            self._show_bytes(direction, seen.data)
        if self._options.verbose and not self.is_shown:
            print(format_frame(seen.frame, limit=LIMIT), end="\n\n", file=sys.stderr)

    def _show_bytes(self, direction: Direction, data: bytes) -> None:
        """Show bytes that are not a frame, or a frame without a header, whatever `is_shown` is."""
        is_first = self.dialogue.response is None and (direction is Direction.RECEIVED or self.dialogue.requests == 0)
        self._show(list(explain(data, Wanted(direction, connect=is_first))), is_wrong=True)

    def _show(self, found: list[Explained], *, is_wrong: bool) -> None:
        for each in found if self.is_shown or is_wrong else []:
            if self._options.json:
                print(json_line(explained_json(each)), flush=True)
            else:
                print("\n" * bool(self._printed) + "\n".join(lines(each, self._paint, LIMIT)), flush=True)
            self._printed += 1
            if each.problem:
                complain(each.problem.split("\n")[0], FAILED)
