"""`zkwire read`, on captures of our own making and on real ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.dialogues import TALK, connected, dialogue, say
from tests.support.dialogues import read as dialogues_read
from tests.support.pcap_writer import Connection, PcapWriter
from tests.support.program import Program, module
from zkwire.cli import main
from zkwire.explain.dump import title
from zkwire.frames import frame
from zkwire.text import printable
from zkwire.traffic.conversation import SeenFrame

CAPTURES = Path(__file__).parents[2] / "captures"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Two connections: one that watches, one that says a four-letter word."""
    file = PcapWriter()
    connected(file, "watch-getData", "exists-NoNode", "ping").close()
    word = Connection(file, client_port=40001)
    word.handshake()
    word.client(b"ruok")
    word.server(b"imok" * 20)
    path = tmp_path / "test.pcap"
    path.write_bytes(file.bytes)
    return path


def read(capfd: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["read", *arguments]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    return shown.out.splitlines()


def test_a_line_for_each_frame_in_order_of_time(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(read(capfd, str(capture)))
    assert re.sub(r"0x[0-9a-f]+", "0x..", text) == "\n".join(
        [
            "     4  22:13:20.003000  #0  = 10.0.0.1:40000 to 10.0.0.2:2181",
            "     4  22:13:20.003000  #0  > ConnectRequest session=0x.. time_out=60000 ms",
            "     5  22:13:20.004000  #0  < ConnectResponse session=0x.. time_out=60000 ms",
            "     6  22:13:20.005000  #0  > getData xid=1 path=/watched/new",
            "     7  22:13:20.006000  #0  < getData xid=1 path=/watched/new OK zxid=0x..  1.000 ms",
            "     8  22:13:20.007000  #0  > setData xid=2 path=/watched/new",
            "     9  22:13:20.008000  #0  < event NODE_DATA_CHANGED /watched/new",
            "    10  22:13:20.009000  #0  < setData xid=2 path=/watched/new OK zxid=0x..  2.000 ms",
            "    11  22:13:20.010000  #0  > exists xid=1 path=/missing",
            "    12  22:13:20.011000  #0  < exists xid=1 path=/missing NO_NODE zxid=0x..  1.000 ms",
            "    13  22:13:20.012000  #0  > ping xid=-2",
            "    14  22:13:20.013000  #0  < ping xid=-2 OK zxid=0x..  1.000 ms",
            "    21  22:13:20.020000  #1  = 10.0.0.1:40001 to 10.0.0.2:2181",
            "    21  22:13:20.020000  #1  > 4 bytes that are not a frame: ruok",
            "    22  22:13:20.021000  #1  < 80 bytes that are not a frame: " + "imok" * 15 + " ...",
        ]
    )


def test_json_has_an_object_for_each_frame(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = [json.loads(line) for line in read(capfd, str(capture), "--json")]
    ends = {"connection": 0, "client": "10.0.0.1:40000", "server": "10.0.0.2:2181"}
    request, reply = (golden for golden in TALK["exists-NoNode"])
    zxid = f"0x{int.from_bytes(reply.payload[4:12], 'big'):x}"
    assert found[0] | {"time": 0} == {
        "kind": "frame", "packet": 4, "time": 0, **ends, "direction": ">", "op": "connect",
        "size": len(dialogue()[0].payload) + 4,
    }  # fmt: skip
    assert found[5]["event"] == "NODE_DATA_CHANGED"
    assert found[5]["path"] == "/watched/new"
    assert abs(found[7].pop("time") - 1_700_000_000.010) < 1e-5
    assert found[7] == {
        "kind": "frame", "packet": 11, **ends, "direction": ">", "op": "exists", "xid": 1, "path": "/missing",
        "size": len(request.payload) + 4,
    }  # fmt: skip
    assert (found[8]["err"], found[8]["error"], found[8]["zxid"]) == (-101, "NO_NODE", zxid)
    assert (found[8]["latency_ms"], found[8]["size"]) == (1.0, 20)
    assert (found[-2]["kind"], found[-2]["bytes"]) == ("bytes", b"ruok".hex())


def test_json_has_the_error_of_a_failed_multi(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = PcapWriter()
    connected(file, "multi-NoNode")
    path = tmp_path / "multi.pcap"
    path.write_bytes(file.bytes)
    reply = json.loads(read(capfd, str(path), "--json")[-1])
    assert (reply["op"], reply["err"], reply["error"]) == ("multi", -101, "NO_NODE")


def test_hex_shows_every_byte_and_no_password(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(read(capfd, str(capture), "--hex", "--op", "getData,connect"))
    assert "000c  00 00 00 0c 2f 77 61 74 63 68 65 64 2f 6e 65 77  GetDataRequest.path = '/watched/new'" in text
    assert "ConnectResponse.passwd = <16 bytes>" in text
    sizes = [len(golden.payload) + 4 for golden in dialogue() + TALK["watch-getData"][:2]]
    rows = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} |·· )+)", text.replace("\n", "  \n"), re.MULTILINE)
    assert sum(len(row.split()) for row in rows) == sum(sizes)


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        (["--op", "ping"], ["> ping", "< ping"]),
        (["--op", "connect"], ["> ConnectRequest", "< ConnectResponse"]),
        (["--path", "/miss*"], ["> exists", "< exists"]),
        (["--path", "/watched/**", "--op", "setData"], ["> setData", "< setData"]),
        (["--path", "/watched/new"], ["> getData", "< getData", "> setData", "< event", "< setData"]),
        (["--port", "2182"], None),
    ],
)
def test_filters(capture: Path, filters: list[str], shown: list[str] | None, capfd: pytest.CaptureFixture[str]) -> None:
    if shown is None:
        assert main(["read", str(capture), *filters]) == 1
        error = capfd.readouterr().err
        assert error == f"zkwire: {capture}: no ZooKeeper among 22 packets, 22 of them TCP: none of port 2182\n"
        return
    lines = read(capfd, str(capture), *filters)
    assert [" ".join(line.split()[3:5]) for line in lines[1:]] == shown


