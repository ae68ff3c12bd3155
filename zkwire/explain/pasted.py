"""Bytes as people paste them: as xxd, hexdump, od, strace, Wireshark or a language prints them, base64, or plain bytes.

A text is read right, or it is refused with a reason; it is never read as other bytes. Each way to read it is a row of
`FORMS`. Every row is tried on the whole text, the rows that recognise their lines first. If several ways give different
bytes, and only one of them gives whole frames, that one is taken, and a note says so. If not, the text is refused, the
message names the ways, and the user chooses by `--format`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import NamedTuple

from ..frames import LENGTH_SIZE, MAX_REPLY, REQUEST_HEADER_SIZE, length_at
from ..text import counted
from .pasted_dumps import CELLS, Found, NotBytes, cell_bytes, dump, with_and_without_padding

__all__ = ["FORMATS", "FORMS", "Found", "NotBytes", "pasted_bytes", "read_pasted", "text_of"]

#: No frame begins with a higher byte.
_LARGEST_FIRST = MAX_REPLY.to_bytes(4, "big")[:1]

#: The values of `--format`, for digits that can be read in several ways.
FORMATS = ["hex", "base64", "bytes", "decimal", "octal", "words", "text"]

_NAMES = {"hex": "hexadecimal", "words": "numbers with the low byte first", "text": "text with escapes"}


class Form(NamedTuple):
    """A way to read a text. `read` returns an empty list for a text of another form, and raises NotBytes for a text of
    this form that leaves bytes out or is not whole."""

    name: str
    example: str
    read: Callable[[str], list[Found]]


def pasted_bytes(data: bytes, form: str | None = None) -> bytes:
    """The bytes that `data` means: see `read_pasted`."""
    return read_pasted(data, form).data


def read_pasted(data: bytes, form: str | None = None) -> Found:
    """The bytes that `data` means, and the form that it has. `form` is one of FORMATS; None: it is found out.

    A frame's first byte is a zero, which no text has: data that holds one is bytes, unless it is text in UTF-16.

    Raises:
        NotBytes: says what is wrong.
    """
    as_it_is = Found("bytes", "bytes", data)
    if form == "bytes":
        return as_it_is
    text = _text(data)
    if text is None:
        if form is None:
            return _as_latin(data) or as_it_is
        raise NotBytes(f"this is not {_NAMES.get(form, form)}: it is not text at all")
    text = _without_colours(text)
    if not text.strip():
        return Found("nothing", "bytes", b"")
    found = next((found for one in SETTLED_BY_LINES if (found := one.read(text))), None)
    if found is None:
        if any(line.strip() == "*" for line in text.split("\n")):
            raise NotBytes(
                "a star stands for rows like the one above it, and without offsets their number is unknown: use od -v"
            )
        found = [each for one in NUMBERS for each in one.read(text)]
    if form is None:  # any word could be base64, so bytes of it are taken only if they begin as a frame
        found = [each for each in found if each.kind != "base64" or each.data[:1] <= _LARGEST_FIRST]
    else:
        escapes = [each for each in found if each.kind == "text" and form == "hex"]
        found = [each for each in found if each.kind == form] or escapes
    if found:
        return _decided(found)
    raise NotBytes(_reason(text, form))


def _as_latin(data: bytes) -> Found | None:
    """What text in an older encoding means, such as a dump with a masked password; None if it is not text."""
    if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f]", data):
        return None
    try:
        return read_pasted(data.decode("latin-1").encode())
    except NotBytes:
        return None


def text_of(data: bytes) -> str:
    """The text of a file or pipe: UTF-8, or UTF-16 as PowerShell's `>` writes it, with or without a byte order mark.

    Raises:
        NotBytes: it is not text.
    """
    text = _text(data)
    if text is None:
        raise NotBytes("this is not text: it is neither UTF-8 nor UTF-16")
    return text


def _text(data: bytes) -> str | None:
    """The text; None if these are bytes."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if len(data) > 2 and data.startswith(mark) and (text := _decoded(data[2:], encoding)) is not None:
            return text
    if b"\0" not in data:
        return _decoded(data.removeprefix(b"\xef\xbb\xbf"), "utf-8")
    for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        # A few bytes can be either: 0 0x61 is also the beginning of a length.
        if len(data) >= 8 and not any(zeros) and (text := _decoded(data, encoding)) is not None:
            return text if "".join(text.split()).isprintable() else None
    return None


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", text)


