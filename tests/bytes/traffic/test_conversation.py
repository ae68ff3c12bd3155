"""A conversation: frames of both directions, with their requests, records, paths and errors."""

from __future__ import annotations

from random import Random

import pytest

from tests.support.traffic import CONNECT, CONNECTED, RECEIVED, SENT, Traffic, exists, no_node
from zkwire import Direction, ErrorCode, EventType, OpCode, Xid
from zkwire.frames import frame
from zkwire.jute import Encodable, encode
from zkwire.multi import MultiItem, MultiRequest, MultiResponse, item
from zkwire.records import (
    CheckVersionRequest,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    ErrorResponse,
    GetEphemeralsRequest,
    MultiHeader,
    ReplyHeader,
    RequestHeader,
    SetWatches,
    SetWatches2,
)
from zkwire.traffic.conversation import Conversation, SeenFrame


def test_conversation_pairs_an_auth_reply_that_overtakes() -> None:
    conversation = Conversation()
    auth = frame(encode(RequestHeader(Xid.AUTH, OpCode.AUTH)) + b"\0" * 12)
    conversation.receive(SENT, CONNECT + exists(1) + auth, 0.0)
    connected, first, second = conversation.receive(
        RECEIVED, CONNECTED + frame(encode(ReplyHeader(Xid.AUTH, 0, 0))) + no_node(1, zxid=7), 0.0
    )
    assert isinstance(connected, SeenFrame)
    assert (connected.xid, connected.zxid) == (None, 0)
    assert isinstance(first, SeenFrame)
    assert isinstance(second, SeenFrame)
    assert (first.opcode, second.opcode) == (OpCode.AUTH, OpCode.EXISTS)
    assert (second.path, second.xid, second.zxid) == ("/a", 1, 7)


def test_conversation_finds_the_error_of_a_failed_multi_in_its_results() -> None:
    conversation = Conversation()
    asked = MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", -1)),))
    many = b"".join(frame(encode(RequestHeader(xid, OpCode.MULTI)) + encode(asked)) for xid in range(1, 5))
    conversation.receive(SENT, CONNECT + many + exists(5), 0.0)
    failed = MultiResponse(
        tuple(MultiItem(MultiHeader(OpCode.ERROR, False, err), ErrorResponse(err)) for err in (0, -103, -2))
    )
    done = MultiResponse((MultiItem(MultiHeader(OpCode.DELETE, False, 0), None),))
    answers = [
        encode(ReplyHeader(1, 7, 0)) + encode(failed),
        encode(ReplyHeader(2, 7, 0)) + encode(done),
        encode(ReplyHeader(3, 7, 0)) + b"?",
        encode(ReplyHeader(4, 7, ErrorCode.MARSHALLING_ERROR)),
        encode(ReplyHeader(5, 7, ErrorCode.NO_NODE)),
    ]
    _, *replies = conversation.receive(RECEIVED, CONNECTED + b"".join(map(frame, answers)), 0.0)
    failures = [each.failure for each in replies if isinstance(each, SeenFrame)]
    assert failures == [ErrorCode.BAD_VERSION, 0, 0, ErrorCode.MARSHALLING_ERROR, ErrorCode.NO_NODE]


@pytest.mark.parametrize(
    ("direction", "payload", "problem"),
    [
        (SENT, b"\0\0\0\1\0\0\0\4\0\0\0\x0e/a", "GetDataRequest.path at offset 12: "),
        (SENT, b"\0\0\0\1\0\0\0\x0b", ""),  # a ping
        (SENT, b"\0\0\0\1\0\0\0\x63any", ""),  # nobody knows the operation, nor its body
        (SENT, b"\0\0\0\1\0", "expected the header of a request, 8 bytes, got 5"),
        (RECEIVED, b"\0", "expected the header of a reply, 16 bytes, got 1"),
        (RECEIVED, b"\xff\xff\xff\xff" + bytes(12) + b"\0\0", "WatcherEvent.type at offset 20: "),
    ],
)
def test_conversation_says_why_a_body_cannot_be_decoded(direction: Direction, payload: bytes, problem: str) -> None:
    conversation = Conversation()
    conversation.receive(SENT, CONNECT, 0.0)
    conversation.receive(RECEIVED, CONNECTED, 0.0)
    (seen,) = conversation.receive(direction, frame(payload), 0.0)
    assert isinstance(seen, SeenFrame)
    assert seen.record is None
    assert seen.undecoded.startswith(problem)
    assert bool(seen.undecoded) is bool(problem)


def test_conversation_says_why_a_handshake_cannot_be_decoded() -> None:
    (seen,) = Conversation().receive(SENT, frame(b"??"), 0.0)
    assert isinstance(seen, SeenFrame)
    assert seen.undecoded.startswith("ConnectRequest.protocol_version at offset 4: ")


def test_conversation_goes_on_after_bytes_that_were_not_seen() -> None:
    conversation = Conversation()
    assert conversation.resume(SENT) == b""
    (request,) = conversation.receive(SENT, exists(1) + b"\0\0", 0.0)
    assert isinstance(request, SeenFrame)
    assert (request.opcode, request.is_handshake) == (OpCode.EXISTS, False)
    assert conversation.resume(SENT) == b"\0\0"
    assert conversation.receive(SENT, b"\xff" * 4, 0.0) == [b"\xff" * 4]
    assert conversation.resume(SENT) == b""
    (again,) = conversation.receive(SENT, exists(2), 0.0)
    assert isinstance(again, SeenFrame)
    assert again.index == 2


