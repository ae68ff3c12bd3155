"""One sentence for each frame: what it asks for, or what the server answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import golden
from tests.support.each import for_each
from tests.support.golden import Golden
from zkwire.codes import OpCode
from zkwire.explain import sentences as english
from zkwire.explain.sentences import first_sentence, purpose, sentence
from zkwire.jute import Record, decode_at
from zkwire.multi import MultiItem, MultiRequest, MultiResponse, MultiSequence, item
from zkwire.operations import BY_OPCODE, OPERATIONS, Operation
from zkwire.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    ConnectRequest,
    ConnectResponse,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    ErrorResponse,
    ExistsRequest,
    GetACLResponse,
    GetAllChildrenNumberResponse,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    Id,
    MultiHeader,
    RemoveWatchesRequest,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    SetDataResponse,
    SetSASLResponse,
    SetWatches,
    Stat,
    SyncResponse,
    WatcherEvent,
    WhoAmIResponse,
)

STAT = Stat(1, 1, 3, 4, 7, 0, 0, 0x55, 2, 3, 1)
ANYONE = (ACL(31, Id("world", "anyone")),)


def test_head_of_the_module_shows_sentences_of_these_frames() -> None:
    """The example in the module's docstring."""
    shown = [line.strip() for line in (english.__doc__ or "").splitlines() if line.startswith("    ")]
    answer = GetDataResponse(b"hello", Stat(2, 2, 3, 3, 0, 0, 0, 0, 5, 0, 2))
    assert shown == [
        of(RequestHeader(1, OpCode.GET_DATA), GetDataRequest("/app", True)),
        of(ReplyHeader(1, 2, 0), answer, opcode=OpCode.GET_DATA),
    ]


def of(*records: Record | MultiSequence, opcode: int | None = None, names: tuple[str, ...] = ()) -> str:
    return sentence(tuple(type(record) for record in records), list(records), opcode, names)


def request(name: str, *body: Record | MultiSequence, xid: int = 1) -> str:
    opcode = OPERATIONS[name].opcode
    return of(RequestHeader(xid, opcode), *body, opcode=opcode)


def reply(name: str, *body: Record | MultiSequence, err: int = 0) -> str:
    return of(ReplyHeader(1, 0x10, err), *body, opcode=OPERATIONS[name].opcode)


@for_each("shown", golden.load(), ids=lambda shown: shown.id)
def test_every_golden_frame_has_a_sentence(shown: Golden) -> None:
    records: list[Any] = []
    offset = 0
    for kind in shown.types:
        record, offset = decode_at(kind, shown.payload, offset, len(shown.payload))
        records.append(record)
    text = sentence(shown.types, records, shown.opcode)
    assert text.endswith(".")
    assert "{" not in text
    if shown.opcode in BY_OPCODE and shown.kind == "request" and shown.opcode != OpCode.PING:
        assert f"{BY_OPCODE[shown.opcode].name}, xid {records[0].xid}" in text


@pytest.mark.parametrize("row", BY_OPCODE.values(), ids=lambda row: row.name)
def test_every_operation_has_a_purpose(row: Operation) -> None:
    assert purpose(row.opcode)
    assert "{" not in purpose(row.opcode)


