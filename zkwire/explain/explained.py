"""Finds what frames mean, from their bytes alone: every field, a title and a sentence. No I/O.

    for explained in explain(bytes.fromhex("00000008fffffffe0000000b")):
        explained.sentence, explained.spans

Where the bytes can be read in several ways (zkwire/explain/readings.py), `Explained.readings` has them all, and nothing
is explained until one of them is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..frames import (
    LENGTH_SIZE,
    MAX_REPLY,
    REQUEST_HEADER_SIZE,
    Direction,
    Frame,
    length_at,
)
from ..frames import frame as framed
from ..jute import JuteError, decode_at
from ..jute.wire import Span
from ..operations import BY_OPCODE
from ..records import ReplyHeader
from ..text import counted
from .dump import read_frame, title
from .readings import ANY, Reading, Wanted, end_of, is_plausible, mismatch, readings
from .sentences import sentence


class Explained(NamedTuple):
    """One frame, explained.

    offset: where it starts in the input.
    data: its bytes, with its length.
    readings: the frames that it may be. If there are several, the caller must choose one.
    spans: its fields; they cover all bytes, and their offsets count from the frame's start. If there are several
        readings, these are the fields that all of them share.
    title, sentence: what it is, in one line, and what it says.
    problem: what is wrong, and where; if there are several readings, the question which one it is; or "".
    hint: how to read an input that does not start with a frame; or "".
    """

    offset: int
    data: bytes
    readings: list[Reading]
    spans: list[Span]
    title: str
    sentence: str
    problem: str
    hint: str = ""


def explain(data: bytes, wanted: Wanted = ANY) -> Iterator[Explained]:
    """Each frame of `data` in turn. A reply that comes after its request is read as the answer to it. After bytes that
    cannot be a frame it is not known where the next frame starts, so the last Explained has all bytes from there on."""
    asked: dict[int, int] = {}
    offset = 0
    if name := _packet(data):
        yield _unread(0, data, [], f"the bytes are {name}")
        return
    while offset < len(data):
        explained = _explain_one(data, offset, wanted, asked)
        if offset == 0 and explained.problem:
            explained = explained._replace(hint=_without_length(explained, data, wanted))
        yield explained
        offset += len(explained.data)


def explain_frame(frame: Frame) -> Explained:
    """A frame whose records are known, as `on_frame` gets it."""
    operation = None if frame.opcode is None else BY_OPCODE.get(frame.opcode)
    reading = Reading(frame.direction, frame.types, frame.opcode, () if operation is None else (operation.name,))
    length = len(frame.payload)
    return _read(0, framed(frame.payload), Span("length", "int", 0, LENGTH_SIZE, length), reading, length, {})


def _explain_one(data: bytes, offset: int, wanted: Wanted, asked: dict[int, int]) -> Explained:
    length = length_at(data, offset)
    if length is None:
        rest = counted(len(data) - offset, "byte")
        text = f"the frame at offset {offset} is cut after {rest}, in length at offset 0"
        return _unread(offset, data[offset:], [], text)
    measure = Span("length", "int", 0, LENGTH_SIZE, length)
    if not 0 <= length <= MAX_REPLY:
        if name := foreign(data[offset:]):
            where = f"the bytes from offset {offset} on" if offset else "the bytes"
            return _unread(offset, data[offset:], [], f"{where} are {name}")
        begun = data[offset : offset + LENGTH_SIZE]
        text = f" ({begun.decode()!r}: a four-letter word?)" if begun.isascii() and begun.decode().isprintable() else ""
        reason = f"length at offset 0: {length}{text} is not the length of a frame, which has 0 to {MAX_REPLY} bytes"
        return _unread(offset, data[offset:], [measure], f"the frame at offset {offset}: {reason}")
    whole = data[offset : offset + LENGTH_SIZE + length]
    payload = whole[LENGTH_SIZE:]
    found = readings(payload, wanted, asked, length)
    if not found:
        reason = mismatch(payload, wanted)
        return _unread(offset, whole, [measure], f"the frame at offset {offset}: {reason}")
    if len(payload) < length and _cut_places(found, payload) != _cut_places(found[:1], payload):
        return _ask_or_cut(offset, whole, measure, found, length)
    if len(payload) == length and len(found) > 1:
        return _ask_or_cut(offset, whole, measure, found, length)
    return _read(offset, whole, measure, found[0], length, asked)


def _read(offset: int, whole: bytes, measure: Span, reading: Reading, length: int, asked: dict[int, int]) -> Explained:
    """The frame by this reading. If it is a request, its opcode is added to `asked`."""
    payload = whole[LENGTH_SIZE:]
    frame = reading.frame(payload)
    spans, error = read_frame(frame)
    end = spans[-1].end if spans else 0
    if len(payload) < length:
        path, place = _cut_place(reading, payload)
        size = f"{len(whole)} of {LENGTH_SIZE + length} bytes"
        problem = f"the frame at offset {offset} is cut after {size}, in {path} at offset {place}"
        shown = [*spans, Span("(cut)", f"{length - len(payload)} missing", end, len(payload), payload[end:])]
    elif error is not None:
        problem = (
            f"the frame at offset {offset}: {error.path} at offset {LENGTH_SIZE + (error.offset or 0)}: {error.reason}"
        )
        shown = [*spans, Span("(undecoded)", "bytes", end, len(payload), payload[end:])]
    else:
        problem = ""
        trailing = [Span("(trailing)", "bytes", end, len(payload), payload[end:])] if end < len(payload) else []
        shown = [*spans, *trailing]
    records = _records(reading, payload)
    text = sentence(reading.types, records, reading.opcode, reading.names)
    if end < len(payload) and not problem:
        count = len(payload) - end
        text += f" A server ignores the {counted(count, 'byte') if count > 1 else 'byte'} after it."
    if reading.direction is Direction.SENT and reading.opcode is not None and records:
        asked[records[0].xid] = reading.opcode
    return Explained(offset, whole, [reading], [measure, *_moved(shown)], title(frame), text, problem)


def _ask_or_cut(offset: int, whole: bytes, measure: Span, found: list[Reading], length: int) -> Explained:
    """A frame with several readings: the fields that they share, and the question which reading is meant. If the frame
    is cut, its problem is where each reading is cut."""
    payload = whole[LENGTH_SIZE:]
    common: list[Span] = []
    for spans in zip(*(read_frame(reading.frame(payload))[0] for reading in found)):
        if len(set(spans)) > 1:
            break
        common.append(spans[0])
    if len(payload) < length:
        places = sorted({f"{path} at offset {place}" for path, place in _cut_places(found, payload)})
        shown = ", or ".join(places[:4]) + (f", or one of {len(places) - 4} others" if len(places) > 4 else "")
        problem = f"the frame at offset {offset} is cut after {len(whole)} of {LENGTH_SIZE + length} bytes, in {shown}"
    else:
        listed = "\n".join(f"  {reading.option:<28} {reading}" for reading in found)
        problem = f"the frame at offset {offset} can be read in {len(found)} ways; say which:\n{listed}"
    end = common[-1].end if common else 0
    rest = Span("(ambiguous)" if len(payload) == length else "(cut)", "bytes", end, len(payload), payload[end:])
    return Explained(offset, whole, found, [measure, *_moved([*common, rest])], "? frame", "", problem)


def _unread(offset: int, whole: bytes, spans: list[Span], problem: str) -> Explained:
    """Bytes without a reading."""
    end = spans[-1].end if spans else 0
    rest = Span("(undecoded)", "bytes", end, len(whole), whole[end:])
    return Explained(offset, whole, [], [*spans, rest], "? frame", "", problem)


def _moved(spans: list[Span]) -> list[Span]:
    """The spans of a payload as those of the whole frame."""
    return [span._replace(start=span.start + LENGTH_SIZE, end=span.end + LENGTH_SIZE) for span in spans]


def _records(reading: Reading, payload: bytes) -> list[Any]:
    """The records, as far as the bytes fit."""
    records: list[Any] = []
    offset = 0
    for record_type in reading.types:
        try:
            record, offset = decode_at(record_type, payload, offset, len(payload))
        except JuteError:
            break
        records.append(record)
    return records


def _cut_places(found: list[Reading], payload: bytes) -> set[tuple[str, int]]:
    return {_cut_place(reading, payload) for reading in found}


def _cut_place(reading: Reading, payload: bytes) -> tuple[str, int]:
    """The field in which a cut frame ends, and that field's offset in the frame."""
    spans, error = read_frame(reading.frame(payload))
    if error is not None:
        return error.path, LENGTH_SIZE + (error.offset or 0)
    end = spans[-1].end if spans else 0
    # All records fit, so what is missing is an optional field, or bytes after the last record.
    if spans and spans[-1].start == spans[-1].end == len(payload):
        return spans[-1].path, LENGTH_SIZE + end
    return "(trailing)", LENGTH_SIZE + end


