"""`zkwire explain`: what it takes, what it prints, and how it ends."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import golden
from tests.support.program import Program, module
from tests.support.samples import CREATE_REPLY, EVENT, GET_DATA, GET_DATA_REPLY, PING
from zkwire.cli import main
from zkwire.cli.common import Paint
from zkwire.codes import OpCode
from zkwire.explain.dump import format_frame
from zkwire.frames import Direction, Frame, frame
from zkwire.jute import encode
from zkwire.records import ConnectRequest, GetDataRequest, RequestHeader, SetDataRequest


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str]) -> Any:
    """(status, stdout, stderr) of `zkwire explain` with these arguments."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["explain", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))

    return give


def test_ping_of_the_manual_has_three_labelled_rows() -> None:
    command = f"echo {PING.hex()} | {Path(sys.executable).with_name('zkwire')} explain"
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    title, *rows, sentence = shown.stdout.splitlines()
    assert title.split() == [">", "ping", "xid=-2", "12", "bytes"]
    assert [row.split() for row in rows] == [
        ["0000", "00", "00", "00", "08", "length", "int", "8"],
        ["0004", "ff", "ff", "ff", "fe", "RequestHeader.xid", "int", "-2", "(PING)"],
        ["0008", "00", "00", "00", "0b", "RequestHeader.type", "int", "11", "(ping)"],
    ]
    assert "ping" in sentence


@pytest.mark.parametrize("given", [GET_DATA.hex(), GET_DATA.hex(" ", 2), base64.b64encode(GET_DATA).decode()])
def test_input_is_an_argument_in_any_form(given: str, explain: Any) -> None:
    status, out, _ = explain(*given.split())
    assert status == 0
    assert "GetDataRequest.path   ustring  '/app'" in out
    assert "asks the server to give the data and Stat of /app" in out


def test_input_is_a_file_of_text_or_bytes(explain: Any, tmp_path: Path) -> None:
    for content in (GET_DATA, GET_DATA.hex().encode(), base64.b64encode(GET_DATA)):
        path = tmp_path / "frames"
        path.write_bytes(content)
        assert explain(str(path))[0] == 0


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_input_is_stdin(arguments: list[str], explain: Any, stdin: Any) -> None:
    stdin(PING)
    assert explain(*arguments)[0] == 0


def test_what_it_prints_can_be_given_to_it(explain: Any, stdin: Any) -> None:
    _, once, _ = explain((GET_DATA + PING + GET_DATA_REPLY).hex())
    stdin(once.encode())
    assert explain()[:2] == (0, once)


@pytest.mark.parametrize(
    ("given", "reason"),
    [("", "no bytes to explain"), ("xyz!", "neither hexadecimal nor base64"), ("000", "no whole number of bytes")],
)
def test_what_holds_no_bytes_exits_2(given: str, reason: str, explain: Any) -> None:
    status, out, err = explain(given)
    assert (status, out) == (2, "")
    assert reason in err


def test_missing_file_is_not_taken_for_base64(explain: Any) -> None:
    status, out, err = explain("/nonexistent")
    assert (status, out) == (2, "")
    assert "there is no such file" in err
    assert explain("ruok", "--format", "base64")[0] == 1


def test_directory_exits_2(explain: Any) -> None:
    status, out, err = explain("/tmp")
    assert (status, out) == (2, "")
    assert "Is a directory" in err


def test_argument_longer_than_a_file_name_is_not_a_file(explain: Any) -> None:
    request = frame(encode(RequestHeader(1, OpCode.GET_DATA)) + encode(GetDataRequest("/" + "a" * 5000, False)))
    for given in (request.hex(), base64.b64encode(request).decode()):
        status, out, err = explain(given)
        assert (status, err) == (0, "")
        assert "GetDataRequest.path" in out


def test_input_may_be_a_pipe(explain: Any) -> None:
    """As <(...) gives in a shell."""
    read, write = os.pipe()
    os.write(write, PING)
    os.close(write)
    status, out, _ = explain(f"/dev/fd/{read}")
    os.close(read)
    assert (status, out.splitlines()[0].split()[1]) == (0, "ping")


