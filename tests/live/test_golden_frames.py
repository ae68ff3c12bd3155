"""Real servers still send the golden frames, and take the examples of `zkwire describe`."""

from __future__ import annotations

import functools

import pytest

from tests.support import pick_examples
from tests.support.golden import Golden, load
from tests.support.real.servers import Distribution, NoZooKeeper, find_distributions
from tests.support.record_frames import OLDEST, Recording
from zkwire.explain.examples import OPERATIONS
from zkwire.frames import frame

GOLDENS = load()
VERSIONS = sorted({golden.version for golden in GOLDENS})


def recordable() -> list[Distribution | NoZooKeeper]:
    """At collection nothing may fail; without a server the test then does, with the reason."""
    try:
        found = [found for found in find_distributions() if found.version_tuple >= OLDEST]
    except NoZooKeeper as missing:
        return [missing]
    return [*found] or [NoZooKeeper(f"no server of version {OLDEST} or later to record")]


@functools.cache
def recorded_again(found: Distribution | NoZooKeeper) -> list[Golden]:
    """Every conversation with this server, new. On two versions it takes some 20 s."""
    if isinstance(found, NoZooKeeper):
        raise found
    return Recording(found).run()


@pytest.mark.parametrize("found", recordable(), ids=lambda found: getattr(found, "version", "none"))
@pytest.mark.parametrize("name", OPERATIONS)
def test_example_of_describe_does_what_it_shows_on_a_real_server(found: Distribution | NoZooKeeper, name: str) -> None:
    """The recorder sends these very bytes, each on a connection and session of their own, where they should work:

    - /app with data and children, /app/doomed, /checked not yet: `record_creates_and_deletes`, `record_multi`;
    - a data watch, a persistent watch, an ephemeral before checkWatches, removeWatches, getEphemerals and closeSession;
    - an ensemble of one with reconfigEnabled for reconfig, a server that knows bob for sasl.

    Only the ports of the ensemble and what SASL makes of the server's nonce are other bytes each time.
    """
    after = {golden.name: golden for golden in recorded_again(found)}
    for shown in pick_examples.operations()[name].frames:
        again = after[shown.name]
        if shown.kind == "request" and shown.name not in ("reconfig-01-request", "sasl-03-request"):
            assert frame(again.payload).hex() in OPERATIONS[name]
        assert again._replace(version=shown.version).lasting == shown.lasting


@pytest.mark.parametrize("found", recordable(), ids=lambda found: getattr(found, "version", "none"))
def test_recording_again_gives_the_same_frames_up_to_volatile_fields(found: Distribution | NoZooKeeper) -> None:
    after = recorded_again(found)
    assert isinstance(found, Distribution)
    assert {golden.name for golden in after} == {golden.name for golden in GOLDENS}
    if found.version in VERSIONS:  # others are only known to hold the same conversations
        before = {golden.name: golden.lasting for golden in GOLDENS if golden.version == found.version}
        assert {golden.name: golden.lasting for golden in after} == before
