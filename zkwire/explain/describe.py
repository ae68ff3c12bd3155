"""What zkwire knows about a record, an operation, an error, an event, a mode or a word of the protocol. No I/O.

The facts are in zkwire/records.py, operations.py, codes.py, errors.py and sentences.py. This module joins them into
values that JSON can hold. The examples are frames of a real server (examples.py).
"""

from __future__ import annotations

import difflib
from typing import Any

from .. import multi, records
from ..codes import AddWatchMode, CreateMode, ErrorCode, EventType, OpCode, Xid
from ..errors import BY_CODE
from ..jute import Record
from ..multi import MultiSequence
from ..operations import (
    ANY_OPERATION,
    BY_OPCODE,
    SEES,
    Operation,
    WatcherKind,
    create_operation,
)
from ..text import folded
from . import examples
from .sentences import first_sentence, purpose

RECORDS: dict[str, Any] = {
    name: kind
    for module in (records, multi)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, (Record, MultiSequence)) and kind not in (Record, MultiSequence)
}


def everything() -> list[dict[str, Any]]:
    """A description of everything that has a name, operations first."""
    return [
        *(_operation(row) for row in BY_OPCODE.values()),
        *(_record(name) for name in RECORDS),
        *(_error(code) for code in ErrorCode if code is not ErrorCode.OK),
        *(_event(kind) for kind in EventType),
        *(_create_mode(mode) for mode in CreateMode),
        *(_watch_mode(mode) for mode in AddWatchMode),
        *(_word(name) for name in _WORDS),
    ]


def described(name: str) -> list[dict[str, Any]]:
    """The description of everything with this name: "getData", "get_data", "GetDataRequest", "NoNode", "NodeCreated".
    A number is an opcode or an error code. Empty: nothing has this name."""
    wanted = _folded(name)
    return [
        each
        for each in everything()
        if wanted in {_folded(each["name"]), _folded(each.get("exception", "")), str(each.get("number"))} - {""}
        and not (name.lstrip("-").isdigit() and each["kind"] not in ("operation", "error"))
    ]


def similar(name: str) -> list[str]:
    """At most three names that the user may have meant, the likeliest first."""
    names = {
        _folded(known): each["name"] for each in everything() for known in (each["name"], each.get("exception", ""))
    }
    found = difflib.get_close_matches(_folded(name), names, n=6, cutoff=0.7)
    return list(dict.fromkeys(names[each] for each in found))[:3]


def _folded(name: str) -> str:
    return name if name.lstrip("-").isdigit() else folded(name)


# --- operations


def _operation(row: Operation) -> dict[str, Any]:
    title, *frames = examples.OPERATIONS[row.name]
    return {
        "kind": "operation",
        "name": row.name,
        "number": int(row.opcode),
        "purpose": f"Asks the server to {purpose(row.opcode)}.",
        "since": row.since or "ever",
        "request": None if row.request is None else _record(row.request.__name__),
        "response": None if row.response is None else _record(row.response.__name__),
        "arms": _arms(row),
        "in_multi": row.in_multi,
        "in_multi_read": row.in_multi_read,
        "fires": [kind.name for kind in row.fires],
        "errors": [_code(code) for code in _errors(row)],
        "errors_of_any_operation": [_code(code) for code in ANY_OPERATION],
        "example": frames,
        "example_of": f"{title}, recorded with ZooKeeper {examples.VERSION}",
    }


def _errors(row: Operation) -> tuple[ErrorCode, ...]:
    return (*row.errors, ErrorCode.NOT_READ_ONLY) if row.not_in_read_only else row.errors


def _arms(row: Operation) -> list[str]:
    if row.opcode == OpCode.ADD_WATCH:
        return [f"a {WatcherKind.PERSISTENT.value} or a {WatcherKind.PERSISTENT_RECURSIVE.value} watch, as mode says"]
    found = [] if row.arms is None else [f"a {row.arms.value} watch, when watch is True and err is 0"]
    if row.arms_on_no_node is not None:
        found.append(f"an {row.arms_on_no_node.value} watch, when watch is True and err is NO_NODE")
    return found


def _code(code: ErrorCode | Xid) -> dict[str, Any]:
    return {"name": code.name, "number": int(code)}


# --- records


def _record(name: str) -> dict[str, Any]:
    kind = RECORDS[name]
    described: dict[str, Any] = {
        "kind": "record",
        "name": name,
        "purpose": first_sentence(kind.__doc__ or "") + "." if kind.__dict__.get("__doc__") else "",
        "used_by": [row.name for row in BY_OPCODE.values() if kind in (row.request, row.response)],
    }
    if issubclass(kind, MultiSequence):
        described["items"] = {
            BY_OPCODE[opcode].name if opcode in BY_OPCODE else "error": None if body is None else body.__name__
            for opcode, body in kind.BODIES.items()
        }
        described["fields"] = []
    else:
        described["fields"] = [
            {"name": field.name, "type": str(field.type), "note": field.note} for field in kind.FIELDS
        ]
    described["example"] = _listed(examples.RECORDS.get(name))
    return described


# --- errors and events


