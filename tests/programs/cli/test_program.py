"""What both command lines share: authentication and TLS for every verb that connects, and an orderly end by signals."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
import trio

import election.command.verbs
import zkwire
import zkwire.cli
from tests.support.live import PATIENCE, client
from tests.support.processes import HOST, wait_until
from tests.support.program import Program, module
from tests.support.real.servers import Distribution, Server
from tests.support.real.special_servers import TlsServer, make_certificates, tls_server
from tests.support.tapping import written
from zkwire import CREATOR_ALL_ACL, CreateMode, KeeperState, connect_arguments

PASSWORD = "pa55:wörd"
AUTH = f"digest:ben:{PASSWORD}"


@pytest.fixture(scope="module")
def tls(distribution: Distribution) -> Iterator[TlsServer]:
    with tls_server(distribution) as private:
        yield private


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZKWIRE_AUTH", raising=False)


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Ask:
    """Run a verb of one of the command lines to its end, here: status, stdout, stderr."""

    def call(main: Callable[[list[str]], int], *arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main(list(arguments))
        except SystemExit as error:  # of argparse
            status = int(str(error.code))
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


async def only_ben_reads(server: Server, path: str) -> None:
    """A znode, one below it, and a leader's znode, that only ben may read."""
    async with client(server, "", 20.0, auth=[("digest", f"ben:{PASSWORD}".encode())]) as zk:
        await zk.create(path, b"for ben", acl=CREATOR_ALL_ACL)
        await zk.create(f"{path}/10.0.0.1:80", b"", acl=CREATOR_ALL_ACL)
        await zk.create(f"{path}-leader", b"ben", mode=CreateMode.EPHEMERAL, acl=CREATOR_ALL_ACL)
        zk.detach()  # its session goes on, and so does the ephemeral


#: A command of each kind that connects; PATH is a znode that only ben may read.
READING = [
    (zkwire.cli.main, ["get", "PATH"]),
    (zkwire.cli.main, ["ls", "PATH"]),
    (zkwire.cli.main, ["set", "PATH", "new"]),
    (zkwire.cli.main, ["create", "PATH/b"]),
    (zkwire.cli.main, ["rm", "-r", "PATH"]),
    (zkwire.cli.main, ["send", '{"getData": {"path": "PATH"}}']),
    (election.command.verbs.main, ["leader", "PATH-leader", "--mode", "simple"]),
    (election.command.verbs.main, ["list", "PATH-leader", "--mode", "simple"]),
    (election.command.verbs.main, ["members", "PATH"]),
    (election.command.verbs.main, ["pick", "PATH"]),
]


@pytest.mark.parametrize(("main", "arguments"), READING, ids=[" ".join(arguments[:1]) for _, arguments in READING])
def test_only_the_authenticated_user_may(
    ask: Ask,
    tls: TlsServer,
    root: str,
    monkeypatch: pytest.MonkeyPatch,
    main: Callable[[list[str]], int],
    arguments: list[str],
) -> None:
    trio.run(only_ben_reads, tls, root)
    command = [each.replace("PATH", root) for each in arguments] + ["--hosts", tls.address]
    status, out, err = ask(main, *command)
    assert "NO_AUTH" in out + err
    assert arguments[0] == "send" or status == 1
    status, out, err = ask(main, *command, "--auth", "digest:ben:wrong")
    assert "NO_AUTH" in out + err
    monkeypatch.setenv("ZKWIRE_AUTH", f"digest:somebody:else\n\n{AUTH}\n")
    status, out, err = ask(main, *command, "--auth", "digest:ben:wrong")  # in place of the variable
    assert "NO_AUTH" in out + err
    status, out, err = ask(main, *command)
    assert (status, err) == (0, "")
    assert "NO_AUTH" not in out


def test_auth_may_be_given_again(ask: Ask, tls: TlsServer) -> None:
    options = ["--hosts", tls.address, "--auth", AUTH, "--auth=digest:other:x"]
    users = [each["user"] for each in json.loads(ask(zkwire.cli.main, "whoami", "--json", *options)[1])]
    assert {"ben", "other"} <= set(users)


