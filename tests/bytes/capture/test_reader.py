"""A capture read as a whole: its frames with time and connection, its ports, and what is not ZooKeeper's."""

from __future__ import annotations

import pytest

from tests.support.dialogues import (
    BEGINS,
    FRAMES,
    NAMES,
    RECEIVED,
    SENT,
    TALK,
    connected,
    dialogue,
    frames,
    frames_seen,
    notices,
    read,
    said,
    say,
    strays,
)
from tests.support.pcap_writer import ACK, ETHERNET, RAW, SYN, Connection, PcapngWriter, PcapWriter, ip, link, tcp
from zkwire.capture import Capture, CaptureError, reader
from zkwire.frames import frame
from zkwire.traffic.conversation import SeenFrame


def whole(names: tuple[str, ...] = NAMES) -> bytes:
    file = PcapWriter()
    connected(file, *names).close()
    return file.bytes


# --- whole captures


@pytest.mark.parametrize("step", [1, 100, None])
def test_frames_come_with_packet_time_and_connection(step: int | None) -> None:
    found = read(whole(), step)
    assert frames(found) == said(FRAMES)
    assert [captured.number for captured in found] == list(range(4, 4 + len(FRAMES)))
    assert [captured.time_ns // 10**6 % 1000 for captured in found][:2] == [3, 4]
    assert {str(captured.link.client) for captured in found if captured.link} == {"10.0.0.1:40000"}
    assert {str(captured.link.server) for captured in found if captured.link} == {"10.0.0.2:2181"}
    assert [captured.what.frame.now for captured in found if isinstance(captured.what, SeenFrame)] == [
        captured.time_ns / 10**9 for captured in found
    ]


def test_replies_find_their_requests_and_handshakes_are_known() -> None:
    found = frames_seen(read(whole()))
    assert [each.is_handshake for each in found[:3]] == [True, True, False]
    assert [each.opcode for each in found] == [golden.opcode for golden in FRAMES]
    assert all(
        each.request is not None for each in found[2:] if each.direction is RECEIVED and not each.is_notification
    )


@pytest.mark.parametrize("name", sorted(TALK))
def test_every_golden_conversation_is_read(name: str) -> None:
    file = PcapWriter()
    connected(file, name)
    assert frames(read(file.bytes)) == said(dialogue(name))


def test_pipelined_frames_in_one_segment() -> None:
    file = PcapWriter()
    connection = connected(file)
    requests = [golden for golden in TALK["multi"] if golden.direction is SENT] * 100
    connection.client(b"".join(frame(golden.payload) for golden in requests))
    found = read(file.bytes)
    assert len(frames(found)) == 102
    assert {captured.number for captured in found[2:]} == {6}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_frames_split_over_segments(size: int) -> None:
    file = PcapWriter()
    connection = Connection(file)
    connection.handshake()
    for golden in FRAMES:
        data = frame(golden.payload)
        for start in range(0, len(data), size):
            (connection.client if golden.direction is SENT else connection.server)(data[start : start + size])
    found = read(file.bytes)
    assert frames(found) == said(FRAMES)
    assert found[0].number == 3 + -(-len(frame(FRAMES[0].payload)) // size)  # complete with its last segment


def test_several_connections_are_told_apart() -> None:
    file = PcapWriter()
    connections = [Connection(file, client_port=port) for port in (40000, 40001, 40002)]
    for connection in connections:
        connection.handshake()
    for golden in FRAMES:
        for connection in connections:
            say(connection, [golden])
    found = read(file.bytes)
    for index in range(3):
        assert frames([captured for captured in found if captured.link and captured.link.number == index]) == said(
            FRAMES
        )


def test_ipv6_and_other_links() -> None:
    for link_type in (RAW, ETHERNET):
        file = PcapngWriter(link_type)
        connected(file, *NAMES, client="fe80::1", server="fe80::2")
        found = read(file.bytes)
        assert frames(found) == said(FRAMES)
        assert found[0].link is not None
        assert str(found[0].link.server) == "[fe80::2]:2181"


def test_a_connection_to_itself_has_two_directions() -> None:
    file = PcapWriter()
    connection = Connection(file, client="127.0.0.1", server="127.0.0.1", client_port=2181, server_port=2182)
    connection.handshake()
    say(connection, FRAMES)
    assert frames(read(file.bytes, ports=[2181, 2182])) == said(FRAMES)


# --- which ports


def test_the_port_of_a_connect_request_is_learnt() -> None:
    file = PcapWriter()
    other = Connection(file, client_port=1, server_port=80)
    other.handshake()
    other.client(b"GET / HTTP/1.1\r\n\r\n")
    other.server(b"HTTP/1.1 200 OK\r\n\r\n")
    connected(file, *NAMES, server_port=2391)
    other.client(b"GET / HTTP/1.1\r\n\r\n")
    capture = Capture()
    found = [*capture.receive(file.bytes), *capture.end()]
    assert frames(found) == said(FRAMES)
    assert (capture.ports, capture.links, capture.packets) == ({2181, 2391}, 1, capture.segments)


@pytest.mark.parametrize("size", [1, 4, 7, 30])
def test_a_connect_request_is_known_in_pieces(size: int) -> None:
    file = PcapWriter()
    connection = Connection(file, server_port=2391)
    connection.handshake()
    data = frame(FRAMES[0].payload)
    for start in range(0, len(data), size):
        connection.client(data[start : start + size])
    say(connection, FRAMES[1:])
    assert frames(read(file.bytes)) == said(FRAMES)


def test_frames_to_a_port_from_before_it_was_learnt_are_not_lost() -> None:
    file = PcapWriter()
    early = Connection(file, client_port=1, server_port=2391)
    say(early, TALK["getData"])
    elsewhere = Connection(file, client_port=1, server_port=2392)
    say(elsewhere, TALK["getData"])
    connected(file, *NAMES, server_port=2391)
    found = read(file.bytes)
    first = [captured for captured in found if captured.link and captured.link.client.port == 1]
    assert {captured.link.server.port for captured in first if captured.link} == {2391}
    assert frames(first) == said(TALK["getData"])
    assert notices(first) == [BEGINS]


def test_given_ports_are_the_only_ones() -> None:
    file = PcapWriter()
    connected(file, server_port=2391)
    connected(file, *NAMES, client_port=3, server_port=2392)
    assert frames(read(file.bytes, ports=[2392])) == said(FRAMES)


def test_without_a_syn_the_port_says_who_is_the_server() -> None:
    for server_first in (False, True):
        file = PcapWriter()
        connection = Connection(file)
        goldens = TALK["getData"][server_first:]
        say(connection, goldens)
        assert frames(read(file.bytes)) == said(goldens)


def test_a_capture_may_begin_with_the_syn_of_the_server() -> None:
    file = PcapWriter()
    connection = Connection(file)
    connection.segment(1, b"", flags=SYN | ACK)
    connection.sequence[1] += 1
    say(connection, FRAMES)
    found = read(file.bytes)
    assert frames(found) == said(FRAMES)
    assert notices(found) == []


def test_the_first_segment_says_who_is_the_server_where_both_ports_could_be() -> None:
    for flags in (SYN, SYN | ACK):
        file = PcapWriter()
        connection = Connection(file, client_port=2182, server_port=2181)
        side = 0 if flags == SYN else 1
        connection.segment(side, b"", flags=flags)
        connection.sequence[side] += 1
        say(connection, FRAMES)
        found = read(file.bytes, ports=[2181, 2182])
        assert frames(found) == said(FRAMES)
        assert found[0].link is not None
        assert found[0].link.server.port == 2181


def test_ports_that_were_used_for_something_else_before() -> None:
    file = PcapWriter()
    other = Connection(file, server_port=2391)
    other.handshake()
    other.client(b"GET / HTTP/1.1\r\n\r\n")
    other.close()
    connected(file, *NAMES, server_port=2391, first=(900_000, 700_000))
    found = read(file.bytes)
    assert (frames(found), notices(found), strays(found)) == (said(FRAMES), [], [])


def test_little_is_kept_of_a_connection_that_may_not_be_zookeepers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MAX_HELD", 100)
    file = PcapWriter()
    early = Connection(file, client_port=1, server_port=2391)
    say(early, TALK["create"] * 20)
    connected(file, server_port=2391)
    say(early, TALK["getData"])
    early.client(b"")
    found = [captured for captured in read(file.bytes) if captured.link and captured.link.client.port == 1]
    shown = frames(found)
    assert shown[-2:] == said(TALK["getData"])
    assert len(shown) < 10
    assert "bytes were not captured" in " ".join(notices(found))


def test_connection_that_is_long_and_one_sided_at_first() -> None:
    file = PcapWriter()
    other = Connection(file, client_port=1, server_port=80)
    for _ in range(300):
        other.client(b"more")
    other.server(b"thanks")
    assert read(file.bytes) == []


# --- connections that begin and end


def test_reply_that_was_captured_before_its_request_finds_it() -> None:
    request, reply = (frame(golden.payload) for golden in TALK["getData"])
    file = PcapWriter()
    connection = connected(file)
    connection.segment(1, reply, ack=len(request))
    connection.client(request)
    connection.sequence[1] += len(reply)
    found = read(file.bytes)
    early = frames_seen(found)[-2]
    assert (early.direction, early.opcode) == (RECEIVED, TALK["getData"][0].opcode)
    assert early.request is not None
    assert [captured.number for captured in found[-2:]] == [6, 7]


@pytest.mark.parametrize("ends", [True, False])
def test_ports_that_are_used_again_are_another_connection(ends: bool) -> None:
    file = PcapWriter()
    first = connected(file, "create")
    if ends:
        first.close()
        first.segment(0, b"")
    connected(file, "getData", first=(900_000, 700_000))
    found = read(file.bytes)
    assert [captured.link.number for captured in found if captured.link] == [0] * 4 + [1] * 4
    assert frames(found) == said([*dialogue("create"), *dialogue("getData")])


# --- bytes that are not a frame


def test_four_letter_words_and_their_answers_are_shown_as_bytes() -> None:
    file = PcapWriter()
    connection = Connection(file)
    connection.handshake()
    connection.client(b"ruok")
    connection.server(b"imok")
    connection.close()
    assert [(stray.direction, stray.data) for stray in strays(read(file.bytes))] == [
        (SENT, b"ruok"),
        (RECEIVED, b"imok"),
    ]


def test_bytes_without_any_frame_are_counted_not_kept() -> None:
    file = PcapWriter()
    connection = Connection(file)
    for _ in range(20):
        connection.client(b"\xff" * 20_000)
    found = read(file.bytes)
    assert notices(found) == [BEGINS, "client to server: 400000 bytes of frames that were not captured whole"]


def test_fragments_are_named_once_for_each_packet() -> None:
    file = PcapWriter(RAW)
    for place in (0x2000, 2, 0x2000):
        file.packet(ip("10.0.0.1", "10.0.0.2", bytes(16), place=place))
    found = read(file.bytes)
    assert notices(found) == ["IP packet 1 from 10.0.0.1 to 10.0.0.2 came in fragments: left out"]
    assert found[0].link is None


def test_packets_that_cannot_be_read_are_named() -> None:
    file = PcapWriter(RAW)
    file.packet(ip("10.0.0.1", "10.0.0.2", tcp(1, 2181, 0, 0, ACK, b""))[:30])
    file.packet(ip("10.0.0.1", "10.0.0.2", b"", protocol=17))
    assert notices(read(file.bytes)) == ["packet 1: expected 20 bytes of a TCP header, 10 were captured"]


def test_link_types_that_are_not_known_are_named_once() -> None:
    file = PcapWriter(220)
    file.packet(b"usb")
    file.packet(b"usb")
    assert notices(read(file.bytes)) == ["link type 220 is not known: left out"]


def test_bad_file_gives_all_before_the_damage() -> None:
    capture = Capture()
    found = capture.receive(whole() + b"\0" * 8 + b"\xff" * 8)
    shown = [next(found) for _ in FRAMES]
    assert frames(shown) == said(FRAMES)
    with pytest.raises(CaptureError):
        next(found)
    assert list(capture.end()) == []
    with pytest.raises(CaptureError):
        read(whole()[:-1])


def test_link_layer_of_another_capture_is_not_mistaken() -> None:
    file = PcapWriter(ETHERNET)
    file.packet(link(ETHERNET, ip("10.0.0.1", "10.0.0.2", tcp(5, 6, 0, 0, SYN, b""))))
    capture = Capture()
    assert [*capture.receive(file.bytes), *capture.end()] == []
    assert (capture.packets, capture.segments, capture.links) == (1, 1, 0)
