"""The hard deadline of a body that ignores its cancellation: a thread acts, which does not need the event loop."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import threading
from collections.abc import Callable
from typing import Literal

#: The exit status of a process that `overrun="exit"` has ended, the same as for a lost session.
STATUS = 3

#: Seconds of grace after SIGCONT, or after the machine resumes, if the lease has ended meanwhile: only now can the body
#: see its cancellation.
AFTER_RESUME = 2.0

Action = Literal["exit", "raise", "ignore"] | Callable[[], object]


class OverrunError(BaseException):
    """The body still ran when its lease was over. It is not an Exception, so that `except Exception` does not catch it:
    the body has ignored Cancelled already."""


class HardDeadline:
    """Acts at the end of the lease, unless `stop` was called before (rule L12). To be made and called in trio's
    thread."""

    def __init__(self, what: str, action: Action, boottime: Callable[[], float], interval: float) -> None:
        """
        Args:
            what: names the term in the message.
            action: "exit" writes the stack of each thread to stderr and ends the process with status 3, without
                cleanup; "raise" raises OverrunError in the thread that made this object, between two of its bytecodes;
                "ignore" does nothing; a function is called, in a thread of ours.
            boottime: the clock of `end`.
            interval: seconds between two looks at that clock. A single long wait could end too late, since
                the time of a suspend does not count in it.
        """
        self.end = float("inf")  #: when to act. May be moved at any time; an earlier time is noticed within `interval`
        self._what = what
        self._action = action
        self._boottime = boottime
        self._interval = interval
        self._victim = threading.get_ident()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"overrun of {what}", daemon=True)

    def start(self) -> None:
        """Begin to look at the clock."""
        if self._action != "ignore":
            self._thread.start()

    def stop(self) -> None:
        """The body has finished. After this returns, the thread does not act any more."""
        with self._lock:
            self._stopped.set()

    def _run(self) -> None:
        stood_still = False
        while True:
            now = self._boottime()
            left = self.end - now
            if left <= 0:
                break
            if self._stopped.wait(min(left, self._interval)):
                return
            stood_still = self._boottime() > now + min(left, self._interval) + AFTER_RESUME
        if stood_still and self._stopped.wait(AFTER_RESUME):
            return
        with self._lock:
            if not self._stopped.is_set():
                self._act()

    def _act(self) -> None:
        text = f"{self._what}: the body still runs at the end of its lease"
        if self._action == "raise":
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._victim), ctypes.py_object(OverrunError))
        elif callable(self._action):
            self._action()
        else:
            # Not through sys.stderr, whose lock the victim may hold.
            os.write(2, f"election: {text}; ending the process\n".encode())
            faulthandler.dump_traceback(2)
            os._exit(STATUS)
