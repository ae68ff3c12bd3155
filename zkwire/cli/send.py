"""`zkwire send`: one request, as JSON, in a session of its own; both frames, explained."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import math
import sys
from contextlib import suppress
from typing import Any

from ..client.client import Client
from ..codes import OpCode, Perms
from ..explain.explained import explain_frame
from ..explain.pasted import NotBytes, text_of
from ..frames import Direction, Frame
from ..jute.types import BufferType, JuteType, NestedType, VectorType
from ..multi import MultiItem, MultiSequence
from ..operations import BY_OPCODE, OPERATIONS, Operation, opcode_named, problem
from ..records import ACL, Id, MultiHeader
from . import raw
from .common import LIMIT, Paint, connection_options, in_session, json_line, json_option
from .explain import explained_json, lines
from .status import USAGE, CommandError

#: What a field is when the JSON has none of its name.
DEFAULTS: dict[str, Any] = {
    "watch": False,
    "version": -1,
    "data": b"",
    "flags": 0,
    "acl": (ACL(Perms.ALL, Id("world", "anyone")),),
}

#: The session sends these itself: a reply to one that it did not send would be taken for its own.
_THE_SESSION_S = {OpCode.PING: "it sends one after a third of the session timeout without a request; see -v"}


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    defaults = {**DEFAULTS, "acl": "anyone may do anything"}
    parser.description = (
        "Send one request, and show it and its reply, every field explained. The request is JSON: the operation's "
        'name, and its fields as zkwire describe lists them: {"getData": {"path": "/a", "watch": false}}. A buffer is '
        'text, {"hex": "00ff"}, {"base64": "AP8="} or null. Fields left out: '
        f"{', '.join(f'{name} is {value}' for name, value in defaults.items())}. "
        "Paths are the server's own: no chroot is put before them."
    )
    parser.add_argument("request", metavar="JSON", nargs="?", help="default: stdin")
    given = parser.add_argument_group(
        "any bytes",
        "They are sent as they are, right or wrong, on a plain connection without a client. HEX must include each "
        "frame's length. zkwire explains what comes back, and stops when each request has its reply, when the server "
        "closes the connection (status 3), or when it is silent for the time of --wait (status 1).",
    )
    given.add_argument("--raw", metavar="HEX", help="send these bytes after a handshake, in place of a request")
    given.add_argument("--connect", metavar="HEX", help="send these bytes in place of the ConnectRequest")
    given.add_argument(
        "--wait", type=_seconds, default=3.0, metavar="S", help="how long to wait for the server (default: 3 seconds)"
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
            raise CommandError("--raw and --connect stand in the place of a request in JSON: give one of them", USAGE)
        return raw.run(options)
    operation, record = request_of(_stdin() if options.request in (None, "-") else options.request)
    printer = _Printer(operation, as_json=options.json)

    async def send(zk: Client, _: argparse.Namespace) -> None:
        if operation.opcode != OpCode.CLOSE_SESSION:  # that is what leaving the session sends
            await zk._call(operation, record, lambda reply: None)

    in_session(options, send, printer.take)
    return None


def _stdin() -> str:
    try:
        return text_of(sys.stdin.buffer.read())
    except NotBytes as error:
        raise CommandError(f"stdin: {error}; a request is JSON", USAGE) from None


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


# --- from JSON


def request_of(text: str) -> tuple[Operation, Any]:
    """The operation and its record.

    Raises:
        CommandError: names what is unknown, missing or of the wrong type, or what must not be sent.
    """
    try:
        return _request_of(text)
    except RecursionError:
        raise CommandError("the JSON is nested too deep for a request", USAGE) from None


def _request_of(text: str) -> tuple[Operation, Any]:
    try:
        given = json.loads(text, object_pairs_hook=_object)
    except ValueError as error:
        raise CommandError(f"this is not JSON: {error}", USAGE) from None
    operation, fields = _named(given, "the request")
    if operation.opcode in _THE_SESSION_S:
        raise CommandError(f"{operation.name} is the session's own: {_THE_SESSION_S[OpCode(operation.opcode)]}", USAGE)
    record = None
    if operation.request is not None:
        record = _record(operation.request, fields, operation.name)
    elif fields not in ({}, None):
        raise _wrong(f"{operation.name} has no fields: it is {{}}", fields)
    if reason := problem(operation, record):
        raise CommandError(reason, USAGE)
    return operation, record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose names must differ. If a name came twice, Python would silently take the last value."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise CommandError(f"an object of the JSON has the name {twice!r:.60} twice", USAGE)
    return made


def _named(given: Any, what: str) -> tuple[Operation, Any]:
    """The operation and the fields of {"operation": {...}}."""
    if not isinstance(given, dict) or len(given) != 1:
        raise _wrong(f'{what} is an object of one operation, {{"getData": {{"path": "/a"}}}}', given)
    ((name, fields),) = given.items()
    operation = BY_OPCODE.get(opcode_named(name) or 0)
    if operation is None:
        raise CommandError(f"{name!r} is not an operation; there are {', '.join(sorted(OPERATIONS))}", USAGE)
    return operation, fields


def _record(kind: Any, given: Any, path: str) -> Any:
    if issubclass(kind, MultiSequence):
        return _items(kind, given, path)
    names = [field.name for field in kind.FIELDS]
    if not isinstance(given, dict):
        raise _wrong(f"{path} is an object with {', '.join(names)}", given)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise CommandError(f"{path} has no field {unknown[0]!r}; it has {', '.join(names)}", USAGE)
    missing = [name for name in names if name not in given and name not in DEFAULTS]
    if missing:
        raise CommandError(f"{path} lacks {', '.join(missing)}", USAGE)
    types = {field.name: field.type for field in kind.FIELDS}
    values = {name: _value(types[name], each, f"{path}.{name}") for name, each in given.items()}
    return kind(**{**{name: DEFAULTS[name] for name in names if name not in given}, **values})


def _items(kind: Any, given: Any, path: str) -> Any:
    if not isinstance(given, list):
        raise _wrong(f'{path} is a list of operations, [{{"delete": {{"path": "/a"}}}}]', given)
    items = []
    for place, each in enumerate(given):
        operation, fields = _named(each, f"{path}[{place}]")
        body = kind.BODIES.get(operation.opcode)
        if body is None:
            raise CommandError(f"{path}[{place}]: {operation.name} is not allowed in {path}", USAGE)
        record = _record(body, fields, f"{path}[{place}].{operation.name}")
        items.append(MultiItem(MultiHeader(operation.opcode, False, -1), record))
    return kind(tuple(items))


def _value(kind: JuteType, given: Any, path: str) -> Any:
    if isinstance(kind, NestedType):
        return _record(kind.record, given, path)
    if isinstance(kind, VectorType) and isinstance(given, list):
        return tuple(_value(kind.element, each, f"{path}[{place}]") for place, each in enumerate(given))
    value = _bytes(given, path) if isinstance(kind, BufferType) else given
    if wrong := kind.problem(value, path):
        raise CommandError(": ".join(wrong), USAGE)
    return value


def _bytes(given: Any, path: str) -> Any:
    if isinstance(given, str):
        return given.encode(errors="surrogatepass")
    if isinstance(given, dict) and len(given) == 1 and isinstance(next(iter(given.values())), str):
        ((form, text),) = given.items()
        try:
            if form == "hex":
                return bytes.fromhex(text)
            if form == "base64":
                return base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise CommandError(f"{path} is not {form}: {text!r:.60}", USAGE) from None
    return given


def _wrong(expected: str, given: Any) -> CommandError:
    return CommandError(f"{expected}, not {json.dumps(given):.60}", USAGE)
