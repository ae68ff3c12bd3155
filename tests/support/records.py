"""Records for tests of the codecs: one of every type, and any values for any record."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from zkwire import records
from zkwire.jute import (
    Boolean,
    Buffer,
    Byte,
    Double,
    Float,
    JuteError,
    JuteType,
    Long,
    Record,
    TrailingBoolean,
    UString,
    Vector,
)
from zkwire.jute.types import BufferType, FixedType, NestedType, UStringType, VectorType
from zkwire.records import ACL


class Empty(Record):
    """No fields: what a request without a body would be."""


class EveryType(Record):
    """The types that no record of ZooKeeper's has, and the ways of nesting that none uses."""

    byte: Byte
    flag: Boolean
    small: Float
    big: Double
    empty: Empty
    flags: Vector[Boolean]
    rows: Vector[Vector[Long]]
    buffers: Vector[Buffer]
    acl: ACL
    tail: TrailingBoolean


class Named(Record):
    """One more string."""

    text: UString


RECORDS: list[Any] = [
    cls for cls in vars(records).values() if inspect.isclass(cls) and issubclass(cls, Record) and cls is not Record
]
RECORDS += [Empty, EveryType, Named]

every_record_with_fields = pytest.mark.parametrize(
    "cls", [cls for cls in RECORDS if cls.FIELDS], ids=lambda cls: cls.__name__
)
every_record = pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
some = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=15)


def values(kind: JuteType) -> st.SearchStrategy[Any]:
    """All values of a wire type."""
    if isinstance(kind, NestedType):
        return instances(kind.record)
    if isinstance(kind, VectorType):
        return st.none() | st.lists(values(kind.element), max_size=3).map(tuple)
    if isinstance(kind, UStringType):
        return st.none() | st.text(max_size=12)
    if isinstance(kind, BufferType):
        return st.none() | st.binary(max_size=12)
    assert isinstance(kind, FixedType)
    if kind.code == "?":
        return st.none() | st.booleans() if kind.optional else st.booleans()
    if kind.code in "fd":
        return st.floats(width=kind.size * 8, allow_nan=False)  # type: ignore[arg-type]  # 32 or 64
    bits = kind.size * 8
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def instances(cls: Any) -> st.SearchStrategy[Any]:
    """All records of a class."""
    return st.tuples(*(values(field.type) for field in cls.FIELDS)).map(lambda fields: cls(*fields))


def outcome(read: Any, *arguments: Any) -> Any:
    """What a codec returns, as text since NaN is not equal to itself; or where and why it refuses."""
    try:
        return repr(read(*arguments))
    except JuteError as error:
        return error.path, error.offset, error.reason


# For a type checker, these calls are as wrong as they are meant to be.
loose: Any = records
