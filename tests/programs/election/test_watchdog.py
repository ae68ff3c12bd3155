"""The watchdog by itself: lines over its socket, and what happens to the processes below it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from election.clocks import boottime
from election.command import watchdog
from tests.support.commands import RUNAWAYS, STUBBORN, Fifo, python, shell, trapping
from tests.support.live import PATIENCE
from tests.support.processes import wait_until
from tests.support.program import Program

NEVER = float("inf")


class Watched(Program):
    """A watchdog with its command, and our end of the socket, as a runner has it. It prints to our streams."""

    def __init__(self, *command: str, preset: str = "") -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        start = [sys.executable, "-I", "-S", watchdog.__file__, str(theirs.fileno()), *command]
        if preset:
            start = ["sh", "-c", f'{preset}; exec "$@"', "sh", *start]
        super().__init__(
            start, stdin=None, stdout=None, stderr=None, pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        self._lines = self.socket.makefile("r")

    def say(self, line: str) -> None:
        self.socket.sendall(f"{line}\n".encode())

    def start(self, soft: float = NEVER, hard: float = NEVER) -> int:
        """Start the command under this lease; its pid."""
        self.say(f"lease {soft} {hard}")
        word, pid = self.hear()
        assert word == "started"
        return int(pid)

    def hear(self) -> list[str]:
        return self._lines.readline().split()

    def leave(self) -> None:
        """End as a runner does that is killed."""
        self._lines.close()
        self.socket.close()

    def close(self) -> None:
        try:
            self.leave()
            self.ends()
        finally:
            self.kill()


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """Starts a watchdog. At the end of the test its runner is gone, so it must end."""
    with ExitStack() as stack:

        def start(*command: str, preset: str = "") -> Watched:
            watched = Watched(*command, preset=preset)
            stack.callback(watched.close)
            return watched

        yield start


# --- starting, and the status


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", "0"), ("exit 7", "7"), ("kill -9 $$", "-9"), ("kill $$", "-15")]
)
def test_status_is_that_of_the_command(watch: Callable[..., Watched], script: str, status: str) -> None:
    watched = watch(*shell(script))
    watched.start()
    assert watched.hear() == ["ended", status, "itself"]
    assert watched.ends() == 0


def test_command_that_cannot_be_run_has_the_statuses_of_a_shell(
    watch: Callable[..., Watched], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    no_program = tmp_path / "text"
    no_program.write_text("no program")
    for command, status, text in (
        (str(tmp_path / "nothing"), "127", "command not found"),
        (str(no_program), "126", "Permission denied"),
    ):
        watched = watch(command)
        watched.start()
        assert watched.hear() == ["ended", status, "itself"]
        assert text in capfd.readouterr().err


def test_nothing_starts_without_a_lease(watch: Callable[..., Watched], tmp_path: Path) -> None:
    started = tmp_path / "started"
    without = watch("touch", str(started))
    without.leave()
    late = watch("touch", str(started))
    late.say(f"lease {boottime() - 1} {boottime() + 100}")
    assert late.hear() == ["ended", "-15", "deadline"]
    stopped = watch("touch", str(started))
    stopped.say("stop 100")
    assert stopped.hear() == ["ended", "-15", "stopped"]
    assert [each.ends() for each in (without, late, stopped)] == [0, 0, 0]
    assert not started.exists()


def test_command_is_in_a_group_of_its_own_and_the_watchdog_in_another_session(watch: Callable[..., Watched]) -> None:
    watched = watch("sleep", "1000")
    pid = watched.start()
    assert os.getpgid(pid) == pid
    assert os.getsid(pid) == os.getsid(watched.pid) == watched.pid != os.getsid(0)


def test_command_has_no_descriptor_of_the_watchdog(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(
        *shell("cd /proc/self/fd; for each in *; do readlink $each; done | sort -u >&9; echo end >&9", fifo)
    )
    watched.start()
    descriptors = set(iter(fifo.line, "end"))
    inherited = {os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)}
    others = {each for each in descriptors - inherited if not each.startswith(("pipe:", "/proc/", str(fifo.path)))}
    assert not others


@pytest.mark.parametrize(("preset", "ignored"), [("", 0), ("trap '' HUP INT", 1 << 0 | 1 << 1)])
def test_command_has_the_signal_dispositions_that_the_runner_was_started_with(
    watch: Callable[..., Watched], fifo: Fifo, preset: str, ignored: int
) -> None:
    # A pytest that was started in the background has SIGQUIT ignored, and so all that it starts.
    ours = int(
        next(line for line in Path("/proc/self/status").read_text().splitlines() if "SigIgn" in line).split()[1], 16
    )
    background = ours & 1 << 2
    c_library = 1 << 31 | 1 << 32  # signals 32 and 33 are its own, and no program's
    watched = watch(*shell("grep -E 'SigIgn|SigBlk' /proc/self/status >&9", fifo), preset=preset)
    watched.start()
    masks = {name: int(value, 16) for name, value in (fifo.line().split(":"), fifo.line().split(":"))}
    assert (masks["SigBlk"], masks["SigIgn"] & ~c_library) == (0, background | ignored)


# --- the deadlines


def test_command_is_asked_to_end_at_the_soft_deadline(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*shell(trapping("exit 5"), fifo))
    watched.start()
    assert fifo.line() == "ready"
    soft = boottime() + 0.5
    watched.say(f"lease {soft} inf")
    assert watched.hear() == ["ended", "5", "deadline"]
    assert boottime() >= soft
    assert fifo.nobody_is_left()


def test_command_that_ignores_term_is_killed_at_the_hard_deadline(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*shell(STUBBORN, fifo))
    watched.start()
    assert fifo.line() == "ready"
    hard = boottime() + 0.5
    watched.say(f"lease {hard - 0.2} {hard}")
    assert watched.hear() == ["ended", "-9", "deadline"]
    assert boottime() >= hard
    assert fifo.nobody_is_left()


def test_each_lease_replaces_the_last(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*shell(STUBBORN, fifo))
    watched.start()
    assert fifo.line() == "ready"
    now = boottime()
    # In one piece, so that a late watchdog has them all.
    watched.say(f"lease {now} {now}\nlease {now + 0.2} {now + 1}\nlease {now + 0.4} {now + 0.5}")
    assert watched.hear() == ["ended", "-9", "deadline"]
    assert boottime() >= now + 0.5


def test_deadline_is_one_of_boottime(watch: Callable[..., Watched]) -> None:
    watched = watch("sleep", "1000")
    watched.start(boottime() + 1000, boottime() + 1000)
    descriptors = Path(f"/proc/{watched.pid}/fdinfo")

    def timer() -> str:
        return next(text for file in descriptors.iterdir() if "clockid" in (text := file.read_text()))

    assert "clockid: 7\n" in timer()  # CLOCK_BOOTTIME
    assert wait_until(lambda: "it_value: (0, 0)" not in timer(), PATIENCE)


# --- stopping


def test_stop_gives_so_many_seconds(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*shell(STUBBORN, fifo))
    watched.start()
    fifo.line()
    now = boottime()
    watched.say("stop 0.5")
    assert watched.hear() == ["ended", "-9", "stopped"]
    assert boottime() >= now + 0.5


def test_stop_never_lasts_longer_than_the_lease(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*shell(STUBBORN, fifo))
    watched.start()
    fifo.line()
    watched.say(f"stop 1000\nlease {boottime() + 0.3} {boottime() + 0.5}")
    assert watched.hear() == ["ended", "-9", "stopped"]


def test_stopped_command_ends_by_itself_too(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(
        *shell("trap 'exit 6' TERM; echo ready >&9; kill -STOP $$; while :; do sleep 1000 & wait; done", fifo)
    )
    pid = watched.start()
    fifo.line()
    assert wait_until(lambda: "(stopped)" in Path(f"/proc/{pid}/status").read_text(), PATIENCE)
    watched.say("stop 1000")
    assert watched.hear() == ["ended", "6", "stopped"]


def test_stopped_command_is_killed(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*shell("echo ready >&9; kill -STOP $$", fifo))
    watched.start()
    fifo.line()
    watched.leave()
    fifo.wait_until_nobody_is_left()


def test_signals_go_to_the_command_alone_or_to_its_group(watch: Callable[..., Watched], fifo: Fifo) -> None:
    script = """
