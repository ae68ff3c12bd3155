"""One server of a fake ensemble: its connections, what it answers by itself, and what it hears from its leader.

Reads and pings are answered here, from what this server has applied, whatever the leader does. Writes and syncs go to
the leader, and everything behind them in a session waits for them (CommitProcessor).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support.fake.leader import Leadership, Peering
from tests.support.fake.network import Action, MemoryTransport, Wire
from tests.support.fake.tree import Change, Transaction, Tree
from tests.support.fake.wire import notification, read_request, reply
from zkwire.codes import ErrorCode, EventType, OpCode, WatcherType, Xid
from zkwire.frames import FrameBuffer, frame
from zkwire.jute import decode, encode
from zkwire.records import (
    ConnectRequest,
    ConnectResponse,
    ExistsResponse,
    GetChildren2Response,
    GetChildrenResponse,
    GetDataResponse,
    GetEphemeralsResponse,
    SyncResponse,
)

if TYPE_CHECKING:
    from tests.support.fake.ensemble import FakeEnsemble

_WRITES = frozenset(
    {
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.DELETE,
        OpCode.SET_DATA,
        OpCode.MULTI,
        OpCode.CLOSE_SESSION,
    }
)
_READS = frozenset({OpCode.EXISTS, OpCode.GET_DATA, OpCode.GET_CHILDREN, OpCode.GET_CHILDREN2, OpCode.GET_EPHEMERALS})
_LOCAL = frozenset({OpCode.PING, OpCode.SET_WATCHES, OpCode.SET_WATCHES2, OpCode.REMOVE_WATCHES, OpCode.ADD_WATCH})


class Request:
    """A request on its way through the servers. `conn` is None for one of the servers' own."""

    def __init__(self, conn: Connection | None, session: int, opcode: OpCode, record: Any = None, xid: int = 0) -> None:
        self.conn = conn
        self.session = session
        self.opcode = opcode
        self.record = record
        self.xid = xid
        self.timeout = 0 if conn is None else conn.timeout
        self.done = False
        self.transaction: Transaction | None = None