def tls_options(tls: TlsServer) -> list[str]:
    directory = tls.certificates.authority.parent
    return [
        *("--hosts", tls.secure_address, "--tls", "--ca", str(tls.certificates.authority)),
        *("--cert", str(directory / "client.crt"), "--key", str(directory / "client.key")),
    ]


@pytest.mark.parametrize(("main", "arguments"), READING, ids=[" ".join(arguments[:1]) for _, arguments in READING])
def test_server_with_tls_and_client_certificates(
    ask: Ask, tls: TlsServer, root: str, main: Callable[[list[str]], int], arguments: list[str]
) -> None:
    trio.run(only_ben_reads, tls, root)
    command = [each.replace("PATH", root) for each in arguments]
    status, _, err = ask(main, *command, *tls_options(tls), "--auth", AUTH)
    assert (status, err) == (0, "")


def test_certificate_and_key_may_be_in_one_file(ask: Ask, tls: TlsServer) -> None:
    options = ["--tls", "--ca", str(tls.certificates.authority), "--cert", str(tls.certificates.client)]
    assert ask(zkwire.cli.main, "ls", "/", "--hosts", tls.secure_address, *options)[0] == 0


def test_demo_is_shown_by_tls_to_an_authenticated_user(tls: TlsServer) -> None:
    command = [sys.executable, "-m", "election", "demo", *tls_options(tls), "--auth", AUTH]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert (shown.returncode, shown.stderr) == (0, "")
    for frame in ("> auth xid=-4", "A | > auth xid=-4", "B | > auth xid=-4", "=== Done."):
        assert f"{frame}" in shown.stdout
    assert "wörd" not in shown.stdout


def test_tls_that_fails_exits_2_and_says_why(ask: Ask, tls: TlsServer) -> None:
    quick = ["--session-timeout", "1"]
    without_authority = ask(zkwire.cli.main, "ls", "/", "--hosts", tls.secure_address, "--tls", *quick)
    assert without_authority[:2] == (2, "")
    assert "CERTIFICATE_VERIFY_FAILED" in without_authority[2]
    plain = ask(zkwire.cli.main, "ls", "/", "--hosts", tls.secure_address, *quick)
    assert plain[:2] == (2, "")
    certificate = ["--tls", "--ca", str(tls.certificates.authority)]
    without_certificate = ask(zkwire.cli.main, "ls", "/", "--hosts", tls.secure_address, *certificate, *quick)
    assert without_certificate[:2] == (2, "")


