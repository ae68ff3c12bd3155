"""Which frames some bytes may be, and whether each of these readings is plausible.

A frame has no mark that says what it is: a request holds its opcode, a reply does not, and the first frame of a
connection has no header at all. So each reading that a frame of 3.9 may have is tried on the bytes. It fits when its
records take exactly all of them, and it is plausible when they hold only what clients and servers send: paths that
start with a slash, errors that are not positive.
"""

from __future__ import annotations

import re
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
    NOTIFICATION,
    PASSWORD_SIZE,
    REPLY_HEADER,
    REPLY_HEADER_SIZE,
    REQUEST_HEADER,
    REQUEST_HEADER_SIZE,
    Direction,
    Frame,
    reply_types,
    request_types,
    xid_of,
)
from ..jute import JuteError, decode_at
from ..jute.types import FixedType, JuteType, NestedType
from ..operations import BY_OPCODE, CHECK
from ..records import MultiHeader, ReplyHeader, RequestHeader
from ..text import counted
from .dump import read_frame


class Wanted(NamedTuple):
    """What the caller knows about the frames besides their bytes.

    direction: which way they went; None: not known.
    reply_to: they are replies to this opcode; None: not known.
    event: True: they are notifications; False: not known.
    connect: True: they are the first of their direction; False: they are not; None: not known.
    """

    direction: Direction | None = None
    reply_to: int | None = None
    event: bool = False
    connect: bool | None = None


#: The caller knows nothing but the bytes.
ANY = Wanted()


class Reading(NamedTuple):
    """One thing that a frame may be: these records, in this direction.

    `opcode` is None for the handshake and for notifications. It is also None for a reply that may answer several
    operations: `names` has them all then.
    """

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
        """The options of `zkwire explain` that ask for this reading."""
        way = "--request" if self.direction is Direction.SENT else "--response"
        if self.types[0] in HANDSHAKE.values():
            return f"{way} --connect"
        if self.types == NOTIFICATION:
            return "--event"
        return f"--reply-to {self.names[0]}" if self.direction is Direction.RECEIVED and self.names else way

    def frame(self, payload: bytes) -> Frame:
        """The payload as a frame of this reading."""
        return Frame(self.direction, payload, self.types, self.opcode, 0.0)


def readings(
    payload: bytes, wanted: Wanted = ANY, asked: Mapping[int, int] | None = None, length: int | None = None
) -> list[Reading]:
    """What a payload may be. Readings that fit exactly and plausibly rule out all others.

    Args:
        wanted: what the caller knows of the frame.
        asked: the opcodes of the requests before it, by xid.
        length: how many bytes the whole payload has; None: `payload` is all of it.
    """
    length = len(payload) if length is None else length
    candidates = [
        reading
        for reading in _merged(_candidates(payload, length, wanted, asked or {}))
        # A handshake has no header, so any bytes could be one: unless the caller says that it is one, it has to be
        # plausible.
        if wanted.connect or reading.types[0] not in HANDSHAKE.values() or is_plausible(reading, payload)
    ]
    if len(payload) < length:
        possible = [reading for reading in candidates if _may_go_on(reading, payload, length)]
        plausible = [reading for reading in possible or candidates if is_plausible(reading, payload)]
        plausible = plausible or possible or candidates
        known = [reading for reading in plausible if reading.opcode is None or reading.opcode in BY_OPCODE]
        return known or plausible
    ends = {reading: end_of(reading, payload) for reading in candidates}
    exact = [reading for reading, end in ends.items() if end == length]
    plausible = [reading for reading in exact if is_plausible(reading, payload)]
    if plausible or len(exact) == 1:
        return plausible or exact
    # A server ignores bytes after a record. A reading of a reply as its header alone is left out here: any bytes
    # could follow it.
    trailing = [
        reading
        for reading, end in ends.items()
        if end is not None and len(reading.types) > 1 and is_plausible(reading, payload)
    ]
    if trailing or exact:
        return trailing or exact
    return [reading for reading in candidates if is_plausible(reading, payload)] or candidates


def _candidates(payload: bytes, length: int, wanted: Wanted, asked: Mapping[int, int]) -> Iterator[Reading]:
    """Every reading that the header allows, as far as its bytes are there."""
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
        # It may be a reply: then these bytes are the first half of its zxid, which is 0 on a standalone server.
        if opcode > 0 or wanted.direction is Direction.SENT:
            yield Reading(Direction.SENT, (RequestHeader,), opcode)
    else:
        yield Reading(Direction.SENT, request_types(operation), operation.opcode, (operation.name,))


