"""Values as JSON has them. All JSON of zkwire, and of election, keeps to this:

    zxid, session id  a string in hexadecimal, as servers log it, "0x100000a1b2c0000": as a number it would lose digits
                      in programs that read JSON's numbers as floats
    bytes of a field  a string where they are UTF-8, {"base64": "/wA="} where they are not, null where there are none
    secret bytes      how many they are, "<16 bytes>", unless they were asked for
    frames            a string of hexadecimal digits, which `zkwire explain` takes; parts of frames too
    other numbers     a number: times are seconds since 1970, and keys that end in _ms have milliseconds

Keys have the names of the fields. A fencing token is a number, though it is a zxid: programs compare it.
"""

from __future__ import annotations

import base64
from typing import Any

from ..codes import KeeperState
from ..jute import Record
from ..multi import MultiItem, MultiSequence
from ..operations import operation_name
from ..text import counted, hexadecimal, name_of

#: Fields whose bytes are not shown: a reader of the dump could act as the client with them.
SECRETS = frozenset({"AuthPacket.auth", "ConnectRequest.passwd", "ConnectResponse.passwd"})

#: Fields that are shown in hexadecimal, as servers log them.
HEXADECIMAL = frozenset(
    {"session_id", "zxid", "czxid", "mzxid", "pzxid", "ephemeral_owner", "last_zxid_seen", "relative_zxid"}
)


def bytes_as_json(data: bytes | None) -> Any:
    """A string if the bytes are UTF-8, else {"base64": ...}. None becomes null."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data or b"").decode()}


def field_as_json(name: str, value: Any) -> Any:
    """The value of a field: a number, a boolean, text or bytes. `name` is the field's, or a path that ends in it."""
    if isinstance(value, (bytes, bytearray)):
        return bytes_as_json(bytes(value))
    if isinstance(value, int) and name.rpartition(".")[2] in HEXADECIMAL:
        return hexadecimal(value)
    return value


def as_json(value: Any, *, show_secrets: bool = False, name: str = "") -> Any:
    """A record, a multi, or a value within one, as JSON. Of secret fields only the length is shown, unless
    `show_secrets`. `name` is that of the value's field, if it has one: "ConnectRequest.passwd"."""
    match value:
        case MultiSequence():
            return [as_json(item, show_secrets=show_secrets) for item in value]
        case MultiItem(header=header, body=body):
            what = {"op": operation_name(header.type)}
            return what if body is None else what | as_json(body, show_secrets=show_secrets)
        case Record():
            kind = type(value).__name__
            return {
                field.name: as_json(each, show_secrets=show_secrets, name=f"{kind}.{field.name}")
                for field, each in zip(type(value).FIELDS, value)
            }
        case tuple():
            return [as_json(each, show_secrets=show_secrets) for each in value]
        case bytes() if name in SECRETS and not show_secrets:
            return f"<{counted(len(value), 'byte')}>"
        case int() if name == "WatcherEvent.state":
            return name_of(KeeperState, value)
    return field_as_json(name, value)
