"""The bodies of multi and multiRead: records, each after a MultiHeader, and a terminator at the end.

    request:  (MultiHeader(opcode, done=False, err=-1), the operation's request)*  MultiHeader(-1, done=True, err=-1)
    reply:    (MultiHeader(type,   done=False, err),    the result of that type)*  MultiHeader(-1, done=True, err=-1)

A result is read by the type in its own header, not by that of the request: servers before 3.7.2, 3.8.2 and 3.9.0
answer create2 with type 1 (rule 70), and a failed operation has type -1 and an ErrorResponse.

The docstrings that `zkwire describe` shows are assigned to `__doc__`, as in records.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from .codes import OpCode
from .jute import JuteError, Record, TypedTuple, decode_at, encode
from .jute.fused import Unfit
from .records import (
    CheckVersionRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    ErrorResponse,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    MultiHeader,
    SetDataRequest,
    SetDataResponse,
)

if TYPE_CHECKING:
    from .jute.wire import Span

TERMINATOR = MultiHeader(-1, True, -1)


class MultiItem(NamedTuple):
    """One operation or one result: its header, and the record after it; None: nothing follows the header."""

    header: MultiHeader
    body: Record | None


class MultiSequence(TypedTuple):
    """Items in order. It is encoded and decoded like a Record (`zkwire.jute.Encodable`)."""

    #: The record after each header, by the type in it; None: nothing follows the header.
    BODIES: ClassVar[dict[int, type[Record] | None]]
    __slots__ = ()

    def __new__(cls, items: tuple[MultiItem, ...] = ()) -> MultiSequence:
        return super().__new__(cls, items)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"

    def _encode(self) -> bytes:
        parts = []
        for header, body in self:
            parts.append(encode(header))
            if body is not None:
                parts.append(encode(body))
        return b"".join([*parts, encode(TERMINATOR)])

    def _problem(self) -> tuple[str, str] | None:
        problems = (
            (f"{type(self).__name__}[{place}].{path}", reason)
            for place, records in enumerate(self)
            for record in records
            if record is not None
            for path, reason in [record._problem() or ("", "")]
        )
        return next((problem for problem in problems if problem[1]), None)

    @classmethod
    def _decode(cls, buffer: bytes, offset: int, end: int) -> tuple[Any, int]:
        """As in a Record: it only notices that the bytes do not fit. `_explain` says where."""
        items: list[MultiItem] = []
        while True:
            header, offset = MultiHeader._decode(buffer, offset, end)
            if header.done:
                return cls(tuple(items)), offset
            if header.type not in cls.BODIES:
                raise Unfit
            body_type, body = cls.BODIES[header.type], None
            if body_type is not None:
                body, offset = body_type._decode(buffer, offset, end)
            items.append(MultiItem(header, body))

    @classmethod
    def _explain(cls, data: bytes) -> None:
        """Raises the JuteError that says where `data` is not this sequence."""
        cls._read(data, [])

    @classmethod
    def spans(cls, data: bytes) -> tuple[list[Span], JuteError | None]:
        """As `zkwire.jute.wire.spans`: every field of every item, and of the terminator."""
        found: list[Span] = []
        try:
            cls._read(data, found)
        except JuteError as error:
            return found, error
        return found, None

    @classmethod
    def _read(cls, data: bytes, found: list[Span]) -> None:
        """Adds the spans of each record to `found`, up to the first that does not fit; its JuteError is raised."""
        offset = place = 0
        while True:
            item_path = f"{cls.__name__}[{place}]"
            header, after = _read_record(MultiHeader, data, offset, item_path, found)
            if header.done:
                return
            if header.type not in cls.BODIES:
                reason = f"expected one of {sorted(map(int, cls.BODIES))}, got {header.type}"
                raise JuteError(f"{item_path}.MultiHeader.type", reason, offset)
            body_type = cls.BODIES[header.type]
            offset = after if body_type is None else _read_record(body_type, data, after, item_path, found)[1]
            place += 1


class MultiRequest(MultiSequence):
    __doc__ = "Body of multi: creates, deletes, setDatas and checks. Either all are applied or none."

    BODIES: ClassVar[dict[int, type[Record] | None]] = {
        OpCode.CREATE: CreateRequest,
        OpCode.CREATE2: CreateRequest,
        OpCode.CREATE_CONTAINER: CreateRequest,
        OpCode.CREATE_TTL: CreateTTLRequest,
        OpCode.DELETE: DeleteRequest,
        OpCode.SET_DATA: SetDataRequest,
        OpCode.CHECK: CheckVersionRequest,
    }
    __slots__ = ()


class MultiReadRequest(MultiSequence):
    __doc__ = "Body of multiRead: getDatas and getChildren. Each succeeds or fails on its own."

    # The server ignores the watch flag of both.
    BODIES: ClassVar[dict[int, type[Record] | None]] = {
        OpCode.GET_DATA: GetDataRequest,
        OpCode.GET_CHILDREN: GetChildrenRequest,
    }
    __slots__ = ()


class MultiResponse(MultiSequence):
    __doc__ = "Body of the reply to multi or multiRead: one result for each operation."

    # By the type in the header before each result.
    BODIES: ClassVar[dict[int, type[Record] | None]] = {
        OpCode.CREATE: CreateResponse,
        OpCode.CREATE2: Create2Response,
        OpCode.DELETE: None,
        OpCode.SET_DATA: SetDataResponse,
        OpCode.CHECK: None,
        OpCode.GET_DATA: GetDataResponse,
        OpCode.GET_CHILDREN: GetChildrenResponse,
        OpCode.ERROR: ErrorResponse,
    }
    __slots__ = ()


def _read_record(
    record_type: type[Record], data: bytes, offset: int, item_path: str, found: list[Span]
) -> tuple[Any, int]:
    """The record that starts at `offset`, and the offset after it. Its spans are added to `found`.

    Raises:
        JuteError: the bytes do not fit. The spans before that field have been added.
    """
    from .jute import wire  # late: construct takes 20 ms to load

    try:
        record, end = decode_at(record_type, data, offset, len(data))
    except JuteError:
        record, end = None, len(data)
    spans, error = wire.spans(record_type, data[offset:end])
    for span in spans:
        found.append(span._replace(path=f"{item_path}.{span.path}", start=span.start + offset, end=span.end + offset))
    if error is not None:
        path, place = f"{item_path}.{error.path}", offset + (error.offset or 0)
        raise JuteError(path, error.reason, place, error.missing)
    return record, end


def item(opcode: OpCode, request: Record) -> MultiItem:
    """The request as one operation of a multi or multiRead."""
    return MultiItem(MultiHeader(opcode, False, -1), request)
