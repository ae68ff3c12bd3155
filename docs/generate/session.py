"""docs/session.html: every byte of the session in docs/session.pcap, labelled and explained."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

from docs.generate import words
from zkwire.capture import Capture, Captured
from zkwire.explain.dump import frame_spans, title, value_text
from zkwire.explain.sentences import sentence
from zkwire.frames import Direction, Frame
from zkwire.jute import decode_at
from zkwire.jute.wire import Span
from zkwire.traffic.conversation import SeenFrame

DOCS = Path(__file__).parent.parent
PAGE = DOCS / "session.html"
RECORDING = DOCS / "session.pcap"

#: The names of the colours, and what they are for.
KINDS = {
    "length": "length of the frame",
    "header": "header: xid, opcode, error",
    "zxid": "transaction id (zxid)",
    "session": "session: id, password, timeout",
    "text": "string",
    "data": "data",
    "flag": "yes or no",
    "number": "other number",
}


class Field(NamedTuple):
    """One field of a frame, or the length before it, with its place in the frame."""

    path: str
    type: str
    start: int
    data: bytes
    value: str
    kind: str
    text: str


def frames() -> list[Captured]:
    """The frames of the recording, in order."""
    capture = Capture()
    found = [*capture.receive(RECORDING.read_bytes()), *capture.end()]
    assert all(isinstance(captured.what, SeenFrame) for captured in found), "the recording has gaps"
    return sorted(found, key=lambda captured: (captured.time_ns, captured.number))


def fields(frame: Frame) -> Iterator[Field]:
    """All fields of a frame. Together they cover each of its bytes once."""
    whole = len(frame.payload).to_bytes(4, "big") + frame.payload
    length = Span("length", "int", -4, 0, len(frame.payload))
    for span in (length, *frame_spans(frame)):
        kind, text = _kind(span), words.of_field(span.path, span.value)
        data = whole[span.start + 4 : span.end + 4]
        yield Field(span.path, span.type, span.start + 4, data, _value(span), kind, text)


def _value(span: Span) -> str:
    """As dumps show it, but without Python's notation."""
    if span.type == "buffer":
        return f"'{span.value.decode()}'" if span.value.isascii() and any(span.value) else f"{len(span.value)} bytes"
    if span.type == "boolean":
        return "yes" if span.value else "no"
    if span.type.startswith("vector") and span.value == 1:
        return "1 element"
    return value_text(span)


def _kind(span: Span) -> str:
    name = span.path.rpartition(".")[2]
    if span.path == "length":
        return "length"
    if name in ("xid", "err") or span.path == "RequestHeader.type":
        return "header"
    if name.endswith("zxid") or name == "last_zxid_seen":
        return "zxid"
    if name in ("session_id", "passwd", "time_out", "ephemeral_owner"):
        return "session"
    return {"ustring": "text", "buffer": "data", "boolean": "flag"}.get(span.type, "number")


def page() -> str:
    """The page."""
    found = frames()
    assert len(found) == len(words.STORY), "as many frames as the story has"
    articles = "\n".join(_article(number, captured, found[0].time_ns) for number, captured in enumerate(found, 1))
    legend = "\n".join(f'<li class="k-{kind}">{escape(text)}</li>' for kind, text in KINDS.items())
    template = (Path(__file__).parent / "session.template.html").read_text(encoding="utf-8")
    size = sum(len(captured.what.frame.payload) + 4 for captured in found if isinstance(captured.what, SeenFrame))
    return (
        template.replace("{{legend}}", legend)
        .replace("{{frames}}", articles)
        .replace("{{count}}", str(len(found)))
        .replace("{{size}}", str(size))
    )


def _article(number: int, captured: Captured, start_ns: int) -> str:
    seen = captured.what
    assert isinstance(seen, SeenFrame)
    assert captured.link is not None
    frame = seen.frame
    who = words.NAMES[captured.link.number]
    sent = seen.direction is Direction.SENT
    way = f"{who} → server" if sent else f"server → {who}"
    name = title(frame).split()[1]
    name = f"{name}, reply" if seen.request is not None else name
    after = (captured.time_ns - start_ns) / 10**9
    items = "\n".join(_item(f"f{number}-{place}", field) for place, field in enumerate(fields(frame)))
    return f"""\
<article id="f{number}" class="{"sent" if sent else "received"} c{captured.link.number}" aria-labelledby="h{number}">
<h2 id="h{number}"><span class="way">{escape(way)}</span> <span class="name">{escape(name)}</span></h2>
<p class="meta">frame {number} · {after:.3f} s · {len(frame.payload) + 4} bytes</p>
<p class="story">{escape(words.STORY[number - 1])}</p>
<ul class="fields" data-size="{len(frame.payload) + 4}">
{items}
</ul>
<p class="sentence">{escape(sentence(frame.types, _records(frame), frame.opcode))}</p>
</article>"""


def _records(frame: Frame) -> list[object]:
    found: list[object] = []
    offset = 0
    for kind in frame.types:
        record, offset = decode_at(kind, frame.payload, offset, len(frame.payload))
        found.append(record)
    return found


def _item(identifier: str, field: Field) -> str:
    name = field.path.partition(".")[2] or field.path
    last = field.start + len(field.data) - 1
    place = f"byte {field.start}" if len(field.data) == 1 else f"bytes {field.start} to {last}"
    return (
        f'<li class="k-{field.kind}"><button type="button" aria-describedby="{identifier}">'
        f'<span class="hex">{_hex(field)}</span><span class="label">{escape(name)}</span>'
        f'<span class="value">{escape(field.value)}</span></button>'
        f'<div class="tip" role="tooltip" id="{identifier}"><p><b>{escape(field.path)}</b> '
        f'<span class="type">{escape(field.type)}, {place}</span> = <code>{escape(field.value)}</code></p>'
        f"<p>{escape(field.text)}</p></div></li>"
    )


def _hex(field: Field) -> str:
    """The bytes; those of a length before a string or a buffer are marked."""
    prefix = 4 if field.type in ("ustring", "buffer") else 0
    front, rest = field.data[:prefix].hex(" "), field.data[prefix:].hex(" ")
    return (f'<span class="prefix">{front}</span> ' if front else "") + rest
