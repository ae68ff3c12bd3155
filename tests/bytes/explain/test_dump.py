"""format_frame: every byte with its offset, its field and its value; no secret unless asked."""

from __future__ import annotations

import io
import re
import sys
import textwrap
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zkwire.codes import OpCode, Xid
from zkwire.explain import dump as trace
from zkwire.explain.dump import SECRETS, format_frame, frame_spans, print_frame, title
from zkwire.frames import Direction, Frame
from zkwire.frames import frame as framed
from zkwire.jute import Record, encode
from zkwire.multi import MultiItem, MultiReadRequest, MultiRequest, MultiResponse, MultiSequence, item
from zkwire.operations import BY_OPCODE
from zkwire.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    DeleteRequest,
    ErrorResponse,
    GetACLResponse,
    GetDataRequest,
    GetDataResponse,
    Id,
    MultiHeader,
    ReplyHeader,
    RequestHeader,
    SetSASLResponse,
    SetWatches,
    Stat,
    WatcherEvent,
)

PASSWORD = bytes(range(16))


def frame(
    direction: Direction, opcode: OpCode | int | None, *parts: Record | MultiSequence | bytes, types: Any = None
) -> Frame:
    """A frame of these records; bytes among them are of no record."""
    payload = b"".join(part if isinstance(part, bytes) else encode(part) for part in parts)
    known = tuple(type(part) for part in parts if not isinstance(part, bytes)) if types is None else types
    return Frame(direction, payload, known, opcode, 0.0)


def sent(opcode: OpCode | int | None, *parts: Record | MultiSequence | bytes, types: Any = None) -> Frame:
    return frame(Direction.SENT, opcode, *parts, types=types)


def received(opcode: OpCode | int | None, *parts: Record | MultiSequence | bytes, types: Any = None) -> Frame:
    return frame(Direction.RECEIVED, opcode, *parts, types=types)


CONNECT_REQUEST = sent(None, ConnectRequest(0, 0x2C3DC, 10000, 0x0100000452C0013D, PASSWORD, False))
CONNECT_RESPONSE = received(None, ConnectResponse(0, 10000, -2, PASSWORD, None))
GET_DATA = sent(OpCode.GET_DATA, RequestHeader(1, OpCode.GET_DATA), GetDataRequest("/app", False))
GET_DATA_REPLY = received(
    OpCode.GET_DATA,
    ReplyHeader(1, 0x10, 0),
    GetDataResponse(b"0123456789abcdefg", Stat(1, 2, 3, 4, 5, 6, 7, -8, 17, 9, 10)),
)
NO_NODE = received(OpCode.GET_DATA, ReplyHeader(2, 0x11, -101))
CREATE = sent(
    OpCode.CREATE,
    RequestHeader(3, OpCode.CREATE),
    CreateRequest("/a", None, (ACL(31, Id("world", "anyone")),), 3),
)
NOTIFICATION = received(None, ReplyHeader(Xid.NOTIFICATION, -1, 0), WatcherEvent(3, 3, "/app"))
MULTI = sent(
    OpCode.MULTI,
    RequestHeader(4, OpCode.MULTI),
    MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", -1)), item(OpCode.CHECK, CheckVersionRequest("/b", 2)))),
)
MULTI_FAILED = received(
    OpCode.MULTI,
    ReplyHeader(4, 0x12, 0),
    MultiResponse(
        (
            MultiItem(MultiHeader(-1, False, 0), ErrorResponse(0)),
            MultiItem(MultiHeader(-1, False, -101), ErrorResponse(-101)),
        )
    ),
)
MULTI_DONE = received(
    OpCode.MULTI, ReplyHeader(4, 0x12, 0), MultiResponse((MultiItem(MultiHeader(2, False, 0), None),))
)
MULTI_READ_PARTLY_FAILED = received(
    OpCode.MULTI_READ,
    ReplyHeader(4, 0x12, 0),
    MultiResponse((MultiItem(MultiHeader(-1, False, -101), ErrorResponse(-101)),)),
)
AUTH = sent(OpCode.AUTH, RequestHeader(Xid.AUTH, OpCode.AUTH), AuthPacket(0, "digest", b"bob:secret"))
SET_WATCHES = sent(OpCode.SET_WATCHES, RequestHeader(5, 101), SetWatches(0x20, ("/a",), (), None))
PING = sent(OpCode.PING, RequestHeader(Xid.PING, OpCode.PING))
UNDECODED = received(OpCode.GET_DATA, ReplyHeader(1, 0x10, 0), b"\0\0\0\x09abc", types=(ReplyHeader, GetDataResponse))
TRAILING = received(OpCode.DELETE, ReplyHeader(1, 0x10, 0), b"more")
UNKNOWN = received(None, b"\0\0\0\x01")

