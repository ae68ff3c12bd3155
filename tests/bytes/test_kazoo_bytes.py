"""kazoo as an oracle: the same request must be the same bytes, and a real server's reply the same values.

Known difference: kazoo writes an empty string as null (length -1), where Java, C and zkwire write length 0. No other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kazoo.protocol import serialization as kazoo
from kazoo.protocol.connection import ConnectionHandler
from kazoo.security import ACL as KazooACL
from kazoo.security import Id as KazooId

from tests.support.golden import Golden, load
from zkwire.codes import OpCode, Xid
from zkwire.frames import Direction, frame
from zkwire.jute import Record, decode, encode
from zkwire.multi import MultiRequest, item
from zkwire.operations import BY_OPCODE
from zkwire.records import (
    ACL,
    AuthPacket,
    CheckVersionRequest,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetACLRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetSASLRequest,
    Id,
    ReconfigRequest,
    ReplyHeader,
    RequestHeader,
    SetACLRequest,
    SetDataRequest,
    SyncRequest,
)
from zkwire.session.connection import Connection
from zkwire.session.events import Connected
from zkwire.session.requests import Request, XidCounter

GOLDENS = load()


class Wire:
    """Stands in for the ConnectionHandler that kazoo's framing is a method of."""

    logger = logging.getLogger("kazoo")

    def __init__(self) -> None:
        self.written = b""

    def _write(self, data: bytes, timeout: float) -> None:
        self.written += data


def kazoo_frame(request: Any, xid: int | None) -> bytes:
    """What kazoo puts on the wire, length included."""
    wire = Wire()
    ConnectionHandler._submit(wire, request, 1.0, xid)
    return wire.written


def kazoo_acl(acl: tuple[ACL, ...] | None) -> list[Any]:
    return [KazooACL(entry.perms, KazooId(entry.id.scheme, entry.id.id)) for entry in acl or ()]


def _multi(request: MultiRequest) -> Any:
    return kazoo.Transaction([KAZOO[header.type](body) for header, body in request])


#: kazoo's request for one of ours, by opcode: all that kazoo knows.
KAZOO: dict[int, Callable[[Any], Any]] = {
    OpCode.CREATE: lambda r: kazoo.Create(r.path, r.data, kazoo_acl(r.acl), r.flags),
    OpCode.CREATE2: lambda r: kazoo.Create2(r.path, r.data, kazoo_acl(r.acl), r.flags),
    OpCode.DELETE: lambda r: kazoo.Delete(*r),
    OpCode.EXISTS: lambda r: kazoo.Exists(*r),
    OpCode.GET_DATA: lambda r: kazoo.GetData(*r),
    OpCode.SET_DATA: lambda r: kazoo.SetData(*r),
    OpCode.GET_ACL: lambda r: kazoo.GetACL(*r),
    OpCode.SET_ACL: lambda r: kazoo.SetACL(r.path, kazoo_acl(r.acl), r.version),
    OpCode.GET_CHILDREN: lambda r: kazoo.GetChildren(*r),
    OpCode.GET_CHILDREN2: lambda r: kazoo.GetChildren2(*r),
    OpCode.SYNC: lambda r: kazoo.Sync(*r),
    OpCode.PING: lambda r: kazoo.PingInstance,
    OpCode.CHECK: lambda r: kazoo.CheckVersion(*r),
    OpCode.MULTI: _multi,
    OpCode.RECONFIG: lambda r: kazoo.Reconfig(*r),
    # kazoo takes the auth bytes as text. So it writes empty ones as null too.
    OpCode.AUTH: lambda r: kazoo.Auth(r.type, r.scheme, None if r.auth is None else r.auth.decode()),
    OpCode.SASL: lambda r: kazoo.SASL(*r),
    OpCode.CLOSE_SESSION: lambda r: kazoo.CloseInstance,
}


def encodable(golden: Golden) -> bool:
    """Whether kazoo knows the operation, and every operation inside it, and the frame is not malformed on purpose."""
    if golden.direction is not Direction.SENT or golden.opcode not in KAZOO:
        return False
    wanted = BY_OPCODE[golden.opcode].request
    if golden.types[1:] != (() if wanted is None else (wanted,)):
        return False
    return golden.opcode != OpCode.MULTI or all(header.type in KAZOO for header, _ in _body(golden))


def _body(golden: Golden) -> Any:
    return decode(golden.types[1], golden.payload[8:]) if len(golden.types) > 1 else None


ENCODABLE = [golden for golden in GOLDENS if encodable(golden)]


