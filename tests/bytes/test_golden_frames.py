"""Ring 1 on the golden frames: what real servers sent and took, through both codecs and through a Connection."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.support.each import for_each
from tests.support.golden import FRAMES, Golden, conversations, load, read
from zkwire.codes import AddWatchMode, ErrorCode, EventType, KeeperState, OpCode, Xid
from zkwire.errors import LocalProtocolError, RemoteProtocolError
from zkwire.explain.dump import frame_spans
from zkwire.frames import Direction, frame
from zkwire.jute import Record, decode, decode_at, encode, wire
from zkwire.multi import TERMINATOR, MultiSequence
from zkwire.operations import AUTH, BY_OPCODE, CHECK, EXISTS, Operation, problem
from zkwire.records import (
    AuthPacket,
    ConnectRequest,
    ConnectResponse,
    ErrorResponse,
    ExistsRequest,
    GetACLResponse,
    GetDataResponse,
    MultiHeader,
    ReplyHeader,
    RequestHeader,
    Stat,
    SyncResponse,
    WatcherEvent,
)
from zkwire.session.connection import Connection
from zkwire.session.events import NEED_DATA, AuthReplied, Connected, Notified, Ponged, Replied, SessionRefused
from zkwire.session.requests import Request, XidCounter
from zkwire.session.session import Session
from zkwire.session.states import ConnectionState

GOLDENS = load()
VERSIONS = sorted({golden.version for golden in GOLDENS})
CONVERSATIONS = conversations(GOLDENS)
RECEIVED = [golden for golden in GOLDENS if golden.direction is Direction.RECEIVED]
REPLIES = [golden for golden in RECEIVED if golden.types[0] is ReplyHeader and golden.kind == "reply"]
NOTIFICATIONS = [golden for golden in RECEIVED if golden.kind == "event"]

#: Text outside the BMP: the server writes CESU-8, we read it and write UTF-8 (rule 75).
CESU8_REPLIES = {"getACL-CESU8-02-reply", "sync-CESU8-02-reply"}

CONNECT_REQUEST = ConnectRequest(0, 0, 10000, 0, bytes(16), False)
CONNECT_RESPONSE = frame(encode(ConnectResponse(0, 10000, 0x1234, bytes(16), False)))


def golden(version: str, name: str) -> Golden:
    return read(FRAMES / version / f"{name}.txt")


def each(goldens: list[Golden]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return for_each("golden", goldens, ids=lambda golden: golden.id)


def is_3_9(version: str) -> bool:
    """Whether this server is 3.9.0 or later."""
    return tuple(map(int, version.split(".")[:2])) >= (3, 9)


@functools.cache
def body(version: str, name: str) -> Any:
    """The last record of a golden."""
    return records_of(golden(version, name))[-1]


def header(found: Golden) -> ReplyHeader:
    return decode(ReplyHeader, found.payload)


def records_of(found: Golden) -> list[Any]:
    records, offset = [], 0
    for record_type in found.types:
        record, offset = decode_at(record_type, found.payload, offset, len(found.payload))
        records.append(record)
    assert offset == len(found.payload)
    return records


def through_construct(record_type: Any, data: bytes) -> bytes:
    """`data`, from its start, parsed and built again by construct: a record, or the records of a sequence."""
    if not issubclass(record_type, MultiSequence):
        return wire.build(wire.parse(record_type, data))
    built = b""
    while True:
        head = wire.parse(MultiHeader, data[len(built) :])
        built += wire.build(head)
        if head.done:
            return built
        inner = record_type.BODIES[head.type]
        built += b"" if inner is None else wire.build(wire.parse(inner, data[len(built) :]))


# --- the files


def test_goldens_exist_for_a_server_with_and_one_without_zxids_in_notifications() -> None:
    assert any(not is_3_9(version) for version in VERSIONS)
    assert any(is_3_9(version) for version in VERSIONS)


@each(GOLDENS)
def test_golden_file_is_the_dump_of_its_bytes(golden: Golden) -> None:
    assert golden.path.read_text(encoding="utf-8") == golden.text


def test_golden_reader_takes_only_the_hex_column() -> None:
    found = golden(VERSIONS[-1], "getData-02-reply")
    assert b"hello" in found.payload
    assert len(found.payload) == 16 + 4 + len(b"hello") + 68


@pytest.mark.parametrize("opcode", sorted(set(BY_OPCODE) - {CHECK.opcode}), ids=lambda code: BY_OPCODE[code].name)
@pytest.mark.parametrize("version", VERSIONS)
def test_operation_has_a_golden_request_reply_and_error(version: str, opcode: int) -> None:
    found = [golden for golden in GOLDENS if golden.version == version and golden.opcode == opcode]
    errors = {header(golden).err for golden in found if golden.kind == "reply"}
    assert any(golden.kind == "request" for golden in found)
    assert 0 in errors
    if BY_OPCODE[opcode].opcode is OpCode.MULTI:
        errors |= {result.header.err for golden in found for result in _results(golden)}
    assert any(err < 0 for err in errors)


def test_only_an_operation_whose_row_says_so_sends_its_response_with_an_error() -> None:
    replies = [found for found in GOLDENS if found.types[0] is ReplyHeader and found.err and len(found.payload) > 16]
    assert {BY_OPCODE[found.opcode] for found in replies if found.opcode is not None} == {
        row for row in BY_OPCODE.values() if row.response_on_error
    }


def _results(found: Golden) -> Any:
    return records_of(found)[-1] if found.kind == "reply" and found.types[-1] is not ReplyHeader else ()


@pytest.mark.parametrize("version", VERSIONS)
def test_multi_goldens_have_a_request_and_a_result_of_every_operation_it_takes(version: str) -> None:
    asked = {item.header.type for item in body(version, "multi-01-request")}
    assert asked == {code for code, row in BY_OPCODE.items() if row.in_multi}
    read_asked = {item.header.type for item in body(version, "multiRead-01-request")}
    assert read_asked == {code for code, row in BY_OPCODE.items() if row.in_multi_read}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("source", ["watch-", "addWatch-", "setWatches"])
def test_goldens_have_every_event_that_a_server_sends_from_this_source(version: str, source: str) -> None:
    kinds = {
        records_of(golden)[-1].type
        for golden in NOTIFICATIONS
        if golden.version == version and golden.conversation.startswith(source)
    }
    assert kinds == {
        EventType.NODE_CREATED,
        EventType.NODE_DELETED,
        EventType.NODE_DATA_CHANGED,
        EventType.NODE_CHILDREN_CHANGED,
    }


# --- the notes of zkwire/records.py hold in the frames of servers


def everything_in(found: Golden) -> Iterable[Any]:
    """The records of a frame, and all records and values in them."""
    left = list(records_of(found))
    while left:
        value = left.pop()
        yield value
        left += value if isinstance(value, tuple) else ()


@pytest.mark.parametrize("version", VERSIONS)
def test_notes_on_the_handshake_hold_in_the_golden_frames(version: str) -> None:
    responses = [each for golden in GOLDENS for each in records_of(golden)
                 if golden.version == version and type(each) is ConnectResponse]  # fmt: skip
    assert {response.protocol_version for response in responses} == {0}
    for response in responses:
        assert len(response.passwd or b"") == 16
        if response.time_out == 0:
            assert (response.session_id, response.passwd) == (0, bytes(16))
        else:
            assert response.session_id
    assert 0 in [response.time_out for response in responses]


@each(REPLIES)
def test_notes_on_a_replys_header_hold_in_the_golden_frames(golden: Golden) -> None:
    head = header(golden)
    if golden.opcode in (OpCode.AUTH, OpCode.SASL) or head.err == ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH:
        assert head.zxid == 0
    elif head.err != ErrorCode.UNIMPLEMENTED or golden.opcode in BY_OPCODE:
        assert head.zxid >= 0
    if head.err:
        assert len(golden.payload) == 16 or golden.opcode in (OpCode.SASL, OpCode.MULTI_READ)


@each(NOTIFICATIONS)
def test_notes_on_notifications_hold_in_the_golden_frames(golden: Golden) -> None:
    found = header(golden)
    has_none = not is_3_9(golden.version) or golden.conversation.startswith("setWatches")
    assert (found.xid, found.err, found.zxid == -1) == (Xid.NOTIFICATION, 0, has_none)
    event = records_of(golden)[-1]
    assert event.type in range(1, 5)
    assert event.state == KeeperState.SYNC_CONNECTED


@pytest.mark.parametrize("version", VERSIONS)
def test_notes_on_the_parts_of_a_multi_hold_in_the_golden_frames(version: str) -> None:
    errors = set()
    for found in GOLDENS:
        body = records_of(found)[-1]
        if found.version != version or not isinstance(body, MultiSequence):
            continue
        assert found.payload.endswith(encode(TERMINATOR))
        assert (TERMINATOR.type, TERMINATOR.done, TERMINATOR.err) == (-1, True, -1)
        for head, inner in body:
            assert not head.done
            if found.kind == "request":
                assert head.err == -1
            elif head.type == OpCode.ERROR:
                assert inner.err == head.err
                errors.add((found.name, head.err))
            else:
                assert head.err == 0
    name = "multi-NoNode-02-reply"
    assert {err for found, err in errors if found == name} == {0, ErrorCode.NO_NODE, ErrorCode.RUNTIME_INCONSISTENCY}


@each(RECEIVED)
def test_notes_on_a_stat_hold_in_the_golden_frames(golden: Golden) -> None:
    for stat in everything_in(golden):
        if type(stat) is not Stat or not stat.czxid:  # /zookeeper/config is there from the first
            continue
        if stat.version == 0:
            assert (stat.mzxid, stat.mtime) == (stat.czxid, stat.ctime)
        if stat.cversion == 0:
            assert (stat.pzxid, stat.num_children) == (stat.czxid, 0)
    for record in everything_in(golden):
        if type(record) is GetDataResponse:
            assert record.stat.data_length == len(record.data or b"")


def test_goldens_are_the_same_frames_in_every_version() -> None:
    names = [{golden.name for golden in GOLDENS if golden.version == version} for version in VERSIONS]
    assert all(each == names[0] for each in names)


# --- both codecs


@each(GOLDENS)
def test_golden_is_built_again_from_its_records_by_the_fused_codec(golden: Golden) -> None:
    built = b"".join(encode(record) for record in records_of(golden))
    if golden.name in CESU8_REPLIES:
        assert built != golden.payload
        assert b"\xed\xa0\xbe\xed\xb6\xa6" in golden.payload
        assert "\N{OTTER}".encode() in built
    else:
        assert built == golden.payload


@each(GOLDENS)
def test_golden_is_built_again_from_its_records_by_construct(golden: Golden) -> None:
    offset, fused, built = 0, b"", b""
    for record_type, record in zip(golden.types, records_of(golden)):
        _, end = decode_at(record_type, golden.payload, offset, len(golden.payload))
        built += through_construct(record_type, golden.payload[offset:])
        fused += encode(record)
        offset = end
    assert built == fused
    assert golden.name in CESU8_REPLIES or built == golden.payload


@each(GOLDENS)
def test_golden_gives_equal_records_by_both_codecs(golden: Golden) -> None:
    offset = 0
    for record_type in golden.types:
        record, end = decode_at(record_type, golden.payload, offset, len(golden.payload))
        if issubclass(record_type, Record):
            assert wire.parse(record_type, golden.payload[offset:]) == record
        offset = end


@each(GOLDENS)
def test_golden_is_tiled_by_its_spans(golden: Golden) -> None:
    offset = 0
    for span in frame_spans(golden.frame):
        assert span.start == offset
        assert span.path not in ("(trailing)", "(undecoded)")
        offset = span.end
    assert offset == len(golden.payload)


# --- conversations through a Connection


def connected() -> Connection:
    connection = Connection(CONNECT_REQUEST, now=0.0, deadline=1.0, xids=XidCounter(1))
    connection.data_to_send(0.0)
    connection.receive_data(CONNECT_RESPONSE, 0.0)
    assert type(connection.next_event(0.0)) is Connected
    return connection


@functools.cache
def sendable(version: str, opcode: int) -> Any:
    """The record of the first golden request of this operation that zkwire agrees to send."""
    for found in GOLDENS:
        if (found.version, found.opcode, found.kind) == (version, opcode, "request"):
            record = request_record(found)
            if problem(BY_OPCODE[opcode], record) is None:
                return record
    raise AssertionError(f"no sendable {BY_OPCODE[opcode].name}")


def request_record(found: Golden) -> Any:
    records = records_of(found)[1:]
    return records[0] if len(records) == 1 else tuple(records) if records else None


def send(connection: Connection, found: Golden) -> bool:
    """Send the golden request. False: zkwire refuses to, and another request took its place in the order."""
    operation = BY_OPCODE.get(found.opcode or 0)
    if operation is None:
        assert found.opcode is not None
        connection.send(Request(Operation(found.opcode, "unknown", None, None)), 0.0)  # type: ignore[arg-type]
        return True
    if operation.opcode is OpCode.PING:
        # Pings are the connection's own: a third of the session timeout has passed.
        assert connection.handle_timeout(connection.next_deadline() or 0.0) is None
        return True
    request = Request(operation, request_record(found))
    send_it = {OpCode.AUTH: connection.send_auth, OpCode.CLOSE_SESSION: connection.close}.get(
        operation.opcode, connection.send
    )
    try:
        send_it(request, 0.0)
    except LocalProtocolError:
        connection.send(Request(operation, sendable(found.version, operation.opcode)), 0.0)
        return False
    return True


def events_of(connection: Connection) -> list[Any]:
    """Everything there is, in a form that compares: requests by xid."""
    found = []
    while (event := connection.next_event(0.0)) is not NEED_DATA:
        assert event is not None
        found.append(
            (type(event), *(part.xid if isinstance(part, Request) else part for part in event))  # type: ignore[union-attr]
        )
    return found


def prepared(goldens: list[Golden]) -> Connection:
    """A connection on which all requests of a conversation have gone out."""
    connection = connected()
    for found in goldens:
        if found.kind == "request" and found.opcode is not None:
            send(connection, found)
    return connection


TALKS = {key: goldens for key, goldens in CONVERSATIONS.items() if goldens[0].opcode is not None}
HANDSHAKES = {key: goldens for key, goldens in CONVERSATIONS.items() if goldens[0].opcode is None}


@for_each("key", TALKS, ids="/".join)
def test_golden_requests_are_the_bytes_that_a_connection_sends(key: tuple[str, str]) -> None:
    connection = connected()
    for found in TALKS[key]:
        if found.kind == "request":
            sent = send(connection, found)
            data = connection.data_to_send(0.0)
            # Another request with the same header takes the place of one that zkwire refuses to send.
            assert data == frame(found.payload) if sent else data[4:12] == found.payload[:8]


@pytest.mark.rule(18, 20, 21)
@for_each("key", TALKS, ids="/".join)
def test_golden_conversation_gives_an_event_for_each_frame(key: tuple[str, str]) -> None:
    connection = prepared(TALKS[key])
    received = [found for found in TALKS[key] if found.direction is Direction.RECEIVED]
    connection.receive_data(b"".join(frame(found.payload) for found in received), 0.0)
    events = events_of(connection)
    assert len(events) == len(received)
    for (kind, *values), found in zip(events, received):
        reply, *rest = records_of(found)
        if reply.xid == Xid.NOTIFICATION:
            assert kind is Notified
            assert (values[0].type, values[0].path, values[0].zxid) == (rest[0].type, rest[0].path, reply.zxid)
        elif reply.xid == Xid.PING and reply.err == 0:
            assert (kind, *values) == (Ponged, reply.zxid)
        elif reply.xid < 0:
            assert kind is AuthReplied
            assert values[1] == reply.err
        else:
            response = rest[0] if rest and reply.err == 0 else None
            assert (kind, *values) == (Replied, reply.xid, reply.zxid, reply.err, response)


@pytest.mark.rule(1)
@for_each("key", TALKS, ids="/".join)
def test_golden_conversation_gives_the_same_events_when_split_at_any_byte(key: tuple[str, str]) -> None:
    goldens = TALKS[key]
    stream = b"".join(frame(found.payload) for found in goldens if found.direction is Direction.RECEIVED)
    whole = prepared(goldens)
    whole.receive_data(stream, 0.0)
    expected = events_of(whole)
    for cut in range(1, len(stream)):
        connection = prepared(goldens)
        connection.receive_data(stream[:cut], 0.0)
        events = events_of(connection)
        connection.receive_data(stream[cut:], 0.0)
        assert events + events_of(connection) == expected, f"split at {cut}"


@pytest.mark.rule(1)
@for_each("key", TALKS, ids="/".join)
def test_golden_conversation_gives_the_same_events_byte_by_byte(key: tuple[str, str]) -> None:
    goldens = TALKS[key]
    stream = b"".join(frame(found.payload) for found in goldens if found.direction is Direction.RECEIVED)
    whole, bytewise = prepared(goldens), prepared(goldens)
    whole.receive_data(stream, 0.0)
    events = []
    for place in range(len(stream)):
        bytewise.receive_data(stream[place : place + 1], 0.0)
        events += events_of(bytewise)
    assert events == events_of(whole)


def shake(goldens: list[Golden], *pieces: bytes) -> Any:
    """What a Connection makes of a golden handshake; an error as its text."""
    connection = Connection(records_of(goldens[0])[0], now=0.0, deadline=1.0)
    assert connection.data_to_send(0.0) == frame(goldens[0].payload)
    for piece in pieces:
        connection.receive_data(piece, 0.0)
        try:
            event = connection.next_event(0.0)
        except RemoteProtocolError as error:
            return str(error)
        if event is not NEED_DATA:
            return event, connection.state
    raise AssertionError("no event")


@pytest.mark.rule(1, 3)
@for_each("key", HANDSHAKES, ids="/".join)
def test_golden_handshake_gives_the_same_event_when_split_at_any_byte(key: tuple[str, str]) -> None:
    goldens = HANDSHAKES[key]
    answer = frame(goldens[1].payload)
    whole = shake(goldens, answer)
    for cut in range(1, len(answer)):
        assert shake(goldens, answer[:cut], answer[cut:]) == whole, f"split at {cut}"


@pytest.mark.parametrize("version", VERSIONS)
class TestHandshakes:
    @pytest.mark.rule(3)
    @pytest.mark.parametrize(("name", "size", "read_only"), [("connect", 37, False), ("connect-36", 36, None)])
    def test_connect_response_has_read_only_when_the_request_had_it(
        self, version: str, name: str, size: int, read_only: bool | None
    ) -> None:
        goldens = CONVERSATIONS[version, name]
        assert len(goldens[1].payload) == size
        event, state = shake(goldens, frame(goldens[1].payload))
        assert state is ConnectionState.ESTABLISHED
        assert event.response.read_only is read_only

    @pytest.mark.rule(5)
    @pytest.mark.parametrize("name", ["connect", "connect-36", "connect-resumed", "connect-refused"])
    def test_connect_response_has_a_password_of_16_bytes(self, version: str, name: str) -> None:
        assert len(body(version, f"{name}-02-reply").passwd) == 16

    def test_connect_response_to_a_resume_has_the_same_id_and_password_and_the_new_timeout(self, version: str) -> None:
        first, again = body(version, "connect-02-reply"), body(version, "connect-resumed-02-reply")
        assert (again.session_id, again.passwd) == (first.session_id, first.passwd)
        assert (first.time_out, again.time_out) == (60000, 30000)

    @pytest.mark.rule(8)
    def test_connect_response_that_refuses_has_time_out_id_and_password_zero(self, version: str) -> None:
        goldens = CONVERSATIONS[version, "connect-refused"]
        refusal = body(version, "connect-refused-02-reply")
        assert (refusal.time_out, refusal.session_id, refusal.passwd) == (0, 0, bytes(16))
        assert shake(goldens, frame(goldens[1].payload)) == (SessionRefused(), ConnectionState.CLOSED)

    def test_connect_response_of_a_read_only_server_says_so(self, version: str) -> None:
        assert body(version, "connect-read-only-02-reply").read_only is True

    def test_bare_header_in_place_of_a_connect_response_is_an_error_with_its_code(self, version: str) -> None:
        goldens = CONVERSATIONS[version, "connect-NotReadOnly"]
        assert shake(goldens, frame(goldens[1].payload)) == (
            "expected a ConnectResponse of at least 36 bytes, got 16 bytes with error code -119"
        )


# --- facts about servers, by rule


@pytest.mark.rule(24)
@pytest.mark.parametrize(
    "golden",
    [found for found in REPLIES if found.err < 0 and found.types == (ReplyHeader,)],
    ids=lambda golden: golden.id,
)
def test_error_reply_is_a_header_alone(golden: Golden) -> None:
    assert len(golden.payload) == 16


@pytest.mark.rule(24)
def test_error_replies_with_a_body_are_those_of_multi_read_and_sasl_only() -> None:
    with_body = {found.conversation for found in REPLIES if found.err < 0 and len(found.payload) > 16}
    assert with_body == {"multiRead-delete-MarshallingError", "sasl-AuthFailed"}


@pytest.mark.rule(24)
@for_each("key", TALKS, ids="/".join)
def test_golden_reply_with_bytes_after_it_gives_the_same_event(key: tuple[str, str]) -> None:
    goldens = TALKS[key]
    received = [found.payload for found in goldens if found.direction is Direction.RECEIVED]
    plain, longer = prepared(goldens), prepared(goldens)
    plain.receive_data(b"".join(map(frame, received)), 0.0)
    longer.receive_data(b"".join(frame(payload + b"\x00\x00\x00\x08later on") for payload in received), 0.0)
    assert events_of(longer) == events_of(plain)


@pytest.mark.parametrize("version", VERSIONS)
class TestServers:
    @pytest.mark.parametrize(
        "name",
        [
            "delete-02-reply",
            "ping-02-reply",
            "auth-04-reply",
            "setWatches-06-reply",
            "setWatches2-06-reply",
            "checkWatches-04-reply",
            "removeWatches-04-reply",
            "closeSession-04-reply",
        ],
    )
    def test_reply_without_a_response_record_is_a_header_alone(self, version: str, name: str) -> None:
        assert len(golden(version, name).payload) == 16
        assert golden(version, name).err == 0

    @pytest.mark.rule(25)
    def test_unknown_opcode_is_unimplemented_with_zxid_minus_one(self, version: str) -> None:
        reply = header(golden(version, "unknown-Unimplemented-02-reply"))
        assert (reply.zxid, reply.err) == (-1, ErrorCode.UNIMPLEMENTED)

    @pytest.mark.rule(26)
    def test_last_zxid_is_moved_by_no_golden_that_lacks_a_real_one(self, version: str) -> None:
        """auth has zxid 0, an unknown opcode -1; notifications have -1 or their transaction's own."""
        for name in ("auth", "unknown-Unimplemented", "setWatches", "sasl"):
            assert {header(found).zxid for found in CONVERSATIONS[version, name] if _lacks_zxid(found)} <= {0, -1}
        session = session_at(zxid=0x100)
        session.add_auth(Request(AUTH, AuthPacket(0, "digest", b"bob:pw")), 0.0)
        session.request(Request(EXISTS, ExistsRequest("/", False)), 0.0)
        refusal = golden(version, "unknown-Unimplemented-02-reply").payload
        received = [found.payload for found in NOTIFICATIONS if found.version == version]
        received += [golden(version, "auth-04-reply").payload, (2).to_bytes(4, "big") + refusal[4:]]
        for payload in received:
            session.receive_data(frame(payload), 0.0)
        replied = 0
        while (event := session.next_event(0.0)) is not NEED_DATA:
            replied += type(event) is Replied
        assert replied == 2
        assert session.last_zxid == 0x100

    @pytest.mark.rule(26)
    @pytest.mark.parametrize("conversation", ["watch-exists", "addWatch-persistent", "addWatch-recursive"])
    def test_notification_has_the_zxid_of_its_transaction_since_3_9(self, version: str, conversation: str) -> None:
        goldens = CONVERSATIONS[version, conversation]
        for event, reply in itertools.pairwise(goldens):
            if event.kind == "event":
                assert header(event).zxid == (header(reply).zxid if is_3_9(version) else -1)

    @pytest.mark.rule(54)
    @pytest.mark.parametrize("conversation", ["setWatches", "setWatches2"])
    def test_notification_that_set_watches_fires_has_zxid_minus_one(self, version: str, conversation: str) -> None:
        events = [found for found in CONVERSATIONS[version, conversation] if found.kind == "event"]
        assert [header(found).zxid for found in events] == [-1] * 4

    @pytest.mark.rule(54, 55)
    @pytest.mark.parametrize("conversation", ["setWatches", "setWatches2"])
    def test_set_watches_fires_what_changed_before_its_reply(self, version: str, conversation: str) -> None:
        goldens = CONVERSATIONS[version, conversation]
        assert [found.kind for found in goldens] == ["request", *["event"] * 4, "reply"]
        assert [records_of(found)[-1].type for found in goldens[1:5]] == [
            EventType.NODE_DATA_CHANGED,
            EventType.NODE_DELETED,
            EventType.NODE_CREATED,
            EventType.NODE_CHILDREN_CHANGED,
        ]

    @pytest.mark.rule(49)
    @pytest.mark.parametrize("conversation", ["watch-exists", "watch-getData", "watch-getChildren", "watch-deleted"])
    def test_event_of_ones_own_write_comes_before_its_reply(self, version: str, conversation: str) -> None:
        assert [found.kind for found in CONVERSATIONS[version, conversation]][-3:] == ["request", "event", "reply"]

    @pytest.mark.rule(51)
    def test_data_exists_and_child_watches_on_a_deleted_znode_give_one_frame(self, version: str) -> None:
        events = [found for found in CONVERSATIONS[version, "watch-deleted"] if found.kind == "event"]
        assert [records_of(found)[-1] for found in events] == [WatcherEvent(2, 3, "/watched/other")]

    @pytest.mark.rule(61)
    @pytest.mark.parametrize("mode", ["persistent", "recursive"])
    def test_add_watch_is_answered_with_an_int_zero(self, version: str, mode: str) -> None:
        assert (
            body(version, f"addWatch-{mode}-01-request").mode
            == AddWatchMode[{"persistent": "PERSISTENT", "recursive": "PERSISTENT_RECURSIVE"}[mode]]
        )
        reply = golden(version, f"addWatch-{mode}-02-reply")
        assert (reply.payload[16:], reply.err) == (b"\x00\x00\x00\x00", 0)

    @pytest.mark.rule(61)
    def test_add_watch_of_an_unknown_mode_is_a_marshalling_error(self, version: str) -> None:
        assert golden(version, "addWatch-MarshallingError-02-reply").err == ErrorCode.MARSHALLING_ERROR

    @pytest.mark.rule(62)
    def test_recursive_watch_sees_descendants_and_no_children_changed(self, version: str) -> None:
        assert events(version, "addWatch-recursive") == [
            (EventType.NODE_CREATED, "/watched/p"),
            (EventType.NODE_CREATED, "/watched/p/child"),
            (EventType.NODE_DATA_CHANGED, "/watched/p"),
            (EventType.NODE_DELETED, "/watched/p/child"),
            (EventType.NODE_DELETED, "/watched/p"),
        ]

    @pytest.mark.rule(63)
    def test_persistent_watch_sees_data_and_children_of_its_path_and_stays(self, version: str) -> None:
        assert events(version, "addWatch-persistent") == [
            (EventType.NODE_CREATED, "/watched/p"),
            (EventType.NODE_CHILDREN_CHANGED, "/watched/p"),
            (EventType.NODE_DATA_CHANGED, "/watched/p"),
            (EventType.NODE_CHILDREN_CHANGED, "/watched/p"),
            (EventType.NODE_DELETED, "/watched/p"),
        ]

    @pytest.mark.rule(66)
    def test_remove_watches_of_another_type_finds_no_watcher(self, version: str) -> None:
        replies = [found.err for found in CONVERSATIONS[version, "removeWatches-NoWatcher"] if found.kind == "reply"]
        assert replies == [0, ErrorCode.NO_WATCHER, 0]

    def test_remove_watches_of_a_persistent_type_is_a_marshalling_error_before_3_9(self, version: str) -> None:
        err = golden(version, "removeWatches-persistent-04-reply").err
        assert err == (0 if is_3_9(version) else ErrorCode.MARSHALLING_ERROR)

    @pytest.mark.rule(68)
    def test_failed_multi_has_header_error_zero_and_an_error_for_each_operation(self, version: str) -> None:
        assert golden(version, "multi-NoNode-02-reply").err == 0
        results = body(version, "multi-NoNode-02-reply")
        errors = [0, ErrorCode.NO_NODE, ErrorCode.RUNTIME_INCONSISTENCY]
        assert [(result.header.type, result.header.err) for result in results] == [(-1, err) for err in errors]
        assert [result.body for result in results] == [ErrorResponse(err) for err in errors]

    @pytest.mark.rule(69)
    @pytest.mark.parametrize("name", ["multi-empty", "multiRead-empty"])
    def test_empty_multi_is_answered_with_the_terminator_alone(self, version: str, name: str) -> None:
        reply = golden(version, f"{name}-02-reply")
        assert reply.payload[16:] == b"\xff\xff\xff\xff\x01\xff\xff\xff\xff"

    @pytest.mark.rule(70)
    def test_create2_in_multi_is_answered_with_create_before_3_9(self, version: str) -> None:
        asked = [item.header.type for item in body(version, "multi-01-request")]
        answered = [result.header.type for result in body(version, "multi-02-reply")]
        assert asked == [1, 1, 15, 19, 21, 5, 13, 2]
        assert answered == [1, 1, 15 if is_3_9(version) else 1, 15, 15, 5, 13, 2]

    @pytest.mark.rule(71)
    @pytest.mark.parametrize("name", ["createContainer", "createTTL", "create2"])
    def test_create_other_than_opcode_1_is_answered_with_path_and_stat(self, version: str, name: str) -> None:
        response = body(version, f"{name}-02-reply")
        assert response.path.startswith("/app/")
        assert response.stat.czxid == header(golden(version, f"{name}-02-reply")).zxid

    @pytest.mark.rule(72)
    def test_multi_read_answers_the_read_after_a_failed_one(self, version: str) -> None:
        assert golden(version, "multiRead-NoNode-02-reply").err == 0
        failed, read = body(version, "multiRead-NoNode-02-reply")
        assert (failed.header.type, failed.header.err) == (-1, ErrorCode.NO_NODE)
        assert (read.header.type, read.header.err) == (OpCode.GET_CHILDREN, 0)
        assert len(read.body.children) == 3

    @pytest.mark.rule(73)
    def test_sequential_create_is_answered_with_the_path_and_its_ten_digits(self, version: str) -> None:
        for path, prefix in (
            (body(version, "create-sequential-02-reply").path, "/app/job-"),
            (body(version, "create2-02-reply").path, "/app/member-"),
            (body(version, "multi-02-reply")[1].body.path, "/multi/job-"),
        ):
            assert path.startswith(prefix)
            assert len(path) == len(prefix) + 10
            assert path[len(prefix) :].isdigit()

    @pytest.mark.rule(74)
    def test_null_and_empty_data_come_back_as_they_were_sent(self, version: str) -> None:
        assert body(version, "create-null-01-request").data is None
        assert body(version, "getData-null-02-reply").data is None
        assert body(version, "getData-empty-02-reply").data == b""

    @pytest.mark.rule(75)
    def test_text_outside_the_bmp_comes_back_in_cesu8_and_is_the_same_text(self, version: str) -> None:
        sync = body(version, "sync-CESU8-02-reply")
        assert sync == SyncResponse("/\N{OTTER}")
        acl = body(version, "getACL-CESU8-02-reply")
        assert isinstance(acl, GetACLResponse)
        assert acl.acl is not None
        assert "\N{OTTER}:x" in [entry.id.id for entry in acl.acl]

    @pytest.mark.rule(78)
    def test_sync_of_a_missing_znode_echoes_its_path(self, version: str) -> None:
        assert golden(version, "sync-missing-02-reply").err == 0
        assert body(version, "sync-missing-02-reply").path == "/missing"

    @pytest.mark.rule(80)
    def test_sasl_without_a_server_side_is_answered_with_error_zero_and_a_null_token(self, version: str) -> None:
        assert golden(version, "sasl-unconfigured-02-reply").err == 0
        assert body(version, "sasl-unconfigured-02-reply").token is None

    @pytest.mark.rule(81)
    @pytest.mark.parametrize(
        ("name", "err"),
        [
            ("reconfig-ReconfigDisabled-02-reply", ErrorCode.RECONFIG_DISABLED),
            ("reconfig-Unimplemented-02-reply", ErrorCode.UNIMPLEMENTED),
            ("create-NodeExists-02-reply", ErrorCode.NODE_EXISTS),
            ("create-NoNode-02-reply", ErrorCode.NO_NODE),
            ("create-NoChildrenForEphemerals-04-reply", ErrorCode.NO_CHILDREN_FOR_EPHEMERALS),
        ],
    )
    def test_error_reply_has_the_code_of_its_cause(self, version: str, name: str, err: int) -> None:
        assert golden(version, name).err == err

    @pytest.mark.rule(14)
    def test_refused_auth_is_auth_failed_with_zxid_zero(self, version: str) -> None:
        reply = header(golden(version, "auth-AuthFailed-02-reply"))
        assert (reply.xid, reply.zxid, reply.err) == (Xid.AUTH, 0, ErrorCode.AUTH_FAILED)

    def test_failed_write_consumes_a_zxid(self, version: str) -> None:
        goldens = CONVERSATIONS[version, "create-NoChildrenForEphemerals"]
        written, failed = (header(found) for found in goldens if found.kind == "reply")
        assert (written.err, failed.err) == (0, ErrorCode.NO_CHILDREN_FOR_EPHEMERALS)
        assert failed.zxid == written.zxid + 1