def test_file_that_cannot_be_read_exits_2(explain: Any, stdin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    status, out, err = explain(__file__)
    assert (status, out) == (2, "")
    assert "Permission denied" in err


def test_several_files_are_several_inputs(explain: Any, tmp_path: Path) -> None:
    """The first ends in the middle of a frame: its rest is not looked for in the second."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(PING[:6])
    second.write_text(PING.hex())
    status, out, err = explain(str(first), str(second))
    assert status == 1
    assert [line for line in out.splitlines() if line.startswith("==>")] == [f"==> {first} <==", f"==> {second} <=="]
    assert "> ping" in out.partition("second")[2]
    assert "is cut after 6 of 12 bytes" in err
    _, out, _ = explain("--json", str(first), str(second))
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(first), str(second)]


def test_several_files_of_which_one_cannot_be_read_are_refused(explain: Any, stdin: Any, tmp_path: Path) -> None:
    path = tmp_path / "frames"
    path.write_bytes(PING)
    assert explain(str(path), "nofile") == (2, "", f"zkwire: {str(path)!r} is a file, but there is no file 'nofile'\n")
    stdin(b"hello")
    status, out, err = explain(str(path), "-")
    assert (status, out) == (2, "")
    assert err.startswith("zkwire: -: this is neither hexadecimal nor base64")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("capture.bin", True),
        ("no/such/file", True),
        ("hello world", False),
        ("b'\\x00\\q'", False),
        ("[0, 8, 256]", False),
    ],
)
def test_missing_file_is_spoken_of_where_one_can_be_meant(given: str, said: bool, explain: Any) -> None:
    status, _, err = explain(given)
    assert status == 2
    assert ("there is no such file" in err) is said


def test_missing_file_is_not_spoken_of_where_it_is_there_or_nobody_named_one(
    explain: Any, stdin: Any, tmp_path: Path
) -> None:
    path = tmp_path / "frames"
    path.write_text("hello")
    assert "no such file" not in explain(str(path))[2]
    stdin(b"hello")
    assert "no such file" not in explain()[2]


def test_http_in_a_text_is_named(explain: Any, stdin: Any) -> None:
    stdin(b"HTTP/1.1 400 Bad Request\r\nServer: Jetty\r\n")
    assert explain() == (2, "", "zkwire: the bytes are HTTP, not ZooKeeper's protocol\n")


def test_capture_is_named_with_the_verb_that_reads_it(explain: Any) -> None:
    status, _, err = explain(str(Path(__file__).parents[3] / "docs" / "session.pcap"))
    assert status == 1
    assert err == "zkwire: the bytes are a file of captured packets (pcap): zkwire read FILE shows what they say\n"


def test_frame_without_its_length_is_shown_with_a_hint(explain: Any) -> None:
    status, _, err = explain(GET_DATA[4:].hex())
    assert status == 1
    assert err.splitlines()[1] == (
        "  hint: without a length before them these 17 bytes are the request getData: "
        "put the length 00000011 before them"
    )


def test_what_was_assumed_is_noted_on_stderr(explain: Any) -> None:
    payload = encode(ConnectRequest(0, 0, 10000, 7, b"secret, 16 bytes", False))
    dump = format_frame(Frame(Direction.SENT, payload, (ConnectRequest,), None, 0.0))
    status, out, err = explain("--json", dump)
    assert (status, err) == (0, "zkwire: note: zeros stand for 16 masked bytes\n")
    assert json.loads(out)["operation"] is None
    assert json.loads(out)["records"] == ["ConnectRequest"]


@pytest.mark.parametrize("text", ["h\u00e9llo", "[" * 5000, "\u2028", "0000\u00a000", "\ufeff", "\udcff"])
def test_text_of_any_kind_gives_no_traceback(text: str, explain: Any) -> None:
    status, out, err = explain(text)
    assert out == "" or status == 1
    assert err.startswith("zkwire: ")


# --- readings


def test_several_readings_exit_1_and_are_asked_for(explain: Any) -> None:
    status, out, err = explain(CREATE_REPLY.hex())
    assert status == 1
    assert "(ambiguous)" in out
    assert err.splitlines() == [
        "zkwire: the frame at offset 0 can be read in 2 ways; say which:",
        "  --reply-to create            the reply to create",
        "  --reply-to sync              the reply to sync",
    ]
    for option in re.findall(r"--reply-to (\w+)", err):
        status, out, err = explain("--reply-to", option, CREATE_REPLY.hex())
        assert (status, err) == (0, "")
        assert f"{option[0].upper()}{option[1:]}Response.path" in out


@pytest.mark.parametrize("spelling", ["getData", "get_data", "GET-DATA", "4"])
def test_reply_to_takes_any_spelling(spelling: str, explain: Any) -> None:
    status, out, _ = explain("--reply-to", spelling, GET_DATA_REPLY.hex())
    assert status == 0
    assert "The server answers getData, xid 1" in out


def test_reply_to_nothing_known_exits_2(explain: Any) -> None:
    assert explain("--reply-to", "getDatum", PING.hex()) == (
        2,
        "",
        "zkwire: no operation is named 'getDatum': see zkwire describe\n",
    )


@pytest.mark.parametrize(
    ("options", "data", "status"),
    [
        (["--request"], GET_DATA, 0),
        (["--response"], GET_DATA_REPLY, 0),
        (["--event"], EVENT, 0),
        (["--event"], GET_DATA_REPLY, 1),
        (["--connect"], GET_DATA, 1),
        (["--request", "--connect"], PING, 1),
    ],
)
def test_option_says_what_the_frames_are(options: list[str], data: bytes, status: int, explain: Any) -> None:
    assert explain(*options, data.hex())[0] == status


@pytest.mark.parametrize("option", ["--request", "--response"])
def test_direction_is_a_true_hint_for_the_first_frame_too(option: str, explain: Any) -> None:
    kind, direction = ("ConnectRequest", ">") if option == "--request" else ("ConnectResponse", "<")
    shown = [found for found in golden.load() if found.types[0].__name__ == kind]
    assert len(shown) > 10
    for found in shown:
        status, out, err = explain(option, frame(found.payload).hex())
        assert (status, err) == (0, ""), found.id
        assert out.startswith(f"{direction} {kind} ")


def test_direction_holds_for_a_whole_connection(explain: Any) -> None:
    connect = frame(golden.read(golden.FRAMES / "3.9.4" / "connect-01-request.txt").payload)
    assert explain("--request", (connect + GET_DATA + PING).hex())[0] == 0


def test_two_options_that_exclude_each_other_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["explain", "--request", "--event", "00"])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "name", ["getData-02-reply", "connect-01-request", "multi-NoNode-02-reply", "watch-getData-04-event"]
)
def test_frame_cut_anywhere_exits_1_and_names_field_and_offset(name: str, explain: Any) -> None:
    data = frame(golden.read(golden.FRAMES / "3.9.4" / f"{name}.txt").payload)
    for size in range(1, len(data)):
        status, out, err = explain(data[:size].hex())
        assert status == 1
        assert re.match(rf"zkwire: the frame at offset 0 is cut after {size}.* in \S+ at offset \d+", err), err
        assert "(cut)" in out or "(undecoded)" in out


# --- text


def test_long_values_are_shortened_unless_full_is_asked_for(explain: Any, tmp_path: Path) -> None:
    data = frame(encode(RequestHeader(1, OpCode.SET_DATA)) + encode(SetDataRequest("/a", bytes(range(256)) * 4096, -1)))
    path = tmp_path / "frame"
    path.write_bytes(data)
    _, short, _ = explain(str(path))
    assert len(short) < 5000
    hidden = re.search(r"^\.\.\.   (\d+) bytes not shown$", short, re.MULTILINE)
    assert hidden is not None
    assert int(hidden[1]) > 1_048_000
    assert "make 1048576 bytes of data the data of /a" in short
    _, full, _ = explain(str(path), "--full")
    shown = re.findall(r"^[0-9a-f]{4,}  ((?:[0-9a-f]{2} ){0,15}[0-9a-f]{2})", full, re.MULTILINE)
    assert bytes.fromhex("".join(shown)) == data


def test_frames_are_parted_by_an_empty_line(explain: Any) -> None:
    _, out, _ = explain((PING + GET_DATA).hex())
    assert [block.split()[1] for block in out.split("\n\n")] == ["ping", "getData"]


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),  # no-color.org: set, and not to the empty string
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour_is_for_terminals_without_no_color(
    terminal: bool, environment: dict[str, str], coloured: bool, explain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    _, plain_or_not, _ = explain((GET_DATA + CREATE_REPLY).hex())
    assert ("\x1b[" in plain_or_not) is coloured
    assert "/app" in re.sub(r"\x1b\[\d*m", "", plain_or_not)


def test_paint_has_its_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    paint = Paint(terminal)
    colours = [paint.bold, paint.dim, paint.red, paint.green, paint.yellow, paint.cyan]
    assert len({colour("x") for colour in colours}) == len(colours)
    assert paint.red("") == ""


def test_reader_that_ends_early_gives_no_traceback(tmp_path: Path) -> None:
    """As `zkwire explain | head` does."""
    path = tmp_path / "frames"
    path.write_bytes(PING * 50_000)
    read, write = os.pipe()
    with Program(module("zkwire", "explain", str(path)), stdout=write, apart=True) as program:
        os.close(write)
        os.read(read, 10)
        os.close(read)
        assert (program.ends(), program.err.text) == (1, "")


# --- JSON


def test_json_has_an_object_for_each_frame(explain: Any) -> None:
    status, out, _ = explain("--json", (GET_DATA + GET_DATA_REPLY).hex())
    request, reply = map(json.loads, out.splitlines())
    assert status == 0
    assert (request["direction"], request["operation"], request["opcode"]) == ("sent", "getData", 4)
    assert (reply["direction"], reply["operation"], reply["offset"]) == ("received", "getData", len(GET_DATA))
    assert b"".join(bytes.fromhex(field["bytes"]) for field in reply["fields"]) == GET_DATA_REPLY
    data = next(field for field in reply["fields"] if field["path"] == "GetDataResponse.data")
    assert (data["value"], data["type"], data["text"]) == ("hi", "buffer", "b'hi'")
    assert reply["fault"] is None


def test_json_of_a_frame_that_is_not_read_says_so(explain: Any) -> None:
    status, out, _ = explain("--json", CREATE_REPLY.hex())
    shown = json.loads(out)
    assert status == 1
    assert shown["readings"] == ["--reply-to create", "--reply-to sync"]
    assert (shown["operation"], shown["records"]) == (None, None)
    assert "2 ways" in shown["fault"]
