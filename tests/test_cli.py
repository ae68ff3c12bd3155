"""The command line against a real server: results on stdout, everything else on stderr, and the exit status."""

from __future__ import annotations

import json
import os
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


# --- streams that do not take what is written


@pytest.mark.parametrize("verb", [["describe"], ["explain", "00000008fffffffe0000000b"], ["export", "wireshark"]])
def test_stdout_that_is_full_exits_1_and_says_so(verb: list[str]) -> None:
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "zkwire", *verb], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (process.returncode, process.stderr) == (1, "zkwire: No space left on device\n")


def test_read_into_a_full_stdout_exits_1() -> None:
    capture = Path(__file__).parent.parent / "docs" / "session.pcap"
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "zkwire", "read", str(capture)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (process.returncode, process.stderr) == (1, "zkwire: No space left on device\n")


@pytest.mark.parametrize(
    ("redirection", "status", "err"),
    [
        ("explain <&-", 2, "zkwire: no bytes to explain: give hexadecimal, base64 or a file, or pipe them in\n"),
        ("describe >&-", 0, ""),
        ("describe bogus 2>&-", 1, ""),
    ],
)
def test_streams_that_are_closed_are_empty(redirection: str, status: int, err: str) -> None:
    """And print(file=None) would write complaints to stdout."""
    process = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m zkwire {redirection}"], capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stdout, process.stderr) == (status, "", err)


def test_names_that_an_encoding_lacks_are_escaped(hosts: str, root: str) -> None:
    """create has made the znode when it prints its path: no traceback may hide that."""
    for verb, shown in (["create", "-p", f"{root}/ü"], f"{root}/\\xfc\n"), (["ls", "--json", root], '["\\u00fc"]\n'):
        process = subprocess.run(
            [sys.executable, "-m", "zkwire", *verb],
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (process.returncode, process.stdout, process.stderr) == (0, shown, "")


def test_terminal_gets_no_control_character_and_a_pipe_the_name_as_it_is(
    hosts: str, root: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Servers refuse ESC in a name, but take U+202E, which turns the rest of a line around."""
    assert main(["create", "-p", f"{root}/\u202egnp.exe", "\x9b31m"]) == 0
    capfd.readouterr()
    assert main(["ls", root]) == 0
    assert capfd.readouterr().out == "\u202egnp.exe\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["ls", root]) == 0
    assert capfd.readouterr().out == "\\u202egnp.exe\n"
    assert main(["get", f"{root}/\u202egnp.exe", "--json"]) == 0
    shown = capfd.readouterr().out
    assert shown.isascii()
    assert json.loads(shown)["data"] == "\x9b31m"


def test_what_must_not_be_sent_exits_2(hosts: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "/", "--session-timeout", "-3"]) == 2
    assert capfd.readouterr().err == "zkwire: session_timeout is seconds, above 0 and below 2147483, not -3.0\n"
