"""`run`: runs an async function as a whole program. A signal lets it leave its blocks, and its errors are one line.

A program that is killed leaves its session open, so its ephemerals stay until the session timeout is over. The default
actions of SIGTERM and SIGHUP kill it, and KeyboardInterrupt may be raised in the middle of any line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import trio

from ..errors import ZkwireError

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup  # which trio brings along there

T = TypeVar("T")

#: The signals that ask a program to stop. Windows has no SIGHUP.
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
#: Errors whose cause is outside the program, so that one line says enough. Any other exception is a bug in the program.
EXPECTED = (ZkwireError, OSError)


def run(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `main(*args)` in trio, as a whole program. Returns what it returns.

        zkwire.run(main)

    Ctrl-C (SIGINT), SIGTERM and SIGHUP cancel `main`, so that it leaves its blocks: sessions are closed, and the next
    leader leads at once. Then the program ends with status 0, and a line on stderr names the signal. A second Ctrl-C
    ends the process without waiting for that. A signal that was ignored when the program started (nohup, or & in a
    script) stays ignored.

    When a ZkwireError (the errors of the package `election` are ZkwireErrors too) or an OSError leaves `main`, alone or
    in a group, the program ends with status 1 and the error is a line on stderr. Any other exception passes through.

    Call it in the main thread. A program that has its own `trio.run` and signal handlers does not need it: it cancels
    the scope around its `async with zkwire.connect(...)`.

    Raises:
        SystemExit: the program was stopped, or failed.
    """
    scope = trio.CancelScope()
    received: list[signal.Signals] = []

    async def until_stopped() -> T | None:
        token = trio.lowlevel.current_trio_token()

        def heed(number: int, where: FrameType | None) -> None:
            received.append(signal.Signals(number))
            token.run_sync_soon(scope.cancel)  # not now: this may be the middle of trio's own loop
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.SIG_DFL)

        with _handled_by(heed), scope:
            return await main(*args)
        return None

    try:
        result = trio.run(until_stopped)
    except EXPECTED as error:
        raise _failure(error) from None
    except BaseExceptionGroup as group:
        if group.split(EXPECTED)[1] is not None:
            raise
        raise _failure(_first(group)) from None
    if scope.cancelled_caught:
        print(f"{_prefix()}stopped by {received[0].name}", file=sys.stderr)
        raise SystemExit(0)
    return result  # type: ignore[return-value]  # None is main's own result here


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that stop a program, except those that are ignored or not handled in Python."""
    numbers = [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _failure(error: BaseException) -> SystemExit:
    if isinstance(error, BrokenPipeError):
        # stdout is no longer read. Python would complain when it flushes stdout at the end, so it is redirected.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return SystemExit(f"{_prefix()}{str(error) or type(error).__name__}")


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _prefix() -> str:
    """The program's name; "" for one that has no file."""
    return "" if sys.argv[0] in ("", "-", "-c") else f"{Path(sys.argv[0]).stem}: "