ALL = {name: value for name, value in list(globals().items()) if isinstance(value, Frame)}
every_frame = pytest.mark.parametrize("traced", ALL.values(), ids=ALL)


def rows(text: str) -> list[tuple[int, str]]:
    """(offset, hex column) of each row under the title."""
    found = (re.fullmatch(r"([0-9a-f]{4,})  (.{0,48})(?: .*)?", line) for line in text.split("\n")[1:])
    return [(int(row[1], 16), row[2].strip()) for row in found if row is not None]


def bytes_shown(text: str) -> bytes:
    """The frame as the rows give it, each at the offset it names."""
    data = b""
    for offset, hexed in rows(text):
        assert offset == len(data)
        data += bytes.fromhex(hexed)
    return data


# --- rows


@every_frame
def test_rows_reproduce_the_bytes_exactly(traced: Frame) -> None:
    text = format_frame(traced, show_secrets=True)
    assert bytes_shown(text) == framed(traced.payload)
    assert len(rows(text)) == len(text.split("\n")) - 1


@every_frame
def test_spans_tile_the_payload(traced: Frame) -> None:
    found = frame_spans(traced)
    assert [span.start for span in found] == [0, *(span.end for span in found)][: len(found)]
    assert (found[-1].end if found else 0) == len(traced.payload)


#: What a reply or a request may be said to hold.
BODIES = [None, *{kind: None for row in BY_OPCODE.values() for kind in (row.request, row.response) if kind}]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(Direction),
    st.binary(max_size=80),
    st.sampled_from([(), (ConnectRequest,), (ConnectResponse,), (RequestHeader,), (ReplyHeader,)]),
    st.sampled_from([*BODIES, WatcherEvent]),
    st.none() | st.integers(-2, 107),
)
def test_any_bytes_are_shown_whatever_they_should_have_been(
    direction: Direction, payload: bytes, envelope: tuple[Any, ...], body: Any, opcode: int | None
) -> None:
    types = envelope if body is None else (*envelope, body)
    text = format_frame(Frame(direction, payload, types, opcode, 0.0), show_secrets=True)
    assert bytes_shown(text) == framed(payload)


# --- golden text


def test_format_frame_prints_the_example_of_its_module() -> None:
    assert trace.__doc__ is not None
    example = textwrap.dedent(trace.__doc__.split("\n\n")[1])
    assert format_frame(GET_DATA) == example


def test_format_frame_prints_a_reply_in_rows_of_sixteen_bytes() -> None:
    assert format_frame(GET_DATA_REPLY) == textwrap.dedent(
        """\
        < getData xid=1 OK zxid=0x10                                           109 bytes
        0000  00 00 00 69                                      length = 105
        0004  00 00 00 01                                      ReplyHeader.xid = 1
        0008  00 00 00 00 00 00 00 10                          ReplyHeader.zxid = 0x10
        0010  00 00 00 00                                      ReplyHeader.err = 0 (OK)
        0014  00 00 00 11 30 31 32 33 34 35 36 37 38 39 61 62  GetDataResponse.data = b'0123456789abcdefg'
        0024  63 64 65 66 67
        0029  00 00 00 00 00 00 00 01                          GetDataResponse.stat.czxid = 0x1
        0031  00 00 00 00 00 00 00 02                          GetDataResponse.stat.mzxid = 0x2
        0039  00 00 00 00 00 00 00 03                          GetDataResponse.stat.ctime = 3
        0041  00 00 00 00 00 00 00 04                          GetDataResponse.stat.mtime = 4
        0049  00 00 00 05                                      GetDataResponse.stat.version = 5
        004d  00 00 00 06                                      GetDataResponse.stat.cversion = 6
        0051  00 00 00 07                                      GetDataResponse.stat.aversion = 7
        0055  ff ff ff ff ff ff ff f8                          GetDataResponse.stat.ephemeral_owner = 0xfffffffffffffff8
        005d  00 00 00 11                                      GetDataResponse.stat.data_length = 17
        0061  00 00 00 09                                      GetDataResponse.stat.num_children = 9
        0065  00 00 00 00 00 00 00 0a                          GetDataResponse.stat.pzxid = 0xa
        """
    ).rstrip("\n")


