"""A master that others find: the znode `/master` holds its address while the master lives.

    python -m examples.address ADDRESS [--hosts HOSTS] [--path /master] [--session-timeout 4]

Start as many as you like. One becomes the master. The others print its address, and print it again when it changes.
When the master goes, one of them takes over, any number of times. Enter makes the master hand over at once. q and
Enter, Ctrl-D, Ctrl-C and SIGTERM end the program.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress

import trio

import zkwire
from election import Election, Term


async def follow(election: Election) -> None:
    """Print who is the master, at every change."""
    async for leader in election.observe():
        address = None if leader is None else leader.data.decode(errors="backslashreplace")
        print("no master" if address is None else f"master {address}", flush=True)


async def main(options: argparse.Namespace) -> None:
    term: Term | None = None

    async def be_master(own: Term) -> None:
        nonlocal term
        term = own
        print("this is the master now; Enter hands over", flush=True)
        await trio.sleep_forever()

    async def read_keys() -> None:
        """Reads the keyboard all the time, so a key that was pressed earlier means nothing later."""
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # in the background: an error instead of a stopped process
        with suppress(OSError):  # stdin is not a keyboard: /dev/null, for example, cannot be waited for
            while sys.stdin is not None:
                await trio.lowlevel.wait_readable(sys.stdin)
                keys = os.read(sys.stdin.fileno(), 1000)
                if b"q" in keys or (not keys and sys.stdin.isatty()):
                    nursery.cancel_scope.cancel()
                elif not keys:
                    break  # the end of a pipe
                elif term is None or not term.is_leader:
                    print("only a master hands over", flush=True)
                else:
                    print("hands over", flush=True)
                    await term.resign()

    async with zkwire.connect(options.hosts, options.session_timeout) as zk, trio.open_nursery() as nursery:
        election = Election(zk, options.path, os.fsencode(options.address), mode="simple")
        nursery.start_soon(follow, election)
        nursery.start_soon(read_keys)
        while True:
            await election.run(be_master)  # ends when the term was resigned
            await trio.sleep(1)  # let a standby lead first


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="address")
    parser.add_argument("address", help="what /master holds, such as 10.0.0.1:80")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/master")
    parser.add_argument("--session-timeout", type=float, default=4.0)
    zkwire.run(main, parser.parse_args())
