"""Jute, ZooKeeper's serialization format: types, records, and two codecs made from one declaration.

A record is declared once, as a class that reads like its `.jute` text:

    class GetDataRequest(Record):
        path: UString
        watch: Boolean

From that declaration come `GetDataRequest.WIRE`, a construct `Struct` that explains (zkwire/jute/wire.py), and the
fused codec behind `encode()` and `decode()` that is used on the hot path (zkwire/jute/fused.py). The package knows
nothing of ZooKeeper.
"""

from .errors import JuteError
from .record import Decodable, Encodable, Field, Record, TypedTuple, decode, decode_at, encode
from .types import (
    Boolean,
    Buffer,
    Byte,
    Double,
    Float,
    Int,
    JuteType,
    Long,
    Secret,
    TrailingBoolean,
    UString,
    Vector,
)

__all__ = [
    "Boolean",
    "Buffer",
    "Byte",
    "Decodable",
    "Double",
    "Encodable",
    "Field",
    "Float",
    "Int",
    "JuteError",
    "JuteType",
    "Long",
    "Record",
    "Secret",
    "TrailingBoolean",
    "TypedTuple",
    "UString",
    "Vector",
    "decode",
    "decode_at",
    "encode",
]
