"""The runner as a process, with its watchdog and its command. The test decides when it leads and when it loses that.

tests/programs/election/test_verbs.py shows the same with the leases of a real server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from election.clocks import boottime
from election.command import watchdog
from tests.support.commands import RUNAWAYS, STUBBORN, Fifo, python, shell, trapping
from tests.support.live import PATIENCE
from tests.support.processes import wait_until
from tests.support.program import Program, module
from tests.support.runner_process import GRACE, LEASE


class Running(Program):
    """A runner process."""

    def __init__(self, directory: Path, *command: str, on_lost: str = "exit", kill_after: float = 30) -> None:
        self._control = directory / "control"
        self._leases = directory / "leases"
        os.mkfifo(self._control)
        options = [str(self._control), str(self._leases), on_lost, str(kill_after)]
        super().__init__(module("tests.support.runner_process", *options, *command))

    def tell(self, order: str) -> None:
        with self._control.open("w") as control:
            control.write(f"{order}\n")

    def hear(self, event: str) -> dict[str, str]:
        """Wait for what it reports; the details."""
        _, *details = self.next(f"^{event}\\b").split()
        return dict(detail.partition("=")[::2] for detail in details)

    def lease_end(self) -> float:
        """The end of the last lease that its watchdog may know."""
        return float(self._leases.read_text().splitlines()[-1])

    def watchdog(self) -> int:
        """The pid of its watchdog."""
        (pid,) = self.children()
        return pid

    def children(self) -> list[int]:
        threads = Path(f"/proc/{self.pid}/task")
        return [int(pid) for thread in threads.iterdir() for pid in (thread / "children").read_text().split()]

    def kill(self) -> None:
        for pid in self.children() if self.is_alive else []:
            os.kill(pid, signal.SIGCONT)  # a watchdog that was stopped is to see the end of its runner
        super().kill()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    with ExitStack() as stack:

        def start(*command: str, **options: Any) -> Running:
            running = Running(tmp_path, *command, **options)
            stack.callback(running.kill)
            return running

        yield start


#: Two processes write the time to a file, from when they say that they are ready to their end. The sleep is theirs.
STAMPING = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
stamps = os.open({stamps!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.fork()
say("ready")
while True:
    os.write(stamps, b"%.6f\\n" % time.clock_gettime(time.CLOCK_BOOTTIME))
    time.sleep(0.0005)
"""


def last_stamp(stamps: Path) -> float:
    return max(map(float, stamps.read_text().split()))


# --- the end of the command


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("nothing", 127)])
def test_status_of_the_command_is_passed_on(run: Callable[..., Running], script: str, status: int) -> None:
    running = run(*shell(script))
    running.hear("released")
    assert running.ends() == status


def test_command_has_its_own_environment_beside_ours(run: Callable[..., Running], fifo: Fifo) -> None:
    run(*shell('echo "$ELECTION_NODE $HOME" >&9', fifo))
    assert fifo.line() == f"/stand-in/n-1 {os.environ.get('HOME', '')}"


def test_leadership_is_released_when_all_of_the_command_has_ended(run: Callable[..., Running], fifo: Fifo) -> None:
    running = run(*python(RUNAWAYS + "signal.sigwait([signal.SIGUSR1])", fifo))
    assert {fifo.line(), fifo.line()} == {"daemon", "runaway"}
    running.send(signal.SIGUSR1)
    running.hear("released")
    assert fifo.nobody_is_left()
    assert running.ends() == 128 + signal.SIGUSR1


# --- leadership is lost


def test_command_that_ends_when_asked_does_so_while_nobody_else_can_lead(
    run: Callable[..., Running], fifo: Fifo
) -> None:
    running = run(*shell(trapping("echo asked >&9; exit 5"), fifo))
    assert fifo.line() == "ready"
    running.tell("lose")
    assert fifo.line() == "asked"
    running.hear("released")
    assert fifo.nobody_is_left()
    assert "reason" in running.hear("lost")
    assert running.ends() == 3


@pytest.mark.rule("L11", "L13")
@pytest.mark.parametrize("order", ["lose", "stall"])
def test_command_that_ignores_everything_is_dead_before_the_lease_ends(
    run: Callable[..., Running], fifo: Fifo, tmp_path: Path, order: str
) -> None:
    stamps = tmp_path / "stamps"
    running = run(*python(STAMPING.format(stamps=str(stamps)), fifo))
    assert (fifo.line(), fifo.line()) == ("ready", "ready")
    running.tell(order)
    running.hear("released")
    assert fifo.nobody_is_left()
    assert last_stamp(stamps) < running.lease_end()
    assert running.ends() == 3


