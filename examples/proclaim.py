"""Campaign, proclaim, resign: a leader that publishes a new value each second, and works only when that succeeded.

    python -m examples.proclaim [VALUE] [--hosts HOSTS] [--path /proclaimed] [--ticks 5] [--tick 1]
    python -m examples.proclaim --observe          prints every leader and the gaps between them

VALUE is what its znode says at first. The default is this host's name and the current time in milliseconds. Ctrl-C or
SIGTERM ends the term too, so that the next candidate leads at once.
"""

from __future__ import annotations

import argparse
import os
import socket
import time

import trio

import zkwire
from election import Election, LeadershipLostError, ProclaimConflict


def new_value() -> str:
    return f"{socket.gethostname()}-{time.time_ns() // 1_000_000}"


async def lead(election: Election, ticks: int, tick: float) -> None:
    """One term: campaign, a value for each tick, resign."""
    term = await election.campaign()
    print(f"leads, token {term.token}", flush=True)
    try:
        for number in range(1, ticks + 1):
            await trio.sleep(tick)
            value = new_value()
            try:
                await term.proclaim(value.encode())
            except (zkwire.ConnectionLossError, ProclaimConflict) as error:  # this one failed; the next may succeed
                print(f"skips {number}: {error}", flush=True)
            else:
                print(f"works on {number}: {value}", flush=True)
    except LeadershipLostError as error:
        print(f"lost: {error}", flush=True)
    finally:
        await term.resign()
    print("resigned", flush=True)


async def observe(election: Election) -> None:
    async for leader in election.observe():
        value = None if leader is None else f"{leader.token} {leader.data.decode(errors='backslashreplace')}"
        print(value or "nobody leads", flush=True)


async def main(options: argparse.Namespace) -> None:
    async with zkwire.connect(options.hosts, options.session_timeout) as zk:
        election = Election(zk, options.path, os.fsencode(options.value or new_value()))
        await (observe(election) if options.observe else lead(election, options.ticks, options.tick))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="proclaim")
    parser.add_argument("value", nargs="?", help="what the znode says before the first tick")
    parser.add_argument("--observe", action="store_true", help="only print who leads")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/proclaimed")
    parser.add_argument("--ticks", type=int, default=5, help="how many values are proclaimed")
    parser.add_argument("--tick", type=float, default=1.0, help="seconds before each of them")
    parser.add_argument("--session-timeout", type=float, default=4.0)
    zkwire.run(main, parser.parse_args())
