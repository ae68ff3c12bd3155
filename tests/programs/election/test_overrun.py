"""The hard deadline: a thread that acts when the body still runs at the end of its lease."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from election.clocks import boottime
from election.leader.overrun import STATUS, HardDeadline, OverrunError
from tests.support.processes import wait_until
from tests.support.program import PATIENCE, Program

#: Seconds until a test gives up.
#: A body that ignores its cancellation, in a process of its own: {body} runs, {action} is what is to be done about it.
PROGRAM = """
import threading, time, trio
from election.clocks import boottime
from election.leader.overrun import HardDeadline
overrun = HardDeadline("the leader of /path", {action!r}, boottime, 0.05)
overrun.end = boottime() + 0.2
overrun.start()
{body}
print("went on")
"""
BUSY = "deadline = time.monotonic() + 20\nwhile time.monotonic() < deadline: pass"
CAUGHT = """
try:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline: pass
except BaseException as error:
    print(type(error).__name__)
"""
SHIELDED = """
async def body():
    with trio.CancelScope(shield=True):
        await trio.sleep(20)
trio.run(body)
"""


def run(body: str, action: str = "exit") -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(body=body, action=action)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.rule("L12")
@pytest.mark.parametrize("body", [BUSY, SHIELDED, "threading.Event().wait(20)"])
def test_process_of_a_body_that_does_not_finish_is_ended(body: str) -> None:
    ended = run(body)
    assert (ended.returncode, ended.stdout) == (STATUS, "")
    assert "the leader of /path: the body still runs at the end of its lease" in ended.stderr
    assert '  File "<string>"' in ended.stderr  # where it was


@pytest.mark.rule("L12")
def test_busy_body_gets_an_exception_when_that_is_asked_for() -> None:
    ended = run(CAUGHT, action="raise")
    assert (ended.returncode, ended.stdout) == (0, "OverrunError\nwent on\n")


def test_exception_of_an_overrun_is_not_caught_by_except_exception() -> None:
    assert not issubclass(OverrunError, Exception)


class Acted:
    def __init__(self) -> None:
        self.event = threading.Event()
        self.thread = ""

    def __call__(self) -> None:
        self.thread = threading.current_thread().name
        self.event.set()


def test_function_is_called_from_another_thread() -> None:
    acted = Acted()
    overrun = HardDeadline("the leader of /path", acted, boottime, 0.01)
    overrun.end = boottime()
    overrun.start()
    assert acted.event.wait(PATIENCE)
    assert acted.thread == "overrun of the leader of /path"


def test_nothing_happens_after_the_body_has_finished_or_while_the_lease_is_renewed() -> None:
    now = [0.0]
    acted = Acted()
    overrun = HardDeadline("the leader of /path", acted, lambda: now[0], 0.001)
    overrun.end = 10.0
    overrun.start()
    for _ in range(20):
        now[0] += 5.0
        overrun.end = now[0] + 10.0
        assert not acted.event.wait(0.005)
    overrun.stop()
    now[0] += 100.0
    assert not acted.event.wait(0.05)
    now[0] -= 100.0


@pytest.mark.rule("L4")
def test_time_that_passes_in_a_suspend_counts() -> None:
    """The thread waits by a clock that does not run meanwhile, so it looks at the other one again and again."""
    now = [0.0]
    acted = Acted()
    overrun = HardDeadline("the leader of /path", acted, lambda: now[0], 0.001)
    overrun.end = 3600.0
    overrun.start()
    assert not acted.event.wait(0.05)
    now[0] = 3600.0
    assert acted.event.wait(PATIENCE)


@pytest.mark.rule("L12", "L13")
@pytest.mark.parametrize("finishes", [True, False])
def test_body_of_a_stopped_process_may_still_finish_when_it_resumes(finishes: bool) -> None:
    watched = f"""
import os, signal
def finish(*_):
    if {finishes}: overrun.stop(); print("finished", flush=True); raise SystemExit
signal.signal(signal.SIGCONT, finish)
print(overrun.end, flush=True)
os.kill(os.getpid(), signal.SIGSTOP)  # itself: a test on a busy machine might come too late
while True: signal.pause()
"""
    program = PROGRAM.format(body=watched, action="exit").replace("0.2", "2.0")
    with Program([sys.executable, "-c", program], apart=True) as process:
        end = float(process.next())
        assert wait_until(lambda: boottime() > end + 3, PATIENCE)
        process.send(signal.SIGCONT)
        assert process.result()[:2] == ((0, "finished\n") if finishes else (STATUS, ""))


def test_ignored_overrun_has_no_thread() -> None:
    threads = threading.active_count()
    overrun = HardDeadline("the leader of /path", "ignore", boottime, 0.01)
    overrun.end = 0.0
    overrun.start()
    assert threading.active_count() == threads
    overrun.stop()
