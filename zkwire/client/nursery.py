"""For recipes: a nursery that callers do not see. It runs tasks of ours while a caller is in an `async with` block.

An exception leaves the block as it is, never inside an ExceptionGroup: one that the block raises, and one that ends a
task of ours.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup  # which trio brings along there


def root_task() -> trio.lowlevel.Task:
    """The root task of the trio.run that the caller is in. All tasks of one run have the same one; two runs differ."""
    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:
        root = None
    if root is None:
        raise RuntimeError(
            "zkwire runs on trio, and no trio.run() is under way here: start the program with trio.run(main), not with "
            "asyncio.run(main); from another thread use trio.from_thread.run(zk.get_data, path)"
        )
    return root


class HiddenNursery:
    """For recipes: open it in an `__aenter__`, and close it in the `__aexit__` that belongs to it.

    The package `election` is built on it. A program that only uses a client does not need it.
    """

    def __init__(self) -> None:
        self._manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._failure: BaseException | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was opened. It can be opened only once."""
        return self._nursery is not None

    async def open(self) -> trio.Nursery:
        """Open it. The block runs inside it, and is cancelled when a task of ours fails.

        Raises RuntimeError outside trio, such as under asyncio.
        """
        root_task()
        self._manager = trio.open_nursery()
        nursery: trio.Nursery = await self._manager.__aenter__()
        self._nursery = nursery
        return nursery

    def fail(self, error: BaseException) -> None:
        """Cancel the block. It raises this error after `stop` has ended the tasks."""
        if self._failure is None:
            self._failure = error
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def close(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
        stop: Callable[[], Awaitable[object]],
    ) -> bool:
        """Close the nursery at the end of the block. Pass the three arguments of `__aexit__`, and return the result
        from there.

        `stop` makes the tasks end. It is not awaited if one of them has failed, since all are cancelled already then.
        """
        if self._nursery is None:
            raise RuntimeError("this block was never entered: use `async with`")
        scope = self._nursery.cancel_scope
        try:
            if scope.cancel_called and self._failure is None:  # only a task that failed has cancelled it
                return bool(await self._manager.__aexit__(kind, error, where))
            try:
                await stop()
            except BaseException:
                scope.cancel()
                raise
            finally:  # left open, it would break the nurseries around it
                scope.shield = True  # the tasks that are left end at once
                await self._manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            _, rest = group.split(trio.Cancelled)
            first: BaseException = rest or group
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from None
        if self._failure is not None:
            raise self._failure
        return False


@asynccontextmanager
async def beside(task: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run `task()` beside the block, and cancel it at the block's end. An exception of the task cancels the block,
    which then raises that exception, not in a group."""
    nursery = HiddenNursery()
    opened = await nursery.open()
    opened.start_soon(task)

    async def stop() -> None:
        opened.cancel_scope.cancel()

    try:
        yield
    except BaseException as error:
        if not await nursery.close(type(error), error, error.__traceback__, stop):
            raise
    else:
        await nursery.close(None, None, None, stop)
