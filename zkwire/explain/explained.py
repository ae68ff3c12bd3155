"""What frames mean, told from their bytes alone: which reading fits, every field of it, and a sentence. No I/O.

    for explained in explain(bytes.fromhex("00000008fffffffe0000000b")):
        explained.sentence, explained.spans

A frame has no mark that says what it is: a request holds its opcode, a reply does not, and the first frame of a
connection has no header at all. So each reading that a frame of 3.9 may have is tried on the bytes. It fits when the
records take exactly all of them, and hold nothing that no client or server sends: a path that starts with no slash, a
positive error. Where several fit, `readings` has them all, and nothing is explained until one of them is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..codes import EventType, KeeperState, OpCode, Xid
from ..frames import (
    CONNECT_REQUEST_SIZE,
    CONNECT_RESPONSE_SIZE,
    HANDSHAKE,
    HEADER,
    HEADER_SIZE,
    LENGTH_SIZE,
    MAX_REPLY,
    NOTIFICATION,
    PASSWORD_SIZE,
    REPLY_HEADER,
    REPLY_HEADER_SIZE,
    REQUEST_HEADER,
    REQUEST_HEADER_SIZE,
    Direction,
    Frame,
    length_at,
    reply_types,
    request_types,
    xid_of,
)
from ..frames import frame as framed
from ..jute import JuteError, decode_at
from ..jute.types import FixedType, JuteType, NestedType
from ..jute.wire import Span
from ..operations import BY_OPCODE, CHECK
from ..records import ReplyHeader, RequestHeader
from ..text import counted
from .dump import read_frame, title
from .sentences import sentence


class Wanted(NamedTuple):
    """What is known of the frames beside their bytes.

    `reply_to` is an opcode: they are replies to that. `event`: they are notifications. `connect`: they are the first of
    their direction; False: they are not.
    """

    direction: Direction | None = None
    reply_to: int | None = None
    event: bool = False
    connect: bool | None = None


#: Nothing but the bytes.
ANY = Wanted()


class Reading(NamedTuple):
    """One thing that a frame may be. `opcode` is None for the handshake and notifications, and for replies whose bytes
    do not say what they answer: `names` are the operations then."""

    direction: Direction
    types: tuple[Any, ...]
    opcode: OpCode | int | None = None
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.types[0] in HANDSHAKE.values():
            return f"a {self.types[0].__name__}, the first frame of its direction"
        if self.types == NOTIFICATION:
            return "a notification"
        if self.direction is Direction.SENT:
            return f"the request {self.names[0]}" if self.names else "a request"
        return f"the reply to {' or '.join(self.names)}" if 0 < len(self.names) <= 4 else "a reply"

    @property
    def option(self) -> str:
        """What asks `zkwire explain` for it."""
        way = "--request" if self.direction is Direction.SENT else "--response"
        if self.types[0] in HANDSHAKE.values():
            return f"{way} --connect"
        if self.types == NOTIFICATION:
            return "--event"
        return f"--reply-to {self.names[0]}" if self.direction is Direction.RECEIVED and self.names else way

    def frame(self, payload: bytes) -> Frame:
        return Frame(self.direction, payload, self.types, self.opcode, 0.0)


class Explained(NamedTuple):
    """One frame, explained.

    `offset` is where it starts in the input, and `data` its bytes, with its length. `spans` cover all of them; their
    offsets count from the frame's start. `fault` says what is wrong, and where, or is "". If the bytes have several
    `readings`, none was taken: `spans` are what all of them share, and `fault` asks which it is. `hint` says how an
    input that does not start with a frame can be read, or is "".
    """

    offset: int
    data: bytes
    readings: list[Reading]
    spans: list[Span]
    title: str
    sentence: str
    fault: str
    hint: str = ""


def explain(data: bytes, wanted: Wanted = ANY) -> Iterator[Explained]:
    """Each frame of `data` in turn. A reply behind its request is read as the answer to that. After what cannot be a
    frame nothing can be told of the bytes behind it: they are all in the last one."""
    asked: dict[int, int] = {}
    offset = 0
    if name := _packet(data):
        yield _unread(0, data, [], f"the bytes are {name}")
        return
    while offset < len(data):
        explained = _explain_one(data, offset, wanted, asked)
        if offset == 0 and explained.fault:
            explained = explained._replace(hint=_without_length(explained, data, wanted))
        yield explained
        offset += len(explained.data)


def explain_frame(frame: Frame) -> Explained:
    """A frame of which is known what it is: as `on_frame` has it."""
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
        reason = f"length at offset 0: {length}{text} is no length of a frame, which has 0 to {MAX_REPLY} bytes"
        return _unread(offset, data[offset:], [measure], f"the frame at offset {offset}: {reason}")
    whole = data[offset : offset + LENGTH_SIZE + length]
    payload = whole[LENGTH_SIZE:]
    found = readings(payload, wanted, asked, length)
    if not found:
        reason = _mismatch(payload, wanted)
        return _unread(offset, whole, [measure], f"the frame at offset {offset}: {reason}")
    if len(payload) < length and _cut_places(found, payload) != _cut_places(found[:1], payload):
        return _ask_or_cut(offset, whole, measure, found, length)
    if len(payload) == length and len(found) > 1:
        return _ask_or_cut(offset, whole, measure, found, length)
    return _read(offset, whole, measure, found[0], length, asked)


def _read(offset: int, whole: bytes, measure: Span, reading: Reading, length: int, asked: dict[int, int]) -> Explained:
    """The frame as `reading`."""
    payload = whole[LENGTH_SIZE:]
    frame = reading.frame(payload)
    spans, error = read_frame(frame)
    end = spans[-1].end if spans else 0
    if len(payload) < length:
        path, place = _cut_place(reading, payload)
        size = f"{len(whole)} of {LENGTH_SIZE + length} bytes"
        fault = f"the frame at offset {offset} is cut after {size}, in {path} at offset {place}"
        shown = [*spans, Span("(cut)", f"{length - len(payload)} missing", end, len(payload), payload[end:])]
    elif error is not None:
        fault = (
            f"the frame at offset {offset}: {error.path} at offset {LENGTH_SIZE + (error.offset or 0)}: {error.reason}"
        )
        shown = [*spans, Span("(undecoded)", "bytes", end, len(payload), payload[end:])]
    else:
        fault = ""
        behind = [Span("(trailing)", "bytes", end, len(payload), payload[end:])] if end < len(payload) else []
        shown = [*spans, *behind]
    records = _records(reading, payload)
    text = sentence(reading.types, records, reading.opcode, reading.names)
    if end < len(payload) and not fault:
        count = len(payload) - end
        text += f" A server ignores the {counted(count, 'byte') if count > 1 else 'byte'} after it."
    if reading.direction is Direction.SENT and reading.opcode is not None and records:
        asked[records[0].xid] = reading.opcode
    return Explained(offset, whole, [reading], [measure, *_moved(shown)], title(frame), text, fault)


def _ask_or_cut(offset: int, whole: bytes, measure: Span, found: list[Reading], length: int) -> Explained:
    """Several readings: what they have in common, and the question, or where each is cut."""
    payload = whole[LENGTH_SIZE:]
    common: list[Span] = []
    for spans in zip(*(read_frame(reading.frame(payload))[0] for reading in found)):
        if len(set(spans)) > 1:
            break
        common.append(spans[0])
    if len(payload) < length:
        places = sorted({f"{path} at offset {place}" for path, place in _cut_places(found, payload)})
        shown = ", or ".join(places[:4]) + (f", or one of {len(places) - 4} others" if len(places) > 4 else "")
        fault = f"the frame at offset {offset} is cut after {len(whole)} of {LENGTH_SIZE + length} bytes, in {shown}"
    else:
        listed = "\n".join(f"  {reading.option:<28} {reading}" for reading in found)
        fault = f"the frame at offset {offset} can be read in {len(found)} ways; say which:\n{listed}"
    end = common[-1].end if common else 0
    rest = Span("(ambiguous)" if len(payload) == length else "(cut)", "bytes", end, len(payload), payload[end:])
    return Explained(offset, whole, found, [measure, *_moved([*common, rest])], "? frame", "", fault)


def _unread(offset: int, whole: bytes, spans: list[Span], fault: str) -> Explained:
    end = spans[-1].end if spans else 0
    rest = Span("(undecoded)", "bytes", end, len(whole), whole[end:])
    return Explained(offset, whole, [], [*spans, rest], "? frame", "", fault)


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
    """The field in which a frame that ends too early ends, and that field's offset."""
    spans, error = read_frame(reading.frame(payload))
    if error is not None:
        return error.path, LENGTH_SIZE + (error.offset or 0)
    end = spans[-1].end if spans else 0
    # Nothing is wrong with what is there: an optional field is missing, or bytes behind the last record are.
    if spans and spans[-1].start == spans[-1].end == len(payload):
        return spans[-1].path, LENGTH_SIZE + end
    return "(trailing)", LENGTH_SIZE + end


