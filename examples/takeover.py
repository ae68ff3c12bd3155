"""Two processes, one ephemeral znode: the one that creates it leads. Every frame is printed, byte by byte.

    python -m examples.takeover NAME [--hosts HOSTS] [--path /takeover] [--session-timeout 3]

Start two in two terminals, and kill the first one. This is the protocol at its barest, and not an election: the leader
is not told when it should stop, and there is no order. See election_by_hand for what is missing.
"""

from __future__ import annotations

import argparse
import os
import sys

import trio

import zkwire
from zkwire import CreateMode, EventType, Frame, NodeExistsError, OpCode, print_frame


def show(frame: Frame) -> None:
    if frame.opcode is not OpCode.PING:
        print_frame(frame, sys.stdout)


async def main(options: argparse.Namespace) -> None:
    async with zkwire.connect(options.hosts, options.session_timeout, on_frame=show) as zk:
        while True:
            try:
                await zk.create(options.path, options.name.encode(), mode=CreateMode.EPHEMERAL)
            except NodeExistsError:
                stat, watch = await zk.exists_and_watch(options.path)
                if stat is not None:  # else it was deleted meanwhile
                    print(f"{options.name} stands by", flush=True)
                    event = await watch.wait()
                    print(f"{options.name} sees {EventType(event.type).name} {event.path}", flush=True)
            else:
                print(f"{options.name} leads", flush=True)
                await trio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="takeover")
    parser.add_argument("name", help="what the znode says about this process")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/takeover")
    parser.add_argument("--session-timeout", type=float, default=3.0)
    zkwire.run(main, parser.parse_args())
