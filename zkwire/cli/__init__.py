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

To add a verb, add a row to `VERBS`. If its module is new, add that to `_module`. The `register` of the module adds the
arguments and names the function that runs the verb:

    def register(verb: str, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("path")
        parser.set_defaults(run=run)

`run(options)` runs the verb and returns an exit status; None is DONE. `options.verb` is the name of the verb.

A module is loaded only when one of its verbs is run: `zkwire ls` does not wait for construct to load, and `zkwire
explain` does not wait for trio.

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
    """One verb: its name, the module of this package that runs it, and one line of help."""

    name: str
    module: str
    help: str


VERBS = [
    Verb("send", "send", "send one request, given as JSON; show it and its reply, every byte explained"),
    Verb(
        "describe", "describe", "show a record, operation, error or event: fields, opcode, versions, errors, an example"
    ),
    Verb("explain", "explain", "show what the bytes of frames mean, given as hexadecimal, base64 or a file"),
    Verb("read", "read", "show what clients and servers said, from a file of captured packets (.pcap, .pcapng)"),
    Verb("tap", "tap", "a proxy that shows what passes between clients and a server, and can inject faults"),
    Verb("export", "export", "write a dissector, with which Wireshark reads ZooKeeper's frames"),
    Verb("replay", "replay", "play a recording of zkwire tap: as the server to clients, or as the client to a server"),
    Verb("ls", "znodes", "list the names of a znode's children, one per line; -R: the paths of all znodes below it"),
    Verb("get", "znodes", "write a znode's data to stdout, byte for byte"),
    Verb("stat", "znodes", "print a znode's Stat, one field per line"),
    Verb("create", "znodes", "create a znode, and print its path; an ephemeral znode is deleted when the command ends"),
    Verb("set", "znodes", "set a znode's data, and print its new version"),
    Verb("rm", "znodes", "delete a znode; -r: and everything below it"),
    Verb("watch", "znodes", "print the events of a znode when they come"),
    Verb("whoami", "znodes", "print the identities of a connection, one per line"),
    Verb("config", "znodes", "print the configuration of the ensemble; it is empty on a standalone server"),
]


def main(arguments: list[str] | None = None) -> int:
    """Run one command, and return its exit status. Without arguments it is the whole program: see `run_command`."""
    return run_command("zkwire", _run, arguments)


def _run(given: list[str]) -> int | None:
    options = parser(given).parse_args(given)
    status: int | None = options.run(options)
    return status


def parser(arguments: list[str]) -> argparse.ArgumentParser:
    """A parser for these arguments. It lists all verbs, but has the arguments of only the one that is given."""
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    made = CommandParser(prog="zkwire", description="ZooKeeper from the command line, with every byte visible.")
    made.add_argument("--version", action="version", version=f"zkwire {__version__}")
    verbs = made.add_subparsers(metavar="VERB", dest="verb", required=True)
    for verb in VERBS:
        found = verbs.add_parser(verb.name, help=verb.help, description=verb.help)
        if verb.name == asked:
            _module(verb.module).register(verb.name, found)
    return made


def _module(name: str) -> ModuleType:
    """Load a module of verbs. Each import is written out, so that PyInstaller and similar programs find it."""
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