def test_purpose_names_fields_in_capitals() -> None:
    assert purpose(OpCode.DELETE) == "delete PATH if its version is VERSION"
    assert purpose(OpCode.MULTI) == "do several operations, all or none of them"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            request("getData", GetDataRequest("/a", True)),
            "give the data and Stat of /a, and leaves a data watch (getData, xid 1)",
        ),
        (request("getChildren", GetChildrenRequest("/a", True)), "and leaves a child watch"),
        (request("exists", ExistsRequest("/a", True)), "leaves a data watch or, where there is none, an exist watch"),
        (request("exists", ExistsRequest("/a", False)), "say whether /a exists, and give its Stat (exists, xid 1)"),
        (request("create", CreateRequest("/a", b"x", ANYONE, 3)), "/a, ephemeral sequential, with 1 byte of data"),
        (request("create", CreateRequest("/a", b"", ANYONE, 9)), "create /a, 9, with empty data"),
        (request("createTTL", CreateTTLRequest("/a", None, ANYONE, 5, 50)), "null as data and a time to live of 50 ms"),
        (request("setData", SetDataRequest("/a", b"xy", 4)), "make 2 bytes of data the data of /a if its version is 4"),
        (request("delete", DeleteRequest("/a", -1)), "asks the server to delete /a (delete, xid 1)"),
        (request("delete", DeleteRequest(None, -1)), "delete null ("),
        (request("delete", DeleteRequest("", -1)), "delete '' ("),
        (request("check", CheckVersionRequest("/a", 4)), "check that /a exists and has version 4"),
        (request("multi", MultiRequest((item(OpCode.DELETE, DeleteRequest("/a", -1)),))), "do 1 operation, all or"),
        (request("removeWatches", RemoveWatchesRequest("/a", 1)), "remove child watches from /a"),
        (request("removeWatches", RemoveWatchesRequest("/a", 9)), "remove watches of type 9 from /a"),
        (request("addWatch", AddWatchRequest("/a", 1)), "set a persistent recursive watch on /a"),
        (request("auth", AuthPacket(0, "digest", b"a:b"), xid=-4), "an identity of the scheme digest"),
        (request("setWatches", SetWatches(0x20, (), (), ())), "send the events since 0x20"),
        (request("getEphemerals", GetEphemeralsRequest("/a")), "whose path begins with /a"),
        (request("whoAmI"), "list the identities of this connection (whoAmI, xid 1)"),
        (
            request("ping", xid=-2),
            "A ping from the client: it keeps the session alive, and asks only for an answer.",
        ),
        (request("ping", xid=5), "only for an answer; its xid is 5, but that of the answer will be -2."),
        (request("getData"), "sends getData, xid 1, with a body that cannot be read"),
        (of(RequestHeader(1, 99)), "opcode 99, xid 1, which is not an operation of clients"),
        (sentence((RequestHeader,), [], None), "The beginning of a request."),
        # A terminal obeys nothing that a path holds.
        (request("delete", DeleteRequest("/\x1b[2J", -1)), r"delete /\x1b[2J"),
    ],
)
def test_request_says_what_is_asked(text: str, expected: str) -> None:
    assert expected in text


def test_check_of_a_version_is_a_condition() -> None:
    assert request("check", CheckVersionRequest("/a", -1)).startswith(
        "The client asks the server to check that /a exists, which"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (reply("delete"), "The server answers delete, xid 1: done."),
        (
            reply("getData", GetDataResponse(b"hello", STAT)),
            "5 bytes of data; version 7, 3 children, ephemeral of session 0x55.",
        ),
        (reply("setData", SetDataResponse(STAT.replace(ephemeral_owner=0, num_children=1))), "version 7, 1 child."),
        (reply("create", CreateResponse("/a")), "created /a."),
        (reply("create2", Create2Response("/a", STAT.replace(num_children=0))), "created /a; version 7, no children,"),
        (reply("getChildren", GetChildrenResponse(("a", "b"))), ": 2 children."),
        (reply("getChildren", GetChildrenResponse(None)), ": no children."),
        (reply("getACL", GetACLResponse(ANYONE, STAT)), ": 1 entry; version 7"),
        (reply("getAllChildrenNumber", GetAllChildrenNumberResponse(12)), ": 12 descendants."),
        (reply("sync", SyncResponse("/a")), ": /a is synchronized."),
        (reply("sync", SyncResponse(None)), ": null is synchronized."),
        (reply("whoAmI", WhoAmIResponse(())), ": no identities."),
        (reply("sasl", SetSASLResponse(b"xyz")), ": a token of 3 bytes."),
        (reply("sasl", SetSASLResponse(None)), "no token: SASL is done, or not configured."),
        (reply("addWatch", ErrorResponse(0)), "addWatch, xid 1: done."),
        (reply("ping"), "The server answers a ping: the session lives. The last zxid here is 0x10."),
        (reply("getData", err=-101), "The server answers getData, xid 1: NO_NODE (-101), "),
        (reply("getData", err=-126), ": error -126, which no server up to 3.9 has."),
        (of(ReplyHeader(1, 9, -6), opcode=99), "The server answers opcode 99, xid 1: UNIMPLEMENTED (-6)"),
        (of(ReplyHeader(1, 9, 0), names=("create", "sync")), "do not say which it was: create or sync."),
        (of(ReplyHeader(1, 9, -101), names=tuple("abcde")), "; these bytes do not say what was asked."),
        (of(ReplyHeader(0, 0, -119)), "A server in read-only mode refuses the session"),
        (sentence((ReplyHeader,), [], None), "The beginning of a server's answer."),
    ],
)
def test_reply_says_what_came_of_it(text: str, expected: str) -> None:
    assert expected in text


