"""The session that docs/session.html shows, recorded again on a real server."""

from __future__ import annotations

from typing import Any

from docs.generate import session
from tests.support.dialogues import read
from tests.support.real.servers import Distribution
from tests.support.record_session import record
from zkwire.capture import Captured
from zkwire.frames import Direction
from zkwire.traffic.conversation import SeenFrame


def test_a_real_server_says_the_same_again(distribution: Distribution) -> None:
    def outline(captured: list[Captured]) -> list[tuple[Any, ...]]:
        frames_seen = [each.what for each in captured if isinstance(each.what, SeenFrame)]
        assert len(frames_seen) == len(captured)
        return [(each.connection, each.direction, each.opcode, each.xid, each.err, each.path,
                 [type(span).__name__ for span in session.fields(each.frame)], len(each.frame.payload))
                for each in frames_seen]  # fmt: skip

    again = outline(read(record(distribution)))
    assert again == outline(session.frames())
    assert {direction for _, direction, *_ in again} == set(Direction)
