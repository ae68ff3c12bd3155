"""The command line against a real server: results on stdout, everything else on stderr, and the exit status."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipapp
from collections.abc import Callable, Iterator
from importlib import resources
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import pytest
import trio

import zkwire
from election.command.verbs import main as election_main
from tests.conftest import External
from tests.support.program import Program, module
from tests.support.real.servers import Server
from tests.support.tapping import tap
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


def test_data_that_is_not_text_is_base64_in_json(hosts: str, root: str, capfd: pytest.CaptureFixture[str]) -> None:
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


def test_tools_that_read_the_imports_find_every_verb() -> None:
    """As PyInstaller does, without running anything."""
    finder = ModuleFinder()
    finder.run_script(str(Path(zkwire.__file__ or "").with_name("__main__.py")))
    finder.import_hook("zkwire.cli")
    wanted = {f"zkwire.cli.{verb.module}" for verb in VERBS} | {f"zkwire.{name}" for name in zkwire._MODULE_OF.values()}
    assert wanted <= set(finder.modules)


def test_zipapp_has_exit_statuses(tmp_path: Path) -> None:
    source = Path(zkwire.__file__ or "").parent.parent
    for package, entry, verb, status in (
        ("zkwire", "zkwire.cli", ["describe", "bogus"], 1),
        ("election", "election.command.verbs", ["leader", "no-slash"], 2),
    ):
        staged = tmp_path / package
        for each in ("zkwire", "election"):
            shutil.copytree(source / each, staged / each, ignore=shutil.ignore_patterns("__pycache__"))
        archive = tmp_path / f"{package}.pyz"
        zipapp.create_archive(staged, archive, main=f"{entry}:main")
        shown = subprocess.run([sys.executable, archive, *verb], capture_output=True, text=True, check=False)
        assert (shown.returncode, shown.stdout) == (status, ""), shown.stderr
        assert shown.stderr.startswith(f"{package}: ")
    shown = subprocess.run(
        [sys.executable, tmp_path / "zkwire.pyz", "export", "wireshark"], capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Wireshark dissector" in shown.stdout


def test_dissector_that_a_frozen_program_has_left_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    assert main(["export", "wireshark"]) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"zkwire: {tmp_path}/dissector.lua: not here: ")


@pytest.mark.parametrize(
    ("verb", "package"),
    [(["explain", "00000008fffffffe0000000b"], "construct"), (["read", "docs/session.pcap"], "construct"),
     (["ls", "/"], "trio"), (["tap", "0", "2181"], "trio"), (["send", "{}"], "trio")],
)  # fmt: skip
def test_missing_package_is_named(verb: list[str], package: str) -> None:
    """-S: without site-packages, as after pip install --no-deps."""
    root = Path(zkwire.__file__ or "").parent.parent
    command = [sys.executable, "-S", "-m", "zkwire", *verb]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    expected = f"zkwire: {verb[0]} needs the Python package {package}: pip install {package}\n"
    assert (shown.returncode, shown.stdout, shown.stderr) == (1, "", expected)


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
    capture = Path(__file__).parents[3] / "docs" / "session.pcap"
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


# --- JSON

ZXIDS = {"zxid", "czxid", "mzxid", "pzxid", "last_zxid_seen", "relative_zxid"}
SESSIONS = {"session", "session_id", "ephemeral_owner"}
FRAMES = {"bytes", "frames", "example"}
BYTES = {"data", "passwd", "auth", "token"}


def problems(value: Any, name: str = "") -> Iterator[str]:
    """The parts of a JSON value that are not as zkwire/explain/plain.py says."""
    if isinstance(value, list):
        for each in value:
            yield from problems(each, name)
    elif isinstance(value, dict) and set(value) == {"base64"}:
        try:
            base64.b64decode(value["base64"], validate=True).decode()
            yield f"{name} is text, and shown as base64"
        except UnicodeDecodeError:
            pass
    elif isinstance(value, dict):
        for key, each in value.items():
            of_field = key == "value" and {"path", "type", "text"} <= set(value)  # one of explain's
            yield from problems(each, value["path"].rpartition(".")[2] if of_field else key)
    elif name in ZXIDS | SESSIONS and value is not None:
        if not (isinstance(value, str) and re.fullmatch("0x[0-9a-f]{1,16}", value)):
            yield f"{name}: {value!r}"
    elif name in FRAMES:
        if not (isinstance(value, str) and re.fullmatch("([0-9a-f]{2})*", value)):
            yield f"{name}: {value!r}"
    elif name in BYTES and value is not None and isinstance(value, int) != (name == "token"):
        yield f"{name}: {value!r}"
    elif isinstance(value, int) and abs(value) >= 2**53:
        yield f"{name}: {value}"


def json_lines(text: str) -> list[Any]:
    found = [json.loads(line) for line in text.splitlines()]
    assert found
    assert [problem for value in found for problem in problems(value)] == []
    return found


def test_all_json_keeps_to_one_convention(
    hosts: str, root: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], started: Callable[..., Program]
) -> None:
    seen = set()

    def run(verb: str, *arguments: str) -> list[Any]:
        seen.add(verb)
        assert main([verb, *arguments, "--json"]) == 0
        return json_lines(capfd.readouterr().out)

    async def traffic(address: str) -> None:
        async with zkwire.connect(address) as zk:
            await zk.create(f"{root}/traffic", b"\xff\x00", mode=zkwire.CreateMode.EPHEMERAL)
            _, _, watch = await zk.get_data_and_watch(f"{root}/traffic")
            await zk.set_data(f"{root}/traffic", b"text")
            await watch.wait()
            await zk.multi([zkwire.Create(f"{root}/traffic2"), zkwire.Delete(f"{root}/traffic2")])
            async with zkwire.connect(address, session=zk.session, new_session=False):
                pass

    run("create", root)
    trio.run(traffic, hosts)
    run("set", root, "\udcff")
    assert run("get", root)[0]["data"] == {"base64": "/w=="}
    run("ls", "/")
    run("ls", "-R", root)
    (stat,) = run("stat", root)
    assert stat["czxid"].startswith("0x")
    (sent, replied) = run("send", json.dumps({"getData": {"path": root}}))
    run("whoami")
    run("config")
    run("describe")
    run("read", str(Path(__file__).parents[3] / "docs" / "session.pcap"))
    run("explain", "".join(field["bytes"] for field in sent["fields"]))
    run("explain", "--reply-to", "getData", "".join(field["bytes"] for field in replied["fields"]))
    seen.add("tap")
    recording = tmp_path / "recording"
    with tap(hosts, "--json", "--hex", "--secrets", "--record", str(recording)) as running:
        trio.run(traffic, running.address)
        running.send(signal.SIGTERM)
        _, out, _ = running.result()
        found = json_lines(out)
        assert '"data": {"base64": "/wA="}' in out
        assert {"event", "connect", "exchange"} <= {each["kind"] for each in found}
    json_lines(recording.read_text())
    seen.add("watch")
    watch = started(module("zkwire", "watch", root, "-n", "2", "--json"), apart=True)
    assert "watching" in watch.next(on=watch.err)
    trio.run(traffic, hosts)
    json_lines(watch.result()[1])
    run("rm", "-r", root)
    takers = set()
    for verb in VERBS:
        with pytest.raises(SystemExit):
            main([verb.name, "--help"])
        if "--json" in capfd.readouterr().out:
            takers.add(verb.name)
    assert takers == seen


def test_all_json_of_election_keeps_to_it_too(
    hosts: str, root: str, capfd: pytest.CaptureFixture[str], started: Callable[..., Program]
) -> None:
    def inside(verb: str, path: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "election", verb, "--json", path, *arguments]

    for verb in ("leader", "list"):
        data = "\udcff" if verb == "leader" else "text"
        assert election_main(["run", "--json", "--data", data, f"{root}/e", "--", *inside(verb, f"{root}/e")]) == 0
        shown = capfd.readouterr()
        (leader,) = json_lines(shown.out)
        assert leader["data"] == ({"base64": "/w=="} if verb == "leader" else "text")
        json_lines(shown.err)
    for verb in ("members", "pick"):
        assert election_main(["register", f"{root}/m", "a:1", "--", *inside(verb, f"{root}/m")]) == 0
        json_lines(capfd.readouterr().out)
    for arguments in (["observe", f"{root}/e"], ["register", f"{root}/m", "a:2"]):
        reading = started(module("election", *arguments, "--json"), apart=True)
        json_lines(reading.next() + "\n")
        reading.send(signal.SIGTERM)
        reading.ends()
