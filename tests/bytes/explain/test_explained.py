"""What a frame is, worked out from its bytes: never wrongly, never in silence, and with every byte shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import golden
from tests.support.each import for_each
from tests.support.golden import Golden
from tests.support.samples import CREATE_REPLY, EVENT, GET_DATA, GET_DATA_REPLY, PING, STAT
from zkwire.codes import OpCode
from zkwire.explain.explained import Explained, explain, explain_frame
from zkwire.explain.readings import ANY, Wanted, readings
from zkwire.frames import MAX_REPLY, Direction, frame
from zkwire.jute import encode
from zkwire.operations import BY_OPCODE
from zkwire.records import (
    ConnectRequest,
    ConnectResponse,
    Create2Response,
    CreateRequest,
    ReplyHeader,
    RequestHeader,
    SetDataResponse,
    WatcherEvent,
)

GOLDENS = golden.load()
every_golden = for_each("shown", GOLDENS, ids=lambda shown: shown.id)

#: Requests that were recorded because servers refuse them: their bodies are not the operation's record.
MALFORMED = {
    "getEphemerals-MarshallingError-01-request",
    "sync-MarshallingError-01-request",
    "multi-setACL-MarshallingError-01-request",
    "multiRead-delete-MarshallingError-01-request",
    "multiRead-exists-MarshallingError-01-request",
}


def reply(*parts: bytes) -> bytes:
    return frame(encode(ReplyHeader(1, 9, 0)) + b"".join(parts))


def one(data: bytes, wanted: Wanted = ANY) -> Explained:
    (explained,) = explain(data, wanted)
    return explained


def wanted_for(shown: Golden) -> Wanted:
    """What a person who knows what the frame is would say."""
    if shown.types[:1] in ((ConnectRequest,), (ConnectResponse,)):
        return Wanted(shown.direction, connect=True)
    if shown.kind == "event":
        return Wanted(event=True)
    return Wanted(shown.direction, shown.opcode if shown.direction is Direction.RECEIVED else None, connect=False)


def assert_tiles(explained: Explained) -> None:
    spans = explained.spans
    assert [span.start for span in spans] == [0, *(span.end for span in spans)][: len(spans)]
    assert spans[-1].end == len(explained.data)


# --- every golden frame


@every_golden
def test_labelled_bytes_of_a_golden_frame_tile_it(shown: Golden) -> None:
    for wanted in (ANY, wanted_for(shown)):
        explained = one(frame(shown.payload), wanted)
        assert explained.data == frame(shown.payload)
        assert_tiles(explained)


@every_golden
def test_golden_frame_is_never_taken_for_what_it_is_not(shown: Golden) -> None:
    explained = one(frame(shown.payload))
    if shown.name in MALFORMED:
        assert re.search(r"(Multi|Sync|GetEphemerals)\S+ at offset \d+", explained.problem)
        assert [reading.opcode for reading in explained.readings] == [shown.opcode]
        return
    assert shown.types in [reading.types for reading in explained.readings]
    if len(explained.readings) == 1:
        (reading,) = explained.readings
        assert explained.problem == ""
        assert reading.direction is shown.direction
        operation = None if shown.opcode is None else BY_OPCODE.get(shown.opcode)
        assert reading.opcode == shown.opcode or (operation is None or operation.name in reading.names)
        assert explained.sentence
    else:
        assert shown.direction is Direction.RECEIVED  # a request has its opcode
        for reading in explained.readings:
            assert f"{reading.option} " in explained.problem


@every_golden
def test_golden_frame_is_what_it_is_said_to_be(shown: Golden) -> None:
    explained = one(frame(shown.payload), wanted_for(shown))
    (reading,) = explained.readings
    if shown.name not in MALFORMED:
        assert (reading.types, reading.opcode, explained.problem) == (shown.types, shown.opcode, "")


@for_each("key", golden.conversations(GOLDENS), ids="/".join)
def test_reply_after_its_request_needs_no_option(key: tuple[str, str]) -> None:
    steps = golden.conversations(GOLDENS)[key]
    data = b"".join(frame(step.payload) for step in steps)
    found = list(explain(data))
    assert b"".join(explained.data for explained in found) == data
    for step, explained in zip(steps, found):
        assert [reading.opcode for reading in explained.readings] == [step.opcode]
        assert (explained.problem == "") == (step.name not in MALFORMED)


def shapes() -> list[Golden]:
    """One golden frame of each shape."""
    return list({(shown.types, shown.opcode, len(shown.payload)): shown for shown in GOLDENS}.values())


@for_each("shown", shapes(), ids=lambda shown: shown.id)
def test_cut_names_the_field_and_its_offset(shown: Golden) -> None:
    data = frame(shown.payload)
    whole = one(data, wanted_for(shown))
    for size in range(1, len(data)):
        explained = one(data[:size], wanted_for(shown))
        assert_tiles(explained)
        match = re.fullmatch(
            r"the frame at offset 0 is cut after (\d+)( of \d+)? bytes?, in (\S+) at offset (\d+)", explained.problem
        )
        assert match, explained.problem
        assert int(match[1]) == size
        if shown.name not in MALFORMED:
            inside = [(span.path, span.start) for span in whole.spans if span.start <= size < span.end]
            named = (match[3], int(match[4]))
            # Of a vector it takes the count, and then so many bytes as its elements have at least.
            assert named in inside or any(path.startswith(f"{named[0]}[") for path, _ in inside)


@for_each("shown", [shown for shown in shapes() if len(shown.payload) < 60], ids=lambda shown: shown.id)
def test_cut_names_the_field_also_where_nobody_says_what_it_is(shown: Golden) -> None:
    data = frame(shown.payload)
    whole = one(data, wanted_for(shown))
    for size in range(1, len(data)):
        explained = one(data[:size])
        assert_tiles(explained)
        assert f"is cut after {size}" in explained.problem
        places = set(re.findall(r"(\S+) at offset (\d+)", explained.problem.partition(", in ")[2]))
        inside = {span.path for span in whole.spans if span.start <= size < span.end}
        assert (
            shown.name in MALFORMED
            or "others" in explained.problem
            or any(path == name or path.startswith(f"{name}[") for path in inside for name, _ in places)
        )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=120) | st.binary(max_size=60).map(frame),
    st.sampled_from(
        [
            ANY,
            Wanted(Direction.SENT),
            Wanted(Direction.RECEIVED),
            Wanted(event=True),
            Wanted(connect=True),
            *(Wanted(Direction.RECEIVED, opcode) for opcode in (OpCode.GET_DATA, OpCode.MULTI, 99)),
        ]
    ),
)
def test_any_bytes_are_explained_or_refused_and_none_is_lost(data: bytes, wanted: Wanted) -> None:
    found = list(explain(data, wanted))
    assert b"".join(explained.data for explained in found) == data
    for explained in found:
        assert_tiles(explained)
        assert explained.sentence or explained.problem


# --- what the bytes say


def test_ping_has_three_rows_and_a_sentence() -> None:
    explained = one(PING)
    assert [(span.start, span.end, span.path, span.type, span.value) for span in explained.spans] == [
        (0, 4, "length", "int", 8),
        (4, 8, "RequestHeader.xid", "int", -2),
        (8, 12, "RequestHeader.type", "int", 11),
    ]
    assert "ping" in explained.sentence
    assert explained.title == "> ping xid=-2"


def test_frames_follow_each_other() -> None:
    first, second, third = explain(GET_DATA + PING + GET_DATA_REPLY)
    assert [first.offset, second.offset, third.offset] == [0, len(GET_DATA), len(GET_DATA + PING)]
    assert third.readings[0].opcode is OpCode.GET_DATA  # its request comes before it


def test_reply_with_the_xid_of_a_request_that_it_cannot_answer_is_read_for_itself() -> None:
    _, answered = explain(PING + reply(encode(SetDataResponse(STAT))))
    assert len(answered.readings) == 3
    _, mismatched = explain(GET_DATA + CREATE_REPLY.replace(b"\0\0\0\x02", b"\0\0\0\x01"))
    assert mismatched.problem.startswith("the frame at offset 21: GetDataResponse.stat.czxid at offset 28")


def test_several_readings_are_listed_with_their_options_and_none_is_taken() -> None:
    explained = one(CREATE_REPLY)
    assert explained.sentence == ""
    assert [reading.option for reading in explained.readings] == ["--reply-to create", "--reply-to sync"]
    assert "can be read in 2 ways" in explained.problem
    assert [span.path for span in explained.spans][-2:] == ["ReplyHeader.err", "(ambiguous)"]


def test_reply_to_what_is_asked_for_is_that() -> None:
    explained = one(CREATE_REPLY, Wanted(Direction.RECEIVED, OpCode.SYNC))
    assert explained.spans[-1].path == "SyncResponse.path"
    wrong = one(CREATE_REPLY, Wanted(Direction.RECEIVED, OpCode.GET_DATA))
    assert wrong.problem.startswith("the frame at offset 0: GetDataResponse.stat.czxid at offset 28: long:")
    assert wrong.spans[-1].path == "(undecoded)"


def test_reply_of_an_unknown_operation_is_a_header() -> None:
    explained = one(frame(encode(ReplyHeader(1, -1, -6))), Wanted(Direction.RECEIVED, 99))
    assert explained.problem == ""
    assert explained.sentence.startswith("The server answers opcode 99, xid 1: UNIMPLEMENTED (-6)")


def test_operations_with_the_same_reply_are_one_reading() -> None:
    assert "getData or reconfig" in one(GET_DATA_REPLY).sentence
    assert one(GET_DATA_REPLY).title == "< reply xid=1 OK zxid=0x9"


def test_notification_is_told_by_its_xid() -> None:
    for wanted in (ANY, Wanted(event=True), Wanted(Direction.RECEIVED, OpCode.CREATE), Wanted(Direction.RECEIVED)):
        assert one(EVENT, wanted).readings[0].types == (ReplyHeader, WatcherEvent)
    refused = one(GET_DATA_REPLY, Wanted(event=True))
    assert refused.problem == "the frame at offset 0: ReplyHeader.xid at offset 4: 1, but a notification has -1"


def test_boolean_that_nobody_writes_speaks_against_a_reading() -> None:
    odd = GET_DATA[:-1] + b"\x02"
    explained = one(odd)  # a server would take it: it is the only reading, and shown
    assert explained.spans[-1].value is True
    connect = encode(ConnectRequest(0, 0, 10000, 0, bytes(16), False))
    assert len(readings(connect)) == 1
    odd = frame(connect[:-1] + b"\x07")
    assert (ConnectRequest,) not in [reading.types for reading in one(odd).readings]
    assert one(odd, Wanted(Direction.SENT, connect=True)).readings[0].types == (ConnectRequest,)


def test_bytes_after_a_record_are_shown_and_do_no_harm() -> None:
    explained = one(frame(GET_DATA[4:] + b"junk"))
    assert explained.problem == ""
    assert explained.spans[-1].path == "(trailing)"
    assert "A server ignores the 4 bytes after it." in explained.sentence
    assert "A server ignores the byte after it." in one(frame(GET_DATA[4:] + b"j")).sentence


def test_unknown_opcode_is_a_request_when_it_is_too_short_for_a_reply() -> None:
    explained = one(frame(encode(RequestHeader(1, 99)) + bytes(9)))
    assert {reading.direction for reading in explained.readings} == set(Direction)


@every_golden
def test_frame_that_is_known_is_explained_as_that(shown: Golden) -> None:
    found = explain_frame(shown.frame)
    assert found.spans == one(frame(shown.payload), wanted_for(shown)).spans or shown.name in MALFORMED
    assert_tiles(found)
    assert found.readings[0].opcode == shown.opcode


# --- what cannot be


@pytest.mark.parametrize("length", [-1, MAX_REPLY + 1])
def test_impossible_length_ends_the_explanation(length: int) -> None:
    explained = one(length.to_bytes(4, "big", signed=True) + PING)
    assert explained.problem.startswith(
        f"the frame at offset 0: length at offset 0: {length} is not the length of a frame"
    )
    assert_tiles(explained)


def test_four_letter_word_is_recognized() -> None:
    assert "'ruok': a four-letter word?" in one(b"ruok").problem


def test_cut_length_is_a_cut_frame() -> None:
    _, cut = explain(PING + b"\0\0")
    assert cut.problem == "the frame at offset 12 is cut after 2 bytes, in length at offset 0"


@pytest.mark.parametrize("size", [0, 7])
def test_frame_too_short_for_a_header_is_refused(size: int) -> None:
    assert f"{size} bytes at offset 4 hold no header" in one(frame(bytes(size))).problem


def test_frame_that_nothing_fits_is_refused() -> None:
    explained = one(frame(bytes(19)), Wanted(Direction.RECEIVED, connect=True))
    assert "19 bytes at offset 4 hold neither a ConnectRequest nor a ConnectResponse" in explained.problem
    assert one(frame(b"\xff" * 20), Wanted(Direction.SENT)).readings[0].opcode == -1


def test_cut_after_the_last_record_is_named() -> None:
    explained = one(frame(GET_DATA[4:] + b"junk")[:-1])
    assert explained.problem.endswith("in (trailing) at offset 21")


def test_cut_in_the_optional_field_is_named() -> None:
    connect = frame(encode(ConnectRequest(0, 0, 10000, 0, bytes(16), False)))
    assert one(connect[:-1]).problem.endswith("in ConnectRequest.read_only at offset 48")


def test_cut_that_could_be_in_many_fields_names_some_and_counts_the_others() -> None:
    whole = reply(encode(Create2Response("/abc", STAT)))
    problem = one(whole[:22]).problem
    assert re.search(r"is cut after 22 of \d+ bytes, in .* at offset 20, or one of \d+ others$", problem)


def test_cut_request_of_a_known_operation_needs_no_option() -> None:
    data = frame(encode(RequestHeader(3, 1)) + encode(CreateRequest("/a", None, None, 3)))
    explained = one(data[:-5])
    assert [span.path for span in explained.spans][-2:] == ["CreateRequest.data", "(cut)"]
    assert explained.problem.endswith("in CreateRequest.acl at offset 22")


# --- hints: what the first bytes of an input are that do not start with a frame


@every_golden
def test_frame_without_its_length_gets_a_hint_that_works(shown: Golden) -> None:
    first = next(iter(explain(shown.payload, wanted_for(shown))))
    if shown.name in MALFORMED or shown.types == (ReplyHeader,) or shown.opcode not in (None, *BY_OPCODE):
        assert first.hint == ""
        return
    assert first.hint.endswith(f": put the length {len(shown.payload):08x} before them")
    assert one(frame(shown.payload), wanted_for(shown)).problem == ""


@for_each("shown", [shown for shown in shapes() if len(shown.payload) < 60], ids=lambda shown: shown.id)
def test_whole_frames_and_their_beginnings_get_no_hint(shown: Golden) -> None:
    data = frame(shown.payload)
    for size in range(4, len(data) + 1):
        assert one(data[:size]).hint == "", size


def test_hint_names_the_only_reading_there_is() -> None:
    assert one(PING[4:]).hint == (
        "without a length before them these 8 bytes are the request ping: put the length 00000008 before them"
    )
    assert "these 24 bytes are a frame:" in next(iter(explain(CREATE_REPLY[4:]))).hint


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "the bytes are TLS: "),
        (b"\x15\x03\x03\x00\x02\x02\x46", "the bytes are TLS: "),
        (b"HTTP/1.1 400 Bad Request\r\n", "the bytes are HTTP, "),
        (b"GET / HTTP/1.1\r\n", "the bytes are HTTP, "),
        (b"SSH-2.0-OpenSSH", "the bytes are SSH, "),
        (bytes.fromhex("d4c3b2a1020004000000000000000000"), r"captured packets \(pcap\): zkwire read FILE"),
        (bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000"), r"captured packets \(pcapng\): zkwire read FILE"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "packed by gzip"),
        (b"ZKLG\0\0\0\2", "a transaction log"),
        (b'{"zkwire": "recording", "version": 1}', "a recording of zkwire tap"),
    ],
)
def test_other_things_than_frames_are_named(data: bytes, name: str) -> None:
    explained = one(data)
    assert re.search(name, explained.problem)
    assert_tiles(explained)
    assert explained.data == data
    *_, last = explain(PING + data)
    assert re.search(name.replace("the bytes", "the bytes from offset 12 on"), last.problem)


IP = bytes.fromhex("4500003400010000400600007f0000017f000001") + bytes(12) + b"\x50" + bytes(7) + PING


@pytest.mark.parametrize("link", [b"", bytes(12) + b"\x08\0", bytes(14) + b"\x08\0", b"\2\0\0\0"])
def test_packet_that_tcpdump_shows_is_named(link: bytes) -> None:
    explained = one(link + IP)
    assert f"IP starts at offset {len(link)}, and what TCP carries at offset {len(link) + 40};" in explained.problem
    assert_tiles(explained)
    for other in (link + IP[:30], link + IP[:3] + b"\x10" + IP[4:], link + IP[:9] + b"\x11" + IP[10:]):
        assert "packet" not in next(iter(explain(other))).problem
