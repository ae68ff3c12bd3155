"""The command line: `zkwire VERB ...`.

    __init__   the table of verbs
    program    options of a connection, an end by signals: for our verbs and for other programs
    status     how a command ends: exit statuses, and the line on stderr; election's commands use it too
    common     options that verbs share, results; one session for a verb that speaks to a server
    explain    explain
    describe   describe
    read       read
    export     export
    addresses  where to listen, which servers
    tap        tap
    replay     replay
    raw        any bytes, for send
    send       send
    tree       whole trees of znodes, for ls -R and rm -r
    znodes     ls, get, stat, create, set, rm, watch, whoami, config

To add a verb, add its row to `VERBS`, its module to `_module` if it is a new one, and to the module's `register` the
arguments and the function that does it:

    def register(verb: str, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("path")
        parser.set_defaults(run=run)

`run(options)` then does it, and returns an exit status, or None for DONE; `options.verb` is the verb.

A module is loaded when one of its verbs is asked for, and only then: `zkwire ls` waits for no construct, `zkwire
explain` for no trio.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 usage or no server reached,
3 connection or session lost, 4 no such znode, 128 and the signal's number when SIGTERM or SIGHUP ended it.
"""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import NamedTuple

from .. import __version__
from .program import CommandParser
from .status import run_command


class Verb(NamedTuple):
    """One verb: the module of this package that does it, and one line of help."""

    name: str
    module: str
    help: str


VERBS = [
    Verb("send", "send", "one request, given as JSON, and its reply: every byte explained"),
    Verb("describe", "describe", "any record, operation, error or event: fields, opcode, versions, errors, an example"),
    Verb("explain", "explain", "what the bytes of frames mean, given as hexadecimal, base64 or a file"),
    Verb("read", "read", "what clients and servers said, from a file of captured packets (.pcap, .pcapng)"),
    Verb("tap", "tap", "what passes between clients and a server, live; broken on request"),
    Verb("export", "export", "what other tools need to read ZooKeeper's frames: a dissector for Wireshark"),
    Verb("replay", "replay", "recorded traffic again, as the server or as the client that it was"),
    Verb("ls", "znodes", "the names of a znode's children, one per line; -R: the paths of all below it"),
    Verb("get", "znodes", "a znode's data, as it is"),
    Verb("stat", "znodes", "a znode's Stat, a field per line"),
    Verb("create", "znodes", "create a znode, and print its path; an ephemeral one goes when the command ends"),
    Verb("set", "znodes", "set a znode's data, and print its new version"),
    Verb("rm", "znodes", "delete a znode; -r: and all below it"),
    Verb("watch", "znodes", "print the events of a znode as they come"),
    Verb("whoami", "znodes", "the identities of a connection, one per line"),
    Verb("config", "znodes", "the configuration of the ensemble; empty on a standalone server"),
]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status. Without arguments it is the program: see `run_command`."""
    return run_command("zkwire", _run, arguments)


def _run(given: list[str]) -> int | None:
    options = parser(given).parse_args(given)
    status: int | None = options.run(options)
    return status


def parser(arguments: list[str]) -> argparse.ArgumentParser:
    """The parser for these arguments: it lists all verbs, and knows the arguments of the one that is asked for."""
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    made = CommandParser(prog="zkwire", description="ZooKeeper from the command line, every byte in sight.")
    made.add_argument("--version", action="version", version=f"zkwire {__version__}")
    verbs = made.add_subparsers(metavar="VERB", dest="verb", required=True)
    for verb in VERBS:
        found = verbs.add_parser(verb.name, help=verb.help, description=verb.help)
        if verb.name == asked:
            _module(verb.module).register(verb.name, found)
    return made


def _module(name: str) -> ModuleType:
    """A module of verbs, loaded now. Each import is written out, so that PyInstaller and the like see it."""
    match name:
        case "read":
            from . import read

            return read
        case "znodes":
            from . import znodes

            return znodes
        case "describe":
            from . import describe

            return describe
        case "explain":
            from . import explain

            return explain
        case "export":
            from . import export

            return export
        case "replay":
            from . import replay

            return replay
        case "send":
            from . import send

            return send
        case "tap":
            from . import tap

            return tap
    raise ValueError(f"no module of verbs is named {name!r}")
