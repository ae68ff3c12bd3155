"""A relay that does not look at what it relays. It shows what any process in between costs that is written in trio.

python -m benchmarks.relay HOST:PORT           prints its address to stderr, as zkwire tap does
"""

from __future__ import annotations

import sys

import trio


async def main(server: str) -> None:
    name, _, port = server.rpartition(":")

    async def relay(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for data in source:
            await sink.send_all(data)

    async def serve(client: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(name, int(port)) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(relay, client, stream)
            await relay(stream, client)
            nursery.cancel_scope.cancel()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(f"zkwire: 127.0.0.1:{listeners[0].socket.getsockname()[1]} to {server}", file=sys.stderr, flush=True)
    await trio.serve_listeners(serve, listeners)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
