"""A ZooKeeper ensemble in this process, under a virtual clock, and what happens when links and servers fail.

    ensemble = FakeEnsemble(seed=1)
    async with ensemble.running():
        async with ensemble.client("a", 6.0) as zk: ...

Real frames go both ways, so any zkwire client can talk to it. What is modelled, and from which part of the server it is
known, stands where it is done: leader.py has sessions and agreement, server.py connections and reads, tree.py znodes.
Faults are data (`Fault`), so that a search can choose and shrink them.

With the same seed and the same clients a run is the same.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio

import zkwire
from tests.support.fake.network import MemoryTransport, Timeline
from tests.support.fake.server import Connection, Request, Server
from tests.support.fake.tree import Transaction, Tree
from zkwire.client.transport import Dial, Transport
from zkwire.codes import EventType, OpCode
from zkwire.multi import MultiRequest, item
from zkwire.records import DeleteRequest


class Fault(NamedTuple):
    """Something that goes wrong. Times are seconds.

    kind         who       what happens
    cut          client    bytes between it and all servers are held; `how` "both", "requests" or "replies"
    reset        client    its connections break
    stall        client    as cut, but only for the connections that it has now: new ones pass them
    drop reply   client    the next reply to `how` (an OpCode's name) is lost, and the connection with it; `lasts` is
                           until when, 0 for ever
    close        client    its session is closed by somebody who knows its id
    part         server    the server and all others do not hear each other; "leader" is cut off from everyone
    lag          server    what the leader says comes `amount` seconds late
    slow         server    what is agreed upon is applied `amount` seconds late
    kill         server    the process ends, and is started again when the fault is over
    pause        server    the process stands still
    delete       -         an administrator deletes the path `how`, with all below: in one transaction, or, with an
                           `amount`, the deepest first and so many seconds apart
    suspend      -         the clients' machine sleeps: the servers' time jumps ahead by `amount`

    A client is a name. A server is its number, "leader", "follower" (the
    first that follows), or the name of a client for the server that this one is connected to.
    """

    at: float
    kind: str
    who: int | str = ""
    lasts: float = 0.0
    how: str = "both"
    amount: float = 0.0


class Commit(NamedTuple):
    """What a transaction did to one znode, and when: trio's time, at which no server can have shown it yet."""

    time: float
    zxid: int
    kind: EventType
    path: str
    owner: int  # session of an ephemeral
    closed: int  # session that ended with this transaction, else 0


class FakeEnsemble:
    """The servers, and what goes wrong with them.

    Args:
        size: how many servers.
        seed: of all delays, and of what is done first when a server wakes.
        tick, sync_limit: seconds, and ticks, as in zoo.cfg. Sessions may last 2 to 20 ticks.
        delay, peer_delay: from and to how many seconds bytes take, to clients and between servers.
        election_time: from and to how many seconds servers look for a leader at a time.
        waking: within how many seconds the threads of a server that stood still go on, each when it likes.
        first_sequence: what the counters of new parents start with.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        seed: int = 0,
        tick: float = 2.0,
        sync_limit: int = 5,
        delay: tuple[float, float] = (0.001, 0.003),
        peer_delay: tuple[float, float] = (0.001, 0.003),
        election_time: tuple[float, float] = (0.2, 0.6),
        waking: float = 0.02,
        first_sequence: int = 0,
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.timeline = Timeline()
        self.tick = tick
        self.patience = tick * sync_limit
        self.election_time = election_time
        self.waking = waking
        self.first_sequence = first_sequence
        self.quorum = size // 2 + 1
        self.servers = [Server(self, index) for index in range(size)]
        #: Every change of a znode, in order.
        self.history: list[Commit] = []
        self._delay = delay
        self._peer_delay = peer_delay
        self._lags: dict[Server, float] = {}
        self._slow: dict[Server, float] = {}
        self._cuts: list[tuple[Fault, list[Connection] | None]] = []  # None: all, and no new ones
        self._parted: list[Server] = []
        self._mended = trio.Event()
        self._drops: list[tuple[str, str]] = []
        self._sessions = 0
        self._zxid = 0

    @property
    def hosts(self) -> str:
        """The connect string."""
        return ",".join(f"{server.address}:2181" for server in self.servers)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeEnsemble]:
        """The servers are up inside, and the first of them leads."""
        async with trio.open_nursery() as nursery:
            first, *others = self.servers
            for server in self.servers:
                server.role = "looking"
            first.lead(1)
            assert first.leadership is not None
            for server in others:
                first.leadership.join(server)
            nursery.start_soon(self.timeline.run)
            yield self
            nursery.cancel_scope.cancel()

    def boottime(self) -> float:
        """For `boottime=`: the clients' clock that goes on while their machine sleeps."""
        return trio.current_time() + self.timeline.ahead

    # --- what tests look at

    @property
    def leader(self) -> Server | None:
        """The newest leader, if one leads."""
        leading = [server for server in self.servers if server.leadership is not None]
        return max(leading, key=lambda server: server.epoch, default=None)

    @property
    def tree(self) -> Tree:
        """What has been agreed upon, as far as any server has it."""
        return max(self.servers, key=lambda server: server.tree.zxid).tree

    def watches(self) -> list[str]:
        """The path of every watch on every server."""
        tables = [
            table
            for server in self.servers
            for connection in server.connections
            for table in (connection.data_watches, connection.child_watches)
        ]
        return sorted(path for table in tables for path in table)

    def connection(self, client: str) -> Connection | None:
        """The client's newest connection."""
        found = [each for server in self.servers for each in server.connections if each.client == client]
        return max(found, key=lambda each: each.heard, default=None)

    # --- clients

    def dialer(self, client: str) -> Dial:
        """For `connect(dial=...)` of the client that faults call by this name."""

        async def dial(address: str, port: int, host_name: str) -> Transport:
            server = next(server for server in self.servers if server.address == address)
            while any(cut.who == client and only is None for cut, only in self._cuts):
                await self._mended.wait()
            await trio.sleep(self.client_delay())
            if server.role == "down":
                raise ConnectionRefusedError(f"{address} is down")
            connection: Connection
            transport = MemoryTransport(lambda data: connection.up.send(data))
            connection = Connection(server, client, transport)
            server.connections.append(connection)
            self._hold(connection)
            return transport

        return dial

    def client(self, name: str, session_timeout: float, **options: Any) -> zkwire.Client:
        """A client that faults call by this name; what it leaves to chance follows from the seed too."""
        client = zkwire.connect(self.hosts, session_timeout, dial=self.dialer(name), **options)
        client._dialing.search._random = random.Random(f"{self.seed} {name}")
        return client

    def _hold(self, connection: Connection) -> None:
        client = connection.client
        ways = {cut.how for cut, only in self._cuts if cut.who == client and (only is None or connection in only)}
        connection.up.hold(bool(ways & {"both", "requests"}))
        connection.down.hold(bool(ways & {"both", "replies"}))

    def new_session_id(self, server: Server) -> int:
        self._sessions += 1
        return ((server.index + 1) << 56) + self._sessions

    # --- what servers ask

    def client_delay(self) -> float:
        return self.random.uniform(*self._delay)

    def peer_delay(self) -> float:
        return self.random.uniform(*self._peer_delay)

    def lag(self, follower: Server) -> float:
        return self.peer_delay() + self._lags.get(follower, 0.0)

    def slowness(self, follower: Server) -> float:
        return self._slow.get(follower, 0.0)

    def loses_reply(self, client: str, opcode: OpCode) -> bool:
        if (client, opcode.name) not in self._drops:
            return False
        self._drops.remove((client, opcode.name))
        return True

    def note_commit(self, transaction: Transaction) -> None:
        if transaction.zxid > self._zxid:
            self._zxid = transaction.zxid
            for kind, path, node in transaction.changes:
                commit = Commit(trio.current_time(), transaction.zxid, kind, path, node.owner, transaction.closes)
                self.history.append(commit)

    def elect(self, server: Server) -> bool:
        """A server looks for a leader, or for enough others to make one of them; whether it found one."""

        def meets(other: Server) -> bool:
            return not other.paused and self._hear_each_other(server, other)

        for other in sorted(self.servers, key=lambda other: -other.epoch):
            if other.epoch < server.epoch:  # stood still, and does not know yet (Learner.registerWithLeader)
                continue
            if other.leadership is not None and meets(other) and other.leadership.has_quorum(1):
                other.leadership.join(server)
                return True
        group = [other for other in self.servers if other.role == "looking" and meets(other)]
        if len(group) < self.quorum:
            return False
        best = max(group, key=lambda other: (other.epoch, other.log[-1].zxid if other.log else 0, other.index))
        best.lead(max(other.epoch for other in self.servers) + 1)
        assert best.leadership is not None
        for other in group:
            if other is not best:
                best.leadership.join(other)
        return True

    def _hear_each_other(self, one: Server, other: Server) -> bool:
        return one is other or not (one in self._parted or other in self._parted)

    # --- faults

    async def inflict(
        self, faults: Iterable[Fault], resolve: Callable[[Fault], Fault | None] = lambda fault: fault
    ) -> None:
        """All of them, each at its time from now; returns when the last is over. `resolve` gives, when it begins, what
        a fault means, or None for nothing."""
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for fault in sorted(faults, key=lambda fault: fault.at):
                nursery.start_soon(self._inflict, start, fault, resolve)

    async def _inflict(self, start: float, planned: Fault, resolve: Callable[[Fault], Fault | None]) -> None:
        await trio.sleep_until(start + planned.at)
        fault = resolve(planned)
        if fault is None:
            return
        if fault.kind in ("part", "lag", "slow", "kill", "pause"):
            if (server := self._server(fault.who)) is not None:
                await self._trouble(fault, server)
        elif fault.kind in ("cut", "stall"):
            cut = fault, None if fault.kind == "cut" else self._connections(str(fault.who))
            self._cuts.append(cut)
            self._cuts_changed()
            await trio.sleep(fault.lasts)
            self._cuts.remove(cut)
            self._cuts_changed()
        elif fault.kind == "reset":
            for connection in self._connections(str(fault.who)):
                connection.reset()
        elif fault.kind == "drop reply":
            drop = (str(fault.who), fault.how)
            self._drops.append(drop)
            if fault.lasts:
                await trio.sleep(fault.lasts)
                if drop in self._drops:
                    self._drops.remove(drop)
        elif fault.kind == "close":
            for session in {connection.session for connection in self._connections(str(fault.who))}:
                self._as_administrator(Request(None, session, OpCode.CLOSE_SESSION))
        elif fault.kind == "delete":
            if fault.amount:
                await self._delete_one_by_one(fault)
            else:
                self.delete(fault.how)
        else:
            assert fault.kind == "suspend", fault
            self.timeline.jump(fault.amount)

    def delete(self, path: str) -> None:
        """As an administrator: the path and all below, in one transaction; as soon as there is a leader."""
        paths = self.tree.below(path)
        items = tuple(item(OpCode.DELETE, DeleteRequest(each, -1)) for each in paths)
        if items:
            self._as_administrator(Request(None, 0, OpCode.MULTI, MultiRequest(items)))

    async def _delete_one_by_one(self, fault: Fault) -> None:
        for _ in range(100):  # while others make some of it again
            paths = self.tree.below(fault.how)
            if not paths:
                return
            self._as_administrator(Request(None, 0, OpCode.DELETE, DeleteRequest(paths[0], -1)))
            await trio.sleep(fault.amount)

    def _as_administrator(self, request: Request) -> None:
        leader = self.leader
        if leader is None or leader.paused or leader.leadership is None:
            self.timeline.after(self.tick / 2, lambda: self._as_administrator(request))
        else:
            leader.leadership.submit(request, leader)

    async def _trouble(self, fault: Fault, server: Server) -> None:
        if fault.kind == "kill":
            server.kill()
        elif fault.kind == "pause":
            server.pause()
        elif fault.kind == "lag":
            self._lags[server] = fault.amount
        elif fault.kind == "slow":
            self._slow[server] = fault.amount
        else:
            self._parted.append(server)
            self._parts_changed()
        await trio.sleep(fault.lasts)
        if fault.kind == "kill":
            server.start()
        elif fault.kind == "pause":
            server.resume()
        elif fault.kind == "lag":
            self._lags.pop(server, None)
        elif fault.kind == "slow":
            self._slow.pop(server, None)
        else:
            self._parted.remove(server)
            self._parts_changed()

    def _parts_changed(self) -> None:
        following = [server.peering for server in self.servers if server.peering is not None]
        leading = [
            each for server in self.servers if server.leadership is not None for each in server.leadership.peerings
        ]
        for peering in {*following, *leading}:  # one end may have given up already
            peering.hold(not self._hear_each_other(peering.follower, peering.leadership.server))

    def _cuts_changed(self) -> None:
        for server in self.servers:
            for connection in server.connections:
                self._hold(connection)
        mended, self._mended = self._mended, trio.Event()
        mended.set()

    def _connections(self, client: str) -> list[Connection]:
        return [each for server in self.servers for each in server.connections if each.client == client]

    def _server(self, who: int | str) -> Server | None:
        if isinstance(who, int):
            return self.servers[who % len(self.servers)]
        if who == "leader":
            return self.leader
        if who == "follower":
            return next((server for server in self.servers if server.role == "follower"), None)
        connection = self.connection(who)
        return None if connection is None else connection.server
