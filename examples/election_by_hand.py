"""The classical election in client calls alone, and what each step does not promise. Read it to see why the package
`election` is longer; use that package, not this program.

    python -m examples.election_by_hand NAME [--hosts HOSTS] [--path /by-hand] [--session-timeout 4]

Start several with different names, and stop the one that leads. C4, L11, ... are rules of docs/election-rules.md.
"""

from __future__ import annotations

import argparse
import os

import trio

import zkwire
from zkwire import CreateMode


async def main(options: argparse.Namespace) -> None:
    async with zkwire.connect(options.hosts, options.session_timeout) as zk:
        await zk.ensure_path(options.path)

        # 1. Queue up: a znode that goes with our session, and whose name the server ends with the next number.
        #    Not kept: when the reply is lost, the znode may exist without our knowing its name, and we would wait for
        #    ourselves. `election` puts a GUID into the name, and looks for it before it creates another (C4, C5).
        own = await zk.create(f"{options.path}/n-", options.name.encode(), mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        own_name = own.rpartition("/")[2]
        print(f"{options.name} is {own_name}", flush=True)

        while True:
            # 2. List: the lowest number leads.
            #    Not kept: numbers wrap after 2147483647, and sort wrongly as text; children of another recipe would
            #    count as candidates. `election` reads the number, and refuses a mixed path (W12, W13).
            names = sorted(await zk.get_children(options.path))
            #    Not kept: when our znode is missing, deleted by somebody or with our session, `index` fails. `election`
            #    queues up again (W9, W10).
            place = names.index(own_name)
            if place == 0:
                break

            # 3. Watch only the one before, so that a hand-over wakes one candidate and not all.
            #    Not kept: `exists` leaves a watch behind when that znode has just gone. `election` watches with
            #    getData, which does not (W2).
            stat, watch = await zk.exists_and_watch(f"{options.path}/{names[place - 1]}")
            if stat is not None:
                print(f"{options.name} waits for {names[place - 1]}", flush=True)
                await watch.wait()  # it may only have left the queue, so list again (W4)

        # 4. Lead.
        #    Not kept: that nobody else leads. When this process or its network stops for longer than the session
        #    timeout T, the session expires and the next one leads, while we go on. The same when somebody deletes our
        #    znode. `election` renews a lease with a committed transaction every T/16, watches its znodes, and ends the
        #    work before the session can expire (L1, L3, L9, L12).
        #    Not kept: that a late write of ours is refused. `term.guarded` and `term.token` do that (P7 to P9).
        print(f"{options.name} leads", flush=True)
        try:
            await trio.sleep_forever()  # the work
        finally:
            # 5. Resign. Leaving the block closes the session, and that deletes our znode.
            #    Not kept: that the work has really ended before the next one leads, if it runs in other tasks.
            #    `election` waits for the end of the body first (L11, R5).
            print(f"{options.name} resigns", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="election_by_hand")
    parser.add_argument("name", help="what the znode says about this candidate")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/by-hand")
    parser.add_argument("--session-timeout", type=float, default=4.0)
    zkwire.run(main, parser.parse_args())
