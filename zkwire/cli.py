"""The command line: `zkwire VERB ...`. One verb, one function.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 usage or no server reached,
3 connection or session lost, 4 no such znode.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from .client import Client, connect
from .codes import CreateMode
from .errors import ClosedError, ConnectionLossError, NoNodeError, NoServerError, SessionExpiredError, ZkwireError
from .hosts import HostsError
from .records import Stat
from .trace import print_frame

DONE, FAILED, NO_SERVER, LOST, NO_NODE = range(5)

_MODES = {
    "persistent": CreateMode.PERSISTENT,
    "ephemeral": CreateMode.EPHEMERAL,
    "sequential": CreateMode.PERSISTENT_SEQUENTIAL,
    "ephemeral-sequential": CreateMode.EPHEMERAL_SEQUENTIAL,
    "container": CreateMode.CONTAINER,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    options = _parser().parse_args(arguments)
    try:
        trio.run(_run, options)
    except (HostsError, NoServerError) as error:
        return _complain(error, NO_SERVER)
    except (ConnectionLossError, SessionExpiredError, ClosedError) as error:
        return _complain(error, LOST)
    except NoNodeError as error:
        return _complain(error, NO_NODE)
    except ZkwireError as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return FAILED
    return DONE


def _complain(error: Exception, status: int) -> int:
    print(f"zkwire: {error}", file=sys.stderr)
    return status


async def _run(options: argparse.Namespace) -> None:
    on_frame = print_frame if options.verbose else None
    async with connect(options.hosts, options.session_timeout, on_frame=on_frame, new_session=False) as zk:
        await options.verb(zk, options)


# --- verbs


async def ls(zk: Client, options: argparse.Namespace) -> None:
    """the names of a znode's children, one per line"""
    names = sorted(await zk.get_children(options.path))
    _show(options, names, "\n".join(names))


async def get(zk: Client, options: argparse.Namespace) -> None:
    """a znode's data, as it is"""
    data, stat = await zk.get_data(options.path)
    if options.json:
        _show(options, {"path": options.path, "data": _data_json(data), "stat": _stat_json(stat)}, "")
    else:
        sys.stdout.buffer.write(data or b"")
        sys.stdout.buffer.flush()


async def stat(zk: Client, options: argparse.Namespace) -> None:
    """a znode's Stat, a field per line"""
    found = await zk.exists(options.path)
    if found is None:
        raise NoNodeError(options.path, "exists")
    fields = _stat_json(found)
    _show(options, fields, "\n".join(f"{name} = {value}" for name, value in fields.items()))


async def create(zk: Client, options: argparse.Namespace) -> None:
    """create a znode, and print its path; an ephemeral one goes when the command ends"""
    path = await zk.create(options.path, options.data.encode(), mode=_MODES[options.mode])
    _show(options, {"path": path}, path)


async def set_(zk: Client, options: argparse.Namespace) -> None:
    """set a znode's data, and print its new version"""
    found = await zk.set_data(options.path, options.data.encode(), version=options.version)
    _show(options, {"path": options.path, "version": found.version}, str(found.version))


async def rm(zk: Client, options: argparse.Namespace) -> None:
    """delete a znode without children"""
    await zk.delete(options.path, version=options.version)


# --- arguments and results


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("for every verb")
    group.add_argument(
        "--hosts",
        default=os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"),
        help="servers by comma, with a chroot behind them (default: $ZKWIRE_HOSTS or 127.0.0.1:2181)",
    )
    group.add_argument("--session-timeout", type=float, default=10.0, metavar="S", help="in seconds (default: 10)")
    group.add_argument("--json", action="store_true", help="the result as JSON, in one line")
    group.add_argument("-v", "--verbose", action="store_true", help="every frame, annotated, on stderr")
    parser = argparse.ArgumentParser(prog="zkwire", description="ZooKeeper from the command line, every byte in sight.")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def add(name: str, verb: Callable[[Client, argparse.Namespace], Awaitable[None]]) -> argparse.ArgumentParser:
        text = (verb.__doc__ or "").strip()
        made: argparse.ArgumentParser = verbs.add_parser(name, parents=[common], help=text, description=text)
        made.set_defaults(verb=verb)
        made.add_argument("path", metavar="PATH")
        return made

    add("ls", ls)
    add("get", get)
    add("stat", stat)
    created = add("create", create)
    created.add_argument("data", metavar="DATA", nargs="?", default="")
    created.add_argument("--mode", choices=list(_MODES), default="persistent")
    changed = add("set", set_)
    changed.add_argument("data", metavar="DATA")
    for versioned in (changed, add("rm", rm)):
        versioned.add_argument("--version", type=int, default=-1, metavar="N", help="only where this is its version")
    return parser


def _show(options: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value, ensure_ascii=False) if options.json else text)


def _stat_json(found: Stat) -> dict[str, int]:
    return {field.name: value for field, value in zip(Stat.FIELDS, found)}


def _data_json(data: bytes | None) -> Any:
    """Text where it is text; else base64 under a key that says so. null stays null."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data or b"").decode()}


if __name__ == "__main__":
    sys.exit(main())
