"""The code that several verbs use: options, output, a session, and the end by a signal."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import NoNodeError
from ..hosts import parse_hosts
from ..text import counted, printable
from .program import add_connection_options, connect_arguments, run_until_signal

if TYPE_CHECKING:
    from ..client.client import Client
    from ..frames import Frame

#: Dumps show only the first and the last bytes of a field that is longer than this.
LIMIT = 256


def connection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every verb that speaks to a server."""
    group = parser.add_argument_group("connection")
    add_connection_options(group)
    group.add_argument("-v", "--verbose", action="store_true", help="print every frame, annotated, to stderr")


def json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON, in one line")


def show(options: argparse.Namespace, value: Any, lines: Iterable[str]) -> None:
    """Print the result: `value` with --json, else the lines. Lines can have text that others have chosen, so characters
    that a terminal would obey are escaped. A pipe gets them unchanged."""
    if options.json:
        print(json_line(value))
        return
    is_terminal = sys.stdout.isatty()
    sys.stdout.write("".join(f"{printable(line) if is_terminal else line}\n" for line in lines))


def json_line(value: Any) -> str:
    """`value` as JSON in ASCII: every encoding can show it, and a terminal obeys nothing in it."""
    return json.dumps(value, ensure_ascii=True)


class Paint:
    """Colours for a stream, if it is a terminal and $NO_COLOR is not set (no-color.org)."""

    def __init__(self, stream: TextIO) -> None:
        self.enabled = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.enabled and text else text

    def bold(self, text: str) -> str:
        return self._in("1", text)

    def dim(self, text: str) -> str:
        return self._in("2", text)

    def red(self, text: str) -> str:
        return self._in("31", text)

    def green(self, text: str) -> str:
        return self._in("32", text)

    def yellow(self, text: str) -> str:
        return self._in("33", text)

    def cyan(self, text: str) -> str:
        return self._in("36", text)


class Progress:
    """Shows on stderr how far a long command is, if stderr is a terminal. Ten times a second; erased at the end."""

    def __init__(self, what: str, done: str) -> None:
        self._what, self._done = what, done
        self._shown = 0.0
        self._enabled = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def update(self, count: int) -> None:
        if self._enabled and time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            print(f"\r{counted(count, self._what)} {self._done}", end="", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# --- with trio, which is loaded late: some verbs need none of it


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """For verbs that run until they are told to stop: in a trio task, SIGINT and SIGTERM end the block, and the verb
    goes on after it."""
    import trio

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


def in_session(
    options: argparse.Namespace,
    verb: Callable[[Client, argparse.Namespace], Awaitable[None]],
    on_frame: Callable[[Frame], Any] | None = None,
) -> None:
    """Run `verb` in a new session, with the options of `connection_options`. `on_frame` is called with its frames."""
    dump = None
    if options.verbose:
        from ..explain.dump import print_frame  # late: it loads construct, which takes 20 ms

        dump = print_frame

    def take(frame: Frame) -> None:
        if dump is not None:
            dump(frame, limit=LIMIT)
        if on_frame is not None:
            on_frame(frame)

    observed = take if on_frame or dump else None
    arguments = connect_arguments(options)

    async def run() -> None:
        from ..client.client import connect  # late: it loads trio

        async with connect(**arguments, on_frame=observed, new_session=False) as zk:
            try:
                await verb(zk, options)
            except NoNodeError as error:
                await _look_for_chroot(zk, options, error)
                raise

    run_until_signal(run)


async def _look_for_chroot(zk: Client, options: argparse.Namespace, error: NoNodeError) -> None:
    """If the chroot is missing, and not only the znode, put that into the reason of the error."""
    chroot = parse_hosts(options.hosts)[1]
    if chroot and options.verb != "send":  # its paths are the server's own
        is_missing = await zk.exists("/") is None
        error.reason = f"the chroot {chroot} does not exist; zkwire create -p creates it" if is_missing else ""
