"""Writes capture files: packets around the bytes of tests, and of the recorder of docs/session.pcap.

file = PcapWriter()
connection = Connection(file)
connection.handshake()
connection.client(b"..."); connection.server(b"...")
file.bytes
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

ETHERNET, NULL, RAW, LOOP, COOKED, COOKED2 = 1, 0, 101, 108, 113, 276
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
START = 1_700_000_000  # seconds since 1970, of the first packet


def tcp(
    source: int, target: int, sequence: int, acknowledged: int, flags: int, data: bytes, options: bytes = b""
) -> bytes:
    """A TCP segment. Checksums are 0, as in packets whose checksums the network card computes."""
    offset = (20 + len(options)) // 4
    fields = (source, target, sequence % 2**32, acknowledged % 2**32, offset << 4, flags, 65535, 0, 0)
    return struct.pack(">HHIIBBHHH", *fields) + options + data


def ip(
    source: str, target: str, payload: bytes, *, place: int = 0, protocol: int = 6, total: int | None = None
) -> bytes:
    """An IPv4 or IPv6 packet; `place` is IPv4's flags and fragment offset, `total` another length than its own."""
    ends = ip_address(source).packed + ip_address(target).packed
    if ":" in source:
        return struct.pack(">IHBB", 6 << 28, len(payload) if total is None else total, protocol, 64) + ends + payload
    length = 20 + len(payload) if total is None else total
    return struct.pack(">BBHHHBBH", 0x45, 0, length, 1, place, 64, protocol, 0) + ends + payload


def link(link_type: int, packet: bytes) -> bytes:
    """The packet after the header of its link type."""
    is_v6 = packet[0] >> 4 == 6
    kind = 0x86DD if is_v6 else 0x0800
    if link_type == ETHERNET:
        return bytes(12) + struct.pack(">H", kind) + packet
    if link_type == COOKED:
        return bytes(14) + struct.pack(">H", kind) + packet
    if link_type == COOKED2:
        return struct.pack(">H", kind) + bytes(18) + packet
    if link_type == NULL:
        return struct.pack("<I", 30 if is_v6 else 2) + packet
    if link_type == LOOP:
        return struct.pack(">I", 30 if is_v6 else 2) + packet
    assert link_type == RAW
    return packet


class PcapWriter:
    """A .pcap file. The next packet is captured at `now`, which moves on by `step` seconds with each."""

    def __init__(self, link_type: int = ETHERNET, *, order: str = "<", nanoseconds: bool = False) -> None:
        self.link_type = link_type
        self._order, self._ticks = order, 10**9 if nanoseconds else 10**6
        magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
        self.bytes = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)
        self.now = float(START)
        self.step = 0.001

    def packet(self, data: bytes, *, length: int | None = None) -> None:
        seconds, fraction = divmod(round(self.now * self._ticks), self._ticks)
        fields = (seconds, fraction, len(data), len(data) if length is None else length)
        self.bytes += struct.pack(self._order + "IIII", *fields) + data
        self.now = round(self.now + self.step, 6)


class PcapngWriter(PcapWriter):
    """The same as .pcapng, with one interface; `resolution` is its if_tsresol option."""

    def __init__(self, link_type: int = ETHERNET, *, order: str = "<", resolution: int | None = None) -> None:
        super().__init__(link_type, order=order)
        self._ticks = 10**6 if resolution is None else 2 ** (resolution & 127) if resolution & 128 else 10**resolution
        self.bytes = b""
        self.block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
        option = b"" if resolution is None else struct.pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
        self.block(1, struct.pack(order + "HHI", link_type, 0, 262144) + option)

    def block(self, kind: int, body: bytes) -> None:
        body += bytes(-len(body) % 4)
        size = struct.pack(self._order + "I", 12 + len(body))
        self.bytes += struct.pack(self._order + "I", kind) + size + body + size

    def packet(self, data: bytes, *, length: int | None = None) -> None:
        ticks = round(self.now * self._ticks)
        fields = (0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data) if length is None else length)
        self.block(6, struct.pack(self._order + "IIIII", *fields) + data)
        self.now = round(self.now + self.step, 6)


class Connection:
    """One TCP connection; what is sent is acknowledged by the next segment the other way."""

    def __init__(
        self,
        file: PcapWriter,
        *,
        client: str = "10.0.0.1",
        client_port: int = 40000,
        server: str = "10.0.0.2",
        server_port: int = 2181,
        first: tuple[int, int] = (1000, 5000),
    ) -> None:
        self.file = file
        self.ends = ((client, client_port), (server, server_port))
        self.sequence = list(first)  # sequence number of the next byte of the client, of the server

    def handshake(self) -> None:
        for side, flags in ((0, SYN), (1, SYN | ACK)):
            self.segment(side, b"", flags=flags)
            self.sequence[side] += 1
        self.segment(0, b"")

    def client(self, data: bytes) -> None:
        """Sent by the client, in one segment."""
        self.segment(0, data)
        self.sequence[0] += len(data)

    def server(self, data: bytes) -> None:
        self.segment(1, data)
        self.sequence[1] += len(data)

    def close(self) -> None:
        """FIN both ways."""
        for side in (0, 1):
            self.segment(side, b"", flags=FIN | ACK)
            self.sequence[side] += 1
        self.segment(0, b"")

    def segment(
        self, side: int, data: bytes, *, offset: int = 0, flags: int = ACK, kept: int | None = None, ack: int = 0
    ) -> None:
        """A segment at `offset` from where its side is, of which `kept` bytes of data are captured, and that
        acknowledges `ack` bytes more than were sent."""
        (source, source_port), (target, target_port) = self.ends[side], self.ends[1 - side]
        acknowledged = self.sequence[1 - side] + ack if flags & ACK else 0
        segment = tcp(source_port, target_port, self.sequence[side] + offset, acknowledged, flags, data)
        packet = link(self.file.link_type, ip(source, target, segment))
        self.file.packet(packet if kept is None else packet[: len(packet) - len(data) + kept], length=len(packet))