def test_credentials_are_shown_nowhere(ask: Ask, tls: TlsServer, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trio.run(only_ben_reads, tls, root)
    as_bytes = PASSWORD.encode().hex(" ")[:20]
    for main, verb in ((zkwire.cli.main, "get"), (election.command.verbs.main, "members")):
        for given in (["--auth", AUTH], []):
            monkeypatch.setenv("ZKWIRE_AUTH", AUTH)
            shown = [
                ask(main, verb, root, "-v", "--hosts", tls.address, *given),
                ask(main, verb, root, "--help", *given),
                ask(main, verb, root, *given, "--hosts", "127.0.0.1:1", "--session-timeout", "0.3"),
                ask(main, verb, root, *given, "--no-such-option"),
                ask(main, *given, verb, root, "--hosts", tls.address),
            ]
            assert [status for status, _, _ in shown] == [0, 0, 2, 2, 2 if given else 0]
            assert "> auth" in shown[0][2]
            for _, out, err in shown:
                assert "wörd" not in out + err
                assert as_bytes not in out + err


def test_scheme_that_the_server_does_not_know_is_named_without_credentials(ask: Ask, tls: TlsServer) -> None:
    status, out, err = ask(zkwire.cli.main, "ls", "/", "--hosts", tls.address, "--auth", "nonsense:secret")
    assert (status, out) == (1, "")
    assert "AUTH_FAILED" in err
    assert "secret" not in err


# --- options that do not go together


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    certificates = make_certificates(directory)
    passphrase = ["-aes256", "-passout", "pass:x"]
    key = str(directory / "client.key")
    subprocess.run(["openssl", "pkey", "-in", key, *passphrase, "-out", str(directory / "locked.key")], check=True)
    (directory / "text").write_text("text")
    assert certificates.client.parent == directory
    return directory


@pytest.mark.parametrize("main", [zkwire.cli.main, election.command.verbs.main], ids=["zkwire", "election"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--ca", "authority.crt"], "--ca is for TLS: give --tls too"),
        (["--cert", "client.pem"], "--cert is for TLS: give --tls too"),
        (["--key", "client.key"], "--key is for TLS: give --tls too"),
        (["--tls", "--key", "client.key"], "--key is the key of a certificate: give that with --cert"),
        (["--tls", "--ca", "none"], "none: No such file or directory"),
        (["--tls", "--ca", "text"], "text: expected certificates in PEM"),
        (["--tls", "--ca", "."], ": Is a directory"),
        (["--tls", "--cert", "client.crt"], "the file has no private key: give the key with --key"),
        (["--tls", "--cert", "text", "--key", "client.key"], "expected a certificate and its private key, in PEM"),
        (["--tls", "--cert", "client.crt", "--key", "text"], "expected a certificate and its private key, in PEM"),
        (["--tls", "--cert", "client.crt", "--key", "none"], "none: No such file or directory"),
        (["--tls", "--cert", "client.crt", "--key", "server.key"], "the private key is not that of the certificate"),
        (["--tls", "--cert", "client.crt", "--key", "locked.key"], "has a passphrase: give a key without one"),
    ],
)
def test_options_of_tls_that_cannot_be_used_exit_2_in_one_line(
    ask: Ask, files: Path, main: Callable[[list[str]], int], options: list[str], text: str
) -> None:
    given = [each if each.startswith("--") else str(files / each) for each in options]
    status, out, err = ask(main, "leader" if main is election.command.verbs.main else "get", "/a", *given)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert text in err


@pytest.mark.parametrize("main", [zkwire.cli.main, election.command.verbs.main], ids=["zkwire", "election"])
@pytest.mark.parametrize("bad", ["secret", ":secret", ""])
def test_auth_without_a_scheme_exits_2_and_shows_nothing_of_it(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, main: Callable[[list[str]], int], bad: str
) -> None:
    verb = ["leader" if main is election.command.verbs.main else "get", "/a"]
    status, out, err = ask(main, *verb, "--auth", bad)
    assert (status, out) == (2, "")
    assert "expected SCHEME:CREDENTIALS, as digest:user:password" in err
    assert "secret" not in err
    if bad:
        monkeypatch.setenv("ZKWIRE_AUTH", f"digest:a:b\n{bad}")
        status, out, err = ask(main, *verb)
        assert (status, out) == (2, "")
        assert err.endswith(": $ZKWIRE_AUTH, line 2: expected SCHEME:CREDENTIALS, as digest:user:password\n")


def test_any_program_may_take_these_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZKWIRE_AUTH", "digest: a:b \r\n\r\nx509:")
    monkeypatch.delenv("ZKWIRE_HOSTS", raising=False)
    parser = argparse.ArgumentParser()
    zkwire.add_connection_options(parser)
    assert connect_arguments(parser.parse_args([])) == {
        "hosts": "127.0.0.1:2181",
        "session_timeout": 10.0,
        "auth": [("digest", b" a:b "), ("x509", b"")],
        "ssl_context": None,
    }


# --- paths

PATHS = [
    *[(zkwire.cli.main, [verb]) for verb in ("ls", "get", "stat", "create", "rm", "watch")],
    *[(zkwire.cli.main, verb) for verb in (["ls", "-R"], ["rm", "-r"], ["create", "-p"], ["watch", "-R"])],
    *[(election.command.verbs.main, [verb]) for verb in ("leader", "list", "observe", "members", "pick")],
    *[(election.command.verbs.main, [verb, "--mode", "simple"]) for verb in ("leader", "list", "observe")],
]
MORE = {"set": ["data"], "run": ["--", "true"], "register": ["10.0.0.1:80"]}


@pytest.mark.parametrize(
    ("main", "verb"),
    [
        *PATHS,
        (zkwire.cli.main, ["set"]),
        (election.command.verbs.main, ["run"]),
        (election.command.verbs.main, ["register"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.__module__,
)
def test_path_that_no_znode_has_exits_2_and_says_why_before_anything_is_connected(
    ask: Ask, main: Callable[[list[str]], int], verb: list[str]
) -> None:
    """Nobody listens at that address: a connection would fail with another message."""
    for path, text in (
        ("app", "path 'app' does not start with '/': a path begins at the root\n"),
        ("", "a path is not empty; the root is '/'\n"),
        ("/a/", "path '/a/' ends with '/'\n"),
        ("/a//b", "path '/a//b' has a component ''\n"),
    ):
        more = MORE.get(verb[0], [])
        command = [*verb, "--hosts", "127.0.0.1:1", "--session-timeout", "0.3", path, *more]
        status, out, err = ask(main, *command)
        assert (status, out) == (2, "")
        assert err == f"{main.__module__.partition('.')[0]}: {text}"


def test_election_and_service_need_a_znode_below_the_root(ask: Ask) -> None:
    for verb in ("leader", "observe", "members"):
        status, out, err = ask(election.command.verbs.main, verb, "/", "--hosts", "127.0.0.1:1")
        assert (status, out) == (2, "")
        assert err.startswith("election: path '/' is the root")


def test_sequential_create_may_end_in_a_slash(ask: Ask, tls: TlsServer, root: str) -> None:
    assert ask(zkwire.cli.main, "create", root, "--hosts", tls.address)[0] == 0
    made = ask(zkwire.cli.main, "create", f"{root}/", "--mode", "sequential", "--hosts", tls.address)
    assert made == (0, f"{root}/0000000000\n", "")


# --- the connection


async def test_loss_of_the_connection_is_told_once_and_so_is_a_new_session() -> None:
    class Stub:
        session_id = 1

        async def states(self) -> AsyncIterator[KeeperState]:
            yield KeeperState.SYNC_CONNECTED
            for end in (KeeperState.DISCONNECTED, KeeperState.EXPIRED):
                yield KeeperState.DISCONNECTED
                yield end
                self.session_id += end is KeeperState.EXPIRED
                yield KeeperState.SYNC_CONNECTED

    told: list[tuple[str, str]] = []
    await zkwire.tell_connection(cast(zkwire.Client, Stub()), lambda event, sentence: told.append((event, sentence)))
    lost = ("disconnected", "no connection to a server any more; what was shown may be out of date")
    assert told == [
        lost,
        ("connected", "connected again"),
        lost,
        ("connected", "connected again, in a new session"),
    ]


# --- signals


class Running(Program):
    """One of the command lines as the first process of a namespace of its own, with process id 1, as in a container.
    To us it is the one child of unshare."""

    def __init__(self, *command: str, keys: bool = False) -> None:
        unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if os.geteuid() != 0:
            unshare += ["--user", "--map-root-user"]
        super().__init__([*unshare, *module(*command)], apart=True, keys=keys)

    def pids(self) -> list[int]:
        """Its process id outside of its namespace; empty until unshare has started it."""
        return list(map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()))

    def send(self, number: int) -> None:
        (pid,) = self.pids()
        os.kill(pid, number)


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*command: str, keys: bool = False) -> Running:
            running = Running(*command, keys=keys)
            stack.callback(running.kill)
            return running

        yield begin


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


def address(listener: socket.socket) -> str:
    return f"{HOST}:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("number", "ended"),
    [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP), (signal.SIGINT, 1)],
)
@pytest.mark.parametrize(
    "command",
    [
        ["zkwire", "watch", "/"],
        ["election", "observe", "/a"],
        ["election", "members", "/a", "--watch"],
    ],
    ids=lambda command: command[1],
)
def test_signal_ends_what_waits_for_events_and_closes_its_session(
    start: Start, tls: TlsServer, command: list[str], number: signal.Signals, ended: int
) -> None:
    running = start(*command, "-v", "--hosts", tls.address)
    running.next({"watch": "watching /", "observe": "< exists", "members": "< getChildren"}[command[1]], on=running.err)
    running.send(number)
    status, _, err = running.result()
    assert status == ended
    assert "> closeSession" in err
    assert "< closeSession" in err
    assert "Traceback" not in err


