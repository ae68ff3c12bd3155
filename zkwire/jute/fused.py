"""The fused codec: one function to decode and one to encode each record, written from its declaration on first use.

Neighbouring fields of fixed size, with the length of the field after them if it has one, become one call of
`struct.Struct`. So a WatcherEvent costs a single unpack, and a Stat too. `Record.CODEC` is the text:

    >>> print(ExistsRequest.CODEC)
    def decode(buffer, offset, end):
        (v0,) = unpack_i(buffer, offset)
        ...

A decoder trusts nothing that it reads: it compares every length with `end` before it uses it, and at its end it checks
that no field of fixed size was read beyond `end`. It only notices that bytes do not fit: zkwire/jute/wire.py says
where.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .types import CESU8, BufferType, FixedType, JuteType, NestedType, UStringType, VectorType

if TYPE_CHECKING:
    from .record import RecordMeta

StructError = struct.error


class Unfit(Exception):
    """The bytes are not the declared record."""


class Codec(NamedTuple):
    """The two functions, and the text that they were compiled from."""

    decode: Callable[[bytes, int, int], tuple[Any, int]]
    encode: Callable[[Any], bytes]
    source: str


def constructor(cls: RecordMeta) -> Callable[..., Any]:
    """`__new__` with the fields of the record as its parameters, by position or by name."""
    names = [field.name for field in cls.FIELDS]
    body = f"    return new(cls, ({''.join(name + ', ' for name in names)}))"
    made = _compile(f"def __new__({', '.join(['cls', *names])}):\n{body}\n", {})["__new__"]
    made.__qualname__ = f"{cls.__name__}.__new__"
    return made  # type: ignore[no-any-return]


def codec(cls: RecordMeta) -> Codec:
    """The codec of a record class. Its `FIELDS` must be set."""
    decoder, encoder = _Decoder(), _Encoder()
    source = decoder.write(cls) + "\n" + encoder.write(cls)
    made = _compile(source, {**decoder.names, **encoder.names})
    return Codec(made["decode"], made["encode"], source)


def bytes_of(value: Any) -> bytes:
    """The value of a buffer as bytes. Only bytes and bytearray are taken: len() of other types may not count bytes."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise TypeError(type(value).__name__)


def items_of(value: Any) -> Any:
    """The value of a vector, if it is a tuple or a list. A str and a record are sequences too, and always mistakes."""
    if type(value) in (tuple, list):
        return value
    raise TypeError(type(value).__name__)


def _compile(source: str, names: dict[str, Any]) -> dict[str, Any]:
    namespace: dict[str, Any] = {
        "new": tuple.__new__,
        "join": b"".join,
        "Unfit": Unfit,
        "bytes_of": bytes_of,
        "items_of": items_of,
        **names,
    }
    exec(compile(source, "<zkwire.jute.fused>", "exec"), namespace)
    return namespace


