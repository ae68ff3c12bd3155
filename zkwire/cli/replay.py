"""`zkwire replay`: plays a recording, as the server to clients or as the client to a server."""

from __future__ import annotations

import argparse
import sys

from ..hosts import Host, parse_hosts
from ..tap.dial import error_text, listen
from ..tap.playing import PlayedClient, serve
from ..text import counted
from ..traffic import recording
from ..traffic.as_client import Rerun
from ..traffic.as_server import RecordedStep, Script, connections, timeline
from .addresses import listening, servers
from .common import ending_by_signal
from .program import run_until_signal
from .status import DONE, FAILED, CommandError


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Plays a recording of zkwire tap --record. Without --to it is the server: it listens, and answers the recorded "
        "requests with the recorded replies and events. Each connection plays the next recorded connection that asked "
        "for the same session. With --to it is the client: it sends the recorded requests, and compares the replies "
        "with the recorded ones, except for values that differ from run to run: session ids, zxids, times and the "
        "numbers of sequential znodes. Prints each difference. The exit status is 1 if there was one."
    )
    parser.add_argument("file", metavar="FILE", help="a recording of zkwire tap --record")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--listen", metavar="LISTEN", default="2181", help="HOST:PORT, :PORT or PORT (default: 2181 on loopback)"
    )
    where.add_argument("--to", metavar="SERVER", help="be the client, of this server")
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="with --to: seconds to wait for each reply (default: 10)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    steps, with_secrets = _load(options.file)
    count = len(connections(steps))
    if not count:
        raise CommandError(f"{options.file}: it has no connection that speaks ZooKeeper's protocol")
    faulted = sum(recorded.faulted for recorded in connections(steps))
    if faulted:
        they = "it is played as it came" if faulted == 1 else "they are played as they came"
        _note(f"a fault acted on {counted(faulted, 'frame')} of the recording; {they}, without the fault")
    if options.to is None:
        host = listening(options.listen)
        return run_until_signal(lambda: _serve(steps, host))
    hosts, _ = parse_hosts(servers(options.to))
    return run_until_signal(lambda: _rerun(steps, hosts, Rerun(with_secrets=with_secrets), options.timeout))


def _load(path: str) -> tuple[list[RecordedStep], bool]:
    try:
        with open(path, encoding="utf-8") as file:
            with_secrets = recording.has_secrets(file.readline())
            file.seek(0)
            return timeline(recording.read(file)), with_secrets
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    except (recording.RecordingError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}") from None


def _note(text: str) -> None:
    print(f"zkwire: {text}", file=sys.stderr, flush=True)


async def _serve(steps: list[RecordedStep], host: Host) -> int:
    recorded = connections(steps)
    script = Script(recorded, lambda text: print(text, flush=True))
    try:
        listeners, address = await listen(host)
    except OSError as error:
        raise CommandError(f"cannot listen on {host}: {error_text(error)}") from None
    with ending_by_signal():
        _note(f"{address} plays {counted(len(recorded), 'connection')}; Ctrl-C ends it")
        await serve(script, listeners)
    return FAILED if script.divergences else DONE


async def _rerun(steps: list[RecordedStep], hosts: list[Host], rerun: Rerun, timeout: float) -> int:
    client = PlayedClient(hosts, rerun, timeout, differs=lambda text: print(text, flush=True), left_out=_note)
    await client.play(steps)
    outcome = counted(client.differences, "difference") if client.differences else "as recorded"
    sent, compared = counted(client.sent, "request"), counted(client.compared, "reply or event")
    print(f"{sent} sent, {compared} compared: {outcome}")
    return FAILED if client.differences else DONE