def test_conversation_pairs_a_ping_by_the_xid_of_its_answer() -> None:
    conversation = Conversation()
    odd_ping = frame(encode(RequestHeader(5, OpCode.PING)))
    conversation.receive(SENT, CONNECT + exists(5) + odd_ping, 0.0)
    pong = frame(encode(ReplyHeader(Xid.PING, 0, 0)))
    answer, first, second = conversation.receive(RECEIVED, CONNECTED + pong + no_node(5), 0.0)
    assert isinstance(answer, SeenFrame)
    assert answer.is_handshake
    assert isinstance(first, SeenFrame)
    assert not first.is_handshake
    assert isinstance(second, SeenFrame)
    assert (first.opcode, second.opcode) == (OpCode.PING, OpCode.EXISTS)


@pytest.mark.parametrize("bad", [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
def test_bytes_after_an_impossible_length_are_stray(bad: bytes) -> None:
    conversation = Conversation()
    pieces = conversation.receive(SENT, CONNECT + bad + b"tail", 0.0)
    assert [type(piece) for piece in pieces] == [SeenFrame, bytes]
    assert pieces[1] == bad + b"tail"
    assert conversation.receive(SENT, exists(1), 0.0) == [exists(1)]


def test_conversation_takes_a_four_letter_word_and_its_answer_for_bytes() -> None:
    conversation = Conversation()
    assert conversation.receive(SENT, b"isro", 0.0) == [b"isro"]
    assert conversation.receive(RECEIVED, b"rw", 0.0) == [b"rw"]


def test_conversation_keeps_the_beginning_of_a_frame_until_its_end_comes() -> None:
    conversation = Conversation()
    assert conversation.receive(SENT, CONNECT[:7], 0.0) == []
    assert (conversation.partial(SENT), conversation.partial(SENT, 5)) == (CONNECT[:7], CONNECT[5:7])
    assert (conversation.partial_size(SENT), conversation.partial_size(RECEIVED)) == (7, 0)
    (piece,) = conversation.receive(SENT, CONNECT[7:], 0.0)
    assert isinstance(piece, SeenFrame)
    assert piece.data == CONNECT
    assert conversation.partial_size(SENT) == 0


def test_notification_is_a_reply_that_answers_no_request() -> None:
    traffic = Traffic()
    asked, _ = traffic.connect()
    event = traffic.event(EventType.NODE_CREATED, "/a")
    assert (asked.is_notification, event.is_notification) == (False, True)
    assert (event.request, event.opcode, event.path) == (None, None, "/a")


def test_conversation_takes_any_bytes_in_frames_for_frames() -> None:
    random = Random(7)
    for _ in range(300):
        conversation = Conversation()
        conversation.receive(SENT, CONNECT, 0.0)
        conversation.receive(RECEIVED, CONNECTED, 0.0)
        for _ in range(10):
            direction = random.choice(list(Direction))
            head = random.choice([encode(RequestHeader(1, random.choice(list(OpCode)))), encode(ReplyHeader(1, 2, 0))])
            data = frame(head[: random.choice([0, 5, 16])] + random.randbytes(random.randrange(40)))
            (piece,) = conversation.receive(direction, data, 0.0)
            assert isinstance(piece, SeenFrame)
            assert piece.data == data
            assert piece.path is None or isinstance(piece.path, str)
            assert isinstance(piece.err, int)


def test_frame_seen_names_every_path_of_its_request_and_its_reply() -> None:
    conversation = Conversation()
    bodies: list[tuple[int, Encodable | None]] = [
        (OpCode.CREATE, CreateRequest("/a/n-", b"", (), 3)),
        (
            OpCode.MULTI,
            MultiRequest(
                (item(OpCode.CHECK, CheckVersionRequest("/a", 0)), item(OpCode.DELETE, DeleteRequest("/b", -1)))
            ),
        ),
        (OpCode.SET_WATCHES2, SetWatches2(1, ("/a",), None, (), ("/p", None), ("/r", "/a"))),
        (OpCode.SET_WATCHES, SetWatches(1, (), ("/e",), ())),
        (OpCode.GET_EPHEMERALS, GetEphemeralsRequest("/prefix")),
        (OpCode.PING, None),
    ]
    requests = [
        frame(encode(RequestHeader(xid, code)) + (encode(body) if body else b""))
        for xid, (code, body) in enumerate(bodies)
    ]
    sent = conversation.receive(SENT, CONNECT + b"".join(requests), 0.0)
    created = frame(encode(ReplyHeader(0, 5, 0)) + encode(CreateResponse("/a/n-0000000003")))
    received = conversation.receive(RECEIVED, CONNECTED + created + no_node(1), 0.0)
    assert [piece.paths for piece in sent if isinstance(piece, SeenFrame)] == [
        (),
        ("/a/n-",),
        ("/a", "/b"),
        ("/a", "/p", "/r"),
        ("/e",),
        ("/prefix",),
        (),
    ]
    assert [piece.paths for piece in received if isinstance(piece, SeenFrame)] == [
        (),
        ("/a/n-", "/a/n-0000000003"),
        ("/a", "/b"),
    ]
