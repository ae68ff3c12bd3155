"""The trio shell: `connect` and `Client`. It dials, moves bytes, tells the time, and wakes who waits.

A client's tasks, all in one nursery that callers never see:

    _run     one session after another, one connection after another
    _reader  bytes in; every event of the core is handled here, synchronously: no user code is ever waited for
    _writer  sleeps until the socket was full or a caller left frames for it
    _timer   sleeps until the session's next deadline

and `_seek_read_write`, where a server in read-only mode will do.

A KeyboardInterrupt in one of these tasks would leave its step half done. So the tasks, and the client's methods in
their callers' tasks, are protected from it: trio raises it in its main task instead.

A caller's request is encoded in the caller's own step. When nothing else is outstanding it is written at once; else the
writer gets it within the same turn of trio's loop, together with all other requests of that turn.
"""

from __future__ import annotations

import logging
import math
import os
import random
import select
import ssl
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import trio

from ..codes import TERMINAL_STATES, AddWatchMode, KeeperState
from ..errors import LocalProtocolError, NoServerError, ZkwireError
from ..frames import MAX_REPLY, MAX_REQUEST, Frame
from ..hosts import Host, parse_hosts
from ..operations import ADD_WATCH_ARMS, AUTH
from ..records import AuthPacket
from ..session.events import NEED_DATA, Disconnected, Failed, Fired, Replied, SessionInfo, StateChanged
from ..session.requests import frozen
from ..session.sasl import Mechanism
from ..session.servers import GROWTH, GROWTH_SERVED, PAUSE_LAST, PAUSE_RESUMING, PAUSE_SHORT, ServerSearch, is_a_while
from ..session.session import Session
from ..text import counted, hexadecimal
from .bound import BoundClient
from .call import Call
from .handles import StateStream
from .nursery import HiddenNursery, root_task
from .transport import Dial, Transport, dialer, resolve
from .verbs import Verbs

_CONNECTED = (KeeperState.SYNC_CONNECTED, KeeperState.CONNECTED_READ_ONLY)

#: Seconds between looks for a read-write server, from the first to the last, doubling.
SEEK_FIRST, SEEK_LAST = 0.1, 60.0
#: What a stream raises when it is broken.
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
#: The least time, in seconds, for finding a first session, even if a shorter session timeout is asked for. It is not
#: known yet which timeout a server will grant, and servers grant two of their ticks or more.
LEAST_TIMEOUT = 1.0
#: A warning is logged after this many sessions in a row that ended too soon; then after twice as many, and so on.
MANY_SHORT = 3
#: How long, in seconds, is read on after a write failed.
LAST_WORDS = 0.2
#: How long, in seconds, leaving the block waits for the reply to closeSession at most.
CLOSE_TIMEOUT = 2.0

_log = logging.getLogger("zkwire")

#: All clients that were entered.
_entered: weakref.WeakSet[Client] = weakref.WeakSet()


def _abandon_all() -> None:
    """Runs in a forked process. The clients belong to the parent, and none can be used here. Closes the child's copies
    of their connections, so that it can write nothing into them; neither the parent nor the server notices that."""
    for client in list(_entered):
        root, client.run_root = client.run_root, None
        abandon = getattr(client._transport, "abandon", None)
        if abandon is not None:
            abandon()
        if root is not None:
            with suppress(Exception):  # trio has no public function for it, and not every system has epoll
                _part_epoll(root)


def _part_epoll(root: Any) -> None:
    """Give trio a new epoll in a forked process, which may go on, if only to leave its blocks. The old epoll is shared
    with the parent: the parent would miss each event that the child takes from it, and wait for ever."""
    io_manager = root._runner.io_manager
    with select.epoll() as own:
        for fd, waiters in io_manager._registered.items():
            with suppress(OSError):  # it was one of our connections, which are closed already
                own.register(fd, waiters.current_flags | select.EPOLLONESHOT)
        os.dup2(own.fileno(), io_manager._epoll.fileno(), inheritable=False)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_abandon_all)


