"""How tools and languages write bytes as text: models of their output, for the tests of what `zkwire explain` reads.

`TOOLS` are programs that write a dump of their input; a test compares the models with the programs that are installed.
`LANGUAGES` is what programs in these languages print. `OTHERS` has no command to compare with.
"""

from __future__ import annotations

import base64
import json
import pprint
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from zkwire.codes import OpCode
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import GetDataRequest, RequestHeader, SetDataRequest

Write = Callable[[bytes], str]

PING = bytes.fromhex("00000008fffffffe0000000b")
GET_DATA = frame(encode(RequestHeader(1, OpCode.GET_DATA)) + encode(GetDataRequest("/app", False)))
#: Its dumps have equal rows, and its data has every byte.
LONG = frame(
    encode(RequestHeader(2, OpCode.SET_DATA)) + encode(SetDataRequest("/a", bytes(100) + bytes(range(256)), -1))
)


def random_bytes() -> list[bytes]:
    """Frames, whole and cut, and bytes of all sorts."""
    random = Random(25)
    found = [PING, GET_DATA, PING + GET_DATA, GET_DATA * 3, PING[:7], GET_DATA[:13], bytes(100), LONG]
    found += [random.randbytes(random.randrange(1, 90)) for _ in range(20)]
    found += [bytes(random.choices(b"\0\0\0\x01 a0123 .|<>", k=random.randrange(1, 90))) for _ in range(20)]
    return found


class Tool(NamedTuple):
    command: str
    write: Write


def rows(data: bytes, width: int = 16) -> Iterable[tuple[int, bytes]]:
    """(offset, bytes) of each row."""
    return [(start, data[start : start + width]) for start in range(0, len(data), width)]


def starred(lines: Iterable[tuple[bytes, str]], width: int = 16) -> list[str]:
    """The lines, with a star in place of rows that are equal to the row above."""
    found: list[str] = []
    above = None
    for piece, line in lines:
        if piece != above or len(piece) < width:
            found.append(line)
        elif found[-1] != "*":
            found.append("*")
        above = piece
    return found


def text(data: bytes, blank: str = " ") -> str:
    return "".join(chr(byte) if 0x20 < byte < 0x7F else blank if byte == 0x20 else "." for byte in data)


# --- dumps


def xxd(group: int = 2, columns: int = 16, *, upper: bool = False, little: bool = False) -> Write:
    def write(data: bytes) -> str:
        size = group or columns
        places = -(-columns // size)
        found = []
        for start, row in rows(data, columns):
            pieces = []
            for at in range(0, columns, size):
                piece = row[at : at + size]
                full = 2 * min(size, columns - at)
                pieces.append(f"{piece[::-1].hex():>{full}}" if little else f"{piece.hex():<{full}}")
            hexed = f"{' '.join(pieces):<{2 * columns + places - 1}}"
            found.append(f"{start:08x}: {hexed.upper() if upper else hexed}  {text(row)}\n")
        return "".join(found)

    return write


def xxd_bits(data: bytes) -> str:
    found = []
    for start, row in rows(data, 6):
        found.append(f"{start:08x}: {' '.join(f'{byte:08b}' for byte in row):<53}  {text(row)}\n")
    return "".join(found)


def xxd_plain(data: bytes) -> str:
    return "".join(f"{row.hex()}\n" for _, row in rows(data, 30))


def c_array(data: bytes) -> str:
    listed = ",\n".join("  " + ", ".join(f"0x{byte:02x}" for byte in row) for _, row in rows(data, 12))
    return f"{listed}\n"


def hexdump_c(data: bytes) -> str:
    lines = []
    for start, row in rows(data):
        hexed = "  ".join(piece for piece in (row[:8].hex(" "), row[8:].hex(" ")) if piece)
        lines.append((row, f"{start:08x}  {hexed:<48}  |{text(row)}|"))
    return "\n".join([*starred(lines), f"{len(data):08x}", ""])


class Cells(NamedTuple):
    """Numbers of `size` bytes, in cells `width` wide: `form` is Python's for one."""

    width: int
    form: str
    size: int
    signed: bool = False
    big: bool = False

    def row(self, row: bytes) -> str:
        padded = row + bytes(-len(row) % self.size)
        order = "big" if self.big else "little"
        pieces = [padded[at : at + self.size] for at in range(0, len(padded), self.size)]
        values = [int.from_bytes(piece, order, signed=self.signed) for piece in pieces]  # type: ignore[arg-type]
        return "".join(f"{value:{self.form}}".rjust(self.width) for value in values)


def hexdump(cells: Cells) -> Write:
    def write(data: bytes) -> str:
        lines = [(row, f"{start:07x}{cells.row(row):<{cells.width * 16 // cells.size}}") for start, row in rows(data)]
        return "\n".join([*starred(lines), f"{len(data):07x}", ""])

    return write


def od(cells: Cells, offset: str = "07o", width: int = 16, *, beside: bool = False) -> Write:
    def write(data: bytes) -> str:
        lines = []
        for start, row in rows(data, width):
            shown = cells.row(row)
            if beside:
                shown = f"{shown:<{cells.width * width // cells.size}}  >{text(row)}<"
            lines.append((row, (f"{start:{offset}}" if offset else "") + shown))
        total = [f"{len(data):{offset}}"] if offset else []
        return "\n".join([*starred(lines, width), *total, ""])

    return write


_LETTERS = {0: "\\0", 7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}


def characters(data: bytes) -> str:
    """A row of od -c and hexdump -c."""
    cells = (_LETTERS.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"{byte:03o}") for byte in data)
    return "".join(cell.rjust(4) for cell in cells)