def test_goldens_that_kazoo_can_encode_are_of_every_operation_it_knows() -> None:
    assert {golden.opcode for golden in ENCODABLE} == set(KAZOO) - {OpCode.CHECK}  # check goes only into multi


@pytest.mark.parametrize("golden", ENCODABLE, ids=lambda golden: golden.id)
def test_kazoo_encodes_the_golden_request_alike(golden: Golden) -> None:
    assert golden.opcode is not None
    xid = decode(RequestHeader, golden.payload).xid
    assert kazoo_frame(KAZOO[golden.opcode](_body(golden)), xid) == frame(golden.payload)


@pytest.mark.parametrize(
    "golden",
    [golden for golden in GOLDENS if golden.types == (ConnectRequest,) and len(golden.payload) == 45],
    ids=lambda golden: golden.id,
)
def test_kazoo_encodes_the_golden_connect_request_alike(golden: Golden) -> None:
    assert kazoo_frame(kazoo.Connect(*decode(ConnectRequest, golden.payload)), None) == frame(golden.payload)


# --- any values

#: How long an example takes says nothing on a machine that does other things too.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ints = st.integers(-(2**31), 2**31 - 1)
longs = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
buffers = st.none() | st.binary()
acls = st.lists(st.builds(ACL, ints, st.builds(Id, texts, texts)), min_size=1).map(tuple)
paths_and_versions = (texts | st.none(), ints)
paths_and_watches = (texts | st.none(), st.booleans())

creates = st.builds(CreateRequest, texts, buffers, acls, st.integers(0, 3))
set_datas = st.builds(SetDataRequest, texts | st.none(), buffers, ints)
deletes = st.builds(DeleteRequest, *paths_and_versions)
checks = st.builds(CheckVersionRequest, *paths_and_versions)
multi_items = st.one_of(
    st.builds(item, st.sampled_from([OpCode.CREATE, OpCode.CREATE2]), creates),
    st.builds(item, st.just(OpCode.SET_DATA), set_datas),
    st.builds(item, st.just(OpCode.DELETE), deletes),
    st.builds(item, st.just(OpCode.CHECK), checks),
)
REQUESTS: dict[OpCode, st.SearchStrategy[Any]] = {
    OpCode.CREATE: creates,
    OpCode.CREATE2: creates,
    OpCode.DELETE: deletes,
    OpCode.EXISTS: st.builds(ExistsRequest, *paths_and_watches),
    OpCode.GET_DATA: st.builds(GetDataRequest, *paths_and_watches),
    OpCode.SET_DATA: set_datas,
    OpCode.GET_ACL: st.builds(GetACLRequest, texts | st.none()),
    OpCode.SET_ACL: st.builds(SetACLRequest, texts | st.none(), acls, ints),
    OpCode.GET_CHILDREN: st.builds(GetChildrenRequest, *paths_and_watches),
    OpCode.GET_CHILDREN2: st.builds(GetChildren2Request, *paths_and_watches),
    OpCode.SYNC: st.builds(SyncRequest, texts | st.none()),
    OpCode.MULTI: st.lists(multi_items).map(lambda items: MultiRequest(tuple(items))),
    OpCode.RECONFIG: st.builds(ReconfigRequest, texts | st.none(), texts | st.none(), texts | st.none(), longs),
    OpCode.AUTH: st.builds(AuthPacket, ints, texts | st.none(), st.none() | texts.map(str.encode)),
    OpCode.SASL: st.builds(GetSASLRequest, buffers),
}


def our_frame(opcode: OpCode, record: Any, xid: int) -> bytes:
    """What a Connection puts on the wire."""
    connection = Connection(
        ConnectRequest(0, 0, 10000, 0, bytes(16), False), now=0.0, deadline=1.0, xids=XidCounter(xid)
    )
    connection.receive_data(frame(encode(ConnectResponse(0, 10000, 1, bytes(16), False))), 0.0)
    assert type(connection.next_event(0.0)) is Connected
    connection.data_to_send(0.0)
    send = connection.send_auth if opcode is OpCode.AUTH else connection.send
    send(Request(BY_OPCODE[opcode], record), 0.0)
    return connection.data_to_send(0.0)


@pytest.mark.parametrize("opcode", REQUESTS, ids=lambda opcode: opcode.name)
@unhurried
@given(data=st.data(), xid=st.integers(1, 2**31 - 1))
def test_kazoo_encodes_a_request_without_empty_strings_alike(opcode: OpCode, data: st.DataObject, xid: int) -> None:
    record = data.draw(REQUESTS[opcode])
    sent = Xid.AUTH if opcode is OpCode.AUTH else xid
    assert our_frame(opcode, record, xid) == kazoo_frame(KAZOO[opcode](record), sent)


