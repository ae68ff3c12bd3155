"""A daytime service: three TCP servers that answer `timestamp` with `host:port:<now>`, each registered while it serves.

    python -m examples.daytime_server [--hosts HOSTS] [--root /go_servers] [--port PORT ...]

Each listens before it is registered, and is deregistered before it stops listening, so that who picks it from the
registry finds it. SIGTERM or Ctrl-C stops it; killed, it is registered until its session expires.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from datetime import datetime

import trio

import zkwire
from election.errors import RegistryError
from election.registry import Registry

SESSION_TIMEOUT = 4.0  # seconds: how long a killed server stays on the list


async def answer(stream: trio.SocketStream) -> None:
    host, port = stream.socket.getsockname()
    with suppress(trio.BrokenResourceError):  # the client went first
        if await stream.receive_some() == b"timestamp":
            await stream.send_all(f"{host}:{port}:{datetime.now():%Y-%m-%d %H:%M:%S}".encode())


async def main(hosts: str, root: str, ports: list[int]) -> str | None:
    """Serve until a signal. What went wrong, or None."""
    problem = None
    async with trio.open_nursery() as nursery:
        try:
            for port in ports:
                listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
                nursery.start_soon(trio.serve_listeners, answer, listeners)
            async with zkwire.connect(hosts, SESSION_TIMEOUT) as zk, AsyncExitStack() as registrations:
                for port in ports:
                    await registrations.enter_async_context(Registry(zk, root).register(f"127.0.0.1:{port}"))
                    print(f"127.0.0.1:{port} is registered", flush=True)
                with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                    await signals.__anext__()
            print("deregistered", flush=True)
        except (OSError, RegistryError, zkwire.ZkwireError) as error:
            problem = f"daytime_server: {error}"
        nursery.cancel_scope.cancel()
    return problem


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="daytime_server")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--root", default="/go_servers")
    parser.add_argument("--port", type=int, nargs="+", default=[8897, 8898, 8899])
    options = parser.parse_args()
    sys.exit(trio.run(main, options.hosts, options.root, options.port))
