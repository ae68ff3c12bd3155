"""`zkwire send`: sends one request, given as JSON, in a new session, and shows both frames explained."""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import suppress
from typing import Any

from ..client.client import Client
from ..codes import OpCode
from ..explain.explained import explain_frame
from ..explain.json_request import DEFAULTS, RequestError, request_from_json
from ..explain.pasted import NotBytes, text_of
from ..frames import Direction, Frame
from ..operations import Operation
from . import raw
from .common import LIMIT, Paint, connection_options, in_session, json_line, json_option
from .explain import explained_json, lines
from .status import USAGE, CommandError

#: Requests that only the session may send. If a caller sent one, the session would take the reply for one to its own.
_THE_SESSION_S = {OpCode.PING: "it sends one after a third of the session timeout without a request; see -v"}


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    defaults = {**DEFAULTS, "acl": "open to everyone"}
    parser.description = (
        "Send one request, and show it and its reply, every field explained. The request is JSON: the operation's "
        'name, and its fields as zkwire describe lists them: {"getData": {"path": "/a", "watch": false}}. A buffer is '
        'text, {"hex": "00ff"}, {"base64": "AP8="} or null. Fields that are left out have these values: '
        f"{', '.join(f'{name} is {value}' for name, value in defaults.items())}. "
        "A path starts at the server's root: no chroot is put before it."
    )
    parser.add_argument("request", metavar="JSON", nargs="?", help="the request (default: stdin)")
    given = parser.add_argument_group(
        "any bytes",
        "They are sent unchanged, right or wrong, on a connection of their own. HEX must include the length of each "
        "frame. zkwire explains what comes back. It ends when each request has its reply, when the server closes the "
        "connection (exit status 3), or when the server is silent for the time of --wait (exit status 1).",
    )
    given.add_argument("--raw", metavar="HEX", help="send these bytes after a handshake, in place of a request")
    given.add_argument("--connect", metavar="HEX", help="send these bytes in place of the ConnectRequest")
    given.add_argument(
        "--wait", type=_seconds, default=3.0, metavar="S", help="seconds to wait for the server (default: 3)"
    )
    connection_options(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")


def run(options: argparse.Namespace) -> int | None:
    if options.raw is not None or options.connect is not None:
        if options.request is not None:
            raise CommandError("--raw and --connect replace the request in JSON: give one or the other", USAGE)
        return raw.run(options)
    operation, record = _request(_stdin() if options.request in (None, "-") else options.request)
    printer = _Printer(operation, as_json=options.json)

    async def send(zk: Client, _: argparse.Namespace) -> None:
        if operation.opcode != OpCode.CLOSE_SESSION:  # leaving the session sends it anyway
            await zk._call(operation, record, lambda reply: None)

    in_session(options, send, printer.take)
    return None


def _stdin() -> str:
    try:
        return text_of(sys.stdin.buffer.read())
    except NotBytes as error:
        raise CommandError(f"stdin: {error}; a request is JSON", USAGE) from None


def _request(text: str) -> tuple[Operation, Any]:
    try:
        operation, record = request_from_json(text)
    except RequestError as error:
        raise CommandError(str(error), USAGE) from None
    if operation.opcode in _THE_SESSION_S:
        raise CommandError(f"{operation.name} is the session's own: {_THE_SESSION_S[OpCode(operation.opcode)]}", USAGE)
    return operation, record


class _Printer:
    """Prints the request, its reply, and the events between them."""

    def __init__(self, operation: Operation, *, as_json: bool) -> None:
        self._opcode = operation.opcode
        self._json = as_json
        self._paint = Paint(sys.stdout)
        self._printed = 0
        self._replied = False

    def take(self, frame: Frame) -> None:
        """Called with every frame of the session."""
        if self._replied or not (frame.opcode == self._opcode or self._is_event(frame)):
            return
        self._replied = frame.opcode == self._opcode and frame.direction is Direction.RECEIVED
        found = explain_frame(frame)
        if self._json:
            print(json_line(explained_json(found)))
        else:
            print("\n" * bool(self._printed) + "\n".join(lines(found, self._paint, LIMIT)))
        self._printed += 1

    def _is_event(self, frame: Frame) -> bool:
        return bool(self._printed) and frame.opcode is None
