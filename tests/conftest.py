"""Fixtures: real servers, one standalone and one ensemble per ZooKeeper version found on this machine.

A live test takes `zookeeper` (shared: use your own paths) or `ensemble` (whole again at every test's start), and runs
once for each version. A test that needs a server of its own starts one from `distribution`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.real.servers import Distribution, Ensemble, NoZooKeeper, Server, find_distributions


class External:
    """Servers that somebody else runs: $ZKWIRE_TEST_HOSTS."""

    def __init__(self, hosts: str) -> None:
        self.address = hosts


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "rule(name, ...): those of docs/client-rules.md and docs/election-rules.md that it shows"
    )


#: Folders of tests/, those with the longest files first: no process is left alone with one of them in the end.
ORDER = ("live", "programs", "shell", "house", "bytes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    items.sort(key=lambda item: ORDER.index(item.path.relative_to(here).parts[0]))  # keeps the order within a folder


def _distributions() -> list[Distribution | NoZooKeeper]:
    """At collection nothing may fail; a test that needs a server then does, with the reason."""
    try:
        return [*find_distributions()]
    except NoZooKeeper as missing:
        return [missing]


@pytest.fixture(scope="session", params=_distributions(), ids=lambda found: getattr(found, "version", "none"))
def found(request: pytest.FixtureRequest) -> Distribution | NoZooKeeper:
    """Each ZooKeeper version on this machine in turn, or why there is none."""
    result: Distribution | NoZooKeeper = request.param
    return result


@pytest.fixture(scope="session")
def distribution(found: Distribution | NoZooKeeper) -> Distribution:
    """Each ZooKeeper version on this machine in turn."""
    if isinstance(found, NoZooKeeper):
        raise found
    return found


@pytest.fixture(scope="session")
def zookeeper(request: pytest.FixtureRequest, found: Distribution | NoZooKeeper) -> Iterator[Server | External]:
    """A standalone server for all tests. `.address` is its connect string."""
    if hosts := os.environ.get("ZKWIRE_TEST_HOSTS"):
        yield External(hosts)  # needs no ZooKeeper here
        return
    with Server(request.getfixturevalue("distribution")) as server:
        yield server


@pytest.fixture(scope="session")
def shared_ensemble(distribution: Distribution) -> Iterator[Ensemble]:
    with Ensemble(distribution) as servers:
        yield servers


@pytest.fixture
def ensemble(shared_ensemble: Ensemble) -> Ensemble:
    """Three servers, all of them serving now."""
    for server in shared_ensemble.servers:
        server.resume()
    shared_ensemble.start()
    return shared_ensemble


@pytest.fixture
def root(request: pytest.FixtureRequest) -> str:
    """A path of the test's own: nobody else uses it, and nothing is there."""
    return f"/{request.node.name[:40].replace('[', '-').replace(']', '')}-{os.urandom(4).hex()}"
