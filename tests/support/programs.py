"""Python programs of this repository, run as processes of their own, with what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.processes import spawn, wait_until

#: Seconds until a test gives up on a program.
PATIENCE = 60.0


class Program:
    """`python -m MODULE ARGUMENTS`, from its start on."""

    def __init__(self, log: Path, module: str, *arguments: str, keyboard: bool = False, terminal: bool = False) -> None:
        """`log` is a file for what it prints, on both streams; without a keyboard its stdin is empty. With one it is a
        pipe, or a terminal."""
        self.log = log
        self._keys: int | None = None
        with log.open("wb") as output:
            if not keyboard:
                self.popen = spawn([sys.executable, "-m", module, *arguments], output=output)
                return
            if terminal:
                self._keys, theirs = os.openpty()
            else:
                theirs, self._keys = os.pipe()
            with os.fdopen(theirs, "rb") as keys:
                self.popen = spawn([sys.executable, "-m", module, *arguments], output=output, keys=keys)

    @property
    def pid(self) -> int:
        # The launcher of `spawn` becomes the program, so it keeps this number.
        return self.popen.pid

    def lines(self, pattern: str = "") -> list[str]:
        """The whole lines printed so far in which the pattern is found."""
        whole = self.log.read_text().rpartition("\n")[0].split("\n")
        return [line for line in whole if re.search(pattern, line)]

    def says(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until so many lines have it; those lines."""
        wait_until(lambda: len(self.lines(pattern)) >= times or self.popen.poll() is not None, PATIENCE)
        found = self.lines(pattern)
        assert len(found) >= times, f"{times} x {pattern!r} expected in:\n{self.log.read_text()}"
        return found

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def ends(self) -> int:
        """Its exit status."""
        return self.popen.wait(PATIENCE)

    def cpu_seconds(self) -> float:
        """What it has used of a processor so far, in steps of 10 ms (proc(5): utime and stime in ticks of 100 Hz)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def press(self, keys: str = "\n") -> None:
        """These keys; Enter unless told."""
        assert self._keys is not None
        os.write(self._keys, keys.encode())

    def close_keys(self) -> None:
        """The end of its stdin."""
        if self._keys is not None:
            os.close(self._keys)
            self._keys = None

    def kill(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE)
        self.close_keys()


def remote_ports(pid: int) -> set[int]:
    """The ports that a process has TCP connections to (proc(5): /proc/net/tcp, state 01 is ESTABLISHED)."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(str(descriptor.readlink()))
        except FileNotFoundError:
            continue  # closed since
    ports = set()
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        if fields[3] == "01" and f"socket:[{fields[9]}]" in sockets:
            ports.add(int(fields[2].split(":")[1], 16))
    return ports


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """To its end."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
