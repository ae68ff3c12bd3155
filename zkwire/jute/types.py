"""The types of Jute: the names with which fields are declared, and what each is on the wire.

All integers are big-endian two's complement. There is no padding, and there are no tags. The three types with a length
(ustring, buffer, vector) can be null: length -1. That is None here, and not the same as empty.
"""

from __future__ import annotations

import codecs
import struct
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

if TYPE_CHECKING:
    from .record import Record

T = TypeVar("T")


class JuteType:
    """One wire type. Its `str()` is its name in the `.jute` grammar."""

    #: The fewest bytes that a value takes. It limits the count of a vector before memory is taken for it.
    min_size: int

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        """(path of the field that cannot be encoded, what was expected and seen); None: `value` can be encoded."""
        raise AssertionError("abstract")

    def _mismatch(self, value: object, path: str, expected: str) -> tuple[str, str]:
        return path, f"{self} takes {expected}, not {type(value).__name__} {value!r:.60}"


class FixedType(JuteType):
    """A number or boolean: it always takes the same number of bytes.

    `code` is its letter in the struct module. A boolean is one byte. It is written as 0 or 1; any byte but 0 is read as
    True, as in Java's DataInput.readBoolean.
    """

    def __init__(self, name: str, code: str, *, optional: bool = False) -> None:
        self.name = name
        self.code = code
        self.size = struct.calcsize(">" + code)
        #: Whether it may be left out at the end of a record, as old peers do with readOnly. Its value is None then.
        self.optional = optional
        self.min_size = 0 if optional else self.size

    def __str__(self) -> str:
        return self.name

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if value is None and self.optional:
            return None
        if self.code == "?":
            return None if isinstance(value, bool) else self._mismatch(value, path, "True or False")
        try:
            struct.pack(">" + self.code, value)
        except (struct.error, OverflowError) as error:  # the latter for a float
            return self._mismatch(
                value, path, f"a value of {self.size} {'byte' if self.size == 1 else 'bytes'} ({error})"
            )
        return None


class UStringType(JuteType):
    """int32 count of bytes, then UTF-8 (see `CESU8`)."""

    min_size = 4

    def __str__(self) -> str:
        return "ustring"

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if value is None:
            return None
        if not isinstance(value, str):
            return self._mismatch(value, path, "str or None")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return path, f"ustring takes text that UTF-8 can carry ({error})"
        return None


class BufferType(JuteType):
    """int32 count of bytes, then the bytes. No repr and no error shows the value if it is `secret`."""

    min_size = 4

    def __init__(self, *, secret: bool = False) -> None:
        self.secret = secret

    def __str__(self) -> str:
        return "buffer"

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if value is None or isinstance(value, (bytes, bytearray)):
            return None
        if self.secret:
            return path, f"{self} takes bytes or None, not {type(value).__name__}"
        return self._mismatch(value, path, "bytes or None")


class VectorType(JuteType):
    """int32 count of elements, then the elements one after the other."""

    min_size = 4

    def __init__(self, element: JuteType) -> None:
        self.element = element

    def __str__(self) -> str:
        return f"vector<{self.element}>"

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if value is None:
            return None
        if not (type(value) is tuple or type(value) is list):  # a Record is a tuple too
            return self._mismatch(value, path, "a tuple, a list or None")
        problems = (self.element.problem(item, f"{path}[{index}]") for index, item in enumerate(value))
        return next((problem for problem in problems if problem), None)


class NestedType(JuteType):
    """Another record: its fields, with nothing before or after them. It cannot be null."""

    def __init__(self, record: type[Record]) -> None:
        self.record = record
        self.min_size = sum(field.type.min_size for field in record.FIELDS)

    def __str__(self) -> str:
        return self.record.__name__

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if type(value) is not self.record:
            return self._mismatch(value, path, f"a {self}")
        problems = (field.type.problem(item, f"{path}.{field.name}") for field, item in zip(self.record.FIELDS, value))
        return next((problem for problem in problems if problem), None)


class VectorOf:
    """Marks `Vector[...]`: the type of its elements is in the brackets."""


Byte = Annotated[int, FixedType("byte", "b")]
Boolean = Annotated[bool, FixedType("boolean", "?")]
Int = Annotated[int, FixedType("int", "i")]
Long = Annotated[int, FixedType("long", "q")]
Float = Annotated[float, FixedType("float", "f")]
Double = Annotated[float, FixedType("double", "d")]
TrailingBoolean = Annotated[bool | None, FixedType("boolean", "?", optional=True)]
UString = Annotated[str | None, UStringType()]
Buffer = Annotated[bytes | None, BufferType()]
#: A buffer that holds a password or another secret.
Secret = Annotated[bytes | None, BufferType(secret=True)]
Vector = Annotated[tuple[T, ...] | None, VectorOf()]


#: The name of an error handler for `bytes.decode`: strict UTF-8, except that a surrogate pair in two halves of 3 bytes
#: is one character. Java's BinaryOutputArchive writes characters outside the BMP so (rule 75; tests/frames:
#: getACL-CESU8).
CESU8 = "zkwire-cesu8"


def _join_surrogate_pair(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: the six bytes of a surrogate pair become one character."""
    if isinstance(error, UnicodeDecodeError):
        pair = error.object[error.start : error.start + 6]
        try:
            character = pair.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise error from None
        if len(pair) == 6 and len(character) == 1:
            return character, error.start + 6
    raise error


codecs.register_error(CESU8, _join_surrogate_pair)


def type_of(annotation: Any) -> JuteType:
    """The wire type of a resolved annotation: one of the names above, or a Record class.

    Raises:
        TypeError: the annotation is not a Jute type; names it.
    """
    marks = getattr(annotation, "__metadata__", ())
    for mark in marks:
        if isinstance(mark, JuteType):
            return mark
        if isinstance(mark, VectorOf):
            optional_tuple = annotation.__origin__
            sequence = optional_tuple.__args__[0]
            return VectorType(type_of(sequence.__args__[0]))
    record = annotation.__origin__ if marks else annotation
    if isinstance(record, type) and hasattr(record, "FIELDS"):
        return NestedType(record)
    raise TypeError(f"expected a Jute type or a Record class, got {annotation!r}")


def is_secret(kind: JuteType) -> bool:
    """Whether no text may show a value of this type."""
    return isinstance(kind, BufferType) and kind.secret


def note_of(annotation: Any) -> str:
    """The text in a resolved annotation, as in `Annotated[Int, "milliseconds"]`; "": there is none."""
    return next((mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, str)), "")
