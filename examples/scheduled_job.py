"""A job that runs on one machine at a time, as long as one of them lives.

    python -m examples.scheduled_job [--hosts HOSTS] [--path /ElectMasterDemo/master] [--period 1] [--session-timeout 4]

Start as many as you like. The first leads and runs the job; the others say that they stand by. When the leader is
stopped (Ctrl-C, SIGTERM) the next one leads at once; when it is killed, within the session timeout and a tick of the
servers. With `--hosts h1,h2,h3 --session-timeout 5 --path /test04/master` one of the servers may die too: the leader
stays the same.
"""

from __future__ import annotations

import argparse
import os
from datetime import datetime

import trio

import zkwire
from election import Election, Term


def say(text: str) -> None:
    print(f"{os.getpid()} {text}", flush=True)


async def tell_changes(election: Election) -> None:
    async for state in election.states():
        if state == "waiting":
            say("stands by")
        elif state == "lost":
            say("leads no more")


async def main(options: argparse.Namespace) -> None:
    async def run_jobs(term: Term) -> None:
        say(f"leads, token {term.token}")
        while True:  # cancelled when leadership is over or in doubt
            say(f"runs the job at {datetime.now():%H:%M:%S.%f}")
            await trio.sleep(options.period)

    async with (
        zkwire.connect(options.hosts, options.session_timeout, connect_timeout=3.0) as zk,
        trio.open_nursery() as nursery,
    ):
        election = Election(zk, options.path, mode="simple")
        nursery.start_soon(tell_changes, election)
        await election.run(run_jobs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scheduled_job")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/ElectMasterDemo/master")
    parser.add_argument("--period", type=float, default=1.0, help="seconds between two runs of the job")
    parser.add_argument("--session-timeout", type=float, default=4.0)
    zkwire.run(main, parser.parse_args())
