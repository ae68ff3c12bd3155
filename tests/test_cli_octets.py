"""Bytes in whatever dress people have them."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkwire.cli.octets import NotBytes, octets
from zkwire.codes import OpCode
from zkwire.events import Direction, Frame
from zkwire.framing import frame
from zkwire.jute import encode
from zkwire.records import GetDataRequest, RequestHeader
from zkwire.trace import format_frame

PING = bytes.fromhex("00000008fffffffe0000000b")


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
def test_ping_in_any_dress(text: str) -> None:
    assert octets(text.encode()) == PING


@given(st.binary(min_size=1, max_size=100))
def test_hexadecimal_and_base64_of_any_bytes(data: bytes) -> None:
    assert octets(data.hex().encode(), "hex") == data
    assert octets(data.hex(" ").encode()) == data
    assert octets(base64.b64encode(data), "base64") == data
    assert octets(data, "bytes") == data


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_dumps_of_our_own_are_read_back(payloads: list[bytes]) -> None:
    frames = [
        Frame(Direction.SENT, encode(RequestHeader(1, 99)) + payload, (RequestHeader,), 99, 0) for payload in payloads
    ]
    text = "\n\n".join(format_frame(each) for each in frames)
    assert octets(text.encode()) == b"".join(frame(each.payload) for each in frames)


@given(st.binary(min_size=1, max_size=200))
def test_dumps_of_hexdump_are_read_back(data: bytes) -> None:
    hexdump = shutil.which("hexdump")
    assert hexdump, "hexdump, of Debian's bsdextrautils"
    shown = subprocess.run([hexdump, "-v", "-C"], input=data, capture_output=True, check=True).stdout
    assert octets(shown) == data


def test_bytes_are_told_by_a_zero_or_by_what_is_no_text() -> None:
    assert octets(PING) == PING
    assert octets(b"\xff\xfe") == b"\xff\xfe"
    assert octets(b"") == b""


def test_rows_whose_offsets_do_not_follow_are_no_dump() -> None:
    assert octets(b"00000008\n00000001\n") == bytes.fromhex("0000000800000001")
    with pytest.raises(NotBytes):
        octets(b"0000: 00 01\n0004: 02 03\nxyz")


@pytest.mark.parametrize(
    ("data", "form", "reason"),
    [
        (b"hello world!", None, "neither hexadecimal nor base64"),
        (b"hello world!", "hex", "no hexadecimal"),
        (b"ruok", None, "neither hexadecimal nor base64 of a frame"),
        (b"/dev/nothing", None, "neither hexadecimal nor base64 of a frame"),
        (b"\xff", "hex", "no hex"),
        (b"abc", None, "3 hexadecimal digits"),
        (b"?", "base64", "nor base64"),
        ("0000  ·· ··".encode(), None, "does not show all bytes"),
        (b"0000  00 00\n...   16 bytes not shown\n", None, "does not show all bytes"),
    ],
)
def test_what_is_none_of_them_is_refused(data: bytes, form: str | None, reason: str) -> None:
    with pytest.raises(NotBytes, match=reason):
        octets(data, form)


def test_hexadecimal_digits_are_no_base64_unless_asked_for() -> None:
    assert octets(b"AAAACAAA") == bytes.fromhex("AAAACAAA")
    assert octets(b"AAAACAAA", "base64") == base64.b64decode(b"AAAACAAA")


def test_dump_of_a_request_with_its_labels() -> None:
    payload = encode(RequestHeader(1, OpCode.GET_DATA)) + encode(GetDataRequest("/dead beef", True))
    shown = format_frame(Frame(Direction.SENT, payload, (RequestHeader, GetDataRequest), 4, 0.0))
    assert octets(shown.encode()) == frame(payload)
