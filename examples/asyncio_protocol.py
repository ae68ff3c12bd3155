"""A client on asyncio, without trio: a Protocol that drives a session. Copy the class for a client of your own.

    python -m examples.asyncio_protocol [--hosts HOSTS] [--session-timeout 10]

Creates ten znodes and reads them, all in order on one connection, then waits for a watch, and closes the session. A
server may die meanwhile: the session continues at another server, with its watches.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
from typing import Any

import zkwire
from zkwire import NEED_DATA, Disconnected, Failed, Fired, KeeperState, Replied, StateChanged


class ZooKeeperProtocol(asyncio.Protocol):
    """One session, for `async with`: inside the block it is kept connected, and `call` makes requests."""

    def __init__(self, hosts: str, session_timeout: float) -> None:
        servers, self.chroot = zkwire.parse_hosts(hosts)
        self.session = zkwire.Session(session_timeout)
        self.search = zkwire.ServerSearch(servers, random.Random())
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.futures: dict[object, asyncio.Future[Any]] = {}  # of requests without an outcome
        self.gone = asyncio.Event()  # the connection has ended
        self.stood: float | None = None  # when the session became usable on it

    async def call(self, name: str, record: Any = None, watcher: asyncio.Future[Any] | None = None) -> Any:
        """Send a request, as ("getData", GetDataRequest(path, False)); its response. Raises a ZkwireError.

        `watcher` gets the event of the watch that the request sets.
        """
        request = zkwire.Request(zkwire.OPERATIONS[name], record, watcher)
        self.session.request(request, self.loop.time())
        future = self.futures[request] = self.loop.create_future()
        self.pump()
        try:
            outcome = await future
        except asyncio.CancelledError:
            self.session.cancel(request)
            raise
        finally:
            del self.futures[request]
        if isinstance(outcome, Failed):
            raise outcome.error
        if outcome.err:
            raise zkwire.error_from_code(outcome.err, request.path, name)
        return outcome.response

    async def __aenter__(self) -> ZooKeeperProtocol:
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.session.close(self.loop.time())  # so that its ephemeral znodes go at once
        self.pump()
        while self.transport is not None:
            await self.gone.wait()
        await self.task

    async def run(self) -> None:
        """Connect, and connect again after each loss, until the session is over."""
        session, search, time = self.session, self.search, self.loop.time
        while session.error is None:
            for host in search.round():
                left = session.session_timeout if session.may_end_at is None else session.may_end_at - time()
                patience = search.share(session.session_timeout, max(left, session.session_timeout / 3))
                self.gone.clear()
                self.stood = None
                try:
                    await asyncio.wait_for(self.loop.create_connection(lambda: self, host.name, host.port), patience)
                except (OSError, asyncio.TimeoutError):
                    continue
                await self.gone.wait()
                if self.stood is not None:
                    search.had_session(host, host.name, for_a_while=time() - self.stood > session.session_timeout / 2)
                    break
            if session.error is None:
                await asyncio.sleep(search.next_pause(session.session_timeout / 8))

    # --- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self.session.error is not None:  # closed meanwhile
            transport.close()
            return
        self.transport = transport
        self.session.tcp_connected(self.loop.time(), deadline=self.loop.time() + self.session.session_timeout / 3)
        self.pump()

    def data_received(self, data: bytes) -> None:
        self.session.receive_data(data, self.loop.time())
        self.pump()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.session.tcp_lost(self.loop.time(), str(error or "the connection was closed"))
        self.pump()
        self.gone.set()

    # --- from the session to the callers

    def pump(self) -> None:
        """Take every event, write what the session has to say, and set the timer. Never waits."""
        while (event := self.session.next_event(self.loop.time())) is not NEED_DATA:
            match event:
                case Replied(request=request) | Failed(request=request):
                    future = self.futures.get(request)
                    if future is not None and not future.done():
                        future.set_result(event)
                case Fired(watchers=watchers, event=watched):
                    for future in watchers:
                        if not future.done():
                            future.set_result(watched)
                case StateChanged(state=KeeperState.SYNC_CONNECTED):
                    self.stood = self.loop.time()
                case Disconnected() if self.transport is not None:
                    self.transport.close()
        if self.transport is not None and (data := self.session.data_to_send(self.loop.time())):
            self.transport.write(data)
        if self.timer is not None:
            self.timer.cancel()
        deadline = self.session.next_deadline()
        self.timer = None if deadline is None else self.loop.call_at(deadline, self.time_is_up)

    def time_is_up(self) -> None:
        self.session.handle_timeout(self.loop.time())
        self.pump()


async def main(hosts: str, session_timeout: float) -> None:
    fired = asyncio.get_running_loop().create_future()
    how = zkwire.OPEN_ACL_UNSAFE, zkwire.CreateMode.EPHEMERAL
    async with ZooKeeperProtocol(hosts, session_timeout) as zk:
        paths = [f"{zk.chroot}/asyncio-{number}" for number in range(10)]
        await asyncio.gather(*(zk.call("create", zkwire.CreateRequest(path, b"hello", *how)) for path in paths))
        first, *others = await asyncio.gather(
            zk.call("getData", zkwire.GetDataRequest(paths[0], True), watcher=fired),
            *(zk.call("getData", zkwire.GetDataRequest(path, False)) for path in paths[1:]),
        )
        print(first.data, "and", len(others), "more", flush=True)
        await zk.call("setData", zkwire.SetDataRequest(paths[0], b"bye", first.stat.version))
        print(await fired, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="asyncio_protocol")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--session-timeout", type=float, default=10.0)
    options = parser.parse_args()
    try:
        asyncio.run(main(options.hosts, options.session_timeout))
    except zkwire.ZkwireError as error:
        sys.exit(f"asyncio_protocol: {error}")
