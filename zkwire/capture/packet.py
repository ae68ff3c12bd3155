"""The headers of a captured packet, from the link to TCP. Pure functions, no state.

Link types: Ethernet with any VLAN tags, Linux cooked (v1 and v2), BSD loopback, raw IP. IPv4, and IPv6 with its
extension headers. IP fragments are reported and not put together: TCP avoids them.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple

from ..text import counted

_ETHERNET, _COOKED, _COOKED2 = 1, 113, 276
_NULL, _LOOP = 0, 108  # begins with a 4-byte address family, in the byte order of the capturing host or of the network
_RAW = frozenset({12, 14, 101, 228, 229})
#: Link types whose packets can be read. Source: tcpdump.org's list of link-layer header types.
LINK_TYPES = frozenset({_ETHERNET, _COOKED, _COOKED2, _NULL, _LOOP}) | _RAW

_VLAN = frozenset({0x8100, 0x88A8, 0x9100})
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP = 6
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS = frozenset({0, 43, 60, 135, _AUTHENTICATION, _FRAGMENT})
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16


class Endpoint(NamedTuple):
    """One end of a TCP connection."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Segment(NamedTuple):
    """One TCP segment. `sequence` and `acknowledged` (None: it acknowledges nothing) are as sent, modulo 2**32; `data`
    has the bytes that were captured of its `length` bytes."""

    source: Endpoint
    target: Endpoint
    sequence: int
    acknowledged: int | None
    syn: bool
    fin: bool
    rst: bool
    data: bytes
    length: int


class Fragment(NamedTuple):
    """A part of an IP packet that carries TCP; `offset` is its place in that packet."""

    source: str
    target: str
    identification: int
    offset: int


class Broken(NamedTuple):
    """A packet that carries or may carry TCP, with a header that is cut or wrong."""

    reason: str


class _BrokenError(Exception):
    """Raised within this module alone."""


def segment_of(link_type: int, data: bytes) -> Segment | Fragment | Broken | None:
    """What the packet carries; None if it does not carry TCP."""
    try:
        found = _ip_packet(link_type, data)
        if found is None:
            return None
        version, data = found
        return _ipv4(data) if version == 4 else _ipv6(data)
    except _BrokenError as error:
        return Broken(str(error))


def _need(data: bytes, size: int, what: str) -> None:
    if len(data) < size:
        raise _BrokenError(
            f"expected {counted(size, 'byte')} of {what}, {len(data)} {'was' if len(data) == 1 else 'were'} captured"
        )


def _ip_packet(link_type: int, data: bytes) -> tuple[int, bytes] | None:
    """(4 or 6, the bytes from the IP header on)."""
    if link_type in _RAW:
        _need(data, 1, "an IP header")
        return _by_version(data)
    if link_type in (_NULL, _LOOP):
        _need(data, 5, "a loopback header")
        return _by_version(data[4:])  # each system numbers the families in its own way; the IP header says it again
    kind_at, size = {_ETHERNET: (12, 14), _COOKED: (14, 16), _COOKED2: (0, 20)}[link_type]
    _need(data, size, "a link header")
    (kind,) = struct.unpack_from(">H", data, kind_at)
    while kind in _VLAN:
        _need(data, size + 4, "a VLAN tag")
        (kind,) = struct.unpack_from(">H", data, size + 2)
        size += 4
    if kind not in (_IPV4, _IPV6):
        return None
    return 4 if kind == _IPV4 else 6, data[size:]


def _by_version(data: bytes) -> tuple[int, bytes] | None:
    version = data[0] >> 4
    return (version, data) if version in (4, 6) else None


def _ipv4(data: bytes) -> Segment | Fragment | None:
    _need(data, 20, "an IPv4 header")
    size = (data[0] & 15) * 4
    total, identification, place, protocol = struct.unpack_from(">HHHxB", data, 2)
    if protocol != _TCP:
        return None
    source, target = str(ip_address(data[12:16])), str(ip_address(data[16:20]))
    if place & 0x3FFF:  # more fragments, or not the first one
        return Fragment(source, target, identification, (place & 0x1FFF) * 8)
    if size < 20 or 0 < total < size:
        raise _BrokenError(f"expected an IPv4 header of at least 20 bytes and a packet as long, got {size} of {total}")
    # A length of 0: the network card cuts the packet up after it was captured, so this is all of it.
    return _tcp(source, target, data[size : total or None], (total or len(data)) - size)


def _ipv6(data: bytes) -> Segment | Fragment | None:
    _need(data, 40, "an IPv6 header")
    length, following = struct.unpack_from(">HB", data, 4)
    source, target = str(ip_address(data[8:24])), str(ip_address(data[24:40]))
    end = 40 + length if length else len(data)
    offset = 40
    while following in _EXTENSIONS:
        _need(data, offset + 8, "an IPv6 extension header")
        kind, (following, size) = following, data[offset : offset + 2]
        if kind == _FRAGMENT:
            place, identification = struct.unpack_from(">HI", data, offset + 2)
            if place & 0xFFF9:
                return Fragment(source, target, identification, place & 0xFFF8) if following == _TCP else None
            size = 0  # the field is reserved there
        offset += (size + 2) * 4 if kind == _AUTHENTICATION else (size + 1) * 8
    if following != _TCP:
        return None
    return _tcp(source, target, data[offset:end], end - offset)


def _tcp(source: str, target: str, data: bytes, length: int) -> Segment:
    """The segment whose TCP header starts `data`: the bytes that were captured of `length` bytes."""
    _need(data, 20, "a TCP header")
    ports = struct.unpack_from(">HH", data)
    sequence, acknowledged, offset, flags = struct.unpack_from(">IIBB", data, 4)
    size = (offset >> 4) * 4
    if not 20 <= size <= length:
        raise _BrokenError(f"expected a TCP header of 20 to {length} bytes, got {size}")
    return Segment(
        Endpoint(source, ports[0]),
        Endpoint(target, ports[1]),
        sequence,
        acknowledged if flags & _ACK else None,
        bool(flags & _SYN),
        bool(flags & _FIN),
        bool(flags & _RST),
        data[size:],
        length - size,
    )
