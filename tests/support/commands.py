"""Commands for runners and watchdogs. They report over a FIFO, which also shows whether a process of them is left."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.live import PATIENCE
from tests.support.processes import wait_until


class Fifo:
    """What processes report, and whether any of them is left: all that opened it or inherited it count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._text = ""

    def close(self) -> None:
        os.close(self._descriptor)

    def line(self) -> str:
        """The next line that any process writes."""
        assert wait_until(self._has_line, PATIENCE), f"silence, after {self._text!r}"
        line, _, self._text = self._text.partition("\n")
        return line

    def _has_line(self) -> bool:
        with suppress(BlockingIOError):
            self._text += os.read(self._descriptor, 4096).decode()  # no process has opened it
        return "\n" in self._text

    def nobody_is_left(self) -> bool:
        """Whether all processes that had it open have ended. Lines that they wrote can still be read."""
        try:
            while data := os.read(self._descriptor, 4096):
                self._text += data.decode()
        except BlockingIOError:
            return False
        return True

    def wait_until_nobody_is_left(self) -> None:
        assert wait_until(self.nobody_is_left, PATIENCE), "somebody is left"


def shell(script: str, fifo: Fifo | None = None) -> list[str]:
    """The command that runs the script in sh, with the FIFO open as descriptor 9."""
    return ["sh", "-c", (f"exec 9>{fifo.path}; " if fifo else "") + script]


def python(script: str, fifo: Fifo) -> list[str]:
    """The command that runs the script in Python. `say(text)` writes to the FIFO, which children inherit."""
    prelude = f"""
import os, signal, sys, time
fifo = os.open({str(fifo.path)!r}, os.O_WRONLY)
os.set_inheritable(fifo, True)
def say(text):
    os.write(fifo, (str(text) + "\\n").encode())
"""
    return [sys.executable, "-I", "-S", "-c", prelude + script]


def trapping(action: str, name: str = "TERM") -> str:
    """A script that reports "ready", and does this at a signal. A trap runs during `wait` at once."""
    return f"trap '{action}' {name}; echo ready >&9; while :; do sleep 1000 & wait; done"


#: Reports "ready", and ignores SIGTERM, SIGINT and SIGHUP.
STUBBORN = "trap '' TERM INT HUP; echo ready >&9; while :; do sleep 1000; done"

#: Two descendants leave the process group, one of them as a daemon does (two forks, setsid). Both ignore SIGTERM.
RUNAWAYS = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            say("daemon")
            while True:
                signal.pause()
        os._exit(0)
    say("runaway")
    while True:
        signal.pause()
"""