def test_format_frame_prints_names_of_numbers_null_and_counts() -> None:
    assert format_frame(CREATE) == textwrap.dedent(
        """\
        > create xid=3 path=/a                                                  53 bytes
        0000  00 00 00 31                                      length = 49
        0004  00 00 00 03                                      RequestHeader.xid = 3
        0008  00 00 00 01                                      RequestHeader.type = 1 (create)
        000c  00 00 00 02 2f 61                                CreateRequest.path = '/a'
        0012  ff ff ff ff                                      CreateRequest.data = null
        0016  00 00 00 01                                      CreateRequest.acl = 1 element
        001a  00 00 00 1f                                      CreateRequest.acl[0].perms = 31
        001e  00 00 00 05 77 6f 72 6c 64                       CreateRequest.acl[0].id.scheme = 'world'
        0027  00 00 00 06 61 6e 79 6f 6e 65                    CreateRequest.acl[0].id.id = 'anyone'
        0031  00 00 00 03                                      CreateRequest.flags = 3 (EPHEMERAL_SEQUENTIAL)
        """
    ).rstrip("\n")


def test_format_frame_prints_a_notification() -> None:
    assert format_frame(NOTIFICATION) == textwrap.dedent(
        """\
        < event NODE_DATA_CHANGED /app                                          36 bytes
        0000  00 00 00 20                                      length = 32
        0004  ff ff ff ff                                      ReplyHeader.xid = -1 (NOTIFICATION)
        0008  ff ff ff ff ff ff ff ff                          ReplyHeader.zxid = 0xffffffffffffffff
        0010  00 00 00 00                                      ReplyHeader.err = 0 (OK)
        0014  00 00 00 03                                      WatcherEvent.type = 3 (NODE_DATA_CHANGED)
        0018  00 00 00 03                                      WatcherEvent.state = 3 (SYNC_CONNECTED)
        001c  00 00 00 04 2f 61 70 70                          WatcherEvent.path = '/app'
        """
    ).rstrip("\n")


def test_format_frame_prints_a_multi_with_the_place_of_each_field() -> None:
    assert format_frame(MULTI) == textwrap.dedent(
        """\
        > multi xid=4 items=2                                                   59 bytes
        0000  00 00 00 37                                      length = 55
        0004  00 00 00 04                                      RequestHeader.xid = 4
        0008  00 00 00 0e                                      RequestHeader.type = 14 (multi)
        000c  00 00 00 02                                      MultiRequest[0].MultiHeader.type = 2 (delete)
        0010  00                                               MultiRequest[0].MultiHeader.done = False
        0011  ff ff ff ff                                      MultiRequest[0].MultiHeader.err = -1
        0015  00 00 00 02 2f 61                                MultiRequest[0].DeleteRequest.path = '/a'
        001b  ff ff ff ff                                      MultiRequest[0].DeleteRequest.version = -1
        001f  00 00 00 0d                                      MultiRequest[1].MultiHeader.type = 13 (check)
        0023  00                                               MultiRequest[1].MultiHeader.done = False
        0024  ff ff ff ff                                      MultiRequest[1].MultiHeader.err = -1
        0028  00 00 00 02 2f 62                                MultiRequest[1].CheckVersionRequest.path = '/b'
        002e  00 00 00 02                                      MultiRequest[1].CheckVersionRequest.version = 2
        0032  ff ff ff ff                                      MultiRequest[2].MultiHeader.type = -1
        0036  01                                               MultiRequest[2].MultiHeader.done = True
        0037  ff ff ff ff                                      MultiRequest[2].MultiHeader.err = -1
        """
    ).rstrip("\n")