signal.signal(signal.SIGUSR1, lambda number, frame: say(f"{who} USR1"))
signal.signal(signal.SIGINT, lambda number, frame: say(f"{who} INT"))
read, write = os.pipe()
who = "child" if os.fork() == 0 else "parent"
say(who)
while True:
    signal.pause()
"""
    watched = watch(*python(script, fifo))
    watched.start()
    assert {fifo.line(), fifo.line()} == {"child", "parent"}
    watched.say(f"signal {signal.SIGUSR1:d}")
    assert fifo.line() == "parent USR1"
    watched.say(f"group {signal.SIGINT:d}")
    assert {fifo.line(), fifo.line()} == {"child INT", "parent INT"}


def test_signal_that_comes_before_the_command_runs_is_not_lost(watch: Callable[..., Watched]) -> None:
    for _ in range(10):
        watched = watch("sleep", "1000")
        watched.say(f"lease inf inf\ngroup {signal.SIGTERM:d}")
        assert watched.hear()[0] == "started"
        assert watched.hear() == ["ended", "-15", "itself"]


# --- nobody is left


def test_all_are_killed_when_the_runner_is_gone(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*shell(f"({STUBBORN}) & ({STUBBORN}) & {STUBBORN}", fifo))
    watched.start()
    assert [fifo.line() for _ in range(3)] == ["ready"] * 3
    watched.leave()
    fifo.wait_until_nobody_is_left()
    assert watched.ends() == 0


@pytest.mark.parametrize("order", ["stop 0.1", ""])
def test_descendants_that_left_the_group_are_killed(watch: Callable[..., Watched], fifo: Fifo, order: str) -> None:
    watched = watch(*python(RUNAWAYS + "signal.pause()", fifo))
    watched.start()
    assert {fifo.line(), fifo.line()} == {"daemon", "runaway"}
    if order:
        watched.say(order)
        assert watched.hear() == ["ended", "-9", "stopped"]
        assert fifo.nobody_is_left()
    else:
        watched.leave()
        fifo.wait_until_nobody_is_left()


def test_processes_that_a_command_leaves_are_ended_before_its_end_is_reported(
    watch: Callable[..., Watched], fifo: Fifo
) -> None:
    script = """
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda number, frame: (say("asked"), os._exit(0)))
    say("ready")
    while True:
        signal.pause()