def events(version: str, conversation: str) -> list[tuple[int, str]]:
    found = [records_of(found)[-1] for found in CONVERSATIONS[version, conversation] if found.kind == "event"]
    return [(event.type, event.path) for event in found]


def _lacks_zxid(found: Golden) -> bool:
    return found.kind == "event" or (
        found.kind == "reply" and (found.opcode in (OpCode.AUTH, OpCode.SASL) or found.opcode not in BY_OPCODE)
    )


def session_at(zxid: int) -> Session:
    """A connected Session whose last reply had this zxid."""
    session = Session(10.0)
    session.tcp_connected(0.0, 1.0)
    session.receive_data(CONNECT_RESPONSE, 0.0)
    while session.next_event(0.0) is not NEED_DATA:
        pass
    session.request(Request(EXISTS, ExistsRequest("/", False)), 0.0)
    session.receive_data(frame(encode(ReplyHeader(1, zxid, ErrorCode.NO_NODE))), 0.0)
    assert type(session.next_event(0.0)) is Replied
    return session


def test_request_headers_of_goldens_count_from_one_on_each_connection() -> None:
    for goldens in TALKS.values():
        xids = [decode(RequestHeader, found.payload).xid for found in goldens if found.kind == "request"]
        assert [xid for xid in xids if xid > 0] == list(range(1, 1 + sum(xid > 0 for xid in xids)))
