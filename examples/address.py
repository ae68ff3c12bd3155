"""A master that others find by its address: `/master` holds it while the master lives.

    python -m examples.address ADDRESS [--hosts HOSTS] [--path /master] [--session-timeout 4]

Start as many as you like. One becomes the master; the others print its address, follow it when it changes, and one of
them takes over when it goes, and so on without limit. A line on stdin (Enter) makes the master hand over at once.
"""

from __future__ import annotations

import argparse
import os
import sys

import trio

import zkwire
from election import Election, Term


async def follow(election: Election) -> None:
    """Print who is the master, at every change."""
    async for leader in election.observe():
        print("no master" if leader is None else f"master {leader.data.decode()}", flush=True)


async def contend(zk: zkwire.Client, options: argparse.Namespace) -> None:
    election = Election(zk, options.path, options.address.encode(), mode="simple")

    async def be_master(term: Term) -> None:
        print("this is the master now; Enter hands over", flush=True)
        if await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True) == "":
            await trio.sleep_forever()  # no terminal: master until it is killed
        print("hands over", flush=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, election)
        while True:
            await election.run(be_master)
            with trio.move_on_after(1):  # whoever stands by comes first now
                await anext(leader async for leader in election.observe() if leader is not None)


async def main(options: argparse.Namespace) -> None:
    async with zkwire.connect(options.hosts, options.session_timeout) as zk:
        await contend(zk, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="address")
    parser.add_argument("address")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/master")
    parser.add_argument("--session-timeout", type=float, default=4.0)
    trio.run(main, parser.parse_args())
