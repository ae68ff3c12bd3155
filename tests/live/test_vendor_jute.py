"""The classes of real servers declare the records of vendor-jute/zookeeper.jute, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.class_file import ClassFile, jars_on, read_records
from tests.support.jute_grammar import layouts
from tests.support.real.servers import Distribution

Layout = list[tuple[str, str]]

TEXT = Path(__file__).parents[2].joinpath("vendor-jute", "zookeeper.jute").read_text(encoding="utf-8")
DECLARED: dict[str, Layout] = layouts(TEXT)

PACKAGES = ("org/apache/zookeeper/data", "org/apache/zookeeper/proto")

# In the servers' data and proto packages, yet never between a client and a server.
LEFT_OUT = {
    "GetMaxChildrenRequest",
    "GetMaxChildrenResponse",
    "SetMaxChildrenRequest",  # these three: no opcode carries them
    "StatPersisted",
    "StatPersistedV1",  # these two: snapshots; the second was gone in 3.5.0
}

# The first release with the record; all others are in 3.4.0 already.
SINCE = {
    "CheckWatchesRequest": (3, 5, 0),
    "Create2Response": (3, 5, 0),
    "ReconfigRequest": (3, 5, 0),
    "RemoveWatchesRequest": (3, 5, 0),
    "CreateTTLRequest": (3, 5, 3),
    "AddWatchRequest": (3, 6, 0),
    "GetAllChildrenNumberRequest": (3, 6, 0),
    "GetAllChildrenNumberResponse": (3, 6, 0),
    "GetEphemeralsRequest": (3, 6, 0),
    "GetEphemeralsResponse": (3, 6, 0),
    "SetWatches2": (3, 6, 0),
    "ClientInfo": (3, 7, 0),
    "WhoAmIResponse": (3, 7, 0),
}

# Before this release the connect records end with passwd, and the server handles the readOnly byte behind them by hand.
READ_ONLY_DECLARED_SINCE = (3, 9, 0)


def declared_in(version: tuple[int, ...]) -> dict[str, Layout]:
    """What `zookeeper.jute` says the classes of a server of this version are."""
    expected = {name: layout for name, layout in DECLARED.items() if SINCE.get(name, (0,)) <= version}
    if version < READ_ONLY_DECLARED_SINCE:
        for name in ("ConnectRequest", "ConnectResponse"):
            *earlier, last = expected[name]
            assert last == ("readOnly", "boolean")
            expected[name] = earlier
    return expected


# ---- with the classes of real servers ----


@pytest.fixture(scope="module")
def server_classes(distribution: Distribution) -> dict[str, ClassFile]:
    found = read_records(jars_on(distribution.classpath), PACKAGES)
    return {name: parsed for name, parsed in found.items() if name not in LEFT_OUT}


def test_server_declares_the_records_of_the_jute_file(
    distribution: Distribution, server_classes: dict[str, ClassFile]
) -> None:
    layouts_of_server = {name: parsed.layout() for name, parsed in server_classes.items()}
    assert layouts_of_server == declared_in(distribution.version_tuple)


def test_server_writes_fields_in_the_order_of_the_jute_file(
    distribution: Distribution, server_classes: dict[str, ClassFile]
) -> None:
    written = {name: parsed.written_order() for name, parsed in server_classes.items()}
    declared = declared_in(distribution.version_tuple)
    assert written == {name: [field for field, _ in layout] for name, layout in declared.items()}
