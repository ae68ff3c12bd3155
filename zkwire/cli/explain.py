"""`zkwire explain`: takes frames as hexadecimal, base64 or bytes, and prints every field and a sentence for each."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..explain.dump import hex_rows, value_text
from ..explain.explained import Explained, explain, foreign
from ..explain.pasted import FORMATS, Found, NotBytes, read_pasted
from ..explain.plain import field_as_json
from ..explain.readings import Wanted
from ..frames import Direction
from ..jute.wire import Span
from ..operations import opcode_named
from ..text import counted, printable
from .common import LIMIT, Paint, json_line, json_option
from .status import DONE, FAILED, USAGE, CommandError, complain


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows what frames mean: every field with its offset, and a sentence. Whether a frame is a request or a reply, "
        "and of which operation, is worked out from its bytes, or from the request before it. If neither settles it, "
        "an option must."
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        nargs="*",
        help="hexadecimal in any common format (with spaces, colons or 0x; a dump of xxd, hexdump, od, tcpdump, "
        "Wireshark or zkwire), a list of numbers, text with escapes as Python, C or strace print it, base64, or files "
        "of any of these or of bytes; - or nothing: stdin",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="the format of INPUT, if it can be read in several; words: numbers with the low byte first, as of od -x",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--request", action="store_true", help="a client sent the frames")
    what.add_argument("--response", action="store_true", help="a server sent the frames")
    what.add_argument(
        "--reply-to", metavar="OPERATION", help="the frames are replies to this operation: getData, or its opcode"
    )
    what.add_argument("--event", action="store_true", help="the frames are notifications")
    parser.add_argument(
        "--connect",
        action="store_true",
        help="the frames are the first ones of their direction: ConnectRequest, ConnectResponse",
    )
    parser.add_argument(
        "--full", action="store_true", help=f"show all bytes of fields that are longer than {LIMIT} bytes"
    )
    json_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    inputs = _inputs(options)
    status = DONE
    for number, (name, found) in enumerate(inputs):
        for note in found.notes:
            print(f"zkwire: note: {note}", file=sys.stderr)
        if len(inputs) > 1 and not options.json:
            print("\n" * bool(number) + f"==> {printable(name)} <==")
        status = max(status, _explain(options, found.data, {"file": name} if len(inputs) > 1 else {}))
    return status


def _explain(options: argparse.Namespace, data: bytes, more: dict[str, Any]) -> int:
    """Print one input, and return the status. `more` goes into each JSON object."""
    status = DONE
    paint = Paint(sys.stdout)
    for number, explained in enumerate(explain(data, _wanted(options))):
        if options.json:
            print(json_line({**more, **explained_json(explained)}))
        else:
            if number:
                print()
            for line in lines(explained, paint, None if options.full else LIMIT):
                print(line)
        if explained.problem:
            sys.stdout.flush()
            first, *others = explained.problem.split("\n")
            status = complain(first, FAILED)
            for line in [*others, *([f"  hint: {explained.hint}"] if explained.hint else [])]:
                print(line, file=sys.stderr)
    return status


def _wanted(options: argparse.Namespace) -> Wanted:
    reply_to = None
    if options.reply_to is not None:
        reply_to = opcode_named(options.reply_to)
        if reply_to is None:
            raise CommandError(f"no operation is named {options.reply_to!r}: see zkwire describe", USAGE)
    direction = Direction.SENT if options.request else Direction.RECEIVED if options.response else None
    # Frames of an operation, and notifications, are not the first ones of a connection.
    connect = True if options.connect else False if options.reply_to or options.event else None
    return Wanted(direction, reply_to, options.event, connect)


def _inputs(options: argparse.Namespace) -> list[tuple[str, Found]]:
    """(name, bytes) of each input. Every file is one input; arguments that are not files are one input together."""
    given: list[str] = options.input or ["-"]
    files = [name for name in given if name == "-" or os.path.exists(name)]  # Path.exists refuses what is too long
    if not files:
        return [("arguments", _read(" ".join(given).encode(errors="surrogateescape"), options.format, given))]
    missing = [name for name in given if name not in files]
    if missing:
        raise CommandError(f"{files[0]!r} is a file, but there is no file {missing[0]!r:.60}", USAGE)
    try:
        contents = [(name, sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()) for name in files]
    except OSError as error:
        raise CommandError(str(error), USAGE) from None
    return [(name, _read(data, options.format, [], name if len(files) > 1 else "")) for name, data in contents]


#: Arguments that look like the name of a file.
_NAME = re.compile(r"""[^\s'"`\\\[\]{}()<>,;|]{1,255}""")


def _read(raw: bytes, form: str | None, arguments: list[str], name: str = "") -> Found:
    """The bytes of one input. `arguments`: those of the command line, if it was made of them. `name`: its file's, for
    messages."""
    where = f"{name}: " if name else ""
    try:
        found = read_pasted(raw, form)
    except NotBytes as error:
        if other := foreign(raw.lstrip()):
            raise CommandError(f"{where}the bytes are {other}", USAGE) from None
        no_file = ", and there is no such file" if arguments and all(map(_NAME.fullmatch, arguments)) else ""
        raise CommandError(f"{where}{error}{no_file}", USAGE) from None
    if not found.data:
        raise CommandError(f"{where}no bytes to explain: give hexadecimal, base64 or a file, or pipe them in", USAGE)
    return found


# --- text

_MARKS = {"(cut)", "(undecoded)", "(ambiguous)", "(trailing)"}


def lines(explained: Explained, paint: Paint, limit: int | None) -> Iterator[str]:
    """The title, a row for each field (more for many bytes), and the sentence."""
    size = counted(len(explained.data), "byte")
    yield paint.bold(explained.title) + f"{size:>{max(78 - len(explained.title), len(size) + 2)}}"
    width = max(len(span.path) for span in explained.spans)
    kinds = max(len(span.type) for span in explained.spans if span.path not in _MARKS or span.type == "bytes")
    for span in explained.spans:
        first = True
        for place, hexed in hex_rows(explained.data, span.start, span.end, limit=limit):
            row = f"{paint.dim(f'{place:<4}')}  {_coloured(paint, span, f'{hexed:<47}')}"
            if first:
                row += f"  {span.path:<{width}}  {paint.dim(f'{_type(span):<{kinds}}')}  {_value(span)}"
            yield row.rstrip()
            first = False
    if explained.sentence:
        yield explained.sentence


def _type(span: Span) -> str:
    return "" if span.path in _MARKS else span.type


def _value(span: Span) -> str:
    if span.path in ("(cut)", "(undecoded)", "(ambiguous)"):
        return "" if span.type == "bytes" else span.type
    return value_text(span)


def _coloured(paint: Paint, span: Span, text: str) -> str:
    """By part: the length, the header, the body, and what is wrong."""
    if span.path in _MARKS:
        return paint.red(text)
    if span.path == "length":
        return paint.dim(text)
    return paint.cyan(text) if "Header." in span.path else paint.green(text)


# --- JSON


def explained_json(explained: Explained) -> dict[str, Any]:
    """One frame, as zkwire/explain/plain.py says. `reading` is null where none was taken."""
    reading = explained.readings[0] if len(explained.readings) == 1 else None
    opcode = None if reading is None else reading.opcode
    return {
        "offset": explained.offset,
        "size": len(explained.data),
        "direction": None if reading is None else reading.direction.name.lower(),
        "opcode": opcode,
        "operation": reading.names[0] if reading is not None and len(reading.names) == 1 else None,
        "records": None if reading is None else [kind.__name__ for kind in reading.types],
        "readings": [reading.option for reading in explained.readings],
        "sentence": explained.sentence,
        "fault": explained.problem or None,
        "fields": [
            {
                "offset": span.start,
                "size": span.end - span.start,
                "bytes": explained.data[span.start : span.end].hex(),
                "path": span.path,
                "type": span.type,
                "value": field_as_json(span.path, span.value),
                "text": value_text(span),
            }
            for span in explained.spans
        ],
    }