def _without_length(explained: Explained, data: bytes, wanted: Wanted) -> str:
    """What the input is if it is the payload of a frame that lacks its length; "" if it cannot be one."""
    if explained.spans[-1].path == "(ambiguous)" or len(data) < REQUEST_HEADER_SIZE:
        return ""
    is_cut = LENGTH_SIZE + (length_at(data) or 0) > len(data) and bool(explained.readings)
    found = [
        reading
        for reading in readings(data, wanted)
        if _end(reading, data) == len(data)
        and _is_plausible(reading, data)
        and (reading.opcode is None or reading.opcode in BY_OPCODE)
        # A header alone fits too much: the beginning of a ConnectRequest, for example.
        and reading.types != (ReplyHeader,)
        and (not is_cut or _has_path(reading, data))
    ]
    if not found:
        return ""
    what = str(found[0]) if len(found) == 1 else "a frame"
    count = counted(len(data), "byte")
    return f"without a length before them these {count} are {what}: put the length {len(data):08x} before them"


def _has_path(reading: Reading, payload: bytes) -> bool:
    """Whether this is a request with a path: the beginning of another frame is hardly ever one."""
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


# --- which readings


def readings(
    payload: bytes, wanted: Wanted = ANY, asked: Mapping[int, int] | None = None, length: int | None = None
) -> list[Reading]:
    """What a payload may be, the likely ones only: where one fits exactly and plausibly, no other is given.

    Args:
        asked: the opcodes of requests that are known, by xid.
        length: how long the payload is as a whole, where `payload` is only its beginning.
    """
    length = len(payload) if length is None else length
    candidates = [
        reading
        for reading in _merged(_candidates(payload, length, wanted, asked or {}))
        # Without a header any bytes could be a handshake: one that nobody asks for has to look like one.
        if wanted.connect or reading.types[0] not in HANDSHAKE.values() or _is_plausible(reading, payload)
    ]
    if len(payload) < length:
        possible = [reading for reading in candidates if _may_go_on(reading, payload, length)]
        plausible = [reading for reading in possible or candidates if _is_plausible(reading, payload)]
        plausible = plausible or possible or candidates
        known = [reading for reading in plausible if reading.opcode is None or reading.opcode in BY_OPCODE]
        return known or plausible
    ends = {reading: _end(reading, payload) for reading in candidates}
    exact = [reading for reading, end in ends.items() if end == length]
    plausible = [reading for reading in exact if _is_plausible(reading, payload)]
    if plausible or len(exact) == 1:
        return plausible or exact
    # A server takes no notice of bytes behind a record. A bare header of a reply would take any bytes so.
    trailing = [
        reading
        for reading, end in ends.items()
        if end is not None and len(reading.types) > 1 and _is_plausible(reading, payload)
    ]
    if trailing or exact:
        return trailing or exact
    return [reading for reading in candidates if _is_plausible(reading, payload)] or candidates


