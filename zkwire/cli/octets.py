"""Bytes as people have them: hexadecimal in any dress, base64, or as they are."""

from __future__ import annotations

import base64
import binascii
import re

from ..framing import MAX_REPLY

#: No frame begins with a higher byte.
_LARGEST_FIRST = MAX_REPLY.to_bytes(4, "big")[:1]

_DUMP_ROW = re.compile(r"\s*(?:0x)?([0-9a-fA-F]{4,8})(?::\s*|\s{2,}|\t|\s*$)(.*)")
_PAIRS = re.compile(r"(?:[0-9a-fA-F]{2}){1,8}")
_DRESS = re.compile(r"0[xX]|\\x|[\s:,;_\-\"'()\[\]{}]")


class NotBytes(ValueError):
    """The text is none of the forms."""


def octets(data: bytes, form: str | None = None) -> bytes:
    """The bytes that `data` means. `form` is "hex", "base64" or "bytes"; None: found out.

    A frame's first byte is a zero, which no text has: what has one is bytes. Text of nothing but hexadecimal digits is
    hexadecimal, although it could be base64. Words could be base64 too, so what is found out to be that has to begin as
    a frame does.

    Raises:
        NotBytes: says what is wrong.
    """
    if form == "bytes" or (form is None and b"\0" in data):
        return data
    try:
        text = data.decode("ascii" if form else "utf-8")
    except UnicodeDecodeError:
        if form is None:
            return data
        raise NotBytes(f"this is no {form}") from None
    if form == "base64":
        return _base64(text)
    if "··" in text or "bytes not shown" in text:
        raise NotBytes("this dump does not show all bytes")
    dump = _dump(text)
    if dump is not None:
        return dump
    digits = _DRESS.sub("", text.removeprefix("b'"))
    if re.fullmatch("[0-9a-fA-F]*", digits):
        if len(digits) % 2:
            raise NotBytes(f"{len(digits)} hexadecimal digits are no whole number of bytes")
        return bytes.fromhex(digits)
    if form == "hex":
        raise NotBytes("this is no hexadecimal")
    found = _base64(text)
    if found[:1] > _LARGEST_FIRST:
        raise NotBytes("this is neither hexadecimal nor base64 of a frame")
    return found


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise NotBytes("this is neither hexadecimal nor base64") from None


def _dump(text: str) -> bytes | None:
    """The bytes of a dump: rows of an offset, bytes, and anything behind them. Rows without an offset are titles and
    comments. None where offsets and bytes do not agree, for then it is no dump.

    xxd, hexdump -C, tcpdump -X, and zkwire's own, which start anew at each frame.
    """
    data = b""
    start = rows = 0
    for line in text.splitlines():
        match = _DUMP_ROW.fullmatch(line)
        if match is None:
            continue
        offset, piece = int(match[1], 16), _row_bytes(match[2])
        if offset == 0 and piece:
            start = len(data)
        if offset != len(data) - start:
            return None
        data += piece
        rows += bool(piece)
    return data if rows else None


def _row_bytes(text: str) -> bytes:
    """The bytes at the start of a row. Two spaces end them, but for the gap in the middle of hexdump -C."""
    groups = re.split(r"\s{2,}|\t", text)
    tokens = groups[0].split(" ")
    if len(tokens) == 8 and len(groups) > 1 and all(len(token) == 2 for token in tokens):
        more = groups[1].split(" ")
        if all(len(token) == 2 and _PAIRS.fullmatch(token) for token in more):
            tokens += more
    data = b""
    for token in tokens:
        if not _PAIRS.fullmatch(token) or len(data) >= 16:
            break
        data += bytes.fromhex(token)
    return data
