"""Connections made of golden frames, for captures: a handshake, some conversations, and what a reader should print."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.golden import Golden, conversations, load
from tests.support.pcap_writer import Connection, PcapWriter
from zkwire.capture import Capture, Captured, Notice, Stray
from zkwire.frames import Direction, frame
from zkwire.traffic.conversation import SeenFrame

VERSION = "3.9.4"
CONVERSATIONS = {name: frames for (version, name), frames in conversations(load()).items() if version == VERSION}
#: One handshake, as it is on most connections.
HANDSHAKE = CONVERSATIONS["connect"]
#: Conversations that may be on one connection, after a handshake.
TALK = {
    name: frames
    for name, frames in CONVERSATIONS.items()
    if not name.startswith("connect") and "SessionClosed" not in name
}


def dialogue(*names: str) -> list[Golden]:
    """The frames of a connection that has these conversations."""
    return [*HANDSHAKE, *(golden for name in names for golden in TALK[name])]


def say(connection: Connection, goldens: Iterable[Golden]) -> None:
    """Each frame in a segment of its own."""
    for golden in goldens:
        (connection.client if golden.direction is Direction.SENT else connection.server)(frame(golden.payload))


def connected(file: PcapWriter, *names: str, **ends: object) -> Connection:
    """A connection that was opened and had these conversations."""
    connection = Connection(file, **ends)  # type: ignore[arg-type]
    connection.handshake()
    say(connection, dialogue(*names))
    return connection


def read(data: bytes, step: int | None = None, ports: Iterable[int] | None = None) -> list[Captured]:
    """What a capture shows, in order of time; its bytes are given `step` at a time."""
    capture = Capture(None if ports is None else set(ports))
    step = step or len(data) or 1
    found = [
        captured for start in range(0, len(data), step) for captured in capture.receive(data[start : start + step])
    ]
    return sorted([*found, *capture.end()], key=lambda captured: captured.order)


def frames(captured: Iterable[Captured]) -> list[tuple[Direction, bytes]]:
    """The frames among them: direction and payload."""
    return [(each.what.direction, each.what.frame.payload) for each in captured if isinstance(each.what, SeenFrame)]


def notices(captured: Iterable[Captured]) -> list[str]:
    return [each.what.text for each in captured if isinstance(each.what, Notice)]


def strays(captured: Iterable[Captured]) -> list[Stray]:
    return [each.what for each in captured if isinstance(each.what, Stray)]


def said(goldens: Iterable[Golden]) -> list[tuple[Direction, bytes]]:
    """What `frames` should give for these."""
    return [(golden.direction, golden.payload) for golden in goldens]


SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
NAMES = ("create", "watch-getData", "ping", "getChildren2", "multi")
FRAMES = dialogue(*NAMES)
BEGINS = "the capture begins within this connection"


def frames_seen(found: list[Captured]) -> list[SeenFrame]:
    return [captured.what for captured in found if isinstance(captured.what, SeenFrame)]
