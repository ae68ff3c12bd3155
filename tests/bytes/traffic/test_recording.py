"""Recordings: what is written is read again, what was cut says so, and secrets stay out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkwire.codes import OpCode, Xid
from zkwire.frames import Direction, frame
from zkwire.jute import encode
from zkwire.records import AuthPacket, ConnectRequest, ConnectResponse, ExistsRequest, RequestHeader
from zkwire.traffic.conversation import Conversation, SeenFrame
from zkwire.traffic.recording import (
    RecordedBytes,
    RecordedClosing,
    RecordedLine,
    RecordedOpening,
    RecordingError,
    Writer,
    has_secrets,
    read,
    without_secrets,
)

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
ITEMS: list[RecordedLine] = [
    RecordedOpening(1763629201.204118, 0, "127.0.0.1:50412", "[::1]:2181"),
    RecordedBytes(1763629201.5, 0, SENT, b"\0\0\0\x01a"),
    RecordedBytes(1763629202.0, 0, RECEIVED, b"\0\0\0\x02bc", "dropped"),
    RecordedClosing(1763629203.0, 0, "client"),
]


def written(items: list[RecordedLine]) -> str:
    writer = Writer()
    return "".join([writer.start(), *map(writer.line, items), writer.end()])


def read_text(text: str) -> list[RecordedLine]:
    return list(read(text.splitlines(keepends=True)))


_times = st.integers(0, 4 * 10**15).map(lambda microseconds: round(microseconds / 1e6, 6))
_numbers = st.integers(0, 2**31)
_items = st.one_of(
    st.builds(RecordedOpening, _times, _numbers, st.text(), st.text()),
    st.builds(RecordedBytes, _times, _numbers, st.sampled_from(Direction), st.binary(), st.text()),
    st.builds(RecordedClosing, _times, _numbers, st.text()),
)


@given(st.lists(_items))
def test_what_is_written_is_read(items: list[RecordedLine]) -> None:
    # A line ends at \n only; JSON has no other in it.
    assert list(read(line + "\n" for line in written(items).split("\n")[:-1])) == items


def test_recording_is_one_json_object_per_line_with_bytes_that_explain_takes() -> None:
    first, opened, request, reply, closed, end = [json.loads(line) for line in written(ITEMS).splitlines()]
    assert first == {"zkwire": "recording", "version": 1, "secrets": False}
    assert opened == {"time": 1763629201.204118, "connection": 0, "client": "127.0.0.1:50412", "server": "[::1]:2181"}
    assert request == {"time": 1763629201.5, "connection": 0, "direction": ">", "bytes": "0000000161"}
    assert reply["fault"] == "dropped"
    assert closed == {"time": 1763629203.0, "connection": 0, "closed": "client"}
    assert end == {"end": 4}


def test_recording_says_whether_it_holds_secrets() -> None:
    assert has_secrets(Writer(secrets=True).start())
    assert not has_secrets(Writer().start())
    with pytest.raises(RecordingError, match="not a recording"):
        has_secrets("{}")


def test_recording_cut_at_any_place_gives_what_is_whole_and_says_where_it_was_cut() -> None:
    text = written(ITEMS)
    for size in range(len(text) - 1):  # without its last newline it is whole
        found: list[RecordedLine] = []
        lines = text[:size].splitlines(keepends=True)
        with pytest.raises(RecordingError, match=r"^line \d+: ") as caught:
            found.extend(read(lines))
        whole = len(text[: size + 1].splitlines(keepends=True)) if text[size] == "\n" else text[:size].count("\n")
        assert found == ITEMS[: max(whole - 1, 0)]
        assert f"line {whole + 1}: " in str(caught.value)
        if whole:
            assert "cut short" in str(caught.value)


def test_recording_that_lacks_lines_in_its_middle_says_so() -> None:
    lines = written(ITEMS).splitlines(keepends=True)
    with pytest.raises(RecordingError, match=r"^line 5: 4 lines should be before it, but there are 3"):
        list(read(lines[:2] + lines[3:]))


_START = '{"zkwire": "recording", "version": 1}\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: not a recording: it is empty"),
        ("hello\n", "line 1: not a recording: Expecting value"),
        ("[1]\n", "line 1: expected a JSON object, got [1]"),
        ('{"zkwire": 1}\n', "line 1: not a recording: that starts with"),
        ('{"zkwire": "recording", "version": 2}\n', "line 1: a recording of version 2; this zkwire reads 1"),
        (_START + "oops\n", "line 2: not JSON: Expecting value"),
        (_START + "[" * 100_000 + "\n", "line 2: not JSON: nested too deep"),
        (_START + "{}\n", "line 2: time: expected float or int, got nothing"),
        (_START + '{"time": true}\n', "line 2: time: expected float or int, got True"),
        (_START + '{"time": 1, "connection": "0"}\n', "line 2: connection: expected int, got '0'"),
        (_START + '{"time": 1, "connection": 0}\n', "line 2: client: expected str, got nothing"),
        (_START + '{"time": 1, "connection": 0, "closed": 5}\n', "line 2: closed: expected str, got 5"),
        (
            _START + '{"time": 1, "connection": 0, "bytes": "00", "direction": "?"}\n',
            "line 2: '?' is not a valid Direction",
        ),
        (_START + '{"time": 1, "connection": 0, "bytes": "0g", "direction": ">"}\n', "line 2: non-hexadecimal number"),
        (
            _START + '{"time": 1, "connection": 0, "bytes": "", "direction": ">", "fault": 1}\n',
            "line 2: fault: expected",
        ),
    ],
)
def test_text_that_is_not_a_recording_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_text(text)
    assert str(caught.value).startswith(reason)


def frames_seen(direction: Direction, *payloads: bytes) -> list[SeenFrame]:
    found = Conversation().receive(direction, b"".join(map(frame, payloads)), 0.0)
    return [seen for seen in found if isinstance(seen, SeenFrame)]


def test_secrets_become_zeros_and_nothing_else_does() -> None:
    password = b"0123456789abcdef"
    connect = encode(ConnectRequest(1, 2, 3, 4, password, True))
    auth = encode(RequestHeader(Xid.AUTH, OpCode.AUTH)) + encode(AuthPacket(0, "digest", b"user:password"))
    exists = encode(RequestHeader(1, OpCode.EXISTS)) + encode(ExistsRequest("/user:password", False))
    sent = b"".join(map(without_secrets, frames_seen(SENT, connect, auth, exists)))
    assert sent == (
        frame(connect.replace(password, bytes(16))) + frame(auth.replace(b"user:password", bytes(13))) + frame(exists)
    )
    (received,) = frames_seen(RECEIVED, encode(ConnectResponse(0, 10_000, 5, password, False)))
    assert without_secrets(received) == received.data.replace(password, bytes(16))


def test_empty_and_missing_secrets_stay_what_they_are() -> None:
    for password in (b"", None):
        (seen,) = frames_seen(SENT, encode(ConnectRequest(1, 2, 3, 4, password, True)))
        assert without_secrets(seen) == seen.data
    (short,) = frames_seen(SENT, b"no handshake at all")
    assert without_secrets(short) == short.data
