"""What the tests against servers share: clients with a deadline, and functions that wait."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import trio

import zkwire
from zkwire import Client, CreateMode, Direction, Frame, KeeperState, NoServerError, OpCode
from zkwire.records import ConnectRequest

if TYPE_CHECKING:
    from tests.support.real.servers import Server  # tests that need no server use this module too

CONNECTED, DISCONNECTED, EXPIRED = KeeperState.SYNC_CONNECTED, KeeperState.DISCONNECTED, KeeperState.EXPIRED
EPHEMERAL = CreateMode.EPHEMERAL
#: Seconds that a loaded machine may add to a time that the tests check.
SLACK = 5.0
#: Session timeout in seconds, for clients whose timing does not matter. The servers grant 0.5 to 60.
TIMEOUT = 10.0
#: Seconds until a test stops waiting, and fails. On a quiet machine no test needs so long.
PATIENCE = 40.0


class Addressed(Protocol):
    @property
    def address(self) -> str: ...


@asynccontextmanager
async def client(
    server: Addressed, chroot: str = "", timeout: float = TIMEOUT, **options: Any
) -> AsyncIterator[Client]:
    """A client of a server or an ensemble. The block may take a minute."""
    with trio.fail_after(60):
        async with zkwire.connect(server.address + chroot, timeout, **options) as zk:
            yield zk


async def reached(zk: Client, *wanted: KeeperState) -> None:
    """Wait until the client is in one of the states."""
    states = zk.states()
    with trio.fail_after(PATIENCE):
        async for state in states:
            if state in wanted:
                break
    await states.aclose()


async def until(condition: Callable[[], object], what: str = "what the test waits for") -> None:
    """Wait until `condition()` is true, where there is no event to wait for."""
    with trio.move_on_after(PATIENCE):
        while True:
            if condition():
                return
            await trio.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE:g} s: {what}")


async def until_gone(zk: Client, path: str) -> None:
    """Wait until the znode does not exist."""
    with trio.fail_after(PATIENCE):
        while True:
            stat, watch = await zk.exists_and_watch(path)
            if stat is None:
                watch.disarm()
                return
            await watch.wait()


async def until_children(zk: Client, path: str, count: int) -> None:
    """Wait until the znode has this number of children."""
    with trio.fail_after(PATIENCE):
        while True:
            names, watch = await zk.get_children_and_watch(path)
            async with watch:
                if len(names) == count:
                    return
                await watch.wait()


async def watched_paths(server: Server) -> set[str]:
    """The paths that the sessions of this server watch."""
    text = await trio.to_thread.run_sync(server.four_letter, "wchp")
    return {line for line in text.splitlines() if line.startswith("/")}


def sent(frames: list[Frame], *opcodes: OpCode) -> list[Frame]:
    return [frame for frame in frames if frame.direction is Direction.SENT and frame.opcode in opcodes]


def connect_requests(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.types == (ConnectRequest,)]


async def no_server(hosts: str, ssl_context: ssl.SSLContext | None = None, *, wait: float = 1.0) -> str:
    """The message of the NoServerError that entering raises after `wait` seconds."""
    with trio.fail_after(60):
        with pytest.raises(NoServerError) as error:
            async with zkwire.connect(hosts, 10.0, connect_timeout=wait, ssl_context=ssl_context):
                raise AssertionError("not reached")
        return str(error.value)