def test_after_a_loss_it_leads_again_with_a_new_command(run: Callable[..., Running], fifo: Fifo) -> None:
    running = run(*shell("echo $ELECTION_NODE >&9; exec sleep 1000", fifo), on_lost="retry")
    assert fifo.line() == "/stand-in/n-1"
    running.tell("lose")
    running.hear("lost")
    assert fifo.nobody_is_left()
    running.tell("win")
    assert fifo.line() == "/stand-in/n-2"
    running.send(signal.SIGTERM)
    assert running.ends() == 128 + signal.SIGTERM


def test_command_that_ended_by_itself_is_not_run_again(run: Callable[..., Running], fifo: Fifo, tmp_path: Path) -> None:
    """Also when leadership is lost before the runner hears of it: the command has done its work."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    running = run(*shell(f"echo ready >&9; read line <{gate}; exit 4", fifo), on_lost="retry")
    fifo.line()
    running.send(signal.SIGSTOP)
    gate.write_text("go on\n")
    fifo.wait_until_nobody_is_left()
    assert wait_until(lambda: boottime() > running.lease_end(), PATIENCE)
    running.send(signal.SIGCONT)
    assert running.ends() == 4


# --- the runner is stopped, or killed


@pytest.mark.rule("L13")
def test_command_of_a_stopped_runner_is_dead_before_the_lease_ends(
    run: Callable[..., Running], fifo: Fifo, tmp_path: Path
) -> None:
    stamps = tmp_path / "stamps"
    running = run(*python(STAMPING.format(stamps=str(stamps)), fifo))
    assert (fifo.line(), fifo.line()) == ("ready", "ready")
    running.send(signal.SIGSTOP)
    fifo.wait_until_nobody_is_left()
    end = running.lease_end()
    assert end - GRACE < last_stamp(stamps) < end
    running.send(signal.SIGCONT)
    running.hear("released")
    assert "reason" in running.hear("lost")
    assert running.ends() == 3


def test_command_of_a_stopped_runner_is_asked_to_end_first(run: Callable[..., Running], fifo: Fifo) -> None:
    running = run(*shell(trapping("echo asked >&9; exit 5"), fifo))
    fifo.line()
    running.send(signal.SIGSTOP)
    assert fifo.line() == "asked"
    fifo.wait_until_nobody_is_left()


def test_command_of_a_killed_runner_is_killed_at_once(run: Callable[..., Running], fifo: Fifo, tmp_path: Path) -> None:
    stamps = tmp_path / "stamps"
    running = run(*python(STAMPING.format(stamps=str(stamps)), fifo))
    assert (fifo.line(), fifo.line()) == ("ready", "ready")
    running.send(signal.SIGKILL)
    fifo.wait_until_nobody_is_left()
    assert last_stamp(stamps) < running.lease_end()


# --- the watchdog is killed, or stopped


@pytest.mark.parametrize("what", [STUBBORN, RUNAWAYS])
def test_command_dies_with_a_watchdog_that_is_killed(run: Callable[..., Running], fifo: Fifo, what: str) -> None:
    running = run(*(shell(what, fifo) if what == STUBBORN else python(what + "say('ready')\nsignal.pause()", fifo)))
    while fifo.line() != "ready":
        pass
    os.kill(running.watchdog(), signal.SIGKILL)
    running.hear("released")
    assert fifo.nobody_is_left()
    assert running.ends() == 128 + signal.SIGKILL


def test_runner_acts_for_a_watchdog_that_is_stopped(run: Callable[..., Running], fifo: Fifo, tmp_path: Path) -> None:
    stamps = tmp_path / "stamps"
    running = run(*python(STAMPING.format(stamps=str(stamps)), fifo))
    assert (fifo.line(), fifo.line()) == ("ready", "ready")
    os.kill(running.watchdog(), signal.SIGSTOP)
    running.tell("stall")
    running.hear("released")
    assert fifo.nobody_is_left()
    assert last_stamp(stamps) < running.lease_end()
    assert running.ends() == 3


# --- signals


@pytest.mark.rule("R6")
def test_term_asks_the_command_to_end_then_kills_it_then_releases(run: Callable[..., Running], fifo: Fifo) -> None:
    running = run(
        *python(
            "signal.signal(signal.SIGTERM, lambda number, frame: say('asked'))\nos.fork()\nsay('ready')\n"
            "while True:\n    signal.pause()",
            fifo,
        ),
        kill_after=LEASE + 0.5,  # longer than one lease: it is renewed meanwhile
    )
    assert (fifo.line(), fifo.line()) == ("ready", "ready")
    asked = boottime()
    running.send(signal.SIGTERM)
    assert (fifo.line(), fifo.line()) == ("asked", "asked")
    running.hear("released")
    assert fifo.nobody_is_left()
    assert boottime() - asked >= LEASE + 0.5
    assert running.ends() == 128 + signal.SIGKILL


def test_each_signal_goes_to_the_command_and_some_to_its_group(run: Callable[..., Running], fifo: Fifo) -> None:
    script = """