def connect(
    hosts: str,
    session_timeout: float = 10.0,
    *,
    session: SessionInfo | None = None,
    read_only: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    auth: Sequence[tuple[str, bytes]] = (),
    sasl: Mechanism | None = None,
    on_frame: Callable[[Frame], object] | None = None,
    new_session: bool = True,
    connect_timeout: float | None = None,
    max_frame: int = MAX_REQUEST,
    max_reply: int = MAX_REPLY,
    dial: Dial | None = None,
) -> Client:
    """A client, for `async with`: inside the block there is a session.

        async with zkwire.connect("h1:2181,h2:2181,[::1]:2181/chroot") as zk:
            data, stat = await zk.get_data("/a")

    Args:
        hosts: servers by comma, the port defaulting to 2181, and a chroot behind them; tried in random order, resolved
            anew at every attempt.
        session_timeout: seconds without contact after which the session may end; servers clamp it to 2 to 20 ticks.
        session: a session to resume, of this process or another (`Client.session`): its id as a signed number of 64
            bits, its password as bytes.
        read_only: whether a server in read-only mode will do, while a read-write one is looked for.
        ssl_context: for TLS; `ssl.create_default_context()` checks the host name.
        auth: (scheme, auth) pairs, as ("digest", b"user:password"), sent first on every connection.
        sasl: a mechanism, as `DigestMD5("user", "password")`, run on every connection after them. One object will do
            for many clients; what it raises becomes an AuthFailedError with the exception as its `__cause__`.
        on_frame: called with every Frame at the end of the step that made or read it, so it may make requests.
            `zkwire.print_frame` is one. If it raises, it is not called again, the block is cancelled, the session is
            closed, and the block raises that exception, not in a group.
        new_session: whether to open a new session after this one has expired. Requests never cross over.
        connect_timeout: seconds until entering the block fails, shared out among the hosts; None is the session
            timeout, but 1 s at least; math.inf is never.
        max_frame: the longest request payload in bytes: the servers' jute.maxbuffer.
        max_reply: the longest reply payload taken, in bytes. A longer one fails its call with ReplyTooLongError, and is
            not kept.
        dial: opens a stream, in place of TCP. It raises OSError when it cannot; the block raises any other exception of
            it as it is, not in a group.

    Ctrl-C never interrupts a step of the client: trio raises KeyboardInterrupt in its main task, and leaving the block
    closes the session.

    Entering the block raises NoServerError, AuthFailedError, or SessionExpiredError (with `new_session=False`).
    Raises here: HostsError for a bad connect string, LocalProtocolError for an argument of the wrong type or range.
    """
    secret = ("session", "auth", "sasl")  # an error names only the types of these
    for name, value, fits, expected in (
        ("hosts", hosts, isinstance(hosts, str), "a connect string"),
        ("session", session, session is None or isinstance(session, SessionInfo), "a SessionInfo or None"),
        ("read_only", read_only, isinstance(read_only, bool), "True or False"),
        ("ssl_context", ssl_context, ssl_context is None or isinstance(ssl_context, ssl.SSLContext), "an SSLContext"),
        ("auth", auth, isinstance(auth, (list, tuple)) and all(map(_is_auth, auth)), "(scheme, bytes) pairs in a list"),
        ("sasl", sasl, sasl is None or (hasattr(sasl, "start") and hasattr(sasl, "step")), "a Mechanism or None"),
        ("on_frame", on_frame, on_frame is None or callable(on_frame), "a function or None"),
        ("new_session", new_session, isinstance(new_session, bool), "True or False"),
        ("max_frame", max_frame, _is_length(max_frame), "a number of bytes above 0"),
        ("max_reply", max_reply, _is_length(max_reply), "a number of bytes above 0"),
        ("dial", dial, dial is None or callable(dial), "a function or None"),
    ):
        if not fits:
            seen = _types(value) if name in secret else f"{value!r:.60}"
            raise LocalProtocolError(f"connect: {name} is {expected}, not {seen}")
    return Client(
        hosts,
        session_timeout,
        session=session,
        ssl_context=ssl_context,
        new_session=new_session,
        connect_timeout=connect_timeout,
        dial=dial,
        session_options={
            "read_only": read_only,
            "auth": list(auth),
            "sasl": sasl,
            "on_frame": on_frame,
            "max_frame": max_frame,
            "max_reply": max_reply,
        },
    )


