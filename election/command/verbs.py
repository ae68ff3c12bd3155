"""The command line: `python -m election VERB ...`. One verb, one function.

To add a verb, write the function that adds its arguments in arguments.py, the function that does it here, and its row
in `VERBS`.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 usage or no server reached,
3 connection or session lost, 4 no such znode, no leader or no member, 128 and the signal's number when SIGTERM or
SIGHUP ended it. `run` and `register` exit with the status of their command; with 128 and the signal's number if a
signal ended the command; and with 1 if the command ended with 0 but had put itself into the background.
"""

from __future__ import annotations

import argparse
import base64
import ipaddress
import json
import math
import os
import random
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, NamedTuple

import trio

from zkwire import (
    Client,
    CommandParser,
    ZkwireError,
    beside,
    check_path,
    connect,
    connect_arguments,
    print_frame,
    run_until_signal,
    tell_connection,
)
from zkwire.cli.status import DONE, NO_NODE, USAGE, CommandError, run_command, tell
from zkwire.text import printable

from ..errors import CampaignTimeout, ElectionError, RegistryError
from ..leader.election import Election
from ..leader.observer import Contender, Leader
from ..registry.layouts import Member
from ..registry.layouts.curator import ServiceInstance
from ..registry.picking import strategy
from ..registry.registration import Registration
from ..registry.registry import Registry
from . import arguments, demo, watchdog
from .runner import LeaseTerm, Runner
from .watchdog import NOT_EXECUTABLE, NOT_FOUND


def main(given: list[str] | None = None) -> int:
    """Run one command; its exit status. Without arguments it is the program: see `run_command`."""
    return run_command("election", _run_verb, given)


def _run_verb(given: list[str]) -> int | None:
    before, command = arguments.split(given)
    options = _parser().parse_args(before)
    parser: argparse.ArgumentParser = options.parser
    if command is not None and not hasattr(options, "command"):
        parser.error("this verb runs no command: leave out --")
    if not command and getattr(options, "command", None) is arguments.NEEDED:
        parser.error("a command to run is needed: -- CMD [ARG...]")
    options.command = command or []
    if command and (reason := watchdog.why_not_here()):
        raise CommandError(f"{options.name} -- CMD needs Linux: {reason}")
    connection = connect_arguments(options)
    verb: Verb = options.verb
    if verb.run is None:
        return run_until_signal(lambda: demo.show(_demo_access(options, connection)))
    _check_path(options.path)
    return run_until_signal(lambda: _in_session(verb, options, connection))


async def _in_session(verb: Verb, options: argparse.Namespace, connection: dict[str, Any]) -> int | None:
    """Run the verb in one session, or in one after another, with these arguments for `connect`."""
    assert verb.run is not None
    on_frame = print_frame if options.verbose else None
    async with connect(**connection, on_frame=on_frame, new_session=verb.goes_on) as zk:
        status = await verb.run(zk, options)
    return status  # noqa: RET504 (mypy: a block may swallow what is raised in it)


def _check_path(path: str) -> None:
    check_path(path)
    if path == "/":
        raise CommandError("path '/' is the root: an election or a service has a znode of its own below it", USAGE)


def _demo_access(options: argparse.Namespace, connection: dict[str, Any]) -> demo.Access:
    files = {"--ca": options.ca, "--cert": options.cert, "--key": options.key}
    given = [each for option, path in files.items() if path is not None for each in (option, path)]
    return demo.Access(connection, ["--tls"] * options.tls + given)


# --- elections


def _election(zk: Client, options: argparse.Namespace, **more: Any) -> Election:
    try:
        return Election(zk, options.path, mode=options.mode, dialect=options.dialect, **more)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None


async def run(zk: Client, options: argparse.Namespace) -> int:
    _look_for(options.command[0])
    data = f"{socket.gethostname()}:{os.getpid()}".encode() if options.data is None else os.fsencode(options.data)
    # The watchdog keeps the hard deadline; this process may live on when it has passed.
    election = _election(zk, options, data=data, overrun="ignore")

    def environment(term: LeaseTerm) -> dict[str, str]:
        return {"ELECTION_PATH": election.path, "ELECTION_NODE": term.node, "ELECTION_TOKEN": str(term.token)}

    report = _reporter(options)
    runner = Runner(
        options.command,
        lambda: election.lead(options.timeout),
        environment,
        on_lost=options.on_lost,
        kill_after=options.kill_after,
        report=report,
    )
    try:
        async with beside(lambda: _tell_waiting(zk, election, report)), beside(lambda: _tell_connection(zk, report)):
            return await runner.run()
    except CampaignTimeout as error:
        leader = await election.leader()
        raise CommandError(str(error) if leader is None else f"{error}; {_line(leader)} leads") from None


def _look_for(program: str) -> None:
    """Refuse a program that cannot be run, before this takes part in an election with it."""
    if shutil.which(program) is None:
        if os.sep in program and os.path.exists(program):
            raise CommandError(f"{program}: not executable", NOT_EXECUTABLE)
        raise CommandError(f"{program}: command not found", NOT_FOUND)