class Connection:
    """The server's end of a client's stream."""

    def __init__(self, server: Server, client: str, transport: MemoryTransport) -> None:
        self.server = server
        self.client = client
        self.session = 0
        self.timeout = 0  # ms
        self.closed = False
        self.established = False
        self.heard = server.ensemble.timeline.now
        self.data_watches: set[str] = set()
        self.child_watches: set[str] = set()
        timeline, delay = server.ensemble.timeline, server.ensemble.client_delay
        self.up = Wire(timeline, delay, self.arrive)
        self.down = Wire(timeline, delay, transport.arrive)
        self._transport = transport
        self._inbox = FrameBuffer()
        self._greeted = False
        self._queue: deque[Request] = deque()

    # --- bytes

    def arrive(self, data: bytes) -> None:
        self.server.take(lambda: self._read(data))

    def _read(self, data: bytes) -> None:
        if self.closed:
            return
        if not data:
            self.server.forget(self)
            return
        self.heard = self.server.ensemble.timeline.now
        self._inbox.append(data)
        while not self.closed and (found := self._inbox.next_frame()) is not None:
            buffer, start, end = found
            if self._greeted:
                self._request(bytes(buffer[start:end]))
            else:
                self._greeted = True
                self._greet(decode(ConnectRequest, bytes(buffer[start:end])))

    def close(self) -> None:
        """What was sent still arrives, then the end."""
        if not self.closed:
            self.server.forget(self)
            self.down.send(b"")

    def reset(self) -> None:
        """Both ends are broken at once, and what is on the way is lost."""
        if not self.closed:
            self.server.forget(self)
        self.up.cut()
        self.down.cut()
        self._transport.arrive(MemoryTransport.RESET)

    # --- the handshake

    def _greet(self, request: ConnectRequest) -> None:
        server = self.server
        if server.role not in ("leader", "follower") or request.last_zxid_seen > server.tree.zxid:
            self.close()
            return
        low, high = (round(ticks * server.ensemble.tick * 1000) for ticks in (2, 20))
        self.timeout = min(max(request.time_out, low), high)
        if not request.session_id:
            self.session = server.ensemble.new_session_id(server)
            opening = Request(self, self.session, OpCode.CREATE_SESSION)
            self._queue.append(opening)
            server.to_leader(opening)
            return
        for other in list(server.connections):
            if other is not self and other.session == request.session_id:
                other.close()
        self.session = request.session_id
        if request.passwd != password(self.session):
            self.accept(False)
        else:
            server.revalidate(self)

    def accept(self, valid: bool) -> None:
        """The answer to the ConnectRequest."""
        if self.closed:
            return
        self.established = valid
        if valid:
            response = ConnectResponse(0, self.timeout, self.session, password(self.session), False)
        else:
            response = ConnectResponse(0, 0, 0, bytes(16), False)
        self.down.send(frame(encode(response)))
        if not valid:
            self.close()

    # --- requests

    def _request(self, payload: bytes) -> None:
        xid, opcode, record = read_request(payload)
        if not self.server.touch(self.session, self.timeout):
            return  # "Dropping request": the leader has begun to close the session
        if opcode == OpCode.AUTH:
            self.down.send(reply(xid, 0))
            return
        request = Request(self, self.session, opcode, record, xid)
        self._queue.append(request)
        if opcode in _WRITES or opcode == OpCode.SYNC:
            self.server.to_leader(request)
        else:
            request.done = True
            self.drain()

    def drain(self) -> None:
        """Answer what can be answered, in order."""
        while not self.closed and self._queue and self._queue[0].done:
            request = self._queue.popleft()
            transaction = request.transaction
            if transaction is not None:
                self._answer_write(request, transaction)
            elif request.opcode in _READS:
                self._answer_read(request)
            elif request.opcode == OpCode.SYNC:
                self.reply(request, record=SyncResponse(request.record.path))
            elif request.opcode in _LOCAL:
                self._answer_local(request)
            else:
                self.down.send(reply(request.xid, -1, ErrorCode.UNIMPLEMENTED))
                self.close()

    def reply(self, request: Request, err: int = 0, record: Any = None, zxid: int | None = None) -> None:
        if self.server.ensemble.loses_reply(self.client, request.opcode):
            self.reset()
            return
        xid = Xid.PING if request.opcode == OpCode.PING else request.xid
        shown = self.server.tree.zxid if zxid is None else zxid
        self.down.send(reply(xid, shown, err, None if err else record))

    def _answer_write(self, request: Request, transaction: Transaction) -> None:
        if request.opcode == OpCode.CREATE_SESSION:
            self.accept(True)
        elif transaction.err == ErrorCode.SESSION_MOVED:
            self.close()  # without a word (FinalRequestProcessor)
        else:
            self.reply(request, transaction.err, transaction.response, transaction.zxid)
            if request.opcode == OpCode.CLOSE_SESSION:
                self.close()

    def _answer_read(self, request: Request) -> None:
        record, tree, opcode = request.record, self.server.tree, request.opcode
        if opcode == OpCode.GET_EPHEMERALS:
            own = [path for path in tree.ephemerals(self.session) if path.startswith(record.prefix_path)]
            self.reply(request, record=GetEphemeralsResponse(tuple(own)))
            return
        node = tree.nodes.get(record.path)
        if record.watch and (node is not None or opcode == OpCode.EXISTS):
            of_children = opcode in (OpCode.GET_CHILDREN, OpCode.GET_CHILDREN2)
            (self.child_watches if of_children else self.data_watches).add(record.path)
        if node is None:
            self.reply(request, ErrorCode.NO_NODE)
        elif opcode == OpCode.EXISTS:
            self.reply(request, record=ExistsResponse(node.stat))
        elif opcode == OpCode.GET_DATA:
            self.reply(request, record=GetDataResponse(node.data, node.stat))
        else:
            names = node.children[::-1]  # servers give them in no order, so not in that of their creation
            answer = (
                GetChildrenResponse(names) if opcode == OpCode.GET_CHILDREN else GetChildren2Response(names, node.stat)
            )
            self.reply(request, record=answer)

    def _answer_local(self, request: Request) -> None:
        opcode, record = request.opcode, request.record
        if opcode == OpCode.REMOVE_WATCHES:
            tables = {
                WatcherType.CHILDREN: [self.child_watches],
                WatcherType.DATA: [self.data_watches],
                WatcherType.ANY: [self.child_watches, self.data_watches],
            }.get(record.type, [])
            found = [table for table in tables if record.path in table]
            for table in found:
                table.discard(record.path)
            self.reply(request, 0 if found else ErrorCode.NO_WATCHER)
        elif opcode == OpCode.ADD_WATCH:
            self.reply(request, ErrorCode.UNIMPLEMENTED)
        else:
            if opcode != OpCode.PING:
                self._set_watches(record)
            self.reply(request)

    # --- watches

    def _set_watches(self, record: Any) -> None:
        """Fire what happened since, and put back the rest (DataTree.setWatches)."""
        nodes = self.server.tree.nodes
        for path in record.data_watches:
            if path not in nodes:
                self._notify(EventType.NODE_DELETED, path, -1)
            elif nodes[path].mzxid > record.relative_zxid:
                self._notify(EventType.NODE_DATA_CHANGED, path, -1)
            else:
                self.data_watches.add(path)
        for path in record.exist_watches:
            if path in nodes:
                self._notify(EventType.NODE_CREATED, path, -1)
            else:
                self.data_watches.add(path)
        for path in record.child_watches:
            if path not in nodes:
                self._notify(EventType.NODE_DELETED, path, -1)
            elif nodes[path].pzxid > record.relative_zxid:
                self._notify(EventType.NODE_CHILDREN_CHANGED, path, -1)
            else:
                self.child_watches.add(path)

    def fire(self, change: Change, zxid: int) -> None:
        path = change.path
        told = path in self.data_watches
        if told:
            self.data_watches.discard(path)
            self._notify(change.kind, path, zxid)
        if change.kind == EventType.NODE_DATA_CHANGED:
            return
        if change.kind == EventType.NODE_DELETED and path in self.child_watches:
            self.child_watches.discard(path)
            if not told:
                self._notify(EventType.NODE_DELETED, path, zxid)
        parent = path.rpartition("/")[0] or "/"
        if parent in self.child_watches:
            self.child_watches.discard(parent)
            self._notify(EventType.NODE_CHILDREN_CHANGED, parent, zxid)

    def _notify(self, kind: EventType, path: str, zxid: int) -> None:
        self.down.send(notification(kind, path, zxid))


