"""Jute, ZooKeeper's serialization format: types, records, and two codecs made from one declaration.

A record is declared once, as a class that reads like its `.jute` text:

    class GetDataRequest(Record):
        path: UString
        watch: Boolean

Two codecs are made from that declaration. `encode()` and `decode()` use the fused one, which is fast
(zkwire/jute/fused.py). `GetDataRequest.WIRE` is the other, a construct `Struct`, which says where each field is and
where bytes do not fit (zkwire/jute/wire.py). The package knows nothing about ZooKeeper.
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