WAITING = {
    "get": ["zkwire", "get", "/a"],
    "watch": ["zkwire", "watch", "/a"],
    "send": ["zkwire", "send", '{"getData": {"path": "/a"}}'],
    "observe": ["election", "observe", "/a"],
    "members": ["election", "members", "/a", "--watch"],
    "pick": ["election", "pick", "/a"],
    "run": ["election", "run", "/a", "--", "true"],
    "register": ["election", "register", "/a", "b"],
    "register while": ["election", "register", "/a", "b", "--", "true"],
}


@pytest.mark.parametrize("command", WAITING.values(), ids=WAITING)
def test_term_ends_what_waits_for_a_connection(start: Start, silent: socket.socket, command: list[str]) -> None:
    at = command.index("--") if "--" in command else len(command)
    options = ["-v", "--hosts", address(silent), "--session-timeout", "600"]
    running = start(*command[:at], *options, *command[at:])
    running.next("> ConnectRequest", on=running.err)
    running.send(signal.SIGTERM)
    status, out, err = running.result()
    assert (status, out) == (128 + signal.SIGTERM, "")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "command",
    [["read", "-"], ["explain"], ["send"], ["create", "/a", "-"], ["set", "/a", "-"]],
    ids=lambda command: command[0],
)
def test_term_ends_what_waits_for_its_stdin(start: Start, command: list[str]) -> None:
    running = start("zkwire", *command, keys=True)
    assert wait_until(lambda: waits_in_read(running), PATIENCE)
    running.send(signal.SIGTERM)
    assert running.result() == (128 + signal.SIGTERM, "", "")


