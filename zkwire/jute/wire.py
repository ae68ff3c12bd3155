"""The same declarations as construct `Struct`s: the codec that can explain.

It is about ten times slower than the fused codec, but it knows the place of each field: every field is wrapped in
`Spanned`, which notes the bytes of the field, and puts its path and offset into every error. It is used when the fused
codec finds that bytes do not fit, and for dumps and descriptions. A property test checks that both codecs agree.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import construct as c

from .errors import JuteError
from .record import Record, RecordMeta
from .types import CESU8, BufferType, FixedType, JuteType, NestedType, UStringType, VectorType


class Span(NamedTuple):
    """The bytes of one field, `data[start:end]`, with its length if it has one.

    The span and the value of a vector are its count (-1: null). Its elements follow as spans of their own.
    """

    path: str
    type: str
    start: int
    end: int
    value: Any


def spans(record_type: RecordMeta, data: bytes) -> tuple[list[Span], JuteError | None]:
    """Every field of the record at the start of `data`, in order, without gap or overlap; and None.

    If the bytes do not fit: the fields before the first that does not, and the error for that one, which is returned
    and not raised.
    """
    found: list[Span] = []
    try:
        _parse(record_type, data, found)
    except JuteError as error:
        return found, error
    return found, None


def parse(record_type: RecordMeta, data: bytes) -> Any:
    """The record at the start of `data`: as `zkwire.jute.decode`, but with construct.

    Raises:
        JuteError: the bytes do not fit; names the field, its offset, what was expected and what was seen.
    """
    return _from_container(record_type, _parse(record_type, data, None))


def build(record: Record) -> bytes:
    """The record's bytes: as `zkwire.jute.encode`, but with construct.

    Raises:
        JuteError: a value does not fit; names its field.
    """
    problem = NestedType(type(record)).problem(record, type(record).__name__)
    if problem is not None:
        raise JuteError(*problem)
    data: bytes = struct_of(type(record)).build(_to_container(record))
    return data


@functools.cache
def struct_of(record_type: RecordMeta) -> Any:
    """The construct `Struct` of a record class, with one `Spanned` for each declared field."""
    return c.Struct(*(field.name / Spanned(_construct(field.type), field.type) for field in record_type.FIELDS))


_FIXED = {
    "byte": c.Int8sb,
    "boolean": c.Flag,
    "int": c.Int32sb,
    "long": c.Int64sb,
    "float": c.Float32b,
    "double": c.Float64b,
}


def _parse(record_type: RecordMeta, data: bytes, found: list[Span] | None) -> Any:
    return struct_of(record_type).parse(data, spans=found, record=record_type.__name__)


def _construct(kind: JuteType) -> Any:
    if isinstance(kind, FixedType):
        return _TrailingFlag() if kind.optional else _FIXED[kind.name]
    if isinstance(kind, UStringType):
        return _UString()
    if isinstance(kind, BufferType):
        return _Buffer()
    if isinstance(kind, VectorType):
        return _Vector(Spanned(_construct(kind.element), kind.element), kind)
    assert isinstance(kind, NestedType)
    return struct_of(kind.record)


class Spanned(c.Subconstruct):  # type: ignore[misc]  # construct is untyped
    """A field: notes its bytes, if the caller wants spans, and adds its path and offset to errors."""

    def __init__(self, subcon: Any, kind: JuteType) -> None:
        super().__init__(subcon)
        self.kind = kind

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        start = stream.tell()
        found: list[Span] | None = context._params.get("spans")
        mark = 0 if found is None else len(found)
        try:
            value = self.subcon._parsereport(stream, context, path)
        except c.ConstructError as error:
            reason = str(error).split("\n")[-1]
            missing = self._missing(error, stream, start)
            raise JuteError(_dotted(context, path), f"{self.kind}: {reason}", start, missing) from None
        except JuteError:
            if found is not None and isinstance(self.kind, VectorType):  # the count fits, but an element does not
                stream.seek(start)
                count = int.from_bytes(stream.read(4), "big", signed=True)
                found.insert(mark, Span(_dotted(context, path), str(self.kind), start, start + 4, count))
            raise
        if found is not None and not isinstance(self.kind, NestedType):
            end, noted = stream.tell(), value
            if isinstance(self.kind, VectorType):  # the elements have been noted already; this is their count
                end, noted = start + 4, -1 if value is None else len(value)
            found.insert(mark, Span(_dotted(context, path), str(self.kind), start, end, noted))
        return value

    def _missing(self, error: Exception, stream: Any, start: int) -> int:
        if isinstance(error, _TooShort):
            return error.missing
        if not isinstance(error, c.StreamError):
            return 0
        needed = self.kind.size if isinstance(self.kind, FixedType) else 4  # of other types the count is cut
        return needed - (stream.seek(0, 2) - start)  # type: ignore[no-any-return]


def _dotted(context: Any, path: str) -> str:
    """construct's `(parsing) -> acl -> [2] -> id` as `GetACLResponse.acl[2].id`."""
    parts = (part if part.startswith("[") else "." + part for part in path.split(" -> ")[1:])
    return str(context._params.get("record", "")) + "".join(parts)


