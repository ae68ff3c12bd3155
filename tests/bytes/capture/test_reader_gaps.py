"""What was not captured: the reader says so, and goes on at the next frame."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.dialogues import (
    BEGINS,
    FRAMES,
    HANDSHAKE,
    RECEIVED,
    SENT,
    TALK,
    connected,
    frames,
    frames_seen,
    notices,
    read,
    said,
    say,
)
from tests.support.pcap_writer import ACK, FIN, Connection, PcapWriter
from zkwire.capture import Capture, Notice, reader
from zkwire.frames import frame
from zkwire.text import counted
from zkwire.traffic.conversation import SeenFrame


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
