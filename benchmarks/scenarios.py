"""What is measured: the scenarios, how often each is repeated, and the znodes that they use."""

from __future__ import annotations

from typing import NamedTuple

#: Everything lies below this znode.
ROOT = "/zkwire-benchmark"
SMALL = f"{ROOT}/small"  # 100 bytes
LARGE = f"{ROOT}/large"  # as large as a request allows
PARENT = f"{ROOT}/parent"  # of CHILDREN children
WATCHED = f"{ROOT}/watched"  # WATCHES children w0000, w0001, ...
NEW = f"{ROOT}/new"  # ephemeral sequential znodes are created here

BATCH = 500
CHILDREN = 10_000
WATCHES = 1_000
SMALL_DATA = b"x" * 100
#: A setData request of 0xfffff bytes, the longest that a server takes: header, path, data, version.
LARGE_SIZE = 0xFFFFF - (8 + 4 + len(LARGE) + 4 + 4)
#: Seconds. Long enough that no client pings during a measurement, though a server may grant less.
SESSION_TIMEOUT = 30.0


class Scenario(NamedTuple):
    """One table.

    A repetition does `batch` operations; its time is one latency. CPU and throughput are per operation.
    """

    name: str
    title: str
    repetitions: int
    quick: int
    batch: int = 1


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("get_data-serial", "get_data of 100 bytes, one at a time", 2000, 300),
        Scenario("get_data-500", "get_data of 100 bytes, 500 at a time (latency: of all 500)", 20, 2, BATCH),
        Scenario("set_data-500", "set_data of 100 bytes, 500 at a time (latency: of all 500)", 20, 2, BATCH),
        Scenario("create", "create, ephemeral sequential, one at a time", 500, 50),
        Scenario("get_children-10000", "get_children of 10,000 names", 15, 3),
        Scenario("get_data-1MB", f"get_data of {LARGE_SIZE} bytes", 20, 3),
        Scenario("set_data-1MB", f"set_data of {LARGE_SIZE} bytes", 15, 3),
        Scenario("watches-1000", "1,000 watches fired at once (per event; latency: of all 1,000)", 4, 1, WATCHES),
        Scenario("connect", "connect and close", 30, 5),
        Scenario("tracing", "get_data one at a time: on_frame unset, and a no-op", 2000, 300),
    )
}


def watched_path(index: int) -> str:
    return f"{WATCHED}/w{index:04}"
