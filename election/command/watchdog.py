"""The process between `election run` and its command. It ends the command when the lease ends.

    runner  ──lines over a socket──  watchdog  ──parent of──  CMD, in a process group of its own

The runner may be stopped (SIGSTOP), killed (SIGKILL) or busy; this process acts nevertheless. It is a script, run by
`python -I -S`, so that it starts in 20 ms and shares no event loop, thread or lock with the runner.

    from the runner   lease SOFT HARD   end CMD at SOFT, kill it at HARD; seconds of CLOCK_BOOTTIME, "inf" for never.
                                        The first one starts CMD; each one replaces the last.
                      signal N          to CMD alone
                      group N           to its process group
                      stop SECONDS      end CMD now, kill it SECONDS later, or at HARD
                      (end of stream)   the runner is gone: kill CMD now
    to the runner     started PID
                      ended STATUS WHY  nothing of CMD runs any more. STATUS is its exit status; -N if signal N ended
                                        it; -15 if it was never started. WHY is "itself", "background" (by itself, with
                                        status 0, but something of it ran on, and was ended here), "stopped", "deadline"
                                        (of the lease) or "orphaned" (the runner is gone).

"End" means SIGTERM, and then SIGCONT, without which a stopped process would not act on it. "Kill" means SIGKILL, which
ends a stopped process too. Each goes to the process group, and to those processes of CMD that have left the group.

Why this process is CMD's parent: as soon as a process has been waited for, the kernel may give its pid, and so the
number of its group, to another process. Only the parent can wait, and this one waits only when nothing is left to be
killed. A parent's death can also end CMD (PR_SET_PDEATHSIG): that is how CMD ends when its watchdog is killed.

Why it is a subreaper: a process that CMD has started becomes our child when it loses its parent, in whatever group or
session it is, even a daemon. So "nothing of CMD runs any more" is not a guess: the kernel says that we have no child.

What it cannot do: end a process that its user may not signal (sudo CMD); act while it is stopped itself (the runner
acts then); find CMD's descendants if it and the runner are killed at the same moment (CMD itself dies then).

It works on Linux only: prctl, timerfd and /proc/PID/task/PID/children exist only there.
"""

from __future__ import annotations

# Few and small modules: this process starts at the moment of a takeover.
import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells have them
#: Seconds between "end" and "kill" for processes that run after CMD has ended.
LEFTOVERS = 2.0
#: Seconds for the children of CMD to end by themselves after CMD has ended with status 0, such as one that reads its
#: output to the end. A child that still runs then was put into the background.
STRAGGLERS = 0.5
#: Seconds between two looks for processes to kill: no signal says that there are new ones.
LOOK_AGAIN = 0.05

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_TFD_TIMER_ABSTIME = 1  # <sys/timerfd.h>

if sys.platform == "linux":  # on other systems this module can only be imported: see `why_not_here`
    #: This process ignores these. They may be sent to a whole control group, for example when systemd stops a service.
    _NOT_FOR_US = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]
    _libc = ctypes.CDLL(None, use_errno=True)


def why_not_here() -> str | None:
    """Why no command can be run under a watchdog on this system, in one line; None if it can."""
    if sys.platform != "linux":
        return f"a command is watched with prctl, timerfd and /proc, which only Linux has, and this is {sys.platform}"
    if not os.path.exists("/proc/thread-self/children"):
        return "a command is watched with /proc/thread-self/children, which is not there: is /proc mounted?"
    return None


def become_subreaper() -> None:
    """From now on a descendant whose parent ends becomes a child of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent's thread ends. A setuid program does not inherit that."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def children() -> list[int]:
    """The pids of our children, also of those that have ended and were not waited for.

    The kernel may leave one out while another ends. Only `has_children` says whether there is none.
    """
    pids: list[int] = []
    for thread in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError), open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
            pids += map(int, file.read().split())
    return pids


def has_children() -> bool:
    """Whether we have any child that was not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def send(pid: int, number: int, group: bool = False) -> None:
    """Send a signal to a child that was not waited for, or to its process group."""
    with suppress(ProcessLookupError, PermissionError):  # it may have left its group, or have another user now
        (os.killpg if group else os.kill)(pid, number)


