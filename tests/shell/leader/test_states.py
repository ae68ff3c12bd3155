"""The stream of an election's states."""

from __future__ import annotations

import trio
import trio.testing

from election import StateStream
from election.leader.election import MAX_BUFFERED_STATES


def stream_of(current: str) -> StateStream[str]:
    return StateStream(current, check_run=lambda: None, limit=MAX_BUFFERED_STATES)


async def test_current_state_comes_first_then_every_change() -> None:
    stream = stream_of("idle")
    stream.deliver("entering")
    assert [await anext(stream), await anext(stream)] == ["idle", "entering"]


async def test_slow_reader_misses_old_states_never_the_last() -> None:
    stream = stream_of("idle")
    for number in range(1000):
        stream.deliver(str(number))
    assert [await anext(stream) for _ in range(MAX_BUFFERED_STATES)] == [
        str(number) for number in range(1000 - MAX_BUFFERED_STATES, 1000)
    ]


async def test_closing_ends_the_iteration_also_of_one_who_waits() -> None:
    stream = stream_of("idle")
    seen = []

    async def read() -> None:
        async for state in stream:
            seen.append(state)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        stream.deliver("entering")
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    assert seen == ["idle", "entering"]
    stream.deliver("leading")
    assert [state async for state in stream] == []