#: The requests that a reply with a reserved xid may answer.
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
    """The readings, with those of the same records joined into one: their fields are the same for each request."""
    found: dict[tuple[Any, ...], Reading] = {}
    for reading in candidates:
        key = (reading.direction, reading.types)
        same = found.get(key)
        found[key] = reading if same is None else same._replace(opcode=None, names=same.names + reading.names)
    return list(found.values())


def end_of(reading: Reading, payload: bytes) -> int | None:
    """The offset after the reading's last record; None: the records do not fit."""
    offset = 0
    for record_type in reading.types:
        try:
            _, offset = decode_at(record_type, payload, offset, len(payload))
        except JuteError:
            return None
    return offset


def _may_go_on(reading: Reading, payload: bytes, length: int) -> bool:
    """Whether `payload` can be the beginning of a frame of this reading that has `length` bytes."""
    header_only = reading.types == (HEADER[reading.direction],)
    if header_only and len(payload) >= HEADER_SIZE[reading.direction]:
        # Only an operation that we do not know may go on after its header.
        return reading.direction is Direction.SENT and reading.opcode not in BY_OPCODE
    sizes = [_sizes(NestedType(kind) if hasattr(kind, "FIELDS") else None) for kind in reading.types]
    if not header_only and None not in [most for _, most in sizes] and length > sum(most or 0 for _, most in sizes):
        return False
    _, error = read_frame(reading.frame(payload))
    if error is None:
        return True
    return 0 < error.missing <= length - len(payload) and sum(least for least, _ in sizes) <= length


def _sizes(kind: JuteType | None) -> tuple[int, int | None]:
    """The fewest and the most bytes that a value takes; None: there is no such bound. `kind` is None for the body of a
    multi, which has at least its terminator."""
    if kind is None:
        return NestedType(MultiHeader).min_size, None
    if isinstance(kind, NestedType):
        sizes = [_sizes(field.type) for field in kind.record.FIELDS]
        most = [most for _, most in sizes]
        return kind.min_size, None if None in most else sum(size or 0 for size in most)
    return kind.min_size, kind.size if isinstance(kind, FixedType) else None


# --- which are plausible

_EVENT_TYPES = frozenset(EventType) - {EventType.RESYNC}


def _is_path(value: Any) -> bool:
    return not value or value.startswith("/")


def _is_name(value: Any) -> bool:
    return bool(value) and "/" not in value


#: By field: whether any known client or server sends such a value. These ranges are wider than the rules allow and
#: narrower than the types. A key is the last part of a field's path, or the last two; [] stands for any index.
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
    "GetEphemeralsResponse.ephemerals[]": _is_path,
    "GetChildrenResponse.children[]": _is_name,
    "GetChildren2Response.children[]": _is_name,
    "path": _is_path,
    "stat.ctime": lambda value: value >= 0,
    "stat.mtime": lambda value: value >= 0,
    "stat.version": lambda value: value >= -1,
    "stat.data_length": lambda value: value >= 0,
    "stat.num_children": lambda value: value >= 0,
}


def is_plausible(reading: Reading, payload: bytes) -> bool:
    """Whether each field, up to the first that does not fit, holds a value that a client or server sends."""
    spans, _ = read_frame(reading.frame(payload))
    values = {span.path: span.value for span in spans}
    for span in spans:
        if span.type == "boolean" and span.value is not None and payload[span.start] > 1:
            return False
        names = re.sub(r"\[\d+\]", "[]", span.path).split(".")
        test = _PLAUSIBLE.get(".".join(names[-2:])) or _PLAUSIBLE.get(names[-1])
        if test is not None and not test(span.value):
            return False
    data, size = values.get("GetDataResponse.data"), values.get("GetDataResponse.stat.data_length")
    return size is None or size == len(data or b"")


def mismatch(payload: bytes, wanted: Wanted) -> str:
    """Why `readings` found none, in words."""
    count = counted(len(payload), "byte")
    if wanted.connect:
        return f"{count} at offset {LENGTH_SIZE} hold neither a ConnectRequest nor a ConnectResponse"
    if wanted.event and len(payload) >= REPLY_HEADER_SIZE:
        return (
            f"ReplyHeader.xid at offset {LENGTH_SIZE}: {xid_of(payload)}, but a notification has {Xid.NOTIFICATION:d}"
        )
    sizes = f"a request's has {REQUEST_HEADER_SIZE} bytes, a reply's {REPLY_HEADER_SIZE}"
    return f"{count} at offset {LENGTH_SIZE} hold no header: {sizes}"
