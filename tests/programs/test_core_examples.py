"""The examples that drive the core without trio, and those that need no second terminal, on real servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import zkwire
from tests.conftest import External
from tests.support.live import client
from tests.support.program import Program, module, run
from tests.support.real.servers import Server
from zkwire import Direction, OpCode, Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import Pass

ROOT = Path(__file__).parents[2]


# --- bare_socket


def test_bare_socket_drives_a_session_with_the_core_alone(zookeeper: Server | External) -> None:
    source = (ROOT / "examples" / "bare_socket.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 30
    look = "print([name for name in ('trio', 'ssl', 'asyncio', 'construct') if name in sys.modules])"
    code = f"import atexit, sys; atexit.register(lambda: {look})\n{source}"
    environment = {**os.environ, "ZKWIRE_HOSTS": zookeeper.address}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert shown.returncode == 0, shown.stderr
    *events, loaded = shown.stdout.splitlines()
    assert "state=<KeeperState.SYNC_CONNECTED: 3>" in events[0]
    assert any("GetChildrenResponse(children=(" in event and "'zookeeper'" in event for event in events)
    assert "state=<KeeperState.CLOSED: 7>" in events[-1]
    assert loaded == "[]"


def test_bare_socket_without_a_server_fails() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZKWIRE_HOSTS", "127.0.0.1:1")
        ended = run("examples.bare_socket")
    assert ended.returncode == 1
    assert "ConnectionRefusedError" in ended.stderr


# --- blocking


async def test_blocking_client_pings_reconnects_and_keeps_its_watch(zookeeper: Server | External, root: str) -> None:
    pings = 0
    enough = trio.Event()  # they come at a third of the session timeout each

    def count(seen: SeenFrame) -> Pass:
        nonlocal pings
        pings += seen.opcode is OpCode.PING and seen.direction is Direction.RECEIVED
        if pings == 4:
            enough.set()
        return Pass()

    async with client(zookeeper) as zk, Tap(zookeeper.address) as tap:
        tap.fault = count
        path = f"{root}/blocking"
        await zk.ensure_path(path)
        await zk.set_data(path, b"first")
        options = ("--hosts", tap.address, "--session-timeout", "2")
        with Program(module("examples.blocking", path, *options)) as program:
            await trio.to_thread.run_sync(program.says, "^first$")
            await enough.wait()
            tap.cut()
            await zk.set_data(path, b"second")
            await trio.to_thread.run_sync(program.says, "^second$")
            await zk.set_data(path, b"third")
            await trio.to_thread.run_sync(program.says, "^third$")
            program.send(signal.SIGINT)
            assert await trio.to_thread.run_sync(program.ends) == 0
            lines = program.lines()
    assert [line for line in lines if line in ("first", "second", "third")] == ["first", "second", "third"]
    states = [line.split()[0] for line in lines if line.split()[0] in zkwire.KeeperState.__members__]
    assert states == ["SYNC_CONNECTED", "DISCONNECTED", "SYNC_CONNECTED", "CLOSED"]


async def test_blocking_client_ends_when_the_znode_is_missing(zookeeper: Server | External) -> None:
    ended = await trio.to_thread.run_sync(lambda: run("examples.blocking", "/missing", "--hosts", zookeeper.address))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "NO_NODE (-101): getData /missing"


# --- asyncio_protocol


async def test_asyncio_client_reads_in_order_and_gets_its_event(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.ensure_path(root)
        hosts = zookeeper.address + root
        ended = await trio.to_thread.run_sync(lambda: run("examples.asyncio_protocol", "--hosts", hosts))
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        first, second = ended.stdout.splitlines()
        assert first == "b'hello' and 9 more"
        assert "NODE_DATA_CHANGED" in second
        assert await zk.get_children(root) == []  # the session was closed


async def test_asyncio_client_goes_on_after_a_lost_connection(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk, Tap(zookeeper.address) as tap:
        await zk.ensure_path(root)
        program = f"""\
import asyncio
import zkwire
from examples.asyncio_protocol import ZooKeeperProtocol

async def main():
    fired = asyncio.get_running_loop().create_future()
    async with ZooKeeperProtocol("{tap.address}", 2.0) as zk:
        await zk.call("getData", zkwire.GetDataRequest("{root}", True), watcher=fired)
        print("watches", flush=True)
        event = await fired
        print(event.type.name, flush=True)

asyncio.run(main())
"""
        with Program([sys.executable, "-c", program], cwd=ROOT) as watcher:
            await trio.to_thread.run_sync(watcher.says, "^watches$")
            tap.cut()
            await zk.set_data(root, b"changed")
            await trio.to_thread.run_sync(watcher.says, "^NODE_DATA_CHANGED$")
            assert await trio.to_thread.run_sync(watcher.ends) == 0
            assert watcher.lines() == ["watches", "NODE_DATA_CHANGED"]


@pytest.mark.parametrize(("name", "arguments"), [("asyncio_protocol", ()), ("blocking", ("/a",))])
def test_core_example_without_a_server_says_so_in_one_line(name: str, arguments: tuple[str, ...]) -> None:
    ended = run(f"examples.{name}", *arguments, "--hosts", "127.0.0.1:1", "--session-timeout", "1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"(asyncio_protocol: )?CONNECTION_LOSS \(-4\): \w+ /\S+ \(not sent; .*\)\n", ended.stderr)


@pytest.mark.parametrize("name", ["asyncio_protocol", "blocking"])
def test_core_example_loads_neither_trio_nor_construct(name: str) -> None:
    code = f"import sys, examples.{name}; print([each for each in ('trio', 'construct') if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
