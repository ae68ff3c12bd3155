"""Other people's clients through `zkwire tap`: kazoo, ZooKeeper's Java command line, and its C client.

Each does the same: creates an ephemeral znode, reads it and leaves a watch, sets it, lists, deletes it and ends its
session. Each does so with frames of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.conftest import External
from tests.support.program import PATIENCE, Program
from tests.support.real.distributions import find_distribution, java
from tests.support.real.servers import Server
from tests.support.tapping import Listening, tap
from zkwire.traffic import recording

#: Debian's package zookeeper-bin has it where no $PATH looks.
C_CLIENTS = ["cli_mt", "/usr/lib/zookeeper/bin/cli_mt"]


def kazoo(running: Listening, path: str) -> None:
    client = KazooClient(running.address, timeout=10)
    client.start(timeout=PATIENCE)
    try:
        client.create(path, b"data", ephemeral=True)
        client.get(path, watch=lambda event: None)
        client.set(path, b"more")
        client.get_children("/")
        client.delete(path)
    finally:
        client.stop()
        client.close()


def java_command_line(running: Listening, path: str) -> None:
    distribution = find_distribution()
    main = "org.apache.zookeeper.ZooKeeperMain"
    command = [java(), "-XX:TieredStopAtLevel=1", "-cp", distribution.classpath, main, "-server", running.address]
    watch = f"get -w {path}" if distribution.version_tuple >= (3, 5) else f"get {path} true"
    lines = [f"create -e {path} data", watch, f"set {path} more", "ls /", f"delete {path}", "quit", ""]
    shown = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr


def c_client(running: Listening, path: str) -> None:
    program = next(filter(None, map(shutil.which, C_CLIENTS)), None)
    assert program is not None, "no C client on this machine: run `make tools`"
    steps = [
        ("", '"kind": "connect"'),
        (f"create +e {path}", '"op": "create"'),
        (f"get {path}", '"op": "getData"'),
        (f"set {path} more", '"op": "setData"'),
        ("ls /", '"op": "getChildren'),
        (f"delete {path}", '"op": "delete"'),
        ("quit", '"op": "closeSession"'),
    ]
    with Program([program, running.address], keys=True) as process:
        for line, awaited in steps:
            # It does not wait for a reply before it reads the next line, and forgets all at "quit".
            if line:
                process.press(line + "\n")
            running.next(awaited)
        assert process.ends() == 0


CLIENTS = [kazoo, java_command_line, c_client]


@pytest.mark.parametrize("client", CLIENTS)
def test_client_works_through_the_tap_and_all_that_it_does_is_shown(
    zookeeper: Server | External, root: str, client: Any, tmp_path: Path
) -> None:
    path = tmp_path / "recording"
    with tap(zookeeper.address, "--json", "--record", str(path)) as running:
        client(running, root)
        running.next('"kind": "closed"')
        entries = [json.loads(line) for line in running.interrupt()]
    kinds = [entry["kind"] for entry in entries]
    assert kinds[:2] == ["opened", "connect"]
    assert kinds[-1] == "closed"
    assert {"unanswered", "opaque", "fault"} & set(kinds) == set()
    exchanges = [entry for entry in entries if entry["kind"] == "exchange"]
    assert {entry["error"] for entry in exchanges} == {"OK"}
    assert {entry["session"] for entry in entries[1:]} == {entries[1]["session"]}
    shown = [(entry["op"].removesuffix("2"), entry["path"]) for entry in exchanges]
    assert shown == [
        ("create", root),
        ("getData", root),
        ("setData", root),
        ("getChildren", "/"),
        ("delete", root),
        ("closeSession", None),
    ]
    assert exchanges[0]["request"]["flags"] == 1
    assert exchanges[1]["request"]["watch"] is True
    events = [entry for entry in entries if entry["kind"] == "event"]
    (event,) = [entry for entry in events if entry["path"] == root]  # the C client watches what it lists, too
    assert (event["type"], event["path"]) == ("NODE_DATA_CHANGED", root)
    assert event["cause"] == {"connection": 0, "xid": exchanges[2]["xid"], "op": "setData", "path": root}
    assert event["armed_by"]["xid"] == exchanges[1]["xid"]
    assert event["certain"] is (event["zxid"] is not None)
    if event["certain"]:
        assert event["zxid"] == exchanges[2]["zxid"]
    with path.open() as file:
        chunks = [item for item in recording.read(file) if isinstance(item, recording.RecordedBytes)]
    assert len(chunks) == 2 * (len(exchanges) + 1) + len(events)


def test_clients_go_on_after_the_tap_has_cut_a_reply(zookeeper: Server | External, root: str) -> None:
    """kazoo never learns that its create was done; it reconnects through the tap and finds the znode."""
    with tap(zookeeper.address, "--fault", f"cut reply create {root}") as running:
        client = KazooClient(running.address, timeout=10)
        client.start(timeout=PATIENCE)
        try:
            assert client.retry(client.ensure_path, root)
            assert client.retry(client.exists, root)
            client.retry(client.delete, root)
        finally:
            client.stop()
            client.close()
        running.next("closeSession")
        lines = running.interrupt()
    (fault,) = [line for line in running.shown() if line.startswith("FAULT")]
    assert re.fullmatch(rf"FAULT < create xid=\d+ {root}, 0 bytes: connection cut before it", fault)
    assert sum(" opened " in line for line in lines) == 2
    assert sum("connect session 0x" in line for line in lines) == 1, "the same session, on the next connection"
