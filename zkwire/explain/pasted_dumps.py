"""Dumps with an offset at the start of each row, of xxd, hexdump, od, tcpdump, Wireshark, Netty and zkwire itself.

Each row has the offset of its bytes. So a missing or altered row is noticed: each offset must be the end of the row
before it, and the text beside the bytes must be the text of these bytes. There may be other lines between the rows
(titles, prompts, sentences), but no line that looks as if it had bytes.

`LAYOUTS` lists the ways to write a row, `CELLS` the ways in which od and hexdump write numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from ..frames import MAX_REPLY
from ..text import counted


class NotBytes(ValueError):
    """The text cannot be read as bytes. The message says what was seen and what can be read."""


class Found(NamedTuple):
    """Bytes that a text can mean. `form` names the way to read it, for messages; `kind` is what `--format` calls it."""

    form: str
    kind: str
    data: bytes
    notes: tuple[str, ...] = ()


class _Row(NamedTuple):
    line: int  # counted from 1
    stream: str  # rows of one stream count their offsets on their own: the indentation, as tshark's follow writes it
    offset: str
    body: str
    repeated: bool  # there is a star before it: the row above is repeated up to this row's offset
    blank: str  # how the text beside the bytes shows a blank


#: Reads one row. The number is the count of its bytes if the next row's offset tells it.
_Reader = Callable[[_Row, "int | None"], bytes]


class _Layout(NamedTuple):
    """A way to write rows. `row` matches one: indentation, offset, and what follows."""

    name: str
    example: str
    row: re.Pattern[str]
    read: Callable[[list[_Row]], list[Found]]
    blank: str = " "


def dump(text: str) -> list[Found]:
    """The bytes of a dump with offsets; an empty list if the text is not such a dump.

    Raises:
        NotBytes: it is one, but a row is missing, altered or cut, or bytes are left out.
    """
    lines = text.split("\n")
    layout = next(filter(None, map(_layout, lines)), None)
    if layout is None:
        return []
    rows: list[_Row] = []
    repeated = False
    for number, line in enumerate(lines, 1):
        if match := layout.row.fullmatch(line.rstrip("\r")):
            rows.append(_Row(number, match[1], match[2], match[3] or "", repeated, layout.blank))
            repeated = False
        elif line.strip() == "*" and rows:
            repeated = True
        elif _hidden.search(line):
            raise NotBytes(f"this dump does not show all bytes: line {number} is {line.strip()!r}")
        elif not (_is_comment(line) or (layout.name == "od" and _SECOND_FORMAT.fullmatch(line))):
            raise NotBytes(f"line {number} is not a row as {layout.name} writes it: {line.strip()!r:.60}")
    if repeated:
        raise NotBytes("a star repeats a row up to the offset in the next line, but the dump ends there")
    found = layout.read(rows)
    if set(rows[0].offset) == {"0"}:
        return found
    note = f"the first row is at offset {rows[0].offset}: the bytes before it are not there"
    return [each._replace(notes=(note, *each.notes)) for each in found]


def _layout(line: str) -> _Layout | None:
    """The layout of this line; None if it is not a row."""
    for layout in LAYOUTS:
        match = layout.row.fullmatch(line.rstrip("\r"))
        if match is None:
            continue
        if layout.name == "od" and not (len(match[2]) in (6, 7) and (match[3] or "").strip()):
            continue
        if layout.name == "hexdump -C" and not (_run(match[3] or "") or _LABEL.fullmatch((match[3] or "").strip())):
            continue
        return layout
    return None


_hidden = re.compile(r"^\s*\.\.\.\s+\d+ bytes not shown")
_WORD = re.compile("[g-zG-Z][a-zA-Z]|[a-zA-Z][g-zG-Z]")
_BYTES_INSIDE = re.compile(r"(?<![\w.:/=])(?:[0-9a-fA-F]{2}){1,8}(?: (?:[0-9a-fA-F]{2}){1,8})+(?![\w.:])")
_MANY_DIGITS = re.compile("(?<![0-9a-zA-Z])[0-9a-fA-F]{20,}(?![0-9a-zA-Z])")
_LIKE_OFFSET = re.compile(r"\s*(?:[0-9a-fA-F]{4,}\b|\W?\w*\d{3,}\w*\W{0,2}(?:\s|$))")
_RULER = re.compile(r"[-=+~#|\s]*|\s*\|  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f \|")
_SECOND_FORMAT = re.compile(r"\s{8,}\S.*")  # od -t x1c: the same bytes once more


def _is_comment(line: str) -> bool:
    """Whether a line beside the rows surely holds no bytes."""
    if _RULER.fullmatch(line):
        return True
    has_bytes = _MANY_DIGITS.search(line) or any(re.search("[0-9]", found[0]) for found in _BYTES_INSIDE.finditer(line))
    return bool(_WORD.search(line)) and not has_bytes and not _LIKE_OFFSET.match(line)


def _follow(rows: list[_Row], base: int, read: _Reader) -> bytes:
    """The bytes of the rows, whose offsets must follow each other. A row at offset 0 begins anew."""
    offsets = [_number(row, base) for row in rows]
    at: dict[str, int] = {}
    data = above = b""
    for place, (row, offset) in enumerate(zip(rows, offsets)):
        expected = at.get(row.stream, offset)
        if row.repeated:
            gap = offset - expected
            if len(above) != 16:
                seen = counted(len(above), "byte")
                raise NotBytes(
                    f"line {row.line}: the star before it repeats a row of {seen}, where 16 are usual: is it cut? "
                    "od -v writes all rows"
                )
            if not 0 < gap <= MAX_REPLY or gap % 16:
                raise NotBytes(
                    f"line {row.line}: the star before it stands for {counted(gap, 'byte')}, which is not a number of "
                    "whole rows"
                )
            data += above * (gap // 16)
            expected = offset
        if offset == 0 and row.body.strip():
            expected = 0
        if offset != expected:
            raise NotBytes(
                f"line {row.line} has offset {row.offset}, but {expected:x} (hexadecimal) follows from the rows above: "
                "a row is missing or altered"
            )
        next_one = next((at for at in range(place + 1, len(rows)) if rows[at].stream == row.stream), None)
        size = None
        if next_one is not None and not rows[next_one].repeated and offsets[next_one] > offset:
            size = offsets[next_one] - offset
        above = read(row, size)
        data += above
        at[row.stream] = expected + len(above)
    return data


def _number(row: _Row, base: int) -> int:
    try:
        return int(row.offset, base)
    except ValueError:
        raise NotBytes(f"line {row.line}: {row.offset!r} is not an offset in base {base}") from None


# --- text beside the bytes

#: The text beside the bytes in dumps of zkwire: `length = 8`, `RequestHeader.xid   int  -2 (PING)`, `(cut)`.
_LABEL = re.compile(r"(?:length|[A-Z][\w.\[\]]*)(?: = | {2,}\S).*|\(\w+\)(?: .*)?")


def _shows(text: str, data: bytes, blank: str) -> bool:
    """Whether `text` is what a tool writes beside `data`. Blanks are not compared: tools set them differently, and
    pasting often removes them at the end of a line."""
    shown = "".join(chr(byte) if 0x21 <= byte <= 0x7E else blank if byte == 0x20 else "." for byte in data)
    return text.replace(" ", "") == shown.replace(" ", "")


def _beside(row: _Row, rest: str, data: bytes, *, labels: bool) -> str:
    """What is beside the bytes of a row: "text", "label" or "nothing"."""
    rest = rest.strip()
    if not rest:
        return "nothing"
    inner = rest[1:-1] if len(rest) > 1 and rest[0] + rest[-1] in ("||", "><") else rest
    if data and (_shows(inner, data, row.blank) or _shows(rest, data, row.blank)):
        return "text"
    if labels and _LABEL.fullmatch(rest):
        return "label"
    raise NotBytes(
        f"line {row.line}: the text {rest!r:.60} is not that of the {counted(len(data), 'byte')} before it "
        f"({data.hex(' ')}): the row is altered or cut, or not written as it seems"
    )


class _Column:
    """Keeps track of what is beside the bytes: it must be of one sort in all rows."""

    def __init__(self, *, labels: bool = False) -> None:
        self.seen = ""
        self._labels = labels

    def fits(self, row: _Row, rest: str, data: bytes) -> bool:
        try:
            return _beside(row, rest, data, labels=self._labels) != "nothing"
        except NotBytes:
            return False

    def see(self, row: _Row, rest: str, data: bytes) -> None:
        found = _beside(row, rest, data, labels=self._labels)
        if not data or (found == "nothing" and not data.strip(b" ")):  # the text of blanks is nothing, or looks so
            return
        if self.seen and found != self.seen and "text" in (found, self.seen):
            raise NotBytes(f"line {row.line} has {found} beside its bytes, but a row above {self.seen}: is one cut?")
        if found != "nothing" or not self.seen:
            self.seen = found


# --- bytes in pairs of digits: hexdump -C, tshark, Wireshark, Netty, zkwire

_BYTE = r"(?:[0-9a-fA-F]{2}|··)"
_MASKED = re.compile(r" = <(\d+) bytes?>$")
_RUN = re.compile(rf"{_BYTE}(?: {_BYTE})*(?!\S)")


def _run(body: str) -> str:
    match = _RUN.match(body)
    return "" if match is None else match[0]


def _pairs(rows: list[_Row]) -> list[Found]:
    column = _Column(labels=True)
    masked = 0
    left = b""  # the zeros that the next rows of a masked field get

    def read(row: _Row, size: int | None) -> bytes:
        nonlocal masked, left
        body = row.body.lstrip(" \t")
        run = _run(body)
        rest = body[len(run) :]
        if "··" in run:
            if field := _MASKED.search(rest):
                masked += int(field[1])
                left = int(field[1]).to_bytes(4, "big") + bytes(int(field[1]))
            count = run.count("··")
            if count != len(run.split(" ")) or len(left) < count:
                raise NotBytes(
                    f"this dump does not show all bytes: those of line {row.line} are masked, with no size beside"
                )
            data, left = left[:count], left[count:]
            return data
        data = bytes.fromhex(run)
        # The gap in the middle of a row is two blanks; text that begins like a byte may be there too.
        if len(data) == 8 and rest.startswith("  ") and (more := _run(rest[2:])):
            both = data + bytes.fromhex(more)
            after = rest[2 + len(more) :]
            if not after.strip() or column.fits(row, after, both) or not column.fits(row, rest, data):
                data, rest = both, after
        column.see(row, rest, data)
        return data

    data = _follow(rows, 16, read)
    if len(rows) == 1 and column.seen in ("", "nothing") and int(rows[0].offset, 16):
        raise NotBytes(f"{rows[0].offset!r} can be an offset or bytes: leave it out, or put one blank after it")
    notes = (f"zeros stand for {counted(masked, 'masked byte')}",) if masked else ()
    return [Found("a dump", "hex", data, notes)]


# --- bytes in groups of digits: xxd, tcpdump

#: The ways in which a row can be split into its bytes and the rest.
_Split = Callable[[str], "Iterator[tuple[bytes, str]]"]

_GROUPS = re.compile(r"[0-9a-fA-F]+(?: [0-9a-fA-F]+)*(?!\S)")


def _in_order(body: str) -> Iterator[tuple[bytes, str]]:
    """0000 0008 ffff fffe"""
    if match := _GROUPS.match(body):
        with suppress(ValueError):  # an odd count of digits
            yield b"".join(bytes.fromhex(group) for group in match[0].split(" ")), body[match.end() :]


def _bits(body: str) -> Iterator[tuple[bytes, str]]:
    """00000000 00000000 00000000 00001000"""
    if (match := _GROUPS.match(body)) and all(re.fullmatch("[01]{8}", group) for group in match[0].split(" ")):
        yield bytes(int(group, 2) for group in match[0].split(" ")), body[match.end() :]


def _low_byte_first(body: str) -> Iterator[tuple[bytes, str]]:
    """08000000 feffffff     0b00: a group that is not full is at the right end of its place."""
    for width in (4, 8, 16):
        data = b""
        for start in range(0, len(body), width + 1):
            digits = body[start : start + width].lstrip(" ")
            if len(digits) % 2 or not re.fullmatch("[0-9a-fA-F]+", digits) or len(body) < start + width:
                break
            data += bytes.fromhex(digits)[::-1]
            if body[start + width : start + width + 1].strip():
                break
            yield data, body[start + width :]
            if len(digits) < width:
                break


def _groups(rows: list[_Row], ways: dict[str, tuple[str, _Split]], bases: list[int]) -> list[Found]:
    found: list[Found] = []
    reasons: list[NotBytes] = []
    for form, (kind, split) in ways.items():
        for base in bases:
            try:
                found.append(Found(form, kind, _follow(rows, base, _group_reader(split, form))))
            except NotBytes as reason:
                reasons.append(reason)
    if not found:
        raise _most_telling(reasons, str(reasons[0]))
    return found


def _most_telling(reasons: list[NotBytes], default: str) -> NotBytes:
    """Why no way to read the rows fits. Best is the reason of a way that can read the rows but not their offsets."""
    for word in ("star", "offset"):
        for why in reasons:
            if word in str(why):
                return why
    return NotBytes(default)


def _group_reader(split: _Split, form: str) -> _Reader:
    column = _Column()

    def read(row: _Row, size: int | None) -> bytes:
        ways = list(split(row.body))
        if not ways:
            raise NotBytes(f"line {row.line} does not begin with bytes as {form} writes them: {row.body!r:.60}")
        data, rest = next((way for way in ways if column.fits(row, way[1], way[0])), ways[-1])
        column.see(row, rest, data)
        return data

    return read


def _xxd(rows: list[_Row]) -> list[Found]:
    ways: dict[str, tuple[str, _Split]] = {
        "xxd": ("hex", _in_order),
        "xxd -e": ("words", _low_byte_first),
        "xxd -b": ("bits", _bits),
    }
    return _groups(rows, ways, [16, 10])


def _tcpdump(rows: list[_Row]) -> list[Found]:
    return _groups(rows, {"tcpdump -x": ("hex", _in_order)}, [16])


# --- numbers in cells of one width: od, hexdump


class Cell(NamedTuple):
    """A number as od and hexdump write it, at the right end of a cell."""

    name: str
    width: int  # of the cell, with the blanks before the number
    digits: int  # with zeros before the number; 0: blanks instead
    base: int
    size: int  # bytes of the number


CELLS = [
    Cell("od -t x1", 3, 2, 16, 1),
    Cell("od -t x1c", 4, 2, 16, 1),
    Cell("od -b, hexdump -b", 4, 3, 8, 1),
    Cell("od -t u1", 4, 0, 10, 1),
    Cell("od -t d1", 5, 0, 10, 1),
    Cell("od -x, hexdump", 5, 4, 16, 2),
    Cell("hexdump -x", 8, 4, 16, 2),
    Cell("od -o", 7, 6, 8, 2),
    Cell("hexdump -o", 8, 6, 8, 2),
    Cell("od -d", 6, 0, 10, 2),
    Cell("hexdump -d", 8, 5, 10, 2),
    Cell("od -t d2", 7, 0, 10, 2),
    Cell("od -t x4", 9, 8, 16, 4),
    Cell("od -t o4", 12, 11, 8, 4),
    Cell("od -t u4", 11, 0, 10, 4),
    Cell("od -t d4", 12, 0, 10, 4),
    Cell("od -t x8", 17, 16, 16, 8),
    Cell("od -t o8", 23, 22, 8, 8),
    Cell("od -t d8, od -t u8", 21, 0, 10, 8),
]

_KINDS = {16: "hex", 10: "decimal", 8: "octal"}
_CHARACTERS = {"\\0": 0, "\\a": 7, "\\b": 8, "\\t": 9, "\\n": 10, "\\v": 11, "\\f": 12, "\\r": 13}


def _od(rows: list[_Row]) -> list[Found]:
    six = len(rows[0].offset) == 6
    # The tool, the base of its offsets, and whether its numbers may have the high byte first.
    tools = [("od", 16, True)] if six else [("hexdump", 16, False), ("od", 8, True), ("od", 10, True)]
    found: list[Found] = []
    reasons: list[NotBytes] = []
    for tool, base, may_be_big in tools:
        for cell in (cell for cell in CELLS if tool in re.findall("[a-z]{2,}", cell.name)):
            for big in (False, True) if cell.size > 1 and may_be_big else (False,):
                try:
                    data = _follow(rows, base, _cell_reader(cell, big))
                except NotBytes as why:
                    reasons.append(why)
                    continue
                total = not rows[-1].body.strip()
                ways = with_and_without_padding(cell, big, data, 1 if total else cell.size)
                found += [way._replace(form=f"{way.form}, offsets in base {base}") for way in ways]
        with suppress(NotBytes):
            found.append(Found("od -c, hexdump -c", "text", _follow(rows, base, _read_characters)))
    if six:
        # Groups of six digits without offsets look the same; two rows, or a size, do not.
        return [each for each in found if len(rows) > 1 or each.form.startswith("od -t x1,")]
    if not found and any(re.search(r"\b(nul|soh|del)\b", row.body) for row in rows):
        raise NotBytes("od -a does not show the highest bit of a byte: use od -t x1")
    if not found:
        default = f"line {rows[0].line} is none of the rows that od and hexdump write: {rows[0].body!r:.60}"
        raise _most_telling(reasons, default)
    return found


def with_and_without_padding(cell: Cell, big: bool, data: bytes, most: int) -> Iterator[Found]:
    """od fills the last number with zeros. If no last line has the size, the zeros can be bytes or padding."""
    order = "high byte first" if big else "low byte first"
    form = cell.name if cell.size == 1 else f"{cell.name} ({order})"
    kind = _KINDS[cell.base] if cell.size == 1 else "hex" if big else "words"
    for count in range(most):
        if not data.endswith(bytes(count)) or count >= len(data):
            return
        zeros = "zero" if count == 1 else f"{count} zeros"
        ending = f", without its last {zeros}" if count else ""
        yield Found(form + ending, kind, data[: len(data) - count])


def _cell_reader(cell: Cell, big: bool) -> _Reader:
    def read(row: _Row, size: int | None) -> bytes:
        body, bar, text = row.body.partition("  >")
        data = cell_bytes(cell, body.rstrip(), big)
        if data is None:
            raise NotBytes(f"line {row.line} does not hold numbers as {cell.name} writes them")
        if size is not None:
            if not 0 <= len(data) - size < cell.size or any(data[size:]):
                raise NotBytes(f"line {row.line} has {counted(len(data), 'byte')}, but {size} up to the next offset")
            data = data[:size]
        if bar and not (text.endswith("<") and _shows(text[:-1], data, row.blank)):
            raise NotBytes(f"line {row.line}: the text {text!r:.60} is not that of the bytes before it")
        return data

    return read


def cell_bytes(cell: Cell, body: str, big: bool = False) -> bytes | None:
    """The bytes of one row of cells; None if it is not one."""
    if len(body) % cell.width:
        return None
    data = b""
    for start in range(0, len(body), cell.width):
        text = body[start : start + cell.width]
        digits = text.lstrip(" ")
        if len(digits) == cell.width or (len(digits) != cell.digits if cell.digits else not _is_decimal(digits)):
            return None
        try:
            value = int(digits, cell.base)
            data += value.to_bytes(cell.size, "big" if big else "little", signed=value < 0)
        except (ValueError, OverflowError):
            return None
    return data


def _is_decimal(digits: str) -> bool:
    return bool(re.fullmatch(r"0|-?[1-9][0-9]*", digits))


def _read_characters(row: _Row, size: int | None) -> bytes:
    if not row.body.strip() and size is None:
        return b""
    if size is None and len(row.body) == 64:  # a star follows: it is a whole row
        size = 16
    if size is None or len(row.body) < 4 * size or row.body[4 * size :].strip():
        raise NotBytes(f"line {row.line} does not hold characters as od -c writes them, or blanks at its end are lost")
    data = bytearray()
    for start in range(0, 4 * size, 4):
        cell = row.body[start : start + 4]
        text = cell.lstrip(" ") or " "
        if len(text) == 1 and " " <= text <= "~":
            data.append(ord(text))
        elif text in _CHARACTERS:
            data.append(_CHARACTERS[text])
        elif re.fullmatch("[0-3][0-7]{2}", text):
            data.append(int(text, 8))
        else:
            raise NotBytes(f"line {row.line}: {cell!r} is not a character as od -c writes it")
    return bytes(data)


_HEX = "[0-9a-fA-F]"

LAYOUTS = [
    _Layout(
        "Netty",
        "|00000000| 00 00 00 08 ff ff ff fe 00 00 00 0b             |............    |",
        re.compile(rf"(\s*)\|({_HEX}{{8,}})\| ?(.*)"),
        _pairs,
    ),
    _Layout(
        "tcpdump",
        "0x0000:  0000 0008 ffff fffe",
        re.compile(rf"()\s*0x({_HEX}{{4,}}): {{1,2}}(.*)"),
        _tcpdump,
        blank=".",
    ),
    _Layout(
        "xxd",
        "00000000: 0000 0008 ffff fffe 0000 000b            ............",
        re.compile(rf"()\s*({_HEX}{{4,}}): (.*)"),
        _xxd,
    ),
    _Layout("od", "0000000 000000 004000 177777 177377", re.compile(rf"()\s*({_HEX}{{6,}})( .*)?"), _od),
    _Layout(
        "hexdump -C",
        "00000000  00 00 00 08 ff ff ff fe  |........|",
        re.compile(rf"(\s*)({_HEX}{{4,}})(?:(?: {{2,}}|\t)(.*))?"),
        _pairs,
    ),
]
