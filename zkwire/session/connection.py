"""One TCP stream, from ConnectRequest to its end: bytes in, events out; requests in, bytes out. No I/O, no clock.

The caller moves bytes and passes the time:

    connection = Connection(connect_request, now=now, deadline=now + 3.0)
    send(connection.data_to_send(now))
    connection.receive_data(received, now)               # b"" is the end of the stream
    while (event := connection.next_event(now)) is not NEED_DATA: ...
    connection.handle_timeout(now)                        # at connection.next_deadline()

A reply belongs to the oldest request that has none: first in, first out, and the xid is compared. Three kinds of frames
have no such order and are recognized by their xid: notifications (-1), ping replies (-2) and auth replies (-4).

A request's frame is made by `send`, so call order is wire order. The caller writes all bytes that `data_to_send`
returns, or says in `lost` how many it could not write.

"Rule N": docs/client-rules.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from ..codes import ErrorCode, EventType, KeeperState, OpCode, Xid, member_or_int
from ..errors import LocalProtocolError, RemoteProtocolError
from ..frames import (
    CONNECT_RESPONSE_SIZE,
    LENGTH_SIZE,
    MAX_REPLY,
    MAX_REQUEST,
    NOTIFICATION,
    PASSWORD_SIZE,
    REPLY_HEADER,
    REPLY_HEADER_SIZE,
    REQUEST_HEADER_SIZE,
    REQUEST_PREFIX,
    Direction,
    Frame,
    FrameBuffer,
    FrameError,
    frame,
    reply_types,
    request_types,
)
from ..jute import JuteError, decode_at, encode
from ..operations import AUTH, PING, Operation
from ..records import ConnectRequest, ConnectResponse, ReplyHeader, WatcherEvent
from ..text import counted
from .answered import Answered
from .events import (
    NEED_DATA,
    AuthReplied,
    Connected,
    NeedData,
    Notified,
    Ponged,
    Replied,
    SessionRefused,
    TooLong,
    WatchedEvent,
)
from .requests import Request, XidCounter, body_of
from .states import CONNECTION_TRANSITIONS, ConnectionState

#: The shortest ConnectResponse: without readOnly.
_SHORTEST_CONNECT_RESPONSE = CONNECT_RESPONSE_SIZE + PASSWORD_SIZE

#: A reply longer than max_reply is dropped if it has at most this many bytes, and the connection stays in use. If the
#: length is greater, the bytes are not a frame: the first bytes of a text are a greater number, and no server can send
#: a reply of that length.
LONGEST_DROPPED = 2**30


class _Shown(RemoteProtocolError):
    """A RemoteProtocolError about a frame that was given to `on_frame` already."""


class Connection:
    """The protocol on one TCP stream.

    Args:
        connect_request: the first frame. It is in the outbox at once.
        now: clock time in seconds. Use one clock for all calls; it must not jump.
        deadline: clock time, in seconds, by which the ConnectResponse must have come. After it, `handle_timeout` says
            that the stream must be given up.
        xids: where request numbers come from; a counter of its own if None.
        max_frame: the longest request payload, in bytes, 1 MiB - 1 by default. The server closes the connection on one
            that is longer than its jute.maxbuffer.
        max_reply: the longest reply payload that is taken, in bytes, 64 MiB by default. A longer reply to a request is
            dropped, and a TooLong takes the place of its response. Any other frame that long breaks the protocol.
        on_frame: called with every Frame in the step that makes or reads it. It must neither raise nor call the
            connection, since the step may be a part of a larger one. `deque.append` will do.

    Inputs: `receive_data`, `handle_timeout`, `lost`. Commands: `send`, `send_auth`, `close`.
    Outputs: `next_event`, `data_to_send`, `next_deadline`.
    Getters: `state`, `session_timeout`, `last_frame`, `pending`.
    """

    def __init__(
        self,
        connect_request: ConnectRequest,
        *,
        now: float,
        deadline: float,
        xids: XidCounter | None = None,
        max_frame: int = MAX_REQUEST,
        max_reply: int = MAX_REPLY,
        on_frame: Callable[[Frame], object] | None = None,
    ) -> None:
        self.state = ConnectionState.HANDSHAKING
        #: The session timeout that the server granted, in seconds; None until the ConnectResponse.
        self.session_timeout: float | None = None
        #: When the last valid frame came (clock time); None before the first. Local expiry counts from it (rule 40).
        self.last_frame: float | None = None
        self._xids = xids or XidCounter()
        self._max_frame = max_frame
        self._on_frame = on_frame
        self._deadline = deadline
        self._inbox = FrameBuffer(max_reply)
        self._eof = False
        self._outbox: list[bytes] = []
        self._queued_bytes = 0  # bytes of all frames that were made so far
        self._handed_out = 0  # how many of those bytes data_to_send has returned
        #: Requests, sent or in the outbox, that have no reply yet. The oldest is first.
        self.pending: deque[Request] = deque()
        self._auths: deque[tuple[Request, float]] = deque()  # auth packets without a reply, and when they were made
        self._last_sent = now
        self._answered = Answered(now)
        self._last_received = now
        self._emit(encode(connect_request), (ConnectRequest,), None, now)

    # --- inputs

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes that came from the server; b"" at the end of the stream."""
        if data:
            self._last_received = now
            self._inbox.append(data)
        else:
            self._eof = True

    def handle_timeout(self, now: float) -> str | None:
        """Do what is due now. To be called at `next_deadline`; at any other time it does no harm.

        Returns one of two things: 1) None: write `data_to_send`, which may have a ping. 2) A str: the stream must be
        given up, for this reason; close it, and call `lost`.
        """
        if self.state is ConnectionState.HANDSHAKING:
            return "no ConnectResponse in time" if now >= self._deadline else None
        if self.session_timeout is None or self.state not in (ConnectionState.ESTABLISHED, ConnectionState.CLOSING):
            return None
        if now >= self._last_received + self.session_timeout * 2 / 3:
            return f"no byte from the server for {now - self._last_received:.3g} s, 2/3 of the session timeout"
        if self.last_frame is not None and now >= self.last_frame + self.session_timeout * 4 / 3:
            return f"no whole frame from the server for {now - self.last_frame:.3g} s, 4/3 of the session timeout"
        if self._auths and now >= self._auths[0][1] + self.session_timeout * 2 / 3:
            return f"no reply to auth for {now - self._auths[0][1]:.3g} s, 2/3 of the session timeout"
        if now >= self._last_sent + self.session_timeout / 3 and self.state is ConnectionState.ESTABLISHED:
            self._answered.note_ping(self._queued_bytes)
            data = self._emit_request(Xid.PING, PING, b"")
            self._last_sent = now  # no second ping follows if the caller cannot write this one yet
            self._trace_request(data, PING, now)
        return None

    def lost(self, unsent: int = 0) -> tuple[list[tuple[Request, Literal["in full", "partly"]]], list[Request]]:
        """The stream is lost. `unsent`: how many of the bytes that `data_to_send` returned last were never written.

        Returns two lists, in order: 1) the requests that the server may have got, in full or partly; 2) the requests
        that never left. Auth packets are in neither.
        """
        if self.state not in (ConnectionState.CLOSED, ConnectionState.FAILED):
            self._change_state("lost")
        written = self._handed_out - unsent
        doubtful: list[tuple[Request, Literal["in full", "partly"]]] = []
        unwritten: list[Request] = []
        for request in self.pending:
            if request.start >= written:
                unwritten.append(request)
            else:
                doubtful.append((request, "in full" if request.end <= written else "partly"))
        self.pending.clear()
        self._auths.clear()
        return doubtful, unwritten

    # --- commands

    def send(self, request: Request, now: float) -> None:
        """Number the request and put its frame into the outbox.

        Raises:
            LocalProtocolError: the request must not or cannot be sent; it says why. Nothing has changed then.
        """
        if self.state is not ConnectionState.ESTABLISHED:
            raise LocalProtocolError(f"{request.operation.name} on a connection that is {self.state.value}")
        operation = request.operation
        body = body_of(operation, request.record, self._max_frame)
        request.xid = self._xids.take()
        request.start = self._queued_bytes
        data = self._emit_request(request.xid, operation, body)
        request.end = self._queued_bytes
        self.pending.append(request)
        if self._on_frame is not None:
            self._trace_request(data, operation, now)

    def send_auth(self, request: Request, now: float) -> None:
        """Put an auth packet (operation AUTH) into the outbox. Its reply is an AuthReplied. Raises as `send`."""
        if self.state is not ConnectionState.ESTABLISHED:
            raise LocalProtocolError(f"auth on a connection that is {self.state.value}")
        data = self._emit_request(Xid.AUTH, AUTH, body_of(AUTH, request.record, self._max_frame))
        request.end = self._queued_bytes
        self._auths.append((request, now))
        self._trace_request(data, AUTH, now)

    def close(self, request: Request, now: float) -> None:
        """Send closeSession. No request may be sent after it. Replies still come."""
        self.send(request, now)
        self._change_state("closeSession")

    # --- outputs

    def data_to_send(self, now: float) -> bytes:
        """Take all bytes out of the outbox; b"" if there are none. The caller writes them."""
        outbox = self._outbox
        if not outbox:
            return b""
        data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        outbox.clear()
        if now >= self._answered.next_noted:
            self._answered.note_sent(self._handed_out, now, self.session_timeout or 0.0)
        self._handed_out += len(data)
        self._last_sent = now
        return data

    def last_answered(self, before: float) -> float:
        """Send time (clock time, seconds) of the newest request or ping that the server had answered by `before`; of
        the ConnectRequest if there is none. See Answered.last for how exact it is."""
        return self._answered.last(before)

    def next_event(
        self, now: float
    ) -> Connected | SessionRefused | Replied | Notified | AuthReplied | Ponged | NeedData | None:
        """Returns one of three things:

        1. An event: Connected, SessionRefused, Replied, Notified, AuthReplied or Ponged.
        2. NEED_DATA: there is no event until more bytes come.
        3. None: the stream has ended, and so has the connection.

        Raises:
            RemoteProtocolError: the server broke the protocol. The connection is FAILED then.
        """
        state = self.state
        if state is ConnectionState.CLOSED or state is ConnectionState.FAILED:
            return None
        try:
            found = self._inbox.next_frame()
            if found is None:
                if not self._eof:
                    return NEED_DATA
                self._change_state("lost")
                return None
            buffer, start, end = found
            if state is ConnectionState.HANDSHAKING:
                return self._read_handshake(buffer, start, end, now)
            return self._read_reply(buffer, start, end, now)
        except FrameError as error:
            return self._read_too_long(error, now)
        except (JuteError, RemoteProtocolError) as error:
            # on_frame is given a bad reply with its ReplyHeader. During the handshake, a bad frame is a reply only if
            # it is exactly as long as a ReplyHeader.
            beyond = end - start - REPLY_HEADER_SIZE
            has_header = beyond == 0 or (beyond > 0 and state is not ConnectionState.HANDSHAKING)
            if not isinstance(error, _Shown):
                self._trace(Direction.RECEIVED, buffer[start:end], (ReplyHeader,) if has_header else (), None, now)
            self._change_state("RemoteProtocolError")
            raise RemoteProtocolError(str(error)) from None

    def next_deadline(self) -> float | None:
        """The clock time at which `handle_timeout` must be called next; None: it need not be.

        During the handshake it is the end of the handshake's time. After it, the earliest of these, in parts of the
        session timeout: 1/3 after the last write, for the next ping (rule 36); 2/3 after the last byte from the server,
        to give it up (rule 37); 4/3 after the last whole frame, since a frame that trickles in for ever must not
        postpone local expiry (rule 40); and 2/3 after an auth packet without a reply, since servers answer it at once,
        and no later reply would show that it was lost. Source: ClientCnxn.SendThread.run.
        """
        if self.state is ConnectionState.HANDSHAKING:
            return self._deadline
        if self.session_timeout is None or self.last_frame is None:
            return None
        silence = min(
            self._last_received + self.session_timeout * 2 / 3, self.last_frame + self.session_timeout * 4 / 3
        )
        if self._auths:
            silence = min(silence, self._auths[0][1] + self.session_timeout * 2 / 3)
        if self.state is ConnectionState.ESTABLISHED:
            return min(silence, self._last_sent + self.session_timeout / 3)
        return silence if self.state is ConnectionState.CLOSING else None

    # --- frames out

    def _emit_request(self, xid: int, operation: Operation, body: bytes) -> bytes:
        """Make a request's frame: length, RequestHeader, body. No other code makes one."""
        data = REQUEST_PREFIX.pack(REQUEST_HEADER_SIZE + len(body), xid, operation.opcode) + body
        self._queued_bytes += len(data)
        self._outbox.append(data)
        return data

    def _trace_request(self, data: bytes, operation: Operation, now: float) -> None:
        self._trace(Direction.SENT, data[LENGTH_SIZE:], request_types(operation), operation.opcode, now)

    def _emit(self, payload: bytes, types: tuple[Any, ...], opcode: OpCode | None, now: float) -> None:
        data = frame(payload)
        self._queued_bytes += len(data)
        self._outbox.append(data)
        self._trace(Direction.SENT, payload, types, opcode, now)

    # --- frames in

    def _read_handshake(self, buffer: bytes, start: int, end: int, now: float) -> Connected | SessionRefused:
        if end - start < _SHORTEST_CONNECT_RESPONSE:
            # A read-only server without local sessions sends a bare ReplyHeader (tests/frames: connect-NotReadOnly).
            code = REPLY_HEADER.unpack_from(buffer, start)[2] if end - start >= REPLY_HEADER_SIZE else None
            raise RemoteProtocolError(
                f"expected a ConnectResponse of at least {_SHORTEST_CONNECT_RESPONSE} bytes, "
                f"got {counted(end - start, 'byte')}" + (f" with error code {code}" if code else "")
            )
        response, _ = decode_at(ConnectResponse, buffer, start, end)
        self._trace(Direction.RECEIVED, buffer[start:end], (ConnectResponse,), None, now)
        if response.protocol_version != 0:
            # ClickHouse Keeper says 42 while it has no leader. Its timeout and id mean nothing then.
            raise _Shown(
                f"ConnectResponse.protocol_version at offset 0: expected 0, got {response.protocol_version}: "
                "this server gives no session now"
            )
        if response.time_out > 0 and response.session_id == 0:
            raise _Shown("ConnectResponse.session_id at offset 8: expected a session's id, got 0")
        self.last_frame = now
        if response.time_out <= 0:
            self._change_state("SessionRefused")
            return SessionRefused()
        self.session_timeout = response.time_out / 1000
        self._change_state("ConnectResponse")
        return Connected(response)

    def _read_reply(self, buffer: bytes, start: int, end: int, now: float) -> Replied | Notified | AuthReplied | Ponged:
        body = start + REPLY_HEADER_SIZE
        if body > end:
            raise RemoteProtocolError(
                f"expected a ReplyHeader of {REPLY_HEADER_SIZE} bytes, got a frame of {end - start}"
            )
        xid, zxid, err = REPLY_HEADER.unpack_from(buffer, start)
        if xid > 0:
            pending = self.pending
            if not pending or pending[0].xid != xid:
                self._let_overtake(xid, zxid, err)
            request = pending[0]
            response_type = request.operation.response
            response = None
            if err == 0 and response_type is not None:
                response, _ = decode_at(response_type, buffer, body, end)
            pending.popleft()
            self.last_frame = now
            if self._answered.sent:
                self._answered.note_answer(request.start, now)
            if self._on_frame is not None:
                types = reply_types(request.operation, err)
                self._trace(Direction.RECEIVED, buffer[start:end], types, request.operation.opcode, now)
            return Replied(request, zxid, err, response)
        return self._read_reserved(xid, zxid, err, buffer, start, end, now)

    def _read_too_long(self, error: FrameError, now: float) -> Replied | NeedData | None:
        """Skip a frame whose length is out of range, if its header shows that it is the reply to the oldest request.

        Raises:
            RemoteProtocolError: it is something else.
        """
        if self.pending and 0 < error.length <= LONGEST_DROPPED:
            header = self._inbox.begun(REPLY_HEADER_SIZE)
            if len(header) < REPLY_HEADER_SIZE:
                if not self._eof:
                    return NEED_DATA
                self._change_state("lost")
                return None
            xid, zxid, err = REPLY_HEADER.unpack(header)
            request = self.pending[0]
            if xid == request.xid:
                self._inbox.skip()
                self.pending.popleft()
                self.last_frame = now
                self._answered.note_answer(request.start, now)
                self._trace(Direction.RECEIVED, header, (ReplyHeader,), request.operation.opcode, now)
                return Replied(request, zxid, err, None if err else TooLong(error.length))
        self._change_state("RemoteProtocolError")
        raise RemoteProtocolError(str(error)) from None

    def _let_overtake(self, xid: int, zxid: int, err: int) -> None:
        """Move the request with this xid to the front, if its reply may overtake earlier ones. Only the refusal of an
        unknown opcode may: the server's thread that reads it refuses it and closes the connection, while earlier
        requests are still being worked on (ZooKeeperServer.submitRequestNow). Such a reply has the zxid -1.

        Raises:
            RemoteProtocolError: for every other reply out of order.
        """
        pending = self.pending
        if err == ErrorCode.UNIMPLEMENTED and zxid == -1:
            for request in pending:
                if request.xid == xid:
                    pending.remove(request)
                    pending.appendleft(request)
                    return
        expected = f"xid {pending[0].xid} ({pending[0].operation.name})" if pending else "no reply"
        raise RemoteProtocolError(f"expected {expected}, got a reply with xid {xid}")

    def _read_reserved(
        self, xid: int, zxid: int, err: int, buffer: bytes, start: int, end: int, now: float
    ) -> Notified | AuthReplied | Ponged:
        """Read a notification, a ping reply or an auth reply, which are recognized by their xid."""
        result: Notified | AuthReplied | Ponged
        types: tuple[Any, ...] = (ReplyHeader,)
        opcode: OpCode | None = None
        if xid == Xid.NOTIFICATION:
            event, _ = decode_at(WatcherEvent, buffer, start + REPLY_HEADER_SIZE, end)
            if event.path is None:
                raise RemoteProtocolError("WatcherEvent.path at offset 24: expected a path, got null")
            result = Notified(_watched(event, zxid))
            types = NOTIFICATION
        elif xid == Xid.PING:
            result, opcode = Ponged(zxid), OpCode.PING
            self._answered.note_pong(now)
            if err == ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH:
                result = AuthReplied(None, err)  # this server wants an authentication before anything else
            elif err:
                # Mostly SessionExpired. The next ConnectResponse says whether the session is over.
                raise RemoteProtocolError(f"expected the reply to a ping, got it with error code {err}")
        elif xid == Xid.AUTH and self._auths:
            result, opcode = AuthReplied(self._auths.popleft()[0], err), OpCode.AUTH
        else:
            raise RemoteProtocolError(f"got a reply with xid {xid}, which belongs to no request")
        self.last_frame = now
        self._trace(Direction.RECEIVED, buffer[start:end], types, opcode, now)
        return result

    def _trace(
        self, direction: Direction, payload: bytes, types: tuple[Any, ...], opcode: OpCode | None, now: float
    ) -> None:
        if self._on_frame is not None:
            self._on_frame(Frame(direction, payload, types, opcode, now))

    def _change_state(self, trigger: str) -> None:
        """The only place where the state changes."""
        self.state = CONNECTION_TRANSITIONS[self.state, trigger]


def _watched(event: WatcherEvent, zxid: int) -> WatchedEvent:
    return WatchedEvent(
        member_or_int(EventType, event.type), member_or_int(KeeperState, event.state), event.path or "", zxid
    )
