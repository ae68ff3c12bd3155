"""Campaign, proclaim, resign: a leader that publishes a new value each second, and works only while that succeeds.

    python -m examples.proclaim [VALUE] [--hosts HOSTS] [--path /proclaimed] [--ticks 5] [--tick 1]
    python -m examples.proclaim --observe          prints every leader and the gaps between them

The value defaults to this host's name and the milliseconds of now.
"""

from __future__ import annotations

import argparse
import os
import socket
import time

import trio

import zkwire
from election import Election, LeadershipLostError, NotLeaderError


def new_value() -> str:
    return f"{socket.gethostname()}-{time.time_ns() // 1_000_000}"


async def lead(election: Election, ticks: int, tick: float) -> None:
    """One term: campaign, a value for each tick, resign."""
    term = await election.campaign()
    print(f"leads, token {term.token}", flush=True)
    try:
        for number in range(ticks):
            await trio.sleep(tick)
            value = new_value()
            await term.proclaim(value.encode())
            print(f"works on {number + 1}: {value}", flush=True)  # only behind a proclaim that succeeded
    except LeadershipLostError as error:
        print(f"lost: {error}", flush=True)
    await term.resign()
    await term.resign()  # nothing happens the second time
    print("resigned", flush=True)
    try:
        await term.proclaim(b"too late")
    except NotLeaderError as error:
        print(f"refused: {error}", flush=True)


async def observe(election: Election) -> None:
    async for leader in election.observe():
        print("nobody leads" if leader is None else f"{leader.token} {leader.data.decode()}", flush=True)


async def main(options: argparse.Namespace) -> None:
    async with zkwire.connect(options.hosts, options.session_timeout) as zk:
        election = Election(zk, options.path, options.value.encode())
        await (observe(election) if options.observe else lead(election, options.ticks, options.tick))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="proclaim")
    parser.add_argument("value", nargs="?", default=new_value())
    parser.add_argument("--observe", action="store_true")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/proclaimed")
    parser.add_argument("--ticks", type=int, default=5)
    parser.add_argument("--tick", type=float, default=1.0)
    parser.add_argument("--session-timeout", type=float, default=4.0)
    trio.run(main, parser.parse_args())