def waits_in_read(running: Running) -> bool:
    """Whether the process waits for its stdin (proc(5): number and arguments of the system call; read is 0, or 63)."""
    return any(
        Path(f"/proc/{pid}/syscall").read_text().split()[:2] in (["0", "0x0"], ["63", "0x0"]) for pid in running.pids()
    )


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["tap", "0", "SILENT"], 0),
        (["replay", "RECORDING", "--listen", "0"], 0),
        (["replay", "RECORDING", "--to", "SILENT", "--timeout", "600"], 128 + signal.SIGTERM),
    ],
    ids=["tap", "replay", "replay as a client"],
)
def test_term_ends_tap_and_replay(
    start: Start, silent: socket.socket, tmp_path: Path, command: list[str], status: int
) -> None:
    places = {"SILENT": address(silent), "RECORDING": str(written(tmp_path))}
    running = start("zkwire", *(places.get(each, each) for each in command))
    with ExitStack() as stack:
        if "--to" in command:
            connection = stack.enter_context(silent.accept()[0])  # kept open: closing it would be an answer
            connection.settimeout(PATIENCE)
            assert connection.recv(1)
        else:
            running.next("Ctrl-C ends it", on=running.err)
        running.send(signal.SIGTERM)
        assert running.ends() == status


@pytest.mark.parametrize(
    "command",
    [
        ["run", "PATH", "--", "sh", "-c", "echo ready; exec sleep 1000"],
        ["register", "PATH", "a", "--", "sh", "-c", "echo ready; exec sleep 1000"],
        ["register", "PATH", "a"],
    ],
    ids=["run", "register while", "register"],
)
def test_term_ends_a_leader_and_a_member_in_good_order(
    start: Start, tls: TlsServer, root: str, command: list[str]
) -> None:
    running = start(
        "election", command[0], "--hosts", tls.address, *(root if each == "PATH" else each for each in command[1:])
    )
    assert running.next() == ("ready" if "--" in command else f"{root}/a")
    running.send(signal.SIGTERM)
    assert running.result()[:2] == (128 + signal.SIGTERM, "")

    async def left() -> list[str]:
        async with client(tls) as zk:
            return await zk.get_children(root)

    assert trio.run(left) == []
