"""Any interleaving of requests, replies, notifications, losses and reconnects, against a server that remembers."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.fake.model import PERSISTENT, RECURSIVE, STANDARD, ModelServer
from tests.support.fake.wire import reply
from zkwire.codes import AddWatchMode, EventType, KeeperState
from zkwire.errors import ClosedError, ConnectionLossError, SessionExpiredError
from zkwire.operations import ADD_WATCH, AUTH, EXISTS, GET_CHILDREN, GET_DATA, SET_DATA, SYNC, WatcherKind
from zkwire.records import (
    AddWatchRequest,
    AuthPacket,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    SetDataRequest,
    SyncRequest,
)
from zkwire.session.events import NEED_DATA, Disconnected, Failed, Fired, Replied
from zkwire.session.requests import Request
from zkwire.session.session import Session

PATHS = ["/a", "/a/b", "/c"]
OVER = (KeeperState.EXPIRED, KeeperState.CLOSED, KeeperState.AUTH_FAILED)

paths = st.sampled_from(PATHS)
few = st.integers(0, 3)
#: A whole burst as a rule, and often enough an end in the midst of a frame.
sizes = st.one_of(st.just(10**6), st.integers(0, 200))


class Watcher:
    """What a caller would wait on."""

    def __init__(self, path: str, mode: AddWatchMode | None) -> None:
        self.path = path
        self.mode = mode
        self.kind: WatcherKind | None = None  # once a reply has armed it
        self.zxid = 0
        self.fired = 0
        self.told_of_the_end = False
        self.left = False


class SessionAgainstModel(RuleBasedStateMachine):
    """The caller on one side, the server on the other, and a network in between that loses what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        # So small that SetWatches comes in several pieces.
        self.session = Session(10.0, max_frame=60, auth=[("digest", b"a:a")])
        self.server = ModelServer(old=False)
        self.dialed = False
        self.doomed = False
        self.backlog = b""  # handed out, not written
        self.network = b""  # written, not read by the server
        self.calls: list[Request] = []
        self.ended: dict[Request, Replied | Failed] = {}
        self.order: list[int] = []
        self.cancelled: set[Request] = set()
        self.auths: list[Request] = []
        self.watchers: list[Watcher] = []

    @initialize(old=st.booleans())
    def start(self, old: bool) -> None:
        self.server = ModelServer(old=old)
        self.old = old
        for path in PATHS[:2]:
            self.server.change(path)
        self.connect()

    @property
    def over(self) -> bool:
        return self.session.state in OVER

    # --- the caller

    def ask(self, operation: Any, record: Any, watcher: Watcher | None = None) -> None:
        request = Request(operation, record, watcher)
        self.calls.append(request)
        if watcher is not None:
            self.watchers.append(watcher)
        self.session.request(request, self.now)

    @precondition(lambda self: not self.over)
    @rule()
    def sync(self) -> None:
        self.ask(SYNC, SyncRequest(f"/{len(self.calls)}"))

    @precondition(lambda self: not self.over)
    @rule(path=paths)
    def set_data(self, path: str) -> None:
        self.ask(SET_DATA, SetDataRequest(path, b"%d" % len(self.calls), -1))

    @precondition(lambda self: not self.over)
    @rule(
        path=paths,
        kind=st.sampled_from([(EXISTS, ExistsRequest), (GET_DATA, GetDataRequest), (GET_CHILDREN, GetChildrenRequest)]),
    )
    def watch(self, path: str, kind: Any) -> None:
        self.ask(kind[0], kind[1](path, False), Watcher(path, None))

    @precondition(lambda self: not self.over)
    @rule(path=paths, mode=st.sampled_from(AddWatchMode))
    def add_watch(self, path: str, mode: AddWatchMode) -> None:
        others = {watcher.mode for watcher in self.watchers if watcher.path == path} - {None, mode}
        if others and self.old:
            return  # which the client refuses, since such a server holds one mode only
        self.ask(ADD_WATCH, AddWatchRequest(path, mode), Watcher(path, mode))

    @precondition(lambda self: not self.over and len(self.auths) < 3)
    @rule()
    def add_auth(self) -> None:
        request = Request(AUTH, AuthPacket(0, "digest", b"b:b"))
        self.auths.append(request)
        self.session.add_auth(request, self.now)

    @rule(index=st.integers(0, 5))
    def cancel(self, index: int) -> None:
        waiting = [call for call in self.calls if call not in self.ended and call.watcher is None]
        if waiting:
            call = waiting[-1 - index % len(waiting)]
            self.cancelled.add(call)
            self.session.cancel(call)

    @rule(index=st.integers(0, 5))
    def disarm(self, index: int) -> None:
        armed = [watcher for watcher in self.watchers if watcher.kind is not None and not watcher.left]
        if armed:
            watcher = armed[index % len(armed)]
            watcher.left = True
            self.session.disarm(watcher.path, watcher, self.now)

    # --- the network

    @precondition(lambda self: not self.dialed and not self.over)
    @rule()
    def dial(self) -> None:
        self.session.tcp_connected(self.now, self.now + 3.0)
        self.server.connect()
        self.dialed, self.doomed, self.backlog, self.network = True, False, b"", b""

    @precondition(lambda self: not self.dialed and not self.over)
    @rule()
    def connect(self) -> None:
        """The whole handshake, and what waited for it is written; the server may have read it."""
        self.dial()
        self.exchange()
        self.exchange()

    @precondition(lambda self: self.dialed and not self.doomed)
    @rule()
    def exchange(self) -> None:
        """Client to server and back, all of it."""
        self.write(10**6)
        self.serve(10**6, 10**6)
        self.deliver(10**6)

    @precondition(lambda self: self.dialed)
    @rule(size=sizes)
    def write(self, size: int) -> None:
        self.backlog += self.session.data_to_send(self.now)
        self.network += self.backlog[:size]
        self.backlog = self.backlog[size:]

    @precondition(lambda self: self.dialed)
    @rule(size=sizes, count=few)
    def serve(self, size: int, count: int) -> None:
        self.server.read(self.network[:size])
        self.network = self.network[size:]
        self.server.execute(count)

    @precondition(lambda self: self.dialed and not self.doomed)
    @rule(size=sizes)
    def deliver(self, size: int) -> None:
        data, self.server.out = self.server.out[:size], self.server.out[size:]
        if data:
            self.session.receive_data(data, self.now)
        self.pump()

    @precondition(lambda self: self.dialed and not self.doomed)
    @rule(how=st.sampled_from(["eof", "nonsense"]))
    def doom(self, how: str) -> None:
        """The server closes, or answers what nobody asked."""
        if how == "nonsense":
            self.deliver(len(self.server.out))  # bytes keep their order, and a frame may have come in part
        if not self.doomed:
            self.session.receive_data(b"" if how == "eof" else reply(2**31 - 1), self.now)
            self.pump()

    @precondition(lambda self: self.dialed)
    @rule(reaches=sizes, count=few)
    def lose(self, reaches: int, count: int) -> None:
        """The connection is cut. What was written may reach the server all the same, and be executed."""
        self.dialed = False
        self.session.tcp_lost(self.now, "cut", len(self.backlog))
        self.pump()
        self.server.read(self.network[:reaches])
        self.server.execute(count)
        self.server.connect()

    @precondition(lambda self: self.dialed and not self.over)
    @rule(requests=st.integers(1, 4), written=st.integers(0, 150), reaches=sizes, count=few, answered=sizes)
    def lose_while_writing(self, requests: int, written: int, reaches: int, count: int, answered: int) -> None:
        """A burst of requests, of which the network takes some, the server executes some, and answers some."""
        for _ in range(requests):
            self.sync()
        self.write(written)
        self.serve(reaches, count)
        if not self.doomed:
            self.deliver(answered)
        self.lose(reaches, count)

    # --- others, and time

    @rule(path=paths)
    def change(self, path: str) -> None:
        self.server.change(path)

    @rule(path=paths)
    def delete(self, path: str) -> None:
        self.server.delete(path)

    @rule()
    def refuse_next_add_watch(self) -> None:
        self.server.refuse_next_add_watch = True

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.session.handle_timeout(self.now)
        self.pump()

    @rule(chance=st.integers(0, 4))
    def wait_until_something_is_due(self, chance: int) -> None:
        """What `next_deadline` says is done by `handle_timeout`, so that nobody waits for it in a busy loop."""
        deadline = self.session.next_deadline()
        if deadline is None or chance:
            return  # an expiry at every turn would leave little else to see
        self.now = max(self.now, deadline)
        self.session.handle_timeout(self.now)
        self.pump()
        after = self.session.next_deadline()
        assert after is None or after > self.now

    # --- what must hold

    def pump(self) -> None:
        while (event := self.session.next_event(self.now)) is not NEED_DATA:
            match event:
                case Replied(request=request) | Failed(request=request):
                    self.end(request, event)
                case Fired(watchers=watchers, event=watched):
                    for watcher in watchers:
                        self.fire(watcher, watched.type)
                case Disconnected():
                    assert self.dialed
                    assert not self.doomed, "a connection ends once"
                    self.doomed = True

    def end(self, request: Request, event: Replied | Failed) -> None:
        assert request not in self.ended, "a request ends once"
        self.ended[request] = event
        if request in self.auths:
            return
        number = self.calls.index(request)
        assert not self.order or self.order[-1] < number, "requests end in the order of their calls"
        self.order.append(number)
        if isinstance(event, Replied):
            self.replied(request, event)
        else:
            assert isinstance(event.error, (ConnectionLossError, ClosedError, SessionExpiredError))

    def replied(self, request: Request, event: Replied) -> None:
        if request.operation is SYNC:
            assert event.response.path == request.record.path, "a reply is the reply to its request"
        if request.operation is SET_DATA and event.err == 0:
            assert event.response.stat.mzxid == self.server.executed[request.record.data.decode()]
        watcher, operation = request.watcher, request.operation
        if watcher is None:
            return
        if operation is ADD_WATCH:
            if event.err == 0:
                recursive = watcher.mode is AddWatchMode.PERSISTENT_RECURSIVE
                watcher.kind = WatcherKind.PERSISTENT_RECURSIVE if recursive else WatcherKind.PERSISTENT
        else:
            watcher.kind = operation.arms if event.err == 0 else operation.arms_on_no_node
        watcher.zxid = event.zxid

    def fire(self, watcher: Watcher, kind: int) -> None:
        assert watcher.kind is not None, "a watch fires after the reply that arms it"
        assert not watcher.told_of_the_end
        if kind == EventType.NONE:
            watcher.told_of_the_end = True
            return
        assert not watcher.left, "a watcher that left is not woken"
        if watcher.mode is None:
            assert kind != EventType.RESYNC
            assert watcher.fired == 0, "a one-shot fires once"
        watcher.fired += 1

    @invariant()
    def nothing_is_executed_twice(self) -> None:
        assert self.server.twice == []

    @invariant()
    def what_is_said_to_be_not_applied_is_not(self) -> None:
        for request, event in self.ended.items():
            if isinstance(event, Failed) and isinstance(event.error, ConnectionLossError):
                assert event.error.maybe_applied or self.token(request) not in self.server.executed

    @invariant()
    def what_was_executed_and_not_answered_has_not_been_kept(self) -> None:
        for request in self.session._waiting.requests:
            assert self.token(request) not in self.server.executed

    @staticmethod
    def token(request: Request) -> str:
        if request.operation is SET_DATA:
            return str(request.record.data.decode())
        return str(request.path) if request.operation is SYNC else "none"

    @precondition(lambda self: not self.over)
    @rule()
    def come_to_rest(self) -> None:
        """A good connection for a while: then client and server agree on every watch, and no event has been missed."""
        if not self.dialed or self.doomed:
            if self.dialed:
                self.lose(0, 0)
            if self.over:
                return
            self.dial()
        for _ in range(100):
            if self.doomed:  # by the session itself: an addWatch was refused while another one was on its way
                self.lose(10**6, 10**6)
                self.dial()
            self.write(10**6)
            self.serve(10**6, 10**6)
            if not self.server.out:
                break
            self.deliver(10**6)
        else:
            raise AssertionError("client and server talk for ever")
        assert not self.session.outstanding
        assert self.session.state is KeeperState.SYNC_CONNECTED
        assert all(call in self.ended or call in self.cancelled for call in self.calls)
        assert all(auth in self.ended for auth in self.auths)
        waiting = [
            watcher
            for watcher in self.watchers
            if watcher.kind is not None and not watcher.left and (watcher.mode is not None or not watcher.fired)
        ]
        for watcher in waiting:
            self.is_up_to_date_and_held(watcher)
        wanted = {watcher.path for watcher in waiting}
        for path in PATHS:
            if path not in wanted:
                assert not self.server.data.modes.get(path), "the server holds a watch that nobody wants"
                assert not self.server.child.modes.get(path)

    def is_up_to_date_and_held(self, watcher: Watcher) -> None:
        path, data, child = watcher.path, self.server.data, self.server.child
        there = self.server.znodes.get(path)
        match watcher.kind:
            case WatcherKind.DATA:
                assert there is not None
                assert there[0] <= watcher.zxid
                assert data.has(path, STANDARD, PERSISTENT, RECURSIVE)
            case WatcherKind.EXIST:
                assert there is None
                assert data.has(path, STANDARD, PERSISTENT, RECURSIVE)
            case WatcherKind.CHILD:
                assert there is not None
                assert there[1] <= watcher.zxid
                assert child.has(path, STANDARD, PERSISTENT)
            case WatcherKind.PERSISTENT:
                assert data.has(path, PERSISTENT)
                assert child.has(path, PERSISTENT)
            case _:
                assert data.has(path, RECURSIVE)

    def teardown(self) -> None:
        """Whatever happened, the end of the session ends every request and tells every watcher."""
        if not self.over:
            self.session.detach()
            self.pump()
        for call in [*self.calls, *self.auths]:
            assert call in self.ended or call in self.cancelled, "no request is forgotten"
        for watcher in self.watchers:
            if watcher.kind is not None and not watcher.left and (watcher.mode is not None or not watcher.fired):
                assert watcher.told_of_the_end


SessionAgainstModel.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestSessionAgainstModel = SessionAgainstModel.TestCase
