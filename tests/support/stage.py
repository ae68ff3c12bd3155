"""Elections on the fake ensemble, for tests under a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio

from election import Election, LeadershipLostError
from tests.support.fake.ensemble import FakeEnsemble, Fault
from zkwire import Client, EventType

#: Session timeout of the clients, in seconds.
T = 6.0
PATH = "/e"
HOLDER = "/e-holder"


class Stage:
    """An ensemble, and clients on it that are called "a", "b" and so on."""

    def __init__(self, ensemble: FakeEnsemble) -> None:
        self.ensemble = ensemble

    @asynccontextmanager
    async def client(self, name: str, **options: Any) -> AsyncIterator[Client]:
        async with self.ensemble.client(name, T, **options) as zk:
            yield zk

    @asynccontextmanager
    async def election(
        self, name: str = "a", client: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[Election]:
        async with self.client(name, **(client or {})) as zk:
            yield self.on(zk, **options)

    def on(self, zk: Client, **options: Any) -> Election:
        data = options.pop("data", b"")
        return Election(zk, PATH, data, **{"overrun": "ignore", "boottime": self.ensemble.boottime, **options})

    async def fault(self, kind: str, who: int | str = "a", **options: Any) -> None:
        await self.ensemble.inflict([Fault(0.0, kind, who, **options)])

    def deletions(self, path: str) -> list[float]:
        return [
            commit.time
            for commit in self.ensemble.history
            if commit.path == path and commit.kind is EventType.NODE_DELETED
        ]


@asynccontextmanager
async def stage(size: int = 3, **options: Any) -> AsyncIterator[Stage]:
    async with FakeEnsemble(size, **options).running() as ensemble:
        with trio.fail_after(600):
            yield Stage(ensemble)


@contextmanager
def loses(reason: str | None = None) -> Iterator[None]:
    """The block must raise a LeadershipLostError with this reason."""
    with pytest.raises(LeadershipLostError, match=reason):
        yield
