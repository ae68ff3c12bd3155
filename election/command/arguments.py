"""The arguments of each verb of `python -m election`: one function each, which adds them to a parser."""

from __future__ import annotations

import argparse
import math
from contextlib import suppress

from zkwire import CommandParser, add_connection_options

from ..leader.dialects import DIALECTS
from ..registry.picking import STRATEGIES
from .runner import KILL_AFTER

#: Whether a command is given after --.
NEEDED, ALLOWED = "needed", "allowed"


def split(arguments: list[str]) -> tuple[list[str], list[str] | None]:
    """The arguments before the first --, and the command after it; None if there is no --."""
    if "--" not in arguments:
        return arguments, None
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def every_verb() -> CommandParser:
    """The options that every verb has, as a parent for its parser."""
    common = CommandParser(add_help=False)
    group = common.add_argument_group("for every verb")
    add_connection_options(group)
    group.add_argument(
        "--json",
        action="store_true",
        help="results as JSON, one object per line; with run: its messages too, on stderr",
    )
    group.add_argument("-v", "--verbose", action="store_true", help="print every frame, annotated, on stderr")
    return common


def none(parser: argparse.ArgumentParser) -> None:
    """The verb has no arguments of its own."""


# --- elections


def election(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the path of the election")
    parser.add_argument(
        "--mode",
        choices=["sequential", "simple"],
        default="sequential",
        help="sequential: candidates are children of PATH, and lead in the order in which they came (default); "
        "simple: PATH itself is the leader's znode",
    )
    parser.add_argument(
        "--dialect",
        choices=list(DIALECTS),
        default="native",
        help="the recipe whose names for candidates are used: native (the default) takes turns with Curator's "
        "LeaderSelector and go-zookeeper's Lock, curator-latch with Curator's LeaderLatch, kazoo with kazoo's Election",
    )


def run(parser: argparse.ArgumentParser) -> None:
    election(parser)
    parser.usage = "%(prog)s [options] PATH -- CMD [ARG...]"
    parser.set_defaults(command=NEEDED)
    parser.add_argument(
        "--data", metavar="TEXT", help="what `leader` and `list` show about this candidate (default: HOST:PID)"
    )
    parser.add_argument(
        "--on-lost",
        choices=["retry", "exit"],
        default="retry",
        help="when leadership is lost, CMD is ended. retry (the default): wait to lead again, and run CMD again; "
        "exit: end with status 3",
    )
    patience = parser.add_mutually_exclusive_group()
    patience.add_argument(
        "--try", action="store_const", const=0, dest="timeout", help="if another candidate leads, exit with status 1"
    )
    patience.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        help="if this candidate does not lead within S seconds, exit with status 1",
    )
    _kill_after(
        parser,
        "; after a loss of leadership KILL may come sooner, so that CMD is dead before another candidate can lead",
    )


# --- registries


def registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the path of the service; its members are the children")
    parser.add_argument(
        "--layout",
        choices=["names", "curator", "serverset"],
        default="names",
        help="how members are written: names (the default): each by the name of its znode; curator: as Curator's "
        "service discovery writes them; serverset: as Finagle does",
    )


def register(parser: argparse.ArgumentParser) -> None:
    registry(parser)
    parser.usage = "%(prog)s [options] PATH NAME [-- CMD [ARG...]]"
    parser.set_defaults(command=ALLOWED)
    parser.add_argument(
        "member", metavar="NAME", help="the name of the member; in other layouts than names an address, HOST:PORT"
    )
    parser.add_argument("--data", metavar="TEXT", help="with names: the data of the znode; with curator: the payload")
    _kill_after(parser)


def members(parser: argparse.ArgumentParser) -> None:
    registry(parser)
    parser.add_argument(
        "--watch",
        action="store_true",
        help="keep running, and print a line for each change: + added (also the members at the start), ~ updated, "
        "- removed",
    )


def pick(parser: argparse.ArgumentParser) -> None:
    registry(parser)
    parser.add_argument(
        "--strategy", choices=list(STRATEGIES), default="random", help="how to choose the member (default: random)"
    )


def _kill_after(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument(
        "--kill-after",
        type=_seconds,
        default=KILL_AFTER,
        metavar="S",
        help=f"when CMD is to stop, send it TERM, and KILL if it still runs S seconds later (default: {KILL_AFTER:g})"
        f"{more}",
    )


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
