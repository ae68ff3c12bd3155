"""The trio shell: `connect` and `Client`.

A client's tasks, all in one nursery that callers never see:

    _run     one session after another. Dialing finds a server for each, connection after connection
    _timer   sleeps until the session's next deadline

and, while there is a connection, the two tasks of its Link. `seek_read_write` joins them while the server is in
read-only mode.

A KeyboardInterrupt in one of these tasks would leave its step half done. So these tasks are protected from it, and so
are the client's methods in their callers' tasks: trio raises it in its main task instead.

A caller's request is encoded in the caller's own step. If no other request waits for its reply, it is written at once.
Otherwise the writer takes it in the same turn of trio's loop, together with all other requests of that turn.
"""

from __future__ import annotations

import math
import os
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
from ..hosts import parse_hosts
from ..operations import ADD_WATCH_ARMS, AUTH
from ..records import AuthPacket
from ..session.events import NEED_DATA, Disconnected, Failed, Fired, Replied, SessionInfo, StateChanged
from ..session.requests import frozen
from ..session.sasl import Mechanism
from .bound import BoundClient
from .call import Call
from .dialing import LEAST_TIMEOUT, Dialing
from .handles import StateStream
from .link import Link
from .nursery import HiddenNursery, root_task
from .options import Options
from .transport import Dial, dialer
from .verbs import Verbs

_CONNECTED = (KeeperState.SYNC_CONNECTED, KeeperState.CONNECTED_READ_ONLY)

#: How long, in seconds, leaving the block waits for the reply to closeSession at most.
CLOSE_TIMEOUT = 2.0

#: All clients that were entered.
_entered: weakref.WeakSet[Client] = weakref.WeakSet()


def _abandon_all() -> None:
    """Runs in a forked process. The clients belong to the parent and cannot be used here. Closes this process's copies
    of their connections, so that it cannot write into them. Neither the parent nor the server notices that."""
    for client in list(_entered):
        root, client.run_root = client.run_root, None
        abandon = None if client._link is None else getattr(client._link.transport, "abandon", None)
        if abandon is not None:
            abandon()
        if root is not None:
            with suppress(Exception):  # trio has no public function for it, and not every system has epoll
                _part_epoll(root)