sys.stdin.read(0)
while not go:
    signal.pause()
os._exit(3)
"""
    prelude = "go = []\nsignal.signal(signal.SIGUSR1, lambda number, frame: go.append(1))\n"
    watched = watch(*python(prelude + script, fifo))
    watched.start()
    assert fifo.line() == "ready"
    watched.say(f"signal {signal.SIGUSR1:d}")
    assert watched.hear() == ["ended", "3", "itself"]
    assert fifo.line() == "asked"
    assert fifo.nobody_is_left()


@pytest.mark.parametrize("stubborn", [False, True])
def test_command_that_goes_into_the_background_is_reported_and_ended(
    watch: Callable[..., Watched], fifo: Fifo, stubborn: bool
) -> None:
    watched = watch(*shell(f"({STUBBORN}) & exit 0" if stubborn else "echo ready >&9; sleep 1000 & exit 0", fifo))
    watched.start()
    assert fifo.line() == "ready"
    assert watched.hear() == ["ended", "0", "background"]
    assert fifo.nobody_is_left()


def test_daemon_by_the_book_is_in_the_background(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*python(RUNAWAYS, fifo))
    watched.start()
    assert watched.hear() == ["ended", "0", "background"]
    assert {fifo.line(), fifo.line()} == {"daemon", "runaway"}
    assert fifo.nobody_is_left()


def test_last_child_of_a_command_may_end_by_itself(watch: Callable[..., Watched], fifo: Fifo) -> None:
    """A child like tee in `CMD > >(tee log)`: it is not asked to end before it has read everything."""
    script = "trap 'echo asked >&9' TERM; exec 3<&0; (read line <&3; echo read >&9) & exit 0"
    watched = watch(*shell(f"({script}) </dev/null", fifo))
    watched.start()
    assert watched.hear() == ["ended", "0", "itself"]
    assert fifo.line() == "read"
    assert fifo.nobody_is_left()


def test_end_of_the_lease_while_the_last_children_end_changes_nothing(
    watch: Callable[..., Watched], fifo: Fifo
) -> None:
    watched = watch(*shell("echo ready >&9; sleep 1000 & exit 0", fifo))
    pid = watched.start()
    assert fifo.line() == "ready"
    assert wait_until(lambda: "(zombie)" in Path(f"/proc/{pid}/status").read_text(), PATIENCE)
    now = boottime()
    watched.say(f"lease {now} {now + 100}\nstop 100")
    assert watched.hear() == ["ended", "0", "background"]


def test_processes_that_ignore_term_after_their_command_are_killed_while_its_pid_is_kept(
    watch: Callable[..., Watched], fifo: Fifo
) -> None:
    watched = watch(*python(RUNAWAYS + "signal.sigwait([signal.SIGUSR2])", fifo))
    pid = watched.start()
    assert {fifo.line(), fifo.line()} == {"daemon", "runaway"}
    watched.say(f"signal {signal.SIGKILL:d}")
    status = Path(f"/proc/{pid}/status")  # which goes with the number
    assert wait_until(lambda: "(zombie)" in status.read_text(), PATIENCE)
    assert watched.hear() == ["ended", "-9", "itself"]
    assert fifo.nobody_is_left()
    assert not status.exists()


def test_stop_of_a_shell_leaves_its_child_the_whole_time(watch: Callable[..., Watched], fifo: Fifo) -> None:
    script = """
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda number, frame: say("asked"))
    say("ready")
    while True:
        signal.pause()