def _candidates(payload: bytes, length: int, wanted: Wanted, asked: Mapping[int, int]) -> Iterator[Reading]:
    """Every reading that the header, as far as it is there, leaves."""
    xid = xid_of(payload)
    sent = wanted.direction is not Direction.RECEIVED and wanted.reply_to is None and not wanted.event
    received = wanted.direction is not Direction.SENT
    if wanted.connect is not False and wanted.reply_to is None and not wanted.event:
        if sent and length >= CONNECT_REQUEST_SIZE:
            yield Reading(Direction.SENT, (HANDSHAKE[Direction.SENT],))
        if received and length >= CONNECT_RESPONSE_SIZE:
            yield Reading(Direction.RECEIVED, (HANDSHAKE[Direction.RECEIVED],))
    if wanted.connect:
        return
    if sent and length >= REQUEST_HEADER_SIZE:
        yield from _requests(payload, wanted)
    if not received or length < REPLY_HEADER_SIZE:
        return
    if xid in (None, Xid.NOTIFICATION):
        yield Reading(Direction.RECEIVED, NOTIFICATION)
    if xid != Xid.NOTIFICATION and not wanted.event:
        yield from _replies(payload, xid, wanted.reply_to, asked)


def _requests(payload: bytes, wanted: Wanted) -> Iterator[Reading]:
    if len(payload) < REQUEST_HEADER_SIZE:
        yield Reading(Direction.SENT, (RequestHeader,))
        return
    _, opcode = REQUEST_HEADER.unpack_from(payload)
    operation = BY_OPCODE.get(opcode)
    if operation is None:
        # Of a reply these are the first half of the zxid, which is 0 on a standalone server.
        if opcode > 0 or wanted.direction is Direction.SENT:
            yield Reading(Direction.SENT, (RequestHeader,), opcode)
    else:
        yield Reading(Direction.SENT, request_types(operation), operation.opcode, (operation.name,))


