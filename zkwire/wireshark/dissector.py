"""Makes the dissector for Wireshark: dissector.lua, after tables of all records, operations and codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from importlib import resources
from typing import Any

from .. import __version__, records
from ..codes import EventType, OpCode, Xid
from ..explain.dump import CODES, HEXADECIMAL, SECRETS
from ..frames import (
    HANDSHAKE,
    HEADER,
    HEADER_SIZE,
    LENGTH_SIZE,
    MAX_REPLY,
    NOTIFICATION,
    Direction,
    reply_types,
    request_types,
)
from ..jute import Record
from ..jute.types import FixedType, NestedType, VectorType
from ..multi import MultiReadRequest, MultiRequest, MultiResponse, MultiSequence
from ..operations import BY_OPCODE

_HEADINGS = f"""\
-- A Wireshark dissector for the ZooKeeper client protocol, written by zkwire {__version__}: zkwire export wireshark
--
--   tshark -X lua_script:zookeeper.lua -r FILE              or put it into Wireshark's folder of personal Lua plugins
--   -o zookeeper.ports:2181,2391                            where servers listen; on other ports, connections are
--                                                           recognized by their first frame
--   -o tcp.try_heuristic_first:TRUE                         if those ports belong to other protocols
--   -o tcp.reassemble_out_of_order:TRUE                     if segments come out of order (and none is missing)
--
-- Filters: zookeeper.op == "create", zookeeper.path contains "/app", zookeeper.err != 0, zookeeper.xid == 7,
-- zookeeper.CreateRequest.flags == 1, and so on for every field of every record.
--
-- These tables are generated from zkwire's declarations. Change them there.
"""


def dissector() -> str:
    """The Lua program: tables generated from our declarations, and the code that reads frames with them."""
    tables = "\n".join(f"local {name} = {_lua(value)}" for name, value in _tables().items())
    code = resources.files("zkwire.wireshark").joinpath("dissector.lua").read_text(encoding="utf-8")
    return f"{_HEADINGS}\n{tables}\n\n{code}"


def _tables() -> dict[str, Any]:
    declared = {name: kind for name, kind in vars(records).items() if _is_record(kind)}
    sequences: tuple[type[MultiSequence], ...] = (MultiRequest, MultiReadRequest, MultiResponse)
    names = {row.opcode: row.name for row in BY_OPCODE.values()}
    codes: dict[str, Any] = {field: _names(kind) for field, kind in CODES.items()}
    return {
        "RECORDS": {name: [_field(field) for field in kind.FIELDS] for name, kind in declared.items()},
        "SEQUENCES": {
            kind.__name__: {int(code): body.__name__ if body else False for code, body in kind.BODIES.items()}
            for kind in sequences
        },
        "OPERATIONS": {
            int(row.opcode): {"request": _record_names(request_types(row)), "reply": _record_names(reply_types(row))}
            for row in BY_OPCODE.values()
        },
        "SENT": _anatomy(Direction.SENT),
        "RECEIVED": _anatomy(Direction.RECEIVED),
        "EVENT": _record_names(NOTIFICATION),
        "OPCODES": {int(opcode): name for opcode, name in names.items()},
        "CODES": codes | {f"{header}.type": {int(code): name for code, name in names.items()} for header in _HEADERS},
        "EVENT_TYPES": _names(EventType),
        "HEXADECIMAL": dict.fromkeys(sorted(HEXADECIMAL), True),
        "SECRETS": dict.fromkeys(sorted(SECRETS), True),
        "SIZES": {
            field.type.name: field.type.size
            for kind in declared.values()
            for field in kind.FIELDS
            if isinstance(field.type, FixedType)
        },
        "LENGTH_SIZE": LENGTH_SIZE,
        "MAX_LENGTH": MAX_REPLY,
        "SEQUENCE_HEADER": records.MultiHeader.__name__,
        "ERROR_RECORD": records.ErrorResponse.__name__,
        "NOTIFICATION": int(Xid.NOTIFICATION),
        "PING": int(Xid.PING),
        "PING_OPCODE": int(OpCode.PING),
        "MULTI_OPCODE": int(OpCode.MULTI),
    }


def _anatomy(direction: Direction) -> dict[str, Any]:
    """The frames of one direction: the record and the size, without the password, of the handshake; the record and the
    size of the header; and where in a frame each field of the header is, the length included."""
    places, offset = {}, LENGTH_SIZE
    for field in HEADER[direction].FIELDS:
        places[field.name] = offset
        offset += field.type.size
    return {
        "handshake": HANDSHAKE[direction].__name__,
        "handshake_size": NestedType(HANDSHAKE[direction]).min_size,
        "header": HEADER[direction].__name__,
        "header_size": HEADER_SIZE[direction],
        "at": places,
    }


#: Records whose `type` is an opcode.
_HEADERS = (records.RequestHeader.__name__, records.MultiHeader.__name__)


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record) and kind is not Record


def _record_names(types: tuple[Any, ...]) -> list[str]:
    return [kind.__name__ for kind in types]


def _names(codes: type[IntEnum]) -> dict[int, str]:
    return {int(code): code.name for code in codes}


def _field(field: Any) -> list[Any]:
    kind = field.type
    if not isinstance(kind, (FixedType, NestedType, VectorType)) and str(kind) not in ("ustring", "buffer"):
        raise TypeError(f"the dissector cannot read {field.name}: it knows no type {kind}")
    is_optional = isinstance(kind, FixedType) and kind.optional
    return [field.name, str(kind), *([True] if is_optional else [])]


def _lua(value: Any, indent: str = "") -> str:
    """A value in Lua's syntax. A table of scalars is on one line if it fits."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        if not value.isprintable():
            raise ValueError(f"{value!r} cannot be in a string of the dissector: it is not printable")
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    inner = indent + "  "
    if isinstance(value, Mapping):
        parts = [f"{_key(key)} = {_lua(each, inner)}" for key, each in value.items() if each is not None]
    else:
        parts = [_lua(each, inner) for each in value]
    line = "{ " + ", ".join(parts) + " }" if parts else "{}"
    if len(indent) + len(line) <= 100 and "\n" not in line:
        return line
    return "{\n" + "".join(f"{inner}{part},\n" for part in parts) + indent + "}"


def _key(key: Any) -> str:
    return f"[{key}]" if isinstance(key, int) else key if key.isidentifier() else f'["{key}"]'
