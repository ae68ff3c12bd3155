"""The daily verbs against real servers: what they print, how they end, and every frame with -v."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import trio

import zkwire
from tests.conftest import External
from tests.support.live import PATIENCE, client
from tests.support.real.servers import Ensemble, Server
from zkwire import OpCode
from zkwire.cli import main
from zkwire.explain.dump import format_frame
from zkwire.frames import Direction
from zkwire.tap.tap import Tap, cut
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import PASS, reply_to


@pytest.fixture
def hosts(zookeeper: Server | External, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ZKWIRE_HOSTS", zookeeper.address)
    return zookeeper.address


@pytest.fixture
def run(hosts: str, capfd: pytest.CaptureFixture[str]) -> Any:
    """(status, stdout, stderr) of a command."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


async def command(*arguments: str) -> int:
    """The same beside other tasks."""
    return await trio.to_thread.run_sync(main, list(arguments))


class Screen:
    """What a command has printed so far."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.out = self.err = ""

    def look(self) -> None:
        captured = self._capfd.readouterr()
        self.out += captured.out
        self.err += captured.err

    async def until(self, text: str) -> None:
        """Return when the command has printed it."""
        while text not in self.out + self.err:
            self.look()
            await trio.sleep(0.01)


# --- what they print


def test_ls_without_a_path_lists_the_root(run: Any) -> None:
    status, out, err = run("ls")
    assert (status, err) == (0, "")
    assert "zookeeper" in out.splitlines()


def test_ls_recursive_gives_each_znode_then_its_children_by_name(run: Any, root: str) -> None:
    for path in ("", "/b", "/a", "/a/z", "/a/y", "/c"):
        assert run("create", root + path)[0] == 0
    expected = [root + path for path in ("", "/a", "/a/y", "/a/z", "/b", "/c")]
    assert run("ls", "-R", root) == (0, "\n".join(expected) + "\n", "")
    assert json.loads(run("ls", "-R", root, "--json")[1]) == expected
    out = run("ls", "-R", "/")[1]
    assert out.splitlines()[0] == "/"
    assert set(expected) <= set(out.splitlines())


def test_ls_recursive_lists_what_can_be_read_and_tells_of_the_rest(run: Any, root: str) -> None:
    for path in ("", "/a", "/b", "/b/x"):
        assert run("create", root + path)[0] == 0
    closed = {"path": f"{root}/a", "acl": [{"perms": 8, "id": {"scheme": "world", "id": "anyone"}}]}
    assert run("send", json.dumps({"setACL": closed}))[0] == 0
    status, out, err = run("ls", "-R", root)
    assert (status, out.splitlines()) == (1, [root, f"{root}/a", f"{root}/b", f"{root}/b/x"])
    assert f"zkwire: NO_AUTH (-102): getChildren {root}/a\nzkwire: 1 of 4 znodes could not be read" in err
    status, out, err = run("ls", "-R", f"{root}/a")
    assert (status, out) == (1, "")
    assert "NO_AUTH" in err


def test_create_makes_parents_when_asked(run: Any, root: str) -> None:
    assert run("create", f"{root}/a/b")[0] == 4
    assert run("create", "-p", f"{root}/a/b", "data") == (0, f"{root}/a/b\n", "")
    assert run("create", "-p", f"{root}/a/", "--mode", "sequential") == (0, f"{root}/a/0000000001\n", "")
    assert run("get", f"{root}/a/b") == (0, "data", "")


def test_command_that_cannot_print_its_frames_still_does_its_work(hosts: str, root: str) -> None:
    command = '"$0" -m zkwire create --hosts "$1" -v "$2" data 2>/dev/full'
    done = subprocess.run(["sh", "-c", command, sys.executable, hosts, root], stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (0, f"{root}\n")


@pytest.mark.parametrize("verb", [["get"], ["ls"], ["ls", "-R"], ["stat"], ["rm"], ["rm", "-r"], ["set"], ["create"]])
@pytest.mark.parametrize("below", ["", "/deeper"])
def test_missing_chroot_is_named_by_every_verb(
    verb: list[str], below: str, run: Any, hosts: str, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZKWIRE_HOSTS", hosts + root + below)
    data = ["x"] if verb[0] in ("set", "create") else []
    status, out, err = run(*verb, "/workers", *data)
    assert (status, out) == (4, "")
    assert err.startswith("zkwire: NO_NODE (-101): ")
    assert err.endswith(f" /workers: the chroot {root}{below} does not exist; zkwire create -p creates it\n")


def test_create_makes_the_chroot_when_asked(run: Any, hosts: str, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZKWIRE_HOSTS", f"{hosts}{root}/a")
    assert run("create", "-p", "/workers", "x") == (0, "/workers\n", "")
    assert run("get", "/workers") == (0, "x", "")
    monkeypatch.setenv("ZKWIRE_HOSTS", f"{hosts}{root}/b")
    assert run("create", "-p", "/", "of the chroot") == (0, "/\n", "")
    assert run("get", "/") == (0, "of the chroot", "")
    status, _, err = run("create", "-p", "/", "again")
    assert (status, err) == (1, "zkwire: NODE_EXISTS (-110): create /\n")
    assert run("get", "/missing") == (4, "", "zkwire: NO_NODE (-101): getData /missing\n")
    monkeypatch.setenv("ZKWIRE_HOSTS", f"{hosts}{root}/c")
    assert run("create", "-p", "/", "--mode", "sequential") == (0, "/0000000000\n", "")


def test_create_with_a_ttl_is_a_ttl_znode(run: Any, root: str) -> None:
    assert run("create", root, "--ttl", "60")[0] == 0  # the test servers have extended types
    status, out, err = run("create", root, "--ttl", "60", "--mode", "ephemeral")
    assert (status, out) == (2, "")
    assert "no --ttl" in err


def test_data_is_read_from_stdin(run: Any, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))

    give(b"\x00\xff")
    assert run("create", root, "-")[0] == 0
    assert json.loads(run("get", root, "--json")[1])["data"] == {"base64": "AP8="}
    give(b"text")
    assert run("set", root, "-") == (0, "1\n", "")
    assert run("get", root) == (0, "text", "")


def test_whoami_lists_the_identities(run: Any) -> None:
    status, out, err = run("whoami")
    assert (status, err) == (0, "")
    assert re.search(r"^ip 127\.0\.0\.1$", out, re.MULTILINE)
    assert {"scheme": "ip", "user": "127.0.0.1"} in json.loads(run("whoami", "--json")[1])


def test_config_of_a_standalone_server_is_empty(run: Any) -> None:
    assert run("config") == (0, "", "")
    shown = json.loads(run("config", "--json")[1])
    assert (shown["servers"], shown["version"]) == ([], None)


def test_config_of_an_ensemble_lists_its_servers(ensemble: Ensemble, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--hosts", ensemble.hosts]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.partition("=")[0] for line in lines] == ["server.1", "server.2", "server.3", "version"]
    assert main(["config", "--hosts", ensemble.hosts, "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["servers"] == lines[:3]
    assert lines[3] == f"version={shown['version']}"


# --- watch


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_watch_for_no_event_at_all_exits_2(count: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["watch", "/", "-n", count])
    assert caught.value.code == 2
    assert "expected a number of events, 1 or more" in capfd.readouterr().err


async def test_watch_prints_events_as_they_come(hosts: str, root: str, capfd: pytest.CaptureFixture[str]) -> None:
    statuses: list[int] = []
    screen = Screen(capfd)

    async def watching() -> None:
        statuses.append(await command("watch", root, "-n", "3"))

    with trio.fail_after(3 * PATIENCE):
        async with zkwire.connect(hosts) as zk, trio.open_nursery() as nursery:
            nursery.start_soon(watching)
            await screen.until(f"watching {root}")
            await zk.create(root)
            await screen.until("NODE_CREATED")
            await zk.set_data(root, b"x")
            await zk.create(f"{root}/child")
    screen.look()
    assert statuses == [0]
    kinds = [line.split()[:2] for line in screen.out.splitlines()]
    assert kinds == [[kind, root] for kind in ("NODE_CREATED", "NODE_DATA_CHANGED", "NODE_CHILDREN_CHANGED")]
    assert screen.err == f"zkwire: watching {root}\n"


async def test_watch_recursive_prints_json(hosts: str, root: str, capfd: pytest.CaptureFixture[str]) -> None:
    statuses: list[int] = []

    async def watching() -> None:
        statuses.append(await command("watch", "-R", root, "-n", "2", "--json"))

    screen = Screen(capfd)
    with trio.fail_after(3 * PATIENCE):
        async with zkwire.connect(hosts) as zk, trio.open_nursery() as nursery:
            await zk.create(root)
            nursery.start_soon(watching)
            await screen.until("watching")
            await zk.create(f"{root}/child")
            await zk.set_data(f"{root}/child", b"x")
    screen.look()
    events = [json.loads(line) for line in screen.out.splitlines()]
    assert statuses == [0]
    assert [(event["type"], event["path"]) for event in events] == [
        ("NODE_CREATED", f"{root}/child"),
        ("NODE_DATA_CHANGED", f"{root}/child"),
    ]


async def test_watch_says_that_it_has_no_connection_and_that_it_has_one_again(
    zookeeper: Server | External, root: str, capfd: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(capfd)
    statuses: list[int] = []
    async with Tap(zookeeper.address) as tap:

        async def watching() -> None:
            statuses.append(await command("watch", root, "-n", "1", "--hosts", tap.address, "--session-timeout", "20"))

        with trio.fail_after(3 * PATIENCE):
            async with client(zookeeper) as zk, trio.open_nursery() as nursery:
                nursery.start_soon(watching)
                await screen.until("watching")
                tap.refuse()
                tap.cut()
                await screen.until("zkwire: no connection to a server any more; what was shown may be out of date\n")
                await tap.heal()
                await screen.until("zkwire: connected again\n")
                await zk.create(root)
    assert statuses == [0]


async def test_watch_exits_3_when_its_session_ends(
    zookeeper: Server | External, root: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Another client ends the session, as anybody can who knows its id."""
    statuses: list[int] = []
    sessions: list[zkwire.SessionInfo] = []
    screen = Screen(capfd)

    def note(seen: SeenFrame) -> Any:
        if seen.direction is Direction.RECEIVED and seen.is_handshake:
            response = seen.record
            sessions.append(zkwire.SessionInfo(response.session_id, response.passwd))
        return PASS

    async with Tap(zookeeper.address) as tap:
        tap.fault = note

        async def watching() -> None:
            statuses.append(await command("watch", root, "--hosts", tap.address))

        with trio.fail_after(3 * PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watching)
                await screen.until("watching")
                async with client(zookeeper, session=sessions[0]):
                    pass  # leaving the block closes the session
    screen.look()
    assert statuses == [3]
    assert screen.out == ""
    assert "SESSION_EXPIRED" in screen.err