def _decided(found: list[Found]) -> Found:
    """The one way to read the text that is right.

    Raises:
        NotBytes: they give different bytes, and nothing tells which are meant.
    """
    if len({each.data for each in found}) == 1:
        return found[0]
    whole = [each for each in found if _are_frames(each.data)]
    if len({each.data for each in whole}) == 1:
        others = sorted({each.form for each in found if each.data != whole[0].data})
        note = f"read as {whole[0].form}, since only so it is whole frames, not as {' or '.join(others)}"
        return whole[0]._replace(notes=(*whole[0].notes, note))
    ways: dict[bytes, Found] = {}
    for each in found:
        ways.setdefault(each.data, each)
    named = " or ".join(
        f"{each.form} (--format {each.kind})" if each.kind in FORMATS else each.form for each in [*ways.values()][:3]
    )
    raise NotBytes(
        f"this can be read as {named}, which are different bytes: say which, or give two hexadecimal digits a byte"
    )


def _are_frames(data: bytes) -> bool:
    """Whether the bytes are one frame or several, from the first byte to the last."""
    at = 0
    while at < len(data):
        length = length_at(data, at)
        if length is None or not REQUEST_HEADER_SIZE <= length <= MAX_REPLY:
            return False
        at += LENGTH_SIZE + length
    return at == len(data) > 0


_ACCEPTED = "a dump, a list of numbers or text with escapes"


def _reason(text: str, form: str | None) -> str:
    if form == "base64":
        return "this is neither hexadecimal nor base64"
    if form is not None:
        return f"this is not {_NAMES.get(form, form)}"
    stripped = text.strip()
    if re.fullmatch(r"(?:0[xX])?[0-9a-fA-F]+", stripped):
        return f"{counted(len(stripped), 'hexadecimal digit', 'is')} no whole number of bytes"
    seen = ""
    for number, line in enumerate(text.split("\n"), 1):
        if word := next((word for word in line.split() if re.search("[^0-9a-fA-FxX,:;]", word)), None):
            seen = f": what is {word!r:.40} in line {number}?"
            break
        if match := re.search(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{2})*[0-9a-fA-F](?![0-9a-fA-F])", line):
            seen = f": {match[0]!r:.40} in line {number} has an odd number of digits"
            break
    return f"this is neither hexadecimal nor base64 of a frame, nor {_ACCEPTED}{seen}"


# --- text with escapes

_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34, "?": 63}
_PIECE = re.compile(
    r"\\(?:x(?P<hex>[0-9a-fA-F]{1,2})|(?P<octal>[0-7]{1,3})|u(?P<four>[0-9a-fA-F]{4})|u\{(?P<braces>[0-9a-fA-F]+)\}"
    r"|(?P<letter>.))|(?P<plain>[^\\])",
    re.DOTALL,
)


def _unescaped(text: str, rust: bool) -> bytes | None:
    r"""The bytes of a text between quotes; None if this way of escaping has no such escape.

    C, Python, Go, Java and JavaScript read \01 as one byte, or refuse it. Rust reads a zero and the digit 1.
    """
    data = bytearray()
    at = 0
    while match := _PIECE.match(text, at):
        at = match.end()
        kind = match.lastgroup
        part = match[kind or 0]
        if kind == "octal":
            if rust:
                if part[0] != "0":
                    return None
                at = match.start() + 2
                part = "0"
            value = int(part, 8)
        elif kind in ("hex", "four", "braces"):
            if (kind == "braces") != (rust and "u{" in match[0]) or (rust and kind == "four"):
                return None
            value = int(part, 16)
            if kind != "hex" and value > 0x7F:
                raise NotBytes(
                    f"{match[0]} is several bytes in some languages and one byte in others: write \\x with two digits"
                )
        elif kind == "letter":
            if part not in _ESCAPES or (rust and part in "abfv?"):
                if rust:
                    return None
                raise NotBytes(f"{match[0]!r} is not an escape that can be read: write \\x with two digits")
            value = _ESCAPES[part]
        else:
            value = ord(part)
        if value > (0xFF if kind != "plain" else 0x7E) or (kind == "plain" and value < 0x20):
            raise NotBytes(f"{match[0]!r} in a text with escapes is not a byte: write \\x with two digits")
        data.append(value)
    return bytes(data) if at == len(text) else None


