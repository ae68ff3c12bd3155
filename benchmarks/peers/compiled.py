"""Clients in other languages: a program beside this file is compiled on first use, and replaces this process."""

from __future__ import annotations

import hashlib
import os
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from benchmarks.meter import Meter
from benchmarks.scenarios import (
    BATCH,
    CHILDREN,
    LARGE,
    LARGE_SIZE,
    NEW,
    PARENT,
    SESSION_TIMEOUT,
    SMALL,
    SMALL_DATA,
    WATCHED,
    WATCHES,
)


class CompiledPeer(ABC):
    """The arguments of its program are HOSTS SCENARIO REPETITIONS WARM_UP TIMEOUT_MS. The constants of scenarios.py are
    in its environment. It prints what benchmarks/meter.py prints."""

    def __init__(self, hosts: str) -> None:
        self._hosts = hosts
        self._program = self.build()

    @classmethod
    @abstractmethod
    def build(cls) -> Path:
        """Compile it. Returns the program. Raises ImportError when something that it needs is not installed."""

    def run(self, scenario: str, meter: Meter) -> None:
        self._become(scenario, meter.repetitions, meter.warm_up, SESSION_TIMEOUT)

    def idle(self, session_timeout: float) -> None:
        self._become("idle", 0, 0, session_timeout)

    def _become(self, scenario: str, repetitions: int, warm_up: int, session_timeout: float) -> None:
        constants = {
            "SMALL": SMALL,
            "LARGE": LARGE,
            "PARENT": PARENT,
            "WATCHED": WATCHED,
            "NEW": NEW,
            "BATCH": BATCH,
            "CHILDREN": CHILDREN,
            "WATCHES": WATCHES,
            "SMALL_SIZE": len(SMALL_DATA),
            "LARGE_SIZE": LARGE_SIZE,
        }
        arguments = [self._hosts, scenario, repetitions, warm_up, round(session_timeout * 1000)]
        environment = {**os.environ, **{name: str(value) for name, value in constants.items()}}
        os.execve(self._program, [str(self._program), *map(str, arguments)], environment)


def compiled(source: str, suffix: str, command: list[str], environment: dict[str, str] | None = None) -> Path:
    """The program that `command` compiles; it has "{}" for the source and for the program. Made once per source text.

    Raises ImportError with the compiler's message.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zkwire" / "benchmarks"
    program = cache / hashlib.sha256(f"{source}{command}".encode()).hexdigest()[:16]
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # First under another name, since a second run may compile the same program.
        text, made = cache / f"{program.name}-{os.getpid()}{suffix}", cache / f"{program.name}-{os.getpid()}"
        text.write_text(source)
        try:
            subprocess.run(
                [word.format(source=text, program=made) for word in command],
                env={**os.environ, **(environment or {})},
                check=True,
                capture_output=True,
                text=True,
            )
            made.rename(program)
        except subprocess.CalledProcessError as error:
            raise ImportError(f"{command[0]}: {error.stderr.strip()[-500:]}") from None
        finally:
            text.unlink()
    return program