async def _tell_waiting(zk: Client, election: Election, report: Callable[..., object]) -> None:
    """Report what this candidate waits for, whenever that changes."""
    told = ""
    async for state in election.states():
        if state == "leading":
            told = ""
        if state != "waiting":
            continue
        try:
            found = await election.leader()
            owner = None if found is None else await zk.exists(found.node)
        except (ZkwireError, ElectionError):
            continue  # the campaign fails with the same error, and reports it
        if found is None:
            text = "nobody leads yet"
        elif owner is not None and owner.ephemeral_owner == zk.session_id:
            found, text = None, "this candidate is next, as soon as it is certain that no other leader works"
        else:
            text = f"{_line(found)} leads"
        if text != told and election.state == "waiting":
            told = text
            report("waiting", leader=None if found is None else _leader_json(found), text=f"waiting: {text}")


async def _tell_connection(zk: Client, report: Callable[..., object]) -> None:
    await tell_connection(zk, lambda event, sentence: report(event, text=sentence))


def _reporter(options: argparse.Namespace) -> Callable[..., None]:
    """A function that reports an event on stderr: as JSON with `run --json`, else as a sentence, if it has one."""

    def report(event: str, text: str = "", **details: Any) -> None:
        if options.json and options.name == "run":
            tell(json.dumps({"event": event, "path": options.path, **details}))
        elif text or event in _EVENTS:
            _say(f"{options.path}: {text or _EVENTS[event].format(**details)}")

    return report


#: The sentences for events that come without one.
_EVENTS = {
    "leading": "leading as {node}, token {token}",
    "lost": "leadership is lost: {reason}",
    "stopping": "leadership is over or in doubt, so the command is asked to end",
    "background": "the command has put itself into the background, and what was left of it was ended: "
    "run it in the foreground",
}


async def leader(zk: Client, options: argparse.Namespace) -> None:
    found = await _election(zk, options).leader()
    if found is None:
        raise CommandError(f"{options.path}: there is no leader", NO_NODE)
    _show(options, _leader_json(found), _text(found.data))


async def observe(zk: Client, options: argparse.Namespace) -> None:
    report = _reporter(options)
    async with beside(lambda: _tell_connection(zk, report)), aclosing(_election(zk, options).observe()) as leaders:
        async for found in leaders:
            _show(options, _leader_json(found), "no leader" if found is None else f"leader {_line(found)}")


async def list_(zk: Client, options: argparse.Namespace) -> None:
    for found in await _election(zk, options).contenders():
        mark = "*" if found.is_leader else " "
        _show(options, {**_leader_json(found), "is_leader": found.is_leader}, f"{mark} {_line(found)}")


def _line(found: Leader | Contender) -> str:
    return f"{found.node} {found.token} {_text(found.data)}".rstrip()


def _leader_json(found: Leader | Contender | None) -> dict[str, Any]:
    """The leader as JSON. When nobody leads, the keys are the same, and all values null."""
    if found is None:
        return {"data": None, "node": None, "token": None}
    return {"data": _data_json(found.data), "node": found.node, "token": found.token}


# --- registries


def _registry(zk: Client, options: argparse.Namespace) -> Registry:
    try:
        return Registry(zk, options.path, options.layout)
    except RegistryError as error:
        raise CommandError(str(error), USAGE) from None


class _Registered:
    """A registration as the runner sees a term: its lease never ends."""

    token = 0
    deadline = lease_end = math.inf

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self.on_renewal: Callable[[float], object] | None = None

    @property
    def node(self) -> str:
        return self.registration.node or ""


async def register(zk: Client, options: argparse.Namespace) -> int:
    try:
        registration = _registry(zk, options).register(options.member, os.fsencode(options.data or ""))
    except RegistryError as error:
        raise CommandError(str(error), USAGE) from None
    registration.on_waiting = lambda node, session: _say(
        f"{node}: waiting: it belongs to session {session & 2**64 - 1:#x}, until that is closed or expires"
    )
    if options.command:
        _look_for(options.command[0])
    async with beside(lambda: _tell_connection(zk, _reporter(options))):
        if options.command:
            return await _register_while_it_runs(registration, options)
        async with registration:
            _show(options, {"node": registration.node}, f"{registration.node}")
            await trio.sleep_forever()
    return DONE


async def _register_while_it_runs(registration: Registration, options: argparse.Namespace) -> int:
    @asynccontextmanager
    async def registered() -> AsyncIterator[_Registered]:
        async with registration:
            _say(f"registered as {registration.node}")
            yield _Registered(registration)

    async def drain(term: LeaseTerm) -> None:
        """Deregister before the command is asked to end, so that no client finds it any more."""
        with suppress(ZkwireError, ElectionError):  # the command is stopped anyway
            await registration.deregister()

    tell = _reporter(options)

    def report(event: str, **details: Any) -> None:
        if event == "background":  # the other events are about leadership
            tell(event, **details)

    return await Runner(
        options.command,
        registered,
        lambda term: {},
        on_lost="exit",
        kill_after=options.kill_after,
        drain=drain,
        report=report,
    ).run()


