"""The ends of connections in a capture: FIN, RST, and what is missing before them."""

from __future__ import annotations

import pytest

from tests.support.dialogues import HANDSHAKE, TALK, connected, frames, notices, read, said
from tests.support.pcap_writer import ACK, FIN, RST, PcapWriter
from zkwire.capture import Capture
from zkwire.frames import frame


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
