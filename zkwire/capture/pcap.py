"""Finds the packets in a .pcap or .pcapng file, whose bytes come in any pieces. No I/O.

    reader = PacketReader()
    for packet in reader.receive(data): ...
    reader.end()

It reads both byte orders, and times in microseconds, in nanoseconds, and in the unit that a pcapng interface names.
Sources: the Internet drafts "PCAP Capture File Format" and "PCAP Now Generic (pcapng) Capture File Format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..text import counted

#: The longest packet or block that is taken, in bytes. No network has longer ones. It limits what a wrong length costs.
MAX_BLOCK = 64 * 2**20

_MICROSECONDS, _NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
_SECTION_HEADER, _BYTE_ORDER = 0x0A0D0D0A, 0x1A2B3C4D
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_END_OF_OPTIONS, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14


class CaptureError(ValueError):
    """The file is not a capture, or is damaged.

    Attributes:
        offset: of the problem, in bytes from the start of the file.
        reason: what was expected and what was seen.
    """

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        self.reason = reason
        super().__init__(offset, reason)

    def __str__(self) -> str:
        return f"offset {self.offset}: {self.reason}"


class Packet(NamedTuple):
    """One captured packet. `number` counts from 1, as in Wireshark; `time_ns` is in nanoseconds since 1970; `data` has
    the bytes that were kept of its `length` bytes."""

    number: int
    time_ns: int
    link_type: int
    data: bytes
    length: int


class _Interface(NamedTuple):
    """What a pcapng interface block says. Times have `ticks` per second, and `offset` seconds are added to them."""

    link_type: int
    snap_length: int
    ticks: int
    offset: int


class PacketReader:
    """Reads one file. Take all packets that `receive` yields before you call it again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # offset in the file of the buffer's first byte
        self._order = ">"
        self._header: _Interface | None = None  # of a .pcap file, once its header was read
        self._is_ng = False
        self._interfaces: list[_Interface] = []
        self._number = 0
        self._time_ns = 0
        self._failed = False

    def receive(self, data: bytes) -> Iterator[Packet]:
        """The packets that these bytes complete.

        Raises:
            CaptureError: the file is damaged. The packets before that place have been yielded; no others can be read.
        """
        self._buffer += data
        start = 0
        try:
            while True:
                size, packet = self._step(start)
                if not size:
                    break
                start += size
                if packet is not None:
                    yield packet
        except CaptureError:
            self._failed = True
            raise
        finally:
            del self._buffer[:start]
            self._at += start

    def end(self) -> None:
        """The file has no more bytes.

        Raises:
            CaptureError: it ends within a packet, or is empty.
        """
        if self._failed:
            return
        left = len(self._buffer)
        if left:
            raise CaptureError(
                self._at, f"expected {self._expected()}, the file ends {counted(left, 'byte')} after that"
            )
        if self._header is None and not self._is_ng:
            raise CaptureError(0, "expected a pcap or pcapng file, it is empty")

    def _expected(self) -> str:
        if self._is_ng:
            return "a pcapng block"
        return "a pcap or pcapng file header" if self._header is None else "a packet with its 16-byte header"

    def _step(self, start: int) -> tuple[int, Packet | None]:
        """Two values: 1) how many bytes the header, packet or block at `start` of the buffer has, 0 if they have not
        all come; 2) the packet, if it is one."""
        if self._is_ng:
            return self._block(start)
        return self._file_header(start) if self._header is None else self._record(start, self._header)

    # --- pcap

    def _file_header(self, start: int) -> tuple[int, None]:
        if len(self._buffer) < 4:
            return 0, None
        magic = bytes(self._buffer[:4])
        if int.from_bytes(magic, "big") == _SECTION_HEADER:
            self._is_ng = True
            return self._block(start)  # type: ignore[return-value]  # a section header is not a packet
        for order, name in ((">", "big"), ("<", "little")):
            number = int.from_bytes(magic, name)  # type: ignore[arg-type]
            if number in (_MICROSECONDS, _NANOSECONDS):
                if len(self._buffer) < 24:
                    return 0, None
                self._order = order
                snap_length, link_type = struct.unpack_from(order + "II", self._buffer, 16)
                ticks = 10**6 if number == _MICROSECONDS else 10**9
                # The upper bits say how long the frame check sequence is. They can be ignored: IP has its own length.
                self._header = _Interface(link_type & 0xFFFF, snap_length, ticks, 0)
                return 24, None
        hint = ", that is gzip: decompress it first" if magic[:2] == b"\x1f\x8b" else ""
        raise CaptureError(
            0, f"expected a pcap file (a1b2c3d4 or a1b23c4d) or pcapng (0a0d0d0a), got {magic.hex()}{hint}"
        )

    def _record(self, start: int, header: _Interface) -> tuple[int, Packet | None]:
        if len(self._buffer) - start < 16:
            return 0, None
        seconds, ticks, captured, length = struct.unpack_from(self._order + "IIII", self._buffer, start)
        if captured > MAX_BLOCK:
            raise CaptureError(self._at + start + 8, f"expected a packet of at most {MAX_BLOCK} bytes, got {captured}")
        if len(self._buffer) - start < 16 + captured:
            return 0, None
        time_ns = seconds * 10**9 + ticks * 10**9 // header.ticks
        data = bytes(self._buffer[start + 16 : start + 16 + captured])
        return 16 + captured, self._packet(time_ns, header.link_type, data, length)

    def _packet(self, time_ns: int, link_type: int, data: bytes, length: int) -> Packet:
        self._number += 1
        self._time_ns = time_ns
        return Packet(self._number, time_ns, link_type, data, max(length, len(data)))

    # --- pcapng

    def _block(self, start: int) -> tuple[int, Packet | None]:
        if len(self._buffer) - start < 12:
            return 0, None
        at = self._at + start
        if self._buffer[start : start + 4] == _SECTION_HEADER.to_bytes(4, "big"):
            self._section(start)
        kind, size = struct.unpack_from(self._order + "II", self._buffer, start)
        if size < 12 or size % 4 or size > MAX_BLOCK:
            raise CaptureError(
                at + 4, f"expected the length of a block, 12 to {MAX_BLOCK} and a multiple of 4, got {size}"
            )
        if len(self._buffer) - start < size:
            return 0, None
        (again,) = struct.unpack_from(self._order + "I", self._buffer, start + size - 4)
        if again != size:
            raise CaptureError(at + size - 4, f"expected the block's length {size} again, got {again}")
        body = bytes(self._buffer[start + 8 : start + size - 4])
        try:
            return size, self._read_block(kind, body, at + 8)
        except struct.error:
            raise CaptureError(at + 4, f"expected a longer block of type {kind}, its length is {size}") from None

    def _section(self, start: int) -> None:
        """Begin a section: it has its own byte order and its own interfaces."""
        mark = bytes(self._buffer[start + 8 : start + 12])
        orders = {_BYTE_ORDER.to_bytes(4, "big"): ">", _BYTE_ORDER.to_bytes(4, "little"): "<"}
        if mark not in orders:
            raise CaptureError(
                self._at + start + 8, f"expected pcapng's byte-order mark 1a2b3c4d or 4d3c2b1a, got {mark.hex()}"
            )
        self._order = orders[mark]
        self._interfaces = []

    def _read_block(self, kind: int, body: bytes, at: int) -> Packet | None:
        unpack = struct.Struct(self._order + _FIXED[kind]).unpack_from if kind in _FIXED else None
        if unpack is None:
            return None  # names, statistics, comments
        fields = unpack(body)
        if kind == _INTERFACE:
            self._interfaces.append(self._interface(body, *fields))
            return None
        if kind == _SIMPLE_PACKET:
            interface, (length,) = self._interface_of(0, at), fields
            captured = min(length, interface.snap_length or length)
            time_ns = self._time_ns  # this block has no time: take that of the packet before it
        else:
            number, high, low, captured, length = fields
            interface = self._interface_of(number, at)
            time_ns = ((high << 32) | low) * 10**9 // interface.ticks + interface.offset * 10**9
        start = struct.calcsize(_FIXED[kind])
        if start + captured > len(body):
            raise CaptureError(
                at + start, f"expected {counted(captured, 'byte')} of a packet, the block has {len(body) - start}"
            )
        return self._packet(time_ns, interface.link_type, body[start : start + captured], length)

    def _interface_of(self, number: int, at: int) -> _Interface:
        if number >= len(self._interfaces):
            raise CaptureError(at, f"expected the number of an interface below {len(self._interfaces)}, got {number}")
        return self._interfaces[number]

    def _interface(self, body: bytes, link_type: int, snap_length: int) -> _Interface:
        ticks, seconds = 10**6, 0
        offset = 8
        while offset + 4 <= len(body):
            code, size = struct.unpack_from(self._order + "HH", body, offset)
            value = body[offset + 4 : offset + 4 + size]
            if code == _END_OF_OPTIONS:
                break
            if code == _IF_TSRESOL and size == 1:
                exponent = value[0] & 0x7F
                ticks = 2**exponent if value[0] & 0x80 else 10**exponent
            elif code == _IF_TSOFFSET and size == 8:
                (seconds,) = struct.unpack(self._order + "q", value)
            offset += 4 + size + -size % 4
        return _Interface(link_type, snap_length, ticks, seconds)


#: The fields at the start of each block that is read. The old packet block has a count of drops after its number.
_FIXED = {_INTERFACE: "H2xI", _OLD_PACKET: "H2xIIII", _SIMPLE_PACKET: "I", _ENHANCED_PACKET: "IIIII"}
