"""Requests of a session: the Request itself, its number, and the checks of what must not be sent.

"Rule N": docs/client-rules.md.
"""

from __future__ import annotations

import operator
from typing import Any

from ..codes import MAX_XID, AddWatchMode
from ..errors import AuthFailedError, ClosedError, LocalProtocolError, SessionExpiredError, ZkwireError
from ..frames import REPLY_HEADER_SIZE, REQUEST_HEADER_SIZE
from ..jute import JuteError, encode
from ..operations import ADD_WATCH, Operation, problem
from ..text import counted
from .events import SessionInfo

#: Bytes of a SetWatches2 request without its paths and their lengths: RequestHeader, relativeZxid, five counts.
SET_WATCHES_FRAME = REQUEST_HEADER_SIZE + 8 + 5 * 4
#: Bytes of a notification without its path and the path's length: ReplyHeader, type, state.
_NOTIFICATION_FRAME = REPLY_HEADER_SIZE + 4 + 4


class XidCounter:
    """Request numbers: 1 to 2**31-1, then 1 again (rule 19). A session has one counter for all its connections, so that
    a number means the same request in the client's trace and in the server's."""

    def __init__(self, start: int = 1) -> None:
        self._next = start

    def take(self) -> int:
        xid = self._next
        self._next = xid + 1 if xid < MAX_XID else 1
        return xid


class Request:
    """One request of a caller, from `send` until it is answered or fails.

    Args:
        operation: its row of the operations table.
        record: the record after the header. It is copied: a bytearray or a list in it may change later.
        watcher: any object. If the reply arms a watch, a Fired has this object in its `watchers`. None: no watch.
    """

    __slots__ = ("end", "operation", "record", "start", "watcher", "xid")

    def __init__(self, operation: Operation, record: Any = None, watcher: Any = None) -> None:
        self.operation = operation
        self.record = frozen(record)
        self.watcher = watcher
        self.xid = 0
        # Where the frame lies among all bytes of its connection.
        self.start = 0
        self.end = 0

    def __repr__(self) -> str:
        return f"<{self.operation.name} xid={self.xid} {self.record!r:.80}>"

    @property
    def path(self) -> str | None:
        """The request's path as the server knows it, where it has one."""
        return getattr(self.record, "path", None)


class OwnRequest(Request):
    """A request that the session itself makes. No caller waits for its reply."""

    __slots__ = ()


_IMMUTABLE = frozenset({bytes, str, int, bool, type(None)})


def frozen(value: Any) -> Any:
    """A copy of the value in which every bytearray is bytes and every list a tuple; the value itself if it has neither.

    A request may be encoded long after it was made, and again on the next connection.
    """
    if isinstance(value, tuple):
        for item in value:
            if type(item) not in _IMMUTABLE:
                break
        else:
            return value
        items = [frozen(item) for item in value]
        same = all(map(operator.is_, items, value))
        return value if same else tuple.__new__(type(value), items)
    if type(value) is list:
        return tuple(map(frozen, value))
    return bytes(value) if isinstance(value, bytearray) else value


def body_of(operation: Operation, record: Any, max_frame: int) -> bytes:
    """The bytes of a request after its header.

    Raises:
        LocalProtocolError: the request must not be sent, has a field of the wrong type, or is too long; says which.
    """
    reason = problem(operation, record)
    if reason is not None:
        raise LocalProtocolError(reason)
    try:
        body = b"" if record is None else encode(record)
    except JuteError as error:
        raise LocalProtocolError(str(error)) from None
    size = REQUEST_HEADER_SIZE + len(body)
    if size > max_frame:
        raise LocalProtocolError(
            f"{operation.name} takes {counted(size, 'byte')}, "
            f"but a request may have {max_frame} at most (the server's jute.maxbuffer)"
        )
    return body


def watch_problem(request: Request, max_frame: int, max_reply: int) -> str | None:
    """Why a request with a watcher must not be sent; None: it may be sent."""
    operation, record = request.operation, request.record
    if operation.arms is None and operation is not ADD_WATCH:
        return f"{operation.name} arms no watch"
    if reason := problem(operation, record):
        return reason
    if operation is ADD_WATCH and record.mode not in tuple(AddWatchMode):
        return f"addWatch: mode {record.mode!r} is not an AddWatchMode"
    if not isinstance(record.path, str):
        return f"{operation.name} with a watch takes a path, not {record.path!r:.60}"
    size = len(record.path.encode(errors="replace")) + 4
    if size > max_frame - SET_WATCHES_FRAME:
        return f"{operation.name}: the path is too long for a watch: setWatches could not set it again"
    if size > max_reply - _NOTIFICATION_FRAME:
        return (
            f"{operation.name}: the path is too long for a watch: its event would be longer than max_reply={max_reply}"
        )
    return None


def resumable(info: SessionInfo) -> SessionInfo:
    """The session to resume. Raises LocalProtocolError if no session can have these values, such as a str from JSON."""
    expected = ""
    if not isinstance(info.id, int) or isinstance(info.id, bool):
        expected = f"id is an int, not {type(info.id).__name__}"
    elif not -(2**63) <= info.id < 2**63:
        expected = f"id is a signed number of 64 bits, not {info.id}" + (
            f" (as such it is {info.id - 2**64})" if 0 < info.id < 2**64 else ""
        )
    elif info.id == 0:
        expected = "no session has the id 0; for a new session pass None"
    elif not isinstance(info.password, (bytes, bytearray)):
        expected = f"password is bytes, not {type(info.password).__name__}"
    if expected:
        raise LocalProtocolError(f"SessionInfo: {expected}")
    return SessionInfo(info.id, bytes(info.password))


def ended_error(error: ZkwireError, request: Request) -> ZkwireError:
    """The error that ended the session, with the path and the operation of this request."""
    if isinstance(error, SessionExpiredError):
        return SessionExpiredError(request.path, request.operation.name)
    if isinstance(error, AuthFailedError):
        found = AuthFailedError(request.path, request.operation.name, reason=error.reason)
        found.__cause__ = error.__cause__
        return found
    return ClosedError(f"{error} ({request.operation.name})")