def _error(code: ErrorCode) -> dict[str, Any]:
    cls = BY_CODE[code]
    return {
        "kind": "error",
        **_code(code),
        "exception": cls.__name__,
        "purpose": " ".join((cls.__doc__ or "").split("\n\n")[0].split()),
        "since": cls.SINCE or "ever",
        "answers": [row.name for row in BY_OPCODE.values() if code in _refusals(row)],
        "any_operation": code in ANY_OPERATION,
        "example": _listed(examples.ERRORS.get(code.name)),
    }


def _refusals(row: Operation) -> tuple[ErrorCode, ...]:
    """The errors that a reply to this operation may have, and for a multi those of its results."""
    return (*_errors(row), ErrorCode.RUNTIME_INCONSISTENCY) if row.opcode == OpCode.MULTI else _errors(row)


def _event(kind: EventType) -> dict[str, Any]:
    caused_by = [row.name for row in BY_OPCODE.values() if kind in row.fires]
    return {
        "kind": "event",
        "name": kind.name,
        "number": int(kind),
        "purpose": "" if caused_by else "Made by clients; no server sends it.",
        "caused_by": caused_by,
        "seen_by": [watcher.value for watcher, seen in SEES.items() if kind in seen],
        "example": _listed(examples.EVENTS.get(kind.name)),
    }


# --- modes and words

_CREATE_MODES = {
    CreateMode.PERSISTENT: "The znode stays until it is deleted.",
    CreateMode.EPHEMERAL: "The server deletes the znode when the session that created it ends. It has no children.",
    CreateMode.PERSISTENT_SEQUENTIAL: "The server puts ten digits after the path: a number that only grows.",
    CreateMode.EPHEMERAL_SEQUENTIAL: "As EPHEMERAL, and the server puts ten digits after the path.",
    CreateMode.CONTAINER: "The server deletes the znode some time after its last child was deleted.",
    CreateMode.PERSISTENT_WITH_TTL: (
        "The server deletes the znode when it had no children and no change for the ttl. Only servers with "
        "zookeeper.extendedTypesEnabled=true take it."
    ),
    CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL: "As PERSISTENT_WITH_TTL, and the server puts ten digits after the path.",
}

_WATCH_MODES = {
    AddWatchMode.PERSISTENT: "Reports every change of the znode and of its list of children, until it is removed.",
    AddWatchMode.PERSISTENT_RECURSIVE: "Reports every change of the znode and of all below it, until it is removed.",
}

#: Words of the protocol: what each means, and the fields that hold it.
_WORDS = {
    "xid": (
        "The client's number for a request. The reply has the same. Ordinary ones count from 1 to 2147483647 and then "
        "from 1 again; negative ones are reserved.",
        {"xid"},
    ),
    "zxid": (
        "The number of a write, the same on every server: the upper 32 bits count the leaders, the lower 32 bits the "
        "writes of one leader. The reply to a write has the zxid of that write, any other reply the newest zxid that "
        "the server knows.",
        {"zxid", "czxid", "mzxid", "pzxid", "last_zxid_seen", "relative_zxid"},
    ),
    "session": (
        "What the handshake begins: an id, a password and a timeout. Ephemeral znodes belong to it. It outlives a "
        "connection: with the id and the password the client resumes it on another one. It expires when the servers "
        "hear nothing from the client for the timeout.",
        {"session_id", "passwd", "time_out", "ephemeral_owner"},
    ),
    "watch": (
        "Asks the server for a notification (xid -1) when a znode changes: a read asks for one at the next change, "
        "addWatch for one at every change. It ends with the connection: a client arms it again with setWatches.",
        {
            "watch",
            "data_watches",
            "exist_watches",
            "child_watches",
            "persistent_watches",
            "persistent_recursive_watches",
        },
    ),
}


def _create_mode(mode: CreateMode) -> dict[str, Any]:
    row = create_operation(mode, with_stat=False)
    return {
        "kind": "mode",
        "name": mode.name,
        "number": int(mode),
        "purpose": _CREATE_MODES[mode],
        "field": "flags",
        "operations": list(dict.fromkeys((row.name, create_operation(mode, with_stat=True).name))),
        "since": row.since or "ever",
        "example": [],
    }


def _watch_mode(mode: AddWatchMode) -> dict[str, Any]:
    row = BY_OPCODE[OpCode.ADD_WATCH]
    return {
        "kind": "watch mode",
        "name": mode.name,
        "number": int(mode),
        "purpose": _WATCH_MODES[mode],
        "field": "mode",
        "operations": [row.name],
        "since": row.since,
        "example": [],
    }


def _word(name: str) -> dict[str, Any]:
    purpose, fields = _WORDS[name]
    return {
        "kind": "word",
        "name": name,
        "purpose": purpose,
        "in": [
            f"{record}.{field.name}"
            for record, kind in RECORDS.items()
            for field in getattr(kind, "FIELDS", ())
            if field.name in fields
        ],
        "reserved": [_code(xid) for xid in Xid] if name == "xid" else [],
        "armed_by": [row.name for row in BY_OPCODE.values() if _arms(row)] if name == "watch" else [],
        "example": [],
    }


def _listed(example: str | None) -> list[str]:
    return [] if example is None else [example]