def od_c(data: bytes) -> str:
    lines = [(row, f"{start:07o}{characters(row)}") for start, row in rows(data)]
    return "\n".join([*starred(lines), f"{len(data):07o}", ""])


def od_two(data: bytes) -> str:
    lines = []
    for start, row in rows(data):
        hexed = "".join(f"{byte:02x}".rjust(4) for byte in row)
        lines.append((row, f"{start:07o}{hexed}\n       {characters(row)}"))
    return "\n".join([*starred(lines), f"{len(data):07o}", ""])


X1, O1, U1, D1 = Cells(3, "02x", 1), Cells(4, "03o", 1), Cells(4, "", 1), Cells(5, "", 1, signed=True)
X2, O2, U2, D2 = Cells(5, "04x", 2), Cells(7, "06o", 2), Cells(6, "", 2), Cells(7, "", 2, signed=True)
X4, O4, U4, D4 = Cells(9, "08x", 4), Cells(12, "011o", 4), Cells(11, "", 4), Cells(12, "", 4, signed=True)
X8, O8, U8, D8 = Cells(17, "016x", 8), Cells(23, "022o", 8), Cells(21, "", 8), Cells(21, "", 8, signed=True)

TOOLS = [
    Tool("xxd", xxd()),
    *(Tool(f"xxd -g {group}", xxd(group)) for group in (0, 1, 3, 4, 8)),
    Tool("xxd -c 8", xxd(columns=8)),
    Tool("xxd -c 5", xxd(columns=5)),
    Tool("xxd -g 1 -c 32", xxd(1, 32)),
    Tool("xxd -u", xxd(upper=True)),
    Tool("xxd -e", xxd(4, little=True)),
    Tool("xxd -e -g 2", xxd(2, little=True)),
    Tool("xxd -b", xxd_bits),
    Tool("xxd -p", xxd_plain),
    Tool("xxd -i", c_array),
    Tool("hexdump -C", hexdump_c),
    Tool("hexdump", hexdump(X2)),
    Tool("hexdump -b", hexdump(O1)),
    Tool("hexdump -x", hexdump(Cells(8, "04x", 2))),
    Tool("hexdump -o", hexdump(Cells(8, "06o", 2))),
    Tool("hexdump -d", hexdump(Cells(8, "05d", 2))),
    Tool("od", od(O2)),
    Tool("od -A n", od(O2, "")),
    Tool("od -b", od(O1)),
    Tool("od -c", od_c),
    Tool("od -d", od(U2)),
    Tool("od -x", od(X2)),
    Tool("od -x --endian=big", od(X2._replace(big=True))),
    Tool("od -A n -x", od(X2, "")),
    Tool("od -t x1", od(X1)),
    Tool("od -A n -t x1", od(X1, "")),
    Tool("od -A x -t x1z", od(X1, "06x", beside=True)),
    Tool("od -A x -x", od(X2, "06x")),
    Tool("od -A x", od(O2, "06x")),
    Tool("od -A d -t x1", od(X1, "07d")),
    Tool("od -t x1 -w5", od(X1, width=5)),
    Tool("od -t x1c", od_two),
    *(
        Tool(f"od -t {name}", od(cells))
        for name, cells in {
            **{"u1": U1, "d1": D1, "d2": D2},
            **{"x4": X4, "o4": O4, "u4": U4, "d4": D4, "x8": X8, "o8": O8, "u8": U8, "d8": D8},
        }.items()
    ),
    *(Tool(f"od -A n -t {name}", od(cells, "")) for name, cells in {"u1": U1, "d1": D1, "o1": O1, "x4": X4}.items()),
]