class Client(Verbs):
    """A ZooKeeper client: see `connect` for how to get one, and Verbs for its operations.

    Exceptions of the block leave it as they are. Leaving it closes the session, which takes 2 s at most whatever the
    servers do; `detach` leaves the session alive instead.
    """

    def __init__(
        self,
        hosts: str,
        session_timeout: float,
        *,
        session: SessionInfo | None,
        ssl_context: ssl.SSLContext | None,
        new_session: bool,
        connect_timeout: float | None,
        dial: Dial | None,
        session_options: dict[str, Any],
    ) -> None:
        if not (isinstance(session_timeout, (int, float)) and 0 < session_timeout < 2**31 / 1000):
            raise LocalProtocolError(f"session_timeout is seconds, above 0 and below 2147483, not {session_timeout!r}")
        if not (connect_timeout is None or (isinstance(connect_timeout, (int, float)) and connect_timeout >= 0)):
            raise LocalProtocolError(f"connect_timeout is seconds, 0 or more, or None, not {connect_timeout!r}")
        servers, self._chroot = parse_hosts(hosts)
        self._search = ServerSearch(servers, random.Random())
        self._timeout = session_timeout
        self._connect_timeout = max(session_timeout, LEAST_TIMEOUT) if connect_timeout is None else connect_timeout
        self._connect_by = math.inf  # when entering the block fails
        self._new_session = new_session
        self._dial = dial or dialer(ssl_context)
        self._on_frame: Callable[[Frame], object] | None = session_options["on_frame"]
        self._frames: deque[Frame] = deque()  # not shown to on_frame yet
        self._showing = False
        on_frame = None if self._on_frame is None else self._frames.append
        self._options = session_options = {**session_options, "on_frame": on_frame}
        self._session = Session(session_timeout, session=session, **session_options)
        self._transport: Transport | None = None
        self._connection_scope: trio.CancelScope | None = None
        self._dial_scope = trio.CancelScope()
        self._writer_task: trio.lowlevel.Task | None = None
        self._timer_wake = trio.Event()
        self._changed = trio.Event()  # set, and replaced, at every change of state
        # Weakly: a reader that breaks out of its loop leaves its stream behind.
        self._states: weakref.WeakSet[StateStream] = weakref.WeakSet()
        self._reason = ""  # why the connection is given up
        self._session_since: float | None = None  # when the session began on the connection that is or was last
        self._state_reason = ""  # why the state is what it is
        self._served = False  # whether a request was answered on the connection
        self._leaving = False  # no new session any more
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._work_scope = trio.CancelScope(shield=True)
        self._nursery = HiddenNursery()
        self.run_root: trio.lowlevel.Task | None = None

    # --- getters

    @property
    def state(self) -> KeeperState:
        """DISCONNECTED, SYNC_CONNECTED, CONNECTED_READ_ONLY, EXPIRED, AUTH_FAILED or CLOSED."""
        return self._session.state

    @property
    def session_id(self) -> int:
        """The session's id, signed 64 bits; 0 before the first."""
        return self._session.info.id

    @property
    def session(self) -> SessionInfo:
        """What resumes the session in another client."""
        return self._session.info

    @property
    def session_timeout(self) -> float:
        """The negotiated timeout, in seconds."""
        return self._session.session_timeout

    @property
    def last_zxid(self) -> int:
        """The highest zxid of all replies in this session."""
        return self._session.last_zxid

    def last_answered(self, before: float) -> float | None:
        """When the last of the requests and pings left on this connection that had been answered by `before`; its
        ConnectRequest if none had.

        Both are seconds on trio's clock. None without a connection. May be early by 1/24 of the session timeout, never
        late. What a lease is counted from: by `before` this had reached the server, and so had the session's touch.
        """
        return self._session.last_answered(before)

    def states(self) -> StateStream:
        """The state now, then every change, for `async for`; the stream's `reason` says why it changed to the one given
        last. Ends after CLOSED or AUTH_FAILED, and after EXPIRED unless a new session follows."""
        stream = StateStream(self.state, self._state_reason, over=self._is_over(self.state), check_run=self.check_run)
        self._states.add(stream)
        return stream

    def bound(self) -> BoundClient:
        """The same operations, bound to the session of now."""
        return BoundClient(self, self._session)

    # --- the block

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Client:
        if self._nursery.is_open:
            raise RuntimeError("a client is entered once; connect() makes another")
        self.run_root = root_task()
        _entered.add(self)
        (await self._nursery.open()).start_soon(self._work)
        try:
            self._connect_by = trio.current_time() + self._connect_timeout
            with trio.move_on_at(self._connect_by):
                while self.state not in _CONNECTED and not self._is_over(self.state):
                    await self._changed.wait()
            self._connect_by = math.inf
            if self.state not in _CONNECTED:
                raise self._no_session()
        except BaseException as error:
            await self._leave(type(error), error, error.__traceback__)
            raise
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        return await self._leave(kind, error, where)

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Close the session: its ephemerals go. Takes 2 s at most; without a connection, no time, and then the session
        ends with its timeout. What `before_close` was told comes before that, and takes what it takes."""
        self.check_run()
        while self._closers:
            closer = self._closers.pop()
            try:
                with trio.CancelScope(shield=True):
                    await closer()
            except BaseException:
                await self.aclose()  # the other closers, and the session
                raise
        self._leaving = True
        if self._is_over(self.state):
            return
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_TIMEOUT):
            self._session.close(trio.current_time())
            self._pump(trio.current_time())
            while not self._is_over(self.state):
                await self._changed.wait()
        if not self._is_over(self.state):
            self._end()

    def before_close(self, closer: Callable[[], Awaitable[object]]) -> Callable[[], None]:
        """Have `closer()` awaited, shielded, before the session is closed; the result takes that back.

        For recipes whose work must end before their ephemerals go. The last one told is awaited first.
        """
        self._closers.append(closer)

        def forget() -> None:
            if closer in self._closers:
                self._closers.remove(closer)

        return forget

    @trio.lowlevel.enable_ki_protection
    def detach(self) -> None:
        """Leave without closing the session: its ephemerals stay until its timeout, or until someone resumes it."""
        self.check_run()
        self._leaving = True
        self._end()

    def add_auth(self, scheme: str, auth: bytes) -> Call[None]:
        """Authenticate this connection, and every later one. Digest takes any user and password: they are who you are.

        Raises AuthFailedError, which ends the client, when the server does not know the scheme.
        """
        if not isinstance(scheme, str):  # maybe the arguments change places, so it is not shown
            raise LocalProtocolError(f"add_auth: scheme is a str, not {type(scheme).__name__}")
        return self._call(AUTH, frozen(AuthPacket(0, scheme, auth)), lambda reply: None)

    # --- the Owner of calls and watches

    @trio.lowlevel.enable_ki_protection
    def _submit(self, call: Call[Any]) -> None:
        if trio.lowlevel.current_root_task() is not self.run_root:
            self.check_run()
            raise LocalProtocolError("requests are made inside `async with connect(...)`")
        now = trio.current_time()
        session = self._session
        if call.operation is AUTH:
            session.add_auth(call, now)
        else:
            session.request(call, now)
        transport = self._transport
        if transport is None:
            self._timer_wake.set()  # a request that waits for a first session may have a deadline
        elif transport.unsent or session.outstanding > 1:
            self._wake_writer()
        else:
            data = session.data_to_send(now)
            if data:
                transport.send_nowait(data)
                if transport.unsent:
                    self._wake_writer()
        if self._frames:
            self._show_frames()

    def check_run(self) -> None:
        if not self._nursery.is_open:
            return
        if self.run_root is None:
            raise RuntimeError("this client belongs to the parent process: a forked process makes its own by connect()")
        if root_task() is not self.run_root:
            raise RuntimeError(
                "this client belongs to another trio.run(): use it there, from a thread by "
                "trio.from_thread.run(zk.get_data, path), or make one here by connect()"
            )

    @trio.lowlevel.enable_ki_protection
    def _cancel(self, call: Call[Any]) -> None:
        self._session.cancel(call)

    @trio.lowlevel.enable_ki_protection
    def _disarm(self, path: str, watcher: object) -> None:
        self.check_run()
        self._session.disarm(path, watcher, trio.current_time())
        self._wake_writer()
        self._show_frames()

    def _has_watch(self, server_path: str, mode: AddWatchMode) -> bool:
        return bool(self._session.watches.watchers(ADD_WATCH_ARMS[mode], server_path))

    # --- the life of the client

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        """Close, stop the tasks, and let through what the block raised, as it is."""

        async def stop() -> None:
            try:
                if self.run_root is not None:  # else the session is the parent process's
                    await self.aclose()
            finally:
                self._work_scope.cancel()

        try:
            return await self._nursery.close(kind, error, where, stop)
        finally:
            if not self._is_over(self.state):  # a task of ours has failed: calls awaited outside the block must fail
                self._leaving = True
                self._end()

    def _is_over(self, state: KeeperState) -> bool:
        """Whether the client has had its last session."""
        if state is KeeperState.EXPIRED:
            return self._leaving or not self._new_session
        return state in (KeeperState.AUTH_FAILED, KeeperState.CLOSED)

    def _end(self) -> None:
        """No more: the session is left as it is, and the connection dropped."""
        self._session.detach()
        self._pump(trio.current_time())

    def _no_session(self) -> ZkwireError:
        if self._is_over(self.state) and self._session.error is not None:
            return self._session.error
        tried = self._search.report() or "no server answered"
        return NoServerError(f"no session within {self._connect_timeout:g} s ({tried})")

    @trio.lowlevel.enable_ki_protection
    async def _work(self) -> None:
        """Our tasks. A cancellation of the block is not for them: the session is still to be closed then."""
        with self._work_scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._timer)
                await self._run()
                nursery.cancel_scope.cancel()

    async def _run(self) -> None:
        while not self._is_over(self.state):
            await self._live(self._session)

    async def _live(self, session: Session) -> None:
        """Connections, one after another, until the session is over."""
        while session.state not in TERMINAL_STATES:
            had_session = False
            share = self._search.share(*self._time_to_find(session, trio.current_time()))
            for host in self._search.round():
                had_session = await self._try_host(session, host, share)
                if had_session or session.state in TERMINAL_STATES:
                    break
            # Also when the session has expired: a server that refuses every session is asked ever more rarely.
            growth = GROWTH_SERVED if had_session and self._served else GROWTH
            with trio.move_on_after(self._search.next_pause(self._longest_pause(session, had_session), growth)):
                while not self._is_over(self.state):
                    await self._changed.wait()

    def _time_to_find(self, session: Session, now: float) -> tuple[float, float]:
        """The time for finding a session, in seconds: all of it, and what is left of it now.

        For a session to be resumed it ends when the server may end the session. For a new one it is the session
        timeout, or connect_timeout if that is shorter. What is left is never less than a third of all, so that attempts
        do not become too short to succeed.
        """
        if session.may_end_at is not None:
            whole, end = session.session_timeout, session.may_end_at
        else:
            whole, end = max(session.session_timeout, LEAST_TIMEOUT), self._connect_by
            if end < math.inf:
                whole = min(whole, self._connect_timeout)
        return whole, min(max(end - now, whole / 3), whole)

    def _longest_pause(self, session: Session, had_session: bool) -> float:
        """Seconds until the next round at most. `had_session`: the last attempt had one."""
        if had_session:
            return session.session_timeout * PAUSE_SHORT
        return session.session_timeout * PAUSE_RESUMING if session.info.id else PAUSE_LAST

    async def _try_host(self, session: Session, host: Host, share: float) -> bool:
        """One attempt at each address of a host, all within `share` seconds; whether a session stood on one."""
        self.check_run()
        began = trio.current_time()
        addresses: list[str] = []
        self._search.trying(host, "name not resolved in time")
        with trio.move_on_after(share) as scope:
            try:
                addresses = await resolve(host.name, host.port)
            except OSError as error:
                self._search.tried(host, f"name not resolved: {error}")
        if scope.cancelled_caught:
            self._search.tried(host, f"name not resolved within {share:.3g} s")
        addresses = self._search.order(host, addresses)
        for index, address in enumerate(addresses):
            now = trio.current_time()
            deadline = now + max((began + share - now) / (len(addresses) - index), 0)
            if await self._try_address(session, host, address, deadline):
                return True
            if session.state in TERMINAL_STATES:
                return False
        return False

    async def _try_address(self, session: Session, host: Host, address: str, deadline: float) -> bool:
        """One connection, from dialling to its end; whether a session stood on it."""
        transport: Transport | None = None
        began = trio.current_time()
        self._reason = "no TCP connection in time"
        self._search.trying(host, self._reason)
        with trio.move_on_at(deadline) as self._dial_scope:
            try:
                transport = await self._dial(address, host.port, host.name)
            except (OSError, trio.BrokenResourceError) as error:
                self._reason = _describe(error)
        if transport is None:
            self._search.tried(host, self._reason)
            return False
        self._session_since, self._served = None, False
        try:
            if session.state not in TERMINAL_STATES:
                self._transport = transport
                self._search.trying(host, "no ConnectResponse in time")
                session.tcp_connected(trio.current_time(), deadline)
                await self._serve(session, transport)
        finally:
            self._transport = None
            if session.state is KeeperState.AUTH_FAILED:  # a closeSession may be left
                with trio.CancelScope(shield=True), trio.move_on_after(LAST_WORDS), suppress(*_BROKEN):
                    await transport.drain()
            unsent = transport.unsent
            with trio.CancelScope(shield=True):
                await transport.aclose()
            now = trio.current_time()
            if self._session_since is not None:
                self._search.way = self._session_since - began
                self._note_session_ended(session, host, address, now - self._session_since)
            session.tcp_lost(now, self._reason, unsent)
            self._pump(now)
        self._search.tried(host, self._reason)
        return self._session_since is not None

    def _note_session_ended(self, session: Session, host: Host, address: str, lasted: float) -> None:
        """Called when a connection has ended on which the session stood. When several in a row ended too soon, the
        state's reason and the log say so."""
        search, over = self._search, session.state in TERMINAL_STATES
        search.had_session(host, address, for_a_while=over or is_a_while(lasted, session.session_timeout))
        if search.short < 2:
            return
        ended = counted(search.short, "connection")
        self._reason += f", {lasted:.3g} s after the session stood there; {ended} in a row ended so soon"
        times, rest = divmod(search.short, MANY_SHORT)
        if not rest and not times & (times - 1):
            _log.warning(
                "zkwire: session %s: %s. Does another client use this session, or does a server end each connection?",
                hexadecimal(session.info.id),
                self._reason,
            )

    async def _serve(self, session: Session, transport: Transport) -> None:
        """Move bytes until the connection is lost or given up."""
        async with trio.open_nursery() as nursery:
            self._connection_scope = nursery.cancel_scope
            nursery.start_soon(self._reader, session, transport)
            nursery.start_soon(self._writer, session, transport)
            if self._options["read_only"]:
                nursery.start_soon(self._seek_read_write)
            self._timer_wake.set()
            self._flush(trio.current_time())
            self._show_frames()
        self._connection_scope = None

    def _lose(self, reason: str) -> None:
        """Give up the connection."""
        self._reason = reason
        if self._connection_scope is not None:
            self._connection_scope.cancel()

    # --- the tasks

    @trio.lowlevel.enable_ki_protection
    async def _reader(self, session: Session, transport: Transport) -> None:
        try:
            while True:
                # The wait comes first: a read tried at once would nearly always fail, and cost a system call.
                await transport.readable()
                data = transport.receive_nowait()
                if data is None:
                    continue
                now = trio.current_time()
                session.receive_data(data, now)
                self._pump(now)
                if not data:
                    return  # the session has seen the end, and the pump has acted on what it said
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._lose(_describe(error))

    @trio.lowlevel.enable_ki_protection
    async def _writer(self, session: Session, transport: Transport) -> None:
        try:
            while True:
                await transport.drain()
                data = session.data_to_send(trio.current_time())
                if data:
                    transport.send_nowait(data)
                elif not transport.unsent:
                    self._writer_task = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._stop_writer)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # What the server said before it went is still to be read; the reader then meets the end by itself.
            await trio.sleep(LAST_WORDS)
            self._lose(_describe(error))

    def _stop_writer(self, _: Any) -> trio.lowlevel.Abort:
        self._writer_task = None
        return trio.lowlevel.Abort.SUCCEEDED

    @trio.lowlevel.enable_ki_protection
    async def _timer(self) -> None:
        while True:
            self._timer_wake = trio.Event()
            deadline = self._session.next_deadline()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._timer_wake.wait()
            now = trio.current_time()
            if deadline is not None and now >= deadline:
                self._session.handle_timeout(now)
                self._pump(now)

    @trio.lowlevel.enable_ki_protection
    async def _seek_read_write(self) -> None:
        """While the server is in read-only mode, ask the others with `isro`, and go to the first that answers "rw"."""
        pause = SEEK_FIRST
        while True:
            while self.state is not KeeperState.CONNECTED_READ_ONLY:
                await self._changed.wait()
            await trio.sleep(pause)
            pause = min(pause * 2, SEEK_LAST)
            for host in self._search.round():
                with trio.move_on_after(self.session_timeout / len(self._search.hosts)):
                    try:
                        for address in await resolve(host.name, host.port):
                            if await self._is_read_write(host, address):
                                self._search.preferred = (host, address)
                                self._lose(f"{host} is a read-write server")
                                return
                    except (OSError, trio.BrokenResourceError):
                        continue

    async def _is_read_write(self, host: Host, address: str) -> bool:
        self.check_run()
        transport = await self._dial(address, host.port, host.name)
        try:
            transport.send_nowait(b"isro")
            await transport.drain()
            await transport.readable()
            return transport.receive_nowait() == b"rw"
        finally:
            with trio.CancelScope(shield=True):
                await transport.aclose()

    # --- from the core to those who wait

    def _pump(self, now: float) -> None:
        """Take every event that the session has, then write what it has to say. Never waits."""
        session = self._session
        while (event := session.next_event(now)) is not NEED_DATA:
            if type(event) is Replied:
                call = event.request
                call.replied(event)
                self._served = True
                if call.cancelled and call.watcher is not None:
                    session.disarm(call.path, call.watcher, now)
            else:
                self._take(event)
        self._flush(now)
        if self._frames:
            self._show_frames()

    def _take(self, event: Any) -> None:
        match event:
            case Failed(request=call, error=error):
                call.failed(error)
            case Fired(watchers=watchers, event=watched):
                for watcher in watchers:
                    watcher.deliver(watched)
            case Disconnected(reason=reason):
                self._lose(reason)
            case StateChanged(state=state, reason=reason):
                self._state_reason = reason
                if state in _CONNECTED:
                    self._session_since = trio.current_time()
                over = self._is_over(state)
                for stream in list(self._states):
                    stream.deliver(state, reason, last=over)
                if state in TERMINAL_STATES:
                    self._dial_scope.cancel()
                    if not over:
                        # In this step, so that whoever is told of the end finds the next session to ask.
                        self._session = self._session.successor()
                changed, self._changed = self._changed, trio.Event()
                changed.set()
                self._timer_wake.set()

    def _flush(self, now: float) -> None:
        """Write at once what the session has to say; the writer has the rest."""
        transport = self._transport
        if transport is None:
            return
        if not transport.unsent:
            data = self._session.data_to_send(now)
            if data:
                transport.send_nowait(data)
        if transport.unsent:
            self._wake_writer()

    def _show_frames(self) -> None:
        """Call on_frame with the frames of the step that ends here. It is the caller's code: it may make requests,
        whose frames are shown after these, and an exception of it ends the client."""
        if self._showing:
            return
        self._showing = True
        try:
            for _ in range(len(self._frames)):
                frame = self._frames.popleft()
                if self._on_frame is not None:
                    self._on_frame(frame)
        except BaseException as error:
            self._on_frame = None
            self._nursery.fail(error)
        finally:
            self._showing = False

    def _wake_writer(self) -> None:
        if self._writer_task is not None:
            task, self._writer_task = self._writer_task, None
            trio.lowlevel.reschedule(task)


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_auth(pair: object) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], bytes)


def _types(value: object) -> str:
    """The type of a value, and the types of what its lists and tuples hold; never the values."""
    name = type(value).__name__
    return f"{name} of ({', '.join(map(_types, value))})" if isinstance(value, (list, tuple)) else name


def _describe(error: BaseException) -> str:
    """What broke, in a line: trio hides the operating system's word for it in the cause."""
    known = error if isinstance(error, OSError) else error.__cause__ or error
    return f"{type(known).__name__}: {known}" if str(known) else type(known).__name__
