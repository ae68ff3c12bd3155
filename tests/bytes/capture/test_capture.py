"""Captures of the frames of real servers, disordered in every way that networks and captures bring about."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from tests.support.dialogues import HANDSHAKE, TALK, connected, dialogue, frames, notices, read, said, say, strays
from tests.support.golden import Golden
from tests.support.pcap_writer import (
    ACK,
    ETHERNET,
    FIN,
    RAW,
    RST,
    SYN,
    Connection,
    PcapngWriter,
    PcapWriter,
    ip,
    link,
    tcp,
)
from zkwire.capture import Capture, Captured, CaptureError, Notice, reader
from zkwire.frames import Direction, frame
from zkwire.text import counted
from zkwire.traffic.conversation import SeenFrame

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
NAMES = ("create", "watch-getData", "ping", "getChildren2", "multi")
FRAMES = dialogue(*NAMES)
BEGINS = "the capture begins within this connection"


def whole(names: tuple[str, ...] = NAMES) -> bytes:
    file = PcapWriter()
    connected(file, *names).close()
    return file.bytes


def frames_seen(found: list[Captured]) -> list[SeenFrame]:
    return [captured.what for captured in found if isinstance(captured.what, SeenFrame)]


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


# --- segments in disorder


def shuffled(goldens: list[Golden], seed: int) -> bytes:
    """The frames cut into segments of chance sizes that come in a chance order, some twice, some overlapping."""
    chance = random.Random(seed)
    file = PcapWriter()
    connection = Connection(file, first=(2**32 - 60, 2**32 - 5))  # numbers start over early on
    connection.handshake()
    segments: list[tuple[int, int, bytes, int]] = []
    sent = [0, 0]
    for golden in goldens:
        side = 0 if golden.direction is SENT else 1
        data = frame(golden.payload)
        cuts = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(3))})
        for start, end in itertools.pairwise(cuts):
            back = chance.choice([0, 0, 1, 5])
            first = max(start - back, 0)
            segments += [(side, sent[side] + first, data[first:end], sent[1 - side])] * chance.choice([1, 1, 2])
        sent[side] += len(data)
    places = sorted(range(len(segments)), key=lambda place: place + chance.uniform(0, 8))
    for place in places:
        side, offset, data, acknowledged = segments[place]
        connection.segment(side, data, offset=offset, ack=acknowledged)
    return file.bytes


@pytest.mark.parametrize("seed", range(40))
def test_segments_late_twice_and_overlapping(seed: int) -> None:
    found = read(shuffled(FRAMES, seed))
    assert notices(found) == []
    for direction in Direction:
        assert [each for each in frames(found) if each[0] is direction] == [
            each for each in said(FRAMES) if each[0] is direction
        ]
    assert [each.opcode for each in frames_seen(found) if each.header is not None and not each.is_notification].count(
        None
    ) == 0


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


def test_keepalive_probes_change_nothing() -> None:
    file = PcapWriter()
    connection = connected(file)
    connection.segment(0, b"\0", offset=-1)
    connection.segment(0, b"", offset=-1)
    connection.segment(1, b"")
    say(connection, TALK["getData"])
    found = read(file.bytes)
    assert (frames(found), notices(found)) == (said(dialogue("getData")), [])


def test_syn_sent_again_begins_nothing_new() -> None:
    file = PcapWriter()
    connection = Connection(file)
    connection.segment(0, b"", flags=SYN)
    connection.handshake()
    connection.segment(1, b"", offset=-1, flags=SYN | ACK)
    say(connection, FRAMES)
    found = read(file.bytes)
    assert frames(found) == said(FRAMES)
    assert {captured.link.number for captured in found if captured.link} == {0}


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


# --- what was not captured


@pytest.mark.parametrize("start", range(len(FRAMES)))
def test_capture_that_begins_between_two_frames(start: int) -> None:
    file = PcapWriter()
    connection = Connection(file)
    say(connection, FRAMES[start:])
    found = read(file.bytes)
    assert frames(found) == said(FRAMES[start:])
    assert notices(found) == ([] if start == 0 else [BEGINS])


@pytest.mark.parametrize("start", range(2, len(FRAMES) - 4))
@pytest.mark.parametrize("cut", [1, 3, 4, 11])
def test_capture_that_begins_within_a_frame(start: int, cut: int) -> None:
    file = PcapWriter()
    connection = Connection(file)
    first, direction = frame(FRAMES[start].payload)[cut:], FRAMES[start].direction
    (connection.client if direction is SENT else connection.server)(first)
    say(connection, FRAMES[start + 1 :])
    found = read(file.bytes)
    assert frames(found) == said(FRAMES[start + 1 :])
    way = "client to server" if direction is SENT else "server to client"
    assert sorted(notices(found)) == sorted(
        [f"{way}: {counted(len(first), 'byte')} of frames that were not captured whole", BEGINS]
    )


def test_frame_is_found_after_a_beginning_that_is_cut_in_one_segment() -> None:
    requests = [frame(golden.payload) for golden in FRAMES[2:] if golden.direction is SENT]
    file = PcapWriter()
    Connection(file).client(b"".join(requests)[7:])
    found = read(file.bytes)
    assert [payload for _, payload in frames(found)] == [request[4:] for request in requests[1:]]


def test_large_frame_at_the_beginning_is_waited_for() -> None:
    request, reply = TALK["getChildren2"]
    names = b"\x00\x00\x00\x04\x00\x00\x00\x10" * 500  # which could begin a frame at every second int
    large = reply.payload[:16] + len(names).to_bytes(4, "big") + names + bytes(68)
    file = PcapWriter()
    connection = Connection(file)
    data = frame(TALK["getData"][1].payload[:16] + large[16:])
    for start in range(0, len(data), 1000):
        connection.server(data[start : start + 1000])
    connection.server(frame(reply.payload))
    connection.client(frame(request.payload))
    found = read(file.bytes)
    assert frames(found) == [(RECEIVED, data[4:]), (RECEIVED, reply.payload), (SENT, request.payload)]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_segment_that_is_missing_between_frames(acknowledged: bool) -> None:
    create, ping = TALK["create"], TALK["ping"]
    file = PcapWriter()
    connection = connected(file)
    connection.sequence[0] += len(frame(create[0].payload))  # nobody captured it
    if acknowledged:
        say(connection, create[1:])
    file.now += 2
    say(connection, ping)
    found = read(file.bytes)
    assert frames(found) == said([*HANDSHAKE, *(create[1:] if acknowledged else []), *ping])
    assert notices(found) == [f"client to server: {len(frame(create[0].payload))} bytes were not captured"]
    assert frames_seen(found)[-1].request is frames_seen(found)[-2]
    if acknowledged:
        orphan = frames_seen(found)[2]
        assert (orphan.request, orphan.opcode, orphan.direction) == (None, None, RECEIVED)


@pytest.mark.parametrize("start", [1, 3, 4, 20])
@pytest.mark.parametrize("more", [0, 1, 30])
def test_gap_within_a_frame_ends_where_its_length_says(start: int, more: int) -> None:
    create, ping = TALK["create"], TALK["ping"]
    data = frame(create[0].payload)
    end = len(data) - 10
    file = PcapWriter()
    connection = connected(file)
    connection.client(data[:start])
    connection.sequence[0] += end - start
    connection.client(data[end : end + 3])
    connection.client(data[end + 3 :] + frame(ping[0].payload))
    file.now += 2
    say(connection, create[1:])
    say(connection, [ping[0]] * more)
    found = read(file.bytes)
    assert frames(found) == said([*HANDSHAKE, ping[0], create[1], *[ping[0]] * more])
    assert notices(found)[0] == f"client to server: {end - start} bytes were not captured, within a frame"
    assert len(notices(found)) == (2 if start < 4 else 1)


def test_second_gap_within_the_rest_of_a_broken_frame() -> None:
    data, ping = frame(TALK["create"][0].payload), TALK["ping"]
    file = PcapWriter()
    connection = connected(file)
    connection.client(data[:8])
    connection.sequence[0] += 4
    connection.client(data[12:16])
    connection.sequence[0] += 4
    connection.client(data[20:])
    say(connection, ping)
    found = read(file.bytes)
    assert frames(found) == said([*HANDSHAKE, *ping])
    assert notices(found) == ["client to server: 4 bytes were not captured, within a frame"] * 2


def test_gap_longer_than_the_frame_it_begins_in() -> None:
    create, ping = TALK["create"], TALK["ping"]
    data = frame(create[0].payload) + frame(TALK["getData"][0].payload)
    file = PcapWriter()
    connection = connected(file)
    connection.client(data[:12])
    connection.sequence[0] += len(data) - 12 - 5
    connection.client(data[-5:])
    say(connection, ping)
    found = read(file.bytes)
    assert frames(found) == said([*HANDSHAKE, *ping])
    assert notices(found) == [
        f"client to server: {len(data) - 17} bytes were not captured, within a frame",
        "client to server: 5 bytes of frames that were not captured whole",
    ]


def test_gap_while_no_frame_was_found_yet() -> None:
    ping = TALK["ping"]
    file = PcapWriter()
    connection = Connection(file)
    connection.client(b"\xff" * 9)
    connection.sequence[0] += 3
    connection.client(b"\xff" * 8)
    say(connection, ping)
    found = read(file.bytes)
    assert frames(found) == said(ping)
    assert "client to server: 17 bytes of frames that were not captured whole" in notices(found)


def test_handshake_that_is_missing() -> None:
    file = PcapWriter()
    connection = Connection(file)
    connection.handshake()
    for side, golden in enumerate(HANDSHAKE):
        connection.sequence[side] += len(frame(golden.payload))
    say(connection, FRAMES[2:])
    found = read(file.bytes)
    assert frames(found) == said(FRAMES[2:])
    assert sorted(notices(found)) == [
        f"client to server: {len(HANDSHAKE[0].payload) + 4} bytes were not captured",
        f"server to client: {len(HANDSHAKE[1].payload) + 4} bytes were not captured",
    ]


def test_packets_that_were_cut_short_leave_a_gap() -> None:
    create, ping = TALK["create"], TALK["ping"]
    file = PcapWriter()
    connection = connected(file)
    connection.segment(0, frame(create[0].payload), kept=10)
    connection.sequence[0] += len(create[0].payload) + 4
    say(connection, [create[1], *ping])
    connection.segment(0, frame(create[0].payload), kept=0)
    found = read(file.bytes)
    assert frames(found) == said([*HANDSHAKE, create[1], *ping])
    assert notices(found) == [
        f"client to server: {len(create[0].payload) - 6} bytes were not captured, within a frame",
        f"client to server: {len(create[0].payload) + 4} bytes were not captured",
    ]


def test_capture_of_one_direction_alone() -> None:
    file = PcapWriter()
    connection = Connection(file)
    for golden in FRAMES:
        size = len(frame(golden.payload))
        if golden.direction is RECEIVED:
            say(connection, [golden])
        else:
            connection.sequence[0] += size
    found = read(file.bytes)
    assert frames(found) == [each for each in said(FRAMES) if each[0] is RECEIVED]


class OneWay(Connection):
    """Only the segments of one side are captured."""

    def __init__(self, file: PcapWriter, side: int) -> None:
        super().__init__(file)
        self._side = side

    def segment(self, side: int, *given: Any, **options: Any) -> None:
        if side == self._side:
            super().segment(side, *given, **options)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("pause", [0, 2])
def test_fin_is_no_missing_byte_of_a_capture_of_one_direction(side: int, pause: float) -> None:
    file = PcapWriter()
    connection = OneWay(file, side)
    connection.handshake()
    for golden in FRAMES:
        say(connection, [golden])
        file.now += pause  # more than a second: what was acknowledged is given up before the end
    connection.close()
    found = read(file.bytes)
    captured, missed = (
        [each for each in said(FRAMES) if (each[0] is RECEIVED) == wanted] for wanted in (side, 1 - side)
    )
    assert frames(found) == captured
    counts = [int(text.split()[3]) for text in notices(found)]
    assert sum(counts) == sum(len(payload) + 4 for _, payload in missed)


def test_bytes_that_nobody_captured_stand_before_the_packet_that_acknowledges_them() -> None:
    create, ping = TALK["create"], TALK["ping"]
    file = PcapWriter()
    connection = OneWay(file, 0)
    connection.handshake()
    for golden in [*HANDSHAKE, *create, *ping]:
        say(connection, [golden])
        file.now += 2
    connection.client(b"")
    shown = [(each.number, each.what.text if isinstance(each.what, Notice) else "frame") for each in read(file.bytes)]
    text = "server to client: {} bytes were not captured"
    assert shown == [
        (3, "frame"),  # ConnectRequest
        (4, text.format(len(HANDSHAKE[1].payload) + 4)),
        (4, "frame"),  # create, which acknowledges the ConnectResponse
        (5, text.format(len(create[1].payload) + 4)),
        (5, "frame"),  # ping, which acknowledges the reply to create
        (6, text.format(len(ping[1].payload) + 4)),
    ]


def test_end_of_the_stream_that_nobody_captured_is_no_gap() -> None:
    file = PcapWriter()
    connection = connected(file, "closeSession")
    connection.sequence[1] += 1  # the server's FIN
    connection.client(b"")
    file.now += 2
    connection.client(b"")
    connection.segment(0, b"", flags=FIN | ACK)
    assert notices(read(file.bytes)) == []


def test_a_missing_segment_is_given_up_a_second_after_its_acknowledgement() -> None:
    ping = TALK["ping"]
    request = frame(ping[0].payload)
    file = PcapWriter()
    connection = connected(file)
    connection.sequence[0] += len(request)
    connection.server(b"")
    connection.client(request)
    capture = Capture()
    assert len(list(capture.receive(file.bytes))) == 2
    size = len(file.bytes)
    file.now += 1.1
    connection.server(b"")
    gap, shown = capture.receive(file.bytes[size:])
    assert isinstance(gap.what, Notice)
    assert isinstance(shown.what, SeenFrame)
    assert (gap.number, shown.number) == (6, 7)  # packet 6 acknowledges what nobody captured
    assert list(capture.end()) == []


def test_bytes_that_wait_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MAX_WAITING", 1000)
    ping = TALK["ping"]
    for side in (0, 1):
        file = PcapWriter()
        connection = connected(file)
        connection.sequence[side] += 4
        capture = Capture()
        data = frame(ping[side].payload)
        for _ in range(1000 // len(data) + 1):
            (connection.client, connection.server)[side](data)
        assert len(frames(list(capture.receive(file.bytes)))) > 50


def test_replies_do_not_wait_for_ever_for_the_bytes_that_they_acknowledge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MAX_WAITING", 1000)
    file = PcapWriter()
    connection = connected(file)
    connection.sequence[0] += 100
    pong = TALK["ping"][1]
    say(connection, [pong] * 100)
    capture = Capture()
    assert len(frames(list(capture.receive(file.bytes)))) >= 2 + 50
    assert len(frames(list(capture.end()))) > 0


# --- ends


@pytest.mark.parametrize("flags", [RST, RST | ACK])
def test_reset_ends_a_connection_within_a_frame(flags: int) -> None:
    file = PcapWriter()
    connection = connected(file)
    connection.client(b"\0\0\0\x10only")
    connection.segment(1, b"", flags=flags, ack=77)
    connection.client(frame(TALK["ping"][0].payload))
    found = read(file.bytes)
    assert frames(found) == said(HANDSHAKE)
    assert notices(found) == ["client to server: the stream ends 8 bytes into a frame"]


def test_end_of_the_stream_is_no_gap() -> None:
    file = PcapWriter()
    connection = connected(file, "closeSession")
    connection.close()
    file.now += 5
    connection.segment(1, b"")
    capture = Capture()
    assert notices(list(capture.receive(file.bytes))) == []
    assert list(capture.end()) == []


def test_acknowledgement_beyond_the_end_is_no_gap() -> None:
    file = PcapWriter()
    connection = connected(file)
    connection.segment(0, b"", flags=FIN | ACK)
    connection.sequence[0] += 1
    connection.segment(1, b"", ack=9)
    file.now += 5
    connection.segment(1, b"", ack=9)
    assert notices(read(file.bytes)) == []


def test_bytes_missing_in_front_of_a_fin() -> None:
    file = PcapWriter()
    connection = connected(file)
    connection.sequence[0] += 6
    connection.close()
    assert notices(read(file.bytes)) == ["client to server: 6 bytes were not captured"]


def test_fin_of_one_side_does_not_stop_the_other() -> None:
    file = PcapWriter()
    request, reply = TALK["closeSession"][-2:]
    connection = connected(file)
    connection.client(frame(request.payload))
    connection.segment(0, b"", flags=FIN | ACK)
    connection.sequence[0] += 1
    connection.server(frame(reply.payload))
    assert frames(read(file.bytes)) == said([*HANDSHAKE, request, reply])


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
