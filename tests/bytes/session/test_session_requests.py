"""Requests that a session refuses, and requests that wait for a connection."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake.talks import CONNECTED, add_watch, connected, sync
from tests.support.fake.wire import Sent, Talk, failures, payloads, reply
from zkwire.codes import AddWatchMode, OpCode
from zkwire.errors import LocalProtocolError
from zkwire.operations import ADD_WATCH, AUTH, BY_OPCODE, CHECK, CREATE, EXISTS, GET_DATA, SET_DATA, SYNC, Operation
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
from zkwire.session.connection import Request

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
    (ADD_WATCH, AddWatchRequest("/a", 7), "watcher", "mode 7 is no AddWatchMode"),
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


# --- the table


@pytest.mark.parametrize("operation", [BY_OPCODE[OpCode.PING], AUTH, BY_OPCODE[OpCode.CLOSE_SESSION]])
def test_what_the_session_sends_by_itself_is_refused_as_a_request(operation: Operation) -> None:
    talk = connected()
    record = AuthPacket(0, "digest", b"a:b") if operation is AUTH else None
    with pytest.raises(LocalProtocolError, match=operation.name):
        talk.session.request(Request(operation, record), talk.now)
    assert talk.sent() == []
