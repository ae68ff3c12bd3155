"""Damaged captures: every file is either read or reported as bad."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dialogues import connected, dialogue, frames, read
from tests.support.pcap_writer import PcapngWriter, PcapWriter
from zkwire.capture import CaptureError

NAMES = ("create", "watch-getData", "ping", "getChildren2", "multi")
SENT = {golden.payload for golden in dialogue(*NAMES)}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_file_is_read_or_reported_as_bad(data: st.DataObject) -> None:
    """Bytes changed, packets lost, twice or swapped, the end cut off: no other error, and no frame that was never sent
    in a file of which packets alone are lost."""
    packets = data.draw(st.sampled_from(SHAKEN))
    header, bodies = packets[0], list(packets[1:])
    order = data.draw(st.lists(st.integers(0, len(bodies) - 1), max_size=len(bodies)))
    kept = [bodies[place] for place in order]
    if data.draw(st.booleans()):
        found = read(header + b"".join(bodies[place] for place in sorted(set(order))))
        assert {payload for _, payload in frames(found)} <= SENT
    whole = bytearray(header + b"".join(kept))
    for _ in range(data.draw(st.integers(0, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(CaptureError):
        read(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


def shaken(file: PcapWriter, header_size: int) -> list[bytes]:
    """The file's header, and its packets."""
    pieces = [file.bytes[:header_size]]
    place = header_size
    while place < len(file.bytes):
        if isinstance(file, PcapngWriter):
            size = int.from_bytes(file.bytes[place + 4 : place + 8], "little")
        else:
            size = 16 + int.from_bytes(file.bytes[place + 8 : place + 12], "little")
        pieces.append(file.bytes[place : place + size])
        place += size
    return pieces


def made(file: PcapWriter) -> PcapWriter:
    connected(file, *NAMES).close()
    return file


SHAKEN = [shaken(made(PcapWriter()), 24), shaken(made(PcapngWriter()), 48)]
