"""A job that runs on exactly one machine each period, whichever of them lives.

    python -m examples.scheduled_job [--hosts HOSTS] [--path /ElectMasterDemo/master] [--period 1] [--session-timeout 4]

Start as many as you like. The first leads and runs the job; the others say that they stand by. When the leader is
stopped (SIGTERM, Ctrl-C) the next one leads at once, when it is killed, within the session timeout and a tick of the
servers. With `--hosts h1,h2,h3 --session-timeout 5 --path /test04/master` the servers may die as well: that changes no
leader.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from datetime import datetime

import trio

import zkwire
from election import Election, Term

CONNECT_TIMEOUT = 3.0  # seconds: no session within this is an error


def say(text: str) -> None:
    print(f"{os.getpid()} {text}", flush=True)


async def report(election: Election) -> None:
    async for state in election.states():
        if state == "waiting":
            say("stands by")
        elif state == "lost":
            say("leads no more")


async def stop_by_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


async def contend(election: Election, period: float) -> None:
    async def work(term: Term) -> None:
        say(f"leads, token {term.token}")
        while True:
            say(f"runs the job at {datetime.now():%H:%M:%S.%f}")
            await trio.sleep(period)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(report, election)
        nursery.start_soon(stop_by_signal, nursery.cancel_scope)
        await election.run(work)


async def main(options: argparse.Namespace) -> str | None:
    """Contend until a signal. What went wrong, or None."""
    try:
        async with zkwire.connect(options.hosts, options.session_timeout, connect_timeout=CONNECT_TIMEOUT) as zk:
            await contend(Election(zk, options.path, mode="simple"), options.period)
    except zkwire.ZkwireError as error:
        return f"scheduled_job: {error}"
    say("stopped")
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scheduled_job")
    parser.add_argument("--hosts", default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
    parser.add_argument("--path", default="/ElectMasterDemo/master")
    parser.add_argument("--period", type=float, default=1.0)
    parser.add_argument("--session-timeout", type=float, default=4.0)
    sys.exit(trio.run(main, parser.parse_args()))
