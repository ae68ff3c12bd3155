"""The servers the other tests lean on: what they promise when started, frozen, killed, and left behind."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.processes import HOST, wait_until
from tests.support.real import distributions
from tests.support.real.distributions import Distribution, NoZooKeeper, find_distribution, find_distributions
from tests.support.real.servers import Ensemble, Server, ServerError
from tests.support.real.special_servers import sasl_server, tls_server

# Frames by hand, so that this file does not lean on the library that leans on it.
# protocolVersion, lastZxidSeen, timeOut, sessionId, passwd, readOnly
CONNECT_REQUEST = struct.pack(">iqiqi16s?", 0, 0, 10000, 0, 16, bytes(16), False)
CREATE, EXISTS, SASL = 1, 3, 102


def send_frame(connection: socket.socket, payload: bytes) -> None:
    connection.sendall(struct.pack(">i", len(payload)) + payload)


def receive_frame(connection: socket.socket) -> bytes:
    def receive(size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = connection.recv(size - len(data))
            assert chunk, f"connection closed after {data!r}"
            data += chunk
        return data

    return receive(struct.unpack(">i", receive(4))[0])


def buffer(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def call(connection: socket.socket, opcode: int, body: bytes) -> tuple[int, bytes]:
    """The error code and the body of the reply to one request."""
    send_frame(connection, struct.pack(">ii", 7, opcode) + body)
    reply = receive_frame(connection)
    xid, _, error = struct.unpack_from(">iqi", reply)
    assert xid == 7
    return error, reply[16:]


def connect(connection: socket.socket) -> int:
    """The session id the server gives to a new client."""
    send_frame(connection, CONNECT_REQUEST)
    response = receive_frame(connection)
    session_id: int = struct.unpack_from(">q", response, 8)[0]
    return session_id


def open_session(server: Server) -> socket.socket:
    connection = socket.create_connection((HOST, server.port), 5.0)
    assert connect(connection) != 0
    return connection


def create(connection: socket.socket, path: bytes) -> int:
    world = struct.pack(">ii", 1, 31) + buffer(b"world") + buffer(b"anyone")
    return call(connection, CREATE, buffer(path) + buffer(b"data") + world + struct.pack(">i", 0))[0]


def exists(connection: socket.socket, path: bytes) -> bool:
    return call(connection, EXISTS, buffer(path) + b"\0")[0] == 0


def process_runs(pid: int) -> bool:
    """Whether `pid` is a process that is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def distribution() -> Distribution:
    return find_distribution()


# --- one server ------------------------------------------------------------------------------------------------------


def test_server_starts_serves_and_stops(distribution: Distribution) -> None:
    with Server(distribution) as server:
        pid = server.pid
        assert pid is not None
        assert process_runs(pid)
        assert server.mode() == "standalone"
        assert f"Zookeeper version: {server.version}" in server.four_letter("srvr")
        assert server.four_letter("ruok") == "imok"
        with pytest.raises(ServerError, match="running already"):
            server.start()
        server.stop()
        server.stop()
        assert not process_runs(pid)
        assert server.mode() is None
    assert not server.directory.exists()


@pytest.mark.parametrize("crash", [False, True])
def test_server_keeps_its_port_and_data_over_a_restart(distribution: Distribution, crash: bool) -> None:
    with Server(distribution) as server:
        with open_session(server) as connection:
            assert create(connection, b"/kept") == 0
        if crash:
            server.kill()
            server.start()
        else:
            server.restart()
        with open_session(server) as connection:
            assert exists(connection, b"/kept")
            assert not exists(connection, b"/never")


def test_suspended_server_keeps_connections_and_does_not_answer(distribution: Distribution) -> None:
    with Server(distribution) as server, open_session(server) as connection:
        server.suspend()
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            exists(connection, b"/")
        with pytest.raises(TimeoutError):
            server.four_letter("ruok", timeout=0.3)
        server.resume()
        connection.settimeout(5.0)
        assert receive_frame(connection)  # the reply that was late
        server.suspend()
        server.stop()  # must not wait for a process that cannot hear it


