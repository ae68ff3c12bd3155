"""Who leads and who contends, for programs that only look."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal, NamedTuple

from zkwire import Client, EventType, NoNodeError, SessionExpiredError, Stat, Watch

from ..ephemeral import UNCERTAIN, must_be_owned, retried
from ..errors import ElectionError
from .dialects import Dialect
from .paths import ElectionPaths, Mode
from .sequence import in_order

Data = tuple[bytes | None, Stat]


class Leader(NamedTuple):
    """Who leads: the data of the leader's znode, its path, and its fencing token (the czxid)."""

    data: bytes
    node: str
    token: int


class Contender(NamedTuple):
    """A contender: the same fields as Leader has, and whether it leads. The data of other programs may be anything."""

    data: bytes
    node: str
    token: int
    is_leader: bool


class Observer:
    """Looks at one election. Never creates anything."""

    def __init__(self, zk: Client, paths: ElectionPaths, mode: Mode, dialect: Dialect) -> None:
        self._client = zk
        self._paths = paths
        self._mode: Mode = mode
        self._dialect = dialect

    async def leader(self) -> Leader | None:
        """Who leads now."""
        found, watch = await self.look()
        watch.disarm()
        return found

    async def contenders(self) -> list[Contender]:
        """All contenders, in the order of their turns. One that is deleted while they are read is left out (rule
        P10)."""
        leader = await self.leader()
        if self._mode == "simple":
            return [] if leader is None else [Contender(*leader, is_leader=True)]
        path = self._paths.path
        try:
            names = await retried(lambda: self._client.get_children(path))
        except NoNodeError:
            return []
        nodes = [f"{path}/{name}" for name, _ in in_order(names)]
        reads = [self._client.get_data(node) for node in nodes]  # all are sent at once
        found = []
        for node, read in zip(nodes, reads):
            try:
                data, stat = await self._finished(node, read)
            except NoNodeError:
                continue
            must_be_owned(node, stat)
            found.append(Contender(data or b"", node, stat.czxid, leader is not None and leader.node == node))
        return found

    async def _finished(self, node: str, read: Awaitable[Data]) -> Data:
        try:
            return await read
        except UNCERTAIN:
            return await retried(lambda: self._client.get_data(node))

    def stream(self) -> LeaderStream:
        """The leader now, and after every change: see LeaderStream."""
        return LeaderStream(self)

    async def look(self) -> tuple[Leader | None, Watch]:
        """Who leads, and a watch that fires when that may have changed."""
        while True:
            try:
                return await (self._look_at_path() if self._mode == "simple" else self._look_at_queue())
            except NoNodeError:
                continue  # deleted between two requests
            except SessionExpiredError:
                if self._client.bound().expired:  # and no new session follows
                    raise

    async def _look_at_path(self) -> tuple[Leader | None, Watch]:
        try:
            return await self._look_at(self._paths.path)
        except NoNodeError:
            return await self._look_for(self._paths.path)

    async def _look_at_queue(self) -> tuple[Leader | None, Watch]:
        path, holder = self._paths.path, self._paths.holder
        try:
            names, watch = await retried(lambda: self._client.get_children_and_watch(path))
        except NoNodeError:
            return await self._look_for(path)
        queue = in_order(names)
        if not queue:
            return None, watch
        watch.disarm()
        # The holder says who leads. Without a holder, the first contender is a leader of another program, or about to
        # lead. If that one was listed but is gone now, any other may lead: then `look` begins again.
        try:
            mark, stat, watch = await retried(lambda: self._client.get_data_and_watch(holder))
        except NoNodeError:
            return await self._look_at(f"{path}/{queue[0][0]}")
        _must_be_owned(holder, stat, watch)
        name = (mark or b"").decode(errors="replace")
        if self._dialect.speaks(name) and "/" not in name:
            try:
                found = await self._look_at(f"{path}/{name}")
            except NoNodeError:
                return None, watch  # somebody has deleted it, but its body has not finished yet
            except BaseException:
                watch.disarm()
                raise
            watch.disarm()
            return found
        return None, watch

    async def _look_at(self, node: str) -> tuple[Leader, Watch]:
        data, stat, watch = await retried(lambda: self._client.get_data_and_watch(node))
        _must_be_owned(node, stat, watch)
        return Leader(data or b"", node, stat.czxid), watch

    async def _look_for(self, node: str) -> tuple[None, Watch]:
        """Watch for a znode that is not there. Raises NoNodeError if it is there now."""
        stat, watch = await retried(lambda: self._client.exists_and_watch(node))
        if stat is not None:
            watch.disarm()
            raise NoNodeError(node)
        return None, watch


def _must_be_owned(node: str, stat: Stat, watch: Watch) -> None:
    try:
        must_be_owned(node, stat)
    except ElectionError:
        watch.disarm()
        raise


class LeaderStream:
    """Who leads: now, and after every change, for `async for`; None while nobody does.

    There is always a None between two leaders. A slow reader misses some changes, never the last (rule P4). The stream
    continues over reconnects and new sessions, and reads everything again each time. Only an error or `aclose` ends it.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._watch: Watch | None = None
        self._known: Leader | Literal["nothing"] | None = "nothing"
        self._closed = False

    def __aiter__(self) -> LeaderStream:
        return self

    async def __anext__(self) -> Leader | None:
        while not self._closed:
            if self._watch is not None:
                event = await self._watch.wait()
                self._watch = None
                if event.type == EventType.NODE_DELETED and self._known is not None:
                    self._known = None
                    return None
                if self._closed:
                    break
            found, self._watch = await self._observer.look()
            if self._closed:
                self._watch.disarm()
            elif isinstance(found, Leader) and isinstance(self._known, Leader) and found.token != self._known.token:
                # One leader was followed by another between two calls. The next call looks again.
                self._watch.disarm()
                self._known = self._watch = found = None
                return None
            elif found != self._known:
                self._known = found
                return found
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the iteration."""
        self._closed = True
        if self._watch is not None:
            self._watch.disarm()
