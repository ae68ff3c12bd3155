"""Capture files: every kind that can be read, byte by byte, and the errors for bad ones."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.support.pcap_writer import ETHERNET, RAW, START, PcapngWriter, PcapWriter
from zkwire.capture.pcap import MAX_BLOCK, CaptureError, Packet, PacketReader

START_NS = START * 10**9


def packets(data: bytes, step: int = 1 << 20) -> list[Packet]:
    reader = PacketReader()
    found = [each for at in range(0, len(data), step) for each in reader.receive(data[at : at + step])]
    reader.end()
    return found


def error_of(data: bytes) -> CaptureError:
    with pytest.raises(CaptureError) as caught:
        packets(data)
    return caught.value


def two(file: PcapWriter) -> bytes:
    file.packet(b"first")
    file.packet(b"second", length=60)
    return file.bytes


WRITERS: dict[str, Callable[[], PcapWriter]] = {
    "pcap-little": lambda: PcapWriter(RAW),
    "pcap-big": lambda: PcapWriter(RAW, order=">"),
    "pcap-nanoseconds-little": lambda: PcapWriter(RAW, nanoseconds=True),
    "pcap-nanoseconds-big": lambda: PcapWriter(RAW, order=">", nanoseconds=True),
    "pcapng-little": lambda: PcapngWriter(RAW),
    "pcapng-big": lambda: PcapngWriter(RAW, order=">"),
    "pcapng-nanoseconds": lambda: PcapngWriter(RAW, resolution=9),
    "pcapng-seconds": lambda: PcapngWriter(RAW, resolution=0),
    "pcapng-powers-of-2": lambda: PcapngWriter(RAW, resolution=0x80 | 20),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_file_of_each_kind_gives_its_packets(name: str, step: int) -> None:
    first, second = packets(two(WRITERS[name]()), step)
    assert (first.number, first.link_type, first.data, first.length) == (1, RAW, b"first", 5)
    assert (second.number, second.link_type, second.data, second.length) == (2, RAW, b"second", 60)
    tick = 10**9 if name == "pcapng-seconds" else 1000
    assert abs(first.time_ns - START_NS) < tick
    assert abs(second.time_ns - START_NS - 10**6) < tick


def test_times_are_exact_to_the_nanosecond() -> None:
    header = PcapWriter(nanoseconds=True).bytes
    assert packets(header + struct.pack("<IIII", START, 123_456_789, 0, 0))[0].time_ns == START_NS + 123_456_789


def test_an_interface_may_add_seconds_and_have_other_options() -> None:
    file = PcapngWriter()
    options = struct.pack("<HH5s3x", 2, 5, b"eth01") + struct.pack("<HHq", 14, 8, -60) + struct.pack("<HHB3x", 9, 1, 9)
    file.block(1, struct.pack("<HHI", RAW, 0, 0) + options)  # and no end of options
    file.block(6, struct.pack("<IIIII", 1, START_NS >> 32, START_NS & 0xFFFFFFFF, 2, 2) + b"ok")
    assert packets(file.bytes) == [Packet(1, START_NS - 60 * 10**9, RAW, b"ok", 2)]


def test_blocks_without_packets_are_passed_over_and_numbers_go_on() -> None:
    file = PcapngWriter()
    file.packet(b"one")
    file.block(5, b"statistics..")
    file.block(0x0BAD, b"anything")
    file.packet(b"two")
    assert [(packet.number, packet.data) for packet in packets(file.bytes)] == [(1, b"one"), (2, b"two")]


def test_simple_and_old_packet_blocks() -> None:
    file = PcapngWriter()
    file.packet(b"one")
    file.block(3, struct.pack("<I", 3) + b"two")  # no time of its own
    file.block(2, struct.pack("<HHIIII", 0, 9, 0, 10**6, 4, 4) + b"last")
    _, simple, old = packets(file.bytes)
    assert (simple.time_ns, simple.data, simple.length) == (START_NS, b"two", 3)
    assert (old.time_ns, old.data) == (10**9, b"last")


def test_simple_packet_is_as_short_as_its_interface_snaps_it() -> None:
    file = PcapngWriter()
    section = file.bytes[:28]
    file.bytes = section
    file.block(1, struct.pack("<HHI", ETHERNET, 0, 4))
    file.block(3, struct.pack("<I", 9) + b"nine")
    assert packets(file.bytes) == [Packet(1, 0, ETHERNET, b"nine", 9)]


def test_a_section_brings_byte_order_and_interfaces_of_its_own() -> None:
    little, big = two(PcapngWriter(RAW)), two(PcapngWriter(ETHERNET, order=">"))
    assert [(packet.number, packet.link_type) for packet in packets(little + big)] == [
        (1, RAW),
        (2, RAW),
        (3, ETHERNET),
        (4, ETHERNET),
    ]


@pytest.mark.parametrize("name", ["pcap-little", "pcapng-big"])
def test_file_cut_anywhere_says_where_and_gives_the_packets_before(name: str) -> None:
    whole = two(WRITERS[name]())
    ends = next(size for size in range(len(whole) + 1) if list(PacketReader().receive(whole[:size])))
    for size in range(len(whole)):
        reader = PacketReader()
        found = list(reader.receive(whole[:size]))
        assert len(found) == (0 if size < ends else 1)
        at_block = size in {24, ends} if name == "pcap-little" else size in {28, 48, ends}
        if at_block:
            reader.end()
            continue
        with pytest.raises(CaptureError) as caught:
            reader.end()
        assert caught.value.offset <= size
        assert str(caught.value).startswith(f"offset {caught.value.offset}: expected a")


def test_empty_file_is_no_capture() -> None:
    assert str(error_of(b"")) == "offset 0: expected a pcap or pcapng file, it is empty"


@pytest.mark.parametrize(("data", "hint"), [(b"GET / HTTP", "47455420"), (b"\x1f\x8b\x08\0", "that is gzip")])
def test_other_files_are_named(data: bytes, hint: str) -> None:
    error = error_of(data)
    assert error.offset == 0
    assert "expected a pcap file (a1b2c3d4 or a1b23c4d) or pcapng (0a0d0d0a)" in error.reason
    assert hint in error.reason


def test_bad_length_of_a_pcap_packet() -> None:
    file = PcapWriter()
    file.packet(b"fine")
    data = file.bytes + struct.pack("<IIII", 0, 0, MAX_BLOCK + 1, 0)
    reader = PacketReader()
    found = reader.receive(data)
    assert next(found).data == b"fine"
    with pytest.raises(CaptureError) as caught:
        next(found)
    assert caught.value.offset == 24 + 20 + 8
    assert str(MAX_BLOCK + 1) in caught.value.reason
    reader.end()  # and that is all there is to say


@pytest.mark.parametrize("size", [0, 8, 13, MAX_BLOCK + 4])
def test_bad_length_of_a_pcapng_block(size: int) -> None:
    error = error_of(PcapngWriter().bytes + struct.pack("<III", 6, size, 0))
    assert error.offset == 48 + 4
    assert error.reason.endswith(f"got {size}")


def test_pcapng_block_whose_lengths_differ() -> None:
    error = error_of(PcapngWriter().bytes + struct.pack("<IIII", 5, 16, 0, 20))
    assert (error.offset, error.reason) == (48 + 12, "expected the block's length 16 again, got 20")


def test_pcapng_without_byte_order() -> None:
    error = error_of(struct.pack("<III", 0x0A0D0D0A, 28, 0x01020304) + bytes(16))
    assert error.offset == 8
    assert "04030201" in error.reason


def test_packet_of_an_interface_that_is_not_there() -> None:
    file = PcapngWriter()
    file.block(6, struct.pack("<IIIII", 1, 0, 0, 0, 0))
    error = error_of(file.bytes)
    assert (error.offset, error.reason) == (56, "expected the number of an interface below 1, got 1")


def test_packet_longer_than_its_block() -> None:
    file = PcapngWriter()
    file.block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + b"four")
    error = error_of(file.bytes)
    assert (error.offset, error.reason) == (76, "expected 5 bytes of a packet, the block has 4")


def test_block_too_short_for_its_type() -> None:
    file = PcapngWriter()
    file.block(6, b"four")
    assert "expected a longer block of type 6, its length is 16" in error_of(file.bytes).reason
