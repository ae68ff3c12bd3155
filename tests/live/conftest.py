"""Fixtures of the tests against real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.real.servers import Distribution, Server


@pytest.fixture(scope="module")
def server(distribution: Distribution) -> Iterator[Server]:
    """A server for one test file: all its watches are ours, and a test may freeze it."""
    with Server(distribution) as private:
        yield private
