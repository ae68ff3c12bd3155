"""Golden frames: bytes of real servers in tests/frames/VERSION/NAME.txt, each an annotated dump that is also the data.

    # ZooKeeper 3.9.4: getData of a znode, request
    # conversation: getData
    # direction: >
    # opcode: getData
    # types: RequestHeader GetDataRequest
    > getData xid=1 path=/app                                             21 bytes
    0000  00 00 00 11                                      length = 17
    ...

Only the comments and the hex column are read. The text to the right of it is for people; test_golden_frames.py compares
it with what `zkwire.format_frame` prints. A NAME is CONVERSATION-STEP-KIND, as "getData-NoNode-02-reply". A
conversation is one connection, without its handshake unless that is what it shows. `make frames` records them
(tests/support/record_frames.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from zkwire import multi, records
from zkwire.codes import OpCode
from zkwire.explain.dump import format_frame, frame_spans
from zkwire.frames import Direction, Frame
from zkwire.jute.wire import Span
from zkwire.operations import BY_OPCODE, OPERATIONS

FRAMES = Path(__file__).parents[1] / "frames"

#: Fields that differ from one recording to the next: counters, clocks, random numbers, ports.
VOLATILE = frozenset(
    {
        "zxid",
        "czxid",
        "mzxid",
        "pzxid",
        "last_zxid_seen",
        "cur_config_id",
        "ctime",
        "mtime",
        "session_id",
        "ephemeral_owner",
        "passwd",
        "token",
    }
)

# offset, two spaces, a hex column of 48 characters; a field without bytes has an empty one.
_ROW = re.compile(r"([0-9a-f]{4,})  (.{0,48})")


class Golden(NamedTuple):
    """One recorded frame. `payload` lacks the length; `types` are the records it holds; `opcode` is the request's."""

    name: str
    version: str
    direction: Direction
    payload: bytes
    types: tuple[Any, ...]
    opcode: OpCode | int | None
    title: str

    @property
    def id(self) -> str:
        return f"{self.version}/{self.name}"

    @property
    def conversation(self) -> str:
        """The conversation's name; steps of one conversation sort by name."""
        return self.name.rsplit("-", 2)[0]

    @property
    def kind(self) -> str:
        """ "request", "reply" or "event"."""
        return self.name.rpartition("-")[2]

    @property
    def err(self) -> int:
        """The error code of a reply or of a notification."""
        return int.from_bytes(self.payload[12:16], "big", signed=True)

    @property
    def frame(self) -> Frame:
        return Frame(self.direction, self.payload, self.types, self.opcode, 0.0)

    @property
    def path(self) -> Path:
        return FRAMES / self.version / f"{self.name}.txt"

    @property
    def text(self) -> str:
        """The file: comments, then the dump with nothing hidden."""
        types = " ".join(kind.__name__ for kind in self.types)
        return (
            f"# ZooKeeper {self.version}: {self.title}\n# conversation: {self.conversation}\n"
            f"# direction: {self.direction.value}\n# opcode: {_opcode_name(self.opcode)}\n# types: {types}\n"
            f"{format_frame(self.frame, show_secrets=True)}\n"
        )

    @property
    def lasting(self) -> tuple[Any, ...]:
        """What must be the same in every recording."""
        spans = frame_spans(self.frame)
        # The text of an ensemble's configuration holds ports and a zxid, of any number of digits.
        volatile = VOLATILE | {"data_length"} if any("server." in str(span.value) for span in spans) else VOLATILE
        fields = [(span.path, span.type, _lasting(span, volatile)) for span in spans]
        return (self.name, self.version, self.direction, self.types, self.opcode, self.title, fields)


def load() -> list[Golden]:
    """Every golden frame, by version, then name."""
    return [read(path) for path in sorted(FRAMES.glob("*/*.txt"))]


def read(path: Path) -> Golden:
    """The frame that one file holds."""
    text = path.read_text(encoding="utf-8")
    comments = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    title = comments[0].partition(": ")[2]
    fields = dict(comment.split(": ", 1) for comment in comments[1:] if ": " in comment)
    types = tuple(_record_type(name) for name in fields["types"].split())
    data = b"".join(bytes.fromhex(match[2]) for line in text.splitlines() if (match := _ROW.match(line)))
    assert int.from_bytes(data[:4], "big") == len(data) - 4, f"{path}: its length field is not its length"
    direction = Direction(fields["direction"])
    return Golden(path.stem, path.parent.name, direction, data[4:], types, _opcode(fields["opcode"]), title)


def conversations(goldens: Iterable[Golden]) -> dict[tuple[str, str], list[Golden]]:
    """The goldens of each (version, conversation), in the order in which they passed."""
    found: dict[tuple[str, str], list[Golden]] = {}
    for golden in sorted(goldens, key=lambda golden: (golden.version, golden.conversation, golden.name)):
        found.setdefault((golden.version, golden.conversation), []).append(golden)
    return found


def _record_type(name: str) -> Any:
    return getattr(records, name, None) or getattr(multi, name)


def _opcode_name(opcode: int | None) -> str:
    if opcode is None:
        return "none"
    return BY_OPCODE[opcode].name if opcode in BY_OPCODE else str(opcode)


def _opcode(name: str) -> OpCode | int | None:
    if name == "none":
        return None
    return OPERATIONS[name].opcode if name in OPERATIONS else int(name)


def _lasting(span: Span, volatile: frozenset[str]) -> Any:
    if span.path.rpartition(".")[2] in volatile:
        return None
    return re.sub(r"\d+", "N", str(span.value)) if "server." in str(span.value) else span.value