def test_what_was_not_captured_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = PcapWriter()
    connection = Connection(file)
    say(connection, TALK["getData"])
    connection.sequence[0] += 5
    say(connection, TALK["ping"])
    path = tmp_path / "gap.pcap"
    path.write_bytes(file.bytes)
    lines = read(capfd, str(path))
    assert lines[1].endswith("! the capture begins within this connection")
    assert lines[-3].endswith("! client to server: 5 bytes were not captured")
    notices = [json.loads(line).get("notice") for line in read(capfd, str(path), "--json")]
    assert "client to server: 5 bytes were not captured" in notices


def test_frames_that_waited_for_others_are_listed_when_they_passed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = PcapWriter()
    first = connected(file, "create")
    first.sequence[0] += 5  # never captured, nor acknowledged
    first.client(frame(TALK["ping"][0].payload))
    connected(file, "getData", client_port=40001)
    path = tmp_path / "waits.pcap"
    path.write_bytes(file.bytes)
    lines = read(capfd, str(path))
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers == sorted(numbers)
    assert " > ping" in lines[6]


def test_live_capture_is_shown_as_it_comes(capture: Path) -> None:
    data = capture.read_bytes()
    with Program(module("zkwire", "read", "-"), keys=True, apart=True) as reader:
        end = data.index(frame(TALK["exists-NoNode"][0].payload))
        reader.press(data[:end])
        shown = [reader.next() for _ in range(8)]  # these fail, were they kept for the end of the file
        assert "setData xid=2 path=/watched/new OK" in shown[-1]
        reader.press(data[end:])
        reader.close_keys()
        status, out, error = reader.result()
    assert (len(out.splitlines()), error, status) == (15 - 8, "", 0)