def test_failed_multi_names_the_operation_that_failed() -> None:
    results = [ErrorResponse(0), ErrorResponse(-101), ErrorResponse(-2)]
    failed = MultiResponse(tuple(MultiItem(MultiHeader(-1, False, body.err), body) for body in results))
    assert "3 results, and number 1 is NO_NODE (-101)" in reply("multi", failed)
    done = MultiResponse((MultiItem(MultiHeader(2, False, 0), None),))
    assert reply("multi", done) == "The server answers multi, xid 1: 1 result."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            of(ConnectRequest(0, 0, 10000, 0, bytes(16), False)),
            "A client connects, and asks for a new session with a timeout of 10000 ms.",
        ),
        (
            of(ConnectRequest(0, 0x20, 10000, 0x55, bytes(16), True)),
            "session 0x55 with a timeout of 10000 ms; the last zxid it saw is 0x20; a read-only server will do.",
        ),
        (
            of(ConnectResponse(0, 10000, 0x55, bytes(16), True)),
            "grants session 0x55 with a timeout of 10000 ms, and is in read-only mode.",
        ),
        (of(ConnectResponse(0, 10000, 0x55, bytes(16), None)), "grants session 0x55 with a timeout of 10000 ms."),
        (of(ConnectResponse(0, 0, 0, bytes(16), False)), "The server refuses the session"),
        (sentence((ConnectRequest,), [], None), "A client's first frame"),
        (sentence((ConnectResponse,), [], None), "A server's first frame"),
    ],
)
def test_handshake_says_what_is_asked_and_granted(text: str, expected: str) -> None:
    assert expected in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            of(ReplyHeader(-1, -1, 0), WatcherEvent(3, 3, "/a")),
            "A watch fires: the data of /a was set (NODE_DATA_CHANGED).",
        ),
        (
            of(ReplyHeader(-1, 0x20, 0), WatcherEvent(1, 5, "/a")),
            "/a was created, by transaction 0x20, in state CONNECTED_READ_ONLY (NODE_CREATED).",
        ),
        (of(ReplyHeader(-1, -1, 0), WatcherEvent(2, 3, None)), "null was deleted"),
        (of(ReplyHeader(-1, -1, 0), WatcherEvent(4, 3, "/a")), "/a got or lost a child"),
        (of(ReplyHeader(-1, -1, 0), WatcherEvent(99, 3, "/a")), "the event 99 on /a, which no server up to 3.9 sends"),
        (sentence((ReplyHeader, WatcherEvent), [ReplyHeader(-1, -1, 0)], None), "A notification, whose body cannot"),
    ],
)
def test_notification_says_what_happened(text: str, expected: str) -> None:
    assert expected in text


def test_first_sentence_of_a_docstring() -> None:
    assert first_sentence("One thing\n    said. Another.\n\nMore.") == "One thing said"
    assert first_sentence("No stop") == "No stop"
