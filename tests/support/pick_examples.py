"""Writes zkwire/explain/examples.py from tests/frames: what `zkwire describe` and docs/protocol.md show. `make frames`.

    python -m tests.support.pick_examples

Each example is real: whole frames of one conversation with a server, or the bytes of a record in one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zkwire
from tests.support.golden import FRAMES, Golden, conversations, load, read
from zkwire.codes import ErrorCode, EventType
from zkwire.explain.describe import RECORDS
from zkwire.frames import frame
from zkwire.jute import decode_at, encode
from zkwire.operations import BY_OPCODE, OPERATIONS
from zkwire.records import MultiHeader, ReplyHeader, WatcherEvent

PAGE = Path(zkwire.__file__).parent / "explain" / "examples.py"
#: Whose frames are shown.
VERSION = "3.9.4"

#: Conversations that show an operation, where it is not the one of its name; and which frames of it, where not all.
CONVERSATIONS: dict[str, tuple[str, slice]] = {
    "addWatch": ("addWatch-persistent", slice(2)),
    "auth": ("auth", slice(2, 4)),
    "check": ("multi-check", slice(None)),  # no server answers one alone
    "checkWatches": ("checkWatches", slice(2, 4)),
    "closeSession": ("closeSession", slice(2, 4)),
    "getEphemerals": ("getEphemerals", slice(2, 4)),
    "multi": ("multi-check", slice(None)),
    "removeWatches": ("removeWatches", slice(2, 4)),
    "sasl": ("sasl", slice(4)),
    "setACL": ("setACL-digest", slice(None)),
}
#: Frames that show a record better than the first one that has it.
RECORD_FRAMES = {"ErrorResponse": "multi-NoNode-02-reply", "GetSASLRequest": "sasl-03-request"}

_HEAD = f'''\
"""Frames of a real server, for `zkwire describe` and docs/protocol.md. Made of tests/frames by `make frames`.

The bytes are in hexadecimal. An operation's examples are the frames that passed for it, in order. A record's example is
the record alone, without a header.
"""

# fmt: off

VERSION = "{VERSION}"
'''
_WIDTH = 96


class Example(NamedTuple):
    """Whole frames of one conversation, in order."""

    title: str
    frames: list[Golden]


def operations() -> dict[str, Example]:
    """Of each operation."""
    found = conversations(golden for golden in load() if golden.version == VERSION)
    examples = {}
    for name in OPERATIONS:
        conversation, part = CONVERSATIONS.get(name, (name, slice(None)))
        frames = found[VERSION, conversation][part]
        title = re.sub(r"(, request|: \w+ request)$", "", frames[0].title)
        examples[name] = Example(title, frames)
    return examples


def records() -> dict[str, bytes]:
    """The bytes, in some frame, of each record that is ever sent."""
    shown = [golden for example in operations().values() for golden in example.frames]
    shown += [golden for golden in load() if golden.version == VERSION]
    examples = {}
    for name, kind in RECORDS.items():
        frames = [read(FRAMES / VERSION / f"{RECORD_FRAMES[name]}.txt")] if name in RECORD_FRAMES else shown
        found = next((data for golden in frames for data in _bytes_of(golden, kind)), None)
        if found is not None:
            examples[name] = found
    return examples


def _bytes_of(golden: Golden, kind: Any) -> Iterator[bytes]:
    """The bytes of each such record in the frame, at any depth."""
    for each in _of_frame(golden):
        if type(each) is kind and encode(each) in golden.payload:
            yield encode(each)


def errors() -> dict[str, Golden]:
    """For each error a reply with only a header; for an error that only results have, the reply to a multi."""
    examples: dict[str, Golden] = {}
    for golden in load():
        if golden.version == VERSION and golden.kind == "reply" and golden.opcode in BY_OPCODE:
            alone = golden.types == (ReplyHeader,)
            for code in {golden.err} if alone else _results(golden):
                name = ErrorCode(code).name
                if code and (alone or code == ErrorCode.RUNTIME_INCONSISTENCY):
                    examples.setdefault(name, golden)
    return {code.name: examples[code.name] for code in ErrorCode if code.name in examples}


def _results(golden: Golden) -> set[int]:
    return {each.err for each in _of_frame(golden) if type(each) is MultiHeader and not each.done}


def events() -> dict[str, Golden]:
    """Of each event that servers send."""
    examples: dict[str, Golden] = {}
    for golden in load():
        if golden.version == VERSION and golden.kind == "event" and golden.conversation.startswith("watch-"):
            (event,) = [each for each in _of_frame(golden) if type(each) is WatcherEvent]
            examples.setdefault(EventType(event.type).name, golden)
    return {kind.name: examples[kind.name] for kind in EventType if kind.name in examples}


def _of_frame(golden: Golden) -> Iterator[Any]:
    """The frame's records, and the records in them."""
    offset = 0
    for record_type in golden.types:
        record, offset = decode_at(record_type, golden.payload, offset, len(golden.payload))
        yield from _inside(record)


def _inside(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, tuple):
        for each in value:
            yield from _inside(each)


def page() -> str:
    """The module's text."""
    lines = [_HEAD]
    lines.append("#: By operation: what the conversation was about, then its frames.")
    lines.append("OPERATIONS: dict[str, tuple[str, ...]] = {")
    for name, example in operations().items():
        lines.append(f'    "{name}": (')
        lines.append(f'        "{example.title}",')
        for golden in example.frames:
            lines += _hex(frame(golden.payload))
        lines.append("    ),")
    lines.append("}")
    for heading, name, found in (
        ("By record. A record that no opcode carries has no example.", "RECORDS", records()),
        ("By error that servers send: a reply.", "ERRORS", _frames(errors())),
        ("By event: a notification.", "EVENTS", _frames(events())),
    ):
        lines += ["", f"#: {heading}", f"{name}: dict[str, str] = {{"]
        for key, data in found.items():
            lines.append(f'    "{key}":')
            lines += _hex(data)
        lines.append("}")
    return "\n".join(lines) + "\n"


def _frames(goldens: dict[str, Golden]) -> dict[str, bytes]:
    return {name: frame(golden.payload) for name, golden in goldens.items()}


def _hex(data: bytes) -> list[str]:
    text = data.hex()
    parts = [text[place : place + _WIDTH] for place in range(0, len(text), _WIDTH)]
    return [f'        "{part}"' for part in parts[:-1]] + [f'        "{parts[-1]}",']


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