signal.pause()
"""
    now = boottime()
    watched = watch(*python(script, fifo))
    watched.start()
    assert fifo.line() == "ready"
    watched.say(f"stop {watchdog.LEFTOVERS + 0.5}")
    assert watched.hear() == ["ended", "-15", "stopped"]
    assert boottime() >= now + watchdog.LEFTOVERS + 0.5
    assert fifo.line() == "asked"


def test_nobody_escapes_by_forking(watch: Callable[..., Watched], fifo: Fifo) -> None:
    """A chain: each process starts the next one, in a group of its own, and ends."""
    script = """
say("ready")
while True:
    if os.fork():
        os._exit(0)
    os.setpgid(0, 0)
"""
    keeps = "if os.fork():\n    signal.pause()\n"
    watched = watch(*python(keeps + script, fifo))
    watched.start()
    fifo.line()
    watched.leave()
    fifo.wait_until_nobody_is_left()


# --- the watchdog's own end


def test_command_dies_with_its_watchdog(watch: Callable[..., Watched], fifo: Fifo) -> None:
    watched = watch(*shell("echo ready >&9; trap '' TERM HUP; exec sleep 1000", fifo))
    watched.start()
    fifo.line()
    watched.send(signal.SIGKILL)
    fifo.wait_until_nobody_is_left()
    assert watched.hear() == []  # by which the runner knows


def test_watchdog_ignores_signals_that_a_service_manager_sends_to_all(watch: Callable[..., Watched]) -> None:
    watched = watch("sleep", "1000")
    watched.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        watched.send(number)
    watched.say(f"signal {signal.SIGKILL:d}")
    assert watched.hear() == ["ended", "-9", "itself"]


def test_watchdog_imports_next_to_nothing() -> None:
    script = f"import sys, runpy; runpy.run_path({watchdog.__file__!r}); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert not {"trio", "socket", "subprocess", "threading", "election", "zkwire"} & set(shown.stdout.split())