class Watchdog:
    """The watchdog of one command: see the head of this file."""

    def __init__(self, channel: int, command: list[str]) -> None:
        """`channel` is the file descriptor of the socket to the runner."""
        self._channel = channel
        self._command = command
        self._received = b""
        self._soft = self._hard = -1.0  # of the last lease; CMD is not started before there is one
        self._kill_at = float("inf")  # when to kill after a `stop`
        self._cmd = 0  # CMD's pid
        self._status: int | None = None  # CMD's, when it has ended
        self._why = ""  # set as soon as CMD is to end, or has ended
        self._background_at = float("inf")  # a child of CMD that runs at that time runs in the background
        self._killed = False
        self._waited = False  # CMD has been waited for: its pid is no longer its own
        self._others: list[int] = []  # other children: descendants of CMD that have lost their parents

    def run(self) -> None:
        """Run CMD, and return when nothing of it is left."""
        os.set_inheritable(self._channel, False)  # if CMD had it too, the runner would not notice our end
        os.set_blocking(self._channel, False)
        become_subreaper()
        self._dispositions = {number: signal.getsignal(number) for number in _NOT_FOR_US}
        for number in _NOT_FOR_US:
            signal.signal(number, signal.SIG_IGN)
        woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        timer = _BootTimer()
        poll = select.poll()
        for descriptor in (self._channel, woken, timer.descriptor):
            poll.register(descriptor, select.POLLIN)
        while not self._is_over():
            timer.set(self._next_time())
            for descriptor, _ in poll.poll(LOOK_AGAIN * 1000 if self._killed else None):
                if descriptor == woken:
                    os.read(woken, 4096)
                elif descriptor == self._channel and not self._listen():
                    poll.unregister(self._channel)
            self._wait_for_children()
            self._act_in_time()
        self._say(f"ended {-signal.SIGTERM if self._status is None else self._status} {self._why}")

    # --- the runner

    def _listen(self) -> bool:
        """Read from the runner and act on it. Returns False at the end of the stream."""
        try:
            data = os.read(self._channel, 65536)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            word, *values = line.decode().split()
            self._obey(word, [float(value) for value in values])
        if not data:
            self._why = self._why or "orphaned"
            self._kill()
        return bool(data)

    def _obey(self, word: str, values: list[float]) -> None:
        if word == "lease":
            self._soft, self._hard = values
            if not self._cmd and not self._why and _now() < self._soft:
                self._start()
        elif word == "stop":
            self._end(_now() + values[0], "stopped")
        elif self._cmd and not self._waited:
            send(self._cmd, int(values[0]), group=word == "group")

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # `_listen` notices the end of the stream
            os.write(self._channel, f"{line}\n".encode())

    # --- time

    def _next_time(self) -> float:
        """When to act if nothing else happens before."""
        if self._killed:
            return float("inf")
        if self._why:
            return min(self._kill_at, self._hard, self._background_at)
        return self._soft

    def _act_in_time(self) -> None:
        now = _now()
        if 0 <= self._soft <= now:
            self._end(float("inf"), "deadline")
        if now >= self._background_at:
            self._background_at = float("inf")
            self._why = ""
            self._end(now + LEFTOVERS, "background")
        if self._why and now >= min(self._kill_at, self._hard):
            self._kill()
        elif self._killed:
            self._kill()  # those that have become our children since

    # --- CMD

    def _start(self) -> None:
        # A signal that comes before CMD has its own handlers would be lost. A blocked signal waits for them.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_US)
        ourselves = os.getpid()
        try:
            self._cmd = os.fork()
        except OSError as error:
            self._status, self._why, self._waited = NOT_EXECUTABLE, "itself", True
            _complain(f"cannot start {self._command[0]}: {error.strerror}")
            return
        if self._cmd == 0:
            try:
                self._become_cmd(ourselves, old)
            finally:
                os._exit(NOT_EXECUTABLE)
        # CMD does this too, so that it is done before either of us needs it. An error means that CMD was first.
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(self._cmd, self._cmd)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
        self._say(f"started {self._cmd}")

    def _become_cmd(self, parent: int, mask: set[int | signal.Signals]) -> None:
        """In the new process: everything up to exec."""
        os.setpgid(0, 0)
        die_with_parent()
        if os.getppid() != parent:
            return  # it had died before PR_SET_PDEATHSIG was set
        for number, disposition in self._dispositions.items():
            # CMD ignores the signals that the runner was started to ignore (nohup, or & in a script).
            signal.signal(number, signal.SIG_IGN if disposition is signal.SIG_IGN else signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores this one and the next
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            os.execvp(self._command[0], self._command)
        except FileNotFoundError:
            _complain(f"{self._command[0]}: command not found")
            os._exit(NOT_FOUND)
        except OSError as error:
            _complain(f"{self._command[0]}: {error.strerror}")

    def _end(self, kill_at: float, why: str) -> None:
        """Ask all to end, if they were not asked before. They are killed at the earliest of all `kill_at`."""
        self._kill_at = min(self._kill_at, kill_at)
        if self._why:
            return
        self._why = why
        for number in (signal.SIGTERM, signal.SIGCONT):
            self._send_to_all(number)

    def _kill(self) -> None:
        self._killed = True
        self._send_to_all(signal.SIGKILL)

    def _send_to_all(self, number: int) -> None:
        # The group first: the kernel signals all its members in one step, so no fork can escape.
        if self._cmd and not self._waited:
            send(self._cmd, number, group=True)
            self._send_outside(self._cmd, number)
        for pid in self._others:
            self._send_outside(pid, number)

    def _send_outside(self, pid: int, number: int) -> None:
        """Send a signal to a child that has left the group, and so did not get it."""
        if number == signal.SIGKILL or os.getpgid(pid) != self._cmd:
            send(pid, number)

    def _wait_for_children(self) -> None:
        """Find out which children have ended, and wait for them."""
        if self._cmd and self._status is None:
            # It is left a zombie, so that its pid stays its own, as long as something may be left in its group.
            found = os.waitid(os.P_PID, self._cmd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                self._status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        again = True
        while again:  # the children of one that has ended become ours
            again = False
            self._others = []
            for pid in children():
                if pid == self._cmd and not self._waited:
                    continue
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is None:
                    self._others.append(pid)
                else:
                    again = True
        if self._status is not None and not self._why:
            if self._status == 0 and self._others:
                self._why, self._background_at = "itself", _now() + STRAGGLERS
            else:
                self._end(_now() + LEFTOVERS, "itself")

    def _is_over(self) -> bool:
        """Whether CMD has ended and we have no child."""
        if not self._cmd:
            return bool(self._why)
        if self._status is None or self._others:
            return False
        if not self._waited:
            os.waitid(os.P_PID, self._cmd, os.WEXITED)
            self._waited = True
        self._killed = has_children()  # if so, `children` has left one out
        return not self._killed


class _BootTimer:
    """A file descriptor that becomes readable at a time on CLOCK_BOOTTIME, also if that is during a suspend: timeouts
    of poll do not run then."""

    def __init__(self) -> None:
        self.descriptor = _libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, when: float) -> None:
        """Set the time, in seconds; inf or a negative number for never."""
        seconds, nanoseconds = (0, 0) if when < 0 or when == float("inf") else divmod(int(when * 1e9) or 1, 10**9)
        value = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)  # struct itimerspec; all zeros disarm it
        if _libc.timerfd_settime(self.descriptor, _TFD_TIMER_ABSTIME, value, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _complain(text: str) -> None:
    os.write(2, f"election: {text}\n".encode())


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    Watchdog(int(sys.argv[1]), sys.argv[2:]).run()
