"""`zkwire tap` as it is run: what it prints, what it records, what it breaks, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import External
from tests.support.peer import Peer
from tests.support.program import PATIENCE, Program, module
from tests.support.real.servers import Server
from tests.support.tapping import tap
from zkwire.cli import main
from zkwire.cli.addresses import listening, servers
from zkwire.cli.status import CommandError
from zkwire.codes import CreateMode, OpCode, Xid
from zkwire.frames import frame
from zkwire.hosts import Host
from zkwire.jute import encode
from zkwire.records import (
    ACL,
    AuthPacket,
    ConnectRequest,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetDataRequest,
    Id,
    RequestHeader,
    SetDataRequest,
)
from zkwire.traffic import recording

ACLS = (ACL(31, Id("world", "anyone")),)


def objects(lines: list[str], kind: str | None = None) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines]
    return [each for each in found if kind in (None, each["kind"])]


# --- what it prints


def test_tap_prints_a_line_for_each_request_with_its_reply(zookeeper: Server | External, root: str) -> None:
    with tap(zookeeper.address) as running, Peer(running.address) as peer:
        peer.connect()
        peer.call(1, OpCode.CREATE, CreateRequest(root, b"data", ACLS, CreateMode.EPHEMERAL))
        peer.call(2, OpCode.GET_DATA, GetDataRequest(root, True))
        peer.send(3, OpCode.SET_DATA, SetDataRequest(root, b"x", -1))
        peer.take()
        peer.take()
        peer.call(Xid.PING, OpCode.PING)
        peer.call(4, OpCode.EXISTS, ExistsRequest(root + "/none", False))
        peer.call(5, OpCode.CLOSE_SESSION)
        assert peer.ends()
        peer.close()
        running.next("closed by")
        running.interrupt()
    number, ms = r"0x[0-9a-f]+", r"  \d+\.\d\d ms"
    event = rf"event NODE_DATA_CHANGED {root}( zxid={number} by| likely by) #0 setData xid=3"
    expected = [
        rf"opened 127\.0\.0\.1:\d+ to {re.escape(zookeeper.address)}",
        rf"connect new session, 10 s -> session {number}, 10 s{ms}",
        rf"create xid=1 {root}, 4 bytes, EPHEMERAL -> OK zxid={number}{ms}",
        rf"getData xid=2 {root}, watch -> OK 4 bytes, version 0 zxid={number}{ms}",
        rf"setData xid=3 {root}, 1 byte -> OK version 1 zxid={number}{ms}",
        rf"{event}, \d+\.\d\d ms after it was sent; watch of getData xid=2",
        rf"exists xid=4 {root}/none -> NO_NODE zxid={number}{ms}",
        rf"closeSession xid=5 -> OK zxid={number}{ms}",
        r"closed by the (server|client)",
    ]
    shown = running.shown()
    assert len(shown) == len(expected), shown
    for line, pattern in zip(shown, expected):
        assert re.fullmatch(pattern, line), line
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{6} #0 ", line) for line in running.lines())


def test_tap_pairs_a_hundred_requests_of_one_segment_in_order(zookeeper: Server | External) -> None:
    with tap(zookeeper.address, "--json") as running, Peer(running.address) as peer:
        peer.connect()
        frames = [
            frame(encode(RequestHeader(1 + place, OpCode.EXISTS)) + encode(ExistsRequest(f"/missing-{place}", False)))
            for place in range(100)
        ]
        peer.socket.sendall(b"".join(frames))
        for _ in frames:
            peer.take()
        running.next('"xid": 100,')
        exchanges = objects(running.interrupt(), "exchange")
    assert [(each["xid"], each["path"]) for each in exchanges] == [(1 + n, f"/missing-{n}") for n in range(100)]
    assert {each["error"] for each in exchanges} == {"NO_NODE"}


def test_tap_tells_of_requests_that_had_no_reply_when_it_is_ended(zookeeper: Server | External) -> None:
    with tap(zookeeper.address, "--fault", "drop reply exists always") as running, Peer(running.address) as peer:
        peer.connect()
        peer.send(1, OpCode.EXISTS, ExistsRequest("/a", False))
        peer.call(2, OpCode.SYNC, ExistsRequest("/", False))
        running.next("sync xid=2")
        peer.send(3, OpCode.CHECK, DeleteRequest("/", 77))  # which servers leave without an answer, or close on
        running.interrupt()
    assert any(re.match(r"FAULT < exists xid=1 /a: dropped", line) for line in running.shown())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tap_ends_with_status_0_and_tells_what_was_left(number: int) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, tap(f"127.0.0.1:{silent.getsockname()[1]}") as running, Peer(running.address) as peer:
        handshake = frame(encode(ConnectRequest(0, 0, 10_000, 0, b"", False)))
        peer.socket.sendall(handshake)
        request = peer.send(1, OpCode.EXISTS, ExistsRequest("/a", False))
        accepted, _ = silent.accept()
        with accepted:
            accepted.settimeout(PATIENCE)
            came = b""
            while len(came) < len(handshake + request):
                came += accepted.recv(1000)
            running.interrupt(number)
        assert peer.ends()
        assert running.err.rest == ""
    left = [re.sub(r"[\d.]+ ms", "T", line) for line in running.shown()[1:]]
    assert left == [
        "connect new session, 10 s -> NO REPLY: the connection ended T later",
        "exists xid=1 /a -> NO REPLY: the connection ended T later",
        "closed by the tap, 2 without a reply",
    ]


def test_tap_shows_pings_only_when_asked(zookeeper: Server | External) -> None:
    for arguments, count in ((["--pings"], 1), ([], 0), (["--op", "ping"], 1)):
        with tap(zookeeper.address, *arguments) as running, Peer(running.address) as peer:
            peer.connect()
            peer.call(Xid.PING, OpCode.PING)
            peer.call(1, OpCode.EXISTS, ExistsRequest("/zookeeper", False))
            running.next("exists" if "--op" not in arguments else "ping")
            running.interrupt()
        assert sum(line.startswith("ping xid=-2 -> OK") for line in running.shown()) == count


def test_tap_filters_by_operation_and_path(zookeeper: Server | External, root: str) -> None:
    def run(*arguments: str) -> list[str]:
        with tap(zookeeper.address, *arguments) as running:
            with Peer(running.address) as peer:
                peer.connect()
                for xid, path in enumerate((root, root + "/a", "/zookeeper"), start=1):
                    peer.call(xid, OpCode.EXISTS, ExistsRequest(path, False))
                    peer.call(100 + xid, OpCode.GET_DATA, GetDataRequest(path, False))
                peer.call(9, OpCode.CLOSE_SESSION)
                assert peer.ends()
            running.interrupt()
        return [" ".join(line.split()[:3]) for line in running.shown()]

    assert run("--op", "exists", "--path", root + "/**") == [f"exists xid=1 {root}", f"exists xid=2 {root}/a"]
    assert run("--path", "/zookeeper") == ["exists xid=3 /zookeeper", "getData xid=103 /zookeeper"]
    assert run("--op", "closeSession") == ["closeSession xid=9 ->"]


def test_tap_shows_one_session_of_two(zookeeper: Server | External) -> None:
    with tap(zookeeper.address, "--json") as first, Peer(first.address) as peer:
        response = peer.connect()
        session, password = struct.unpack_from(">q", response, 8)[0], response[20:36]
        first.interrupt()
    with tap(zookeeper.address, "--session", hex(session)) as running:
        with Peer(running.address) as other, Peer(running.address) as peer:
            other.connect()
            other.call(1, OpCode.EXISTS, ExistsRequest("/other", False))
            peer.connect(password, session)
            peer.call(2, OpCode.EXISTS, ExistsRequest("/mine", False))
            running.next("/mine")
        running.interrupt()
    assert [line.split()[0] for line in running.shown()] == ["connect", "exists", "closed"]
    assert f"session {hex(session)}, 10 s -> session {hex(session)}" in running.shown()[0]


def test_tap_prints_annotated_dumps_with_hex_and_masks_secrets_unless_asked(zookeeper: Server | External) -> None:
    secret = b"user:hunter2"
    for arguments, masked in (([], True), (["--secrets"], False)):
        with tap(zookeeper.address, "--hex", *arguments) as running, Peer(running.address) as peer:
            peer.connect(b"PASSWORD_16BYTES")
            peer.call(Xid.AUTH, OpCode.AUTH, AuthPacket(0, "digest", secret))
            running.next("auth xid=-4 digest -> OK")
            running.next("ReplyHeader.err")
            lines = "\n".join(running.interrupt())
        assert "    > auth xid=-4" in lines
        assert "    0004  ff ff ff fc" in lines
        assert (secret.hex(" ") in lines) is not masked
        assert (b"PASSWORD_16B".hex(" ") in lines) is not masked, "the rest of it stands in the next row"
        assert ("·· ·· ··" in lines) is masked


def test_tap_prints_json_that_has_all_and_no_secret(zookeeper: Server | External, root: str) -> None:
    for arguments, masked in (([], True), (["--secrets"], False)):
        with tap(zookeeper.address, "--json", "--hex", *arguments) as running, Peer(running.address) as peer:
            peer.connect(b"PASSWORD_16BYTES")
            peer.call(Xid.AUTH, OpCode.AUTH, AuthPacket(0, "digest", b"user:hunter2"))
            asked = peer.send(1, OpCode.EXISTS, ExistsRequest(root, False))
            answer = frame(peer.take())
            running.next('"op": "exists"')
            lines = running.interrupt()
        opened, connect, auth, exists, closed = objects(lines)
        assert [each["kind"] for each in (opened, connect, exists, closed)] == [
            "opened",
            "connect",
            "exchange",
            "closed",
        ]
        assert exists["frames"] == [asked.hex(), answer.hex()]
        assert (exists["path"], exists["error"], exists["session"]) == (root, "NO_NODE", connect["session"])
        assert exists["latency_ms"] > 0
        assert auth["request"]["auth"] == ("<12 bytes>" if masked else "user:hunter2")
        text = "\n".join(lines)
        for secret in (b"hunter2", b"PASSWORD_16BYTES"):
            assert (secret.decode() in text) is not masked
            assert (secret.hex() in text) is not masked


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "> TLS: it cannot be read here"),
        (b"GET / HTTP/1.1\r\n\r\n", "> HTTP"),
        (b"isro", "> the four-letter word isro"),
    ],
)
def test_tap_passes_on_what_is_not_zookeepers(zookeeper: Server | External, data: bytes, name: str) -> None:
    with tap(zookeeper.address) as running, Peer(running.address) as peer:
        peer.socket.sendall(data)
        if data == b"isro":
            assert peer.socket.recv(10) == b"rw"
        assert peer.ends()
        peer.close()
        running.next("closed by")
        running.interrupt()
    assert running.shown()[1] == f"{name}; its bytes are passed on"


def test_tap_passes_a_half_closed_connection_on(zookeeper: Server | External) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with tap(f"127.0.0.1:{listener.getsockname()[1]}") as running, Peer(running.address) as peer:
            peer.socket.sendall(b"ruok")
            peer.socket.shutdown(socket.SHUT_WR)
            served, _ = listener.accept()
            with served:
                served.settimeout(PATIENCE)
                assert served.recv(10) == b"ruok"
                assert served.recv(10) == b""
                served.sendall(b"imok")
            assert peer.socket.recv(10) == b"imok"
            assert peer.ends()
            peer.close()
            assert running.next("closed by").endswith("closed by the client")
            running.interrupt()


# --- what it cannot do


def test_tap_tells_of_a_server_that_is_not_there_and_goes_on(zookeeper: Server | External) -> None:
    with tap("127.0.0.1:1") as running:
        for _ in range(2):
            with suppress(ConnectionResetError), Peer(running.address) as peer:  # it may come while this one connects
                assert peer.ends()
            line = running.next("no server for")
            assert line.endswith("127.0.0.1:1: Connection refused")
        running.interrupt()


def test_tap_takes_the_next_server_of_a_list(zookeeper: Server | External) -> None:
    with tap(f"127.0.0.1:1,{zookeeper.address}") as running:
        for _ in range(2):
            with Peer(running.address) as peer:
                assert peer.connect()
        running.next("connect new session")
        running.interrupt()


def test_tap_says_that_its_address_is_in_use(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["tap", str(port), "2181"]) == 1
    assert capfd.readouterr().err == f"zkwire: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["x", "2181"], "LISTEN 'x': expected HOST:PORT, :PORT or PORT"),
        (["99999", "2181"], "LISTEN '99999': expected"),
        (["::1:2181", "2181"], "an IPv6 address needs brackets"),
        (["0", "h:x"], "SERVER 'h:x': 'h:x' in 'h:x': expected a port from 1 to 65535"),
        (["0", "h:2181/app"], "SERVER 'h:2181/app': a chroot belongs to the client: give /app to the client"),
        (["0", "2181", "--fault", "explode"], "fault 'explode': expected drop, delay"),
        (["0", "2181", "--op", "getDate"], "'getDate' is not an operation"),
        (["0", "2181", "--path", "a"], "path 'a' does not start with '/'"),
    ],
)
def test_tap_refuses_what_it_cannot_read_with_status_2(
    arguments: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["tap", *arguments]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("zkwire: ")
    assert reason in captured.err


def test_tap_refuses_a_session_that_is_no_number() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["tap", "0", "2181", "--session", "mine"])
    assert caught.value.code == 2


def test_tap_says_that_it_cannot_write_its_recording(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["tap", "0", "2181", "--record", str(tmp_path / "none" / "file")]) == 1
    assert "No such file or directory" in capfd.readouterr().err
    assert main(["tap", "0", "2181", "--record", "/dev/full"]) == 1
    assert "zkwire: /dev/full: No space left on device\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("2182", Host("127.0.0.1", 2182)),
        (":2182", Host("127.0.0.1", 2182)),
        ("0", Host("127.0.0.1", 0)),
        ("0.0.0.0:2182", Host("0.0.0.0", 2182)),
        ("[::]:2182", Host("::", 2182)),
        ("localhost:2182", Host("localhost", 2182)),
    ],
)
def test_listen_may_lack_its_host(text: str, host: Host) -> None:
    assert listening(text) == host


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("2181", "127.0.0.1:2181"),
        (":2181", "127.0.0.1:2181"),
        ("h", "h:2181"),
        ("h:1,:2, 3,[::1]", "h:1,127.0.0.1:2,127.0.0.1:3,[::1]:2181"),
    ],
)
def test_server_may_lack_its_host_or_be_several(text: str, hosts: str) -> None:
    assert servers(text) == hosts
    with pytest.raises(CommandError):
        servers(text + "/chroot")


# --- what it records


def items(path: Path) -> list[recording.RecordedLine]:
    with path.open(encoding="utf-8") as file:
        return list(recording.read(file))


def test_recording_has_every_byte_and_what_was_done(zookeeper: Server | External, tmp_path: Path) -> None:
    path = tmp_path / "traffic"
    arguments = ["--record", str(path), "--fault", "drop request exists /dropped", "--secrets"]
    with tap(zookeeper.address, *arguments) as running, Peer(running.address) as peer:
        password = b"PASSWORD_16BYTES"
        sent = [frame(encode(ConnectRequest(0, 0, 10_000, 0, password, False)))]
        received = [frame(peer.connect(password))]
        sent.append(peer.send(1, OpCode.EXISTS, ExistsRequest("/dropped", False)))
        sent.append(peer.send(2, OpCode.EXISTS, ExistsRequest("/none", False)))
        received.append(frame(peer.take()))
        running.next("exists xid=2")
        running.interrupt()
    opened, *chunks, closed = items(path)
    assert isinstance(opened, recording.RecordedOpening)
    assert opened.server == zookeeper.address
    assert isinstance(closed, recording.RecordedClosing)
    assert closed.by == "tap"
    found = [chunk for chunk in chunks if isinstance(chunk, recording.RecordedBytes)]
    assert [chunk.data for chunk in found if chunk.direction.value == ">"] == sent
    assert [chunk.data for chunk in found if chunk.direction.value == "<"] == received
    assert [chunk.fault for chunk in found] == ["", "", "dropped", "", ""]
    assert oct(os.stat(path).st_mode & 0o777) == "0o600"


def test_recording_holds_no_secret_unless_asked(zookeeper: Server | External, tmp_path: Path) -> None:
    path = tmp_path / "traffic"
    with tap(zookeeper.address, "--record", str(path)) as running, Peer(running.address) as peer:
        given = peer.connect(b"PASSWORD_16BYTES")[20:36]
        peer.call(Xid.AUTH, OpCode.AUTH, AuthPacket(0, "digest", b"user:hunter2"))
        running.next("auth")
        running.interrupt(signal.SIGTERM)
    text = path.read_text()
    assert not recording.has_secrets(text.splitlines()[0])
    for secret in (b"PASSWORD_16BYTES", b"hunter2", given):
        assert secret.hex() not in text
    assert len(items(path)) == 6


def test_recording_is_what_a_client_traces(zookeeper: Server | External, root: str, tmp_path: Path) -> None:
    """`zkwire ls -v` prints what a tap in between records."""
    path = tmp_path / "traffic"
    with tap(zookeeper.address, "--record", str(path), "--hex") as running:
        command = [sys.executable, "-m", "zkwire", "ls", "/", "-v", "--hosts", running.address]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        running.next("closed by")
        lines = running.interrupt()
    dumps = [line[4:] for line in lines if line.startswith("    ")]
    assert sorted(dumps) == sorted(line for line in shown.stderr.splitlines() if line)
    assert len([item for item in items(path) if isinstance(item, recording.RecordedBytes)]) == 6


# --- what it breaks


def test_tap_breaks_the_frames_that_its_faults_name(zookeeper: Server | External, root: str) -> None:
    faults = ["--fault", "cut reply create", "--fault", "drop request exists nth 2", "--seed", "7"]
    with tap(zookeeper.address, *faults) as running:
        with Peer(running.address) as peer:
            peer.connect()
            peer.send(1, OpCode.CREATE, CreateRequest(root, b"", ACLS, 0))
            assert peer.ends()
        with Peer(running.address) as peer:
            peer.connect()
            assert len(peer.call(2, OpCode.EXISTS, ExistsRequest(root, False))) == 16 + 68, "it was created"
            peer.send(3, OpCode.EXISTS, ExistsRequest(root, False))
            assert len(peer.call(4, OpCode.DELETE, DeleteRequest(root, -1))) == 16
            running.next("delete xid=4")
        running.interrupt()
        assert running.err.rest == "zkwire: 2 faults, seed 7\n"
    shown = running.shown()
    assert f"FAULT < create xid=1 {root}: connection cut before it"[:40] in "\n".join(shown)
    assert f"FAULT > exists xid=3 {root}: dropped" in shown
    assert any(re.match(rf"exists xid=3 {root} -> NO REPLY: the connection ended", line) for line in shown)


def test_the_same_seed_gives_the_same_frames_twice(zookeeper: Server | External) -> None:
    def run(seed: int) -> list[list[str]]:
        """What was done, of each direction."""
        faults = ["--fault", "drop request exists p=0.3", "--fault", "dup reply p=0.2", "--seed", str(seed)]
        with tap(zookeeper.address, *faults, "--op", "exists,connect,sync") as running:
            with Peer(running.address) as peer:
                peer.connect()
                for xid in range(1, 41):
                    peer.send(xid, OpCode.EXISTS, ExistsRequest("/none", False))
                peer.send(41, OpCode.SYNC, ExistsRequest("/", False))
                running.next("sync xid=41")
            running.interrupt()
        return [[line for line in running.shown() if line.startswith(f"FAULT {way}")] for way in "<>"]

    first = run(5)
    assert first == run(5)
    assert all(len(faults) > 2 for faults in first)
    assert first != run(6)


def test_tap_stops_when_nobody_reads_what_it_prints(zookeeper: Server | External) -> None:
    read, write = os.pipe()
    with Program(module("zkwire", "tap", "0", zookeeper.address), stdout=write, apart=True) as process:
        os.close(write)
        os.close(read)
        address = process.next(on=process.err).split()[1]
        with Peer(address) as peer:
            assert peer.ends()
        assert process.ends() == 1
        assert process.err.rest == ""