def test_format_frame_shows_undecoded_bytes_and_the_reason() -> None:
    assert format_frame(UNDECODED).split("\n")[-1] == (
        "0014  00 00 00 09 61 62 63                             "
        "(undecoded) = GetDataResponse.data: buffer: length 9 needs at least 9 bytes, 3 are left"
    )


def test_format_frame_shows_the_fields_before_the_one_that_does_not_fit() -> None:
    cut = GET_DATA._replace(payload=GET_DATA.payload[:-1])
    assert format_frame(cut).split("\n")[-2:] == [
        "000c  00 00 00 04 2f 61 70 70                          GetDataRequest.path = '/app'",
        "0014                                                   (undecoded) = GetDataRequest.watch: boolean: "
        "stream read less than specified amount, expected 1, found 0",
    ]


def test_format_frame_shows_bytes_after_the_last_record() -> None:
    assert format_frame(TRAILING) == textwrap.dedent(
        """\
        < delete xid=1 OK zxid=0x10                                             24 bytes
        0000  00 00 00 14                                      length = 20
        0004  00 00 00 01                                      ReplyHeader.xid = 1
        0008  00 00 00 00 00 00 00 10                          ReplyHeader.zxid = 0x10
        0010  00 00 00 00                                      ReplyHeader.err = 0 (OK)
        0014  6d 6f 72 65                                      (trailing) = b'more'
        """
    ).rstrip("\n")


def test_format_frame_shows_a_handshake_without_its_password() -> None:
    assert format_frame(CONNECT_REQUEST) == textwrap.dedent(
        """\
        > ConnectRequest session=0x100000452c0013d time_out=10000 ms            49 bytes
        0000  00 00 00 2d                                      length = 45
        0004  00 00 00 00                                      ConnectRequest.protocol_version = 0
        0008  00 00 00 00 00 02 c3 dc                          ConnectRequest.last_zxid_seen = 0x2c3dc
        0010  00 00 27 10                                      ConnectRequest.time_out = 10000
        0014  01 00 00 04 52 c0 01 3d                          ConnectRequest.session_id = 0x100000452c0013d
        001c  ·· ·· ·· ·· ·· ·· ·· ·· ·· ·· ·· ·· ·· ·· ·· ··  ConnectRequest.passwd = <16 bytes>
        002c  ·· ·· ·· ··
        0030  00                                               ConnectRequest.read_only = False
        """
    ).rstrip("\n")


def test_format_frame_shows_a_field_without_bytes_as_a_row() -> None:
    assert (
        format_frame(CONNECT_RESPONSE).split("\n")[-1]
        == "0028                                                   ConnectResponse.read_only = null"
    )


# --- titles


@pytest.mark.parametrize(
    ("traced", "expected"),
    [
        (CONNECT_REQUEST, "> ConnectRequest session=0x100000452c0013d time_out=10000 ms"),
        (CONNECT_RESPONSE, "< ConnectResponse session=0xfffffffffffffffe time_out=10000 ms"),
        (GET_DATA, "> getData xid=1 path=/app"),
        (GET_DATA_REPLY, "< getData xid=1 OK zxid=0x10"),
        (NO_NODE, "< getData xid=2 NO_NODE zxid=0x11"),
        (received(OpCode.CREATE, ReplyHeader(2, 3, -126)), "< create xid=2 -126 zxid=0x3"),
        (PING, "> ping xid=-2"),
        (AUTH, "> auth xid=-4"),
        (NOTIFICATION, "< event NODE_DATA_CHANGED /app"),
        (received(None, ReplyHeader(-1, -1, 0), WatcherEvent(99, 3, "/a")), "< event 99 /a"),
        (received(None, ReplyHeader(-1, -1, 0), WatcherEvent(99, 3, "/\x1b[2J\n")), r"< event 99 /\x1b[2J\n"),
        (received(OpCode.ADD_WATCH, ReplyHeader(2, 3, 0), ErrorResponse(0)), "< addWatch xid=2 OK zxid=0x3"),
        (sent(99, RequestHeader(2, 99), b"body"), "> opcode 99 xid=2"),
        (UNDECODED, "< getData xid=1 OK zxid=0x10"),
        (UNKNOWN, "< frame"),
        (received(None, ReplyHeader(7, 3, -101)), "< reply xid=7 NO_NODE zxid=0x3"),
        (sent(OpCode.PING, b"\0"), "> ping xid=None"),
        (received(None, ReplyHeader(-1, -1, 0), b"\0", types=(ReplyHeader, WatcherEvent)), "< frame"),
        (sent(None, RequestHeader(0, 0), types=(RequestHeader, WatcherEvent)), "> frame"),
        (sent(None, b"\0", types=(ConnectRequest,)), "> ConnectRequest session=0x0 time_out=None ms"),
    ],
)
def test_title_says_what_the_frame_is(traced: Frame, expected: str) -> None:
    assert title(traced) == expected


