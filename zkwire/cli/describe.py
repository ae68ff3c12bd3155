"""`zkwire describe`: shows any record, operation, error or event of the protocol."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from ..explain.describe import described, everything, similar
from ..explain.explained import explain
from .common import Paint, json_line, json_option
from .explain import lines
from .status import FAILED, CommandError

_INDENT = "  "
_WIDTH = 116  # of a line of a record; an operation shows it four characters further to the right


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows a record, an operation, an error or an event: its fields and types, its opcode, the first version that "
        "has it, the watches that it arms, the errors that it can fail with, and an example frame. Also explains modes "
        "and words: EPHEMERAL, xid, zxid, session, watch. Without NAME: lists all names."
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="any spelling of a name: getData, get_data, GetDataRequest, NoNode, NodeCreated; or an opcode or error",
    )
    json_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    found = everything() if options.name is None else described(options.name)
    if not found:
        names = similar(options.name)
        hint = f"did you mean {' or '.join(names)}?" if names else "see zkwire describe"
        raise CommandError(
            f"no record, operation, error, event, mode or word is named {options.name!r}: {hint}", FAILED
        )
    if options.json:
        for each in found:
            print(json_line(each))
    elif options.name is None:
        print("\n".join(_listing(found)))
    else:
        print("\n\n".join("\n".join(_text(each)) for each in found))


def _listing(found: list[dict[str, Any]]) -> Iterator[str]:
    kind = None
    for each in found:
        if each["kind"] != kind:
            yield from ([""] if kind else [])
            kind = each["kind"]
            yield f"{kind}s:"
        number = str(each.get("number", ""))
        purpose = each["purpose"].removeprefix("Asks the server to ")
        if each["kind"] in ("mode", "watch mode", "word"):
            purpose = re.split(r"[:;.](?: |$)", purpose)[0]  # `describe NAME` shows the rest
        yield f"{_INDENT}{number:>4}  {each['name']:<34}{purpose}".rstrip()


def _text(each: dict[str, Any]) -> Iterator[str]:
    number = {
        "operation": "opcode ",
        "error": "error ",
        "event": "event type ",
        "mode": "create mode ",
        "watch mode": "addWatch mode ",
    }.get(each["kind"], "")
    yield f"{each['name']}, {number}{each['number']}" if number else each["name"]
    yield from textwrap.wrap(each["purpose"], _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
    told = {"operation": _operation, "record": _record, "error": _error, "event": _event, "word": _word}
    yield from told.get(each["kind"], _mode)(each)
    yield from _examples(each)


def _operation(each: dict[str, Any]) -> Iterator[str]:
    yield _row("since", each["since"])
    for part in ("request", "response"):
        record = each[part]
        yield _row(part, "a header, and nothing after it" if record is None else record["name"])
        if record is not None:
            yield from (_INDENT * 2 + line for line in _record(record))
    yield _row("arms", "; ".join(each["arms"]) or "no watch")
    yield _row("fires", ", ".join(each["fires"]) or "nothing")
    inside = [name for name, allowed in (("multi", each["in_multi"]), ("multiRead", each["in_multi_read"])) if allowed]
    yield _row("inside", ", ".join(inside) or "neither multi nor multiRead")
    yield _row("errors", ", ".join(_codes(each["errors"])) or "none of its own")
    yield _row("and always", ", ".join(_codes(each["errors_of_any_operation"])))


def _codes(codes: list[dict[str, Any]]) -> list[str]:
    return [f"{code['name']} ({code['number']})" for code in codes]


def _record(each: dict[str, Any]) -> Iterator[str]:
    if "items" in each:
        for name, body in each["items"].items():
            yield f"{_INDENT}{name:<20}  MultiHeader{'' if body is None else ', ' + body}".rstrip()
        yield f"{_INDENT}{'the end':<20}  MultiHeader with done = True"
        return
    width = max((len(field["name"]) for field in each["fields"]), default=0)
    kinds = max((len(field["type"]) for field in each["fields"]), default=0)
    for field in each["fields"]:
        start = f"{_INDENT}{field['name']:<{width}}  {field['type']:<{kinds}}  "
        first, *more = textwrap.wrap(field["note"], _WIDTH - len(start)) or [""]
        yield (start + first).rstrip()
        yield from (" " * len(start) + line for line in more)


def _error(each: dict[str, Any]) -> Iterator[str]:
    yield _row("exception", f"zkwire.{each['exception']}")
    yield _row("since", each["since"])
    answers = "any operation" if each["any_operation"] else ", ".join(each["answers"])
    yield _row("answers", answers or "nothing: servers do not send it")


def _event(each: dict[str, Any]) -> Iterator[str]:
    if each["caused_by"]:
        yield _row("caused by", ", ".join(each["caused_by"]))
        yield _row("seen by", ", ".join(f"{kind} watches" for kind in each["seen_by"]))


def _mode(each: dict[str, Any]) -> Iterator[str]:
    yield _row("since", each["since"])
    yield _row("used by", f"{' or '.join(each['operations'])}, in {each['field']}")


def _word(each: dict[str, Any]) -> Iterator[str]:
    yield from _wrapped("in", ", ".join(each["in"]))
    if each["reserved"]:
        yield _row("reserved", ", ".join(_codes(each["reserved"])))
    if each["armed_by"]:
        yield _row("armed by", ", ".join(each["armed_by"]))


def _wrapped(name: str, text: str) -> Iterator[str]:
    first, *more = textwrap.wrap(text, _WIDTH - len(_row(name, "")))
    yield _row(name, first)
    yield from (_row("", line) for line in more)


def _examples(each: dict[str, Any]) -> Iterator[str]:
    data = b"".join(map(bytes.fromhex, each["example"]))
    if each["kind"] == "record":
        for place in range(0, len(data), 16):
            yield _row("" if place else "example", data[place : place + 16].hex(" "))
        return
    if "example_of" in each:
        yield _row("example", each["example_of"])
    for explained in explain(data):  # a reply is read as the answer to the request before it
        yield ""
        yield from (_INDENT + line for line in lines(explained, Paint(sys.stdout), None))


def _row(name: str, text: str) -> str:
    return f"{_INDENT}{name:<10}  {text}"
