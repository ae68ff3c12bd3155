"""A frame as text: every byte with its offset, its field and its value.

    > getData xid=1 path=/app                                               21 bytes
    0000  00 00 00 11                                      length = 17
    0004  00 00 00 01                                      RequestHeader.xid = 1
    0008  00 00 00 04                                      RequestHeader.type = 4 (getData)
    000c  00 00 00 04 2f 61 70 70                          GetDataRequest.path = '/app'
    0014  00                                               GetDataRequest.watch = False

The client does not call this module. `print_frame` can be given to it as `on_frame`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

from ..codes import CreateMode, ErrorCode, EventType, KeeperState, OpCode, Xid
from ..frames import HANDSHAKE, NOTIFICATION, Direction, Frame
from ..frames import frame as framed
from ..jute import JuteError, decode_at
from ..jute.wire import Span, spans
from ..multi import MultiSequence
from ..operations import BY_OPCODE, operation_name
from ..records import ErrorResponse
from ..text import counted, hexadecimal, name_of, printable
from .plain import HEXADECIMAL as HEXADECIMAL
from .plain import SECRETS as SECRETS

_BYTES_PER_ROW = 16

#: Fields whose numbers have names in an enum. Opcodes are left out: they are shown with the names of the operations.
CODES: dict[str, Any] = {
    "WatcherEvent.type": EventType,
    "WatcherEvent.state": KeeperState,
    "err": ErrorCode,
    "xid": Xid,
    "flags": CreateMode,
}


def frame_spans(frame: Frame) -> list[Span]:
    """Every field of the frame's payload, in order. The spans cover all bytes: those after the last record are a span
    named "(trailing)". If a field does not fit, all bytes from there on are a span named "(undecoded)"."""
    found, error = read_frame(frame)
    offset = found[-1].end if found else 0
    if error is not None:
        reason = f"{error.path}: {error.reason}"
        found.append(Span("(undecoded)", reason, offset, len(frame.payload), frame.payload[offset:]))
    elif offset < len(frame.payload):
        found.append(Span("(trailing)", "bytes", offset, len(frame.payload), frame.payload[offset:]))
    return found


def read_frame(frame: Frame) -> tuple[list[Span], JuteError | None]:
    """The fields of the frame's records, up to the first that does not fit, and the error for that one; None: all fit.
    Offsets count from the start of the payload."""
    found: list[Span] = []
    offset = 0
    for record_type in frame.types:
        data = frame.payload[offset:]
        fields, error = record_type.spans(data) if issubclass(record_type, MultiSequence) else spans(record_type, data)
        found += [span._replace(start=span.start + offset, end=span.end + offset) for span in fields]
        if error is not None:
            return found, JuteError(error.path, error.reason, offset + (error.offset or 0), error.missing)
        offset = found[-1].end if found else 0
    return found, None


def title(frame: Frame, path: str | None = None) -> str:
    """What the frame is, in one line: `> getData xid=1 path=/app`.

    `path`: for a reply, the path of its request, if that is known; the reply itself does not have it.
    """
    found = _values(frame)
    words = [frame.direction.value]
    if frame.types == (HANDSHAKE[frame.direction],):
        session, time_out = hexadecimal(found.get("session_id", 0)), found.get("time_out")
        words += [frame.types[0].__name__, f"session={session}", f"time_out={time_out} ms"]
    elif frame.types == NOTIFICATION and "path" in found:
        words += ["event", name_of(EventType, found["type"]), str(found["path"])]
    elif frame.types != NOTIFICATION and (frame.opcode is not None or "err" in found):
        words += [operation_name(frame.opcode), f"xid={found.get('xid')}"]
        path = found.get("path") if frame.direction is Direction.SENT else path
        words += [f"path={path}"] if path else []
        words += [f"items={found['items']}"] if "items" in found else []
        if frame.direction is Direction.RECEIVED and "err" in found:
            words += [name_of(ErrorCode, found["failure"] or found["err"])]
        words += [f"zxid={hexadecimal(found['zxid'])}"] if "zxid" in found else []
    else:
        words.append("frame")
    return printable(" ".join(words))


def _values(frame: Frame) -> dict[str, Any]:
    """The values that a title shows, by the names of their fields. `items` counts those of a multi or multiRead;
    `failure` is why a multi failed, or 0: its header says 0 in either case (rule 68)."""
    found: dict[str, Any] = {"failure": 0}
    offset = 0
    for record_type in frame.types:
        try:
            record, offset = decode_at(record_type, frame.payload, offset, len(frame.payload))
        except JuteError:
            return found | _values_of_misfit(frame)
        if isinstance(record, MultiSequence):
            found["items"] = len(record)
            errors = (item.body.err for item in record if isinstance(item.body, ErrorResponse))
            found["failure"] = next(filter(None, errors), 0) if frame.opcode == OpCode.MULTI else 0
        else:
            found = {field.name: value for field, value in zip(record_type.FIELDS, record)} | found
    return found


def _values_of_misfit(frame: Frame) -> dict[str, Any]:
    """The same values, from bytes that fit the records only in part. This parses field by field, which takes longer."""
    fields, _ = read_frame(frame)
    found = {span.path.rpartition(".")[2]: span.value for span in reversed(fields)}  # the first of a name counts
    if any(issubclass(record_type, MultiSequence) for record_type in frame.types):
        found.pop("path", None)
        found["items"] = sum(span.path.endswith(".done") and not span.value for span in fields)
    if frame.opcode == OpCode.MULTI:
        errors = (span.value for span in fields if span.path.endswith("ErrorResponse.err"))
        found["failure"] = next(filter(None, errors), 0)
    return found


def format_frame(frame: Frame, *, show_secrets: bool = False, limit: int | None = None) -> str:
    """The annotated dump: several lines, without a newline at the end.

    show_secrets: show passwords too. By default they are shown as dots.
    limit: if a field has more bytes than this, only its first and last bytes are shown; None: all are.
    """
    data = framed(frame.payload)
    fields = frame_spans(frame)
    heading = title(frame)
    size = counted(len(data), "byte")
    rows = [f"{heading}  {size:>{max(78 - len(heading), 0)}}"]
    rows += _rows(data, 0, 4, f"length = {len(frame.payload)}", secret=False, limit=limit)
    for span in fields:
        secret = not show_secrets and span.path in SECRETS
        label = f"{span.path} = {value_text(span, secret=secret)}"
        rows += _rows(data, span.start + 4, span.end + 4, label, secret=secret, limit=limit)
    return "\n".join(rows)


def print_frame(frame: Frame, file: TextIO | None = None, *, limit: int | None = None) -> None:
    """Print the annotated dump and an empty line, by default to stderr: `connect(..., on_frame=print_frame)`.
    `limit` is as in `format_frame`.

    A dump that cannot be printed (the disk is full, the file is closed or missing) is dropped: a trace must not end the
    program.
    """
    text = format_frame(frame, limit=limit)
    file = file or sys.stderr  # None in a program without a console
    if file is not None:
        with suppress(OSError, ValueError):  # the latter: closed, or not of this encoding
            print(text, end="\n\n", file=file)


def _rows(data: bytes, start: int, end: int, label: str, *, secret: bool, limit: int | None) -> Iterator[str]:
    for place, hexed in hex_rows(data, start, end, secret=secret, limit=limit):
        yield f"{place:<4}  {hexed:<{_BYTES_PER_ROW * 3}} {label if place == f'{start:04x}' else ''}".rstrip()


def hex_rows(
    data: bytes, start: int, end: int, *, secret: bool = False, limit: int | None = None
) -> Iterator[tuple[str, str]]:
    """(offset, bytes) of each row of `data[start:end]`, in hexadecimal. If there are no bytes, it is one empty row. If
    there are more bytes than `limit`, one row stands for those that are left out: ("...", how many)."""
    last = (end - start - 1) // _BYTES_PER_ROW * _BYTES_PER_ROW + start  # where the last row begins
    left_out = range(0)
    if limit is not None and end - start > limit:
        left_out = range(start + limit // _BYTES_PER_ROW * _BYTES_PER_ROW, last)
    place = start
    while place < max(end, start + 1):
        if left_out and place == left_out.start:
            yield "...", f"{counted(len(left_out), 'byte')} not shown"
            place = last
        piece = data[place : min(place + _BYTES_PER_ROW, end)]
        yield f"{place:04x}", " ".join("··" for _ in piece) if secret else piece.hex(" ")
        place += _BYTES_PER_ROW


def value_text(span: Span, *, secret: bool = False) -> str:
    """The value of a field as text of at most 200 characters. A number is shown with its name, or in hexadecimal if
    servers log it so. Only the length of a secret is shown."""
    if secret:
        return f"<{counted(len(span.value or b''), 'byte')}>"
    field = span.path.rpartition(".")[2]
    if span.path == "(undecoded)":
        return span.type
    if span.type.startswith("vector"):
        return "null" if span.value < 0 else counted(span.value, "element")
    if span.value is None:
        return "null"
    if field in HEXADECIMAL:
        return hexadecimal(span.value)
    if field == "type" and ("RequestHeader" in span.path or "MultiHeader" in span.path) and span.value in BY_OPCODE:
        return f"{span.value} ({BY_OPCODE[span.value].name})"
    if field == "err" and span.value == -1 and "MultiHeader" in span.path:
        return "-1"  # not SYSTEM_ERROR: in a request and in a terminator it has no meaning
    codes = CODES.get(span.path) or CODES.get(field)
    if codes is not None and (name := name_of(codes, span.value)) != str(span.value):
        return f"{span.value} ({name})"
    return f"{span.value!r:.200}"
