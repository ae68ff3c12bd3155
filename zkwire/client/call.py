"""`Call`: a request that is on its way; awaiting it gives its result. `Owner`: what a Call needs of its client."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ..codes import AddWatchMode
from ..errors import ReplyTooLongError, ZooKeeperError
from ..operations import Operation
from ..session.requests import Request
from .nursery import root_task

if TYPE_CHECKING:
    from ..session.events import Replied

T = TypeVar("T")


class Call(Request, Coroutine[Any, Any, T]):
    """A request that was made. Its frame is in the outbox before the method that made it returns. So the order of calls
    is the order on the wire (rule 35 of docs/client-rules.md), even if they are awaited later or in another order:

        calls = [zk.get_data(path) for path in paths]          # all on their way, in this order
        results = [await call for call in calls]

    Only one task may await it. If that task is cancelled, the connection is unharmed. A request that was sent may have
    been applied all the same, and its reply is read and dropped (rule 34). One that waited for a connection is
    forgotten.

    A Call is a coroutine too. So trio accepts the methods that return one wherever it takes an async function:

        nursery.start_soon(zk.create, "/a")
        trio.from_thread.run(zk.create, "/a")
    """

    __slots__ = ("_expected", "_finish", "_owner", "_reply", "_submitted", "_task", "_wait", "cancelled", "error")

    def __init__(
        self,
        owner: Owner,
        operation: Operation,
        record: Any,
        finish: Callable[[Replied], T],
        watcher: Any,
        expected: int,
    ) -> None:
        """See `Owner._call`, which makes every Call."""
        # Not Request.__init__, which would copy the record and cost time.
        self.operation = operation
        self.record = record
        self.watcher = watcher
        self.xid = 0
        self.start = self.end = 0
        #: What `await` raises instead of waiting.
        self.error: Exception | None = None
        #: The task that awaited it was cancelled.
        self.cancelled = False
        self._owner = owner
        self._finish = finish
        self._expected = expected
        self._reply: Replied | None = None
        self._task: trio.lowlevel.Task | None = None
        self._wait: Generator[Any, Any, T] | None = None  # what send() and throw() drive
        self._submitted = True

    def __await__(self) -> Generator[Any, Any, T]:
        if self.cancelled:  # there may never be a reply
            raise RuntimeError(f"{self.operation.name} was given up: a task that awaited it was cancelled")
        if self._reply is None and self.error is None:
            if not self._submitted:
                yield from trio.lowlevel.checkpoint().__await__()
                self._submitted = True
                self._owner._submit(self)
            if self._task is not None:
                raise RuntimeError(f"two tasks await one {self.operation.name}")
            if trio.lowlevel.current_root_task() is not self._owner.run_root:
                self._owner.check_run()
            try:
                self._task = trio.lowlevel.current_task()
                yield from trio.lowlevel.wait_task_rescheduled(self._abort).__await__()
            except BaseException:
                if self._task is not None:  # not a cancellation: throw() or close() was called
                    self._abort(None)
                raise
        else:
            # Ready: no turn of the loop is spent on it. That starves no task, since calls become ready only in the
            # turns of the reader.
            yield from trio.lowlevel.checkpoint_if_cancelled().__await__()
        if self.error is not None:
            raise self.error
        reply = self._reply
        assert reply is not None
        if reply.err and reply.err != self._expected:
            raise self._owner._refusal(reply.err, self.path, self.operation.name)
        return self._finish(reply)

    # A coroutine's methods, for code that drives one itself, as trio does with the function given to `start_soon`.

    @property
    def __name__(self) -> str:
        """The name that trio gives the task when a Call takes the place of an async function."""
        return self.operation.name

    def send(self, value: Any, /) -> Any:
        """Run until it must wait again. Raises StopIteration with the result when that has come."""
        if self._wait is None:
            self._wait = self.__await__()
        try:
            return self._wait.send(value)
        except BaseException:
            self._wait = None
            raise

    def throw(self, *error: Any) -> Any:
        """Raise the error at the await; the reply is dropped, as after a cancellation."""
        if self._wait is None:
            self.close()
            self._wait = self.__await__()
        try:
            return self._wait.throw(*error)
        except BaseException:
            self._wait = None
            raise

    def close(self) -> None:
        """Stop waiting: the reply is dropped, as after a cancellation."""
        wait, self._wait = self._wait, None
        if wait is not None:
            wait.close()
        elif self._reply is None and self.error is None and not self.cancelled:
            self.cancelled = True
            if self._submitted:
                self._owner._cancel(self)

    def replied(self, reply: Replied) -> None:
        """The reply has come."""
        self._reply = reply
        self._wake()

    def failed(self, error: Exception) -> None:
        """No reply will come."""
        if isinstance(error, (ZooKeeperError, ReplyTooLongError)):
            error.path = None if error.path is None else self._owner._client_path(error.path)
        self.error = error
        self._wake()

    def _wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        self.cancelled = True
        self._owner._cancel(self)
        return trio.lowlevel.Abort.SUCCEEDED


class Owner(ABC):
    """What a Call, a Watch and a WatchStream need of the client that made them: the one interface between the handles
    and the client. Paths are the server's, which begin with the chroot, except where it says otherwise."""

    #: The root task of the trio.run that the client belongs to; None before it is entered, and in a forked process.
    run_root: trio.lowlevel.Task | None

    @abstractmethod
    def check_run(self) -> None:
        """Raises RuntimeError if the caller is not in the client's own trio.run, or not in its process."""

    def _call(
        self,
        operation: Operation,
        record: Any,
        finish: Callable[[Replied], T],
        watcher: Any = None,
        *,
        expected: int = 0,
    ) -> Call[T]:
        """Send a request, or keep it until there is a connection. Raises the error that makes this impossible.

        Args:
            record: the request's body. Nothing in it may change later (see `requests.frozen`).
            finish: makes the result from a reply whose err is 0 or `expected`. Other errors are raised.
            watcher: is given the events of the watch that the reply arms.
        """
        # If the task is cancelled already, nothing is sent, as with any of trio's own operations.
        try:
            task: Any = trio.lowlevel.current_task()
            cancelled = task._cancel_status.effectively_cancelled
        except (AttributeError, RuntimeError):
            cancelled = _is_cancelled()
        call = Call(self, operation, record, finish, watcher, expected)
        if cancelled:
            call._submitted = False  # it is sent when it is awaited, if the task is then no longer cancelled
        else:
            self._submit(call)
        return call

    @abstractmethod
    def _submit(self, call: Call[Any]) -> None:
        """Send the call's request, or keep it for the next connection. Raises the error that makes this impossible."""

    @abstractmethod
    def _cancel(self, call: Call[Any]) -> None:
        """The task that awaited the call was cancelled. A request that was not sent yet is forgotten."""

    @abstractmethod
    def _disarm(self, path: str, watcher: object) -> None:
        """The watcher needs no more events of the path. If it was the last one, the server's watch is removed."""

    @abstractmethod
    def _has_watch(self, path: str, mode: AddWatchMode) -> bool:
        """Whether the session has a persistent watch of this mode on the path."""

    @abstractmethod
    def _add_watch(self, path: str, mode: AddWatchMode, watcher: object) -> Call[None]:
        """Send an addWatch request."""

    @abstractmethod
    async def _check_modes(self, path: str, mode: AddWatchMode) -> None:
        """Raises LocalProtocolError if a watch of this mode would replace one of the other mode on the path."""

    @abstractmethod
    def _client_path(self, path: str) -> str:
        """The path without the chroot, as the client's caller knows it."""

    @abstractmethod
    def _refusal(self, code: int, path: str | None, operation: str) -> ZooKeeperError:
        """The exception for an error code that the server answered."""


def _is_cancelled() -> bool:
    """Whether the running task's next checkpoint would raise Cancelled. Raises RuntimeError outside trio.

    Used only if this version of trio lacks the attribute that `Owner._call` reads from the task. Reading that takes
    0.11 us. This takes 1.46 us, a fifth of a pipelined get_data.
    """
    root_task()
    return trio.current_effective_deadline() == -math.inf
