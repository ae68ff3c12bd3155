"""Private ZooKeeper servers on the command line.

python -m tests.support.real run [--version 3.8] [--ensemble 3] -- COMMAND [ARGUMENT...]
python -m tests.support.real classpath [--version 3.8]
python -m tests.support.real list
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from tests.support.processes import spawn
from tests.support.real.servers import Ensemble, NoZooKeeper, Server, ServerError, find_distribution, find_distributions


def run(command: Sequence[str], *, version: str | None = None, size: int = 1, jvm: Sequence[str] = ()) -> int:
    """Run `command` with `ZKWIRE_HOSTS` naming a private server, or ensemble of `size`; its exit status.

    With `ZKWIRE_HOSTS` set already, on those servers instead.
    """
    if os.environ.get("ZKWIRE_HOSTS"):
        return _run(command, os.environ["ZKWIRE_HOSTS"])
    distribution = find_distribution(version)
    if size == 1:
        with Server(distribution, jvm=jvm) as server:
            return _run(command, server.address)
    with Ensemble(distribution, size, jvm=jvm) as ensemble:
        return _run(command, ensemble.hosts)


def _run(command: Sequence[str], hosts: str) -> int:
    process = spawn(command, env={**os.environ, "ZKWIRE_HOSTS": hosts})

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    # Ctrl-C reaches the command too, which decides what to do.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, pass_on)
    try:
        status = process.wait()
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    return status if status >= 0 else 128 - status  # as a shell says it


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.real", description="Private ZooKeeper servers.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    runner = verbs.add_parser("run", help="run a command with ZKWIRE_HOSTS naming a private server")
    runner.add_argument("--version", help='as "3.9" or "3.9.4"; default: the preferred distribution')
    runner.add_argument("--ensemble", type=int, default=1, metavar="N", help="this many servers instead of one")
    runner.add_argument("--jvm", action="append", default=[], metavar="OPTION", help="repeatable, as --jvm=-Xmx1g")
    runner.add_argument("command", nargs="+", metavar="COMMAND")
    classpath = verbs.add_parser("classpath", help="print the classpath of a distribution")
    classpath.add_argument("--version")
    verbs.add_parser("list", help="print the distributions of this machine, the preferred one first")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the servers' files go too
    try:
        if options.verb == "run":
            return run(options.command, version=options.version, size=options.ensemble, jvm=options.jvm)
        if options.verb == "classpath":
            print(find_distribution(options.version).classpath)
        else:
            for distribution in find_distributions():
                print(distribution.version, distribution.jar)
    except (NoZooKeeper, ServerError) as error:
        print(f"python -m tests.support.real: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
