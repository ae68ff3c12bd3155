"""`zkwire export wireshark`: tshark with the dissector lists the frames that `zkwire read` lists."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.dialogues import HANDSHAKE, TALK, connected, dialogue, read, say
from tests.support.pcap_writer import Connection, PcapngWriter, PcapWriter
from zkwire import multi, records
from zkwire.capture import Captured
from zkwire.cli import main
from zkwire.cli.read import captured_json
from zkwire.explain.dump import frame_spans, title
from zkwire.frames import Direction, frame
from zkwire.jute import Record
from zkwire.operations import BY_OPCODE
from zkwire.traffic.conversation import SeenFrame
from zkwire.wireshark.dissector import dissector

CAPTURES = Path(__file__).parents[2] / "captures"


class Row(NamedTuple):
    """One frame, as either tool lists it. `title` holds the error and the zxid, too."""

    number: int
    direction: str
    op: str
    xid: int | None
    path: str | None
    title: str


@pytest.fixture(scope="module")
def lua(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dissector") / "zookeeper.lua"
    path.write_text(dissector())
    return path


def tshark(lua: Path, capture: Path, *options: str) -> str:
    """What tshark prints."""
    assert shutil.which("tshark"), "these tests need tshark: `make tools` installs it"
    command = ["tshark", "-X", f"lua_script:{lua}", "-r", str(capture), *options]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert b"Lua" not in done.stderr, done.stderr
    assert b"Lua Error" not in done.stdout
    return done.stdout.decode(errors="replace")  # it shows strings that are no UTF-8 as they are


def dissected(lua: Path, capture: Path, *options: str) -> list[ElementTree.Element]:
    """Each packet, as PDML."""
    return ElementTree.fromstring(tshark(lua, capture, "-T", "pdml", *options)).findall("packet")


def by_tshark(lua: Path, capture: Path, *options: str) -> list[Row]:
    rows = []
    for packet in dissected(lua, capture, *options):
        shown = packet.find("proto[@name='geninfo']/field[@name='num']")
        assert shown is not None
        number = int(shown.attrib["show"])
        for proto in packet.findall("proto[@name='zookeeper']"):
            found = {field.attrib["name"].rpartition(".")[2]: field.attrib["show"] for field in proto.findall("field")}
            if "title" in found:
                xid = int(found["xid"]) if "xid" in found else None
                path = found.get("path")
                rows.append(Row(number, found["direction"], found["op"], xid, path, found["title"]))
    return rows


def by_read(captured: list[Captured]) -> list[Row]:
    rows = []
    for each in captured:
        if isinstance(each.what, SeenFrame):
            shown = captured_json(each)
            op = shown.get("op", "reply")
            op = f"opcode {op}" if isinstance(op, int) else op
            place = (each.number, shown["direction"], op, shown.get("xid"), shown.get("path"))
            rows.append(Row(*place, title(each.what.frame, each.what.path)))
    return sorted(rows, key=lambda row: row.number)


def same_rows(lua: Path, path: Path, data: bytes, *options: str) -> list[Row]:
    path.write_bytes(data)
    rows = by_read(read(data))
    assert by_tshark(lua, path, *options) == rows
    return rows


def plain(goldens: list[str]) -> PcapWriter:
    file = PcapWriter()
    for place, name in enumerate(goldens):
        connected(file, name, client_port=30000 + place).close()
    return file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.pcap"


def test_every_golden_conversation_is_listed_alike(lua: Path, path: Path) -> None:
    names = sorted(name for name in TALK if "CESU8" not in name)
    rows = same_rows(lua, path, plain(names).bytes)
    assert len(rows) == sum(len(dialogue(name)) for name in names)
    assert {row.op for row in rows} >= {row.name for row in BY_OPCODE.values() if row.name != "check"} | {"event"}


def test_names_outside_the_bmp_are_listed(lua: Path, path: Path) -> None:
    """Servers send these in CESU-8 at times, which tshark shows as it shows all that is no UTF-8."""
    path.write_bytes(plain(["sync-CESU8", "getACL-CESU8"]).bytes)
    assert [row[:4] for row in by_tshark(lua, path)] == [row[:4] for row in by_read(read(path.read_bytes()))]


def test_split_and_pipelined_frames_are_listed_alike(lua: Path, path: Path) -> None:
    goldens = dialogue("create", "watch-getData", "multi", "ping", "getChildren2", "exists-NoNode")
    file = PcapWriter()
    for place, size in enumerate((1, 3, 50)):
        connection = Connection(file, client_port=30000 + place)
        connection.handshake()
        for golden in goldens:
            data = frame(golden.payload)
            for start in range(0, len(data), size):
                (connection.client if golden.direction is Direction.SENT else connection.server)(
                    data[start : start + size]
                )
    together = connected(file, client_port=30009)
    for direction, group in itertools.groupby(goldens[2:], lambda golden: golden.direction):
        data = b"".join(frame(golden.payload) for golden in group) * 3
        say_it = together.client if direction is Direction.SENT else together.server
        say_it(data[: len(data) // 2])
        say_it(data[len(data) // 2 :])
    rows = same_rows(lua, path, file.bytes)
    assert len(rows) == 3 * len(goldens) + 2 + 3 * (len(goldens) - 2)


def test_several_connections_and_ports_are_listed_alike(lua: Path, path: Path) -> None:
    file = PcapngWriter()
    connections = [Connection(file, client_port=30000 + port, server_port=port) for port in (2181, 2391, 8080, 2775)]
    for connection in connections:
        connection.handshake()
    goldens = dialogue("create", "watch-getData", "auth", "setWatches2")
    for golden in goldens:
        for connection in connections:
            say(connection, [golden])
    # 8080 and 2775 are other protocols' ports.
    rows = same_rows(lua, path, file.bytes, "-o", "tcp.try_heuristic_first:TRUE")
    assert len(rows) == 4 * len(goldens)


def test_frames_are_not_taken_for_another_protocol(lua: Path, path: Path) -> None:
    """Without it tshark takes some for SMPP, which also has a 4-byte length in front and small numbers behind."""
    file = PcapWriter()
    connected(file, *(name for name in TALK if "CESU8" not in name), server_port=2391)
    rows = same_rows(lua, path, file.bytes)
    assert {line.split()[5] for line in tshark(lua, path).splitlines()} == {"TCP", "ZooKeeper"}
    assert len(rows) > 100


def test_segments_out_of_order_are_listed_alike(lua: Path, path: Path) -> None:
    file = PcapWriter()
    connection = connected(file)
    request, reply = (frame(golden.payload) for golden in TALK["getData"])
    for side, data in ((0, request), (1, reply)):
        connection.segment(side, data[8:], offset=8)
        connection.segment(side, data[:8])
        connection.segment(side, data[:8])  # and again
        connection.sequence[side] += len(data)
    say(connection, TALK["ping"])
    rows = same_rows(lua, path, file.bytes, "-o", "tcp.reassemble_out_of_order:TRUE")
    assert [row.number for row in rows] == [4, 5, 7, 10, 12, 13]


def test_requests_that_share_an_xid_are_answered_in_order(lua: Path, path: Path) -> None:
    file = PcapWriter()
    connection = connected(file)
    first, second = TALK["getData"], TALK["exists"]
    assert first[0].payload[:4] == second[0].payload[:4]
    say(connection, [first[0], second[0], first[1], second[1]])
    rows = same_rows(lua, path, file.bytes)
    assert [row.op for row in rows[-4:]] == ["getData", "exists", "getData", "exists"]


@pytest.mark.parametrize("start", [2, 3, 4])
def test_capture_that_begins_within_a_connection_is_listed_alike(lua: Path, path: Path, start: int) -> None:
    file = PcapWriter()
    connection = Connection(file)
    connection.client(frame(TALK["create"][0].payload)[9:])
    say(connection, dialogue("watch-getData", "ping")[start:])
    rows = same_rows(lua, path, file.bytes)
    assert len(rows) == len(dialogue("watch-getData", "ping")) - start


def test_gap_between_frames_is_passed_alike(lua: Path, path: Path) -> None:
    file = PcapWriter()
    connection = connected(file, "create")
    connection.client(frame(TALK["getData"][0].payload)[:11])
    connection.sequence[0] += 200
    connection.client(frame(TALK["getData"][0].payload)[9:])
    say(connection, TALK["ping"])
    path.write_bytes(file.bytes)
    assert by_tshark(lua, path)[-2:] == by_read(read(file.bytes))[-2:]


def test_undecodable_and_unknown_frames_are_shown_and_do_not_stop_it(lua: Path, path: Path) -> None:
    file = PcapWriter()
    connection = connected(file)
    bad = [
        b"\0\0\0\1\0\0\0\x63",  # an opcode that nobody knows
        b"\0\0\0\2\0\0\0\1\0\0\0\x7f/a",  # a path longer than the frame
        b"\0\0\0\3\0\0\0\4\0\0\0\2/a\1more",
        b"\0\0\0\4\0\0\0\x0e\0\0\0\x63\0\0\0\0\0",  # a multi with it
        b"\0\0\0\5\0\0\0\1\0\0\0\2/a\0\0\0\0\x7f\xff\xff\xff",
        b"\0",
    ]
    for payload in bad:
        connection.client(frame(payload))
    say(connection, TALK["ping"])
    path.write_bytes(file.bytes)
    rows = by_tshark(lua, path)
    assert [row.op for row in rows] == [row.op for row in by_read(read(file.bytes))]
    marks = [
        [field.attrib["name"] for field in packet.iter("field") if field.attrib["name"] in
         ("zookeeper.undecoded", "zookeeper.trailing")]
        for packet in dissected(lua, path)[5:11]
    ]  # fmt: skip
    undecoded = ["zookeeper.undecoded"]
    assert marks == [[], undecoded, ["zookeeper.trailing"], undecoded, undecoded, ["zookeeper.trailing"]]


def test_four_letter_words_are_not_frames(lua: Path, path: Path) -> None:
    file = PcapWriter()
    connection = Connection(file)
    connection.handshake()
    connection.client(b"ruok")
    connection.server(b"imok")
    path.write_bytes(file.bytes)
    assert by_tshark(lua, path) == []
    assert tshark(lua, path).count("4 bytes that are not a frame") == 2


def test_every_field_of_every_record_has_its_bytes(lua: Path, path: Path) -> None:
    """Field by field: name, place and size in the packet, against the spans of our own dumps."""
    names = sorted(TALK)
    path.write_bytes(plain(names).bytes)
    expected = [captured.what for captured in read(path.read_bytes()) if isinstance(captured.what, SeenFrame)]
    protos = [proto for packet in dissected(lua, path) for proto in packet.findall("proto[@name='zookeeper']")]
    assert len(protos) == len(expected)
    known = {f"{kind.__name__}.{field.name}" for kind in vars(records).values()
             if isinstance(kind, type) and issubclass(kind, Record) for field in kind.FIELDS}  # fmt: skip
    for proto, seen in zip(protos, expected):
        start = int(proto.attrib["pos"])
        shown = [
            (field.attrib["name"], int(field.attrib["pos"]) - start, int(field.attrib["size"]))
            for field in proto.iter("field")
            if field.attrib["name"].removesuffix(".count").removeprefix("zookeeper.") in known
        ]
        ours = []
        for span in frame_spans(seen.frame):
            place, size = span.start + 4, span.end - span.start
            if span.path in ("(undecoded)", "(trailing)") or size == 0:
                continue
            if span.type == "buffer" and span.value:  # shown without its length, so that filters see the data alone
                place, size = place + 4, size - 4
            ours.append((place, size, span.type.startswith("vector")))
        assert [(place, size, name.endswith(".count")) for name, place, size in shown] == ours, title(seen.frame)


def test_replies_name_their_requests_and_requests_their_replies(lua: Path, path: Path) -> None:
    path.write_bytes(plain(["getData"]).bytes)
    fields = ["-e", "frame.number", "-e", "zookeeper.request_in", "-e", "zookeeper.response_in", "-e", "zookeeper.time"]
    found = tshark(lua, path, "-2", "-Y", "zookeeper", "-T", "fields", *fields).splitlines()
    rows = [line.split("\t") for line in found]
    assert [row[:3] for row in rows] == [["4", "", "5"], ["5", "4", ""], ["6", "", "7"], ["7", "6", ""]]
    assert abs(float(rows[3][3]) - 1) < 0.01


def test_second_pass_finds_the_same(lua: Path, path: Path) -> None:
    """Several frames in one packet, with one xid and of different operations: only their order tells them apart."""
    file = PcapWriter()
    connection = connected(file)
    names = ("getData", "exists", "getACL")
    for side, say_it in enumerate((connection.client, connection.server)):
        say_it(b"".join(frame(TALK[name][side].payload) for name in names))
    path.write_bytes(file.bytes)
    rows = by_tshark(lua, path, "-2")
    assert rows == by_tshark(lua, path) == by_read(read(file.bytes))
    assert [row.op for row in rows[-3:]] == list(names)


@pytest.mark.parametrize(
    ("display_filter", "numbers"),
    [
        ('zookeeper.op == "setData"', [8, 10]),
        ("zookeeper.err != 0", [12]),
        ('zookeeper.path contains "watched"', [6, 7, 8, 9, 10]),
        ("zookeeper.GetDataRequest.watch == 1", [6]),
        ("zookeeper.WatcherEvent.type == 3", [9]),
        ("zookeeper.Stat.version > 0", [10]),
    ],
)
def test_filters(lua: Path, path: Path, display_filter: str, numbers: list[int]) -> None:
    file = PcapWriter()
    connected(file, "watch-getData", "exists-NoNode")
    path.write_bytes(file.bytes)
    shown = tshark(lua, path, "-Y", display_filter, "-T", "fields", "-e", "frame.number").split()
    assert [int(number) for number in shown] == numbers


def test_ports_can_be_given(lua: Path, path: Path) -> None:
    file = PcapWriter()
    connection = Connection(file, server_port=2391)
    say(connection, TALK["getData"])
    path.write_bytes(file.bytes)
    assert by_tshark(lua, path) == []
    for ports in ("2391", "2181,2390-2400"):
        rows = by_tshark(lua, path, "-o", f"zookeeper.ports:{ports}")
        assert rows == by_read(read(file.bytes, ports=[2391]))


def test_passwords_are_not_shown(lua: Path, path: Path) -> None:
    path.write_bytes(plain(["auth"]).bytes)
    text = tshark(lua, path, "-V")
    assert "passwd: <16 bytes>" in text
    secret = HANDSHAKE[1].payload[20:36].hex()
    assert secret not in text


def test_real_capture_is_listed_alike(lua: Path) -> None:
    capture = CAPTURES / "kazoo.pcap"
    rows = by_read(read(capture.read_bytes()))
    assert by_tshark(lua, capture) == rows
    assert len(rows) > 60


def test_real_capture_of_packets_cut_short_is_listed_alike(lua: Path) -> None:
    capture = CAPTURES / "kazoo-any-snapped.pcapng"
    rows = by_read(read(capture.read_bytes()))
    assert by_tshark(lua, capture) == rows
    assert 50 < len(rows) < len(by_read(read((CAPTURES / "kazoo.pcap").read_bytes())))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_bytes_come_the_dissector_makes_no_error(lua: Path, path: Path, seed: int) -> None:
    chance = random.Random(seed)
    file = PcapWriter()
    for port in range(30000, 30040):
        connection = Connection(file, client_port=port)
        connection.handshake()
        for golden in dialogue(*chance.sample(sorted(TALK), 4)):
            data = bytearray(frame(golden.payload))
            for _ in range(chance.choice([0, 0, 1, 4])):
                first = chance.choice([0, 4, 4, 4])  # the length, seldom
                data[chance.randrange(first, len(data))] = chance.choice([0, 1, 127, 255, chance.randrange(256)])
            say_it = connection.client if golden.direction is Direction.SENT else connection.server
            say_it(bytes(data[: chance.choice([len(data), len(data), chance.randrange(1, len(data))])]))
    path.write_bytes(file.bytes)
    assert len(dissected(lua, path)) > 300


def test_the_verb_prints_the_dissector(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "wireshark"]) == 0
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == (dissector(), "")


def test_nothing_is_declared_twice() -> None:
    """The part that is written by hand names no operation, no field and no opcode."""
    code = dissector().partition("local zk = Proto")[2]
    words = {"path", "err", "xid", "zxid", "type", "done", "session_id", "time_out"}  # what titles are made of
    fields = {field.name for kind in vars(records).values()
              if isinstance(kind, type) and issubclass(kind, Record) for field in kind.FIELDS}  # fmt: skip
    assert not [name for name in fields - words - {"data", "version", "id", "total_number", "user", "token", "path"}
                if f'"{name}"' in code or f".{name}" in code]  # fmt: skip
    assert not [row.name for row in BY_OPCODE.values() if f'"{row.name}"' in code and row.name != "create"]
    assert {kind.__name__ for kind in (multi.MultiRequest, multi.MultiReadRequest, multi.MultiResponse)} <= {
        word for word in ("MultiRequest", "MultiReadRequest", "MultiResponse") if word in dissector()
    }
