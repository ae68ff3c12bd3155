"""A counter that only the leader increments, and that even two leaders could not corrupt.

    python -m examples.counter [--hosts HOSTS] [--path /counter] [--session-timeout 4]

Start as many as you like, and kill the one that counts. `guarded` writes only while this term leads: a leader that was
stopped for an hour, and does not know yet that another one leads, changes nothing. A system outside ZooKeeper cannot be
guarded like that. Give it the token: `accept` shows what it does with it.
"""

from __future__ import annotations

import argparse
import os

import trio

import zkwire
from election import Election, Term
from zkwire import SetData

highest = 0


def accept(token: int, number: int) -> None:
    """What another system, such as a database, has to do: refuse a leader when a later one has been seen."""
    global highest
    if token < highest:
        raise PermissionError(f"token {token} is older than {highest}")
    highest = token
    print(f"token {token} counts {number}", flush=True)


async def main(options: argparse.Namespace) -> None:
    async with zkwire.connect(options.hosts, options.session_timeout) as zk:

        async def count(term: Term) -> None:
            while True:
                data, stat = await zk.get_data(options.path)
                number = int(data or b"0") + 1
                try:
                    await term.guarded([SetData(options.path, b"%d" % number, stat.version)])
                except zkwire.ConnectionLossError:
                    continue  # it may have been written: read again
                accept(term.token, number)
                await trio.sleep(options.period)

        await zk.ensure_path(options.path)
        await Election(zk, options.path + "-election").run(count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="counter")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/counter", help="the znode that holds the number")
    parser.add_argument("--period", type=float, default=1.0, help="seconds between two numbers")
    parser.add_argument("--session-timeout", type=float, default=4.0)
    zkwire.run(main, parser.parse_args())
