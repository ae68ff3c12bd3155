"""The examples, run as their reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import External
from tests.servers import Server

ROOT = Path(__file__).parent.parent


def run_example(name: str, hosts: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ZKWIRE_HOSTS": hosts}
    command = [sys.executable, "-m", f"examples.{name}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)


def test_takeover_shows_the_frames_and_ends_by_itself(zookeeper: Server | External) -> None:
    shown = run_example("takeover", zookeeper.address)
    assert shown.returncode == 0, shown.stderr
    steps = re.findall(r"^. \| \*\*\* (.+)$", shown.stdout, re.MULTILINE)
    assert [re.sub(r"/\S+", "PATH", step) for step in steps] == [
        "A leads",
        "B stands by",
        "B was told: NODE_DELETED PATH",
        "B leads",
        "B has closed its session",
    ]
    for frame in (
        "A | > ConnectRequest",
        "A | < ConnectResponse",
        "A | > create xid=1",
        "B | < create xid=1 NODE_EXISTS",
        "B | > exists xid=2",
        "B | < event NODE_DELETED",
        "B | > closeSession",
    ):
        assert frame in shown.stdout
    assert "ExistsRequest.watch = True" in shown.stdout


def test_takeover_without_a_server_says_so_and_fails() -> None:
    shown = run_example("takeover", "127.0.0.1:1")
    assert shown.returncode == 1
    assert "are there servers at 127.0.0.1:1?" in shown.stderr
    assert "Traceback" not in shown.stderr


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
    assert "state=<KeeperState.CLOSED: 7>" in events[-2]
    assert loaded == "[]"


def test_bare_socket_without_a_server_fails() -> None:
    shown = run_example("bare_socket", "127.0.0.1:1")
    assert shown.returncode == 1
    assert "ConnectionRefusedError" in shown.stderr