#: What a reserved xid answers. The server echoes any other.
_BY_XID = {
    Xid.PING: (OpCode.PING,),
    Xid.AUTH: (OpCode.AUTH,),
    Xid.SET_WATCHES: (OpCode.SET_WATCHES, OpCode.SET_WATCHES2),
}


def _replies(payload: bytes, xid: int | None, reply_to: int | None, asked: Mapping[int, int]) -> Iterator[Reading]:
    if len(payload) < REPLY_HEADER_SIZE:
        yield Reading(Direction.RECEIVED, (ReplyHeader,))
        return
    _, _, err = REPLY_HEADER.unpack_from(payload)
    opcodes: tuple[int, ...] = tuple(opcode for opcode in BY_OPCODE if opcode not in (OpCode.PING, CHECK.opcode))
    if xid in _BY_XID:
        opcodes = _BY_XID[Xid(xid)]
    elif reply_to is not None:
        opcodes = (reply_to,)
    elif xid is not None and xid in asked:
        opcodes = (asked[xid],)
    for opcode in opcodes:
        operation = BY_OPCODE.get(opcode)
        name = f"opcode {opcode}" if operation is None else operation.name
        yield Reading(Direction.RECEIVED, reply_types(operation, err), opcode, (name,))
        if err and operation is not None and operation.response_on_error:
            yield Reading(Direction.RECEIVED, reply_types(operation), opcode, (name,))


def _merged(candidates: Iterator[Reading]) -> list[Reading]:
    """Readings of the same records are one: the fields are the same, whatever it answers."""
    found: dict[tuple[Any, ...], Reading] = {}
    for reading in candidates:
        key = (reading.direction, reading.types)
        same = found.get(key)
        found[key] = reading if same is None else same._replace(opcode=None, names=same.names + reading.names)
    return list(found.values())


def _end(reading: Reading, payload: bytes) -> int | None:
    """Where the reading's records end; None where they do not fit."""
    offset = 0
    for record_type in reading.types:
        try:
            _, offset = decode_at(record_type, payload, offset, len(payload))
        except JuteError:
            return None
    return offset


def _may_go_on(reading: Reading, payload: bytes, length: int) -> bool:
    """Whether `payload` can be the beginning of such a frame, of `length` bytes as a whole."""
    header_only = reading.types == (HEADER[reading.direction],)
    if header_only and len(payload) >= HEADER_SIZE[reading.direction]:
        return reading.direction is Direction.SENT and reading.opcode not in BY_OPCODE  # else it were at its end
    sizes = [_sizes(NestedType(kind)) if hasattr(kind, "FIELDS") else (9, None) for kind in reading.types]
    if not header_only and None not in [most for _, most in sizes] and length > sum(most or 0 for _, most in sizes):
        return False
    _, error = read_frame(reading.frame(payload))
    if error is None:
        return True
    return 0 < error.missing <= length - len(payload) and sum(least for least, _ in sizes) <= length