def _part_epoll(root: Any) -> None:
    """Give trio a new epoll in a forked process, which keeps running, at least to leave its blocks. The old epoll is
    shared with the parent: the parent would miss each event that the child takes from it, and would wait for ever."""
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
        hosts: servers, separated by commas, and after them a chroot, if any. The port is 2181 by default. They are
            tried in random order, and their names are resolved anew at each attempt.
        session_timeout: seconds without contact after which the server may end the session; above 0, below 2147483.
            The server grants another one if this is outside its limits, which are 4 and 40 s by default: 2 and 20 of
            its ticks. `Client.session_timeout` is what it granted.
        session: the session to resume, of this process or another (`Client.session`); None for a new one.
        read_only: True: use a server in read-only mode if no other is found, and keep looking for a read-write server.
        ssl_context: for TLS; None for plain TCP. `ssl.create_default_context()` checks the host name.
        auth: pairs of scheme and credentials, such as ("digest", b"user:password"). They are sent first on every
            connection.
        sasl: a mechanism, such as `DigestMD5("user", "password")`. It runs on every connection, after `auth`. One
            object may serve many clients. If it raises, the client ends with an AuthFailedError, whose `__cause__` is
            that exception.
        on_frame: called with every Frame, at the end of the step that made or read it. `zkwire.print_frame` is one. It
            is an ordinary function, so it cannot wait. It may make requests. If it raises, it is not called again, the
            block is cancelled, the session is closed, and the block raises that exception, not in a group.
        new_session: True: open a new session after this one has expired. No request of the old one is sent in it.
        connect_timeout: seconds until entering the block fails, 0 or more; the hosts share them. None: the session
            timeout, but at least 1 s. math.inf: never.
        max_frame: the longest request payload, in bytes: by default 1 MiB - 1, which is the default of the servers'
            jute.maxbuffer. A longer request raises LocalProtocolError; a server would close the connection.
        max_reply: the longest reply payload that is taken, in bytes; by default 64 MiB. A longer one is dropped, and
            its call raises ReplyTooLongError.
        dial: opens a stream, instead of TCP. It raises OSError if it cannot. The block raises any other exception that
            it raises, not in a group.

    Ctrl-C never interrupts a step of the client: trio raises KeyboardInterrupt in its main task, and leaving the block
    closes the session.

    Raises:
        HostsError: the connect string is wrong.
        LocalProtocolError: an argument has the wrong type or is out of range.

    Entering the block raises NoServerError, AuthFailedError, or SessionExpiredError (with `new_session=False`).
    """
    return Client(
        Options(
            hosts,
            session_timeout,
            session=session,
            read_only=read_only,
            ssl_context=ssl_context,
            auth=auth,
            sasl=sasl,
            on_frame=on_frame,
            new_session=new_session,
            connect_timeout=connect_timeout,
            max_frame=max_frame,
            max_reply=max_reply,
            dial=dial,
        )
    )


class Client(Verbs):
    """A ZooKeeper client: see `connect` for how to get one, and Verbs for its operations.

    An exception that the block raises leaves it as it is, not in a group. Leaving the block closes the session, which
    takes at most 2 s whatever the servers do. `detach` leaves the session alive instead.
    """

    def __init__(self, options: Options) -> None:
        servers, self._chroot = parse_hosts(options.hosts)
        self._new_session = options.new_session
        limit = options.connect_timeout
        self._connect_timeout = max(options.session_timeout, LEAST_TIMEOUT) if limit is None else limit
        dial = options.dial or dialer(options.ssl_context)
        self._dialing = Dialing(
            servers, dial, self._connect_timeout, check_run=self.check_run, use=self._use, pump=self._pump
        )
        self._on_frame = options.on_frame
        self._frames: deque[Frame] = deque()  # not shown to on_frame yet
        self._showing = False
        self._session = options.first_session(None if self._on_frame is None else self._frames.append)
        self._link: Link | None = None
        self._timer_wake = trio.Event()
        self._changed = trio.Event()  # set, and replaced, at every change of state
        # Weak references, because a reader that breaks out of its loop does not close its stream.
        self._states: weakref.WeakSet[StateStream[KeeperState]] = weakref.WeakSet()
        self._state_reason = ""  # why the state is what it is
        self._leaving = False  # no new session any more
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._work_scope = trio.CancelScope(shield=True)
        self._nursery = HiddenNursery()
        self.run_root: trio.lowlevel.Task | None = None

    # --- getters

    @property
    def state(self) -> KeeperState:
        """The state of the session.

        SYNC_CONNECTED: connected. CONNECTED_READ_ONLY: connected to a server in read-only mode. DISCONNECTED: not
        connected yet, or not any more; the client is looking for a server. EXPIRED, AUTH_FAILED, CLOSED: it has ended.
        """
        return self._session.state

    @property
    def session_id(self) -> int:
        """The session's id, a signed number of 64 bits; 0 before the first session."""
        return self._session.info.id

    @property
    def session(self) -> SessionInfo:
        """The session's id and password, which resume it in another client."""
        return self._session.info

    @property
    def session_timeout(self) -> float:
        """The timeout that the server granted, in seconds. Before the first session: the one that is asked for."""
        return self._session.session_timeout

    @property
    def last_zxid(self) -> int:
        """The highest zxid of all replies in this session; 0 before the first."""
        return self._session.last_zxid

    def last_answered(self, before: float) -> float | None:
        """Send time (trio's clock, seconds) of the newest request or ping on this connection that the server had
        answered by `before`; of the ConnectRequest if there is none. None without a connection.

        It may be early by 1/24 of the session timeout, never late. A lease is counted from it: what was sent then had
        reached the server by `before`, and had renewed the session there.
        """
        return self._session.last_answered(before)

    def states(self) -> StateStream[KeeperState]:
        """The state now, then every change, for `async for`. It ends after CLOSED or AUTH_FAILED, and after EXPIRED
        unless a new session follows. The stream's `reason` says why the state changed."""
        stream = StateStream(self.state, self._state_reason, over=self._is_over(self.state), check_run=self.check_run)
        self._states.add(stream)
        return stream

    def bound(self) -> BoundClient:
        """The same operations, bound to the current session."""
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
            self._dialing.connect_by = trio.current_time() + self._connect_timeout
            with trio.move_on_at(self._dialing.connect_by):
                while self.state not in _CONNECTED and not self._is_over(self.state):
                    await self._changed.wait()
            self._dialing.connect_by = math.inf
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
        """Close the session: the server deletes its ephemerals. This takes at most 2 s. Without a connection it takes
        no time, and the session ends when its timeout is over. What was given to `before_close` is awaited first."""
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
        """Have `closer()` awaited, shielded, before the session is closed. Call the result to take that back.

        For recipes whose work must end before their ephemerals are deleted. The last one given is awaited first.
        """
        self._closers.append(closer)

        def forget() -> None:
            if closer in self._closers:
                self._closers.remove(closer)

        return forget

    @trio.lowlevel.enable_ki_protection
    def detach(self) -> None:
        """Leave without closing the session. It and its ephemerals stay until its timeout is over, unless a client
        resumes it."""
        self.check_run()
        self._leaving = True
        self._end()

    def add_auth(self, scheme: str, auth: bytes) -> Call[None]:
        """Authenticate this connection, and every later one. For "digest" any user and password will do: the server
        keeps no list of users, and ACLs name a hash of the two. The call ends when the server has answered, if need be
        on a later connection.

        Raises:
            AuthFailedError: the server does not know the scheme, or refuses the credentials. The client ends.
        """
        if not isinstance(scheme, str):  # the caller may have swapped the two: this may be the secret
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
        link = self._link
        if link is None:
            self._timer_wake.set()  # a request that waits for a first session may have a deadline
        elif session.outstanding > 1:
            link.wake_writer()
        else:
            link.flush(now)
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
        if self._link is not None:
            self._link.wake_writer()
        self._show_frames()

    def _has_watch(self, server_path: str, mode: AddWatchMode) -> bool:
        return bool(self._session.watches.watchers(ADD_WATCH_ARMS[mode], server_path))

    # --- the life of the client

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        """Close the session, stop the tasks, and let the block's exception pass unchanged."""

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
        """Whether no session follows the one that is in this state."""
        if state is KeeperState.EXPIRED:
            return self._leaving or not self._new_session
        return state in (KeeperState.AUTH_FAILED, KeeperState.CLOSED)

    def _end(self) -> None:
        """Drop the connection, and leave the session on the server as it is."""
        self._session.detach()
        self._pump(trio.current_time())

    def _no_session(self) -> ZkwireError:
        if self._is_over(self.state) and self._session.error is not None:
            return self._session.error
        tried = self._dialing.search.report() or "no server answered"
        return NoServerError(f"no session within {self._connect_timeout:g} s ({tried})")

    @trio.lowlevel.enable_ki_protection
    async def _work(self) -> None:
        """Our tasks. Cancelling the block does not cancel them, since the session is still to be closed then."""
        with self._work_scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._timer)
                await self._run()
                nursery.cancel_scope.cancel()

    async def _run(self) -> None:
        while not self._is_over(self.state):
            await self._dialing.serve(self._session)

    def _use(self, link: Link | None) -> None:
        """Called by Dialing when a connection begins and when it ends."""
        self._link = link
        self._timer_wake.set()

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

    # --- from the session to the callers that wait

    def _pump(self, now: float) -> None:
        """Handle every event that the session has, then write the bytes that it has. Never waits."""
        session, link = self._session, self._link
        while (event := session.next_event(now)) is not NEED_DATA:
            if type(event) is Replied:
                call = event.request
                call.replied(event)
                if link is not None:
                    link.served = True
                if call.cancelled and call.watcher is not None:
                    session.disarm(call.path, call.watcher, now)
            else:
                self._take(event)
        if link is not None:
            link.flush(now)
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
                if self._link is not None:
                    self._link.give_up(reason)
            case StateChanged(state=state, reason=reason):
                self._state_reason = reason
                if self._link is not None and state in _CONNECTED:
                    self._link.connected_at = trio.current_time()
                    if state is KeeperState.CONNECTED_READ_ONLY:
                        self._link.start_soon(self._dialing.seek_read_write, self._session, self._link)
                over = self._is_over(state)
                for stream in list(self._states):
                    stream.deliver(state, reason, last=over)
                if state in TERMINAL_STATES:
                    self._dialing.session_ended(is_last=over)
                    if not over:
                        # In this step, so that a caller who learns of the end finds the next session in place.
                        self._session = self._session.successor()
                changed, self._changed = self._changed, trio.Event()
                changed.set()
                self._timer_wake.set()

    def _show_frames(self) -> None:
        """Call on_frame with the frames of the step that ends here. It is the caller's code: it may make requests,
        whose frames are shown after these. If it raises, the client ends."""
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