class Server:
    """A process with a log, a tree, and a role: "down", "looking" for a leader, "follower" or "leader"."""

    def __init__(self, ensemble: FakeEnsemble, index: int) -> None:
        self.ensemble = ensemble
        self.index = index
        self.address = f"10.0.0.{index + 1}"
        self.role = "down"
        self.paused = False
        self.epoch = 0
        self.log: list[Transaction] = []
        self.applied = 0  # how many of the log
        self.tree = Tree()
        self.connections: list[Connection] = []
        self.peering: Peering | None = None  # a follower's, with its leader
        self.leadership: Leadership | None = None  # a leader's
        self._agreed = self._new_queue()  # what a follower has still to apply
        self._touched: dict[int, int] = {}  # since the leader's last ping
        self._life = 0  # of timers: they end with the role
        self._backlog: list[tuple[Action, bool]] = []

    def __repr__(self) -> str:
        return f"<server {self.index} {self.role}{' paused' if self.paused else ''}>"

    # --- the process

    def take(self, action: Action, *, timer: bool = False) -> None:
        """Do it, when the process runs."""
        if self.role == "down":
            return
        if self.paused:
            self._backlog.append((action, timer))
        else:
            action()

    def later(self, delay: float, action: Action) -> None:
        """Do it then, unless the role has ended."""
        life = self._life

        def act() -> None:
            if self._life == life:
                action()

        self.ensemble.timeline.after(delay, lambda: self.take(act, timer=True))

    def pause(self) -> None:
        if self.role != "down":
            self.paused = True

    def resume(self) -> None:
        """Go on with what has arrived, in order. What clocks start comes from other threads, which may wake later."""
        if not self.paused:
            return
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for action, timer in backlog:
            delay = self.ensemble.random.uniform(0, self.ensemble.waking) if timer else 0.0
            self.ensemble.timeline.after(delay, partial(self.take, action, timer=timer))

    def kill(self) -> None:
        if self.role == "down":
            return
        for connection in list(self.connections):
            self.forget(connection)
            connection.down.send(MemoryTransport.RESET)
        self._leave_quorum()
        self.role, self.paused, self._backlog = "down", False, []

    def start(self) -> None:
        if self.role == "down":
            self.role = "looking"
            self.look()

    def look(self) -> None:
        """Serve nobody, and look for a leader."""
        for connection in list(self.connections):
            connection.close()
        self._leave_quorum()
        self.role = "looking"
        self._look_later()

    def _look_later(self) -> None:
        self.later(self.ensemble.random.uniform(*self.ensemble.election_time), self._look)

    def _look(self) -> None:
        if self.role == "looking" and not self.ensemble.elect(self):
            self._look_later()

    def _leave_quorum(self) -> None:
        self._life += 1
        self._agreed.cut()
        self._agreed = self._new_queue()
        self._touched = {}
        peering, self.peering = self.peering, None
        if peering is not None:
            peering.tell_leader(peering.leadership.left, peering)
        leadership, self.leadership = self.leadership, None
        if leadership is not None:
            leadership.end()

    # --- connections

    def forget(self, connection: Connection) -> None:
        connection.closed = True
        connection.data_watches.clear()
        connection.child_watches.clear()
        self.connections.remove(connection)

    def close_idle(self) -> None:
        """Connections that said nothing for their session's timeout (NIOServerCnxnFactory)."""
        for connection in list(self.connections):
            if connection.established and self.ensemble.timeline.now - connection.heard > connection.timeout / 1000:
                connection.close()

    def touch(self, session: int, timeout: int) -> bool:
        """Whether the session is not being closed, as far as this server knows."""
        if self.leadership is not None:
            return self.leadership.tracker.touch(session, timeout, self.ensemble.timeline.now)
        if session in self.tree.sessions:
            self._touched[session] = timeout
        return True

    def to_leader(self, request: Request) -> None:
        if self.leadership is not None:
            self.leadership.submit(request, self)
        elif self.peering is not None:
            self.peering.tell_leader(self.peering.leadership.submit, request, self.peering)

    def revalidate(self, connection: Connection) -> None:
        session, timeout = connection.session, connection.timeout
        if self.leadership is not None:
            connection.accept(self.leadership.revalidate(session, timeout, self))
        elif self.peering is not None:
            self.peering.tell_leader(self.peering.leadership.revalidate_for, self.peering, connection)

    # --- what has been agreed upon

    def apply(self, transaction: Transaction) -> None:
        """Events first, then the reply (DataTree.processTxn, FinalRequestProcessor)."""
        self.tree.apply(transaction)
        self.applied += 1
        for change in transaction.changes:
            for connection in list(self.connections):
                connection.fire(change, transaction.zxid)
        request = transaction.request
        if request.conn is not None and request.conn.server is self:
            request.transaction = transaction
            self.finish(request)
        if transaction.closes:
            for connection in list(self.connections):
                if connection.session == transaction.closes:
                    connection.close()

    def finish(self, request: Request) -> None:
        request.done = True
        request.conn.drain() if request.conn is not None else None

    # --- following

    def follow(self, peering: Peering) -> None:
        """Take over the leader's log, and what of it is committed."""
        leadership = peering.leadership
        leader = leadership.server
        assert [each.zxid for each in self.log[: self.applied]] == [each.zxid for each in leader.log[: self.applied]]
        self._life += 1
        self.role, self.epoch, self.peering = "follower", leader.epoch, peering
        self.log = list(leader.log)
        for transaction in self.log[self.applied : leader.applied]:
            self.apply(transaction)
        for transaction in self.log[leader.applied :]:
            peering.tell_leader(leadership.ack, peering, transaction.zxid)
        self.later(self.ensemble.patience, self._check_leader)

    def _check_leader(self) -> None:
        assert self.peering is not None
        silent = self.ensemble.timeline.now - self.peering.heard_by_follower
        if silent >= self.ensemble.patience - 1e-9:
            self.look()
        else:
            self.later(self.ensemble.patience - silent, self._check_leader)

    def proposed(self, transaction: Transaction) -> None:
        assert self.peering is not None
        self.log.append(transaction)
        self.peering.tell_leader(self.peering.leadership.ack, self.peering, transaction.zxid)

    def committed(self, zxid: int) -> None:
        def act() -> None:
            transaction = self.log[self.applied]
            assert transaction.zxid == zxid
            self.apply(transaction)

        self._in_order(act)

    def synced(self, request: Request) -> None:
        """Behind all that was committed before."""
        self._in_order(lambda: self.finish(request))

    def _in_order(self, action: Action) -> None:
        """What the leader has said goes through one queue (CommitProcessor); its answers about sessions and its pings
        do not."""
        self._agreed.send(action)

    def _new_queue(self) -> Wire:
        ensemble = self.ensemble
        return Wire(ensemble.timeline, lambda: ensemble.slowness(self), self.take)

    def pinged(self) -> None:
        """Only now does the leader learn whom this server has heard from (LearnerHandler)."""
        assert self.peering is not None
        touched, self._touched = self._touched, {}
        self.peering.tell_leader(self.peering.leadership.ponged, touched)
        self.close_idle()

    def lead(self, epoch: int) -> None:
        self._life += 1
        self.role, self.epoch = "leader", epoch
        for transaction in self.log[self.applied :]:
            self.apply(transaction)
            self.ensemble.note_commit(transaction)
        self.leadership = Leadership(self)
        self.leadership.begin()


def password(session: int) -> bytes:
    return session.to_bytes(8, "big", signed=True) * 2