def _sizes(kind: JuteType) -> tuple[int, int | None]:
    """The fewest and the most bytes that a value takes; None: there is no such bound."""
    if isinstance(kind, NestedType):
        sizes = [_sizes(field.type) for field in kind.record.FIELDS]
        most = [most for _, most in sizes]
        return kind.min_size, None if None in most else sum(size or 0 for size in most)
    return kind.min_size, kind.size if isinstance(kind, FixedType) else None


# --- which are plausible

_EVENT_TYPES = frozenset(EventType) - {EventType.RESYNC}


def _is_path(value: Any) -> bool:
    return not value or value.startswith("/")


#: What a field holds that a client or server of ours and others has been seen to send: a wider range than the rules
#: allow, a narrower one than the type. By the end of the field's path.
_PLAUSIBLE: dict[str, Any] = {
    "ConnectRequest.protocol_version": lambda value: value == 0,
    "ConnectRequest.passwd": lambda value: len(value or b"") <= PASSWORD_SIZE,
    "ConnectRequest.time_out": lambda value: value >= 0,
    "ConnectResponse.protocol_version": lambda value: value == 0,
    "ConnectResponse.passwd": lambda value: len(value or b"") == PASSWORD_SIZE,
    "ConnectResponse.time_out": lambda value: value >= 0,
    "RequestHeader.xid": lambda value: value != Xid.NOTIFICATION,
    "ReplyHeader.err": lambda value: -1000 < value <= 0,
    "ReplyHeader.zxid": lambda value: value >= -1,
    "WatcherEvent.type": lambda value: value in _EVENT_TYPES,
    "WatcherEvent.state": lambda value: value in set(KeeperState),
    "CreateResponse.path": lambda value: bool(value) and _is_path(value),
    "Create2Response.path": lambda value: bool(value) and _is_path(value),
    "SyncResponse.path": lambda value: True,  # an echo of anything
    "SetSASLResponse.token": lambda value: value is None or not value.startswith(b"/"),  # else it is a path
    "WhoAmIResponse.client_info": lambda value: value > 0,  # ip is always among them
    "GetAllChildrenNumberResponse.total_number": lambda value: value >= 0,
    "ErrorResponse.err": lambda value: -1000 < value <= 0,
    "path": _is_path,
    "stat.ctime": lambda value: value >= 0,
    "stat.mtime": lambda value: value >= 0,
    "stat.version": lambda value: value >= -1,
    "stat.data_length": lambda value: value >= 0,
    "stat.num_children": lambda value: value >= 0,
}


def _is_plausible(reading: Reading, payload: bytes) -> bool:
    spans, _ = read_frame(reading.frame(payload))
    values = {span.path: span.value for span in spans}
    for span in spans:
        if span.type == "boolean" and span.value is not None and payload[span.start] > 1:
            return False
        test = _PLAUSIBLE.get(span.path) or _PLAUSIBLE.get(".".join(span.path.split(".")[-2:]))
        test = test or _PLAUSIBLE.get(span.path.rpartition(".")[2])
        if test is not None and not test(span.value):
            return False
        if span.path.startswith("GetEphemeralsResponse.ephemerals[") and not _is_path(span.value):
            return False
        if ".children[" in span.path and (not span.value or "/" in span.value):
            return False
    data, size = values.get("GetDataResponse.data"), values.get("GetDataResponse.stat.data_length")
    return size is None or size == len(data or b"")


def _mismatch(payload: bytes, wanted: Wanted) -> str:
    """Why no reading is left."""
    count = counted(len(payload), "byte")
    if wanted.connect:
        return f"{count} at offset {LENGTH_SIZE} hold neither a ConnectRequest nor a ConnectResponse"
    if wanted.event and len(payload) >= REPLY_HEADER_SIZE:
        return (
            f"ReplyHeader.xid at offset {LENGTH_SIZE}: {xid_of(payload)}, but a notification has {Xid.NOTIFICATION:d}"
        )
    sizes = f"a request's has {REQUEST_HEADER_SIZE} bytes, a reply's {REPLY_HEADER_SIZE}"
    return f"{count} at offset {LENGTH_SIZE} hold no header: {sizes}"
