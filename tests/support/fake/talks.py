"""A session that is connected, and the requests that tests make of it."""

from __future__ import annotations

from typing import Any

from tests.support.fake.wire import STAT, Talk, reply, states
from zkwire.codes import AddWatchMode, KeeperState
from zkwire.operations import ADD_WATCH, AUTH, EXISTS, GET_CHILDREN, GET_DATA, SYNC
from zkwire.records import (
    AddWatchRequest,
    AuthPacket,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    GetDataResponse,
    SetSASLResponse,
    SyncRequest,
)
from zkwire.session.requests import Request
from zkwire.session.sasl import SaslError

DISCONNECTED, CONNECTED = KeeperState.DISCONNECTED, KeeperState.SYNC_CONNECTED
READ_ONLY, EXPIRED = KeeperState.CONNECTED_READ_ONLY, KeeperState.EXPIRED
AUTH_FAILED, CLOSED = KeeperState.AUTH_FAILED, KeeperState.CLOSED
DATA_OK = GetDataResponse(b"hi", STAT)


def connected(session_timeout: float = 10.0, **options: Any) -> Talk:
    """A session that stands, with nothing on its way. The time is 100.0."""
    talk = Talk(session_timeout, **options)
    assert states(talk.establish()) == [CONNECTED]
    assert talk.sent() == []
    return talk


def sync(talk: Talk, path: str = "/a") -> Request:
    return talk.request(SYNC, SyncRequest(path))


def get_data(talk: Talk, path: str = "/a", watcher: Any = None) -> Request:
    return talk.request(GET_DATA, GetDataRequest(path, False), watcher)


def exists(talk: Talk, path: str = "/a", watcher: Any = None) -> Request:
    return talk.request(EXISTS, ExistsRequest(path, False), watcher)


def get_children(talk: Talk, path: str = "/a", watcher: Any = None) -> Request:
    return talk.request(GET_CHILDREN, GetChildrenRequest(path, False), watcher)


def add_watch(talk: Talk, path: str, mode: AddWatchMode, watcher: Any) -> Request:
    return talk.request(ADD_WATCH, AddWatchRequest(path, mode), watcher)


def add_auth(talk: Talk, name: bytes, scheme: str = "digest") -> Request:
    request = Request(AUTH, AuthPacket(0, scheme, name))
    talk.session.add_auth(request, talk.now)
    return request


def doom(talk: Talk, by: str) -> list[Any]:
    """The connection comes to its end, and the caller has not yet said tcp_lost."""
    if by == "eof":
        return talk.eof()
    return talk.serve(reply(99)) if by == "nonsense" else talk.at(talk.now + 10.0)


def kinds(events: list[Any]) -> list[type]:
    return [type(event) for event in events]


class ScriptedSasl:
    """A mechanism of two steps: it answers "challenge" with "answer", and takes "proof" for the end."""

    def __init__(self) -> None:
        self.starts: list[ScriptedSasl] = []  # one list for all copies

    def start(self) -> bytes:
        self.starts.append(self)
        return b""

    def step(self, challenge: bytes) -> bytes | None:
        if challenge == b"challenge":
            return b"answer"
        if challenge == b"proof":
            return None
        raise SaslError(f"got {challenge!r}")


def sasl_reply(xid: int, token: bytes | None, err: int = 0) -> bytes:
    return reply(xid, 0, err, SetSASLResponse(token))
