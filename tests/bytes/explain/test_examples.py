"""Examples: one of each operation, record, error and event, taken from real servers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import golden, pick_examples
from zkwire.explain import examples
from zkwire.explain.describe import everything
from zkwire.explain.explained import explain
from zkwire.explain.readings import ANY
from zkwire.frames import frame
from zkwire.operations import ANY_OPERATION, BY_OPCODE


@pytest.mark.parametrize("each", [each for each in everything() if each["kind"] in ("error", "event")], ids=str)
def test_example_of_an_error_or_event_is_one(each: dict[str, Any]) -> None:
    for example in each["example"]:
        (explained,) = explain(bytes.fromhex(example), ANY)
        assert explained.problem == ""
        assert each["number"] in [span.value for span in explained.spans if span.path.endswith((".err", ".type"))]


def test_every_error_that_servers_send_has_an_example() -> None:
    without = {each["name"] for each in everything() if each["kind"] == "error" and not each["example"]}
    sent = {code.name for code in ANY_OPERATION}.union(
        *({code.name for code in row.errors} for row in BY_OPCODE.values())
    )
    assert without & (sent | {"NOT_READ_ONLY", "RUNTIME_INCONSISTENCY"}) == set()
    assert "CONNECTION_LOSS" in without


def test_examples_are_frames_of_a_real_server() -> None:
    """The module is what tests/support/pick_examples.py makes of tests/frames: `make frames`."""
    assert pick_examples.PAGE.read_text(encoding="utf-8") == pick_examples.page()
    recorded = {frame(shown.payload) for shown in golden.load() if shown.version == examples.VERSION}
    shown = [example for each in everything() if each["kind"] != "record" for example in each["example"]]
    assert {bytes.fromhex(example) for example in shown} <= recorded