numbers = signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # so that none comes between two looks
who = "child " if os.fork() == 0 else "parent "
say("ready")
while True:
    say(who + signal.Signals(signal.sigwait(numbers)).name)
"""
    running = run(*python(script, fifo))
    assert (fifo.line(), fifo.line()) == ("ready", "ready")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        running.send(number)
        assert fifo.line() == f"parent {number.name}"
    for number in (signal.SIGINT, signal.SIGQUIT):
        running.send(number)
        assert {fifo.line(), fifo.line()} == {f"parent {number.name}", f"child {number.name}"}
    running.send(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_while_waiting_ends_the_waiting(run: Callable[..., Running], fifo: Fifo, number: signal.Signals) -> None:
    running = run(*shell("echo ready >&9; exec sleep 1000", fifo), on_lost="retry")
    fifo.line()
    running.tell("lose")
    running.hear("lost")
    running.send(number)
    assert running.ends() == 128 + number


def test_signal_that_was_ignored_at_the_start_stays_ignored(run: Callable[..., Running], fifo: Fifo) -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = run(*shell("echo ready >&9; exec sleep 1000", fifo))
    finally:
        signal.signal(signal.SIGHUP, old)
    fifo.line()
    running.send(signal.SIGHUP)
    running.send(signal.SIGUSR2)
    assert running.ends() == 128 + signal.SIGUSR2


def test_stopped_runner_that_resumes_in_time_has_lost_nothing(run: Callable[..., Running], fifo: Fifo) -> None:
    running = run(*shell(trapping("echo here >&9", "USR1"), fifo))
    fifo.line()
    running.stop()
    running.send(signal.SIGCONT)
    running.send(signal.SIGUSR1)
    assert fifo.line() == "here"


# --- other systems

#: Makes this Python look like that of another system: changes its name, and removes the functions that the other system
#: lacks. The standard library and trio were imported before that, so their own choices stay.
PRETEND = """
import argparse, ctypes, faulthandler, json, os, select, shutil, signal, subprocess, sys, tempfile, time, uuid
import trio, zkwire.client, zkwire.explain.dump

def refuse(*_, **__):
    raise OSError("there is no C library by that name here")

missing = {
    "darwin": {time: ["CLOCK_BOOTTIME"], os: ["pipe2"]},
    "win32": {
        time: ["CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "clock_gettime"],
        os: ["pipe2", "fork", "killpg", "getpgid", "setpgid", "waitid", "P_PID", "WNOHANG"],
        select: ["poll"],
        signal: ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGCHLD", "SIGCONT", "SIGXFSZ", "SIGPIPE",
                 "pthread_sigmask"],
    },
}
sys.platform = sys.argv[1]
for module, names in missing[sys.platform].items():
    for name in names:
        delattr(module, name)
ctypes.CDLL = refuse

import election, election.command.verbs, election.command.demo, election.command.runner, election.command.watchdog
for arguments in (
    ["run", "/a", "--", "no-such-command"],
    ["register", "/a", "b", "--", "true"],
    ["register", "/a", "b"],
    ["leader", "/a"],
):
    print(election.command.verbs.main([*arguments[:1], "--hosts=127.0.0.1:1", "--session-timeout=0.3", *arguments[1:]]))
"""


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_on_other_systems_than_linux_a_command_is_refused_in_one_line_and_all_else_works(platform: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRETEND, platform], capture_output=True, text=True, check=False, timeout=60
    )
    refused = (
        "-- CMD needs Linux: a command is watched with prctl, timerfd and /proc, which only Linux has, and this is"
    )
    lines = done.stderr.splitlines()
    assert lines[:2] == [f"election: run {refused} {platform}", f"election: register {refused} {platform}"]
    assert [line.startswith("election: no session within ") for line in lines[2:]] == [True, True]
    assert done.stdout.split() == ["1", "1", "2", "2"]


def test_linux_without_proc_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watchdog.why_not_here() is None
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert "is /proc mounted?" in (watchdog.why_not_here() or "")