class _TooShort(c.StreamError):  # type: ignore[misc]
    """A count that needs `missing` bytes more than there are."""

    def __init__(self, message: str, path: str, missing: int) -> None:
        super().__init__(message, path=path)
        self.missing = missing


class _Counted(c.Construct):  # type: ignore[misc]
    """Begins with an int32 count; -1: null. It is compared with the bytes that are left before those are read."""

    def _count(self, stream: Any, path: str, each: int) -> int:
        count: int = c.Int32sb._parsereport(stream, c.Container(), path)
        here = stream.tell()
        left = stream.seek(0, 2) - here
        stream.seek(here)
        if count < -1:
            raise c.RangeError(f"length {count} is negative and not -1 (null)", path=path)
        if count * each > left:
            needed = count * each
            wanted, are = "1 byte" if needed == 1 else f"{needed} bytes", "is" if left == 1 else "are"
            raise _TooShort(f"length {count} needs at least {wanted}, {left} {are} left", path, needed - left)
        return count

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        c.Int32sb._build(-1 if obj is None else self._length(obj), stream, context, path)
        if obj is not None:
            self._build_body(obj, stream, context, path)
        return obj

    def _length(self, obj: Any) -> int:
        return len(obj)


class _Buffer(_Counted):
    def _parse(self, stream: Any, context: Any, path: str) -> bytes | None:
        count = self._count(stream, path, 1)
        return None if count == -1 else stream.read(count)

    def _build_body(self, obj: Any, stream: Any, context: Any, path: str) -> None:
        stream.write(obj)


class _UString(_Counted):
    def _parse(self, stream: Any, context: Any, path: str) -> str | None:
        count = self._count(stream, path, 1)
        try:
            return None if count == -1 else stream.read(count).decode("utf-8", CESU8)
        except UnicodeDecodeError as error:
            raise c.StringError(str(error), path=path) from None

    def _length(self, obj: Any) -> int:
        return len(obj.encode())

    def _build_body(self, obj: Any, stream: Any, context: Any, path: str) -> None:
        stream.write(obj.encode())


class _Vector(_Counted):
    def __init__(self, element: Any, kind: VectorType) -> None:
        super().__init__()
        self.element = element
        self.each = max(kind.element.min_size, 1)

    def _parse(self, stream: Any, context: Any, path: str) -> list[Any] | None:
        count = self._count(stream, path, self.each)
        if count == -1:
            return None
        return [self.element._parsereport(stream, context, f"{path} -> [{index}]") for index in range(count)]

    def _build_body(self, obj: Any, stream: Any, context: Any, path: str) -> None:
        for item in obj:
            self.element._build(item, stream, context, path)


class _TrailingFlag(c.Construct):  # type: ignore[misc]
    """A boolean at the end of a record, which may be missing."""

    def _parse(self, stream: Any, context: Any, path: str) -> bool | None:
        byte = stream.read(1)
        return bool(byte[0]) if byte else None

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if obj is not None:
            stream.write(b"\x01" if obj else b"\x00")
        return obj


def _from_container(record_type: RecordMeta, container: Any) -> Any:
    return record_type(*(_from_wire(field.type, container[field.name]) for field in record_type.FIELDS))


def _from_wire(kind: JuteType, value: Any) -> Any:
    if isinstance(kind, NestedType):
        return _from_container(kind.record, value)
    if isinstance(kind, VectorType) and value is not None:
        return tuple(_from_wire(kind.element, item) for item in value)
    return value


def _to_container(value: Any) -> Any:
    if isinstance(value, Record):
        return {field.name: _to_container(item) for field, item in zip(value.FIELDS, value)}
    if isinstance(value, (tuple, list)):
        return [_to_container(item) for item in value]
    return value