def test_server_that_does_not_start_shows_its_log(distribution: Distribution) -> None:
    server = Server(distribution, config={"tickTime": "soon"})
    with pytest.raises(ServerError, match=r"(?s)ended with status 2.*For input string: \"soon\""), server:
        pass
    assert not server.directory.exists()


def test_given_directory_stays(distribution: Distribution, tmp_path: Path) -> None:
    with Server(distribution, tmp_path, config={"tickTime": "400"}) as server:
        assert "tickTime=400" in server.four_letter("conf")
    assert (tmp_path / "zoo.cfg").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a dead process")
def test_no_server_outlives_its_starter() -> None:
    """Not even one started from a thread that has ended, which the kernel would count as the starter."""
    program = (
        "import os, signal, threading, time; from tests.support.real.servers import *\n"
        "server = Server(find_distribution())\n"
        "thread = threading.Thread(target=server.start); thread.start(); thread.join()\n"
        "time.sleep(0.3); print(server.directory, server.pid, server.mode(), flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        directory, pid, mode = starter.stdout.readline().decode().split()
        assert mode == "standalone"
        assert process_runs(int(pid))
        starter.kill()
    assert wait_until(lambda: not process_runs(int(pid)), 5.0)
    subprocess.run(["rm", "-r", directory], check=True)


def test_server_started_in_a_thread_outlives_that_thread(distribution: Distribution) -> None:
    server = Server(distribution)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    assert not wait_until(lambda: server.mode() is None, 0.3)
    server.close()


# --- an ensemble -----------------------------------------------------------------------------------------------------


def test_ensemble_has_one_leader_and_survives_its_crash(distribution: Distribution) -> None:
    with Ensemble(distribution) as ensemble:
        leader = ensemble.leader()
        assert len(ensemble.followers()) == 2
        assert {leader, *ensemble.followers()} == set(ensemble.servers)
        assert ensemble.hosts.count(",") == 2
        with open_session(leader) as connection:
            assert create(connection, b"/kept") == 0

        leader.kill()
        ensemble.wait_serving()
        assert ensemble.leader() is not leader
        leader.start()
        ensemble.wait_serving()
        assert leader in ensemble.followers()
        with open_session(leader) as connection:
            assert exists(connection, b"/kept")


def test_member_without_quorum_serves_reads_where_allowed(distribution: Distribution) -> None:
    with Ensemble(distribution, jvm=["-Dreadonlymode.enabled=true"]) as ensemble:
        last = ensemble.servers[0]
        for server in ensemble.servers[1:]:
            server.kill()
        assert wait_until(lambda: last.mode() == "read-only", 10.0)
        with pytest.raises(ServerError, match="no leader"):
            ensemble.leader()


# --- more than TCP ---------------------------------------------------------------------------------------------------


def test_tls_server_takes_clients_with_a_certificate_only(distribution: Distribution) -> None:
    if distribution.version_tuple < (3, 5, 5):
        with pytest.raises(ServerError, match="no TLS"):
            tls_server(distribution)
        return
    with tls_server(distribution) as server:
        address = HOST, server.secure_port
        with (
            socket.create_connection(address, 5.0) as plain,
            server.certificates.client_context().wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            assert connect(connection) != 0
            assert exists(connection, b"/")

        stranger = server.certificates.client_context(with_certificate=False)
        with (
            socket.create_connection(address, 5.0) as plain,
            pytest.raises(ssl.SSLError, match="ALERT"),
            stranger.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            connect(connection)  # TLS 1.3 tells a client only now that its certificate was missed

        with open_session(server) as connection:  # the plain port is still there
            assert exists(connection, b"/")


def digest_md5_response(challenge: bytes, user: str, password: str) -> bytes:
    """The answer to a DIGEST-MD5 challenge, RFC 2831 2.1.2, for ZooKeeper's fixed service name."""
    given = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge.decode()))
    uri, cnonce, count = "zookeeper/zk-sasl-md5", "0123456789", "00000001"

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    secret = hashlib.md5(f"{user}:{given['realm']}:{password}".encode()).digest()
    a1 = hashlib.md5(secret + f":{given['nonce']}:{cnonce}".encode()).hexdigest()
    digest = md5(f"{a1}:{given['nonce']}:{count}:{cnonce}:auth:{md5(f'AUTHENTICATE:{uri}')}")
    return (
        f'charset=utf-8,username="{user}",realm="{given["realm"]}",nonce="{given["nonce"]}",nc={count},'
        f'cnonce="{cnonce}",digest-uri="{uri}",maxbuf=65536,response={digest},qop=auth'
    ).encode()


def test_sasl_server_takes_digest_md5(distribution: Distribution) -> None:
    with sasl_server(distribution, users={"bob": "secret", "eve": "other"}) as server:

        def answer(connection: socket.socket, password: str) -> tuple[int, bytes]:
            error, challenge = call(connection, SASL, buffer(b""))
            assert error == 0
            assert b'realm="zk-sasl-md5"' in challenge
            return call(connection, SASL, buffer(digest_md5_response(challenge[4:], "bob", password)))

        with open_session(server) as connection:
            error, token = answer(connection, "secret")
            assert error == 0
            assert b"rspauth=" in token
        with open_session(server) as connection:
            if server.distribution.version_tuple < (3, 5):  # which say no by closing
                with pytest.raises(AssertionError, match="connection closed"):
                    answer(connection, "wrong")
            else:
                assert answer(connection, "wrong")[0] == -115


# --- finding them ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without ZooKeeper; the directory is its cache."""
    monkeypatch.delenv("ZOOKEEPER_HOME", raising=False)
    monkeypatch.setenv("ZKWIRE_CACHE", str(tmp_path))
    monkeypatch.setattr(distributions, "DEBIAN_JARS", tmp_path / "nothing")
    return tmp_path


def test_bare_machine_is_told_what_to_do(bare_machine: Path) -> None:
    with pytest.raises(NoZooKeeper, match="make zookeeper"):
        find_distributions()
    unpacked(bare_machine / "zookeeper-3.9.4", "3.9.4")
    with pytest.raises(NoZooKeeper, match=r"no ZooKeeper 3\.4 on this machine, only 3\.9\.4.*make zookeeper-matrix"):
        find_distribution("3.4")


def test_missing_java_is_told(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked(bare_machine / "zookeeper-3.9.4", "3.9.4")
    monkeypatch.setenv("JAVA_HOME", str(bare_machine / "nothing"))
    with pytest.raises(NoZooKeeper, match="make zookeeper"):
        find_distributions()


def test_own_release_comes_first_then_the_newest(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ["3.4.14", "3.10.0", "3.9.4"]:
        unpacked(bare_machine / f"zookeeper-{version}", version)
    unpacked(bare_machine / "apache" / "lib", "3.6.3")
    monkeypatch.setenv("ZOOKEEPER_HOME", str(bare_machine / "apache"))
    assert [found.version for found in find_distributions()] == ["3.6.3", "3.10.0", "3.9.4", "3.4.14"]
    assert find_distribution("3.9").version == "3.9.4"
    assert find_distribution().version == "3.6.3"
    with pytest.raises(NoZooKeeper):
        find_distribution("3.1")  # which 3.10.0 is not


def unpacked(directory: Path, version: str) -> None:
    directory.mkdir(parents=True)
    for name in [f"zookeeper-{version}.jar", f"zookeeper-jute-{version}.jar"]:
        (directory / name).touch()


# --- command line ----------------------------------------------------------------------------------------------------


def test_run_passes_hosts_and_status_on() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.real",
        "run",
        "--",
        "sh",
        "-c",
        "echo $ZKWIRE_HOSTS; exit 7",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "ZKWIRE_HOSTS"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert re.fullmatch(r"127\.0\.0\.1:\d+\n", result.stdout)
    assert (result.returncode, result.stderr) == (7, "")

    result = subprocess.run(command, env={**environment, "ZKWIRE_HOSTS": "there:2181"}, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (7, "there:2181\n")


def test_run_hands_a_termination_on() -> None:
    command = [sys.executable, "-m", "tests.support.real", "run", "--", "sh", "-c", "echo ready; exec sleep 60"]
    environment = {name: value for name, value in os.environ.items() if name != "ZKWIRE_HOSTS"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"ready\n"
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(10.0) == 128 + signal.SIGTERM
