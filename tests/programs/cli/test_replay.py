"""`zkwire replay`, with kazoo as the client that was recorded, and with real servers."""

from __future__ import annotations

import re
import signal
import socket
import threading
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss
from kazoo.protocol.states import WatchedEvent
from kazoo.retry import KazooRetry

from tests.conftest import External
from tests.support.peer import Peer
from tests.support.program import PATIENCE
from tests.support.real.servers import Distribution, Server
from tests.support.tapping import Listening, tap, written
from zkwire.cli import main
from zkwire.codes import OpCode
from zkwire.jute import encode
from zkwire.records import ConnectResponse
from zkwire.traffic import recording


def work(address: str, root: str, *, extra: str = "") -> list[object]:
    """What a program does with kazoo, and all that it learns by that."""
    client = KazooClient(address, timeout=10, connection_retry=KazooRetry(max_tries=0), command_retry=KazooRetry(0))
    client.start(timeout=PATIENCE)
    seen: list[object] = []
    events: list[object] = []
    both = threading.Event()

    def watch(event: WatchedEvent) -> None:
        """In kazoo's own thread."""
        events.append((event.type, event.path))
        if len(events) == 2:
            both.set()

    try:
        client.create(root, b"data")
        seen.append(client.get(root, watch=watch)[0])
        client.set(root, b"more")
        first = client.create(root + "/n-", b"", ephemeral=True, sequence=True)
        seen.append(client.get_children(root, watch=watch))
        client.set(first, b"mine")
        data, stat = client.get(first)
        seen.append((data, stat.version, stat.ephemeralOwner == client.client_id[0]))
        writes = client.transaction()
        writes.create(root + "/z")
        writes.delete(root + "/z")
        seen.append(writes.commit())
        seen.append(client.exists(root + "/none"))
        if extra:
            client.exists(extra)
        client.delete(first)
        client.delete(root)
        assert both.wait(PATIENCE)
    finally:
        client.stop()
        client.close()
    return [*seen, *events]


def recorded(server: Server | External, root: str, path: Path) -> list[object]:
    """A recording of that in the file, and what was learned."""
    with tap(server.address, "--record", str(path)) as running:
        seen = work(running.address, root)
        running.next("closed by")
        running.interrupt()
    return seen


def serving(path: Path) -> Listening:
    return Listening("replay", str(path), "--listen", "0")


# --- as a server


def test_recorded_session_is_played_to_a_fresh_client_without_a_server(
    zookeeper: Server | External, root: str, tmp_path: Path
) -> None:
    path = tmp_path / "session"
    seen = recorded(zookeeper, root, path)
    with serving(path) as served:
        assert work(served.address, root) == seen
        assert served.result()[:2] == (0, "")


def test_client_that_does_something_else_is_told_what_was_recorded(
    zookeeper: Server | External, root: str, tmp_path: Path
) -> None:
    path = tmp_path / "session"
    recorded(zookeeper, root, path)
    with serving(path) as served:
        with pytest.raises(ConnectionLoss):
            work(served.address, root, extra=root + "/extra")
        status, shown, _ = served.result()
    assert status == 1
    first = rf"connection 0: exists xid=\d+ {root}/extra: the recording has delete xid=\d+ {root}/n-\d+ next\n"
    assert re.match(first, shown), shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_ends_with_status_0_when_told_to(tmp_path: Path, number: int) -> None:
    with serving(written(tmp_path)) as served:
        served.send(number)
        assert served.result()[:2] == (0, "")


def test_server_tells_of_a_client_that_has_not_asked_all(tmp_path: Path) -> None:
    with serving(written(tmp_path)) as served:
        with Peer(served.address) as peer:
            assert peer.connect() == encode(ConnectResponse(0, 10_000, 5, bytes(16), False))
        assert served.result()[:2] == (1, "connection 0: ended without exists xid=1 /a\n")


# --- as a client