class _Writer:
    """The lines of a function, unused variable names, and the objects that the lines name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self._count = 0
        self._indent = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self._indent + text)

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count - 1}"

    def struct(self, method: str, codes: str) -> str:
        """The name, in the text, of the struct method for these codes: `pack_iq`, `unpack_i`."""
        name = f"{method}_{codes.replace('?', 'B')}"
        self.names[name] = getattr(struct.Struct(">" + codes), "unpack_from" if method == "unpack" else "pack")
        return name

    def indent(self) -> None:
        self._indent += 1

    def dedent(self) -> None:
        self._indent -= 1


class _Decoder(_Writer):
    """Writes `decode(buffer, offset, end) -> (record, offset)`."""

    def __init__(self) -> None:
        super().__init__()
        self._codes = ""
        self._targets: list[str] = []

    def write(self, cls: RecordMeta) -> str:
        value = self._record(cls)
        self._flush()
        self.line("if offset > end: raise Unfit")
        self.line(f"return {value}, offset")
        return "def decode(buffer, offset, end):\n" + "\n".join(self.lines) + "\n"

    def _record(self, cls: RecordMeta) -> str:
        """Writes the reading of the fields; returns the expression that makes the record from them."""
        self.names[f"cls_{cls.__name__}"] = cls
        kinds = [field.type for field in cls.FIELDS]
        if len(kinds) > 1 and not self._codes and all(type(kind) is FixedType and not kind.optional for kind in kinds):
            # All fields have fixed sizes, as in Stat: the tuple from unpack is that of the record.
            value = self.fresh("v")
            codes = "".join(str(kind.code) for kind in kinds if isinstance(kind, FixedType))
            self.line(f"{value} = new(cls_{cls.__name__}, {self.struct('unpack', codes)}(buffer, offset))")
            self.line(f"offset += {struct.calcsize('>' + codes)}")
            return value
        values = [self._value(kind) for kind in kinds]
        return f"new(cls_{cls.__name__}, ({''.join(value + ', ' for value in values)}))"

    def _value(self, kind: JuteType) -> str:
        if isinstance(kind, NestedType):
            return self._record(kind.record)
        if isinstance(kind, FixedType):
            return self._optional(kind) if kind.optional else self._fixed(kind.code)
        count = self._fixed("i")
        self._flush()
        value = self.fresh("v")
        if isinstance(kind, VectorType):
            self._vector(kind, count, value)
        else:
            read = "buffer[offset:stop]"
            if isinstance(kind, UStringType):
                read += f'.decode("utf-8", "{CESU8}")'
            self.line(f"if {count} >= 0:")
            self.line(f"    stop = offset + {count}")
            self.line("    if stop > end: raise Unfit")
            self.line(f"    {value} = {read}")
            self.line("    offset = stop")
            self._null_or_unfit(count, value)
        return value

    def _vector(self, kind: VectorType, count: str, value: str) -> None:
        items = self.fresh("items")
        self.line(f"if {count} >= 0:")
        self.indent()
        self.line(f"if {count} * {max(kind.element.min_size, 1)} > end - offset: raise Unfit")
        self.line(f"{items} = []")
        self.line(f"for _ in range({count}):")
        self.indent()
        element = self._value(kind.element)
        self._flush()
        self.line(f"{items}.append({element})")
        self.dedent()
        self.line(f"{value} = tuple({items})")
        self.dedent()
        self._null_or_unfit(count, value)

    def _null_or_unfit(self, count: str, value: str) -> None:
        self.line(f"elif {count} == -1: {value} = None")
        self.line("else: raise Unfit")

    def _optional(self, kind: FixedType) -> str:
        self._flush()
        value = self.fresh("v")
        self.line("if offset < end:")
        self.line(f"    ({value},) = {self.struct('unpack', kind.code)}(buffer, offset)")
        self.line(f"    offset += {kind.size}")
        self.line(f"else: {value} = None")
        return value

    def _fixed(self, code: str) -> str:
        """The name of a variable that gets its value by the next `_flush`."""
        target = self.fresh("v")
        self._codes += code
        self._targets.append(target)
        return target

    def _flush(self) -> None:
        """Writes one unpack for all fixed fields since the last one."""
        if self._codes:
            targets = "".join(target + ", " for target in self._targets).strip()
            self.line(f"({targets}) = {self.struct('unpack', self._codes)}(buffer, offset)")
            self.line(f"offset += {struct.calcsize('>' + self._codes)}")
            self._codes, self._targets = "", []


class _Encoder(_Writer):
    """Writes `encode(record) -> bytes`."""

    def __init__(self) -> None:
        super().__init__()
        self._codes = ""
        self._values: list[str] = []
        self._parts: list[str] = []

    def write(self, cls: RecordMeta) -> str:
        self._record(cls, "record")
        self._flush()
        parts = self._parts or ['b""']
        self.line(f"return {parts[0]}" if len(parts) == 1 else f"return join(({', '.join(parts)}))")
        return "def encode(record):\n" + "\n".join(self.lines) + "\n"

    def _record(self, cls: RecordMeta, variable: str) -> None:
        values = [self.fresh("v") for _ in cls.FIELDS]
        # Compare the class: any tuple of the right length could be unpacked.
        self.names[f"cls_{cls.__name__}"] = cls
        self.line(f"if type({variable}) is not cls_{cls.__name__}: raise TypeError")
        self.line(f"({''.join(value + ', ' for value in values).strip()}) = {variable}")
        for value, field in zip(values, cls.FIELDS):
            self._value(field.type, value)

    def _value(self, kind: JuteType, value: str) -> None:
        if isinstance(kind, NestedType):
            self._record(kind.record, value)
        elif isinstance(kind, FixedType):
            if kind.optional:
                self._flush()
                data = self.fresh("b")
                self.line(f"if {value} is not None and type({value}) is not bool: raise TypeError")
                self.line(f'{data} = b"" if {value} is None else {self.struct("pack", kind.code)}({value})')
                self._parts.append(data)
            else:
                if kind.code == "?":  # struct would pack any object by its truth value
                    self.line(f"if {value} is not True and {value} is not False: raise TypeError")
                self._codes += kind.code
                self._values.append(value)
        else:
            data, count = self.fresh("b"), self.fresh("n")
            self.line(f"if {value} is None:")
            self.line(f'    {data} = b""; {count} = -1')
            self.line("else:")
            self.indent()
            if isinstance(kind, VectorType):
                self._vector(kind, value, data, count)
            else:
                read = f"{value} if type({value}) is bytes else bytes_of({value})"
                self.line(f"{data} = {read if isinstance(kind, BufferType) else value + '.encode()'}")
                self.line(f"{count} = len({data})")
            self.dedent()
            self._codes += "i"
            self._values.append(count)
            self._flush()
            self._parts.append(data)

    def _vector(self, kind: VectorType, value: str, data: str, count: str) -> None:
        """Writes the encoding of a vector: each element by a function of its own, then all joined."""
        self.names[f"encode_{data}"] = _element_encoder(kind.element)
        self.line(f"{count} = len(items_of({value}))")
        self.line(f"{data} = join(map(encode_{data}, {value}))")

    def _flush(self) -> None:
        if self._codes:
            self._parts.append(f"{self.struct('pack', self._codes)}({', '.join(self._values)})")
            self._codes, self._values = "", []


def _element_encoder(kind: JuteType) -> Callable[[Any], bytes]:
    """The encoder of one element of a vector: that of the record, or one of a single field of this type."""
    if isinstance(kind, NestedType):
        return kind.record.make_codec().encode
    writer = _Encoder()
    writer._value(kind, "item")
    writer._flush()
    body = "\n".join(writer.lines)
    source = f"def encode_item(item):\n{body}\n    return join(({', '.join(writer._parts)},))\n"
    return _compile(source, writer.names)["encode_item"]  # type: ignore[no-any-return]
