"""`Record`: a record of the wire in Python, an immutable tuple with named, typed fields."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar, get_type_hints

from . import fused
from .errors import JuteError
from .types import JuteType, NestedType, is_secret, note_of, type_of

if TYPE_CHECKING:
    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_: object) -> Any:
        """In place of typing.dataclass_transform, which Python 3.10 lacks. Only type checkers use it."""
        return lambda cls: cls


class Field(NamedTuple):
    """One declared field: its Python name, its wire type, and its note: unit, enum or range, or "" if it has none."""

    name: str
    type: JuteType
    note: str


@dataclass_transform(frozen_default=True)
class RecordMeta(type):
    """Turns annotations into fields, a constructor and a codec.

    Records are tuples because no other immutable object of Python is made as fast: a Stat takes 0.2 us, a frozen
    dataclass with the same eleven fields 2 us.
    """

    FIELDS: tuple[Field, ...]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> RecordMeta:
        namespace.setdefault("__slots__", ())
        cls = super().__new__(mcs, name, bases, namespace)
        # Ask typing for the annotations: Python 3.14 does not keep them in the namespace of the class.
        hints = get_type_hints(cls, include_extras=True)
        cls.FIELDS = tuple(
            Field(field, type_of(hint), note_of(hint)) for field, hint in hints.items() if field != "FIELDS"
        )
        for index, field in enumerate(cls.FIELDS):
            setattr(cls, field.name, property(operator.itemgetter(index)))
        cls.__new__ = fused.constructor(cls)  # type: ignore[method-assign]  # made, as namedtuple does
        return cls

    def make_codec(cls) -> fused.Codec:
        """Make the fused codec and put it in place of the placeholders. Called on first use: all codecs take 10 ms."""
        codec = fused.codec(cls)
        cls._decode = staticmethod(codec.decode)
        cls._encode = codec.encode
        return codec

    @property
    def CODEC(cls) -> str:
        """The Python text of the fused codec."""
        return fused.codec(cls).source

    @property
    def WIRE(cls) -> Any:
        """The record as a construct `Struct`: parses, builds, explains. Made on first use: construct takes 20 ms."""
        from . import wire

        return wire.struct_of(cls)


class TypedTuple(tuple[Any, ...]):
    """A tuple that equals only tuples of its own class: two records of different classes are never equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((type(self), *self))


class Record(TypedTuple, metaclass=RecordMeta):
    """Base of all wire records. Field order is byte order.

    Two are equal if they have the same class and equal fields. `FIELDS` is the declaration, `CODEC` the Python text of
    the fused codec that is made from it, and `WIRE` the construct that is made from it.
    """

    FIELDS: ClassVar[tuple[Field, ...]]

    @classmethod
    def _decode(cls, buffer: bytes, offset: int, end: int, /) -> tuple[Any, int]:
        """Placeholder: compiles the codec on the first call and replaces itself."""
        return cls.make_codec().decode(buffer, offset, end)

    def _encode(self) -> bytes:
        """Placeholder: compiles the codec on the first call and replaces itself."""
        return type(self).make_codec().encode(self)

    @classmethod
    def _explain(cls, data: bytes) -> None:
        """Raise the JuteError that says where `data` is not this record."""
        from . import wire

        wire.parse(cls, data)

    def _problem(self) -> tuple[str, str] | None:
        """(field path, what was expected and seen) of the first field that cannot be encoded."""
        return NestedType(type(self)).problem(self, type(self).__name__)

    def __repr__(self) -> str:
        values = ", ".join(f"{field.name}={_shown(field.type, value)}" for field, value in zip(self.FIELDS, self))
        return f"{type(self).__name__}({values})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def replace(self, **changes: Any) -> Self:
        """A copy of this record with some fields changed."""
        values = {field.name: value for field, value in zip(self.FIELDS, self)}
        return type(self)(**{**values, **changes})


def _shown(kind: JuteType, value: object) -> str:
    """The repr of the value, or only the length of a secret."""
    if value is None or not is_secret(kind):
        return repr(value)
    if not isinstance(value, (bytes, bytearray)):
        return f"<{type(value).__name__}>"
    return f"<{len(value)} byte{'s' * (len(value) != 1)}>"


class Encodable(Protocol):
    """What `encode` takes: a Record, or a sequence of records (zkwire/multi.py)."""

    def _encode(self) -> bytes: ...

    def _problem(self) -> tuple[str, str] | None: ...


class Decodable(Protocol):
    """What `decode` takes: a Record class, or the class of a sequence of records."""

    @classmethod
    def _decode(cls, buffer: bytes, offset: int, end: int, /) -> tuple[Any, int]: ...

    @classmethod
    def _explain(cls, data: bytes) -> None: ...


D = TypeVar("D", bound=Decodable)

# What the fused codec raises when bytes or values do not fit. The functions below then find the field.
_UNFIT = (fused.Unfit, fused.StructError, TypeError, AttributeError, ValueError, OverflowError)


def encode(record: Encodable) -> bytes:
    """The record's bytes.

    Raises:
        JuteError: a value does not fit the type of its field; names the field and the value.
    """
    try:
        return record._encode()
    except _UNFIT as error:
        problem = record._problem()
        if problem is None:
            raise AssertionError(f"the codec of {record!r} failed without a problem in it") from error
        raise JuteError(*problem) from None


def decode(record_type: type[D], data: bytes) -> D:
    """The record at the start of `data`. Bytes after it are ignored, as ZooKeeper ignores them.

    Raises:
        JuteError: the bytes do not fit; names the field, its offset, what was expected and what was seen.
    """
    return decode_at(record_type, data, 0, len(data))[0]


def decode_at(record_type: type[D], buffer: bytes, offset: int, end: int) -> tuple[D, int]:
    """The record that starts at `offset` and must not reach beyond `end`, and the offset after it.

    Raises:
        JuteError: as for `decode`. Its offset counts from `offset`.
    """
    try:
        result: tuple[D, int] = record_type._decode(buffer, offset, end)
    except _UNFIT as error:
        record_type._explain(buffer[offset:end])  # slower; finds the field, and raises the JuteError
        raise AssertionError(f"only the fused codec of {record_type} refuses these {end - offset} bytes") from error
    return result
