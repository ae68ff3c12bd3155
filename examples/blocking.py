"""A client on a blocking socket, without trio: pings, reconnects and watches. Copy `events` for a client of your own.

    python -m examples.blocking PATH [--hosts HOSTS] [--session-timeout 10]

Prints the data of the znode PATH, now and after every change, until Ctrl-C. A server may die meanwhile: the session
continues at another server, with its watch, and a change that was missed is printed too.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import socket
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from time import monotonic as now

import zkwire
from zkwire import NEED_DATA, ConnectionLossError, Disconnected, Failed, Fired, KeeperState, Replied, StateChanged


def events(session: zkwire.Session, servers: list[zkwire.Host]) -> Iterator[object]:
    """Every event of the session, over as many connections as its life takes. Requests that the caller makes between
    two events are sent before the next one is waited for."""
    search = zkwire.ServerSearch(servers, random.Random())
    while session.error is None:
        for host in search.round():
            timeout = session.session_timeout
            left = timeout if session.may_end_at is None else session.may_end_at - now()
            stood = yield from connection(session, host, search.share(timeout, max(left, timeout / 3)))
            if stood is not None:
                search.had_session(host, host.name, for_a_while=now() - stood > timeout / 2)
                break
        if session.error is None:
            time.sleep(search.next_pause(session.session_timeout / 8))
            session.handle_timeout(now())  # the session may have expired


def connection(session: zkwire.Session, host: zkwire.Host, patience: float) -> Generator[object, None, float | None]:
    """Events of one connection, from dialing to its end. Returns when the session became usable on it, or None."""
    stood = None
    reason = ""
    try:
        with socket.create_connection(host, timeout=patience) as sock:
            session.tcp_connected(now(), deadline=now() + patience)
            while not isinstance(event := session.next_event(now()), Disconnected):
                if event is NEED_DATA:
                    move_bytes(session, sock)
                    continue
                if isinstance(event, StateChanged) and event.state is KeeperState.SYNC_CONNECTED:
                    stood = now()
                yield event
            reason = event.reason
    except OSError as error:
        reason = str(error)
    session.tcp_lost(now(), reason)
    yield from iter(lambda: session.next_event(now()), NEED_DATA)
    return stood


def move_bytes(session: zkwire.Session, sock: socket.socket) -> None:
    """Write what the session has to say. Then wait for bytes, or until a ping is due."""
    sock.sendall(session.data_to_send(now()))
    deadline = session.next_deadline()
    try:
        if select.select([sock], [], [], None if deadline is None else max(deadline - now(), 0))[0]:
            session.receive_data(sock.recv(65536), now())
        session.handle_timeout(now())  # does nothing before the deadline
    except KeyboardInterrupt:
        session.close(now())  # the last events follow


def main(options: argparse.Namespace) -> None:
    servers, chroot = zkwire.parse_hosts(options.hosts)
    session = zkwire.Session(options.session_timeout)

    def look() -> None:
        record = zkwire.GetDataRequest(chroot + options.path, watch=True)
        session.request(zkwire.Request(zkwire.GET_DATA, record, watcher="look again"), now())

    look()
    for event in events(session, servers):
        match event:
            case StateChanged(state=state, reason=reason):
                print(state.name, reason, file=sys.stderr)
            case Replied(err=0, response=response):
                print((response.data or b"").decode(errors="backslashreplace"), flush=True)
            case Replied(err=code):
                sys.exit(str(zkwire.error_from_code(code, options.path, "getData")))
            case Fired() | Failed(error=ConnectionLossError(written="in full" | "partly")) if session.error is None:
                look()  # a read may be repeated; a write that may have been applied is the caller's to decide
            case Failed(error=error):
                sys.exit(str(error))
    if session.state is not KeeperState.CLOSED:
        sys.exit(str(session.error))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="blocking")
    parser.add_argument("path")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--session-timeout", type=float, default=10.0)
    with suppress(KeyboardInterrupt):
        main(parser.parse_args())