def tcpdump(data: bytes, *, with_text: bool = True) -> str:
    found = ["09:53:02.621680 IP 192.0.2.1.2181 > 192.0.2.10.40000: Flags [.], seq 1:42, ack 50, win 65535, length 41"]
    for start, row in rows(data):
        hexed = " ".join(row[at : at + 2].hex() for at in range(0, len(row), 2))
        found.append(f"\t0x{start:04x}:  {hexed:<40} {text(row, '.')}" if with_text else f"\t0x{start:04x}:  {hexed}")
    return "\n".join([*found, ""])


def wireshark(data: bytes, *, with_text: bool = True) -> str:
    """Copy as Hex + ASCII Dump, or as Hex Dump; also what tshark -x prints."""
    rest = [f"   {text(row)}" if with_text else "" for _, row in rows(data)]
    return "".join(f"{start:04x}   {row.hex(' '):<47}{beside}\n" for (start, row), beside in zip(rows(data), rest))


def follow(data: bytes) -> str:
    """tshark -z follow,tcp,hex: each direction counts its own offsets."""
    client, server = data[: len(data) // 2], data[len(data) // 2 :]
    found = ["====", "Follow: tcp,hex", "Filter: tcp.stream eq 0"]
    for indent, part in (("", client), ("\t", server)):
        for start, row in rows(part):
            hexed = "  ".join(piece for piece in (row[:8].hex(" "), row[8:].hex(" ")) if piece)
            found.append(f"{indent}{start:08X}  {hexed:<48}  {text(row[:8])} {text(row[8:])}".rstrip())
    return "\n".join([*found, "====", ""])


def netty(data: bytes) -> str:
    found = [
        "12:00:00.123 DEBUG [nioEventLoopGroup] [id: 0x1234abcd, L:/127.0.0.1:2181] READ: 12B",
        "         +-------------------------------------------------+",
        "         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |",
        "+--------+-------------------------------------------------+----------------+",
    ]
    found += [f"|{start:08x}| {row.hex(' '):<47} |{text(row):<16}|" for start, row in rows(data)]
    return "\n".join([*found, found[-1 - len(list(rows(data)))], ""])


# --- what languages print


def escaped(data: bytes, named: dict[int, str], other: str, plain: str = "") -> str:
    """Printable bytes as they are, the others as `named`, or by `other`."""
    found = []
    for byte in data:
        if byte in named:
            found.append(named[byte])
        elif 0x20 <= byte < 0x7F and chr(byte) not in plain:
            found.append(chr(byte))
        else:
            found.append(other.format(byte))
    return "".join(found)


_RUST = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\"}
_GO = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def strace(data: bytes) -> str:
    """Octal escapes with as few digits as possible, but three before a digit."""
    named = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
    found = ""
    for place, byte in enumerate(data):
        before_digit = data[place + 1 : place + 2] in [b"%d" % digit for digit in range(8)]
        found += escaped(bytes([byte]), named, "\\{:03o}" if before_digit else "\\{:o}")
    return f'write(3, "{found}", {len(data)}) = {len(data)}\n'


def strace_xx(data: bytes) -> str:
    found = "".join(f"\\x{byte:02x}" for byte in data)
    head = data[:3]
    two = f'[{{iov_base="{found[:12]}", iov_len=3}}, {{iov_base="{found[12:]}", iov_len={len(data) - 3}}}]'
    return f"[pid  4711] writev(3<TCP:[5]>, {two}, 2) = {len(data)}\n" if len(head) == 3 else strace(data)


def node_list(data: bytes) -> str:
    """As console.log prints more than six numbers: columns."""
    lines = ",\n".join("  " + ", ".join(f"{byte:>3}" for byte in row) for _, row in rows(data, 12))
    return f"Uint8Array({len(data)}) [\n{lines}\n]\n"


def signed(data: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in data]


def java_source(data: bytes) -> str:
    items = ", ".join(f"(byte) 0x{byte:02x}" if byte > 127 else f"{byte}" for byte in data)
    return f"byte[] frame = new byte[] {{{items}}};"


def c_string(data: bytes) -> str:
    r"""Wireshark's escaped string: 16 bytes a line, a backslash after each line."""
    return " \\\n".join('"' + "".join(f"\\x{byte:02x}" for byte in row) + '"' for _, row in rows(data))


def xxd_i_file(data: bytes) -> str:
    return f"unsigned char two[] = {{\n{c_array(data)}}};\nunsigned int two_len = {len(data)};\n"


LANGUAGES: dict[str, Write] = {
    "Python repr": repr,
    "Python bytearray": lambda data: repr(bytearray(data)),
    "Python list": lambda data: repr(list(data)),
    "Python tuple": lambda data: repr(tuple(data)),
    "Python assignment": lambda data: f"frame = {data!r}\n",
    "Python pprint": lambda data: pprint.pformat(data, width=40),
    "Python pprint of a list": lambda data: pprint.pformat(list(data), width=40),
    "Python hex of each": lambda data: repr([hex(byte) for byte in data]),
    "Python array": lambda data: f"array('b', {signed(data)})",
    "JavaScript JSON": lambda data: json.dumps(list(data), separators=(",", ":")),
    "node JSON of a Buffer": lambda data: json.dumps({"type": "Buffer", "data": list(data)}, separators=(",", ":")),
    "node Buffer": lambda data: f"<Buffer {data.hex(' ')}>",
    "node Uint8Array": node_list,
    "Go %v": lambda data: f"[{' '.join(map(str, data))}]",
    "Go %#v": lambda data: f"[]byte{{{', '.join(map(hex, data))}}}",
    "Go %x": lambda data: data.hex(),
    "Go % x": lambda data: data.hex(" "),
    "Go %+q": lambda data: f'"{escaped(data, _GO, chr(92) + "x{:02x}")}"',
    "Rust {:?}": lambda data: repr(list(data)),
    "Rust {:x?}": lambda data: f"[{', '.join(f'{byte:x}' for byte in data)}]",
    "Rust {:02x?}": lambda data: f"[{', '.join(f'{byte:02x}' for byte in data)}]",
    "Rust {:#?}": lambda data: "[\n" + "".join(f"    {byte},\n" for byte in data) + "]",
    "Rust bytes::Bytes": lambda data: f'b"{escaped(data, {**_RUST, 0: chr(92) + "0"}, chr(92) + "x{:02x}")}"',
    "Rust source": lambda data: f"let frame: [u8; {len(data)}] = [{', '.join(f'{byte}u8' for byte in data)}];",
    "Java Arrays.toString": lambda data: repr(signed(data)),
    "Java source": java_source,
    "C string of Wireshark": c_string,
    "C array": lambda data: f"char peer0_0[] = {{ /* Packet 4 */\n{c_array(data)}}};\n",
    "xxd -i FILE": xxd_i_file,
    "Erlang binary": lambda data: f"<<{','.join(map(str, data))}>>",
    "strace": strace,
    "strace -xx": strace_xx,
    "C# BitConverter": lambda data: data.hex("-").upper(),
}

OTHERS: dict[str, Write] = {
    "tcpdump -X": tcpdump,
    "tcpdump -x": lambda data: tcpdump(data, with_text=False),
    "Wireshark's hex and ASCII dump": wireshark,
    "Wireshark's hex dump": lambda data: wireshark(data, with_text=False),
    "tshark's follow": follow,
    "Netty": netty,
    "Wireshark's Data row": lambda data: (
        f"Data ({len(data)} bytes)\n    Data: {data.hex()}\n    [Length: {len(data)}]\n"
    ),
    "hexadecimal with colons": lambda data: data.hex(":"),
    "hexadecimal in groups": lambda data: data.hex(" ", -4),
    "hexadecimal with 0x": lambda data: f"0x{data.hex()}",
    "hexadecimal with 0x each": lambda data: " ".join(f"0x{byte:02x}" for byte in data),
    "base64": lambda data: base64.b64encode(data).decode(),
    "base64 in lines": lambda data: base64.encodebytes(data).decode(),
}