def _without_length(explained: Explained, data: bytes, wanted: Wanted) -> str:
    """A hint, if the input can be the payload of a frame whose length is missing; "" if it cannot."""
    if explained.spans[-1].path == "(ambiguous)" or len(data) < REQUEST_HEADER_SIZE:
        return ""
    is_cut = LENGTH_SIZE + (length_at(data) or 0) > len(data) and bool(explained.readings)
    found = [
        reading
        for reading in readings(data, wanted)
        if end_of(reading, data) == len(data)
        and is_plausible(reading, data)
        and (reading.opcode is None or reading.opcode in BY_OPCODE)
        # Too many bytes can be read as a header alone, for example the beginning of a ConnectRequest.
        and reading.types != (ReplyHeader,)
        and (not is_cut or _has_path(reading, data))
    ]
    if not found:
        return ""
    what = str(found[0]) if len(found) == 1 else "a frame"
    count = counted(len(data), "byte")
    return f"without a length before them these {count} are {what}: put the length {len(data):08x} before them"


def _has_path(reading: Reading, payload: bytes) -> bool:
    """Whether this is a request with a path. The beginning of another frame can hardly ever be read as one."""
    spans, _ = read_frame(reading.frame(payload))
    return reading.direction is Direction.SENT and any(span.path.endswith(".path") and span.value for span in spans)


