"""A client of the daytime service: it keeps the list of the servers, asks one of them each round, and asks another one
if that fails.

    python -m examples.daytime_client [--hosts HOSTS] [--root /go_servers] [--strategy random] [--rounds 100]
                                      [--interval 0.1] [--patience 10] [--session-timeout 4]

Prints which server it asks, and each answer. Ends with status 1 after `--patience` seconds without any server.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress

import trio

import zkwire
from election import Member, Members, NoMembersError, Registry


async def pick(members: Members, strategy: str, patience: float) -> Member:
    """A server, when there is one. Raises NoMembersError."""
    with suppress(NoMembersError):
        return members.pick(strategy)
    print("no server is registered: waiting for one", file=sys.stderr, flush=True)
    with trio.move_on_after(patience):
        async for _ in members:  # any change
            with suppress(NoMembersError):
                return members.pick(strategy)
    return members.pick(strategy)


async def ask(member: Member) -> str:
    with trio.fail_after(5):
        async with await trio.open_tcp_stream(member.host or "", member.port or 0) as stream:
            await stream.send_all(b"timestamp")
            answer = b"".join([data async for data in stream]).decode(errors="backslashreplace")
    if not answer.startswith(member.name):
        raise trio.BrokenResourceError("it closed the connection without an answer")
    return answer


async def one_round(members: Members, options: argparse.Namespace) -> str:
    """Pick and ask until one answers: a server that was killed is on the list until its session expires."""
    pause = 0.05
    while True:
        member = await pick(members, options.strategy, options.patience)
        print(f"connect host: {member.name}", flush=True)
        try:
            return await ask(member)
        except (OSError, ValueError, trio.BrokenResourceError, trio.TooSlowError) as error:
            members.note_error(member)  # with two of these in 30 s it is not picked while there are others
            print(f"{member.name} failed: {error!r}", file=sys.stderr, flush=True)
            await trio.sleep(pause)
            pause = min(2 * pause, 2)  # seconds


async def main(options: argparse.Namespace) -> None:
    async with (
        zkwire.connect(options.hosts, options.session_timeout) as zk,
        Registry(zk, options.root).members() as members,
    ):
        for _ in range(options.rounds):
            print(await one_round(members, options), flush=True)
            await trio.sleep(options.interval)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="daytime_client")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--root", default="/go_servers", help="the service's znode")
    parser.add_argument("--strategy", choices=("random", "round-robin", "sticky", "least-loaded"), default="random")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between rounds")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds to wait for a server when there is none")
    parser.add_argument("--session-timeout", type=float, default=4.0)
    zkwire.run(main, parser.parse_args())
