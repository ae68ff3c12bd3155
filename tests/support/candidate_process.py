"""A candidate whose body works without a pause and records what it does, for tests that stop, kill and cut it off.

    python -m tests.support.candidate_process HOSTS PATH COUNTER RECORDS PORT NAME [options]

The body takes a step each 1 to 5 ms. Some steps read a number and write the next one: NAME of the resource at PORT
(tests/support/fenced_resource.py), with the fencing token, and the znode COUNTER, by `term.guarded`. SIGTERM ends it in
good order.

RECORDS is a file mapped into memory: what was written stays there if the process is killed. It holds `RECORD`s, and
zeros after the last one. Times are nanoseconds of CLOCK_MONOTONIC and of CLOCK_BOOTTIME, which all processes of a
machine share.

--broken makes the package unsafe on purpose: "holder" deletes another leader's holder instead of waiting for its end,
"witness" takes every deleted znode for one of an expired session. --unfenced gives the resource no token. Both show
that the tests find such errors. --unguarded does not write the znode, so that the body never waits for the servers.
"""

from __future__ import annotations

import argparse
import math
import mmap
import random
import signal
import struct
import time
from pathlib import Path

import trio

import zkwire
from election import Election, Term
from election.leader import campaign as campaigns
from election.leader import witness
from zkwire import Client, ConnectionLossError, NoNodeError, SessionExpiredError, SessionMovedError, SetData

#: kind, token, number, monotonic, boottime
RECORD = struct.Struct("<5q")
CAPACITY = 500_000
#: Kinds. The number of a STEP counts from 1 in each term; that of the others is the number to write.
ENTER, STEP, EXIT, FENCED_ASKED, FENCED_DONE, FENCED_REFUSED, GUARDED_ASKED, GUARDED_DONE = range(1, 9)


class Records:
    """What the process has done."""

    def __init__(self, path: Path) -> None:
        with path.open("w+b") as file:
            file.truncate(CAPACITY * RECORD.size)
            self._memory = mmap.mmap(file.fileno(), 0)
        self._place = 0

    def put(self, kind: int, token: int, number: int = 0) -> None:
        monotonic, boottime = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        end = self._place + RECORD.size
        self._memory[self._place : end] = RECORD.pack(kind, token, number, monotonic, boottime)
        self._place = end


class Body:
    """What one process does while it leads."""

    def __init__(self, zk: Client, records: Records, options: argparse.Namespace) -> None:
        self._zk = zk
        self._records = records
        self._counter: str = options.counter
        self._port: int = options.port
        self._name: str = options.name
        self._fenced: bool = not options.unfenced
        self._guarded: bool = not options.unguarded

    async def run(self, term: Term) -> None:
        put, token = self._records.put, term.token
        put(ENTER, token)
        try:
            async with await trio.open_tcp_stream("127.0.0.1", self._port) as resource:
                for step in range(1, CAPACITY):
                    await trio.sleep(random.uniform(0.001, 0.005))
                    put(STEP, token, step)
                    if step % 8 == 1:
                        await self._count_fenced(resource, token)
                    elif step % 8 == 5 and self._guarded:
                        await self._count_guarded(term)
        finally:
            put(EXIT, token)
            print(f"{time.monotonic():.3f} {token:#x} lost: {term.lost.reason or 'no'}", flush=True)

    async def _count_fenced(self, resource: trio.SocketStream, token: int) -> None:
        shown = token if self._fenced else 0

        async def ask(*words: object) -> str:
            await resource.send_all(" ".join(map(str, words)).encode() + b"\n")
            answer = bytearray()
            while not answer.endswith(b"\n"):
                received = await resource.receive_some()
                assert received, "the resource has ended"
                answer += received
            return answer.decode().strip()

        number = await ask("read", self._name, shown)
        if number == "stale":
            self._records.put(FENCED_REFUSED, token)
            return
        await trio.sleep(random.uniform(0.001, 0.005))
        self._records.put(FENCED_ASKED, token, int(number) + 1)
        answer = await ask("write", self._name, shown, int(number) + 1)
        self._records.put(FENCED_DONE if answer == "done" else FENCED_REFUSED, token, int(number) + 1)

    async def _count_guarded(self, term: Term) -> None:
        put = self._records.put
        try:
            # After a sync: it must see a write whose reply was lost, unless that write is refused.
            sync, reading = self._zk.sync(self._counter), self._zk.get_data(self._counter)
            await sync
            number = int((await reading)[0] or b"") + 1
            await trio.sleep(random.uniform(0.001, 0.005))
            put(GUARDED_ASKED, term.token, number)
            await term.guarded([SetData(self._counter, b"%d" % number)])
            put(GUARDED_DONE, term.token, number)
        except (ConnectionLossError, SessionMovedError):
            return
        except SessionExpiredError:
            await trio.sleep_forever()  # until the body is cancelled, as it will be


def break_holder() -> None:
    """Let candidates delete another leader's holder instead of waiting for its end."""

    async def remove(campaign: campaigns.Campaign) -> None:
        try:
            await campaign.session.delete(campaign.plan.paths.holder)
        except (NoNodeError, ConnectionLossError):
            return

    setattr(campaigns.Campaign, "_wait_for_holder", remove)  # noqa: B010 - the type checker knows that it is a method


def break_witness() -> None:
    """Let candidates miss the signs of deleted znodes."""
    setattr(witness.Witness, "suspect", lambda self, until: None)  # noqa: B010 - as above


BROKEN = {"holder": break_holder, "witness": break_witness}


async def tell(election: Election) -> None:
    """Print its states."""
    async for state in election.states():
        print(f"{time.monotonic():.3f} {state}", flush=True)


async def main(options: argparse.Namespace) -> None:
    records = Records(options.records)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def contend() -> None:
                async with zkwire.connect(options.hosts, options.timeout, connect_timeout=math.inf) as zk:
                    election = Election(
                        zk,
                        options.path,
                        options.name.encode(),
                        mode=options.mode,
                        renewal=options.renewal,
                        takeover_delay=options.takeover_delay,
                    )
                    nursery.start_soon(tell, election)
                    await election.run(Body(zk, records, options).run)

            nursery.start_soon(contend)
            async for _ in signals:
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for argument in ("hosts", "path", "counter"):
        parser.add_argument(argument)
    parser.add_argument("records", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("--mode", default="sequential")
    parser.add_argument("--renewal", default="commit")
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--takeover-delay", type=float, default=0.0)
    parser.add_argument("--broken", choices=BROKEN)
    parser.add_argument("--unfenced", action="store_true")
    parser.add_argument("--unguarded", action="store_true")
    arguments = parser.parse_args()
    if arguments.broken:
        BROKEN[arguments.broken]()
    trio.run(main, arguments)