@pytest.mark.parametrize(
    ("traced", "expected"),
    [
        (MULTI, "> multi xid=4 items=2"),
        (MULTI_DONE, "< multi xid=4 items=1 OK zxid=0x12"),
        (received(OpCode.MULTI, ReplyHeader(4, 9, -5)), "< multi xid=4 MARSHALLING_ERROR zxid=0x9"),
        (sent(OpCode.MULTI_READ, RequestHeader(4, 22), MultiReadRequest()), "> multiRead xid=4 items=0"),
        (MULTI_READ_PARTLY_FAILED, "< multiRead xid=4 items=1 OK zxid=0x12"),
    ],
)
def test_title_of_a_multi_counts_its_items(traced: Frame, expected: str) -> None:
    assert title(traced) == expected


@pytest.mark.rule(68)
def test_title_of_a_failed_multi_has_the_first_error_that_is_not_0() -> None:
    assert title(MULTI_FAILED) == "< multi xid=4 items=2 NO_NODE zxid=0x12"
    cut = MULTI_FAILED._replace(payload=MULTI_FAILED.payload[:-1])
    assert title(cut) == "< multi xid=4 items=2 NO_NODE zxid=0x12"


def test_title_of_a_reply_has_the_path_of_its_request_where_that_is_given() -> None:
    reply = received(OpCode.GET_DATA, ReplyHeader(1, 0, -101))
    assert title(reply, "/app") == "< getData xid=1 path=/app NO_NODE zxid=0x0"
    assert title(NOTIFICATION, "/app") == "< event NODE_DATA_CHANGED /app"


# --- values


def values(traced: Frame) -> dict[str, str]:
    """The text after each field."""
    return dict(match.groups() for match in re.finditer(r"(\S+) = (.*)", format_frame(traced)))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("traced", "field", "text"),
    [
        (NO_NODE, "ReplyHeader.err", "-101 (NO_NODE)"),
        (received(None, ReplyHeader(2, 3, -126)), "ReplyHeader.err", "-126"),
        (PING, "RequestHeader.xid", "-2 (PING)"),
        (sent(99, RequestHeader(2, 99)), "RequestHeader.type", "99"),
        (sent(1, RequestHeader(2, 1), CreateRequest(None, b"", None, 7)), "CreateRequest.flags", "7"),
        (sent(1, RequestHeader(2, 1), CreateRequest(None, b"", None, 7)), "CreateRequest.path", "null"),
        (sent(1, RequestHeader(2, 1), CreateRequest(None, b"", None, 7)), "CreateRequest.acl", "null"),
        (sent(106, RequestHeader(2, 106), AddWatchRequest("/a", 1)), "AddWatchRequest.mode", "1"),
        (NOTIFICATION, "WatcherEvent.type", "3 (NODE_DATA_CHANGED)"),
        (NOTIFICATION, "WatcherEvent.state", "3 (SYNC_CONNECTED)"),
        (received(None, ReplyHeader(-1, -1, 0), WatcherEvent(99, 3, "/a")), "WatcherEvent.type", "99"),
        (SET_WATCHES, "SetWatches.relative_zxid", "0x20"),
        (SET_WATCHES, "SetWatches.data_watches", "1 element"),
        (SET_WATCHES, "SetWatches.child_watches", "null"),
        (GET_DATA_REPLY, "GetDataResponse.stat.ephemeral_owner", "0xfffffffffffffff8"),
        (MULTI, "MultiRequest[0].MultiHeader.err", "-1"),  # there it fills a place: no SYSTEM_ERROR
        (MULTI_FAILED, "MultiResponse[1].MultiHeader.err", "-101 (NO_NODE)"),
        (received(6, ReplyHeader(1, 2, 0), GetACLResponse((), Stat(*range(11)))), "GetACLResponse.acl", "0 elements"),
    ],
)
def test_a_value_is_shown_with_its_name_where_it_has_one(traced: Frame, field: str, text: str) -> None:
    assert values(traced)[field] == text


