"""Replay as a client: what is sent again, and which differences in the replies count. No sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.traffic import Traffic
from zkwire.codes import CreateMode, ErrorCode, EventType, OpCode, Xid
from zkwire.frames import Direction, frame
from zkwire.jute import Encodable, encode
from zkwire.multi import MultiItem, MultiRequest, MultiResponse, item
from zkwire.records import (
    AuthPacket,
    ConnectRequest,
    ConnectResponse,
    Create2Response,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    ErrorResponse,
    ExistsRequest,
    ExistsResponse,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    GetEphemeralsResponse,
    GetSASLRequest,
    MultiHeader,
    RequestHeader,
    SetDataRequest,
    SetSASLResponse,
    SetWatches2,
    Stat,
)
from zkwire.traffic.as_client import _ZXIDS, Rerun
from zkwire.traffic.conversation import SeenFrame

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
THEN, NOW = b"then" * 4, b"now!" * 4


def stat(czxid: int, mzxid: int = 0, version: int = 0, owner: int = 0, time: int = 1) -> Stat:
    return Stat(czxid, mzxid or czxid, time, time, version, 0, 0, owner, 0, 0, czxid)


class Two:
    """The same connection then and now, and what stands for what."""

    def __init__(self, *, with_secrets: bool = False) -> None:
        self.rerun = Rerun(with_secrets=with_secrets)
        self.then, self.now = Traffic(), Traffic()
        self.then.connect(0x100)
        response = encode(ConnectResponse(0, 10_000, 0x200, NOW, False))
        recorded = Traffic()
        recorded.connect(0x100)
        self.compared = self.rerun.compare(
            Traffic().seen(RECEIVED, encode(ConnectResponse(0, 10_000, 0x100, THEN, False))),
            self.now.seen(RECEIVED, response),
        )
        self.now.seen(SENT, b"\0" * 44)

    def exchange(
        self,
        opcode: int,
        record: Encodable | None,
        then: Encodable | None,
        now: Encodable | None,
        *,
        zxids: tuple[int, int] = (50, 70),
        errs: tuple[int, int] = (0, 0),
    ) -> list[str]:
        """How the replies to the same request differ."""
        asked, again = self.then.request(opcode, record), self.now.request(opcode, record)
        return self.rerun.compare(
            self.then.reply(asked, then, zxid=zxids[0], err=errs[0]),
            self.now.reply(again, now, zxid=zxids[1], err=errs[1]),
        )

    def create(self, path: str, then: str, now: str, zxids: tuple[int, int] = (50, 70)) -> list[str]:
        record = CreateRequest(path, b"", (), CreateMode.PERSISTENT_SEQUENTIAL)
        return self.exchange(OpCode.CREATE, record, CreateResponse(then), CreateResponse(now), zxids=zxids)

    def sent(self, opcode: int, record: Encodable | None) -> bytes:
        return self.rerun.request(self.then.request(opcode, record))


def get_data(path: str = "/a") -> GetDataRequest:
    return GetDataRequest(path, False)


# --- the handshake


def test_new_session_is_asked_for_and_replaces_the_recorded_one() -> None:
    two = Two()
    assert two.compared == []
    recorded = Traffic().seen(SENT, encode(ConnectRequest(0, 33, 9_000, 0x100, THEN, True)))
    assert two.rerun.request(recorded) == frame(encode(ConnectRequest(0, 0, 9_000, 0x200, NOW, True)))
    new = Traffic().seen(SENT, encode(ConnectRequest(0, 33, 9_000, 0, b"", True)))
    assert two.rerun.request(new) == frame(encode(ConnectRequest(0, 0, 9_000, 0, bytes(16), True)))


def test_resumed_session_gets_the_last_zxid_of_this_server() -> None:
    two = Two()
    two.exchange(OpCode.SYNC, None, None, None, zxids=(5, 99))
    recorded = Traffic().seen(SENT, encode(ConnectRequest(0, 5, 9_000, 0x100, THEN, True)))
    assert two.rerun.request(recorded) == frame(encode(ConnectRequest(0, 99, 9_000, 0x200, NOW, True)))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (ConnectResponse(7, 10_000, 9, NOW, False), []),
        (ConnectResponse(0, 4_000, 9, NOW, False), ["time_out: recorded 10000, now 4000"]),
        (ConnectResponse(0, 0, 0, bytes(16), False), ["time_out: recorded 10000, now 0"]),
        (ConnectResponse(0, 10_000, 9, NOW, True), ["read_only: recorded False, now True"]),
    ],
)
def test_response_to_the_handshake_is_compared_with_sense(now: ConnectResponse, said: list[str]) -> None:
    then = ConnectResponse(0, 10_000, 5, THEN, False)
    pair = [Traffic().seen(RECEIVED, encode(each)) for each in (then, now)]
    assert Rerun().compare(*pair) == said


# --- requests


def test_request_is_sent_byte_for_byte_if_nothing_in_it_is_replaced() -> None:
    two = Two()
    for opcode, record in (
        (OpCode.GET_DATA, get_data()),
        (OpCode.PING, None),
        (OpCode.GET_DATA, None),
        (999, get_data()),
    ):
        recorded = two.then.request(opcode, record)
        assert two.rerun.request(recorded) == recorded.data
    odd = two.then.seen(SENT, encode(RequestHeader(9, OpCode.GET_DATA)) + encode(get_data()) + b"trailing")
    assert two.rerun.request(odd) == odd.data


def test_secrets_that_were_left_out_and_sasl_are_not_sent() -> None:
    for with_secrets, refused in ((False, True), (True, False)):
        two = Two(with_secrets=with_secrets)
        auth = two.then.request(OpCode.AUTH, AuthPacket(0, "digest", bytes(5)), Xid.AUTH)
        assert (two.rerun.why_not_sent(auth) is not None) is refused
        assert two.rerun.why_not_sent(two.then.request(OpCode.SASL, GetSASLRequest(b"x"))) is not None
        assert two.rerun.why_not_sent(two.then.request(OpCode.GET_DATA, get_data())) is None


def test_sequential_znodes_are_called_what_this_server_calls_them() -> None:
    two = Two()
    assert two.create("/lock/n-", "/lock/n-0000000003", "/lock/n-0000000041") == []

    def header(opcode: int) -> bytes:
        return encode(RequestHeader(two.then._xid, opcode))

    def sent(opcode: int, record: Encodable, expected: Encodable) -> None:
        assert two.sent(opcode, record) == frame(header(opcode) + encode(expected))

    sent(OpCode.DELETE, DeleteRequest("/lock/n-0000000003", -1), DeleteRequest("/lock/n-0000000041", -1))
    sent(OpCode.GET_DATA, get_data("/lock/n-0000000003/a/b"), get_data("/lock/n-0000000041/a/b"))
    sent(OpCode.GET_DATA, get_data("/lock/n-00000000031"), get_data("/lock/n-00000000031"))
    sent(OpCode.GET_DATA, get_data("/"), get_data("/"))
    sent(OpCode.GET_DATA, GetDataRequest(None, False), GetDataRequest(None, False))
    sent(OpCode.GET_EPHEMERALS, GetEphemeralsRequest("/lock/n-0000000003"), GetEphemeralsRequest("/lock/n-0000000041"))
    deletes = [
        MultiRequest((item(OpCode.DELETE, DeleteRequest(f"/lock/n-00000000{number}", -1)),)) for number in ("03", 41)
    ]
    sent(OpCode.MULTI, *deletes)
    two.exchange(OpCode.SET_DATA, SetDataRequest("/a", b"", -1), None, None, zxids=(60, 80))
    for zxid, known in ((60, 80), (61, 80), (50, 70)):
        watches = SetWatches2(zxid, ("/lock/n-0000000003",), (), None, (), ("/",))
        sent(OpCode.SET_WATCHES2, watches, SetWatches2(known, ("/lock/n-0000000041",), (), None, (), ("/",)))


# --- replies


def differences_of(opcode: int, record: Encodable | None, then: Encodable | None, now: Encodable | None) -> list[str]:
    """After a create that was transaction 50 then and 70 now, of /n-0000000001 then and /n-0000000009 now."""
    two = Two()
    two.create("/n-", "/n-0000000001", "/n-0000000009")
    return two.exchange(opcode, record, then, now, zxids=(51, 71))


def found(*fields: int, **named: int) -> ExistsResponse:
    return ExistsResponse(stat(*fields, **named))


X_IS_Y = "data: recorded 'x', now 'y'"
EXISTS = (OpCode.EXISTS, ExistsRequest("/a", False))
CHILDREN = (OpCode.GET_CHILDREN, GetChildrenRequest("/", False))


@pytest.mark.parametrize(
    ("asked", "then", "now", "said"),
    [
        (EXISTS, found(50, time=1), found(70, time=2), []),
        (
            EXISTS,
            found(50),
            found(71),
            [f"stat.{name}: recorded 0x46, now 0x47" for name in _ZXIDS],
        ),
        (EXISTS, found(50, 49), found(70, 12345), []),
        (
            EXISTS,
            found(50, version=1),
            found(70, version=2),
            ["stat.version: recorded 1, now 2"],
        ),
        (EXISTS, found(3, version=1), found(4, version=2), []),
        (EXISTS, found(50, owner=0x100), found(70, owner=0x200), []),
        (EXISTS, found(50, owner=0x999), found(70, owner=0x888), []),
        (
            EXISTS,
            found(50, owner=0x100),
            found(70, owner=0x888),
            ["stat.ephemeral_owner: recorded 0x200, now 0x888"],
        ),
        (
            EXISTS,
            found(3, owner=0),
            found(4, owner=0x888),
            ["stat.ephemeral_owner: recorded 0x0, now 0x888"],
        ),
        (
            EXISTS,
            found(3, owner=7),
            found(4),
            ["stat.ephemeral_owner: recorded 0x7, now 0x0"],
        ),
        (EXISTS, found(50), None, ["record: recorded ExistsResponse, now NoneType"]),
        (
            (OpCode.GET_DATA, get_data()),
            GetDataResponse(b"x", stat(50)),
            GetDataResponse(b"y", stat(70)),
            ["data: recorded 'x', now 'y'"],
        ),
        (CHILDREN, GetChildrenResponse(("b", "n-0000000001")), GetChildrenResponse(("n-0000000009", "b")), []),
        (CHILDREN, GetChildrenResponse(("b",)), GetChildrenResponse(("c",)), ["children: recorded ['b'], now ['c']"]),
        (CHILDREN, GetChildrenResponse(None), GetChildrenResponse(None), []),
        (CHILDREN, GetChildrenResponse(None), GetChildrenResponse(()), ["children: recorded None, now []"]),
        (
            (OpCode.GET_EPHEMERALS, GetEphemeralsRequest("/")),
            GetEphemeralsResponse(("/n-0000000001", "/b")),
            GetEphemeralsResponse(("/b", "/n-0000000009")),
            [],
        ),
        ((OpCode.SASL, GetSASLRequest(b"")), SetSASLResponse(b"x"), SetSASLResponse(b"y"), []),
        ((OpCode.ADD_WATCH, None), ErrorResponse(0), ErrorResponse(0), []),
        ((OpCode.SYNC, None), None, None, []),
    ],
)
def test_replies_are_compared_with_sense(
    asked: tuple[int, Encodable | None], then: Encodable | None, now: Encodable | None, said: list[str]
) -> None:
    assert differences_of(*asked, then, now) == said


def test_error_that_differs_is_reported() -> None:
    said = Two().exchange(*EXISTS, None, None, errs=(ErrorCode.NO_NODE, 0))
    assert said == ["err: recorded NO_NODE, now OK"]
    assert Two().exchange(*EXISTS, None, None, errs=(-9999, -9998)) == ["err: recorded -9999, now -9998"]
    assert Two().exchange(*EXISTS, None, None, errs=(ErrorCode.NO_NODE, ErrorCode.NO_NODE)) == []


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ("/n-0000000001", "/n-0000000001", []),
        ("/n-0000000001", "/m-0000000009", ["path: recorded '/n-0000000001', now '/m-0000000009'"]),
        ("/n-0000000001", "/n-000000000x", ["path: recorded '/n-0000000001', now '/n-000000000x'"]),
        ("/plain", "/other", ["path: recorded '/plain', now '/other'"]),
    ],
)
def test_created_path_is_the_same_but_for_its_number(then: str, now: str, said: list[str]) -> None:
    assert Two().create("/n-", then, now) == said


def results(*bodies: Any) -> MultiResponse:
    return MultiResponse(tuple(MultiItem(MultiHeader(code, False, 0), body) for code, body in bodies))


def test_results_of_a_multi_are_compared_one_by_one_and_their_paths_learned() -> None:
    two = Two()
    request = MultiRequest((item(OpCode.CREATE2, CreateRequest("/n-", b"", (), 2)),))
    then = results((OpCode.CREATE2, Create2Response("/n-0000000001", stat(50))), (OpCode.CHECK, None))
    now = results((OpCode.CREATE2, Create2Response("/n-0000000009", stat(70))), (OpCode.CHECK, None))
    assert two.exchange(OpCode.MULTI, request, then, now) == []
    assert two.rerun.path("/n-0000000001") == "/n-0000000009"
    older = results((OpCode.CREATE, CreateResponse("/n-0000000009")), (OpCode.CHECK, None))
    assert two.exchange(OpCode.MULTI, request, then, older) == [
        "[0].type: recorded 15, now 1",
        "[0]: recorded Create2Response, now CreateResponse",
    ]
    (said,) = two.exchange(OpCode.MULTI, request, then, results((OpCode.CHECK, None)))
    assert said.startswith("record: recorded [{'op': 'create2'")


# --- which frame is which


def received(payload: bytes) -> SeenFrame:
    traffic = Traffic()
    traffic.connect()
    return traffic.seen(RECEIVED, payload)


def test_replies_are_matched_by_xid_and_events_by_type_and_path() -> None:
    two = Two()
    two.create("/n-", "/n-0000000001", "/n-0000000009")
    replies = [two.then.reply(two.then.request(OpCode.SYNC)) for _ in range(2)]
    then = two.then.event(EventType.NODE_DELETED, "/n-0000000001")
    assert two.rerun.matches(replies[0], replies[0])
    assert not two.rerun.matches(replies[0], replies[1])
    assert not two.rerun.matches(replies[0], then)
    assert two.rerun.matches(then, two.now.event(EventType.NODE_DELETED, "/n-0000000009"))
    assert not two.rerun.matches(then, two.now.event(EventType.NODE_DELETED, "/n-0000000001"))
    assert not two.rerun.matches(then, two.now.event(EventType.NODE_CREATED, "/n-0000000009"))
    handshake = Traffic().seen(RECEIVED, encode(ConnectResponse(0, 1, 5, b"", False)))
    assert two.rerun.matches(handshake, handshake)
    assert not two.rerun.matches(handshake, replies[0])
    broken = received(b"\xff\xff\xff\xff" + bytes(12) + b"??")
    assert two.rerun.matches(broken, then)
    assert not two.rerun.matches(broken, replies[0])


def test_events_are_compared_with_their_paths_as_they_are_now() -> None:
    two = Two()
    two.create("/n-", "/n-0000000001", "/n-0000000009")
    then = two.then.event(EventType.NODE_DELETED, "/n-0000000001", 51)
    assert two.rerun.compare(then, two.now.event(EventType.NODE_DELETED, "/n-0000000009", -1)) == []