def test_recorded_session_is_sent_to_a_server_and_answered_as_then(
    zookeeper: Server | External, root: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "session"
    recorded(zookeeper, root, path)
    for _ in range(2):
        assert main(["replay", str(path), "--to", zookeeper.address]) == 0
        captured = capfd.readouterr()
        assert re.fullmatch(r"\d+ requests sent, \d+ replies and events compared: as recorded\n", captured.out)
        assert captured.err == ""


def test_recorded_session_is_sent_to_a_server_of_its_own(
    zookeeper: Server | External,
    distribution: Distribution,
    root: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Other zxids, other session ids, another time."""
    path = tmp_path / "session"
    recorded(zookeeper, root, path)
    with Server(distribution) as server:
        assert main(["replay", str(path), "--to", server.address]) == 0
    assert capfd.readouterr().out.endswith("as recorded\n")


def test_replies_that_differ_are_reported(
    zookeeper: Server | External, root: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "session"
    recorded(zookeeper, root, path)
    text = path.read_text()
    changed = text.replace(b"more".hex(), b"MORE".hex())  # what is set, but not what is created
    path.write_text(changed.replace(b"data".hex(), b"DATA".hex(), 1).replace("ffffff9b", "ffffff91"))
    assert main(["replay", str(path), "--to", zookeeper.address]) == 1
    shown = capfd.readouterr().out.splitlines()
    data = [line for line in shown if f"< getData xid=2 {root}" in line]
    assert data == [f"connection 0: < getData xid=2 {root}, watch: data: recorded 'data', now 'DATA'"]
    none = [line for line in shown if f"{root}/none" in line]
    assert len(none) == 1
    assert none[0].endswith("err: recorded -111, now NO_NODE") or none[0].endswith(
        "err: recorded NOT_EMPTY, now NO_NODE"
    )
    assert shown[-1].endswith("2 differences")


def test_server_that_does_not_answer_or_hangs_up_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert main(["replay", str(path), "--to", address, "--timeout", "0.2"]) == 1
    assert capfd.readouterr().out.splitlines() == [
        "connection 0: < connect: did not come within 0.2 s",
        "connection 0: < exists xid=1 /a: did not come within 0.2 s",
        "2 requests sent, 2 replies and events compared: 2 differences",
    ]
    with serving(written(tmp_path, opcode=OpCode.GET_DATA)) as served:
        assert main(["replay", str(path), "--to", served.address]) == 1
    assert capfd.readouterr().out.splitlines() == [
        "connection 0: < exists xid=1 /a: the server closed the connection instead",
        "2 requests sent, 2 replies and events compared: 1 difference",
    ]


def test_server_that_is_not_there_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(written(tmp_path)), "--to", "127.0.0.1:1"]) == 2
    assert capfd.readouterr().err == "zkwire: 127.0.0.1:1: Connection refused\n"


def test_secrets_that_the_recording_lacks_are_reported_and_not_sent(
    zookeeper: Server | External, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for arguments, sent in (([], False), (["--secrets"], True)):
        path = tmp_path / f"session-{sent}"
        with tap(zookeeper.address, "--record", str(path), *arguments) as running:
            client = KazooClient(running.address, timeout=10, auth_data=[("digest", "user:hunter2")])
            client.start(timeout=PATIENCE)
            client.stop()
            client.close()
            running.next("closed by")
            running.interrupt()
        assert main(["replay", str(path), "--to", zookeeper.address]) == 0
        captured = capfd.readouterr()
        assert captured.out.startswith(f"{3 if sent else 2} requests sent")
        assert ("> auth xid=-4 digest is not sent: its secret was left out" in captured.err) is not sent


def test_session_that_was_left_open_is_closed(zookeeper: Server | External, root: str, tmp_path: Path) -> None:
    path = tmp_path / "session"
    with tap(zookeeper.address, "--record", str(path)) as running:
        client = KazooClient(running.address, timeout=10)
        client.start(timeout=PATIENCE)
        try:
            client.create(root, b"", ephemeral=True)
            running.next(root)
            running.interrupt()
        finally:
            client.stop()
            client.close()
    witness = KazooClient(zookeeper.address, timeout=10)
    witness.start(timeout=PATIENCE)
    try:
        if witness.exists(root):  # of the session that kazoo could not close
            witness.delete(root)
        assert main(["replay", str(path), "--to", zookeeper.address]) == 0
        assert witness.exists(root) is None
    finally:
        witness.stop()
        witness.close()


# --- files that are not recordings


def test_recording_that_was_cut_is_refused_with_the_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    text = path.read_text()
    for size, line in ((len(text) - 15, 7), (200, 2), (text.index("{", 1), 2)):
        path.write_text(text[:size])
        assert main(["replay", str(path)]) == 1
        error = capfd.readouterr().err
        assert error.startswith(f"zkwire: {path}: line "), error
        assert "cut short" in error
        assert line <= int(error.split("line ")[1].split(":")[0]) <= line + 2


def test_file_that_is_not_a_recording_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for data, reason in (
        (b"", "line 1: not a recording"),
        (b"\xff\xfe\x00", "can't decode byte"),
        (
            (recording.Writer().start() + recording.Writer().end()).encode(),
            "no connection that speaks ZooKeeper's protocol",
        ),
    ):
        (tmp_path / "file").write_bytes(data)
        assert main(["replay", str(tmp_path / "file")]) == 1
        assert reason in capfd.readouterr().err
    assert main(["replay", str(tmp_path / "none")]) == 1
    assert capfd.readouterr().err == f"zkwire: {tmp_path / 'none'}: No such file or directory\n"


def test_faults_of_the_recording_are_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(written(tmp_path, fault="dropped")), "--to", "127.0.0.1:1"]) == 2
    assert "a fault acted on 4 frames of the recording; they are played as they came" in capfd.readouterr().err


def test_replay_says_that_its_address_is_in_use(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["replay", str(written(tmp_path)), "--listen", str(port)]) == 1
    assert capfd.readouterr().err == f"zkwire: cannot listen on 127.0.0.1:{port}: Address already in use\n"