def test_bad_file_shows_what_it_can_and_says_where_it_is_bad(
    capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = capture.read_bytes()
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(data[:-30])
    assert main(["read", str(bad)]) == 1
    shown = capfd.readouterr()
    assert len(shown.out.splitlines()) == 14
    last = 16 + 54 + 80
    assert f"bad.pcap: offset {len(data) - last}: expected a packet with its 16-byte header, the file ends" in shown.err
    bad.write_bytes(b"not a capture")
    assert main(["read", str(bad)]) == 1
    assert "offset 0: expected a pcap file" in capfd.readouterr().err


def test_usage_errors_exit_2(capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([str(tmp_path / "nothing")], "No such file"),
        ([str(tmp_path)], "Is a directory"),
        ([str(capture), "--op", "nothing"], "'nothing' is not an operation"),
        ([str(capture), "--path", "nothing"], "does not start with '/'"),
    ):
        assert main(["read", *arguments]) == 2
        shown = capfd.readouterr()
        assert words in shown.err
        assert shown.out == ""
    with pytest.raises(SystemExit) as caught:
        main(["read", str(capture), "--port", "70000"])
    assert caught.value.code == 2
    assert "expected a port, 1 to 65535, got '70000'" in capfd.readouterr().err


def test_reader_that_has_enough_ends_it_quietly(capture: Path) -> None:
    command = f"{sys.executable} -m zkwire read {capture} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_colours_only_on_a_terminal(capture: Path) -> None:
    script = f"{sys.executable} -m zkwire read {capture}"
    plain = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"}
    for environment, coloured in ((plain, True), (plain | {"NO_COLOR": "1"}, False)):
        done = subprocess.run(
            ["script", "-qec", script, "/dev/null"],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert (b"\x1b[31m< exists" in done.stdout) is coloured
        assert b"NO_NODE" in done.stdout
    done = subprocess.run(["bash", "-c", script], env=plain, capture_output=True, timeout=60, check=False)
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize("name", sorted(TALK))
def test_the_title_of_a_reply_has_the_path_of_its_request(name: str) -> None:
    file = PcapWriter()
    connected(file, name)
    for seen in dialogues_read(file.bytes):
        assert isinstance(seen.what, SeenFrame)
        text = title(seen.what.frame)
        if seen.what.request is not None and seen.what.path:
            text = text.replace(f" xid={seen.what.xid}", f" xid={seen.what.xid} path={printable(seen.what.path)}", 1)
        assert title(seen.what.frame, seen.what.path) == text


@pytest.mark.parametrize(
    "payload",
    [
        b"\0\0\0\1\0\0\0\x63",
        b"\0\0\0\2\0\0\0\1\0\0\0\x7f/a",
        b"\0\0\0\3\0\0\0\4\0\0\0\2/a",
        b"\0\0\0\4\0\0\0\x0e\0\0\0\x63\0\0\0\0\0",
        b"\0\0\0\1\0\0\0\4\0\0\0\0\0",
        b"\0\0\0\1\0\0\0\4\0\0\0\3/\x1b[\0",
        b"\0",
        b"",
    ],
)
def test_the_title_of_a_request_has_the_path_in_its_own_bytes_also_where_they_do_not_fit(payload: bytes) -> None:
    file = PcapWriter()
    connected(file).client(frame(payload))
    last = dialogues_read(file.bytes)[-1].what
    assert isinstance(last, SeenFrame)
    assert title(last.frame, last.path) == title(last.frame)


def test_frames_that_cannot_be_decoded_are_marked_and_the_status_is_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = PcapWriter()
    connection = connected(file, "getData")
    connection.client(frame(b"\0\0\0\x01\0\0\0\x04\0\0\0\x7f/a"))
    connection.server(frame(bytes(3) + b"\1" + bytes(12) + b"\0\0\0\x63"))
    say(connection, TALK["ping"])
    path = tmp_path / "bad.pcap"
    path.write_bytes(file.bytes)
    problems = [
        "GetDataRequest.path at offset 12: ustring: length 127 needs at least 127 bytes, 2 are left",
        "GetDataResponse.data at offset 20: buffer: length 99 needs at least 99 bytes, 0 are left",
    ]
    assert main(["read", str(path)]) == 1
    shown = capfd.readouterr()
    assert shown.out.splitlines()[-4].endswith(f"> getData xid=1 (undecoded: {problems[0]})")
    assert f"(undecoded: {problems[1]})" in shown.out.splitlines()[-3]
    assert shown.err == f"zkwire: {path}: 2 frames could not be decoded: packet 8, 9\n"
    assert main(["read", str(path), "--json"]) == 1
    marks = [json.loads(line).get("undecoded") for line in capfd.readouterr().out.splitlines()]
    assert marks == [None] * 4 + problems + [None] * 2
    assert main(["read", str(path), "--op", "ping"]) == 1  # the frame is not shown here, but reported
    assert "2 frames could not be decoded" in capfd.readouterr().err


# --- real captures (tests/captures/README.md)


def operations(lines: list[str]) -> Counter[str]:
    return Counter(" ".join(line.split()[3:5]) for line in lines)


def test_real_capture_is_read_whole(capfd: pytest.CaptureFixture[str]) -> None:
    lines = read(capfd, str(CAPTURES / "kazoo.pcap"))
    assert not [line for line in lines if "!" in line]
    found = operations(lines)
    assert found["> getData"] == found["< getData"] == 22
    assert found["< event"] == 1
    for name in ("create", "delete", "multi", "auth", "ping", "getChildren", "closeSession"):
        assert found[f"> {name}"] == found[f"< {name}"] >= 1


def test_real_capture_of_packets_cut_short_is_read_as_far_as_it_goes(capfd: pytest.CaptureFixture[str]) -> None:
    lines = read(capfd, str(CAPTURES / "kazoo-any-snapped.pcapng"))
    gaps = [line for line in lines if "bytes were not captured, within a frame" in line]
    assert len(gaps) > 5
    assert len([line for line in lines if " ! " in line]) == len(gaps)
    found = operations(lines)
    assert found["> getData"] == 22
    assert 10 < found["< getData"] < 22
    assert found["< closeSession"] == 2