async def members(zk: Client, options: argparse.Namespace) -> None:
    async with _registry(zk, options).members(on_problem=_tell_problem) as view:
        for member in view.snapshot():
            _show_member(options, member, "added")
        if options.watch:
            async with beside(lambda: _tell_connection(zk, _reporter(options))):
                async for change in view:
                    _show_member(options, change.member, change.kind)


_MARKS = {"added": "+", "updated": "~", "removed": "-"}


def _show_member(options: argparse.Namespace, member: Member, kind: str) -> None:
    value, text = _member_json(member), f"{member.name} {_text(member.data)}".rstrip()
    if options.watch:
        value, text = {"change": kind, **value}, f"{_MARKS[kind]} {text}"
    _show(options, value, text)


async def pick(zk: Client, options: argparse.Namespace) -> None:
    """Print the address of one member, to which a client can connect. A member without an address is left out, with a
    line on stderr. So is a member with a TLS port alone: its address would look like any other, and a plain connection
    to it would fail.
    """
    async with _registry(zk, options).members(on_problem=_tell_problem) as view:
        members = [member for member in view.snapshot() if member.enabled]
    addressed = [member for member in members if _address(member) is not None]
    for member in members:
        if member not in addressed:
            _say(f"{member.name} is left out: it has no address, HOST:PORT: {_why_no_address(member)}")
    if not addressed:
        reason = f"{options.path} has no members that may be used" + (" and have an address" if members else "")
        raise CommandError(reason, NO_NODE)
    member = strategy(options.strategy, random.Random()).pick(addressed, {})
    _show(options, _member_json(member), _address(member) or "")


def _tell_problem(name: str, error: Exception) -> None:
    _say(f"{name} is left out: {error}")


#: A host name or an IPv4 address, without characters that end the host in a URL.
_HOST = re.compile(r"[^\s:/?#@\[\]]+").fullmatch


def _address(member: Member) -> str | None:
    """The member's HOST:PORT; None if it has none, or if nobody could connect to it."""
    host, port = member.host, member.port
    if not host or port is None or not 0 < port < 65536:
        return None
    if ":" in host:
        try:
            return f"[{ipaddress.IPv6Address(host)}]:{port}"
        except ValueError:
            return None
    return f"{host}:{port}" if _HOST(host) and host.isprintable() else None


def _why_no_address(member: Member) -> str:
    instance = member.instance
    if isinstance(instance, ServiceInstance) and member.port is None and instance.ssl_port is not None:
        return f"only a TLS port, {instance.ssl_port}"
    if member.host is None and member.port is None:
        return "neither a host nor a port"
    return f"host {member.host!r:.60}, port {member.port}"


def _member_json(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "host": member.host,
        "port": member.port,
        "data": _data_json(member.data),
        "enabled": member.enabled,
    }


# --- results


def _show(options: argparse.Namespace, value: Any, text: str) -> None:
    """Print one result: `value` with --json, else `text`. It is flushed, since the reader may wait for it."""
    print(json.dumps(value) if options.json else printable(text), flush=True)


def _say(text: str) -> None:
    tell(f"election: {printable(text)}")


def _text(data: bytes) -> str:
    """The data as text; bytes that are not text as \\xff."""
    return data.decode(errors="backslashreplace")


def _data_json(data: bytes) -> Any:
    """The data as text, or if it is not text, as {"base64": ...}."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


# --- the table


class Verb(NamedTuple):
    """One verb.

    Attributes:
        arguments: adds its arguments to a parser.
        run: runs the verb in a session, and returns the exit status (None: DONE). The demo has None, since it opens its
            own sessions.
        goes_on: whether the verb continues in a new session when its session has expired.
    """

    name: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Client, argparse.Namespace], Awaitable[int | None]] | None
    help: str
    goes_on: bool = False


VERBS = [
    Verb("run", arguments.run, run, "run a command only while leader", goes_on=True),
    Verb("leader", arguments.election, leader, "print the leader's data"),
    Verb(
        "observe",
        arguments.election,
        observe,
        "print who leads, now and at every change: node, token and data",
        goes_on=True,
    ),
    Verb("list", arguments.election, list_, "print the candidates in the order of their turns; * marks the leader"),
    Verb("register", arguments.register, register, "register a member, for as long as this runs", goes_on=True),
    Verb("members", arguments.members, members, "print the members of a service: name and data", goes_on=True),
    Verb("pick", arguments.pick, pick, "print the address of one member of a service, HOST:PORT"),
    Verb(
        "demo",
        arguments.none,
        None,
        "show three registered servers and a takeover between two candidates, with the frames; ends by itself",
    ),
]


def _parser() -> argparse.ArgumentParser:
    every_verb = arguments.every_verb()
    parser = CommandParser(prog="python -m election", description="Leader election and service registry on ZooKeeper.")
    verbs = parser.add_subparsers(metavar="VERB", dest="name", required=True)
    for verb in VERBS:
        made = verbs.add_parser(verb.name, parents=[every_verb], help=verb.help, description=verb.help)
        verb.arguments(made)
        made.set_defaults(parser=made, verb=verb)
    return parser
