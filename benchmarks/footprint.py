"""What a client costs before it does anything: import, memory, threads, wake-ups. Each runs in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: Row of the table: what it imports.
IMPORTS = {
    "nothing": "pass",
    "zkwire's core": "import zkwire.session.session",
    "zkwire": "import zkwire; zkwire.connect",
    "kazoo": "import kazoo.client",
    "aiozk": "import aiozk",
}

# CPU time of the import, which other load does not change, and what Linux reports about the process afterwards.
_IMPORTER = """
import time
before = time.process_time()
{statement}
seconds = time.process_time() - before
import json, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
loaded = [name for name in ("trio", "ssl", "construct") if name in sys.modules]
print(json.dumps([seconds * 1e3, int(status["VmRSS"].split()[0]) / 1024, loaded]))
"""


class Imported(NamedTuple):
    milliseconds: float  # of CPU, the least of all imports
    megabytes: float  # resident
    loaded: list[str]  # which of trio, ssl and construct came along


class Idle(NamedTuple):
    """One idle session. Wake-ups are voluntary context switches of all threads, per third of the session timeout: the
    interval at which a client pings."""

    megabytes: float
    threads: int
    wakeups: float


def imported(name: str, times: int) -> Imported:
    """Import in a new process, several times, with compiled bytecode, as an installed package has it.

    Raises:
        ImportError: the package is not installed.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="zkwire-benchmark-") as bytecode:
        # In a directory of its own: a work tree may have no bytecode, or an old one.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(times + 1):
            process = subprocess.run(
                [sys.executable, "-c", _IMPORTER.format(statement=IMPORTS[name])],
                env=environment,
                capture_output=True,
                text=True,
            )
            if process.returncode:
                raise ImportError(process.stderr.strip().splitlines()[-1])
            found.append(Imported(*json.loads(process.stdout)))
    return min(found)


#: Row of the table: what runs, from the start of its process to its end.
COMMANDS = {
    "python -c 'import trio, construct'": ["-c", "import trio, construct"],
    "zkwire ls /": ["-m", "zkwire", "ls", "/"],
    "zkwire explain": ["-m", "zkwire", "explain", "00000008fffffffe0000000b"],
    "zkwire describe": ["-m", "zkwire", "describe", "getData"],
}


def cold(times: int) -> dict[str, float]:
    """The milliseconds that each command takes: the least of all its runs. $ZKWIRE_HOSTS names a server."""
    least = dict.fromkeys(COMMANDS, float("inf"))
    with tempfile.TemporaryDirectory(prefix="zkwire-benchmark-") as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(times + 1):
            for name, arguments in COMMANDS.items():
                began = time.perf_counter()
                subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
                least[name] = min(least[name], (time.perf_counter() - began) * 1e3)
    return least


def idle(names: Sequence[str], session_timeout: float, intervals: int) -> dict[str, Idle]:
    """Measure one idle session of each client, all at the same time: idle ones do not disturb each other.

    Raises:
        ChildProcessError: one of them did not get a session.
    """
    interval = session_timeout / 3
    command = [sys.executable, "-m", "benchmarks.peer"]
    processes = {
        name: subprocess.Popen([*command, name, "idle", str(session_timeout)], stdout=subprocess.PIPE, text=True)
        for name in names
    }
    try:
        for name, process in processes.items():
            assert process.stdout is not None
            if process.stdout.readline() != "idle\n":
                raise ChildProcessError(f"{name} has no session")
        time.sleep(interval)  # work that is left from connecting ends meanwhile
        before = {name: _switches(process.pid) for name, process in processes.items()}
        began = time.monotonic()
        time.sleep(interval * intervals)
        passed = (time.monotonic() - began) / interval
        return {
            name: Idle(
                int(_status(Path(f"/proc/{process.pid}"), "VmRSS")) / 1024,
                int(_status(Path(f"/proc/{process.pid}"), "Threads")),
                (_switches(process.pid) - before[name]) / passed,
            )
            for name, process in processes.items()
        }
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def _switches(pid: int) -> int:
    return sum(int(_status(task, "voluntary_ctxt_switches")) for task in Path(f"/proc/{pid}/task").iterdir())


def _status(process: Path, field: str) -> str:
    lines = (process / "status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(field + ":"))
