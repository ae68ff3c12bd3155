"""One direction of a TCP connection in a capture: segments late, twice and overlapping."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.support.dialogues import (
    FRAMES,
    HANDSHAKE,
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
)
from tests.support.golden import Golden
from tests.support.pcap_writer import ACK, SYN, Connection, PcapWriter
from zkwire.frames import Direction, frame


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