def _text_found(form: str, parts: list[str]) -> list[Found]:
    found = []
    for name, rust in ((form, False), ("Rust's text with escapes", True)):
        pieces = [_unescaped(part, rust) for part in parts]
        if None not in pieces:
            found.append(Found(name, "text", b"".join(piece for piece in pieces if piece is not None)))
    if not found:
        raise NotBytes("no language has all of these escapes: write \\x with two digits")
    return found


_QUOTED = re.compile(r"""[bB]?(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)')(\.\.\.|…)?""")
_BEFORE_QUOTES = re.compile(
    r"(?:[A-Za-z_][\w\s*.:<>]*(?:\[\d*\]\s*:?)?=)?(?:bytearray|bytes|\[\]byte|Bytes|Some|Ok|&|new|[\s({\[])*"
)
_BETWEEN_QUOTES = re.compile(r"(?:\s|\\\n|[+,])*")
_AFTER_QUOTES = re.compile(r"(?:\s|[\])},;])*")


def _quoted(text: str) -> list[Found]:
    r"""b'\x00\x00', "\0\0" "\0\10": string literals, at least one of them with an escape."""
    literals = list(_QUOTED.finditer(text))
    if not any("\\" in literal[0] for literal in literals) or re.match(r"\s*\\", text):
        return []
    if cut := next((literal for literal in literals if literal[3]), None):
        raise NotBytes(f"the text is not whole: {cut[0][-12:]!r} is where it was cut")
    edges = [0, *(place for literal in literals for place in literal.span()), len(text)]
    outside = [text[start:end] for start, end in zip(edges[::2], edges[1::2])]
    patterns = [_BEFORE_QUOTES, *[_BETWEEN_QUOTES] * (len(literals) - 1), _AFTER_QUOTES]
    for pattern, part in zip(patterns, outside):
        if not pattern.fullmatch(part):
            raise NotBytes(f"{part.strip()!r:.60} beside the quoted text is not understood: give only the quoted text")
    return _text_found("text with escapes", [literal[1] or literal[2] or "" for literal in literals])


def _bare_escapes(text: str) -> list[Found]:
    r"""\x00\x00\x00\x08: escapes without quotes."""
    stripped = text.strip()
    if re.fullmatch(r"[bB](?:\\.)+.*", stripped):
        raise NotBytes(
            "this begins with b and an escape: the shell removed the quotes; put others around them, \"b'...'\""
        )
    if not stripped.startswith("\\"):
        return []
    if re.fullmatch(r"(?:\\x[0-9a-fA-F]{2}\s*)+", stripped):
        stripped = "".join(stripped.split())
    if re.search(r"\s", stripped):
        raise NotBytes("there are blanks between escapes, but no quotes: put the text into quotes")
    return _text_found("text with escapes", [stripped])


_CALL = re.compile(
    r"(?:\[pid +\d+\] |\d+ +)?(?:[\d:.]+ )?"
    r"(read|recv|recvfrom|recvmsg|readv|write|send|sendto|sendmsg|writev)\((\d+)(?:<.*?>)?, (.*)\) += (-?\d+)( .*)?"
)
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')


def _strace(text: str) -> list[Found]:
    r"""write(3, "\0\0\0\10\377\377\377\376\0\0\0\v", 12) = 12: the calls that move bytes, of one descriptor."""
    lines = text.split("\n")
    calls = [(number, match) for number, line in enumerate(lines, 1) if (match := _CALL.fullmatch(line.strip()))]
    if any("<unfinished" in line and re.search(r"\b(?:read|recv|write|send)\w*\(\d", line) for line in lines):
        raise NotBytes(
            "strace shows one call in two lines here (unfinished, resumed): trace one thread, or use zkwire tap"
        )
    if not calls:
        return []
    data = b""
    descriptors = []
    for number, call in calls:
        name, descriptor, arguments, result = call[1], call[2], call[3], int(call[4])
        if result <= 0:
            continue
        parts = _ARGUMENT.findall(arguments)
        if any(cut for _, cut in parts):
            raise NotBytes(f"line {number}: strace has cut the text of {name}: run it with -s 1000000")
        moved = b"".join(_unescaped(part, rust=False) or b"" for part, _ in parts)
        if len(moved) != result:
            raise NotBytes(f"line {number}: {name} moved {counted(result, 'byte')}, but {len(moved)} are shown")
        data += moved
        descriptors.append(descriptor)
    if len(set(descriptors)) > 1:
        raise NotBytes(f"strace shows descriptors {', '.join(sorted(set(descriptors)))}: give the calls of one of them")
    for number, line in enumerate(lines, 1):
        if "\\" in line and '"' in line and not _CALL.fullmatch(line.strip()):
            raise NotBytes(f"line {number} is not a whole call: {line.strip()!r:.60}")
    return [Found("strace", "text", data)] if data else []