@unhurried
@given(st.builds(ConnectRequest, ints, longs, ints, longs, buffers, st.booleans()))
def test_kazoo_encodes_a_connect_request_alike(record: ConnectRequest) -> None:
    assert frame(encode(record)) == kazoo_frame(kazoo.Connect(*record), None)


@pytest.mark.rule(74)
@pytest.mark.parametrize(
    ("opcode", "with_empty", "with_null"),
    [
        (OpCode.SYNC, SyncRequest(""), SyncRequest(None)),
        (
            OpCode.SET_ACL,
            SetACLRequest("/a", (ACL(31, Id("auth", "")),), -1),
            SetACLRequest("/a", (ACL(31, Id("auth", None)),), -1),
        ),
        (OpCode.AUTH, AuthPacket(0, "ip", b""), AuthPacket(0, "ip", None)),
        (OpCode.RECONFIG, ReconfigRequest("", "2", "", -1), ReconfigRequest(None, "2", None, -1)),
    ],
    ids=lambda value: value.name if isinstance(value, OpCode) else "",
)
def test_empty_string_is_length_zero_where_kazoo_writes_null(
    opcode: OpCode, with_empty: Record, with_null: Record
) -> None:
    theirs = kazoo_frame(KAZOO[opcode](with_empty), Xid.AUTH if opcode is OpCode.AUTH else 1)
    assert our_frame(opcode, with_empty, 1) != theirs
    assert our_frame(opcode, with_null, 1) == theirs


# --- replies

#: Our values of a reply in the form in which kazoo gives them.
DECODED: dict[int, tuple[Any, Callable[[Any], Any]]] = {
    OpCode.CREATE: (kazoo.Create, lambda r: r.path),
    OpCode.CREATE2: (kazoo.Create2, lambda r: (r.path, tuple(r.stat))),
    OpCode.EXISTS: (kazoo.Exists, lambda r: tuple(r.stat)),
    OpCode.GET_DATA: (kazoo.GetData, lambda r: (r.data, tuple(r.stat))),
    OpCode.SET_DATA: (kazoo.SetData, lambda r: tuple(r.stat)),
    OpCode.GET_ACL: (kazoo.GetACL, lambda r: (kazoo_acl(r.acl), tuple(r.stat))),
    OpCode.SET_ACL: (kazoo.SetACL, lambda r: tuple(r.stat)),
    OpCode.GET_CHILDREN: (kazoo.GetChildren, lambda r: list(r.children)),
    OpCode.GET_CHILDREN2: (kazoo.GetChildren2, lambda r: (list(r.children), tuple(r.stat))),
    OpCode.SYNC: (kazoo.Sync, lambda r: r.path),
    OpCode.RECONFIG: (kazoo.Reconfig, lambda r: (r.data, tuple(r.stat))),
}
DECODABLE = [
    golden
    for golden in GOLDENS
    if golden.direction is Direction.RECEIVED and golden.opcode in DECODED and len(golden.types) == 2
]


@pytest.mark.parametrize(
    "golden", [golden for golden in DECODABLE if "CESU8" not in golden.name], ids=lambda golden: golden.id
)
def test_kazoo_decodes_the_golden_reply_alike(golden: Golden) -> None:
    assert golden.opcode is not None
    theirs, values = DECODED[golden.opcode]
    assert theirs.deserialize(golden.payload, 16) == values(decode(golden.types[1], golden.payload[16:]))


@pytest.mark.rule(75)
@pytest.mark.parametrize(
    "golden", [golden for golden in DECODABLE if "CESU8" in golden.name], ids=lambda golden: golden.id
)
def test_reply_in_cesu8_decodes_where_kazoo_raises(golden: Golden) -> None:
    assert golden.opcode is not None
    theirs, values = DECODED[golden.opcode]
    with pytest.raises(UnicodeDecodeError):
        theirs.deserialize(golden.payload, 16)
    assert "\N{OTTER}" in str(values(decode(golden.types[1], golden.payload[16:])))


def test_kazoo_reads_the_golden_reply_headers_alike() -> None:
    headers = [golden.payload for golden in GOLDENS if golden.types[0] is ReplyHeader]
    assert headers
    for payload in headers:
        theirs, offset = kazoo.ReplyHeader.deserialize(payload, 0)
        assert offset == 16
        assert tuple(theirs) == tuple(decode(ReplyHeader, payload))
