"""`Dialing`: finds a server for a session, again and again: round by round, host by host, address by address.

session/servers.py computes which server is next and how long the pauses are. This module resolves names, opens streams
and waits.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable

import trio

from ..codes import TERMINAL_STATES
from ..hosts import Host
from ..session.servers import GROWTH, GROWTH_SERVED, PAUSE_LAST, PAUSE_RESUMING, PAUSE_SHORT, ServerSearch, is_a_while
from ..session.session import Session
from ..text import counted, hexadecimal
from .link import Link, describe
from .transport import Dial, resolve

#: Seconds between two searches for a read-write server: the first pause, which then doubles, and the longest.
SEEK_FIRST, SEEK_LAST = 0.1, 60.0
#: The least time, in seconds, for finding a first session, even if a shorter session timeout is asked for. It is not
#: known yet which timeout a server will grant, and servers grant two of their ticks or more.
LEAST_TIMEOUT = 1.0
#: A warning is logged after this many sessions in a row that ended too soon; then after twice as many, and so on.
MANY_SHORT = 3

_log = logging.getLogger("zkwire")


class Dialing:
    """One attempt after another to reach a server.

    Args:
        servers: the hosts to try.
        dial: opens a stream to one address.
        connect_timeout: seconds for finding the first session.
        check_run: raises RuntimeError in a forked process, where nothing may be opened.
        use: called with each new Link before `Session.tcp_connected`, and with None when the Link is over.
        pump: as for Link.
    """

    def __init__(
        self,
        servers: list[Host],
        dial: Dial,
        connect_timeout: float,
        *,
        check_run: Callable[[], None],
        use: Callable[[Link | None], None],
        pump: Callable[[float], None],
    ) -> None:
        self.search = ServerSearch(servers, random.Random())
        #: The time at which entering the block fails (trio's clock).
        self.connect_by = math.inf
        self._connect_timeout = connect_timeout
        self._dial = dial
        self._check_run = check_run
        self._use = use
        self._pump = pump
        self._attempt = trio.CancelScope()
        self._pause = trio.CancelScope()
        self._stopped = False

    def session_ended(self, *, is_last: bool) -> None:
        """Stop the attempt that is under way. With `is_last` no session follows, so a pause ends too."""
        self._attempt.cancel()
        if is_last:
            self._stopped = True
            self._pause.cancel()

    async def serve(self, session: Session) -> None:
        """Connections, one after another, until the session is over."""
        while session.state not in TERMINAL_STATES:
            link = None
            share = self.search.share(*self._time_to_find(session, trio.current_time()))
            for host in self.search.round():
                link = await self._try_host(session, host, share)
                if link is not None or session.state in TERMINAL_STATES:
                    break
            # Also when the session has expired: a server that refuses every session is asked ever more rarely.
            growth = GROWTH_SERVED if link is not None and link.served else GROWTH
            pause = self.search.next_pause(self._longest_pause(session, had_session=link is not None), growth)
            with trio.move_on_after(pause) as self._pause:
                if not self._stopped:
                    await trio.sleep_forever()

    def _time_to_find(self, session: Session, now: float) -> tuple[float, float]:
        """The time for finding a server, in seconds: all of it, and what is left of it now.

        If there is a session to resume, the time ends when the server may end that session. For a new one it is the
        session timeout, or connect_timeout if that is shorter. What is left is never less than a third of the whole, so
        that attempts do not become too short to succeed.
        """
        if session.may_end_at is not None:
            whole, end = session.session_timeout, session.may_end_at
        else:
            whole, end = max(session.session_timeout, LEAST_TIMEOUT), self.connect_by
            if end < math.inf:
                whole = min(whole, self._connect_timeout)
        return whole, min(max(end - now, whole / 3), whole)

    def _longest_pause(self, session: Session, *, had_session: bool) -> float:
        """The longest pause before the next round, in seconds. `had_session`: the last attempt had one."""
        if had_session:
            return session.session_timeout * PAUSE_SHORT
        return session.session_timeout * PAUSE_RESUMING if session.info.id else PAUSE_LAST

    async def _try_host(self, session: Session, host: Host, share: float) -> Link | None:
        """One attempt at each address of a host, all within `share` seconds. Returns the link on which the session was
        connected; None if there was none."""
        self._check_run()
        began = trio.current_time()
        addresses: list[str] = []
        self.search.trying(host, "name not resolved in time")
        with trio.move_on_after(share) as scope:
            try:
                addresses = await resolve(host.name, host.port)
            except OSError as error:
                self.search.tried(host, f"name not resolved: {error}")
        if scope.cancelled_caught:
            self.search.tried(host, f"name not resolved within {share:.3g} s")
        addresses = self.search.order(host, addresses)
        for index, address in enumerate(addresses):
            now = trio.current_time()
            deadline = now + max((began + share - now) / (len(addresses) - index), 0)
            link = await self._try_address(session, host, address, deadline)
            if link is not None or session.state in TERMINAL_STATES:
                return link
        return None

    async def _try_address(self, session: Session, host: Host, address: str, deadline: float) -> Link | None:
        """One connection, from dialling to its end. Returns its link if the session was connected on it, else None."""
        transport = None
        began = trio.current_time()
        reason = "no TCP connection in time"
        self.search.trying(host, reason)
        with trio.move_on_at(deadline) as self._attempt:
            try:
                transport = await self._dial(address, host.port, host.name)
            except (OSError, trio.BrokenResourceError) as error:
                reason = describe(error)
        if transport is None:
            self.search.tried(host, reason)
            return None
        link = Link(session, transport, self._pump)
        try:
            if session.state not in TERMINAL_STATES:
                self._use(link)
                self.search.trying(host, "no ConnectResponse in time")
                session.tcp_connected(trio.current_time(), deadline)
                await link.run()
        finally:
            self._use(None)
            unsent = await link.close()
            now = trio.current_time()
            if link.connected_at is not None:
                self.search.way = link.connected_at - began
                self._note_session_ended(session, host, address, link, now - link.connected_at)
            session.tcp_lost(now, link.reason, unsent)
            self._pump(now)
        self.search.tried(host, link.reason)
        return None if link.connected_at is None else link

    def _note_session_ended(self, session: Session, host: Host, address: str, link: Link, lasted: float) -> None:
        """The session was connected on this link for `lasted` seconds. If several in a row ended too soon, the reason
        and the log say so."""
        search, over = self.search, session.state in TERMINAL_STATES
        search.had_session(host, address, for_a_while=over or is_a_while(lasted, session.session_timeout))
        if search.short < 2:
            return
        ended = counted(search.short, "connection")
        link.reason += f", {lasted:.3g} s after the session was connected there; {ended} in a row ended so soon"
        times, rest = divmod(search.short, MANY_SHORT)
        if not rest and not times & (times - 1):
            _log.warning(
                "zkwire: session %s: %s. Does another client use this session, or does a server end each connection?",
                hexadecimal(session.info.id),
                link.reason,
            )

    @trio.lowlevel.enable_ki_protection
    async def seek_read_write(self, session: Session, link: Link) -> None:
        """The link's server is in read-only mode: ask the others with `isro`, and go to the first that answers "rw"."""
        pause = SEEK_FIRST
        while True:
            await trio.sleep(pause)
            pause = min(pause * 2, SEEK_LAST)
            for host in self.search.round():
                with trio.move_on_after(session.session_timeout / len(self.search.hosts)):
                    try:
                        for address in await resolve(host.name, host.port):
                            if await self._is_read_write(host, address):
                                self.search.preferred = (host, address)
                                link.give_up(f"{host} is a read-write server")
                                return
                    except (OSError, trio.BrokenResourceError):
                        continue

    async def _is_read_write(self, host: Host, address: str) -> bool:
        self._check_run()
        transport = await self._dial(address, host.port, host.name)
        try:
            transport.send_nowait(b"isro")
            await transport.drain()
            await transport.readable()
            return transport.receive_nowait() == b"rw"
        finally:
            with trio.CancelScope(shield=True):
                await transport.aclose()
