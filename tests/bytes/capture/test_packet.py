"""Headers: every link type, both versions of IP, and packets that are cut or damaged."""

from __future__ import annotations

import re
import struct

import pytest

from tests.support.pcap_writer import ACK, COOKED, COOKED2, ETHERNET, FIN, LOOP, NULL, RAW, RST, SYN, ip, link, tcp
from zkwire.capture.packet import LINK_TYPES, Broken, Endpoint, Fragment, Segment, segment_of

ENDS = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fe80::1", "2001:db8::2")}


def packet(version: int, data: bytes = b"data", flags: int = ACK, options: bytes = b"") -> bytes:
    return ip(*ENDS[version], tcp(40000, 2181, 7, 9, flags, data, options))


def expected(version: int, data: bytes = b"data") -> Segment:
    source, target = ENDS[version]
    ends = Endpoint(source, 40000), Endpoint(target, 2181)
    return Segment(*ends, 7, 9, syn=False, fin=False, rst=False, data=data, length=len(data))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("link_type", [ETHERNET, COOKED, COOKED2, NULL, LOOP, RAW])
def test_segment_after_each_link_header(version: int, link_type: int) -> None:
    assert segment_of(link_type, link(link_type, packet(version))) == expected(version)
    assert link_type in LINK_TYPES


def test_raw_ip_has_several_numbers() -> None:
    for link_type in (12, 14, 228):
        assert segment_of(link_type, packet(4)) == expected(4)
    assert segment_of(229, packet(6)) == expected(6)


@pytest.mark.parametrize("tags", [[0x8100], [0x88A8, 0x8100], [0x9100]])
def test_vlan_tags_are_passed_over(tags: list[int]) -> None:
    plain = link(ETHERNET, packet(4))
    tagged = plain[:12] + b"".join(struct.pack(">HH", tag, 5) for tag in tags) + plain[12:]
    assert segment_of(ETHERNET, tagged) == expected(4)
    cooked = link(COOKED, packet(6))
    assert segment_of(COOKED, cooked[:14] + struct.pack(">HH", tags[0], 5) + cooked[14:]) == expected(6)


def test_padding_of_a_short_ethernet_frame_is_no_data() -> None:
    assert segment_of(ETHERNET, link(ETHERNET, packet(4, b"")) + bytes(6)) == expected(4, b"")
    assert segment_of(ETHERNET, link(ETHERNET, packet(6, b"")) + bytes(6)) == expected(6, b"")


@pytest.mark.parametrize("version", [4, 6])
def test_length_0_means_all_that_was_captured(version: int) -> None:
    payload = tcp(40000, 2181, 7, 9, ACK, b"data")
    assert segment_of(RAW, ip(*ENDS[version], payload, total=0)) == expected(version)


def test_flags_and_options() -> None:
    for flags, name in ((SYN, "syn"), (FIN, "fin"), (RST, "rst")):
        found = segment_of(RAW, packet(4, b"", flags))
        assert isinstance(found, Segment)
        assert [each for each in ("syn", "fin", "rst") if getattr(found, each)] == [name]
        assert found.acknowledged is None
    assert segment_of(RAW, packet(4, options=bytes(12))) == expected(4)


def test_ipv6_extension_headers_are_passed_over() -> None:
    segment = tcp(40000, 2181, 7, 9, ACK, b"data")
    hop_by_hop, authentication = struct.pack(">BB6x", 51, 0), struct.pack(">BB14x", 44, 2)
    atomic = struct.pack(">BBHI", 60, 255, 0, 1)  # a fragment header on a whole packet
    options = struct.pack(">BB14x", 6, 1)
    whole = ip(*ENDS[6], hop_by_hop + authentication + atomic + options + segment)
    assert segment_of(RAW, whole[:6] + b"\0" + whole[7:]) == expected(6)


def test_fragments_are_named() -> None:
    segment = tcp(40000, 2181, 7, 9, ACK, b"data")
    for place, offset in ((0x2000, 0), (0x2001, 8), (0x0003, 24)):
        assert segment_of(RAW, ip(*ENDS[4], segment, place=place)) == Fragment(*ENDS[4], 1, offset)
    assert isinstance(segment_of(RAW, ip(*ENDS[4], segment, place=0x4000)), Segment)  # "do not fragment"
    for place, offset in ((1, 0), (8 | 1, 8), (16, 16)):
        whole = ip(*ENDS[6], struct.pack(">BBHI", 6, 0, place, 77) + segment)
        assert segment_of(RAW, whole[:6] + b"\x2c" + whole[7:]) == Fragment(*ENDS[6], 77, offset)


def test_packet_without_tcp_is_left_alone() -> None:
    assert segment_of(RAW, ip(*ENDS[4], b"udp", protocol=17)) is None
    assert segment_of(RAW, ip(*ENDS[4], b"udp", protocol=17, place=1)) is None
    for following, rest in ((17, b"udp"), (44, struct.pack(">BBHI", 17, 0, 1, 7))):
        whole = ip(*ENDS[6], rest)
        assert segment_of(RAW, whole[:6] + bytes([following]) + whole[7:]) is None
    assert segment_of(ETHERNET, bytes(12) + b"\x08\x06" + bytes(28)) is None  # ARP
    assert segment_of(RAW, b"\x50" + bytes(40)) is None
    assert segment_of(NULL, struct.pack("<I", 7) + bytes(30)) is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("link_type", [ETHERNET, COOKED, COOKED2, NULL, RAW])
def test_packet_cut_within_its_headers_says_which(version: int, link_type: int) -> None:
    whole = link(link_type, packet(version))
    for size in range(len(whole) - len(b"data")):
        found = segment_of(link_type, whole[:size])
        assert isinstance(found, Broken)
        assert found.reason.startswith("expected ")
        assert re.search(r", (1 was|(?!1 )\d+ were) captured", found.reason)
    for kept in range(4):
        found = segment_of(link_type, whole[: len(whole) - 4 + kept])
        assert isinstance(found, Segment)
        assert (found.data, found.length) == (b"data"[:kept], 4)


def test_cut_vlan_tag_and_extension_header() -> None:
    tagged = bytes(12) + struct.pack(">HH", 0x8100, 5)
    assert segment_of(ETHERNET, tagged) == Broken("expected 18 bytes of a VLAN tag, 16 were captured")
    whole = ip(*ENDS[6], bytes(4))
    found = segment_of(RAW, whole[:6] + b"\0" + whole[7:])
    assert found == Broken("expected 48 bytes of an IPv6 extension header, 44 were captured")


def test_impossible_lengths_are_named() -> None:
    short = packet(4)
    assert isinstance(segment_of(RAW, b"\x44" + short[1:]), Broken)
    assert isinstance(segment_of(RAW, ip(*ENDS[4], bytes(20), total=10)), Broken)
    for offset in (0x40, 0xF0):
        data = bytearray(tcp(1, 2, 3, 4, ACK, b"data"))
        data[12] = offset
        found = segment_of(RAW, ip(*ENDS[4], bytes(data)))
        assert found == Broken(f"expected a TCP header of 20 to 24 bytes, got {offset >> 2}")


def test_endpoints_read_as_addresses_do() -> None:
    assert str(Endpoint("10.0.0.1", 2181)) == "10.0.0.1:2181"
    assert str(Endpoint("fe80::1", 2181)) == "[fe80::1]:2181"
