"""Requests: what is kept of them, and what is refused, and when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake.talks import CONNECTED, add_auth, add_watch, connected, exists, sync
from tests.support.fake.wire import PASSWORD, Sent, Talk, failures, notification, payloads, pong, reply
from zkwire.codes import AddWatchMode, EventType, OpCode
from zkwire.errors import AuthFailedError, ClosedError, LocalProtocolError, SessionExpiredError
from zkwire.multi import MultiRequest, item
from zkwire.operations import (
    ADD_WATCH,
    AUTH,
    BY_OPCODE,
    CHECK,
    CREATE,
    EXISTS,
    GET_DATA,
    SET_DATA,
    SYNC,
    WHO_AM_I,
    Operation,
)
from zkwire.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    CreateRequest,
    ErrorResponse,
    ExistsRequest,
    GetDataRequest,
    Id,
    SetDataRequest,
    SyncRequest,
    SyncResponse,
)
from zkwire.session.events import SessionInfo
from zkwire.session.requests import Request
from zkwire.session.session import Session

# --- what is refused


_BAD = [
    (SET_DATA, SetDataRequest("/a", bytes(2**20), -1), None, "1048575 at most"),
    (SET_DATA, SetDataRequest("/a", 7, -1), None, "SetDataRequest.data"),  # type: ignore[arg-type]
    (SET_DATA, GetDataRequest("/a", False), None, "SetDataRequest, not GetDataRequest"),
    (GET_DATA, "junk", None, "GetDataRequest, not str"),
    (GET_DATA, "junk", "watcher", "GetDataRequest, not str"),
    (CHECK, CheckVersionRequest("/a", 1), None, "only inside multi"),
    (GET_DATA, GetDataRequest(None, False), "watcher", "takes a path, not None"),
    (SYNC, SyncRequest("/a"), "watcher", "sync arms no watch"),
    (ADD_WATCH, AddWatchRequest("/a", 7), "watcher", "mode 7 is not an AddWatchMode"),
    (EXISTS, ExistsRequest("/" + "x" * (0xFFFFF - 40), False), "watcher", "too long for a watch"),
]


@pytest.mark.parametrize(("operation", "record", "watcher", "message"), _BAD)
@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "disconnected"])
def test_a_bad_request_is_refused_before_a_byte_is_queued(
    operation: Operation, record: Any, watcher: Any, message: str, is_connected: bool
) -> None:
    talk = connected() if is_connected else Talk()
    with pytest.raises(LocalProtocolError, match=message):
        talk.request(operation, record, watcher)
    if not is_connected:
        assert talk.session.next_deadline() is None, "nothing waits"
        talk.establish()
    assert talk.sent() == []
    assert talk.events() == []
    talk.lose()
    talk.establish()
    assert talk.sent() == []


def test_watch_whose_event_would_be_too_long_is_refused() -> None:
    talk = connected(max_reply=100)
    exists(talk, "/" + "a" * 71, "watcher")
    with pytest.raises(LocalProtocolError, match="its event would be longer than max_reply=100"):
        exists(talk, "/" + "a" * 72, "watcher")
    assert len(notification(EventType.NODE_CREATED, "/" + "a" * 71)) == 4 + 100


def test_the_longest_path_for_a_watch_can_be_put_back() -> None:
    talk = connected(max_frame=500)
    longest = "/" + "x" * (500 - 41)
    add_watch(talk, longest, AddWatchMode.PERSISTENT, "watcher")
    talk.serve(reply(1, 5, record=ErrorResponse(0)))
    talk.lose()
    talk.establish()
    (set_watches,), _ = payloads(talk.session.data_to_send(talk.now))
    assert len(set_watches) == 500
    assert talk.session.state is CONNECTED


def test_a_list_that_changes_while_its_request_waits_is_not_looked_at_again() -> None:
    talk = Talk()
    acl = [ACL(31, Id("world", "anyone"))]
    talk.request(CREATE, CreateRequest("/a", b"", acl, 0))  # type: ignore[arg-type]
    acl.clear()
    assert failures(talk.establish()) == []
    assert talk.sent()[0].record.acl == (ACL(31, Id("world", "anyone")),)


def test_a_request_spoilt_while_it_waited_fails_alone() -> None:
    talk = Talk()
    spoilt = talk.request(CREATE, CreateRequest("/a", b"", (ACL(31, Id("world", "anyone")),), 0))
    other = sync(talk)
    spoilt.record = CreateRequest("/a", b"", (), 0)
    events = talk.establish()
    ((request, error),) = failures(events)
    assert request is spoilt
    assert isinstance(error, LocalProtocolError)
    assert talk.sent() == [Sent(other.xid, OpCode.SYNC, SyncRequest("/a"))]


def test_outstanding_counts_requests_without_a_reply() -> None:
    talk = Talk()
    assert talk.session.outstanding == 0
    talk.establish()
    sync(talk), sync(talk)
    assert talk.session.outstanding == 2
    talk.serve(reply(1, record=SyncResponse("/")))
    assert talk.session.outstanding == 1


@pytest.mark.parametrize("operation", [BY_OPCODE[OpCode.PING], AUTH, BY_OPCODE[OpCode.CLOSE_SESSION]])
def test_what_the_session_sends_by_itself_is_refused_as_a_request(operation: Operation) -> None:
    talk = connected()
    record = AuthPacket(0, "digest", b"a:b") if operation is AUTH else None
    with pytest.raises(LocalProtocolError, match=operation.name):
        talk.session.request(Request(operation, record), talk.now)
    assert talk.sent() == []


# --- what is kept of a request


CHANGING: Any = bytearray(b"x")


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (SetDataRequest("/a", CHANGING, -1), SetDataRequest("/a", b"x", -1)),
        (
            CreateRequest("/a", CHANGING, [ACL(31, Id("world", "anyone"))], 0),  # type: ignore[arg-type]
            CreateRequest("/a", b"x", (ACL(31, Id("world", "anyone")),), 0),
        ),
        (
            MultiRequest((item(OpCode.SET_DATA, SetDataRequest("/a", CHANGING, -1)),)),
            MultiRequest((item(OpCode.SET_DATA, SetDataRequest("/a", b"x", -1)),)),
        ),
    ],
)
def test_request_keeps_bytes_and_tuples_of_its_own(record: Any, kept: Any) -> None:
    request = Request(SET_DATA, record)
    assert request.record == kept
    assert repr(request.record) == repr(kept), "a bytearray equals bytes"


def test_request_keeps_a_record_that_cannot_change_as_it_is() -> None:
    record = CreateRequest("/a", b"x", (ACL(31, Id("world", "anyone")),), 0)
    assert Request(CREATE, record).record is record


def test_request_prints_its_operation_number_and_record() -> None:
    request = Request(SYNC, SyncRequest("/a"))
    assert repr(request) == "<sync xid=0 SyncRequest(path='/a')>"
    assert request.path == "/a"
    assert Request(WHO_AM_I).path is None


# --- the session to resume

NOT_SESSIONS = [
    ("0x100", PASSWORD, "id is an int, not str"),
    (True, PASSWORD, "id is an int, not bool"),
    (1.5, PASSWORD, "id is an int, not float"),
    (None, PASSWORD, "id is an int, not NoneType"),
    (2**63, PASSWORD, f"id is a signed number of 64 bits, not {2**63} (as such it is {-(2**63)})"),
    (2**64, PASSWORD, f"id is a signed number of 64 bits, not {2**64}"),
    (-(2**63) - 1, PASSWORD, f"id is a signed number of 64 bits, not {-(2**63) - 1}"),
    (0, PASSWORD, "no session has the id 0; for a new session pass None"),
    (5, "a secret", "password is bytes, not str"),
    (5, None, "password is bytes, not NoneType"),
    (5, [1, 2], "password is bytes, not list"),
]


@pytest.mark.parametrize(("id", "password", "text"), NOT_SESSIONS)
def test_what_can_be_no_session_is_refused_before_there_is_a_connection(id: Any, password: Any, text: str) -> None:
    with pytest.raises(LocalProtocolError) as refused:
        Session(10.0, session=SessionInfo(id, password))
    assert str(refused.value) == f"SessionInfo: {text}"


@pytest.mark.parametrize("id", [-(2**63), -1, 1, 2**63 - 1])
def test_every_number_of_64_bits_but_0_is_the_id_of_a_session(id: int) -> None:
    talk = Talk(session=SessionInfo(id, PASSWORD))
    assert talk.dial().session_id == id


def test_password_of_a_session_to_resume_is_copied() -> None:
    password: Any = bytearray(PASSWORD)
    talk = Talk(session=SessionInfo(5, password))
    password.clear()
    assert talk.dial().passwd == PASSWORD


# --- a session that is over


def _expired(talk: Talk) -> None:
    talk.lose()
    talk.at(200.0)


def _auth_failed(talk: Talk) -> None:
    talk.serve(pong(err=-124))


def _closed(talk: Talk) -> None:
    talk.session.detach()


@pytest.mark.rule(33)
@pytest.mark.parametrize(
    ("end", "error"),
    [(_expired, SessionExpiredError), (_auth_failed, AuthFailedError), (_closed, ClosedError)],
)
def test_a_session_that_is_over_refuses_everything_with_its_own_error(end: Any, error: type[Exception]) -> None:
    talk = connected()
    end(talk)
    talk.events()
    state = talk.session.state
    for _ in range(2):
        with pytest.raises(error, match="sync"):
            sync(talk)
        with pytest.raises(error, match="auth"):
            add_auth(talk, b"a")
    talk.session.close(talk.now)
    talk.session.detach()
    talk.session.disarm("/a", "x", talk.now)
    talk.serve(pong())
    talk.lose()
    talk.at(1e6)
    assert talk.events() == []
    assert talk.session.state is state
    assert talk.session.next_deadline() is None