# --- lists of numbers

_BRACKETED = re.compile(
    r"(?P<before>(?:[A-Za-z_][\w\s*&.:;<>\[\]]*=)?"
    r"(?:(?:new|const|bytes|bytearray|byte|uint8_t|uint8|u8|i8|Buffer\.from|Buffer|Uint8Array|Int8Array|array)\b|vec!|"
    r"\[\d*\]|&|\((?P<count>\d+)\)|\(|'[bB]',|\s)*)"
    r"(?:\[(?P<square>[^\[\]]*)\]|\{(?P<curly>[^{}]*)\}|\((?P<round>[^()]*)\)|<<(?P<angle>[^<>]*)>>)"
    r"(?P<after>[\s)\]};,]*(?:unsigned int \w+ = (?P<size>\d+);\s*)?)"
)
_NODE_JSON = re.compile(
    r"""\s*\{\s*["']?type["']?\s*:\s*["']Buffer["']\s*,\s*["']?data["']?\s*:\s*(\[[\d\s,]*\])\s*\}\s*"""
)
_NODE_BUFFER = re.compile(r"<(?:\w*Buffer)?((?:\s*[0-9a-fA-F]{2}(?![0-9a-fA-F]))*)(\s*\.\.\. \d+ more bytes?)?>")
_AROUND_BUFFERS = re.compile(r"(?:[\w.]+\s*[:=]|[\s{}\[\](),;])*")
_CAST = re.compile(r"\((?:byte|char|int8_t|uint8_t)\)\s*")


def _numbers(text: str) -> list[Found]:
    """[0, 0, 0, 8], [0 0 0 8], {0x0, 0x8, (byte) 0xff}, 0x00 0x08: lists of Python, Go, Rust, Java, JavaScript, C."""
    if match := re.search(r"\.\.\. \d+ more items?", text):
        raise NotBytes(f"this list is not whole: {match[0]!r}")
    uncommented = _CAST.sub("", _without_comments(text)) if re.search(r"[\[{(]", text) else text
    lists = _bracketed(uncommented)
    inners = [
        next(part for part in found.group("square", "curly", "round", "angle") if part is not None) for found in lists
    ]
    parts = [_items(inner) for inner in inners or [uncommented]]
    if None in parts or any(text.count(opening) != text.count(closing) for opening, closing in ("()", "[]", "{}")):
        return []
    for found, part in zip(lists, parts):
        for said in found.group("count", "size"):
            if said is not None and int(said) != len(part or []):
                raise NotBytes(f"the list has {counted(len(part or []), 'number')}, but is said to have {said}")
    items = [item for part in parts for item in part or []]
    return _list_found(items, is_bare=not lists, is_spaced=not any("," in inner for inner in inners or [uncommented]))


def _without_comments(text: str) -> str:
    """The text without the comments of C."""
    if "*/" in text:
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return re.sub(r"//[^\n]*", " ", text)


def _bracketed(text: str) -> list[re.Match[str]]:
    """The list in brackets that the text is, or that each of its lines is."""
    if found := _BRACKETED.fullmatch(text.strip()):
        return [found]
    lines = [_BRACKETED.fullmatch(line.strip()) for line in text.split("\n") if line.strip()]
    return [line for line in lines if line is not None] if None not in lines else []


def _items(inner: str) -> list[str] | None:
    """The items of a list; None if it is none."""
    stripped = inner.strip().removesuffix(",")
    items = [item.strip() for item in stripped.split(",")] if "," in stripped else stripped.split()
    items = [item[1:-1] if len(item) > 2 and item[0] == item[-1] and item[0] in "'\"" else item for item in items]
    items = [re.sub(r"(?<=\d)[ui]8$", "", item) for item in items]
    whole = all(re.fullmatch(r"-?(?:0[xX])?[0-9a-fA-F]+", item) for item in items)
    return items if items and whole else None


