"""The znodes of the scenarios: made before the run and removed after it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import zkwire
from benchmarks.scenarios import (
    CHILDREN,
    LARGE,
    LARGE_SIZE,
    NEW,
    PARENT,
    ROOT,
    SMALL,
    SMALL_DATA,
    WATCHED,
    WATCHES,
    watched_path,
)

_PER_MULTI = 1000


@asynccontextmanager
async def znodes(hosts: str) -> AsyncIterator[None]:
    """Inside the block they exist."""
    await _remove(hosts)
    async with zkwire.connect(hosts, 30.0) as zk:
        names = [f"{PARENT}/child-{index:06}" for index in range(CHILDREN)]
        names += [watched_path(index) for index in range(WATCHES)]
        creates = [zkwire.Create(path) for path in (ROOT, PARENT, WATCHED, NEW, *names)]
        for start in range(0, len(creates), _PER_MULTI):
            await zk.multi(creates[start : start + _PER_MULTI])
        await zk.create(SMALL, SMALL_DATA)
        await zk.create(LARGE)
        await zk.set_data(LARGE, bytes(LARGE_SIZE))
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            try:
                await _remove(hosts)
            except zkwire.NoServerError as error:
                print(f"{ROOT} is still there: {error}", file=sys.stderr)  # an exception of the block is more important


async def _remove(hosts: str) -> None:
    async with zkwire.connect(hosts, 30.0) as zk:
        if await zk.exists(ROOT) is None:
            return
        for parent in await zk.get_children(ROOT):
            calls = [zk.delete(f"{ROOT}/{parent}/{name}") for name in await zk.get_children(f"{ROOT}/{parent}")]
            for call in calls:
                try:
                    await call
                except zkwire.NoNodeError:
                    continue  # an ephemeral znode whose session ended just now
            await zk.delete(f"{ROOT}/{parent}")
        await zk.delete(ROOT)
