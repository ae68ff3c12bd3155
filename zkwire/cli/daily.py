"""The daily verbs: each runs one session, and its result is what the server said."""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from ..client import Client
from ..codes import CreateMode
from ..errors import NoNodeError
from ..records import Stat
from .common import connection_options, json_option, show
from .live import in_session

_MODES = {
    "persistent": CreateMode.PERSISTENT,
    "ephemeral": CreateMode.EPHEMERAL,
    "sequential": CreateMode.PERSISTENT_SEQUENTIAL,
    "ephemeral-sequential": CreateMode.EPHEMERAL_SEQUENTIAL,
    "container": CreateMode.CONTAINER,
}


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    connection_options(parser)
    json_option(parser)
    if verb == "create":
        parser.add_argument("data", metavar="DATA", nargs="?", default="")
        parser.add_argument("--mode", choices=list(_MODES), default="persistent")
    if verb == "set":
        parser.add_argument("data", metavar="DATA")
    if verb in ("set", "rm"):
        parser.add_argument("--version", type=int, default=-1, metavar="N", help="only where this is its version")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    in_session(options, _VERBS[options.verb])


async def ls(zk: Client, options: argparse.Namespace) -> None:
    names = sorted(await zk.get_children(options.path))
    show(options, names, "\n".join(names))


async def get(zk: Client, options: argparse.Namespace) -> None:
    data, stat = await zk.get_data(options.path)
    if options.json:
        show(options, {"path": options.path, "data": _data_json(data), "stat": _stat_json(stat)}, "")
    else:
        sys.stdout.buffer.write(data or b"")
        sys.stdout.buffer.flush()


async def stat(zk: Client, options: argparse.Namespace) -> None:
    found = await zk.exists(options.path)
    if found is None:
        raise NoNodeError(options.path, "exists")
    fields = _stat_json(found)
    show(options, fields, "\n".join(f"{name} = {value}" for name, value in fields.items()))


async def create(zk: Client, options: argparse.Namespace) -> None:
    path = await zk.create(options.path, options.data.encode(), mode=_MODES[options.mode])
    show(options, {"path": path}, path)


async def set_(zk: Client, options: argparse.Namespace) -> None:
    found = await zk.set_data(options.path, options.data.encode(), version=options.version)
    show(options, {"path": options.path, "version": found.version}, str(found.version))


async def rm(zk: Client, options: argparse.Namespace) -> None:
    await zk.delete(options.path, version=options.version)


_VERBS: dict[str, Callable[[Client, argparse.Namespace], Awaitable[None]]] = {
    "ls": ls,
    "get": get,
    "stat": stat,
    "create": create,
    "set": set_,
    "rm": rm,
}


def _stat_json(found: Stat) -> dict[str, int]:
    return {field.name: value for field, value in zip(Stat.FIELDS, found)}


def _data_json(data: bytes | None) -> Any:
    """Text where it is text; else base64 under a key that says so. null stays null."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data or b"").decode()}
