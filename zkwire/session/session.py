"""One ZooKeeper session, over all its TCP connections. No I/O, no clock, no randomness.

The caller opens streams, moves bytes and passes the time:

    session = Session(10.0)
    session.tcp_connected(now, deadline)                   # a stream is open; the ConnectRequest is in the outbox
    send(session.data_to_send(now))
    session.receive_data(received, now)                    # b"" is the end of the stream
    while (event := session.next_event(now)) is not NEED_DATA: ...
    session.handle_timeout(now)                            # at session.next_deadline()
    session.tcp_lost(now, "why", unsent)                   # then connect again, unless session.state is terminal

On each new connection the order is (rules 11, 12, 13): send the ConnectRequest, wait for its reply; send all auths,
then SASL, wait for their replies; send setWatches; send the requests that callers made meanwhile.

All times are seconds on one clock of the caller's, which must not jump.

A Session is one session only. When it has expired, every request that it had fails. `successor` makes the next session,
which has none of them.

"Rule N": docs/client-rules.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Literal

from ..codes import TERMINAL_STATES, ErrorCode, EventType, KeeperState
from ..errors import (
    AuthFailedError,
    ClosedError,
    ConnectionLossError,
    LocalProtocolError,
    RemoteProtocolError,
    ReplyTooLongError,
    SessionExpiredError,
    ZkwireError,
)
from ..frames import MAX_REPLY, MAX_REQUEST, PASSWORD_SIZE, Frame
from ..operations import AUTH, CLOSE_SESSION, PING, SASL
from ..records import ConnectRequest, ConnectResponse
from ..text import counted, hexadecimal
from .arming import Arming
from .connection import Connection
from .events import (
    NEED_DATA,
    AuthReplied,
    Connected,
    Disconnected,
    Failed,
    Fired,
    NeedData,
    Notified,
    Replied,
    SessionInfo,
    SessionRefused,
    StateChanged,
    TooLong,
    WatchedEvent,
)
from .login import Login
from .requests import OwnRequest, Request, XidCounter, body_of, ended_error, resumable, watch_problem
from .sasl import Mechanism
from .states import SESSION_TRANSITIONS, ConnectionState
from .tracing import Tracer
from .waiting import Waiting

_DISCONNECTED, _CONNECTED = KeeperState.DISCONNECTED, KeeperState.SYNC_CONNECTED
_READ_ONLY = KeeperState.CONNECTED_READ_ONLY

_NEW_PASSWORD = bytes(PASSWORD_SIZE)

SessionEvent = StateChanged | Replied | Failed | Fired | Disconnected


class Session:
    """The protocol of one session.

    Args:
        session_timeout: the timeout to ask for, in seconds. It is asked for anew on every connection (rule 7).
        session: the session to resume; None for a new one.
        read_only: whether a server in read-only mode will do.
        auth: pairs of scheme and credentials. They are sent first on every connection, in this order (rule 16).
        sasl: the SASL mechanism that runs after them. Each connection uses a copy of it.
        granted: the timeout in seconds that a server granted an earlier session which asked for the same. All limits
            are parts of it until a server has granted this session one. None: they are parts of `session_timeout`.
        max_frame, max_reply: as for Connection.
        on_frame: called with every Frame in the step that makes or reads it. It must not call the session. If it
            raises, it is not called again, and `next_event` raises the exception after the last event.

    Inputs: `tcp_connected`, `receive_data`, `tcp_lost`, `handle_timeout`.
    Commands: `request`, `cancel`, `add_auth`, `disarm`, `close`, `detach`, `successor`.
    Outputs: `next_event`, `data_to_send`, `next_deadline`.
    Getters: `state`, `info`, `session_timeout`, `may_end_at`, `last_answered`, `last_zxid`, `error`, `watches`,
        `outstanding`.
    """

    def __init__(
        self,
        session_timeout: float,
        *,
        session: SessionInfo | None = None,
        read_only: bool = False,
        auth: Iterable[tuple[str, bytes]] = (),
        sasl: Mechanism | None = None,
        granted: float | None = None,
        max_frame: int = MAX_REQUEST,
        max_reply: int = MAX_REPLY,
        on_frame: Callable[[Frame], object] | None = None,
    ) -> None:
        """Raises LocalProtocolError for an auth or a session that cannot be sent."""
        self.state = _DISCONNECTED
        #: Id and password; the id is 0 until a server has granted a session.
        self.info = SessionInfo(0, _NEW_PASSWORD) if session is None else resumable(session)
        #: The timeout that the server granted, in seconds; until then `granted`, or else the one that is asked for.
        self.session_timeout = session_timeout if granted is None else granted
        #: The highest zxid of any reply, 0 before the first. The next server must have seen it too (rules 26, 27).
        self.last_zxid = 0
        #: The error that every further request raises: the session has ended or is being closed. None before.
        self.error: ZkwireError | None = None
        self._asked_timeout = session_timeout
        self._read_only_ok = read_only
        self._seen_read_write = (
            session is not None
        )  # else the id may be a throw-away one of a read-only server (rule 17)
        self._login = Login(auth, sasl, max_frame)
        self._arming = Arming(max_frame)
        #: Which watches there are.
        self.watches = self._arming.watches
        self._max_frame = max_frame
        self._max_reply = max_reply
        self._tracer = None if on_frame is None else Tracer(on_frame)
        self._xids = XidCounter()
        self._connection: Connection | None = None
        self._awaits_tcp_lost = False  # our caller is to close the connection and to call tcp_lost
        self._read_only = False  # the server that the connection goes to is in read-only mode
        self._deadline = 0.0  # by when the connection must be logged in
        self._last_frame: float | None = None  # when the last valid frame came
        self._waiting = Waiting()
        self._lost_why = ""  # what ended the last connection
        self._events: deque[SessionEvent] = deque()

    def successor(self) -> Session:
        """A new session, for the time after this one has expired. It has the same options and all auths of this one.
        Until a server has granted it a timeout, its limits are parts of this one's timeout."""
        return Session(
            self._asked_timeout,
            read_only=self._read_only_ok,
            auth=[(packet.record.scheme, packet.record.auth) for packet in self._login.packets],
            sasl=self._login.mechanism,
            granted=self.session_timeout,
            max_frame=self._max_frame,
            max_reply=self._max_reply,
            on_frame=None if self._tracer is None else self._tracer.on_frame,
        )

    # --- inputs

    def tcp_connected(self, now: float, deadline: float) -> None:
        """A TCP (or TLS) stream to a server is open. Send `data_to_send` next.

        Args:
            now: clock time in seconds.
            deadline: clock time by which the session must be connected: until then the ConnectResponse and all replies
                to auths and SASL must have come. Otherwise `handle_timeout` gives the connection up.

        Raises:
            LocalProtocolError: there is a connection already, or the session has ended.
        """
        if self._connection is not None:
            raise LocalProtocolError("tcp_connected: there is a connection already; call tcp_lost before the next one")
        if self.error is not None:
            raise LocalProtocolError(f"tcp_connected: this session is over and needs no connection: {self.error!r}")
        id, password = self.info if self._seen_read_write else (0, _NEW_PASSWORD)
        timeout = round(self._asked_timeout * 1000)
        self._deadline = deadline
        self._connection = Connection(
            ConnectRequest(0, self.last_zxid, timeout, id, password, self._read_only_ok),
            now=now,
            deadline=deadline,
            xids=self._xids,
            max_frame=self._max_frame,
            max_reply=self._max_reply,
            on_frame=self._tracer,
        )

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the server; b"" at the end of the stream. Take all events of `next_event` afterwards."""
        if self._connection is not None:
            self._connection.receive_data(data, now)

    def tcp_lost(self, now: float, reason: str, unsent: int = 0) -> None:
        """The stream is lost, or the caller has closed it after a Disconnected. Without a connection, nothing happens.

        Requests that the server may have got fail, in order. Those that never left wait for the next connection.

        Args:
            now: clock time in seconds.
            reason: why, in words: it is in the errors and in the StateChanged.
            unsent: how many of the bytes that `data_to_send` returned last were never written.
        """
        connection = self._connection
        if connection is None:
            return
        self._connection, self._awaits_tcp_lost = None, False
        self._lost_why = reason
        doubtful, unwritten = connection.lost(unsent)
        reason += self._arming.lost([request for request, written in doubtful if written == "in full"])
        for request, written in doubtful:
            self._fail(request, ConnectionLossError(request.path, request.operation.name, written, reason))
        self._waiting.put_back(unwritten)
        if self._waiting.requests or self._login.unanswered():
            self._waiting.note(now)
        if self.error is not None:
            self._end("closed", self.error)  # closing, and the answer will not come
        elif self.state is not _DISCONNECTED:
            self._change_state("lost", reason)

    def handle_timeout(self, now: float) -> None:
        """Do what is due now: send a ping, give up the connection, or end the session. To be called at `next_deadline`;
        at any other time it does no harm. Then take all events of `next_event`, and send `data_to_send`."""
        expiry = self._expiry()
        if expiry is not None and now >= expiry:
            self._end(
                "silence",
                SessionExpiredError(),
                f"no valid frame for {now - expiry + self.session_timeout * 4 / 3:.3g} s, 4/3 of the session timeout",
            )
            return
        waiting_until = self._waiting.until(self.session_timeout)
        if waiting_until is not None and now >= waiting_until:
            self._give_up_waiting()
        if self._connection is not None and not self._awaits_tcp_lost:
            reason = self._connection.handle_timeout(now)
            if reason is None and self._is_authenticating() and now >= self._deadline:
                reason = f"no reply to {self._login.awaited} in time"
            if reason is not None:
                self._give_up_connection(reason)

    # --- commands

    def request(self, request: Request, now: float) -> None:
        """Send a request, or keep it for the next connection.

        Raises:
            LocalProtocolError: it must not or cannot be sent; says why.
            SessionExpiredError, AuthFailedError, ClosedError: the session is over.
        """
        if self.error is not None:
            raise ended_error(self.error, request)
        operation = request.operation
        if operation is PING or operation is AUTH or operation is CLOSE_SESSION:
            raise LocalProtocolError(f"{operation.name} is sent by handle_timeout, add_auth or close, not as a request")
        if request.watcher is not None and (reason := watch_problem(request, self._max_frame, self._max_reply)):
            raise LocalProtocolError(reason)
        if (self.state is _CONNECTED or self.state is _READ_ONLY) and not self._awaits_tcp_lost:
            if request.watcher is None:
                assert self._connection is not None
                self._connection.send(request, now)
            else:
                self._send(request, now)
            return
        body_of(request.operation, request.record, self._max_frame)  # to raise now what it would raise later
        self._waiting.requests.append(request)
        if self.state is _DISCONNECTED:
            self._waiting.note(now)

    def cancel(self, request: Request) -> None:
        """The caller does not want the reply any more. A request that waits for a connection is forgotten. One in the
        outbox is sent, but forgotten if the connection is lost before that. The reply to a request that was sent still
        comes as a Replied (rule 34)."""
        if request.operation is AUTH:
            if not request.end and request in self._login.packets:
                self._login.packets.remove(request)
        elif request in self._waiting.requests:
            self._waiting.requests.remove(request)
        elif self._connection is not None:
            self._waiting.cancelled.add(request)

    def add_auth(self, request: Request, now: float) -> None:
        """Send an auth packet now, and again on every later connection.

        It does not fail with its connection: the next one brings the reply. It fails when the session ends, and after
        4/3 of the session timeout without a connected session; then it is not sent any more.

        Raises:
            LocalProtocolError, SessionExpiredError, AuthFailedError, ClosedError: as `request`.
        """
        if self.error is not None:
            raise ended_error(self.error, request)
        body_of(AUTH, request.record, self._max_frame)  # raises now what each connection would raise later
        self._login.add(request, now)
        if self.state is _DISCONNECTED:
            self._waiting.note(now)

    def disarm(self, path: str, watcher: Any, now: float) -> None:
        """The watcher needs no more events of the path. If it was the last one, the server's watch is removed (rule
        67)."""
        self._arming.disarm(path, watcher, now)

    def close(self, now: float) -> None:
        """Send closeSession and take no more requests. The state becomes CLOSED when the reply has come; without a
        connection, at once."""
        if self.error is not None:
            return
        self.error = ClosedError("the client is closed")
        connection = self._connection
        if connection is not None and connection.state is ConnectionState.ESTABLISHED and not self._awaits_tcp_lost:
            connection.close(OwnRequest(CLOSE_SESSION), now)
        else:
            self._end("closed", self.error)

    def detach(self) -> None:
        """End without closeSession. On the server the session lives until its timeout is over, or until it is
        resumed."""
        self._end("detached", ClosedError("the client is closed"))

    # --- outputs

    def data_to_send(self, now: float) -> bytes:
        """The bytes to write now; b"" if there are none. They are returned once: write all of them, or say in
        `tcp_lost` how many were not written."""
        connection = self._connection
        if connection is None:
            words, self._login.last_words = self._login.last_words, b""
            return words
        return b"" if self._awaits_tcp_lost else connection.data_to_send(now)

    def next_event(self, now: float) -> SessionEvent | NeedData:
        """Returns one of six things, in wire order:

        1. Replied: a request has its reply.
        2. Failed: a request will get no reply.
        3. Fired: watchers are to be given an event.
        4. StateChanged: the session has another state.
        5. Disconnected: close the stream, then call `tcp_lost`.
        6. NEED_DATA: there is no event now.

        Any exception is one that `on_frame` has raised. It is raised once, after the last event.
        """
        while not self._events:
            connection = self._connection
            if connection is None or self._awaits_tcp_lost:
                break
            try:
                event = connection.next_event(now)
            except RemoteProtocolError as error:
                self._give_up_connection(f"RemoteProtocolError: {error}")
                continue
            if type(event) is Replied:
                self._last_frame = now
                if type(event.response) is TooLong:
                    self._take_too_long(event, now)
                elif self._take_reply(event, now):
                    return event
            elif event is NEED_DATA:
                break
            elif event is None:
                self._give_up_connection("the server closed the connection")
            else:
                self._last_frame = now
                self._take_unasked(event, now)
        if self._events:
            return self._events.popleft()
        if self._tracer is not None:
            self._tracer.raise_kept()
        return NEED_DATA

    def next_deadline(self) -> float | None:
        """The clock time at which `handle_timeout` must be called next; None: it need not be. Ask again after each
        input and command."""
        deadlines = [
            None if self._connection is None or self._awaits_tcp_lost else self._connection.next_deadline(),
            self._expiry(),
            self._waiting.until(self.session_timeout),
            self._deadline if self._is_authenticating() else None,
        ]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # --- getters

    def last_answered(self, before: float) -> float | None:
        """Connection.last_answered, of the current connection; None without one."""
        return None if self._connection is None else self._connection.last_answered(before)

    @property
    def may_end_at(self) -> float | None:
        """The clock time from which the server may end the session if it does not hear from us: the session timeout
        after the last valid frame. None without a session, and before the first frame of one that is resumed."""
        return None if self.info.id == 0 or self._last_frame is None else self._last_frame + self.session_timeout

    @property
    def outstanding(self) -> int:
        """How many requests on this connection have no reply yet."""
        connection = self._connection
        return 0 if connection is None else len(connection.pending)

    # --- the life of the session

    def _expiry(self) -> float | None:
        """When the session is over although no server has said so: 4/3 of the timeout after the last valid frame.

        By then no server can have heard from us for a whole timeout. A server that accepts TCP and never answers does
        not postpone it (rule 40). An open connection is given up before, so its loss is the first thing that waiting
        callers learn.
        """
        if self.info.id == 0 or not self._seen_read_write or self._last_frame is None:
            return None
        if self.state is not _DISCONNECTED:
            return None
        return self._last_frame + self.session_timeout * 4 / 3

    def _give_up_waiting(self) -> None:
        """The session was not connected for too long: everything that waits for it fails."""
        cause = f"no server: {self._lost_why}" if self._lost_why else "no server"
        for request in self._waiting.take_all():
            self._fail(request, ConnectionLossError(request.path, request.operation.name, "not sent", cause))
        for request in self._login.unanswered():
            self._login.packets.remove(request)
            written: Literal["in full", "not sent"] = "in full" if request.end else "not sent"
            self._fail(request, ConnectionLossError(None, request.operation.name, written, cause))

    def _is_authenticating(self) -> bool:
        """Whether the server has granted the session, and has still to answer auths or SASL."""
        connection = self._connection
        return (
            self.state is _DISCONNECTED
            and connection is not None
            and connection.state is ConnectionState.ESTABLISHED
            and not self._awaits_tcp_lost
        )

    def _take_connected(self, response: ConnectResponse, now: float) -> None:
        """The server has granted a session. It may not be the one that we asked for."""
        if self._seen_read_write and self.info.id != 0 and response.session_id != self.info.id:
            asked, got = hexadecimal(self.info.id), hexadecimal(response.session_id)
            self._end("refused", SessionExpiredError(), f"asked to resume {asked}, got {got}")
            return
        self.info = SessionInfo(response.session_id, response.passwd or b"")
        self.session_timeout = response.time_out / 1000
        self._read_only = bool(response.read_only)
        self._seen_read_write = self._seen_read_write or not self._read_only
        assert self._connection is not None
        self._login.begin(self._connection, now)
        self._proceed_with_login(now)

    def _take_auth(self, event: AuthReplied, now: float) -> None:
        if self._login.take_auth(event):
            self._events.append(Replied(event.request, 0, 0, None))
        self._proceed_with_login(now)

    def _proceed_with_login(self, now: float) -> None:
        """Called after each step of the login, and after the reply to an auth that was added later."""
        if self._login.failure is None and self.state is _DISCONNECTED and self._login.proceed(now):
            self._finish_login(now)
        if self._login.failure is not None:
            self._end("authentication failed", self._login.failure)

    def _finish_login(self, now: float) -> None:
        """Everything that must come first has been answered: set the watches, then send the queue."""
        assert self._connection is not None
        self._arming.begin(self._connection, self.last_zxid, now)
        self._change_state("logged in read-only" if self._read_only else "logged in", "")
        for request in self._waiting.take_all():
            try:
                self._send(request, now)
            except LocalProtocolError as error:
                self._events.append(Failed(request, error))

    def _give_up_connection(self, reason: str) -> None:
        """Have the caller close the connection. It then says in `tcp_lost` how many of the bytes never left."""
        self._awaits_tcp_lost = True
        self._arming.give_up()
        self._events.append(Disconnected(reason))

    def _end(self, trigger: str, error: ZkwireError, reason: str = "") -> None:
        """The session is over: every request fails, every watcher gets a last event, and no request is taken."""
        if self.state in TERMINAL_STATES:
            return
        self.error = error
        connection, self._connection = self._connection, None
        doubtful, unwritten = ([], []) if connection is None else connection.lost()
        unanswered = [request for request, _ in doubtful] + unwritten
        for request in unanswered + self._waiting.take_all() + self._login.packets:
            self._fail(request, ended_error(error, request))
        watchers = self.watches.all_watchers()
        self.watches.clear()
        self._change_state(trigger, reason or str(error))
        if watchers:
            self._events.append(Fired(watchers, WatchedEvent(EventType.NONE, self.state, "")))
        if connection is not None and not self._awaits_tcp_lost:
            self._events.append(Disconnected(reason or str(error)))
        self._awaits_tcp_lost = False

    def _change_state(self, trigger: str, reason: str) -> None:
        """The only place where the state changes."""
        self.state = SESSION_TRANSITIONS[self.state, trigger]
        self._events.append(StateChanged(self.state, reason))

    # --- requests and replies

    def _send(self, request: Request, now: float) -> None:
        assert self._connection is not None
        if request.watcher is None:
            self._connection.send(request, now)
        else:
            self._arming.send(request, self._connection, now)

    def _take_reply(self, event: Replied, now: float) -> bool:
        """Note in the session what a reply changes. True if a caller made the request."""
        request = event.request
        own = type(request) is OwnRequest
        if own:
            self._arming.note_restored(request)
        # While watches are on their way to the server, a loss must make us ask again for changes since the same zxid.
        if event.zxid > self.last_zxid and not self._arming.restoring:
            self.last_zxid = event.zxid
        if self._waiting.cancelled:
            self._waiting.cancelled.discard(request)
        if request.watcher is not None and (reason := self._arming.take_reply(event, self.last_zxid, now)):
            self._give_up_connection(reason)
        if event.err and event.err == ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH:
            self._end("authentication failed", AuthFailedError(reason="the server requires an authentication first"))
        elif own:
            self._take_own(event, now)
        return not own

    def _take_too_long(self, event: Replied, now: float) -> None:
        """A reply was too long to be taken. The request fails, and its watch, which the server has set, is removed."""
        request, size, limit = event.request, event.response.length, self._max_reply
        operation = request.operation.name
        if type(request) is OwnRequest:  # a SASL token: the exchange cannot go on without it
            length = counted(size, "byte")
            self._give_up_connection(
                f"RemoteProtocolError: the reply to {operation} has {length}, max_reply is {limit}"
            )
            return
        self._take_reply(event, now)
        if request.watcher is not None:
            self.disarm(request.path, request.watcher, now)
        self._events.append(Failed(request, ReplyTooLongError(request.path, operation, size, limit)))

    def _take_own(self, event: Replied, now: float) -> None:
        """A reply to a request of the session's own."""
        operation = event.request.operation
        if operation is SASL:
            self._login.take_sasl(event, now)
            self._proceed_with_login(now)
        elif operation is CLOSE_SESSION:
            self._end("closed", self.error or ClosedError("the client is closed"))
        elif reason := self._arming.take_own_reply(event):
            self._give_up_connection(reason)
        else:
            for watchers in self._arming.to_resync(event.request):
                self._events.append(Fired(watchers, WatchedEvent(EventType.RESYNC, self.state, "")))

    def _take_unasked(self, event: Any, now: float) -> None:
        """Take an event that is not the reply to a request."""
        match event:
            case Notified(event=watched):
                if watchers := self._arming.fire(watched, now):
                    self._events.append(Fired(watchers, watched))
            case Connected(response=response):
                self._take_connected(response, now)
            case SessionRefused():
                self._end("refused", SessionExpiredError(), "the server does not know the session (any more)")
            case AuthReplied():
                self._take_auth(event, now)

    def _fail(self, request: Request, error: ZkwireError) -> None:
        if type(request) is not OwnRequest:
            self._events.append(Failed(request, error))
