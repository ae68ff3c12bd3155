"""A daytime service: three TCP servers that answer `timestamp` with `host:port:<now>`, each registered while it serves.

    python -m examples.daytime_server [--hosts HOSTS] [--root /go_servers] [--port PORT ...] [--session-timeout 4]

Each listens before it is registered, and is deregistered before it stops listening, so that a client which picks it
from the registry can reach it. SIGTERM or Ctrl-C stops the program. After kill -9 the servers stay registered until the
session expires. Ask one with
`echo timestamp | nc 127.0.0.1 8897`: upper case, blanks and line ends do not matter.
"""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import AsyncExitStack, suppress
from datetime import datetime

import trio

import zkwire
from election import Registry

HOST = "127.0.0.1"
PATIENCE = 5.0  # seconds that a client has for its request


async def answer(stream: trio.SocketStream) -> None:
    request = b""
    with trio.move_on_after(PATIENCE), suppress(trio.BrokenResourceError):  # the client has closed the connection
        async for data in stream:  # a request may come in pieces
            request += data
            if request.strip().lower() == b"timestamp":
                port = stream.socket.getsockname()[1]
                await stream.send_all(f"{HOST}:{port}:{datetime.now():%Y-%m-%d %H:%M:%S}".encode())
                return
            if b"\n" in request.lstrip() or len(request) > 100:
                await stream.send_all(b"The only request is: timestamp\n")
                return


async def main(options: argparse.Namespace) -> None:
    async with trio.open_nursery() as nursery:
        for port in options.port:
            nursery.start_soon(trio.serve_listeners, answer, await trio.open_tcp_listeners(port, host=HOST))
        async with zkwire.connect(options.hosts, options.session_timeout) as zk, AsyncExitStack() as registrations:
            for port in options.port:
                await registrations.enter_async_context(Registry(zk, options.root).register(f"{HOST}:{port}"))
                print(f"{HOST}:{port} is registered", flush=True)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                await anext(signals)
        print("deregistered", flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="daytime_server")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--root", default="/go_servers", help="the service's znode")
    parser.add_argument("--port", type=int, nargs="+", default=[8897, 8898, 8899])
    parser.add_argument("--session-timeout", type=float, default=4.0, help="how long a killed server stays registered")
    zkwire.run(main, parser.parse_args())