def test_a_long_value_is_cut_short_beside_its_bytes() -> None:
    traced = sent(4, RequestHeader(1, 4), GetDataRequest("/" + "x" * 1000, False))
    assert len(values(traced)["GetDataRequest.path"]) == 200
    assert bytes_shown(format_frame(traced)) == framed(traced.payload)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(28, ["0014", "0024"]), (29, ["0014", "0024", "0034"]), (60, ["0014", "0024", "...", "0044"])],
)
def test_of_a_field_above_the_limit_the_first_and_the_last_bytes_are_shown(size: int, shown: list[str]) -> None:
    traced = received(102, ReplyHeader(1, 2, 0), SetSASLResponse(bytes(size)))
    lines = format_frame(traced, limit=32).split("\n")[5:]
    assert [line.split()[0] for line in lines] == shown
    assert lines[0].split("  ")[-1].startswith("SetSASLResponse.token = b'")
    if "..." in shown:
        assert lines[2] == "...   16 bytes not shown"
    assert len(bytes_shown(format_frame(traced))) == 4 + 16 + 4 + size


# --- secrets


@pytest.mark.parametrize(
    ("traced", "field", "secret"),
    [
        (AUTH, "AuthPacket.auth", b"bob:secret"),
        (CONNECT_REQUEST, "ConnectRequest.passwd", PASSWORD),
        (CONNECT_RESPONSE, "ConnectResponse.passwd", PASSWORD),
    ],
)
def test_a_secret_is_shown_only_when_asked_for(traced: Frame, field: str, secret: bytes) -> None:
    hidden, shown = format_frame(traced), format_frame(traced, show_secrets=True)
    assert field in SECRETS
    assert f"{field} = <{len(secret)} bytes>" in hidden
    assert f"{field} = {secret!r}" in shown
    for piece in (secret[:4].hex(" "), repr(secret)[2:-1]):
        assert piece not in hidden
    assert [offset for offset, _ in rows(hidden)] == [offset for offset, _ in rows(shown)]


def test_a_secret_that_is_null_is_shown_as_no_bytes() -> None:
    assert "AuthPacket.auth = <0 bytes>" in format_frame(sent(100, RequestHeader(-4, 100), AuthPacket(0, "ip", None)))


def test_print_frame_hides_secrets_and_ends_with_an_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_frame(AUTH)
    out, err = capsys.readouterr()
    assert (out, err) == ("", format_frame(AUTH) + "\n\n")


def test_print_frame_prints_to_the_file_it_is_given(tmp_path: Any) -> None:
    with open(tmp_path / "trace", "w+") as file:
        print_frame(PING, file)
        file.seek(0)
        assert file.read() == format_frame(PING) + "\n\n"


@pytest.mark.parametrize("state", ["full", "closed", "not there", "of another encoding"])
def test_print_frame_drops_what_cannot_be_printed(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file: io.TextIOWrapper | None = None
    if state != "not there":
        raw = open("/dev/full", "wb", buffering=0) if state == "full" else io.BytesIO()  # noqa: SIM115
        file = io.TextIOWrapper(raw, encoding="ascii", line_buffering=True, write_through=True)
        if state == "closed":
            file.close()
    monkeypatch.setattr(sys, "stderr", file)
    print_frame(AUTH)  # with dots for the password, which are not ASCII
    if file is not None:
        with suppress(OSError):
            file.close()