# --- exit statuses


@pytest.mark.parametrize(
    "verb", [["get"], ["ls"], ["ls", "-R"], ["stat"], ["rm"], ["rm", "-r"], ["set", "--version=0"]]
)
def test_missing_znode_prints_nothing_on_stdout_and_exits_4(verb: list[str], run: Any, root: str) -> None:
    data = ["x"] if verb[0] == "set" else []
    for json_or_not in ([], ["--json"]):
        status, out, err = run(*verb, *json_or_not, root, *data)
        assert (status, out) == (4, "")
        assert err.startswith("zkwire: NO_NODE (-101)")


@pytest.mark.parametrize(
    "arguments",
    [
        ["rm", "/"],
        ["rm", "-r", "/"],
        ["rm", "-r", "/zookeeper"],
        ["rm", "-r", "/zookeeper/quota"],
        ["rm", "/config", "--hosts=127.0.0.1:1/zookeeper"],
        ["rm", "-r", "/", "--hosts=127.0.0.1:1/app"],
        ["rm", "-r", "/a", "--version", "3"],
    ],
)
def test_what_must_not_be_deleted_is_refused_before_a_byte_is_sent(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZKWIRE_HOSTS", "127.0.0.1:1")
    assert main(arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "cannot be deleted" in captured.err or "takes no --version" in captured.err


async def test_lost_connection_exits_3(
    zookeeper: Server | External, root: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Tap(zookeeper.address) as tap:
        tap.fault = cut(before=reply_to(OpCode.CREATE))
        assert await command("create", root, "--hosts", tap.address) == 3
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "CONNECTION_LOSS" in captured.err
    assert "maybe applied" in captured.err


# --- every frame


@pytest.mark.parametrize("verb", ["ls -R", "create", "get", "set", "stat", "rm -r", "whoami", "config", "ls"])
async def test_verbose_prints_exactly_the_frames_that_a_tap_records(
    verb: str, zookeeper: Server | External, root: str, capfd: pytest.CaptureFixture[str]
) -> None:
    passed: list[SeenFrame] = []

    def note(seen: SeenFrame) -> Any:
        passed.append(seen)
        return PASS

    async with client(zookeeper) as zk:
        if verb != "create":
            await zk.create(root)
            await zk.create(f"{root}/child")
    capfd.readouterr()
    async with Tap(zookeeper.address) as tap:
        tap.fault = note
        path = [] if verb in ("whoami", "config") else [root]
        data = ["data"] if verb in ("create", "set") else []
        assert await command(*verb.split(), *path, *data, "-v", "--hosts", tap.address) == 0
    shown = capfd.readouterr().err.split("\n\n")
    assert shown.pop() == ""
    for direction in Direction:
        recorded = [format_frame(seen.frame) for seen in passed if seen.direction is direction]
        assert [text for text in shown if text.startswith(direction.value)] == recorded
    assert len(shown) == len(passed)
