"""The process between `election run` and its command, which ends the command when the lease does.

    runner  ──lines over a socket──  watchdog  ──parent of──  CMD, in a process group of its own

The runner may be stopped (SIGSTOP), killed (SIGKILL), or busy; this process then acts in its place. It is a script of
its own, run by `python -I -S`, so that it starts in 20 ms and shares no event loop, thread or lock with anything.

    from the runner   lease SOFT HARD   end CMD at SOFT, kill it at HARD; seconds of CLOCK_BOOTTIME, "inf" for never.
                                        The first one starts CMD; each one replaces the last.
                      signal N          to CMD alone
                      group N           to its process group
                      stop SECONDS      end CMD now, kill it when so many seconds have passed, or at HARD
                      (end of stream)   the runner is gone: kill CMD now
    to the runner     started PID
                      ended STATUS WHY  nothing of CMD runs any more. STATUS is its exit status, or -N for a signal, -15
                                        where it was not started; WHY it ended: "itself", "background" (by itself, with
                                        status 0, but something of it ran on, and was ended here), "stopped", "deadline"
                                        (of the lease), "orphaned".

"End" is SIGTERM, and SIGCONT so that a stopped process hears of it; "kill" is SIGKILL, which a stopped one obeys too.
Each goes to the process group, and to whatever of CMD has left it.

Why this process is CMD's parent: a pid, and with it the number of the group, can be given to a stranger as soon as its
process has been waited for. Only the parent waits, and this one does when nothing is left to be killed. And a parent's
death can take CMD along: PR_SET_PDEATHSIG, which is the answer to a watchdog that is killed.

Why it is a subreaper: what CMD started and left behind becomes our child, whatever group or session it is in, even a
daemon. So "nothing of CMD runs any more" is not a guess: it is the kernel's answer that we have no child.

What it cannot do: end a process that its user may not signal (sudo CMD); act while it is stopped itself (the runner
then does); find CMD's descendants when it and the runner are killed in one moment (CMD itself dies then).

It works on Linux only: prctl, timerfd and /proc/PID/task/PID/children are Linux's.
"""

from __future__ import annotations

# Few and small: this is started in the moment of a takeover.
import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells have them
#: Seconds that processes are given which CMD left behind.
LEFTOVERS = 2.0
#: After CMD has ended with status 0, its children have so many seconds to end by themselves, as those do that only read
#: its output to the end. A child that runs on after that was put into the background.
STRAGGLERS = 0.5
#: Seconds between looks for processes to kill, where no signal tells of them.
LOOK_AGAIN = 0.05

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_TFD_TIMER_ABSTIME = 1  # <sys/timerfd.h>

if sys.platform == "linux":  # elsewhere this module can be imported, and no more: see `why_not_here`
    #: These may be sent to a whole control group, as when systemd stops a service. This process ignores them.
    _NOT_FOR_US = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]
    _libc = ctypes.CDLL(None, use_errno=True)


def why_not_here() -> str | None:
    """Why no command can be run under a watchdog on this system, in one line; None where it can."""
    if sys.platform != "linux":
        return f"a command is kept by means that only Linux has (prctl, timerfd, /proc), and this is {sys.platform}"
    if not os.path.exists("/proc/thread-self/children"):
        return "a command is kept with the help of /proc/thread-self/children, which is not there: is /proc mounted?"
    return None


def become_subreaper() -> None:
    """From now on a descendant whose parent ends becomes a child of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent's thread ends. A setuid program does not inherit that."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def children() -> list[int]:
    """The pids of our children, those included that have ended and were not waited for.

    The kernel may skip one while another ends. Whether there is none, `has_children` knows.
    """
    pids: list[int] = []
    for thread in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError), open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
            pids += map(int, file.read().split())
    return pids


def has_children() -> bool:
    """Whether the kernel knows of any child of ours that was not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def send(pid: int, number: int, group: bool = False) -> None:
    """Send a signal to a child that was not waited for, or to its process group."""
    with suppress(ProcessLookupError, PermissionError):  # it may have left its group; or become another user's
        (os.killpg if group else os.kill)(pid, number)


class Watchdog:
    """See above."""

    def __init__(self, channel: int, command: list[str]) -> None:
        """`channel` is the file descriptor of the socket to the runner."""
        self._channel = channel
        self._command = command
        self._received = b""
        self._soft = self._hard = -1.0  # of the last lease; nothing starts without one
        self._kill_at = float("inf")  # what `stop` allows
        self._cmd = 0  # CMD's pid
        self._status: int | None = None  # CMD's, when it has ended
        self._why = ""  # set as soon as CMD is to end, or has ended
        self._background_at = float("inf")  # from then on, a child that CMD left runs in the background
        self._killed = False
        self._waited = False  # CMD has been waited for: its number is no longer its own
        self._others: list[int] = []  # other children: CMD's descendants that have lost their parents

    def run(self) -> None:
        """Everything, until nothing of CMD is left."""
        os.set_inheritable(self._channel, False)  # held by CMD it would not end with us
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
        """Take what the runner says; False at its end."""
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
        with suppress(BrokenPipeError, ConnectionResetError):  # the end of the stream is noticed elsewhere
            os.write(self._channel, f"{line}\n".encode())

    # --- time

    def _next_time(self) -> float:
        """When to act if nothing happens."""
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
            self._kill()  # what has become our child since

    # --- CMD

    def _start(self) -> None:
        # A signal that comes before CMD has its own dispositions would be lost; blocked, it waits for them.
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
        # CMD does so too; whoever is first, it is done before anyone relies on it. An error says that CMD was first.
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(self._cmd, self._cmd)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
        self._say(f"started {self._cmd}")

    def _become_cmd(self, parent: int, mask: set[int | signal.Signals]) -> None:
        """In the child: everything up to exec."""
        os.setpgid(0, 0)
        die_with_parent()
        if os.getppid() != parent:
            return  # it died before that
        for number, disposition in self._dispositions.items():
            # What the runner was started to ignore (nohup, or & in a script) CMD ignores too.
            signal.signal(number, signal.SIG_IGN if disposition is signal.SIG_IGN else signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # this one and the next are ignored by Python
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
        """Ask all to end, once; they have until `kill_at`, of which the earliest counts."""
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
        # The group first: the kernel signals all its members in one step, from which no fork escapes.
        if self._cmd and not self._waited:
            send(self._cmd, number, group=True)
            self._send_outside(self._cmd, number)
        for pid in self._others:
            self._send_outside(pid, number)

    def _send_outside(self, pid: int, number: int) -> None:
        """Send it to a child that has left the group, and so not got it."""
        if number == signal.SIGKILL or os.getpgid(pid) != self._cmd:
            send(pid, number)

    def _wait_for_children(self) -> None:
        """See who has ended."""
        if self._cmd and self._status is None:
            # It stays a zombie, and so its number its own, as long as something may be left in its group.
            found = os.waitid(os.P_PID, self._cmd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                self._status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        again = True
        while again:  # whoever ends leaves us its children
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
        """Whether CMD has ended and the kernel knows of no child of ours."""
        if not self._cmd:
            return bool(self._why)
        if self._status is None or self._others:
            return False
        if not self._waited:
            os.waitid(os.P_PID, self._cmd, os.WEXITED)
            self._waited = True
        self._killed = has_children()  # then somebody was skipped in the list of our children
        return not self._killed


class _BootTimer:
    """A file descriptor that is readable from a time on CLOCK_BOOTTIME on, also when that passed during a suspend:
    timeouts of poll stand still then."""

    def __init__(self) -> None:
        self.descriptor = _libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, when: float) -> None:
        """Seconds; inf or less than 0 for never."""
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
