"""One ZooKeeper session, over all the TCP connections it lives on. No I/O, no clock, no randomness.

The caller dials, moves bytes and tells the time:

    session = Session(10.0)
    session.tcp_connected(now, deadline)                   # a stream stands; the ConnectRequest is in the outbox
    send(session.data_to_send(now))
    session.receive_data(received, now)                    # b"" is EOF
    while (event := session.next_event(now)) is not NEED_DATA: ...
    session.handle_timeout(now)                            # at session.next_deadline()
    session.tcp_lost(now, "why", unsent)                   # and dial again while session.state is no terminal one

On each new connection go, in this order: ConnectRequest; its answer awaited; all auths, then SASL; their answers
awaited; setWatches; what callers asked for meanwhile (rules 11, 12, 13).

A Session is one session only. When it has expired it is done, and so is every request it held: a new session is a new
Session, and nothing crosses over.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Literal

from ..codes import ErrorCode, EventType, KeeperState, OpCode
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
from ..operations import (
    ADD_WATCH,
    ADD_WATCH_ARMS,
    AUTH,
    CLOSE_SESSION,
    PING,
    REMOVE_WATCHES,
    SASL,
    SET_WATCHES,
    SET_WATCHES2,
    WatcherKind,
)
from ..records import AuthPacket, ConnectRequest, ConnectResponse, GetSASLRequest, SetWatches, SetWatches2
from ..text import counted, hexadecimal, name_of
from .connection import Connection, ConnectionState
from .events import (
    NEED_DATA,
    AuthReplied,
    Connected,
    Disconnected,
    Failed,
    Fired,
    NeedData,
    Notified,
    Ponged,
    Replied,
    SessionInfo,
    SessionRefused,
    StateChanged,
    TooLong,
    WatchedEvent,
)
from .requests import (
    SET_WATCHES_FRAME,
    OwnRequest,
    Request,
    XidCounter,
    body_of,
    ended_error,
    resumable,
    watch_problem,
)
from .sasl import FIPS_HINT, Mechanism, SaslError
from .watches import SET_WATCHES_MAX_LENGTH, Watches

_DISCONNECTED, _CONNECTED = KeeperState.DISCONNECTED, KeeperState.SYNC_CONNECTED
_READ_ONLY, _EXPIRED = KeeperState.CONNECTED_READ_ONLY, KeeperState.EXPIRED
_AUTH_FAILED, _CLOSED = KeeperState.AUTH_FAILED, KeeperState.CLOSED

#: The whole life of a session: which state may follow which. The last three are terminal.
TRANSITIONS: dict[KeeperState, frozenset[KeeperState]] = {
    _DISCONNECTED: frozenset({_CONNECTED, _READ_ONLY, _EXPIRED, _AUTH_FAILED, _CLOSED}),
    _CONNECTED: frozenset({_DISCONNECTED, _AUTH_FAILED, _CLOSED}),
    _READ_ONLY: frozenset({_DISCONNECTED, _AUTH_FAILED, _CLOSED}),
    _EXPIRED: frozenset(),
    _AUTH_FAILED: frozenset(),
    _CLOSED: frozenset(),
}

_NEW_PASSWORD = bytes(PASSWORD_SIZE)
_SET_WATCHES_LISTS = (WatcherKind.DATA, WatcherKind.EXIST, WatcherKind.CHILD)


SessionEvent = StateChanged | Replied | Failed | Fired | Disconnected | Ponged


class Session:
    """The protocol of one session.

    Args:
        session_timeout: what to ask for, in seconds; asked for anew on every connection (rule 7).
        session: the session to resume; None for a new one.
        read_only: whether a server in read-only mode will do.
        auth: (scheme, auth) pairs, sent first on every connection in this order (rule 16).
        sasl: the SASL mechanism to run after them; each connection works on a copy of it.
        granted: the timeout in seconds that a server granted an earlier session that asked for the same; limits count
            from it until this one has its own. None: they count from what is asked for.
        max_frame, max_reply: as for Connection.
        on_frame: called with every Frame in the step that makes or reads it; it must not call the session. When it
            raises, it is called no more, and `next_event` raises the same once every event has been taken.

    Inputs: `tcp_connected`, `receive_data`, `tcp_lost`, `handle_timeout`.
    Commands: `request`, `cancel`, `add_auth`, `disarm`, `close`, `detach`.
    Outputs: `next_event`, `data_to_send`, `next_deadline`.
    Getters: `state`, `info`, `session_timeout`, `may_end_at`, `last_zxid`, `error`, `watches`, `auths`, `outstanding`.
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
        #: Id and password, once the server gave them; id 0 before.
        self.info = SessionInfo(0, _NEW_PASSWORD) if session is None else resumable(session)
        #: The negotiated timeout in seconds; until then `granted`, or what was asked for.
        self.session_timeout = session_timeout if granted is None else granted
        #: The highest zxid of any reply (rules 26, 27): what the next server must have seen too.
        self.last_zxid = 0
        self.watches = Watches()
        self._asked_timeout = session_timeout
        self._read_only_ok = read_only
        self._seen_read_write = session is not None  # else the id is a read-only server's throw-away one (rule 17)
        self._auths: list[Request] = [OwnRequest(AUTH, AuthPacket(0, scheme, token)) for scheme, token in auth]
        for packet in self._auths:
            body_of(AUTH, packet.record, max_frame)
        self._sasl = sasl
        self._exchange = sasl  # a copy of it for each connection
        self._last_words = b""  # still to be written on a connection that is given up
        self._on_frame = on_frame
        self._trace_error: BaseException | None = None  # what on_frame raised
        trace = None if on_frame is None else self._trace
        self._lengths = {"max_frame": max_frame, "max_reply": max_reply}
        self._limits: dict[str, Any] = {**self._lengths, "on_frame": trace}
        self._xids = XidCounter()
        self._connection: Connection | None = None
        self._awaits_tcp_lost = False  # the connection is to be closed by our caller, who then calls tcp_lost
        self._read_only = False  # what the server connected to is
        self._requested_id = 0  # of the ConnectRequest on its way
        self._queue: deque[Request] = deque()  # waiting for a connection, in call order
        self._events: deque[SessionEvent] = deque()
        self._cancelled: set[Request] = set()  # on the connection, and not to be kept when they never left
        self._auths_left = 0
        self._sasl_begun = self._sasl_over = False
        self._set_watches_length = min(SET_WATCHES_MAX_LENGTH, max_frame - SET_WATCHES_FRAME)
        self._set_watches_taken = 0  # the longest that was answered on this connection
        self._restoring = 0  # SetWatches of our own on this connection whose replies are outstanding
        self._last_frame: float | None = None
        self._deadline = 0.0  # when the way from the ConnectRequest to a session that stands must be over
        self._unserved_since: float | None = None  # since when requests wait and no session has stood
        self._lost_why = ""  # what ended the last connection
        #: Why no more requests are taken; None while they are.
        self.error: ZkwireError | None = None
        self._removes_watches = True
        self._events_have_zxids = False

    # --- inputs

    def tcp_connected(self, now: float, deadline: float) -> None:
        """A TCP (or TLS) stream to a server stands. By `deadline` the session must stand on it: the ConnectResponse and
        all replies to auths and SASL must have come."""
        if self._connection is not None:
            raise LocalProtocolError("tcp_connected: a connection stands already; tcp_lost comes between two of them")
        if self.error is not None:
            raise LocalProtocolError(f"tcp_connected: this session is over and needs no connection: {self.error!r}")
        resumes = self._seen_read_write
        self._requested_id = self.info.id if resumes else 0
        request = ConnectRequest(
            0,
            self.last_zxid,
            round(self._asked_timeout * 1000),
            self._requested_id,
            self.info.password if resumes else _NEW_PASSWORD,
            self._read_only_ok,
        )
        self._deadline = deadline
        self._set_watches_taken = 0
        self._connection = Connection(request, now=now, deadline=deadline, xids=self._xids, **self._limits)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the server; b"" says that no more will come."""
        if self._connection is not None:
            self._connection.receive_data(data, now)

    def tcp_lost(self, now: float, reason: str, unsent: int = 0) -> None:
        """The stream is gone, or was closed after a Disconnected. `unsent` counts the bytes handed out last that never
        left.

        What the server may have got fails, in order; what never left waits for the next connection.
        """
        connection = self._connection
        if connection is None:
            return
        self._connection, self._awaits_tcp_lost, self._restoring = None, False, 0
        self._lost_why = reason
        doubtful, unwritten = connection.lost(unsent)
        reason += self._shorten_set_watches([request for request, written in doubtful if written == "in full"])
        self.watches.connection_lost()
        for request, written in doubtful:
            self._fail(request, ConnectionLossError(request.path, request.operation.name, written, reason))
        kept = [request for request in unwritten if not (type(request) is OwnRequest or request in self._cancelled)]
        self._cancelled.clear()
        self._queue.extendleft(reversed(kept))
        if self._queue or self._unanswered_auths():
            self._note_waiting(now)
        if self.error is not None and self.state not in (_EXPIRED, _AUTH_FAILED, _CLOSED):
            self._end(_CLOSED, self.error)  # closing, and the answer will not come
        elif self.state in (_CONNECTED, _READ_ONLY):
            self._change_state(_DISCONNECTED, reason)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `next_deadline`: a ping, giving up the stream, giving up the session."""
        expiry = self._expiry()
        if expiry is not None and now >= expiry:
            self._end(
                _EXPIRED,
                SessionExpiredError(),
                f"no valid frame for {now - expiry + self.session_timeout * 4 / 3:.3g} s, 4/3 of the session timeout",
            )
            return
        unserved_until = self._unserved_until()
        if unserved_until is not None and now >= unserved_until:
            self._give_up_waiting()
        if self._connection is not None and not self._awaits_tcp_lost:
            reason = self._connection.handle_timeout(now)
            if reason is None and self._is_authenticating() and now >= self._deadline:
                reason = f"no reply to {'auth' if self._auths_left else 'SASL'} in time"
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
        if request.watcher is not None and (reason := watch_problem(request, **self._lengths)):
            raise LocalProtocolError(reason)
        if (self.state is _CONNECTED or self.state is _READ_ONLY) and not self._awaits_tcp_lost:
            if request.watcher is None:
                assert self._connection is not None
                self._connection.send(request, now)
            else:
                self._send(request, now)
            return
        body_of(request.operation, request.record, self._limits["max_frame"])  # to raise now what it would raise later
        self._queue.append(request)
        if self.state is _DISCONNECTED:
            self._note_waiting(now)

    def cancel(self, request: Request) -> None:
        """The caller gave up. A request still waiting for a connection is forgotten, and so is one that has not left
        when its connection is lost; of one sent, the reply is awaited all the same (rule 34)."""
        if request.operation is AUTH:
            if not request.end and request in self._auths:
                self._auths.remove(request)
        elif self._queue and request in self._queue:
            self._queue.remove(request)
        elif self._connection is not None:
            self._cancelled.add(request)

    def add_auth(self, request: Request, now: float) -> None:
        """Send an auth packet now, and again on every connection to come. It is not lost with a connection: the reply
        on the next one will do. It fails when the session ends, and when no session stands for 4/3 of the timeout: then
        it is not sent any more.

        Raises:
            as `request`.
        """
        if self.error is not None:
            raise ended_error(self.error, request)
        body_of(AUTH, request.record, self._limits["max_frame"])  # what cannot be sent must not come back either
        self._auths.append(request)
        if self._connection is not None and self._connection.state is ConnectionState.ESTABLISHED:
            self._auths_left += 1
            self._connection.send_auth(request, now)
        if self.state is _DISCONNECTED:
            self._note_waiting(now)

    def disarm(self, path: str, watcher: Any, now: float) -> None:
        """A watcher's interest in the path ends; the server is told when it was the last (rule 67)."""
        if self.watches.disarm(path, watcher):
            self._remove_watches(path, now)

    def close(self, now: float) -> None:
        """Send closeSession and take no more requests. The state is CLOSED when its reply has come; at once when there
        is no connection."""
        if self.error is not None:
            return
        self.error = ClosedError("the client is closed")
        connection = self._connection
        if connection is not None and connection.state is ConnectionState.ESTABLISHED and not self._awaits_tcp_lost:
            connection.close(OwnRequest(CLOSE_SESSION), now)
        else:
            self._end(_CLOSED, self.error)

    def detach(self) -> None:
        """End here, and leave the session to live on the server until its timeout or until someone resumes it."""
        self._end(_CLOSED, ClosedError("the client is closed"))

    # --- outputs

    def data_to_send(self, now: float) -> bytes:
        """The bytes to write now; b"" when there are none."""
        connection = self._connection
        if connection is None:
            words, self._last_words = self._last_words, b""
            return words
        return b"" if self._awaits_tcp_lost else connection.data_to_send(now)

    def next_event(self, now: float) -> SessionEvent | NeedData:
        """The next event, in the order in which the server meant them; NEED_DATA when there is none yet.

        When there is no event left, it raises, once, what `on_frame` has raised.
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
                self._take_other(event, now)
        if self._events:
            return self._events.popleft()
        if self._trace_error is not None:
            raised, self._trace_error = self._trace_error, None
            raise raised
        return NEED_DATA

    def next_deadline(self) -> float | None:
        """When `handle_timeout` must be called next; None when nothing is to be waited for."""
        deadlines = [
            None if self._connection is None or self._awaits_tcp_lost else self._connection.next_deadline(),
            self._expiry(),
            self._unserved_until(),
            self._deadline if self._is_authenticating() else None,
        ]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # --- getters

    @property
    def auths(self) -> list[tuple[str, bytes]]:
        """All (scheme, auth) pairs that are sent on every connection: for a Session that follows this one."""
        return [(request.record.scheme, request.record.auth) for request in self._auths]

    def last_answered(self, before: float) -> float | None:
        """Connection.last_answered, of the connection that stands; None without one."""
        return None if self._connection is None else self._connection.last_answered(before)

    @property
    def may_end_at(self) -> float | None:
        """When the server may end the session if it does not hear from us: its timeout after the last valid frame. None
        without a session, and for one to resume whose servers have not been heard yet."""
        return None if self.info.id == 0 or self._last_frame is None else self._last_frame + self.session_timeout

    @property
    def outstanding(self) -> int:
        """How many requests wait for a reply on this connection."""
        connection = self._connection
        return 0 if connection is None else len(connection.pending)

    # --- the life of the session

    def _shorten_set_watches(self, unanswered: list[Request]) -> str:
        """Called when the connection was lost with these requests on it. Returns what the state's reason says about a
        setWatches among them, "" for nothing.

        A server with a smaller jute.maxbuffer than ours closes the connection when a setWatches is too long for it, and
        would do so each time. So the next ones are shorter, in the end one for each path.
        """
        for request in unanswered:
            if type(request) is OwnRequest and request.operation in (SET_WATCHES, SET_WATCHES2):
                size = request.end - request.start - 4
                if size <= self._set_watches_taken:
                    break
                self._set_watches_length = max(min(self._set_watches_length, size) // 4, 1)
                sent = counted(size, "byte")
                return f"; no answer to a setWatches of {sent}: the next are shorter, if its jute.maxbuffer is less"
        return ""

    def _expiry(self) -> float | None:
        """When the session is over without the server's word for it: 4/3 of the timeout after the last valid frame.

        A server cannot have heard of us for so long; one that accepts TCP and never answers does not postpone it
        (rule 40). A connection that stands is given up by then, and the waiters learn of its loss first.
        """
        if self.info.id == 0 or not self._seen_read_write or self._last_frame is None:
            return None
        if self.state is not _DISCONNECTED:
            return None
        return self._last_frame + self.session_timeout * 4 / 3

    def _note_waiting(self, now: float) -> None:
        """A request waits. It fails when the session expires. But there may be no session yet. Or servers may grant one
        again and again that never stands, since no auth is answered. Then the request fails after a time without."""
        if self._unserved_since is None:
            self._unserved_since = now

    def _unserved_until(self) -> float | None:
        """When requests have waited long enough for a session that stands."""
        return None if self._unserved_since is None else self._unserved_since + self.session_timeout * 4 / 3

    def _give_up_waiting(self) -> None:
        """No session has stood for too long: everything that waits for one fails."""
        self._unserved_since = None
        cause = f"no server: {self._lost_why}" if self._lost_why else "no server"
        for request in self._take_queue():
            self._fail(request, ConnectionLossError(request.path, request.operation.name, "not sent", cause))
        for request in self._unanswered_auths():
            self._auths.remove(request)
            written: Literal["in full", "not sent"] = "in full" if request.end else "not sent"
            self._fail(request, ConnectionLossError(None, request.operation.name, written, cause))

    def _unanswered_auths(self) -> list[Request]:
        """The requests whose callers still wait for the reply."""
        return [request for request in self._auths if type(request) is not OwnRequest]

    def _is_authenticating(self) -> bool:
        """Whether the server has granted the session, and auths or SASL are still to be answered before it stands."""
        connection = self._connection
        return (
            self.state is _DISCONNECTED
            and connection is not None
            and connection.state is ConnectionState.ESTABLISHED
            and not self._awaits_tcp_lost
        )

    def _take_connected(self, response: ConnectResponse, now: float) -> None:
        """The server's yes: whose session is it?"""
        if self._requested_id != 0 and response.session_id != self._requested_id:
            self._end(
                _EXPIRED,
                SessionExpiredError(),
                f"asked to resume {hexadecimal(self._requested_id)}, got {hexadecimal(response.session_id)}",
            )
            return
        self.info = SessionInfo(response.session_id, response.passwd or b"")
        self.session_timeout = response.time_out / 1000
        self._read_only = bool(response.read_only)
        self._seen_read_write = self._seen_read_write or not self._read_only
        assert self._connection is not None
        self._auths_left = len(self._auths)
        for request in self._auths:
            self._connection.send_auth(request, now)
        self._sasl_begun, self._sasl_over = False, self._sasl is None
        self._next_login_step(now)

    def _take_auth(self, event: AuthReplied, now: float) -> None:
        if event.err:
            reason = f"the server answered {name_of(ErrorCode, event.err)}"
            if event.request is not None:
                reason += f" to auth scheme {event.request.record.scheme!r}"
            self._end(_AUTH_FAILED, AuthFailedError(reason=reason))
            return
        if type(event.request) is not OwnRequest and event.request in self._auths:
            # Answered once; on later connections it is sent as the session's own.
            place = self._auths.index(event.request)
            self._auths[place] = OwnRequest(AUTH, event.request.record)
            self._events.append(Replied(event.request, 0, 0, None))
        self._auths_left -= 1
        self._next_login_step(now)

    def _next_login_step(self, now: float) -> None:
        """The next step towards CONNECTED, when nothing is awaited any more that comes before it. An auth packet may
        have been added meanwhile."""
        if self._auths_left or self.state is not _DISCONNECTED or self.error is not None:
            return
        if self._sasl_over:
            self._finish_login(now)
        elif not self._sasl_begun:
            self._sasl_begun = True
            self._run_mechanism(None, now)

    def _take_sasl(self, event: Replied, now: float) -> None:
        if self.error is not None:
            return  # closing: closeSession was the last frame
        if event.err:
            answered = f"the server answered {name_of(ErrorCode, event.err)} ({event.err})"
            # Only a mechanism whose server speaks first begins with an empty token, as DIGEST-MD5 does.
            unchallenged = event.err == ErrorCode.AUTH_FAILED and not event.request.record.token
            self._refuse_sasl(f"{answered} {FIPS_HINT}" if unchallenged else answered, None, now)
        elif event.response.token is None:
            self._refuse_sasl("the server has no SASL configured: it answered with a null token", None, now)
        else:
            self._run_mechanism(event.response.token, now)

    def _run_mechanism(self, challenge: bytes | None, now: float) -> None:
        """Send the mechanism's next token, the first one if there is no challenge yet. The mechanism is not our code:
        if it raises, or returns something else than bytes, the session ends with an AuthFailedError."""
        connection = self._connection
        answer: bytes | None = None
        refusal = ""
        cause: Exception | None = None
        try:
            if challenge is None:
                self._exchange = copy.copy(self._sasl)
            assert self._exchange is not None
            answer = self._exchange.start() if challenge is None else self._exchange.step(challenge)
        except SaslError as error:
            refusal, cause = str(error), error
        except Exception as error:
            refusal, cause = f"the mechanism raised {type(error).__name__}", error
        if connection is None or self._connection is not connection or self.error is not None:
            return  # the mechanism has closed the client
        if cause is not None:
            self._refuse_sasl(refusal, cause, now)
        elif answer is None and challenge is not None:
            self._sasl_over = True
            self._next_login_step(now)
        elif not isinstance(answer, (bytes, bytearray)):
            self._refuse_sasl(f"the mechanism returned {type(answer).__name__}, not bytes", None, now)
        else:
            try:
                connection.send(OwnRequest(SASL, GetSASLRequest(bytes(answer))), now)
            except LocalProtocolError as error:  # it is too long
                self._refuse_sasl(str(error), error, now)

    def _refuse_sasl(self, reason: str, cause: Exception | None, now: float) -> None:
        """The session is over, and the server is told to close it."""
        error = AuthFailedError(reason=f"SASL: {reason}")
        error.__cause__ = cause
        assert self._connection is not None
        self._connection.close(OwnRequest(CLOSE_SESSION), now)
        self._last_words = self._connection.data_to_send(now)
        self._end(_AUTH_FAILED, error)

    def _finish_login(self, now: float) -> None:
        """Everything that must come first has: watches, then the queue."""
        assert self._connection is not None
        for record in self.watches.set_watches(self.last_zxid, self._set_watches_length):
            self._send_set_watches(record, now)
        self._unserved_since = None
        self._change_state(_READ_ONLY if self._read_only else _CONNECTED, "")
        for request in self._take_queue():
            try:
                self._send(request, now)
            except LocalProtocolError as error:
                self._events.append(Failed(request, error))

    def _give_up_connection(self, reason: str) -> None:
        """Give up the connection. Our caller knows how much of what it was handed never left, and says in tcp_lost."""
        self._awaits_tcp_lost = True
        self._events.append(Disconnected(reason))

    def _end(self, state: KeeperState, error: ZkwireError, reason: str = "") -> None:
        """The session is over: every request fails, every watch is told, and nothing is taken any more."""
        if self.state in (_EXPIRED, _AUTH_FAILED, _CLOSED):
            return
        self.error = error
        self._unserved_since = None
        connection, self._connection = self._connection, None
        doubtful, unwritten = ([], []) if connection is None else connection.lost()
        for request in [request for request, _ in doubtful] + unwritten + self._take_queue():
            self._fail(request, ended_error(error, request))
        for request in self._auths:
            self._fail(request, ended_error(error, request))
        watchers = self.watches.all_watchers()
        self.watches.clear()
        self._change_state(state, reason or str(error))
        if watchers:
            self._events.append(Fired(watchers, WatchedEvent(EventType.NONE, state, "")))
        if connection is not None and not self._awaits_tcp_lost:
            self._events.append(Disconnected(reason or str(error)))
        self._awaits_tcp_lost = False

    def _change_state(self, state: KeeperState, reason: str) -> None:
        """The only place where the state changes."""
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"no way from {self.state.name} to {state.name}")
        self.state = state
        self._events.append(StateChanged(state, reason))

    def _trace(self, frame: Frame) -> None:
        """Call on_frame. It is not our code, and this may be the middle of a step, so its exception is raised later."""
        if self._on_frame is not None:
            try:
                self._on_frame(frame)
            except BaseException as error:
                self._on_frame = None
                self._trace_error = error

    # --- requests and replies

    def _send(self, request: Request, now: float) -> None:
        assert self._connection is not None
        watcher = request.watcher
        if watcher is None:
            self._connection.send(request, now)
            return
        # Whether a one-shot watch needs its flag is known only now, in wire order.
        path, kind = request.record.path, request.operation.arms
        if kind is not None:
            request.record = request.record.replace(watch=not self.watches.rides(kind, path))
        self._connection.send(request, now)
        self.watches.expect(path, None if kind is not None else ADD_WATCH_ARMS[request.record.mode])

    def _take_reply(self, event: Replied, now: float) -> bool:
        """What the session itself learns from a reply; whether it is the caller's too."""
        request = event.request
        own = type(request) is OwnRequest
        if self._restoring and own and request.operation in (SET_WATCHES, SET_WATCHES2):
            self._restoring -= 1
            self._set_watches_taken = max(self._set_watches_taken, request.end - request.start - 4)
        # While watches are on their way to the server, a loss must make us ask again for changes since the same zxid.
        if event.zxid > self.last_zxid and not self._restoring:
            self.last_zxid = event.zxid
        if self._cancelled:
            self._cancelled.discard(request)
        if request.watcher is not None:
            self._arm(event, now)
        if event.err and event.err == ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH:
            self._end(_AUTH_FAILED, AuthFailedError(reason="the server requires an authentication first"))
        elif own:
            self._take_own(event, now)
        return not own

    def _take_too_long(self, event: Replied, now: float) -> None:
        """A reply was too long to be taken. Its caller is told so, and has no watch then, though the server has."""
        request, size, limit = event.request, event.response.length, self._limits["max_reply"]
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

    def _arm(self, event: Replied, now: float) -> None:
        """Arms the watch in the step that pops the reply: the next frame may already be its event."""
        request, err = event.request, event.err
        path, operation = request.record.path, request.operation
        self.watches.settle(path)
        if operation is ADD_WATCH:
            kind = ADD_WATCH_ARMS[request.record.mode]
            if err:
                if self.watches.refuse(kind, path):
                    self._give_up_connection(f"addWatch failed with {err} while another one was on its way to {path}")
                self._remove_watches(path, now)  # one taken before may have lost its last watcher meanwhile
                return
            self.watches.arm(kind, path, request.watcher)
            if self.watches.child_watch_hidden_by(request.record.mode, path):
                self._send_set_watches(SetWatches(self.last_zxid, (), (), (path,)), now)
            return
        armed = operation.arms if err == 0 else operation.arms_on_no_node if err == ErrorCode.NO_NODE else None
        if armed is not None:
            riding = not request.record.watch and self.watches.rides(armed, path)
            self.watches.arm(armed, path, request.watcher, riding=riding)
            if not request.record.watch and not riding:
                # The addWatch that it was to ride on was refused, so the server has no watch yet.
                lists = ((path,) if kind is armed else () for kind in _SET_WATCHES_LISTS)
                self._send_set_watches(SetWatches(self.last_zxid, *lists), now)
        self._remove_watches(path, now)

    def _take_own(self, event: Replied, now: float) -> None:
        """A reply to a request of the session's own making."""
        request = event.request
        opcode = request.operation.opcode
        if opcode is OpCode.SASL:
            self._take_sasl(event, now)
        elif opcode is OpCode.CLOSE_SESSION:
            self._end(_CLOSED, self.error or ClosedError("the client is closed"))
        elif opcode is OpCode.REMOVE_WATCHES:
            if event.err == ErrorCode.UNIMPLEMENTED:
                self._removes_watches = False  # a server before 3.5.0, which closes the connection for it
        elif event.err:
            self._give_up_connection(f"{request.operation.name} failed with {event.err}: the watches do not stand")
        elif opcode is OpCode.SET_WATCHES2:
            self._resync(request.record)

    def _resync(self, record: SetWatches2) -> None:
        """Persistent watches stand again, but the server keeps no events for them (rule 64)."""
        for kind, paths in (
            (WatcherKind.PERSISTENT, record.persistent_watches),
            (WatcherKind.PERSISTENT_RECURSIVE, record.persistent_recursive_watches),
        ):
            watchers = [watcher for path in paths or () for watcher in self.watches.watchers(kind, path or "")]
            if watchers:
                event = WatchedEvent(EventType.RESYNC, self.state, "")
                self._events.append(Fired(watchers, event))

    def _take_other(self, event: Any, now: float) -> None:
        match event:
            case Notified(event=watched):
                # Since 3.9.0 events carry their transaction's zxid, but for those that setWatches finds: they are for
                # the one-shot watches it put back. A persistent watch has had them, or gets a RESYNC.
                self._events_have_zxids = self._events_have_zxids or watched.zxid > 0
                watchers = self.watches.fire(watched, one_shots_only=self._events_have_zxids and watched.zxid <= 0)
                if watchers:
                    self._events.append(Fired(watchers, watched))
                self._remove_watches(watched.path, now)
            case Ponged():
                self._events.append(event)
            case Connected(response=response):
                self._take_connected(response, now)
            case SessionRefused():
                self._end(_EXPIRED, SessionExpiredError(), "the server does not know the session (any more)")
            case _:  # AuthReplied
                self._take_auth(event, now)

    def _send_set_watches(self, record: SetWatches | SetWatches2, now: float) -> None:
        if self.error is not None:
            return  # closing: closeSession was the last frame
        assert self._connection is not None
        operation = SET_WATCHES if isinstance(record, SetWatches) else SET_WATCHES2
        self._restoring += 1
        self._connection.send(OwnRequest(operation, record), now)

    def _remove_watches(self, path: str, now: float) -> None:
        if self.state not in (_CONNECTED, _READ_ONLY) or self._awaits_tcp_lost or self.error is not None:
            return
        if not self._removes_watches:
            return
        assert self._connection is not None
        for record in self.watches.removals(path):
            self._connection.send(OwnRequest(REMOVE_WATCHES, record), now)

    def _fail(self, request: Request, error: ZkwireError) -> None:
        if type(request) is not OwnRequest:
            self._events.append(Failed(request, error))

    def _take_queue(self) -> list[Request]:
        requests = list(self._queue)
        self._queue.clear()
        return requests
