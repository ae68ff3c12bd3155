"""How a command of `zkwire` or `python -m election` ends: its exit status, and one line on stderr that says why."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from ..errors import (
    BadArgumentsError,
    ClosedError,
    ConnectionLossError,
    LocalProtocolError,
    NoNodeError,
    NoServerError,
    SessionExpiredError,
    ZkwireError,
)
from ..hosts import HostsError
from ..text import printable
from .program import EndedBySignal, ended_by_signal

#: Exit statuses. NO_NODE: there is no such znode, no leader, or no member.
DONE, FAILED, NO_SERVER, LOST, NO_NODE = range(5)
USAGE = NO_SERVER


class CommandError(Exception):
    """The command cannot go on; the message says why. `status` is its exit status."""

    def __init__(self, reason: str, status: int = FAILED) -> None:
        super().__init__(reason)
        self.status = status


def run_command(program: str, command: Callable[[list[str]], int | None], arguments: list[str] | None = None) -> int:
    """Run a command, say on stderr in one line why it failed if it did, and return its exit status.

    Args:
        program: the name of the program, for that line.
        command: takes the arguments and does everything. Returns an exit status; None is DONE.
        arguments: those of the command line. None: it takes the arguments of the process, and ends the process with the
            exit status. Programs made by zipapp need that, since they drop the result.
    """
    if arguments is None:
        sys.exit(run_command(program, command, sys.argv[1:]))
    _prepare_streams()
    try:
        with ended_by_signal():
            status = command(arguments)
            sys.stdout.flush()
    except CommandError as error:
        return complain(error, error.status, program)
    except (HostsError, NoServerError) as error:
        return complain(error, NO_SERVER, program)
    except (ConnectionLossError, SessionExpiredError, ClosedError) as error:
        return complain(error, LOST, program)
    except NoNodeError as error:
        return complain(error, NO_NODE, program)
    except (LocalProtocolError, BadArgumentsError) as error:  # a path, a size or a time that is not possible
        return complain(error, USAGE, program)
    except ZkwireError as error:
        return complain(error, FAILED, program)
    except BrokenPipeError:
        _give_up_stdout()  # the program that read it has ended
        return FAILED
    except OSError as error:
        _give_up_stdout()
        return complain(error.strerror or error, FAILED, program)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "zkwire", "election"):
            raise
        needs = f"{arguments[0]} needs" if arguments else "this needs"
        return complain(f"{needs} the Python package {package}: pip install {package}", FAILED, program)
    except KeyboardInterrupt:
        return FAILED
    except EndedBySignal as end:
        return end.status
    return DONE if status is None else status


def complain(error: Exception | str, status: int, program: str = "zkwire") -> int:
    """One line on stderr: the name of the program and the error. Returns the status."""
    tell(f"{program}: {printable(str(error))}")
    return status


def tell(line: str) -> None:
    """A line on stderr. A broken stderr does not end the command, which may be leading."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends


def _prepare_streams() -> None:
    """Open the standard streams that the caller has closed. Python has None for them, and their output would go
    elsewhere: print(file=None) writes to stdout, and the next socket may get the stream's file descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As stderr has it: a character that the terminal's encoding lacks must not lose a result.
        sys.stdout.reconfigure(errors="backslashreplace")


def _give_up_stdout() -> None:
    """Replace a broken stdout by one that drops everything. Else Python would complain when it flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