# --- input that is not frames

#: How they begin, and what they are.
_FOREIGN = {
    b"HTTP/": "HTTP, not ZooKeeper's protocol",
    **dict.fromkeys(
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PRI * HTTP/"],
        "HTTP, not ZooKeeper's protocol",
    ),
    b"SSH-": "SSH, not ZooKeeper's protocol",
    **dict.fromkeys(
        [b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"],
        "a file of captured packets (pcap): zkwire read FILE shows what they say",
    ),
    b"\x0a\x0d\x0d\x0a": "a file of captured packets (pcapng): zkwire read FILE shows what they say",
    b"\x1f\x8b": "packed by gzip: unpack them first",
    b"PK\x03\x04": "a zip file: unpack it first",
    b'{"zkwire": "recording"': "a recording of zkwire tap: zkwire replay plays it; explain takes the bytes of a line",
    b"ZKLG": "a transaction log of a server, not frames: zkTxnLogToolkit.sh reads it",
    b"ZKSN": "a snapshot of a server, not frames: zkSnapShotToolkit.sh reads it",
}


def foreign(data: bytes) -> str | None:
    """A description of data that does not start with a frame, as the end of a sentence; None if it is unknown."""
    # A record of TLS begins with its type and version.
    if len(data) >= 3 and 20 <= data[0] <= 23 and data[1] == 3 and data[2] <= 4:
        return "TLS: ZooKeeper's frames are encrypted in it"
    return next((name for begin, name in _FOREIGN.items() if data.startswith(begin)), None)


def _packet(data: bytes) -> str | None:
    """What data is if it is an IPv4 packet with TCP, alone or after a header of Ethernet, Linux or loopback."""
    for start in (0, 14, 16, 4):
        header = data[start : start + 20]
        is_ip = len(header) == 20 and header[0] == 0x45 and header[9] == 6
        if not is_ip or (start >= 14 and data[start - 2 : start] != b"\x08\0"):
            continue
        total = int.from_bytes(header[2:4], "big")
        if 40 <= total <= len(data) - start:
            payload = start + 20 + 4 * (data[start + 32] >> 4)
            return (
                f"a whole packet, as tcpdump -X shows it: IP starts at offset {start}, and what TCP carries at offset "
                f"{payload}; zkwire read takes files of captured packets"
            )
    return None
