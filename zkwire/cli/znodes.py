"""The verbs about znodes: each opens one session, makes its requests, and prints the result."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable

from ..client.client import Client
from ..client.nursery import beside
from ..codes import AddWatchMode, CreateMode, EventType, KeeperState
from ..errors import NoAuthError, NoNodeError, SessionExpiredError
from ..explain.plain import as_json, bytes_as_json
from ..hosts import parse_hosts
from ..session.events import WatchedEvent
from ..text import counted, hexadecimal, name_of
from .common import connection_options, in_session, json_option, show
from .program import check_path, tell_connection
from .status import FAILED, USAGE, CommandError, complain
from .tree import delete_all, pre_order, refuse_reserved, walk

_MODES = {
    "persistent": CreateMode.PERSISTENT,
    "ephemeral": CreateMode.EPHEMERAL,
    "sequential": CreateMode.PERSISTENT_SEQUENTIAL,
    "ephemeral-sequential": CreateMode.EPHEMERAL_SEQUENTIAL,
    "container": CreateMode.CONTAINER,
}
_TTL_MODES = {
    "persistent": CreateMode.PERSISTENT_WITH_TTL,
    "sequential": CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL,
}


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    if verb == "ls":
        parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="default: /")
        parser.add_argument(
            "-R", "--recursive", action="store_true", help="list the paths of the znode and of everything below it"
        )
    elif verb not in ("whoami", "config"):
        parser.add_argument("path", metavar="PATH")
    if verb == "create":
        parser.add_argument("data", metavar="DATA", nargs="?", default="", help="the data (default: empty); - is stdin")
        parser.add_argument("-p", "--parents", action="store_true", help="also create missing parents, and the chroot")
        parser.add_argument("--mode", choices=list(_MODES), default="persistent", help="(default: persistent)")
        parser.add_argument(
            "--ttl", type=float, metavar="S", help="delete it after S seconds without a change and without children"
        )
    if verb == "set":
        parser.add_argument("data", metavar="DATA", help="the data; - is stdin")
    if verb == "rm":
        parser.add_argument("-r", "--recursive", action="store_true", help="delete everything below it too")
    if verb in ("set", "rm"):
        parser.add_argument("--version", type=int, default=-1, metavar="N", help="only if the version of its data is N")
    if verb == "watch":
        parser.add_argument("-R", "--recursive", action="store_true", help="watch everything below it too")
        parser.add_argument("-n", "--count", type=_count, metavar="N", help="end after N events")
    connection_options(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a number of events, 1 or more, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> None:
    if options.verb not in ("whoami", "config"):
        check_path(options.path, sequential=options.verb == "create" and "sequential" in options.mode)
    if options.verb == "rm":
        if options.recursive and options.version != -1:
            raise CommandError("rm -r does not check versions: it takes no --version", USAGE)
        refuse_reserved(options.path, parse_hosts(options.hosts)[1])
    if options.verb in ("create", "set"):
        # Before there is a session, because it could expire while a person types.
        options.data = sys.stdin.buffer.read() if options.data == "-" else options.data.encode(errors="surrogateescape")
    if options.verb == "create" and options.ttl is not None and options.mode not in _TTL_MODES:
        raise CommandError(f"a znode of mode {options.mode} has no --ttl", USAGE)
    in_session(options, _VERBS[options.verb])


async def ls(zk: Client, options: argparse.Namespace) -> None:
    if options.recursive:
        unreadable: dict[str, NoAuthError] = {}
        tree = await walk(zk, options.path, unreadable)
        if options.path in unreadable:
            raise unreadable[options.path]
        paths = pre_order(tree, options.path)
        show(options, paths, paths)
        if unreadable:
            for error in unreadable.values():
                complain(error, FAILED)
            raise CommandError(
                f"{len(unreadable)} of {counted(len(tree), 'znode')} could not be read: the znodes below are not listed"
            )
    else:
        names = sorted(await zk.get_children(options.path))
        show(options, names, names)


async def get(zk: Client, options: argparse.Namespace) -> None:
    data, stat = await zk.get_data(options.path)
    if options.json:
        show(options, {"path": options.path, "data": bytes_as_json(data), "stat": as_json(stat)}, [])
    else:
        sys.stdout.buffer.write(data or b"")
        sys.stdout.buffer.flush()


async def stat(zk: Client, options: argparse.Namespace) -> None:
    found = await zk.exists(options.path)
    if found is None:
        raise NoNodeError(options.path, "exists")
    fields = as_json(found)
    show(options, fields, [f"{name} = {value}" for name, value in fields.items()])


async def create(zk: Client, options: argparse.Namespace) -> None:
    mode = (_MODES if options.ttl is None else _TTL_MODES)[options.mode]
    if options.parents and (options.path != "/" or mode.is_sequential):
        await zk.ensure_path(options.path.rpartition("/")[0] or "/")  # "/" is the chroot, if there is one
    elif options.parents and mode == CreateMode.PERSISTENT and await zk.exists("/") is None:
        await zk.ensure_path("/")  # the chroot and its parents, which no path here can name
        await zk.set_data("/", options.data)
        show(options, {"path": "/"}, ["/"])
        return
    path = await zk.create(options.path, options.data, mode=mode, ttl=options.ttl)
    show(options, {"path": path}, [path])


async def set_(zk: Client, options: argparse.Namespace) -> None:
    found = await zk.set_data(options.path, options.data, version=options.version)
    show(options, {"path": options.path, "version": found.version}, [str(found.version)])


async def rm(zk: Client, options: argparse.Namespace) -> None:
    if options.recursive:
        count = await delete_all(zk, options.path)
    else:
        await zk.delete(options.path, version=options.version)
        count = 1
    if options.json:
        show(options, {"path": options.path, "deleted": count}, [])


async def watch(zk: Client, options: argparse.Namespace) -> None:
    mode = AddWatchMode.PERSISTENT_RECURSIVE if options.recursive else AddWatchMode.PERSISTENT
    left = options.count
    async with zk.add_watch(options.path, mode) as events, beside(lambda: tell_connection(zk, _tell)):
        print(f"zkwire: watching {options.path}", file=sys.stderr, flush=True)
        while left is None or left > 0:
            event = await events.__anext__()
            if event.type == EventType.NONE:
                raise SessionExpiredError(options.path, "addWatch")
            _show_event(options, event)
            left = None if left is None else left - 1


def _tell(event: str, sentence: str) -> None:
    print(f"zkwire: {sentence}", file=sys.stderr, flush=True)


def _show_event(options: argparse.Namespace, event: WatchedEvent) -> None:
    kind = name_of(EventType, event.type)
    zxid = None if event.zxid == -1 else hexadecimal(event.zxid)
    value = {"type": kind, "path": event.path, "state": name_of(KeeperState, event.state), "zxid": zxid}
    show(options, value, [f"{kind} {event.path}{'' if zxid is None else f' zxid={zxid}'}"])
    sys.stdout.flush()


async def whoami(zk: Client, options: argparse.Namespace) -> None:
    found = await zk.who_am_i()
    identities = [{"scheme": info.auth_scheme, "user": info.user} for info in found]
    show(options, identities, [f"{info.auth_scheme} {info.user}".rstrip() for info in found])


async def config(zk: Client, options: argparse.Namespace) -> None:
    data, stat = await zk.get_config()
    text = (data or b"").decode(errors="replace")
    servers = [line for line in text.splitlines() if line.startswith("server.")]
    version = next((line.partition("=")[2] for line in text.splitlines() if line.startswith("version=")), None)
    show(options, {"servers": servers, "version": version, "stat": as_json(stat)}, text.splitlines())


_VERBS: dict[str, Callable[[Client, argparse.Namespace], Awaitable[None]]] = {
    "ls": ls,
    "get": get,
    "stat": stat,
    "create": create,
    "set": set_,
    "rm": rm,
    "watch": watch,
    "whoami": whoami,
    "config": config,
}
