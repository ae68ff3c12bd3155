"""The command line against a real server: results on stdout, everything else on stderr, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import zkwire
from tests.conftest import External
from tests.servers import Server
from zkwire.cli import VERBS, main


@pytest.fixture
def hosts(zookeeper: Server | External, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ZKWIRE_HOSTS", zookeeper.address)
    return zookeeper.address


def test_daily_verbs_do_what_they_say(hosts: str, root: str, capfd: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        status = main(list(arguments))
        captured = capfd.readouterr()
        assert captured.err == ""
        return status, captured.out

    assert run("create", root, "data") == (0, root + "\n")
    assert run("get", root) == (0, "data")
    assert run("set", root, "more", "--version", "0") == (0, "1\n")
    assert run("create", root + "/n-", "--mode", "sequential") == (0, root + "/n-0000000000\n")
    assert run("ls", root) == (0, "n-0000000000\n")
    assert run("ls", root, "--json") == (0, '["n-0000000000"]\n')
    status, text = run("stat", root, "--json")
    assert (status, json.loads(text)["version"], json.loads(text)["data_length"]) == (0, 1, 4)
    assert "version = 1\n" in run("stat", root)[1]
    status, text = run("get", root, "--json")
    assert (json.loads(text)["path"], json.loads(text)["data"]) == (root, "more")
    assert run("rm", root + "/n-0000000000") == (0, "")
    assert run("rm", root, "--version", "1") == (0, "")


@pytest.mark.parametrize("verb", ["get", "ls", "stat", "rm"])
def test_missing_znode_prints_nothing_on_stdout_and_exits_4(
    hosts: str, root: str, verb: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, root]) == 4
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("zkwire: NO_NODE (-101)")


def test_other_errors_exit_1_and_name_the_path(hosts: str, root: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "/zookeeper"]) == 1
    assert "NODE_EXISTS (-110): create /zookeeper" in capfd.readouterr().err
    assert main(["get", "no-slash"]) == 1
    assert "does not start with '/'" in capfd.readouterr().err


def test_no_server_exits_2_and_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "/", "--hosts", "127.0.0.1:1", "--session-timeout", "0.3"]) == 2
    assert "127.0.0.1:1: ConnectionRefusedError" in capfd.readouterr().err
    assert main(["ls", "/", "--hosts", ":::"]) == 2
    assert "IPv6" in capfd.readouterr().err


def test_verbose_prints_every_frame_on_stderr(hosts: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "/", "-v"]) == 0
    captured = capfd.readouterr()
    titles = [line.split()[:2] for line in captured.err.splitlines() if line[:2] in ("> ", "< ")]
    assert titles == [
        [">", "ConnectRequest"],
        ["<", "ConnectResponse"],
        [">", "getChildren"],
        ["<", "getChildren"],
        [">", "closeSession"],
        ["<", "closeSession"],
    ]
    assert "zookeeper" in captured.out


def test_data_that_is_no_text_is_base64_in_json(hosts: str, root: str, capfd: pytest.CaptureFixture[str]) -> None:
    async def set_bytes() -> None:
        async with zkwire.connect(hosts) as zk:
            await zk.create(root, bytes([255, 0]))
            await zk.create(root + "/null", None)

    trio.run(set_bytes)
    for path, data in ((root, {"base64": "/wA="}), (root + "/null", None)):
        assert main(["get", path, "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["data"] == data


def test_console_script_is_installed(hosts: str) -> None:
    script = Path(sys.executable).with_name("zkwire")
    shown = subprocess.run([script, "ls", "/"], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stdout.split()[-1]) == (0, "zookeeper"), shown.stderr


def test_every_verb_has_its_module_and_takes_help(capfd: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit) as caught:
            main([verb.name, "--help"])
        assert caught.value.code == 0
        assert f"usage: zkwire {verb.name}" in capfd.readouterr().out


def test_python_m_zkwire_is_zkwire() -> None:
    shown = subprocess.run([sys.executable, "-m", "zkwire", "--version"], capture_output=True, text=True, check=False)
    assert shown.stdout == f"zkwire {zkwire.__version__}\n"


def test_usage_error_exits_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["no-such-verb"])
    assert caught.value.code == 2
