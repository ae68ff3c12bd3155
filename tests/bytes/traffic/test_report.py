"""Entries as lines, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.traffic import Traffic
from zkwire.codes import AddWatchMode, ErrorCode, EventType, OpCode, Xid
from zkwire.frames import Direction
from zkwire.jute import Encodable, encode
from zkwire.multi import MultiItem, MultiRequest, MultiResponse, item
from zkwire.operations import BY_OPCODE
from zkwire.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    ClientInfo,
    ConnectRequest,
    ConnectResponse,
    Create2Response,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    ErrorResponse,
    ExistsRequest,
    ExistsResponse,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    GetEphemeralsResponse,
    GetSASLRequest,
    Id,
    MultiHeader,
    ReconfigRequest,
    RemoveWatchesRequest,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    SetSASLResponse,
    SetWatches2,
    Stat,
    WhoAmIResponse,
)
from zkwire.traffic.causes import AnsweredRequest, Cause
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.entries import (
    ConnectionClosed,
    ConnectionOpened,
    Entry,
    EventSeen,
    Exchange,
    FaultInjected,
    Handshake,
    ServerUnreachable,
    StrayBytesSeen,
    UnansweredRequest,
)
from zkwire.traffic.faults import DROP, Delay
from zkwire.traffic.report import entry_json, entry_text

WORLD = (ACL(31, Id("world", "anyone")),)

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
STAT = Stat(1, 2, 3, 4, 5, 6, 7, 0x100, 9, 10, 11)


def exchanged(
    opcode: int,
    record: Encodable | None = None,
    answer: Encodable | None = None,
    *,
    err: int = 0,
    zxid: int = 5,
    xid: int | None = None,
) -> Exchange:
    traffic = Traffic()
    traffic.connect()
    traffic.now = 1.0
    request = traffic.request(opcode, record, xid)
    traffic.now = 1.25
    return Exchange(0, 5, 1.25, request, traffic.reply(request, answer, err=err, zxid=zxid))


def sent(payload: bytes) -> SeenFrame:
    traffic = Traffic()
    traffic.connect()
    return traffic.seen(SENT, payload)


def received(payload: bytes) -> SeenFrame:
    traffic = Traffic()
    traffic.connect()
    return traffic.seen(RECEIVED, payload)


def handshake(request: ConnectRequest | None, response: ConnectResponse | bytes) -> Handshake:
    traffic = Traffic()
    asked = None if request is None else traffic.seen(SENT, encode(request))
    traffic.now = 0.002
    payload = response if isinstance(response, bytes) else encode(response)
    return Handshake(0, 5, 0.002, asked, traffic.seen(RECEIVED, payload))


def notified(write: AnsweredRequest | None, certain: bool, armed: AnsweredRequest | None, zxid: int = 6) -> EventSeen:
    traffic = Traffic()
    traffic.connect()
    return EventSeen(0, 5, 2.0, traffic.event(EventType.NODE_DELETED, "/a", zxid), Cause(write, certain, armed))


PASSWORD = b"0123456789abcdef"
STEP = AnsweredRequest(3, 12, OpCode.DELETE, "/a", 1.5)
many = MultiRequest(tuple(item(OpCode.DELETE, DeleteRequest(f"/{number}", -1)) for number in range(8)))


def multi_answer(*bodies: Any) -> MultiResponse:
    return MultiResponse(tuple(MultiItem(MultiHeader(code, False, 0), body) for code, body in bodies))


# --- text


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (ConnectionOpened(0, 0, 0.0, "c:1", "s:2"), "opened c:1 to s:2"),
        (ServerUnreachable(0, 0, 0.0, "c:1", "s:2: refused"), "no server for c:1: s:2: refused"),
        (
            handshake(ConnectRequest(0, 0, 10_000, 0, b"", False), ConnectResponse(0, 4_500, 0x5, PASSWORD, False)),
            "connect new session, 10 s -> session 0x5, 4.5 s  2.00 ms",
        ),
        (
            handshake(ConnectRequest(0, 9, 10_000, -1, PASSWORD, True), ConnectResponse(0, 10_000, -1, PASSWORD, True)),
            "connect session 0xffffffffffffffff, 10 s, read-only allowed -> session 0xffffffffffffffff, 10 s, read-only"
            "  2.00 ms",
        ),
        (
            handshake(ConnectRequest(0, 9, 10_000, 5, PASSWORD, False), ConnectResponse(0, 0, 0, bytes(16), False)),
            "connect session 0x5, 10 s -> REFUSED: the session is expired, or the password is wrong  2.00 ms",
        ),
        (handshake(None, b"??"), "connect  -> (undecoded)"),
        (exchanged(OpCode.EXISTS, ExistsRequest("/a", False), ExistsResponse(STAT)), "exists xid=1 /a -> OK version 5"),
        (exchanged(OpCode.EXISTS, ExistsRequest("/a", True), err=-101), "exists xid=1 /a, watch -> NO_NODE"),
        (exchanged(OpCode.EXISTS, ExistsRequest("/a", True), err=-9999), "exists xid=1 /a, watch -> -9999"),
        (
            exchanged(OpCode.GET_DATA, GetDataRequest("/a", False), GetDataResponse(b"x", STAT)),
            "getData xid=1 /a -> OK 1 byte, version 5",
        ),
        (
            exchanged(OpCode.GET_DATA, GetDataRequest("/a", False), GetDataResponse(None, STAT)),
            "getData xid=1 /a -> OK null, version 5",
        ),
        (
            exchanged(OpCode.CREATE2, CreateRequest("/a-", b"xy", WORLD, 3), Create2Response("/a-0000000001", STAT)),
            "create2 xid=1 /a-, 2 bytes, EPHEMERAL_SEQUENTIAL -> OK /a-0000000001, version 5",
        ),
        (
            exchanged(
                OpCode.CREATE2,
                CreateRequest("/a", None, (ACL(1, Id("digest", "u:hash")), *WORLD, ACL(1, Id("ip", None))), 0),
                Create2Response("/a", STAT),
            ),
            "create2 xid=1 /a, null, ACL digest:u:1 world:anyone:31 ip::1 -> OK version 5",
        ),
        (
            exchanged(OpCode.CREATE_TTL, CreateTTLRequest("/a", b"", WORLD, 5, 5000), err=ErrorCode.UNIMPLEMENTED),
            "createTTL xid=1 /a, 0 bytes, PERSISTENT_WITH_TTL, ttl 5000 ms -> UNIMPLEMENTED",
        ),
        (exchanged(OpCode.DELETE, DeleteRequest("/a", 3)), "delete xid=1 /a, version 3 -> OK"),
        (exchanged(OpCode.DELETE, DeleteRequest("/a\x1b\n", -1)), "delete xid=1 /a\\x1b\\n -> OK"),
        (
            exchanged(OpCode.GET_CHILDREN, GetChildrenRequest("/a", True), GetChildrenResponse(("b",))),
            "getChildren xid=1 /a, watch -> OK 1 child",
        ),
        (
            exchanged(OpCode.GET_CHILDREN, GetChildrenRequest("/a", False), GetChildrenResponse(None)),
            "getChildren xid=1 /a -> OK 0 children",
        ),
        (
            exchanged(OpCode.GET_EPHEMERALS, GetEphemeralsRequest("/e"), GetEphemeralsResponse(("/e/1", "/e/2"))),
            "getEphemerals xid=1 /e -> OK 2 ephemerals",
        ),
        (
            exchanged(
                OpCode.GET_ALL_CHILDREN_NUMBER, GetAllChildrenNumberRequest("/"), GetAllChildrenNumberResponse(7)
            ),
            "getAllChildrenNumber xid=1 / -> OK 7",
        ),
        (
            exchanged(
                OpCode.WHO_AM_I, None, WhoAmIResponse((ClientInfo("ip", "127.0.0.1"), ClientInfo("digest", "u")))
            ),
            "whoAmI xid=1 -> OK ip:127.0.0.1, digest:u",
        ),
        (exchanged(OpCode.WHO_AM_I, None, WhoAmIResponse(None)), "whoAmI xid=1 -> OK"),
        (exchanged(OpCode.GET_ACL, GetACLRequest("/a")), "getACL xid=1 /a -> OK (undecoded)"),
        (
            exchanged(OpCode.ADD_WATCH, AddWatchRequest("/a", AddWatchMode.PERSISTENT_RECURSIVE), ErrorResponse(0)),
            "addWatch xid=1 /a, PERSISTENT_RECURSIVE -> OK",
        ),
        (exchanged(OpCode.REMOVE_WATCHES, RemoveWatchesRequest("/a", 3)), "removeWatches xid=1 /a, ANY -> OK"),
        (exchanged(OpCode.AUTH, AuthPacket(0, "digest", b"u:secret"), xid=Xid.AUTH), "auth xid=-4 digest -> OK"),
        (
            exchanged(OpCode.SASL, GetSASLRequest(b"abc"), SetSASLResponse(b"")),
            "sasl xid=1 3 bytes -> OK 0 bytes",
        ),
        (
            exchanged(OpCode.RECONFIG, ReconfigRequest("server.4=h", "3", None, -1), err=ErrorCode.NO_AUTH),
            "reconfig xid=1 server.4=h, 3 -> NO_AUTH",
        ),
        (
            exchanged(OpCode.SET_WATCHES2, SetWatches2(0x77, ("/a", "/b"), (), None, ("/c",), ())),
            "setWatches2 xid=1 3 watches since zxid 0x77 -> OK",
        ),
        (
            exchanged(OpCode.MULTI, many, multi_answer()),
            "multi xid=1 [delete /0; delete /1; delete /2; delete /3; delete /4; delete /5; 2 more] -> OK 0 results",
        ),
        (
            exchanged(
                OpCode.MULTI,
                MultiRequest(
                    (
                        item(OpCode.CHECK, CheckVersionRequest("/a", 0)),
                        item(OpCode.CREATE, CreateRequest("/b-", b"", WORLD, 2)),
                    )
                ),
                multi_answer((OpCode.CHECK, None), (OpCode.CREATE2, Create2Response("/b-0000000001", STAT))),
            ),
            "multi xid=1 [check /a, version 0; create /b-, 0 bytes, PERSISTENT_SEQUENTIAL] "
            "-> OK 2 results, /b-0000000001",
        ),
        (
            exchanged(
                OpCode.MULTI,
                MultiRequest((item(OpCode.CHECK, CheckVersionRequest("/a", 0)),)),
                multi_answer((OpCode.ERROR, ErrorResponse(ErrorCode.BAD_VERSION))),
            ),
            "multi xid=1 [check /a, version 0] -> BAD_VERSION",
        ),
        (exchanged(999), "opcode 999 xid=1 -> OK"),
        (
            exchanged(OpCode.CREATE, CreateRequest("/a", b"", WORLD, 77), err=-8),
            "create xid=1 /a, 0 bytes, 77 -> BAD_ARGUMENTS",
        ),
        (
            exchanged(OpCode.REMOVE_WATCHES, RemoveWatchesRequest("/a", 77), err=-5),
            "removeWatches xid=1 /a -> MARSHALLING_ERROR",
        ),
    ],
)
def test_entry_is_one_line(entry: Entry, line: str) -> None:
    if isinstance(entry, Exchange):
        line += " zxid=0x5  250.00 ms"
    assert entry_text(entry) == f"#0 {line}"


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            Exchange(1, 5, 0.0, None, received(encode(ReplyHeader(77, -1, 0)))),
            "#1 reply xid=77 to no request that was seen -> OK",
        ),
        (
            Exchange(1, 5, 0.0, None, received(b"ab")),
            "#1 reply xid=None to no request that was seen -> (undecoded)",
        ),
        (
            UnansweredRequest(1, 5, 2.0, sent(b"\0\0\0\x07\0\0\0\x04??")),
            "#1 getData xid=7 (undecoded) -> NO REPLY: the connection ended 2000.00 ms later",
        ),
        (
            UnansweredRequest(1, 5, 2.0, sent(b"??")),
            "#1 a frame of 6 bytes, too short for a request -> NO REPLY: the connection ended 2000.00 ms later",
        ),
        (
            UnansweredRequest(1, 5, 2.0, sent(b"\0\0\0\x07\0\0\0\x0b")),
            "#1 ping xid=7 -> NO REPLY: the connection ended 2000.00 ms later",
        ),
        (
            UnansweredRequest(1, 0, 2.0, Traffic().seen(SENT, b"??")),
            "#1 connect (undecoded) -> NO REPLY: the connection ended 2000.00 ms later",
        ),
        (
            notified(STEP, True, AnsweredRequest(0, 9, OpCode.GET_DATA, "/a", 1.0)),
            "#0 event NODE_DELETED /a zxid=0x6 by #3 delete xid=12, 500.00 ms after it was sent; "
            "watch of getData xid=9",
        ),
        (
            notified(STEP, False, None, -1),
            "#0 event NODE_DELETED /a likely by #3 delete xid=12, 500.00 ms after it was sent",
        ),
        (notified(None, False, None), "#0 event NODE_DELETED /a zxid=0x6 by no write that was seen"),
        (
            EventSeen(0, 5, 0.0, received(encode(ReplyHeader(-1, -1, 0))), Cause(None, False, None)),
            "#0 event (undecoded)",
        ),
        (FaultInjected(0, 5, 0.0, sent(b"\0\0\0\x07\0\0\0\x0b"), DROP), "#0 FAULT > ping xid=7: dropped"),
        (
            FaultInjected(0, 5, 0.0, exchanged(OpCode.GET_ACL, GetACLRequest("/a")).reply, Delay(0.5)),
            "#0 FAULT < getACL xid=1 /a: delayed by 0.5 s",
        ),
        (
            FaultInjected(0, 5, 0.0, notified(None, False, None).event, DROP),
            "#0 FAULT < event NODE_DELETED /a: dropped",
        ),
        (FaultInjected(0, 5, 0.0, received(encode(ReplyHeader(-1, -1, 0))), DROP), "#0 FAULT < event: dropped"),
        (FaultInjected(0, 5, 0.0, received(encode(ReplyHeader(7, -1, 0))), DROP), "#0 FAULT < reply xid=7: dropped"),
        (FaultInjected(0, 5, 0.0, received(b"?"), DROP), "#0 FAULT < a frame without a header: dropped"),
        (FaultInjected(0, 5, 0.0, handshake(None, b"").response, DROP), "#0 FAULT < connect: dropped"),
        (StrayBytesSeen(0, 0, 0.0, SENT, "TLS"), "#0 > TLS; its bytes are passed on"),
        (ConnectionClosed(0, 5, 0.0, "tap", 0), "#0 closed by the tap"),
        (ConnectionClosed(0, 5, 0.0, "server", 2), "#0 closed by the server, 2 without a reply"),
    ],
)
def test_entry_without_a_latency_is_one_line(entry: Entry, line: str) -> None:
    assert entry_text(entry) == line


@pytest.mark.parametrize("opcode", sorted(BY_OPCODE))
def test_reply_that_cannot_be_decoded_is_shown_all_the_same(opcode: int) -> None:
    traffic = Traffic()
    traffic.connect()
    request = traffic.request(opcode)
    entry = Exchange(0, 5, 0.0, request, traffic.reply(request))
    mark = " (undecoded)" if entry.reply.undecoded else ""
    assert entry_text(entry).endswith(f" -> OK{mark} zxid=0x9  0.00 ms")
    assert entry_json(entry)["response"] in (None, [])


def test_what_cannot_be_decoded_is_marked_in_text_and_in_json() -> None:
    traffic = Traffic()
    traffic.connect()
    request = traffic.request(OpCode.GET_DATA, GetDataRequest("/a", False))
    reply = traffic.seen(RECEIVED, encode(ReplyHeader(1, 9, 0)) + b"\0\0\0\x09abc")
    entry = Exchange(0, 5, 0.0, request, reply)
    problem = "GetDataResponse.data at offset 20: buffer: length 9 needs at least 9 bytes, 3 are left"
    assert entry_text(entry) == "#0 getData xid=1 /a -> OK (undecoded) zxid=0x9  0.00 ms"
    assert entry_json(entry)["undecoded"] == problem
    bad = sent(encode(RequestHeader(2, OpCode.GET_DATA)))
    assert entry_json(Exchange(0, 5, 0.0, bad, reply))["undecoded"] == f"{bad.undecoded}; {problem}"
    assert entry_json(UnansweredRequest(0, 5, 0.0, bad))["undecoded"] == bad.undecoded
    event = received(encode(ReplyHeader(-1, -1, 0)) + b"\0")
    assert entry_json(EventSeen(0, 5, 0.0, event, Cause(None, False, None)))["undecoded"] == event.undecoded
    assert "undecoded" not in entry_json(exchanged(OpCode.GET_DATA, GetDataRequest("/a", False), err=-101))
    assert "undecoded" not in entry_json(ConnectionClosed(0, 5, 0.0, "client", 0))


# --- JSON


def test_exchange_as_json_has_what_was_asked_and_answered() -> None:
    entry = exchanged(OpCode.SET_DATA, SetDataRequest("/a", b"\xff", 4), ExistsResponse(STAT), zxid=0x1_0000_0000)
    assert entry_json(entry, 1000.0) == {
        "kind": "exchange",
        "time": 1001.25,
        "connection": 0,
        "session": "0x5",
        "op": "setData",
        "opcode": 5,
        "xid": 1,
        "path": "/a",
        "err": 0,
        "error": "OK",
        "zxid": "0x100000000",
        "latency_ms": 250.0,
        "request": {"path": "/a", "data": {"base64": "/w=="}, "version": 4},
        "response": {
            "stat": {
                "czxid": "0x1",
                "mzxid": "0x2",
                "ctime": 3,
                "mtime": 4,
                "version": 5,
                "cversion": 6,
                "aversion": 7,
                "ephemeral_owner": "0x100",
                "data_length": 9,
                "num_children": 10,
                "pzxid": "0xb",
            }
        },
    }


def test_multi_as_json_lists_its_operations_and_why_it_failed() -> None:
    writes = (item(OpCode.CHECK, CheckVersionRequest("/a", 0)), item(OpCode.DELETE, DeleteRequest("/b", -1)))
    answer = multi_answer((OpCode.ERROR, ErrorResponse(-103)), (OpCode.DELETE, None))
    shown = entry_json(exchanged(OpCode.MULTI, MultiRequest(writes), answer))
    assert (shown["err"], shown["error"], shown["path"]) == (-103, "BAD_VERSION", None)
    assert shown["request"] == [
        {"op": "check", "path": "/a", "version": 0},
        {"op": "delete", "path": "/b", "version": -1},
    ]
    assert shown["response"] == [{"op": "opcode -1", "err": -103}, {"op": "delete"}]


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        (
            ConnectionOpened(0, 0, 0.0, "c:1", "s:2"),
            {"kind": "opened", "session": None, "client": "c:1", "server": "s:2"},
        ),
        (ServerUnreachable(0, 0, 0.0, "c:1", "why"), {"kind": "unreachable", "reason": "why"}),
        (
            handshake(ConnectRequest(0, 9, 10_000, 5, PASSWORD, False), ConnectResponse(0, 0, 0, bytes(16), False)),
            {"kind": "connect", "refused": True, "latency_ms": 2.0},
        ),
        (handshake(None, b"?"), {"kind": "connect", "refused": False, "request": None, "latency_ms": None}),
        (
            Exchange(0, 5, 0.0, None, received(encode(ReplyHeader(77, 9, -101)))),
            {"kind": "exchange", "op": None, "opcode": None, "xid": 77, "error": "NO_NODE", "latency_ms": None},
        ),
        (
            UnansweredRequest(0, 5, 2.0, sent(b"\0\0\0\x07\0\0\0\x0b")),
            {"kind": "unanswered", "op": "ping", "xid": 7, "waited_ms": 2000.0, "request": None},
        ),
        (UnansweredRequest(0, 0, 2.0, Traffic().seen(SENT, b"?")), {"op": "connect", "opcode": None, "xid": None}),
        (
            notified(STEP, True, None),
            {
                "kind": "event",
                "type": "NODE_DELETED",
                "path": "/a",
                "zxid": "0x6",
                "cause": {"connection": 3, "xid": 12, "op": "delete", "path": "/a"},
                "certain": True,
                "after_ms": 500.0,
                "armed_by": None,
            },
        ),
        (
            notified(None, False, STEP, -1),
            {"zxid": None, "cause": None, "armed_by": {"connection": 3, "xid": 12, "op": "delete", "path": "/a"}},
        ),
        (
            EventSeen(0, 5, 0.0, received(encode(ReplyHeader(-1, -1, 0))), Cause(None, False, None)),
            {"type": None, "path": None},
        ),
        (
            FaultInjected(0, 5, 0.0, notified(None, False, None).event, Delay(0.5)),
            {
                "kind": "fault",
                "op": "event",
                "path": "/a",
                "action": "delay",
                "text": "delayed by 0.5 s",
                "frame": "< event NODE_DELETED /a",
            },
        ),
        (StrayBytesSeen(0, 0, 0.0, SENT, "TLS"), {"kind": "opaque", "direction": ">", "what": "TLS"}),
        (ConnectionClosed(0, 5, 0.0, "tap", 3), {"kind": "closed", "by": "tap", "unanswered": 3}),
    ],
)
def test_entry_as_json_has_its_parts(entry: Entry, parts: dict[str, Any]) -> None:
    shown = json.loads(json.dumps(entry_json(entry)))
    assert {name: shown[name] for name in parts} == parts
    assert {"kind", "time", "connection", "session"} <= set(shown)


def _connect() -> Entry:
    return handshake(ConnectRequest(0, 9, 10_000, 5, PASSWORD, False), ConnectResponse(0, 9, 5, PASSWORD, False))


def _auth() -> Entry:
    return exchanged(OpCode.AUTH, AuthPacket(0, "digest", PASSWORD), xid=Xid.AUTH)


@pytest.mark.parametrize("make", [_connect, _auth])
def test_secrets_are_shown_only_where_they_are_asked_for(make: Callable[[], Entry]) -> None:
    entry = make()
    for shown in (entry_text(entry), json.dumps(entry_json(entry))):
        assert PASSWORD.decode() not in shown
    assert "<16 bytes>" in json.dumps(entry_json(entry))
    assert PASSWORD.decode() in json.dumps(entry_json(entry, show_secrets=True))
