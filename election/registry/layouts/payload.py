"""JSON objects as data of znodes, read as Jackson and Gson read them.

null counts as an absent field, and a number may be written as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from ...errors import RegistryError

T = TypeVar("T")


class PayloadError(RegistryError):
    """The data of a znode is not what its layout says. The message has the field, and what was expected."""


def load(data: bytes | None) -> dict[str, Any]:
    """The fields of the object. Raises PayloadError."""
    try:
        fields = json.loads((data or b"").decode())
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"expected JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict):
        raise PayloadError(f"expected a JSON object, got {fields!r:.40}")
    return fields


def dump(fields: dict[str, Any], extra: Mapping[str, Any]) -> bytes:
    """The object of these fields, then those of `extra` that are not among them. Raises RegistryError for a value that
    JSON cannot hold."""
    fields.update((name, value) for name, value in extra.items() if name not in fields)
    try:
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RegistryError(f"no JSON can be made of {fields!r:.80}: {error}") from None


# --- fields, removed from the object; PayloadError if one is of the wrong type


def take(fields: dict[str, Any], name: str, kind: type, default: T) -> Any | T:
    """The value of a field; the default for null or an absent field."""
    value = fields.pop(name, None)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise PayloadError(f"{name}: expected {kind.__name__}, got {value!r:.40}")
    return value


def take_text(fields: dict[str, Any], name: str) -> str | None:
    """The same for text, which may be written as a number or a boolean."""
    value = fields.pop(name, None)
    if value is not None and text_of(value) is None:
        raise PayloadError(f"{name}: expected str, got {value!r:.40}")
    return text_of(value)


def take_number(fields: dict[str, Any], name: str) -> int | None:
    """The same for a whole number, which may be written as text. Blank text counts as absent."""
    value = fields.pop(name, None)
    is_absent = value is None or (isinstance(value, str) and not value.strip())
    if not is_absent and number_of(value) is None:
        raise PayloadError(f"{name}: expected int, got {value!r:.40}")
    return number_of(value)


# --- values; None if one is of the wrong type


def text_of(value: object) -> str | None:
    """A scalar as text; None for null, lists and objects."""
    if value is None or isinstance(value, (list, dict)):
        return None
    return value if isinstance(value, str) else json.dumps(value)


_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,19}\s*", re.ASCII).fullmatch


def number_of(value: object) -> int | None:
    """A whole number, given as a number or as text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def only(value: Any, kind: type[T]) -> T | None:
    """The value if it is of that type."""
    return value if isinstance(value, kind) else None
