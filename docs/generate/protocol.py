"""docs/protocol.md: the reference, made of zkwire's declarations (see zkwire/explain/describe.py)."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

from zkwire import records
from zkwire.codes import AddWatchMode, CreateMode, KeeperState, Perms, WatcherType, Xid
from zkwire.explain.describe import RECORDS, everything
from zkwire.explain.dump import format_frame
from zkwire.explain.examples import VERSION
from zkwire.explain.explained import explain
from zkwire.frames import MAX_REQUEST
from zkwire.jute.types import CESU8, FixedType, NestedType, VectorType

PAGE = Path(__file__).parent.parent / "protocol.md"

_TEXT = f"""\
# The ZooKeeper client protocol

<!-- Made by `make docs` of zkwire's declarations. Change those, or docs/generate/protocol.py. -->

What passes between a client and a server of ZooKeeper 3.4 to 3.9: every operation, record, error and event, as zkwire
declares them. [session.html](session.html) shows a real session byte by byte; `zkwire describe NAME` prints any part of
this page, and `zkwire explain` any frame. The frames shown here are recorded ones, of a server of ZooKeeper {VERSION}.

## Frames

A connection is a TCP or TLS stream each way. Each way it consists of frames: a 4-byte length, and that many bytes. A
server closes the connection when a request is longer than `jute.maxbuffer` (by default {MAX_REQUEST} bytes); replies
have no limit.

| | first frame | every other frame |
|---|---|---|
| client to server | `ConnectRequest` | `RequestHeader`, and the operation's request, if it has one |
| server to client | `ConnectResponse` | `ReplyHeader`, and the operation's response, if it has one and `err` is 0 |

