"""Processes that end when ours does, and ports that stay free while their servers are stopped."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

HOST = "127.0.0.1"
POLL_INTERVAL = 0.02  # seconds

# Signals that Python ignores would stay ignored in the program that replaces it, hence the first two resets. The
# others: a pytest that was started in the background ignores SIGINT and SIGQUIT, and the program must not.
_DIE_WITH_STARTER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the starter has gone already")
for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""

_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


def spawn(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `command` so that the kernel kills it when this process ends, however it ends (on Linux only).

    The kernel does that when the *thread* that started it ends. A worker thread (trio's end after ten idle seconds)
    would take the program with it. So every thread but the main one lets one long-lived thread start it.
    A launcher asks the kernel for that. `preexec_fn` could, but Python warns about it in processes with threads.

    Args:
        command: the program and its arguments.
        options: of `subprocess.Popen`.
    """
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_STARTER, str(os.getpid()), *command]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, **options)

    return start() if threading.current_thread() is threading.main_thread() else _spawner.submit(start).result()


_given_ports: set[int] = set()


def free_port() -> int:
    """A free loopback TCP port, below the range that the kernel uses for outgoing connections.

    While its server is stopped, any client may take a port of that range. A client that connects to this very port may
    even be connected to itself.
    """
    for _ in range(1000):
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in _given_ports:
            _given_ports.add(port)
            return port
    raise OSError("no free port between 12000 and 32000")


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait until `condition()` is true, at most `timeout` seconds. Returns whether it was."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL)  # another process changes it; there is no event to wait for
    return True
