"""A request from JSON: the operation's name, and its fields as `zkwire describe` lists them.

    request_from_json('{"getData": {"path": "/a", "watch": false}}')

A buffer is text, {"hex": "00ff"}, {"base64": "AP8="} or null. A multi is a list of operations. A field that is left out
gets its value from `DEFAULTS`.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from ..codes import Perms
from ..jute.types import BufferType, JuteType, NestedType, VectorType
from ..multi import MultiItem, MultiSequence
from ..operations import BY_OPCODE, OPERATIONS, Operation, opcode_named, problem
from ..records import ACL, Id, MultiHeader

#: The values of fields that the JSON leaves out.
DEFAULTS: dict[str, Any] = {
    "watch": False,
    "version": -1,
    "data": b"",
    "flags": 0,
    "acl": (ACL(Perms.ALL, Id("world", "anyone")),),
}


class RequestError(ValueError):
    """The JSON is not a request. The message names what is unknown, missing, of the wrong type or forbidden."""


def request_from_json(text: str) -> tuple[Operation, Any]:
    """The operation, and the record of its fields; None if the operation has no fields.

    Raises:
        RequestError: names what is unknown, missing or of the wrong type, or what must not be sent.
    """
    try:
        return _request(text)
    except RecursionError:
        raise RequestError("the JSON is nested too deep for a request") from None


def _request(text: str) -> tuple[Operation, Any]:
    try:
        given = json.loads(text, object_pairs_hook=_object)
    except ValueError as error:
        raise RequestError(f"this is not JSON: {error}") from None
    operation, fields = _named(given, "the request")
    record = None
    if operation.request is not None:
        record = _record(operation.request, fields, operation.name)
    elif fields not in ({}, None):
        raise _wrong(f"{operation.name} has no fields: it is {{}}", fields)
    if reason := problem(operation, record):
        raise RequestError(reason)
    return operation, record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose names must differ. If a name came twice, Python would silently take the last value."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"an object of the JSON has the name {twice!r:.60} twice")
    return made


def _named(given: Any, what: str) -> tuple[Operation, Any]:
    """The operation and the fields of {"operation": {...}}."""
    if not isinstance(given, dict) or len(given) != 1:
        raise _wrong(f'{what} is an object of one operation, {{"getData": {{"path": "/a"}}}}', given)
    ((name, fields),) = given.items()
    operation = BY_OPCODE.get(opcode_named(name) or 0)
    if operation is None:
        raise RequestError(f"{name!r} is not an operation; there are {', '.join(sorted(OPERATIONS))}")
    return operation, fields


def _record(kind: Any, given: Any, path: str) -> Any:
    if issubclass(kind, MultiSequence):
        return _items(kind, given, path)
    names = [field.name for field in kind.FIELDS]
    if not isinstance(given, dict):
        raise _wrong(f"{path} is an object with {', '.join(names)}", given)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise RequestError(f"{path} has no field {unknown[0]!r}; it has {', '.join(names)}")
    missing = [name for name in names if name not in given and name not in DEFAULTS]
    if missing:
        raise RequestError(f"{path} lacks {', '.join(missing)}")
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
            raise RequestError(f"{path}[{place}]: {operation.name} is not allowed in {path}")
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
        raise RequestError(": ".join(wrong))
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
            raise RequestError(f"{path} is not {form}: {text!r:.60}") from None
    return given


def _wrong(expected: str, given: Any) -> RequestError:
    return RequestError(f"{expected}, not {json.dumps(given):.60}")
