"""`zkwire export`: writes what other tools need to read ZooKeeper's frames, from the declarations of the client."""

from __future__ import annotations

import argparse

from ..wireshark.dissector import dissector
from .status import CommandError


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(metavar="FORMAT", required=True)
    about = "a dissector in Lua: zkwire export wireshark > zookeeper.lua; tshark -X lua_script:zookeeper.lua -r FILE"
    kinds.add_parser("wireshark", help=about, description=about).set_defaults(run=_wireshark)


def _wireshark(options: argparse.Namespace) -> None:
    try:
        print(dissector(), end="")
    except FileNotFoundError as error:  # a frozen program may have left the file out
        raise CommandError(
            f"{error.filename}: not here: PyInstaller includes it in a program with --collect-data zkwire"
        ) from None
