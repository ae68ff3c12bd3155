"""Programs in processes of their own: start one, wait until it prints a line, send it a signal, wait for its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

from tests.support.processes import spawn, wait_until

Self = TypeVar("Self", bound="Program")

#: Seconds until a test gives up on a program.
PATIENCE = 60.0


class Output:
    """What a program prints on one stream.

    It goes to a file without a name. So the program never waits for a reader, and a test can read all of it again.
    """

    def __init__(self) -> None:
        self.file = TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._kept: str | None = None  # all of it, when the file is closed
        self._passed = 0  # characters that `next` has returned or passed over

    @property
    def text(self) -> str:
        """Everything so far."""
        if self._kept is not None:
            return self._kept
        # `read` would move the position at which the program writes.
        return os.pread(self.file.fileno(), os.fstat(self.file.fileno()).st_size, 0).decode(errors="replace")

    def lines(self, pattern: str = "") -> list[str]:
        """The whole lines so far in which the pattern is found."""
        return [line for line in self.text.split("\n")[:-1] if re.search(pattern, line)]

    def close(self) -> None:
        """Keep what was printed, without the file."""
        self._kept = self.text
        self.file.close()

    @property
    def rest(self) -> str:
        """Everything after the line that `next` returned last."""
        return self.text[self._passed :]

    def take(self, pattern: str) -> str | None:
        """The next line in which the pattern is found; None if there is none yet. Lines before it are passed over."""
        found = re.search(rf"^.*(?:{pattern}).*\n", self.rest, re.MULTILINE)
        if found is None:
            return None
        self._passed += found.end()
        return found[0][:-1]


class Program:
    """A command in a process of its own. It is killed at the end of the `with` block, or when our process ends.

    Attributes:
        out: what it prints on stdout.
        err: what it prints on stderr; the same object as `out`, unless the two are kept `apart`.
    """

    def __init__(
        self, command: Sequence[str], *, apart: bool = False, keys: bool = False, terminal: bool = False, **options: Any
    ) -> None:
        """Start it.

        Args:
            command: the program and its arguments. `module` makes one.
            apart: keep stdout and stderr apart.
            keys: its stdin is a pipe, for `press` and `close_keys`. By default its stdin is empty.
            terminal: its stdin is a terminal, for `press`.
            options: of `subprocess.Popen`. `stdout` or `stderr` among them replaces `out` or `err`.
        """
        self.out = Output()
        self.err = Output() if apart else self.out
        self._keys: int | None = None
        stdin = subprocess.DEVNULL
        if terminal:
            self._keys, stdin = os.openpty()
        elif keys:
            stdin, self._keys = os.pipe()
        streams = {"stdin": stdin, "stdout": self.out.file, "stderr": self.err.file}
        # A program must flush by itself.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        self.popen = spawn(command, **{"env": environment, **streams, **options})
        if self._keys is not None:
            os.close(stdin)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        # The launcher of `spawn` becomes the program, so it keeps this number.
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def printed(self) -> str:
        """Everything that it has printed, for the message of a test that fails."""
        return self.out.text if self.err is self.out else f"{self.out.text}\non stderr:\n{self.err.text}"

    def lines(self, pattern: str = "") -> list[str]:
        """The whole lines on stdout so far in which the pattern is found."""
        return self.out.lines(pattern)

    def says(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until `times` lines on stdout have the pattern, counted from the first line. Returns those lines."""
        wait_until(lambda: len(self.lines(pattern)) >= times or not self.is_alive, PATIENCE)
        found = self.lines(pattern)
        assert len(found) >= times, f"{times} x {pattern!r} expected in:\n{self.printed}"
        return found

    def next(self, pattern: str = "", *, on: Output | None = None) -> str:
        """Wait for the next line with the pattern, on stdout or `on` the other stream. Passes over lines before it."""
        output = self.out if on is None else on
        found: list[str] = []

        def arrived() -> bool:
            is_over = not self.is_alive  # ask before reading: what it prints last is read too
            found.extend(line for line in [output.take(pattern)] if line is not None)
            return bool(found) or is_over

        wait_until(arrived, PATIENCE)
        assert found, f"{pattern!r} expected of a program with status {self.popen.poll()}, in:\n{self.printed}"
        return found[0]

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def stop(self) -> None:
        """Send SIGSTOP. Returns when the process has stopped."""
        self.send(signal.SIGSTOP)
        status = Path(f"/proc/{self.pid}/status")
        assert wait_until(lambda: not self.is_alive or "(stopped)" in status.read_text(), PATIENCE)

    def ends(self) -> int:
        """Wait until it ends. Returns its exit status."""
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise AssertionError(f"it did not end within {PATIENCE:g} s; it printed:\n{self.printed}") from None

    def result(self) -> tuple[int, str, str]:
        """Wait until it ends. Returns its exit status, and what it printed after the last `next`: stdout, stderr."""
        return self.ends(), self.out.rest, self.err.rest

    def cpu_seconds(self) -> float:
        """CPU time so far in seconds, in steps of 0.01 (proc(5): utime and stime, in ticks of 100 Hz)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def press(self, keys: str | bytes = "\n") -> None:
        """Write these to its stdin; Enter by default."""
        assert self._keys is not None
        data = keys.encode() if isinstance(keys, str) else keys
        assert os.write(self._keys, data) == len(data)

    def close_keys(self) -> None:
        """Close its stdin."""
        if self._keys is not None:
            os.close(self._keys)
            self._keys = None

    def kill(self) -> None:
        """End it with SIGKILL. Idempotent."""
        self.popen.kill()
        self.popen.wait(PATIENCE)
        self.close_keys()
        self.out.close()
        self.err.close()


def module(name: str, *arguments: str) -> list[str]:
    """The command `python -m NAME ARGUMENTS`."""
    return [sys.executable, "-m", name, *arguments]


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module to its end."""
    return subprocess.run(module(name, *arguments), capture_output=True, text=True, timeout=PATIENCE, check=False)


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