def _list_found(items: list[str], *, is_bare: bool, is_spaced: bool) -> list[Found]:
    prefixed = [bool(re.match("0[xX]", item)) for item in items]
    if any(prefixed):
        return _prefixed_found(items)
    found = []
    pairs = all(re.fullmatch("[0-9a-fA-F]{2}", item) for item in items)
    if pairs:
        found.append(Found("hexadecimal", "hex", bytes.fromhex("".join(items))))
    values = [_decimal(item) for item in items]
    # Two digits each and only blanks between them: these are hexadecimal, since nobody writes decimal bytes like that.
    if not (is_bare and is_spaced and pairs) and None not in values:
        if min(value or 0 for value in values) < 0 and max(value or 0 for value in values) > 127:
            raise NotBytes("a list of bytes has either numbers below 0 or numbers above 127, and this has both")
        found.append(Found("decimal numbers", "decimal", bytes((value or 0) & 0xFF for value in values)))
    if all(re.fullmatch("[0-9a-fA-F]|[1-9a-fA-F][0-9a-fA-F]", item) for item in items) and not (pairs and is_spaced):
        found.append(Found("hexadecimal numbers", "hex", bytes(int(item, 16) for item in items)))
    if len(items) > 1 and all(re.fullmatch("[0-3][0-7]{2}", item) for item in items):
        found.append(Found("octal numbers", "octal", bytes(int(item, 8) for item in items)))
    return found


def _decimal(item: str) -> int | None:
    if not re.fullmatch("0|-?[1-9][0-9]{0,2}", item) or not -128 <= int(item) <= 255:
        return None
    return int(item)


def _prefixed_found(items: list[str]) -> list[Found]:
    """The bytes of numbers of which some have 0x before them; those without it are decimal."""
    hexed = {item: item[2:] for item in items if item[:2] in ("0x", "0X")}
    if any(len(digits) > 2 for digits in hexed.values()):
        all_hexed = all(item in hexed for item in items)
        return _grouped([item[2:] for item in items], low_byte_first=len(items) > 1) if all_hexed else []
    values = [int(hexed[item], 16) if item in hexed else _decimal(item) for item in items]
    if None in values:
        return []
    return [Found("numbers", "hex", bytes((value or 0) & 0xFF for value in values))]


def _buffer(text: str) -> list[Found]:
    """<Buffer 00 00 00 08>: as node prints one, or writes it as JSON."""
    if match := _NODE_JSON.fullmatch(text):
        return [found for found in _numbers(match[1]) if found.kind == "decimal"]
    shown = _NODE_BUFFER.findall(text)
    if not shown or not _AROUND_BUFFERS.fullmatch(_NODE_BUFFER.sub(" ", text)):
        return []
    if cut := next((rest for _, rest in shown if rest), None):
        raise NotBytes(f"node has not shown all bytes: {cut.strip()!r}; print buffer.toString('hex')")
    return [Found("node's Buffer", "hex", b"".join(bytes.fromhex(pairs) for pairs, _ in shown))]


# --- plain digits

_FIELD = re.compile(r"(?:Data|TCP payload|TCP segment data)(?: \(\d+ bytes?\))?: *([0-9a-fA-F]+)(…|\.\.\.|\[…\])?")
_FIELD_NOTE = re.compile(r"Data \(\d+ bytes?\)|\[Length: (\d+)\]|")


def _fields(text: str) -> list[Found]:
    """Data: 00000008fffffffe0000000b: a row of Wireshark's tree."""
    data = b""
    for number, line in enumerate(text.split("\n"), 1):
        if match := _FIELD.fullmatch(line.strip()):
            if match[2] or len(match[1]) % 2:
                raise NotBytes(
                    f"line {number}: Wireshark has cut this row: copy it as a hex stream, or use zkwire read"
                )
            last = bytes.fromhex(match[1])
            data += last
        elif (note := _FIELD_NOTE.fullmatch(line.strip())) is None:
            return []
        elif note[1] and data and int(note[1]) != len(last):
            raise NotBytes(f"line {number}: the row above it has {counted(len(last), 'byte')}, not {note[1]}")
    return [Found("Wireshark's row", "hex", data)] if data else []


_TOKEN = re.compile("[0-9a-fA-F]+")


