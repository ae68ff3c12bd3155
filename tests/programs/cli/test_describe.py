"""`zkwire describe`."""

from __future__ import annotations

import compileall
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support import golden
from zkwire.cli import main
from zkwire.explain import describe
from zkwire.explain.describe import everything
from zkwire.explain.explained import explain
from zkwire.frames import frame


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["describe", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_without_a_name_it_lists_all(run: Any) -> None:
    status, out, err = run()
    assert (status, err) == (0, "")
    for each in everything():
        assert f"  {each['name']}" in out
    assert [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")] == [
        "operations:",
        "records:",
        "errors:",
        "events:",
        "modes:",
        "watch modes:",
        "words:",
    ]


@pytest.mark.parametrize("name", [each["name"] for each in everything()])
def test_everything_can_be_described(name: str, run: Any) -> None:
    status, out, err = run(name)
    assert (status, err) == (0, "")
    assert f"\n{name}" in f"\n{out}"


def test_operation_is_described_with_its_frames(run: Any) -> None:
    _, out, _ = run("get_data")
    for line in (
        "getData, opcode 4",
        "  since       ever",
        "  request     GetDataRequest",
        "      path   ustring",
        "      watch  boolean  True sets a data watch; ignored inside multiRead",
        "  arms        a data watch, when watch is True and err is 0",
        "  inside      multiRead",
        "  errors      NO_NODE (-101), NO_AUTH (-102)",
        "  The client asks the server to give the data and Stat of /app (getData, xid 1).",
        "  The server answers getData, xid 1: 5 bytes of data; version 0, 7 children.",
        "  example     getData of a znode, recorded with ZooKeeper 3.9.4",
    ):
        assert line in out.splitlines()


def test_error_is_described_by_its_number(run: Any) -> None:
    _, out, _ = run("-101")
    assert out.startswith("NO_NODE, error -101\n")
    assert "  exception   zkwire.NoNodeError" in out.splitlines()


def test_record_is_described_with_the_notes_beside_its_fields(run: Any) -> None:
    _, out, _ = run("Stat")
    assert "  czxid            long  zxid of the create" in out.splitlines()
    assert (
        "  ctime            long  time of the create: milliseconds since 1970 by the leader's clock" in out.splitlines()
    )
    assert "  example     00 00" in out


def test_long_note_goes_on_below_itself_and_no_line_is_too_long(run: Any) -> None:
    _, out, _ = run("ReplyHeader")
    first = next(line for line in out.splitlines() if line.startswith("  zxid  long  zxid of the write"))
    below = out.splitlines()[out.splitlines().index(first) + 1]
    assert below.startswith(" " * 14 + below.strip()[0])
    assert max(map(len, (out + run("ConnectResponse")[1] + run("ErrorResponse")[1]).splitlines())) <= 116


def test_json_is_an_object_in_each_line(run: Any) -> None:
    _, out, _ = run("setWatches", "--json")
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["operation", "record"]
    assert len(run("--json")[1].splitlines()) == len(everything())


def test_unknown_name_exits_1(run: Any) -> None:
    status, out, err = run("getDatum")
    assert (status, out) == (1, "")
    assert "no record, operation, error, event, mode or word is named 'getDatum'" in err


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("getDat", "did you mean getData or "),
        ("gte_data", "did you mean getData"),
        ("NoNod", "did you mean NO_NODE?"),
        ("ephemerl", "did you mean EPHEMERAL"),
        ("zxld", "did you mean zxid?"),
        ("GetDataRequst", "did you mean GetDataRequest"),
        ("4711", "see zkwire describe"),
        ("complete nonsense", "see zkwire describe"),
    ],
)
def test_near_miss_is_answered_with_the_names_that_may_be_meant(name: str, hint: str, run: Any) -> None:
    status, out, err = run(name)
    assert (status, out) == (1, "")
    assert f"is named {name!r}: {hint}" in err


def test_words_and_modes_are_described(run: Any) -> None:
    _, out, _ = run("xid")
    assert "  in          RequestHeader.xid, ReplyHeader.xid" in out.splitlines()
    assert "  reserved    NOTIFICATION (-1), PING (-2), AUTH (-4), SET_WATCHES (-8)" in out.splitlines()
    assert "Stat.czxid" in run("ZXID")[1]
    assert "ConnectRequest.session_id" in run("session")[1]
    assert "  armed by    exists, getData, getChildren, getChildren2, addWatch" in run("watch")[1].splitlines()
    _, out, _ = run("ephemeral_sequential")
    assert out.startswith("EPHEMERAL_SEQUENTIAL, create mode 3\n")
    assert "  used by     create or create2, in flags" in out.splitlines()
    assert run("container")[1].splitlines()[-2:] == ["  since       3.5.1", "  used by     createContainer, in flags"]
    _, out, _ = run("persistent")
    assert [line for line in out.splitlines() if line.startswith("PERSISTENT")] == [
        "PERSISTENT, create mode 0", "PERSISTENT, addWatch mode 0",
    ]  # fmt: skip


def test_everything_is_told_by_python_OO_without_sources(tmp_path: Path) -> None:
    """From an archive that holds nothing but what `python -OO` compiles: no docstrings, no comments, no files."""
    package = Path(describe.__file__).parents[1]
    shutil.copytree(package, tmp_path / "zkwire", ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(tmp_path / "zkwire", quiet=1, legacy=True, optimize=2)
    archive = tmp_path / "zkwire.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "zkwire").rglob("*")):
            if path.is_file() and path.suffix != ".py":
                file.write(path, path.relative_to(tmp_path))
    program = """
import json, sys
sys.path.insert(0, sys.argv[1])
from zkwire.explain import explained as explain
from zkwire.explain.describe import everything
sentences = [next(explain.explain(bytes.fromhex(each))).sentence for each in sys.argv[2:]]
print(json.dumps([explain.__file__, explain.__doc__, everything(), sentences]))
"""
    replies = [frame(shown.payload) for shown in golden.load() if shown.kind == "reply" and shown.err]
    command = [sys.executable, "-OO", "-c", program, str(archive), *(data.hex() for data in replies)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    file, docstring, told, sentences = json.loads(done.stdout)
    assert file.startswith(str(archive))
    assert docstring is None
    assert told == everything()
    assert sentences == [next(explain(data)).sentence for data in replies]