Requests are answered in the order in which they were sent; only replies to `auth` overtake others, and notifications
(xid {int(Xid.NOTIFICATION)}, a `WatcherEvent` after the header) come between replies. A `ConnectResponse` whose
`time_out` is 0 says that the session is expired, or not to be had with that password. Inside `multi` and `multiRead`,
and in the replies to them, each operation or result stands after a `MultiHeader`, and one with `done` set ends the
sequence.
"""


def page() -> str:
    """The page."""
    return "\n".join([_TEXT, *_types(), *_operations(), *_records(), *_errors(), *_events(), *_numbers()]) + "\n"


def _types() -> Iterator[str]:
    yield "## Types\n"
    yield "All numbers are big-endian and signed.\n"
    yield "| type | bytes |\n|---|---|"
    fixed = {kind.name: kind.size for record in _declared() for kind in _kinds(record) if isinstance(kind, FixedType)}
    for name, size in sorted(fixed.items()):
        meaning = ": 0 is false, all else true" if name == "boolean" else ""
        yield f"| `{name}` | {size}{meaning} |"
    yield "| `ustring` | `int` count of bytes, then UTF-8; −1 is null |"
    yield "| `buffer` | `int` count of bytes, then the bytes; −1 is null |"
    yield "| `vector<T>` | `int` count of elements, then the elements; −1 is null |"
    yield "| a record | its fields, one behind the other |\n"
    yield (
        "Java's servers write a character outside the Basic Multilingual Plane as two surrogates of three bytes each, "
        f"which is no UTF-8 (zkwire decodes it with the error handler `{CESU8}`).\n"
    )


def _declared() -> list[Any]:
    return [kind for kind in RECORDS.values() if kind.__module__ == records.__name__]


def _kinds(record: Any) -> Iterator[Any]:
    for field in record.FIELDS:
        yield field.type.element if isinstance(field.type, VectorType) else field.type


# --- operations


def _operations() -> Iterator[str]:
    rows = sorted((each for each in everything() if each["kind"] == "operation"), key=lambda row: int(row["number"]))
    yield "## Operations\n"
    yield "| opcode | name | request | response | since | in |\n|---|---|---|---|---|---|"
    for row in rows:
        inside = [name for name, key in (("multi", "in_multi"), ("multiRead", "in_multi_read")) if row[key]]
        yield (
            f"| {row['number']} | [{row['name']}](#{row['name'].lower()}) | {_named(row['request'])} "
            f"| {_named(row['response'])} | {_since(row['since'])} | {', '.join(inside)} |"
        )
    yield "\nAny operation may be answered with " + _codes(rows[0]["errors_of_any_operation"]) + ".\n"
    for row in rows:
        yield from _operation(row)


def _operation(row: dict[str, Any]) -> Iterator[str]:
    yield f"### {row['name']}\n"
    yield f"Opcode {row['number']}{_since(row['since'], ', since ')}. {row['purpose']}\n"
    for name in ("request", "response"):
        if row[name] is not None:
            yield f"{name.capitalize()}: {_named(row[name])}{_purpose(row[name])}\n"
            yield from _fields(row[name])
    points = [f"Sets {text}." for text in row["arms"]]
    points += [f"May fire {', '.join(f'`{name}`' for name in row['fires'])}."] if row["fires"] else []
    points += [f"May be answered with {_codes(row['errors'])}."] if row["errors"] else []
    if points:
        yield "\n".join(f"- {point}" for point in points) + "\n"
    dumps = [
        format_frame(each.readings[0].frame(each.data[4:]))
        for each in explain(b"".join(map(bytes.fromhex, row["example"])))
    ]
    yield f"An example, {row['example_of']}:\n\n```\n" + "\n\n".join(dumps) + "\n```\n"


def _named(record: dict[str, Any] | None) -> str:
    return "" if record is None else f"[`{record['name']}`](#{record['name'].lower()}-record)"


def _purpose(record: dict[str, Any]) -> str:
    return f". {record['purpose']}" if record["purpose"] else ""


def _since(version: str, before: str = "") -> str:
    return "" if version == "ever" else before + version


def _codes(codes: list[dict[str, Any]]) -> str:
    return ", ".join(f"[`{code['name']}`](#errors) ({code['number']})" for code in codes)


# --- records


def _records() -> Iterator[str]:
    yield "## Records\n"
    for each in everything():
        if each["kind"] == "record":
            yield f"### {each['name']} record\n"
            if each["purpose"]:
                yield each["purpose"] + "\n"
            if each["used_by"]:
                yield "Of " + ", ".join(f"[{name}](#{name.lower()})" for name in each["used_by"]) + ".\n"
            yield from _fields(each)


def _fields(record: dict[str, Any]) -> Iterator[str]:
    if "items" in record:
        yield "| behind a `MultiHeader` of type | record |\n|---|---|"
        for name, body in record["items"].items():
            yield f"| {name} | {'' if body is None else f'[`{body}`](#{body.lower()}-record)'} |"
        yield ""
        return
    notes = any(field["note"] for field in record["fields"])
    yield "| field | type |" + (" |" if notes else "")
    yield "|---|---|" + ("---|" if notes else "")
    declared = {field.name: field.type for field in RECORDS[record["name"]].FIELDS}
    for field in record["fields"]:
        kind = declared[field["name"]]
        inner = kind.element if isinstance(kind, VectorType) else kind
        shown = (
            f"[`{field['type']}`](#{str(inner).lower()}-record)"
            if isinstance(inner, NestedType)
            else f"`{field['type']}`"
        )
        yield f"| `{field['name']}` | {shown} |" + (f" {field['note']} |" if notes else "")
    yield ""


# --- errors, events, numbers


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield "`ReplyHeader.err`, and that of a failed operation among the results of a multi. 0 is OK.\n"
    yield "| code | name | zkwire's exception | since | |\n|---|---|---|---|---|"
    for each in everything():
        if each["kind"] == "error":
            cells = (
                each["number"],
                f"`{each['name']}`",
                f"`{each['exception']}`",
                _since(each["since"]),
                each["purpose"],
            )
            yield "| " + " | ".join(map(str, cells)) + " |"
    yield ""


def _events() -> Iterator[str]:
    yield "## Events\n"
    yield "`WatcherEvent.type`.\n"
    yield "| type | name | by | seen by watches of the kind |\n|---|---|---|---|"
    for each in everything():
        if each["kind"] == "event":
            by = ", ".join(each["caused_by"]) or each["purpose"]
            yield f"| {each['number']} | `{each['name']}` | {by} | {', '.join(each['seen_by'])} |"
    yield ""


def _numbers() -> Iterator[str]:
    yield "## Other numbers\n"
    tables: list[tuple[str, Any]] = [
        (
            "Reserved xids. Only servers send the first, and every ping is answered with the second. The last is the C "
            "client's: others number setWatches like any request",
            Xid,
        ),
        ("`CreateRequest.flags`", CreateMode),
        ("`ACL.perms`, bits", Perms),
        ("`AddWatchRequest.mode`", AddWatchMode),
        ("`CheckWatchesRequest.type`, `RemoveWatchesRequest.type`", WatcherType),
        ("`WatcherEvent.state`; servers send only SYNC_CONNECTED", KeeperState),
    ]
    for heading, codes in tables:
        yield f"{heading}: " + ", ".join(f"{int(code)} `{code.name}`" for code in _members(codes)) + ".\n"


def _members(codes: type[IntEnum]) -> list[Any]:
    return [code for name, code in codes.__members__.items()]
