"""A client of the daytime service: keeps the list of its servers, picks one each round, and goes on to another if it
fails.

    python -m examples.daytime_client [--hosts HOSTS] [--root /go_servers] [--strategy random] [--rounds 100]

Prints each answer. Ends with status 1 when there is no server to pick.
"""

from __future__ import annotations

import argparse
import os
import sys

import trio

import zkwire
from election.errors import RegistryError
from election.layouts import Member
from election.members import Members
from election.registry import Registry
from election.strategies import STRATEGIES

SESSION_TIMEOUT = 4.0  # seconds
PATIENCE = 5.0  # seconds that a server has for its answer


async def ask(member: Member) -> str:
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream(member.host or "", member.port or 0) as stream:
            await stream.send_all(b"timestamp")
            answer = b"".join([data async for data in stream]).decode()
    if not answer.startswith(member.name):
        raise trio.BrokenResourceError("it closed the connection without an answer")
    return answer


async def one_round(members: Members, strategy: str) -> str:
    """Pick and ask until one answers: a server that was killed is on the list until its session expires. Raises
    NoMembersError."""
    while True:
        member = members.pick(strategy)
        try:
            return await ask(member)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            members.note_error(member)  # with two of these in 30 s it is not picked while there are others
            print(f"{member.name}: {error!r}", file=sys.stderr, flush=True)
            await trio.sleep(0.05)


async def main(hosts: str, root: str, strategy: str, rounds: int, interval: float) -> None:
    async with zkwire.connect(hosts, SESSION_TIMEOUT) as zk, Registry(zk, root).members() as members:
        for _ in range(rounds):
            print(await one_round(members, strategy), flush=True)
            await trio.sleep(interval)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="daytime_client")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--root", default="/go_servers")
    parser.add_argument("--strategy", choices=STRATEGIES, default="random")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between rounds")
    options = parser.parse_args()
    try:
        trio.run(main, *vars(options).values())
    except (RegistryError, zkwire.ZkwireError) as error:
        sys.exit(f"daytime_client: {error}")