def _hexadecimal(text: str) -> list[Found]:
    """00000008 fffffffe 0000000b: digits in groups, or in one."""
    stripped = _unquoted(text)
    tokens = _TOKEN.findall(stripped)
    between = [part.strip() for part in _TOKEN.split(stripped)]
    separators = {*between[1:-1]} - {""}
    if not tokens or between[0] or between[-1].strip(";,") or len(separators) > 1 or not separators <= {*",;:-_"}:
        return []
    if any(len(token) % 2 for token in tokens):
        return []
    lines = [re.findall(_TOKEN, line) for line in stripped.split("\n")]
    for number, line in enumerate(lines, 1):
        if len(line) > 1 and len(line[0]) > len(line[1]) and len(line[0]) >= 4:
            raise NotBytes(
                f"{line[0]!r} at the start of line {number} can be an offset, or {counted(len(line[0]) // 2, 'byte')}"
            )
    shown_by_od = "-" not in between and all(re.match(r" \S", line) for line in text.rstrip().split("\n"))
    return _grouped(tokens, low_byte_first=shown_by_od)


def _grouped(tokens: list[str], *, low_byte_first: bool) -> list[Found]:
    """Groups of digits: bytes in order, or numbers whose last two digits are the first byte, as od -x writes them.

    `low_byte_first`: they may be such numbers; else they are considered only if that gives whole frames.
    """
    found = []
    if all(len(token) % 2 == 0 for token in tokens):
        found.append(Found("hexadecimal", "hex", bytes.fromhex("".join(tokens))))
    if len({len(token) for token in tokens}) == 1 and len(tokens[0]) in (4, 8, 16):
        words = b"".join(bytes.fromhex(token)[::-1] for token in tokens)
        if low_byte_first or _are_frames(words):
            found.append(Found("numbers with the low byte first", "words", words))
    return found


def _cells(text: str) -> list[Found]:
    """Rows of od -A n: numbers in cells, without offsets."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    if not lines or not all(line.startswith(" ") for line in lines):
        return []
    found: list[Found] = []
    for cell in CELLS:
        for big in (False, True) if cell.size > 1 else (False,):
            pieces = [cell_bytes(cell, line, big) for line in lines]
            if None not in pieces:
                data = b"".join(piece for piece in pieces if piece is not None)
                found += with_and_without_padding(cell, big, data, cell.size)
    return found


def _plain_quoted(text: str) -> list[Found]:
    """ "/app": quoted text without an escape, which is more often digits."""
    inner = _unquoted(text)
    if text.strip()[0] not in "'\"" or not re.fullmatch("[ -~]+", inner):
        return []
    return [Found("the text between the quotes", "text", inner.encode())]


def _unquoted(text: str) -> str:
    stripped = text.strip().removesuffix(",").removesuffix(";")
    quoted = len(stripped) > 1 and stripped[0] == stripped[-1] and stripped[0] in "'\""
    return stripped[1:-1] if quoted else stripped


def _base64(text: str) -> list[Found]:
    """AAAACP////4AAAAL: in one line, or in lines of one length."""
    pieces = _unquoted(text).split()
    if any(len(piece) % 4 for piece in pieces[:-1]):
        return []
    joined = "".join(pieces)
    if "=" not in joined:
        joined += "=" * (-len(joined) % 4)
    try:
        data = base64.b64decode(joined.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        return []
    return [Found("base64", "base64", data)] if data else []


#: These claim a text by its lines: the first that gives something has it.
SETTLED_BY_LINES = [
    Form("a dump", "00000000: 0000 0008 ffff fffe 0000 000b  ............", dump),
    Form("strace", r'write(3, "\0\0\0\10\377\377\377\376\0\0\0\v", 12) = 12', _strace),
    Form("quoted text", r"b'\x00\x00\x00\x08\xff\xff\xff\xfe\x00\x00\x00\x0b'", _quoted),
    Form("escapes", r"\x00\x00\x00\x08\xff\xff\xff\xfe\x00\x00\x00\x0b", _bare_escapes),
    Form("node's Buffer", "<Buffer 00 00 00 08 ff ff ff fe 00 00 00 0b>", _buffer),
    Form("Wireshark's row", "Data: 00000008fffffffe0000000b\n[Length: 12]", _fields),
]

#: These are tried together.
NUMBERS = [
    Form("a list of numbers", "[0, 0, 0, 8, 255, 255, 255, 254, 0, 0, 0, 11]", _numbers),
    Form("hexadecimal", "00000008 fffffffe 0000000b", _hexadecimal),
    Form("od -A n", "   0   0   0   8 255 255 255 254   0   0   0  11", _cells),
    Form("base64", "AAAACP////4AAAAL", _base64),
    Form("quoted text without escapes", '"AAAACP////4AAAAL"', _plain_quoted),
]

FORMS = [*SETTLED_BY_LINES, *NUMBERS]
