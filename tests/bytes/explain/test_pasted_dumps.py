"""Bytes in all formats in which people have them."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.dump_writers import GET_DATA, LANGUAGES, LONG, OTHERS, PING, TOOLS, random_bytes, text
from zkwire.codes import OpCode
from zkwire.explain.dump import format_frame
from zkwire.explain.pasted import FORMATS, FORMS, Form, NotBytes, pasted_bytes, read_pasted, text_of
from zkwire.explain.pasted_dumps import LAYOUTS
from zkwire.frames import Direction, Frame, frame
from zkwire.jute import encode
from zkwire.records import AuthPacket, ConnectRequest, GetDataRequest, RequestHeader, SetDataRequest


@pytest.mark.parametrize(
    "text",
    [
        "00000008fffffffe0000000b",
        "00000008 FFFFFFFE 0000000B\n",
        "0000 0008 ffff fffe 0000 000b",
        "00:00:00:08:ff:ff:ff:fe:00:00:00:0b",
        "0x00000008fffffffe0000000b",
        "0x00, 0x00, 0x00, 0x08, 0xff, 0xff, 0xff, 0xfe, 0x00, 0x00, 0x00, 0x0b",
        r"\x00\x00\x00\x08\xff\xff\xff\xfe\x00\x00\x00\x0b",
        r"b'\x00\x00\x00\x08\xff\xff\xff\xfe\x00\x00\x00\x0b'",
        "{0x00,0x00,0x00,0x08,0xff,0xff,0xff,0xfe,0x00,0x00,0x00,0x0b};",
        "00000008\nfffffffe\n0000000b\n",
        "AAAACP////4AAAAL",
        "AAAA\nCP//\r\n//4AAAAL",
        "00000000: 0000 0008 ffff fffe 0000 000b            ............",
        "00000000  00 00 00 08 ff ff ff fe  00 00 00 0b              |............|\n0000000c\n",
        "\t0x0000:  0000 0008 ffff fffe 0000 000b            ............",
        "# a comment\n> ping xid=-2       12 bytes\n0000  00 00 00 08     length = 8\n0004  ff ff ff fe 00 00 00 0b\n",
    ],
)
def test_ping_in_any_common_format(text: str) -> None:
    assert pasted_bytes(text.encode()) == PING


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100))
def test_hexadecimal_and_base64_of_any_bytes(data: bytes) -> None:
    assert pasted_bytes(data.hex().encode(), "hex") == data
    assert pasted_bytes(data.hex(" ").encode()) == data
    assert pasted_bytes(base64.b64encode(data), "base64") == data
    assert pasted_bytes(data, "bytes") == data


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_dumps_of_our_own_are_read_back(payloads: list[bytes]) -> None:
    frames = [
        Frame(Direction.SENT, encode(RequestHeader(1, 99)) + payload, (RequestHeader,), 99, 0) for payload in payloads
    ]
    text = "\n\n".join(format_frame(each) for each in frames)
    assert pasted_bytes(text.encode()) == b"".join(frame(each.payload) for each in frames)


def test_bytes_are_recognized_by_a_zero_or_because_they_are_not_text() -> None:
    assert pasted_bytes(PING) == PING
    assert pasted_bytes(b"\xff\xfe") == b"\xff\xfe"
    assert pasted_bytes(b"") == b""


def test_rows_whose_offsets_do_not_follow_are_not_a_dump() -> None:
    assert pasted_bytes(b"00000008\n00000001\n") == bytes.fromhex("0000000800000001")
    with pytest.raises(NotBytes):
        pasted_bytes(b"0000: 00 01\n0004: 02 03\nxyz")


@pytest.mark.parametrize(
    ("data", "form", "reason"),
    [
        (b"hello world!", None, "neither hexadecimal nor base64"),
        (b"hello world!", "hex", "not hexadecimal"),
        (b"ruok", None, "neither hexadecimal nor base64 of a frame"),
        (b"/dev/nothing", None, "neither hexadecimal nor base64 of a frame"),
        (b"\xff", "hex", "not hexadecimal"),
        (b"abc", None, "3 hexadecimal digits"),
        (b"?", "base64", "nor base64"),
        ("0000  ·· ··".encode(), None, "does not show all bytes"),
        (b"0000  00 00\n...   16 bytes not shown\n", None, "does not show all bytes"),
    ],
)
def test_what_is_none_of_them_is_refused(data: bytes, form: str | None, reason: str) -> None:
    with pytest.raises(NotBytes, match=reason):
        pasted_bytes(data, form)


def test_digits_that_can_be_hexadecimal_or_base64_of_a_frame_are_refused_and_both_are_named() -> None:
    with pytest.raises(NotBytes, match=r"hexadecimal \(--format hex\) or base64 \(--format base64\)"):
        pasted_bytes(b"AAAACAAA")
    assert pasted_bytes(b"AAAACAAA", "hex") == bytes.fromhex("AAAACAAA")
    assert pasted_bytes(b"AAAACAAA", "base64") == base64.b64decode(b"AAAACAAA")
    assert pasted_bytes(b"fffffffe0000000b") == bytes.fromhex("fffffffe0000000b")  # base64, but not of a frame


def test_dump_of_a_request_with_its_labels() -> None:
    payload = encode(RequestHeader(1, OpCode.GET_DATA)) + encode(GetDataRequest("/dead beef", True))
    shown = format_frame(Frame(Direction.SENT, payload, (RequestHeader, GetDataRequest), 4, 0.0))
    assert pasted_bytes(shown.encode()) == frame(payload)


# --- every writer


FRAMES = st.lists(st.binary(min_size=8, max_size=70), min_size=1, max_size=3).map(lambda all: b"".join(map(frame, all)))
ANY_BYTES = (
    FRAMES | st.binary(min_size=1, max_size=90) | st.text("\0\1 a0.|><", min_size=1, max_size=60).map(str.encode)
)
EVERY = {**{tool.command: tool.write for tool in TOOLS}, **LANGUAGES, **OTHERS}

#: Forms in which no other bytes can look the same: they are always read, not only whole frames.
SURE = [
    *("xxd -g 1", "xxd -p", "xxd -i", "xxd -c 5", "xxd -e", "hexdump -C", "od -A x -t x1z", "od -t x1 -w5"),
    *("Python repr", "Python bytearray", "Python pprint", "Python assignment", "node Buffer", "node JSON of a Buffer"),
    *("Go %#v", "Go %+q", "Go % x", "C string of Wireshark", "C array", "xxd -i FILE", "strace", "strace -xx"),
    *("tcpdump -X", "Wireshark's hex and ASCII dump", "Netty", "hexadecimal with colons", "hexadecimal with 0x each"),
]


@pytest.mark.parametrize("name", EVERY)
def test_what_a_writer_writes_is_read_or_refused_and_never_other_bytes(name: str) -> None:
    @settings(deadline=None, max_examples=60, database=None)
    @given(ANY_BYTES)
    def check(data: bytes) -> None:
        if name.startswith("base64"):
            data = b"\0" + data  # only what begins as a frame is found out to be base64
        with suppress(NotBytes):
            assert pasted_bytes(EVERY[name](data).encode()) == data

    check()


@pytest.mark.parametrize("name", EVERY)
def test_frames_are_read_in_every_form(name: str) -> None:
    for data in (PING, GET_DATA, PING + GET_DATA, LONG):
        if data is not LONG or not (name.startswith("od -A n") or "-w5" in name):  # stars in these forms are refused
            assert pasted_bytes(EVERY[name](data).encode()) == data


@pytest.mark.parametrize("name", SURE)
def test_bytes_that_are_not_frames_are_read_in_the_usual_forms(name: str) -> None:
    for data in random_bytes():
        shown = EVERY[name](data)
        if "-w5" in name and "*" in shown:  # a row that is cut would look the same
            with pytest.raises(NotBytes, match="repeats a row of 5 bytes"):
                pasted_bytes(shown.encode())
            continue
        assert pasted_bytes(shown.encode()) == data, data


CHECKED = ["xxd", "xxd -g 1", "xxd -g 4", "hexdump -C", "od -A x -t x1z", "tcpdump -X", "Netty"]


@pytest.mark.parametrize("name", [*CHECKED, "Wireshark's hex and ASCII dump"])
@settings(deadline=None, max_examples=150, database=None)
@given(FRAMES, st.data())
def test_row_that_was_altered_or_lost_is_noticed(name: str, data: bytes, draw: st.DataObject) -> None:
    """The text beside the bytes shows the change, unless the text has a dot for both the old and the new byte."""
    lines = EVERY[name](data).rstrip("\n").split("\n")
    where = draw.draw(st.sampled_from([at for at, line in enumerate(lines) if re.search(r"\d", line)]))
    line = lines[where]
    assume(where == 0 or lines[where - 1] != "*")  # nothing but this row's offset tells for how many rows a star stands
    change = draw.draw(st.sampled_from(["lost", "cut", "digit"]))
    # A star after a row that is missing looks as if it repeated the row before that one.
    assume(change == "digit" or lines[where + 1 : where + 2] != ["*"])
    if change == "lost":
        del lines[where]
    elif change == "cut":
        lines[where] = line[: draw.draw(st.integers(0, len(line) - 1))]
    else:
        at = draw.draw(st.integers(0, len(line) - 1))
        lines[where] = line[:at] + draw.draw(st.sampled_from("0123456789abcdefg .|")) + line[at + 1 :]
    assume(any(len(re.findall(r"\b[0-9a-f]{2,8}\b", line)) > 1 for line in lines))  # else no row is left
    try:
        found = pasted_bytes("\n".join(lines).encode())
    except NotBytes:
        return
    if change == "digit":  # other bytes, but they look the same beside the dump
        assert text(found, ".") == text(data, ".")
    else:
        assert data.startswith(found) or data.endswith(found)


# --- forms by example


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_example_of_each_form_is_read(form: Form) -> None:
    assert PING.startswith(pasted_bytes(form.example.encode()))
    assert form.read(form.example)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_example_of_each_layout_is_read(layout: Any) -> None:
    assert PING.startswith(pasted_bytes(layout.example.encode(), "words" if layout.name == "od" else None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0x0, 0x8", "0008"),
        ("[0 8 255]", "0008ff"),
        ("[0, 0, -1]", "0000ff"),
        ("0, 0, 8", "000008"),
        ("[0, 0]\n[8, 255]\n", "000008ff"),
        ("<Buffer 00 00>\n<Buffer 08>\n", "000008"),
        ("[]byte{0x0, 0x8}", "0008"),
        ("vec![0u8, 8, 255]", "0008ff"),
        ("new byte[] {0, 8, (byte) 0xff, -1}", "0008ffff"),
        ("bytearray(b'\\x00\\x08')", "0008"),
        ("b'\\x00\\x08'\n b'/app'", "00082f617070"),
        ('"\\0\\0\\0\\10\\377"', "00000008ff"),
        ('"\\u0000\\u0008"', "0008"),
        ('char frame[] = "\\x00\\x08" "a";', "000861"),
        (r"\x00\x00\x00\x08/app\x00", "000000082f61707000"),
        (
            'read(5, "\\0\\10", 2) = 2\nread(5, 0x7f27f4f11b80, 4) = -1 EAGAIN (Resource temporarily unavailable)',
            "0008",
        ),
        (
            '12:00:01.5 sendmsg(3, {msg_iov=[{iov_base="\\0\\0", iov_len=2}, {iov_base="1", iov_len=1}]}, 0) = 3',
            "000031",
        ),
        ("Data: 0008ff\n    [Length: 3]", "0008ff"),
        ("Uint8Contents: <00 08>", "0008"),
        ("{\n  data: <Buffer 00 08>,\n  more: [ <Buffer ff> ]\n}", "0008ff"),
        ("{ type: 'Buffer', data: [ 0, 16 ] }", "0010"),
        ("TCP payload (2 bytes): 0008", "0008"),
        ("\x1b[2m0000\x1b[0m  \x1b[32m00 00 00 08\x1b[0m     length = 8", "00000008"),
        ('"0000000bffffffff"', None),
        ("00000000: 00000008", None),
    ],
)
def test_text_is_read_as_the_bytes_it_means(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(NotBytes, match="which are different bytes"):
            pasted_bytes(text.encode())
    else:
        assert pasted_bytes(text.encode()) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<Buffer 00 00 00 08 ... 450 more bytes>", r"'... 450 more bytes'; print buffer.toString\('hex'\)"),
        ("Uint8Array(150) [\n  0, 0,\n  ... 50 more items\n]", "not whole: '... 50 more items'"),
        ("Uint8Array(3) [ 0, 8 ]", "has 2 numbers, but is said to have 3"),
        ("unsigned char a[] = {\n  0x00, 0x08\n};\nunsigned int a_len = 3;", "has 2 numbers, but is said to have 3"),
        ("[0, 200, -1]", "numbers below 0 or numbers above 127, and this has both"),
        ("[0, 8, 256]", "neither hexadecimal nor base64"),
        ("[0, 8,, 9]", "neither hexadecimal nor base64"),
        ("[16, 32]", r"hexadecimal \(--format hex\) or decimal numbers \(--format decimal\)"),
        ("0 0 0 10", r"decimal numbers \(--format decimal\) or hexadecimal numbers \(--format hex\)"),
        ("0x0000 0x0008", r"hexadecimal \(--format hex\) or numbers with the low byte first \(--format words\)"),
        ("0x7ffe1234:\t0x00\t0x08", "neither hexadecimal nor base64"),
        ('read(0, "\\0\\0\\0\\10"..., 4096) = 33', "line 1: strace has cut the text of read: run it with -s"),
        ('read(0, "\\0\\0\\0\\10", 4096) = 33', "line 1: read moved 33 bytes, but 4 are shown"),
        ('write(3, "\\0", 1) = 1\nwrite(4, "\\1", 1) = 1', "descriptors 3, 4: give the calls of one"),
        ('write(3, "\\0", 1) = 1\npwrite64(3, "\\0", 1, 0) = 1', "line 2 is not a whole call"),
        ('[pid 7] read(3, <unfinished ...>\n[pid 7] <... read resumed>"\\0", 1) = 1', "two lines"),
        (r"b\x00\x00", "the shell removed the quotes"),
        (r"\x00\x00 /app", "blanks between escapes"),
        (r"b'\x00\q'", r"is not an escape that can be read: write \\x"),
        (r"'\x00\u00e9'", "several bytes in some languages and one byte in others"),
        ("'\\x00é'", "'é' in a text with escapes is not a byte"),
        (r"b'\400'", "is not a byte"),
        ("b'\\x00\\x08'...", "the text is not whole"),
        (r"bytes.fromhex(b'\x00')", "beside the quoted text is not understood"),
        (r"b'\x00\01'", "text with escapes .* or Rust's text with escapes"),
        ("Data: 0000002d00000000…\n[Length: 49]", "line 1: Wireshark has cut this row: copy it as a hex stream"),
        ("Data: 0008\n[Length: 3]", "the row above it has 2 bytes, not 3"),
        ("0000000 nul nul nul  bs del del del   ~\n0000010\n", "od -a does not show the highest bit"),
        (" 00 00\n*\n 00\n", "a star stands for rows like the one above it"),
        ("00000000  00 00 00 00  |....|\n*\n", "the dump ends there"),
        ("0000  00 00 00 08\n0004  ff ff ff fe  ....\n", "line 2 has text beside its bytes, but a row above nothing"),
        ("00000000  00 00 00 00  |....|\n*\n00000008\n", "repeats a row of 4 bytes, where 16 are usual"),
        (f"00000000 {16 * ' 00'}\n*\n00000019\n", "stands for 9 bytes, which is not a number of whole rows"),
        ("00000000  00 00 00 08  |....|\n00000005\n", "line 2 has offset 00000005, but 4"),
        ("00000000  00 00 00 08  |..a.|\n", "line 1: the text '|..a.|' is not that of the 4 bytes before it"),
        (
            "0000  00 00 00 08  ....\n0004  ff ff ff fe\n",
            "line 2 has nothing beside its bytes, but a row above text",
        ),
        ("0000  00 00 00 08\nff ff ff fe\n", "line 2 is not a row as hexdump -C writes it"),
        ("0000  00 00 00 08\n0004: ff ff ff fe\n", "line 2 is not a row as hexdump -C writes it"),
        ("0000  00 00 00 08\nand Data: 0000002d00000000000000\n", "line 2 is not a row"),
        ("00000010  ff fe", "'00000010' can be an offset or bytes"),
        ("00000008 ff fe", "can be an offset, or 4 bytes"),
        ("0000000 00 00\n000000z\n", "line 2 is not a row"),
        ("\t0x0000:  0000 0008  ....\n\tax0004:  00  .", "line 2 is not a row"),
        ("0000000 00 00\n0000009\n", "is not an offset in base 8"),
        ("00000000: 0000 000 ...\n", "does not begin with bytes as xxd"),
        ("0000  00 00\n...   16 bytes not shown\n", "does not show all bytes: line 2"),
        ("[" * 5000, "neither hexadecimal nor base64"),
        ("(" * 5000 + "[0]", "neither hexadecimal nor base64"),
        ("h\u00e9llo", "neither hexadecimal nor base64"),
        ("00000008 ffffffe", "'ffffffe' in line 1 has an odd number of digits"),
        ("00000008\nfffffffe 0000000g", "what is '0000000g' in line 2"),
    ],
)
def test_text_that_cannot_be_read_for_certain_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NotBytes, match=reason):
        pasted_bytes(text.encode())


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("words", "0000000 0000 0800\n0000004\n", "00000008"),
        ("hex", "0000000 0000 0800\n0000004\n", "00000800"),
        ("decimal", "[16, 32]", "1020"),
        ("hex", "[16, 32]", "1632"),
        ("octal", "101 102", "4142"),
        ("text", r"\x00", "00"),
        ("hex", r"\x00", "00"),
        ("base64", "AAAACA", "00000008"),
    ],
)
def test_format_says_which_of_several_forms_it_is(form: str, text: str, expected: str) -> None:
    assert form in FORMATS
    assert pasted_bytes(text.encode(), form) == bytes.fromhex(expected)


def test_form_that_alone_gives_whole_frames_is_taken_and_said() -> None:
    found = read_pasted(f" {PING.hex(' ', -2)}\n".encode())
    assert found.data == PING
    assert found.notes == (
        "read as hexadecimal, since only so it is whole frames, not as numbers with the low byte first or "
        "od -x, hexdump (low byte first) or od -x, hexdump (low byte first), without its last zero",
    )


def test_dump_of_ours_with_a_masked_field_is_read_and_said() -> None:
    payload = encode(ConnectRequest(0, 0, 10000, 7, b"secret, 16 bytes", False))
    shown = format_frame(Frame(Direction.SENT, payload, (ConnectRequest,), None, 0.0))
    for encoding in ("utf-8", "utf-16", "latin-1"):
        found = read_pasted(shown.encode(encoding))
        assert found.data == frame(encode(ConnectRequest(0, 0, 10000, 7, bytes(16), False)))
        assert found.notes == ("zeros stand for 16 masked bytes",)


@pytest.mark.parametrize("row", ["{:08x}: {}  {}", "{:08x}: {} {}"])
def test_row_of_blanks_has_no_text_to_see_beside_it(row: str) -> None:
    data = frame(encode(RequestHeader(2, OpCode.SET_DATA)) + encode(SetDataRequest("/a", 40 * b" " + b"end", -1)))
    rows = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        rows.append(row.format(at, f"{part.hex(' ', -2):<39}", shown))
    assert pasted_bytes("\n".join(rows).encode()) == data
    assert pasted_bytes("\n".join(row.rstrip() for row in rows).encode()) == data


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (60 * r"\x00" + "/app", bytes(60) + b"/app"),
        (60 * "bytearray" + "[0, 0, 0, 8", None),
        ("a" + 100_000 * " " + r'"\x00"', None),
        ("a" + 100_000 * " " + r'= "\x00"', b"\0"),
        (r"a[2] := []byte{" + 100_000 * " " + r'"\x00"', b"\0"),
    ],
)
def test_no_pattern_goes_over_a_long_text_again_and_again(text: str, data: bytes | None) -> None:
    if data is None:
        with pytest.raises(NotBytes):
            pasted_bytes(text.encode())
    else:
        assert pasted_bytes(text.encode()) == data


def test_masked_bytes_without_their_size_are_refused() -> None:
    payload = encode(ConnectRequest(0, 0, 10000, 7, b"secret, 16 bytes", False))
    shown = format_frame(Frame(Direction.SENT, payload, (ConnectRequest,), None, 0.0)).split("\n")
    place = next(at for at, line in enumerate(shown) if "··" in line)
    for rows in (shown[place + 1 :], [*shown[:place], shown[place].partition(" = ")[0], *shown[place + 1 :]]):
        with pytest.raises(NotBytes, match="does not show all bytes"):
            pasted_bytes("\n".join(rows).encode())


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 40])
def test_masked_fields_of_any_size_are_read(size: int) -> None:
    payload = encode(RequestHeader(-4, OpCode.AUTH)) + encode(AuthPacket(0, "digest", b"x" * size))
    shown = format_frame(Frame(Direction.SENT, payload, (RequestHeader, AuthPacket), 100, 0.0))
    assert pasted_bytes(f"{shown}\n\n{shown}".encode()) == 2 * frame(payload.replace(b"x", b"\0"))


def test_dump_that_starts_in_the_middle_is_read_and_said() -> None:
    rows = TOOLS[0].write(LONG).split("\n", 1)[1]
    found = read_pasted(rows.encode())
    assert found.data == LONG[16:]
    assert found.notes == ("the first row is at offset 00000010: the bytes before it are not there",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_may_have_any_encoding_and_line_ends(encoding: str) -> None:
    """As PowerShell and Notepad write files."""
    for shown in (PING.hex(" "), TOOLS[0].write(PING + GET_DATA), repr(list(PING)), repr(PING)):
        data = shown.replace("\n", "\r\n").encode(encoding)
        assert pasted_bytes(data) == (PING + GET_DATA if ":" in shown else PING)
        assert text_of(data) == shown.replace("\n", "\r\n")


def test_what_is_not_text_is_said() -> None:
    with pytest.raises(NotBytes, match="neither UTF-8 nor UTF-16"):
        text_of(b"\xff\0")
    with pytest.raises(NotBytes, match="not text at all"):
        pasted_bytes(PING, "hex")


@settings(deadline=None)
@given(st.binary(min_size=4).map(lambda data: b"\0" + data))
def test_bytes_that_begin_as_a_frame_are_taken_as_they_are(data: bytes) -> None:
    assume(any(data[::2]))  # else it may be text in UTF-16
    assert pasted_bytes(data) == data


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("00:01,02", "nor a dump, a list of numbers or text with escapes"),
        (r"b'\u{41}\101'", "no language has all of these escapes"),
        ("0x123 0x456", "neither hexadecimal nor base64"),
        ("0x0, abc", "neither hexadecimal nor base64"),
    ],
)
def test_text_that_mixes_formats_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NotBytes, match=re.escape(reason)):
        pasted_bytes(text.encode())


def test_text_beside_eight_bytes_may_begin_like_a_byte() -> None:
    assert pasted_bytes(b"0000  41 42 20 43 44 45 46 47  AB CDEFG\n") == b"AB CDEFG"
